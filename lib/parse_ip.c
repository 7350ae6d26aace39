/*
 * parse_ip: IPv4, IPv6 with its extension headers, fragments (rule S5), transport protocols, ICMP errors (rule S6).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "parse_walk.h"
#include "rss_parse.h"

/* ---- Fragments (S5) -------------------------------------------------------------------------------------------------------- */

static void set_frag(struct parse_frag *f, const struct key *k, struct ip ip, uint32_t id)
{
    memset(f, 0, sizeof(*f));
    if (ip.version == 6) {
        memcpy(f->src, &k->word[0], 16);
        memcpy(f->dst, &k->word[2], 16);
    } else {
        memcpy(f->src, (const uint8_t *)&k->word[0], 4);
        memcpy(f->dst, (const uint8_t *)&k->word[0] + 4, 4);
        f->protocol = ip.protocol;
    }
    f->id = id;
    f->version = ip.version;
}

/*
 * A first fragment: others will follow it. It counts even if its ports turn out not to be readable, so that the later fragments
 * go where it went. A quoted one does not: what is quoted was sent by the VM.
 */
static void first_fragment(struct walk *w, struct ip ip, uint32_t id)
{
    if (!w->in_quote)
        set_frag(&w->out->first[w->out->n_first++], &w->out->key, ip, id);
}

/* A later fragment, without ports of its own. ip.protocol: what the datagram, or for IPv6 this fragment header, names. */
static void later_fragment(struct walk *w, struct ip ip, uint32_t id)
{
    if (!w->in_quote)
        set_frag(&w->out->later, &w->out->key, ip, id);
    walk_finish(w, ip, 0, PARSE_LATER);
}

/* ---- Transport ------------------------------------------------------------------------------------------------------------- */

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04

#define TCP_FLAGS_AT 13 /* a header cut before them still has ports, and no flags */

static void tcp(struct walk *w, struct cursor at, struct ip ip)
{
    const uint8_t *ports = take(&at, 4), *rest = take(&at, TCP_FLAGS_AT + 1 - 4);
    if (!ports)
        return;
    if (rest && !w->in_quote) {
        uint8_t flags = read_u8(ports + TCP_FLAGS_AT);
        w->out->flags |= (uint8_t)((flags & TCP_SYN ? PARSE_SYN : 0) | (flags & TCP_FIN ? PARSE_FIN : 0) |
                                   (flags & TCP_RST ? PARSE_RST : 0));
    }
    walk_finish(w, ip, read_raw32(ports), PARSE_FLOW);
}

static void ports_only(struct walk *w, struct cursor at, struct ip ip)
{
    const uint8_t *ports = take(&at, 4);
    if (ports)
        walk_finish(w, ip, read_raw32(ports), PARSE_FLOW);
}

static void udp(struct walk *w, struct cursor at, struct ip ip)
{
    const uint8_t *h = take(&at, 4);
    if (!h)
        return;
    uint32_t ports = read_raw32(h);
    unsigned tunnel = tunnel_udp_of(w, (uint16_t)be32toh(ports));
    if (tunnel == PARSE_N_PORTS)
        walk_finish(w, ip, ports, PARSE_FLOW);
    else
        tunnel_udp(w, at, tunnel);
}

/* The types of ICMP messages that quote a packet (RFC 792; RFC 4443). */
static bool is_icmp_error(struct ip ip, uint8_t type)
{
    if (ip.version == 6)
        return type >= 1 && type <= 4; /* unreachable, too big, time exceeded, parameter problem */
    return type == 3 || type == 4 || type == 5 || type == 11 || type == 12; /* also source quench and redirect */
}

#define ICMP_BYTES 8 /* of an error, before the packet that it quotes */

/* ICMP on IPv4, ICMPv6 on IPv6. */
static void icmp(struct walk *w, struct cursor at, struct ip ip)
{
    const uint8_t *type;
    if (w->in_quote || !(type = take(&at, 1)) || !is_icmp_error(ip, read_u8(type))) {
        walk_finish_portless(w, ip);
        return;
    }
    w->out->flags |= PARSE_ICMP_ERROR;
    walk_keep_spare(w, ip);
    w->in_quote = true;
    if (skip(&at, ICMP_BYTES - 1))
        ip_packet(w, at, 0);
}

