/*
 * rss: Toeplitz hashes beside DPDK's, and steering by the guest's table beside automatic steering, in bursts, at 64k flows.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "bench.h"

#include <stdio.h>
#include <string.h>

#include "rss.h"

enum { N_TUPLES = 1024, ROUNDS = 60, N_FLOWS = 64 << 10, TURN = 128 << 10, REPS = 15 };

/* ---- Hashes -------------------------------------------------------------------------------------------------------------- */

static struct toeplitz toeplitz;
static struct toeplitz_tables tables;
static struct toeplitz_input tuples[N_TUPLES];
static uint32_t words[N_TUPLES][TOEPLITZ_V6_BYTES / 4]; /* the tuples as DPDK wants them */
static uint8_t key[TOEPLITZ_KEY_BYTES];

static uint64_t hash_all(toeplitz_fn *hash, unsigned bytes)
{
    uint32_t out[BURST];
    uint64_t sum = 0;
    for (unsigned i = 0; i < N_TUPLES; i += BURST) {
        hash(&toeplitz, tuples + i, BURST, bytes, out);
        for (unsigned j = 0; j < BURST; j++)
            sum += out[j];
    }
    return sum;
}

static uint64_t hash_tables(unsigned bytes) { return hash_all(toeplitz_burst_tables, bytes); }
static uint64_t hash_wide(unsigned bytes) { return hash_all(toeplitz_burst_wide, bytes); }

#ifdef HAVE_DPDK
static uint64_t hash_softrss(unsigned bytes)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < N_TUPLES; i++)
        sum += softrss_be(words[i], bytes);
    return sum;
}
#endif

static void measure_hash(const char *contestant, uint64_t (*hash)(unsigned bytes), unsigned bytes, uint64_t expected)
{
    char workload[48];
    unsigned rounds = process.quick ? 1 : ROUNDS;
    uint64_t sum = 0;
    snprintf(workload, sizeof(workload), "toeplitz/%u", bytes);
    if (!wanted(workload, true))
        return;
    double start = cpu_ns();
    for (unsigned i = 0; i < rounds; i++)
        sum += hash(bytes);
    sample(workload, contestant, "ns", (cpu_ns() - start) / rounds / N_TUPLES);
    if (sum != expected * rounds)
        fail("%s, %s: wrong hashes", workload, contestant);
}

static void make_tuples(unsigned bytes)
{
    uint64_t state = 5;
    memset(tuples, 0, sizeof(tuples));
    for (unsigned i = 0; i < N_TUPLES; i++)
        for (unsigned b = 0; b < bytes; b++)
            ((uint8_t *)tuples[i].word)[b] = (uint8_t)random_next(&state);
    for (unsigned b = 0; b < sizeof(key); b++)
        key[b] = (uint8_t)random_next(&state);
    toeplitz_init(&toeplitz, key, sizeof(key), &tables);
    for (unsigned i = 0; i < N_TUPLES; i++) {
        for (unsigned w = 0; w < bytes / 4; w++) {
            uint8_t b[4];
            memcpy(b, (uint8_t *)tuples[i].word + 4 * w, sizeof(b));
            words[i][w] = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
        }
    }
#ifdef HAVE_DPDK
    softrss_key(key);
#endif
}

static void hashes(unsigned bytes)
{
    make_tuples(bytes);
    uint64_t expected = hash_tables(bytes);
    for (unsigned rep = 0; rep < repetitions(REPS); rep++) {
        measure_hash("flowq", hash_tables, bytes, expected);
        if (toeplitz_is_wide())
            measure_hash("flowq-gfni", hash_wide, bytes, expected);
#ifdef HAVE_DPDK
        measure_hash("softrss_be", hash_softrss, bytes, expected);
#endif
    }
    if (!toeplitz_is_wide())
        remark("no GFNI here: Toeplitz hashes by tables only");
}

/* ---- Steering -------------------------------------------------------------------------------------------------------------- */

static void by_table(struct flowq_vm *vm)
{
    static uint16_t table[128];
    const struct flowq_rss rss = {.size = sizeof(rss),
                                  .hash_types = FLOWQ_HASH_TYPE_ALL,
                                  .table = table,
                                  .table_length = 128,
                                  .key = key,
                                  .key_length = sizeof(key),
                                  .max_tx = QUEUES};
    for (unsigned i = 0; i < 128; i++)
        table[i] = (uint16_t)(i % QUEUES);
    int r = flowq_vm_set_rss(vm, &rss);
    if (r != 0)
        fail("flowq_vm_set_rss: %d", r);
}

static double turn(struct flowq_vm *vm, const struct stream *s)
{
    double start = cpu_ns();
    keep(with_flowq.steer(vm, s->pkts, s->n));
    return (cpu_ns() - start) / (double)s->n;
}

static struct flowq_vm *make_vm(uint32_t version)
{
    const struct shape shape = {.version = version, .n_flows = N_FLOWS, .slots = 2 * N_FLOWS};
    struct flowq_vm_config config = {.size = sizeof(config), .virtio_features = FLOWQ_VIRTIO_F_RSS | FLOWQ_VIRTIO_F_MQ};
    struct flowq_vm *vm = with_flowq.create(&shape);
    uint32_t *ids = huge_alloc(N_FLOWS * sizeof(*ids));
    choose_all(ids, N_FLOWS, N_FLOWS);
    struct stream out = stream_make(version, OUTGOING, IN_SEQUENCE, ids, N_FLOWS);
    with_flowq.note(vm, out.pkts, N_FLOWS, 0, 1);
    stream_free(&out);
    if (flowq_vm_configure(vm, &config) != 0)
        fail("flowq_vm_configure");
    return vm;
}

/* The two modes of one vm take turns on the same packets. */
static void modes(uint32_t version, bool goal)
{
    char workload[48];
    uint64_t state = 7;
    snprintf(workload, sizeof(workload), "rss/steer32-v%u-64k", version);
    if (!wanted(workload, goal))
        return;
    struct flowq_vm *vm = make_vm(version);
    uint32_t *ids = huge_alloc(TURN * sizeof(*ids));
    choose_uniform(ids, TURN, N_FLOWS, &state);
    struct stream in = stream_make(version, INCOMING, IN_SEQUENCE, ids, TURN);
    make_tuples(TOEPLITZ_V4_BYTES); /* for the key */
    for (unsigned rep = 0; rep < repetitions(REPS); rep++) {
        flowq_vm_set_queue_pairs(vm, QUEUES);
        double automatic = turn(vm, &in);
        by_table(vm);
        double ruled = turn(vm, &in);
        sample(workload, "flowq", "ns", ruled);
        sample(workload, "flowq", "times", automatic / ruled);
    }
    stream_free(&in);
    with_flowq.destroy(vm);
}

void run_rss(void)
{
    hashes(TOEPLITZ_V4_BYTES);
    hashes(TOEPLITZ_V6_BYTES);
    modes(4, true);
    modes(6, false);
}
