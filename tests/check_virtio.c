/*
 * check_virtio: what the commands of the control queue, and the calls that do the same, make of a vm. What is refused, and what
 * real guests send, is in check_ctrl; random streams of commands in check_virtio_model; the fields of a hash in check_rss.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "device.h"
#include "runner.h"

/* ---- RSS ------------------------------------------------------------------------------------------------------------------- */

START_TEST(table_decides)
{
    struct flowq_rss r = rss_over(5);
    ck_assert_uint_eq(send_rss(&r), FLOWQ_CTRL_OK);
    for (uint32_t i = 0; i < 500; i++) {
        struct flowq_tuple sent = i % 2 ? tcp(i) : udp(i), t = tuple_reverse(&sent);
        uint32_t hash = hash_of(&t, true);
        struct flowq_decision d = decided(&t);
        expect(&d, table[hash & 127], FLOWQ_REASON_RSS, i % 2 ? FLOWQ_HASH_REPORT_TCPV4 : FLOWQ_HASH_REPORT_UDPV4, hash);
    }
    struct frame f;
    frame_arp(&f);
    struct flowq_decision d = decided_frame(&f);
    expect(&d, 4, FLOWQ_REASON_RSS, FLOWQ_HASH_REPORT_NONE, 0); /* unclassified */
    ck_assert_uint_eq(stats().steer[FLOWQ_REASON_RSS], 501);
    ck_assert_uint_eq(stats().queue_pairs, 5);
}
END_TEST

START_TEST(published_hash_is_reported)
{
    struct flowq_rss r = rss_over(2);
    ck_assert_uint_eq(send_rss(&r), FLOWQ_CTRL_OK);
    struct flowq_tuple t = tuple_v4(FRAME_PROTO_TCP, 0x420995bb, 2794, 0xa18e6450, 1766); /* 66.9.149.187 to 161.142.100.80 */
    struct flowq_decision d = decided(&t);
    expect(&d, table[0x51ccc178 & 127], FLOWQ_REASON_RSS, FLOWQ_HASH_REPORT_TCPV4, 0x51ccc178);
    r.hash_types = FLOWQ_HASH_TYPE_IPV4;
    ck_assert_uint_eq(send_rss(&r), FLOWQ_CTRL_OK);
    d = decided(&t);
    expect(&d, table[0x323e8fc2 & 127], FLOWQ_REASON_RSS, FLOWQ_HASH_REPORT_IPV4, 0x323e8fc2);
    uint8_t hdr[24];
    memset(hdr, 0xee, sizeof(hdr));
    ck_assert_int_eq(flowq_hdr_set_hash(hdr, 20, &d), 0);
    static const uint8_t written[24] = {0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
                                        0xc2, 0x8f, 0x3e, 0x32, 1,    0,    0,    0,    0xee, 0xee, 0xee, 0xee};
    ck_assert_mem_eq(hdr, written, sizeof(hdr));
    ck_assert_int_eq(flowq_hdr_set_hash(hdr, 24, &d), 0);
    ck_assert_mem_eq(hdr, written, sizeof(hdr));
    ck_assert_int_eq(flowq_hdr_set_hash(hdr, 19, &d), -EINVAL);
    ck_assert_int_eq(flowq_hdr_set_hash(NULL, 20, &d), -EINVAL);
    ck_assert_int_eq(flowq_hdr_set_hash(hdr, 20, NULL), -EINVAL);
}
END_TEST

/* max_tx pairs and every queue that the table names come into use; no other one. */
START_TEST(queues_in_use)
{
    struct flowq_rss r = rss_over(1);
    table[7] = 6;
    r.max_tx = 2;
    r.unclassified = 4;
    ck_assert_uint_eq(send_rss(&r), FLOWQ_CTRL_OK);
    for (uint32_t q = 0; q < PAIRS; q++) {
        struct flowq_queue_stats s = {.size = sizeof(s)};
        ck_assert_int_eq(flowq_vm_queue_stats(vm, q, &s), 0);
        ck_assert_uint_eq(s.in_use, q == 0 || q == 1 || q == 4 || q == 6);
    }
    ck_assert_uint_eq(stats().queues_in_use, 4);
    ck_assert_uint_eq(send_pairs(3), FLOWQ_CTRL_OK);
    ck_assert_uint_eq(stats().queues_in_use, 3);
    ck_assert_uint_eq(send_rss(&r), FLOWQ_CTRL_OK);
    flowq_vm_reset(vm, FLOWQ_RESET_CONFIG);
    ck_assert_uint_eq(stats().queues_in_use, 2); /* max_tx */
}
END_TEST

