/*
 * steer_vms: one burst for several vms. The stages are steer.c's; but what a vm is to each of them is loaded for each packet, and
 * fetched ahead like its headers.
 */
#include "answer.h"

#include "probe.h"
#include "require.h"
#include "rss.h"

/* This packet needs no look at the table. */
static inline void no_line(const struct flowq_vm *vm, struct batch *b, unsigned at, enum odd kind)
{
    b->odd_kind[at] = (uint8_t)kind;
    b->seen[at].hash = hash_least(&vm->brief);
    b->seen[at].line = table_nowhere;
}

/* What a packet will need of its vm: what struct flowq_vm begins with, and its counter. */
static inline __attribute__((always_inline)) void fetch_vm(struct flowq_vm *vm, const struct caller by)
{
    __builtin_prefetch(vm);
    __builtin_prefetch(&vm->stats.stripe[by.stripe].counter[STAT_STEER + FLOWQ_REASON_BOUND], 1);
}

/* A packet for one of several vms that is not plain, or a vm whose flows do not decide. Where `out` is not NULL, a decision of
   RSS goes there at once, as it has a hash. */
static __attribute__((noinline)) void sight_for(const struct receivers *to, const struct thread *thread,
                                                const struct flowq_pkt *pkts, unsigned at, struct batch *b,
                                                struct flowq_decision *out)
{
    struct flowq_vm *vm = to->vms[at];
    const struct flowq_pkt *pkt = &pkts[at];
    struct flowq_decision ruled;
    if (queues_ruled(&vm->queues) && rss_decide_inside(vm, thread, pkt, &ruled)) {
        no_line(vm, b, at, ODD_RULED);
        b->special[b->n_special++] = (struct special){.at = (uint8_t)at, .later = ruled.qid};
        if (out)
            out[at] = ruled;
    } else if (queues_n(u32_load_acquire(&vm->queues.summary)) > 1) {
        const struct view v = view_of(vm, to->by);
        sight_specials(&v, pkts, at, at + 1, b);
        if (b->odd_kind[at] == ODD_QUOTE)
            b->seen[at].line = table_nowhere; /* it would be counted as bound; b->quotes is for one vm */
    } else {
        no_line(vm, b, at, ODD_SINGLE);
    }
}

/* As sight_v4() and sight_v6(), to vms whose flows decide. */
static inline __attribute__((always_inline)) unsigned sight_run(struct flowq_vm *const *vms, const struct flowq_pkt *pkts,
                                                                unsigned at, unsigned n, struct batch *b, enum plain plain)
{
    struct flowq_vm *const *to = &vms[at], *const *end = &vms[n];
    const struct flowq_pkt *pkt = &pkts[at];
    for (struct sighting *s = &b->seen[at]; to != end; to++, pkt++, s++) {
        struct flowq_vm *vm = *to;
        uint64_t word[5], udp_filter = u64_load_relaxed(&vm->udp_filter);
        if (!queues_by_flow(&vm->queues) ||
            !(plain == PLAIN_V4 ? parse_fast_v4(pkt, udp_filter, false, word) : parse_fast_v6(pkt, udp_filter, false, word)))
            break;
        s->hash = hash_plain(vm, plain, word);
        s->line = line_in(vm, s->hash);
        __builtin_prefetch(s->line);
    }
    return (unsigned)(to - vms);
}

/* As steer.c's; each packet's vm for itself. */
static inline __attribute__((always_inline)) uint32_t look(struct flowq_vm *const *vms, const struct batch *b, unsigned n,
                                                           uint16_t *qids, const struct caller by, bool *counted,
                                                           home_of_fn *home)
{
    uint32_t odd = 0;
    uint8_t ways = 0;
    for (unsigned i = 0; i < n; i++) {
        struct flowq_vm *vm = vms[i];
        const struct sighting *s = &b->seen[i];
        const struct line *line = s->line;
        uint32_t qid;
        ways |= u8_load_relaxed(&vm->queues.ways);
        uint64_t all_if_odd = all_if(not_answered(vm, line, &s->hash, &qid, home));
        const struct tally tally = stats_tally_in(&vm->stats, by.stripe);
        qids[i] = (uint16_t)qid;
        odd = 2 * odd - (uint32_t)all_if_odd;
        fetch_second(vm->line_mask, line, s->hash, all_if_odd);
        tally_add(&tally, STAT_STEER + FLOWQ_REASON_BOUND, 1 + all_if_odd);
    }
    *counted = ways & QUEUES_COUNTED;
    return odd << (BATCH - n);
}

