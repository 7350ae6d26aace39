/*
 * check_orders_notes: notes side by side (S12, T-G), and the ordering of queues, Q-A, under the scheduler of sched.h.
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

/* ---- Q-A: queues -------------------------------------------------------------------------------------------------------- */

#define NONE_IN_USE (UINT64_C(1) << 63)

/* While a setter runs, what was and what will be may both be in use. */
static void queues_become(uint64_t bits)
{
    x.may |= bits;
    for (unsigned i = 0; i < 8; i++)
        x.may_have[i] |= x.may;
}

/* The setter has returned: a call that is begun now obeys it. */
static void queues_are(uint64_t bits)
{
    x.may = bits;
    sched_release(&x.may);
}

static void begin_call(unsigned me)
{
    x.may_have[me] = x.may;
    sched_acquire(&x.may);
}

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
        begin_call(me);
        struct flowq_decision d = decide(f);
        SCHED_CHECK(x.may_have[me] & (d.qid == FLOWQ_DROP ? NONE_IN_USE : UINT64_C(1) << d.qid));
        begin_call(me);
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
 * Mutations: queue_pick() does not look at in_use and setters store the summary before the slots (either alone is made good by
 * the other); queues_publish_locked() clears in_use before it sets it; setters do not lock; queues_publish_locked() leaves the
 * summary as it was.
 */
START_TEST(setters_while_steering)
{
    MUST_HOLD("queues", all_in_use, queues_check, setters, steer_all, steer_all, steer_untouched);
    MUST_HOLD("few queues", all_in_use, queues_check, more_setters, steer_all, steer_all);
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

START_TEST(setters_side_by_side) { MUST_HOLD("setters", all_in_use, both_are_off, enable_mine, enable_mine); }
END_TEST

/* Queue 3 is about to come. Flows that will be its own, and where they go before. */
#define N_UNBOUND 4
static const struct flow *to_3[N_UNBOUND];
static uint16_t before_3[N_UNBOUND];

static void find_those_to_3(void)
{
    const struct flow *f = &pool[0][0][0][0];
    flowq_vm_set_queue_enabled(x.b.vm, 3, true);
    for (unsigned n = 0; n < N_UNBOUND; f++) {
        struct flowq_decision d = decide(f);
        if (d.qid == 3 && d.reason == FLOWQ_REASON_FALLBACK)
            to_3[n++] = f;
    }
}

static void all_but_queue_3(void *ctx)
{
    all_in_use(ctx);
    flowq_vm_set_queue_enabled(x.b.vm, 3, false);
}

static void about_to_enable_3(void *ctx)
{
    all_but_queue_3(ctx);
    if (to_3[0] == NULL) {
        find_those_to_3();
        all_but_queue_3(ctx);
    }
    for (unsigned i = 0; i < N_UNBOUND; i++)
        before_3[i] = decide(to_3[i]).qid;
}

static void enable_3(void *ctx)
{
    (void)ctx;
    flowq_vm_set_queue_enabled(x.b.vm, 3, true);
}

/* A queue that comes takes flows, no other queue does: who sees a slot sees the queue that it was given to (S10). */
static void steer_beside(void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < N_UNBOUND; i++) {
        uint16_t qid = decide(to_3[i]).qid;
        SCHED_CHECK(qid == before_3[i] || qid == 3);
    }
}

/* Mutations: queues_publish_locked() stores the slots before the bits, or relaxed; queue_pick_of() loads the slot relaxed. */
START_TEST(a_queue_comes) { must_hold_every("a queue comes", 1, about_to_enable_3, queues_check, enable_3, steer_beside); }
END_TEST

/* The guest's table names queue 3 alone. */
static void ruled_by_queue_3(void *ctx)
{
    static const uint16_t table[] = {3};
    const struct flowq_rss rss = {.size = sizeof(rss), .table = table, .table_length = 1, .unclassified = 3, .max_tx = PAIRS};
    all_in_use(ctx);
    if (flowq_vm_set_rss(x.b.vm, &rss) != 0)
        abort();
}

