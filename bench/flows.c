/* flows: flows, and the packets they consist of. SPDX-License-Identifier: BSD-2-Clause */
#include "bench.h"

#include <math.h>
#include <string.h>

#include "key.h"

enum { VM_PORT = 443, FIRST_REMOTE_PORT = 1024, TCP_ACK = 0x10 };

/* The parts of a flow that differ from flow to flow: 24 bits of the address, 8 of the port. Odd multiplier: no two flows are the
 * same. */
static uint32_t spread(uint64_t id) { return (uint32_t)id * 0x9e3779b1u; }

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v);
}

/* Address of the remote end or of the VM, 4 or 16 bytes. */
static void put_address(uint8_t *p, uint32_t version, bool remote, uint64_t id)
{
    uint32_t v4 = remote ? 20u << 24 | spread(id) >> 8 : 10u << 24 | 1;
    if (version == 6) {
        static const uint8_t prefix[12] = {0x20, 0x01, 0x0d, 0xb8};
        memcpy(p, prefix, sizeof(prefix));
        p += sizeof(prefix);
    }
    put32(p, v4);
}

static uint32_t remote_port(uint64_t id) { return FIRST_REMOTE_PORT + (spread(id) & 0xff); }

uint32_t flow_frame(uint8_t *f, uint32_t version, enum direction direction, uint64_t id)
{
    static const uint8_t remote_mac[6] = {2, 0, 0, 0, 0, 1}, vm_mac[6] = {2, 0, 0, 0, 0, 2};
    bool incoming = direction == INCOMING;
    uint32_t address = version == 4 ? 4 : 16, ip_bytes = version == 4 ? 20 : 40, len = version == 4 ? 64 : 78;
    uint8_t *ip = f + 14, *tcp = ip + ip_bytes, *source = ip + (version == 4 ? 12 : 8);
    memset(f, 0, version == 4 ? FRAME_STRIDE_V4 : FRAME_STRIDE_V6);
    memcpy(f, incoming ? vm_mac : remote_mac, 6);
    memcpy(f + 6, incoming ? remote_mac : vm_mac, 6);
    put16(f + 12, version == 4 ? 0x0800 : 0x86dd);
    if (version == 4) {
        ip[0] = 0x45;
        put16(ip + 2, len - 14);
        ip[8] = 64;
        ip[9] = 6;
    } else {
        ip[0] = 0x60;
        put16(ip + 4, len - 14 - ip_bytes);
        ip[6] = 6;
        ip[7] = 64;
    }
    put_address(source, version, incoming, id);
    put_address(source + address, version, !incoming, id);
    put16(tcp, incoming ? remote_port(id) : VM_PORT);
    put16(tcp + 2, incoming ? VM_PORT : remote_port(id));
    tcp[12] = 0x50;
    tcp[13] = TCP_ACK;
    return len;
}

void flow_key(uint64_t *word, uint32_t version, uint64_t id)
{
    size_t address = version == 4 ? 4 : 16;
    uint8_t bytes[KEY_V6_BYTES] = {0};
    struct key_l4 l4 = {.protocol = 6, .version = (uint8_t)version};
    put_address(bytes, version, true, id);
    put_address(bytes + address, version, false, id);
    put16((uint8_t *)&l4.sport, remote_port(id));
    put16((uint8_t *)&l4.dport, VM_PORT);
    memcpy(bytes + 2 * address, &l4, sizeof(l4));
    memcpy(word, bytes, 2 * address + sizeof(l4));
}

/* ---- Which flows ----------------------------------------------------------------------------------------------------------- */

void choose_all(uint32_t *ids, size_t n, uint64_t n_flows)
{
    for (size_t i = 0; i < n; i++)
        ids[i] = (uint32_t)(i % n_flows);
}

void choose_uniform(uint32_t *ids, size_t n, uint64_t n_flows, uint64_t *state)
{
    for (size_t i = 0; i < n; i++)
        ids[i] = (uint32_t)(((random_next(state) >> 32) * n_flows) >> 32);
}

