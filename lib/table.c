/* SPDX-License-Identifier: BSD-2-Clause */
/* table: life cycle, walks over all flows. See table.h for the layout and the ordering guarantees cited here. */
#include "table.h"

#include "table_impl.h"

#include <errno.h>
#include <string.h>

struct line table_nowhere[SHARD_MAX_LINES];

/* Flows per line that we plan for: 4 of 7 slots. At this load an insert that finds both its lines full, and no flow in them that
   can move aside, is rarer than 1e-6, with room for the most loaded of some thousand shards (tests/check_sizes.c measures it). */
#define TABLE_LINE_FLOWS 4

/* A table that may need more shards than this has shards of the full size from the first one on. */
#define TABLE_MAX_SMALL_SHARDS 64

/* Hashes spread unevenly: a shard may be split so many times more often than all would be if they were split alike. A sixteenth
   of its share of the hashes would then have to fill it. Beyond that it is at its limit, so that the directory is bounded by
   max_flows whatever hashes come. (Top bits of the hash that a directory uses must lie in every tag, above the bits that choose
   the second line, which end at bit 39. The deepest ones imply bits of line_second_bit(), too, which then filters less.) */
#define TABLE_SPARE_DEPTH 4

static uint32_t table_round_up_power(uint32_t n)
{
    uint32_t p = 1;
    while (p < n)
        p *= 2;
    return p;
}

static uint32_t table_queue_bits(uint32_t max_queue_pairs)
{
    uint32_t bits = 1;
    while (UINT32_C(1) << bits < max_queue_pairs)
        bits++;
    return bits;
}

uint64_t table_tag_low(uint32_t max_queue_pairs) { return UINT64_C(1) << (WORD_QUEUE_SHIFT + table_queue_bits(max_queue_pairs)); }

/* Shards of a few lines grow unevenly, so that the limit is reached while there is room elsewhere: so many flows are planned for
 * at least. */
#define TABLE_MIN_SHARD_FLOWS 64

/* Lines of a shard: as many as the first flows want, so that many small vms stay small; but a table of many shards has large
   ones: in small ones the flows spread less evenly, and each has a head and its entries in the directory. At most 256. */
static uint32_t table_lines_for(const struct table_sizes *z)
{
    uint32_t first = z->initial_flows ? z->initial_flows : z->max_flows;
    if (first < z->max_flows / TABLE_MAX_SMALL_SHARDS)
        first = z->max_flows / TABLE_MAX_SMALL_SHARDS;
    if (first < TABLE_MIN_SHARD_FLOWS)
        first = z->max_flows < TABLE_MIN_SHARD_FLOWS ? z->max_flows : TABLE_MIN_SHARD_FLOWS;
    uint32_t lines = table_round_up_power((first + TABLE_LINE_FLOWS - 1) / TABLE_LINE_FLOWS);
    if (z->max_lines && lines > z->max_lines)
        lines = z->max_lines;
    return lines < 2 ? 2 : lines > SHARD_MAX_LINES ? SHARD_MAX_LINES : lines;
}

static uint32_t table_shards_for(uint32_t flows, uint32_t lines)
{
    uint32_t per_shard = lines * TABLE_LINE_FLOWS;
    return table_round_up_power((flows + per_shard - 1) / per_shard);
}

static void table_lay_out(struct table *t, const struct table_sizes *z)
{
    uint32_t lines = table_lines_for(z);
    uint32_t shards = table_shards_for(z->max_flows, lines);
    t->tag_mask = ~(table_tag_low(z->max_queue_pairs) - 1);
    t->queue_mask = (UINT32_C(1) << table_queue_bits(z->max_queue_pairs)) - 1;
    t->line_mask = lines - 1;
    t->plane_at = z->plane ? lines * (uint32_t)sizeof(struct line) : 0;
    uint32_t plane_bytes = z->plane ? lines * LINE_SLOTS * (uint32_t)sizeof(uint16_t) : 0;
    t->head_at = (lines * (uint32_t)sizeof(struct line) + plane_bytes + 63) / 64 * 64;
    t->shard_bytes = (t->head_at + (uint32_t)sizeof(struct shard_head) + 63) / 64 * 64;
    /* An eighth more than the flows need when they spread evenly: for shards that got more than their share. But a table that
       begins with all its shards has promised not to allocate any more; it does without. */
    t->max_shards = z->initial_flows == z->max_flows ? shards : shards + (shards + 7) / 8;
    t->grow.max_depth = TABLE_SPARE_DEPTH; /* at most 22: max_flows is at most 2^27 */
    while (UINT32_C(1) << (t->grow.max_depth - TABLE_SPARE_DEPTH) < t->max_shards)
        t->grow.max_depth++;
}

