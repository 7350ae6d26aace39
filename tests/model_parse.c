/* SPDX-License-Identifier: BSD-2-Clause */
#include "model_parse.h"

#include "model_bytes.h"

#include <stdio.h>

/* ---- What is found --------------------------------------------------------------------------------------------------------- */

struct flow {
    int version, protocol;
    uint8_t src[16], dst[16];
    int sport, dport;
    int n_vlans;
    int vlan[4];
};

struct found {
    int kind;
    unsigned flags;
    struct flow flow;
    int n_first;
    struct parse_frag first[2];
    struct parse_frag later;
    bool whole;   /* a later fragment that has its flow's key all the same */
    int n_labels; /* of a packet that is spread by them */
    uint32_t label[8];
};

/* Where we are: what has been passed on the way in. */
struct where {
    const struct parse_rules *rules;
    bool tunnel;
    bool quote;
    int n_tags; /* of the frame we are in, and those among them that name a VLAN */
    int n_vlans;
    int vlan[4];
    int n_passed; /* tags, labels, extension headers, outside and inside */
};

static struct found nothing(void)
{
    struct found f;
    memset(&f, 0, sizeof(f));
    f.kind = PARSE_KEYLESS;
    return f;
}

static struct found with_ports(struct flow flow, long long sport, long long dport)
{
    struct found f = nothing();
    f.kind = PARSE_FLOW;
    f.flow = flow;
    f.flow.sport = (int)sport;
    f.flow.dport = (int)dport;
    return f;
}

static struct found without_ports(struct flow flow)
{
    return with_ports(flow, 0, 0);
}

static uint32_t ip_in_ip_bit(struct flow outer)
{
    if (outer.version == 4)
        return outer.protocol == 4 ? FLOWQ_TUNNEL_IPIP : FLOWQ_TUNNEL_6IN4;
    return outer.protocol == 4 ? FLOWQ_TUNNEL_4IN6 : FLOWQ_TUNNEL_6IN6;
}

static struct parse_frag datagram(const struct flow *flow, long long id, bool keeps_vlans)
{
    struct parse_frag d;
    memset(&d, 0, sizeof(d));
    memcpy(d.src, flow->src, 16);
    memcpy(d.dst, flow->dst, 16);
    d.id = (uint32_t)id;
    d.version = (uint8_t)flow->version;
    d.protocol = (uint8_t)(flow->version == 4 ? flow->protocol : 0);
    for (int i = 0; keeps_vlans && i < flow->n_vlans; i++)
        d.vlans += ((uint64_t)1 << 48) + ((uint64_t)flow->vlan[i] << 12 * i);
    return d;
}

static struct found as_first(struct found f, const struct flow *flow, long long id, struct where w)
{
    if (f.n_first == 1)
        f.first[1] = f.first[0];
    f.first[0] = datagram(flow, id, w.rules->key_vlan);
    f.n_first++;
    return f;
}

/* Whether nothing that a first fragment shows could make the key another one. */
static bool key_is_whole(struct flow flow, struct where w)
{
    static const uint8_t ports[] = {6, 17, 33, 132, 136}, extensions[] = {0, 43, 44, 51, 60, 135};
    const uint32_t gre = FLOWQ_TUNNEL_GRE_2784 | FLOWQ_TUNNEL_GRE_2890 | FLOWQ_TUNNEL_GRE_7676 | FLOWQ_TUNNEL_NVGRE;
    if (memchr(ports, flow.protocol, sizeof(ports)))
        return false;
    if (flow.version == 6 && memchr(extensions, flow.protocol, sizeof(extensions)))
        return false;
    if (w.tunnel)
        return true;
    if (flow.protocol == 47)
        return (w.rules->tunnels & gre) == 0;
    return (flow.protocol != 4 && flow.protocol != 41) || (w.rules->tunnels & ip_in_ip_bit(flow)) == 0;
}

static struct found as_later(struct flow flow, long long id, struct where w)
{
    struct found f = without_ports(flow);
    f.whole = key_is_whole(flow, w);
    f.kind = PARSE_LATER;
    f.flags = f.whole && !w.quote ? PARSE_WHOLE_KEY : 0;
    f.later = datagram(&flow, id, w.rules->key_vlan);
    return f;
}

/* ---- Tunnels --------------------------------------------------------------------------------------------------------------- */

