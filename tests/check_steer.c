/*
 * check_steer: the rules S0 to S7, a readable example or more for each. S5 is in check_frag, S8 to S12 and queues are in
 * check_room.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "example.h"
#include "runner.h"
#include "seed.h"

/* ---- S0: mode -------------------------------------------------------------------------------------------------------------- */

/* A page that cannot be read: whoever looks at the packet dies. */
static void *unreadable(void)
{
    void *p = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(p, MAP_FAILED);
    return p;
}

START_TEST(s0_one_queue_touches_no_packet)
{
    struct flowq_pkt pkt = {.data = unreadable(), .len = 60};
    struct flowq_pkt burst[3] = {pkt, pkt, pkt};
    uint16_t qids[3];
    struct flowq_decision d[3];
    flowq_vm_set_queue_pairs(vm, 2);
    flowq_vm_set_queue_enabled(vm, 0, false);
    ck_assert_uint_eq(flowq_rx_steer(vm, &pkt), 1);
    flowq_rx_steer_burst(vm, burst, 3, qids);
    ck_assert_uint_eq(qids[2], 1);
    flowq_rx_decide_burst(vm, burst, 3, d);
    goes(d[2], 1, FLOWQ_REASON_SINGLE);
    ck_assert_uint_eq(flowq_tx_note(vm, &pkt, 1), FLOWQ_NOTE_SINGLE);
    ck_assert_uint_eq(flowq_tx_note(vm, &pkt, 0), FLOWQ_NOTE_NOT_IN_USE);
    flowq_tx_note_burst(vm, burst, 3, 1);
    ck_assert_uint_eq(stats().note[FLOWQ_NOTE_SINGLE], 4);
    ck_assert_uint_eq(stats().inserted, 0);
}
END_TEST

START_TEST(s0_learn_off_touches_no_packet_and_keeps_bindings)
{
    struct flowq_vm_config c = defaults();
    struct flowq_pkt pkt = {.data = unreadable(), .len = 60};
    note(tcp(1), 3);
    c.no_learn = FLOWQ_ON;
    ck_assert_int_eq(flowq_vm_configure(vm, &c), 0);
    ck_assert_uint_eq(flowq_tx_note(vm, &pkt, 2), FLOWQ_NOTE_OFF);
    ck_assert_uint_eq(flowq_tx_note(vm, &pkt, 99999), FLOWQ_NOTE_OFF);
    is_bound(tcp(1), 3);
}
END_TEST

/* ---- S1, S2 ---------------------------------------------------------------------------------------------------------------- */

START_TEST(s1_incoming_packets_follow_what_the_vm_sent)
{
    is_unbound(tcp(1));
    ck_assert_uint_eq(note(tcp(1), 5), FLOWQ_NOTE_BOUND);
    is_bound(tcp(1), 5);
    ck_assert_uint_eq(note(tcp(1), 5), FLOWQ_NOTE_REFRESHED);
    is_unbound(tcp(2));
}
END_TEST

START_TEST(s1_only_notes_write)
{
    for (unsigned i = 0; i < 100; i++)
        decide(tcp(i));
    ck_assert_uint_eq(stats().inserted, 0);
    note(tcp(1), 5);
    struct flowq_tuple in = tcp(1);
    in = tuple_reverse(&in); /* what the VM sends counts, whichever way round: this is another flow */
    ck_assert_uint_eq(note(in, 2), FLOWQ_NOTE_BOUND);
    is_bound(tcp(1), 5);
}
END_TEST

START_TEST(s1_a_note_on_a_queue_not_in_use_changes_nothing)
{
    note(tcp(1), 5);
    flowq_vm_set_queue_enabled(vm, 6, false);
    flowq_vm_set_queue_resetting(vm, 4, true);
    ck_assert_uint_eq(note(tcp(1), 6), FLOWQ_NOTE_NOT_IN_USE);
    ck_assert_uint_eq(note(tcp(1), 4), FLOWQ_NOTE_NOT_IN_USE);
    ck_assert_uint_eq(note(tcp(1), PAIRS), FLOWQ_NOTE_NOT_IN_USE);
    ck_assert_uint_eq(note(tcp(1), FLOWQ_DROP), FLOWQ_NOTE_NOT_IN_USE);
    ck_assert_uint_eq(note(tcp(1), UINT32_MAX), FLOWQ_NOTE_NOT_IN_USE);
    ck_assert_uint_eq(note(tcp(1), 0x10005), FLOWQ_NOTE_NOT_IN_USE); /* no truncation to 16 bits */
    ck_assert_uint_eq(note(tcp(2), 6), FLOWQ_NOTE_NOT_IN_USE);
    is_bound(tcp(1), 5);
    ck_assert_uint_eq(stats().note[FLOWQ_NOTE_NOT_IN_USE], 7);
    ck_assert_uint_eq(stats().inserted, 1);
}
END_TEST