START_TEST(resetting_drops_disabled_does_not)
{
    struct flowq_rss r = rss_over(4);
    struct frame f;
    frame_arp(&f); /* to queue 3 */
    ck_assert_uint_eq(send_rss(&r), FLOWQ_CTRL_OK);
    flowq_vm_set_queue_resetting(vm, 3, true);
    struct flowq_decision d = decided_frame(&f);
    expect(&d, FLOWQ_DROP, FLOWQ_REASON_DROP, 0, 0);
    flowq_vm_set_queue_enabled(vm, 3, false);
    ck_assert_uint_eq(decided_frame(&f).qid, FLOWQ_DROP); /* still being reset */
    flowq_vm_set_queue_resetting(vm, 3, false);
    ck_assert_uint_eq(stats().rss_elsewhere, 0);
    d = decided_frame(&f);
    expect(&d, 0, FLOWQ_REASON_RSS, 0, 0); /* the next one in use */
    flowq_vm_set_queue_enabled(vm, 0, false);
    flowq_vm_set_queue_resetting(vm, 1, true); /* to be passed over: it is not the chosen one */
    ck_assert_uint_eq(decided_frame(&f).qid, 2);
    ck_assert_uint_eq(stats().rss_elsewhere, 2);
    flowq_vm_set_queue_enabled(vm, 2, false);
    d = decided_frame(&f);
    expect(&d, FLOWQ_DROP, FLOWQ_REASON_DROP, 0, 0); /* none is left */
    flowq_vm_set_queue_enabled(vm, 3, true);
    ck_assert_uint_eq(decided_frame(&f).qid, 3);
    struct flowq_stats s = stats();
    ck_assert_uint_eq(s.steer[FLOWQ_REASON_DROP], 3);
    ck_assert_uint_eq(s.steer[FLOWQ_REASON_RSS], 3);
    ck_assert_uint_eq(s.rss_elsewhere, 2);
}
END_TEST

/* With one queue in use, packets for another one that is being reset are dropped all the same. */
START_TEST(single_queue_is_no_short_cut)
{
    struct flowq_rss r = rss_over(2);
    struct frame f;
    frame_arp(&f); /* to queue 1 */
    ck_assert_uint_eq(send_rss(&r), FLOWQ_CTRL_OK);
    flowq_vm_set_queue_resetting(vm, 1, true);
    struct flowq_pkt pkt = frame_pkt(&f);
    ck_assert_uint_eq(flowq_rx_steer(vm, &pkt), FLOWQ_DROP);
}
END_TEST

START_TEST(bindings_live_through_rss)
{
    struct flowq_tuple sent = tcp(1), other = tcp(2), back = tuple_reverse(&sent), other_back = tuple_reverse(&other);
    struct frame f, g;
    ck_assert_uint_eq(send_pairs(PAIRS), FLOWQ_CTRL_OK);
    frame_flow(&f, &sent, FRAME_ACK);
    frame_flow(&g, &other, FRAME_ACK);
    ck_assert_uint_eq(note_frame(&f, 5), FLOWQ_NOTE_BOUND);
    struct flowq_rss r = rss_over(PAIRS);
    ck_assert_uint_eq(send_rss(&r), FLOWQ_CTRL_OK);
    ck_assert_uint_eq(note_frame(&g, 6), FLOWQ_NOTE_BOUND); /* learned in RSS mode */
    ck_assert_uint_eq(decided(&back).reason, FLOWQ_REASON_RSS);
    ck_assert_uint_eq(send_pairs(PAIRS), FLOWQ_CTRL_OK);
    struct flowq_decision d = decided(&back);
    expect(&d, 5, FLOWQ_REASON_BOUND, FLOWQ_HASH_REPORT_TCPV4, hash_of(&back, true)); /* types and key are still those of RSS */
    ck_assert_uint_eq(decided(&other_back).qid, 6);
    flowq_vm_reset(vm, FLOWQ_RESET_CONFIG);
    d = decided(&back);
    expect(&d, 5, FLOWQ_REASON_BOUND, FLOWQ_HASH_REPORT_NONE, 0);
}
END_TEST

