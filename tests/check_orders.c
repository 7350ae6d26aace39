/*
 * check_orders: the ordering guarantees of the table, T-A to T-E, of binding times, N-A, and of queues, Q-A, and rule S12, under the
 * scheduler of sched.h. (T-F needs no scheduler: check_table.)
 *
 * Everything goes through the public calls, on real packets; the library is the one compiled with -DFLOWQ_SCHED. The table is a few
 * lines small, its secret fixed, and flows are picked by where their hashes put them: see pool.
 *
 * Each scenario names the mutations of the library that make it fail; that is what it was tried out with. One that no mutation makes
 * fail shows nothing.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "bare.h"
#include "frames.h"
#include "sched.h"
#include "seed.h"
#include "thread.h"

#define PAIRS 8
#define N_LINES 4

static uint64_t seed;
static uint64_t n_runs = 6000;

/* ---- Flows ------------------------------------------------------------------------------------------------------------------------- */

struct flow {
    struct flowq_tuple in_tuple;
    struct frame ack, in, error; /* what the VM sends; what it receives; an ICMP error about what it sent */
    uint64_t hash;
};

/* By the top three bits of the hash, which choose the shard; the home line; whether the second line is that one xor 1 or xor 3. */
static struct flow pool[8][N_LINES][2][LINE_SLOTS + 1];
static unsigned n_pool[8][N_LINES][2];

static uint64_t hash_of(struct flowq_vm *vm, const struct frame *in)
{
    struct parse_rules rules = vm_parse_rules(vm);
    struct parse_result r;
    struct flowq_pkt pkt = frame_pkt(in);
    parse_packet(&pkt, &rules, &r);
    return hash_key(&vm->secret, &r.key);
}

static void fill_pool(void)
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
        uint32_t home = (uint32_t)f.hash % N_LINES, far = other_line(b.table, f.hash, home) == (home ^ 3);
        unsigned *at = &n_pool[f.hash >> 61][home][far];
        if (*at == LINE_SLOTS + 1)
            continue;
        pool[f.hash >> 61][home][far][(*at)++] = f;
        n++;
    }
    bare_free(&b);
}

/* ---- A run -------------------------------------------------------------------------------------------------------------------------- */

#define NOT_YET 0xffffu

static struct {
    struct bare b;
    bool made;
    struct flow *f[4];   /* those that the scenario is about */
    uint32_t outcome[8]; /* of notes, by thread */
    uint64_t may;        /* queues that are in use, or are just being made so or not; with a bit for none */
    uint64_t may_have[8]; /* by thread: all that may has been during its call */
    uint64_t bytes;
} x;

static uint32_t note(const struct flow *f, uint32_t qid)
{
    struct flowq_pkt pkt = frame_pkt(&f->ack);
    return flowq_tx_note(x.b.vm, &pkt, qid);
}

static struct flowq_decision decide_frame(const struct frame *f)
{
    struct flowq_pkt pkt = frame_pkt(f);
    struct flowq_decision d;
    flowq_rx_decide_burst(x.b.vm, &pkt, 1, &d);
    return d;
}

static struct flowq_decision decide(const struct flow *f) { return decide_frame(&f->in); }

/* The same through the other two ways to the table. */
static struct flowq_decision decide_error(const struct flow *f) { return decide_frame(&f->error); }

static struct flowq_decision look_up(const struct flow *f)
{
    struct flowq_binding binding = {.size = sizeof(binding)};
    int r = flowq_vm_lookup(x.b.vm, &f->in_tuple, &binding);
    return (struct flowq_decision){.qid = binding.qid, .reason = r ? FLOWQ_REASON_FALLBACK : FLOWQ_REASON_BOUND};
}

static void make(uint32_t initial_flows, uint32_t rebind_us)
{
    struct flowq_vm_config cfg = {.max_flows = 16, .max_queue_pairs = PAIRS, .initial_flows = initial_flows, .rebind_min_tcp_us = rebind_us};
    flowq_synchronize();
    if (x.made)
        bare_free(&x.b);
    memset(&x, 0, sizeof(x));
    for (unsigned i = 0; i < 8; i++)
        x.outcome[i] = NOT_YET;
    if (bare_make(&x.b, &cfg, PAIRS) != 0)
        abort();
    x.made = x.b.quarantine = true;
}

