/*
 * plain: plain packets, which are nearly all, from the frame to the key, inline: Ethernet, IPv4 without options or IPv6 without
 * extension headers, not a fragment, TCP or UDP, and not to the port of a tunnel.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A masked compare decides; everything else, and whatever is cut too short, is special: it goes to parse_packet(), which starts
 * afresh and believes nothing seen here. Both give the same key (tests/check_parse_model.c). Little-endian machines only;
 * elsewhere nothing is plain.
 */
#ifndef FLOWQ_LIB_PLAIN_H
#define FLOWQ_LIB_PLAIN_H

#include "hash.h"

enum plain { PLAIN_NOT, PLAIN_V4, PLAIN_V6 };

/* Offsets in a frame; lengths that hold what is read: for a transmitted TCP packet the flags, too. */
enum {
    PLAIN_V4_PORTS = 34,
    PLAIN_V6_PORTS = 54,
    PLAIN_TCP_FLAGS = 13, /* from the ports */
    PLAIN_TX_REACH = 14,
    PLAIN_RX_REACH = 4
};

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__

static inline uint64_t plain_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint32_t plain_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* A port of a tunnel is not plain. It stands in network byte order in the upper half: its low byte is the topmost. */
static inline bool plain_udp(uint32_t ports, uint64_t udp_filter) { return !(udp_filter >> (ports >> 24 & 63) & 1); }

static inline uint32_t plain_swap_ports(uint32_t ports) { return ports << 16 | ports >> 16; }

/* A frame of at least so many bytes. Two loads: a host may have stored the two fields just now. */
static inline bool plain_whole(const struct flowq_pkt *pkt, uint32_t bytes) { return pkt->flags == 0 && pkt->len >= bytes; }

/* Each: is it such a packet? word: its key's words. tx: the packet is the VM's: the key comes reversed, and multicast
   destinations are not plain. */
static inline __attribute__((always_inline)) bool plain_v4(const struct flowq_pkt *pkt, uint64_t udp_filter, bool tx,
                                                           uint64_t word[5])
{
    const uint8_t *p = pkt->data;
    if (!plain_whole(pkt, PLAIN_V4_PORTS + (tx ? PLAIN_TX_REACH : PLAIN_RX_REACH)) || (tx && (p[0] & 1)))
        return false;
    uint32_t first = plain_u32(p + 12) & 0xffffff; /* type, version and length */
    uint32_t mid = plain_u32(p + 20) & 0xff00ff3f; /* flags and offset, protocol */
    uint32_t ports = plain_u32(p + PLAIN_V4_PORTS);
    uint64_t addresses = plain_u64(p + 26), l4 = tx ? plain_swap_ports(ports) : ports;
    if (first != 0x450008)
        return false;
    if (__builtin_expect(mid != (uint32_t)PROTO_TCP << 24, 0)) {
        if (mid != (uint32_t)PROTO_UDP << 24 || !plain_udp(ports, udp_filter))
            return false;
        l4 ^= key_l4_make(0, PROTO_TCP ^ PROTO_UDP, 0);
    }
    word[0] = tx ? addresses << 32 | addresses >> 32 : addresses;
    if (tx && (word[0] & 0xff) >= IPV4_MULTICAST)
        return false;
    word[1] = l4 ^ HASH_TCP; /* which hash_v4() takes out again */
    return true;
}

static inline __attribute__((always_inline)) bool plain_v6(const struct flowq_pkt *pkt, uint64_t udp_filter, bool tx,
                                                           uint64_t word[5])
{
    const uint8_t *p = pkt->data;
    if (!plain_whole(pkt, PLAIN_V6_PORTS + (tx ? PLAIN_TX_REACH : PLAIN_RX_REACH)) || (tx && (p[0] & 1)))
        return false;
    if ((plain_u32(p + 12) & 0xf0ffff) != 0x60dd86) /* type, version */
        return false;
    uint32_t protocol = p[20], ports = plain_u32(p + PLAIN_V6_PORTS);
    uint64_t s0 = plain_u64(p + 22), s1 = plain_u64(p + 30), d0 = plain_u64(p + 38), d1 = plain_u64(p + 46);
    if (protocol != PROTO_TCP && (protocol != PROTO_UDP || !plain_udp(ports, udp_filter)))
        return false;
    if (tx && (d0 & 0xff) == IPV6_MULTICAST)
        return false;
    word[0] = tx ? d0 : s0;
    word[1] = tx ? d1 : s1;
    word[2] = tx ? s0 : d0;
    word[3] = tx ? s1 : d1;
    word[4] = key_l4_make(tx ? plain_swap_ports(ports) : ports, protocol, 6);
    return true;
}

