#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The probes in the library and in the drop-in are those of flowq-probes(7), with as many arguments, and the scripts use no others;
# where bpftrace may look on, each script is tried, and what it sees is what the counters say. Without sys/sdt.h there are none. Run
# from the build directory.
set -eu
src=${FLOWQ_SRCDIR:?}
work=$(mktemp -d)
tracer=
end() {
    [ -z "$tracer" ] || kill "$tracer" 2>/dev/null || true
    rm -rf "$work"
}
trap end EXIT
fail() {
    echo "FAILED: $*"
    exit 1
}

# "name arguments" of each probe.
probes() {
    readelf -n "$1" | sed -n '/Provider: flowq$/,/Arguments:/{
        s/^ *Name: //p
        s/^ *Arguments: *//p
    }' | paste -d' ' - - | awk '{ print $1, NF - 1 }' | LC_ALL=C sort -u
}
sed -n 's/^\.It Ic \([a-z]*__[a-z]*\) Fa /\1 /p' "$src/man/flowq-probes.7" | awk '{ print $1, NF - 1 }' | LC_ALL=C sort >"$work/manual"
[ -s "$work/manual" ] || fail "flowq-probes(7) names no probes"

for script in "$src"/examples/probes/*.bt; do
    grep -o 'flowq:[a-z_]*' "$script" | sed 's/flowq://' | while read -r name; do
        grep -q "^$name " "$work/manual" || { echo "FAILED: ${script##*/} uses $name, which is not in flowq-probes(7)"; exit 1; }
    done
done

library=$PWD/.libs/libflowq.so
if [ ! -e "$library" ] || ! command -v readelf >/dev/null; then
    echo "no shared library, or no readelf: the scripts were compared with the manual only"
    exit 77
fi
if ! grep -q '^PROBES_CPPFLAGS = -DHAVE_SYS_SDT_H' Makefile; then
    [ -z "$(probes "$library")" ] || fail "there are probes, though configure found no sys/sdt.h"
    echo "configured without sys/sdt.h (Debian: systemtap-sdt-dev): there are none"
    exit 77
fi
for object in "$library" "$PWD/.libs/libflowq-vhost.so"; do
    [ -e "$object" ] || continue
    probes "$object" >"$work/there"
    diff -u "$work/manual" "$work/there" || fail "probes in flowq-probes(7) (-) and in ${object##*/} (+) differ"
done
echo "ok: $(wc -l <"$work/manual") probes, as in the manual"

# shellcheck disable=SC2086 # a compiler may be two words, flags are several
./libtool --silent --tag=CC --mode=link ${CC:-cc} -std=gnu11 -Wall -Wextra -Werror ${CFLAGS-} -I"$src/include" -no-install \
    -o "$work/probed" "$src/tests/probed.c" libflowq.la -lpthread
"$work/probed" >"$work/counters"
if ! command -v bpftrace >/dev/null || [ -n "${FLOWQ_EMULATED-}" ]; then
    echo "bpftrace is not installed: nobody looked on"
    exit 0
fi

# Runs bpftrace and, once it looks, the program. False: it may not.
look() { # OUTPUT ARGUMENTS...
    out=$1
    shift
    : >"$work/$out"
    bpftrace "$@" >"$work/$out" 2>"$work/complaints" &
    tracer=$!
    i=0
    until grep -q . "$work/$out"; do
        i=$((i + 1))
        if [ $i = 60 ] || ! kill -0 "$tracer" 2>/dev/null; then
            return 1
        fi
        sleep 1
    done
    sleep 2 # it says something when it begins to attach
    "$work/probed" >"$work/counters"
    sleep 1
    while kill -INT "$tracer" 2>/dev/null; do # one that comes while it attaches is lost
        sleep 1
    done
    wait "$tracer" || true
    tracer=
}

program='BEGIN { printf("looking\n"); }'
while read -r name _; do
    program="$program usdt:$library:flowq:$name { @[str(arg1), \"$name\"] = count(); }"
done <"$work/manual"
if ! look seen -e "$program" || ! grep -q 'large, flow__bound' "$work/seen"; then
    echo "bpftrace may not look on here: $(grep ERROR "$work/complaints" | tail -n 1)"
    exit 0
fi
compare() { # PROBE COUNTER...
    name=$1
    shift
    for vm in large small; do
        sum=$(for counter; do sed -n "s/^$vm flowq_$counter //p" "$work/counters"; done | awk '{ n += $1 } END { print n }')
        seen=$(sed -n "s/^@\[$vm, $name\]: //p" "$work/seen")
        [ "${seen:-0}" = "$sum" ] || fail "$vm: $name was seen ${seen:-0} times, and the counter says $sum"
    done
}
compare flow__bound flows_inserted
compare flow__moved 'notes moved'
compare flow__held 'notes suppressed'
compare flow__refused 'notes refused'
compare flow__displaced 'flows_displaced embryonic' 'flows_displaced closing' 'flows_displaced established'
compare table__grown table_grown
compare table__shrunk table_shrunk
compare section__stalled table_grow_delayed
while read -r name _; do
    grep -q ", $name\]: [1-9]" "$work/seen" || fail "$name was not seen"
done <"$work/manual"
echo "ok: bpftrace sees what the counters say"

for script in "$src"/examples/probes/*.bt; do
    name=${script##*/}
    look "$name" "$script" "$library" || { cat "$work/complaints"; fail "$name"; }
    case $name in
    moves.bt) wanted='^@moved\[large, -*[0-9]*\]: ' ;;
    queues.bt) wanted=' large: queue 2 is being reset (' ;;
    *) wanted="large: growth waits for a section of thread $(sed -n 's/^holder //p' "$work/counters")" ;;
    esac
    grep -q "$wanted" "$work/$name" || { tail -n 20 "$work/$name"; fail "$name does not say '$wanted'"; }
    echo "ok: $name"
done
