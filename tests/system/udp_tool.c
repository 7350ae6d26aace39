/*
 * UDP for the tests of the whole system, in the guest and outside.
 *
 *   udp_tool echo PORT                          sends every datagram back
 *   udp_tool talk ADDRESS PORT THREADS SECONDS  threads send numbered datagrams on one socket; prints what came back and how much
 * of it after a higher number of the same thread
 *   udp_tool flood ADDRESS SECONDS              datagrams from many sockets to random ports: each a flow of its own
 *   udp_tool pour PORT GROUP MICROSECONDS       sends numbered datagrams, so many at a time and then a pause, to whoever was
 *                                               heard of lately
 *   udp_tool wander ADDRESS PORT FLOWS SECONDS MILLISECONDS
 *                                               asks for these with so many sockets, each of which changes its processor
 *                                               so often; prints what came, how much of it late, and in how many runs
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_THREADS = 16, SIZE = 200, PAUSE_NS = 300000, FLOOD_SOCKETS = 64 };

struct datagram {
    uint32_t thread, number;
    uint8_t rest[SIZE - 8];
};

static int sock;
static struct sockaddr_in6 peer;
static double end;
static _Atomic uint64_t sent;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "udp_tool: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Both families: an IPv4 address is written into IPv6. */
static struct sockaddr_in6 address_of(const char *text, uint16_t port)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    char mapped[64];

    snprintf(mapped, sizeof(mapped), strchr(text, ':') != NULL ? "%s" : "::ffff:%s", text);
    if (inet_pton(AF_INET6, mapped, &address.sin6_addr) != 1)
        fail(text);
    return address;
}

/* Never connected: Linux would keep such a socket on the transmit queue of its first datagram. */
static int open_socket(void)
{
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    if (fd < 0)
        fail("socket");
    return fd;
}

static int echo(uint16_t port)
{
    struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    uint8_t data[2048];

    sock = open_socket();
    if (bind(sock, (const struct sockaddr *)&here, sizeof(here)) != 0)
        fail("bind");
    for (;;) {
        struct sockaddr_in6 from;
        socklen_t size = sizeof(from);
        ssize_t n = recvfrom(sock, data, sizeof(data), 0, (struct sockaddr *)&from, &size);
        if (n >= 0)
            sendto(sock, data, (size_t)n, 0, (const struct sockaddr *)&from, size);
    }
}

static void *send_all(void *arg)
{
    struct datagram datagram = {.thread = (uint32_t)(uintptr_t)arg};

    while (now() < end) {
        datagram.number++;
        if (sendto(sock, &datagram, sizeof(datagram), 0, (const struct sockaddr *)&peer, sizeof(peer)) ==
            (ssize_t)sizeof(datagram))
            atomic_fetch_add(&sent, 1);
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    }
    return NULL;
}

static int talk(uint32_t threads)
{
    uint32_t highest[MAX_THREADS] = {0};
    uint64_t received = 0, late = 0;
    struct datagram datagram;
    pthread_t thread;

    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_usec = 100000}, sizeof(struct timeval));
    for (uintptr_t i = 0; i < threads; i++)
        if (pthread_create(&thread, NULL, send_all, (void *)i) != 0)
            fail("thread");
    while (now() < end + 0.5) {
        if (recv(sock, &datagram, sizeof(datagram), 0) != (ssize_t)sizeof(datagram) || datagram.thread >= MAX_THREADS)
            continue;
        received++;
        if (datagram.number < highest[datagram.thread])
            late++;
        else
            highest[datagram.thread] = datagram.number;
    }
    printf("sent %llu received %llu late %llu\n", (unsigned long long)sent, (unsigned long long)received,
           (unsigned long long)late);
    return 0;
}

static int flood(struct sockaddr_in6 to)
{
    int socks[FLOOD_SOCKETS];
    uint32_t random = 1;

    for (int i = 0; i < FLOOD_SOCKETS; i++)
        socks[i] = open_socket();
    while (now() < end) {
        random = random * 1664525u + 1013904223u;
        to.sin6_port = htons((uint16_t)(1 + (random >> 16) % 65535));
        if (sendto(socks[random >> 8 & (FLOOD_SOCKETS - 1)], "x", 1, 0, (const struct sockaddr *)&to, sizeof(to)) == 1)
            sent++;
    }
    printf("sent %llu\n", (unsigned long long)sent);
    return 0;
}

/* ---- Numbered datagrams to flows that wander ---- */

#define LATELY 0.5 /* seconds */

struct listener {
    struct sockaddr_in6 at;
    double heard;
    uint32_t number;
};

static void hear(struct listener *list)
{
    struct sockaddr_in6 from;
    socklen_t size = sizeof(from);
    struct datagram datagram;

    while (recvfrom(sock, &datagram, sizeof(datagram), MSG_DONTWAIT, (struct sockaddr *)&from, &size) >= 0) {
        struct listener *place = NULL;
        for (struct listener *l = list; l < list + MAX_THREADS; l++) {
            if (l->at.sin6_port == from.sin6_port && memcmp(&l->at.sin6_addr, &from.sin6_addr, sizeof(from.sin6_addr)) == 0) {
                place = l;
                break;
            }
            if (place == NULL && now() - l->heard > LATELY)
                place = l;
        }
        if (place == NULL)
            continue;
        if (place->at.sin6_port != from.sin6_port)
            *place = (struct listener){.at = from};
        place->heard = now();
    }
}

