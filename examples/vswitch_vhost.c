/*
 * vswitch: ports behind which a guest is.
 *
 * What librte_vhost tells us, and what it means:
 *
 *   new_connection        A front end has come; who is behind it we cannot know: flowq forgets the flows of the one before; but
 *                         not when they were loaded (--state), as whoever asks for that says that the guest is the same. All
 *                         queues are off. The number of pairs is the most there can be; which of them the guest uses it says by
 *                         the next.
 *   vring_state_changed   Even numbers are receive rings (the guest's): handed to flowq here and now. Packets that a worker has
 *                         already decided on find the ring off: librte_vhost looks once more, under the lock of the ring, and
 *                         takes none. That is why we need no flowq_synchronize() here.
 *                         Odd ones are transmit rings: from the first time on that there is one, workers poll it. They ask for no
 *                         other: librte_vhost has each call for a ring that is not there logged, if only to find that nobody
 *                         wants to read it, which took 5 % of a worker's time.
 *   new_device            From now on the workers may use the device.
 *   destroy_device        No longer. When it returns the device is gone, so it waits until no worker is inside a turn: that is
 *                         what flowq_synchronize() does. (librte_vhost holds no lock of a ring here.)
 *
 * Flows that move in order (setting ordered): before a message is dealt with, and when a device ends, nobody reads rings any more
 * (positions_close); who puts packets into a ring tells flowq how far it is filled then, and what the guest took, and so does
 * each who is about to choose queues, of rings that are not empty.
 *
 * Transmit rings that are switched off must be read on and what they hold discarded; Linux guests wait for it. librte_vhost would
 * stop reading. So it is not told: SET_VRING_ENABLE 0 for a transmit ring ends with us.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vswitch.h"

#include <errno.h>
#include <rte_vhost.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { VHOST_USER_SET_VRING_ENABLE = 18 };

/* A message as it comes over the socket; librte_vhost's own begins so. */
struct message {
    uint32_t request;
    uint32_t flags;
    uint32_t size;
    uint32_t index;
    uint32_t number;
};

static bool is_transmit(uint32_t ring) { return ring % 2 == 1; }

static struct port *port_of(int vid)
{
    char path[sizeof(the_switch.ports[0].name)];

    if (rte_vhost_get_ifname(vid, path, sizeof(path)) != 0)
        return NULL;
    for (uint32_t i = 0; i < the_switch.n_ports; i++)
        if (the_switch.ports[i].registered && strcmp(the_switch.ports[i].name, path) == 0)
            return &the_switch.ports[i];
    return NULL;
}

/* ---- What librte_vhost tells us; its own thread calls ---- */

static enum rte_vhost_msg_result before_message(int vid, void *arg)
{
    struct message message;

    memcpy(&message, arg, sizeof(message));
    struct port *port = port_of(vid);
    if (port != NULL)
        positions_close(&port->device);
    if (message.request != VHOST_USER_SET_VRING_ENABLE || !is_transmit(message.index) || message.index / 2 >= MAX_QUEUES ||
        port == NULL)
        return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
    atomic_store(&port->tx_on[message.index / 2], message.number != 0);
    return message.number != 0 ? RTE_VHOST_MSG_RESULT_NOT_HANDLED : RTE_VHOST_MSG_RESULT_OK;
}

static const struct rte_vhost_user_extern_ops extern_ops = {.pre_msg_handle = before_message};

static void poll_queues(struct port *port, uint32_t n)
{
    if (n > MAX_QUEUES)
        n = MAX_QUEUES;
    if (n > atomic_load(&port->n_polled)) /* one thread changes it */
        atomic_store(&port->n_polled, n);
}

