/*
 * check_vhost: packets through the drop-in. What is returned is a prefix of the caller's array, nothing is lost or there
 * twice, each flow stays in order, and goes to the queue that the guest transmits it on.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "runner.h"
#include "seed.h"
#include "vhost_program.h"

#include <arpa/inet.h>

#define PATH "/tmp/flowq-test.sock"

static uint64_t base_seed;

START_TEST(packets_follow_what_the_guest_transmits)
{
    open_port(PATH);
    int vid = guest_comes(PATH, 4);
    for (uint32_t flow = 0; flow < 12; flow++)
        guest_sends(vid, flow % 4, flow);
    for (uint32_t flow = 0; flow < 12; flow++)
        ck_assert_int_eq(arrives(vid, flow), (int)(flow % 4));
    for (uint32_t flow = 0; flow < 12; flow++)
        guest_sends(vid, (flow + 1) % 4, flow);
    for (uint32_t flow = 0; flow < 12; flow++)
        ck_assert_int_eq(arrives(vid, flow), (int)((flow + 1) % 4));
}
END_TEST

/* What the guest never sent goes somewhere, and to the same queue each time. */
START_TEST(unknown_flows_have_a_queue)
{
    open_port(PATH);
    int vid = guest_comes(PATH, 4);
    uint32_t seen = 0;
    for (uint32_t flow = 100; flow < 164; flow++) {
        int pair = arrives(vid, flow);
        ck_assert_int_ge(pair, 0);
        ck_assert_int_eq(arrives(vid, flow), pair);
        seen |= 1u << pair;
    }
    ck_assert_uint_eq(seen, 15);
}
END_TEST

START_TEST(headers_may_be_cut_anywhere)
{
    open_port(PATH);
    int vid = guest_comes(PATH, 4);
    for (uint32_t flow = 0; flow < 8; flow++) {
        struct frame f;
        uint32_t piece = (uint32_t)_i + 1;
        struct flowq_tuple t = flow_tuple(flow);
        frame_flow(&f, &t, FRAME_ACK);
        struct rte_mbuf *packet = stub_packet_in_pieces(f.bytes, f.len, piece, flow, 0);
        ck_assert(stub_transmit(vid, 2 * (flow % 4) + 1, packet));
        ck_assert_uint_eq(rte_vhost_dequeue_burst(vid, (uint16_t)(2 * (flow % 4) + 1), NULL, &packet, 1), 1);
        stub_free(packet);
        ck_assert_int_eq(arrives(vid, flow), (int)(flow % 4));
        incoming_frame(&f, flow);
        packet = stub_packet_in_pieces(f.bytes, f.len, piece, flow, 0);
        ck_assert_uint_eq(rte_vhost_enqueue_burst(vid, 0, &packet, 1), 1);
        ck_assert_uint_eq(stub_received(vid, 2 * (flow % 4), NULL, 0), 1);
        stub_free(packet);
    }
}
END_TEST

/* Empty segments, a chain that is shorter than it says, and nothing at all. */
START_TEST(odd_packets_do_no_harm)
{
    struct frame f;
    open_port(PATH);
    int vid = guest_comes(PATH, 4);
    guest_sends(vid, 3, 5);
    incoming_frame(&f, 5);
    struct rte_mbuf *packet = stub_packet_in_pieces(f.bytes, f.len, 20, 5, 0);
    struct rte_mbuf *empty = stub_packet(f.bytes, 0, 0, 0);
    empty->next = packet;
    empty->nb_segs = (uint16_t)(packet->nb_segs + 40);
    ck_assert_uint_eq(rte_vhost_enqueue_burst(vid, 0, &empty, 1), 1);
    ck_assert_uint_eq(stub_received(vid, 6, NULL, 0), 1);
    struct rte_mbuf *nothing = stub_packet(f.bytes, 0, 0, 0);
    ck_assert_uint_eq(rte_vhost_enqueue_burst(vid, 0, &nothing, 1), 1);
    ck_assert_uint_eq(rte_vhost_enqueue_burst(vid, 0, NULL, 0), 0);
    ck_assert_uint_eq(stub_received(vid, 0, NULL, 0), 1);
    stub_free(nothing);
    stub_free(empty);
}
END_TEST

