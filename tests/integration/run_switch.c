/*
 * Runs switch.c: a burst for two VMs, mixed, one of them without a queue in use for a while.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "switch.c"

#include "run.h"

enum { FLOWS = 8, N_VMS = 2 };

static struct flowq_vm *all[N_VMS];
static uint8_t sent[FLOWS][FRAME_SIZE], answers[FLOWS][FRAME_SIZE];
static uint32_t queue_of[N_VMS][FLOWS];
static unsigned taken[N_VMS];
static unsigned acknowledged;

size_t receive(struct flowq_vm **vms, struct flowq_pkt *pkts, size_t n)
{
    MUST(n == BURST);
    for (size_t i = 0; i < 2 * FLOWS; i++) {
        vms[i] = all[i % N_VMS];
        pkts[i] = (struct flowq_pkt){.data = answers[i / N_VMS], .len = FRAME_SIZE};
    }
    return N_VMS * FLOWS;
}

void enqueue(struct flowq_vm *vm, uint16_t qid, const struct flowq_pkt *pkts, const uint16_t *which, size_t n)
{
    unsigned v = vm == all[1];

    for (size_t i = 0; i < n; i++) {
        MUST(which[i] % N_VMS == v);
        MUST(pkts[which[i]].data == answers[which[i] / N_VMS]);
        MUST(queue_of[v][which[i] / N_VMS] == qid);
        MUST(i == 0 || which[i] > which[i - 1]);
    }
    taken[v] += (unsigned)n;
}

void acknowledge(struct flowq_vm *vm) { acknowledged += vm != NULL; }

int main(void)
{
    struct flowq_vm_config cfg = {.size = sizeof(cfg)};

    for (uint8_t i = 0; i < FLOWS; i++) {
        make_frame(sent[i], i, false);
        make_frame(answers[i], i, true);
    }
    for (unsigned v = 0; v < N_VMS; v++) {
        all[v] = make_vm(&cfg);
        set_pairs(all[v], PAIRS);
        for (unsigned i = 0; i < FLOWS; i++) {
            struct flowq_pkt pkt = {.data = sent[i], .len = FRAME_SIZE};
            queue_of[v][i] = another_queue(all[v], answers[i]);
            flowq_tx_note(all[v], &pkt, queue_of[v][i]);
        }
    }
    MUST(acknowledged == N_VMS);
    turn();
    MUST(taken[0] == FLOWS && taken[1] == FLOWS);
    MUST(flowq_vm_set_queue_enabled(all[1], FLOWQ_ALL_QUEUES, false) == 0);
    turn();
    MUST(taken[0] == 2 * FLOWS && taken[1] == FLOWS);
    for (unsigned v = 0; v < N_VMS; v++)
        flowq_vm_destroy(all[v]);
    return 0;
}
