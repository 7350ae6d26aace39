/*
 * orders: flows that are picked by where their hashes put them, a table of a few lines for them, and what threads do to it under
 * the scheduler. A program that includes this is linked with libflowq_sched and has one run at a time.
 *
 * Everything goes through the public calls, on real packets.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_ORDERS_H
#define FLOWQ_TESTS_ORDERS_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "bare.h"
#include "frames.h"
#include "runner.h"
#include "sched.h"
#include "seed.h"
#include "thread.h"

#define PAIRS   8
#define N_LINES 4

static uint64_t seed;
static bool thorough;
/* Times that every stop is tried with threads that lag (must_hold_every()); in the long form, and for tests/mutate. */
#define LAGS      4
#define LAGS_LONG 40
static unsigned lags;
static uint64_t n_runs = 1500; /* of each scenario; tests/mutate and the long form make more */

/* ---- Flows -------------------------------------------------------------------------------------------------------------- */

struct flow {
    struct flowq_tuple in_tuple;
    struct frame ack, in, error; /* what the VM sends; what it receives; an ICMP error about what it sent */
    uint64_t hash;
};

/* By the top three bits of the hash, which choose the shard; the home line; whether the second line is that one xor 1 or
   xor 3. */
static struct flow pool[8][N_LINES][2][LINE_SLOTS + 1];
static unsigned n_pool[8][N_LINES][2];

static inline uint64_t hash_of(struct flowq_vm *vm, const struct frame *in)
{
    struct parse_rules rules;
    struct parse_result r;
    struct flowq_pkt pkt = frame_pkt(in);
    vm_parse_rules(vm, &rules);
    parse_packet(&pkt, &rules, &r);
    return hash_key(&vm->secret, &r.key);
}

static inline void fill_pool(void)
{
    struct bare b = {.vm = NULL};
    struct flowq_vm_config cfg = {.max_flows = 16, .max_queue_pairs = PAIRS};
    unsigned n = 0;
    if (bare_make(&b, &cfg, PAIRS) != 0 || b.table->line_mask != N_LINES - 1)
        abort();
    for (uint32_t i = 0; n < 8 * N_LINES * 2 * (LINE_SLOTS + 1); i++) {
        struct flowq_tuple t = tuple_v4(FRAME_PROTO_TCP, 0x0a000001, 80, 0xc0a80001 + i / 50000, (uint16_t)(10000 + i % 50000));
        struct flowq_tuple from_router = tuple_v4(FRAME_PROTO_ICMP, 0xc0000201, 0, 0x0a000001, 0);
        struct flow f = {.in_tuple = tuple_reverse(&t)};
        frame_flow(&f.ack, &t, FRAME_ACK);
        frame_flow(&f.in, &f.in_tuple, FRAME_ACK);
        frame_icmp_error(&f.error, &from_router, &t, 28);
        f.hash = hash_of(b.vm, &f.in);
        uint32_t home = (uint32_t)f.hash % N_LINES, far = line_other(b.table->line_mask, f.hash, home) == (home ^ 3);
        unsigned *at = &n_pool[f.hash >> 61][home][far];
        if (*at == LINE_SLOTS + 1)
            continue;
        pool[f.hash >> 61][home][far][(*at)++] = f;
        n++;
    }
    bare_free(&b);
}

/* ---- A run -------------------------------------------------------------------------------------------------------------- */

#define NOT_YET 0xffffu

static struct {
    struct bare b;
    bool made;
    struct flow *f[4];    /* those that the scenario is about */
    uint32_t outcome[8];  /* of notes, by thread */
    uint64_t may;         /* queues that are in use, or are just being made so or not; with a bit for none */
    uint64_t may_have[8]; /* by thread: all that may has been during its call */
    bool missed;          /* a flow was not found */
} x;

static inline uint32_t note(const struct flow *f, uint32_t qid)
{
    struct flowq_pkt pkt = frame_pkt(&f->ack);
    return flowq_tx_note(x.b.vm, &pkt, qid);
}

/* Through the loops for large bursts, to which a packet that is cut short sends even two. */
static inline struct flowq_decision decide_frame(const struct frame *f)
{
    struct flowq_pkt pkts[2] = {frame_pkt(f), {.data = f->bytes, .len = 0}};
    struct flowq_decision d[2];
    flowq_rx_decide_burst(x.b.vm, pkts, 2, d);
    return d[0];
}

static inline struct flowq_decision decide(const struct flow *f) { return decide_frame(&f->in); }

/* The same through the other ways to the table. */
static inline struct flowq_decision steer_alone(const struct flow *f)
{
    struct flowq_pkt pkt = frame_pkt(&f->in);
    return (struct flowq_decision){.qid = flowq_rx_steer(x.b.vm, &pkt), .reason = FLOWQ_REASON_BOUND};
}