/* Calls that are none of ours keep their answers: odd and even rings the other way round, too large numbers, no such device. */
START_TEST(what_is_no_business_of_ours_is_handed_on)
{
    struct rte_mbuf *packet = incoming(1, 0);
    open_port(PATH);
    int vid = guest_comes(PATH, 2);
    ck_assert_uint_eq(rte_vhost_enqueue_burst(vid, 1, &packet, 1), 0);
    ck_assert_uint_eq(rte_vhost_enqueue_burst(vid, 65534, &packet, 1), 0);
    ck_assert_uint_eq(rte_vhost_dequeue_burst(vid, 2, NULL, &packet, 1), 0);
    ck_assert_uint_eq(rte_vhost_dequeue_burst(vid, 65535, NULL, &packet, 1), 0);
    ck_assert_uint_eq(rte_vhost_enqueue_burst(-1, 0, &packet, 1), 0);
    ck_assert_uint_eq(rte_vhost_enqueue_burst(1024, 0, &packet, 1), 0);
    ck_assert_uint_eq(rte_vhost_dequeue_burst(1023, 1, NULL, &packet, 1), 0);
    stub_free(packet);
}
END_TEST

/* ---- A random program, and what must hold ---- */

enum { FLOWS = 48, MOST = 100, PAIRS = 4 };

struct world {
    struct rng rng;
    int vid;
    int expected[FLOWS];     /* the pair it was noted on, as long as no queue was switched since; -1: any */
    uint32_t sent[FLOWS];    /* number of the next packet */
    uint32_t arrived[FLOWS]; /* number of the last that arrived, plus 1 */
    bool on[PAIRS];
    uint32_t room[PAIRS];
};

static void switch_queue(struct world *w, uint32_t pair, bool on)
{
    stub_message(w->vid, STUB_SET_VRING_ENABLE, 2 * pair, on);
    w->on[pair] = on;
    for (uint32_t f = 0; f < FLOWS; f++)
        w->expected[f] = -1;
}

static void learn(struct world *w)
{
    uint32_t flow = rng_below(&w->rng, FLOWS), pair = rng_below(&w->rng, PAIRS);

    guest_sends(w->vid, pair, flow);
    if (w->on[pair])
        w->expected[flow] = (int)pair;
}

/* Which of `packets` came into the rings: each once, in its flow's order, into a ring that is on and is the flow's. */
static uint32_t check_rings(struct world *w, struct rte_mbuf **packets, uint32_t n, bool *in_ring)
{
    static uint32_t got[STUB_RING_SIZE][2];
    uint32_t total = 0;

    for (uint32_t q = 0; q < PAIRS; q++) {
        uint32_t n_got = stub_received(w->vid, 2 * q, got, STUB_RING_SIZE);
        ck_assert(n_got == 0 || w->on[q]);
        ck_assert_uint_le(n_got, w->room[q]);
        w->room[q] -= n_got;
        total += n_got;
        for (uint32_t i = 0; i < n_got; i++) {
            uint32_t flow = got[i][0], at = 0;
            while (at < n && (stub_flow(packets[at]) != flow || stub_number(packets[at]) != got[i][1]))
                at++;
            ck_assert_uint_lt(at, n);
            ck_assert(!in_ring[at]);
            in_ring[at] = true;
            ck_assert(w->expected[flow] < 0 || w->expected[flow] == (int)q);
            ck_assert_uint_ge(got[i][1], w->arrived[flow]);
            w->arrived[flow] = got[i][1] + 1;
        }
    }
    return total;
}

