/* SPDX-License-Identifier: BSD-2-Clause */
#include "random_packet.h"

#include "model_parse.h"

#define DEPTH 4 /* IP headers within each other, at most */

static void put(struct random_packet *p, uint64_t value, unsigned size)
{
    for (unsigned i = size; i-- > 0;)
        if (p->len < RANDOM_PACKET_MAX)
            p->bytes[p->len++] = (uint8_t)(value >> 8 * i);
}

static uint32_t any(struct random_packet *p, uint32_t n) { return rng_below(p->rng, n); }

/* `value`, or now and then anything. */
static void put_mostly(struct random_packet *p, uint64_t value, unsigned size)
{
    put(p, rng_percent(p->rng, 3) ? rng_next(p->rng) : value, size);
}

static void put_anything(struct random_packet *p, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        put(p, any(p, 256), 1);
}

static void put_ip(struct random_packet *p, unsigned version, unsigned depth);
static void put_frame(struct random_packet *p, unsigned depth);

static unsigned any_version(struct random_packet *p) { return any(p, 2) ? 4 : 6; }

/* ---- Tunnels --------------------------------------------------------------------------------------------------------------- */

static uint32_t any_payload(struct random_packet *p)
{
    static const uint32_t type[] = {0x0800, 0x0800, 0x86dd, 0x86dd, 0x6558, 0x6558, 0x88be};
    return type[any(p, 7)];
}

static void put_payload(struct random_packet *p, uint32_t type, unsigned depth)
{
    if (type == 0x6558)
        put_frame(p, depth);
    else if (type == 0x86dd)
        put_ip(p, 6, depth);
    else
        put_ip(p, 4, depth);
}

static void put_mpls(struct random_packet *p, unsigned version, unsigned depth);

/* ERSPAN of type III with any of the frame types, most often those that are read. */
static void put_erspan_3(struct random_packet *p, unsigned depth)
{
    uint32_t type = any(p, 4) ? any(p, 2) * 2 : any(p, 32), platform = any(p, 2);
    put_mostly(p, 2, 1);
    p->bytes[p->len - 1] = (uint8_t)(p->bytes[p->len - 1] << 4 | any(p, 16));
    put_anything(p, 9);
    put(p, type << 10 | (any(p, 0x10000) & 0x83fe) | platform, 2);
    put_anything(p, 8 * platform);
    if (type == 2)
        put_ip(p, any_version(p), depth);
    else
        put_frame(p, depth);
}

/* What GRE alone carries: labels, redirected packets, mirrored frames. */
static void put_gre_payload(struct random_packet *p, uint32_t type, uint32_t flags, unsigned depth)
{
    switch (type) {
    case 0x8847:
    case 0x8848:
        put_mpls(p, any_version(p), depth);
        break;
    case 0x883e:
        if (any(p, 2))
            put(p, any(p, 4) << 30 | any(p, 0x1000000), 4);
        put_ip(p, any_version(p), depth);
        break;
    case 0x88be:
        if (flags & 0x1000) {
            put_mostly(p, 0x10 | any(p, 16), 1);
            put_anything(p, 7);
        }
        put_frame(p, depth);
        break;
    case 0x22eb:
        put_erspan_3(p, depth);
        break;
    default:
        put_payload(p, type, depth);
    }
}

static void put_gre(struct random_packet *p, unsigned depth)
{
    static const uint32_t other[] = {0x8847, 0x8848, 0x883e, 0x88be, 0x22eb};
    uint32_t flags = any(p, 8) << 12 & 0xb000, type = any(p, 3) ? any_payload(p) : other[any(p, 5)];
    if (any(p, 2))
        flags |= any(p, 2) << 15 | any(p, 2) << 13; /* checksum, key */
    if (any(p, 12) == 0)
        flags |= any(p, 2) ? 0x4000 : 1; /* routing, version 1 */
    put_mostly(p, flags, 2);
    put(p, type, 2);
    put_anything(p, 4 * (!!(flags & 0x8000) + !!(flags & 0x2000) + !!(flags & 0x1000)));
    put_gre_payload(p, type, flags, depth);
}

static void put_vxlan_gpe(struct random_packet *p, unsigned depth)
{
    uint32_t next = 1 + any(p, 4), valid = any(p, 5) != 0;
    put_mostly(p, 0x08 | valid << 2, 1);
    put_anything(p, 2);
    put(p, next, 1);
    put_anything(p, 4);
    put_payload(p, !valid || next == 3 ? 0x6558 : next == 2 ? 0x86dd : 0x0800, depth);
}

static void put_geneve(struct random_packet *p, unsigned depth)
{
    uint32_t words = any(p, 3) ? 0 : any(p, 10), type = any_payload(p);
    put_mostly(p, words, 1);
    put_anything(p, 1);
    put(p, type, 2);
    put_anything(p, 4 + 4 * words);
    put_payload(p, type, depth);
}

