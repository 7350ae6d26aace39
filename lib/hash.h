/* SPDX-License-Identifier: BSD-2-Clause */
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
 * (q: bits of a queue number, table.h).
 *
 * A second hash, hash_spread(), is for the fallback: the same for both directions of a flow, and under a secret of its own: the
 * queue of an unbound flow can be observed from outside and must not tell where the table would put it. It is worked out on a
 * miss alone, from the header again.
 *
 * Both are the same on every machine, as bindings and the slots of the fallback go from one to another (state.h): what is hashed,
 * and the secret, are bytes in the same order, and what is calculated with is read from them as little-endian.
 *
 * XXH3 is no pseudo-random function; SECURITY.md says what the secret buys.
 */
#ifndef FLOWQ_LIB_HASH_H
#define FLOWQ_LIB_HASH_H

#define XXH_FORCE_MEMORY_ACCESS 0 /* by memcpy: else gcc on arm64 reads words by a type of its own, before they are written */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "key.h"
#include "parse.h"

/* What plain IPv4 needs of a secret. */
struct hash_secret_v4 {
    uint64_t low, high; /* what XXH3 makes of the secret for inputs of 9 to 16 bytes; high: and of HASH_TCP */
    uint64_t tag_mask;  /* the table's: all bits of a hash from some one upwards */
};

/* What there is beside ports in the second word of a key of TCP over IPv4: most packets need not be told what they are. */
#define HASH_TCP key_l4_make(0, PROTO_TCP, 4)

/* A word in memory order as the number that little-endian machines see in it, and back. */
static inline uint64_t hash_le(uint64_t word)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return word;
#else
    return __builtin_bswap64(word);
#endif
}

static inline uint32_t hash_le32(uint32_t word)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return word;
#else
    return __builtin_bswap32(word);
#endif
}

/* Lowest bit of a tag: the least hash there is, as a tag of zero is an empty slot's. */
static inline uint64_t hash_least(const struct hash_secret_v4 *s) { return -s->tag_mask; }

/* Read-only after creation. */
struct hash_secret {
    struct hash_secret_v4 v4;
    uint8_t bytes[192]; /* XXH3 wants at least 136; this is its default length */
    uint64_t spread[4]; /* keys the second hash; from the same seed, by other ways. [2] is odd */
};

/* Stretches the user's or the kernel's 32 bytes. tag_low: lowest bit of a tag. */
void hash_secret_expand(struct hash_secret *s, const uint8_t seed[FLOWQ_SECRET_SIZE], uint64_t tag_low);

static inline uint64_t hash_at_least(uint64_t h, uint64_t least) { return h >= least ? h : least; }

static inline uint64_t hash_nonzero_tag(const struct hash_secret *s, uint64_t h) { return hash_at_least(h, hash_least(&s->v4)); }

/* XXH3's multiplication folded to 64 bits. gcc 12 takes the halves of XXH3_mul128_fold64() through memory. */
static inline uint64_t hash_fold(uint64_t a, uint64_t b)
{
#ifdef __x86_64__
    uint64_t high;
    __asm__("mulq %2" : "+a"(a), "=d"(high) : "r"(b) : "cc");
    return a ^ high;
#else
    return XXH3_mul128_fold64(a, b);
#endif
}

/*
 * The keys of plain packets, two words or five: XXH3_64bits_withSecret() of 16 and of 40 bytes, written out, with the part of the
 * secret that the short one wants worked out beforehand. tests/check_hash.c compares them with the original.
 */
/* least: hash_least(&s), which loops have ready. */
static inline uint64_t hash_v4(const struct hash_secret_v4 s, uint64_t least, const uint64_t word[2])
{
    uint64_t low = word[0] ^ s.low, high = word[1] ^ HASH_TCP ^ s.high;
    return hash_at_least(XXH3_avalanche(KEY_V4_BYTES + XXH_swap64(low) + high + hash_fold(low, high)), least);
}

static inline uint64_t hash_words2(const struct hash_secret *s, const uint64_t word[2])
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return hash_v4(s->v4, hash_least(&s->v4), word);
#else
    return hash_nonzero_tag(s, XXH3_64bits_withSecret(word, KEY_V4_BYTES, s->bytes, sizeof(s->bytes)));
#endif
}

static inline uint64_t hash_secret_word(const struct hash_secret *s, size_t i)
{
    uint64_t word;
    memcpy(&word, s->bytes + i * sizeof(word), sizeof(word));
    return word;
}

static inline uint64_t hash_words5(const struct hash_secret *s, const uint64_t word[5])
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t sum = KEY_V6_BYTES * XXH_PRIME64_1;
    sum += hash_fold(word[0] ^ hash_secret_word(s, 0), word[1] ^ hash_secret_word(s, 1));
    sum += hash_fold(word[3] ^ hash_secret_word(s, 2), word[4] ^ hash_secret_word(s, 3));
    sum += hash_fold(word[2] ^ hash_secret_word(s, 4), word[3] ^ hash_secret_word(s, 5));
    sum += hash_fold(word[1] ^ hash_secret_word(s, 6), word[2] ^ hash_secret_word(s, 7));
    return hash_nonzero_tag(s, XXH3_avalanche(sum));
