/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The scheduler of sched.h finds what it is there to find, and repeats it; then the locks, epochs and sections of the library run
 * under it. This file and the library it is linked with are compiled with -DFLOWQ_SCHED.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "atomic.h"
#include "epoch.h"
#include "flowq.h"
#include "runner.h"
#include "sched.h"
#include "seed.h"
#include "thread.h"
#include "vm.h"

static uint64_t seed;
static uint64_t n_runs = 20000;

static void must_hold(const struct sched_scenario *scenario, void *ctx)
{
    uint64_t bad = 0;

    if (sched_explore(scenario, ctx, seed, n_runs, &bad))
        return;
    sched_print(stdout);
    ck_abort_msg("%s: seed %llu", scenario->name, (unsigned long long)bad);
}

/* ---- Planted bugs ---------------------------------------------------------------------------------------------------------- */

struct words {
    atomic_u32 a, b;
    struct spin spin;
    pthread_mutex_t mutex;
};

static void words_setup(void *ctx)
{
    struct words *w = ctx;

    memset(w, 0, sizeof *w);
    pthread_mutex_init(&w->mutex, NULL);
}

static void add_racy(void *ctx)
{
    struct words *w = ctx;

    u32_store_relaxed(&w->a, u32_load_relaxed(&w->a) + 1);
}

static bool is_two(void *ctx)
{
    struct words *w = ctx;

    return u32_load_relaxed(&w->a) == 2;
}

static const struct sched_scenario lost_update = {
    .name = "lost update", .n_threads = 2, .thread = {add_racy, add_racy}, .setup = words_setup, .check = is_two};

/* A binding moves from place a to place b; meanwhile it is rebound from 1 to 2, wherever it is found. */
#define FROZEN 0x80u

static void move_without_freeze(void *ctx)
{
    struct words *w = ctx;

    u32_store_release(&w->b, u32_load_acquire(&w->a));
    u32_store_release(&w->a, 0);
}

static void move_with_freeze(void *ctx)
{
    struct words *w = ctx;
    uint32_t was = u32_load_acquire(&w->a);

    while (!u32_cas(&w->a, &was, was | FROZEN))
        ;
    u32_store_release(&w->b, was);
    u32_store_release(&w->a, 0);
}

static void rebind(void *ctx)
{
    struct words *w = ctx;

    for (;;) {
        atomic_u32 *place = &w->a;
        uint32_t was = u32_load_acquire(place);

        if (was == 0)
            was = u32_load_acquire(place = &w->b);
        if ((was & FROZEN) != 0) {
            cpu_relax();
            continue;
        }
        if (u32_cas(place, &was, 2))
            return;
    }
}

static void bound_to_one(void *ctx)
{
    struct words *w = ctx;

    words_setup(w);
    u32_store_relaxed(&w->a, 1);
}

static bool rebound(void *ctx)
{
    struct words *w = ctx;

    return u32_load_relaxed(&w->a) == 0 && u32_load_relaxed(&w->b) == 2;
}

static const struct sched_scenario copy_then_clear = {.name = "copy then clear without freeze",
                                                      .n_threads = 2,
                                                      .thread = {move_without_freeze, rebind},
                                                      .setup = bound_to_one,
                                                      .check = rebound};
static const struct sched_scenario freeze_copy_clear = {
    .name = "freeze, copy, clear", .n_threads = 2, .thread = {move_with_freeze, rebind}, .setup = bound_to_one, .check = rebound};

/* Found within the first hundreds of seeds, and found again, in as many steps, from the seed alone. */
static void must_find(const struct sched_scenario *scenario, void *ctx)
{
    char *text[2];
    size_t bytes;
    uint64_t bad = 0;

    ck_assert_msg(!sched_explore(scenario, ctx, seed, 1000, &bad), "%s was not found", scenario->name);
    for (int i = 0; i < 2; i++) {
        FILE *f = open_memstream(&text[i], &bytes);

        ck_assert_msg(!sched_run(scenario, ctx, bad), "%s: seed %llu does not repeat it", scenario->name,
                      (unsigned long long)bad);
        sched_print(f);
        fclose(f);
        ck_assert(sched_run(scenario, ctx, bad) == false);
    }
    ck_assert_str_eq(text[0], text[1]);
    ck_assert_ptr_nonnull(strstr(text[0], scenario->name));
    free(text[0]);
    free(text[1]);
}

