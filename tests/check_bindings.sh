#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# What a binding sees of flowq.h, read by cffi's parser (Debian: python3-cffi) as the header says it may be: every constant, with the
# value that the compiler gives it; and every function and struct. Run from the build directory.
set -eu
src=${FLOWQ_SRCDIR:?}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ! python3 -c 'import cffi, pycparser' 2>/dev/null; then
    echo "python3-cffi is not installed"
    exit 77
fi

# The names of the constants, from the text without its comments. Macros remain: the version, for #if, which is not asked for here.
python3 -c 'import re, sys; print(re.sub(r"/\*.*?\*/", "", sys.stdin.read(), flags=re.S))' <"$src/include/flowq.h" >"$work/text"
grep -o '\<FLOWQ_[A-Z0-9_]*\>' "$work/text" | LC_ALL=C sort -u |
    grep -v -x -e 'FLOWQ_H' -e 'FLOWQ_SHORT_NAMES' -e 'FLOWQ_VERSION.*' -e 'FLOWQ_[A-Z]*_' >"$work/names"

# Their values.
awk 'BEGIN { print "#include <flowq.h>\n#include <stdio.h>\nint main(void)\n{" }
    { printf "    printf(\"%s %%llu\\n\", (unsigned long long)%s);\n", $1, $1 }
    END { print "    return 0;\n}" }' "$work/names" >"$work/values.c"
# shellcheck disable=SC2086 # a compiler may be two words
${CC:-cc} -I"$src/include" -o "$work/values" "$work/values.c"
"$work/values" >"$work/values.txt"

# No #include: cffi knows the types of these headers, but for struct iovec.
{
    echo 'struct iovec { void *iov_base; size_t iov_len; };'
    # shellcheck disable=SC2086 # a compiler may be two words
    sed '/^#include/d' "$src/include/flowq.h" | ${CC:-cc} -E -P -DUINTPTR_MAX=0xffffffffffffffffu -D'__attribute__(x)=' \
        -D__extension__= -x c - | grep -v '^#pragma'
} >"$work/cdef"
grep -o 'flowq_[a-z0-9_]*(' "$work/cdef" | tr -d '(' | LC_ALL=C sort -u >"$work/functions"

python3 - "$work" <<'END'
import cffi, sys
work = sys.argv[1]
ffi = cffi.FFI()
ffi.cdef(open(work + "/cdef").read())
lib = ffi.dlopen(None)
failed = n = 0
for line in open(work + "/values.txt"):
    name, value = line.split()
    n += 1
    seen = getattr(lib, name, None)
    if seen is None:
        print("FAILED: cffi does not see", name)
        failed = 1
    elif seen != int(value):
        print("FAILED: cffi sees", name, "as", seen, "and the compiler as", value)
        failed = 1
declared = " ".join(ffi._parser._declarations)
for name in open(work + "/functions").read().split():
    if "function " + name not in declared:
        print("FAILED: cffi does not see", name)
        failed = 1
for name, size in (("flowq_pkt", 16), ("flowq_decision", 16), ("flowq_run", 8)):
    if ffi.sizeof("struct " + name) != size:
        print("FAILED: to cffi, struct", name, "has", ffi.sizeof("struct " + name), "bytes")
        failed = 1
if n < 100:
    print("FAILED: only", n, "constants were found")
    failed = 1
if not failed:
    print("ok: cffi sees", n, "constants, as the compiler does")
sys.exit(failed)
END
