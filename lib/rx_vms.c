/*
 * rx_vms: one burst for several vms. The stages are those of rx.c; but what a vm is to each of them is loaded for each packet,
 * out of the vm's first cache line, which is fetched ahead like the header.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "loops.h"
#include "require.h"
#include "rss.h"

/* Where answers go: to qids, or with reasons and hashes to `out`; the other one is NULL, a constant where this is inlined. */
struct rx_vms_answers {
    uint16_t *qids;
    struct flowq_decision *out;
};

static inline bool rx_vms_are_there(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, size_t n, const void *out);
static inline __attribute__((always_inline)) void rx_vms_burst(struct flowq_vm *const *vms, const struct flowq_pkt *pkts,
                                                               size_t n, const struct rx_vms_answers to);

void flowq_rx_steer_burst_vms(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, size_t n, uint16_t *qids)
{
    require(rx_vms_are_there(vms, pkts, n, qids));
    rx_vms_burst(vms, pkts, n, (struct rx_vms_answers){.qids = qids});
}

void flowq_rx_decide_burst_vms(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, size_t n, struct flowq_decision *out)
{
    require(rx_vms_are_there(vms, pkts, n, out));
    rx_vms_burst(vms, pkts, n, (struct rx_vms_answers){.out = out});
}

/* What such a burst is owed (require.h). */
static inline bool rx_vms_are_there(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, size_t n, const void *out)
{
    bool there = n == 0 || (vms && pkts && out);
    for (size_t i = 0; there && i < n; i++)
        there = vms[i] != NULL;
    return there;
}

/* ---- Packets that are not plain, or whose flow does not decide ------------------------------------------------------------- */

/* No look at the table is needed. */
static inline void rx_vms_not_looked_up(const struct flowq_vm *vm, struct batch *b, unsigned at, enum batch_kind kind)
{
    b->kind[at] = (uint8_t)kind;
    b->lookup[at].hash = hash_least(&vm->secret_v4);
    b->lookup[at].line = table_nowhere;
}

/* Where `out` is not NULL, a decision of RSS goes there at once, as it has a hash. */
static __attribute__((noinline)) void rx_vms_parse_other(const struct receivers *to, const struct thread *thread,
                                                         const struct flowq_pkt *pkts, unsigned at, struct batch *b,
                                                         struct flowq_decision *out)
{
    struct flowq_vm *vm = to->vms[at];
    struct flowq_decision rss;
    if (queues_rss_active(&vm->queues) && rss_decide_inside(vm, thread, &pkts[at], &rss)) {
        rx_vms_not_looked_up(vm, b, at, BATCH_RSS);
        b->rss_qid[at] = rss.qid;
        if (out)
            out[at] = rss;
    } else if (queues_n(u32_load_acquire(&vm->queues.summary)) > 1) {
        struct vm_view v;
        vm_view_fill(&v, vm, to->by);
        special_rx_run(&v, pkts, at, at + 1, b);
        if (b->kind[at] == BATCH_QUOTE)
            b->lookup[at].line = table_nowhere; /* it would be counted as bound; b->quotes is for one vm */
    } else {
        rx_vms_not_looked_up(vm, b, at, BATCH_SINGLE);
    }
}

/* ---- A batch --------------------------------------------------------------------------------------------------------------- */

/* What a packet will need of its vm: what struct flowq_vm begins with, and its counter. */
static inline __attribute__((always_inline)) void rx_vms_fetch(struct flowq_vm *vm, const struct caller by)
{
    __builtin_prefetch(vm);
    __builtin_prefetch(&vm->stats.stripe[by.stripe].counter[STAT_STEER + FLOWQ_REASON_BOUND], 1);
}

/* Counts answers by queue, where that is asked for. */
static void rx_vms_count_by_queue(const struct receivers *to, unsigned n, const uint16_t *qids)
{
    for (unsigned i = 0; i < n; i++) {
        const struct tally tally = stats_tally_in(&to->vms[i]->stats, to->by.stripe);
        vm_count_steered(to->vms[i], &tally, qids[i], 1);
    }
}

/* Of what this thread held back in calls before (O3). */
static __attribute__((noinline)) void rx_vms_take_tails(const struct receivers *to, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (u8_load_relaxed(&to->vms[i]->queues.modes) & QUEUES_TAILS)
            ordered_take_tails(to->vms[i], to->by.stripe, to->by.began);
}

/* Of registered threads only. out: as rx_vms_parse_other() takes it; what is not written there is for rx_vms_decide(). */
static inline __attribute__((always_inline)) void rx_vms_steer(const struct thread *thread, struct flowq_vm *const *vms,
                                                               const struct flowq_pkt *pkts, unsigned n, uint16_t *qids,
                                                               uint64_t began, struct batch *b, struct flowq_decision *out)
{
    const struct loops *loops = loops_best();
    struct receivers to = {.vms = vms, .by = caller_of(thread)};
    uint8_t modes;
    to.by.began = began;
    batch_begin(b, pkts);
    for (unsigned i = 0; i < n; i++) {
        rx_vms_fetch(vms[i], to.by);
        __builtin_prefetch(pkts[i].data);
    }
    for (unsigned i = 0; (i = loops->vms_run_v4(vms, pkts, i, n, b)) < n;) {
        unsigned others = loops->vms_run_v6(vms, pkts, i, n, b);
        if (others == i)
            rx_vms_parse_other(&to, thread, pkts, others++, b, out);
        i = others;
    }
    uint32_t missed = loops->vms_find(vms, b, n, qids, to.by.stripe, &modes);
    if (__builtin_expect(modes & QUEUES_TAILS, 0))
        rx_vms_take_tails(&to, n);
    if (missed || b->n_fragments)
        loops->vms_answer(&to, b, missed, qids);
    if (modes & QUEUES_COUNTED)
        rx_vms_count_by_queue(&to, n, qids);
}

