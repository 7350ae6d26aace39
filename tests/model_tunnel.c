/* The naive parser: tunnels. SPDX-License-Identifier: BSD-2-Clause */
#include "model_walk.h"

const uint32_t model_any_gre = FLOWQ_TUNNEL_GRE_2784 | FLOWQ_TUNNEL_GRE_2890 | FLOWQ_TUNNEL_GRE_7676 | FLOWQ_TUNNEL_NVGRE |
                               FLOWQ_TUNNEL_MPLS_GRE | FLOWQ_TUNNEL_WCCP | FLOWQ_TUNNEL_ERSPAN;

uint32_t model_ip_in_ip_bit(struct flow outer)
{
    if (outer.version == 4)
        return outer.protocol == 4 ? FLOWQ_TUNNEL_IPIP : FLOWQ_TUNNEL_6IN4;
    return outer.protocol == 4 ? FLOWQ_TUNNEL_4IN6 : FLOWQ_TUNNEL_6IN6;
}

/* IP or a frame, whichever it may be; word: the frame perhaps with a control word before it. */
struct found model_guess_at(const struct bytes *p, int at, bool word, struct where w)
{
    struct found f = nothing();
    if (model_ip_is_likely(p, at, w.rules))
        return model_ip_at(p, at, 0, w);
    if (word && at < p->n && p->b[at] < 16 && model_frame_holds(p, at + 4, w.rules)) {
        model_saw(p, FLOWQ_LAYER_CONTROL_WORD, at, at + 4, 0, w);
        return model_frame_at(p, at + 4, w);
    }
    if (model_frame_holds(p, at, w.rules))
        return model_frame_at(p, at, w);
    f.unlike_anything = true;
    return for_all_that(f, FLOWQ_END_UNLIKE);
}

static struct where inside_tunnel(struct where w)
{
    w.tunnel = true;
    return w;
}

/* The tunnel has a network id: `id`, which is at least 0 if its bytes are there. */
static struct where with_vni(struct where w, long long id)
{
    w.has_vni = w.rules->key_vni && id >= 0;
    w.vni = w.has_vni ? (uint32_t)id : 0;
    return w;
}

static struct found typed_at(const struct bytes *p, int at, long long type, struct where w)
{
    if (type == 0x6558)
        return model_frame_at(p, at, w);
    if (type == 0x0800)
        return model_ip_at(p, at, 4, w);
    if (type == 0x86dd)
        return model_ip_at(p, at, 6, w);
    return nothing_as(FLOWQ_END_UNREAD);
}

/* What a tunnel that is no UDP tunnel shows: the inner packet, or itself. */
static struct found inner_or_outer(struct found inner, struct flow outer, struct where w)
{
    int end = model_trace.end;
    if (inner.kind != PARSE_KEYLESS)
        return inner;
    if (w.quote)
        return nothing_as(end);
    struct found f = for_all_that(without_ports(outer), end);
    f.n_first = inner.n_first;
    f.first[0] = inner.first[0];
    return f;
}

/* The same of a UDP tunnel: what it does not show keeps its ports, and is marked. */
static struct found inner_or_unread(struct found inner, struct found outer, struct where w)
{
    if (inner.kind != PARSE_KEYLESS)
        return inner;
    outer.n_first = inner.n_first;
    outer.first[0] = inner.first[0];
    if (!w.quote)
        outer.flags |= PARSE_UNREAD_TUNNEL;
    return outer;
}

static int gre_length(long long flags)
{
    int n = 4;
    if (flags & 0x8000)
        n += 4;
    if (flags & 0x2000)
        n += 4;
    if (flags & 0x1000)
        n += 4;
    return n;
}

/* The kind that the payload alone decides; 0: it does not. */
static uint32_t gre_payload_bit(long long type)
{
    if (type == 0x8847 || type == 0x8848)
        return FLOWQ_TUNNEL_MPLS_GRE;
    if (type == 0x883e)
        return FLOWQ_TUNNEL_WCCP;
    if (type == 0x88be || type == 0x22eb)
        return FLOWQ_TUNNEL_ERSPAN;
    return 0;
}

