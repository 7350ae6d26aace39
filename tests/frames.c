/* SPDX-License-Identifier: BSD-2-Clause */
#include "frames.h"

#include <string.h>

enum layer { LAYER_IP4, LAYER_IP6, LAYER_UDP };

static void put8(struct frame *f, unsigned value)
{
    if (f->len < FRAME_MAX)
        f->bytes[f->len++] = (uint8_t)value;
}

static void put16(struct frame *f, unsigned value)
{
    put8(f, value >> 8);
    put8(f, value & 0xff);
}

static void put32(struct frame *f, uint32_t value)
{
    put16(f, value >> 16);
    put16(f, value & 0xffff);
}

static void put_bytes(struct frame *f, const uint8_t *bytes, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        put8(f, bytes[i]);
}

static void set16(struct frame *f, uint32_t at, uint32_t value)
{
    f->bytes[at] = (uint8_t)(value >> 8);
    f->bytes[at + 1] = (uint8_t)value;
}

static void open_layer(struct frame *f, enum layer layer)
{
    f->open[f->n_open].at = f->len;
    f->open[f->n_open++].layer = layer;
}

/* Tells the layer before what follows it: an EtherType or an IP protocol, whichever it holds. */
static void set_type(struct frame *f, uint16_t ethertype, uint8_t protocol)
{
    if (f->type_bytes == 2)
        set16(f, f->type_at, ethertype);
    else if (f->type_bytes == 1)
        f->bytes[f->type_at] = protocol;
    f->type_bytes = 0;
}

static void type_here(struct frame *f, uint32_t bytes)
{
    f->type_at = f->len;
    f->type_bytes = bytes;
}

void frame_start(struct frame *f)
{
    f->len = 0;
    f->n_open = 0;
    f->type_bytes = 0;
    f->flags = FLOWQ_PKT_L3; /* until there is an Ethernet header */
}

void frame_eth(struct frame *f, bool multicast)
{
    static const uint8_t to_one[6] = {0x52, 0x54, 0, 0, 0, 1}, to_many[6] = {0x01, 0, 0x5e, 0, 0, 1},
                         from[6] = {0x52, 0x54, 0, 0, 0, 2};
    if (f->len == 0)
        f->flags = 0;
    put_bytes(f, multicast ? to_many : to_one, 6);
    put_bytes(f, from, 6);
    type_here(f, 2);
    put16(f, 0);
}

void frame_vlan(struct frame *f, uint16_t tpid, uint16_t id)
{
    set_type(f, tpid, 0);
    put16(f, id);
    type_here(f, 2);
    put16(f, 0);
}

static void put_ip4(struct frame *f, const struct flowq_tuple *t, uint8_t protocol, uint32_t id, uint32_t fragment)
{
    set_type(f, 0x0800, FRAME_PROTO_IPIP);
    open_layer(f, LAYER_IP4);
    put8(f, 0x45);
    put8(f, 0);
    put16(f, 0); /* total length */
    put16(f, id & 0xffff);
    put16(f, fragment);
    put8(f, 64);
    type_here(f, 1);
    put8(f, protocol);
    put16(f, 0); /* checksum */
    put_bytes(f, t->src, 4);
    put_bytes(f, t->dst, 4);
}

static void put_ip6(struct frame *f, const struct flowq_tuple *t, uint8_t protocol)
{
    set_type(f, 0x86dd, FRAME_PROTO_6IN4);
    open_layer(f, LAYER_IP6);
    put32(f, 0x60000000);
    put16(f, 0); /* payload length */
    type_here(f, 1);
    put8(f, protocol);
    put8(f, 64);
    put_bytes(f, t->src, 16);
    put_bytes(f, t->dst, 16);
}

void frame_ip(struct frame *f, const struct flowq_tuple *t, uint8_t protocol)
{
    if (t->version == 4)
        put_ip4(f, t, protocol, 0, 0x4000);
    else
        put_ip6(f, t, protocol);
}

