#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# What tests/fuzz/oss-fuzz/build.sh builds, in an environment like OSS-Fuzz's, with the flags that its images set for each
# sanitizer: every target is there, needs no library that the image which runs it lacks, takes its dictionary and its options, and
# passes its seeds. Takes minutes: only with FLOWQ_LONG=1. Needs clang with libFuzzer, and zip.
set -euo pipefail

src=$(cd "${FLOWQ_SRCDIR:-$(dirname "${BASH_SOURCE[0]}")/..}" && pwd -P)
case ${FLOWQ_LONG-} in
"" | 0*) echo "only with FLOWQ_LONG=1"; exit 77 ;;
esac
for tool in clang clang++ zip unzip; do
    command -v $tool >/dev/null || { echo "$tool is not installed"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo 'int LLVMFuzzerTestOneInput(const char *data, long size) { return data && size < 0; }' >"$work/any.c"
clang -fsanitize=fuzzer,address "$work/any.c" -o "$work/any" 2>"$work/log" || { cat "$work/log"; echo "clang has no libFuzzer"; exit 77; }
# shellcheck source=tests/fuzz/targets.sh
. "$src/tests/fuzz/targets.sh"

fail() {
    echo "FAILED: $*"
    exit 1
}

# As in base-builder's Dockerfile: what every build has, and what each sanitizer adds.
all="-O1 -fno-omit-frame-pointer -gline-tables-only -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION -fsanitize=fuzzer-no-link"
checks=array-bounds,bool,builtin,enum,function,integer-divide-by-zero,null,object-size,return,returns-nonnull-attribute,shift
checks+=,signed-integer-overflow,unreachable,vla-bound
address="-fsanitize=address -fsanitize-address-use-after-scope"
undefined="-fsanitize=$checks,unsigned-integer-overflow -fno-sanitize-recover=$checks"

# try SANITIZER FLAGS
try() {
    local image=$work/$1 target dir options
    mkdir -p "$image"/{src,work,out}
    ln -s "$src" "$image/src/flowq"
    env -i PATH="$PATH" HOME="$work" CC=clang CXX=clang++ CFLAGS="$all $2" CXXFLAGS="$all $2" LIB_FUZZING_ENGINE=-fsanitize=fuzzer \
        SRC="$image/src" WORK="$image/work" OUT="$image/out" FUZZING_ENGINE=libfuzzer SANITIZER="$1" ARCHITECTURE=x86_64 \
        bash -eu "$src/tests/fuzz/oss-fuzz/build.sh" >"$work/log" 2>&1 || { cat "$work/log"; fail "$1: build.sh"; }
    for target in "${fuzz_library[@]}"; do
        dir=$image/seeds/$target
        mkdir -p "$dir"
        unzip -q "$image/out/fuzz_${target}_seed_corpus.zip" -d "$dir"
        [ "$(find "$dir" -type f | wc -l)" = "$(grep -c -v '^#' "$src/tests/fuzz/$target.seeds")" ] || fail "$1: $target: seeds are missing"
        ! ldd "$image/out/fuzz_$target" | grep -E 'libck|libxxhash|not found' || fail "$1: $target needs libraries that will not be there"
        options=$(sed -n 's/^\([a-z_]*\) = /-\1=/p' "$image/out/fuzz_$target.options")
        # The seeds, and then what libFuzzer makes of them.
        # shellcheck disable=SC2086 # several words
        (cd "$image" && UBSAN_OPTIONS=silence_unsigned_overflow=1:print_stacktrace=1 nice "$image/out/fuzz_$target" $options \
            -dict="$image/out/fuzz_$target.dict" -seed=1 -runs=2000 "$dir") >"$work/log" 2>&1 || { tail -n 60 "$work/log"; fail "$1: $target"; }
        echo "ok: $1, $target: $(grep -o 'INITED.*' "$work/log"), $(grep -o '^Dictionary: .*' "$work/log")"
    done
}

try address "$address"
try undefined "$undefined"
