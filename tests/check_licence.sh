#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Every file says under which licence it is, in SPDX's words, so that a file that is taken elsewhere still says so.
set -eu
cd "${FLOWQ_SRCDIR:?}"
# shellcheck source=tests/tree.sh
. tests/tree.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Not, LICENSE speaks for them: what programs wrote (captures, saved state, results, drawings, what an example prints), the
# fuzzer's seeds and NEWS, which have no comments; minimal.c, of which the README shows every line; links of the manual, one line
# each; others' macros.
tree_files "$work/git" |
    grep -v -E '^(bench/results/|m4/ax_)|\.(svg|seeds|json)$|^tests/data/.*\.(pcap|pcapng|out|bin)$|^(NEWS|examples/minimal\.c)$' >"$work/files"
while IFS= read -r file; do
    case $file in man/*) ! grep -q '^\.so ' "$file" || continue ;; esac
    grep -q 'SPDX-License-Identifier: BSD-2-Clause' "$file" || { echo "FAILED: $file has no line SPDX-License-Identifier"; failed=1; }
done <"$work/files"
[ -z "${failed-}" ] || exit 1
echo "ok: $(wc -l <"$work/files") files"
