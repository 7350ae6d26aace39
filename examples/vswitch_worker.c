/*
 * vswitch: a packet's way from port to port.
 *
 *     receive a burst from one transmit queue of a port
 *     -> note it for the VM behind that port
 *     -> look up where each packet goes
 *     -> for each port: choose the receive queues, group by queue, put into the rings
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vswitch.h"

#include <errno.h>
#include <rte_ether.h>
#include <rte_lcore.h>
#include <string.h>
#include <time.h>

/* After so many turns without a packet a worker sleeps, twice as long each time, and never long enough to be felt. */
enum { PATIENCE = 64, FIRST_SLEEP_NS = 5000, LONGEST_SLEEP_NS = 200000 };

/* flowq looks at the first piece of a packet only, which holds the headers: pieces are 2 KiB. */
static struct flowq_pkt view(struct rte_mbuf *packet)
{
    return (struct flowq_pkt){.data = rte_pktmbuf_mtod(packet, const void *), .len = rte_pktmbuf_data_len(packet)};
}

static const uint8_t *ethernet(struct rte_mbuf *packet) { return rte_pktmbuf_mtod(packet, const uint8_t *); }

/* ---- To a port ---- */

static uint64_t bytes_of(struct rte_mbuf **packets, uint16_t n)
{
    uint64_t bytes = 0;
    for (uint16_t i = 0; i < n; i++)
        bytes += rte_pktmbuf_pkt_len(packets[i]);
    return bytes;
}

/* What does not fit into the ring is dropped and counted: a switch that waited for one guest would make all others wait. */
static void send_run(struct port *port, uint16_t qid, struct rte_mbuf **packets, uint16_t n)
{
    struct queue_counts *counts = &port->counts[qid];
    bool on = atomic_load(&port->rx_on[qid]);
    uint16_t sent = port->ops->send(port, qid, packets, n);

    count(&counts->to_vm, sent);
    count(&counts->to_vm_bytes, bytes_of(packets, sent));
    if (sent < n)
        count(atomic_load(&port->rx_on[qid]) ? &counts->full : &counts->off, (uint64_t)n - sent);
    if (sent > 0 && !on && !atomic_load(&port->rx_on[qid]))
        count(&counts->broken, sent);
}

static void deliver(struct port *port, struct rte_mbuf **packets, uint16_t n)
{
    struct flowq_pkt views[BURST];
    struct flowq_run runs[MAX_QUEUES + 1]; /* and one for FLOWQ_DROP */
    uint16_t qids[BURST], order[BURST];

    for (uint16_t i = 0; i < n; i++)
        views[i] = view(packets[i]);
    port_choose(port, views, n, qids);
    size_t n_runs = flowq_group(qids, n, order, runs, MAX_QUEUES + 1);
    for (size_t r = 0; r < n_runs; r++) {
        struct rte_mbuf *run[BURST];
        if (runs[r].qid == FLOWQ_DROP) {
            count(&port->no_queue, runs[r].count);
            continue;
        }
        for (uint16_t i = 0; i < runs[r].count; i++)
            run[i] = packets[order[runs[r].first + i]];
        send_run(port, runs[r].qid, run, runs[r].count);
    }
}

/* ---- From a port ---- */

static void note(struct port *port, uint32_t qid, struct rte_mbuf **packets, uint16_t n)
{
    struct flowq_pkt views[BURST];

    count(&port->counts[qid].from_vm, n);
    if (atomic_load_explicit(&port->steer, memory_order_relaxed) != STEER_AUTO)
        return; /* nobody will ask */
    for (uint16_t i = 0; i < n; i++)
        views[i] = view(packets[i]);
    flowq_tx_note_burst(port->vm, views, n, qid);
}

/* Port by port. Steering and grouping the whole burst at once (flowq_rx_steer_burst_vms(), flowq_group_vms(): examples/turn.c) is
   faster where it goes to many VMs, from about eight on; for fewer, this is. */
