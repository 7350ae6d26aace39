/*
 * check_virtio_model: random streams of commands, against a naive model of a virtio network device that does what the table in
 * flowq-virtio(7) says; and commands beside steering threads.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "control.h"
#include "frames.h"
#include "naive.h"
#include "seed.h"

#define MAX_PAIRS 20u
#define MAX_TABLE 128u

static uint64_t seed;

/* ---- The model ----------------------------------------------------------------------------------------------------------------
 */

struct device {
    uint64_t features;
    bool rss;
    uint32_t pairs;
    bool named[MAX_PAIRS], disabled[MAX_PAIRS], resetting[MAX_PAIRS];
    bool has_hash; /* RSS_CONFIG or HASH_CONFIG since the last reset */
    uint32_t types, key_length;
    uint8_t key[40];
    uint32_t table_length;
    uint16_t table[MAX_TABLE], unclassified;
    uint32_t tunnels;
};

static uint32_t le(const uint8_t *b, unsigned n) { return n ? b[0] | le(b + 1, n - 1) << 8 : 0; }

/* 0: the key is not acceptable; `at` is where its length stands. */
static bool good_key(const struct control *c, uint32_t at, uint32_t types)
{
    if (types > FLOWQ_HASH_TYPE_ALL || at >= c->len)
        return false;
    uint32_t length = c->bytes[at], end = at + 1 + length;
    return length <= 40 && (length > 0 || types == 0) && c->len >= end && c->len <= end + 3;
}

static void take_hash(struct device *d, const struct control *c, uint32_t at)
{
    d->has_hash = true;
    d->types = le(c->bytes, 4);
    d->key_length = c->bytes[at];
    memcpy(d->key, c->bytes + at + 1, d->key_length);
}

static bool model_pairs_set(struct device *d, const struct control *c)
{
    uint32_t n = le(c->bytes, 2);
    if (!(d->features & FLOWQ_VIRTIO_F_MQ) || c->len != 2 || n < 1 || n > MAX_PAIRS)
        return false;
    d->rss = false;
    d->pairs = n;
    memset(d->named, 0, sizeof(d->named));
    return true;
}

static bool model_rss_config(struct device *d, const struct control *c)
{
    if (!(d->features & FLOWQ_VIRTIO_F_RSS) || c->len < 8)
        return false;
    uint32_t n = le(c->bytes + 4, 2) + 1, tx_at = 8 + 2 * n;
    if (n > MAX_TABLE || (n & (n - 1)) || c->len < tx_at + 3 || !good_key(c, tx_at + 2, le(c->bytes, 4)))
        return false;
    uint32_t max_tx = le(c->bytes + tx_at, 2);
    if (max_tx < 1 || max_tx > MAX_PAIRS || le(c->bytes + 6, 2) >= MAX_PAIRS)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (le(c->bytes + 8 + 2 * i, 2) >= MAX_PAIRS)
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

static bool model_hash_config(struct device *d, const struct control *c)
{
    if (!(d->features & FLOWQ_VIRTIO_F_HASH_REPORT) || d->features & FLOWQ_VIRTIO_F_RSS || c->len < 13 ||
        !good_key(c, 12, le(c->bytes, 4)))
        return false;
    take_hash(d, c, 12);
    return true;
}

static bool model_ctrl(struct device *d, const struct control *c)
{
    if (c->cls == 4 && c->cmd == 0)
        return model_pairs_set(d, c);
    if (c->cls == 4 && c->cmd == 1)
        return model_rss_config(d, c);
    if (c->cls == 4 && c->cmd == 2)
        return model_hash_config(d, c);
    if (c->cls != 7 || c->cmd != 0 || !(d->features & FLOWQ_VIRTIO_F_HASH_TUNNEL) || c->len != 4)
        return false;
    if (le(c->bytes, 4) > FLOWQ_HASH_TUNNEL_ALL)
        return false;
    d->tunnels = le(c->bytes, 4);
    return true;
}

static bool usable(const struct device *d, uint32_t q)
{
    return (q < d->pairs || d->named[q]) && !d->disabled[q] && !d->resetting[q];
}

static uint32_t n_usable(const struct device *d)
{
    uint32_t n = 0;
    for (uint32_t q = 0; q < MAX_PAIRS; q++)
        n += usable(d, q);
    return n;
}

static void model_reset(struct device *d, uint32_t what)
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

/* ---- Packets, with what they are ----------------------------------------------------------------------------------------------
 */

struct packet {
    struct frame frame;
    struct flowq_tuple outer, inner;
    uint32_t tunnel; /* FLOWQ_HASH_TUNNEL_*, 0: none that virtio knows */
    bool fragment, ip;
};

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

static void random_packet_of(struct rng *rng, struct packet *p)
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
        p->outer = frame_tunnel_outer(tunnel, &p->outer, p->inner.version);
    } else {
        frame_flow(&p->frame, &p->outer, 0);
    }
}