void frame_ip_fragment(struct frame *f, const struct flowq_tuple *t, uint8_t protocol, uint32_t id, uint32_t offset, bool more)
{
    if (t->version == 4) {
        put_ip4(f, t, protocol, id, offset / 8 | (more ? 0x2000u : 0));
        return;
    }
    put_ip6(f, t, FRAME_PROTO_FRAGMENT);
    type_here(f, 1);
    put8(f, protocol);
    put8(f, 0);
    put16(f, (offset & ~7u) | more);
    put32(f, id);
}

static void put_tcp(struct frame *f, const struct flowq_tuple *t, unsigned tcp_flags)
{
    put16(f, t->sport);
    put16(f, t->dport);
    put32(f, 1000);
    put32(f, 2000);
    put16(f, 0x5000u | tcp_flags);
    put16(f, 0xffff);
    put32(f, 0);
}

static void put_udp(struct frame *f, uint16_t sport, uint16_t dport)
{
    open_layer(f, LAYER_UDP);
    put16(f, sport);
    put16(f, dport);
    put32(f, 0); /* length, checksum */
}

void frame_l4(struct frame *f, const struct flowq_tuple *t, unsigned tcp_flags)
{
    f->type_bytes = 0;
    switch (t->protocol) {
    case FRAME_PROTO_TCP:
        put_tcp(f, t, tcp_flags);
        break;
    case FRAME_PROTO_UDP:
        put_udp(f, t->sport, t->dport);
        break;
    case FRAME_PROTO_SCTP:
    case FRAME_PROTO_DCCP:
    case FRAME_PROTO_UDPLITE:
        put16(f, t->sport);
        put16(f, t->dport);
        frame_payload(f, 12);
        break;
    case FRAME_PROTO_ICMP:
    case FRAME_PROTO_ICMPV6:
        put16(f, t->protocol == FRAME_PROTO_ICMP ? 0x0800 : 0x8000); /* echo request */
        frame_payload(f, 6);
        break;
    default:
        frame_payload(f, 8);
    }
}

void frame_payload(struct frame *f, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        put8(f, 0);
}