START_TEST(planted_bugs_are_found)
{
    struct words w;

    must_find(&lost_update, &w);
    must_find(&copy_then_clear, &w);
    must_hold(&freeze_copy_clear, &w);
}
END_TEST

static bool is_found_of_every(struct sched_scenario scenario, unsigned stops)
{
    struct words w;
    uint64_t bad = 0;

    scenario.of_every = true;
    scenario.max_preemptions = stops;
    if (sched_explore_every(&scenario, &w, seed, 1, &bad))
        return false;
    ck_assert(!sched_run(&scenario, &w, bad));
    return true;
}

static void there_and_back(void *ctx)
{
    struct words *w = ctx;

    u32_store_relaxed(&w->a, 1);
    u32_store_relaxed(&w->a, 0);
}

static void look_once(void *ctx)
{
    struct words *w = ctx;

    u32_store_relaxed(&w->b, u32_load_relaxed(&w->a));
}

static bool saw_nothing(void *ctx)
{
    struct words *w = ctx;

    return u32_load_relaxed(&w->b) == 0;
}

START_TEST(every_run_is_tried)
{
    const struct sched_scenario in_between = {.name = "there and back",
                                              .n_threads = 2,
                                              .thread = {look_once, there_and_back},
                                              .setup = words_setup,
                                              .check = saw_nothing};

    ck_assert(is_found_of_every(lost_update, 1));
    ck_assert(is_found_of_every(lost_update, 2));
    ck_assert(is_found_of_every(copy_then_clear, 1));
    ck_assert(!is_found_of_every(freeze_copy_clear, 2));
    ck_assert(!is_found_of_every(in_between, 1)); /* both have to stop */
    ck_assert(is_found_of_every(in_between, 2));
}
END_TEST

START_TEST(seeds_repeat_runs)
{
    struct words w;

    for (uint64_t i = 0; i < 200; i++) {
        uint64_t points;
        bool good = sched_run(&lost_update, &w, seed + i);

        points = sched_points();
        ck_assert(sched_run(&lost_update, &w, seed + i) == good);
        ck_assert_uint_eq(sched_points(), points);
    }
}
END_TEST

static void three_steps(void *ctx)
{
    uint32_t *order = ctx;

    for (int i = 0; i < 3; i++) {
        sched_point();
        *order = *order * 4 + sched_self() + 1;
    }
}

static void no_steps(void *ctx) { *(uint32_t *)ctx = 0; }

/* Three preemptions reach most of the 1680 orders of three threads of three steps; as many as are needed reach all. */
START_TEST(orders_are_reached)
{
    static uint8_t seen[1 << 18];
    struct sched_scenario s = {
        .name = "orders", .n_threads = 3, .thread = {three_steps, three_steps, three_steps}, .setup = no_steps};
    unsigned n = 0;
    uint32_t order;

    s.max_preemptions = 12;
    for (uint64_t i = 0; i < 40000; i++) {
        sched_run(&s, &order, seed + i);
        n += seen[order & 0x3ffff] == 0;
        seen[order & 0x3ffff] = 1;
    }
    printf("orders reached: %u of 1680\n", n);
    ck_assert_uint_ge(n, 1000);
}
END_TEST

START_TEST(runs_are_fast)
{
    struct timespec from, to;
    struct words w;
    double ns;

    must_hold(&freeze_copy_clear, &w);
    clock_gettime(CLOCK_MONOTONIC, &from);
    must_hold(&freeze_copy_clear, &w);
    clock_gettime(CLOCK_MONOTONIC, &to);
    ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
    printf("%.0f runs a second\n", (double)n_runs / ns * 1e9);
}
END_TEST

/* ---- Locks ----------------------------------------------------------------------------------------------------------------- */

static void add_under_spin(void *ctx)
{
    struct words *w = ctx;

    spin_lock(&w->spin);
    add_racy(w);
    spin_unlock(&w->spin);
}

