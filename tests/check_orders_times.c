/*
 * check_orders_times: the ordering of binding times, N-A, under the scheduler of sched.h: when a note that moved a flow has
 * returned, its time counts, wherever the flow is moved meanwhile; and nobody has a time that is not his.
 *
 * Each scenario names the mutations of the library that make it fail; that is what it was tried out with. One that no mutation
 * makes fail shows nothing.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "orders.h"

#define REBIND_US 1000000u
#define MS        UINT64_C(1000000)

/* ---- What must hold ----------------------------------------------------------------------------------------------------- */

/* f[0] was bound longer than a second ago, on queue 1, and noted on 2. Nothing suppresses that, and it counts from then on. */
static void its_time_counts(void)
{
    SCHED_CHECK(x.outcome[0] != FLOWQ_NOTE_SUPPRESSED);
    if (x.outcome[0] == FLOWQ_NOTE_MOVED)
        SCHED_CHECK(note(x.f[0], 3) == FLOWQ_NOTE_SUPPRESSED);
}

static bool its_time_counts_at_the_end(void *ctx)
{
    (void)ctx;
    its_time_counts();
    return quiet();
}

/* So does the newcomer's. */
static void newcomers_time_counts(void)
{
    if (x.outcome[2] == FLOWQ_NOTE_BOUND)
        SCHED_CHECK(note(x.f[2], 6) == FLOWQ_NOTE_SUPPRESSED);
}

static bool times_count(void *ctx)
{
    (void)ctx;
    newcomers_time_counts();
    its_time_counts();
    return quiet();
}

/* The same at once, while whoever moves the flow is not done with that. */
static void try_again_0(void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < 3; i++) {
        bool moved = has_come_to(0, FLOWQ_NOTE_MOVED);
        uint32_t outcome = moved ? note(x.f[0], 3) : FLOWQ_NOTE_SUPPRESSED;
        SCHED_CHECK(outcome == FLOWQ_NOTE_SUPPRESSED || outcome == FLOWQ_NOTE_BUSY);
        sched_point();
    }
}

/* ---- New flows ---------------------------------------------------------------------------------------------------------- */

static void empty(void *ctx)
{
    (void)ctx;
    make(16, REBIND_US);
    x.f[0] = &pool[3][2][0][0];
}

static void note_mine(void *ctx)
{
    (void)ctx;
    x.outcome[sched_self()] = note(x.f[0], 1 + sched_self());
}

static bool bound_once(void *ctx)
{
    unsigned bound = 0, waits = 0, n = 0;
    (void)ctx;
    for (unsigned i = 0; i < 3; i++) {
        n += x.outcome[i] != NOT_YET;
        bound += x.outcome[i] == FLOWQ_NOTE_BOUND;
        waits += x.outcome[i] == FLOWQ_NOTE_SUPPRESSED || x.outcome[i] == FLOWQ_NOTE_BUSY;
    }
    SCHED_CHECK(n >= 2 && bound == 1 && waits == n - 1); /* none moves it: it was bound just now */
    return quiet();
}

/* Its home line is full, and none of that line's flows has to go: it goes to its second line. */
static void home_is_full(void *ctx)
{
    (void)ctx;
    make(16, REBIND_US);
    fill_line(0, 0, 0);
    x.f[0] = &pool[0][0][0][LINE_SLOTS];
}

/* Mutations: note_insert_at_home(), or note_put(), stores the binding time after the word; or the word relaxed. */
START_TEST(a_new_flow_has_its_time)
{
    MUST_HOLD("new flow", empty, bound_once, note_mine, note_mine, note_mine);
    must_hold_every("new flow, two", 1, empty, bound_once, note_mine, note_mine);
    must_hold_every("new flow, second line", 1, home_is_full, bound_once, note_mine, note_mine);
}
END_TEST

static void one_may_give_way(void *ctx)
{
    (void)ctx;
    one_may_give_way_within(REBIND_US);
}

static void refresh_0(void *ctx)
{
    (void)ctx;
    x.outcome[0] = note(x.f[0], 1);
}

