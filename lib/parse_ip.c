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
    static const uint8_t none[4];
    if (!w->in_quote)
        set_frag(&w->out->later, &w->out->key, ip, id);
    walk_finish(w, ip, none, PARSE_LATER);
}

/* ---- Transport ------------------------------------------------------------------------------------------------------------- */

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04

/* The flags are 13 bytes in. A header cut before them still has ports, and no flags. */
static void tcp(struct walk *w, struct ip ip)
{
    uint8_t h[14];
    if (!take(&w->at, h, sizeof(h))) {
        if (!take(&w->at, h, 4))
            return;
        h[13] = 0;
    }
    if (!w->in_quote) {
        w->out->flags |= (uint8_t)((h[13] & TCP_SYN ? PARSE_SYN : 0) | (h[13] & TCP_FIN ? PARSE_FIN : 0) |
                                   (h[13] & TCP_RST ? PARSE_RST : 0));
    }
    walk_finish(w, ip, h, PARSE_FLOW);
}

static void udp(struct walk *w, struct ip ip)
{
    uint8_t ports[4];
    if (take(&w->at, ports, sizeof(ports)) && !tunnel_udp(w, load_be16(ports + 2)))
        walk_finish(w, ip, ports, PARSE_FLOW);
}

static void ports_only(struct walk *w, struct ip ip)
{
    uint8_t ports[4];
    if (take(&w->at, ports, sizeof(ports)))
        walk_finish(w, ip, ports, PARSE_FLOW);
}

/* The types of ICMP messages that quote a packet (RFC 792; RFC 4443). */
static bool is_icmp_error(struct ip ip, uint8_t type)
{
    if (ip.version == 6)
        return type >= 1 && type <= 4; /* unreachable, too big, time exceeded, parameter problem */
    return type == 3 || type == 4 || type == 5 || type == 11 || type == 12; /* also source quench and redirect */
}

/* ICMP on IPv4, ICMPv6 on IPv6. The packet that an error quotes begins after 8 bytes. */
static void icmp(struct walk *w, struct ip ip)
{
    uint8_t type;
    if (w->in_quote || !take(&w->at, &type, 1) || !is_icmp_error(ip, type)) {
        walk_finish_portless(w, ip);
        return;
    }
    w->out->flags |= PARSE_ICMP_ERROR;
    walk_keep_spare(w, ip);
    w->in_quote = true;
    if (skip(&w->at, 7))
        ip_packet(w, 0);
}

static void transport(struct walk *w, struct ip ip)
{
    switch (ip.protocol) {
    case PROTO_TCP:
        tcp(w, ip);
        return;
    case PROTO_UDP:
        udp(w, ip);
        return;
    case PROTO_UDP_LITE:
    case PROTO_SCTP:
    case PROTO_DCCP:
        ports_only(w, ip);
        return;
    case PROTO_ICMP:
    case PROTO_ICMPV6:
        if ((ip.protocol == PROTO_ICMP) == (ip.version == 4)) {
            icmp(w, ip);
            return;
        }
        break;
    case PROTO_IPV4:
    case PROTO_IPV6:
        tunnel_ip(w, ip);
        return;
    case PROTO_GRE:
        tunnel_gre(w, ip);
        return;
    }
    walk_finish_portless(w, ip);
}

/* ---- IP -------------------------------------------------------------------------------------------------------------------- */

#define IPV4_MIN_BYTES 20

#define IPV4_MORE_FRAGMENTS 0x2000u
#define IPV4_OFFSET 0x1fffu

/*
 * first: the header's first byte, which has been taken. AH stays what it is here (S3): in IPv4 it is a protocol with a payload,
 * in IPv6 one of the extension headers.
 */
static void ipv4(struct walk *w, uint8_t first)
{
    uint8_t h[IPV4_MIN_BYTES];
    size_t header_bytes = 4 * (size_t)(first & 0x0f);
    if (!take(&w->at, h + 1, sizeof(h) - 1) || header_bytes < sizeof(h) || !skip(&w->at, header_bytes - sizeof(h)))
        return;
    struct ip ip = {.version = 4, .protocol = h[9]};
    memcpy(&w->out->key.word[0], h + 12, 8);
    if (!w->in_quote && ((h[16] & 0xf0) == IPV4_MULTICAST || load_be32(h + 16) == 0xffffffffu))
        w->out->flags |= PARSE_MULTICAST;

    unsigned fragment = load_be16(h + 6) & (IPV4_MORE_FRAGMENTS | IPV4_OFFSET);
    if (fragment & IPV4_OFFSET) {
        later_fragment(w, ip, load_be16(h + 4));
        return;
    }
    if (fragment)
        first_fragment(w, ip, load_be16(h + 4));
    transport(w, ip);
}