/* The hash and its report, from what the packet is. */
static uint8_t model_hash(const struct device *d, const struct packet *p, uint32_t *value)
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

static void expect_ruled(const struct device *d, const struct flowq_decision *out, uint8_t report, uint32_t value)
{
    uint32_t q = report ? d->table[value & (d->table_length - 1)] : d->unclassified;
    if (!usable(d, q)) {
        bool resetting = d->resetting[q];
        for (uint32_t i = 0; i < MAX_PAIRS && !usable(d, q); i++)
            q = (q + 1) % MAX_PAIRS;
        if (resetting || !usable(d, q))
            q = FLOWQ_DROP;
    }
    ck_assert_uint_eq(out->qid, q);
    ck_assert_uint_eq(out->reason, q == FLOWQ_DROP ? FLOWQ_REASON_DROP : FLOWQ_REASON_RSS);
    ck_assert_uint_eq(out->hash_report, report);
    ck_assert_uint_eq(out->hash_value, value);
}

static void expect_automatic(const struct device *d, const struct flowq_decision *out, uint8_t report, uint32_t value)
{
    bool due = d->features & FLOWQ_VIRTIO_F_HASH_REPORT;
    ck_assert(out->qid == FLOWQ_DROP ? n_usable(d) == 0 : usable(d, out->qid));
    ck_assert_uint_ne(out->reason, FLOWQ_REASON_RSS);
    ck_assert_uint_eq(out->hash_report, due ? report : 0);
    ck_assert_uint_eq(out->hash_value, due ? value : 0);
}

#define PACKETS 40

static void expect_packets(struct rng *rng, struct flowq_vm *vm, const struct device *d)
{
    static struct packet packet[PACKETS];
    struct flowq_pkt pkt[PACKETS] = {{.data = NULL}};
    struct flowq_decision out[PACKETS];
    struct flowq_vm *vms[PACKETS];
    uint16_t burst[PACKETS], mixed[PACKETS];
    unsigned n = rng_below(rng, PACKETS + 1);
    for (unsigned i = 0; i < n; i++) {
        random_packet_of(rng, &packet[i]);
        pkt[i] = frame_pkt(&packet[i].frame);
        vms[i] = vm;
    }
    flowq_rx_decide_burst(vm, pkt, n, out);
    flowq_rx_steer_burst(vm, pkt, n, burst);
    flowq_rx_steer_burst_vms(vms, pkt, n, mixed);
    for (unsigned i = 0; i < n; i++) {
        uint32_t value;
        uint8_t report = model_hash(d, &packet[i], &value);
        ck_assert_uint_eq(burst[i], out[i].qid);
        ck_assert_uint_eq(mixed[i], out[i].qid);
        ck_assert_uint_eq(flowq_rx_steer(vm, &pkt[i]), out[i].qid);
        if (d->rss)
            expect_ruled(d, &out[i], report, value);
        else
            expect_automatic(d, &out[i], report, value);
    }
}

