/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table_grow: how a table grows, a shard at a time, under its readers' eyes.
 *
 * A shard that has no room becomes two (T-D): two new ones are made, the old one is frozen slot by slot while it is copied, the
 * directory names the new ones, and the old one is retired (T-E). All of it happens under the lock of the shard and the grow lock
 * and moves at most 256 lines. The memory for it is there before (slab.h). The way back is in table_trim.c.
 */
#include "table.h"

#include "find.h"
#include "table_impl.h"

/* ---- What has been superseded (T-E) ---------------------------------------------------------------------------------------- */

void table_retire_shard(struct table *t, struct shard *s)
{
    struct shard_head *head = shard_head(t, s);
    head->superseded = true;
    head->retired_next = NULL;
    head->retired_stamp = epoch_stamp();
    if (t->grow.retired_last)
        shard_head(t, t->grow.retired_last)->retired_next = s;
    else
        t->grow.retired_first = s;
    t->grow.retired_last = s;
    t->grow.n_retired++;
    u32_add_relaxed(&t->grow.pending, 1);
    u64_add_relaxed(&t->grow.retired_bytes, t->shard_bytes);
}

void table_retire_directory(struct table *t, struct directory *d)
{
    d->retired_next = NULL;
    d->retired_stamp = epoch_stamp();
    if (t->grow.directories_last)
        t->grow.directories_last->retired_next = d;
    else
        t->grow.directories_first = d;
    t->grow.directories_last = d;
    u32_add_relaxed(&t->grow.pending, 1);
    u64_add_relaxed(&t->grow.retired_bytes, directory_counted(t, d));
}

/* The lists are in the order of their stamps: the first that has not passed ends the round. */
static void table_reclaim_locked(struct table *t, struct garbage *g)
{
    struct shard *s;
    while ((s = t->grow.retired_first) && epoch_passed(shard_head(t, s)->retired_stamp)) {
        t->grow.retired_first = shard_head(t, s)->retired_next;
        if (!t->grow.retired_first)
            t->grow.retired_last = NULL;
        shard_free(t, s, g);
        t->grow.n_retired--;
        u32_sub_relaxed(&t->grow.pending, 1);
        u64_sub_relaxed(&t->grow.retired_bytes, t->shard_bytes);
    }
    struct directory *d;
    while ((d = t->grow.directories_first) && epoch_passed(d->retired_stamp)) {
        t->grow.directories_first = d->retired_next;
        if (!t->grow.directories_first)
            t->grow.directories_last = NULL;
        u64_sub_relaxed(&t->grow.retired_bytes, directory_counted(t, d));
        directory_drop(t, d, g);
        u32_sub_relaxed(&t->grow.pending, 1);
    }
}

void table_reclaim(struct table *t)
{
    struct garbage garbage = {NULL, NULL};
    if (!spin_try(&t->grow.lock))
        return; /* the next note does it */
    table_reclaim_locked(t, &garbage);
    spin_unlock(&t->grow.lock);
    garbage_free(t, &garbage);
}

/* ---- Copying --------------------------------------------------------------------------------------------------------------- */

/* In a shard that nobody else sees yet: flows in their second line go home where there is room again; the others are counted
 * (T-B). */
static void shard_send_home(const struct table *t, struct shard *s)
{
    for (uint32_t l = 0; l <= t->line_mask; l++) {
        for (uint32_t i = 0; i < LINE_SLOTS; i++) {
            uint64_t word = u64_load_relaxed(&shard_line(s, l)->slot[i]);
            if (!(word & WORD_SECONDARY))
                continue;
            uint32_t home = line_other(t->line_mask, word, l);
            uint32_t at = line_empty_slot(shard_line(s, home));
            if (at == LINE_SLOTS) {
                line_count_second(shard_line(s, home), word);
                continue;
            }
            u64_store_relaxed(&shard_line(s, home)->slot[at], word & ~WORD_SECONDARY);
            u64_store_relaxed(&shard_line(s, l)->slot[i], 0);
        }
    }
}

/* ---- Binding times (N-A) --------------------------------------------------------------------------------------------------- */

/* Its lock keeps newcomers out, so that flows stay where they were put until they have their times. */
void shard_await(const struct table *t, struct shard *s)
{
    if (!t->plane_at)
        return;
    (void)spin_try(&shard_head(t, s)->lock); /* nobody else sees it yet */
    u8_store_relaxed(&shard_head(t, s)->arriving, 1);
}