static void put_gtpu(struct random_packet *p, unsigned depth)
{
    uint32_t options = any(p, 8);
    put_mostly(p, 0x30 | options, 1);
    put_mostly(p, 255, 1);
    put_anything(p, 6);
    if (options) {
        uint32_t next = any(p, 2) * 0x85;
        put_anything(p, 3);
        put(p, next, 1);
        while (options & 4 && next) {
            uint32_t words = 1 + any(p, 2);
            next = any(p, 2) * 0xc0;
            put_mostly(p, words, 1);
            put_anything(p, 4 * words - 2);
            put(p, next, 1);
        }
    }
    if (any(p, 4))
        put_ip(p, any_version(p), depth);
    else /* an Ethernet session */
        put_frame(p, depth);
}

static void put_transport(struct random_packet *p, unsigned version, uint8_t protocol, unsigned depth);

/* Variant 0 with any protocol, or variant 1. */
static void put_gue(struct random_packet *p, unsigned depth)
{
    static const uint8_t protocol[] = {4, 4, 41, 41, 47, 47, 6, 17, 33, 132, 136, 1, 58, 44, 50, 59};
    uint32_t words = any(p, 3) ? 0 : any(p, 8), next = any(p, 20) ? protocol[any(p, sizeof(protocol))] : any(p, 256);
    unsigned version = any_version(p);
    if (any(p, 4) == 0) {
        put_ip(p, version, depth);
        return;
    }
    put_mostly(p, words | (any(p, 20) ? 0 : any(p, 8) << 5), 1);
    put(p, next, 1);
    put_anything(p, 2 + 4 * words);
    put_transport(p, version, (uint8_t)next, depth);
}

static void put_udp_tunnel(struct random_packet *p, unsigned depth)
{
    enum parse_port port = (enum parse_port)any(p, PARSE_N_PORTS);
    put_anything(p, 2);
    put(p, p->rules->port[port], 2);
    put_anything(p, 4);
    switch (port) {
    case PARSE_PORT_VXLAN:
    case PARSE_PORT_VXLAN_LINUX:
        put_mostly(p, 0x08, 1);
        put_anything(p, 7);
        put_frame(p, depth);
        break;
    case PARSE_PORT_VXLAN_GPE:
        put_vxlan_gpe(p, depth);
        break;
    case PARSE_PORT_GENEVE:
        put_geneve(p, depth);
        break;
    case PARSE_PORT_GTPU:
        put_gtpu(p, depth);
        break;
    case PARSE_PORT_GUE:
        put_gue(p, depth);
        break;
    case PARSE_PORT_MPLS_UDP:
        put_mpls(p, any_version(p), depth);
        break;
    case PARSE_PORT_GRE_UDP:
        put_gre(p, depth);
        break;
    case PARSE_N_PORTS:
        break;
    }
}

/* ---- Transport and IP ------------------------------------------------------------------------------------------------------ */

static uint8_t any_protocol(struct random_packet *p, unsigned version)
{
    static const uint8_t common[] = {6, 6, 17, 17, 17, 47, 47, 4, 41, 33, 132, 136, 50, 51, 89, 59};
    if (any(p, 5) == 0)
        return version == 4 ? 1 : 58;
    return any(p, 40) ? common[any(p, sizeof(common))] : (uint8_t)any(p, 256);
}

/* Up to the packet that is quoted. */
static void put_redirect_options(struct random_packet *p)
{
    put_anything(p, 32);
    while (any(p, 2)) {
        uint32_t units = 1 + any(p, 2);
        put_mostly(p, any(p, 2) ? 2 : 5, 1);
        put_mostly(p, units, 1);
        put_anything(p, 8 * units - 2);
    }
    put_mostly(p, 4, 1);
    put_mostly(p, any(p, 2) ? 200 : 1 + any(p, 16), 1);
    put_anything(p, 6);
}

static void put_transport(struct random_packet *p, unsigned version, uint8_t protocol, unsigned depth)
{
    static const uint8_t errors_v4[] = {3, 4, 5, 11, 12}, errors_v6[] = {1, 2, 3, 4, 137};
    uint8_t type;
    switch (protocol) {
    case 1:
    case 58:
        type = version == 4 ? errors_v4[any(p, 5)] : errors_v6[any(p, 5)];
        put_mostly(p, type, 1);
        put_anything(p, 7);
        if (type == 137)
            put_redirect_options(p);
        put_ip(p, version, depth);
        break;
    case 4:
        put_ip(p, 4, depth);
        break;
    case 41:
        put_ip(p, 6, depth);
        break;
    case 47:
        put_gre(p, depth);
        break;
    case 17:
        if (any(p, 3)) {
            put_udp_tunnel(p, depth);
            break;
        }
        /* fall through */
    default:
        put_anything(p, 8 + any(p, 16));
        break;
    }
}

