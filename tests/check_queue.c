/*
 * check_queue: which queues are in use, beside naive arrays; that all are switched at once; that the fallback is even over them,
 * and that a change moves as little of it as it can.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "flowq.h"
#include "frames.h"
#include "runner.h"
#include "seed.h"
#include "vm.h"

static struct rng rng;
static struct flowq_vm *vm;
static uint32_t max, pairs;
static bool *enabled, *resetting, *named; /* named: in use beside the pairs */

static void make_for(uint32_t n, uint32_t max_flows)
{
    struct flowq_vm_config cfg = {.size = sizeof(cfg), .max_queue_pairs = n, .max_flows = max_flows};
    ck_assert_int_eq(flowq_vm_create(&cfg, &vm), 0);
    max = n;
    pairs = 1;
    enabled = malloc(n);
    resetting = calloc(n, 1);
    named = calloc(n, 1);
    ck_assert(enabled && resetting && named);
    memset(enabled, true, n);
}

static void make(uint32_t n) { make_for(n, 8); }

static void unmake(void)
{
    flowq_vm_destroy(vm);
    free(enabled);
    free(resetting);
    free(named);
}

static bool in_use(uint32_t qid) { return (qid < pairs || named[qid]) && enabled[qid] && !resetting[qid]; }

static void must_agree(void)
{
    const struct queues *q = &vm->queues;
    uint32_t n = 0, lowest = FLOWQ_DROP;
    for (uint32_t qid = 0; qid < 64 * queues_words(max); qid++) {
        bool is = qid < max && in_use(qid);
        ck_assert(queue_in_use(q, qid) == is);
        lowest = is && n == 0 ? qid : lowest;
        n += is;
    }
    uint32_t summary = atomic_load(&vm->queues.summary);
    ck_assert_uint_eq(queues_n(summary), n);
    ck_assert_uint_eq(queues_lowest(summary), lowest);
    ck_assert_uint_eq(queues_pairs(&vm->queues), pairs);
    for (unsigned i = 0; i < 20; i++) {
        uint32_t spread = (uint32_t)rng_next(&rng);
        uint16_t qid = queue_pick(q, spread);
        ck_assert(n == 0 ? qid == FLOWQ_DROP : in_use(qid));
        ck_assert_uint_eq(queue_pick(q, spread), qid);
    }
}

static void model_set(bool *state, uint32_t qid, bool on)
{
    for (uint32_t i = 0; i < max; i++)
        if (i == qid || qid == FLOWQ_ALL_QUEUES)
            state[i] = on;
}

static void set_one(void)
{
    uint32_t qid = rng_percent(&rng, 5) ? FLOWQ_ALL_QUEUES : rng_below(&rng, max), n = rng_range(&rng, 1, max);
    bool on = rng_percent(&rng, 50);
    switch (rng_below(&rng, 8)) {
    case 0:
        ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, n), 0);
        pairs = n;
        memset(named, false, max);
        break;
    case 1:
        flowq_vm_reset(vm, FLOWQ_RESET_FLOWS);
        if (rng_percent(&rng, 90))
            break;
        flowq_vm_reset(vm, FLOWQ_RESET_QUEUES);
        pairs = 1;
        memset(enabled, true, max);
        memset(resetting, false, max);
        memset(named, false, max);
        break;
    case 2:
    case 3:
        ck_assert_int_eq(flowq_vm_set_queue_resetting(vm, qid, on), 0);
        model_set(resetting, qid, on);
        break;
    default:
        ck_assert_int_eq(flowq_vm_set_queue_enabled(vm, qid, on), 0);
        model_set(enabled, qid, on);
    }
}

static const uint32_t sizes[] = {1, 2, 3, 8, 63, 64, 65, 100, 128, 129, 256, 1000};

START_TEST(beside_three_arrays)
{
    make(sizes[_i]);
    must_agree();
    for (uint32_t step = 0; step < 300000 / SEED_SLOWNESS / (max + 100) + 1; step++) {
        set_one();
        must_agree();
    }
    unmake();
}
END_TEST

START_TEST(the_most_queues)
{
    make(FLOWQ_MAX_QUEUE_PAIRS);
    flowq_vm_set_queue_pairs(vm, FLOWQ_MAX_QUEUE_PAIRS);
    pairs = max;
    must_agree();
    unmake();
}
END_TEST

START_TEST(the_fallback_is_even)
{
    enum { N = 100000 };
    uint32_t counts[8] = {0};
    make(8);
    flowq_vm_set_queue_pairs(vm, 8);
    flowq_vm_set_queue_enabled(vm, 2, false);
    for (uint32_t i = 0; i < N; i++)
        counts[queue_pick(&vm->queues, (uint32_t)rng_next(&rng))]++;
    ck_assert_uint_eq(counts[2], 0);
    for (uint32_t q = 0; q < 8; q++)
        if (q != 2)
            ck_assert(counts[q] > N / 7 - 1000 && counts[q] < N / 7 + 1000); /* nine deviations */
    unmake();
}
END_TEST

