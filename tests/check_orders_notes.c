/*
 * check_orders_notes: notes side by side (S12, T-G) under the scheduler of sched.h.
 *
 * Each scenario names the mutations of the library that make it fail; that is what it was tried out with. One that no mutation
 * makes fail shows nothing.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "orders.h"

/* ---- Inserting, displacing, resetting ----------------------------------------------------------------------------------- */

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

/* Mutations: insert() does not lock; insert() does not look again under the lock; table_first_shard_locked() does not look again.
   */
START_TEST(one_flow_noted_by_three)
{
    MUST_HOLD("first flow of a table", empty_table, one_copy, note_mine, note_mine, note_mine);
    MUST_HOLD("one flow, three noters", empty_shard, one_copy, note_mine, note_mine, note_mine);
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

static void newcomer_0(void *ctx)
{
    (void)ctx;
    came_to(0, note(x.f[0], 5));
}
static void newcomer_1(void *ctx)
{
    (void)ctx;
    came_to(1, note(x.f[1], 5));
}

static void steer_newcomers(void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < 2; i++) {
        bool before = has_come_to(i, FLOWQ_NOTE_BOUND);
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
    MUST_HOLD("newcomers", two_lines_nearly_full, newcomers_check, newcomer_0, newcomer_1, newcomer_2, steer_newcomers);
}
END_TEST

static void one_may_give_way(void *ctx)
{
    (void)ctx;
    one_may_give_way_within(0);
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
START_TEST(refresh_while_displacing) { MUST_HOLD("displacing", one_may_give_way, displacement_check, newcomer_2, rebind_0); }
END_TEST

/* The same of a flow in its second line. */
static void one_away_may_give_way(void *ctx)
{
    (void)ctx;
    make(16, 0);
    fill_line(0, 0, 0);
    x.f[0] = &pool[0][0][0][7];
    if (note(x.f[0], 1) != FLOWQ_NOTE_BOUND || !(bare_find(&x.b, x.f[0]->hash) & WORD_SECONDARY))
        abort();
    x.b.now_ns += 60 * BARE_SECOND;
    for (unsigned i = 0; i < LINE_SLOTS; i++)
        note(&pool[0][0][0][i], 1);
    for (unsigned i = 0; i < LINE_SLOTS - 1; i++)
        if (note(&pool[0][1][0][i], 1) > FLOWQ_NOTE_MOVED)
            abort();
    x.f[2] = &pool[0][1][0][6];
}

static void look_for_the_away(void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < 3; i++)
        if (decide(x.f[0]).reason != FLOWQ_REASON_BOUND)
            x.missed = true;
}

static bool never_missed(void *ctx)
{
    (void)ctx;
    if (x.outcome[0] == FLOWQ_NOTE_MOVED) /* it was bound all the time */
        SCHED_CHECK(!x.missed);
    return quiet();
}

/* Mutation: put() writes the flow off before it has frozen it: who looks at its home line meanwhile does not find it (T-B). */
START_TEST(refresh_while_displacing_from_the_second_line)
{
    MUST_HOLD("displacing, second line", one_away_may_give_way, never_missed, newcomer_2, rebind_0, look_for_the_away);
}
END_TEST

/* ---- T-G: parts of a shard, and all of it; splits that come too late ---------------------------------------------------- */

/* One newcomer has the shard split; two others, to lines of different parts, find room wherever they come. */
static void room_beside_a_split(void *ctx)
{
    (void)ctx;
    about_to_split_within(0);
    x.f[0] = &pool[0][2][0][0];
    x.f[1] = &pool[4][3][0][1];
}

/* What a note has bound stays bound, on the queue of the last note, whatever is copied meanwhile. */
static void come_and_move_0(void *ctx)
{
    newcomer_0(ctx);
    if (x.outcome[0] == FLOWQ_NOTE_BOUND && note(x.f[0], 3) == FLOWQ_NOTE_MOVED)
        SCHED_CHECK(decide(x.f[0]).qid == 3);
}

static bool room_check(void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < 3; i++) {
        uint32_t qid = bare_queue(&x.b, x.f[i]->hash);
        SCHED_CHECK(x.outcome[i] == FLOWQ_NOTE_BOUND || x.outcome[i] == FLOWQ_NOTE_BUSY);
        SCHED_CHECK((qid == 5 || (i == 0 && qid == 3)) == (x.outcome[i] == FLOWQ_NOTE_BOUND));
    }
    SCHED_CHECK(bare_displaced(&x.b) == 0);
    return quiet();
}

static bool room_check_two(void *ctx)
{
    x.outcome[1] = note(x.f[1], 5);
    return room_check(ctx);
}

/*
 * Mutations: part_try() does not look at the shard's lock once it has its own; shard_try() does not look at the parts once it has
 * the lock; note_insert_in() does not look whether the shard is superseded.
 */
START_TEST(newcomers_beside_a_split)
{
    MUST_HOLD("beside a split", room_beside_a_split, room_check, newcomer_2, come_and_move_0, newcomer_1);
    must_hold_every("beside a split, two", 2, room_beside_a_split, room_check_two, newcomer_2, newcomer_0);
    must_hold_every("a split beside", 1, room_beside_a_split, room_check_two, newcomer_0, newcomer_2);
}
END_TEST