static bool gre_is_for_us(long long flags, long long type)
{
    if ((flags & 0x4007) != 0)
        return false;
    return type == 0x0800 || type == 0x86dd || type == 0x6558 || gre_payload_bit(type) != 0;
}

static uint32_t gre_bit(long long flags, long long type, int outer_version)
{
    bool key = (flags & 0x2000) != 0, sequence = (flags & 0x1000) != 0;
    if (gre_payload_bit(type) != 0)
        return gre_payload_bit(type);
    if (type == 0x6558 && key)
        return FLOWQ_TUNNEL_NVGRE;
    if (outer_version == 6 || type == 0x86dd)
        return FLOWQ_TUNNEL_GRE_7676;
    if (key || sequence)
        return FLOWQ_TUNNEL_GRE_2890;
    return FLOWQ_TUNNEL_GRE_2784;
}

static struct found erspan_at(const struct bytes *p, int at, long long flags, long long type, struct where w)
{
    long long version = number(p, at, 1) / 16, last = number(p, at + 10, 2);
    if (type == 0x88be && (flags & 0x1000) == 0)
        return model_frame_at(p, at, w);
    if (type == 0x88be) {
        if (at + 8 > p->n)
            return cut();
        if (version != 1)
            return nothing_as(FLOWQ_END_UNREAD);
        model_saw(p, FLOWQ_LAYER_ERSPAN, at, at + 8, 2, w);
        return model_frame_at(p, at + 8, w);
    }
    if (last < 0)
        return cut();
    if (version != 2)
        return nothing_as(FLOWQ_END_UNREAD);
    int payload = at + (last % 2 != 0 ? 20 : 12);
    if (payload > p->n)
        return cut();
    model_saw(p, FLOWQ_LAYER_ERSPAN, at, payload, 3, w);
    switch (last / 1024 % 32) {
    case 0:
        return model_frame_at(p, payload, w);
    case 2:
        return model_ip_at(p, payload, 0, w);
    default:
        return nothing_as(FLOWQ_END_UNREAD);
    }
}

/* A GRE header that is for us, and what it carries. over_udp: it is not IP that carries it. */
static struct found gre_payload_at(const struct bytes *p, int at, int outer_version, bool over_udp, struct where w)
{
    long long flags = number(p, at, 2), type = number(p, at + 2, 2);
    int key_at = (flags & 0x8000) != 0 ? at + 8 : at + 4, payload = at + gre_length(flags);
    if (payload > p->n)
        return cut();
    model_saw(p, FLOWQ_LAYER_GRE, at, payload, type, w);
    if ((flags & 0x2000) != 0)
        w = with_vni(w, type == 0x6558 && !over_udp ? number(p, key_at, 3) : number(p, key_at, 4));
    switch (gre_payload_bit(type)) {
    case FLOWQ_TUNNEL_MPLS_GRE:
        return model_mpls_at(p, payload, w);
    case FLOWQ_TUNNEL_WCCP: {
        long long first = number(p, payload, 1);
        bool version_1 = outer_version == 4 ? first >= 0x45 && first <= 0x4f : first >= 0x60 && first <= 0x6f;
        if (version_1)
            return model_ip_at(p, payload, outer_version, w);
        if (payload + 4 > p->n)
            return cut();
        model_saw(p, FLOWQ_LAYER_WCCP, payload, payload + 4, 0, w);
        return model_ip_at(p, payload + 4, outer_version, w);
    }
    case FLOWQ_TUNNEL_ERSPAN:
        return erspan_at(p, payload, flags, type, w);
    default:
        return typed_at(p, payload, type, w);
    }
}

