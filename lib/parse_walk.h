/*
 * parse_walk: what the parts of the parser share, those for the fields of virtio's hashes included (rss_parse.c).
 *
 * One function per header, in the order in which headers come in a frame; each gets the cursor that is left by the one before,
 * takes its header from it, and ends with the call of what follows:
 *
 *     ethernet -> (vlan) -> (llc) -> ethertype -> (mpls | pppoe) -> ip              parse_link.c
 *     mpls -> ethernet                a pseudowire's frame, whose ethertype is IP's           parse_link.c
 *     ip -> ipv4 | ipv6 -> transport                                                parse_ip.c
 *     transport -> tunnel -> ethernet | ip        at most once: S4 looks one level deep       parse_tunnel.c
 *     transport -> icmp error -> ip               at most once: a quoted error is not followed
 *
 * Calls that come last become jumps. Where they do not, they nest at most three IP headers deep, and PARSE_MAX_PASSED that are
 * passed over; and each header takes bytes from a window of PARSE_MAX_BYTES: both bound the work. A function that cannot go on
 * just returns. The result starts out as PARSE_KEYLESS and becomes something else in walk_finish() alone.
 *
 * What is unreadable inside a tunnel or an ICMP error need not make the packet keyless: `spare_*` keep the key that counts then.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_LIB_PARSE_WALK_H
#define FLOWQ_LIB_PARSE_WALK_H

#include "cursor.h"
#include "parse.h"

/* Ethertypes (IEEE 802 numbers). */
enum {
    ETHERTYPE_MIN = 0x0600, /* below: the length of an 802.3 frame */
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_ARP = 0x0806,
    ETHERTYPE_IPV6 = 0x86dd,
    ETHERTYPE_TEB = 0x6558, /* transparent Ethernet bridging: a frame inside a tunnel */
    ETHERTYPE_VLAN = 0x8100,
    ETHERTYPE_QINQ = 0x88a8,
    ETHERTYPE_QINQ_9100 = 0x9100, /* stacked tags before there was 802.1ad: */
    ETHERTYPE_QINQ_9200 = 0x9200,
    ETHERTYPE_QINQ_9300 = 0x9300,
    ETHERTYPE_MPLS = 0x8847,
    ETHERTYPE_MPLS_UPSTREAM = 0x8848,
    ETHERTYPE_PPPOE_DISCOVERY = 0x8863,
    ETHERTYPE_PPPOE = 0x8864
};

/*
 * Where the parser says what it reads: explain_parse.c compiles it once more with these, and here they are nothing. A header,
 * from byte `start` up to `end`, of a kind, FLOWQ_LAYER_*; and what it says, as flowq.h has it; reading then ends there
 * because the packet does, until something else is said. Why reading ends here: FLOWQ_END_*.
 */
#ifndef WALK_LAYER
#define WALK_LAYER(w, kind, start, end, value) ((void)sizeof((end) - (start)))
#define WALK_ENDS(w, why)                      ((void)0)
#endif

#define IP_MIN_BYTES 20 /* IPv4's shortest header, half of IPv6's */

/* The IP header we are in; its addresses are in *key already. */
struct ip_header {
    uint32_t protocol;
    uint32_t version; /* 4 or 6 */
};

struct walk {
    const struct parse_rules *rules;
    struct parse_result *out; /* but its key: */
    struct key *key;
    struct rss_fields *fields; /* not NULL: IP headers are read for these instead (rss_parse.h) */
    uint64_t vlans;            /* of the frame we are in, as key_vlan_add() builds it */
    uint64_t vni;              /* of the tunnel we are in, as key_vni_make() builds it; 0: none that belongs to the key */
    uint32_t n_more;           /* headers that may still be passed over (PARSE_MAX_PASSED) */
    bool in_tunnel;            /* a tunnel has been entered: no second one is */
    bool in_quote;             /* inside an ICMP error */
    bool in_fragment;          /* behind a fragment header of this IPv6 header */
    bool copied;               /* what is read now is in `copy` */
    bool has_spare;            /* what counts if nothing readable comes any more: */
    uint8_t flags_outside;     /* out->flags before this IPv6 header */
    uint8_t spare_flags;
    bool spare_in_quote;
    struct ip_header spare_ip;
    uint32_t spare_ports;
    uint64_t spare_vlans, spare_vni;
    uint64_t spare_address[4];
    const uint8_t *copied_from;    /* what lies in `copy` */
    uint8_t copy[PARSE_MAX_BYTES]; /* a guess reads bytes twice: so it reads these, which nobody changes */
};

