/*
 * check_virtio: commands of the control queue and the calls that do the same; what they make of a vm; what is refused. Random
 * streams of commands are in check_virtio_model, the fields of a hash in check_rss.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <errno.h>
#include <stdlib.h>

#include "control.h"
#include "example.h"
#include "naive.h"
#include "seed.h"

#define ALL_FEATURES                                                                                                             \
    (FLOWQ_VIRTIO_F_VERSION_1 | FLOWQ_VIRTIO_F_MQ | FLOWQ_VIRTIO_F_RSS | FLOWQ_VIRTIO_F_HASH_REPORT | FLOWQ_VIRTIO_F_HASH_TUNNEL)
#define NO_RSS (ALL_FEATURES & ~FLOWQ_VIRTIO_F_RSS)

static const uint8_t key[40] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
                                0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
                                0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};
static uint16_t table[128];
static struct control command;

static void start_with(uint64_t features)
{
    struct flowq_vm_config c = defaults();
    c.max_queue_pairs = PAIRS;
    c.virtio_features = features;
    now = 1000 * SECOND;
    start(&c, 1);
}

static void set_up_virtio(void) { start_with(ALL_FEATURES); }

/* A table over queues 0 to n-1; packets without a hash go to the last of them. */
static struct flowq_rss rss_over(uint16_t n)
{
    for (unsigned i = 0; i < 128; i++)
        table[i] = (uint16_t)(i % n);
    return (struct flowq_rss){.size = sizeof(struct flowq_rss),
                              .hash_types = FLOWQ_HASH_TYPE_ALL,
                              .table = table,
                              .table_length = 128,
                              .key = key,
                              .key_length = sizeof(key),
                              .unclassified = (uint16_t)(n - 1),
                              .max_tx = n};
}

static uint8_t send_rss(const struct flowq_rss *r)
{
    control_rss(&command, r);
    return control_send(vm, &command);
}

static uint8_t send_pairs(uint32_t n)
{
    control_pairs(&command, n);
    return control_send(vm, &command);
}

static uint8_t send_tunnels(uint32_t types)
{
    control_tunnels(&command, types);
    return control_send(vm, &command);
}

static uint8_t send_hash(uint32_t types)
{
    control_hash(&command, types, NULL, key, sizeof(key));
    return control_send(vm, &command);
}

static struct flowq_decision decided_frame(const struct frame *f)
{
    struct flowq_pkt pkt = frame_pkt(f);
    struct flowq_decision d;
    flowq_rx_decide_burst(vm, &pkt, 1, &d);
    return d;
}

/* A packet that goes to the VM. */
static struct flowq_decision decided(const struct flowq_tuple *incoming)
{
    struct frame f;
    frame_flow(&f, incoming, 0);
    return decided_frame(&f);
}

static uint32_t hash_of(const struct flowq_tuple *t, bool ports) { return naive_hash_tuple(key, sizeof(key), t, ports); }

static void expect(const struct flowq_decision *d, uint16_t qid, uint8_t reason, uint8_t report, uint32_t value)
{
    ck_assert_uint_eq(d->qid, qid);
    ck_assert_uint_eq(d->reason, reason);
    ck_assert_uint_eq(d->hash_report, report);
    ck_assert_uint_eq(d->hash_value, value);
    ck_assert_uint_eq(d->reserved, 0);
}

/* ---- RSS
 * ------------------------------------------------------------------------------------------------------------------------------
 */

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

/* ---- What is refused ------------------------------------------------------------------------------------------------------- */

/* Sends the command with its data changed, and sees that the vm still does what it did. */
static void expect_refused(const char *why)
{
    struct flowq_tuple sent = tcp(1), t = tuple_reverse(&sent);
    struct flowq_stats before = stats();
    struct flowq_decision was = decided(&t);
    ck_assert_msg(control_send(vm, &command) == FLOWQ_CTRL_ERR, "accepted: %s", why);
    struct flowq_decision is = decided(&t);
    struct flowq_stats after = stats();
    ck_assert_msg(memcmp(&was, &is, sizeof(is)) == 0, "not without effect: %s", why);
    ck_assert_uint_eq(before.queue_pairs, after.queue_pairs);
    ck_assert_uint_eq(before.queues_in_use, after.queues_in_use);
}

