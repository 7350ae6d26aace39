/*
 * Open vSwitch: from a port of the datapath to the vm of its device. Shown in flowq-integration(7).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include <stdbool.h>

#include "netdev-provider.h"

/* lib/netdev-provider.h, a member of struct netdev_class:

       struct flowq_vm *(*get_flowq)(struct netdev *, bool on);

   lib/netdev.h, the prototype of this; lib/netdev.c: */
struct flowq_vm *
netdev_get_flowq(struct netdev *netdev, bool on)
{
    const struct netdev_class *class = netdev->netdev_class;

    return class->get_flowq ? class->get_flowq(netdev, on) : NULL;
}

/* lib/netdev-dpdk.c, .get_flowq of dpdk_vhost_class and
   dpdk_vhost_client_class, and of no other: */
static struct flowq_vm *
netdev_dpdk_vhost_get_flowq(struct netdev *netdev, bool on)
{
    struct netdev_dpdk *dev = netdev_dpdk_cast(netdev);

    dev->steering.on = on;
    return dev->steering.vm;
}

/* lib/dpif-netdev.c, reconfigure_datapath(), where a port's mode is
   chosen, asked before all other modes: only a port that has a vm, and
   more than one queue, is granted it. flowq: a field of struct
   dp_netdev_port beside txq_mode, the vm of the port's device. */
static bool
port_grant_flowq(struct dp_netdev_port *port)
{
    bool wanted = port->txq_requested_mode == TXQ_REQ_MODE_FLOWQ &&
                  netdev_n_txq(port->netdev) > 1;

    port->flowq = netdev_get_flowq(port->netdev, wanted);
    return wanted && port->flowq;
}