static struct found frame_at(const struct bytes *p, int at, struct where w);
static struct found ip_at(const struct bytes *p, int at, int version, struct where w);

static struct where inside_tunnel(struct where w)
{
    w.tunnel = true;
    return w;
}

static struct found typed_at(const struct bytes *p, int at, long long type, struct where w)
{
    if (type == 0x6558)
        return frame_at(p, at, w);
    if (type == 0x0800)
        return ip_at(p, at, 4, w);
    if (type == 0x86dd)
        return ip_at(p, at, 6, w);
    return nothing();
}

/* What a tunnel that is no UDP tunnel shows: the inner packet, or itself. */
static struct found inner_or_outer(struct found inner, struct flow outer, struct where w)
{
    if (inner.kind != PARSE_KEYLESS)
        return inner;
    if (w.quote)
        return nothing();
    struct found f = without_ports(outer);
    f.n_first = inner.n_first;
    f.first[0] = inner.first[0];
    return f;
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

static bool gre_is_for_us(long long flags, long long type)
{
    return (flags & 0x4007) == 0 && (type == 0x0800 || type == 0x86dd || type == 0x6558);
}

static uint32_t gre_bit(long long flags, long long type, int outer_version)
{
    bool key = (flags & 0x2000) != 0, sequence = (flags & 0x1000) != 0;
    if (type == 0x6558 && key)
        return FLOWQ_TUNNEL_NVGRE;
    if (outer_version == 6 || type == 0x86dd)
        return FLOWQ_TUNNEL_GRE_7676;
    if (key || sequence)
        return FLOWQ_TUNNEL_GRE_2890;
    return FLOWQ_TUNNEL_GRE_2784;
}

static struct found gre_at(const struct bytes *p, int at, struct flow outer, struct where w)
{
    const uint32_t any = FLOWQ_TUNNEL_GRE_2784 | FLOWQ_TUNNEL_GRE_2890 | FLOWQ_TUNNEL_GRE_7676 | FLOWQ_TUNNEL_NVGRE;
    long long flags = number(p, at, 2), type = number(p, at + 2, 2);
    if (w.tunnel || (w.rules->tunnels & any) == 0)
        return without_ports(outer);
    if (type < 0)
        return inner_or_outer(nothing(), outer, w);
    if (!gre_is_for_us(flags, type) || (w.rules->tunnels & gre_bit(flags, type, outer.version)) == 0)
        return without_ports(outer);
    return inner_or_outer(typed_at(p, at + gre_length(flags), type, inside_tunnel(w)), outer, w);
}

static struct found ip_in_ip_at(const struct bytes *p, int at, struct flow outer, struct where w)
{
    int inner = outer.protocol == 4 ? 4 : 6;
    if (w.tunnel || (w.rules->tunnels & ip_in_ip_bit(outer)) == 0)
        return without_ports(outer);
    return inner_or_outer(ip_at(p, at, inner, inside_tunnel(w)), outer, w);
}

static struct found vxlan_gpe_at(const struct bytes *p, int at, struct where w)
{
    long long flags = number(p, at, 1), next = number(p, at + 3, 1);
    if (number(p, at + 4, 4) < 0 || (flags & 0x38) != 0x08)
        return nothing();
    if ((flags & 0x04) == 0 || next == 3)
        return frame_at(p, at + 8, w);
    if (next == 1)
        return ip_at(p, at + 8, 4, w);
    if (next == 2)
        return ip_at(p, at + 8, 6, w);
    return nothing();
}

static struct found gtpu_at(const struct bytes *p, int at, struct where w)
{
    long long flags = number(p, at, 1);
    if (number(p, at + 4, 4) < 0 || (flags & 0xf0) != 0x30 || number(p, at + 1, 1) != 255)
        return nothing();
    at += 8;
    if ((flags & 0x07) != 0) {
        long long next = number(p, at + 3, 1);
        if (next < 0)
            return nothing();
        at += 4;
        while ((flags & 0x04) != 0 && next != 0) {
            int words = (int)number(p, at, 1);
            if (words < 1 || w.n_passed++ == 8)
                return nothing();
            at += 4 * words;
            next = number(p, at - 1, 1);
            if (next < 0)
                return nothing();
        }
    }
    return model_ip_is_likely(p, at, w.rules) ? ip_at(p, at, 0, w) : nothing();
}

/* The payload of a UDP packet to a tunnel's port. */
static struct found udp_tunnel_at(const struct bytes *p, int at, enum parse_port port, struct where w)
{
    long long first = number(p, at, 1), type = number(p, at + 2, 2);
    switch (port) {
    case PARSE_PORT_VXLAN:
    case PARSE_PORT_VXLAN_LINUX:
        return number(p, at + 4, 4) >= 0 && (first & 0x08) != 0 ? frame_at(p, at + 8, w) : nothing();
    case PARSE_PORT_VXLAN_GPE:
        return vxlan_gpe_at(p, at, w);
    case PARSE_PORT_GENEVE:
        if (number(p, at + 4, 4) < 0 || (first & 0xc0) != 0)
            return nothing();
        return typed_at(p, at + 8 + 4 * (int)(first & 0x3f), type, w);
    case PARSE_PORT_GTPU:
        return gtpu_at(p, at, w);
    case PARSE_PORT_GRE_UDP:
        if (type < 0 || !gre_is_for_us(number(p, at, 2), type))
            return nothing();
        return typed_at(p, at + gre_length(number(p, at, 2)), type, w);
    case PARSE_PORT_GUE:
    case PARSE_PORT_MPLS_UDP:
    case PARSE_N_PORTS:
        break;
    }
    return nothing();
}

/* ---- Transport ------------------------------------------------------------------------------------------------------------- */

static struct found udp_at(const struct bytes *p, int at, struct flow flow, struct where w)
{
    static const uint32_t bit[PARSE_N_PORTS] = {FLOWQ_TUNNEL_VXLAN,  FLOWQ_TUNNEL_VXLAN, FLOWQ_TUNNEL_VXLAN_GPE,
                                                FLOWQ_TUNNEL_GENEVE, FLOWQ_TUNNEL_GTPU,  FLOWQ_TUNNEL_GRE_UDP};
    long long sport = number(p, at, 2), dport = number(p, at + 2, 2);
    if (dport < 0)
        return nothing();
    for (int i = 0; i < PARSE_N_PORTS; i++)
        if (!w.tunnel && dport != 0 && w.rules->port[i] == dport && (w.rules->tunnels & bit[i]) != 0)
            return udp_tunnel_at(p, at + 8, (enum parse_port)i, inside_tunnel(w));
    return with_ports(flow, sport, dport);
}

static struct found tcp_at(const struct bytes *p, int at, struct flow flow)
{
    long long sport = number(p, at, 2), dport = number(p, at + 2, 2), flags = number(p, at + 13, 1);
    if (dport < 0)
        return nothing();
    struct found f = with_ports(flow, sport, dport);
    if (flags >= 0 && (flags & 1) != 0)
        f.flags |= PARSE_FIN;
    if (flags >= 0 && (flags & 2) != 0)
        f.flags |= PARSE_SYN;
    if (flags >= 0 && (flags & 4) != 0)
        f.flags |= PARSE_RST;
    return f;
}

/* The packet in the option "redirected header" of a redirect, whose options begin here. */
static struct found redirected_at(const struct bytes *p, int at, struct where w)
{
    for (;;) {
        int type = (int)number(p, at, 1), end = at + 8 * (int)number(p, at + 1, 1);
        if (end <= at)
            return nothing();
        if (type == 4) {
            struct bytes option = *p;
            if (option.n > end)
                option.n = end;
            return ip_at(&option, at + 8, 0, w);
        }
        if (w.n_passed++ == 8)
            return nothing();
        at = end;
    }
}

static struct found icmp_at(const struct bytes *p, int at, struct flow flow, struct where w)
{
    static const int errors_v4[] = {3, 4, 5, 11, 12, -1}, errors_v6[] = {1, 2, 3, 4, 137, -1};
    const int *error = flow.version == 4 ? errors_v4 : errors_v6;
    long long type = number(p, at, 1);
    while (*error >= 0 && *error != type)
        error++;
    if (w.quote || *error < 0)
        return without_ports(flow);

