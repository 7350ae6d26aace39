/*
 * check_sizes: max_flows flows can be learned together, with fewer than one loss in a million (S9), in the memory that flowq(7)
 * states.
 *
 * A round makes a table and notes max_flows new flows, established and active, so that none may give way to another. Losses are
 * refusals and displacements. The bound is on the mean, so losses are added up over rounds, and a size fails when there are more
 * than a rate of one in a million explains. As there are hardly any, a second look tells how far away they are: it goes on until
 * the first one.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "bare.h"
#include "seed.h"

#define RATE 1e-6

static struct rng rng;
static struct bare b;

static const struct size {
    uint32_t max_flows, initial_flows;
    double bytes_a_flow; /* at most, with all flows learned: flowq(7) */
    bool only_long;
} sizes[] = {
    {8, 0, 96, false},         {8, 8, 96, false},
    {16, 0, 64, false},        {16, 16, 64, false},
    {64, 0, 48, false},        {64, 64, 32, false},
    {100, 0, 48, false},       {100, 100, 32, false},
    {1000, 0, 34, false},      {1000, 1000, 20, false},
    {1024, 0, 34, false},      {1024, 1024, 20, false},
    {4096, 0, 34, false},      {4096, 4096, 20, false},
    {4096, 8, 34, false},      {65536, 0, 42, false},
    {65536, 65536, 20, false}, {65536, 1, 42, false},
    {100000, 0, 42, false},    {100000, 100000, 24, false},
    {1 << 20, 0, 20, true},    {1 << 20, 1 << 20, 20, true},
    {1 << 20, 1, 20, true},
};
#define N_SIZES (int)(sizeof(sizes) / sizeof(sizes[0]))

static uint64_t losses(void) { return bare_stat(&b, STAT_NOTE + FLOWQ_NOTE_REFUSED) + bare_displaced(&b); }

/* The most events that a mean explains, but for one chance in a million: Poisson. */
static uint64_t explained(double mean)
{
    double p = exp(-mean), sum = p;
    uint64_t n = 0;
    while (sum < 1 - 1e-6) {
        n++;
        p *= mean / (double)n;
        sum += p;
    }
    return n;
}

static void learn_all(const struct size *z)
{
    bare_make_sized(&b, z->max_flows, z->initial_flows);
    uint64_t allocs = b.n_allocs;
    for (uint32_t i = 0; i < z->max_flows; i++)
        bare_note(&b, rng_next(&rng), i % 256);
    if (z->initial_flows == z->max_flows)
        ck_assert_uint_eq(b.n_allocs, allocs); /* never allocates */
    ck_assert_double_le((double)b.bytes, z->bytes_a_flow * z->max_flows);
}

/* How many flows were learned before the first loss, as a multiple of max_flows. Memory may not grow beyond its bound. */
static double to_the_first_loss(const struct size *z)
{
    uint32_t n = 0;
    bare_make_sized(&b, z->max_flows, z->initial_flows);
    while (losses() == 0) {
        bare_note(&b, rng_next(&rng), n % 256);
        n += losses() == 0;
    }
    ck_assert_uint_le(b.table->grow.n_shards, b.table->max_shards);
    bare_free(&b);
    return (double)n / z->max_flows;
}

START_TEST(so_many_flows_can_be_learned)
{
    const struct size *z = &sizes[_i];
    if (z->only_long && !seed_long())
        return;
    uint64_t n = 0, n_lost = 0, n_wanted = (seed_long() ? 100000000 : 1000000) / SEED_SLOWNESS, max_bytes = 0;
    while (n < n_wanted) {
        learn_all(z);
        n += z->max_flows;
        n_lost += losses();
        max_bytes = b.max_bytes > max_bytes ? b.max_bytes : max_bytes;
        bare_free(&b);
    }
    double least = 1e9, sum = 0;
    unsigned rounds = z->max_flows > 50000 ? 2 : 200000 / z->max_flows / SEED_SLOWNESS + 1;
    for (unsigned i = 0; i < rounds; i++) {
        double first = to_the_first_loss(z);
        least = first < least ? first : least;
        sum += first;
    }
    printf("max_flows %7u, initial_flows %7u: %llu lost of %llu (95 %%: below %.1e); at most %.1f bytes a flow, while growing "
           "too; first "
           "loss at %.2f times max_flows, never before %.2f\n",
           z->max_flows, z->initial_flows, (unsigned long long)n_lost, (unsigned long long)n, n_lost ? NAN : 3.0 / (double)n,
           (double)max_bytes / z->max_flows, sum / rounds, least);
    ck_assert_uint_le(n_lost, explained((double)n * RATE));
    if (z->max_flows >= 1000)
        ck_assert_double_gt(least, 1.05);
}
END_TEST

int main(void)
{
    rng.state = seed_get("check_sizes");
    Suite *s = suite_create("sizes");
    TCase *tc = tcase_create("sizes");
    tcase_set_timeout(tc, seed_long() ? 1200 : 60);
    tcase_add_loop_test(tc, so_many_flows_can_be_learned, 0, N_SIZES);
    suite_add_tcase(s, tc);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
