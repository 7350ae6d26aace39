/* scenario_headers: the headers of scenario_packet.h's packets, by name. SPDX-License-Identifier: BSD-2-Clause */
#include "scenario_builder.h"

/* ---- Link ------------------------------------------------------------------------------------------------------------------ */

static bool take_mac(struct builder *b, uint8_t mac[6])
{
    unsigned byte[6];
    char end;
    if (sscanf(peek(b), "%2x:%2x:%2x:%2x:%2x:%2x%c", &byte[0], &byte[1], &byte[2], &byte[3], &byte[4], &byte[5], &end) != 6)
        return false;
    for (int i = 0; i < 6; i++)
        mac[i] = (uint8_t)byte[i];
    b->at++;
    return true;
}

static void build_eth(struct builder *b, const struct layer *layer)
{
    uint8_t to[6] = {2, 0, 0, 0, 1, 2}, from[6] = {2, 0, 0, 0, 1, 1};
    announce(b, layer, layer->number);
    if (take_mac(b, to))
        take_mac(b, from);
    put_bytes(b, to, 6);
    put_bytes(b, from, 6);
    number_here(b, ETHERTYPE, 2);
}

/* vlan TAG [TPID]; the tag's upper four bits are priority and DEI. */
static void build_vlan(struct builder *b, const struct layer *layer)
{
    uint64_t tag = take_number(b, "VLAN tag", 0xffff), tpid;
    int number[BOTTOM] = {0, 0x8100, 0, 0, 0};
    if (word_number(peek(b), 0xffff, &tpid) == 0) {
        number[ETHERTYPE] = (int)tpid;
        b->at++;
    }
    announce(b, layer, number);
    put(b, tag, 2);
    number_here(b, ETHERTYPE, 2);
}

static void build_mpls(struct builder *b, const struct layer *layer)
{
    announce(b, layer, layer->number);
    uint64_t label = take_number(b, "label", 0xfffff);
    put(b, label >> 4, 2);
    number_here(b, BOTTOM, 1);
    set(b, b->number_at, (label & 0xf) << 4, 1);
    put(b, 64, 1);
}

/* A pseudowire's control word (RFC 4448, 4.6). */
static void build_cw(struct builder *b, const struct layer *layer)
{
    announce(b, layer, layer->number);
    put(b, take_number(b, "sequence number", 0xffff), 4);
}

/* RFC 2516; detail: bytes of PPP's protocol number, of which one may be left out (RFC 1661, 6.5). */
static void build_pppoe(struct builder *b, const struct layer *layer)
{
    announce(b, layer, layer->number);
    length_here(b, LENGTH_PPPOE);
    put(b, 0x1100, 2);
    put(b, 1, 2); /* session */
    put(b, 0, 2);
    number_here(b, PPP, layer->detail);
}

static void build_arp(struct builder *b, const struct layer *layer)
{
    static const uint8_t request[28] = {0,   1, 8, 0,  6, 4, 0, 1, 2, 0, 0,   0,  1,   1,
                                        192, 0, 2, 10, 0, 0, 0, 0, 0, 0, 198, 51, 100, 20};
    announce(b, layer, layer->number);
    put_bytes(b, request, sizeof(request));
}

/* ---- IP and what stands behind it ------------------------------------------------------------------------------------------ */

static void build_ip4(struct builder *b, const uint8_t src[16], const uint8_t dst[16])
{
    uint64_t id = 0, fragment = 0, ttl = 64, options = 0;
    bool wrong = false, more = true;
    while (more) {
        if (taken(b, "id"))
            id = take_number(b, "id", 0xffff);
        else if (taken(b, "offset"))
            fragment |= take_number(b, "offset in bytes", 65528) / 8;
        else if (taken(b, "ttl"))
            ttl = take_number(b, "time to live", 255);
        else if (taken(b, "options"))
            options = take_number(b, "number of 32-bit words", 10);
        else if (taken(b, "more"))
            fragment |= 0x2000;
        else if (taken(b, "badsum"))
            wrong = true;
        else
            more = false;
    }
    length_here(b, LENGTH_IP4);
    b->open[b->n_open - 1].wrong = wrong;
    put(b, 0x45 + options, 1);
    put(b, 0, 3);
    put(b, id, 2);
    put(b, fragment, 2);
    put(b, ttl, 1);
    number_here(b, PROTOCOL, 1);
    put(b, 0, 2);
    put_bytes(b, src, 4);
    put_bytes(b, dst, 4);
    while (options-- > 0)
        put(b, 0x01010101, 4); /* no operation */
}

