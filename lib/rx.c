/*
 * rx: packets that go to the VM, from the calls to the queue.
 *
 *     frame -> pkt -> parse -> key -> hash -> table -> queue
 *
 *     parse     to the hash of the flow, and the line of the table where it is at home, which is fetched: plain packets in loops
 *               (plain.h, hash.h), special ones apart (special.c, parse.h)
 *     find      the queue that the flow's word in that line names (find.h)
 *     answer    the packets that were missed there: flows in their second line, unbound ones, fragments and the like (answer.c)
 *
 * The loops of these stages are in loops_each.h. Where a burst has more packets than a batch, the next batch is parsed before
 * this one's lines are looked at, so that its misses overlap with that, too.
 *
 * What a large burst prepares is most of what a small one would cost. So plain packets go the same way without it: one packet
 * without a batch (rx_one), up to BATCH_FEW by one function for both stages (rx_few), out of the vm's first cache line; a view of
 * the vm is made when one of them is missed. If one is not plain, all go the long way (rx_burst).
 *
 * Where flows move in order, those that move look like flows whose queue is off, up to answer.c (ordered.h). What such a call is
 * measured by, it reads before any word (rx_begins); but one for one packet looks at one word, and reads it when that names a
 * move. While a thread has tails to take, all go the long way.
 *
 * Bursts for several vms: rx_vms.c. What the VM sends: tx.c. Steering writes nothing but the moves of such flows, the cache of
 * fragments, the tables of a hash key that is used for the first time (toeplitz.c), and counters.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "loops.h"
#include "require.h"
#include "rss.h"

static uint16_t rx_one(struct flowq_vm *vm, const struct flowq_pkt *pkt);
static void rx_several(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, uint16_t *qids);
static inline __attribute__((always_inline)) bool rx_few(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n,
                                                         uint16_t *qids, struct batch *b);
static void rx_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, uint16_t *qids);
static inline bool rx_single_queue(struct flowq_vm *vm, const struct thread *thread, size_t n, uint16_t *qid, uint8_t *reason);
static inline __attribute__((always_inline)) void rx_batches(const struct vm_view *v, const struct flowq_pkt *pkts, size_t n,
                                                             uint16_t *qids, struct flowq_decision *out);
static void rx_fill(uint16_t *qids, size_t n, uint16_t qid);
static void rx_enter(struct thread *thread);
static void rx_leave(struct thread *thread);

uint16_t flowq_rx_steer(struct flowq_vm *vm, const struct flowq_pkt *pkt)
{
    require(vm && pkt);
    return rx_one(vm, pkt);
}

void flowq_rx_steer_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, uint16_t *qids)
{
    require(vm && (n == 0 || (pkts && qids)));
    if (n == 1)
        *qids = rx_one(vm, pkts);
    else if (n <= BATCH_FEW)
        rx_several(vm, pkts, n, qids);
    else
        rx_burst(vm, pkts, n, qids);
}

/* A function of its own, so that a burst of one has hardly a register to save, and a large one no second batch below it. */
static __attribute__((noinline)) void rx_several(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, uint16_t *qids)
{
    struct batch b;
    if (!rx_few(vm, pkts, n, qids, &b))
        rx_burst(vm, pkts, n, qids);
}

/* ---- A burst --------------------------------------------------------------------------------------------------------------- */

/* Answers what the first look at a batch has missed, and counts. */
static inline void rx_answer(const struct loops *loops, const struct vm_view *v, struct batch *b, unsigned n, uint32_t missed,
                             uint16_t *qids)
{
    uint32_t quotes = b->quotes & ~missed, others = missed | quotes;
    if (others) {
        uint32_t plain = missed & ~(b->special | b->queue_off);
        n -= (unsigned)__builtin_popcount(others);
        if (plain)
            missed ^= plain ^ loops->rx_answer_plain(v, b, plain, qids);
    }
    if (missed || b->n_fragments)
        loops->rx_answer(v, b, missed, qids);
    if (__builtin_expect(quotes != 0, 0))
        answer_quotes(v, b, quotes);
    tally_add(&v->tally, STAT_STEER + FLOWQ_REASON_BOUND, n);
}

/*
 * TRAINS (loops.h), of one batch: as rx_parse() and rx_find() with one look for each train, unless one of them is missed. False:
 * it is none, and nothing has been done.
 */
