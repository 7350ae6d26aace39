#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The drop-in as an object: what it needs and what it shows; preloaded into programs that have DPDK in several ways, or not at all;
# linked by --wrap. Run from the build directory.
set -eu
src=${FLOWQ_SRCDIR:?}
so=$PWD/.libs/libflowq-vhost.so
if ! [ -e "$so" ]; then
    echo "libflowq-vhost.so is not built"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
unset FLOWQ_VHOST LD_PRELOAD

# expect NAME "TEXT" "$result": the result begins with the text; an empty text: nothing at all was printed.
expect() {
    case $2 in
    '') [ -z "$3" ] && right=1 || right=0 ;;
    *) case $3 in "$2"*) right=1 ;; *) right=0 ;; esac ;;
    esac
    if [ "$right" = 1 ]; then
        echo "ok: $1"
    else
        echo "FAILED: $1: expected \"$2\", got:"
        echo "$3"
        failed=1
    fi
}

# ---- The object ----
expect "nothing of DPDK is needed" "" "$(readelf -dW "$so" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -i rte || :)"
expect "no version nodes" "" "$(readelf -VW "$so" | grep -i 'version definition' || :)"
expect "no thread local storage of others" "" "$(readelf -rW "$so" | grep -i 'TPOFF.*rte' || :)"
sed -n '/global:/,/local:/s/^ *\([a-z_]*\);$/\1/p' "$src/vhost/vhost.map" | LC_ALL=C sort >"$work/map"
sed 's/^/__wrap_/' "$work/map" | LC_ALL=C sort - "$work/map" >"$work/names"
${NM:-nm} -D --defined-only "$so" | awk '{print $3}' | LC_ALL=C sort >"$work/exported"
expect "it shows librte_vhost's names, plain and for --wrap" "" "$(diff "$work/names" "$work/exported" || :)"
[ -s "$work/map" ] || { echo "FAILED: no names in vhost.map"; failed=1; }

# ---- Programs without DPDK ----
expect "/bin/true prints nothing" "" "$(LD_PRELOAD=$so /bin/true 2>&1)"
expect "nor do a shell and its children" "" "$(FLOWQ_VHOST=nonsense LD_PRELOAD=$so sh -c 'cat </dev/null; sh -c :' 2>&1)"

# ---- Programs with DPDK ----
# shellcheck disable=SC2046 # words are separate on purpose
compile() {
    # shellcheck disable=SC2086
    ${CC:-cc} -std=gnu11 -O1 -D_GNU_SOURCE -DALLOW_EXPERIMENTAL_API $("${PKG_CONFIG:-pkg-config}" --cflags libdpdk) \
        -I"$src/include" -pthread "$@" || { echo "FAILED: compiling"; exit 1; }
}
compile_with_stub() { compile "$@" "$src/tests/stub_vhost.c" "$src/tests/stub_dpdk.c"; }
stub() {
    compile_with_stub -shared -fPIC -o "$work/librte_vhost.so.$1" -Wl,-soname,"librte_vhost.so.$1"
}
stub 23
stub 99
LD_LIBRARY_PATH=$work
export LD_LIBRARY_PATH
compile -o "$work/linked" "$src/tests/vhost_ways.c" "$src/tests/frames.c" "$work/librte_vhost.so.23"
compile -o "$work/unknown" "$src/tests/vhost_ways.c" "$src/tests/frames.c" "$work/librte_vhost.so.99"
compile -shared -fPIC -DDRIVER_ONLY -o "$work/driver.so" "$src/tests/vhost_ways.c" "$src/tests/frames.c" "$work/librte_vhost.so.23"
compile -DPROGRAM_ONLY -o "$work/loads" "$src/tests/vhost_ways.c"
compile_with_stub -o "$work/itself" "$src/tests/vhost_ways.c" "$src/tests/frames.c"

expect "a program, as it comes" "as it comes" "$("$work/linked" 2>&1)"
expect "a program" "steered" "$(LD_PRELOAD=$so "$work/linked" 2>&1)"
expect "a program that loads a driver, as it comes" "as it comes" "$("$work/loads" "$work/driver.so" 2>&1)"
expect "a program that loads a driver" "steered" "$(LD_PRELOAD=$so "$work/loads" "$work/driver.so" 2>&1)"
expect "a program of a major version that is not known" "as it comes
FLOWQ: librte_vhost.so.99 is none of" "$(LD_PRELOAD=$so "$work/unknown" 2>&1)"
expect "a program, switched off" "as it comes
FLOWQ: FLOWQ_VHOST says off" "$(FLOWQ_VHOST=off LD_PRELOAD=$so "$work/linked" 2>&1)"
expect "a program that has DPDK in itself is none of ours" "as it comes" "$(LD_PRELOAD=$so "$work/itself" 2>&1)"

# ---- --wrap ----
wrap=$(sed 's/^/-Wl,--wrap=/' "$work/map" | tr '\n' ' ')
# shellcheck disable=SC2086
compile_with_stub -o "$work/wrapped" "$src/tests/vhost_ways.c" "$src/tests/frames.c" $wrap "$so"
expect "a program that has DPDK in itself, by --wrap" "steered" "$(LD_LIBRARY_PATH=$PWD/.libs "$work/wrapped" 2>&1)"
if [ -e .libs/libflowq-vhost.a ]; then
    # shellcheck disable=SC2086
    compile_with_stub -o "$work/archive" "$src/tests/vhost_ways.c" "$src/tests/frames.c" $wrap \
        .libs/libflowq-vhost.a -lck
    expect "the same with the archive" "steered" "$("$work/archive" 2>&1)"
fi
exit $failed
