/*
 * parse_tunnel: tunnels that end in the VM; packets of these are keyed on the inner flow alone (rule S4).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "parse_walk.h"
#include "tunnel.h"

/*
 * Enters a tunnel that is no UDP tunnel: should the inner packet not be readable, the outer addresses and protocol count. Except
 * in a quote: the VM's packet may have been readable where only its first bytes are quoted, so the quote says nothing then.
 */
static void tunnel_enter(struct walk *w, struct ip_header outer)
{
    if (!w->in_quote)
        walk_keep_spare(w, outer);
    w->in_tunnel = true;
}

/* The tunnel has a network id: 24 bits, which stand above 8 others, or all 32 bits at `id`. */
static inline void tunnel_take_vni(struct walk *w, const uint8_t *id, unsigned shift)
{
    if (w->rules->key_vni)
        w->vni = key_vni_make(cursor_be32(id) >> shift);
}
#define TUNNEL_VNI_SHIFT 8

/* The payload of a tunnel that names it by ethertype. */
static void tunnel_payload(struct walk *w, struct cursor at, unsigned ethertype)
{
    WALK_ENDS(w, FLOWQ_END_UNREAD);
    if (ethertype == ETHERTYPE_TEB)
        link_ethernet(w, at);
    else if (ethertype == ETHERTYPE_IPV4)
        ip_packet(w, at, 4);
    else if (ethertype == ETHERTYPE_IPV6)
        ip_packet(w, at, 6);
}

/* ---- GRE: RFC 2784, 2890, 7676; NVGRE: RFC 7637; GRE in UDP: RFC 8086 ------------------------------------------------------ */

/* GRE's first four bytes. */
#define GRE_CHECKSUM 0x8000u
#define GRE_ROUTING  0x4000u /* RFC 1701's source routes: not looked into */
#define GRE_KEY      0x2000u
#define GRE_SEQUENCE 0x1000u
#define GRE_VERSION  0x0007u /* 1 is PPTP: not looked into */
struct gre_header {
    unsigned flags, ethertype;
};

/* Protocol types that say of themselves what kind of tunnel it is. */
enum {
    GRE_TYPE_WCCP = 0x883e,
    GRE_TYPE_ERSPAN_2 = 0x88be, /* also of type I */
    GRE_TYPE_ERSPAN_3 = 0x22eb
};

/* Takes the start of a GRE header; false if it cannot be read. */
static bool tunnel_take_gre(struct cursor *at, struct gre_header *gre)
{
    const uint8_t *h;
    if (!cursor_take(at, 4, &h))
        return false;
    gre->flags = cursor_be16(h);
    gre->ethertype = cursor_be16(h + 2);
    return true;
}

/*
 * Which kind this is; 0: none that is looked into. Labels, WCCP and ERSPAN are told by their type. Ethernet with a key is NVGRE,
 * over IPv6 too. What carries or is carried by IPv6 is RFC 7676, with or without options. The rest, Ethernet without a key
 * included, goes by its options.
 */
static uint32_t tunnel_gre_kind(const struct gre_header *gre, struct ip_header outer)
{
    if (gre->flags & (GRE_ROUTING | GRE_VERSION))
        return 0;
    switch (gre->ethertype) {
    case ETHERTYPE_MPLS:
    case ETHERTYPE_MPLS_UPSTREAM:
        return FLOWQ_TUNNEL_MPLS_GRE;
    case GRE_TYPE_WCCP:
        return FLOWQ_TUNNEL_WCCP;
    case GRE_TYPE_ERSPAN_2:
    case GRE_TYPE_ERSPAN_3:
        return FLOWQ_TUNNEL_ERSPAN;
    case ETHERTYPE_TEB:
        if (gre->flags & GRE_KEY)
            return FLOWQ_TUNNEL_NVGRE;
        break;
    case ETHERTYPE_IPV6:
        return FLOWQ_TUNNEL_GRE_7676;
    case ETHERTYPE_IPV4:
        break;
    default:
        return 0;
    }
    if (outer.version == 6)
        return FLOWQ_TUNNEL_GRE_7676;
    return gre->flags & (GRE_KEY | GRE_SEQUENCE) ? FLOWQ_TUNNEL_GRE_2890 : FLOWQ_TUNNEL_GRE_2784;
}

