# shellcheck shell=bash disable=SC2034 # who reads this uses the names
# SPDX-License-Identifier: BSD-2-Clause
#
# What each fuzz target is made of: read by tests/fuzz/run, and by oss-fuzz/build.sh: that takes those of the library, which need
# none but libck.
fuzz_library=(parse calls ctrl state words)
fuzz_targets=("${fuzz_library[@]}" rings messages replay)
fuzz_flags=(-std=gnu11 -D_GNU_SOURCE)

# fuzz_target NAME TOP: sets `sources`, of the tree TOP, and what they need besides libck, `libraries`; `longest`, the bytes of an
# input that can still tell something; `dictionary`, a file of words that inputs are made with, or none; and `packages`, what
# pkg-config has to know. False: there is no such target.
fuzz_target() {
    local tests=$2/tests fuzz=$2/tests/fuzz
    sources=("$fuzz/fuzz_$1.c" "$2"/lib/*.c)
    libraries=()
    packages=()
    longest=4096
    dictionary=$fuzz/packets.dict
    case $1 in
    parse)
        sources+=("$tests"/{counted_parse,model_parse,model_guess,model_tunnel}.c)
        longest=404 # four of settings, and the packet
        ;;
    calls) ;;
    ctrl)
        sources+=("$tests/frames.c")
        dictionary=$fuzz/ctrl.dict
        ;;
    state)
        sources+=("$tests/frames.c" "$tests/model_state.c")
        dictionary=$fuzz/state.dict
        ;;
    words)
        sources+=("$2"/vhost/{question,settings}.c)
        longest=1024
        dictionary=$fuzz/words.dict
        ;;
    rings)
        # Of DPDK its headers alone.
        packages=(libdpdk)
        # shellcheck disable=SC2207 # flags, a word each
        sources+=("$2/vhost/positions.c" "$tests/frames.c" $(pkg-config --cflags libdpdk 2>/dev/null || true))
        dictionary=
        ;;
    messages)
        # Of DPDK its headers alone; of the drop-in all but what the target has in its place.
        packages=(libdpdk)
        # shellcheck disable=SC2207 # flags, a word each
        sources+=("$2"/vhost/{calls,dequeue,enqueue,fetch,messages,ordered,port,positions,settings,state}.c "$fuzz/front_end.c" "$tests/stub_dpdk.c"
            -DALLOW_EXPERIMENTAL_API $(pkg-config --cflags libdpdk 2>/dev/null || true))
        longest=1024
        dictionary=
        ;;
    replay)
        # The program whole, but for zlib: packed input is the fuzzer's to make nothing of.
        sources+=("$2"/examples/replay_*.c -DHAVE_PCAP -DHAVE_JANSSON)
        packages=(libpcap jansson)
        libraries=(-lpcap -ljansson)
        dictionary=
        ;;
    *) return 1 ;;
    esac
}

# fuzz_seeds FILE FOLDER: each line of seeds as a file of bytes.
fuzz_seeds() {
    mkdir -p "$2"
    # shellcheck disable=SC2016 # perl's own
    perl -e 'my ($from, $to) = @ARGV; my $n = 0; open my $seeds, "<", $from or die "$from: $!";
        while (<$seeds>) {
            next if /^#/; chomp; my $name = sprintf "%s/seed-%04u", $to, $n++;
            open my $out, ">:raw", $name or die "$name: $!"; print $out pack "H*", $_; close $out or die "$name: $!";
        }' "$1" "$2"
}
