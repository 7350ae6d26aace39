/*
 * parse_tunnel: tunnels that end in the VM; packets of these are keyed on the inner flow alone (rule S4).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "parse_walk.h"

/*
 * Enters a tunnel that is no UDP tunnel: should the inner packet not be readable, the outer addresses and protocol count. Except
 * in a quote: the VM's packet may have been readable where only its first bytes are quoted, so the quote says nothing then.
 */
static void enter_tunnel(struct walk *w, struct ip outer)
{
    if (!w->in_quote)
        walk_keep_spare(w, outer);
    w->in_tunnel = true;
}

/* The payload of a tunnel that names it by ethertype: false if it is nothing to look into. */
static bool payload_known(unsigned ethertype)
{
    return ethertype == ETHERTYPE_IPV4 || ethertype == ETHERTYPE_IPV6 || ethertype == ETHERTYPE_TEB;
}

static void payload(struct walk *w, struct cursor at, unsigned ethertype)
{
    if (ethertype == ETHERTYPE_TEB)
        link_ethernet(w, at);
    else if (ethertype == ETHERTYPE_IPV4)
        ip_packet(w, at, 4);
    else if (ethertype == ETHERTYPE_IPV6)
        ip_packet(w, at, 6);
}

/* GRE's first four bytes. */
#define GRE_CHECKSUM 0x8000u
#define GRE_ROUTING 0x4000u /* RFC 1701's source routes: not looked into */
#define GRE_KEY 0x2000u
#define GRE_SEQUENCE 0x1000u
#define GRE_VERSION 0x0007u /* 1 is PPTP: not looked into */
struct gre {
    unsigned flags, ethertype;
};

/* Takes the start of a GRE header; false if it cannot be read. */
static bool take_gre(struct cursor *at, struct gre *gre)
{
    const uint8_t *h;
    if (!take(at, 4, &h))
        return false;
    gre->flags = read_be16(h);
    gre->ethertype = read_be16(h + 2);
    return true;
}

static bool gre_known(const struct gre *gre)
{
    return !(gre->flags & (GRE_ROUTING | GRE_VERSION)) && payload_known(gre->ethertype);
}

static bool skip_gre_options(struct cursor *at, unsigned flags)
{
    return skip(at, 4 * (size_t)(!!(flags & GRE_CHECKSUM) + !!(flags & GRE_KEY) + !!(flags & GRE_SEQUENCE)));
}

/*
 * Which of the four kinds this is. Ethernet with a key is NVGRE, over IPv6 too. What carries or is carried by IPv6 is RFC 7676,
 * with or without options. The rest, Ethernet without a key included, goes by its options.
 */
static uint32_t gre_kind(const struct gre *gre, struct ip outer)
{
    if (gre->ethertype == ETHERTYPE_TEB && gre->flags & GRE_KEY)
        return FLOWQ_TUNNEL_NVGRE;
    if (gre->ethertype == ETHERTYPE_IPV6 || outer.version == 6)
        return FLOWQ_TUNNEL_GRE_7676;
    return gre->flags & (GRE_KEY | GRE_SEQUENCE) ? FLOWQ_TUNNEL_GRE_2890 : FLOWQ_TUNNEL_GRE_2784;
}

#define TUNNELS_GRE (FLOWQ_TUNNEL_GRE_2784 | FLOWQ_TUNNEL_GRE_2890 | FLOWQ_TUNNEL_GRE_7676 | FLOWQ_TUNNEL_NVGRE)

void tunnel_gre(struct walk *w, struct cursor at, struct ip outer)
{
    struct gre gre;
    if (w->in_tunnel || !(w->rules->tunnels & TUNNELS_GRE)) {
        walk_finish_portless(w, outer);
        return;
    }
    if (!take_gre(&at, &gre)) {
        enter_tunnel(w, outer); /* as much a tunnel as one that is cut later */
        return;
    }
    if (!gre_known(&gre) || !(w->rules->tunnels & gre_kind(&gre, outer))) {
        walk_finish_portless(w, outer);
        return;
    }
    enter_tunnel(w, outer);
    if (skip_gre_options(&at, gre.flags))
        payload(w, at, gre.ethertype);
}

static void gre_in_udp(struct walk *w, struct cursor at)
{
    struct gre gre;
    if (take_gre(&at, &gre) && gre_known(&gre) && skip_gre_options(&at, gre.flags))
        payload(w, at, gre.ethertype);
}

static uint32_t ip_kind(struct ip outer)
{
    if (outer.version == 4)
        return outer.protocol == PROTO_IPV4 ? FLOWQ_TUNNEL_IPIP : FLOWQ_TUNNEL_6IN4;
    return outer.protocol == PROTO_IPV4 ? FLOWQ_TUNNEL_4IN6 : FLOWQ_TUNNEL_6IN6;
}

bool tunnel_possible(const struct walk *w, struct ip ip)
{
    if (ip.protocol != PROTO_GRE && ip.protocol != PROTO_IPV4 && ip.protocol != PROTO_IPV6)
        return false;
    return !w->in_tunnel && w->rules->tunnels & (ip.protocol == PROTO_GRE ? TUNNELS_GRE : ip_kind(ip));
}

void tunnel_ip(struct walk *w, struct cursor at, struct ip outer)
{
    if (!tunnel_possible(w, outer)) {
        walk_finish_portless(w, outer);
        return;
    }
    enter_tunnel(w, outer);
    ip_packet(w, at, outer.protocol == PROTO_IPV4 ? 4 : 6);
}