/* Hash types 0: all to the unclassified queue. A key may be short, and goes on with zeros. */
START_TEST(types_and_keys)
{
    struct flowq_rss r = rss_over(4);
    struct flowq_tuple sent = tcp(1), t = tuple_reverse(&sent);
    r.hash_types = 0;
    ck_assert_uint_eq(send_rss(&r), FLOWQ_CTRL_OK);
    struct flowq_decision d = decided(&t);
    expect(&d, 3, FLOWQ_REASON_RSS, FLOWQ_HASH_REPORT_NONE, 0);
    r.key_length = 0;
    ck_assert_uint_eq(send_rss(&r), FLOWQ_CTRL_OK);
    r.hash_types = FLOWQ_HASH_TYPE_TCPV4;
    ck_assert_uint_eq(send_rss(&r), FLOWQ_CTRL_ERR); /* nothing to hash with */
    d = decided(&t);
    expect(&d, 3, FLOWQ_REASON_RSS, FLOWQ_HASH_REPORT_NONE, 0);
    for (r.key_length = 1; r.key_length <= 40; r.key_length++) {
        ck_assert_uint_eq(send_rss(&r), FLOWQ_CTRL_OK);
        uint32_t hash = naive_hash_tuple(key, r.key_length, &t, true);
        d = decided(&t);
        expect(&d, table[hash & 127], FLOWQ_REASON_RSS, FLOWQ_HASH_REPORT_TCPV4, hash);
    }
}
END_TEST

/* ---- Reports in automatic mode --------------------------------------------------------------------------------------------- */

START_TEST(automatic_reports)
{
    struct flowq_tuple sent = tcp(1), t = tuple_reverse(&sent);
    start_with(NO_RSS);
    ck_assert_uint_eq(decided(&t).hash_report, FLOWQ_HASH_REPORT_NONE); /* initially all types are disabled */
    ck_assert_uint_eq(send_hash(FLOWQ_HASH_TYPE_IPV4), FLOWQ_CTRL_OK);
    struct flowq_decision d = decided(&t);
    expect(&d, 0, FLOWQ_REASON_SINGLE, FLOWQ_HASH_REPORT_IPV4, hash_of(&t, false));
    ck_assert_uint_eq(send_pairs(PAIRS), FLOWQ_CTRL_OK);
    ck_assert_uint_eq(send_hash(FLOWQ_HASH_TYPE_ALL), FLOWQ_CTRL_OK);
    d = decided(&t);
    ck_assert_uint_eq(d.reason, FLOWQ_REASON_FALLBACK);
    ck_assert_uint_eq(d.hash_report, FLOWQ_HASH_REPORT_TCPV4);
    ck_assert_uint_eq(d.hash_value, hash_of(&t, true));
    ck_assert_uint_eq(send_hash(0), FLOWQ_CTRL_OK);
    ck_assert_uint_eq(decided(&t).hash_report, FLOWQ_HASH_REPORT_NONE);
    start_with(ALL_FEATURES & ~FLOWQ_VIRTIO_F_HASH_REPORT);
    struct flowq_rss r = rss_over(4);
    ck_assert_uint_eq(send_rss(&r), FLOWQ_CTRL_OK);
    ck_assert_uint_eq(decided(&t).hash_report, FLOWQ_HASH_REPORT_TCPV4); /* the host may want it */
    ck_assert_uint_eq(send_pairs(PAIRS), FLOWQ_CTRL_OK);
    ck_assert_uint_eq(decided(&t).hash_report, FLOWQ_HASH_REPORT_NONE);
}
END_TEST

/* Linux sends the layout of RSS_CONFIG with a table of one entry, and in some versions the number of its queues in it. */
START_TEST(reserved_fields_are_not_looked_at)
{
    static const uint16_t linux_layout[4] = {0, 0, 0, 4}, anything[4] = {0xffff, 1, 2, 0x8000};
    struct flowq_tuple sent = tcp(1), t = tuple_reverse(&sent);
    start_with(NO_RSS);
    control_hash(&command, FLOWQ_HASH_TYPE_TCPV4, linux_layout, key, 40);
    ck_assert_uint_eq(control_send(vm, &command), FLOWQ_CTRL_OK);
    ck_assert_uint_eq(decided(&t).hash_value, hash_of(&t, true));
    control_hash(&command, FLOWQ_HASH_TYPE_IPV4, anything, key, 40);
    ck_assert_uint_eq(control_send(vm, &command), FLOWQ_CTRL_OK);
    ck_assert_uint_eq(decided(&t).hash_value, hash_of(&t, false));
}
END_TEST

