/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When stamps pass, and that nothing is freed while it is looked at: lib/epoch.h through sections of threads.
 */
#include <check.h>
#include <stdlib.h>

#include "atomic.h"
#include "epoch.h"
#include "flowq.h"
#include "holder.h"
#include "runner.h"
#include "seed.h"
#include "thread.h"

static uint64_t seed;

/* ---- When stamps pass ------------------------------------------------------------------------------------------------------ */

START_TEST(stamps_pass_when_other_threads_leave)
{
    struct holder a, b;
    uint64_t before = epoch_stamp(), first, second;

    ck_assert(passes_soon(before));
    holder_start(&a, true);
    first = epoch_stamp();
    ck_assert_uint_ge(first, before);
    ck_assert(epoch_passed(before));
    ck_assert(!passes_soon(first));
    holder_start(&b, true);
    second = epoch_stamp();
    ck_assert_uint_ge(second, first);
    ck_assert(!passes_soon(second));
    holder_end(&a); /* b opened its section after the first stamp, so it is not waited for */
    ck_assert(!passes_soon(second));
    ck_assert(passes_soon(first));
    holder_end(&b);
    ck_assert(passes_soon(second));
    ck_assert(epoch_passed(first) && epoch_passed(before) && epoch_passed(0));
}
END_TEST

/* Sections opened after the stamp do not hold it up, even if they never end, and whether it was asked for meanwhile or not. */
START_TEST(later_sections_do_not_delay)
{
    struct holder first, later[4];
    uint64_t stamp;

    for (int asked = 0; asked < 2; asked++) {
        holder_start(&first, true);
        stamp = epoch_stamp();
        for (int i = 0; i < 4; i++) {
            ck_assert(asked == 0 || !passes_soon(stamp));
            holder_start(&later[i], true);
        }
        holder_end(&first);
        ck_assert(passes_soon(stamp));
        ck_assert(!passes_soon(epoch_stamp()));
        for (int i = 0; i < 4; i++)
            holder_end(&later[i]);
    }
}
END_TEST

/* Months of stamps between one that is kept and the next: where 31, 32 and 63 bits end, nothing happens. */
START_TEST(stamps_do_not_wrap)
{
    static const uint64_t near[] = {INT32_MAX, UINT32_MAX, (uint64_t)UINT32_MAX * 2, (uint64_t)UINT32_MAX << 16, INT64_MAX};
    uint64_t kept = epoch_stamp(), last = kept;
    struct holder h;

    for (size_t n = 0; n < sizeof near / sizeof near[0]; n++) {
        holder_start(&h, true);
        epoch_advance(near[n] - 3 - last);
        for (int i = 0; i < 8; i++) {
            uint64_t stamp = epoch_stamp();

            ck_assert_uint_gt(stamp, last);
            last = stamp;
            ck_assert(!passes_soon(stamp));
            flowq_enter();
            ck_assert(!passes_soon(stamp));
            flowq_leave();
            ck_assert(!passes_soon(stamp));
            ck_assert(epoch_passed(kept));
            holder_end(&h);
            ck_assert(passes_soon(stamp));
            holder_start(&h, i % 2 == 0);
            ck_assert(passes_soon(stamp));
        }
        holder_end(&h);
    }
}
END_TEST

/* One thread knows exactly which stamps have passed: all, or, inside a section, those it took before. */
START_TEST(stamps_pass_exactly)
{
    struct rng rng = {seed};
    struct thread *t = thread_self();
    uint64_t stamp[64], before = 0, last = 0;
    unsigned n = 0;

    for (int i = 0; i < 100000; i++) {
        uint32_t action = rng_below(&rng, 4);

        if (action == 0 && t->depth < 3) {
            before = t->depth == 0 ? last : before;
            thread_enter(t);
        } else if (action == 1 && t->depth > 0) {
            thread_leave(t);
        } else if (action == 2) {
            stamp[n % 64] = epoch_stamp();
            MUST(stamp[n % 64] > last);
            last = stamp[n++ % 64];
        } else if (n > 0) {
            uint64_t s = stamp[rng_below(&rng, n < 64 ? n : 64)];

            MUST(epoch_passed(s) == (t->depth == 0 || s <= before));
        }
    }
    while (t->depth > 0)
        thread_leave(t);
}
END_TEST

/* ---- Stress ---------------------------------------------------------------------------------------------------------------- */

#define N_SLOTS   4
#define N_RETIRED 64

struct node {
    uint64_t value, inverse; /* plain: a reader that is not protected is a data race, and a use after free */
};

