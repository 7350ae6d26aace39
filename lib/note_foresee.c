/* SPDX-License-Identifier: BSD-2-Clause */
/* note_foresee: what a note would come to, without making it. Follows note_flow(), step by step; reads only. */
#include "find.h"
#include "note.h"

/* As note_update(). A flow that is being moved has lost its class for an instant: it counts as established. */
static uint32_t note_foresee_update(const struct note_context *c, const struct place *p, uint64_t hash, uint32_t spread,
                                    enum note_kind kind)
{
    const struct table *t = c->table;
    uint32_t queue = word_queue(t, p->word), cls = word_class(p->word);
    uint32_t ticks = kind == NOTE_DATAGRAM ? c->rebind_other : c->rebind_tcp;
    if (c->ordered)
        return ordered_foresee_update(c, p->word, hash, spread);
    if (queue == c->qid)
        return FLOWQ_NOTE_REFRESHED;
    if (!t->plane_at || ticks == 0 || cls == WORD_FROZEN || note_opens_anew(cls, kind) || !queue_in_use(c->queues, queue))
        return FLOWQ_NOTE_MOVED;
    uint16_t bound = u16_load_acquire(place_stamp(t, p));
    return note_stamp_within(c, p->word, bound, ticks) ? FLOWQ_NOTE_SUPPRESSED : FLOWQ_NOTE_MOVED;
}

/* Is there a place in this line, if not an empty one then one that a flow can be put out of? */
static bool note_foresee_place(const struct note_context *c, struct shard *s, uint32_t line)
{
    for (uint32_t i = 0; i < LINE_SLOTS; i++)
        if (note_victim_rank(c, u64_load_acquire(&shard_line(s, line)->slot[i])) != UINT32_MAX)
            return true;
    return false;
}

/* Is there one that a flow at home in this line can be moved to, so that nobody is displaced? */
static bool note_foresee_aside(const struct note_context *c, struct shard *s, uint32_t line)
{
    for (uint32_t i = 0; i < LINE_SLOTS; i++) {
        uint64_t word = u64_load_acquire(&shard_line(s, line)->slot[i]);
        if (word & WORD_SECONDARY)
            continue;
        uint32_t other = line_other(c->table->line_mask, word, line);
        for (uint32_t j = 0; j < LINE_SLOTS; j++)
            if (note_victim_rank(c, u64_load_acquire(&shard_line(s, other)->slot[j])) >> 16 <= NOTE_RANK_STALE)
                return true;
    }
    return false;
}

/* As table_may_split() and T-F, by what can be read without the lock. */
static bool note_foresee_growth(const struct note_context *c, struct shard *s)
{
    const struct table *t = c->table;
    uint32_t n_shards = u32_load_relaxed(&t->grow.n_shards);
    return n_shards < t->max_shards && shard_head(t, s)->depth < t->grow.max_depth &&
           u64_load_relaxed(&t->grow.retired_bytes) / t->shard_bytes <= n_shards;
}

/* As note_insert(). */
static uint32_t note_foresee_insert(const struct note_context *c, uint64_t hash)
{
    const struct table *t = c->table;
    struct shard *s = table_shard(t, hash);
    if (s == shard_nowhere())
        return FLOWQ_NOTE_BOUND; /* the first shard comes */
    uint32_t first = line_of_hash(t->line_mask, hash), second = line_other(t->line_mask, hash, first);
    bool room = note_foresee_place(c, s, first) || note_foresee_place(c, s, second) || note_foresee_aside(c, s, first) ||
                note_foresee_aside(c, s, second) || note_foresee_growth(c, s);
    return room ? FLOWQ_NOTE_BOUND : FLOWQ_NOTE_REFUSED;
}

uint32_t note_foresee(const struct note_context *c, uint64_t hash, uint32_t spread, enum note_kind kind)
{
    struct place p = find_in_table(c->table, hash);
    if (p.slot)
        return note_foresee_update(c, &p, hash, spread, kind);
    if (kind == NOTE_RESETS)
        return FLOWQ_NOTE_RESET;
    if (note_begins(kind) && queue_pick(c->queues, spread) == c->qid && !implied_knows(c->implied, hash, c->now_ns))
        return FLOWQ_NOTE_IMPLIED;
    uint32_t outcome = note_foresee_insert(c, hash);
    if (c->ordered && outcome == FLOWQ_NOTE_BOUND)
        outcome |= ordered_foresee_claim(c, hash, queue_pick(c->queues, spread));
    return outcome;
}
