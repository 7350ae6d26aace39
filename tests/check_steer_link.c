/*
 * check_steer_link: rules S3, S5 and S7 at link level, through the public interface: VLAN tags, label stacks and pseudowires,
 * routing headers, groups' MAC addresses. Frames are written out by hand; what comes back from the other end is, too.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "example.h"
#include "packet_text.h"
#include "runner.h"

#include <stdio.h>

/* The VM is host 2 in what arrives, and host 1 in what it sends; the other end is the other. */
#define TCP_HELD(from, to, sum) "4500 0028 0000 0000 40 06 " sum " 0a0000" from " 0a0000" to " "
#define SENT4                   TCP_HELD("02", "01", "66ce") "0009 0007 00000000 00000000 50 10 ffff 0000 0000 "
#define BACK                    TCP_HELD("01", "02", "66ce") "0007 0009 00000000 00000000 50 10 ffff 0000 0000 "

static void frame_of(struct frame *f, const char *hex)
{
    frame_start(f);
    f->flags = 0;
    f->len = packet_from_hex(hex, f->bytes);
}

static uint32_t note_hex(const char *hex, uint32_t qid)
{
    struct frame f;
    frame_of(&f, hex);
    return note_frame(&f, qid);
}

/* In a burst of its own, in one among others, and for several vms. */
static struct flowq_decision decide_hex(const char *hex)
{
    struct frame f;
    frame_of(&f, hex);
    const struct flowq_pkt pkt = frame_pkt(&f), pkts[3] = {pkt, pkt, pkt};
    struct flowq_vm *vms[3] = {vm, vm, vm};
    struct flowq_decision d = decide_frame(&f);
    uint16_t qids[2][3];
    flowq_rx_steer_burst(vm, pkts, 3, qids[0]);
    flowq_rx_steer_burst_vms(vms, pkts, 3, qids[1]);
    for (unsigned i = 0; i < 6; i++)
        ck_assert_uint_eq(qids[i / 3][i % 3], d.qid);
    return d;
}

/* What the VM sends on 2, then on 6, decides where the answer goes. */
static void answers(const char *sent, const char *back)
{
    for (uint32_t qid = 2; qid <= 6; qid += 4) {
        ck_assert_uint_eq(note_hex(sent, qid), qid == 2 ? FLOWQ_NOTE_BOUND : FLOWQ_NOTE_MOVED);
        goes(decide_hex(back), qid, FLOWQ_REASON_BOUND);
    }
}

static void start_with(uint32_t key_vlan, uint16_t tpid)
{
    struct flowq_vm_config c = defaults();
    c.key_vlan = key_vlan;
    c.vlan_tpid = tpid;
    start(&c, PAIRS);
}

START_TEST(s3_a_priority_is_no_vlan)
{
    start_with(FLOWQ_ON, 0);
    answers(ETH("0800") SENT4, ETH("8100") "6000 0800" BACK);
    start_with(FLOWQ_ON, 0);
    answers(ETH("8100") "e000 0800" SENT4, ETH("0800") BACK);
    start_with(FLOWQ_ON, 0);
    answers(ETH("88a8") "0000 8100 0007 0800" SENT4, ETH("8100") "0007 0800" BACK);
    ck_assert_uint_eq(decide_hex(ETH("8100") "0008 0800" BACK).reason, FLOWQ_REASON_FALLBACK);
}
END_TEST

START_TEST(s3_look_up_with_an_id_of_0)
{
    struct flowq_tuple t = tuple_v4(FRAME_PROTO_TCP, 0x0a000002, 9, 0x0a000001, 7);
    struct flowq_binding b;
    start_with(FLOWQ_ON, 0);
    note_hex(ETH("8100") "0007 0800" SENT4, 3);
    ck_assert_int_ne(lookup(t, &b), 0);
    t.n_vlans = 3;
    t.vlan[1] = 7;
    ck_assert_int_eq(lookup(t, &b), 0);
    ck_assert_uint_eq(b.qid, 3);
    note_hex(ETH("0800") SENT4, 4);
    t.n_vlans = 1;
    ck_assert_int_eq(lookup(t, &b), 0);
    ck_assert_uint_eq(b.qid, 4);
}
END_TEST

START_TEST(s3_ethertypes_of_tags)
{
    answers(ETH("9200") "0001 8100 0002 0800" SENT4, ETH("9300") "0001 0800" BACK);
    start_with(FLOWQ_OFF, 0x9999);
    answers(ETH("9999") "0001 0800" SENT4, ETH("0800") BACK);
    start_with(FLOWQ_OFF, 0);
    ck_assert_uint_eq(note_hex(ETH("9999") "0001 0800" SENT4, 3), FLOWQ_NOTE_KEYLESS);
}
END_TEST

