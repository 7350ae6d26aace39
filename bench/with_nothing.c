/*
 * with_nothing: the bounds. The roofline touches what every table must touch: the header's line, and one random line of an array
 * as large as the smallest table for so many flows (2 x 8 bytes each), both prefetched well ahead, with next to no work in
 * between. The roofline by bursts does so for one burst at a time, as a call has to that is given 32 packets and must return 32
 * answers: what a burst waits for at its end, nothing of the next one can hide. The empty loop goes through the packet
 * descriptors.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

enum { LINE_WORDS = 8, AHEAD = 32 };

struct roofline {
    uint64_t n_lines; /* a power of two */
    uint64_t *lines;
    unsigned shift;
};

static void *create(const struct shape *shape)
{
    struct roofline *r = malloc(sizeof(*r));
    if (!r)
        fail("no memory");
    r->n_lines = shape->slots / LINE_WORDS ? shape->slots / LINE_WORDS : 1;
    r->lines = huge_alloc(r->n_lines * 64);
    r->shift = 64 - (unsigned)__builtin_ctzll(r->n_lines);
    for (uint64_t i = 0; i < r->n_lines * LINE_WORDS; i++)
        r->lines[i] = i;
    return r;
}

static void destroy(void *table)
{
    struct roofline *r = table;
    huge_free(r->lines, r->n_lines * 64);
    free(r);
}

/* The word that differs from flow to flow: bytes 26 to 33 of the frame hold the addresses of IPv4, 34 the ports; IPv6: 34 the end
 * of the source. */
static inline uint64_t of_header(const struct flowq_pkt *pkt)
{
    uint64_t a, b;
    memcpy(&a, (const char *)pkt->data + 26, sizeof(a));
    memcpy(&b, (const char *)pkt->data + 34, sizeof(b));
    return a ^ b << 7;
}

static inline const uint64_t *line_of(const struct roofline *r, uint64_t x)
{
    return r->lines + (x * 0x9e3779b97f4a7c15u >> r->shift) * LINE_WORDS;
}

static uint64_t steer(void *table, const struct flowq_pkt *pkts, size_t n)
{
    const struct roofline *r = table;
    const uint64_t *line[AHEAD];
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i += AHEAD) {
        size_t m = n - i < AHEAD ? n - i : AHEAD, next = n - i < 2 * AHEAD ? n - i : 2 * AHEAD;
        for (size_t j = 0; j < m; j++) {
            line[j] = line_of(r, of_header(&pkts[i + j]));
            __builtin_prefetch(line[j]);
            if (j + AHEAD < next)
                __builtin_prefetch(pkts[i + j + AHEAD].data);
        }
        for (size_t j = 0; j < m; j++)
            sum += *line[j];
    }
    return sum;
}

/* Where a burst begins depends on what the one before it read, so that the processor cannot begin with it earlier. */
static uint64_t steer_by_bursts(void *table, const struct flowq_pkt *pkts, size_t n)
{
    const struct roofline *r = table;
    const uint64_t *line[BURST];
    uint64_t sum = 0; /* far below 2^63, as the words of the lines are small */
    for (size_t i = 0; i < n; i += BURST) {
        size_t m = n - i < BURST ? n - i : BURST;
        const struct flowq_pkt *burst = pkts + i + (sum >> 63);
        for (size_t j = 0; j < m; j++)
            __builtin_prefetch(burst[j].data);
        for (size_t j = 0; j < m; j++) {
            line[j] = line_of(r, of_header(&burst[j]));
            __builtin_prefetch(line[j]);
        }
        for (size_t j = 0; j < m; j++)
            sum += *line[j];
    }
    return sum;
}

static uint64_t lookup(void *table, const uint64_t *keys, unsigned words, size_t n)
{
    const struct roofline *r = table;
    const uint64_t *line[AHEAD];
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i += AHEAD) {
        size_t m = n - i < AHEAD ? n - i : AHEAD;
        for (size_t j = 0; j < m; j++) {
            const uint64_t *key = keys + (i + j) * words;
            line[j] = line_of(r, words == 2 ? key[0] ^ key[1] << 7 : key[1] ^ key[4] << 7);
            __builtin_prefetch(line[j]);
        }
        for (size_t j = 0; j < m; j++)
            sum += *line[j];
    }
    return sum;
}

const struct contestant with_roofline = {
    .name = "roofline",
    .what = "touches the header and one random line, prefetched",
    .create = create,
    .destroy = destroy,
    .steer = steer,
    .lookup = lookup,
    .no_answer = true,
};

const struct contestant with_roofline_burst = {
    .name = "roofline-burst",
    .what = "the same, each burst complete before the next one",
    .steer = steer_by_bursts,
    .variant_of = &with_roofline,
    .no_answer = true,
};

/* ---- Nothing at all -------------------------------------------------------------------------------------------------------- */

static void *empty_create(const struct shape *shape)
{
    (void)shape;
    return malloc(1);
}

static uint64_t empty_steer(void *table, const struct flowq_pkt *pkts, size_t n)
{
    uint64_t sum = 0;
    (void)table;
    for (size_t i = 0; i < n; i++) {
        sum += pkts[i].len;
        keep(sum);
    }
    return sum;
}

const struct contestant with_nothing = {
    .name = "empty",
    .what = "a loop over the packet descriptors",
    .create = empty_create,
    .destroy = free,
    .steer = empty_steer,
    .single = empty_steer,
    .no_answer = true,
};
