/*
 * check_spread: the fallback (S10) is even over the queues, steady while they change, and the same for a flow on whatever way its
 * packet takes, in either direction.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "epoch.h"
#include "frames.h"
#include "runner.h"
#include "seed.h"
#include "vm.h"

static struct rng rng;

static struct flowq_vm_config config(uint32_t max_pairs)
{
    struct flowq_vm_config c = {.size = sizeof(c), .max_queue_pairs = max_pairs};
    for (unsigned i = 0; i < FLOWQ_SECRET_SIZE; i++)
        c.secret[i] = (uint8_t)(rng_next(&rng) | 1);
    return c;
}

static struct flowq_vm *create(const struct flowq_vm_config *c)
{
    struct flowq_vm *vm = NULL;
    ck_assert_int_eq(flowq_vm_create(c, &vm), 0);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, c->max_queue_pairs), 0);
    return vm;
}

/* ---- Even and steady ----------------------------------------------------------------------------------------------------- */

enum { MOST = 64, FLOWS = 2000000, MOVING = 200000, HASHES = 1 << 16 };

/* What chance makes of a share is within so many standard deviations of it: 4000 counts are, in all but one of 10^7 runs. */
#define DEVIATIONS 7

/* Flows as they come: clients count up, and so do their ports. */
static void spread_flows(const struct flowq_vm *vm, uint32_t *spread, bool v6)
{
    for (uint32_t i = 0; i < FLOWS; i++) {
        uint64_t address = UINT64_C(0x0a) | (uint64_t)(i & 0xff) << 24, l4 = key_l4_make(0x5000 | (i >> 8) << 16, 6, v6 ? 6 : 4);
        const uint64_t v4_word[2] = {address << 32 | 0x0100a8c0, l4};
        const uint64_t v6_word[5] = {0xb80d0120, address << 32, 0xb80d0120, UINT64_C(1) << 56, l4};
        spread[i] = v6 ? hash_spread5(&vm->secret, v6_word) : hash_spread2(&vm->secret, v4_word);
    }
}

/* The part of all hashes that each queue gets. Exactly: a hash's top bits choose among 2^16 slots at most (queue.h). */
static void shares(const struct flowq_vm *vm, double *share)
{
    memset(share, 0, MOST * sizeof(*share));
    for (uint32_t i = 0; i < HASHES; i++)
        share[queue_pick(&vm->queues, i * (UINT32_MAX / HASHES + 1))] += 1.0 / HASHES;
}

/* The greatest difference from a fair share, in percent of it. */
static double skew(const double *share, uint32_t n)
{
    double most = 0;
    for (uint32_t q = 0; q < n; q++)
        most = fmax(most, fabs(share[q] * n - 1) * 100);
    return most;
}

/* The greatest difference of what the flows come to from these shares, in standard deviations. */
static double deviation(const struct flowq_vm *vm, const uint32_t *spread, const double *share, uint32_t n)
{
    uint32_t count[MOST] = {0};
    double most = 0;
    for (uint32_t i = 0; i < FLOWS; i++)
        count[queue_pick(&vm->queues, spread[i])]++;
    for (uint32_t q = 0; n > 1 && q < n; q++)
        most = fmax(most, fabs(count[q] - FLOWS * share[q]) / sqrt(FLOWS * share[q] * (1 - share[q])));
    return most;
}

static void picks(const struct flowq_vm *vm, const uint32_t *spread, uint16_t *to)
{
    for (uint32_t i = 0; i < MOVING; i++)
        to[i] = queue_pick(&vm->queues, spread[i]);
}

/* One of n queues goes, and comes back. Its own flows move, all of them, and no others. Returns the share that moved when it
   went, in percent; *back: when it came. */
static double disrupt(struct flowq_vm *vm, const uint32_t *spread, uint32_t n, double *back)
{
    static uint16_t all[MOVING], without[MOVING], again[MOVING];
    uint32_t gone = rng_below(&rng, n), moved = 0, returned = 0, wrong = 0;
    picks(vm, spread, all);
    ck_assert_int_eq(flowq_vm_set_queue_enabled(vm, gone, false), 0);
    picks(vm, spread, without);
    ck_assert_int_eq(flowq_vm_set_queue_enabled(vm, gone, true), 0);
    picks(vm, spread, again);
    for (uint32_t i = 0; i < MOVING; i++) {
        moved += all[i] != without[i];
        returned += without[i] != again[i];
        wrong += (all[i] != without[i]) != (all[i] == gone);
        wrong += (without[i] != again[i]) != (again[i] == gone);
    }
    ck_assert_msg(wrong == 0, "%u queues: %u flows moved without need, or stayed", n, wrong);
    *back = 100.0 * returned / MOVING;
    return 100.0 * moved / MOVING;
}

