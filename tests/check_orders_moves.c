/*
 * check_orders_moves: moves in order (S13, O1 to O5 in ordered.h) under the scheduler of sched.h: notes, steering and reports
 * side by side, and no packet overtakes another (model_ordered.h).
 *
 * Each scenario names the mutations of the library that make it fail; that is what it was tried out with.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "model_ordered.h"
#include "orders.h"

/* Rings, and where the flow's last packet is; what the scenario makes of them. Threads change these between two of their
   steps. */
static struct {
    struct model_ring rings[MODEL_RING_QUEUES];
    struct model_flow flow;
    uint64_t overtakes;
    uint32_t last;       /* the queue of the last note that moved the flow, where one thread notes */
    unsigned n_noters;   /* that move it */
    atomic_u32 turn;     /* whose it is to forward, where two do; by acquire and release, as a host's hand-over is */
    unsigned lag;        /* the guest leaves so many unpublished */
    struct flow *others; /* that fill bursts */
} y;

static void moves_within(struct flowq_vm_config cfg)
{
    cfg.ordered = FLOWQ_ON;
    cfg.ordered_max_us = cfg.ordered_max_us ? cfg.ordered_max_us : 1000000;
    memset(&y, 0, sizeof(y));
    make_with(cfg);
    for (uint32_t q = 0; q < PAIRS; q++) {
        y.rings[q].base = (uint32_t)0 - 2; /* soon past the end of the numbers */
        flowq_vm_ring_restart(x.b.vm, q, y.rings[q].base);
    }
    y.flow.ring = -1;
    y.others = &pool[5][1][0][0];
    x.f[0] = &pool[3][2][0][0];
}

static void report(uint32_t qid)
{
    flowq_vm_ring_report(x.b.vm, qid, model_ring_filled(&y.rings[qid]), model_ring_seen(&y.rings[qid]));
}

static void put(uint16_t qid)
{
    SCHED_CHECK(qid < PAIRS);
    if (qid < PAIRS)
        SCHED_CHECK(model_ring_put(y.rings, &y.flow, qid, 1, &y.overtakes));
    SCHED_CHECK(y.overtakes == 0);
}

/* The flow is bound to queue 1, and a packet of it lies there. */
static void bound_to_1(void)
{
    (void)note(x.f[0], 1); /* it moves from its fallback, which is empty */
    put(decide(x.f[0]).qid);
    report(1);
    if (y.flow.ring != 1)
        abort();
    y.last = 1;
}

static void on_1(void *ctx)
{
    (void)ctx;
    moves_within((struct flowq_vm_config){.initial_flows = 16});
    bound_to_1();
}

static void unbound(void *ctx)
{
    (void)ctx;
    moves_within((struct flowq_vm_config){.initial_flows = 16});
    put(decide(x.f[0]).qid);
    report((uint32_t)y.flow.ring);
    y.last = NOT_YET;
}

/* ---- Threads ------------------------------------------------------------------------------------------------------------ */

/* Two packets of the flow in one burst, which has so many others between them, go one way. */
static void forward_once(unsigned between, bool several)
{
    struct flowq_pkt pkts[2 + 40];
    struct flowq_vm *vms[2 + 40];
    uint16_t qids[2 + 40];
    const unsigned n = between + 2;
    for (unsigned i = 0; i < n; i++) {
        pkts[i] = frame_pkt(i == 0 || i == n - 1 ? &x.f[0]->in : &y.others->in);
        vms[i] = x.b.vm;
    }
    if (several)
        flowq_rx_steer_burst_vms(vms, pkts, n, qids);
    else
        flowq_rx_steer_burst(x.b.vm, pkts, n, qids);
    SCHED_CHECK(qids[0] == qids[n - 1]);
    sched_point();
    put(qids[0]);
    sched_point();
    put(qids[n - 1]);
    sched_point();
    report(qids[0]);
}

static void forward_times(unsigned times, unsigned between, bool several)
{
    for (unsigned i = 0; i < times; i++)
        forward_once(between, several);
}

static void forward(void *ctx)
{
    (void)ctx;
    forward_times(4, 0, false);
}

static void forward_long(void *ctx)
{
    (void)ctx;
    forward_times(2, 31, false);
}

static void forward_several(void *ctx)
{
    (void)ctx;
    forward_times(2, 31, true);
}

static void forward_single(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < 4; i++) {
        uint16_t qid = steer_alone(x.f[0]).qid;
        sched_point();
        put(qid);
        sched_point();
        report(qid);
    }
}

