/*
 * parse_link: from the Ethernet header to the IP header.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "parse_walk.h"

/* ---- What nothing but its first bits tells --------------------------------------------------------------------------------- */

/*
 * Such bytes are IP if they hold as IP: else a pseudowire's frame, which begins with a MAC address, would give one key after
 * another. IPv4's checksum holds by chance once in 65536 times. IPv6 has a next header that must be known, a hop limit, addresses
 * of a kind that is in use, and its length, which tells something only where it ends where the window ends, or Ethernet's padding
 * begins; what it has beyond may have been cut off, by us or by whoever gathered it: then there must be no frame in its place.
 */
enum link_belief { LINK_NOT_BELIEVED, LINK_PERHAPS, LINK_BY_LENGTH, LINK_BY_CHECKSUM };

/* More behind a packet than Ethernet adds up to its least frame of 64 bytes (or a frame check sequence, of 4). */
#define LINK_PADDING_LIMIT 8 /* bytes */

static enum link_belief link_ipv4_holds(struct cursor at)
{
    const uint8_t *h, *options;
    uint64_t sum = 0;
    if (!cursor_take(&at, IP_MIN_BYTES, &h))
        return LINK_NOT_BELIEVED;
    size_t bytes = 4 * (cursor_u8(h) & 0x0f), total = cursor_be16(h + 2);
    if (bytes < IP_MIN_BYTES || !cursor_take(&at, bytes - IP_MIN_BYTES, &options))
        return LINK_NOT_BELIEVED;
    if (total != 0 && total < bytes) /* 0: a large segment */
        return LINK_NOT_BELIEVED;
    for (size_t i = 0; i < bytes; i += 4)
        sum += cursor_raw32(h + i);
    return sum % UINT16_MAX == 0 ? LINK_BY_CHECKSUM : LINK_NOT_BELIEVED; /* ones' complement, in whatever byte order (RFC 1071) */
}

/* Next headers that are in use. */
static bool link_plausible_next(size_t next)
{
    enum { ESP = 50, OSPF = 89, PIM = 103, VRRP = 112, L2TP = 115 };
    static const uint8_t known[] = {PROTO_HOP_BY_HOP,
                                    PROTO_IPV4,
                                    PROTO_TCP,
                                    PROTO_UDP,
                                    PROTO_DCCP,
                                    PROTO_IPV6,
                                    PROTO_GRE,
                                    PROTO_AH,
                                    PROTO_ROUTING,
                                    PROTO_FRAGMENT,
                                    PROTO_ICMPV6,
                                    PROTO_NONE,
                                    PROTO_SCTP,
                                    PROTO_MOBILITY,
                                    PROTO_DEST_OPTIONS,
                                    PROTO_UDP_LITE,
                                    ESP,
                                    OSPF,
                                    PIM,
                                    VRRP,
                                    L2TP};
    for (size_t i = 0; i < sizeof(known); i++)
        if (known[i] == next)
            return true;
    return false;
}

/*
 * The first two bytes of an address that somebody may have (IANA, IPv6 address space): unspecified, loopback and IPv4's, others
 * that stand for IPv4's (RFC 6052), global unicast, segments (RFC 9602), and from unique local ones up to multicast.
 */
static bool link_plausible_address(uint32_t first)
{
    enum { TRANSLATED = 0x0064, GLOBAL = 0x2000, GLOBAL_END = 0x4000, SEGMENTS = 0x5f00, UNIQUE_LOCAL = 0xfc00 };
    return first == 0 || first == TRANSLATED || (first >= GLOBAL && first < GLOBAL_END) || first == SEGMENTS ||
           first >= UNIQUE_LOCAL;
}

static enum link_belief link_ipv6_holds(struct cursor at)
{
    const uint8_t *h, *rest;
    if (!cursor_take(&at, IP_MIN_BYTES, &h) || !cursor_take(&at, IP_MIN_BYTES, &rest))
        return LINK_NOT_BELIEVED;
    size_t bytes = cursor_be16(h + 4);
    if (cursor_u8(h + 7) == 0 || !link_plausible_next(cursor_u8(h + 6)))
        return LINK_NOT_BELIEVED;
    if (!link_plausible_address(cursor_be16(h + 8)) || !link_plausible_address(cursor_be16(h + 24)))
        return LINK_NOT_BELIEVED;
    if (at.left >= bytes && at.left - bytes < LINK_PADDING_LIMIT)
        return LINK_BY_LENGTH;
    return bytes == 0 || bytes > at.left ? LINK_PERHAPS : LINK_NOT_BELIEVED; /* 0: a large segment */
}

