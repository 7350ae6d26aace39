/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check_weak: the scheduler lets threads see what C11 lets them see (weak.h), and nothing else. The usual small programs, each
 * with an order that forbids an outcome, and with weaker ones that must be seen to allow it.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "atomic.h"
#include "epoch.h"
#include "flowq.h"
#include "runner.h"
#include "sched.h"
#include "seed.h"
#include "thread.h"
#include "weak.h"

static uint64_t seed;
static uint64_t n_runs = 10000;

/* What the threads of a program share, and what each has seen. */
static struct {
    atomic_u32 a, b, c;
    uint32_t seen[4];
    atomic_ptr object;
    _Alignas(64) atomic_u32 mine[2][16]; /* as memory comes: in grains of its own */
    pthread_mutex_t mutex;
} w;

static memory_order stores, loads; /* the orders at hand */

static void store(atomic_u32 *at, uint32_t v) { sched_store(at, sizeof(*at), v, stores); }
static uint32_t load(const atomic_u32 *at) { return (uint32_t)sched_load(at, sizeof(*at), loads); }

static void clear(void *ctx)
{
    (void)ctx;
    memset(&w, 0, sizeof(w));
    pthread_mutex_init(&w.mutex, NULL);
    (void)flowq_synchronize();
}

#define PROGRAM(what, judge, ...)                                                                                                \
    {                                                                                                                            \
        .name = what, .thread = {__VA_ARGS__}, .setup = clear, .check = judge                                                    \
    }

static bool holds(struct sched_scenario s, uint64_t runs)
{
    while (s.n_threads < SCHED_MAX_THREADS && s.thread[s.n_threads])
        s.n_threads++;
    return sched_explore(&s, NULL, seed, runs, NULL);
}

/* What is allowed shows in a run of 140, where it is rarest: looked for until it is seen, in so many times n_runs at most. */
enum { UNTIL_SEEN = 20 };

/* Whether the program holds with each store, and each load, of such an order. */
static void expect(const struct sched_scenario *s, memory_order store_order, memory_order load_order, bool good)
{
    stores = store_order;
    loads = load_order;
    bool held = holds(*s, good ? n_runs : UNTIL_SEEN * n_runs);
    if (held != good)
        sched_print(stdout);
    fflush(stdout);
    ck_assert_msg(held == good, "%s, orders %d and %d: %s", s->name, (int)store_order, (int)load_order,
                  good ? "fails" : "what is allowed was not seen");
}

static bool always(void *ctx)
{
    (void)ctx;
    return true;
}

/* ---- A message is passed -------------------------------------------------------------------------------------------------- */

static void pass(void *ctx)
{
    (void)ctx;
    u32_store_relaxed(&w.a, 1);
    store(&w.b, 1);
}

static void take(void *ctx)
{
    (void)ctx;
    if (load(&w.b) == 1)
        SCHED_CHECK(u32_load_relaxed(&w.a) == 1);
}

static void pass_fenced(void *ctx)
{
    (void)ctx;
    u32_store_relaxed(&w.a, 1);
    if (stores != memory_order_relaxed)
        sched_fence(stores);
    u32_store_relaxed(&w.b, 1);
}

static void take_fenced(void *ctx)
{
    (void)ctx;
    uint32_t b = u32_load_relaxed(&w.b);
    if (loads != memory_order_relaxed)
        sched_fence(loads);
    if (b == 1)
        SCHED_CHECK(u32_load_relaxed(&w.a) == 1);
}

/* What went wrong in queue.h once: that the second load depends on the first, and acquires, orders them no more. */
static void take_if(void *ctx)
{
    (void)ctx;
    if (u32_load_relaxed(&w.b) == 1)
        SCHED_CHECK(u32_load_acquire(&w.a) == 1);
}

/* A read-modify-write of whatever order between the two belongs to what is passed. */
static void raise(void *ctx)
{
    (void)ctx;
    u32_add_relaxed(&w.b, 2);
}

static void take_raised(void *ctx)
{
    (void)ctx;
    if (load(&w.b) == 3)
        SCHED_CHECK(u32_load_relaxed(&w.a) == 1);
}

static void pass_on(void *ctx)
{
    (void)ctx;
    if (load(&w.b) == 1)
        store(&w.c, 1);
}

static void take_from_second(void *ctx)
{
    (void)ctx;
    if (load(&w.c) == 1)
        SCHED_CHECK(u32_load_relaxed(&w.a) == 1);
}

START_TEST(messages_are_passed)
{
    const struct sched_scenario plain = PROGRAM("message", always, pass, take);
    const struct sched_scenario fenced = PROGRAM("message, fences", always, pass_fenced, take_fenced);
    const struct sched_scenario dependent = PROGRAM("message, dependent", always, pass, take_if);
    const struct sched_scenario raised = PROGRAM("message, raised", always, pass, raise, take_raised);
    const struct sched_scenario chain = PROGRAM("message, two hands", always, pass, pass_on, take_from_second);
    const struct sched_scenario *all[] = {&plain, &fenced, &raised, &chain};
    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        expect(all[i], memory_order_release, memory_order_acquire, true);
        expect(all[i], memory_order_seq_cst, memory_order_seq_cst, true);
        expect(all[i], memory_order_relaxed, memory_order_acquire, false);
        expect(all[i], memory_order_release, memory_order_relaxed, false);
        expect(all[i], memory_order_relaxed, memory_order_relaxed, false);
    }
    expect(&dependent, memory_order_release, memory_order_relaxed, false);
}
END_TEST

