/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table_trim: gives memory back after a peak, two shards at a time (T-D, T-E; see table.h).
 *
 * Two neighbours (all bits of their prefix alike but the last) whose flows together, stale ones left out, fill no more than 3/8
 * of one shard become one. A shard splits at about 3/4 full, so one that was just split is not merged again before half of its
 * flows are gone.
 */
#include "probes.h"
#include "table_impl.h"

/* Shards looked at, lines read for it, merges done in one step: some 50 us. */
#define TRIM_LOOKS  64
#define TRIM_LINES  2048
#define TRIM_MERGES 2

/* What one step does, and what it is short of. */
struct trim_step {
    struct table_trim *trim;
    struct table_want want;
    struct garbage garbage;
    uint32_t looks, n_lines, merges;
};

/* A flow keeps its line, or takes its other one, in a shard that nobody else sees yet. */
static bool trim_place_flow(const struct table *t, struct shard *s, uint32_t line, uint64_t word)
{
    uint32_t home = word & WORD_SECONDARY ? line_other(t->line_mask, word, line) : line, to = home;
    uint32_t at = line_empty_slot(shard_line(s, to));
    word &= ~WORD_SECONDARY;
    if (at == LINE_SLOTS) {
        to = line_other(t->line_mask, word, home);
        at = line_empty_slot(shard_line(s, to));
        if (at == LINE_SLOTS)
            return false;
        line_count_second(shard_line(s, home), word);
        word |= WORD_SECONDARY;
    }
    u64_store_relaxed(&shard_line(s, to)->slot[at], word);
    return true;
}

/* Freezes `from` and copies what is not stale. Frozen words lose their class: `words` keeps them, for the way back. */
static bool trim_take_over(const struct table *t, struct table_trim *trim, struct shard *to, struct shard *from, uint64_t *words)
{
    uint32_t live = shard_live(shard_head(t, to));
    for (uint32_t l = 0; l <= t->line_mask; l++)
        for (uint32_t i = 0; i < LINE_SLOTS; i++)
            words[l * LINE_SLOTS + i] = slot_freeze(&shard_line(from, l)->slot[i]);
    for (uint32_t n = 0; n < (t->line_mask + 1) * LINE_SLOTS; n++) {
        if (words[n] == 0)
            continue;
        if (trim->stale(trim->ctx, words[n]))
            trim->n_dropped++;
        else if (trim_place_flow(t, to, n / LINE_SLOTS, words[n]))
            live++;
        else
            return false;
    }
    shard_set_live(shard_head(t, to), live);
    return true;
}

static void trim_thaw(const struct table *t, struct shard *s, const uint64_t *words)
{
    for (uint32_t n = 0; n < (t->line_mask + 1) * LINE_SLOTS; n++)
        u64_store_release(&shard_line(s, n / LINE_SLOTS)->slot[n % LINE_SLOTS], words[n]);
}

/*
 * Both locked, neighbours of equal depth. 28 KiB of stack (2 shards of 256 lines of 7 words), which is most of what
 * flowq_vm_maintain() takes: memory to give memory back might not be there.
 */
static bool trim_merge_locked(struct table *t, struct trim_step *step, struct shard *pair[2], uint64_t hash)
{
    struct table_trim *trim = step->trim;
    uint64_t words[2][SHARD_MAX_LINES * LINE_SLOTS];
    uint64_t dropped = trim->n_dropped;
    uint32_t depth = shard_head(t, pair[0])->depth - 1;
    struct shard *one = shard_take(t, depth);
    if (!one)
        return false;
    shard_wipe(t, one);
    bool first = trim_take_over(t, trim, one, pair[0], words[0]);
    bool second = first && trim_take_over(t, trim, one, pair[1], words[1]);
    if (!second) { /* more of them met in two lines than there are slots: as it was */
        trim_thaw(t, pair[0], words[0]);
        if (first)
            trim_thaw(t, pair[1], words[1]);
        shard_free(t, one, &step->garbage);
        trim->n_dropped = dropped;
        return false;
    }
    shard_await(t, one);
    directory_name(t, ptr_load_acquire(&t->directory), one, hash);
    table_retire_shard(t, pair[0]);
    table_retire_shard(t, pair[1]);
    shard_head(t, one)->born = shard_head(t, pair[1])->retired_stamp;
    shard_bring_stamps(t, pair[0]);
    shard_bring_stamps(t, pair[1]);
    shard_arrived(t, one);
    u32_sub_relaxed(&t->grow.n_shards, 1);
    trim->n_merged++;
    PROBE(table__shrunk, PROBE_TABLE(t), u32_load_relaxed(&t->grow.n_shards));
    return true;
}

static bool trim_settled(struct shard_head *head)
{
    head->settled = head->settled || epoch_passed(head->born);
    return head->settled;
}

/* Locks both, or neither. */
static bool trim_try_both(const struct table *t, struct shard *pair[2])
{
    if (!shard_try(shard_head(t, pair[0])))
        return false;
    if (shard_try(shard_head(t, pair[1])))
        return true;
    shard_unlock(shard_head(t, pair[0]));
    return false;
}

/* Are so few of the flows in these two shards not stale? Nothing takes a stale flow away while nobody wants its place, so they
   have to be looked at; no further than it takes to know. */
