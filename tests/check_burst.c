/*
 * check_burst: n packets in one burst give what n single calls in order, at one reading of the clock, give.
 *
 * Twins, vms with the same settings and the same secret, get the same packets: one in bursts, the other one at a time. Answers,
 * statistics and bindings must be equal, for every n from 0 to 65.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runner.h"
#include "universe.h"

#define MAX_BURST   98 /* three batches, and a bit */
#define CONNECTIONS 300
#define VMS         3
#define DATAGRAMS   12
#define MS          UINT64_C(1000000)

static uint64_t now, clock_reads, base_seed;

static uint64_t test_clock(void *ctx)
{
    (void)ctx;
    clock_reads++;
    return now;
}

struct twins {
    struct flowq_vm *bursts, *singles;
};

struct setting {
    uint32_t pairs, max_flows, initial_flows, rebind_us, fragments;
};

static struct twins make_twins(struct rng *rng, const struct setting *s)
{
    struct flowq_vm_config c = {.size = sizeof(c)};
    c.max_queue_pairs = s->pairs;
    c.max_flows = s->max_flows;
    c.initial_flows = s->initial_flows;
    c.fragments = s->fragments;
    c.rebind_min_tcp_us = c.rebind_min_other_us = s->rebind_us;
    c.active_ms = 100;
    c.idle_ms = 1000;
    c.queue_stats = FLOWQ_ON;
    c.virtio_features = FLOWQ_VIRTIO_F_MQ | FLOWQ_VIRTIO_F_RSS | FLOWQ_VIRTIO_F_HASH_REPORT;
    c.clock_ns = test_clock;
    for (unsigned i = 0; i < FLOWQ_SECRET_SIZE; i++)
        c.secret[i] = (uint8_t)(rng_next(rng) | 1);
    struct twins t;
    ck_assert_int_eq(flowq_vm_create(&c, &t.bursts), 0);
    ck_assert_int_eq(flowq_vm_create(&c, &t.singles), 0);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(t.bursts, s->pairs), 0);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(t.singles, s->pairs), 0);
    return t;
}

static void free_twins(struct twins *t)
{
    flowq_vm_destroy(t->bursts);
    flowq_vm_destroy(t->singles);
}

/* ---- Comparing ------------------------------------------------------------------------------------------------------------- */

struct dump {
    size_t n;
    struct flowq_binding binding[20000];
};

static int keep_binding(void *ctx, const struct flowq_binding *b)
{
    struct dump *d = ctx;
    if (d->n < sizeof(d->binding) / sizeof(d->binding[0]))
        d->binding[d->n++] = *b;
    return 0;
}

