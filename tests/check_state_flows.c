/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check_state_flows: which bindings are saved and loaded, into vms of other sizes, on queues that come one by one.
 */
#include "bare.h" /* before a `vm` of our own */

#include "runner.h"
#include "saved.h"
#include "seed.h"

static uint64_t seed;
static struct rng rng;

/* n flows, each noted a second after the one before, but for `at_once` of them in each second. */
static void note_flows(uint32_t n, uint32_t at_once)
{
    for (uint32_t i = 0; i < n; i++) {
        ck_assert_uint_eq(note(tcp(i), i % PAIRS), FLOWQ_NOTE_BOUND);
        if (i % at_once == at_once - 1)
            now += SECOND + 80 * MS;
    }
}

/* ---- Which ones are saved -------------------------------------------------------------------------------------------------- */

static size_t bindings_bytes(const struct model_state *m)
{
    return (m->has[8] ? 24 + 8 * m->n_ages : 0) + 20 * m->n_bindings + 16 * m->n_sections;
}

START_TEST(newest_within_a_budget)
{
    const uint32_t n = 500, at_once = _i ? 7 : 1;
    note_flows(n, at_once);
    uint64_t most = 0;
    for (uint64_t budget = 0; budget < 20000; budget += rng_range(&rng, 1, 300)) {
        struct model_stream s = saved_parts(vm, FLOWQ_STATE_FLOWS, budget);
        struct model_state *m = read_model(&s);
        ck_assert_uint_le(bindings_bytes(m), budget);
        ck_assert_uint_eq(m->end_left_out, n - m->n_bindings);
        ck_assert_uint_ge(m->n_bindings + 1, most); /* more room, no fewer */
        most = m->n_bindings;
        if (budget > 100) /* the budget is used: an age, and the rest of a section, are all that can be left */
            ck_assert(m->n_bindings == n || bindings_bytes(m) + 28 + 16 + 1 > budget);
        struct flowq_vm_config c = defaults();
        struct flowq_vm *to = make_vm(&c);
        struct flowq_loaded l = load_stream(to, FLOWQ_STATE_FLOWS, &s);
        ck_assert_uint_eq(l.bindings, m->n_bindings);
        ck_assert_uint_eq(l.not_saved, n - m->n_bindings);
        uint32_t certain = (uint32_t)m->n_bindings / at_once * at_once, last = n % at_once;
        for (uint32_t i = 0; i < n; i++) { /* of one second's any may be left out */
            bool old = i + m->n_bindings + at_once < n, young = i >= n - (certain > at_once ? certain - at_once : 0) - last;
            ck_assert(!old || !knows(to, tcp(i)));
            ck_assert(!young || certain <= at_once || knows(to, tcp(i)));
        }
        flowq_vm_destroy(to);
        free_model(m);
        model_stream_free(&s);
    }
}
END_TEST

START_TEST(a_million_in_few_bytes)
{
    struct flowq_vm_config c = defaults();
    c.max_flows = 1 << 20;
    start(&c, PAIRS);
    const uint32_t n = (1 << 20) / SEED_SLOWNESS;
    for (uint32_t i = 0; i < n; i++) {
        (void)note(tcp(i), i % PAIRS);
        if (i % 1000 == 0)
            now += SECOND;
    }
    struct flowq_stats before = stats();
    struct model_stream s = saved_parts(vm, FLOWQ_STATE_FLOWS, FLOWQ_STATE_UNLIMITED);
    ck_assert_uint_eq(stats().live, before.live);
    ck_assert_uint_eq(stats().vm_bytes, before.vm_bytes);
    ck_assert_uint_le(s.n, before.live * 24);
    struct flowq_vm *to = make_vm(&c);
    struct flowq_loaded l = load_stream(to, FLOWQ_STATE_FLOWS, &s);
    ck_assert_uint_eq(l.bindings, before.live);
    for (uint32_t i = 0; i < n; i += 97)
        ck_assert(knows(to, tcp(i)) == knows(vm, tcp(i)));
    flowq_vm_destroy(to);
    model_stream_free(&s);
}
END_TEST

/* ---- Into another vm ------------------------------------------------------------------------------------------------------- */

