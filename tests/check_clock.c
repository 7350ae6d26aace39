/*
 * check_clock: how often notes read the clock, and what becomes of ages where one reading serves a section that the host holds.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "example.h"
#include "runner.h"

#define FLOWS   8
#define A_WHILE (5 * SECOND)  /* some ticks of the vm's time */
#define SERVED  (256 / FLOWS) /* rounds of notes that one reading serves, as documented */
#define MS      UINT64_C(1000000)

static unsigned reads; /* of the clock */

static uint64_t counted_clock(void *ctx)
{
    reads++;
    return ctx ? *(uint64_t *)ctx : now;
}

static void set_up_counted(void)
{
    struct flowq_vm_config c = defaults();
    c.clock_ns = counted_clock;
    now = 1000 * SECOND;
    start(&c, PAIRS);
}

/* Notes of all flows in bursts of so many packets (1: in turn by either call, as they are one). */
static void note_all_on(struct flowq_vm *to, unsigned burst, uint32_t qid)
{
    struct frame f[FLOWS];
    struct flowq_pkt pkts[FLOWS];
    for (unsigned i = 0; i < FLOWS; i++) {
        struct flowq_tuple t = tcp(i);
        frame_flow(&f[i], &t, FRAME_ACK);
        pkts[i] = frame_pkt(&f[i]);
    }
    for (unsigned i = 0; i < FLOWS; i += burst) {
        if (burst == 1 && i % 2)
            flowq_tx_note(to, &pkts[i], qid);
        else
            flowq_tx_note_burst(to, &pkts[i], burst, qid);
    }
}

/* How often that read the clock. */
static unsigned reads_of(unsigned burst, uint32_t qid)
{
    reads = 0;
    note_all_on(vm, burst, qid);
    return reads;
}

static uint32_t age_of(uint32_t flow)
{
    struct flowq_binding b;
    ck_assert_int_eq(lookup(tcp(flow), &b), 0);
    return b.age_ms;
}

/* To a tick, which is about a second. */
static void are_about(uint64_t age_ns)
{
    for (uint32_t i = 0; i < FLOWS; i++) {
        ck_assert_uint_ge(age_of(i) + 1100, age_ns / MS);
        ck_assert_uint_le(age_of(i), age_ns / MS + 1100);
    }
}

static const unsigned bursts[] = {1, 2, 4, FLOWS};

START_TEST(a_call_by_itself_reads_the_clock_once)
{
    const unsigned burst = bursts[_i];
    for (unsigned i = 0; i < 6; i++, now += A_WHILE) {
        ck_assert_uint_eq(reads_of(burst, i / 2), FLOWS / burst);
        are_about(0);
        ck_assert_uint_eq(reads_of(burst, i / 2), FLOWS / burst);
    }
}
END_TEST

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
/* A reading serves notes of plain packets, of which this machine has none (plain.h): all read the clock, in a section, too. */
START_TEST(each_note_reads_it)
{
    const unsigned burst = bursts[_i];
    ck_assert_int_eq(flowq_enter(), 0);
    for (unsigned i = 0; i < 6; i++, now += A_WHILE) {
        ck_assert_uint_eq(reads_of(burst, i / 2), FLOWS / burst);
        are_about(0);
    }
    flowq_leave();
}
END_TEST
#else
/* Time stands still for notes that change nothing, until the section ends; for nobody else. */
START_TEST(a_held_section_reads_it_once)
{
    const unsigned burst = bursts[_i];
    note_all_on(vm, burst, 1);
    ck_assert_int_eq(flowq_enter(), 0);
    ck_assert_uint_eq(reads_of(burst, 1), 1);
    now += A_WHILE;
    ck_assert_int_eq(flowq_enter(), 0); /* one within */
    ck_assert_uint_eq(reads_of(burst, 1), 0);
    flowq_leave();
    ck_assert_uint_eq(reads_of(burst, 1), 0);
    are_about(A_WHILE);
    flowq_leave();
    ck_assert_uint_eq(reads_of(burst, 1), FLOWS / burst);
    are_about(0);
    now += A_WHILE;
    ck_assert_int_eq(flowq_enter(), 0);                   /* what an earlier section read is forgotten */
    ck_assert_uint_eq(reads_of(burst, 1), FLOWS / burst); /* as each changes something, its age */
    ck_assert_uint_eq(reads_of(burst, 1), 0);
    are_about(0);
    flowq_leave();
}
END_TEST