static void add_if_tried(void *ctx)
{
    struct words *w = ctx;

    if (spin_try_for(&w->spin, 4)) {
        add_racy(w);
        spin_unlock(&w->spin);
        return;
    }
    u32_add_relaxed(&w->b, 1);
}

static void add_under_mutex(void *ctx)
{
    struct words *w = ctx;

    mutex_lock(&w->mutex);
    add_racy(w);
    mutex_unlock(&w->mutex);
}

static bool is_three(void *ctx)
{
    struct words *w = ctx;

    return u32_load_relaxed(&w->a) + u32_load_relaxed(&w->b) == 3;
}

START_TEST(locks_exclude)
{
    struct words w;
    struct sched_scenario s = {.name = "spin lock",
                               .n_threads = 3,
                               .thread = {add_under_spin, add_under_spin, add_if_tried},
                               .setup = words_setup,
                               .check = is_three};

    must_hold(&s, &w);
    s.name = "mutex";
    s.thread[0] = s.thread[1] = s.thread[2] = add_under_mutex;
    must_hold(&s, &w);
}
END_TEST

/* ---- Epochs ---------------------------------------------------------------------------------------------------------------- */

#define ALIVE 0x11u
#define FREED 0xdeu

struct shared {
    atomic_ptr current;
    atomic_u32 object[4];
    atomic_u32 n_freed;
    bool careless; /* the writer frees at once: what the readers must notice */
};

static void shared_setup(void *ctx)
{
    struct shared *s = ctx;

    flowq_synchronize();
    for (int i = 0; i < 4; i++)
        u32_store_relaxed(&s->object[i], ALIVE);
    u32_store_relaxed(&s->n_freed, 0);
    ptr_store_release(&s->current, &s->object[0]);
}

static void reader(void *ctx)
{
    struct shared *s = ctx;
    struct thread *t = thread_self();

    for (int i = 0; i < 2; i++) {
        atomic_u32 *p;

        thread_enter(t);
        p = ptr_load_acquire(&s->current);
        SCHED_CHECK(u32_load_relaxed(p) == ALIVE);
        thread_enter(t);
        SCHED_CHECK(u32_load_relaxed(p) == ALIVE);
        thread_leave(t);
        SCHED_CHECK(u32_load_relaxed(p) == ALIVE);
        thread_leave(t);
    }
}

static void replace(struct shared *s, int i, bool in_section)
{
    struct thread *t = thread_self();
    atomic_u32 *old;
    uint64_t stamp;

    if (in_section)
        thread_enter(t);
    old = ptr_xchg_seq_cst(&s->current, &s->object[i]);
    stamp = epoch_stamp();
    if (in_section) {
        SCHED_CHECK(!epoch_passed(stamp));
        thread_leave(t);
    }
    for (int tries = 0; tries < 8; tries++) {
        if (s->careless || epoch_passed(stamp)) {
            SCHED_CHECK(epoch_passed(stamp) || s->careless);
            u32_store_relaxed(old, FREED);
            u32_add_relaxed(&s->n_freed, 1);
            return;
        }
    }
}

static void writer(void *ctx)
{
    replace(ctx, 1, false);
    replace(ctx, 2, true);
}

static void other_writer(void *ctx) { replace(ctx, 3, true); }

START_TEST(nothing_is_freed_under_a_reader)
{
    struct shared s = {.careless = false};
    struct sched_scenario scenario = {.name = "epochs",
                                      .n_threads = 4,
                                      .thread = {reader, writer, reader, other_writer},
                                      .setup = shared_setup,
                                      .max_preemptions = 6};
    uint64_t bad = 0;

    must_hold(&scenario, &s);
    s.careless = true;
    scenario.name = "no epochs";
    ck_assert_msg(!sched_explore(&scenario, &s, seed, 1000, &bad), "freeing at once was not noticed");
}
END_TEST

/* What was written inside a section before synchronize() began is there, all of it, when it returns. */
static void two_steps_in_section(void *ctx)
{
    struct words *w = ctx;

    SCHED_CHECK(flowq_enter() == 0);
    SCHED_CHECK(flowq_synchronize() == -EDEADLK);
    u32_add_relaxed(&w->a, 1);
    u32_add_relaxed(&w->b, 1);
    flowq_leave();
}