START_TEST(smaller_max_flows_keeps_the_newest)
{
    const uint32_t n = 3000, most = 1000;
    struct flowq_vm_config c = defaults();
    note_flows(n, 5);
    struct model_stream s = saved(vm);
    c.max_flows = most;
    struct flowq_vm *to = make_vm(&c);
    struct flowq_loaded l = load_stream(to, FLOWQ_STATE_FLOWS, &s);
    ck_assert_uint_eq(l.bindings + l.no_room, n);
    ck_assert_uint_ge(l.bindings, most - 2); /* a place may be full */
    ck_assert_uint_le(l.bindings, most);
    uint32_t missing = 0;
    for (uint32_t i = 0; i < n; i++) {
        bool known = knows(to, tcp(i));
        ck_assert(i + 10 >= n - most || !known); /* flows of two of our seconds may be of one tick */
        missing += i >= n - most + 10 && !known;
    }
    ck_assert_uint_le(missing, most - l.bindings);
    flowq_vm_destroy(to);
    model_stream_free(&s);
}
END_TEST

/* Saved by a vm of so many pairs and flows, loaded by one of others. */
struct sizes {
    uint32_t pairs, max_flows, initial_flows;
};

START_TEST(between_sizes)
{
    static const struct sizes all[] = {{8, 65536, 0}, {2, 65536, 0},  {256, 65536, 65536}, {32768, 4096, 0},
                                       {4, 256, 0},   {16, 100, 100}, {1000, 1 << 20, 16}, {3, 8192, 64}};
    const struct sizes *from = &all[_i % 8], *into = &all[_i / 8];
    const uint32_t n = 60;
    struct flowq_vm_config c = defaults();
    c.max_queue_pairs = from->pairs;
    c.max_flows = from->max_flows;
    c.initial_flows = from->initial_flows;
    start(&c, from->pairs);
    for (uint32_t i = 0; i < n; i++)
        (void)note(tcp(i), i % from->pairs);
    struct model_stream s = saved(vm);
    c.max_queue_pairs = into->pairs;
    c.max_flows = into->max_flows;
    c.initial_flows = into->initial_flows;
    struct flowq_vm *to = make_vm(&c);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(to, into->pairs), 0);
    uint64_t bound = stats().live;
    struct flowq_loaded l = load_stream(to, FLOWQ_STATE_FLOWS, &s);
    ck_assert_uint_eq(l.bindings + l.other_queues, bound);
    struct flowq_vm *own = vm;
    for (uint32_t i = 0; i < n; i++) {
        bool was = knows(own, tcp(i)), fits = i % from->pairs < into->pairs;
        vm = to;
        if (was && fits)
            is_bound(tcp(i), i % from->pairs);
        else
            is_unbound(tcp(i));
        vm = own;
    }
    /* And it works as any vm does: new flows, more than there were. */
    vm = to;
    for (uint32_t i = 1000; i < 1000 + into->max_flows && i < 9000; i++)
        (void)note(tcp(i), i % into->pairs);
    ck_assert_uint_ge(stats().live + stats().displaced_established + stats().note[FLOWQ_NOTE_REFUSED], n < 50 ? n : 50);
    flowq_vm_reset(vm, FLOWQ_RESET_FLOWS);
    ck_assert_uint_eq(stats().live, 0);
    flowq_vm_destroy(to);
    vm = own;
    model_stream_free(&s);
}
END_TEST

/* A table of very small parts cannot become a large one: the hashes are not known well enough. */
START_TEST(from_very_small_parts)
{
    struct flowq_vm_config c = defaults();
    c.max_flows = 8;
    start(&c, PAIRS);
    for (uint32_t i = 0; i < 6; i++)
        note(tcp(i), i);
    uint64_t live = stats().live;
    struct model_stream s = saved(vm);
    for (c.max_flows = 8; c.max_flows <= 1 << 27; c.max_flows *= 2) {
        struct flowq_vm *to = make_vm(&c);
        struct flowq_loaded l = load_stream(to, FLOWQ_STATE_FLOWS, &s);
        ck_assert_uint_eq(l.bindings, c.max_flows <= 16384 * 8 ? live : 0);
        ck_assert_uint_eq(l.other_keys, live - l.bindings);
        flowq_vm_destroy(to);
    }
    model_stream_free(&s);
}
END_TEST

