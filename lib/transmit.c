/*
 * transmit: the way of a packet that the VM sends; the first stages are those of steer.c, the last one is note.h.
 *
 *     frame -> pkt -> parse -> key, reversed -> hash -> table: the flow is bound to the queue
 */
#include "vm.h"

#include "parse_fast.h"

#define BATCH 32

/* A packet on its way into the table, or the reason why it does not go there. */
struct sent {
    uint64_t hash;
    uint8_t kind;    /* enum note_kind */
    uint8_t outcome; /* FLOWQ_NOTE_*, or TO_THE_TABLE */
};
enum { TO_THE_TABLE = 0xff };

/* Rule S7, but for what only the table knows. */
static uint8_t never_learned(const struct parse_result *r)
{
    if (r->kind == PARSE_KEYLESS)
        return FLOWQ_NOTE_KEYLESS;
    if (r->flags & PARSE_MULTICAST)
        return FLOWQ_NOTE_MULTICAST;
    if (r->kind == PARSE_LATER)
        return FLOWQ_NOTE_FRAGMENT;
    if (r->flags & PARSE_ICMP_ERROR)
        return FLOWQ_NOTE_ICMP_ERROR;
    return TO_THE_TABLE;
}

static __attribute__((noinline)) struct sent sight_special(const struct flowq_vm *vm, const struct flowq_pkt *pkt)
{
    struct parse_rules rules = vm_parse_rules(vm);
    struct parse_result r;
    parse_packet(pkt, &rules, &r);
    struct sent s = {.outcome = never_learned(&r)};
    if (s.outcome != TO_THE_TABLE)
        return s;
    key_reverse(&r.key);
    s.hash = hash_key(&vm->secret, &r.key);
    s.kind = (uint8_t)note_kind_of(key_l4(&r.key).protocol, r.flags);
    return s;
}

static inline struct sent sight(const struct flowq_vm *vm, const struct flowq_pkt *pkt, uint64_t udp_filter)
{
    uint64_t word[5];
    enum plain plain = parse_fast(pkt, udp_filter, true, word);
    if (plain == PLAIN_NOT)
        return sight_special(vm, pkt);
    return (struct sent){
        .hash = plain == PLAIN_V4 ? hash_words2(&vm->secret, word) : hash_words5(&vm->secret, word),
        .kind = (uint8_t)note_kind_fast(pkt, plain, word),
        .outcome = TO_THE_TABLE,
    };
}

static uint32_t finish(const struct note_context *c, const struct sent *s)
{
    return s->outcome == TO_THE_TABLE ? note_flow(c, s->hash, s->kind) : s->outcome;
}

static struct note_context context_of(struct flowq_vm *vm, const struct tally *tally, uint32_t qid)
{
    return (struct note_context){
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

static void count(const struct flowq_vm *vm, const struct note_context *c, uint32_t outcome)
{
    tally_add(&c->tally, STAT_NOTE + outcome, 1);
    if (__builtin_expect(vm->counted != NULL, 0) && outcome <= FLOWQ_NOTE_MOVED)
        tally_bump(&c->tally, &vm_counters(vm, &c->tally)[c->qid].noted, 1);
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
    struct sent s = sight(vm, pkt, u64_load_relaxed(&vm->settings.udp_filter));
    outcome = finish(&c, &s);
    thread_leave(thread);
    count(vm, &c, outcome);
    tidy(vm);
    return outcome;
}

static void note_batch(struct flowq_vm *vm, const struct note_context *c, const struct flowq_pkt *pkts, size_t n, uint64_t udp_filter)
{
    struct sent sent[BATCH];
    for (size_t i = 0; i < n; i++) {
        sent[i] = sight(vm, &pkts[i], udp_filter);
        __builtin_prefetch(&table_shard(&vm->table, sent[i].hash)->line[home_line(&vm->table, sent[i].hash)]);
    }
    for (size_t i = 0; i < n; i++)
        count(vm, c, finish(c, &sent[i]));
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
    uint64_t udp_filter = u64_load_relaxed(&vm->settings.udp_filter);
    thread_enter(thread);
    for (size_t i = 0; i < n; i += BATCH)
        note_batch(vm, &c, pkts + i, n - i < BATCH ? n - i : BATCH, udp_filter);
    thread_leave(thread);
    tidy(vm);
}
