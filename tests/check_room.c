/*
 * check_room: the rules S8 to S12, and queues, a readable example or more for each: who gives way to whom, where unbound
 * flows go, which queues are in use.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <errno.h>
#include <stdlib.h>

#include "example.h"
#include "runner.h"
#include "seed.h"

/* ---- S8: class ------------------------------------------------------------------------------------------------------------- */

/* Notes flow t on a queue that the fallback does not choose. */
static uint32_t bind_flags(struct flowq_tuple t, unsigned tcp_flags)
{
    uint32_t q = unlike_fallback(t);
    ck_assert_uint_eq(note_flags(t, tcp_flags, q), FLOWQ_NOTE_BOUND);
    return q;
}

START_TEST(s8_classes_of_tcp)
{
    static const struct {
        unsigned first;
        uint32_t cls;
    } begins[] = {{FRAME_SYN, FLOWQ_CLASS_EMBRYONIC},
                  {FRAME_SYN | FRAME_ACK, FLOWQ_CLASS_EMBRYONIC},
                  {FRAME_ACK, FLOWQ_CLASS_ESTABLISHED},
                  {FRAME_FIN | FRAME_ACK, FLOWQ_CLASS_CLOSING},
                  {FRAME_SYN | FRAME_FIN, FLOWQ_CLASS_CLOSING}};
    for (uint32_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++) {
        bind_flags(tcp(i), begins[i].first);
        ck_assert_uint_eq(class_of(tcp(i)), begins[i].cls);
    }
    struct flowq_tuple t = tcp(100);
    uint32_t q = bind_flags(t, FRAME_SYN);
    note_flags(t, FRAME_SYN, q);
    ck_assert_uint_eq(class_of(t), FLOWQ_CLASS_EMBRYONIC); /* only SYN */
    note_flags(t, FRAME_ACK, q);
    ck_assert_uint_eq(class_of(t), FLOWQ_CLASS_ESTABLISHED);
    note_flags(t, FRAME_SYN | FRAME_ACK, q);
    ck_assert_uint_eq(class_of(t), FLOWQ_CLASS_EMBRYONIC); /* a new connection on old ports */
    note_flags(t, FRAME_ACK, q);
    ck_assert_uint_eq(class_of(t), FLOWQ_CLASS_ESTABLISHED);
    note_flags(t, FRAME_FIN | FRAME_ACK, q);
    ck_assert_uint_eq(class_of(t), FLOWQ_CLASS_CLOSING);
    note_flags(t, FRAME_ACK, q);
    ck_assert_uint_eq(class_of(t), FLOWQ_CLASS_CLOSING); /* the last ACK */
    note_flags(t, FRAME_SYN, q);
    ck_assert_uint_eq(class_of(t), FLOWQ_CLASS_EMBRYONIC); /* opened anew */
    note_flags(t, FRAME_RST, q);
    ck_assert_uint_eq(class_of(t), FLOWQ_CLASS_CLOSING);
}
END_TEST

START_TEST(s8_classes_of_the_rest)
{
    uint32_t q = bind_flags(udp(1), 0);
    ck_assert_uint_eq(class_of(udp(1)), FLOWQ_CLASS_EMBRYONIC);
    note(udp(1), q);
    ck_assert_uint_eq(class_of(udp(1)), FLOWQ_CLASS_ESTABLISHED);
    note(udp(1), q);
    ck_assert_uint_eq(class_of(udp(1)), FLOWQ_CLASS_ESTABLISHED);
}
END_TEST

/* However old: a binding answers until its place is taken. */
START_TEST(s8_age_does_not_unbind)
{
    uint32_t embryonic = bind_flags(udp(1), 0), closing = bind_flags(tcp(1), FRAME_FIN),
             established = bind_flags(tcp(2), FRAME_ACK);
    for (unsigned i = 0; i < 300; i++) {
        now += i * i * SECOND;
        is_bound(udp(1), embryonic);
        is_bound(tcp(1), closing);
        is_bound(tcp(2), established);
    }
}
END_TEST

