/* SPDX-License-Identifier: BSD-2-Clause */
#include "counted_parse.h"

#include <stddef.h>
#include <string.h>

unsigned parse_reads[COUNTED_MAX];
static const unsigned char *packet;
static size_t packet_len;

/* What lies elsewhere is the parser's own copy, which it may read as often as it likes. */
static void count_read(const unsigned char *bytes, size_t n)
{
    uintptr_t at = (uintptr_t)bytes - (uintptr_t)packet;
    for (size_t i = 0; at < packet_len && i < n; i++)
        parse_reads[at + i]++;
}

/* The sources once more, in this file, under other names. */
#define CURSOR_READ(p, n)    count_read(p, n)
#define parse_packet_to      counted_parse_to
#define walk_finish          counted_walk_finish
#define walk_finish_portless counted_walk_finish_portless
#define link_ethernet        counted_link_ethernet
#define link_mpls            counted_link_mpls
#define link_guess           counted_link_guess
#define link_guess_ip        counted_link_guess_ip
#define ip_packet            counted_ip_packet
#define ip_transport         counted_ip_transport
#define tunnel_ip            counted_tunnel_ip
#define tunnel_gre           counted_tunnel_gre
#define tunnel_possible      counted_tunnel_possible
#define tunnel_udp           counted_tunnel_udp
#define rss_parse            counted_rss_from
#define rss_ip               counted_rss_ip
void counted_parse_to(const struct flowq_pkt *pkt, const struct parse_rules *rules, struct key *key, struct parse_result *out);
void counted_rss_from(const struct flowq_pkt *pkt, const struct parse_rules *rules, struct rss_fields *out);
void counted_rss_ip(struct walk *w, struct cursor at, unsigned version);

#include "../lib/parse.c"
#include "../lib/parse_ip.c"
#include "../lib/parse_link.c"
#include "../lib/parse_tunnel.c"
#include "../lib/rss_parse.c"

void counted_parse_packet(const struct flowq_pkt *pkt, const struct parse_rules *rules, struct parse_result *out)
{
    packet = pkt->data;
    packet_len = pkt->len;
    counted_parse_to(pkt, rules, &out->key, out);
}

void counted_rss_parse(const struct flowq_pkt *pkt, const struct parse_rules *rules, struct rss_fields *out)
{
    packet = pkt->data;
    packet_len = pkt->len;
    counted_rss_from(pkt, rules, out);
}
