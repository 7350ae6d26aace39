#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The main job on the packets that come with flowq: examples/demo.sh BUILD-DIRECTORY [capture...]
# `./bootstrap demo` calls it. Captures of your own may be given instead.
set -eu
build=$1
shift
here=$(cd "$(dirname "$0")" && pwd)

if [ ! -x "$build/flowq-replay" ]; then
    echo "demo: there is no $build/flowq-replay: it needs libpcap (Debian: libpcap-dev)" >&2
    exit 1
fi
[ $# -gt 0 ] || set -- "$here"/../tests/data/*.pcap*
exec "$build/flowq-replay" "$@"