/* ---- S10: steady --------------------------------------------------------------------------------------------------------- */

/* As a table that RSS is configured with does. */
static void name_some(void)
{
    uint16_t names[8];
    uint32_t n = rng_below(&rng, 9);
    pairs = rng_range(&rng, 1, max);
    memset(named, false, max);
    for (uint32_t i = 0; i < n; i++) {
        names[i] = (uint16_t)rng_below(&rng, max);
        named[names[i]] = true;
    }
    queues_set_named(&vm->queues, pairs, names, n);
}

/* The queue that each slot stands for. */
static void pick_all(uint16_t *picks, uint32_t slots)
{
    for (uint32_t i = 0; i < slots; i++)
        picks[i] = queue_pick(&vm->queues, (uint32_t)((uint64_t)i << 32 >> __builtin_ctz(slots)));
}

/* Each queue in use stands in as many slots as any other, or one fewer. */
static void must_be_balanced(const uint16_t *picks, uint32_t slots, uint32_t n)
{
    static uint32_t count[FLOWQ_MAX_QUEUE_PAIRS];
    uint32_t least = slots / n, n_more = 0;
    memset(count, 0, max * sizeof(*count));
    for (uint32_t i = 0; i < slots; i++)
        count[picks[i]]++;
    for (uint32_t q = 0; q < max; q++) {
        ck_assert(in_use(q) ? count[q] == least || count[q] == least + 1 : count[q] == 0);
        n_more += in_use(q) && count[q] > least;
    }
    ck_assert_uint_eq(n_more, slots % n);
}

/* was: in use before, when some were. A slot moves from a queue that went, or to one that came, and not otherwise. */
static void must_be_steady(const bool *was, const uint16_t *before, const uint16_t *after, uint32_t slots)
{
    for (uint32_t i = 0; i < slots; i++) {
        ck_assert(in_use(after[i]));
        if (after[i] != before[i] && in_use(before[i]))
            ck_assert_msg(!was[after[i]], "slot %u moved from queue %u to %u, which had been there", i, before[i], after[i]);
    }
}

static const uint32_t steady_sizes[] = {1, 2, 3, 8, 9, 31, 63, 64, 65, 128, 200, 256, 257, 1000, 5000, FLOWQ_MAX_QUEUE_PAIRS};

/* While none is in use, what was before counts: a return gives back. */
START_TEST(changes_move_no_more_than_they_must)
{
    make(steady_sizes[_i]);
    const uint32_t slots = UINT32_C(1) << (32 - vm->queues.slot_shift);
    uint16_t *before = malloc(slots * sizeof(*before)), *after = malloc(slots * sizeof(*after));
    bool *was = calloc(max, 1);
    ck_assert(before && after && was);
    ck_assert_uint_ge(slots, 32 * (max < 64 ? max : 64));
    ck_assert_uint_ge(slots, 2 * max);
    pick_all(before, slots);
    was[0] = true;
    for (uint32_t step = 0; step < 1000000 / SEED_SLOWNESS / (slots + max + 1000) + 1; step++) {
        uint32_t n = 0;
        if (rng_percent(&rng, 5))
            name_some();
        else
            set_one();
        for (uint32_t q = 0; q < max; q++)
            n += in_use(q);
        pick_all(after, slots);
        if (n == 0) {
            ck_assert_uint_eq(after[rng_below(&rng, slots)], FLOWQ_DROP);
            continue;
        }
        must_be_steady(was, before, after, slots);
        must_be_balanced(after, slots, n);
        memcpy(before, after, slots * sizeof(*before));
        for (uint32_t q = 0; q < max; q++)
            was[q] = in_use(q);
    }
    free(before);
    free(after);
    free(was);
    unmake();
}
END_TEST

/* All go at once or one by one, and come back at once: that is as if nothing had happened, as long as none comes before
   all do. */
START_TEST(a_return_gives_back)
{
    enum { SLOTS = 2048 };
    uint16_t before[SLOTS], after[SLOTS];
    make(64);
    flowq_vm_set_queue_pairs(vm, 64);
    for (uint32_t q = 0; q < 64; q += 3)
        flowq_vm_set_queue_enabled(vm, q, false);
    pick_all(before, SLOTS);
    flowq_vm_set_queue_resetting(vm, FLOWQ_ALL_QUEUES, true);
    flowq_vm_set_queue_resetting(vm, FLOWQ_ALL_QUEUES, false);
    pick_all(after, SLOTS);
    ck_assert_int_eq(memcmp(before, after, sizeof(before)), 0);
    flowq_vm_set_queue_pairs(vm, 2); /* queue 1 alone is in use */
    flowq_vm_set_queue_pairs(vm, 64);
    pick_all(after, SLOTS);
    ck_assert_int_eq(memcmp(before, after, sizeof(before)), 0);
    unmake();
}
END_TEST

