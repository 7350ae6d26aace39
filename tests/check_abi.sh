#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The binary interface is what version 0.9 promised (tests/abi/0.9), and additions: with the compiler in use, and with every cross
# compiler that is there. And it is seen to be another one when something is changed.
set -eu
src=${FLOWQ_SRCDIR:?}
for tool in abidw python3; do
    command -v $tool >/dev/null || { echo "$tool is not installed (Debian: abigail-tools, python3)"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# dump HEADER MAP COMPILER...: into $work/new. The compiler may be two words.
dump() {
    "$src/tests/abi/dump.sh" "$1" "$2" "$work/new" "$3"
}

# compare KEPT: what is broken, into $work/said.
compare() {
    "$src/tests/abi/compare.py" "$src/tests/abi/0.9/$1.abi" "$work/new" >"$work/said" 2>&1
}

# The layout that a compiler gives, which is that of one of the dumps; nothing, if it is of none.
layout() {
    # shellcheck disable=SC2086
    echo | $1 -dM -E - 2>/dev/null | awk '{ set[$2] = 1 }
        END { print set["__LP64__"] ? "x86_64" : set["__i386__"] ? "i386" : set["__arm__"] ? "arm" : "" }'
}

# ---- What was promised holds ---------------------------------------------------------------------------------------------------
for compiler in "${CC:-cc}" aarch64-linux-gnu-gcc arm-linux-gnueabihf-gcc i686-linux-gnu-gcc powerpc64le-linux-gnu-gcc \
    riscv64-linux-gnu-gcc s390x-linux-gnu-gcc; do
    command -v "${compiler%% *}" >/dev/null || continue
    kept=$(layout "$compiler")
    [ -n "$kept" ] || { echo "no dump is kept of the layout that $compiler gives"; continue; }
    # The C library's headers may be missing for a cross compiler.
    if ! echo '#include <sys/uio.h>' | $compiler -fsyntax-only -x c - 2>/dev/null; then continue; fi
    dump "$src/include/flowq.h" "$src/lib/flowq.map" "$compiler"
    if compare "$kept"; then
        echo "ok: $compiler, as $kept"
        cat "$work/said"
    else
        echo "FAILED: $compiler, as $kept"
        cat "$work/said"
        failed=1
    fi
    tried=1
done
[ -n "${tried-}" ] || exit 77

# ---- A change is seen ----------------------------------------------------------------------------------------------------------
kept=$(layout "${CC:-cc}")
[ -n "$kept" ] || exit $failed
mkdir "$work/changed"

# change broken|held WHAT FILE SED: the file, flowq.h or flowq.map, changed so.
change() {
    cp "$src/include/flowq.h" "$src/lib/flowq.map" "$work/changed"
    sed "$4" "$work/changed/$3" >"$work/sed"
    if cmp -s "$work/sed" "$work/changed/$3"; then
        echo "FAILED: $2: the change is none"
        failed=1
        return
    fi
    cp "$work/sed" "$work/changed/$3"
    dump "$work/changed/flowq.h" "$work/changed/flowq.map" "${CC:-cc}"
    if compare "$kept"; then said=held; else said=broken; fi
    if [ $said = "$1" ] && { [ $said = held ] || grep -q '^BROKEN:' "$work/said"; }; then
        echo "ok: $2: $said"
    else
        echo "FAILED: $2: $said"
        cat "$work/said"
        failed=1
    fi
}

struct='^struct flowq_vm_config {/,/^};'
change broken "a field's type" flowq.h "/$struct/s/uint32_t max_flows;/int32_t max_flows; /"
change broken "a field's width" flowq.h "/$struct/s/uint16_t gtpu_port;/uint32_t gtpu_port;/"
change broken "a field's name" flowq.h "/$struct/s/ idle_ms;/ rest_ms;/"
change broken "two fields change places" flowq.h "/$struct/{s/active_ms;/x;/; s/idle_ms;/active_ms;/; s/ x;/ idle_ms;/}"
change broken "a field in the middle, another at the end" flowq.h \
    "/$struct/{s/^    uint32_t max_flows;/    uint64_t more;\n&/; s/^};/    uint64_t last;\n};/}"
change broken "a callback's argument" flowq.h "/$struct/s/(\*free)(void \*ctx, void \*ptr,/(*free)(void *ptr,/"
change broken "a struct that is for ever grows" flowq.h '/^struct flowq_decision {/,/^};/s/^};/    uint32_t more;\n};/'
change broken "a function's argument" flowq.h 's/^\(uint32_t flowq_tx_note(.*\)uint32_t qid);/\1uint16_t qid);/'
change broken "what a function returns" flowq.h 's/^void flowq_vm_destroy(/int flowq_vm_destroy(/'
change broken "a function is gone" flowq.h '/^void flowq_vm_maintain(/d'
change broken "a symbol is gone" flowq.map '/flowq_vm_maintain;/d'
change broken "a symbol's version" flowq.map 's/^FLOWQ_0.9 {/FLOWQ_0.8 {/'
change broken "a constant's value" flowq.h 's/FLOWQ_NOTE_MOVED = 2,/FLOWQ_NOTE_MOVED = 32,/'
change broken "a constant is gone" flowq.h '/FLOWQ_TUNNEL_ERSPAN = /d'
change held "a field at the end" flowq.h "/$struct/s/^};/    uint64_t last;\n};/"
change held "a constant more" flowq.h 's/^    FLOWQ_NOTE_MOVED = 2,/    FLOWQ_NOTE_OTHER = 29,\n&/'
change held "a function more" flowq.h 's/^void flowq_vm_maintain(/int flowq_vm_more(struct flowq_vm *vm);\n&/'
exit $failed