START_TEST(inner_header)
{
    static const struct {
        enum frame_tunnel tunnel;
        uint8_t outer, inner;
        uint32_t type;
    } cases[] = {
        {FRAME_GRE, 4, 4, FLOWQ_HASH_TUNNEL_GRE_2784},
        {FRAME_GRE_KEY, 4, 4, FLOWQ_HASH_TUNNEL_GRE_2890},
        {FRAME_GRE, 6, 4, FLOWQ_HASH_TUNNEL_GRE_7676},
        {FRAME_GRE_UDP, 4, 4, FLOWQ_HASH_TUNNEL_GRE_UDP},
        {FRAME_VXLAN, 4, 4, FLOWQ_HASH_TUNNEL_VXLAN},
        {FRAME_VXLAN_GPE, 6, 4, FLOWQ_HASH_TUNNEL_VXLAN_GPE},
        {FRAME_GENEVE, 4, 6, FLOWQ_HASH_TUNNEL_GENEVE},
        {FRAME_IP_IN_IP, 4, 4, FLOWQ_HASH_TUNNEL_IPIP},
        {FRAME_NVGRE, 4, 4, FLOWQ_HASH_TUNNEL_NVGRE},
        {FRAME_IP_IN_IP, 4, 6, 0},
        {FRAME_GTPU, 4, 4, 0},
    };
    struct flowq_rss r = rss_over(4);
    ck_assert_uint_eq(send_rss(&r), FLOWQ_CTRL_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct flowq_tuple outer =
            cases[i].outer == 4 ? tuple_v4(FRAME_PROTO_UDP, 1, 2000, 2, 3) : tuple_v6(FRAME_PROTO_UDP, 1, 2000, 2, 3);
        struct flowq_tuple inner =
            cases[i].inner == 4 ? tuple_v4(FRAME_PROTO_TCP, 3, 4, 5, 6) : tuple_v6(FRAME_PROTO_TCP, 3, 4, 5, 6);
        struct frame f;
        frame_tunnel(&f, cases[i].tunnel, &outer, &inner, 0);
        outer = frame_tunnel_outer(cases[i].tunnel, &outer, cases[i].inner);
        uint32_t inner_hash = hash_of(&inner, true), outer_hash = hash_of(&outer, outer.protocol == FRAME_PROTO_UDP);
        ck_assert_uint_eq(send_tunnels(cases[i].type), FLOWQ_CTRL_OK);
        ck_assert_uint_eq(decided_frame(&f).hash_value, cases[i].type ? inner_hash : outer_hash);
        ck_assert_uint_eq(send_tunnels(FLOWQ_HASH_TUNNEL_ALL & ~cases[i].type), FLOWQ_CTRL_OK);
        ck_assert_uint_eq(decided_frame(&f).hash_value, outer_hash);
        ck_assert_uint_eq(send_tunnels(0), FLOWQ_CTRL_OK);
        ck_assert_uint_eq(decided_frame(&f).hash_value, outer_hash);
    }
    ck_assert_uint_eq(send_tunnels(FLOWQ_HASH_TUNNEL_ALL + 1), FLOWQ_CTRL_ERR);
}
END_TEST

/* ---- The calls, and what may be offered ------------------------------------------------------------------------------------ */

START_TEST(calls_do_the_same)
{
    struct flowq_rss r = rss_over(5), bad = r;
    struct flowq_tuple sent = tcp(3), t = tuple_reverse(&sent);
    ck_assert_int_eq(flowq_vm_set_rss(vm, &r), 0);
    struct flowq_decision d = decided(&t);
    expect(&d, table[hash_of(&t, true) & 127], FLOWQ_REASON_RSS, FLOWQ_HASH_REPORT_TCPV4, hash_of(&t, true));
    ck_assert_int_eq(flowq_vm_set_rss(NULL, &r), -EINVAL);
    ck_assert_int_eq(flowq_vm_set_rss(vm, NULL), -EINVAL);
#define BAD(change, error)                                                                                                       \
    bad = r;                                                                                                                     \
    change;                                                                                                                      \
    ck_assert_int_eq(flowq_vm_set_rss(vm, &bad), error)
    BAD(bad.size--, -EINVAL);
    BAD(bad.table = NULL, -EINVAL);
    BAD(bad.key = NULL, -EINVAL);
    BAD(bad.reserved = 1, -EINVAL);
    BAD(bad.table_length = 0, -EINVAL);
    BAD(bad.table_length = 96, -EINVAL);
    BAD(bad.key_length = 41, -EINVAL);
    BAD(bad.max_tx = 0, -EINVAL);
    BAD(bad.unclassified = PAIRS, -EINVAL);
#undef BAD
    struct {
        struct flowq_rss rss;
        uint64_t newer;
    } grown = {.rss = r, .newer = 0};
    grown.rss.size = sizeof(grown);
    ck_assert_int_eq(flowq_vm_set_rss(vm, &grown.rss), 0);
    grown.newer = 1;
    ck_assert_int_eq(flowq_vm_set_rss(vm, &grown.rss), -E2BIG);
    ck_assert_int_eq(flowq_vm_set_hash_tunnels(vm, FLOWQ_HASH_TUNNEL_ALL), 0);
    ck_assert_int_eq(flowq_vm_set_hash_tunnels(vm, 512), -EINVAL);
    ck_assert_int_eq(flowq_vm_set_hash_tunnels(NULL, 0), -EINVAL);
    ck_assert_int_eq(flowq_vm_set_hash(vm, 1, key, 40), -ENOTSUP);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, 3), 0);
    ck_assert_uint_eq(decided(&t).reason, FLOWQ_REASON_FALLBACK);
    start_with(NO_RSS);
    ck_assert_int_eq(flowq_vm_set_hash(vm, FLOWQ_HASH_TYPE_TCPV4, key, 40), 0);
    ck_assert_uint_eq(decided(&t).hash_value, hash_of(&t, true));
    ck_assert_int_eq(flowq_vm_set_hash(vm, 1, NULL, 40), -EINVAL);
    ck_assert_int_eq(flowq_vm_set_hash(vm, 1, key, 0), -EINVAL);
    ck_assert_int_eq(flowq_vm_set_hash(vm, 512, key, 40), -EINVAL);
    ck_assert_int_eq(flowq_vm_set_hash(NULL, 1, key, 40), -EINVAL);
    ck_assert_int_eq(flowq_vm_set_hash(vm, 0, NULL, 0), 0);
    ck_assert_uint_eq(decided(&t).hash_report, FLOWQ_HASH_REPORT_NONE);
}
END_TEST

