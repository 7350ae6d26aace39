/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * flowq-vhost: flows that move in order (setting ordered). positions.h says how rings are read, and has the gate.
 */
#ifndef FLOWQ_VHOST_ORDERED_H
#define FLOWQ_VHOST_ORDERED_H

#include "port.h"
#include "positions.h"

_Static_assert(MAX_PAIRS <= POSITIONS_MAX_PAIRS, "a bit for each pair");

struct ordered {
    struct positions_device device;
    struct positions ring[MAX_PAIRS]; /* under receive[q].lock */
};

/* Of a port that is being made. False: no memory. Without the setting it stays NULL. */
bool ordered_make(struct port *port);
void ordered_unmake(struct port *port);

/* Around a call that puts packets into the ring of a pair, whose lock is held; after it, if some were put. */
void ordered_before(struct port *port, int vid, uint32_t pair);
void ordered_after(struct port *port, uint32_t pair);
/* Before queues are chosen. */
void ordered_look(struct port *port);

/* A device begins; it ends, or a message is about to be dealt with: nobody reads its rings when this returns. Not with
   ports_lock. */
void ordered_begin(int vid);
void ordered_close(int vid);

#endif /* FLOWQ_VHOST_ORDERED_H */
