/*
 * model_device: a naive model of a virtio network device that does what the table in flowq-virtio(7) says: what the guest has
 * configured, and which hash it gets with a packet.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_MODEL_DEVICE_H
#define FLOWQ_TESTS_MODEL_DEVICE_H

#include "control.h"
#include "frames.h"
#include "seed.h"

#define DEVICE_MAX_PAIRS 20u
#define DEVICE_MAX_TABLE 128u

/* As made: features and pairs = 1, the rest zero. */
struct model_device {
    uint64_t features;
    bool rss;
    uint32_t pairs;
    bool named[DEVICE_MAX_PAIRS], disabled[DEVICE_MAX_PAIRS], resetting[DEVICE_MAX_PAIRS];
    bool has_hash; /* RSS_CONFIG or HASH_CONFIG since the last reset */
    uint32_t types, key_length;
    uint8_t key[40];
    uint32_t table_length;
    uint16_t table[DEVICE_MAX_TABLE], unclassified;
    uint32_t tunnels;
};

/* A command, as the guest sends it: is it accepted? If not, nothing changes. */
bool model_device_ctrl(struct model_device *d, const struct control *c);

/* what: FLOWQ_RESET_*. */
void model_device_reset(struct model_device *d, uint32_t what);

bool model_device_usable(const struct model_device *d, uint32_t q);
uint32_t model_device_n_usable(const struct model_device *d);

/* A packet with what it is. */
struct hashed_packet {
    struct frame frame;
    struct flowq_tuple outer, inner;
    uint32_t tunnel; /* FLOWQ_HASH_TUNNEL_*, 0: none that virtio knows */
    bool fragment, ip;
};

void hashed_packet_random(struct rng *rng, struct hashed_packet *p);

/* The hash and its report, from what the packet is. */
uint8_t model_device_hash(const struct model_device *d, const struct hashed_packet *p, uint32_t *value);

#endif
