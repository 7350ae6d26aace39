/*
 * check_hash: the hashes written out in hash.h are XXH3's; what the table and the fallback take from them is independent and
 * even.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>

#include "hash.h"
#include "runner.h"
#include "seed.h"
#include "table.h"

static struct rng rng;

static struct hash_secret random_secret(uint32_t pairs)
{
    struct hash_secret s;
    uint8_t bytes[FLOWQ_SECRET_SIZE];
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)rng_next(&rng);
    hash_secret_expand(&s, bytes, table_tag_low(pairs));
    return s;
}

static struct key random_key(uint32_t bytes)
{
    struct key k = {.bytes = bytes};
    for (unsigned i = 0; i < bytes / 8; i++)
        k.word[i] = rng_percent(&rng, 20) ? rng_below(&rng, 3) : rng_next(&rng);
    return k;
}

/* Not inline: the compiler would see sizes that never come. */
static __attribute__((noinline)) uint64_t original(const struct hash_secret *s, const void *data, volatile uint32_t bytes)
{
    return XXH3_64bits_withSecret(data, bytes, s->bytes, sizeof(s->bytes));
}

START_TEST(the_hash_is_xxh3)
{
    static const uint32_t sizes[] = {KEY_V4_BYTES,
                                     KEY_V6_BYTES,
                                     KEY_V4_BYTES + KEY_VLAN_BYTES,
                                     KEY_V6_BYTES + KEY_VLAN_BYTES,
                                     KEY_V4_BYTES + KEY_VLAN_BYTES + KEY_VNI_BYTES,
                                     KEY_MAX_BYTES};
    const unsigned n = sizeof(sizes) / sizeof(sizes[0]);
    for (unsigned i = 0; i < 300000; i++) {
        struct hash_secret s = random_secret(256);
        struct key k = random_key(sizes[i % n]), bytes = k;
        for (uint32_t j = key_l4_word(&k) + 1; j < k.bytes / 8; j++)
            bytes.word[j] = hash_le(k.word[j]); /* ids are numbers, all else is as it is in headers */
        uint64_t expected = original(&s, bytes.word, k.bytes);
        ck_assert_uint_eq(hash_key(&s, &k), hash_nonzero_tag(&s, expected));
        if (k.bytes == KEY_V4_BYTES)
            ck_assert_uint_eq(hash_words2(&s, k.word), hash_key(&s, &k));
        if (k.bytes == KEY_V6_BYTES)
            ck_assert_uint_eq(hash_words5(&s, k.word), hash_key(&s, &k));
    }
}
END_TEST

START_TEST(no_tag_is_zero)
{
    for (uint32_t pairs = 1; pairs <= FLOWQ_MAX_QUEUE_PAIRS; pairs *= 2) {
        struct hash_secret s = random_secret(pairs);
        uint64_t tag_mask = ~(table_tag_low(pairs) - 1);
        for (unsigned shift = 0; shift < 64; shift++) {
            uint64_t h = rng_next(&rng) >> shift;
            ck_assert_uint_ne(hash_nonzero_tag(&s, h) & tag_mask, 0);
            if (h & tag_mask)
                ck_assert_uint_eq(hash_nonzero_tag(&s, h), h);
        }
    }
}
END_TEST

START_TEST(secrets_matter_and_repeat)
{
    static const uint8_t one[FLOWQ_SECRET_SIZE] = {1}, two[FLOWQ_SECRET_SIZE] = {2};
    struct hash_secret a, b, c;
    struct key k = random_key(KEY_V4_BYTES);
    hash_secret_expand(&a, one, table_tag_low(256));
    hash_secret_expand(&b, one, table_tag_low(256));
    hash_secret_expand(&c, two, table_tag_low(256));
    ck_assert_uint_eq(hash_key(&a, &k), hash_key(&b, &k));
    ck_assert_uint_ne(hash_key(&a, &k), hash_key(&c, &k));
    ck_assert_uint_eq(hash_spread(&a, &k), hash_spread(&b, &k));
    ck_assert_uint_ne(hash_spread(&a, &k), hash_spread(&c, &k));
}
END_TEST

/* Chi-square of counts against an even spread: its mean is n - 1, its deviation sqrt(2 (n - 1)). Seven deviations are
   too many. */
static void must_be_even(const uint32_t *counts, unsigned n, const char *what)
{
    double sum = 0, chi = 0;
    for (unsigned i = 0; i < n; i++)
        sum += counts[i];
    for (unsigned i = 0; i < n; i++)
        chi += (counts[i] - sum / n) * (counts[i] - sum / n) / (sum / n);
    double above = chi - (n - 1);
    ck_assert_msg(above * above < 49.0 * 2 * (n - 1) || above < 0, "%s is uneven: chi-square %.0f for %u bins", what, chi, n);
}

/* Flows that differ little: ports count up. Lines, second lines, shards and the fallback are even, each for itself and
   in pairs. */
START_TEST(what_is_taken_is_even)
{
    static uint32_t lines[256], offsets[256], shards[256], fallbacks[256], line_and_shard[4096], line_and_fallback[4096],
        shard_and_fallback[4096];
    struct hash_secret s = random_secret(256);
    for (uint32_t i = 0; i < 400000; i++) {
        /* The same bytes on each machine. */
        uint32_t ports = (i & 0xffff) << 16 | i >> 16;
        uint64_t word[2] = {hash_le(UINT64_C(0x0100000a0100a8c0)), key_l4_make(hash_le32(ports), 6, 4)};
        uint64_t h = hash_words2(&s, word);
        uint32_t f = hash_spread2(&s, word);
        lines[h & 255]++;
        offsets[h >> 32 & 255]++;
        shards[h >> 56]++;
        fallbacks[f >> 24]++; /* queue_pick() takes the highest bits */
        line_and_shard[(h & 63) << 6 | h >> 58]++;
        line_and_fallback[(h & 63) << 6 | f >> 26]++;
        shard_and_fallback[h >> 58 << 6 | f >> 26]++;
    }
    must_be_even(lines, 256, "the line");
    must_be_even(offsets, 256, "the second line");
    must_be_even(shards, 256, "the shard");
    must_be_even(fallbacks, 256, "the fallback");
    must_be_even(line_and_shard, 4096, "line and shard");
    must_be_even(line_and_fallback, 4096, "line and fallback");
    must_be_even(shard_and_fallback, 4096, "shard and fallback");
}
END_TEST

int main(void)
{
    rng.state = seed_get("check_hash");
    Suite *s = suite_create("hash");
    TCase *tc = tcase_create("hash");
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, the_hash_is_xxh3);
    tcase_add_test(tc, no_tag_is_zero);
    tcase_add_test(tc, secrets_matter_and_repeat);
    tcase_add_test(tc, what_is_taken_is_even);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
