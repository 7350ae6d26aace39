#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# flowq-replay: what it finds in the captures of tests/data, its options, its errors; and with FLOWQ_CAPTURES set, that no capture
# there upsets it. Run from the build directory.
set -eu
data=${FLOWQ_SRCDIR:?}/tests/data
replay=./flowq-replay
if [ ! -x $replay ]; then
    echo "flowq-replay was not built: it needs libpcap"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "FAILED: $*"
    [ ! -s "$work/out" ] || sed 's/^/  out: /' "$work/out" | head -n 40
    [ ! -s "$work/err" ] || sed 's/^/  err: /' "$work/err" | head -n 10
    exit 1
}

# run STATUS ARGUMENTS...: the program must end with this status.
run() {
    wanted=$1
    shift
    status=0
    $replay "$@" >"$work/out" 2>"$work/err" || status=$?
    [ $status = "$wanted" ] || fail "status $status instead of $wanted: flowq-replay $*"
}

# One line of complaint, which has these words in it.
complains() {
    [ "$(wc -l <"$work/err")" = 1 ] || fail "not one line of complaint"
    grep -q -- "$1" "$work/err" || fail "no complaint about: $1"
}

# says WORDS: the report has them.
says() {
    grep -q -- "$1" "$work/out" || fail "not in the report: $1"
}

# share METHOD: what it got right, in tenths of a percent.
share() {
    sed -n "s/^  $1  *\([0-9]*\)\.\([0-9]\) %.*/\1\2/p" "$work/out"
}

# The demo: flowq is right, others by chance.
run 0 "$data"/*.pcap*
[ ! -s "$work/err" ] || fail "something on stderr"
[ "$(share flowq)" -ge 995 ] || fail "flowq is right in less than 99.5 %"
if [ "$(share hash)" -gt 400 ] || [ "$(share hash)" -lt 100 ]; then
    fail "the hash is not right by chance"
fi
[ "$(share 'one queue')" -le 400 ] || fail "one queue is not right by chance"
says '^VM     10.0.0.5, 2001:db8::5 (chosen: '
cp "$work/out" "$work/all"
run 0 "$data"/*.pcap*
cmp -s "$work/out" "$work/all" || fail "a second run reports something else"
run 0 --seed 2 "$data"/*.pcap*
! cmp -s "$work/out" "$work/all" || fail "another seed changes nothing"
[ "$(share flowq)" -ge 995 ] || fail "flowq is right in less than 99.5 %, seed 2"

# Per queue: as much landed in total as was judged, for each method, and no more is right than landed.
awk '$1 == "total" { n++; bad = $3 != $5 || $3 != $8 || $3 != $11 || $6 > $5 || $9 > $8 || $12 > $11 }
    END { exit bad || n != 1 }' "$work/out" || fail "the totals do not agree"

# Each capture by itself.
for file in "$data"/*.pcap*; do
    run 0 --vcpus 8 --move-every 5 "$file"
    [ "$(share flowq)" -ge 980 ] || fail "flowq is right in less than 98 %: ${file##*/}"
done
run 0 "$data/icmp-errors.pcap" && says '^  icmp-error .*100.0 %  '
run 0 "$data/fragments-ipv4.pcap" && says '^  fragment .*100.0 %  '
run 0 "$data/fragments-ipv6.pcap" && says '^  fragment .*100.0 %  '
run 0 "$data/fragments-ipv4.pcap" && says 'later fragment, first one not seen'

# Standard input; the VM as the user says.
run 0 "$data/tcp.pcap" && cp "$work/out" "$work/all"
$replay - <"$data/tcp.pcap" >"$work/out" 2>"$work/err" || fail "standard input"
cmp -s "$work/out" "$work/all" || fail "standard input gives something else"
tail -c +1 "$data/udp.pcapng" | $replay - >"$work/out" 2>"$work/err" || fail "a pipe"
for who in '--vm 10.0.0.5' '--vm 10.0.0.0/8' '--vm-mac 02:00:00:00:00:05' '--vm 2001:db8::/48 --vm 10.0.0.5/32'; do
    # shellcheck disable=SC2086 # option and argument
    run 0 $who "$data/tcp.pcap"
    [ "$(share flowq)" -ge 995 ] || fail "flowq is right in less than 99.5 %: $who"
