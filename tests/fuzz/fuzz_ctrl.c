/*
 * Any commands of the control queue, in any pieces, with packets between them: answers name queues in use, a refused command
 * changes nothing, nothing is read or written where it must not be. Entry point of libFuzzer, see tests/fuzz/run; with
 * tests/fuzz/replay.c a program of its own that replays the seeds.
 *
 * An input is two bytes of features and settings, and then commands: class, command, two bytes of length, data.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../frames.h"
#include "fuzz.h"

#define PAIRS 8

static struct flowq_vm *make(uint8_t features, uint8_t settings)
{
    struct flowq_vm_config c = {.size = sizeof(c), .max_queue_pairs = PAIRS};
    struct flowq_vm *vm;
    c.virtio_features = (features & 1 ? FLOWQ_VIRTIO_F_MQ : 0) | (features & 2 ? FLOWQ_VIRTIO_F_RSS : 0) |
                        (features & 4 ? FLOWQ_VIRTIO_F_HASH_REPORT : 0) | (features & 8 ? FLOWQ_VIRTIO_F_HASH_TUNNEL : 0) |
                        (features & 16 ? FLOWQ_VIRTIO_F_VERSION_1 : 0);
    c.virtio_big_endian = features & 32 ? FLOWQ_ON : FLOWQ_OFF;
    c.virtio_max_table = settings & 1 ? 1024 : 128;
    c.virtio_max_key = settings & 2 ? 255 : 40;
    c.virtio_hash_types = settings & 4 ? FLOWQ_HASH_TYPE_TCPV4 : 0;
    return flowq_vm_create(&c, &vm) == 0 ? vm : NULL;
}

/* What the vm does now. */
struct behaviour {
    struct flowq_decision decision[4];
    uint32_t pairs, in_use;
};

static struct behaviour behaviour_of(struct flowq_vm *vm)
{
    static const uint8_t protocols[4] = {FRAME_PROTO_TCP, FRAME_PROTO_UDP, FRAME_PROTO_ESP, FRAME_PROTO_TCP};
    struct behaviour b;
    struct frame f[4];
    struct flowq_pkt pkt[4];
    struct flowq_stats stats = {.size = sizeof(stats)};
    memset(&b, 0, sizeof(b));
    for (unsigned i = 0; i < 4; i++) {
        struct flowq_tuple t = i == 3 ? tuple_v6(protocols[i], 1, 2, 3, 4) : tuple_v4(protocols[i], 1, 2, 3, 4);
        frame_flow(&f[i], &t, 0);
        pkt[i] = frame_pkt(&f[i]);
    }
    flowq_rx_decide_burst(vm, pkt, 4, b.decision);
    flowq_vm_stats(vm, &stats);
    b.pairs = stats.queue_pairs;
    b.in_use = stats.queues_in_use;
    for (unsigned i = 0; i < 4; i++) {
        struct flowq_queue_stats q = {.size = sizeof(q)};
        /* None is reset here. */
        must(flowq_vm_queue_stats(vm, b.decision[i].qid, &q) == 0 && q.in_use, "a queue that is not in use");
        must(b.decision[i].hash_report <= FLOWQ_HASH_REPORT_UDPV6_EX, "a report that virtio does not know");
    }
    return b;
}

/* In pieces of their own memory, so that a read beyond one is seen. */
static uint8_t send(struct flowq_vm *vm, uint8_t cls, uint8_t cmd, const uint8_t *data, size_t n)
{
    struct iovec iov[3];
    size_t cut[4] = {0, n / 3, n / 3 + n / 2, n};
    for (unsigned i = 0; i < 3; i++) {
        iov[i].iov_len = cut[i + 1] - cut[i];
        iov[i].iov_base = malloc(iov[i].iov_len ? iov[i].iov_len : 1);
        must(iov[i].iov_base != NULL, "no memory");
        memcpy(iov[i].iov_base, data + cut[i], iov[i].iov_len);
    }
    uint8_t answer = flowq_vm_ctrl(vm, cls, cmd, iov, 3);
    for (unsigned i = 0; i < 3; i++)
        free(iov[i].iov_base);
    return answer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct flowq_vm *vm = make(data[0], data[1]);
    if (!vm)
        return 0;
    struct behaviour before = behaviour_of(vm);
    for (data += 2, size -= 2; size >= 4;) {
        size_t n = (size_t)data[2] | (size_t)data[3] << 8;
        n = n < size - 4 ? n : size - 4;
        uint8_t answer = send(vm, data[0], data[1], data + 4, n);
        struct behaviour after = behaviour_of(vm);
        must(answer == FLOWQ_CTRL_OK || answer == FLOWQ_CTRL_ERR, "an answer that virtio does not know");
        must(answer == FLOWQ_CTRL_OK || memcmp(&before, &after, sizeof(after)) == 0, "a refused command changed something");
        before = after;
        data += 4 + n;
        size -= 4 + n;
    }
    flowq_vm_destroy(vm);
    return 0;
}
