/* SPDX-License-Identifier: BSD-2-Clause */
/* slab: see slab.h. */
#include "slab.h"

#include <string.h>

static void slab_count_bytes(struct table *t, size_t bytes) { u64_add_relaxed(&t->grow.bytes, bytes); }
static void slab_uncount_bytes(struct table *t, size_t bytes) { u64_sub_relaxed(&t->grow.bytes, bytes); }

static void slab_unlink(struct table *t, struct slab *b)
{
    *(b->prev ? &b->prev->next : &t->grow.slabs) = b->next;
    *(b->next ? &b->next->prev : &t->grow.slabs_last) = b->prev;
}

static void slab_push_front(struct table *t, struct slab *b)
{
    b->prev = NULL;
    b->next = t->grow.slabs;
    *(b->next ? &b->next->prev : &t->grow.slabs_last) = b;
    t->grow.slabs = b;
}

/* Full slabs go behind all that have room, so that the first one tells whether any has. */
static void slab_push_back(struct table *t, struct slab *b)
{
    b->next = NULL;
    b->prev = t->grow.slabs_last;
    *(b->prev ? &b->prev->next : &t->grow.slabs) = b;
    t->grow.slabs_last = b;
}

static bool slab_table_is_small(const struct table *t)
{
    return (size_t)u32_load_relaxed(&t->grow.n_shards) * t->shard_bytes < SLAB_SINGLES;
}

/* A huge page; less for the first shards of a table that grows, and for the last ones of one that is being created. */
static size_t slab_bytes(const struct table *t)
{
    uint32_t n = t->grow.to_make ? t->grow.to_make : slab_table_is_small(t) ? 1 : SLAB_MAX_SHARDS;
    size_t bytes = (size_t)n * t->shard_bytes + sizeof(struct slab);
    return bytes < MEMORY_HUGE ? bytes : MEMORY_HUGE;
}

static struct slab *slab_alloc(struct table *t, size_t bytes)
{
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
    return b;
}

static void slab_add(struct table *t, struct slab *b)
{
    slab_push_front(t, b);
    slab_count_bytes(t, b->bytes);
}

/* Nobody uses it any more; garbage_free() gives it back. */
static void slab_drop(struct table *t, struct slab *b, struct garbage *g)
{
    slab_unlink(t, b);
    slab_uncount_bytes(t, b->bytes);
    b->next = g->slabs;
    g->slabs = b;
}

static bool slab_has_room(const struct slab *b) { return b->n_used < b->n_shards; }

/* One to take a shard from, from b on. Not a large one while the table is small, so that it can go: the table was larger once. */
static struct slab *slab_with_room(const struct table *t, struct slab *b)
{
    while (b && slab_has_room(b) && b->bytes == MEMORY_HUGE && slab_table_is_small(t) && !t->grow.to_make)
        b = b->next;
    return b && slab_has_room(b) ? b : NULL;
}

static uint32_t slab_take_first_free(struct slab *b)
{
    uint32_t w = 0;
    while (b->used[w] == UINT64_MAX)
        w++;
    uint32_t bit = (uint32_t)__builtin_ctzll(~b->used[w]);
    b->used[w] |= UINT64_C(1) << bit;
    b->n_used++;
    return w * 64 + bit;
}

