/*
 * tapswitch: a frame's way from port to port.
 *
 * One turn of a thread: up to BURST frames from one descriptor are noted for the VM that sent them, then looked up, port by port
 * steered in a burst, and written. The turn is one section of flowq; the thread sleeps outside it.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "tapswitch.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { BURST = 32, FRAME_ROOM = TAP_VNET_HEADER + TAP_MAX_FRAME, ETHERNET_HEADER = 14 };

/* What a thread works with. A frame lies behind its virtio-net header, as it is read and written. */
struct worker {
    struct tapswitch *sw;
    int epoll;
    size_t n;
    size_t length[BURST]; /* with the header in front */
    int target[BURST];    /* port, or MAC_NO_PORT: all but the one it came from */
    uint8_t frames[BURST][FRAME_ROOM];
};

static void add(_Atomic uint64_t *counter, uint64_t n) { atomic_fetch_add_explicit(counter, n, memory_order_relaxed); }

static struct flowq_pkt view(const struct worker *worker, size_t i)
{
    return (struct flowq_pkt){.data = worker->frames[i] + TAP_VNET_HEADER,
                              .len = (uint32_t)(worker->length[i] - TAP_VNET_HEADER)};
}

static void read_burst(struct worker *worker, int fd)
{
    for (worker->n = 0; worker->n < BURST;) {
        ssize_t length = read(fd, worker->frames[worker->n], FRAME_ROOM);
        if (length < 0)
            break;
        if (length >= TAP_VNET_HEADER + ETHERNET_HEADER)
            worker->length[worker->n++] = (size_t)length;
    }
}

static void note(struct worker *worker, struct port *port, uint32_t qid)
{
    struct flowq_pkt pkts[BURST];

    for (size_t i = 0; i < worker->n; i++)
        pkts[i] = view(worker, i);
    flowq_tx_note_burst(port->vm, pkts, worker->n, qid);
    add(&port->counts[qid].from_vm, worker->n);
}

static void look_up(struct worker *worker, uint32_t from)
{
    for (size_t i = 0; i < worker->n; i++) {
        const uint8_t *to = worker->frames[i] + TAP_VNET_HEADER;
        mac_learn(&worker->sw->macs, to + 6, from);
        worker->target[i] = mac_is_group(to) ? MAC_NO_PORT : mac_find(&worker->sw->macs, to);
    }
}

static void write_one(const struct worker *worker, struct port *port, uint16_t qid, size_t i)
{
    if (qid >= port->tap.n_queues)
        return; /* FLOWQ_DROP: does not happen here, every queue stays in use */
    struct queue_counts *counts = &port->counts[qid];
    if (write(port->tap.fds[qid], worker->frames[i], worker->length[i]) < 0) {
        add(&counts->dropped, 1);
        return;
    }
    add(&counts->to_vm, 1);
    add(&counts->to_vm_bytes, worker->length[i] - TAP_VNET_HEADER);
}

/* The frames of the burst that go to one port. A TAP takes one frame a call, so there is nothing to group by queue. */
static void deliver(struct worker *worker, struct port *port, const size_t *which, size_t n)
{
    struct flowq_pkt pkts[BURST];
    uint16_t qids[BURST] = {0};

    for (size_t i = 0; i < n; i++)
        pkts[i] = view(worker, which[i]);
    if (port->steer != STEER_QUEUE0)
        flowq_rx_steer_burst(port->vm, pkts, n, qids);
    for (size_t i = 0; i < n; i++)
        write_one(worker, port, qids[i], which[i]);
}

static void forward(struct worker *worker, uint32_t from)
{
    for (uint32_t to = 0; to < worker->sw->n_ports; to++) {
        size_t which[BURST], n = 0;
        for (size_t i = 0; i < worker->n; i++)
            if (to != from && (worker->target[i] == (int)to || worker->target[i] == MAC_NO_PORT))
                which[n++] = i;
        if (n > 0)
            deliver(worker, &worker->sw->ports[to], which, n);
    }
}