START_TEST(s8_a_refresh_makes_it_young)
{
    struct flowq_binding b;
    uint32_t q = bind_flags(tcp(1), FRAME_ACK);
    now += 40 * SECOND;
    ck_assert_int_eq(lookup(tcp(1), &b), 0);
    ck_assert_uint_ge(b.age_ms, 38000);
    ck_assert_uint_le(b.age_ms, 42000);
    note(tcp(1), q);
    ck_assert_int_eq(lookup(tcp(1), &b), 0);
    ck_assert_uint_eq(b.age_ms, 0);
    ck_assert_uint_eq(b.qid, q);
    ck_assert_uint_eq(b.in_use, 1);
}
END_TEST

/* ---- S9: room -------------------------------------------------------------------------------------------------------------- */

/* Makes a vm with room for 64 flows and fills it with 4000 flows that ask for room: until all places are taken. */
static uint32_t fill_up(bool transmit_more, unsigned tcp_flags)
{
    struct flowq_vm_config c = defaults();
    c.max_flows = 64;
    start(&c, PAIRS);
    uint32_t bound = 0;
    for (uint32_t i = 0; i < 4000; i++) {
        uint32_t outcome = note_flags(tcp(i), tcp_flags, unlike_fallback(tcp(i)));
        ck_assert(outcome == FLOWQ_NOTE_BOUND || (transmit_more && outcome == FLOWQ_NOTE_REFUSED));
        bound += outcome == FLOWQ_NOTE_BOUND;
    }
    return bound;
}

START_TEST(s9_a_newcomer_never_displaces_an_active_flow)
{
    uint32_t bound = fill_up(true, FRAME_ACK);
    struct flowq_stats s = stats();
    ck_assert_uint_ge(bound, 64);
    ck_assert_uint_eq(s.live, bound);
    ck_assert_uint_eq(s.displaced_embryonic + s.displaced_closing + s.displaced_established + s.reclaimed, 0);
    ck_assert_uint_eq(s.note[FLOWQ_NOTE_REFUSED], 4000 - bound);
    now += 8 * SECOND; /* active_ms is 10 s */
    for (uint32_t i = 4000; i < 8000; i++)
        ck_assert_uint_eq(note(tcp(i), 3), FLOWQ_NOTE_REFUSED);
    is_unbound(tcp(5000));
    ck_assert_uint_eq(stats().live, bound);
    now += 5 * SECOND; /* silent for longer: now they give way */
    for (uint32_t i = 8000; i < 8020; i++)
        ck_assert_uint_eq(note(tcp(i), 3), FLOWQ_NOTE_BOUND);
    for (uint32_t i = 8000; i < 8020; i++)
        is_bound(tcp(i), 3);
    ck_assert_uint_eq(stats().displaced_established, 20);
}
END_TEST

START_TEST(s9_embryonic_flows_give_way_to_each_other)
{
    ck_assert_uint_eq(fill_up(false, FRAME_SYN), 4000);
    struct flowq_stats s = stats();
    ck_assert_uint_ge(s.live, 64);
    ck_assert_uint_eq(s.displaced_embryonic, 4000 - s.live);
    ck_assert_uint_eq(s.inserted, s.live + s.displaced_embryonic);
}
END_TEST

/* Half the places hold flows of a class that goes first, half of one that goes later. */
static void fill_halves(unsigned first_to_go, unsigned last_to_go)
{
    struct flowq_vm_config c = defaults();
    c.max_flows = 64;
    start(&c, PAIRS);
    for (uint32_t i = 0; i < 32; i++) {
        bind_flags(tcp(i), last_to_go);
        bind_flags(tcp(1000 + i), first_to_go);
    }
}

