/*
 * check_vm: making and changing vms. Every error that flowq.h documents; that nothing is changed by a call that fails;
 * sizes of structs from other versions. Memory is in check_memory, what can be asked in check_look.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "epoch.h"
#include "frames.h"
#include "runner.h"
#include "seed.h"
#include "vm.h"

#define MS UINT64_C(1000000)

static uint64_t now_ns = 1000000 * MS;

static uint64_t test_clock(void *ctx)
{
    (void)ctx;
    return now_ns;
}

static struct flowq_vm_config config(void)
{
    struct flowq_vm_config c = {.size = sizeof(c), .clock_ns = test_clock};
    return c;
}

/* What creation answers; the vm is unmade again. */
static int try_create(const struct flowq_vm_config *c)
{
    struct flowq_vm *vm = (void *)&vm;
    int r = flowq_vm_create(c, &vm);
    if (r)
        ck_assert_ptr_null(vm);
    else
        ck_assert_ptr_nonnull(vm);
    flowq_vm_destroy(vm);
    return r;
}

static struct flowq_vm *create(const struct flowq_vm_config *c)
{
    struct flowq_vm *vm;
    ck_assert_int_eq(flowq_vm_create(c, &vm), 0);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, 4), 0);
    return vm;
}

static uint32_t note(struct flowq_vm *vm, uint32_t i, uint32_t qid)
{
    struct flowq_tuple t = tuple_v4(FRAME_PROTO_TCP, 1, 80, i + 2, 1024);
    struct frame f;
    frame_flow(&f, &t, FRAME_ACK);
    struct flowq_pkt pkt = frame_pkt(&f);
    return flowq_tx_note(vm, &pkt, qid);
}

static struct flowq_decision decide(struct flowq_vm *vm, uint32_t i)
{
    struct flowq_tuple t = tuple_v4(FRAME_PROTO_TCP, i + 2, 1024, 1, 80);
    struct frame f;
    struct flowq_decision d;
    frame_flow(&f, &t, FRAME_ACK);
    struct flowq_pkt pkt = frame_pkt(&f);
    flowq_rx_decide_burst(vm, &pkt, 1, &d);
    return d;
}

/* ---- Settings -------------------------------------------------------------------------------------------------------------- */

START_TEST(create_wants_somewhere_to_put_it)
{
    struct flowq_vm_config c = config();
    ck_assert_int_eq(flowq_vm_create(&c, NULL), -EINVAL);
    ck_assert_int_eq(flowq_vm_create(NULL, NULL), -EINVAL);
    ck_assert_int_eq(try_create(NULL), 0);
    flowq_vm_destroy(NULL);
}
END_TEST

/* The struct as another version may have it: `extra` bytes more. */
struct grown_config {
    struct flowq_vm_config known;
    uint8_t tail[64];
};

START_TEST(sizes_of_configurations)
{
    struct grown_config g = {.known = config()};
    struct flowq_vm *vm = create(&g.known);
    for (uint32_t size = 0; size < sizeof(g.known); size++) { /* of version 0.9 */
        g.known.size = size;
        ck_assert_int_eq(try_create(&g.known), -EINVAL);
        ck_assert_int_eq(flowq_vm_configure(vm, &g.known), -EINVAL);
    }
    for (uint32_t extra = 0; extra <= sizeof(g.tail); extra++) {
        g.known.size = (uint32_t)sizeof(g.known) + extra;
        ck_assert_int_eq(try_create(&g.known), 0); /* asks for nothing that we do not know */
        ck_assert_int_eq(flowq_vm_configure(vm, &g.known), 0);
        if (extra == 0)
            continue;
        g.tail[extra - 1] = 1;
        ck_assert_int_eq(try_create(&g.known), -E2BIG);
        ck_assert_int_eq(flowq_vm_configure(vm, &g.known), -E2BIG);
        g.known.size--; /* behind what the caller has: not looked at */
        ck_assert_int_eq(try_create(&g.known), 0);
        g.tail[extra - 1] = 0;
    }
    flowq_vm_destroy(vm);
}
END_TEST

struct range {
    const char *name;
    size_t offset;
    bool wide, create_only, has_off;
    uint32_t min, max;
};

