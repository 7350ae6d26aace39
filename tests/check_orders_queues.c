/*
 * check_orders_queues: the ordering of queues, Q-A, under the scheduler of sched.h: setters beside steering.
 *
 * Each scenario names the mutations of the library that make it fail; that is what it was tried out with. One that no mutation
 * makes fail shows nothing.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "orders.h"

#define NONE_IN_USE (UINT64_C(1) << 63)

/* While a setter runs, what was and what will be may both be in use. */
static void queues_become(uint64_t bits)
{
    x.may |= bits;
    for (unsigned i = 0; i < 8; i++)
        x.may_have[i] |= x.may;
}

/* The setter has returned: a call that is begun now obeys it. */
static void queues_are(uint64_t bits)
{
    x.may = bits;
    sched_release(&x.may);
}

static void begin_call(unsigned me)
{
    x.may_have[me] = x.may;
    sched_acquire(&x.may);
}

static void setters(void *ctx)
{
    struct flowq_vm *vm = x.b.vm;
    (void)ctx;
    queues_become(0x03);
    flowq_vm_set_queue_pairs(vm, 2);
    queues_are(0x03);
    flowq_vm_set_queue_enabled(vm, 5, false);
    queues_become(0x02);
    flowq_vm_set_queue_resetting(vm, 0, true);
    queues_are(0x02);
    queues_become(0xde);
    flowq_vm_set_queue_pairs(vm, 8);
    queues_are(0xde);
}

static void more_setters(void *ctx)
{
    struct flowq_vm *vm = x.b.vm;
    (void)ctx;
    queues_become(0x01);
    flowq_vm_set_queue_pairs(vm, 1);
    queues_are(0x01);
    queues_become(NONE_IN_USE);
    flowq_vm_set_queue_enabled(vm, 0, false);
    queues_are(NONE_IN_USE);
    queues_become(0x0e);
    flowq_vm_set_queue_pairs(vm, 4);
    queues_are(0x0e);
}

static void steer_all(void *ctx)
{
    unsigned me = sched_self();
    (void)ctx;
    for (unsigned i = 0; i < 6; i++) {
        const struct flow *f = &pool[i][me % 4][0][7]; /* not bound */
        begin_call(me);
        struct flowq_decision d = decide(f);
        SCHED_CHECK(x.may_have[me] & (d.qid == FLOWQ_DROP ? NONE_IN_USE : UINT64_C(1) << d.qid));
        begin_call(me);
        d = decide(x.f[0]); /* on queue 6 */
        SCHED_CHECK(x.may_have[me] & (d.qid == FLOWQ_DROP ? NONE_IN_USE : UINT64_C(1) << d.qid));
    }
}

/* Queue 1 stays in use whatever the setters do: a flow that is bound to it must not notice them. */
static void steer_untouched(void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < 6; i++) {
        struct flowq_decision d = decide(x.f[1]);
        SCHED_CHECK(d.qid == 1);
        SCHED_CHECK(d.reason == FLOWQ_REASON_BOUND || d.reason == FLOWQ_REASON_SINGLE);
    }
}

static void all_in_use(void *ctx)
{
    (void)ctx;
    make(16, 0);
    x.f[0] = &pool[0][0][0][0];
    x.f[1] = &pool[0][0][0][1];
    note(x.f[0], 6);
    note(x.f[1], 1);
    x.may = 0xff;
}

static bool queues_check(void *ctx)
{
    struct flowq_stats s = {.size = sizeof(s)};
    (void)ctx;
    flowq_vm_stats(x.b.vm, &s);
    SCHED_CHECK(s.queues_in_use == (x.may == NONE_IN_USE ? 0 : (uint32_t)__builtin_popcountll(x.may)));
    return quiet();
}

/*
 * Mutations: queue_pick() does not look at in_use and setters store the summary before the slots (either alone is made good by
 * the other); queues_publish_locked() clears in_use before it sets it; setters do not lock; queues_publish_locked() leaves the
 * summary as it was.
 */
START_TEST(setters_while_steering)
{
    MUST_HOLD("queues", all_in_use, queues_check, setters, steer_all, steer_all, steer_untouched);
    MUST_HOLD("few queues", all_in_use, queues_check, more_setters, steer_all, steer_all);
}
END_TEST

static void enable_mine(void *ctx)
{
    (void)ctx;
    flowq_vm_set_queue_enabled(x.b.vm, sched_self(), false);
    flowq_vm_set_queue_resetting(x.b.vm, 4 + sched_self(), true);
}

static bool both_are_off(void *ctx)
{
    x.may = 0xff & ~0x33u;
    return queues_check(ctx);
}

START_TEST(setters_side_by_side) { MUST_HOLD("setters", all_in_use, both_are_off, enable_mine, enable_mine); }
END_TEST

/* Queue 3 is about to come, for a flow that goes to another queue before: not to the lowest, at which a look ends that sees the
   slot and not the queue. */
#define N_CANDIDATES 128
static const struct flow *to_3;
static uint16_t before_3;

static void all_but_queue_3(void *ctx)
{
    all_in_use(ctx);
    flowq_vm_set_queue_enabled(x.b.vm, 3, false);
}

static void find_one_to_3(void)
{
    const struct flow *all = &pool[0][0][0][0];
    uint16_t before[N_CANDIDATES];
    for (unsigned i = 0; i < N_CANDIDATES; i++)
        before[i] = decide(&all[i]).qid;
    flowq_vm_set_queue_enabled(x.b.vm, 3, true);
    for (unsigned i = 0; i < N_CANDIDATES && !to_3; i++) {
        struct flowq_decision d = decide(&all[i]);
        if (d.qid != 3 || d.reason != FLOWQ_REASON_FALLBACK || before[i] == 0)
            continue;
        to_3 = &all[i];
        before_3 = before[i];
    }
    if (!to_3)
        abort();
}