done
run 0 --vm 172.16.0.5 "$data/vxlan.pcap" # seen from within the tunnel
[ "$(share flowq)" -ge 995 ] || fail "flowq is right in less than 99.5 %: inner address"
run 0 --vm 192.0.2.99 "$data/tcp.pcap" && says ' 0 of 0$'
run 0 --vcpus 1 "$data/tcp.pcap" && says '^  flowq  *100.0 %'
run 0 --move-every 0 "$data/long-lived.pcap" && says 'threads moved 0 times'
run 0 --flows "$data/long-lived.pcap" && says '^  tcp    198.51.100.161:5432  *10.0.0.5:49000 '

# Members of the report for programs.
status=0
$replay --json --flows "$data/tcp.pcap" >"$work/out" 2>"$work/err" || status=$?
if [ $status = 2 ]; then
    complains jansson
elif [ $status != 0 ]; then
    fail "--json ends with status $status"
elif command -v python3 >/dev/null; then
    with_json=1
    python3 - "$work/out" <<'END' || fail "--json"
import json, sys
report = json.load(open(sys.argv[1]))
assert report["vm"] == "10.0.0.5" and report["packets"] == report["sent"] + report["received"] + report["others"]
assert report["right"]["flowq"] >= 0.995 * report["judged"] > 0
assert sum(q["methods"]["flowq"]["landed"] for q in report["queues"]) == report["judged"]
assert sum(report["not_judged"].values()) + report["judged"] == report["received"]
counters = report["counters"]
assert counters["flowq_notes"]["bound"] == counters["flowq_flows_inserted"] > 0
assert {k: v for k, v in counters["flowq_notes"].items() if v} == report["notes"]
assert sum(counters["flowq_steered"].values()) == report["received"] and counters["flowq_queues_in_use"] == 4
assert report["complete"] is True and report["interrupted"] is False and report["captures_incomplete"] == 0
assert len(report["flow_list"]) == report["guest"]["flows"] == 24
END
fi

# What cannot be read: one line says so, the rest is done, the status is 1.
run 1 "$work/missing" "$data/tcp.pcap" && complains "missing: No such file" && says 'from 1 capture,'
: >"$work/empty"
run 1 "$work/empty" && complains "empty: .*nothing read" && says '^0 packets'
echo "this is no capture, but it is long enough" >"$work/garbage"
run 1 "$work/garbage" && complains "garbage: .*nothing read"
head -c 20000 "$data/tcp.pcap" >"$work/cut"
run 1 "$work/cut" "$data/vlan.pcap" && complains "cut: truncated.*packets before that are kept" && says 'from 2 captures,'
{ head -c 20 "$data/tcp.pcap"; printf '\151\000\000\000'; tail -c +25 "$data/tcp.pcap"; } >"$work/wifi"
run 1 "$work/wifi" && complains 'IEEE802_11.*not among those that are read'
head -c 24 "$data/tcp.pcap" >"$work/none"
run 0 "$work/none" && says '^VM     none' && says ' 0 of 0$'
run 1 "$data" && complains 'nothing read'
printf 'x' >"$work/$(printf 'bell\007')"
run 1 "$work/$(printf 'bell\007')" "$data/tcp.pcap" && complains 'bell?: .*nothing read'
! grep -q "$(printf '\007')" "$work/err" || fail "the name of a file reaches the terminal as it is"
says '^INCOMPLETE: 1 capture could not be read'

