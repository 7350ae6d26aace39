/*
 * flowq against Linux's tun, which knows the same art: the same packets, the choices compared one by one.
 *
 * We play the machine behind a TAP with four queues, in a network namespace of our own. What we write to descriptor q the machine
 * has transmitted on queue q: tun learns it, and flowq is told. What the kernel sends to the machine comes out of the descriptor
 * that tun chose, and flowq is asked. Then come the cases in which they are known to differ, each with the difference it must
 * show.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "examples/tap.h"
#include "tests/seed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <flowq.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    QUEUES = 4,
    N_FLOWS = 256,
    ROUNDS = 20000,
    ECHO_PORT = 7,
    CLOSED_PORT = 9,
    FIRST_PORT = 20000,
    FRAME = 2048,
    TUN_FORGETS_S = 7
};

/* What the machine sends, and the kernel answers: a datagram is echoed, TCP gets a reset, a ping its reply. */
enum kind { UDP4, UDP6, SYN4, DATA4, DATA6, PING4, N_KINDS };

struct lab {
    struct tap tap;
    struct flowq_vm *vm;
    int echo;
    struct rng rng;
    uint32_t bound[N_FLOWS];       /* queue + 1; 0: the machine has not sent yet */
    uint32_t behind, flowq_behind; /* first answers that still went where the flow was before */
};

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "tun_oracle: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* For machines without TAPs or namespaces, or not for us. */
static _Noreturn void skip(const char *what)
{
    printf("%s: %s\n", what, strerror(errno));
    exit(77);
}

/* ---- Frames ---- */

static const uint8_t machine_mac[6] = {2, 0, 0, 0, 0, 2};

struct frame {
    uint8_t bytes[FRAME];
    size_t length;
};

static void put(struct frame *frame, const void *bytes, size_t n)
{
    memcpy(frame->bytes + frame->length, bytes, n);
    frame->length += n;
}

static void put16(struct frame *frame, uint32_t value) { put(frame, (uint8_t[]){(uint8_t)(value >> 8), (uint8_t)value}, 2); }

static uint32_t add_up(const uint8_t *bytes, size_t n, uint32_t sum)
{
    for (size_t i = 0; i < n; i++)
        sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
    return sum;
}

static void set_checksum(uint8_t *at, uint32_t sum)
{
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    at[0] = (uint8_t)(~sum >> 8);
    at[1] = (uint8_t)~sum;
}

static void put_ip(struct frame *frame, bool v6, uint8_t protocol, size_t payload)
{
    if (v6) {
        put16(frame, 0x86dd);
        put(frame, (uint8_t[]){0x60, 0, 0, 0, 0, (uint8_t)payload, protocol, 64, 0xfd, 0x98, [23] = 2, 0xfd, 0x98, [39] = 1}, 40);
        return;
    }
    put16(frame, 0x0800);
    uint8_t *ip = frame->bytes + frame->length;
    put(frame, (uint8_t[]){0x45, 0, 0, (uint8_t)(20 + payload), 0, 0, 0, 0, 64, protocol, 0, 0, 10, 98, 0, 2, 10, 98, 0, 1}, 20);
    set_checksum(ip + 10, add_up(ip, 20, 0));
}

/* The transport header's checksum lies at `at` behind its beginning; the pseudo header's addresses lie right before it. */
static void put_transport(struct frame *frame, bool v6, uint8_t protocol, const uint8_t *header, size_t n, size_t at)
{
    size_t addresses = v6 ? 32 : 8;

    put_ip(frame, v6, protocol, n);
    uint8_t *begin = frame->bytes + frame->length;
    put(frame, header, n);
    bool pseudo = protocol != IPPROTO_ICMP;
    set_checksum(begin + at, add_up(begin, n, pseudo ? add_up(begin - addresses, addresses, protocol + (uint32_t)n) : 0));
}

