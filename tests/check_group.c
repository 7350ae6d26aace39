/*
 * flowq_group against a naive one, and in time.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "flowq.h"
#include "seed.h"

#include <check.h>
#include <string.h>
#include <time.h>

#define MAX 65535

static uint64_t seed;
static uint16_t qids[MAX + 2], order[MAX + 2], wanted[MAX + 2];
static struct flowq_run runs[MAX + 1], wanted_runs[MAX + 1];

/* The lowest queue number that is at least `from`; beyond them all if there is none. */
static uint32_t next_queue(uint32_t from, size_t n)
{
    uint32_t next = UINT16_MAX + 1;
    for (size_t i = 0; i < n; i++)
        if (qids[i] >= from && qids[i] < next)
            next = qids[i];
    return next;
}

/* One pass over all packets for each queue. */
static size_t naive_group(size_t n)
{
    size_t n_runs = 0, at = 0;
    for (uint32_t q = next_queue(0, n); q <= UINT16_MAX; q = next_queue(q + 1, n)) {
        size_t first = at;
        for (size_t i = 0; i < n; i++)
            if (qids[i] == q)
                wanted[at++] = (uint16_t)i;
        wanted_runs[n_runs++] = (struct flowq_run){(uint16_t)q, (uint16_t)first, (uint16_t)(at - first), 0};
    }
    return n_runs;
}

/* Of runs[from..]. In one assertion: those of Check are too slow for each element. */
static bool untouched(size_t from)
{
    for (size_t i = from; i <= MAX; i++)
        if (runs[i].qid != 0xeeee || runs[i].reserved != 0xeeee)
            return false;
    return true;
}

/* Groups qids[0..n) with room for any number of runs, and checks what must hold whatever the order is. */
static size_t group(size_t n, size_t max_runs)
{
    memset(runs, 0xee, sizeof(runs));
    order[n] = 0xeeee;
    size_t n_runs = flowq_group(qids, n, order, max_runs ? runs : NULL, max_runs);
    ck_assert(order[n] == 0xeeee);
    ck_assert(untouched(max_runs < n_runs ? max_runs : n_runs));
    return n_runs;
}

static void compare(size_t n)
{
    size_t want = naive_group(n), room = want + 3 < MAX ? want + 3 : MAX;
    ck_assert_uint_eq(group(n, room), want);
    ck_assert(memcmp(order, wanted, n * sizeof(order[0])) == 0);
    ck_assert(memcmp(runs, wanted_runs, want * sizeof(runs[0])) == 0);
    size_t less = want / 2;
    ck_assert_uint_eq(group(n, less), want);
    ck_assert(memcmp(runs, wanted_runs, less * sizeof(runs[0])) == 0);
}

/* Queue numbers of different make. */
static uint16_t any_qid(struct rng *rng, unsigned make)
{
    switch (make) {
    case 0:
        return 5;
    case 1:
        return (uint16_t)rng_below(rng, 4);
    case 2:
        return rng_percent(rng, 20) ? FLOWQ_DROP : (uint16_t)rng_below(rng, 64);
    case 3:
        return (uint16_t)(rng_below(rng, 4) << 8 | rng_below(rng, 4)); /* both digits */
    default:
        return (uint16_t)rng_below(rng, 300);
    }
}

START_TEST(test_random)
{
    struct rng rng = {.state = seed};
    for (int i = 0; i < 2000; i++) {
        size_t n = i < 400 ? (size_t)i / 4 : rng_below(&rng, 400);
        unsigned make = rng_below(&rng, 5);
        for (size_t k = 0; k < n; k++)
            qids[k] = any_qid(&rng, make);
        if (rng_percent(&rng, 10) && n > 0)
            qids[rng_below(&rng, (uint32_t)n)] = (uint16_t)rng_next(&rng);
        compare(n);
    }
}
END_TEST

/* Whether `order` holds each index once, by queue and then by index. */
static bool is_sorted(size_t n)
{
    static bool seen[MAX];
    memset(seen, 0, sizeof(seen));
    for (size_t i = 0; i < n; i++) {
        if (order[i] >= n || seen[order[i]])
            return false;
        seen[order[i]] = true;
        if (i > 0 && (qids[order[i - 1]] > qids[order[i]] || (qids[order[i - 1]] == qids[order[i]] && order[i - 1] > order[i])))
            return false;
    }
    return true;
}

/* Whether the runs say what `order` holds. */
static bool runs_are_right(size_t n, size_t n_runs)
{
    size_t at = 0;
    for (size_t r = 0; r < n_runs; r++) {
        if (runs[r].first != at || runs[r].count == 0 || runs[r].reserved != 0 || (r > 0 && runs[r].qid <= runs[r - 1].qid))
            return false;
        for (size_t i = 0; i < runs[r].count; i++)
            if (qids[order[at++]] != runs[r].qid)
                return false;
    }
    return at == n;
}

/* As many packets as there can be; what is beyond is not looked at. */
START_TEST(test_large)
{
    struct rng rng = {.state = seed ^ 1};
    for (int make = 0; make < 4; make++) {
        for (size_t i = 0; i < MAX + 1; i++)
            qids[i] = make == 0   ? (uint16_t)rng_next(&rng)
                      : make == 1 ? (uint16_t)(MAX - i)
                      : make == 2 ? (uint16_t)(i * 40503u)
                                  : (uint16_t)(rng_below(&rng, 3) * 0x4321u);
        size_t n_runs = group(MAX, MAX);
        ck_assert(is_sorted(MAX) && runs_are_right(MAX, n_runs));
        order[MAX] = 0xeeee;
        ck_assert_uint_eq(flowq_group(qids, MAX + 1, order, runs, MAX), n_runs);
        ck_assert(order[MAX] == 0xeeee);
        ck_assert_uint_eq(flowq_group(qids, SIZE_MAX, order, runs, MAX), n_runs);
        ck_assert(is_sorted(MAX) && runs_are_right(MAX, n_runs));
    }
}
END_TEST

START_TEST(test_nothing)
{
    ck_assert_uint_eq(flowq_group(NULL, 0, NULL, NULL, 0), 0);
    ck_assert_uint_eq(flowq_group(qids, 0, order, runs, 1), 0);
}
END_TEST

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double time_of(size_t n)
{
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        double start = seconds();
        flowq_group(qids, n, order, runs, MAX);
        double took = seconds() - start;
        best = took < best ? took : best;
    }
    return best;
}

/* No order of queues makes the time grow with the square: that would be 256 times as long for 16 times as many. */
START_TEST(test_time)
{
    for (int make = 0; make < 3; make++) {
        for (size_t i = 0; i < MAX; i++)
            qids[i] = make == 0 ? (uint16_t)(MAX - i) : make == 1 ? (uint16_t)(i % 2 ? i : MAX - i) : (uint16_t)(i * 40503u);
        double one = time_of(4000), sixteen = time_of(64000);
        ck_assert_msg(sixteen < 100 * one + 1e-3, "%g s for 4000 packets, %g s for 64000", one, sixteen);
    }
}
END_TEST

int main(void)
{
    seed = seed_get("check_group");
    Suite *s = suite_create("group");
    TCase *t = tcase_create("group");
    tcase_set_timeout(t, 0);
    tcase_add_test(t, test_random);
    tcase_add_test(t, test_large);
    tcase_add_test(t, test_nothing);
    tcase_add_test(t, test_time);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
