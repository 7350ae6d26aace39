/*
 * loops_each: the loops of loops.h for one set of instructions. loops.c includes this for each, with
 *
 *     SET(name)     the name with the suffix of the set: of functions here, and of the filters in probe.h
 *     SET_TARGET    the attribute that lets the compiler use the set
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Each loop is a function of its own, so that it has all registers to itself; v is not NULL, which tells the compiler which kind
 * of receivers a function is for. Packets whose flow is at home, bound to a queue in use, take no branch that depends on where;
 * the others are put into a set of bits, and worked off one by one afterwards.
 */

#define LOOP      static __attribute__((noinline)) SET_TARGET
#define LOOP_BODY static inline __attribute__((always_inline)) SET_TARGET

/* ---- Parse, hash, fetch the line ------------------------------------------------------------------------------------------- */

LOOP __attribute__((nonnull(1))) unsigned SET(loops_rx_run_v4)(const struct vm_view *v, const struct flowq_pkt *pkts, unsigned at,
                                                               unsigned n, struct batch *b)
{
    return loops_run(*v, pkts, at, n, PLAIN_V4, false, &b->lookup[at], NULL);
}

LOOP __attribute__((nonnull(1))) unsigned SET(loops_rx_run_v6)(const struct vm_view *v, const struct flowq_pkt *pkts, unsigned at,
                                                               unsigned n, struct batch *b)
{
    return loops_run(*v, pkts, at, n, PLAIN_V6, false, &b->lookup[at], NULL);
}

LOOP __attribute__((nonnull(1))) unsigned SET(loops_tx_run_v4)(const struct vm_view *v, const struct flowq_pkt *pkts, unsigned at,
                                                               unsigned n, struct batch_sent *sent)
{
    return loops_run(*v, pkts, at, n, PLAIN_V4, true, NULL, &sent[at]);
}

LOOP __attribute__((nonnull(1))) unsigned SET(loops_tx_run_v6)(const struct vm_view *v, const struct flowq_pkt *pkts, unsigned at,
                                                               unsigned n, struct batch_sent *sent)
{
    return loops_run(*v, pkts, at, n, PLAIN_V6, true, NULL, &sent[at]);
}

LOOP __attribute__((nonnull(1))) void SET(loops_rx_parse)(const struct vm_view *v, const struct flowq_pkt *pkts, unsigned n,
                                                          bool first, unsigned n_next, struct batch *b)
{
    batch_begin(b, pkts);
    const bool row = batch_in_a_row(pkts, n);
    if (first && !row)
        batch_fetch_first(pkts, n);
    for (unsigned i = 0; i < n;) {
        unsigned end = row ? n : batch_fetch_next(pkts, i, n);
        while (i < end && (i = SET(loops_rx_run_v4)(v, pkts, i, end, b)) < end) {
            unsigned others = SET(loops_rx_run_v6)(v, pkts, i, end, b);
            i = others > i ? others : special_rx_run(v, pkts, i, n, b);
        }
    }
    if (n_next && !batch_in_a_row(pkts + n, n_next))
        batch_fetch_first(pkts + n, n_next);
}

LOOP __attribute__((nonnull(1))) void SET(loops_tx_parse)(const struct vm_view *v, const struct flowq_pkt *pkts, unsigned n,
                                                          struct batch_sent *sent)
{
    const bool row = batch_in_a_row(pkts, n);
    if (!row)
        batch_fetch_first(pkts, n);
    for (unsigned i = 0; i < n;) {
        unsigned end = row ? n : batch_fetch_next(pkts, i, n);
        while (i < end && (i = SET(loops_tx_run_v4)(v, pkts, i, end, sent)) < end) {
            unsigned others = SET(loops_tx_run_v6)(v, pkts, i, end, sent);
            i = others > i ? others : special_tx_run(v, pkts, i, n, sent);
        }
    }
}

