/*
 * parse_ip: IPv4, IPv6 with its extension headers, fragments (rule S5), transport protocols, ICMP errors (rule S6).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "parse_walk.h"
#include "rss_parse.h"

/* Extension headers of IPv6; those that are options and nothing else are passed over, of any kind and in any order. */
enum { IPV6_NO_EXTENSION, IPV6_OPTIONS, IPV6_OTHER_EXTENSION };
static const uint8_t ipv6_extension_kind[UINT8_MAX + 1] = {
    [PROTO_HOP_BY_HOP] = IPV6_OPTIONS,       [PROTO_DEST_OPTIONS] = IPV6_OPTIONS, [PROTO_ROUTING] = IPV6_OTHER_EXTENSION,
    [PROTO_FRAGMENT] = IPV6_OTHER_EXTENSION, [PROTO_AH] = IPV6_OTHER_EXTENSION,   [PROTO_MOBILITY] = IPV6_OTHER_EXTENSION,
};

/* ---- Fragments (S5) -------------------------------------------------------------------------------------------------------- */

static void ip_set_frag(struct parse_frag *f, const struct walk *w, struct ip_header ip, uint32_t id)
{
    const struct key *k = w->key;
    memset(f, 0, sizeof(*f));
    if (ip.version == 6) {
        memcpy(f->src, &k->word[0], 16);
        memcpy(f->dst, &k->word[2], 16);
    } else {
        memcpy(f->src, (const uint8_t *)&k->word[0], 4);
        memcpy(f->dst, (const uint8_t *)&k->word[0] + 4, 4);
        f->protocol = (uint8_t)ip.protocol;
    }
    f->id = id;
    f->version = (uint8_t)ip.version;
    f->vlans = w->vlans;
    f->vni = w->vni;
}

/*
 * A first fragment: others will follow it. It counts even if its ports turn out not to be readable, so that the later fragments
 * go where it went. A quoted one does not: what is quoted was sent by the VM.
 */
static void ip_first_fragment(struct walk *w, struct ip_header ip, uint32_t id)
{
    if (!w->in_quote)
        ip_set_frag(&w->out->first[w->out->n_first++], w, ip, id);
}

/* Whether nothing in the first fragment could make the key another one than addresses and protocol. */
static bool ip_key_is_whole(const struct walk *w, struct ip_header ip)
{
    switch (ip.protocol) {
    case PROTO_TCP:
    case PROTO_UDP:
    case PROTO_UDP_LITE:
    case PROTO_SCTP:
    case PROTO_DCCP:
        return false;
    }
    if (ip.version == 6 && ipv6_extension_kind[ip.protocol] != IPV6_NO_EXTENSION)
        return false;
    return !tunnel_possible(w, ip);
}

/*
 * A later fragment, without ports of its own. ip.protocol: what the datagram, or for IPv6 this fragment header, names. With a
 * whole key a quoted one is as good as any other quote.
 */
static void ip_later_fragment(struct walk *w, struct ip_header ip, uint32_t id)
{
    const bool whole = ip_key_is_whole(w, ip);
    if (w->in_quote) {
        walk_finish(w, ip, 0, whole ? PARSE_FLOW : PARSE_LATER);
        return;
    }
    ip_set_frag(&w->out->later, w, ip, id);
    if (whole)
        w->out->flags |= PARSE_WHOLE_KEY;
    walk_finish(w, ip, 0, PARSE_LATER);
}

/* ---- Transport ------------------------------------------------------------------------------------------------------------- */

#define TCP_FLAGS_AT 13 /* a header cut before them still has ports, and no flags */
#define TCP_FIN      0x01
#define TCP_SYN      0x02
#define TCP_RST      0x04
_Static_assert(PARSE_FIN == TCP_FIN << 1 && PARSE_SYN == TCP_SYN << 1 && PARSE_RST == TCP_RST << 1, "in the same order");

static inline void ip_tcp(struct walk *w, struct cursor at, struct ip_header ip)
{
    const uint8_t *ports, *rest;
    if (!cursor_take(&at, 4, &ports))
        return;
    WALK_LAYER(w, FLOWQ_LAYER_TCP, ports, at.at + (at.left < 16 ? at.left : 16), cursor_be16(ports + 2));
    if (cursor_take(&at, TCP_FLAGS_AT + 1 - 4, &rest) && !w->in_quote)
        w->out->flags |= (uint8_t)((cursor_u8(rest + TCP_FLAGS_AT - 4) & (TCP_FIN | TCP_SYN | TCP_RST)) << 1);
    walk_finish(w, ip, cursor_raw32(ports), PARSE_FLOW);
}

