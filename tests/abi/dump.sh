#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# tests/abi/dump.sh HEADER MAP OUT COMPILER...: the binary interface that flowq.h has with this compiler, as abidw (abigail-tools)
# says it: functions with their symbols' versions, structs with sizes and offsets, constants with their values.
#
# It is taken from an object in which every function that the header declares is defined, and does nothing. So it takes no build of
# the library and no libck, and any cross compiler will do. That the library defines the same is for the compiler and
# check_exports.sh to say.
set -eu
header=$1
map=$2
out=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cp "$header" "$work/flowq.h"
cd "$work"
# Declarations of functions, each on one line once it is preprocessed; what the C library declares is left out.
"$@" -std=gnu11 -E flowq.h | awk '
    /^# [0-9]+ "/ { ours = $3 == "\"flowq.h\""; next }
    ours { text = text " " $0 }
    END {
        gsub(/#pragma[^;]*default\)|#pragma[^;]*pop/, "", text)
        gsub(/[ \t]+/, " ", text)
        n = split(text, part, ";")
        for (i = 1; i <= n; i++)
            if (part[i] ~ /^ *(const )?[a-z_0-9]+ \**flowq_[a-z_0-9]+\([^{}]*\)$/)
                print part[i] " { __builtin_trap(); }"
    }' >functions
{
    echo '#include "flowq.h"'
    echo '#pragma GCC visibility push(default)'
    cat functions
} >interface.c
[ -s functions ] || { echo "dump.sh: no function is found in $header" >&2; exit 1; }
# Constants are in no function's type: an enumeration is kept though nothing uses it.
"$@" -std=gnu11 -g -gdwarf-4 -O0 -w -fPIC -shared -nostdlib -fno-eliminate-unused-debug-types -fvisibility=hidden -Wl,-soname,libflowq.so.0 \
    -Wl,--version-script="$map" interface.c -o interface.so
abidw --load-all-types --no-show-locs --no-corpus-path --no-comp-dir-path --no-elf-needed --no-parameter-names \
    --header-file flowq.h --drop-private-types interface.so >dump
cd - >/dev/null
cp "$work/dump" "$out"