/* Those of the stream that this vm cannot have do not keep it from having the others; queues that are off are waited for. */
START_TEST(queues_that_wait)
{
    note_flows(64, 64);
    struct model_stream s = saved(vm);
    start(&(struct flowq_vm_config){.size = sizeof(struct flowq_vm_config), .clock_ns = test_clock, .max_queue_pairs = 6}, 1);
    struct flowq_loaded l = load_stream(vm, FLOWQ_STATE_FLOWS, &s);
    ck_assert_uint_eq(l.bindings, 48);
    ck_assert_uint_eq(l.other_queues, 16);
    ck_assert_int_eq(load_bytes(vm, FLOWQ_STATE_PAIRS, s.bytes, s.n, NULL), -EBUSY);
    flowq_vm_set_queue_pairs(vm, 3);
    for (uint32_t i = 0; i < 64; i++)
        ck_assert(i % 8 >= 3 || decide(tcp(i)).qid == i % 8);
    flowq_vm_set_queue_pairs(vm, 6);
    for (uint32_t i = 0; i < 64; i++)
        ck_assert(i % 8 >= 6 || decide(tcp(i)).qid == i % 8);
    struct flowq_vm_config c = defaults();
    c.max_queue_pairs = 6;
    struct flowq_vm *to = make_vm(&c);
    ck_assert_int_eq(load_bytes(to, FLOWQ_STATE_ALL, s.bytes, s.n, NULL), -ENOTSUP); /* eight pairs */
    ck_assert_uint_eq(load_stream(to, FLOWQ_STATE_ALL & ~FLOWQ_STATE_PAIRS, &s).bindings, 48);
    flowq_vm_destroy(to);
    model_stream_free(&s);
}
END_TEST

/* Of a flow that moves in order the queue that it goes to is saved, and nothing of the move: there it is in the next process,
   whose flows move in order or not, and whose words have as many bits for it or not. */
START_TEST(flows_on_the_move)
{
    static const uint32_t pairs[] = {8, 56, 57, 64, 1000, FLOWQ_MAX_QUEUE_PAIRS};
    struct flowq_vm_config c = defaults();
    enum { FLOWS = 40 };
    c.ordered = FLOWQ_ON;
    c.max_queue_pairs = pairs[_i];
    start(&c, PAIRS);
    for (uint32_t i = 0; i < FLOWS; i++) {
        (void)note(tcp(i), i % PAIRS);
        ck_assert_uint_eq(decide(tcp(i)).qid, i % PAIRS);
    }
    for (uint32_t q = 0; q < PAIRS; q++)
        ck_assert_int_eq(flowq_vm_ring_report(vm, q, 9, 1), 0);
    for (uint32_t i = 0; i < FLOWS; i++) {
        (void)note(tcp(i), (i + 1 + i / PAIRS) % PAIRS);
        ck_assert_uint_eq(decide(tcp(i)).qid, i % PAIRS);
    }
    ck_assert_uint_eq(stats().ordered_pending, FLOWS);
    struct model_stream s = saved(vm);
    for (unsigned k = 0; k < 3; k++) {
        struct flowq_vm_config next = defaults();
        next.ordered = k == 1 ? FLOWQ_OFF : FLOWQ_ON;
        next.max_queue_pairs = k == 2 ? PAIRS : pairs[_i];
        struct flowq_vm *own = vm;
        vm = make_vm(&next);
        ck_assert_uint_eq(load_stream(vm, FLOWQ_STATE_FLOWS, &s).bindings, FLOWS);
        flowq_vm_set_queue_pairs(vm, PAIRS);
        for (uint32_t i = 0; i < FLOWS; i++)
            is_bound(tcp(i), (i + 1 + i / PAIRS) % PAIRS);
        ck_assert_uint_eq(stats().ordered_begun, 0);
        for (uint32_t q = 0; q < PAIRS && k != 1; q++)
            ck_assert_int_eq(flowq_vm_ring_report(vm, q, 9, 1), 0);
        for (uint32_t i = 0; i < FLOWS; i++) {
            uint32_t noted = note(tcp(i), i % PAIRS), stays = k == 1 ? i % PAIRS : (i + 1 + i / PAIRS) % PAIRS;
            ck_assert_uint_eq(noted & FLOWQ_NOTE_OUTCOME, i / PAIRS + 1 == PAIRS ? FLOWQ_NOTE_REFRESHED : FLOWQ_NOTE_MOVED);
            is_bound(tcp(i), stays);
        }
        flowq_vm_destroy(vm);
        vm = own;
    }
    model_stream_free(&s);
}
END_TEST