#define RANGE(field, ...)                                                                                                        \
    {                                                                                                                            \
#field, offsetof(struct flowq_vm_config, field), sizeof(((struct flowq_vm_config *)0)->field) == 4, __VA_ARGS__          \
    }
static const struct range ranges[] = {
    RANGE(max_queue_pairs, true, false, 1, FLOWQ_MAX_QUEUE_PAIRS),
    RANGE(max_flows, true, false, 8, 1 << 27),
    RANGE(initial_flows, true, false, 1, 65536), /* the default of max_flows */
    RANGE(no_learn, false, true, FLOWQ_ON, FLOWQ_ON),
    RANGE(key_vlan, false, true, FLOWQ_ON, FLOWQ_ON),
    RANGE(key_vni, false, true, FLOWQ_ON, FLOWQ_ON),
    RANGE(tunnels, false, true, 1, FLOWQ_TUNNEL_ERSPAN * 2 - 1), /* check_refused has FLOWQ_TUNNEL_ALL */
    RANGE(fragments, true, true, 8, 65536),
    RANGE(vxlan_port, false, false, 1, 65535),
    RANGE(vxlan_linux_port, false, false, 1, 65535),
    RANGE(vxlan_gpe_port, false, false, 1, 65535),
    RANGE(geneve_port, false, false, 1, 65535),
    RANGE(gtpu_port, false, false, 1, 65535),
    RANGE(gre_udp_port, false, false, 1, 65535),
    RANGE(gue_port, false, false, 1, 65535),
    RANGE(mpls_udp_port, false, false, 1, 65535),
    RANGE(vlan_tpid, false, false, 1536, 65535),
    RANGE(rebind_min_tcp_us, false, true, 1000, 1000000),
    RANGE(rebind_min_other_us, false, true, 1000, 1000000),
    RANGE(active_ms, false, false, 80, 600000),
    RANGE(idle_ms, false, false, 10000, 2000000), /* the default of active_ms */
    RANGE(queue_stats, true, true, FLOWQ_ON, FLOWQ_ON),
    RANGE(numa_node, true, false, 1, 1024),
    RANGE(ordered, true, true, FLOWQ_ON, FLOWQ_ON),
    RANGE(ordered_max_us, true, false, 100, 1000000),
    RANGE(ordered_settle_us, true, true, 10, 100000),
    RANGE(ordered_flows, true, false, 8, 65536),
};
#define N_RANGES ((int)(sizeof(ranges) / sizeof(ranges[0])))

/* Those of the guest's device; check_refused has them. */
static const char *const without_range[] = {"virtio_hash_types", "virtio_hash_tunnels", "virtio_max_key", "virtio_max_table",
                                            "virtio_big_endian"};

START_TEST(each_setting_has_its_range)
{
    for (size_t i = 0; i < config_n_limits; i++) {
        bool found = false;
        for (int j = 0; j < N_RANGES; j++)
            found = found || strcmp(ranges[j].name, config_limits[i].name) == 0;
        for (size_t j = 0; j < sizeof(without_range) / sizeof(without_range[0]); j++)
            found = found || strcmp(without_range[j], config_limits[i].name) == 0;
        ck_assert_msg(found, "%s: no range here", config_limits[i].name);
    }
}
END_TEST

static void set(struct flowq_vm_config *c, const struct range *r, uint32_t value)
{
    uint16_t narrow = (uint16_t)value;
    memcpy((char *)c + r->offset, r->wide ? (void *)&value : (void *)&narrow, r->wide ? 4 : 2);
}

static void take(const struct range *r, uint32_t value, int expected)
{
    struct flowq_vm_config c = config(), base = config();
    base.rebind_min_tcp_us = base.rebind_min_other_us = 1000; /* so that they may change */
    base.active_ms = 80;                                      /* so that the tick is short */
    struct flowq_vm *vm = create(&base);
    set(&c, r, value);
    int r1 = try_create(&c), r2 = flowq_vm_configure(vm, &c);
    ck_assert_msg(r1 == expected, "%s = %u: create %d, not %d", r->name, value, r1, expected);
    if (!r->create_only)
        ck_assert_msg(r2 == expected, "%s = %u: configure %d, not %d", r->name, value, r2, expected);
    else
        ck_assert_msg(r2 == 0, "%s = %u: configure %d, although it does not look at that", r->name, value, r2);
    flowq_vm_destroy(vm);
}