/* A line's seven places, by flows at home there. */
static void fill_line(unsigned top, uint32_t home, unsigned far)
{
    for (unsigned i = 0; i < LINE_SLOTS; i++)
        if (note(&pool[top][home][far][i], 1) != FLOWQ_NOTE_BOUND)
            abort();
}

/* The flow in the first place of a line that fill_line() filled: the first to move aside. */
static struct flow *first_of(unsigned top, uint32_t home, unsigned far)
{
    uint64_t word = atomic_load(&table_shard(x.b.table, (uint64_t)top << 61)->line[home].slot[0]);
    unsigned i = 0;
    while ((pool[top][home][far][i].hash ^ word) & x.b.table->tag_mask)
        i++;
    return &pool[top][home][far][i];
}

/* Nothing is left half done: what holds of every table, and nobody used memory after its end. */
static bool quiet(void)
{
    const char *wrong = bare_wrong(&x.b);
    x.b.now_ns += BARE_SECOND;
    if (wrong)
        sched_fail(__FILE__, __LINE__, wrong);
    x.made = false;
    return bare_free(&x.b) && !wrong;
}

/* A flow that was on queue 1 and was noted on 2 meanwhile, or would have been. */
static void came_out(const struct flow *f, uint32_t outcome)
{
    uint32_t qid = bare_queue(&x.b, f->hash);
    SCHED_CHECK(outcome == FLOWQ_NOTE_MOVED || outcome == FLOWQ_NOTE_BUSY);
    SCHED_CHECK(qid == (outcome == FLOWQ_NOTE_MOVED ? 2 : 1));
}

/* A flow that is bound all the time is never steered otherwise, and its queue changes from 1 to 2 once. */
static void watch(const struct flow *f, struct flowq_decision (*way)(const struct flow *f), uint8_t reason)
{
    uint16_t last = 1;
    for (int i = 0; i < 3; i++) {
        struct flowq_decision d = way(f);
        SCHED_CHECK(d.reason == reason);
        SCHED_CHECK(d.qid == 1 || d.qid == 2);
        SCHED_CHECK(d.qid >= last);
        last = d.qid;
    }
}

static void watch_0(void *ctx) { (void)ctx; watch(x.f[0], decide, FLOWQ_REASON_BOUND); }
static void watch_1(void *ctx) { (void)ctx; watch(x.f[1], decide, FLOWQ_REASON_BOUND); }
static void watch_errors_0(void *ctx) { (void)ctx; watch(x.f[0], decide_error, FLOWQ_REASON_ICMP_ERROR); }
static void look_up_0(void *ctx) { (void)ctx; watch(x.f[0], look_up, FLOWQ_REASON_BOUND); }
static void rebind_0(void *ctx) { (void)ctx; x.outcome[0] = note(x.f[0], 2); }
static void rebind_1(void *ctx) { (void)ctx; x.outcome[1] = note(x.f[1], 2); }
static void newcomer_2(void *ctx) { (void)ctx; x.outcome[2] = note(x.f[2], 5); }

/* The second call frees what the first one superseded. */
static void maintain(void *ctx)
{
    (void)ctx;
    flowq_vm_maintain(x.b.vm);
    flowq_vm_maintain(x.b.vm);
}

static void must_hold(const struct sched_scenario *scenario)
{
    uint64_t bad;
    if (sched_explore(scenario, NULL, seed, n_runs, &bad))
        return;
    sched_print(stdout);
    fflush(stdout);
    ck_abort_msg("%s: seed %llu", scenario->name, (unsigned long long)bad);
}

/* ---- T-A, T-B: moving aside -------------------------------------------------------------------------------------------------------- */

/* Line 0 is full, its flows could go to line 1, which is empty; the newcomer's second line, 3, is full, and its flows cannot go. */
static void crowd(void *ctx)
{
    (void)ctx;
    make(16, 0);
    fill_line(0, 0, 0);
    fill_line(0, 3, 1);
    x.f[0] = first_of(0, 0, 0);
    x.f[2] = &pool[0][0][1][0];
}

static bool crowd_check(void *ctx)
{
    (void)ctx;
    came_out(x.f[0], x.outcome[0]);
    SCHED_CHECK(x.outcome[2] == FLOWQ_NOTE_BOUND);
    SCHED_CHECK(bare_queue(&x.b, x.f[2]->hash) == 5);
    SCHED_CHECK(bare_find(&x.b, x.f[0]->hash) & WORD_SECONDARY);
    return quiet();
}