static inline void ip_ports_only(struct walk *w, struct cursor at, struct ip_header ip)
{
    const uint8_t *ports;
    if (!cursor_take(&at, 4, &ports))
        return;
    WALK_LAYER(w, FLOWQ_LAYER_PORTS, ports, at.at, cursor_be16(ports + 2));
    walk_finish(w, ip, cursor_raw32(ports), PARSE_FLOW);
}

static inline void ip_udp(struct walk *w, struct cursor at, struct ip_header ip)
{
    const uint8_t *h;
    if (!cursor_take(&at, 4, &h))
        return;
    uint32_t ports = cursor_raw32(h);
    WALK_LAYER(w, FLOWQ_LAYER_UDP, h, at.at + (at.left < 4 ? at.left : 4), cursor_be16(h + 2));
    if (tunnel_udp_likely(w, ports))
        tunnel_udp(w, at, ip, ports);
    else
        walk_finish(w, ip, ports, PARSE_FLOW);
}

#define ICMPV6_REDIRECT 137 /* RFC 4861: quotes in an option */

/* The types of ICMP messages that quote a packet (RFC 792; RFC 4443). */
static bool ip_is_icmp_error(struct ip_header ip, size_t type)
{
    if (ip.version == 6)
        return (type >= 1 && type <= 4) || type == ICMPV6_REDIRECT; /* unreachable, too big, time exceeded, parameter problem */
    return type == 3 || type == 4 || type == 5 || type == 11 || type == 12; /* also source quench and redirect */
}

#define ICMP_BYTES 8 /* of an error, before the packet that it quotes */

#define ICMPV6_REDIRECT_BYTES    40 /* of a redirect of IPv6, before its options: RFC 4861, 4.5 */
#define ICMPV6_REDIRECTED_HEADER 4
#define ICMPV6_OPTION_UNIT       8 /* bytes */

/* The option that quotes the packet: what it holds is left in *at. Options before it count as headers that are passed over. */
static bool ip_find_redirected(struct walk *w, struct cursor *at)
{
    const uint8_t *h;
    while (cursor_take(at, 2, &h)) {
        size_t type = cursor_u8(h), bytes = ICMPV6_OPTION_UNIT * cursor_u8(h + 1);
        if (bytes == 0) {
            WALK_ENDS(w, FLOWQ_END_MALFORMED);
            return false;
        }
        if (type == ICMPV6_REDIRECTED_HEADER) {
            if (!cursor_skip(at, ICMPV6_OPTION_UNIT - 2))
                return false;
            WALK_LAYER(w, FLOWQ_LAYER_ICMP_OPTION, h, at->at, type);
            if (at->left > bytes - ICMPV6_OPTION_UNIT)
                at->left = bytes - ICMPV6_OPTION_UNIT;
            return true;
        }
        if (!walk_pass(w)) {
            WALK_ENDS(w, FLOWQ_END_LIMIT);
            return false;
        }
        if (!cursor_skip(at, bytes - 2))
            return false;
        WALK_LAYER(w, FLOWQ_LAYER_ICMP_OPTION, h, at->at, type);
    }
    return false;
}

/* ICMP on IPv4, ICMPv6 on IPv6. */
static __attribute__((noinline)) void ip_icmp(struct walk *w, struct cursor at, struct ip_header ip)
{
    const struct cursor start = at;
    const uint8_t *h;
    size_t type = 0; /* an echo reply; no error */
    if (!w->in_quote && cursor_take(&at, 1, &h))
        type = cursor_u8(h);
    const size_t bytes = ip.version == 6 && type == ICMPV6_REDIRECT ? ICMPV6_REDIRECT_BYTES : ICMP_BYTES;
    WALK_LAYER(w, FLOWQ_LAYER_ICMP, start.at, start.at + (start.left < bytes ? start.left : bytes), type);
    if (!ip_is_icmp_error(ip, type)) {
        walk_finish_portless(w, ip);
        return;
    }
    w->out->flags |= PARSE_ICMP_ERROR;
    walk_keep_spare(w, ip);
    w->in_quote = true;
    if (type == ICMPV6_REDIRECT ? cursor_skip(&at, ICMPV6_REDIRECT_BYTES - 1) && ip_find_redirected(w, &at)
                                : cursor_skip(&at, ICMP_BYTES - 1))
        ip_packet(w, at, 0);
}