START_TEST(s9_embryonic_before_closing_before_established)
{
    fill_halves(FRAME_SYN, FRAME_FIN);
    for (uint32_t i = 2000; i < 2200; i++)
        note_flags(tcp(i), FRAME_SYN, unlike_fallback(tcp(i)));
    ck_assert_uint_gt(stats().displaced_embryonic, 0);
    ck_assert_uint_eq(stats().displaced_closing, 0);

    fill_halves(FRAME_FIN, FRAME_ACK);
    now += 9 * SECOND; /* neither stale nor ... */
    for (uint32_t i = 0; i < 32; i++)
        note(tcp(i), unlike_fallback(tcp(3000)));
    now += 9 * SECOND;
    for (uint32_t i = 2000; i < 2200; i++)
        note_flags(tcp(i), FRAME_FIN, unlike_fallback(tcp(i)));
    ck_assert_uint_eq(stats().displaced_established, 0);

    fill_halves(FRAME_SYN, FRAME_ACK);
    now += 4 * SECOND;
    for (uint32_t i = 2000; i < 2200; i++)
        note_flags(tcp(i), FRAME_SYN, unlike_fallback(tcp(i)));
    ck_assert_uint_gt(stats().displaced_embryonic, 0);
    ck_assert_uint_eq(stats().displaced_established, 0);
    for (uint32_t i = 0; i < 32; i++)
        ck_assert_uint_eq(decide(tcp(i)).reason, FLOWQ_REASON_BOUND);
}
END_TEST

/* Stale flows first, whatever their class; then they count as reclaimed. */
START_TEST(s9_stale_flows_go_first)
{
    struct flowq_vm_config c = defaults();
    c.max_flows = 64;
    c.active_ms = 1000;
    c.idle_ms = 20000;
    start(&c, PAIRS);
    for (uint32_t i = 0; i < 64; i++)
        bind_flags(tcp(i), FRAME_ACK);
    now += 25 * SECOND;
    for (uint32_t i = 100; i < 4100; i++)
        note_flags(tcp(i), FRAME_SYN, unlike_fallback(tcp(i)));
    struct flowq_stats s = stats();
    ck_assert_uint_eq(s.reclaimed, 64);
    ck_assert_uint_eq(s.displaced_established, 0);
}
END_TEST

static void old_and_young(unsigned tcp_flags, uint64_t old_ns)
{
    struct flowq_vm_config c = defaults();
    c.max_flows = 256;
    start(&c, PAIRS);
    for (uint32_t i = 0; i < 128; i++)
        bind_flags(tcp(i), tcp_flags);
    now += old_ns;
}

START_TEST(s9_stale_when)
{
    /* Flows of one age; then as many newcomers as there is room for, and some: stale ones make room, which is counted. */
    static const struct {
        unsigned flags;
        uint64_t young_ns, stale_ns;
    } deadline[] = {
        {FRAME_SYN, 4 * SECOND, 7 * SECOND}, {FRAME_FIN, 9 * SECOND, 12 * SECOND}, {FRAME_ACK, 1795 * SECOND, 1805 * SECOND}};
    for (unsigned stale = 0; stale < 2; stale++) {
        old_and_young(deadline[_i].flags, stale ? deadline[_i].stale_ns : deadline[_i].young_ns);
        for (uint32_t i = 1000; i < 5000; i++)
            note(tcp(i), 3);
        struct flowq_stats s = stats();
        ck_assert_uint_eq(s.reclaimed, stale ? 128 : 0);
        ck_assert_uint_eq(s.displaced_embryonic + s.displaced_closing + s.displaced_established, stale ? 0 : 128);
    }
}
END_TEST

START_TEST(s9_the_flow_noted_longest_ago)
{
    struct flowq_vm_config c = defaults();
    c.max_flows = 8;
    start(&c, PAIRS);
    uint32_t lived = 0;
    /* Established flows, one every 11 s: the newest 4 of them must always be there, whoever shares their line. */
    for (uint32_t i = 0; i < 500; i++) {
        now += 11 * SECOND;
        ck_assert_uint_eq(note(tcp(i), 3), FLOWQ_NOTE_BOUND);
        for (uint32_t back = 0; back < 4 && back <= i; back++)
            is_bound(tcp(i - back), 3);
        lived += i >= 400 && decide(tcp(i - 400)).reason == FLOWQ_REASON_BOUND;
    }
    ck_assert_uint_eq(lived, 0);
}
END_TEST

