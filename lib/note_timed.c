/* SPDX-License-Identifier: BSD-2-Clause */
/* note_timed: notes where there are binding times (S2). See note.h, BINDING TIMES and N-A. */
#include "find.h"
#include "note.h"
#include "probes.h"

/* Was a flow that has this word last noted longer ago than that? Then it was bound longer ago, too, whatever its time says. Ticks
   that are ahead are new as far as binding times are, where that is further than note_age() has it. */
static bool note_silent_for(const struct note_context *c, uint64_t word, uint32_t ticks)
{
    uint32_t ahead = NOTE_BIND_AHEAD >> (c->ages.tick_shift - NOTE_BIND_SHIFT);
    uint32_t until = (word_tick(word) - note_tick(c)) & (uint32_t)WORD_TICK_MASK;
    uint64_t noted_ago = until <= ahead ? 0 : (uint64_t)note_age(note_tick(c), word) << c->ages.tick_shift;
    return noted_ago > ((uint64_t)ticks << NOTE_BIND_SHIFT) + (UINT64_C(1) << c->ages.tick_shift);
}

/* Is this time later than now, by another thread's clock, or because this note was held up since it read its own? */
static bool note_stamp_ahead(const struct note_context *c, uint16_t stamp)
{
    return (uint16_t)(note_bind_stamp(c) - stamp) > UINT16_MAX - NOTE_BIND_AHEAD;
}

/* Has a flow that has this word and this binding time been bound within so many ticks, or later than now? The time alone may have
   wrapped (note.h). */
bool note_stamp_within(const struct note_context *c, uint64_t word, uint16_t stamp, uint32_t ticks)
{
    uint16_t age = (uint16_t)(note_bind_stamp(c) - stamp);
    return stamp != 0 && (age <= ticks || note_stamp_ahead(c, stamp)) && !note_silent_for(c, word, ticks);
}

static bool note_same_flow(const struct table *t, uint64_t a, uint64_t b)
{
    return ((a ^ b) & (t->tag_mask | WORD_SECONDARY)) == 0;
}

/* Where else the flow is than at `p`, where it is being moved, or was. slot NULL: nowhere, or not yet. Seq_cst for N-A. */
static struct place note_find_other(const struct table *t, const struct place *p, uint64_t hash)
{
    struct directory *d = ptr_load_seq_cst(&t->directory);
    struct shard *s = ptr_load_seq_cst(&d->shard[hash >> d->shift]);
    struct place now = find_in_shard(t, s, hash);
    if (now.slot == p->slot && !(p->word & WORD_SECONDARY))
        now = find_in_shard_second(t, s, hash);
    if (now.slot == p->slot)
        now.slot = NULL;
    return now;
}

/* Stores the time of a flow that this note has just bound at `p`, where `seen` was the time before (N-A). */
static void note_bind_at(const struct table *t, struct place p, uint64_t hash, uint16_t seen, uint16_t stamp)
{
    do {
        stamp_raise(place_stamp(t, &p), seen, stamp);
        uint64_t word = u64_load_seq_cst(p.slot);
        if (note_same_flow(t, word, p.word) && word_class(word) != WORD_FROZEN)
            return;
        p = note_find_other(t, &p, hash);
    } while (p.slot);
}

uint32_t note_update_timed(const struct note_context *c, const struct place *p, uint64_t hash, enum note_kind kind)
{
    const struct table *t = c->table;
    uint64_t word = p->word;
    uint32_t queue = word_queue(t, word), ticks = kind == NOTE_DATAGRAM ? c->rebind_other : c->rebind_tcp;
    uint32_t outcome = queue == c->qid ? FLOWQ_NOTE_REFRESHED : FLOWQ_NOTE_MOVED;
    bool anew = note_opens_anew(word_class(word), kind), binds = anew || outcome == FLOWQ_NOTE_MOVED;
    if (binds && u8_load_acquire(&shard_head(t, p->shard)->arriving)) /* N-A */
        return note_let_move(c, p) ? NOTE_AGAIN : FLOWQ_NOTE_BUSY;
    uint16_t seen = u16_load_acquire(place_stamp(t, p));
    if (binds && !anew && ticks && queue_in_use(c->queues, queue) && note_stamp_within(c, word, seen, ticks)) {
        outcome = FLOWQ_NOTE_SUPPRESSED;
        binds = false;
    }
    uint64_t fresh = word_make(word & (t->tag_mask | WORD_SECONDARY), outcome == FLOWQ_NOTE_MOVED ? c->qid : queue, note_tick(c),
                               note_class[kind][word_class(word)]);
    if (u64_load_acquire(p->slot) != word)
        return NOTE_AGAIN; /* the time may have been another flow's */
    if (fresh == word) {
        if (outcome == FLOWQ_NOTE_SUPPRESSED)
            PROBE(flow__held, PROBE_TABLE(t), PROBE_FLOW(t, hash), queue, c->qid);
        return outcome;
    }
    if (seen != 0 && !note_stamp_within(c, word, seen, ticks)) {
        uint16_t old = seen;
        (void)u16_cas(place_stamp(t, p), &old, 0); /* "long ago", before it wraps; unless another time came meanwhile */
        seen = 0;
    }
    if (!u64_cas_seq_cst(p->slot, &word, fresh))
        return NOTE_AGAIN;
    if (outcome == FLOWQ_NOTE_SUPPRESSED)
        PROBE(flow__held, PROBE_TABLE(t), PROBE_FLOW(t, hash), queue, c->qid);
    if (outcome == FLOWQ_NOTE_MOVED)
        PROBE(flow__moved, PROBE_TABLE(t), PROBE_FLOW(t, hash), queue, c->qid);
    if (binds) /* a time that is later than ours stays */
        note_bind_at(t, *p, hash, seen, seen != 0 && note_stamp_ahead(c, seen) ? seen : note_bind_stamp(c));
    return outcome;
}
