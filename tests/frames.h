/*
 * frames: builds packets for tests.
 *
 * The packets are well-formed: lengths, IPv4 checksums, protocol numbers and unicast MAC addresses are right. Flows are told by
 * struct flowq_tuple *as on the wire*: source is the sender of this packet. Payload bytes are zero.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_FRAMES_H
#define FLOWQ_TESTS_FRAMES_H

#include "flowq.h"

#define FRAME_MAX 512

/* TCP flags. */
#define FRAME_FIN 0x01u
#define FRAME_SYN 0x02u
#define FRAME_RST 0x04u
#define FRAME_ACK 0x10u

#define FRAME_PROTO_ICMP     1
#define FRAME_PROTO_IPIP     4
#define FRAME_PROTO_TCP      6
#define FRAME_PROTO_UDP      17
#define FRAME_PROTO_DCCP     33
#define FRAME_PROTO_6IN4     41
#define FRAME_PROTO_FRAGMENT 44
#define FRAME_PROTO_GRE      47
#define FRAME_PROTO_ESP      50
#define FRAME_PROTO_ICMPV6   58
#define FRAME_PROTO_SCTP     132
#define FRAME_PROTO_UDPLITE  136

/* A packet under construction. Layers are appended from the outside; frame_end() fills in lengths and checksums. */
struct frame {
    uint32_t len;
    uint32_t flags;      /* FLOWQ_PKT_L3 where there is no Ethernet header */
    uint32_t type_at;    /* where the next layer writes its number */
    uint32_t type_bytes; /* 0: nowhere, 1: IP protocol, 2: EtherType */
    uint32_t inner_at;   /* of frame_tunnel(): where the inner IP header begins */
    uint32_t n_open;     /* layers whose length field waits for the end */
    struct {
        uint32_t at;
        uint32_t layer;
    } open[8];
    uint8_t bytes[FRAME_MAX];
};

enum frame_tunnel {
    FRAME_NO_TUNNEL,
    FRAME_IP_IN_IP, /* IPIP, 6in4, 4in6, 6in6, as the versions say */
    FRAME_GRE,      /* no key */
    FRAME_GRE_KEY,
    FRAME_NVGRE,
    FRAME_GRE_UDP,
    FRAME_VXLAN,
    FRAME_VXLAN_LINUX,
    FRAME_VXLAN_GPE,
    FRAME_GENEVE,
    FRAME_GTPU,
    FRAME_GUE,
    FRAME_GUE_IP, /* variant 1: no header */
    FRAME_MPLS_UDP,
    FRAME_MPLS_GRE,
    FRAME_WCCP, /* only with equal IP versions */
    FRAME_ERSPAN_2,
    FRAME_ERSPAN_3, /* with a platform header */
    FRAME_N_TUNNELS
};

/* Layers. */
void frame_start(struct frame *f);
void frame_eth(struct frame *f, bool multicast);
void frame_vlan(struct frame *f, uint16_t tpid, uint16_t id);
void frame_ip(struct frame *f, const struct flowq_tuple *t, uint8_t protocol);
/* The same as a fragment: an IPv4 header with id and offset, or an IPv6 header with a fragment header. offset in bytes. */
void frame_ip_fragment(struct frame *f, const struct flowq_tuple *t, uint8_t protocol, uint32_t id, uint32_t offset, bool more);
/* What follows IP for protocol t->protocol: a transport header, or 8 opaque bytes; 0 payload bytes. */
void frame_l4(struct frame *f, const struct flowq_tuple *t, unsigned tcp_flags);
void frame_payload(struct frame *f, uint32_t bytes);
void frame_end(struct frame *f);

/* Whole packets. The first two start with Ethernet and t's VLAN tags. */
void frame_flow(struct frame *f, const struct flowq_tuple *t, unsigned tcp_flags);
void frame_fragment(struct frame *f, const struct flowq_tuple *t, uint32_t id, uint32_t offset, bool more);
/* Destination unreachable from t->src to t->dst, quoting `quote_bytes` (at most all) of a packet of the flow `quoted`. */
void frame_icmp_error(struct frame *f, const struct flowq_tuple *t, const struct flowq_tuple *quoted, uint32_t quote_bytes);
/* `inner` in a tunnel between the addresses of `outer`; UDP tunnels send from outer->sport. outer's VLAN tags go first. The
   network id is inner->vni if it has one, else some other. */
void frame_tunnel(struct frame *f, enum frame_tunnel tunnel, const struct flowq_tuple *outer, const struct flowq_tuple *inner,
                  unsigned tcp_flags);
/* The same, with the outer datagram cut into fragments: this one is the first. */
void frame_tunnel_first(struct frame *f, enum frame_tunnel tunnel, const struct flowq_tuple *outer,
                        const struct flowq_tuple *inner, unsigned tcp_flags, uint32_t id);
/* An ARP request, broadcast. */
void frame_arp(struct frame *f);

/* The bit of FLOWQ_TUNNEL_* that covers such a packet; 0: there is none such. */
uint32_t frame_tunnel_bit(enum frame_tunnel tunnel, uint8_t outer_version, uint8_t inner_version);
/* The outer packet as a flow of its own: protocol and ports as on the wire. */
struct flowq_tuple frame_tunnel_outer(enum frame_tunnel tunnel, const struct flowq_tuple *outer, uint8_t inner_version);

/* The inner packet as a flow of its own, as key_vlan and key_vni have it: the tags of the outer frame unless the tunnel carries
   frames, and the tunnel's network id. */
struct flowq_tuple frame_tunnel_inner(enum frame_tunnel tunnel, const struct flowq_tuple *outer, const struct flowq_tuple *inner);

struct flowq_pkt frame_pkt(const struct frame *f);

/* Tuples. */
struct flowq_tuple tuple_v4(uint8_t protocol, uint32_t src, uint16_t sport, uint32_t dst, uint16_t dport); /* host byte order */
struct flowq_tuple tuple_v6(uint8_t protocol, uint32_t src, uint16_t sport, uint32_t dst, uint16_t dport); /* in 2001:db8::/64 */
struct flowq_tuple tuple_reverse(const struct flowq_tuple *t);
/* Whether the protocol has ports in the key (rule S3). */
bool tuple_has_ports(uint8_t protocol);
/* Addresses and protocol alone, as a later fragment shows them. */
struct flowq_tuple tuple_addresses(const struct flowq_tuple *t);

#endif
