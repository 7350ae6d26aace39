/*
 * counted_parse: the real parser, built a second time with a cursor that counts how often each byte of the packet is read.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_COUNTED_PARSE_H
#define FLOWQ_TESTS_COUNTED_PARSE_H

#include "parse.h"
#include "rss_parse.h"

#define COUNTED_MAX 1024

/* Of byte i of the packet, how often it has been read; the caller clears it. Packets are at most COUNTED_MAX bytes long. */
extern unsigned parse_reads[COUNTED_MAX];

void counted_parse_packet(const struct flowq_pkt *pkt, const struct parse_rules *rules, struct parse_result *out);
void counted_rss_parse(const struct flowq_pkt *pkt, const struct parse_rules *rules, struct rss_fields *out);

#endif