START_TEST(s2_a_flow_moves_at_once)
{
    note(tcp(1), 5);
    ck_assert_uint_eq(note(tcp(1), 6), FLOWQ_NOTE_MOVED);
    is_bound(tcp(1), 6);
    ck_assert_uint_eq(note(tcp(1), 5), FLOWQ_NOTE_MOVED);
    is_bound(tcp(1), 5);
}
END_TEST

START_TEST(s2_or_only_after_rebind_min)
{
    struct flowq_vm_config c = defaults();
    c.rebind_min_tcp_us = 80000;
    start(&c, PAIRS);
    note(tcp(1), 5);
    note(udp(1), unlike_fallback(udp(1)));
    now += 60 * MS;
    ck_assert_uint_eq(note(tcp(1), 6), FLOWQ_NOTE_SUPPRESSED);
    is_bound(tcp(1), 5);
    now += 10 * MS; /* 70: 80 less the tolerance */
    ck_assert_uint_eq(note(tcp(1), 6), FLOWQ_NOTE_SUPPRESSED);
    now += 21 * MS; /* 91: 80 and the tolerance. Since it was bound, not since the last note */
    ck_assert_uint_eq(note(tcp(1), 6), FLOWQ_NOTE_MOVED);
    is_bound(tcp(1), 6);
    now += 60 * MS; /* and from now on it counts anew */
    ck_assert_uint_eq(note(tcp(1), 5), FLOWQ_NOTE_SUPPRESSED);
    struct flowq_binding b;
    ck_assert_int_eq(lookup(tcp(1), &b), 0);
    ck_assert_uint_eq(b.age_ms, 0); /* a suppressed note refreshes */
    uint32_t q = (decide(udp(1)).qid + 1u) % PAIRS;
    ck_assert_uint_eq(note(udp(1), q), FLOWQ_NOTE_MOVED); /* the rest has a setting of its own */
}
END_TEST

START_TEST(s2_suppression_ends_for_a_queue_that_went)
{
    struct flowq_vm_config c = defaults();
    c.rebind_min_tcp_us = c.rebind_min_other_us = 1000000;
    start(&c, PAIRS);
    note(tcp(1), 5);
    ck_assert_uint_eq(note(tcp(1), 6), FLOWQ_NOTE_SUPPRESSED);
    flowq_vm_set_queue_enabled(vm, 5, false);
    ck_assert_uint_eq(note(tcp(1), 6), FLOWQ_NOTE_MOVED);
    flowq_vm_set_queue_enabled(vm, 5, true);
    is_bound(tcp(1), 6);
}
END_TEST

/* Binding times wrap in whatever they are kept: a flow bound long ago moves, however long ago. */
START_TEST(s2_long_bound_flows_move)
{
    struct flowq_vm_config c = defaults();
    c.rebind_min_tcp_us = 1000;
    start(&c, PAIRS);
    for (uint64_t past = 2 * MS; past < 20 * SECOND; past += 131 * 65536) {
        note(tcp(1), 5);
        now += 2 * MS;
        note(tcp(1), 1);
        now += past / 2;
        note(tcp(1), 1);
        now += past / 2;
        ck_assert_uint_eq(note(tcp(1), 2), FLOWQ_NOTE_MOVED);
        now += 2 * MS;
    }
}
END_TEST

/* ---- S3: key --------------------------------------------------------------------------------------------------------------- */

