/*
 * check_look: what can be asked of a vm: one flow, all flows, statistics, names. Sizes of output structs from other versions.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <errno.h>
#include <stdio.h>

#include "batch.h"
#include "stats.h"
#include "vm.h" /* before there is a vm by this name */

#include "example.h"
#include "runner.h"

START_TEST(lookup_errors)
{
    struct flowq_binding b = {.size = sizeof(b)};
    struct flowq_tuple sent = tcp(1), good = tuple_reverse(&sent), t;
    ck_assert_int_eq(flowq_vm_lookup(vm, &good, &b), -ENOENT);
    note(tcp(1), 3);
    ck_assert_int_eq(flowq_vm_lookup(vm, &good, &b), 0);
    ck_assert_uint_eq(b.size, sizeof(b));
    ck_assert_int_eq(flowq_vm_lookup(NULL, &good, &b), -EINVAL);
    ck_assert_int_eq(flowq_vm_lookup(vm, NULL, &b), -EINVAL);
    ck_assert_int_eq(flowq_vm_lookup(vm, &good, NULL), -EINVAL);
    for (uint32_t version = 0; version < 256; version++) {
        t = good;
        t.version = (uint8_t)version;
        if (version != 4)
            ck_assert_int_eq(flowq_vm_lookup(vm, &t, &b), version == 6 ? -ENOENT : -EINVAL);
    }
    for (unsigned i = 4; i < 16; i++) { /* what would be an address of IPv6 */
        t = good;
        t.src[i] = 1;
        ck_assert_int_eq(flowq_vm_lookup(vm, &t, &b), -EINVAL);
        t.version = 6;
        ck_assert_int_eq(flowq_vm_lookup(vm, &t, &b), -ENOENT);
        t = good;
        t.dst[i] = 0x80;
        ck_assert_int_eq(flowq_vm_lookup(vm, &t, &b), -EINVAL);
    }
    t = good;
    t.n_vlans = FLOWQ_MAX_VLANS + 1;
    ck_assert_int_eq(flowq_vm_lookup(vm, &t, &b), -EINVAL);
    t = good;
    t.n_vlans = 1;
    t.vlan[0] = 0x1000;
    ck_assert_int_eq(flowq_vm_lookup(vm, &t, &b), -EINVAL);
    t = good;
    t.reserved = 1;
    ck_assert_int_eq(flowq_vm_lookup(vm, &t, &b), -EINVAL);
    t = good;
    t.vni = 1; /* of which network? */
    ck_assert_int_eq(flowq_vm_lookup(vm, &t, &b), -EINVAL);
    t.has_vni = 1;
    ck_assert_int_eq(flowq_vm_lookup(vm, &t, &b), 0); /* without key_vni it does not matter */
    t.has_vni = 2;
    ck_assert_int_eq(flowq_vm_lookup(vm, &t, &b), -EINVAL);
    struct {
        struct flowq_binding b;
        uint8_t behind[16];
    } out;
    for (uint32_t size = 0; size <= sizeof(out); size++) {
        memset(&out, 0x77, sizeof(out));
        out.b.size = size;
        ck_assert_int_eq(flowq_vm_lookup(vm, &good, &out.b), size < 8 ? -EINVAL : 0); /* what is written: check_sized */
        if (size >= sizeof(out.b))
            ck_assert_uint_eq(out.b.size, sizeof(out.b));
        for (unsigned i = 0; i < sizeof(out.behind); i++)
            ck_assert_uint_eq(out.behind[i], 0x77);
    }
}
END_TEST

static int stop_at(void *ctx, const struct flowq_binding *b)
{
    uint32_t *left = ctx;
    ck_assert_uint_eq(b->size, sizeof(*b));
    ck_assert_uint_lt(b->qid, 4); /* the queues below */
    ck_assert_uint_eq(b->in_use, 1);
    return --*left == 0 ? 4711 : 0;
}