/* A note that moves a flow, or finds a new one, has the time that it is. */
START_TEST(what_changes_something_has_its_own_time)
{
    const unsigned burst = bursts[_i];
    ck_assert_int_eq(flowq_enter(), 0);
    for (uint32_t qid = 0; qid < PAIRS; qid++, now += A_WHILE) {
        ck_assert_uint_eq(reads_of(burst, qid), FLOWS / burst);
        are_about(0);
        ck_assert_uint_eq(reads_of(burst, qid), 0);
        is_bound(tcp(0), qid);
    }
    flowq_leave();
}
END_TEST

START_TEST(a_reading_serves_so_many_calls)
{
    ck_assert_int_eq(flowq_enter(), 0);
    note_all_on(vm, 1, 1);
    for (unsigned round = 0; round < 2 * SERVED; round++)
        note_all_on(vm, 1, 1);
    now += A_WHILE;
    for (unsigned round = 0; round <= SERVED; round++)
        note_all_on(vm, 1, 1);
    are_about(0);
    now += A_WHILE;
    reads = 0;
    for (unsigned round = 0; round < SERVED - 1; round++)
        note_all_on(vm, 1, 1);
    ck_assert_uint_le(reads, 1 + FLOWS);
    flowq_leave();
}
END_TEST

/* Vms with one clock share its reading, others have each their own. */
START_TEST(each_clock_for_itself)
{
    const unsigned burst = bursts[_i];
    struct flowq_vm_config c = defaults();
    struct flowq_vm *same, *other;
    uint64_t others = 7000 * SECOND;
    c.clock_ns = counted_clock;
    ck_assert_int_eq(flowq_vm_create(&c, &same), 0);
    c.clock_ctx = &others;
    ck_assert_int_eq(flowq_vm_create(&c, &other), 0);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(same, PAIRS), 0);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(other, PAIRS), 0);
    note_all_on(vm, burst, 1);
    note_all_on(same, burst, 1);
    note_all_on(other, burst, 1);
    ck_assert_int_eq(flowq_enter(), 0);
    ck_assert_uint_eq(reads_of(burst, 1), 1);
    reads = 0;
    note_all_on(same, burst, 1);
    ck_assert_uint_eq(reads, 0);
    note_all_on(other, burst, 1);
    ck_assert_uint_eq(reads, 1);
    ck_assert_uint_eq(reads_of(burst, 1), 1);
    flowq_leave();
    flowq_vm_destroy(same);
    flowq_vm_destroy(other);
}
END_TEST
#endif

/* A time of binding is a matter of microseconds: with rebind_min all notes read the clock. */
START_TEST(where_rebinding_waits_all_read_it)
{
    struct flowq_vm_config c = defaults();
    const unsigned burst = bursts[_i];
    c.clock_ns = counted_clock;
    c.rebind_min_tcp_us = 1000;
    start(&c, PAIRS);
    ck_assert_int_eq(flowq_enter(), 0);
    note_all_on(vm, burst, 1);
    now += 2 * MS;
    ck_assert_uint_eq(reads_of(burst, 1), FLOWS / burst);
    ck_assert_uint_eq(reads_of(burst, 2), FLOWS / burst);
    is_bound(tcp(0), 2);
    now += MS / 2;
    ck_assert_uint_eq(reads_of(burst, 3), FLOWS / burst);
    is_bound(tcp(0), 2);
    now += MS;
    ck_assert_uint_eq(reads_of(burst, 3), FLOWS / burst);
    is_bound(tcp(0), 3);
    flowq_leave();
}
END_TEST

int main(void)
{
    const int n = (int)(sizeof(bursts) / sizeof(bursts[0]));
    Suite *s = suite_create("clock");
    TCase *tc = tcase_create("clock");
    tcase_add_checked_fixture(tc, set_up_counted, tear_down);
    tcase_add_loop_test(tc, a_call_by_itself_reads_the_clock_once, 0, n);
#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    tcase_add_loop_test(tc, each_note_reads_it, 0, n);
#else
    tcase_add_loop_test(tc, a_held_section_reads_it_once, 0, n);
    tcase_add_loop_test(tc, what_changes_something_has_its_own_time, 0, n);
    tcase_add_test(tc, a_reading_serves_so_many_calls);
    tcase_add_loop_test(tc, each_clock_for_itself, 0, n);
#endif
    tcase_add_loop_test(tc, where_rebinding_waits_all_read_it, 0, n);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