static __attribute__((noinline)) void ip_other_transport(struct walk *w, struct cursor at, struct ip_header ip)
{
    switch (ip.protocol) {
    case PROTO_UDP_LITE:
    case PROTO_SCTP:
    case PROTO_DCCP:
        ip_ports_only(w, at, ip);
        return;
    case PROTO_ICMP:
    case PROTO_ICMPV6:
        if ((ip.protocol == PROTO_ICMP) == (ip.version == 4)) {
            ip_icmp(w, at, ip);
            return;
        }
        break;
    case PROTO_IPV4:
    case PROTO_IPV6:
        tunnel_ip(w, at, ip);
        return;
    case PROTO_GRE:
        tunnel_gre(w, at, ip);
        return;
    }
    walk_finish_portless(w, ip);
}

void ip_transport(struct walk *w, struct cursor at, struct ip_header ip)
{
    if (ip.protocol == PROTO_TCP)
        ip_tcp(w, at, ip);
    else if (ip.protocol == PROTO_UDP)
        ip_udp(w, at, ip);
    else
        ip_other_transport(w, at, ip);
}

/* ---- IP -------------------------------------------------------------------------------------------------------------------- */

#define IPV4_MORE_FRAGMENTS 0x2000u
#define IPV4_OFFSET         0x1fffu

static __attribute__((noinline)) void ipv4_fragment(struct walk *w, struct cursor at, struct ip_header ip, unsigned fragment,
                                                    uint32_t id)
{
    if (fragment & IPV4_OFFSET) {
        ip_later_fragment(w, ip, id);
    } else {
        ip_first_fragment(w, ip, id);
        ip_transport(w, at, ip);
    }
}

/*
 * h: the header's shortest form, which has been taken; first: its first byte. AH stays what it is here (S3): in IPv4 it is a
 * protocol with a payload, in IPv6 one of the extension headers.
 */
static inline void ipv4(struct walk *w, struct cursor at, const uint8_t *h, size_t first)
{
    static const uint8_t broadcast[4] = {0xff, 0xff, 0xff, 0xff};
    size_t header_bytes = 4 * (first & 0x0f);
    if (header_bytes < IP_MIN_BYTES || !cursor_skip(&at, header_bytes - IP_MIN_BYTES)) {
        WALK_ENDS(w, header_bytes < IP_MIN_BYTES ? FLOWQ_END_MALFORMED : FLOWQ_END_CUT);
        return;
    }
    WALK_LAYER(w, FLOWQ_LAYER_IPV4, h, at.at, cursor_u8(h + 9));
    struct ip_header ip = {.version = 4, .protocol = (uint32_t)cursor_u8(h + 9)};
    cursor_copy(w->key->word, h + 12, 8);
    const uint8_t *destination = (const uint8_t *)w->key->word + 4;
    if (!w->in_quote && ((destination[0] & 0xf0) == IPV4_MULTICAST || memcmp(destination, broadcast, 4) == 0))
        w->out->flags |= PARSE_MULTICAST;

    unsigned fragment = cursor_be16(h + 6) & (IPV4_MORE_FRAGMENTS | IPV4_OFFSET);
    if (fragment)
        ipv4_fragment(w, at, ip, fragment, cursor_be16(h + 4));
    else
        ip_transport(w, at, ip);
}

#define IPV6_OFFSET         0xfff8u
#define IPV6_MORE_FRAGMENTS 0x0001u

#define IPV6_ADDRESS_BYTES 16

/* The six bytes that each extension header has behind its first two, at least. */
#define IPV6_EXTENSION_REST 6

static inline void ipv6_payload(struct walk *w, struct cursor at, struct ip_header ip);

/*
 * Headers of options, the first of which is there. Where one begins only the one before tells: so there is as little as possible
 * between the load of one length and that of the next, and the cache lines that they may reach into come all at once. Each is at
 * least 8 bytes; whether the last one ends in the packet is seen behind it.
 */
static __attribute__((noinline)) void ipv6_options(struct walk *w, struct cursor at, struct ip_header ip)
{
    WALK_ENDS(w, w->n_more ? FLOWQ_END_CUT : FLOWQ_END_LIMIT);
    if (at.left < 8)
        return;
    const size_t last = at.left - 8; /* where the last one may begin */
    size_t passed = 0;
    for (size_t ahead = PARSE_CACHE_LINE; ahead < at.left; ahead += PARSE_CACHE_LINE)
        __builtin_prefetch(at.at + ahead);
    for (uint32_t n = w->n_more; n > 0 && passed <= last; n--) {
        const size_t start = passed;
        size_t next = cursor_u8(at.at + passed);
        passed += 8 + 8 * cursor_u8(at.at + passed + 1); /* its length is in units of 8 bytes, beyond the first */
        if (passed <= at.left)
            WALK_LAYER(w, FLOWQ_LAYER_EXTENSION, at.at + start, at.at + passed, next);
        if (ipv6_extension_kind[next] == IPV6_OPTIONS) {
            WALK_ENDS(w, n > 1 || passed > at.left ? FLOWQ_END_CUT : FLOWQ_END_LIMIT);
            continue;
        }
        w->n_more = n - 1;
        ip.protocol = (uint32_t)next;
        if (cursor_skip(&at, passed))
            ipv6_payload(w, at, ip);
        return;
    }
}

