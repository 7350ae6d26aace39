/* SPDX-License-Identifier: BSD-2-Clause */
/* positions: see positions.h. */
#include "positions.h"

#include "ring.h"

#include <sched.h>
#include <string.h>

enum {
    EVENT_FLAGS_MASK = 3 /* virtio: of a packed ring's event suppression; VRING_PACKED_EVENT_FLAG_DESC: off_wrap counts */
};

/* ---- Arithmetic ------------------------------------------------------------------------------------------------------------ */

/* Taken is so far behind filled. Less than was known is no news. */
static void take_up_to(struct positions *p, uint32_t behind)
{
    if (behind < p->filled - p->taken)
        p->taken = p->filled - behind;
}

/* A place in a packed ring, and which of two laps it is: the wrap counter begins as 1 (virtio 1.3, 2.8.1). */
static uint32_t lap_of(const struct positions *p, uint16_t place) { return ring_at(place) + (ring_wrap(place) ? 0 : p->size); }

static uint32_t lap_add(const struct positions *p, uint32_t lap, uint32_t n) { return (lap + n) % (2u * p->size); }

void positions_start(struct positions *p, uint16_t size, bool packed, bool event_idx, uint16_t used)
{
    p->size = size;
    p->packed = packed;
    p->event_idx = event_idx;
    p->event_known = false;
    p->filled_lap = packed && size ? lap_of(p, used) % (2u * size) : 0;
    p->filled = packed ? p->filled_lap : used;
    p->taken = p->made = p->filled;
    p->made_lap = p->filled_lap;
}

void positions_filled(struct positions *p, uint16_t used)
{
    if (!p->packed) {
        p->filled += (uint16_t)(used - (uint16_t)p->filled);
        return;
    }
    uint32_t laps = 2u * p->size, lap = lap_of(p, used);
    if (lap >= laps)
        return;
    p->filled += (lap + laps - p->filled_lap) % laps;
    p->filled_lap = lap;
}

/* Has a word changed since it was last read? */
static bool is_news(struct positions *p, uint16_t event)
{
    bool news = p->event_known && event != p->event;
    p->event = event;
    p->event_known = true;
    return news;
}

static void read_split(struct positions *p, const struct rte_vhost_vring *vring)
{
    uint16_t filled = (uint16_t)p->filled;
    uint16_t avail = __atomic_load_n(&vring->avail->idx, __ATOMIC_ACQUIRE);

    take_up_to(p, (uint16_t)(filled - (uint16_t)(avail - p->size)));
    if (!p->event_idx)
        return;
    uint16_t event = __atomic_load_n(&vring->avail->ring[p->size], __ATOMIC_ACQUIRE);
    if (is_news(p, event) && event != 0)
        take_up_to(p, (uint16_t)(filled - event));
}

/* Is the descriptor n places behind what is known available in its lap, or used in it already? */
static bool is_made(const struct positions *p, const struct rte_vhost_vring *vring, uint32_t n)
{
    uint32_t lap = lap_add(p, p->made_lap, n);
    uint16_t flags = __atomic_load_n(&vring->desc_packed[lap % p->size].flags, __ATOMIC_ACQUIRE);

    return (flags >> VRING_PACKED_DESC_F_AVAIL & 1) == (lap < p->size);
}

/* In steps of 64, 8, 1: if a descriptor is available, so are, or were, those before it. What is available beyond what was filled
   and once around cannot be: a guest that says so is not believed. */
static void read_made(struct positions *p, const struct rte_vhost_vring *vring)
{
    for (uint32_t step = 64; step > 0; step /= 8)
        while (p->made - p->filled + step <= p->size && is_made(p, vring, step - 1)) {
            p->made += step;
            p->made_lap = lap_add(p, p->made_lap, step);
        }
    take_up_to(p, p->filled + p->size - p->made);
}

static void read_packed(struct positions *p, const struct rte_vhost_vring *vring)
{
    const uint32_t laps = 2u * p->size;

    /* What was filled was available before. */
    if ((int32_t)(p->filled - p->made) > 0) {
        p->made = p->filled;
        p->made_lap = p->filled_lap;
    }
    read_made(p, vring);
    uint16_t flags = __atomic_load_n(&vring->driver_event->flags, __ATOMIC_ACQUIRE) & EVENT_FLAGS_MASK;
    uint16_t event = __atomic_load_n(&vring->driver_event->off_wrap, __ATOMIC_ACQUIRE);
    bool news = is_news(p, event);
    uint32_t lap = lap_of(p, event);
    if (p->event_idx && news && flags == VRING_PACKED_EVENT_FLAG_DESC && lap < laps)
        take_up_to(p, (p->filled_lap + laps - lap) % laps);
}

