/*
 * rss_parse: see rss_parse.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "rss_parse.h"

#include "parse_walk.h"

/* ---- What follows the addresses -------------------------------------------------------------------------------------------- */

static void rss_finish(struct walk *w, const struct rss_fields *f) { *w->fields = *f; }

/* The ports of a TCP or UDP header, if they are there. */
static bool rss_read_ports(struct cursor *at, struct rss_fields *f, uint8_t ports_of)
{
    const uint8_t *ports;
    if (!cursor_take(at, sizeof(f->port), &ports))
        return false;
    cursor_copy(f->port, ports, sizeof(f->port));
    f->ports_of = ports_of;
    return true;
}

/* A tunnel's functions come back here with fields if an inner IP packet could be read; that one counts alone then. What the
   parser makes of the packet otherwise, nobody looks at. */
static void rss_read_transport(struct walk *w, struct cursor at, struct rss_fields *f, uint8_t protocol)
{
    const struct ip_header ip = {.version = f->version, .protocol = protocol};
    uint32_t ports;
    switch (protocol) {
    case PROTO_IPV4:
    case PROTO_IPV6:
        tunnel_ip(w, at, ip);
        break;
    case PROTO_GRE:
        tunnel_gre(w, at, ip);
        break;
    case PROTO_TCP:
        rss_read_ports(&at, f, RSS_TCP);
        break;
    case PROTO_UDP:
        if (!rss_read_ports(&at, f, RSS_UDP))
            break;
        memcpy(&ports, f->port, sizeof(ports));
        if (tunnel_udp_likely(w, ports))
            tunnel_udp(w, at, ip, ports);
        break;
    }
    if (w->fields->version == 0)
        rss_finish(w, f);
}

/* ---- IPv6 extension headers ------------------------------------------------------------------------------------------------ */

#define RSS_OPTION_PAD1         0
#define RSS_OPTION_HOME_ADDRESS 0xc9 /* RFC 6275 */

/* An address; false if there is none. */
static bool rss_read_address(struct cursor *at, uint8_t address[16])
{
    const uint8_t *there;
    if (!cursor_take(at, 16, &there))
        return false;
    cursor_copy(address, there, 16);
    return true;
}

/* Destination options, after the header's first two bytes. */
static void rss_find_home_address(struct cursor at, struct rss_fields *f, bool *found)
{
    const uint8_t *h;
    while (!*found && cursor_take(&at, 1, &h)) {
        size_t type = cursor_u8(h), length;
        if (type == RSS_OPTION_PAD1)
            continue;
        if (!cursor_take(&at, 1, &h))
            return;
        length = cursor_u8(h);
        if (type == RSS_OPTION_HOME_ADDRESS && length == 16) {
            *found = rss_read_address(&at, f->mobile_address[0]);
            return;
        }
        if (!cursor_skip(&at, length))
            return;
    }
}

/* Routing header of type 2 (RFC 6275), after its first two bytes: one address, and one segment left. */
static bool rss_routing_header(struct cursor *at, size_t bytes, struct rss_fields *f, bool *found)
{
    const uint8_t *h;
    if (bytes != 22)
        return cursor_skip(at, bytes);
    if (!cursor_take(at, 6, &h))
        return false;
    if (cursor_u8(h) != 2 || cursor_u8(h + 1) != 1 || *found)
        return cursor_skip(at, 16);
    *found = rss_read_address(at, f->mobile_address[1]);
    return *found;
}

#define IPV6_FRAGMENTED 0xfff9u /* offset and more fragments: all zero in a packet that is whole */

