/* implied: see implied.h. SPDX-License-Identifier: BSD-2-Clause */
#include "implied.h"

#define NEXT_BITS 4 /* of a set's place */
#define NEXT_MASK ((UINT32_C(1) << NEXT_BITS) - 1)
#define TICK_BITS 8 /* of an entry */
#define TICK_MASK ((UINT32_C(1) << TICK_BITS) - 1)
#define AHEAD     16 /* the clock of another thread may be ahead by fewer ticks than this */

_Static_assert(IMPLIED_WAYS <= NEXT_MASK, "a place can name each entry");
_Static_assert(IMPLIED_WAYS *IMPLIED_TICKS + AHEAD <= TICK_MASK, "no entry grows so old that it looks young");

static uint32_t n_sets(uint32_t max_flows)
{
    uint32_t n = IMPLIED_MIN_SETS;
    while (n < IMPLIED_MAX_SETS && n < max_flows / IMPLIED_FLOWS_A_SET)
        n *= 2;
    return n;
}

size_t implied_bytes(uint32_t max_flows) { return n_sets(max_flows) * sizeof(struct implied_set); }

void implied_init(struct implied *f, uint32_t max_flows, void *mem)
{
    f->set = mem;
    f->set_mask = n_sets(max_flows) - 1;
}

static void empty(struct implied_set *s)
{
    for (unsigned i = 0; i < IMPLIED_WAYS; i++)
        u32_store_relaxed(&s->entry[i], 0);
}

void implied_clear(const struct implied *f)
{
    for (uint32_t i = 0; i <= f->set_mask; i++)
        empty(&f->set[i]);
}

/* Are no more than IMPLIED_TICKS between the two, `mask` of which are known? */
static bool recent(uint32_t now, uint32_t then, uint32_t mask)
{
    uint32_t age = (now - then) & mask;
    return age <= IMPLIED_TICKS || age > mask - AHEAD;
}

static void remember(struct implied_set *s, uint32_t entry, uint32_t now)
{
    uint32_t place = u32_load_relaxed(&s->place), next = (place & NEXT_MASK) % IMPLIED_WAYS;
    if (!recent(now, place >> NEXT_BITS, UINT32_MAX >> NEXT_BITS))
        empty(s);
    u32_store_relaxed(&s->entry[next], entry);
    u32_store_relaxed(&s->place, now << NEXT_BITS | (next + 1) % IMPLIED_WAYS);
}

bool implied_again(const struct implied *f, uint64_t hash, uint64_t now_ns)
{
    struct implied_set *s = &f->set[(uint32_t)hash & f->set_mask];
    uint32_t now = (uint32_t)(now_ns >> IMPLIED_TICK_SHIFT), print = (uint32_t)(hash >> 40) << TICK_BITS;
    if (print == 0)
        print = TICK_MASK + 1;
    if (recent(now, u32_load_relaxed(&s->place) >> NEXT_BITS, UINT32_MAX >> NEXT_BITS))
        for (unsigned i = 0; i < IMPLIED_WAYS; i++) {
            uint32_t entry = u32_load_relaxed(&s->entry[i]);
            if ((entry & ~TICK_MASK) == print && recent(now, entry & TICK_MASK, TICK_MASK))
                return true;
        }
    remember(s, print | (now & TICK_MASK), now);
    return false;
}