START_TEST(other_keys)
{
    note_flows(50, 50);
    struct model_stream s = saved(vm);
    for (unsigned k = 0; k < 8; k++) {
        struct flowq_vm_config c = defaults();
        c.key_vlan = k == 1 ? FLOWQ_ON : 0;
        c.key_vni = k == 2 ? FLOWQ_ON : 0;
        c.tunnels = k == 3 || k == 5 ? (FLOWQ_TUNNEL_ALL & ~FLOWQ_TUNNEL_VXLAN) : 0;
        c.vxlan_port = k == 4 || k == 5 ? 5555 : 0;
        c.vlan_tpid = k == 6 ? 0x9400 : 0;
        c.no_learn = k == 7 ? FLOWQ_ON : 0; /* which is no setting of keys */
        struct flowq_vm *to = make_vm(&c);
        struct flowq_loaded l = load_stream(to, FLOWQ_STATE_ALL, &s);
        ck_assert_uint_eq(l.bindings, k == 0 || k == 7 ? 50 : 0);
        ck_assert_uint_eq(l.other_keys, 50 - l.bindings);
        struct flowq_vm *own = vm; /* the fallback is the same, whatever becomes of bindings */
        for (uint32_t i = 100; i < 140; i++) {
            struct flowq_decision a = decide(udp(i));
            vm = to;
            goes(decide(udp(i)), a.qid, FLOWQ_REASON_FALLBACK);
            vm = own;
        }
        flowq_vm_destroy(to);
    }
    model_stream_free(&s);
    /* The port of a tunnel that is off makes no difference. */
    struct flowq_vm_config c = defaults();
    c.tunnels = FLOWQ_TUNNEL_IPIP;
    start(&c, PAIRS);
    note_flows(50, 50);
    s = saved(vm);
    c.vxlan_port = 5555;
    struct flowq_vm *to = make_vm(&c);
    ck_assert_uint_eq(load_stream(to, FLOWQ_STATE_ALL, &s).bindings, 50);
    flowq_vm_destroy(to);
    model_stream_free(&s);
}
END_TEST

/* Keys that a later flowq made in another way: their bindings cannot be found, but the secret and the fallback are of use. */
START_TEST(keys_of_another_format)
{
    note_flows(50, 50);
    struct model_stream s = saved(vm);
    struct model_state *m = read_model(&s);
    for (unsigned k = 0; k < 24; k++) {
        struct flowq_vm_config c = defaults();
        struct flowq_vm *to = make_vm(&c), *own = vm;
        struct model_stream made = {.bytes = NULL};
        m->key_format = k % 6 == 0 ? 1 : k % 6 == 1 ? 0 : k % 6 == 2 ? UINT32_MAX : 2 + rng_below(&rng, 1000000);
        m->key_zero = k / 6 % 2 ? 1 + rng_below(&rng, 0xffff) : 0;
        m->key_more = k / 12 ? 1 + rng_below(&rng, 300) : 0;
        model_state_write(m, &made);
        if (m->key_format == 1 && (m->key_zero || m->key_more)) {
            ck_assert_int_eq(load_bytes(to, FLOWQ_STATE_ALL, made.bytes, made.n, NULL), -EBADMSG);
        } else {
            struct flowq_loaded l = load_stream(to, FLOWQ_STATE_ALL, &made);
            ck_assert_uint_eq(l.other_keys, m->key_format == 1 ? 0 : 50);
            ck_assert_uint_eq(l.bindings, 50 - l.other_keys);
            for (uint32_t i = 100; i < 140; i++) {
                uint16_t qid = decide(udp(i)).qid;
                vm = to;
                goes(decide(udp(i)), qid, FLOWQ_REASON_FALLBACK);
                vm = own;
            }
        }
        model_stream_free(&made);
        flowq_vm_destroy(to);
    }
    free_model(m);
    model_stream_free(&s);
}
END_TEST

/* ---- The fallback ---------------------------------------------------------------------------------------------------------- */

enum { UNBOUND = 400 };

static void fallbacks(uint16_t qid[UNBOUND])
{
    for (uint32_t i = 0; i < UNBOUND; i++)
        qid[i] = decide(udp(5000 + i)).qid;
}

