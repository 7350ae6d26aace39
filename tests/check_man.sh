#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The man pages have no warnings, are all shipped, and say what flowq.h says: the prototypes and, for each page, the errors.
set -eu
src=${FLOWQ_SRCDIR:?}
if ! command -v mandoc >/dev/null; then
    echo "mandoc is not installed"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
fail() {
    echo "FAILED: $*"
    failed=1
}

# One prototype a line, single spaces, sorted.
prototypes() {
    tr '\n\t' '  ' | sed 's/[;{}]/\n/g' |
        sed -n 's/  */ /g; s/^ //; s/ $//; s/( /(/g; s/ )/)/g; s/\* /*/g; s/\<_Bool\>/bool/g; /flowq_[a-z0-9_]*(/p' | LC_ALL=C sort
}

# "function -ERROR" for every error that the comment above a function names, and for functions that share a comment.
header_errors() {
    awk '
        /^\/\*/ { comment = "" }
        /^(\/\*| \*)/ { comment = comment " " $0; next }
        /^[a-z].*flowq_[a-z0-9_]*\(/ {
            match($0, /flowq_[a-z0-9_]*\(/)
            name = substr($0, RSTART, RLENGTH - 1)
            rest = comment
            while (match(rest, /-E[A-Z0-9]+/)) {
                print name, substr(rest, RSTART, RLENGTH)
                rest = substr(rest, RSTART + RLENGTH)
            }
        }' "$src/include/flowq.h"
}

# shellcheck disable=SC2086 # a compiler may be two words
${CC:-cc} -E -P "$src/include/flowq.h" | grep -v '^#' | prototypes >"$work/header"
header_errors >"$work/errors"
: >"$work/pages"
n=0
for page in "$src"/man/*.[1-9]; do
    name=${page##*/}
    grep -q "man/$name" "$src"/man/man.am || fail "$name is not in man/man.am"
    if grep -q '^\.so ' "$page"; then
        continue
    fi
    n=$((n + 1))
    if ! mandoc -Tlint -Wwarning "$page" 2>&1; then
        failed=1
    fi
    case $name in *.3) ;; *) continue ;; esac

    mandoc -Tascii -O width=200 "$page" | sed "s/.$(printf '\b')//g" | sed -n '/^SYNOPSIS/,/^DESCRIPTION/p' | sed '1d;$d;/#include/d' | prototypes >>"$work/pages"
    # The functions that lead to this page: itself, and the links to it.
    { echo "${name%.3}"; grep -l "^\.so man3/$name" "$src"/man/*.3 | sed 's|.*/||; s|\.3$||'; } >"$work/functions" || true
    grep -F -w -f "$work/functions" "$work/errors" | sed 's/.* //' | LC_ALL=C sort -u >"$work/expected" || true
    sed -n '/^\.Sh ERRORS/,/^\.Sh [^E]/s/^\.It B.*Er //p' "$page" | grep -o 'E[A-Z0-9]*' | sed 's/^/-/' | LC_ALL=C sort -u >"$work/found" || true
    if ! diff -u "$work/expected" "$work/found" >"$work/diff"; then
        fail "the errors in flowq.h (-) and in $name (+) differ:"
        tail -n +4 "$work/diff"
    fi
done
LC_ALL=C sort -o "$work/pages" "$work/pages"
if ! diff -u "$work/header" "$work/pages" >"$work/diff"; then
    fail "the prototypes in flowq.h (-) and in the man pages (+) differ:"
    tail -n +4 "$work/diff"
fi
[ $failed != 0 ] || echo "ok: $n pages without warnings, $(wc -l <"$work/header") prototypes as in flowq.h"
exit $failed
