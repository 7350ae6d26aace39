/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check_positions: how far a receive ring is filled and taken, read out of rings as a driver and a device write them: split and
 * packed, of any size, with chains of any length, with and without EVENT_IDX. What comes out is never more than is true, and,
 * where the driver says it, or has refilled all, no less. Then a driver that lies, and the gate, closed under readers.
 */
#include "positions.h"

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "frames.h"
#include "runner.h"
#include "seed.h"

enum { SIZE_MAX_HERE = 64, EVENT_DISABLED = 1, EVENT_DESC = 2 };

static uint64_t seed;

/* ---- A driver and a device, one position after the other ------------------------------------------------------------------- */

struct world {
    struct rng rng;
    uint32_t size, avail, used, taken; /* positions, which only advance */
    uint8_t chain[2 * SIZE_MAX_HERE];  /* by position modulo twice the size: of how many the buffer is that begins there */
    bool packed, event_idx;
    struct {
        uint16_t flags, idx, ring[SIZE_MAX_HERE + 1];
    } split;
    struct vring_packed_desc desc[SIZE_MAX_HERE];
    struct vring_packed_desc_event event;
    struct rte_vhost_vring vring;
    struct positions p;
};

static uint16_t place(const struct world *w, uint32_t position)
{
    uint32_t lap = position % (2 * w->size);
    return w->packed ? (uint16_t)(lap % w->size | (lap < w->size ? 1u << 15 : 0)) : (uint16_t)position;
}

static void mark(struct world *w, uint32_t position, bool used)
{
    uint16_t wrap = position % (2 * w->size) < w->size;
    w->desc[position % w->size].flags = (uint16_t)(wrap << 7 | (used ? wrap : !wrap) << 15);
}

/* The driver makes buffers available, of up to three descriptors where the ring is packed. */
static void refill(struct world *w, uint32_t most)
{
    for (uint32_t n = 0; n < most && w->avail - w->taken < w->size; n++) {
        uint32_t room = w->size - (w->avail - w->taken), length = w->packed ? 1 + rng_below(&w->rng, 3) : 1;
        length = length < room ? length : room;
        w->chain[w->avail % (2 * w->size)] = (uint8_t)length;
        for (uint32_t i = length; i-- > 0;)
            mark(w, w->avail + i, false);
        w->avail += length;
    }
    w->split.idx = (uint16_t)w->avail;
}

/* The device puts packets there; only the first descriptor of a buffer is written. */
static void fill(struct world *w, uint32_t most)
{
    for (uint32_t n = 0; n < most && w->used != w->avail; n++) {
        mark(w, w->used, true);
        w->used += w->chain[w->used % (2 * w->size)];
    }
}

static void take(struct world *w, uint32_t most)
{
    for (uint32_t n = 0; n < most && w->taken != w->used; n++)
        w->taken += w->chain[w->taken % (2 * w->size)];
}

/* Asks for interrupts, or for none, as Linux does. */
static void publish(struct world *w, bool on)
{
    if (!w->event_idx)
        return;
    w->split.ring[w->size] = on ? (uint16_t)w->taken : 0;
    if (on)
        w->event.off_wrap = place(w, w->taken);
    w->event.flags = on ? EVENT_DESC : EVENT_DISABLED;
}

static void begin(struct world *w, uint32_t round)
{
    memset(w, 0, sizeof(*w));
    w->rng.state = seed + round;
    w->packed = round & 1;
    w->event_idx = round & 2;
    w->size = w->packed ? rng_range(&w->rng, 1, SIZE_MAX_HERE) : 1u << rng_below(&w->rng, 7);
    w->avail = w->used = w->taken = w->packed ? rng_below(&w->rng, 2 * w->size) : rng_below(&w->rng, 65536);
    for (uint32_t i = 0; i < w->size; i++) /* as the lap before left it */
        mark(w, w->avail + w->size + i, true);
    w->split.idx = (uint16_t)w->avail;
    w->vring.size = (uint16_t)w->size;
    if (w->packed) {
        w->vring.desc_packed = w->desc;
        w->vring.driver_event = &w->event;
    } else
        w->vring.avail = (struct vring_avail *)&w->split;
    positions_start(&w->p, (uint16_t)w->size, w->packed, w->event_idx, place(w, w->used));
}