/*
 * A fragment header, after its first two bytes. A packet that has a second one is unreadable: RFC 8200 allows one, and it might
 * claim to be a first fragment of two datagrams.
 */
static void ipv6_fragment(struct walk *w, struct cursor at, struct ip_header ip)
{
    const uint8_t *h;
    if (w->in_fragment || !cursor_take(&at, IPV6_EXTENSION_REST, &h)) {
        WALK_ENDS(w, w->in_fragment ? FLOWQ_END_MALFORMED : FLOWQ_END_CUT);
        return;
    }
    WALK_LAYER(w, FLOWQ_LAYER_EXTENSION, h - 2, at.at, ip.protocol);
    w->in_fragment = true;
    unsigned fragment = cursor_be16(h) & (IPV6_OFFSET | IPV6_MORE_FRAGMENTS);
    if (fragment & IPV6_OFFSET) {
        ip_later_fragment(w, ip, cursor_be32(h + 2));
        return;
    }
    if (fragment) /* else an atomic fragment, which is a whole packet (RFC 6946) */
        ip_first_fragment(w, ip, cursor_be32(h + 2));
    ipv6_payload(w, at, ip);
}

/* Where a packet goes in the end, if the header has it. */
static void ipv6_set_destination(struct walk *w, const uint8_t *segment, size_t bytes)
{
    uint8_t *destination = (uint8_t *)&w->key->word[2];
    cursor_copy(destination + IPV6_ADDRESS_BYTES - bytes, segment, bytes);
    if (w->in_quote)
        return;
    w->out->flags = w->flags_outside;
    if (destination[0] == IPV6_MULTICAST)
        w->out->flags |= PARSE_MULTICAST;
}

/*
 * Each: the last of the addresses in `at`, which is what there is behind the first eight bytes of the header; `left` segments are
 * not visited yet. False: it makes no sense.
 */

/* All of them, in order (RFC 2460; forbidden by RFC 5095). */
static bool ipv6_source_route(struct walk *w, struct cursor at, size_t left)
{
    if (at.left % IPV6_ADDRESS_BYTES != 0 || left > at.left / IPV6_ADDRESS_BYTES)
        return false;
    ipv6_set_destination(w, at.at + at.left - IPV6_ADDRESS_BYTES, IPV6_ADDRESS_BYTES);
    return true;
}

/* One, the mobile node's (RFC 6275). */
static bool ipv6_home_address(struct walk *w, struct cursor at, size_t left)
{
    if (at.left != IPV6_ADDRESS_BYTES || left != 1)
        return false;
    ipv6_set_destination(w, at.at, IPV6_ADDRESS_BYTES);
    return true;
}

/* All, without the bytes that they share with the destination in the IPv6 header; the last one may share less (RFC 6554). */
static bool ipv6_rpl_route(struct walk *w, struct cursor at, size_t left, const uint8_t *h)
{
    size_t compressed = cursor_u8(h), pad = cursor_u8(h + 1) >> 4;
    size_t other_bytes = IPV6_ADDRESS_BYTES - (compressed >> 4), last_bytes = IPV6_ADDRESS_BYTES - (compressed & 15);
    if (at.left < pad + last_bytes)
        return false;
    size_t others = at.left - pad - last_bytes;
    if (others % other_bytes != 0 || left > others / other_bytes + 1)
        return false;
    ipv6_set_destination(w, at.at + others, last_bytes);
    return true;
}

/* All, the last one first (RFC 8754); h: the index of the last in the list. */
static bool ipv6_segment_list(struct walk *w, struct cursor at, size_t left, const uint8_t *h)
{
    size_t n = cursor_u8(h) + 1;
    if (n > at.left / IPV6_ADDRESS_BYTES || left > n)
        return false;
    ipv6_set_destination(w, at.at, IPV6_ADDRESS_BYTES);
    return true;
}

enum { ROUTING_SOURCE = 0, ROUTING_HOME = 2, ROUTING_RPL = 3, ROUTING_SEGMENTS = 4 };

/*
 * A routing header, after its first two bytes, with so many bytes left. While there are segments left the destination of the
 * packet is the last of them (RFC 8200, 8.1, for checksums). Of a type that is not known, it stays what it is.
 */