START_TEST(ranges_of_settings)
{
    const struct range *r = &ranges[_i];
    take(r, 0, 0); /* the default */
    take(r, r->min, 0);
    take(r, r->max, 0);
    if (r->min > 1)
        take(r, r->min - 1, -EINVAL);
    if (r->wide) {
        if (r->offset != offsetof(struct flowq_vm_config, numa_node)) /* no documented maximum */
            take(r, r->max + 1, -EINVAL);
        take(r, FLOWQ_OFF - 1, -EINVAL);
        take(r, FLOWQ_OFF, r->has_off ? 0 : -EINVAL);
    }
}
END_TEST

/* A setting that may change changes something of the vm: one that config.c knows and vm.c does not take would change nothing. */
START_TEST(settings_reach_the_vm)
{
    const struct config_limit *l = &config_limits[_i];
    struct flowq_vm_config c = config();
    c.rebind_min_tcp_us = c.rebind_min_other_us = 2000; /* so that they may change */
    c.active_ms = 100;
    c.idle_ms = 1000; /* its default and its maximum are the same in ticks as short as these */
    if (l->fixed)
        return;
    struct flowq_vm *vm = create(&c);
    unsigned char *before = malloc(sizeof(*vm));
    ck_assert_ptr_nonnull(before);
    ck_assert_int_eq(flowq_vm_configure(vm, &c), 0);
    memcpy(before, (const void *)vm, sizeof(*vm));
    ck_assert_int_eq(flowq_vm_configure(vm, &c), 0);
    ck_assert_msg(memcmp(before, (const void *)vm, sizeof(*vm)) == 0, "the same settings change something");
    struct range r = {.offset = l->offset, .wide = l->width == 4};
    uint32_t up_to = l->offset == offsetof(struct flowq_vm_config, active_ms) ? c.idle_ms : l->max;
    set(&c, &r, l->mask ? l->max & 2u : up_to);
    ck_assert_int_eq(flowq_vm_configure(vm, &c), 0);
    ck_assert_msg(memcmp(before, (const void *)vm, sizeof(*vm)) != 0, "%s changes nothing", l->name);
    free(before);
    flowq_vm_destroy(vm);
}
END_TEST

START_TEST(settings_that_do_not_fit_together)
{
    struct flowq_vm_config c = config();
    c.max_flows = 100;
    c.initial_flows = 101;
    ck_assert_int_eq(try_create(&c), -EINVAL);
    c.initial_flows = 100;
    ck_assert_int_eq(try_create(&c), 0);
    c = config();
    c.active_ms = 5000;
    c.idle_ms = 4999;
    ck_assert_int_eq(try_create(&c), -EINVAL);
    c = config();
    c.reserved = 1;
    ck_assert_int_eq(try_create(&c), -EINVAL);
    c = config();
    c.alloc = (void *(*)(void *, size_t, size_t, int32_t))(void *)malloc;
    ck_assert_int_eq(try_create(&c), -EINVAL);
    c = config();
    c.free = (void (*)(void *, void *, size_t))(void *)free;
    ck_assert_int_eq(try_create(&c), -EINVAL);
    c = config();
    c.tunnels = FLOWQ_TUNNEL_ALL + 1u;
    ck_assert_int_eq(try_create(&c), -EINVAL);
    c.tunnels = 1u << 31 | FLOWQ_TUNNEL_VXLAN;
    ck_assert_int_eq(try_create(&c), -EINVAL);
    c.tunnels = FLOWQ_TUNNEL_VXLAN | FLOWQ_TUNNEL_GTPU;
    ck_assert_int_eq(try_create(&c), 0);
    c.tunnels = FLOWQ_TUNNEL_NONE;
    ck_assert_int_eq(try_create(&c), 0);
}
END_TEST

