/*
 * virtio: what the guest configures through the control queue, as commands or as calls, and what it makes of a vm.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The last accepted command decides the mode. In RSS mode `rss_active` names the configuration; `reports` names it in either mode
 * if VIRTIO_NET_F_HASH_REPORT was negotiated; both are read by steering threads inside a section. `last` is the same, seen by the
 * control path: hash types and key outlive the mode. Setters work under `lock`, which comes before that of the queues: those of
 * the pairs and the resets, too, so that of any setters side by side there remains what some order of the calls leaves.
 * (Switching a queue on or off, or saying that it is being reset, is one step under the queues' own lock.) All of them but those
 * that bring a new configuration need no memory.
 *
 * ORDERING
 *   V-A  A configuration is unlinked from both pointers by seq_cst exchanges before its stamp is taken, and freed when the stamp
 *        has passed (G1 to G5 in epoch.c). At most VIRTIO_MAX_RETIRED wait: what a guest can make a host hold stays bounded, also
 *        while a section does not end.
 *   V-B  QUEUES_RSS follows `rss_active` and only saves looking at it: whoever sees it set enters a section and looks.
 */
#ifndef FLOWQ_LIB_VIRTIO_H
#define FLOWQ_LIB_VIRTIO_H

#include <pthread.h>

#include "atomic.h"
#include "ports.h"

#define VIRTIO_MAX_RETIRED 8

struct rss;

struct virtio {
    atomic_ptr rss_active;                                 /* struct rss *; NULL: automatic steering */
    atomic_ptr reports;                                    /* struct rss *; NULL: no hash is reported */
    atomic_u32 tunnels;                                    /* of FLOWQ_TUNNEL_*: whose inner header is hashed */
    struct ports ports;                                    /* whatever the setting `tunnels` says */
    atomic_u64 bytes;                                      /* of all configurations, retired ones included */
    pthread_mutex_t lock;                                  /* of what follows */
    uint64_t features;                                     /* as negotiated */
    uint32_t hash_types, hash_tunnels, max_key, max_table; /* as offered */
    bool big_endian;                                       /* the guest; without VERSION_1 its virtqueue_pairs, too */
    struct rss *last;
    struct rss *retired;
    uint32_t n_retired;
};

/* vm->virtio is zeroed; cfg: as config_read() makes it. Returns 0 or -ENOMEM (no mutex). */
int virtio_init(struct flowq_vm *vm, const struct flowq_vm_config *cfg);
void virtio_fini(struct flowq_vm *vm);
void virtio_configure_locked(struct flowq_vm *vm, const struct flowq_vm_config *cfg);
/* FLOWQ_RESET_CONFIG: what the guest configured is off; FLOWQ_RESET_QUEUES. Both together are one step for other setters. */
void virtio_reset(struct flowq_vm *vm, uint32_t what);
/* The pairs, and automatic steering. */
void virtio_set_pairs(struct flowq_vm *vm, uint32_t n);
/* Frees what is free to go, unless a setter is at work. */
void virtio_maintain(struct flowq_vm *vm);

/* The parser's rules for the fields of a hash. */
struct parse_rules virtio_rules(const struct flowq_vm *vm);

/* ---- State that is saved (state.h) ----------------------------------------------------------------------------------------- */

/* What the guest has configured. */
struct virtio_state {
    uint64_t features;
    uint32_t tunnels; /* FLOWQ_HASH_TUNNEL_* */
    struct rss *rss;  /* hash types and key; NULL: none */
    bool rss_active;  /* and its table chooses the queue */
};
/* As it is now; rss is not freed until the end of reading, whatever guests configure meanwhile. */
void virtio_read(struct flowq_vm *vm, struct virtio_state *out);
void virtio_read_end(struct flowq_vm *vm, const struct virtio_state *state);
/* 0; -ENOTSUP: that was not offered. table_length 0: there is no table. */
int virtio_check_load(struct flowq_vm *vm, uint32_t hash_types, uint32_t table_length);
/* Takes over what is asked for; rss is from virtio_new_locked(), or NULL: nothing is configured. */
struct virtio_loads {
    bool features, tunnels, rss;
};
void virtio_load(struct flowq_vm *vm, const struct virtio_state *state, const struct virtio_loads *what);

/* ---- For ctrl.c: under the lock, before anything is checked but what the length of a table needs --------------------------- */

struct virtio_hash {
    uint32_t types;
    uint32_t key_length;
    const uint8_t *key;
};

/* 0, -EINVAL: a table of n entries is not possible. */
int virtio_check_table_locked(const struct virtio *v, uint32_t n);
/* Room for a configuration with a table of n entries, for the caller to fill in; NULL: none now. */
struct rss *virtio_new_locked(struct flowq_vm *vm, uint32_t n);
void virtio_discard_locked(struct flowq_vm *vm, struct rss *r);
/* RSS as r says: 0 and r is taken over, or -ENOTSUP, -EINVAL and nothing has changed. */
int virtio_set_rss_locked(struct flowq_vm *vm, struct rss *r, uint32_t max_tx, const struct virtio_hash *hash);
/* 0, -ENOTSUP, -EINVAL, -ENOMEM. */
int virtio_set_hash_locked(struct flowq_vm *vm, const struct virtio_hash *hash);
int virtio_set_tunnels_locked(struct flowq_vm *vm, uint32_t types);
void virtio_set_pairs_locked(struct flowq_vm *vm, uint32_t n);

#endif
