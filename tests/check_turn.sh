#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The example turn says what goes where. Its guests come in no particular order. A flow whose queue is that of its fallback may have
# been stored or not, which depends on the secret (S9). Run from the build directory.
set -eu
out=$(mktemp)
trap 'rm -f "$out"' EXIT
if [ ! -x examples/turn ]; then
    echo "examples/turn is not built"
    exit 1
fi
examples/turn | sed 's/, \(bound\|fallback\)$/, bound or fallback/' | LC_ALL=C sort >"$out"
if ! diff -u - "$out" <<EOF; then
guest 0, queue 0: packets 1 7
guest 0, queue 1: packets 5
guest 1, queue 0: packets 6
guest 1, queue 1: packets 2
guest 2, queue 0: packets 3
guest 2, queue 1: packets 0 4
packet 0: queue 1, bound or fallback
packet 1: queue 0, bound or fallback
packet 2: queue 1, bound or fallback
packet 3: queue 0, bound or fallback
packet 4: queue 1, bound or fallback
packet 5: queue 1, bound or fallback
packet 6: queue 0, bound or fallback
packet 7: queue 0, bound or fallback
EOF
    echo "FAILED: turn says something else"
    exit 1
fi
echo "ok: $(wc -l <"$out") lines as expected"
