/*
 * stats: what flowq_vm_stats() and flowq_vm_queue_stats() tell.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "stats.h"

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

static void stats_fill(struct flowq_vm *vm, struct flowq_stats *s)
{
    const struct stats *from = &vm->stats;
    s->queue_pairs = queues_pairs(&vm->queues);
    s->queues_in_use = queues_n(u32_load_acquire(&vm->queues.summary));
    s->queues_noted = stats_queues_noted(vm);
    for (unsigned i = 0; i < N_NOTES; i++)
        s->note[i] = stats_sum(from, STAT_NOTE + i);
    for (unsigned i = 0; i < N_REASONS; i++)
        s->steer[i] = stats_sum(from, STAT_STEER + i);
    s->inserted = s->note[FLOWQ_NOTE_BOUND];
    s->live = table_live(&vm->table);
    s->displaced_embryonic = stats_sum(from, STAT_DISPLACED + FLOWQ_CLASS_EMBRYONIC);
    s->displaced_closing = stats_sum(from, STAT_DISPLACED + FLOWQ_CLASS_CLOSING);
    s->displaced_established = stats_sum(from, STAT_DISPLACED + FLOWQ_CLASS_ESTABLISHED);
    s->reclaimed = stats_sum(from, STAT_RECLAIMED);
    s->forgotten = stats_sum(from, STAT_FORGOTTEN);
    s->bound_elsewhere = stats_sum(from, STAT_ELSEWHERE);
    s->grown = stats_sum(from, STAT_GROWN);
    s->shrunk = stats_sum(from, STAT_SHRUNK);
    s->grow_failed = stats_sum(from, STAT_GROW_FAILED);
    s->grow_delayed = stats_sum(from, STAT_GROW_DELAYED);
    s->table_bytes = u64_load_relaxed(&vm->table.grow.bytes);
    s->retired_bytes = u64_load_relaxed(&vm->table.grow.retired_bytes);
    s->vm_bytes = vm->bytes + s->table_bytes + u64_load_relaxed(&vm->virtio.bytes);
    s->rss_elsewhere = stats_sum(from, STAT_RSS_ELSEWHERE);
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