static int by_id(const void *a, const void *b)
{
    const struct flowq_binding *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static struct dump *dump_flows(struct flowq_vm *vm)
{
    struct dump *d = calloc(1, sizeof(*d));
    ck_assert_ptr_nonnull(d);
    ck_assert_int_eq(flowq_vm_flows(vm, keep_binding, d), 0);
    qsort(d->binding, d->n, sizeof(d->binding[0]), by_id);
    return d;
}

static void same_flows(const struct twins *t)
{
    struct dump *a = dump_flows(t->bursts), *b = dump_flows(t->singles);
    ck_assert_uint_eq(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        ck_assert_uint_eq(a->binding[i].id, b->binding[i].id);
        ck_assert_uint_eq(a->binding[i].qid, b->binding[i].qid);
        ck_assert_uint_eq(a->binding[i].cls, b->binding[i].cls);
        ck_assert_uint_eq(a->binding[i].age_ms, b->binding[i].age_ms);
    }
    free(a);
    free(b);
}

static void same_stats(const struct twins *t, uint32_t pairs)
{
    struct flowq_stats a = {.size = sizeof(a)}, b = {.size = sizeof(b)};
    ck_assert_int_eq(flowq_vm_stats(t->bursts, &a), 0);
    ck_assert_int_eq(flowq_vm_stats(t->singles, &b), 0);
    for (unsigned i = 0; i < FLOWQ_NOTE_SLOTS; i++)
        ck_assert_msg(a.note[i] == b.note[i], "note %s: %" PRIu64 " in bursts, %" PRIu64 " in single calls", flowq_note_name(i),
                      a.note[i], b.note[i]);
    for (unsigned i = 0; i < FLOWQ_REASON_SLOTS; i++)
        ck_assert_msg(a.steer[i] == b.steer[i], "reason %s: %" PRIu64 " in bursts, %" PRIu64 " in single calls",
                      flowq_reason_name(i), a.steer[i], b.steer[i]);
    ck_assert_uint_eq(a.inserted, b.inserted);
    ck_assert_uint_eq(a.live, b.live);
    ck_assert_uint_eq(a.displaced_embryonic, b.displaced_embryonic);
    ck_assert_uint_eq(a.displaced_closing, b.displaced_closing);
    ck_assert_uint_eq(a.displaced_established, b.displaced_established);
    ck_assert_uint_eq(a.reclaimed, b.reclaimed);
    ck_assert_uint_eq(a.bound_elsewhere, b.bound_elsewhere);
    ck_assert_uint_eq(a.queues_noted, b.queues_noted);
    for (uint32_t q = 0; q < pairs; q++) {
        struct flowq_queue_stats x = {.size = sizeof(x)}, y = {.size = sizeof(y)};
        ck_assert_int_eq(flowq_vm_queue_stats(t->bursts, q, &x), 0);
        ck_assert_int_eq(flowq_vm_queue_stats(t->singles, q, &y), 0);
        ck_assert_uint_eq(x.noted, y.noted);
        ck_assert_uint_eq(x.steered, y.steered);
    }
}

/* ---- Packets: few flows, so that they come again within a burst; fragments first and later, in any order ------------------- */

struct source {
    struct rng rng;
    struct universe u;
    uint32_t first, n; /* connections in play: moved on, so that there are new flows */
    uint32_t id;
    struct frame first_fragment[DATAGRAMS], later_fragment[DATAGRAMS];
};

static void new_datagram(struct source *s, uint32_t at)
{
    uint32_t c = rng_below(&s->rng, s->u.n_connections);
    while (s->u.connection[c].keyless)
        c = rng_below(&s->rng, s->u.n_connections);
    universe_fragments(&s->u, c, s->id++, &s->first_fragment[at], &s->later_fragment[at]);
}

static struct flowq_pkt pick(struct source *s, bool transmit, uint32_t i)
{
    uint32_t percent = rng_below(&s->rng, 100), c = s->first + i % s->n, at = rng_below(&s->rng, DATAGRAMS);
    if (percent < 20) {
        if (percent < 4)
            new_datagram(s, at);
        return frame_pkt(percent & 1 ? &s->first_fragment[at] : &s->later_fragment[at]);
    }
    if (percent < 50)
        c = s->first + rng_below(&s->rng, s->n);
    const struct connection *connection = &s->u.connection[c % s->u.n_connections];
    if (percent < 24) {
        struct flowq_pkt cut = connection->packet[TX_ACK];
        cut.len = rng_below(&s->rng, cut.len + 1);
        return cut;
    }
    return connection->packet[transmit ? rng_below(&s->rng, TX_ERROR + 1) : rng_range(&s->rng, RX_DATA, RX_ERROR)];
}

/* Packets of a connection right behind one another, of which some are of another kind. */
static void couple(struct source *s, struct flowq_pkt *pkts, uint32_t n, bool transmit)
{
    uint32_t stay = rng_range(&s->rng, 50, 100), usual = rng_range(&s->rng, 80, 100), c = rng_below(&s->rng, CONNECTIONS);
    for (uint32_t i = 0; i < n; i++) {
        if (!rng_percent(&s->rng, stay))
            c = rng_below(&s->rng, CONNECTIONS);
        if (rng_percent(&s->rng, usual))
            pkts[i] = s->u.connection[c].packet[transmit ? TX_ACK : RX_DATA];
        else
            pkts[i] = pick(s, transmit, c);
    }
}

static void make_source(struct source *s, uint64_t seed)
{
    s->rng.state = seed;
    universe_make(&s->u, &s->rng, CONNECTIONS);
    s->first = 0;
    s->n = CONNECTIONS;
    s->id = 1;
    for (uint32_t i = 0; i < DATAGRAMS; i++)
        new_datagram(s, i);
}

static void advance(struct source *s)
{
    now += rng_next(&s->rng) % (rng_percent(&s->rng, 5) ? 2000 * MS : 3 * MS);
    s->first = rng_below(&s->rng, CONNECTIONS);
    s->n = rng_percent(&s->rng, 50) ? CONNECTIONS : rng_range(&s->rng, 1, 20);
}

/* ---- The comparisons ------------------------------------------------------------------------------------------------------- */

static void note_both(const struct twins *t, const struct flowq_pkt *pkts, uint32_t n, uint32_t qid)
{
    clock_reads = 0;
    flowq_tx_note_burst(t->bursts, pkts, n, qid);
    ck_assert_uint_le(clock_reads, 1);
    for (uint32_t i = 0; i < n; i++) {
        clock_reads = 0;
        flowq_tx_note(t->singles, &pkts[i], qid);
        ck_assert_uint_le(clock_reads, 1);
    }
}

static void decide_both(const struct twins *t, const struct flowq_pkt *pkts, uint32_t n)
{
    struct flowq_decision burst[MAX_BURST], single;
    clock_reads = 0;
    flowq_rx_decide_burst(t->bursts, pkts, n, burst);
    ck_assert_uint_le(clock_reads, 1);
    for (uint32_t i = 0; i < n; i++) {
        flowq_rx_decide_burst(t->singles, &pkts[i], 1, &single);
        ck_assert_msg(memcmp(&burst[i], &single, sizeof(single)) == 0,
                      "packet %u of %u: queue %u, %s in a burst; queue %u, %s alone", i, n, burst[i].qid,
                      flowq_reason_name(burst[i].reason), single.qid, flowq_reason_name(single.reason));
    }
}

static void steer_both(const struct twins *t, const struct flowq_pkt *pkts, uint32_t n)
{
    uint16_t qids[MAX_BURST + 1];
    qids[n] = 0xabcd;
    clock_reads = 0;
    flowq_rx_steer_burst(t->bursts, pkts, n, qids);
    ck_assert_uint_le(clock_reads, 1);
    ck_assert_uint_eq(qids[n], 0xabcd);
    for (uint32_t i = 0; i < n; i++) {
        clock_reads = 0;
        ck_assert_uint_eq(flowq_rx_steer(t->singles, &pkts[i]), qids[i]);
        ck_assert_uint_le(clock_reads, 1);
    }
}

static unsigned n_decided[FLOWQ_REASON_SLOTS], n_hashed; /* by bursts for several vms */

/* Queues alone or decisions: not both, as what a burst writes to the cache of fragments the next one finds. */
static void steer_vms_both(struct twins *t, struct rng *rng, const struct flowq_pkt *pkts, uint32_t n)
{
    struct flowq_vm *vms[MAX_BURST];
    uint32_t which[MAX_BURST];
    uint16_t qids[MAX_BURST + 1];
    struct flowq_decision out[MAX_BURST + 1], single;
    bool decide = rng_percent(rng, 50), runs = rng_percent(rng, 30); /* of packets for the same vm */
    for (uint32_t i = 0; i < n; i++) {
        which[i] = runs && i > 0 && rng_percent(rng, 70) ? which[i - 1] : rng_below(rng, VMS);
        vms[i] = t[which[i]].bursts;
    }
    memset(out, 0xab, sizeof(out));
    memset(qids, 0xab, sizeof(qids));
    if (decide)
        flowq_rx_decide_burst_vms(vms, pkts, n, out);
    else
        flowq_rx_steer_burst_vms(vms, pkts, n, qids);
    ck_assert_uint_eq(qids[n], 0xabab);
    ck_assert_uint_eq(out[n].qid, 0xabab);
    for (uint32_t i = 0; i < n; i++) {
        if (!decide) {
            ck_assert_uint_eq(flowq_rx_steer(t[which[i]].singles, &pkts[i]), qids[i]);
            continue;
        }
        flowq_rx_decide_burst(t[which[i]].singles, &pkts[i], 1, &single);
        n_decided[single.reason]++;
        n_hashed += single.hash_report != FLOWQ_HASH_REPORT_NONE;
        ck_assert_msg(memcmp(&out[i], &single, sizeof(single)) == 0,
                      "packet %u of %u: queue %u, %s, report %u in a burst for several; queue %u, %s, report %u alone", i, n,
                      out[i].qid, flowq_reason_name(out[i].reason), out[i].hash_report, single.qid,
                      flowq_reason_name(single.reason), single.hash_report);
    }
}

/* From now on the guest's table decides; setting the pairs ends that. */
static void rule(struct flowq_vm *vm, uint32_t pairs)
{
    static const uint8_t key[40] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2};
    uint16_t table[16];
    const struct flowq_rss r = {.size = sizeof(r),
                                .hash_types = FLOWQ_HASH_TYPE_ALL,
                                .table = table,
                                .table_length = 16,
                                .key = key,
                                .key_length = sizeof(key),
                                .unclassified = (uint16_t)(pairs - 1),
                                .max_tx = (uint16_t)pairs};
    for (uint32_t i = 0; i < 16; i++)
        table[i] = (uint16_t)(i % pairs);
    ck_assert_int_eq(flowq_vm_set_rss(vm, &r), 0);
}