static void build_ip6(struct builder *b, const uint8_t src[16], const uint8_t dst[16])
{
    uint64_t label = 0, hops = 64;
    bool more = true;
    while (more) {
        if (taken(b, "label"))
            label = take_number(b, "flow label", 0xfffff);
        else if (taken(b, "ttl"))
            hops = take_number(b, "hop limit", 255);
        else
            more = false;
    }
    length_here(b, LENGTH_IP6);
    put(b, 0x60000000 | label, 4);
    put(b, 0, 2);
    number_here(b, PROTOCOL, 1);
    put(b, hops, 1);
    put_bytes(b, src, 16);
    put_bytes(b, dst, 16);
}

static void build_ip(struct builder *b, const struct layer *layer)
{
    static const int v4[BOTTOM] = {0, 0x0800, 4, 1, 0x21}, v6[BOTTOM] = {0, 0x86dd, 41, 2, 0x57};
    uint8_t src[16], dst[16];
    unsigned version = take_address(b, src);
    take_arrow(b);
    if (take_address(b, dst) != version)
        fail(b, "addresses of two versions");
    announce(b, layer, version == 4 ? v4 : v6);
    if (version == 4)
        build_ip4(b, src, dst);
    else
        build_ip6(b, src, dst);
}

static void build_ports(struct builder *b, const struct layer *layer)
{
    announce(b, layer, layer->number);
    if (layer->detail == 8)
        length_here(b, LENGTH_UDP);
    put(b, take_number(b, "port", 0xffff), 2);
    take_arrow(b);
    put(b, take_number(b, "port", 0xffff), 2);
    put(b, 0, layer->detail - 4);
}

static void build_tcp(struct builder *b, const struct layer *layer)
{
    static const char *const names[] = {"fin", "syn", "rst", "psh", "ack"};
    unsigned flags = 0;
    build_ports(b, layer); /* detail: up to the sequence number */
    for (unsigned i = 0; i < 5;)
        if (taken(b, names[i])) {
            flags |= 1u << i;
            i = 0;
        } else {
            i++;
        }
    put(b, 1, 4);
    put(b, 1, 4);
    put(b, 0x5000 | (flags ? flags : 0x10), 2);
    put(b, 0xffff, 2);
    put(b, 0, 4);
}

static void build_icmp(struct builder *b, const struct layer *layer)
{
    announce(b, layer, layer->number);
    put(b, take_number(b, "type", 255), 1);
    put(b, take_number(b, "code", 255), 1);
    put(b, 0, 6);
}

/* ICMPv6 redirect (RFC 4861, 4.5): target, destination, [lladdr: the target's link-layer address], and the packet
   that follows. */
static void build_redirect6(struct builder *b, const struct layer *layer)
{
    uint8_t address[16];
    announce(b, layer, layer->number);
    put(b, UINT64_C(137) << 56, 8);
    for (int i = 0; i < 2; i++) {
        if (take_address(b, address) != 6)
            fail(b, "a redirect of ICMPv6 takes two IPv6 addresses");
        put_bytes(b, address, 16);
    }
    if (taken(b, "lladdr"))
        put(b, UINT64_C(0x0201020000000101), 8);
    length_here(b, LENGTH_ND_OPTION);
    put(b, UINT64_C(0x0400) << 48, 8); /* redirected header */
}

static void build_esp(struct builder *b, const struct layer *layer)
{
    announce(b, layer, layer->number);
    put(b, take_number(b, "SPI", UINT32_MAX), 4);
    put(b, 1, 4);
    put(b, 0, 16);
}

/* Extension headers of 8 bytes, and AH of 24. */
static void build_extension(struct builder *b, const struct layer *layer)
{
    announce(b, layer, layer->number);
    number_here(b, PROTOCOL, 1);
    put(b, layer->detail == 24 ? 4 : 0, 1);
    put(b, 0, layer->detail - 2);
}

static void build_frag(struct builder *b, const struct layer *layer)
{
    announce(b, layer, layer->number);
    number_here(b, PROTOCOL, 1);
    put(b, 0, 1);
    uint64_t id = take_number(b, "id", UINT32_MAX), offset = take_number(b, "offset in bytes", 65528);
    put(b, (offset & ~UINT64_C(7)) | taken(b, "more"), 2);
    put(b, id, 4);
}