static atomic_ptr slot[N_SLOTS];
static atomic_u64 n_read, n_freed;
static atomic_u32 stop;
static uint64_t n_writes;

static void *come_and_go(void *arg)
{
    uint32_t index;

    (void)arg;
    while (u32_load_relaxed(&stop) == 0)
        pthread_join(start(open_section, &index), NULL);
    return NULL;
}

static struct node *node_new(uint64_t value)
{
    struct node *n = malloc(sizeof *n);

    MUST(n != NULL);
    n->value = value;
    n->inverse = ~value;
    return n;
}

static void *read_nodes(void *arg)
{
    struct rng rng = {seed + (uintptr_t)arg};
    uint64_t n = 0;

    while (u32_load_relaxed(&stop) == 0) {
        struct node *p[2];

        flowq_enter();
        for (int i = 0; i < 2; i++)
            p[i] = ptr_load_acquire(&slot[rng_below(&rng, N_SLOTS)]);
        for (int i = 0; i < 2; i++)
            MUST(p[i]->value == ~p[i]->inverse);
        flowq_leave();
        n += 2;
        if (rng_percent(&rng, 1))
            sched_yield();
    }
    u64_add_relaxed(&n_read, n);
    return NULL;
}

/* Replaces nodes, inside a section or not, and keeps the old ones with their stamps until these have passed. */
static void *replace_nodes(void *arg)
{
    struct rng rng = {seed - 1 - (uintptr_t)arg};
    struct {
        struct node *node;
        uint64_t stamp;
    } retired[N_RETIRED];
    unsigned n = 0, freed = 0;

    for (uint64_t i = 0; i < n_writes; i++) {
        bool in_section = rng_percent(&rng, 50);

        if (in_section)
            flowq_enter();
        retired[n].node = ptr_xchg_seq_cst(&slot[rng_below(&rng, N_SLOTS)], node_new(i));
        retired[n++].stamp = epoch_stamp();
        for (unsigned j = 0; j < n;) {
            if (!epoch_passed(retired[j].stamp)) {
                j++;
                continue;
            }
            retired[j].node->value = retired[j].node->inverse = 0xdead;
            free(retired[j].node);
            retired[j] = retired[--n];
            freed++;
        }
        if (in_section)
            flowq_leave();
        if (i % 64 == 0)
            sched_yield();
        if (n == N_RETIRED)
            flowq_synchronize();
        while (n == N_RETIRED && epoch_passed(retired[n - 1].stamp))
            free(retired[--n].node);
    }
    flowq_synchronize();
    while (n > 0)
        free(retired[--n].node);
    u64_add_relaxed(&n_freed, freed);
    return NULL;
}

START_TEST(nothing_is_freed_under_a_reader)
{
    pthread_t readers[4], writers[2], noise;

    n_writes = seed_long() ? 4000000 : 500000;
    for (int i = 0; i < N_SLOTS; i++)
        ptr_store_release(&slot[i], node_new((uint64_t)i));
    for (uintptr_t i = 0; i < 4; i++)
        readers[i] = start(read_nodes, (void *)i);
    noise = start(come_and_go, NULL);
    for (uintptr_t i = 0; i < 2; i++)
        writers[i] = start(replace_nodes, (void *)i);
    for (int i = 0; i < 2; i++)
        pthread_join(writers[i], NULL);
    u32_store_relaxed(&stop, 1);
    for (int i = 0; i < 4; i++)
        pthread_join(readers[i], NULL);
    pthread_join(noise, NULL);
    for (int i = 0; i < N_SLOTS; i++)
        free(ptr_load_acquire(&slot[i]));
    printf("stress: %llu reads, %llu writes, %llu freed on the way\n", (unsigned long long)u64_load_relaxed(&n_read),
           (unsigned long long)(2 * n_writes), (unsigned long long)u64_load_relaxed(&n_freed));
    ck_assert_uint_gt(u64_load_relaxed(&n_freed), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("epoch");
    TCase *tc = tcase_create("epoch");

    seed = seed_get("check_epoch");
    tcase_set_timeout(tc, seed_long() ? 1200 : 120);
    tcase_add_test(tc, stamps_pass_when_other_threads_leave);
    tcase_add_test(tc, later_sections_do_not_delay);
    tcase_add_test(tc, stamps_do_not_wrap);
    tcase_add_test(tc, stamps_pass_exactly);
    tcase_add_test(tc, nothing_is_freed_under_a_reader);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
