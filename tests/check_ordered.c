/*
 * check_ordered: moves in order (rule S13): flows that are noted on one queue after another, at every rate, while rings fill and
 * are taken, and no packet overtakes another of its flow. Against rings, a guest and a host that are as plain as can be
 * (model_ordered.h). The same without the setting is printed beside, and must overtake, or the test would show nothing.
 *
 * Here one thread does all; check_orders_moves.c has the races.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "flowq.h"
#include "frames.h"
#include "model_ordered.h"
#include "runner.h"
#include "seed.h"

#define N_FLOWS   512
#define MAX_BURST 100

static uint64_t seed;

/* ---- Flows -------------------------------------------------------------------------------------------------------------- */

/* TCP and UDP, over both versions of IP, plain, and every eighth in VXLAN: by way of both parsers. */
static struct frame sent[N_FLOWS], arriving[N_FLOWS];
static struct flowq_tuple tuples[N_FLOWS];

static void make_frames(void)
{
    for (uint32_t i = 0; i < N_FLOWS; i++) {
        uint8_t protocol = i & 1 ? FRAME_PROTO_UDP : FRAME_PROTO_TCP;
        struct flowq_tuple t = i & 2 ? tuple_v6(protocol, 1, 80, 1000 + i, (uint16_t)(2000 + i))
                                     : tuple_v4(protocol, 0x0a000001, 80, 0xc0a80000 + i, (uint16_t)(2000 + i));
        tuples[i] = tuple_reverse(&t);
        frame_flow(&sent[i], &t, FRAME_ACK);
        frame_flow(&arriving[i], &tuples[i], FRAME_ACK);
    }
}

/* ---- What a run is ------------------------------------------------------------------------------------------------------ */

enum way { BY_BURST, BY_DECISION, BY_PACKET, BY_SEVERAL, N_WAYS };

struct run {
    const char *name;
    uint32_t moves;       /* in a thousand steps */
    uint32_t flows;       /* so many of all */
    uint32_t burst;       /* packets, at most */
    uint32_t guest_takes; /* positions a step and ring, at most */
    uint32_t unpublished; /* at most */
    uint32_t stale_by;    /* at most */
    uint32_t looks;       /* percent of the steps in which the host looks */
    uint32_t settle_us, max_us, step_us, ordered_flows;
    bool setters, lies, wraps;
    /* What must come out: */
    bool exceptions; /* there may be some, each counted */
};

/* clang-format off */
static const struct run runs[] = {
    {.name = "few moves",             .moves = 10,  .flows = 64,  .burst = 32,  .guest_takes = 8,  .looks = 100},
    {.name = "many moves",            .moves = 900, .flows = 64,  .burst = 32,  .guest_takes = 8,  .looks = 100},
    {.name = "one flow",              .moves = 300, .flows = 1,   .burst = 100, .guest_takes = 60, .looks = 100},
    {.name = "one flow, loaded",      .moves = 100, .flows = 1,   .burst = 8,   .guest_takes = 3,  .looks = 50},
    {.name = "all flows",             .moves = 500, .flows = N_FLOWS, .burst = 64, .guest_takes = 12, .looks = 80,
     .ordered_flows = 65536},
    {.name = "loaded rings",          .moves = 200, .flows = 128, .burst = 64,  .guest_takes = 9,  .looks = 30},
    {.name = "publishes late",        .moves = 200, .flows = 64,  .burst = 32,  .guest_takes = 12, .unpublished = 40,
     .looks = 80},
    {.name = "stale positions",       .moves = 200, .flows = 64,  .burst = 32,  .guest_takes = 12, .stale_by = 100, .looks = 60},
    {.name = "positions that wrap",   .moves = 200, .flows = 64,  .burst = 32,  .guest_takes = 12, .looks = 80, .wraps = true},
    {.name = "settling",              .moves = 200, .flows = 64,  .burst = 16,  .guest_takes = 12, .looks = 80,
     .settle_us = 100, .step_us = 7},
    {.name = "bound",                 .moves = 200, .flows = 64,  .burst = 32,  .guest_takes = 8,  .looks = 80,
     .max_us = 300, .step_us = 20, .exceptions = true},
    {.name = "a small table",         .moves = 500, .flows = N_FLOWS, .burst = 64, .guest_takes = 9, .looks = 80,
     .ordered_flows = 8, .exceptions = true},
    {.name = "queues come and go",    .moves = 200, .flows = 128, .burst = 32,  .guest_takes = 12, .looks = 80, .setters = true},
    {.name = "a lying guest",         .moves = 200, .flows = 64,  .burst = 32,  .guest_takes = 9,  .looks = 80, .lies = true},
};
/* clang-format on */
#define N_RUNS (sizeof(runs) / sizeof(runs[0]))

