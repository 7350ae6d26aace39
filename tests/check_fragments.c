/*
 * check_fragments: rule S5, fragments, in readable examples.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "example.h"
#include "runner.h"

static struct flowq_decision decide_fragment(struct flowq_tuple t, uint32_t id, bool first)
{
    struct flowq_tuple in = tuple_reverse(&t);
    struct frame f;
    frame_fragment(&f, &in, id, first ? 0 : 1480, true);
    return decide_frame(&f);
}

static struct flowq_tuple udp_of(uint8_t version)
{
    return version == 4 ? udp(1) : tuple_v6(FRAME_PROTO_UDP, VM, 53, REMOTE, 1025);
}

START_TEST(s5_later_fragments_follow_the_first)
{
    struct flowq_tuple t = udp_of(_i ? 6 : 4);
    uint32_t q = unlike_fallback(t);
    struct flowq_decision unseen = decide_fragment(t, 77, false);
    ck_assert_uint_eq(unseen.reason, FLOWQ_REASON_FALLBACK);
    note(t, q);
    goes(decide_fragment(t, 77, false), unseen.qid, FLOWQ_REASON_FALLBACK); /* ports or not: nothing to look up */
    goes(decide_fragment(t, 77, true), q, FLOWQ_REASON_BOUND);
    goes(decide_fragment(t, 77, false), q, FLOWQ_REASON_FRAGMENT);
    goes(decide_fragment(t, 78, false), unseen.qid, FLOWQ_REASON_FALLBACK);
    note(t, (q + 1) % PAIRS); /* the flow moves; what is left of the datagram does not */
    goes(decide_fragment(t, 77, false), q, FLOWQ_REASON_FRAGMENT);
    now += 28 * SECOND;
    goes(decide_fragment(t, 77, false), q, FLOWQ_REASON_FRAGMENT);
    now += 4 * SECOND;
    goes(decide_fragment(t, 77, false), unseen.qid, FLOWQ_REASON_FALLBACK);
}
END_TEST

START_TEST(s5_also_where_the_first_took_the_fallback)
{
    for (uint32_t i = 0; i < 20; i++) {
        struct flowq_decision first = decide_fragment(udp(i), 100 + i, true);
        ck_assert_uint_eq(first.reason, FLOWQ_REASON_FALLBACK);
        goes(decide_fragment(udp(i), 100 + i, false), first.qid, FLOWQ_REASON_FRAGMENT);
    }
}
END_TEST

START_TEST(s5_a_fragment_whose_queue_went)
{
    struct flowq_tuple t = udp(1);
    uint32_t q = unlike_fallback(t);
    note(t, q);
    decide_fragment(t, 5, true);
    flowq_vm_set_queue_enabled(vm, q, false);
    struct flowq_decision d = decide_fragment(t, 5, false);
    ck_assert_uint_eq(d.reason, FLOWQ_REASON_FALLBACK);
    ck_assert_uint_ne(d.qid, q);
    flowq_vm_set_queue_enabled(vm, q, true);
    goes(decide_fragment(t, 5, false), q, FLOWQ_REASON_FRAGMENT);
}
END_TEST

START_TEST(s5_transmitted_fragments)
{
    struct flowq_tuple t = udp(1);
    struct frame first, later;
    frame_fragment(&first, &t, 9, 0, true);
    frame_fragment(&later, &t, 9, 1480, false);
    uint32_t q = unlike_fallback(t);
    ck_assert_uint_eq(note_frame(&later, q), FLOWQ_NOTE_FRAGMENT);
    is_unbound(t);
    ck_assert_uint_eq(note_frame(&first, q), FLOWQ_NOTE_BOUND);
    is_bound(t, q);
    ck_assert_uint_eq(decide_fragment(t, 9, false).reason, FLOWQ_REASON_FALLBACK); /* the VM's datagram is another one */
}
END_TEST

START_TEST(s5_atomic_fragments_are_whole)
{
    struct flowq_tuple t = udp_of(6), in = tuple_reverse(&t);
    struct frame f;
    uint32_t q = unlike_fallback(t);
    frame_fragment(&f, &t, 1, 0, false);
    ck_assert_uint_eq(note_frame(&f, q), FLOWQ_NOTE_BOUND);
    frame_fragment(&f, &in, 2, 0, false);
    goes(decide_frame(&f), q, FLOWQ_REASON_BOUND);
    ck_assert_uint_eq(decide_fragment(t, 2, false).reason, FLOWQ_REASON_FALLBACK); /* it has no later ones */
}
END_TEST

START_TEST(s5_fragments_of_a_tunnels_outer_packet)
{
    struct flowq_tuple outer = tuple_v4(FRAME_PROTO_UDP, REMOTE, 55555, VM, 0), inner = tcp(1), in = tuple_reverse(&inner);
    struct frame f;
    note(inner, 3);
    frame_tunnel_first(&f, FRAME_VXLAN, &outer, &in, FRAME_ACK, 4711);
    goes(decide_frame(&f), 3, FLOWQ_REASON_BOUND);
    outer.dport = 4789;
    frame_fragment(&f, &outer, 4711, 1480, false);
    goes(decide_frame(&f), 3, FLOWQ_REASON_FRAGMENT);
}
END_TEST

