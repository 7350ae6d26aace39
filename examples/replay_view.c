/*
 * The view that flowq-replay takes of a packet: whose flow is it, and what would a NIC's hash see?
 *
 * A parser of its own, so that the library is not its own judge. It reads what real captures are mostly made of (VLAN, PPPoE and
 * MPLS in front of IP; extension headers; fragments; ICMP errors; the common tunnels, one level) and says VIEW_UNKNOWN for the
 * rest.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "replay.h"

#include <netinet/in.h>
#include <string.h>

/* What is left of the packet. Reading past the end gives zeros and is remembered: one look at `ok` at the end is enough. */
struct cursor {
    const uint8_t *at;
    size_t left;
    bool ok;
};

enum {
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_IPV6 = 0x86dd,
    ETHERTYPE_TEB = 0x6558,
    ETHERTYPE_MPLS = 0x8847,
    ETHERTYPE_PPPOE = 0x8864
};
enum {
    PORT_GTPU = 2152,
    PORT_GRE_UDP = 4754,
    PORT_VXLAN = 4789,
    PORT_VXLAN_GPE = 4790,
    PORT_GUE = 6080,
    PORT_GENEVE = 6081,
    PORT_MPLS = 6635,
    PORT_VXLAN_LINUX = 8472
};

/* What the library looks for in GRE, and is not read here. */
enum { GRE_ERSPAN_3 = 0x22eb, GRE_WCCP = 0x883e, GRE_MPLS_UPSTREAM = 0x8848, GRE_ERSPAN_2 = 0x88be };
enum depth { OUTSIDE, IN_TUNNEL, IN_QUOTE };

#define MAX_HEADERS 16 /* extension headers or labels in a row */

static void ip(struct cursor c, enum depth depth, struct view *view);
static void ethernet(struct cursor c, enum depth depth, struct view *view);

/* ---- Reading ---- */

static const uint8_t *take(struct cursor *c, size_t n)
{
    static const uint8_t zeros[64];
    const uint8_t *at = c->at;

    if (n > c->left || !c->ok) {
        c->ok = false;
        c->left = 0;
        return zeros; /* nobody takes more than 64 bytes and looks at them */
    }
    c->at += n;
    c->left -= n;
    return at;
}

static uint32_t take8(struct cursor *c) { return take(c, 1)[0]; }