/* "A time setting that the clock cannot resolve eight times". */
START_TEST(clocks_too_coarse)
{
    struct flowq_vm_config c = config();
    c.active_ms = 800;
    c.clock_resolution_ns = 100 * MS;
    ck_assert_int_eq(try_create(&c), 0);
    c.clock_resolution_ns = 100 * MS + 1;
    ck_assert_int_eq(try_create(&c), -EINVAL);
    c = config();
    c.rebind_min_other_us = 8000;
    c.clock_resolution_ns = 1 * MS;
    ck_assert_int_eq(try_create(&c), 0);
    c.clock_resolution_ns = 1 * MS + 1;
    ck_assert_int_eq(try_create(&c), -EINVAL);
    c.rebind_min_other_us = FLOWQ_OFF;
    struct flowq_vm *vm = create(&c);
    c.active_ms = 80;          /* later as well */
    c.clock_resolution_ns = 0; /* not looked at */
    struct flowq_vm *fine;
    ck_assert_int_eq(flowq_vm_create(&c, &fine), 0);
    c.active_ms = 79;
    ck_assert_int_eq(flowq_vm_configure(fine, &c), -EINVAL);
    flowq_vm_destroy(fine);
    flowq_vm_destroy(vm);
}
END_TEST

static double real_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* rebind_min is as long as can be; should a busy machine have let most of it pass all the same, nothing is said. */
START_TEST(the_default_clock)
{
    struct flowq_vm_config c = {.size = sizeof(c)};
    struct flowq_binding b = {.size = sizeof(b)};
    for (unsigned rebind = 0; rebind < 2; rebind++) {
        c.rebind_min_tcp_us = rebind ? 1000000 : 0;
        struct flowq_vm *vm = create(&c);
        struct flowq_tuple t = tuple_v4(FRAME_PROTO_TCP, 2, 1024, 1, 80);
        double begun = real_seconds();
        ck_assert_uint_eq(note(vm, 0, 2), FLOWQ_NOTE_BOUND);
        ck_assert_int_eq(flowq_vm_lookup(vm, &t, &b), 0);
        uint32_t outcome = note(vm, 0, 3);
        bool late = real_seconds() - begun > 0.8;
        ck_assert(late || b.age_ms <= 2000);
        ck_assert(outcome == (rebind ? FLOWQ_NOTE_SUPPRESSED : FLOWQ_NOTE_MOVED) || (late && outcome == FLOWQ_NOTE_MOVED));
        flowq_vm_destroy(vm);
    }
}
END_TEST

/* ---- configure ------------------------------------------------------------------------------------------------------------- */

START_TEST(configure_errors)
{
    struct flowq_vm_config c = config();
    struct flowq_vm *vm = create(&c);
    ck_assert_int_eq(flowq_vm_configure(NULL, &c), -EINVAL);
    ck_assert_int_eq(flowq_vm_configure(vm, NULL), -EINVAL);
    c.rebind_min_tcp_us = 1000;
    ck_assert_int_eq(flowq_vm_configure(vm, &c), -ENOTSUP);
    c.rebind_min_tcp_us = 999;
    ck_assert_int_eq(flowq_vm_configure(vm, &c), -EINVAL); /* out of range comes first */
    c.rebind_min_tcp_us = FLOWQ_OFF;
    ck_assert_int_eq(flowq_vm_configure(vm, &c), 0);
    c.active_ms = 1000; /* the tick was made for 10 s: over a second */
    ck_assert_int_eq(flowq_vm_configure(vm, &c), -EINVAL);
    c.active_ms = 8590; /* eight ticks of 2^30 ns */
    ck_assert_int_eq(flowq_vm_configure(vm, &c), 0);
    c.active_ms = 8589;
    ck_assert_int_eq(flowq_vm_configure(vm, &c), -EINVAL);
    flowq_vm_destroy(vm);
}
END_TEST

