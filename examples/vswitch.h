/*
 * vswitch: a learning switch for virtual machines, with flowq choosing the receive queue; the model of how to link flowq into a
 * host that serves vhost-user. DPDK's librte_vhost speaks the protocol and copies packets; TAP devices are the way out.
 *
 *   vswitch.c          options, start and stop
 *   vswitch_worker.c   a packet's way from port to port: read this first
 *   vswitch_port.c     what is the same for all ports: settings, counts, the choice of queues
 *   vswitch_vhost.c    ports behind which a guest is, and what its messages mean for flowq
 *   vswitch_tap.c      ports that are TAP devices
 *   vswitch_offload.c  checksum and segmentation offloads, between DPDK's form and virtio's
 *   vswitch_command.c  what whoever runs it says while it runs
 *   vswitch_state.c    ports that keep their flows over a restart
 *   vswitch_report.c   statistics as text and as JSON
 *   ../vhost/positions how far rings are filled and taken, for flows that move in order
 *   ../vhost/watch     whether packets overtake others of their flow
 *
 * Threads. Workers, each with its share of the transmit queues; librte_vhost's thread, which calls us when a guest comes, goes,
 * or switches queues; the main thread, which waits for signals and commands. A worker's turn is one section of flowq. That serves
 * twice: calls are cheaper inside, and flowq_synchronize() tells the vhost thread when no worker uses a device any more, and the
 * main thread when none notes any more what shall be forgotten.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef VSWITCH_H
#define VSWITCH_H

#include "mac.h"
#include "positions.h"
#include "steer.h"
#include "tap.h"
#include "watch.h"

#include <flowq.h>
#include <linux/virtio_net.h>
#include <pthread.h>
#include <rte_mbuf.h>
#include <rte_spinlock.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#define PROGRAM "vswitch"

enum {
    MAX_PORTS = 32,
    MAX_QUEUES = 16, /* queue pairs of a port */
    MAX_WORKERS = 16,
    BURST = 32,
    NO_DEVICE = -1
};

struct queue_counts {
    _Atomic uint64_t from_vm; /* packets the VM transmitted on this queue */
    _Atomic uint64_t to_vm;   /* packets put into this receive queue */
    _Atomic uint64_t to_vm_bytes;
    _Atomic uint64_t full;   /* dropped: the receive queue was full */
    _Atomic uint64_t off;    /* dropped: the queue was switched off between the decision and the ring */
    _Atomic uint64_t late;   /* read from a transmit queue that is off, and discarded, as vhost-user demands */
    _Atomic uint64_t broken; /* written to a queue that was off before and after: must stay 0 */
};

/* How the receive queue of a port is chosen: as steer.h has it, or by a plain hash, to compare with. */
enum { STEER_CRC = N_STEER, N_WAYS };

struct port;

/* What a port can do. receive() gives mbufs away, send() copies what it takes: the caller frees. Both run inside a section. */
struct port_ops {
    uint16_t (*receive)(struct port *port, uint32_t qid, struct rte_mbuf **packets, uint16_t n);
    uint16_t (*send)(struct port *port, uint32_t qid, struct rte_mbuf **packets, uint16_t n);
    /* Tells flowq what was taken out of the rings meanwhile; NULL: what is sent is taken. */
    void (*look)(struct port *port);
    void (*close)(struct port *port);
};

