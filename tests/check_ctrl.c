/*
 * check_ctrl: commands of the control queue as bytes: what is refused, and that nothing changes then; byte order; pieces; and
 * what real guests send, in the order in which their drivers send it.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "device.h"
#include "runner.h"

#include <stdlib.h>

#include "seed.h"

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

/* Alone: each feature serves its commands, and no other setting changes. */
START_TEST(negotiated_after_creation)
{
    struct flowq_vm_config c = defaults();
    struct flowq_rss r = rss_over(2);
    struct flowq_virtio_caps before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
    c.max_queue_pairs = PAIRS;
    c.no_learn = FLOWQ_ON;
    c.tunnels = FLOWQ_TUNNEL_NONE;
    c.virtio_max_table = 256;
    c.virtio_hash_tunnels = FLOWQ_HASH_TUNNEL_VXLAN;
    start(&c, PAIRS);
    ck_assert_int_eq(flowq_vm_virtio_caps(vm, &before), 0);
    ck_assert_int_eq(flowq_vm_set_features(NULL, ALL_FEATURES), -EINVAL);
    static const uint64_t one[] = {0, FLOWQ_VIRTIO_F_MQ, FLOWQ_VIRTIO_F_RSS, FLOWQ_VIRTIO_F_HASH_REPORT,
                                   FLOWQ_VIRTIO_F_HASH_TUNNEL};
    for (unsigned i = 0; i < sizeof(one) / sizeof(one[0]); i++) {
        const uint64_t other_bits = UINT64_C(1) << 3 | UINT64_C(1) << 63; /* of no concern */
        ck_assert_int_eq(flowq_vm_set_features(vm, one[i] | other_bits), 0);
        ck_assert_uint_eq(send_pairs(4), one[i] == FLOWQ_VIRTIO_F_MQ ? FLOWQ_CTRL_OK : FLOWQ_CTRL_ERR);
        ck_assert_uint_eq(send_rss(&r), one[i] == FLOWQ_VIRTIO_F_RSS ? FLOWQ_CTRL_OK : FLOWQ_CTRL_ERR);
        ck_assert_uint_eq(send_hash(1), one[i] == FLOWQ_VIRTIO_F_HASH_REPORT ? FLOWQ_CTRL_OK : FLOWQ_CTRL_ERR);
        ck_assert_uint_eq(send_tunnels(FLOWQ_HASH_TUNNEL_VXLAN),
                          one[i] == FLOWQ_VIRTIO_F_HASH_TUNNEL ? FLOWQ_CTRL_OK : FLOWQ_CTRL_ERR);
    }
    ck_assert_int_eq(flowq_vm_reset(vm, FLOWQ_RESET_CONFIG | FLOWQ_RESET_QUEUES), 0);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, PAIRS), 0);
    ck_assert_uint_eq(note(tcp(1), 2), FLOWQ_NOTE_OFF);
    ck_assert_int_eq(flowq_vm_virtio_caps(vm, &after), 0);
    ck_assert_mem_eq(&before, &after, sizeof(after));
}
END_TEST

/* Reports, too, follow the features, at once. */
START_TEST(reports_follow_the_features)
{
    struct flowq_tuple sent = tcp(1), t = tuple_reverse(&sent);
    start_with(NO_RSS);
    ck_assert_int_eq(flowq_vm_set_hash(vm, FLOWQ_HASH_TYPE_ALL, key, sizeof(key)), 0);
    ck_assert_uint_eq(decided(&t).hash_report, FLOWQ_HASH_REPORT_TCPV4);
    ck_assert_int_eq(flowq_vm_set_features(vm, FLOWQ_VIRTIO_F_MQ), 0);
    ck_assert_uint_eq(decided(&t).hash_report, FLOWQ_HASH_REPORT_NONE);
    ck_assert_int_eq(flowq_vm_set_features(vm, NO_RSS), 0);
    ck_assert_uint_eq(decided(&t).hash_report, FLOWQ_HASH_REPORT_TCPV4);
}
END_TEST

/* ---- Byte order, pieces ---------------------------------------------------------------------------------------------------- */

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
    ck_assert_int_eq(flowq_vm_set_features(vm, FLOWQ_VIRTIO_F_MQ), 0); /* a legacy driver again, of the same guest */
    ck_assert_uint_eq(send_pairs(0x0300), FLOWQ_CTRL_OK);
    ck_assert_uint_eq(stats().queue_pairs, 3);
    ck_assert_int_eq(flowq_vm_set_features(vm, c.virtio_features), 0);
    ck_assert_uint_eq(send_pairs(0x0300), FLOWQ_CTRL_OK);
    ck_assert_uint_eq(stats().queue_pairs, 0x300);
}
END_TEST

