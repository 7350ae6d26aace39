/* SPDX-License-Identifier: BSD-2-Clause */
/* flowq-vhost: see ordered.h. */
#include "ordered.h"

#include "real.h"

#include <stdlib.h>

/* Where no hook can be registered, nobody would close the gate: rings are not read. */
static struct positions_source source(void)
{
    return (struct positions_source){.get_vring = real.hook_register == NULL ? NULL : real.get_vring,
                                     .get_base = real.get_base,
                                     .get_features = real.get_features};
}

bool ordered_make(struct port *port)
{
    port->ordered = settings()->ordered ? calloc(1, sizeof(*port->ordered)) : NULL;
    return port->ordered != NULL || !settings()->ordered;
}

void ordered_unmake(struct port *port) { free(port->ordered); }

void ordered_before(struct port *port, int vid, uint32_t pair)
{
    const struct positions_source from = source();

    positions_before(&port->ordered->ring[pair], &port->ordered->device, &from, vid, port->vm, pair);
}

void ordered_after(struct port *port, uint32_t pair)
{
    const struct positions_source from = source();

    positions_after(&port->ordered->ring[pair], &port->ordered->device, &from, port->vm, pair);
}

/* Whoever has the ring's lock will tell. */
static void look_at(struct port *port, uint32_t pair)
{
    _Atomic uint32_t *lock = &port->receive[pair].lock;

    if (atomic_exchange_explicit(lock, 1, memory_order_acquire) != 0)
        return;
    positions_look(&port->ordered->ring[pair], &port->ordered->device, port->vm, pair);
    atomic_store_explicit(lock, 0, memory_order_release);
}

void ordered_look(struct port *port)
{
    for (uint32_t i = 0; i < MAX_PAIRS / 64; i++)
        for (uint64_t left = atomic_load_explicit(&port->ordered->device.backlog[i], memory_order_relaxed); left != 0;
             left &= left - 1)
            look_at(port, 64 * i + (uint32_t)__builtin_ctzll(left));
}

/* Of the port that steers this device. It is never freed. */
static struct ordered *of(int vid)
{
    struct ordered *ordered = NULL;

    if (!settings()->ordered || vid < 0 || vid >= MAX_DEVICES)
        return NULL;
    pthread_mutex_lock(&ports_lock);
    if (devices[vid].owner != NULL && devices[vid].owner->vid == vid)
        ordered = devices[vid].owner->ordered;
    pthread_mutex_unlock(&ports_lock);
    return ordered;
}

void ordered_begin(int vid)
{
    struct ordered *ordered = of(vid);

    if (ordered != NULL)
        positions_begin(&ordered->device);
}

void ordered_close(int vid)
{
    struct ordered *ordered = of(vid);

    if (ordered != NULL)
        positions_close(&ordered->device);
}
