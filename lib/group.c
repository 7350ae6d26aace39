/*
 * group: the packets of a burst, queue by queue; or vm by vm, and queue by queue in each.
 *
 * A stable sort of packet indices by queue, or by vm and queue. Which queues come in which order is up to guests, so no order may
 * cost more than a constant times n: in bursts of up to SMALL packets each is compared with all, by vectors and without a branch
 * that an order could mislead (insertion took twice as long); longer bursts are sorted by radix. Nothing is allocated; the radix
 * sort needs no second array either, because `order` itself holds the links of its lists:
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

#define MAX_PACKETS 65535 /* so that indices and counts fit 16 bits */
#define SMALL       64    /* packets; far above it the radix sort is faster */
#define RADIX       256
#define QID_DIGITS  2
#define DIGITS      (QID_DIGITS + sizeof(uintptr_t))

#define INLINE static inline __attribute__((always_inline))

struct burst {
    struct flowq_vm *const *vms; /* NULL: one and the same for all */
    const uint16_t *qids;
    size_t n;
};

static bool is_ascending(const uint16_t *qids, size_t n)
{
    unsigned descents = 0;
    for (size_t i = 1; i < n; i++)
        descents |= qids[i] < qids[i - 1];
    return !descents;
}

/* ---- Small bursts ---------------------------------------------------------------------------------------------------------- */

/* The vms met so far, in the order of their first packets. */
struct ranks {
    const struct flowq_vm *vm[SMALL];
    unsigned n, last;
};

static unsigned rank_of(struct ranks *r, const struct flowq_vm *vm)
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

typedef int32_t numbers __attribute__((vector_size(16)));
#define LANES (sizeof(numbers) / sizeof(int32_t))

_Static_assert(SMALL % LANES == 0 && (uint64_t)SMALL * 65536 * SMALL <= INT32_MAX, "a rank, a queue and an index fit a number");

/* Vm, queue and index as one number: no two are equal, and packets for one queue keep their order. A packet's place then is how
   many numbers are smaller than its own. */
INLINE void sort_small(const struct burst *b, uint16_t *order)
{
    union {
        int32_t one[SMALL];
        numbers many[SMALL / LANES];
    } keys;
    struct ranks ranks;
    ranks.n = ranks.last = 0;
    for (size_t i = 0; i < b->n; i++) {
        unsigned rank = b->vms ? rank_of(&ranks, b->vms[i]) : 0;
        keys.one[i] = (int32_t)((rank << 16 | b->qids[i]) * SMALL + i);
    }
    size_t n_many = (b->n + LANES - 1) / LANES;
    for (size_t i = b->n; i < n_many * LANES; i++)
        keys.one[i] = INT32_MAX; /* smaller than none */
    for (size_t i = 0; i < b->n; i++) {
        numbers smaller = {0};
        for (size_t j = 0; j < n_many; j++)
            smaller += keys.many[j] < keys.one[i]; /* true is -1 */
        int32_t place = 0;
        for (size_t lane = 0; lane < LANES; lane++)
            place -= smaller[lane];
        order[place] = (uint16_t)i;
    }
}

/* ---- Large bursts ---------------------------------------------------------------------------------------------------------- */

/* Lists of packets, one for each value of a digit. Links are in `next`; the last packet of a list has no link. */
struct lists {
    uint16_t head[RADIX], tail[RADIX];
    uint8_t used[RADIX];
};

INLINE void append(struct lists *l, uint16_t *next, unsigned digit, uint16_t packet)
{
    if (l->used[digit])
        next[l->tail[digit]] = packet;
    else
        l->head[digit] = packet;
    l->used[digit] = 1;
    l->tail[digit] = packet;
}

/* Which: 0 is the least significant one. */
INLINE unsigned digit_of(const struct burst *b, size_t packet, unsigned which)
{
    if (!b->vms || which < QID_DIGITS)
        return (unsigned)b->qids[packet] >> 8 * which & (RADIX - 1);
    return (unsigned)((uintptr_t)b->vms[packet] >> 8 * (which - QID_DIGITS) & (RADIX - 1));
}