static inline void transport(struct walk *w, struct cursor at, struct ip ip)
{
    switch (ip.protocol) {
    case PROTO_TCP:
        tcp(w, at, ip);
        return;
    case PROTO_UDP:
        udp(w, at, ip);
        return;
    case PROTO_UDP_LITE:
    case PROTO_SCTP:
    case PROTO_DCCP:
        ports_only(w, at, ip);
        return;
    case PROTO_ICMP:
    case PROTO_ICMPV6:
        if ((ip.protocol == PROTO_ICMP) == (ip.version == 4)) {
            icmp(w, at, ip);
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

/* ---- IP -------------------------------------------------------------------------------------------------------------------- */

#define IP_MIN_BYTES 20 /* IPv4's shortest header, half of IPv6's */

#define IPV4_MORE_FRAGMENTS 0x2000u
#define IPV4_OFFSET 0x1fffu

/*
 * h: the header's shortest form, which has been taken; first: its first byte. AH stays what it is here (S3): in IPv4 it is a
 * protocol with a payload, in IPv6 one of the extension headers.
 */
static inline void ipv4(struct walk *w, struct cursor at, const uint8_t *h, uint8_t first)
{
    size_t header_bytes = 4 * (size_t)(first & 0x0f);
    if (header_bytes < IP_MIN_BYTES || !skip(&at, header_bytes - IP_MIN_BYTES))
        return;
    struct ip ip = {.version = 4, .protocol = read_u8(h + 9)};
    w->out->key.word[0] = read_raw64(h + 12);
    static const uint8_t broadcast[4] = {0xff, 0xff, 0xff, 0xff};
    const uint8_t *destination = (const uint8_t *)w->out->key.word + 4;
    if (!w->in_quote && ((destination[0] & 0xf0) == IPV4_MULTICAST || memcmp(destination, broadcast, 4) == 0))
        w->out->flags |= PARSE_MULTICAST;

    unsigned fragment = read_be16(h + 6) & (IPV4_MORE_FRAGMENTS | IPV4_OFFSET);
    if (fragment & IPV4_OFFSET) {
        later_fragment(w, ip, read_be16(h + 4));
        return;
    }
    if (fragment)
        first_fragment(w, ip, read_be16(h + 4));
    transport(w, at, ip);
}

#define IPV6_OFFSET 0xfff8u
#define IPV6_MORE_FRAGMENTS 0x0001u

/* The six bytes that each extension header has behind its first two, at least. */
#define IPV6_EXTENSION_REST 6

/*
 * Passes over what is left of a fragment header, after its first two bytes. False if the packet ends here: it is a later
 * fragment, or has a second fragment header (RFC 8200 allows one), which might claim to be a first fragment of two datagrams.
 */
static bool ipv6_fragment(struct walk *w, struct cursor *at, struct ip ip, bool *seen)
{
    const uint8_t *h = take(at, IPV6_EXTENSION_REST);
    if (*seen || !h)
        return false;
    *seen = true;
    unsigned fragment = read_be16(h) & (IPV6_OFFSET | IPV6_MORE_FRAGMENTS);
    if (fragment & IPV6_OFFSET) {
        later_fragment(w, ip, read_be32(h + 2));
        return false;
    }
    if (fragment) /* else an atomic fragment, which is a whole packet (RFC 6946) */
        first_fragment(w, ip, read_be32(h + 2));
    return true;
}

/* The extension headers that are options and nothing else: passed over, of any kind and in any order. */
static inline bool is_options(uint8_t protocol)
{
    const uint64_t options = UINT64_C(1) << PROTO_HOP_BY_HOP | UINT64_C(1) << PROTO_ROUTING | UINT64_C(1) << PROTO_DEST_OPTIONS;
    return protocol < 64 && options >> protocol & 1;
}

/*
 * Passes over headers of options, the first of which is there, as many as *n_more allows. Where one begins only the one before
 * tells: so there is as little as possible between the load of one length and that of the next, and the cache lines that they may
 * reach into come all at once. Each is at least 8 bytes; whether the last one ends in the packet is seen behind it.
 */
static bool skip_options(struct cursor *where, uint8_t *protocol, uint32_t *n_more)
{
    const uint8_t *const first = where->at;
    const size_t left = where->left;
    size_t passed = 0;
    uint32_t n = *n_more;
    uint8_t next;
    for (size_t ahead = PARSE_CACHE_LINE; ahead < left; ahead += PARSE_CACHE_LINE)
        __builtin_prefetch(first + ahead);
    do {
        if (n-- == 0 || passed + 8 > left)
            return false;
        next = read_u8(first + passed);
        passed += 8 + 8 * (size_t)read_u8(first + passed + 1); /* its length is in units of 8 bytes, beyond the first */
    } while (is_options(next));
    *n_more = n;
    *protocol = next;
    return skip(where, passed);
}

/*
 * Passes over the extension headers, in any order, each of at least 8 bytes; transport() gets the first header that is none. The
 * key's protocol is what was reached last. A mobility header with nothing behind it is itself the message.
 */
static inline void ipv6_extensions(struct walk *w, struct cursor at, struct ip ip)
{
    bool fragment_seen = false;
    while (!is_options(ip.protocol) || skip_options(&at, &ip.protocol, &w->n_more)) {
        uint8_t protocol = ip.protocol;
        const uint8_t *h;
        if (protocol != PROTO_FRAGMENT && protocol != PROTO_AH && protocol != PROTO_MOBILITY) {
            transport(w, at, ip);
            return;
        }
        if (!walk_pass(w) || !(h = take(&at, 2)))
            return;
        ip.protocol = read_u8(h);
        if (protocol == PROTO_FRAGMENT) {
            if (!ipv6_fragment(w, &at, ip, &fragment_seen))
                return;
        } else if (!skip(&at, IPV6_EXTENSION_REST + (protocol == PROTO_AH ? 4 : 8) * (size_t)read_u8(h + 1))) {
            return;
        } else if (protocol == PROTO_MOBILITY && ip.protocol == PROTO_NONE) {
            ip.protocol = protocol;
            walk_finish_portless(w, ip);
            return;
        }
    }
}

/* h: the first half of the header, which has been taken. */
static inline void ipv6(struct walk *w, struct cursor at, const uint8_t *h)
{
    uint64_t *address = w->out->key.word;
    if (!skip(&at, IP_MIN_BYTES))
        return;
    struct ip ip = {.version = 6, .protocol = read_u8(h + 6)};
    copy_out(address, h + 8, 32);
    if (*(const uint8_t *)&address[2] == IPV6_MULTICAST && !w->in_quote)
        w->out->flags |= PARSE_MULTICAST;
    ipv6_extensions(w, at, ip);
}

void ip_packet(struct walk *w, struct cursor at, unsigned version)
{
    if (w->fields) {
        rss_ip(w, at, version);
        return;
    }
    const uint8_t *h = take(&at, IP_MIN_BYTES);
    if (!h)
        return;
    uint8_t first = read_u8(h);
    if (version != 0 && first >> 4 != version)
        return;
    if (first >> 4 == 6)
        ipv6(w, at, h);
    else if (first >> 4 == 4)
        ipv4(w, at, h, first);
}
