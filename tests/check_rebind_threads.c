/*
 * check_rebind_threads: binding times (S2) on real threads, while the table grows and shrinks: once a note that moved a flow has
 * returned, no other one moves it within rebind_min.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>
#include <time.h>

#include "bare.h"
#include "frames.h"
#include "runner.h"
#include "seed.h"

#define REBIND_MS   500u
#define MOVER_FLOWS 500
#define MOVER_PAIRS 16
#define N_MOVERS    3
#define GROW_FLOWS  3000

static uint64_t seed;
static struct bare b;
static struct frame sent[MOVER_FLOWS + GROW_FLOWS];
static atomic_bool over;
static atomic_uint n_wrong;

/* What is known of a flow: when the last note that moved it, and that has returned, was begun. */
static atomic_u64 moved_at[MOVER_FLOWS];
static atomic_u64 n_moves, n_held;
/* A note that is held up so long that a binding seems to be more than 0.54 s ahead of its clock takes it for an old one
 * (NOTE_BIND_AHEAD), which is not what is tried here. So the clock leaps between notes only, and goes on only while no note is
 * HELD_UP behind it. Readers of `leap` do not order each other. */
#define HELD_UP (BARE_SECOND / 4)
static pthread_rwlock_t leap = PTHREAD_RWLOCK_INITIALIZER;
static atomic_u64 begun_at[N_MOVERS + 1]; /* the note that each thread has in hand; UINT64_MAX: none */

static uint32_t note_one(uintptr_t me, const struct frame *f, uint32_t qid)
{
    struct flowq_pkt pkt = frame_pkt(f);
    atomic_store(&begun_at[me], atomic_load(&b.now_ns));
    uint32_t outcome = flowq_tx_note(b.vm, &pkt, qid);
    atomic_store(&begun_at[me], UINT64_MAX);
    return outcome;
}

static void clock_goes_on(void)
{
    uint64_t oldest = UINT64_MAX;
    for (unsigned i = 0; i <= N_MOVERS; i++) {
        uint64_t begun = atomic_load(&begun_at[i]);
        oldest = begun < oldest ? begun : oldest;
    }
    if (oldest == UINT64_MAX || atomic_load(&b.now_ns) < oldest + HELD_UP)
        atomic_fetch_add(&b.now_ns, 1000);
}

/* A flow that a note has moved, which has returned, is not moved again by one that begins within rebind_min of that, less the
   tolerance of an eighth. Its clock only goes on. */
static void *move_flows(void *arg)
{
    const uintptr_t me = (uintptr_t)arg;
    struct rng rng = {seed ^ (me + 1) << sizeof(me) * 4};
    while (!atomic_load(&over)) {
        uint32_t i = rng_below(&rng, MOVER_FLOWS);
        uint64_t last = atomic_load(&moved_at[i]);
        pthread_rwlock_rdlock(&leap);
        uint64_t before = atomic_load(&b.now_ns);
        uint32_t outcome = note_one(me, &sent[i], rng_below(&rng, MOVER_PAIRS));
        uint64_t after = atomic_load(&b.now_ns);
        pthread_rwlock_unlock(&leap);
        bool moved = outcome == FLOWQ_NOTE_MOVED || outcome == FLOWQ_NOTE_BOUND;
        if (outcome == FLOWQ_NOTE_MOVED && after - last < REBIND_MS * UINT64_C(1000000) * 7 / 8)
            atomic_fetch_add(&n_wrong, 1);
        while (moved && before > last && !atomic_compare_exchange_weak(&moved_at[i], &last, before))
            ;
        atomic_fetch_add(outcome == FLOWQ_NOTE_MOVED ? &n_moves : &n_held, 1);
        clock_goes_on();
    }
    return NULL;
}

/* The table grows, and shrinks once those who made it grow are stale: their clock is the only one that leaps, and all flows of
   the others are bound longer ago than rebind_min then. */
static void *grow_and_shrink(void *arg)
{
    const uintptr_t me = (uintptr_t)arg;
    struct rng rng = {seed ^ (me + 1) << sizeof(me) * 4};
    while (!atomic_load(&over)) {
        for (uint32_t i = 0; i < GROW_FLOWS && !atomic_load(&over); i++)
            note_one(me, &sent[MOVER_FLOWS + i], rng_below(&rng, MOVER_PAIRS));
        pthread_rwlock_wrlock(&leap);
        atomic_fetch_add(&b.now_ns, 3 * BARE_SECOND);
        pthread_rwlock_unlock(&leap);
        for (unsigned i = 0; i < 40; i++)
            flowq_vm_maintain(b.vm);
    }
    return NULL;
}

START_TEST(binding_times_count)
{
    pthread_t id[N_MOVERS + 1];
    struct flowq_vm_config cfg = {.max_flows = 4096,
                                  .max_queue_pairs = MOVER_PAIRS,
                                  .active_ms = 100,
                                  .idle_ms = 1000,
                                  .rebind_min_tcp_us = REBIND_MS * 1000,
                                  .rebind_min_other_us = REBIND_MS * 1000};
    ck_assert_int_eq(bare_make(&b, &cfg, MOVER_PAIRS), 0);
    for (uint32_t i = 0; i < MOVER_FLOWS + GROW_FLOWS; i++) {
        struct flowq_tuple t =
            tuple_v4(i % 3 ? FRAME_PROTO_TCP : FRAME_PROTO_UDP, 0x0a000001, 80, 0xc0a80001, (uint16_t)(10000 + i));
        frame_flow(&sent[i], &t, FRAME_ACK);
    }
    atomic_store(&over, false);
    for (unsigned i = 0; i <= N_MOVERS; i++)
        atomic_store(&begun_at[i], UINT64_MAX);
    for (uintptr_t i = 0; i <= N_MOVERS; i++)
        ck_assert_int_eq(pthread_create(&id[i], NULL, i < N_MOVERS ? move_flows : grow_and_shrink, (void *)i), 0);
    nanosleep(&(struct timespec){.tv_sec = seed_long() ? 60 : 2}, NULL);
    struct flowq_stats s = {.size = sizeof(s)};
    flowq_vm_stats(b.vm, &s);
    for (unsigned more = 0; more < 600 && (n_moves == 0 || s.grown <= 1 || s.shrunk <= 1); more++) { /* on a busy machine */
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        flowq_vm_stats(b.vm, &s);
    }
    atomic_store(&over, true);
    for (unsigned i = 0; i <= N_MOVERS; i++)
        pthread_join(id[i], NULL);
    flowq_vm_stats(b.vm, &s);
    printf("%llu moves, %llu other notes, %llu grown, %llu shrunk, %llu busy\n", (unsigned long long)n_moves,
           (unsigned long long)n_held, (unsigned long long)s.grown, (unsigned long long)s.shrunk,
           (unsigned long long)s.note[FLOWQ_NOTE_BUSY]);
    fflush(stdout);
    ck_assert_uint_gt(n_moves, 0);
    ck_assert_uint_gt(s.grown, 1);
    ck_assert_uint_gt(s.shrunk, 1);
    const char *left = bare_wrong(&b);
    ck_assert_msg(left == NULL, "%s", left);
    ck_assert_msg(n_wrong == 0, "%u times a flow was moved within rebind_min of a note that had returned", n_wrong);
    bare_free(&b);
}
END_TEST

int main(void)
{
    seed = seed_get("check_rebind_threads");
    Suite *s = suite_create("rebind_threads");
    TCase *tc = tcase_create("rebind_threads");
    tcase_set_timeout(tc, seed_long() ? 1200 : 120);
    tcase_add_test(tc, binding_times_count);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
