/*
 * check_grow: growth and memory of the flow table: what is refused, what a section that stays open costs (T-F), what comes back.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <errno.h>

#include "oracle.h"

/* Memory is refused from the n-th allocation on, for every n that growth comes to: nothing is lost, and then it goes on. */
START_TEST(no_memory_to_grow)
{
    uint64_t fail_at = 0;
    bool failed = true;
    while (failed && fail_at < 1000) {
        bare_make_sized(&b, 6000, 0);
        atomic_store(&b.fail_at, ++fail_at);
        uint32_t bound = insert_new(6000);
        failed = atomic_load(&b.fail_at) == 1;
        ck_assert_uint_eq(bare_stat(&b, STAT_GROW_FAILED) > 0, bound < 6000);
        if (fail_at == 1)
            ck_assert_uint_eq(bound, 0); /* no first shard */
        atomic_store(&b.fail_at, 0);
        for (uint32_t i = 0; i < n_flows; i++)
            ck_assert_uint_eq(bare_note(&b, flows[i].hash, flows[i].queue),
                              flows[i].bound ? FLOWQ_NOTE_REFRESHED : FLOWQ_NOTE_BOUND);
        ck_assert_uint_eq(table_live(b.table), 6000);
        ck_assert_uint_le(b.bytes,
                          b.table->grow.n_shards * (b.table->shard_bytes + sizeof(struct slab)) + 1024); /* no shard lost */
        must_be_right();
        bare_free(&b);
        ck_assert_uint_eq(b.bytes, 0);
    }
    printf("growth to 6000 flows: %llu allocations, each refused in turn\n", (unsigned long long)fail_at - 1);
    ck_assert_uint_gt(fail_at, 8);
}
END_TEST

/* Memory is refused when shards are merged, and when a table is made. */
START_TEST(no_memory_elsewhere)
{
    bare_make_sized(&b, 20000, 0);
    insert_new(20000);
    b.now_ns += 1700 * BARE_SECOND;
    atomic_store(&b.fail_at, 1);
    uint32_t n_shards = b.table->grow.n_shards;
    for (unsigned i = 0; i < 100; i++)
        flowq_vm_maintain(b.vm);
    ck_assert_uint_eq(b.table->grow.n_shards, n_shards);
    must_agree();
    bare_free(&b);
    struct flowq_vm_config cfg = {.max_flows = 100000, .initial_flows = 100000, .rebind_min_tcp_us = 1000};
    int r;
    uint64_t n = 0;
    do {
        atomic_store(&b.fail_at, ++n);
        r = bare_make(&b, &cfg, 256);
        ck_assert(r == 0 || r == -ENOMEM);
        if (r == 0)
            bare_free(&b);
        ck_assert_uint_eq(b.bytes, 0);
    } while (r != 0 && n < 1000);
    ck_assert_int_eq(r, 0);
    ck_assert_uint_gt(n, 3);
}
END_TEST

/* A thread that opens a section and stays there until it is told to leave. */
struct sitter {
    pthread_t id;
    atomic_uint state; /* 1: inside, 2: leave */
};

static void *sit(void *arg)
{
    struct sitter *s = arg;
    flowq_enter();
    atomic_store(&s->state, 1);
    while (atomic_load(&s->state) != 2)
        sched_yield();
    flowq_leave();
    return NULL;
}

static void sitter_starts(struct sitter *s)
{
    atomic_store(&s->state, 0);
    ck_assert_int_eq(pthread_create(&s->id, NULL, sit, s), 0);
    while (atomic_load(&s->state) != 1)
        sched_yield();
}

static void sitter_leaves(struct sitter *s)
{
    atomic_store(&s->state, 2);
    pthread_join(s->id, NULL);
}

/* T-F: a section that stays open costs at most as much memory again, nothing is lost, and afterwards all is as if it had not
 * been. */