#else
    return hash_nonzero_tag(s, XXH3_64bits_withSecret(word, KEY_V6_BYTES, s->bytes, sizeof(s->bytes)));
#endif
}

/* The keys that have a word of VLAN ids, or of a network id, or both. */
uint64_t hash_tagged(const struct hash_secret *s, const struct key *k);

static inline uint64_t hash_key(const struct hash_secret *s, const struct key *k)
{
    if (k->bytes == KEY_V6_BYTES)
        return hash_words5(s, k->word);
    return k->bytes == KEY_V4_BYTES ? hash_words2(s, k->word) : hash_tagged(s, k);
}

/* Of the key with source and destination swapped: that of a packet which the VM sends (S3), or has sent (S6). */
static inline uint64_t hash_key_reversed(const struct hash_secret *s, const struct key *k)
{
    const uint64_t *word = k->word;
    if (k->bytes == KEY_V6_BYTES)
        return hash_words5(s, (const uint64_t[5]){word[2], word[3], word[0], word[1], key_l4_reversed(word[4])});
    if (k->bytes == KEY_V4_BYTES)
        return hash_words2(s, (const uint64_t[2]){word[0] << 32 | word[0] >> 32, key_l4_reversed(word[1])});
    struct key reversed = *k;
    key_reverse(&reversed);
    return hash_tagged(s, &reversed);
}

static inline uint64_t hash_frag(const struct hash_secret *s, const struct parse_frag *f)
{
    return XXH3_64bits_withSecret(f, sizeof(*f), s->bytes, sizeof(s->bytes));
}

/*
 * The second hash: a keyed multiplication, folded, and half an avalanche. What has an order loses it first. IPv4's addresses come
 * in ascending order; IPv6's come down to a word each, by another keyed multiplication, and are multiplied by one another, as a
 * product has no order. Ports come in ascending order, whichever address is whose: that makes one of two flows whose ports are
 * exchanged between the same addresses, which are few. Words behind those that all keys have have no direction.
 */

/* What counts of key_l4_make()'s word: the ports in ascending order (as one number, in whatever order that is), and the
   protocol. Where little-endian machines have them. */
static inline uint64_t hash_spread_l4(uint32_t ports, uint8_t protocol)
{
    uint32_t there = hash_le32(ports), swapped = there << 16 | there >> 16;
    return (there < swapped ? there : swapped) | (uint64_t)protocol << 32;
}

static inline uint64_t hash_spread_l4_of(uint64_t l4)
{
    return hash_spread_l4((uint32_t)(l4 >> KEY_PORTS_SHIFT), (uint8_t)(l4 >> KEY_PROTOCOL_SHIFT));
}

/* The upper half of a product, in which each bit of the factor counts (multiply-shift hashing: Dietzfelbinger et al., 1997). */
static inline uint32_t hash_spread_mix(uint64_t folded) { return (uint32_t)(folded * 0x165667919e3779f9u >> 32); }

/* What keys it, by value: loops have it in registers. */
struct hash_spread_secret {
    uint64_t word[3];
};

static inline struct hash_spread_secret hash_spread_secret(const struct hash_secret *s)
{
    return (struct hash_spread_secret){{s->spread[0], s->spread[1], s->spread[2]}};
}

/* l4: hash_spread_l4(). */
static inline uint32_t hash_spread_v4(const struct hash_spread_secret s, uint64_t addresses, uint64_t l4)
{
    uint64_t there = hash_le(addresses), back = there << 32 | there >> 32;
    return hash_spread_mix(hash_fold((there < back ? there : back) ^ s.word[0], l4 ^ s.word[1]));
}

static inline uint32_t hash_spread_v6(const struct hash_spread_secret s, const uint64_t address[4], uint64_t l4)
{
    uint64_t ports = l4 ^ s.word[1];
    uint64_t source = hash_le(address[0]) * s.word[2] + hash_le(address[1]);
    uint64_t destination = hash_le(address[2]) * s.word[2] + hash_le(address[3]);
    return hash_spread_mix(hash_fold(source ^ ports, destination ^ ports));
}

static inline uint32_t hash_spread2(const struct hash_secret *s, const uint64_t word[2])
{
    return hash_spread_v4(hash_spread_secret(s), word[0], hash_spread_l4_of(word[1]));
}

static inline uint32_t hash_spread5(const struct hash_secret *s, const uint64_t word[5])
{
    return hash_spread_v6(hash_spread_secret(s), word, hash_spread_l4_of(word[4]));
}

/* Of keys with words of ids, as hash_tagged(). */
uint32_t hash_spread_tagged(const struct hash_secret *s, const struct key *k);

/* Of any key but an empty one. */
static inline uint32_t hash_spread(const struct hash_secret *s, const struct key *k)
{
    if (k->bytes == KEY_V4_BYTES)
        return hash_spread2(s, k->word);
    return k->bytes == KEY_V6_BYTES ? hash_spread5(s, k->word) : hash_spread_tagged(s, k);
}

#endif
