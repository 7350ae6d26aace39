/*
 * example: one vm, and words for readable examples of the rules. A program that includes this has the vm to itself.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_EXAMPLE_H
#define FLOWQ_TESTS_EXAMPLE_H

#include <check.h>
#include <string.h>

#include "frames.h"

#define MS     UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)
#define VM     0x0a000001u /* 10.0.0.1, or 2001:db8::a00:1 */
#define REMOTE 0xc0a80001u
#define PAIRS  8

static struct flowq_vm *vm;
static uint64_t now;

static inline uint64_t test_clock(void *ctx)
{
    (void)ctx;
    return now;
}

static inline struct flowq_vm_config defaults(void)
{
    struct flowq_vm_config c = {.size = sizeof(c), .clock_ns = test_clock};
    return c;
}

static inline void start(const struct flowq_vm_config *c, uint32_t pairs)
{
    if (vm)
        flowq_vm_destroy(vm);
    ck_assert_int_eq(flowq_vm_create(c, &vm), 0);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, pairs), 0);
}

static inline void set_up(void)
{
    struct flowq_vm_config c = defaults();
    now = 1000 * SECOND;
    start(&c, PAIRS);
}

/* The same with a secret that does not change: for tests in which the filter of implied flows (lib/implied.h) must make no mistake,
   which it does once in a million with any other. */
static inline void set_up_known(void)
{
    struct flowq_vm_config c = defaults();
    memset(c.secret, 7, sizeof(c.secret));
    now = 1000 * SECOND;
    start(&c, PAIRS);
}

static inline void tear_down(void)
{
    flowq_vm_destroy(vm);
    vm = NULL;
}

/* Flow number i as the VM sends it. Ports keep clear of those of tunnels. */
static inline struct flowq_tuple tcp(uint32_t i)
{
    return tuple_v4(FRAME_PROTO_TCP, VM, 80, REMOTE + i / 50000, (uint16_t)(10000 + i % 50000));
}
static inline struct flowq_tuple udp(uint32_t i)
{
    return tuple_v4(FRAME_PROTO_UDP, VM, 53, REMOTE + i / 50000, (uint16_t)(10000 + i % 50000));
}

static inline uint32_t note_frame(const struct frame *f, uint32_t qid)
{
    struct flowq_pkt pkt = frame_pkt(f);
    return flowq_tx_note(vm, &pkt, qid);
}

static inline uint32_t note_flags(struct flowq_tuple t, unsigned tcp_flags, uint32_t qid)
{
    struct frame f;
    frame_flow(&f, &t, tcp_flags);
    return note_frame(&f, qid);
}

static inline uint32_t note(struct flowq_tuple t, uint32_t qid) { return note_flags(t, FRAME_ACK, qid); }

static inline struct flowq_decision decide_frame(const struct frame *f)
{
    struct flowq_decision d;
    struct flowq_pkt pkt = frame_pkt(f);
    flowq_rx_decide_burst(vm, &pkt, 1, &d);
    ck_assert_uint_eq(flowq_rx_steer(vm, &pkt), d.qid);
    ck_assert_uint_eq(d.hash_report | d.hash_value | d.reserved, 0);
    return d;
}

/* Where what the other end of flow t sends goes. */
static inline struct flowq_decision decide(struct flowq_tuple t)
{
    struct flowq_tuple in = tuple_reverse(&t);
    struct frame f;
    frame_flow(&f, &in, FRAME_ACK);
    return decide_frame(&f);
}

static inline void goes(struct flowq_decision d, uint32_t qid, uint32_t reason)
{
    ck_assert_msg(d.qid == qid && d.reason == reason, "goes to %u (%s), not %u (%s)", d.qid, flowq_reason_name(d.reason), qid,
                  flowq_reason_name(reason));
}

static inline void is_bound(struct flowq_tuple t, uint32_t qid) { goes(decide(t), qid, FLOWQ_REASON_BOUND); }
static inline void is_unbound(struct flowq_tuple t) { ck_assert_uint_eq(decide(t).reason, FLOWQ_REASON_FALLBACK); }

/* A queue that the fallback does not choose for unbound flow t. */
static inline uint32_t unlike_fallback(struct flowq_tuple t)
{
    struct flowq_decision d = decide(t);
    ck_assert_uint_eq(d.reason, FLOWQ_REASON_FALLBACK);
    return (d.qid + 1u) % PAIRS;
}

static inline int lookup(struct flowq_tuple t, struct flowq_binding *b)
{
    struct flowq_tuple in = tuple_reverse(&t);
    memset(b, 0, sizeof(*b));
    b->size = sizeof(*b);
    return flowq_vm_lookup(vm, &in, b);
}

static inline uint32_t class_of(struct flowq_tuple t)
{
    struct flowq_binding b;
    return lookup(t, &b) == 0 ? b.cls : 0;
}

static inline struct flowq_stats stats(void)
{
    struct flowq_stats s = {.size = sizeof(s)};
    ck_assert_int_eq(flowq_vm_stats(vm, &s), 0);
    return s;
}

#endif
