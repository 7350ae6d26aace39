/*
 * memory: where a vm's memory comes from: the host's callbacks or the C library.
 */
#ifndef FLOWQ_LIB_MEMORY_H
#define FLOWQ_LIB_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* Memory that spans at least one huge page asks the kernel for huge pages (default allocator only). */
#define MEMORY_HUGE ((size_t)2 << 20)

struct memory {
    void *(*alloc)(void *ctx, size_t size, size_t align, int32_t node);
    void (*free)(void *ctx, void *ptr, size_t size);
    void *ctx;
    int32_t node; /* -1: any */
};

/* NULL when there is none. The contents are arbitrary. */
void *memory_alloc(const struct memory *m, size_t size, size_t align);
void memory_free(const struct memory *m, void *ptr, size_t size);

/* The callbacks used where the host gives none. */
void *memory_default_alloc(void *ctx, size_t size, size_t align, int32_t node);
void memory_default_free(void *ctx, void *ptr, size_t size);

#endif