static void refuse_rss(void)
{
    const struct flowq_rss good = rss_over(3);
    struct flowq_rss r;
#define REFUSE(change)                                                                                                           \
    r = good;                                                                                                                    \
    change;                                                                                                                      \
    control_rss(&command, &r);                                                                                                   \
    expect_refused(#change)
    REFUSE(r.table_length = 127);
    REFUSE(r.table_length = 3);
    REFUSE(r.max_tx = 0);
    REFUSE(r.max_tx = PAIRS + 1);
    REFUSE(r.unclassified = PAIRS);
    REFUSE(r.unclassified = 0x8000);
    REFUSE(r.hash_types = FLOWQ_HASH_TYPE_ALL + 1);
    REFUSE(r.key_length = 0);
    REFUSE(table[127] = PAIRS);
    REFUSE(table[127] = 0x8000);
    (void)rss_over(3);
    static uint16_t long_table[256];
    REFUSE((r.table = long_table, r.table_length = 256));
    static uint8_t long_key[41];
    REFUSE((r.key = long_key, r.key_length = 41));
#undef REFUSE
    control_rss(&command, &good);
    uint32_t whole = command.len;
    for (uint32_t len = 0; len < whole; len++) {
        command.len = len;
        expect_refused("cut short");
    }
    command.len = whole + 4;
    expect_refused("four bytes too many");
    command.len = whole + 3; /* the padding of a struct of C: DPDK sends it */
    ck_assert_uint_eq(control_send(vm, &command), FLOWQ_CTRL_OK);
}

START_TEST(refused_commands)
{
    struct flowq_rss r = rss_over(4);
    refuse_rss(); /* in automatic mode */
    ck_assert_uint_eq(send_rss(&r), FLOWQ_CTRL_OK);
    refuse_rss();
    control_pairs(&command, 0);
    expect_refused("no pairs");
    control_pairs(&command, PAIRS + 1);
    expect_refused("too many pairs");
    command.len = 1;
    expect_refused("half a number");
    control_pairs(&command, 2);
    command.len = 3;
    expect_refused("one byte too many");
    control_tunnels(&command, FLOWQ_HASH_TUNNEL_ALL + 1);
    expect_refused("unknown tunnel");
    control_tunnels(&command, 0);
    command.len = 3;
    expect_refused("tunnels, cut short");
    command.len = 5;
    expect_refused("tunnels, too long");
    control_hash(&command, 1, NULL, key, 40);
    expect_refused("HASH_CONFIG with RSS negotiated");
    for (unsigned cls = 0; cls < 256; cls++) {
        control_pairs(&command, 2);
        command.cls = (uint8_t)cls;
        command.cmd = 3;
        expect_refused("unknown command");
    }
    ck_assert_uint_eq(flowq_vm_ctrl(NULL, 4, 0, NULL, 0), FLOWQ_CTRL_ERR);
    ck_assert_uint_eq(flowq_vm_ctrl(vm, 4, 0, NULL, 1), FLOWQ_CTRL_ERR);
}
END_TEST

START_TEST(refused_hash_config)
{
    start_with(NO_RSS);
    ck_assert_uint_eq(send_hash(FLOWQ_HASH_TYPE_ALL), FLOWQ_CTRL_OK);
    control_hash(&command, FLOWQ_HASH_TYPE_ALL + 1, NULL, key, 40);
    expect_refused("unknown type");
    control_hash(&command, 1, NULL, key, 0);
    expect_refused("no key");
    static uint8_t long_key[41];
    control_hash(&command, 1, NULL, long_key, 41);
    expect_refused("key too long");
    control_hash(&command, 1, NULL, key, 40);
    uint32_t whole = command.len;
    for (command.len = 0; command.len < whole; command.len++)
        expect_refused("cut short");
    command.len = whole + 4;
    expect_refused("too long");
}
END_TEST

/* Without its feature each is refused, as a command and as a call. */
START_TEST(not_negotiated)
{
    struct flowq_rss r = rss_over(2);
    start_with(ALL_FEATURES & ~FLOWQ_VIRTIO_F_RSS & ~FLOWQ_VIRTIO_F_HASH_REPORT);
    ck_assert_uint_eq(send_rss(&r), FLOWQ_CTRL_ERR);
    ck_assert_int_eq(flowq_vm_set_rss(vm, &r), -ENOTSUP);
    ck_assert_uint_eq(send_hash(1), FLOWQ_CTRL_ERR);
    ck_assert_int_eq(flowq_vm_set_hash(vm, 1, key, 40), -ENOTSUP);
    start_with(ALL_FEATURES & ~FLOWQ_VIRTIO_F_MQ & ~FLOWQ_VIRTIO_F_HASH_TUNNEL);
    ck_assert_uint_eq(send_pairs(2), FLOWQ_CTRL_ERR);
    ck_assert_uint_eq(send_tunnels(0), FLOWQ_CTRL_ERR);
    ck_assert_int_eq(flowq_vm_set_hash_tunnels(vm, 0), -ENOTSUP);
    ck_assert_uint_eq(send_rss(&r), FLOWQ_CTRL_OK);
    struct flowq_vm_config c = defaults();
    c.virtio_features = FLOWQ_VIRTIO_F_MQ; /* another driver, another negotiation */
    ck_assert_int_eq(flowq_vm_configure(vm, &c), 0);
    ck_assert_uint_eq(send_rss(&r), FLOWQ_CTRL_ERR);
    ck_assert_uint_eq(send_pairs(2), FLOWQ_CTRL_OK);
}
END_TEST

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

/* ---- Byte order, pieces, what may be offered ------------------------------------------------------------------------------- */

START_TEST(legacy_byte_order)
{
    struct flowq_vm_config c = defaults();
    c.max_queue_pairs = 0x400;
    c.virtio_big_endian = FLOWQ_ON;
    c.virtio_features = FLOWQ_VIRTIO_F_MQ; /* no VERSION_1 */
    start(&c, 1);
    ck_assert_uint_eq(send_pairs(0x0300), FLOWQ_CTRL_OK);
    ck_assert_uint_eq(stats().queue_pairs, 3);
    c.virtio_features |= FLOWQ_VIRTIO_F_VERSION_1;
    ck_assert_int_eq(flowq_vm_configure(vm, &c), 0);
    ck_assert_uint_eq(send_pairs(0x0300), FLOWQ_CTRL_OK);
    ck_assert_uint_eq(stats().queue_pairs, 0x300);
}
END_TEST

START_TEST(any_pieces)
{
    struct rng rng = {seed_get("check_virtio")};
    struct flowq_rss r = rss_over(5);
    struct flowq_tuple sent = tcp(1), t = tuple_reverse(&sent);
    for (unsigned round = 0; round < 300; round++) {
        struct iovec iov[400];
        size_t n = 0;
        control_rss(&command, &r);
        for (uint32_t at = 0, piece; at < command.len; at += piece) {
            piece = rng_below(&rng, round % 40 + 2);
            if (n == 399 || piece > command.len - at)
                piece = command.len - at;
            uint8_t *copy = malloc(piece); /* so that nothing beyond it can be read */
            if (piece)
                memcpy(copy, command.bytes + at, piece);
            iov[n++] = (struct iovec){.iov_base = copy, .iov_len = piece};
        }
        ck_assert_uint_eq(flowq_vm_ctrl(vm, command.cls, command.cmd, iov, n), FLOWQ_CTRL_OK);
        ck_assert_uint_eq(decided(&t).qid, table[hash_of(&t, true) & 127]);
        for (size_t i = 0; i < n; i++)
            free(iov[i].iov_base);
    }
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
    tcase_set_timeout(tcase, 120);
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
    tcase_add_test(tcase, refused_commands);
    tcase_add_test(tcase, refused_hash_config);
    tcase_add_test(tcase, not_negotiated);
    tcase_add_test(tcase, calls_do_the_same);
    tcase_add_test(tcase, legacy_byte_order);
    tcase_add_test(tcase, any_pieces);
    tcase_add_test(tcase, capabilities);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