struct world {
    const struct run *run;
    struct rng rng;
    struct flowq_vm *vm, *honest; /* honest: a second vm, of a guest that does not lie, in bursts for several */
    struct model_ring rings[MODEL_RING_QUEUES], honest_rings[MODEL_RING_QUEUES];
    struct model_flow flows[N_FLOWS], honest_flows[N_FLOWS];
    uint16_t noted[N_FLOWS]; /* its last note's queue; FLOWQ_DROP: none */
    uint64_t now_ns, n_packets, n_lost, overtakes, honest_overtakes, n_pending_notes;
    bool off[MODEL_RING_QUEUES];
};

/* Check tells its parent of each assertion that holds; these are for each packet. */
static void must(bool holds, const char *what)
{
    if (!holds)
        ck_abort_msg("%s", what);
}

static uint64_t world_clock(void *ctx) { return ((struct world *)ctx)->now_ns; }

/* So many moves that no set of eight is full, as one of the default number is with 128 flows once in 10000 times. */
enum { ROOMY = 8192 };

static struct flowq_vm *world_vm(struct world *w, const struct run *run, bool ordered)
{
    struct flowq_vm_config cfg = {.size = sizeof(cfg),
                                  .max_queue_pairs = MODEL_RING_QUEUES,
                                  .max_flows = 4096,
                                  .ordered = ordered ? FLOWQ_ON : FLOWQ_OFF,
                                  .ordered_max_us = run->max_us ? run->max_us : 1000000,
                                  .ordered_settle_us = run->settle_us,
                                  .ordered_flows = run->ordered_flows ? run->ordered_flows : ROOMY,
                                  .clock_ns = world_clock,
                                  .clock_ctx = w};
    struct flowq_vm *vm;
    for (unsigned i = 0; i < FLOWQ_SECRET_SIZE; i++)
        cfg.secret[i] = (uint8_t)rng_next(&w->rng);
    ck_assert_int_eq(flowq_vm_create(&cfg, &vm), 0);
    flowq_vm_set_queue_pairs(vm, MODEL_RING_QUEUES);
    return vm;
}

static void world_make(struct world *w, const struct run *run, bool ordered, uint64_t from)
{
    memset(w, 0, sizeof(*w));
    w->run = run;
    w->rng.state = from;
    w->now_ns = UINT64_C(1) << 40;
    w->vm = world_vm(w, run, ordered);
    w->honest = world_vm(w, run, ordered);
    for (unsigned q = 0; q < MODEL_RING_QUEUES; q++) {
        w->rings[q].base = run->wraps ? (uint32_t)0 - rng_below(&w->rng, 3000) : rng_below(&w->rng, 70000);
        if (ordered) {
            ck_assert_int_eq(flowq_vm_ring_restart(w->vm, q, w->rings[q].base), 0);
            ck_assert_int_eq(flowq_vm_ring_restart(w->honest, q, w->honest_rings[q].base), 0);
        }
    }
    for (unsigned i = 0; i < N_FLOWS; i++) {
        w->flows[i].ring = w->honest_flows[i].ring = -1;
        w->noted[i] = FLOWQ_DROP;
    }
}

