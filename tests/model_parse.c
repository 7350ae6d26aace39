/* SPDX-License-Identifier: BSD-2-Clause */
#include "model_parse.h"

#include "model_walk.h"

#include <stdio.h>

/* ---- What is said of the way ----------------------------------------------------------------------------------------------- */

struct model_trace model_trace;

static bool is_passed_over(int kind, long long value)
{
    switch (kind) {
    case FLOWQ_LAYER_VLAN:
    case FLOWQ_LAYER_MPLS:
    case FLOWQ_LAYER_HOP_BY_HOP:
    case FLOWQ_LAYER_DEST_OPTIONS:
    case FLOWQ_LAYER_ROUTING:
    case FLOWQ_LAYER_FRAGMENT:
    case FLOWQ_LAYER_AH:
    case FLOWQ_LAYER_MOBILITY:
    case FLOWQ_LAYER_GTPU_EXTENSION:
        return true;
    case FLOWQ_LAYER_ICMP_OPTION:
        return value != 4;
    default:
        return false;
    }
}

void model_saw(const struct bytes *p, int kind, int at, int end, long long value, struct where w)
{
    struct flowq_layer *l = &model_trace.layer[model_trace.n++];
    if (end > p->n)
        end = p->n;
    memset(l, 0, sizeof(*l));
    l->kind = (uint8_t)kind;
    l->offset = (uint16_t)at;
    l->length = (uint16_t)(end - at);
    l->value = (uint32_t)value;
    if (is_passed_over(kind, value))
        l->flags |= FLOWQ_LAYER_PASSED_OVER;
    if (w.tunnel)
        l->flags |= FLOWQ_LAYER_IN_TUNNEL;
    if (w.quote && kind != FLOWQ_LAYER_ICMP_OPTION)
        l->flags |= FLOWQ_LAYER_IN_QUOTE;
    model_trace.end_at = end;
}

struct found nothing_as(int why)
{
    model_trace.end = why;
    return nothing();
}

struct found for_all_that(struct found f, int why)
{
    model_trace.end = why;
    return f;
}

/* ---- What is found --------------------------------------------------------------------------------------------------------- */

/* What lib/key.h has of a network id: zero is none. */
static uint64_t vni_word(const struct flow *flow) { return flow->has_vni ? (1ULL << 56) + flow->vni : 0; }

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
    d.vni = vni_word(flow);
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

const uint8_t model_extensions[MODEL_N_EXTENSIONS] = {0, 43, 44, 51, 60, 135};
const uint8_t model_ports[MODEL_N_PORTS] = {6, 17, 33, 132, 136};

