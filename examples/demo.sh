#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The main job on the packets that come with flowq, then live: examples/demo.sh BUILD-DIRECTORY [capture...]
# `./bootstrap demo` calls it. Captures of your own may be given instead.
set -eu
build=$1
shift
here=$(cd "$(dirname "$0")" && pwd)

if [ ! -x "$build/flowq-replay" ]; then
    echo "demo: there is no $build/flowq-replay: it needs libpcap (Debian: libpcap-dev)" >&2
    exit 1
fi
[ $# = 0 ] || exec "$build/flowq-replay" "$@"
"$build/flowq-replay" "$here"/../tests/data/*.pcap*

# The live part: a switch between two TAP devices, in network namespaces without names that go when it ends.
if [ "$(id -u)" = 0 ] && [ -c /dev/net/tun ]; then
    status=0
    "$build/examples/tapswitch" --demo || status=$?
    [ $status != 77 ] || echo "demo: the part with live traffic is left out on this machine" >&2
    [ $status = 0 ] || [ $status = 77 ] || exit $status
else
    echo "demo: the part with live traffic needs root and /dev/net/tun; left out" >&2
fi
