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
 * One packet, or a few, take the same ways around what a large burst prepares as in rx.c; a context for note.c is made when one
 * of them changes something, and the clock may not be read until then (vm.h, TIME).
 *
 * The loops of the first two are in loops_each.h, the rules of what becomes of a flow in note.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "loops.h"
#include "probes.h"
#include "require.h"

static uint32_t tx_one(struct flowq_vm *vm, const struct flowq_pkt *pkt, uint32_t qid);
static void tx_several(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, uint32_t qid);
static inline uint32_t tx_without_a_look(const struct flowq_vm *vm, const struct thread *thread, uint32_t qid);
static inline void tx_count(const struct flowq_vm *vm, const struct tally tally, uint32_t qid, uint32_t outcome, size_t n);
static inline bool tx_few(struct flowq_vm *vm, struct thread *thread, const struct flowq_pkt *pkts, size_t n, uint32_t qid,
                          const struct note_time time);
static void tx_burst(struct flowq_vm *vm, struct thread *thread, const struct flowq_pkt *pkts, size_t n, uint32_t qid,
                     uint64_t now_ns);

uint32_t flowq_tx_note(struct flowq_vm *vm, const struct flowq_pkt *pkt, uint32_t qid)
{
    require(vm && pkt);
    return tx_one(vm, pkt, qid);
}

void flowq_tx_note_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, uint32_t qid)
{
    require(vm && (n == 0 || pkts));
    if (n == 1)
        (void)tx_one(vm, pkts, qid);
    else
        tx_several(vm, pkts, n, qid);
}

/* A function of its own, so that a burst of one has no registers to save. */
static __attribute__((noinline)) void tx_several(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, uint32_t qid)
{
    struct thread *thread = thread_self();
    uint32_t outcome = tx_without_a_look(vm, thread, qid);
    if (n == 0)
        return;
    if (outcome != NOTE_TO_THE_TABLE) {
        tx_count(vm, stats_tally(&vm->stats, thread), qid, outcome, n);
    } else if (n > BATCH_FEW) {
        tx_burst(vm, thread, pkts, n, qid, vm_now_read(vm, thread));
    } else {
        const struct note_time time = vm_now_lately(vm, thread);
        if (!tx_few(vm, thread, pkts, n, qid, time))
            tx_burst(vm, thread, pkts, n, qid, vm_now_read_once(vm, thread, time));
    }
}

/* ---- What goes before and after -------------------------------------------------------------------------------------------- */

/* What can be said without a look at the packets (S0, S1), or NOTE_TO_THE_TABLE. */
static inline uint32_t tx_without_a_look(const struct flowq_vm *vm, const struct thread *thread, uint32_t qid)
{
    if (thread && queue_is_learned(&vm->queues, qid)) /* mostly */
        return NOTE_TO_THE_TABLE;
    if (u8_load_relaxed(&vm->settings.no_learn))
        return FLOWQ_NOTE_OFF;
    if (qid >= vm->queues.max || !queue_in_use(&vm->queues, qid))
        return FLOWQ_NOTE_NOT_IN_USE;
    if (queues_n(u32_load_acquire(&vm->queues.summary)) <= 1)
        return FLOWQ_NOTE_SINGLE;
    return thread ? NOTE_TO_THE_TABLE : FLOWQ_NOTE_UNREGISTERED;
}

/* A word on this queue, noted now, but for tag and class. */
static inline uint64_t tx_idle(const struct flowq_vm *vm, uint32_t qid, uint64_t now_ns)
{
    return word_make(0, qid, vm_tick(vm, now_ns), 0);
}