/* One error for every value in range, whatever clock the vm has: the default one may be too coarse for the small ones. */
START_TEST(configure_rebind_min_late)
{
    static const uint32_t values_us[] = {1000, 8000, 10000, 32000, 1000000};
    for (unsigned own_clock = 0; own_clock < 2; own_clock++) {
        struct flowq_vm_config c = config();
        if (!own_clock)
            c.clock_ns = NULL;
        struct flowq_vm *vm = create(&c);
        for (unsigned i = 0; i < sizeof(values_us) / sizeof(values_us[0]); i++)
            for (unsigned which = 0; which < 3; which++) {
                struct flowq_vm_config late = c;
                late.rebind_min_tcp_us = which != 1 ? values_us[i] : 0;
                late.rebind_min_other_us = which != 0 ? values_us[i] : 0;
                ck_assert_int_eq(flowq_vm_configure(vm, &late), -ENOTSUP);
            }
        ck_assert_int_eq(flowq_vm_configure(vm, &c), 0);
        flowq_vm_destroy(vm);
    }
}
END_TEST

START_TEST(configure_changes_all_or_nothing)
{
    struct flowq_vm_config c = config(), bad;
    struct flowq_vm *vm = create(&c);
    c.no_learn = FLOWQ_ON;
    for (int i = 0; i < N_RANGES; i++) {
        if (ranges[i].create_only || !ranges[i].wide || ranges[i].offset == offsetof(struct flowq_vm_config, no_learn))
            continue;
        bad = c;
        set(&bad, &ranges[i], ranges[i].max + 1);
        ck_assert_int_eq(flowq_vm_configure(vm, &bad), -EINVAL);
    }
    bad = c;
    bad.rebind_min_other_us = 1000;
    ck_assert_int_eq(flowq_vm_configure(vm, &bad), -ENOTSUP);
    bad = c;
    bad.active_ms = 100;
    ck_assert_int_eq(flowq_vm_configure(vm, &bad), -EINVAL);
    ck_assert_uint_eq(note(vm, 1, 2), FLOWQ_NOTE_BOUND); /* still learning */
    ck_assert_int_eq(flowq_vm_configure(vm, &c), 0);
    ck_assert_uint_eq(note(vm, 1, 3), FLOWQ_NOTE_OFF);
    c.no_learn = 0;
    ck_assert_int_eq(flowq_vm_configure(vm, &c), 0);
    ck_assert_uint_eq(note(vm, 1, 3), FLOWQ_NOTE_MOVED);
    flowq_vm_destroy(vm);
}
END_TEST

START_TEST(configure_does_not_look_at_what_is_fixed)
{
    struct flowq_vm_config c = config();
    struct flowq_vm *vm = create(&c);
    c.max_queue_pairs = c.max_flows = c.initial_flows = c.fragments = c.queue_stats = c.numa_node = 0x12345678;
    memset(c.secret, 0xaa, sizeof(c.secret));
    c.alloc = (void *(*)(void *, size_t, size_t, int32_t))(void *)abort;
    c.clock_ns = (uint64_t(*)(void *))(void *)abort;
    c.log = (void (*)(void *, int32_t, const char *))(void *)abort;
    c.clock_resolution_ns = UINT64_MAX;
    ck_assert_int_eq(flowq_vm_configure(vm, &c), 0);
    ck_assert_uint_eq(note(vm, 1, 2), FLOWQ_NOTE_BOUND);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, 257), -EINVAL);
    flowq_vm_destroy(vm);
}
END_TEST

/* ---- Queues ---------------------------------------------------------------------------------------------------------------- */

START_TEST(queue_setters)
{
    struct flowq_vm_config c = config();
    c.max_queue_pairs = 8;
    struct flowq_vm *vm = create(&c);
    struct flowq_stats s = {.size = sizeof(s)};
    ck_assert_int_eq(flowq_vm_set_queue_pairs(NULL, 1), -EINVAL);
    ck_assert_int_eq(flowq_vm_set_queue_enabled(NULL, 0, true), -EINVAL);
    ck_assert_int_eq(flowq_vm_set_queue_resetting(NULL, 0, true), -EINVAL);
    static const uint32_t too_large[] = {9, 64, 256, FLOWQ_DROP, 0x10001, UINT32_MAX - 1};
    ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, 0), -EINVAL);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, FLOWQ_ALL_QUEUES), -EINVAL);
    ck_assert_int_eq(flowq_vm_set_queue_enabled(vm, 8, false), -EINVAL);
    ck_assert_int_eq(flowq_vm_set_queue_resetting(vm, 8, true), -EINVAL);
    for (unsigned i = 0; i < 6; i++) {
        ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, too_large[i]), -EINVAL);
        ck_assert_int_eq(flowq_vm_set_queue_enabled(vm, too_large[i], false), -EINVAL);
        ck_assert_int_eq(flowq_vm_set_queue_resetting(vm, too_large[i], true), -EINVAL);
    }
    ck_assert_int_eq(flowq_vm_stats(vm, &s), 0);
    ck_assert_uint_eq(s.queue_pairs, 4);
    ck_assert_uint_eq(s.queues_in_use, 4);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, 8), 0);
    ck_assert_int_eq(flowq_vm_set_queue_enabled(vm, 7, false), 0);
    ck_assert_int_eq(flowq_vm_stats(vm, &s), 0);
    ck_assert_uint_eq(s.queues_in_use, 7);
    flowq_vm_destroy(vm);
}
END_TEST

