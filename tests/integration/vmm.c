/*
 * A VMM with a virtio-net device of its own: descriptors are iovecs. Shown in flowq-integration(7).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "host.h"

#include <flowq.h>

enum { STATUS_FEATURES_OK = 8 }; /* virtio: VIRTIO_CONFIG_S_FEATURES_OK */

struct device {
    struct flowq_vm *vm;
    uint64_t features; /* that the driver accepted */
    size_t hdr_len;    /* of the virtio-net header */
};

/* A packet from transmitq(q + 1), cut by the guest as it likes. */
static void transmit(struct device *dev, uint32_t q,
                     const struct iovec *iov, size_t iovcnt)
{
    uint8_t head[FLOWQ_HEADER_MAX];
    struct flowq_pkt pkt;

    flowq_gather(&pkt, iov, iovcnt, dev->hdr_len, head, sizeof(head));
    flowq_tx_note(dev->vm, &pkt, q);
}

/* A frame from the network. False: dropped. */
static bool receive_frame(struct device *dev, const void *frame,
                          uint32_t len)
{
    struct flowq_pkt pkt = { .data = frame, .len = len };

    flowq_enter();
    uint16_t q = flowq_rx_steer(dev->vm, &pkt);
    bool done = q != FLOWQ_DROP && ring_put(dev, q, frame, len);
    flowq_leave();
    return done;
}

/* The control queue: data is what follows class and command. The result
   goes into ack, and then the buffer into the used ring. */
static uint8_t control(struct device *dev, uint8_t cls, uint8_t cmd,
                       const struct iovec *data, size_t n)
{
    if (cls != FLOWQ_CTRL_MQ && cls != FLOWQ_CTRL_HASH_TUNNEL)
        return control_other(dev, cls, cmd, data, n);
    uint8_t ack = flowq_vm_ctrl(dev->vm, cls, cmd, data, n);
    flowq_synchronize();
    return ack;
}

/* The driver writes device_status; what it reads back comes after. */
static void set_status(struct device *dev, uint8_t status)
{
    if (status == 0) {
        flowq_vm_reset(dev->vm, FLOWQ_RESET_FLOWS | FLOWQ_RESET_QUEUES |
                                    FLOWQ_RESET_CONFIG);
        flowq_synchronize();
    } else if (status & STATUS_FEATURES_OK) {
        flowq_vm_set_features(dev->vm, dev->features);
    }
}

/* VIRTIO_F_RING_RESET: queue_reset of receiveq(q + 1) is written 1, or
   the queue is enabled again. */
static void queue_reset(struct device *dev, uint32_t q, bool resetting)
{
    flowq_vm_set_queue_resetting(dev->vm, q, resetting);
    flowq_synchronize();
}