START_TEST(never_more_than_is_true)
{
    uint32_t rounds = 96 / SEED_SLOWNESS, exact = 0;
    for (uint32_t round = 0; round < rounds; round++) {
        struct world w;
        begin(&w, round);
        const uint32_t offset = w.p.filled - w.used;
        for (uint32_t step = 0; step < 4000; step++) {
            refill(&w, rng_below(&w.rng, w.size + 1));
            fill(&w, rng_below(&w.rng, w.size + 1));
            take(&w, rng_below(&w.rng, w.size + 1));
            bool on = rng_percent(&w.rng, 35);
            if (on || rng_percent(&w.rng, 20))
                publish(&w, on);
            on = on && w.event_idx && w.p.event_known && w.p.event != place(&w, w.taken) && (w.packed || place(&w, w.taken) != 0);
            positions_filled(&w.p, place(&w, w.used));
            positions_read(&w.p, &w.vring);
            ck_assert(!on || w.p.taken == w.taken + offset);
            ck_assert_uint_eq(w.p.filled, w.used + offset);
            ck_assert_int_le((int32_t)(w.p.taken - (w.taken + offset)), 0);
            ck_assert_uint_le(w.p.filled - w.p.taken, w.size);
            /* All but the last `size` that were made available. */
            ck_assert_int_ge((int32_t)(w.p.taken - (w.avail - w.size + offset)), 0);
            exact += on && w.taken != w.avail - w.size;
        }
    }
    ck_assert_uint_gt(exact, rounds * 100);
}
END_TEST

/* What used_event said long ago comes into range again after 65536 entries, and 0 says nothing. */
START_TEST(stale_events_say_nothing)
{
    struct world w;
    memset(&w, 0, sizeof(w));
    w.size = 16;
    w.event_idx = true;
    w.vring.size = 16;
    w.vring.avail = (struct vring_avail *)&w.split;
    positions_start(&w.p, 16, false, true, 100);
    w.split.idx = 116;
    w.split.ring[16] = 105;
    positions_filled(&w.p, 110);
    positions_read(&w.p, &w.vring);
    ck_assert_uint_eq(w.p.taken, 100); /* it may have stood there for ever */
    w.split.ring[16] = 106;
    positions_read(&w.p, &w.vring);
    ck_assert_uint_eq(w.p.taken, 106);
    w.split.ring[16] = 111; /* beyond what was filled */
    positions_read(&w.p, &w.vring);
    ck_assert_uint_eq(w.p.taken, 106);
    positions_filled(&w.p, 114); /* now it would be in range, but it has not changed */
    positions_read(&w.p, &w.vring);
    ck_assert_uint_eq(w.p.taken, 106);
    for (uint32_t at = 114; at < 65536 + 8; at++) {
        positions_filled(&w.p, (uint16_t)at);
        w.split.idx = (uint16_t)(at + 16); /* all taken */
        positions_read(&w.p, &w.vring);
    }
    w.split.idx = 12;
    ck_assert_uint_eq(w.p.taken, 65543);
    positions_filled(&w.p, 10);
    w.split.ring[16] = 0;
    positions_read(&w.p, &w.vring);
    ck_assert_uint_eq(w.p.filled, 65546);
    ck_assert_uint_eq(w.p.taken, 65543);
}
END_TEST

/* Nothing is read beyond the ring, and no more is taken than was filled. */
START_TEST(lies_stay_in_range)
{
    for (uint32_t round = 0; round < 500 / SEED_SLOWNESS; round++) {
        struct world w;
        begin(&w, round);
        for (uint32_t step = 0; step < 300; step++) {
            w.used += rng_below(&w.rng, w.size + 1);
            w.split.idx = (uint16_t)rng_next(&w.rng);
            w.split.ring[w.size] = (uint16_t)rng_next(&w.rng);
            w.desc[rng_below(&w.rng, w.size)].flags = (uint16_t)rng_next(&w.rng);
            w.event.off_wrap = (uint16_t)rng_next(&w.rng);
            w.event.flags = (uint16_t)rng_next(&w.rng);
            uint32_t before = w.p.taken;
            positions_filled(&w.p, rng_percent(&w.rng, 90) ? place(&w, w.used) : (uint16_t)rng_next(&w.rng));
            positions_read(&w.p, &w.vring);
            ck_assert_int_ge((int32_t)(w.p.taken - before), 0);
            ck_assert_int_le((int32_t)(w.p.taken - w.p.filled), 0);
        }
    }
}
END_TEST

/* ---- The gate: a ring is unmapped when it is closed ------------------------------------------------------------------------ */

static struct {
    struct positions_device device;
    struct flowq_vm *vm;
    pthread_mutex_t rings_lock; /* librte_vhost's */
    struct vring_avail *avail;
    _Atomic uint32_t used, n_read; /* n_read: looks that found a ring */
    _Atomic bool over;
} plug;

static int plug_vring(int vid, uint16_t ring, struct rte_vhost_vring *vring)
{
    (void)vid;
    (void)ring;
    memset(vring, 0, sizeof(*vring));
    vring->size = 256;
    vring->avail = __atomic_load_n(&plug.avail, __ATOMIC_RELAXED);
    return 0;
}

