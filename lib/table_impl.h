/*
 * table_impl: what the parts of the table share among them: table.c, table_grow.c and table_trim.c. Others use table.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Shards and directories come from slab.h. All of this is called under the table's grow lock, or before the table is shared, but
 * for table_walk(), which needs a section or that lock. The letters are those of table.h and note.h.
 */
#ifndef FLOWQ_LIB_TABLE_IMPL_H
#define FLOWQ_LIB_TABLE_IMPL_H

#include "slab.h"

/* Just unlinked (T-E); under the shard's lock. */
void table_retire_shard(struct table *t, struct shard *s);
void table_retire_directory(struct table *t, struct directory *d);

/* Names s for all hashes that share its depth's top bits with `hash`, with seq_cst exchanges (T-D). */
void directory_name(const struct table *t, struct directory *d, struct shard *s, uint64_t hash);

/* The shard at a position in the space of hashes, and the position where the next one begins (0: that was the last). A shard that
   is split or merged meanwhile does not disturb a walk: positions do not move. */
struct shard *table_walk(const struct table *t, uint64_t at, uint64_t *next);

/*
 * N-A: binding times come last, once the directory names the new shards. Where there are any (plane_at), each new shard is
 * awaited before it is named, with all its times 0; after that the old ones are brought, and then each new one has arrived.
 */
void shard_await(const struct table *t, struct shard *s);
void shard_bring_stamps(const struct table *t, struct shard *from);
void shard_arrived(const struct table *t, struct shard *s);

/* Index of an empty slot in a line of a shard that nobody else sees yet, or LINE_SLOTS. */
static inline uint32_t line_empty_slot(const struct line *l)
{
    uint32_t i = 0;
    while (i < LINE_SLOTS && u64_load_relaxed(&l->slot[i]) != 0)
        i++;
    return i;
}

#endif