/* The array is the one that was, permuted; those behind `taken` in their flow's order. */
static void check_array(struct rte_mbuf **before, struct rte_mbuf **after, uint32_t n, uint32_t taken)
{
    uint32_t last[FLOWS] = {0};

    for (uint32_t i = 0; i < n; i++) {
        uint32_t times = 0;
        for (uint32_t k = 0; k < n; k++)
            times += after[k] == before[i];
        ck_assert_uint_eq(times, 1);
    }
    for (uint32_t i = taken; i < n; i++) {
        ck_assert_uint_ge(stub_number(after[i]), last[stub_flow(after[i])]);
        last[stub_flow(after[i])] = stub_number(after[i]);
    }
}

/* The caller tries again with what is left, as switches do, and frees all in the end. */
static void deliver(struct world *w, uint32_t n)
{
    struct rte_mbuf *packets[MOST], *before[MOST];
    uint32_t done = 0;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t flow = rng_below(&w->rng, rng_percent(&w->rng, 50) ? FLOWS : 3);
        packets[i] = incoming(flow, w->sent[flow]++);
    }
    for (uint32_t tries = rng_range(&w->rng, 1, 5); tries > 0 && done < n; tries--) {
        bool in_ring[MOST] = {false};
        memcpy(before, packets, sizeof(before));
        uint16_t taken =
            rte_vhost_enqueue_burst(w->vid, (uint16_t)(2 * rng_below(&w->rng, PAIRS)), packets + done, (uint16_t)(n - done));
        ck_assert_uint_le(taken, n - done);
        check_array(before + done, packets + done, n - done, taken);
        ck_assert_uint_eq(check_rings(w, packets + done, n - done, in_ring), taken);
        for (uint32_t i = 0; i < n - done; i++)
            ck_assert_int_eq(in_ring[i], i < taken);
        done += taken;
    }
    for (uint32_t i = 0; i < n; i++)
        stub_free(packets[i]);
}

START_TEST(a_call_keeps_its_meaning)
{
    struct world *w = calloc(1, sizeof(*w));
    w->rng.state = base_seed + (uint64_t)_i;
    open_port(PATH);
    w->vid = guest_comes(PATH, PAIRS);
    for (uint32_t q = 0; q < PAIRS; q++)
        switch_queue(w, q, true);
    for (uint32_t step = 0; step < 300; step++) {
        if (rng_percent(&w->rng, 5))
            switch_queue(w, rng_below(&w->rng, PAIRS), rng_percent(&w->rng, 60));
        for (uint32_t q = 0; q < PAIRS; q++) {
            w->room[q] = rng_percent(&w->rng, 60) ? STUB_RING_SIZE : rng_below(&w->rng, 20);
            stub_room(w->vid, 2 * q, w->room[q]);
        }
        for (uint32_t i = rng_below(&w->rng, 8); i > 0; i--)
            learn(w);
        deliver(w, rng_below(&w->rng, rng_percent(&w->rng, 70) ? 33 : MOST + 1));
    }
    stub_disconnect(w->vid);
    ck_assert_int_eq(stub_packets(), 0);
    ck_assert_int_eq(stub_violations(), 0);
    free(w);
}
END_TEST

/* ---- What is counted ---- */

START_TEST(packets_count_when_they_are_enqueued)
{
    struct rte_mbuf *packets[8];
    open_port(PATH);
    int vid = guest_comes(PATH, 4);
    guest_sends(vid, 2, 1);
    stub_room(vid, 4, 3);
    for (uint32_t i = 0; i < 8; i++)
        packets[i] = incoming(1, i);
    ck_assert_uint_eq(rte_vhost_enqueue_burst(vid, 0, packets, 8), 3);
    ck_assert_uint_eq(rte_vhost_enqueue_burst(vid, 0, packets + 3, 5), 0);
    stub_room(vid, 4, 100);
    ck_assert_uint_eq(rte_vhost_enqueue_burst(vid, 0, packets + 3, 5), 5);
    ck_assert_int_eq(telemetry("/flowq/port", "0", "bound"), 8);
    ck_assert_int_eq(telemetry("/flowq/port", "0", "to_guest"), 8);
    ck_assert_int_eq(telemetry("/flowq/port", "0", "refused"), 10);
    ck_assert_int_eq(telemetry("/flowq/port", "0", "from_guest"), 1);
    ck_assert_int_eq(telemetry("/flowq/port", "0", "flowq_queues_in_use"), 4);
    ck_assert_int_eq(telemetry("/flowq/queues", "0", "q2_to_guest"), 8);
    ck_assert_int_eq(telemetry("/flowq/queues", "0", "q2_bound"), 8);
    ck_assert_int_eq(telemetry("/flowq/queues", "0", "q2_from_guest"), 1);
    ck_assert_int_eq(telemetry("/flowq/queues", "0", "q1_to_guest"), 0);
    ck_assert_int_eq(telemetry("/flowq/queues", "0,3", "q2_to_guest"), -1);
    ck_assert_int_eq(telemetry("/flowq/queues", "0,3", "q3_flowq_queue_in_use"), 1);
    for (uint32_t i = 0; i < 8; i++)
        stub_free(packets[i]);
}
END_TEST