#define IPV6_OFFSET 0xfff8u
#define IPV6_MORE_FRAGMENTS 0x0001u

/*
 * Passes over what is left of a fragment header, after its first two bytes. False if the packet ends here: it is a later
 * fragment, or has a second fragment header (RFC 8200 allows one), which might claim to be a first fragment of two datagrams.
 */
static bool ipv6_fragment(struct walk *w, struct ip ip, bool *seen)
{
    uint8_t h[6];
    if (*seen || !take(&w->at, h, sizeof(h)))
        return false;
    *seen = true;
    unsigned fragment = load_be16(h) & (IPV6_OFFSET | IPV6_MORE_FRAGMENTS);
    if (fragment & IPV6_OFFSET) {
        later_fragment(w, ip, load_be32(h + 2));
        return false;
    }
    if (fragment) /* else an atomic fragment, which is a whole packet (RFC 6946) */
        first_fragment(w, ip, load_be32(h + 2));
    return true;
}

/*
 * Passes over headers of options, of any kind and in any order, as long as *n_more allows. Where one begins only the one before
 * tells: so there is as little as possible between the load of one length and that of the next, and the cache lines that they may
 * reach into come all at once.
 */
static bool skip_options(struct cursor *where, uint8_t *protocol, uint32_t *n_more)
{
    const uint64_t options = UINT64_C(1) << PROTO_HOP_BY_HOP | UINT64_C(1) << PROTO_ROUTING | UINT64_C(1) << PROTO_DEST_OPTIONS;
    struct cursor at = *where;
    uint32_t n = *n_more;
    uint8_t next = *protocol, h[2]; /* next header; length in units of 8 bytes, beyond the first */
    if (next >= 64 || !(options >> next & 1))
        return true;
    for (size_t ahead = PARSE_CACHE_LINE; ahead < at.left; ahead += PARSE_CACHE_LINE)
        __builtin_prefetch(at.at + ahead);
    do {
        if (n-- == 0 || !take(&at, h, sizeof(h)) || !skip(&at, 6 + 8 * (size_t)h[1]))
            return false;
        next = h[0];
    } while (next < 64 && options >> next & 1);
    *where = at;
    *n_more = n;
    *protocol = next;
    return true;
}

/*
 * Passes over the extension headers, in any order, each of at least 8 bytes; transport() gets the first header that is none. The
 * key's protocol is what was reached last. A mobility header with nothing behind it is itself the message.
 */
static void ipv6_extensions(struct walk *w, struct ip ip)
{
    bool fragment_seen = false;
    while (skip_options(&w->at, &ip.protocol, &w->n_more)) {
        uint8_t protocol = ip.protocol, h[2];
        if (protocol != PROTO_FRAGMENT && protocol != PROTO_AH && protocol != PROTO_MOBILITY) {
            transport(w, ip);
            return;
        }
        if (!walk_pass(w) || !take(&w->at, h, sizeof(h)))
            return;
        ip.protocol = h[0];
        if (protocol == PROTO_FRAGMENT) {
            if (!ipv6_fragment(w, ip, &fragment_seen))
                return;
        } else if (!skip(&w->at, 6 + (protocol == PROTO_AH ? 4 : 8) * (size_t)h[1])) {
            return;
        } else if (protocol == PROTO_MOBILITY && ip.protocol == PROTO_NONE) {
            ip.protocol = protocol;
            walk_finish_portless(w, ip);
            return;
        }
    }
}

/* Behind the first byte. */
static void ipv6(struct walk *w)
{
    uint8_t h[8];
    uint64_t addresses[4];
    if (!take(&w->at, h + 1, sizeof(h) - 1) || !take(&w->at, addresses, sizeof(addresses)))
        return;
    struct ip ip = {.version = 6, .protocol = h[6]};
    memcpy(w->out->key.word, addresses, sizeof(addresses));
    if (!w->in_quote && *(const uint8_t *)&addresses[2] == IPV6_MULTICAST)
        w->out->flags |= PARSE_MULTICAST;
    ipv6_extensions(w, ip);
}

void ip_packet(struct walk *w, unsigned version)
{
    uint8_t first;
    if (w->fields)
        rss_ip(w, version);
    else if (!take(&w->at, &first, 1) || (version != 0 && first >> 4 != version))
        return;
    else if (first >> 4 == 4)
        ipv4(w, first);
    else if (first >> 4 == 6)
        ipv6(w);
}
