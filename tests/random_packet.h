/*
 * random_packet: packets for comparing parsers.
 *
 * Layers are put together at random, also in ways that make no sense, from every header that lib/parse knows; most fields are
 * right, some are anything. Then some packets are cut and some have bytes changed.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_RANDOM_PACKET_H
#define FLOWQ_TESTS_RANDOM_PACKET_H

#include "parse.h"
#include "seed.h"

#define RANDOM_PACKET_MAX 400

struct random_packet {
    struct rng *rng;
    const struct parse_rules *rules;
    uint32_t len;
    uint32_t flags; /* of struct flowq_pkt */
    uint8_t bytes[RANDOM_PACKET_MAX];
};

/* Rules with tunnels and ports as they come: none, some, the defaults. */
void random_rules(struct rng *rng, struct parse_rules *rules);

/* A packet that these rules may have something to say about. */
void random_packet(struct random_packet *p, struct rng *rng, const struct parse_rules *rules);

#endif
