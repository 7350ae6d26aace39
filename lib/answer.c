/* answer: see answer.h; T-B and T-C are explained in table.h. */
#include "answer.h"

#include "probe.h"

/* The flow's word, from either of its lines; 0: not bound. */
static uint64_t look_again(const struct view *v, uint64_t hash)
{
    uint64_t mask = v->tag_mask | WORD_SECONDARY, probe = hash & v->tag_mask;
    const struct line *home = line_of(*v, hash);
    uint64_t word = u64_load_acquire(&home->word[line_match(home, probe, mask)]); /* T-C */
    if ((word & mask) == probe)
        return word;
    return word_away(*v, home, hash, line_match);
}

static uint16_t fall_back(const struct view *v, uint32_t spread, uint8_t *reason)
{
    uint16_t qid = queue_pick(&v->vm->queues, spread);
    *reason = qid == FLOWQ_DROP ? FLOWQ_REASON_DROP : FLOWQ_REASON_FALLBACK;
    return qid;
}

/* The one queue in use, or the lowest where there is nothing to go by (S0, S10). */
static uint16_t lowest(const struct view *v, uint8_t *reason, uint8_t why)
{
    uint16_t qid = queues_lowest(u32_load_acquire(&v->vm->queues.summary));
    *reason = qid == FLOWQ_DROP ? FLOWQ_REASON_DROP : why;
    return qid;
}

uint16_t answer_odd(const struct view *v, uint8_t kind, uint64_t hash, const struct flowq_pkt *pkt, const struct key *key,
                    uint8_t *reason)
{
    const struct flowq_vm *vm = v->vm;
    if (kind == ODD_KEYLESS)
        return lowest(v, reason, FLOWQ_REASON_KEYLESS);
    if (kind == ODD_SINGLE)
        return lowest(v, reason, FLOWQ_REASON_SINGLE);
    if (kind == ODD_LATER || kind == ODD_RULED)
        return FLOWQ_DROP; /* has its turn in answer_special() */
    uint64_t word = look_again(v, hash);
    uint32_t qid = word_queue(&vm->table, word);
    *reason = kind == ODD_QUOTE ? FLOWQ_REASON_ICMP_ERROR : FLOWQ_REASON_BOUND;
    if (word && queue_in_use(&vm->queues, qid))
        return (uint16_t)qid;
    if (word)
        tally_add(&v->tally, STAT_ELSEWHERE, 1); /* S11 */
    return fall_back(v, kind == ODD_NOT ? spread_again(hash_spread_secret(v->secret), pkt) : hash_spread(v->secret, key), reason);
}

void answer_special(const struct view *v, const struct special *s, struct batch *b, uint16_t *qids)
{
    struct flowq_vm *vm = v->vm;
    unsigned at = s->at;
    if (b->odd_kind[at] == ODD_RULED) {
        qids[at] = (uint16_t)s->later;
        b->reason[at] = qids[at] == FLOWQ_DROP ? FLOWQ_REASON_DROP : FLOWQ_REASON_RSS;
        return;
    }
    if (b->now_ns == 0)
        b->now_ns = vm_now(vm);
    if (b->odd_kind[at] == ODD_LATER) {
        qids[at] = s->later ? frag_get(&vm->frags, s->later, b->now_ns) : FLOWQ_DROP;
        b->reason[at] = FLOWQ_REASON_FRAGMENT;
        if (qids[at] == FLOWQ_DROP || !queue_in_use(&vm->queues, qids[at]))
            qids[at] = s->whole_key ? answer_odd(v, ODD_PARSED, b->seen[at].hash, NULL, &b->key[at], &b->reason[at])
                                    : fall_back(v, hash_spread(v->secret, &b->key[at]), &b->reason[at]);
    }
    for (unsigned f = 0; f < s->n_first; f++)
        frag_put(&vm->frags, s->first[f], qids[at], b->now_ns);
}

void answer_quotes(const struct view *v, struct batch *b, uint32_t quotes)
{
    tally_add(&v->tally, STAT_STEER + FLOWQ_REASON_ICMP_ERROR, (unsigned)__builtin_popcount(quotes));
    for (; quotes; quotes &= ~odd_bit(odd_first(quotes)))
        b->reason[odd_first(quotes)] = FLOWQ_REASON_ICMP_ERROR;
}

void answer_count(const struct view *v, const uint16_t *qids, size_t n)
{
    struct queue_counters *c = vm_counters(v->vm, &v->tally);
    for (size_t i = 0; i < n; i++)
        if (qids[i] != FLOWQ_DROP)
            tally_bump(&v->tally, &c[qids[i]].steered, 1);
}
