/*
 * tunnel: see tunnel.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "tunnel.h"

const uint32_t tunnel_of_port[PARSE_N_PORTS] = {
    [PARSE_PORT_VXLAN] = FLOWQ_TUNNEL_VXLAN,
    [PARSE_PORT_VXLAN_LINUX] = FLOWQ_TUNNEL_VXLAN,
    [PARSE_PORT_VXLAN_GPE] = FLOWQ_TUNNEL_VXLAN_GPE,
    [PARSE_PORT_GENEVE] = FLOWQ_TUNNEL_GENEVE,
    [PARSE_PORT_GTPU] = FLOWQ_TUNNEL_GTPU,
    [PARSE_PORT_GRE_UDP] = FLOWQ_TUNNEL_GRE_UDP,
    [PARSE_PORT_GUE] = FLOWQ_TUNNEL_GUE,
    [PARSE_PORT_MPLS_UDP] = FLOWQ_TUNNEL_MPLS_UDP,
};

void tunnel_read_ports(const struct flowq_vm_config *cfg, uint16_t port[PARSE_N_PORTS])
{
    port[PARSE_PORT_VXLAN] = cfg->vxlan_port;
    port[PARSE_PORT_VXLAN_LINUX] = cfg->vxlan_linux_port;
    port[PARSE_PORT_VXLAN_GPE] = cfg->vxlan_gpe_port;
    port[PARSE_PORT_GENEVE] = cfg->geneve_port;
    port[PARSE_PORT_GTPU] = cfg->gtpu_port;
    port[PARSE_PORT_GRE_UDP] = cfg->gre_udp_port;
    port[PARSE_PORT_GUE] = cfg->gue_port;
    port[PARSE_PORT_MPLS_UDP] = cfg->mpls_udp_port;
}

uint64_t tunnel_filter(uint32_t tunnels, const uint16_t port[PARSE_N_PORTS])
{
    uint64_t filter = 0;
    for (unsigned i = 0; i < PARSE_N_PORTS; i++)
        if (tunnels & tunnel_of_port[i])
            filter |= UINT64_C(1) << (port[i] & 63);
    return filter;
}

/* By virtio's bit. IPIP is RFC 2003 there: IPv4 in IPv4. */
static const uint32_t tunnel_of_bit[] = {
    FLOWQ_TUNNEL_GRE_2784,  FLOWQ_TUNNEL_GRE_2890, FLOWQ_TUNNEL_GRE_7676, FLOWQ_TUNNEL_GRE_UDP, FLOWQ_TUNNEL_VXLAN,
    FLOWQ_TUNNEL_VXLAN_GPE, FLOWQ_TUNNEL_GENEVE,   FLOWQ_TUNNEL_IPIP,     FLOWQ_TUNNEL_NVGRE,
};
_Static_assert(FLOWQ_HASH_TUNNEL_ALL == (1 << sizeof(tunnel_of_bit) / sizeof(tunnel_of_bit[0])) - 1, "one for each");

uint32_t tunnel_of_hash_types(uint32_t types)
{
    uint32_t tunnels = 0;
    for (unsigned bit = 0; types >> bit; bit++)
        if (types >> bit & 1)
            tunnels |= tunnel_of_bit[bit];
    return tunnels;
}
