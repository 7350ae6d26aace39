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
 * packets whose flow is in its home line, bound to a queue in use, take no branch that depends on where; all others are marked
 * ("odd") and worked off one by one afterwards. A single call takes a plain packet through the same functions without a batch,
 * and any other as a batch of one. Steering writes nothing but the fragment cache and counters.
 */
#include "answer.h"

#include "probe.h"
#include "require.h"
#include "rss.h"

/* ---- Steering: the stages -------------------------------------------------------------------------------------------------- */

typedef unsigned run_fn(const struct view *v, const struct flowq_pkt *pkts, unsigned at, unsigned n, struct batch *b);

/* A batch that is not the burst's last one has `n_next` packets behind it, whose first headers are fetched; the first one fetches
   its own, too. */
static inline __attribute__((always_inline)) void see(const struct view *v, const struct flowq_pkt *pkts, unsigned n, bool first,
                                                      unsigned n_next, struct batch *b, run_fn *run_v4, run_fn *run_v6)
{
    b->pkts = pkts;
    b->n_special = 0;
    b->quotes = 0;
    b->special_at = 0;
    b->idle = 0;
    memset(b->odd_kind, ODD_NOT, sizeof(b->odd_kind));
    const bool row = in_a_row(pkts, n);
    if (first && !row)
        fetch_first_headers(pkts, n);
    for (unsigned i = 0; i < n;) {
        unsigned end = row ? n : fetch_next_headers(pkts, i, n);
        while (i < end && (i = run_v4(v, pkts, i, end, b)) < end) {
            unsigned others = run_v6(v, pkts, i, end, b);
            i = others > i ? others : sight_specials(v, pkts, i, n, b);
        }
    }
    if (n_next && !in_a_row(pkts + n, n_next))
        fetch_first_headers(pkts + n, n_next);
}

/* Finds the flows that are at home, but whose queue is not in use: they are odd, too. */
static __attribute__((noinline)) uint32_t with_idle(const struct view *v, struct batch *b, unsigned n, const uint16_t *qids,
                                                    uint32_t odd)
{
    uint32_t idle = 0;
    for (unsigned i = 0; i < n; i++)
        idle |= queue_in(v->in_use, qids[i]) ? 0 : odd_bit(i);
    b->idle = idle & ~odd;
    return odd | idle;
}

/* Looks at the line of each packet; qids of the others than those returned are right. Which queues are not in use is asked for
   all at once, where they are few. */
static inline __attribute__((always_inline)) uint32_t look(const struct view *v, struct batch *b, unsigned n, uint16_t *qids,
                                                           home_fn *home)
{
    const struct view view = *v;
    uint64_t queues = 0;
    uint32_t odd = 0, all_qids = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct sighting *s = &b->seen[i];
        const struct line *line = s->line;
        uint32_t qid;
        uint64_t all_if_odd = all_if(not_at_home(view, line, &s->hash, &qid, home));
        qids[i] = (uint16_t)qid;
        odd = 2 * odd - (uint32_t)all_if_odd;
        queues |= UINT64_C(1) << qid % 64;
        all_qids |= qid;
        fetch_second(view.line_mask, line, s->hash, all_if_odd);
    }
    odd <<= BATCH - n;
    if (__builtin_expect(all_qids > 63 || (queues & ~u64_load_relaxed(&view.in_use[0])) != 0, 0))
        return with_idle(v, b, n, qids, odd);
    return odd;
}

/* ---- Noting: the stages ---------------------------------------------------------------------------------------------------- */

static void count(const struct flowq_vm *vm, const struct note_context *c, uint32_t outcome, size_t n)
{
    tally_add(&c->tally, STAT_NOTE + outcome, n);
    if (queues_counted(&vm->queues) && outcome <= FLOWQ_NOTE_MOVED)
        tally_bump(&c->tally, &vm_counters(vm, &c->tally)[c->qid].noted, n);
}

/* Looks at the packet's line, which is prefetched by now. Returns what would change. */
static inline __attribute__((always_inline)) uint64_t find_sent(const struct view v, const struct note_context *c, struct sent *s,
                                                                home_fn *home)
{
    atomic_u64 *slot = &s->line->word[home(s->line, &s->hash, v.tag_mask)];
    uint64_t word = u64_load_relaxed(slot), change = note_change(c, v.tag_mask, s->hash, s->flags, word); /* T-C */
    s->slot = slot;
    s->word = word;
    s->change = change;
    return change;
}