/* Two threads take turns. */
static void forward_in_turn(void *ctx)
{
    const unsigned me = sched_self();
    (void)ctx;
    for (int i = 0; i < 2; i++) {
        while (u32_load_acquire(&y.turn) != me)
            sched_give_up();
        forward_once(0, false);
        u32_store_release(&y.turn, 1 - me);
    }
}

static void moved(uint32_t r, uint32_t qid)
{
    uint32_t outcome = r & FLOWQ_NOTE_OUTCOME;
    SCHED_CHECK(outcome == FLOWQ_NOTE_MOVED || outcome == FLOWQ_NOTE_REFRESHED || outcome == FLOWQ_NOTE_BOUND ||
                outcome == FLOWQ_NOTE_BUSY);
    if (outcome != FLOWQ_NOTE_BUSY)
        y.last = qid;
}

static void move_to(uint32_t qid) { moved(note(x.f[0], qid), qid); }

static void move_2(void *ctx)
{
    (void)ctx;
    move_to(2);
}

static void move_3(void *ctx)
{
    (void)ctx;
    move_to(3);
}

static void move_2_3(void *ctx)
{
    (void)ctx;
    move_to(2);
    move_to(3);
}

static void move_there_and_back(void *ctx)
{
    (void)ctx;
    move_to(2);
    move_to(1);
    move_to(2);
}

static void take(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < 3; i++)
        for (uint32_t q = 1; q < 4; q++) {
            model_ring_take(&y.rings[q], 2, y.lag);
            model_ring_see(&y.rings[q], 0);
            sched_point();
            report(q);
        }
}

/* Another thread, which has looked at the rings before, and reports that late. */
static void report_late(void *ctx)
{
    (void)ctx;
    for (uint32_t q = 1; q < 3; q++) {
        uint32_t filled = model_ring_filled(&y.rings[q]), taken = model_ring_seen(&y.rings[q]);
        for (int i = 0; i < 3; i++)
            sched_point();
        flowq_vm_ring_report(x.b.vm, q, filled, taken);
    }
}

/* ---- What must hold ----------------------------------------------------------------------------------------------------- */

static struct flowq_stats stats_now(void)
{
    struct flowq_stats s = {.size = sizeof(s)};
    (void)flowq_vm_stats(x.b.vm, &s);
    return s;
}

/* The guest takes all; the next packets go where the flow was last noted, and nothing is left to wait. */
static void comes_to_rest(void)
{
    struct flowq_stats s;
    for (int i = 0; i < 3; i++) {
        for (uint32_t q = 0; q < PAIRS; q++) {
            model_ring_take(&y.rings[q], MODEL_RING_SIZE, 0);
            model_ring_see(&y.rings[q], 0);
            report(q);
        }
        put(decide(x.f[0]).qid);
        report((uint32_t)y.flow.ring);
    }
    struct flowq_decision bound = look_up(x.f[0]);
    SCHED_CHECK(bound.reason == FLOWQ_REASON_BOUND && bound.qid == y.flow.ring);
    SCHED_CHECK(y.n_noters > 1 || y.last == bound.qid);
    SCHED_CHECK(!ordered_names_move(x.b.vm->ordered, bare_queue(&x.b, x.f[0]->hash)));
    s = stats_now();
    SCHED_CHECK(s.ordered_pending == 0);
    SCHED_CHECK(s.ordered_begun == s.ordered_done + s.ordered_back + s.ordered_forced + s.ordered_lapsed + s.ordered_off);
    SCHED_CHECK(s.ordered_full == 0);
    for (size_t i = 0; i < 1024; i++) /* and every place of a move is free */
        SCHED_CHECK((atomic_load(&x.b.vm->ordered->move[i].step) >> 32 & 7) == 0);
}

static bool in_order(void *ctx)
{
    (void)ctx;
    comes_to_rest();
    struct flowq_stats s = stats_now();
    SCHED_CHECK(s.ordered_forced + s.ordered_lapsed + s.ordered_off == 0);
    return quiet();
}

static bool in_order_by_several(void *ctx)
{
    y.n_noters = 2;
    return in_order(ctx);
}

/* ---- Scenarios ---------------------------------------------------------------------------------------------------------- */

/* Mutations: a call takes what is held back for what another call held (ordered_judge() does not look at `began`); the tail
   is taken when the packet is held back; ordered_publish() raises the clock before the word is written (in ordered_claim()).
   */