static inline bool rx_find_trains(const struct loops *loops, const struct vm_view *v, const struct flowq_pkt *pkts, unsigned n,
                                  struct batch *b, uint16_t *qids, uint32_t *missed)
{
    uint8_t of[BATCH];
    unsigned trains = loops->rx_trains(v, pkts, n, b->lookup, of);
    if (trains == 0)
        return false;
    batch_begin(b, pkts);
    *missed = loops->rx_find(v, b, trains, qids);
    /* From the last one on, as a train's place is not behind its packets'. */
    if (*missed == 0) {
        for (unsigned i = n; i-- > 0;)
            qids[i] = qids[of[i]];
    } else {
        for (unsigned i = n; i-- > 0;)
            b->lookup[i] = b->lookup[of[i]];
        *missed = loops->rx_find(v, b, n, qids);
    }
    return true;
}

/* All batches of a burst. Where `out` is not NULL, qids has room for one batch, and the decisions go there. */
static inline __attribute__((always_inline)) void rx_batches(const struct vm_view *v, const struct flowq_pkt *pkts, size_t n,
                                                             uint16_t *qids, struct flowq_decision *out)
{
    const struct loops *loops = loops_best();
    struct batch two[2], *b = &two[0], *next = &two[1];
    if (n == 0)
        return;
    b->now_ns = 0;
    uint32_t missed = 0;
    bool found = n <= BATCH && loops_are_trains(pkts, n) && rx_find_trains(loops, v, pkts, (unsigned)n, b, qids, &missed);
    if (!found)
        loops->rx_parse(v, pkts, batch_size(n, 0), true, batch_size(n, BATCH), b);
    for (size_t at = 0; at < n; at += BATCH) {
        unsigned m = batch_size(n, at), m_next = batch_size(n, at + BATCH);
        if (m_next)
            loops->rx_parse(v, pkts + at + BATCH, m_next, false, batch_size(n, at + 2 * BATCH), next);
        if (out)
            memset(b->reason, FLOWQ_REASON_BOUND, sizeof(b->reason));
        uint16_t *to = out ? qids : qids + at;
        rx_answer(loops, v, b, m, found ? missed : loops->rx_find(v, b, m, to), to);
        for (unsigned i = 0; out && i < m; i++)
            out[at + i] = (struct flowq_decision){.qid = qids[i], .reason = b->reason[i]};
        if (out)
            vm_count_answers(v->vm, &v->tally, qids, m);
        next->now_ns = b->now_ns; /* one reading of the clock a call */
        struct batch *done = b;
        b = next;
        next = done;
    }
}

static void rx_enter(struct thread *thread)
{
    if (thread)
        thread_enter(thread);
}

static void rx_leave(struct thread *thread)
{
    if (thread)
        thread_leave(thread);
}

/* What a call for a vm whose flows move in order does first: it reads the clock of moves (O1), and takes tails (O3). */
static uint64_t rx_begins(struct flowq_vm *vm, const struct thread *thread)
{
    uint64_t began = ordered_began();
    ordered_take_tails(vm, stats_stripe(thread), began);
    return began;
}

/* ordered: a constant; then `began` is what ordered_began() gave. */
static inline __attribute__((always_inline)) void rx_burst_by_flow(struct flowq_vm *vm, struct thread *thread,
                                                                   const struct flowq_pkt *pkts, size_t n, uint16_t *qids,
                                                                   bool ordered, uint64_t began)
{
    uint16_t qid;
    uint8_t reason;
    if (rx_single_queue(vm, thread, n, &qid, &reason)) {
        rx_fill(qids, n, qid);
        return;
    }
    struct vm_view v;
    rx_enter(thread);
    vm_view_fill(&v, vm, caller_of(thread));
    if (ordered)
        v.began = began;
    rx_batches(&v, pkts, n, qids, NULL);
    rx_leave(thread);
    vm_count_answers(vm, &v.tally, qids, n);
}

static __attribute__((noinline)) void rx_burst_ordered(struct flowq_vm *vm, struct thread *thread, const struct flowq_pkt *pkts,
                                                       size_t n, uint16_t *qids)
{
    rx_burst_by_flow(vm, thread, pkts, n, qids, true, rx_begins(vm, thread));
}

static __attribute__((noinline)) void rx_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, uint16_t *qids)
{
    struct thread *thread = thread_self();
    if (queues_rss_or_ordered(&vm->queues)) {
        if (queues_rss_active(&vm->queues) && rss_steer(vm, thread, pkts, n, qids, NULL))
            return;
        if (vm->ordered) {
            rx_burst_ordered(vm, thread, pkts, n, qids);
            return;
        }
    }
    rx_burst_by_flow(vm, thread, pkts, n, qids, false, 0);
}