static void wait_for_them(void *ctx)
{
    struct words *w = ctx;
    uint32_t begun = u32_load_relaxed(&w->a);

    SCHED_CHECK(flowq_synchronize() == 0);
    SCHED_CHECK(u32_load_relaxed(&w->b) >= begun);
}

static void words_and_epochs(void *ctx)
{
    flowq_synchronize();
    words_setup(ctx);
}

START_TEST(synchronize_waits_for_open_sections)
{
    struct words w;
    struct sched_scenario s = {.name = "synchronize",
                               .n_threads = 4,
                               .setup = words_and_epochs,
                               .max_preemptions = 6,
                               .thread = {two_steps_in_section, wait_for_them, two_steps_in_section, wait_for_them}};

    must_hold(&s, &w);
}
END_TEST

/* ---- Settings -------------------------------------------------------------------------------------------------------------- */

/* Two whole configurations, which differ in all that the parser and the ageing must know. */
static const struct flowq_vm_config settings[2] = {
    {.size = sizeof(struct flowq_vm_config)},
    {.size = sizeof(struct flowq_vm_config),
     .key_vlan = FLOWQ_ON,
     .tunnels = FLOWQ_TUNNEL_VXLAN | FLOWQ_TUNNEL_GTPU,
     .vxlan_port = 1000,
     .gtpu_port = 1001,
     .idle_ms = 60000},
};

struct outcome {
    struct parse_rules rules;
    struct note_ages ages;
};

struct configured {
    struct flowq_vm *vm;
    struct outcome of[2]; /* what each alone leaves behind */
};

static struct outcome outcome_of(const struct flowq_vm *vm)
{
    struct outcome o;

    memset(&o, 0, sizeof o);
    vm_parse_rules(vm, &o.rules);
    o.ages = vm_ages(vm);
    return o;
}

static bool is_outcome(const struct outcome *a, const struct outcome *b)
{
    return a->rules.udp_filter == b->rules.udp_filter && a->rules.tunnels == b->rules.tunnels &&
           a->rules.key_vlan == b->rules.key_vlan && memcmp(a->rules.port, b->rules.port, sizeof a->rules.port) == 0 &&
           a->ages.idle == b->ages.idle;
}

static void configure_mine(void *ctx)
{
    struct configured *c = ctx;

    SCHED_CHECK(flowq_vm_configure(c->vm, &settings[sched_self() % 2]) == 0);
}

static bool one_of_them_won(void *ctx)
{
    struct configured *c = ctx;
    struct outcome now = outcome_of(c->vm);

    return is_outcome(&now, &c->of[0]) || is_outcome(&now, &c->of[1]);
}

/* Mutation: flowq_vm_configure() does not lock. */
START_TEST(configurations_do_not_mix)
{
    struct configured c;
    struct sched_scenario s = {.name = "configure",
                               .n_threads = 3,
                               .thread = {configure_mine, configure_mine, configure_mine},
                               .check = one_of_them_won};

    ck_assert_int_eq(flowq_vm_create(NULL, &c.vm), 0);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(flowq_vm_configure(c.vm, &settings[i]), 0);
        c.of[i] = outcome_of(c.vm);
    }
    ck_assert(!is_outcome(&c.of[0], &c.of[1]));
    must_hold(&s, &c);
    flowq_vm_destroy(c.vm);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sched");
    TCase *tc = tcase_create("sched");

    seed = seed_get("check_sched");
    if (seed_long())
        n_runs *= 50;
    tcase_set_timeout(tc, seed_long() ? 1200 : 60);
    tcase_add_test(tc, planted_bugs_are_found);
    tcase_add_test(tc, every_run_is_tried);
    tcase_add_test(tc, seeds_repeat_runs);
    tcase_add_test(tc, orders_are_reached);
    tcase_add_test(tc, runs_are_fast);
    tcase_add_test(tc, locks_exclude);
    tcase_add_test(tc, nothing_is_freed_under_a_reader);
    tcase_add_test(tc, synchronize_waits_for_open_sections);
    tcase_add_test(tc, configurations_do_not_mix);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