START_TEST(s3_protocols_with_ports_and_without)
{
    static const struct {
        uint8_t protocol;
        bool ports;
    } all[] = {{FRAME_PROTO_TCP, true},  {FRAME_PROTO_UDP, true},  {FRAME_PROTO_UDPLITE, true}, {FRAME_PROTO_SCTP, true},
               {FRAME_PROTO_DCCP, true}, {FRAME_PROTO_ESP, false}, {FRAME_PROTO_ICMP, false},   {200, false}};
    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        struct flowq_tuple a = tuple_v4(all[i].protocol, VM, 1000, REMOTE, 2000);
        uint32_t q = unlike_fallback(a);
        ck_assert_uint_eq(note(a, q), FLOWQ_NOTE_BOUND);
        is_bound(a, q);
        struct flowq_tuple other_port = tuple_v4(all[i].protocol, VM, 1000, REMOTE, 2001);
        if (all[i].ports)
            is_unbound(other_port);
        else
            is_bound(other_port, q);
        is_unbound(tuple_v4(all[i].protocol, VM + 1, 1000, REMOTE, 2000));
        is_unbound(tuple_v4(all[i].protocol, VM, 1000, REMOTE + 1, 2000));
        is_unbound(tuple_v6(all[i].protocol, VM, 1000, REMOTE, 2000));
    }
}
END_TEST

START_TEST(s3_dscp_ttl_and_flow_label_do_not_matter)
{
    struct flowq_tuple t = tuple_v6(FRAME_PROTO_TCP, VM, 80, REMOTE, 1024), in = tuple_reverse(&t);
    struct frame f;
    ck_assert_uint_eq(note(t, 3), FLOWQ_NOTE_BOUND);
    frame_flow(&f, &in, FRAME_ACK);
    f.bytes[14] = 0x6f; /* traffic class and flow label */
    f.bytes[15] = 0xab;
    f.bytes[16] = 0xcd;
    f.bytes[14 + 7] = 3; /* hop limit */
    goes(decide_frame(&f), 3, FLOWQ_REASON_BOUND);
}
END_TEST

static struct flowq_tuple tagged(uint16_t outer, uint16_t inner)
{
    struct flowq_tuple t = tcp(1);
    t.n_vlans = inner ? 2 : 1;
    t.vlan[0] = outer;
    t.vlan[1] = inner;
    return t;
}

START_TEST(s3_vlan_tags_are_passed_over)
{
    note(tcp(1), 3);
    is_bound(tagged(7, 0), 3);
    is_bound(tagged(9, 8), 3);
}
END_TEST

START_TEST(s3_or_belong_to_the_key)
{
    struct flowq_vm_config c = defaults();
    struct flowq_binding b;
    c.key_vlan = FLOWQ_ON;
    ck_assert_int_eq(flowq_vm_configure(vm, &c), 0);
    note(tcp(1), 3);
    note(tagged(7, 0), 4);
    note(tagged(7, 8), 5);
    note(tagged(8, 7), 6);
    is_bound(tcp(1), 3);
    is_bound(tagged(7, 0), 4);
    is_bound(tagged(7, 8), 5);
    is_bound(tagged(8, 7), 6);
    ck_assert_int_eq(lookup(tagged(7, 8), &b), 0);
    ck_assert_uint_eq(b.qid, 5);
    is_unbound(tagged(9, 0));
}
END_TEST

/* ---- S4: tunnels ----------------------------------------------------------------------------------------------------------- */

static struct flowq_decision decide_tunnel(enum frame_tunnel tunnel, const struct flowq_tuple *outer, struct flowq_tuple inner)
{
    struct flowq_tuple back = tuple_reverse(outer), in = tuple_reverse(&inner);
    struct frame f;
    back.sport = (uint16_t)rand();
    frame_tunnel(&f, tunnel, &back, &in, FRAME_ACK);
    return decide_frame(&f);
}

START_TEST(s4_tunnels_are_keyed_on_what_is_inside)
{
    for (unsigned versions = 0; versions < 4; versions++) {
        struct flowq_tuple outer =
            versions & 1 ? tuple_v6(FRAME_PROTO_UDP, VM, 55555, REMOTE, 0) : tuple_v4(FRAME_PROTO_UDP, VM, 55555, REMOTE, 0);
        struct flowq_tuple inner = versions & 2 ? tuple_v6(FRAME_PROTO_TCP, 1, 80, 2, 1024) : tcp(1), other = inner;
        struct frame f;
        if (!frame_tunnel_bit((enum frame_tunnel)_i, outer.version, inner.version))
            continue;
        other.sport++;
        frame_tunnel(&f, (enum frame_tunnel)_i, &outer, &inner, FRAME_ACK);
        ck_assert_uint_ne(note_frame(&f, 3), FLOWQ_NOTE_KEYLESS);
        goes(decide_tunnel((enum frame_tunnel)_i, &outer, inner), 3, FLOWQ_REASON_BOUND);
        is_bound(inner, 3); /* the inner flow alone */
        ck_assert_uint_eq(decide_tunnel((enum frame_tunnel)_i, &outer, other).reason, FLOWQ_REASON_FALLBACK);

        struct flowq_vm_config c = defaults();
        c.tunnels = FLOWQ_TUNNEL_ALL & ~frame_tunnel_bit((enum frame_tunnel)_i, outer.version, inner.version);
        ck_assert_int_eq(flowq_vm_configure(vm, &c), 0);
        ck_assert_uint_eq(decide_tunnel((enum frame_tunnel)_i, &outer, inner).reason, FLOWQ_REASON_FALLBACK);
        c.tunnels = 0;
        ck_assert_int_eq(flowq_vm_configure(vm, &c), 0);
        flowq_vm_reset(vm, FLOWQ_RESET_FLOWS);
    }
}
END_TEST