/* Routing header: type, segments left, and the addresses as they stand in it. */
static void build_routing(struct builder *b, const struct layer *layer)
{
    uint8_t address[16];
    announce(b, layer, layer->number);
    number_here(b, PROTOCOL, 1);
    uint32_t length_at = b->p->len, n = 0;
    put(b, 0, 1);
    uint64_t type = take_number(b, "type", 255);
    put(b, type, 1);
    put(b, take_number(b, "number of segments", 255), 1);
    put(b, 0, 4);
    for (; word_address(peek(b), address) == 6; n++, b->at++)
        put_bytes(b, address, 16);
    set(b, length_at, 2 * n, 1);
    if (type == 4 && n > 0)
        set(b, length_at + 3, n - 1, 1); /* RFC 8754: last entry */
}

/* ---- Tunnels --------------------------------------------------------------------------------------------------------------- */

static void build_gre(struct builder *b, const struct layer *layer)
{
    announce(b, layer, layer->number);
    uint32_t flags_at = b->p->len;
    uint64_t flags = 0;
    put(b, 0, 2);
    number_here(b, ETHERTYPE, 2);
    if (taken(b, "sum")) {
        flags |= 0x8000;
        put(b, 0, 4);
    }
    if (taken(b, "key")) {
        flags |= 0x2000;
        put(b, take_number(b, "key", UINT32_MAX), 4);
    }
    if (taken(b, "seq")) {
        flags |= 0x1000;
        put(b, take_number(b, "sequence number", UINT32_MAX), 4);
    }
    set(b, flags_at, flags, 2);
}

static void build_vxlan(struct builder *b, const struct layer *layer)
{
    bool gpe = layer->detail;
    announce(b, layer, layer->number);
    put(b, gpe ? 0x0c0000 : 0x080000, 3);
    if (gpe)
        number_here(b, GPE, 1);
    else
        put(b, 0, 1);
    put(b, take_number(b, "network id", 0xffffff) << 8, 4);
}

static void build_geneve(struct builder *b, const struct layer *layer)
{
    announce(b, layer, layer->number);
    uint64_t vni = take_number(b, "network id", 0xffffff), words = 0;
    if (taken(b, "options"))
        words = take_number(b, "number of 32-bit words", 63);
    put(b, words, 1);
    put(b, taken(b, "control") ? 0x80 : 0, 1);
    number_here(b, ETHERTYPE, 2);
    put(b, vni << 8, 4);
    put(b, 0, (uint32_t)words * 4);
}

/* [type N] of the message; [ext]: with an extension header, 5G's for a PDU session (3GPP TS 38.415). */
static void build_gtpu(struct builder *b, const struct layer *layer)
{
    announce(b, layer, layer->number);
    uint64_t teid = take_number(b, "TEID", UINT32_MAX), type = 255;
    if (taken(b, "type"))
        type = take_number(b, "message type", 255);
    bool extension = taken(b, "ext");
    length_here(b, LENGTH_GTPU);
    put(b, extension ? 0x34 : 0x30, 1);
    put(b, type, 1);
    put(b, 0, 2);
    put(b, teid, 4);
    if (extension)
        put(b, UINT64_C(0x0000008501100100), 8);
}

/* Variant 0 (draft-ietf-intarea-gue-09, 3); variant 1 is UDP with IP in it. */
static void build_gue(struct builder *b, const struct layer *layer)
{
    uint64_t words = 0;
    announce(b, layer, layer->number);
    bool control = taken(b, "control");
    if (taken(b, "options"))
        words = take_number(b, "number of 32-bit words", 31);
    put(b, (control ? 0x20 : 0) | words, 1);
    number_here(b, control ? NOTHING : PROTOCOL, 1);
    put(b, 0, 2 + (uint32_t)words * 4);
}

/* Network service header, MD type 1 (RFC 8300, 2.4). */
static void build_nsh(struct builder *b, const struct layer *layer)
{
    announce(b, layer, layer->number);
    put(b, 0x0fc601, 3);
    number_here(b, GPE, 1);
    put(b, 0x00012aff, 4);
    put(b, 0, 16);
}

/* Mirrored frames (draft-foschiano-erspan-03, 4.2): session 1. */
static void build_erspan2(struct builder *b, const struct layer *layer)
{
    announce(b, layer, layer->number);
    put(b, UINT64_C(0x1000000100000000), 8);
}

/* [sub]: with a platform-specific subheader, which the O bit announces (4.3). */
static void build_erspan3(struct builder *b, const struct layer *layer)
{
    announce(b, layer, layer->number);
    put(b, UINT64_C(0x2000000100000000), 8);
    bool sub = taken(b, "sub");
    put(b, sub, 4);
    put(b, 0, sub ? 8 : 0);
}

