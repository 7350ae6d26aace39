/*
 * group: the packets of a burst, queue by queue.
 *
 * A stable sort of packet indices by queue. Which queues come in which order is up to guests, so no order may cost more than a
 * constant times n: bursts of up to SMALL packets are sorted by insertion, longer ones by radix. Nothing is allocated; the radix
 * sort needs no second array either, because `order` itself holds the links of its lists:
 *
 *     order[i]   first the packet behind i in its list, then i's place among all, at last the packet at place i
 *
 * FLOWQ_DROP is larger than every queue number and so comes last by itself.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "flowq.h"

#include <string.h>

_Static_assert(sizeof(struct flowq_run) == 8, "part of the ABI");

#define MAX_PACKETS 65535 /* so that indices and counts fit 16 bits */
#define SMALL 64          /* packets; above it the radix sort is faster even where insertion does worst */
#define RADIX 256

static int is_ascending(const uint16_t *qids, size_t n)
{
    unsigned descents = 0;
    for (size_t i = 1; i < n; i++)
        descents |= qids[i] < qids[i - 1];
    return !descents;
}

/* Sorts queue and index as one number: equal queues then keep their order. */
static void sort_small(const uint16_t *qids, size_t n, uint16_t *order)
{
    uint32_t sorted[SMALL];
    for (size_t i = 0; i < n; i++) {
        uint32_t x = (uint32_t)qids[i] << 16 | (uint32_t)i;
        size_t at = i;
        for (; at > 0 && sorted[at - 1] > x; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = x;
    }
    for (size_t i = 0; i < n; i++)
        order[i] = (uint16_t)sorted[i];
}

/* Lists of packets, one for each value of a digit. Links are in `next`; the last packet of a list has no link. */
struct lists {
    uint16_t head[RADIX], tail[RADIX];
    uint8_t used[RADIX];
};

static void append(struct lists *l, uint16_t *next, unsigned digit, uint16_t packet)
{
    if (l->used[digit])
        next[l->tail[digit]] = packet;
    else
        l->head[digit] = packet;
    l->used[digit] = 1;
    l->tail[digit] = packet;
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

/* Least significant digit first, each pass keeping the order of the one before. */
static void sort_radix(const uint16_t *qids, size_t n, uint16_t *order)
{
    struct lists low, high;
    memset(low.used, 0, sizeof(low.used));
    memset(high.used, 0, sizeof(high.used));
    for (size_t i = 0; i < n; i++)
        append(&low, order, qids[i] % RADIX, (uint16_t)i);

    for (unsigned digit = 0; digit < RADIX; digit++) {
        if (!low.used[digit])
            continue;
        for (uint16_t i = low.head[digit], next;; i = next) {
            next = order[i]; /* before the packet gets a link of its new list */
            append(&high, order, qids[i] / RADIX, i);
            if (i == low.tail[digit])
                break;
        }
    }
    uint16_t place = 0;
    for (unsigned digit = 0; digit < RADIX; digit++) {
        if (!high.used[digit])
            continue;
        for (uint16_t i = high.head[digit], next;; i = next) {
            next = order[i];
            order[i] = place++;
            if (i == high.tail[digit])
                break;
        }
    }
    invert(order, n);
}

static size_t find_runs(const uint16_t *qids, size_t n, const uint16_t *order, struct flowq_run *runs, size_t max_runs)
{
    size_t n_runs = 0;
    for (size_t first = 0, i; first < n; first = i) {
        uint16_t qid = qids[order[first]];
        for (i = first + 1; i < n && qids[order[i]] == qid; i++)
            ;
        if (n_runs < max_runs)
            runs[n_runs] = (struct flowq_run){.qid = qid, .first = (uint16_t)first, .count = (uint16_t)(i - first)};
        n_runs++;
    }
    return n_runs;
}

size_t flowq_group(const uint16_t *qids, size_t n, uint16_t *order, struct flowq_run *runs, size_t max_runs)
{
    if (n > MAX_PACKETS)
        n = MAX_PACKETS;
    if (is_ascending(qids, n)) {
        for (size_t i = 0; i < n; i++)
            order[i] = (uint16_t)i;
    } else if (n <= SMALL) {
        sort_small(qids, n, order);
    } else {
        sort_radix(qids, n, order);
    }
    return find_runs(qids, n, order, runs, max_runs);
}
