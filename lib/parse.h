/*
 * parse: from a frame to what steering must know about it (rules S3 to S7).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * parse_packet() never fails: any bytes of any length give a defined answer, at worst PARSE_KEYLESS. It looks at no more than
 * PARSE_MAX_BYTES of the packet, loads no byte twice and keeps what it loaded, so that memory that changes meanwhile (a guest's)
 * can make the answer wrong but never unsafe. Lengths come from the buffer; length fields in headers are not believed.
 * Works on the stack alone; no state, any thread.
 */
#ifndef FLOWQ_LIB_PARSE_H
#define FLOWQ_LIB_PARSE_H

#include "key.h"

#include "flowq.h"

#define PARSE_MAX_BYTES  256 /* == FLOWQ_HEADER_MAX */
#define PARSE_CACHE_LINE 64  /* bytes, or about that: headers are fetched by these */
#define PARSE_MAX_PASSED 8   /* headers passed over in all: VLAN tags, MPLS labels, extension headers of IPv6 and of GTP-U */

/* IP protocols and IPv6 next headers (IANA). */
enum {
    PROTO_HOP_BY_HOP = 0,
    PROTO_ICMP = 1,
    PROTO_IPV4 = 4,
    PROTO_TCP = 6,
    PROTO_UDP = 17,
    PROTO_DCCP = 33,
    PROTO_IPV6 = 41,
    PROTO_ROUTING = 43,
    PROTO_FRAGMENT = 44,
    PROTO_GRE = 47,
    PROTO_AH = 51,
    PROTO_ICMPV6 = 58,
    PROTO_NONE = 59,
    PROTO_DEST_OPTIONS = 60,
    PROTO_SCTP = 132,
    PROTO_MOBILITY = 135,
    PROTO_UDP_LITE = 136
};

/* The first byte of an address that stands for many: multicast, in IPv4 up to 239 (RFC 1112), in IPv6 this alone (RFC 4291). */
enum { IPV4_MULTICAST = 224, IPV6_MULTICAST = 0xff };

/* Which tunnels are looked into, and on which UDP destination ports (host byte order; 0: none). One copy per burst. */
enum parse_port {
    PARSE_PORT_VXLAN,
    PARSE_PORT_VXLAN_LINUX,
    PARSE_PORT_VXLAN_GPE,
    PARSE_PORT_GENEVE,
    PARSE_PORT_GTPU,
    PARSE_PORT_GRE_UDP,
    PARSE_PORT_GUE,
    PARSE_PORT_MPLS_UDP,
    PARSE_N_PORTS
};
struct parse_rules {
    uint64_t udp_filter;          /* bit (port & 63) is set for each destination port of an enabled UDP tunnel */
    uint32_t tunnels;             /* FLOWQ_TUNNEL_* bits; 0 here means none */
    bool key_vlan;                /* VLAN ids belong to the key, */
    bool key_vni;                 /* and so do the network ids of tunnels */
    uint16_t vlan_tpid;           /* one more ethertype of a VLAN tag; 0: none */
    uint16_t port[PARSE_N_PORTS]; /* of the UDP tunnels */
};

enum parse_kind {
    PARSE_KEYLESS,     /* no readable key: not IP, truncated, malformed, unknown flags */
    PARSE_FLOW,        /* key is the flow's; with PARSE_UNREAD_TUNNEL one that is never learned */
    PARSE_LATER,       /* a later fragment: `later` says of what; key holds addresses and protocol, ports zero */
    PARSE_QUOTE,       /* an ICMP error: key is that of the packet it quotes, AS QUOTED (not reversed) */
    PARSE_QUOTE_LATER, /* an ICMP error that quotes a later fragment: key as in PARSE_LATER, as quoted; `later` says nothing */
    PARSE_SPREAD,      /* no flow's key: key is only what the fallback spreads by (a label stack, 16 or 40 bytes) */
};

/* What parse_result.flags can say; with PARSE_KEYLESS, of as much as could be read. */
#define PARSE_MULTICAST                                                                                                          \
    0x01u /* to Ethernet's broadcast address, or IP's multicast or broadcast: outer, or inner of an inner key */
#define PARSE_FIN        0x02u /* TCP flags of the packet that gave the key; never set for quotes */
#define PARSE_SYN        0x04u
#define PARSE_RST        0x08u
#define PARSE_ICMP_ERROR 0x10u /* an ICMP or ICMPv6 error, also when its quote could not be read (then kind is PARSE_FLOW) */

#define PARSE_WHOLE_KEY 0x20u /* of PARSE_LATER: the protocol has no ports, so that the key is that of the flow */
#define PARSE_UNREAD_TUNNEL                                                                                                      \
    0x40u /* to the port of a UDP tunnel, and no inner packet could be read: the key is the outer one;                           \
             never set for quotes */

/* The identity of a datagram whose fragments belong together (RFC 791: id; RFC 8200: identification). No padding. */
struct parse_frag {
    uint8_t src[16], dst[16]; /* IPv4 addresses in the first four bytes, the rest zero */
    uint32_t id;
    uint8_t protocol; /* IPv4: the protocol; IPv6: 0, as the fragments of one datagram may name different headers */
    uint8_t version;  /* 4 or 6 */
    uint16_t zero;
    uint64_t vlans; /* as in a key, with key_vlan */
    uint64_t vni;   /* the word that the key has of the tunnel's network id; 0: none */
};
_Static_assert(sizeof(struct parse_frag) == 56, "hashed whole");

