/*
 * tunnel: the one list of the kinds of tunnels: what carries each, its bit, and its bit in virtio. How each is read is in
 * parse_tunnel.c; there it is told which kind of GRE, or of IP in IP, a packet is of.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_LIB_TUNNEL_H
#define FLOWQ_LIB_TUNNEL_H

#include "parse.h"

/*
 * Three kinds of rows, by what carries the tunnel: IP, GRE or UDP. virtio: FLOWQ_HASH_TUNNEL_*, or 0 where virtio does not hash
 * what is inside. A row of UDP is one port: its place in parse_rules.port, the setting, and the function of
 * parse_tunnel.c that reads what follows.
 */
/* clang-format off */
#define TUNNEL_LIST(ip, gre, udp)                                                                                \
    /*  FLOWQ_TUNNEL_      virtio */                                                                             \
    ip( IPIP,              FLOWQ_HASH_TUNNEL_IPIP)      /* RFC 2003 there: IPv4 in IPv4 */                       \
    ip( 6IN4,              0)                                                                                    \
    ip( 4IN6,              0)                                                                                    \
    ip( 6IN6,              0)                                                                                    \
    gre(GRE_2784,          FLOWQ_HASH_TUNNEL_GRE_2784)                                                           \
    gre(GRE_2890,          FLOWQ_HASH_TUNNEL_GRE_2890)                                                           \
    gre(GRE_7676,          FLOWQ_HASH_TUNNEL_GRE_7676)                                                           \
    gre(NVGRE,             FLOWQ_HASH_TUNNEL_NVGRE)                                                              \
    gre(MPLS_GRE,          0)                                                                                    \
    gre(WCCP,              0)                                                                                    \
    gre(ERSPAN,            0)                                                                                    \
    /*                                                  PARSE_PORT_   setting           reader */                \
    udp(GRE_UDP,           FLOWQ_HASH_TUNNEL_GRE_UDP,   GRE_UDP,      gre_udp_port,     tunnel_gre_in_udp)              \
    udp(VXLAN,             FLOWQ_HASH_TUNNEL_VXLAN,     VXLAN,        vxlan_port,       tunnel_vxlan)                   \
    udp(VXLAN,             FLOWQ_HASH_TUNNEL_VXLAN,     VXLAN_LINUX,  vxlan_linux_port, tunnel_vxlan)                   \
    udp(VXLAN_GPE,         FLOWQ_HASH_TUNNEL_VXLAN_GPE, VXLAN_GPE,    vxlan_gpe_port,   tunnel_vxlan_gpe)               \
    udp(GENEVE,            FLOWQ_HASH_TUNNEL_GENEVE,    GENEVE,       geneve_port,      tunnel_geneve)                  \
    udp(GTPU,              0,                           GTPU,         gtpu_port,        tunnel_gtpu)                    \
    udp(GUE,               0,                           GUE,          gue_port,         tunnel_gue)                     \
    udp(MPLS_UDP,          0,                           MPLS_UDP,     mpls_udp_port,    tunnel_mpls_in_udp)
/* clang-format on */

/* FLOWQ_TUNNEL_* of a row, or nothing, to be put together. */
#define TUNNEL_BIT(kind, ...) | FLOWQ_TUNNEL_##kind
#define TUNNEL_SKIP(kind, ...)

/* All kinds; those that GRE carries. */
enum {
    TUNNELS_ALL = 0 TUNNEL_LIST(TUNNEL_BIT, TUNNEL_BIT, TUNNEL_BIT),
    TUNNELS_GRE = 0 TUNNEL_LIST(TUNNEL_SKIP, TUNNEL_BIT, TUNNEL_SKIP)
};

/* The ports of settings that have been through config_read(). */
void tunnel_read_ports(const struct flowq_vm_config *cfg, uint16_t port[PARSE_N_PORTS]);

/* parse_rules.udp_filter of these kinds and ports. */
uint64_t tunnel_filter(uint32_t tunnels, const uint16_t port[PARSE_N_PORTS]);

/* Whose port is at this place. */
uint32_t tunnel_of_port(uint32_t i);

/* FLOWQ_TUNNEL_* of FLOWQ_HASH_TUNNEL_*, virtio's bits. */
uint32_t tunnel_of_hash_types(uint32_t types);
/* And back. */
uint32_t tunnel_hash_types(uint32_t tunnels);

#endif
