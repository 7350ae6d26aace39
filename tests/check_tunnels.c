/*
 * check_tunnels: rule S4 where a vm is needed to see it: packets of tunnels that cannot be read, network ids, tunnels of which
 * only one direction comes by.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <errno.h>

#include "config.h"
#include "example.h"
#include "runner.h"

#define FIRST_TUNNEL (FRAME_NO_TUNNEL + 1)
#define ENTROPY      49152u
/* So many source ports reach each of eight queues: that one is left out has a probability of 8 * (7/8)^512 = 2e-29. */
#define SPREAD 512u

static struct flowq_tuple endpoint(uint8_t version, bool from_vm, uint16_t sport)
{
    uint32_t src = from_vm ? VM : REMOTE, dst = from_vm ? REMOTE : VM;
    return version == 6 ? tuple_v6(FRAME_PROTO_UDP, src, sport, dst, 0) : tuple_v4(FRAME_PROTO_UDP, src, sport, dst, 0);
}

static bool is_udp(enum frame_tunnel tunnel)
{
    struct flowq_tuple t = endpoint(4, true, 1);
    return frame_tunnel_outer(tunnel, &t, 4).protocol == FRAME_PROTO_UDP;
}

/* What is tried with every tunnel is tried with every kind there is. */
START_TEST(each_kind_is_among_the_frames)
{
    uint32_t bits = 0;
    for (unsigned tunnel = FIRST_TUNNEL; tunnel < FRAME_N_TUNNELS; tunnel++)
        for (unsigned versions = 0; versions < 4; versions++)
            bits |= frame_tunnel_bit((enum frame_tunnel)tunnel, versions & 1 ? 6 : 4, versions & 2 ? 6 : 4);
    ck_assert_uint_eq(bits, CONFIG_TUNNELS);
}
END_TEST

/* ---- What cannot be read --------------------------------------------------------------------------------------------------- */

/* A tunnel's packet cut just before its inner packet. */
static struct frame unread(enum frame_tunnel tunnel, const struct flowq_tuple *outer)
{
    struct flowq_tuple inner = tcp(1);
    struct frame f;
    frame_tunnel(&f, tunnel, outer, &inner, FRAME_ACK);
    f.len = f.inner_at;
    return f;
}

/* Not learned, however often; and what is bound stays so. */
static void send_unread(struct frame f)
{
    struct flowq_stats before = stats();
    for (unsigned i = 0; i < 3; i++)
        ck_assert_uint_eq(note_frame(&f, i), FLOWQ_NOTE_KEYLESS);
    ck_assert_uint_eq(stats().inserted, before.inserted);
    ck_assert_uint_eq(stats().live, before.live);
}

START_TEST(unread_udp_tunnels_are_never_learned)
{
    enum frame_tunnel tunnel = (enum frame_tunnel)_i;
    for (uint8_t version = 4; is_udp(tunnel) && version <= 6; version += 2) {
        struct flowq_tuple sent = endpoint(version, true, 5353), back = endpoint(version, false, 5353);
        send_unread(unread(tunnel, &sent));

        /* What comes takes the fallback of its outer tuple, which the source port spreads. */
        uint32_t seen = 0;
        for (uint16_t i = 0; i < SPREAD; i++) {
            back.sport = (uint16_t)(ENTROPY + i);
            struct frame f = unread(tunnel, &back);
            struct flowq_decision d = decide_frame(&f);
            ck_assert_uint_eq(d.reason, FLOWQ_REASON_FALLBACK);
            seen |= 1u << d.qid;
        }
        ck_assert_uint_eq(seen, (1u << PAIRS) - 1);
    }
}
END_TEST

/* A VM that has nothing to do with the tunnel: what it sends from such a port is learned, and the answers find it. */
START_TEST(a_plain_flow_from_a_tunnels_port)
{
    enum frame_tunnel tunnel = (enum frame_tunnel)_i;
    for (uint8_t version = 4; is_udp(tunnel) && version <= 6; version += 2) {
        struct flowq_tuple any = endpoint(version, true, 1), t = frame_tunnel_outer(tunnel, &any, 4);
        t.sport = t.dport;
        t.dport = 53;
        for (uint16_t i = 0; i < 20; i++) {
            t.dport = (uint16_t)(53 + i);
            uint32_t q = unlike_fallback(t);
            ck_assert_uint_eq(note(t, q), FLOWQ_NOTE_BOUND);
            is_bound(t, q);
        }
    }
}
END_TEST

