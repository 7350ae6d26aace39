/*
 * flowq-vhost: packets that the guest transmits; rings that were switched off (messages.c tells why) are read here.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "packets.h"
#include "real.h"

#include <endian.h>
#include <string.h>

enum {
    IDLE_TURNS = 64,   /* a hidden ring with nothing to forward is looked at once in so many calls */
    TYPE_RARP = 0x8035 /* ethertype, RFC 903 */
};

static bool ring_try(struct transmit_ring *ring) { return atomic_exchange_explicit(&ring->busy, 1, memory_order_acquire) == 0; }

static void ring_release(struct transmit_ring *ring) { atomic_store_explicit(&ring->busy, 0, memory_order_release); }

/* After a migration librte_vhost puts one of these in front of what it reads, whichever ring that is. It is not the guest's. */
static bool is_announcement(const struct rte_mbuf *packet)
{
    uint16_t type = 0;

    if (packet->data_len >= 14)
        memcpy(&type, rte_pktmbuf_mtod_offset(packet, const char *, 12), sizeof(type));
    return be16toh(type) == TYPE_RARP;
}

/* Reads and frees; what is left in the array is not the guest's. The holder of `busy` calls. */
static uint16_t discard(struct transmit_ring *ring, int vid, uint16_t index, struct rte_mempool *pool, struct rte_mbuf **packets,
                        uint16_t n)
{
    uint16_t found = real.dequeue(vid, index, pool, packets, n);
    uint16_t keep = found > 0 && is_announcement(packets[0]);

    /* Switched on meanwhile: they may have come afterwards. */
    if (atomic_load(&ring->state) != RING_HIDDEN) {
        count(&ring->read, found);
        return found;
    }
    if (found > keep) {
        real.free_bulk(packets + keep, (unsigned int)(found - keep));
        count(&ring->read, (uint64_t)(found - keep));
        count(&ring->discarded, (uint64_t)(found - keep));
    }
    return keep;
}

/* What is to be forwarded of a hidden ring. The holder of `busy` calls. */
static uint16_t read_hidden(struct transmit_ring *ring, int vid, uint16_t index, struct rte_mempool *pool,
                            struct rte_mbuf **packets, uint16_t n)
{
    uint64_t credit = atomic_load(&ring->credit);
    uint32_t left = (uint32_t)credit;

    if (left == 0 && real.free_bulk != NULL)
        return discard(ring, vid, index, pool, packets, n);
    uint16_t found = real.dequeue(vid, index, pool, packets, left != 0 && left < n ? (uint16_t)left : n);
    uint16_t theirs = (uint16_t)(found - (found > 0 && is_announcement(packets[0])));
    count(&ring->read, theirs);
    count(&ring->late, theirs);
    /* P-E: if the ring was switched meanwhile, what it has now was counted afterwards. */
    if (left != 0)
        atomic_compare_exchange_strong(&ring->credit, &credit, credit - (theirs < left ? theirs : left));
    return found;
}

static bool is_due(struct transmit_ring *ring)
{
    if ((uint32_t)atomic_load_explicit(&ring->credit, memory_order_relaxed) != 0)
        return true;
    return atomic_fetch_add_explicit(&ring->turns, 1, memory_order_relaxed) % IDLE_TURNS == 0;
}

/* Of all hidden rings, in their order, as much as there is room for. */
static uint16_t drain(struct port *port, int vid, struct rte_mempool *pool, struct rte_mbuf **packets, uint16_t n)
{
    uint16_t found = 0;

    for (uint32_t i = 0; i < MAX_PAIRS / 64; i++)
        for (uint64_t bits = atomic_load(&port->hidden[i]); bits != 0 && found < n; bits &= bits - 1) {
            uint32_t pair = 64 * i + (uint32_t)__builtin_ctzll(bits);
            struct transmit_ring *ring = &port->transmit[pair];
            if (!is_due(ring) || !ring_try(ring))
                continue;
            if (atomic_load(&ring->state) == RING_HIDDEN)
                found += read_hidden(ring, vid, (uint16_t)(2 * pair + 1), pool, packets + found, (uint16_t)(n - found));
            ring_release(ring);
        }
    return found;
}

/* A ring on which nothing came of late is not worth the gate. */
static uint16_t read_open(struct transmit_ring *ring, int vid, uint16_t index, struct rte_mempool *pool,
                          struct rte_mbuf **packets, uint16_t n)
{
    struct fetch *fetch = fetch_of(vid);

    if (ring->lively && fetch_enter(fetch)) {
        fetch_transmit(fetch, index, n);
        fetch_leave(fetch);
    }
    uint16_t found = real.dequeue(vid, index, pool, packets, n);
    ring->lively = found > 0;
    if (found > 0) {
        count(&ring->read, found);
        if (fetch != NULL)
            fetch_used(fetch, vid, index);
    }
    return found;
}

static void note(struct port *port, uint32_t pair, struct rte_mbuf *const *packets, uint32_t n)
{
    struct views views;

    for (uint32_t done = 0; done < n; done += BURST) {
        uint32_t part = n - done < BURST ? n - done : BURST;
        views_make(&views, packets + done, part);
        flowq_tx_note_burst(port->vm, views.at, part, pair);
    }
}

/* The caller's own ring. The program may go on reading one that is hidden: it has been told, but that takes its time. */
static uint16_t read_own(struct port *port, int vid, uint32_t pair, struct rte_mempool *pool, struct rte_mbuf **packets,
                         uint16_t n)
{
    struct transmit_ring *ring = &port->transmit[pair];
    uint16_t index = (uint16_t)(2 * pair + 1);

    if (!ring_try(ring))
        return 0;
    uint8_t state = atomic_load_explicit(&ring->state, memory_order_acquire);
    uint16_t found = 0;
    if (state == RING_OPEN)
        found = read_open(ring, vid, index, pool, packets, n);
    else if (state == RING_HIDDEN)
        found = read_hidden(ring, vid, index, pool, packets, n);
    ring_release(ring);
    if (state == RING_OPEN && found > 0)
        note(port, pair, packets, found);
    return found;
}

uint16_t port_dequeue(struct port *port, int vid, uint16_t ring, struct rte_mempool *pool, struct rte_mbuf **packets, uint16_t n)
{
    uint32_t pair = ring / 2;
    uint16_t found = 0;

    if (!atomic_load_explicit(&port->polled, memory_order_relaxed))
        atomic_store_explicit(&port->polled, true, memory_order_relaxed);
    /* What was transmitted on rings that are off now came before what is on this one: it goes first. */
    if (atomic_load_explicit(&port->drainer, memory_order_relaxed) == (int)pair)
        found = drain(port, vid, pool, packets, n);
    if (found < n)
        found = (uint16_t)(found + read_own(port, vid, pair, pool, packets + found, (uint16_t)(n - found)));
    return found;
}
