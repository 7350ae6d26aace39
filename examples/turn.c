/*
 * A switch's turn in small: packets that go to different guests are steered by one call, and grouped by guest and queue by
 * another. No guests, no rings: it prints what would be put where. Here every queue is in use; a switch drops the packets of
 * groups whose queue is FLOWQ_DROP. A switch that reports hashes to its guests, or wants to know why, makes the call of
 * explain().
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <flowq.h>
#include <stdio.h>
#include <string.h>

enum { GUESTS = 3, QUEUES = 2, BURST = 8, HEADERS = 28 };

/* What the switch received in this turn: packet i is of that flow of that guest. */
static const uint8_t to[BURST] = {2, 0, 1, 2, 2, 0, 1, 0}, of[BURST] = {1, 0, 1, 0, 1, 1, 0, 0};

/* UDP between 10.0.0.guest, port 5000 + flow, and 10.0.1.1, port 53. Starts at the IP header, as on a TUN device. */
static struct flowq_pkt packet(uint8_t bytes[HEADERS], uint8_t guest, uint8_t flow, bool from_guest)
{
    const uint8_t inner[6] = {10, 0, 0, guest, 19, (uint8_t)(136 + flow)}, outer[6] = {10, 0, 1, 1, 0, 53};
    const uint8_t *source = from_guest ? inner : outer, *destination = from_guest ? outer : inner;

    memcpy(bytes, (const uint8_t[HEADERS]){0x45, 0, 0, HEADERS, 0, 0, 0, 0, 64, 17, [25] = 8}, HEADERS);
    memcpy(bytes + 12, source, 4);
    memcpy(bytes + 16, destination, 4);
    memcpy(bytes + 20, source + 4, 2);
    memcpy(bytes + 22, destination + 4, 2);
    return (struct flowq_pkt){.data = bytes, .len = HEADERS, .flags = FLOWQ_PKT_L3};
}

/* Each guest uses each of its queues for a flow. */
static void transmit(struct flowq_vm *vm, uint8_t guest)
{
    uint8_t bytes[HEADERS];

    for (uint8_t flow = 0; flow < QUEUES; flow++) {
        struct flowq_pkt sent = packet(bytes, guest, flow, true);
        flowq_tx_note(vm, &sent, flow);
    }
}

static void explain(struct flowq_vm *const *vms, const struct flowq_pkt *pkts)
{
    struct flowq_decision decisions[BURST];

    flowq_rx_decide_burst_vms(vms, pkts, BURST, decisions);
    for (size_t i = 0; i < BURST; i++)
        printf("packet %zu: queue %u, %s\n", i, (unsigned)decisions[i].qid, flowq_reason_name(decisions[i].reason));
}

static void deliver(struct flowq_vm *const *guests)
{
    uint8_t bytes[BURST][HEADERS];
    struct flowq_pkt pkts[BURST];
    struct flowq_vm *vms[BURST];
    struct flowq_run runs[BURST];
    uint16_t qids[BURST], order[BURST];

    for (size_t i = 0; i < BURST; i++) {
        pkts[i] = packet(bytes[i], to[i], of[i], false);
        vms[i] = guests[to[i]];
    }
    flowq_rx_steer_burst_vms(vms, pkts, BURST, qids);
    size_t n_runs = flowq_group_vms(vms, qids, BURST, order, runs, BURST);
    for (size_t r = 0; r < n_runs; r++) {
        const uint16_t *members = &order[runs[r].first];
        printf("guest %u, queue %u: packets", (unsigned)to[members[0]], (unsigned)runs[r].qid);
        for (uint16_t i = 0; i < runs[r].count; i++)
            printf(" %u", (unsigned)members[i]);
        printf("\n");
    }
    explain(vms, pkts);
}

int main(void)
{
    struct flowq_vm *guests[GUESTS] = {NULL};
    int error = 0;

    for (uint8_t g = 0; g < GUESTS && error == 0; g++) {
        error = flowq_vm_create(NULL, &guests[g]);
        if (error == 0)
            error = flowq_vm_set_queue_pairs(guests[g], QUEUES);
        if (error == 0)
            transmit(guests[g], g);
    }
    if (error == 0)
        deliver(guests);
    else
        fprintf(stderr, "turn: %s\n", strerror(-error));
    for (size_t g = 0; g < GUESTS; g++)
        flowq_vm_destroy(guests[g]);
    return error != 0;
}
