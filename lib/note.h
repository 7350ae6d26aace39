/*
 * note: what a transmitted packet does to the table (rules S1, S2, S7 to S9, S12).
 *
 * TIME. Slots hold the time of the last note in ticks, 11 bits; a tick is a power of two of nanoseconds, at most about a second
 * (2^30 ns) and an eighth of active_ms, and fixed for the life of the vm. Ages rank bindings, nothing else: one that wraps (after
 * 2048 ticks) can at most be taken for a younger one, so nothing ever has to be swept.
 *
 * BINDING TIMES, where rebind_min is set, lie in the shard's plane: 16 bits of ticks of 2^16 ns (65 us, an eighth of the smallest
 * setting at most), 0: long ago. They wrap after 4.3 s. That is no ambiguity: a flow last noted longer ago than rebind_min
 * (1 s at most) was bound longer ago, too, which its last note tells; and a note that refreshes, at most once a tick, writes 0
 * over a time that is older than rebind_min. What remains is a flow that falls silent within rebind_min after it was bound, and
 * is noted again when its last note's time has just wrapped (2048 ticks later, or within 16 before): it looks as if it had not
 * been silent, and may have to wait for rebind_min once more.
 *
 *   N-A  The binding time is stored before the word of a new flow is, and after the word of one that moved: a note that comes
 *        between may see the older time and move the flow once more, as it might have done before.
 */
#ifndef FLOWQ_LIB_NOTE_H
#define FLOWQ_LIB_NOTE_H

#include "hash.h"
#include "queue.h"
#include "stats.h"
#include "table.h"

#define NOTE_TICK_SHIFT_MAX 30
#define NOTE_EMBRYONIC_STALE_NS UINT64_C(5000000000)
#define NOTE_CLOSING_STALE_NS UINT64_C(10000000000)
#define NOTE_BIND_SHIFT 16
#define NOTE_TRIES 64 /* times a note starts again before it is given up as busy (S12) */

/* What the packet says about its flow. */
enum note_kind {
    NOTE_DATAGRAM, /* not TCP */
    NOTE_OPENS,    /* SYN, SYN-ACK */
    NOTE_CARRIES,  /* TCP, none of these */
    NOTE_CLOSES,   /* FIN */
    NOTE_RESETS    /* RST: closes, too, but makes no flow known */
};

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
    const struct hash_secret *secret;
    struct tally tally;
    struct note_ages ages;
    uint64_t now_ns;
    uint64_t idle; /* a word on this queue, noted now, but for tag and class */
    uint32_t qid;
    uint32_t rebind_tcp, rebind_other; /* ticks of 2^NOTE_BIND_SHIFT ns; 0: at once */
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
 * The class of a flow after a note, by its class before. That of a frozen one is not known here: what stands for it only makes
 * sure that the word seems to change.
 */
static const uint8_t note_class[][4] = {
    [NOTE_DATAGRAM] = {1, FLOWQ_CLASS_ESTABLISHED, FLOWQ_CLASS_ESTABLISHED, FLOWQ_CLASS_CLOSING},
    [NOTE_OPENS] = {1, FLOWQ_CLASS_EMBRYONIC, FLOWQ_CLASS_ESTABLISHED, FLOWQ_CLASS_EMBRYONIC}, /* a closing flow opens anew */
    [NOTE_CARRIES] = {1, FLOWQ_CLASS_ESTABLISHED, FLOWQ_CLASS_ESTABLISHED, FLOWQ_CLASS_CLOSING},
    [NOTE_CLOSES] = {1, FLOWQ_CLASS_CLOSING, FLOWQ_CLASS_CLOSING, FLOWQ_CLASS_CLOSING},
    [NOTE_RESETS] = {1, FLOWQ_CLASS_CLOSING, FLOWQ_CLASS_CLOSING, FLOWQ_CLASS_CLOSING},
};

/* Binds, refreshes, moves or leaves alone the flow with this hash. FLOWQ_NOTE_*. In a section. */
uint32_t note_flow(const struct note_context *c, uint64_t hash, enum note_kind kind);

/* The same for a flow that was not in its home line. */
uint32_t note_missed(const struct note_context *c, const struct line *home, uint64_t hash, enum note_kind kind);

/*
 * The same, inline, for a flow at home in this line, in the slot `at` if it was there a moment ago. What most notes are takes a
 * look at the slot and writes nothing: the flow is on this queue already, was noted in this tick and stays in its class. The next
 * most frequent takes one compare-and-swap.
 */
static inline __attribute__((always_inline)) uint32_t note_at_home(const struct note_context *c, uint64_t tag_mask,
                                                                   struct line *home, unsigned at, uint64_t hash,
                                                                   enum note_kind kind)
{
    uint64_t probe = hash & tag_mask, mask = tag_mask | WORD_SECONDARY;
    atomic_u64 *slot = &home->word[at];
    uint64_t word = u64_load_relaxed(slot); /* T-C */
    uint64_t fresh = probe | c->idle | note_class[kind][word_class(word)];
    if (fresh == word)
        return FLOWQ_NOTE_REFRESHED;
    if ((word & mask) != probe)
        return note_missed(c, home, hash, kind);
    uint64_t expected = word;
    if (word_class(word) == WORD_FROZEN || c->table->plane_at || !u64_cas(slot, &expected, fresh))
        return note_flow(c, hash, kind);
    return (word ^ fresh) >> WORD_QUEUE_SHIFT ? FLOWQ_NOTE_MOVED : FLOWQ_NOTE_REFRESHED;
}

#endif