void positions_read(struct positions *p, const struct rte_vhost_vring *vring)
{
    if (p->packed && vring->desc_packed != NULL && vring->driver_event != NULL)
        read_packed(p, vring);
    else if (!p->packed && vring->avail != NULL)
        read_split(p, vring);
}

/* ---- The gate -------------------------------------------------------------------------------------------------------------- */

void positions_begin(struct positions_device *device)
{
    positions_close(device);
    atomic_fetch_add(&device->begun, 1);
}

void positions_close(struct positions_device *device)
{
    atomic_fetch_add(&device->closed, 1);
    while (atomic_load(&device->inside) != 0)
        sched_yield(); /* a few loads, unless the reader was preempted */
}

static bool gate_enter(struct positions_device *device, const struct positions *p)
{
    if (p->good_closed == 0)
        return false;
    atomic_fetch_add(&device->inside, 1);
    if (atomic_load(&device->closed) + 1 == p->good_closed)
        return true;
    atomic_fetch_sub(&device->inside, 1);
    return false;
}

static void gate_leave(struct positions_device *device) { atomic_fetch_sub(&device->inside, 1); }

/* ---- A ring ---------------------------------------------------------------------------------------------------------------- */

static void report(const struct positions *p, struct positions_device *device, struct flowq_vm *vm, uint32_t qid)
{
    _Atomic uint64_t *backlog = &device->backlog[qid / 64];
    const uint64_t bit = UINT64_C(1) << qid % 64;
    bool is_set = (atomic_load_explicit(backlog, memory_order_relaxed) & bit) != 0;

    flowq_vm_ring_report(vm, qid, p->filled, p->taken);
    if (p->filled != p->taken && !is_set)
        atomic_fetch_or_explicit(backlog, bit, memory_order_relaxed);
    else if (p->filled == p->taken && is_set)
        atomic_fetch_and_explicit(backlog, ~bit, memory_order_relaxed);
}

/* The ring begins, where librte_vhost is. */
static void start(struct positions *p, const struct positions_source *from, int vid, uint16_t ring)
{
    uint64_t features = 0;
    uint16_t avail = 0, used = 0;

    memset(&p->vring, 0, sizeof(p->vring));
    p->good_closed = 0;
    p->vid = vid;
    p->blind = from->get_vring == NULL || from->get_base == NULL || from->get_features == NULL ||
               from->get_features(vid, &features) != 0 || from->get_vring(vid, ring, &p->vring) != 0 ||
               from->get_base(vid, ring, &avail, &used) != 0 || p->vring.size == 0;
    positions_start(p, p->blind ? 0 : p->vring.size, ring_has(features, VIRTIO_F_RING_PACKED),
                    ring_has(features, VIRTIO_RING_F_EVENT_IDX), used);
    if (ring_has(features, VIRTIO_F_IOMMU_PLATFORM))
        p->blind = true;
}

void positions_before(struct positions *p, struct positions_device *device, const struct positions_source *from, int vid,
                      struct flowq_vm *vm, uint32_t qid)
{
    uint32_t begun = atomic_load(&device->begun);

    p->closed = atomic_load(&device->closed);
    if (p->begun == begun && p->vid == vid)
        return;
    p->begun = begun;
    start(p, from, vid, (uint16_t)(2 * qid));
    flowq_vm_ring_restart(vm, qid, p->filled);
}

/* Addresses that are good as long as nobody closes the gate, which was closed `p->closed` times before packets were put. */
static void find(struct positions *p, const struct positions_source *from, uint32_t qid)
{
    if (p->good_closed == p->closed + 1)
        return;
    bool found = from->get_vring(p->vid, (uint16_t)(2 * qid), &p->vring) == 0 && p->vring.size == p->size;
    p->good_closed = found ? p->closed + 1 : 0;
    p->event_known = false;
}

static void look(struct positions *p, struct positions_device *device)
{
    if (p->blind || !gate_enter(device, p))
        return;
    positions_read(p, &p->vring);
    gate_leave(device);
}

/* How far is not told, or what that means: so it is not known what the guest takes, only that something was put there. */
static void fill_blindly(struct positions *p)
{
    p->blind = true;
    p->filled++;
}

void positions_after(struct positions *p, struct positions_device *device, const struct positions_source *from,
                     struct flowq_vm *vm, uint32_t qid)
{
    uint16_t avail, used;

    if (p->size != 0 && from->get_base(p->vid, (uint16_t)(2 * qid), &avail, &used) == 0)
        positions_filled(p, used);
    else
        fill_blindly(p);
    if (!p->blind)
        find(p, from, qid);
    look(p, device);
    report(p, device, vm, qid);
}

void positions_look(struct positions *p, struct positions_device *device, struct flowq_vm *vm, uint32_t qid)
{
    uint32_t taken = p->taken;

    if (p->begun != atomic_load(&device->begun))
        return;
    look(p, device);
    if (p->taken != taken)
        report(p, device, vm, qid);
}