static void put_ipv4(struct random_packet *p, unsigned depth)
{
    uint8_t protocol = any_protocol(p, 4);
    uint32_t words = any(p, 4) ? 0 : any(p, 11), fragment = any(p, 4) ? 0 : any(p, 2) ? 0x2000 : any(p, 0x4000);
    put_mostly(p, 0x45 + words, 1);
    put_anything(p, 5);
    put(p, fragment | any(p, 4) << 14, 2);
    put_anything(p, 1);
    put(p, protocol, 1);
    put_anything(p, 6);
    put_mostly(p, any(p, 10) ? 0x0a000001 : any(p, 2) ? 0xe0000005 : 0xffffffff, 4);
    put_anything(p, 4 * words);
    put_transport(p, 4, protocol, depth);
}

/* A routing header after its first byte. */
static void put_routing(struct random_packet *p)
{
    static const uint8_t type[] = {0, 2, 3, 4, 4, 5};
    uint8_t is = type[any(p, 6)];
    uint32_t units = is == 2 || any(p, 2) ? 2 : is == 3 ? any(p, 5) : 2 * any(p, 4) + any(p, 8) / 7;
    put_mostly(p, units, 1);
    put(p, is, 1);
    put_mostly(p, any(p, 3) ? 1 : any(p, 4), 1);
    if (is == 4)
        put_mostly(p, any(p, 4) ? units / 2 - 1 : any(p, 3), 1);
    else
        put_mostly(p, any(p, 3) * 0x44 + any(p, 2) * 4, 1);
    put_mostly(p, any(p, 3) * 0x20, 1);
    put_anything(p, 2);
    for (uint32_t i = 0; i < units; i++) {
        put_mostly(p, any(p, 8) ? 0xfe : 0xff, 1);
        put_anything(p, 7);
    }
}

static void put_ipv6(struct random_packet *p, unsigned depth)
{
    static const uint8_t extension[] = {0, 43, 44, 44, 51, 60, 135};
    uint8_t protocol = any_protocol(p, 6), next = any(p, 2) ? protocol : extension[any(p, sizeof(extension))];
    put_mostly(p, 0x60, 1);
    put_anything(p, 5);
    put(p, next, 1);
    put_anything(p, 1);
    put_mostly(p, any(p, 3) ? 0x20 : 0xfd, 1);
    put_anything(p, 15);
    put_mostly(p, any(p, 10) ? 0xfe : 0xff, 1);
    put_anything(p, 15);
    while (next != protocol && p->len < RANDOM_PACKET_MAX) {
        uint8_t is = next;
        uint32_t units = any(p, 3) ? 0 : any(p, 4);
        next = any(p, 2) ? protocol : any(p, 12) ? extension[any(p, sizeof(extension))] : 59;
        put(p, next, 1);
        if (is == 43) {
            put_routing(p);
        } else if (is == 44) {
            put_anything(p, 1);
            put(p, any(p, 3) == 0 ? 0 : any(p, 3) ? 1 : any(p, 0x10000), 2);
            put_anything(p, 4);
        } else {
            put_mostly(p, units, 1);
            put_anything(p, 6 + units * (is == 51 ? 4 : 8));
        }
    }
    put_transport(p, 6, protocol, depth);
}

static void set16(struct random_packet *p, uint32_t at, uint32_t value)
{
    if (at + 2 <= p->len) {
        p->bytes[at] = (uint8_t)(value >> 8);
        p->bytes[at + 1] = (uint8_t)value;
    }
}

