/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * watch: do packets overtake others of their flow? For hosts whose flows move in order, to be tried: examples/vswitch (setting
 * watch) and, before any program that has librte_vhost, tests/system/ring_watch.c.
 *
 * A flow's packet that goes into another ring than the one before it is a move. It may be overtaken, or overtake, unless the
 * guest has published by then that it took from the old ring all that was there when that one was put. This looks at what is
 * true, flow by flow, by addresses and ports as they stand in the packet; what flowq does it does not ask. One thread at a time.
 */
#ifndef FLOWQ_VHOST_WATCH_H
#define FLOWQ_VHOST_WATCH_H

#include "positions.h"

#include <rte_mbuf_core.h>

enum { WATCH_FLOWS = 4096, WATCH_BURST = 64 /* packets of a call that are looked at; of more the first ones */ };

struct watch_flow {
    uint8_t tuple[12], protocol;
    uint16_t qid;    /* where its last packet went */
    uint32_t filled; /* and how far that ring was filled then */
    uint32_t begun;  /* positions.begun */
};

/* All zero: nobody watches. */
struct watch {
    struct watch_flow *flows;
    uint8_t step[WATCH_BURST]; /* of each packet that is on its way into the ring */
    _Atomic uint64_t moves, overtakes;
};

/* A device's receive rings. */
struct watch_rings {
    struct positions *at; /* by pair */
    struct positions_device *device;
    struct flowq_vm *vm; /* NULL: nobody is told */
};

bool watch_make(struct watch *watch);
void watch_unmake(struct watch *watch);
/* Around the call that puts these into ring 2 * qid: n, and of these the first so many that were put. */
void watch_before(struct watch *watch, const struct watch_rings *rings, uint32_t qid, struct rte_mbuf *const *packets,
                  uint16_t n);
void watch_after(struct watch *watch, const struct watch_rings *rings, uint32_t qid, struct rte_mbuf *const *packets, uint16_t n);

#endif /* FLOWQ_VHOST_WATCH_H */