/* ---- One queue in use, or none: no packet has to be looked at (S0) --------------------------------------------------------- */

static __attribute__((noinline)) void rx_answer_all(struct flowq_vm *vm, const struct thread *thread, size_t n, uint32_t summary,
                                                    uint16_t *qid, uint8_t *reason)
{
    struct tally tally = stats_tally(&vm->stats, thread);
    *qid = queues_lowest(summary);
    *reason = *qid == FLOWQ_DROP ? FLOWQ_REASON_DROP : FLOWQ_REASON_SINGLE;
    tally_add(&tally, STAT_STEER + *reason, n);
    vm_count_steered(vm, &tally, *qid, n);
}

/* The answer for all n packets, counted; false: there are more queues. */
static inline bool rx_single_queue(struct flowq_vm *vm, const struct thread *thread, size_t n, uint16_t *qid, uint8_t *reason)
{
    uint32_t summary = u32_load_acquire(&vm->queues.summary);
    if (__builtin_expect(queues_n(summary) > 1, 1))
        return false;
    rx_answer_all(vm, thread, n, summary, qid, reason);
    return true;
}

/* Four answers a store. */
static void rx_fill(uint16_t *qids, size_t n, uint16_t qid)
{
    const uint64_t four = qid * UINT64_C(0x0001000100010001);
    for (; n >= 4; n -= 4, qids += 4)
        memcpy(qids, &four, sizeof(four));
    while (n > 0)
        qids[--n] = qid;
}

/* ---- One packet ------------------------------------------------------------------------------------------------------------ */

static __attribute__((noinline)) uint16_t rx_plain_missed(struct flowq_vm *vm, const struct thread *thread,
                                                          const struct flowq_pkt *pkt, uint64_t hash)
{
    struct vm_view v;
    vm_view_fill(&v, vm, caller_of(thread));
    v.began = ordered_began();
    uint8_t reason;
    uint16_t qid = answer_one(&v, BATCH_PLAIN, hash, pkt, NULL, &reason);
    tally_add(&v.tally, STAT_STEER + reason, 1);
    return qid;
}

/* A plain packet: the same stages without a batch, out of the vm's first cache line. */
static inline uint16_t rx_plain(struct flowq_vm *vm, struct thread *thread, const struct flowq_pkt *pkt, uint64_t hash)
{
    const struct tally tally = stats_tally(&vm->stats, thread);
    uint32_t qid;
    thread_enter(thread);
    const struct line *home = vm_home_line(vm, hash);
    uint64_t word = find_likely(home, &hash, vm->secret_v4.tag_mask);
    if (__builtin_expect(vm_unanswered(vm, word, &hash, &qid) != 0, 0))
        qid = rx_plain_missed(vm, thread, pkt, hash);
    else
        tally_add(&tally, STAT_STEER + FLOWQ_REASON_BOUND, 1);
    thread_leave(thread);
    vm_count_steered(vm, &tally, qid, 1);
    return (uint16_t)qid;
}

static uint16_t rx_one(struct flowq_vm *vm, const struct flowq_pkt *pkt)
{
    struct thread *thread = thread_self();
    uint64_t word[5];
    uint16_t qid;
    if (thread && queues_by_flow_alone(&vm->queues)) {
        enum plain plain = plain_read(pkt, u64_load_relaxed(&vm->udp_filter), false, word);
        if (plain != PLAIN_NOT)
            return rx_plain(vm, thread, pkt, vm_hash_plain(vm, plain, word));
    }
    rx_burst(vm, pkt, 1, &qid);
    return qid;
}

/* ---- A few packets, all plain: as calls for one, whose looks overlap ------------------------------------------------------- */

/* b: where the packets are at home, and queue_off. */
static __attribute__((noinline)) void rx_few_missed(struct flowq_vm *vm, const struct thread *thread,
                                                    const struct flowq_pkt *pkts, unsigned n, uint32_t missed, uint16_t *qids,
                                                    struct batch *b)
{
    struct vm_view v;
    vm_view_fill(&v, vm, caller_of(thread));
    v.began = b->began;
    batch_begin(b, pkts);
    rx_answer(loops_best(), &v, b, n, missed, qids);
}

