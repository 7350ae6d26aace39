/*
 * tunnel: what follows from the list in tunnel.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "tunnel.h"

#include "config.h"

_Static_assert(TUNNELS_ALL == CONFIG_TUNNELS, "each kind of flowq.h has its row, and no row is of another kind");

#define TUNNEL_COUNT_ONE(...) +1
_Static_assert(TUNNEL_LIST(TUNNEL_SKIP, TUNNEL_SKIP, TUNNEL_COUNT_ONE) == PARSE_N_PORTS, "each port has its row");

#define TUNNEL_READ_PORT(kind, virtio, place, setting, reader) port[PARSE_PORT_##place] = cfg->setting;
void tunnel_read_ports(const struct flowq_vm_config *cfg,
                       uint16_t port[PARSE_N_PORTS]){TUNNEL_LIST(TUNNEL_SKIP, TUNNEL_SKIP, TUNNEL_READ_PORT)}

#define TUNNEL_FILTER_PORT(kind, virtio, place, setting, reader)                                                                 \
    filter |= tunnels & FLOWQ_TUNNEL_##kind ? UINT64_C(1) << (port[PARSE_PORT_##place] & 63) : 0;
uint64_t tunnel_filter(uint32_t tunnels, const uint16_t port[PARSE_N_PORTS])
{
    uint64_t filter = 0;
    TUNNEL_LIST(TUNNEL_SKIP, TUNNEL_SKIP, TUNNEL_FILTER_PORT)
    return filter;
}

#define TUNNEL_HASH_TYPE(kind, virtio, ...) | (virtio)
_Static_assert((0 TUNNEL_LIST(TUNNEL_HASH_TYPE, TUNNEL_HASH_TYPE, TUNNEL_HASH_TYPE)) == FLOWQ_HASH_TUNNEL_ALL,
               "each of virtio's bits has its row");

#define TUNNEL_ADD_KIND(kind, virtio, ...) tunnels |= types & (virtio) ? FLOWQ_TUNNEL_##kind : 0;
uint32_t tunnel_of_hash_types(uint32_t types)
{
    uint32_t tunnels = 0;
    TUNNEL_LIST(TUNNEL_ADD_KIND, TUNNEL_ADD_KIND, TUNNEL_ADD_KIND)
    return tunnels;
}

#define TUNNEL_ADD_TYPE(kind, virtio, ...) types |= tunnels & FLOWQ_TUNNEL_##kind ? (virtio) : 0;
uint32_t tunnel_hash_types(uint32_t tunnels)
{
    uint32_t types = 0;
    TUNNEL_LIST(TUNNEL_ADD_TYPE, TUNNEL_ADD_TYPE, TUNNEL_ADD_TYPE)
    return types;
}

#define TUNNEL_KIND_OF_PORT(kind, virtio, place, setting, reader) [PARSE_PORT_##place] = FLOWQ_TUNNEL_##kind,
uint32_t tunnel_of_port(uint32_t i)
{
    static const uint32_t kind[PARSE_N_PORTS] = {TUNNEL_LIST(TUNNEL_SKIP, TUNNEL_SKIP, TUNNEL_KIND_OF_PORT)};
    return kind[i];
}