static void finish_ip4(struct frame *f, uint32_t at)
{
    uint32_t sum = 0;
    set16(f, at + 2, f->len - at);
    for (uint32_t i = 0; i < 20; i += 2)
        sum += (uint32_t)f->bytes[at + i] << 8 | f->bytes[at + i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    set16(f, at + 10, ~sum);
}

void frame_end(struct frame *f)
{
    while (f->n_open > 0) {
        uint32_t at = f->open[--f->n_open].at;
        switch (f->open[f->n_open].layer) {
        case LAYER_IP4:
            finish_ip4(f, at);
            break;
        case LAYER_IP6:
            set16(f, at + 4, f->len - at - 40);
            break;
        default:
            set16(f, at + 4, f->len - at);
        }
    }
}

/* Ethernet and VLAN tags; to a multicast MAC address when the IP destination is multicast. */
static void put_link(struct frame *f, const struct flowq_tuple *t)
{
    bool multicast = t->version == 4 ? t->dst[0] >= 224 && t->dst[0] < 240 : t->dst[0] == 0xff;
    frame_start(f);
    frame_eth(f, multicast);
    for (unsigned i = 0; i < t->n_vlans; i++)
        frame_vlan(f, i + 1 < t->n_vlans ? 0x88a8 : 0x8100, t->vlan[i]);
}

void frame_flow(struct frame *f, const struct flowq_tuple *t, unsigned tcp_flags)
{
    put_link(f, t);
    frame_ip(f, t, t->protocol);
    frame_l4(f, t, tcp_flags);
    frame_payload(f, 4);
    frame_end(f);
}

void frame_fragment(struct frame *f, const struct flowq_tuple *t, uint32_t id, uint32_t offset, bool more)
{
    put_link(f, t);
    frame_ip_fragment(f, t, t->protocol, id, offset, more);
    if (offset == 0)
        frame_l4(f, t, FRAME_ACK);
    frame_payload(f, 24);
    frame_end(f);
}

void frame_icmp_error(struct frame *f, const struct flowq_tuple *t, const struct flowq_tuple *quoted, uint32_t quote_bytes)
{
    struct frame quote;
    frame_start(&quote);
    frame_ip(&quote, quoted, quoted->protocol);
    frame_l4(&quote, quoted, FRAME_ACK);
    frame_end(&quote);

    put_link(f, t);
    frame_ip(f, t, t->version == 4 ? FRAME_PROTO_ICMP : FRAME_PROTO_ICMPV6);
    put16(f, t->version == 4 ? 0x0301 : 0x0100); /* unreachable */
    put16(f, 0);
    put32(f, 0);
    put_bytes(f, quote.bytes, quote_bytes < quote.len ? quote_bytes : quote.len);
    frame_end(f);
}

/* The id of the tunnel, in tunnels that have one. */
static uint32_t network_of(const struct flowq_tuple *inner) { return inner->has_vni ? inner->vni : 77; }

static void put_vxlan(struct frame *f, bool gpe, const struct flowq_tuple *inner)
{
    if (gpe) { /* next protocol: IPv4 1, IPv6 2 */
        put32(f, 0x0c000000u | (inner->version == 4 ? 1 : 2));
        type_here(f, 0);
    } else {
        put32(f, 0x08000000);
    }
    put32(f, network_of(inner) << 8);
    if (!gpe)
        frame_eth(f, false);
}

/* type 0: the next layer's. */
static void put_gre(struct frame *f, unsigned flags, uint16_t type)
{
    put16(f, flags);
    type_here(f, type ? 0 : 2);
    put16(f, type);
}

static void put_label(struct frame *f)
{
    type_here(f, 0);
    put32(f, 100 << 12 | 0x140); /* the last one */
}

static uint16_t tunnel_port(enum frame_tunnel tunnel)
{
    switch (tunnel) {
    case FRAME_GRE_UDP:
        return 4754;
    case FRAME_VXLAN:
        return 4789;
    case FRAME_VXLAN_LINUX:
        return 8472;
    case FRAME_VXLAN_GPE:
        return 4790;
    case FRAME_GENEVE:
        return 6081;
    case FRAME_GTPU:
        return 2152;
    case FRAME_GUE:
    case FRAME_GUE_IP:
        return 6080;
    case FRAME_MPLS_UDP:
        return 6635;
    default:
        return 0;
    }
}

/* The tunnel's own header, after IP and UDP. */
static void put_tunnel(struct frame *f, enum frame_tunnel tunnel, const struct flowq_tuple *outer,
                       const struct flowq_tuple *inner)
{
    switch (tunnel) {
    case FRAME_GRE:
    case FRAME_GRE_UDP:
        put_gre(f, 0, 0);
        break;
    case FRAME_GRE_KEY:
        put_gre(f, 0x2000, 0);
        put32(f, network_of(inner));
        break;
    case FRAME_NVGRE:
        put_gre(f, 0x2000, 0x6558);
        put32(f, network_of(inner) << 8 | (outer->sport & 0xff)); /* entropy */
        frame_eth(f, false);
        break;
    case FRAME_VXLAN:
    case FRAME_VXLAN_LINUX:
    case FRAME_VXLAN_GPE:
        put_vxlan(f, tunnel == FRAME_VXLAN_GPE, inner);
        break;
    case FRAME_GENEVE:
        put16(f, 0);
        put16(f, 0x6558);
        put32(f, network_of(inner) << 8);
        frame_eth(f, false);
        break;
    case FRAME_GTPU: /* version 1, G-PDU, no options; the length is not needed */
        put32(f, 0x30ff0000);
        put32(f, outer->sport); /* another one each way */
        break;
    case FRAME_GUE:
        put8(f, 0);
        type_here(f, 1);
        put8(f, 0);
        put16(f, 0);
        break;
    case FRAME_MPLS_UDP:
        put_label(f);
        break;
    case FRAME_MPLS_GRE:
        put_gre(f, 0, 0x8847);
        put_label(f);
        break;
    case FRAME_WCCP:
        put_gre(f, 0, 0x883e);
        put32(f, 0x80000000);
        break;
    case FRAME_ERSPAN_2:
        put_gre(f, 0x1000, 0x88be);
        put32(f, 1);
        put32(f, 0x10000007);
        put32(f, 0);
        frame_eth(f, false);
        break;
    case FRAME_ERSPAN_3:
        put_gre(f, 0x1000, 0x22eb);
        put32(f, 1);
        put32(f, 0x20000007);
        put32(f, 0);
        put32(f, 1); /* with a platform header */
        put32(f, 0);
        put32(f, 0);
        frame_eth(f, false);
        break;
    default:
        break;
    }
}

static void put_inner(struct frame *f, enum frame_tunnel tunnel, const struct flowq_tuple *outer, const struct flowq_tuple *inner,
                      unsigned tcp_flags)
{
    if (tunnel_port(tunnel)) {
        f->type_bytes = 0;
        put_udp(f, outer->sport, tunnel_port(tunnel));
    }
    put_tunnel(f, tunnel, outer, inner);
    f->inner_at = f->len;
    frame_ip(f, inner, inner->protocol);
    frame_l4(f, inner, tcp_flags);
    frame_payload(f, 4);
    frame_end(f);
}

void frame_tunnel(struct frame *f, enum frame_tunnel tunnel, const struct flowq_tuple *outer, const struct flowq_tuple *inner,
                  unsigned tcp_flags)
{
    put_link(f, outer);
    frame_ip(f, outer, frame_tunnel_outer(tunnel, outer, inner->version).protocol);
    put_inner(f, tunnel, outer, inner, tcp_flags);
}

void frame_tunnel_first(struct frame *f, enum frame_tunnel tunnel, const struct flowq_tuple *outer,
                        const struct flowq_tuple *inner, unsigned tcp_flags, uint32_t id)
{
    put_link(f, outer);
    frame_ip_fragment(f, outer, frame_tunnel_outer(tunnel, outer, inner->version).protocol, id, 0, true);
    put_inner(f, tunnel, outer, inner, tcp_flags);
}

void frame_arp(struct frame *f)
{
    frame_start(f);
    frame_eth(f, false);
    memset(f->bytes, 0xff, 6);
    set_type(f, 0x0806, 0);
    put32(f, 0x00010800);
    put32(f, 0x06040001);
    frame_payload(f, 20);
    frame_end(f);
}

uint32_t frame_tunnel_bit(enum frame_tunnel tunnel, uint8_t outer_version, uint8_t inner_version)
{
    bool v4 = outer_version == 4 && inner_version == 4;
    switch (tunnel) {
    case FRAME_IP_IN_IP:
        if (outer_version == 4)
            return inner_version == 4 ? FLOWQ_TUNNEL_IPIP : FLOWQ_TUNNEL_6IN4;
        return inner_version == 4 ? FLOWQ_TUNNEL_4IN6 : FLOWQ_TUNNEL_6IN6;
    case FRAME_GRE:
        return v4 ? FLOWQ_TUNNEL_GRE_2784 : FLOWQ_TUNNEL_GRE_7676;
    case FRAME_GRE_KEY:
        return v4 ? FLOWQ_TUNNEL_GRE_2890 : FLOWQ_TUNNEL_GRE_7676;
    case FRAME_NVGRE:
        return FLOWQ_TUNNEL_NVGRE;
    case FRAME_GRE_UDP:
        return FLOWQ_TUNNEL_GRE_UDP;
    case FRAME_VXLAN:
    case FRAME_VXLAN_LINUX:
        return FLOWQ_TUNNEL_VXLAN;
    case FRAME_VXLAN_GPE:
        return FLOWQ_TUNNEL_VXLAN_GPE;
    case FRAME_GENEVE:
        return FLOWQ_TUNNEL_GENEVE;
    case FRAME_GTPU:
        return FLOWQ_TUNNEL_GTPU;
    case FRAME_GUE:
    case FRAME_GUE_IP:
        return FLOWQ_TUNNEL_GUE;
    case FRAME_MPLS_UDP:
        return FLOWQ_TUNNEL_MPLS_UDP;
    case FRAME_MPLS_GRE:
        return FLOWQ_TUNNEL_MPLS_GRE;
    case FRAME_WCCP:
        return outer_version == inner_version ? FLOWQ_TUNNEL_WCCP : 0;
    case FRAME_ERSPAN_2:
    case FRAME_ERSPAN_3:
        return FLOWQ_TUNNEL_ERSPAN;
    default:
        return 0;
    }
}

struct flowq_tuple frame_tunnel_outer(enum frame_tunnel tunnel, const struct flowq_tuple *outer, uint8_t inner_version)
{
    struct flowq_tuple t = *outer;
    t.dport = tunnel_port(tunnel);
    if (t.dport) {
        t.protocol = FRAME_PROTO_UDP;
    } else {
        t.sport = 0;
        if (tunnel == FRAME_IP_IN_IP)
            t.protocol = inner_version == 4 ? FRAME_PROTO_IPIP : FRAME_PROTO_6IN4;
        else
            t.protocol = FRAME_PROTO_GRE;
    }
    return t;
}

struct flowq_tuple frame_tunnel_inner(enum frame_tunnel tunnel, const struct flowq_tuple *outer, const struct flowq_tuple *inner)
{
    static const bool carries_frames[FRAME_N_TUNNELS] = {
        [FRAME_NVGRE] = true,  [FRAME_VXLAN] = true,    [FRAME_VXLAN_LINUX] = true,
        [FRAME_GENEVE] = true, [FRAME_ERSPAN_2] = true, [FRAME_ERSPAN_3] = true,
    };
    static const bool has_id[FRAME_N_TUNNELS] = {
        [FRAME_GRE_KEY] = true,     [FRAME_NVGRE] = true,     [FRAME_VXLAN] = true,
        [FRAME_VXLAN_LINUX] = true, [FRAME_VXLAN_GPE] = true, [FRAME_GENEVE] = true,
    };
    struct flowq_tuple t = *inner;
    if (!carries_frames[tunnel]) {
        t.n_vlans = outer->n_vlans;
        memcpy(t.vlan, outer->vlan, sizeof(t.vlan));
    }
    t.vni = has_id[tunnel] ? network_of(inner) : 0;
    t.has_vni = has_id[tunnel];
    return t;
}

struct flowq_pkt frame_pkt(const struct frame *f)
{
    struct flowq_pkt pkt = {.data = f->bytes, .len = f->len, .flags = f->flags};
    return pkt;
}

bool tuple_has_ports(uint8_t protocol)
{
    return protocol == FRAME_PROTO_TCP || protocol == FRAME_PROTO_UDP || protocol == FRAME_PROTO_UDPLITE ||
           protocol == FRAME_PROTO_SCTP || protocol == FRAME_PROTO_DCCP;
}

static void set_ports(struct flowq_tuple *t, uint8_t protocol, uint16_t sport, uint16_t dport)
{
    t->protocol = protocol;
    t->sport = tuple_has_ports(protocol) ? sport : 0;
    t->dport = tuple_has_ports(protocol) ? dport : 0;
}

static void set_be32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (24 - 8 * i));
}

struct flowq_tuple tuple_v4(uint8_t protocol, uint32_t src, uint16_t sport, uint32_t dst, uint16_t dport)
{
    struct flowq_tuple t = {.version = 4};
    set_be32(t.src, src);
    set_be32(t.dst, dst);
    set_ports(&t, protocol, sport, dport);
    return t;
}

struct flowq_tuple tuple_v6(uint8_t protocol, uint32_t src, uint16_t sport, uint32_t dst, uint16_t dport)
{
    struct flowq_tuple t = {.version = 6};
    set_be32(t.src, 0x20010db8);
    set_be32(t.dst, 0x20010db8);
    set_be32(t.src + 12, src);
    set_be32(t.dst + 12, dst);
    set_ports(&t, protocol, sport, dport);
    return t;
}

struct flowq_tuple tuple_reverse(const struct flowq_tuple *t)
{
    struct flowq_tuple r = *t;
    memcpy(r.src, t->dst, 16);
    memcpy(r.dst, t->src, 16);
    r.sport = t->dport;
    r.dport = t->sport;
    return r;
}

struct flowq_tuple tuple_addresses(const struct flowq_tuple *t)
{
    struct flowq_tuple a = *t;
    a.sport = a.dport = 0;
    return a;
}