/* Passes over one extension header and says what follows it; false if there is nothing to go on with. */
struct rss_seen {
    bool home, routing, fragment;
};
static bool rss_extension(struct cursor *at, uint8_t *protocol, struct rss_fields *f, struct rss_seen *seen)
{
    const uint8_t *h, *fragment;
    if (!cursor_take(at, 2, &h))
        return false;
    size_t next = cursor_u8(h), length = cursor_u8(h + 1);
    size_t bytes = *protocol == PROTO_AH ? 4 * length + 6 : 8 * length + 6; /* beyond the two taken */
    bool ok;
    switch (*protocol) {
    case PROTO_FRAGMENT:
        ok = !seen->fragment && cursor_take(at, 6, &fragment) && !(cursor_be16(fragment) & IPV6_FRAGMENTED);
        seen->fragment = true;
        break;
    case PROTO_DEST_OPTIONS:
        rss_find_home_address((struct cursor){at->at, at->left < bytes ? at->left : bytes}, f, &seen->home);
        ok = cursor_skip(at, bytes);
        break;
    case PROTO_ROUTING:
        ok = rss_routing_header(at, bytes, f, &seen->routing);
        break;
    default:
        ok = cursor_skip(at, bytes);
    }
    *protocol = (uint8_t)next;
    return ok;
}

static void rss_extensions(struct walk *w, struct cursor at, struct rss_fields *f, uint8_t protocol)
{
    struct rss_seen seen = {false, false, false};
    for (;;) {
        switch (protocol) {
        case PROTO_HOP_BY_HOP:
        case PROTO_ROUTING:
        case PROTO_FRAGMENT:
        case PROTO_AH:
        case PROTO_DEST_OPTIONS:
        case PROTO_MOBILITY:
            f->extended = true;
            if (rss_extension(&at, &protocol, f, &seen))
                break;
            rss_finish(w, f);
            return;
        default:
            rss_read_transport(w, at, f, protocol);
            return;
        }
    }
}

/* ---- IP -------------------------------------------------------------------------------------------------------------------- */

#define IPV4_FRAGMENTED 0x3fffu /* more fragments, and the offset */

static void rss_read_ipv4(struct walk *w, struct cursor at, const uint8_t *h, size_t first)
{
    struct rss_fields f = {.version = 4};
    size_t header_bytes = 4 * (first & 0x0f);
    if (header_bytes < IP_MIN_BYTES)
        return;
    cursor_copy(f.address[0], h + 12, 4);
    cursor_copy(f.address[1], h + 16, 4);
    if (cursor_be16(h + 6) & IPV4_FRAGMENTED || !cursor_skip(&at, header_bytes - IP_MIN_BYTES))
        rss_finish(w, &f);
    else
        rss_read_transport(w, at, &f, (uint8_t)cursor_u8(h + 9));
}

static void rss_read_ipv6(struct walk *w, struct cursor at, const uint8_t *h)
{
    struct rss_fields f = {.version = 6};
    if (!cursor_skip(&at, IP_MIN_BYTES))
        return;
    cursor_copy(f.address[0], h + 8, 16);
    cursor_copy(f.address[1], h + 24, 16);
    memcpy(f.mobile_address, f.address, sizeof(f.address));
    rss_extensions(w, at, &f, (uint8_t)cursor_u8(h + 6));
}

void rss_ip(struct walk *w, struct cursor at, unsigned version)
{
    const uint8_t *h;
    if (!cursor_take(&at, IP_MIN_BYTES, &h))
        return;
    size_t first = cursor_u8(h);
    if (version != 0 && first >> 4 != version)
        return;
    if (first >> 4 == 4)
        rss_read_ipv4(w, at, h, first);
    else if (first >> 4 == 6)
        rss_read_ipv6(w, at, h);
}

void rss_parse(const struct flowq_pkt *pkt, const struct parse_rules *rules, struct rss_fields *out)
{
    struct cursor at = {pkt->data, pkt->len < PARSE_MAX_BYTES ? pkt->len : PARSE_MAX_BYTES};
    struct parse_result unused;
    struct walk w;
    w.rules = rules;
    w.out = &unused;
    w.key = &unused.key;
    w.fields = out;
    w.vlans = w.vni = 0;
    w.n_more = UINT32_MAX;
    w.in_tunnel = w.in_quote = w.has_spare = w.copied = false;
    memset(&unused, 0, sizeof(unused)); /* tunnels keep a key there, which nobody looks at */
    memset(out, 0, sizeof(*out));
    if (pkt->flags == FLOWQ_PKT_L3)
        ip_packet(&w, at, 0);
    else if (pkt->flags == 0)
        link_ethernet(&w, at);
}