START_TEST(s9_max_flows_can_be_learned_together)
{
    static const struct {
        uint32_t max, initial;
    } sizes[] = {{8, 0},       {8, 8},    {9, 1},       {64, 0},    {65, 3},    {1000, 0},
                 {1000, 1000}, {5000, 1}, {20000, 100}, {65536, 0}, {200000, 0}};
    struct flowq_vm_config c = defaults();
    c.max_flows = sizes[_i].max;
    c.initial_flows = sizes[_i].initial;
    start(&c, PAIRS);
    uint32_t bound = 0, wrong = 0,
             taken = 0; /* taken for another one: 200,000 flows have two such once in 30,000 times (flowq(7)) */
    for (uint32_t i = 0; i < c.max_flows; i++) {
        uint32_t outcome = note(tcp(i), i % PAIRS);
        bound += outcome == FLOWQ_NOTE_BOUND;
        taken += outcome == FLOWQ_NOTE_REFRESHED || outcome == FLOWQ_NOTE_MOVED;
    }
    ck_assert_uint_eq(bound + taken, c.max_flows);
    ck_assert_uint_le(taken, 1);
    for (uint32_t i = 0; i < c.max_flows; i++) {
        struct flowq_decision d = decide(tcp(i));
        wrong += d.reason != FLOWQ_REASON_BOUND || d.qid != i % PAIRS;
    }
    ck_assert_uint_le(wrong, taken); /* the other one of the two */
}
END_TEST

/* Fewer than one refusal in a million, over many small tables that grow from next to nothing. */
START_TEST(s9_small_tables_hold_max_flows_however_they_grow)
{
    static const uint32_t max[] = {55, 64, 65}, initial[] = {5, 1, 3};
    uint32_t refused = 0, notes = 0;
    struct frame f[65];
    for (uint32_t i = 0; i < 65; i++) {
        struct flowq_tuple t = tcp(i);
        frame_flow(&f[i], &t, FRAME_ACK);
    }
    for (uint32_t n = 0; n < (seed_long() ? 300000u : 30000u) / SEED_SLOWNESS; n++) {
        struct flowq_vm_config c = defaults();
        c.max_flows = max[n % 3];
        c.initial_flows = initial[n % 3];
        c.max_queue_pairs = PAIRS;
        start(&c, PAIRS);
        for (uint32_t i = 0; i < c.max_flows; i++, notes++)
            refused += note_frame(&f[i], i % PAIRS) != FLOWQ_NOTE_BOUND;
    }
    ck_assert_uint_le(refused, 2 + notes / 1000000);
}
END_TEST

START_TEST(s9_embryonic_on_the_fallback_queue_is_not_stored)
{
    tear_down();
    set_up_known();
    for (uint32_t i = 0; i < 5000; i++) {
        uint32_t q = decide(tcp(i)).qid;
        ck_assert_uint_eq(note_flags(tcp(i), FRAME_SYN | FRAME_ACK, q), FLOWQ_NOTE_IMPLIED);
        goes(decide(tcp(i)), q, FLOWQ_REASON_FALLBACK);
        ck_assert_uint_eq(note(udp(i), decide(udp(i)).qid), FLOWQ_NOTE_IMPLIED);
    }
    ck_assert_uint_eq(stats().inserted, 0);
    uint32_t q = decide(tcp(1)).qid;
    ck_assert_uint_eq(note(tcp(1), q), FLOWQ_NOTE_BOUND); /* established: stored */
    is_bound(tcp(1), q);
}
END_TEST

/* ---- S10, S11: fallback, and queues that come and go ----------------------------------------------------------------------- */

START_TEST(s10_the_same_queue_until_the_set_changes)
{
    static uint16_t before[2000];
    for (uint32_t i = 0; i < 2000; i++)
        before[i] = decide(tcp(i)).qid;
    now += 10000 * SECOND;
    flowq_vm_set_queue_enabled(vm, 3, true); /* as it was */
    for (uint32_t i = 0; i < 2000; i++)
        goes(decide(tcp(i)), before[i], FLOWQ_REASON_FALLBACK);
    flowq_vm_set_queue_enabled(vm, 3, false);
    for (uint32_t i = 0; i < 2000; i++)
        ck_assert_uint_ne(decide(tcp(i)).qid, 3);
}
END_TEST

