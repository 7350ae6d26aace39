/*
 * answer: from the table's line to the queue.
 *
 * not_at_home(), or not_answered() where each packet has a vm of its own, is the first look, which answers most packets. The
 * others are odd: flows in their second line, flows that are not bound or whose queue is not in use, fragments, packets without a
 * key, quotes of such flows (with several vms, all quotes). answer_each() works them off, with answer.c.
 */
#ifndef FLOWQ_LIB_ANSWER_H
#define FLOWQ_LIB_ANSWER_H

#include "sight.h"

typedef unsigned match_fn(const struct line *l, uint64_t probe, uint64_t mask);
typedef unsigned home_fn(const struct line *l, const uint64_t *hash, uint64_t tag_mask);
typedef unsigned home_of_fn(const struct line *l, const uint64_t *hash, const uint64_t *tag_mask);

/* Zero if the flow is in this line, its home. Whatever comes out, *qid is a queue number. */
static inline __attribute__((always_inline)) uint64_t not_at_home(const struct view v, const struct line *line,
                                                                  const uint64_t *hash, uint32_t *qid, home_fn *home)
{
    /* T-C, for which the tag is enough; acquire, as the service word is looked at afterwards (T-B) */
    uint64_t word = u64_load_acquire(&line->word[home(line, hash, v.tag_mask)]);
    *qid = (uint32_t)(word >> WORD_QUEUE_SHIFT) & v.queue_mask;
    return (word ^ *hash) & v.tag_mask;
}

/* The same, from the vm's first cache line; zero if the queue is in use, too. */
static inline __attribute__((always_inline)) uint64_t not_answered(const struct flowq_vm *vm, const struct line *line,
                                                                   const uint64_t *hash, uint32_t *qid, home_of_fn *home)
{
    uint64_t word = u64_load_relaxed(&line->word[home(line, hash, &vm->brief.tag_mask)]); /* T-C */
    uint64_t in_use = u64_load_relaxed(&vm->queues.few);
    *qid = (uint32_t)(word >> WORD_QUEUE_SHIFT) & vm->queue_mask;
    if (__builtin_expect(*qid >= QUEUES_FEW, 0))
        in_use = u64_load_relaxed(&vm->queues.in_use[*qid / QUEUES_FEW]);
    return ((word ^ *hash) & vm->brief.tag_mask) | (~in_use >> *qid % QUEUES_FEW & 1);
}

/* UINT64_MAX, or 0 if x is 0. gcc takes three instructions more. */
static inline uint64_t all_if(uint64_t x)
{
#ifdef __x86_64__
    __asm__("neg %0\n\tsbb %0, %0" : "+r"(x) : : "cc");
    return x;
#else
    return x ? UINT64_MAX : 0;
#endif
}

/* A flow that is not at home may be in its second line: that is fetched while others are looked at. all_if_odd: UINT64_MAX, or 0;
   so this is one branch, which is hardly ever taken, not two that are hard to predict. */
static inline __attribute__((always_inline)) void fetch_second(uint32_t line_mask, const struct line *home, uint64_t hash,
                                                               uint64_t all_if_odd)
{
    if (__builtin_expect((line_overflow(home) & all_if_odd) != 0, 0))
        __builtin_prefetch(second_line(line_mask, home, hash));
}

/* The queue of an odd packet; FLOWQ_DROP for those whose turn comes in answer_special(): later fragments, and what RSS rules.
   key: in the batch; not read of a plain packet. */
uint16_t answer_odd(const struct view *v, uint8_t kind, uint64_t hash, const struct flowq_pkt *pkt, const struct key *key,
                    uint8_t *reason);

/* Those of b->special, in the order of the batch: what one writes to the cache of fragments the next may read (S5). */
void answer_special(const struct view *v, const struct special *s, struct batch *b, uint16_t *qids);

/* Quotes that the first look has answered. */
void answer_quotes(const struct view *v, struct batch *b, uint32_t quotes);

/* Counts answers by queue, where that is asked for. */
void answer_count(const struct view *v, const uint16_t *qids, size_t n);

/* The word of a flow in its second line; 0: it is not there. Its home has been looked at before (T-B). */
static inline __attribute__((always_inline)) uint64_t word_away(const struct view v, const struct line *home, uint64_t hash,
                                                                match_fn *match)
{
    const uint64_t mask = v.tag_mask | WORD_SECONDARY, away = (hash & v.tag_mask) | WORD_SECONDARY;
    if (!line_may_be_away(home, hash))
        return 0;
    const struct line *second = second_line(v.line_mask, home, hash);
    uint64_t word = u64_load_acquire(&second->word[match(second, away, mask)]); /* T-C */
    return (word & mask) == away ? word : 0;
}

/*
 * Plain packets of one vm that the first look has not found at home, nearly all of which are unbound: what a fallback takes is in
 * registers, all else is loaded when it is wanted. Returns those that it does not answer, as their queue is not in use.
 */
