/*
 * group: the packets of a burst, queue by queue; or vm by vm, and queue by queue in each.
 *
 * A stable sort of packet indices by queue, or by vm and queue. Which queues come in which order is up to guests, so no order may
 * cost more than a constant times n. In bursts of up to SMALL packets for one vm, whose queues are among its first BINS, the
 * packets of each queue are counted; in others of that size each is compared with all, by vectors and without a branch that an
 * order could mislead (insertion took twice as long); longer bursts are sorted by radix. Nothing is allocated; the radix sort
 * needs no second array either, because `order` itself holds the links of its lists:
 *
 *     order[i]   first the packet behind i in its list, then i's place among all, at last the packet at place i
 *
 * The digits are the bytes of the queue number, then those of the address of the vm; a byte that is the same in all packets, as
 * most of an address are, costs no pass. Small bursts go by the rank of the vm in the order of first packets instead, so that 32
 * bits hold all that is compared.
 *
 * FLOWQ_DROP is larger than every queue number and so comes last by itself.
 *
 * Both calls are the same code, compiled once with and once without the vms: the helpers with always_inline.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "flowq.h"

#include <string.h>

_Static_assert(sizeof(struct flowq_run) == 8, "part of the ABI");

#define GROUP_MAX_PACKETS 65535 /* so that indices and counts fit 16 bits */
#define GROUP_SMALL       64    /* packets; far above it the radix sort is faster */
#define GROUP_BINS        64    /* a bit of a word for each queue, and FLOWQ_DROP */
#define GROUP_RADIX       256
#define GROUP_QID_DIGITS  2
#define GROUP_DIGITS      (GROUP_QID_DIGITS + sizeof(uintptr_t))

#define GROUP_INLINE static inline __attribute__((always_inline))

struct group_burst {
    struct flowq_vm *const *vms; /* NULL: one and the same for all */
    const uint16_t *qids;
    size_t n;
};

static bool group_is_ascending(const uint16_t *qids, size_t n)
{
    unsigned descents = 0;
    for (size_t i = 1; i < n; i++)
        descents |= qids[i] < qids[i - 1];
    return !descents;
}

/* ---- Small bursts for few queues ------------------------------------------------------------------------------------------- */

/* How many packets there are for each bin, which is behind its queue's number: FLOWQ_DROP's is 0. */
struct group_bins {
    uint8_t count[GROUP_BINS];
    uint64_t used;
};

_Static_assert(GROUP_SMALL <= UINT8_MAX && (uint16_t)(FLOWQ_DROP + 1) == 0, "a count fits, and the bin of FLOWQ_DROP is 0");

/* False: there are queues that have no bin. */
static bool group_count(struct group_bins *bins, const uint16_t *qids, size_t n)
{
    uint64_t used = 0; /* not in memory, where counts might alias it */
    unsigned all = 0;
    *bins = (struct group_bins){.used = 0};
    for (size_t i = 0; i < n; i++) {
        unsigned bin = (uint16_t)(qids[i] + 1u);
        all |= bin;
        used |= UINT64_C(1) << bin % GROUP_BINS;
        bins->count[bin % GROUP_BINS]++;
    }
    bins->used = used;
    return all < GROUP_BINS;
}

/* The runs, and each packet's place: behind those of lower bins, but for the first bin, which comes last. */
static size_t group_by_bins(struct group_bins *bins, const uint16_t *qids, size_t n, uint16_t *order, struct flowq_run *runs,
                            size_t max_runs)
{
    size_t n_runs = 0;
    uint8_t first = 0;
    for (uint64_t left = bins->used >> 1 | bins->used << (GROUP_BINS - 1); left; left &= left - 1) {
        unsigned bin = ((unsigned)__builtin_ctzll(left) + 1) % GROUP_BINS;
        uint8_t count = bins->count[bin];
        if (n_runs < max_runs)
            runs[n_runs] = (struct flowq_run){.qid = (uint16_t)(bin - 1), .first = first, .count = count};
        n_runs++;
        bins->count[bin] = first; /* from here on the next packet's place */
        first = (uint8_t)(first + count);
    }
    for (size_t i = 0; i < n; i++)
        order[bins->count[(qids[i] + 1u) % GROUP_BINS]++] = (uint16_t)i;
    return n_runs;
}

/* ---- Other small bursts ---------------------------------------------------------------------------------------------------- */

/* The vms met so far, in the order of their first packets. */
struct group_ranks {
    const struct flowq_vm *vm[GROUP_SMALL];
    unsigned n, last;
};