static void put_flow(struct frame *frame, enum kind kind, uint16_t port, uint16_t to)
{
    uint8_t p[4] = {(uint8_t)(port >> 8), (uint8_t)port, (uint8_t)(to >> 8), (uint8_t)to};
    uint8_t syn = kind == SYN4 ? 0x02 : 0x10;
    bool v6 = kind == UDP6 || kind == DATA6;

    if (kind == UDP4 || kind == UDP6)
        put_transport(frame, v6, IPPROTO_UDP, (uint8_t[]){p[0], p[1], p[2], p[3], 0, 12, 0, 0, 'p', 'i', 'n', 'g'}, 12, 6);
    else if (kind == PING4)
        put_transport(frame, false, IPPROTO_ICMP, (uint8_t[]){8, 0, 0, 0, p[0], p[1], 0, 1}, 8, 2);
    else
        put_transport(frame, v6, IPPROTO_TCP,
                      (uint8_t[]){p[0], p[1], p[2], p[3], 0, 0, 0, 1, 0, 0, 0, 1, 0x50, syn, 4, 0, 0, 0, 0, 0}, 20, 16);
}

/* The machine transmits on queue q: tun and flowq see it. */
static void transmit(struct lab *lab, enum kind kind, uint16_t port, uint16_t to, uint32_t q)
{
    struct frame frame = {.length = TAP_VNET_HEADER};

    put(&frame, (uint8_t[]){2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}, 12);
    put_flow(&frame, kind, port, to);
    struct flowq_pkt pkt = {.data = frame.bytes + TAP_VNET_HEADER, .len = (uint32_t)(frame.length - TAP_VNET_HEADER)};
    flowq_tx_note(lab->vm, &pkt, q);
    if (write(lab->tap.fds[q], frame.bytes, frame.length) != (ssize_t)frame.length)
        fail("write to the TAP");
}

/* ---- What arrives ---- */

struct arrival {
    uint16_t tun, flowq; /* the queues they chose */
    struct frame frame;  /* from the Ethernet header on */
};

static bool is_ours(const struct frame *frame) { return frame->length > 34 && memcmp(frame->bytes, machine_mac, 6) == 0; }

static bool take(struct lab *lab, struct arrival *arrival)
{
    uint8_t bytes[TAP_VNET_HEADER + FRAME];

    for (uint16_t q = 0; q < QUEUES; q++) {
        ssize_t n = read(lab->tap.fds[q], bytes, sizeof(bytes));
        if (n <= TAP_VNET_HEADER)
            continue;
        arrival->frame.length = (size_t)n - TAP_VNET_HEADER;
        memcpy(arrival->frame.bytes, bytes + TAP_VNET_HEADER, arrival->frame.length);
        struct flowq_pkt pkt = {.data = arrival->frame.bytes, .len = (uint32_t)arrival->frame.length};
        arrival->tun = q;
        arrival->flowq = flowq_rx_steer(lab->vm, &pkt);
        return true;
    }
    return false;
}

/* The next packet for the machine; what the kernel says of its own accord (neighbours, multicast) goes by. */
static bool receive(struct lab *lab, struct arrival *arrival)
{
    for (int tries = 0; tries < 20; tries++) {
        struct pollfd fds[QUEUES];
        while (take(lab, arrival))
            if (is_ours(&arrival->frame))
                return true;
        for (int q = 0; q < QUEUES; q++)
            fds[q] = (struct pollfd){.fd = lab->tap.fds[q], .events = POLLIN};
        poll(fds, QUEUES, 50);
    }
    return false;
}

static void must_receive(struct lab *lab, struct arrival *arrival, const char *what)
{
    if (receive(lab, arrival))
        return;
    fprintf(stderr, "tun_oracle: no packet came: %s\n", what);
    exit(1);
}

/* The kernel's program sends the machine a datagram, asked or not. */
static void push(struct lab *lab, bool v6, uint16_t port, size_t size)
{
    static const uint8_t data[4096];
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

    inet_pton(AF_INET6, v6 ? "fd98::2" : "::ffff:10.98.0.2", &to.sin6_addr);
    if (sendto(lab->echo, data, size, 0, (const struct sockaddr *)&to, sizeof(to)) != (ssize_t)size)
        fail("send to the machine");
}