/* Field by field, as a view is filled. */
FIELDS_ARE(struct note_context, 112);
FIELDS_ARE(struct note_ages, 20);
static inline __attribute__((always_inline)) void tx_context_fill(struct note_context *c, struct flowq_vm *vm,
                                                                  const struct tally tally, uint32_t qid, uint64_t now_ns,
                                                                  uint32_t *tries_left)
{
    const uint32_t tick_shift = vm->ages.tick_shift;
    FIELD_STORE(c->table, &vm->table);
    FIELD_STORE(c->queues, &vm->queues);
    FIELD_STORE(c->implied, &vm->implied);
    FIELD_STORE(c->ordered, vm->ordered);
    FIELD_STORE(c->tally.counter, tally.counter);
    FIELD_STORE(c->tally.shared, tally.shared);
    FIELD_STORE(c->ages.tick_shift, tick_shift);
    FIELD_STORE(c->ages.embryonic, vm->ages.embryonic);
    FIELD_STORE(c->ages.closing, vm->ages.closing);
    FIELD_STORE(c->ages.idle, u32_load_relaxed(&vm->settings.idle));
    FIELD_STORE(c->ages.active, u32_load_relaxed(&vm->settings.active));
    FIELD_STORE(c->now_ns, now_ns);
    FIELD_STORE(c->idle, tx_idle(vm, qid, now_ns));
    FIELD_STORE(c->qid, qid);
    FIELD_STORE(c->rebind_tcp, u32_load_relaxed(&vm->settings.rebind_tcp));
    FIELD_STORE(c->rebind_other, u32_load_relaxed(&vm->settings.rebind_other));
    FIELD_STORE(c->tries_left, tries_left);
}

/* For "distinct queues noted lately". */
static inline bool tx_is_noted(const struct flowq_vm *vm, uint32_t qid, uint64_t now_ns)
{
    return u32_load_relaxed(&vm->noted[qid]) == vm_tick(vm, now_ns) + 1;
}

/* Writes once a tick. */
static void tx_mark_noted(const struct flowq_vm *vm, const struct note_context *c)
{
    if (!tx_is_noted(vm, c->qid, c->now_ns))
        u32_store_relaxed(&vm->noted[c->qid], note_tick(c) + 1);
}

