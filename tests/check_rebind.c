/*
 * check_rebind: rule S2 where it meets S8: what opens a flow anew, and when that counts as bound.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "example.h"
#include "runner.h"

/* How the VM's packet is noted. */
enum { ALONE, IN_BURST, IN_TUNNEL, IPV6, WAYS };

static struct flowq_tuple tuple_by(int way) { return way == IPV6 ? tuple_v6(FRAME_PROTO_TCP, 1, 80, 2, 1024) : tcp(1); }

static uint32_t note_by(int way, unsigned flags, uint32_t qid)
{
    const struct flowq_tuple t = tuple_by(way), outer = tuple_v4(FRAME_PROTO_UDP, VM, 55555, REMOTE, 0);
    struct flowq_stats before = stats(), after;
    struct frame f;
    if (way == IN_TUNNEL)
        frame_tunnel(&f, FRAME_VXLAN, &outer, &t, flags);
    else
        frame_flow(&f, &t, flags);
    if (way != IN_BURST)
        return note_frame(&f, qid);
    struct flowq_pkt pkt = frame_pkt(&f);
    flowq_tx_note_burst(vm, &pkt, 1, qid);
    after = stats();
    for (uint32_t outcome = 0; outcome < FLOWQ_NOTE_SLOTS; outcome++)
        if (after.note[outcome] != before.note[outcome])
            return outcome;
    return UINT32_MAX;
}

static void start_with_rebind_min(void)
{
    struct flowq_vm_config c = defaults();
    c.rebind_min_tcp_us = 1000000;
    start(&c, PAIRS);
}

/* A new connection on old ports moves at once, whatever rebind_min says, be the old one closing or established. */
START_TEST(s2_opened_anew_moves_at_once)
{
    for (unsigned closing = 0; closing < 2; closing++)
        for (unsigned ack = 0; ack <= FRAME_ACK; ack += FRAME_ACK) {
            start_with_rebind_min();
            ck_assert_uint_eq(note_by(_i, FRAME_ACK, 3), FLOWQ_NOTE_BOUND);
            if (closing)
                ck_assert_uint_eq(note_by(_i, FRAME_FIN | FRAME_ACK, 3), FLOWQ_NOTE_REFRESHED);
            ck_assert_uint_eq(note_by(_i, FRAME_ACK, 4), FLOWQ_NOTE_SUPPRESSED);
            ck_assert_uint_eq(note_by(_i, FRAME_SYN | ack, 4), FLOWQ_NOTE_MOVED);
            is_bound(tuple_by(_i), 4);
            ck_assert_uint_eq(class_of(tuple_by(_i)), FLOWQ_CLASS_EMBRYONIC);
            ck_assert_uint_eq(note_by(_i, FRAME_SYN | ack, 5), FLOWQ_NOTE_SUPPRESSED); /* sent once more: the same connection */
            now += 100 * MS;
            ck_assert_uint_eq(note_by(_i, FRAME_ACK, 4), FLOWQ_NOTE_REFRESHED);
            ck_assert_uint_eq(note_by(_i, FRAME_ACK, 5), FLOWQ_NOTE_SUPPRESSED);
            ck_assert_uint_eq(note_by(_i, FRAME_SYN | ack, 5), FLOWQ_NOTE_MOVED); /* established again, and opened again */
        }
}
END_TEST

/* What opens a flow anew is the request that bound it, on the same queue, too. */
START_TEST(s2_opened_anew_is_bound_anew)
{
    for (unsigned closing = 0; closing < 2; closing++) {
        start_with_rebind_min();
        note_by(_i, FRAME_ACK, 3);
        if (closing)
            note_by(_i, FRAME_FIN, 3);
        now += 2 * SECOND;
        ck_assert_uint_eq(note_by(_i, FRAME_SYN, 3), FLOWQ_NOTE_REFRESHED);
        now += 800 * MS;
        ck_assert_uint_eq(note_by(_i, FRAME_ACK, 4), FLOWQ_NOTE_SUPPRESSED);
        is_bound(tuple_by(_i), 3);
        now += 400 * MS;
        ck_assert_uint_eq(note_by(_i, FRAME_ACK, 4), FLOWQ_NOTE_MOVED);
    }
}
END_TEST

/* Nothing else opens anew: SYN with FIN or RST closes, and what is not TCP has no flags. */
START_TEST(s2_what_does_not_open_anew)
{
    static const unsigned with[] = {FRAME_FIN, FRAME_RST, FRAME_FIN | FRAME_RST};
    struct flowq_vm_config c = defaults();
    c.rebind_min_tcp_us = c.rebind_min_other_us = 1000000;
    for (unsigned closing = 0; closing < 2; closing++)
        for (unsigned i = 0; i < sizeof(with) / sizeof(with[0]); i++) {
            start(&c, PAIRS);
            note_by(_i, closing ? FRAME_FIN : FRAME_ACK, 3);
            ck_assert_uint_eq(note_by(_i, FRAME_SYN | with[i], 4), FLOWQ_NOTE_SUPPRESSED);
            ck_assert_uint_eq(class_of(tuple_by(_i)), FLOWQ_CLASS_CLOSING);
            is_bound(tuple_by(_i), 3);
        }
}
END_TEST

/* 0xff where TCP would have its flags. */
START_TEST(s2_what_is_not_tcp_does_not_open_anew)
{
    static const uint8_t others[] = {FRAME_PROTO_UDP, FRAME_PROTO_UDPLITE, FRAME_PROTO_SCTP, FRAME_PROTO_DCCP, FRAME_PROTO_ESP};
    struct flowq_tuple t = tuple_v4(others[_i], VM, 53, REMOTE, 10000);
    struct flowq_vm_config c = defaults();
    struct frame f;
    c.rebind_min_tcp_us = c.rebind_min_other_us = 1000000;
    start(&c, PAIRS);
    frame_flow(&f, &t, 0);
    for (unsigned i = 34 + 12; i < f.len || i < 60; i++)
        f.bytes[i] = 0xff;
    f.len = f.len < 60 ? 60 : f.len;
    uint32_t q = unlike_fallback(t);
    ck_assert_uint_eq(note_frame(&f, q), FLOWQ_NOTE_BOUND);
    ck_assert_uint_eq(note_frame(&f, q), FLOWQ_NOTE_REFRESHED);
    ck_assert_uint_eq(class_of(t), FLOWQ_CLASS_ESTABLISHED);
    ck_assert_uint_eq(note_frame(&f, (q + 1) % PAIRS), FLOWQ_NOTE_SUPPRESSED);
    ck_assert_uint_eq(class_of(t), FLOWQ_CLASS_ESTABLISHED);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("rebind");
    TCase *tc = tcase_create("rebind");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_loop_test(tc, s2_opened_anew_moves_at_once, 0, WAYS);
    tcase_add_loop_test(tc, s2_opened_anew_is_bound_anew, 0, WAYS);
    tcase_add_loop_test(tc, s2_what_does_not_open_anew, 0, WAYS);
    tcase_add_loop_test(tc, s2_what_is_not_tcp_does_not_open_anew, 0, 5);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
