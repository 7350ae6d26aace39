/*
 * A guest that is a program: virtio-user, DPDK's driver of virtio without a virtual machine, which listens on a socket for
 * the switch.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_VIRTIO_USER_H
#define FLOWQ_TESTS_VIRTIO_USER_H

#include <rte_mbuf.h>
#include <stddef.h>
#include <stdint.h>

/* Rings are as long as virtio-user makes them, and longer than what the programs have on their way. All of them may be full: one
   for transmitting keeps its mbufs until it needs their places. */
enum { QUEUES = 4, RING = 1024, BURST = 32, MAX_PORTS = 2, MBUFS = 3 * MAX_PORTS * QUEUES * RING };

/* Starts DPDK, and a port with QUEUES pairs for each path: numbers 0, 1 ... Waits for the switch. NULL: it has said why not. */
struct rte_mempool *guest_start(const char *program, const char *const *paths, size_t n_paths);

/* Says goodbye to the switch. */
void guest_stop(size_t n_paths);

/* Seconds that only grow. */
double guest_now(void);

/* The checksum of the Internet (RFC 1071) over bytes, begun with a sum of 16-bit words in network order. */
uint16_t guest_checksum(const void *bytes, size_t n, uint32_t sum);

#endif