static void change_both(const struct twins *t, struct rng *rng, uint32_t pairs)
{
    uint32_t qid = rng_below(rng, pairs), n = rng_range(rng, 1, pairs);
    bool on = rng_percent(rng, 70);
    uint32_t what = rng_below(rng, 5);
    for (unsigned i = 0; i < 2; i++) {
        struct flowq_vm *vm = i ? t->singles : t->bursts;
        if (what == 0)
            flowq_vm_set_queue_pairs(vm, n);
        else if (what == 1)
            flowq_vm_set_queue_enabled(vm, qid, on);
        else if (what == 2)
            flowq_vm_set_queue_resetting(vm, qid, !on);
        else
            rule(vm, pairs);
    }
}

static void open_both(const struct twins *t, uint32_t pairs)
{
    for (unsigned i = 0; i < 2; i++) {
        struct flowq_vm *vm = i ? t->singles : t->bursts;
        flowq_vm_set_queue_pairs(vm, pairs);
        for (uint32_t q = 0; q < pairs; q++) {
            flowq_vm_set_queue_enabled(vm, q, true);
            flowq_vm_set_queue_resetting(vm, q, false);
        }
    }
}

static void one_burst(struct twins *t, struct source *s, const struct setting *set, uint32_t n)
{
    struct flowq_pkt pkts[MAX_BURST];
    uint32_t what = rng_below(&s->rng, 5), vm = rng_below(&s->rng, VMS), qid = rng_below(&s->rng, set->pairs);
    advance(s);
    if (rng_percent(&s->rng, 40))
        couple(s, pkts, n, what < 2);
    else
        for (uint32_t i = 0; i < n; i++)
            pkts[i] = pick(s, what < 2, i);
    if (what < 2)
        note_both(&t[vm], pkts, n, qid);
    else if (what == 2)
        decide_both(&t[vm], pkts, n);
    else if (what == 3)
        steer_both(&t[vm], pkts, n);
    else
        steer_vms_both(t, &s->rng, pkts, n);
}

