#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The public header compiles as C11 to C23 and as C++11 to C++23, inside extern "C", with the short names, as first include, without a warning.
set -eu
src=${FLOWQ_SRCDIR:?}
warnings="-Wall -Wextra -Wpedantic -Wshadow -Werror"
failed=0

try() {
    # shellcheck disable=SC2086 # a compiler may be two words, flags are several
    if "$@" $warnings -fsyntax-only -I"$src/include" "$src/tests/header.c"; then
        echo "ok: $*"
    else
        echo "FAILED: $*"
        failed=1
    fi
}

# Words of $CC and $CXX are separate on purpose.
# c2x and c++2b are what compilers call C23 and C++23 that are older than these.
for std in c11 c17 c2x gnu11 gnu17 gnu2x; do
    # shellcheck disable=SC2086
    try ${CC:-cc} -x c -std=$std -Wstrict-prototypes
    # shellcheck disable=SC2086
    try ${CC:-cc} -x c -std=$std -Wstrict-prototypes -DFLOWQ_SHORT_NAMES
done
# With pointers of 32 bits, where the compiler can and has the C library's headers for it.
# shellcheck disable=SC2086
if echo '#include <stdint.h>
#include <sys/uio.h>' | ${CC:-cc} -m32 -x c -fsyntax-only - 2>/dev/null; then
    # shellcheck disable=SC2086
    try ${CC:-cc} -m32 -x c -std=c11 -Wstrict-prototypes
fi
if [ "${CXX:-no}" = no ]; then
    echo "no C++ compiler: the header was tried as C only"
    [ $failed = 0 ] && exit 77
    exit 1
fi
for std in c++11 c++14 c++17 c++20 c++2b gnu++11 gnu++17 gnu++2b; do
    for extra in "" -DFLOWQ_SHORT_NAMES -DINSIDE_EXTERN_C "-DINSIDE_EXTERN_C -DFLOWQ_SHORT_NAMES"; do
        # shellcheck disable=SC2086
        try $CXX -x c++ -std=$std $extra
    done
done
exit $failed