/* ---- Each stores, then looks at the other ---------------------------------------------------------------------------------- */

static void store_a_look_at_b(void *ctx)
{
    (void)ctx;
    store(&w.a, 1);
    w.seen[0] = load(&w.b);
}

static void store_b_look_at_a(void *ctx)
{
    (void)ctx;
    store(&w.b, 1);
    w.seen[1] = load(&w.a);
}

static void fenced_a_b(void *ctx)
{
    (void)ctx;
    u32_store_relaxed(&w.a, 1);
    sched_fence(stores);
    w.seen[0] = u32_load_relaxed(&w.b);
}

static void fenced_b_a(void *ctx)
{
    (void)ctx;
    u32_store_relaxed(&w.b, 1);
    sched_fence(stores);
    w.seen[1] = u32_load_relaxed(&w.a);
}

/* A seq_cst read-modify-write is no fence. */
static void swap_a_look_at_b(void *ctx)
{
    (void)ctx;
    (void)u32_xchg_seq_cst(&w.a, 1);
    w.seen[0] = load(&w.b);
}

static bool one_sees(void *ctx)
{
    (void)ctx;
    return w.seen[0] || w.seen[1];
}

START_TEST(stores_are_held_back)
{
    const struct sched_scenario plain = PROGRAM("two stores", one_sees, store_a_look_at_b, store_b_look_at_a);
    const struct sched_scenario fenced = PROGRAM("two stores, fences", one_sees, fenced_a_b, fenced_b_a);
    const struct sched_scenario mixed = PROGRAM("two stores, a fence", one_sees, fenced_a_b, store_b_look_at_a);
    const struct sched_scenario swap = PROGRAM("a swap, a fence", one_sees, swap_a_look_at_b, fenced_b_a);
    expect(&plain, memory_order_seq_cst, memory_order_seq_cst, true);
    expect(&plain, memory_order_release, memory_order_acquire, false);
    expect(&plain, memory_order_seq_cst, memory_order_acquire, false);
    expect(&plain, memory_order_release, memory_order_seq_cst, false);
    expect(&fenced, memory_order_seq_cst, memory_order_relaxed, true);
    expect(&fenced, memory_order_acq_rel, memory_order_relaxed, false);
    expect(&mixed, memory_order_seq_cst, memory_order_seq_cst, true);
    expect(&swap, memory_order_seq_cst, memory_order_seq_cst, true);
    expect(&swap, memory_order_seq_cst, memory_order_acquire, false);
}
END_TEST

/* ---- Two who look at two independent stores -------------------------------------------------------------------------------- */

static void only_a(void *ctx)
{
    (void)ctx;
    store(&w.a, 1);
}
static void only_b(void *ctx)
{
    (void)ctx;
    store(&w.b, 1);
}
static void look_a_b(void *ctx)
{
    (void)ctx;
    w.seen[0] = load(&w.a);
    w.seen[1] = load(&w.b);
}
static void look_b_a(void *ctx)
{
    (void)ctx;
    w.seen[2] = load(&w.b);
    w.seen[3] = load(&w.a);
}

static bool same_order(void *ctx)
{
    (void)ctx;
    return !(w.seen[0] && !w.seen[1] && w.seen[2] && !w.seen[3]);
}

START_TEST(independent_stores_have_one_order_if_seq_cst)
{
    const struct sched_scenario s = PROGRAM("independent", same_order, only_a, only_b, look_a_b, look_b_a);
    n_runs *= 4;
    expect(&s, memory_order_seq_cst, memory_order_seq_cst, true);
    expect(&s, memory_order_release, memory_order_acquire, false);
}
END_TEST

/* ---- One word -------------------------------------------------------------------------------------------------------------- */

static void count_up(void *ctx)
{
    (void)ctx;
    for (uint32_t i = 1; i < 5; i++)
        u32_store_relaxed(&w.a, i);
}

static void never_back(void *ctx)
{
    uint32_t last = 0;
    (void)ctx;
    for (unsigned i = 0; i < 6; i++) {
        uint32_t now = u32_load_relaxed(&w.a);
        SCHED_CHECK(now >= last);
        last = now;
    }
}

static void add_each(void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < 3; i++)
        u32_add_relaxed(&w.b, 1);
}

static void swap_each(void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < 3; i++)
        for (uint32_t b = 0; !u32_cas(&w.b, &b, b + 1);)
            ;
}

static bool nine(void *ctx)
{
    (void)ctx;
    return atomic_load(&w.b) == 9;
}

