/*
 * check_orders_fragments: what a reset of the flows forgets of fragments, F-A, under the scheduler of sched.h.
 *
 * Each scenario names the mutations of the library that make it fail; that is what it was tried out with. One that no mutation
 * makes fail shows nothing.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "orders.h"

#define N_DATAGRAMS 3

static struct frame first_fragment[N_DATAGRAMS], later_fragment[N_DATAGRAMS];
static uint16_t old_queue;
static bool reset_began, before_reset[N_DATAGRAMS];

static uint16_t steer_first(unsigned i)
{
    uint16_t qid = decide_frame(&first_fragment[i]).qid;
    before_reset[i] = !reset_began;
    return qid;
}

/* The flow of three datagrams is bound to a queue that it would not get otherwise, where the first one's fragment went. All
   datagrams have their places in one set of the cache. */
static void a_datagram_is_under_way(void *ctx)
{
    struct flow *f = &pool[0][0][0][0];
    (void)ctx;
    make_with((struct flowq_vm_config){.fragments = 8});
    old_queue = (uint16_t)((decide(f).qid + 1) % PAIRS);
    if (note(f, old_queue) != FLOWQ_NOTE_BOUND)
        abort();
    for (unsigned i = 0; i < N_DATAGRAMS; i++) {
        frame_fragment(&first_fragment[i], &f->in_tuple, 100 + i, 0, true);
        frame_fragment(&later_fragment[i], &f->in_tuple, 100 + i, 800, false);
    }
    reset_began = false;
    memset(before_reset, 0, sizeof(before_reset));
    if (steer_first(0) != old_queue || decide_frame(&later_fragment[0]).reason != FLOWQ_REASON_FRAGMENT)
        abort();
}

static void another_guest_comes(void *ctx)
{
    (void)ctx;
    reset_began = true;
    flowq_vm_reset(x.b.vm, FLOWQ_RESET_FLOWS);
}

static void steer_first_1(void *ctx)
{
    (void)ctx;
    (void)steer_first(1);
}
static void steer_first_2(void *ctx)
{
    (void)ctx;
    (void)steer_first(2);
}

static bool nothing_old_is_followed(void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < N_DATAGRAMS; i++) {
        struct flowq_decision d = decide_frame(&later_fragment[i]);
        SCHED_CHECK(d.reason != FLOWQ_REASON_FRAGMENT || (!before_reset[i] && d.qid != old_queue));
    }
    SCHED_CHECK(steer_first(0) != old_queue); /* and the cache goes on */
    SCHED_CHECK(decide_frame(&later_fragment[0]).reason == FLOWQ_REASON_FRAGMENT);
    return quiet();
}

/* The flow's shard is about to be split. */
static void a_guest_whose_table_grows(void *ctx)
{
    (void)ctx;
    make(0, 0);
    old_queue = (uint16_t)((decide(&pool[0][0][0][0]).qid + 1) % PAIRS);
    for (unsigned i = 0; i < LINE_SLOTS; i++)
        for (uint32_t home = 0; home < 2; home++)
            if (note(&pool[i % 2 ? 4 : 0][home][0][i], old_queue) != FLOWQ_NOTE_BOUND)
                abort();
    for (unsigned i = 0; i < N_DATAGRAMS; i++) {
        frame_fragment(&first_fragment[i], &pool[0][0][0][0].in_tuple, 100 + i, 0, true);
        frame_fragment(&later_fragment[i], &pool[0][0][0][0].in_tuple, 100 + i, 800, false);
    }
    reset_began = false;
    memset(before_reset, 0, sizeof(before_reset));
}

static void grows_and_goes(void *ctx)
{
    if (note(&pool[4][0][0][7], 1) != FLOWQ_NOTE_BOUND)
        abort();
    another_guest_comes(ctx);
}

/*
 * Mutations: fragment() leaves the generation out; it is raised before the table is cleared, or not at all; answer_special()
 * takes the generation, when it puts the entry, instead of fragment(); table_clear() leaves superseded shards as they are.
 */
START_TEST(reset_while_fragments_come)
{
    MUST_HOLD("reset, fragments", a_datagram_is_under_way, nothing_old_is_followed, another_guest_comes, steer_first_1,
              steer_first_2);
    MUST_HOLD("reset after a split, fragments", a_guest_whose_table_grows, nothing_old_is_followed, grows_and_goes, steer_first_1,
              steer_first_2);
}
END_TEST

int main(void)
{
    TCase *tc = orders_begin("check_orders_fragments");
    tcase_add_test(tc, reset_while_fragments_come);
    return orders_end("check_orders_fragments", tc);
}