START_TEST(s4_ports_can_be_set)
{
    struct flowq_vm_config c = defaults();
    struct flowq_tuple outer = tuple_v4(FRAME_PROTO_UDP, VM, 55555, REMOTE, 0), inner = tcp(1);
    c.vxlan_port = 1111;
    ck_assert_int_eq(flowq_vm_configure(vm, &c), 0);
    note(inner, 3);
    ck_assert_uint_eq(decide_tunnel(FRAME_VXLAN, &outer, inner).reason, FLOWQ_REASON_FALLBACK);
    goes(decide_tunnel(FRAME_VXLAN_LINUX, &outer, inner), 3, FLOWQ_REASON_BOUND);
    struct flowq_tuple in = tuple_reverse(&inner);
    struct frame f;
    frame_tunnel(&f, FRAME_VXLAN, &outer, &in, FRAME_ACK);
    f.bytes[14 + 20 + 2] = 1111 >> 8;
    f.bytes[14 + 20 + 3] = 1111 & 0xff;
    goes(decide_frame(&f), 3, FLOWQ_REASON_BOUND);
}
END_TEST

START_TEST(s4_when_the_inner_packet_cannot_be_read)
{
    struct flowq_tuple outer = tuple_v4(FRAME_PROTO_UDP, REMOTE, 55555, VM, 0), inner = tcp(1);
    struct frame f;
    frame_tunnel(&f, FRAME_VXLAN, &outer, &inner, FRAME_ACK);
    f.len = 14 + 20 + 8 + 8 + 10;                                      /* cut in the inner Ethernet header */
    ck_assert_uint_eq(decide_frame(&f).reason, FLOWQ_REASON_FALLBACK); /* more of this in check_tunnels */
    ck_assert_uint_eq(note_frame(&f, 3), FLOWQ_NOTE_KEYLESS);

    struct flowq_tuple from_vm = tuple_reverse(&outer), back = tuple_reverse(&inner);
    frame_tunnel(&f, FRAME_IP_IN_IP, &from_vm, &back, FRAME_ACK);
    f.len = 14 + 20 + 10; /* cut in the inner IP header: outer addresses and protocol */
    struct flowq_tuple addresses = tuple_v4(FRAME_PROTO_IPIP, VM, 0, REMOTE, 0);
    uint32_t q = unlike_fallback(addresses);
    ck_assert_uint_eq(note_frame(&f, q), FLOWQ_NOTE_BOUND);
    struct flowq_binding b;
    ck_assert_int_eq(lookup(addresses, &b), 0);
    ck_assert_uint_eq(b.qid, q);
}
END_TEST

/* ---- S6, S7 ---------------------------------------------------------------------------------------------------------------- */

START_TEST(s6_icmp_errors_go_where_the_flow_they_quote_goes)
{
    struct flowq_tuple t = _i ? tuple_v6(FRAME_PROTO_TCP, VM, 80, REMOTE, 1024) : tcp(1);
    struct flowq_tuple error = _i ? tuple_v6(0, 99, 0, VM, 0) : tuple_v4(0, 99, 0, VM, 0); /* from a router */
    struct frame whole, cut;
    frame_icmp_error(&whole, &error, &t, 1000);
    frame_icmp_error(&cut, &error, &t, _i ? 48 : 28); /* 8 bytes of TCP */
    uint32_t fallback = decide(t).qid;
    goes(decide_frame(&whole), fallback, FLOWQ_REASON_FALLBACK);
    goes(decide_frame(&cut), fallback, FLOWQ_REASON_FALLBACK);
    note(t, (fallback + 1) % PAIRS);
    goes(decide_frame(&whole), (fallback + 1) % PAIRS, FLOWQ_REASON_ICMP_ERROR);
    goes(decide_frame(&cut), (fallback + 1) % PAIRS, FLOWQ_REASON_ICMP_ERROR);
    flowq_vm_set_queue_enabled(vm, (fallback + 1) % PAIRS, false);
    goes(decide_frame(&whole), decide(t).qid, FLOWQ_REASON_FALLBACK);
}
END_TEST