/* ---- Streams of commands --------------------------------------------------------------------------------------------------- */

/* Mostly good, sometimes not. */
static void random_rss(struct rng *rng, struct control *c)
{
    static uint16_t table[4 * MAX_TABLE];
    uint8_t key[255];
    bool good = rng_percent(rng, 80);
    uint32_t max = good ? MAX_PAIRS : MAX_PAIRS + 1, from = rng_below(rng, max), n = rng_range(rng, 1, max - from);
    struct flowq_rss r = {
        .hash_types = rng_percent(rng, 10) ? 0 : rng_below(rng, good ? 512 : 1024),
        .table = table,
        .key = key,
        .table_length = good || rng_percent(rng, 80) ? 1u << rng_below(rng, good ? 8 : 10) : rng_range(rng, 1, 200),
        .key_length = rng_percent(rng, 50) ? 40 : rng_below(rng, good ? 41 : 256),
        .unclassified = (uint16_t)rng_below(rng, max),
        .max_tx = (uint16_t)(good ? rng_range(rng, 1, MAX_PAIRS) : rng_below(rng, MAX_PAIRS + 2)),
    };
    for (unsigned i = 0; i < 4 * MAX_TABLE; i++)
        table[i] = (uint16_t)(from + rng_below(rng, n));
    for (unsigned i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)rng_next(rng);
    control_rss(c, &r);
}

static void random_command(struct rng *rng, struct control *c)
{
    uint8_t key[255];
    uint16_t reserved[4] = {0};
    switch (rng_below(rng, 6)) {
    case 0:
        control_pairs(c, rng_below(rng, MAX_PAIRS + 3));
        break;
    case 1:
        control_tunnels(c, rng_percent(rng, 90) ? rng_below(rng, 512) : (uint32_t)rng_next(rng));
        break;
    case 2:
        for (unsigned i = 0; i < sizeof(key); i++)
            key[i] = (uint8_t)rng_next(rng);
        for (unsigned i = 0; i < 4; i++)
            reserved[i] = (uint16_t)(rng_next(rng) & rng_next(rng));
        control_hash(c, rng_below(rng, rng_percent(rng, 95) ? 512 : 1024), reserved, key,
                     rng_below(rng, rng_percent(rng, 90) ? 41 : 256));
        break;
    default:
        random_rss(rng, c);
    }
    if (rng_percent(rng, 10)) /* cut short, or too long, or not what it says */
        c->len = rng_below(rng, c->len + 6);
    if (rng_percent(rng, 3))
        c->cls = (uint8_t)rng_below(rng, 10);
    if (rng_percent(rng, 3))
        c->cmd = (uint8_t)rng_below(rng, 5);
    if (rng_percent(rng, 5) && c->len)
        c->bytes[rng_below(rng, c->len)] = (uint8_t)rng_next(rng);
}

static uint64_t random_features(struct rng *rng)
{
    uint64_t f = FLOWQ_VIRTIO_F_VERSION_1;
    f |= rng_percent(rng, 80) ? FLOWQ_VIRTIO_F_MQ : 0;
    f |= rng_percent(rng, 60) ? FLOWQ_VIRTIO_F_RSS : 0;
    f |= rng_percent(rng, 70) ? FLOWQ_VIRTIO_F_HASH_REPORT : 0;
    return f | (rng_percent(rng, 70) ? FLOWQ_VIRTIO_F_HASH_TUNNEL : 0);
}

static void set_model(bool *state, uint32_t qid, bool on)
{
    for (uint32_t q = 0; q < MAX_PAIRS; q++)
        if (q == qid || qid == FLOWQ_ALL_QUEUES)
            state[q] = on;
}