static const struct setting settings[] = {
    {.pairs = 4, .max_flows = 16384, .initial_flows = 16384},
    {.pairs = 7, .max_flows = 64, .initial_flows = 64}, /* displacement, refusals */
    {.pairs = 3, .max_flows = 16, .fragments = 8},
    {.pairs = 5, .max_flows = 16384, .initial_flows = 1024}, /* growth */
    {.pairs = 2, .max_flows = 16384, .rebind_us = 1500},
    {.pairs = 300, .max_flows = 512, .rebind_us = 50000, .fragments = FLOWQ_OFF},
    {.pairs = 1, .max_flows = 64},
};

/* What hardly happens by chance: a vm with no queue in use, one with a single queue, one whose guest's table decides. */
static void rare_answers(struct twins *t, struct source *s, uint32_t pairs)
{
    struct flowq_pkt pkts[MAX_BURST];
    for (unsigned i = 0; i < 2; i++) {
        flowq_vm_set_queue_enabled(i ? t[0].singles : t[0].bursts, FLOWQ_ALL_QUEUES, false);
        flowq_vm_set_queue_pairs(i ? t[1].singles : t[1].bursts, 1);
        rule(i ? t[2].singles : t[2].bursts, pairs);
    }
    for (unsigned round = 0; round < 40; round++) {
        for (uint32_t i = 0; i < MAX_BURST; i++)
            pkts[i] = pick(s, false, i);
        steer_vms_both(t, &s->rng, pkts, MAX_BURST);
    }
}