struct found model_gre_at(const struct bytes *p, int at, struct flow outer, struct where w)
{
    long long flags = number(p, at, 2), type = number(p, at + 2, 2);
    if (w.tunnel || (w.rules->tunnels & model_any_gre) == 0)
        return without_ports(outer);
    if (type < 0)
        return inner_or_outer(cut(), outer, w);
    if (!gre_is_for_us(flags, type) || (w.rules->tunnels & gre_bit(flags, type, outer.version)) == 0)
        return without_ports(outer);
    return inner_or_outer(gre_payload_at(p, at, outer.version, false, inside_tunnel(w)), outer, w);
}

/* GRE behind the header of a UDP tunnel. */
static struct found gre_over_udp_at(const struct bytes *p, int at, int outer_version, struct where w)
{
    long long flags = number(p, at, 2), type = number(p, at + 2, 2);
    if (type < 0)
        return cut();
    if (!gre_is_for_us(flags, type))
        return nothing_as(FLOWQ_END_UNREAD);
    if (gre_payload_bit(type) != 0 && (w.rules->tunnels & gre_payload_bit(type)) == 0)
        return nothing_as(FLOWQ_END_UNREAD);
    return gre_payload_at(p, at, outer_version, true, w);
}

struct found model_ip_in_ip_at(const struct bytes *p, int at, struct flow outer, struct where w)
{
    int inner = outer.protocol == 4 ? 4 : 6;
    if (w.tunnel || (w.rules->tunnels & model_ip_in_ip_bit(outer)) == 0)
        return without_ports(outer);
    return inner_or_outer(model_ip_at(p, at, inner, inside_tunnel(w)), outer, w);
}

static struct found vxlan_gpe_at(const struct bytes *p, int at, struct where w)
{
    long long flags = number(p, at, 1), next = number(p, at + 3, 1);
    if (number(p, at + 4, 4) < 0)
        return cut();
    if ((flags & 0x38) != 0x08)
        return nothing_as(FLOWQ_END_UNREAD);
    model_saw(p, FLOWQ_LAYER_VXLAN_GPE, at, at + 8, number(p, at + 4, 3), w);
    w = with_vni(w, number(p, at + 4, 3));
    if ((flags & 0x04) == 0 || next == 3)
        return model_frame_at(p, at + 8, w);
    if (next == 1)
        return model_ip_at(p, at + 8, 4, w);
    if (next == 2)
        return model_ip_at(p, at + 8, 6, w);
    return nothing_as(FLOWQ_END_UNREAD);
}

static struct found gtpu_at(const struct bytes *p, int at, struct where w)
{
    long long flags = number(p, at, 1);
    if (number(p, at + 4, 4) < 0)
        return cut();
    if ((flags & 0xf0) != 0x30 || number(p, at + 1, 1) != 255)
        return nothing_as(FLOWQ_END_UNREAD);
    long long next = number(p, at + 11, 1), id = number(p, at + 4, 4);
    if ((flags & 0x07) != 0 && next < 0)
        return cut();
    model_saw(p, FLOWQ_LAYER_GTPU, at, (flags & 0x07) != 0 ? at + 12 : at + 8, id, w);
    at += (flags & 0x07) != 0 ? 12 : 8;
    while ((flags & 0x04) != 0 && next != 0) {
        int words = (int)number(p, at, 1), start = at;
        if (w.n_passed++ == 8)
            return nothing_as(FLOWQ_END_LIMIT);
        if (words == 0)
            return nothing_as(FLOWQ_END_MALFORMED);
        at += 4 * words;
        next = number(p, at - 1, 1);
        if (words < 0 || next < 0)
            return cut();
        model_saw(p, FLOWQ_LAYER_GTPU_EXTENSION, start, at, next, w);
    }
    return model_guess_at(p, at, false, w);
}

