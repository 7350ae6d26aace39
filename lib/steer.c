/*
 * steer: the whole way of a packet, in both directions.
 *
 *     frame -> pkt -> parse -> key -> hash -> table -> queue
 *
 *     sight     parse, key, hash, and the line of the table to look at, which is prefetched      sight.h
 *     answer    steering: the queue that the line names; what it does not answer is in           answer.h
 *     note      noting: the flow is bound to the queue that the VM named                         note.h
 *
 * Bursts run each stage over up to BATCH packets before the next one, so that the table's cache misses overlap. Plain packets
 * whose flow is in its home line, bound to a queue in use, take no branch that depends on the data; all others are put on a list
 * ("odd") and worked off one by one afterwards. A single call takes a plain packet through the same functions without a batch,
 * and any other as a batch of one. Steering writes nothing but the fragment cache and counters.
 */
#include "answer.h"

#include "probe.h"
#include "rss.h"

typedef unsigned match_fn(const struct line *l, uint64_t probe, uint64_t mask);

/* Headers that are not in a cache yet come all at once. (gcc leaves out calls of a function that only prefetches.) */
static inline __attribute__((always_inline)) void fetch_headers(const struct flowq_pkt *pkts, size_t n, bool far)
{
    for (size_t i = 0; n > 1 && i < n; i++)
        fetch(pkts[i].data, far);
}

/* ---- Steering: the stages -------------------------------------------------------------------------------------------------- */

/* The flow is in this line, its home, and its queue is in use. Whatever comes out, *qid is set. */
static inline __attribute__((always_inline)) bool at_home(const struct view v, const struct line *line, uint64_t hash,
                                                          uint16_t *qid, match_fn *match)
{
    uint64_t probe = hash & v.tag_mask, mask = v.tag_mask | WORD_SECONDARY;
    uint64_t word = u64_load_relaxed(&line->word[match(line, probe, mask)]); /* T-C */
    uint32_t q = (uint32_t)(word >> WORD_QUEUE_SHIFT) & v.queue_mask;
    *qid = (uint16_t)q;
    return ((word & mask) == probe) & queue_in_use(&v.vm->queues, q);
}

/* A flow that may be in its second line: that is fetched while the others are looked at. Rare, also where many flows miss. */
static inline __attribute__((always_inline)) void fetch_second(const struct view v, const struct line *home, uint64_t hash,
                                                               bool even)
{
    if (__builtin_expect(both(!even, line_overflowed(home)), 0))
        __builtin_prefetch(second_line(&v.vm->table, home, hash));
}

/* The queue of a flow that is neither at home nor, as far as its home line tells, elsewhere (T-B); else FLOWQ_DROP. */
static inline __attribute__((always_inline)) uint16_t answer_unbound(const struct view *v, const struct line *home, uint64_t hash,
                                                                     match_fn *match)
{
    if (match(home, hash & v->tag_mask, v->tag_mask | WORD_SECONDARY) != LINE_SLOTS || line_overflowed(home))
        return FLOWQ_DROP;
    return queue_pick(&v->vm->queues, hash_fallback(v->secret, hash));
}

/* The packets on the list, one by one: those of unbound flows here, of which there may be many, and the rest in answer.c. Then
   those that concern fragments, on the list or not. */
static inline __attribute__((always_inline)) void answer_listed(const struct receivers *to, struct batch *b, uint8_t *odd,
                                                                unsigned n_odd, uint16_t *qids, match_fn *match)
{
    unsigned n_rest = 0, n_unbound = 0;
    for (unsigned i = 0; i < n_odd; i++) {
        unsigned at = odd[i];
        struct view room;
        const struct view *v = view_in(to, at, &room);
        uint16_t qid = b->odd_kind[at] == ODD_NOT ? answer_unbound(v, b->line[at], b->hash[at], match) : FLOWQ_DROP;
        if (qid != FLOWQ_DROP) {
            qids[at] = qid;
            b->reason[at] = FLOWQ_REASON_FALLBACK;
            if (!to->one)
                tally_add(&v->tally, STAT_STEER + FLOWQ_REASON_FALLBACK, 1);
            n_unbound++;
        } else {
            qids[at] = answer_odd(v, b->odd_kind[at], b->hash[at], &b->reason[at]);
            odd[n_rest++] = (uint8_t)at;
        }
    }
    for (unsigned i = 0; i < b->n_special; i++) {
        struct view room;
        if (!to->one)
            b->now_ns = 0; /* each vm has a clock of its own */
        answer_special(view_in(to, b->special[i].at, &room), &b->special[i], b, qids);
    }
    for (unsigned i = 0; i < n_rest; i++) {
        const struct view v = view_of_line_at(to, odd[i]);
        tally_add(&v.tally, STAT_STEER + b->reason[odd[i]], 1);
    }
    if (to->one)
        tally_add(&to->one->tally, STAT_STEER + FLOWQ_REASON_FALLBACK, n_unbound);
}