static bool keeps_its_time(void *ctx)
{
    (void)ctx;
    if (x.outcome[0] == FLOWQ_NOTE_REFRESHED)
        SCHED_CHECK(note(x.f[0], 2) == FLOWQ_NOTE_MOVED); /* bound a minute ago: it may */
    return quiet();
}

/*
 * Mutations: put() does not freeze the flow but writes the time first, compares and swaps the word after it, and gives the former
 * time back when that fails, or does not.
 */
START_TEST(a_newcomer_that_fails_leaves_the_time)
{
    MUST_HOLD("newcomer fails, refreshed", one_may_give_way, keeps_its_time, newcomer_2, refresh_0);
    MUST_HOLD("newcomer fails, moved", one_may_give_way, times_count, newcomer_2, rebind_0, try_again_0);
}
END_TEST

/* A flow that is forgotten while it moves, and another one that takes its place half a second later. */
static void alone_for_long(void *ctx)
{
    (void)ctx;
    make(16, REBIND_US);
    x.f[0] = &pool[3][2][0][0];
    x.f[2] = &pool[3][2][0][1];
    note(x.f[0], 1);
    x.b.now_ns += 3 * BARE_SECOND;
}

static void forget_and_come_later(void *ctx)
{
    (void)ctx;
    flowq_vm_reset(x.b.vm, FLOWQ_RESET_FLOWS);
    x.b.now_ns += 500 * MS;
    x.outcome[2] = note(x.f[2], 5);
}

static bool newcomer_is_no_older(void *ctx)
{
    (void)ctx;
    x.b.now_ns += 700 * MS; /* 1.2 s after the first note, 0.7 s after the newcomer's */
    newcomers_time_counts();
    return quiet();
}

/* Mutations: stamp_raise() stores instead of comparing and swapping; it goes on until it has stored; note_bind_at() reads what it
   expects there when it has swapped the word. */
START_TEST(a_late_note_does_not_age_a_newcomer)
{
    MUST_HOLD("newcomer in a place that was moved", alone_for_long, newcomer_is_no_older, rebind_0, forget_and_come_later);
}
END_TEST

/* ---- Notes side by side -------------------------------------------------------------------------------------------------- */

static void rebind_0_later(void *ctx)
{
    (void)ctx;
    x.b.now_ns += 500 * MS;
    x.outcome[1] = note(x.f[0], 3);
}

/* Whether that came first or not, it counts, unless the flow was moved away from it by a note that was begun earlier. */
static bool later_counts(void *ctx)
{
    (void)ctx;
    if (x.outcome[1] == FLOWQ_NOTE_MOVED && bare_queue(&x.b, x.f[0]->hash) == 3) {
        x.b.now_ns += 700 * MS; /* 1.2 s after the first */
        SCHED_CHECK(note(x.f[0], 4) == FLOWQ_NOTE_SUPPRESSED);
    }
    return quiet();
}

/* Mutations: stamp_raise() goes on until it has stored; it gives up at the first failure. */
START_TEST(of_two_times_the_later_counts) { MUST_HOLD("two notes", alone_for_long, later_counts, rebind_0, rebind_0_later); }
END_TEST

/* A note that is behind by its clock opens the flow anew, and moves it from where a later one had: the later time counts. No
   threads. Mutation: note_update_timed() does not heed note_stamp_ahead() where it binds. */
START_TEST(a_later_time_stays)
{
    struct frame syn;
    alone_for_long(NULL);
    const struct flowq_tuple sent = tuple_reverse(&x.f[0]->in_tuple);
    frame_flow(&syn, &sent, FRAME_SYN);
    struct flowq_pkt pkt = frame_pkt(&syn);
    x.b.now_ns += 400 * MS;
    ck_assert_uint_eq(note(x.f[0], 2), FLOWQ_NOTE_MOVED);
    x.b.now_ns -= 400 * MS;
    ck_assert_uint_eq(flowq_tx_note(x.b.vm, &pkt, 3), FLOWQ_NOTE_MOVED);
    x.b.now_ns += 1100 * MS; /* 1.1 s after the second, 0.7 s after the first */
    ck_assert_uint_eq(note(x.f[0], 4), FLOWQ_NOTE_SUPPRESSED);
    ck_assert(quiet());
}
END_TEST

