/*
 * loops: the loops over the packets of a batch, compiled once for each set of instructions.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * loops_each.h has them; loops.c includes it with the instructions that every machine has, and on x86 with AVX2, BMI and BMI2. A
 * burst chooses once.
 */
#ifndef FLOWQ_LIB_LOOPS_H
#define FLOWQ_LIB_LOOPS_H

#include "answer.h"
#include "special.h"

struct loops {
    /* Packets that go to one vm. first: of the call's first batch; n_next: packets behind this batch, whose first headers are
       fetched. */
    void (*rx_parse)(const struct vm_view *v, const struct flowq_pkt *pkts, unsigned n, bool first, unsigned n_next,
                     struct batch *b);
    /* Looks at the home line of each; returns those whose queue is not in qids now. */
    uint32_t (*rx_find)(const struct vm_view *v, struct batch *b, unsigned n, uint16_t *qids);
    /* Up to BATCH packets (TRAINS): the line of the first of each train; of[i]: packet i's. Returns how many; 0: not all are
       plain and of one version of IP, and nothing has been done that rx_parse() does not do again. */
    unsigned (*rx_trains)(const struct vm_view *v, const struct flowq_pkt *pkts, unsigned n, struct lookup *lookup, uint8_t *of);
    /* The queues of plain packets among these that are not in b->queue_off: nearly all of them are unbound. Reasons, and counts.
       Returns those that it does not answer. */
    uint32_t (*rx_answer_plain)(const struct vm_view *v, struct batch *b, uint32_t missed, uint16_t *qids);
    /* The queues of the others, and then what concerns fragments; reasons, and counts. */
    void (*rx_answer)(const struct vm_view *v, struct batch *b, uint32_t missed, uint16_t *qids);

    /* Packets that go to several vms. A run of plain IPv4, or IPv6, from `at` on, for vms whose flows decide; returns its end. */
    unsigned (*vms_run_v4)(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, unsigned at, unsigned n, struct batch *b);
    unsigned (*vms_run_v6)(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, unsigned at, unsigned n, struct batch *b);
    /* As rx_find(); counts those it answers. modes: QUEUES_* of all these vms together. */
    uint32_t (*vms_find)(struct flowq_vm *const *vms, const struct batch *b, unsigned n, uint16_t *qids, uint32_t stripe,
                         uint8_t *modes);
    void (*vms_answer)(const struct receivers *to, struct batch *b, uint32_t missed, uint16_t *qids);

    /* Packets that a vm sends. */
    void (*tx_parse)(const struct vm_view *v, const struct flowq_pkt *pkts, unsigned n, struct batch_sent *sent);
    /* As rx_trains(); TCP's flags are the same in a train, too. */
    unsigned (*tx_trains)(const struct vm_view *v, const struct flowq_pkt *pkts, unsigned n, struct batch_sent *sent,
                          uint8_t *of);
    /* Looks at the home line of each; returns those that change something, or may. idle: note_context's. */
    uint32_t (*tx_find)(const struct vm_view *v, uint64_t idle, struct batch_sent *sent, unsigned n);
};

/* Of the widest instructions that this machine has. */
const struct loops *loops_best(void);
bool loops_are_wide(void);
extern bool loops_baseline_only; /* for tests and benchmarks: they do without */

/* UINT64_MAX, or 0 if x is 0. gcc takes three instructions more. */
static inline uint64_t loops_all_if(uint64_t x)
{
#ifdef __x86_64__
    __asm__("neg %0\n\tsbb %0, %0" : "+r"(x) : : "cc");
    return x;
#else
    return x ? UINT64_MAX : 0;
#endif
}

/*
 * The one loop over plain packets of one version of IP, which ends at the first that is not. They go to the VM, then `rx` is
 * where the first one has its place, or they come from it (tx), then `sent` is. version and tx are constants where this is
 * inlined. One version at a time leaves the compiler registers enough.
 */
static inline __attribute__((always_inline)) unsigned loops_run(const struct vm_view v, const struct flowq_pkt *pkts, unsigned at,
                                                                unsigned n, enum plain version, bool tx, struct lookup *rx,
                                                                struct batch_sent *sent)
{
    const struct flowq_pkt *pkt = &pkts[at], *end = &pkts[n];
    const struct hash_secret_v4 secret = v.vm->secret_v4;
    uint64_t word[5];
    /* Of rx and sent one is NULL, to which C adds nothing, not even 0. */
    for (; pkt != end; pkt++, rx = tx ? rx : rx + 1, sent = tx ? sent + 1 : sent) {
        if (version == PLAIN_V4 ? !plain_v4(pkt, v.udp_filter, tx, word) : !plain_v6(pkt, v.udp_filter, tx, word))
            break;
        uint32_t flags = tx ? note_flags_plain(pkt, version, word) : 0; /* before anything is stored */
        uint64_t hash = version == PLAIN_V4 ? hash_v4(secret, v.least_hash, word) : hash_words5(v.secret, word);
        lookup_begin(v, tx ? &sent->lookup : rx, hash);
        if (tx)
            sent->flags = (uint8_t)flags;
    }
    return (unsigned)(pkt - pkts);
}

