/* memory: see memory.h. */
#include "memory.h"

#include <stdlib.h>
#include <sys/mman.h>

void *memory_default_alloc(void *ctx, size_t size, size_t align, int32_t node)
{
    (void)ctx;
    (void)node;
    void *ptr = aligned_alloc(align, (size + align - 1) & ~(align - 1));
#ifdef MADV_HUGEPAGE
    if (ptr && align >= MEMORY_HUGE)
        (void)madvise(ptr, size, MADV_HUGEPAGE); /* only a wish */
#endif
    return ptr;
}

void memory_default_free(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    (void)size;
    free(ptr);
}

void *memory_alloc(const struct memory *m, size_t size, size_t align) { return m->alloc(m->ctx, size, align, m->node); }

void memory_free(const struct memory *m, void *ptr, size_t size)
{
    if (ptr)
        m->free(m->ctx, ptr, size);
}
