/*
 * Runs vmm.c: a guest that cuts its packets and its commands at every place, moves a flow, resets a queue and then the device.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmm.c"

#include "run.h"

enum { HDR = 12, OTHER_CLASS = 0, NONE = 0xffff };

static uint16_t put = NONE;

bool ring_put(struct device *dev, uint16_t q, const void *frame, uint32_t len)
{
    put = q;
    return dev != NULL && frame != NULL && len == FRAME_SIZE;
}

uint8_t control_other(struct device *dev, uint8_t cls, uint8_t cmd, const struct iovec *data, size_t n)
{
    return dev != NULL && cls == OTHER_CLASS && data != NULL && n == 2 && cmd == 0 ? FLOWQ_CTRL_OK : FLOWQ_CTRL_ERR;
}

/* Two pieces and an empty one between them. */
static void cut(struct iovec *iov, uint8_t *data, size_t at, size_t len)
{
    iov[0] = (struct iovec){.iov_base = data, .iov_len = at};
    iov[1] = (struct iovec){.iov_base = NULL, .iov_len = 0};
    iov[2] = (struct iovec){.iov_base = data + at, .iov_len = len - at};
}

static uint16_t queue_of(struct device *dev, const uint8_t *answer)
{
    put = NONE;
    MUST(receive_frame(dev, answer, FRAME_SIZE));
    return put;
}

int main(void)
{
    uint8_t sent[HDR + FRAME_SIZE], answer[FRAME_SIZE], pairs[2] = {PAIRS, 0};
    struct flowq_vm_config cfg = {.size = sizeof(cfg)};
    struct device dev = {.features = FLOWQ_VIRTIO_F_MQ | FLOWQ_VIRTIO_F_VERSION_1, .hdr_len = HDR};
    struct iovec iov[3], two[2];

    memset(sent, 0xff, HDR); /* a header that is not to be believed */
    make_frame(sent + HDR, 1, false);
    make_frame(answer, 1, true);
    dev.vm = make_vm(&cfg);

    for (size_t i = 0; i < 2; i++)
        two[i] = (struct iovec){.iov_base = &pairs[i], .iov_len = 1};
    MUST(control(&dev, FLOWQ_CTRL_MQ, FLOWQ_CTRL_MQ_VQ_PAIRS_SET, two, 2) == FLOWQ_CTRL_ERR); /* not negotiated */
    set_status(&dev, STATUS_FEATURES_OK);
    MUST(control(&dev, OTHER_CLASS, 0, two, 2) == FLOWQ_CTRL_OK);
    MUST(control(&dev, FLOWQ_CTRL_MQ, FLOWQ_CTRL_MQ_VQ_PAIRS_SET, two, 2) == FLOWQ_CTRL_OK);

    for (size_t at = 0; at <= sizeof(sent); at++)
        for (uint32_t q = 0; q < PAIRS; q++) {
            cut(iov, sent, at, sizeof(sent));
            transmit(&dev, q, iov, 3);
            MUST(queue_of(&dev, answer) == q);
        }

    queue_reset(&dev, PAIRS - 1, true);
    MUST(queue_of(&dev, answer) != PAIRS - 1);
    queue_reset(&dev, PAIRS - 1, false);
    MUST(queue_of(&dev, answer) == PAIRS - 1);

    MUST(flowq_vm_set_queue_enabled(dev.vm, FLOWQ_ALL_QUEUES, false) == 0);
    put = NONE;
    MUST(!receive_frame(&dev, answer, FRAME_SIZE) && put == NONE);

    set_status(&dev, 0);
    MUST(queue_of(&dev, answer) == 0);
    flowq_vm_destroy(dev.vm);
    return 0;
}
