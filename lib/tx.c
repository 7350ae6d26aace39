/*
 * tx: packets that the VM sends, from the calls to the table: each binds its flow to the queue that the VM named.
 *
 *     frame -> pkt -> parse -> key, reversed -> hash -> table
 *
 *     parse     as for packets that go to the VM (rx.c), but that the key is reversed (S3), and that the packet's kind is kept:
 *               what its TCP flags say of the flow; or why it is never learned (S7)
 *     find      the flow's word in its home line, and what of it the note would change: mostly nothing
 *     note      the packets that change something, in order: one compare-and-swap, or note.c
 *
 * The loops of the first two are in loops_each.h, the rules of what becomes of a flow in note.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "loops.h"
#include "probes.h"
#include "require.h"

static uint32_t tx_without_a_look(const struct flowq_vm *vm, const struct thread *thread, uint32_t qid);
static struct note_context tx_context(struct flowq_vm *vm, const struct tally *tally, uint32_t qid, uint32_t *tries_left);
static inline void tx_batch(const struct loops *loops, const struct vm_view *v, const struct note_context *c,
                            const struct flowq_pkt *pkts, unsigned n);
static void tx_mark_noted(const struct flowq_vm *vm, const struct note_context *c);
static void tx_reclaim(struct flowq_vm *vm);

void flowq_tx_note_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, uint32_t qid)
{
    require(vm && (n == 0 || pkts));
    struct thread *thread = thread_self();
    struct tally tally = stats_tally(&vm->stats, thread);
    uint32_t outcome = tx_without_a_look(vm, thread, qid);
    if (n == 0)
        return;
    if (outcome != NOTE_TO_THE_TABLE) {
        tally_add(&tally, STAT_NOTE + outcome, n);
        return;
    }
    uint32_t tries_left = TABLE_TRIES;
    struct note_context c = tx_context(vm, &tally, qid, &tries_left);
    tx_mark_noted(vm, &c);
    const struct loops *loops = loops_best();
    for (size_t i = 0; i < n; i += BATCH) {
        /* A section for each batch: bursts may be long, and what one supersedes cannot be freed while it is open. */
        thread_enter(thread);
        struct vm_view v = vm_view_of(vm, caller_of(thread));
        tx_batch(loops, &v, &c, pkts + i, batch_size(n, i));
        thread_leave(thread);
        tx_reclaim(vm);
    }
}

/* ---- What goes before and after -------------------------------------------------------------------------------------------- */

/* What can be said without a look at the packets (S0, S1), or NOTE_TO_THE_TABLE. */
static uint32_t tx_without_a_look(const struct flowq_vm *vm, const struct thread *thread, uint32_t qid)
{
    if (u8_load_relaxed(&vm->settings.no_learn))
        return FLOWQ_NOTE_OFF;
    if (qid >= vm->queues.max || !queue_in_use(&vm->queues, qid))
        return FLOWQ_NOTE_NOT_IN_USE;
    if (queues_n(u32_load_acquire(&vm->queues.summary)) <= 1)
        return FLOWQ_NOTE_SINGLE;
    return thread ? NOTE_TO_THE_TABLE : FLOWQ_NOTE_UNREGISTERED;
}

static struct note_context tx_context(struct flowq_vm *vm, const struct tally *tally, uint32_t qid, uint32_t *tries_left)
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

/* For "distinct queues noted lately"; writes once a tick. */
static void tx_mark_noted(const struct flowq_vm *vm, const struct note_context *c)
{
    atomic_u32 *noted = &vm->noted[c->qid];
    if (u32_load_relaxed(noted) != note_tick(c) + 1)
        u32_store_relaxed(noted, note_tick(c) + 1);
}

static void tx_count(const struct flowq_vm *vm, const struct note_context *c, uint32_t outcome, size_t n)
{
    tally_add(&c->tally, STAT_NOTE + outcome, n);
    vm_count_noted(vm, &c->tally, c->qid, outcome, n);
}

/* After the section: what this or other notes superseded may be free to go. */
static void tx_reclaim(struct flowq_vm *vm)
{
    if (__builtin_expect(table_has_retired(&vm->table), 0))
        table_reclaim(&vm->table);
}

/* ---- Packets that change something ----------------------------------------------------------------------------------------- */

static bool tx_missed(const struct batch_sent *s) { return s->slot == &s->lookup.line->service; }

/* A packet whose flow is not simply where it was found. */
static __attribute__((noinline)) uint32_t tx_note_general(const struct flowq_vm *vm, const struct note_context *c,
                                                          const struct flowq_pkt *pkt, const struct batch_sent *s)
{
    if (s->flags == NOTE_NOTHING)
        return s->outcome;
    const enum note_kind kind = note_strongest(s->flags);
    uint32_t spread = note_begins(kind) ? special_tx_spread(vm, pkt) : 0;
    if (tx_missed(s))
        return note_missed(c, s->lookup.line, s->lookup.hash, spread, kind);
    return note_flow(c, s->lookup.hash, spread, kind);
}

