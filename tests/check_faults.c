/*
 * check_faults: what goes wrong around the library, while threads are at work: an allocator that has nothing at one call, or from
 * one call on; clocks that go back, leap, or stand still; a section that is never left; threads and vms in numbers; queues that
 * change under a great many packets. Each says what it did.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bare.h"
#include "frames.h"
#include "resident.h"
#include "runner.h"
#include "seed.h"

#define PAIRS     16
#define N_FLOWS   20000
#define N_WORKERS 3

static uint64_t seed;
static struct rng rng;
static struct bare b;
static struct frame sent[N_FLOWS], arriving[N_FLOWS];
static atomic_bool over;

static void set_up(void)
{
    for (uint32_t i = 0; i < N_FLOWS; i++) {
        struct flowq_tuple t = tuple_v4(FRAME_PROTO_TCP, 0x0a000001, 443, 0xc0a80001, (uint16_t)(10000 + i)),
                           back = tuple_reverse(&t);
        frame_flow(&sent[i], &t, FRAME_ACK);
        frame_flow(&arriving[i], &back, FRAME_ACK);
    }
}

static uint32_t note(struct flowq_vm *vm, uint32_t i, uint32_t qid)
{
    struct flowq_pkt pkt = frame_pkt(&sent[i]);
    return flowq_tx_note(vm, &pkt, qid);
}

static uint16_t steer(struct flowq_vm *vm, uint32_t i)
{
    struct flowq_pkt pkt = frame_pkt(&arriving[i]);
    return flowq_rx_steer(vm, &pkt);
}

static struct flowq_stats stats(struct flowq_vm *vm)
{
    struct flowq_stats s = {.size = sizeof(s)};
    ck_assert_int_eq(flowq_vm_stats(vm, &s), 0);
    return s;
}

static void right(void)
{
    const char *wrong = bare_wrong(&b);
    ck_assert_msg(wrong == NULL, "%s", wrong);
}

/* ---- Out of memory ------------------------------------------------------------------------------------------------ */

enum refusal { REFUSE_ONE, REFUSE_ALL_FROM, REFUSE_EVERY_OTHER_FROM, N_REFUSALS };

static atomic_u64 n_asked, n_refused, refuse_at;
static enum refusal refusal;

static void *refusing_alloc(void *ctx, size_t size, size_t align, int32_t node)
{
    uint64_t n = atomic_fetch_add(&n_asked, 1) + 1, at = atomic_load(&refuse_at);
    bool no = at && (refusal == REFUSE_ONE ? n == at : n >= at && (refusal == REFUSE_ALL_FROM || (n - at) % 2 == 0));
    void *p = no ? NULL : aligned_alloc(align, (size + align - 1) / align * align);
    (void)node;
    if (p)
        atomic_fetch_add(&((struct bare *)ctx)->bytes, size);
    else
        atomic_fetch_add(&n_refused, 1);
    return p;
}

static void refusing_free(void *ctx, void *ptr, size_t size)
{
    atomic_fetch_sub(&((struct bare *)ctx)->bytes, size);
    free(ptr);
}

/* All flows, from where this thread begins; the table grows meanwhile. */
static void *note_all(void *arg)
{
    uint32_t first = (uint32_t)(uintptr_t)arg;
    for (uint32_t i = 0; i < N_FLOWS / 4; i++)
        note(b.vm, (first + i) % N_FLOWS, i % PAIRS);
    return NULL;
}

static void *steer_and_set(void *arg)
{
    static const uint16_t table[4] = {1, 2, 3, 4};
    const struct flowq_rss rss = {.size = sizeof(rss), .table = table, .table_length = 4, .max_tx = PAIRS};
    (void)arg;
    for (uint32_t i = 0; !atomic_load(&over); i++) {
        if (steer(b.vm, i % N_FLOWS) >= PAIRS)
            abort(); /* all queues are in use */
        if (i % 64 == 0) {
            int r = flowq_vm_set_rss(b.vm, &rss);
            if (r != 0 && r != -ENOMEM)
                abort();
            flowq_vm_reset(b.vm, FLOWQ_RESET_CONFIG);
            flowq_vm_maintain(b.vm);
        }
    }
    return NULL;
}