static void world_free(struct world *w)
{
    flowq_vm_destroy(w->vm);
    flowq_vm_destroy(w->honest);
}

/* ---- Steps -------------------------------------------------------------------------------------------------------------- */

static unsigned n_in_use(const struct world *w)
{
    unsigned n = 0;
    for (unsigned q = 0; q < MODEL_RING_QUEUES; q++)
        n += !w->off[q];
    return n;
}

/* The VM sends on some queue, mostly a packet, sometimes more; sometimes it comes back to the queue of before. */
static void step_notes(struct world *w)
{
    if (rng_below(&w->rng, 1000) >= w->run->moves)
        return;
    uint32_t flow = rng_below(&w->rng, w->run->flows), n = rng_percent(&w->rng, 20) ? 3 : 1;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t qid = rng_below(&w->rng, MODEL_RING_QUEUES);
        struct flowq_pkt pkt = frame_pkt(&sent[flow]);
        if (rng_percent(&w->rng, 30)) {
            flowq_tx_note_burst(w->vm, &pkt, 1, qid);
        } else {
            uint32_t r = flowq_tx_note(w->vm, &pkt, qid), outcome = r & FLOWQ_NOTE_OUTCOME, from = r >> FLOWQ_NOTE_FROM_SHIFT;
            must(outcome < FLOWQ_NOTE_SLOTS, "an outcome");
            must(!(r & FLOWQ_NOTE_PENDING) || (from != qid && from < MODEL_RING_QUEUES), "where it comes from");
            must(r & FLOWQ_NOTE_PENDING || from == 0, "nothing else");
            w->n_pending_notes += (r & FLOWQ_NOTE_PENDING) != 0;
        }
        flowq_tx_note(w->honest, &pkt, rng_below(&w->rng, MODEL_RING_QUEUES));
        if (!w->off[qid] && n_in_use(w) > 1)
            w->noted[flow] = (uint16_t)qid;
    }
}

static void report(struct flowq_vm *vm, const struct model_ring *rings, uint32_t qid)
{
    (void)flowq_vm_ring_report(vm, qid, model_ring_filled(&rings[qid]), model_ring_seen(&rings[qid]));
}

static void step_guest(struct world *w)
{
    for (unsigned q = 0; q < MODEL_RING_QUEUES; q++) {
        model_ring_take(&w->rings[q], rng_below(&w->rng, w->run->guest_takes + 1), rng_below(&w->rng, w->run->unpublished + 1));
        model_ring_take(&w->honest_rings[q], rng_below(&w->rng, w->run->guest_takes + 1), 0);
        if (!rng_percent(&w->rng, w->run->looks))
            continue;
        model_ring_see(&w->rings[q], rng_below(&w->rng, w->run->stale_by + 1));
        model_ring_see(&w->honest_rings[q], 0);
        report(w->vm, w->rings, q);
        report(w->honest, w->honest_rings, q);
        if (w->run->stale_by && rng_percent(&w->rng, 30)) /* another thread, that has looked before */
            (void)flowq_vm_ring_report(w->vm, q, model_ring_filled(&w->rings[q]) - rng_below(&w->rng, 200),
                                       model_ring_seen(&w->rings[q]) - rng_below(&w->rng, 200));
        if (w->run->lies && rng_percent(&w->rng, 30))
            (void)flowq_vm_ring_report(w->vm, q, model_ring_filled(&w->rings[q]), (uint32_t)rng_next(&w->rng));
    }
}

/* What comes of these is an exception: nothing is made of the flows where they were. */
static void step_setters(struct world *w)
{
    uint32_t q = rng_below(&w->rng, MODEL_RING_QUEUES);
    if (!w->run->setters || !rng_percent(&w->rng, 2))
        return;
    if (rng_percent(&w->rng, 30)) {
        w->rings[q] = (struct model_ring){.base = (uint32_t)rng_next(&w->rng)};
        (void)flowq_vm_ring_restart(w->vm, q, w->rings[q].base);
    } else {
        w->off[q] = !w->off[q];
        flowq_vm_set_queue_enabled(w->vm, q, !w->off[q]);
    }
    for (unsigned i = 0; i < N_FLOWS; i++)
        w->flows[i].ring = -1;
}