/* Shares are even, and flows come to them: then what moves with a queue, its own flows, is a share of that size. */
START_TEST(even_and_steady)
{
    struct flowq_vm_config c = config(MOST);
    struct flowq_vm *vm = create(&c);
    uint32_t *spread = malloc(FLOWS * sizeof(*spread));
    double share[MOST], most = 0;
    ck_assert_ptr_nonnull(spread);
    spread_flows(vm, spread, _i);
    printf("IPv%c, %u flows: queues, most that a share is off, flows that move when one queue goes and when it comes\n",
           _i ? '6' : '4', FLOWS);
    for (uint32_t n = 1; n <= MOST; n++) {
        double back = 0;
        ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, n), 0);
        shares(vm, share);
        double off = skew(share, n), by_chance = deviation(vm, spread, share, n),
               moved = n > 1 ? disrupt(vm, spread, n, &back) : 0;
        shares(vm, share); /* when one has gone and come back */
        off = fmax(off, skew(share, n));
        ck_assert_msg(off < 5, "%u queues: a share is off by %.2f %%", n, off);
        ck_assert_msg(by_chance < DEVIATIONS, "%u queues: flows are off their shares by %.1f deviations", n, by_chance);
        most = fmax(most, by_chance);
        printf("%3u %4.1f %% %5.1f %% %5.1f %%\n", n, off, moved, back);
    }
    printf("off their shares by %.1f deviations at most\n", most);
    free(spread);
    flowq_vm_destroy(vm);
}
END_TEST

/* ---- Every way ----------------------------------------------------------------------------------------------------------- */

extern bool loops_baseline_only;

enum { N_WAYS_FLOWS = 300, QUEUES = 16, ANSWERS = 1024 };

/* The queues that packets of one flow have got. */
struct answers {
    unsigned n;
    uint16_t qid[ANSWERS];
    const char *way[ANSWERS];
};

static void got(struct answers *a, uint16_t qid, const char *way)
{
    ck_assert_uint_lt(a->n, ANSWERS);
    a->way[a->n] = way;
    a->qid[a->n++] = qid;
}

static void must_be_one(const struct answers *a, const char *what)
{
    for (unsigned i = 1; i < a->n; i++)
        ck_assert_msg(a->qid[i] == a->qid[0], "%s: queue %u by %s, %u by %s", what, a->qid[0], a->way[0], a->qid[i], a->way[i]);
}

/* vm and other are alike, with one secret. */
static void steer_each_way(struct flowq_vm *vm, struct flowq_vm *other, const struct flowq_pkt *pkt, struct answers *a)
{
    const struct flowq_pkt pkts[3] = {*pkt, *pkt, *pkt};
    struct flowq_vm *const vms[3] = {vm, other, vm};
    struct flowq_decision d[3];
    uint16_t qids[3];
    got(a, flowq_rx_steer(vm, pkt), "a single call");
    for (unsigned narrow = 0; narrow < 2; narrow++) {
        loops_baseline_only = narrow;
        flowq_rx_steer_burst(vm, pkts, 3, qids);
        got(a, qids[0], narrow ? "a narrow burst" : "a burst");
        got(a, qids[2], narrow ? "a narrow burst" : "a burst");
        flowq_rx_decide_burst(vm, pkts, 3, d);
        got(a, d[1].qid, "a decision");
        flowq_rx_steer_burst_vms(vms, pkts, 3, qids);
        got(a, qids[0], "a burst for several vms");
        got(a, qids[1], "a burst for several vms, the other");
    }
    loops_baseline_only = false;
}

static void *no_memory(size_t align, size_t size)
{
    (void)align;
    (void)size;
    return NULL;
}

struct unregistered {
    struct flowq_vm *vm, *other;
    const struct flowq_pkt *pkt;
    struct answers *a;
};

static void *steer_unregistered(void *arg)
{
    struct unregistered *u = arg;
    void *(*usual)(size_t, size_t) = epoch_alloc;
    epoch_alloc = no_memory;
    ck_assert_int_ne(flowq_thread_register(), 0);
    steer_each_way(u->vm, u->other, u->pkt, u->a);
    epoch_alloc = usual;
    return NULL;
}

