/* SPDX-License-Identifier: BSD-2-Clause */
#include "universe.h"

#include <stdlib.h>
#include <string.h>

#define INDEX_SIZE       (1u << 16)
#define ETHERNET_BYTES   14
#define VM_ADDRESSES     6
#define FLOWS_OF_ONE     12 /* numbers that a connection uses at most */
#define REMOTE_ADDRESSES 40
#define MULTICAST_V4     0xe0000101 /* 224.0.1.1 */

/* The number of a flow. */
static uint32_t intern(struct universe *u, const struct flowq_tuple *t)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < sizeof(*t); i++)
        h = (h ^ ((const uint8_t *)t)[i]) * 0x100000001b3u; /* FNV-1a */
    for (uint32_t at = (uint32_t)(h >> 40);; at++) {
        uint32_t *entry = &u->index[at % INDEX_SIZE];
        if (*entry == 0) {
            u->flow[u->n_flows] = *t;
            *entry = ++u->n_flows;
            return u->n_flows - 1;
        }
        if (memcmp(&u->flow[*entry - 1], t, sizeof(*t)) == 0)
            return *entry - 1;
    }
}

static struct flowq_tuple make_tuple(struct rng *rng, uint8_t protocol)
{
    uint32_t vm = 0x0a000001 + rng_below(rng, VM_ADDRESSES), remote = 0xc0a80001 + rng_below(rng, REMOTE_ADDRESSES);
    uint16_t vm_port = (uint16_t)rng_range(rng, 1000, 1040), remote_port = (uint16_t)rng_range(rng, 20, 60);
    bool v4 = rng_percent(rng, 60);
    if (protocol == FRAME_PROTO_ICMP && !v4)
        protocol = FRAME_PROTO_ICMPV6;
    return v4 ? tuple_v4(protocol, vm, vm_port, remote, remote_port) : tuple_v6(protocol, vm, vm_port, remote, remote_port);
}

static uint8_t pick_protocol(struct rng *rng)
{
    static const uint8_t rare[] = {FRAME_PROTO_SCTP, FRAME_PROTO_DCCP, FRAME_PROTO_UDPLITE,
                                   FRAME_PROTO_ICMP, FRAME_PROTO_ESP,  99};
    uint32_t percent = rng_below(rng, 100);
    if (percent < 60)
        return FRAME_PROTO_TCP;
    return percent < 80 ? FRAME_PROTO_UDP : rare[rng_below(rng, sizeof(rare))];
}

static void keep(struct universe *u, struct connection *c, enum universe_which which, struct frame *f, bool bare)
{
    uint32_t skip = bare ? ETHERNET_BYTES : 0;
    uint8_t *at = u->bytes + u->n_bytes;
    memcpy(at, f->bytes + skip, f->len - skip);
    u->n_bytes += f->len - skip;
    c->packet[which] = (struct flowq_pkt){.data = at, .len = f->len - skip, .flags = bare ? FLOWQ_PKT_L3 : 0};
}

static void build(const struct connection *c, struct frame *f, bool transmit, unsigned tcp_flags)
{
    struct flowq_tuple outer = c->outer, inner = c->inner;
    if (!transmit) {
        outer = tuple_reverse(&outer);
        inner = tuple_reverse(&inner);
        outer.sport = (uint16_t)(c->outer.sport + 7); /* entropy of the other end */
        if (!c->tunnel)
            outer.sport = c->outer.dport;
    }
    if (c->keyless)
        frame_arp(f);
    else if (c->tunnel)
        frame_tunnel(f, (enum frame_tunnel)c->tunnel, &outer, &inner, tcp_flags);
    else
        frame_flow(f, &outer, tcp_flags);
}

static void build_error(const struct connection *c, struct rng *rng, struct frame *f, bool transmit)
{
    struct flowq_tuple quoted = c->outer, t = tuple_reverse(&quoted);
    t.src[t.version == 4 ? 3 : 15] ^= (uint8_t)rng_below(rng, 2); /* a router, or the remote end */
    if (transmit) {
        t = c->outer;
        quoted = tuple_reverse(&quoted);
    }
    frame_icmp_error(f, &t, &quoted, rng_percent(rng, 50) ? FRAME_MAX : (t.version == 4 ? 28 : 48));
}

static void build_packets(struct universe *u, struct connection *c, struct rng *rng)
{
    static const unsigned tcp_flags[] = {
        FRAME_ACK, FRAME_SYN, FRAME_SYN | FRAME_ACK, FRAME_FIN | FRAME_ACK, FRAME_RST, FRAME_SYN | FRAME_FIN};
    bool bare = !c->keyless && c->outer.n_vlans == 0 && rng_percent(rng, 15);
    struct frame f;
    for (enum universe_which w = TX_ACK; w <= TX_SYN_FIN; w++) {
        build(c, &f, true, tcp_flags[w]);
        keep(u, c, w, &f, bare);
    }
    build(c, &f, false, FRAME_ACK);
    keep(u, c, RX_DATA, &f, bare);
    for (unsigned transmit = 0; transmit < 2; transmit++) {
        if (!c->keyless && !c->tunnel && !c->multicast)
            build_error(c, rng, &f, transmit);
        else
            build(c, &f, transmit, FRAME_ACK); /* never asked for */
        keep(u, c, transmit ? TX_ERROR : RX_ERROR, &f, bare);
    }
}