struct burst {
    uint32_t n, flow[MAX_BURST];
    uint16_t qid[MAX_BURST];
    struct flowq_pkt pkt[MAX_BURST];
    struct flowq_vm *vm[MAX_BURST];
};

static void put(struct world *w, const struct burst *b, uint32_t i)
{
    bool honest = b->vm[i] == w->honest;
    uint32_t positions = rng_percent(&w->rng, 70) ? 1 : rng_range(&w->rng, 2, 4), flow = b->flow[i];
    must(b->qid[i] < MODEL_RING_QUEUES ? !w->off[b->qid[i]] || honest : b->qid[i] == FLOWQ_DROP && n_in_use(w) == 0, "in use");
    if (b->qid[i] == FLOWQ_DROP)
        return;
    bool there = honest ? model_ring_put(w->honest_rings, &w->honest_flows[flow], b->qid[i], positions, &w->honest_overtakes)
                        : model_ring_put(w->rings, &w->flows[flow], b->qid[i], positions, &w->overtakes);
    w->n_lost += !there;
    w->n_packets++;
}

/* One queue after another, as hosts do, and whatever the VM sends meanwhile. */
static void put_burst(struct world *w, const struct burst *b)
{
    step_notes(w);
    for (uint32_t q = 0; q <= MODEL_RING_QUEUES; q++)
        for (uint32_t i = 0; i < b->n; i++)
            if (b->qid[i] == (q < MODEL_RING_QUEUES ? q : FLOWQ_DROP))
                put(w, b, i);
    step_notes(w);
    for (uint32_t q = 0; q < MODEL_RING_QUEUES; q++) {
        report(w->vm, w->rings, q);
        report(w->honest, w->honest_rings, q);
    }
    step_notes(w);
}

/* All packets of a flow in one burst went one way. */
static void check_one_way(const struct burst *b)
{
    static uint16_t went[2][N_FLOWS];
    for (uint32_t i = 0; i < b->n; i++)
        went[b->vm[i] == b->vm[0]][b->flow[i]] = b->qid[i];
    for (uint32_t i = 0; i < b->n; i++)
        must(went[b->vm[i] == b->vm[0]][b->flow[i]] == b->qid[i], "a flow goes one way in a burst");
}

static void step_packets(struct world *w)
{
    static struct burst b;
    struct flowq_decision decided[MAX_BURST];
    const enum way way = (enum way)rng_below(&w->rng, N_WAYS);
    b.n = way == BY_PACKET ? 1 : rng_range(&w->rng, 1, w->run->burst);
    for (uint32_t i = 0; i < b.n; i++) {
        b.flow[i] = rng_below(&w->rng, w->run->flows);
        b.pkt[i] = frame_pkt(&arriving[b.flow[i]]);
        b.vm[i] = way == BY_SEVERAL && rng_percent(&w->rng, 50) ? w->honest : w->vm;
    }
    if (way == BY_BURST)
        flowq_rx_steer_burst(w->vm, b.pkt, b.n, b.qid);
    else if (way == BY_PACKET)
        b.qid[0] = flowq_rx_steer(w->vm, b.pkt);
    else if (way == BY_SEVERAL)
        flowq_rx_steer_burst_vms(b.vm, b.pkt, b.n, b.qid);
    else
        flowq_rx_decide_burst(w->vm, b.pkt, b.n, decided);
    for (uint32_t i = 0; way == BY_DECISION && i < b.n; i++)
        b.qid[i] = decided[i].qid;
    check_one_way(&b);
    put_burst(w, &b);
}