START_TEST(a_move_beside_steering)
{
    MUST_HOLD("a move", on_1, in_order, move_2, forward, take);
    MUST_HOLD("a move, long bursts", on_1, in_order, move_2, forward_long, take);
    MUST_HOLD("a move, bursts for several vms", on_1, in_order, move_2, forward_several, take);
    MUST_HOLD("a move, single packets", on_1, in_order, move_2, forward_single, take);
}
END_TEST

/* Mutations: a note stores another `to` instead of comparing and swapping; ordered_update_ended() takes a move that is over
   for one that waits, and changes its `to`. */
START_TEST(moves_beside_steering)
{
    MUST_HOLD("on and on", on_1, in_order, move_2_3, forward, take);
    MUST_HOLD("there and back", on_1, in_order, move_there_and_back, forward, take);
    MUST_HOLD("on and on, long bursts", on_1, in_order, move_2_3, forward_long, take);
}
END_TEST

/* Mutations: a note that loses the word does not free the move it has filled; ordered_finish() stores the word; it goes on to
   ENDED, or frees the move, where the word was only refreshed; ordered_end() and ordered_hold() store. */
START_TEST(two_notes_beside_steering)
{
    MUST_HOLD("two notes", on_1, in_order_by_several, move_2, move_3, forward, take);
    MUST_HOLD("two notes, one comes back", on_1, in_order_by_several, move_there_and_back, move_3, forward_long, take);
}
END_TEST

/* Mutation: note_insert_from() binds at once. */
START_TEST(a_first_note_beside_steering)
{
    MUST_HOLD("a first note", unbound, in_order, move_2_3, forward, take);
    MUST_HOLD("two first notes", unbound, in_order_by_several, move_2, move_3, forward_long, take);
}
END_TEST

/* Mutation: as for a move beside steering. */
START_TEST(two_threads_that_steer_in_turn)
{
    MUST_HOLD("in turn", on_1, in_order, forward_in_turn, forward_in_turn, move_2_3, take);
}
END_TEST

static void publishes_late(void *ctx)
{
    on_1(ctx);
    y.lag = 1;
}

/* Mutation: flowq_vm_ring_report() lets a position go back. */
START_TEST(reports_side_by_side)
{
    MUST_HOLD("late reports", on_1, in_order, move_2, forward, take, report_late);
    MUST_HOLD("a guest that publishes late", publishes_late, in_order, move_2_3, forward, take, report_late);
}
END_TEST

/* Flow and positions as after a note on queue 2 that was seen, and two packets more on queue 1. */
static void moving_on_1(void *ctx)
{
    on_1(ctx);
    move_to(2);
    forward_once(0, false);
}

static void forward_twice(void *ctx)
{
    (void)ctx;
    forward_times(2, 0, false);
}

static void take_some(void *ctx)
{
    (void)ctx;
    model_ring_take(&y.rings[1], 1, 0);
    model_ring_see(&y.rings[1], 0);
    report(1);
}

/* Mutation: flowq_vm_ring_report() stores: a later report is undone. */
START_TEST(a_report_beside_steering) { must_hold_every("a report", 2, moving_on_1, in_order, forward_twice, take_some); }
END_TEST

/* One thread has steered the flow, and steers others now; the other one steers the flow. */
static void steer_others(void *ctx)
{
    (void)ctx;
    struct flowq_pkt pkt = frame_pkt(&y.others->in);
    uint16_t qid;
    forward_once(0, false);
    u32_store_release(&y.turn, 1);
    for (int i = 0; i < 2; i++)
        flowq_rx_steer_burst(x.b.vm, &pkt, 1, &qid);
}

static void take_one_of_1(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < 3; i++)
        take_some(ctx);
}

static void take_over(void *ctx)
{
    (void)ctx;
    while (u32_load_acquire(&y.turn) == 0)
        sched_give_up();
    for (int i = 0; i < 3; i++)
        forward_once(0, false);
}

/* The thread of before takes the tail of what it held back late, when another steers the flow. (That this one does not take it
   for its own, ordered_judge_ring() sees to; without that these orders hold, too.) */
START_TEST(a_thread_that_takes_over)
{
    MUST_HOLD("taken over", moving_on_1, in_order, steer_others, take_over, take_one_of_1);
    MUST_HOLD_WITHIN(5, "taken over, more often", moving_on_1, in_order, steer_others, take_over, take_one_of_1);
}
END_TEST