static void forget_all(void *ctx)
{
    (void)ctx;
    flowq_vm_reset(x.b.vm, FLOWQ_RESET_FLOWS);
}

static bool only_quiet(void *ctx)
{
    (void)ctx;
    return quiet();
}

/* The counts of flows, inserted and forgotten, say whether anybody wrote where the other did. Mutation: shard_lock() does not
   wait for the parts. */
START_TEST(newcomers_beside_a_reset)
{
    MUST_HOLD("beside a reset", two_lines_nearly_full, only_quiet, newcomer_0, newcomer_1, forget_all);
    must_hold_every("beside a reset, two", 2, two_lines_nearly_full, only_quiet, newcomer_0, forget_all);
}
END_TEST

/* Line 0 is full, and line 1, the second of its flows, has one place; two newcomers from the two homes come for it. */
static void one_place_for_two(void *ctx)
{
    (void)ctx;
    make(16, 0);
    fill_line(0, 0, 0);
    for (unsigned i = 0; i < LINE_SLOTS - 1; i++)
        note(&pool[0][1][0][i], 1);
    x.f[0] = &pool[1][0][0][0];
    x.f[1] = &pool[1][1][0][0];
    x.f[2] = &pool[2][2][0][0];
}

static bool one_is_refused(void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < 2; i++)
        SCHED_CHECK((bare_queue(&x.b, x.f[i]->hash) == 5) == (x.outcome[i] == FLOWQ_NOTE_BOUND));
    SCHED_CHECK((x.outcome[0] == FLOWQ_NOTE_BOUND) + (x.outcome[1] == FLOWQ_NOTE_BOUND) == 1);
    return quiet();
}

/* Mutation: note_insert_in_parts() does not lock the second line's part: one newcomer takes the place of the other (S1). */
START_TEST(two_newcomers_for_one_place)
{
    MUST_HOLD("one place", one_place_for_two, one_is_refused, newcomer_0, newcomer_1);
    must_hold_every("one place, every order", 2, one_place_for_two, one_is_refused, newcomer_0, newcomer_1);
}
END_TEST

/* Two shards that have to be split, and room for one more alone: whoever comes second has copied in vain. */
static void one_more_shard(void *ctx)
{
    (void)ctx;
    about_to_split_within(0);
    uint32_t worst = note(x.f[2], 1);
    for (unsigned i = 0; i < LINE_SLOTS; i++)
        for (uint32_t home = 0; home < 2; home++)
            if (i < LINE_SLOTS - 1 || home == 1) { /* x.f[2] has the last place */
                uint32_t outcome = note(&pool[i % 2 ? 2 : 6][home][0][i], 1);
                worst = outcome > worst ? outcome : worst;
            }
    if (worst != FLOWQ_NOTE_BOUND || x.b.table->grow.n_shards != 2)
        abort();
    x.b.table->max_shards = 3;
    x.f[0] = &pool[0][0][0][0];
    x.f[1] = &pool[0][0][0][7];
    x.f[2] = &pool[4][1][0][7];
}

static bool one_split_check(void *ctx)
{
    (void)ctx;
    came_out(x.f[0], x.outcome[0]);
    SCHED_CHECK(x.b.table->grow.n_shards <= 3);
    for (unsigned top = 0; top < 8; top += 2)
        for (unsigned i = top == 2 || top == 4; i < LINE_SLOTS; i += 2)
            for (uint32_t home = top == 6 && i == LINE_SLOTS - 1; home < 2; home++)
                SCHED_CHECK(bare_queue(&x.b, pool[top][home][0][i].hash) != FLOWQ_DROP);
    SCHED_CHECK(bare_displaced(&x.b) == 0);
    return quiet();
}

static bool one_split_check_two(void *ctx)
{
    rebind_0(ctx);
    return one_split_check(ctx);
}

/* Mutations: split() does not undo; shard_split_undo() leaves out the class; shard_publish_locked() does not
   ask again whether there may be more shards. */
START_TEST(a_split_in_vain)
{
    MUST_HOLD("in vain", one_more_shard, one_split_check, rebind_0, newcomer_1, newcomer_2);
    must_hold_every("in vain, every order", 1, one_more_shard, one_split_check_two, newcomer_1, newcomer_2);
}
END_TEST

int main(void)
{
    TCase *tc = orders_begin("check_orders_notes");
    tcase_add_test(tc, one_flow_noted_by_three);
    tcase_add_test(tc, newcomers_side_by_side);
    tcase_add_test(tc, refresh_while_displacing);
    tcase_add_test(tc, refresh_while_displacing_from_the_second_line);
    tcase_add_test(tc, newcomers_beside_a_split);
    tcase_add_test(tc, newcomers_beside_a_reset);
    tcase_add_test(tc, two_newcomers_for_one_place);
    tcase_add_test(tc, a_split_in_vain);
    return orders_end("check_orders_notes", tc);
}