/* Fills qids and b->reason. */
static inline __attribute__((always_inline)) void answer(const struct receivers *to, struct batch *b, unsigned n, uint16_t *qids,
                                                         match_fn *match, bool far)
{
    const struct view one = to->one ? *to->one : (struct view){.vm = NULL};
    uint8_t odd[BATCH];
    unsigned n_odd = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct view v = to->one ? one : view_of_line_at(to, i);
        const struct line *line = b->line[i];
        uint64_t hash = b->hash[i];
        if (far && i + FAR_AHEAD < n)
            fetch(b->line[i + FAR_AHEAD], false);
        bool even = at_home(v, line, hash, &qids[i], match);
        odd[n_odd] = (uint8_t)i;
        n_odd += !even;
        fetch_second(v, line, hash, even);
        if (!to->one)
            tally_add(&v.tally, STAT_STEER + FLOWQ_REASON_BOUND, even);
    }
    if (n_odd != 0 || b->n_special != 0)
        answer_listed(to, b, odd, n_odd, qids, match);
    if (to->one)
        tally_add(&one.tally, STAT_STEER + FLOWQ_REASON_BOUND, n - n_odd);
}

static inline __attribute__((always_inline)) void steer_stages(const struct view *v, const struct flowq_pkt *pkts, unsigned n,
                                                               uint16_t *qids, struct batch *b, match_fn *match, bool far)
{
    const struct view view = *v;
    const struct receivers to = {.one = v};
    b->n_special = 0;
    memset(b->odd_kind, ODD_NOT, n == 1 ? 1 : sizeof(b->odd_kind));
    fetch_headers(pkts, n, far);
    for (unsigned i = 0; i < n; i++)
        sight_arriving(view, &to, &pkts[i], b, i, far);
    answer(&to, b, n, qids, match, far);
}

/* Counts answers by queue, where that is asked for. */
static __attribute__((noinline)) void count_queues(const struct view *v, const uint16_t *qids, size_t n)
{
    struct queue_counters *c = vm_counters(v->vm, &v->tally);
    for (size_t i = 0; i < n; i++)
        if (qids[i] != FLOWQ_DROP)
            tally_bump(&v->tally, &c[qids[i]].steered, 1);
}

/* The guest's table decides, not its flows (S0): then rss.c has the way of the packet. */
static inline bool is_ruled(const struct flowq_vm *vm) { return __builtin_expect(u8_load_relaxed(&vm->queues.ruled) != 0, 0); }

/* This packet needs no look at the table. */
static inline void no_line(const struct flowq_vm *vm, struct batch *b, unsigned at, enum odd kind)
{
    b->odd_kind[at] = (uint8_t)kind;
    b->hash[at] = vm->secret.tag_low;
    b->line[at] = table_nowhere;
}

/* What a packet will need of its vm: the lines of struct flowq_vm, and its counter. */
static inline __attribute__((always_inline)) void fetch_vm(struct flowq_vm *vm, const struct caller by)
{
    __builtin_prefetch(vm);
    __builtin_prefetch(&vm->table);
    __builtin_prefetch(&stats_tally_in(&vm->stats, by.stripe).counter[STAT_STEER + FLOWQ_REASON_BOUND], 1);
}

