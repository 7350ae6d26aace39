/*
 * Multiqueue TAP devices, also in other network namespaces: what the two switches of this folder share.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef TAP_H
#define TAP_H

#include <net/if.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TAP_MAX_QUEUES = 16,
    TAP_VNET_HEADER = 10,      /* struct virtio_net_hdr, in front of every frame */
    TAP_MAX_FRAME = 65536 + 18 /* a segmentation-offload frame and its Ethernet header with a VLAN tag */
};

/* One descriptor is one queue pair, as the kernel sees it: what is written to it arrives on receive queue N of the interface, and
   what the kernel transmits on queue N is read from it. */
struct tap {
    char name[IFNAMSIZ];
    int fds[TAP_MAX_QUEUES];
    uint32_t n_queues;
};

/* What the functions below say when they return -1: errno, and the step that failed and why in one line. */
struct tap_error {
    int number;
    char text[320];
};

/* Opens a network namespace by path, or by the name that ip-netns(8) gave it. A descriptor, or -1. */
int netns_open(const char *name, struct tap_error *error);

/* Makes or attaches to the TAP device `name` in a network namespace (-1: the caller's own), with n_queues descriptors that do not
   block, virtio-net headers, and checksum and TCP segmentation offload. 0, or -1. */
int tap_open(struct tap *tap, const char *name, int netns, uint32_t n_queues, struct tap_error *error);
void tap_close(struct tap *tap);

#endif /* TAP_H */
