/* SPDX-License-Identifier: BSD-2-Clause */
/* hash: see hash.h. */
#include "hash.h"

void hash_secret_expand(struct hash_secret *s, const uint8_t seed[FLOWQ_SECRET_SIZE], uint64_t tag_low)
{
    /* Word i is XXH3 of the seed under seed i: cheap, repeatable, and no word is a copy of the seed itself. */
    for (uint64_t i = 0; i < sizeof(s->bytes) / sizeof(uint64_t); i++) {
        uint64_t word = hash_le(XXH3_64bits_withSeed(seed, FLOWQ_SECRET_SIZE, i + 1));
        memcpy(s->bytes + i * sizeof(word), &word, sizeof(word));
    }
    uint64_t part[4];
    memcpy(part, s->bytes + 24, sizeof(part)); /* xxhash.h, XXH3_len_9to16_64b() */
    s->v4.low = part[0] ^ part[1];
    s->v4.high = part[2] ^ part[3] ^ HASH_TCP;
    for (uint64_t i = 0; i < sizeof(s->spread) / sizeof(s->spread[0]); i++)
        s->spread[i] = XXH3_64bits_withSeed(seed, FLOWQ_SECRET_SIZE, UINT64_MAX - i);
    s->spread[2] |= 1;
    s->v4.tag_mask = -tag_low;
}

uint64_t hash_tagged(const struct hash_secret *s, const struct key *key)
{
    enum { ONE = KEY_VLAN_BYTES, BOTH = KEY_VLAN_BYTES + KEY_VNI_BYTES };
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const struct key *k = key;
#else
    struct key turned = *key; /* words of ids are numbers, not bytes as they stand in a header */
    for (uint32_t i = key_l4_word(key) + 1; i < key->bytes / 8; i++)
        turned.word[i] = hash_le(key->word[i]);
    const struct key *k = &turned;
#endif
    /* The lengths are constants to XXH3, which has a function for each. */
    switch (k->bytes) {
    case KEY_V6_BYTES + ONE:
        return hash_nonzero_tag(s, XXH3_64bits_withSecret(k->word, KEY_V6_BYTES + ONE, s->bytes, sizeof(s->bytes)));
    case KEY_V6_BYTES + BOTH:
        return hash_nonzero_tag(s, XXH3_64bits_withSecret(k->word, KEY_V6_BYTES + BOTH, s->bytes, sizeof(s->bytes)));
    case KEY_V4_BYTES + BOTH:
        return hash_nonzero_tag(s, XXH3_64bits_withSecret(k->word, KEY_V4_BYTES + BOTH, s->bytes, sizeof(s->bytes)));
    default:
        return hash_nonzero_tag(s, XXH3_64bits_withSecret(k->word, KEY_V4_BYTES + ONE, s->bytes, sizeof(s->bytes)));
    }
}

uint32_t hash_spread_tagged(const struct hash_secret *s, const struct key *k)
{
    uint32_t spread = key_is_v6(k) ? hash_spread5(s, k->word) : hash_spread2(s, k->word);
    for (uint32_t i = key_l4_word(k) + 1; i < k->bytes / 8; i++)
        spread = hash_spread_mix(hash_fold(k->word[i] ^ spread ^ s->spread[3], s->spread[1]));
    return spread;
}