/* A compare-and-swap may fail because of a value that is there no more. */
static void swap_once(void *ctx)
{
    uint32_t zero = 0;
    (void)ctx;
    bool done = load(&w.b) != 1 || u32_cas(&w.a, &zero, 2);
    SCHED_CHECK(done);
}

static void store_and_take_back(void *ctx)
{
    (void)ctx;
    u32_store_relaxed(&w.a, 1);
    u32_store_relaxed(&w.a, 0);
    store(&w.b, 1);
}

START_TEST(one_word_is_coherent)
{
    const struct sched_scenario up = PROGRAM("counting up", always, count_up, never_back, never_back);
    const struct sched_scenario adds = PROGRAM("adding", nine, add_each, swap_each, add_each);
    const struct sched_scenario fails = PROGRAM("a swap that fails", always, store_and_take_back, swap_once);
    expect(&up, memory_order_relaxed, memory_order_relaxed, true);
    expect(&adds, memory_order_relaxed, memory_order_relaxed, true);
    expect(&fails, memory_order_release, memory_order_acquire, true);
    expect(&fails, memory_order_relaxed, memory_order_relaxed, false);
}
END_TEST

/* ---- What is not ordered at all -------------------------------------------------------------------------------------------- */

static void publish(void *ctx)
{
    (void)ctx;
    sched_allocated(w.mine[0], sizeof(w.mine[0]));
    sched_store(&w.object, sizeof(w.object), (uintptr_t)w.mine[0], stores);
}

static void look_at_it(void *ctx)
{
    (void)ctx;
    const atomic_u32 *p = (const atomic_u32 *)(uintptr_t)sched_load(&w.object, sizeof(w.object), loads);
    if (p)
        (void)u32_load_relaxed(p);
}

START_TEST(publications_without_release_are_races)
{
    const struct sched_scenario s = PROGRAM("publication", always, publish, look_at_it);
    expect(&s, memory_order_release, memory_order_acquire, true);
    expect(&s, memory_order_relaxed, memory_order_acquire, false);
    expect(&s, memory_order_release, memory_order_relaxed, false);
}
END_TEST

static void look_in_section(void *ctx)
{
    struct thread *t = thread_self();
    if (stores == memory_order_seq_cst)
        thread_enter(t);
    look_at_it(ctx);
    if (stores == memory_order_seq_cst)
        thread_leave(t);
}

static void free_when_passed(void)
{
    uint64_t stamp = epoch_stamp();
    for (unsigned i = 0; i < 4; i++)
        if (epoch_passed(stamp)) {
            sched_freed(w.mine[1], sizeof(w.mine[1]));
            return;
        }
}

static void replace_and_free(void *ctx)
{
    (void)ctx;
    (void)ptr_xchg_seq_cst(&w.object, NULL);
    free_when_passed();
}

/* Which is enough, too: G2 in epoch.c. */
static void store_and_free(void *ctx)
{
    (void)ctx;
    ptr_store_relaxed(&w.object, NULL);
    free_when_passed();
}

static void object_is_there(void *ctx)
{
    clear(ctx);
    atomic_store(&w.object, w.mine[1]);
}

/* With the sections of the library, and without. */
START_TEST(memory_is_not_freed_before_its_readers_end)
{
    struct sched_scenario s = PROGRAM("freeing", always, replace_and_free, look_in_section, look_in_section);
    struct sched_scenario stored =
        PROGRAM("freeing, unlinked by a store", always, store_and_free, look_in_section, look_in_section);
    s.setup = stored.setup = object_is_there;
    expect(&s, memory_order_seq_cst, memory_order_acquire, true);
    expect(&s, memory_order_relaxed, memory_order_acquire, false);
    expect(&stored, memory_order_seq_cst, memory_order_acquire, true);
    expect(&stored, memory_order_relaxed, memory_order_acquire, false);
}
END_TEST

/* The key of a mutex, and a scenario's own. */
static void add_locked(void *ctx)
{
    (void)ctx;
    mutex_lock(&w.mutex);
    u32_store_relaxed(&w.b, u32_load_relaxed(&w.b) + 3);
    mutex_unlock(&w.mutex);
}

START_TEST(mutexes_hand_over)
{
    const struct sched_scenario s = PROGRAM("mutex", nine, add_locked, add_locked, add_locked);
    expect(&s, memory_order_relaxed, memory_order_relaxed, true);
    printf("plain memory is %slooked at\n", weak_sees_plain() ? "" : "not ");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("check_weak");
    TCase *tc = tcase_create("check_weak");
    seed = seed_get("check_weak");
    n_runs = (seed_long() ? 20 * n_runs : n_runs) / SEED_SLOWNESS;
    tcase_set_timeout(tc, seed_long() ? 1200 : 240);
    tcase_add_test(tc, messages_are_passed);
    tcase_add_test(tc, stores_are_held_back);
    tcase_add_test(tc, independent_stores_have_one_order_if_seq_cst);
    tcase_add_test(tc, one_word_is_coherent);
    tcase_add_test(tc, publications_without_release_are_races);
    tcase_add_test(tc, memory_is_not_freed_before_its_readers_end);
    tcase_add_test(tc, mutexes_hand_over);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