/* A vhost-user front end: no rings, then one after the other, in any order. The history that the slots have does not matter. */
START_TEST(rings_come_one_by_one)
{
    uint16_t before[UNBOUND], after[UNBOUND];
    struct flowq_vm_config c = defaults();
    rng.state = seed + (uint64_t)_i;
    uint32_t pairs = rng_range(&rng, 2, 20), order[20];
    c.max_queue_pairs = _i % 2 ? 20 : 64;
    start(&c, c.max_queue_pairs);
    for (unsigned i = 0; i < 30; i++)
        flowq_vm_set_queue_enabled(vm, rng_below(&rng, 20), rng_percent(&rng, 50));
    for (uint32_t q = 0; q < c.max_queue_pairs; q++) {
        flowq_vm_set_queue_enabled(vm, q, q < pairs);
        if (q < pairs)
            order[q] = q;
    }
    fallbacks(before);
    struct model_stream s = saved_parts(vm, FLOWQ_STATE_FLOWS, 0);
    c.max_queue_pairs = _i % 3 ? c.max_queue_pairs : 256;
    start(&c, c.max_queue_pairs);
    ck_assert_uint_eq(load_stream(vm, FLOWQ_STATE_FLOWS, &s).parts, FLOWQ_STATE_FLOWS);
    flowq_vm_set_queue_enabled(vm, FLOWQ_ALL_QUEUES, false);
    for (uint32_t i = pairs; i-- > 1;) {
        uint32_t j = rng_below(&rng, i + 1), swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    for (uint32_t i = 0; i < pairs; i++)
        flowq_vm_set_queue_enabled(vm, order[i], true);
    fallbacks(after);
    if (c.max_queue_pairs != 256) {
        ck_assert_mem_eq(before, after, sizeof(before));
    } else { /* more slots: the same but for what evens their number out */
        uint32_t moved = 0;
        for (uint32_t i = 0; i < UNBOUND; i++)
            moved += before[i] != after[i];
        ck_assert_uint_le(moved, UNBOUND / 8);
    }
    /* From here on it is steady again: a queue that goes takes only its own flows along, and brings them back. */
    uint32_t gone = order[0];
    flowq_vm_set_queue_enabled(vm, gone, false);
    fallbacks(before);
    for (uint32_t i = 0; pairs > 2 && i < UNBOUND; i++)
        ck_assert(before[i] == after[i] || after[i] == gone);
    model_stream_free(&s);
}
END_TEST

/* Slots that nobody balanced, or that name queues that are not there. */
START_TEST(slots_of_a_stranger)
{
    struct model_stream s = saved_parts(vm, FLOWQ_STATE_FLOWS, 0);
    struct model_state *m = read_model(&s);
    for (unsigned kind = 0; kind < 6; kind++) {
        m->n_slots = kind == 5 ? 65536 : 1u << rng_below(&rng, 12);
        for (uint32_t i = 0; i < m->n_slots; i++)
            m->slot[i] = (uint16_t)(kind == 0   ? 0
                                    : kind == 1 ? 0xffff
                                    : kind == 2 ? rng_next(&rng)
                                    : kind == 3 ? i == 0
                                    : kind == 4 ? rng_below(&rng, 300)
                                                : rng_below(&rng, 3));
        struct model_stream made = {.bytes = NULL};
        model_state_write(m, &made);
        start(&(struct flowq_vm_config){.size = sizeof(struct flowq_vm_config), .clock_ns = test_clock}, PAIRS);
        ck_assert_uint_eq(load_stream(vm, FLOWQ_STATE_ALL, &made).parts, FLOWQ_STATE_FLOWS);
        for (uint32_t n = 1; n <= 16; n++) {
            flowq_vm_set_queue_pairs(vm, n);
            uint32_t of[16] = {0}, slots = queues_n_slots(&vm->queues);
            for (uint32_t i = 0; n > 1 && i < slots; i++)
                of[queues_slot(&vm->queues, i)]++;
            for (uint32_t q = 0; n > 1 && q < n; q++)
                ck_assert(of[q] == slots / n || of[q] == slots / n + 1);
        }
        model_stream_free(&made);
    }
    free_model(m);
    model_stream_free(&s);
}
END_TEST

/* ---- Times ----------------------------------------------------------------------------------------------------------------- */

START_TEST(binding_times)
{
    struct flowq_vm_config c = defaults();
    c.rebind_min_tcp_us = 500000;
    c.rebind_min_other_us = 500000;
    for (uint64_t bound_ms = 0; bound_ms < 3000; bound_ms += 50) {
        now = 1000 * SECOND + 17 * bound_ms * MS;
        start(&c, PAIRS);
        note(tcp(1), 3);
        now += bound_ms * MS;
        note(tcp(1), 3);
        if (bound_ms == 400)
            continue; /* just that, to a tick */
        struct model_stream s = saved(vm);
        now = rng_next(&rng) >> 8; /* another boot's clock */
        start(&c, PAIRS);
        load_stream(vm, FLOWQ_STATE_ALL, &s);
        now += 100 * MS;
        uint32_t outcome = note(tcp(1), 4);
        ck_assert_uint_eq(outcome, bound_ms + 100 > 500 ? FLOWQ_NOTE_MOVED : FLOWQ_NOTE_SUPPRESSED);
        model_stream_free(&s);
    }
}
END_TEST

START_TEST(classes_and_ages)
{
    now = 5000 * SECOND;
    note_flags(tcp(1), FRAME_SYN, unlike_fallback(tcp(1)));
    note(tcp(2), 2);
    note_flags(tcp(3), FRAME_FIN | FRAME_ACK, 3);
    now += 3000 * SECOND; /* beyond what a tick can tell: they are young again, in both */
    note(tcp(4), 4);
    now += 1500 * SECOND;
    note(tcp(5), 5);
    now += 2 * SECOND;
    struct flowq_binding a[6], b;
    for (uint32_t i = 1; i <= 5; i++)
        ck_assert_int_eq(lookup(tcp(i), &a[i]), 0);
    struct model_stream s = saved(vm);
    now = 77;
    struct flowq_vm_config c = defaults();
    start(&c, 1);
    load_stream(vm, FLOWQ_STATE_ALL, &s);
    for (uint32_t i = 1; i <= 5; i++) {
        ck_assert_int_eq(lookup(tcp(i), &b), 0);
        ck_assert(a[i].cls == b.cls && a[i].qid == b.qid && a[i].age_ms == b.age_ms && a[i].id == b.id);
    }
    model_stream_free(&s);
}
END_TEST

/* ---- Hashes of somebody who knows the secret ------------------------------------------------------------------------------- */

START_TEST(hashes_that_meet)
{
    struct model_stream s = saved(vm);
    struct model_state *m = read_model(&s);
    const uint32_t n = 3000;
    m->bindings = calloc(n, sizeof(*m->bindings));
    m->in_section = calloc(1, sizeof(*m->in_section));
    m->in_section[0] = n;
    m->n_sections = 1;
    m->has[9] = true;
    m->n_bindings = m->end_bindings = n;
    m->n_ages = 1;
    m->age[0] = 0;
    m->of_age[0] = _i % 2 ? UINT32_MAX : 1; /* which is a lie */
    for (uint32_t i = 0; i < n; i++) {
        uint64_t top = _i < 2 ? i : _i < 4 ? 5 : i % 16; /* alike but for the last bits; in one line; a few again and again */
        m->bindings[i] =
            (struct model_binding){(top << m->low) + (_i < 4 ? UINT64_C(1) << 63 : UINT64_C(1) << 40), 0, 0, i % PAIRS, 2};
        if (_i == 2 || _i == 3)
            m->bindings[i].hash += (uint64_t)i << 45;
    }
    struct model_stream made = {.bytes = NULL};
    model_state_write(m, &made);
    struct flowq_vm_config c = defaults();
    c.max_flows = 4096;
    start(&c, PAIRS);
    struct flowq_loaded l = load_stream(vm, FLOWQ_STATE_ALL, &made);
    ck_assert_uint_le(l.bindings + l.no_room, n);
    ck_assert_uint_eq(l.bindings, stats().live);
    ck_assert(_i < 4 || l.bindings <= 16);
    struct flowq_stats t = stats();
    ck_assert_uint_lt(t.table_bytes, 300000); /* as bounded as by notes: max_flows 4096 */
    ck_assert_uint_eq(t.retired_bytes, 0);
    free_model(m);
    model_stream_free(&made);
    model_stream_free(&s);
}
END_TEST

int main(void)
{
    seed = seed_get("check_state_flows");
    rng.state = seed;
    Suite *s = suite_create("state_flows");
    TCase *c = tcase_create("state_flows");
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_set_timeout(c, 300);
    tcase_add_loop_test(c, newest_within_a_budget, 0, 2);
    tcase_add_test(c, a_million_in_few_bytes);
    tcase_add_test(c, smaller_max_flows_keeps_the_newest);
    tcase_add_loop_test(c, between_sizes, 0, 64);
    tcase_add_test(c, from_very_small_parts);
    tcase_add_test(c, queues_that_wait);
    tcase_add_loop_test(c, flows_on_the_move, 0, 6);
    tcase_add_test(c, other_keys);
    tcase_add_test(c, keys_of_another_format);
    tcase_add_loop_test(c, rings_come_one_by_one, 0, 24);
    tcase_add_test(c, slots_of_a_stranger);
    tcase_add_test(c, binding_times);
    tcase_add_test(c, classes_and_ages);
    tcase_add_loop_test(c, hashes_that_meet, 0, 6);
    suite_add_tcase(s, c);
    return suite_run(s);
}