/* Positions are the setting's own; without it they are -ENOTSUP. */
static void play(struct world *w, uint64_t n_packets)
{
    for (uint64_t steps = 0; w->n_packets < n_packets && steps < n_packets; steps++) {
        w->now_ns += w->run->step_us * UINT64_C(1000);
        step_setters(w);
        step_notes(w);
        step_guest(w);
        step_packets(w);
    }
}

/* ---- What must hold ----------------------------------------------------------------------------------------------------- */

static void check_counters(const struct world *w, struct flowq_vm *vm, const struct flowq_stats *s)
{
    ck_assert_uint_eq(s->ordered_begun, s->ordered_done + s->ordered_back + s->ordered_forced + s->ordered_lapsed +
                                            s->ordered_off + s->ordered_pending);
    if (vm == w->vm && w->n_pending_notes)
        ck_assert_uint_gt(s->ordered_begun, 0);
    if (!w->run->exceptions)
        ck_assert_uint_eq(s->ordered_forced + s->ordered_lapsed, 0);
    if (!w->run->exceptions && !w->run->setters)
        ck_assert_uint_eq(s->ordered_full + s->ordered_off, 0);
}

/* The queue that a flow was last noted on is its binding's, whether it has got there or not. */
static void check_bindings(const struct world *w)
{
    for (unsigned i = 0; i < w->run->flows; i++) {
        struct flowq_binding binding = {.size = sizeof(binding)};
        if (w->noted[i] != FLOWQ_DROP && flowq_vm_lookup(w->vm, &tuples[i], &binding) == 0)
            ck_assert_uint_eq(binding.qid, w->noted[i]);
    }
}

static uint64_t check_run(const struct run *run, uint64_t from, uint64_t n_packets)
{
    static struct world w, without;
    struct flowq_stats s = {.size = sizeof(s)}, honest = {.size = sizeof(honest)};
    world_make(&without, run, false, from);
    for (uint64_t tenths = 1; without.overtakes == 0 && tenths <= 100; tenths++) /* a short form may be too short */
        play(&without, tenths * n_packets / 10);
    world_make(&w, run, true, from);
    play(&w, n_packets);
    ck_assert_int_eq(flowq_vm_stats(w.vm, &s), 0);
    ck_assert_int_eq(flowq_vm_stats(w.honest, &honest), 0);
    printf("%-20s %9" PRIu64 " packets %8" PRIu64 " moves: %" PRIu64 " overtake (without: %" PRIu64 " of %" PRIu64 "); %" PRIu64
           " held back, forced %" PRIu64 ", full %" PRIu64 ", lost %" PRIu64 "\n",
           run->name, w.n_packets, s.ordered_begun, w.overtakes, without.overtakes, without.n_packets, s.ordered_held,
           s.ordered_forced, s.ordered_full, w.n_lost);
    check_counters(&w, w.vm, &s);
    check_counters(&w, w.honest, &honest);
    check_bindings(&w);
    if (run->exceptions)
        ck_assert_uint_le(w.overtakes + w.honest_overtakes,
                          s.ordered_forced + s.ordered_full + honest.ordered_forced + honest.ordered_full);
    else if (!run->lies)
        ck_assert_uint_eq(w.overtakes, 0);
    if (!run->exceptions)
        ck_assert_uint_eq(w.honest_overtakes, 0);
    ck_assert_uint_gt(without.overtakes, 0);
    uint64_t moves = s.ordered_begun;
    world_free(&w);
    world_free(&without);
    return moves;
}

START_TEST(nobody_overtakes)
{
    const uint64_t n = (seed_long() ? UINT64_C(100000000) : UINT64_C(10000000)) / N_RUNS / SEED_SLOWNESS;
    ck_assert_uint_gt(check_run(&runs[_i], seed + (uint64_t)_i, n), 0);
}
END_TEST

/* ---- By hand ------------------------------------------------------------------------------------------------------------ */

static const struct run by_hand = {.name = "by hand"};
static struct world hand;

