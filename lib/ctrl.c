/*
 * ctrl: the commands of virtio's control queue, from the bytes that the guest wrote to what virtio.h does.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The bytes lie in the guest's memory and may change meanwhile: each is copied once, and checked in the copy. A command is
 * refused before anything is changed. Numbers are little-endian, but for virtqueue_pairs of a legacy guest.
 */
#include <errno.h>
#include <string.h>

#include "rss.h"
#include "vm.h"

/* ---- What is left of the command ------------------------------------------------------------------------------------------- */

struct ctrl_pieces {
    const struct iovec *iov;
    size_t n;  /* pieces left */
    size_t at; /* in the first of them */
};

static bool ctrl_copy(struct ctrl_pieces *p, void *to, size_t n)
{
    while (n > 0) {
        if (p->n == 0)
            return false;
        size_t left = p->iov->iov_len - p->at, m = left < n ? left : n;
        if (m)
            memcpy(to, (const char *)p->iov->iov_base + p->at, m);
        to = (char *)to + m;
        n -= m;
        p->at += m;
        if (p->at == p->iov->iov_len) {
            p->iov++;
            p->n--;
            p->at = 0;
        }
    }
    atomic_signal_fence(memory_order_seq_cst); /* as in cursor.h: what was copied is not loaded again */
    return true;
}

/* Are there no more than so many bytes? */
static bool ctrl_ends_within(const struct ctrl_pieces *p, size_t bytes)
{
    size_t left = 0, at = p->at;
    for (size_t i = 0; i < p->n && left <= bytes; i++) {
        size_t more = p->iov[i].iov_len - at;
        left = more > bytes ? bytes + 1 : left + more;
        at = 0;
    }
    return left <= bytes;
}

/* Drivers that send a struct of C whole have this at its end (DPDK's has a byte). */
#define CTRL_PADDING 3

static uint16_t ctrl_le16(const uint8_t *b) { return (uint16_t)(b[0] | b[1] << 8); }
static uint32_t ctrl_le32(const uint8_t *b) { return ctrl_le16(b) | (uint32_t)ctrl_le16(b + 2) << 16; }

/* ---- Commands -------------------------------------------------------------------------------------------------------------- */

/* Numbers of a guest with VERSION_1 are little-endian, whatever the guest is. */
static bool ctrl_is_big_endian(const struct virtio *v) { return v->big_endian && !(v->features & FLOWQ_VIRTIO_F_VERSION_1); }

static int ctrl_pairs_set(struct flowq_vm *vm, struct ctrl_pieces *in)
{
    uint8_t b[2];
    if (!(vm->virtio.features & FLOWQ_VIRTIO_F_MQ))
        return -ENOTSUP;
    if (!ctrl_copy(in, b, sizeof(b)) || !ctrl_ends_within(in, 0))
        return -EINVAL;
    uint32_t n = ctrl_is_big_endian(&vm->virtio) ? (uint32_t)(b[0] << 8 | b[1]) : ctrl_le16(b);
    if (n == 0 || n > vm->queues.max)
        return -EINVAL;
    virtio_set_pairs_locked(vm, n);
    return 0;
}

/* hash_key_length, hash_key_data, and the end. */
static bool ctrl_copy_key(struct ctrl_pieces *in, struct virtio_hash *hash, uint8_t key[UINT8_MAX])
{
    uint8_t length = 0;
    if (!ctrl_copy(in, &length, 1) || !ctrl_copy(in, key, length) || !ctrl_ends_within(in, CTRL_PADDING))
        return false;
    hash->key = key;
    hash->key_length = length;
    return true;
}

/* What follows indirection_table_mask. */
static int ctrl_rss_config_rest(struct flowq_vm *vm, struct ctrl_pieces *in, uint32_t hash_types, struct rss *r)
{
    struct virtio_hash hash = {.types = hash_types};
    uint8_t unclassified[2], max_tx[2], key[UINT8_MAX];
    size_t bytes = (r->table_mask + (size_t)1) * sizeof(r->table[0]);
    if (!ctrl_copy(in, unclassified, sizeof(unclassified)) || !ctrl_copy(in, r->table, bytes) ||
        !ctrl_copy(in, max_tx, sizeof(max_tx)) || !ctrl_copy_key(in, &hash, key))
        return -EINVAL;
    r->table[r->table_mask + 1] = ctrl_le16(unclassified);
    for (uint32_t i = 0; i <= r->table_mask; i++)
        r->table[i] = ctrl_le16((const uint8_t *)&r->table[i]);
    return virtio_set_rss_locked(vm, r, ctrl_le16(max_tx), &hash);
}

static int ctrl_rss_config(struct flowq_vm *vm, struct ctrl_pieces *in)
{
    uint8_t b[6]; /* hash_types, indirection_table_mask */
    if (!(vm->virtio.features & FLOWQ_VIRTIO_F_RSS))
        return -ENOTSUP;
    if (!ctrl_copy(in, b, sizeof(b)) || virtio_check_table_locked(&vm->virtio, ctrl_le16(b + 4) + 1u))
        return -EINVAL;
    struct rss *r = virtio_new_locked(vm, ctrl_le16(b + 4) + 1u);
    if (!r)
        return -ENOMEM;
    int err = ctrl_rss_config_rest(vm, in, ctrl_le32(b), r);
    if (err)
        virtio_discard_locked(vm, r);
    return err;
}

/* Reserved fields are not looked at: some versions of Linux send the layout of RSS_CONFIG here, with a number of queues in it. */
static int ctrl_hash_config(struct flowq_vm *vm, struct ctrl_pieces *in)
{
    uint8_t b[12], key[UINT8_MAX]; /* hash_types, reserved */
    struct virtio_hash hash;
    if (!ctrl_copy(in, b, sizeof(b)) || !ctrl_copy_key(in, &hash, key))
        return -EINVAL;
    hash.types = ctrl_le32(b);
    return virtio_set_hash_locked(vm, &hash);
}

static int ctrl_hash_tunnel_set(struct flowq_vm *vm, struct ctrl_pieces *in)
{
    uint8_t b[4];
    if (!ctrl_copy(in, b, sizeof(b)) || !ctrl_ends_within(in, 0))
        return -EINVAL;
    return virtio_set_tunnels_locked(vm, ctrl_le32(b));
}

uint8_t flowq_vm_ctrl(struct flowq_vm *vm, uint8_t cls, uint8_t cmd, const struct iovec *iov, size_t iovcnt)
{
    struct ctrl_pieces in = {iov, iovcnt, 0};
    int r = -ENOTSUP;
    if (!vm || (iovcnt && !iov))
        return FLOWQ_CTRL_ERR;
    mutex_lock(&vm->virtio.lock);
    if (cls == FLOWQ_CTRL_MQ && cmd == FLOWQ_CTRL_MQ_VQ_PAIRS_SET)
        r = ctrl_pairs_set(vm, &in);
    else if (cls == FLOWQ_CTRL_MQ && cmd == FLOWQ_CTRL_MQ_RSS_CONFIG)
        r = ctrl_rss_config(vm, &in);
    else if (cls == FLOWQ_CTRL_MQ && cmd == FLOWQ_CTRL_MQ_HASH_CONFIG)
        r = ctrl_hash_config(vm, &in);
    else if (cls == FLOWQ_CTRL_HASH_TUNNEL && cmd == FLOWQ_CTRL_HASH_TUNNEL_SET)
        r = ctrl_hash_tunnel_set(vm, &in);
    mutex_unlock(&vm->virtio.lock);
    return r ? FLOWQ_CTRL_ERR : FLOWQ_CTRL_OK;
}