    w.quote = true;
    struct found quote = type == 137 ? redirected_at(p, at + 40, w) : ip_at(p, at + 8, 0, w), f = without_ports(flow);
    if (quote.kind != PARSE_KEYLESS) {
        f.kind = quote.kind == PARSE_LATER && !quote.whole ? PARSE_QUOTE_LATER : PARSE_QUOTE;
        f.flow = quote.flow;
    }
    f.flags = PARSE_ICMP_ERROR;
    return f;
}

static struct found transport_at(const struct bytes *p, int at, struct flow flow, struct where w)
{
    switch (flow.protocol) {
    case 6:
        return tcp_at(p, at, flow);
    case 17:
        return udp_at(p, at, flow, w);
    case 33:
    case 132:
    case 136:
        return number(p, at + 2, 2) < 0 ? nothing() : with_ports(flow, number(p, at, 2), number(p, at + 2, 2));
    case 1:
        return flow.version == 4 ? icmp_at(p, at, flow, w) : without_ports(flow);
    case 58:
        return flow.version == 6 ? icmp_at(p, at, flow, w) : without_ports(flow);
    case 4:
    case 41:
        return ip_in_ip_at(p, at, flow, w);
    case 47:
        return gre_at(p, at, flow, w);
    default:
        return without_ports(flow);
    }
}

/* ---- IP -------------------------------------------------------------------------------------------------------------------- */

static struct flow flow_here(int version, struct where w)
{
    struct flow flow;
    memset(&flow, 0, sizeof(flow));
    flow.version = version;
    flow.n_vlans = w.n_vlans;
    memcpy(flow.vlan, w.vlan, sizeof(flow.vlan));
    return flow;
}

static struct found ipv4_at(const struct bytes *p, int at, struct where w)
{
    struct flow flow = flow_here(4, w);
    int length = 4 * (p->b[at] & 15);
    if (length < 20 || at + length > p->n)
        return nothing();
    flow.protocol = p->b[at + 9];
    memcpy(flow.src, p->b + at + 12, 4);
    memcpy(flow.dst, p->b + at + 16, 4);
    long long id = number(p, at + 4, 2), field = number(p, at + 6, 2);

