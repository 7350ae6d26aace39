/* memory: see memory.h. */
#include "memory.h"

#include <stdlib.h>
#include <sys/mman.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

void *memory_default_alloc(void *ctx, size_t size, size_t align, int32_t node)
{
    (void)ctx;
    (void)node;
    return aligned_alloc(align, (size + align - 1) & ~(align - 1));
}

void memory_default_free(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    (void)size;
    free(ptr);
}

void memory_huge(const struct memory *m, void *ptr, size_t size, enum memory_when when)
{
    /* Only wishes: the answer does not matter. */
    if (m->alloc == memory_default_alloc)
        (void)madvise(ptr, size, when == MEMORY_NOW ? MADV_COLLAPSE : MADV_HUGEPAGE);
}

void *memory_alloc(const struct memory *m, size_t size, size_t align) { return m->alloc(m->ctx, size, align, m->node); }

void memory_free(const struct memory *m, void *ptr, size_t size)
{
    if (ptr)
        m->free(m->ctx, ptr, size);
}
