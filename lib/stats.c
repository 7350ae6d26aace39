/* SPDX-License-Identifier: BSD-2-Clause */
/* stats: what flowq_vm_stats() and flowq_vm_queue_stats() tell. */
#include "stats.h"

#include "counters.h"
#include "sized.h"
#include "vm.h"

uint64_t stats_sum(const struct stats *s, unsigned stat)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < STATS_STRIPES; i++)
        sum += u64_load_relaxed(&s->stripe[i].counter[stat]);
    return sum;
}

/* Distinct queues that notes named within active_ms. */
static uint32_t stats_queues_noted(const struct flowq_vm *vm)
{
    uint32_t n = 0, now = (uint32_t)(vm_now(vm) >> vm->ages.tick_shift), active = vm_ages(vm).active;
    for (uint32_t q = 0; q < vm->queues.max; q++) {
        uint32_t noted = u32_load_relaxed(&vm->noted[q]);
        n += noted != 0 && (now + 1 - noted <= active || noted - 1 - now < 16); /* the clock of another thread may be ahead */
    }
    return n;
}

static void stats_read_displaced(const struct stats *from, struct flowq_stats *s)
{
    s->displaced_embryonic = stats_sum(from, STAT_DISPLACED + FLOWQ_CLASS_EMBRYONIC);
    s->displaced_closing = stats_sum(from, STAT_DISPLACED + FLOWQ_CLASS_CLOSING);
    s->displaced_established = stats_sum(from, STAT_DISPLACED + FLOWQ_CLASS_ESTABLISHED);
}

static void stats_read_each(const struct stats *from, unsigned first, unsigned n, uint64_t *out)
{
    for (unsigned i = 0; i < n; i++)
        out[i] = stats_sum(from, first + i);
}

static uint64_t stats_vm_bytes(const struct flowq_vm *vm)
{
    return vm->bytes + u64_load_relaxed(&vm->table.grow.bytes) + u64_load_relaxed(&vm->virtio.bytes) + vm->saved_slots_bytes;
}

/* A counter of the list that has no case here is no warning but an error. */
#pragma GCC diagnostic error "-Wswitch"
#define STATS_READ_SINGLE(name, field)                                                                                           \
    case COUNTER_##field:                                                                                                        \
        s->field = stats_sum(from, STAT_##name);                                                                                 \
        break;

#define STATS_READ_ORDERED(name, field)                                                                                          \
    case COUNTER_##field:                                                                                                        \
        s->field = vm->ordered ? u64_load_relaxed(&vm->ordered->count[ORDERED_##name]) : 0;                                      \
        break;

void stats_read(struct flowq_vm *vm, enum counter which, struct flowq_stats *s)
{
    const struct stats *from = &vm->stats;
    switch (which) {
    case COUNTER_queue_pairs:
        s->queue_pairs = queues_pairs(&vm->queues);
        break;
    case COUNTER_queues_in_use:
        s->queues_in_use = queues_n(u32_load_acquire(&vm->queues.summary));
        break;
    case COUNTER_queues_noted:
        s->queues_noted = stats_queues_noted(vm);
        break;
    case COUNTER_note:
        stats_read_each(from, STAT_NOTE, N_NOTES, s->note);
        break;
    case COUNTER_steer:
        stats_read_each(from, STAT_STEER, N_REASONS, s->steer);
        break;
    case COUNTER_inserted:
        s->inserted = stats_sum(from, STAT_NOTE + FLOWQ_NOTE_BOUND) + u64_load_relaxed(&vm->n_loaded);
        break;
    case COUNTER_live:
        s->live = table_live(&vm->table);
        break;
    case COUNTER_displaced_embryonic:
        stats_read_displaced(from, s);
        break;
        STATS_SINGLE(STATS_READ_SINGLE)
    case COUNTER_table_bytes:
        s->table_bytes = u64_load_relaxed(&vm->table.grow.bytes);
        break;
    case COUNTER_retired_bytes:
        s->retired_bytes = u64_load_relaxed(&vm->table.grow.retired_bytes);
        break;
    case COUNTER_vm_bytes:
        s->vm_bytes = stats_vm_bytes(vm);
        break;
    case COUNTER_loaded:
        s->loaded = u64_load_relaxed(&vm->n_loaded);
        break;
    case COUNTER_ordered_pending:
        s->ordered_pending = ordered_n_pending(vm->ordered);
        break;
        ORDERED_COUNTS(STATS_READ_ORDERED)
    case COUNTERS_VM_END: /* those of queues */
    case COUNTER_QUEUE_noted:
    case COUNTER_QUEUE_steered:
    case N_COUNTERS:
        break;
    }
}

static void stats_fill(struct flowq_vm *vm, struct flowq_stats *s)
{
    for (unsigned which = 0; which < COUNTERS_VM_END; which++)
        stats_read(vm, (enum counter)which, s);
}

void vm_count_each_steered(const struct flowq_vm *vm, const struct tally *tally, const uint16_t *qids, size_t n)
{
    struct queue_counters *c = vm_queue_counters(vm, tally);
    for (size_t i = 0; i < n; i++)
        if (qids[i] != FLOWQ_DROP)
            tally_bump(tally, &c[qids[i]].steered, 1);
}

int flowq_vm_stats(struct flowq_vm *vm, struct flowq_stats *out)
{
    struct flowq_stats all;
    if (!vm || !out || !sized_can_take(out))
        return -EINVAL;
    struct thread *thread = thread_self();
    if (!thread)
        return -ENOMEM;
    memset(&all, 0, sizeof(all));
    thread_enter(thread);
    stats_fill(vm, &all);
    thread_leave(thread);
    sized_write(out, &all, sizeof(all));
    return 0;
}

int flowq_vm_queue_stats(struct flowq_vm *vm, uint32_t qid, struct flowq_queue_stats *out)
{
    struct flowq_queue_stats all;
    if (!vm || !out || !sized_can_take(out) || qid >= vm->queues.max)
        return -EINVAL;
    memset(&all, 0, sizeof(all));
    all.in_use = queue_in_use(&vm->queues, qid);
    for (uint32_t i = 0; vm->counted && i < STATS_STRIPES; i++) {
        const struct queue_counters *c = &vm->counted[i * queue_counters_row(vm->queues.max) + qid];
        all.noted += u64_load_relaxed(&c->noted);
        all.steered += u64_load_relaxed(&c->steered);
    }
    sized_write(out, &all, sizeof(all));
    return 0;
}
