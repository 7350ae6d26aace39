/*
 * parse_link: from the Ethernet header to the IP header.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "parse_walk.h"

#define MPLS_BOTTOM 0x01 /* in the third byte of a label: the last one */

/* What is under the labels is told by its first bits alone: anything but IP stays unread. */
static void mpls(struct walk *w)
{
    uint8_t label[4];
    do {
        if (!walk_pass(w) || !take(&w->at, label, sizeof(label)))
            return;
    } while (!(label[2] & MPLS_BOTTOM));
    ip_packet(w, 0);
}

#define PPPOE_VERSION_TYPE 0x11
#define PPPOE_SESSION_DATA 0x00
enum { PPP_IPV4 = 0x0021, PPP_IPV6 = 0x0057 };

static void pppoe(struct walk *w)
{
    uint8_t h[8]; /* version and type, code, session, length; then PPP's protocol */
    if (!take(&w->at, h, sizeof(h)) || h[0] != PPPOE_VERSION_TYPE || h[1] != PPPOE_SESSION_DATA)
        return;
    if (load_be16(h + 6) == PPP_IPV4)
        ip_packet(w, 4);
    else if (load_be16(h + 6) == PPP_IPV6)
        ip_packet(w, 6);
}

static void ethertype(struct walk *w, unsigned type)
{
    switch (type) {
    case ETHERTYPE_IPV4:
        ip_packet(w, 4);
        return;
    case ETHERTYPE_IPV6:
        ip_packet(w, 6);
        return;
    case ETHERTYPE_MPLS:
    case ETHERTYPE_MPLS_UPSTREAM:
        mpls(w);
        return;
    case ETHERTYPE_PPPOE:
        pppoe(w);
        return;
    }
}

/*
 * IEEE 802.2: the service access points, a control byte (unnumbered information), and with SNAP an organisation and an ethertype.
 */
static void llc(struct walk *w)
{
    static const uint8_t ip_sap[3] = {0x06, 0x06, 0x03};
    static const uint8_t snap[3] = {0xaa, 0xaa, 0x03};
    static const uint8_t rfc1042[3] = {0, 0, 0}; /* the organisation whose types are ethertypes */
    uint8_t h[3], s[5];
    if (!take(&w->at, h, sizeof(h)))
        return;
    if (memcmp(h, ip_sap, sizeof(h)) == 0)
        ip_packet(w, 4); /* the access point is IPv4's (RFC 1042); IPv6 has none */
    else if (memcmp(h, snap, sizeof(h)) == 0 && take(&w->at, s, sizeof(s)) && memcmp(s, rfc1042, sizeof(rfc1042)) == 0)
        ethertype(w, load_be16(s + 3));
}

static bool is_vlan(unsigned type)
{
    return type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ || type == ETHERTYPE_QINQ_OLD;
}

void link_ethernet(struct walk *w)
{
    struct cursor at = w->at; /* stays in registers */
    const bool key_vlan = w->rules->key_vlan;
    uint8_t h[14], tag[4];
    if (!take(&at, h, sizeof(h)))
        return;
    if (!w->in_quote && h[0] & 1)
        w->out->flags |= PARSE_MULTICAST;

    unsigned type = load_be16(h + 12);
    uint32_t most = w->n_more < FLOWQ_MAX_VLANS ? w->n_more : FLOWQ_MAX_VLANS, n_more = most;
    for (; is_vlan(type); n_more--) {
        if (n_more == 0 || !take(&at, tag, sizeof(tag)))
            return;
        uint32_t word = load_be32(tag); /* the tag itself, then the next type */
        if (key_vlan)
            w->vlans = key_vlan_add(w->vlans, word >> 16 & 0x0fff);
        type = word & 0xffff;
    }
    w->n_more -= most - n_more;
    w->at = at;
    if (type < ETHERTYPE_MIN)
        llc(w);
    else
        ethertype(w, type);
}
