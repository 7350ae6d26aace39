#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The drop-in under the true librte_vhost, in a small program, with testpmd as the guest: what a queue transmits comes back on it.
# For builds with sanitizers, which a packaged switch is not run with, and for --wrap.
#
#     vhost_echo.sh PROGRAM [OBJECT [RUNTIME]]
#
# PROGRAM  tests/system/vhost_echo, or the same with DPDK in it
# OBJECT   libflowq-vhost.so to preload; without, the program is run as it is
# RUNTIME  of a sanitizer, to preload before it: libasan.so, libtsan.so
set -eu
program=$1
object=${2-}
runtime=${3-}
seconds=${FLOWQ_ECHO_SECONDS:-20}
work=$(mktemp -d)
echo_pid=
# shellcheck disable=SC2154 # it is set above
trap '[ -z "$echo_pid" ] || kill "$echo_pid" 2>/dev/null || :; rm -rf "$work"' EXIT
if ! command -v dpdk-testpmd >/dev/null; then
    echo "dpdk-testpmd is not installed (Debian: dpdk-dev)"
    exit 77
fi
prefix=flowq-echo-$$

# Started before anything is preloaded: the sanitizers' words go to a file of their own.
(
    [ -z "$object" ] || export LD_PRELOAD="$runtime${runtime:+ }$object"
    export ASAN_OPTIONS="detect_leaks=0 log_path=$work/report" TSAN_OPTIONS="log_path=$work/report exitcode=0"
    export UBSAN_OPTIONS="print_stacktrace=1 log_path=$work/report"
    exec "$program" "$seconds" 2 "$work/sock" --no-huge -m 256 --no-pci --file-prefix "$prefix" -l 0-1
) >"$work/echo" 2>&1 &
echo_pid=$!
for _ in $(seq 100); do
    [ ! -S "$work/sock" ] || break
    sleep 0.1
done
[ -S "$work/sock" ] || { cat "$work/echo"; echo "FAILED: no socket"; exit 1; }
{ sleep $((seconds * 2 / 3)); echo 'show port xstats 0'; echo quit; } |
    dpdk-testpmd -l 0-1 --no-huge -m 256 --no-pci --no-telemetry --file-prefix "$prefix-guest" \
        --vdev "net_virtio_user0,path=$work/sock,queues=4,queue_size=256" -- -i --rxq=4 --txq=4 --auto-start \
        --forward-mode=flowgen --total-num-mbufs=16384 --nb-cores=1 >"$work/guest" 2>&1 || :
wait "$echo_pid" || { tail -20 "$work/echo"; echo "FAILED: $program"; exit 1; }
echo_pid=

failed=0
if [ -n "$(find "$work" -name 'report*')" ]; then
    cat "$work"/report*
    echo "FAILED: the sanitizer has something to say"
    failed=1
fi
grep '^{' "$work/echo"
grep -q '"mbufs_left": 0}' "$work/echo" || { echo "FAILED: packets were lost"; failed=1; }
# As many come back on a queue as went out on it, but for those on their way.
awk -v steered="${object:+1}${FLOWQ_ECHO_WRAPPED:+1}" '
    match($1, /^[rt]x_q[0-3]_good_packets:$/) { n[substr($1, 1, 5)] = $2 }
    END {
        for (q = 0; q < 4; q++) {
            out = n["tx_q" q]; back = n["rx_q" q]
            printf "queue %d: %d transmitted, %d came back\n", q, out, back
            if (out < 1000) { print "FAILED: too few"; bad = 1 }
            if (steered != "" && (back < out * 0.9 - 1000 || back > out * 1.1 + 1000)) { print "FAILED: not on their queue"; bad = 1 }
            if (steered == "" && q > 0 && back != 0) { print "FAILED: they are steered, but by whom?"; bad = 1 }
        }
        exit bad
    }' "$work/guest" || failed=1
exit $failed