#define VXLAN_VNI_VALID 0x08 /* RFC 7348's I flag: must be set */
#define VXLAN_GPE_VERSION 0x30
#define VXLAN_GPE_NEXT_VALID 0x04 /* P flag: without it the payload is Ethernet, as in plain VXLAN */
enum { VXLAN_GPE_IPV4 = 1, VXLAN_GPE_IPV6 = 2, VXLAN_GPE_ETHERNET = 3 };

static void vxlan(struct walk *w, struct cursor at)
{
    const uint8_t *h;
    if (take(&at, 8, &h) && read_u8(h) & VXLAN_VNI_VALID)
        link_ethernet(w, at);
}

static void vxlan_gpe(struct walk *w, struct cursor at)
{
    const uint8_t *h;
    if (!take(&at, 8, &h))
        return;
    size_t flags = read_u8(h);
    if (!(flags & VXLAN_VNI_VALID) || flags & VXLAN_GPE_VERSION)
        return;
    size_t next = flags & VXLAN_GPE_NEXT_VALID ? read_u8(h + 3) : VXLAN_GPE_ETHERNET;
    if (next == VXLAN_GPE_ETHERNET)
        link_ethernet(w, at);
    else if (next == VXLAN_GPE_IPV4)
        ip_packet(w, at, 4);
    else if (next == VXLAN_GPE_IPV6)
        ip_packet(w, at, 6);
}

#define GENEVE_VERSION 0xc0
#define GENEVE_OPTION_WORDS 0x3f

static void geneve(struct walk *w, struct cursor at)
{
    const uint8_t *h;
    if (!take(&at, 8, &h))
        return;
    size_t first = read_u8(h);
    if (!(first & GENEVE_VERSION) && skip(&at, 4 * (first & GENEVE_OPTION_WORDS)))
        payload(w, at, read_be16(h + 2));
}

/* The first byte of GTP-U: version 1, protocol type GTP; then which of the optional fields there are. */
#define GTPU_KIND_MASK 0xf0
#define GTPU_KIND 0x30
#define GTPU_EXTENSION 0x04 /* the field "next extension header" is valid */
#define GTPU_OPTIONAL 0x07  /* any of E, S, PN: then all their fields are there */
#define GTPU_G_PDU 255      /* the message type that carries a packet */

/* Each extension header: its length in words, contents, the type of the next one; type 0 ends the chain. */
static bool skip_gtpu_extensions(struct walk *w, struct cursor *at)
{
    const uint8_t *words, *rest;
    size_t bytes; /* of the rest: contents and the type; a header of no words is nonsense */
    do {
        if (!walk_pass(w) || !take(at, 1, &words))
            return false;
        bytes = 4 * read_u8(words) - 1;
        if (!take(at, bytes, &rest))
            return false;
    } while (read_u8(rest + bytes - 1) != 0);
    return true;
}

static void gtpu(struct walk *w, struct cursor at)
{
    const uint8_t *h, *optional; /* of optional: sequence number, N-PDU number, type of the first extension */
    if (!take(&at, 8, &h))
        return;
    size_t first = read_u8(h);
    if ((first & GTPU_KIND_MASK) != GTPU_KIND || read_u8(h + 1) != GTPU_G_PDU)
        return;
    if (first & GTPU_OPTIONAL) {
        if (!take(&at, 4, &optional))
            return;
        if (first & GTPU_EXTENSION && read_u8(optional + 3) != 0 && !skip_gtpu_extensions(w, &at))
            return;
    }
    link_guess(w, at);
}

static const struct udp_tunnel {
    uint32_t bit;
    void (*enter)(struct walk *w, struct cursor at);
} udp_tunnel[PARSE_N_PORTS] = {
    [PARSE_PORT_VXLAN] = {FLOWQ_TUNNEL_VXLAN, vxlan},
    [PARSE_PORT_VXLAN_LINUX] = {FLOWQ_TUNNEL_VXLAN, vxlan},
    [PARSE_PORT_VXLAN_GPE] = {FLOWQ_TUNNEL_VXLAN_GPE, vxlan_gpe},
    [PARSE_PORT_GENEVE] = {FLOWQ_TUNNEL_GENEVE, geneve},
    [PARSE_PORT_GTPU] = {FLOWQ_TUNNEL_GTPU, gtpu},
    [PARSE_PORT_GRE_UDP] = {FLOWQ_TUNNEL_GRE_UDP, gre_in_udp},
};

static const struct udp_tunnel *find_udp_tunnel(const struct walk *w, uint16_t dport)
{
    const struct parse_rules *rules = w->rules;
    if (dport == 0 || w->in_tunnel) /* 0 is the port of tunnels that have none */
        return NULL;
    for (unsigned i = 0; i < PARSE_N_PORTS; i++)
        if (rules->port[i] == dport && rules->tunnels & udp_tunnel[i].bit)
            return &udp_tunnel[i];
    return NULL;
}

/* Should the inner packet not be readable, there is no key: the outer source port is entropy and never comes back. */
void tunnel_udp(struct walk *w, struct cursor at, struct ip outer, uint32_t ports)
{
    const struct udp_tunnel *tunnel = find_udp_tunnel(w, (uint16_t)be32toh(ports));
    if (!tunnel) {
        walk_finish(w, outer, ports, PARSE_FLOW);
        return;
    }
    w->in_tunnel = true;
    if (skip(&at, 4)) /* length and checksum */
        tunnel->enter(w, at);
}