    struct found f;
    if (field % 0x2000 != 0)
        f = as_later(flow, id, w);
    else
        f = transport_at(p, at + length, flow, w);
    if (field % 0x4000 == 0x2000)
        f = as_first(f, &flow, id, w);
    if ((flow.dst[0] >= 224 && flow.dst[0] <= 239) || number(p, at + 16, 4) == 0xffffffffLL)
        f.flags |= PARSE_MULTICAST;
    return f;
}

/* Marks what goes to a multicast address of IPv6. */
static struct found to_many(struct found f, const struct flow *flow)
{
    if (flow->dst[0] == 255)
        f.flags |= PARSE_MULTICAST;
    return f;
}

/* The headers from `next` at `at` on. */
static struct found ipv6_headers_at(const struct bytes *p, int at, int next, bool fragmented, struct flow flow, struct where w)
{
    int after = (int)number(p, at, 1), length = (int)number(p, at + 1, 1);
    flow.protocol = next;
    if (next == 44) {
        long long field = number(p, at + 2, 2), id = number(p, at + 4, 4);
        if (id < 0 || fragmented || w.n_passed++ == 8)
            return to_many(nothing(), &flow);
        flow.protocol = after;
        if (field / 8 != 0)
            return to_many(as_later(flow, id, w), &flow);
        struct found f = ipv6_headers_at(p, at + 8, after, true, flow, w);
        return field % 2 != 0 ? as_first(f, &flow, id, w) : f;
    }
    if (next != 0 && next != 43 && next != 51 && next != 60 && next != 135)
        return to_many(transport_at(p, at, flow, w), &flow);
    int end = next == 51 ? at + 4 * (length + 2) : at + 8 * (length + 1);
    if (length < 0 || at + 8 > p->n || end > p->n || w.n_passed++ == 8)
        return to_many(nothing(), &flow);
    if (next == 135 && after == 59)
        return to_many(without_ports(flow), &flow);
    if (next == 43 && !model_last_segment(p, at, flow.dst))
        return to_many(nothing(), &flow);
    return ipv6_headers_at(p, end, after, fragmented, flow, w);
}

static struct found ipv6_at(const struct bytes *p, int at, struct where w)
{
    struct flow flow = flow_here(6, w);
    if (at + 40 > p->n)
        return nothing();
    memcpy(flow.src, p->b + at + 8, 16);
    memcpy(flow.dst, p->b + at + 24, 16);
    return ipv6_headers_at(p, at + 40, p->b[at + 6], false, flow, w);
}

static struct found ip_at(const struct bytes *p, int at, int version, struct where w)
{
    if (at + 20 > p->n)
        return nothing();
    int is = p->b[at] / 16;
    if ((is != 4 && is != 6) || (version != 0 && version != is))
        return nothing();
    return is == 4 ? ipv4_at(p, at, w) : ipv6_at(p, at, w);
}

/* ---- MPLS ------------------------------------------------------------------------------------------------------------------ */

static struct found mpls_at(const struct bytes *p, int at, struct where w)
{
    struct found f = nothing();
    long long label;
    do {
        label = number(p, at, 4);
        at += 4;
        if (label < 0 || w.n_passed++ == 8)
            return nothing();
        f.label[f.n_labels++] = (uint32_t)label & 0xfffff000;
    } while (label / 256 % 2 == 0);
    if (model_ip_is_likely(p, at, w.rules))
        return ip_at(p, at, 0, w);
    if (at < p->n && p->b[at] < 16 && model_frame_holds(p, at + 4, w.rules))
        return frame_at(p, at + 4, w);
    if (model_frame_holds(p, at, w.rules))
        return frame_at(p, at, w);
    f.kind = w.tunnel || w.quote ? PARSE_KEYLESS : PARSE_SPREAD;
    return f;
}

/* ---- Link ------------------------------------------------------------------------------------------------------------------ */

static struct found ethertype_at(const struct bytes *p, int at, long long type, struct where w)
{
    if (type == 0x0800)
        return ip_at(p, at, 4, w);
    if (type == 0x86dd)
        return ip_at(p, at, 6, w);
    if (type == 0x8847 || type == 0x8848)
        return mpls_at(p, at, w);
    if (type == 0x8864 && number(p, at, 2) == 0x1100 && number(p, at + 4, 2) >= 0) {
        long long protocol = number(p, at + 6, 1);
        at += 7;
        if (protocol == 0) /* not compressed */
            protocol = number(p, at++, 1);
        if (protocol == 0x21)
            return ip_at(p, at, 4, w);
        if (protocol == 0x57)
            return ip_at(p, at, 6, w);
    }
    return nothing();
}

/* From the type of an Ethernet frame on, tags included. */
static struct found frame_type_at(const struct bytes *p, int at, struct where w)
{
    long long type = number(p, at, 2);
    if (model_is_tag(type, w.rules)) {
        long long tag = number(p, at + 2, 2);
        if (w.n_tags++ == 4 || w.n_passed++ == 8 || tag < 0)
            return nothing();
        if (tag % 0x1000 != 0)
            w.vlan[w.n_vlans++] = (int)(tag % 0x1000);
        return frame_type_at(p, at + 4, w);
    }
    if (type < 0)
        return nothing();
    if (type >= 0x600)
        return ethertype_at(p, at + 2, type, w);
    if (number(p, at + 2, 3) == 0x060603)
        return ip_at(p, at + 5, 4, w);
    if (number(p, at + 2, 6) == 0xaaaa03000000LL && number(p, at + 8, 2) >= 0)
        return ethertype_at(p, at + 10, number(p, at + 8, 2), w);
    return nothing();
}

static struct found frame_at(const struct bytes *p, int at, struct where w)
{
    if (at + 14 > p->n)
        return nothing();
    w.n_tags = w.n_vlans = 0;
    struct found f = frame_type_at(p, at + 12, w);
    if (number(p, at, 6) == 0xffffffffffffLL)
        f.flags |= PARSE_MULTICAST;
    return f;
}

/* ---- The result ------------------------------------------------------------------------------------------------------------ */

/* The layout that lib/key.h describes, byte by byte. */
static void write_key(struct key *k, const struct flow *flow, bool vlans)
{
    uint8_t b[48] = {0}, size = flow->version == 6 ? 16 : 4;
    uint8_t *l4 = b + 2 * size;
    memcpy(b, flow->src, size);
    memcpy(b + size, flow->dst, size);
    l4[0] = (uint8_t)(flow->sport / 256);
    l4[1] = (uint8_t)flow->sport;
    l4[2] = (uint8_t)(flow->dport / 256);
    l4[3] = (uint8_t)flow->dport;
    l4[4] = (uint8_t)flow->protocol;
    l4[5] = (uint8_t)flow->version;
    k->bytes = flow->version == 6 ? 40 : 16;
    memcpy(k->word, b, sizeof(b));
    if (!vlans || flow->n_vlans == 0)
        return;
    uint64_t word = (uint64_t)flow->n_vlans << 48;
    for (int i = 0; i < flow->n_vlans; i++)
        word += (uint64_t)flow->vlan[i] << 12 * i;
    k->word[k->bytes / 8] = word;
    k->bytes += 8;
}

void model_parse(const struct flowq_pkt *pkt, const struct parse_rules *rules, struct parse_result *out)
{
    struct bytes p = {.n = pkt->len < 256 ? (int)pkt->len : 256};
    struct where w = {.rules = rules};
    struct found f = nothing();
    for (int i = 0; i < p.n; i++)
        p.b[i] = ((const uint8_t *)pkt->data)[i];
    if (pkt->flags == 0)
        f = frame_at(&p, 0, w);
    else if (pkt->flags == FLOWQ_PKT_L3)
        f = ip_at(&p, 0, 0, w);

    memset(out, 0, sizeof(*out));
    out->kind = (uint8_t)f.kind;
    out->flags = (uint8_t)f.flags;
    out->n_first = (uint8_t)f.n_first;
    memcpy(out->first, f.first, sizeof(out->first));
    if (f.kind == PARSE_LATER)
        out->later = f.later;
    if (f.kind == PARSE_SPREAD) {
        out->key.bytes = f.n_labels > 4 ? 40 : 16;
        for (int i = 0; i < f.n_labels; i++)
            out->key.word[i / 2] += (uint64_t)f.label[i] << 32 * (i % 2);
    } else if (f.kind != PARSE_KEYLESS)
        write_key(&out->key, &f.flow, rules->key_vlan);
}

bool parse_result_equal(const struct parse_result *a, const struct parse_result *b)
{
    if (a->kind != b->kind || a->flags != b->flags || a->n_first != b->n_first || a->key.bytes != b->key.bytes)
        return false;
    return memcmp(a->key.word, b->key.word, a->key.bytes) == 0 &&
           memcmp(a->first, b->first, a->n_first * sizeof(a->first[0])) == 0 &&
           (a->kind != PARSE_LATER || memcmp(&a->later, &b->later, sizeof(a->later)) == 0);
}

struct parse_rules parse_rules_default(void)
{
    struct parse_rules rules = {
        .tunnels = FLOWQ_TUNNEL_ALL,
        .port = {[PARSE_PORT_VXLAN] = 4789,
                 [PARSE_PORT_VXLAN_LINUX] = 8472,
                 [PARSE_PORT_VXLAN_GPE] = 4790,
                 [PARSE_PORT_GENEVE] = 6081,
                 [PARSE_PORT_GTPU] = 2152,
                 [PARSE_PORT_GRE_UDP] = 4754},
    };
    rules.udp_filter = parse_rules_filter(&rules);
    return rules;
}

uint64_t parse_rules_filter(const struct parse_rules *rules)
{
    static const uint32_t bit[PARSE_N_PORTS] = {FLOWQ_TUNNEL_VXLAN,  FLOWQ_TUNNEL_VXLAN, FLOWQ_TUNNEL_VXLAN_GPE,
                                                FLOWQ_TUNNEL_GENEVE, FLOWQ_TUNNEL_GTPU,  FLOWQ_TUNNEL_GRE_UDP};
    uint64_t filter = 0;
    for (int i = 0; i < PARSE_N_PORTS; i++)
        if (rules->port[i] != 0 && (rules->tunnels & bit[i]) != 0)
            filter |= UINT64_C(1) << rules->port[i] % 64;
    return filter;
}

const char *parse_result_text(const struct parse_result *r)
{
    static const char *const kind[] = {"keyless", "flow", "later fragment", "quote", "quote of a later fragment", "spread"};
    static char text[256];
    int n = snprintf(text, sizeof(text), "%s, flags %#x, first of %u, key of %u bytes:", kind[r->kind], r->flags, r->n_first,
                     r->key.bytes);
    for (unsigned i = 0; i < r->key.bytes; i++)
        n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%02x", i % 4 ? "" : " ", ((const uint8_t *)r->key.word)[i]);
    return text;
}
