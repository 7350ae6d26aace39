/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table_grow: how a table grows, a shard at a time, under its readers' eyes.
 *
 * A shard that has no room becomes two (T-D): two new ones are made, the old one is frozen slot by slot while it is copied, the
 * directory names the new ones, and the old one is retired (T-E). The shard is locked meanwhile, and at most 256 lines are
 * copied. The grow lock is held twice, each time for a few instructions: before, to take the memory for the new ones (slab.h),
 * which is touched while no lock is held; and afterwards, to name them. Whoever cannot have it then, or finds the table at its
 * limit by now, undoes the freezing. The way back is in table_trim.c.
 */
#include "table.h"

#include "find.h"
#include "probes.h"
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

/* The lists are in the order of their stamps: the first that has not passed ends the round. unseen: nobody ever saw the table. */
static void table_reclaim_locked(struct table *t, struct garbage *g, bool unseen)
{
    struct shard *s;
    while ((s = t->grow.retired_first) && (unseen || epoch_passed(shard_head(t, s)->retired_stamp))) {
        t->grow.retired_first = shard_head(t, s)->retired_next;
        if (!t->grow.retired_first)
            t->grow.retired_last = NULL;
        shard_free(t, s, g);
        t->grow.n_retired--;
        u32_sub_relaxed(&t->grow.pending, 1);
        u64_sub_relaxed(&t->grow.retired_bytes, t->shard_bytes);
        if (!unseen) /* else it is a table that no vm has yet */
            PROBE(table__reclaimed, PROBE_TABLE(t), t->shard_bytes, u64_load_relaxed(&t->grow.retired_bytes));
    }
    struct directory *d;
    while ((d = t->grow.directories_first) && (unseen || epoch_passed(d->retired_stamp))) {
        t->grow.directories_first = d->retired_next;
        if (!t->grow.directories_first)
            t->grow.directories_last = NULL;
        u64_sub_relaxed(&t->grow.retired_bytes, directory_counted(t, d));
        directory_drop(t, d, g);
        u32_sub_relaxed(&t->grow.pending, 1);
    }
}

/* What table_give_back() pushed. All at once, so that nobody mistakes a shard that comes again for one that never went. */
static void table_free_unused(struct table *t, struct garbage *g)
{
    struct shard *s = ptr_load_relaxed(&t->grow.unused) ? ptr_xchg_seq_cst(&t->grow.unused, NULL) : NULL;
    for (struct shard *next; s; s = next) {
        next = shard_head(t, s)->retired_next;
        shard_free(t, s, g);
        u32_sub_relaxed(&t->grow.pending, 1);
    }
}

void table_reclaim(struct table *t)
{
    struct garbage garbage = {NULL, NULL};
    if (!spin_try(&t->grow.lock))
        return; /* the next note does it */
    table_free_unused(t, &garbage);
    table_reclaim_locked(t, &garbage, false);
    spin_unlock(&t->grow.lock);
    garbage_free(t, &garbage);
}

void table_reclaim_unseen(struct table *t)
{
    struct garbage garbage = {NULL, NULL};
    table_free_unused(t, &garbage);
    table_reclaim_locked(t, &garbage, true);
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
    u32_store_relaxed(&t->grow.n_shards, 1);
    return TABLE_GROWN;
}

/* Fills the two halves from s, whose flows differ in the hash bit below its depth. Touches every line of both for the first time.
 */
static void shard_split_flows(struct table *t, struct shard *s, struct shard *const half[2])
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
        shard_set_live(shard_head(t, half[h]), live[h]);
        shard_send_home(t, half[h]);
    }
}

/* The old shard as it was: a frozen word has lost nothing but its class, which the half knows. */
static void shard_split_undo(const struct table *t, struct shard *s, struct shard *const half[2])
{
    uint32_t bit = 63 - shard_head(t, s)->depth;
    for (uint32_t l = 0; l <= t->line_mask; l++)
        for (uint32_t i = 0; i < LINE_SLOTS; i++) {
            atomic_u64 *slot = &shard_line(s, l)->slot[i];
            uint64_t word = u64_load_relaxed(slot);
            if (word == 0)
                continue;
            uint32_t home = word & WORD_SECONDARY ? line_other(t->line_mask, word, l) : l;
            struct place p = find_in_shard(t, half[word >> bit & 1], (word & t->tag_mask) | home);
            u64_store_release(slot, word | word_class(p.word));
        }
}

/* May there be two shards in the place of one of this depth? A look without the grow lock can be outdated. */
static enum table_grown table_may_split(const struct table *t, uint32_t depth)
{
    bool at_limit = u32_load_relaxed(&t->grow.n_shards) >= t->max_shards || depth >= t->grow.max_depth;
    return at_limit ? TABLE_AT_LIMIT : TABLE_GROWN;
}