/* Whether nothing that a first fragment shows could make the key another one. */
static bool key_is_whole(struct flow flow, struct where w)
{
    if (memchr(model_ports, flow.protocol, MODEL_N_PORTS))
        return false;
    if (flow.version == 6 && memchr(model_extensions, flow.protocol, MODEL_N_EXTENSIONS))
        return false;
    if (w.tunnel)
        return true;
    if (flow.protocol == 47)
        return (w.rules->tunnels & model_any_gre) == 0;
    return (flow.protocol != 4 && flow.protocol != 41) || (w.rules->tunnels & model_ip_in_ip_bit(flow)) == 0;
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

/* ---- Transport ------------------------------------------------------------------------------------------------------------- */

static struct found udp_at(const struct bytes *p, int at, struct flow flow, struct where w)
{
    long long sport = number(p, at, 2), dport = number(p, at + 2, 2);
    if (dport < 0)
        return cut();
    model_saw(p, FLOWQ_LAYER_UDP, at, at + 8, dport, w);
    if (!w.tunnel && model_tunnel_port(w.rules, dport) < PARSE_N_PORTS)
        return model_udp_tunnel_at(p, at + 8, with_ports(flow, sport, dport), w);
    return with_ports(flow, sport, dport);
}

static struct found tcp_at(const struct bytes *p, int at, struct flow flow, struct where w)
{
    long long sport = number(p, at, 2), dport = number(p, at + 2, 2), flags = number(p, at + 13, 1);
    if (dport < 0)
        return cut();
    model_saw(p, FLOWQ_LAYER_TCP, at, at + 20, dport, w);
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
        if (end < at)
            return cut();
        if (end == at)
            return nothing_as(FLOWQ_END_MALFORMED);
        if (type == 4) {
            if (at + 8 > p->n)
                return cut();
            model_saw(p, FLOWQ_LAYER_ICMP_OPTION, at, at + 8, type, w);
            struct bytes option = *p;
            if (option.n > end)
                option.n = end;
            return model_ip_at(&option, at + 8, 0, w);
        }
        if (w.n_passed++ == 8)
            return nothing_as(FLOWQ_END_LIMIT);
        if (end > p->n)
            return cut();
        model_saw(p, FLOWQ_LAYER_ICMP_OPTION, at, end, type, w);
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
    if (type >= 0)
        model_saw(p, FLOWQ_LAYER_ICMP, at, at + (flow.version == 6 && type == 137 && !w.quote ? 40 : 8), w.quote ? 0 : type, w);
    if (w.quote || *error < 0)
        return without_ports(flow);

    w.quote = true;
    struct found quote = type == 137 ? redirected_at(p, at + 40, w) : model_ip_at(p, at + 8, 0, w);
    int end = model_trace.end;
    struct found f = for_all_that(without_ports(flow), end);
    if (quote.kind != PARSE_KEYLESS) {
        f.kind = quote.kind == PARSE_LATER && !quote.whole ? PARSE_QUOTE_LATER : PARSE_QUOTE;
        f.flow = quote.flow;
    }
    f.flags = PARSE_ICMP_ERROR;
    return f;
}

struct found model_transport_at(const struct bytes *p, int at, struct flow flow, struct where w)
{
    switch (flow.protocol) {
    case 6:
        return tcp_at(p, at, flow, w);
    case 17:
        return udp_at(p, at, flow, w);
    case 33:
    case 132:
    case 136:
        if (number(p, at + 2, 2) < 0)
            return cut();
        model_saw(p, FLOWQ_LAYER_PORTS, at, at + 4, number(p, at + 2, 2), w);
        return with_ports(flow, number(p, at, 2), number(p, at + 2, 2));
    case 1:
        return flow.version == 4 ? icmp_at(p, at, flow, w) : without_ports(flow);
    case 58:
        return flow.version == 6 ? icmp_at(p, at, flow, w) : without_ports(flow);
    case 4:
    case 41:
        return model_ip_in_ip_at(p, at, flow, w);
    case 47:
        return model_gre_at(p, at, flow, w);
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
    flow.has_vni = w.has_vni;
    flow.vni = w.vni;
    return flow;
}

static struct found ipv4_at(const struct bytes *p, int at, struct where w)
{
    struct flow flow = flow_here(4, w);
    int length = 4 * (p->b[at] & 15);
    if (length < 20)
        return nothing_as(FLOWQ_END_MALFORMED);
    if (at + length > p->n)
        return cut();
    flow.protocol = p->b[at + 9];
    model_saw(p, FLOWQ_LAYER_IPV4, at, at + length, flow.protocol, w);
    memcpy(flow.src, p->b + at + 12, 4);
    memcpy(flow.dst, p->b + at + 16, 4);
    long long id = number(p, at + 4, 2), field = number(p, at + 6, 2);

    struct found f;
    if (field % 0x2000 != 0)
        f = as_later(flow, id, w);
    else
        f = model_transport_at(p, at + length, flow, w);
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

static int extension_layer(int number)
{
    switch (number) {
    case 0:
        return FLOWQ_LAYER_HOP_BY_HOP;
    case 43:
        return FLOWQ_LAYER_ROUTING;
    case 51:
        return FLOWQ_LAYER_AH;
    case 60:
        return FLOWQ_LAYER_DEST_OPTIONS;
    default:
        return FLOWQ_LAYER_MOBILITY;
    }
}

/* The headers from `next` at `at` on. */
static struct found ipv6_headers_at(const struct bytes *p, int at, int next, bool fragmented, struct flow flow, struct where w)
{
    int after = (int)number(p, at, 1), length = (int)number(p, at + 1, 1);
    flow.protocol = next;
    if (memchr(model_extensions, next, MODEL_N_EXTENSIONS) && w.n_passed++ == 8)
        return to_many(nothing_as(FLOWQ_END_LIMIT), &flow);
    if (next == 44) {
        long long field = number(p, at + 2, 2), id = number(p, at + 4, 4);
        if (length >= 0 && fragmented)
            return to_many(nothing_as(FLOWQ_END_MALFORMED), &flow);
        if (id < 0)
            return to_many(cut(), &flow);
        model_saw(p, FLOWQ_LAYER_FRAGMENT, at, at + 8, after, w);
        flow.protocol = after;
        if (field / 8 != 0)
            return to_many(as_later(flow, id, w), &flow);
        struct found f = ipv6_headers_at(p, at + 8, after, true, flow, w);
        return field % 2 != 0 ? as_first(f, &flow, id, w) : f;
    }
    if (next != 0 && next != 43 && next != 51 && next != 60 && next != 135)
        return to_many(model_transport_at(p, at, flow, w), &flow);
    int end = next == 51 ? at + 4 * (length + 2) : at + 8 * (length + 1);
    if (length < 0 || at + 8 > p->n || end > p->n)
        return to_many(cut(), &flow);
    model_saw(p, extension_layer(next), at, end, after, w);
    if (next == 135 && after == 59)
        return to_many(without_ports(flow), &flow);
    if (next == 43 && !model_last_segment(p, at, flow.dst))
        return to_many(nothing_as(FLOWQ_END_MALFORMED), &flow);
    return ipv6_headers_at(p, end, after, fragmented, flow, w);
}

static struct found ipv6_at(const struct bytes *p, int at, struct where w)
{
    struct flow flow = flow_here(6, w);
    if (at + 40 > p->n)
        return cut();
    model_saw(p, FLOWQ_LAYER_IPV6, at, at + 40, p->b[at + 6], w);
    memcpy(flow.src, p->b + at + 8, 16);
    memcpy(flow.dst, p->b + at + 24, 16);
    return ipv6_headers_at(p, at + 40, p->b[at + 6], false, flow, w);
}

struct found model_ip_at(const struct bytes *p, int at, int version, struct where w)
{
    if (at + 20 > p->n)
        return cut();
    int is = p->b[at] / 16;
    if ((is != 4 && is != 6) || (version != 0 && version != is))
        return nothing_as(FLOWQ_END_MALFORMED);
    return is == 4 ? ipv4_at(p, at, w) : ipv6_at(p, at, w);
}

/* ---- MPLS ------------------------------------------------------------------------------------------------------------------ */

struct found model_mpls_at(const struct bytes *p, int at, struct where w)
{
    struct found f = nothing();
    long long label;
    do {
        label = number(p, at, 4);
        at += 4;
        if (w.n_passed++ == 8)
            return nothing_as(FLOWQ_END_LIMIT);
        if (label < 0)
            return cut();
        model_saw(p, FLOWQ_LAYER_MPLS, at - 4, at, label / 4096, w);
        f.label[f.n_labels++] = (uint32_t)label & 0xfffff000;
    } while (label / 256 % 2 == 0);
    struct found under = model_guess_at(p, at, true, w);
    if (!under.unlike_anything)
        return under;
    f.kind = w.tunnel || w.quote ? PARSE_KEYLESS : PARSE_SPREAD;
    return f;
}

/* ---- Link ------------------------------------------------------------------------------------------------------------------ */

static struct found ethertype_at(const struct bytes *p, int at, long long type, struct where w)
{
    if (type == 0x0800)
        return model_ip_at(p, at, 4, w);
    if (type == 0x86dd)
        return model_ip_at(p, at, 6, w);
    if (type == 0x8847 || type == 0x8848)
        return model_mpls_at(p, at, w);
    if (type == 0x8864 && number(p, at + 4, 2) < 0)
        return cut();
    if (type == 0x8864 && number(p, at, 2) == 0x1100) {
        long long protocol = number(p, at + 6, 1);
        int start = at;
        at += 7;
        if (protocol >= 0 && protocol % 2 == 0) { /* not compressed */
            protocol = number(p, at - 1, 2);
            at++;
        }
        if (protocol < 0)
            return cut();
        model_saw(p, FLOWQ_LAYER_PPPOE, start, at, protocol, w);
        if (protocol == 0x21)
            return model_ip_at(p, at, 4, w);
        if (protocol == 0x57)
            return model_ip_at(p, at, 6, w);
    }
    return nothing_as(FLOWQ_END_UNREAD);
}

/* From the type of an Ethernet frame on, tags included. */
static struct found frame_type_at(const struct bytes *p, int at, struct where w)
{
    long long type = number(p, at, 2);
    if (model_is_tag(type, w.rules)) {
        long long tag = number(p, at + 2, 2);
        if (w.n_tags++ == 4 || w.n_passed++ == 8)
            return nothing_as(FLOWQ_END_LIMIT);
        if (number(p, at + 2, 4) < 0)
            return cut();
        model_saw(p, FLOWQ_LAYER_VLAN, at + 2, at + 6, tag % 0x1000, w);
        if (tag % 0x1000 != 0)
            w.vlan[w.n_vlans++] = (int)(tag % 0x1000);
        return frame_type_at(p, at + 4, w);
    }
    if (type < 0)
        return cut();
    if (type >= 0x600)
        return ethertype_at(p, at + 2, type, w);
    long long llc = number(p, at + 2, 3);
    if (llc < 0 || (llc == 0xaaaa03 && number(p, at + 8, 2) < 0))
        return cut();
    if (llc == 0x060603) {
        model_saw(p, FLOWQ_LAYER_LLC, at + 2, at + 5, 6, w);
        return model_ip_at(p, at + 5, 4, w);
    }
    if (llc == 0xaaaa03)
        model_saw(p, FLOWQ_LAYER_LLC, at + 2, at + 10, 0xaa, w);
    if (llc == 0xaaaa03 && number(p, at + 5, 3) == 0)
        return ethertype_at(p, at + 10, number(p, at + 8, 2), w);
    return nothing_as(FLOWQ_END_UNREAD);
}

struct found model_frame_at(const struct bytes *p, int at, struct where w)
{
    if (at + 14 > p->n)
        return cut();
    model_saw(p, FLOWQ_LAYER_ETHERNET, at, at + 14, number(p, at + 12, 2), w);
    w.n_tags = w.n_vlans = 0; /* those of a frame around this one do not count */
    struct found f = frame_type_at(p, at + 12, w);
    if (number(p, at, 6) == 0xffffffffffffLL)
        f.flags |= PARSE_MULTICAST;
    return f;
}

/* ---- The result ------------------------------------------------------------------------------------------------------------ */

static void append(struct key *k, uint64_t word)
{
    k->word[k->bytes / 8] = word;
    k->bytes += 8;
}

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
    uint64_t word = (uint64_t)flow->n_vlans << 48;
    for (int i = 0; i < flow->n_vlans; i++)
        word += (uint64_t)flow->vlan[i] << 12 * i;
    if (vlans && flow->n_vlans > 0)
        append(k, word);
    if (flow->has_vni)
        append(k, vni_word(flow));
}

void model_parse(const struct flowq_pkt *pkt, const struct parse_rules *rules, struct parse_result *out)
{
    struct bytes p = {.n = pkt->len < 256 ? (int)pkt->len : 256};
    struct where w = {.rules = rules};
    memset(&model_trace, 0, sizeof(model_trace));
    struct found f = nothing_as(FLOWQ_END_FLAGS);
    for (int i = 0; i < p.n; i++)
        p.b[i] = ((const uint8_t *)pkt->data)[i];
    if (pkt->flags == 0)
        f = model_frame_at(&p, 0, w);
    else if (pkt->flags == FLOWQ_PKT_L3)
        f = model_ip_at(&p, 0, 0, w);

    if (model_trace.end == FLOWQ_END_CUT && pkt->len > 256)
        model_trace.end = FLOWQ_END_WINDOW;
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
                 [PARSE_PORT_GRE_UDP] = 4754,
                 [PARSE_PORT_GUE] = 6080,
                 [PARSE_PORT_MPLS_UDP] = 6635},
    };
    rules.udp_filter = parse_rules_filter(&rules);
    return rules;
}

uint64_t parse_rules_filter(const struct parse_rules *rules)
{
    uint64_t filter = 0;
    for (int i = 0; i < PARSE_N_PORTS; i++)
        if (rules->port[i] != 0 && (rules->tunnels & model_port_bit[i]) != 0)
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