START_TEST(as_many_queues_as_there_can_be)
{
    struct flowq_vm_config c = config();
    c.max_queue_pairs = FLOWQ_MAX_QUEUE_PAIRS;
    struct flowq_vm *vm = create(&c);
    uint32_t top = FLOWQ_MAX_QUEUE_PAIRS - 1;
    ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, FLOWQ_MAX_QUEUE_PAIRS), 0);
    uint32_t high = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        ck_assert_uint_lt(decide(vm, i).qid, FLOWQ_MAX_QUEUE_PAIRS);
        high += decide(vm, i).qid > top / 2;
    }
    ck_assert_uint_gt(high, 350);
    ck_assert_uint_lt(high, 650);
    ck_assert_uint_eq(note(vm, 1, top), FLOWQ_NOTE_BOUND);
    ck_assert_uint_eq(decide(vm, 1).qid, top);
    ck_assert_uint_eq(note(vm, 1, top + 1), FLOWQ_NOTE_NOT_IN_USE);
    for (uint32_t q = 0; q < top; q++)
        ck_assert_int_eq(flowq_vm_set_queue_enabled(vm, q, false), 0);
    ck_assert_uint_eq(decide(vm, 2).qid, top);
    flowq_vm_destroy(vm);
}
END_TEST

/* ---- A thread that cannot be registered ------------------------------------------------------------------------------------ */

static void *no_memory(size_t alignment, size_t size)
{
    (void)alignment;
    (void)size;
    return NULL;
}

static int nothing(void *ctx, const struct flowq_binding *b)
{
    (void)ctx;
    (void)b;
    return 1;
}

/* Every call gives the fallback. */
static void steer_unregistered(struct flowq_vm *const vms[2], uint16_t fallback)
{
    struct flowq_tuple t = tuple_v4(FRAME_PROTO_TCP, 3, 1024, 1, 80);
    struct frame f;
    frame_flow(&f, &t, FRAME_ACK);
    const struct flowq_pkt pkt = frame_pkt(&f), pkts[2] = {pkt, pkt};
    uint16_t qids[2];
    ck_assert_uint_eq(flowq_rx_steer(vms[0], &pkt), fallback);
    flowq_rx_steer_burst(vms[0], pkts, 2, qids);
    ck_assert_uint_eq(qids[1], fallback);
    flowq_rx_steer_burst_vms(vms, pkts, 2, qids);
    ck_assert_uint_eq(qids[0], fallback);
    struct flowq_decision d[2];
    flowq_rx_decide_burst_vms(vms, pkts, 2, d);
    ck_assert_uint_eq(d[0].qid, fallback);
    ck_assert_uint_eq(d[0].reason, FLOWQ_REASON_FALLBACK);
}

