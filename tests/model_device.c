/*
 * model_device: see model_device.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "model_device.h"

#include "naive.h"

static uint32_t le(const uint8_t *b, unsigned n) { return n ? b[0] | le(b + 1, n - 1) << 8 : 0; }

/* 0: the key is not acceptable; `at` is where its length stands. */
static bool good_key(const struct control *c, uint32_t at, uint32_t types)
{
    if (types > FLOWQ_HASH_TYPE_ALL || at >= c->len)
        return false;
    uint32_t length = c->bytes[at], end = at + 1 + length;
    return length <= 40 && (length > 0 || types == 0) && c->len >= end && c->len <= end + 3;
}

static void take_hash(struct model_device *d, const struct control *c, uint32_t at)
{
    d->has_hash = true;
    d->types = le(c->bytes, 4);
    d->key_length = c->bytes[at];
    memcpy(d->key, c->bytes + at + 1, d->key_length);
}

static bool pairs_set(struct model_device *d, const struct control *c)
{
    uint32_t n = le(c->bytes, 2);
    if (!(d->features & FLOWQ_VIRTIO_F_MQ) || c->len != 2 || n < 1 || n > DEVICE_MAX_PAIRS)
        return false;
    d->rss = false;
    d->pairs = n;
    memset(d->named, 0, sizeof(d->named));
    return true;
}

static bool rss_config(struct model_device *d, const struct control *c)
{
    if (!(d->features & FLOWQ_VIRTIO_F_RSS) || c->len < 8)
        return false;
    uint32_t n = le(c->bytes + 4, 2) + 1, tx_at = 8 + 2 * n;
    if (n > DEVICE_MAX_TABLE || (n & (n - 1)) || c->len < tx_at + 3 || !good_key(c, tx_at + 2, le(c->bytes, 4)))
        return false;
    uint32_t max_tx = le(c->bytes + tx_at, 2);
    if (max_tx < 1 || max_tx > DEVICE_MAX_PAIRS || le(c->bytes + 6, 2) >= DEVICE_MAX_PAIRS)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (le(c->bytes + 8 + 2 * i, 2) >= DEVICE_MAX_PAIRS)
            return false;
    d->rss = true;
    d->pairs = max_tx;
    d->unclassified = (uint16_t)le(c->bytes + 6, 2);
    d->table_length = n;
    memset(d->named, 0, sizeof(d->named));
    d->named[d->unclassified] = true;
    for (uint32_t i = 0; i < n; i++) {
        d->table[i] = (uint16_t)le(c->bytes + 8 + 2 * i, 2);
        d->named[d->table[i]] = true;
    }
    take_hash(d, c, tx_at + 2);
    return true;
}

static bool hash_config(struct model_device *d, const struct control *c)
{
    if (!(d->features & FLOWQ_VIRTIO_F_HASH_REPORT) || d->features & FLOWQ_VIRTIO_F_RSS || c->len < 13 ||
        !good_key(c, 12, le(c->bytes, 4)))
        return false;
    take_hash(d, c, 12);
    return true;
}

bool model_device_ctrl(struct model_device *d, const struct control *c)
{
    if (c->cls == 4 && c->cmd == 0)
        return pairs_set(d, c);
    if (c->cls == 4 && c->cmd == 1)
        return rss_config(d, c);
    if (c->cls == 4 && c->cmd == 2)
        return hash_config(d, c);
    if (c->cls != 7 || c->cmd != 0 || !(d->features & FLOWQ_VIRTIO_F_HASH_TUNNEL) || c->len != 4)
        return false;
    if (le(c->bytes, 4) > FLOWQ_HASH_TUNNEL_ALL)
        return false;
    d->tunnels = le(c->bytes, 4);
    return true;
}

bool model_device_usable(const struct model_device *d, uint32_t q)
{
    return (q < d->pairs || d->named[q]) && !d->disabled[q] && !d->resetting[q];
}

uint32_t model_device_n_usable(const struct model_device *d)
{
    uint32_t n = 0;
    for (uint32_t q = 0; q < DEVICE_MAX_PAIRS; q++)
        n += model_device_usable(d, q);
    return n;
}

void model_device_reset(struct model_device *d, uint32_t what)
{
    if (what & FLOWQ_RESET_CONFIG) {
        d->rss = d->has_hash = false;
        d->tunnels = 0;
        memset(d->named, 0, sizeof(d->named));
    }
    if (what & FLOWQ_RESET_QUEUES) {
        d->pairs = 1;
        memset(d->named, 0, sizeof(d->named));
        memset(d->disabled, 0, sizeof(d->disabled));
        memset(d->resetting, 0, sizeof(d->resetting));
    }
}

/* ---- Packets --------------------------------------------------------------------------------------------------------------- */