START_TEST(s7_never_learned)
{
    struct frame f;
    struct flowq_tuple t = tcp(1), in = tuple_reverse(&t), error = tuple_v4(0, VM, 0, REMOTE, 0);
    frame_arp(&f);
    ck_assert_uint_eq(note_frame(&f, 3), FLOWQ_NOTE_KEYLESS);
    goes(decide_frame(&f), 0, FLOWQ_REASON_KEYLESS);
    ck_assert_uint_eq(note(tuple_v4(FRAME_PROTO_UDP, VM, 5353, 0xe00000fb, 5353), 3), FLOWQ_NOTE_MULTICAST);
    ck_assert_uint_eq(note(tuple_v4(FRAME_PROTO_UDP, VM, 68, 0xffffffff, 67), 3), FLOWQ_NOTE_MULTICAST);
    struct flowq_tuple all_nodes = tuple_v6(FRAME_PROTO_UDP, VM, 546, 0, 547);
    all_nodes.dst[0] = 0xff;
    all_nodes.dst[1] = 0x02;
    ck_assert_uint_eq(note(all_nodes, 3), FLOWQ_NOTE_MULTICAST);
    all_nodes.protocol = FRAME_PROTO_TCP; /* long enough for the way of plain packets */
    ck_assert_uint_eq(note(all_nodes, 3), FLOWQ_NOTE_MULTICAST);
    frame_flow(&f, &t, FRAME_ACK); /* unicast IP in a broadcast frame */
    memset(f.bytes, 0xff, 6);
    ck_assert_uint_eq(note_frame(&f, 3), FLOWQ_NOTE_MULTICAST);
    frame_icmp_error(&f, &error, &in, 1000);
    ck_assert_uint_eq(note_frame(&f, 3), FLOWQ_NOTE_ICMP_ERROR);
    ck_assert_uint_eq(note_flags(tcp(1), FRAME_RST, 3), FLOWQ_NOTE_RESET);
    ck_assert_uint_eq(note_flags(tcp(1), FRAME_RST | FRAME_SYN, 3), FLOWQ_NOTE_RESET);
    ck_assert_uint_eq(stats().inserted, 0);
    is_unbound(tcp(1));
}
END_TEST

START_TEST(s7_packets_that_cannot_be_read)
{
    struct flowq_pkt nothing = {.data = NULL, .len = 0}, flags;
    struct frame f;
    struct flowq_tuple t = tcp(1);
    ck_assert_uint_eq(flowq_tx_note(vm, &nothing, 3), FLOWQ_NOTE_KEYLESS);
    ck_assert_uint_eq(flowq_rx_steer(vm, &nothing), 0);
    frame_flow(&f, &t, FRAME_ACK);
    for (uint32_t len = 0; len < 14 + 20; len++) {
        f.len = len;
        ck_assert_uint_eq(note_frame(&f, 3), FLOWQ_NOTE_KEYLESS);
    }
    frame_flow(&f, &t, FRAME_ACK);
    flags = frame_pkt(&f);
    for (uint32_t bit = 1; bit < 32; bit++) {
        flags.flags = UINT32_C(1) << bit;
        ck_assert_uint_eq(flowq_tx_note(vm, &flags, 3), FLOWQ_NOTE_KEYLESS);
    }
    flags.flags = FLOWQ_PKT_L3;
    flags.data = f.bytes + 14;
    flags.len = f.len - 14;
    ck_assert_uint_eq(flowq_tx_note(vm, &flags, 3), FLOWQ_NOTE_BOUND);
    is_bound(t, 3);
}
END_TEST