/*
 * hash_spread() of a packet that was plain, from its header again: what it was need not be asked once more, only of which
 * version. If the packet has changed meanwhile it is some value; what is read is there in any case.
 */
static inline __attribute__((always_inline)) uint32_t plain_spread_again(const struct hash_spread_secret secret,
                                                                         const struct flowq_pkt *pkt)
{
    const uint8_t *p = pkt->data;
    if (__builtin_expect(p[12] == 0x08, 1)) /* of the ethertype; IPv6's is 0x86dd */
        return hash_spread_v4(secret, plain_u64(p + 26), hash_spread_l4(plain_u32(p + PLAIN_V4_PORTS), p[23]));
    if (pkt->len < PLAIN_V6_PORTS + PLAIN_RX_REACH)
        return 0;
    const uint64_t address[4] = {plain_u64(p + 22), plain_u64(p + 30), plain_u64(p + 38), plain_u64(p + 46)};
    return hash_spread_v6(secret, address, hash_spread_l4(plain_u32(p + PLAIN_V6_PORTS), p[20]));
}

/*
 * A plain packet and those behind it that are of the same flow, as the header has it: what plain_v4() or plain_v6() would find in
 * them is known. It is made of the key, so that the header is not read a second time.
 */
struct plain_train {
    uint64_t address[4]; /* IPv4: the first word has both */
    uint32_t ports, protocol;
    uint32_t flags, flags_mask; /* tx: of plain_tcp_flags(), in which they are the same, too; no mask: it has none */
};

static inline __attribute__((always_inline)) void plain_train_begin(struct plain_train *t, enum plain version, bool tx,
                                                                    const uint64_t word[5], uint32_t flags, uint32_t flags_mask)
{
    const bool v4 = version == PLAIN_V4;
    const uint64_t l4 = v4 ? word[1] : word[4];
    const uint32_t ports = (uint32_t)(l4 >> KEY_PORTS_SHIFT);
    t->ports = tx ? plain_swap_ports(ports) : ports;
    t->protocol = (uint32_t)(l4 >> KEY_PROTOCOL_SHIFT) & 0xff;
    t->flags = flags;
    t->flags_mask = t->protocol == PROTO_TCP ? flags_mask : 0;
    t->address[0] = v4 && tx ? word[0] << 32 | word[0] >> 32 : word[!v4 && tx ? 2 : 0];
    for (unsigned i = 1; !v4 && i < 4; i++)
        t->address[i] = word[tx ? (i + 2) % 4 : i];
}

/* Is the packet of this train, too? */
static inline __attribute__((always_inline)) bool plain_train_goes_on(const struct plain_train t, enum plain version, bool tx,
                                                                      const struct flowq_pkt *pkt)
{
    const uint8_t *p = pkt->data;
    const unsigned at = version == PLAIN_V4 ? PLAIN_V4_PORTS : PLAIN_V6_PORTS;
    uint64_t differ;
    if (!plain_whole(pkt, at + (tx ? PLAIN_TX_REACH : PLAIN_RX_REACH)))
        return false;
    if (version == PLAIN_V4) {
        differ = ((plain_u32(p + 12) & 0xffffff) ^ 0x450008) | ((plain_u32(p + 20) & 0xff00ff3f) ^ t.protocol << 24);
        differ |= plain_u64(p + 26) ^ t.address[0];
    } else {
        differ = ((plain_u32(p + 12) & 0xf0ffff) ^ 0x60dd86) | (p[20] ^ t.protocol);
        differ |= (plain_u64(p + 22) ^ t.address[0]) | (plain_u64(p + 30) ^ t.address[1]);
        differ |= (plain_u64(p + 38) ^ t.address[2]) | (plain_u64(p + 46) ^ t.address[3]);
    }
    differ |= plain_u32(p + at) ^ t.ports;
    if (tx)
        differ |= (p[0] & 1u) | ((p[at + PLAIN_TCP_FLAGS] ^ t.flags) & t.flags_mask);
    return differ == 0;
}

