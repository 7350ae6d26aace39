/*
 * A back end on DPDK's librte_vhost. Shown in flowq-integration(7); examples/vswitch is a whole one.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <flowq.h>
#include <rte_mbuf.h>
#include <rte_spinlock.h>
#include <rte_vhost.h>
#include <stdatomic.h>

enum { BURST = 32, MAX_PAIRS = 16, NO_DEVICE = -1 };

struct port {
    struct flowq_vm *vm;            /* of MAX_PAIRS pairs */
    _Atomic int vid;                /* librte_vhost's, or NO_DEVICE */
    rte_spinlock_t lock[MAX_PAIRS]; /* of each receive ring */
};

struct port *port_of(int vid); /* by rte_vhost_get_ifname() */

/* A front end has come: no ring is enabled yet, and who is behind it
   nobody knows. */
static int new_connection(int vid)
{
    struct flowq_vm *vm = port_of(vid)->vm;

    flowq_vm_set_queue_enabled(vm, FLOWQ_ALL_QUEUES, false);
    flowq_vm_reset(vm, FLOWQ_RESET_FLOWS);
    return 0;
}

/* Even numbers are the guest's receive rings. */
static int vring_state_changed(int vid, uint16_t ring, int enable)
{
    if (ring % 2 == 0)
        flowq_vm_set_queue_enabled(port_of(vid)->vm, ring / 2, enable);
    return 0;
}

static int new_device(int vid)
{
    atomic_store(&port_of(vid)->vid, vid);
    return 0;
}

/* No thread takes the device up any more; wait for those inside a turn. */
static void destroy_device(int vid)
{
    atomic_store(&port_of(vid)->vid, NO_DEVICE);
    flowq_synchronize();
}

static const struct rte_vhost_device_ops device_ops = {
    .new_connection = new_connection,
    .vring_state_changed = vring_state_changed,
    .new_device = new_device,
    .destroy_device = destroy_device,
};

static void view(struct rte_mbuf **mbufs, uint16_t n,
                 struct flowq_pkt *pkts)
{
    for (uint16_t i = 0; i < n; i++)
        pkts[i] = (struct flowq_pkt){
            .data = rte_pktmbuf_mtod(mbufs[i], const void *),
            .len = rte_pktmbuf_data_len(mbufs[i]),
        };
}

/* A burst from transmit ring 2q + 1, inside a section. */
static uint16_t from_guest(struct port *port, uint16_t q,
                           struct rte_mempool *pool,
                           struct rte_mbuf **mbufs)
{
    struct flowq_pkt pkts[BURST];
    int vid = atomic_load(&port->vid);

    if (vid == NO_DEVICE)
        return 0;
    uint16_t n =
        rte_vhost_dequeue_burst(vid, 2 * q + 1, pool, mbufs, BURST);
    view(mbufs, n, pkts);
    flowq_tx_note_burst(port->vm, pkts, n, q);
    return n;
}

/* A burst of at most BURST packets for the guest, inside a section. */
static void to_guest(struct port *port, struct rte_mbuf **mbufs,
                     uint16_t n)
{
    struct flowq_pkt pkts[BURST];
    struct flowq_run runs[BURST];
    struct rte_mbuf *out[BURST];
    uint16_t qids[BURST], order[BURST];
    int vid = atomic_load(&port->vid);

    view(mbufs, n, pkts);
    flowq_rx_steer_burst(port->vm, pkts, n, qids);
    size_t n_runs = flowq_group(qids, n, order, runs, BURST);
    for (size_t r = 0; r < n_runs && vid != NO_DEVICE; r++) {
        uint16_t q = runs[r].qid;
        if (q == FLOWQ_DROP)
            break; /* the last group */
        for (uint16_t i = 0; i < runs[r].count; i++)
            out[i] = mbufs[order[runs[r].first + i]];
        rte_spinlock_lock(&port->lock[q]);
        rte_vhost_enqueue_burst(vid, 2 * q, out, runs[r].count);
        rte_spinlock_unlock(&port->lock[q]);
    }
    rte_pktmbuf_free_bulk(mbufs, n); /* enqueueing copies */
}