START_TEST(a_burst_is_its_packets_in_order)
{
    const struct setting *set = &settings[_i];
    struct source s;
    struct twins t[VMS];
    make_source(&s, base_seed + (uint64_t)_i);
    for (unsigned i = 0; i < VMS; i++)
        t[i] = make_twins(&s.rng, set);
    unsigned rounds = (seed_long() ? 2000 : 32) / SEED_SLOWNESS;
    for (unsigned round = 0; round < rounds; round++) {
        for (uint32_t n = 0; n <= MAX_BURST; n++) {
            one_burst(t, &s, set, n);
            if (rng_percent(&s.rng, 2))
                change_both(&t[rng_below(&s.rng, VMS)], &s.rng, set->pairs);
        }
        for (unsigned i = 0; i < VMS; i++) {
            same_stats(&t[i], set->pairs);
            same_flows(&t[i]);
            open_both(&t[i], set->pairs);
        }
    }
    rare_answers(t, &s, set->pairs);
    for (unsigned i = 0; i < VMS; i++)
        free_twins(&t[i]);
    universe_free(&s.u);
    if (_i > 0)
        return; /* with queues enough, and room: every kind of answer was compared */
    for (unsigned i = 0; i < FLOWQ_REASON_SLOTS; i++)
        ck_assert_msg(n_decided[i] > 0 || strcmp(flowq_reason_name(i), "unknown") == 0, "no decision was %s",
                      flowq_reason_name(i));
    ck_assert_uint_gt(n_hashed, 1000 / SEED_SLOWNESS);
}
END_TEST

/* Every packet of the burst a flow of its own, new; and then all of them again, on another queue. */
START_TEST(distinct_flows_of_every_number)
{
    struct rng rng = {base_seed};
    struct setting set = {.pairs = 6, .max_flows = 65536};
    struct twins t = make_twins(&rng, &set);
    struct frame tx[MAX_BURST], rx[MAX_BURST];
    struct flowq_pkt tx_pkts[MAX_BURST], rx_pkts[MAX_BURST];
    uint16_t qids[MAX_BURST];
    uint32_t next = 0;
    for (uint32_t n = 0; n <= MAX_BURST; n++) {
        for (uint32_t i = 0; i < n; i++, next++) {
            struct flowq_tuple out = tuple_v4(FRAME_PROTO_TCP, 0x0a000001, 80, 0x0b000000 + next, 1024), in = tuple_reverse(&out);
            frame_flow(&tx[i], &out, FRAME_ACK);
            frame_flow(&rx[i], &in, FRAME_ACK);
            tx_pkts[i] = frame_pkt(&tx[i]);
            rx_pkts[i] = frame_pkt(&rx[i]);
        }
        for (uint32_t q = 0; q < set.pairs; q += 2) {
            note_both(&t, tx_pkts, n, (n + q) % set.pairs);
            decide_both(&t, rx_pkts, n);
            flowq_rx_steer_burst(t.bursts, rx_pkts, n, qids);
            for (uint32_t i = 0; i < n; i++)
                ck_assert_uint_eq(qids[i], (n + q) % set.pairs);
        }
    }
    same_flows(&t);
    free_twins(&t);
}
END_TEST

