#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# C sources are as clang-format writes them by .clang-format, and no line has more than 130 columns, comments included. Of version
# 14: what others make of the same file differs in places.
set -eu
cd "${FLOWQ_SRCDIR:?}"
# shellcheck source=tests/tree.sh
. tests/tree.sh
format=
for name in clang-format-14 clang-format; do
    case $($name --version 2>/dev/null) in
    *" version 14."*) format=$name; break ;;
    esac
done
if [ -z "$format" ]; then
    echo "clang-format 14 is not installed"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Not: snippets of flowq-integration(7), which are written as the hosts are that they are made for, in the width of a page.
tree_files "$work/git" | grep '\.[ch]$' |
    grep -v -x -E 'tests/integration/(dpdk_vhost|ovs|ovs_netdev|switch|tap|vmm|vpp)\.c' >"$work/files"
# shellcheck disable=SC2046 # no name of ours has a space
awk 'length > 130 { print FILENAME ":" FNR ": " length " columns"; n++ } END { exit n > 0 }' $(cat "$work/files") || failed=1
xargs -n 16 -P 2 $format --style=file --dry-run -Werror <"$work/files" || failed=1
[ -z "${failed-}" ] || { echo "FAILED: $format -i FILE writes a file as it should be, but for long comments"; exit 1; }
echo "ok: $(wc -l <"$work/files") files"
