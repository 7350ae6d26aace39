/*
 * implied: which flows were noted lately where the fallback would send them anyway (rule S9).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Such a flow is not stored the first time, so that a flood of SYNs which the guest answers stores next to nothing; noted again
 * within the embryonic time, it is. A filter of fixed size, apart from the flow table, tells first from again.
 *
 * LAYOUT
 *
 *     set = one cache line:   place | entry 0 | ... | entry 14           words of 32 bits
 *     place                   time of the set's last entry (28 bits) | where the next one goes (4 bits)
 *     entry                   fingerprint: top bits of the hash, never 0 (24 bits) | time (8 bits); 0: empty
 *
 * The low bits of the hash choose the set. Times are ticks of 2^29 ns, about half a second. A newcomer takes the place of the
 * oldest entry, so a flow is remembered for certain while no more than 14 others come to its set, and a flood, which comes to all
 * of them, makes the filter forget, never store: for that, the fingerprint of a flow of the flood must meet one of 15, 15 * 2^-24
 * at most. With the 32 sets of the default max_flows, a thousand new flows a second and 50 ms between two notes of one, 15 or
 * more others come to its set once in 10^10 times (Poisson, mean 50 / 32).
 *
 * Entries have few bits for their time, but no old one looks young: whoever finds that the last entry of a set has timed out
 * empties the set, so an entry is followed by 14 others at most, each within IMPLIED_TICKS of the one before: 150 ticks of 256.
 *
 * ORDERING: none is needed. All accesses are relaxed; threads that write to one set at once may lose an entry or empty one too
 * many, and then a flow is stored one note later. Nothing is written but by a note that is not stored.
 */
#ifndef FLOWQ_LIB_IMPLIED_H
#define FLOWQ_LIB_IMPLIED_H

#include "atomic.h"

#include <stddef.h>

#define IMPLIED_WAYS       15
#define IMPLIED_TICK_SHIFT 29
#define IMPLIED_TICKS      10 /* the embryonic time of 5 s (NOTE_EMBRYONIC_STALE_NS), and the tick it began in */

/* So many of max_flows share a set, of which there are at least and at most so many. */
#define IMPLIED_FLOWS_A_SET 2048
#define IMPLIED_MIN_SETS    8
#define IMPLIED_MAX_SETS    1024

struct implied_set {
    atomic_u32 place;
    atomic_u32 entry[IMPLIED_WAYS];
};
_Static_assert(sizeof(struct implied_set) == 64, "a set is a cache line");

struct implied {
    struct implied_set *set;
    uint32_t set_mask; /* sets - 1 */
};

/* Bytes of memory that implied_init() wants, a multiple of 64. */
size_t implied_bytes(uint32_t max_flows);
/* mem: aligned to 64, zeroed. */
void implied_init(struct implied *f, uint32_t max_flows, void *mem);
void implied_clear(const struct implied *f);
/* Was the flow remembered within the embryonic time? If not, it is now. */
bool implied_again(const struct implied *f, uint64_t hash, uint64_t now_ns);
/* Was it? Nothing is written. */
bool implied_knows(const struct implied *f, uint64_t hash, uint64_t now_ns);

#endif