static void forward(struct port *from, struct rte_mbuf **packets, uint16_t n)
{
    int target[BURST];

    for (uint16_t i = 0; i < n; i++) {
        const uint8_t *frame = ethernet(packets[i]);
        mac_learn(&the_switch.macs, frame + RTE_ETHER_ADDR_LEN, from->index);
        target[i] = mac_is_group(frame) ? MAC_NO_PORT : mac_find(&the_switch.macs, frame);
    }
    for (uint32_t p = 0; p < the_switch.n_ports; p++) {
        struct rte_mbuf *chosen[BURST];
        uint16_t n_chosen = 0;
        for (uint16_t i = 0; i < n; i++)
            if (p != from->index && (target[i] == (int)p || target[i] == MAC_NO_PORT))
                chosen[n_chosen++] = packets[i];
        if (n_chosen > 0)
            deliver(&the_switch.ports[p], chosen, n_chosen);
    }
}

/* Frames too short for an Ethernet header go no further. */
static uint16_t drop_runts(struct rte_mbuf **packets, uint16_t n)
{
    uint16_t kept = 0;

    for (uint16_t i = 0; i < n; i++) {
        if (rte_pktmbuf_data_len(packets[i]) >= RTE_ETHER_HDR_LEN)
            packets[kept++] = packets[i];
        else
            rte_pktmbuf_free(packets[i]);
    }
    return kept;
}

static bool serve(struct port *port, uint32_t qid)
{
    struct rte_mbuf *packets[BURST];
    uint16_t n = port->ops->receive(port, qid, packets, BURST);

    if (n == 0)
        return false;
    n = drop_runts(packets, n);
    if (n > 0) {
        note(port, qid, packets, n);
        forward(port, packets, n);
        rte_pktmbuf_free_bulk(packets, n); /* send() has copied them */
    }
    return true;
}

/* ---- Threads ---- */

static bool turn(uint32_t worker)
{
    bool busy = false;

    flowq_enter(); /* cannot fail: the thread is registered */
    for (uint32_t p = 0; p < the_switch.n_ports; p++) {
        struct port *port = &the_switch.ports[p];
        uint32_t n = atomic_load_explicit(&port->n_polled, memory_order_relaxed);
        for (uint32_t q = 0; q < n; q++)
            if ((p + q) % the_switch.n_workers == worker)
                busy |= serve(port, q);
    }
    flowq_leave();
    return busy;
}

static void *work(void *arg)
{
    uint32_t worker = (uint32_t)(uintptr_t)arg, idle = 0;
    struct timespec pause = {.tv_nsec = FIRST_SLEEP_NS};

    rte_thread_register(); /* a cache of mbufs of its own; without, it is only slower */
    while (!atomic_load_explicit(&the_switch.stop, memory_order_relaxed)) {
        count(&the_switch.turns, 1);
        if (turn(worker)) {
            idle = 0;
            pause.tv_nsec = FIRST_SLEEP_NS;
            continue;
        }
        count(&the_switch.idle_turns, 1);
        if (++idle < PATIENCE)
            continue;
        nanosleep(&pause, NULL);
        if (pause.tv_nsec * 2 <= LONGEST_SLEEP_NS)
            pause.tv_nsec *= 2;
    }
    rte_thread_unregister();
    return NULL;
}

/* Registers with flowq before anything else, so that a failure is one of the start. */
static void *begin(void *arg)
{
    static _Atomic bool told;

    if (flowq_thread_register() == 0)
        return work(arg);
    if (!atomic_exchange(&told, true))
        complain("worker", "flowq_thread_register", strerror(ENOMEM));
    return NULL;
}

int workers_start(uint32_t n)
{
    the_switch.n_workers = n;
    for (uint32_t i = 0; i < n; i++) {
        int error = pthread_create(&the_switch.workers[i], NULL, begin, (void *)(uintptr_t)i);
        if (error != 0) {
            the_switch.n_workers = i;
            workers_stop();
            return complain("worker", "thread", strerror(error));
        }
    }
    return 0;
}

void workers_stop(void)
{
    atomic_store(&the_switch.stop, true);
    for (uint32_t i = 0; i < the_switch.n_workers; i++)
        pthread_join(the_switch.workers[i], NULL);
    the_switch.n_workers = 0;
}