/* shift: of the key's bits, so many are no network id: TUNNEL_VNI_SHIFT, or 0. */
static bool tunnel_take_gre_options(struct walk *w, struct cursor *at, unsigned flags, unsigned shift)
{
    const uint8_t *h;
    size_t checksum = flags & GRE_CHECKSUM ? 4 : 0, key = flags & GRE_KEY ? 4 : 0, sequence = flags & GRE_SEQUENCE ? 4 : 0;
    if (!cursor_take(at, checksum + key + sequence, &h))
        return false;
    WALK_LAYER(w, FLOWQ_LAYER_GRE, h - 4, at->at, cursor_be16(h - 2));
    if (key)
        tunnel_take_vni(w, h + checksum, shift);
    return true;
}

/*
 * A packet that a router redirects to a cache (draft-mclaggan-wccp-v2rev1, appendix B): of version 1 just so, of version 2 behind
 * a header of four bytes, whose first has two flags above six zeros. It is of the outer IP version, as Linux has it (ip_gre.c).
 */
#define WCCP_HEADER_BYTES 4
#define IPV4_FIRST_MIN    (0x40 + IP_MIN_BYTES / 4) /* version, and the least length, in words */
#define IPV4_FIRST_MAX    0x4f
static void tunnel_wccp(struct walk *w, struct cursor at, unsigned version)
{
    at = walk_private_copy(w, at);
    size_t first = at.left ? cursor_u8(at.at) : 0;
    bool begins = version == 4 ? first >= IPV4_FIRST_MIN && first <= IPV4_FIRST_MAX : first >> 4 == 6;
    if (!begins) {
        if (!cursor_skip(&at, WCCP_HEADER_BYTES))
            return;
        WALK_LAYER(w, FLOWQ_LAYER_WCCP, at.at - WCCP_HEADER_BYTES, at.at, 0);
    }
    ip_packet(w, at, version);
}

/*
 * Mirrored frames (draft-foschiano-erspan-03): type I has no header and no sequence number, II has 8 bytes, III has 12, and 8
 * more if its last bit (O) is set. Of these only III says what the frame is.
 */
#define ERSPAN_2_VERSION        1 /* in the upper half of the first byte */
#define ERSPAN_2_BYTES          8
#define ERSPAN_3_VERSION        2
#define ERSPAN_3_BYTES          12
#define ERSPAN_3_WORD_AT        10 /* P, FT (5 bits), Hw ID, D, Gra, O */
#define ERSPAN_3_FRAME_SHIFT    10
#define ERSPAN_3_FRAME_MASK     0x1fu
#define ERSPAN_3_PLATFORM       0x0001u
#define ERSPAN_3_PLATFORM_BYTES 8
enum { ERSPAN_FRAME_ETHERNET = 0, ERSPAN_FRAME_IP = 2 };

static void tunnel_erspan_2(struct walk *w, struct cursor at, unsigned gre_flags)
{
    const uint8_t *h;
    if (gre_flags & GRE_SEQUENCE) {
        if (!cursor_take(&at, ERSPAN_2_BYTES, &h))
            return;
        if (cursor_u8(h) >> 4 != ERSPAN_2_VERSION) {
            WALK_ENDS(w, FLOWQ_END_UNREAD);
            return;
        }
        WALK_LAYER(w, FLOWQ_LAYER_ERSPAN, h, at.at, 2);
    }
    link_ethernet(w, at);
}

