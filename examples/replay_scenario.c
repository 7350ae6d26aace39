/*
 * The packets of one flow as a scenario (tests/README.md), for a bug report: what flowq was given, and on which queue, so that it
 * can be played again, by check_scenarios or whoever reads it.
 *
 * Nobody's addresses are in it. They are replaced so that two that have a prefix in common have one of the same length afterwards
 * (Xu, Fan, Ammar, Moon: Prefix-preserving IP address anonymization, 2002), of IPv4 but for the first four bits, of IPv6 but
 * for the first 16, which say of what kind an address is; ports stay. What is behind the headers that flowq reads is zero, and
 * so are the options of IPv4 and of IPv6 and all extension headers but what their lengths and types are.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "replay.h"

#include <string.h>

/* ---- What is replaced ---- */

/* A bit for each prefix, by lot. */
static bool flips(const uint8_t *address, unsigned bit, size_t bytes, uint64_t secret)
{
    uint64_t key[5] = {bit, bytes};

    memcpy(&key[2], address, bit / 8);
    if (bit % 8 != 0)
        ((uint8_t *)&key[2])[bit / 8] = (uint8_t)(address[bit / 8] >> (8 - bit % 8));
    return (hash40(key, secret) >> 40 & 1) != 0;
}

static bool is_zero_or_all(const uint8_t *address, size_t bytes)
{
    uint8_t any = 0, all = 0xff;

    for (size_t i = 0; i < bytes; i++) {
        any |= address[i];
        all &= address[i];
    }
    return any == 0 || all == 0xff;
}