/* Packets for several vms: the same stages. Registered threads only, so that the compiler need not ask. */
static inline __attribute__((always_inline)) void mixed_stages(const struct thread *thread, struct flowq_vm *const *vms,
                                                               const struct flowq_pkt *pkts, unsigned n, uint16_t *qids,
                                                               match_fn *match)
{
    const struct receivers to = {.vms = vms, .by = {.registered = true, .stripe = stats_stripe(thread)}};
    struct batch b;
    bool counted = false;
    b.n_special = 0;
    memset(b.odd_kind, ODD_NOT, sizeof(b.odd_kind));
    for (unsigned i = 0; i < n; i++) {
        fetch_vm(vms[i], to.by);
        __builtin_prefetch(pkts[i].data);
    }
    for (unsigned i = 0; i < n; i++) {
        uint16_t qid;
        counted |= vms[i]->queues.counted;
        if (is_ruled(vms[i]) && rss_steer_inside(vms[i], thread, &pkts[i], &qid)) {
            no_line(vms[i], &b, i, ODD_RULED);
            b.special[b.n_special++] = (struct special){.at = (uint8_t)i, .later = qid};
        } else if (queues_n(u32_load_acquire(&vms[i]->queues.summary)) > 1) {
            sight_arriving(view_at(&to, i), &to, &pkts[i], &b, i, false);
        } else {
            no_line(vms[i], &b, i, ODD_SINGLE);
        }
    }
    answer(&to, &b, n, qids, match, false);
    for (unsigned i = 0; counted && i < n; i++) {
        const struct view v = view_of_line_at(&to, i);
        if (v.vm->queues.counted)
            count_queues(&v, &qids[i], 1);
    }
}

/* ---- Noting: the stages ---------------------------------------------------------------------------------------------------- */

static void count(const struct flowq_vm *vm, const struct note_context *c, uint32_t outcome, size_t n)
{
    tally_add(&c->tally, STAT_NOTE + outcome, n);
    if (__builtin_expect(vm->queues.counted, 0) && outcome <= FLOWQ_NOTE_MOVED)
        tally_bump(&c->tally, &vm_counters(vm, &c->tally)[c->qid].noted, n);
}

/* The flow's slot in its home line, which is prefetched by now. */
static inline __attribute__((always_inline)) void find_sent(const struct view v, struct sent *sent, match_fn *match)
{
    sent->at = (uint8_t)match(sent->line, sent->hash & v.tag_mask, v.tag_mask | WORD_SECONDARY);
    fetch_second(v, sent->line, sent->hash, sent->at != LINE_SLOTS);
}

static inline __attribute__((always_inline)) uint32_t note_sent(const struct note_context *c, uint64_t tag_mask,
                                                                const struct sent *sent)
{
    if (sent->outcome != TO_THE_TABLE)
        return sent->outcome;
    return note_at_home(c, tag_mask, sent->line, sent->at, sent->hash, sent->kind);
}

/* In order: what one packet changes in the table the next one finds. What it had found before is only where to look first. */
static inline __attribute__((always_inline)) void note_stages(const struct view *v, const struct note_context *c,
                                                              const struct flowq_pkt *pkts, size_t n, match_fn *match)
{
    const struct view view = *v;
    struct sent sent[BATCH];
    size_t usual[FLOWQ_NOTE_MOVED + 1] = {0};
    fetch_headers(pkts, n, false);
    for (size_t i = 0; i < n; i++)
        sent[i] = sight_sent(view, &pkts[i]);
    for (size_t i = 0; i < n; i++)
        find_sent(view, &sent[i], match);
    for (size_t i = 0; i < n; i++) {
        uint32_t outcome = note_sent(c, view.tag_mask, &sent[i]);
        if (outcome <= FLOWQ_NOTE_MOVED)
            usual[outcome]++;
        else
            count(view.vm, c, outcome, 1);
    }
    for (uint32_t outcome = 0; outcome <= FLOWQ_NOTE_MOVED; outcome++)
        if (usual[outcome])
            count(view.vm, c, outcome, usual[outcome]);
}

/* ---- With the instructions every machine has, and with wider ones: chosen once per burst ----------------------------------- */

typedef void steer_fn(const struct view *v, const struct flowq_pkt *pkts, unsigned n, uint16_t *qids, struct batch *b);

static void steer_batch(const struct view *v, const struct flowq_pkt *pkts, unsigned n, uint16_t *qids, struct batch *b)
{
    steer_stages(v, pkts, n, qids, b, line_match, false);
}

static void steer_far(const struct view *v, const struct flowq_pkt *pkts, unsigned n, uint16_t *qids, struct batch *b)
{
    steer_stages(v, pkts, n, qids, b, line_match, true);
}

typedef void mixed_fn(const struct thread *thread, struct flowq_vm *const *vms, const struct flowq_pkt *pkts, unsigned n,
                      uint16_t *qids);

