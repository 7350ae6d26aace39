/*
 * vswitch: checksum and segmentation offloads, between DPDK's transmit flags and virtio's header. A packet that one guest left
 * without checksum, or 64 KiB long, goes to the next one as it is.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vswitch.h"

#include <netinet/in.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>
#include <stddef.h>

/* Length of the link header, and the protocol inside. */
static uint16_t link_length(const struct rte_mbuf *packet, uint16_t *type)
{
    const uint8_t *frame = rte_pktmbuf_mtod(packet, const uint8_t *);
    size_t length = RTE_ETHER_HDR_LEN, end = rte_pktmbuf_data_len(packet);

    *type = (uint16_t)(frame[length - 2] << 8 | frame[length - 1]);
    while ((*type == RTE_ETHER_TYPE_VLAN || *type == RTE_ETHER_TYPE_QINQ) && length + RTE_VLAN_HLEN <= end) {
        length += RTE_VLAN_HLEN;
        *type = (uint16_t)(frame[length - 2] << 8 | frame[length - 1]);
    }
    return (uint16_t)length;
}

/* Which protocol a checksum at this offset belongs to. */
static uint64_t checksum_flag(uint16_t offset)
{
    switch (offset) {
    case offsetof(struct rte_tcp_hdr, cksum):
        return RTE_MBUF_F_TX_TCP_CKSUM;
    case offsetof(struct rte_udp_hdr, dgram_cksum):
        return RTE_MBUF_F_TX_UDP_CKSUM;
    default:
        return 0;
    }
}

bool offload_from_header(const struct virtio_net_hdr *header, struct rte_mbuf *packet)
{
    bool segment = (header->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) != VIRTIO_NET_HDR_GSO_NONE;
    uint64_t checksum = checksum_flag(header->csum_offset);
    size_t end = rte_pktmbuf_data_len(packet);
    uint16_t type, start = header->csum_start;

    if ((header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0)
        return !segment;
    if (end < RTE_ETHER_HDR_LEN)
        return false;
    uint16_t l2 = link_length(packet, &type);
    if (checksum == 0 || start < l2 || start - l2 >= 1 << RTE_MBUF_L3_LEN_BITS || start + header->csum_offset + 2u > end)
        return false;
    packet->l2_len = l2 & ((1 << RTE_MBUF_L2_LEN_BITS) - 1);
    packet->l3_len = (uint16_t)(start - l2) & ((1 << RTE_MBUF_L3_LEN_BITS) - 1);
    packet->ol_flags |= checksum | (type == RTE_ETHER_TYPE_IPV4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6);
    if (!segment)
        return true;
    if (checksum != RTE_MBUF_F_TX_TCP_CKSUM || header->gso_size == 0 || start + sizeof(struct rte_tcp_hdr) > end)
        return false;
    packet->l4_len = (uint8_t)(rte_pktmbuf_mtod_offset(packet, const uint8_t *, start)[12] >> 4 << 2);
    packet->tso_segsz = header->gso_size;
    packet->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
    return true;
}

void offload_to_header(const struct rte_mbuf *packet, struct virtio_net_hdr *header)
{
    uint64_t checksum = packet->ol_flags & RTE_MBUF_F_TX_L4_MASK;
    bool segment = (packet->ol_flags & RTE_MBUF_F_TX_TCP_SEG) != 0;

    *header = (struct virtio_net_hdr){.gso_type = VIRTIO_NET_HDR_GSO_NONE};
    if (checksum == 0 && !segment)
        return;
    header->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    header->csum_start = (uint16_t)(packet->l2_len + packet->l3_len);
    header->csum_offset =
        checksum == RTE_MBUF_F_TX_UDP_CKSUM ? offsetof(struct rte_udp_hdr, dgram_cksum) : offsetof(struct rte_tcp_hdr, cksum);
    if (!segment)
        return;
    header->gso_type = (packet->ol_flags & RTE_MBUF_F_TX_IPV4) != 0 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
    header->gso_size = packet->tso_segsz;
    header->hdr_len = (uint16_t)(packet->l2_len + packet->l3_len + packet->l4_len);
}
