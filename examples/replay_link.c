/*
 * Link layers of captures: flowq takes Ethernet or bare IP, and this makes one of the two of what else libpcap has. What names
 * its payload by an ethertype gets an Ethernet header, so that tags, labels and the like are read as they would be there.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "replay.h"

#include <pcap/pcap.h>
#include <string.h>

enum { TYPE_IPV4 = 0x0800, TYPE_IPV6 = 0x86dd, TYPE_MPLS = 0x8847, TYPE_PPPOE = 0x8864, TYPE_PPP = 0x880b, TYPE_LEAST = 0x0600 };
enum { PPP_IPV4 = 0x21, PPP_IPV6 = 0x57, PPP_MPLS = 0x281 };

/* Of a packet's type in SLL: to a broadcast, or a multicast address. */
enum { SLL_BROADCAST = 1, SLL_MULTICAST = 2 };
enum { SLL_LLC = 4 }; /* in place of an ethertype: IEEE 802.2 follows */

static uint32_t be16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }

bool link_known(int link)
{
    switch (link) {
    case DLT_EN10MB:
    case DLT_RAW:
    case LINK_RAW_IN_FILES:
    case DLT_IPV4:
    case DLT_IPV6:
    case DLT_NULL:
    case DLT_LOOP:
    case DLT_PPP:
    case DLT_PPP_SERIAL:
    case DLT_PPP_ETHER:
    case DLT_C_HDLC:
    case DLT_LINUX_SLL:
    case DLT_LINUX_SLL2:
        return true;
    default:
        return false;
    }
}

static void put(struct packet *packet, const uint8_t *data, uint32_t len)
{
    uint32_t room = PACKET_BYTES - packet->len, n = len < room ? len : room;

    if (n > 0)
        memcpy(packet->data + packet->len, data, n);
    packet->len += n;
}

static void put_ip(struct packet *packet, const uint8_t *data, uint32_t len)
{
    packet->flags = FLOWQ_PKT_L3;
    put(packet, data, len);
}

/* A frame of this type. from: six bytes, or NULL. */
static void put_frame(struct packet *packet, uint32_t to, const uint8_t *from, uint32_t type, const uint8_t *data, uint32_t len)
{
    uint8_t header[14] = {0x02, [6] = 0x02};

    memset(header, to == SLL_BROADCAST ? 0xff : 0, 6);
    header[0] = to == SLL_BROADCAST ? 0xff : to == SLL_MULTICAST ? 0x03 : 0x02;
    if (from != NULL)
        memcpy(header + 6, from, 6);
    header[12] = (uint8_t)(type >> 8);
    header[13] = (uint8_t)type;
    packet->flags = 0;
    put(packet, header, sizeof(header));
    put(packet, data, len);
}

/* The address family, as the machine had it that captured: IPv6 has as many numbers as there are systems. */
static void from_null(struct packet *packet, const uint8_t *data, uint32_t len)
{
    if (len >= 4)
        put_ip(packet, data + 4, len - 4);
}

static void from_ppp(struct packet *packet, const uint8_t *data, uint32_t len)
{
    uint32_t protocol, bytes = 2;

    if (len >= 2 && data[0] == 0xff && data[1] == 0x03) { /* address and control, as in HDLC */
        data += 2;
        len -= 2;
    }
    if (len < 2)
        return;
    protocol = be16(data);
    if ((data[0] & 1) != 0) { /* one byte (RFC 1661, 6.5) */
        protocol = data[0];
        bytes = 1;
    }
    data += bytes;
    len -= bytes;
    if (protocol == PPP_IPV4 || protocol == PPP_IPV6)
        put_ip(packet, data, len);
    else
        put_frame(packet, 0, NULL, protocol == PPP_MPLS ? TYPE_MPLS : TYPE_PPP, data, len);
}

static void from_sll(struct packet *packet, uint32_t to, uint32_t address_bytes, const uint8_t *address, uint32_t protocol,
                     const uint8_t *data, uint32_t len)
{
    const uint8_t *from = address_bytes == 6 ? address : NULL;

    if (protocol == SLL_LLC)
        put_frame(packet, to, from, len < TYPE_LEAST ? len : TYPE_LEAST - 1, data, len);
    else
        put_frame(packet, to, from, protocol >= TYPE_LEAST ? protocol : TYPE_PPP, data, len);
}

void link_convert(int link, const uint8_t *data, uint32_t len, struct packet *packet)
{
    packet->len = 0;
    packet->flags = 0;
    switch (link) {
    case DLT_EN10MB:
        put(packet, data, len);
        break;
    case DLT_NULL:
    case DLT_LOOP:
        from_null(packet, data, len);
        break;
    case DLT_PPP:
    case DLT_PPP_SERIAL:
        from_ppp(packet, data, len);
        break;
    case DLT_PPP_ETHER:
        put_frame(packet, 0, NULL, TYPE_PPPOE, data, len);
        break;
    case DLT_C_HDLC: /* address, control, ethertype */
        if (len >= 4)
            put_frame(packet, 0, NULL, be16(data + 2), data + 4, len - 4);
        break;
    case DLT_LINUX_SLL: /* type of the packet, of the device, length of the address, the address, protocol */
        if (len >= 16)
            from_sll(packet, be16(data), be16(data + 4), data + 6, be16(data + 14), data + 16, len - 16);
        break;
    case DLT_LINUX_SLL2: /* protocol, 2 reserved, interface, type of the device, of the packet, length of the address, it */
        if (len >= 20)
            from_sll(packet, data[10], data[11], data + 12, be16(data), data + 20, len - 20);
        break;
    default: /* bare IP */
        put_ip(packet, data, len);
    }
}
