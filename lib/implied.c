/* implied: see implied.h. SPDX-License-Identifier: BSD-2-Clause */
#include "implied.h"

#include "probe.h"

#define IMPLIED_NEXT_BITS 4 /* of a set's place */
#define IMPLIED_NEXT_MASK ((UINT32_C(1) << IMPLIED_NEXT_BITS) - 1)
#define IMPLIED_TICK_BITS 8 /* of an entry */
#define IMPLIED_TICK_MASK ((UINT32_C(1) << IMPLIED_TICK_BITS) - 1)
#define IMPLIED_AHEAD     16 /* the clock of another thread may be ahead by fewer ticks than this */

_Static_assert(IMPLIED_WAYS <= IMPLIED_NEXT_MASK, "a place can name each entry");
_Static_assert(IMPLIED_WAYS *IMPLIED_TICKS + IMPLIED_AHEAD <= IMPLIED_TICK_MASK, "no entry grows so old that it looks young");

static uint32_t implied_n_sets(uint32_t max_flows)
{
    uint32_t n = IMPLIED_MIN_SETS;
    while (n < IMPLIED_MAX_SETS && n < max_flows / IMPLIED_FLOWS_A_SET)
        n *= 2;
    return n;
}

size_t implied_bytes(uint32_t max_flows) { return implied_n_sets(max_flows) * sizeof(struct implied_set); }

void implied_init(struct implied *f, uint32_t max_flows, void *mem)
{
    f->set = mem;
    f->set_mask = implied_n_sets(max_flows) - 1;
}

static void implied_empty_set(struct implied_set *s)
{
    for (unsigned i = 0; i < IMPLIED_WAYS; i++)
        u32_store_relaxed(&s->entry[i], 0);
}

void implied_clear(const struct implied *f)
{
    for (uint32_t i = 0; i <= f->set_mask; i++)
        implied_empty_set(&f->set[i]);
}

/* Are no more than IMPLIED_TICKS between the two, `mask` of which are known? */
static bool implied_is_recent(uint32_t now, uint32_t then, uint32_t mask)
{
    uint32_t age = (now - then) & mask;
    return age <= IMPLIED_TICKS || age > mask - IMPLIED_AHEAD;
}

static void implied_remember(struct implied_set *s, uint32_t entry, uint32_t now)
{
    uint32_t place = u32_load_relaxed(&s->place), next = (place & IMPLIED_NEXT_MASK) % IMPLIED_WAYS;
    if (!implied_is_recent(now, place >> IMPLIED_NEXT_BITS, UINT32_MAX >> IMPLIED_NEXT_BITS))
        implied_empty_set(s);
    u32_store_relaxed(&s->entry[next], entry);
    u32_store_relaxed(&s->place, now << IMPLIED_NEXT_BITS | (next + 1) % IMPLIED_WAYS);
}

/* What an entry holds of the hash. */
static uint32_t implied_print(uint64_t hash)
{
    uint32_t print = (uint32_t)(hash >> 40) << IMPLIED_TICK_BITS;
    return print ? print : IMPLIED_TICK_MASK + 1;
}

/* The entries with this print, a bit each. A filter, as in probe.h: who goes by one reads it again. */
static inline uint32_t implied_with(const struct implied_set *s, uint32_t print)
{
    uint32_t found = 0;
#ifdef PROBE_X86
    const __m128i *v = (const __m128i *)(const void *)s;
    const __m128i want = _mm_set1_epi32((int)print), keep = _mm_set1_epi32((int)~IMPLIED_TICK_MASK);
    __m128i a = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(v), keep), want);
    __m128i b = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(v + 1), keep), want);
    __m128i c = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(v + 2), keep), want);
    __m128i d = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(v + 3), keep), want);
    found = (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d))) >> 1; /* place */
#else
    for (unsigned i = 0; i < IMPLIED_WAYS; i++)
        found |= (uint32_t)((u32_load_relaxed(&s->entry[i]) & ~IMPLIED_TICK_MASK) == print) << i;
#endif
    return found;
}

bool implied_knows(const struct implied *f, uint64_t hash, uint64_t now_ns)
{
    const struct implied_set *s = &f->set[(uint32_t)hash & f->set_mask];
    uint32_t now = (uint32_t)(now_ns >> IMPLIED_TICK_SHIFT), print = implied_print(hash);
    for (uint32_t left = implied_with(s, print); left; left &= left - 1) {
        uint32_t entry = u32_load_relaxed(&s->entry[__builtin_ctz(left)]);
        if ((entry & ~IMPLIED_TICK_MASK) == print && implied_is_recent(now, entry & IMPLIED_TICK_MASK, IMPLIED_TICK_MASK))
            return implied_is_recent(now, u32_load_relaxed(&s->place) >> IMPLIED_NEXT_BITS, UINT32_MAX >> IMPLIED_NEXT_BITS);
    }
    return false;
}

bool implied_again(const struct implied *f, uint64_t hash, uint64_t now_ns)
{
    uint32_t now = (uint32_t)(now_ns >> IMPLIED_TICK_SHIFT);
    if (implied_knows(f, hash, now_ns))
        return true;
    implied_remember(&f->set[(uint32_t)hash & f->set_mask], implied_print(hash) | (now & IMPLIED_TICK_MASK), now);
    return false;
}
