/*
 * check_old_caller: a program that was compiled with version 0.9's header (tests/abi/0.9) and runs with the library as it is now.
 * Structs have the sizes they had then, each with bytes behind it that are not the library's to read or to write.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "flowq.h" /* 0.9's: its folder comes first */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "runner.h"

_Static_assert(FLOWQ_VERSION == (0 << 16 | 9 << 8 | 0), "the header is the one that was kept");

#define PAIRS  4
#define BEHIND 0xa5 /* what the bytes behind a struct are */
#define GUARD  256

/* A struct of the caller's, in the middle of what is not the library's. */
#define GUARDED(type)                                                                                                            \
    struct {                                                                                                                     \
        uint8_t before[GUARD];                                                                                                   \
        struct type s;                                                                                                           \
        uint8_t behind[GUARD];                                                                                                   \
    }
#define GUARD_SET(g)                                                                                                             \
    do {                                                                                                                         \
        memset(&(g), BEHIND, sizeof(g));                                                                                         \
        memset(&(g).s, 0, sizeof((g).s));                                                                                        \
    } while (0)
#define GUARD_CHECK(g)                                                                                                           \
    for (size_t guard_i = 0; guard_i < GUARD; guard_i++)                                                                         \
    ck_assert((g).before[guard_i] == BEHIND && (g).behind[guard_i] == BEHIND)

static uint64_t now_ns = 1000000000;
static size_t allocated, logged;

static uint64_t clock_ns(void *ctx) { return *(uint64_t *)ctx; }

static void *alloc(void *ctx, size_t size, size_t align, int32_t node)
{
    ck_assert(ctx == &allocated && node == 2);
    void *memory = aligned_alloc(align, (size + align - 1) / align * align);
    allocated += memory ? size : 0;
    return memory;
}

static void give_back(void *ctx, void *memory, size_t size)
{
    ck_assert(ctx == &allocated && memory != NULL);
    allocated -= size;
    free(memory);
}

static void log_line(void *ctx, int32_t level, const char *message)
{
    ck_assert(ctx == &logged && level >= FLOWQ_LOG_ERROR && level <= FLOWQ_LOG_INFO);
    ck_assert_ptr_nonnull(strstr(message, "flowq old: "));
    logged++;
}

static struct flowq_vm *vm;

/* Each setting that there was, by its place. */
static void set_up(void)
{
    GUARDED(flowq_vm_config) c;
    GUARD_SET(c);
    c.s = (struct flowq_vm_config){.size = sizeof(c.s), .max_queue_pairs = PAIRS, .max_flows = 4096, .initial_flows = 512};
    c.s.key_vlan = FLOWQ_ON;
    c.s.tunnels = FLOWQ_TUNNEL_ALL & ~FLOWQ_TUNNEL_GTPU;
    c.s.fragments = 64;
    c.s.vxlan_port = 4001;
    c.s.rebind_min_tcp_us = 500000;
    c.s.active_ms = 20000;
    c.s.idle_ms = 40000;
    c.s.queue_stats = FLOWQ_ON;
    c.s.numa_node = 3;
    memset(c.s.secret, 0x31, sizeof(c.s.secret));
    c.s.alloc = alloc;
    c.s.free = give_back;
    c.s.alloc_ctx = &allocated;
    c.s.clock_ns = clock_ns;
    c.s.clock_ctx = &now_ns;
    c.s.clock_resolution_ns = 1000;
    c.s.log = log_line;
    c.s.log_ctx = &logged;
    c.s.name = "old";
    c.s.virtio_features = FLOWQ_VIRTIO_F_RSS | FLOWQ_VIRTIO_F_HASH_REPORT | FLOWQ_VIRTIO_F_MQ | FLOWQ_VIRTIO_F_VERSION_1;
    c.s.virtio_max_table = 256;
    c.s.key_vni = FLOWQ_ON;
    c.s.gue_port = 4002;
    c.s.vlan_tpid = 0x9999;
    allocated = logged = 0;
    ck_assert_int_eq(flowq_vm_create(&c.s, &vm), 0);
    GUARD_CHECK(c);
    ck_assert_uint_gt(allocated, 0);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, PAIRS), 0);
    /* What may change changes; what is out of its range is refused, and told by name. */
    c.s.idle_ms = 50000;
    ck_assert_int_eq(flowq_vm_configure(vm, &c.s), 0);
    c.s.vlan_tpid = 1;
    ck_assert_int_lt(flowq_vm_configure(vm, &c.s), 0);
    ck_assert_uint_eq(logged, 1);
    GUARD_CHECK(c);
}

