/* SPDX-License-Identifier: BSD-2-Clause */
/* fetch: see fetch.h. */
#include "fetch.h"

#include "real.h"
#include "ring.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINE = 64,
    VIRTIO_HEADER = 12 /* in front of a packet: struct virtio_net_hdr_mrg_rxbuf */
};

/* vhost-user's messages that change what is mapped. */
enum { RESET_OWNER = 4, SET_MEM_TABLE = 5, ADD_MEM_REG = 37, REM_MEM_REG = 38 };

/*
 * One line. Tests have their own. A function that does nothing but prefetch counts as one without effects for gcc (12.2), which
 * then leaves out the calls of it: the empty statement is an effect.
 */
#ifndef FETCH_LINE
#define FETCH_LINE(at, to_write)                                                                                                 \
    do {                                                                                                                         \
        if (to_write)                                                                                                            \
            __builtin_prefetch((const void *)(at), 1);                                                                           \
        else                                                                                                                     \
            __builtin_prefetch((const void *)(at), 0);                                                                           \
        __asm__ volatile("");                                                                                                    \
    } while (0)
#endif

/* ---- The gate -------------------------------------------------------------------------------------------------------------- */

static void close_gate(struct fetch *fetch)
{
    atomic_store(&fetch->open, 0);
    while (atomic_load(&fetch->inside) != 0)
        sched_yield(); /* a burst's decisions and some loads, unless the reader was preempted */
}

void fetch_forget(struct fetch *fetch)
{
    if (fetch == NULL)
        return;
    close_gate(fetch);
    fetch->n_regions = 0;
    fetch->has_table = fetch->running = false;
    memset(fetch->ring, 0, sizeof(fetch->ring));
    atomic_store_explicit(&fetch->recent, 0, memory_order_relaxed);
}

struct fetch *fetch_make(void)
{
    if (real.hook_register == NULL || real.get_memory == NULL || real.get_vring == NULL || real.get_base == NULL ||
        real.get_features == NULL)
        return NULL;
    struct fetch *fetch = aligned_alloc(LINE, sizeof(*fetch));
    if (fetch != NULL)
        memset(fetch, 0, sizeof(*fetch));
    return fetch;
}

/* ---- What librte_vhost knows: the gate is closed --------------------------------------------------------------------------- */

static void learn_regions(struct fetch *fetch, int vid)
{
    struct rte_vhost_memory *memory = NULL;

    fetch->n_regions = 0;
    if (real.get_memory(vid, &memory) != 0 || memory == NULL)
        return;
    for (uint32_t i = 0; i < memory->nregions && i < FETCH_REGIONS; i++)
        fetch->regions[fetch->n_regions++] = (struct fetch_region){.guest = memory->regions[i].guest_phys_addr,
                                                                   .size = memory->regions[i].size,
                                                                   .here = (uintptr_t)memory->regions[i].host_user_addr};
    free(memory);
}

void fetch_used(struct fetch *fetch, int vid, uint32_t ring)
{
    uint16_t next, used;

    if (real.get_base(vid, (uint16_t)ring, &next, &used) == 0)
        atomic_store_explicit(&fetch->ring[ring].next, next, memory_order_relaxed);
}

/* A ring that is not in use, or whose tables are not all there, is left alone. */
static void learn_ring(struct fetch *fetch, int vid, uint32_t number, bool packed)
{
    struct fetch_ring *ring = &fetch->ring[number];
    struct rte_vhost_vring vring;

    ring->size = 0;
    if (!ring->ready || real.get_vring(vid, (uint16_t)number, &vring) != 0)
        return;
    /* Of a packed ring that does not fit what is mapped, the descriptors are told all the same. */
    ring->packed = packed && vring.driver_event != NULL && vring.device_event != NULL ? vring.desc_packed : NULL;
    ring->avail = packed ? NULL : vring.avail;
    ring->desc = packed ? NULL : vring.desc;
    ring->used = packed ? NULL : vring.used;
    if (packed ? ring->packed != NULL : ring->avail != NULL && ring->desc != NULL && ring->used != NULL) {
        ring->size = vring.size;
        fetch_used(fetch, vid, number);
    }
}

