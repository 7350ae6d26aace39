/*
 * check_orders_setters: what the guest and the host configure, under the scheduler of sched.h: queues that are being reset while
 * RSS rules, Q-B; configurations that are replaced while packets are hashed by them, V-A and V-B; setters beside setters.
 *
 * Each scenario names the mutations of the library that make it fail; that is what it was tried out with. One that no mutation
 * makes fail shows nothing.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "orders.h"

#include "control.h"
#include "rss.h"
#include "virtio.h"

#define ALL_FEATURES                                                                                                             \
    (FLOWQ_VIRTIO_F_MQ | FLOWQ_VIRTIO_F_RSS | FLOWQ_VIRTIO_F_HASH_REPORT | FLOWQ_VIRTIO_F_HASH_TUNNEL | FLOWQ_VIRTIO_F_VERSION_1)

static const uint8_t key_a[40] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3};
static const uint8_t key_b[40] = {0xda, 0x56, 0x5a, 0x6d, 0xc2, 0x0e, 0x5b, 0x25, 0x3d, 0x25, 0x67, 0x41, 0xa3, 0x8f};

/* RSS with a table of this one queue. */
static int set_rss(uint16_t qid, const uint8_t key[40])
{
    const struct flowq_rss rss = {
        .size = sizeof(rss),
        .table = &qid,
        .table_length = 1,
        .unclassified = qid,
        .max_tx = PAIRS,
        .hash_types = FLOWQ_HASH_TYPE_IPV4 | FLOWQ_HASH_TYPE_TCPV4,
        .key = key,
        .key_length = 40,
    };
    return flowq_vm_set_rss(x.b.vm, &rss);
}

/* The same packet on each of the ways to its queue. */
static uint16_t steer_by(unsigned way, const struct flow *f)
{
    const struct flowq_pkt pkts[2] = {frame_pkt(&f->in), frame_pkt(&f->in)};
    struct flowq_vm *const vms[2] = {x.b.vm, x.b.vm};
    uint16_t qids[2];
    if (way == 0)
        return flowq_rx_steer(x.b.vm, pkts);
    if (way == 1)
        return decide(f).qid;
    flowq_rx_steer_burst_vms(vms, pkts, 2, qids);
    SCHED_CHECK(qids[0] != FLOWQ_DROP || qids[1] != 6);
    return qids[way - 2];
}

/* ---- Q-B: the queue that the table chose is being reset, or switched off ------------------------------------------------ */

#define CHOSEN  1u
#define ANOTHER 2u
#define DROPPED 4u

static uint16_t chosen;

/* What may become of a packet: while a setter runs, both what was and what will be. */
static void becomes(uint64_t may)
{
    x.may |= may;
    for (unsigned i = 0; i < 8; i++)
        x.may_have[i] |= x.may;
}

static void is(uint64_t may)
{
    x.may = may;
    sched_release(&x.may);
}

static void reset_chosen(bool on)
{
    becomes(on ? DROPPED : CHOSEN);
    flowq_vm_set_queue_resetting(x.b.vm, chosen, on);
    is(on ? DROPPED : CHOSEN);
}

static void reset_and_back(void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < 2; i++) {
        reset_chosen(true);
        reset_chosen(false);
    }
}

/* Switched off, and being reset meanwhile, which still drops; then switched on again. */
static void off_and_on(void *ctx)
{
    (void)ctx;
    reset_chosen(true);
    flowq_vm_set_queue_enabled(x.b.vm, chosen, false);
    becomes(ANOTHER);
    flowq_vm_set_queue_resetting(x.b.vm, chosen, false);
    is(ANOTHER);
    becomes(CHOSEN);
    flowq_vm_set_queue_enabled(x.b.vm, chosen, true);
    is(CHOSEN);
}

static void steer_to_chosen(void *ctx)
{
    unsigned me = sched_self();
    (void)ctx;
    for (unsigned way = 0; way < 4; way++) {
        x.may_have[me] = x.may;
        sched_acquire(&x.may);
        uint16_t qid = steer_by(way, &pool[0][0][0][0]);
        SCHED_CHECK(x.may_have[me] & (qid == FLOWQ_DROP ? DROPPED : qid == chosen ? CHOSEN : ANOTHER));
    }
}