/* The packets that change something, or may. */
static inline __attribute__((always_inline)) uint32_t look_sent(const struct view *v, const struct note_context *c,
                                                                struct sent *sent, unsigned n, home_fn *home)
{
    const struct view view = *v;
    uint32_t odd = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct sent *s = &sent[i];
        uint64_t change = find_sent(view, c, &sent[i], home);
        odd = 2 * odd - (uint32_t)all_if(change);
        if (__builtin_expect(change >> 32 != 0, 0)) /* another tag, mostly: not at home */
            fetch_second(view.line_mask, s->line, s->hash, UINT64_MAX);
    }
    return odd << (BATCH - n);
}

static bool sent_missed(const struct sent *s) { return s->slot == &s->line->service; }

/* A packet whose flow is not simply where it was found. */
static __attribute__((noinline)) uint32_t note_odd(const struct flowq_vm *vm, const struct note_context *c,
                                                   const struct flowq_pkt *pkt, const struct sent *s)
{
    if (s->flags == NOTE_NOTHING)
        return s->outcome;
    const enum note_kind kind = note_strongest(s->flags);
    uint32_t spread = note_begins(kind) ? sight_sent_spread(vm, pkt) : 0;
    if (sent_missed(s))
        return note_missed(c, s->line, s->hash, spread, kind);
    return note_flow(c, s->hash, spread, kind);
}

/* What was found is only where to look first: others may have changed it, earlier packets of the same batch, too. */
static inline __attribute__((always_inline)) uint32_t note_sent(const struct flowq_vm *vm, const struct note_context *c,
                                                                const struct flowq_pkt *pkt, const struct sent *s,
                                                                uint64_t in_place)
{
    uint64_t word = s->word, change = s->change;
    if (change & ~in_place)
        return note_odd(vm, c, pkt, s);
    if (change == 0 && u64_load_relaxed(s->slot) == word)
        return FLOWQ_NOTE_REFRESHED;
    if (!u64_cas(s->slot, &word, word ^ change))
        return note_odd(vm, c, pkt, s);
    return change >> WORD_QUEUE_SHIFT ? FLOWQ_NOTE_MOVED : FLOWQ_NOTE_REFRESHED;
}

/* In order, from the first packet on that changes something: what one changes in the table the next one finds. */
static __attribute__((noinline)) void note_changes(const struct view *v, const struct note_context *c,
                                                   const struct flowq_pkt *pkts, const struct sent *sent, unsigned first,
                                                   unsigned n)
{
    const uint64_t in_place = note_in_place(c);
    size_t usual[FLOWQ_NOTE_MOVED + 1] = {0};
    for (const struct sent *s = sent + first; s != sent + n; s++)
        if (sent_missed(s) && s->flags != NOTE_NOTHING)
            __builtin_prefetch(line_head(&v->vm->table, s->line, s->hash));
    for (const struct sent *s = sent + first; s != sent + n; s++) {
        uint32_t outcome = note_sent(v->vm, c, pkts + (s - sent), s, in_place);
        if (outcome <= FLOWQ_NOTE_MOVED)
            usual[outcome]++;
        else
            count(v->vm, c, outcome, 1);
    }
    for (uint32_t outcome = 0; outcome <= FLOWQ_NOTE_MOVED; outcome++)
        if (usual[outcome])
            count(v->vm, c, outcome, usual[outcome]);
}

/* How many packets, from the first one on, change nothing. The odd ones among these are in their second line. */
static unsigned unchanged(const struct note_context *c, const struct sent *sent, uint32_t odd, unsigned n)
{
    for (; odd; odd &= ~odd_bit(odd_first(odd))) {
        const struct sent *s = &sent[odd_first(odd)];
        if (!sent_missed(s) || !note_unchanged_away(c, s->line, s->hash, s->flags))
            return odd_first(odd);
    }
    return n;
}

typedef unsigned sent_fn(const struct view *v, const struct flowq_pkt *pkts, unsigned at, unsigned n, struct sent *sent);
typedef uint32_t look_sent_fn(const struct view *v, const struct note_context *c, struct sent *sent, unsigned n);