struct shard *shard_take(struct table *t, uint32_t depth)
{
    struct slab *b = slab_with_room(t, t->grow.slabs);
    if (!b)
        return NULL;
    uint32_t at = slab_take_first_free(b);
    if (b->n_used == b->n_shards) {
        slab_unlink(t, b);
        slab_push_back(t, b);
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

struct shard *shard_make(struct table *t, uint32_t depth)
{
    struct slab *b = slab_with_room(t, t->grow.slabs);
    if (!b) {
        b = slab_alloc(t, slab_bytes(t));
        if (!b)
            return NULL;
        slab_add(t, b);
    }
    return shard_take(t, depth);
}

/* By the stores that readers could see if they came too early (T-D), which a memset hides from the tests' scheduler. */
void shard_wipe(const struct table *t, struct shard *s)
{
    const uint32_t n_lines = t->line_mask + 1;
    for (uint32_t i = 0; i < n_lines * (LINE_SLOTS + 1); i++)
        u64_store_relaxed(&shard_line(s, i / (LINE_SLOTS + 1))->word[i % (LINE_SLOTS + 1)], 0);
    for (uint32_t i = 0; t->plane_at && i < n_lines * LINE_SLOTS; i++)
        u16_store_relaxed(shard_plane(t, s) + i, 0);
}

void shard_free(struct table *t, struct shard *s, struct garbage *g)
{
    struct slab *b = shard_head(t, s)->slab;
    uint32_t at = (uint32_t)((size_t)((char *)s - (char *)b->base) / t->shard_bytes);
    b->used[at / 64] &= ~(UINT64_C(1) << at % 64);
    b->n_used--;
    if (b->n_used == 0) {
        slab_drop(t, b, g);
        return;
    }
    slab_unlink(t, b);
    slab_push_front(t, b);
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

static void directory_set_up(struct directory *d, uint32_t depth)
{
    memset(d, 0, sizeof(*d));
    d->depth = depth;
    d->shift = 64 - depth;
}

struct directory *directory_make(struct table *t, uint32_t depth)
{
    bool small = depth == 1 && !t->grow.small_used;
    struct directory *d = small ? (void *)t->small_directory : memory_alloc(t->memory, directory_bytes(depth), 64);
    if (!d)
        return NULL;
    directory_set_up(d, depth);
    if (small)
        t->grow.small_used = true;
    else
        slab_count_bytes(t, directory_bytes(depth));
    return d;
}

struct directory *directory_take(struct table *t, uint32_t depth)
{
    struct directory *d = t->grow.spare;
    if (depth == 1 && !t->grow.small_used)
        return directory_make(t, depth);
    if (!d || d->depth != depth)
        return NULL;
    t->grow.spare = NULL;
    return d;
}

void directory_drop(struct table *t, struct directory *d, struct garbage *g)
{
    if (d == (void *)t->small_directory) {
        t->grow.small_used = false;
        return;
    }
    slab_uncount_bytes(t, directory_bytes(d->depth));
    d->retired_next = g->directories;
    g->directories = d;
}

/* ---- Memory that is got and given back while no lock is held --------------------------------------------------------------- */

void table_want_shards(const struct table *t, uint32_t n, struct table_want *w)
{
    uint32_t n_free = 0;
    for (struct slab *b = t->grow.slabs; n_free < n && (b = slab_with_room(t, b)); b = b->next)
        n_free += b->n_shards - b->n_used;
    if (n_free >= n)
        return;
    w->slab_bytes = slab_bytes(t);
    w->n_slabs = slab_table_is_small(t) ? n - n_free : 1;
}

void table_want_directory(const struct table *t, uint32_t depth, struct table_want *w)
{
    bool have = depth == 1 ? !t->grow.small_used : t->grow.spare && t->grow.spare->depth == depth;
    if (!have)
        w->depth = depth;
}

/* All, or nothing: then it is garbage. */
static bool slab_get_all(struct table *t, const struct table_want *w, struct garbage *got)
{
    for (uint32_t i = 0; i < w->n_slabs; i++) {
        struct slab *b = slab_alloc(t, w->slab_bytes);
        if (!b)
            return false;
        b->next = got->slabs;
        got->slabs = b;
    }
    if (w->depth == 0)
        return true;
    got->directories = memory_alloc(t->memory, directory_bytes(w->depth), 64);
    if (got->directories)
        directory_set_up(got->directories, w->depth);
    return got->directories != NULL;
}

enum table_got table_get(struct table *t, const struct table_want *w, uint32_t *tries_left)
{
    struct garbage got = {NULL, NULL};
    enum table_got r = !slab_get_all(t, w, &got)                    ? TABLE_GOT_NONE
                       : spin_try_within(&t->grow.lock, tries_left) ? TABLE_GOT
                                                                    : TABLE_GOT_BUSY;
    if (r == TABLE_GOT) {
        while (got.slabs) {
            struct slab *b = got.slabs;
            got.slabs = b->next;
            slab_add(t, b);
        }
        if (got.directories) { /* the newest is likelier to be of use; the one before is garbage */
            struct directory *before = t->grow.spare;
            t->grow.spare = got.directories;
            slab_count_bytes(t, directory_bytes(w->depth));
            got.directories = NULL;
            if (before)
                directory_drop(t, before, &got);
        }
        spin_unlock(&t->grow.lock);
    }
    garbage_free(t, &got);
    return r;
}

void table_drop_spare(struct table *t, struct garbage *g)
{
    for (struct slab *b = t->grow.slabs, *next; b && slab_has_room(b); b = next) {
        next = b->next;
        if (b->n_used == 0)
            slab_drop(t, b, g);
    }
    if (t->grow.spare)
        directory_drop(t, t->grow.spare, g);
    t->grow.spare = NULL;
}

void garbage_free(const struct table *t, struct garbage *g)
{
    while (g->slabs) {
        struct slab *b = g->slabs;
        g->slabs = b->next;
        memory_free(t->memory, b->base, b->bytes);
    }
    while (g->directories) {
        struct directory *d = g->directories;
        g->directories = d->retired_next;
        memory_free(t->memory, d, directory_bytes(d->depth));
    }
}

/* ---- The end --------------------------------------------------------------------------------------------------------------- */

void table_free(struct table *t)
{
    struct garbage g = {NULL, NULL};
    struct directory *d = ptr_load_acquire(&t->directory);
    while (t->grow.slabs)
        slab_drop(t, t->grow.slabs, &g);
    if (d)
        directory_drop(t, d, &g);
    while ((d = t->grow.directories_first)) {
        t->grow.directories_first = d->retired_next;
        directory_drop(t, d, &g);
    }
    table_drop_spare(t, &g);
    garbage_free(t, &g);
}
