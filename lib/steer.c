/*
 * steer: the way of a packet that goes to the VM; that of a packet it sends is in transmit.c.
 *
 *     frame -> pkt -> parse -> key -> hash -> table -> queue
 *
 *     sight()   what is it? parse, key, hash, and the line of the table to look at, which is prefetched
 *     answer()  the queue that the line names, or the fallback
 *
 * Bursts run each stage over up to BATCH packets before the next one, so that the table's cache misses overlap. Plain packets whose
 * flow is in its home line, bound to a queue in use, take no branch that depends on the data; all others are put on a list and
 * worked off one by one afterwards ("odd"). Single calls run the same stages on one packet.
 */
#include "vm.h"

#include "parse_fast.h"
#include "probe.h"

#define BATCH 32

/* What kind of packet, for those that are odd. */
enum odd { ODD_NOT, ODD_KEYLESS, ODD_LATER, ODD_QUOTE, ODD_SINGLE };

/* A packet that concerns the fragment cache. */
struct special {
    uint8_t at; /* in the batch */
    uint8_t n_first;
    uint64_t later, first[2]; /* hashes of datagrams; later 0: none that could be known */
};

/* What a call needs to know of the vm, loaded once: a batch sees one directory. Stages take it by value, so that the compiler keeps it
   in registers; as a pointer it would be loaded again after each store. */
struct view {
    struct flowq_vm *vm;
    const struct hash_secret *secret;
    const struct directory *directory;
    uint64_t udp_filter, tag_mask;
    uint32_t line_mask, queue_mask;
    struct tally tally;
};

struct batch {
    uint64_t hash[BATCH];
    const struct line *line[BATCH];
    uint8_t odd_kind[BATCH]; /* enum odd; starts as zero */
    uint8_t reason[BATCH];   /* FLOWQ_REASON_BOUND unless written: starts as zero, too, where anybody reads it */
    struct special special[BATCH];
    unsigned n_special;
    uint64_t now_ns; /* read with the first special packet */
};

typedef unsigned match_fn(const struct line *l, uint64_t probe, uint64_t mask);

/* thread NULL: could not be registered, so it must not look at the table, which looks empty to it. */
static inline struct view view_of(struct flowq_vm *vm, const struct thread *thread)
{
    static const struct directory empty = {.depth = 0, .shard = {(void *)table_nowhere}};
    return (struct view){
        .vm = vm,
        .directory = thread ? ptr_load_acquire(&vm->table.directory) : &empty,
        .secret = &vm->secret,
        .udp_filter = u64_load_relaxed(&vm->settings.udp_filter),
        .tag_mask = vm->table.tag_mask,
        .line_mask = vm->table.line_mask,
        .queue_mask = vm->table.queue_mask,
        .tally = stats_tally(&vm->stats, thread),
    };
}

/* ---- parse, key, hash ----------------------------------------------------------------------------------------------------------- */

static inline const struct line *line_of(const struct view v, uint64_t hash)
{
    return &directory_shard(v.directory, hash)->line[(uint32_t)hash & v.line_mask];
}

/* Whatever is not plain. What is not looked up in the table by its own key gets an empty line, and so ends up on the odd list. */
static __attribute__((noinline)) void sight_special(const struct view *v, const struct flowq_pkt *pkt, struct batch *b, unsigned at)
{
    static const uint8_t kinds[] = {[PARSE_KEYLESS] = ODD_KEYLESS, [PARSE_FLOW] = ODD_NOT, [PARSE_LATER] = ODD_LATER,
                                    [PARSE_QUOTE] = ODD_QUOTE, [PARSE_QUOTE_LATER] = ODD_LATER};
    const struct hash_secret *secret = &v->vm->secret;
    struct parse_rules rules = vm_parse_rules(v->vm);
    struct parse_result r;
    parse_packet(pkt, &rules, &r);
    if (r.kind == PARSE_QUOTE || r.kind == PARSE_QUOTE_LATER)
        key_reverse(&r.key); /* the VM sent the packet that is quoted (S6) */
    b->odd_kind[at] = kinds[r.kind];
    b->hash[at] = r.kind == PARSE_KEYLESS ? secret->tag_low : hash_key(secret, &r.key);
    b->line[at] = b->odd_kind[at] == ODD_NOT ? line_of(*v, b->hash[at]) : table_nowhere;
    if (r.n_first || b->odd_kind[at] == ODD_LATER) {
        struct special *s = &b->special[b->n_special++];
        s->at = (uint8_t)at;
        s->n_first = r.n_first;
        s->later = r.kind == PARSE_LATER ? hash_frag(secret, &r.later) : 0;
        for (unsigned i = 0; i < r.n_first; i++)
            s->first[i] = hash_frag(secret, &r.first[i]);
    }
}

