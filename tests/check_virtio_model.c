/*
 * check_virtio_model: random streams of commands, against a naive model of a virtio network device (model_device.h); and commands
 * beside steering threads.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "model_device.h"
#include "runner.h"

static uint64_t seed;

/* ---- What the library answers ---------------------------------------------------------------------------------------------- */

static void expect_ruled(const struct model_device *d, const struct flowq_decision *out, uint8_t report, uint32_t value)
{
    uint32_t q = report ? d->table[value & (d->table_length - 1)] : d->unclassified;
    if (!model_device_usable(d, q)) {
        bool resetting = d->resetting[q];
        for (uint32_t i = 0; i < DEVICE_MAX_PAIRS && !model_device_usable(d, q); i++)
            q = (q + 1) % DEVICE_MAX_PAIRS;
        if (resetting || !model_device_usable(d, q))
            q = FLOWQ_DROP;
    }
    ck_assert_uint_eq(out->qid, q);
    ck_assert_uint_eq(out->reason, q == FLOWQ_DROP ? FLOWQ_REASON_DROP : FLOWQ_REASON_RSS);
    ck_assert_uint_eq(out->hash_report, report);
    ck_assert_uint_eq(out->hash_value, value);
}

static void expect_automatic(const struct model_device *d, const struct flowq_decision *out, uint8_t report, uint32_t value)
{
    bool due = d->features & FLOWQ_VIRTIO_F_HASH_REPORT;
    ck_assert(out->qid == FLOWQ_DROP ? model_device_n_usable(d) == 0 : model_device_usable(d, out->qid));
    ck_assert_uint_ne(out->reason, FLOWQ_REASON_RSS);
    ck_assert_uint_eq(out->hash_report, due ? report : 0);
    ck_assert_uint_eq(out->hash_value, due ? value : 0);
}

#define PACKETS 40

/* Another vm, with one queue, and how many packets it got. */
static struct flowq_vm *other;
static uint64_t n_others;

static void make_other(void)
{
    const struct flowq_vm_config c = {.size = sizeof(c)};
    n_others = 0;
    ck_assert_int_eq(flowq_vm_create(&c, &other), 0);
}

static void free_other(void)
{
    struct flowq_stats s = {.size = sizeof(s)};
    ck_assert_int_eq(flowq_vm_stats(other, &s), 0);
    ck_assert_uint_eq(s.steer[FLOWQ_REASON_SINGLE], n_others);
    flowq_vm_destroy(other);
}

static void expect_packets(struct rng *rng, struct flowq_vm *vm, const struct model_device *d)
{
    static struct hashed_packet packet[PACKETS];
    struct flowq_pkt pkt[PACKETS] = {{.data = NULL}};
    struct flowq_decision out[PACKETS], mixed_out[PACKETS];
    struct flowq_vm *vms[PACKETS];
    unsigned percent_other = rng_percent(rng, 30) ? 0 : 20;
    uint16_t burst[PACKETS], mixed[PACKETS];
    unsigned n = rng_below(rng, PACKETS + 1);
    for (unsigned i = 0; i < n; i++) {
        hashed_packet_random(rng, &packet[i]);
        pkt[i] = frame_pkt(&packet[i].frame);
        vms[i] = rng_percent(rng, percent_other) ? other : vm;
        n_others += 2 * (vms[i] == other);
    }
    flowq_rx_decide_burst(vm, pkt, n, out);
    flowq_rx_steer_burst(vm, pkt, n, burst);
    flowq_rx_steer_burst_vms(vms, pkt, n, mixed);
    flowq_rx_decide_burst_vms(vms, pkt, n, mixed_out);
    for (unsigned i = 0; i < n; i++) {
        uint32_t value;
        uint8_t report = model_device_hash(d, &packet[i], &value);
        ck_assert_uint_eq(burst[i], out[i].qid);
        ck_assert_uint_eq(mixed[i], vms[i] == vm ? out[i].qid : 0);
        if (vms[i] == vm)
            ck_assert_mem_eq(&mixed_out[i], &out[i], sizeof(out[i]));
        else
            ck_assert_uint_eq(mixed_out[i].reason, FLOWQ_REASON_SINGLE);
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
    static uint16_t table[4 * DEVICE_MAX_TABLE];
    uint8_t key[255];
    bool good = rng_percent(rng, 80);
    uint32_t max = good ? DEVICE_MAX_PAIRS : DEVICE_MAX_PAIRS + 1, from = rng_below(rng, max), n = rng_range(rng, 1, max - from);
    struct flowq_rss r = {
        .hash_types = rng_percent(rng, 10) ? 0 : rng_below(rng, good ? 512 : 1024),
        .table = table,
        .key = key,
        .table_length = good || rng_percent(rng, 80) ? 1u << rng_below(rng, good ? 8 : 10) : rng_range(rng, 1, 200),
        .key_length = rng_percent(rng, 50) ? 40 : rng_below(rng, good ? 41 : 256),
        .unclassified = (uint16_t)rng_below(rng, max),
        .max_tx = (uint16_t)(good ? rng_range(rng, 1, DEVICE_MAX_PAIRS) : rng_below(rng, DEVICE_MAX_PAIRS + 2)),
    };
    for (unsigned i = 0; i < 4 * DEVICE_MAX_TABLE; i++)
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
        control_pairs(c, rng_below(rng, DEVICE_MAX_PAIRS + 3));
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
    for (uint32_t q = 0; q < DEVICE_MAX_PAIRS; q++)
        if (q == qid || qid == FLOWQ_ALL_QUEUES)
            state[q] = on;
}

static void one_step(struct rng *rng, struct flowq_vm *vm, struct model_device *d)
{
    static struct control command;
    uint32_t q = rng_percent(rng, 10) ? FLOWQ_ALL_QUEUES : rng_below(rng, DEVICE_MAX_PAIRS), what;
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
        model_device_reset(d, what);
        break;
    case 5:
        flowq_vm_maintain(vm);
        break;
    default:
        random_command(rng, &command);
        ck_assert_uint_eq(control_send(vm, &command), model_device_ctrl(d, &command) ? FLOWQ_CTRL_OK : FLOWQ_CTRL_ERR);
    }
    struct flowq_stats s = {.size = sizeof(s)};
    ck_assert_int_eq(flowq_vm_stats(vm, &s), 0);
    ck_assert_uint_eq(s.queue_pairs, d->pairs);
    ck_assert_uint_eq(s.queues_in_use, model_device_n_usable(d));
}