/* By a single call, by bursts that have ways of their own where the setting is off, by a longer one, and by bursts for several
   vms, of one batch and of two. */
enum { FOR_SEVERAL = 100, HAND_MOST = 40 };
static const uint32_t hand_bursts[] = {0, 1, 2, 8, 9, FOR_SEVERAL + 2, FOR_SEVERAL + HAND_MOST};
#define N_HAND_BURSTS ((int)(sizeof(hand_bursts) / sizeof(hand_bursts[0])))
static uint32_t hand_burst;

/* Every other packet goes to the second vm, which knows no flow; the last one to the first. */
static uint16_t steer_several(const struct flowq_pkt *pkts, uint32_t n)
{
    struct flowq_decision out[HAND_MOST];
    struct flowq_vm *vms[HAND_MOST];
    uint16_t qids[HAND_MOST];
    for (uint32_t i = 0; i < n; i++)
        vms[i] = i % 2 == 0 && i + 1 < n ? hand.honest : hand.vm;
    if (n % 4 == 0) {
        flowq_rx_decide_burst_vms(vms, pkts, n, out);
        for (uint32_t i = 0; i < n; i++)
            qids[i] = out[i].qid;
    } else
        flowq_rx_steer_burst_vms(vms, pkts, n, qids);
    for (uint32_t i = 1; i < n; i += 2)
        ck_assert_uint_eq(qids[i], qids[n - 1]);
    return qids[n - 1];
}

static uint16_t steer_burst(uint32_t flow)
{
    struct flowq_pkt pkts[HAND_MOST];
    uint16_t qids[9];
    for (unsigned i = 0; i < HAND_MOST; i++)
        pkts[i] = frame_pkt(&arriving[flow]);
    if (hand_burst == 0)
        return flowq_rx_steer(hand.vm, pkts);
    if (hand_burst > FOR_SEVERAL)
        return steer_several(pkts, hand_burst - FOR_SEVERAL);
    flowq_rx_steer_burst(hand.vm, pkts, hand_burst, qids);
    for (unsigned i = 1; i < hand_burst; i++)
        ck_assert_uint_eq(qids[i], qids[0]);
    return qids[0];
}

static uint32_t note_on(uint32_t flow, uint32_t qid)
{
    struct flowq_pkt pkt = frame_pkt(&sent[flow]);
    return flowq_tx_note(hand.vm, &pkt, qid);
}

static struct flowq_stats hand_stats(void)
{
    struct flowq_stats s = {.size = sizeof(s)};
    ck_assert_int_eq(flowq_vm_stats(hand.vm, &s), 0);
    return s;
}

/* Flow 0 is bound to queue 3, whose ring is filled to 10 and taken to 4. */
static void hand_make(uint32_t burst)
{
    hand_burst = burst;
    world_make(&hand, &by_hand, true, seed);
    note_on(0, 3);
    ck_assert_uint_eq(steer_burst(0), 3);
    ck_assert_uint_eq(note_on(0, 3), FLOWQ_NOTE_REFRESHED);
    ck_assert_int_eq(flowq_vm_ring_restart(hand.vm, 3, 0), 0);
    ck_assert_int_eq(flowq_vm_ring_report(hand.vm, 3, 10, 4), 0);
}

START_TEST(a_move_step_by_step)
{
    hand_make(hand_bursts[_i]);
    ck_assert_uint_eq(note_on(0, 5), FLOWQ_NOTE_MOVED | FLOWQ_NOTE_PENDING | 3u << FLOWQ_NOTE_FROM_SHIFT);
    ck_assert_uint_eq(steer_burst(0), 3); /* which is the 11th position */
    flowq_vm_ring_report(hand.vm, 3, 11, 10);
    steer_burst(1);                           /* the tail is taken here: 11 */
    flowq_vm_ring_report(hand.vm, 3, 30, 10); /* others come behind it */
    ck_assert_uint_eq(note_on(0, 5), FLOWQ_NOTE_REFRESHED | FLOWQ_NOTE_PENDING | 3u << FLOWQ_NOTE_FROM_SHIFT);
    flowq_vm_ring_report(hand.vm, 3, 30, 11);
    ck_assert_uint_eq(steer_burst(0), 5);
    ck_assert_uint_eq(note_on(0, 5), FLOWQ_NOTE_REFRESHED);
    ck_assert_uint_eq(hand_stats().ordered_pending, 0);
    world_free(&hand);
}
END_TEST