static void tear_down(void)
{
    flowq_vm_destroy(vm);
    ck_assert_uint_eq(allocated, 0);
}

/* IPv4, TCP with ACK, from or to the VM, whose port is given. */
static struct flowq_pkt packet(uint8_t frame[40], bool sent, uint16_t port)
{
    const uint8_t guest[4] = {192, 0, 2, 10}, peer[4] = {192, 0, 2, 1};
    const uint8_t ours[2] = {(uint8_t)(port >> 8), (uint8_t)port}, web[2] = {0, 80};
    memset(frame, 0, 40);
    frame[0] = 0x45;
    frame[3] = 40;
    frame[8] = 64;
    frame[9] = 6;
    memcpy(frame + 12, sent ? guest : peer, 4);
    memcpy(frame + 16, sent ? peer : guest, 4);
    memcpy(frame + 20, sent ? ours : web, 2);
    memcpy(frame + 22, sent ? web : ours, 2);
    frame[32] = 5 << 4;
    frame[33] = 0x10;
    return (struct flowq_pkt){.data = frame, .len = 40, .flags = FLOWQ_PKT_L3};
}

static void learn(uint16_t port, uint32_t qid)
{
    uint8_t frame[40];
    struct flowq_pkt pkt = packet(frame, true, port);
    flowq_tx_note_burst(vm, &pkt, 1, qid);
    ck_assert_uint_eq(flowq_tx_note(vm, &pkt, qid), FLOWQ_NOTE_REFRESHED);
}

#define N 70 /* packets, more than two batches: strides of what is an array count */

START_TEST(packets)
{
    uint8_t frames[N][40];
    struct flowq_pkt pkts[N];
    struct flowq_vm *vms[N];
    struct flowq_decision decided[N + 1];
    struct flowq_run runs[PAIRS + 1];
    uint16_t qids[N + 1], order[N];
    memset(decided, BEHIND, sizeof(decided));
    memset(runs, BEHIND, sizeof(runs));
    qids[N] = 4711;
    for (uint16_t i = 0; i < N; i++) {
        learn(i, i % PAIRS);
        pkts[i] = packet(frames[i], false, i);
        vms[i] = vm;
    }
    flowq_rx_steer_burst(vm, pkts, N, qids);
    for (int way = 0; way < 2; way++) {
        if (way)
            flowq_rx_decide_burst_vms(vms, pkts, N, decided);
        else
            flowq_rx_decide_burst(vm, pkts, N, decided);
        for (uint16_t i = 0; i < N; i++) {
            ck_assert_uint_eq(decided[i].qid, i % PAIRS);
            ck_assert_uint_eq(decided[i].reason, FLOWQ_REASON_BOUND);
            ck_assert_uint_eq(qids[i], i % PAIRS);
        }
        flowq_rx_steer_burst_vms(vms, pkts, N, qids);
    }
    ck_assert_uint_eq(qids[N], 4711);
    ck_assert_uint_eq(((uint8_t *)&decided[N])[0], BEHIND);
    ck_assert_uint_eq(flowq_group(qids, N, order, runs, PAIRS), PAIRS);
    for (uint16_t i = 0; i < PAIRS; i++)
        ck_assert(runs[i].qid == i && runs[i].count == (N + PAIRS - 1 - i) / PAIRS);
    ck_assert_uint_eq(((uint8_t *)&runs[PAIRS])[0], BEHIND);
}
END_TEST

static int take(void *ctx, const struct flowq_binding *b)
{
    ck_assert_uint_ge(b->size, sizeof(*b));
    ck_assert_uint_eq(b->cls, FLOWQ_CLASS_ESTABLISHED);
    ++*(int *)ctx;
    return 0;
}