static inline void tx_count(const struct flowq_vm *vm, const struct tally tally, uint32_t qid, uint32_t outcome, size_t n)
{
    outcome &= FLOWQ_NOTE_OUTCOME;
    tally_add(&tally, STAT_NOTE + outcome, n);
    vm_count_noted(vm, &tally, qid, outcome, n);
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
    if (__builtin_expect(c->ordered != NULL, 0))
        return note_flow(c, s->lookup.hash, special_tx_spread(vm, pkt), kind);
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
    const uint64_t in_place = v->vm->in_place;
    size_t usual[FLOWQ_NOTE_MOVED + 1] = {0};
    for (const struct batch_sent *s = sent + first; s != sent + n; s++)
        if (tx_missed(s) && s->flags != NOTE_NOTHING)
            __builtin_prefetch(line_head(&v->vm->table, s->lookup.line, s->lookup.hash));
    for (const struct batch_sent *s = sent + first; s != sent + n; s++) {
        uint32_t outcome = tx_note(v->vm, c, pkts + (s - sent), s, in_place);
        if (outcome <= FLOWQ_NOTE_MOVED)
            usual[outcome]++;
        else
            tx_count(v->vm, c->tally, c->qid, outcome, 1);
    }
    for (uint32_t outcome = 0; outcome <= FLOWQ_NOTE_MOVED; outcome++)
        if (usual[outcome])
            tx_count(v->vm, c->tally, c->qid, outcome, usual[outcome]);
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

/* A batch that was looked at. */
static inline void tx_note_all(const struct vm_view *v, const struct note_context *c, const struct flowq_pkt *pkts,
                               const struct batch_sent *sent, uint32_t changes, unsigned n)
{
    unsigned first = changes ? tx_unchanged(c, sent, changes, n) : n;
    if (first)
        tx_count(v->vm, c->tally, c->qid, FLOWQ_NOTE_REFRESHED, first);
    if (first < n)
        tx_note_from(v, c, pkts, sent, first, n);
}

/* TRAINS (loops.h), of one batch: one look for each train, if none of them changes anything. False: it is none, and nothing has
   been done. */
static inline bool tx_note_trains(const struct loops *loops, const struct vm_view *v, const struct note_context *c,
                                  const struct flowq_pkt *pkts, struct batch_sent *sent, unsigned n)
{
    uint8_t of[BATCH];
    unsigned trains = loops->tx_trains(v, pkts, n, sent, of);
    if (trains == 0)
        return false;
    if (loops->tx_find(v, c->idle, sent, trains) == 0) {
        tx_count(v->vm, c->tally, c->qid, FLOWQ_NOTE_REFRESHED, n);
        return true;
    }
    for (unsigned i = n; i-- > 0;) /* a train's place is not behind its packets' */
        sent[i] = sent[of[i]];
    tx_note_all(v, c, pkts, sent, loops->tx_find(v, c->idle, sent, n), n);
    return true;
}

/* ---- A burst --------------------------------------------------------------------------------------------------------------- */

static __attribute__((noinline)) void tx_burst(struct flowq_vm *vm, struct thread *thread, const struct flowq_pkt *pkts, size_t n,
                                               uint32_t qid, uint64_t now_ns)
{
    const struct loops *loops = loops_best();
    struct batch_sent sent[BATCH];
    uint32_t tries_left = TABLE_TRIES;
    struct note_context c;
    tx_context_fill(&c, vm, stats_tally(&vm->stats, thread), qid, now_ns, &tries_left);
    tx_mark_noted(vm, &c);
    for (size_t i = 0; i < n; i += BATCH) {
        const unsigned m = batch_size(n, i);
        struct vm_view v;
        /* A section for each batch: bursts may be long, and what one supersedes cannot be freed while it is open. */
        thread_enter(thread);
        vm_view_fill(&v, vm, caller_of(thread));
        if (!loops_are_trains(pkts + i, m) || !tx_note_trains(loops, &v, &c, pkts + i, sent, m)) {
            loops->tx_parse(&v, pkts + i, m, sent);
            tx_note_all(&v, &c, pkts + i, sent, loops->tx_find(&v, c.idle, sent, m), m);
        }
        thread_leave(thread);
        tx_reclaim(vm);
    }
}

/* ---- A few packets, all plain: as calls for one, whose looks overlap; no context unless one changes something -------------- */

/* sent: lookup and flags are there. */
static __attribute__((noinline)) void tx_few_changed(struct flowq_vm *vm, struct thread *thread, const struct flowq_pkt *pkts,
                                                     unsigned n, uint32_t qid, struct batch_sent *sent,
                                                     const struct note_time time)
{
    uint32_t tries_left = TABLE_TRIES;
    struct note_context c;
    struct vm_view v;
    vm_view_fill(&v, vm, caller_of(thread));
    tx_context_fill(&c, vm, stats_tally(&vm->stats, thread), qid, vm_now_read_once(vm, thread, time), &tries_left);
    tx_mark_noted(vm, &c);
    tx_note_all(&v, &c, pkts, sent, loops_best()->tx_find(&v, c.idle, sent, n), n);
}

/* False: one is not plain, and nothing has been done. */
static inline bool tx_few(struct flowq_vm *vm, struct thread *thread, const struct flowq_pkt *pkts, size_t n, uint32_t qid,
                          const struct note_time time)
{
    struct few few;
    thread_enter(thread);
    if (!few_begin(vm, pkts, n, true, &few)) {
        thread_leave(thread);
        return false;
    }
    const uint64_t idle = tx_idle(vm, qid, time.ns), tag_mask = vm->secret_v4.tag_mask;
    uint64_t changes = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t word = find_likely(few.home[i], &few.hash[i], tag_mask);
        changes |= note_change(idle, tag_mask, few.hash[i], few.flags[i], word);
    }
    if (__builtin_expect(changes == 0 && tx_is_noted(vm, qid, time.ns), 1)) {
        tx_count(vm, stats_tally(&vm->stats, thread), qid, FLOWQ_NOTE_REFRESHED, n);
    } else {
        struct batch_sent sent[BATCH_FEW];
        for (size_t i = 0; i < n; i++) {
            FIELD_STORE(sent[i].lookup.hash, few.hash[i]);
            FIELD_STORE(sent[i].lookup.line, few.home[i]);
            FIELD_STORE(sent[i].flags, few.flags[i]);
        }
        tx_few_changed(vm, thread, pkts, (unsigned)n, qid, sent, time);
    }
    thread_leave(thread);
    tx_reclaim(vm);
    return true;
}

