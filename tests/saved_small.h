/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * saved_small: a small stream with all there can be in it, and whether a vm is as it was.
 */
#ifndef FLOWQ_TESTS_SAVED_SMALL_H
#define FLOWQ_TESTS_SAVED_SMALL_H

#include "device.h"
#include "saved.h"

/* As it was: the same stream, the same counters. */
struct as_it_was {
    struct model_stream stream;
    struct flowq_stats stats;
};

static inline struct as_it_was look_at(struct flowq_vm *of)
{
    struct as_it_was a = {.stream = saved(of), .stats = {.size = sizeof(a.stats)}};
    flowq_vm_stats(of, &a.stats);
    return a;
}

static inline void is_as_it_was(struct flowq_vm *of, const struct as_it_was *a)
{
    struct as_it_was b = look_at(of);
    ck_assert_uint_eq(a->stream.n, b.stream.n);
    ck_assert_mem_eq(a->stream.bytes, b.stream.bytes, b.stream.n);
    ck_assert_mem_eq(&a->stats, &b.stats, sizeof(b.stats));
    model_stream_free(&b.stream);
}

/* A small stream with all there can be in it, and a vm that could load it. */
static inline struct model_stream small_stream(struct flowq_vm **to)
{
    struct flowq_vm_config c = defaults();
    c.max_queue_pairs = 4;
    c.virtio_features = ALL_FEATURES;
    c.rebind_min_tcp_us = 100000;
    memset(c.secret, 7, sizeof(c.secret));
    now = 1000 * SECOND;
    start(&c, 4);
    struct flowq_rss r = rss_over(4);
    r.table_length = 4;
    ck_assert_int_eq(flowq_vm_set_rss(vm, &r), 0);
    flowq_vm_set_hash_tunnels(vm, FLOWQ_HASH_TUNNEL_VXLAN);
    for (uint32_t i = 0; i < 9; i++, now += SECOND)
        note(tcp(i), i % 4);
    struct model_stream s = saved(vm);
    memset(c.secret, 8, sizeof(c.secret));
    *to = make_vm(&c);
    return s;
}

#endif
