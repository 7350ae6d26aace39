#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Each change that tests/mutate makes to lib/ can still be made, and names programs that there are; and one that cannot is an
# error. Nothing is built, so this says nothing of what scenarios find: for that run tests/mutate itself.
set -eu
src=${FLOWQ_SRCDIR:?}
if ! command -v perl >/dev/null || ! command -v bash >/dev/null; then
    echo "perl, or bash, is not installed"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bash "$src/tests/mutate" --apply || { echo "FAILED: see above"; exit 1; }
printf 'X | lib/note.c check_orders\ns/this stands nowhere//\n\nX | lib/note.c check_none\ns/NOTE_AGAIN/0/\n' >"$work/wrong"
FLOWQ_MUTATIONS="$work/wrong" bash "$src/tests/mutate" --apply >"$work/log" && { echo "FAILED: wrong changes pass"; exit 1; }
if ! grep -q 'stands nowhere.*nothing changed' "$work/log" || ! grep -q 'there is no check_none' "$work/log"; then
    cat "$work/log"
    echo "FAILED: wrong changes are not told of"
    exit 1
fi
echo "ok: two wrong ones are errors"
