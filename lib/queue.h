/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * queue: which receive queues are in use, and which of them an unbound flow takes (rules S1, S10, S11).
 *
 * LAYOUT AND WRITERS
 *
 *     summary   how many queues are in use, and the lowest of them, in one word. Whether there are none, or only one, is asked
 *               of this word alone.
 *     in_use    a bit per queue. Whether one queue is in use is asked of its bit alone. Where there are more than QUEUES_LOW
 *               queues, `in_use_low` is a copy of the bits of the first ones, and is as good.
 *     slot      queue numbers, a power of two of them: the fallback hash of a flow points to one. Each queue in use is in as
 *               many slots as any other, give or take one. While fewer than two are in use the slots stay as they were.
 *
 * Setters change these under `lock`, readers take no lock and write nothing. A reader's answer is a queue whose bit it found set,
 * or the lowest of a summary it read: either was in use at that instant. A setter has stored all three before it returns, so a
 * call begun afterwards obeys it. While a setter is at work slot and in_use may disagree; a reader that notices looks again a few
 * times and then takes the lowest queue. A setter of many queues, FLOWQ_ALL_QUEUES too, first changes all that they follow from
 * and then stores them once: no summary tells of some of its queues only.
 *
 * STEADINESS (S10)
 *
 * A change of the set of queues in use, however large, moves a slot only from a queue that went, or to one that came.
 *
 * Let there be S slots, n queues before and m after it. Before, each of the n held f = floor(S / n) slots or one more. Now each
 * of the m gets g = floor(S / m) or one more, as S mod m of them must; those that hold more than g keep the one more first. A
 * queue gives slots if it holds more than it gets, or went; it takes some if it holds fewer. If a queue that stays were to give,
 * it held more than g, so f >= g; if one that stays were to take, it held no more than g, so f <= g. Both at once: f = g, the
 * giver held g + 1 and gets g, the taker held g and gets g + 1, against the order in which the one more is handed out. So either
 * none that stay give, or none that stay take. Then
 *
 *   - if queues only went, what they gave must have gone to those that stay; these take, so none of them gives: the slots of
 *     those that went are all that move;
 *   - if queues only came, S mod m is S - m * g, and g <= f. If g < f all that stay hold more than g, and none takes. If g = f,
 *     those that hold one more are S - n * g > S - m * g: there are too few for a taker. What moves goes to those that came;
 *   - if some went and some came, no slot goes from one that stays to one that stays.
 *
 * While one queue is in use it has all flows, whatever the slots say, and while none is in use there is no fallback. What the
 * slots then still say only decides which flows those that come next take from it.
 *
 * Slots may come from a process before this one (state.h). A vhost-user front end switches the guest's rings on again one by one,
 * each of which moves some slots; so what came is kept, and stands there again, at once, when just its queues are in use: the one
 * change that moves a slot between queues that stay. It happens once, unless a queue that is not among them comes before; and
 * again after none was in use, when there was no fallback that could be steady.
 *
 * ORDERING
 *   Q-A  setters store in_use, then slot, then summary, each by release. A reader loads the slot (acquire), then the queue's
 *        bit: one that sees a slot as a setter left it sees the queues that this setter brought, too, and any number that ever
 *        was in a slot is valid. A reader that finds the queue not in use looks again, and at last loads the summary (acquire):
 *        as that was stored last, its lowest queue was in use, and it says that none is only if a setter left none.
 *   Q-B  Whether a queue is in use and whether it is being reset stand together in one word, `states`, which a setter changes by
 *        one store. Whoever finds a queue not in use, and must know why, loads that word once (queue_state()), and what it says
 *        held at that instant of the call; in_use is not asked again. No order of two bitmaps would do: between a load of the one
 *        and of the other a reset may begin or end, or the one end and the next begin.
 */
#ifndef FLOWQ_LIB_QUEUE_H
#define FLOWQ_LIB_QUEUE_H

#include <pthread.h>

#include "atomic.h"
#include "flowq.h"

/* Bits per queue are queues_words(numbers) words; all but slot and states is of use under lock only. */
struct queue_control {
    atomic_u64 *states; /* 2 * queues_words(numbers): queue_state() */
    uint64_t *enabled;
    uint64_t *resetting;
    uint64_t *named;     /* in use beside the pairs, as RSS names them */
    uint64_t *sharing;   /* among which slots are shared out; in use when last there were two or more */
    uint64_t *more;      /* those of them that hold slots_each + 1; the others hold slots_each */
    uint64_t *gets_more; /* as `more` is about to be */
    uint16_t *gives;     /* per queue: slots it has to give up; NULL: there are so few that a setter has them on its stack */
    const struct queue_slots *saved; /* slots of before; NULL: there are none */
    bool awaits_saved;               /* they are to be as these again when just their queues are in use */
    uint32_t slots_each;
    uint32_t pairs;
    pthread_mutex_t lock;
    atomic_u16 slot[]; /* 1 << (32 - slot_shift) */
};