/* Threads at work, without memory now and then; with memory again all is learned. Returns how often memory was asked for. */
static uint64_t work_without_memory(uint64_t at)
{
    struct flowq_vm_config cfg = {.max_flows = N_FLOWS * 2,
                                  .max_queue_pairs = PAIRS,
                                  .rebind_min_tcp_us = 1000000,
                                  .virtio_features = FLOWQ_VIRTIO_F_MQ | FLOWQ_VIRTIO_F_RSS | FLOWQ_VIRTIO_F_VERSION_1,
                                  .alloc = refusing_alloc,
                                  .free = refusing_free};
    pthread_t id[N_WORKERS];
    atomic_store(&refuse_at, 0);
    ck_assert_int_eq(bare_make(&b, &cfg, PAIRS), 0);
    atomic_store(&n_asked, 0);
    atomic_store(&n_refused, 0);
    atomic_store(&refuse_at, at);
    atomic_store(&over, false);
    for (uintptr_t i = 0; i < N_WORKERS; i++)
        ck_assert_int_eq(pthread_create(&id[i], NULL, i ? note_all : steer_and_set, (void *)(i * 10007 % N_FLOWS)), 0);
    for (unsigned i = 1; i < N_WORKERS; i++)
        pthread_join(id[i], NULL);
    atomic_store(&over, true);
    pthread_join(id[0], NULL);
    uint64_t asked = atomic_load(&n_asked);
    atomic_store(&refuse_at, 0);
    flowq_vm_reset(b.vm, FLOWQ_RESET_CONFIG);
    flowq_vm_maintain(b.vm);
    right();
    atomic_fetch_add(&b.now_ns, 10 * BARE_SECOND); /* nothing is held by rebind_min */
    for (uint32_t i = 0; i < N_FLOWS / 4; i++) {
        ck_assert_uint_le(note(b.vm, i, i % PAIRS), FLOWQ_NOTE_MOVED);
        ck_assert_uint_eq(steer(b.vm, i), i % PAIRS);
    }
    right();
    bare_free(&b);
    ck_assert_uint_eq(b.bytes, 0);
    return asked;
}

START_TEST(no_memory_at_each_allocation)
{
    uint64_t asked, at = 0, runs = 0, most = 0, refused = 0, step = seed_long() ? 1 : SEED_SLOWNESS > 1 ? 16 : 3;
    refusal = (enum refusal)_i;
    do {
        at += 1 + rng_below(&rng, (uint32_t)step);
        asked = work_without_memory(at);
        most = asked > most ? asked : most;
        refused += atomic_load(&n_refused);
        runs++;
    } while (at < asked && at < 200);
    static const char *const how[] = {"at one call", "from one call on", "at every other call from one on"};
    printf("no memory %s: %llu runs, %llu refusals, at most %llu calls in one; all was learned afterwards\n", how[_i],
           (unsigned long long)runs, (unsigned long long)refused, (unsigned long long)most);
    ck_assert_uint_gt(refused, 0);
}
END_TEST

/* ---- Clocks ------------------------------------------------------------------------------------------------------- */

/* What the clock does, one thing after the other. Nothing is asked of the time that a flow is held, but that it ends. */
static void leap(uint32_t how)
{
    uint64_t now = atomic_load(&b.now_ns);
    const uint64_t to[] = {now - BARE_SECOND,
                           now - 3600 * BARE_SECOND,
                           now + 8640000 * BARE_SECOND,
                           0,
                           UINT64_MAX - 5 * BARE_SECOND,
                           now,
                           now + (UINT64_C(1) << 41),
                           now - (UINT64_C(1) << 41),
                           rng_next(&rng),
                           5};
    atomic_store(&b.now_ns, to[how % (sizeof(to) / sizeof(to[0]))]);
}

