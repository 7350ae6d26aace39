/*
 * slab: memory for the shards and directories of one table.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The first shards are allocated one at a time. Once a table has SLAB_SINGLES bytes of them, shards come in slabs of one huge
 * page: TLB misses cost 15 to 50 % at a million flows. Slabs that notes make get their huge page later, from table_trim() or the
 * kernel.
 *
 * Nobody waits for another thread's allocator: the data path and table_trim() call it while they hold no lock of the table's. Who
 * is short of something under the locks says what (table_want_...), lets go of them, gets it with table_get(), and looks again
 * whether it is still needed: slabs that are not used at all, and one directory, may be left beside the table until table_trim()
 * comes along. What is not used any more becomes garbage under the lock, and is freed afterwards. Everything else here is called
 * under the table's grow lock (or before the table is shared).
 */
#ifndef FLOWQ_LIB_SLAB_H
#define FLOWQ_LIB_SLAB_H

#include "epoch.h"
#include "table.h"

#define SLAB_SINGLES    (512u << 10)
#define SLAB_MAX_SHARDS 512

/* At the end of its block of memory; shards before it. */
struct slab {
    struct slab *next, *prev;
    void *base;
    size_t bytes;
    uint32_t n_shards, n_used;
    bool touched; /* all of it */
    bool huge;    /* nothing to be wished for, or not any more */
    uint64_t used[SLAB_MAX_SHARDS / 64];
};

/* Unlinked, to be freed when the lock is not held any more. */
struct garbage {
    struct slab *slabs;            /* by next */
    struct directory *directories; /* by retired_next */
};
void garbage_free(const struct table *t, struct garbage *g);

/* Adds to *w what is missing for n shards to be taken, or a directory of this depth. */
void table_want_shards(const struct table *t, uint32_t n, struct table_want *w);
void table_want_directory(const struct table *t, uint32_t depth, struct table_want *w);
/* What was got and not used. */
void table_drop_spare(struct table *t, struct garbage *g);

/* A shard with its head set up, its lines not yet: whoever fills them touches them first. NULL: no memory. Before the table is
   shared. */
struct shard *shard_make(struct table *t, uint32_t depth);
/* The same, out of memory that is there. NULL: there is none. */
struct shard *shard_take(struct table *t, uint32_t depth);
/* Empties all lines. */
void shard_wipe(const struct table *t, struct shard *s);
void shard_free(struct table *t, struct shard *s, struct garbage *g);
/* A slab that wants its huge page now, or NULL; it is not returned again. */
void *slab_wanting_huge(struct table *t);

/* Entries are not set. NULL: no memory. Before the table is shared. */
struct directory *directory_make(struct table *t, uint32_t depth);
/* The same, out of memory that is there. NULL: there is none. */
struct directory *directory_take(struct table *t, uint32_t depth);
void directory_drop(struct table *t, struct directory *d, struct garbage *g);
/* Bytes that were allocated for it. */
size_t directory_counted(const struct table *t, const struct directory *d);

/* ---- The end --------------------------------------------------------------------------------------------------------------- */

/* All that is left; the table is not used any more. */
void table_free(struct table *t);

#endif