START_TEST(a_stalled_section_bounds_memory)
{
    struct sitter s;
    bare_make_sized(&b, 1u << 18, 0);
    insert_new(20000);
    struct oracle_flow *before = flows;
    flows = NULL;
    uint64_t bytes = b.bytes, shards = b.table->grow.n_shards;
    sitter_starts(&s);
    uint32_t bound = insert_new(60000);
    uint64_t peak = b.bytes, retired = atomic_load(&b.table->grow.retired_bytes);
    printf("open section: %llu of %llu shards more, %llu bytes where there were %llu; %u of 60000 flows bound\n",
           (unsigned long long)(b.table->grow.n_shards - shards), (unsigned long long)shards, (unsigned long long)peak,
           (unsigned long long)bytes, bound);
    ck_assert_uint_gt(bare_stat(&b, STAT_GROW_DELAYED), 0);
    ck_assert_uint_le(b.table->grow.n_shards, 2 * shards);                        /* each was split once */
    ck_assert_uint_le(retired, shards * b.table->shard_bytes + 4096);             /* 4096: directories */
    ck_assert_uint_le(peak, 3 * shards * b.table->shard_bytes + 2 * MEMORY_HUGE); /* so many, cut into slabs */
    ck_assert_uint_lt(bound, 60000);
    for (uint32_t i = 0; i < 20000; i++)
        ck_assert_uint_eq(bare_note(&b, before[i].hash, 7), before[i].queue == 7 ? FLOWQ_NOTE_REFRESHED : FLOWQ_NOTE_MOVED);
    for (unsigned i = 0; i < 1000; i++)
        flowq_vm_maintain(b.vm); /* no way around it */
    ck_assert_uint_le(b.bytes, peak);
    sitter_leaves(&s);
    free(before);
    ck_assert_uint_eq(insert_new(60000), 60000);
    ck_assert_uint_eq(atomic_load(&b.table->grow.retired_bytes), 0);
    ck_assert(!table_has_retired(b.table));
    bare_free(&b);
}
END_TEST

/* The way back: what was merged while the section is open is not merged once more. Mutation: merge_locked() does not set `born`.
 */
START_TEST(a_stalled_section_and_a_trim)
{
    struct sitter s;
    bare_make_sized(&b, 1u << 18, 0);
    insert_new(30000);
    uint64_t shards = b.table->grow.n_shards;
    ck_assert_uint_ge(shards, 16);
    ck_assert_int_eq(flowq_synchronize(), 0);
    for (unsigned i = 0; i < 10; i++)
        flowq_vm_maintain(b.vm); /* sees that no split is remembered any more */
    sitter_starts(&s);
    b.now_ns += 1900 * BARE_SECOND; /* all of them are stale */
    for (unsigned i = 0; i < 1000; i++)
        flowq_vm_maintain(b.vm);
    ck_assert_uint_ge(b.table->grow.n_shards, shards / 2);
    ck_assert_uint_lt(b.table->grow.n_shards, shards);
    ck_assert_uint_le(atomic_load(&b.table->grow.retired_bytes), shards * b.table->shard_bytes + 4096); /* 4096: directories */
    sitter_leaves(&s);
    for (unsigned i = 0; i < 1000; i++)
        flowq_vm_maintain(b.vm);
    ck_assert_uint_le(b.table->grow.n_shards, 1);
    must_be_right();
    bare_free(&b);
}
END_TEST

/* The same for one shard in a directory that has long been deep enough for its grandchildren. Mutation: split_prepare() does not
   look at `born`. */
START_TEST(a_stalled_section_and_a_deep_directory)
{
    struct sitter s;
    bare_make_sized(&b, 1u << 18, 0);
    for (uint32_t i = 0; i < 4000; i++)
        bare_note(&b, rng_next(&rng) >> 6, 3);
    ck_assert_uint_ge(((const struct directory *)atomic_load(&b.table->directory))->depth, 6);
    uint32_t shards = b.table->grow.n_shards;
    sitter_starts(&s);
    for (uint32_t i = 0; i < 20000; i++)
        bare_note(&b, rng_next(&rng) | UINT64_C(1) << 63, 3);
    ck_assert_uint_eq(b.table->grow.n_shards, shards + 1);
    sitter_leaves(&s);
    for (uint32_t i = 0; i < 20000; i++)
        bare_note(&b, rng_next(&rng) | UINT64_C(1) << 63, 3);
    ck_assert_uint_gt(b.table->grow.n_shards, shards + 8);
    must_be_right();
    bare_free(&b);
}
END_TEST

