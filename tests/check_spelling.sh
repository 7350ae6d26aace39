#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# codespell finds no mistake in what people read: sources, manual, documents.
set -eu
cd "${FLOWQ_SRCDIR:?}"
# shellcheck source=tests/tree.sh
. tests/tree.sh
if ! command -v codespell >/dev/null; then
    echo "codespell is not installed"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Not: captures, drawings, the fuzzer's seeds.
tree_files "$work/git" | grep -v -E '\.(pcap|pcapng|cap|svg|seeds)(\.gz)?$' >"$work/files"
# Nd and Fo are mdoc's; statics are functions.
xargs codespell --ignore-words-list=nd,fo,statics <"$work/files" || { echo "FAILED: see above"; exit 1; }
echo "ok: $(wc -l <"$work/files") files"
