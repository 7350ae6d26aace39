#!/bin/bash -eu
# SPDX-License-Identifier: BSD-2-Clause
#
# What OSS-Fuzz runs in the image that the Dockerfile beside this makes: builds each target of the library in tests/fuzz into $OUT, with its
# seeds, its dictionary and its options. The compilers, their flags and the engine are what the environment says; libck is linked
# as an archive, as the image that runs the targets has no library of it. tests/check_oss_fuzz.sh does it here.
cd "$SRC/flowq"
# shellcheck source=tests/fuzz/targets.sh
. tests/fuzz/targets.sh
work=$(mktemp -d "${WORK:-/tmp}/flowq-XXXXXX")

# compile SOURCE OBJECT
compile() {
    # shellcheck disable=SC2086 # several words each
    $CC $CFLAGS "${fuzz_flags[@]}" -Iinclude -Ilib -c "$1" -o "$2"
}

for target in "${fuzz_library[@]}"; do
    fuzz_target "$target" .
    objects=()
    for source in "${sources[@]}"; do
        object=$work/$(basename "$source" .c).o
        objects+=("$object")
        [ ! -e "$object" ] || continue
        compile "$source" "$object" &
        [ "$(jobs -rp | wc -l)" -lt "$(nproc)" ] || wait -n
    done
    wait
    # shellcheck disable=SC2086 # several words each
    $CXX $CXXFLAGS "${objects[@]}" -o "$OUT/fuzz_$target" $LIB_FUZZING_ENGINE -l:libck.a -lpthread
    fuzz_seeds "tests/fuzz/$target.seeds" "$work/$target"
    (cd "$work/$target" && zip -q -r "$OUT/fuzz_${target}_seed_corpus.zip" .)
    cp "$dictionary" "$OUT/fuzz_$target.dict"
    printf '[libfuzzer]\nmax_len = %s\n' "$longest" >"$OUT/fuzz_$target.options"
done
rm -rf "$work"