/* Pearson's chi-square of n flows over the queues in use; the limit is some ten standard deviations above the mean. */
static void near_uniform(const uint32_t *queues, uint32_t n_queues)
{
    enum { FLOWS = 20000 };
    uint32_t count[64] = {0};
    double square = 0, expected = (double)FLOWS / n_queues;
    for (uint32_t i = 0; i < FLOWS; i++)
        count[decide(i & 1 ? tcp(i) : tuple_v6(FRAME_PROTO_UDP, VM, 53, i, 1024)).qid]++;
    uint32_t in_use = 0;
    for (uint32_t i = 0; i < n_queues; i++) {
        double off = count[queues[i]] - expected;
        square += off * off / expected;
        in_use += count[queues[i]];
    }
    ck_assert_uint_eq(in_use, FLOWS);
    double degrees = n_queues - 1;
    ck_assert_msg(square < degrees + 20 + 10 * degrees, "chi square %g over %u queues", square, n_queues);
}

START_TEST(s10_near_uniform_over_the_queues_in_use)
{
    uint32_t all[64];
    struct flowq_vm_config c = defaults();
    c.max_queue_pairs = 64;
    start(&c, 64);
    for (uint32_t n = 2; n < 64; n += n < 8 ? 1 : 11) {
        flowq_vm_set_queue_pairs(vm, n);
        for (uint32_t q = 0; q < n; q++)
            all[q] = q;
        near_uniform(all, n);
    }
    flowq_vm_set_queue_pairs(vm, 12);
    static const uint32_t some[] = {1, 2, 5, 7, 11};
    static const uint32_t off[] = {0, 3, 4, 6, 8, 9, 10};
    for (uint32_t i = 0; i < 7; i++)
        (i & 1 ? flowq_vm_set_queue_enabled(vm, off[i], false) : flowq_vm_set_queue_resetting(vm, off[i], true));
    near_uniform(some, 5);
}
END_TEST

START_TEST(s10_vms_differ)
{
    static uint16_t before[1000];
    struct flowq_vm_config c = defaults();
    uint32_t same = 0;
    for (uint32_t i = 0; i < 1000; i++)
        before[i] = decide(tcp(i)).qid;
    start(&c, PAIRS); /* another secret */
    for (uint32_t i = 0; i < 1000; i++)
        same += decide(tcp(i)).qid == before[i];
    ck_assert_uint_lt(same, 300); /* 125 of 1000 by chance */
}
END_TEST

START_TEST(s10_the_same_secret_gives_the_same_queues)
{
    static uint16_t before[1000];
    struct flowq_vm_config c = defaults();
    memset(c.secret, 0x5a, sizeof(c.secret));
    start(&c, PAIRS);
    for (uint32_t i = 0; i < 1000; i++)
        before[i] = decide(tcp(i)).qid;
    start(&c, PAIRS);
    for (uint32_t i = 0; i < 1000; i++)
        ck_assert_uint_eq(decide(tcp(i)).qid, before[i]);
}
END_TEST

START_TEST(s10_keyless_packets_take_the_lowest_queue)
{
    struct frame f;
    frame_arp(&f);
    goes(decide_frame(&f), 0, FLOWQ_REASON_KEYLESS);
    flowq_vm_set_queue_enabled(vm, 0, false);
    flowq_vm_set_queue_resetting(vm, 1, true);
    goes(decide_frame(&f), 2, FLOWQ_REASON_KEYLESS);
}
END_TEST

