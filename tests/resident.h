/*
 * resident: how much of a process is in memory.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_RESIDENT_H
#define FLOWQ_TESTS_RESIDENT_H

#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

/* In bytes, as the kernel counts them; 0: it does not say. */
static inline size_t resident(void)
{
    unsigned long size = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%lu %lu", &size, &pages) != 2)
        pages = 0;
    if (f)
        fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

#endif