START_TEST(any_pieces)
{
    struct rng rng = {seed_get("check_ctrl")};
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

/* ---- What guests send ------------------------------------------------------------------------------------------------------ */

/* Linux with RSS, up to 6.12: the pairs when the device starts; RSS_CONFIG when ethtool asks for something. */
START_TEST(linux_rss_with_pairs)
{
    struct flowq_rss r = rss_over(4);
    struct flowq_tuple sent = tcp(1), t = tuple_reverse(&sent);
    r.unclassified = 0;
    r.hash_types = 0x3f; /* it does not use the types for extension headers */
    ck_assert_uint_eq(send_pairs(4), FLOWQ_CTRL_OK);
    ck_assert_uint_eq(decided(&t).reason, FLOWQ_REASON_FALLBACK);
    ck_assert_uint_eq(send_rss(&r), FLOWQ_CTRL_OK); /* ethtool -X */
    ck_assert_uint_eq(decided(&t).reason, FLOWQ_REASON_RSS);
    ck_assert_uint_eq(send_pairs(2), FLOWQ_CTRL_OK); /* ethtool -L: the last command decides */
    ck_assert_uint_eq(decided(&t).reason, FLOWQ_REASON_FALLBACK);
    ck_assert_uint_eq(stats().queues_in_use, 2);
}
END_TEST

/* Linux with RSS, newer: RSS_CONFIG alone, also when the number of queues changes; rxhash off is hash types 0. */
START_TEST(linux_rss_alone)
{
    struct flowq_rss r = rss_over(4);
    struct flowq_tuple sent = tcp(1), t = tuple_reverse(&sent);
    r.unclassified = 0;
    ck_assert_uint_eq(send_rss(&r), FLOWQ_CTRL_OK);
    ck_assert_uint_eq(stats().queues_in_use, 4);
    r = rss_over(2);
    r.unclassified = 0;
    ck_assert_uint_eq(send_rss(&r), FLOWQ_CTRL_OK);
    ck_assert_uint_eq(stats().queues_in_use, 2);
    r.hash_types = 0;
    ck_assert_uint_eq(send_rss(&r), FLOWQ_CTRL_OK);
    struct flowq_decision d = decided(&t);
    expect(&d, 0, FLOWQ_REASON_RSS, FLOWQ_HASH_REPORT_NONE, 0);
}
END_TEST

/* Linux in four pieces: up to the table, the table, max_tx_vq and the length of the key, the key. */
START_TEST(linux_pieces)
{
    struct flowq_rss r = rss_over(4);
    control_rss(&command, &r);
    const struct iovec iov[4] = {
        {command.bytes, 8}, {command.bytes + 8, 256}, {command.bytes + 264, 3}, {command.bytes + 267, 40}};
    ck_assert_uint_eq(command.len, 307);
    ck_assert_uint_eq(flowq_vm_ctrl(vm, command.cls, command.cmd, iov, 4), FLOWQ_CTRL_OK);
}
END_TEST

/* Linux with hash reports but without RSS sends its struct for RSS to HASH_CONFIG: a table of one entry, then the number of
 * queues. */
START_TEST(linux_hash_reports)
{
    static const uint16_t as_rss[4] = {0, 0, 0, 4};
    struct flowq_tuple sent = tcp(1), t = tuple_reverse(&sent);
    start_with(NO_RSS);
    ck_assert_uint_eq(send_pairs(4), FLOWQ_CTRL_OK);
    control_hash(&command, 0x3f, as_rss, key, 40);
    ck_assert_uint_eq(control_send(vm, &command), FLOWQ_CTRL_OK);
    ck_assert_uint_eq(decided(&t).hash_value, hash_of(&t, true));
    ck_assert_uint_eq(stats().queues_in_use, 4);
}
END_TEST

/* DPDK: a struct of C, 308 bytes with its padding, and all types. */
START_TEST(dpdk_rss)
{
    struct flowq_rss r = rss_over(4);
    struct flowq_tuple sent = udp(1), t = tuple_reverse(&sent);
    control_rss(&command, &r);
    control_u8(&command, 0);
    ck_assert_uint_eq(command.len, 308);
    ck_assert_uint_eq(control_send(vm, &command), FLOWQ_CTRL_OK);
    ck_assert_uint_eq(decided(&t).qid, table[hash_of(&t, true) & 127]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ctrl");
    TCase *tcase = tcase_create("ctrl");
    tcase_set_timeout(tcase, 300);
    tcase_add_checked_fixture(tcase, set_up_virtio, tear_down);
    tcase_add_test(tcase, refused_commands);
    tcase_add_test(tcase, refused_hash_config);
    tcase_add_test(tcase, not_negotiated);
    tcase_add_test(tcase, negotiated_after_creation);
    tcase_add_test(tcase, reports_follow_the_features);
    tcase_add_test(tcase, legacy_byte_order);
    tcase_add_test(tcase, any_pieces);
    tcase_add_test(tcase, linux_rss_with_pairs);
    tcase_add_test(tcase, linux_rss_alone);
    tcase_add_test(tcase, linux_pieces);
    tcase_add_test(tcase, linux_hash_reports);
    tcase_add_test(tcase, dpdk_rss);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