static void refresh_0_on_3(void *ctx)
{
    (void)ctx;
    came_to(0, note(x.f[0], 3));
}

static void refresh_1(void *ctx)
{
    (void)ctx;
    x.outcome[1] = note(x.f[0], 1);
}

/* The flow is moved to another queue and, as soon as it may, back, while a note for the queue that it had at first is held up. */
static void alone_for_long_and_fast(void *ctx)
{
    (void)ctx;
    make(16, 100000);
    x.f[0] = &pool[3][2][0][0];
    note(x.f[0], 1);
    x.b.now_ns += 3 * BARE_SECOND;
}

static void rebind_0_and_back(void *ctx)
{
    (void)ctx;
    note(x.f[0], 2);
    x.b.now_ns += 150 * MS;
    x.outcome[0] = note(x.f[0], 1);
}

/* Mutation: note_update_timed() stores 0 over an old time instead of comparing and swapping. */
START_TEST(a_refresh_does_not_clear_a_new_time)
{
    must_hold_every("refresh, held up", 2, alone_for_long_and_fast, its_time_counts_at_the_end, refresh_1, rebind_0_and_back);
    MUST_HOLD("refresh", alone_for_long, times_count, refresh_1, rebind_0, try_again_0);
    MUST_HOLD("refresh by an earlier clock", alone_for_long, later_counts, refresh_0_on_3, rebind_0_later);
}
END_TEST

/* ---- Flows that are moved ------------------------------------------------------------------------------------------------ */

static void crowd(void *ctx)
{
    (void)ctx;
    crowd_within(REBIND_US);
    x.b.now_ns += 3 * BARE_SECOND;
    for (unsigned i = 0; i < LINE_SLOTS; i++) {
        note(&pool[0][0][0][i], 1);
        note(&pool[0][3][1][i], 1);
    }
}

/* The times were not cleared, as nobody noted the flows since. */
static void crowd_of_old(void *ctx)
{
    (void)ctx;
    crowd_within(REBIND_US);
    x.b.now_ns += 1500 * MS;
}

/*
 * Mutations: note_bind_at() does not look at the word again; note_update_timed() does not look again when it suppresses;
 * note_find_other() does not look at the second line; note_take_left() does not raise the time at the new place.
 */
START_TEST(a_flow_that_moves_aside_keeps_its_time)
{
    MUST_HOLD("moving aside, at once", crowd, times_count, newcomer_2, rebind_0, try_again_0);
    must_hold_every("moving aside", 2, crowd, times_count, rebind_0, newcomer_2);
    must_hold_every("moving aside, old", 2, crowd_of_old, times_count, rebind_0, newcomer_2);
}
END_TEST

static void about_to_split(void *ctx)
{
    (void)ctx;
    about_to_split_within(REBIND_US);
    x.b.now_ns += 1500 * MS;
}

/*
 * Mutations: note_bind_at() does not look at the word again; note_update_timed() does not heed `arriving`; shard_split_locked()
 * brings the times before it names the halves; bring() stores.
 */
START_TEST(a_flow_keeps_its_time_in_a_split)
{
    MUST_HOLD("splitting", about_to_split, times_count, newcomer_2, rebind_0, try_again_0);
    must_hold_every("splitting, two", 2, about_to_split, times_count, rebind_0, newcomer_2);
}
END_TEST

static void about_to_widen(void *ctx)
{
    (void)ctx;
    about_to_widen_within(REBIND_US);
    x.b.now_ns += 1500 * MS;
}

/* Mutation: note_find_other() does not load the directory seq_cst, and looks into the old one. */
START_TEST(a_flow_keeps_its_time_where_the_directory_doubles)
{
    must_hold_every("directory doubles", 1, about_to_widen, times_count, rebind_0, newcomer_2);
}
END_TEST

/* Lines 0 and 3 are full of flows in one half, and but for the first none can go elsewhere. */
static void nearly_full(void)
{
    make(0, REBIND_US);
    x.f[0] = &pool[0][0][0][0];
    note(x.f[0], 1);
    for (unsigned i = 0; i < LINE_SLOTS - 1; i++)
        note(&pool[0][0][1][i], 1);
    fill_line(0, 3, 1);
    x.f[1] = &pool[0][0][1][LINE_SLOTS - 1];
    x.f[2] = &pool[4][0][1][0];
}

