#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# tests/coverage.sh SRCDIR [TEST...]: `make coverage`. Builds the tests in ./coverage, with gcc and without optimisation, runs those
# that tell (tests.am: counted), or those named, and says which lines and branches of lib/ they reached: in coverage/report.txt each
# file with what it lacks, in coverage/branches.txt each line that was not reached or has a branch which was never taken, with the
# line. Fails if a test fails, below the goals (99 % of the lines, 95 % of the branches), and if a line was not reached that
# tests/unreached.txt does not list with a reason.
#
# Functions that are always inlined would be counted at each place where they are: they are compiled as others here. Counters that
# threads share are updated as atomic words. Tests do less, as where they run slowly: the bounds that they have for that hold here.
set -eu
lines=99
branches=95
src=$(cd "$1" && pwd -P) # gcovr compares paths
shift
command -v gcovr >/dev/null || { echo "coverage: gcovr is not installed (Debian: gcovr)" >&2; exit 2; }
mkdir -p coverage
cd coverage
if [ ! -e config.status ]; then
    "$src/configure" -q --disable-static --disable-vhost CC=gcc CPPFLAGS='-Dalways_inline=unused -DSEED_SLOWNESS=8' \
        CFLAGS='-O0 -g --coverage -fprofile-update=atomic'
fi
find . -name '*.gcda' -delete
export CK_TIMEOUT_MULTIPLIER=8 FLOWQ_SEED="${FLOWQ_SEED:-1}" # the same lines each time, as far as threads allow
failed=0
# What is reached counts even if a test fails. The scheduler does not look at plain memory here, of which the counters are.
if [ $# = 0 ]; then
    ${MAKE:-make} -s -k -j"$(nproc)" check-counted SCHED_CFLAGS= || failed=1
else
    ${MAKE:-make} -s -k -j"$(nproc)" check-counted SCHED_CFLAGS= counted="$*" || failed=1
fi
# The library's objects that the tests link, those for the scheduler too: there threads meet where they seldom do. But epoch.c has
# functions twice, one for it, which gcovr does not take together. Not the file that is installed, which is the same.
find lib -name '*.gcda' ! -name 'libflowq_sched*-epoch.gcda' | LC_ALL=C sort >objects
[ -s objects ] || { echo "coverage: nothing was counted" >&2; exit 1; }
rm -rf counted
mkdir counted
while IFS= read -r gcda; do cp "$gcda" "${gcda%.gcda}.gcno" counted; done <objects
report() {
    gcovr -r "$src" --filter "$src/lib/" --object-directory . --exclude-unreachable-branches -j "$(nproc)" "$@" counted
}
report --json coverage.json >/dev/null
listed=0
"$src/tests/coverage.py" "$src" coverage.json >branches.txt 2>unlisted.txt || listed=1
again() { gcovr -r "$src" --add-tracefile coverage.json "$@"; }
again --txt report.txt --print-summary
{ echo; again --branches; } >>report.txt
[ $failed = 0 ] || { echo "coverage: tests failed" >&2; exit 1; }
# Some tests alone do not reach what all do.
[ $# = 0 ] || exit 0
cat unlisted.txt >&2
[ $listed = 0 ] || grep 'NOT LISTED' branches.txt >&2 || true
again --fail-under-line $lines --fail-under-branch $branches >/dev/null
[ $listed = 0 ]