START_TEST(iteration)
{
    uint32_t left = 1;
    ck_assert_int_eq(flowq_vm_flows(NULL, stop_at, &left), -EINVAL);
    ck_assert_int_eq(flowq_vm_flows(vm, NULL, &left), -EINVAL);
    ck_assert_int_eq(flowq_vm_flows(vm, stop_at, &left), 0);
    for (uint32_t i = 0; i < 5000; i++)
        ck_assert_uint_eq(note(tcp(i), i % 4), FLOWQ_NOTE_BOUND);
    left = 5001;
    ck_assert_int_eq(flowq_vm_flows(vm, stop_at, &left), 0);
    ck_assert_uint_eq(left, 1); /* each once */
    left = 17;
    ck_assert_int_eq(flowq_vm_flows(vm, stop_at, &left), 4711);
    ck_assert_uint_eq(left, 0);
}
END_TEST

START_TEST(statistics_up_to_the_callers_size)
{
    struct {
        struct flowq_stats s;
        uint8_t behind[32];
    } all = {.s = {.size = sizeof(struct flowq_stats)}}, part;
    note(tcp(1), 3);
    decide(tcp(1));
    ck_assert_int_eq(flowq_vm_stats(NULL, &all.s), -EINVAL);
    ck_assert_int_eq(flowq_vm_stats(vm, NULL), -EINVAL);
    ck_assert_int_eq(flowq_vm_stats(vm, &all.s), 0);
    ck_assert_uint_eq(all.s.size, sizeof(all.s));
    ck_assert_uint_eq(all.s.note[FLOWQ_NOTE_BOUND], 1);
    ck_assert_uint_eq(all.s.steer[FLOWQ_REASON_BOUND], 2);
    ck_assert_uint_gt(all.s.vm_bytes, all.s.table_bytes);
    for (uint32_t size = 0; size <= sizeof(part); size++) {
        memset(&part, 0x77, sizeof(part));
        part.s.size = size;
        ck_assert_int_eq(flowq_vm_stats(vm, &part.s), size < 8 ? -EINVAL : 0);
        uint32_t written = size < 8 ? 4 : size < sizeof(part.s) ? size : (uint32_t)sizeof(part.s);
        if (size >= 8) {
            ck_assert_uint_eq(part.s.size, written);
            ck_assert_mem_eq((char *)&part + 4, (char *)&all + 4, written - 4);
        }
        for (uint32_t i = written; i < sizeof(part); i++)
            ck_assert_uint_eq(((uint8_t *)&part)[i], 0x77);
    }
}
END_TEST

START_TEST(statistics_of_queues)
{
    struct flowq_vm_config c = defaults();
    struct flowq_queue_stats q = {.size = sizeof(q)};
    for (unsigned on = 0; on < 2; on++) {
        c.queue_stats = on ? FLOWQ_ON : FLOWQ_OFF;
        start(&c, PAIRS);
        note(tcp(1), 3);
        note(tcp(1), 3);
        note(tcp(1), 2);
        note(tcp(2), 9);
        decide(tcp(1));
        q.size = sizeof(q);
        ck_assert_int_eq(flowq_vm_queue_stats(vm, 3, &q), 0);
        ck_assert_uint_eq(q.noted, on ? 2 : 0);
        ck_assert_uint_eq(q.in_use, 1);
        ck_assert_int_eq(flowq_vm_queue_stats(vm, 2, &q), 0);
        ck_assert_uint_eq(q.noted, on ? 1 : 0);
        ck_assert_uint_eq(q.steered, on ? 2 : 0);
        ck_assert_int_eq(flowq_vm_queue_stats(vm, 9, &q), 0);
        ck_assert_uint_eq(q.in_use + q.noted, 0);
        ck_assert_int_eq(flowq_vm_queue_stats(vm, 256, &q), -EINVAL);
        ck_assert_int_eq(flowq_vm_queue_stats(NULL, 0, &q), -EINVAL);
        ck_assert_int_eq(flowq_vm_queue_stats(vm, 0, NULL), -EINVAL);
        q.size = 7;
        ck_assert_int_eq(flowq_vm_queue_stats(vm, 0, &q), -EINVAL);
        q.size = 8;
        q.noted = 4711;
        ck_assert_int_eq(flowq_vm_queue_stats(vm, 3, &q), 0);
        ck_assert_uint_eq(q.noted, 4711);
        ck_assert_uint_eq(q.size, 8);
    }
}
END_TEST