/* First and later fragments of one new datagram within one burst; a later one ahead of its first has not seen it. */
START_TEST(fragments_within_a_burst)
{
    struct rng rng = {base_seed};
    struct setting set = {.pairs = 16, .max_flows = 1024};
    struct twins t = make_twins(&rng, &set);
    for (uint32_t n = 3; n <= MAX_BURST; n++) {
        struct flowq_tuple out = tuple_v6(FRAME_PROTO_UDP, 1, 5000, n, 53), in = tuple_reverse(&out);
        struct frame note, first, later;
        struct flowq_pkt pkts[MAX_BURST];
        struct flowq_decision d[MAX_BURST];
        frame_flow(&note, &out, 0);
        frame_fragment(&first, &in, n, 0, true);
        frame_fragment(&later, &in, n, 1280, false);
        struct flowq_pkt note_pkt = frame_pkt(&note);
        note_both(&t, &note_pkt, 1, n % set.pairs);
        uint32_t at = rng_range(&rng, 1, n - 2);
        for (uint32_t i = 0; i < n; i++)
            pkts[i] = frame_pkt(i == at ? &first : &later);
        decide_both(&t, pkts, n);
        struct flowq_pkt more[] = {frame_pkt(&later)};
        flowq_rx_decide_burst(t.bursts, more, 1, d);
        ck_assert_uint_eq(d[0].reason, FLOWQ_REASON_FRAGMENT);
        ck_assert_uint_eq(d[0].qid, n % set.pairs);
    }
    free_twins(&t);
}
END_TEST

/* A burst much longer than a table that is still young: it grows as often as it must, as it does for single packets. */
START_TEST(a_long_burst_makes_room)
{
    enum { N = 20000 };
    struct rng rng = {base_seed};
    struct setting set = {.pairs = 4, .max_flows = 65536};
    struct twins t = make_twins(&rng, &set);
    struct frame *frames = calloc(N, sizeof(*frames));
    struct flowq_pkt *pkts = calloc(N, sizeof(*pkts));
    ck_assert(frames && pkts);
    for (uint32_t i = 0; i < N; i++) {
        struct flowq_tuple out = tuple_v4(FRAME_PROTO_TCP, 0x0a000001, 80, 0x0b000000 + i, 1024);
        frame_flow(&frames[i], &out, FRAME_ACK);
        pkts[i] = frame_pkt(&frames[i]);
    }
    flowq_vm_set_queue_pairs(t.bursts, set.pairs);
    flowq_tx_note_burst(t.bursts, pkts, N, 1);
    struct flowq_stats stats = {.size = sizeof(stats)};
    ck_assert_int_eq(flowq_vm_stats(t.bursts, &stats), 0);
    ck_assert_uint_eq(stats.note[FLOWQ_NOTE_BOUND], N);
    ck_assert_uint_eq(stats.grow_delayed, 0);
    free(pkts);
    free(frames);
    free_twins(&t);
}
END_TEST

/* Once more as on a machine without wider instructions. */
extern bool loops_baseline_only;
static void go_narrow(void) { loops_baseline_only = true; }

static void add_all(Suite *s, const char *name, SFun before)
{
    TCase *tc = tcase_create(name);
    tcase_set_timeout(tc, seed_long() ? 3600 : 600);
    tcase_add_checked_fixture(tc, before, NULL);
    tcase_add_loop_test(tc, a_burst_is_its_packets_in_order, 0, (int)(sizeof(settings) / sizeof(settings[0])));
    tcase_add_test(tc, distinct_flows_of_every_number);
    tcase_add_test(tc, fragments_within_a_burst);
    tcase_add_test(tc, a_long_burst_makes_room);
    suite_add_tcase(s, tc);
}

int main(void)
{
    base_seed = seed_get("check_burst");
    now = (base_seed >> 12) + 1; /* some clocks begin at 0, but not for long */
    Suite *s = suite_create("burst");
    add_all(s, "twins", NULL);
    add_all(s, "twins, narrow", go_narrow);
    return suite_run(s);
}
