/*
 * TCP connections of a Linux guest over a restart of the switch, for the tests of the whole system.
 *
 *   tcp_tool ADDRESS PORT CONNECTIONS IDLE
 *
 * On each of four processors a thread opens so many connections to where whatever is said is said back. The first IDLE of them
 * say something once and then nothing; the others say something again and again. When all have been answered it prints a line.
 * SIGUSR1 makes it quiet. From then on it looks on which processor what the other end says of its own accord came in, so on
 * which queue, as each queue interrupts its own processor. SIGUSR2: all say something once more, and it prints what became of
 * them.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CPUS = 4, MAX_CONNECTIONS = 1000, MESSAGE = 512, PAUSE_MS = 300, LONGEST_MS = 20000 };

/* What is awaited is the answer to what was said last. */
struct connection {
    int fd; /* -1: it was reset, or never there */
    uint32_t awaited;
    bool greeted; /* by the other end, when all was quiet */
    bool at_home; /* and that came in where it should */
};

struct cpu {
    int number;
    struct connection connections[MAX_CONNECTIONS];
};

static struct cpu cpus[CPUS];
static struct sockaddr_in peer;
static uint32_t n_connections, n_idle;
static atomic_bool quiet, ending;
static atomic_uint n_waiting; /* threads whose connections have all been answered */

static int64_t now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void lose(struct connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static void say(struct connection *c)
{
    static const uint8_t message[MESSAGE];

    if (c->fd < 0 || c->awaited > 0)
        return;
    c->awaited = MESSAGE;
    if (send(c->fd, message, sizeof(message), MSG_NOSIGNAL) != (ssize_t)sizeof(message))
        lose(c);
}

static void open_one(struct connection *c)
{
    const int on = 1;

    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
        connect(c->fd, (const struct sockaddr *)&peer, sizeof(peer)) != 0)
        lose(c);
}

/* The first thing that it hears unasked: Linux knows where it came in. */
static void greet(const struct cpu *cpu, struct connection *c)
{
    int at = -1;
    socklen_t size = sizeof(at);

    if (c->greeted || getsockopt(c->fd, SOL_SOCKET, SO_INCOMING_CPU, &at, &size) != 0)
        return;
    c->greeted = true;
    c->at_home = at == cpu->number;
}

static void hear(const struct cpu *cpu, struct connection *c)
{
    uint8_t data[4 * MESSAGE];

    if (c->awaited == 0)
        greet(cpu, c);
    ssize_t n = recv(c->fd, data, sizeof(data), MSG_DONTWAIT);
    if (n <= 0)
        lose(c);
    else
        c->awaited -= (uint32_t)n < c->awaited ? (uint32_t)n : c->awaited;
}

/* Hears what comes within so many ms; returns how many answers are still awaited. */
static uint32_t listen_to_all(struct cpu *cpu, int ms)
{
    struct pollfd polled[MAX_CONNECTIONS];
    uint32_t awaited = 0;

    for (uint32_t i = 0; i < n_connections; i++)
        polled[i] = (struct pollfd){.fd = cpu->connections[i].fd, .events = POLLIN};
    int n = poll(polled, n_connections, ms);
    for (uint32_t i = 0; i < n_connections; i++) {
        struct connection *c = &cpu->connections[i];
        if (n > 0 && polled[i].revents != 0)
            hear(cpu, c);
        awaited += c->fd >= 0 && c->awaited > 0;
    }
    return awaited;
}

/* All from this one on say something, and are answered. */
static void talk(struct cpu *cpu, uint32_t first)
{
    int64_t end = now_ms() + LONGEST_MS;

    for (uint32_t i = first; i < n_connections; i++)
        say(&cpu->connections[i]);
    while (listen_to_all(cpu, PAUSE_MS) > 0 && now_ms() < end)
        ;
}

static void *run_cpu(void *arg)
{
    struct cpu *cpu = arg;
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu->number, &set);
    pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
    for (uint32_t i = 0; i < n_connections; i++)
        open_one(&cpu->connections[i]);
    talk(cpu, 0);
    if (atomic_fetch_add(&n_waiting, 1) + 1 == CPUS) {
        puts("waiting");
        fflush(stdout);
    }
    while (!atomic_load(&ending)) {
        if (!atomic_load(&quiet))
            talk(cpu, n_idle);
        listen_to_all(cpu, PAUSE_MS);
    }
    talk(cpu, 0);
    return NULL;
}

static void report(void)
{
    uint32_t greeted = 0, at_home = 0, lived = 0, lost = 0;

    for (int cpu = 0; cpu < CPUS; cpu++)
        for (uint32_t i = 0; i < n_connections; i++) {
            const struct connection *c = &cpus[cpu].connections[i];
            greeted += c->greeted;
            at_home += c->at_home;
            lived += c->fd >= 0 && c->awaited == 0;
            lost += c->fd < 0;
        }
    printf("opened %u greeted %u first %u lived %u reset %u\n", CPUS * n_connections, greeted, at_home, lived, lost);
}

static void mind_signal(int signal)
{
    atomic_store(&quiet, true);
    if (signal == SIGUSR2)
        atomic_store(&ending, true);
}

int main(int argc, char **argv)
{
    pthread_t threads[CPUS];

    n_connections = argc == 5 ? (uint32_t)atoi(argv[3]) : 0;
    n_idle = argc == 5 ? (uint32_t)atoi(argv[4]) : 0;
    if (n_connections < 1 || n_connections > MAX_CONNECTIONS || n_idle > n_connections ||
        inet_pton(AF_INET, argv[1], &peer.sin_addr) != 1) {
        fprintf(stderr, "usage: tcp_tool ADDRESS PORT CONNECTIONS IDLE\n");
        return 2;
    }
    peer.sin_family = AF_INET;
    peer.sin_port = htons((uint16_t)atoi(argv[2]));
    signal(SIGUSR1, mind_signal);
    signal(SIGUSR2, mind_signal);
    for (int i = 0; i < CPUS; i++) {
        cpus[i].number = i;
        if (pthread_create(&threads[i], NULL, run_cpu, &cpus[i]) != 0)
            return 1;
    }
    for (int i = 0; i < CPUS; i++)
        pthread_join(threads[i], NULL);
    report();
    return 0;
}