/* The digits in which packets differ, least significant first. */
INLINE unsigned find_digits(const struct burst *b, uint8_t which[DIGITS])
{
    uint16_t qid = 0;
    uintptr_t vm = 0;
    unsigned n = 0;
    for (size_t i = 1; i < b->n; i++)
        qid |= b->qids[i] ^ b->qids[0];
    for (size_t i = 1; b->vms && i < b->n; i++)
        vm |= (uintptr_t)b->vms[i] ^ (uintptr_t)b->vms[0];
    for (unsigned digit = 0; digit < QID_DIGITS; digit++)
        if (qid >> 8 * digit & (RADIX - 1))
            which[n++] = (uint8_t)digit;
    for (unsigned digit = QID_DIGITS; b->vms && digit < DIGITS; digit++)
        if (vm >> 8 * (digit - QID_DIGITS) & (RADIX - 1))
            which[n++] = (uint8_t)digit;
    return n;
}

/* From the lists of one digit to those of the next, in order. */
INLINE void redistribute(const struct burst *b, unsigned which, const struct lists *from, struct lists *to, uint16_t *next)
{
    memset(to->used, 0, sizeof(to->used));
    for (unsigned digit = 0; digit < RADIX; digit++) {
        if (!from->used[digit])
            continue;
        for (uint16_t i = from->head[digit], follows;; i = follows) {
            follows = next[i]; /* before the packet gets a link of its new list */
            append(to, next, digit_of(b, i, which), i);
            if (i == from->tail[digit])
                break;
        }
    }
}

/* From links to places. */
static void number(const struct lists *l, uint16_t *order)
{
    uint16_t place = 0;
    for (unsigned digit = 0; digit < RADIX; digit++) {
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
static void invert(uint16_t *p, size_t n)
{
    uint8_t done[MAX_PACKETS / 8 + 1];
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
INLINE void sort_radix(const struct burst *b, uint16_t *order)
{
    struct lists lists[2];
    uint8_t which[DIGITS];
    unsigned passes = find_digits(b, which);
    memset(lists[0].used, 0, sizeof(lists[0].used));
    for (size_t i = 0; i < b->n; i++)
        append(&lists[0], order, digit_of(b, i, which[0]), (uint16_t)i);
    for (unsigned pass = 1; pass < passes; pass++)
        redistribute(b, which[pass], &lists[(pass - 1) % 2], &lists[pass % 2], order);
    number(&lists[(passes - 1) % 2], order);
    invert(order, b->n);
}

/* ---- The calls ------------------------------------------------------------------------------------------------------------- */

INLINE bool go_together(const struct burst *b, size_t one, size_t other)
{
    return b->qids[one] == b->qids[other] && (!b->vms || b->vms[one] == b->vms[other]);
}

INLINE size_t find_runs(const struct burst *b, const uint16_t *order, struct flowq_run *runs, size_t max_runs)
{
    size_t n_runs = 0;
    for (size_t first = 0, i; first < b->n; first = i) {
        uint16_t leader = order[first];
        for (i = first + 1; i < b->n && go_together(b, order[i], leader); i++)
            ;
        if (n_runs < max_runs)
            runs[n_runs] = (struct flowq_run){.qid = b->qids[leader], .first = (uint16_t)first, .count = (uint16_t)(i - first)};
        n_runs++;
    }
    return n_runs;
}

INLINE size_t group(const struct burst *b, uint16_t *order, struct flowq_run *runs, size_t max_runs)
{
    if (!b->vms && is_ascending(b->qids, b->n)) {
        for (size_t i = 0; i < b->n; i++)
            order[i] = (uint16_t)i;
    } else if (b->n <= SMALL) {
        sort_small(b, order);
    } else {
        sort_radix(b, order);
    }
    return find_runs(b, order, runs, max_runs);
}

size_t flowq_group(const uint16_t *qids, size_t n, uint16_t *order, struct flowq_run *runs, size_t max_runs)
{
    const struct burst b = {.vms = NULL, .qids = qids, .n = n < MAX_PACKETS ? n : MAX_PACKETS};
    return group(&b, order, runs, max_runs);
}

static bool is_one_vm(struct flowq_vm *const *vms, size_t n)
{
    uintptr_t differs = 0;
    for (size_t i = 1; i < n; i++)
        differs |= (uintptr_t)vms[i] ^ (uintptr_t)vms[0];
    return !differs;
}

size_t flowq_group_vms(struct flowq_vm *const *vms, const uint16_t *qids, size_t n, uint16_t *order, struct flowq_run *runs,
                       size_t max_runs)
{
    const struct burst b = {.vms = vms, .qids = qids, .n = n < MAX_PACKETS ? n : MAX_PACKETS};
    return is_one_vm(vms, b.n) ? flowq_group(qids, b.n, order, runs, max_runs) : group(&b, order, runs, max_runs);
}