static unsigned group_rank(struct group_ranks *r, const struct flowq_vm *vm)
{
    if (r->n > 0 && r->vm[r->last] == vm)
        return r->last;
    unsigned rank = 0;
    r->vm[r->n] = vm; /* found there if nowhere before: each packet before brought one vm at most, so there is room */
    while (r->vm[rank] != vm)
        rank++;
    r->n += rank == r->n;
    r->last = rank;
    return rank;
}

typedef int32_t group_numbers __attribute__((vector_size(16)));
#define GROUP_LANES (sizeof(group_numbers) / sizeof(int32_t))

_Static_assert(GROUP_SMALL % GROUP_LANES == 0 && (uint64_t)GROUP_SMALL * 65536 * GROUP_SMALL <= INT32_MAX,
               "a rank, a queue and an index fit a number");

/* Vm, queue and index as one number: no two are equal, and packets for one queue keep their order. A packet's place then is how
   many numbers are smaller than its own. */
GROUP_INLINE void group_sort_small(const struct group_burst *b, uint16_t *order)
{
    union {
        int32_t one[GROUP_SMALL];
        group_numbers many[GROUP_SMALL / GROUP_LANES];
    } keys;
    struct group_ranks ranks;
    ranks.n = ranks.last = 0;
    for (size_t i = 0; i < b->n; i++) {
        unsigned rank = b->vms ? group_rank(&ranks, b->vms[i]) : 0;
        keys.one[i] = (int32_t)((rank << 16 | b->qids[i]) * GROUP_SMALL + i);
    }
    size_t n_many = (b->n + GROUP_LANES - 1) / GROUP_LANES;
    for (size_t i = b->n; i < n_many * GROUP_LANES; i++)
        keys.one[i] = INT32_MAX; /* smaller than none */
    for (size_t i = 0; i < b->n; i++) {
        group_numbers smaller = {0};
        for (size_t j = 0; j < n_many; j++)
            smaller += keys.many[j] < keys.one[i]; /* true is -1 */
        int32_t place = 0;
        for (size_t lane = 0; lane < GROUP_LANES; lane++)
            place -= smaller[lane];
        order[place] = (uint16_t)i;
    }
}

/* ---- Large bursts ---------------------------------------------------------------------------------------------------------- */

/* Lists of packets, one for each value of a digit. Links are in `next`; the last packet of a list has no link. */
struct group_lists {
    uint16_t head[GROUP_RADIX], tail[GROUP_RADIX];
    uint8_t used[GROUP_RADIX];
};

GROUP_INLINE void group_append(struct group_lists *l, uint16_t *next, unsigned digit, uint16_t packet)
{
    if (l->used[digit])
        next[l->tail[digit]] = packet;
    else
        l->head[digit] = packet;
    l->used[digit] = 1;
    l->tail[digit] = packet;
}

/* Which: 0 is the least significant one. */
GROUP_INLINE unsigned group_digit(const struct group_burst *b, size_t packet, unsigned which)
{
    if (!b->vms || which < GROUP_QID_DIGITS)
        return (unsigned)b->qids[packet] >> 8 * which & (GROUP_RADIX - 1);
    return (unsigned)((uintptr_t)b->vms[packet] >> 8 * (which - GROUP_QID_DIGITS) & (GROUP_RADIX - 1));
}

/* The digits in which packets differ, least significant first. */
GROUP_INLINE unsigned group_find_digits(const struct group_burst *b, uint8_t which[GROUP_DIGITS])
{
    uint16_t qid = 0;
    uintptr_t vm = 0;
    unsigned n = 0;
    for (size_t i = 1; i < b->n; i++)
        qid |= b->qids[i] ^ b->qids[0];
    for (size_t i = 1; b->vms && i < b->n; i++)
        vm |= (uintptr_t)b->vms[i] ^ (uintptr_t)b->vms[0];
    for (unsigned digit = 0; digit < GROUP_QID_DIGITS; digit++)
        if (qid >> 8 * digit & (GROUP_RADIX - 1))
            which[n++] = (uint8_t)digit;
    for (unsigned digit = GROUP_QID_DIGITS; b->vms && digit < GROUP_DIGITS; digit++)
        if (vm >> 8 * (digit - GROUP_QID_DIGITS) & (GROUP_RADIX - 1))
            which[n++] = (uint8_t)digit;
    return n;
}

/* From the lists of one digit to those of the next, in order. */
GROUP_INLINE void group_redistribute(const struct group_burst *b, unsigned which, const struct group_lists *from,
                                     struct group_lists *to, uint16_t *next)
{
    memset(to->used, 0, sizeof(to->used));
    for (unsigned digit = 0; digit < GROUP_RADIX; digit++) {
        if (!from->used[digit])
            continue;
        for (uint16_t i = from->head[digit], follows;; i = follows) {
            follows = next[i]; /* before the packet gets a link of its new list */
            group_append(to, next, group_digit(b, i, which), i);
            if (i == from->tail[digit])
                break;
        }
    }
}