static void tunnel_erspan_3(struct walk *w, struct cursor at)
{
    const uint8_t *h;
    if (!cursor_take(&at, ERSPAN_3_BYTES, &h))
        return;
    if (cursor_u8(h) >> 4 != ERSPAN_3_VERSION) {
        WALK_ENDS(w, FLOWQ_END_UNREAD);
        return;
    }
    unsigned word = cursor_be16(h + ERSPAN_3_WORD_AT);
    if (!cursor_skip(&at, word & ERSPAN_3_PLATFORM ? ERSPAN_3_PLATFORM_BYTES : 0))
        return;
    WALK_LAYER(w, FLOWQ_LAYER_ERSPAN, h, at.at, 3);
    WALK_ENDS(w, FLOWQ_END_UNREAD);
    unsigned frame = word >> ERSPAN_3_FRAME_SHIFT & ERSPAN_3_FRAME_MASK;
    if (frame == ERSPAN_FRAME_ETHERNET)
        link_ethernet(w, at);
    else if (frame == ERSPAN_FRAME_IP)
        ip_packet(w, at, 0);
}

/* What is behind the options, of a kind that is looked into. */
static void tunnel_gre_payload(struct walk *w, struct cursor at, const struct gre_header *gre, struct ip_header outer)
{
    switch (gre->ethertype) {
    case ETHERTYPE_MPLS:
    case ETHERTYPE_MPLS_UPSTREAM:
        link_mpls(w, at);
        break;
    case GRE_TYPE_WCCP:
        tunnel_wccp(w, at, outer.version);
        break;
    case GRE_TYPE_ERSPAN_2:
        tunnel_erspan_2(w, at, gre->flags);
        break;
    case GRE_TYPE_ERSPAN_3:
        tunnel_erspan_3(w, at);
        break;
    default:
        tunnel_payload(w, at, gre->ethertype);
    }
}

#define TUNNELS_IN_GRE (FLOWQ_TUNNEL_MPLS_GRE | FLOWQ_TUNNEL_WCCP | FLOWQ_TUNNEL_ERSPAN) /* told by the type */

void tunnel_gre(struct walk *w, struct cursor at, struct ip_header outer)
{
    struct gre_header gre;
    if (w->in_tunnel || !(w->rules->tunnels & TUNNELS_GRE)) {
        walk_finish_portless(w, outer);
        return;
    }
    if (!tunnel_take_gre(&at, &gre)) {
        tunnel_enter(w, outer); /* as much a tunnel as one that is cut later */
        return;
    }
    uint32_t kind = tunnel_gre_kind(&gre, outer);
    if (!(w->rules->tunnels & kind)) {
        walk_finish_portless(w, outer);
        return;
    }
    tunnel_enter(w, outer);
    if (tunnel_take_gre_options(w, &at, gre.flags, kind == FLOWQ_TUNNEL_NVGRE ? TUNNEL_VNI_SHIFT : 0))
        tunnel_gre_payload(w, at, &gre, outer);
}

/* The tunnel that carries it is what is looked into; but its own kind counts, too, if it is not IP's or Ethernet's. */
static void tunnel_gre_in_udp(struct walk *w, struct cursor at, struct ip_header outer)
{
    struct gre_header gre;
    if (!tunnel_take_gre(&at, &gre))
        return;
    uint32_t kind = tunnel_gre_kind(&gre, outer);
    if (kind == 0 || (kind & TUNNELS_IN_GRE && !(w->rules->tunnels & kind))) {
        WALK_ENDS(w, FLOWQ_END_UNREAD);
        return;
    }
    if (tunnel_take_gre_options(w, &at, gre.flags, 0))
        tunnel_gre_payload(w, at, &gre, outer);
}

/* ---- IP in IP -------------------------------------------------------------------------------------------------------------- */

static uint32_t tunnel_ip_kind(struct ip_header outer)
{
    if (outer.version == 4)
        return outer.protocol == PROTO_IPV4 ? FLOWQ_TUNNEL_IPIP : FLOWQ_TUNNEL_6IN4;
    return outer.protocol == PROTO_IPV4 ? FLOWQ_TUNNEL_4IN6 : FLOWQ_TUNNEL_6IN6;
}

bool tunnel_possible(const struct walk *w, struct ip_header ip)
{
    if (ip.protocol != PROTO_GRE && ip.protocol != PROTO_IPV4 && ip.protocol != PROTO_IPV6)
        return false;
    return !w->in_tunnel && w->rules->tunnels & (ip.protocol == PROTO_GRE ? TUNNELS_GRE : tunnel_ip_kind(ip));
}

