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
    bool inside;         /* of the gate of: */
    struct fetch *fetch; /* NULL: nothing is fetched ahead */
    uint32_t n, n_runs;
    struct flowq_decision decisions[BURST];
    uint8_t run_of[BURST]; /* by packet */
    struct run runs[BURST];
};

/* Packets by reason, a byte for each reason: a burst is counted in registers, and its sums once. */
static uint64_t reasons_n(uint8_t reason, uint32_t n) { return (uint64_t)n << 8 * (reason % N_REASONS); }
static uint64_t add_reason(uint64_t reasons, uint8_t reason) { return reasons + reasons_n(reason, 1); }
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
    if (burst->fetch != NULL && run->taken > 0)
        fetch_used(burst->fetch, burst->vid, 2 * run->pair);
    ring_unlock(ring);
}

/* ---- Ring by ring ---- */

static uint32_t pair_of(uint16_t queue, uint16_t otherwise) { return queue < MAX_PAIRS ? queue : otherwise / 2u; }

/* Which of qid and reason are not the same in all packets, as one_word() has them. Mostly the reason is. */
static uint32_t one_word(const struct flowq_decision *decision) { return decision->qid | (uint32_t)decision->reason << 16; }
enum { WORD_QUEUE = 0xffff, WORD_REASON = 0xff0000 };

static uint32_t differing(const struct burst *burst)
{
    const uint32_t first = one_word(&burst->decisions[0]);
    uint32_t differ = 0;

    for (uint32_t i = 1; i < burst->n; i++)
        differ |= one_word(&burst->decisions[i]) ^ first;
    return differ;
}

static uint64_t reasons_of_all(const struct burst *burst)
{
    uint64_t reasons = 0;

    for (uint32_t i = 0; i < burst->n; i++)
        reasons = add_reason(reasons, burst->decisions[i].reason);
    return reasons;
}

/* The runs, and the packets of each. */
static inline __attribute__((always_inline)) void part(struct burst *burst, uint16_t ring, struct rte_mbuf *const *packets,
                                                       struct rte_mbuf *(*of_run)[BURST], bool one_reason)
{
    uint64_t known[MAX_PAIRS / 64] = {0}; /* pairs that have a run: */
    uint8_t run_of_pair[MAX_PAIRS];
    uint32_t n_runs = 0;

    for (uint32_t i = 0, n = burst->n; i < n; i++) {
        const struct flowq_decision *decision = &burst->decisions[i];
        uint32_t pair = pair_of(decision->qid, ring);
        if (__builtin_expect((known[pair / 64] >> pair % 64 & 1) == 0, 0)) {
            known[pair / 64] |= UINT64_C(1) << pair % 64;
            run_of_pair[pair] = (uint8_t)n_runs;
            burst->runs[n_runs++] = (struct run){.pair = pair};
        }
        uint8_t r = burst->run_of[i] = run_of_pair[pair];
        struct run *run = &burst->runs[r];
        of_run[r][run->n++] = packets[i];
        if (!one_reason)
            run->reasons = add_reason(run->reasons, decision->reason);
    }
    for (uint32_t r = 0; one_reason && r < n_runs; r++)
        burst->runs[r].reasons = reasons_n(burst->decisions[0].reason, burst->runs[r].n);
    burst->n_runs = n_runs;
}

/* Before librte_vhost is called for any of the runs: what it will need for all of them. */
static void fetch_runs(struct burst *burst, struct rte_mbuf *const *first, size_t stride)
{
    uint64_t pairs = 0;

    if (!burst->inside)
        return;
    for (uint32_t r = 0; r < burst->n_runs; r++) {
        const struct run *run = &burst->runs[r];
        fetch_receive(burst->fetch, 2 * run->pair, run->n, first[r * stride]->data_len);
        pairs |= run->pair < 64 ? UINT64_C(1) << run->pair : 0;
    }
    fetch_leave(burst->fetch);
    fetch_remember(burst->fetch, pairs);
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
static uint32_t spread(struct port *port, struct burst *burst, uint16_t ring, struct rte_mbuf **packets, bool one_reason)
{
    struct rte_mbuf *of_run[BURST][BURST];
    uint32_t taken = 0;

    if (one_reason)
        part(burst, ring, packets, of_run, true);
    else
        part(burst, ring, packets, of_run, false);
    fetch_runs(burst, of_run[0], BURST);
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
    burst.fetch = fetch_of(vid);
    burst.inside = fetch_enter(burst.fetch);
    if (burst.inside)
        fetch_early(burst.fetch);
    views_make(&views, packets, n);
    if (__builtin_expect(port->ordered != NULL, 0))
        ordered_look(port);
    flowq_rx_decide_burst(port->vm, views.at, n, burst.decisions);
    uint32_t differ = differing(&burst);
    if ((differ & WORD_QUEUE) != 0)
        return spread(port, &burst, ring, packets, (differ & WORD_REASON) == 0);
    burst.runs[0] =
        (struct run){.pair = pair_of(burst.decisions[0].qid, ring),
                     .n = n,
                     .reasons = (differ & WORD_REASON) == 0 ? reasons_n(burst.decisions[0].reason, n) : reasons_of_all(&burst)};
    burst.n_runs = 1;
    memset(burst.run_of, 0, sizeof(burst.run_of));
    fetch_runs(&burst, packets, 0);
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