/* How many packets from `at` on have their queue by flow, as they go to one vm: one packet at least. */
static unsigned rx_vms_by_flow(struct flowq_vm *const *vms, const struct batch *b, unsigned at, unsigned n)
{
    unsigned end = at + 1;
    while (end < n && vms[end] == vms[at] && b->kind[end] != BATCH_RSS)
        end++;
    return end - at;
}

/* The same, with reasons and hashes: where flows decide, hashes come afterwards (rss.h), as in flowq_rx_decide_burst(). */
static __attribute__((noinline)) void rx_vms_decide(struct thread *thread, struct flowq_vm *const *vms,
                                                    const struct flowq_pkt *pkts, unsigned n, struct flowq_decision *out,
                                                    uint64_t began)
{
    uint16_t qids[BATCH];
    struct batch b;
    memset(b.reason, FLOWQ_REASON_BOUND, sizeof(b.reason));
    rx_vms_steer(thread, vms, pkts, n, qids, began, &b, out);
    for (unsigned i = 0, m; i < n; i += m) {
        m = 1;
        if (b.kind[i] == BATCH_RSS)
            continue;
        m = rx_vms_by_flow(vms, &b, i, n);
        for (unsigned j = i; j < i + m; j++)
            out[j] = (struct flowq_decision){.qid = qids[j], .reason = b.reason[j]};
        if (ptr_load_acquire(&vms[i]->virtio.reports) != NULL)
            rss_add_reports(vms[i], thread, pkts + i, m, out + i);
    }
}

static __attribute__((noinline)) void rx_vms_batch(struct thread *thread, struct flowq_vm *const *vms,
                                                   const struct flowq_pkt *pkts, unsigned n, uint16_t *qids, uint64_t began)
{
    struct batch b;
    rx_vms_steer(thread, vms, pkts, n, qids, began, &b, NULL);
}

/* ---- A burst --------------------------------------------------------------------------------------------------------------- */

/* For one vm. */
static bool rx_vms_alike(struct flowq_vm *const *vms, unsigned n)
{
    unsigned i = 1;
    while (i < n && vms[i] == vms[0])
        i++;
    return i >= n;
}

/* For one vm, from packet `at` on. */
static inline __attribute__((always_inline)) void rx_vms_one(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t at,
                                                             unsigned n, const struct rx_vms_answers to)
{
    if (to.out)
        flowq_rx_decide_burst(vm, pkts + at, n, to.out + at);
    else
        flowq_rx_steer_burst(vm, pkts + at, n, to.qids + at);
}

/* For several, from packet `at` on, n of them, BATCH at most. In a section. */
static inline __attribute__((always_inline)) void rx_vms_some(struct thread *thread, struct flowq_vm *const *vms,
                                                              const struct flowq_pkt *pkts, size_t at, unsigned n,
                                                              const struct rx_vms_answers to, uint64_t began)
{
    if (!thread)
        for (size_t end = at + n; at < end; at++)
            rx_vms_one(vms[at], pkts, at, 1, to);
    else if (to.out)
        rx_vms_decide(thread, vms + at, pkts + at, n, to.out + at, began);
    else
        rx_vms_batch(thread, vms + at, pkts + at, n, to.qids + at, began);
}

/* Of more than one batch. */
static __attribute__((noinline)) void rx_vms_long(struct thread *thread, struct flowq_vm *const *vms,
                                                  const struct flowq_pkt *pkts, size_t n, const struct rx_vms_answers to,
                                                  uint64_t began)
{
    for (size_t at = 0; at < n; at += BATCH) {
        unsigned m = batch_size(n, at);
        /* Where moves are in order, a part of a burst must not be taken for a call of its own (O2). */
        if (rx_vms_alike(vms + at, m) && !vms[at]->ordered)
            rx_vms_one(vms[at], pkts, at, m, to);
        else
            rx_vms_some(thread, vms, pkts, at, m, to, began);
    }
}

static inline __attribute__((always_inline)) void rx_vms_burst(struct flowq_vm *const *vms, const struct flowq_pkt *pkts,
                                                               size_t n, const struct rx_vms_answers to)
{
    if (n == 0)
        return;
    if (n <= BATCH && rx_vms_alike(vms, (unsigned)n)) {
        rx_vms_one(vms[0], pkts, 0, (unsigned)n, to);
        return;
    }
    struct thread *thread = thread_self();
    uint64_t began = ordered_began(); /* before any word is looked at, and once for all packets of the call (O1, O2) */
    if (thread)
        thread_enter(thread);
    if (n <= BATCH)
        rx_vms_some(thread, vms, pkts, 0, (unsigned)n, to, began);
    else
        rx_vms_long(thread, vms, pkts, n, to, began);
    if (thread)
        thread_leave(thread);
}
