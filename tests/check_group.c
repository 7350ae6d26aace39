/*
 * flowq_group and flowq_group_vms against naive ones, and in time.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "flowq.h"
#include "runner.h"
#include "seed.h"

#include <check.h>
#include <string.h>
#include <time.h>

#define MAX 65535

static uint64_t seed;
static uint16_t qids[MAX + 2], order[MAX + 2], wanted[MAX + 2];
static struct flowq_vm *vms[MAX + 2]; /* none of them is there: the library must not look */
static struct flowq_run runs[MAX + 1], wanted_runs[MAX + 1];

/* Of the packets for this vm, the lowest queue number that is at least `from`; beyond them all if there is none. */
static uint32_t next_queue(const struct flowq_vm *vm, uint32_t from, size_t n)
{
    uint32_t next = UINT16_MAX + 1;
    for (size_t i = 0; i < n; i++)
        if (vms[i] == vm && qids[i] >= from && qids[i] < next)
            next = qids[i];
    return next;
}

/* One pass over all packets for each queue of this vm. Goes on where n_runs and at tell that it is. */
static void naive_vm(const struct flowq_vm *vm, size_t n, size_t *n_runs, size_t *at)
{
    for (uint32_t q = next_queue(vm, 0, n); q <= UINT16_MAX; q = next_queue(vm, q + 1, n)) {
        size_t first = *at;
        for (size_t i = 0; i < n; i++)
            if (vms[i] == vm && qids[i] == q)
                wanted[(*at)++] = (uint16_t)i;
        wanted_runs[(*n_runs)++] = (struct flowq_run){(uint16_t)q, (uint16_t)first, (uint16_t)(*at - first), 0};
    }
}

/* All packets go to one vm. */
static size_t naive_group(size_t n)
{
    size_t n_runs = 0, at = 0;
    for (size_t i = 0; i < n; i++)
        vms[i] = NULL;
    naive_vm(NULL, n, &n_runs, &at);
    return n_runs;
}

/* The vms may come in any order, so in that of `order`. 0: a vm comes twice. */
static size_t naive_group_vms(size_t n)
{
    size_t n_runs = 0, at = 0;
    while (at < n && order[at] < n) {
        const struct flowq_vm *vm = vms[order[at]];
        for (size_t i = 0; i < at; i++)
            if (vms[order[i]] == vm)
                return 0;
        naive_vm(vm, n, &n_runs, &at);
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

static size_t call(bool by_vm, const uint16_t *queues, size_t n, size_t max_runs)
{
    struct flowq_run *out = max_runs ? runs : NULL;
    return by_vm ? flowq_group_vms(vms, queues, n, order, out, max_runs) : flowq_group(queues, n, order, out, max_runs);
}

/* Groups qids[0..n) with room for any number of runs, and checks what must hold whatever the order is. */
static size_t group(bool by_vm, size_t n, size_t max_runs)
{
    memset(runs, 0xee, sizeof(runs));
    order[n] = 0xeeee;
    size_t n_runs = call(by_vm, qids, n, max_runs);
    ck_assert(order[n] == 0xeeee);
    ck_assert(untouched(max_runs < n_runs ? max_runs : n_runs));
    return n_runs;
}

static void compare(bool by_vm, size_t n)
{
    group(by_vm, n, 0);
    size_t want = by_vm ? naive_group_vms(n) : naive_group(n), room = want + 3 < MAX ? want + 3 : MAX;
    ck_assert_uint_eq(group(by_vm, n, room), want);
    ck_assert(memcmp(order, wanted, n * sizeof(order[0])) == 0);
    ck_assert(memcmp(runs, wanted_runs, want * sizeof(runs[0])) == 0);
    size_t less = want / 2;
    ck_assert_uint_eq(group(by_vm, n, less), want);
    ck_assert(memcmp(runs, wanted_runs, less * sizeof(runs[0])) == 0);
}

#define QID_MAKES 7

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
    case 4:
        return rng_percent(rng, 20) ? FLOWQ_DROP : (uint16_t)rng_below(rng, 63); /* all that are counted, in small bursts */
    case 5:
        return rng_percent(rng, 20) ? FLOWQ_DROP : (uint16_t)rng_range(rng, 60, 63); /* the last of them, and the next */
    default:
        return (uint16_t)rng_below(rng, 300);
    }
}

#define VM_MAKES (2 + (unsigned)sizeof(uintptr_t))

