/*
 * peer: what all peers use of flowq: its parser, fast path included, and its key, so that only tables are compared.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_BENCH_PEER_H
#define FLOWQ_BENCH_PEER_H

#include "bench.h"

#include "plain.h"

/* What the parser must know; the defaults of a vm. Set by peer_rules_init(), once. */
extern struct parse_rules peer_rules;
void peer_rules_init(void);

/* What the fast path does not read. Returns whether there is a key of this version. */
bool peer_key_slow(const struct flowq_pkt *pkt, bool tx, uint32_t version, uint64_t word[6]);

/* The key of a flow's incoming packets from a packet in either direction. Keyless packets, and others that are not of this
   version, get a key of their own that no flow has. */
static inline __attribute__((always_inline)) void peer_key(const struct flowq_pkt *pkt, bool tx, uint32_t version,
                                                           uint64_t word[6])
{
    enum plain plain = plain_read(pkt, peer_rules.udp_filter, tx, word);
    if (__builtin_expect(plain != (version == 4 ? PLAIN_V4 : PLAIN_V6), 0) && !peer_key_slow(pkt, tx, version, word))
        memset(word, 0, 5 * sizeof(*word));
}

static inline uint32_t burst_queue(uint32_t first, uint32_t step, size_t at)
{
    return (first + (uint32_t)(at / BURST) * step) % QUEUES;
}
static inline uint32_t fallback_queue(uint32_t hash) { return (uint32_t)((uint64_t)hash * QUEUES >> 32); }

#endif
