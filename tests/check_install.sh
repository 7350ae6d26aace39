#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# make install; a program built against what was installed, shared and static; make uninstall leaves nothing. Run from the build
# directory.
set -eu
src=${FLOWQ_SRCDIR:?}
prefix=${prefix:-/usr/local}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
# The make that runs this test must not share its job slots and its flags (-n, -k) with those below.
unset MAKEFLAGS MFLAGS MAKELEVEL DESTDIR

fail() {
    echo "FAILED: $*"
    exit 1
}

"${MAKE:-make}" -s install DESTDIR="$root" >"$root/log" 2>&1 || { cat "$root/log"; fail "make install"; }
libdir=$(dirname "$(find "$root" -name libflowq.la)")
pc() {
    PKG_CONFIG_PATH=$libdir/pkgconfig "${PKG_CONFIG:-pkg-config}" --define-variable=prefix="$root$prefix" "$@" flowq
}
[ "$(pc --modversion)" = "$(sed -n 's/^Version: //p' flowq.pc)" ] || fail "pkg-config --modversion"

# shellcheck disable=SC2086,SC2046 # words of $CC, $CFLAGS and pkg-config are separate on purpose
build() {
    how=$1
    shift
    ${CC:-cc} ${CFLAGS-} -Wall -Wextra -Werror "$src/tests/installed.c" -o "$root/$how" "$@" || fail "linking, $how"
}

if [ -e "$libdir/libflowq.so" ]; then
    # shellcheck disable=SC2046
    build shared $(pc --cflags --libs)
    LD_LIBRARY_PATH=$libdir "$root/shared" || fail "running, shared"
    ${NM:-nm} -D "$root/shared" | grep -q 'flowq_vm_create' || fail "the program does not use the shared library"
fi
if [ -e "$libdir/libflowq.a" ]; then
    # shellcheck disable=SC2046
    build static -static $(pc --static --cflags --libs)
    "$root/static" || fail "running, static"
fi

readme=$(find "$root" -name README.md)
[ -n "$readme" ] || fail "no README.md"
grep -o '](\([^):#]*\))' "$readme" | sed 's/^](//; s/)$//' >"$root/links"
[ -s "$root/links" ] || fail "the README that is installed has no links"
while IFS= read -r link; do
    [ -e "${readme%/*}/$link" ] || fail "the README that is installed links to $link, which is not there"
done <"$root/links"

"${MAKE:-make}" -s uninstall DESTDIR="$root" >"$root/log" 2>&1 || { cat "$root/log"; fail "make uninstall"; }
rm -f "$root/log" "$root/links" "$root/shared" "$root/static"
left=$(find "$root" ! -type d)
[ -z "$left" ] || fail "make uninstall left: $left"
