/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * note: what a transmitted packet does to the table (rules S1, S2, S7 to S9, S12).
 *
 * TIME. Slots hold the time of the last note in ticks, 11 bits; a tick is a power of two of nanoseconds, at most about a second
 * (2^30 ns) and an eighth of active_ms, and fixed for the life of the vm. Ages rank bindings, nothing else: one that wraps (after
 * 2048 ticks) can at most be taken for a younger one, so nothing ever has to be swept.
 *
 * BINDING TIMES, where rebind_min is set, lie in the shard's plane: 16 bits of ticks of 2^16 ns (65 us, an eighth of the smallest
 * setting at most), 0: long ago. They wrap after 4.3 s. That is no ambiguity: a flow last noted longer ago than rebind_min (1 s
 * at most) was bound longer ago, too, which its last note tells; and a note that refreshes, at most once a tick, or moves the
 * flow writes 0 over a time that is older than rebind_min, before it writes its word. So a time that is looked at is at most
 * rebind_min and two ticks old, 3.15 s, and what seems older than 3.7 s was stored by a note with a later clock; it is not
 * cleared. What remains is a flow that falls silent within rebind_min after it was bound, and is noted again when its last note's
 * time has just wrapped (2048 ticks later, or within 64 before): it looks as if it had not been silent, and may have to wait for
 * rebind_min once more, and for 0.54 s before.
 *
 *   N-A  A binding time that a note has stored by the time it returns counts, wherever the flow is moved meanwhile: it is later
 *        than the note's word, but nobody decides by an older one after the note has returned.
 *        A new flow. Its time is stored before its word is, into a slot that nobody writes to: an empty one, or one whose flow
 *        was frozen. So a newcomer that comes too late to displace a flow has touched nothing.
 *        A note that moves a flow, or opens it anew, reads the time, clears it if it is old, swaps the word, and then raises the
 *        time: a compare-and-swap from what it read, then from whatever is there and earlier. So it neither takes a later note's
 *        time back nor, as it would by storing, ages a newcomer in its slot. Then it looks at the word again. As long as that is
 *        the flow's and not frozen, nobody has taken the time yet, and whoever will finds it. Else the flow is being moved, or
 *        was: the note looks for another place of it and raises the time there too, until there is none. It waits for nobody.
 *        Who moves a flow freezes the word, publishes the new place, and takes the time from the old one only then: after a
 *        split or a merge by a load, when moving aside by an exchange against the newcomer's. What it took it raises at the new
 *        place, and only then lets anybody decide by it: a flow that moves aside is frozen in its home slot, which is looked at
 *        first, until then; in a new shard, `arriving` makes notes that would bind wait, a bounded time as for a frozen flow
 *        (S12: FLOWQ_NOTE_BUSY, nothing has changed then), and its lock keeps the flows where they are.
 *        That is enough: freeze, publish, take; raise, look at the word, look for places; all seq_cst. If the take is before
 *        the raise, the freeze and the publication are before both looks, and the note raises the time at the new place itself.
 *        If the raise is before the take, it is taken along. (Moving aside, take and raise are read-modify-writes of one word,
 *        and the publication, a release, is before the take.) A merge or a move aside that fails leaves the time where it is.
 *        An old time is cleared by one compare-and-swap from what was read: a time that came since is another one. What was read
 *        was the flow's, as the word was there before and after it; so does a note that is suppressed look again. A note that
 *        binds clears it, too, as it may be held up while the flow moves twice, and then raises the time at the last place alone:
 *        who moves the flow there from the one between must find nothing that would pass for later, having wrapped.
 *        A note whose clock was read before another's moved the flow sees a time that is ahead, which is new: it is suppressed,
 *        or, if it may move the flow all the same, the later time stays.
 *        Two things are not guarded against: a thread that stops for 0.54 s between its clock and its last step (then later and
 *        earlier are mistaken for each other), and a word that another flow replaced and that came back the same, tick, queue
 *        and class, between a note's load and its swap.
 */
#ifndef FLOWQ_LIB_NOTE_H
#define FLOWQ_LIB_NOTE_H

#include "hash.h"
#include "implied.h"
#include "ordered.h"
#include "queue.h"
#include "stats.h"
#include "table.h"