/* False: they are none or too many, or one is not plain, or more than flows decides, or something is to be done first; and
   nothing has been done. Reasons, for who wants them, begin as a batch's. */
static inline __attribute__((always_inline)) bool rx_few(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n,
                                                         uint16_t *qids, struct batch *b)
{
    struct thread *thread = thread_self();
    struct few few;
    if (n - 1 >= BATCH_FEW || !thread || !queues_by_flow_alone(&vm->queues))
        return false;
    const struct tally tally = stats_tally(&vm->stats, thread);
    uint32_t missed = 0, named = 0;
    thread_enter(thread);
    const uint64_t began = ordered_began();
    if (!few_begin(vm, pkts, n, false, &few)) {
        thread_leave(thread);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned at = line_likely(few.home[i], &few.hash[i], vm->secret_v4.tag_mask);
        uint64_t word = find_named(few.home[i], at); /* T-C */
        uint32_t qid;
        if (__builtin_expect(vm_unanswered(vm, word, &few.hash[i], &qid) != 0, 0)) {
            missed |= batch_bit((unsigned)i);
            named |= at == LINE_SLOTS ? 0 : batch_bit((unsigned)i);
        }
        qids[i] = (uint16_t)qid;
    }
    if (__builtin_expect(missed == 0, 1)) {
        tally_add(&tally, STAT_STEER + FLOWQ_REASON_BOUND, n);
    } else {
        for (size_t i = 0; i < n; i++) {
            FIELD_STORE(b->lookup[i].hash, few.hash[i]);
            FIELD_STORE(b->lookup[i].line, few.home[i]);
        }
        b->began = began;
        b->queue_off = named;
        rx_few_missed(vm, thread, pkts, (unsigned)n, missed, qids, b);
    }
    thread_leave(thread);
    vm_count_answers(vm, &tally, qids, n);
    return true;
}

/* ---- With reasons and hashes ----------------------------------------------------------------------------------------------- */

/* ordered: a constant, as above. */
static inline __attribute__((always_inline)) void rx_decide_by_flow(struct flowq_vm *vm, struct thread *thread,
                                                                    const struct flowq_pkt *pkts, size_t n,
                                                                    struct flowq_decision *out, bool ordered, uint64_t began)
{
    struct flowq_decision same = {.qid = 0};
    uint16_t qids[BATCH];
    if (rx_single_queue(vm, thread, n, &same.qid, &same.reason)) {
        for (size_t i = 0; i < n; i++)
            out[i] = same;
        return;
    }
    struct vm_view v;
    rx_enter(thread);
    vm_view_fill(&v, vm, caller_of(thread));
    if (ordered)
        v.began = began;
    rx_batches(&v, pkts, n, qids, out);
    rx_leave(thread);
}

static __attribute__((noinline)) void rx_decide_ordered(struct flowq_vm *vm, struct thread *thread, const struct flowq_pkt *pkts,
                                                        size_t n, struct flowq_decision *out)
{
    rx_decide_by_flow(vm, thread, pkts, n, out, true, rx_begins(vm, thread));
}

static void rx_decide(struct flowq_vm *vm, struct thread *thread, const struct flowq_pkt *pkts, size_t n,
                      struct flowq_decision *out)
{
    if (__builtin_expect(vm->ordered != NULL, 0))
        rx_decide_ordered(vm, thread, pkts, n, out);
    else
        rx_decide_by_flow(vm, thread, pkts, n, out, false, 0);
}

static bool rx_decide_few(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, struct flowq_decision *out)
{
    uint16_t qids[BATCH_FEW];
    struct batch b;
    memset(b.reason, FLOWQ_REASON_BOUND, BATCH_FEW);
    if (!rx_few(vm, pkts, n, qids, &b))
        return false;
    for (size_t i = 0; i < n; i++)
        out[i] = (struct flowq_decision){.qid = qids[i], .reason = b.reason[i]};
    return true;
}

void flowq_rx_decide_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, struct flowq_decision *out)
{
    require(vm && (n == 0 || (pkts && out)));
    struct thread *thread = thread_self();
    if (queues_rss_active(&vm->queues) && rss_steer(vm, thread, pkts, n, NULL, out))
        return;
    if (!rx_decide_few(vm, pkts, n, out))
        rx_decide(vm, thread, pkts, n, out);
    if (ptr_load_acquire(&vm->virtio.reports) != NULL)
        rss_add_reports(vm, thread, pkts, n, out);
}
