/*
 * Runs tap.c, with socket pairs in place of the descriptors of a TAP device: they keep frames apart, too.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "tap.c"

#include "run.h"

#include <sys/socket.h>

enum { HDR = 10 };

int main(void)
{
    uint8_t sent[HDR + FRAME_SIZE] = {0}, answer[HDR + FRAME_SIZE] = {0}, buf[2048];
    struct flowq_vm_config cfg = {.size = sizeof(cfg)};
    struct tap tap = {.vm = make_vm(&cfg), .hdr_len = HDR};
    int kernel[PAIRS];

    MUST(flowq_vm_set_queue_pairs(tap.vm, PAIRS) == 0);
    make_frame(sent + HDR, 1, false);
    make_frame(answer + HDR, 1, true);
    for (int q = 0; q < PAIRS; q++) {
        int pair[2];
        MUST(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair) == 0);
        tap.fd[q] = pair[0];
        kernel[q] = pair[1];
    }
    for (uint32_t q = 0; q < PAIRS; q++) {
        MUST(write(kernel[q], sent, sizeof(sent)) == sizeof(sent));
        MUST(from_tap(&tap, q, buf, sizeof(buf)) == sizeof(sent));
        MUST(to_tap(&tap, answer, sizeof(answer)) == sizeof(answer));
        MUST(read(kernel[q], buf, sizeof(buf)) == sizeof(answer));
    }
    MUST(from_tap(&tap, 0, buf, sizeof(buf)) < 0); /* nothing more */
    MUST(write(kernel[0], sent, HDR - 1) == HDR - 1);
    MUST(from_tap(&tap, 0, buf, sizeof(buf)) == HDR - 1); /* no frame behind the header */
    MUST(flowq_vm_set_queue_enabled(tap.vm, FLOWQ_ALL_QUEUES, false) == 0);
    MUST(to_tap(&tap, answer, sizeof(answer)) == 0);
    flowq_vm_destroy(tap.vm);
    return 0;
}