/* Addresses of different make, one of a given number of vms, 256 at most. */
static struct flowq_vm *any_vm(struct rng *rng, unsigned make, uint32_t n_vms)
{
    uintptr_t which = rng_below(rng, n_vms);
    switch (make) {
    case 0: /* one behind the other, as an allocator gives them */
        return (struct flowq_vm *)(uintptr_t)(0x55550000u + which * 10240);
    case 1: /* anywhere: all bytes differ */
        return (struct flowq_vm *)(uintptr_t)(which * UINT64_C(0x9e3779b97f4a7c15));
    default: /* one byte makes all the difference; NULL is one, too */
        return (struct flowq_vm *)(which << 8 * (make - 2));
    }
}

static void any_burst(struct rng *rng, size_t n)
{
    unsigned make = rng_below(rng, QID_MAKES), vm_make = rng_below(rng, VM_MAKES);
    uint32_t n_vms = rng_below(rng, 3) == 0 ? 200 : rng_range(rng, 1, 5);
    unsigned stays = rng_percent(rng, 50) ? 80 : 0; /* trains of packets for one vm */
    for (size_t k = 0; k < n; k++) {
        qids[k] = any_qid(rng, make);
        vms[k] = k > 0 && rng_percent(rng, stays) ? vms[k - 1] : any_vm(rng, vm_make, n_vms);
    }
    if (rng_percent(rng, 10) && n > 0)
        qids[rng_below(rng, (uint32_t)n)] = (uint16_t)rng_next(rng);
}

START_TEST(test_random)
{
    struct rng rng = {.state = seed};
    for (int i = 0; i < 2000; i++) {
        size_t n = i < 800 ? (size_t)i / 8 : rng_below(&rng, 400);
        any_burst(&rng, n);
        compare(true, n);
        compare(false, n);
    }
}
END_TEST

/* Each packet for another vm, or for another queue: the most there is to hold at each size. */
START_TEST(test_each_another)
{
    for (size_t n = 0; n < 150; n++) {
        for (size_t i = 0; i < n; i++) {
            vms[i] = (struct flowq_vm *)(uintptr_t)((n - i) * 4096);
            qids[i] = (uint16_t)(i % 3);
        }
        compare(true, n);
        for (size_t i = 0; i < n; i++) {
            vms[i] = (struct flowq_vm *)(uintptr_t)(i % 3 * 4096);
            qids[i] = (uint16_t)(n - i);
        }
        compare(true, n);
        compare(false, n);
    }
}
END_TEST

/* Two queues: the first one that is not counted and FLOWQ_DROP, which have a bin in common; and neighbours, around the largest
   burst that is sorted as a small one, where a packet's index would run into the queue's number. */
START_TEST(test_at_the_limits)
{
    struct rng rng = {.state = seed ^ 3};
    for (unsigned round = 0; round < 400; round++) {
        size_t n = rng_percent(&rng, 50) ? 65 : rng_range(&rng, 2, 66);
        bool common = rng_percent(&rng, 50);
        for (size_t i = 0; i < n; i++)
            qids[i] = rng_percent(&rng, 50) ? (common ? 63 : 300) : (common ? FLOWQ_DROP : 301);
        compare(false, n);
    }
}
END_TEST

/* The groups of one vm are those of flowq_group(). */
START_TEST(test_one_vm)
{
    static uint16_t alone[400];
    struct rng rng = {.state = seed ^ 2};
    for (int i = 0; i < 200; i++) {
        size_t n = rng_range(&rng, 1, 400);
        any_burst(&rng, n);
        for (size_t k = 0; k < n; k++)
            vms[k] = vms[0];
        size_t n_runs = group(false, n, MAX);
        memcpy(alone, order, n * sizeof(order[0]));
        ck_assert_uint_eq(group(true, n, MAX), n_runs);
        ck_assert(memcmp(alone, order, n * sizeof(order[0])) == 0);
    }
}
END_TEST

/* Whether the packets of `order` come by queue and then by index, if they are of one vm. */
static bool is_before(uint16_t one, uint16_t other)
{
    return vms[one] != vms[other] || qids[one] < qids[other] || (qids[one] == qids[other] && one < other);
}

