/*
 * Runs tap.c, with socket pairs in place of the descriptors of a TAP device: they keep frames apart, too. And, where this program
 * may make one, with a TAP device: what a thread sends comes out of the descriptor of its processor.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#define _GNU_SOURCE
#include "tap.c"

#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>

enum { HDR = 10 };

/* A device with as many queues, up, in a network namespace of this thread's own. False: not here. */
static bool make_tap(struct tap *tap, struct ifreq *ifr)
{
    if (unshare(CLONE_NEWNET) != 0)
        return false;
    *ifr = (struct ifreq){.ifr_name = "t0"};
    for (int q = 0; q < PAIRS; q++) {
        ifr->ifr_flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE;
        tap->fd[q] = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
        if (tap->fd[q] < 0 || ioctl(tap->fd[q], TUNSETIFF, ifr) != 0)
            return false;
    }
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    ifr->ifr_flags = IFF_UP;
    bool up = ioctl(s, SIOCSIFFLAGS, ifr) == 0;
    ifr->ifr_ifindex = (int)if_nametoindex(ifr->ifr_name);
    close(s);
    return up;
}

/* The descriptor out of which the frame comes, -1: none. */
static int leaves_by(const struct tap *tap, const uint8_t *frame)
{
    struct pollfd ready[PAIRS];
    uint8_t buf[2048];

    for (;;) { /* other frames (of IPv6's own) may come, too */
        for (int q = 0; q < PAIRS; q++)
            ready[q] = (struct pollfd){.fd = tap->fd[q], .events = POLLIN};
        if (poll(ready, PAIRS, 1000) <= 0)
            return -1;
        for (int q = 0; q < PAIRS; q++)
            if (ready[q].revents & POLLIN && read(tap->fd[q], buf, sizeof(buf)) >= FRAME_SIZE &&
                memcmp(buf, frame, FRAME_SIZE) == 0)
                return q;
    }
}

static void run_with_a_tap(void)
{
    struct tap tap = {.hdr_len = 0};
    struct ifreq ifr;
    uint8_t frame[FRAME_SIZE];
    cpu_set_t allowed, one;

    if (!make_tap(&tap, &ifr)) {
        printf("skipped: no TAP device to be had (%s)\n", strerror(errno));
        return;
    }
    if (!follow_the_processor(&tap)) {
        printf("skipped: no steering program may be loaded (%s)\n", strerror(errno));
        return;
    }
    int s = socket(AF_PACKET, SOCK_RAW, 0);
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = ifr.ifr_ifindex};
    make_frame(frame, 1, false);
    MUST(s >= 0 && sched_getaffinity(0, sizeof(allowed), &allowed) == 0);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) { /* one flow; only the processor changes */
        if (!CPU_ISSET(cpu, &allowed))
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        MUST(sched_setaffinity(0, sizeof(one), &one) == 0);
        MUST(sendto(s, frame, sizeof(frame), 0, (struct sockaddr *)&to, sizeof(to)) == sizeof(frame));
        MUST(leaves_by(&tap, frame) == cpu % PAIRS);
    }
    MUST(sched_setaffinity(0, sizeof(allowed), &allowed) == 0);
    close(s);
}

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
    run_with_a_tap();
    return 0;
}
