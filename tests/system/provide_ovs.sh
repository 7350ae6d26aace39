#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Open vSwitch with DPDK, as Debian packages it, for the tests of the whole system: tests/system/provide_ovs.sh FOLDER
#
# Fetches the packages and unpacks them into FOLDER/root. None of them is installed: no service starts, and nothing of an Open vSwitch
# that is installed is touched. Libraries that it lacks are installed, if we are root. What is there already is kept. When it cannot,
# it says why in its last line and ends with 1.
set -euo pipefail

mkdir -p "$1"
cd "$1"
daemon=usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk

fail() {
    echo "no Open vSwitch: $*"
    exit 1
}

lacking() {
    ldd root.new/$daemon root.new/usr/sbin/ovsdb-server | grep -q 'not found'
}

fetch() {
    local libraries deb
    rm -rf root.new debs
    mkdir debs
    (cd debs && apt-get -q download openvswitch-switch-dpdk openvswitch-switch openvswitch-common)
    for deb in debs/*.deb; do
        dpkg-deb -x "$deb" root.new
    done
    if lacking; then
        mapfile -t libraries < <(apt-cache depends openvswitch-switch-dpdk openvswitch-switch |
            awk '$1 == "Depends:" && $2 ~ /^lib/ { print $2 }' | sort -u)
        DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends -o DPkg::Lock::Timeout=120 "${libraries[@]}" </dev/null
        ! lacking || { echo "libraries of Open vSwitch are lacking" >&2; exit 1; }
    fi
    mv root.new root
}

for need in apt-get dpkg-deb ldd flock; do
    command -v $need >/dev/null || fail "$need is missing"
done
exec {lock}>lock # another run may use the same folder
flock "$lock"
[ -e root/$daemon ] || fetch >fetch.log 2>&1 || fail "it cannot be fetched: $(tail -n 1 fetch.log)"
root/$daemon --version >version.log 2>&1 || fail "it does not start: $(tail -n 1 version.log)"