void tunnel_ip(struct walk *w, struct cursor at, struct ip_header outer)
{
    if (!tunnel_possible(w, outer)) {
        walk_finish_portless(w, outer);
        return;
    }
    tunnel_enter(w, outer);
    ip_packet(w, at, outer.protocol == PROTO_IPV4 ? 4 : 6);
}

/* ---- UDP tunnels: VXLAN, RFC 7348; VXLAN-GPE, draft-ietf-nvo3-vxlan-gpe; GENEVE, RFC 8926 ---------------------------------- */

#define TUNNEL_VNI_AT 4 /* of all three */

#define VXLAN_VNI_VALID      0x08 /* RFC 7348's I flag: must be set */
#define VXLAN_GPE_VERSION    0x30
#define VXLAN_GPE_NEXT_VALID 0x04 /* P flag: without it the payload is Ethernet, as in plain VXLAN */
enum { VXLAN_GPE_IPV4 = 1, VXLAN_GPE_IPV6 = 2, VXLAN_GPE_ETHERNET = 3 };

static void tunnel_vxlan(struct walk *w, struct cursor at, struct ip_header outer)
{
    const uint8_t *h;
    (void)outer;
    if (!cursor_take(&at, 8, &h))
        return;
    if (!(cursor_u8(h) & VXLAN_VNI_VALID)) {
        WALK_ENDS(w, FLOWQ_END_UNREAD);
        return;
    }
    WALK_LAYER(w, FLOWQ_LAYER_VXLAN, h, at.at, cursor_be32(h + TUNNEL_VNI_AT) >> TUNNEL_VNI_SHIFT);
    tunnel_take_vni(w, h + TUNNEL_VNI_AT, TUNNEL_VNI_SHIFT);
    link_ethernet(w, at);
}

static void tunnel_vxlan_gpe(struct walk *w, struct cursor at, struct ip_header outer)
{
    const uint8_t *h;
    (void)outer;
    if (!cursor_take(&at, 8, &h))
        return;
    size_t flags = cursor_u8(h);
    WALK_ENDS(w, FLOWQ_END_UNREAD);
    if (!(flags & VXLAN_VNI_VALID) || flags & VXLAN_GPE_VERSION)
        return;
    WALK_LAYER(w, FLOWQ_LAYER_VXLAN_GPE, h, at.at, cursor_be32(h + TUNNEL_VNI_AT) >> TUNNEL_VNI_SHIFT);
    WALK_ENDS(w, FLOWQ_END_UNREAD);
    size_t next = flags & VXLAN_GPE_NEXT_VALID ? cursor_u8(h + 3) : VXLAN_GPE_ETHERNET;
    tunnel_take_vni(w, h + TUNNEL_VNI_AT, TUNNEL_VNI_SHIFT);
    if (next == VXLAN_GPE_ETHERNET)
        link_ethernet(w, at);
    else if (next == VXLAN_GPE_IPV4)
        ip_packet(w, at, 4);
    else if (next == VXLAN_GPE_IPV6)
        ip_packet(w, at, 6);
}

#define GENEVE_VERSION      0xc0
#define GENEVE_OPTION_WORDS 0x3f

static void tunnel_geneve(struct walk *w, struct cursor at, struct ip_header outer)
{
    const uint8_t *h;
    (void)outer;
    if (!cursor_take(&at, 8, &h))
        return;
    size_t first = cursor_u8(h);
    if (first & GENEVE_VERSION || !cursor_skip(&at, 4 * (first & GENEVE_OPTION_WORDS))) {
        WALK_ENDS(w, first & GENEVE_VERSION ? FLOWQ_END_UNREAD : FLOWQ_END_CUT);
        return;
    }
    WALK_LAYER(w, FLOWQ_LAYER_GENEVE, h, at.at, cursor_be32(h + TUNNEL_VNI_AT) >> TUNNEL_VNI_SHIFT);
    tunnel_take_vni(w, h + TUNNEL_VNI_AT, TUNNEL_VNI_SHIFT);
    tunnel_payload(w, at, cursor_be16(h + 2));
}