static uint32_t take16(struct cursor *c)
{
    const uint8_t *p = take(c, 2);
    return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t take32(struct cursor *c)
{
    uint32_t high = take16(c);
    return high << 16 | take16(c);
}

/* ---- Tunnels ---- */

/* What an ethertype says comes next. */
static void payload(struct cursor c, uint32_t type, struct view *view)
{
    if (type == ETHERTYPE_TEB)
        ethernet(c, IN_TUNNEL, view);
    else if (type == ETHERTYPE_IPV4 || type == ETHERTYPE_IPV6)
        ip(c, IN_TUNNEL, view);
}

/* False: it carries nothing that anybody looks for, so that it is a flow between its own addresses. */
static bool gre(struct cursor c, struct view *view)
{
    uint32_t flags = take16(&c), type = take16(&c);

    if ((flags & 7) != 0) /* version 1 is PPTP's */
        return false;
    if (type == ETHERTYPE_MPLS || type == GRE_MPLS_UPSTREAM || type == GRE_WCCP || type == GRE_ERSPAN_2 || type == GRE_ERSPAN_3)
        return true;
    for (uint32_t bit = 0x8000; bit >= 0x1000; bit >>= 1) /* checksum, (RFC 1701's routing, never seen), key, sequence number */
        take(&c, (flags & bit) != 0 ? 4 : 0);
    payload(c, type, view);
    return view->kind != VIEW_UNKNOWN;
}

static void vxlan(struct cursor c, bool generic, struct view *view)
{
    static const uint16_t protocols[] = {0, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_TEB};
    const uint8_t *header = take(&c, 8);
    bool names_protocol = generic && (header[0] & 4) != 0;

    if (!names_protocol)
        payload(c, ETHERTYPE_TEB, view);
    else if (header[3] < 4)
        payload(c, protocols[header[3]], view);
}

static void geneve(struct cursor c, struct view *view)
{
    uint32_t length = take8(&c) & 0x3f;

    take(&c, 1);
    uint32_t type = take16(&c);
    take(&c, 4);
    take(&c, length * 4);
    payload(c, type, view);
}

static void gtpu(struct cursor c, struct view *view)
{
    uint32_t flags = take8(&c), message = take8(&c), next = 0;

    if (flags >> 4 != 3 || message != 255) /* version 1, user data */
        return;
    take(&c, 6);
    if ((flags & 7) != 0) {
        take(&c, 3);
        next = take8(&c);
    }
    for (int i = 0; (flags & 4) != 0 && next != 0 && i < MAX_HEADERS; i++) {
        uint32_t length = take8(&c) * 4;
        if (length < 4)
            return;
        take(&c, length - 2);
        next = take8(&c);
    }
    if (c.ok)
        ip(c, IN_TUNNEL, view);
}

/* Reads what a UDP tunnel carries; false: no such tunnel. */
static bool udp_tunnel(struct cursor c, uint16_t port, struct view *view)
{
    switch (port) {
    case PORT_VXLAN:
    case PORT_VXLAN_LINUX:
        vxlan(c, false, view);
        return true;
    case PORT_VXLAN_GPE:
        vxlan(c, true, view);
        return true;
    case PORT_GENEVE:
        geneve(c, view);
        return true;
    case PORT_GTPU:
        gtpu(c, view);
        return true;
    case PORT_GRE_UDP:
        (void)gre(c, view);
        return true;
    case PORT_GUE: /* not read here */
    case PORT_MPLS:
        return true;
    default:
        return false;
    }
}

/* ---- What IP carries ---- */

static bool has_ports(uint8_t protocol)
{
    return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE || protocol == IPPROTO_SCTP ||
           protocol == IPPROTO_DCCP;
}

static bool icmp_error(uint8_t protocol, uint32_t type)
{
    if (protocol == IPPROTO_ICMP)
        return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
    return protocol == IPPROTO_ICMPV6 && type >= 1 && type <= 4;
}

static void flow_found(struct view *view, const struct tuple *tuple, enum depth depth)
{
    view->flow = *tuple;
    view->kind = depth == IN_QUOTE ? VIEW_QUOTE : VIEW_FLOW;
}

/* `tuple` has addresses and protocol; `c` stands behind the IP headers of a whole packet or a first fragment. */
static void transport(struct cursor c, struct tuple tuple, enum depth depth, struct view *view)
{
    bool outside = depth == OUTSIDE;

    if (outside && (tuple.protocol == IPPROTO_IPIP || tuple.protocol == IPPROTO_IPV6)) {
        ip(c, IN_TUNNEL, view);
        return;
    }
    if (outside && tuple.protocol == IPPROTO_GRE && gre(c, view))
        return;
    if (view->kind != VIEW_UNKNOWN)
        return;
    if (has_ports(tuple.protocol)) {
        tuple.sport = (uint16_t)take16(&c);
        tuple.dport = (uint16_t)take16(&c);
        if (!c.ok)
            return;
        if (outside && !view->fragment)
            view->outer = tuple;
        if (tuple.protocol == IPPROTO_UDP && depth != IN_TUNNEL) {
            take(&c, 4);
            /* A quote of a tunnel's packet, or a tunnel's packet that cannot be read: whose it is, nobody knows. */
            if (outside ? udp_tunnel(c, tuple.dport, view) : udp_tunnel((struct cursor){0}, tuple.dport, view))
                return;
        }
    } else if (tuple.protocol == IPPROTO_ICMP || tuple.protocol == IPPROTO_ICMPV6) {
        uint32_t type = take(&c, 8)[0];
        if (c.ok && icmp_error(tuple.protocol, type)) {
            if (depth != IN_QUOTE)
                ip(c, IN_QUOTE, view);
            return;
        }
    }
    flow_found(view, &tuple, depth);
}

/* A fragment: remembers of what. False: it is a later one, and there is nothing more to read. */
static bool fragment(uint32_t id, uint32_t offset, const struct tuple *tuple, enum depth depth, struct view *view)
{
    struct datagram datagram = {.id = id, .version = tuple->version, .protocol = tuple->version == 4 ? tuple->protocol : 0};

    memcpy(datagram.src, tuple->src, sizeof(datagram.src));
    memcpy(datagram.dst, tuple->dst, sizeof(datagram.dst));
    if (depth == OUTSIDE)
        view->fragment = true;
    if (depth == IN_QUOTE)
        return offset == 0;
    if (offset == 0) {
        if (view->n_first < 2)
            view->first[view->n_first++] = datagram;
        return true;
    }
    view->later = datagram;
    view->kind = VIEW_LATER;
    return false;
}

/* ---- IP ---- */

static void ip4(struct cursor c, enum depth depth, struct view *view)
{
    const uint8_t *h = take(&c, 20);
    struct tuple tuple = {.version = 4, .protocol = h[9]};
    size_t length = (size_t)(h[0] & 15) * 4;
    uint32_t id = (uint32_t)h[4] << 8 | h[5], offset = (uint32_t)h[6] << 8 | h[7];

    if (!c.ok || length < 20)
        return;
    memcpy(tuple.src, h + 12, 4);
    memcpy(tuple.dst, h + 16, 4);
    if (depth == OUTSIDE)
        view->outer = tuple;
    if (depth != IN_QUOTE && h[16] >= 224) /* class D, and the broadcast address */
        view->multicast = true;
    take(&c, length - 20);
    if ((offset & 0x3fff) != 0 && !fragment(id, offset & 0x1fff, &tuple, depth, view))
        return;
    if (c.ok)
        transport(c, tuple, depth, view);
}

/* Walks the extension headers up to one that is none, whose number it leaves in the tuple. False: nothing more to read. */
static bool extensions(struct cursor *c, struct tuple *tuple, enum depth depth, struct view *view)
{
    for (int i = 0; i < MAX_HEADERS && c->ok; i++) {
        uint8_t this = tuple->protocol;
        if (this != IPPROTO_HOPOPTS && this != IPPROTO_ROUTING && this != IPPROTO_DSTOPTS && this != IPPROTO_AH &&
            this != IPPROTO_FRAGMENT)
            return true;
        tuple->protocol = (uint8_t)take8(c);
        uint32_t length = take8(c);
        if (this != IPPROTO_FRAGMENT) {
            take(c, this == IPPROTO_AH ? length * 4 + 6 : length * 8 + 6);
            continue;
        }
        uint32_t offset = take16(c), id = take32(c);
        if (!c->ok)
            return false;
        bool whole = (offset & 0xfff9) == 0; /* neither offset nor more: an atomic fragment */
        if (!whole && !fragment(id, offset >> 3, tuple, depth, view))
            return false;
    }
    return false;
}

static void ip6(struct cursor c, enum depth depth, struct view *view)
{
    const uint8_t *h = take(&c, 40);
    struct tuple tuple = {.version = 6, .protocol = h[6]};

    if (!c.ok)
        return;
    memcpy(tuple.src, h + 8, 16);
    memcpy(tuple.dst, h + 24, 16);
    if (depth == OUTSIDE)
        view->outer = tuple;
    if (depth != IN_QUOTE && h[24] == 0xff)
        view->multicast = true;
    bool more = extensions(&c, &tuple, depth, view);
    if (depth == OUTSIDE)
        view->outer.protocol = tuple.protocol;
    if (more && c.ok)
        transport(c, tuple, depth, view);
}

static void ip(struct cursor c, enum depth depth, struct view *view)
{
    if (c.left == 0)
        return;
    if (c.at[0] >> 4 == 4)
        ip4(c, depth, view);
    else if (c.at[0] >> 4 == 6)
        ip6(c, depth, view);
}

/* ---- In front of IP ---- */

static void ethernet(struct cursor c, enum depth depth, struct view *view)
{
    const uint8_t *addresses = take(&c, 12);
    uint32_t type = take16(&c);

    if (!c.ok)
        return;
    if ((addresses[0] & 1) != 0)
        view->multicast = true;
    if (depth == OUTSIDE) {
        view->ethernet = true;
        memcpy(view->mac_dst, addresses, 6);
        memcpy(view->mac_src, addresses + 6, 6);
    }
    for (int i = 0; i < 4 && (type == 0x8100 || type == 0x88a8 || type == 0x9100); i++) {
        take(&c, 2);
        type = take16(&c);
    }
    if (type == ETHERTYPE_MPLS) {
        for (int i = 0; i < MAX_HEADERS && c.ok && (take32(&c) & 0x100) == 0; i++)
            continue;
    } else if (type == ETHERTYPE_PPPOE) {
        take(&c, 6);
        uint32_t protocol = take16(&c);
        if (protocol != 0x21 && protocol != 0x57)
            return;
    } else if (type != ETHERTYPE_IPV4 && type != ETHERTYPE_IPV6) {
        return;
    }
    if (c.ok)
        ip(c, depth, view);
}

void view_packet(const struct packet *packet, struct view *view)
{
    struct cursor c = {.at = packet->data, .left = packet->len, .ok = true};

    memset(view, 0, sizeof(*view));
    if ((packet->flags & FLOWQ_PKT_L3) != 0)
        ip(c, OUTSIDE, view);
    else
        ethernet(c, OUTSIDE, view);
}