static int is_in_telemetry(void *ctx, const struct flowq_counter *c)
{
    char name[72];
    uint32_t *n = ctx;
    if (c->label && strcmp(c->label, "queue") == 0)
        return 0;
    snprintf(name, sizeof(name), "%s%s%s", c->name, c->label ? "_" : "", c->label ? c->label_value : "");
    for (char *at = name; (at = strpbrk(at, "- ")) != NULL;)
        *at = '_';
    ck_assert_msg(telemetry("/flowq/port", "0", name) >= 0, "%s", name);
    ++*n;
    return 0;
}

START_TEST(telemetry_has_all_counters_by_their_names)
{
    struct flowq_vm *vm;
    uint32_t n = 0;
    open_port(PATH);
    int vid = guest_comes(PATH, 4);
    for (uint32_t i = 1; i <= 20; i++)
        guest_sends(vid, i % 4, i);
    guest_sends(vid, 3, 3); /* the second time there is a binding, wherever it would have gone */
    guest_sends(vid, 0, 3);
    ck_assert_int_eq(flowq_vm_create(NULL, &vm), 0);
    ck_assert_int_eq(flowq_vm_counters(vm, is_in_telemetry, &n), 0);
    ck_assert_uint_gt(n, 30);
    flowq_vm_destroy(vm);
    ck_assert_uint_lt(stub_telemetry_entries(), 200); /* of 256 */
    ck_assert_int_eq(telemetry("/flowq/port", "0", "flowq_notes_moved"), 1);
    stub_disconnect(vid);
}
END_TEST

/* Only what is found elsewhere than the last time counts, and what moved most comes first. */
START_TEST(flows_that_move_most_come_first)
{
    enum { MANY = 40 };
    open_port(PATH);
    int vid = guest_comes(PATH, 4);
    for (uint32_t turn = 0; turn <= 20; turn++) {
        for (uint32_t i = 0; i < MANY; i++) /* twice on the same queue: then there is a binding, wherever it would have gone */
            for (uint32_t times = 0; times < 2; times++)
                guest_sends(vid, i >= 20 && i - 20 >= turn ? turn % 4 : 1, 100 + i);
        ck_assert_ptr_nonnull(stub_telemetry("/flowq/moves", "0"));
        if (turn == 0)
            ck_assert_int_eq(telemetry("/flowq/moves", "0", "f0_moves"), -1);
    }
    ck_assert_int_eq(telemetry("/flowq/moves", "0", "watched"), MANY);
    ck_assert_int_eq(telemetry("/flowq/moves", "0", "unwatched"), 0);
    for (uint32_t i = 0; i < 16; i++) {
        char name[32];
        snprintf(name, sizeof(name), "f%u_moves", i);
        long long moves = telemetry("/flowq/moves", "0", name);
        ck_assert_int_ge(moves, 4);
        ck_assert_int_le(moves, 20);
        snprintf(name, sizeof(name), "f%u_moves", i + 1);
        ck_assert_int_le(telemetry("/flowq/moves", "0", name), moves);
    }
    ck_assert_int_ge(telemetry("/flowq/moves", "0", "f0_moves"), 19);
    ck_assert_int_eq(telemetry("/flowq/moves", "0", "f16_moves"), -1);
    ck_assert_ptr_null(stub_telemetry("/flowq/moves", "1"));
    ck_assert_ptr_null(stub_telemetry("/flowq/moves", "x"));
    stub_disconnect(vid);
}
END_TEST

