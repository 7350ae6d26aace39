/*
 * model_parse: the parser once more, slow and simple, as an oracle for lib/parse.
 *
 * It works on a copy of the packet, reads numbers at absolute places with a check for each, and describes what it finds by values
 * that functions return; nothing is kept aside or undone. What tells the two apart is a bug in one of them.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_MODEL_PARSE_H
#define FLOWQ_TESTS_MODEL_PARSE_H

#include "parse.h"

/* Does what parse_packet() promises, fields left undefined there being zero here. */
void model_parse(const struct flowq_pkt *pkt, const struct parse_rules *rules, struct parse_result *out);

/* The headers that model_parse() met the last time, and why it read no further; by these flowq_rx_explain() is judged. */
struct model_trace {
    struct flowq_layer layer[64];
    int n, end_at;
    int end; /* FLOWQ_END_* */
};
extern struct model_trace model_trace;

/* Extension headers of IPv6. */
#define MODEL_N_EXTENSIONS 6
extern const uint8_t model_extensions[MODEL_N_EXTENSIONS];
/* Protocols whose header begins with two ports. */
#define MODEL_N_PORTS 5
extern const uint8_t model_ports[MODEL_N_PORTS];

/* Whether two results agree in all that parse_packet() defines. */
bool parse_result_equal(const struct parse_result *a, const struct parse_result *b);

/* The rules that flowq's defaults make. */
struct parse_rules parse_rules_default(void);

/* The filter that belongs to rules->tunnels and rules->port. */
uint64_t parse_rules_filter(const struct parse_rules *rules);

/* One line about a result, for messages; static storage. */
const char *parse_result_text(const struct parse_result *r);

#endif