/* It was bound to another queue just now, and cannot go elsewhere either before the shard is split. */
static void first_can_go_after_a_split(void *ctx)
{
    (void)ctx;
    nearly_full();
    fill_line(4, 1, 0);
    x.b.now_ns += 3 * BARE_SECOND;
    x.outcome[0] = note(x.f[0], 2);
    if (x.outcome[0] != FLOWQ_NOTE_MOVED)
        abort();
}

static void newcomer_1(void *ctx)
{
    (void)ctx;
    x.outcome[1] = note(x.f[1], 5);
}

/* Mutation: shard_await() does not lock: the flow moves aside in a half between bring()'s look and its swap. */
START_TEST(nobody_moves_before_the_times_are_there)
{
    must_hold_every("splitting, then aside", 1, first_can_go_after_a_split, times_count, newcomer_2, newcomer_1);
}
END_TEST

static void first_can_go(void *ctx)
{
    (void)ctx;
    nearly_full();
    x.b.now_ns += 3 * BARE_SECOND;
}

static void aside_then_split(void *ctx)
{
    newcomer_1(ctx);
    newcomer_2(ctx);
}

/*
 * The flow moves twice while a note of it is held up: that finds the last place alone, and the one between would still have the
 * old time, which is so old that it passes for a later one. Mutation: note_update_timed() does not clear it when it binds.
 */
START_TEST(an_old_time_does_not_come_after_a_new_one)
{
    must_hold_every("aside, then splitting", 2, first_can_go, times_count, rebind_0, aside_then_split);
}
END_TEST

static void about_to_merge(void *ctx)
{
    (void)ctx;
    about_to_merge_within(REBIND_US);
}

/* Mutations: note_bind_at() does not look at the word again; trim_merge_locked() does not bring the times. */
START_TEST(a_flow_keeps_its_time_in_a_merge)
{
    MUST_HOLD("merging", about_to_merge, times_count, maintain, rebind_0, try_again_0);
    must_hold_every("merging, two", 2, about_to_merge, times_count, rebind_0, maintain);
}
END_TEST

/* ---- Words that are frozen in vain -------------------------------------------------------------------------------------- */

/* f[3] is bound just before; whoever finds its word thawed must find its time. */
static bool gave_up; /* whoever froze it has thawed it */
/* What a thread that has waited sees as it is now (weak_waited()), in the place of what it looks at next. Stored before anything
   else, so that these tell of nothing. */
static atomic_u32 looked_at[8];

static void begin_to_freeze(void)
{
    for (unsigned i = 0; i < 8; i++)
        u32_store_relaxed(&looked_at[i], 1);
}

static void bind_3(void *ctx)
{
    (void)ctx;
    x.outcome[1] = note(x.f[3], 5);
}

static void note_3_when_thawed(void *ctx)
{
    (void)ctx;
    while (!gave_up)
        sched_give_up();
    for (unsigned i = 0; i < 8; i++)
        (void)u32_load_relaxed(&looked_at[i]);
    x.outcome[2] = note(x.f[3], 6);
}

static bool bound_just_now(void *ctx)
{
    (void)ctx;
    SCHED_CHECK(x.outcome[1] != FLOWQ_NOTE_MOVED && x.outcome[2] != FLOWQ_NOTE_MOVED);
    return quiet();
}

/* Two shards whose merge is tried, as their counts have it, and fails, as their flows meet in lines 0 and 1. */
static void shards_count(bool as_they_are)
{
    for (unsigned i = 0; i < 2; i++) {
        struct shard *s = table_shard(x.b.table, i == 0 ? 0 : UINT64_MAX);
        uint32_t live = 0;
        for (unsigned n = 0; as_they_are && n < N_LINES * LINE_SLOTS; n++)
            live += atomic_load(&shard_line(s, n / LINE_SLOTS)->slot[n % LINE_SLOTS]) != 0;
        shard_set_live(shard_head(x.b.table, s), live);
    }
}