/* ---- With the instructions every machine has, and with wider ones ---------------------------------------------------------- */

typedef unsigned run_fn(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, unsigned at, unsigned n, struct batch *b);

/* As in steer.c: each loop is a function of its own. */
struct instance {
    run_fn *run_v4, *run_v6;
    uint32_t (*look)(struct flowq_vm *const *vms, const struct batch *b, unsigned n, uint16_t *qids, const struct caller *by,
                     bool *counted);
    void (*answer_each)(const struct receivers *to, struct batch *b, uint32_t odd, uint16_t *qids);
};

#define INSTANCE(name, attributes, home, match)                                                                                  \
    static attributes unsigned run_v4_##name(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, unsigned at, unsigned n, \
                                             struct batch *b)                                                                    \
    {                                                                                                                            \
        return sight_run(vms, pkts, at, n, b, PLAIN_V4);                                                                         \
    }                                                                                                                            \
    static attributes unsigned run_v6_##name(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, unsigned at, unsigned n, \
                                             struct batch *b)                                                                    \
    {                                                                                                                            \
        return sight_run(vms, pkts, at, n, b, PLAIN_V6);                                                                         \
    }                                                                                                                            \
    static attributes uint32_t look_##name(struct flowq_vm *const *vms, const struct batch *b, unsigned n, uint16_t *qids,       \
                                           const struct caller *by, bool *counted)                                               \
    {                                                                                                                            \
        return look(vms, b, n, qids, *by, counted, home);                                                                        \
    }                                                                                                                            \
    static attributes void answer_each_##name(const struct receivers *to, struct batch *b, uint32_t odd, uint16_t *qids)         \
    {                                                                                                                            \
        const struct receivers several = {.vms = to->vms, .by = to->by};                                                         \
        answer_each(&several, b, odd, qids, match);                                                                              \
    }                                                                                                                            \
    static const struct instance name = {run_v4_##name, run_v6_##name, look_##name, answer_each_##name};

INSTANCE(narrow, , line_home_of, line_match)
#ifdef PROBE_X86
INSTANCE(wide, __attribute__((target("avx2,bmi,bmi2"))), line_home_of_avx2, line_match_avx2)
#else
#define wide narrow
#endif

/* ---- A batch --------------------------------------------------------------------------------------------------------------- */

/* Counts answers by queue, where that is asked for. */
static void count_by_queue(const struct receivers *to, unsigned n, const uint16_t *qids)
{
    for (unsigned i = 0; i < n; i++) {
        const struct view v = view_of_line(to->vms[i], to->by);
        if (queues_counted(&v.vm->queues))
            answer_count(&v, &qids[i], 1);
    }
}

/* Packets for several vms: the same stages. Registered threads only. out: as sight_for() takes it; what it does not write is for
   decide_mixed(). */
static inline __attribute__((always_inline)) void take_mixed(const struct instance *is, const struct thread *thread,
                                                             struct flowq_vm *const *vms, const struct flowq_pkt *pkts,
                                                             unsigned n, uint16_t *qids, struct batch *b,
                                                             struct flowq_decision *out)
{
    const struct receivers to = {.vms = vms, .by = caller_of(thread)};
    bool counted;
    b->pkts = pkts;
    b->n_special = 0;
    b->quotes = 0;
    b->special_at = 0;
    memset(b->odd_kind, ODD_NOT, sizeof(b->odd_kind));
    for (unsigned i = 0; i < n; i++) {
        fetch_vm(vms[i], to.by);
        __builtin_prefetch(pkts[i].data);
    }
    for (unsigned i = 0; (i = is->run_v4(vms, pkts, i, n, b)) < n;) {
        unsigned others = is->run_v6(vms, pkts, i, n, b);
        if (others == i)
            sight_for(&to, thread, pkts, others++, b, out);
        i = others;
    }
    uint32_t odd = is->look(vms, b, n, qids, &to.by, &counted);
    if (odd || b->n_special)
        is->answer_each(&to, b, odd, qids);
    if (counted)
        count_by_queue(&to, n, qids);
}

static void steer_mixed(const struct instance *is, const struct thread *thread, struct flowq_vm *const *vms,
                        const struct flowq_pkt *pkts, unsigned n, uint16_t *qids)
{
    struct batch b;
    take_mixed(is, thread, vms, pkts, n, qids, &b, NULL);
}

/* How many packets from `at` on have their queue by flow, as they go to one vm: one packet at least. */
static unsigned by_flow(struct flowq_vm *const *vms, const struct batch *b, unsigned at, unsigned n)
{
    unsigned end = at + 1;
    while (end < n && vms[end] == vms[at] && b->odd_kind[end] != ODD_RULED)
        end++;
    return end - at;
}

/* The same, with reasons and hashes: of flows that decide, hashes come afterwards (rss.h), as in flowq_rx_decide_burst(). */
static void decide_mixed(const struct instance *is, struct thread *thread, struct flowq_vm *const *vms,
                         const struct flowq_pkt *pkts, unsigned n, struct flowq_decision *out)
{
    uint16_t qids[BATCH];
    struct batch b;
    memset(b.reason, FLOWQ_REASON_BOUND, sizeof(b.reason));
    take_mixed(is, thread, vms, pkts, n, qids, &b, out);
    for (unsigned i = 0, m; i < n; i += m) {
        m = 1;
        if (b.odd_kind[i] == ODD_RULED)
            continue;
        m = by_flow(vms, &b, i, n);
        for (unsigned j = i; j < i + m; j++)
            out[j] = (struct flowq_decision){.qid = qids[j], .reason = b.reason[j]};
        if (ptr_load_acquire(&vms[i]->virtio.reports) != NULL)
            rss_add_reports(vms[i], thread, pkts + i, m, out + i);
    }
}

/* ---- The call -------------------------------------------------------------------------------------------------------------- */

static bool all_alike(struct flowq_vm *const *vms, unsigned n)
{
    unsigned i = 1;
    while (i < n && vms[i] == vms[0])
        i++;
    return i >= n;
}

static void steer_singly(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, unsigned n, uint16_t *qids)
{
    for (unsigned i = 0; i < n; i++)
        qids[i] = flowq_rx_steer(vms[i], &pkts[i]);
}

static void decide_singly(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, unsigned n, struct flowq_decision *out)
{
    for (unsigned i = 0; i < n; i++)
        flowq_rx_decide_burst(vms[i], &pkts[i], 1, &out[i]);
}

/* What a burst for several vms is owed (require.h). */
static inline bool all_there(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, size_t n, const void *out)
{
    bool there = n == 0 || (vms && pkts && out);
    for (size_t i = 0; there && i < n; i++)
        there = vms[i] != NULL;
    return there;
}

void flowq_rx_steer_burst_vms(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, size_t n, uint16_t *qids)
{
    require(all_there(vms, pkts, n, qids));
    struct thread *thread = thread_self();
    const struct instance *is = steer_is_wide() ? &wide : &narrow;
    if (thread)
        thread_enter(thread);
    for (size_t i = 0; i < n; i += BATCH) {
        unsigned m = batch_size(n, i);
        if (all_alike(vms + i, m))
            flowq_rx_steer_burst(vms[i], pkts + i, m, qids + i);
        else if (thread)
            steer_mixed(is, thread, vms + i, pkts + i, m, qids + i);
        else
            steer_singly(vms + i, pkts + i, m, qids + i);
    }
    if (thread)
        thread_leave(thread);
}

void flowq_rx_decide_burst_vms(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, size_t n, struct flowq_decision *out)
{
    require(all_there(vms, pkts, n, out));
    struct thread *thread = thread_self();
    const struct instance *is = steer_is_wide() ? &wide : &narrow;
    if (thread)
        thread_enter(thread);
    for (size_t i = 0; i < n; i += BATCH) {
        unsigned m = batch_size(n, i);
        if (all_alike(vms + i, m))
            flowq_rx_decide_burst(vms[i], pkts + i, m, out + i);
        else if (thread)
            decide_mixed(is, thread, vms + i, pkts + i, m, out + i);
        else
            decide_singly(vms + i, pkts + i, m, out + i);
    }
    if (thread)
        thread_leave(thread);
}
