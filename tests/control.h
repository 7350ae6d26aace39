/*
 * control: commands of virtio's control queue, as bytes.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_CONTROL_H
#define FLOWQ_TESTS_CONTROL_H

#include <string.h>

#include "flowq.h"

/* command-specific-data under construction. */
struct control {
    uint8_t cls, cmd;
    uint32_t len;
    uint8_t bytes[80000];
};

static inline void control_u8(struct control *c, uint32_t v) { c->bytes[c->len++] = (uint8_t)v; }

static inline void control_le16(struct control *c, uint32_t v)
{
    control_u8(c, v);
    control_u8(c, v >> 8);
}

static inline void control_le32(struct control *c, uint32_t v)
{
    control_le16(c, v);
    control_le16(c, v >> 16);
}

static inline void control_key(struct control *c, const uint8_t *key, uint32_t length)
{
    control_u8(c, length);
    for (uint32_t i = 0; i < length; i++)
        control_u8(c, key[i]);
}

static inline void control_start(struct control *c, uint8_t cls, uint8_t cmd)
{
    c->cls = cls;
    c->cmd = cmd;
    c->len = 0;
}

static inline void control_pairs(struct control *c, uint32_t n)
{
    control_start(c, FLOWQ_CTRL_MQ, FLOWQ_CTRL_MQ_VQ_PAIRS_SET);
    control_le16(c, n);
}

static inline void control_tunnels(struct control *c, uint32_t types)
{
    control_start(c, FLOWQ_CTRL_HASH_TUNNEL, FLOWQ_CTRL_HASH_TUNNEL_SET);
    control_le32(c, types);
}

static inline void control_hash(struct control *c, uint32_t types, const uint16_t reserved[4], const uint8_t *key,
                                uint32_t length)
{
    control_start(c, FLOWQ_CTRL_MQ, FLOWQ_CTRL_MQ_HASH_CONFIG);
    control_le32(c, types);
    for (unsigned i = 0; i < 4; i++)
        control_le16(c, reserved ? reserved[i] : 0);
    control_key(c, key, length);
}

/* r->table_length is written as it is, whether it is possible or not. */
static inline void control_rss(struct control *c, const struct flowq_rss *r)
{
    control_start(c, FLOWQ_CTRL_MQ, FLOWQ_CTRL_MQ_RSS_CONFIG);
    control_le32(c, r->hash_types);
    control_le16(c, r->table_length - 1);
    control_le16(c, r->unclassified);
    for (uint32_t i = 0; i < r->table_length; i++)
        control_le16(c, r->table[i]);
    control_le16(c, r->max_tx);
    control_key(c, r->key, r->key_length);
}

/* Sends it in one piece. */
static inline uint8_t control_send(struct flowq_vm *vm, struct control *c)
{
    const struct iovec all = {.iov_base = c->bytes, .iov_len = c->len};
    return flowq_vm_ctrl(vm, c->cls, c->cmd, &all, 1);
}

#endif
