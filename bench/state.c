/* SPDX-License-Identifier: BSD-2-Clause */
/* state: a vm that is saved and loaded: bytes and time for each binding. Into memory, so that no disk is measured. */
#include "bench.h"

#include <string.h>

enum { N_FLOWS = 1 << 20, REPS = 11, STREAM_BYTES = 32 * N_FLOWS };

/* Bytes that were written, and how far they have been read. */
struct saved {
    uint8_t *bytes;
    size_t n, at;
};

static int add(void *ctx, const void *data, size_t size)
{
    struct saved *s = ctx;
    if (STREAM_BYTES - s->n < size)
        return -1;
    memcpy(s->bytes + s->n, data, size);
    s->n += size;
    return 0;
}

static int64_t take(void *ctx, void *data, size_t size)
{
    struct saved *s = ctx;
    size_t n = s->n - s->at < size ? s->n - s->at : size;
    memcpy(data, s->bytes + s->at, n);
    s->at += n;
    return (int64_t)n;
}

static struct flowq_vm *make_vm(void)
{
    struct flowq_vm_config config = {.size = sizeof(config), .max_flows = N_FLOWS};
    struct flowq_vm *vm;
    if (flowq_vm_create(&config, &vm) != 0)
        fail("flowq_vm_create failed");
    flowq_vm_set_queue_pairs(vm, QUEUES);
    return vm;
}

static uint64_t note_all(struct flowq_vm *vm)
{
    uint32_t *ids = huge_alloc(N_FLOWS * sizeof(*ids));
    choose_all(ids, N_FLOWS, N_FLOWS);
    struct stream out = stream_make(4, OUTGOING, IN_SEQUENCE, ids, N_FLOWS);
    for (size_t i = 0; i < N_FLOWS; i += BURST)
        flowq_tx_note_burst(vm, out.pkts + i, BURST, flow_queue(i));
    stream_free(&out);
    struct flowq_stats stats = {.size = sizeof(stats)};
    flowq_vm_stats(vm, &stats);
    return stats.live;
}

/* First: nothing is told, the machine only warms up. */
static void turn(struct flowq_vm *from, uint64_t live, struct saved *s, bool first)
{
    struct flowq_loaded loaded = {.size = sizeof(loaded)};
    struct flowq_vm *to = make_vm();
    s->n = s->at = 0;
    double start = cpu_ns();
    int written = flowq_vm_save(from, FLOWQ_STATE_ALL, FLOWQ_STATE_UNLIMITED, add, s);
    double saved = cpu_ns();
    int read = flowq_vm_load(to, FLOWQ_STATE_ALL, take, s, &loaded);
    double end = cpu_ns();
    if (written != 0 || read != 0 || loaded.bindings != live || s->at != s->n)
        fail("state: %d, %d, %lu of %lu bindings", written, read, (unsigned long)loaded.bindings, (unsigned long)live);
    flowq_vm_destroy(to);
    if (first)
        return;
    sample("state/stream", "flowq", "B/flow", (double)s->n / (double)live);
    sample("state/save", "flowq", "M/s", (double)live * 1000 / (saved - start));
    sample("state/load", "flowq", "M/s", (double)live * 1000 / (end - saved));
}

void run_state(void)
{
    if (!wanted_group("state/", true))
        return;
    struct saved s = {.bytes = huge_alloc(STREAM_BYTES)};
    struct flowq_vm *vm = make_vm();
    uint64_t live = note_all(vm);
    for (unsigned rep = 0; rep <= repetitions(REPS); rep++)
        turn(vm, live, &s, rep == 0);
    flowq_vm_destroy(vm);
    huge_free(s.bytes, STREAM_BYTES);
}
