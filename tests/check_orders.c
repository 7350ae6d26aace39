/*
 * check_orders: the ordering guarantees T-A to T-E of the table, under the scheduler of sched.h: flows that move aside, shards
 * that split and merge, resets, while others rebind, steer and look. (T-F needs no scheduler: check_grow.c.)
 *
 * Each scenario names the mutations of the library that make it fail; that is what it was tried out with. One that no mutation
 * makes fail shows nothing.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "orders.h"

/* ---- T-A, T-B: moving aside --------------------------------------------------------------------------------------------- */

/* Line 0 is full, its flows could go to line 1, which is empty; the newcomer's second line, 3, is full, and its flows cannot go.
 */
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
 * Mutations: move_aside() copies without slot_freeze(): the rebind is lost (T-A). It counts the flow in the service word only
 * after take_left(): steering sees an unbound flow (T-B). shard_find(), or look_again(), reads the service word before the slots:
 * the same.
 */
START_TEST(rebind_and_steer_while_moving_aside)
{
    struct sched_scenario s = {.name = "moving aside",
                               .n_threads = 4,
                               .thread = {newcomer_2, rebind_0, watch_0, watch_0},
                               .setup = crowd,
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
    struct sched_scenario s = {.name = "walking",
                               .n_threads = 4,
                               .thread = {newcomer_2, rebind_0, walk, walk},
                               .setup = crowd_backwards,
                               .check = crowd_check};
    must_hold(&s);
}
END_TEST

/* ---- T-D, T-E: splitting ------------------------------------------------------------------------------------------------ */

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
 * Mutations: split_flows() copies without slot_freeze(): a rebind is lost; split_locked() names the halves before it fills them:
 * a flow is not found (T-D). table_retire_shard() stamps with 0: memory is used after its end (T-E).
 */
START_TEST(rebind_and_steer_while_splitting)
{
    struct sched_scenario s = {.name = "splitting",
                               .n_threads = 5,
                               .thread = {newcomer_2, rebind_0, rebind_1, watch_0, watch_1},
                               .setup = about_to_split,
                               .check = split_check};
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
    struct sched_scenario s = {.name = "splitting, retiring",
                               .n_threads = 4,
                               .thread = {newcomer_2, hold_0, hold_0, hold_0},
                               .setup = about_to_split,
                               .check = split_alone_check,
                               .max_preemptions = 2};
    must_hold(&s);
    s = (struct sched_scenario){.name = "merging, retiring",
                                .n_threads = 4,
                                .thread = {maintain, hold_0, hold_0, hold_0},
                                .setup = about_to_merge,
                                .check = merge_alone_check,
                                .max_preemptions = 2};
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
    struct sched_scenario s = {.name = "directory doubles",
                               .n_threads = 5,
                               .thread = {newcomer_2, rebind_0, rebind_1, watch_0, watch_1},
                               .setup = about_to_widen,
                               .check = widen_check};
    must_hold(&s);
}
END_TEST

/* ---- T-D: merging ------------------------------------------------------------------------------------------------------- */

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
    struct sched_scenario s = {.name = "merging",
                               .n_threads = 5,
                               .thread = {maintain, rebind_0, rebind_1, watch_0, watch_1},
                               .setup = about_to_merge,
                               .check = merge_check};
    must_hold(&s);
}
END_TEST

/* One more flow that must not be lost: noted for the first time in 1900 s while the merge may be about to drop it as stale. */
static void revive_3(void *ctx)
{
    (void)ctx;
    x.outcome[3] = note(x.f[3], 3);
}

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
    struct sched_scenario s = {.name = "merging, reviving",
                               .n_threads = 4,
                               .thread = {maintain, rebind_0, rebind_1, revive_3},
                               .setup = about_to_merge_and_revive,
                               .check = revive_check};
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
    struct sched_scenario s = {.name = "merge that fails",
                               .n_threads = 5,
                               .thread = {maintain, rebind_0, rebind_1, watch_0, watch_1},
                               .setup = about_to_fail_to_merge,
                               .check = failed_merge_check};
    must_hold(&s);
}
END_TEST

/* ---- Resets ------------------------------------------------------------------------------------------------------------- */

static void reset_flows(void *ctx)
{
    (void)ctx;
    flowq_vm_reset(x.b.vm, FLOWQ_RESET_FLOWS);
}

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

/* Mutations: table_clear() does not lock the shard: counts go wrong; it does not hold the grow lock: it clears a shard that is
 * split. */
START_TEST(reset_while_noting)
{
    struct sched_scenario s = {.name = "reset, moving aside",
                               .n_threads = 3,
                               .thread = {reset_flows, newcomer_2, rebind_0},
                               .setup = crowd,
                               .check = reset_and_crowd_check};
    must_hold(&s);
    s = (struct sched_scenario){.name = "reset, splitting",
                                .n_threads = 4,
                                .thread = {reset_flows, newcomer_2, rebind_0, rebind_1},
                                .setup = about_to_split,
                                .check = reset_check};
    must_hold(&s);
    s = (struct sched_scenario){.name = "reset, merging",
                                .n_threads = 4,
                                .thread = {reset_flows, maintain, rebind_0, rebind_1},
                                .setup = about_to_merge,
                                .check = reset_and_merge_check};
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
    tcase_add_test(tc, reset_while_noting);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