/* Lengths and checksums mostly are right. */
static void finish_ip(struct random_packet *p, unsigned version, uint32_t at)
{
    uint32_t bytes = p->len - at, sum = 0;
    if (any(p, 8) == 0 || bytes < 40)
        return;
    if (version == 6) {
        set16(p, at + 4, bytes - 40 + (any(p, 8) ? 0 : any(p, 16)));
        return;
    }
    set16(p, at + 2, any(p, 8) ? bytes : any(p, 64));
    set16(p, at + 10, 0);
    for (uint32_t i = 0; i < 4 * (p->bytes[at] & 15u) && i + 1 < bytes; i += 2)
        sum += (uint32_t)p->bytes[at + i] << 8 | p->bytes[at + i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    set16(p, at + 10, ~(sum + (sum >> 16)));
}

static void put_ip(struct random_packet *p, unsigned version, unsigned depth)
{
    uint32_t at = p->len;
    if (depth == DEPTH)
        put_anything(p, any(p, 40));
    else if (version == 4)
        put_ipv4(p, depth + 1);
    else
        put_ipv6(p, depth + 1);
    if (depth < DEPTH)
        finish_ip(p, version, at);
}

/* ---- Link ------------------------------------------------------------------------------------------------------------------ */

/* A label stack, and IP, or a pseudowire with or without its control word. */
static void put_mpls(struct random_packet *p, unsigned version, unsigned depth)
{
    for (uint32_t last = 0; !last;) {
        last = any(p, 3) != 0;
        put_anything(p, 2);
        put(p, (any(p, 256) & 0xfe) | last, 1);
        put_anything(p, 1);
    }
    switch (any(p, 6)) {
    case 0:
        put_anything(p, any(p, 60));
        break;
    case 1:
        put_mostly(p, any(p, 0x10000), 4);
        put_frame(p, depth);
        break;
    case 2:
        put_frame(p, depth);
        break;
    default:
        put_ip(p, version, depth);
    }
}

static void put_frame(struct random_packet *p, unsigned depth)
{
    static const uint16_t tag[] = {0x8100, 0x88a8, 0x9100, 0x9200, 0x9300};
    static const uint64_t to[] = {0x525400000001, 0x525400000001, 0x33330000fb01, 0x03bf0a000001, 0xffffffffffff};
    unsigned version = any_version(p), n_tags = any(p, 3) ? 0 : any(p, 6);
    uint32_t type = version == 4 ? 0x0800 : 0x86dd;
    put(p, any(p, 12) == 0 ? 0x600000000000 | rng_next(p->rng) >> 20 : to[any(p, 5)], 6);
    put_anything(p, 6);
    while (n_tags-- > 0) {
        put(p, any(p, 6) ? tag[any(p, 5)] : p->rules->vlan_tpid, 2);
        put_mostly(p, any(p, 4) ? any(p, 0x10000) : any(p, 16) << 12, 2);
    }
    switch (any(p, 12)) {
    case 0: /* 802.3, SNAP */
        put(p, any(p, 0x600), 2);
        put_mostly(p, 0xaaaa03000000, 6);
        put_mostly(p, type, 2);
        break;
    case 1: /* 802.3, access point 6 */
        put(p, any(p, 0x600), 2);
        put_mostly(p, 0x060603, 3);
        break;
    case 2:
        put(p, 0x8847 + any(p, 2), 2);
        put_mpls(p, version, depth);
        return;
    case 3:
        put(p, 0x8864, 2);
        put_mostly(p, 0x1100, 2);
        put_anything(p, 4);
        put_mostly(p, version == 4 ? 0x0021 : 0x0057, 1 + any(p, 2));
        break;
    default:
        put_mostly(p, type, 2);
        break;
    }
    put_ip(p, version, depth);
}

/* ---- The packet ------------------------------------------------------------------------------------------------------------ */

void random_rules(struct rng *rng, struct parse_rules *rules)
{
    *rules = parse_rules_default();
    rules->key_vlan = rng_percent(rng, 50);
    rules->key_vni = rng_percent(rng, 50);
    rules->vlan_tpid = (uint16_t)(rng_percent(rng, 50)   ? 0x9999
                                  : rng_percent(rng, 50) ? 0
                                  : rng_percent(rng, 50) ? 0x0800
                                                         : 0x8847);
    switch (rng_below(rng, 4)) {
    case 0:
        break;
    case 1:
        rules->tunnels = 0;
        break;
    default:
        rules->tunnels = (uint32_t)rng_next(rng) % (FLOWQ_TUNNEL_ERSPAN * 2u);
        break;
    }
    for (unsigned i = 0; i < PARSE_N_PORTS; i++)
        if (rng_percent(rng, 10))
            rules->port[i] = (uint16_t)(rng_percent(rng, 50) ? rules->port[rng_below(rng, PARSE_N_PORTS)] : rng_below(rng, 3));
    rules->udp_filter = parse_rules_filter(rules);
}

void random_packet(struct random_packet *p, struct rng *rng, const struct parse_rules *rules)
{
    p->rng = rng;
    p->rules = rules;
    p->len = 0;
    p->flags = any(p, 4) == 0 ? FLOWQ_PKT_L3 : any(p, 100) == 0 ? any(p, 4) : 0;
    if (p->flags == FLOWQ_PKT_L3)
        put_ip(p, any_version(p), 0);
    else
        put_frame(p, 0);
    if (any(p, 3) == 0)
        p->len = any(p, p->len + 1);
    for (uint32_t n = any(p, 3) ? 0 : any(p, 4); n > 0 && p->len > 0; n--)
        p->bytes[any(p, p->len)] = (uint8_t)any(p, 256);
}