static inline struct flowq_decision steer_few(const struct flow *f)
{
    struct flowq_pkt pkts[2] = {frame_pkt(&f->in), frame_pkt(&f->in)};
    uint16_t qids[2];
    flowq_rx_steer_burst(x.b.vm, pkts, 2, qids);
    return (struct flowq_decision){.qid = qids[1], .reason = FLOWQ_REASON_BOUND};
}

static inline struct flowq_decision decide_error(const struct flow *f) { return decide_frame(&f->error); }

static inline struct flowq_decision look_up(const struct flow *f)
{
    struct flowq_binding binding = {.size = sizeof(binding)};
    int r = flowq_vm_lookup(x.b.vm, &f->in_tuple, &binding);
    return (struct flowq_decision){.qid = binding.qid, .reason = r ? FLOWQ_REASON_FALLBACK : FLOWQ_REASON_BOUND};
}

/* A vm with room for 16 flows and all its queues in use, PAIRS unless the settings say otherwise. */
static inline void make_with(struct flowq_vm_config cfg)
{
    cfg.max_flows = 16;
    cfg.max_queue_pairs = cfg.max_queue_pairs ? cfg.max_queue_pairs : PAIRS;
    flowq_synchronize();
    if (x.made)
        bare_free(&x.b);
    memset(&x, 0, sizeof(x));
    for (unsigned i = 0; i < 8; i++)
        x.outcome[i] = NOT_YET;
    if (bare_make(&x.b, &cfg, cfg.max_queue_pairs) != 0)
        abort();
    x.made = x.b.quarantine = true;
}

static inline void make(uint32_t initial_flows, uint32_t rebind_us)
{
    make_with((struct flowq_vm_config){
        .initial_flows = initial_flows,
        .rebind_min_tcp_us = rebind_us,
        .virtio_features = FLOWQ_VIRTIO_F_RSS,
    });
}

/* A line's seven places, by flows at home there. */
static inline void fill_line(unsigned top, uint32_t home, unsigned far)
{
    for (unsigned i = 0; i < LINE_SLOTS; i++)
        if (note(&pool[top][home][far][i], 1) != FLOWQ_NOTE_BOUND)
            abort();
}

/* The flow in the first place of a line that fill_line() filled: the first to move aside. */
static inline struct flow *first_of(unsigned top, uint32_t home, unsigned far)
{
    uint64_t word = atomic_load(&shard_line(table_shard(x.b.table, (uint64_t)top << 61), home)->slot[0]);
    unsigned i = 0;
    while ((pool[top][home][far][i].hash ^ word) & x.b.table->tag_mask)
        i++;
    return &pool[top][home][far][i];
}

/* Notes seven flows at home in line 0, and in line 1, in turn of these two tops. The greatest outcome. */
static inline uint32_t fill_two_lines(unsigned even, unsigned odd)
{
    uint32_t worst = FLOWQ_NOTE_BOUND;
    for (unsigned i = 0; i < LINE_SLOTS; i++)
        for (uint32_t home = 0; home < 2; home++) {
            uint32_t outcome = note(&pool[i % 2 ? odd : even][home][0][i], 1);
            worst = outcome > worst ? outcome : worst;
        }
    return worst;
}

/* Lines 0 and 1 are full, of flows in both halves, and have no other places to go to: one more and the shard is split. */
static inline void about_to_split_within(uint32_t rebind_us)
{
    make(0, rebind_us);
    if (fill_two_lines(0, 4) != FLOWQ_NOTE_BOUND)
        abort();
    x.f[0] = &pool[0][0][0][0];
    x.f[1] = &pool[4][1][0][1];
    x.f[2] = &pool[4][0][0][7];
}

/* The directory has four entries, and the shard of flows whose tops are 0 and 1 is full: one more, and it has eight. */
static inline void about_to_widen_within(uint32_t rebind_us)
{
    make(0, rebind_us);
    x.b.table->max_shards = 8;
    for (unsigned top = 4; top > 1; top /= 2)
        if (fill_two_lines(0, top) > FLOWQ_NOTE_MOVED || note(&pool[top][0][0][7], 1) != FLOWQ_NOTE_BOUND)
            abort();
    if (fill_two_lines(0, 1) > FLOWQ_NOTE_MOVED) /* their shard, once more */
        abort();
    x.f[0] = &pool[0][0][0][0];
    x.f[1] = &pool[1][1][0][1];
    x.f[2] = &pool[0][0][0][7];
}

