/*
 * steer_vms: one burst for several vms. The stages are steer.c's; but what a vm is to each of them is loaded for each packet, and
 * fetched ahead like its headers.
 */
#include "answer.h"

#include "probe.h"
#include "rss.h"

/* This packet needs no look at the table. */
static inline void no_line(const struct flowq_vm *vm, struct batch *b, unsigned at, enum odd kind)
{
    b->odd_kind[at] = (uint8_t)kind;
    b->seen[at].hash = vm->secret.brief.tag_low;
    b->seen[at].line = table_nowhere;
}

/* What a packet will need of its vm: the lines of struct flowq_vm, and its counter. */
static inline __attribute__((always_inline)) void fetch_vm(struct flowq_vm *vm, const struct caller by)
{
    __builtin_prefetch(vm);
    __builtin_prefetch(&vm->table);
    __builtin_prefetch(&stats_tally_in(&vm->stats, by.stripe).counter[STAT_STEER + FLOWQ_REASON_BOUND], 1);
}

/* A packet for one of several vms, whatever it is. */
static __attribute__((noinline)) void sight_for(const struct receivers *to, const struct thread *thread,
                                                const struct flowq_pkt *pkts, unsigned at, struct batch *b)
{
    struct flowq_vm *vm = to->vms[at];
    const struct flowq_pkt *pkt = &pkts[at];
    uint16_t qid;
    if (queues_ruled(&vm->queues) && rss_steer_inside(vm, thread, pkt, &qid)) {
        no_line(vm, b, at, ODD_RULED);
        b->special[b->n_special++] = (struct special){.at = (uint8_t)at, .later = qid};
    } else if (queues_n(u32_load_acquire(&vm->queues.summary)) > 1) {
        const struct view v = view_of(vm, to->by);
        uint64_t word[5];
        enum plain plain = parse_fast(pkt, v.udp_filter, false, word);
        if (plain != PLAIN_NOT)
            sight_line(v, &b->seen[at], hash_plain(v, plain, word));
        else
            sight_specials(&v, pkts, at, at + 1, b);
    } else {
        no_line(vm, b, at, ODD_SINGLE);
    }
}

/* As steer.c's; each packet's vm for itself. */
static inline __attribute__((always_inline)) uint32_t look(const struct receivers *to, const struct batch *b, unsigned n,
                                                           uint16_t *qids, home_fn *home)
{
    uint32_t odd = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct view v = view_of_line_at(to, i);
        const struct sighting *s = &b->seen[i];
        const struct line *line = s->line;
        uint32_t qid;
        uint64_t miss = not_at_home(v, line, &s->hash, &qid, home) | !queue_in(v.in_use, qid);
        uint64_t all_if_odd = miss ? UINT64_MAX : 0;
        qids[i] = (uint16_t)qid;
        odd = 2 * odd - (uint32_t)all_if_odd;
        fetch_second(v, line, s->hash, all_if_odd);
        tally_add(&v.tally, STAT_STEER + FLOWQ_REASON_BOUND, !miss);
    }
    return odd << (BATCH - n);
}

/* Packets for several vms: the same stages. Registered threads only, so that the compiler need not ask. What is wanted of a vm is
   loaded where it is wanted: all of it does not fit the registers. */
static inline __attribute__((always_inline)) void mixed_stages(const struct thread *thread, struct flowq_vm *const *vms,
                                                               const struct flowq_pkt *pkts, unsigned n, uint16_t *qids,
                                                               home_fn *home, match_fn *match)
{
    const struct receivers to = {.vms = vms, .by = {.registered = true, .stripe = stats_stripe(thread)}};
    const struct receivers shown = to; /* to functions that are not inline: of the other one the compiler knows what it holds */
    struct batch b;
    bool counted = false;
    b.n_special = 0;
    memset(b.odd_kind, ODD_NOT, sizeof(b.odd_kind));
    for (unsigned i = 0; i < n; i++) {
        fetch_vm(vms[i], to.by);
        __builtin_prefetch(pkts[i].data);
    }
    for (unsigned i = 0; i < n; i++) {
        struct flowq_vm *vm = vms[i];
        uint64_t word[5];
        counted |= vm->queues.counted;
        if (__builtin_expect(!queues_ruled(&vm->queues) && queues_n(u32_load_acquire(&vm->queues.summary)) > 1 &&
                                 parse_fast_v4(&pkts[i], u64_load_relaxed(&vm->udp_filter), false, word),
                             1)) {
            uint64_t hash = hash_brief(vm->secret.brief, word);
            struct line *line = table_shard(&vm->table, hash)->line;
            b.seen[i] = (struct sighting){.hash = hash, .line = line + home_line(&vm->table, hash)};
            __builtin_prefetch(b.seen[i].line);
        } else {
            sight_for(&shown, thread, pkts, i, &b);
        }
    }
    uint32_t odd = look(&to, &b, n, qids, home);
    if (odd || b.n_special)
        answer_each(&to, &b, odd, qids, match);
    for (unsigned i = 0; counted && i < n; i++) {
        const struct view v = view_of_line_at(&to, i);
        if (v.vm->queues.counted)
            answer_count(&v, &qids[i], 1);
    }
}

/* ---- With the instructions every machine has, and with wider ones ---------------------------------------------------------- */

typedef void mixed_fn(const struct thread *thread, struct flowq_vm *const *vms, const struct flowq_pkt *pkts, unsigned n,
                      uint16_t *qids);

static void mixed_narrow(const struct thread *thread, struct flowq_vm *const *vms, const struct flowq_pkt *pkts, unsigned n,
                         uint16_t *qids)
{
    mixed_stages(thread, vms, pkts, n, qids, line_home, line_match);
}

#ifdef PROBE_X86
static __attribute__((target("avx2,bmi,bmi2"))) void mixed_wide(const struct thread *thread, struct flowq_vm *const *vms,
                                                                const struct flowq_pkt *pkts, unsigned n, uint16_t *qids)
{
    mixed_stages(thread, vms, pkts, n, qids, line_home_avx2, line_match_avx2);
}
#else
#define mixed_wide mixed_narrow
#endif

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

void flowq_rx_steer_burst_vms(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, size_t n, uint16_t *qids)
{
    struct thread *thread = thread_self();
    mixed_fn *mixed = steer_is_wide() ? mixed_wide : mixed_narrow;
    if (thread)
        thread_enter(thread);
    for (size_t i = 0; i < n; i += BATCH) {
        unsigned m = batch_size(n, i);
        if (all_alike(vms + i, m))
            flowq_rx_steer_burst(vms[i], pkts + i, m, qids + i);
        else if (thread)
            mixed(thread, vms + i, pkts + i, m, qids + i);
        else
            steer_singly(vms + i, pkts + i, m, qids + i);
    }
    if (thread)
        thread_leave(thread);
}
