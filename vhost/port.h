/*
 * flowq-vhost: ports, that is, vhost-user sockets, and devices, that is, connections to them.
 *
 * Layout
 *
 *   devices[vid] --> port --> vm            what a call for packets follows: three loads
 *                     |-- receive[q]        ring 2q of the device: what the guest receives
 *                     `-- transmit[q]       ring 2q + 1: what the guest transmits
 *
 * librte_vhost numbers devices and uses a number again as soon as it is free. So a vm belongs to a port, and a port to a
 * path: the one that was registered with it last. Ports are never freed: a call that was overtaken by
 * rte_vhost_driver_unregister() still finds memory that is a port, at worst one that serves another socket by now, steers
 * by that one's table, and librte_vhost, which is asked for the device that the caller named, takes the packets or does
 * not. When a path is needed for which there is no port and PORTS_KEPT of them are without a registration, the one that has
 * been so for longest is taken. So there are never more than were registered at once, and PORTS_KEPT.
 *
 * Who writes
 *
 *   P-A  `ports_lock` guards the list of ports, and of each port and device all that is not _Atomic. It is held for some
 *        instructions, never across a call to the program, to librte_vhost, or across anything that waits. So whoever is in a
 *        message, with all rings of librte_vhost locked, may take it. The data path never does.
 *   P-B  devices[vid].port is stored with release after the vm and the rings are as they must be for this connection, and loaded
 *        with acquire. It is NULL for devices that are left alone.
 *   P-C  receive[q].lock is held across one call of librte_vhost's enqueue. Callers used to have one thread to a ring by their
 *        own means, and now packets of several threads go to one ring: librte_vhost 22.11 locks for itself, later versions share
 *        the lock among enqueuers. What is counted in `receive` is written under it.
 *   P-D  transmit[q].busy is taken, not waited for, by whoever reads the ring, be it for that ring's own caller or for a ring
 *        that was switched off; who does not get it has found nothing, as librte_vhost itself answers then. What is counted in
 *        `transmit` is written by its holder.
 *   P-E  transmit[q].credit and `state` are written by the thread that reads librte_vhost's messages, and credit is lowered by
 *        the holder of `busy`, by a compare-and-swap that fails if the ring was switched on and off again meanwhile: the upper
 *        half counts how often it was.
 *
 *   P-G  fetch.h has how a guest's rings are read ahead, and the gate before them.
 *
 * Order of locks: receive[q].lock or transmit[q].busy, then librte_vhost's lock of that ring, then (from a callback) the
 * program's, then ports_lock, then the vm's. None of ours is waited for with librte_vhost's rings locked, but ports_lock, and
 * the two gates (fetch.h, positions.h), behind which nothing waits.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_VHOST_PORT_H
#define FLOWQ_VHOST_PORT_H

#include "fetch.h"
#include "settings.h"

#include <flowq.h>
#include <pthread.h>
#include <rte_vhost.h>
#include <stdatomic.h>
#include <stdbool.h>

enum {
    MAX_PAIRS = 128, /* VHOST_MAX_QUEUE_PAIRS of librte_vhost */
    MAX_RINGS = 2 * MAX_PAIRS,
    MAX_DEVICES = RTE_MAX_VHOST_DEVICE,
    BURST = 32,      /* packets in a call of librte_vhost at most: its MAX_PKT_BURST */
    N_REASONS = 8,   /* FLOWQ_REASON_BOUND to _RSS */
    PORTS_KEPT = 16, /* a switch that deletes a port mostly adds it again; a table of flows takes a megabyte */
    CACHE_LINE = 64
};

struct receive_ring {
    _Alignas(CACHE_LINE) _Atomic uint32_t lock;
    _Atomic uint64_t refused;            /* packets handed back to the caller: the ring was full, or off */
    _Atomic uint64_t reasons[N_REASONS]; /* packets that are in the ring, by why */
};

/* What the front end says of a transmit ring, as far as librte_vhost does not know it. */
enum ring_state {
    RING_OPEN,   /* what librte_vhost knows is right */
    RING_HIDDEN, /* switched off: what was there is forwarded, what comes is discarded */
    RING_PARKED  /* switched off, and stopped since: it is not read until there is word from the front end */
};

struct transmit_ring {
    _Alignas(CACHE_LINE) _Atomic uint32_t busy;
    _Atomic uint8_t state;      /* enum ring_state */
    bool ready;                 /* librte_vhost reads it */
    bool lively;                /* the last call found packets; under `busy` */
    _Atomic uint64_t credit;    /* how often switched << 32 | packets that were there when it was, and are to be forwarded */
    _Atomic uint32_t turns;     /* calls since the ring was found to have nothing that is to be forwarded */
    _Atomic uint64_t read;      /* packets that the guest transmitted on it */
    _Atomic uint64_t late;      /* of those, forwarded after it was switched off */
    _Atomic uint64_t discarded; /* transmitted after it was switched off */
};