static struct flowq_tuple random_tuple(void)
{
    static const uint8_t protocols[] = {FRAME_PROTO_TCP,  FRAME_PROTO_TCP, FRAME_PROTO_UDP, FRAME_PROTO_UDP,
                                        FRAME_PROTO_SCTP, FRAME_PROTO_ESP, FRAME_PROTO_DCCP};
    uint8_t protocol = protocols[rng_below(&rng, sizeof(protocols))];
    uint32_t src = 0x0a000000 + rng_below(&rng, 4), dst = 0x0a000000 + rng_below(&rng, 4);
    uint16_t sport = (uint16_t)rng_range(&rng, 1000, 1010), dport = (uint16_t)rng_range(&rng, 1000, 1010);
    struct flowq_tuple t =
        rng_percent(&rng, 50) ? tuple_v4(protocol, src, sport, dst, dport) : tuple_v6(protocol, src, sport, dst, dport);
    t.n_vlans = (uint8_t)(rng_percent(&rng, 30) ? rng_range(&rng, 1, FLOWQ_MAX_VLANS) : 0);
    for (unsigned i = 0; i < t.n_vlans; i++)
        t.vlan[i] = (uint16_t)rng_range(&rng, 1, 4000);
    return t;
}

/* Notes it as an embryonic flow on each queue: is it implied exactly on that which steering chooses? */
static void note_on_each_queue(struct flowq_vm *vm, const struct flowq_tuple *out, struct answers *a)
{
    struct frame f;
    frame_flow(&f, out, FRAME_SYN);
    const struct flowq_pkt pkt = frame_pkt(&f);
    for (uint32_t q = 0; q < QUEUES; q++) {
        uint32_t outcome = flowq_tx_note(vm, &pkt, q);
        ck_assert(outcome == FLOWQ_NOTE_IMPLIED || outcome == FLOWQ_NOTE_BOUND);
        if (outcome == FLOWQ_NOTE_IMPLIED)
            got(a, (uint16_t)q, "an implied note");
        flowq_vm_reset(vm, FLOWQ_RESET_FLOWS);
    }
}

/* Bound to a queue that then goes: the flow takes its fallback, which has not gone and so has not changed. */
static void bind_elsewhere(struct flowq_vm *vm, struct flowq_vm *other, const struct flowq_tuple *out, struct answers *a)
{
    struct flowq_tuple in = tuple_reverse(out);
    struct frame tx, rx;
    uint32_t elsewhere = (a->qid[0] + 1 + rng_below(&rng, QUEUES - 1)) % QUEUES;
    frame_flow(&tx, out, FRAME_ACK);
    frame_flow(&rx, &in, FRAME_ACK);
    const struct flowq_pkt sent = frame_pkt(&tx), received = frame_pkt(&rx);
    struct flowq_vm *const vms[] = {vm, other};
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_uint_eq(flowq_tx_note(vms[i], &sent, elsewhere), FLOWQ_NOTE_BOUND);
        flowq_vm_set_queue_enabled(vms[i], elsewhere, false);
    }
    steer_each_way(vm, other, &received, a);
}

static void quote(struct flowq_vm *vm, struct flowq_vm *other, const struct flowq_tuple *quoted, struct answers *a)
{
    struct flowq_tuple router = tuple_reverse(quoted);
    struct frame f;
    router.src[router.version == 4 ? 2 : 14] ^= 0x55;
    frame_icmp_error(&f, &router, quoted, FRAME_MAX);
    const struct flowq_pkt pkt = frame_pkt(&f);
    steer_each_way(vm, other, &pkt, a);
}

START_TEST(a_flow_has_one_fallback)
{
    uint32_t seen = 0;
    for (unsigned i = 0; i < N_WAYS_FLOWS; i++) {
        struct flowq_vm_config c = config(QUEUES);
        struct flowq_tuple both[2] = {random_tuple()};
        both[1] = tuple_reverse(&both[0]);
        c.key_vlan = i & 1 ? FLOWQ_ON : FLOWQ_OFF;
        c.tunnels = FLOWQ_TUNNEL_NONE;
        struct flowq_vm *vm = create(&c), *other = create(&c);
        struct answers a = {.n = 0};
        for (unsigned way = 0; way < 2; way++) {
            struct frame f;
            frame_flow(&f, &both[way], FRAME_ACK);
            struct flowq_pkt pkt = frame_pkt(&f);
            steer_each_way(vm, other, &pkt, &a);
            quote(vm, other, &both[way], &a);
            note_on_each_queue(vm, &both[way], &a);
            struct unregistered u = {vm, other, &pkt, &a};
            pthread_t thread;
            ck_assert_int_eq(pthread_create(&thread, NULL, steer_unregistered, &u), 0);
            ck_assert_int_eq(pthread_join(thread, NULL), 0);
        }
        must_be_one(&a, "plain or tagged");
        bind_elsewhere(vm, other, &both[rng_below(&rng, 2)], &a);
        must_be_one(&a, "bound to a queue that is not in use");
        seen |= UINT32_C(1) << a.qid[0];
        flowq_vm_destroy(vm);
        flowq_vm_destroy(other);
    }
    ck_assert_uint_eq(seen, (UINT32_C(1) << QUEUES) - 1);
}
END_TEST