/* Tunnels over IP alone are keyed on addresses and protocol then, and learned: those come back. */
START_TEST(unread_tunnels_without_ports)
{
    enum frame_tunnel tunnel = (enum frame_tunnel)_i;
    for (uint8_t version = 4; !is_udp(tunnel) && version <= 6; version += 2) {
        struct flowq_tuple sent = endpoint(version, true, 0), outer = frame_tunnel_outer(tunnel, &sent, 4);
        uint32_t q = unlike_fallback(outer);
        struct frame f = unread(tunnel, &sent);
        ck_assert_uint_eq(note_frame(&f, q), FLOWQ_NOTE_BOUND);
        is_bound(outer, q);
        flowq_vm_reset(vm, FLOWQ_RESET_FLOWS);
    }
}
END_TEST

/* The first bytes of the VM's own packet to a UDP tunnel's port: the error goes where the other end's answer would. */
START_TEST(errors_that_quote_unread_tunnels)
{
    enum frame_tunnel tunnel = (enum frame_tunnel)_i;
    for (uint8_t version = 4; is_udp(tunnel) && version <= 6; version += 2) {
        uint32_t seen = 0;
        for (uint16_t i = 0; i < SPREAD; i++) {
            struct flowq_tuple any = endpoint(version, true, (uint16_t)(ENTROPY + i)), t = frame_tunnel_outer(tunnel, &any, 4);
            struct flowq_tuple router = version == 6 ? tuple_v6(0, 99, 0, VM, 0) : tuple_v4(0, 99, 0, VM, 0);
            struct frame f;
            frame_icmp_error(&f, &router, &t, version == 6 ? 48 : 28);
            struct flowq_decision d = decide_frame(&f);
            goes(d, decide(t).qid, FLOWQ_REASON_FALLBACK);
            seen |= 1u << d.qid;
        }
        ck_assert_uint_eq(seen, (1u << PAIRS) - 1);
    }
}
END_TEST

/* ---- Network ids ----------------------------------------------------------------------------------------------------------- */

static void with_vni(uint32_t key_vlan)
{
    struct flowq_vm_config c = defaults();
    c.key_vni = FLOWQ_ON;
    c.key_vlan = key_vlan;
    start(&c, PAIRS);
}

static struct frame in_network(enum frame_tunnel tunnel, uint8_t version, bool from_vm, struct flowq_tuple inner, uint32_t vni)
{
    static uint16_t entropy;
    struct flowq_tuple outer = endpoint(version, from_vm, (uint16_t)(ENTROPY + entropy++));
    struct frame f;
    inner.has_vni = 1;
    inner.vni = vni;
    frame_tunnel(&f, tunnel, &outer, &inner, FRAME_ACK);
    return f;
}

static bool has_network(enum frame_tunnel tunnel)
{
    struct flowq_tuple any = tcp(1);
    return frame_tunnel_inner(tunnel, &any, &any).has_vni;
}