/*
 * Mutations: move_aside() copies without slot_freeze(): the rebind is lost (T-A). It counts the flow in the service word only after
 * take_left(): steering sees an unbound flow (T-B). shard_find(), or look_again(), reads the service word before the slots: the same.
 */
START_TEST(rebind_and_steer_while_moving_aside)
{
    struct sched_scenario s = {.name = "moving aside", .n_threads = 4, .thread = {newcomer_2, rebind_0, watch_0, watch_0}, .setup = crowd,
                               .check = crowd_check};
    must_hold(&s);
    s.name = "moving aside, errors";
    s.thread[2] = watch_errors_0;
    s.thread[3] = look_up_0;
    must_hold(&s);
}
END_TEST

/* A walk over all flows meets one that moves aside meanwhile. Mutation: table_each() goes over all slots of each line at once. */
static int look_for(void *ctx, const struct flowq_binding *binding)
{
    bool *found = ctx;
    *found = *found || binding->id == (x.f[0]->hash & x.b.table->tag_mask);
    return 0;
}

static void walk(void *ctx)
{
    bool found = false;
    (void)ctx;
    SCHED_CHECK(flowq_vm_flows(x.b.vm, look_for, &found) == 0);
    SCHED_CHECK(found);
}

/* As crowd(), the other way up: the line that the flow goes to comes before its home. */
static void crowd_backwards(void *ctx)
{
    (void)ctx;
    make(16, 0);
    fill_line(0, 1, 0);
    fill_line(0, 2, 1);
    x.f[0] = first_of(0, 1, 0);
    x.f[2] = &pool[0][1][1][0];
}

START_TEST(walk_while_moving_aside)
{
    struct sched_scenario s = {.name = "walking", .n_threads = 4, .thread = {newcomer_2, rebind_0, walk, walk}, .setup = crowd_backwards,
                               .check = crowd_check};
    must_hold(&s);
}
END_TEST

/* ---- T-D, T-E: splitting ------------------------------------------------------------------------------------------------------------ */

/* Lines 0 and 1 are full, of flows in both halves, and have no other places to go to: one more and the shard is split. */
static void about_to_split(void *ctx)
{
    (void)ctx;
    make(0, 0);
    for (unsigned i = 0; i < LINE_SLOTS; i++)
        for (uint32_t home = 0; home < 2; home++)
            if (note(&pool[i % 2 ? 4 : 0][home][0][i], 1) != FLOWQ_NOTE_BOUND)
                abort();
    x.f[0] = &pool[0][0][0][0];
    x.f[1] = &pool[4][1][0][1];
    x.f[2] = &pool[4][0][0][7];
}

static bool split_check(void *ctx)
{
    (void)ctx;
    came_out(x.f[0], x.outcome[0]);
    came_out(x.f[1], x.outcome[1]);
    SCHED_CHECK(x.outcome[2] == FLOWQ_NOTE_BOUND || x.outcome[2] == FLOWQ_NOTE_BUSY);
    SCHED_CHECK(x.b.table->grow.n_shards == 2 || x.outcome[2] == FLOWQ_NOTE_BUSY);
    return quiet();
}

/*
 * Mutations: split_flows() copies without slot_freeze(): a rebind is lost; split_locked() names the halves before it fills them: a flow
 * is not found (T-D). table_retire_shard() stamps with 0: memory is used after its end (T-E).
 */
START_TEST(rebind_and_steer_while_splitting)
{
    struct sched_scenario s = {.name = "splitting", .n_threads = 5, .thread = {newcomer_2, rebind_0, rebind_1, watch_0, watch_1},
                               .setup = about_to_split, .check = split_check};
    must_hold(&s);
}
END_TEST

/* A reader that has just taken the shard, and stops there until everybody else has got on as far as they can. */
static void hold_0(void *ctx)
{
    struct thread *t = thread_self();
    (void)ctx;
    thread_enter(t);
    struct shard *s = table_shard(x.b.table, x.f[0]->hash);
    sched_give_up();
    struct place p = shard_find(x.b.table, s, x.f[0]->hash);
    SCHED_CHECK(p.slot && word_queue(x.b.table, p.word) == 1);
    thread_leave(t);
}

static bool split_alone_check(void *ctx)
{
    x.outcome[0] = note(x.f[0], 2);
    x.outcome[1] = note(x.f[1], 2);
    return split_check(ctx);
}