/* ---- UDP tunnels: GTP-U, 3GPP TS 29.281 ------------------------------------------------------------------------------------ */

/* The first byte of GTP-U: version 1, protocol type GTP; then which of the optional fields there are. */
#define GTPU_KIND_MASK 0xf0
#define GTPU_KIND      0x30
#define GTPU_EXTENSION 0x04 /* the field "next extension header" is valid */
#define GTPU_OPTIONAL  0x07 /* any of E, S, PN: then all their fields are there */
#define GTPU_G_PDU     255  /* the message type that carries a packet */

/* Each extension header: its length in words, contents, the type of the next one; type 0 ends the chain. */
static bool tunnel_skip_gtpu_extensions(struct walk *w, struct cursor *at)
{
    const uint8_t *words, *rest;
    size_t bytes; /* of the rest: contents and the type; a header of no words is nonsense */
    do {
        if (!walk_pass(w)) {
            WALK_ENDS(w, FLOWQ_END_LIMIT);
            return false;
        }
        if (!cursor_take(at, 1, &words))
            return false;
        bytes = 4 * cursor_u8(words) - 1;
        WALK_ENDS(w, bytes == SIZE_MAX ? FLOWQ_END_MALFORMED : FLOWQ_END_CUT);
        if (!cursor_take(at, bytes, &rest))
            return false;
        WALK_LAYER(w, FLOWQ_LAYER_GTPU_EXTENSION, words, at->at, cursor_u8(rest + bytes - 1));
    } while (cursor_u8(rest + bytes - 1) != 0);
    return true;
}

/* The tunnel's id differs per direction: it is never part of a key. */
static void tunnel_gtpu(struct walk *w, struct cursor at, struct ip_header outer)
{
    (void)outer;
    const uint8_t *h, *optional; /* of optional: sequence number, N-PDU number, type of the first extension */
    if (!cursor_take(&at, 8, &h))
        return;
    size_t first = cursor_u8(h);
    if ((first & GTPU_KIND_MASK) != GTPU_KIND || cursor_u8(h + 1) != GTPU_G_PDU) {
        WALK_ENDS(w, FLOWQ_END_UNREAD);
        return;
    }
    bool has_optional = first & GTPU_OPTIONAL;
    if (has_optional && !cursor_take(&at, 4, &optional))
        return;
    WALK_LAYER(w, FLOWQ_LAYER_GTPU, h, at.at, cursor_be32(h + TUNNEL_VNI_AT));
    if (has_optional) {
        if (first & GTPU_EXTENSION && cursor_u8(optional + 3) != 0 && !tunnel_skip_gtpu_extensions(w, &at))
            return;
    }
    link_guess(w, at);
}

/* ---- UDP tunnels: GUE, draft-ietf-intarea-gue-09; MPLS in UDP, RFC 7510 ---------------------------------------------------- */

/* The first byte: two bits of version (variant 1 is the first byte of an IP packet), control, the words of options. */
#define GUE_VARIANT_SHIFT 6
#define GUE_VARIANT_IP    1
#define GUE_NOT_DATA      0xe0 /* another variant than 0, or a message of the tunnel's own */
#define GUE_OPTION_WORDS  0x1f
#define GUE_BYTES         4 /* that byte, the protocol, 16 flags, which say what the options are */

/*
 * Of variant 0, IP and GRE bring addresses of their own. Another protocol with ports is, as in Linux (fou_core.c), between the
 * outer addresses. One without shows nothing that the outer tuple has not: so there, where the header may be anybody's first
 * bytes, it is unread.
 */
static bool tunnel_has_ports(size_t protocol)
{
    return protocol == PROTO_TCP || protocol == PROTO_UDP || protocol == PROTO_UDP_LITE || protocol == PROTO_SCTP ||
           protocol == PROTO_DCCP;
}