static void ruled_by(uint32_t pairs, uint16_t qid)
{
    make_with((struct flowq_vm_config){.max_queue_pairs = pairs, .virtio_features = ALL_FEATURES});
    chosen = qid;
    if (set_rss(qid, key_a) != 0 || flowq_vm_set_queue_pairs(x.b.vm, pairs) != 0 || set_rss(qid, key_a) != 0)
        abort();
    x.may = CHOSEN;
}

static void ruled_by_queue_3(void *ctx)
{
    (void)ctx;
    ruled_by(PAIRS, 3);
}

static void ruled_by_queue_100(void *ctx)
{
    (void)ctx;
    ruled_by(128, 100);
}

static bool all_is_as_before(void *ctx)
{
    (void)ctx;
    SCHED_CHECK(steer_by(0, &pool[0][0][0][0]) == chosen);
    x.made = false;
    return bare_free(&x.b);
}

/*
 * Mutations: rss_instead_of() looks at a bitmap of queues that are being reset, apart from that of those in use, whatever the
 * order in which setters change the two and in which it looks; queues_publish_locked() stores in_use before the states; start()
 * does not publish.
 */
START_TEST(reset_of_a_queue_while_the_table_rules)
{
    MUST_HOLD("reset and back", ruled_by_queue_3, all_is_as_before, reset_and_back, steer_to_chosen, steer_to_chosen);
    MUST_HOLD("off and on", ruled_by_queue_3, all_is_as_before, off_and_on, steer_to_chosen, steer_to_chosen);
    MUST_HOLD("reset and back, many", ruled_by_queue_100, all_is_as_before, reset_and_back, steer_to_chosen, steer_to_chosen);
    MUST_HOLD("off and on, many", ruled_by_queue_100, all_is_as_before, off_and_on, steer_to_chosen, steer_to_chosen);
}
END_TEST

/* ---- V-A, V-B: a configuration takes another one's place ---------------------------------------------------------------- */

static void ruled(void *ctx)
{
    (void)ctx;
    ruled_by(PAIRS, 3);
}

static void replace_rss(void *ctx)
{
    (void)ctx;
    SCHED_CHECK(set_rss(5, key_b) == 0);
    SCHED_CHECK(set_rss(3, key_a) == 0);
    flowq_vm_maintain(x.b.vm);
}

/* By the one configuration or the other, wholly. */
static void steer_by_either(void *ctx)
{
    (void)ctx;
    for (unsigned way = 0; way < 4; way++) {
        uint16_t qid = steer_by(way, &pool[0][0][0][0]);
        SCHED_CHECK(qid == 3 || qid == 5);
    }
}

static uint32_t hash_by_a, hash_by_b;

static void decide_by_either(void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < 4; i++) {
        struct flowq_decision d = decide(&pool[0][0][0][0]);
        SCHED_CHECK(d.hash_report == FLOWQ_HASH_REPORT_TCPV4);
        SCHED_CHECK(d.hash_value == (d.reason != FLOWQ_REASON_RSS ? d.hash_value : d.qid == 3 ? hash_by_a : hash_by_b));
        SCHED_CHECK(d.hash_value == hash_by_a || d.hash_value == hash_by_b);
    }
}

static void learn_hashes(void)
{
    ruled_by(PAIRS, 3);
    hash_by_a = decide(&pool[0][0][0][0]).hash_value;
    if (set_rss(5, key_b) != 0)
        abort();
    hash_by_b = decide(&pool[0][0][0][0]).hash_value;
    ck_assert_uint_ne(hash_by_a, hash_by_b);
}

static bool left_clean(void *ctx)
{
    (void)ctx;
    flowq_vm_maintain(x.b.vm);
    SCHED_CHECK(x.b.vm->virtio.n_retired == 0);
    x.made = false;
    return bare_free(&x.b);
}

/* Flows decide; hashes are reported all the same. */
static void reporting(void *ctx)
{
    (void)ctx;
    make_with((struct flowq_vm_config){.virtio_features = ALL_FEATURES & ~FLOWQ_VIRTIO_F_RSS});
    if (flowq_vm_set_hash(x.b.vm, FLOWQ_HASH_TYPE_TCPV4, key_a, sizeof(key_a)) != 0)
        abort();
}

