/*
 * device: one vm behind a control queue, and words for readable examples of what commands do. A program that includes this has
 * the vm to itself, as with example.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_DEVICE_H
#define FLOWQ_TESTS_DEVICE_H

#include <errno.h>

#include "control.h"
#include "example.h"
#include "naive.h"

#define ALL_FEATURES                                                                                                             \
    (FLOWQ_VIRTIO_F_VERSION_1 | FLOWQ_VIRTIO_F_MQ | FLOWQ_VIRTIO_F_RSS | FLOWQ_VIRTIO_F_HASH_REPORT | FLOWQ_VIRTIO_F_HASH_TUNNEL)
#define NO_RSS (ALL_FEATURES & ~FLOWQ_VIRTIO_F_RSS)

static const uint8_t key[40] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
                                0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
                                0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};
static uint16_t table[128];
static struct control command;

static inline void start_with(uint64_t features)
{
    struct flowq_vm_config c = defaults();
    c.max_queue_pairs = PAIRS;
    c.virtio_features = features;
    now = 1000 * SECOND;
    start(&c, 1);
}

static inline void set_up_virtio(void) { start_with(ALL_FEATURES); }

/* A table over queues 0 to n-1; packets without a hash go to the last of them. */
static inline struct flowq_rss rss_over(uint16_t n)
{
    for (unsigned i = 0; i < 128; i++)
        table[i] = (uint16_t)(i % n);
    return (struct flowq_rss){.size = sizeof(struct flowq_rss),
                              .hash_types = FLOWQ_HASH_TYPE_ALL,
                              .table = table,
                              .table_length = 128,
                              .key = key,
                              .key_length = sizeof(key),
                              .unclassified = (uint16_t)(n - 1),
                              .max_tx = n};
}

static inline uint8_t send_rss(const struct flowq_rss *r)
{
    control_rss(&command, r);
    return control_send(vm, &command);
}

static inline uint8_t send_pairs(uint32_t n)
{
    control_pairs(&command, n);
    return control_send(vm, &command);
}

static inline uint8_t send_tunnels(uint32_t types)
{
    control_tunnels(&command, types);
    return control_send(vm, &command);
}

static inline uint8_t send_hash(uint32_t types)
{
    control_hash(&command, types, NULL, key, sizeof(key));
    return control_send(vm, &command);
}

static inline struct flowq_decision decided_frame(const struct frame *f)
{
    struct flowq_pkt pkt = frame_pkt(f);
    struct flowq_decision d;
    flowq_rx_decide_burst(vm, &pkt, 1, &d);
    return d;
}

/* A packet that goes to the VM. */
static inline struct flowq_decision decided(const struct flowq_tuple *incoming)
{
    struct frame f;
    frame_flow(&f, incoming, 0);
    return decided_frame(&f);
}

static inline uint32_t hash_of(const struct flowq_tuple *t, bool ports) { return naive_hash_tuple(key, sizeof(key), t, ports); }

static inline void expect(const struct flowq_decision *d, uint16_t qid, uint8_t reason, uint8_t report, uint32_t value)
{
    ck_assert_uint_eq(d->qid, qid);
    ck_assert_uint_eq(d->reason, reason);
    ck_assert_uint_eq(d->hash_report, report);
    ck_assert_uint_eq(d->hash_value, value);
    ck_assert_uint_eq(d->reserved, 0);
}

#endif
