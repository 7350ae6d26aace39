/*
 * flowq-vhost: packets that go to the guest.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "ordered.h"
#include "packets.h"
#include "real.h"

#include <rte_pause.h>
#include <string.h>

void views_gather(struct views *views, uint32_t i, const struct rte_mbuf *packet)
{
    struct iovec pieces[FLOWQ_HEADER_MAX]; /* a byte in each, at worst; empty ones are left out */
    uint32_t n = 0, left = packet->nb_segs;

    for (; packet != NULL && left > 0 && n < FLOWQ_HEADER_MAX; packet = packet->next, left--)
        if (packet->data_len > 0)
            pieces[n++] = (struct iovec){.iov_base = rte_pktmbuf_mtod(packet, void *), .iov_len = packet->data_len};
    flowq_gather(&views->at[i], pieces, n, 0, views->scratch[i], sizeof(views->scratch[i]));
}

/* Packets of a burst for the same ring, in their order. */
struct run {
    uint32_t pair, n;
    uint32_t taken;   /* that many of the first ones are in the ring */
    uint64_t reasons; /* of all n: add_reason() */
};

/* A burst under way. */
struct burst {
    int vid;
    uint32_t n, n_runs;
    struct flowq_decision decisions[BURST];
    uint8_t run_of[BURST]; /* by packet */
    struct run runs[BURST];
};

/* Packets by reason, a byte for each reason: a burst is counted in registers, and its sums once. */
static uint64_t add_reason(uint64_t reasons, uint8_t reason) { return reasons + (UINT64_C(1) << 8 * (reason % N_REASONS)); }
_Static_assert(N_REASONS <= sizeof(uint64_t) && BURST <= UINT8_MAX, "a byte for each reason can count a burst");

/* ---- Into one ring ---- */

static void ring_lock(struct receive_ring *ring)
{
    while (atomic_exchange_explicit(&ring->lock, 1, memory_order_acquire) != 0)
        while (atomic_load_explicit(&ring->lock, memory_order_relaxed) != 0)
            rte_pause();
}

static void ring_unlock(struct receive_ring *ring) { atomic_store_explicit(&ring->lock, 0, memory_order_release); }

/* Those of the first packets of a run, when not all were taken. */
static uint64_t reasons_of_taken(const struct burst *burst, const struct run *run)
{
    uint64_t reasons = 0;

    for (uint32_t i = 0, seen = 0; seen < run->taken; i++)
        if (&burst->runs[burst->run_of[i]] == run) {
            reasons = add_reason(reasons, burst->decisions[i].reason);
            seen++;
        }
    return reasons;
}

/* Mostly there is one reason for all. */
static void count_reasons(struct receive_ring *ring, uint64_t reasons)
{
    while (reasons != 0) {
        uint32_t at = (uint32_t)__builtin_ctzll(reasons) & ~7u;
        uint64_t n = reasons >> at & UINT8_MAX;
        count(&ring->reasons[at / 8], n);
        reasons ^= n << at;
    }
}

/* P-C. `packets`: those of the run. */
static void put(struct port *port, const struct burst *burst, struct run *run, struct rte_mbuf **packets)
{
    struct receive_ring *ring = &port->receive[run->pair];

    ring_lock(ring);
    if (__builtin_expect(port->ordered != NULL, 0))
        ordered_before(port, burst->vid, run->pair);
    run->taken = real.enqueue(burst->vid, (uint16_t)(2 * run->pair), packets, (uint16_t)run->n);
    if (__builtin_expect(run->taken >= run->n, 1)) {
        run->taken = run->n;
        count_reasons(ring, run->reasons);
    } else {
        count(&ring->refused, run->n - run->taken);
        count_reasons(ring, reasons_of_taken(burst, run));
    }
    if (__builtin_expect(port->ordered != NULL, 0) && run->taken > 0)
        ordered_after(port, run->pair);
    ring_unlock(ring);
}

/* ---- Ring by ring ---- */

static uint32_t pair_of(uint16_t queue, uint16_t otherwise) { return queue < MAX_PAIRS ? queue : otherwise / 2u; }

/* Are all for one queue? Then they are one run. */
static bool is_one_run(struct burst *burst, uint16_t ring)
{
    const uint16_t qid = burst->decisions[0].qid;
    uint16_t differ = 0;
    uint64_t reasons = 0;

    for (uint32_t i = 0; i < burst->n; i++) {
        differ |= burst->decisions[i].qid ^ qid;
        reasons = add_reason(reasons, burst->decisions[i].reason);
    }
    burst->runs[0] = (struct run){.pair = pair_of(qid, ring), .n = burst->n, .reasons = reasons};
    return differ == 0;
}

/* The runs, and the packets of each. */
static void part(struct burst *burst, uint16_t ring, struct rte_mbuf *const *packets, struct rte_mbuf *(*of_run)[BURST])
{
    uint64_t known[MAX_PAIRS / 64] = {0}; /* pairs that have a run: */
    uint8_t run_of_pair[MAX_PAIRS];

    burst->n_runs = 0;
    for (uint32_t i = 0; i < burst->n; i++) {
        uint32_t pair = pair_of(burst->decisions[i].qid, ring);
        if ((known[pair / 64] >> pair % 64 & 1) == 0) {
            known[pair / 64] |= UINT64_C(1) << pair % 64;
            run_of_pair[pair] = (uint8_t)burst->n_runs;
            burst->runs[burst->n_runs++] = (struct run){.pair = pair};
        }
        uint8_t r = burst->run_of[i] = run_of_pair[pair];
        struct run *run = &burst->runs[r];
        of_run[r][run->n++] = packets[i];
        run->reasons = add_reason(run->reasons, burst->decisions[i].reason);
    }
}

/* Those that were taken to the front. */
static void sort(struct burst *burst, struct rte_mbuf **packets)
{
    struct rte_mbuf *back[BURST];
    uint32_t front = 0, n_back = 0;

    for (uint32_t i = 0; i < burst->n; i++) {
        struct run *run = &burst->runs[burst->run_of[i]];
        if (run->taken > 0) {
            run->taken--;
            packets[front++] = packets[i];
        } else
            back[n_back++] = packets[i];
    }
    memcpy(packets + front, back, n_back * sizeof(*back));
}

/* Each ring's packets keep their order, and so do a flow's. Where nothing is left there is nothing to sort. */
static uint32_t spread(struct port *port, struct burst *burst, uint16_t ring, struct rte_mbuf **packets)
{
    struct rte_mbuf *of_run[BURST][BURST];
    uint32_t taken = 0;

    part(burst, ring, packets, of_run);
    for (uint32_t r = 0; r < burst->n_runs; r++) {
        put(port, burst, &burst->runs[r], of_run[r]);
        taken += burst->runs[r].taken;
    }
    if (taken < burst->n)
        sort(burst, packets);
    return taken;
}

static uint32_t put_burst(struct port *port, int vid, uint16_t ring, struct rte_mbuf **packets, uint32_t n)
{
    struct burst burst;
    struct views views;

    burst.vid = vid;
    burst.n = n;
    views_make(&views, packets, n);
    if (__builtin_expect(port->ordered != NULL, 0))
        ordered_look(port);
    flowq_rx_decide_burst(port->vm, views.at, n, burst.decisions);
    if (!is_one_run(&burst, ring))
        return spread(port, &burst, ring, packets);
    memset(burst.run_of, 0, sizeof(burst.run_of));
    put(port, &burst, &burst.runs[0], packets);
    return burst.runs[0].taken;
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
