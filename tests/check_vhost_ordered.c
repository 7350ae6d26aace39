/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check_vhost_ordered: the drop-in with the setting ordered. A flow that is noted on another queue stays until the guest has
 * taken what is in its old ring; memory is plugged while packets come, and nobody reads a ring that is gone (what a sanitizer
 * sees).
 */
#include "runner.h"
#include "seed.h"
#include "vhost_program.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#define PATH "/tmp/flowq-test.sock"

enum { PAIRS = 4 };

static void take_all(int vid)
{
    for (uint32_t q = 0; q < PAIRS; q++)
        stub_take(vid, 2 * q, STUB_RING_SIZE);
}

/* A flow that is on queue 0, and nothing in any ring. */
static int a_flow_on_queue_0(uint32_t flow)
{
    open_port(PATH);
    int vid = guest_comes(PATH, PAIRS);
    guest_sends(vid, 0, flow);
    for (uint32_t i = 0; i < 3; i++) {
        arrives(vid, flow);
        take_all(vid);
    }
    ck_assert_int_eq(arrives(vid, flow), 0);
    return vid;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double moved_at;

static void guest_moves(int vid, uint32_t pair, uint32_t flow)
{
    moved_at = seconds();
    guest_sends(vid, pair, flow);
}

/* The flow that was moved last is on queue 0 still: or ordered_max_us, a second at most, has passed on a busy machine. */
static void still_on_queue_0(int vid, uint32_t flow) { ck_assert(arrives(vid, flow) == 0 || seconds() - moved_at > 0.9); }

START_TEST(a_flow_waits_for_the_guest)
{
    int vid = a_flow_on_queue_0(7);
    guest_moves(vid, 2, 7);
    for (uint32_t i = 0; i < 5; i++)
        still_on_queue_0(vid, 7);
    stub_take(vid, 0, 5); /* all but one */
    still_on_queue_0(vid, 7);
    take_all(vid);
    ck_assert_int_eq(arrives(vid, 7), 2);
    ck_assert_int_eq(arrives(vid, 7), 2);
}
END_TEST

/* What is put there by others afterwards is not waited for. */
START_TEST(others_do_not_hold_it_up)
{
    int vid = a_flow_on_queue_0(7);
    for (uint32_t flow = 20; flow < 24; flow++) {
        guest_sends(vid, 0, flow);
        arrives(vid, flow);
        take_all(vid);
        ck_assert_int_eq(arrives(vid, flow), 0);
        take_all(vid);
    }
    ck_assert_int_eq(arrives(vid, 7), 0);
    guest_moves(vid, 1, 7);
    still_on_queue_0(vid, 7); /* two are in the ring */
    for (uint32_t i = 0; i < 6; i++)
        ck_assert_int_eq(arrives(vid, 20 + i % 4), 0);
    stub_take(vid, 0, 2);
    ck_assert_int_eq(arrives(vid, 7), 1);
}
END_TEST

START_TEST(the_bound_forces_it)
{
    int vid = a_flow_on_queue_0(7);
    guest_moves(vid, 3, 7);
    still_on_queue_0(vid, 7);
    usleep(1200000); /* ordered_max_us is one second here */
    ck_assert_int_eq(arrives(vid, 7), 3);
}
END_TEST

/* Another connection, and a device that stops: the rings begin anew. */
START_TEST(rings_begin_anew)
{
    int vid = a_flow_on_queue_0(7);
    guest_moves(vid, 1, 7);
    still_on_queue_0(vid, 7);
    stub_disconnect(vid);
    vid = guest_comes(PATH, PAIRS);
    for (uint32_t i = 0; i < 3; i++) {
        arrives(vid, 7);
        take_all(vid);
    }
    ck_assert_int_eq(arrives(vid, 7), 1);
    stub_message(vid, STUB_GET_VRING_BASE, 0, 0);
    stub_start(vid, PAIRS);
    take_all(vid);
    guest_sends(vid, 2, 7);
    take_all(vid);
    ck_assert_int_eq(arrives(vid, 7) == 1 || arrives(vid, 7) == 2, 1);
}
END_TEST

static _Atomic bool over;

static void *plug_memory(void *arg)
{
    int vid = *(int *)arg;
    for (uint32_t i = 0; i < 400 / SEED_SLOWNESS; i++) {
        stub_message(vid, STUB_SET_MEM_TABLE, 0, 0);
        stub_take(vid, 2 * (i % PAIRS), 3);
    }
    atomic_store(&over, true);
    return NULL;
}

/* Librte_vhost reads nothing while it deals with a message. */
static void guest_sends_between_messages(int vid, uint32_t pair, uint32_t flow)
{
    struct rte_mbuf *packet = NULL;
    ck_assert(stub_transmit(vid, 2 * pair + 1, outgoing(flow, 0)));
    while (rte_vhost_dequeue_burst(vid, (uint16_t)(2 * pair + 1), NULL, &packet, 1) == 0)
        usleep(10);
    stub_free(packet);
}

START_TEST(memory_is_plugged_under_load)
{
    struct rng rng = {seed_get("check_vhost_ordered")};
    open_port(PATH);
    int vid = guest_comes(PATH, PAIRS);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, plug_memory, &vid), 0);
    while (!atomic_load(&over)) {
        struct rte_mbuf *packets[8];
        uint32_t flow = rng_below(&rng, 16);
        for (uint32_t q = 0; q < PAIRS; q++)
            stub_room(vid, 2 * q, STUB_RING_SIZE);
        guest_sends_between_messages(vid, rng_below(&rng, PAIRS), flow);
        for (uint32_t i = 0; i < 8; i++)
            packets[i] = incoming(rng_below(&rng, 16), 0);
        ck_assert_uint_le(rte_vhost_enqueue_burst(vid, 0, packets, 8), 8);
        for (uint32_t i = 0; i < 8; i++)
            stub_free(packets[i]);
    }
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(stub_violations(), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("vhost ordered");
    TCase *tc = tcase_create("ordered");
    setenv("FLOWQ_VHOST", "ordered=on,ordered_max_us=1000000", 1);
    tcase_set_timeout(tc, 300 * SEED_SLOWNESS);
    tcase_add_test(tc, a_flow_waits_for_the_guest);
    tcase_add_test(tc, others_do_not_hold_it_up);
    tcase_add_test(tc, the_bound_forces_it);
    tcase_add_test(tc, rings_begin_anew);
    tcase_add_test(tc, memory_is_plugged_under_load);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
