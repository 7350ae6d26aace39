/*
 * flowq-vhost: receive steering for programs that use DPDK's librte_vhost, without a change in them.
 *
 *   calls.c      the functions whose place is taken: read this first
 *   preload.c    the same under librte_vhost's names, for LD_PRELOAD
 *   enqueue.c    packets to the guest: each goes to the queue that its flow is bound to
 *   dequeue.c    packets from the guest: their flows are noted; rings that were switched off
 *   fetch.c      what librte_vhost will wait for, fetched ahead
 *   port.h       layout, who writes what, order of locks
 *   port.c       sockets and connections come and go
 *   messages.c   transmit rings are switched off and on
 *   telemetry.c  what can be seen from outside, and asked
 *   state.c      flows that outlive the process
 *   settings.c   FLOWQ_VHOST
 *   real.c       where librte_vhost's own functions are
 *
 * No thread is started, but one that saves now and then if that is asked for, nothing is waited for, nothing is printed. Whatever
 * fails, the program's call is handed on as it came.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "calls.h"
#include "packets.h"
#include "real.h"

uint16_t __wrap_rte_vhost_enqueue_burst(int vid, uint16_t ring, struct rte_mbuf **packets, uint16_t n)
{
    struct port *port = port_of(vid);

    if (port != NULL && ring % 2 == 0 && ring < MAX_RINGS)
        return port_enqueue(port, vid, ring, packets, n);
    return real_find() ? real.enqueue(vid, ring, packets, n) : 0;
}

uint16_t __wrap_rte_vhost_dequeue_burst(int vid, uint16_t ring, struct rte_mempool *pool, struct rte_mbuf **packets, uint16_t n)
{
    struct port *port = port_of(vid);

    if (port != NULL && ring % 2 == 1 && ring < MAX_RINGS)
        return port_dequeue(port, vid, ring, pool, packets, n);
    return real_find() && real.dequeue != NULL ? real.dequeue(vid, ring, pool, packets, n) : 0;
}

int __wrap_rte_vhost_driver_callback_register(const char *path, const struct rte_vhost_device_ops *ops)
{
    return real_find() && real.callback_register != NULL ? port_register(path, ops) : -1;
}

int __wrap_rte_vhost_driver_unregister(const char *path)
{
    return real_find() && real.unregister != NULL ? port_unregister(path) : -1;
}

int __wrap_rte_vhost_extern_callback_register(int vid, const struct rte_vhost_user_extern_ops *ops, void *ctx)
{
    return real_find() && real.hook_register != NULL ? port_hook(vid, ops, ctx) : -1;
}

int __wrap_rte_vhost_async_channel_register(int vid, uint16_t ring)
{
    if (!real_find() || real.async_register == NULL)
        return -1;
    port_asynchronous(vid);
    return real.async_register(vid, ring);
}

int __wrap_rte_vhost_async_channel_register_thread_unsafe(int vid, uint16_t ring)
{
    if (!real_find() || real.async_register_unsafe == NULL)
        return -1;
    port_asynchronous(vid);
    return real.async_register_unsafe(vid, ring);
}
