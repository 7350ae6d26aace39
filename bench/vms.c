/*
 * vms: many vms at once: bursts whose packets go to many of them, what an idle one costs, how long one takes to make and unmake.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "bench.h"

#include <stdlib.h>

enum { N_VMS = 4096, FLOWS_EACH = 256, N_FLOWS = N_VMS * FLOWS_EACH, TURN = 128 << 10, REPS = 11 };

/* A host's allocator as hosts of many vms have: huge pages. Nothing is given back before the end. */
static struct {
    char *base;
    size_t used;
} pool;

enum { POOL_BYTES = 256 << 20 };

static void *pool_take(void *ctx, size_t size, size_t align, int32_t node)
{
    (void)ctx, (void)node;
    size_t at = (pool.used + align - 1) / align * align;
    if (!pool.base || at + size > POOL_BYTES)
        return NULL;
    pool.used = at + size;
    return pool.base + at;
}

static void pool_give(void *ctx, void *ptr, size_t size) { (void)ctx, (void)ptr, (void)size; }

/* From the pool if there is one. */
static struct flowq_vm *make_vm(uint32_t max_flows)
{
    struct flowq_vm_config config = {
        .size = sizeof(config),
        .max_queue_pairs = pool.base ? 2 * QUEUES : 0, /* a host of so many knows that they are small */
        .max_flows = max_flows,
        .alloc = pool.base ? pool_take : NULL,
        .free = pool.base ? pool_give : NULL,
    };
    struct flowq_vm *vm;
    int r = flowq_vm_create(&config, &vm);
    if (r != 0)
        fail("flowq_vm_create: %d", r);
    flowq_vm_set_queue_pairs(vm, QUEUES);
    return vm;
}

static void one_vm_each(void)
{
    for (unsigned rep = 0; rep <= repetitions(REPS); rep++) {
        static struct flowq_vm *vms[N_VMS];
        double start = cpu_ns();
        for (unsigned i = 0; i < N_VMS; i++)
            vms[i] = make_vm(0);
        double made = cpu_ns();
        struct flowq_stats stats = {.size = sizeof(stats)};
        flowq_vm_stats(vms[0], &stats);
        double counted = cpu_ns();
        for (unsigned i = 0; i < N_VMS; i++)
            flowq_vm_destroy(vms[i]);
        double end = cpu_ns();
        if (rep == 0) {
            sample("vms/idle", "flowq", "bytes", (double)stats.vm_bytes);
        } else {
            sample("vms/create", "flowq", "us", (made - start) / N_VMS / 1000);
            sample("vms/destroy", "flowq", "us", (end - counted) / N_VMS / 1000);
        }
    }
}

static double turn_one(struct flowq_vm *vm, const struct stream *s, size_t from)
{
    uint16_t qids[BURST];
    uint64_t sum = 0;
    double start = cpu_ns();
    for (size_t i = from; i < from + TURN; i += BURST) {
        flowq_rx_steer_burst(vm, s->pkts + i, BURST, qids);
        for (size_t j = 0; j < BURST; j++)
            sum += qids[j];
    }
    double ns = (cpu_ns() - start) / TURN;
    if (sum != stream_sum(s, from, TURN, N_FLOWS))
        fail("vms/one: wrong queues");
    return ns;
}

static double turn_mixed(struct flowq_vm *const *vms, const struct stream *s, size_t from)
{
    uint16_t qids[BURST];
    uint64_t sum = 0;
    double start = cpu_ns();
    for (size_t i = from; i < from + TURN; i += BURST) {
        flowq_rx_steer_burst_vms(vms + i, s->pkts + i, BURST, qids);
        for (size_t j = 0; j < BURST; j++)
            sum += qids[j];
    }
    double ns = (cpu_ns() - start) / TURN;
    if (sum != stream_sum(s, from, TURN, N_FLOWS))
        fail("vms/mixed-4096: wrong queues");
    return ns;
}

/* Packets for flows at random: the vm of a flow is one of 4096, or the same one for all. */
static void mixed(void)
{
    static struct flowq_vm *vms[N_VMS];
    pool.base = huge_alloc(POOL_BYTES);
    struct flowq_vm *one = make_vm(N_FLOWS), **vm_of;
    uint64_t state = 6;
    uint32_t *all = huge_alloc(N_FLOWS * sizeof(*all)), *ids = huge_alloc(N_FLOWS * sizeof(*ids));
    choose_all(all, N_FLOWS, N_FLOWS);
    choose_uniform(ids, N_FLOWS, N_FLOWS, &state);
    struct stream out = stream_make(4, OUTGOING, IN_SEQUENCE, all, N_FLOWS),
                  in = stream_make(4, INCOMING, IN_SEQUENCE, ids, N_FLOWS);
    for (unsigned i = 0; i < N_VMS; i++)
        vms[i] = make_vm(FLOWS_EACH);
    for (size_t i = 0; i < N_FLOWS; i += BURST) {
        flowq_tx_note_burst(one, out.pkts + i, BURST, flow_queue(i));
        flowq_tx_note_burst(vms[i / FLOWS_EACH], out.pkts + i, BURST, flow_queue(i));
    }
    vm_of = huge_alloc(N_FLOWS * sizeof(*vm_of));
    for (size_t i = 0; i < N_FLOWS; i++)
        vm_of[i] = vms[in.ids[i] / FLOWS_EACH];
    for (unsigned rep = 0; rep <= repetitions(REPS); rep++) {
        double alone = turn_one(one, &in, 2 * (size_t)rep % 8 * TURN);
        double many = turn_mixed(vm_of, &in, (2 * (size_t)rep + 1) % 8 * TURN);
        if (rep == 0)
            continue;
        sample("vms/one", "flowq", "ns", alone);
        sample("vms/mixed-4096", "flowq", "ns", many);
        sample("vms/mixed-4096", "flowq", "times", many / alone);
    }
    for (unsigned i = 0; i < N_VMS; i++)
        flowq_vm_destroy(vms[i]);
    flowq_vm_destroy(one);
    huge_free(pool.base, POOL_BYTES);
    pool.base = NULL;
    huge_free(vm_of, N_FLOWS * sizeof(*vm_of));
    stream_free(&in);
    stream_free(&out);
}

void run_vms(void)
{
    if (wanted_group("vms/", true))
        one_vm_each();
    if (wanted_group("vms/", true) && !process.quick)
        mixed();
}