/* Whether `order` holds each index once, and vm by vm, by queue and then by index. */
static bool is_sorted(size_t n)
{
    static bool seen[MAX];
    static const struct flowq_vm *done[MAX];
    size_t n_vms = 0;
    memset(seen, 0, sizeof(seen));
    for (size_t i = 0; i < n; i++) {
        if (order[i] >= n || seen[order[i]] || (i > 0 && !is_before(order[i - 1], order[i])))
            return false;
        seen[order[i]] = true;
        if (i == 0 || vms[order[i]] != vms[order[i - 1]])
            done[n_vms++] = vms[order[i]];
    }
    for (size_t i = 0; i < n_vms; i++)
        for (size_t k = 0; k < i; k++)
            if (done[i] == done[k])
                return false;
    return true;
}

/* Whether the runs say what `order` holds. */
static bool runs_are_right(size_t n, size_t n_runs)
{
    size_t at = 0;
    for (size_t r = 0; r < n_runs; r++) {
        if (runs[r].first != at || runs[r].count == 0 || runs[r].reserved != 0)
            return false;
        uint16_t leader = order[at];
        if (r > 0 && vms[leader] == vms[order[at - 1]] && runs[r].qid <= runs[r - 1].qid)
            return false;
        for (size_t i = 0; i < runs[r].count; i++, at++)
            if (qids[order[at]] != runs[r].qid || vms[order[at]] != vms[leader])
                return false;
    }
    return at == n;
}

static uint16_t large_qid(struct rng *rng, int make, size_t i)
{
    switch (make) {
    case 0:
        return (uint16_t)rng_next(rng);
    case 1:
        return (uint16_t)(MAX - i);
    case 2:
        return (uint16_t)(i * 40503u);
    default:
        return (uint16_t)(rng_below(rng, 3) * 0x4321u);
    }
}

/* As many packets as there can be; what is beyond is not looked at. */
START_TEST(test_large)
{
    struct rng rng = {.state = seed ^ 1};
    for (int make = 0; make < 8; make++) {
        bool by_vm = make >= 4;
        for (size_t i = 0; i < MAX + 1; i++) {
            qids[i] = large_qid(&rng, make % 4, i);
            vms[i] = by_vm ? any_vm(&rng, make % 4, 250) : NULL;
        }
        size_t n_runs = group(by_vm, MAX, MAX);
        ck_assert(is_sorted(MAX) && runs_are_right(MAX, n_runs));
        order[MAX] = 0xeeee;
        ck_assert_uint_eq(call(by_vm, qids, MAX + 1, MAX), n_runs);
        ck_assert(order[MAX] == 0xeeee);
        ck_assert_uint_eq(call(by_vm, qids, SIZE_MAX, MAX), n_runs);
        ck_assert(is_sorted(MAX) && runs_are_right(MAX, n_runs));
    }
}
END_TEST

START_TEST(test_nothing)
{
    ck_assert_uint_eq(flowq_group(NULL, 0, NULL, NULL, 0), 0);
    ck_assert_uint_eq(flowq_group(qids, 0, order, runs, 1), 0);
    ck_assert_uint_eq(flowq_group_vms(NULL, NULL, 0, NULL, NULL, 0), 0);
    ck_assert_uint_eq(flowq_group_vms(vms, qids, 0, order, runs, 1), 0);
}
END_TEST

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double time_of(bool by_vm, size_t n)
{
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        double start = seconds();
        call(by_vm, qids, n, MAX);
        double took = seconds() - start;
        best = took < best ? took : best;
    }
    return best;
}

/* No order of queues or vms makes the time grow with the square: that would be 256 times as long for 16 times as many. */
START_TEST(test_time)
{
    for (int make = 0; make < 6; make++) {
        bool by_vm = make >= 3;
        for (size_t i = 0; i < MAX; i++) {
            qids[i] = make % 3 == 0   ? (uint16_t)(MAX - i)
                      : make % 3 == 1 ? (uint16_t)(i % 2 ? i : MAX - i)
                                      : (uint16_t)(i * 40503u);
            vms[i] = (struct flowq_vm *)(uintptr_t)((make == 3 ? MAX - i : (i * 40503u) % MAX) * 10240);
        }
        double one = time_of(by_vm, 4000), sixteen = time_of(by_vm, 64000);
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
    tcase_add_test(t, test_each_another);
    tcase_add_test(t, test_at_the_limits);
    tcase_add_test(t, test_one_vm);
    tcase_add_test(t, test_large);
    tcase_add_test(t, test_nothing);
    tcase_add_test(t, test_time);
    suite_add_tcase(s, t);
    return suite_run(s);
}