#define NOTE_TICK_SHIFT_MAX     30
#define NOTE_EMBRYONIC_STALE_NS UINT64_C(5000000000)
#define NOTE_CLOSING_STALE_NS   UINT64_C(10000000000)
#define NOTE_BIND_SHIFT         16
/* Shards that a note may split to find room: all 14 flows of two lines go to the same half of one once in 2^13 times. */
#define NOTE_SPLITS 2
/* Binding times up to so many of their ticks ahead, 0.54 s, are new: clocks differ, and a note may have been held up since it
   read its own. */
#define NOTE_BIND_AHEAD (1u << 13)
#define NOTE_TRIES      64 /* times a note starts again before it is given up as busy (S12) */

/* Besides FLOWQ_NOTE_*: something changed under us, start again. */
enum { NOTE_AGAIN = 0xffff };

/* What the packet says about its flow: by its three lowest TCP flags (RFC 9293), the strongest of which decides. */
enum note_kind {
    NOTE_CARRIES = 0,  /* TCP, none of these */
    NOTE_CLOSES = 1,   /* FIN */
    NOTE_OPENS = 2,    /* SYN, SYN-ACK */
    NOTE_RESETS = 4,   /* RST: closes, too, but makes no flow known */
    NOTE_DATAGRAM = 8, /* not TCP */
    NOTE_NOTHING,      /* the packet does not go to the table */
    NOTE_KINDS
};

/* flags: a combination of the first four, or one of the others. */
static inline enum note_kind note_strongest(uint32_t flags)
{
    if (flags >= NOTE_DATAGRAM)
        return (enum note_kind)flags;
    return flags & NOTE_RESETS ? NOTE_RESETS : flags & NOTE_CLOSES ? NOTE_CLOSES : (enum note_kind)flags;
}

/* In ticks; see S8. */
struct note_ages {
    uint32_t tick_shift;
    uint32_t embryonic, closing, idle; /* stale when older than this */
    uint32_t active;                   /* active when not older than this */
};

struct note_ages note_ages_from(uint32_t tick_shift, uint64_t active_ns, uint64_t idle_ns);

/* One note, as far as it is the same for a whole burst. */
struct note_context {
    struct table *table;
    const struct queues *queues;
    const struct implied *implied;
    struct ordered *ordered; /* NULL: the setting is off */
    struct tally tally;
    struct note_ages ages;
    uint64_t now_ns;
    uint64_t idle; /* a word on this queue, noted now, but for tag and class */
    uint32_t qid;
    uint32_t rebind_tcp, rebind_other; /* ticks of 2^NOTE_BIND_SHIFT ns; 0: at once */
    uint32_t *tries_left;              /* for locks: of the whole call (S12), at first TABLE_TRIES */
};

static inline uint32_t note_tick(const struct note_context *c) { return (uint32_t)(c->now_ns >> c->ages.tick_shift); }

/* Age of a word in ticks. What seems to come from the near future (another thread's clock) is new. */
static inline uint32_t note_age(uint32_t now_tick, uint64_t word)
{
    uint32_t age = (now_tick - word_tick(word)) & (uint32_t)WORD_TICK_MASK;
    return age > WORD_TICK_MASK - 16 ? 0 : age;
}

/* Worth no more than its place (S8). */
bool note_stale(const struct note_ages *ages, uint32_t now_tick, uint64_t word);

/*
 * The class of a flow after a note with these flags, by its class before. Of a frozen one it is not known here: a bit that no
 * word has makes sure that the word seems to be another flow's.
 */
/* clang-format off */
#define NOTE_CLASS_CLOSES  {WORD_SPARE, FLOWQ_CLASS_CLOSING, FLOWQ_CLASS_CLOSING, FLOWQ_CLASS_CLOSING}
#define NOTE_CLASS_GOES_ON {WORD_SPARE, FLOWQ_CLASS_ESTABLISHED, FLOWQ_CLASS_ESTABLISHED, FLOWQ_CLASS_CLOSING}
/* clang-format on */
static const uint16_t note_class[NOTE_KINDS][4] = {
    [NOTE_CARRIES] = NOTE_CLASS_GOES_ON,
    [NOTE_CLOSES] = NOTE_CLASS_CLOSES,
    [NOTE_OPENS] = {WORD_SPARE, FLOWQ_CLASS_EMBRYONIC, FLOWQ_CLASS_EMBRYONIC, FLOWQ_CLASS_EMBRYONIC}, /* anew (S2) */
    [NOTE_OPENS | NOTE_CLOSES] = NOTE_CLASS_CLOSES,
    [NOTE_RESETS] = NOTE_CLASS_CLOSES,
    [NOTE_RESETS | NOTE_CLOSES] = NOTE_CLASS_CLOSES,
    [NOTE_RESETS | NOTE_OPENS] = NOTE_CLASS_CLOSES,
    [NOTE_RESETS | NOTE_OPENS | NOTE_CLOSES] = NOTE_CLASS_CLOSES,
    [NOTE_DATAGRAM] = NOTE_CLASS_GOES_ON,
};

