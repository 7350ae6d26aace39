/*
 * Open vSwitch's userspace datapath. Shown in flowq-integration(7).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include <errno.h>
#include <stdbool.h>

#include "dp-packet.h"
#include "netdev.h"

#include <flowq.h>

/* Two fields of struct netdev_dpdk. */
struct steering {
    struct flowq_vm *vm;
    bool on; /* written while no thread polls the port, as txq_mode is */
};

/* vhost_common_construct(), which both constructors call, behind tx_q */
static int steering_create(struct steering *s, uint32_t pairs)
{
    struct flowq_vm_config cfg = {
        .size = sizeof(cfg),
        .max_queue_pairs = pairs,
    };
    int error = flowq_vm_create(&cfg, &s->vm);

    if (error)
        return -error; /* the caller frees tx_q and vhost_rxq_enabled */
    flowq_vm_set_queue_pairs(s->vm, pairs);
    flowq_vm_set_queue_enabled(s->vm, FLOWQ_ALL_QUEUES, false);
    return 0;
}

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
   the policer frees any: n is nb_rx, at most NETDEV_MAX_BURST */
static void note(const struct steering *s, int qid,
                 struct dp_packet **packets, size_t n)
{
    struct flowq_pkt pkts[NETDEV_MAX_BURST];

    if (!s->on)
        return; /* nobody asks for what would be learned */
    view(packets, n, pkts);
    flowq_tx_note_burst(s->vm, pkts, n, (uint32_t)qid);
}

static void steer_some(struct flowq_vm *vm, struct netdev *netdev,
                       struct dp_packet **packets, size_t n)
{
    struct flowq_pkt pkts[NETDEV_MAX_BURST];
    struct flowq_run runs[NETDEV_MAX_BURST];
    uint16_t qids[NETDEV_MAX_BURST], order[NETDEV_MAX_BURST];

    view(packets, n, pkts);
    flowq_rx_steer_burst(vm, pkts, n, qids);
    size_t n_runs = flowq_group(qids, n, order, runs, NETDEV_MAX_BURST);
    for (size_t r = 0; r < n_runs; r++) {
        struct dp_packet_batch out;
        dp_packet_batch_init(&out);
        for (size_t i = 0; i < runs[r].count; i++)
            dp_packet_batch_add(&out, packets[order[runs[r].first + i]]);
        /* FLOWQ_DROP, too: all queues are off then, and netdev_send()
           drops the packets and counts them. */
        netdev_send(netdev, runs[r].qid, &out, true);
        /* Where batches grow, dp_packet_batch_destroy(&out). */
    }
}

/* dp_netdev_pmd_flush_output_on_port(), as a branch beside that of
   TXQ_MODE_XPS_HASH: a batch may hold more than NETDEV_MAX_BURST */
static void steer(struct flowq_vm *vm, struct netdev *netdev,
                  struct dp_packet_batch *batch)
{
    size_t n = dp_packet_batch_size(batch);

    for (size_t at = 0; at < n; at += NETDEV_MAX_BURST)
        steer_some(vm, netdev, batch->packets + at,
                   n - at < NETDEV_MAX_BURST ? n - at : NETDEV_MAX_BURST);
}
