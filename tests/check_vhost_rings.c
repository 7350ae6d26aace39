/*
 * check_vhost_rings: transmit rings that a front end switches off: what is in them is forwarded, what comes later discarded, and
 * librte_vhost, the program and its own hook see what they always saw.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "runner.h"
#include "vhost_program.h"

#define PATH "/tmp/flowq-test.sock"

enum { PAIRS = 4, LATE = 3 }; /* LATE: the pair that is switched off */

static int vid;

static void disable(uint32_t pair) { ck_assert(stub_message(vid, STUB_SET_VRING_ENABLE, 2 * pair + 1, 0)); }
static void enable(uint32_t pair) { ck_assert(stub_message(vid, STUB_SET_VRING_ENABLE, 2 * pair + 1, 1)); }

static void transmit(uint32_t pair, uint32_t flow, uint32_t first, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        ck_assert(stub_transmit(vid, 2 * pair + 1, outgoing(flow, first + i)));
}

/* Reads a pair's ring once; frees. Returns how many packets of `flow` came, whose numbers must go up from *next. */
static uint32_t receive(uint32_t pair, uint32_t n, uint32_t flow, uint32_t *next)
{
    struct rte_mbuf *packets[64];
    uint32_t ours = 0;
    uint16_t found = rte_vhost_dequeue_burst(vid, (uint16_t)(2 * pair + 1), NULL, packets, (uint16_t)n);

    ck_assert_uint_le(found, n);
    for (uint32_t i = 0; i < found; i++) {
        if (stub_flow(packets[i]) == flow) {
            ck_assert_uint_eq(stub_number(packets[i]), (*next)++);
            ours++;
        }
        stub_free(packets[i]);
    }
    return ours;
}

static void begin(void)
{
    open_port(PATH);
    vid = guest_comes(PATH, PAIRS);
    guest_sends(vid, 0, 0); /* the program reads with rte_vhost_dequeue_burst() */
}

static void end(void)
{
    stub_disconnect(vid);
    ck_assert_int_eq(stub_packets(), 0);
    ck_assert_int_eq(stub_violations(), 0);
}

static void begin_split(void) { begin(); }

static void begin_packed(void)
{
    stub_packed(true);
    begin();
}

/* The program stops reading the ring, since it was told; a ring that it reads brings the packets. */
START_TEST(what_was_there_is_forwarded)
{
    uint32_t before = n_told, next = 0, got = 0;
    transmit(LATE, 7, 0, 100);
    disable(LATE);
    ck_assert_uint_eq(told_ring(before, 2 * LATE + 1, 0), 1);
    transmit(LATE, 7, 100, 50);
    for (uint32_t turn = 0; turn < 10; turn++)
        got += receive(0, 32, 7, &next);
    ck_assert_uint_eq(got, 100);
    /* What came later is discarded, in time. */
    for (uint32_t turn = 0; turn < 200; turn++)
        ck_assert_uint_eq(receive(0, 32, 7, &next), 0);
    ck_assert_int_eq(stub_packets(), 0);
    ck_assert_int_eq(telemetry("/flowq/port", "0", "drained"), 100);
    ck_assert_int_eq(telemetry("/flowq/port", "0", "discarded"), 50);
}
END_TEST

/* Or it goes on reading: net_vhost does. */
START_TEST(the_rings_own_reader_gets_the_same)
{
    uint32_t next = 0, got = 0;
    transmit(LATE, 7, 0, 100);
    disable(LATE);
    transmit(LATE, 7, 100, 50);
    for (uint32_t turn = 0; turn < 10; turn++)
        got += receive(LATE, 32, 7, &next);
    ck_assert_uint_eq(got, 100);
    ck_assert_int_eq(stub_packets(), 0);
}
END_TEST