/* The VLANs among the tags of `from`: an id of 0 is a priority alone. keyed: whether they count at all. */
static struct flowq_tuple with_vlans(const struct flowq_tuple *t, const struct flowq_tuple *from, bool keyed)
{
    struct flowq_tuple r = *t;
    r.n_vlans = 0;
    memset(r.vlan, 0, sizeof(r.vlan));
    for (unsigned i = 0; keyed && i < from->n_vlans; i++)
        if (from->vlan[i] != 0)
            r.vlan[r.n_vlans++] = from->vlan[i];
    return r;
}

/* What is inside of the tunnel as a flow, as incoming packets carry it. */
static uint32_t number_inner(struct universe *u, const struct connection *c, bool vlan, bool vni)
{
    struct flowq_tuple t = frame_tunnel_inner((enum frame_tunnel)c->tunnel, &c->outer, &c->inner);
    t = tuple_reverse(&t);
    t = with_vlans(&t, &t, vlan);
    if (!vni) {
        t.vni = 0;
        t.has_vni = 0;
    }
    return intern(u, &t);
}

static void number_flows(struct universe *u, struct connection *c)
{
    for (unsigned vlan = 0; vlan < 2; vlan++) {
        struct flowq_tuple out = c->outer, in = tuple_reverse(&c->outer);
        if (c->tunnel) {
            struct flowq_tuple back = in;
            back.sport = (uint16_t)(c->outer.sport + 7);
            out = frame_tunnel_outer((enum frame_tunnel)c->tunnel, &c->outer, c->inner.version);
            in = frame_tunnel_outer((enum frame_tunnel)c->tunnel, &back, c->inner.version);
        }
        out = tuple_reverse(&out);
        out = with_vlans(&out, &c->outer, vlan);
        in = with_vlans(&in, &c->outer, vlan);
        struct flowq_tuple addresses = tuple_addresses(&in);
        c->addresses[vlan] = intern(u, &addresses);
        for (unsigned vni = 0; vni < 2; vni++) {
            uint32_t *flow_in = c->flow_in[vlan][vni], *flow_out = c->flow_out[vlan][vni];
            flow_in[0] = intern(u, &in);
            flow_out[0] = intern(u, &out);
            flow_in[1] = flow_out[1] = c->tunnel ? number_inner(u, c, vlan, vni) : flow_in[0];
        }
    }
}

static void make_connection(struct universe *u, struct connection *c, struct rng *rng)
{
    uint32_t percent = rng_below(rng, 100);
    c->outer = make_tuple(rng, pick_protocol(rng));
    if (percent < 2) {
        c->keyless = true;
    } else if (percent < 4) {
        c->multicast = true;
        c->outer = tuple_v4(FRAME_PROTO_UDP, 0x0a000001, 5353, MULTICAST_V4, (uint16_t)rng_range(rng, 5353, 5360));
    } else if (percent < 18) {
        c->tunnel = (uint8_t)rng_range(rng, FRAME_NO_TUNNEL + 1, FRAME_N_TUNNELS - 1);
        c->inner = make_tuple(rng, rng_percent(rng, 70) ? FRAME_PROTO_TCP : FRAME_PROTO_UDP);
        c->outer = make_tuple(rng, FRAME_PROTO_UDP);
        c->outer.sport = (uint16_t)rng_range(rng, 40000, 60000);
        c->outer.dport = 0;
        if (c->tunnel == FRAME_GRE_KEY && c->inner.version + c->outer.version != 8)
            c->tunnel = FRAME_GRE; /* whether a key or IPv6 names the kind is nothing the rules say */
        if (c->tunnel == FRAME_WCCP && c->inner.version != c->outer.version)
            c->tunnel = FRAME_MPLS_GRE;
        c->inner.has_vni = 1;
        c->inner.vni = rng_below(rng, 3);
        c->tunnel_bit = frame_tunnel_bit((enum frame_tunnel)c->tunnel, c->outer.version, c->inner.version);
    }
    if (rng_percent(rng, 20)) {
        c->outer.n_vlans = (uint8_t)rng_range(rng, 1, FLOWQ_MAX_VLANS);
        for (unsigned i = 0; i < c->outer.n_vlans; i++)
            c->outer.vlan[i] = (uint16_t)rng_range(rng, 0, 3);
    }
    c->tcp = (c->tunnel ? c->inner.protocol : c->outer.protocol) == FRAME_PROTO_TCP;
    build_packets(u, c, rng);
    number_flows(u, c);
}

