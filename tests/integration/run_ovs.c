/*
 * Runs ovs.c against the declarations in shim/: a batch noted on two pairs; the answers, mixed, sent group by group.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "ovs.c"

#include "run.h"

enum { FLOWS = NETDEV_MAX_BURST + 8 };

struct dp_packet {
    uint8_t frame[FRAME_SIZE];
    unsigned number;
};

struct netdev {
    unsigned queue_of[FLOWS];
    unsigned taken, dropped, calls;
};

void *dp_packet_data(const struct dp_packet *packet) { return (void *)(uintptr_t)packet->frame; }
uint32_t dp_packet_size(const struct dp_packet *packet) { return sizeof(packet->frame); }
size_t dp_packet_batch_size(const struct dp_packet_batch *batch) { return batch->count; }

void dp_packet_batch_init(struct dp_packet_batch *batch)
{
    batch->count = 0;
    batch->packets = batch->embedded;
}

void dp_packet_batch_add(struct dp_packet_batch *batch, struct dp_packet *packet)
{
    MUST(batch->packets != batch->embedded || batch->count < NETDEV_MAX_BURST);
    batch->packets[batch->count++] = packet;
}

static struct netdev port;

int netdev_send(struct netdev *netdev, int qid, struct dp_packet_batch *batch, bool concurrent_txq)
{
    MUST(netdev == &port && concurrent_txq && batch->count > 0);
    port.calls++;
    if (qid == FLOWQ_DROP) {
        port.dropped += (unsigned)batch->count;
        return 0;
    }
    for (size_t i = 0; i < batch->count; i++) {
        MUST((unsigned)qid == port.queue_of[batch->packets[i]->number]);
        MUST(i == 0 || batch->packets[i]->number > batch->packets[i - 1]->number);
    }
    port.taken += (unsigned)batch->count;
    return 0;
}

/* What has been noted of this vm's packets so far. */
static uint64_t noted(struct flowq_vm *vm)
{
    struct flowq_stats stats = {.size = sizeof(stats)};
    uint64_t n = 0;

    MUST(flowq_vm_stats(vm, &stats) == 0);
    for (unsigned i = 0; i < FLOWQ_NOTE_SLOTS; i++)
        n += stats.note[i];
    return n;
}

int main(void)
{
    static struct dp_packet sent[FLOWS], answers[FLOWS];
    static struct dp_packet *half[2][FLOWS / 2], *grown[FLOWS];
    struct dp_packet_batch batch = {.packets = grown}; /* more than is embedded */
    struct steering s = {.on = false};

    MUST(steering_create(&s, PAIRS) == 0);
    steer(s.vm, &port, &batch); /* an empty one */
    MUST(port.calls == 0);
    for (unsigned i = 0; i < FLOWS; i++) {
        make_frame(sent[i].frame, (uint8_t)i, false);
        make_frame(answers[i].frame, (uint8_t)i, true);
        answers[i].number = i;
        half[i % 2][i / 2] = &sent[i];
        port.queue_of[i] = i % 2 ? 3 : 1;
        dp_packet_batch_add(&batch, &answers[i]);
    }
    steer(s.vm, &port, &batch); /* no ring is enabled yet */
    MUST(port.dropped == FLOWS && port.taken == 0);
    MUST(flowq_vm_set_queue_enabled(s.vm, FLOWQ_ALL_QUEUES, true) == 0);
    note(&s, 1, half[0], FLOWS / 2);
    MUST(noted(s.vm) == 0); /* nobody steers */
    s.on = true;
    /* A flow on the queue that the fallback gives is learned when it is noted again. */
    for (unsigned twice = 0; twice < 2; twice++) {
        note(&s, 1, half[0], FLOWS / 2);
        note(&s, 3, half[1], FLOWS / 2);
    }
    steer(s.vm, &port, &batch);
    MUST(port.taken == FLOWS && port.dropped == FLOWS);
    flowq_vm_destroy(s.vm);
    return 0;
}
