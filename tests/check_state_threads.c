/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check_state_threads: vms that are saved while others note, steer, reset and configure them, and while their tables grow.
 */
#include <pthread.h>

#include "atomic.h"
#include "runner.h"
#include "saved_small.h"
#include "seed.h"

static uint64_t seed;
static struct rng rng;

/* ---- Beside traffic -------------------------------------------------------------------------------------------------------- */

enum { OLD_FLOWS = 6000 / SEED_SLOWNESS * 2 };

struct traffic {
    struct flowq_vm *vm;
    atomic_u32 stop;
    uint32_t from;
    atomic_u32 wrong, done;
};

static uint64_t still_clock(void *ctx) { return u64_load_relaxed(ctx); }

/* Refreshes and moves flows that were there before, and makes new ones, so that shards split under the walk. */
static void *make_traffic(void *arg)
{
    struct traffic *t = arg;
    struct rng r = {.state = t->from};
    for (uint32_t i = 0; !u32_load_relaxed(&t->stop); i++) {
        struct flowq_tuple flow = i % 4 ? tcp(rng_below(&r, OLD_FLOWS)) : tcp(100000 + t->from * 40000 + i % 40000);
        struct frame f;
        frame_flow(&f, &flow, FRAME_ACK);
        struct flowq_pkt pkt = frame_pkt(&f);
        (void)flowq_tx_note(t->vm, &pkt, rng_below(&r, PAIRS));
        if (i % 1024 == 0)
            flowq_vm_maintain(t->vm);
        u32_store_relaxed(&t->done, i);
    }
    return NULL;
}

START_TEST(beside_traffic)
{
    atomic_u64 clock = 1000 * SECOND;
    struct flowq_vm_config c = defaults();
    c.clock_ns = still_clock;
    c.clock_ctx = &clock;
    c.max_flows = 1 << 20;
    c.max_queue_pairs = PAIRS;
    start(&c, PAIRS);
    for (uint32_t i = 0; i < OLD_FLOWS; i++)
        ck_assert_uint_eq(note(tcp(i), i % PAIRS), FLOWQ_NOTE_BOUND);
    struct traffic t[2] = {{.vm = vm}, {.vm = vm, .from = 1}};
    pthread_t id[2];
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&id[i], NULL, make_traffic, &t[i]), 0);
    for (unsigned round = 0; round < (SEED_SLOWNESS > 1 ? 3 : 8); round++) {
        u64_add_relaxed(&clock, 3 * SECOND);
        struct model_stream s = saved(vm);
        struct flowq_vm *to = make_vm(&c);
        struct flowq_loaded l = load_stream(to, FLOWQ_STATE_ALL, &s);
        ck_assert_uint_eq(l.no_room + l.other_keys + l.other_queues, 0);
        for (uint32_t i = 0; i < OLD_FLOWS; i++)
            ck_assert_msg(knows(to, tcp(i)), "flow %u, round %u", i, round);
        flowq_vm_destroy(to);
        model_stream_free(&s);
    }
    for (unsigned i = 0; i < 2; i++)
        u32_store_relaxed(&t[i].stop, 1);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(id[i], NULL);
}
END_TEST

/* ---- Beside everything ----------------------------------------------------------------------------------------------------- */

/* Answers name queues that there are; nothing else is sure while queues come and go. */
static void *steer_all(void *arg)
{
    struct traffic *t = arg;
    struct rng r = {.state = t->from};
    while (!u32_load_relaxed(&t->stop)) {
        struct flowq_tuple flow = tcp(rng_below(&r, OLD_FLOWS)), in = tuple_reverse(&flow);
        struct frame f;
        frame_flow(&f, &in, FRAME_ACK);
        struct flowq_pkt pkt = frame_pkt(&f);
        uint16_t qid = flowq_rx_steer(t->vm, &pkt);
        u32_add_relaxed(&t->wrong, qid >= PAIRS && qid != FLOWQ_DROP);
        u32_add_relaxed(&t->done, 1);
    }
    return NULL;
}

/* What a guest and its device may do, one after the other, and a reset now and then. */
static void *configure_all(void *arg)
{
    struct traffic *t = arg;
    struct rng r = {.state = t->from};
    struct flowq_rss rss = rss_over(PAIRS);
    uint32_t failed = 0;
    for (uint32_t i = 0; !u32_load_relaxed(&t->stop); i++) {
        uint32_t qid = rng_below(&r, PAIRS);
        rss.table_length = 1u << rng_below(&r, 8);
        failed += flowq_vm_set_queue_enabled(t->vm, qid, i % 2) != 0;
        failed += flowq_vm_set_queue_resetting(t->vm, qid, i % 3 == 0) != 0;
        int set = i % 4 ? 0 : flowq_vm_set_rss(t->vm, &rss);
        failed += set && set != -ENOMEM; /* too many that were replaced are still looked at */
        failed += i % 4 == 2 && flowq_vm_set_queue_pairs(t->vm, qid + 1) != 0;
        failed += flowq_vm_set_hash_tunnels(t->vm, i % 2 ? FLOWQ_HASH_TUNNEL_VXLAN : 0) != 0;
        failed += i % 64 == 63 && flowq_vm_reset(t->vm, FLOWQ_RESET_FLOWS) != 0;
        u32_store_relaxed(&t->done, i);
        sched_yield();
    }
    u32_store_relaxed(&t->wrong, failed);
    return NULL;
}

/* Whoever writes may wait for all sections: none is open in this thread. */
static int add_and_wait(void *ctx, const void *data, size_t size)
{
    ck_assert_int_eq(flowq_synchronize(), 0);
    return add_to_stream(ctx, data, size);
}