/* Only one thread's ring looks after the others, so that a flow stays in order: the lowest that is on. */
START_TEST(one_ring_looks_after_the_others)
{
    uint32_t next = 0;
    transmit(LATE, 7, 0, 10);
    disable(LATE);
    ck_assert_uint_eq(receive(1, 32, 7, &next), 0);
    ck_assert_uint_eq(receive(2, 32, 7, &next), 0);
    disable(0);
    ck_assert_uint_eq(receive(2, 32, 7, &next), 0);
    ck_assert_uint_eq(receive(1, 4, 7, &next), 4);
    enable(0);
    ck_assert_uint_eq(receive(1, 32, 7, &next), 0);
    ck_assert_uint_eq(receive(0, 32, 7, &next), 6);
}
END_TEST

/* Nothing is learned from it, whoever reads it: the queue is off, and the flow has moved already. */
START_TEST(late_packets_bind_nothing)
{
    uint32_t next = 0;
    transmit(LATE, 7, 0, 10);
    disable(LATE);
    guest_sends(vid, 1, 8);
    ck_assert_uint_eq(receive(LATE, 3, 7, &next), 3);
    while (receive(0, 3, 7, &next) != 0)
        ;
    ck_assert_uint_eq(next, 10);
    ck_assert_int_eq(telemetry("/flowq/port", "0", "flowq_notes_bound") + telemetry("/flowq/port", "0", "flowq_notes_implied"),
                     2);
}
END_TEST

/* What lay in the ring goes before what the guest transmitted afterwards elsewhere. */
START_TEST(old_packets_come_first)
{
    struct rte_mbuf *packets[32];
    transmit(LATE, 7, 0, 5);
    disable(LATE);
    transmit(0, 7, 5, 5);
    ck_assert_uint_eq(rte_vhost_dequeue_burst(vid, 1, NULL, packets, 32), 10);
    for (uint32_t i = 0; i < 10; i++) {
        ck_assert_uint_eq(stub_number(packets[i]), i);
        stub_free(packets[i]);
    }
}
END_TEST

START_TEST(switched_on_again_it_is_as_before)
{
    uint32_t next = 0, before;
    transmit(LATE, 7, 0, 10);
    disable(LATE);
    before = n_told;
    enable(LATE);
    ck_assert_uint_eq(told_ring(before, 2 * LATE + 1, 1), 1);
    ck_assert_uint_eq(receive(0, 32, 7, &next), 0);
    ck_assert_uint_eq(receive(LATE, 32, 7, &next), 10);
    transmit(LATE, 7, 10, 10);
    ck_assert_uint_eq(receive(LATE, 32, 7, &next), 10);
    /* And once more: what is in it now counts. */
    transmit(LATE, 7, 20, 3);
    disable(LATE);
    transmit(LATE, 7, 23, 3);
    ck_assert_uint_eq(receive(LATE, 32, 7, &next), 3);
    ck_assert_uint_eq(receive(LATE, 32, 7, &next), 0);
}
END_TEST

/* The same message twice, and each change told once. */
START_TEST(each_change_is_told_once)
{
    uint32_t before = n_told;
    for (uint32_t round = 0; round < 5; round++) {
        disable(LATE);
        disable(LATE);
        enable(LATE);
        enable(LATE);
    }
    ck_assert_uint_eq(told_ring(before, 2 * LATE + 1, 0), 5);
    ck_assert_uint_eq(told_ring(before, 2 * LATE + 1, 1), 5);
    ck_assert_uint_eq(n_told, before + 10);
}
END_TEST

