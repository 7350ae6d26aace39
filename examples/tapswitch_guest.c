/*
 * tapswitch: the flows of the demo.
 *
 * The guest opens TCP connections and UDP sockets to the peer, over IPv4 and IPv6. The peer sends as much as TCP takes, and four
 * datagrams for each it gets. Each flow of the guest belongs to a thread on some vCPU, and vCPU q transmits on queue q: that is
 * the mark of the flow's socket. When the thread moves, the mark changes, also for the ACKs that the kernel sends by itself.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "tapswitch.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { N_FLOWS = 16, PORT = 5000, TICK_MS = 2, ANSWERS = 4, DATAGRAM = 1000, N_KINDS = 4 };

static const struct address guest_addresses[] = {{AF_INET, "10.99.0.2", 24}, {AF_INET6, "fd99::2", 64}};
static const struct address peer_addresses[] = {{AF_INET, "10.99.0.1", 24}, {AF_INET6, "fd99::1", 64}};

struct traffic {
    const struct demo_options *options;
    int flows[N_FLOWS];     /* the guest's sockets */
    int listeners[N_KINDS]; /* the peer's: TCP, UDP, each with both families */
    int accepted[N_FLOWS];
    int vcpus, counts; /* maps */
    uint32_t vcpu[N_FLOWS];
    uint64_t random;
    _Atomic bool stop;
    struct arrived *arrived;
};

/* Flow i: TCP or UDP, over IPv4 or IPv6. */
static int kind_of(uint32_t flow) { return (int)(flow % N_KINDS); }
static bool is_tcp(int kind) { return kind % 2 == 0; }
static int family_of(int kind) { return kind / 2 == 0 ? AF_INET : AF_INET6; }

static int fail(struct tap_error *error, const char *step)
{
    error->number = errno;
    snprintf(error->text, sizeof(error->text), "demo: %s: %s", step, strerror(errno));
    return -1;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint32_t draw(struct traffic *traffic, uint32_t below)
{
    traffic->random = traffic->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((traffic->random >> 33) % below);
}

/* ---- Sockets ---- */

static int new_socket(int kind) { return socket(family_of(kind), (is_tcp(kind) ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0); }

static socklen_t peer_address(int kind, struct sockaddr_storage *address)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = htonl(0x0a630001)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};

    if (family_of(kind) == AF_INET) {
        memcpy(address, &v4, sizeof(v4));
        return sizeof(v4);
    }
    memcpy(v6.sin6_addr.s6_addr, (const uint8_t[16]){0xfd, 0x99, [15] = 1}, 16);
    memcpy(address, &v6, sizeof(v6));
    return sizeof(v6);
}

static int listen_all(struct traffic *traffic)
{
    for (int kind = 0; kind < N_KINDS; kind++) {
        struct sockaddr_storage address;
        socklen_t size = peer_address(kind, &address);
        int fd = traffic->listeners[kind] = new_socket(kind);
        if (fd < 0 || bind(fd, (const struct sockaddr *)&address, size) != 0 || (is_tcp(kind) && listen(fd, N_FLOWS) != 0))
            return -1;
    }
    return 0;
}

static int move_flow(struct traffic *traffic, uint32_t flow, uint32_t vcpu)
{
    traffic->vcpu[flow] = vcpu;
    if (kernel_map_set(traffic->vcpus, flow, &vcpu) != 0)
        return -1;
    return setsockopt(traffic->flows[flow], SOL_SOCKET, SO_MARK, &vcpu, sizeof(vcpu));
}