static void replace_address(uint8_t *address, size_t bytes, uint64_t secret)
{
    uint8_t old[16];

    memcpy(old, address, bytes);
    if (is_zero_or_all(old, bytes))
        return;
    for (unsigned bit = bytes == 4 ? 4 : 16; bit < 8 * bytes; bit++)
        if (flips(old, bit, bytes, secret))
            address[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
}

static void replace_mac(uint8_t *mac, uint64_t secret)
{
    uint64_t key[5] = {0};

    if (is_zero_or_all(mac, 6))
        return;
    memcpy(key, mac, 6);
    uint64_t lot = hash40(key, secret);
    memcpy(mac + 1, &lot, 5);
    mac[0] = (uint8_t)(0x02 | (mac[0] & 1));
}

static uint32_t sum16(const uint8_t *p, size_t bytes)
{
    uint32_t sum = 0;

    for (size_t i = 0; i + 1 < bytes; i += 2)
        sum += (uint32_t)p[i] << 8 | p[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16);
}

/* A header checksum that was right stays right, and a wrong one wrong: by it IP is told from others under labels. */
static void replace_ipv4(uint8_t *h, size_t bytes, uint64_t secret)
{
    bool right = sum16(h, bytes) == 0xffff;

    replace_address(h + 12, 4, secret);
    replace_address(h + 16, 4, secret);
    if (bytes > 20)
        memset(h + 20, 0, bytes - 20);
    h[10] = h[11] = 0;
    uint32_t sum = ~sum16(h, bytes) & 0xffff;
    if (!right)
        sum ^= 0x5555;
    h[10] = (uint8_t)(sum >> 8);
    h[11] = (uint8_t)sum;
}

/* Segments stay addresses; compressed ones (RFC 6554) go. */
static void replace_routing(uint8_t *h, size_t bytes, uint64_t secret)
{
    bool addresses = h[2] != 3;

    for (size_t at = 8; at < bytes; at += 16) {
        size_t n = bytes - at < 16 ? bytes - at : 16;
        if (addresses && n == 16)
            replace_address(h + at, 16, secret);
        else
            memset(h + at, 0, n);
    }
}

static void replace_layer(uint8_t *data, const struct flowq_layer *l, uint64_t secret)
{
    uint8_t *h = data + l->offset;

    switch (l->kind) {
    case FLOWQ_LAYER_ETHERNET:
        replace_mac(h, secret);
        replace_mac(h + 6, secret);
        break;
    case FLOWQ_LAYER_IPV4:
        replace_ipv4(h, l->length, secret);
        break;
    case FLOWQ_LAYER_IPV6:
        replace_address(h + 8, 16, secret);
        replace_address(h + 24, 16, secret);
        break;
    case FLOWQ_LAYER_ROUTING:
        replace_routing(h, l->length, secret);
        break;
    case FLOWQ_LAYER_HOP_BY_HOP:
    case FLOWQ_LAYER_DEST_OPTIONS:
    case FLOWQ_LAYER_AH:
    case FLOWQ_LAYER_MOBILITY:
    case FLOWQ_LAYER_ICMP_OPTION:
        memset(h + 2, 0, l->length - 2u);
        break;
    case FLOWQ_LAYER_ICMP: /* of a redirect of ICMPv6, two addresses */
        if (l->length > 8)
            memset(h + 8, 0, l->length - 8u);
        break;
    default:
        break;
    }
}

/* ---- The flow, and its steps ---- */

static struct flowq_explanation explained(struct flowq_vm *vm, const struct packet *packet, enum direction direction)
{
    const struct flowq_pkt pkt = {.data = packet->data, .len = packet->len, .flags = packet->flags};
    struct flowq_explanation e = {.size = sizeof(e)};

    if ((direction == DIRECTION_SENT ? flowq_tx_explain(vm, &pkt, 0, &e) : flowq_rx_explain(vm, &pkt, &e)) != 0)
        e.has_tuple = 0;
    return e;
}

bool scenario_find(struct scenario *s, const struct options *options, struct flowq_vm *vm)
{
    struct input *input = input_open(options);
    struct packet packet;
    struct view view;

    while (input != NULL && !s->known && input_next(input, &packet)) {
        if (packet.number != options->scenario)
            continue;
        view_packet(&packet, &view);
        enum direction direction = host_direction(options, &view);
        struct flowq_explanation e = explained(vm, &packet, direction);
        s->known = direction != DIRECTION_OTHER && e.has_tuple != 0 && e.id != 0;
        s->tuple = e.tuple;
        break;
    }
    input_close(input);
    return s->known;
}

/* A packet of the flow: its own, one that quotes it, or a later fragment between its addresses. */
static bool is_of_flow(const struct scenario *s, const struct flowq_explanation *e)
{
    struct flowq_tuple t = s->tuple;

    if (e->has_tuple == 0)
        return false;
    if (e->key == FLOWQ_KEY_LATER || e->key == FLOWQ_KEY_QUOTE_LATER)
        t.sport = t.dport = 0;
    return memcmp(&t, &e->tuple, sizeof(t)) == 0;
}

static void put_bytes(FILE *out, const struct packet *packet, const struct flowq_explanation *e, uint64_t secret)
{
    uint8_t data[PACKET_BYTES] = {0};

    memcpy(data, packet->data, e->end_at);
    for (unsigned i = 0; i < e->n_layers; i++)
        replace_layer(data, &e->layer[i], secret);
    fputs((packet->flags & FLOWQ_PKT_L3) != 0 ? " l3 hex " : " ", out);
    for (uint32_t i = 0; i < packet->len; i++)
        fprintf(out, "%02x", data[i]);
    fputc('\n', out);
}

void scenario_open(FILE *out, const struct options *options)
{
    fprintf(out, "# The flow of packet %llu, by flowq-replay of flowq %s; seed %llu. Addresses and payload are replaced.\n",
            (unsigned long long)options->scenario, flowq_version_string(), (unsigned long long)options->seed);
    fprintf(out, "cfg pairs=%u max_flows=%u\n", options->vcpus, options->max_flows);
}

void scenario_add(struct scenario *s, FILE *out, const struct packet *packet, enum direction direction, uint32_t queue,
                  const struct flowq_decision *decision, struct flowq_vm *vm)
{
    struct flowq_explanation e = explained(vm, packet, direction);

    if (!is_of_flow(s, &e))
        return;
    uint64_t waited_ms = (packet->time_ns - s->time_ns) / 1000000;
    if (s->n_steps++ == 0)
        s->time_ns = packet->time_ns;
    else if (waited_ms > 0) {
        fprintf(out, "wait %llu\n", (unsigned long long)waited_ms);
        s->time_ns += waited_ms * 1000000;
    }
    fprintf(out, "# packet %llu\n", (unsigned long long)packet->number);
    if (direction == DIRECTION_SENT)
        fprintf(out, "tx %u", queue);
    else if (decision->reason == FLOWQ_REASON_FALLBACK || decision->reason == FLOWQ_REASON_KEYLESS)
        fputs("rx any", out);
    else
        fprintf(out, "rx %u", decision->qid);
    put_bytes(out, packet, &e, s->secret);
}