/* The shard of the flow is split, or it moves aside, while it moves to another queue: its word is frozen for a while. */
static void about_to_split_ordered(void *ctx)
{
    (void)ctx;
    moves_within((struct flowq_vm_config){.ordered_flows = 1024});
    (void)fill_two_lines(0, 4); /* these move, too, from their fallbacks, but nobody steers them */
    if (table_live(x.b.table) != 2 * LINE_SLOTS)
        abort();
    x.f[0] = &pool[0][0][0][0];
    x.f[2] = &pool[4][0][0][7];
    bound_to_1();
}

static void newcomer_ordered(void *ctx)
{
    (void)ctx;
    x.outcome[2] = note(x.f[2], 5) & FLOWQ_NOTE_OUTCOME;
}

static bool in_order_after_split(void *ctx)
{
    (void)ctx;
    struct flowq_stats s;
    for (int i = 0; i < 3; i++) {
        for (uint32_t q = 0; q < PAIRS; q++) {
            model_ring_take(&y.rings[q], MODEL_RING_SIZE, 0);
            model_ring_see(&y.rings[q], 0);
            report(q);
        }
        put(decide(x.f[0]).qid);
        report((uint32_t)y.flow.ring);
    }
    struct flowq_decision bound = look_up(x.f[0]);
    SCHED_CHECK(bound.qid == y.flow.ring && y.last == bound.qid);
    s = stats_now();
    SCHED_CHECK(s.ordered_forced + s.ordered_lapsed + s.ordered_off == 0);
    return quiet();
}

/* Mutations: ordered_finish() writes a frozen word; it frees the move of one. */
START_TEST(a_move_beside_a_split)
{
    MUST_HOLD("a split", about_to_split_ordered, in_order_after_split, newcomer_ordered, move_2, forward, take);
}
END_TEST

/* ---- The bound, and no room --------------------------------------------------------------------------------------------- */

/* Eight flows that nobody steers have all places of their set; the bound has passed for all of them. */
static void all_have_lapsed(void *ctx)
{
    (void)ctx;
    moves_within((struct flowq_vm_config){.initial_flows = 16, .ordered_flows = 8, .ordered_max_us = 1000});
    bound_to_1();
    note(x.f[0], 2);
    y.last = 2;
    for (unsigned i = 0; i < 7; i++)
        for (uint32_t qid = 5; !(note(&pool[i][3][0][0], qid) & FLOWQ_NOTE_PENDING); qid++)
            if (qid == PAIRS)
                abort();
    x.b.now_ns += 2000000;
}

static void newcomer_takes_a_place(void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < 2; i++)
        note(&pool[6][0][0][i], 5 + i);
}

/* Packets may overtake, but not uncounted. */
static bool counted(void *ctx)
{
    (void)ctx;
    struct flowq_stats s = stats_now();
    SCHED_CHECK(s.ordered_begun ==
                s.ordered_done + s.ordered_back + s.ordered_forced + s.ordered_lapsed + s.ordered_off + s.ordered_pending);
    SCHED_CHECK(y.overtakes <= s.ordered_forced + s.ordered_lapsed + s.ordered_full);
    SCHED_CHECK(look_up(x.f[0]).qid == y.last);
    return quiet();
}

static void forward_late(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < 3; i++) {
        uint16_t qid = decide(x.f[0]).qid;
        SCHED_CHECK(qid >= 1 && qid <= 3); /* the flow's, not those of whose moves have the place */
        model_ring_put(y.rings, &y.flow, qid, 1, &y.overtakes);
        sched_point();
        report(qid);
    }
}

/* Mutations: ordered_lapse() does not compare and swap: a move that was steered meanwhile is ended twice; it does not count;
   ordered_step_of() does not look at the key. */
START_TEST(a_place_is_taken_beside_steering)
{
    MUST_HOLD("a place is taken", all_have_lapsed, counted, newcomer_takes_a_place, forward_late, take);
    MUST_HOLD("a place is taken, and moved on", all_have_lapsed, counted, newcomer_takes_a_place, move_3, forward_late);
}
END_TEST

int main(void)
{
    TCase *tc = orders_begin("check_orders_moves");
    tcase_add_test(tc, a_move_beside_steering);
    tcase_add_test(tc, moves_beside_steering);
    tcase_add_test(tc, two_notes_beside_steering);
    tcase_add_test(tc, a_first_note_beside_steering);
    tcase_add_test(tc, two_threads_that_steer_in_turn);
    tcase_add_test(tc, reports_side_by_side);
    tcase_add_test(tc, a_report_beside_steering);
    tcase_add_test(tc, a_thread_that_takes_over);
    tcase_add_test(tc, a_move_beside_a_split);
    tcase_add_test(tc, a_place_is_taken_beside_steering);
    return orders_end("moves in order, in every order", tc);
}
