/*
 * check_frag: the cache of fragments (lib/frag.c), beside a list that knows which datagram came when.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "frag.h"
#include "runner.h"
#include "seed.h"

#define SECOND UINT64_C(1000000000)

static struct rng rng;

static struct frags make(uint32_t n)
{
    struct frags f;
    void *memory = calloc(n ? n : 1, sizeof(uint64_t));
    ck_assert_ptr_nonnull(memory);
    frags_init(&f, n, memory);
    return f;
}

START_TEST(off)
{
    struct frags f = make(0);
    frag_put(&f, 1, 3, SECOND);
    ck_assert_uint_eq(frag_get(&f, 1, SECOND), FLOWQ_DROP);
    frags_clear(&f);
    free(f.entry);
}
END_TEST

START_TEST(life_of_an_entry)
{
    struct frags f = make(8);
    uint64_t now = 1000 * SECOND, hash = UINT64_C(77) << 40;
    ck_assert_uint_eq(frag_get(&f, hash, now), FLOWQ_DROP);
    frag_put(&f, hash, 12, now);
    ck_assert_uint_eq(frag_get(&f, hash, now), 12);
    ck_assert_uint_eq(frag_get(&f, hash, now - 2 * SECOND), 12); /* another thread's clock is behind */
    ck_assert_uint_eq(frag_get(&f, hash, now + 29 * SECOND), 12);
    ck_assert_uint_eq(frag_get(&f, hash, now + 31 * SECOND), FLOWQ_DROP);
    frag_put(&f, hash, 0, now + 40 * SECOND); /* queue 0 is a queue, and the same datagram has one entry */
    ck_assert_uint_eq(frag_get(&f, hash, now + 40 * SECOND), 0);
    frag_put(&f, hash, FLOWQ_DROP, now + 41 * SECOND); /* was dropped: nothing to follow */
    ck_assert_uint_eq(frag_get(&f, hash, now + 41 * SECOND), 0);
    frag_put(&f, hash, 0x7fff, now + 41 * SECOND);
    ck_assert_uint_eq(frag_get(&f, hash, now + 41 * SECOND), 0x7fff);
    frags_clear(&f);
    ck_assert_uint_eq(frag_get(&f, hash, now + 41 * SECOND), FLOWQ_DROP);
    free(f.entry);
}
END_TEST

/* A first fragment that was parsed before the cache was cleared, and put afterwards; and whose entry was moved up beside it. */
START_TEST(what_came_before_a_reset_does_not_count)
{
    struct frags f = make(8);
    uint64_t now = 1000 * SECOND, hash = (UINT64_C(77) << 40) + 5, known[100];
    for (unsigned i = 0; i < 100; i++) {
        known[i] = frag_hash(&f, hash);
        ck_assert_uint_eq((uint32_t)known[i], (uint32_t)hash); /* its set stays */
        frag_put(&f, known[i], 3, now);
        ck_assert_uint_eq(frag_get(&f, frag_hash(&f, hash), now), 3);
        frags_clear(&f);
        for (unsigned k = 0; k <= i; k++) {
            frag_put(&f, known[k], 4, now);
            ck_assert_uint_eq(frag_get(&f, frag_hash(&f, hash), now), FLOWQ_DROP);
        }
    }
    free(f.entry);
}
END_TEST

/* A datagram that the list knows; among those of its set, the eight that were put last are in the cache. */
struct datagram {
    uint64_t hash, when, order;
    uint16_t qid;
};

/* No two are taken for each other, as two of 400 are once in 50000 times: of 29 bits, and of a set. */
static void draw_hashes(struct datagram *all, unsigned n, const struct frags *f)
{
    for (unsigned i = 0; i < n; i++) {
        bool alike = true;
        while (alike) {
            all[i].hash = rng_next(&rng);
            alike = false;
            for (unsigned k = 0; k < i; k++)
                alike |= all[k].hash >> 35 == all[i].hash >> 35 && ((all[k].hash ^ all[i].hash) & f->set_mask) == 0;
        }
    }
}

static unsigned newer_in_set(const struct datagram *all, unsigned n, const struct frags *f, const struct datagram *d)
{
    unsigned newer = 0;
    for (unsigned i = 0; i < n; i++)
        newer += all[i].order > d->order && ((all[i].hash ^ d->hash) & f->set_mask) == 0;
    return newer;
}

START_TEST(beside_a_list)
{
    enum { N = 400 };
    struct frags f = make(64);
    struct datagram *all = calloc(N, sizeof(*all));
    ck_assert_ptr_nonnull(all);
    uint64_t now = rng_next(&rng) >> 10, order = 0;
    draw_hashes(all, N, &f);
    for (unsigned i = 0; i < 200000; i++) {
        struct datagram *d = &all[rng_below(&rng, N)];
        now += rng_next(&rng) % (SECOND / (i & 1024 ? 10 : 1000));
        if (rng_percent(&rng, 30)) {
            d->qid = (uint16_t)rng_below(&rng, 0x8000);
            d->when = now;
            d->order = ++order;
            frag_put(&f, d->hash, d->qid, now);
            continue;
        }
        uint16_t qid = frag_get(&f, d->hash, now);
        ck_assert(qid == d->qid || qid == FLOWQ_DROP);
        bool kept = d->order && newer_in_set(all, N, &f, d) < FRAG_WAYS;
        if (kept && now - d->when < 29 * SECOND)
            ck_assert_uint_eq(qid, d->qid);
        if (!kept || now - d->when > 31 * SECOND)
            ck_assert_uint_eq(qid, FLOWQ_DROP);
    }
    free(all);
    free(f.entry);
}
END_TEST

/* Threads at work on one set: entries may be lost or doubled, but what is found is what was put. The queue follows from
   the hash. */
static struct frags shared;

static uint16_t queue_of(uint64_t hash) { return (uint16_t)(hash >> 40 & 0x7fff); }

static void *put_and_get(void *arg)
{
    struct rng own = {(uintptr_t)arg};
    uintptr_t n_wrong = 0;
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t hash = (uint64_t)rng_range(&own, 1, 20) << 40;
        uint16_t qid = frag_get(&shared, hash, SECOND);
        n_wrong += qid != FLOWQ_DROP && qid != queue_of(hash);
        if (i & 1)
            frag_put(&shared, hash, queue_of(hash), SECOND);
    }
    return (void *)n_wrong;
}

START_TEST(threads_on_one_set)
{
    pthread_t id[3];
    shared = make(8);
    for (uintptr_t i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&id[i], NULL, put_and_get, (void *)((uintptr_t)rng.state + i)), 0);
    for (unsigned i = 0; i < 3; i++) {
        void *n_wrong;
        ck_assert_int_eq(pthread_join(id[i], &n_wrong), 0);
        ck_assert_ptr_null(n_wrong);
    }
    free(shared.entry);
}
END_TEST

int main(void)
{
    rng.state = seed_get("check_frag");
    Suite *s = suite_create("frag");
    TCase *tc = tcase_create("frag");
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, off);
    tcase_add_test(tc, life_of_an_entry);
    tcase_add_test(tc, what_came_before_a_reset_does_not_count);
    tcase_add_test(tc, beside_a_list);
    tcase_add_test(tc, threads_on_one_set);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