START_TEST(s3_vlans_of_a_tunnels_inner_packet)
{
    start_with(FLOWQ_ON, 0);
    answers(ETH("8100") "0007 0800" BACK4("04") SENT4, ETH("8100") "0007 0800" IPV4("04") BACK);
    ck_assert_uint_eq(decide_hex(ETH("8100") "0008 0800" IPV4("04") BACK).reason, FLOWQ_REASON_FALLBACK);
    goes(decide_hex(ETH("8100") "0007 0800" BACK), 6, FLOWQ_REASON_BOUND);
}
END_TEST

START_TEST(s3_segments_that_are_left)
{
#define SEGMENTS "06 02 04 01 00 00 0000 "
    answers(ETH("86dd") IPV6("2b") SEGMENTS V6("07") TCP("10"),
            ETH("86dd") "60000000 0014 06 40" V6("07") V6("01") "0009 0007 00000000 00000000 50 10 ffff 0000 0000");
}
END_TEST

START_TEST(s3_under_labels)
{
    answers(ETH("8847") "00010140" SENT4, ETH("8847") "00020140" BACK);
    start_with(FLOWQ_OFF, 0);
    answers(ETH("8847") "00010140 00000000" INNER_ETH("0800") SENT4, ETH("8847") "00020140 00000000" INNER_ETH("0800") BACK);
    start_with(FLOWQ_OFF, 0);
    answers(ETH("8847") "00010140 620000000001 020000110002 0800" SENT4, ETH("8847") "00020140" INNER_ETH("0800") BACK);
}
END_TEST

/* Not learned, and spread by the labels, whatever else changes. */
START_TEST(s10_what_labels_alone_tell)
{
    uint32_t seen = 0;
    for (uint32_t label = 16; label < 256; label++) {
        char hex[2][200];
        snprintf(hex[0], sizeof(hex[0]), ETH("8847") "000%02x140 10000000 000000%02x", label, label);
        snprintf(hex[1], sizeof(hex[1]), ETH("8847") "000%02x7ff 10000000 11223344", label);
        uint64_t inserted = stats().inserted;
        for (uint32_t qid = 0; qid < PAIRS; qid++)
            ck_assert_uint_eq(note_hex(hex[0], qid), FLOWQ_NOTE_KEYLESS);
        ck_assert_uint_eq(stats().inserted, inserted);
        struct flowq_decision d = decide_hex(hex[0]);
        goes(decide_hex(hex[1]), d.qid, FLOWQ_REASON_FALLBACK);
        ck_assert_uint_eq(d.reason, FLOWQ_REASON_FALLBACK);
        seen |= UINT32_C(1) << d.qid;
    }
    ck_assert_uint_eq(seen, (1u << PAIRS) - 1);
    flowq_vm_set_queue_enabled(vm, FLOWQ_ALL_QUEUES, false);
    goes(decide_hex(ETH("8847") "00010140 10000000"), FLOWQ_DROP, FLOWQ_REASON_DROP);
}
END_TEST

START_TEST(s7_a_groups_mac_address)
{
    static const char *const macs[] = {"090808080808", "03bf0a000001", "01005e000001"}; /* ClusterXL, NLB, anybody */
    for (unsigned i = 0; i < 3; i++) {
        char sent[300];
        start_with(FLOWQ_OFF, 0);
        snprintf(sent, sizeof(sent), "%s 525400000002 0800" SENT4, macs[i]);
        answers(sent, ETH("0800") BACK);
    }
    ck_assert_uint_eq(note_hex("ffffffffffff 525400000002 0800" SENT4, 3), FLOWQ_NOTE_MULTICAST);
    ck_assert_uint_eq(
        note_hex("333300000001 525400000002 86dd 60000000 0008 11 40" V6("01") "ff020000000000000000000000000001" UDP, 3),
        FLOWQ_NOTE_MULTICAST);
    ck_assert_uint_eq(note_hex(ETH("0800") BACK4("11") VXLAN "ffffffffffff 525400000004 0800" SENT4, 3), FLOWQ_NOTE_MULTICAST);
    ck_assert_uint_eq(note_hex(ETH("0800") BACK4("11") VXLAN "03bf0a000001 525400000004 0800" SENT4, 3), FLOWQ_NOTE_MOVED);
}
END_TEST