void universe_make(struct universe *u, struct rng *rng, uint32_t n_connections)
{
    memset(u, 0, sizeof(*u));
    u->n_connections = n_connections;
    u->connection = calloc(n_connections, sizeof(*u->connection));
    u->flow = calloc(n_connections, 2 * FLOWS_OF_ONE * sizeof(*u->flow)); /* and their twins */
    u->twin = calloc(n_connections, 2 * FLOWS_OF_ONE * sizeof(*u->twin));
    u->index = calloc(INDEX_SIZE, sizeof(*u->index));
    u->bytes = malloc((size_t)n_connections * UNIVERSE_N_PACKETS * FRAME_MAX);
    if (!u->connection || !u->flow || !u->twin || !u->index || !u->bytes)
        abort();
    for (uint32_t i = 0; i < n_connections; i++)
        make_connection(u, &u->connection[i], rng);
    u->n_bindable = u->n_flows;
    for (uint32_t i = 0; i < u->n_bindable; i++) {
        struct flowq_tuple reversed = tuple_reverse(&u->flow[i]);
        uint32_t twin = intern(u, &reversed);
        u->twin[i] = twin;
        u->twin[twin] = i;
    }
}

void universe_free(struct universe *u)
{
    free(u->connection);
    free(u->flow);
    free(u->twin);
    free(u->index);
    free(u->bytes);
}

static bool looked_into(const struct universe_rules *rules, const struct connection *c)
{
    return (rules->tunnels & c->tunnel_bit) != 0;
}

struct model_packet universe_meaning(const struct universe *u, const struct universe_rules *rules, uint32_t connection,
                                     enum universe_which which)
{
    static const uint8_t tcp_flags[] = {
        FRAME_ACK, FRAME_SYN, FRAME_SYN | FRAME_ACK, FRAME_FIN | FRAME_ACK, FRAME_RST, FRAME_SYN | FRAME_FIN};
    const struct connection *c = &u->connection[connection];
    bool inside = looked_into(rules, c);
    struct model_packet p = {.kind = c->keyless ? MODEL_KEYLESS : MODEL_FLOW};
    p.multicast = c->multicast && which <= TX_ERROR;
    p.tcp = c->tcp && (!c->tunnel || inside);
    p.tcp_flags = p.tcp && which <= TX_SYN_FIN ? tcp_flags[which] : 0;
    p.flow = (which <= TX_ERROR ? c->flow_out : c->flow_in)[rules->key_vlan][rules->key_vni][inside];
    if (which == TX_ERROR || which == RX_ERROR)
        p.kind = MODEL_ERROR;
    return p;
}

void universe_fragments(const struct universe *u, uint32_t connection, uint32_t id, struct frame *first, struct frame *later)
{
    const struct connection *c = &u->connection[connection];
    struct flowq_tuple outer = tuple_reverse(&c->outer), inner = tuple_reverse(&c->inner);
    if (c->tunnel) {
        outer.sport = (uint16_t)(c->outer.sport + 7);
        frame_tunnel_first(first, (enum frame_tunnel)c->tunnel, &outer, &inner, FRAME_ACK, id);
        outer = frame_tunnel_outer((enum frame_tunnel)c->tunnel, &outer, inner.version);
    } else {
        frame_fragment(first, &outer, id, 0, true);
    }
    frame_fragment(later, &outer, id, 1480, id & 1);
}

/* Does a later fragment of the outer packet have its flow's key? Not if there are ports, or another packet, in the first one. */
static bool has_whole_key(const struct universe_rules *rules, const struct connection *c)
{
    const uint32_t gre = FLOWQ_TUNNEL_GRE_2784 | FLOWQ_TUNNEL_GRE_2890 | FLOWQ_TUNNEL_GRE_7676 | FLOWQ_TUNNEL_NVGRE |
                         FLOWQ_TUNNEL_MPLS_GRE | FLOWQ_TUNNEL_WCCP | FLOWQ_TUNNEL_ERSPAN;
    if (!c->tunnel)
        return !tuple_has_ports(c->outer.protocol);
    uint8_t protocol = frame_tunnel_outer((enum frame_tunnel)c->tunnel, &c->outer, c->inner.version).protocol;
    return !tuple_has_ports(protocol) && !(rules->tunnels & (protocol == FRAME_PROTO_GRE ? gre : c->tunnel_bit));
}

struct model_packet universe_fragment_meaning(const struct universe *u, const struct universe_rules *rules, uint32_t connection,
                                              uint32_t datagram, bool later)
{
    struct model_packet p = universe_meaning(u, rules, connection, RX_DATA);
    p.fragmented = true;
    p.datagram = datagram;
    if (later) {
        p.kind = MODEL_LATER;
        p.whole_key = has_whole_key(rules, &u->connection[connection]);
        p.flow = u->connection[connection].addresses[rules->key_vlan];
    }
    return p;
}
