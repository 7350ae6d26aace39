/* SPDX-License-Identifier: BSD-2-Clause */
/* watch: see watch.h. */
#include "watch.h"

#include <rte_ether.h>
#include <rte_ip.h>
#include <stdlib.h>
#include <string.h>

enum step { STAYS, MOVES, OVERTAKES };

bool watch_make(struct watch *watch)
{
    watch->flows = calloc(WATCH_FLOWS, sizeof(*watch->flows));
    return watch->flows != NULL;
}

void watch_unmake(struct watch *watch) { free(watch->flows); }

/* IPv4 without options, with ports. */
static bool flow_of(const struct rte_mbuf *packet, struct watch_flow *flow)
{
    static const size_t ip = sizeof(struct rte_ether_hdr), end = sizeof(struct rte_ether_hdr) + 24;
    const uint8_t *frame = rte_pktmbuf_mtod(packet, const uint8_t *);

    memset(flow, 0, sizeof(*flow));
    if (packet->data_len < end || frame[12] != 0x08 || frame[13] != 0x00 || frame[ip] != 0x45)
        return false;
    flow->protocol = frame[ip + offsetof(struct rte_ipv4_hdr, next_proto_id)];
    memcpy(flow->tuple, frame + ip + offsetof(struct rte_ipv4_hdr, src_addr), sizeof(flow->tuple));
    return true;
}

/* Where the flow is remembered, or would be; a place that another flow has is taken over: then a move is missed. */
static struct watch_flow *place_of(struct watch *watch, const struct watch_flow *flow)
{
    uint32_t hash = flow->protocol;
    for (size_t i = 0; i < sizeof(flow->tuple); i++)
        hash = (hash ^ flow->tuple[i]) * 16777619; /* FNV-1a */
    return &watch->flows[(hash ^ hash >> 15) % WATCH_FLOWS];
}

static bool is_same(const struct watch_flow *a, const struct watch_flow *b)
{
    return a->protocol == b->protocol && memcmp(a->tuple, b->tuple, sizeof(a->tuple)) == 0;
}

/* Has all been taken that was in the ring when this flow's last packet was put there? */
static bool is_taken(const struct watch_rings *rings, const struct watch_flow *flow)
{
    struct positions *p = &rings->at[flow->qid];

    positions_look(p, rings->device, rings->vm, flow->qid);
    return flow->begun != p->begun || (int32_t)(p->taken - flow->filled) >= 0;
}

static uint16_t at_most(uint16_t n) { return n < WATCH_BURST ? n : WATCH_BURST; }

void watch_before(struct watch *watch, const struct watch_rings *rings, uint32_t qid, struct rte_mbuf *const *packets, uint16_t n)
{
    struct watch_flow flow;

    for (uint16_t i = 0; i < at_most(n); i++) {
        watch->step[i] = STAYS;
        if (!flow_of(packets[i], &flow))
            continue;
        const struct watch_flow *known = place_of(watch, &flow);
        if (is_same(known, &flow) && known->qid != qid)
            watch->step[i] = is_taken(rings, known) ? MOVES : OVERTAKES;
    }
}

void watch_after(struct watch *watch, const struct watch_rings *rings, uint32_t qid, struct rte_mbuf *const *packets, uint16_t n)
{
    const struct positions *p = &rings->at[qid];
    struct watch_flow flow;

    for (uint16_t i = 0; i < at_most(n); i++) {
        if (!flow_of(packets[i], &flow))
            continue;
        struct watch_flow *place = place_of(watch, &flow);
        /* Of a flow's packets in this burst the first one has moved it. */
        if (is_same(place, &flow) && place->qid != qid && watch->step[i] != STAYS) {
            atomic_fetch_add_explicit(&watch->moves, 1, memory_order_relaxed);
            atomic_fetch_add_explicit(&watch->overtakes, watch->step[i] == OVERTAKES, memory_order_relaxed);
        }
        *place = flow;
        place->qid = (uint16_t)qid;
        place->filled = p->filled;
        place->begun = p->begun;
    }
}