/* Such a packet, if nothing is known of its flow, makes an embryonic one (S8). */
static inline bool note_begins(enum note_kind kind) { return kind == NOTE_OPENS || kind == NOTE_DATAGRAM; }

/* Binds, refreshes, moves or leaves alone the flow with this hash. FLOWQ_NOTE_*, with what says that a move is pending. In a
   section. spread: its hash_spread(), which counts if note_begins(), or if moves are in order. */
uint32_t note_flow(const struct note_context *c, uint64_t hash, uint32_t spread, enum note_kind kind);

/* The same for a flow that was not in its home line, where moves are not in order. */
uint32_t note_missed(const struct note_context *c, struct line *home, uint64_t hash, uint32_t spread, enum note_kind kind);

/*
 * What a note would change in this word: 0, which is what most notes are, if the flow is on this queue already, was noted in this
 * tick and stays in its class. idle: note_context's. If only bits of note_in_place() change, one compare-and-swap does it; else
 * the word is another flow's, or frozen, or its binding time is to be looked at.
 */
static inline uint64_t note_change(uint64_t idle, uint64_t tag_mask, uint64_t hash, uint32_t flags, uint64_t word)
{
    return word ^ ((hash & tag_mask) | idle | note_class[flags][word_class(word)]);
}

/* Where moves are in order the queue is not for tx.c to change. */
static inline uint64_t note_in_place(const struct table *t, bool ordered)
{
    uint64_t no = t->tag_mask | WORD_SECONDARY | WORD_SPARE;
    if (ordered)
        no |= (uint64_t)t->queue_mask << WORD_QUEUE_SHIFT;
    return t->plane_at ? 0 : ~no;
}

/* Is the flow in its second line, and would a note change nothing there? Of one that is not in its home line. */
bool note_unchanged_second(const struct note_context *c, const struct line *home, uint64_t hash, uint32_t flags);

/* ---- Binding times: note.c, note_timed.c ----------------------------------------------------------------------------------- */

static inline uint16_t note_bind_stamp(const struct note_context *c)
{
    uint16_t stamp = (uint16_t)(c->now_ns >> NOTE_BIND_SHIFT);
    return stamp ? stamp : 1;
}

/* What a note does to a flow that is known, where there are such times. */
uint32_t note_update_timed(const struct note_context *c, const struct place *p, uint64_t hash, enum note_kind kind);
/* Waits, a bounded time, for whoever is moving the flow. */
bool note_let_move(const struct note_context *c, const struct place *p);

/* ---- For note_foresee.c ---------------------------------------------------------------------------------------------------- */

/* Who gives way first (S9): a smaller number does. An empty slot is 0; UINT32_MAX never does. Within a class the oldest. */
enum { NOTE_RANK_EMPTY = 0, NOTE_RANK_STALE = 1, NOTE_RANK_NEVER = 0xffff };
uint32_t note_victim_rank(const struct note_context *c, uint64_t word);

/* Has a flow that has this word and this binding time been bound within so many ticks, or later than now? */
bool note_stamp_within(const struct note_context *c, uint64_t word, uint16_t stamp, uint32_t ticks);

/* A new connection on old ports (S2). On an embryonic binding a SYN is a retransmission. */
static inline bool note_opens_anew(uint32_t cls, enum note_kind kind)
{
    return cls != FLOWQ_CLASS_EMBRYONIC && kind == NOTE_OPENS;
}

/* What note_flow() would return now if nobody else were at work and memory were to be had. Changes nothing. In a section. */
uint32_t note_foresee(const struct note_context *c, uint64_t hash, uint32_t spread, enum note_kind kind);

#endif