static void replace_hash(void *ctx)
{
    (void)ctx;
    SCHED_CHECK(flowq_vm_set_hash(x.b.vm, FLOWQ_HASH_TYPE_TCPV4, key_b, sizeof(key_b)) == 0);
    SCHED_CHECK(flowq_vm_set_hash(x.b.vm, FLOWQ_HASH_TYPE_TCPV4, key_a, sizeof(key_a)) == 0);
    flowq_vm_maintain(x.b.vm);
}

/*
 * Mutations: rss_steer(), or rss_add_reports(), loads the configuration before it opens the section; virtio_replace_locked()
 * takes the stamp before it unlinks: memory is used after its end (V-A).
 */
START_TEST(configurations_are_replaced_while_steering)
{
    learn_hashes();
    MUST_HOLD("RSS replaced", ruled, left_clean, replace_rss, steer_by_either, steer_by_either);
    MUST_HOLD("RSS replaced, reports", ruled, left_clean, replace_rss, decide_by_either, decide_by_either);
    MUST_HOLD("hash replaced", reporting, left_clean, replace_hash, decide_by_either, decide_by_either);
}
END_TEST

/* RSS is switched off and on: packets go by flow, to the queue of theirs, or by the table. */
static void switch_rss(void *ctx)
{
    (void)ctx;
    flowq_vm_set_queue_pairs(x.b.vm, PAIRS);
    SCHED_CHECK(set_rss(5, key_b) == 0);
    flowq_vm_set_queue_pairs(x.b.vm, PAIRS);
}

static void steer_by_flow_or_table(void *ctx)
{
    (void)ctx;
    for (unsigned way = 0; way < 4; way++) {
        uint16_t qid = steer_by(way, &pool[0][0][0][0]);
        SCHED_CHECK(qid == 3 || qid == 5 || qid == 6);
    }
}

static void ruled_and_bound(void *ctx)
{
    ruled(ctx);
    if (note(&pool[0][0][0][0], 6) != FLOWQ_NOTE_BOUND)
        abort();
}

static bool flows_decide(void *ctx)
{
    (void)ctx;
    for (unsigned way = 0; way < 4; way++)
        SCHED_CHECK(steer_by(way, &pool[0][0][0][0]) == 6);
    return left_clean(ctx);
}

/* The queue is reset only after the table has gone: at no instant has a packet to be dropped. */
static void table_goes_then_reset(void *ctx)
{
    (void)ctx;
    flowq_vm_reset(x.b.vm, FLOWQ_RESET_CONFIG);
    flowq_vm_set_queue_resetting(x.b.vm, 3, true);
}

static void steer_to_any(void *ctx)
{
    (void)ctx;
    for (unsigned way = 0; way < 4; way++)
        SCHED_CHECK(steer_by(way, &pool[0][0][0][0]) != FLOWQ_DROP);
}

/* Mutations: virtio_replace_locked() sets QUEUES_RSS the wrong way round (V-B); rss_instead_of() drops without a look at what
   rules. */
START_TEST(rss_comes_and_goes_while_steering)
{
    MUST_HOLD("RSS off, then a reset", ruled, left_clean, table_goes_then_reset, steer_to_any, steer_to_any);
    MUST_HOLD("RSS on and off", ruled_and_bound, flows_decide, switch_rss, steer_by_flow_or_table, steer_by_flow_or_table);
}
END_TEST

/* ---- Setters beside setters --------------------------------------------------------------------------------------------- */

static int configure_with(uint64_t features, uint32_t key_vlan)
{
    struct flowq_vm_config cfg = {.size = sizeof(cfg), .virtio_features = features, .key_vlan = key_vlan};
    return flowq_vm_configure(x.b.vm, &cfg);
}

static int send_rss(uint16_t qid)
{
    static struct control c;
    const uint16_t table[2] = {qid, (uint16_t)(qid ^ 1)};
    const struct flowq_rss rss = {.table = table,
                                  .table_length = 2,
                                  .unclassified = qid,
                                  .max_tx = 3,
                                  .hash_types = FLOWQ_HASH_TYPE_IPV4,
                                  .key = key_a,
                                  .key_length = 40};
    control_rss(&c, &rss);
    return control_send(x.b.vm, &c);
}

