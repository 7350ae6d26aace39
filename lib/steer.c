/*
 * steer: the whole way of a packet, in both directions.
 *
 *     frame -> pkt -> parse -> key -> hash -> table -> queue
 *
 *     sight     parse, key, hash, and the line of the table to look at, which is prefetched      sight.h
 *     answer    steering: the queue that the line names; what it does not answer is in           answer.h
 *     note      noting: the flow is bound to the queue that the VM named                         note.h
 *
 * Bursts run each stage over up to BATCH packets before the next one, so that the table's cache misses overlap; where a burst has
 * more packets, the next batch is sighted before this one's lines are looked at, so that its misses overlap with that, too. Plain
 * packets whose flow is in its home line, bound to a queue in use, take no branch that depends on the data; all others are marked
 * ("odd") and worked off one by one afterwards. A single call takes a plain packet through the same functions without a batch,
 * and any other as a batch of one. Steering writes nothing but the fragment cache and counters.
 */
#include "answer.h"

#include "probe.h"
#include "rss.h"

typedef unsigned match_fn(const struct line *l, uint64_t probe, uint64_t mask);
typedef unsigned home_fn(const struct line *l, const uint64_t *hash, uint64_t tag_mask);

/* Headers that are not in a cache yet come all at once. (gcc leaves out calls of a function that only prefetches.) */
static inline __attribute__((always_inline)) void fetch_headers(const struct flowq_pkt *pkts, unsigned n)
{
#pragma GCC unroll 4
    for (unsigned i = 0; i < n; i++)
        __builtin_prefetch(pkts[i].data);
}

/* ---- Steering: the stages -------------------------------------------------------------------------------------------------- */

typedef unsigned run_fn(const struct view *v, const struct flowq_pkt *pkts, unsigned at, unsigned n, struct batch *b);

/* A batch that is not the burst's last one has `n_next` packets behind it, whose headers are fetched; the first one fetches its own,
   too. */
static inline __attribute__((always_inline)) void see(const struct view *v, const struct flowq_pkt *pkts, unsigned n, bool first,
                                                      unsigned n_next, struct batch *b, run_fn *run_v4, run_fn *run_v6)
{
    b->n_special = 0;
    memset(b->odd_kind, ODD_NOT, sizeof(b->odd_kind));
    if (first && n > 1)
        fetch_headers(pkts, n);
    for (unsigned i = 0; (i = run_v4(v, pkts, i, n, b)) < n;) {
        unsigned others = run_v6(v, pkts, i, n, b);
        i = others > i ? others : sight_specials(v, pkts, i, n, b);
    }
    fetch_headers(pkts + n, n_next);
}

/* Zero if the flow is in this line, its home. Whatever comes out, *qid is a queue number. */
static inline __attribute__((always_inline)) uint64_t not_at_home(const struct view v, const struct line *line, const uint64_t *hash,
                                                                  uint32_t *qid, home_fn *home)
{
    uint64_t word = u64_load_relaxed(&line->word[home(line, hash, v.tag_mask)]); /* T-C, for which the tag is enough */
    *qid = (uint32_t)(word >> WORD_QUEUE_SHIFT) & v.queue_mask;
    return (word ^ *hash) & v.tag_mask;
}

/* The odd ones: a bit for each packet, the first one's highest. */
static inline unsigned odd_first(uint32_t odd) { return (unsigned)__builtin_clz(odd); }
static inline uint32_t odd_bit(unsigned at) { return UINT32_C(1) << (BATCH - 1) >> at; }
_Static_assert(BATCH == 32, "a bit for each packet");

/* The answers whose queue is not in use. */
static __attribute__((noinline)) uint32_t not_in_use(const struct view *v, const uint16_t *qids, unsigned n)
{
    uint32_t odd = 0;
    for (unsigned i = 0; i < n; i++)
        odd |= queue_in(v->in_use, qids[i]) ? 0 : odd_bit(i);
    return odd;
}

/* Looks at the line of each packet; qids of the others than those returned are right. The second lines in which flows of these may
   be are fetched while the others are looked at, which is rare, also where many flows miss. */
