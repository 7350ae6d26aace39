/*
 * check_toeplitz: lib/toeplitz against published values, against a version that goes bit by bit, and against DPDK's.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <arpa/inet.h>
#include <check.h>
#include <pthread.h>
#include <string.h>

#include "naive.h"
#include "runner.h"
#include "seed.h"
#include "softrss.h"
#include "toeplitz.h"

static uint64_t seed;

static void random_bytes(struct rng *rng, void *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)to)[i] = (uint8_t)rng_next(rng);
}

static void random_tuple(struct rng *rng, struct toeplitz_input *in, unsigned bytes)
{
    memset(in, 0, sizeof(*in));
    random_bytes(rng, in, bytes);
    if (rng_percent(rng, 20)) /* without ports */
        memset((uint8_t *)in + bytes - 4, 0, 4);
}

/* ---- Microsoft's values for the verification of receive-side scaling ------------------------------------------------------- */

static const uint8_t published_key[TOEPLITZ_KEY_BYTES] = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
    0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

static const struct published {
    int family;
    const char *dst;
    uint16_t dport;
    const char *src;
    uint16_t sport;
    uint32_t addresses, with_ports; /* hashes */
} published[] = {
    {AF_INET, "161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2, 0x51ccc178},
    {AF_INET, "65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a, 0xc626b0ea},
    {AF_INET, "12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de, 0x5c2b394a},
    {AF_INET, "209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xafc7327f},
    {AF_INET, "202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5, 0x10e828a2},
    {AF_INET6, "3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2cc18cd5, 0x40207d3d},
    {AF_INET6, "ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0f0c461c, 0xdde51bbf},
    {AF_INET6, "fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x4b61e985, 0x02d1feef},
};

/* Every way there is on this machine. */
static void expect_all(struct toeplitz *t, const struct toeplitz_input *in, unsigned bytes, uint32_t expected)
{
    uint32_t hash = 0;
    ck_assert_uint_eq(toeplitz_bits(t, (const uint8_t *)in, bytes), expected);
    toeplitz_burst_tables(t, in, 1, bytes, &hash);
    ck_assert_uint_eq(hash, expected);
    if (toeplitz_is_wide()) {
        toeplitz_burst_wide(t, in, 1, bytes, &hash);
        ck_assert_uint_eq(hash, expected);
    }
    toeplitz_burst(t, in, 1, bytes, &hash);
    ck_assert_uint_eq(hash, expected);
}

START_TEST(published_values)
{
    static struct toeplitz_tables tables;
    struct toeplitz t;
    toeplitz_init(&t, published_key, sizeof(published_key), &tables);
    for (size_t i = 0; i < sizeof(published) / sizeof(published[0]); i++) {
        const struct published *p = &published[i];
        struct toeplitz_input in = {.word = {0}};
        uint8_t *at = (uint8_t *)&in;
        size_t address = p->family == AF_INET ? 4 : 16;
        unsigned bytes = p->family == AF_INET ? TOEPLITZ_V4_BYTES : TOEPLITZ_V6_BYTES;
        ck_assert_int_eq(inet_pton(p->family, p->src, at), 1);
        ck_assert_int_eq(inet_pton(p->family, p->dst, at + address), 1);
        expect_all(&t, &in, bytes, p->addresses);
        uint16_t ports[2] = {htons(p->sport), htons(p->dport)};
        memcpy(at + 2 * address, ports, sizeof(ports));
        expect_all(&t, &in, bytes, p->with_ports);
    }
}
END_TEST

/* ---- Random ---------------------------------------------------------------------------------------------------------------- */

START_TEST(any_length)
{
    struct rng rng = {seed};
    for (unsigned round = 0; round < 4; round++) {
        for (size_t n = 0; n <= 235; n++) {
            uint8_t key[TOEPLITZ_KEY_BYTES], in[235];
            struct toeplitz t;
            size_t key_bytes = round == 0 ? sizeof(key) : rng_below(&rng, sizeof(key) + 1);
            random_bytes(&rng, key, sizeof(key));
            random_bytes(&rng, in, n);
            toeplitz_init(&t, key, key_bytes, NULL);
            ck_assert_uint_eq(toeplitz_bits(&t, in, n), naive_hash(key, key_bytes, in, n));
        }
    }
}
END_TEST

#define MOST 33

/* Bursts of any number, keys of any length; without tables, too. */
static void one_burst(struct rng *rng)
{
    static struct toeplitz_tables tables;
    struct toeplitz t;
    struct toeplitz_input in[MOST];
    uint32_t wide[MOST + 1], slow[MOST + 1], best[MOST + 1];
    uint8_t key[TOEPLITZ_KEY_BYTES];
    size_t key_bytes = rng_percent(rng, 50) ? sizeof(key) : rng_below(rng, sizeof(key) + 1);
    random_bytes(rng, key, sizeof(key));
    toeplitz_init(&t, key, key_bytes, rng_percent(rng, 90) ? &tables : NULL);
    for (unsigned burst = 0; burst < 4; burst++) {
        unsigned bytes = rng_percent(rng, 50) ? TOEPLITZ_V4_BYTES : TOEPLITZ_V6_BYTES, n = rng_below(rng, MOST + 1);
        for (unsigned i = 0; i < n; i++)
            random_tuple(rng, &in[i], bytes);
        wide[n] = slow[n] = best[n] = 0x5a5a5a5a;
        toeplitz_burst(&t, in, n, bytes, best);
        toeplitz_burst_tables(&t, in, n, bytes, slow);
        if (toeplitz_is_wide())
            toeplitz_burst_wide(&t, in, n, bytes, wide);
        ck_assert(wide[n] == 0x5a5a5a5a && slow[n] == 0x5a5a5a5a && best[n] == 0x5a5a5a5a);
        for (unsigned i = 0; i < n; i++) {
            uint32_t expected = naive_hash(key, key_bytes, (const uint8_t *)&in[i], bytes);
            ck_assert_uint_eq(best[i], expected);
            ck_assert_uint_eq(slow[i], expected);
            if (toeplitz_is_wide())
                ck_assert_uint_eq(wide[i], expected);
        }
    }
}

START_TEST(random_bursts)
{
    struct rng rng = {seed + 1};
    if (!toeplitz_is_wide())
        printf("check_toeplitz: no GFNI here, the wide way is not checked\n");
    for (unsigned i = 0; i < (seed_long() ? 5000u : 200u); i++)
        one_burst(&rng);
}
END_TEST

/* A million tuples, a thousand keys. */
START_TEST(as_dpdk)
{
#ifdef HAVE_DPDK
    struct rng rng = {seed + 2};
    static struct toeplitz_tables tables;
    for (unsigned k = 0; k < 1000; k++) {
        struct toeplitz t;
        struct toeplitz_input in[40];
        uint32_t hash[40], slow[40];
        uint8_t key[TOEPLITZ_KEY_BYTES];
        random_bytes(&rng, key, sizeof(key));
        toeplitz_init(&t, key, sizeof(key), &tables);
        for (unsigned burst = 0; burst < 25; burst++) {
            unsigned bytes = burst % 2 ? TOEPLITZ_V4_BYTES : TOEPLITZ_V6_BYTES;
            for (unsigned i = 0; i < 40; i++)
                random_tuple(&rng, &in[i], bytes);
            toeplitz_burst(&t, in, 40, bytes, hash);
            toeplitz_burst_tables(&t, in, 40, bytes, slow);
            for (unsigned i = 0; i < 40; i++) {
                uint32_t expected = softrss(key, (const uint8_t *)&in[i], bytes);
                ck_assert_uint_eq(hash[i], expected);
                ck_assert_uint_eq(slow[i], expected);
            }
        }
    }
#else
    printf("check_toeplitz: built without DPDK, rte_softrss() is not compared with\n");
#endif
}
END_TEST

/* ---- Several threads meet a new key ---------------------------------------------------------------------------------------- */

#define THREADS 4
static struct toeplitz shared;
static struct toeplitz_tables shared_tables;
static struct toeplitz_input shared_in[2][32];
static uint32_t shared_expected[2][32];
static pthread_barrier_t barrier;

static void *meet(void *wrong)
{
    uint32_t hash[32];
    pthread_barrier_wait(&barrier);
    for (unsigned v6 = 0; v6 < 2; v6++) {
        toeplitz_burst_tables(&shared, shared_in[v6], 32, v6 ? TOEPLITZ_V6_BYTES : TOEPLITZ_V4_BYTES, hash);
        *(bool *)wrong |= memcmp(hash, shared_expected[v6], sizeof(hash)) != 0;
    }
    return NULL;
}

START_TEST(tables_built_once)
{
    struct rng rng = {seed + 3};
    for (unsigned round = 0; round < 200; round++) {
        pthread_t thread[THREADS];
        bool wrong[THREADS] = {false};
        uint8_t key[TOEPLITZ_KEY_BYTES];
        random_bytes(&rng, key, sizeof(key));
        toeplitz_init(&shared, key, sizeof(key), &shared_tables);
        for (unsigned v6 = 0; v6 < 2; v6++) {
            for (unsigned i = 0; i < 32; i++) {
                unsigned bytes = v6 ? TOEPLITZ_V6_BYTES : TOEPLITZ_V4_BYTES;
                random_tuple(&rng, &shared_in[v6][i], bytes);
                shared_expected[v6][i] = toeplitz_bits(&shared, (const uint8_t *)&shared_in[v6][i], bytes);
            }
        }
        pthread_barrier_init(&barrier, NULL, THREADS);
        for (unsigned i = 0; i < THREADS; i++)
            ck_assert_int_eq(pthread_create(&thread[i], NULL, meet, &wrong[i]), 0);
        for (unsigned i = 0; i < THREADS; i++)
            pthread_join(thread[i], NULL);
        pthread_barrier_destroy(&barrier);
        for (unsigned i = 0; i < THREADS; i++)
            ck_assert(!wrong[i]);
    }
}
END_TEST

int main(void)
{
    seed = seed_get("check_toeplitz");
    Suite *suite = suite_create("toeplitz");
    TCase *tcase = tcase_create("toeplitz");
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, published_values);
    tcase_add_test(tcase, any_length);
    tcase_add_test(tcase, random_bursts);
    tcase_add_test(tcase, as_dpdk);
    tcase_add_test(tcase, tables_built_once);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
