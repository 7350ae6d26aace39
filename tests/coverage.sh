#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# tests/coverage.sh SRCDIR [TEST...]: `make coverage`. Builds the tests in ./coverage, with gcc and without optimisation, runs them (or
# those named) and says which lines and branches of lib/ they reached: in coverage/report.txt each file with what it lacks, in
# coverage/branches.txt each line that has a branch which was never taken, with the line. Fails below the goals: 99 % of the lines, 95 %
# of the branches.
#
# Functions that are always inlined would be counted at each place where they are: they are compiled as others here. Counters that
# threads share are updated as atomic words.
set -eu
lines=99
branches=95
src=$1
shift
command -v gcovr >/dev/null || { echo "coverage: gcovr is not installed (Debian: gcovr)" >&2; exit 2; }
mkdir -p coverage
cd coverage
if [ ! -e config.status ]; then
    "$src/configure" -q --disable-static --disable-vhost --disable-examples CC=gcc CPPFLAGS='-Dalways_inline=unused' \
        CFLAGS='-O0 -g --coverage -fprofile-update=atomic'
fi
find . -name '*.gcda' -delete
if [ $# = 0 ]; then
    ${MAKE:-make} -s -j"$(nproc)" check-programs
else
    ${MAKE:-make} -s -j"$(nproc)" all check TESTS="$*"
fi
# The library's objects that the tests link; not the file that is installed, which is the same, nor what is made for the scheduler.
find lib -name '*.gcda' ! -name 'libflowq_sched*' | LC_ALL=C sort >objects
[ -s objects ] || { echo "coverage: nothing was counted" >&2; exit 1; }
rm -rf counted
mkdir counted
while IFS= read -r gcda; do cp "$gcda" "${gcda%.gcda}.gcno" counted; done <objects
report() {
    gcovr -r "$src" --filter "$src/lib/" --object-directory . --exclude-unreachable-branches -j "$(nproc)" "$@" counted
}
report --json coverage.json >/dev/null
again() { gcovr -r "$src" --add-tracefile coverage.json "$@"; }
again --txt report.txt --print-summary
{ echo; again --branches; } >>report.txt
"$src/tests/coverage.py" "$src" coverage.json >branches.txt
again --fail-under-line $lines --fail-under-branch $branches >/dev/null