/* Of the first one's version. */
LOOP __attribute__((nonnull(1))) unsigned SET(loops_rx_trains)(const struct vm_view *v, const struct flowq_pkt *pkts, unsigned n,
                                                               struct lookup *lookup, uint8_t *of)
{
    if (plain_may_be_v4(pkts))
        return loops_run_trains(*v, pkts, n, PLAIN_V4, false, lookup, NULL, of);
    return loops_run_trains(*v, pkts, n, PLAIN_V6, false, lookup, NULL, of);
}

LOOP __attribute__((nonnull(1))) unsigned SET(loops_tx_trains)(const struct vm_view *v, const struct flowq_pkt *pkts, unsigned n,
                                                               struct batch_sent *sent, uint8_t *of)
{
    if (plain_may_be_v4(pkts))
        return loops_run_trains(*v, pkts, n, PLAIN_V4, true, NULL, sent, of);
    return loops_run_trains(*v, pkts, n, PLAIN_V6, true, NULL, sent, of);
}

static SET_TARGET unsigned SET(loops_vms_run_v4)(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, unsigned at,
                                                 unsigned n, struct batch *b)
{
    return loops_run_vms(vms, pkts, at, n, PLAIN_V4, b);
}

static SET_TARGET unsigned SET(loops_vms_run_v6)(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, unsigned at,
                                                 unsigned n, struct batch *b)
{
    return loops_run_vms(vms, pkts, at, n, PLAIN_V6, b);
}

/* ---- Find: the first look, at home ----------------------------------------------------------------------------------------- */

/* Which queues are not in use is asked for all packets at once, where the queues are few. */
LOOP __attribute__((nonnull(1))) uint32_t SET(loops_rx_find)(const struct vm_view *view, struct batch *b, unsigned n,
                                                             uint16_t *qids)
{
    const struct vm_view v = *view; /* loaded once, not after each store */
    uint64_t queues = 0;
    uint32_t missed = 0, all_qids = 0;
    b->queue_off = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct lookup *l = &b->lookup[i];
        const struct line *line = l->line;
        uint64_t word = find_named(line, SET(line_home)(line, &l->hash, v.tag_mask)); /* T-C */
        uint32_t qid = (uint32_t)(word >> WORD_QUEUE_SHIFT) & v.queue_mask;
        uint64_t all_if_missed = loops_all_if(find_differs(word, l->hash, v.tag_mask));
        qids[i] = (uint16_t)qid;
        missed = 2 * missed - (uint32_t)all_if_missed;
        queues |= UINT64_C(1) << qid % 64;
        all_qids |= qid;
        find_fetch_second(v.line_mask, line, l->hash, all_if_missed);
    }
    missed <<= BATCH - n;
    if (__builtin_expect(all_qids >= QUEUES_LOW || (queues & ~u64_load_relaxed(&v.vm->queues.in_use_low)) != 0, 0))
        return loops_with_queue_off(v.vm, b, n, qids, missed);
    return missed;
}

/* Each packet's vm for itself, out of its first cache line. */
static SET_TARGET uint32_t SET(loops_vms_find)(struct flowq_vm *const *vms, const struct batch *b, unsigned n, uint16_t *qids,
                                               uint32_t stripe, uint8_t *all_modes)
{
    uint32_t missed = 0;
    uint8_t modes = 0;
    for (unsigned i = 0; i < n; i++) {
        struct flowq_vm *vm = vms[i];
        const struct lookup *l = &b->lookup[i];
        const struct line *line = l->line;
        uint32_t qid;
        modes |= u8_load_relaxed(&vm->queues.modes);
        uint64_t word = find_named(line, SET(line_home_of)(line, &l->hash, &vm->secret_v4.tag_mask)); /* T-C */
        uint64_t all_if_missed = loops_all_if(vm_unanswered(vm, word, &l->hash, &qid));
        const struct tally tally = stats_tally_in(&vm->stats, stripe);
        qids[i] = (uint16_t)qid;
        missed = 2 * missed - (uint32_t)all_if_missed;
        find_fetch_second(vm->line_mask, line, l->hash, all_if_missed);
        tally_add(&tally, STAT_STEER + FLOWQ_REASON_BOUND, 1 + all_if_missed);
    }
    *all_modes = modes;
    return missed << (BATCH - n);
}