/* The program answers what came; tun chooses the queue when it does. */
static void echo_one(struct lab *lab)
{
    uint8_t data[FRAME];
    struct sockaddr_in6 from;
    socklen_t size = sizeof(from);

    ssize_t n = recvfrom(lab->echo, data, sizeof(data), 0, (struct sockaddr *)&from, &size);
    if (n < 0 || sendto(lab->echo, data, (size_t)n, 0, (const struct sockaddr *)&from, size) != n)
        fail("echo");
}

/* told: what tun does, and what flowq does. */
static int expect(bool condition, const char *told)
{
    printf("    %s: %s\n", condition ? "differs as known" : "DIFFERS OTHERWISE", told);
    return condition ? 0 : 1;
}

/* ---- What must agree ---- */

/* tun learns a packet after the kernel has answered it, if that answers at once as TCP and ICMP do: their first answer still goes
   where the flow was before. flowq is told first. So these are sent twice, and the second answer is the one to compare. */
static void round_trip(struct lab *lab, uint32_t flow, enum kind kind, uint32_t q)
{
    uint16_t port = (uint16_t)(FIRST_PORT + flow);
    struct arrival arrival;

    lab->bound[flow] = q + 1;
    if (kind == UDP4 || kind == UDP6) {
        transmit(lab, kind, port, ECHO_PORT, q);
        echo_one(lab);
        return;
    }
    transmit(lab, kind, port, CLOSED_PORT, q);
    must_receive(lab, &arrival, "first answer");
    lab->behind += arrival.tun != q;
    lab->flowq_behind += arrival.flowq != q;
    transmit(lab, kind, port, CLOSED_PORT, q);
}

/* Random packets of a few hundred flows that change queues all the time; now and then the kernel sends first. Pings have no
   ports: to both they are one flow, that of the addresses. */
static int compare(struct lab *lab)
{
    uint32_t compared[N_KINDS] = {0}, pushed = 0, wrong = 0;
    static const char *const names[N_KINDS] = {"UDP/IPv4", "UDP/IPv6", "SYN", "TCP/IPv4", "TCP/IPv6", "ping"};

    for (int i = 0; i < ROUNDS; i++) {
        uint32_t flow = rng_below(&lab->rng, N_FLOWS);
        enum kind kind = (enum kind)(flow % N_KINDS);
        bool udp = kind == UDP4 || kind == UDP6;
        struct arrival arrival;
        if (udp && lab->bound[flow] != 0 && rng_below(&lab->rng, 2) == 0) {
            push(lab, kind == UDP6, (uint16_t)(FIRST_PORT + flow), 20);
            pushed++;
        } else {
            round_trip(lab, flow, kind, rng_below(&lab->rng, QUEUES));
            compared[kind]++;
        }
        must_receive(lab, &arrival, names[kind]);
        if (arrival.tun == arrival.flowq && arrival.tun == lab->bound[flow] - 1)
            continue;
        if (wrong++ < 10)
            printf("    %s, flow %u: sent on %u, tun says %u, flowq %u\n", names[kind], flow, lab->bound[flow] - 1, arrival.tun,
                   arrival.flowq);
    }
    printf("    the same queue %u times of %d:", ROUNDS - wrong, ROUNDS);
    for (int kind = 0; kind < N_KINDS; kind++)
        printf(" %s %u,", names[kind], compared[kind]);
    printf(" unasked %u\n", pushed);
    return (wrong == 0 ? 0 : 1) +
           expect(lab->behind > 0 && lab->flowq_behind == 0, "an answer within the write: tun learns after it, flowq before");
}

/* ---- What must differ ---- */

/* A flow of its own on a queue that tun would not choose by hash: then a difference shows. */
static uint32_t bind_apart(struct lab *lab, uint16_t port)
{
    struct arrival arrival;

    push(lab, false, port, 20);
    must_receive(lab, &arrival, "unbound");
    uint32_t q = (arrival.tun + 1u) % QUEUES;
    transmit(lab, UDP4, port, ECHO_PORT, q);
    echo_one(lab);
    must_receive(lab, &arrival, "bound");
    return q;
}