static bool merge_alone_check(void *ctx);
static void about_to_merge(void *ctx);

/* Mutations: split_locked(), or merge_locked(), retires the old before it names the new: memory is used after its end (T-E). */
START_TEST(read_while_memory_is_retired)
{
    struct sched_scenario s = {.name = "splitting, retiring", .n_threads = 4, .thread = {newcomer_2, hold_0, hold_0, hold_0},
                               .setup = about_to_split, .check = split_alone_check, .max_preemptions = 2};
    must_hold(&s);
    s = (struct sched_scenario){.name = "merging, retiring", .n_threads = 4, .thread = {maintain, hold_0, hold_0, hold_0},
                                .setup = about_to_merge, .check = merge_alone_check, .max_preemptions = 2};
    must_hold(&s);
}
END_TEST

/* The same two levels deeper, where the directory, no longer the smallest, has to double. */
static void about_to_widen(void *ctx)
{
    (void)ctx;
    make(0, 0);
    x.b.table->max_shards = 8;
    for (unsigned top = 0; top < 2; top++) {
        for (unsigned i = 0; i < LINE_SLOTS; i++)
            for (uint32_t home = 0; home < 2; home++)
                if (note(&pool[top ? 2 * (i % 2) : 4 * (i % 2)][home][0][i], 1) > FLOWQ_NOTE_MOVED)
                    abort();
        if (note(&pool[top ? 2 : 4][0][0][7], 1) != FLOWQ_NOTE_BOUND)
            abort();
    }
    for (unsigned i = 0; i < LINE_SLOTS; i++) /* the shard of tops 0 and 1, once more */
        for (uint32_t home = 0; home < 2; home++)
            if (note(&pool[i % 2][home][0][i], 1) > FLOWQ_NOTE_MOVED)
                abort();
    x.f[0] = &pool[0][0][0][0];
    x.f[1] = &pool[1][1][0][1];
    x.f[2] = &pool[0][0][0][7];
}

static bool widen_check(void *ctx)
{
    (void)ctx;
    came_out(x.f[0], x.outcome[0]);
    came_out(x.f[1], x.outcome[1]);
    const struct directory *d = atomic_load(&x.b.table->directory);
    SCHED_CHECK(x.outcome[2] == FLOWQ_NOTE_BOUND || x.outcome[2] == FLOWQ_NOTE_BUSY);
    SCHED_CHECK(d->depth == 3 || x.outcome[2] == FLOWQ_NOTE_BUSY);
    return quiet();
}

/* Mutation: table_retire_directory() stamps with 0: the old directory is read after its end (T-E). */
START_TEST(rebind_and_steer_while_the_directory_doubles)
{
    struct sched_scenario s = {.name = "directory doubles", .n_threads = 5, .thread = {newcomer_2, rebind_0, rebind_1, watch_0, watch_1},
                               .setup = about_to_widen, .check = widen_check};
    must_hold(&s);
}
END_TEST

/* ---- T-D: merging ------------------------------------------------------------------------------------------------------------------- */

/* Two shards, of whose flows only two are not stale. */
static void about_to_merge(void *ctx)
{
    about_to_split(ctx);
    if (note(x.f[2], 1) != FLOWQ_NOTE_BOUND || x.b.table->grow.n_shards != 2)
        abort();
    x.b.now_ns += 1900 * BARE_SECOND;
    note(x.f[0], 1);
    note(x.f[1], 1);
    flowq_synchronize();
    table_reclaim(x.b.table);
}

static bool merge_check(void *ctx)
{
    (void)ctx;
    came_out(x.f[0], x.outcome[0]);
    came_out(x.f[1], x.outcome[1]);
    flowq_vm_maintain(x.b.vm); /* if the first found a lock taken */
    SCHED_CHECK(x.b.table->grow.n_shards == 1);
    return quiet();
}

static bool merge_alone_check(void *ctx)
{
    x.outcome[0] = note(x.f[0], 2);
    x.outcome[1] = note(x.f[1], 2);
    return merge_check(ctx);
}

/* Mutations: take_over() copies without slot_freeze(): a rebind is lost. */
START_TEST(rebind_and_steer_while_merging)
{
    struct sched_scenario s = {.name = "merging", .n_threads = 5, .thread = {maintain, rebind_0, rebind_1, watch_0, watch_1},
                               .setup = about_to_merge, .check = merge_check};
    must_hold(&s);
}
END_TEST