struct parse_result {
    struct key key;  /* as on the wire; the caller reverses */
    uint8_t kind;    /* enum parse_kind */
    uint8_t flags;   /* PARSE_* */
    uint8_t n_first; /* how many of first[] are set: this packet is the first fragment of so many datagrams (outer, inner), even
                        if its kind is not PARSE_FLOW: later fragments go where it goes also when it has no ports */
    struct parse_frag first[2];
    struct parse_frag later; /* kind PARSE_LATER */
};

/*
 * What was decided where S3 to S6 leave room:
 *
 *   - A header that is not whole makes the packet unreadable, but a TCP header cut behind its ports, and anything cut behind the
 *     addresses of a protocol without ports.
 *   - AH is a protocol of its own in IPv4 and an extension header in IPv6. A mobility header with nothing behind it is the
 *     message, of protocol 135. A second fragment header behind one IPv6 header is malformed: keyless.
 *   - More than PARSE_MAX_PASSED headers that are only passed over, outside and inside of a tunnel or a quote together, make the
 *     packet unreadable: each costs time, and nobody but an attacker has so many. RFC 8200 (4.1) has no use for more than seven
 *     extension headers. (RSS, which must hash what it can, reads on: rss_parse.c.)
 *   - A packet to the port of a UDP tunnel of which no inner packet can be read, whatever the reason (another version, a message
 *     of GTP-U that carries none, an unknown payload, somebody else's protocol), has the outer key, and PARSE_UNREAD_TUNNEL.
 *   - GRE that is never looked into (version 1, source routes, an unknown payload) is keyed on its addresses.
 *   - Labels, WCCP and ERSPAN in GRE are told by their type; in GRE that UDP carries, their own bit counts besides. Ethernet with
 *     a key in GRE is NVGRE; other GRE with IPv6 inside or outside is RFC 7676's; the rest goes by its options.
 *   - The key of GRE counts as a network id whatever the kind; of NVGRE its upper 24 bits, of Ethernet in GRE in UDP all 32, as
 *     the entropy is the port's there.
 *   - ERSPAN of type I, without any header, is told from II by the sequence number, which it lacks. Frame types of III other than
 *     Ethernet and IP are not read.
 *   - WCCP: where an IP header of the outer version does not begin there are four bytes before it. Those begin with two flags and
 *     zeros: 0x40 is no header of IPv4, which is at least 20 bytes long.
 *   - GUE: flags are not looked at, as the length of what they announce is known. A protocol with ports has the outer addresses;
 *     one without, but IP and GRE, is unread: there is no more to know, and a byte of somebody else's packet is easily one.
 *   - An ICMP error that quotes a UDP tunnel's packet of which no inner packet can be read quotes the outer one: the VM never
 *     binds that, and what its fallback is the error shares with whatever the other end sends back plainly. A quote of another
 *     tunnel is unreadable then: the VM's own packet may have been readable, so an outer key, which may be bound, would be a
 *     guess.
 *   - Each Ethernet header begins a list of VLAN ids of its own, which counts for all that comes without another one. A quote
 *     has those of the frame that carries the error. Id 0 is none; but its tag is one of the four that there may be.
 *   - A setting that calls a known ethertype that of a tag changes nothing.
 *   - Under labels, and in GTP-U, IP must hold (parse_link.c). Its length is compared with the window, not with the buffer, so
 *     that a packet is the same whether it was gathered or lay in one piece. PPPoE, PPP, GENEVE and the like name their payload:
 *     there nothing has to hold.
 *   - A pseudowire's frame is read if it carries IP, behind tags or not; a second label stack or PPPoE in it is not.
 *   - With segments left a routing header gives the destination, for the key, the datagram's identity and PARSE_MULTICAST; so a
 *     fragment's datagram is the same before and behind the last of the routers. One behind the fragment header does not change
 *     the identity: later fragments do not have it. Where it contradicts itself the packet is unreadable.
 *   - A later fragment whose protocol has no ports, and is no tunnel that may be looked into, has the whole key. Of IPv6 the
 *     protocol is known unless the fragment header names an extension header, AH included.
 *   - A redirect of IPv6 quotes what its option has, up to that option's length.
 */

/*
 * The complete parser, out of line. Fills *key and of *out kind, flags, n_first, and first/later as far as they apply; the rest
 * is undefined. Reading ends at min(len, PARSE_MAX_BYTES). The key goes where it is wanted later: a copy's loads would wait for
 * the parser's stores.
 */
void parse_packet_to(const struct flowq_pkt *pkt, const struct parse_rules *rules, struct key *key, struct parse_result *out);

/* The same with the key in *out. */
static inline void parse_packet(const struct flowq_pkt *pkt, const struct parse_rules *rules, struct parse_result *out)
{
    parse_packet_to(pkt, rules, &out->key, out);
}

#endif