static int plug_base(int vid, uint16_t ring, uint16_t *avail, uint16_t *used)
{
    (void)vid;
    (void)ring;
    *avail = *used = (uint16_t)atomic_load(&plug.used);
    return 0;
}

static int plug_features(int vid, uint64_t *features)
{
    (void)vid;
    *features = UINT64_C(1) << 29;
    return 0;
}

static struct vring_avail *make_avail(void)
{
    struct vring_avail *avail = calloc(1, sizeof(*avail) + 257 * sizeof(avail->ring[0]));
    avail->idx = (uint16_t)(atomic_load(&plug.used) + 200);
    return avail;
}

/* What the freed one reads as, under a sanitizer or without, is no ring. So often, and until rings were read in between, on a
   machine with few processors. */
static void *plug_memory(void *arg)
{
    for (uint32_t i = 0; i < 400 / SEED_SLOWNESS || atomic_load(&plug.n_read) < 100; i++) {
        pthread_mutex_lock(&plug.rings_lock);
        positions_close(&plug.device);
        struct vring_avail *old = plug.avail;
        __atomic_store_n(&plug.avail, NULL, __ATOMIC_RELAXED);
        memset(old, 0xff, sizeof(*old) + 257 * sizeof(old->ring[0]));
        free(old);
        __atomic_store_n(&plug.avail, make_avail(), __ATOMIC_RELAXED);
        pthread_mutex_unlock(&plug.rings_lock);
        sched_yield();
    }
    atomic_store(&plug.over, true);
    return arg;
}

START_TEST(nobody_reads_what_is_unmapped)
{
    static const struct positions_source source = {plug_vring, plug_base, plug_features};
    struct flowq_vm_config config = {.size = sizeof(config), .max_queue_pairs = 4, .ordered = FLOWQ_ON};
    struct positions p;
    pthread_t thread;
    memset(&p, 0, sizeof(p));
    memset(&plug, 0, sizeof(plug));
    pthread_mutex_init(&plug.rings_lock, NULL);
    plug.avail = make_avail();
    ck_assert_int_eq(flowq_vm_create(&config, &plug.vm), 0);
    positions_begin(&plug.device);
    ck_assert_int_eq(pthread_create(&thread, NULL, plug_memory, NULL), 0);
    while (!atomic_load(&plug.over)) {
        positions_before(&p, &plug.device, &source, 0, plug.vm, 1);
        pthread_mutex_lock(&plug.rings_lock); /* as librte_vhost while it puts packets there */
        atomic_fetch_add(&plug.used, 1);
        __atomic_store_n(&plug.avail->ring[256], (uint16_t)atomic_load(&plug.used), __ATOMIC_RELAXED);
        pthread_mutex_unlock(&plug.rings_lock);
        positions_after(&p, &plug.device, &source, plug.vm, 1);
        ck_assert_uint_le(p.filled - p.taken, 65536);
        uint32_t taken = p.taken;
        positions_look(&p, &plug.device, plug.vm, 1);
        atomic_fetch_add(&plug.n_read, p.taken != taken || p.taken == p.filled);
    }
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    free(plug.avail);
    flowq_vm_destroy(plug.vm);
}
END_TEST

static atomic_bool is_closed;

static void *close_it(void *device)
{
    positions_close(device);
    atomic_store(&is_closed, true);
    return NULL;
}

START_TEST(closing_waits_for_who_is_inside)
{
    struct positions_device device;
    pthread_t closer;
    memset(&device, 0, sizeof(device));
    atomic_store(&device.inside, 1);
    ck_assert_int_eq(pthread_create(&closer, NULL, close_it, &device), 0);
    while (atomic_load(&device.closed) == 0)
        sched_yield();
    usleep(30000);
    ck_assert(!atomic_load(&is_closed));
    atomic_store(&device.inside, 0);
    ck_assert_int_eq(pthread_join(closer, NULL), 0);
    ck_assert(atomic_load(&is_closed));
}
END_TEST

/* ---- A ring of which something is not told --------------------------------------------------------------------------------- */

static struct {
    bool packed, no_vring, no_base, no_features, platform;
    uint16_t used, avail[2 + 256 + 1];
    uint64_t now_ns;
} told;

static int told_vring(int vid, uint16_t ring, struct rte_vhost_vring *vring)
{
    static struct vring_packed_desc desc[256]; /* whoever reads them believes that all is taken */
    static struct vring_packed_desc_event event;
    (void)vid;
    (void)ring;
    if (told.no_vring)
        return -1;
    memset(vring, 0, sizeof(*vring));
    vring->size = 256;
    if (told.packed) {
        vring->desc_packed = desc;
        vring->driver_event = &event;
    } else
        vring->avail = (struct vring_avail *)(void *)told.avail;
    return 0;
}