/* What was found is only where to look first: others may have changed it, earlier packets of the same batch, too. */
static inline __attribute__((always_inline)) uint32_t tx_note(const struct flowq_vm *vm, const struct note_context *c,
                                                              const struct flowq_pkt *pkt, const struct batch_sent *s,
                                                              uint64_t in_place)
{
    uint64_t word = s->word, change = s->change;
    if (change & ~in_place)
        return tx_note_general(vm, c, pkt, s);
    if (change == 0 && u64_load_relaxed(s->slot) == word)
        return FLOWQ_NOTE_REFRESHED;
    if (!u64_cas(s->slot, &word, word ^ change))
        return tx_note_general(vm, c, pkt, s);
    if (!(change >> WORD_QUEUE_SHIFT))
        return FLOWQ_NOTE_REFRESHED;
    PROBE(flow__moved, PROBE_TABLE(c->table), PROBE_FLOW(c->table, word), word_queue(c->table, word), c->qid);
    return FLOWQ_NOTE_MOVED;
}

/* In order, from the first packet on that changes something: what one changes in the table the next one finds. */
static __attribute__((noinline)) void tx_note_from(const struct vm_view *v, const struct note_context *c,
                                                   const struct flowq_pkt *pkts, const struct batch_sent *sent, unsigned first,
                                                   unsigned n)
{
    const uint64_t in_place = note_in_place(c);
    size_t usual[FLOWQ_NOTE_MOVED + 1] = {0};
    for (const struct batch_sent *s = sent + first; s != sent + n; s++)
        if (tx_missed(s) && s->flags != NOTE_NOTHING)
            __builtin_prefetch(line_head(&v->vm->table, s->lookup.line, s->lookup.hash));
    for (const struct batch_sent *s = sent + first; s != sent + n; s++) {
        uint32_t outcome = tx_note(v->vm, c, pkts + (s - sent), s, in_place);
        if (outcome <= FLOWQ_NOTE_MOVED)
            usual[outcome]++;
        else
            tx_count(v->vm, c, outcome, 1);
    }
    for (uint32_t outcome = 0; outcome <= FLOWQ_NOTE_MOVED; outcome++)
        if (usual[outcome])
            tx_count(v->vm, c, outcome, usual[outcome]);
}

/* How many packets, from the first one on, change nothing. Those in `changes` that do not either are in their second line. */
static unsigned tx_unchanged(const struct note_context *c, const struct batch_sent *sent, uint32_t changes, unsigned n)
{
    for (; changes; changes &= ~batch_bit(batch_first(changes))) {
        const struct batch_sent *s = &sent[batch_first(changes)];
        if (!tx_missed(s) || !note_unchanged_second(c, s->lookup.line, s->lookup.hash, s->flags))
            return batch_first(changes);
    }
    return n;
}

/* ---- A batch, and one packet ----------------------------------------------------------------------------------------------- */

static inline void tx_batch(const struct loops *loops, const struct vm_view *v, const struct note_context *c,
                            const struct flowq_pkt *pkts, unsigned n)
{
    struct batch_sent sent[BATCH];
    loops->tx_parse(v, pkts, n, sent);
    uint32_t changes = loops->tx_find(v, c, sent, n);
    unsigned first = changes ? tx_unchanged(c, sent, changes, n) : n;
    if (first)
        tx_count(v->vm, c, FLOWQ_NOTE_REFRESHED, first);
    if (first < n)
        tx_note_from(v, c, pkts, sent, first, n);
}

static inline __attribute__((always_inline)) void tx_parse(const struct vm_view v, const struct flowq_pkt *pkt,
                                                           struct batch_sent *s)
{
    uint64_t word[5];
    enum plain plain = plain_read(pkt, v.udp_filter, true, word);
    if (plain == PLAIN_NOT) {
        const struct vm_view whole = v;
        special_tx_run(&whole, pkt, 0, 1, s);
    } else {
        uint32_t flags = note_flags_plain(pkt, plain, word); /* before anything is stored */
        lookup_begin(v, &s->lookup, vm_hash_plain(v.vm, plain, word));
        s->flags = (uint8_t)flags;
    }
}

uint32_t flowq_tx_note(struct flowq_vm *vm, const struct flowq_pkt *pkt, uint32_t qid)
{
    require(vm && pkt);
    struct thread *thread = thread_self();
    struct tally tally = stats_tally(&vm->stats, thread);
    uint32_t outcome = tx_without_a_look(vm, thread, qid);
    if (outcome != NOTE_TO_THE_TABLE) {
        tally_add(&tally, STAT_NOTE + outcome, 1);
        return outcome;
    }
    uint32_t tries_left = TABLE_TRIES;
    struct note_context c = tx_context(vm, &tally, qid, &tries_left);
    tx_mark_noted(vm, &c);
    thread_enter(thread);
    const struct vm_view v = vm_view_of(vm, caller_of(thread));
    struct batch_sent sent;
    tx_parse(v, pkt, &sent);
    (void)loops_sent_found(&c, v.tag_mask, &sent, sent.lookup.line, line_home(sent.lookup.line, &sent.lookup.hash, v.tag_mask));
    outcome = tx_note(vm, &c, pkt, &sent, note_in_place(&c));
    thread_leave(thread);
    tx_count(vm, &c, outcome, 1);
    tx_reclaim(vm);
    return outcome;
}
