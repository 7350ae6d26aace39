/* SPDX-License-Identifier: BSD-2-Clause */
/* explain_parse: the complete parser once more, saying what it reads. See explain.h. */
#include "explain.h"
#include "parse_walk.h"
#include "rss_parse.h"
#include "tunnel.h"

/* Where in the packet a byte is from, which may lie in the copy that a guess has made. */
static uint32_t explain_offset(const struct walk *w, const struct explain_trace *t, const uint8_t *p)
{
    const uintptr_t in_copy = (uintptr_t)p - (uintptr_t)w->copy;
    if (w->copied && in_copy <= sizeof(w->copy))
        p = w->copied_from + in_copy;
    return (uint32_t)(p - t->packet);
}

/* What follows IPv6 and its extension headers is told by the one before. */
static uint8_t explain_extension_kind(const struct explain_trace *t)
{
    switch (t->n_layers > 0 ? t->layer[t->n_layers - 1].value : PROTO_NONE) {
    case PROTO_HOP_BY_HOP:
        return FLOWQ_LAYER_HOP_BY_HOP;
    case PROTO_ROUTING:
        return FLOWQ_LAYER_ROUTING;
    case PROTO_FRAGMENT:
        return FLOWQ_LAYER_FRAGMENT;
    case PROTO_AH:
        return FLOWQ_LAYER_AH;
    case PROTO_MOBILITY:
        return FLOWQ_LAYER_MOBILITY;
    }
    return FLOWQ_LAYER_DEST_OPTIONS;
}

enum { FLOWQ_LAYER_EXTENSION = 0xff }; /* one of those */

static bool explain_is_passed_over(uint8_t kind)
{
    return kind == FLOWQ_LAYER_VLAN || kind == FLOWQ_LAYER_MPLS || kind == FLOWQ_LAYER_GTPU_EXTENSION ||
           (kind >= FLOWQ_LAYER_HOP_BY_HOP && kind <= FLOWQ_LAYER_MOBILITY);
}

#define EXPLAIN_OPTION_REDIRECTED 4 /* the option of a redirect that is read (RFC 4861, 4.6.3) */

static void explain_layer(const struct walk *w, uint8_t kind, const uint8_t *start, const uint8_t *end, size_t value)
{
    struct explain_trace *t = (struct explain_trace *)(void *)w->out;
    uint32_t at = explain_offset(w, t, start), bytes = (uint32_t)(end - start);
    if (bytes == 0 || t->n_layers == FLOWQ_LAYER_SLOTS)
        return; /* an ICMP message of no bytes; there are never so many headers */
    if (kind == FLOWQ_LAYER_EXTENSION)
        kind = explain_extension_kind(t);
    bool passed = explain_is_passed_over(kind) || (kind == FLOWQ_LAYER_ICMP_OPTION && value != EXPLAIN_OPTION_REDIRECTED);
    t->layer[t->n_layers++] = (struct flowq_layer){
        .kind = kind,
        .flags = (uint8_t)((passed ? FLOWQ_LAYER_PASSED_OVER : 0) | (w->in_tunnel ? FLOWQ_LAYER_IN_TUNNEL : 0) |
                           (w->in_quote && kind != FLOWQ_LAYER_ICMP_OPTION ? FLOWQ_LAYER_IN_QUOTE : 0)),
        .offset = (uint16_t)at,
        .length = (uint16_t)bytes,
        .value = (uint32_t)value,
    };
    t->end = FLOWQ_END_CUT;
    t->end_at = at + bytes;
}

static void explain_ends(const struct walk *w, uint8_t why) { ((struct explain_trace *)(void *)w->out)->end = why; }

#undef WALK_LAYER
#undef WALK_ENDS
#define WALK_LAYER(w, kind, start, end, value) explain_layer(w, kind, start, end, value)
#define WALK_ENDS(w, why)                      explain_ends(w, why)

#include "explain_names.h"

/* What the files share. */
static void parse_packet_to(const struct flowq_pkt *pkt, const struct parse_rules *rules, struct key *key,
                            struct parse_result *out);
static void walk_finish(struct walk *w, struct ip_header ip, uint32_t ports, uint8_t kind);
static void walk_finish_portless(struct walk *w, struct ip_header ip);
static void link_ethernet(struct walk *w, struct cursor at);
static void link_mpls(struct walk *w, struct cursor at);
static void link_guess(struct walk *w, struct cursor at);
static void link_guess_ip(struct walk *w, struct cursor at);
static void ip_packet(struct walk *w, struct cursor at, unsigned version);
static void ip_transport(struct walk *w, struct cursor at, struct ip_header ip);
static void tunnel_ip(struct walk *w, struct cursor at, struct ip_header ip);
static void tunnel_gre(struct walk *w, struct cursor at, struct ip_header ip);
static bool tunnel_possible(const struct walk *w, struct ip_header ip);
static void tunnel_udp(struct walk *w, struct cursor at, struct ip_header ip, uint32_t ports);

#include "parse.c"
#include "parse_ip.c"
#include "parse_link.c"
#include "parse_tunnel.c"

void explain_parse(const struct flowq_pkt *pkt, const struct parse_rules *rules, struct explain_trace *out)
{
    memset(out, 0, sizeof(*out));
    out->packet = pkt->data;
    out->end = FLOWQ_END_CUT;
    parse_packet_to(pkt, rules, &out->result.key, &out->result);
}
