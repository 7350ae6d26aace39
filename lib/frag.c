/*
 * frag: see frag.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "frag.h"

#define FRAG_QUEUE_MASK UINT64_C(0x7fff)
#define FRAG_TICK_AT    15
#define FRAG_TICK_MASK  UINT64_C(0xfffff)
#define FRAG_TAG_SHIFT  35

void frags_init(struct frags *f, uint32_t n, void *mem)
{
    f->entry = mem;
    u64_store_relaxed(&f->generation, 0);
    f->off = n == 0;
    f->set_mask = n == 0 ? 0 : n / FRAG_WAYS - 1;
}

void frags_clear(struct frags *f)
{
    (void)u64_add_acq_rel(&f->generation, UINT64_C(1) << FRAG_TAG_SHIFT); /* F-A */
    for (uint32_t i = 0; !f->off && i < (f->set_mask + 1) * FRAG_WAYS; i++)
        u64_store_relaxed(&f->entry[i], 0);
}

static atomic_u64 *frag_set(const struct frags *f, uint64_t hash)
{
    return &f->entry[((uint32_t)hash & f->set_mask) * FRAG_WAYS];
}

static uint64_t frag_tag(uint64_t hash)
{
    uint64_t tag = hash >> FRAG_TAG_SHIFT;
    return tag ? tag : 1;
}

/* Ticks since the entry was written; one that seems to come from the near future (another thread's clock) is new. */
static uint64_t frag_age(uint64_t entry, uint64_t now_ns)
{
    uint64_t age = ((now_ns >> FRAG_TICK_SHIFT) - (entry >> FRAG_TICK_AT)) & FRAG_TICK_MASK;
    return age > FRAG_TICK_MASK - 16 ? 0 : age;
}

/* Within a set the newest entry comes first, so the last is the oldest however many came within one tick. */
void frag_put(struct frags *f, uint64_t hash, uint16_t qid, uint64_t now_ns)
{
    if (f->off || qid == FLOWQ_DROP)
        return;
    atomic_u64 *set = frag_set(f, hash);
    uint64_t fresh = frag_tag(hash) << FRAG_TAG_SHIFT | (now_ns >> FRAG_TICK_SHIFT & FRAG_TICK_MASK) << FRAG_TICK_AT | qid;
    unsigned last = 0;
    if (u64_load_relaxed(&set[0]) == fresh)
        return;
    for (; last < FRAG_WAYS - 1; last++) {
        uint64_t entry = u64_load_relaxed(&set[last]);
        if (entry == 0 || entry >> FRAG_TAG_SHIFT == frag_tag(hash))
            break;
    }
    for (unsigned i = last; i > 0; i--)
        u64_store_relaxed(&set[i], u64_load_relaxed(&set[i - 1]));
    u64_store_relaxed(&set[0], fresh);
}

uint16_t frag_get(const struct frags *f, uint64_t hash, uint64_t now_ns)
{
    uint16_t qid = FLOWQ_DROP;
    uint64_t newest = (FRAG_LIFE_NS >> FRAG_TICK_SHIFT) + 1;
    for (unsigned i = 0; !f->off && i < FRAG_WAYS; i++) {
        uint64_t entry = u64_load_relaxed(&frag_set(f, hash)[i]);
        if (entry == 0 || entry >> FRAG_TAG_SHIFT != frag_tag(hash) || frag_age(entry, now_ns) >= newest)
            continue;
        newest = frag_age(entry, now_ns);
        qid = (uint16_t)(entry & FRAG_QUEUE_MASK);
    }
    return qid;
}