static void reset_queue_3(void *ctx)
{
    (void)ctx;
    flowq_vm_set_queue_resetting(x.b.vm, 3, true);
}

/* A queue that is being reset drops; no other one takes its packets meanwhile, as one would if it were switched off. */
static void steer_to_queue_3(void *ctx)
{
    uint16_t last = 3;
    (void)ctx;
    for (unsigned i = 0; i < 3; i++) {
        uint16_t qid = decide(&pool[0][0][0][0]).qid;
        SCHED_CHECK(qid == last || qid == FLOWQ_DROP);
        last = qid;
    }
}

static bool queue_3_is_off(void *ctx)
{
    (void)ctx;
    SCHED_CHECK(decide(&pool[0][0][0][0]).qid == FLOWQ_DROP);
    x.made = false;
    return bare_free(&x.b);
}

/* Mutation: queues_set_resetting() takes the queue out of in_use before it stores `resetting`. */
START_TEST(reset_while_the_table_rules)
{
    MUST_HOLD("reset of a queue", ruled_by_queue_3, queue_3_is_off, reset_queue_3, steer_to_queue_3);
}
END_TEST

/* A vm of its own, with two words of queues. The table names queue 101 alone, which is off; of the others queue 3 or queue 100 is
   on at any time. */
static struct flowq_vm *wide;

static void ruled_by_queue_101(void *ctx)
{
    static const uint16_t table[] = {101};
    const struct flowq_rss rss = {.size = sizeof(rss), .table = table, .table_length = 1, .unclassified = 101, .max_tx = 128};
    const struct flowq_vm_config cfg = {
        .size = sizeof(cfg), .max_queue_pairs = 128, .virtio_features = FLOWQ_VIRTIO_F_MQ | FLOWQ_VIRTIO_F_RSS, .secret = {1}};
    (void)ctx;
    if (flowq_vm_create(&cfg, &wide) != 0 || flowq_vm_set_rss(wide, &rss) != 0)
        abort();
    flowq_vm_set_queue_enabled(wide, 0, false);
    flowq_vm_set_queue_enabled(wide, 101, false);
    queues_set_named(&wide->queues, 1, (const uint16_t[]){100}, 1);
    (void)flowq_synchronize();
}

/* At once, as another table of RSS does it. */
static void change_places(void *ctx)
{
    static const uint16_t three = 3, hundred = 100;
    (void)ctx;
    for (unsigned i = 0; i < 4; i++)
        queues_set_named(&wide->queues, 1, i & 1 ? &hundred : &three, 1);
}

static void steer_to_the_next(void *ctx)
{
    static const uint8_t bytes[64];
    const struct flowq_pkt pkt = {.data = bytes, .len = sizeof(bytes)};
    (void)ctx;
    for (unsigned i = 0; i < 3; i++) {
        uint16_t qid = flowq_rx_steer(wide, &pkt);
        SCHED_CHECK(qid == 3 || qid == 100);
    }
}

static bool queue_100_is_next(void *ctx)
{
    (void)ctx;
    bool right = queue_next_in_use(&wide->queues, 101) == 100;
    flowq_vm_destroy(wide);
    return right;
}

/* Mutation: queue_next_in_use() ends with its scan. */
START_TEST(the_next_queue_while_queues_change_places)
{
    MUST_HOLD("next in use", ruled_by_queue_101, queue_100_is_next, change_places, steer_to_the_next);
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
    tcase_add_test(tc, setters_while_steering);
    tcase_add_test(tc, setters_side_by_side);
    tcase_add_test(tc, a_queue_comes);
    tcase_add_test(tc, reset_while_the_table_rules);
    tcase_add_test(tc, the_next_queue_while_queues_change_places);
    return orders_end("check_orders_notes", tc);
}