static void *steer_always(void *arg)
{
    while (!atomic_load(&over))
        for (uint32_t i = 0; i < 1000; i++)
            if (steer(b.vm, i) >= PAIRS)
                abort();
    return arg;
}

START_TEST(clocks_that_leap)
{
    struct flowq_vm_config cfg = {.max_flows = N_FLOWS, .max_queue_pairs = PAIRS, .rebind_min_tcp_us = _i ? 500000 : 0};
    uint32_t n = 1000, leaps = (seed_long() ? 2000 : 200) / SEED_SLOWNESS;
    uint64_t held = 0, held_longer = 0;
    pthread_t id;
    ck_assert_int_eq(bare_make(&b, &cfg, PAIRS), 0);
    atomic_store(&over, false);
    ck_assert_int_eq(pthread_create(&id, NULL, steer_always, NULL), 0);
    for (uint32_t i = 0; i < n; i++)
        ck_assert_uint_eq(note(b.vm, i, i % PAIRS), FLOWQ_NOTE_BOUND);
    for (uint32_t l = 0; l < leaps; l++) {
        uint32_t before = l % PAIRS, after = (l + 1) % PAIRS;
        leap(l < 10 ? l : rng_below(&rng, 10));
        for (uint32_t i = 0; i < n; i++) /* a binding answers whatever the time is */
            ck_assert_uint_eq(steer(b.vm, i), (i + before) % PAIRS);
        for (uint32_t i = 0; i < n; i++) {
            uint32_t outcome = note(b.vm, i, (i + after) % PAIRS);
            if (outcome != FLOWQ_NOTE_MOVED) { /* held; but not for good */
                ck_assert(_i && outcome == FLOWQ_NOTE_SUPPRESSED);
                held++;
            }
        }
        for (unsigned passed = 0; passed < 2; passed++) { /* rebind_min, and what a time may be ahead (note.h) */
            atomic_fetch_add(&b.now_ns, 600000000);
            for (uint32_t i = 0; i < n; i++)
                held_longer += note(b.vm, i, (i + after) % PAIRS) > FLOWQ_NOTE_MOVED;
            if (passed == 0)
                held_longer = 0;
        }
        ck_assert_uint_eq(held_longer, 0);
        right();
    }
    /* A clock that stands still: flows are learned and moved; and maintenance with any time is no crash. */
    for (uint32_t i = n; i < N_FLOWS / 2; i++)
        ck_assert_uint_eq(note(b.vm, i, 1), FLOWQ_NOTE_BOUND);
    for (uint32_t l = 0; l < 100; l++) {
        leap(l);
        flowq_vm_maintain(b.vm);
        right();
    }
    atomic_store(&over, true);
    pthread_join(id, NULL);
    printf("rebind_min %s: %u leaps of the clock, %llu notes held at first, none for 1.2 s of a clock that went on\n",
           _i ? "500 ms" : "off", leaps, (unsigned long long)held);
    bare_free(&b);
}
END_TEST

/* ---- A section that is never left --------------------------------------------------------------------------------- */

static void *stall(void *arg)
{
    pthread_barrier_t *begun = arg;
    if (flowq_enter() != 0)
        abort();
    pthread_barrier_wait(begun);
    while (!atomic_load(&over))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return NULL; /* inside */
}

static void *note_round_and_round(void *arg)
{
    uint32_t first = (uint32_t)(uintptr_t)arg;
    for (uint32_t round = 0; round < 4; round++) {
        for (uint32_t i = 0; i < N_FLOWS; i++)
            note(b.vm, (first + i) % N_FLOWS, i % PAIRS);
        atomic_fetch_add(&b.now_ns, 4000 * BARE_SECOND);
        for (uint32_t i = 0; i < 30; i++)
            flowq_vm_maintain(b.vm); /* shrinks what it may */
    }
    return NULL;
}

