/*
 * A switch that has bursts for many VMs, whatever its back ends are. Shown in flowq-integration(7).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "host.h"

#include <flowq.h>

enum { BURST = 32 };

/* A burst for many VMs: packet i goes to vms[i]. */
static void deliver(struct flowq_vm *const *vms,
                    const struct flowq_pkt *pkts, size_t n)
{
    uint16_t qids[BURST], order[BURST];
    struct flowq_run runs[BURST];

    flowq_rx_steer_burst_vms(vms, pkts, n, qids);
    size_t n_runs = flowq_group_vms(vms, qids, n, order, runs, BURST);
    for (const struct flowq_run *run = runs; run < runs + n_runs; run++)
        if (run->qid != FLOWQ_DROP)
            enqueue(vms[order[run->first]], run->qid, pkts,
                    order + run->first, run->count);
}

/* Each thread that carries packets: one turn of its loop. */
static void turn(void)
{
    struct flowq_vm *vms[BURST];
    struct flowq_pkt pkts[BURST];

    flowq_enter();
    deliver(vms, pkts, receive(vms, pkts, BURST));
    flowq_leave();
}

/* The thread that handles commands. */
static void set_pairs(struct flowq_vm *vm, uint32_t pairs)
{
    flowq_vm_set_queue_pairs(vm, pairs);
    flowq_synchronize();
    acknowledge(vm);
}