static int connect_all(struct traffic *traffic)
{
    for (uint32_t i = 0; i < N_FLOWS; i++) {
        struct sockaddr_storage address;
        socklen_t size = peer_address(kind_of(i), &address);
        int fd = traffic->flows[i] = new_socket(kind_of(i));
        if (fd < 0 || move_flow(traffic, i, i / N_KINDS % traffic->options->queues) != 0 ||
            kernel_count_arrivals(fd, i, traffic->vcpus, traffic->counts) != 0 ||
            connect(fd, (const struct sockaddr *)&address, size) != 0)
            return -1;
        if (is_tcp(kind_of(i))) {
            traffic->accepted[i] = accept4(traffic->listeners[kind_of(i)], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
            if (traffic->accepted[i] < 0)
                return -1;
        }
    }
    return 0;
}

static void close_all(int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

/* ---- The peer's thread ---- */

static void answer(int fd)
{
    char datagram[DATAGRAM];
    struct sockaddr_storage from;
    socklen_t size = sizeof(from);

    ssize_t n = recvfrom(fd, datagram, sizeof(datagram), MSG_DONTWAIT, (struct sockaddr *)&from, &size);
    for (int i = 0; i < ANSWERS && n >= 0; i++)
        n = sendto(fd, datagram, sizeof(datagram), MSG_DONTWAIT, (const struct sockaddr *)&from, size);
}

static void *be_peer(void *arg)
{
    static char bulk[65536];
    struct traffic *traffic = arg;
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    for (uint32_t i = 0; i < N_FLOWS; i++) {
        struct epoll_event event = {.events = EPOLLOUT, .data.fd = traffic->accepted[i]};
        if (traffic->accepted[i] >= 0)
            epoll_ctl(epoll, EPOLL_CTL_ADD, traffic->accepted[i], &event);
    }
    for (int kind = 0; kind < N_KINDS; kind++) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = traffic->listeners[kind]};
        if (!is_tcp(kind))
            epoll_ctl(epoll, EPOLL_CTL_ADD, traffic->listeners[kind], &event);
    }
    while (!atomic_load(&traffic->stop)) {
        struct epoll_event events[N_FLOWS];
        int n = epoll_wait(epoll, events, N_FLOWS, 100);
        for (int i = 0; i < n; i++) {
            if ((events[i].events & EPOLLIN) != 0)
                answer(events[i].data.fd);
            else if (send(events[i].data.fd, bulk, sizeof(bulk), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
                epoll_ctl(epoll, EPOLL_CTL_DEL, events[i].data.fd, NULL);
        }
    }
    close(epoll);
    return NULL;
}

/* ---- The guest's thread: this one ---- */

static void take(struct traffic *traffic, uint32_t flow)
{
    static char data[1 << 20];
    ssize_t n = recv(traffic->flows[flow], data, sizeof(data), MSG_DONTWAIT);

    if (n > 0)
        traffic->arrived->bytes += (uint64_t)n;
}

static void ask(struct traffic *traffic)
{
    for (uint32_t i = 0; i < N_FLOWS; i++)
        if (!is_tcp(kind_of(i)))
            send(traffic->flows[i], "?", 1, MSG_DONTWAIT);
}

static int be_guest(struct traffic *traffic)
{
    uint64_t began = now_ms(), tick = began, end = began + 1000 * traffic->options->seconds;
    uint64_t pause = traffic->options->move_ms / N_FLOWS + 1, next_move = began + pause;
    int epoll = epoll_create1(EPOLL_CLOEXEC), result = epoll < 0 ? -1 : 0;

    for (uint32_t i = 0; i < N_FLOWS && result == 0; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        result = epoll_ctl(epoll, EPOLL_CTL_ADD, traffic->flows[i], &event);
    }
    for (uint64_t now = began; now < end && result == 0; now = now_ms()) {
        struct epoll_event events[N_FLOWS];
        int n = epoll_wait(epoll, events, N_FLOWS, TICK_MS);
        for (int i = 0; i < n; i++)
            take(traffic, events[i].data.u32);
        if (now >= tick + TICK_MS) {
            tick = now;
            ask(traffic);
        }
        if (traffic->options->move_ms > 0 && now >= next_move) {
            next_move += pause;
            result = move_flow(traffic, draw(traffic, N_FLOWS), draw(traffic, traffic->options->queues));
            traffic->arrived->moves++;
        }
    }
    if (epoll >= 0)
        close(epoll);
    return result;
}

static int collect(const struct traffic *traffic)
{
    struct arrived *arrived = traffic->arrived;

    for (uint32_t q = 0; q < traffic->options->queues; q++) {
        uint64_t elsewhere;
        if (kernel_map_get(traffic->counts, 2 * q, &elsewhere) != 0 ||
            kernel_map_get(traffic->counts, 2 * q + 1, &arrived->in_place[q]) != 0)
            return -1;
        arrived->all[q] = elsewhere + arrived->in_place[q];
    }
    return 0;
}

static int prepare(struct traffic *traffic, int guest_ns, int peer_ns, struct tap_error *error)
{
    traffic->vcpus = kernel_new_map(sizeof(uint32_t), N_FLOWS);
    traffic->counts = kernel_new_map(sizeof(uint64_t), 2 * TAP_MAX_QUEUES);
    if (traffic->vcpus < 0 || traffic->counts < 0)
        return fail(error, "maps of the counting programs");
    if (kernel_enter(peer_ns) != 0 || kernel_set_up("peer", peer_addresses, 2) != 0 || listen_all(traffic) != 0)
        return fail(error, "the peer's addresses and sockets");
    if (kernel_enter(guest_ns) != 0 || kernel_set_up("guest", guest_addresses, 2) != 0)
        return fail(error, "the guest's addresses");
    if (connect_all(traffic) != 0)
        return fail(error, "the guest's sockets");
    return 0;
}

static int run(struct traffic *traffic, struct tap_error *error)
{
    pthread_t peer;

    errno = pthread_create(&peer, NULL, be_peer, traffic);
    if (errno != 0)
        return fail(error, "the peer's thread");
    int result = be_guest(traffic) == 0 && collect(traffic) == 0 ? 0 : fail(error, "the guest's flows");
    atomic_store(&traffic->stop, true);
    pthread_join(peer, NULL);
    return result;
}

int guest_run(const struct demo_options *options, int guest_ns, int peer_ns, struct arrived *arrived, struct tap_error *error)
{
    struct traffic traffic = {.options = options, .random = 1, .arrived = arrived, .vcpus = -1, .counts = -1};
    int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

    memset(traffic.flows, -1, sizeof(traffic.flows));
    memset(traffic.accepted, -1, sizeof(traffic.accepted));
    memset(traffic.listeners, -1, sizeof(traffic.listeners));
    *arrived = (struct arrived){.moves = 0};
    int result = prepare(&traffic, guest_ns, peer_ns, error) == 0 ? run(&traffic, error) : -1;
    close_all(traffic.flows, N_FLOWS);
    close_all(traffic.accepted, N_FLOWS);
    close_all(traffic.listeners, N_KINDS);
    close_all((int[]){traffic.vcpus, traffic.counts}, 2);
    if (own >= 0 && kernel_enter(own) != 0)
        result = fail(error, "return from the namespaces");
    close_all(&own, 1);
    return result;
}
