/*
 * memory: where a vm's memory comes from: the host's callbacks or the C library.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_LIB_MEMORY_H
#define FLOWQ_LIB_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Size and alignment of a huge page. */
#define MEMORY_HUGE ((size_t)2 << 20)

struct memory {
    void *(*alloc)(void *ctx, size_t size, size_t align, int32_t node);
    void (*free)(void *ctx, void *ptr, size_t size);
    void *ctx;
    int32_t node;     /* -1: any */
    bool *misaligned; /* set when memory came that was not aligned; NULL: nobody asks */
};

/* NULL when there is none. The contents are arbitrary. What the host's callback did not align goes back: there is none, then. */
void *memory_alloc(const struct memory *m, size_t size, size_t align);
void memory_free(const struct memory *m, void *ptr, size_t size);

/* For parts of one block that begin at cache lines of their own. */
static inline size_t memory_round64(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

/*
 * Huge pages, for memory of the C library's that begins and ends at a multiple of MEMORY_HUGE; a host's allocator is not
 * interfered with. The first touch of one takes the kernel 0.2 to 2 ms, so the data path does without and asks when all small
 * pages are there.
 */
enum memory_when {
    MEMORY_AT_ONCE, /* the first touch makes it one: before anybody uses it */
    MEMORY_LATER,   /* the kernel may make it one when it sees fit: after it has been touched */
    MEMORY_NOW      /* make it one, now */
};
void memory_huge(const struct memory *m, void *ptr, size_t size, enum memory_when when);

/* The callbacks used where the host gives none: aligned_alloc(3), and mmap(2) for a huge page. */
void *memory_default_alloc(void *ctx, size_t size, size_t align, int32_t node);
void memory_default_free(void *ctx, void *ptr, size_t size);

#endif