START_TEST(s11_a_binding_waits_for_its_queue)
{
    struct flowq_binding b;
    uint32_t q = bind_flags(tcp(1), FRAME_ACK);
    flowq_vm_set_queue_resetting(vm, q, true);
    is_unbound(tcp(1));
    ck_assert_uint_ne(decide(tcp(1)).qid, q);
    ck_assert_uint_gt(stats().bound_elsewhere, 0);
    ck_assert_int_eq(lookup(tcp(1), &b), 0);
    ck_assert_uint_eq(b.qid, q);
    ck_assert_uint_eq(b.in_use, 0);
    flowq_vm_set_queue_resetting(vm, q, false);
    is_bound(tcp(1), q);
    flowq_vm_set_queue_pairs(vm, 2);
    flowq_vm_set_queue_pairs(vm, PAIRS);
    is_bound(tcp(1), q);
    flowq_vm_set_queue_enabled(vm, q, false);
    uint32_t other = (q + 1) % PAIRS;
    ck_assert_uint_eq(note(tcp(1), other), FLOWQ_NOTE_MOVED);
    is_bound(tcp(1), other);
}
END_TEST

/* ---- Queues ---------------------------------------------------------------------------------------------------------------- */

static void queues_are(uint32_t pairs, uint32_t in_use)
{
    struct flowq_stats s = stats();
    ck_assert_uint_eq(s.queue_pairs, pairs);
    ck_assert_uint_eq(s.queues_in_use, in_use);
}

START_TEST(q1_after_create)
{
    struct flowq_vm_config c = defaults();
    start(&c, 1);
    queues_are(1, 1);
    goes(decide(tcp(1)), 0, FLOWQ_REASON_SINGLE);
    flowq_vm_set_queue_pairs(vm, 256);
    queues_are(256, 256);
}
END_TEST

START_TEST(q1_no_queue_in_use)
{
    flowq_vm_set_queue_pairs(vm, 1);
    flowq_vm_set_queue_enabled(vm, 0, false);
    queues_are(1, 0);
    goes(decide(tcp(1)), FLOWQ_DROP, FLOWQ_REASON_DROP);
    ck_assert_uint_eq(note(tcp(1), 0), FLOWQ_NOTE_NOT_IN_USE);
    flowq_vm_set_queue_pairs(vm, PAIRS);
    queues_are(PAIRS, PAIRS - 1);
    for (uint32_t q = 1; q < PAIRS; q++)
        flowq_vm_set_queue_resetting(vm, q, true);
    goes(decide(tcp(1)), FLOWQ_DROP, FLOWQ_REASON_DROP); /* all are being reset */
    flowq_vm_set_queue_resetting(vm, 4, false);
    goes(decide(tcp(1)), 4, FLOWQ_REASON_SINGLE);
}
END_TEST

START_TEST(q1_a_vhost_user_back_end)
{
    struct flowq_vm_config c = defaults();
    start(&c, 256); /* the maximum once, then rings one by one */
    for (uint32_t q = 0; q < 256; q++)
        flowq_vm_set_queue_enabled(vm, q, false);
    queues_are(256, 0);
    for (uint32_t q = 0; q < 4; q++)
        flowq_vm_set_queue_enabled(vm, q, true);
    queues_are(256, 4);
    for (uint32_t i = 0; i < 1000; i++)
        ck_assert_uint_lt(decide(tcp(i)).qid, 4);
    note(tcp(1), 2);
    is_bound(tcp(1), 2);
}
END_TEST

START_TEST(q1_state_beyond_the_pairs_is_kept)
{
    flowq_vm_set_queue_pairs(vm, 2);
    flowq_vm_set_queue_enabled(vm, 5, false);
    queues_are(2, 2);
    flowq_vm_set_queue_pairs(vm, PAIRS);
    queues_are(PAIRS, PAIRS - 1);
}
END_TEST