/* As QEMU stops and starts a device: rings off, GET_VRING_BASE; kicks, rings on, but for one. */
START_TEST(a_device_stops_and_starts)
{
    uint32_t before = n_told, next = 0;
    transmit(LATE, 7, 0, 10);
    for (uint32_t ring = 0; ring < 2 * PAIRS; ring++)
        stub_message(vid, STUB_SET_VRING_ENABLE, ring, 0);
    for (uint32_t ring = 0; ring < 2 * PAIRS; ring++) {
        stub_message(vid, STUB_GET_VRING_BASE, ring, 0);
        ck_assert_uint_eq(told_ring(before, (uint16_t)ring, 0), 1);
    }
    before = n_told;
    for (uint32_t ring = 0; ring < 2 * PAIRS; ring++)
        stub_message(vid, STUB_SET_VRING_KICK, ring, 0);
    ck_assert_uint_eq(n_told, before);
    for (uint32_t ring = 0; ring < 2 * PAIRS - 2; ring++)
        stub_message(vid, STUB_SET_VRING_ENABLE, ring, 1);
    stub_message(vid, STUB_SET_VRING_ENABLE, 2 * LATE, 0);
    stub_message(vid, STUB_SET_VRING_ENABLE, 2 * LATE + 1, 0);
    for (uint32_t ring = 0; ring < 2 * PAIRS - 2; ring++)
        ck_assert_uint_eq(told_ring(before, (uint16_t)ring, 1), 1);
    ck_assert_uint_eq(told_ring(before, 2 * LATE + 1, 1), 0);
    ck_assert_uint_eq(told_ring(before, 2 * LATE, 1), 0);
    /* What lay in the ring is there still, and was there when it was switched off. */
    for (uint32_t turn = 0; turn < 200; turn++)
        receive(0, 32, 7, &next);
    ck_assert_uint_eq(next, 10);
    before = n_told;
    stub_message(vid, STUB_SET_VRING_ENABLE, 2 * LATE + 1, 1);
    ck_assert_uint_eq(told_ring(before, 2 * LATE + 1, 1), 1);
    transmit(LATE, 8, 10, 1);
    ck_assert_uint_eq(receive(LATE, 32, 8, &next), 1);
}
END_TEST

/* A virtual machine is paused and goes on: what is in its rings must wait for the front end's word, whoever looks meanwhile. */
START_TEST(a_paused_guest_loses_nothing)
{
    uint32_t next = 0, before;
    transmit(LATE, 7, 0, 10);
    for (uint32_t ring = 0; ring < 2 * PAIRS; ring++)
        stub_message(vid, STUB_SET_VRING_ENABLE, ring, 0);
    for (uint32_t ring = 0; ring < 2 * PAIRS; ring++)
        stub_message(vid, STUB_GET_VRING_BASE, ring, 0);
    for (uint32_t ring = 0; ring < 2 * PAIRS; ring++)
        stub_message(vid, STUB_SET_VRING_KICK, ring, 0);
    for (uint32_t turn = 0; turn < 200; turn++)
        for (uint32_t q = 0; q < PAIRS; q++)
            ck_assert_uint_eq(receive(q, 32, 7, &next), 0);
    before = n_told;
    for (uint32_t ring = 0; ring < 2 * PAIRS; ring++)
        stub_message(vid, STUB_SET_VRING_ENABLE, ring, 1);
    for (uint32_t ring = 0; ring < 2 * PAIRS; ring++)
        ck_assert_uint_eq(told_ring(before, (uint16_t)ring, 1), 1);
    ck_assert_uint_eq(receive(LATE, 32, 7, &next), 10);
}
END_TEST

/* A ring that librte_vhost does not read yet is switched off as ever. */
START_TEST(a_ring_that_is_not_ready_is_let_go)
{
    stub_message(vid, STUB_GET_VRING_BASE, 2 * LATE + 1, 0);
    ck_assert(stub_message(vid, STUB_SET_VRING_ENABLE, 2 * LATE + 1, 0));
    ck_assert(!stub_enabled(vid, 2 * LATE + 1));
    stub_message(vid, STUB_SET_VRING_KICK, 2 * LATE + 1, 0);
    uint32_t before = n_told;
    enable(LATE);
    ck_assert_uint_eq(told_ring(before, 2 * LATE + 1, 1), 1);
}
END_TEST

