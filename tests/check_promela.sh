#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# The models in tests/promela, every state of each: none fails as it is, and each mutation is found. Prints the numbers of states.
# Takes minutes: only with FLOWQ_LONG=1. Needs spin (Debian: spin).
set -euo pipefail

src=$(cd "${FLOWQ_SRCDIR:-$(dirname "${BASH_SOURCE[0]}")/..}" && pwd -P)
case ${FLOWQ_LONG-} in
"" | 0*) echo "only with FLOWQ_LONG=1"; exit 77 ;;
esac
command -v spin >/dev/null || { echo "spin is not installed"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$src"/tests/promela/*.pml "$work"
cd "$work"

# search MODEL [MUTATION...]: what the verifier says, in the file `said`.
search() {
    local model=$1 defines=() one
    shift
    for one; do
        defines+=("-D$one")
    done
    spin "${defines[@]}" -a "$model.pml" >said 2>&1 && "${CC:-cc}" -O1 -w -DSAFETY -DNOCLAIM -o pan pan.c &&
        ./pan -m1000000 -w24 >said 2>&1
    if ! grep -q 'errors: ' said || grep -q 'max search depth too small' said; then
        cat said
        exit 1
    fi
}

# holds MODEL
holds() {
    search "$1"
    grep -q 'errors: 0' said || { echo "$1 fails:"; cat said; exit 1; }
    echo "$1: $(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' said) states, all right"
}

# finds MODEL MUTATION...
finds() {
    search "$@"
    ! grep -q 'errors: 0' said || { echo "$* is not found"; exit 1; }
    echo "$*: found"
}

holds epoch
finds epoch NO_FENCE_ENTER
finds epoch STAMP_BEFORE_UNLINK
holds growth
finds growth NO_FREEZE
finds growth COUNT_LATE
finds growth COUNT_RELAXED
finds growth LEAVE_RELAXED
finds growth NAME_FIRST
holds setters
finds setters NO_LOCK
finds setters TWO_WORDS
