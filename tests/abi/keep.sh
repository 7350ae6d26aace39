#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# tests/abi/keep.sh SRCDIR: `make abi-dump`. Keeps the interface as it is now as what version 0.9 promised, in tests/abi/0.9: the
# dumps that check_abi.sh compares with, one for each layout there is, and the header without its comments, with which
# check_old_caller is compiled. For the day of a release: what is kept then does not change until the next major version.
set -eu
src=$1
kept=$src/tests/abi/0.9
mkdir -p "$kept"

keep() {
    name=$1
    shift
    if ! command -v "$1" >/dev/null; then
        echo "abi-dump: $name.abi stays as it was: there is no $1" >&2
        return
    fi
    "$src/tests/abi/dump.sh" "$src/include/flowq.h" "$src/lib/flowq.map" "$kept/$name.new" "$@"
    { echo '<!-- SPDX-License-Identifier: BSD-2-Clause -->' && cat "$kept/$name.new"; } >"$kept/$name.abi"
    rm -f "$kept/$name.new"
    echo "kept: tests/abi/0.9/$name.abi"
}

keep x86_64 x86_64-linux-gnu-gcc # and all others with pointers of 64 bits
keep i386 i686-linux-gnu-gcc
keep arm arm-linux-gnueabihf-gcc
{
    echo '/* SPDX-License-Identifier: BSD-2-Clause */'
    echo '/* flowq.h of version 0.9 without its comments, for check_old_caller. Made by make abi-dump. */'
    echo '/* clang-format off */'
    ${CC:-cc} -fpreprocessed -dD -E -P -w "$src/include/flowq.h" | sed 's/ *$//'
} >"$kept/flowq.h"
echo "kept: tests/abi/0.9/flowq.h"