/* Nothing behind FLOWQ_HEADER_MAX is looked at: there is nothing. */
START_TEST(s7_bytes_past_the_header)
{
    uint8_t *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(pages, MAP_FAILED);
    ck_assert_int_eq(mprotect(pages + 4096, 4096, PROT_NONE), 0);
    struct flowq_tuple t = tcp(1);
    struct frame f;
    frame_flow(&f, &t, FRAME_ACK);
    memset(pages + 4096 - FLOWQ_HEADER_MAX, 0, FLOWQ_HEADER_MAX);
    memcpy(pages + 4096 - FLOWQ_HEADER_MAX, f.bytes, f.len);
    struct flowq_pkt pkt = {.data = pages + 4096 - FLOWQ_HEADER_MAX, .len = 65000};
    ck_assert_uint_eq(flowq_tx_note(vm, &pkt, 3), FLOWQ_NOTE_BOUND);
    flowq_rx_steer(vm, &pkt);
    munmap(pages, 8192);
}
END_TEST

/* n 0 needs no packets; large bursts are like small ones. */
START_TEST(bursts_of_nothing_and_of_many)
{
    enum { MANY = 5000 };
    static struct frame f[MANY];
    static struct flowq_pkt tx[MANY], rx[MANY];
    static uint16_t qids[MANY];
    static struct flowq_decision d[MANY];
    flowq_tx_note_burst(vm, NULL, 0, 3);
    flowq_rx_steer_burst(vm, NULL, 0, NULL);
    flowq_rx_decide_burst(vm, NULL, 0, NULL);
    flowq_rx_steer_burst_vms(NULL, NULL, 0, NULL);
    struct flowq_stats s = stats();
    for (unsigned i = 0; i < FLOWQ_NOTE_SLOTS; i++)
        ck_assert_uint_eq(s.note[i], 0);
    for (unsigned i = 0; i < FLOWQ_REASON_SLOTS; i++)
        ck_assert_uint_eq(s.steer[i], 0);
    for (unsigned way = 0; way < 2; way++)
        for (uint32_t i = 0; i < MANY; i++) {
            struct flowq_tuple out = tcp(i), in = tuple_reverse(&out);
            frame_flow(&f[i], way ? &in : &out, FRAME_ACK);
            (way ? rx : tx)[i] = frame_pkt(&f[i]);
            if (way == 0 && i == MANY - 1)
                flowq_tx_note_burst(vm, tx, MANY, 3);
        }
    flowq_rx_steer_burst(vm, rx, MANY, qids);
    flowq_rx_decide_burst(vm, rx, MANY, d);
    for (uint32_t i = 0; i < MANY; i++) {
        ck_assert_uint_eq(qids[i], 3);
        goes(d[i], 3, FLOWQ_REASON_BOUND);
    }
}
END_TEST

int main(void)
{
    srand((unsigned)seed_get("check_steer"));
    Suite *s = suite_create("steer");
    TCase *tc = tcase_create("rules");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, s0_one_queue_touches_no_packet);
    tcase_add_test(tc, s0_learn_off_touches_no_packet_and_keeps_bindings);
    tcase_add_test(tc, s1_incoming_packets_follow_what_the_vm_sent);
    tcase_add_test(tc, s1_only_notes_write);
    tcase_add_test(tc, s1_a_note_on_a_queue_not_in_use_changes_nothing);
    tcase_add_test(tc, s2_a_flow_moves_at_once);
    tcase_add_test(tc, s2_or_only_after_rebind_min);
    tcase_add_test(tc, s2_suppression_ends_for_a_queue_that_went);
    tcase_add_test(tc, s2_long_bound_flows_move);
    tcase_add_test(tc, s3_protocols_with_ports_and_without);
    tcase_add_test(tc, s3_dscp_ttl_and_flow_label_do_not_matter);
    tcase_add_test(tc, s3_vlan_tags_are_passed_over);
    tcase_add_test(tc, s3_or_belong_to_the_key);
    tcase_add_loop_test(tc, s4_tunnels_are_keyed_on_what_is_inside, FRAME_NO_TUNNEL + 1, FRAME_N_TUNNELS);
    tcase_add_test(tc, s4_ports_can_be_set);
    tcase_add_test(tc, s4_when_the_inner_packet_cannot_be_read);
    tcase_add_loop_test(tc, s6_icmp_errors_go_where_the_flow_they_quote_goes, 0, 2);
    tcase_add_test(tc, s7_never_learned);
    tcase_add_test(tc, s7_packets_that_cannot_be_read);
    tcase_add_test(tc, s7_bytes_past_the_header);
    tcase_add_test(tc, bursts_of_nothing_and_of_many);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
