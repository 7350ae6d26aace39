/*
 * with_flowq: this library as a contestant, through its public calls; for with_flowq.c, and for with_native.c, which gives the
 * calls other names first.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_BENCH_WITH_FLOWQ_H
#define FLOWQ_BENCH_WITH_FLOWQ_H

#include "bench.h"

static void *create(const struct shape *shape)
{
    struct flowq_vm_config config = {
        .size = sizeof(config),
        .max_flows = (uint32_t)(shape->n_flows < 8 ? 8 : shape->n_flows),
        .initial_flows = shape->room_made ? (uint32_t)shape->n_flows : 0,
        .queue_stats = shape->queue_stats ? FLOWQ_ON : FLOWQ_OFF,
        .secret = {shape->grows}, /* each time in the same way (growth.c); 0: at random */
    };
    struct flowq_vm *vm;
    int r = flowq_vm_create(&config, &vm);
    if (r != 0)
        fail("flowq_vm_create: %d", r);
    flowq_vm_set_queue_pairs(vm, QUEUES);
    return vm;
}

static void destroy(void *vm) { flowq_vm_destroy(vm); }

static inline void note_by(void *vm, const struct flowq_pkt *pkts, size_t n, uint32_t first, size_t burst)
{
    for (size_t i = 0; i < n; i += burst)
        flowq_tx_note_burst(vm, pkts + i, n - i < burst ? n - i : burst, (first + (uint32_t)(i / BURST)) % QUEUES);
}

static void note(void *vm, const struct flowq_pkt *pkts, size_t n, uint32_t first, uint32_t step)
{
    for (size_t i = 0; i < n; i += BURST)
        flowq_tx_note_burst(vm, pkts + i, n - i < BURST ? n - i : BURST, (first + (uint32_t)(i / BURST) * step) % QUEUES);
}

enum { LONG_BURST = 256 };

/* burst: packets a call, at most LONG_BURST. */
static inline uint64_t steer_by(void *vm, const struct flowq_pkt *pkts, size_t n, size_t burst)
{
    uint16_t qids[LONG_BURST];
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i += burst) {
        size_t m = n - i < burst ? n - i : burst;
        flowq_rx_steer_burst(vm, pkts + i, m, qids);
        for (size_t j = 0; j < m; j++)
            sum += qids[j];
    }
    return sum;
}

static inline void note_several(void *const *vms, const struct note_call *calls, size_t n, size_t burst)
{
    for (size_t i = 0; i < n; i++)
        flowq_tx_note_burst(vms[calls[i].table], calls[i].pkts, burst, calls[i].qid);
}

static inline uint64_t steer_several(void *const *vm_of, const struct flowq_pkt *pkts, size_t n, size_t burst)
{
    uint16_t qids[LONG_BURST];
    struct flowq_vm *vms[LONG_BURST];
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i += burst) {
        for (size_t j = 0; j < burst; j++)
            vms[j] = vm_of[i + j];
        flowq_rx_steer_burst_vms(vms, pkts + i, burst, qids);
        for (size_t j = 0; j < burst; j++)
            sum += qids[j];
    }
    return sum;
}

static uint64_t steer(void *vm, const struct flowq_pkt *pkts, size_t n) { return steer_by(vm, pkts, n, BURST); }

static uint64_t single(void *vm, const struct flowq_pkt *pkts, size_t n)
{
    uint64_t sum = 0;
    flowq_enter();
    for (size_t i = 0; i < n; i++)
        sum += flowq_rx_steer(vm, pkts + i);
    flowq_leave();
    return sum;
}

static void clear(void *vm) { flowq_vm_reset(vm, FLOWQ_RESET_FLOWS); }

static size_t bytes(void *vm)
{
    struct flowq_stats stats = {.size = sizeof(stats)};
    flowq_vm_stats(vm, &stats);
    return stats.table_bytes;
}

/* Each call gives one huge page to a table that has grown. */
static void settle(void *vm)
{
    for (size_t n = (bytes(vm) >> 21) + 1; n > 0; n--)
        flowq_vm_maintain(vm);
}

#endif
