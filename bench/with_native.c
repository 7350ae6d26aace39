/*
 * with_native: flowq compiled for this very processor, for comparison: a second copy of the library in the same program, whose
 * names begin with "native_" (see bench.am).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#define flowq_vm_create          native_flowq_vm_create
#define flowq_vm_destroy         native_flowq_vm_destroy
#define flowq_vm_maintain        native_flowq_vm_maintain
#define flowq_vm_reset           native_flowq_vm_reset
#define flowq_vm_set_queue_pairs native_flowq_vm_set_queue_pairs
#define flowq_vm_stats           native_flowq_vm_stats
#define flowq_enter              native_flowq_enter
#define flowq_leave              native_flowq_leave
#define flowq_rx_steer           native_flowq_rx_steer
#define flowq_rx_steer_burst     native_flowq_rx_steer_burst
#define flowq_tx_note_burst      native_flowq_tx_note_burst
#include "bench.h"

static void *create(const struct shape *shape)
{
    struct flowq_vm_config config = {
        .size = sizeof(config),
        .max_flows = (uint32_t)shape->n_flows,
        .initial_flows = shape->room_made ? (uint32_t)shape->n_flows : 0,
    };
    struct flowq_vm *vm;
    if (flowq_vm_create(&config, &vm) != 0)
        fail("flowq_vm_create failed");
    flowq_vm_set_queue_pairs(vm, QUEUES);
    return vm;
}

static void destroy(void *vm) { flowq_vm_destroy(vm); }

static void note(void *vm, const struct flowq_pkt *pkts, size_t n, uint32_t first, uint32_t step)
{
    for (size_t i = 0; i < n; i += BURST)
        flowq_tx_note_burst(vm, pkts + i, n - i < BURST ? n - i : BURST, (first + (uint32_t)(i / BURST) * step) % QUEUES);
}

static uint64_t steer(void *vm, const struct flowq_pkt *pkts, size_t n)
{
    uint16_t qids[BURST];
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i += BURST) {
        size_t m = n - i < BURST ? n - i : BURST;
        flowq_rx_steer_burst(vm, pkts + i, m, qids);
        for (size_t j = 0; j < m; j++)
            sum += qids[j];
    }
    return sum;
}

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

static void settle(void *vm)
{
    for (size_t n = (bytes(vm) >> 21) + 1; n > 0; n--)
        flowq_vm_maintain(vm);
}

const struct contestant with_native = {
    .name = "flowq-native",
    .what = "this library, compiled with -march=native",
    .create = create,
    .destroy = destroy,
    .note = note,
    .steer = steer,
    .single = single,
    .clear = clear,
    .bytes = bytes,
    .settle = settle,
};