/* ---- Many at once ------------------------------------------------------------------------------------------------------- */

/* What is set for all queues holds for those that come with more pairs later, and single ones are set again one by one. */
START_TEST(all_queues)
{
    make(200);
    ck_assert_int_eq(flowq_vm_set_queue_enabled(vm, FLOWQ_ALL_QUEUES, false), 0);
    memset(enabled, false, max);
    must_agree();
    flowq_vm_set_queue_pairs(vm, 200);
    pairs = 200;
    must_agree();
    flowq_vm_set_queue_enabled(vm, 130, true);
    enabled[130] = true;
    must_agree();
    ck_assert_int_eq(flowq_vm_set_queue_resetting(vm, FLOWQ_ALL_QUEUES, true), 0);
    memset(resetting, true, max);
    must_agree();
    flowq_vm_set_queue_enabled(vm, FLOWQ_ALL_QUEUES, true);
    memset(enabled, true, max);
    must_agree();
    flowq_vm_set_queue_resetting(vm, FLOWQ_ALL_QUEUES, false);
    memset(resetting, false, max);
    must_agree();
    unmake();
}
END_TEST

/* Counts the summaries that tell of some queues only. */
static void *watch(void *arg)
{
    const atomic_bool *stop = arg;
    size_t wrong = 0;
    while (!atomic_load(stop)) {
        uint32_t summary = atomic_load(&vm->queues.summary), n = queues_n(summary);
        wrong += !(n == 0 && queues_lowest(summary) == FLOWQ_DROP) && !(n == max && queues_lowest(summary) == 0);
        uint16_t qid = queue_pick(&vm->queues, UINT32_MAX);
        wrong += qid != FLOWQ_DROP && qid >= max;
    }
    return (void *)wrong;
}

START_TEST(all_queues_at_once)
{
    atomic_bool stop = false;
    pthread_t watcher;
    void *wrong = NULL;
    make(200);
    flowq_vm_set_queue_pairs(vm, 200);
    ck_assert_int_eq(pthread_create(&watcher, NULL, watch, &stop), 0);
    for (unsigned i = 0; i < 4000; i++) {
        if (i & 2)
            flowq_vm_set_queue_resetting(vm, FLOWQ_ALL_QUEUES, i & 1);
        else
            flowq_vm_set_queue_enabled(vm, FLOWQ_ALL_QUEUES, i & 1);
    }
    atomic_store(&stop, true);
    ck_assert_int_eq(pthread_join(watcher, &wrong), 0);
    ck_assert_ptr_null(wrong);
    unmake();
}
END_TEST

/*
 * Bursts ask for the queues of all their packets at once: with any of them off, each packet goes to its flow's queue if that is
 * in use, and to one that is if not; so do packets of flows that are not known.
 */
START_TEST(bursts_answer_queues_in_use)
{
    enum { FLOWS = 100 };
    static const uint32_t maxima[] = {2, 8, 64, 65, 128, 300};
    struct frame tx[FLOWS], rx[FLOWS];
    struct flowq_pkt pkts[FLOWS];
    uint32_t bound[FLOWS];
    uint16_t qids[FLOWS];
    for (unsigned size = 0; size < sizeof(maxima) / sizeof(*maxima); size++) {
        make_for(maxima[size], FLOWS);
        pairs = max;
        flowq_vm_set_queue_pairs(vm, pairs);
        for (uint32_t i = 0; i < FLOWS; i++) {
            struct flowq_tuple out = tuple_v4(FRAME_PROTO_TCP, 0x0a000001, 80, 0x0b000000 + i, 1024), in = tuple_reverse(&out);
            frame_flow(&tx[i], &out, FRAME_ACK);
            frame_flow(&rx[i], &in, FRAME_ACK);
            struct flowq_pkt sent = frame_pkt(&tx[i]);
            pkts[i] = frame_pkt(&rx[i]);
            bound[i] = i % 5 == 4 ? max : rng_below(&rng, max);
            if (bound[i] < max)
                ck_assert_uint_eq(flowq_tx_note(vm, &sent, bound[i]), FLOWQ_NOTE_BOUND);
        }
        for (unsigned round = 0; round < 300; round++) {
            uint32_t qid_set = rng_percent(&rng, 10) ? FLOWQ_ALL_QUEUES : rng_below(&rng, max);
            bool on = rng_percent(&rng, 70);
            pairs = rng_percent(&rng, 10) ? rng_range(&rng, 1, max) : round % 10 == 0 ? max : pairs;
            ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, pairs), 0);
            ck_assert_int_eq(flowq_vm_set_queue_enabled(vm, qid_set, on), 0);
            ck_assert_int_eq(flowq_vm_set_queue_resetting(vm, qid_set, false), 0);
            model_set(enabled, qid_set, on);
            model_set(resetting, qid_set, false);
            bool any = false;
            for (uint32_t qid = 0; qid < max; qid++)
                any |= in_use(qid);
            uint32_t n = rng_below(&rng, FLOWS + 1);
            flowq_rx_steer_burst(vm, pkts, n, qids);
            for (uint32_t i = 0; i < n; i++) {
                ck_assert(any ? in_use(qids[i]) : qids[i] == FLOWQ_DROP);
                if (bound[i] < max && in_use(bound[i]))
                    ck_assert_uint_eq(qids[i], bound[i]);
            }
        }
        unmake();
    }
}
END_TEST

