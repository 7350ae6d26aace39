/*
 * vhost_program: a program that uses librte_vhost as a switch does, linked with the drop-in in front of the stub.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_VHOST_PROGRAM_H
#define FLOWQ_TESTS_VHOST_PROGRAM_H

#include <check.h>
#include <rte_vhost_async.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "frames.h"
#include "stub_vhost.h"

#define GUEST  0x0a000001u
#define REMOTE 0xc0a80001u

enum { CALLBACKS_MAX = 256 };

/* What the program's callbacks were told. */
struct told {
    char what; /* c d: connection; n x: device; v: ring */
    int vid;
    uint16_t ring;
    int on;
};
static struct told told[CALLBACKS_MAX];
static uint32_t n_told;

static inline void tell(char what, int vid, uint16_t ring, int on)
{
    if (n_told < CALLBACKS_MAX)
        told[n_told++] = (struct told){what, vid, ring, on};
}

static int on_new_connection(int vid) { return tell('c', vid, 0, 0), 0; }
static void on_destroy_connection(int vid) { tell('d', vid, 0, 0); }
static int on_new_device(int vid) { return tell('n', vid, 0, 0), 0; }
static void on_destroy_device(int vid) { tell('x', vid, 0, 0); }
static int on_vring(int vid, uint16_t ring, int on) { return tell('v', vid, ring, on), 0; }

static const struct rte_vhost_device_ops program_ops = {
    .new_connection = on_new_connection,
    .destroy_connection = on_destroy_connection,
    .new_device = on_new_device,
    .destroy_device = on_destroy_device,
    .vring_state_changed = on_vring,
};

/* How often the callback was told this of a ring since `since`. */
static inline uint32_t told_ring(uint32_t since, uint16_t ring, int on)
{
    uint32_t n = 0;

    for (uint32_t i = since; i < n_told; i++)
        n += told[i].what == 'v' && told[i].ring == ring && told[i].on == on;
    return n;
}

static inline void open_port(const char *path)
{
    ck_assert_int_eq(rte_vhost_driver_register(path, 0), 0);
    ck_assert_int_eq(rte_vhost_driver_callback_register(path, &program_ops), 0);
}

static inline int guest_comes(const char *path, uint32_t pairs)
{
    int vid = stub_connect(path);

    ck_assert_int_ge(vid, 0);
    stub_start(vid, pairs);
    return vid;
}

/* Flow number n as the guest transmits it; every second one IPv6, every third UDP. */
static inline struct flowq_tuple flow_tuple(uint32_t n)
{
    uint8_t protocol = n % 3 == 0 ? FRAME_PROTO_UDP : FRAME_PROTO_TCP;
    uint16_t port = (uint16_t)(10000 + n % 50000);

    return n % 2 == 0 ? tuple_v4(protocol, GUEST, port, REMOTE + n / 50000, 443) : tuple_v6(protocol, GUEST, port, REMOTE, 443);
}

static inline struct rte_mbuf *outgoing(uint32_t flow, uint32_t number)
{
    struct flowq_tuple t = flow_tuple(flow);
    struct frame f;

    frame_flow(&f, &t, FRAME_ACK);
    return stub_packet(f.bytes, f.len, flow, number);
}

static inline void incoming_frame(struct frame *f, uint32_t flow)
{
    struct flowq_tuple t = flow_tuple(flow), back = tuple_reverse(&t);

    frame_flow(f, &back, FRAME_ACK);
}

static inline struct rte_mbuf *incoming(uint32_t flow, uint32_t number)
{
    struct frame f;

    incoming_frame(&f, flow);
    return stub_packet(f.bytes, f.len, flow, number);
}

/* The guest transmits on a pair and the program reads it. */
static inline void guest_sends(int vid, uint32_t pair, uint32_t flow)
{
    struct rte_mbuf *packet = NULL;

    ck_assert(stub_transmit(vid, 2 * pair + 1, outgoing(flow, 0)));
    ck_assert_uint_eq(rte_vhost_dequeue_burst(vid, (uint16_t)(2 * pair + 1), NULL, &packet, 1), 1);
    ck_assert_uint_eq(stub_flow(packet), flow);
    stub_free(packet);
}

/* One packet to the guest, by the program's choice on ring 0. The pair that got it, or -1. */
static inline int arrives(int vid, uint32_t flow)
{
    struct rte_mbuf *packet = incoming(flow, 0);
    int pair = -1;

    for (uint32_t q = 0; q < STUB_RINGS / 2; q++)
        stub_received(vid, 2 * q, NULL, 0);
    uint16_t taken = rte_vhost_enqueue_burst(vid, 0, &packet, 1);
    for (uint32_t q = 0; q < STUB_RINGS / 2; q++)
        if (stub_received(vid, 2 * q, NULL, 0) != 0)
            pair = (int)q;
    ck_assert_int_eq(taken, pair >= 0);
    stub_free(packet);
    return pair;
}

/* The value of an entry of telemetry; -1: there is none. */
static inline long long telemetry(const char *command, const char *params, const char *name)
{
    const char *text = stub_telemetry(command, params);
    char key[80];

    if (text == NULL)
        return -1;
    snprintf(key, sizeof(key), "%s=", name);
    for (const char *at = text; (at = strstr(at, key)) != NULL; at++)
        if (at == text || at[-1] == ';')
            return strtoll(at + strlen(key), NULL, 10);
    return -1;
}

#endif