static enum link_belief link_ip_holds(struct cursor at)
{
    size_t version = at.left > 0 ? cursor_u8(at.at) >> 4 : 0;
    if (version == 4)
        return link_ipv4_holds(at);
    return version == 6 ? link_ipv6_holds(at) : LINK_NOT_BELIEVED;
}

/* Known types are what they are, whatever the setting says. */
static __attribute__((noinline)) bool link_is_rare_vlan(const struct walk *w, unsigned type)
{
    switch (type) {
    case ETHERTYPE_QINQ_9100:
    case ETHERTYPE_QINQ_9200:
    case ETHERTYPE_QINQ_9300:
        return true;
    case ETHERTYPE_MPLS:
    case ETHERTYPE_MPLS_UPSTREAM:
    case ETHERTYPE_PPPOE:
        return false;
    }
    return type >= ETHERTYPE_MIN && type == w->rules->vlan_tpid;
}

static inline bool link_is_vlan(const struct walk *w, unsigned type)
{
    if (type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ)
        return true;
    return type != ETHERTYPE_IPV4 && type != ETHERTYPE_IPV6 && link_is_rare_vlan(w, type);
}

#define ETHERNET_BYTES   14
#define ETHERNET_TYPE_AT 12

#define PPPOE_VERSION_TYPE 0x11

/* A frame's ethertype, behind its tags; false if nothing follows that. */
static bool link_take_type(const struct walk *w, struct cursor *at, unsigned *type)
{
    const uint8_t *h;
    if (!cursor_take(at, ETHERNET_BYTES, &h))
        return false;
    *type = cursor_be16(h + ETHERNET_TYPE_AT);
    for (unsigned n = 0; n < FLOWQ_MAX_VLANS && link_is_vlan(w, *type); n++) {
        if (!cursor_take(at, 4, &h))
            return false;
        *type = cursor_be16(h + 2);
    }
    return at->left > 0;
}

/* A frame that carries IP is as likely as that. */
static __attribute__((noinline)) enum link_belief link_frame_holds(const struct walk *w, struct cursor at)
{
    unsigned type;
    if (!link_take_type(w, &at, &type) || type != (cursor_u8(at.at) >> 4 == 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6))
        return LINK_NOT_BELIEVED;
    return link_ip_holds(at);
}

#define ARP_ETHERNET_IPV4 0x00010800u /* how it begins: hardware, protocol (RFC 826) */

/* A frame whose ethertype is one that is usual, and in which that follows, as far as this can be seen. */
static __attribute__((noinline)) bool link_frame_likely(const struct walk *w, struct cursor at)
{
    struct cursor payload = at;
    const uint8_t *h;
    unsigned type;
    if (!link_take_type(w, &payload, &type))
        return false;
    switch (type) {
    case ETHERTYPE_ARP:
        return cursor_take(&payload, 4, &h) && cursor_be32(h) == ARP_ETHERNET_IPV4;
    case ETHERTYPE_MPLS:
    case ETHERTYPE_MPLS_UPSTREAM:
        return true;
    case ETHERTYPE_PPPOE_DISCOVERY:
    case ETHERTYPE_PPPOE:
        return cursor_u8(payload.at) == PPPOE_VERSION_TYPE;
    }
    return link_frame_holds(w, at) != LINK_NOT_BELIEVED;
}

#define PSEUDOWIRE_WORD 4 /* bytes of the control word, of which the first four bits are 0 (RFC 4385) */

static bool link_ip_likely(const struct walk *w, struct cursor at)
{
    enum link_belief belief = link_ip_holds(at);
    if (belief == LINK_BY_LENGTH)
        return link_frame_holds(w, at) != LINK_BY_CHECKSUM;
    return belief == LINK_BY_CHECKSUM || (belief == LINK_PERHAPS && !link_frame_likely(w, at));
}

/* A pseudowire's frame, behind its control word. */
static inline void link_pseudowire(struct walk *w, struct cursor at)
{
    WALK_LAYER(w, FLOWQ_LAYER_CONTROL_WORD, at.at - PSEUDOWIRE_WORD, at.at, 0);
    link_ethernet(w, at);
}