/* Mirrored: an inner flow of each direction, in tunnels whose own addresses have their own. */
START_TEST(a_flow_in_a_tunnel_has_one_fallback)
{
    for (unsigned i = 0; i < N_WAYS_FLOWS; i++) {
        struct flowq_vm_config c = config(QUEUES);
        struct flowq_vm *vm = create(&c), *other = create(&c);
        struct flowq_tuple inner = random_tuple(), outer = random_tuple();
        struct answers a = {.n = 0};
        inner.n_vlans = outer.n_vlans = 0; /* a frame's ids count for what is in a tunnel without Ethernet */
        memset(inner.vlan, 0, sizeof(inner.vlan));
        outer.protocol = FRAME_PROTO_UDP;
        for (unsigned t = FRAME_NO_TUNNEL; t < FRAME_N_TUNNELS; t++) {
            struct flowq_tuple back = tuple_reverse(&inner);
            struct frame f;
            if (t != FRAME_NO_TUNNEL && frame_tunnel_bit((enum frame_tunnel)t, outer.version, inner.version) == 0)
                continue;
            outer.sport = (uint16_t)rng_range(&rng, 50000, 60000);
            if (t == FRAME_NO_TUNNEL)
                frame_flow(&f, &inner, FRAME_ACK);
            else
                frame_tunnel(&f, (enum frame_tunnel)t, &outer, rng_percent(&rng, 50) ? &inner : &back, FRAME_ACK);
            const struct flowq_pkt pkt = frame_pkt(&f);
            steer_each_way(vm, other, &pkt, &a);
        }
        must_be_one(&a, "tunnels");
        flowq_vm_destroy(vm);
        flowq_vm_destroy(other);
    }
}
END_TEST

/* Later fragments whose first was not seen: addresses and protocol, of either direction. */
START_TEST(later_fragments_have_one_fallback)
{
    for (unsigned i = 0; i < N_WAYS_FLOWS; i++) {
        struct flowq_vm_config c = config(QUEUES);
        struct flowq_vm *vm = create(&c), *other = create(&c);
        struct flowq_tuple both[2] = {random_tuple()};
        struct answers a = {.n = 0};
        both[1] = tuple_reverse(&both[0]);
        for (unsigned way = 0; way < 4; way++) {
            struct frame f;
            both[way & 1].sport ^= (uint16_t)way; /* not seen */
            frame_fragment(&f, &both[way & 1], way, 1480, way & 2);
            const struct flowq_pkt pkt = frame_pkt(&f);
            steer_each_way(vm, other, &pkt, &a);
        }
        must_be_one(&a, "later fragments");
        flowq_vm_destroy(vm);
        flowq_vm_destroy(other);
    }
}
END_TEST

/* VLAN ids spread the flows of tenants with equal addresses, where they are part of the key. */
START_TEST(tenants_are_spread)
{
    struct flowq_vm_config c = config(QUEUES);
    struct flowq_tuple t = tuple_v4(FRAME_PROTO_TCP, 0x0a000001, 1024, 0x0a000002, 80);
    c.key_vlan = FLOWQ_ON;
    struct flowq_vm *vm = create(&c);
    uint32_t seen = 0;
    t.n_vlans = 1;
    for (uint16_t id = 1; id < 300; id++) {
        struct frame f;
        t.vlan[0] = id;
        frame_flow(&f, &t, FRAME_ACK);
        const struct flowq_pkt pkt = frame_pkt(&f);
        seen |= UINT32_C(1) << flowq_rx_steer(vm, &pkt);
    }
    ck_assert_uint_eq(seen, (UINT32_C(1) << QUEUES) - 1);
    flowq_vm_destroy(vm);
}
END_TEST

int main(void)
{
    rng.state = seed_get("check_spread");
    Suite *s = suite_create("spread");
    TCase *tc = tcase_create("spread");
    tcase_set_timeout(tc, 300);
    tcase_add_loop_test(tc, even_and_steady, 0, 2);
    tcase_add_test(tc, a_flow_has_one_fallback);
    tcase_add_test(tc, a_flow_in_a_tunnel_has_one_fallback);
    tcase_add_test(tc, later_fragments_have_one_fallback);
    tcase_add_test(tc, tenants_are_spread);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