#define QUEUES_LOW 64

struct queues {
    /* 16 bytes that every packet's way leads past: */
    atomic_u64 in_use_low; /* the first word of in_use, of QUEUES_LOW queues */
    atomic_u32 summary;    /* number in use << 16 | lowest in use; 0 << 16 | FLOWQ_DROP: none */
    uint16_t max;          /* queue numbers are below this */
    atomic_u8 modes;       /* QUEUES_*: what is not as with most vms; it saves looking */
    uint8_t slot_shift;    /* by which a fallback hash is shifted to point to a slot; fixed */

    atomic_u64 *in_use; /* &in_use_low, or queues_words(numbers) */
    struct queue_control *control;
    uint32_t numbers; /* `max`, and more that are never in use: words of the table may hold numbers below this (ordered.h) */
};

/* Bits of `modes`. */
enum {
    QUEUES_MANY = 1,     /* in_use is not few */
    QUEUES_COUNTED = 2,  /* the vm counts by queue (setting queue_stats) */
    QUEUES_RSS = 4,      /* an indirection table chooses, not flows (virtio.h) */
    QUEUES_SINGLE = 8,   /* by the summary, one or none is in use */
    QUEUES_ORDERED = 16, /* flows move in order (ordered.h) */
    QUEUES_TAILS = 32,   /* and a thread has tails to take */
    QUEUES_DEAF = 64     /* what the VM sends is not learned (setting no_learn) */
};

/* Words of a bitmap: up to the next power of two, so that every number that fits the queue bits of a table word has a bit. */
static inline uint32_t queues_words(uint32_t max)
{
    uint32_t bits = 64;
    while (bits < max)
        bits *= 2;
    return bits / 64;
}

/* Bytes of memory that queues_init() wants for all but in_use, a multiple of 64. */
size_t queues_bytes(uint32_t max, uint32_t numbers);
/* many: queues_words(numbers) words, if numbers > QUEUES_LOW; mem: queues_bytes(max, numbers) bytes, aligned to 64; both zeroed.
   Returns 0 or -ENOMEM (no mutex). */
int queues_init(struct queues *q, uint32_t max, uint32_t numbers, atomic_u64 *many, void *mem);
void queues_fini(struct queues *q);

/* ---- State that is saved (state.h) ----------------------------------------------------------------------------------------- */

/* Slots of another time or process, in one block of queues_slots_bytes(). */
struct queue_slots {
    uint32_t n;      /* queues, at least 2 */
    uint64_t *set;   /* which */
    uint64_t *more;  /* those that have one slot more */
    uint16_t *count; /* per queue; scratch */
    uint16_t *slot;
};
size_t queues_slots_bytes(const struct queues *q);
/* Makes slots of the n wished ones in the stream, big-endian, a power of two, so that each queue below max gets its share,
   whatever they say. False: they name fewer than two such queues. mem: of that size, aligned to 8. */
bool queues_settle(const struct queues *q, struct queue_slots *to, void *mem, const uint8_t *wished, uint32_t n);
/* How many slots there are; one of them, as it is now. */
uint32_t queues_n_slots(const struct queues *q);
uint16_t queues_slot(const struct queues *q, uint32_t i);
/* Word w of the bits of queues that are enabled, and being reset. */
void queues_rings(struct queues *q, uint32_t w, uint64_t *enabled, uint64_t *resetting);

/* What is NULL or 0 stays as it is. Nobody else uses the queues now. */
struct queues_load {
    uint32_t pairs;
    const uint16_t *named; /* n_named queues beside the pairs */
    uint32_t n_named;
    bool forget_named;
    const uint64_t *enabled, *resetting; /* queues_words(max) each */
    const struct queue_slots *slots;     /* stays in use */
};
void queues_load(struct queues *q, const struct queues_load *load);

/* ---- Setters --------------------------------------------------------------------------------------------------------------- */

/* The setters of the public interface; arguments are valid already, qid may be FLOWQ_ALL_QUEUES. Setting the pairs forgets the
   queues that are named. */
void queues_set_pairs(struct queues *q, uint32_t n);
void queues_set_named(struct queues *q, uint32_t pairs, const uint16_t *named, uint32_t n); /* queues beside the pairs */
void queues_forget_named(struct queues *q);                                                 /* the pairs stay */
void queues_set_enabled(struct queues *q, uint32_t qid, bool on);
void queues_set_resetting(struct queues *q, uint32_t qid, bool on);
void queues_reset(struct queues *q);
uint32_t queues_pairs(struct queues *q);

