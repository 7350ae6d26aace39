/*
 * Multiqueue TAP devices: tap.h has the overview.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int fail(struct tap_error *error, const char *step, const char *what)
{
    error->number = errno;
    snprintf(error->text, sizeof(error->text), "%s %s: %s", step, what, strerror(errno));
    return -1;
}

int netns_open(const char *name, struct tap_error *error)
{
    char path[256];

    snprintf(path, sizeof(path), strchr(name, '/') != NULL ? "%s" : "/run/netns/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 ? fd : fail(error, "network namespace", path);
}

static int open_queue(struct tap *tap, struct tap_error *error)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE};
    unsigned int offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
    int header = TAP_VNET_HEADER;

    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail(error, "open", "/dev/net/tun");
    tap->fds[tap->n_queues++] = fd;
    memcpy(request.ifr_name, tap->name, sizeof(request.ifr_name));
    if (ioctl(fd, TUNSETIFF, &request) != 0)
        return fail(error, "TAP device", tap->name);
    memcpy(tap->name, request.ifr_name, sizeof(tap->name)); /* a name like tap%d has been completed */
    if (ioctl(fd, TUNSETVNETHDRSZ, &header) != 0 || ioctl(fd, TUNSETOFFLOAD, offload) != 0)
        return fail(error, "offloads of TAP device", tap->name);
    return 0;
}

static int open_queues(struct tap *tap, uint32_t n_queues, struct tap_error *error)
{
    for (uint32_t i = 0; i < n_queues; i++)
        if (open_queue(tap, error) != 0)
            return -1;
    return 0;
}

/* A device belongs to the namespace in which its first descriptor is opened: the thread goes there and comes back. */
static int open_elsewhere(struct tap *tap, int netns, uint32_t n_queues, struct tap_error *error)
{
    int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

    if (own < 0)
        return fail(error, "open", "/proc/thread-self/ns/net");
    int result =
        setns(netns, CLONE_NEWNET) == 0 ? open_queues(tap, n_queues, error) : fail(error, "enter namespace for", tap->name);
    if (setns(own, CLONE_NEWNET) != 0)
        result = fail(error, "return from namespace of", tap->name);
    close(own);
    return result;
}

int tap_open(struct tap *tap, const char *name, int netns, uint32_t n_queues, struct tap_error *error)
{
    *tap = (struct tap){.n_queues = 0};
    if (n_queues == 0 || n_queues > TAP_MAX_QUEUES || strlen(name) >= sizeof(tap->name)) {
        errno = EINVAL;
        return fail(error, "name or number of queues of TAP device", name);
    }
    memcpy(tap->name, name, strlen(name));
    int result = netns < 0 ? open_queues(tap, n_queues, error) : open_elsewhere(tap, netns, n_queues, error);
    if (result != 0)
        tap_close(tap);
    return result;
}

void tap_close(struct tap *tap)
{
    for (uint32_t i = 0; i < tap->n_queues; i++)
        close(tap->fds[i]);
    tap->n_queues = 0;
}