/* whole: the same view, for those that are not inline. */
static inline __attribute__((always_inline)) void sight(const struct view v, const struct view *whole, const struct flowq_pkt *pkt,
                                                        struct batch *b, unsigned at)
{
    uint64_t word[5];
    enum plain plain = parse_fast(pkt, v.udp_filter, false, word);
    if (plain != PLAIN_NOT) {
        b->hash[at] = plain == PLAIN_V4 ? hash_words2(v.secret, word) : hash_words5(v.secret, word);
        b->line[at] = line_of(v, b->hash[at]);
    } else {
        sight_special(whole, pkt, b, at);
    }
    __builtin_prefetch(b->line[at]);
}

/* ---- table, queue --------------------------------------------------------------------------------------------------------------- */

/* The flow's word, from either of its lines; 0: not bound. */
static uint64_t look_again(const struct view *v, uint64_t hash)
{
    const struct table *t = &v->vm->table;
    uint64_t mask = v->tag_mask | WORD_SECONDARY, probe = hash & v->tag_mask;
    const struct line *home = line_of(*v, hash);
    uint64_t word = u64_load_acquire(&home->word[line_match(home, probe, mask)]); /* T-C */
    if ((word & mask) == probe)
        return word;
    if (!line_overflowed(home)) /* T-B */
        return 0;
    uint32_t first = home_line(t, hash);
    const struct line *second = home - first + other_line(t, hash, first);
    probe |= WORD_SECONDARY;
    word = u64_load_acquire(&second->word[line_match(second, probe, mask)]);
    return (word & mask) == probe ? word : 0;
}

static uint16_t fall_back(const struct view *v, uint64_t hash, uint8_t *reason)
{
    uint16_t qid = queue_pick(&v->vm->queues, hash_fallback(&v->vm->secret, hash));
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

/* What the first look at the line could not answer. */
static uint16_t answer_odd(const struct view *v, uint8_t kind, uint64_t hash, uint8_t *reason)
{
    const struct flowq_vm *vm = v->vm;
    if (kind == ODD_KEYLESS)
        return lowest(v, reason, FLOWQ_REASON_KEYLESS);
    if (kind == ODD_SINGLE)
        return lowest(v, reason, FLOWQ_REASON_SINGLE);
    if (kind == ODD_LATER)
        return FLOWQ_DROP; /* has its turn in answer_special() */
    uint64_t word = look_again(v, hash);
    uint32_t qid = word_queue(&vm->table, word);
    *reason = kind == ODD_QUOTE ? FLOWQ_REASON_ICMP_ERROR : FLOWQ_REASON_BOUND;
    if (word && queue_in_use(&vm->queues, qid))
        return (uint16_t)qid;
    if (word)
        tally_add(&v->tally, STAT_ELSEWHERE, 1); /* S11 */
    return fall_back(v, hash, reason);
}

/* Fragments, in the order of the batch: what one writes to the cache the next may read (S5). stride: see answer(). */
static __attribute__((noinline)) void answer_special(const struct view *views, unsigned stride, struct batch *b, uint16_t *qids)
{
    for (unsigned i = 0; i < b->n_special; i++) {
        const struct special *s = &b->special[i];
        const struct view *v = &views[s->at * stride];
        struct flowq_vm *vm = v->vm;
        unsigned at = s->at;
        uint64_t now_ns = i > 0 && stride == 0 ? b->now_ns : vm_now(vm);
        b->now_ns = now_ns;
        if (b->odd_kind[at] == ODD_LATER) {
            qids[at] = s->later ? frag_get(&vm->frags, s->later, now_ns) : FLOWQ_DROP;
            b->reason[at] = FLOWQ_REASON_FRAGMENT;
            if (qids[at] == FLOWQ_DROP || !queue_in_use(&vm->queues, qids[at]))
                qids[at] = fall_back(v, b->hash[at], &b->reason[at]);
        }
        for (unsigned f = 0; f < s->n_first; f++)
            frag_put(&vm->frags, s->first[f], qids[at], now_ns);
    }
}

/* Fills qids and b->reason. Packet i goes to the vm of views[i * stride]: stride 0 is one vm for all, 1 is one for each. */
static inline __attribute__((always_inline)) void answer(const struct view *views, unsigned stride, struct batch *b, unsigned n,
                                                         uint16_t *qids, match_fn *match)
{
    const struct view first = views[0];
    uint8_t odd[BATCH];
    unsigned n_odd = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct view v = stride ? views[i] : first;
        uint64_t probe = b->hash[i] & v.tag_mask, mask = v.tag_mask | WORD_SECONDARY;
        uint64_t word = u64_load_relaxed(&b->line[i]->word[match(b->line[i], probe, mask)]); /* T-C */
        uint32_t qid = (uint32_t)(word >> WORD_QUEUE_SHIFT) & v.queue_mask;
        unsigned even = ((word & mask) == probe) & queue_in_use(&v.vm->queues, qid);
        qids[i] = (uint16_t)qid;
        odd[n_odd] = (uint8_t)i;
        n_odd += !even;
        if (stride)
            tally_add(&v.tally, STAT_STEER + FLOWQ_REASON_BOUND, even);
    }
    for (unsigned i = 0; i < n_odd; i++) {
        unsigned at = odd[i];
        qids[at] = answer_odd(&views[at * stride], b->odd_kind[at], b->hash[at], &b->reason[at]);
    }
    if (__builtin_expect(b->n_special != 0, 0))
        answer_special(views, stride, b, qids);
    for (unsigned i = 0; i < n_odd; i++)
        tally_add(&views[odd[i] * stride].tally, STAT_STEER + b->reason[odd[i]], 1);
    if (!stride)
        tally_add(&views->tally, STAT_STEER + FLOWQ_REASON_BOUND, n - n_odd);
}