/*
 * TRAINS. What a sender puts out at once mostly comes together: packets of a flow right behind one another, which are hashed and
 * looked up once for all of them. Whether the first two are alike says if it is worth while to compare; packets that are not in
 * trains would lose some instructions by that, no more.
 */
static inline __attribute__((always_inline)) bool loops_are_trains(const struct flowq_pkt *pkts, size_t n)
{
    return n > 1 && plain_alike(&pkts[0], &pkts[1]);
}

/* As loops_run(), for n packets that are all plain, of this version; the first packets of trains are put behind one another.
   Returns how many; 0: they are not. of[i]: packet i's. */
static inline __attribute__((always_inline)) unsigned loops_run_trains(const struct vm_view v, const struct flowq_pkt *pkts,
                                                                       unsigned n, enum plain version, bool tx, struct lookup *rx,
                                                                       struct batch_sent *sent, uint8_t *of)
{
    uint64_t word[5];
    unsigned trains = 0;
    if (!batch_in_a_row(pkts, n))
        batch_fetch(pkts, 0, n);
    for (unsigned i = 0; i < n; trains++) {
        if (version == PLAIN_V4 ? !plain_v4(&pkts[i], v.udp_filter, tx, word) : !plain_v6(&pkts[i], v.udp_filter, tx, word))
            return 0;
        struct plain_train train;
        uint32_t flags = tx ? note_flags_plain(&pkts[i], version, word) : 0;
        plain_train_begin(&train, version, tx, word, flags, NOTE_CLOSES | NOTE_OPENS | NOTE_RESETS);
        uint64_t hash = version == PLAIN_V4 ? hash_v4(v.vm->secret_v4, v.least_hash, word) : hash_words5(v.secret, word);
        lookup_begin(v, tx ? &sent[trains].lookup : &rx[trains], hash);
        if (tx)
            sent[trains].flags = (uint8_t)flags;
        do
            of[i++] = (uint8_t)trains;
        while (i < n && plain_train_goes_on(train, version, tx, &pkts[i]));
    }
    return trains;
}

/* The same, to vms whose flows decide, each of which is another. */
static inline __attribute__((always_inline)) unsigned loops_run_vms(struct flowq_vm *const *vms, const struct flowq_pkt *pkts,
                                                                    unsigned at, unsigned n, enum plain version, struct batch *b)
{
    struct flowq_vm *const *to = &vms[at], *const *end = &vms[n];
    const struct flowq_pkt *pkt = &pkts[at];
    for (struct lookup *l = &b->lookup[at]; to != end; to++, pkt++, l++) {
        struct flowq_vm *vm = *to;
        uint64_t word[5], udp_filter = u64_load_relaxed(&vm->udp_filter);
        if (!queues_by_flow(&vm->queues) ||
            !(version == PLAIN_V4 ? plain_v4(pkt, udp_filter, false, word) : plain_v6(pkt, udp_filter, false, word)))
            break;
        l->hash = vm_hash_plain(vm, version, word);
        l->line = vm_home_line(vm, l->hash);
        __builtin_prefetch(l->line);
    }
    return (unsigned)(to - vms);
}

/* A few packets of either version, to one vm or from it. Nobody is given the address of one of these, so the compiler need not
   take what is stored here for something of the vm's. */
struct few {
    uint64_t hash[BATCH_FEW];
    struct line *home[BATCH_FEW];
    uint8_t flags[BATCH_FEW]; /* tx: what note_strongest() takes */
};

/* Their lines, which are fetched; false: one is not plain. Caller is in a section. */
static inline __attribute__((always_inline)) bool few_begin(const struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n,
                                                            bool tx, struct few *few)
{
    if (!batch_in_a_row(pkts, (unsigned)n))
        batch_fetch(pkts, 1, (unsigned)n);
    for (size_t i = 0; i < n; i++) {
        uint64_t word[5];
        enum plain plain = plain_read(&pkts[i], u64_load_relaxed(&vm->udp_filter), tx, word);
        if (plain == PLAIN_NOT)
            return false;
        if (tx)
            few->flags[i] = (uint8_t)note_flags_plain(&pkts[i], plain, word);
        few->hash[i] = vm_hash_plain(vm, plain, word);
        few->home[i] = vm_home_line(vm, few->hash[i]);
        __builtin_prefetch(few->home[i]);
    }
    return true;
}

/* The word that a filter named, in the packet's home line, and what of it the note would change. */
static inline __attribute__((always_inline)) uint64_t loops_sent_found(uint64_t idle, uint64_t tag_mask, struct batch_sent *s,
                                                                       struct line *home, unsigned at)
{
    uint64_t word = find_named(home, at), change = note_change(idle, tag_mask, s->lookup.hash, s->flags, word);
    s->slot = &home->word[at];
    s->word = word;
    s->change = change;
    return change;
}

#endif