static void learn_and_open(struct fetch *fetch, int vid)
{
    uint64_t features = 0;

    if (!fetch->running || fetch->n_regions == 0 || real.get_features(vid, &features) != 0 ||
        ring_has(features, VIRTIO_F_IOMMU_PLATFORM))
        return;
    for (uint32_t r = 0; r < FETCH_RINGS; r++)
        learn_ring(fetch, vid, r, ring_has(features, VIRTIO_F_RING_PACKED));
    atomic_store(&fetch->open, 1);
}

static bool is_about_memory(uint32_t request)
{
    return request == SET_MEM_TABLE || request == ADD_MEM_REG || request == REM_MEM_REG;
}

void fetch_before(struct fetch *fetch, uint32_t request)
{
    if (fetch == NULL)
        return;
    close_gate(fetch);
    if (is_about_memory(request) || request == RESET_OWNER)
        fetch->n_regions = 0;
    if (request == SET_MEM_TABLE || request == RESET_OWNER)
        fetch->has_table = false;
}

void fetch_after(struct fetch *fetch, int vid, uint32_t request)
{
    if (fetch == NULL)
        return;
    if (request == SET_MEM_TABLE)
        fetch->has_table = true;
    if (is_about_memory(request) && fetch->has_table)
        learn_regions(fetch, vid);
    learn_and_open(fetch, vid);
}

void fetch_run(struct fetch *fetch, int vid)
{
    if (fetch == NULL)
        return;
    close_gate(fetch);
    fetch->running = true;
    learn_and_open(fetch, vid);
}

void fetch_stop(struct fetch *fetch)
{
    if (fetch == NULL)
        return;
    close_gate(fetch);
    fetch->running = false;
}

void fetch_ready(struct fetch *fetch, int vid, uint32_t ring, bool ready)
{
    if (fetch == NULL || ring >= FETCH_RINGS)
        return;
    bool was_open = atomic_load(&fetch->open) != 0;
    close_gate(fetch);
    fetch->ring[ring].ready = ready;
    if (was_open)
        learn_and_open(fetch, vid);
}

/* What the guest may write meanwhile is loaded once. Its order is no matter: nothing depends on it. */
#define LOAD(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)

/* ---- The data path: inside ------------------------------------------------------------------------------------------------- */

/* 0: the guest has no such memory. */
static inline uintptr_t place(const struct fetch *fetch, uint64_t address)
{
    for (uint32_t i = 0; i < fetch->n_regions; i++)
        if (address - fetch->regions[i].guest < fetch->regions[i].size)
            return fetch->regions[i].here + (uintptr_t)(address - fetch->regions[i].guest);
    return 0;
}

/* The first two lines of a buffer, of which `length` bytes will be used. Those behind are in a row, and come by themselves. */
static inline void fetch_buffer(const struct fetch *fetch, uint64_t address, uint32_t length, bool to_write)
{
    uintptr_t at = place(fetch, address);

    if (at == 0)
        return;
    FETCH_LINE(at, to_write);
    if (at % LINE + length > LINE)
        FETCH_LINE(at + LINE, to_write);
}

/* Heads of n chains from the entry `next` on, as far as the guest names any; their descriptors are on their way. */
static inline uint32_t split_heads(const struct fetch_ring *ring, uint16_t next, uint32_t n, uint16_t head[FETCH_PACKETS])
{
    uint32_t n_heads = 0;

    for (uint32_t i = 0; i < n; i++) {
        uint16_t at = LOAD(ring->avail->ring[(uint16_t)(next + i) & (ring->size - 1)]);
        if (at < ring->size) {
            FETCH_LINE(&ring->desc[at], 0);
            head[n_heads++] = at;
        }
    }
    return n_heads;
}

/* Where librte_vhost will say that it has used n of them. */
static inline void split_used(const struct fetch_ring *ring, uint16_t next, uint32_t n)
{
    const struct vring_used_elem *first = &ring->used->ring[next & (ring->size - 1)];
    const struct vring_used_elem *last = &ring->used->ring[(uint16_t)(next + n - 1) & (ring->size - 1)];

    FETCH_LINE(first, 1);
    if ((uintptr_t)first / LINE != (uintptr_t)last / LINE)
        FETCH_LINE(last, 1);
}

static void split_receive(const struct fetch *fetch, const struct fetch_ring *ring, uint32_t n, uint32_t length)
{
    uint16_t head[FETCH_PACKETS], next = atomic_load_explicit(&ring->next, memory_order_relaxed);
    uint32_t n_heads = split_heads(ring, next, n, head);

    split_used(ring, next, n);
    for (uint32_t i = 0; i < n_heads; i++)
        fetch_buffer(fetch, LOAD(ring->desc[head[i]].addr), length, true);
}