/* Off first: nobody is steered to, and nothing is learned, between one guest and the next. */
static void expect_guest(struct port *port)
{
    atomic_store(&port->n_polled, 0);
    flowq_vm_set_queue_enabled(port->vm, FLOWQ_ALL_QUEUES, false);
    for (uint32_t q = 0; q < MAX_QUEUES; q++) {
        atomic_store(&port->rx_on[q], false);
        atomic_store(&port->tx_on[q], true); /* until told otherwise; librte_vhost looks, too */
    }
    /* Not QUEUES: that would switch them on. */
    flowq_vm_reset(port->vm, port->loaded ? FLOWQ_RESET_CONFIG : FLOWQ_RESET_FLOWS | FLOWQ_RESET_CONFIG);
    port->loaded = false; /* the next guest may be another one */
    flowq_vm_set_queue_pairs(port->vm, MAX_QUEUES);
}

static int new_connection(int vid)
{
    struct port *port = port_of(vid);

    if (port == NULL)
        return -1;
    expect_guest(port);
    atomic_fetch_add(&port->connections, 1);
    return rte_vhost_extern_callback_register(vid, &extern_ops, NULL);
}

static int vring_state_changed(int vid, uint16_t ring, int enable)
{
    struct port *port = port_of(vid);

    if (port == NULL || ring / 2 >= MAX_QUEUES)
        return -1;
    if (is_transmit(ring)) {
        if (enable)
            poll_queues(port, ring / 2 + 1);
        return 0;
    }
    atomic_store(&port->rx_on[ring / 2], enable != 0);
    return flowq_vm_set_queue_enabled(port->vm, ring / 2, enable != 0);
}

static int new_device(int vid)
{
    struct port *port = port_of(vid);

    if (port == NULL)
        return -1;
    poll_queues(port, rte_vhost_get_vring_num(vid) / 2);
    /* We poll: the guest need not kick. */
    for (uint16_t ring = 0; ring < rte_vhost_get_vring_num(vid); ring++)
        rte_vhost_enable_guest_notification(vid, ring, 0);
    positions_begin(&port->device);
    atomic_store(&port->vid, vid);
    return 0;
}

static void destroy_device(int vid)
{
    struct port *port = port_of(vid);

    if (port == NULL)
        return;
    atomic_store(&port->vid, NO_DEVICE);
    positions_close(&port->device);
    flowq_synchronize();
}

static const struct rte_vhost_device_ops device_ops = {
    .new_connection = new_connection,
    .vring_state_changed = vring_state_changed,
    .new_device = new_device,
    .destroy_device = destroy_device,
};

/* ---- Packets; workers call ---- */

static uint16_t vhost_receive(struct port *port, uint32_t qid, struct rte_mbuf **packets, uint16_t n)
{
    int vid = atomic_load(&port->vid);

    if (vid == NO_DEVICE)
        return 0;
    n = rte_vhost_dequeue_burst(vid, (uint16_t)(2 * qid + 1), the_switch.pool, packets, n);
    if (n == 0 || atomic_load(&port->tx_on[qid]))
        return n;
    count(&port->counts[qid].late, n);
    rte_pktmbuf_free_bulk(packets, n);
    return 0;
}

static const struct positions_source rings = {
    .get_vring = rte_vhost_get_vhost_vring,
    .get_base = rte_vhost_get_vring_base,
    .get_features = rte_vhost_get_negotiated_features,
};

static uint16_t vhost_send(struct port *port, uint32_t qid, struct rte_mbuf **packets, uint16_t n)
{
    int vid = atomic_load(&port->vid);

    if (vid == NO_DEVICE)
        return 0;
    /* librte_vhost wants one enqueuer at a time for a ring, and from 23.07 on does not see to it itself. */
    rte_spinlock_lock(&port->rx_lock[qid]);
    const struct watch_rings to = {.at = port->positions, .device = &port->device, .vm = port->vm};
    const bool watched = port->watch.flows != NULL, told = port->ordered || watched;
    if (told)
        positions_before(&port->positions[qid], &port->device, &rings, vid, port->vm, qid);
    if (watched)
        watch_before(&port->watch, &to, qid, packets, n);
    n = rte_vhost_enqueue_burst(vid, (uint16_t)(2 * qid), packets, n);
    if (told && n > 0)
        positions_after(&port->positions[qid], &port->device, &rings, port->vm, qid);
    if (watched)
        watch_after(&port->watch, &to, qid, packets, n);
    rte_spinlock_unlock(&port->rx_lock[qid]);
    return n;
}

