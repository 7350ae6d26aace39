/*
 * flowq-vhost: librte_vhost's names. A file of its own: in an archive it is left alone by a linker that was told to --wrap,
 * as the program has these names already.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "calls.h"

#include <rte_vhost_async.h>

#pragma GCC visibility push(default)

uint16_t rte_vhost_enqueue_burst(int vid, uint16_t ring, struct rte_mbuf **packets, uint16_t n)
{
    return __wrap_rte_vhost_enqueue_burst(vid, ring, packets, n);
}

uint16_t rte_vhost_dequeue_burst(int vid, uint16_t ring, struct rte_mempool *pool, struct rte_mbuf **packets, uint16_t n)
{
    return __wrap_rte_vhost_dequeue_burst(vid, ring, pool, packets, n);
}

int rte_vhost_driver_callback_register(const char *path, const struct rte_vhost_device_ops *ops)
{
    return __wrap_rte_vhost_driver_callback_register(path, ops);
}

int rte_vhost_driver_unregister(const char *path) { return __wrap_rte_vhost_driver_unregister(path); }

int rte_vhost_extern_callback_register(int vid, const struct rte_vhost_user_extern_ops *ops, void *ctx)
{
    return __wrap_rte_vhost_extern_callback_register(vid, ops, ctx);
}

int rte_vhost_async_channel_register(int vid, uint16_t ring) { return __wrap_rte_vhost_async_channel_register(vid, ring); }

int rte_vhost_async_channel_register_thread_unsafe(int vid, uint16_t ring)
{
    return __wrap_rte_vhost_async_channel_register_thread_unsafe(vid, ring);
}

#pragma GCC visibility pop