void shard_arrived(const struct table *t, struct shard *s)
{
    if (!t->plane_at)
        return;
    u8_store_release(&shard_head(t, s)->arriving, 0);
    spin_unlock(&shard_head(t, s)->lock);
}

/* The place of a flow that was at this line and slot of a shard that another has taken the place of. */
static struct place shard_new_place(const struct table *t, uint64_t word, uint32_t line, uint32_t slot)
{
    uint32_t home = word & WORD_SECONDARY ? line_other(t->line_mask, word, line) : line;
    struct shard *s = table_shard(t, word); /* the tag has all bits that the directory looks at */
    struct place same = {.shard = s, .line = shard_line(s, line), .slot = &shard_line(s, line)->slot[slot]};
    if (((u64_load_relaxed(same.slot) ^ word) & (t->tag_mask | WORD_SECONDARY)) == 0)
        return same; /* as most are after a split */
    return find_in_shard(t, s, (word & t->tag_mask) | home);
}

/* Takes a time along. What the new place has already, a note has stored that came too late for the old one. Before it swapped the
   word it cleared what was old, so what the old place holds is 0, or recent, too, and can be compared. */
static void stamp_bring(atomic_u16 *from, atomic_u16 *to)
{
    uint16_t taken, there = 0;
    do
        taken = u16_load_seq_cst(from);
    while (stamp_later(taken, there) && !u16_cas_seq_cst(to, &there, taken));
}

void shard_bring_stamps(const struct table *t, struct shard *from)
{
    if (!t->plane_at)
        return;
    for (uint32_t l = 0; l <= t->line_mask; l++)
        for (uint32_t i = 0; i < LINE_SLOTS; i++) {
            atomic_u16 *stamp = shard_plane(t, from) + l * LINE_SLOTS + i;
            uint64_t word = u64_load_relaxed(&shard_line(from, l)->slot[i]);
            if (word == 0)
                continue;
            struct place to = shard_new_place(t, word, l, i);
            if (to.slot) /* a merge leaves out what is stale */
                stamp_bring(stamp, place_stamp(t, &to));
        }
}

static void shard_clear_stamps(const struct table *t, struct shard *s, uint32_t line)
{
    for (uint32_t i = 0; t->plane_at && i < LINE_SLOTS; i++)
        u16_store_relaxed(shard_plane(t, s) + line * LINE_SLOTS + i, 0);
}

/* ---- Directory (T-D) ------------------------------------------------------------------------------------------------------- */

/* The directory with twice the entries. NULL: no memory at hand. */
static struct directory *directory_doubled(struct table *t, const struct directory *old)
{
    struct directory *d = directory_take(t, old->depth + 1);
    for (size_t i = 0; d && i < (size_t)1 << d->depth; i++)
        ptr_store_release(&d->shard[i], ptr_load_relaxed(&old->shard[i / 2]));
    return d;
}

/* Names s for all hashes that share their top s->depth bits with `hash`. */
void directory_name(const struct table *t, struct directory *d, struct shard *s, uint64_t hash)
{
    if (ptr_load_relaxed(t->only_shard))
        (void)ptr_xchg_seq_cst(t->only_shard, NULL);
    uint32_t depth = s == shard_nowhere() ? 0 : shard_head(t, s)->depth;
    size_t n = (size_t)1 << (d->depth - depth);
    size_t first = (size_t)(hash >> d->shift) & ~(n - 1);
    for (size_t i = 0; i < n; i++)
        (void)ptr_xchg_seq_cst(&d->shard[first + i], s);
    if (depth == 0 && s != shard_nowhere())
        ptr_store_release(t->only_shard, s);
}

/* ---- Growth ---------------------------------------------------------------------------------------------------------------- */

static enum table_grown table_first_shard_locked(struct table *t, struct table_want *want)
{
    struct directory *d = ptr_load_acquire(&t->directory);
    if (directory_shard(d, 0) != shard_nowhere())
        return TABLE_CHANGED;
    table_want_shards(t, 1, want);
    struct shard *s = table_wants(want) ? NULL : shard_take(t, 0);
    if (!s)
        return TABLE_WANTS;
    shard_wipe(t, s);
    shard_head(t, s)->born = t->grow.dropped;
    directory_name(t, d, s, 0);
    t->grow.n_shards = 1;
    return TABLE_GROWN;
}

