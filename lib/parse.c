/*
 * parse: the way in and out of the parser. How it is built is told in parse_walk.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "parse_walk.h"

_Static_assert(PARSE_MAX_BYTES == FLOWQ_HEADER_MAX, "what gather copies is what the parser looks at");

/* Completes the key, whose addresses are there. */
static inline void parse_complete_key(struct walk *w, struct ip_header ip, uint32_t ports, uint64_t vlans, uint64_t vni)
{
    struct key *k = w->key;
    k->bytes = KEY_V6_BYTES;
    k->word[4] = key_l4_make(ports, ip.protocol, ip.version);
    if (ip.version == 4) {
        k->bytes = KEY_V4_BYTES;
        k->word[1] = k->word[4];
    }
    if (w->rules->key_vlan && vlans) /* untagged frames keep the plain key: they need not leave the fast path */
        key_append_ids(k, vlans);
    if (vni) /* only with key_vni */
        key_append_ids(k, vni);
}

_Static_assert(PARSE_QUOTE - PARSE_FLOW == PARSE_QUOTE_LATER - PARSE_LATER, "a quote is so much more");

void walk_finish(struct walk *w, struct ip_header ip, uint32_t ports, uint8_t kind)
{
    WALK_ENDS(w, FLOWQ_END_KEY);
    parse_complete_key(w, ip, ports, w->vlans, w->vni);
    w->out->kind = (uint8_t)(kind + (w->in_quote ? PARSE_QUOTE - PARSE_FLOW : 0));
}

void walk_finish_portless(struct walk *w, struct ip_header ip) { walk_finish(w, ip, 0, PARSE_FLOW); }

void parse_packet_to(const struct flowq_pkt *pkt, const struct parse_rules *rules, struct key *key, struct parse_result *out)
{
    struct cursor at = {pkt->data, pkt->len < PARSE_MAX_BYTES ? pkt->len : PARSE_MAX_BYTES};
    struct walk w; /* `spare_*` and `copy` stay unset until they are needed */
    w.rules = rules;
    w.out = out;
    w.key = key;
    w.fields = NULL;
    w.vlans = w.vni = 0;
    w.n_more = PARSE_MAX_PASSED;
    w.in_tunnel = w.in_quote = w.has_spare = w.copied = false;
    out->kind = PARSE_KEYLESS;
    out->flags = 0;
    out->n_first = 0;

    if (pkt->flags == 0)
        link_ethernet(&w, at);
    else if (pkt->flags == FLOWQ_PKT_L3)
        ip_packet(&w, at, 0);
    else
        WALK_ENDS(&w, FLOWQ_END_FLAGS);

    if (out->kind != PARSE_KEYLESS)
        return;
    if (w.has_spare) {
        memcpy(key->word, w.spare_address, sizeof(w.spare_address));
        parse_complete_key(&w, w.spare_ip, w.spare_ports, w.spare_vlans, w.spare_vni);
        out->flags = w.spare_flags;
        out->kind = w.spare_in_quote ? PARSE_QUOTE : PARSE_FLOW;
    } else {
        key->bytes = 0;
    }
}
