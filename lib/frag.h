/*
 * frag: which queue the first fragment of a datagram went to (rule S5).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Later fragments have no ports; they follow their first one for up to 30 s. A small fixed cache of one-word entries in sets of
 * eight, apart from the flow table, written by steering: the only thing that packets from the network write. An entry holds 29
 * bits of the datagram's hash, its queue, and the time in ticks of 2^29 ns (20 bits, 6.5 days); zero is empty. A set is ordered
 * by age, the newest entry first: a newcomer moves the others up, and takes the place of the same datagram, else an empty one,
 * else the oldest. Threads that do so in one set at once may lose or double an entry, no more; readers take the newest of
 * doubles.
 *
 * ORDERING
 *   F-A  A reset of the flows must forget entries, too; but whoever moves entries up beside it puts some back, and whoever
 *        steered a first fragment by a binding of before puts its entry afterwards. So a generation is part of each datagram's
 *        hash: it is loaded (acquire) when the packet has been parsed, before the table is looked at, and raised (release) when
 *        the table is empty, what is left of superseded shards too. An entry of an older generation is another datagram's to all
 *        who come later; and one of the new generation names a queue that was looked up in the emptied table. To zero the entries
 *        besides only makes room. It takes 2^29 resets for a generation to come back.
 */
#ifndef FLOWQ_LIB_FRAG_H
#define FLOWQ_LIB_FRAG_H

#include "atomic.h"
#include "flowq.h"

#define FRAG_WAYS       8
#define FRAG_TICK_SHIFT 29
#define FRAG_LIFE_NS    UINT64_C(30000000000)

struct frags {
    atomic_u64 *entry;
    atomic_u64 generation; /* in the hash bits that an entry holds; the others, which choose the set, are zero */
    uint32_t set_mask;     /* sets - 1 */
    bool off;
};

/* n: a power of two, at least FRAG_WAYS, or 0: off. mem: n zeroed words. */
void frags_init(struct frags *f, uint32_t n, void *mem);
/* The table is empty: what is known of fragments came from what it held. */
void frags_clear(struct frags *f);
/* The datagram's hash as the other calls take it, in this generation (F-A): before its flow is looked up. */
static inline uint64_t frag_hash(const struct frags *f, uint64_t hash) { return hash ^ u64_load_acquire(&f->generation); }
/* The datagram's first fragment went to qid. */
void frag_put(struct frags *f, uint64_t hash, uint16_t qid, uint64_t now_ns);
/* Where it went, or FLOWQ_DROP: not known (any more). */
uint16_t frag_get(const struct frags *f, uint64_t hash, uint64_t now_ns);

#endif