# What is left out, and said.
run 0 --max-named 10 "$data/tcp.pcap" && says '^LIMITED: 10 flows are known' && says 'of a flow beyond --max-named'
run 0 --max-flows 8 "$data"/*.pcap* && says 'flows known at the end'
run 0 --filter 'tcp port 443' "$data/tcp.pcap" && says 'left out by --filter'
run 2 --filter 'tcp prt' "$data/tcp.pcap" && complains '--filter: '
run 0 --from 0.2 --to 0.4 "$data/tcp.pcap" && says ' left out by '
run 0 --from 100 "$data/tcp.pcap" && says '^0 packets from'
if command -v tcpdump >/dev/null; then # libpcap's own judgement of a filter
    for filter in 'tcp[tcpflags] & tcp-syn != 0' 'host 198.51.100.3' 'not ip'; do
        run 0 --vm 10.0.0.5 --filter "$filter" "$data/tcp.pcap"
        says "^$(tcpdump -nr "$data/tcp.pcap" "$filter" 2>/dev/null | wc -l) packets\\{0,1\\} from"
    done
fi

# One packet, and why.
run 0 --explain 1 "$data/tcp.pcap" && says '^packet 1, 0.000000 s after the first one: ' && says ' end: '
run 0 --explain 101 "$data/vxlan.pcap" && says '  vxlan, network id 42, tunnel$' && says '^goes to  queue .: bound$'
if [ -n "${with_json-}" ]; then
    run 0 --explain 101 --json "$data/vxlan.pcap"
    python3 - "$work/out" <<'END' || fail "--explain --json"
import json, sys
seen = json.load(open(sys.argv[1]))
assert [h["header"] for h in seen["headers"]].count("ipv4") == 2 and "vxlan" in [h["header"] for h in seen["headers"]]
assert seen["packet"] == 101 and seen["direction"] == "received" and seen["key"] == "flow" and seen["end"] == "key"
assert seen["reason"] == "bound" and seen["queue"] == seen["binding"]["queue"] == seen["guest_queue"] and seen["binding"]["in_use"]
END
fi
run 1 --explain 100000 "$data/tcp.pcap" && complains 'no such packet'
if command -v tshark >/dev/null; then # the headers that another dissector finds, as far as we read
    for file in tcp.pcap vlan.pcap vxlan.pcap gre.pcap ipv6.pcap; do
        tshark -r "$data/$file" -Y 'frame.number in {1, 7, 40}' -T fields -e frame.number -e frame.protocols \
            >"$work/dissected" 2>/dev/null
        for n in 1 7 40; do
            run 0 --explain $n "$data/$file"
            sed -n 's/^ *[0-9][0-9]*  *[0-9][0-9]*  \([a-z0-9]*\).*/\1/p' "$work/out" | sed 's/^ethernet$/eth/; s/^ipv4$/ip/' |
                tr '\n' ':' >"$work/ours"
            sed -n "s/^${n}[[:space:]]//p" "$work/dissected" | sed 's/ethertype://g; s/:icmpv6.*/:icmp/' >"$work/theirs"
            [ -s "$work/theirs" ] || fail "tshark does not read packet $n of $file"
            case $(cat "$work/theirs"): in
            "$(cat "$work/ours")"*) ;;
            *) fail "tshark finds $(cat "$work/theirs") in packet $n of $file, not $(cat "$work/ours")" ;;
            esac
        done
    done
fi

# A flow for a bug report: nobody's address is in it, and it plays.
for file in tcp.pcap gre.pcap ipv6.pcap fragments-ipv4.pcap raw-ip.pcap vlan.pcap; do
    run 0 --scenario 1 "$data/$file"
    [ "$(grep -c '^[tr]x ' "$work/out")" -ge 2 ] || fail "--scenario: too few steps from $file"
    ! grep -q '0a000005\|c633640\|20010db80000000000000000000000' "$work/out" || fail "--scenario: an address of $file is left"
    if [ -x tests/check_scenarios ]; then
        ./tests/check_scenarios "$work/out" >"$work/played" 2>&1 ||
            fail "--scenario: $file does not play: $(tail -n 5 "$work/played")"
    fi
