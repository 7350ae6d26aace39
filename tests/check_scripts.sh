#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The shell scripts pass shellcheck.
set -eu
cd "${FLOWQ_SRCDIR:?}"
if ! command -v shellcheck >/dev/null; then
    echo "shellcheck is not installed"
    exit 77
fi
# shellcheck source=tests/tree.sh
. tests/tree.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree_files "$work/git" | while IFS= read -r file; do
    case ${file##*/} in
    *.sh) echo "$file" ;;
    *.[a-z]*) ;;
    *) ! head -n 1 "$file" | grep -q '^#!.*sh$' || echo "$file" ;;
    esac
done >"$work/files"
xargs shellcheck -x <"$work/files"
echo "ok: $(wc -l <"$work/files") scripts"