void choose_hits(uint32_t *ids, size_t n, uint64_t n_flows, unsigned percent, uint64_t *state)
{
    choose_uniform(ids, n, n_flows, state);
    for (size_t i = 0; i < n; i++)
        if (random_next(state) % 100 >= percent)
            ids[i] += (uint32_t)n_flows;
}

/*
 * Rank k with probability proportional to k^-skew, by rejection-inversion: Hörmann, Derflinger, "Rejection-inversion to generate
 * variates from monotone discrete distributions", 1996. Flow 0 is the most frequent; where it lies in a table is random anyway.
 */
static double zipf_h(double x, double skew) { return (pow(x, 1 - skew) - 1) / (1 - skew); }
static double zipf_h_inverse(double x, double skew) { return pow(1 + x * (1 - skew), 1 / (1 - skew)); }

void choose_zipf(uint32_t *ids, size_t n, uint64_t n_flows, double skew, uint64_t *state)
{
    double low = zipf_h(1.5, skew) - 1, high = zipf_h((double)n_flows + 0.5, skew);
    for (size_t i = 0; i < n; i++) {
        double u, x, k;
        do {
            u = high + (double)(random_next(state) >> 11) * 0x1p-53 * (low - high);
            x = zipf_h_inverse(u, skew);
            k = floor(x + 0.5);
            k = k < 1 ? 1 : k > (double)n_flows ? (double)n_flows : k;
        } while (u < zipf_h(k + 0.5, skew) - pow(k, -skew));
        ids[i] = (uint32_t)(k - 1);
    }
}

/* ---- Streams --------------------------------------------------------------------------------------------------------------- */

static void shuffle(struct flowq_pkt *pkts, uint32_t *ids, size_t n)
{
    uint64_t state = n;
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)((random_next(&state) >> 32) * i >> 32);
        struct flowq_pkt p = pkts[i - 1];
        uint32_t id = ids[i - 1];
        pkts[i - 1] = pkts[j];
        ids[i - 1] = ids[j];
        pkts[j] = p;
        ids[j] = id;
    }
}

struct stream stream_of(frame_fn *fn, const void *how, size_t stride, uint32_t *ids, size_t n)
{
    struct stream s = {.n = n, .ids = ids, .bytes_allocated = n * stride};
    s.bytes = huge_alloc(s.bytes_allocated);
    s.pkts = huge_alloc(n * sizeof(*s.pkts));
    for (size_t i = 0; i < n; i++) {
        uint8_t *frame = s.bytes + i * stride;
        s.pkts[i] = (struct flowq_pkt){.data = frame, .len = fn(frame, ids[i], how)};
    }
    return s;
}

struct plain {
    uint32_t version;
    enum direction direction;
};

static uint32_t plain_frame(uint8_t *frame, uint64_t id, const void *how)
{
    const struct plain *plain = how;
    return flow_frame(frame, plain->version, plain->direction, id);
}

struct stream stream_make(uint32_t version, enum direction direction, enum order order, uint32_t *ids, size_t n)
{
    struct plain plain = {version, direction};
    struct stream s = stream_of(plain_frame, &plain, version == 4 ? FRAME_STRIDE_V4 : FRAME_STRIDE_V6, ids, n);
    if (order == SCATTERED)
        shuffle(s.pkts, s.ids, n);
    return s;
}

void stream_free(struct stream *s)
{
    huge_free(s->bytes, s->bytes_allocated);
    huge_free(s->pkts, s->n * sizeof(*s->pkts));
    huge_free(s->ids, s->n * sizeof(*s->ids));
}

uint64_t stream_sum(const struct stream *s, size_t from, size_t n, uint64_t n_flows)
{
    uint64_t sum = 0;
    for (size_t i = from; i < from + n; i++)
        sum += s->ids[i] < n_flows ? flow_queue(s->ids[i]) : MISS;
    return sum;
}
