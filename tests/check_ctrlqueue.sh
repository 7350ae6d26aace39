#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The example ctrlqueue plays its script and says what it should. Run from the build directory.
set -eu
src=${FLOWQ_SRCDIR:?}
out=$(mktemp)
trap 'rm -f "$out"' EXIT
if [ ! -x examples/ctrlqueue ]; then
    echo "examples/ctrlqueue is not built"
    exit 1
fi
examples/ctrlqueue "$src/examples/ctrlqueue.script" >"$out"
if ! diff -u "$src/tests/data/ctrlqueue.out" "$out"; then
    echo "FAILED: ctrlqueue says something else"
    exit 1
fi
echo "ok: $(wc -l <"$out") lines as expected"
