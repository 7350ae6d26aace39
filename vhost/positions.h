/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * positions: how far a receive ring has been filled, and how far the guest has published that it took from it, for a vm whose
 * flows move in order (flowq_vm_ring_report(3)). For hosts that use librte_vhost: the drop-in, and examples/vswitch.
 *
 * Filled is what librte_vhost says after it has put packets there. Taken is not said to it; what a guest publishes is this:
 *
 *   split ring    avail index     - size. A guest makes an entry available when it has a free one, so it took all but the last
 *                                 `size`. Always there; Linux refills receive rings when half of them is gone or so, so it lags.
 *                 used_event      with EVENT_IDX, as far as the guest had come when it asked for interrupts; if it has changed
 *                                 since it was last read (a stale one is in range again after 65536 entries), is not 0 (what
 *                                 Linux writes to ask for none), and lies between taken and filled.
 *   packed ring   flags           of refilled descriptors: what is available in the next lap was taken in this one.
 *                 off_wrap        of the driver's event suppression, where its flags say DESC; modulo 2 x size.
 *
 * Ring positions count what the ring counts: entries of the available ring, or descriptors where it is packed. Whatever a guest
 * writes there, nothing is taken that was not filled, and it only hurts itself.
 *
 * THE GATE. What librte_vhost hands out of a ring may be unmapped without a callback: memory is plugged, rings get new
 * addresses. All of this begins with a message, for which librte_vhost calls a hook, most of them with all rings locked, before
 * it does anything. The hook closes the gate: that raises `closed`, and waits until nobody is inside. Whoever reads a ring
 * raises `inside`, and looks whether `closed` is still what it was when the addresses were good; both are seq_cst, so one of
 * the two sees the other. Inside, nothing is called but a few loads are made; librte_vhost least of all, whose locks the hook
 * holds. Addresses are asked for anew after packets were put into the ring: librte_vhost had the ring's lock for that, so
 * whatever message had closed the gate before was dealt with. Messages that come without locks stop the device
 * (GET_VRING_BASE), for which destroy_device closes the gate again; or concern an IOMMU: then rings are not read at all, and
 * moves are forced; as they are where librte_vhost does not tell of a ring.
 *
 * All functions but positions_begin() and positions_close() are called with the ring's own lock, of the host's.
 */
#ifndef FLOWQ_VHOST_POSITIONS_H
#define FLOWQ_VHOST_POSITIONS_H

#include <flowq.h>
#include <rte_vhost.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define POSITIONS_MAX_PAIRS 128 /* VHOST_MAX_QUEUE_PAIRS of librte_vhost */

/* Functions of librte_vhost; one that is NULL is not there. */
struct positions_source {
    int (*get_vring)(int vid, uint16_t ring, struct rte_vhost_vring *vring);
    int (*get_base)(int vid, uint16_t ring, uint16_t *avail, uint16_t *used);
    int (*get_features)(int vid, uint64_t *features);
};

/* Of a device. All zero is right at the beginning. */
struct positions_device {
    _Atomic uint32_t closed; /* how often */
    _Atomic uint32_t inside;
    _Atomic uint32_t begun;                             /* how often a device began */
    _Atomic uint64_t backlog[POSITIONS_MAX_PAIRS / 64]; /* bit q: not all that was put into ring 2q is known to be taken */
};

/* Of a receive ring. All zero is right at the beginning. */
struct positions {
    uint32_t filled, taken;        /* as they are reported */
    uint32_t filled_lap;           /* packed: filled, modulo 2 x size */
    uint32_t made, made_lap;       /* packed: so far descriptors are known to be available, and that modulo 2 x size */
    uint16_t size, event;          /* size: 0: not told. event: used_event, or off_wrap, when it was last read, */
    bool event_known;              /* if it was */
    bool packed, event_idx, blind; /* blind: the ring must not be read */
    int vid;
    uint32_t begun;       /* the device's, when this began */
    uint32_t closed;      /* the device's, before packets were put there; 0: the ring is not known */
    uint32_t good_closed; /* when the addresses were good, plus 1; 0: never */
    struct rte_vhost_vring vring;
};

/* A device begins (new_device, new_connection): its rings begin anew with their next packets. */
void positions_begin(struct positions_device *device);
/* The gate: before a message is dealt with, and when a device ends. */
void positions_close(struct positions_device *device);

/* Before packets are put into ring 2 * qid, and after some were. */
void positions_before(struct positions *p, struct positions_device *device, const struct positions_source *from, int vid,
                      struct flowq_vm *vm, uint32_t qid);
void positions_after(struct positions *p, struct positions_device *device, const struct positions_source *from,
                     struct flowq_vm *vm, uint32_t qid);
/* What the guest has taken meanwhile: for the rings in `backlog`, before packets are steered. */
void positions_look(struct positions *p, struct positions_device *device, struct flowq_vm *vm, uint32_t qid);

/* ---- For tests: the arithmetic alone --------------------------------------------------------------------------------------- */

/* used: as rte_vhost_get_vring_base() tells it. */
void positions_start(struct positions *p, uint16_t size, bool packed, bool event_idx, uint16_t used);
void positions_filled(struct positions *p, uint16_t used);
void positions_read(struct positions *p, const struct rte_vhost_vring *vring);

#endif /* FLOWQ_VHOST_POSITIONS_H */
