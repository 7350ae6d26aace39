/*
 * toeplitz: see toeplitz.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "toeplitz.h"

#include <string.h>

#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
#define TOEPLITZ_X86
#include <immintrin.h>
#endif

/* ---- Bit by bit ------------------------------------------------------------------------------------------------------------ */

static uint32_t toeplitz_key_be32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* What each bit of the byte at `place` adds, the highest first: 32 bits of the key from there on. place: below
 * TOEPLITZ_KEY_BYTES. */
static void toeplitz_windows(const struct toeplitz *t, size_t place, uint32_t window[8])
{
    uint64_t bits = (uint64_t)toeplitz_key_be32(t->key + place) << 8 | t->key[place + 4];
    for (unsigned b = 0; b < 8; b++)
        window[b] = (uint32_t)(bits >> (8 - b));
}

uint32_t toeplitz_bits(const struct toeplitz *t, const uint8_t *in, size_t n)
{
    uint32_t window[8], hash = 0;
    for (size_t place = 0; place < n && place < TOEPLITZ_KEY_BYTES; place++) {
        toeplitz_windows(t, place, window);
        for (unsigned b = 0; b < 8; b++)
            hash ^= window[b] & (0u - (in[place] >> (7 - b) & 1u));
    }
    return hash;
}

/* ---- Tables ---------------------------------------------------------------------------------------------------------------- */

enum { TOEPLITZ_BUILT_NOT, TOEPLITZ_BUILDING, TOEPLITZ_BUILT };

static void toeplitz_build_place(const struct toeplitz *t, size_t place)
{
    uint32_t window[8], *sum = t->tables->sum[place];
    toeplitz_windows(t, place, window);
    sum[0] = 0;
    for (unsigned b = 0; b < 8; b++) /* bit b counted from the lowest: the values below 2^(b+1) follow from those below 2^b */
        for (unsigned v = 0; v < 1u << b; v++)
            sum[v | 1u << b] = sum[v] ^ window[7 - b];
}

/* Whoever comes first builds them. False: another thread is at it. */
static bool toeplitz_is_built(struct toeplitz *t, unsigned part, size_t from, size_t to)
{
    uint8_t state = u8_load_acquire(&t->built[part]);
    if (__builtin_expect(state == TOEPLITZ_BUILT, 1))
        return true;
    if (state == TOEPLITZ_BUILDING || !u8_cas(&t->built[part], &state, TOEPLITZ_BUILDING))
        return false;
    for (size_t place = from; place < to; place++)
        toeplitz_build_place(t, place);
    u8_store_release(&t->built[part], TOEPLITZ_BUILT);
    return true;
}

static inline __attribute__((always_inline)) uint32_t toeplitz_look_up(const struct toeplitz_tables *tables, const uint8_t *in,
                                                                       unsigned n)
{
    uint32_t hash = 0;
#pragma GCC unroll 36
    for (unsigned place = 0; place < n; place++)
        hash ^= tables->sum[place][in[place]];
    return hash;
}

void toeplitz_burst_tables(struct toeplitz *t, const struct toeplitz_input *in, unsigned n, unsigned bytes, uint32_t *hash)
{
    bool ready = t->tables && toeplitz_is_built(t, 0, 0, TOEPLITZ_V4_BYTES);
    if (bytes > TOEPLITZ_V4_BYTES)
        ready = ready && toeplitz_is_built(t, 1, TOEPLITZ_V4_BYTES, TOEPLITZ_KEY_BYTES);
    for (unsigned i = 0; i < n; i++) {
        const uint8_t *tuple = (const uint8_t *)in[i].word;
        if (__builtin_expect(!ready, 0))
            hash[i] = toeplitz_bits(t, tuple, bytes);
        else
            hash[i] = bytes == TOEPLITZ_V4_BYTES ? toeplitz_look_up(t->tables, tuple, TOEPLITZ_V4_BYTES)
                                                 : toeplitz_look_up(t->tables, tuple, TOEPLITZ_V6_BYTES);
    }
}

/* ---- Wide ------------------------------------------------------------------------------------------------------------------ */

/*
 * Byte j of the hash, the highest first, is the sum over all places p of M[p + j] x in[p], where row r of M[k] is the eight bits
 * of the key from bit 8 k + r on. So the lane with M[k] gets the bytes k-3 to k of the input and adds to the bytes 3 to 0 of the
 * hash: what all lanes add makes, as a little-endian number, the hash. A vector holds four matrices; the upper half of each lane
 * is another packet.
 */
static uint64_t toeplitz_make_matrix(const uint8_t *key)
{
    unsigned bits = (unsigned)key[0] << 8 | key[1];
    uint64_t m = 0;
    for (unsigned r = 0; r < 8; r++) /* the instruction takes the row of the highest bit from the lowest byte */
        m |= (uint64_t)(bits >> (8 - r) & 0xff) << 8 * r;
    return m;
}

#ifdef TOEPLITZ_X86