/* Mutation: a burst of two batches takes in the second one the tails of what it held back in the first. */
START_TEST(its_own_packets_are_waited_for)
{
    hand_make(hand_bursts[_i]);
    note_on(0, 5);
    ck_assert_uint_eq(steer_burst(0), 3);
    flowq_vm_ring_report(hand.vm, 3, 11, 10);
    ck_assert_uint_eq(steer_burst(0), 3);
    flowq_vm_ring_report(hand.vm, 3, 12, 12);
    ck_assert_uint_eq(steer_burst(0), 5);
    world_free(&hand);
}
END_TEST

START_TEST(a_move_that_is_taken_back)
{
    hand_make(hand_bursts[_i]);
    uint64_t back = hand_stats().ordered_back;
    note_on(0, 5);
    ck_assert_uint_eq(note_on(0, 6), FLOWQ_NOTE_MOVED | FLOWQ_NOTE_PENDING | 3u << FLOWQ_NOTE_FROM_SHIFT);
    ck_assert_uint_eq(note_on(0, 3), FLOWQ_NOTE_MOVED);
    ck_assert_uint_eq(hand_stats().ordered_back, back + 1);
    ck_assert_uint_eq(steer_burst(0), 3);
    world_free(&hand);
}
END_TEST

START_TEST(a_move_that_is_forced)
{
    hand_make(hand_bursts[_i]);
    note_on(0, 5);
    hand.now_ns += UINT64_C(999999999);
    ck_assert_uint_eq(steer_burst(0), 3);
    hand.now_ns += 1; /* the second of world_vm() */
    ck_assert_uint_eq(steer_burst(0), 5);
    ck_assert_uint_eq(hand_stats().ordered_forced, 1);
    world_free(&hand);
}
END_TEST

START_TEST(a_ring_that_begins_anew)
{
    hand_make(hand_bursts[_i]);
    note_on(0, 5);
    ck_assert_uint_eq(steer_burst(0), 3);
    flowq_vm_ring_report(hand.vm, 3, 11, 4);
    steer_burst(1);
    flowq_vm_ring_restart(hand.vm, 3, 0);
    flowq_vm_ring_report(hand.vm, 3, 2, 0);
    ck_assert_uint_eq(steer_burst(0), 5);
    ck_assert_uint_eq(hand_stats().ordered_off, 1);
    world_free(&hand);
}
END_TEST

START_TEST(a_queue_that_goes)
{
    hand_make(hand_bursts[_i]);
    note_on(0, 5);
    ck_assert_uint_eq(steer_burst(0), 3);
    flowq_vm_set_queue_enabled(hand.vm, 3, false);
    ck_assert_uint_eq(steer_burst(0), 5);
    ck_assert_uint_eq(hand_stats().ordered_off, 1);
    world_free(&hand);
}
END_TEST

START_TEST(positions_that_make_no_sense)
{
    hand_make(hand_bursts[_i]);
    flowq_vm_ring_report(hand.vm, 3, 9, 3); /* both are behind: nothing changes */
    note_on(0, 5);
    ck_assert_uint_eq(steer_burst(0), 3);
    flowq_vm_ring_report(hand.vm, 3, 11, 100); /* more than there is: all */
    ck_assert_uint_eq(steer_burst(0), 5);
    ck_assert_int_eq(flowq_vm_ring_report(NULL, 0, 0, 0), -EINVAL);
    ck_assert_int_eq(flowq_vm_ring_report(hand.vm, MODEL_RING_QUEUES, 0, 0), -EINVAL);
    ck_assert_int_eq(flowq_vm_ring_restart(hand.vm, MODEL_RING_QUEUES, 0), -EINVAL);
    world_free(&hand);
    world_make(&hand, &by_hand, false, seed);
    ck_assert_int_eq(flowq_vm_ring_report(hand.vm, 0, 0, 0), -ENOTSUP);
    ck_assert_int_eq(flowq_vm_ring_restart(hand.vm, 0, 0), -ENOTSUP);
    world_free(&hand);
}
END_TEST