static int told_base(int vid, uint16_t ring, uint16_t *avail, uint16_t *used)
{
    (void)vid;
    (void)ring;
    *avail = *used = told.packed ? told.used % 256 | (told.used % 512 < 256 ? 1u << 15 : 0) : told.used;
    return told.no_base ? -1 : 0;
}

static int told_features(int vid, uint64_t *features)
{
    (void)vid;
    *features = (told.packed ? UINT64_C(1) << 34 : 0) | (told.platform ? UINT64_C(1) << 33 : 0);
    return told.no_features ? -1 : 0;
}

static uint64_t told_clock(void *ctx)
{
    (void)ctx;
    return told.now_ns;
}

static uint16_t steer(struct flowq_vm *vm)
{
    struct flowq_tuple flow = tuple_v4(FRAME_PROTO_UDP, 1, 2, 3, 4);
    struct frame frame;
    frame_flow(&frame, &flow, 0);
    struct flowq_pkt pkt = frame_pkt(&frame);
    return flowq_rx_steer(vm, &pkt);
}

static void note(struct flowq_vm *vm, uint32_t qid)
{
    struct flowq_tuple flow = tuple_v4(FRAME_PROTO_UDP, 3, 4, 1, 2);
    struct frame frame;
    frame_flow(&frame, &flow, 0);
    struct flowq_pkt pkt = frame_pkt(&frame);
    (void)flowq_tx_note(vm, &pkt, qid);
}

/* A packet at a time into ring 0, from whose queue the flow moves. Where all is told, and there is no IOMMU, the ring is read and
   empty each time; else the flow leaves it only when its time is over. */
static void waits_for_its_time(const struct positions_source *from, bool is_known)
{
    struct flowq_vm_config config = {.size = sizeof(config), .max_queue_pairs = 2, .ordered = FLOWQ_ON, .clock_ns = told_clock};
    struct flowq_stats before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
    struct positions_device device = {.begun = 0};
    struct positions p;
    struct flowq_vm *vm;
    memset(&p, 0, sizeof(p));
    told.now_ns = UINT64_C(1000000000000);
    told.used = 250; /* goes round */
    ck_assert_int_eq(flowq_vm_create(&config, &vm), 0);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, 2), 0);
    positions_begin(&device);
    note(vm, 0);
    ck_assert_uint_eq(steer(vm), 0); /* ring 1 is empty, should that be where the flow began */
    ck_assert_int_eq(flowq_vm_stats(vm, &before), 0);
    for (unsigned i = 0; i < 600; i++) {
        positions_before(&p, &device, from, 0, vm, 0);
        told.used++;
        told.avail[1] = (uint16_t)(told.used + 256);
        positions_after(&p, &device, from, vm, 0);
        if (i == 0)
            note(vm, 1);
        ck_assert_msg(steer(vm) == is_known, "packed %d, vring %d, base %d, features %d, platform %d: packet %u", told.packed,
                      told.no_vring, told.no_base, told.no_features, told.platform, i);
    }
    told.now_ns += UINT64_C(10000000000);
    ck_assert_uint_eq(steer(vm), 1);
    ck_assert_int_eq(flowq_vm_stats(vm, &after), 0);
    ck_assert_uint_eq(after.ordered_done - before.ordered_done, is_known);
    ck_assert_uint_eq(after.ordered_forced - before.ordered_forced, !is_known);
    flowq_vm_destroy(vm);
}

START_TEST(what_is_not_told_is_not_taken)
{
    static const struct positions_source all = {told_vring, told_base, told_features};
    static const struct positions_source some[] = {
        {NULL, told_base, told_features}, {told_vring, NULL, told_features}, {told_vring, told_base, NULL}};
    for (int packed = 0; packed < 2; packed++) {
        memset(&told, 0, sizeof(told));
        told.packed = packed;
        waits_for_its_time(&all, true);
        for (int i = 0; i < 3; i++)
            waits_for_its_time(&some[i], false);
        for (int i = 0; i < 4; i++) {
            told.no_vring = i == 0;
            told.no_base = i == 1;
            told.no_features = i == 2;
            told.platform = i == 3;
            waits_for_its_time(&all, false);
        }
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("positions");
    TCase *t = tcase_create("positions");
    seed = seed_get("check_positions");
    tcase_set_timeout(t, 300 * SEED_SLOWNESS);
    tcase_add_test(t, never_more_than_is_true);
    tcase_add_test(t, stale_events_say_nothing);
    tcase_add_test(t, lies_stay_in_range);
    tcase_add_test(t, closing_waits_for_who_is_inside);
    tcase_add_test(t, nobody_reads_what_is_unmapped);
    tcase_add_test(t, what_is_not_told_is_not_taken);
    suite_add_tcase(s, t);
    return suite_run(s);
}
