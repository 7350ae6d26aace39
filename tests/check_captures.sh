#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The captures in tests/data are what make_captures.py writes, byte for byte.
set -eu
data=${FLOWQ_SRCDIR:?}/tests/data
if ! command -v python3 >/dev/null; then
    echo "python3 is not installed"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 "$data/make_captures.py" "$work"
n=0
for made in "$work"/*; do
    cmp "$made" "$data/${made##*/}" || { echo "FAILED: ${made##*/} is not what make_captures.py writes"; exit 1; }
    n=$((n + 1))
done
for kept in "$data"/*.pcap*; do
    [ -e "$work/${kept##*/}" ] || { echo "FAILED: ${kept##*/} is not written by make_captures.py"; exit 1; }
done
echo "ok: $n captures as written"