/* Version 2's redirect header; version 1 has none: `type 0x883e ip ...`. */
static void build_wccp(struct builder *b, const struct layer *layer)
{
    announce(b, layer, layer->number);
    put(b, 0, 4);
}

/* ---- Bytes ----------------------------------------------------------------------------------------------------------------- */

/* The header before names this number, whatever follows. */
static void build_type(struct builder *b, const struct layer *layer)
{
    if (b->numbers == NOTHING || b->numbers == BOTTOM)
        fail(b, "there is no field for a %s", layer->name);
    set(b, b->number_at, take_number(b, "number", b->number_bytes == 1 ? 0xff : 0xffff), b->number_bytes);
    b->numbers = NOTHING;
}

static void end_labels(struct builder *b, const struct layer *layer)
{
    if (b->numbers == BOTTOM)
        announce(b, layer, layer->number);
    b->numbers = NOTHING;
}

static void build_data(struct builder *b, const struct layer *layer)
{
    end_labels(b, layer);
    put(b, 0, (uint32_t)take_number(b, "number of bytes", PACKET_MAX));
}

static void build_hex(struct builder *b, const struct layer *layer)
{
    uint8_t bytes[PACKET_MAX];
    end_labels(b, layer);
    int n = word_hex(peek(b), bytes, sizeof(bytes));
    if (n < 0)
        fail(b, "\"%s\" is not hexadecimal", peek(b));
    put_bytes(b, bytes, n > 0 ? (size_t)n : 0);
    b->at++;
}

/* ---- The table of headers, and one by its name ---------------------------------------------------------------------------- */

static const struct layer layers[] = {
    {"eth", build_eth, {0, 0x6558, 143, 3, 0}, 0},
    {"vlan", build_vlan, {0}, 0},
    {"mpls", build_mpls, {0, 0x8847, 137, 5, 0x281}, 0},
    {"cw", build_cw, {0}, 0},
    {"pppoe", build_pppoe, {0, 0x8864, 0, 0, 0}, 2},
    {"pppoe1", build_pppoe, {0, 0x8864, 0, 0, 0}, 1},
    {"arp", build_arp, {0, 0x0806, 0, 0, 0}, 0},
    {"ip", build_ip, {0}, 0},
    {"tcp", build_tcp, {0, 0, 6, 0, 0}, 4},
    {"udp", build_ports, {0, 0, 17, 0, 0}, 8},
    {"udplite", build_ports, {0, 0, 136, 0, 0}, 12},
    {"sctp", build_ports, {0, 0, 132, 0, 0}, 16},
    {"dccp", build_ports, {0, 0, 33, 0, 0}, 20},
    {"icmp", build_icmp, {0, 0, 1, 0, 0}, 0},
    {"icmp6", build_icmp, {0, 0, 58, 0, 0}, 0},
    {"redirect6", build_redirect6, {0, 0, 58, 0, 0}, 0},
    {"esp", build_esp, {0, 0, 50, 0, 0}, 0},
    {"ah", build_extension, {0, 0, 51, 0, 0}, 24},
    {"hop", build_extension, {0, 0, -1, 0, 0}, 8},
    {"dest", build_extension, {0, 0, 60, 0, 0}, 8},
    {"frag", build_frag, {0, 0, 44, 0, 0}, 0},
    {"routing", build_routing, {0, 0, 43, 0, 0}, 0},
    {"gre", build_gre, {0, 0, 47, 0, 0}, 0},
    {"vxlan", build_vxlan, {0}, false},
    {"vxlan-gpe", build_vxlan, {0}, true},
    {"geneve", build_geneve, {0}, 0},
    {"gtpu", build_gtpu, {0}, 0},
    {"gue", build_gue, {0}, 0},
    {"nsh", build_nsh, {0, 0x894f, 0, 4, 0}, 0},
    {"erspan2", build_erspan2, {0, 0x88be, 0, 0, 0}, 0},
    {"erspan3", build_erspan3, {0, 0x22eb, 0, 0, 0}, 0},
    {"wccp", build_wccp, {0, 0x883e, 0, 0, 0}, 0},
    {"type", build_type, {0}, 0},
    {"data", build_data, {0}, 0},
    {"hex", build_hex, {0}, 0},
};

void header_build(struct builder *b, const char *name)
{
    for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++)
        if (strcmp(name, layers[i].name) == 0) {
            layers[i].build(b, &layers[i]);
            return;
        }
    fail(b, "\"%s\" is no header", name);
}