static enum table_grown table_may_split_locked(const struct table *t, uint32_t depth, struct table_want *want)
{
    enum table_grown r = table_may_split(t, depth);
    const struct directory *d = ptr_load_acquire(&t->directory);
    if (r == TABLE_GROWN && t->grow.n_retired > u32_load_relaxed(&t->grow.n_shards))
        return TABLE_DELAYED; /* T-F */
    if (r == TABLE_GROWN && depth == d->depth)
        table_want_directory(t, d->depth + 1, want);
    return r == TABLE_GROWN && table_wants(want) ? TABLE_WANTS : r;
}

static enum table_grown table_prepare_locked(struct table *t, uint32_t depth, struct table_halves *h, struct table_want *want)
{
    table_want_shards(t, 2, want);
    enum table_grown r = table_may_split_locked(t, depth, want);
    if (r == TABLE_GROWN) {
        h->half[0] = shard_take(t, 0);
        h->half[1] = shard_take(t, 0);
    }
    return r;
}

#define TABLE_PAGE_BYTES 4096 /* or a part of a page */

static void shard_touch(const struct table *t, struct shard *s)
{
    for (uint32_t at = 0; at < t->head_at; at += TABLE_PAGE_BYTES)
        u64_store_relaxed((atomic_u64 *)(void *)((char *)s + at), 0);
}

enum table_grown table_prepare(struct table *t, struct shard *s, struct table_halves *h, struct table_want *want,
                               uint32_t *tries_left)
{
    *want = (struct table_want){.n_slabs = 0};
    if (!spin_try_within(&t->grow.lock, tries_left))
        return TABLE_BUSY;
    enum table_grown r = table_prepare_locked(t, shard_head(t, s)->depth, h, want);
    spin_unlock(&t->grow.lock);
    for (int i = 0; r == TABLE_GROWN && i < 2; i++)
        shard_touch(t, h->half[i]);
    return r;
}

void table_give_back(struct table *t, struct table_halves *h)
{
    for (int i = 0; i < 2; i++) {
        void *top = ptr_load_relaxed(&t->grow.unused);
        do
            shard_head(t, h->half[i])->retired_next = top;
        while (!ptr_cas(&t->grow.unused, &top, h->half[i]));
        u32_add_relaxed(&t->grow.pending, 1);
        h->half[i] = NULL;
    }
}

/* The halves are full: names them. */
static enum table_grown shard_publish_locked(struct table *t, struct shard *s, uint64_t hash, struct shard *const half[2],
                                             struct table_want *want)
{
    struct shard_head *head = shard_head(t, s);
    struct directory *d = ptr_load_acquire(&t->directory), *wider = NULL;
    enum table_grown r = table_may_split_locked(t, head->depth, want);
    if (r != TABLE_GROWN)
        return r;
    if (head->depth == d->depth)
        wider = directory_doubled(t, d);
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
    u32_add_relaxed(&t->grow.n_shards, 1);
    return TABLE_GROWN;
}

/* s is locked: nobody else splits it, or puts a flow into it. */
static enum table_grown shard_split(struct table *t, struct shard *s, uint64_t hash, struct shard *const half[2],
                                    struct table_want *want, uint32_t *tries_left)
{
    enum table_grown r = TABLE_BUSY;
    shard_head(t, half[0])->depth = shard_head(t, half[1])->depth = shard_head(t, s)->depth + 1;
    shard_split_flows(t, s, half);
    if (spin_try_within(&t->grow.lock, tries_left)) {
        r = shard_publish_locked(t, s, hash, half, want);
        spin_unlock(&t->grow.lock);
    }
    if (r != TABLE_GROWN) {
        shard_split_undo(t, s, half);
        return r;
    }
    shard_bring_stamps(t, s);
    shard_arrived(t, half[0]);
    shard_arrived(t, half[1]);
    return r;
}

enum table_grown table_grow(struct table *t, struct shard *s, uint64_t hash, struct table_halves *h, struct table_want *want,
                            uint32_t *tries_left)
{
    *want = (struct table_want){.n_slabs = 0};
    enum table_grown r = TABLE_UNREADY;
    if (s == shard_nowhere()) {
        if (!spin_try_within(&t->grow.lock, tries_left))
            return TABLE_BUSY;
        r = table_first_shard_locked(t, want);
        spin_unlock(&t->grow.lock);
        return r;
    }
    if (table_may_split(t, shard_head(t, s)->depth) != TABLE_GROWN)
        return TABLE_AT_LIMIT;
    if (h)
        r = shard_split(t, s, hash, h->half, want, tries_left);
    if (r == TABLE_GROWN)
        h->half[0] = h->half[1] = NULL;
    return r;
}