/* Rings of devices whose packets do not come by rte_vhost_dequeue_burst() are none of ours. */
START_TEST(devices_that_nobody_reads_are_let_go)
{
    stub_disconnect(vid);
    vid = guest_comes(PATH, PAIRS);
    disable(LATE);
    ck_assert(!stub_enabled(vid, 2 * LATE + 1));
    guest_sends(vid, 0, 0);
    enable(LATE);
    disable(LATE);
    ck_assert(stub_enabled(vid, 2 * LATE + 1));
}
END_TEST

START_TEST(receive_rings_are_switched_by_librte_vhost)
{
    /* Twice: the first time, a flow that goes there anyway is not kept. */
    guest_sends(vid, 2, 9);
    guest_sends(vid, 2, 9);
    ck_assert_int_eq(arrives(vid, 9), 2);
    ck_assert(stub_message(vid, STUB_SET_VRING_ENABLE, 4, 0));
    ck_assert(!stub_enabled(vid, 4));
    ck_assert_int_ne(arrives(vid, 9), 2);
    ck_assert(stub_message(vid, STUB_SET_VRING_ENABLE, 4, 1));
    ck_assert_int_eq(arrives(vid, 9), 2);
}
END_TEST

/* A message with something wrong is refused by librte_vhost, and nothing has happened. */
START_TEST(a_refused_message_changes_nothing)
{
    uint32_t before = n_told, next = 0;
    transmit(LATE, 7, 0, 5);
    stub_bad_descriptor();
    ck_assert(!stub_message(vid, STUB_SET_VRING_ENABLE, 2 * LATE + 1, 0));
    ck_assert_uint_eq(n_told, before);
    ck_assert_uint_eq(receive(0, 32, 7, &next), 0);
    ck_assert_uint_eq(receive(LATE, 32, 7, &next), 5);
    /* It is not taken for the one before. */
    enable(1);
    ck_assert_uint_eq(n_told, before);
}
END_TEST

/* The avail index of a guest that lies: no more than a ring holds. */
START_TEST(a_guest_may_lie)
{
    uint32_t next = 0;
    stub_lie(vid, 2 * LATE + 1, 60000);
    disable(LATE);
    transmit(LATE, 7, 0, STUB_RING_SIZE / 2);
    for (uint32_t turn = 0; turn < 100; turn++)
        receive(LATE, 32, 7, &next);
    transmit(LATE, 7, next, STUB_RING_SIZE / 2);
    for (uint32_t turn = 0; turn < 100; turn++)
        receive(LATE, 32, 7, &next);
    transmit(LATE, 7, next, 10);
    ck_assert_uint_eq(receive(LATE, 32, 7, &next), 0);
}
END_TEST

/* What librte_vhost itself sends after a migration is not lost among what is discarded. */
START_TEST(an_announcement_is_not_discarded)
{
    struct rte_mbuf *packet = NULL;
    disable(LATE);
    transmit(LATE, 7, 0, 5);
    stub_announce(vid);
    ck_assert_uint_eq(rte_vhost_dequeue_burst(vid, 2 * LATE + 1, NULL, &packet, 1), 1);
    ck_assert_uint_eq(stub_flow(packet), UINT32_MAX);
    stub_free(packet);
}
END_TEST

/* Nor is it one of those that were counted. */
START_TEST(an_announcement_counts_for_no_packet)
{
    uint32_t next = 0;
    transmit(LATE, 7, 0, 5);
    disable(LATE);
    transmit(LATE, 7, 5, 5);
    stub_announce(vid);
    for (uint32_t turn = 0; turn < 200; turn++)
        receive(0, 32, 7, &next);
    ck_assert_uint_eq(next, 5);
    ck_assert_int_eq(telemetry("/flowq/port", "0", "drained"), 5);
    ck_assert_int_eq(telemetry("/flowq/port", "0", "discarded"), 5);
}
END_TEST