static inline __attribute__((always_inline)) void note_stages(const struct view *v, const struct note_context *c,
                                                              const struct flowq_pkt *pkts, unsigned n, sent_fn *sent_v4,
                                                              sent_fn *sent_v6, look_sent_fn *look_at)
{
    struct sent sent[BATCH];
    const bool row = in_a_row(pkts, n);
    if (!row)
        fetch_first_headers(pkts, n);
    for (unsigned i = 0; i < n;) {
        unsigned end = row ? n : fetch_next_headers(pkts, i, n);
        while (i < end && (i = sent_v4(v, pkts, i, end, sent)) < end) {
            unsigned others = sent_v6(v, pkts, i, end, sent);
            i = others > i ? others : sight_sent_specials(v, pkts, i, n, sent);
        }
    }
    uint32_t odd = look_at(v, c, sent, n);
    unsigned first = odd ? unchanged(c, sent, odd, n) : n;
    if (first)
        count(v->vm, c, FLOWQ_NOTE_REFRESHED, first);
    if (first < n)
        note_changes(v, c, pkts, sent, first, n);
}

/* ---- With the instructions every machine has, and with wider ones: chosen once per burst ----------------------------------- */

/* Each loop is a function of its own, so that it has all registers to itself. */
struct instance {
    void (*see)(const struct view *v, const struct flowq_pkt *pkts, unsigned n, bool first, unsigned n_next, struct batch *b);
    uint32_t (*look)(const struct view *v, struct batch *b, unsigned n, uint16_t *qids);
    uint32_t (*answer_missed)(const struct view *v, struct batch *b, uint32_t missed, uint16_t *qids);
    void (*answer_each)(const struct view *v, struct batch *b, uint32_t odd, uint16_t *qids);
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
    OWN_FUNCTION attributes uint32_t look_##name(const struct view *v, struct batch *b, unsigned n, uint16_t *qids)              \
    {                                                                                                                            \
        return look(v, b, n, qids, home);                                                                                        \
    }                                                                                                                            \
    OWN_FUNCTION attributes uint32_t answer_missed_##name(const struct view *v, struct batch *b, uint32_t missed,                \
                                                          uint16_t *qids)                                                        \
    {                                                                                                                            \
        return answer_missed(v, b, missed, qids, match);                                                                         \
    }                                                                                                                            \
    OWN_FUNCTION attributes void answer_each_##name(const struct view *v, struct batch *b, uint32_t odd, uint16_t *qids)         \
    {                                                                                                                            \
        answer_each(&(struct receivers){.one = v}, b, odd, qids, match);                                                         \
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
    OWN_FUNCTION attributes uint32_t look_sent_##name(const struct view *v, const struct note_context *c, struct sent *sent,     \
                                                      unsigned n)                                                                \
    {                                                                                                                            \
        return look_sent(v, c, sent, n, home);                                                                                   \
    }                                                                                                                            \
    OWN_FUNCTION attributes void note_##name(const struct view *v, const struct note_context *c, const struct flowq_pkt *pkts,   \
                                             unsigned n)                                                                         \
    {                                                                                                                            \
        note_stages(v, c, pkts, n, sent_v4_##name, sent_v6_##name, look_sent_##name);                                            \
    }                                                                                                                            \
    static const struct instance name = {see_##name, look_##name, answer_missed_##name, answer_each_##name, note_##name};

INSTANCE(narrow, , line_home, line_match)
#ifdef PROBE_X86
INSTANCE(wide, __attribute__((target("avx2,bmi,bmi2"))), line_home_avx2, line_match_avx2)
#endif

bool steer_narrow;

bool steer_is_wide(void)
{
#ifdef PROBE_X86
    return !steer_narrow && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
#else
    return false;
#endif
}

#ifndef PROBE_X86
#define wide narrow
#endif

static const struct instance *best(void) { return steer_is_wide() ? &wide : &narrow; }

/* ---- Steering: the calls --------------------------------------------------------------------------------------------------- */

/* Counts n packets with the same answer by queue, where that is asked for. */
static inline void count_steered(const struct flowq_vm *vm, const struct tally *tally, uint32_t qid, size_t n)
{
    if (queues_counted(&vm->queues) && qid != FLOWQ_DROP)
        tally_bump(tally, &vm_counters(vm, tally)[qid].steered, n);
}

static __attribute__((noinline)) void answer_all(struct flowq_vm *vm, const struct thread *thread, size_t n, uint32_t summary,
                                                 uint16_t *qid, uint8_t *reason)
{
    struct tally tally = stats_tally(&vm->stats, thread);
    *qid = queues_lowest(summary);
    *reason = *qid == FLOWQ_DROP ? FLOWQ_REASON_DROP : FLOWQ_REASON_SINGLE;
    tally_add(&tally, STAT_STEER + *reason, n);
    count_steered(vm, &tally, *qid, n);
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

/* Four answers a store. */
static void fill(uint16_t *qids, size_t n, uint16_t qid)
{
    const uint64_t four = qid * UINT64_C(0x0001000100010001);
    for (; n >= 4; n -= 4, qids += 4)
        memcpy(qids, &four, sizeof(four));
    while (n > 0)
        qids[--n] = qid;
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

/* Answers a batch that has been sighted, and counts. */
static inline void steer_batch(const struct instance *is, const struct view *v, struct batch *b, unsigned n, uint16_t *qids)
{
    uint32_t odd = is->look(v, b, n, qids);
    uint32_t quotes = b->quotes & ~odd, others = odd | quotes;
    if (others) {
        uint32_t missed = odd & ~(b->special_at | b->idle);
        n -= (unsigned)__builtin_popcount(others);
        if (missed)
            odd ^= missed ^ is->answer_missed(v, b, missed, qids);
    }
    if (odd || b->n_special)
        is->answer_each(v, b, odd, qids);
    if (__builtin_expect(quotes != 0, 0))
        answer_quotes(v, b, quotes);
    tally_add(&v->tally, STAT_STEER + FLOWQ_REASON_BOUND, n);
}

/* All batches of a burst. Where `out` is not NULL, qids has room for one batch, and the decisions go there. */
static inline __attribute__((always_inline)) void steer_batches(const struct view *v, const struct flowq_pkt *pkts, size_t n,
                                                                uint16_t *qids, struct flowq_decision *out)
{
    const struct instance *is = best();
    struct batch two[2], *b = &two[0], *next = &two[1];
    if (n == 0)
        return;
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
        if (out && queues_counted(&v->vm->queues))
            answer_count(v, qids, m);
        next->now_ns = b->now_ns; /* one reading of the clock a call */
        struct batch *done = b;
        b = next;
        next = done;
    }
}

void flowq_rx_steer_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, uint16_t *qids)
{
    require(vm && (n == 0 || (pkts && qids)));
    struct thread *thread = thread_self();
    uint16_t qid;
    uint8_t reason;
    if (queues_ruled(&vm->queues) && rss_steer(vm, thread, pkts, n, qids, NULL))
        return;
    if (one_for_all(vm, thread, n, &qid, &reason)) {
        fill(qids, n, qid);
        return;
    }
    enter(thread);
    const struct view v = view_of(vm, caller_of(thread));
    steer_batches(&v, pkts, n, qids, NULL);
    leave(thread);
    if (queues_counted(&vm->queues))
        answer_count(&v, qids, n);
}

static __attribute__((noinline)) uint16_t steer_odd(struct flowq_vm *vm, const struct thread *thread, const struct flowq_pkt *pkt,
                                                    uint64_t hash)
{
    const struct view v = view_of(vm, caller_of(thread));
    uint8_t reason;
    uint16_t qid = answer_odd(&v, ODD_NOT, hash, pkt, NULL, &reason);
    tally_add(&v.tally, STAT_STEER + reason, 1);
    return qid;
}

/* A plain packet, alone: the same stages without a batch, out of the vm's first cache line. */
static inline uint16_t steer_plain(struct flowq_vm *vm, struct thread *thread, const struct flowq_pkt *pkt, uint64_t hash)
{
    const struct tally tally = stats_tally(&vm->stats, thread);
    uint32_t qid;
    thread_enter(thread);
    if (__builtin_expect(not_answered(vm, line_in(vm, hash), &hash, &qid, line_home_of) != 0, 0))
        qid = steer_odd(vm, thread, pkt, hash);
    else
        tally_add(&tally, STAT_STEER + FLOWQ_REASON_BOUND, 1);
    thread_leave(thread);
    count_steered(vm, &tally, qid, 1);
    return (uint16_t)qid;
}

uint16_t flowq_rx_steer(struct flowq_vm *vm, const struct flowq_pkt *pkt)
{
    require(vm && pkt);
    struct thread *thread = thread_self();
    uint64_t word[5];
    uint16_t qid;
    if (thread && queues_by_flow(&vm->queues)) {
        enum plain plain = parse_fast(pkt, u64_load_relaxed(&vm->udp_filter), false, word);
        if (plain != PLAIN_NOT)
            return steer_plain(vm, thread, pkt, hash_plain(vm, plain, word));
    }
    flowq_rx_steer_burst(vm, pkt, 1, &qid);
    return qid;
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
    require(vm && (n == 0 || (pkts && out)));
    struct thread *thread = thread_self();
    if (queues_ruled(&vm->queues) && rss_steer(vm, thread, pkts, n, NULL, out))
        return;
    decide_all(vm, thread, pkts, n, out);
    if (ptr_load_acquire(&vm->virtio.reports) != NULL)
        rss_add_reports(vm, thread, pkts, n, out);
}

/* ---- Noting: the calls ----------------------------------------------------------------------------------------------------- */

static struct note_context context_of(struct flowq_vm *vm, const struct tally *tally, uint32_t qid, uint32_t *tries_left)
{
    struct note_context c = {
        .table = &vm->table,
        .queues = &vm->queues,
        .implied = &vm->implied,
        .tally = *tally,
        .ages = vm_ages(vm),
        .now_ns = vm_now(vm),
        .qid = qid,
        .rebind_tcp = u32_load_relaxed(&vm->settings.rebind_tcp),
        .rebind_other = u32_load_relaxed(&vm->settings.rebind_other),
        .tries_left = tries_left,
    };
    c.idle = word_make(0, qid, note_tick(&c), 0);
    return c;
}

/* What can be said without a look at the packets (S0, S1), or TO_THE_TABLE. */
static uint32_t without_a_look(const struct flowq_vm *vm, const struct thread *thread, uint32_t qid)
{
    if (u8_load_relaxed(&vm->settings.no_learn))
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
    require(vm && pkt);
    struct thread *thread = thread_self();
    struct tally tally = stats_tally(&vm->stats, thread);
    uint32_t outcome = without_a_look(vm, thread, qid);
    if (outcome != TO_THE_TABLE) {
        tally_add(&tally, STAT_NOTE + outcome, 1);
        return outcome;
    }
    uint32_t tries_left = TABLE_TRIES;
    struct note_context c = context_of(vm, &tally, qid, &tries_left);
    mark_noted(vm, &c);
    thread_enter(thread);
    const struct view v = view_of(vm, caller_of(thread));
    struct sent sent;
    sight_sent(v, pkt, &sent);
    find_sent(v, &c, &sent, line_home);
    outcome = note_sent(vm, &c, pkt, &sent, note_in_place(&c));
    thread_leave(thread);
    count(vm, &c, outcome, 1);
    tidy(vm);
    return outcome;
}

void flowq_tx_note_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, uint32_t qid)
{
    require(vm && (n == 0 || pkts));
    struct thread *thread = thread_self();
    struct tally tally = stats_tally(&vm->stats, thread);
    uint32_t outcome = without_a_look(vm, thread, qid);
    if (n == 0)
        return;
    if (outcome != TO_THE_TABLE) {
        tally_add(&tally, STAT_NOTE + outcome, n);
        return;
    }
    uint32_t tries_left = TABLE_TRIES;
    struct note_context c = context_of(vm, &tally, qid, &tries_left);
    mark_noted(vm, &c);
    const struct instance *is = best();
    for (size_t i = 0; i < n; i += BATCH) {
        /* A section for each batch: bursts may be long, and what one supersedes cannot be freed while it is open. */
        thread_enter(thread);
        struct view v = view_of(vm, caller_of(thread));
        is->note(&v, &c, pkts + i, batch_size(n, i));
        thread_leave(thread);
        tidy(vm);
    }
}