static void mixed_batch(const struct thread *thread, struct flowq_vm *const *vms, const struct flowq_pkt *pkts, unsigned n,
                        uint16_t *qids)
{
    mixed_stages(thread, vms, pkts, n, qids, line_match);
}

#ifdef PROBE_X86
static __attribute__((target("avx2,bmi,bmi2"))) void mixed_batch_wide(const struct thread *thread, struct flowq_vm *const *vms,
                                                                      const struct flowq_pkt *pkts, unsigned n, uint16_t *qids)
{
    mixed_stages(thread, vms, pkts, n, qids, line_match_avx2);
}

static __attribute__((target("avx2,bmi,bmi2"))) void steer_batch_wide(const struct view *v, const struct flowq_pkt *pkts,
                                                                      unsigned n, uint16_t *qids, struct batch *b)
{
    steer_stages(v, pkts, n, qids, b, line_match_avx2, false);
}

static __attribute__((target("avx2,bmi,bmi2"))) void steer_far_wide(const struct view *v, const struct flowq_pkt *pkts,
                                                                    unsigned n, uint16_t *qids, struct batch *b)
{
    steer_stages(v, pkts, n, qids, b, line_match_avx2, true);
}
#else
#define mixed_batch_wide mixed_batch
#define steer_batch_wide steer_batch
#define steer_far_wide   steer_far
#endif

typedef void note_fn(const struct view *v, const struct note_context *c, const struct flowq_pkt *pkts, size_t n);

static void note_batch(const struct view *v, const struct note_context *c, const struct flowq_pkt *pkts, size_t n)
{
    note_stages(v, c, pkts, n, line_match);
}

#ifdef PROBE_X86
static __attribute__((target("avx2,bmi,bmi2"))) void note_batch_wide(const struct view *v, const struct note_context *c,
                                                                     const struct flowq_pkt *pkts, size_t n)
{
    note_stages(v, c, pkts, n, line_match_avx2);
}
#else
#define note_batch_wide note_batch
#endif

bool steer_narrow;
uint32_t steer_far_depth = FAR_DEPTH;

static bool wide(void)
{
#ifdef PROBE_X86
    return !steer_narrow && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
#else
    return false;
#endif
}

static steer_fn *best_steer(const struct view *v)
{
    bool far = v->directory->depth >= steer_far_depth;
    if (wide())
        return far ? steer_far_wide : steer_batch_wide;
    return far ? steer_far : steer_batch;
}

static mixed_fn *best_mixed(void) { return wide() ? mixed_batch_wide : mixed_batch; }
static note_fn *best_note(void) { return wide() ? note_batch_wide : note_batch; }

/* ---- Steering: the calls --------------------------------------------------------------------------------------------------- */

static __attribute__((noinline)) void answer_all(struct flowq_vm *vm, const struct thread *thread, size_t n, uint32_t summary,
                                                 uint16_t *qid, uint8_t *reason)
{
    struct tally tally = stats_tally(&vm->stats, thread);
    *qid = queues_lowest(summary);
    *reason = *qid == FLOWQ_DROP ? FLOWQ_REASON_DROP : FLOWQ_REASON_SINGLE;
    tally_add(&tally, STAT_STEER + *reason, n);
    if (vm->queues.counted && *qid != FLOWQ_DROP)
        tally_bump(&tally, &vm_counters(vm, &tally)[*qid].steered, n);
}

/* No packet has to be looked at (S0): the answer for all of them. */
static inline bool one_for_all(struct flowq_vm *vm, const struct thread *thread, size_t n, uint16_t *qid, uint8_t *reason)
{
    uint32_t summary = u32_load_acquire(&vm->queues.summary);
    if (__builtin_expect(queues_n(summary) > 1, 1))
        return false;
    answer_all(vm, thread, n, summary, qid, reason);
    return true;
}

static void enter(struct thread *thread)
{
    if (thread)
        thread_enter(thread);
}

static void leave(struct thread *thread)
{
    if (thread)
        thread_leave(thread);
}

static __attribute__((noinline)) uint16_t steer_special(const struct view *v, const struct flowq_pkt *pkt)
{
    struct batch b;
    uint16_t qid;
    b.now_ns = 0;
    steer_stages(v, pkt, 1, &qid, &b, line_match, false);
    return qid;
}

