/*
 * What ovs_netdev.c uses of Open vSwitch: of lib/netdev-provider.h, with the member that the page adds, and of the insides of
 * lib/netdev-dpdk.c and lib/dpif-netdev.c, which no header has. See dp-packet.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef SHIM_NETDEV_PROVIDER_H
#define SHIM_NETDEV_PROVIDER_H

#include "netdev.h"

struct flowq_vm;

struct netdev_class {
    struct flowq_vm *(*get_flowq)(struct netdev *, bool on);
};

struct netdev {
    const struct netdev_class *netdev_class;
    int n_txq;
};

struct flowq_vm *netdev_get_flowq(struct netdev *netdev, bool on);
int netdev_n_txq(const struct netdev *netdev);

/* netdev-dpdk.c */
struct netdev_dpdk {
    struct netdev up;
    struct {
        struct flowq_vm *vm;
        bool on;
    } steering;
};
struct netdev_dpdk *netdev_dpdk_cast(const struct netdev *netdev);

/* dpif-netdev.c */
enum txq_req_mode { TXQ_REQ_MODE_THREAD, TXQ_REQ_MODE_HASH, TXQ_REQ_MODE_FLOWQ };
struct dp_netdev_port {
    struct netdev *netdev;
    struct flowq_vm *flowq;
    enum txq_req_mode txq_requested_mode;
};

#endif
