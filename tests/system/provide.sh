#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# A guest for the tests of the whole system: tests/system/provide.sh FOLDER TOOL...
#
# Fetches QEMU 10 from Debian's backports and a kernel into FOLDER, unpacks both there, and makes an initramfs of the TOOLs and of
# others that are installed here. QEMU and kernel are not installed; libraries that QEMU lacks are, if we are root. What is there
# already is kept. When it cannot, it says why in its last line and ends with 1.
set -euo pipefail

init=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)/init
folder=$1
shift
mapfile -t tools < <(readlink -f "$@")
mkdir -p "$folder"
cd "$folder"
# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "${VERSION_CODENAME-}")

fail() {
    echo "no guest: $*"
    exit 1
}

# The system's own sources with the suite changed, and lists of their own.
from_backports() {
    apt-get -q -o Dir::Etc::sourcelist=/nonexistent -o Dir::Etc::sourceparts="$OLDPWD/sources" -o Dir::State::lists="$OLDPWD/lists" "$@"
}

backport_sources() {
    mkdir -p sources lists/partial
    if [ -e /etc/apt/sources.list.d/debian.sources ]; then
        awk -v RS= -v ORS='\n\n' "/Suites:[^\n]*$release( |\n|\$)/" /etc/apt/sources.list.d/debian.sources |
            sed "s/^Suites:.*/Suites: $release-backports/" >sources/backports.sources
    else
        awk -v suite="$release" '$1 == "deb" && $3 == suite { $3 = suite "-backports"; print; exit }' /etc/apt/sources.list \
            >sources/backports.list
    fi
}

fetch_qemu() {
    local libraries deb
    backport_sources
    mkdir -p qemu.debs
    (cd qemu.debs && from_backports update && from_backports download qemu-system-x86 qemu-system-common qemu-system-data seabios)
    for deb in qemu.debs/*.deb; do
        dpkg-deb -x "$deb" qemu
    done
    if ! ldd qemu/usr/bin/qemu-system-x86_64 | grep -q 'not found'; then
        return
    fi
    mapfile -t libraries < <(apt-cache depends qemu-system-x86 | awk '$1 == "Depends:" && $2 ~ /^lib/ { print $2 }')
    DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${libraries[@]}" </dev/null
}

fetch_kernel() {
    local package
    package=$(apt-cache depends linux-image-cloud-amd64 | awk '$1 == "Depends:" { print $2; exit }')
    mkdir -p kernel.debs
    (cd kernel.debs && apt-get -q download "$package")
    dpkg-deb -x kernel.debs/"$package"_*.deb kernel
}

# put_in PROGRAM...: into the initramfs, with the libraries it is linked with.
put_in() {
    local program library
    for program; do
        program=$(readlink -f "$(command -v "$program")")
        cp "$program" root/usr/bin/
        for library in $(ldd "$program" | grep -o '/[^ ]*'); do
            mkdir -p "root$(dirname "$library")"
            cp -L "$library" "root$library"
        done
    done
}

make_initramfs() {
    local module
    rm -rf root
    mkdir -p root/{bin,usr/bin,proc,sys,dev,tmp,run,modules,etc}
    cp "$(command -v busybox)" root/bin/
    put_in iperf3 ethtool ip "${tools[@]}"
    # In the order in which they are inserted; what a kernel has built in is not there.
    for module in failover net_failover virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_net \
        udp_tunnel ip6_udp_tunnel vxlan; do
        find kernel/lib/modules -name "$module.ko" -exec cp {} root/modules/ \;
        echo "$module" >>root/modules/order
    done
    cp "$init" root/init
    chmod 755 root/init
    (cd root && find . | cpio -o -H newc --quiet | gzip -1) >initramfs.new
    mv initramfs.new initramfs
}

for need in apt-get dpkg-deb busybox cpio iperf3 ethtool ip flock; do
    command -v $need >/dev/null || fail "$need is missing"
done
exec {lock}>lock # another run may use the same folder
flock "$lock"
[ "$(dpkg --print-architecture)" = amd64 ] || fail "this machine is no amd64"
[ -e qemu/usr/bin/qemu-system-x86_64 ] || fetch_qemu >qemu.log 2>&1 ||
    { rm -rf qemu; fail "QEMU cannot be fetched: $(tail -n 1 qemu.log)"; }
qemu/usr/bin/qemu-system-x86_64 --version >qemu.log 2>&1 || fail "QEMU does not start: $(tail -n 1 qemu.log)"
[ -e kernel/boot ] || fetch_kernel >kernel.log 2>&1 ||
    { rm -rf kernel; fail "a kernel cannot be fetched: $(tail -n 1 kernel.log)"; }
[ -z "$(find "$init" "${tools[@]}" -newer initramfs 2>&1)" ] || make_initramfs >initramfs.log 2>&1 ||
    fail "the initramfs cannot be made: $(tail -n 1 initramfs.log)"
