/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * counters: the numbers of a vm and of its queues, as one list.
 *
 * What flowq_vm_stats() fills, what flowq_vm_counters() walks and what the formats are written from is COUNTERS. A field of
 * struct flowq_stats that is not in the list does not compile (counters.c), nor does an entry that nobody reads (stats.c), nor
 * one without a help text; a test compares the list with the manual.
 */
#ifndef FLOWQ_LIB_COUNTERS_H
#define FLOWQ_LIB_COUNTERS_H

#include "outcome.h"

/*
 * each(field, fields, kind, label, name, unit, help). field: of struct flowq_stats, or of struct flowq_queue_stats; fields: how
 * many of them, in a row, are one family, which `label` tells apart. name, without "flowq_": a unit stands at its end, as
 * OpenMetrics has it, and what only grows gets "_total" there. In the order of the struct, as that of arrays and padding is the
 * same.
 */
/* clang-format off */
#define COUNTERS_VM(each)                                                                                                        \
    each(queue_pairs, 1, GAUGE, NONE, "queue_pairs", "", "Queue pairs as set by the guest.")                                     \
    each(queues_in_use, 1, GAUGE, NONE, "queues_in_use", "", "Receive queues in use now.")                                       \
    each(queues_noted, 1, GAUGE, NONE, "queues_noted", "", "Distinct queues that the VM transmitted on lately.")                 \
    each(note, 1, TOTAL, OUTCOME, "notes", "", "Transmitted packets, by what became of their flow.")                             \
    each(steer, 1, TOTAL, REASON, "steered", "", "Steered packets, by why they went where they went.")                           \
    each(inserted, 1, TOTAL, NONE, "flows_inserted", "", "Bindings made.")                                                       \
    each(live, 1, GAUGE, NONE, "flows_live", "", "Bindings in the table now, stale ones included.")                              \
    each(displaced_embryonic, 3, TOTAL, CLASS, "flows_displaced", "", "Bindings that gave their place to a newcomer.")           \
    each(reclaimed, 1, TOTAL, NONE, "flows_reclaimed", "", "Stale bindings whose place was taken or given back.")                \
    each(forgotten, 1, TOTAL, NONE, "flows_forgotten", "", "Bindings dropped by a reset.")                                       \
    each(bound_elsewhere, 1, TOTAL, NONE, "bound_elsewhere", "", "Packets whose binding names a queue that is not in use.")      \
    each(grown, 1, TOTAL, NONE, "table_grown", "", "Times a shard of the table was split, or the first one made.")               \
    each(shrunk, 1, TOTAL, NONE, "table_shrunk", "", "Times two shards were merged, or the last one given back.")                \
    each(grow_failed, 1, TOTAL, NONE, "table_grow_failed", "", "Times memory to grow was refused.")                              \
    each(grow_delayed, 1, TOTAL, NONE, "table_grow_delayed", "", "Times a shard had to wait for open sections to grow.")         \
    each(table_bytes, 1, GAUGE, NONE, "table_bytes", "bytes", "Memory of the flow table, retired memory included.")              \
    each(retired_bytes, 1, GAUGE, NONE, "retired_bytes", "bytes", "Superseded memory that waits for sections to close.")         \
    each(vm_bytes, 1, GAUGE, NONE, "vm_bytes", "bytes", "Memory of the vm in all, its table included.")                          \
    each(rss_elsewhere, 1, TOTAL, NONE, "rss_elsewhere", "", "Packets whose queue by RSS was not enabled.")                      \
    each(loaded, 1, TOTAL, NONE, "flows_loaded", "", "Bindings taken over from a process before.")                               \
    each(ordered_begun, 1, TOTAL, NONE, "ordered_begun", "", "Moves in order that had to wait, or to see whether they had to.")  \
    each(ordered_done, 1, TOTAL, NONE, "ordered_done", "", "Moves in order that came through in order.")                         \
    each(ordered_back, 1, TOTAL, NONE, "ordered_back", "", "Moves in order that were taken back.")                               \
    each(ordered_forced, 1, TOTAL, NONE, "ordered_forced", "", "Moves that ordered_max_us forced.")                              \
    each(ordered_lapsed, 1, TOTAL, NONE, "ordered_lapsed", "", "Moves whose place was taken as no packet came.")                 \
    each(ordered_off, 1, TOTAL, NONE, "ordered_off", "", "Moves whose old queue went off, or began anew.")                       \
    each(ordered_full, 1, TOTAL, NONE, "ordered_full", "", "Moves without order, as too many were pending.")                     \
    each(ordered_held, 1, TOTAL, NONE, "ordered_held", "", "Packets that went to the queue their flow is leaving.")              \
    each(ordered_pending, 1, GAUGE, NONE, "ordered_pending", "", "Moves in order that wait now.")

#define COUNTERS_QUEUE(each)                                                                                                     \
    each(in_use, 1, GAUGE, QUEUE, "queue_in_use", "", "1 if the receive queue is in use now.")                                   \
    each(noted, 1, TOTAL, QUEUE, "queue_noted", "", "Notes that bound, refreshed or moved a flow with this queue named.")        \
    each(steered, 1, TOTAL, QUEUE, "queue_steered", "", "Packets steered to the receive queue.")
/* clang-format on */

#define COUNTERS_VM_AT(field, ...)    COUNTER_##field,
#define COUNTERS_QUEUE_AT(field, ...) COUNTER_QUEUE_##field,
enum counter {
    COUNTERS_VM(COUNTERS_VM_AT) COUNTERS_VM_END, /* which is the first one of queues */
    COUNTERS_BEFORE_QUEUES = COUNTERS_VM_END - 1,
    COUNTERS_QUEUE(COUNTERS_QUEUE_AT) N_COUNTERS
};

/* Reads what `which` needs of *s, a family of the vm; in a section. */
void stats_read(struct flowq_vm *vm, enum counter which, struct flowq_stats *s);

#endif