/* Librte_vhost's rings are as new then, and it does not say so. */
START_TEST(a_reset_forgets_what_was_hidden)
{
    disable(LATE);
    ck_assert(stub_message(vid, STUB_RESET_OWNER, 0, 0));
    uint32_t before = n_told;
    disable(1);
    disable(LATE);
    ck_assert(!stub_enabled(vid, 3) && !stub_enabled(vid, 2 * LATE + 1));
    ck_assert_uint_eq(n_told, before);
    stub_start(vid, PAIRS);
    ck_assert_uint_eq(told_ring(before, 3, 1), 1);
    ck_assert_uint_eq(told_ring(before, 2 * LATE + 1, 1), 1);
    ck_assert_uint_eq(n_told, before + 2 * PAIRS + 1); /* and new_device */
}
END_TEST

/* Librte_vhost does not look at how long this message is. */
START_TEST(a_message_has_any_size)
{
    static const uint32_t sizes[] = {0, 4, 12, 400};
    uint32_t before = n_told, next = 0;
    for (uint32_t i = 0; i < 4; i++) {
        transmit(LATE, 7, i, 1);
        stub_size(sizes[i]);
        disable(LATE);
        ck_assert(stub_enabled(vid, 2 * LATE + 1));
        ck_assert_uint_eq(told_ring(before, 2 * LATE + 1, 0), i + 1);
        ck_assert_uint_eq(receive(0, 32, 7, &next), 1);
        stub_size(sizes[i]);
        enable(LATE);
        ck_assert_uint_eq(told_ring(before, 2 * LATE + 1, 1), i + 1);
    }
}
END_TEST

/* The device is left alone from then on, and librte_vhost told to switch the ring off: the program knows that it is. */
START_TEST(asynchronous_calls_begin_late)
{
    disable(LATE);
    uint32_t before = n_told;
    ck_assert_int_eq(rte_vhost_async_channel_register(vid, 1), 0);
    disable(LATE);
    ck_assert(!stub_enabled(vid, 2 * LATE + 1));
    ck_assert_uint_eq(n_told, before);
    enable(LATE);
    ck_assert_uint_eq(told_ring(before, 2 * LATE + 1, 1), 1);
    disable(LATE);
    ck_assert_uint_eq(told_ring(before, 2 * LATE + 1, 0), 1);
    ck_assert_uint_eq(n_told, before + 2);
}
END_TEST

/* ---- The program's own hook ---- */

static uint32_t n_before, n_after, before_number, after_number;
static enum rte_vhost_msg_result before_result = RTE_VHOST_MSG_RESULT_NOT_HANDLED;

static enum rte_vhost_msg_result app_before(int device, void *message)
{
    (void)device;
    n_before++;
    before_number = ((uint32_t *)message)[4];
    return before_result;
}

static enum rte_vhost_msg_result app_after(int device, void *message)
{
    (void)device;
    n_after++;
    after_number = ((uint32_t *)message)[4];
    return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
}

START_TEST(the_programs_hook_is_served)
{
    static const struct rte_vhost_user_extern_ops hook = {app_before, app_after};
    int context;
    uint32_t next = 0;
    ck_assert_int_eq(rte_vhost_extern_callback_register(vid, &hook, &context), 0);
    ck_assert_ptr_eq(stub_hook_context(vid), &context);
    transmit(LATE, 7, 0, 5);
    before_number = after_number = 9;
    disable(LATE);
    ck_assert_uint_eq(n_before, 1);
    ck_assert_uint_eq(n_after, 1);
    ck_assert_uint_eq(before_number, 0);
    ck_assert_uint_eq(after_number, 0);
    ck_assert_uint_eq(receive(0, 32, 7, &next), 5);
    enable(LATE);
    ck_assert_uint_eq(after_number, 1);
    /* A message that the program answers itself is not ours. */
    before_result = RTE_VHOST_MSG_RESULT_OK;
    transmit(LATE, 7, 5, 5);
    uint32_t told_before = n_told;
    disable(LATE);
    ck_assert_uint_eq(n_told, told_before);
    ck_assert_uint_eq(receive(0, 32, 7, &next), 0);
    ck_assert_uint_eq(receive(LATE, 32, 7, &next), 5);
    ck_assert_int_eq(rte_vhost_extern_callback_register(vid, NULL, NULL), -1);
    ck_assert_int_eq(rte_vhost_extern_callback_register(63, &hook, NULL), -1);
}
END_TEST

