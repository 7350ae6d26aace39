/*
 * universe: a few hundred connections of a VM, their packets ready made, and what each packet means to the model.
 *
 * Addresses and ports are few, so connections share addresses, and those of protocols without ports share flows.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_UNIVERSE_H
#define FLOWQ_TESTS_UNIVERSE_H

#include "frames.h"
#include "model.h"
#include "seed.h"

/* The packets of a connection. TX: the VM sends. Where there is no TCP, all of TX_ACK to TX_SYN_FIN are the same. */
enum universe_which {
    TX_ACK,
    TX_SYN,
    TX_SYN_ACK,
    TX_FIN,
    TX_RST,
    TX_SYN_FIN,
    TX_ERROR, /* an ICMP error about what it received */
    RX_DATA,
    RX_ERROR, /* an ICMP error about what it sent */
    UNIVERSE_N_PACKETS
};

struct connection {
    struct flowq_tuple outer, inner; /* outgoing; inner only in a tunnel */
    struct flowq_pkt packet[UNIVERSE_N_PACKETS];
    uint32_t tunnel_bit; /* 0: none */
    uint8_t tunnel;      /* enum frame_tunnel */
    bool keyless, multicast, tcp;
    /* Flows by [key_vlan][key_vni][looked into as a tunnel]; by addresses and protocol alone, incoming, as a later fragment of
       the outer packet shows them */
    uint32_t flow_in[2][2][2], flow_out[2][2][2], addresses[2];
};

struct universe {
    uint32_t n_connections, n_flows, n_bindable; /* of n_flows, those that a note may bind come first */
    struct connection *connection;
    struct flowq_tuple *flow; /* by number, as incoming packets carry it */
    uint32_t *twin;           /* by number: that of the reversed tuple; a sensor is shown both */
    uint32_t *index;          /* open hash of flow numbers + 1 */
    uint8_t *bytes;
    size_t n_bytes;
};

/* Settings that decide what a packet means. */
struct universe_rules {
    bool key_vlan, key_vni;
    uint32_t tunnels; /* bits; 0: none */
};

void universe_make(struct universe *u, struct rng *rng, uint32_t n_connections);
void universe_free(struct universe *u);

struct model_packet universe_meaning(const struct universe *u, const struct universe_rules *rules, uint32_t connection,
                                     enum universe_which which);

/* A fragmented datagram that connection's remote end sends: first and later fragment. Not for keyless ones. */
void universe_fragments(const struct universe *u, uint32_t connection, uint32_t id, struct frame *first, struct frame *later);
struct model_packet universe_fragment_meaning(const struct universe *u, const struct universe_rules *rules, uint32_t connection,
                                              uint32_t datagram, bool later);

#endif
