/* slab: see slab.h. */
#include "slab.h"

#include <string.h>

static void count_bytes(struct table *t, size_t bytes) { u64_add_relaxed(&t->grow.bytes, bytes); }
static void uncount_bytes(struct table *t, size_t bytes) { u64_sub_relaxed(&t->grow.bytes, bytes); }

static void unlink_slab(struct table *t, struct slab *b)
{
    *(b->prev ? &b->prev->next : &t->grow.slabs) = b->next;
    *(b->next ? &b->next->prev : &t->grow.slabs_last) = b->prev;
}

static void push_front(struct table *t, struct slab *b)
{
    b->prev = NULL;
    b->next = t->grow.slabs;
    *(b->next ? &b->next->prev : &t->grow.slabs_last) = b;
    t->grow.slabs = b;
}

/* Full slabs go behind all that have room, so that the first one tells whether any has. */
static void push_back(struct table *t, struct slab *b)
{
    b->next = NULL;
    b->prev = t->grow.slabs_last;
    *(b->prev ? &b->prev->next : &t->grow.slabs) = b;
    t->grow.slabs_last = b;
}

static bool is_small(const struct table *t) { return (size_t)t->grow.n_shards * t->shard_bytes < SLAB_SINGLES; }

/* A huge page; less for the first shards of a table that grows, and for the last ones of one that is being created. */
static size_t slab_bytes(const struct table *t)
{
    uint32_t n = t->grow.to_make ? t->grow.to_make : is_small(t) ? 1 : SLAB_MAX_SHARDS;
    size_t bytes = (size_t)n * t->shard_bytes + sizeof(struct slab);
    return bytes < MEMORY_HUGE ? bytes : MEMORY_HUGE;
}

static struct slab *slab_make(struct table *t)
{
    size_t bytes = slab_bytes(t);
    bool huge = bytes == MEMORY_HUGE;
    uint32_t n = (uint32_t)((bytes - sizeof(struct slab)) / t->shard_bytes);
    char *base = memory_alloc(t->memory, bytes, huge ? MEMORY_HUGE : 64);
    if (!base)
        return NULL;
    if (huge && t->grow.to_make)
        memory_huge(t->memory, base, bytes, MEMORY_AT_ONCE);
    struct slab *b = (void *)(base + (bytes - sizeof(struct slab)));
    memset(b, 0, sizeof(*b));
    b->base = base;
    b->bytes = bytes;
    b->n_shards = n < SLAB_MAX_SHARDS ? n : SLAB_MAX_SHARDS;
    b->huge = !huge || t->grow.to_make;
    push_front(t, b);
    count_bytes(t, bytes);
    return b;
}

static uint32_t take_first_free(struct slab *b)
{
    uint32_t w = 0;
    while (b->used[w] == UINT64_MAX)
        w++;
    uint32_t bit = (uint32_t)__builtin_ctzll(~b->used[w]);
    b->used[w] |= UINT64_C(1) << bit;
    b->n_used++;
    return w * 64 + bit;
}

struct shard *shard_make(struct table *t, uint32_t depth)
{
    struct slab *b = t->grow.slabs;
    bool leave =
        b && b->bytes == MEMORY_HUGE && is_small(t) && !t->grow.to_make; /* so that it can go: the table was larger once */
    if (!b || b->n_used == b->n_shards || leave)
        b = slab_make(t);
    if (!b)
        return NULL;
    uint32_t at = take_first_free(b);
    if (b->n_used == b->n_shards) {
        unlink_slab(t, b);
        push_back(t, b);
        if (!b->huge && !b->touched)
            memory_huge(t->memory, b->base, b->bytes, MEMORY_LATER);
        b->touched = true;
    }
    struct shard *s = (void *)((char *)b->base + (size_t)at * t->shard_bytes);
    struct shard_head *head = shard_head(t, s);
    memset(head, 0, sizeof(*head));
    head->depth = depth;
    head->slab = b;
    return s;
}

void shard_wipe(const struct table *t, struct shard *s) { memset(s, 0, t->head_at); }

void shard_free(struct table *t, struct shard *s)
{
    struct slab *b = shard_head(t, s)->slab;
    uint32_t at = (uint32_t)((size_t)((char *)s - (char *)b->base) / t->shard_bytes);
    b->used[at / 64] &= ~(UINT64_C(1) << at % 64);
    b->n_used--;
    unlink_slab(t, b);
    if (b->n_used > 0) {
        push_front(t, b);
        return;
    }
    uncount_bytes(t, b->bytes);
    memory_free(t->memory, b->base, b->bytes);
}

void *slab_wanting_huge(struct table *t)
{
    for (struct slab *b = t->grow.slabs; b; b = b->next) {
        if (b->huge || !b->touched)
            continue;
        b->huge = true;
        return b->base;
    }
    return NULL;
}

static size_t directory_bytes(uint32_t depth)
{
    return (sizeof(struct directory) + sizeof(atomic_ptr) * ((size_t)1 << depth) + 63) / 64 * 64;
}

size_t directory_counted(const struct table *t, const struct directory *d)
{
    return d == (const void *)t->small_directory ? 0 : directory_bytes(d->depth);
}

_Static_assert(sizeof(struct directory) + 2 * sizeof(atomic_ptr) <= sizeof(((struct table *)0)->small_directory), "depth 1 fits");

struct directory *directory_make(struct table *t, uint32_t depth)
{
    bool small = depth == 1 && !t->grow.small_used;
    struct directory *d = small ? (void *)t->small_directory : memory_alloc(t->memory, directory_bytes(depth), 64);
    if (!d)
        return NULL;
    memset(d, 0, sizeof(*d));
    d->depth = depth;
    d->shift = 64 - depth;
    if (small)
        t->grow.small_used = true;
    else
        count_bytes(t, directory_bytes(depth));
    return d;
}

void directory_free(struct table *t, struct directory *d)
{
    if (d == (void *)t->small_directory) {
        t->grow.small_used = false;
        return;
    }
    uncount_bytes(t, directory_bytes(d->depth));
    memory_free(t->memory, d, directory_bytes(d->depth));
}

void slabs_free(struct table *t)
{
    while (t->grow.slabs) {
        struct slab *b = t->grow.slabs;
        unlink_slab(t, b);
        uncount_bytes(t, b->bytes);
        memory_free(t->memory, b->base, b->bytes);
    }
}

void directories_free(struct table *t)
{
    struct directory *d = ptr_load_acquire(&t->directory);
    if (d)
        directory_free(t, d);
    while ((d = t->grow.directories_first)) {
        t->grow.directories_first = d->retired_next;
        directory_free(t, d);
    }
}