/* ---- One packet ------------------------------------------------------------------------------------------------------------ */

/* One that is not plain, or changes something. found: what is known of a plain one. */
static __attribute__((noinline)) uint32_t tx_one_more(struct flowq_vm *vm, struct thread *thread, const struct flowq_pkt *pkt,
                                                      uint32_t qid, const struct note_time time, const struct lookup *found,
                                                      uint32_t flags)
{
    uint32_t tries_left = TABLE_TRIES;
    struct note_context c;
    struct batch_sent sent;
    struct vm_view v;
    if (found) {
        sent.lookup = *found;
        sent.flags = (uint8_t)flags;
    } else {
        vm_view_fill(&v, vm, caller_of(thread));
        special_tx_run(&v, pkt, 0, 1, &sent);
    }
    tx_context_fill(&c, vm, stats_tally(&vm->stats, thread), qid, vm_now_read_once(vm, thread, time), &tries_left);
    tx_mark_noted(vm, &c);
    struct line *home = sent.lookup.line;
    const uint64_t tag_mask = vm->secret_v4.tag_mask;
    (void)loops_sent_found(c.idle, tag_mask, &sent, home, line_home(home, &sent.lookup.hash, tag_mask));
    uint32_t outcome = tx_note(vm, &c, pkt, &sent, vm->in_place);
    tx_count(vm, c.tally, qid, outcome, 1);
    return outcome;
}

/* In a section, at this time: does this packet's note change nothing? Then it is counted. Out of the vm's first cache line. */
static inline bool tx_changes_nothing(struct flowq_vm *vm, const struct thread *thread, uint32_t qid, uint64_t now_ns,
                                      const struct lookup *l, uint32_t flags)
{
    const uint64_t tag_mask = vm->secret_v4.tag_mask;
    const uint64_t word = find_likely(l->line, &l->hash, tag_mask);
    if (note_change(tx_idle(vm, qid, now_ns), tag_mask, l->hash, flags, word) != 0 || !tx_is_noted(vm, qid, now_ns))
        return false;
    tx_count(vm, stats_tally(&vm->stats, thread), qid, FLOWQ_NOTE_REFRESHED, 1);
    return true;
}

/* The hash takes no section. What opens one waits for all that came before it and holds up what is behind it: so the next call's
   header is read and hashed while this one looks at its line. */
static inline uint32_t tx_plain(struct flowq_vm *vm, struct thread *thread, const struct flowq_pkt *pkt, uint32_t qid,
                                const struct note_time time, enum plain plain, const uint64_t word[5])
{
    const uint32_t flags = note_flags_plain(pkt, plain, word);
    struct lookup l = {.hash = vm_hash_plain(vm, plain, word)};
    uint32_t outcome = FLOWQ_NOTE_REFRESHED;
    thread_enter(thread);
    l.line = vm_home_line(vm, l.hash);
    if (!tx_changes_nothing(vm, thread, qid, time.ns, &l, flags))
        outcome = tx_one_more(vm, thread, pkt, qid, time, &l, flags);
    thread_leave(thread);
    return outcome;
}

static uint32_t tx_one(struct flowq_vm *vm, const struct flowq_pkt *pkt, uint32_t qid)
{
    struct thread *thread = thread_self();
    uint32_t outcome = tx_without_a_look(vm, thread, qid);
    uint64_t word[5];
    if (outcome != NOTE_TO_THE_TABLE) {
        tx_count(vm, stats_tally(&vm->stats, thread), qid, outcome, 1);
        return outcome;
    }
    const struct note_time time = vm_now_lately(vm, thread);
    const enum plain plain = plain_read(pkt, u64_load_relaxed(&vm->udp_filter), true, word);
    if (plain != PLAIN_NOT) {
        outcome = tx_plain(vm, thread, pkt, qid, time, plain, word);
    } else {
        thread_enter(thread);
        outcome = tx_one_more(vm, thread, pkt, qid, time, NULL, 0);
        thread_leave(thread);
    }
    tx_reclaim(vm);
    return outcome;
}