static int send_pairs(uint32_t n)
{
    struct iovec all = {.iov_base = (uint8_t[]){(uint8_t)n, 0}, .iov_len = 2};
    return flowq_vm_ctrl(x.b.vm, FLOWQ_CTRL_MQ, FLOWQ_CTRL_MQ_VQ_PAIRS_SET, &all, 1);
}

enum { N_SETTERS = 20 };

/* Each setter there is, some with several arguments. Returns what it returns. */
static int set(unsigned what)
{
    struct flowq_vm *vm = x.b.vm;
    static const uint32_t resets[] = {FLOWQ_RESET_CONFIG, FLOWQ_RESET_QUEUES, FLOWQ_RESET_CONFIG | FLOWQ_RESET_QUEUES,
                                      FLOWQ_RESET_CONFIG | FLOWQ_RESET_QUEUES | FLOWQ_RESET_FLOWS};
    switch (what) {
    case 0:
    case 1:
        return flowq_vm_set_queue_pairs(vm, what ? 7 : 2);
    case 2:
        return flowq_vm_set_queue_enabled(vm, 1, false);
    case 3:
        return flowq_vm_set_queue_enabled(vm, FLOWQ_ALL_QUEUES, true);
    case 4:
        return flowq_vm_set_queue_resetting(vm, 2, true);
    case 5:
        return flowq_vm_set_queue_resetting(vm, FLOWQ_ALL_QUEUES, false);
    case 6:
        return set_rss(6, key_b);
    case 7:
        return send_rss(4);
    case 8:
        return send_pairs(5);
    case 9:
        return flowq_vm_set_hash(vm, FLOWQ_HASH_TYPE_UDPV4, key_b, sizeof(key_b));
    case 10:
        return flowq_vm_set_hash_tunnels(vm, 4);
    case 11:
        return configure_with(ALL_FEATURES, FLOWQ_ON);
    case 12:
        return configure_with(ALL_FEATURES & ~FLOWQ_VIRTIO_F_RSS, FLOWQ_OFF);
    case 13:
        return configure_with(FLOWQ_VIRTIO_F_MQ, FLOWQ_OFF);
    case 14:
        return flowq_vm_set_features(vm, ALL_FEATURES & ~FLOWQ_VIRTIO_F_RSS);
    case 15:
        return flowq_vm_set_features(vm, FLOWQ_VIRTIO_F_MQ);
    default:
        return flowq_vm_reset(vm, resets[what - 16]);
    }
}

/* All that setters leave behind, and what they returned. */
struct left {
    int returned[3];
    uint32_t pairs, summary, offered_types, hash_types, tunnels, table_mask;
    uint64_t named, enabled, in_use, features;
    bool rules, reports, flag, key_vlan, bound;
    uint8_t key;
    uint16_t table;
};

static struct left left_now(const int returned[3])
{
    const struct flowq_vm *vm = x.b.vm;
    const struct rss *r = atomic_load(&vm->virtio.rss_active), *last = vm->virtio.last;
    struct left l;
    memset(&l, 0, sizeof(l)); /* the padding, too */
    memcpy(l.returned, returned, sizeof(l.returned));
    l.pairs = vm->queues.control->pairs;
    l.summary = atomic_load(&vm->queues.summary);
    l.named = vm->queues.control->named[0];
    l.enabled = vm->queues.control->enabled[0];
    l.in_use = atomic_load(&vm->queues.in_use_low);
    l.features = vm->virtio.features;
    l.offered_types = vm->virtio.hash_types;
    l.hash_types = last ? last->hash_types : 0;
    l.key = last ? last->toeplitz.key[0] : 0;
    l.tunnels = atomic_load(&vm->virtio.tunnels);
    l.rules = r != NULL;
    l.table_mask = r ? r->table_mask : 0;
    l.table = r ? r->table[0] : 0;
    l.reports = atomic_load(&vm->virtio.reports) != NULL;
    l.flag = queues_rss_active(&vm->queues);
    l.key_vlan = atomic_load(&vm->settings.key_vlan);
    l.bound = bare_find(&x.b, pool[0][0][0][0].hash) != 0;
    return l;
}