static void *unregistered(void *arg)
{
    struct flowq_vm *const *vms = arg, *vm = vms[0]; /* with a binding; and another one */
    struct flowq_stats s = {.size = sizeof(s)};
    struct flowq_binding b = {.size = sizeof(b)};
    struct flowq_tuple t = tuple_v4(FRAME_PROTO_TCP, 3, 1024, 1, 80);
    void *(*usual)(size_t, size_t) = epoch_alloc;
    epoch_alloc = no_memory;
    ck_assert_int_eq(flowq_thread_register(), -ENOMEM);
    ck_assert_int_eq(flowq_enter(), -ENOMEM);
    int r = flowq_synchronize();
    ck_assert(r == 0 || r == -ENOMEM); /* it may do without */
    ck_assert_uint_eq(note(vm, 1, 2), FLOWQ_NOTE_UNREGISTERED);
    ck_assert_uint_eq(note(vm, 1, 77), FLOWQ_NOTE_NOT_IN_USE);
    struct flowq_decision d = decide(vm, 1);
    ck_assert_uint_eq(d.reason, FLOWQ_REASON_FALLBACK); /* although it is bound */
    steer_unregistered(vms, d.qid);
    ck_assert_int_eq(flowq_vm_stats(vm, &s), -ENOMEM);
    ck_assert_int_eq(flowq_vm_lookup(vm, &t, &b), -ENOMEM);
    ck_assert_int_eq(flowq_vm_flows(vm, nothing, NULL), -ENOMEM);
    ck_assert_int_eq(flowq_vm_set_queue_enabled(vm, 1, false), 0); /* setters and reset cannot fail */
    flowq_vm_maintain(vm);
    flowq_vm_reset(vm, FLOWQ_RESET_QUEUES);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, 4), 0);
    epoch_alloc = usual;
    ck_assert_uint_eq(decide(vm, 1).reason, FLOWQ_REASON_BOUND); /* the next call tries again */
    ck_assert_int_eq(flowq_vm_stats(vm, &s), 0);
    ck_assert_uint_eq(s.note[FLOWQ_NOTE_UNREGISTERED], 1);
    ck_assert_uint_eq(s.steer[FLOWQ_REASON_FALLBACK], 6);
    return NULL;
}

static void *forget_flows(void *arg)
{
    void *(*usual)(size_t, size_t) = epoch_alloc;
    epoch_alloc = no_memory;
    flowq_vm_reset(arg, FLOWQ_RESET_FLOWS);
    epoch_alloc = usual;
    return NULL;
}

START_TEST(a_thread_that_cannot_be_registered)
{
    struct flowq_vm_config c = config();
    struct flowq_vm *vms[] = {create(&c), create(&c)}, *vm = vms[0];
    pthread_t thread[2];
    note(vm, 1, 3);
    /* The first one keeps its record, the second takes it over when the first has ended; so both at once. */
    ck_assert_int_eq(pthread_create(&thread[0], NULL, unregistered, vms), 0);
    ck_assert_int_eq(pthread_join(thread[0], NULL), 0);
    ck_assert_uint_eq(decide(vm, 1).reason, FLOWQ_REASON_BOUND);
    ck_assert_int_eq(pthread_create(&thread[1], NULL, forget_flows, vm), 0);
    ck_assert_int_eq(pthread_join(thread[1], NULL), 0);
    ck_assert_uint_eq(decide(vm, 1).reason, FLOWQ_REASON_FALLBACK);
    flowq_vm_destroy(vms[1]);
    flowq_vm_destroy(vm);
}
END_TEST

int main(void)
{
    (void)seed_get("check_vm");
    Suite *s = suite_create("vm");
    TCase *tc = tcase_create("vm");
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, create_wants_somewhere_to_put_it);
    tcase_add_test(tc, sizes_of_configurations);
    tcase_add_test(tc, each_setting_has_its_range);
    tcase_add_loop_test(tc, ranges_of_settings, 0, N_RANGES);
    tcase_add_loop_test(tc, settings_reach_the_vm, 0, (int)config_n_limits);
    tcase_add_test(tc, settings_that_do_not_fit_together);
    tcase_add_test(tc, clocks_too_coarse);
    tcase_add_test(tc, the_default_clock);
    tcase_add_test(tc, configure_errors);
    tcase_add_test(tc, configure_rebind_min_late);
    tcase_add_test(tc, configure_changes_all_or_nothing);
    tcase_add_test(tc, configure_does_not_look_at_what_is_fixed);
    tcase_add_test(tc, queue_setters);
    tcase_add_test(tc, as_many_queues_as_there_can_be);
    tcase_add_test(tc, a_thread_that_cannot_be_registered);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
