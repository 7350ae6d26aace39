/*
 * parse_link: from the Ethernet header to the IP header.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "parse_walk.h"

#define MPLS_BOTTOM 0x01 /* in the third byte of a label: the last one */

/* What is under the labels is told by its first bits alone: anything but IP stays unread. */
static void mpls(struct walk *w, struct cursor at)
{
    const uint8_t *label;
    do {
        if (!walk_pass(w) || !take(&at, 4, &label))
            return;
    } while (!(read_u8(label + 2) & MPLS_BOTTOM));
    ip_packet(w, at, 0);
}

#define PPPOE_VERSION_TYPE 0x11
#define PPPOE_SESSION_DATA 0x00
enum { PPP_IPV4 = 0x0021, PPP_IPV6 = 0x0057 };

static void pppoe(struct walk *w, struct cursor at)
{
    const uint8_t *h; /* version and type, code, session, length; then PPP's protocol */
    if (!take(&at, 8, &h) || read_u8(h) != PPPOE_VERSION_TYPE || read_u8(h + 1) != PPPOE_SESSION_DATA)
        return;
    unsigned protocol = read_be16(h + 6);
    if (protocol == PPP_IPV4)
        ip_packet(w, at, 4);
    else if (protocol == PPP_IPV6)
        ip_packet(w, at, 6);
}

static inline void ethertype(struct walk *w, struct cursor at, unsigned type)
{
    switch (type) {
    case ETHERTYPE_IPV4:
        ip_packet(w, at, 4);
        return;
    case ETHERTYPE_IPV6:
        ip_packet(w, at, 6);
        return;
    case ETHERTYPE_MPLS:
    case ETHERTYPE_MPLS_UPSTREAM:
        mpls(w, at);
        return;
    case ETHERTYPE_PPPOE:
        pppoe(w, at);
        return;
    }
}

/*
 * IEEE 802.2: the service access points, a control byte (unnumbered information), and with SNAP an organisation and an ethertype.
 */
static void llc(struct walk *w, struct cursor at)
{
    static const uint8_t ip_sap[3] = {0x06, 0x06, 0x03};
    static const uint8_t snap[3] = {0xaa, 0xaa, 0x03};
    static const uint8_t rfc1042[3] = {0, 0, 0}; /* the organisation whose types are ethertypes */
    const uint8_t *h, *s;
    uint8_t points[3], organisation[3];
    if (!take(&at, 3, &h))
        return;
    copy_out(points, h, sizeof(points));
    if (memcmp(points, ip_sap, sizeof(points)) == 0) {
        ip_packet(w, at, 4); /* the access point is IPv4's (RFC 1042); IPv6 has none */
    } else if (memcmp(points, snap, sizeof(points)) == 0 && take(&at, 5, &s)) {
        copy_out(organisation, s, sizeof(organisation));
        if (memcmp(organisation, rfc1042, sizeof(rfc1042)) == 0)
            ethertype(w, at, read_be16(s + 3));
    }
}

static bool is_vlan(unsigned type)
{
    return type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ || type == ETHERTYPE_QINQ_OLD;
}

/* What is neither IPv4 nor IPv6. */
static __attribute__((noinline)) void other_type(struct walk *w, struct cursor at, unsigned type)
{
    const bool key_vlan = w->rules->key_vlan;
    const uint8_t *tag;
    uint32_t most = w->n_more < FLOWQ_MAX_VLANS ? w->n_more : FLOWQ_MAX_VLANS, n_more = most;
    for (; is_vlan(type); n_more--) {
        if (n_more == 0 || !take(&at, 4, &tag))
            return;
        uint32_t word = read_be32(tag); /* the tag itself, then the next type */
        if (key_vlan)
            w->vlans = key_vlan_add(w->vlans, word >> 16 & 0x0fff);
        type = word & 0xffff;
    }
    w->n_more -= most - n_more;
    if (type < ETHERTYPE_MIN)
        llc(w, at);
    else
        ethertype(w, at, type);
}

void link_ethernet(struct walk *w, struct cursor at)
{
    const uint8_t *h;
    if (!take(&at, 14, &h))
        return;
    if (read_u8(h) & 1 && !w->in_quote)
        w->out->flags |= PARSE_MULTICAST;
    unsigned type = read_be16(h + 12);
    if (type == ETHERTYPE_IPV6)
        ip_packet(w, at, 6);
    else if (type == ETHERTYPE_IPV4)
        ip_packet(w, at, 4);
    else
        other_type(w, at, type);
}
