/*
 * check_grow: growth and memory of the flow table: what is refused, what a section that stays open costs (T-F), what comes back.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <errno.h>

#include "oracle.h"
#include "runner.h"
#include "thread.h"

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
    b.now_ns += 1900 * BARE_SECOND;
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

/* T-F: a section that stays open costs at most as much memory again, delays nothing while the table only grows, and afterwards
   all is as if it had not been. */
START_TEST(a_stalled_section_bounds_memory)
{
    struct sitter s;
    bare_make_sized(&b, 1u << 17, 0);
    insert_new(20000);
    struct oracle_flow *before = flows;
    flows = NULL;
    uint64_t shards = b.table->grow.n_shards;
    sitter_starts(&s);
    ck_assert_uint_eq(insert_new(100000), 100000);
    uint64_t peak = b.max_bytes, retired = atomic_load(&b.table->grow.retired_bytes), now = b.table->grow.n_shards;
    printf("open section: %llu shards where there were %llu, %u retired; %llu bytes\n", (unsigned long long)now,
           (unsigned long long)shards, b.table->grow.n_retired, (unsigned long long)peak);
    ck_assert_uint_eq(bare_stat(&b, STAT_GROW_DELAYED), 0);
    ck_assert_uint_eq(bare_displaced(&b), 0);
    ck_assert_uint_gt(b.table->grow.n_retired, 0);
    ck_assert_uint_lt(b.table->grow.n_retired, now);
    ck_assert_uint_le(retired, now * b.table->shard_bytes + 2 * 8 * 4 * now);  /* two directories, four entries a shard */
    ck_assert_uint_le(peak, 2 * now * b.table->shard_bytes + 2 * MEMORY_HUGE); /* so many, cut into slabs */
    for (uint32_t i = 0; i < 20000; i++)
        ck_assert_uint_eq(bare_note(&b, before[i].hash, 7), before[i].queue == 7 ? FLOWQ_NOTE_REFRESHED : FLOWQ_NOTE_MOVED);
    for (unsigned i = 0; i < 1000; i++)
        flowq_vm_maintain(b.vm); /* no way around it */
    ck_assert_uint_le(b.bytes, peak);
    /* More than there is room for: they displace, as ever. */
    b.now_ns += 100 * BARE_SECOND;
    for (uint32_t i = 0; i < 300000; i++)
        ck_assert_uint_eq(bare_note_kind(&b, new_hash(), 3, NOTE_CARRIES) == FLOWQ_NOTE_BUSY, 0);
    ck_assert_uint_gt(bare_displaced(&b), 0);
    ck_assert_uint_le(b.table->grow.n_retired, b.table->grow.n_shards);
    sitter_leaves(&s);
    free(before);
    bare_note(&b, new_hash(), 3);
    ck_assert_uint_eq(atomic_load(&b.table->grow.retired_bytes), 0);
    ck_assert(!table_has_retired(b.table));
    must_be_right();
    bare_free(&b);
}
END_TEST

/* The way back: what was merged while the section is open is not merged once more. Mutation: trim_merge_locked() does not
   set `born`. */
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

/* T-F when shards have been merged since the section was opened: growth waits, and what is beside the table is no more than there
   was when the section was opened, or is now. Newcomers then displace what may be displaced. Mutation: shard_split_prepare() does
   not look at n_retired. */