enum { NO_RING = -1, NO_DEVICE = -1 };

struct port {
    struct flowq_vm *vm;     /* made with the port */
    struct ordered *ordered; /* so is this (ordered.h); NULL: flows move at once */
    int save_told;           /* the last error of saving its flows that was logged; under state.c's save_lock */
    _Atomic int drainer;     /* the pair whose dequeue reads rings that are switched off; NO_RING: there are none */
    _Atomic uint64_t hidden[MAX_PAIRS / 64]; /* bit q: transmit[q] is hidden */
    _Atomic bool polled;                     /* this connection's rings are read by rte_vhost_dequeue_burst() */
    struct receive_ring receive[MAX_PAIRS];
    struct transmit_ring transmit[MAX_PAIRS];
    /* P-A */
    struct port *next;
    char *path;
    const struct rte_vhost_device_ops *app; /* the program's callbacks; NULL: the path is not registered */
    int vid;                                /* the device that is steered, or NO_DEVICE */
    uint64_t left;                          /* when it was unregistered, in unregistrations */
    uint32_t index;                         /* its number in telemetry */
    uint32_t connections;
};

struct device {
    struct port *_Atomic port;   /* NULL: left alone */
    struct fetch *_Atomic fetch; /* made once, before `port` is first stored; NULL: nothing is fetched ahead (fetch.h) */
    /* P-A */
    struct port *owner; /* whose callbacks it has; NULL: not known */
    const struct rte_vhost_device_ops *app;
    struct rte_vhost_user_extern_ops hook; /* the program's own, NULLs if it has none */
    bool asynchronous;
    /* The message that is on its way, in librte_vhost's thread: */
    uint32_t request;
    bool theirs; /* the program has dealt with it, and librte_vhost has not */
    int hiding;  /* the pair whose disabling is on its way through librte_vhost, or NO_RING */
};

extern struct device devices[MAX_DEVICES];
extern pthread_mutex_t ports_lock;

/* The settings of this process; read once, after real_find(). */
const struct settings *settings(void);

/* NULL: the caller's own choice stands. */
static inline struct port *port_of(int vid)
{
    return vid < 0 || vid >= MAX_DEVICES ? NULL : atomic_load_explicit(&devices[vid].port, memory_order_acquire);
}

static inline struct fetch *fetch_of(int vid)
{
    return vid < 0 || vid >= MAX_DEVICES ? NULL : atomic_load_explicit(&devices[vid].fetch, memory_order_acquire);
}

/* What is written by one thread at a time and read by others. */
static inline void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* Takes the places of the program's callbacks for this path. Returns librte_vhost's answer. */
int port_register(const char *path, const struct rte_vhost_device_ops *ops);
int port_unregister(const char *path);
/* The program's own hook for messages of a device. */
int port_hook(int vid, const struct rte_vhost_user_extern_ops *ops, void *ctx);
/* Asynchronous calls begin: the device is left alone from now on. */
void port_asynchronous(int vid);

/* For telemetry, with ports_lock held: the port of that index, and the list's first. */
struct port *port_at_locked(uint32_t index);
struct port *port_first_locked(void);

/* ---- messages.c ---- */

/* Our hook, for librte_vhost. */
extern const struct rte_vhost_user_extern_ops message_hook;

/* Librte_vhost says that ring 2 * pair + 1 can be read now, or no longer. Does the program have to be told? ports_lock is
   held. */
bool transmit_ready_locked(struct port *port, uint32_t pair, bool ready);
/* No connection, or rings are new: none is ready, or hidden. ports_lock is held. */
void transmit_forget_locked(struct port *port);

/* ---- state.c ---- */

/* The flows of this path, if any were saved, into a vm that nobody else has seen. */
void state_load(struct flowq_vm *vm, const char *path);
/* Where a folder is set; nobody holds ports_lock. False: it is not saved. */
bool state_save(struct port *port);
/* All that are registered. False: no folder is set. */
bool state_save_all(uint32_t *saved, uint32_t *failed);
/* Once: saves now and then, if that is set. */
void state_start(void);

/* ---- telemetry.c ---- */

/* Once; without DPDK's telemetry it does nothing. */
void telemetry_start(void);

#endif /* FLOWQ_VHOST_PORT_H */
