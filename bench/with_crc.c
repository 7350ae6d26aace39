/*
 * with_crc: no table: the queue is a CRC of the flow's key modulo the queues, as of switches that learn nothing. The same parser
 * as everybody's.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <stdlib.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wpointer-arith"
#include <rte_hash_crc.h>
#pragma GCC diagnostic pop

#include "peer.h"

struct crc {
    uint32_t version;
};

static void *create(const struct shape *shape)
{
    struct crc *c = malloc(sizeof(*c));
    if (!c)
        fail("no memory");
    c->version = shape->version;
    return c;
}

static uint64_t steer_by(void *table, const struct flowq_pkt *pkts, size_t n, size_t burst)
{
    const uint32_t version = ((struct crc *)table)->version, bytes = version == 4 ? KEY_V4_BYTES : KEY_V6_BYTES;
    uint64_t sum = 0, key[6] = {0};
    uint16_t qids[BURST];
    for (size_t i = 0; i < n; i += burst) {
        size_t m = n - i < burst ? n - i : burst;
        for (size_t j = 0; j < m; j++) {
            if (version == 4)
                peer_key(&pkts[i + j], false, 4, key);
            else
                peer_key(&pkts[i + j], false, 6, key);
            qids[j] = (uint16_t)(rte_hash_crc(key, bytes, 0) % QUEUES);
        }
        for (size_t j = 0; j < m; j++)
            sum += qids[j];
    }
    return sum;
}

static uint64_t steer(void *table, const struct flowq_pkt *pkts, size_t n) { return steer_by(table, pkts, n, BURST); }

/* Whose packet it is matters to nobody here. */
static uint64_t steer_several(void *const *table_of, const struct flowq_pkt *pkts, size_t n, size_t burst)
{
    return steer_by(table_of[0], pkts, n, burst);
}

const struct contestant with_crc = {
    .name = "crc",
    .what = "no table: a CRC of the flow modulo the queues",
    .create = create,
    .destroy = free,
    .steer = steer,
    .steer_by = steer_by,
    .steer_several = steer_several,
    .minor = true,
    .no_answer = true,
};