/* One packet: the same stages, and no batch if it is plain. */
static inline __attribute__((always_inline)) uint16_t steer_single(const struct view v, const struct flowq_pkt *pkt)
{
    uint64_t word[5];
    uint16_t qid;
    uint8_t reason = FLOWQ_REASON_BOUND;
    enum plain plain = parse_fast(pkt, v.udp_filter, false, word);
    if (plain == PLAIN_NOT) {
        const struct view whole = v;
        return steer_special(&whole, pkt);
    }
    uint64_t hash = hash_plain(v, plain, word);
    if (!at_home(v, line_of(v, hash), hash, &qid, line_match)) {
        const struct view whole = v;
        qid = answer_odd(&whole, ODD_NOT, hash, &reason);
    }
    tally_add(&v.tally, STAT_STEER + reason, 1);
    return qid;
}

uint16_t flowq_rx_steer(struct flowq_vm *vm, const struct flowq_pkt *pkt)
{
    struct thread *thread = thread_self();
    uint16_t qid;
    uint8_t reason;
    if (is_ruled(vm) && rss_steer(vm, thread, pkt, 1, &qid, NULL))
        return qid;
    if (one_for_all(vm, thread, 1, &qid, &reason))
        return qid;
    enter(thread);
    const struct view v = view_of(vm, caller_of(thread));
    qid = steer_single(v, pkt);
    leave(thread);
    if (__builtin_expect(vm->queues.counted, 0)) {
        const struct view whole = v;
        count_queues(&whole, &qid, 1);
    }
    return qid;
}

void flowq_rx_steer_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, uint16_t *qids)
{
    struct thread *thread = thread_self();
    struct batch b;
    uint16_t qid;
    b.now_ns = 0;
    if (is_ruled(vm) && rss_steer(vm, thread, pkts, n, qids, NULL))
        return;
    if (one_for_all(vm, thread, n, &qid, &b.reason[0])) {
        for (size_t i = 0; i < n; i++)
            qids[i] = qid;
        return;
    }
    enter(thread);
    struct view v = view_of(vm, caller_of(thread));
    steer_fn *steer = best_steer(&v);
    for (size_t i = 0; i < n; i += BATCH)
        steer(&v, pkts + i, n - i < BATCH ? (unsigned)(n - i) : BATCH, qids + i, &b);
    leave(thread);
    if (__builtin_expect(vm->queues.counted, 0))
        count_queues(&v, qids, n);
}

static void decide(const struct view *v, const struct flowq_pkt *pkts, unsigned n, struct flowq_decision *out, struct batch *b)
{
    uint16_t qids[BATCH];
    memset(b->reason, FLOWQ_REASON_BOUND, sizeof(b->reason));
    best_steer(v)(v, pkts, n, qids, b);
    for (unsigned i = 0; i < n; i++)
        out[i] = (struct flowq_decision){.qid = qids[i], .reason = b->reason[i]};
    if (v->vm->queues.counted)
        count_queues(v, qids, n);
}

static void decide_all(struct flowq_vm *vm, struct thread *thread, const struct flowq_pkt *pkts, size_t n,
                       struct flowq_decision *out)
{
    struct flowq_decision same = {.qid = 0};
    struct batch b;
    b.now_ns = 0;
    if (one_for_all(vm, thread, n, &same.qid, &same.reason)) {
        for (size_t i = 0; i < n; i++)
            out[i] = same;
        return;
    }
    enter(thread);
    struct view v = view_of(vm, caller_of(thread));
    for (size_t i = 0; i < n; i += BATCH)
        decide(&v, pkts + i, n - i < BATCH ? (unsigned)(n - i) : BATCH, out + i, &b);
    leave(thread);
}

void flowq_rx_decide_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, struct flowq_decision *out)
{
    struct thread *thread = thread_self();
    if (is_ruled(vm) && rss_steer(vm, thread, pkts, n, NULL, out))
        return;
    decide_all(vm, thread, pkts, n, out);
    if (ptr_load_acquire(&vm->virtio.reports) != NULL)
        rss_add_reports(vm, thread, pkts, n, out);
}

static bool all_alike(struct flowq_vm *const *vms, unsigned n)
{
    unsigned i = 1;
    while (i < n && vms[i] == vms[0])
        i++;
    return i >= n;
}

static void steer_each(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, unsigned n, uint16_t *qids)
{
    for (unsigned i = 0; i < n; i++)
        qids[i] = flowq_rx_steer(vms[i], &pkts[i]);
}

