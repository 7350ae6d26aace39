/*
 * vswitch: do packets overtake others of their flow? With the setting watch, by one worker.
 *
 * A flow's packet that goes into another ring than the one before it is a move. It may be overtaken, or overtake, unless the
 * guest has published by then that it took from the old ring all that was there when that one was put. This looks at what is
 * true, flow by flow, by addresses and ports as they stand in the packet; what flowq does it does not ask.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vswitch.h"

#include <rte_ether.h>
#include <rte_ip.h>
#include <string.h>

/* IPv4 without options, with ports. */
static bool flow_of(struct rte_mbuf *packet, struct order_flow *flow)
{
    static const size_t ip = sizeof(struct rte_ether_hdr), end = sizeof(struct rte_ether_hdr) + 24;
    const uint8_t *frame = rte_pktmbuf_mtod(packet, const uint8_t *);

    memset(flow, 0, sizeof(*flow));
    if (rte_pktmbuf_data_len(packet) < end || frame[12] != 0x08 || frame[13] != 0x00 || frame[ip] != 0x45)
        return false;
    flow->protocol = frame[ip + offsetof(struct rte_ipv4_hdr, next_proto_id)];
    memcpy(flow->tuple, frame + ip + offsetof(struct rte_ipv4_hdr, src_addr), sizeof(flow->tuple));
    return true;
}

/* Where the flow is remembered, or would be; a place that another flow has is taken over: then a move is missed. */
static struct order_flow *place_of(struct port *port, const struct order_flow *flow)
{
    uint32_t hash = flow->protocol;
    for (size_t i = 0; i < sizeof(flow->tuple); i++)
        hash = (hash ^ flow->tuple[i]) * 16777619; /* FNV-1a */
    return &port->order.flows[(hash ^ hash >> 15) % ORDER_FLOWS];
}

static bool is_same(const struct order_flow *a, const struct order_flow *b)
{
    return a->protocol == b->protocol && memcmp(a->tuple, b->tuple, sizeof(a->tuple)) == 0;
}

/* Has all been taken that was in the ring when this flow's last packet was put there? */
static bool is_taken(struct port *port, const struct order_flow *flow)
{
    struct positions *p = &port->positions[flow->qid];

    positions_look(p, &port->device, port->vm, flow->qid);
    return flow->begun != p->begun || (int32_t)(p->taken - flow->filled) >= 0;
}

void order_before(struct port *port, uint32_t qid, struct rte_mbuf **packets, uint16_t n)
{
    struct order_flow flow;

    for (uint16_t i = 0; i < n; i++) {
        port->order.step[i] = ORDER_STAYS;
        if (!flow_of(packets[i], &flow))
            continue;
        const struct order_flow *known = place_of(port, &flow);
        if (is_same(known, &flow) && known->qid != qid)
            port->order.step[i] = is_taken(port, known) ? ORDER_MOVES : ORDER_OVERTAKES;
    }
}

void order_after(struct port *port, uint32_t qid, struct rte_mbuf **packets, uint16_t n)
{
    const struct positions *p = &port->positions[qid];
    struct order_flow flow;

    for (uint16_t i = 0; i < n; i++) {
        if (!flow_of(packets[i], &flow))
            continue;
        struct order_flow *place = place_of(port, &flow);
        /* Of a flow's packets in this burst the first one has moved it. */
        if (is_same(place, &flow) && place->qid != qid && port->order.step[i] != ORDER_STAYS) {
            count(&port->order.moves, 1);
            count(&port->order.overtakes, port->order.step[i] == ORDER_OVERTAKES);
        }
        *place = flow;
        place->qid = (uint16_t)qid;
        place->filled = p->filled;
        place->begun = p->begun;
    }
}