/* The most bytes of the table while two threads make it grow and shrink; beside one that stalls, or not. */
static uint64_t most_bytes(bool stalled)
{
    struct flowq_vm_config cfg = {.max_flows = N_FLOWS, .max_queue_pairs = PAIRS};
    pthread_t id[3];
    pthread_barrier_t begun;
    ck_assert_int_eq(bare_make(&b, &cfg, PAIRS), 0);
    for (uint32_t i = 0; i < 2000; i++)
        note(b.vm, i, 1);
    atomic_store(&over, false);
    ck_assert_int_eq(pthread_barrier_init(&begun, NULL, 2), 0);
    if (stalled) {
        ck_assert_int_eq(pthread_create(&id[2], NULL, stall, &begun), 0);
        pthread_barrier_wait(&begun);
    }
    for (uintptr_t i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&id[i], NULL, note_round_and_round, (void *)(i * N_FLOWS / 2)), 0);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(id[i], NULL);
    right();
    ck_assert(!stalled || stats(b.vm).retired_bytes > 0);
    for (uint32_t i = 0; i < N_FLOWS / 2; i++) { /* it learns, and steers */
        ck_assert_uint_le(note(b.vm, i, 7), FLOWQ_NOTE_MOVED);
        ck_assert_uint_eq(steer(b.vm, i), 7);
    }
    uint64_t most = atomic_load(&b.max_bytes);
    atomic_store(&over, true);
    if (stalled)
        pthread_join(id[2], NULL);
    for (uint32_t i = 0; i < 30; i++)
        flowq_vm_maintain(b.vm);
    ck_assert_uint_eq(stats(b.vm).retired_bytes, 0); /* with the thread its section is gone */
    bare_free(&b);
    pthread_barrier_destroy(&begun);
    return most;
}

START_TEST(a_reader_stalls_for_ever)
{
    uint64_t usual = most_bytes(false), stalled = most_bytes(true);
    printf("a section that is never left: at most %llu KB of table; %llu KB without\n", (unsigned long long)stalled / 1000,
           (unsigned long long)usual / 1000);
    ck_assert_uint_le(stalled, 3 * usual); /* T-F */
}
END_TEST

/* ---- In numbers --------------------------------------------------------------------------------------------------- */

#define AT_ONCE 4

static void *come_and_go(void *arg)
{
    uint32_t i = (uint32_t)(uintptr_t)arg;
    uint32_t outcome = note(b.vm, i % 1000, i % PAIRS);
    if ((outcome > FLOWQ_NOTE_MOVED && outcome != FLOWQ_NOTE_BUSY) || steer(b.vm, i % N_FLOWS) >= PAIRS)
        abort();
    if (i % 3 == 0 && flowq_enter() != 0) /* some end inside */
        abort();
    return NULL;
}