/* A frame, as /flowq/explain takes it, for port 0. */
static const char *in_hexadecimal(const uint8_t *bytes, uint32_t n)
{
    static char text[2048];
    size_t at = (size_t)snprintf(text, sizeof(text), "0,");

    for (uint32_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, i % 2 ? "%02x" : "%02X", bytes[i]);
    return text;
}

/* The flow of a packet to the guest, likewise. */
static const char *as_flow(uint32_t flow)
{
    static char text[256];
    struct flowq_tuple sent = flow_tuple(flow), t = tuple_reverse(&sent);
    char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];
    int family = t.version == 4 ? AF_INET : AF_INET6;

    inet_ntop(family, t.src, source, sizeof(source));
    inet_ntop(family, t.dst, destination, sizeof(destination));
    snprintf(text, sizeof(text), "0,%s,%s,%u,%s,%u", t.protocol == FRAME_PROTO_TCP ? "tcp" : "udp", source, t.sport, destination,
             t.dport);
    return text;
}

/* What is said of a flow agrees with where its packets go, and nothing counts it. */
START_TEST(telemetry_explains)
{
    unsigned n_bound = 0;
    open_port(PATH);
    int vid = guest_comes(PATH, 4);
    for (uint32_t flow = 0; flow < 24; flow++) {
        struct frame f;
        if (flow < 12)
            guest_sends(vid, flow % 4, flow);
        incoming_frame(&f, flow);
        long long looked_up =
            telemetry("/flowq/port", "0", "flowq_steered_bound") + telemetry("/flowq/port", "0", "flowq_steered_fallback");
        for (unsigned way = 0; way < 2; way++) {
            const char *question = way == 0 ? in_hexadecimal(f.bytes, f.len) : as_flow(flow);
            long long queue = telemetry("/flowq/explain", question, "queue");
            /* One that the guest sends where the fallback has it anyway need not be bound. */
            bool bound = strstr(stub_telemetry("/flowq/explain", question), "reason=bound;") != NULL;
            if (flow < 12)
                ck_assert_int_eq(queue, flow % 4);
            ck_assert(flow < 12 || !bound);
            ck_assert_int_eq(telemetry("/flowq/explain", question, "bound_queue"), bound ? queue : -1);
            if (!bound)
                ck_assert_int_eq(telemetry("/flowq/explain", question, "fallback_queue"), queue);
            ck_assert_ptr_nonnull(strstr(stub_telemetry("/flowq/explain", question), ";flow=0x"));
            ck_assert_ptr_nonnull(strstr(stub_telemetry("/flowq/explain", question), flow % 2 == 0 ? "ipv4" : "ipv6"));
            n_bound += bound;
        }
        ck_assert_int_eq(telemetry("/flowq/port", "0", "flowq_steered_bound") +
                             telemetry("/flowq/port", "0", "flowq_steered_fallback"),
                         looked_up);
        ck_assert_int_ge(looked_up, 0);
        long long queue = telemetry("/flowq/explain", as_flow(flow), "queue");
        ck_assert_int_eq(arrives(vid, flow), queue);
    }
    ck_assert_uint_ge(n_bound, 8);
}
END_TEST