/* The stream is whole, whatever went on; and says of the guest what it once was, which another vm can be. */
static void save_and_load(const struct flowq_vm_config *c)
{
    struct model_stream s = {.bytes = NULL};
    ck_assert_int_eq(flowq_vm_save(vm, FLOWQ_STATE_ALL, FLOWQ_STATE_UNLIMITED, add_and_wait, &s), 0);
    struct model_state *m = read_model(&s);
    struct flowq_vm *to = make_vm(c);
    struct flowq_loaded l = load_stream(to, FLOWQ_STATE_ALL, &s);
    ck_assert_uint_eq(l.parts, FLOWQ_STATE_ALL);
    ck_assert_uint_eq(l.no_room + l.other_keys + l.other_queues, 0);
    ck_assert_uint_le(l.bindings, m->n_bindings); /* one that moved may be there twice */
    ck_assert(m->pairs >= 1 && m->pairs <= PAIRS);
    flowq_vm_destroy(to);
    free_model(m);
    model_stream_free(&s);
}

static bool all_busy(struct traffic *t, uint32_t n)
{
    uint32_t least = UINT32_MAX;
    for (uint32_t i = 0; i < n; i++)
        least = u32_load_relaxed(&t[i].done) < least ? u32_load_relaxed(&t[i].done) : least;
    return least > 200;
}

START_TEST(beside_everything)
{
    static void *(*const run[])(void *arg) = {make_traffic, make_traffic, steer_all, configure_all};
    enum { THREADS = sizeof(run) / sizeof(run[0]) };
    atomic_u64 clock = 1000 * SECOND;
    struct flowq_vm_config c = defaults();
    c.clock_ns = still_clock;
    c.clock_ctx = &clock;
    c.max_flows = 1 << 20;
    c.max_queue_pairs = PAIRS;
    c.virtio_features = ALL_FEATURES;
    c.rebind_min_tcp_us = 1000; /* binding times are saved, too */
    start(&c, PAIRS);
    struct traffic t[THREADS];
    pthread_t id[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        t[i] = (struct traffic){.vm = vm, .from = i};
        ck_assert_int_eq(pthread_create(&id[i], NULL, run[i], &t[i]), 0);
    }
    /* As often as that, and until all have come to do something, on a machine with few processors. */
    for (unsigned round = 0; round < (SEED_SLOWNESS > 1 ? 5 : 20) || !all_busy(t, THREADS) || stats().forgotten == 0; round++) {
        u64_add_relaxed(&clock, SECOND / 3);
        save_and_load(&c);
    }
    for (uint32_t i = 0; i < THREADS; i++)
        u32_store_relaxed(&t[i].stop, 1);
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_join(id[i], NULL);
        ck_assert_uint_eq(u32_load_relaxed(&t[i].wrong), 0);
    }
    struct flowq_stats s = stats();
    ck_assert_uint_eq(s.inserted,
                      s.live + s.reclaimed + s.forgotten + s.displaced_embryonic + s.displaced_closing + s.displaced_established);
}
END_TEST

/* What happens between two shards: growth, merges, resets, made by the one who writes. */
struct meddler {
    struct model_stream s;
    uint32_t n;
    bool forget;
};

static int meddle(void *ctx, const void *data, size_t size)
{
    struct meddler *m = ctx;
    model_stream_add(&m->s, data, size);
    ck_assert_int_eq(flowq_synchronize(), 0); /* no section is open */
    for (uint32_t i = 0; i < 500 && !m->forget; i++)
        (void)note(tcp(200000 + m->n++), 1);
    for (uint32_t i = 0; i < 64; i++)
        (void)note(tcp(rng_below(&rng, 3000)), rng_below(&rng, PAIRS));
    flowq_vm_set_queue_pairs(vm, PAIRS);
    if (m->forget)
        flowq_vm_reset(vm, FLOWQ_RESET_FLOWS);
    now += SECOND / 2;
    flowq_vm_maintain(vm);
    return 0;
}

START_TEST(between_two_writes)
{
    struct flowq_vm_config c = defaults();
    c.max_flows = 1 << 18;
    c.max_queue_pairs = PAIRS;
    start(&c, PAIRS);
    for (uint32_t i = 0; i < 3000; i++) {
        ck_assert_uint_eq(note(tcp(i), i % PAIRS), FLOWQ_NOTE_BOUND);
        now += i % 1000 == 999 ? SECOND : 0;
    }
    struct meddler m = {.forget = _i};
    ck_assert_int_eq(flowq_vm_save(vm, FLOWQ_STATE_ALL, FLOWQ_STATE_UNLIMITED, meddle, &m), 0);
    struct flowq_vm *to = make_vm(&c);
    struct flowq_loaded l = load_stream(to, FLOWQ_STATE_ALL, &m.s);
    for (uint32_t i = 0; i < 3000 && !m.forget; i++)
        ck_assert(knows(to, tcp(i)));
    ck_assert(m.forget || l.bindings >= 3000);
    flowq_vm_destroy(to);
    model_stream_free(&m.s);
}
END_TEST

int main(void)
{
    seed = seed_get("check_state_threads");
    rng.state = seed;
    Suite *s = suite_create("state_threads");
    TCase *c = tcase_create("state_threads");
    tcase_add_checked_fixture(c, NULL, tear_down);
    tcase_set_timeout(c, 300);
    tcase_add_test(c, beside_traffic);
    tcase_add_test(c, beside_everything);
    tcase_add_loop_test(c, between_two_writes, 0, 2);
    suite_add_tcase(s, c);
    return suite_run(s);
}