/* Two shards, of whose flows only two are not stale. */
static inline void about_to_merge_within(uint32_t rebind_us)
{
    about_to_split_within(rebind_us);
    if (note(x.f[2], 1) != FLOWQ_NOTE_BOUND || x.b.table->grow.n_shards != 2)
        abort();
    x.b.now_ns += 1900 * BARE_SECOND;
    note(x.f[0], 1);
    note(x.f[1], 1);
    flowq_synchronize();
    table_reclaim(x.b.table);
}

/* Line 0 is full, its flows could go to line 1, which is empty; the newcomer's second line, 3, is full, and its flows
   cannot go. */
static inline void crowd_within(uint32_t rebind_us)
{
    make(16, rebind_us);
    fill_line(0, 0, 0);
    fill_line(0, 3, 1);
    x.f[0] = first_of(0, 0, 0);
    x.f[2] = &pool[0][0][1][0];
}

/* Everything within the newcomer's reach is active, but for one flow that was not noted for a while; it comes first or is
 * displaced. */
static inline void one_may_give_way_within(uint32_t rebind_us)
{
    make(16, rebind_us);
    x.f[0] = &pool[0][0][0][3];
    note(x.f[0], 1);
    x.b.now_ns += 60 * BARE_SECOND;
    for (unsigned i = 0; i < LINE_SLOTS; i++) {
        if (i != 3)
            note(&pool[0][0][0][i], 1);
        note(&pool[0][1][0][i], 1);
    }
    x.f[2] = &pool[0][0][0][7];
}

/* Nothing is left half done: what holds of every table, and nobody used memory after its end. */
static inline bool quiet(void)
{
    const char *wrong = bare_wrong(&x.b);
    x.b.now_ns += BARE_SECOND;
    if (wrong)
        sched_fail(__FILE__, __LINE__, wrong);
    x.made = false;
    return bare_free(&x.b) && !wrong;
}

/* A flow that was on queue 1 and was noted on 2 meanwhile, or would have been. */
static inline void came_out(const struct flow *f, uint32_t outcome)
{
    uint32_t qid = bare_queue(&x.b, f->hash);
    SCHED_CHECK(outcome == FLOWQ_NOTE_MOVED || outcome == FLOWQ_NOTE_BUSY);
    SCHED_CHECK(qid == (outcome == FLOWQ_NOTE_MOVED ? 2 : 1));
}

/* What a note came to, by thread; others that go by it hear of it (tests/sched.h: keys). */
static inline void came_to(unsigned thread, uint32_t outcome)
{
    x.outcome[thread] = outcome;
    sched_release(&x.outcome[thread]);
}

/* Has the note of that thread returned, with this outcome? Then whoever asks comes after it. */
static inline bool has_come_to(unsigned thread, uint32_t outcome)
{
    if (x.outcome[thread] != outcome)
        return false;
    sched_acquire(&x.outcome[thread]);
    return true;
}

/* A flow, f[0] or f[1], that is bound all the time is never steered otherwise, and its queue changes from 1 to 2 once: before the
   note that moves it, its thread's, has returned. */
static inline void watch(const struct flow *f, struct flowq_decision (*way)(const struct flow *f), uint8_t reason)
{
    const unsigned noter = f == x.f[0] ? 0 : 1;
    uint16_t last = 1;
    for (int i = 0; i < 3; i++) {
        if (has_come_to(noter, FLOWQ_NOTE_MOVED))
            last = 2;
        struct flowq_decision d = way(f);
        SCHED_CHECK(d.reason == reason);
        SCHED_CHECK(d.qid == 1 || d.qid == 2);
        SCHED_CHECK(d.qid >= last);
        last = d.qid;
    }
}

static inline void watch_0(void *ctx)
{
    (void)ctx;
    watch(x.f[0], decide, FLOWQ_REASON_BOUND);
}
static inline void watch_1(void *ctx)
{
    (void)ctx;
    watch(x.f[1], decide, FLOWQ_REASON_BOUND);
}
static inline void watch_alone_0(void *ctx)
{
    (void)ctx;
    watch(x.f[0], steer_alone, FLOWQ_REASON_BOUND);
}
static inline void watch_alone_1(void *ctx)
{
    (void)ctx;
    watch(x.f[1], steer_few, FLOWQ_REASON_BOUND);
}
static inline void watch_errors_0(void *ctx)
{
    (void)ctx;
    watch(x.f[0], decide_error, FLOWQ_REASON_ICMP_ERROR);
}
static inline void look_up_0(void *ctx)
{
    (void)ctx;
    watch(x.f[0], look_up, FLOWQ_REASON_BOUND);
}
static inline void rebind_0(void *ctx)
{
    (void)ctx;
    came_to(0, note(x.f[0], 2));
}
static inline void rebind_1(void *ctx)
{
    (void)ctx;
    came_to(1, note(x.f[1], 2));
}
static inline void newcomer_2(void *ctx)
{
    (void)ctx;
    came_to(2, note(x.f[2], 5));
}