static void one_step(struct rng *rng, struct flowq_vm *vm, struct device *d)
{
    static struct control command;
    uint32_t q = rng_percent(rng, 10) ? FLOWQ_ALL_QUEUES : rng_below(rng, MAX_PAIRS), what;
    bool on = rng_percent(rng, 70);
    switch (rng_below(rng, 20)) {
    case 0:
    case 1:
        ck_assert_int_eq(flowq_vm_set_queue_enabled(vm, q, on), 0);
        set_model(d->disabled, q, !on);
        break;
    case 2:
    case 3:
        ck_assert_int_eq(flowq_vm_set_queue_resetting(vm, q, !on), 0);
        set_model(d->resetting, q, !on);
        break;
    case 4:
        what = rng_below(rng, 8);
        flowq_vm_reset(vm, what);
        model_reset(d, what);
        break;
    case 5:
        flowq_vm_maintain(vm);
        break;
    default:
        random_command(rng, &command);
        ck_assert_uint_eq(control_send(vm, &command), model_ctrl(d, &command) ? FLOWQ_CTRL_OK : FLOWQ_CTRL_ERR);
    }
    struct flowq_stats s = {.size = sizeof(s)};
    ck_assert_int_eq(flowq_vm_stats(vm, &s), 0);
    ck_assert_uint_eq(s.queue_pairs, d->pairs);
    ck_assert_uint_eq(s.queues_in_use, n_usable(d));
}

START_TEST(random_streams)
{
    struct rng rng = {seed};
    for (unsigned round = 0; round < (seed_long() ? 2000u : 60u); round++) {
        struct flowq_vm *vm;
        struct device d = {.features = random_features(&rng), .pairs = 1};
        struct flowq_vm_config c = {.size = sizeof(c), .max_queue_pairs = MAX_PAIRS, .virtio_features = d.features};
        ck_assert_int_eq(flowq_vm_create(&c, &vm), 0);
        for (unsigned step = 0; step < 60; step++) {
            one_step(&rng, vm, &d);
            expect_packets(&rng, vm, &d);
        }
        flowq_vm_destroy(vm);
    }
}
END_TEST

/* ---- The table of states in flowq-virtio(7), row by row -------------------------------------------------------------------- */

/* Every command from every state, with every set of features: what is accepted, and what it makes of the vm. */
START_TEST(table_of_states)
{
    static struct control command[5];
    static const uint8_t key[40] = {1, 2, 3};
    static const uint16_t table[2] = {5, 3};
    const struct flowq_rss r = {
        .hash_types = 511, .table = table, .table_length = 2, .key = key, .key_length = 40, .unclassified = 7, .max_tx = 2};
    struct rng rng = {seed + 1};
    control_pairs(&command[0], 4);
    control_rss(&command[1], &r);
    control_hash(&command[2], FLOWQ_HASH_TYPE_IPV4 | FLOWQ_HASH_TYPE_IPV6, NULL, key, 9);
    control_tunnels(&command[3], FLOWQ_HASH_TUNNEL_ALL);
    for (unsigned features = 0; features < 16; features++) {
        uint64_t f = (features & 1 ? FLOWQ_VIRTIO_F_MQ : 0) | (features & 2 ? FLOWQ_VIRTIO_F_RSS : 0) |
                     (features & 4 ? FLOWQ_VIRTIO_F_HASH_REPORT : 0) | (features & 8 ? FLOWQ_VIRTIO_F_HASH_TUNNEL : 0);
        const bool accepted[4] = {features & 1, features & 2, (features & 6) == 4, features & 8};
        for (unsigned path = 0; path < 625; path++) { /* four commands in a row; number 4 is a reset */
            struct flowq_vm *vm;
            struct device d = {.features = f, .pairs = 1};
            struct flowq_vm_config c = {.size = sizeof(c), .max_queue_pairs = MAX_PAIRS, .virtio_features = f};
            ck_assert_int_eq(flowq_vm_create(&c, &vm), 0);
            for (unsigned step = 0, left = path; step < 4; step++, left /= 5) {
                unsigned at = left % 5;
                if (at == 4) {
                    flowq_vm_reset(vm, FLOWQ_RESET_FLOWS | FLOWQ_RESET_QUEUES | FLOWQ_RESET_CONFIG);
                    model_reset(&d, FLOWQ_RESET_QUEUES | FLOWQ_RESET_CONFIG);
                    continue;
                }
                ck_assert_uint_eq(control_send(vm, &command[at]), accepted[at] ? FLOWQ_CTRL_OK : FLOWQ_CTRL_ERR);
                ck_assert(model_ctrl(&d, &command[at]) == accepted[at]);
            }
            if (path % 5 == 0)
                expect_packets(&rng, vm, &d);
            flowq_vm_destroy(vm);
        }
    }
}
END_TEST