LOOP __attribute__((nonnull(1))) uint32_t SET(loops_tx_find)(const struct vm_view *v, uint64_t idle, struct batch_sent *sent,
                                                             unsigned n)
{
    const uint64_t tag_mask = v->tag_mask;
    const uint32_t line_mask = v->line_mask;
    uint32_t changes = 0;
    for (unsigned i = 0; i < n; i++) {
        struct batch_sent *s = &sent[i];
        struct line *line = s->lookup.line;
        uint64_t change = loops_sent_found(idle, tag_mask, s, line, SET(line_home)(line, &s->lookup.hash, tag_mask));
        changes = 2 * changes - (uint32_t)loops_all_if(change);
        if (__builtin_expect(change >> 32 != 0, 0)) /* another tag, mostly: not at home */
            find_fetch_second(line_mask, line, s->lookup.hash, UINT64_MAX);
    }
    return changes << (BATCH - n);
}

/* ---- Answer: flows in their second line, and those that are not bound ------------------------------------------------------ */

/* As find_second_word(). */
LOOP_BODY uint64_t SET(loops_second_word)(const struct vm_view v, const struct line *home, uint64_t hash)
{
    const uint64_t mask = v.tag_mask | WORD_SECONDARY, probe = (hash & v.tag_mask) | WORD_SECONDARY;
    const struct line *second = find_second(v.line_mask, home, hash);
    return second ? find_checked(second, SET(line_match)(second, probe, mask), probe, mask) : 0;
}

/*
 * Plain packets of one vm, which are not at home: what a fallback takes is in registers, all else is loaded when it is wanted.
 * Returns those whose queue is not in use.
 */