START_TEST(refused)
{
    make(8);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, 0), -EINVAL);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, 9), -EINVAL);
    ck_assert_int_eq(flowq_vm_set_queue_enabled(vm, 8, false), -EINVAL);
    ck_assert_int_eq(flowq_vm_set_queue_enabled(vm, FLOWQ_DROP, false), -EINVAL);
    ck_assert_int_eq(flowq_vm_set_queue_enabled(vm, FLOWQ_ALL_QUEUES - 1, false), -EINVAL);
    ck_assert_int_eq(flowq_vm_set_queue_resetting(vm, 8, true), -EINVAL);
    ck_assert_int_eq(flowq_vm_set_queue_resetting(vm, UINT32_MAX - 1, true), -EINVAL);
    ck_assert_int_eq(flowq_vm_set_queue_enabled(NULL, FLOWQ_ALL_QUEUES, false), -EINVAL);
    ck_assert_int_eq(flowq_vm_set_queue_resetting(NULL, FLOWQ_ALL_QUEUES, false), -EINVAL);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(NULL, 1), -EINVAL);
    must_agree();
    unmake();
}
END_TEST

/* What a vm's queues use is what they asked for: behind it lies something else. */
START_TEST(they_stay_in_their_room)
{
    static const uint32_t rooms[] = {1, 64, 65, 256, 257, 4096, FLOWQ_MAX_QUEUE_PAIRS};
    enum { FENCE = 4096, FILL = 0xa5 };
    const uint32_t n = rooms[_i];
    const size_t bytes = queues_bytes(n, n);
    unsigned char *mem = aligned_alloc(64, bytes + FENCE);
    atomic_u64 *many = calloc(queues_words(n), sizeof(*many));
    struct queues q;
    ck_assert(mem && many);
    memset(&q, 0, sizeof(q));
    memset(mem, 0, bytes);
    memset(mem + bytes, FILL, FENCE);
    ck_assert_int_eq(queues_init(&q, n, n, many, mem), 0);
    for (unsigned round = 0; round < 4; round++) {
        uint16_t last = (uint16_t)(n - 1);
        queues_set_pairs(&q, round & 1 ? n : 1);
        queues_set_enabled(&q, FLOWQ_ALL_QUEUES, round & 2);
        queues_set_resetting(&q, FLOWQ_ALL_QUEUES, true);
        queues_set_enabled(&q, last, true);
        queues_set_resetting(&q, FLOWQ_ALL_QUEUES, false);
        queues_set_named(&q, n > 1 ? n - 1 : 1, &last, 1);
    }
    queues_reset(&q);
    for (size_t i = 0; i < FENCE; i++)
        ck_assert_msg(mem[bytes + i] == FILL, "%u queues: byte %zu behind them", n, i);
    queues_fini(&q);
    free(many);
    free(mem);
}
END_TEST

int main(void)
{
    rng.state = seed_get("check_queue");
    Suite *s = suite_create("queue");
    TCase *tc = tcase_create("queue");
    tcase_set_timeout(tc, 300);
    tcase_add_loop_test(tc, beside_three_arrays, 0, (int)(sizeof(sizes) / sizeof(sizes[0])));
    tcase_add_test(tc, the_most_queues);
    tcase_add_test(tc, the_fallback_is_even);
    tcase_add_loop_test(tc, changes_move_no_more_than_they_must, 0, (int)(sizeof(steady_sizes) / sizeof(steady_sizes[0])));
    tcase_add_test(tc, a_return_gives_back);
    tcase_add_test(tc, all_queues);
    tcase_add_test(tc, all_queues_at_once);
    tcase_add_test(tc, bursts_answer_queues_in_use);
    tcase_add_test(tc, refused);
    tcase_add_loop_test(tc, they_stay_in_their_room, 0, 7);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