/* ---- Commands beside steering ---------------------------------------------------------------------------------------------- */

/* Two configurations with keys and queues of their own: an answer belongs to one of them, hash and queue alike. */
#define STEERERS 2
static struct flowq_vm *shared;
static struct packet shared_packet[PACKETS];
static struct flowq_decision of_config[2][PACKETS];
static atomic_bool stop;

static void *steer(void *wrong)
{
    struct flowq_pkt pkt[PACKETS];
    struct flowq_decision out[PACKETS];
    for (unsigned i = 0; i < PACKETS; i++)
        pkt[i] = frame_pkt(&shared_packet[i].frame);
    while (!atomic_load(&stop)) {
        flowq_rx_decide_burst(shared, pkt, PACKETS, out);
        for (unsigned i = 0; i < PACKETS; i++)
            if (memcmp(&out[i], &of_config[0][i], sizeof(out[i])) != 0 && memcmp(&out[i], &of_config[1][i], sizeof(out[i])) != 0)
                ++*(unsigned *)wrong;
    }
    return NULL;
}

START_TEST(commands_beside_steering)
{
    static struct control command[2];
    struct rng rng = {seed + 2};
    struct flowq_vm_config c = {.size = sizeof(c), .max_queue_pairs = MAX_PAIRS, .virtio_features = FLOWQ_VIRTIO_F_RSS};
    struct flowq_pkt pkt[PACKETS];
    pthread_t thread[STEERERS];
    unsigned wrong[STEERERS] = {0}, n_refused = 0;
    ck_assert_int_eq(flowq_vm_create(&c, &shared), 0);
    for (unsigned i = 0; i < PACKETS; i++) {
        random_packet_of(&rng, &shared_packet[i]);
        pkt[i] = frame_pkt(&shared_packet[i].frame);
    }
    for (unsigned k = 0; k < 2; k++) {
        uint16_t table[64];
        uint8_t key[40];
        for (unsigned i = 0; i < 64; i++)
            table[i] = (uint16_t)(10 * k + rng_below(&rng, 10));
        for (unsigned i = 0; i < 40; i++)
            key[i] = (uint8_t)rng_next(&rng);
        const struct flowq_rss r = {.hash_types = 511,
                                    .table = table,
                                    .table_length = 64,
                                    .key = key,
                                    .key_length = 40,
                                    .unclassified = (uint16_t)(10 * k),
                                    .max_tx = MAX_PAIRS};
        control_rss(&command[k], &r);
        ck_assert_uint_eq(control_send(shared, &command[k]), FLOWQ_CTRL_OK);
        flowq_rx_decide_burst(shared, pkt, PACKETS, of_config[k]);
    }
    atomic_store(&stop, false);
    for (unsigned i = 0; i < STEERERS; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, steer, &wrong[i]), 0);
    for (unsigned i = 0; i < (seed_long() ? 100000u : 3000u); i++) {
        n_refused += control_send(shared, &command[i % 2]) != FLOWQ_CTRL_OK;
        if (i % 4 == 0) /* as a host does before it tells the guest, so that what was replaced can go */
            ck_assert_int_eq(flowq_synchronize(), 0);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < STEERERS; i++)
        pthread_join(thread[i], NULL);
    for (unsigned i = 0; i < STEERERS; i++)
        ck_assert_uint_eq(wrong[i], 0);
    ck_assert_uint_eq(n_refused, 0);
    flowq_vm_destroy(shared);
}
END_TEST