/* IP or a frame; false: nothing that can be read. word: the frame may have a pseudowire's control word before it. */
static bool link_guess_any(struct walk *w, struct cursor at, bool word)
{
    WALK_ENDS(w, FLOWQ_END_UNLIKE);
    at = walk_private_copy(w, at);
    struct cursor behind = at;
    if (link_ip_likely(w, at))
        ip_packet(w, at, 0);
    else if (word && cursor_skip(&behind, PSEUDOWIRE_WORD) && cursor_u8(at.at) >> 4 == 0 && link_frame_holds(w, behind))
        link_pseudowire(w, behind);
    else if (link_frame_holds(w, at))
        link_ethernet(w, at);
    else
        return false;
    return true;
}

void link_guess(struct walk *w, struct cursor at) { (void)link_guess_any(w, at, false); }

void link_guess_ip(struct walk *w, struct cursor at)
{
    WALK_ENDS(w, FLOWQ_END_UNLIKE);
    at = walk_private_copy(w, at);
    if (link_ip_likely(w, at))
        ip_packet(w, at, 0);
}

/* ---- MPLS ------------------------------------------------------------------------------------------------------------------ */

#define MPLS_BOTTOM      0x01u       /* in the third byte of a label: the last one */
#define MPLS_LABEL       0xfffff000u /* the rest is traffic class, bottom, and TTL, which change on the way */
#define MPLS_LABEL_SHIFT 12
#define MPLS_STACK_WORDS ((PARSE_MAX_PASSED + 1) / 2)
_Static_assert(MPLS_STACK_WORDS <= KEY_V6_BYTES / 8, "as a key");

static void link_spread(struct walk *w, const uint64_t stack[KEY_V6_BYTES / 8], unsigned n)
{
    memcpy(w->key->word, stack, KEY_V6_BYTES);
    w->key->bytes = n > 2 * (KEY_V4_BYTES / 8) ? KEY_V6_BYTES : KEY_V4_BYTES;
    w->out->kind = PARSE_SPREAD;
}

/* Special labels are passed over like the others: explicit null, router alert, entropy (RFC 3032, 6790). */
void link_mpls(struct walk *w, struct cursor at)
{
    uint64_t stack[KEY_V6_BYTES / 8] = {0}; /* two labels each */
    unsigned n = 0;
    const uint8_t *entry;
    uint32_t label;
    WALK_ENDS(w, FLOWQ_END_CUT);
    do {
        if (!walk_pass(w)) {
            WALK_ENDS(w, FLOWQ_END_LIMIT);
            return;
        }
        if (!cursor_take(&at, 4, &entry))
            return;
        label = cursor_be32(entry);
        WALK_LAYER(w, FLOWQ_LAYER_MPLS, entry, at.at, label >> MPLS_LABEL_SHIFT);
        if (n < 2 * MPLS_STACK_WORDS) /* RSS reads on */
            stack[n / 2] |= (uint64_t)(label & MPLS_LABEL) << 32 * (n % 2);
        n++;
    } while (!(label >> 8 & MPLS_BOTTOM));
    if (!link_guess_any(w, at, true) && !w->in_tunnel && !w->in_quote)
        link_spread(w, stack, n);
}

/* ---- Ethernet -------------------------------------------------------------------------------------------------------------- */

#define PPPOE_SESSION_DATA 0x00
enum { PPP_IPV4 = 0x0021, PPP_IPV6 = 0x0057 };

/* PPP's protocol is two bytes, or one if the first one is odd (RFC 1661, 6.5). */
static bool link_take_ppp_protocol(struct cursor *at, size_t *protocol)
{
    const uint8_t *h;
    if (!cursor_take(at, 1, &h))
        return false;
    *protocol = cursor_u8(h);
    if (*protocol & 1)
        return true;
    if (!cursor_take(at, 1, &h))
        return false;
    *protocol = *protocol << 8 | cursor_u8(h);
    return true;
}

static void link_pppoe(struct walk *w, struct cursor at)
{
    const uint8_t *h; /* version and type, code, session, length */
    size_t protocol;
    WALK_ENDS(w, FLOWQ_END_CUT);
    if (!cursor_take(&at, 6, &h))
        return;
    if (cursor_u8(h) != PPPOE_VERSION_TYPE || cursor_u8(h + 1) != PPPOE_SESSION_DATA) {
        WALK_ENDS(w, FLOWQ_END_UNREAD);
        return;
    }
    if (!link_take_ppp_protocol(&at, &protocol))
        return;
    WALK_LAYER(w, FLOWQ_LAYER_PPPOE, h, at.at, protocol);
    WALK_ENDS(w, FLOWQ_END_UNREAD);
    if (protocol == PPP_IPV4)
        ip_packet(w, at, 4);
    else if (protocol == PPP_IPV6)
        ip_packet(w, at, 6);
}