static bool trim_fits_one(const struct table *t, const struct table_trim *trim, struct shard *pair[2], uint32_t room,
                          uint32_t *n_lines)
{
    if (shard_live(shard_head(t, pair[0])) + shard_live(shard_head(t, pair[1])) <= room)
        return true;
    uint32_t wanted = 0;
    for (uint32_t l = 0; l <= t->line_mask && wanted <= room; l++, *n_lines += 2)
        for (uint32_t i = 0; i < 2 * LINE_SLOTS; i++) {
            uint64_t word = u64_load_relaxed(&shard_line(pair[i & 1], l)->slot[i / 2]);
            wanted += word && !trim->stale(trim->ctx, word);
        }
    return wanted <= room;
}

/* Merges the shard at `hash`, the first of a pair, with the other if that is worth it. */
static bool trim_try_merge(struct table *t, struct trim_step *step, struct shard *s, uint64_t hash)
{
    uint32_t depth = shard_head(t, s)->depth, room = (t->line_mask + 1) * LINE_SLOTS * 3 / 8;
    if (depth == 0 || depth <= t->grow.min_depth)
        return false;
    uint64_t last = UINT64_C(1) << (64 - depth);
    struct shard *pair[2] = {s, table_shard(t, hash | last)};
    struct shard_head *heads[2] = {shard_head(t, pair[0]), shard_head(t, pair[1])};
    if (hash & last || heads[1]->depth != depth || !trim_settled(heads[0]) || !trim_settled(heads[1]) ||
        !trim_fits_one(t, step->trim, pair, room, &step->n_lines))
        return false;
    table_want_shards(t, 1, &step->want);
    if (table_wants(&step->want) || !trim_try_both(t, pair))
        return false;
    bool merged = trim_merge_locked(t, step, pair, hash);
    shard_unlock(heads[0]);
    shard_unlock(heads[1]);
    return merged;
}

/* Gives the last shard back once it is empty. */
static void trim_drop_last(struct table *t, struct table_trim *trim)
{
    struct shard *s = table_shard(t, 0);
    if (t->grow.keep_first || u32_load_relaxed(&t->grow.n_shards) != 1 || s == shard_nowhere())
        return;
    struct shard_head *head = shard_head(t, s);
    if (shard_live(head) != 0 || !trim_settled(head) || !shard_try(head))
        return;
    if (shard_live(head) == 0) {
        directory_name(t, ptr_load_acquire(&t->directory), shard_nowhere(), 0);
        table_retire_shard(t, s);
        t->grow.dropped = head->retired_stamp;
        u32_store_relaxed(&t->grow.n_shards, 0);
        trim->n_merged++;
        PROBE(table__shrunk, PROBE_TABLE(t), 0);
    }
    shard_unlock(head);
}

/* Half the directory, once no shard needs the other half. */
static void trim_halve_directory(struct table *t, struct trim_step *step)
{
    struct directory *d = ptr_load_acquire(&t->directory);
    if (d->depth <= t->grow.min_depth || d->depth == 1 || t->grow.directories_first)
        return;
    for (size_t i = 0; i < (size_t)1 << d->depth; i += 2)
        if (ptr_load_relaxed(&d->shard[i]) != ptr_load_relaxed(&d->shard[i + 1]))
            return;
    table_want_directory(t, d->depth - 1, &step->want);
    struct directory *half = step->want.depth ? NULL : directory_take(t, d->depth - 1);
    if (!half)
        return;
    for (size_t i = 0; i < (size_t)1 << half->depth; i++)
        ptr_store_release(&half->shard[i], ptr_load_relaxed(&d->shard[i * 2]));
    (void)ptr_xchg_seq_cst(&t->directory, half);
    table_retire_directory(t, d);
}

/* Until it is done, or short of memory. */
static void trim_locked(struct table *t, struct trim_step *step)
{
    step->want = (struct table_want){.n_slabs = 0};
    for (; step->looks < TRIM_LOOKS && step->n_lines < TRIM_LINES && step->merges < TRIM_MERGES &&
           u32_load_relaxed(&t->grow.n_shards) > 1;
         step->looks++) {
        uint64_t at = t->grow.trim_at;
        struct shard *s = table_walk(t, at, &t->grow.trim_at);
        step->merges += trim_try_merge(t, step, s, at);
        if (table_wants(&step->want)) {
            t->grow.trim_at = at; /* again, when it is there */
            return;
        }
    }
    trim_drop_last(t, step->trim);
    trim_halve_directory(t, step);
}

void table_trim(struct table *t, struct table_trim *trim)
{
    struct trim_step step = {.trim = trim};
    uint32_t tries_left = 0;
    void *huge = NULL;
    bool more = true;
    for (unsigned rounds = 0; more && spin_try(&t->grow.lock); rounds++) {
        trim_locked(t, &step);
        more = table_wants(&step.want) && rounds <= TRIM_MERGES;
        if (!more) {
            table_drop_spare(t, &step.garbage);
            huge = slab_wanting_huge(t);
        }
        spin_unlock(&t->grow.lock);
        more = more && table_get(t, &step.want, &tries_left) == TABLE_GOT;
    }
    garbage_free(t, &step.garbage);
    if (huge) /* takes a while: not under the lock. Should the slab be freed meanwhile, the kernel finds nothing to do. */
        memory_huge(t->memory, huge, MEMORY_HUGE, MEMORY_NOW);
}