START_TEST(a_stalled_section_and_merges)
{
    struct sitter s;
    bare_make_sized(&b, 100000, 0);
    insert_new(60000);
    uint32_t shards = b.table->grow.n_shards;
    sitter_starts(&s);
    b.now_ns += 1900 * BARE_SECOND;
    for (unsigned i = 0; i < 400; i++)
        flowq_vm_maintain(b.vm);
    ck_assert_uint_gt(b.table->grow.n_retired, b.table->grow.n_shards);
    for (uint32_t i = 0; i < 300000; i++) {
        bare_note(&b, new_hash(), 3);
        if (i % 64 == 0)
            flowq_vm_maintain(b.vm);
        uint32_t most = b.table->grow.n_shards + 1 > shards ? b.table->grow.n_shards + 1 : shards;
        ck_assert_uint_le(b.table->grow.n_retired, most);
    }
    ck_assert_uint_gt(bare_stat(&b, STAT_GROW_DELAYED), 0);
    sitter_leaves(&s);
    for (uint32_t i = 0; i < 100000; i++)
        bare_note(&b, new_hash(), 3);
    ck_assert_uint_eq(b.table->grow.n_retired, 0);
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
        ck_assert_uint_eq(bare_note(&b, new_hash(), 3), FLOWQ_NOTE_BOUND);
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

/* The worst that hashes can do, whoever knows the secret: all alike in their top bits, so that each split leaves one
   half empty. */
static unsigned n_deepest;

static void equal_hashes(uint32_t max_flows, uint32_t initial)
{
    bare_make_sized(&b, max_flows, initial);
    const struct table *t = b.table;
    const uint32_t most_entries = 32 * t->max_shards > 32 ? 32 * t->max_shards : 32;
    uint64_t n_shards = t->grow.n_shards, top = rng_next(&rng) & ~(UINT64_MAX >> 30);
    uint32_t depth = ((const struct directory *)atomic_load(&t->directory))->depth;
    ck_assert_uint_le(1u << t->grow.max_depth, most_entries);
    for (uint32_t i = 0; i < 4000; i++) {
        bare_note(&b, top | (rng_next(&rng) >> 30), 3);
        uint32_t now = ((const struct directory *)atomic_load(&t->directory))->depth;
        /* One note writes no more than NOTE_SPLITS pairs of shards, and as many directories. */
        ck_assert_uint_le(t->grow.n_shards - n_shards, NOTE_SPLITS + (n_shards == 0));
        ck_assert_uint_le(now - depth, NOTE_SPLITS);
        n_shards = t->grow.n_shards;
        depth = now;
    }
    ck_assert_uint_le(depth, t->grow.max_depth);
    n_deepest += depth == t->grow.max_depth;
    ck_assert_uint_le(t->grow.n_shards, t->max_shards);
    /* All shards there can be, and as much again as was superseded in one section, in slabs; and twice the directory. */
    uint64_t shards = (uint64_t)(t->max_shards + 2) * (t->shard_bytes + sizeof(struct slab)),
             directories = 2 * 8 * (most_entries + 8);
    ck_assert_uint_le(b.max_bytes, 2 * shards + directories + (shards > SLAB_SINGLES ? 2 * MEMORY_HUGE : 0));
    struct flowq_stats stats = {.size = sizeof(stats)};
    ck_assert_int_eq(flowq_vm_stats(b.vm, &stats), 0);
    ck_assert_uint_eq(stats.table_bytes, b.bytes); /* directories, too */
    must_be_right();
    ck_assert_uint_eq(bare_stat(&b, STAT_GROW_DELAYED) + bare_stat(&b, STAT_GROW_FAILED), 0);
    bare_free(&b);
}

START_TEST(equal_hashes_cost_no_more_than_max_flows)
{
    for (uint32_t max = 8; max <= 1 << 20; max += max < 20 ? 1 : max / 3) {
        equal_hashes(max, 0);
        equal_hashes(max, max / 16);
        equal_hashes(max, max);
    }
    ck_assert_uint_gt(n_deepest, 10);
}
END_TEST

/* ---- Allocators that take their time ------------------------------------------------------------------------------------- */

static struct slow {
    atomic_uint state; /* 0: not slow, 1: the next call waits, 2: one waits, 3: it goes on */
} slow;

/* Of the thread that comes first: waits inside, until it is told. */
static void wait_inside(void)
{
    unsigned one = 1;
    if (!atomic_compare_exchange_strong(&slow.state, &one, 2))
        return;
    while (atomic_load(&slow.state) != 3)
        sched_yield();
}

static void *slow_alloc(void *ctx, size_t size, size_t align, int32_t node)
{
    (void)ctx;
    (void)node;
    wait_inside();
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void slow_free(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    (void)size;
    wait_inside();
    free(ptr);
}

static void *grow_slowly(void *arg)
{
    struct rng own = {*(const uint64_t *)arg};
    while (atomic_load(&slow.state) == 1)
        bare_note(&b, rng_next(&own), 3);
    return NULL;
}

static void *maintain_slowly(void *arg)
{
    (void)arg;
    while (atomic_load(&slow.state) == 1)
        flowq_vm_maintain(b.vm);
    return NULL;
}

/* While one thread waits in the allocator, all others note, grow, shrink and reset as if it were not there: nobody finds a lock
 * held. */
static void others_go_on(void *(*first)(void *arg), bool later)
{
    struct flowq_vm_config cfg = {.max_flows = 400000, .alloc = slow_alloc, .free = slow_free, .max_queue_pairs = 256};
    atomic_store(&slow.state, 0);
    ck_assert_int_eq(bare_make(&b, &cfg, 256), 0);
    for (uint32_t i = 0; later && i < 100000; i++)
        bare_note(&b, new_hash(), 3);
    b.now_ns += later && first == maintain_slowly ? 1900 * BARE_SECOND : 0;
    atomic_store(&slow.state, 1);
    uint64_t own = rng_next(&rng), n = 0;
    pthread_t id;
    ck_assert_int_eq(pthread_create(&id, NULL, first, &own), 0);
    while (atomic_load(&slow.state) != 2)
        sched_yield();
    uint64_t grown = bare_stat(&b, STAT_GROWN);
    for (; n < 100000; n++)
        ck_assert_uint_eq(bare_note(&b, new_hash(), 3), FLOWQ_NOTE_BOUND);
    ck_assert_uint_gt(bare_stat(&b, STAT_GROWN), grown);
    flowq_vm_maintain(b.vm);
    flowq_vm_reset(b.vm, FLOWQ_RESET_FLOWS);
    ck_assert_uint_eq(atomic_load(&slow.state), 2);
    ck_assert_uint_eq(bare_stat(&b, STAT_NOTE + FLOWQ_NOTE_BUSY) + bare_displaced(&b), 0);
    atomic_store(&slow.state, 3);
    pthread_join(id, NULL);
    flowq_vm_destroy(b.vm);
}

START_TEST(nobody_waits_for_another_thread_s_allocator)
{
    others_go_on(grow_slowly, false);
    others_go_on(grow_slowly, true);
    others_go_on(maintain_slowly, true);
}
END_TEST

/* ---- Several threads at once --------------------------------------------------------------------------------------------- */

#define THREADS    4
#define FLOWS_EACH 20000

static uint64_t thread_seed[THREADS];
static pthread_barrier_t next_round;       /* a flow's next packet comes later than in the same microsecond */
static atomic_ulong first_busy, then_busy; /* notes of the first round, and of the last */

/* New flows in bursts of 32, then all of them twice more, as a guest does that goes on sending. */
static void *learn_in_bursts(void *arg)
{
    struct thread *self = thread_self();
    unsigned long busy[3] = {0};
    for (unsigned round = 0; round < 3; round++) { /* an implied flow is stored in the second round */
        struct rng own = {*(const uint64_t *)arg};
        pthread_barrier_wait(&next_round);
        for (uint32_t i = 0; i < FLOWS_EACH; i += 32) {
            uint32_t tries_left = TABLE_TRIES;
            thread_enter(self);
            for (uint32_t k = 0; k < 32; k++)
                busy[round] += bare_note_within(&b, rng_next(&own), 3, NOTE_OPENS, &tries_left) == FLOWQ_NOTE_BUSY;
            thread_leave(self);
            if (table_has_retired(b.table))
                table_reclaim(b.table);
        }
    }
    atomic_fetch_add(&first_busy, busy[0]);
    atomic_fetch_add(&then_busy, busy[2]);
    return NULL;
}

/* On one processor of those that it may use, or on all of them. */
static void use_processors(const cpu_set_t *all, bool one)
{
    cpu_set_t used = *all;
    if (one) {
        CPU_ZERO(&used);
        CPU_SET((unsigned)sched_getcpu(), &used);
    }
    ck_assert_int_eq(sched_setaffinity(0, sizeof(used), &used), 0);
}

/*
 * With room and memory left, nothing is displaced, whoever loses its processor where; and what found a lock busy is stored with
 * one of the flow's next notes. Who loses its processor while it holds a shard makes others find it busy for milliseconds, but
 * they offer theirs (SPIN_OFFERS): where they did not, one first note in 200 to 1000 was busy; as it is, one in 100000. How many
 * were busy is judged where all threads share one processor: what one of them offers another one gets. Where each has one, it may
 * be other programs that a holder waits for.
 */
START_TEST(threads_that_learn_at_once_displace_nothing)
{
    unsigned rounds = (seed_long() ? 100 : 16) / SEED_SLOWNESS;
    unsigned long busy[2] = {0};
    cpu_set_t all;
    ck_assert_int_eq(sched_getaffinity(0, sizeof(all), &all), 0);
    pthread_barrier_init(&next_round, NULL, THREADS);
    for (unsigned i = 0; i < rounds; i++) {
        pthread_t id[THREADS];
        atomic_store(&first_busy, 0);
        atomic_store(&then_busy, 0);
        use_processors(&all, i % 2);
        bare_make_sized(&b, 262144, 0);
        for (unsigned t = 0; t < THREADS; t++) {
            thread_seed[t] = rng_next(&rng);
            ck_assert_int_eq(pthread_create(&id[t], NULL, learn_in_bursts, &thread_seed[t]), 0);
        }
        for (unsigned t = 0; t < THREADS; t++)
            pthread_join(id[t], NULL);
        ck_assert_uint_eq(bare_displaced(&b) + bare_stat(&b, STAT_RECLAIMED) + bare_stat(&b, STAT_NOTE + FLOWQ_NOTE_REFUSED), 0);
        ck_assert_uint_eq(bare_stat(&b, STAT_GROW_DELAYED), 0);
        must_be_right();
        bare_free(&b);
        if (i % 2) {
            busy[0] += first_busy;
            busy[1] += then_busy;
        }
    }
    use_processors(&all, false);
    uint64_t notes = (uint64_t)(rounds / 2) * THREADS * FLOWS_EACH;
    printf("%u threads, %llu new flows: busy with %lu of their first notes, %lu of their third; none displaced\n", THREADS,
           (unsigned long long)notes, busy[0], busy[1]);
    ck_assert_uint_lt(busy[0], SEED_SLOWNESS * notes / 2000);
    ck_assert_uint_lt(busy[1], SEED_SLOWNESS * notes / 10000);
}
END_TEST

/* A lock that somebody holds costs a burst as many tries as one packet, and then one for each. */
START_TEST(a_burst_waits_once)
{
    bare_make_sized(&b, 1000, 1000);
    struct spin *lock = &shard_head(b.table, table_shard(b.table, 0))->lock;
    uint32_t tries_left = TABLE_TRIES, busy = 0;
    ck_assert(spin_try(lock));
    for (uint32_t i = 0; i < 64; i++) {
        ck_assert_uint_eq(bare_note_within(&b, rng_next(&rng) >> 16, 3, NOTE_CARRIES, &tries_left), FLOWQ_NOTE_BUSY);
        ck_assert_uint_eq(tries_left, 0);
    }
    spin_unlock(lock);
    ck_assert_uint_eq(bare_note_within(&b, rng_next(&rng) >> 16, 3, NOTE_CARRIES, &tries_left), FLOWQ_NOTE_BOUND);
    bare_free(&b);
    bare_make_sized(&b, 100000, 0);
    tries_left = TABLE_TRIES;
    ck_assert(spin_try(&b.table->grow.lock));
    for (uint32_t i = 0; i < 64; i++)
        busy += bare_note_within(&b, new_hash(), 3, NOTE_CARRIES, &tries_left) == FLOWQ_NOTE_BUSY;
    ck_assert_uint_eq(busy, 64);
    ck_assert_uint_eq(tries_left, 0);
    spin_unlock(&b.table->grow.lock);
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
    tcase_add_test(tc, a_stalled_section_and_merges);
    tcase_add_test(tc, a_stalled_section_and_a_trim);
    tcase_add_test(tc, a_stalled_section_and_resets);
    tcase_add_test(tc, memory_comes_back);
    tcase_add_test(tc, equal_hashes_cost_no_more_than_max_flows);
    suite_add_tcase(s, tc);
    tc = tcase_create("threads");
    tcase_set_timeout(tc, seed_long() ? 1200 : 120);
    tcase_add_test(tc, nobody_waits_for_another_thread_s_allocator);
    tcase_add_test(tc, threads_that_learn_at_once_displace_nothing);
    tcase_add_test(tc, a_burst_waits_once);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