static inline __attribute__((always_inline)) void steer_stages(const struct view *v, const struct flowq_pkt *pkts, unsigned n,
                                                               uint16_t *qids, struct batch *b, match_fn *match)
{
    const struct view view = *v;
    b->n_special = 0;
    memset(b->odd_kind, ODD_NOT, n == 1 ? 1 : sizeof(b->odd_kind));
    for (unsigned i = 0; i < n; i++)
        sight(view, v, &pkts[i], b, i);
    answer(v, 0, b, n, qids, match);
}

/* ---- Wider instructions, chosen once per burst ----------------------------------------------------------------------------------- */

typedef void steer_fn(const struct view *v, const struct flowq_pkt *pkts, unsigned n, uint16_t *qids, struct batch *b);

static void steer_batch(const struct view *v, const struct flowq_pkt *pkts, unsigned n, uint16_t *qids, struct batch *b)
{
    steer_stages(v, pkts, n, qids, b, line_match);
}

#ifdef PROBE_X86
static __attribute__((target("avx2"))) void steer_batch_avx2(const struct view *v, const struct flowq_pkt *pkts, unsigned n,
                                                             uint16_t *qids, struct batch *b)
{
    steer_stages(v, pkts, n, qids, b, line_match_avx2);
}
#endif

static steer_fn *best_steer(void)
{
#ifdef PROBE_X86
    if (__builtin_cpu_supports("avx2"))
        return steer_batch_avx2;
#endif
    return steer_batch;
}

/* ---- Steering: public ------------------------------------------------------------------------------------------------------------ */

/* Counts answers by queue, where that is asked for. */
static __attribute__((noinline)) void count_queues(const struct view *v, const uint16_t *qids, size_t n)
{
    struct queue_counters *c = vm_counters(v->vm, &v->tally);
    for (size_t i = 0; i < n; i++)
        if (qids[i] != FLOWQ_DROP)
            tally_bump(&v->tally, &c[qids[i]].steered, 1);
}