START_TEST(s5_a_fragment_inside_a_tunnel)
{
    struct flowq_tuple outer = tuple_v4(FRAME_PROTO_UDP, REMOTE, 0, VM, 0), inner = udp(1), in = tuple_reverse(&inner);
    struct frame f, whole;
    uint32_t q = unlike_fallback(inner);
    note(inner, q);
    for (uint32_t offset = 0; offset <= 1480; offset += 1480) {
        frame_fragment(&whole, &in, 12, offset, true);
        frame_start(&f);
        frame_eth(&f, false);
        frame_ip(&f, &outer, FRAME_PROTO_IPIP);
        memcpy(f.bytes + f.len, whole.bytes + 14, whole.len - 14);
        f.len += whole.len - 14;
        frame_end(&f);
        goes(decide_frame(&f), q, offset ? FLOWQ_REASON_FRAGMENT : FLOWQ_REASON_BOUND);
    }
    goes(decide_fragment(inner, 12, false), q, FLOWQ_REASON_FRAGMENT); /* the inner datagram, whatever carries it */
}
END_TEST

/* The first fragment of a tunnel's packet that carries the first fragment of another: both datagrams go where it goes. */
START_TEST(s5_two_first_fragments_in_one_packet)
{
    struct flowq_tuple outer = tuple_v4(FRAME_PROTO_IPIP, REMOTE, 0, VM, 0), inner = udp(1), in = tuple_reverse(&inner);
    struct frame f;
    uint32_t q = unlike_fallback(inner);
    note(inner, q);
    frame_start(&f);
    frame_eth(&f, false);
    frame_ip_fragment(&f, &outer, FRAME_PROTO_IPIP, 31, 0, true);
    frame_ip_fragment(&f, &in, in.protocol, 32, 0, true);
    frame_l4(&f, &in, 0);
    frame_payload(&f, 16);
    frame_end(&f);
    goes(decide_frame(&f), q, FLOWQ_REASON_BOUND);
    goes(decide_fragment(inner, 32, false), q, FLOWQ_REASON_FRAGMENT);
    frame_fragment(&f, &outer, 31, 1480, false);
    goes(decide_frame(&f), q, FLOWQ_REASON_FRAGMENT);
}
END_TEST

START_TEST(s5_a_small_cache)
{
    struct flowq_vm_config c = defaults();
    c.fragments = 8;
    start(&c, PAIRS);
    for (uint32_t i = 0; i < 9; i++) {
        decide_fragment(udp(1), 10 + i, true);
        now += SECOND;
    }
    ck_assert_uint_eq(decide_fragment(udp(1), 10, false).reason, FLOWQ_REASON_FALLBACK); /* the oldest gave way */
    for (uint32_t i = 1; i < 9; i++)
        ck_assert_uint_eq(decide_fragment(udp(1), 10 + i, false).reason, FLOWQ_REASON_FRAGMENT);
    c.fragments = FLOWQ_OFF;
    start(&c, PAIRS);
    decide_fragment(udp(1), 10, true);
    ck_assert_uint_eq(decide_fragment(udp(1), 10, false).reason, FLOWQ_REASON_FALLBACK);
}
END_TEST

static uint64_t later_clock(void *ctx)
{
    (void)ctx;
    return now + 3600 * SECOND;
}

START_TEST(s5_each_vm_goes_by_its_own_clock)
{
    struct flowq_vm_config c = defaults();
    struct flowq_vm *other;
    c.clock_ns = later_clock;
    ck_assert_int_eq(flowq_vm_create(&c, &other), 0);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(other, PAIRS), 0);
    struct flowq_tuple t = udp(1), in = tuple_reverse(&t);
    struct frame first, later;
    frame_fragment(&first, &in, 5, 0, true);
    frame_fragment(&later, &in, 5, 1480, false);
    struct flowq_pkt pkts[] = {frame_pkt(&first), frame_pkt(&first), frame_pkt(&later), frame_pkt(&later)};
    struct flowq_vm *vms[] = {vm, other, other, vm};
    uint16_t qids[4];
    flowq_rx_steer_burst_vms(vms, pkts, 4, qids);
    ck_assert_uint_eq(qids[2], qids[1]);
    ck_assert_uint_eq(qids[3], qids[0]);
    struct flowq_decision d;
    flowq_rx_decide_burst(other, &pkts[2], 1, &d);
    goes(d, qids[1], FLOWQ_REASON_FRAGMENT);
    flowq_rx_decide_burst(vm, &pkts[2], 1, &d);
    goes(d, qids[0], FLOWQ_REASON_FRAGMENT);
    flowq_vm_destroy(other);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("fragments");
    TCase *tc = tcase_create("rules");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 300);
    tcase_add_loop_test(tc, s5_later_fragments_follow_the_first, 0, 2);
    tcase_add_test(tc, s5_also_where_the_first_took_the_fallback);
    tcase_add_test(tc, s5_a_fragment_whose_queue_went);
    tcase_add_test(tc, s5_transmitted_fragments);
    tcase_add_test(tc, s5_atomic_fragments_are_whole);
    tcase_add_test(tc, s5_fragments_of_a_tunnels_outer_packet);
    tcase_add_test(tc, s5_a_fragment_inside_a_tunnel);
    tcase_add_test(tc, s5_two_first_fragments_in_one_packet);
    tcase_add_test(tc, s5_a_small_cache);
    tcase_add_test(tc, s5_each_vm_goes_by_its_own_clock);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