START_TEST(threads_come_and_go)
{
    struct flowq_vm_config cfg = {.max_flows = N_FLOWS, .max_queue_pairs = PAIRS};
    uint32_t n = (seed_long() ? 1000000 : 8000) / SEED_SLOWNESS;
    size_t early = 0, late = 0;
    ck_assert_int_eq(bare_make(&b, &cfg, PAIRS), 0);
    for (uint32_t i = 0; i < n; i += AT_ONCE) {
        pthread_t id[AT_ONCE];
        for (uintptr_t k = 0; k < AT_ONCE; k++)
            ck_assert_int_eq(pthread_create(&id[k], NULL, come_and_go, (void *)(i + k)), 0);
        for (unsigned k = 0; k < AT_ONCE; k++)
            pthread_join(id[k], NULL);
        if (i == n / 8 / AT_ONCE * AT_ONCE)
            early = resident();
    }
    late = resident();
    struct flowq_stats s = stats(b.vm);
    uint64_t noted = s.note[FLOWQ_NOTE_BOUND] + s.note[FLOWQ_NOTE_REFRESHED] + s.note[FLOWQ_NOTE_MOVED] + s.note[FLOWQ_NOTE_BUSY];
    printf("%u threads came and went: %zu KB resident after an eighth of them, %zu KB after all\n", n, early >> 10, late >> 10);
    ck_assert_uint_eq(noted, n); /* what each has counted stays */
    ck_assert_int_eq(flowq_synchronize(), 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    if (!getenv("FLOWQ_EMULATED")) /* an emulator's own memory grows, too */
        ck_assert_uint_le(late, early + (1u << 20));
#endif
    right();
    bare_free(&b);
}
END_TEST

#define VM_FLOWS 8

static uint16_t vm_queue(uint32_t v, uint32_t flow) { return (uint16_t)((v + flow * 5) % PAIRS); }

static void *steer_all_vms(void *arg)
{
    struct flowq_vm **vms = ((void **)arg)[0];
    uint32_t n = *(uint32_t *)((void **)arg)[1];
    struct flowq_vm *of[32];
    struct flowq_pkt pkts[32];
    uint16_t qids[32];
    for (uint32_t i = 0; i + 32 <= n; i += 32) {
        for (uint32_t k = 0; k < 32; k++) {
            of[k] = vms[(i + k * 7919u) % n];
            pkts[k] = frame_pkt(&arriving[k % VM_FLOWS]);
        }
        flowq_rx_steer_burst_vms(of, pkts, 32, qids);
        for (uint32_t k = 0; k < 32; k++)
            if (qids[k] != vm_queue((i + k * 7919u) % n, k % VM_FLOWS))
                abort();
    }
    return NULL;
}

/* As many vms as a host could ever have, at once; each has flows of its own, of the same tuples. */
START_TEST(many_vms)
{
    uint32_t n = (seed_long() ? 10000 : 2000) / SEED_SLOWNESS;
    struct flowq_vm **vms = calloc(n, sizeof(*vms));
    void *args[2] = {vms, &n};
    pthread_t id[2];
    size_t before = resident();
    ck_assert_ptr_nonnull(vms);
    for (uint32_t v = 0; v < n; v++) {
        struct flowq_vm_config cfg = {.size = sizeof(cfg), .max_queue_pairs = PAIRS};
        ck_assert_int_eq(flowq_vm_create(&cfg, &vms[v]), 0);
        flowq_vm_set_queue_pairs(vms[v], PAIRS);
        for (uint32_t i = 0; i < VM_FLOWS; i++)
            ck_assert_uint_eq(note(vms[v], i, vm_queue(v, i)), FLOWQ_NOTE_BOUND);
    }
    size_t all = resident();
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&id[i], NULL, steer_all_vms, args), 0);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(id[i], NULL);
    printf("%u vms with %u flows each: %.1f KB resident for each\n", n, VM_FLOWS, (double)(all - before) / 1024 / n);
    for (uint32_t v = 0; v < n; v++) /* in no order */
        flowq_vm_destroy(vms[(v * UINT64_C(7919)) % n]);
    free(vms);
}
END_TEST

/* ---- Steering beside queues that change --------------------------------------------------------------------------- */

#define BURST    64
#define VERSIONS 1024

/* What may be in use, by version: written before it happens, both; and afterwards, what is. */
static atomic_u64 may_be[VERSIONS], version, n_steered, n_changes, n_wrong;

static void says(uint64_t set)
{
    uint64_t next = atomic_load(&version) + 1;
    atomic_store(&may_be[next % VERSIONS], set);
    atomic_store(&version, next);
}

