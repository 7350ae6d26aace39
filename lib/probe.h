/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * probe: find a word in a line with vector compares.
 *
 * Each function gives the index of the slot in which (slot & mask) == probe, or LINE_SLOTS: the index of the service word, which
 * never compares equal. A vector load is not atomic for the language, so it only filters (T-C): the caller reads word[index]
 * again as an atomic and compares again. ThreadSanitizer and the test scheduler get the portable form.
 */
#ifndef FLOWQ_LIB_PROBE_H
#define FLOWQ_LIB_PROBE_H

#include "table.h"

#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__) && !defined(FLOWQ_SCHED)
#if defined(__has_feature)
#if !__has_feature(thread_sanitizer)
#define PROBE_X86 1
#endif
#else
#define PROBE_X86 1
#endif
#endif

#ifdef PROBE_X86
#include <immintrin.h>

static inline __attribute__((always_inline)) unsigned line_match_sse2(const struct line *l, uint64_t probe, uint64_t mask)
{
    const __m128i *v = (const __m128i *)(const void *)l;
    __m128i want = _mm_set1_epi64x((long long)probe), keep = _mm_set1_epi64x((long long)mask);
    __m128i a = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(v), keep), want);
    __m128i b = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(v + 1), keep), want);
    __m128i c = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(v + 2), keep), want);
    __m128i d = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(v + 3), keep), want);
    /* One bit for each half of a word, in order; a word matches when both do. The eighth is a sentinel. */
    unsigned halves = (unsigned)_mm_movemask_epi8(_mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d)));
    unsigned words = (halves & halves >> 1 & 0x5555) | 1u << 14;
    atomic_signal_fence(memory_order_acquire); /* T-B: the hardware keeps loads in order, the compiler shall */
    return (unsigned)__builtin_ctz(words) / 2;
}

/* The upper halves of four words. */
static inline __attribute__((always_inline)) __m128i line_uppers_sse2(const __m128i *v)
{
    __m128 low = _mm_castsi128_ps(_mm_load_si128(v)), high = _mm_castsi128_ps(_mm_load_si128(v + 1));
    return _mm_castps_si128(_mm_shuffle_ps(low, high, _MM_SHUFFLE(3, 1, 3, 1)));
}

/* The first of eight upper halves that is this one. The service word's counts always, as a sentinel. */
static inline __attribute__((always_inline)) unsigned line_upper_sse2(__m128i low, __m128i high, __m128i want)
{
    __m128i both = _mm_packs_epi32(_mm_cmpeq_epi32(low, want), _mm_cmpeq_epi32(high, want));
    return (unsigned)__builtin_ctz((unsigned)_mm_movemask_epi8(_mm_packs_epi16(both, both)) | 1u << LINE_SLOTS);
}

/* As line_likely(). */
static inline __attribute__((always_inline)) unsigned line_likely_sse2(const struct line *l, uint64_t hash)
{
    const __m128i *v = (const __m128i *)(const void *)l;
    unsigned at = line_upper_sse2(line_uppers_sse2(v), line_uppers_sse2(v + 2), _mm_set1_epi32((int)(hash >> 32)));
    atomic_signal_fence(memory_order_acquire); /* T-B */
    return at;
}

/* As line_likely_or_empty(). */
static inline __attribute__((always_inline)) unsigned line_likely_or_empty_sse2(const struct line *l, uint64_t hash,
                                                                                unsigned *empty)
{
    const __m128i *v = (const __m128i *)(const void *)l;
    const __m128i low = line_uppers_sse2(v), high = line_uppers_sse2(v + 2);
    *empty = line_upper_sse2(low, high, _mm_setzero_si128());
    unsigned at = line_upper_sse2(low, high, _mm_set1_epi32((int)(hash >> 32)));
    atomic_signal_fence(memory_order_acquire); /* T-B */
    return at;
}

