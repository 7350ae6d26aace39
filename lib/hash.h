/*
 * hash: from a key to 64 well-mixed bits that nobody outside can predict.
 *
 * XXH3 with a secret of its own for each vm, inlined. The bits are used like this:
 *
 *     63 ............................................. 15+q ... 8  7 ....... 0
 *     |<- directory (as many from the top as it has) ->|          |<- line ->|
 *     |<---------------- tag, stored in the table ---->|
 *
 * so that the tag holds whatever a shard that splits must know, and the line, which is implied by the place, does not repeat it
 * (q: bits of a queue number, table.h). A second hash, for the fallback, is drawn from the first through a secret of its own: the
 * queue of an unbound flow can be observed from outside and must not tell where the table would put it.
 *
 * XXH3 is no pseudo-random function; SECURITY.md says what the secret buys.
 */
#ifndef FLOWQ_LIB_HASH_H
#define FLOWQ_LIB_HASH_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "key.h"
#include "parse.h"

/* Read-only after creation. What plain IPv4 needs comes first. */
struct hash_secret {
    uint64_t short_low, short_high; /* what XXH3 makes of `bytes` for inputs of 9 to 16 bytes */
    uint64_t tag_low;               /* lowest bit of a tag: set where a tag would be zero, as an empty slot is */
    uint8_t bytes[192];             /* XXH3 wants at least 136; this is its default length */
    uint64_t fallback;              /* keys the second hash */
};

/* Stretches the user's or the kernel's 32 bytes. tag_low: see above. */
void hash_secret_expand(struct hash_secret *s, const uint8_t seed[FLOWQ_SECRET_SIZE], uint64_t tag_low);

static inline uint64_t hash_nonzero_tag(const struct hash_secret *s, uint64_t h)
{
    return h >= s->tag_low ? h : h | s->tag_low;
}

/* XXH3's multiplication folded to 64 bits. Not XXH3_mul128_fold64(): gcc takes the halves of that through memory. */
static inline uint64_t hash_fold(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/*
 * The keys of plain packets, two words or five: XXH3_64bits_withSecret() of 16 and of 40 bytes, written out, with the part of the
 * secret that the short one wants worked out beforehand. tests/check_hash.c compares them with the original.
 */
static inline uint64_t hash_words2(const struct hash_secret *s, const uint64_t word[2])
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t low = word[0] ^ s->short_low, high = word[1] ^ s->short_high;
    return hash_nonzero_tag(s, XXH3_avalanche(KEY_V4_BYTES + XXH_swap64(low) + high + hash_fold(low, high)));
#else
    return hash_nonzero_tag(s, XXH3_64bits_withSecret(word, KEY_V4_BYTES, s->bytes, sizeof(s->bytes)));
#endif
}

static inline uint64_t hash_words5(const struct hash_secret *s, const uint64_t word[5])
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t k[8];
    memcpy(k, s->bytes, sizeof(k));
    return hash_nonzero_tag(s,
                            XXH3_avalanche(KEY_V6_BYTES * XXH_PRIME64_1 + hash_fold(word[0] ^ k[0], word[1] ^ k[1]) +
                                           hash_fold(word[3] ^ k[2], word[4] ^ k[3]) + hash_fold(word[2] ^ k[4], word[3] ^ k[5]) +
                                           hash_fold(word[1] ^ k[6], word[2] ^ k[7])));
#else
    return hash_nonzero_tag(s, XXH3_64bits_withSecret(word, KEY_V6_BYTES, s->bytes, sizeof(s->bytes)));
#endif
}

static inline uint64_t hash_key(const struct hash_secret *s, const struct key *k)
{
    switch (k->bytes) {
    case KEY_V4_BYTES:
        return hash_words2(s, k->word);
    case KEY_V6_BYTES:
        return hash_words5(s, k->word);
    case KEY_V4_BYTES + KEY_VLAN_BYTES:
        return hash_nonzero_tag(s, XXH3_64bits_withSecret(k->word, KEY_V4_BYTES + KEY_VLAN_BYTES, s->bytes, sizeof(s->bytes)));
    default:
        return hash_nonzero_tag(s, XXH3_64bits_withSecret(k->word, KEY_V6_BYTES + KEY_VLAN_BYTES, s->bytes, sizeof(s->bytes)));
    }
}

static inline uint64_t hash_frag(const struct hash_secret *s, const struct parse_frag *f)
{
    return XXH3_64bits_withSecret(f, sizeof(*f), s->bytes, sizeof(s->bytes));
}

/* The second hash of a flow, from the first: a keyed bijection (multiply, xor-shift), so no flow is likelier than another. */
static inline uint64_t hash_fallback(const struct hash_secret *s, uint64_t h)
{
    h = (h ^ s->fallback) * 0x9fb21c651e98df25u;
    h = (h ^ h >> 35) * 0xd6e8feb86659fd93u;
    return h ^ h >> 32;
}

#endif
