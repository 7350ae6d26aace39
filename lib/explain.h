/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * explain: what flowq makes of a packet, and why: for people, off the data path (flowq_rx_explain() and its relatives).
 *
 * Three parts: the parser that says what it reads (explain_parse.c), what the data path would do (explain.c), and the text
 * (explain_text.c).
 *
 * The parser is the complete one, compiled once more with WALK_LAYER() and WALK_ENDS() (parse_walk.h), so that what is explained
 * is what is done. Plain packets have the same key by it (plain.h). Likewise the decision comes from the data path's own
 * functions, with a tally that nobody reads; what they would write, the cache of fragments, is kept from them.
 */
#ifndef FLOWQ_LIB_EXPLAIN_H
#define FLOWQ_LIB_EXPLAIN_H

#include "parse.h"

/* The result of the parser, and what it said on the way. */
struct explain_trace {
    struct parse_result result; /* first: the parser knows nothing else */
    const uint8_t *packet;
    struct flowq_layer layer[FLOWQ_LAYER_SLOTS];
    uint32_t n_layers;
    uint8_t end;
    uint32_t end_at;
};

/* As parse_packet(). pkt: bytes that nobody changes. */
void explain_parse(const struct flowq_pkt *pkt, const struct parse_rules *rules, struct explain_trace *out);

#endif