static inline void link_ethertype(struct walk *w, struct cursor at, unsigned type)
{
    WALK_ENDS(w, FLOWQ_END_UNREAD);
    switch (type) {
    case ETHERTYPE_IPV4:
        ip_packet(w, at, 4);
        return;
    case ETHERTYPE_IPV6:
        ip_packet(w, at, 6);
        return;
    case ETHERTYPE_MPLS:
    case ETHERTYPE_MPLS_UPSTREAM:
        link_mpls(w, at);
        return;
    case ETHERTYPE_PPPOE:
        link_pppoe(w, at);
        return;
    }
}

/*
 * IEEE 802.2: the service access points, a control byte (unnumbered information), and with SNAP an organisation and an ethertype.
 */
static void link_llc(struct walk *w, struct cursor at)
{
    static const uint8_t ip_sap[3] = {0x06, 0x06, 0x03};
    static const uint8_t snap[3] = {0xaa, 0xaa, 0x03};
    static const uint8_t rfc1042[3] = {0, 0, 0}; /* the organisation whose types are ethertypes */
    const uint8_t *h, *s;
    uint8_t points[3], organisation[3];
    WALK_ENDS(w, FLOWQ_END_CUT);
    if (!cursor_take(&at, 3, &h))
        return;
    cursor_copy(points, h, sizeof(points));
    bool is_snap = memcmp(points, snap, sizeof(points)) == 0;
    WALK_ENDS(w, is_snap ? FLOWQ_END_CUT : FLOWQ_END_UNREAD);
    if (memcmp(points, ip_sap, sizeof(points)) == 0) {
        WALK_LAYER(w, FLOWQ_LAYER_LLC, h, at.at, points[0]);
        ip_packet(w, at, 4); /* the access point is IPv4's (RFC 1042); IPv6 has none */
    } else if (is_snap && cursor_take(&at, 5, &s)) {
        WALK_LAYER(w, FLOWQ_LAYER_LLC, h, at.at, points[0]);
        WALK_ENDS(w, FLOWQ_END_UNREAD);
        cursor_copy(organisation, s, sizeof(organisation));
        if (memcmp(organisation, rfc1042, sizeof(rfc1042)) == 0)
            link_ethertype(w, at, cursor_be16(s + 3));
    }
}

/* What is neither IPv4 nor IPv6. */
static __attribute__((noinline)) void link_other_type(struct walk *w, struct cursor at, unsigned type)
{
    const bool key_vlan = w->rules->key_vlan;
    const uint8_t *tag;
    uint32_t most = w->n_more < FLOWQ_MAX_VLANS ? w->n_more : FLOWQ_MAX_VLANS, n_more = most;
    for (; link_is_vlan(w, type); n_more--) {
        if (n_more == 0 || !cursor_take(&at, 4, &tag)) {
            WALK_ENDS(w, n_more == 0 ? FLOWQ_END_LIMIT : FLOWQ_END_CUT);
            return;
        }
        uint32_t word = cursor_be32(tag); /* the tag itself, then the next type */
        uint16_t id = word >> 16 & 0x0fff;
        if (key_vlan && id != 0) /* 0: a priority, and no VLAN (IEEE 802.1Q, 6.9.1) */
            w->vlans = key_vlan_add(w->vlans, id);
        type = word & 0xffff;
        WALK_LAYER(w, FLOWQ_LAYER_VLAN, tag, at.at, id);
    }
    w->n_more -= most - n_more;
    if (type < ETHERTYPE_MIN)
        link_llc(w, at);
    else
        link_ethertype(w, at, type);
}

void link_ethernet(struct walk *w, struct cursor at)
{
    const uint8_t *h;
    WALK_ENDS(w, FLOWQ_END_CUT);
    if (!cursor_take(&at, ETHERNET_BYTES, &h))
        return;
    /* Broadcast alone: a group's address may be that of a cluster of routers (S7). */
    if (cursor_be32(h) == UINT32_MAX && cursor_be16(h + 4) == UINT16_MAX && !w->in_quote)
        w->out->flags |= PARSE_MULTICAST;
    w->vlans = 0; /* those of a frame around this one do not count */
    unsigned type = cursor_be16(h + ETHERNET_TYPE_AT);
    WALK_LAYER(w, FLOWQ_LAYER_ETHERNET, h, at.at, type);
    if (type == ETHERTYPE_IPV6)
        ip_packet(w, at, 6);
    else if (type == ETHERTYPE_IPV4)
        ip_packet(w, at, 4);
    else
        link_other_type(w, at, type);
}
