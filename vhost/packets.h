/*
 * flowq-vhost: the calls for packets.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_VHOST_PACKETS_H
#define FLOWQ_VHOST_PACKETS_H

#include "port.h"

#include <rte_mbuf_core.h>

/* n packets as flowq sees them, BURST at most. Headers in several segments are put together in `scratch`. */
struct views {
    struct flowq_pkt at[BURST];
    uint8_t scratch[BURST][FLOWQ_HEADER_MAX];
};
void views_gather(struct views *views, uint32_t i, const struct rte_mbuf *packet);

/* n is at least 1. Most packets are in one segment, or their first one is long enough. */
static inline void views_make(struct views *views, struct rte_mbuf *const *packets, uint32_t n)
{
    uint32_t i = 0;

    do {
        const struct rte_mbuf *packet = packets[i];
        views->at[i].data = rte_pktmbuf_mtod(packet, const void *);
        views->at[i].len = packet->data_len;
        views->at[i].flags = 0;
        if (__builtin_expect(packet->nb_segs > 1, 0) && packet->data_len < FLOWQ_HEADER_MAX)
            views_gather(views, i, packet);
    } while (++i < n);
}

/*
 * As rte_vhost_enqueue_burst(), but that the ring of each packet is chosen here. Packets that were not taken are moved to the end
 * of the array, all in the order in which they were. `ring` is where packets go for which there is no queue in use: nowhere, as
 * librte_vhost then says.
 */
uint16_t port_enqueue(struct port *port, int vid, uint16_t ring, struct rte_mbuf **packets, uint16_t n);

/* As rte_vhost_dequeue_burst(); what the guest transmitted is noted. */
uint16_t port_dequeue(struct port *port, int vid, uint16_t ring, struct rte_mempool *pool, struct rte_mbuf **packets, uint16_t n);

#endif /* FLOWQ_VHOST_PACKETS_H */