static inline uint32_t queues_n(uint32_t summary) { return summary >> 16; }
static inline uint16_t queues_lowest(uint32_t summary) { return (uint16_t)summary; }

/* in_use: struct queues'. qid: below 64 * queues_words(numbers). */
static inline bool queue_in(const atomic_u64 *in_use, uint32_t qid)
{
    return u64_load_relaxed(&in_use[qid / 64]) >> qid % 64 & 1;
}

/* The bits for queue_in(). */
static inline const atomic_u64 *queues_bits(const struct queues *q)
{
    return u8_load_relaxed(&q->modes) & QUEUES_MANY ? q->in_use : &q->in_use_low;
}

static inline bool queue_in_use(const struct queues *q, uint32_t qid) { return queue_in(queues_bits(q), qid); }

/* A queue's bits in its word of `states`, of QUEUES_A_STATE queues: in use in the lower half, being reset in the upper one. */
#define QUEUES_A_STATE 32
enum queue_state { QUEUE_OFF = 0, QUEUE_IN_USE = 1, QUEUE_RESETTING = 2 };

/* qid: as above. One instant's truth (Q-B); RESETTING whatever else holds. */
static inline enum queue_state queue_state(const struct queues *q, uint32_t qid)
{
    uint64_t both = u64_load_acquire(&q->control->states[qid / QUEUES_A_STATE]) >> qid % QUEUES_A_STATE;
    return both >> QUEUES_A_STATE & 1 ? QUEUE_RESETTING : both & 1 ? QUEUE_IN_USE : QUEUE_OFF;
}

/* The guest's table decides, not its flows (S0): then rss.c has the way of the packet. */
static inline bool queues_rss_active(const struct queues *q)
{
    return __builtin_expect((u8_load_relaxed(&q->modes) & QUEUES_RSS) != 0, 0);
}

/* The vm counts by queue. */
static inline bool queues_counted(const struct queues *q)
{
    return __builtin_expect((u8_load_relaxed(&q->modes) & QUEUES_COUNTED) != 0, 0);
}

/* An indirection table decides, or flows move in order. */
static inline bool queues_rss_or_ordered(const struct queues *q)
{
    return __builtin_expect((u8_load_relaxed(&q->modes) & (QUEUES_RSS | QUEUES_ORDERED)) != 0, 0);
}

/* Its flows decide, among several queues. */
static inline bool queues_by_flow(const struct queues *q)
{
    return __builtin_expect(!(u8_load_acquire(&q->modes) & (QUEUES_RSS | QUEUES_SINGLE)), 1);
}

/* And nothing else is to be done first. */
static inline bool queues_by_flow_alone(const struct queues *q)
{
    return __builtin_expect(!(u8_load_acquire(&q->modes) & (QUEUES_RSS | QUEUES_SINGLE | QUEUES_TAILS)), 1);
}

/* Is this queue one of the first QUEUES_LOW, and one of several in use, and learned from? What most notes need to know. */
static inline bool queue_is_learned(const struct queues *q, uint32_t qid)
{
    return __builtin_expect(!(u8_load_acquire(&q->modes) & (QUEUES_SINGLE | QUEUES_DEAF)) && qid < QUEUES_LOW, 1) &&
           u64_load_relaxed(&q->in_use_low) >> qid & 1;
}

/* Sets or clears a bit of `modes`, after what it tells of. */
static inline void queues_set_mode(struct queues *q, uint8_t way, bool on)
{
    if (on)
        (void)u8_or_acq_rel(&q->modes, way);
    else
        (void)u8_and_acq_rel(&q->modes, (uint8_t)~way);
}

/* The next one in use behind qid, the lowest after the highest; FLOWQ_DROP if there are none. */
uint16_t queue_next_in_use(const struct queues *q, uint32_t qid);

/* The fallback: the queue in the slot that spread, a hash_spread(), points to. FLOWQ_DROP if none is in use. in_use:
   queues_bits(q). */
static inline uint16_t queue_pick_of(const struct queues *q, const atomic_u64 *in_use, uint32_t spread)
{
    const atomic_u16 *slot = &q->control->slot[spread >> q->slot_shift];
    for (unsigned tries = 0; tries < 4; tries++) {
        uint16_t qid = u16_load_acquire(slot); /* Q-A */
        if (queue_in(in_use, qid))
            return qid;
    }
    return queues_lowest(u32_load_acquire(&q->summary));
}

static inline uint16_t queue_pick(const struct queues *q, uint32_t spread) { return queue_pick_of(q, queues_bits(q), spread); }

#endif
