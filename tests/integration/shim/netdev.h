/*
 * The name of Open vSwitch's lib/netdev.h that ovs.c uses: see dp-packet.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef SHIM_NETDEV_H
#define SHIM_NETDEV_H

#include "dp-packet.h"

struct netdev;

int netdev_send(struct netdev *netdev, int qid, struct dp_packet_batch *batch, bool concurrent_txq);

#endif