/* What each of the two threads does: the first one thing or two, the second one. */
static unsigned first_does[2], second_does, n_first;
static int returned[3];
static struct left possible[3];
static unsigned n_possible, start_kind;

static void something_is_set(void *ctx)
{
    (void)ctx;
    make_with((struct flowq_vm_config){.virtio_features = start_kind == 2 ? ALL_FEATURES & ~FLOWQ_VIRTIO_F_RSS : ALL_FEATURES});
    flowq_vm_set_queue_pairs(x.b.vm, 4);
    note(&pool[0][0][0][0], 3);
    flowq_vm_set_queue_enabled(x.b.vm, 3, false);
    flowq_vm_set_hash_tunnels(x.b.vm, 2);
    if (start_kind == 1)
        set_rss(7, key_a);
    if (start_kind == 2)
        flowq_vm_set_hash(x.b.vm, FLOWQ_HASH_TYPE_TCPV4, key_a, sizeof(key_a));
    memset(returned, 0, sizeof(returned));
}

static void do_first(void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < n_first; i++)
        returned[i] = set(first_does[i]);
}

static void do_second(void *ctx)
{
    (void)ctx;
    returned[2] = set(second_does);
}

static void find_possible(void)
{
    n_possible = 0;
    for (unsigned at = 0; at <= n_first; at++) {
        something_is_set(NULL);
        for (unsigned i = 0; i <= n_first; i++)
            if (i == at)
                do_second(NULL);
            else
                returned[i - (i > at)] = set(first_does[i - (i > at)]);
        possible[n_possible++] = left_now(returned);
    }
}

static bool is_possible(void *ctx)
{
    const struct left l = left_now(returned);
    bool found = false;
    (void)ctx;
    for (unsigned i = 0; i < n_possible; i++)
        found = found || memcmp(&l, &possible[i], sizeof(l)) == 0;
    SCHED_CHECK(found);
    return left_clean(NULL);
}

static void setters_beside_each_other(unsigned a, unsigned b, unsigned c, uint64_t runs)
{
    char name[96];
    uint64_t all = n_runs;
    first_does[0] = a;
    first_does[1] = b;
    n_first = b < N_SETTERS ? 2 : 1;
    second_does = c;
    find_possible();
    (void)snprintf(name, sizeof(name), "setters %u %u beside %u, from %u", a, b, c, start_kind);
    n_runs = runs;
    seed += runs; /* other orders than the last ones had; the program's seed repeats them all */
    MUST_HOLD(name, something_is_set, is_possible, do_first, do_second);
    n_runs = all;
}

/*
 * Of any two, and of some two and one: what is left is what one order of the calls leaves, and each returned what it returns
 * there. Mutations: virtio_reset() asks for the pairs and sets them, each under the queues' lock alone; it resets configuration
 * and queues one after the other, each under virtio.lock; queues_reset() is called outside of it, with the former; configure does
 * not take the lock; set_rss() names the queues after it gave the lock back.
 */
START_TEST(any_two_setters_beside_each_other)
{
    for (start_kind = 0; start_kind < 3; start_kind++)
        for (unsigned a = 0; a < N_SETTERS; a++)
            for (unsigned c = a; c < N_SETTERS; c++)
                setters_beside_each_other(a, N_SETTERS, c, n_runs / 100 + 1);
}
END_TEST

START_TEST(two_setters_beside_one)
{
    struct rng rng = {seed};
    for (unsigned i = 0; i < 200; i++) {
        start_kind = rng_below(&rng, 3);
        setters_beside_each_other(rng_below(&rng, N_SETTERS), rng_below(&rng, N_SETTERS), rng_below(&rng, N_SETTERS),
                                  n_runs / 100 + 1);
    }
}
END_TEST

int main(void)
{
    TCase *tc = orders_begin("check_orders_setters");
    tcase_add_test(tc, reset_of_a_queue_while_the_table_rules);
    tcase_add_test(tc, configurations_are_replaced_while_steering);
    tcase_add_test(tc, rss_comes_and_goes_while_steering);
    tcase_add_test(tc, any_two_setters_beside_each_other);
    tcase_add_test(tc, two_setters_beside_one);
    return orders_end("check_orders_setters", tc);
}