START_TEST(names_and_version)
{
    for (uint32_t i = 0; i < 200; i++) {
        ck_assert_int_eq(strcmp(flowq_note_name(i), "unknown") == 0, i > FLOWQ_NOTE_UNREGISTERED);
        ck_assert_int_eq(strcmp(flowq_reason_name(i), "unknown") == 0, i > FLOWQ_REASON_RSS);
        ck_assert_int_eq(strcmp(flowq_class_name(i), "unknown") == 0, i < 1 || i > FLOWQ_CLASS_CLOSING);
    }
    ck_assert_str_eq(flowq_note_name(UINT32_MAX), "unknown");
    ck_assert_str_eq(flowq_reason_name(FLOWQ_REASON_ICMP_ERROR), "icmp-error");
    ck_assert_uint_eq(flowq_version(), FLOWQ_VERSION);
    char text[32];
    snprintf(text, sizeof(text), "%d.%d.%d", FLOWQ_VERSION_MAJOR, FLOWQ_VERSION_MINOR, FLOWQ_VERSION_PATCH);
    ck_assert_str_eq(flowq_version_string(), text);
}
END_TEST

START_TEST(queues_noted_lately)
{
    for (uint32_t q = 0; q < 5; q++)
        note(tcp(q), q);
    ck_assert_uint_eq(stats().queues_noted, 5);
    now += 30 * SECOND; /* active_ms is 10 s */
    ck_assert_uint_eq(stats().queues_noted, 0);
    note(tcp(1), 1);
    ck_assert_uint_eq(stats().queues_noted, 1);
}
END_TEST

enum { A_FEW = BATCH_FEW + 1 }; /* packets in a burst, up to one more than have a way of their own */

/* Flow tcp(1) of queue `qid` among n others of queue 5, each of which is bound, if others are. */
static void steered_among_others(unsigned n, unsigned at, uint32_t qid, bool others_bound)
{
    struct flowq_decision decided[A_FEW];
    struct flowq_pkt pkts[A_FEW] = {{.data = NULL}};
    struct frame frames[A_FEW];
    uint16_t qids[A_FEW];
    for (unsigned i = 0; i < n; i++) {
        struct flowq_tuple sent = tcp(i == at ? 1 : (others_bound ? 100 : 200) + i), in = tuple_reverse(&sent);
        frame_flow(&frames[i], &in, FRAME_ACK);
        pkts[i] = frame_pkt(&frames[i]);
    }
    flowq_rx_steer_burst(vm, pkts, n, qids);
    flowq_rx_decide_burst(vm, pkts, n, decided);
    for (unsigned i = 0; i < n; i++) {
        ck_assert_uint_eq(decided[i].qid, qids[i]);
        if (i == at || others_bound)
            goes(decided[i], i == at ? qid : 5, FLOWQ_REASON_BOUND);
        else
            ck_assert_uint_eq(decided[i].reason, FLOWQ_REASON_FALLBACK);
    }
}