/* Of as many queues as there can be, and of numbers of which the last ones fill a word of bits. */
START_TEST(any_number_of_queues)
{
    static const uint32_t pairs[] = {2, 56, 57, 63, 64, 65, 256, 4096, FLOWQ_MAX_QUEUE_PAIRS};
    const uint32_t n = pairs[_i];
    struct flowq_vm_config cfg = {.size = sizeof(cfg), .max_queue_pairs = n, .ordered = FLOWQ_ON};
    struct flowq_pkt out = frame_pkt(&sent[7]), in = frame_pkt(&arriving[7]);
    struct flowq_vm *vm;
    ck_assert_int_eq(flowq_vm_create(&cfg, &vm), 0);
    flowq_vm_set_queue_pairs(vm, n);
    for (uint32_t qid = n - 1, i = 0; i < 2; i++, qid = 0) {
        flowq_tx_note(vm, &out, qid);
        ck_assert_uint_eq(flowq_rx_steer(vm, &in), qid);
    }
    flowq_vm_ring_report(vm, 0, 5, 0);
    ck_assert_uint_eq(flowq_tx_note(vm, &out, n - 1), FLOWQ_NOTE_MOVED | FLOWQ_NOTE_PENDING);
    ck_assert_uint_eq(flowq_rx_steer(vm, &in), 0);
    flowq_vm_ring_report(vm, 0, 6, 6);
    ck_assert_uint_eq(flowq_rx_steer(vm, &in), n - 1);
    ck_assert_uint_eq(flowq_tx_note(vm, &out, n), FLOWQ_NOTE_NOT_IN_USE);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, n + 1), -EINVAL);
    ck_assert_int_eq(flowq_vm_set_queue_enabled(vm, n, true), -EINVAL);
    flowq_vm_destroy(vm);
}
END_TEST

START_TEST(not_with_rebind_min)
{
    struct flowq_vm_config cfg = {.size = sizeof(cfg), .ordered = FLOWQ_ON, .rebind_min_tcp_us = 1000};
    struct flowq_vm *vm;
    ck_assert_int_eq(flowq_vm_create(&cfg, &vm), -EINVAL);
}
END_TEST

int main(void)
{
    seed = seed_get("check_ordered");
    make_frames();
    Suite *s = suite_create("ordered");
    TCase *tc = tcase_create("moves");
    tcase_set_timeout(tc, seed_long() ? 3600 : 120);
    tcase_add_loop_test(tc, nobody_overtakes, 0, N_RUNS);
    tcase_add_loop_test(tc, a_move_step_by_step, 0, N_HAND_BURSTS);
    tcase_add_loop_test(tc, its_own_packets_are_waited_for, 0, N_HAND_BURSTS);
    tcase_add_loop_test(tc, a_move_that_is_taken_back, 0, N_HAND_BURSTS);
    tcase_add_loop_test(tc, a_move_that_is_forced, 0, N_HAND_BURSTS);
    tcase_add_loop_test(tc, a_ring_that_begins_anew, 0, N_HAND_BURSTS);
    tcase_add_loop_test(tc, a_queue_that_goes, 0, N_HAND_BURSTS);
    tcase_add_loop_test(tc, positions_that_make_no_sense, 0, N_HAND_BURSTS);
    tcase_add_loop_test(tc, any_number_of_queues, 0, 9);
    tcase_add_test(tc, not_with_rebind_min);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