#define TOEPLITZ_WIDE           __attribute__((always_inline, target("avx2,gfni"))) inline
#define TOEPLITZ_LANES          4
#define TOEPLITZ_VECTORS(bytes) (((bytes) + 3 + TOEPLITZ_LANES - 1) / TOEPLITZ_LANES)

static TOEPLITZ_WIDE long long toeplitz_any_8_bytes(const struct toeplitz_input *in, size_t at)
{
    long long bytes;
    memcpy(&bytes, (const char *)in + at, sizeof(bytes));
    return bytes;
}

/* Bytes 4 v - 3 to 4 v + 4 of two tuples. What is before the tuple is zero; the load stays inside the struct. */
static TOEPLITZ_WIDE __m128i toeplitz_around(const struct toeplitz_input *a, const struct toeplitz_input *b, unsigned v,
                                             unsigned vectors)
{
    size_t at = v == 0 ? 0 : v == vectors - 1 ? 4 * v - 4 : 4 * v - 3;
    __m128i two = _mm_set_epi64x(toeplitz_any_8_bytes(b, at), toeplitz_any_8_bytes(a, at));
    return v == 0 ? _mm_slli_epi64(two, 24) : v == vectors - 1 ? _mm_srli_epi64(two, 8) : two;
}

/* Hashes of two packets, that of `a` in the lower half. */
static TOEPLITZ_WIDE uint64_t toeplitz_hash_two(const struct toeplitz *t, const struct toeplitz_input *a,
                                                const struct toeplitz_input *b, unsigned vectors)
{
    /* In each half of the vector: lane i gets bytes i to i + 3 of either packet. */
    const __m256i pick = _mm256_setr_epi8(0, 1, 2, 3, 8, 9, 10, 11, 1, 2, 3, 4, 9, 10, 11, 12, /* the upper half: */
                                          2, 3, 4, 5, 10, 11, 12, 13, 3, 4, 5, 6, 11, 12, 13, 14);
    __m256i sum = _mm256_setzero_si256();
#pragma GCC unroll 10
    for (unsigned v = 0; v < vectors; v++) {
        __m256i bytes = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(toeplitz_around(a, b, v, vectors)), pick);
        __m256i m = _mm256_load_si256((const __m256i *)(const void *)(t->matrix + TOEPLITZ_LANES * v));
        sum = _mm256_xor_si256(sum, _mm256_gf2p8affine_epi64_epi8(bytes, m, 0));
    }
    __m128i half = _mm_xor_si128(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    half = _mm_xor_si128(half, _mm_unpackhi_epi64(half, half));
    uint64_t two;
    _mm_storel_epi64((__m128i *)(void *)&two, half);
    return two;
}

static TOEPLITZ_WIDE void toeplitz_hash_all(const struct toeplitz *t, const struct toeplitz_input *in, unsigned n,
                                            unsigned vectors, uint32_t *hash)
{
    unsigned i = 0;
    for (; i + 1 < n; i += 2) {
        uint64_t two = toeplitz_hash_two(t, &in[i], &in[i + 1], vectors);
        hash[i] = (uint32_t)two;
        hash[i + 1] = (uint32_t)(two >> 32);
    }
    if (i < n)
        hash[i] = (uint32_t)toeplitz_hash_two(t, &in[i], &in[i], vectors);
}

__attribute__((target("avx2,gfni"))) void toeplitz_burst_wide(struct toeplitz *t, const struct toeplitz_input *in, unsigned n,
                                                              unsigned bytes, uint32_t *hash)
{
    if (bytes == TOEPLITZ_V4_BYTES)
        toeplitz_hash_all(t, in, n, TOEPLITZ_VECTORS(TOEPLITZ_V4_BYTES), hash);
    else
        toeplitz_hash_all(t, in, n, TOEPLITZ_VECTORS(TOEPLITZ_V6_BYTES), hash);
}

bool toeplitz_is_wide(void) { return __builtin_cpu_supports("gfni") && __builtin_cpu_supports("avx2"); }

#else

bool toeplitz_is_wide(void) { return false; }

void toeplitz_burst_wide(struct toeplitz *t, const struct toeplitz_input *in, unsigned n, unsigned bytes, uint32_t *hash)
{
    toeplitz_burst_tables(t, in, n, bytes, hash);
}

#endif

/* ---- All ------------------------------------------------------------------------------------------------------------------- */

void toeplitz_init(struct toeplitz *t, const void *key, size_t n, struct toeplitz_tables *tables)
{
    memset(t, 0, sizeof(*t));
    if (n) /* key may be NULL then */
        memcpy(t->key, key, n);
    t->tables = tables;
    for (size_t k = 0; k < TOEPLITZ_KEY_BYTES; k++)
        t->matrix[k] = toeplitz_make_matrix(t->key + k);
}

void toeplitz_burst(struct toeplitz *t, const struct toeplitz_input *in, unsigned n, unsigned bytes, uint32_t *hash)
{
    toeplitz_fn *burst = toeplitz_is_wide() ? toeplitz_burst_wide : toeplitz_burst_tables;
    burst(t, in, n, bytes, hash);
}