static inline __attribute__((always_inline)) uint32_t look(const struct receivers *to, const struct batch *b, unsigned n,
                                                           uint16_t *qids, home_fn *home)
{
    const struct view one = to->one ? *to->one : (struct view){.vm = NULL};
    uint64_t queues = 0;
    uint32_t odd = 0, all_qids = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct view v = to->one ? one : view_of_line_at(to, i);
        const struct seen *s = &b->seen[i];
        const struct line *line = s->line;
        uint32_t qid;
        uint64_t miss = not_at_home(v, line, &s->hash, &qid, home);
        qids[i] = (uint16_t)qid;
        if (!to->one)
            miss |= !queue_in(v.in_use, qid);
        uint64_t all_if_odd = miss ? UINT64_MAX : 0;
        odd = 2 * odd - (uint32_t)all_if_odd;
        queues |= UINT64_C(1) << qid % 64;
        all_qids |= qid;
        if (__builtin_expect((line_overflow(line) & all_if_odd) != 0, 0)) /* one branch, not two that are hard to predict */
            __builtin_prefetch(second_line(&v.vm->table, line, s->hash));
        if (!to->one)
            tally_add(&v.tally, STAT_STEER + FLOWQ_REASON_BOUND, !miss);
    }
    odd <<= BATCH - n;
    /* All queues at once where they are few. */
    if (to->one && __builtin_expect(all_qids > 63 || (queues & ~u64_load_relaxed(&one.in_use[0])) != 0, 0))
        odd |= not_in_use(to->one, qids, n);
    return odd;
}

/* The queue of a flow that is neither at home nor, as far as its home line tells, elsewhere (T-B); else FLOWQ_DROP. */
static inline __attribute__((always_inline)) uint16_t answer_unbound(const struct view *v, const struct line *home, uint64_t hash,
                                                                     match_fn *match)
{
    if (match(home, hash & v->tag_mask, v->tag_mask | WORD_SECONDARY) != LINE_SLOTS || line_may_be_away(home, hash))
        return FLOWQ_DROP;
    return queue_pick(&v->vm->queues, hash_fallback(v->secret, hash));
}

/* The odd packets, one by one: those of unbound flows here, of which there may be many, and the rest in answer.c. Then those that
   concern fragments, odd or not. Fills b->reason for all these. */