static int pour(uint16_t port, uint32_t group, uint32_t pause_us)
{
    struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    static struct listener list[MAX_THREADS];

    sock = open_socket();
    if (bind(sock, (const struct sockaddr *)&here, sizeof(here)) != 0)
        fail("bind");
    for (;;) {
        hear(list);
        for (struct listener *l = list; l < list + MAX_THREADS; l++)
            for (uint32_t i = 0; i < group && now() - l->heard <= LATELY; i++) {
                struct datagram datagram = {.number = ++l->number};
                sendto(sock, &datagram, sizeof(datagram), 0, (const struct sockaddr *)&l->at, sizeof(l->at));
            }
        nanosleep(&(struct timespec){.tv_nsec = pause_us * 1000L}, NULL);
    }
}

static int wandering[MAX_THREADS];
static double step;

/* What is sent from a socket that is not connected goes by the queue of the processor. */
static void *wander_one(void *arg)
{
    uint32_t self = (uint32_t)(uintptr_t)arg, turn = self;
    struct datagram datagram = {.thread = self};
    double move = now();

    while (now() < end) {
        if (now() >= move) {
            cpu_set_t cpu;
            CPU_ZERO(&cpu);
            CPU_SET(turn++ % (uint32_t)sysconf(_SC_NPROCESSORS_ONLN), &cpu);
            if (sched_setaffinity(0, sizeof(cpu), &cpu) != 0)
                fail("sched_setaffinity");
            move = now() + step;
        }
        sendto(wandering[self], &datagram, sizeof(datagram), 0, (const struct sockaddr *)&peer, sizeof(peer));
        nanosleep(&(struct timespec){.tv_nsec = (long)(step * 1e9 / 4)}, NULL);
    }
    return NULL;
}

static int wander(uint32_t flows)
{
    struct pollfd polls[MAX_THREADS];
    uint32_t highest[MAX_THREADS] = {0}, was_late[MAX_THREADS] = {0};
    uint64_t received = 0, late = 0, runs = 0, wanted = 0;
    struct datagram datagram;
    pthread_t thread;

    for (uintptr_t i = 0; i < flows; i++) {
        wandering[i] = open_socket();
        setsockopt(wandering[i], SOL_SOCKET, SO_RCVBUF, &(int){1 << 22}, sizeof(int));
        polls[i] = (struct pollfd){.fd = wandering[i], .events = POLLIN};
        if (pthread_create(&thread, NULL, wander_one, (void *)i) != 0)
            fail("thread");
    }
    while (now() < end + 0.5) {
        poll(polls, flows, 100);
        for (uint32_t i = 0; i < flows; i++)
            while (recv(wandering[i], &datagram, sizeof(datagram), MSG_DONTWAIT) == (ssize_t)sizeof(datagram)) {
                bool is_late = datagram.number < highest[i];
                received++;
                late += is_late;
                runs += is_late && !was_late[i];
                was_late[i] = is_late;
                if (!is_late)
                    highest[i] = datagram.number;
            }
    }
    for (uint32_t i = 0; i < flows; i++)
        wanted += highest[i];
    printf("received %llu late %llu runs %llu lost %llu\n", (unsigned long long)received, (unsigned long long)late,
           (unsigned long long)runs, (unsigned long long)(wanted > received ? wanted - received : 0));
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "pour") == 0)
        return pour((uint16_t)atoi(argv[2]), (uint32_t)atoi(argv[3]), (uint32_t)atoi(argv[4]));
    if (argc == 7 && strcmp(argv[1], "wander") == 0 && atoi(argv[4]) >= 1 && atoi(argv[4]) <= MAX_THREADS) {
        peer = address_of(argv[2], (uint16_t)atoi(argv[3]));
        end = now() + atof(argv[5]);
        step = atof(argv[6]) / 1000;
        return wander((uint32_t)atoi(argv[4]));
    }
    if (argc == 3 && strcmp(argv[1], "echo") == 0)
        return echo((uint16_t)atoi(argv[2]));
    if (argc == 4 && strcmp(argv[1], "flood") == 0) {
        end = now() + atof(argv[3]);
        return flood(address_of(argv[2], 1));
    }
    if (argc != 6 || strcmp(argv[1], "talk") != 0 || atoi(argv[4]) < 1 || atoi(argv[4]) > MAX_THREADS) {
        fprintf(stderr, "usage: udp_tool echo PORT | talk ADDRESS PORT THREADS SECONDS | flood ADDRESS SECONDS |\n"
                        "       pour PORT GROUP MICROSECONDS | wander ADDRESS PORT FLOWS SECONDS MILLISECONDS\n");
        return 2;
    }
    peer = address_of(argv[2], (uint16_t)atoi(argv[3]));
    sock = open_socket();
    end = now() + atof(argv[5]);
    return talk((uint32_t)atoi(argv[4]));
}