done
run 1 --scenario 100000 "$data/tcp.pcap" && complains '--scenario: no such packet'

# A table.
run 0 --csv "$data/tcp.pcap"
[ "$(wc -l <"$work/out")" = 25 ] || fail "--csv has not a line for each of 24 flows"
! grep -v -q '^[^,]*\(,[^,]*\)\{11\}$' "$work/out" || fail "--csv has not 12 columns"

# Packed; other link layers; several interfaces of different kinds in one file: the same report.
if command -v gzip >/dev/null; then
    run 0 "$data/tcp.pcap" && cp "$work/out" "$work/all"
    gzip -c "$data/tcp.pcap" >"$work/tcp.gz"
    status=0
    $replay "$work/tcp.gz" >"$work/out" 2>"$work/err" || status=$?
    if [ $status = 0 ]; then
        cmp -s "$work/out" "$work/all" || fail "a packed capture gives something else"
        head -c 3000 "$work/tcp.gz" >"$work/tcp-cut.gz"
        run 1 "$work/tcp-cut.gz" && complains 'tcp-cut.gz: ' && says '^INCOMPLETE: '
    fi
fi
if command -v python3 >/dev/null; then
    run 0 --vm 10.0.0.5 --filter 'ip or ip6' "$data/tcp.pcap" && grep -v 'left out' "$work/out" >"$work/all"
    for kind in sll sll2 null loop ppp hdlc raw interfaces; do
        python3 "$FLOWQ_SRCDIR/tests/relink.py" $kind "$data/tcp.pcap" >"$work/$kind"
        run 0 --vm 10.0.0.5 --filter 'ip or ip6' "$work/$kind"
        grep -v 'left out' "$work/out" | cmp -s - "$work/all" || fail "$kind gives something else than Ethernet"
    done
    head -c 30000 "$work/interfaces" >"$work/cut.pcapng"
    run 1 "$work/cut.pcapng" && complains 'truncated.*packets before that are kept'
fi

# What cannot be asked.
run 2 && complains 'no capture named'
for wrong in '--vcpus 0' '--vcpus 257' '--vcpus x' '--vcpus -1' '--seed 1x' '--vm 10.0.0' '--vm 10.0.0.0/33' '--vm 10.0.0.0/' \
    '--vm-mac 1:2:3' '--max-flows 7' '--vm 10.0.0.1 --vm-mac 02:00:00:00:00:05'; do
    # shellcheck disable=SC2086 # option and argument
    run 2 $wrong "$data/tcp.pcap" && complains 'flowq-replay: --'
    [ ! -s "$work/out" ] || fail "a report in spite of $wrong"
done
run 2 --nonsense "$data/tcp.pcap"
run 0 --help && says '^usage: flowq-replay'
run 0 --version && says '^flowq-replay [0-9]*\.[0-9]*\.[0-9]*$'
if [ -e /dev/full ] && $replay "$data/tcp.pcap" >/dev/full 2>"$work/err"; then
    fail "a full disk is not noticed"
fi

[ -n "${FLOWQ_CAPTURES-}" ] || { echo "ok; without FLOWQ_CAPTURES no other captures were tried"; exit 0; }
find "$FLOWQ_CAPTURES" -name '*.pcap' -o -name '*.pcapng' -o -name '*.cap' | sort >"$work/list"
n=0
whole=0
while read -r file; do
    status=0
    $replay --flows "$file" >"$work/out" 2>"$work/err" </dev/null || status=$?
    [ $status -le 1 ] || fail "status $status: $file"
    [ $status = "$(grep -c . "$work/err")" ] || fail "status $status does not fit what is said: $file"
    says '^By queue '
    n=$((n + 1))
    whole=$((whole + 1 - status))
done <"$work/list"
[ $n -gt 0 ] || fail "there are no captures in $FLOWQ_CAPTURES"
echo "ok; of $n other captures, $whole were read to the end"