static inline __attribute__((always_inline)) void answer_each(const struct receivers *to, struct batch *b, uint32_t odd,
                                                              uint16_t *qids, match_fn *match)
{
    uint32_t rest = 0;
    unsigned n_unbound = 0;
    for (; odd; odd &= ~odd_bit(odd_first(odd))) {
        unsigned at = odd_first(odd);
        struct view room;
        const struct view *v = view_in(to, at, &room);
        uint16_t qid = b->odd_kind[at] == ODD_NOT ? answer_unbound(v, b->seen[at].line, b->seen[at].hash, match) : FLOWQ_DROP;
        if (qid != FLOWQ_DROP) {
            qids[at] = qid;
            b->reason[at] = FLOWQ_REASON_FALLBACK;
            if (!to->one)
                tally_add(&v->tally, STAT_STEER + FLOWQ_REASON_FALLBACK, 1);
            n_unbound++;
        } else {
            qids[at] = answer_odd(v, b->odd_kind[at], b->seen[at].hash, &b->reason[at]);
            rest |= odd_bit(at);
        }
    }
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
    if (to->one)
        tally_add(&to->one->tally, STAT_STEER + FLOWQ_REASON_FALLBACK, n_unbound);
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
static __attribute__((noinline)) void sight_for(const struct receivers *to, const struct thread *thread, const struct flowq_pkt *pkt,
                                                unsigned at, struct batch *b)
{
    struct flowq_vm *vm = to->vms[at];
    uint16_t qid;
    if (is_ruled(vm) && rss_steer_inside(vm, thread, pkt, &qid)) {
        no_line(vm, b, at, ODD_RULED);
        b->special[b->n_special++] = (struct special){.at = (uint8_t)at, .later = qid};
    } else if (queues_n(u32_load_acquire(&vm->queues.summary)) > 1) {
        sight_arriving(view_at(to, at), to, pkt, b, at);
    } else {
        no_line(vm, b, at, ODD_SINGLE);
    }
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
        if (__builtin_expect(!is_ruled(vm) && queues_n(u32_load_acquire(&vm->queues.summary)) > 1 &&
                                 parse_fast_v4(&pkts[i], u64_load_relaxed(&vm->udp_filter), false, word),
                             1)) {
            uint64_t hash = hash_brief(vm->secret.brief, word);
            struct line *line = table_shard(&vm->table, hash)->line;
            b.seen[i] = (struct seen){.hash = hash, .line = line + home_line(&vm->table, hash)};
            __builtin_prefetch(b.seen[i].line);
        } else {
            sight_for(&shown, thread, &pkts[i], i, &b);
        }
    }
    uint32_t odd = look(&to, &b, n, qids, home);
    if (odd || b.n_special)
        answer_each(&to, &b, odd, qids, match);
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
static inline __attribute__((always_inline)) void find_sent(const struct view v, struct sent *sent, home_fn *home)
{
    sent->at = (uint8_t)home(sent->line, &sent->hash, v.tag_mask);
    uint64_t all_if_odd = sent->at == LINE_SLOTS ? UINT64_MAX : 0;
    if (__builtin_expect((line_overflow(sent->line) & all_if_odd) != 0, 0))
        __builtin_prefetch(second_line(&v.vm->table, sent->line, sent->hash));
}

static inline __attribute__((always_inline)) uint32_t note_sent(const struct note_context *c, uint64_t tag_mask,
                                                                const struct sent *sent)
{
    if (sent->outcome != TO_THE_TABLE)
        return sent->outcome;
    return note_at_home(c, tag_mask, sent->line, sent->at, sent->hash, sent->kind);
}

typedef unsigned sent_fn(const struct view *v, const struct flowq_pkt *pkts, unsigned at, unsigned n, struct sent *sent);

/* In order: what one packet changes in the table the next one finds. What it had found before is only where to look first. */
static inline __attribute__((always_inline)) void note_stages(const struct view *v, const struct note_context *c,
                                                              const struct flowq_pkt *pkts, unsigned n, home_fn *home,
                                                              sent_fn *sent_v4, sent_fn *sent_v6)
{
    struct sent sent[BATCH];
    size_t usual[FLOWQ_NOTE_MOVED + 1] = {0};
    fetch_headers(pkts, n);
    for (unsigned i = 0; (i = sent_v4(v, pkts, i, n, sent)) < n;) {
        unsigned others = sent_v6(v, pkts, i, n, sent);
        i = others > i ? others : sight_sent_specials(v, pkts, i, n, sent);
    }
    const struct view view = *v;
    for (unsigned i = 0; i < n; i++)
        find_sent(view, &sent[i], home);
    for (unsigned i = 0; i < n; i++) {
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

/* Each loop is a function of its own, so that it has all registers to itself. */
struct instance {
    void (*see)(const struct view *v, const struct flowq_pkt *pkts, unsigned n, bool first, unsigned n_next, struct batch *b);
    uint32_t (*look)(const struct view *v, const struct batch *b, unsigned n, uint16_t *qids);
    void (*answer_each)(const struct view *v, struct batch *b, uint32_t odd, uint16_t *qids);
    void (*mixed)(const struct thread *thread, struct flowq_vm *const *vms, const struct flowq_pkt *pkts, unsigned n,
                  uint16_t *qids);
    void (*note)(const struct view *v, const struct note_context *c, const struct flowq_pkt *pkts, unsigned n);
};

/* v is no NULL: the compiler then knows which kind of receivers the stages are for. */
#define OWN_FUNCTION static __attribute__((noinline, nonnull(1)))

#define INSTANCE(name, attributes, home, match)                                                                                  \
    OWN_FUNCTION attributes unsigned run_v4_##name(const struct view *v, const struct flowq_pkt *pkts, unsigned at, unsigned n,  \
                                                   struct batch *b)                                                              \
    {                                                                                                                            \
        return sight_v4(*v, pkts, at, n, b);                                                                                     \
    }                                                                                                                            \
    OWN_FUNCTION attributes unsigned run_v6_##name(const struct view *v, const struct flowq_pkt *pkts, unsigned at, unsigned n,  \
                                                   struct batch *b)                                                              \
    {                                                                                                                            \
        return sight_v6(*v, pkts, at, n, b);                                                                                     \
    }                                                                                                                            \
    OWN_FUNCTION attributes void see_##name(const struct view *v, const struct flowq_pkt *pkts, unsigned n, bool first,          \
                                            unsigned n_next, struct batch *b)                                                    \
    {                                                                                                                            \
        see(v, pkts, n, first, n_next, b, run_v4_##name, run_v6_##name);                                                         \
    }                                                                                                                            \
    OWN_FUNCTION attributes uint32_t look_##name(const struct view *v, const struct batch *b, unsigned n, uint16_t *qids)        \
    {                                                                                                                            \
        return look(&(struct receivers){.one = v}, b, n, qids, home);                                                            \
    }                                                                                                                            \
    OWN_FUNCTION attributes void answer_each_##name(const struct view *v, struct batch *b, uint32_t odd, uint16_t *qids)         \
    {                                                                                                                            \
        answer_each(&(struct receivers){.one = v}, b, odd, qids, match);                                                         \
    }                                                                                                                            \
    OWN_FUNCTION attributes void mixed_##name(const struct thread *thread, struct flowq_vm *const *vms,                          \
                                              const struct flowq_pkt *pkts, unsigned n, uint16_t *qids)                          \
    {                                                                                                                            \
        mixed_stages(thread, vms, pkts, n, qids, home, match);                                                                   \
    }                                                                                                                            \
    OWN_FUNCTION attributes unsigned sent_v4_##name(const struct view *v, const struct flowq_pkt *pkts, unsigned at, unsigned n, \
                                                    struct sent *sent)                                                           \
    {                                                                                                                            \
        return sight_sent_v4(*v, pkts, at, n, sent);                                                                             \
    }                                                                                                                            \
    OWN_FUNCTION attributes unsigned sent_v6_##name(const struct view *v, const struct flowq_pkt *pkts, unsigned at, unsigned n, \
                                                    struct sent *sent)                                                           \
    {                                                                                                                            \
        return sight_sent_v6(*v, pkts, at, n, sent);                                                                             \
    }                                                                                                                            \
    OWN_FUNCTION attributes void note_##name(const struct view *v, const struct note_context *c, const struct flowq_pkt *pkts,   \
                                             unsigned n)                                                                         \
    {                                                                                                                            \
        note_stages(v, c, pkts, n, home, sent_v4_##name, sent_v6_##name);                                                        \
    }                                                                                                                            \
    static const struct instance name = {see_##name, look_##name, answer_each_##name, mixed_##name, note_##name};

INSTANCE(narrow, , line_home, line_match)
#ifdef PROBE_X86
INSTANCE(wide, __attribute__((target("avx2,bmi,bmi2"))), line_home_avx2, line_match_avx2)
#endif

bool steer_narrow;

static const struct instance *best(void)
{
#ifdef PROBE_X86
    if (!steer_narrow && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"))
        return &wide;
#endif
    return &narrow;
}

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

static unsigned batch_size(size_t n, size_t at) { return at >= n ? 0 : n - at < BATCH ? (unsigned)(n - at) : BATCH; }

/* The answers to a batch that has been sighted, and how many of them it counts. */
static inline void steer_batch(const struct instance *is, const struct view *v, struct batch *b, unsigned n, uint16_t *qids)
{
    uint32_t odd = is->look(v, b, n, qids);
    if (odd || b->n_special)
        is->answer_each(v, b, odd, qids);
    tally_add(&v->tally, STAT_STEER + FLOWQ_REASON_BOUND, n - (unsigned)__builtin_popcount(odd));
}

/* All batches of a burst. Where `out` is not NULL, qids has room for one batch, and the decisions go there. */
static inline __attribute__((always_inline)) void steer_batches(const struct view *v, const struct flowq_pkt *pkts, size_t n,
                                                                uint16_t *qids, struct flowq_decision *out)
{
    const struct instance *is = best();
    struct batch two[2], *b = &two[0], *next = &two[1];
    b->now_ns = 0;
    is->see(v, pkts, batch_size(n, 0), true, batch_size(n, BATCH), b);
    for (size_t at = 0; at < n; at += BATCH) {
        unsigned m = batch_size(n, at), m_next = batch_size(n, at + BATCH);
        if (m_next)
            is->see(v, pkts + at + BATCH, m_next, false, batch_size(n, at + 2 * BATCH), next);
        if (out)
            memset(b->reason, FLOWQ_REASON_BOUND, sizeof(b->reason));
        steer_batch(is, v, b, m, out ? qids : qids + at);
        for (unsigned i = 0; out && i < m; i++)
            out[at + i] = (struct flowq_decision){.qid = qids[i], .reason = b->reason[i]};
        if (out && __builtin_expect(v->vm->queues.counted, 0))
            count_queues(v, qids, m);
        next->now_ns = b->now_ns; /* one reading of the clock a call */
        struct batch *done = b;
        b = next;
        next = done;
    }
}

static __attribute__((noinline)) uint16_t steer_special(const struct view *v, const struct flowq_pkt *pkt)
{
    struct batch b;
    uint16_t qid;
    b.now_ns = 0;
    narrow.see(v, pkt, 1, true, 0, &b);
    steer_batch(&narrow, v, &b, 1, &qid);
    return qid;
}

/* One packet: the same stages, and no batch if it is plain. */
static inline __attribute__((always_inline)) uint16_t steer_single(const struct view v, const struct flowq_pkt *pkt)
{
    uint64_t word[5];
    uint32_t qid;
    uint8_t reason = FLOWQ_REASON_BOUND;
    enum plain plain = parse_fast(pkt, v.udp_filter, false, word);
    if (plain == PLAIN_NOT) {
        const struct view whole = v;
        return steer_special(&whole, pkt);
    }
    uint64_t hash = hash_plain(v, plain, word);
    if (not_at_home(v, line_of(v, hash), &hash, &qid, line_home) || !queue_in(v.in_use, qid)) {
        const struct view whole = v;
        qid = answer_odd(&whole, ODD_NOT, hash, &reason);
    }
    tally_add(&v.tally, STAT_STEER + reason, 1);
    return (uint16_t)qid;
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
    uint16_t qid;
    uint8_t reason;
    if (is_ruled(vm) && rss_steer(vm, thread, pkts, n, qids, NULL))
        return;
    if (one_for_all(vm, thread, n, &qid, &reason)) {
        for (size_t i = 0; i < n; i++)
            qids[i] = qid;
        return;
    }
    enter(thread);
    const struct view v = view_of(vm, caller_of(thread));
    steer_batches(&v, pkts, n, qids, NULL);
    leave(thread);
    if (__builtin_expect(vm->queues.counted, 0))
        count_queues(&v, qids, n);
}

static void decide_all(struct flowq_vm *vm, struct thread *thread, const struct flowq_pkt *pkts, size_t n,
                       struct flowq_decision *out)
{
    struct flowq_decision same = {.qid = 0};
    uint16_t qids[BATCH];
    if (one_for_all(vm, thread, n, &same.qid, &same.reason)) {
        for (size_t i = 0; i < n; i++)
            out[i] = same;
        return;
    }
    enter(thread);
    const struct view v = view_of(vm, caller_of(thread));
    steer_batches(&v, pkts, n, qids, out);
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
    const struct instance *is = best();
    enter(thread);
    for (size_t i = 0; i < n; i += BATCH) {
        unsigned m = batch_size(n, i);
        if (all_alike(vms + i, m))
            flowq_rx_steer_burst(vms[i], pkts + i, m, qids + i);
        else if (thread)
            is->mixed(thread, vms + i, pkts + i, m, qids + i);
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
    find_sent(v, &sent, line_home);
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
    const struct instance *is = best();
    for (size_t i = 0; i < n; i += BATCH) {
        /* A section for each batch: what one makes grow cannot grow again while that is open (T-F), and bursts may be long. */
        thread_enter(thread);
        struct view v = view_of(vm, caller_of(thread));
        is->note(&v, &c, pkts + i, batch_size(n, i));
        thread_leave(thread);
        tidy(vm);
    }
}
