#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The library as one file: a host is built from flowq.c, flowq.h and libck alone, as C11 without a warning, with the compiler in use
# and with gcc and clang where they are, and runs; nothing can be seen of the library but the functions of flowq.h. And the files of
# lib/ are all in it. Run from the build directory.
set -eu
src=${FLOWQ_SRCDIR:?}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset MAKEFLAGS MFLAGS MAKELEVEL DESTDIR

fail() {
    echo "FAILED: $*"
    exit 1
}

"${MAKE:-make}" -s amalgamation || fail "make amalgamation"
cp amalgamation/flowq.c amalgamation/flowq.h "$src"/examples/minimal.c "$work"
for file in "$src"/lib/*.[ch]; do
    grep -q "^#line 1 \"lib/${file##*/}\"" "$work/flowq.c" || fail "${file##*/} is not in flowq.c"
done
sed -n '/^global:/,/^local:/s/^ *\(flowq_[a-z0-9_]*\);$/\1/p' "$src/lib/flowq.map" | LC_ALL=C sort >"$work/map"

# shellcheck disable=SC2086 # a compiler may be two words, and flags are
build() {
    (cd "$work" && $1 ${2-} -std=c11 -O2 -Wall -Wextra -Werror -c flowq.c &&
        $1 ${2-} -std=c11 -O2 -Wall -Wextra -Werror -I. minimal.c flowq.o -o host -lck -lpthread) || fail "building with $1"
    ${NM:-nm} --extern-only --defined-only "$work/flowq.o" | sed -n 's/^[0-9a-f]* [A-Z] //p' | LC_ALL=C sort >"$work/seen"
    diff -u "$work/map" "$work/seen" >"$work/diff" || { tail -n +3 "$work/diff"; fail "functions of flowq.h (-) and names that are seen (+) differ"; }
    "$work/host" >"$work/said" || fail "running what $1 built"
    grep -q 'queue 3: the answer goes to queue 3' "$work/said" || fail "what $1 built does not steer"
    echo "ok: built with $1"
}

build "${CC:-cc}" "${CPPFLAGS-} ${LDFLAGS-}"
for other in gcc clang; do
    if [ "$other" != "${CC:-cc}" ] && command -v "$other" >/dev/null && [ -z "${FLOWQ_EMULATED-}" ]; then
        build "$other"
    fi
done