int table_init(struct table *t, const struct table_sizes *z, const struct memory *memory, atomic_ptr *only_shard)
{
    memset(t, 0, sizeof(*t));
    t->memory = memory;
    t->only_shard = only_shard;
    table_lay_out(t, z);
    uint32_t first = z->initial_flows ? table_shards_for(z->initial_flows, t->line_mask + 1) : 0;
    uint32_t room = z->room ? table_shards_for(z->room, t->line_mask + 1) : 0;
    uint32_t depth = 0;
    while (UINT32_C(1) << depth < first)
        depth++;
    t->grow.min_depth = depth;
    t->grow.keep_first = first != 0;
    for (; first < room; first = UINT32_C(1) << depth)
        depth += first != 0;
    struct directory *d = directory_make(t, depth ? depth : 1);
    if (!d)
        return -ENOMEM;
    ptr_store_release(&t->directory, d);
    directory_name(t, d, shard_nowhere(), 0);
    for (uint32_t i = 0; i < first; i++) {
        t->grow.to_make = first - i;
        struct shard *s = shard_make(t, depth);
        if (!s) {
            table_fini(t);
            return -ENOMEM;
        }
        shard_wipe(t, s);
        directory_name(t, d, s, depth ? (uint64_t)i << (64 - depth) : 0);
    }
    u32_store_relaxed(&t->grow.n_shards, first);
    t->grow.to_make = 0;
    return 0;
}

void table_fini(struct table *t) { table_free(t); }

void table_move(struct table *to, struct table *from, atomic_ptr *only_shard)
{
    bool small = ptr_load_relaxed(&from->directory) == (void *)from->small_directory;
    memcpy(to, from, sizeof(*to));
    ptr_store_release(only_shard, ptr_load_relaxed(from->only_shard));
    to->only_shard = only_shard;
    if (small)
        ptr_store_release(&to->directory, to->small_directory);
}

/* ---- Walks ----------------------------------------------------------------------------------------------------------------- */

struct shard *table_walk(const struct table *t, uint64_t at, uint64_t *next)
{
    struct shard *s = table_shard(t, at);
    uint32_t depth = s == shard_nowhere() ? 0 : shard_head(t, s)->depth;
    *next = depth == 0 ? 0 : ((at >> (64 - depth)) + 1) << (64 - depth);
    return s;
}

uint64_t table_live(const struct table *t)
{
    uint64_t live = 0, at = 0;
    do {
        struct shard *s = table_walk(t, at, &at);
        if (s != shard_nowhere())
            live += shard_live(shard_head(t, s));
    } while (at);
    return live;
}

/* Those in their home line, or those in their second one. Acquire: see table_each(). */
static int table_each_in(struct shard *s, uint32_t n_lines, uint64_t secondary, int (*fn)(void *ctx, uint64_t word), void *ctx)
{
    for (uint32_t l = 0; l < n_lines; l++)
        for (uint32_t i = 0; i < LINE_SLOTS; i++) {
            uint64_t word = u64_load_acquire(&shard_line(s, l)->slot[i]);
            int r = word && (word & WORD_SECONDARY) == secondary ? fn(ctx, word) : 0;
            if (r)
                return r;
        }
    return 0;
}

/* Home lines first: a flow that moves aside meanwhile, to a line that was passed already, is met in its second line (T-B). */
int table_each(const struct table *t, int (*fn)(void *ctx, uint64_t word), void *ctx)
{
    uint64_t at = 0;
    int r = 0;
    do {
        struct shard *s = table_walk(t, at, &at);
        uint32_t n_lines = s == shard_nowhere() ? 0 : t->line_mask + 1;
        r = table_each_in(s, n_lines, 0, fn, ctx);
        if (r == 0)
            r = table_each_in(s, n_lines, WORD_SECONDARY, fn, ctx);
    } while (at && r == 0);
    return r;
}

static uint64_t table_clear_locked(struct table *t, struct shard *s)
{
    uint64_t n = 0;
    for (uint32_t l = 0; l <= t->line_mask; l++) {
        for (uint32_t i = 0; i < LINE_SLOTS; i++)
            if (u64_load_relaxed(&shard_line(s, l)->slot[i]) != 0) /* nobody but us fills an empty one */
                n += u64_xchg_seq_cst(&shard_line(s, l)->slot[i], 0) != 0;
        u64_store_release(&shard_line(s, l)->service, 0);
    }
    shard_set_live(shard_head(t, s), 0);
    return n;
}

/* Shards that are superseded, all of them frozen, are still looked at by calls that began before: they must not tell those what
   is forgotten (F-A in frag.h). Nobody writes to them any more; under the grow lock they are not freed. */
static void table_clear_superseded(struct table *t)
{
    for (struct shard *s = t->grow.retired_first; s; s = shard_head(t, s)->retired_next)
        for (uint32_t l = 0; l <= t->line_mask; l++)
            for (uint32_t i = 0; i < LINE_SLOTS; i++)
                u64_store_relaxed(&shard_line(s, l)->slot[i], 0);
}

uint64_t table_clear(struct table *t)
{
    uint64_t n = 0, at = 0;
    /* Against the lock order, which is safe: whoever holds a shard only tries for the grow lock. While it is held nothing is
       split or freed, so no section is needed and the caller need not be registered. */
    spin_lock(&t->grow.lock);
    do {
        struct shard *s = table_walk(t, at, &at);
        if (s == shard_nowhere())
            continue;
        shard_lock(shard_head(t, s));
        n += table_clear_locked(t, s);
        shard_unlock(shard_head(t, s));
    } while (at);
    table_clear_superseded(t);
    spin_unlock(&t->grow.lock);
    return n;
}