/* Variant 1 is an IP packet; variant 0 has a header, and an IP protocol behind it, with the outer addresses if it has none. */
static struct found gue_at(const struct bytes *p, int at, struct flow outer, struct where w)
{
    long long first = number(p, at, 1), protocol = number(p, at + 1, 1);
    if (first / 64 == 1)
        return model_ip_is_likely(p, at, w.rules) ? model_ip_at(p, at, 0, w) : nothing_as(FLOWQ_END_UNLIKE);
    if (first / 32 != 0)
        return nothing_as(FLOWQ_END_UNREAD);
    if (number(p, at, 4) < 0 || at + 4 + 4 * (int)(first % 32) > p->n)
        return cut();
    model_saw(p, FLOWQ_LAYER_GUE, at, at + 4 + 4 * (int)(first % 32), protocol, w);
    at += 4 + 4 * (int)(first % 32);
    if (protocol == 4 || protocol == 41)
        return model_ip_at(p, at, protocol == 4 ? 4 : 6, w);
    if (protocol == 47)
        return gre_over_udp_at(p, at, outer.version, w);
    outer.protocol = (int)protocol;
    if (protocol == 6 || protocol == 17 || protocol == 33 || protocol == 132 || protocol == 136)
        return model_transport_at(p, at, outer, w);
    return nothing_as(FLOWQ_END_UNREAD);
}

const uint32_t model_port_bit[PARSE_N_PORTS] = {FLOWQ_TUNNEL_VXLAN,  FLOWQ_TUNNEL_VXLAN,   FLOWQ_TUNNEL_VXLAN_GPE,
                                                FLOWQ_TUNNEL_GENEVE, FLOWQ_TUNNEL_GTPU,    FLOWQ_TUNNEL_GRE_UDP,
                                                FLOWQ_TUNNEL_GUE,    FLOWQ_TUNNEL_MPLS_UDP};

/* The payload of a UDP packet to a tunnel's port. */
static struct found payload_at(const struct bytes *p, int at, enum parse_port port, struct flow outer, struct where w)
{
    long long first = number(p, at, 1), type = number(p, at + 2, 2);
    switch (port) {
    case PARSE_PORT_VXLAN:
    case PARSE_PORT_VXLAN_LINUX:
        if (number(p, at + 4, 4) < 0)
            return cut();
        if ((first & 0x08) == 0)
            return nothing_as(FLOWQ_END_UNREAD);
        model_saw(p, FLOWQ_LAYER_VXLAN, at, at + 8, number(p, at + 4, 3), w);
        return model_frame_at(p, at + 8, with_vni(w, number(p, at + 4, 3)));
    case PARSE_PORT_VXLAN_GPE:
        return vxlan_gpe_at(p, at, w);
    case PARSE_PORT_GENEVE:
        if (number(p, at + 4, 4) < 0)
            return cut();
        if ((first & 0xc0) != 0)
            return nothing_as(FLOWQ_END_UNREAD);
        if (at + 8 + 4 * (int)(first & 0x3f) > p->n)
            return cut();
        model_saw(p, FLOWQ_LAYER_GENEVE, at, at + 8 + 4 * (int)(first & 0x3f), number(p, at + 4, 3), w);
        return typed_at(p, at + 8 + 4 * (int)(first & 0x3f), type, with_vni(w, number(p, at + 4, 3)));
    case PARSE_PORT_GTPU:
        return gtpu_at(p, at, w);
    case PARSE_PORT_GRE_UDP:
        return gre_over_udp_at(p, at, outer.version, w);
    case PARSE_PORT_GUE:
        return gue_at(p, at, outer, w);
    case PARSE_PORT_MPLS_UDP:
        return at > p->n ? cut() : model_mpls_at(p, at, w);
    case PARSE_N_PORTS:
        break;
    }
    return nothing();
}

int model_tunnel_port(const struct parse_rules *rules, long long dport)
{
    int port = 0;
    while (port < PARSE_N_PORTS && (dport == 0 || rules->port[port] != dport || (rules->tunnels & model_port_bit[port]) == 0))
        port++;
    return port;
}

struct found model_udp_tunnel_at(const struct bytes *p, int at, struct found outer, struct where w)
{
    enum parse_port port = (enum parse_port)model_tunnel_port(w.rules, outer.flow.dport);
    return inner_or_unread(payload_at(p, at, port, outer.flow, inside_tunnel(w)), outer, w);
}
