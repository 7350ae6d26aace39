/*
 * What probes are there to tell: flows that come, move, are held back, displaced and refused, queues that come and go, a
 * table that grows, shrinks and is reclaimed, a section that holds growth up. For check_probes.sh, which looks on. Prints what
 * happened, by the counters.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <flowq.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADERS = 28, MANY = 20000, FEW = 8 };

#define SPREAD  UINT32_C(2654435761) /* odd: no two numbers are the same flow */
#define MOVE_NS UINT64_C(50000000)   /* more than rebind_min */

static _Atomic uint64_t now_ns = UINT64_C(1000000000000);

static uint64_t read_clock(void *ctx)
{
    (void)ctx;
    return now_ns;
}

static struct flowq_vm *make(const char *name, uint32_t max_flows)
{
    struct flowq_vm_config config = {.size = sizeof(config),
                                     .name = name,
                                     .max_queue_pairs = 4,
                                     .max_flows = max_flows,
                                     .rebind_min_other_us = 20000,
                                     .clock_ns = read_clock,
                                     .secret = "the same in each run..........."};
    struct flowq_vm *vm;
    if (flowq_vm_create(&config, &vm) != 0 || flowq_vm_set_queue_pairs(vm, 4) != 0)
        exit(1);
    return vm;
}

/* Datagrams of flow number n; noted twice it is bound wherever it would have gone. */
static void note(struct flowq_vm *vm, uint32_t n, uint32_t queue, int times)
{
    uint8_t bytes[HEADERS] = {0x45, 0, 0, HEADERS, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 19, 136, 0, 53, 0, 8};
    struct flowq_pkt pkt = {.data = bytes, .len = HEADERS, .flags = FLOWQ_PKT_L3};
    memcpy(bytes + 12, &n, sizeof(n));
    while (times-- > 0)
        flowq_tx_note(vm, &pkt, queue);
}

static void *hold(void *ctx)
{
    pthread_barrier_t *barrier = ctx;
    flowq_enter();
    printf("holder 0x%lx\n", (unsigned long)pthread_self());
    pthread_barrier_wait(barrier);
    pthread_barrier_wait(barrier);
    flowq_leave();
    return NULL;
}

static void learn_many(struct flowq_vm *vm)
{
    for (uint32_t i = 0; i < MANY; i++)
        note(vm, i * SPREAD, i % 4, 2);
}

static void maintain(struct flowq_vm *vm)
{
    for (int i = 0; i < 1000; i++)
        flowq_vm_maintain(vm);
}

/* What is merged and split beside an open section waits for it: more than there may be. */
static void change_beside_a_section(struct flowq_vm *vm)
{
    pthread_barrier_t barrier;
    pthread_t holder;
    pthread_barrier_init(&barrier, NULL, 2);
    if (pthread_create(&holder, NULL, hold, &barrier) != 0)
        exit(1);
    pthread_barrier_wait(&barrier);
    maintain(vm);
    learn_many(vm);
    pthread_barrier_wait(&barrier);
    pthread_join(holder, NULL);
    pthread_barrier_destroy(&barrier);
    maintain(vm);
}

static int show(void *ctx, const struct flowq_counter *c)
{
    printf("%s %s%s%s %llu\n", (const char *)ctx, c->name, c->label ? " " : "", c->label ? c->label_value : "",
           (unsigned long long)c->value);
    return 0;
}

int main(void)
{
    struct flowq_vm *large = make("large", 1 << 20), *small = make("small", FEW);
    learn_many(large);
    now_ns += UINT64_C(2000000000000); /* all are stale */
    change_beside_a_section(large);
    for (uint32_t i = 0; i < 200; i++) /* each displaces one that was noted once */
        note(small, i * SPREAD, i % 4, 1);
    for (uint32_t i = 0; i < 200; i++)
        note(small, i * SPREAD, i % 4, 2);
    for (uint32_t i = 0; i < 5; i++) {
        note(large, i * SPREAD, 0, 2);
        now_ns += MOVE_NS;
        note(large, i * SPREAD, 1, 1);
        note(large, i * SPREAD, 2, 1); /* held back */
        now_ns += MOVE_NS;
        note(large, i * SPREAD, 2, 1);
    }
    flowq_vm_set_queue_enabled(large, 3, false);
    flowq_vm_set_queue_resetting(large, 2, true);
    flowq_vm_counters(large, show, (void *)(uintptr_t) "large");
    flowq_vm_counters(small, show, (void *)(uintptr_t) "small");
    flowq_vm_destroy(large);
    flowq_vm_destroy(small);
    return 0;
}