START_TEST(random_streams)
{
    struct rng rng = {seed};
    for (unsigned round = 0; round < (seed_long() ? 2000u : 60u); round++) {
        struct flowq_vm *vm;
        struct model_device d = {.features = random_features(&rng), .pairs = 1};
        struct flowq_vm_config c = {.size = sizeof(c), .max_queue_pairs = DEVICE_MAX_PAIRS, .virtio_features = d.features};
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
            struct model_device d = {.features = f, .pairs = 1};
            struct flowq_vm_config c = {.size = sizeof(c), .max_queue_pairs = DEVICE_MAX_PAIRS, .virtio_features = f};
            ck_assert_int_eq(flowq_vm_create(&c, &vm), 0);
            for (unsigned step = 0, left = path; step < 4; step++, left /= 5) {
                unsigned at = left % 5;
                if (at == 4) {
                    flowq_vm_reset(vm, FLOWQ_RESET_FLOWS | FLOWQ_RESET_QUEUES | FLOWQ_RESET_CONFIG);
                    model_device_reset(&d, FLOWQ_RESET_QUEUES | FLOWQ_RESET_CONFIG);
                    continue;
                }
                ck_assert_uint_eq(control_send(vm, &command[at]), accepted[at] ? FLOWQ_CTRL_OK : FLOWQ_CTRL_ERR);
                ck_assert(model_device_ctrl(&d, &command[at]) == accepted[at]);
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
static struct hashed_packet shared_packet[PACKETS];
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
    struct flowq_vm_config c = {.size = sizeof(c), .max_queue_pairs = DEVICE_MAX_PAIRS, .virtio_features = FLOWQ_VIRTIO_F_RSS};
    struct flowq_pkt pkt[PACKETS];
    pthread_t thread[STEERERS];
    unsigned wrong[STEERERS] = {0}, n_refused = 0;
    ck_assert_int_eq(flowq_vm_create(&c, &shared), 0);
    for (unsigned i = 0; i < PACKETS; i++) {
        hashed_packet_random(&rng, &shared_packet[i]);
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
                                    .max_tx = DEVICE_MAX_PAIRS};
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

/* Without memory a command is refused and nothing changes; what waits for sections is bounded; setters need none; all
   comes back. */
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
    struct model_device d = {.features = c.virtio_features, .pairs = 1};
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
    ck_assert(model_device_ctrl(&d, &command));

    a.refuse = true;
    ck_assert_uint_eq(control_send(vm, &command), FLOWQ_CTRL_ERR);
    expect_packets(&rng, vm, &d);
    ck_assert_uint_eq(control_send(vm, &pairs), FLOWQ_CTRL_OK);
    ck_assert(model_device_ctrl(&d, &pairs));
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
    tcase_add_checked_fixture(tcase, make_other, free_other);
    tcase_add_test(tcase, table_of_states);
    tcase_add_test(tcase, random_streams);
    tcase_add_test(tcase, commands_beside_steering);
    tcase_add_test(tcase, memory);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
