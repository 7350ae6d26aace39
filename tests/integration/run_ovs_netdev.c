/*
 * Runs ovs_netdev.c against the declarations in shim/: a port is granted the mode if it has a vm, several queues, and was asked
 * to.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "ovs_netdev.c"

#include "run.h"

int netdev_n_txq(const struct netdev *netdev) { return netdev->n_txq; }

struct netdev_dpdk *netdev_dpdk_cast(const struct netdev *netdev) { return (struct netdev_dpdk *)(uintptr_t)netdev; }

int main(void)
{
    static const struct netdev_class vhost = {.get_flowq = netdev_dpdk_vhost_get_flowq}, dummy = {.get_flowq = NULL};
    struct flowq_vm_config cfg = {.size = sizeof(cfg)};
    struct netdev_dpdk dev = {.up = {.netdev_class = &vhost, .n_txq = 4}, .steering = {.vm = make_vm(&cfg)}};
    struct netdev other = {.netdev_class = &dummy, .n_txq = 4};
    struct dp_netdev_port port = {.netdev = &dev.up, .txq_requested_mode = TXQ_REQ_MODE_FLOWQ};

    MUST(port_grant_flowq(&port) && port.flowq == dev.steering.vm && dev.steering.on);
    dev.up.n_txq = 1;
    MUST(!port_grant_flowq(&port) && !dev.steering.on);
    dev.up.n_txq = 4;
    port.txq_requested_mode = TXQ_REQ_MODE_HASH;
    MUST(!port_grant_flowq(&port) && !dev.steering.on);
    port = (struct dp_netdev_port){.netdev = &other, .txq_requested_mode = TXQ_REQ_MODE_FLOWQ};
    MUST(!port_grant_flowq(&port) && port.flowq == NULL);
    flowq_vm_destroy(dev.steering.vm);
    return 0;
}