static void about_to_fail_to_merge(void *ctx)
{
    (void)ctx;
    about_to_merge_within(REBIND_US);
    if (fill_two_lines(0, 4) > FLOWQ_NOTE_MOVED || note(x.f[2], 1) > FLOWQ_NOTE_MOVED)
        abort();
    shards_count(false);
    x.f[3] = &pool[0][2][0][0];
    gave_up = false;
}

static void fail_to_merge(void *ctx)
{
    (void)ctx;
    begin_to_freeze();
    flowq_vm_maintain(x.b.vm);
    gave_up = true;
}

static bool two_shards_and_bound(void *ctx)
{
    SCHED_CHECK(x.b.table->grow.n_shards == 2);
    shards_count(true);
    return bound_just_now(ctx);
}

/* A split that cannot have the grow lock when it has copied: who has bound the flow holds that until then. */
static void about_to_split_in_vain(void *ctx)
{
    (void)ctx;
    about_to_split_within(REBIND_US);
    x.f[3] = &pool[0][2][0][0];
    gave_up = false;
}

/* As a note does it that finds no room, but that everybody else gets on as far as they can when it has its halves. */
static void split_in_vain(void *ctx)
{
    struct table *t = x.b.table;
    struct thread *self = thread_self();
    struct table_halves h = {{NULL, NULL}};
    struct table_want want = {.n_slabs = 0};
    uint32_t tries_left = 0;
    (void)ctx;
    begin_to_freeze();
    thread_enter(self);
    struct shard *s = table_shard(t, x.f[2]->hash);
    if (table_prepare(t, s, &h, &want, &tries_left) == TABLE_WANTS && table_get(t, &want, &tries_left) == TABLE_GOT)
        (void)table_prepare(t, s, &h, &want, &tries_left);
    sched_give_up();
    if (h.half[0] && shard_try(shard_head(t, s))) {
        (void)table_grow(t, s, x.f[2]->hash, &h, &want, &tries_left);
        shard_unlock(shard_head(t, s));
    }
    if (h.half[0])
        table_give_back(t, &h);
    thread_leave(self);
    gave_up = true;
}

static void bind_3_and_hold_growth(void *ctx)
{
    bind_3(ctx);
    spin_lock(&x.b.table->grow.lock);
    while (!gave_up)
        sched_give_up();
    spin_unlock(&x.b.table->grow.lock);
}

/* Mutations: trim_thaw(), or shard_split_undo(), stores relaxed. */
START_TEST(a_word_that_is_thawed_has_its_time)
{
    MUST_HOLD_WITHIN(1, "merge that fails, new flow", about_to_fail_to_merge, two_shards_and_bound, fail_to_merge, bind_3,
                     note_3_when_thawed);
    MUST_HOLD_WITHIN(1, "split in vain, new flow", about_to_split_in_vain, bound_just_now, split_in_vain, bind_3_and_hold_growth,
                     note_3_when_thawed);
}
END_TEST

int main(void)
{
    TCase *tc = orders_begin("check_orders_times");
    tcase_add_test(tc, a_new_flow_has_its_time);
    tcase_add_test(tc, a_newcomer_that_fails_leaves_the_time);
    tcase_add_test(tc, a_late_note_does_not_age_a_newcomer);
    tcase_add_test(tc, of_two_times_the_later_counts);
    tcase_add_test(tc, a_later_time_stays);
    tcase_add_test(tc, a_refresh_does_not_clear_a_new_time);
    tcase_add_test(tc, a_flow_that_moves_aside_keeps_its_time);
    tcase_add_test(tc, a_flow_keeps_its_time_in_a_split);
    tcase_add_test(tc, a_flow_keeps_its_time_where_the_directory_doubles);
    tcase_add_test(tc, nobody_moves_before_the_times_are_there);
    tcase_add_test(tc, an_old_time_does_not_come_after_a_new_one);
    tcase_add_test(tc, a_flow_keeps_its_time_in_a_merge);
    tcase_add_test(tc, a_word_that_is_thawed_has_its_time);
    return orders_end("check_orders_times", tc);
}