static void noted_among_others(unsigned n, unsigned at, uint32_t qid)
{
    struct flowq_pkt pkts[A_FEW] = {{.data = NULL}};
    struct frame frames[A_FEW];
    for (unsigned i = 0; i < n; i++) {
        struct flowq_tuple sent = tcp(i == at ? 1 : 300 + i);
        frame_flow(&frames[i], &sent, FRAME_ACK);
        pkts[i] = frame_pkt(&frames[i]);
    }
    struct flowq_stats before = stats(), after;
    flowq_tx_note_burst(vm, pkts, n, qid);
    after = stats();
    uint64_t noted = 0;
    for (unsigned outcome = 0; outcome <= FLOWQ_NOTE_MOVED; outcome++)
        noted += after.note[outcome] - before.note[outcome];
    ck_assert_uint_eq(noted, n);
    for (unsigned i = 0; i < n; i++)
        is_bound(tcp(i == at ? 1 : 300 + i), qid);
}

/* Calls for one packet, or a few, look for upper halves of words first. A flow with the same one before it takes nothing from
   it. */
START_TEST(the_same_upper_half)
{
    struct line *line = NULL;
    note(tcp(1), 3);
    struct shard *s = table_shard(&vm->table, 0); /* the only one */
    unsigned at = 0;
    for (uint32_t i = 0; i <= vm->table.line_mask && !line; i++)
        for (at = 0; at < LINE_SLOTS && !line; at++)
            if (u64_load_relaxed(&shard_line(s, i)->slot[at]) != 0)
                line = shard_line(s, i);
    ck_assert_ptr_nonnull(line);
    const uint64_t word = u64_load_relaxed(&line->slot[at - 1]), lower = UINT64_C(1) << 31;
    ck_assert((vm->table.tag_mask & lower) != 0);
    const uint64_t other = (word ^ lower) & ~((uint64_t)vm->table.queue_mask << WORD_QUEUE_SHIFT);
    u64_store_relaxed(&line->slot[0], other); /* on queue 0 */
    u64_store_relaxed(&line->slot[1], word);
    is_bound(tcp(1), 3);
    ck_assert_uint_eq(note(tcp(1), 3), FLOWQ_NOTE_REFRESHED);
    ck_assert_uint_eq(note(tcp(1), 2), FLOWQ_NOTE_MOVED);
    is_bound(tcp(1), 2);
    for (uint32_t i = 0; i < A_FEW; i++)
        note(tcp(100 + i), 5);
    for (unsigned n = 2; n <= A_FEW; n++) {
        for (unsigned i = 0; i < n; i++) {
            steered_among_others(n, i, 2, true);
            steered_among_others(n, i, 2, false);
            noted_among_others(n, i, 1); /* first all of them change something, then none does */
            noted_among_others(n, i, 1);
            is_bound(tcp(1), 1);
            ck_assert_uint_eq(note(tcp(1), 2), FLOWQ_NOTE_MOVED);
        }
    }
    ck_assert_uint_eq(u64_load_relaxed(&line->slot[0]), other);
}
END_TEST

/* The last stripe is for all who have none of their own: only there do threads meet. */
START_TEST(stripes_of_counters)
{
    static struct stats all;
    ck_assert_uint_eq(stats_stripe(NULL), STATS_STRIPES - 1);
    for (uint32_t i = 0; i < 3 * STATS_STRIPES; i++) {
        struct thread t = {.index = i};
        t.stripe_at = stats_stripe_at(&t);
        uint32_t at = i < STATS_STRIPES - 1 ? i : STATS_STRIPES - 1;
        struct tally tally = stats_tally(&all, &t);
        ck_assert_ptr_eq(tally.counter, all.stripe[at].counter);
        ck_assert(tally.shared == (at == STATS_STRIPES - 1));
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("look");
    TCase *tc = tcase_create("look");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, lookup_errors);
    tcase_add_test(tc, iteration);
    tcase_add_test(tc, statistics_up_to_the_callers_size);
    tcase_add_test(tc, statistics_of_queues);
    tcase_add_test(tc, names_and_version);
    tcase_add_test(tc, queues_noted_lately);
    tcase_add_test(tc, the_same_upper_half);
    tcase_add_test(tc, stripes_of_counters);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