static void *change_queues(void *arg)
{
    struct rng r = {seed};
    uint64_t enabled = UINT16_MAX, is = UINT16_MAX, pairs = PAIRS;
    while (!atomic_load(&over)) {
        uint32_t q = rng_range(&r, 1, PAIRS - 1); /* the first one stays: nothing is to be dropped */
        bool on = !(enabled >> q & 1), some = rng_percent(&r, 10);
        if (some)
            pairs = rng_range(&r, 1, PAIRS);
        else
            enabled ^= UINT64_C(1) << q;
        uint64_t next = enabled & ((UINT64_C(1) << pairs) - 1);
        says(is | next);
        if (some)
            flowq_vm_set_queue_pairs(b.vm, (uint32_t)pairs);
        else
            flowq_vm_set_queue_enabled(b.vm, q, on);
        says(is = next);
        atomic_fetch_add(&n_changes, 1);
        if (rng_percent(&r, 30))
            nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    }
    return arg;
}

static void *steer_bursts(void *arg)
{
    struct rng r = {seed + (uintptr_t)arg};
    struct flowq_pkt pkts[BURST];
    uint16_t qids[BURST];
    uint64_t wanted = (seed_long() ? UINT64_C(500000000) : 2000000) / SEED_SLOWNESS;
    for (uint64_t n = 0; n < wanted || atomic_load(&n_changes) == 0; n += BURST) {
        if (n % (BURST * 64) == 0)
            for (uint32_t k = 0, at = rng_below(&r, N_FLOWS); k < BURST; k++)
                pkts[k] = frame_pkt(&arriving[(at + k * 31) % N_FLOWS]);
        uint64_t from = atomic_fetch_add(&version, 0), may = 0, got = 0;
        flowq_rx_steer_burst(b.vm, pkts, BURST, qids);
        uint64_t to = atomic_fetch_add(&version, 0);
        for (uint32_t k = 0; k < BURST; k++)
            got |= UINT64_C(1) << (qids[k] < PAIRS ? qids[k] : 63);
        if (to - from < VERSIONS - 2)
            for (uint64_t v = from; v <= to; v++)
                may |= atomic_load(&may_be[v % VERSIONS]);
        if (got & ~may && atomic_fetch_add(&version, 0) - from < VERSIONS - 2)
            atomic_fetch_add(&n_wrong, 1);
        atomic_fetch_add(&n_steered, BURST);
    }
    return NULL;
}

START_TEST(answers_are_in_use)
{
    struct flowq_vm_config cfg = {.max_flows = N_FLOWS, .max_queue_pairs = PAIRS};
    pthread_t id[3];
    ck_assert_int_eq(bare_make(&b, &cfg, PAIRS), 0);
    for (uint32_t i = 0; i < N_FLOWS / 2; i++) /* half of them bound */
        note(b.vm, i, i % PAIRS);
    says(UINT16_MAX);
    atomic_store(&over, false);
    for (uintptr_t i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&id[i], NULL, i ? steer_bursts : change_queues, (void *)i), 0);
    for (unsigned i = 1; i < 3; i++)
        pthread_join(id[i], NULL);
    atomic_store(&over, true);
    pthread_join(id[0], NULL);
    printf("%llu packets steered beside %llu changes of queues: %llu bursts with answers that were never in use\n",
           (unsigned long long)n_steered, (unsigned long long)n_changes, (unsigned long long)n_wrong);
    ck_assert_uint_eq(n_wrong, 0);
    bare_free(&b);
}
END_TEST

int main(void)
{
    rng.state = seed = seed_get("check_faults");
    Suite *s = suite_create("faults");
    TCase *tc = tcase_create("faults");
    tcase_add_checked_fixture(tc, set_up, NULL);
    tcase_set_timeout(tc, seed_long() ? 3600 : 240);
    tcase_add_loop_test(tc, no_memory_at_each_allocation, 0, N_REFUSALS);
    tcase_add_loop_test(tc, clocks_that_leap, 0, 2);
    tcase_add_test(tc, a_reader_stalls_for_ever);
    tcase_add_test(tc, threads_come_and_go);
    tcase_add_test(tc, many_vms);
    tcase_add_test(tc, answers_are_in_use);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