static void about_to_enable_3(void *ctx)
{
    all_but_queue_3(ctx);
    if (to_3)
        return;
    find_one_to_3();
    all_but_queue_3(ctx);
}

static void enable_3(void *ctx)
{
    (void)ctx;
    flowq_vm_set_queue_enabled(x.b.vm, 3, true);
}

/* A queue that comes takes flows, no other queue does: who sees a slot sees the queue that it was given to (S10). */
static void decide_beside(void *ctx)
{
    (void)ctx;
    uint16_t qid = decide(to_3).qid;
    SCHED_CHECK(qid == before_3 || qid == 3);
}

static void steer_alone_beside(void *ctx)
{
    (void)ctx;
    uint16_t qid = steer_alone(to_3).qid;
    SCHED_CHECK(qid == before_3 || qid == 3);
}

/* Mutations: queues_publish_locked() stores the slots before the bits, or relaxed; queue_pick_of(), and the loop over a burst,
   load the slot relaxed. One look a run: the next one would see the bits. */
START_TEST(a_queue_comes)
{
    must_hold_every("a queue comes", 1, about_to_enable_3, queues_check, enable_3, decide_beside);
    must_hold_every("a queue comes, single packets", 1, about_to_enable_3, queues_check, enable_3, steer_alone_beside);
}
END_TEST

/* The guest's table names queue 3 alone. */
static void ruled_by_queue_3(void *ctx)
{
    static const uint16_t table[] = {3};
    const struct flowq_rss rss = {.size = sizeof(rss), .table = table, .table_length = 1, .unclassified = 3, .max_tx = PAIRS};
    all_in_use(ctx);
    if (flowq_vm_set_rss(x.b.vm, &rss) != 0)
        abort();
}

static void reset_queue_3(void *ctx)
{
    (void)ctx;
    flowq_vm_set_queue_resetting(x.b.vm, 3, true);
}

/* A queue that is being reset drops; no other one takes its packets meanwhile, as one would if it were switched off. */
static void steer_to_queue_3(void *ctx)
{
    uint16_t last = 3;
    (void)ctx;
    for (unsigned i = 0; i < 3; i++) {
        uint16_t qid = decide(&pool[0][0][0][0]).qid;
        SCHED_CHECK(qid == last || qid == FLOWQ_DROP);
        last = qid;
    }
}

static bool queue_3_is_off(void *ctx)
{
    (void)ctx;
    SCHED_CHECK(decide(&pool[0][0][0][0]).qid == FLOWQ_DROP);
    x.made = false;
    return bare_free(&x.b);
}

/* Mutation: queues_set_resetting() takes the queue out of in_use before it stores `resetting`. */
START_TEST(reset_while_the_table_rules)
{
    MUST_HOLD("reset of a queue", ruled_by_queue_3, queue_3_is_off, reset_queue_3, steer_to_queue_3);
}
END_TEST

/* A vm of its own, with two words of queues. The table names queue 101 alone, which is off; of the others queue 3 or queue 100 is
   on at any time. */
static struct flowq_vm *wide;

static void ruled_by_queue_101(void *ctx)
{
    static const uint16_t table[] = {101};
    const struct flowq_rss rss = {.size = sizeof(rss), .table = table, .table_length = 1, .unclassified = 101, .max_tx = 128};
    const struct flowq_vm_config cfg = {
        .size = sizeof(cfg), .max_queue_pairs = 128, .virtio_features = FLOWQ_VIRTIO_F_MQ | FLOWQ_VIRTIO_F_RSS, .secret = {1}};
    (void)ctx;
    if (flowq_vm_create(&cfg, &wide) != 0 || flowq_vm_set_rss(wide, &rss) != 0)
        abort();
    flowq_vm_set_queue_enabled(wide, 0, false);
    flowq_vm_set_queue_enabled(wide, 101, false);
    queues_set_named(&wide->queues, 1, (const uint16_t[]){100}, 1);
    (void)flowq_synchronize();
}

/* At once, as another table of RSS does it. */
static void change_places(void *ctx)
{
    static const uint16_t three = 3, hundred = 100;
    (void)ctx;
    for (unsigned i = 0; i < 4; i++)
        queues_set_named(&wide->queues, 1, i & 1 ? &hundred : &three, 1);
}

static void steer_to_the_next(void *ctx)
{
    static const uint8_t bytes[64];
    const struct flowq_pkt pkt = {.data = bytes, .len = sizeof(bytes)};
    (void)ctx;
    for (unsigned i = 0; i < 3; i++) {
        uint16_t qid = flowq_rx_steer(wide, &pkt);
        SCHED_CHECK(qid == 3 || qid == 100);
    }
}

static bool queue_100_is_next(void *ctx)
{
    (void)ctx;
    bool right = queue_next_in_use(&wide->queues, 101) == 100;
    flowq_vm_destroy(wide);
    return right;
}

/* Mutation: queue_next_in_use() ends with its scan. */
START_TEST(the_next_queue_while_queues_change_places)
{
    MUST_HOLD("next in use", ruled_by_queue_101, queue_100_is_next, change_places, steer_to_the_next);
}
END_TEST

int main(void)
{
    TCase *tc = orders_begin("check_orders_queues");
    tcase_add_test(tc, setters_while_steering);
    tcase_add_test(tc, setters_side_by_side);
    tcase_add_test(tc, a_queue_comes);
    tcase_add_test(tc, reset_while_the_table_rules);
    tcase_add_test(tc, the_next_queue_while_queues_change_places);
    return orders_end("check_orders_queues", tc);
}