START_TEST(telemetry_explains_whatever_is_a_frame)
{
    struct rng rng = {base_seed};
    uint8_t bytes[449];
    open_port(PATH);
    guest_comes(PATH, 4);
    for (uint32_t i = 0; i < 500; i++) {
        struct frame f;
        uint32_t n = rng_range(&rng, 1, sizeof(bytes));
        incoming_frame(&f, i);
        for (uint32_t at = 0; at < sizeof(bytes); at++)
            bytes[at] = (uint8_t)rng_next(&rng);
        if (rng_percent(&rng, 70))
            memcpy(bytes, f.bytes, f.len < n ? f.len : n);
        if (rng_percent(&rng, 30)) { /* VLAN tags, as many as there are */
            for (uint32_t at = 12; at + 1 < n; at += 4)
                memcpy(bytes + at, "\x81", 2);
        }
        const char *reply = stub_telemetry("/flowq/explain", in_hexadecimal(bytes, n));
        ck_assert_int_eq(reply != NULL, n < sizeof(bytes));
        ck_assert_uint_lt(stub_telemetry_entries(), 200); /* of 256 */
        ck_assert_uint_lt(reply == NULL ? 0 : strlen(reply), 12000);
    }
}
END_TEST

START_TEST(telemetry_explains_nothing_else)
{
    static const char *const bad[] = {NULL,
                                      "",
                                      "0",
                                      "0,",
                                      ",00",
                                      "7,00",
                                      "x,00",
                                      "0,0",
                                      "0,0g",
                                      "0,00 ",
                                      "0,-1",
                                      "0,tcp",
                                      "0,tcp,,,,",
                                      "0,tcp,1.2.3.4,1,5.6.7.8",
                                      "0,tcp,1.2.3.4,1,5.6.7.8,2,3",
                                      "0,tcp,1.2.3.4,1,5.6.7.8,65536",
                                      "0,tcp,1.2.3.4,-1,5.6.7.8,2",
                                      "0,tcp,1.2.3.4, 1,5.6.7.8,2",
                                      "0,tcp,1.2.3.4,1,::1,2",
                                      "0,tcp,1.2.3.256,1,5.6.7.8,2",
                                      "0,icmp,1.2.3.4,1,5.6.7.8,2",
                                      "0,tcp,1.2.3.4,1,0000000000000000000000000000000000000000000000000000005.6.7.8,2"};
    open_port(PATH);
    ck_assert_ptr_nonnull(stub_telemetry("/flowq/explain", "0,tcp,1.2.3.4,1,5.6.7.8,2"));
    ck_assert_ptr_nonnull(stub_telemetry("/flowq/explain", "0,00"));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(stub_telemetry("/flowq/explain", bad[i]) == NULL, "%zu: %s", i, bad[i]);
}
END_TEST

START_TEST(telemetry_refuses_what_is_no_number)
{
    static const char *const bad[] = {"x", "0x", "1,2,3", "-", "0,", "4294967296", "7", "18446744073709551616"};
    open_port(PATH);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        bool trailing = strcmp(bad[i], "0,") == 0;
        ck_assert_int_eq(stub_telemetry("/flowq/port", bad[i]) != NULL, trailing);
        ck_assert_int_eq(stub_telemetry("/flowq/queues", bad[i]) != NULL, trailing);
    }
    ck_assert_ptr_nonnull(stub_telemetry("/flowq/port", NULL));
    ck_assert_ptr_nonnull(stub_telemetry("/flowq/ports", ""));
}
END_TEST

int main(void)
{
    base_seed = seed_get("check_vhost");
    Suite *s = suite_create("vhost");
    TCase *tc = tcase_create("packets");
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, packets_follow_what_the_guest_transmits);
    tcase_add_test(tc, unknown_flows_have_a_queue);
    tcase_add_loop_test(tc, headers_may_be_cut_anywhere, 0, 90);
    tcase_add_test(tc, odd_packets_do_no_harm);
    tcase_add_test(tc, what_is_no_business_of_ours_is_handed_on);
    tcase_add_loop_test(tc, a_call_keeps_its_meaning, 0, 8);
    tcase_add_test(tc, packets_count_when_they_are_enqueued);
    tcase_add_test(tc, telemetry_has_all_counters_by_their_names);
    tcase_add_test(tc, flows_that_move_most_come_first);
    tcase_add_test(tc, telemetry_explains);
    tcase_add_test(tc, telemetry_explains_whatever_is_a_frame);
    tcase_add_test(tc, telemetry_explains_nothing_else);
    tcase_add_test(tc, telemetry_refuses_what_is_no_number);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
