/*
 * frag: which queue the first fragment of a datagram went to (rule S5).
 *
 * Later fragments have no ports; they follow their first one for up to 30 s. A small fixed cache of one-word entries in sets of
 * eight, apart from the flow table, written by steering: the only thing that packets from the network write. An entry holds 29
 * bits of the datagram's hash, its queue, and the time in ticks of 2^29 ns (20 bits, 6.5 days); zero is empty. A set is ordered
 * by age, the newest entry first: a newcomer moves the others up, and takes the place of the same datagram, else an empty one,
 * else the oldest. Threads that do so in one set at once may lose or double an entry, no more; readers take the newest of
 * doubles.
 */
#ifndef FLOWQ_LIB_FRAG_H
#define FLOWQ_LIB_FRAG_H

#include "atomic.h"
#include "flowq.h"

#define FRAG_WAYS 8
#define FRAG_TICK_SHIFT 29
#define FRAG_LIFE_NS UINT64_C(30000000000)

struct frags {
    atomic_u64 *entry;
    uint32_t set_mask; /* sets - 1 */
    bool off;
};

/* n: a power of two, at least FRAG_WAYS, or 0: off. mem: n zeroed words. */
void frags_init(struct frags *f, uint32_t n, void *mem);
void frags_clear(struct frags *f);
/* The datagram's first fragment went to qid. */
void frag_put(struct frags *f, uint64_t hash, uint16_t qid, uint64_t now_ns);
/* Where it went, or FLOWQ_DROP: not known (any more). */
uint16_t frag_get(const struct frags *f, uint64_t hash, uint64_t now_ns);

#endif
