/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fetch: what librte_vhost is about to wait for, fetched ahead.
 *
 * A packet that is put into a ring, or read from it, needs lines that the guest wrote last: the ring's entry, its descriptor, the
 * buffer that this names. librte_vhost comes upon them packet by packet and waits for each, and for the page walk before it. A
 * burst that is parted by queue waits once more for each ring. Here all of a burst's are asked for at once, before librte_vhost
 * is called: they are on their way together, and behind what flowq computes.
 *
 * Layout
 *
 *   devices[vid].fetch -> inside, open            the gate
 *                         regions[]               guest's memory: where librte_vhost has it mapped
 *                         ring[r]                 where ring r's tables are; all zero: it is left alone
 *                         ring[r].next            where librte_vhost goes on in it
 *
 * It is made with the device's first connection and never freed: a call that was overtaken finds memory that is a gate.
 *
 * Who writes
 *
 *   P-G  regions[] and the places of tables are written by the thread that has a message of the device, or a callback of
 *        librte_vhost about it (one at a time for a device), while the gate is closed and nobody inside; they are read inside.
 *        ring[r].next and `recent` are hints, written by whoever used the ring last.
 *
 * THE GATE. As positions.h has it, what librte_vhost has mapped may be unmapped with any message, and when a device ends. The
 * hook closes the gate before the message is dealt with: it says that it is closed, and waits until nobody is inside. Whoever
 * reads raises `inside` first and looks whether it is open then; both are seq_cst, so one of the two sees the other. It is opened
 * again, with what has changed, when librte_vhost has dealt with the message, and stays closed if that failed. Inside, nothing of
 * librte_vhost is called, whose locks the hook may hold.
 *
 *   SET_MEM_TABLE, ADD_MEM_REG, REM_MEM_REG   unmap: regions are forgotten before, asked for after. The two latter come by even
 *                                             where librte_vhost does not know them, and rte_vhost_get_mem_table() takes for
 *                                             granted that there is a table: so only behind a SET_MEM_TABLE that went well
 *   RESET_OWNER                               unmaps
 *   a device that has not begun (new_device)  may be unmapped without a word when its path is unregistered: never open; nor is it
 *                                             between destroy_device and the next new_device
 *   every other one                           may move rings: their tables are asked for anew, if the ring is in use
 *   an IOMMU (VIRTIO_F_ACCESS_PLATFORM)       addresses mean something else from one moment to the next: never open
 *
 * What a guest may write meanwhile is loaded once, and bounded by the ring's size and by its own memory. A wrong address costs a
 * line fetched in vain: nothing is written, and nothing depends on what was read.
 */
#ifndef FLOWQ_VHOST_FETCH_H
#define FLOWQ_VHOST_FETCH_H

#include <rte_vhost.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    FETCH_RINGS = 256,  /* VHOST_MAX_VRING of librte_vhost */
    FETCH_REGIONS = 8,  /* VHOST_MEMORY_MAX_NREGIONS of librte_vhost 22.11; of more, the first ones */
    FETCH_PACKETS = 64, /* of a ring at once, at most: there are not so many miss buffers */
    FETCH_EARLY = 8     /* rings whose first lines are asked for before it is known whether they are needed */
};

struct fetch_region {
    uint64_t guest, size; /* physical, as the guest says it */
    uintptr_t here;
};

/* Split rings have avail, desc and used; packed ones `packed` alone. */
struct fetch_ring {
    const struct vring_avail *avail;
    const struct vring_desc *desc;
    const struct vring_used *used;
    const struct vring_packed_desc *packed;
    uint16_t size; /* 0: the ring is left alone */
    bool ready;    /* librte_vhost says so */
    /* as rte_vhost_get_vring_base() tells it: entries of the available ring; or a descriptor, and the wrap counter in bit 15 */
    _Atomic uint16_t next;
};

struct fetch {
    _Alignas(64) _Atomic uint32_t inside;
    _Atomic uint32_t open;
    _Atomic uint64_t recent; /* bit q: the last burst for the guest had packets for ring 2q */
    /* P-G */
    _Alignas(64) uint32_t n_regions;
    bool has_table; /* librte_vhost has a table of memory */
    bool running;   /* new_device was called, and destroy_device not since */
    struct fetch_region regions[FETCH_REGIONS];
    struct fetch_ring ring[FETCH_RINGS];
};

/* ---- Life of a device. fetch == NULL: nothing is fetched ---- */

/* NULL: no memory, or no function of librte_vhost that it takes. */
struct fetch *fetch_make(void);
/* A connection begins, or ends: nobody is inside when this returns, and nothing is known. */
void fetch_forget(struct fetch *fetch);
/* A device begins, and stops: nobody is inside when that returns. */
void fetch_run(struct fetch *fetch, int vid);
void fetch_stop(struct fetch *fetch);
/* A message, before librte_vhost deals with it; and after it did so, and well. */
void fetch_before(struct fetch *fetch, uint32_t request);
void fetch_after(struct fetch *fetch, int vid, uint32_t request);
/* Librte_vhost says that a ring can be used now, or no longer. */
void fetch_ready(struct fetch *fetch, int vid, uint32_t ring, bool ready);

/* ---- The data path ---- */

/* False: it is closed, and none of what follows may be called. Otherwise fetch_leave() is, before librte_vhost. */
static inline bool fetch_enter(struct fetch *fetch)
{
    if (fetch == NULL)
        return false;
    atomic_fetch_add(&fetch->inside, 1);
    if (__builtin_expect(atomic_load(&fetch->open) != 0, 1))
        return true;
    atomic_fetch_sub_explicit(&fetch->inside, 1, memory_order_release);
    return false;
}

static inline void fetch_leave(struct fetch *fetch) { atomic_fetch_sub_explicit(&fetch->inside, 1, memory_order_release); }

/* The rings that the last burst was for: probably this one is, too. */
void fetch_early(const struct fetch *fetch);
/* The next n buffers of a receive ring, each for a packet of at least `length` bytes, its virtio header in front. */
void fetch_receive(const struct fetch *fetch, uint32_t ring, uint32_t n, uint32_t length);
/* What the guest has transmitted on a ring, n packets at most. */
void fetch_transmit(const struct fetch *fetch, uint32_t ring, uint32_t n);

/* After librte_vhost used a ring, by whoever used it; not inside. */
void fetch_used(struct fetch *fetch, int vid, uint32_t ring);
/* The pairs that a burst was for. */
static inline void fetch_remember(struct fetch *fetch, uint64_t pairs)
{
    if (atomic_load_explicit(&fetch->recent, memory_order_relaxed) != pairs)
        atomic_store_explicit(&fetch->recent, pairs, memory_order_relaxed);
}

#endif /* FLOWQ_VHOST_FETCH_H */