/* Nobody tells librte_vhost of it, be the ring switched off or on. */
START_TEST(what_the_program_answers_changes_nothing)
{
    static const struct rte_vhost_user_extern_ops hook = {app_before, app_after};
    uint32_t next = 0;
    ck_assert_int_eq(rte_vhost_extern_callback_register(vid, &hook, NULL), 0);
    transmit(LATE, 7, 0, 5);
    disable(LATE);
    transmit(LATE, 7, 5, 5);
    before_result = RTE_VHOST_MSG_RESULT_OK;
    uint32_t before = n_told;
    disable(LATE);
    enable(LATE);
    ck_assert_uint_eq(n_told, before);
    for (uint32_t turn = 0; turn < 200; turn++)
        receive(0, 32, 7, &next);
    ck_assert_uint_eq(next, 5);
    ck_assert_int_eq(stub_packets(), 0);
    before_result = RTE_VHOST_MSG_RESULT_NOT_HANDLED;
    enable(LATE);
    ck_assert_uint_eq(told_ring(before, 2 * LATE + 1, 1), 1);
}
END_TEST

START_TEST(draining_can_be_switched_off)
{
    static const struct rte_vhost_user_extern_ops hook = {app_before, app_after};
    uint32_t next = 0;
    ck_assert_int_eq(setenv("FLOWQ_VHOST", "drain=off", 1), 0);
    begin();
    transmit(LATE, 7, 0, 5);
    disable(LATE);
    ck_assert(!stub_enabled(vid, 2 * LATE + 1));
    ck_assert_uint_eq(receive(0, 32, 7, &next), 0);
    ck_assert_int_eq(rte_vhost_extern_callback_register(vid, &hook, NULL), 0);
    enable(LATE);
    ck_assert_uint_eq(n_before, 1);
    end();
}
END_TEST

static void add_all(Suite *s, const char *name, SFun start)
{
    TCase *tc = tcase_create(name);
    tcase_set_timeout(tc, 300);
    tcase_add_checked_fixture(tc, start, end);
    tcase_add_test(tc, what_was_there_is_forwarded);
    tcase_add_test(tc, the_rings_own_reader_gets_the_same);
    tcase_add_test(tc, one_ring_looks_after_the_others);
    tcase_add_test(tc, late_packets_bind_nothing);
    tcase_add_test(tc, old_packets_come_first);
    tcase_add_test(tc, switched_on_again_it_is_as_before);
    tcase_add_test(tc, each_change_is_told_once);
    tcase_add_test(tc, a_device_stops_and_starts);
    tcase_add_test(tc, a_paused_guest_loses_nothing);
    tcase_add_test(tc, a_ring_that_is_not_ready_is_let_go);
    tcase_add_test(tc, devices_that_nobody_reads_are_let_go);
    tcase_add_test(tc, receive_rings_are_switched_by_librte_vhost);
    tcase_add_test(tc, a_refused_message_changes_nothing);
    tcase_add_test(tc, an_announcement_is_not_discarded);
    tcase_add_test(tc, an_announcement_counts_for_no_packet);
    tcase_add_test(tc, a_reset_forgets_what_was_hidden);
    tcase_add_test(tc, a_message_has_any_size);
    tcase_add_test(tc, asynchronous_calls_begin_late);
    tcase_add_test(tc, the_programs_hook_is_served);
    tcase_add_test(tc, what_the_program_answers_changes_nothing);
    if (start == begin_split)
        tcase_add_test(tc, a_guest_may_lie);
    suite_add_tcase(s, tc);
}

int main(void)
{
    Suite *s = suite_create("vhost rings");
    add_all(s, "split rings", begin_split);
    add_all(s, "packed rings", begin_packed);
    TCase *tc = tcase_create("switched off");
    tcase_add_test(tc, draining_can_be_switched_off);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
