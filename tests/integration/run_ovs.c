/*
 * Runs ovs.c against the declarations in shim/: a batch noted on two pairs; the answers, mixed, sent group by group.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "ovs.c"

#include "run.h"

enum { FLOWS = 8 };

struct dp_packet {
    uint8_t frame[FRAME_SIZE];
    unsigned number;
};

struct netdev {
    unsigned queue_of[FLOWS];
    unsigned taken, deleted, calls;
};

void *dp_packet_data(const struct dp_packet *packet) { return (void *)(uintptr_t)packet->frame; }
uint32_t dp_packet_size(const struct dp_packet *packet) { return sizeof(packet->frame); }
void dp_packet_batch_init(struct dp_packet_batch *batch) { batch->count = 0; }
size_t dp_packet_batch_size(const struct dp_packet_batch *batch) { return batch->count; }

void dp_packet_batch_add(struct dp_packet_batch *batch, struct dp_packet *packet)
{
    MUST(batch->count < NETDEV_MAX_BURST);
    batch->packets[batch->count++] = packet;
}

static struct netdev port;

void dp_packet_delete_batch(struct dp_packet_batch *batch, bool should_steal)
{
    MUST(should_steal);
    port.deleted += (unsigned)batch->count;
}

int netdev_send(struct netdev *netdev, int qid, struct dp_packet_batch *batch, bool concurrent_txq)
{
    MUST(netdev == &port && concurrent_txq && batch->count > 0);
    for (size_t i = 0; i < batch->count; i++) {
        MUST((unsigned)qid == port.queue_of[batch->packets[i]->number]);
        MUST(i == 0 || batch->packets[i]->number > batch->packets[i - 1]->number);
    }
    port.taken += (unsigned)batch->count;
    port.calls++;
    return 0;
}

int main(void)
{
    static struct dp_packet sent[FLOWS], answers[FLOWS];
    struct flowq_vm_config cfg = {.size = sizeof(cfg)};
    struct flowq_vm *vm = make_vm(&cfg);
    struct dp_packet *half[2][FLOWS / 2];
    struct dp_packet_batch batch;

    MUST(flowq_vm_set_queue_pairs(vm, PAIRS) == 0);
    dp_packet_batch_init(&batch);
    for (unsigned i = 0; i < FLOWS; i++) {
        make_frame(sent[i].frame, (uint8_t)i, false);
        make_frame(answers[i].frame, (uint8_t)i, true);
        answers[i].number = i;
        half[i % 2][i / 2] = &sent[i];
        port.queue_of[i] = i % 2 ? 3 : 1;
        dp_packet_batch_add(&batch, &answers[i]);
    }
    note(vm, 1, half[0], FLOWS / 2);
    note(vm, 3, half[1], FLOWS / 2);
    steer(vm, &port, &batch);
    MUST(port.taken == FLOWS && port.calls == 2 && port.deleted == 0);
    MUST(flowq_vm_set_queue_enabled(vm, FLOWQ_ALL_QUEUES, false) == 0);
    steer(vm, &port, &batch);
    MUST(port.taken == FLOWS && port.deleted == FLOWS);
    flowq_vm_destroy(vm);
    return 0;
}