START_TEST(q1_resets)
{
    note(tcp(1), 5);
    flowq_vm_set_queue_enabled(vm, 3, false);
    flowq_vm_set_queue_resetting(vm, 4, true);
    ck_assert_int_eq(flowq_vm_reset(vm, 0), 0);
    ck_assert_int_eq(flowq_vm_reset(vm, FLOWQ_RESET_CONFIG), 0); /* nothing of ours */
    for (uint32_t bit = 3; bit < 32; bit++)                      /* of another version: nothing happens, what we know included */
        ck_assert_int_eq(flowq_vm_reset(vm, FLOWQ_RESET_FLOWS | FLOWQ_RESET_QUEUES | FLOWQ_RESET_CONFIG | 1u << bit), -EINVAL);
    ck_assert_int_eq(flowq_vm_reset(vm, UINT32_MAX), -EINVAL);
    queues_are(PAIRS, PAIRS - 2);
    is_bound(tcp(1), 5);
    flowq_vm_reset(vm, FLOWQ_RESET_QUEUES);
    queues_are(1, 1);
    flowq_vm_set_queue_pairs(vm, PAIRS);
    queues_are(PAIRS, PAIRS);
    is_bound(tcp(1), 5); /* bindings stay */
    flowq_vm_reset(vm, FLOWQ_RESET_FLOWS);
    queues_are(PAIRS, PAIRS);
    is_unbound(tcp(1));
    struct flowq_stats s = stats();
    ck_assert_uint_eq(s.forgotten, 1);
    ck_assert_uint_eq(s.live, 0);
    ck_assert_uint_eq(note(tcp(1), 2), FLOWQ_NOTE_BOUND);
    ck_assert_int_eq(flowq_vm_reset(NULL, FLOWQ_RESET_FLOWS), -EINVAL);
}
END_TEST

START_TEST(q1_a_reset_forgets_fragments)
{
    struct flowq_tuple t = udp(1), in = tuple_reverse(&t);
    struct frame first, later;
    frame_fragment(&first, &in, 7, 0, true);
    frame_fragment(&later, &in, 7, 800, false);
    bind_flags(t, 0);
    decide_frame(&first);
    ck_assert_uint_eq(decide_frame(&later).reason, FLOWQ_REASON_FRAGMENT);
    flowq_vm_reset(vm, FLOWQ_RESET_QUEUES | FLOWQ_RESET_CONFIG);
    flowq_vm_set_queue_pairs(vm, PAIRS);
    ck_assert_uint_eq(decide_frame(&later).reason, FLOWQ_REASON_FRAGMENT);
    flowq_vm_reset(vm, FLOWQ_RESET_FLOWS);
    ck_assert_uint_eq(decide_frame(&later).reason, FLOWQ_REASON_FALLBACK);
}
END_TEST

int main(void)
{
    srand((unsigned)seed_get("check_room"));
    Suite *s = suite_create("room");
    TCase *tc = tcase_create("rules");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, s8_classes_of_tcp);
    tcase_add_test(tc, s8_classes_of_the_rest);
    tcase_add_test(tc, s8_age_does_not_unbind);
    tcase_add_test(tc, s8_a_refresh_makes_it_young);
    tcase_add_test(tc, s9_a_newcomer_never_displaces_an_active_flow);
    tcase_add_test(tc, s9_embryonic_flows_give_way_to_each_other);
    tcase_add_test(tc, s9_embryonic_before_closing_before_established);
    tcase_add_test(tc, s9_stale_flows_go_first);
    tcase_add_loop_test(tc, s9_stale_when, 0, 3);
    tcase_add_test(tc, s9_the_flow_noted_longest_ago);
    tcase_add_loop_test(tc, s9_max_flows_can_be_learned_together, 0, 11);
    tcase_add_test(tc, s9_small_tables_hold_max_flows_however_they_grow);
    tcase_add_test(tc, s9_embryonic_on_the_fallback_queue_is_not_stored);
    tcase_add_test(tc, s10_the_same_queue_until_the_set_changes);
    tcase_add_test(tc, s10_near_uniform_over_the_queues_in_use);
    tcase_add_test(tc, s10_vms_differ);
    tcase_add_test(tc, s10_the_same_secret_gives_the_same_queues);
    tcase_add_test(tc, s10_keyless_packets_take_the_lowest_queue);
    tcase_add_test(tc, s11_a_binding_waits_for_its_queue);
    tcase_add_test(tc, q1_after_create);
    tcase_add_test(tc, q1_no_queue_in_use);
    tcase_add_test(tc, q1_a_vhost_user_back_end);
    tcase_add_test(tc, q1_state_beyond_the_pairs_is_kept);
    tcase_add_test(tc, q1_resets);
    tcase_add_test(tc, q1_a_reset_forgets_fragments);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
