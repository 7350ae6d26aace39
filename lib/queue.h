/*
 * queue: which receive queues are in use, and which of them an unbound flow takes (rules Q1, S10).
 *
 * LAYOUT AND WRITERS
 *
 *     summary   one word: how many queues are in use, and the lowest of them. The last word on "none" and "only one".
 *     in_use    a bit per queue: the last word on a single queue. Where there are more than QUEUES_FEW, `few` repeats its first
 *               word, and is the last word, too.
 *     list      the queues in use in ascending order: what the fallback hash is scaled over.
 *
 * Setters change these under `lock`, readers take no lock and write nothing. A reader's answer is a queue whose bit it found set,
 * or the lowest of a summary it read: either was in use at that instant. A setter has stored all three before it returns, so a
 * call begun afterwards obeys it. While a setter is at work list and in_use may disagree; a reader that notices looks again a few
 * times and then takes the lowest queue. A setter of many queues, FLOWQ_ALL_QUEUES too, first changes all that they follow from
 * and then stores them once: no summary tells of some of its queues only.
 *
 * ORDERING
 *   Q-A  setters store in_use, then list, then summary (release); readers load summary first (acquire): the list a reader scales
 *        over is at least as new as its length, and entries beyond a newer, shorter list still hold valid queue numbers. That
 *        there are several, in `ways`, comes after the summary, too; a reader that saw it before there is but one finds that none
 *        of the others is in use.
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

/* What only setters touch, and list and states. */
struct queue_control {
    atomic_u16 *list;    /* max */
    atomic_u64 *states;  /* 2 * queues_words(max): queue_state() */
    uint64_t *enabled;   /* queues_words(max); this and the rest under lock */
    uint64_t *resetting; /* queues_words(max) */
    uint64_t *named;     /* queues_words(max): in use beside the pairs, as RSS names them */
    uint32_t pairs;
    pthread_mutex_t lock;
};

#define QUEUES_FEW 64

struct queues {
    /* 16 bytes that every packet's way leads past: */
    atomic_u64 few;     /* the first word of in_use, of QUEUES_FEW queues */
    atomic_u32 summary; /* number in use << 16 | lowest in use; 0 << 16 | FLOWQ_DROP: none */
    uint16_t max;       /* queue numbers are below this */
    atomic_u8 ways;     /* QUEUES_*: what is not as with most vms; it saves looking */

    atomic_u64 *in_use; /* &few, or queues_words(max) */
    struct queue_control *control;
};

/* Bits of `ways`. */
enum {
    QUEUES_MANY = 1,    /* in_use is not few */
    QUEUES_COUNTED = 2, /* the vm counts by queue (setting queue_stats) */
    QUEUES_RULED = 4,   /* an indirection table chooses, not flows (virtio.h) */
    QUEUES_SINGLE = 8   /* by the summary, one or none is in use */
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
size_t queues_bytes(uint32_t max);
/* many: queues_words(max) words, if max > QUEUES_FEW; mem: queues_bytes(max) bytes, aligned to 64; both zeroed. Returns 0 or
   -ENOMEM (no mutex). */
int queues_init(struct queues *q, uint32_t max, atomic_u64 *many, void *mem);
void queues_fini(struct queues *q);

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

/* in_use: struct queues'. qid: below 64 * queues_words(max). */
static inline bool queue_in(const atomic_u64 *in_use, uint32_t qid)
{
    return u64_load_relaxed(&in_use[qid / 64]) >> qid % 64 & 1;
}

/* The bits for queue_in(). */
static inline const atomic_u64 *queues_bits(const struct queues *q)
{
    return u8_load_relaxed(&q->ways) & QUEUES_MANY ? q->in_use : &q->few;
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
static inline bool queues_ruled(const struct queues *q)
{
    return __builtin_expect((u8_load_relaxed(&q->ways) & QUEUES_RULED) != 0, 0);
}

/* The vm counts by queue. */
static inline bool queues_counted(const struct queues *q)
{
    return __builtin_expect((u8_load_relaxed(&q->ways) & QUEUES_COUNTED) != 0, 0);
}

/* Its flows decide, among several queues. */
static inline bool queues_by_flow(const struct queues *q)
{
    return __builtin_expect(!(u8_load_acquire(&q->ways) & (QUEUES_RULED | QUEUES_SINGLE)), 1);
}

/* Sets or clears a bit of `ways`, after what it tells of. */
static inline void queues_set_way(struct queues *q, uint8_t way, bool on)
{
    if (on)
        (void)u8_or_acq_rel(&q->ways, way);
    else
        (void)u8_and_acq_rel(&q->ways, (uint8_t)~way);
}

/* The next one in use behind qid, the lowest after the highest; FLOWQ_DROP if there are none. */
uint16_t queue_next_in_use(const struct queues *q, uint32_t qid);

/* The fallback: hash scaled over the queues in use by multiply-shift. FLOWQ_DROP if there are none. */
static inline uint16_t queue_pick(const struct queues *q, uint64_t hash)
{
    uint32_t summary = 0;
    for (unsigned tries = 0; tries < 4; tries++) {
        summary = u32_load_acquire(&q->summary); /* Q-A */
        uint16_t qid = u16_load_relaxed(&q->control->list[(hash >> 32) * queues_n(summary) >> 32]);
        if (queues_n(summary) == 0)
            break;
        if (queue_in_use(q, qid))
            return qid;
    }
    return queues_lowest(summary);
}

#endif
