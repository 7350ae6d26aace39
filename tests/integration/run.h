/*
 * What the programs that run the snippets share: a flow's packets in both directions, and vms.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef RUN_H
#define RUN_H

#include <flowq.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAIRS = 4, FRAME_SIZE = 14 + 20 + 8, IP = 14, UDP = IP + 20 };

#define MUST(condition)                                                                                                          \
    do {                                                                                                                         \
        if (!(condition)) {                                                                                                      \
            printf("FAILED: %s:%d: %s\n", __FILE__, __LINE__, #condition);                                                       \
            exit(1);                                                                                                             \
        }                                                                                                                        \
    } while (0)

/* Ethernet, IPv4, UDP: from the VM (10.0.0.2, port 5000 + flow) to 10.0.0.1 port 53, or the answer. */
static inline void make_frame(uint8_t *frame, uint8_t flow, bool answer)
{
    static const uint8_t head[FRAME_SIZE] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17};
    static const uint8_t vm[4] = {10, 0, 0, 2}, remote[4] = {10, 0, 0, 1};
    const uint8_t vm_port[2] = {5000 >> 8, (uint8_t)(5000 + flow)}, remote_port[2] = {0, 53};

    memcpy(frame, head, FRAME_SIZE);
    memcpy(frame + IP + 12, answer ? remote : vm, 4);
    memcpy(frame + IP + 16, answer ? vm : remote, 4);
    memcpy(frame + UDP, answer ? remote_port : vm_port, 2);
    memcpy(frame + UDP + 2, answer ? vm_port : remote_port, 2);
    frame[UDP + 5] = 8;
}

static inline struct flowq_vm *make_vm(struct flowq_vm_config *cfg)
{
    struct flowq_vm *vm;

    cfg->size = sizeof(*cfg);
    cfg->max_queue_pairs = PAIRS;
    MUST(flowq_vm_create(cfg, &vm) == 0);
    return vm;
}

/* A binding must not be what the fallback chooses anyway. */
static inline uint32_t another_queue(struct flowq_vm *vm, const uint8_t *answer)
{
    struct flowq_pkt pkt = {.data = answer, .len = FRAME_SIZE};

    return (flowq_rx_steer(vm, &pkt) + 1U) % PAIRS;
}

#endif