/* Of a packet of at least PLAIN_V4_PORTS bytes, a hint: what is read is there, but may be something else a moment later. The byte
   is the ethertype's; IPv6's is 0x86dd. */
static inline bool plain_may_be_v4(const struct flowq_pkt *pkt) { return ((const uint8_t *)pkt->data)[12] == 0x08; }

/* Are these packets of one flow, if they are plain? A hint, too. What IPv6 has where IPv4 has addresses and ports is most of the
   source's address, which many flows may share. */
static inline __attribute__((always_inline)) bool plain_alike(const struct flowq_pkt *a, const struct flowq_pkt *b)
{
    const uint8_t *p = a->data, *q = b->data;
    if (a->len < PLAIN_V4_PORTS + PLAIN_RX_REACH || b->len < PLAIN_V4_PORTS + PLAIN_RX_REACH ||
        plain_u64(p + 26) != plain_u64(q + 26) || plain_u32(p + PLAIN_V4_PORTS) != plain_u32(q + PLAIN_V4_PORTS))
        return false;
    return plain_may_be_v4(a) ||
           (a->len >= PLAIN_V6_PORTS + PLAIN_RX_REACH && b->len >= PLAIN_V6_PORTS + PLAIN_RX_REACH &&
            plain_u64(p + 46) == plain_u64(q + 46) && plain_u32(p + PLAIN_V6_PORTS) == plain_u32(q + PLAIN_V6_PORTS));
}

#else

struct plain_train {
    uint32_t none;
};

static inline void plain_train_begin(struct plain_train *t, enum plain version, bool tx, const uint64_t word[5], uint32_t flags,
                                     uint32_t flags_mask)
{
    (void)t, (void)version, (void)tx, (void)word, (void)flags, (void)flags_mask;
}

static inline bool plain_train_goes_on(const struct plain_train t, enum plain version, bool tx, const struct flowq_pkt *pkt)
{
    (void)t, (void)version, (void)tx, (void)pkt;
    return false;
}

static inline bool plain_may_be_v4(const struct flowq_pkt *pkt)
{
    (void)pkt;
    return false;
}

static inline bool plain_alike(const struct flowq_pkt *a, const struct flowq_pkt *b)
{
    (void)a, (void)b;
    return false;
}

static inline uint32_t plain_spread_again(const struct hash_spread_secret secret, const struct flowq_pkt *pkt)
{
    (void)secret, (void)pkt;
    return 0;
}

static inline bool plain_v4(const struct flowq_pkt *pkt, uint64_t udp_filter, bool tx, uint64_t word[5])
{
    (void)pkt, (void)udp_filter, (void)tx, (void)word;
    return false;
}

static inline bool plain_v6(const struct flowq_pkt *pkt, uint64_t udp_filter, bool tx, uint64_t word[5])
{
    return plain_v4(pkt, udp_filter, tx, word);
}

#endif

static inline __attribute__((always_inline)) enum plain plain_read(const struct flowq_pkt *pkt, uint64_t udp_filter, bool tx,
                                                                   uint64_t word[5])
{
    if (plain_v4(pkt, udp_filter, tx, word))
        return PLAIN_V4;
    return plain_v6(pkt, udp_filter, tx, word) ? PLAIN_V6 : PLAIN_NOT;
}

/* Of a plain, transmitted packet whose key has these words: the lowest bits of its TCP flags (RFC 9293), or no_tcp. */
static inline uint32_t plain_tcp_flags(const struct flowq_pkt *pkt, enum plain plain, const uint64_t word[5], uint32_t mask,
                                       uint32_t no_tcp)
{
    const uint8_t *ports = (const uint8_t *)pkt->data + (plain == PLAIN_V4 ? PLAIN_V4_PORTS : PLAIN_V6_PORTS);
    uint64_t l4 = plain == PLAIN_V4 ? word[1] : word[4];
    uint32_t flags = ports[PLAIN_TCP_FLAGS] & mask;
    return (l4 >> KEY_PROTOCOL_SHIFT & 0xff) == PROTO_TCP ? flags : no_tcp;
}

#endif