/* What is not available yet is not told from what is: at worst a buffer that was used before is fetched in vain. */
static void packed_receive(const struct fetch *fetch, const struct fetch_ring *ring, uint32_t n, uint32_t length)
{
    uint32_t at = ring_at(atomic_load_explicit(&ring->next, memory_order_relaxed));

    for (uint32_t i = 0; i < n && at < ring->size; i++) {
        fetch_buffer(fetch, LOAD(ring->packed[at].addr), length, true);
        at = at + 1 == ring->size ? 0 : at + 1;
    }
}

void fetch_receive(const struct fetch *fetch, uint32_t number, uint32_t n, uint32_t length)
{
    const struct fetch_ring *ring = &fetch->ring[number];

    n = n < FETCH_PACKETS ? n : FETCH_PACKETS;
    if (n == 0 || ring->size == 0)
        return;
    if (ring->packed != NULL)
        packed_receive(fetch, ring, n, length + VIRTIO_HEADER);
    else
        split_receive(fetch, ring, n, length + VIRTIO_HEADER);
}

/* A chain's first buffer, and the second one where the first has the header alone. */
static void split_transmit(const struct fetch *fetch, const struct fetch_ring *ring, uint32_t n)
{
    uint16_t head[FETCH_PACKETS], next = atomic_load_explicit(&ring->next, memory_order_relaxed);
    uint16_t there = (uint16_t)(LOAD(ring->avail->idx) - next);

    if (there == 0)
        return;
    n = n < there ? n : there;
    uint32_t n_heads = split_heads(ring, next, n, head);
    split_used(ring, next, n);
    for (uint32_t i = 0; i < n_heads; i++) {
        const struct vring_desc *desc = &ring->desc[head[i]];
        uint32_t length = LOAD(desc->len);
        fetch_buffer(fetch, LOAD(desc->addr), length < LINE ? length : LINE, false);
        uint16_t second = LOAD(desc->next);
        if ((LOAD(desc->flags) & VRING_DESC_F_NEXT) != 0 && second < ring->size)
            fetch_buffer(fetch, LOAD(ring->desc[second].addr), LINE, false);
    }
}

static void packed_transmit(const struct fetch *fetch, const struct fetch_ring *ring, uint32_t n)
{
    uint16_t next = atomic_load_explicit(&ring->next, memory_order_relaxed);
    uint32_t at = ring_at(next);
    bool wrap = ring_wrap(next);

    for (uint32_t i = 0; i < n && at < ring->size; i++) {
        uint16_t flags = LOAD(ring->packed[at].flags);
        if (!ring_available(flags, wrap))
            return;
        fetch_buffer(fetch, LOAD(ring->packed[at].addr), LINE, false);
        ring_go_on(&at, &wrap, ring->size);
    }
}

void fetch_transmit(const struct fetch *fetch, uint32_t number, uint32_t n)
{
    const struct fetch_ring *ring = &fetch->ring[number];

    n = n < FETCH_PACKETS ? n : FETCH_PACKETS;
    if (n == 0 || ring->size == 0)
        return;
    if (ring->packed != NULL)
        packed_transmit(fetch, ring, n);
    else
        split_transmit(fetch, ring, n);
}

static void early(const struct fetch_ring *ring)
{
    uint16_t next = atomic_load_explicit(&ring->next, memory_order_relaxed);

    if (ring->packed != NULL && ring_at(next) < ring->size)
        FETCH_LINE(&ring->packed[ring_at(next)], 1);
    if (ring->packed == NULL) {
        FETCH_LINE(&ring->avail->idx, 0);
        FETCH_LINE(&ring->avail->ring[next & (ring->size - 1)], 0);
    }
}

void fetch_early(const struct fetch *fetch)
{
    uint64_t pairs = atomic_load_explicit(&fetch->recent, memory_order_relaxed);

    for (uint32_t n = 0; pairs != 0 && n < FETCH_EARLY; pairs &= pairs - 1, n++) {
        const struct fetch_ring *ring = &fetch->ring[2 * (uint32_t)__builtin_ctzll(pairs)];
        if (ring->size != 0)
            early(ring);
    }
}
