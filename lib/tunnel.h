/*
 * tunnel: what there is to know of each kind of tunnel beside how it is read, which parse_tunnel.c knows.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_LIB_TUNNEL_H
#define FLOWQ_LIB_TUNNEL_H

#include "parse.h"

/* By enum parse_port: the kind of tunnel that a UDP port is for, FLOWQ_TUNNEL_*. */
extern const uint32_t tunnel_of_port[PARSE_N_PORTS];

/* The ports of settings that have been through config_read(). */
void tunnel_read_ports(const struct flowq_vm_config *cfg, uint16_t port[PARSE_N_PORTS]);

/* parse_rules.udp_filter of these kinds and ports. */
uint64_t tunnel_filter(uint32_t tunnels, const uint16_t port[PARSE_N_PORTS]);

/* FLOWQ_TUNNEL_* of FLOWQ_HASH_TUNNEL_*, virtio's bits. */
uint32_t tunnel_of_hash_types(uint32_t types);

#endif