/* ---- Memory ---------------------------------------------------------------------------------------------------------------- */

struct account {
    size_t bytes;
    bool refuse;
};

static void *account_alloc(void *ctx, size_t size, size_t align, int32_t node)
{
    struct account *a = ctx;
    (void)node;
    if (a->refuse)
        return NULL;
    a->bytes += size;
    return aligned_alloc(align, (size + align - 1) & ~(align - 1));
}

static void account_free(void *ctx, void *ptr, size_t size)
{
    ((struct account *)ctx)->bytes -= size;
    free(ptr);
}

/* Without memory a command is refused and nothing changes; what waits for sections is bounded; setters need none; all comes back.
 */
START_TEST(memory)
{
    static struct control command, pairs;
    static const uint8_t key[40] = {9};
    uint16_t table[128];
    struct account a = {0, false};
    struct flowq_vm_config c = {.size = sizeof(c),
                                .virtio_features = FLOWQ_VIRTIO_F_RSS | FLOWQ_VIRTIO_F_MQ,
                                .alloc = account_alloc,
                                .free = account_free,
                                .alloc_ctx = &a};
    struct flowq_vm *vm;
    struct rng rng = {seed + 3};
    struct device d = {.features = c.virtio_features, .pairs = 1};
    for (unsigned i = 0; i < 128; i++)
        table[i] = (uint16_t)(i % 7);
    const struct flowq_rss r = {
        .hash_types = 511, .table = table, .table_length = 128, .key = key, .key_length = 40, .max_tx = 7};
    control_rss(&command, &r);
    control_pairs(&pairs, 3);
    ck_assert_int_eq(flowq_vm_create(&c, &vm), 0);
    struct flowq_stats s = {.size = sizeof(s)};
    ck_assert_int_eq(flowq_vm_stats(vm, &s), 0);
    ck_assert_uint_eq(s.vm_bytes, a.bytes);

    ck_assert_int_eq(flowq_enter(), 0);
    unsigned n_accepted = 0;
    for (unsigned i = 0; i < 30; i++)
        n_accepted += control_send(vm, &command) == FLOWQ_CTRL_OK;
    ck_assert_uint_ge(n_accepted, 2);
    ck_assert_uint_le(n_accepted, 10);
    ck_assert_int_eq(flowq_vm_stats(vm, &s), 0);
    ck_assert_uint_eq(s.vm_bytes, a.bytes);
    flowq_leave();
    ck_assert_uint_eq(control_send(vm, &command), FLOWQ_CTRL_OK); /* they have gone */
    ck_assert(model_ctrl(&d, &command));

    a.refuse = true;
    ck_assert_uint_eq(control_send(vm, &command), FLOWQ_CTRL_ERR);
    expect_packets(&rng, vm, &d);
    ck_assert_uint_eq(control_send(vm, &pairs), FLOWQ_CTRL_OK);
    ck_assert(model_ctrl(&d, &pairs));
    expect_packets(&rng, vm, &d);
    flowq_vm_reset(vm, FLOWQ_RESET_CONFIG);
    flowq_vm_maintain(vm);
    ck_assert_int_eq(flowq_vm_stats(vm, &s), 0);
    ck_assert_uint_eq(s.vm_bytes, a.bytes);
    flowq_vm_destroy(vm);
    ck_assert_uint_eq(a.bytes, 0);
}
END_TEST

int main(void)
{
    seed = seed_get("check_virtio_model");
    Suite *suite = suite_create("virtio_model");
    TCase *tcase = tcase_create("virtio_model");
    tcase_set_timeout(tcase, 600);
    tcase_add_test(tcase, table_of_states);
    tcase_add_test(tcase, random_streams);
    tcase_add_test(tcase, commands_beside_steering);
    tcase_add_test(tcase, memory);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
