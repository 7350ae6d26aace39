/*
 * Open vSwitch's userspace datapath. Shown in flowq-integration(7).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "dp-packet.h"
#include "netdev.h"

#include <flowq.h>

static void view(struct dp_packet **packets, size_t n,
                 struct flowq_pkt *pkts)
{
    for (size_t i = 0; i < n; i++)
        pkts[i] = (struct flowq_pkt){
            .data = dp_packet_data(packets[i]),
            .len = dp_packet_size(packets[i]),
        };
}

/* netdev_dpdk_vhost_rxq_recv(): behind rte_vhost_dequeue_burst(), before
   the policer frees any: note(vm, rxq->queue_id, batch->packets, nb_rx) */
static void note(struct flowq_vm *vm, int qid,
                 struct dp_packet **packets, size_t n)
{
    struct flowq_pkt pkts[NETDEV_MAX_BURST];

    view(packets, n, pkts);
    flowq_tx_note_burst(vm, pkts, n, (uint32_t)qid);
}

/* dp_netdev_pmd_flush_output_on_port(), as a branch beside that of
   TXQ_MODE_XPS_HASH: steer(vm, p->port->netdev, &p->output_pkts) */
static void steer(struct flowq_vm *vm, struct netdev *netdev,
                  struct dp_packet_batch *batch)
{
    size_t n = dp_packet_batch_size(batch);
    struct flowq_pkt pkts[NETDEV_MAX_BURST];
    struct flowq_run runs[NETDEV_MAX_BURST];
    uint16_t qids[NETDEV_MAX_BURST], order[NETDEV_MAX_BURST];

    view(batch->packets, n, pkts);
    flowq_rx_steer_burst(vm, pkts, n, qids);
    size_t n_runs = flowq_group(qids, n, order, runs, NETDEV_MAX_BURST);
    for (size_t r = 0; r < n_runs; r++) {
        struct dp_packet_batch out;
        dp_packet_batch_init(&out);
        for (size_t i = 0; i < runs[r].count; i++)
            dp_packet_batch_add(&out,
                batch->packets[order[runs[r].first + i]]);
        if (runs[r].qid != FLOWQ_DROP)
            netdev_send(netdev, runs[r].qid, &out, true);
        else
            dp_packet_delete_batch(&out, true);
    }
}