static void ipv6_routing(struct walk *w, struct cursor at, struct ip_header next, size_t bytes)
{
    struct cursor list = {at.at, bytes};
    const uint8_t *h;
    if (!cursor_skip(&at, bytes) || !cursor_take(&list, IPV6_EXTENSION_REST, &h))
        return;
    WALK_LAYER(w, FLOWQ_LAYER_EXTENSION, h - 2, at.at, next.protocol);
    size_t left = cursor_u8(h + 1), type = left > 0 ? cursor_u8(h) : SIZE_MAX;
    bool good = true;
    if (type == ROUTING_SOURCE)
        good = ipv6_source_route(w, list, left);
    else if (type == ROUTING_HOME)
        good = ipv6_home_address(w, list, left);
    else if (type == ROUTING_RPL)
        good = ipv6_rpl_route(w, list, left, h + 2);
    else if (type == ROUTING_SEGMENTS)
        good = ipv6_segment_list(w, list, left, h + 2);
    WALK_ENDS(w, good ? FLOWQ_END_CUT : FLOWQ_END_MALFORMED);
    if (good)
        ipv6_payload(w, at, next);
}

/* One of the other extension headers. A mobility header with nothing behind it is itself the message. */
static __attribute__((noinline)) void ipv6_extension(struct walk *w, struct cursor at, struct ip_header ip)
{
    const uint8_t *h;
    if (!walk_pass(w)) {
        WALK_ENDS(w, FLOWQ_END_LIMIT);
        return;
    }
    WALK_ENDS(w, FLOWQ_END_CUT);
    if (!cursor_take(&at, 2, &h))
        return;
    struct ip_header next = {.version = 6, .protocol = (uint32_t)cursor_u8(h)};
    if (ip.protocol == PROTO_FRAGMENT) {
        ipv6_fragment(w, at, next);
        return;
    }
    if (ip.protocol == PROTO_ROUTING) {
        ipv6_routing(w, at, next, IPV6_EXTENSION_REST + 8 * cursor_u8(h + 1));
        return;
    }
    if (!cursor_skip(&at, IPV6_EXTENSION_REST + (ip.protocol == PROTO_AH ? 4 : 8) * cursor_u8(h + 1)))
        return;
    WALK_LAYER(w, FLOWQ_LAYER_EXTENSION, h, at.at, next.protocol);
    if (ip.protocol == PROTO_MOBILITY && next.protocol == PROTO_NONE)
        walk_finish_portless(w, ip);
    else
        ipv6_payload(w, at, next);
}

/* What follows an IPv6 header or one of its extension headers. The key's protocol is what is reached last. */
static inline void ipv6_payload(struct walk *w, struct cursor at, struct ip_header ip)
{
    uint8_t kind = ipv6_extension_kind[ip.protocol];
    if (kind == IPV6_NO_EXTENSION)
        ip_transport(w, at, ip);
    else if (kind == IPV6_OPTIONS)
        ipv6_options(w, at, ip);
    else
        ipv6_extension(w, at, ip);
}

/* h: the first half of the header, which has been taken. */
static inline void ipv6(struct walk *w, struct cursor at, const uint8_t *h)
{
    uint64_t *address = w->key->word;
    WALK_ENDS(w, FLOWQ_END_CUT);
    if (!cursor_skip(&at, IP_MIN_BYTES))
        return;
    struct ip_header ip = {.version = 6, .protocol = (uint32_t)cursor_u8(h + 6)};
    WALK_LAYER(w, FLOWQ_LAYER_IPV6, h, at.at, ip.protocol);
    cursor_copy(address, h + 8, 32);
    w->flags_outside = w->out->flags;
    if (*(const uint8_t *)&address[2] == IPV6_MULTICAST && !w->in_quote)
        w->out->flags |= PARSE_MULTICAST;
    w->in_fragment = false;
    ipv6_payload(w, at, ip);
}

void ip_packet(struct walk *w, struct cursor at, unsigned version)
{
    if (w->fields) {
        rss_ip(w, at, version);
        return;
    }
    const uint8_t *h;
    WALK_ENDS(w, FLOWQ_END_CUT);
    if (!cursor_take(&at, IP_MIN_BYTES, &h))
        return;
    size_t first = cursor_u8(h);
    WALK_ENDS(w, FLOWQ_END_MALFORMED);
    if (version != 0 && first >> 4 != version)
        return;
    if (first >> 4 == 6)
        ipv6(w, at, h);
    else if (first >> 4 == 4)
        ipv4(w, at, h, first);
}
