/*
 * flowq-vhost: packets that go to the guest.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "packets.h"
#include "real.h"

#include <rte_pause.h>

void views_gather(struct views *views, uint32_t i, const struct rte_mbuf *packet)
{
    struct iovec pieces[FLOWQ_HEADER_MAX]; /* a byte in each, at worst; empty ones are left out */
    uint32_t n = 0, left = packet->nb_segs;

    for (; packet != NULL && left > 0 && n < FLOWQ_HEADER_MAX; packet = packet->next, left--)
        if (packet->data_len > 0)
            pieces[n++] = (struct iovec){.iov_base = rte_pktmbuf_mtod(packet, void *), .iov_len = packet->data_len};
    flowq_gather(&views->at[i], pieces, n, 0, views->scratch[i], sizeof(views->scratch[i]));
}

/* A burst under way. */
struct burst {
    struct port *port;
    int vid;
    uint32_t n;
    struct flowq_decision decisions[BURST];
    uint32_t taken; /* bit i: packet i is in a ring */
};
_Static_assert(BURST <= 32, "burst.taken has a bit for each packet");

static void ring_lock(struct receive_ring *ring)
{
    while (atomic_exchange_explicit(&ring->lock, 1, memory_order_acquire) != 0)
        while (atomic_load_explicit(&ring->lock, memory_order_relaxed) != 0)
            rte_pause();
}

static void ring_unlock(struct receive_ring *ring) { atomic_store_explicit(&ring->lock, 0, memory_order_release); }

static void count_taken(struct receive_ring *ring, const struct burst *burst, const uint16_t *order, uint32_t taken, uint32_t n)
{
    count(&ring->taken, taken);
    if (taken < n)
        count(&ring->refused, n - taken);
    for (uint32_t i = 0; i < taken; i++)
        count(&ring->reasons[burst->decisions[order[i]].reason % N_REASONS], 1);
}

/* Packets order[0] to order[n - 1], which are packets[0] and so on, into one ring (P-C). */
static uint32_t put(struct burst *burst, uint16_t ring, const uint16_t *order, struct rte_mbuf **packets, uint32_t n)
{
    struct receive_ring *receive = &burst->port->receive[ring / 2];

    ring_lock(receive);
    uint32_t taken = real.enqueue(burst->vid, ring, packets, (uint16_t)n);
    if (taken > n)
        taken = n;
    count_taken(receive, burst, order, taken, n);
    ring_unlock(receive);
    for (uint32_t i = 0; i < taken; i++)
        burst->taken |= 1u << order[i];
    return taken;
}

static bool all_to_one(const uint16_t *queues, uint32_t n)
{
    uint16_t differ = 0;

    for (uint32_t i = 1; i < n; i++)
        differ |= queues[i] ^ queues[0];
    return differ == 0;
}

static uint16_t ring_of(uint16_t queue, uint16_t otherwise) { return queue < MAX_PAIRS ? (uint16_t)(2 * queue) : otherwise; }

/* Those that were taken to the front. */
static uint32_t sort(const struct burst *burst, struct rte_mbuf **packets)
{
    struct rte_mbuf *back[BURST];
    uint32_t front = 0, n_back = 0;

    for (uint32_t i = 0; i < burst->n; i++)
        if ((burst->taken >> i & 1) != 0)
            packets[front++] = packets[i];
        else
            back[n_back++] = packets[i];
    for (uint32_t i = 0; i < n_back; i++)
        packets[front + i] = back[i];
    return front;
}

/* Queue by queue. Each queue's packets keep their order, and so do a flow's. */
static uint32_t spread(struct burst *burst, uint16_t ring, const uint16_t *queues, struct rte_mbuf **packets)
{
    uint16_t order[BURST];
    struct flowq_run runs[BURST];
    struct rte_mbuf *grouped[BURST];
    size_t n_runs = flowq_group(queues, burst->n, order, runs, BURST);

    for (uint32_t i = 0; i < burst->n; i++)
        grouped[i] = packets[order[i]];
    for (size_t r = 0; r < n_runs; r++)
        put(burst, ring_of(runs[r].qid, ring), &order[runs[r].first], &grouped[runs[r].first], runs[r].count);
    return sort(burst, packets);
}

static uint32_t put_burst(struct port *port, int vid, uint16_t ring, struct rte_mbuf **packets, uint32_t n)
{
    static const uint16_t in_order[BURST] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                             16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
    struct burst burst = {.port = port, .vid = vid, .n = n, .taken = 0};
    struct views views;
    uint16_t queues[BURST];

    views_make(&views, packets, n);
    flowq_rx_decide_burst(port->vm, views.at, n, burst.decisions);
    for (uint32_t i = 0; i < n; i++)
        queues[i] = burst.decisions[i].qid;
    if (all_to_one(queues, n))
        return put(&burst, ring_of(queues[0], ring), in_order, packets, n);
    return spread(&burst, ring, queues, packets);
}

uint16_t port_enqueue(struct port *port, int vid, uint16_t ring, struct rte_mbuf **packets, uint16_t n)
{
    uint32_t taken = 0;

    /* Behind a packet that was not taken, a later one of its flow must not be. */
    while (taken < n) {
        uint32_t part = n - taken < BURST ? n - taken : BURST;
        uint32_t now = put_burst(port, vid, ring, packets + taken, part);
        taken += now;
        if (now < part)
            break;
    }
    return (uint16_t)taken;
}
