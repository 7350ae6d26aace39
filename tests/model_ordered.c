/* SPDX-License-Identifier: BSD-2-Clause */
/* model_ordered: see model_ordered.h. */
#include "model_ordered.h"

bool model_ring_put(struct model_ring *rings, struct model_flow *f, uint32_t ring, uint32_t positions, uint64_t *overtakes)
{
    struct model_ring *r = &rings[ring];
    if (r->filled - r->published + positions > MODEL_RING_SIZE)
        return false;
    if (f->ring >= 0 && f->ring != (int)ring && rings[f->ring].published < f->end)
        ++*overtakes;
    r->filled += positions;
    f->ring = (int)ring;
    f->end = r->filled;
    return true;
}

void model_ring_take(struct model_ring *r, uint32_t positions, uint32_t unpublished)
{
    uint64_t waiting = r->filled - r->taken;
    r->taken += positions < waiting ? positions : waiting;
    if (r->taken > r->published + unpublished)
        r->published = r->taken - unpublished;
}

void model_ring_see(struct model_ring *r, uint32_t stale_by)
{
    if (r->published > r->seen + stale_by)
        r->seen = r->published - stale_by;
}