static void tunnel_gue_payload(struct walk *w, struct cursor at, struct ip_header outer, size_t protocol)
{
    const struct ip_header ip = {.version = outer.version, .protocol = (uint32_t)protocol};
    if (protocol == PROTO_IPV4)
        ip_packet(w, at, 4);
    else if (protocol == PROTO_IPV6)
        ip_packet(w, at, 6);
    else if (protocol == PROTO_GRE)
        tunnel_gre_in_udp(w, at, outer);
    else if (!tunnel_has_ports(protocol))
        WALK_ENDS(w, FLOWQ_END_UNREAD);
    else if (!w->fields) /* what virtio's hashes know of has an inner IP header */
        ip_transport(w, at, ip);
}

static void tunnel_gue(struct walk *w, struct cursor at, struct ip_header outer)
{
    const uint8_t *h;
    at = walk_private_copy(w, at);
    size_t first = at.left ? cursor_u8(at.at) : GUE_NOT_DATA;
    if (first >> GUE_VARIANT_SHIFT == GUE_VARIANT_IP) {
        link_guess_ip(w, at);
    } else if (first & GUE_NOT_DATA) {
        WALK_ENDS(w, at.left ? FLOWQ_END_UNREAD : FLOWQ_END_CUT);
    } else if (cursor_take(&at, GUE_BYTES, &h) && cursor_skip(&at, 4 * (first & GUE_OPTION_WORDS))) {
        WALK_LAYER(w, FLOWQ_LAYER_GUE, h, at.at, cursor_u8(h + 1));
        tunnel_gue_payload(w, at, outer, cursor_u8(h + 1));
    }
}

static void tunnel_mpls_in_udp(struct walk *w, struct cursor at, struct ip_header outer)
{
    (void)outer;
    link_mpls(w, at);
}

/* ---- Which UDP tunnel it is ------------------------------------------------------------------------------------------------ */

/* Reads what is behind the UDP header. outer: the IP header before that, whose addresses are in *key. */
typedef void tunnel_reader(struct walk *w, struct cursor at, struct ip_header outer);

/* By enum parse_port: the kind, and its reader. */
#define TUNNEL_UDP_KIND(kind, virtio, port, setting, reader)   [PARSE_PORT_##port] = FLOWQ_TUNNEL_##kind,
#define TUNNEL_UDP_READER(kind, virtio, port, setting, reader) [PARSE_PORT_##port] = reader,
static const uint32_t tunnel_udp_kind[PARSE_N_PORTS] = {TUNNEL_LIST(TUNNEL_SKIP, TUNNEL_SKIP, TUNNEL_UDP_KIND)};
static tunnel_reader *const tunnel_udp_reader[PARSE_N_PORTS] = {TUNNEL_LIST(TUNNEL_SKIP, TUNNEL_SKIP, TUNNEL_UDP_READER)};

static tunnel_reader *tunnel_find_udp(const struct walk *w, uint16_t dport)
{
    const struct parse_rules *rules = w->rules;
    if (dport == 0 || w->in_tunnel) /* 0 is the port of tunnels that have none */
        return NULL;
    for (unsigned i = 0; i < PARSE_N_PORTS; i++)
        if (rules->port[i] == dport && rules->tunnels & tunnel_udp_kind[i])
            return tunnel_udp_reader[i];
    return NULL;
}

/*
 * Should no inner packet be readable, the outer ports count (S4), and the packet is marked: its source port is entropy and never
 * comes back. A quote shows of the VM's packet sometimes no more than these ports; the error then goes where the fallback sends
 * what the other end might answer plainly.
 */
void tunnel_udp(struct walk *w, struct cursor at, struct ip_header outer, uint32_t ports)
{
    tunnel_reader *read = tunnel_find_udp(w, (uint16_t)be32toh(ports));
    if (!read) {
        walk_finish(w, outer, ports, PARSE_FLOW);
        return;
    }
    walk_keep_spare_ports(w, outer, ports, w->in_quote ? 0 : PARSE_UNREAD_TUNNEL);
    w->in_tunnel = true;
    if (cursor_skip(&at, 4)) /* length and checksum */
        read(w, at, outer);
}
