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
#include "with_flowq.h"

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
    .by_hash = true,
};
