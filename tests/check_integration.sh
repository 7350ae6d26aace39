#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The snippets of flowq-integration(7) stand in the files of tests/integration that the page names above each, word for word; no
# file is left out, and no snippet that calls flowq has no file. The files compile: against DPDK's headers, which Debian packages,
# and against declarations of what they use of Open vSwitch and VPP (tests/integration/shim); OVS_CFLAGS and VPP_CFLAGS lead to the
# headers of these. And they run, with what they call of a host defined by run_*.c. Run from the build directory.
set -eu
src=${FLOWQ_SRCDIR:?}
page=$src/man/flowq-integration.7
code=$src/tests/integration
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The snippets are functions that a host would call.
flags="-std=gnu11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wpointer-arith -Wwrite-strings -Wvla -Werror
    -Wno-unused-function -Wno-unused-const-variable -I$src/include -I$code"
failed=0
fail() {
    echo "FAILED: $*"
    failed=1
}

# A snippet or a file as one line, its words a space apart.
words() { tr -s ' \t\n' '   ' <"$1"; }

# Snippets go to work/<n>, the file that the comment above each names to work/<n>.file.
awk -v work="$work" '
    /^\.\\" tests\/integration\// { file = $2; next }
    /^\.Bd -literal/ { n++; shown = 1; print file >(work "/" n ".file"); next }
    /^\.Ed/ { shown = 0; next }
    shown { print >(work "/" n) }
    { file = "" }' "$page"

n=0
for snippet in "$work"/*[0-9]; do
    read -r file <"$snippet.file" || file=
    if [ -z "$file" ]; then
        ! grep -q 'flowq_[a-z_]*(' "$snippet" || fail "a snippet in the page has no file: $(head -n 2 "$snippet")"
        continue
    fi
    [ -e "$src/$file" ] || { fail "the page names $file, which is not there"; continue; }
    n=$((n + 1))
    case $(words "$src/$file") in
    *"$(words "$snippet")"*) ;;
    *) fail "this snippet of the page does not stand in $file:"; cat "$snippet" ;;
    esac
done
for file in "$code"/*.c; do
    case $file in */run_*) continue ;; esac
    grep -q -x "tests/integration/${file##*/}" "$work"/*.file || fail "the page shows nothing of ${file##*/}"
done

# compile NAME AGAINST FLAGS...
compile() {
    name=$1 against=$2
    shift 2
    # shellcheck disable=SC2086 # a compiler may be two words, flags are several
    if ${CC:-cc} ${CFLAGS-} $flags "$@" -c -o "$work/$name.o" "$code/$name.c"; then
        echo "ok: $name.c compiles, against $against"
    else
        fail "$name.c does not compile, against $against"
    fi
}

# run NAME FLAGS...: the program that includes the snippet, with libflowq.
run() {
    name=$1
    shift
    [ -x ./libtool ] && [ -e libflowq.la ] || return 0
    # shellcheck disable=SC2086
    if ./libtool --silent --tag=CC --mode=link ${CC:-cc} ${CFLAGS-} $flags "$@" -no-install -o "$work/run_$name" \
        "$code/run_$name.c" libflowq.la && "$work/run_$name"; then
        echo "ok: $name.c runs"
    else
        fail "run_$name.c"
    fi
}

# Headers of others are not held to our warnings. Words of the flags are separate on purpose.
for name in switch vmm tap; do
    compile "$name" "the C library alone"
    run "$name"
done
if dpdk=$("${PKG_CONFIG:-pkg-config}" --cflags libdpdk 2>/dev/null); then
    dpdk=$(echo "$dpdk" | sed 's/-I/-isystem /g')
    # shellcheck disable=SC2086
    compile dpdk_vhost "DPDK $("${PKG_CONFIG:-pkg-config}" --modversion libdpdk)" $dpdk
    # shellcheck disable=SC2086
    run dpdk_vhost $dpdk
else
    echo "skipped: dpdk_vhost.c: there is no DPDK (Debian: libdpdk-dev)"
fi
for name in ovs ovs_netdev vpp; do
    case $name in
    ovs) real=${OVS_CFLAGS-} of="Open vSwitch" set=OVS_CFLAGS ;;
    ovs_netdev) real="" of="Open vSwitch" set="none: it shows what these lack" ;;
    vpp) real=${VPP_CFLAGS-} of=VPP set=VPP_CFLAGS ;;
    esac
    if [ -n "$real" ]; then
        # shellcheck disable=SC2086
        compile "$name" "the headers of $of" $real
    fi
    compile "$name" "declarations of what it uses of $of (for its headers set $set)" "-I$code/shim"
    run "$name" "-I$code/shim"
done

[ -x ./libtool ] || { echo "not run from a build directory: nothing was run"; [ $failed != 0 ] || exit 77; }
[ $failed != 0 ] || echo "ok: $n snippets of the page are as in tests/integration"
exit $failed