/* What is written ends where the caller's struct does, and what was there then has its value. */
START_TEST(what_is_written)
{
    GUARDED(flowq_stats) stats;
    GUARDED(flowq_queue_stats) queue;
    GUARDED(flowq_binding) binding;
    GUARDED(flowq_virtio_caps) caps;
    GUARD_SET(stats);
    GUARD_SET(queue);
    GUARD_SET(binding);
    GUARD_SET(caps);
    stats.s.size = sizeof(stats.s);
    queue.s.size = sizeof(queue.s);
    binding.s.size = sizeof(binding.s);
    caps.s.size = sizeof(caps.s);
    learn(1000, 1);
    learn(1001, 1);
    learn(1002, 2);

    ck_assert_int_eq(flowq_vm_stats(vm, &stats.s), 0);
    ck_assert(stats.s.size == sizeof(stats.s) && stats.s.queue_pairs == PAIRS && stats.s.queues_in_use == PAIRS);
    ck_assert(stats.s.inserted == 3 && stats.s.live == 3 && stats.s.vm_bytes == allocated);
    ck_assert_uint_eq(stats.s.note[FLOWQ_NOTE_BOUND], 3);
    ck_assert_int_eq(flowq_vm_queue_stats(vm, 1, &queue.s), 0);
    ck_assert(queue.s.size == sizeof(queue.s) && queue.s.in_use == 1 && queue.s.noted == 4 && queue.s.steered == 0);
    struct flowq_tuple tuple = {.version = 4, .protocol = 6, .sport = 80, .dport = 1002};
    memcpy(tuple.src, (uint8_t[]){192, 0, 2, 1}, 4);
    memcpy(tuple.dst, (uint8_t[]){192, 0, 2, 10}, 4);
    ck_assert_int_eq(flowq_vm_lookup(vm, &tuple, &binding.s), 0);
    ck_assert(binding.s.size == sizeof(binding.s) && binding.s.qid == 2 && binding.s.cls == FLOWQ_CLASS_ESTABLISHED);
    ck_assert_int_eq(flowq_vm_virtio_caps(vm, &caps.s), 0);
    ck_assert(caps.s.size == sizeof(caps.s));
    int n = 0;
    ck_assert_int_eq(flowq_vm_flows(vm, take, &n), 0);
    ck_assert_int_eq(n, 3);
    GUARD_CHECK(stats);
    GUARD_CHECK(queue);
    GUARD_CHECK(binding);
    GUARD_CHECK(caps);
}
END_TEST

/* The guest's table decides. */
START_TEST(rss)
{
    static const uint8_t key[40] = {1, 2, 3};
    uint16_t table[128];
    uint8_t frame[40];
    for (int i = 0; i < 128; i++)
        table[i] = 3;
    GUARDED(flowq_rss) r;
    GUARD_SET(r);
    r.s = (struct flowq_rss){.size = sizeof(r.s), .hash_types = FLOWQ_HASH_TYPE_TCPV4, .max_tx = PAIRS};
    r.s.table = table;
    r.s.table_length = 128;
    r.s.key = key;
    r.s.key_length = sizeof(key);
    ck_assert_int_eq(flowq_vm_set_rss(vm, &r.s), 0);
    GUARD_CHECK(r);
    const struct flowq_pkt pkt = packet(frame, false, 7);
    struct flowq_decision decided;
    flowq_rx_decide_burst(vm, &pkt, 1, &decided);
    ck_assert(decided.qid == 3 && decided.reason == FLOWQ_REASON_RSS);
    ck_assert_int_eq(flowq_vm_reset(vm, FLOWQ_RESET_FLOWS | FLOWQ_RESET_QUEUES | FLOWQ_RESET_CONFIG), 0);
    ck_assert_uint_eq(flowq_rx_steer(vm, &pkt), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("old_caller");
    TCase *tc = tcase_create("old_caller");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, packets);
    tcase_add_test(tc, what_is_written);
    tcase_add_test(tc, rss);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
