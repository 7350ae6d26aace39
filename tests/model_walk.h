/*
 * model_walk: how the parts of the naive parser call each other (model_parse.c, model_tunnel.c). Each function says what it finds
 * at a place, as a value; where it is called from it is told by another.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_MODEL_WALK_H
#define FLOWQ_TESTS_MODEL_WALK_H

#include "model_bytes.h"
#include "model_parse.h"

#include <string.h>

struct flow {
    int version, protocol;
    uint8_t src[16], dst[16];
    int sport, dport;
    int n_vlans;
    int vlan[4];
    bool has_vni;
    uint32_t vni;
};

struct found {
    int kind;
    unsigned flags;
    struct flow flow;
    int n_first;
    struct parse_frag first[2];
    struct parse_frag later;
    bool whole;   /* a later fragment that has its flow's key all the same */
    int n_labels; /* of a packet that is spread by them */
    uint32_t label[8];
    bool unlike_anything; /* a guess that came to nothing */
};

/* Where we are: what has been passed on the way in. */
struct where {
    const struct parse_rules *rules;
    bool tunnel;
    bool quote;
    int n_tags; /* of the frame we are in, and those among them that name a VLAN */
    int n_vlans;
    int vlan[4];
    bool has_vni;
    uint32_t vni;
    int n_passed; /* tags, labels, extension headers, outside and inside */
};

static inline struct found nothing(void)
{
    struct found f;
    memset(&f, 0, sizeof(f));
    f.kind = PARSE_KEYLESS;
    return f;
}

/* Notes a header (model_trace); it ends at `end`, or where the packet does. */
void model_saw(const struct bytes *p, int kind, int at, int end, long long value, struct where w);

/* Nothing, and why: FLOWQ_END_*. */
struct found nothing_as(int why);
static inline struct found cut(void) { return nothing_as(FLOWQ_END_CUT); }

/* What was found, though reading ended for another reason than that all is known. */
struct found for_all_that(struct found f, int why);

static inline struct found with_ports(struct flow flow, long long sport, long long dport)
{
    struct found f = nothing_as(FLOWQ_END_KEY);
    f.kind = PARSE_FLOW;
    f.flow = flow;
    f.flow.sport = (int)sport;
    f.flow.dport = (int)dport;
    return f;
}

static inline struct found without_ports(struct flow flow) { return with_ports(flow, 0, 0); }

/* model_parse.c. version 0: of either. */
struct found model_frame_at(const struct bytes *p, int at, struct where w);
struct found model_ip_at(const struct bytes *p, int at, int version, struct where w);
struct found model_mpls_at(const struct bytes *p, int at, struct where w);
struct found model_transport_at(const struct bytes *p, int at, struct flow flow, struct where w);

/* model_tunnel.c. IP or a frame, whichever it may be; word: the frame perhaps with a control word before it. */
struct found model_guess_at(const struct bytes *p, int at, bool word, struct where w);
struct found model_gre_at(const struct bytes *p, int at, struct flow outer, struct where w);
struct found model_ip_in_ip_at(const struct bytes *p, int at, struct flow outer, struct where w);

/* What is behind the UDP header of a packet to a tunnel's port; outer: what it is if that says nothing. */
struct found model_udp_tunnel_at(const struct bytes *p, int at, struct found outer, struct where w);

/* The tunnel with this port, enum parse_port; PARSE_N_PORTS: none. */
int model_tunnel_port(const struct parse_rules *rules, long long dport);

/* FLOWQ_TUNNEL_*: of the ports, of IP in IP, and all that are in GRE. */
extern const uint32_t model_port_bit[PARSE_N_PORTS];
uint32_t model_ip_in_ip_bit(struct flow outer);
extern const uint32_t model_any_gre;

#endif