START_TEST(capabilities)
{
    struct flowq_virtio_caps caps = {.size = sizeof(caps)};
    ck_assert_int_eq(flowq_vm_virtio_caps(vm, &caps), 0);
    ck_assert_uint_eq(caps.size, sizeof(caps));
    ck_assert_uint_eq(caps.max_queue_pairs, PAIRS);
    ck_assert_uint_eq(caps.features, ALL_FEATURES & ~FLOWQ_VIRTIO_F_VERSION_1);
    ck_assert_uint_eq(caps.hash_types, FLOWQ_HASH_TYPE_ALL);
    ck_assert_uint_eq(caps.hash_tunnels, FLOWQ_HASH_TUNNEL_ALL);
    ck_assert_uint_eq(caps.max_key, 40); /* more, and some versions of Linux refuse the device */
    ck_assert_uint_eq(caps.max_table, 128);
    caps.size = 7;
    ck_assert_int_eq(flowq_vm_virtio_caps(vm, &caps), -EINVAL);
    ck_assert_int_eq(flowq_vm_virtio_caps(vm, NULL), -EINVAL);
    ck_assert_int_eq(flowq_vm_virtio_caps(NULL, &caps), -EINVAL);
    caps = (struct flowq_virtio_caps){.size = 8, .features = 77};
    ck_assert_int_eq(flowq_vm_virtio_caps(vm, &caps), 0);
    ck_assert_uint_eq(caps.features, 77); /* not asked for */
    struct flowq_vm_config c = defaults();
    c.virtio_hash_types = FLOWQ_OFF;
    c.virtio_max_table = 512;
    c.virtio_max_key = 64;
    start(&c, 1);
    caps.size = sizeof(caps);
    ck_assert_int_eq(flowq_vm_virtio_caps(vm, &caps), 0);
    ck_assert_uint_eq(caps.features, FLOWQ_VIRTIO_F_MQ);
    ck_assert(caps.max_table == 512 && caps.max_key == 64 && caps.hash_types == 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("virtio");
    TCase *tcase = tcase_create("virtio");
    tcase_set_timeout(tcase, 300);
    tcase_add_checked_fixture(tcase, set_up_virtio, tear_down);
    tcase_add_test(tcase, table_decides);
    tcase_add_test(tcase, published_hash_is_reported);
    tcase_add_test(tcase, queues_in_use);
    tcase_add_test(tcase, resetting_drops_disabled_does_not);
    tcase_add_test(tcase, single_queue_is_no_short_cut);
    tcase_add_test(tcase, bindings_live_through_rss);
    tcase_add_test(tcase, types_and_keys);
    tcase_add_test(tcase, automatic_reports);
    tcase_add_test(tcase, reserved_fields_are_not_looked_at);
    tcase_add_test(tcase, inner_header);
    tcase_add_test(tcase, calls_do_the_same);
    tcase_add_test(tcase, capabilities);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