struct port {
    const struct port_ops *ops;
    char name[128];            /* TAP device or socket */
    _Atomic uint32_t steer;    /* enum steer, or STEER_CRC; a worker reads it once a burst, as it may change (port_steer()) */
    uint32_t n_queues;         /* as many as there can be */
    _Atomic uint32_t n_polled; /* transmit queues that there are, so far as we were told: the others are not worth a call */
    uint32_t index;
    struct flowq_vm *vm;
    struct flowq_vm_config config; /* its settings */
    struct queue_counts counts[MAX_QUEUES];
    _Atomic uint64_t no_queue;      /* dropped: no receive queue in use (FLOWQ_DROP) */
    _Atomic bool rx_on[MAX_QUEUES]; /* as the guest says; a TAP's are always on */
    _Atomic bool tx_on[MAX_QUEUES];
    _Atomic uint32_t connections;
    bool loaded; /* its flows are those of a switch before this one, and of the guest that comes first */
    /* vhost */
    _Atomic int vid;                    /* librte_vhost's number of the device, or NO_DEVICE */
    rte_spinlock_t rx_lock[MAX_QUEUES]; /* several workers may have packets for one receive ring */
    bool registered;
    bool ordered; /* flows move in order; then, as vhost/positions.h has it: */
    struct positions_device device;
    struct positions positions[MAX_QUEUES]; /* with rx_lock */
    struct watch watch;
    /* TAP */
    struct tap tap;
};

struct port_settings {
    uint32_t steer;
    uint32_t queues;
    uint32_t max_flows;     /* 0: flowq's default */
    uint32_t rebind_min_us; /* 0: off */
    bool ordered, watch;
    uint32_t ordered_max_us; /* 0: flowq's default */
};

struct vswitch {
    struct port ports[MAX_PORTS];
    uint32_t n_ports;
    struct mac_table macs;
    struct rte_mempool *pool;
    uint32_t n_workers;
    pthread_t workers[MAX_WORKERS];
    _Atomic bool stop;
    _Atomic uint64_t no_memory; /* packets lost for want of mbufs */
    _Atomic uint64_t turns, idle_turns;
};

/* The one switch of this process: librte_vhost's callbacks have no argument for it. */
extern struct vswitch the_switch;

static inline void count(_Atomic uint64_t *counter, uint64_t n) { atomic_fetch_add_explicit(counter, n, memory_order_relaxed); }

/* All below: 0, or -1 with the reason printed to stderr in one line. */
int complain(const char *what, const char *name, const char *why);

/* ---- Ports ---- */

/* A new port at the end of the switch's list, before the workers start. NULL: the reason has been printed. */
struct port *port_new(const char *name, const struct port_settings *settings);
/* Takes the last one off the list again, without closing it. */
void port_discard(void);
/* Closes all, after the workers ended. */
void ports_close(void);
const char *way_name(uint32_t steer);
/* N_WAYS if there is none of that name. */
uint32_t way_named(const char *name);
/* Another way, while guests are served. Unless it is auto, what was learned is forgotten. */
int port_steer(struct port *port, uint32_t steer);
/* The queue of each packet. FLOWQ_DROP: none. */
void port_choose(struct port *port, const struct flowq_pkt *views, size_t n, uint16_t *qids);

int tap_port_add(const char *name, const char *netns, const struct port_settings *settings);
int vhost_port_add(const char *path, bool client, const struct port_settings *settings);
/* Opens the sockets, when all ports are there: guests come from then on. */
int vhost_ports_open(void);

/* ---- Offloads ---- */

/* What the virtio-net header of a packet from a TAP asks for, as DPDK's transmit flags. False: it contradicts the packet. */
bool offload_from_header(const struct virtio_net_hdr *header, struct rte_mbuf *packet);
void offload_to_header(const struct rte_mbuf *packet, struct virtio_net_hdr *header);

/* ---- Workers ---- */

int workers_start(uint32_t n);
void workers_stop(void);

/* ---- Commands ---- */

/* What has come on standard input is done; `report` prints statistics. False: there will be no more. */
bool commands_read(void (*report)(FILE *));

/* ---- State ---- */

/* Before the first guest and the workers: takes over what is in the folder; a file that cannot be taken is told, and left out. */
int state_load(const char *folder);
void state_save(const char *folder);

/* ---- Report ---- */

void report_text(FILE *out);
void report_json(FILE *out);

#endif /* VSWITCH_H */