/* Whoever has the lock will tell. */
static void vhost_look(struct port *port)
{
    uint64_t left = atomic_load_explicit(&port->device.backlog[0], memory_order_relaxed);

    for (; left != 0; left &= left - 1) {
        uint32_t qid = (uint32_t)__builtin_ctzll(left);
        if (rte_spinlock_trylock(&port->rx_lock[qid]) == 0)
            continue;
        positions_look(&port->positions[qid], &port->device, port->vm, qid);
        rte_spinlock_unlock(&port->rx_lock[qid]);
    }
}

/* When it returns there are no more callbacks for this port. */
static void vhost_close(struct port *port) { rte_vhost_driver_unregister(port->name); }

static const struct port_ops ops = {.receive = vhost_receive, .send = vhost_send, .look = vhost_look, .close = vhost_close};

/* ---- The socket ---- */

/* librte_vhost binds and never removes. A socket that nobody listens on is left from a switch that was killed. */
static int clear_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat stat;

    if (strlen(path) >= sizeof(address.sun_path))
        return complain("socket", path, "the path is too long");
    if (lstat(path, &stat) != 0)
        return errno == ENOENT ? 0 : complain("socket", path, strerror(errno));
    if (!S_ISSOCK(stat.st_mode))
        return complain("socket", path, "there is a file that is no socket");
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int result = fd < 0 ? -1 : connect(fd, (const struct sockaddr *)&address, sizeof(address));
    int error = errno;
    if (fd >= 0)
        close(fd);
    if (result == 0)
        return complain("socket", path, "in use by another process");
    if (error != ECONNREFUSED)
        return complain("socket", path, strerror(error));
    return unlink(path) == 0 ? 0 : complain("socket", path, strerror(errno));
}

/* Can a socket be made there? librte_vhost would say only that it did not work. */
static int check_place(const char *path)
{
    char folder[sizeof(the_switch.ports[0].name)] = ".";
    const char *slash = strrchr(path, '/');

    if (slash != NULL) {
        memcpy(folder, path, (size_t)(slash - path) + 1);
        folder[slash - path + 1] = '\0';
    }
    return access(folder, W_OK | X_OK) == 0 ? 0 : complain("socket", path, strerror(errno));
}

int vhost_port_add(const char *path, bool client, const struct port_settings *settings)
{
    struct port *port = port_new(path, settings);

    if (port == NULL)
        return -1;
    port->ops = &ops;
    port->n_queues = MAX_QUEUES;
    expect_guest(port);
    if (!client && (check_place(path) != 0 || clear_socket(path) != 0)) {
        port_discard();
        return -1;
    }
    /* librte_vhost's old offload flags are the right ones for a switch: what it sets on the way in, it takes on the way out. */
    if (rte_vhost_driver_register(path, client ? RTE_VHOST_USER_CLIENT : 0) != 0) {
        port_discard();
        return complain("socket", path, "librte_vhost does not take it");
    }
    port->registered = true;
    return rte_vhost_driver_callback_register(path, &device_ops) == 0
               ? 0
               : complain("socket", path, "librte_vhost takes no callbacks");
}

int vhost_ports_open(void)
{
    for (uint32_t i = 0; i < the_switch.n_ports; i++) {
        struct port *port = &the_switch.ports[i];
        if (port->registered && rte_vhost_driver_start(port->name) != 0)
            return complain("socket", port->name, "librte_vhost cannot open it");
    }
    return 0;
}