/* The second call frees what the first one superseded. */
static inline void maintain(void *ctx)
{
    (void)ctx;
    flowq_vm_maintain(x.b.vm);
    flowq_vm_maintain(x.b.vm);
}

/* Runs the threads in orders that the seed chooses: "prepare" comes before each run, "judge" after it. */
#define MUST_HOLD(what, prepare, judge, ...) MUST_HOLD_WITHIN(SCHED_PREEMPTIONS, what, prepare, judge, __VA_ARGS__)
#define MUST_HOLD_WITHIN(preemptions, what, prepare, judge, ...)                                                                 \
    must_hold((struct sched_scenario){                                                                                           \
        .name = what, .thread = {__VA_ARGS__}, .setup = prepare, .check = judge, .max_preemptions = preemptions})

/* FLOWQ_SCENARIO=text: of those scenarios alone that have it in their names. */
static inline bool is_wanted(const char *what)
{
    const char *only = getenv("FLOWQ_SCENARIO");
    return only == NULL || strstr(what, only) != NULL;
}

static inline void must_hold(struct sched_scenario scenario)
{
    uint64_t bad = 0;
    if (!is_wanted(scenario.name))
        return;
    while (scenario.n_threads < SCHED_MAX_THREADS && scenario.thread[scenario.n_threads])
        scenario.n_threads++;
    if (sched_explore(&scenario, NULL, seed, n_runs, &bad))
        return;
    sched_print(stdout);
    fflush(stdout);
    ck_abort_msg("%s: seed %llu", scenario.name, (unsigned long long)bad);
}

/* The same of two threads, the first of which stops at each of its steps once, and the other one, if `stops` is 2, at each of its
   own: what it takes both to be at one step for is not left to the seed. Of two stops, each second one (in sanitizers' runs: each
   8th), beginning as the seed says; all in the long form. Before that, of one stop, with threads that lag. Then by seeds. */
static inline void must_hold_every(const char *what, unsigned stops, void (*prepare)(void *ctx), bool (*judge)(void *ctx),
                                   void (*first)(void *ctx), void (*other)(void *ctx))
{
    struct sched_scenario scenario = {.name = what,
                                      .n_threads = 2,
                                      .thread = {first, other},
                                      .setup = prepare,
                                      .check = judge,
                                      .max_preemptions = stops,
                                      .of_every = true};
    const unsigned step = stops == 2 && !thorough && SEED_SLOWNESS == 1 ? 2 : SEED_SLOWNESS;
    uint64_t bad = 0;
    bool held = is_wanted(what);
    if (!held)
        return;
    scenario.max_preemptions = 1; /* what the other one has stored is seen late without stopping it, too */
    for (scenario.all_lag = lags; held && scenario.all_lag > 0; scenario.all_lag--)
        held = sched_explore_every(&scenario, NULL, seed, SEED_SLOWNESS, &bad);
    scenario.max_preemptions = stops;
    if (lags == LAGS_LONG && stops > 1) {
        scenario.all_lag = lags + 1;
        held = held && sched_explore_every(&scenario, NULL, seed, SEED_SLOWNESS, &bad);
        scenario.all_lag = 0;
    }
    held = held && sched_explore_every(&scenario, NULL, seed, step, &bad);
    if (!held) {
        sched_print(stdout);
        fflush(stdout);
        ck_abort_msg("%s: order %llx", what, (unsigned long long)bad);
    }
    MUST_HOLD(what, prepare, judge, first, other);
}

/* ---- The program -------------------------------------------------------------------------------------------------------- */

/* Before any scenario: the seed, the flows; where the tests go. */
static inline TCase *orders_begin(const char *program)
{
    seed = seed_get(program);
    const char *runs = getenv("FLOWQ_RUNS"); /* of each scenario: tests/mutate */
    lags = runs || seed_long() ? LAGS_LONG : LAGS;
    thorough = seed_long();
    n_runs = (runs ? strtoull(runs, NULL, 0) : seed_long() ? 200 * n_runs : n_runs) / SEED_SLOWNESS;
    fill_pool();
    TCase *tc = tcase_create(program);
    tcase_set_timeout(tc, seed_long() ? 1200 : 240);
    return tc;
}

/* Runs them; the program's exit status. */
static inline int orders_end(const char *program, TCase *tc)
{
    Suite *suite = suite_create(program);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}

#endif