/* One more flow that must not be lost: noted for the first time in 1900 s while the merge may be about to drop it as stale. */
static void revive_3(void *ctx) { (void)ctx; x.outcome[3] = note(x.f[3], 3); }

static void about_to_merge_and_revive(void *ctx)
{
    about_to_merge(ctx);
    x.f[3] = &pool[0][1][0][2];
}

static bool revive_check(void *ctx)
{
    SCHED_CHECK(x.outcome[3] == FLOWQ_NOTE_MOVED || x.outcome[3] == FLOWQ_NOTE_BOUND || x.outcome[3] == FLOWQ_NOTE_BUSY);
    SCHED_CHECK(x.outcome[3] == FLOWQ_NOTE_BUSY || bare_queue(&x.b, x.f[3]->hash) == 3);
    return merge_check(ctx);
}

/* Mutation: take_over() judges staleness by the word before slot_freeze(). */
START_TEST(revival_while_merging)
{
    struct sched_scenario s = {.name = "merging, reviving", .n_threads = 4, .thread = {maintain, rebind_0, rebind_1, revive_3},
                               .setup = about_to_merge_and_revive, .check = revive_check};
    must_hold(&s);
}
END_TEST

/* Two shards with room for few more in lines 0 and 1, so that a merge begins and cannot be ended. */
static void about_to_fail_to_merge(void *ctx)
{
    about_to_merge(ctx);
    unsigned n = 0;
    for (unsigned i = 0; i < LINE_SLOTS; i++)
        for (uint32_t home = 0; home < 2; home++)
            n += note(&pool[i % 2 ? 4 : 0][home][0][i], 1) <= FLOWQ_NOTE_MOVED;
    if (n != 2 * LINE_SLOTS || note(x.f[2], 1) > FLOWQ_NOTE_MOVED)
        abort();
    atomic_store(&shard_head(x.b.table, table_shard(x.b.table, 0))->live, 0); /* or it would not even be tried */
    atomic_store(&shard_head(x.b.table, table_shard(x.b.table, UINT64_MAX))->live, 0);
}

static bool failed_merge_check(void *ctx)
{
    (void)ctx;
    atomic_store(&shard_head(x.b.table, table_shard(x.b.table, 0))->live, 8);
    atomic_store(&shard_head(x.b.table, table_shard(x.b.table, UINT64_MAX))->live, 7);
    came_out(x.f[0], x.outcome[0]);
    came_out(x.f[1], x.outcome[1]);
    SCHED_CHECK(x.b.table->grow.n_shards == 2);
    return quiet();
}

/* Mutations: merge_locked() does not thaw(); it thaws what the slots held before they were frozen one by one. */
START_TEST(rebind_and_steer_while_a_merge_fails)
{
    struct sched_scenario s = {.name = "merge that fails", .n_threads = 5, .thread = {maintain, rebind_0, rebind_1, watch_0, watch_1},
                               .setup = about_to_fail_to_merge, .check = failed_merge_check};
    must_hold(&s);
}
END_TEST

/* ---- Inserting, displacing, resetting ------------------------------------------------------------------------------------------------- */

static void empty_table(void *ctx)
{
    (void)ctx;
    make(0, 0);
    x.f[0] = &pool[3][2][0][0];
}

static void empty_shard(void *ctx)
{
    (void)ctx;
    make(16, 0);
    x.f[0] = &pool[3][2][0][0];
}

static void note_mine(void *ctx)
{
    (void)ctx;
    x.outcome[sched_self()] = note(x.f[0], 1 + sched_self());
}

static bool one_copy(void *ctx)
{
    unsigned bound = 0, moved = 0, busy = 0;
    (void)ctx;
    for (unsigned i = 0; i < 3; i++) {
        bound += x.outcome[i] == FLOWQ_NOTE_BOUND;
        moved += x.outcome[i] == FLOWQ_NOTE_MOVED;
        busy += x.outcome[i] == FLOWQ_NOTE_BUSY;
    }
    SCHED_CHECK(bound == 1);
    SCHED_CHECK(bound + moved + busy == 3);
    SCHED_CHECK(table_live(x.b.table) == 1);
    return quiet();
}

