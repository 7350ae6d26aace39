#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The example turn says what goes where. Its guests come in no particular order. Run from the build directory.
set -eu
out=$(mktemp)
trap 'rm -f "$out"' EXIT
if [ ! -x examples/turn ]; then
    echo "examples/turn is not built"
    exit 1
fi
examples/turn | LC_ALL=C sort >"$out"
if ! diff -u - "$out" <<EOF; then
guest 0, queue 0: packets 1 7
guest 0, queue 1: packets 5
guest 1, queue 0: packets 6
guest 1, queue 1: packets 2
guest 2, queue 0: packets 3
guest 2, queue 1: packets 0 4
EOF
    echo "FAILED: turn says something else"
    exit 1
fi
echo "ok: $(wc -l <"$out") lines as expected"