/* Tenants with equal addresses: each on a queue of its own, the one of network 0 and the one without a tunnel, too. */
START_TEST(tenants_with_equal_addresses)
{
    enum frame_tunnel tunnel = (enum frame_tunnel)_i;
    with_vni(0);
    for (unsigned versions = 0; has_network(tunnel) && versions < 4; versions++) {
        uint8_t version = versions & 1 ? 6 : 4;
        struct flowq_tuple inner = versions & 2 ? tuple_v6(FRAME_PROTO_TCP, 1, 80, 2, 1024) : tcp(1),
                           back = tuple_reverse(&inner);
        struct frame f;
        for (uint32_t vni = 0; vni < PAIRS - 1; vni++) {
            f = in_network(tunnel, version, true, inner, vni << 20);
            ck_assert_uint_eq(note_frame(&f, vni), FLOWQ_NOTE_BOUND);
            ck_assert_uint_eq(note_frame(&f, vni), FLOWQ_NOTE_REFRESHED);
        }
        ck_assert_uint_eq(note(inner, PAIRS - 1), FLOWQ_NOTE_BOUND);
        for (uint32_t vni = 0; vni < PAIRS - 1; vni++) {
            f = in_network(tunnel, version, false, back, vni << 20);
            goes(decide_frame(&f), vni, FLOWQ_REASON_BOUND);
            struct flowq_tuple name = back;
            struct flowq_binding b = {.size = sizeof(b)};
            name.has_vni = 1;
            name.vni = vni << 20;
            ck_assert_int_eq(flowq_vm_lookup(vm, &name, &b), 0);
            ck_assert_uint_eq(b.qid, vni);
            name.vni++;
            ck_assert_int_eq(flowq_vm_lookup(vm, &name, &b), -ENOENT);
        }
        is_bound(inner, PAIRS - 1);
        f = in_network(tunnel, version, false, back, 0xabcde);
        ck_assert_uint_eq(decide_frame(&f).reason, FLOWQ_REASON_FALLBACK);
        flowq_vm_reset(vm, FLOWQ_RESET_FLOWS);
    }
}
END_TEST

/* Where there is no id, or one per direction, the setting changes nothing; nor is it on by itself. */
START_TEST(tunnels_without_network_ids)
{
    enum frame_tunnel tunnel = (enum frame_tunnel)_i;
    for (unsigned on = 0; on < 2; on++) {
        if (on)
            with_vni(0);
        struct flowq_tuple inner = tcp(1), back = tuple_reverse(&inner);
        struct frame sent = in_network(tunnel, 4, true, inner, 5), came = in_network(tunnel, 4, false, back, 6);
        ck_assert_uint_eq(note_frame(&sent, 3), FLOWQ_NOTE_BOUND);
        if (on && has_network(tunnel))
            ck_assert_uint_eq(decide_frame(&came).reason, FLOWQ_REASON_FALLBACK);
        else
            goes(decide_frame(&came), 3, FLOWQ_REASON_BOUND);
    }
}
END_TEST

/* VLAN ids and a network id in one key: each of them counts. */
START_TEST(networks_with_vlans)
{
    with_vni(FLOWQ_ON);
    for (uint32_t q = 0; q < 4; q++) {
        for (unsigned came = 0; came < 2; came++) {
            bool sent = !came;
            struct flowq_tuple inner = tcp(1), outer = endpoint(4, sent, ENTROPY);
            struct frame f;
            inner = sent ? inner : tuple_reverse(&inner);
            inner.has_vni = 1;
            inner.vni = q & 1;
            outer.n_vlans = 1; /* of a packet that has no frame of its own inside */
            outer.vlan[0] = 7 + (q >> 1);
            frame_tunnel(&f, FRAME_GRE_KEY, &outer, &inner, FRAME_ACK);
            if (sent)
                ck_assert_uint_eq(note_frame(&f, q), FLOWQ_NOTE_BOUND);
            else
                goes(decide_frame(&f), q, FLOWQ_REASON_BOUND);
        }
    }
    for (uint32_t q = 0; q < 4; q++) {
        struct flowq_tuple t = tcp(1), in = tuple_reverse(&t);
        struct flowq_binding b = {.size = sizeof(b)};
        in.n_vlans = 1;
        in.vlan[0] = 7 + (q >> 1);
        in.has_vni = 1;
        in.vni = q & 1;
        ck_assert_int_eq(flowq_vm_lookup(vm, &in, &b), 0);
        ck_assert_uint_eq(b.qid, q);
    }
}
END_TEST

/* Replaces the inner packet, which ends the frame, by a fragment. */
static struct frame inner_fragment(enum frame_tunnel tunnel, struct flowq_tuple inner, uint32_t vni, bool first)
{
    struct frame f = in_network(tunnel, 4, false, inner, vni), part;
    frame_fragment(&part, &inner, 4711, first ? 0 : 1480, first);
    memcpy(f.bytes + f.inner_at, part.bytes + 14, part.len - 14);
    f.len = f.inner_at + part.len - 14;
    return f;
}