/* From links to places. */
static void group_number(const struct group_lists *l, uint16_t *order)
{
    uint16_t place = 0;
    for (unsigned digit = 0; digit < GROUP_RADIX; digit++) {
        if (!l->used[digit])
            continue;
        for (uint16_t i = l->head[digit], next;; i = next) {
            next = order[i];
            order[i] = place++;
            if (i == l->tail[digit])
                break;
        }
    }
}

/* Turns a permutation into its inverse, cycle by cycle. */
static void group_invert(uint16_t *p, size_t n)
{
    uint8_t done[GROUP_MAX_PACKETS / 8 + 1];
    memset(done, 0, n / 8 + 1);
    for (size_t i = 0; i < n; i++) {
        uint16_t from = (uint16_t)i, to = p[i];
        while (!(done[to / 8] >> (to % 8) & 1)) {
            uint16_t next = p[to];
            p[to] = from;
            done[to / 8] |= (uint8_t)(1u << (to % 8));
            from = to;
            to = next;
        }
    }
}

/* Least significant digit first, each pass keeping the order of the one before. There is a difference in one digit at least. */
GROUP_INLINE void group_sort_radix(const struct group_burst *b, uint16_t *order)
{
    struct group_lists lists[2];
    uint8_t which[GROUP_DIGITS];
    unsigned passes = group_find_digits(b, which);
    memset(lists[0].used, 0, sizeof(lists[0].used));
    for (size_t i = 0; i < b->n; i++)
        group_append(&lists[0], order, group_digit(b, i, which[0]), (uint16_t)i);
    for (unsigned pass = 1; pass < passes; pass++)
        group_redistribute(b, which[pass], &lists[(pass - 1) % 2], &lists[pass % 2], order);
    group_number(&lists[(passes - 1) % 2], order);
    group_invert(order, b->n);
}

/* ---- The calls ------------------------------------------------------------------------------------------------------------- */

GROUP_INLINE bool group_go_together(const struct group_burst *b, size_t one, size_t other)
{
    return b->qids[one] == b->qids[other] && (!b->vms || b->vms[one] == b->vms[other]);
}

GROUP_INLINE size_t group_find_runs(const struct group_burst *b, const uint16_t *order, struct flowq_run *runs, size_t max_runs)
{
    size_t n_runs = 0;
    for (size_t first = 0, i; first < b->n; first = i) {
        uint16_t leader = order[first];
        for (i = first + 1; i < b->n && group_go_together(b, order[i], leader); i++)
            ;
        if (n_runs < max_runs)
            runs[n_runs] = (struct flowq_run){.qid = b->qids[leader], .first = (uint16_t)first, .count = (uint16_t)(i - first)};
        n_runs++;
    }
    return n_runs;
}

GROUP_INLINE size_t group_burst(const struct group_burst *b, uint16_t *order, struct flowq_run *runs, size_t max_runs)
{
    struct group_bins bins;
    if (!b->vms && group_is_ascending(b->qids, b->n)) {
        for (size_t i = 0; i < b->n; i++)
            order[i] = (uint16_t)i;
    } else if (b->n <= GROUP_SMALL) {
        if (!b->vms && group_count(&bins, b->qids, b->n))
            return group_by_bins(&bins, b->qids, b->n, order, runs, max_runs);
        group_sort_small(b, order);
    } else {
        group_sort_radix(b, order);
    }
    return group_find_runs(b, order, runs, max_runs);
}

size_t flowq_group(const uint16_t *qids, size_t n, uint16_t *order, struct flowq_run *runs, size_t max_runs)
{
    const struct group_burst b = {.vms = NULL, .qids = qids, .n = n < GROUP_MAX_PACKETS ? n : GROUP_MAX_PACKETS};
    return group_burst(&b, order, runs, max_runs);
}

static bool group_is_one_vm(struct flowq_vm *const *vms, size_t n)
{
    uintptr_t differs = 0;
    for (size_t i = 1; i < n; i++)
        differs |= (uintptr_t)vms[i] ^ (uintptr_t)vms[0];
    return !differs;
}

size_t flowq_group_vms(struct flowq_vm *const *vms, const uint16_t *qids, size_t n, uint16_t *order, struct flowq_run *runs,
                       size_t max_runs)
{
    const struct group_burst b = {.vms = vms, .qids = qids, .n = n < GROUP_MAX_PACKETS ? n : GROUP_MAX_PACKETS};
    return group_is_one_vm(vms, b.n) ? flowq_group(qids, b.n, order, runs, max_runs) : group_burst(&b, order, runs, max_runs);
}
