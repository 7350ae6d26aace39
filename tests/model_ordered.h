/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * model_ordered: rings, a guest and what a host knows of it, as plainly as can be, to see whether a packet overtakes another.
 *
 * A ring is two counts of positions that never wrap: how many the host has filled, how many the guest has taken; and how many of
 * these the guest has published. A packet takes one position or more. What the host tells flowq is at most what has been
 * published, often less, as it looks only now and then. A packet that finds no room is lost, and overtakes nobody.
 *
 * A packet overtakes if it is put into another ring than the flow's last one before the guest has published that it took that.
 * (The ones before it went to the same ring, or did not overtake that.)
 */
#ifndef FLOWQ_TESTS_MODEL_ORDERED_H
#define FLOWQ_TESTS_MODEL_ORDERED_H

#include <stdbool.h>
#include <stdint.h>

#define MODEL_RING_QUEUES 8
#define MODEL_RING_SIZE   256

struct model_ring {
    uint64_t filled, taken, published;
    uint64_t seen; /* of published, by the host */
    uint32_t base; /* how the host numbers position 0: its numbers wrap at 2^32 */
};

/* Where the flow's last packet is. */
struct model_flow {
    int ring; /* -1: it has none, or nothing is to be made of it */
    uint64_t end;
};

/* Puts a packet that takes so many positions. False: no room. *overtakes grows if it does. */
bool model_ring_put(struct model_ring *rings, struct model_flow *f, uint32_t ring, uint32_t positions, uint64_t *overtakes);
/* The guest takes up to so many positions, and publishes all that it took but `unpublished`. */
void model_ring_take(struct model_ring *r, uint32_t positions, uint32_t unpublished);
/* The host looks, but may see what was there a while ago. */
void model_ring_see(struct model_ring *r, uint32_t stale_by);

static inline uint32_t model_ring_filled(const struct model_ring *r) { return r->base + (uint32_t)r->filled; }
static inline uint32_t model_ring_seen(const struct model_ring *r) { return r->base + (uint32_t)r->seen; }

#endif