/* Mutations: insert() does not lock; insert() does not look again under the lock; first_shard_locked() does not look again. */
START_TEST(one_flow_noted_by_three)
{
    struct sched_scenario s = {.name = "first flow of a table", .n_threads = 3, .thread = {note_mine, note_mine, note_mine},
                               .setup = empty_table, .check = one_copy};
    must_hold(&s);
    s.name = "one flow, three noters";
    s.setup = empty_shard;
    must_hold(&s);
}
END_TEST

/* Two newcomers whose flows count in the same service word, and one that leaves it. */
static void two_lines_nearly_full(void *ctx)
{
    (void)ctx;
    make(16, 0);
    fill_line(0, 0, 0);
    x.f[0] = &pool[0][0][0][7];
    x.f[1] = &pool[1][0][0][0];
    x.f[2] = &pool[2][1][0][0];
}

static void newcomer_0(void *ctx) { (void)ctx; x.outcome[0] = note(x.f[0], 5); }
static void newcomer_1(void *ctx) { (void)ctx; x.outcome[1] = note(x.f[1], 5); }

static void steer_newcomers(void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < 2; i++) {
        bool before = x.outcome[i] == FLOWQ_NOTE_BOUND;
        struct flowq_decision d = decide(x.f[i]);
        SCHED_CHECK(!before || (d.reason == FLOWQ_REASON_BOUND && d.qid == 5)); /* S1 */
    }
}

static bool newcomers_check(void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < 3; i++) {
        SCHED_CHECK(x.outcome[i] == FLOWQ_NOTE_BOUND || x.outcome[i] == FLOWQ_NOTE_BUSY);
        SCHED_CHECK((bare_queue(&x.b, x.f[i]->hash) == 5) == (x.outcome[i] == FLOWQ_NOTE_BOUND));
    }
    return quiet();
}

/* Mutations: insert() does not lock: service words and counts go wrong; put() does not count in the home line. */
START_TEST(newcomers_side_by_side)
{
    struct sched_scenario s = {.name = "newcomers", .n_threads = 4, .thread = {newcomer_0, newcomer_1, newcomer_2, steer_newcomers},
                               .setup = two_lines_nearly_full, .check = newcomers_check};
    must_hold(&s);
}
END_TEST

/* Everything within the newcomer's reach is active, but for one flow that was not noted for a while; it comes first or is displaced. */
static void one_may_give_way(void *ctx)
{
    (void)ctx;
    make(16, 0);
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

static bool displacement_check(void *ctx)
{
    (void)ctx;
    /* Noted, by whatever way: it is active now, and nobody may take its place afterwards. */
    if (x.outcome[0] == FLOWQ_NOTE_MOVED || x.outcome[0] == FLOWQ_NOTE_BOUND)
        SCHED_CHECK(bare_queue(&x.b, x.f[0]->hash) == 2);
    else
        SCHED_CHECK(x.outcome[0] == FLOWQ_NOTE_REFUSED && x.outcome[2] == FLOWQ_NOTE_BOUND);
    SCHED_CHECK((bare_queue(&x.b, x.f[2]->hash) == 5) == (x.outcome[2] == FLOWQ_NOTE_BOUND));
    return quiet();
}

/* Mutation: put() stores instead of comparing and swapping: the flow is lost after its note. */
START_TEST(refresh_while_displacing)
{
    struct sched_scenario s = {.name = "displacing", .n_threads = 2, .thread = {newcomer_2, rebind_0}, .setup = one_may_give_way,
                               .check = displacement_check};
    must_hold(&s);
}
END_TEST

static void reset_flows(void *ctx) { (void)ctx; flowq_vm_reset(x.b.vm, FLOWQ_RESET_FLOWS); }

static bool reset_check(void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < 3; i++)
        SCHED_CHECK(x.outcome[i] <= FLOWQ_NOTE_MOVED || x.outcome[i] == FLOWQ_NOTE_BUSY);
    return quiet();
}

static bool reset_and_crowd_check(void *ctx)
{
    x.outcome[1] = 0; /* nobody notes this one */
    return reset_check(ctx);
}

static bool reset_and_merge_check(void *ctx)
{
    x.outcome[2] = 0;
    return reset_check(ctx);
}