/* What is left, where nobody changes it. */
static inline struct cursor walk_private_copy(struct walk *w, struct cursor at)
{
    if (w->copied || at.left == 0)
        return at;
    cursor_copy(w->copy, at.at, at.left);
    w->copied_from = at.at;
    w->copied = true;
    return (struct cursor){w->copy, at.left};
}

/* May one more header be passed over? */
static inline bool walk_pass(struct walk *w)
{
    if (w->n_more == 0)
        return false;
    w->n_more--;
    return true;
}

/*
 * The packet has a key: the addresses in *key, what ip says, and the ports, as they are in memory. kind: PARSE_FLOW or
 * PARSE_LATER; in a quote it becomes PARSE_QUOTE or PARSE_QUOTE_LATER.
 */
void walk_finish(struct walk *w, struct ip_header ip, uint32_t ports, uint8_t kind);

/* The same for a flow without ports. */
void walk_finish_portless(struct walk *w, struct ip_header ip);

/* The key of this header, with these ports, counts unless what it carries gives a better one. flags: PARSE_*, to be added then.
 */
static inline void walk_keep_spare_ports(struct walk *w, struct ip_header ip, uint32_t ports, uint8_t flags)
{
    const uint64_t *address = w->key->word;
    if (ip.version == 6)
        memcpy(w->spare_address, address, sizeof(w->spare_address));
    else
        w->spare_address[0] = address[0];
    w->spare_ip = ip;
    w->spare_ports = ports;
    w->spare_vlans = w->vlans;
    w->spare_vni = w->vni;
    w->spare_flags = w->out->flags | flags;
    w->spare_in_quote = w->in_quote;
    w->has_spare = true;
}

/* The same without ports. */
static inline void walk_keep_spare(struct walk *w, struct ip_header ip) { walk_keep_spare_ports(w, ip, 0, 0); }

/* A frame that starts at its Ethernet header. */
void link_ethernet(struct walk *w, struct cursor at);

/*
 * A label stack (RFC 3032) and what is under it: IP, or a frame of a pseudowire, if it holds. If it does not, a packet that is in
 * no tunnel and no quote becomes PARSE_SPREAD; within a tunnel nothing is set, so that what the tunnel has kept counts.
 */
void link_mpls(struct walk *w, struct cursor at);

/* What nothing but its first bits calls IP: read as such if it holds; else a frame, if that holds; else left alone. */
void link_guess(struct walk *w, struct cursor at);

/* The same where it can be no frame. */
void link_guess_ip(struct walk *w, struct cursor at);

/* An IP packet; version: the one it must be of, 0 for either. */
void ip_packet(struct walk *w, struct cursor at, unsigned version);

/* What follows the header ip, or the last one of its extension headers; the addresses are in *key. */
void ip_transport(struct walk *w, struct cursor at, struct ip_header ip);

/* What follows ip, if it is a tunnel to look into; else ip gets its portless key. */
void tunnel_ip(struct walk *w, struct cursor at, struct ip_header ip);
void tunnel_gre(struct walk *w, struct cursor at, struct ip_header ip);

/* Might what follows ip be such a tunnel? */
bool tunnel_possible(const struct walk *w, struct ip_header ip);

/* Not, if the destination port is none of a tunnel's. ports: as they are in memory. */
static inline bool tunnel_udp_likely(const struct walk *w, uint32_t ports)
{
    return w->rules->udp_filter >> (be32toh(ports) & 63) & 1;
}

/* What follows the ports of a UDP header, if that is a tunnel to look into; else these are ip's ports. */
void tunnel_udp(struct walk *w, struct cursor at, struct ip_header ip, uint32_t ports);

#endif