static inline __attribute__((always_inline, target("avx2,bmi,bmi2"))) unsigned line_compare_avx2(const struct line *l,
                                                                                                 __m256i want, __m256i keep)
{
    const __m256i *v = (const __m256i *)(const void *)l;
    __m256i a = _mm256_cmpeq_epi64(_mm256_and_si256(_mm256_load_si256(v), keep), want);
    __m256i b = _mm256_cmpeq_epi64(_mm256_and_si256(_mm256_load_si256(v + 1), keep), want);
    unsigned low = (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(a));
    unsigned high = (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(b));
    atomic_signal_fence(memory_order_acquire); /* T-B */
    return (unsigned)__builtin_ctz(low | high << 4 | 1u << LINE_SLOTS);
}

static inline __attribute__((always_inline, target("avx2,bmi,bmi2"))) unsigned line_match_avx2(const struct line *l,
                                                                                               uint64_t probe, uint64_t mask)
{
    return line_compare_avx2(l, _mm256_set1_epi64x((long long)probe), _mm256_set1_epi64x((long long)mask));
}

/* From memory at once. */
static inline __attribute__((always_inline, target("avx2"))) __m256i line_four_avx2(const uint64_t *word)
{
    return _mm256_broadcastq_epi64(_mm_loadl_epi64((const __m128i *)(const void *)word));
}

static inline __attribute__((always_inline, target("avx2,bmi,bmi2"))) unsigned
line_home_avx2(const struct line *l, const uint64_t *hash, uint64_t tag_mask)
{
    return line_compare_avx2(l, _mm256_and_si256(line_four_avx2(hash), _mm256_set1_epi64x((long long)tag_mask)),
                             _mm256_set1_epi64x((long long)(tag_mask | WORD_SECONDARY)));
}

static inline __attribute__((always_inline, target("avx2,bmi,bmi2"))) unsigned
line_home_of_avx2(const struct line *l, const uint64_t *hash, const uint64_t *tag_mask)
{
    __m256i tags = line_four_avx2(tag_mask), secondary = _mm256_set1_epi64x(WORD_SECONDARY);
    return line_compare_avx2(l, _mm256_and_si256(line_four_avx2(hash), tags), _mm256_or_si256(tags, secondary));
}
#define line_match line_match_sse2
#else
#define line_match line_match_portable
#endif

/* A flow that is at home in this line: the index of its slot, or LINE_SLOTS. hash: in memory, for line_home_avx2(). */
static inline __attribute__((always_inline)) unsigned line_home(const struct line *l, const uint64_t *hash, uint64_t tag_mask)
{
    return line_match(l, *hash & tag_mask, tag_mask | WORD_SECONDARY);
}

/* The same where the mask differs from packet to packet. */
static inline __attribute__((always_inline)) unsigned line_home_of(const struct line *l, const uint64_t *hash,
                                                                   const uint64_t *tag_mask)
{
    return line_home(l, hash, *tag_mask);
}

/*
 * The same for a caller who looks again where another flow's word was named: half the instructions. LINE_SLOTS: it is not at
 * home. It compares upper halves of words, which are tag however many bits a queue takes (table.h). Flows whose tags differ in
 * the lower half alone are as many as flows that share what the directory does not tell of 32 bits: hardly any. Nor does it ask
 * for WORD_SECONDARY: a guest of this line with the whole tag is taken for the flow, but is as rare as any flow with this tag.
 */
static inline __attribute__((always_inline)) unsigned line_likely(const struct line *l, const uint64_t *hash, uint64_t tag_mask)
{
#ifdef PROBE_X86
    (void)tag_mask;
    return line_likely_sse2(l, *hash);
#else
    return line_home(l, hash, tag_mask);
#endif
}

/* The same, and a slot that is likely to be empty, or LINE_SLOTS: there is none. */
static inline __attribute__((always_inline)) unsigned line_likely_or_empty(const struct line *l, const uint64_t *hash,
                                                                           uint64_t tag_mask, unsigned *empty)
{
#ifdef PROBE_X86
    (void)tag_mask;
    return line_likely_or_empty_sse2(l, *hash, empty);
#else
    *empty = line_match(l, 0, UINT64_MAX);
    return line_home(l, hash, tag_mask);
#endif
}

#endif
