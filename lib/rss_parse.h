/*
 * rss_parse: from a frame to the fields that virtio's hash is calculated over.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Not the key of a flow (parse.h): the fields are those of the specification, and they stand as this packet has them. Link layer
 * and tunnels are read by the parser's own functions, IP headers by rss_ip(). As parse_packet(): any bytes give a defined answer,
 * no more than PARSE_MAX_BYTES are looked at, and each is loaded once.
 *
 * Where the specification leaves room:
 *
 *   - A fragment has no ports, not even the first one, so that all fragments of a datagram have one hash; and it is not looked
 *     into for a tunnel. An IPv6 fragment header of a whole packet (RFC 6946) is just an extension header.
 *   - A TCP or UDP header whose ports cannot be read is none.
 *   - Extension headers are hop-by-hop, routing, fragment, AH, destination and mobility. AH in IPv4 is a protocol without ports,
 *     and so is ESP. If an extension header cannot be read whole the packet has no ports.
 *   - Home address and routing address of type 2 count as RFC 6275 has them, the first of each.
 *   - A packet to a tunnel's port, or of a tunnel's protocol, of which no inner IP packet can be read does not belong to that
 *     tunnel: its outer header is hashed, as virtio has it where the encapsulation type is not enabled.
 */
#ifndef FLOWQ_LIB_RSS_PARSE_H
#define FLOWQ_LIB_RSS_PARSE_H

#include "parse.h"

enum rss_ports { RSS_NO_PORTS, RSS_TCP, RSS_UDP };

struct rss_fields {
    uint8_t version;        /* 4 or 6; 0: no fields */
    uint8_t ports_of;       /* enum rss_ports */
    bool extended;          /* IPv6 with extension headers */
    uint8_t port[4];        /* source, destination */
    uint8_t address[2][16]; /* source, destination; IPv4: the first four bytes */
    uint8_t mobile_address[2]
                          [16]; /* extended: home address option, routing header of type 2; where there is none, as `address` */
};

/* rules: tunnels and udp_filter are those to look into. */
void rss_parse(const struct flowq_pkt *pkt, const struct parse_rules *rules, struct rss_fields *out);

/* For parse_ip.c: what ip_packet() does for rss_parse(). */
struct walk;
struct cursor;
void rss_ip(struct walk *w, struct cursor at, unsigned version);

#endif