LOOP __attribute__((nonnull(1))) uint32_t SET(loops_rx_answer_plain)(const struct vm_view *v, struct batch *b, uint32_t missed,
                                                                     uint16_t *qids)
{
    const struct hash_spread_secret secret = hash_spread_secret(v->secret);
    const atomic_u16 *slots = v->vm->queues.control->slot;
    const atomic_u64 *in_use = v->in_use;
    const struct flowq_pkt *pkts = b->pkts;
    const unsigned shift = v->vm->queues.slot_shift;
    unsigned n_fallback = (unsigned)__builtin_popcount(missed), n_bound = 0;
    uint32_t left = 0;
    for (; missed; missed &= missed - 1) {
        const size_t at = batch_last(missed);
        const struct lookup *l = &b->lookup[at];
        uint8_t reason = FLOWQ_REASON_FALLBACK;
        uint64_t word = 0;
        uint16_t qid;
        if (__builtin_expect(line_may_be_second(l->line, l->hash), 0) &&
            (word = SET(loops_second_word)(*v, l->line, l->hash)) != 0)
            qid = (uint16_t)(word >> WORD_QUEUE_SHIFT & v->queue_mask);
        else
            qid = u16_load_acquire(&slots[plain_spread_again(secret, &pkts[at]) >> shift]); /* Q-A */
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
LOOP_BODY bool SET(loops_still_at_home)(const struct vm_view v, const struct lookup *l)
{
    return SET(line_match)(l->line, l->hash & v.tag_mask, v.tag_mask | WORD_SECONDARY) != LINE_SLOTS;
}

/* The queue of a flow that is in its second line, or unbound, and which of these; FLOWQ_DROP: there is more to it. The flow is
   that of packet `at`, which is pkt. */
LOOP_BODY uint16_t SET(loops_answer)(const struct vm_view v, const struct batch *b, size_t at, const struct flowq_pkt *pkt,
                                     bool *bound)
{
    const struct lookup *l = &b->lookup[at];
    uint64_t word = SET(loops_second_word)(v, l->line, l->hash);
    uint32_t qid = (uint32_t)(word >> WORD_QUEUE_SHIFT) & v.queue_mask;
    *bound = word != 0;
    if (__builtin_expect(*bound, 0))
        return queue_in(v.in_use, qid) ? (uint16_t)qid : FLOWQ_DROP;
    uint32_t spread =
        b->kind[at] == BATCH_PLAIN ? plain_spread_again(hash_spread_secret(v.secret), pkt) : hash_spread(v.secret, &b->key[at]);
    return queue_pick_of(&v.vm->queues, v.in_use, spread);
}

/* The packets that were missed, one by one: those that loops_answer() answers, of which there may be many, with the line that
   was found for them; the rest in answer.c. Then those that concern fragments, missed or not. */
LOOP_BODY void SET(loops_answer_all)(const struct receivers *to, struct batch *b, uint32_t missed, uint16_t *qids)
{
    const struct vm_view one = to->one ? *to->one : (struct vm_view){.vm = NULL}; /* loaded once, not after each store */
    uint32_t rest = 0;
    unsigned n_missed = (unsigned)__builtin_popcount(missed), n_bound = 0;
    for (; missed; missed &= ~batch_bit(batch_first(missed))) {
        const size_t at = batch_first(missed);
        const struct vm_view v = to->one ? one : vm_view_after_line(to->vms[at], to->by);
        bool bound = false;
        const struct flowq_pkt *pkt = &b->pkts[at];
        const bool off = to->one ? b->queue_off & batch_bit((unsigned)at) : SET(loops_still_at_home)(v, &b->lookup[at]);
        uint16_t qid = b->kind[at] > BATCH_PARSED || off ? FLOWQ_DROP : SET(loops_answer)(v, b, at, pkt, &bound);
        if (qid != FLOWQ_DROP) {
            qids[at] = qid;
            b->reason[at] = bound ? FLOWQ_REASON_BOUND : FLOWQ_REASON_FALLBACK;
            n_bound += bound;
            if (!to->one)
                tally_add(&v.tally, STAT_STEER + b->reason[at], 1);
        } else {
            loops_answer_rest(to, b, (unsigned)at, qids);
            rest |= batch_bit((unsigned)at);
        }
    }
    const unsigned n_rest = (unsigned)__builtin_popcount(rest);
    for (unsigned i = 0; i < b->n_fragments; i++) {
        struct vm_view room;
        if (!to->one)
            b->now_ns = 0; /* each vm has a clock of its own */
        answer_fragment(receivers_whole_view(to, b->fragment[i].at, &room), &b->fragment[i], b, qids);
    }
    for (; rest; rest &= ~batch_bit(batch_first(rest))) {
        const struct vm_view v = receivers_view(to, batch_first(rest));
        tally_add(&v.tally, STAT_STEER + b->reason[batch_first(rest)], 1);
    }
    if (to->one && n_bound)
        tally_add(&one.tally, STAT_STEER + FLOWQ_REASON_BOUND, n_bound);
    if (to->one && n_missed - n_rest > n_bound)
        tally_add(&one.tally, STAT_STEER + FLOWQ_REASON_FALLBACK, n_missed - n_rest - n_bound);
}

LOOP __attribute__((nonnull(1))) void SET(loops_rx_answer)(const struct vm_view *v, struct batch *b, uint32_t missed,
                                                           uint16_t *qids)
{
    SET(loops_answer_all)(&(struct receivers){.one = v}, b, missed, qids);
}

static SET_TARGET void SET(loops_vms_answer)(const struct receivers *to, struct batch *b, uint32_t missed, uint16_t *qids)
{
    const struct receivers several = {.vms = to->vms, .by = to->by};
    SET(loops_answer_all)(&several, b, missed, qids);
}

static const struct loops SET(loops_set) = {
    .rx_parse = SET(loops_rx_parse),
    .rx_find = SET(loops_rx_find),
    .rx_trains = SET(loops_rx_trains),
    .rx_answer_plain = SET(loops_rx_answer_plain),
    .rx_answer = SET(loops_rx_answer),
    .vms_run_v4 = SET(loops_vms_run_v4),
    .vms_run_v6 = SET(loops_vms_run_v6),
    .vms_find = SET(loops_vms_find),
    .vms_answer = SET(loops_vms_answer),
    .tx_parse = SET(loops_tx_parse),
    .tx_trains = SET(loops_tx_trains),
    .tx_find = SET(loops_tx_find),
};

#undef LOOP
#undef LOOP_BODY
#undef SET
#undef SET_TARGET