/* Fills the two halves from s, whose flows differ in the hash bit below its depth. Touches every line of both for the first time.
 */
static void shard_split_flows(struct table *t, struct shard *s, struct shard *half[2])
{
    uint32_t bit = 63 - shard_head(t, s)->depth, live[2] = {0, 0};
    for (uint32_t l = 0; l <= t->line_mask; l++) {
        uint64_t words[LINE_SLOTS]; /* a compare-and-swap waits for all stores before it: those of a line come together */
        for (uint32_t i = 0; i < LINE_SLOTS; i++)
            words[i] = slot_freeze(&shard_line(s, l)->slot[i]);
        for (uint32_t i = 0; i < LINE_SLOTS; i++) {
            uint64_t word = words[i];
            uint32_t to = (uint32_t)(word >> bit) & 1;
            u64_store_relaxed(&shard_line(half[to], l)->slot[i], word);
            u64_store_relaxed(&shard_line(half[!to], l)->slot[i], 0);
            live[to] += word != 0;
        }
        shard_clear_stamps(t, half[0], l);
        shard_clear_stamps(t, half[1], l);
        u64_store_relaxed(&shard_line(half[0], l)->service, 0);
        u64_store_relaxed(&shard_line(half[1], l)->service, 0);
    }
    for (int h = 0; h < 2; h++) {
        u32_store_relaxed(&shard_head(t, half[h])->live, live[h]);
        shard_send_home(t, half[h]);
    }
}

/* Everything a split needs, before anything is changed. */
static enum table_grown shard_split_prepare(struct table *t, struct shard_head *head, struct shard *half[2],
                                            struct directory **wider, struct table_want *want)
{
    struct directory *d = ptr_load_acquire(&t->directory);
    bool widen = head->depth == d->depth;
    if (t->grow.n_shards >= t->max_shards || head->depth >= t->grow.max_depth)
        return TABLE_AT_LIMIT;
    if (t->grow.n_retired > t->grow.n_shards)
        return TABLE_DELAYED; /* T-F */
    table_want_shards(t, 2, want);
    if (widen)
        table_want_directory(t, d->depth + 1, want);
    if (table_wants(want))
        return TABLE_WANTS;
    *wider = widen ? directory_doubled(t, d) : NULL;
    half[0] = shard_take(t, head->depth + 1);
    half[1] = shard_take(t, head->depth + 1);
    return TABLE_GROWN;
}

static enum table_grown shard_split_locked(struct table *t, struct shard *s, uint64_t hash, struct table_want *want)
{
    struct shard_head *head = shard_head(t, s);
    struct shard *half[2];
    struct directory *wider, *d = ptr_load_acquire(&t->directory);
    enum table_grown prepared = shard_split_prepare(t, head, half, &wider, want);
    if (prepared != TABLE_GROWN)
        return prepared;
    shard_split_flows(t, s, half);
    uint64_t upper = UINT64_C(1) << (63 - head->depth);
    shard_await(t, half[0]);
    shard_await(t, half[1]);
    directory_name(t, wider ? wider : d, half[0], hash & ~upper);
    directory_name(t, wider ? wider : d, half[1], hash | upper);
    if (wider) {
        (void)ptr_xchg_seq_cst(&t->directory, wider);
        table_retire_directory(t, d);
    }
    table_retire_shard(t, s);
    shard_head(t, half[0])->born = shard_head(t, half[1])->born = head->retired_stamp;
    t->grow.n_shards++;
    shard_bring_stamps(t, s);
    shard_arrived(t, half[0]);
    shard_arrived(t, half[1]);
    return TABLE_GROWN;
}

enum table_grown table_grow(struct table *t, struct shard *s, uint64_t hash, struct table_want *want, uint32_t *tries_left)
{
    *want = (struct table_want){.n_slabs = 0};
    if (!spin_try_within(&t->grow.lock, tries_left))
        return TABLE_BUSY;
    enum table_grown r = s == shard_nowhere() ? table_first_shard_locked(t, want) : shard_split_locked(t, s, hash, want);
    spin_unlock(&t->grow.lock);
    return r;
}
