/*
 * answer: see answer.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "answer.h"

static uint16_t answer_fallback(const struct vm_view *v, uint32_t spread, uint8_t *reason)
{
    uint16_t qid = queue_pick(&v->vm->queues, spread);
    *reason = qid == FLOWQ_DROP ? FLOWQ_REASON_DROP : FLOWQ_REASON_FALLBACK;
    return qid;
}

/* The one queue in use, or the lowest where there is nothing to go by (S0, S10). */
static uint16_t answer_lowest(const struct vm_view *v, uint8_t *reason, uint8_t why)
{
    uint16_t qid = queues_lowest(u32_load_acquire(&v->vm->queues.summary));
    *reason = qid == FLOWQ_DROP ? FLOWQ_REASON_DROP : why;
    return qid;
}

/* The queue of a flow whose word names none that is in use: it may be on the move. FLOWQ_DROP: its fallback stands in (S11), or
   it is not bound any more. */
static __attribute__((noinline)) uint16_t answer_queue_off(const struct vm_view *v, uint64_t hash, uint64_t word)
{
    const struct flowq_vm *vm = v->vm;
    if (ordered_names_move(vm->ordered, word_queue(&vm->table, word))) {
        uint16_t qid = ordered_steer(v, hash, word);
        if (qid == FLOWQ_DROP || queue_in_use(&vm->queues, qid))
            return qid;
    }
    tally_add(&v->tally, STAT_ELSEWHERE, 1);
    return FLOWQ_DROP;
}

uint16_t answer_one(const struct vm_view *v, uint8_t kind, uint64_t hash, const struct flowq_pkt *pkt, const struct key *key,
                    uint8_t *reason)
{
    const struct flowq_vm *vm = v->vm;
    if (kind == BATCH_KEYLESS)
        return answer_lowest(v, reason, FLOWQ_REASON_KEYLESS);
    if (kind == BATCH_SINGLE)
        return answer_lowest(v, reason, FLOWQ_REASON_SINGLE);
    if (kind == BATCH_LATER)
        return FLOWQ_DROP; /* has its turn in answer_fragment() */
    uint64_t word = find_word(v->line_mask, v->tag_mask, vm_view_line(*v, hash), hash);
    *reason = kind == BATCH_QUOTE ? FLOWQ_REASON_ICMP_ERROR : FLOWQ_REASON_BOUND;
    if (word) {
        uint32_t qid = word_queue(&vm->table, word);
        if (!queue_in_use(&vm->queues, qid))
            qid = answer_queue_off(v, hash, word);
        if (qid != FLOWQ_DROP)
            return (uint16_t)qid;
    }
    return answer_fallback(
        v, kind == BATCH_PLAIN ? plain_spread_again(hash_spread_secret(v->secret), pkt) : hash_spread(v->secret, key), reason);
}

void answer_fragment(const struct vm_view *v, const struct batch_fragment *f, struct batch *b, uint16_t *qids)
{
    struct flowq_vm *vm = v->vm;
    unsigned at = f->at;
    if (b->now_ns == 0)
        b->now_ns = vm_now(vm);
    if (b->kind[at] == BATCH_LATER) {
        qids[at] = f->later ? frag_get(&vm->frags, f->later, b->now_ns) : FLOWQ_DROP;
        b->reason[at] = FLOWQ_REASON_FRAGMENT;
        if (qids[at] == FLOWQ_DROP || !queue_in_use(&vm->queues, qids[at]))
            qids[at] = f->whole_key ? answer_one(v, BATCH_PARSED, b->lookup[at].hash, NULL, &b->key[at], &b->reason[at])
                                    : answer_fallback(v, hash_spread(v->secret, &b->key[at]), &b->reason[at]);
    }
    for (unsigned i = 0; i < f->n_first; i++)
        frag_put(&vm->frags, f->first[i], qids[at], b->now_ns);
}

void answer_quotes(const struct vm_view *v, struct batch *b, uint32_t quotes)
{
    tally_add(&v->tally, STAT_STEER + FLOWQ_REASON_ICMP_ERROR, (unsigned)__builtin_popcount(quotes));
    for (; quotes; quotes &= ~batch_bit(batch_first(quotes)))
        b->reason[batch_first(quotes)] = FLOWQ_REASON_ICMP_ERROR;
}
