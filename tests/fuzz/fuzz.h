/* SPDX-License-Identifier: BSD-2-Clause */
/* fuzz: what the fuzzer's targets share. */
#ifndef FLOWQ_TESTS_FUZZ_H
#define FLOWQ_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* The entry point of libFuzzer, and of tests/fuzz/replay.c. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What has to hold for any input. */
static inline void must(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

#endif
