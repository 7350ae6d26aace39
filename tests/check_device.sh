#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The example device says what it should; which queue a fallback is hangs on the machine's byte order. Run from the build directory.
set -eu
out=$(mktemp)
trap 'rm -f "$out"' EXIT
if [ ! -x examples/device ]; then
    echo "examples/device is not built"
    exit 1
fi
examples/device | sed 's/[023] fallback/another by fallback/g' >"$out"
if ! diff -u - "$out" <<EOF; then
offered: 4 pairs, RSS yes, hash types 0x1ff, keys up to 40 bytes, tables up to 128
  flow 0 sent on 0: bound
  flow 1 sent on 1: bound
  flow 2 sent on 2: bound
  flow 3 sent on 3: bound
  flow 4 sent on 0: bound
  flow 5 sent on 1: bound
  flow 0 sent on 0: refreshed
  flow 1 sent on 1: refreshed
  flow 2 sent on 2: refreshed
  flow 3 sent on 3: refreshed
  flow 4 sent on 0: refreshed
  flow 5 sent on 1: refreshed
as sent:  0 bound  1 bound  2 bound  3 bound  0 bound  1 bound
bindings: 0 embryonic, 6 established, 0 closing; flow 0 is bound to 0
queue 0: 4 notes, 2 packets steered to it
queue 1: 4 notes, 2 packets steered to it
queue 2: 2 notes, 1 packets steered to it
queue 3: 2 notes, 1 packets steered to it
queue 1 reset:  0 bound  another by fallback  2 bound  3 bound  0 bound  another by fallback
the guest's table:  3 rss, hashed  3 rss, hashed  3 rss, hashed  3 rss, hashed  3 rss, hashed  3 rss, hashed
automatic again:  0 bound, hashed  1 bound, hashed  2 bound, hashed  3 bound, hashed  0 bound, hashed  1 bound, hashed
  flow 0 sent on 2: off
not learning:  0 bound  1 bound  2 bound  3 bound  0 bound  1 bound
moved: 6 bindings
after the move:  0 bound  1 bound  2 bound  3 bound  0 bound  1 bound
restarted: 6 bindings
after the restart:  0 bound  1 bound  2 bound  3 bound  0 bound  1 bound
ring 1 filled to 0, taken to 0: flow 0 goes to 1
ring 1 filled to 8, taken to 5: flow 0 goes to 1
  flow 0 sent on 2: moved, and still steered to 1
ring 1 filled to 9, taken to 5: flow 0 goes to 1
ring 1 filled to 10, taken to 10: flow 0 goes to 2
EOF
    echo "FAILED: device says something else"
    exit 1
fi
echo "ok: $(wc -l <"$out") lines as expected"