static inline __attribute__((always_inline)) uint32_t answer_missed(const struct view *v, struct batch *b, uint32_t missed,
                                                                    uint16_t *qids, match_fn *match)
{
    const struct hash_spread_secret secret = hash_spread_secret(v->secret);
    const atomic_u16 *slots = v->vm->queues.control->slot;
    const atomic_u64 *in_use = v->in_use;
    const struct flowq_pkt *pkts = b->pkts;
    const unsigned shift = v->vm->queues.slot_shift;
    unsigned n_fallback = (unsigned)__builtin_popcount(missed), n_bound = 0;
    uint32_t left = 0;
    for (; missed; missed &= missed - 1) {
        const size_t at = odd_last(missed);
        const struct sighting *s = &b->seen[at];
        uint8_t reason = FLOWQ_REASON_FALLBACK;
        uint64_t word = 0;
        uint16_t qid;
        if (__builtin_expect(line_may_be_away(s->line, s->hash), 0) && (word = word_away(*v, s->line, s->hash, match)) != 0)
            qid = (uint16_t)(word >> WORD_QUEUE_SHIFT & v->queue_mask);
        else
            qid = u16_load_acquire(&slots[spread_again(secret, &pkts[at]) >> shift]); /* Q-A */
        if (__builtin_expect(!queue_in(in_use, qid), 0)) {
            left |= missed & -missed;
            n_fallback--;
            continue;
        }
        if (__builtin_expect(word != 0, 0)) {
            reason = FLOWQ_REASON_BOUND;
            n_bound++;
        }
        qids[at] = qid;
        b->reason[at] = reason;
    }
    tally_add(&v->tally, STAT_STEER + FLOWQ_REASON_FALLBACK, n_fallback - n_bound);
    if (n_bound)
        tally_add(&v->tally, STAT_STEER + FLOWQ_REASON_BOUND, n_bound);
    return left;
}

/* Where the first look has not kept whether it was the flow that it missed, or its queue that is not in use. */
static inline __attribute__((always_inline)) bool still_at_home(const struct view v, const struct sighting *s, match_fn *match)
{
    return match(s->line, s->hash & v.tag_mask, v.tag_mask | WORD_SECONDARY) != LINE_SLOTS;
}

/* The queue of a flow that is in its second line, or unbound, and which of these; FLOWQ_DROP: there is more to it. The flow is
   that of packet `at`, which is pkt. */
static inline __attribute__((always_inline)) uint16_t answer_away(const struct view v, const struct batch *b, size_t at,
                                                                  const struct flowq_pkt *pkt, bool *bound, match_fn *match)
{
    const struct sighting *s = &b->seen[at];
    uint64_t word = word_away(v, s->line, s->hash, match);
    uint32_t qid = (uint32_t)(word >> WORD_QUEUE_SHIFT) & v.queue_mask;
    *bound = word != 0;
    if (__builtin_expect(*bound, 0))
        return queue_in(v.in_use, qid) ? (uint16_t)qid : FLOWQ_DROP;
    uint32_t spread =
        b->odd_kind[at] == ODD_NOT ? spread_again(hash_spread_secret(v.secret), pkt) : hash_spread(v.secret, &b->key[at]);
    return queue_pick_of(&v.vm->queues, v.in_use, spread);
}

/* The odd packets, one by one: those that answer_away() answers, of which there may be many, from what the first look had; the
   rest in answer.c. Then those that concern fragments, odd or not. Fills b->reason for all these. */
static inline __attribute__((always_inline)) void answer_each(const struct receivers *to, struct batch *b, uint32_t odd,
                                                              uint16_t *qids, match_fn *match)
{
    const struct view one = to->one ? *to->one : (struct view){.vm = NULL}; /* loaded once, not after each store */
    uint32_t rest = 0;
    unsigned n_odd = (unsigned)__builtin_popcount(odd), n_bound = 0;
    for (; odd; odd &= ~odd_bit(odd_first(odd))) {
        const size_t at = odd_first(odd);
        const struct view v = to->one ? one : view_of_line(to->vms[at], to->by);
        bool bound = false;
        const struct flowq_pkt *pkt = &b->pkts[at];
        const bool idle = to->one ? b->idle & odd_bit((unsigned)at) : still_at_home(v, &b->seen[at], match);
        uint16_t qid = b->odd_kind[at] > ODD_PARSED || idle ? FLOWQ_DROP : answer_away(v, b, at, pkt, &bound, match);
        if (qid != FLOWQ_DROP) {
            qids[at] = qid;
            b->reason[at] = bound ? FLOWQ_REASON_BOUND : FLOWQ_REASON_FALLBACK;
            n_bound += bound;
            if (!to->one)
                tally_add(&v.tally, STAT_STEER + b->reason[at], 1);
        } else {
            struct view room;
            qids[at] =
                answer_odd(view_in(to, (unsigned)at, &room), b->odd_kind[at], b->seen[at].hash, pkt, &b->key[at], &b->reason[at]);
            rest |= odd_bit((unsigned)at);
        }
    }
    const unsigned n_rest = (unsigned)__builtin_popcount(rest);
    for (unsigned i = 0; i < b->n_special; i++) {
        struct view room;
        if (!to->one)
            b->now_ns = 0; /* each vm has a clock of its own */
        answer_special(view_in(to, b->special[i].at, &room), &b->special[i], b, qids);
    }
    for (; rest; rest &= ~odd_bit(odd_first(rest))) {
        const struct view v = view_of_line_at(to, odd_first(rest));
        tally_add(&v.tally, STAT_STEER + b->reason[odd_first(rest)], 1);
    }
    if (to->one && n_bound)
        tally_add(&one.tally, STAT_STEER + FLOWQ_REASON_BOUND, n_bound);
    if (to->one && n_odd - n_rest > n_bound)
        tally_add(&one.tally, STAT_STEER + FLOWQ_REASON_FALLBACK, n_odd - n_rest - n_bound);
}

#endif
