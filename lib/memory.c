/* SPDX-License-Identifier: BSD-2-Clause */
/* memory: see memory.h. */
#include "memory.h"

#include <stdlib.h>
#include <sys/mman.h>

#ifdef FLOWQ_SCHED
#include "atomic.h"
#define memory_came sched_allocated /* the tests' scheduler looks who uses it before and after */
#define memory_goes sched_freed
#else
#define memory_came(ptr, size) ((void)0)
#define memory_goes(ptr, size) ((void)0)
#endif

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

/* Not from the heap, which recycles memory that was huge pages once, so that touching it takes the kernel as long as one. */
static void *memory_map_huge(size_t size)
{
    char *all = mmap(NULL, size + MEMORY_HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        return NULL;
    size_t before = -(uintptr_t)all & (MEMORY_HUGE - 1);
    if (before)
        (void)munmap(all, before);
    (void)munmap(all + before + size, MEMORY_HUGE - before);
    return all + before;
}

void *memory_default_alloc(void *ctx, size_t size, size_t align, int32_t node)
{
    (void)ctx;
    (void)node;
    return size == MEMORY_HUGE ? memory_map_huge(size) : aligned_alloc(align, (size + align - 1) & ~(align - 1));
}

void memory_default_free(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    if (size == MEMORY_HUGE)
        (void)munmap(ptr, size);
    else
        free(ptr);
}

void memory_huge(const struct memory *m, void *ptr, size_t size, enum memory_when when)
{
    /* Only wishes: the answer does not matter. */
    if (m->alloc == memory_default_alloc)
        (void)madvise(ptr, size, when == MEMORY_NOW ? MADV_COLLAPSE : MADV_HUGEPAGE);
}

void *memory_alloc(const struct memory *m, size_t size, size_t align)
{
    void *ptr = m->alloc(m->ctx, size, align, m->node);
    memory_came(ptr, size);
    if (((uintptr_t)ptr & (align - 1)) == 0)
        return ptr;
    if (m->misaligned)
        *m->misaligned = true;
    m->free(m->ctx, ptr, size);
    return NULL;
}

void memory_free(const struct memory *m, void *ptr, size_t size)
{
    if (!ptr)
        return;
    memory_goes(ptr, size);
    m->free(m->ctx, ptr, size);
}