static struct flowq_tuple random_tuple(struct rng *rng)
{
    static const uint8_t protocols[] = {FRAME_PROTO_TCP, FRAME_PROTO_TCP,  FRAME_PROTO_UDP,
                                        FRAME_PROTO_UDP, FRAME_PROTO_SCTP, FRAME_PROTO_ESP};
    uint8_t protocol = protocols[rng_below(rng, sizeof(protocols))];
    uint32_t src = (uint32_t)rng_next(rng) & 0x7fffffff, dst = (uint32_t)rng_next(rng) & 0x7fffffff;
    uint16_t sport = (uint16_t)(20000 + rng_below(rng, 40000)), dport = (uint16_t)(20000 + rng_below(rng, 40000));
    return rng_percent(rng, 50) ? tuple_v4(protocol, src, sport, dst, dport) : tuple_v6(protocol, src, sport, dst, dport);
}

static uint32_t type_of(uint32_t flowq_tunnel)
{
    switch (flowq_tunnel) {
    case FLOWQ_TUNNEL_GRE_2784:
        return FLOWQ_HASH_TUNNEL_GRE_2784;
    case FLOWQ_TUNNEL_GRE_2890:
        return FLOWQ_HASH_TUNNEL_GRE_2890;
    case FLOWQ_TUNNEL_GRE_7676:
        return FLOWQ_HASH_TUNNEL_GRE_7676;
    case FLOWQ_TUNNEL_GRE_UDP:
        return FLOWQ_HASH_TUNNEL_GRE_UDP;
    case FLOWQ_TUNNEL_VXLAN:
        return FLOWQ_HASH_TUNNEL_VXLAN;
    case FLOWQ_TUNNEL_VXLAN_GPE:
        return FLOWQ_HASH_TUNNEL_VXLAN_GPE;
    case FLOWQ_TUNNEL_GENEVE:
        return FLOWQ_HASH_TUNNEL_GENEVE;
    case FLOWQ_TUNNEL_IPIP:
        return FLOWQ_HASH_TUNNEL_IPIP;
    case FLOWQ_TUNNEL_NVGRE:
        return FLOWQ_HASH_TUNNEL_NVGRE;
    default:
        return 0;
    }
}

void hashed_packet_random(struct rng *rng, struct hashed_packet *p)
{
    uint32_t kind = rng_below(rng, 10);
    memset(p, 0, sizeof(*p));
    p->outer = random_tuple(rng);
    p->inner = random_tuple(rng);
    p->ip = kind > 0;
    if (kind == 0) {
        frame_arp(&p->frame);
    } else if (kind == 1) {
        p->fragment = true;
        frame_fragment(&p->frame, &p->outer, 9, rng_percent(rng, 50) ? 0 : 800, true);
    } else if (kind < 5) {
        enum frame_tunnel tunnel = (enum frame_tunnel)rng_range(rng, 1, FRAME_N_TUNNELS - 1);
        p->tunnel = type_of(frame_tunnel_bit(tunnel, p->outer.version, p->inner.version));
        frame_tunnel(&p->frame, tunnel, &p->outer, &p->inner, 0);
        if (rng_percent(rng, 20)) { /* nothing inside that could be hashed */
            p->frame.len = p->frame.inner_at;
            p->tunnel = 0;
        }
        p->outer = frame_tunnel_outer(tunnel, &p->outer, p->inner.version);
    } else {
        frame_flow(&p->frame, &p->outer, 0);
    }
}

uint8_t model_device_hash(const struct model_device *d, const struct hashed_packet *p, uint32_t *value)
{
    const struct flowq_tuple *t = p->tunnel & d->tunnels ? &p->inner : &p->outer;
    bool tcp = t->protocol == FRAME_PROTO_TCP && !p->fragment, udp = t->protocol == FRAME_PROTO_UDP && !p->fragment;
    static const uint32_t order[3][3] = {/* addresses, TCP, UDP */
                                         {FLOWQ_HASH_TYPE_IPV4, FLOWQ_HASH_TYPE_TCPV4, FLOWQ_HASH_TYPE_UDPV4},
                                         {FLOWQ_HASH_TYPE_IPV6, FLOWQ_HASH_TYPE_TCPV6, FLOWQ_HASH_TYPE_UDPV6},
                                         {FLOWQ_HASH_TYPE_IP_EX, FLOWQ_HASH_TYPE_TCP_EX, FLOWQ_HASH_TYPE_UDP_EX}};
    *value = 0;
    if (!d->has_hash || !p->ip)
        return 0;
    for (int row = t->version == 4 ? 0 : p->fragment ? 2 : 1; row >= 0; row--) {
        const uint32_t *type = order[row];
        uint32_t found = tcp && d->types & type[1] ? type[1] : udp && d->types & type[2] ? type[2] : d->types & type[0];
        if (found) {
            *value = naive_hash_tuple(d->key, d->key_length, t, found != type[0]);
            return (uint8_t)(1 + __builtin_ctz(found));
        }
        if (row == 1) /* IPv6 is no IPv4 */
            break;
    }
    return 0;
}