/* T-F when nothing but the last shard comes and goes: a guest that is reset, says something, falls silent, and so on. */
START_TEST(a_stalled_section_and_resets)
{
    struct sitter s;
    bare_make_sized(&b, 1000, 0);
    sitter_starts(&s);
    for (uint32_t i = 0; i < 1000; i++) {
        ck_assert_uint_eq(bare_note(&b, rng_next(&rng), 3), FLOWQ_NOTE_BOUND);
        flowq_vm_reset(b.vm, FLOWQ_RESET_FLOWS);
        flowq_vm_maintain(b.vm);
    }
    ck_assert_uint_le(b.max_bytes, 3 * (b.table->shard_bytes + sizeof(struct slab)) + 1024);
    must_be_right();
    sitter_leaves(&s);
    flowq_vm_maintain(b.vm);
    flowq_vm_maintain(b.vm);
    ck_assert_uint_lt(b.bytes, 1024);
    bare_free(&b);
}
END_TEST

/* A peak, then a few flows that go on: memory comes back, some at a time, and none of these flows is lost. */
static void after_a_peak(uint32_t peak, uint32_t initial, uint32_t n_kept)
{
    bare_make_sized(&b, peak, initial);
    uint64_t first_bytes = b.bytes, first_shards = b.table->grow.n_shards;
    ck_assert_uint_eq(insert_new(peak), peak);
    uint64_t bytes = b.bytes;
    b.now_ns += 1000 * BARE_SECOND;
    for (uint32_t i = 0; i < n_kept; i++)
        bare_note(&b, flows[i].hash, flows[i].queue);
    for (uint32_t i = 0; i < n_kept; i++)
        flows[i].tick = tick_now();
    b.now_ns += 900 * BARE_SECOND; /* the others are stale */
    unsigned n = 0;
    for (uint64_t merged = 1, shrunk = 0, calls = 0; merged != shrunk || calls++ < 200; n++) {
        struct losses before = losses_now();
        merged = shrunk;
        flowq_vm_maintain(b.vm);
        shrunk = bare_stat(&b, STAT_SHRUNK);
        ck_assert_uint_le(shrunk - merged, 2);
        if (n % 64 == 0)
            find_losses(before);
        else if (shrunk != merged)
            must_be_right();
    }
    for (uint32_t i = n_kept; i < peak; i++)
        flows[i].bound = bare_find(&b, flows[i].hash) != 0; /* some may have been left where they are */
    must_agree();
    printf("peak of %u: %llu bytes, after %u calls of maintain %llu; at first %llu\n", peak, (unsigned long long)bytes, n,
           (unsigned long long)b.bytes, (unsigned long long)first_bytes);
    ck_assert_uint_le(b.bytes, first_bytes + 8 * (b.table->shard_bytes + sizeof(struct slab)));
    ck_assert_uint_le(b.table->grow.n_shards, first_shards + 4);
    ck_assert_uint_ge(b.table->grow.n_shards, first_shards);
    if (initial)
        ck_assert_uint_eq(b.table->grow.n_shards, first_shards);
    bare_free(&b);
}

START_TEST(memory_comes_back)
{
    after_a_peak(50000, 0, 500);
    after_a_peak(50000, 5000, 0);
    if (seed_long())
        after_a_peak(200000, 0, 200);
    bare_make_sized(&b, 50000, 0); /* all forgotten: nothing is left but a small directory */
    insert_new(50000);
    flowq_vm_reset(b.vm, FLOWQ_RESET_FLOWS);
    for (unsigned i = 0; i < 400; i++)
        flowq_vm_maintain(b.vm);
    ck_assert_uint_eq(b.table->grow.n_shards, 0);
    ck_assert_uint_lt(b.bytes, 1024);
    must_be_right();
    insert_new(50000);
    bare_free(&b);
}
END_TEST

int main(void)
{
    rng.state = seed_get("check_grow");
    Suite *s = suite_create("grow");
    TCase *tc = tcase_create("grow");
    tcase_set_timeout(tc, seed_long() ? 1200 : 60);
    tcase_add_test(tc, no_memory_to_grow);
    tcase_add_test(tc, no_memory_elsewhere);
    tcase_add_test(tc, a_stalled_section_bounds_memory);
    tcase_add_test(tc, a_stalled_section_and_a_deep_directory);
    tcase_add_test(tc, a_stalled_section_and_a_trim);
    tcase_add_test(tc, a_stalled_section_and_resets);
    tcase_add_test(tc, memory_comes_back);
    suite_add_tcase(s, tc);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