/* Fragments of the same addresses and id in two networks are of two datagrams. */
START_TEST(fragments_of_two_networks)
{
    enum frame_tunnel tunnel = (enum frame_tunnel)_i;
    with_vni(0);
    for (uint8_t version = 4; has_network(tunnel) && version <= 6; version += 2) {
        struct flowq_tuple inner =
            version == 4 ? tuple_v4(FRAME_PROTO_TCP, 1, 80, 2, 1024) : tuple_v6(FRAME_PROTO_TCP, 1, 80, 2, 1024);
        struct flowq_tuple back = tuple_reverse(&inner);
        for (uint32_t vni = 1; vni <= 2; vni++) {
            struct frame sent = in_network(tunnel, 4, true, inner, vni), first = inner_fragment(tunnel, back, vni, true);
            note_frame(&sent, 4 + vni);
            goes(decide_frame(&first), 4 + vni, FLOWQ_REASON_BOUND);
        }
        for (uint32_t vni = 1; vni <= 2; vni++) {
            struct frame later = inner_fragment(tunnel, back, vni, false);
            goes(decide_frame(&later), 4 + vni, FLOWQ_REASON_FRAGMENT);
        }
        struct frame other = inner_fragment(tunnel, back, 3, false);
        ck_assert_uint_eq(decide_frame(&other).reason, FLOWQ_REASON_FALLBACK);
        flowq_vm_reset(vm, FLOWQ_RESET_FLOWS);
    }
}
END_TEST

/* ---- One direction --------------------------------------------------------------------------------------------------------- */

/* Direct return: a balancer sends in a tunnel, the VM answers without. */
START_TEST(answers_without_the_tunnel)
{
    enum frame_tunnel tunnel = (enum frame_tunnel)_i;
    for (unsigned versions = 0; versions < 4; versions++) {
        struct flowq_tuple inner = versions & 2 ? tuple_v6(FRAME_PROTO_TCP, 1, 80, 2, 1024) : tcp(1),
                           back = tuple_reverse(&inner);
        struct flowq_tuple balancer = endpoint(versions & 1 ? 6 : 4, false, ENTROPY);
        struct frame f;
        if (!frame_tunnel_bit(tunnel, balancer.version, inner.version))
            continue;
        for (uint32_t q = 2; q <= 6; q += 4) {
            note(inner, q);
            frame_tunnel(&f, tunnel, &balancer, &back, FRAME_ACK);
            goes(decide_frame(&f), q, FLOWQ_REASON_BOUND);
        }
        flowq_vm_reset(vm, FLOWQ_RESET_FLOWS);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("tunnels");
    TCase *tc = tcase_create("tunnels");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, each_kind_is_among_the_frames);
    tcase_add_loop_test(tc, unread_udp_tunnels_are_never_learned, FIRST_TUNNEL, FRAME_N_TUNNELS);
    tcase_add_loop_test(tc, a_plain_flow_from_a_tunnels_port, FIRST_TUNNEL, FRAME_N_TUNNELS);
    tcase_add_loop_test(tc, unread_tunnels_without_ports, FIRST_TUNNEL, FRAME_N_TUNNELS);
    tcase_add_loop_test(tc, errors_that_quote_unread_tunnels, FIRST_TUNNEL, FRAME_N_TUNNELS);
    tcase_add_loop_test(tc, tenants_with_equal_addresses, FIRST_TUNNEL, FRAME_N_TUNNELS);
    tcase_add_loop_test(tc, tunnels_without_network_ids, FIRST_TUNNEL, FRAME_N_TUNNELS);
    tcase_add_loop_test(tc, fragments_of_two_networks, FIRST_TUNNEL, FRAME_N_TUNNELS);
    tcase_add_loop_test(tc, answers_without_the_tunnel, FIRST_TUNNEL, FRAME_N_TUNNELS);
    tcase_add_test(tc, networks_with_vlans);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