static int fragments(struct lab *lab)
{
    uint32_t q = bind_apart(lab, 30000), tun = 0, flowq = 0, n = 0;
    struct arrival arrival;

    /* Pings of another queue bind the addresses elsewhere in tun. */
    transmit(lab, PING4, 1, 0, (q + 1) % QUEUES);
    must_receive(lab, &arrival, "ping");
    for (push(lab, false, 30000, 4000); n < 3; n++) {
        must_receive(lab, &arrival, "fragment");
        tun += arrival.tun == q;
        flowq += arrival.flowq == q;
    }
    if (tun == 3 && flowq == 3) { /* seen with Linux 6.18 on one machine; on another it went by the addresses */
        printf("    the same here: fragments: all where the flow is\n");
        return 0;
    }
    if (flowq != 3)
        printf("    fragments: flowq sent %u of 3 where the flow is, tun %u\n", flowq, tun);
    return expect(tun < 3 && flowq == 3, "fragments: tun hashes their addresses alone; flowq takes them all where the flow is");
}

static int icmp_error(struct lab *lab)
{
    struct arrival arrival;

    transmit(lab, PING4, 1, 0, 1);
    must_receive(lab, &arrival, "ping");
    transmit(lab, UDP4, 31000, CLOSED_PORT, 2);
    must_receive(lab, &arrival, "port unreachable");
    return expect(arrival.flowq == 2 && arrival.tun != 2,
                  "ICMP errors: tun goes by their addresses; flowq by the packet they quote");
}

static int idle(struct lab *lab)
{
    uint32_t q = bind_apart(lab, 32000);
    struct arrival arrival;

    sleep(TUN_FORGETS_S);
    push(lab, false, 32000, 20);
    must_receive(lab, &arrival, "after a rest");
    return expect(arrival.flowq == q && arrival.tun != q, "a flow that rests: tun forgets it after 3 s; flowq does not");
}

/* ---- The lab ---- */

static void set_up(struct lab *lab)
{
    static const char commands[] = "ip link set oracle address 02:00:00:00:00:01 && ip addr add 10.98.0.1/24 dev oracle && "
                                   "ip addr add fd98::1/64 dev oracle nodad && ip link set oracle up && "
                                   "ip neigh add 10.98.0.2 lladdr 02:00:00:00:00:02 dev oracle nud permanent && "
                                   "ip neigh add fd98::2 lladdr 02:00:00:00:00:02 dev oracle nud permanent";
    struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_port = htons(ECHO_PORT)};
    struct tap_error error;

    if (unshare(CLONE_NEWNET) != 0)
        skip("network namespace");
    if (tap_open(&lab->tap, "oracle", -1, QUEUES, &error) != 0) {
        errno = error.number;
        skip(error.text);
    }
    /* The kernel limits its own ICMP errors and resets; here it shall answer each packet. */
    if (system(commands) != 0 ||
        system("sysctl -q -w net.ipv4.icmp_ratelimit=0 net.ipv4.icmp_msgs_per_sec=100000 2>/dev/null || true") != 0)
        fail("addresses");
    lab->echo = socket(AF_INET6, SOCK_DGRAM, 0);
    if (lab->echo < 0 || bind(lab->echo, (const struct sockaddr *)&here, sizeof(here)) != 0)
        fail("echo");
    if (flowq_vm_create(NULL, &lab->vm) != 0 || flowq_vm_set_queue_pairs(lab->vm, QUEUES) != 0)
        fail("flowq");
}

int main(void)
{
    static struct lab lab;

    lab.rng.state = seed_get("tun_oracle");
    set_up(&lab);
    int failed = compare(&lab) + fragments(&lab) + icmp_error(&lab) + idle(&lab);
    flowq_vm_destroy(lab.vm);
    tap_close(&lab.tap);
    return failed == 0 ? 0 : 1;
}
