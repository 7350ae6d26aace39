/*
 * ring: what a guest's rings say of themselves, for whoever looks into them: virtio 1.3, 2.7 (split) and 2.8 (packed).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_VHOST_RING_H
#define FLOWQ_VHOST_RING_H

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

static inline bool ring_has(uint64_t features, unsigned bit) { return (features >> bit & 1) != 0; }

/* A place in a packed ring, as librte_vhost tells it: which descriptor, and the wrap counter of that lap, above it. */
static inline uint32_t ring_at(uint16_t place) { return place & ((1u << VRING_PACKED_EVENT_F_WRAP_CTR) - 1); }
static inline bool ring_wrap(uint16_t place) { return place >> VRING_PACKED_EVENT_F_WRAP_CTR != 0; }

/* The place behind it, in a ring of so many. */
static inline void ring_go_on(uint32_t *at, bool *wrap, uint32_t size)
{
    if (++*at == size) {
        *at = 0;
        *wrap = !*wrap;
    }
}

/* Has the guest made this descriptor available, and nobody used it? Its bit is as the wrap counter then, and the used bit is not
   (2.8.1). */
static inline bool ring_available(uint16_t flags, bool wrap)
{
    return (flags >> VRING_PACKED_DESC_F_AVAIL & 1) == wrap && (flags >> VRING_PACKED_DESC_F_USED & 1) != wrap;
}

#endif