/* S5: equal datagrams in two VLANs. */
START_TEST(s5_a_datagram_of_a_vlan)
{
#define DATAGRAM(field) "0800" FRAG4("0123", field, "11") UDP
    for (unsigned key_vlan = 0; key_vlan < 2; key_vlan++) {
        start_with(key_vlan ? FLOWQ_ON : FLOWQ_OFF, 0);
        note_hex(ETH("8100") "0007 0800" BACK4("11") "0009 0007 00000000", 1);
        note_hex(ETH("8100") "0008 0800" BACK4("11") "0009 0007 00000000", 6);
        decide_hex(ETH("8100") "0007" DATAGRAM("2000"));
        decide_hex(ETH("8100") "0008" DATAGRAM("2000"));
        goes(decide_hex(ETH("8100") "0007" DATAGRAM("0009")), key_vlan ? 1 : 6, FLOWQ_REASON_FRAGMENT);
        goes(decide_hex(ETH("8100") "0008" DATAGRAM("0009")), 6, FLOWQ_REASON_FRAGMENT);
    }
}
END_TEST

/* S5, S6: of a protocol without ports, a later fragment has the whole key; but first of all it follows its first one. */
START_TEST(s5_later_fragments_without_ports)
{
    struct flowq_decision unbound = decide_hex(ETH("0800") FRAG4("0123", "0009", "32"));
    ck_assert_uint_eq(unbound.reason, FLOWQ_REASON_FALLBACK);
    uint32_t qid = (unbound.qid + 1u) % PAIRS, other = (qid + 1) % PAIRS;
    ck_assert_uint_eq(note_hex(ETH("0800") BACK4("32") PORTS, qid), FLOWQ_NOTE_BOUND);
    goes(decide_hex(ETH("0800") FRAG4("0123", "0009", "32")), qid, FLOWQ_REASON_BOUND);
    goes(decide_hex(ETH("0800") FRAG4("0123", "2000", "32")), qid, FLOWQ_REASON_BOUND);
    ck_assert_uint_eq(note_hex(ETH("0800") BACK4("32") PORTS, other), FLOWQ_NOTE_MOVED);
    goes(decide_hex(ETH("0800") FRAG4("0123", "0009", "32")), qid, FLOWQ_REASON_FRAGMENT);
    goes(decide_hex(ETH("0800") FRAG4("0124", "0009", "32")), other, FLOWQ_REASON_BOUND);
    goes(decide_hex(ETH("0800") IPV4("01") ICMP("0b") "4500 0000 0123 0009 40 32 0000 0a000002 0a000001"), other,
         FLOWQ_REASON_ICMP_ERROR);
    flowq_vm_set_queue_enabled(vm, other, false);
    ck_assert_uint_eq(decide_hex(ETH("0800") FRAG4("0124", "0009", "32")).reason, FLOWQ_REASON_FALLBACK);
    ck_assert_uint_eq(note_hex(ETH("0800") "4500 0000 0123 0009 40 32 0000 0a000002 0a000001", qid), FLOWQ_NOTE_FRAGMENT);
}
END_TEST

START_TEST(s6_redirects)
{
    for (int again = 0; again < 2; again++) /* the first one might be implied */
        note_hex(ETH("86dd") BACK6("11") "0009 0007 00000000", 5);
    goes(decide_hex(ETH("86dd") IPV6("3a") "89 00 0000 00000000" V6("0a")
                        V6("0b") "02 01 525400000003 04 07 000000000000" BACK6("11") "0009 0007 00000000"),
         5, FLOWQ_REASON_ICMP_ERROR);
    ck_assert_uint_eq(note_hex(ETH("86dd") IPV6("3a") "89 00 0000 00000000" V6("0a") V6("0b"), 5), FLOWQ_NOTE_ICMP_ERROR);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("steer_link");
    TCase *tc = tcase_create("rules");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, s3_a_priority_is_no_vlan);
    tcase_add_test(tc, s3_look_up_with_an_id_of_0);
    tcase_add_test(tc, s3_ethertypes_of_tags);
    tcase_add_test(tc, s3_vlans_of_a_tunnels_inner_packet);
    tcase_add_test(tc, s3_segments_that_are_left);
    tcase_add_test(tc, s3_under_labels);
    tcase_add_test(tc, s10_what_labels_alone_tell);
    tcase_add_test(tc, s7_a_groups_mac_address);
    tcase_add_test(tc, s5_a_datagram_of_a_vlan);
    tcase_add_test(tc, s5_later_fragments_without_ports);
    tcase_add_test(tc, s6_redirects);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