static void turn(struct worker *worker, uint32_t from, uint32_t qid)
{
    struct port *port = &worker->sw->ports[from];

    read_burst(worker, port->tap.fds[qid]);
    if (worker->n == 0)
        return;
    flowq_enter(); /* cannot fail: the thread is registered */
    note(worker, port, qid);
    look_up(worker, from);
    forward(worker, from);
    flowq_leave();
}

/* ---- Threads ---- */

enum { STOP = UINT32_MAX };

static int watch(int epoll, int fd, uint32_t port, uint32_t qid)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)port << 32 | qid};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    bool told = false;

    if (flowq_thread_register() == 0) {
        while (!told) {
            struct epoll_event events[BURST];
            int n = epoll_wait(worker->epoll, events, BURST, -1);
            if (n < 0 && errno != EINTR)
                break;
            for (int i = 0; i < n && !told; i++) {
                uint32_t port = (uint32_t)(events[i].data.u64 >> 32);
                told = port == (uint32_t)STOP;
                if (!told)
                    turn(worker, port, (uint32_t)events[i].data.u64);
            }
        }
    }
    if (!told) {
        atomic_store(&worker->sw->failed, true);
        kill(getpid(), SIGTERM); /* half a switch is worse than none */
    }
    close(worker->epoll);
    free(worker);
    return NULL;
}

static struct worker *new_worker(struct tapswitch *sw, uint32_t index, uint32_t n_threads)
{
    struct worker *worker = malloc(sizeof(*worker));

    if (worker == NULL)
        return NULL;
    worker->sw = sw;
    worker->epoll = epoll_create1(EPOLL_CLOEXEC);
    int result = worker->epoll < 0 ? -1 : watch(worker->epoll, sw->stop_fd, (uint32_t)STOP, 0);
    for (uint32_t p = 0; p < sw->n_ports; p++)
        for (uint32_t q = index; q < sw->ports[p].tap.n_queues && result == 0; q += n_threads)
            result = watch(worker->epoll, sw->ports[p].tap.fds[q], p, q);
    if (result == 0)
        return worker;
    if (worker->epoll >= 0)
        close(worker->epoll);
    free(worker);
    return NULL;
}

int switch_start(struct tapswitch *sw, uint32_t n_threads)
{
    int error = 0;

    sw->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (sw->stop_fd < 0)
        return -errno;
    while (error == 0 && sw->n_threads < n_threads) {
        struct worker *worker = new_worker(sw, sw->n_threads, n_threads);
        if (worker == NULL) {
            error = ENOMEM;
            break;
        }
        error = pthread_create(&sw->threads[sw->n_threads], NULL, work, worker);
        if (error == 0) {
            sw->n_threads++;
        } else {
            close(worker->epoll);
            free(worker);
        }
    }
    if (error != 0)
        switch_stop(sw);
    return -error;
}

void switch_stop(struct tapswitch *sw)
{
    uint64_t one = 1;

    if (sw->stop_fd < 0)
        return;
    if (write(sw->stop_fd, &one, sizeof(one)) == (ssize_t)sizeof(one)) /* it stays readable: every thread sees it */
        for (uint32_t i = 0; i < sw->n_threads; i++)
            pthread_join(sw->threads[i], NULL);
    sw->n_threads = 0;
    close(sw->stop_fd);
    sw->stop_fd = -1;
}

/* ---- Ports ---- */

int switch_add_port(struct tapswitch *sw, const struct tap *tap, enum steer steer)
{
    struct port *port = &sw->ports[sw->n_ports];
    struct flowq_vm_config config = {.size = sizeof(config),
                                     .max_queue_pairs = tap->n_queues,
                                     /* without learning, what is left of flowq is a hash over the queues */
                                     .no_learn = steer != STEER_AUTO};

    port->tap = *tap;
    port->steer = steer;
    int error = flowq_vm_create(&config, &port->vm);
    if (error == 0)
        error = flowq_vm_set_queue_pairs(port->vm, tap->n_queues);
    if (error == 0)
        sw->n_ports++;
    else
        flowq_vm_destroy(port->vm);
    return error;
}

void switch_free(struct tapswitch *sw)
{
    for (uint32_t i = 0; i < sw->n_ports; i++) {
        flowq_vm_destroy(sw->ports[i].vm);
        tap_close(&sw->ports[i].tap);
    }
    sw->n_ports = 0;
}