/* No packet has to be looked at (S0): the answer for all of them. */
static bool one_for_all(struct flowq_vm *vm, const struct thread *thread, size_t n, uint16_t *qid, uint8_t *reason)
{
    uint32_t summary = u32_load_acquire(&vm->queues.summary);
    if (__builtin_expect(queues_n(summary) > 1, 1))
        return false;
    struct tally tally = stats_tally(&vm->stats, thread);
    *qid = queues_lowest(summary);
    *reason = *qid == FLOWQ_DROP ? FLOWQ_REASON_DROP : FLOWQ_REASON_SINGLE;
    tally_add(&tally, STAT_STEER + *reason, n);
    if (vm->counted && *qid != FLOWQ_DROP)
        tally_bump(&tally, &vm_counters(vm, &tally)[*qid].steered, n);
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

uint16_t flowq_rx_steer(struct flowq_vm *vm, const struct flowq_pkt *pkt)
{
    struct thread *thread = thread_self();
    struct batch b;
    uint16_t qid;
    if (one_for_all(vm, thread, 1, &qid, &b.reason[0]))
        return qid;
    enter(thread);
    struct view v = view_of(vm, thread);
    steer_stages(&v, pkt, 1, &qid, &b, line_match);
    leave(thread);
    if (__builtin_expect(vm->counted != NULL, 0))
        count_queues(&v, &qid, 1);
    return qid;
}

void flowq_rx_steer_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, uint16_t *qids)
{
    struct thread *thread = thread_self();
    struct batch b;
    uint16_t qid;
    if (one_for_all(vm, thread, n, &qid, &b.reason[0])) {
        for (size_t i = 0; i < n; i++)
            qids[i] = qid;
        return;
    }
    steer_fn *steer = best_steer();
    enter(thread);
    struct view v = view_of(vm, thread);
    for (size_t i = 0; i < n; i += BATCH)
        steer(&v, pkts + i, n - i < BATCH ? (unsigned)(n - i) : BATCH, qids + i, &b);
    leave(thread);
    if (__builtin_expect(vm->counted != NULL, 0))
        count_queues(&v, qids, n);
}

static void decide(const struct view *v, const struct flowq_pkt *pkts, unsigned n, struct flowq_decision *out, steer_fn *steer)
{
    struct batch b;
    uint16_t qids[BATCH];
    memset(b.reason, FLOWQ_REASON_BOUND, sizeof(b.reason));
    steer(v, pkts, n, qids, &b);
    for (unsigned i = 0; i < n; i++)
        out[i] = (struct flowq_decision){.qid = qids[i], .reason = b.reason[i]};
    if (v->vm->counted)
        count_queues(v, qids, n);
}

void flowq_rx_decide_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, struct flowq_decision *out)
{
    struct thread *thread = thread_self();
    struct flowq_decision same = {.qid = 0};
    if (one_for_all(vm, thread, n, &same.qid, &same.reason)) {
        for (size_t i = 0; i < n; i++)
            out[i] = same;
        return;
    }
    enter(thread);
    struct view v = view_of(vm, thread);
    for (size_t i = 0; i < n; i += BATCH)
        decide(&v, pkts + i, n - i < BATCH ? (unsigned)(n - i) : BATCH, out + i, best_steer());
    leave(thread);
}

/* Packets for several vms: the same stages, with a view for each packet. */
static void steer_mixed(const struct thread *thread, struct flowq_vm *const *vms, const struct flowq_pkt *pkts, unsigned n, uint16_t *qids)
{
    struct view views[BATCH];
    struct batch b;
    b.n_special = 0;
    memset(b.odd_kind, ODD_NOT, sizeof(b.odd_kind));
    for (unsigned i = 0; i < n; i++) {
        views[i] = view_of(vms[i], thread);
        if (queues_n(u32_load_acquire(&vms[i]->queues.summary)) > 1) {
            sight(views[i], &views[i], &pkts[i], &b, i);
        } else {
            b.odd_kind[i] = ODD_SINGLE;
            b.hash[i] = vms[i]->secret.tag_low;
            b.line[i] = table_nowhere;
        }
    }
    answer(views, 1, &b, n, qids, line_match);
    for (unsigned i = 0; i < n; i++)
        if (__builtin_expect(vms[i]->counted != NULL, 0))
            count_queues(&views[i], &qids[i], 1);
}

void flowq_rx_steer_burst_vms(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, size_t n, uint16_t *qids)
{
    struct thread *thread = thread_self();
    enter(thread);
    for (size_t i = 0; i < n; i += BATCH)
        steer_mixed(thread, vms + i, pkts + i, n - i < BATCH ? (unsigned)(n - i) : BATCH, qids + i);
    leave(thread);
}
