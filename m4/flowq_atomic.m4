# SPDX-License-Identifier: BSD-2-Clause
#
# FLOWQ_ATOMIC: adds to LIBS what atomic words of 8 to 64 bits need. Where the processor has no instruction for one of their
# operations (riscv64 for less than 32 bits, with gcc before 13; i386 for 64 bits, with some compilers), a compiler calls a function
# of its own library for it, and whoever links us statically needs that library, too.
AC_DEFUN([FLOWQ_ATOMIC], [
AC_CACHE_CHECK([what atomic words need], [flowq_cv_atomic], [
    flowq_saved_libs=$LIBS
    flowq_cv_atomic=missing
    for flowq_lib in "" -latomic; do
        LIBS="$flowq_lib $flowq_saved_libs"
        AC_LINK_IFELSE([AC_LANG_SOURCE([[
#include <stdatomic.h>
#include <stdint.h>
#define ALL(n)                                                                                            \
    static _Atomic(uint##n##_t) word##n;                                                                  \
    static uint64_t all##n(uint##n##_t v)                                                                 \
    {                                                                                                     \
        uint##n##_t was = v;                                                                              \
        atomic_store(&word##n, v);                                                                        \
        return was + atomic_compare_exchange_strong(&word##n, &was, v) + atomic_exchange(&word##n, v) +   \
               atomic_fetch_add(&word##n, v) + atomic_fetch_sub(&word##n, v) + atomic_fetch_or(&word##n, v) + \
               atomic_fetch_and(&word##n, v) + atomic_load(&word##n);                                     \
    }
ALL(8) ALL(16) ALL(32) ALL(64)
int main(int argc, char **argv) { return (int)(all8(argc) + all16(argc) + all32(argc) + all64(argc) + !argv); }
]])], [flowq_cv_atomic=$flowq_lib; break])
    done
    LIBS=$flowq_saved_libs
    test -n "$flowq_cv_atomic" || flowq_cv_atomic=nothing
])
AS_CASE([$flowq_cv_atomic],
    [missing], [AC_MSG_ERROR([atomic words of 8 to 64 bits do not link, with -latomic neither])],
    [nothing], [],
    [LIBS="$flowq_cv_atomic $LIBS"])
])
