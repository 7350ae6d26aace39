/*
 * rss_parse: see rss_parse.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "rss_parse.h"

#include "parse_walk.h"

/* ---- What follows the addresses -------------------------------------------------------------------------------------------- */

static void finish(struct walk *w, const struct rss_fields *f) { *w->fields = *f; }

/* If a tunnel is entered, what is in it counts alone. */
static void read_tunnel(struct walk *w, const struct rss_fields *f, struct ip ip, void (*enter)(struct walk *w, struct ip ip))
{
    bool inside = w->in_tunnel;
    enter(w, ip);
    if (w->in_tunnel == inside)
        finish(w, f);
}

static void read_transport(struct walk *w, struct rss_fields *f, uint8_t protocol)
{
    struct ip ip = {.version = f->version, .protocol = protocol};
    switch (protocol) {
    case PROTO_IPV4:
    case PROTO_IPV6:
        read_tunnel(w, f, ip, tunnel_ip);
        return;
    case PROTO_GRE:
        read_tunnel(w, f, ip, tunnel_gre);
        return;
    case PROTO_TCP:
        if (take(&w->at, f->port, sizeof(f->port)))
            f->ports_of = RSS_TCP;
        break;
    case PROTO_UDP:
        if (!take(&w->at, f->port, sizeof(f->port)))
            break;
        if (tunnel_udp(w, load_be16(f->port + 2)))
            return;
        f->ports_of = RSS_UDP;
        break;
    }
    finish(w, f);
}

/* ---- IPv6 extension headers ------------------------------------------------------------------------------------------------ */

#define OPTION_PAD1         0
#define OPTION_HOME_ADDRESS 0xc9 /* RFC 6275 */

/* Destination options, `bytes` of them after the header's first two. */
static void find_home_address(const struct walk *w, size_t bytes, struct rss_fields *f, bool *found)
{
    struct cursor at = {w->at.at, w->at.left < bytes ? w->at.left : bytes};
    uint8_t type, length;
    while (!*found && take(&at, &type, 1)) {
        if (type == OPTION_PAD1)
            continue;
        if (!take(&at, &length, 1))
            return;
        if (type == OPTION_HOME_ADDRESS && length == 16) {
            *found = take(&at, f->mobile_address[0], 16);
            return;
        }
        if (!skip(&at, length))
            return;
    }
}

/* Routing header of type 2 (RFC 6275), after its first two bytes: one address, and one segment left. */
static bool routing_header(struct walk *w, size_t bytes, struct rss_fields *f, bool *found)
{
    uint8_t h[2];
    if (bytes != 22)
        return skip(&w->at, bytes);
    if (!take(&w->at, h, sizeof(h)) || !skip(&w->at, 4))
        return false;
    if (h[0] != 2 || h[1] != 1 || *found)
        return skip(&w->at, 16);
    *found = take(&w->at, f->mobile_address[1], 16);
    return *found;
}

#define IPV6_FRAGMENTED 0xfff9u /* offset and more fragments: all zero in a packet that is whole */

/* Passes over one extension header and says what follows it; false if there is nothing to go on with. */
struct seen {
    bool home, routing, fragment;
};
static bool extension(struct walk *w, uint8_t *protocol, struct rss_fields *f, struct seen *seen)
{
    uint8_t h[2], fragment[6];
    if (!take(&w->at, h, sizeof(h)))
        return false;
    size_t bytes = *protocol == PROTO_AH ? 4 * (size_t)h[1] + 6 : 8 * (size_t)h[1] + 6; /* beyond the two taken */
    bool ok;
    switch (*protocol) {
    case PROTO_FRAGMENT:
        ok = !seen->fragment && take(&w->at, fragment, sizeof(fragment)) && !(load_be16(fragment) & IPV6_FRAGMENTED);
        seen->fragment = true;
        break;
    case PROTO_DEST_OPTIONS:
        find_home_address(w, bytes, f, &seen->home);
        ok = skip(&w->at, bytes);
        break;
    case PROTO_ROUTING:
        ok = routing_header(w, bytes, f, &seen->routing);
        break;
    default:
        ok = skip(&w->at, bytes);
    }
    *protocol = h[0];
    return ok;
}

static void extensions(struct walk *w, struct rss_fields *f, uint8_t protocol)
{
    struct seen seen = {false, false, false};
    for (;;) {
        switch (protocol) {
        case PROTO_HOP_BY_HOP:
        case PROTO_ROUTING:
        case PROTO_FRAGMENT:
        case PROTO_AH:
        case PROTO_DEST_OPTIONS:
        case PROTO_MOBILITY:
            f->extended = true;
            if (extension(w, &protocol, f, &seen))
                break;
            finish(w, f);
            return;
        default:
            read_transport(w, f, protocol);
            return;
        }
    }
}

/* ---- IP -------------------------------------------------------------------------------------------------------------------- */

#define IP_MIN_BYTES    20      /* IPv4's shortest header, half of IPv6's */
#define IPV4_FRAGMENTED 0x3fffu /* more fragments, and the offset */

static void read_ipv4(struct walk *w, const uint8_t h[IP_MIN_BYTES])
{
    struct rss_fields f = {.version = 4};
    size_t header_bytes = 4 * (size_t)(h[0] & 0x0f);
    if (header_bytes < IP_MIN_BYTES)
        return;
    memcpy(f.address[0], h + 12, 4);
    memcpy(f.address[1], h + 16, 4);
    if (load_be16(h + 6) & IPV4_FRAGMENTED || !skip(&w->at, header_bytes - IP_MIN_BYTES))
        finish(w, &f);
    else
        read_transport(w, &f, h[9]);
}

static void read_ipv6(struct walk *w, const uint8_t h[IP_MIN_BYTES])
{
    uint8_t rest[20];
    struct rss_fields f = {.version = 6};
    if (!take(&w->at, rest, sizeof(rest)))
        return;
    memcpy(f.address[0], h + 8, 12);
    memcpy(f.address[0] + 12, rest, 4);
    memcpy(f.address[1], rest + 4, 16);
    memcpy(f.mobile_address, f.address, sizeof(f.address));
    extensions(w, &f, h[6]);
}

void rss_ip(struct walk *w, unsigned version)
{
    uint8_t h[IP_MIN_BYTES];
    if (!take(&w->at, h, sizeof(h)) || (version != 0 && h[0] >> 4 != version))
        return;
    if (h[0] >> 4 == 4)
        read_ipv4(w, h);
    else if (h[0] >> 4 == 6)
        read_ipv6(w, h);
}

void rss_parse(const struct flowq_pkt *pkt, const struct parse_rules *rules, struct rss_fields *out)
{
    struct parse_result unused;
    struct walk w = {
        .at = {pkt->data, pkt->len < PARSE_MAX_BYTES ? pkt->len : PARSE_MAX_BYTES},
        .rules = rules,
        .out = &unused,
        .fields = out,
        .n_more = UINT32_MAX,
    };
    memset(&unused, 0, sizeof(unused)); /* tunnels keep a key there, which nobody looks at */
    memset(out, 0, sizeof(*out));
    if (pkt->flags == FLOWQ_PKT_L3)
        ip_packet(&w, 0);
    else if (pkt->flags == 0)
        link_ethernet(&w);
}
