/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check_ordered_threads: moves in order on real processors. One thread notes flows on one queue after another; some steer, each
 * its own flows, put what they steer into rings, and report how far these are filled; one is the guest, who takes from the rings
 * and reports that. No packet of a flow goes into another ring than the one before it unless the guest has taken that, but where
 * a move was forced, of which there are none here: the bound is out of reach.
 */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "flowq.h"
#include "frames.h"
#include "runner.h"
#include "seed.h"

enum { QUEUES = 4, STEERERS = 2, FLOWS_EACH = 24, BURST = 8 };

static uint64_t seed;
static struct flowq_vm *vm;
static struct frame sent[STEERERS * FLOWS_EACH], arriving[STEERERS * FLOWS_EACH];
static _Atomic uint32_t filled[QUEUES], taken[QUEUES]; /* positions */
static _Atomic uint32_t overtakes, moves, at_work;

static void *note_all(void *arg)
{
    struct rng rng = {seed ^ 1};
    while (atomic_load(&at_work) > 0) {
        struct flowq_pkt pkt = frame_pkt(&sent[rng_below(&rng, STEERERS * FLOWS_EACH)]);
        flowq_tx_note(vm, &pkt, rng_below(&rng, QUEUES));
        for (uint32_t i = rng_below(&rng, 200); i > 0; i--)
            atomic_signal_fence(memory_order_seq_cst);
    }
    return arg;
}

/* The guest, who lets rings fill now and then. */
static void *take_all(void *arg)
{
    struct rng rng = {seed ^ 2};
    while (atomic_load(&at_work) > 0) {
        uint32_t q = rng_below(&rng, QUEUES), end = atomic_load(&filled[q]);
        if (rng_percent(&rng, 30))
            continue;
        atomic_store(&taken[q], end);
        flowq_vm_ring_report(vm, q, end, end);
    }
    return arg;
}

static void put(uint32_t flow, uint32_t q, uint16_t *last, uint32_t *end)
{
    if (last[flow] != FLOWQ_DROP && last[flow] != q) {
        atomic_fetch_add(&moves, 1);
        if ((int32_t)(atomic_load(&taken[last[flow]]) - end[flow]) < 0)
            atomic_fetch_add(&overtakes, 1);
    }
    last[flow] = (uint16_t)q;
    end[flow] = atomic_fetch_add(&filled[q], 1) + 1;
    flowq_vm_ring_report(vm, q, end[flow], atomic_load(&taken[q]));
}

static void *steer_own(void *arg)
{
    const uint32_t self = (uint32_t)(uintptr_t)arg;
    struct rng rng = {seed ^ (3 + self)};
    uint16_t last[FLOWS_EACH];
    uint32_t end[FLOWS_EACH] = {0};
    for (uint32_t i = 0; i < FLOWS_EACH; i++)
        last[i] = FLOWQ_DROP;
    for (uint32_t i = 0; i < 60000 / SEED_SLOWNESS || atomic_load(&moves) <= 20; i++) { /* the VM may get a processor late */
        struct flowq_pkt pkts[BURST];
        uint16_t qids[BURST];
        uint32_t flow[BURST], n = rng_range(&rng, 1, BURST);
        for (uint32_t j = 0; j < n; j++) {
            flow[j] = rng_below(&rng, FLOWS_EACH);
            pkts[j] = frame_pkt(&arriving[self * FLOWS_EACH + flow[j]]);
        }
        flowq_rx_steer_burst(vm, pkts, n, qids);
        for (uint32_t j = 0; j < n; j++)
            put(flow[j], qids[j], last, end);
        if (i % 64 == 0)
            sched_yield();
    }
    atomic_fetch_sub(&at_work, 1);
    return NULL;
}

START_TEST(nobody_overtakes)
{
    struct flowq_vm_config c = {.size = sizeof(c), .max_queue_pairs = QUEUES, .ordered = FLOWQ_ON, .ordered_max_us = 1000000};
    struct flowq_stats s = {.size = sizeof(s)};
    pthread_t thread[STEERERS + 2];
    ck_assert_int_eq(flowq_vm_create(&c, &vm), 0);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, QUEUES), 0);
    for (uint32_t i = 0; i < STEERERS * FLOWS_EACH; i++) {
        struct flowq_tuple t =
            tuple_v4(i & 1 ? FRAME_PROTO_UDP : FRAME_PROTO_TCP, 0x0a000001, 80, 0xc0a80000 + i, (uint16_t)(2000 + i));
        struct flowq_tuple back = tuple_reverse(&t);
        frame_flow(&sent[i], &t, FRAME_ACK);
        frame_flow(&arriving[i], &back, FRAME_ACK);
    }
    atomic_store(&at_work, STEERERS);
    for (uintptr_t i = 0; i < STEERERS; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, steer_own, (void *)i), 0);
    ck_assert_int_eq(pthread_create(&thread[STEERERS], NULL, note_all, NULL), 0);
    ck_assert_int_eq(pthread_create(&thread[STEERERS + 1], NULL, take_all, NULL), 0);
    for (uint32_t i = 0; i < STEERERS + 2; i++)
        ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
    ck_assert_int_eq(flowq_vm_stats(vm, &s), 0);
    printf("%u moves, %u forced, %u overtook\n", (unsigned)moves, (unsigned)s.ordered_forced, (unsigned)overtakes);
    ck_assert_uint_eq(s.ordered_full, 0);
    ck_assert_uint_le(overtakes, s.ordered_forced);
    ck_assert_uint_eq(s.ordered_begun,
                      s.ordered_done + s.ordered_back + s.ordered_forced + s.ordered_lapsed + s.ordered_off + s.ordered_pending);
    flowq_vm_destroy(vm);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ordered threads");
    TCase *t = tcase_create("threads");
    seed = seed_get("check_ordered_threads");
    tcase_set_timeout(t, 300 * SEED_SLOWNESS);
    tcase_add_test(t, nobody_overtakes);
    suite_add_tcase(s, t);
    return suite_run(s);
}
