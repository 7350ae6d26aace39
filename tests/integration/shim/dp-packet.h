/*
 * The names of Open vSwitch's lib/dp-packet.h that ovs.c uses, as functions of the same types (there most are inline), for want
 * of a package with its headers. Read in 3.1.0, in 3.7.1, and in the main branch of July 2026, where a batch may grow: this is
 * that one's.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef SHIM_DP_PACKET_H
#define SHIM_DP_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NETDEV_MAX_BURST = 32 };

struct dp_packet;

struct dp_packet_batch {
    size_t count;
    struct dp_packet **packets;
    struct dp_packet *embedded[NETDEV_MAX_BURST];
};

void *dp_packet_data(const struct dp_packet *packet);
uint32_t dp_packet_size(const struct dp_packet *packet);
void dp_packet_batch_init(struct dp_packet_batch *batch);
void dp_packet_batch_add(struct dp_packet_batch *batch, struct dp_packet *packet);
size_t dp_packet_batch_size(const struct dp_packet_batch *batch);

#endif