void flowq_rx_steer_burst_vms(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, size_t n, uint16_t *qids)
{
    struct thread *thread = thread_self();
    mixed_fn *steer = best_mixed();
    enter(thread);
    for (size_t i = 0; i < n; i += BATCH) {
        unsigned m = n - i < BATCH ? (unsigned)(n - i) : BATCH;
        if (all_alike(vms + i, m))
            flowq_rx_steer_burst(vms[i], pkts + i, m, qids + i);
        else if (thread)
            steer(thread, vms + i, pkts + i, m, qids + i);
        else
            steer_each(vms + i, pkts + i, m, qids + i);
    }
    leave(thread);
}

/* ---- Noting: the calls ----------------------------------------------------------------------------------------------------- */

static struct note_context context_of(struct flowq_vm *vm, const struct tally *tally, uint32_t qid)
{
    struct note_context c = {
        .table = &vm->table,
        .queues = &vm->queues,
        .secret = &vm->secret,
        .tally = *tally,
        .ages = vm_ages(vm),
        .now_ns = vm_now(vm),
        .qid = qid,
        .rebind_tcp = u32_load_relaxed(&vm->settings.rebind_tcp),
        .rebind_other = u32_load_relaxed(&vm->settings.rebind_other),
    };
    c.idle = word_make(0, qid, note_tick(&c), 0);
    return c;
}

/* What can be said without a look at the packets (S0, S1), or TO_THE_TABLE. */
static uint32_t without_a_look(const struct flowq_vm *vm, const struct thread *thread, uint32_t qid)
{
    if (!u8_load_relaxed(&vm->settings.learn))
        return FLOWQ_NOTE_OFF;
    if (qid >= vm->queues.max || !queue_in_use(&vm->queues, qid))
        return FLOWQ_NOTE_NOT_IN_USE;
    if (queues_n(u32_load_acquire(&vm->queues.summary)) <= 1)
        return FLOWQ_NOTE_SINGLE;
    return thread ? TO_THE_TABLE : FLOWQ_NOTE_UNREGISTERED;
}

/* For "distinct queues noted lately"; writes once a tick. */
static void mark_noted(const struct flowq_vm *vm, const struct note_context *c)
{
    atomic_u32 *noted = &vm->noted[c->qid];
    if (u32_load_relaxed(noted) != note_tick(c) + 1)
        u32_store_relaxed(noted, note_tick(c) + 1);
}

/* After the section: what this or other notes superseded may be free to go. */
static void tidy(struct flowq_vm *vm)
{
    if (__builtin_expect(table_has_retired(&vm->table), 0))
        table_reclaim(&vm->table);
}

uint32_t flowq_tx_note(struct flowq_vm *vm, const struct flowq_pkt *pkt, uint32_t qid)
{
    struct thread *thread = thread_self();
    struct tally tally = stats_tally(&vm->stats, thread);
    uint32_t outcome = without_a_look(vm, thread, qid);
    if (outcome != TO_THE_TABLE) {
        tally_add(&tally, STAT_NOTE + outcome, 1);
        return outcome;
    }
    struct note_context c = context_of(vm, &tally, qid);
    mark_noted(vm, &c);
    thread_enter(thread);
    const struct view v = view_of(vm, caller_of(thread));
    struct sent sent = sight_sent(v, pkt);
    find_sent(v, &sent, line_match);
    outcome = note_sent(&c, v.tag_mask, &sent);
    thread_leave(thread);
    count(vm, &c, outcome, 1);
    tidy(vm);
    return outcome;
}

void flowq_tx_note_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, uint32_t qid)
{
    struct thread *thread = thread_self();
    struct tally tally = stats_tally(&vm->stats, thread);
    uint32_t outcome = without_a_look(vm, thread, qid);
    if (n == 0)
        return;
    if (outcome != TO_THE_TABLE) {
        tally_add(&tally, STAT_NOTE + outcome, n);
        return;
    }
    struct note_context c = context_of(vm, &tally, qid);
    mark_noted(vm, &c);
    note_fn *note = best_note();
    for (size_t i = 0; i < n; i += BATCH) {
        /* A section for each batch: what one makes grow cannot grow again while that is open (T-F), and bursts may be long. */
        thread_enter(thread);
        struct view v = view_of(vm, caller_of(thread));
        note(&v, &c, pkts + i, n - i < BATCH ? n - i : BATCH);
        thread_leave(thread);
        tidy(vm);
    }
}
