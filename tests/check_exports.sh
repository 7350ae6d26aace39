#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The functions of flowq.h are exactly the symbols of the version script, what the built library exports, and the pages of man/ in
# section 3; and an example calls each. Run from the build directory.
set -eu
src=${FLOWQ_SRCDIR:?}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# Whatever is named flowq_... and followed by a parenthesis once comments are gone.
# shellcheck disable=SC2086 # a compiler may be two words
${CC:-cc} -E -P "$src/include/flowq.h" | grep -o 'flowq_[a-z0-9_]*(' | tr -d '(' | LC_ALL=C sort -u >"$work/header"
sed -n '/^global:/,/^local:/s/^ *\(flowq_[a-z0-9_]*\);$/\1/p' "$src/lib/flowq.map" | LC_ALL=C sort >"$work/map"
find "$src/man" -name '*.3' -exec basename {} .3 \; | LC_ALL=C sort >"$work/man"
[ -s "$work/header" ] || { echo "no function found in flowq.h"; exit 1; }

compare() {
    if diff -u "$work/header" "$work/$1" >"$work/diff"; then
        echo "ok: flowq.h and $2 agree"
    else
        echo "FAILED: flowq.h (-) and $2 (+) differ:"
        tail -n +3 "$work/diff"
        failed=1
    fi
}

compare map "the version script"
compare man "the man pages"
if [ -e .libs/libflowq.so ]; then
    ${NM:-nm} -D --defined-only .libs/libflowq.so | awk '$2 != "A" {print $3}' >"$work/symbols"
    sed -n 's/@@FLOWQ_0\.9$//p' "$work/symbols" | LC_ALL=C sort >"$work/so"
    compare so "libflowq.so"
    if grep -v '@@FLOWQ_0\.9$' "$work/symbols"; then
        echo "FAILED: these symbols are not in node FLOWQ_0.9"
        failed=1
    fi
fi
# In a static link nothing else of ours may meet a host's names.
if [ -e .libs/libflowq.a ]; then
    # Probes have a symbol of their own, weak and hidden, which is the same in all objects that have any (sys/sdt.h).
    ${NM:-nm} --extern-only --defined-only .libs/libflowq.a | sed -n '/ _\.stapsdt\.base$/d; s/^[0-9a-f]* [A-Z] //p' |
        LC_ALL=C sort >"$work/a"
    compare a "libflowq.a"
fi
# Somebody who wants to see how a function is called finds it.
while read -r function; do
    if ! grep -q "\<$function(" "$src"/examples/*.c "$src"/examples/*.h; then
        echo "FAILED: no example calls $function()"
        failed=1
    fi
done <"$work/header"
# Every page is a page, or the name of one in its first line.
for page in "$src"/man/*.3; do
    target=$(sed -n '1s/^\.so man3\///p' "$page")
    if [ -n "$target" ] && [ ! -e "$src/man/$target" ]; then
        echo "FAILED: $page names $target, which is not there"
        failed=1
    fi
done
exit $failed
