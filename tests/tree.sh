#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Sourced by the scripts that look at every file of the source tree, from its top.

# tree_files SCRATCH: the names of the files that belong to the tree, a line each. Git knows them; without it (a tarball) those with a
# dot in their name, which programs that a build leaves there have not. SCRATCH is a file to be written.
tree_files() {
    if [ -e .git ] && git -c safe.directory="$PWD" ls-files --cached --others --exclude-standard >"$1" 2>/dev/null; then
        # What is deleted and not committed yet is listed, too.
        while IFS= read -r tree_file; do [ ! -f "$tree_file" ] || printf '%s\n' "$tree_file"; done <"$1"
    else
        find .ci bench examples include lib man tests \( -name .libs -o -name .deps -o -name __pycache__ \) -prune -o -type f \
            -name '*.*' ! -name .dirstamp ! -name '*.o' ! -name '*.lo' ! -name '*.la' ! -name '*.log' ! -name '*.trs' -print
        ls -d .ci/* .clang-format .gitignore HACKING.md LICENSE Makefile.am NEWS README.md SECURITY.md bootstrap configure.ac \
            flowq.pc.in tests/fuzz/run tests/system/init
    fi
}
