/*
 * parse: the way in and out of the parser. How it is built is told in parse_walk.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "parse_walk.h"

_Static_assert(PARSE_MAX_BYTES == FLOWQ_HEADER_MAX, "what gather copies is what the parser looks at");

static const uint8_t no_ports[4];

/* Completes out->key, whose addresses are there. */
static inline void complete_key(struct walk *w, struct ip ip, const uint8_t ports[4])
{
    struct key *k = &w->out->key;
    struct key_l4 l4 = {.protocol = ip.protocol, .version = ip.version};
    memcpy(&l4.sport, ports, 2);
    memcpy(&l4.dport, ports + 2, 2);
    k->bytes = ip.version == 6 ? KEY_V6_BYTES : KEY_V4_BYTES;
    memcpy(&k->word[key_l4_word(k)], &l4, sizeof(l4));
    if (w->rules->key_vlan && w->vlans) /* untagged frames keep the plain key: they need not leave the fast path */
        key_append_vlans(k, w->vlans);
}

void walk_finish(struct walk *w, struct ip ip, const uint8_t ports[4], uint8_t kind)
{
    complete_key(w, ip, ports);
    if (w->in_quote)
        kind = kind == PARSE_LATER ? PARSE_QUOTE_LATER : PARSE_QUOTE;
    w->out->kind = kind;
}

void walk_finish_portless(struct walk *w, struct ip ip)
{
    walk_finish(w, ip, no_ports, PARSE_FLOW);
}

void walk_keep_spare(struct walk *w, struct ip ip)
{
    complete_key(w, ip, no_ports);
    w->spare = w->out->key;
    w->spare_flags = w->out->flags;
    w->has_spare = true;
}

void parse_packet(const struct flowq_pkt *pkt, const struct parse_rules *rules, struct parse_result *out)
{
    struct walk w; /* `spare` stays unset until it is needed */
    w.at = (struct cursor){pkt->data, pkt->len < PARSE_MAX_BYTES ? pkt->len : PARSE_MAX_BYTES};
    w.rules = rules;
    w.out = out;
    w.fields = NULL;
    w.vlans = 0;
    w.n_more = PARSE_MAX_PASSED;
    w.in_tunnel = w.in_quote = w.has_spare = false;
    out->kind = PARSE_KEYLESS;
    out->flags = 0;
    out->n_first = 0;

    if (pkt->flags == FLOWQ_PKT_L3)
        ip_packet(&w, 0);
    else if (pkt->flags == 0)
        link_ethernet(&w);

    if (out->kind != PARSE_KEYLESS)
        return;
    if (w.has_spare) {
        out->key = w.spare;
        out->flags = w.spare_flags;
        out->kind = PARSE_FLOW;
    } else {
        out->key.bytes = 0;
    }
}