/* Mutations: table_clear() does not lock the shard: counts go wrong; it does not hold the grow lock: it clears a shard that is split. */
START_TEST(reset_while_noting)
{
    struct sched_scenario s = {.name = "reset, moving aside", .n_threads = 3, .thread = {reset_flows, newcomer_2, rebind_0}, .setup = crowd,
                               .check = reset_and_crowd_check};
    must_hold(&s);
    s = (struct sched_scenario){.name = "reset, splitting", .n_threads = 4, .thread = {reset_flows, newcomer_2, rebind_0, rebind_1},
                                .setup = about_to_split, .check = reset_check};
    must_hold(&s);
    s = (struct sched_scenario){.name = "reset, merging", .n_threads = 4, .thread = {reset_flows, maintain, rebind_0, rebind_1},
                                .setup = about_to_merge, .check = reset_and_merge_check};
    must_hold(&s);
}
END_TEST

/* ---- N-A: binding times ------------------------------------------------------------------------------------------------------------- */

static void empty_with_times(void *ctx)
{
    (void)ctx;
    make(16, 1000000);
    x.f[0] = &pool[3][2][0][0];
}

static bool bound_once(void *ctx)
{
    unsigned bound = 0, waits = 0;
    (void)ctx;
    for (unsigned i = 0; i < 3; i++) {
        bound += x.outcome[i] == FLOWQ_NOTE_BOUND;
        waits += x.outcome[i] == FLOWQ_NOTE_SUPPRESSED || x.outcome[i] == FLOWQ_NOTE_BUSY;
    }
    SCHED_CHECK(bound == 1 && waits == 2); /* none moves it: it was bound just now */
    return quiet();
}

/* Mutation: put() stores the binding time after the word. */
START_TEST(a_new_flow_has_its_binding_time)
{
    struct sched_scenario s = {.name = "binding time", .n_threads = 3, .thread = {note_mine, note_mine, note_mine},
                               .setup = empty_with_times, .check = bound_once};
    must_hold(&s);
}
END_TEST

static void refresh_0(void *ctx) { (void)ctx; x.outcome[0] = note(x.f[0], 1); }

static void one_may_give_way_in_time(void *ctx)
{
    (void)ctx;
    make(16, 1000000);
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

static bool keeps_its_time(void *ctx)
{
    (void)ctx;
    if (x.outcome[0] == FLOWQ_NOTE_REFRESHED)
        SCHED_CHECK(note(x.f[0], 2) == FLOWQ_NOTE_MOVED); /* bound a minute ago: it may */
    return quiet();
}

/* Mutation: put() does not give the former time back when it fails. */
START_TEST(a_newcomer_that_fails_leaves_no_time)
{
    struct sched_scenario s = {.name = "failed newcomer", .n_threads = 2, .thread = {newcomer_2, refresh_0},
                               .setup = one_may_give_way_in_time, .check = keeps_its_time};
    must_hold(&s);
}
END_TEST

/* ---- Q-A: queues -------------------------------------------------------------------------------------------------------------------- */

#define NONE_IN_USE (UINT64_C(1) << 63)

/* While a setter runs, what was and what will be may both be in use. */
static void queues_become(uint64_t bits)
{
    x.may |= bits;
    for (unsigned i = 0; i < 8; i++)
        x.may_have[i] |= x.may;
}

static void queues_are(uint64_t bits) { x.may = bits; }

static void setters(void *ctx)
{
    struct flowq_vm *vm = x.b.vm;
    (void)ctx;
    queues_become(0x03);
    flowq_vm_set_queue_pairs(vm, 2);
    queues_are(0x03);
    flowq_vm_set_queue_enabled(vm, 5, false);
    queues_become(0x02);
    flowq_vm_set_queue_resetting(vm, 0, true);
    queues_are(0x02);
    queues_become(0xde);
    flowq_vm_set_queue_pairs(vm, 8);
    queues_are(0xde);
}

static void more_setters(void *ctx)
{
    struct flowq_vm *vm = x.b.vm;
    (void)ctx;
    queues_become(0x01);
    flowq_vm_set_queue_pairs(vm, 1);
    queues_are(0x01);
    queues_become(NONE_IN_USE);
    flowq_vm_set_queue_enabled(vm, 0, false);
    queues_are(NONE_IN_USE);
    queues_become(0x0e);
    flowq_vm_set_queue_pairs(vm, 4);
    queues_are(0x0e);
}

static void steer_all(void *ctx)
{
    unsigned me = sched_self();
    (void)ctx;
    for (unsigned i = 0; i < 6; i++) {
        const struct flow *f = &pool[i][me % 4][0][7]; /* not bound */
        x.may_have[me] = x.may;
        struct flowq_decision d = decide(f);
        SCHED_CHECK(x.may_have[me] & (d.qid == FLOWQ_DROP ? NONE_IN_USE : UINT64_C(1) << d.qid));
        x.may_have[me] = x.may;
        d = decide(x.f[0]); /* on queue 6 */
        SCHED_CHECK(x.may_have[me] & (d.qid == FLOWQ_DROP ? NONE_IN_USE : UINT64_C(1) << d.qid));
    }
}

/* Queue 1 stays in use whatever the setters do: a flow that is bound to it must not notice them. */
static void steer_untouched(void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < 6; i++) {
        struct flowq_decision d = decide(x.f[1]);
        SCHED_CHECK(d.qid == 1);
        SCHED_CHECK(d.reason == FLOWQ_REASON_BOUND || d.reason == FLOWQ_REASON_SINGLE);
    }
}

