/*
 * flowq-vhost: what we put in the place of librte_vhost's functions, under the names that the linker's --wrap calls.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_VHOST_CALLS_H
#define FLOWQ_VHOST_CALLS_H

#include <rte_vhost.h>

#pragma GCC visibility push(default)
uint16_t __wrap_rte_vhost_enqueue_burst(int vid, uint16_t ring, struct rte_mbuf **packets, uint16_t n);
uint16_t __wrap_rte_vhost_dequeue_burst(int vid, uint16_t ring, struct rte_mempool *pool, struct rte_mbuf **packets, uint16_t n);
int __wrap_rte_vhost_driver_callback_register(const char *path, const struct rte_vhost_device_ops *ops);
int __wrap_rte_vhost_driver_unregister(const char *path);
int __wrap_rte_vhost_extern_callback_register(int vid, const struct rte_vhost_user_extern_ops *ops, void *ctx);
int __wrap_rte_vhost_async_channel_register(int vid, uint16_t ring);
int __wrap_rte_vhost_async_channel_register_thread_unsafe(int vid, uint16_t ring);
#pragma GCC visibility pop

#endif /* FLOWQ_VHOST_CALLS_H */
