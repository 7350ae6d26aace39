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

/* So many times as many runs; and back, as tests that do not fork have one n_runs. */
enum { RARE = 5 };

/* ---- T-A, T-B: moving aside --------------------------------------------------------------------------------------------- */

static void crowd(void *ctx)
{
    (void)ctx;
    crowd_within(0);
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
 * Mutations: note_move_aside() copies without slot_freeze(): the rebind is lost (T-A). It counts the flow in the service word
 * only after note_take_left(): steering sees an unbound flow (T-B). find_in_shard(), or find_word(), reads the service word
 * before the slots: the same.
 */
START_TEST(rebind_and_steer_while_moving_aside)
{
    MUST_HOLD("moving aside", crowd, crowd_check, newcomer_2, rebind_0, watch_0, watch_0);
    MUST_HOLD("moving aside, errors", crowd, crowd_check, newcomer_2, rebind_0, watch_errors_0, look_up_0);
}
END_TEST

/* The flow's second line is full, of active flows and one that has just grown stale: its place is wanted, until it is noted. */
static void crowd_with_a_stale_one(void *ctx)
{
    (void)ctx;
    make(16, 0);
    fill_line(0, 1, 0);
    x.f[0] = first_of(0, 1, 0);
    x.b.now_ns += 1900 * BARE_SECOND;
    for (unsigned i = 0; i < LINE_SLOTS; i++)
        if (&pool[0][1][0][i] != x.f[0])
            note(&pool[0][1][0][i], 1);
    fill_line(0, 0, 0);
    fill_line(0, 3, 1);
    x.f[1] = first_of(0, 0, 0);
    x.f[2] = &pool[0][0][1][0];
}

static bool nobody_is_left_frozen(void *ctx)
{
    (void)ctx;
    x.outcome[1] = note(x.f[1], 1);
    SCHED_CHECK(x.outcome[1] == FLOWQ_NOTE_REFRESHED);
    return quiet();
}

/* Mutation: note_move_aside() does not thaw the flow when put() fails. */
START_TEST(a_flow_that_cannot_move_aside_after_all)
{
    MUST_HOLD("moving aside that fails", crowd_with_a_stale_one, nobody_is_left_frozen, newcomer_2, rebind_0);
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

START_TEST(walk_while_moving_aside) { MUST_HOLD("walking", crowd_backwards, crowd_check, newcomer_2, rebind_0, walk, walk); }
END_TEST

/* ---- T-D, T-E: splitting ------------------------------------------------------------------------------------------------ */

static void about_to_split(void *ctx)
{
    (void)ctx;
    about_to_split_within(0);
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
 * Mutations: shard_split_flows() copies without slot_freeze(): a rebind is lost; shard_split_locked() names the halves before it
 * fills them: a flow is not found (T-D). table_retire_shard() stamps with 0: memory is used after its end (T-E).
 */
START_TEST(rebind_and_steer_while_splitting)
{
    MUST_HOLD("splitting", about_to_split, split_check, newcomer_2, rebind_0, rebind_1, watch_0, watch_1);
}
END_TEST

/* Single calls look for the only shard in a word of its own. Mutation: directory_name() does not clear it: moves are not seen. */
START_TEST(rebind_and_steer_alone_while_splitting)
{
    MUST_HOLD("splitting, alone", about_to_split, split_check, newcomer_2, rebind_0, rebind_1, watch_alone_0, watch_alone_1);
}
END_TEST

/* The same for a burst that goes to several vms, whose section is the caller's. This one knows no flow. */
static struct flowq_vm *other_vm;

static struct flowq_decision decide_among(const struct flow *f)
{
    const struct flowq_pkt pkts[2] = {frame_pkt(&f->in), frame_pkt(&f->in)};
    struct flowq_vm *const vms[2] = {x.b.vm, other_vm};
    uint16_t qids[2];
    flowq_rx_steer_burst_vms(vms, pkts, 2, qids);
    return (struct flowq_decision){.qid = qids[0], .reason = FLOWQ_REASON_BOUND};
}

static void watch_among(void *ctx)
{
    (void)ctx;
    watch(x.f[0], decide_among, FLOWQ_REASON_BOUND);
}

static bool split_among_check(void *ctx)
{
    x.outcome[1] = note(x.f[1], 2);
    return split_check(ctx);
}

/* Mutation: flowq_rx_steer_burst_vms() opens no section. AddressSanitizer sees it; the answers are right even so, as what is read
   after its end does not match. */
START_TEST(steer_for_several_while_splitting)
{
    const struct flowq_vm_config cfg = {.size = sizeof(cfg)};
    ck_assert_int_eq(flowq_vm_create(&cfg, &other_vm), 0);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(other_vm, PAIRS), 0);
    MUST_HOLD("splitting, several vms", about_to_split, split_among_check, newcomer_2, rebind_0, watch_among, watch_among);
    flowq_vm_destroy(other_vm);
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
    struct place p = find_in_shard(x.b.table, s, x.f[0]->hash);
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

/* Mutations: shard_split_locked(), or trim_merge_locked(), retires the old before it names the new: memory is used after its end
   (T-E). */
START_TEST(read_while_memory_is_retired)
{
    MUST_HOLD_WITHIN(2, "splitting, retiring", about_to_split, split_alone_check, newcomer_2, hold_0, hold_0, hold_0);
    MUST_HOLD_WITHIN(2, "merging, retiring", about_to_merge, merge_alone_check, maintain, hold_0, hold_0, hold_0);
}
END_TEST

/* A reader that has just taken the directory, and stops there likewise. Its flow stays where it is. */
static void hold_directory(void *ctx)
{
    struct thread *t = thread_self();
    (void)ctx;
    thread_enter(t);
    const struct directory *d = ptr_load_acquire(&x.b.table->directory);
    sched_give_up();
    bool whole = d->depth >= 1 && d->depth <= 8 && d->shift == 64 - d->depth;
    SCHED_CHECK(whole);
    if (whole) {
        struct place p = find_in_shard(x.b.table, ptr_load_acquire(&d->shard[x.f[0]->hash >> d->shift]), x.f[0]->hash);
        SCHED_CHECK(p.slot && word_queue(x.b.table, p.word) == 1);
    }
    thread_leave(t);
}

/* The same two levels deeper, where the directory, no longer the smallest, has to double. */
static void about_to_widen(void *ctx)
{
    (void)ctx;
    about_to_widen_within(0);
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

static bool widen_alone_check(void *ctx)
{
    x.outcome[0] = note(x.f[0], 2);
    x.outcome[1] = note(x.f[1], 2);
    return widen_check(ctx);
}

/* Mutation: table_retire_directory() stamps with 0: the old directory is read after its end (T-E). */
START_TEST(rebind_and_steer_while_the_directory_doubles)
{
    MUST_HOLD("directory doubles", about_to_widen, widen_check, newcomer_2, rebind_0, rebind_1, watch_0, watch_1);
}
END_TEST

/* Mutation: shard_split_locked() retires the old directory before it unlinks it: whoever comes in between reads it after its end
   (T-E). */
START_TEST(read_while_the_directory_doubles)
{
    n_runs *= RARE; /* no more than a few steps of some hundreds matter */
    MUST_HOLD_WITHIN(2, "directory doubles, retiring", about_to_widen, widen_alone_check, newcomer_2, hold_directory);
    n_runs /= RARE;
}
END_TEST

/* ---- T-D: merging ------------------------------------------------------------------------------------------------------- */

static void about_to_merge(void *ctx)
{
    (void)ctx;
    about_to_merge_within(0);
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

/* Mutations: trim_take_over() copies without slot_freeze(): a rebind is lost. */
START_TEST(rebind_and_steer_while_merging)
{
    MUST_HOLD("merging", about_to_merge, merge_check, maintain, rebind_0, rebind_1, watch_0, watch_1);
}
END_TEST

START_TEST(rebind_and_steer_alone_while_merging)
{
    MUST_HOLD("merging, alone", about_to_merge, merge_check, maintain, rebind_0, rebind_1, watch_alone_0, watch_alone_1);
}
END_TEST

/* The directory is one that doubled; of its deepest shards only two flows are not stale, so that it can be halved again. */
static void about_to_narrow(void *ctx)
{
    about_to_widen(ctx);
    if (note(x.f[2], 1) != FLOWQ_NOTE_BOUND || ((struct directory *)atomic_load(&x.b.table->directory))->depth != 3)
        abort();
    x.b.now_ns += 1900 * BARE_SECOND;
    note(x.f[0], 1);
    note(x.f[1], 1);
    flowq_synchronize();
    table_reclaim(x.b.table);
}

static bool narrow_check(void *ctx)
{
    (void)ctx;
    came_out(x.f[0], x.outcome[0]);
    came_out(x.f[1], x.outcome[1]);
    for (unsigned i = 0; i < 4; i++) /* if the first found a lock taken */
        flowq_vm_maintain(x.b.vm);
    SCHED_CHECK(((struct directory *)atomic_load(&x.b.table->directory))->depth < 3);
    return quiet();
}

static bool narrow_alone_check(void *ctx)
{
    x.outcome[0] = note(x.f[0], 2);
    x.outcome[1] = note(x.f[1], 2);
    return narrow_check(ctx);
}

START_TEST(rebind_and_steer_while_the_directory_halves)
{
    MUST_HOLD("directory halves", about_to_narrow, narrow_check, maintain, rebind_0, rebind_1, watch_0, watch_1);
}
END_TEST

/* Mutation: narrow() retires the directory before it unlinks it: whoever comes in between reads it after its end (T-E). */
START_TEST(read_while_the_directory_halves)
{
    n_runs *= RARE;
    MUST_HOLD_WITHIN(2, "directory halves, retiring", about_to_narrow, narrow_alone_check, maintain, hold_directory);
    n_runs /= RARE;
}
END_TEST

/* One shard, and nothing in it any more. */
static void about_to_drop_the_last(void *ctx)
{
    (void)ctx;
    make(0, 0);
    x.f[0] = &pool[0][0][0][0];
    if (note(x.f[0], 1) != FLOWQ_NOTE_BOUND)
        abort();
    flowq_vm_reset(x.b.vm, FLOWQ_RESET_FLOWS);
    flowq_synchronize();
    table_reclaim(x.b.table);
}

/* A reader that has taken that shard, and stops there; every place in it is and stays empty. */
static void hold_the_last(void *ctx)
{
    struct thread *t = thread_self();
    bool empty = true;
    (void)ctx;
    thread_enter(t);
    struct shard *s = table_shard(x.b.table, x.f[0]->hash);
    sched_give_up();
    for (unsigned i = 0; i < LINE_SLOTS; i++)
        empty = empty && u64_load_relaxed(&shard_line(s, 0)->slot[i]) == 0;
    SCHED_CHECK(empty);
    thread_leave(t);
}

static bool dropped_check(void *ctx)
{
    (void)ctx;
    flowq_vm_maintain(x.b.vm);
    SCHED_CHECK(x.b.table->grow.n_shards == 0);
    return quiet();
}

/* Mutation: trim_drop_last() retires the shard before it unlinks it: whoever comes in between reads it after its end (T-E). */
START_TEST(read_while_the_last_shard_goes)
{
    MUST_HOLD_WITHIN(2, "last shard", about_to_drop_the_last, dropped_check, maintain, hold_the_last, hold_the_last,
                     hold_the_last);
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

/* Mutation: trim_take_over() judges staleness by the word before slot_freeze(). */
START_TEST(revival_while_merging)
{
    MUST_HOLD("merging, reviving", about_to_merge_and_revive, revive_check, maintain, rebind_0, rebind_1, revive_3);
}
END_TEST

/* Two shards with room for few more in lines 0 and 1, so that a merge begins and cannot be ended. */
static void about_to_fail_to_merge(void *ctx)
{
    about_to_merge(ctx);
    if (fill_two_lines(0, 4) > FLOWQ_NOTE_MOVED || note(x.f[2], 1) > FLOWQ_NOTE_MOVED)
        abort();
    shard_set_live(shard_head(x.b.table, table_shard(x.b.table, 0)), 0); /* or it would not even be tried */
    shard_set_live(shard_head(x.b.table, table_shard(x.b.table, UINT64_MAX)), 0);
}

static bool failed_merge_check(void *ctx)
{
    (void)ctx;
    shard_set_live(shard_head(x.b.table, table_shard(x.b.table, 0)), 8);
    shard_set_live(shard_head(x.b.table, table_shard(x.b.table, UINT64_MAX)), 7);
    came_out(x.f[0], x.outcome[0]);
    came_out(x.f[1], x.outcome[1]);
    SCHED_CHECK(x.b.table->grow.n_shards == 2);
    return quiet();
}

/* Mutations: trim_merge_locked() does not thaw(); it thaws what the slots held before they were frozen one by one. */
START_TEST(rebind_and_steer_while_a_merge_fails)
{
    MUST_HOLD("merge that fails", about_to_fail_to_merge, failed_merge_check, maintain, rebind_0, rebind_1, watch_0, watch_1);
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
    MUST_HOLD("reset, moving aside", crowd, reset_and_crowd_check, reset_flows, newcomer_2, rebind_0);
    MUST_HOLD("reset, splitting", about_to_split, reset_check, reset_flows, newcomer_2, rebind_0, rebind_1);
    MUST_HOLD("reset, merging", about_to_merge, reset_and_merge_check, reset_flows, maintain, rebind_0, rebind_1);
}
END_TEST

int main(void)
{
    TCase *tc = orders_begin("check_orders");
    tcase_add_test(tc, rebind_and_steer_while_moving_aside);
    tcase_add_test(tc, a_flow_that_cannot_move_aside_after_all);
    tcase_add_test(tc, walk_while_moving_aside);
    tcase_add_test(tc, rebind_and_steer_while_splitting);
    tcase_add_test(tc, rebind_and_steer_alone_while_splitting);
    tcase_add_test(tc, steer_for_several_while_splitting);
    tcase_add_test(tc, read_while_memory_is_retired);
    tcase_add_test(tc, rebind_and_steer_while_the_directory_doubles);
    tcase_add_test(tc, read_while_the_directory_doubles);
    tcase_add_test(tc, rebind_and_steer_while_merging);
    tcase_add_test(tc, rebind_and_steer_while_the_directory_halves);
    tcase_add_test(tc, read_while_the_directory_halves);
    tcase_add_test(tc, read_while_the_last_shard_goes);
    tcase_add_test(tc, rebind_and_steer_alone_while_merging);
    tcase_add_test(tc, revival_while_merging);
    tcase_add_test(tc, rebind_and_steer_while_a_merge_fails);
    tcase_add_test(tc, reset_while_noting);
    return orders_end("check_orders", tc);
}