static void all_in_use(void *ctx)
{
    (void)ctx;
    make(16, 0);
    x.f[0] = &pool[0][0][0][0];
    x.f[1] = &pool[0][0][0][1];
    note(x.f[0], 6);
    note(x.f[1], 1);
    x.may = 0xff;
}

static bool queues_check(void *ctx)
{
    struct flowq_stats s = {.size = sizeof(s)};
    (void)ctx;
    flowq_vm_stats(x.b.vm, &s);
    SCHED_CHECK(s.queues_in_use == (x.may == NONE_IN_USE ? 0 : (uint32_t)__builtin_popcountll(x.may)));
    return quiet();
}

/*
 * Mutations: queue_pick() does not look at in_use and setters store the summary before the list (either alone is made good by the
 * other); publish_locked() clears in_use before it sets it; setters do not lock; publish_locked() leaves the summary as it was.
 */
START_TEST(setters_while_steering)
{
    struct sched_scenario s = {.name = "queues", .n_threads = 4, .thread = {setters, steer_all, steer_all, steer_untouched},
                               .setup = all_in_use, .check = queues_check};
    must_hold(&s);
    s = (struct sched_scenario){.name = "few queues", .n_threads = 3, .thread = {more_setters, steer_all, steer_all}, .setup = all_in_use,
                                .check = queues_check};
    must_hold(&s);
}
END_TEST

static void enable_mine(void *ctx)
{
    (void)ctx;
    flowq_vm_set_queue_enabled(x.b.vm, sched_self(), false);
    flowq_vm_set_queue_resetting(x.b.vm, 4 + sched_self(), true);
}

static bool both_are_off(void *ctx)
{
    x.may = 0xff & ~0x33u;
    return queues_check(ctx);
}

START_TEST(setters_side_by_side)
{
    struct sched_scenario s = {.name = "setters", .n_threads = 2, .thread = {enable_mine, enable_mine}, .setup = all_in_use,
                               .check = both_are_off};
    must_hold(&s);
}
END_TEST

int main(void)
{
    seed = seed_get("check_orders");
    n_runs = (seed_long() ? 50 * n_runs : n_runs) / BARE_SLOWNESS;
    Suite *suite = suite_create("orders");
    TCase *tc = tcase_create("orders");
    fill_pool();
    tcase_set_timeout(tc, seed_long() ? 1200 : 60);
    tcase_add_test(tc, rebind_and_steer_while_moving_aside);
    tcase_add_test(tc, walk_while_moving_aside);
    tcase_add_test(tc, rebind_and_steer_while_splitting);
    tcase_add_test(tc, read_while_memory_is_retired);
    tcase_add_test(tc, rebind_and_steer_while_the_directory_doubles);
    tcase_add_test(tc, rebind_and_steer_while_merging);
    tcase_add_test(tc, revival_while_merging);
    tcase_add_test(tc, rebind_and_steer_while_a_merge_fails);
    tcase_add_test(tc, one_flow_noted_by_three);
    tcase_add_test(tc, newcomers_side_by_side);
    tcase_add_test(tc, refresh_while_displacing);
    tcase_add_test(tc, reset_while_noting);
    tcase_add_test(tc, a_new_flow_has_its_binding_time);
    tcase_add_test(tc, a_newcomer_that_fails_leaves_no_time);
    tcase_add_test(tc, setters_while_steering);
    tcase_add_test(tc, setters_side_by_side);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
