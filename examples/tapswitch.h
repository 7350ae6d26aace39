/*
 * tapswitch: a learning switch between multiqueue TAP devices, with flowq choosing the receive queue, in as little as a whole one
 * takes: libc and flowq.
 *
 * Each port is a TAP. Behind it is the kernel of some network namespace, which tapswitch regards as the VM: what is read from
 * descriptor q the VM transmitted on queue q; what is written to descriptor q arrives on its receive queue q.
 *
 *   tapswitch.c          options, start and stop
 *   tapswitch_switch.c   a frame's way from port to port, on one or more threads
 *   tapswitch_demo.c     --demo: two namespaces, a guest with a will of its own, the three ways to steer side by side
 *   tapswitch_guest.c    the flows of the demo
 *   tapswitch_kernel.c   what the demo asks of the kernel: namespaces, addresses, the two small programs that run in it
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef TAPSWITCH_H
#define TAPSWITCH_H

#include "mac.h"
#include "steer.h"
#include "tap.h"

#include <flowq.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#define PROGRAM "tapswitch"

enum { MAX_PORTS = 16, MAX_THREADS = 16 };

/* ---- A frame's way (tapswitch_switch.c) ---- */

struct queue_counts {
    _Atomic uint64_t from_vm; /* frames read: the VM transmitted them on this queue */
    _Atomic uint64_t to_vm;   /* frames written: they arrive on this queue */
    _Atomic uint64_t to_vm_bytes;
    _Atomic uint64_t dropped; /* the kernel took them not: the interface is down */
};

struct port {
    struct tap tap;
    enum steer steer;
    struct flowq_vm *vm;
    struct queue_counts counts[TAP_MAX_QUEUES];
};

struct tapswitch {
    struct port ports[MAX_PORTS];
    uint32_t n_ports;
    struct mac_table macs;
    uint32_t n_threads;
    pthread_t threads[MAX_THREADS];
    int stop_fd;         /* eventfd: readable when the threads shall end */
    _Atomic bool failed; /* a thread ended before it was told to */
};

/* Adds a port; the TAP belongs to the switch from then on. 0, or -errno of flowq. */
int switch_add_port(struct tapswitch *sw, const struct tap *tap, enum steer steer);

/* Starts n_threads threads; queue q of every port belongs to thread q % n_threads. 0, or -errno. */
int switch_start(struct tapswitch *sw, uint32_t n_threads);

/* Ends the threads; the ports and their counts stay until switch_free(). */
void switch_stop(struct tapswitch *sw);
void switch_free(struct tapswitch *sw);

/* ---- The demo ---- */

struct demo_options {
    uint32_t queues;
    uint32_t threads;
    uint32_t seconds; /* for each way to steer */
    uint32_t move_ms; /* a flow's thread moves to another vCPU so often; 0: never */
};

/* Exit status: 0; 1 something failed; 77 this machine cannot do it. The reason has been printed to stderr. */
int demo_run(const struct demo_options *options);

/* What arrived inside the guest, by receive queue: in all, and of it on the queue on which the guest transmits that flow. */
struct arrived {
    uint64_t all[TAP_MAX_QUEUES];
    uint64_t in_place[TAP_MAX_QUEUES];
    uint64_t moves;
    uint64_t bytes;
};

/* Runs the flows between the guest in namespace `guest_ns` and the peer in `peer_ns`. 0, or -1 with the error. */
int guest_run(const struct demo_options *options, int guest_ns, int peer_ns, struct arrived *arrived, struct tap_error *error);

/* ---- The kernel's part (tapswitch_kernel.c); all return a descriptor or 0, or -1 with errno ---- */

struct address {
    int family;
    const char *text;
    uint32_t prefix;
};

int kernel_new_netns(void);
int kernel_enter(int netns);
/* In the caller's namespace: gives the interface its addresses and switches it on. */
int kernel_set_up(const char *interface, const struct address *addresses, size_t n);

/* From now on the kernel transmits a packet of this TAP on the queue that its mark (SO_MARK) names: the guest's own will. */
int kernel_transmit_by_mark(const struct tap *tap);

/* Maps for the counting: of 32-bit and of 64-bit values, n of them. */
int kernel_new_map(uint32_t value_size, uint32_t n);
int kernel_map_set(int map, uint32_t key, const void *value);
int kernel_map_get(int map, uint32_t key, void *value);

/* Counts what arrives at a socket: on queue q one is added to counts[2 * q + 1] if q is vcpus[flow], else to counts[2 * q]. */
int kernel_count_arrivals(int fd, uint32_t flow, int vcpus, int counts);

#endif /* TAPSWITCH_H */
