/*
 * A share-nothing guest, as Seastar, F-Stack and mTCP build them: four cores, each with a queue pair and connections of its
 * own. A core knows nothing of the others' connections; a segment of one that it does not know it answers with a reset, as
 * TCP says (RFC 9293, 3.10.7.1). So a connection lives only as long as all that comes for it comes to the queue of its
 * core.
 *
 *   islands PATH CONNECTIONS ROUNDS PORT [IDLE]
 *
 * Each core opens so many connections to 10.77.0.1 port PORT, where whatever is said is said back, keeps all of them open
 * at once, says something ROUNDS times in each, and closes it. It prints how many were opened, established, and lived to
 * their orderly end. The TCP is real, if small: one segment at a time on its way, sent again until it is acknowledged; no
 * options; no congestion to avoid.
 *
 * With IDLE, the first so many connections of each core say something once, and then nothing until the other end has said
 * something of its own accord; the others go on. It begins at SIGUSR2, when the switch knows all queues. When all have been
 * answered it prints a line. SIGUSR1 makes it quiet: it acknowledges, and says nothing of its own accord. SIGUSR2 ends that,
 * and the ROUNDS, which do not end before. A segment is sent again as long as there is time: a restart takes what it takes.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "virtio_user.h"

#include <pthread.h>
#include <rte_alarm.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_lcore.h>
#include <rte_tcp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MAX_CONNECTIONS = 1000,
    MESSAGE = 512,
    FIRST_PORT = 20000,
    WINDOW = 8192,
    TRIES = 8,
    IDLE_NS = 50000,
    LINK_US = 50000,
    UNASKED = 'o'
};

/* Seconds: until a segment is sent again; between a reply and the next message; for all; with a restart. */
static const double AGAIN = 0.3, PAUSE = 0.02, LONGEST = 40, LONGEST_IDLE = 150;
static const uint32_t HERE = RTE_IPV4(10, 77, 0, 7), THERE = RTE_IPV4(10, 77, 0, 1);
static const struct rte_ether_addr OWN = {{2, 0, 0, 0, 7, 0}}, PEER = {{0x52, 0x54, 0, 0xff, 0, 1}};

enum state { CLOSED, SYN_SENT, TALKING, WAITING, CLOSING, LIVED, RESET, SILENT };

/* What is on its way lies between una and nxt. next_at: when to speak again, or to send the same again. */
struct connection {
    uint16_t port;
    enum state state;
    bool established;
    uint32_t una, nxt, rcv_nxt;
    uint32_t rounds, heard, tries;
    bool first;           /* what the other end said of its own accord came to its core */
    _Atomic bool strayed; /* another core had that before */
    double next_at;
};

/* A core, alone with what is its own. */
struct core {
    uint16_t queue;
    uint32_t opened, foreign;
    struct connection connections[MAX_CONNECTIONS];
};

static struct core cores[QUEUES];
static struct rte_mempool *pool;
static uint32_t connections, rounds, idle;
static _Atomic uint32_t n_answered; /* connections, once or more */
static _Atomic bool quiet, endless;
static double given_up;
static uint16_t server;
static _Atomic bool answered; /* anybody; before that the switch may not look at our rings yet, and no try counts */

struct frame {
    struct rte_ether_hdr ether;
    struct rte_ipv4_hdr ip;
    struct rte_tcp_hdr tcp;
    uint8_t data[];
} __attribute__((packed, aligned(2)));

/* ---- Segments ---- */

static void send_segment(const struct core *core, uint16_t port, uint8_t flags, uint32_t seq, uint32_t ack, uint16_t n)
{
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);
    if (mbuf == NULL)
        return; /* sent again, later */
    struct frame *frame = (struct frame *)rte_pktmbuf_append(mbuf, (uint16_t)(sizeof(*frame) + n));
    uint16_t length = (uint16_t)(sizeof(frame->tcp) + n);

    *frame = (struct frame){.ether = {.dst_addr = PEER, .src_addr = OWN, .ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4)},
                            .ip = {.version_ihl = RTE_IPV4_VHL_DEF,
                                   .total_length = rte_cpu_to_be_16((uint16_t)(sizeof(frame->ip) + length)),
                                   .time_to_live = 64,
                                   .next_proto_id = IPPROTO_TCP,
                                   .src_addr = rte_cpu_to_be_32(HERE),
                                   .dst_addr = rte_cpu_to_be_32(THERE)},
                            .tcp = {.src_port = rte_cpu_to_be_16(port),
                                    .dst_port = rte_cpu_to_be_16(server),
                                    .sent_seq = rte_cpu_to_be_32(seq),
                                    .recv_ack = rte_cpu_to_be_32(ack),
                                    .data_off = sizeof(frame->tcp) / 4 << 4,
                                    .tcp_flags = flags,
                                    .rx_win = rte_cpu_to_be_16(WINDOW)}};
    memset(frame->data, 'a' + core->queue, n);
    frame->ip.hdr_checksum = rte_cpu_to_be_16(guest_checksum(&frame->ip, sizeof(frame->ip), 0));
    uint32_t pseudo = (HERE >> 16) + (HERE & 0xffff) + (THERE >> 16) + (THERE & 0xffff) + IPPROTO_TCP + length;
    frame->tcp.cksum = rte_cpu_to_be_16(guest_checksum(&frame->tcp, length, pseudo));
    if (rte_eth_tx_burst(0, core->queue, &mbuf, 1) == 0)
        rte_pktmbuf_free(mbuf);
}

/* Sends what is due in this state: for the first time or again. */
static void speak(struct core *core, struct connection *c, double now)
{
    c->next_at = now + AGAIN;
    c->tries += atomic_load(&answered);
    if ((c->tries > TRIES && idle == 0) || now > given_up) {
        c->state = SILENT;
    } else if (c->state == SYN_SENT) {
        send_segment(core, c->port, RTE_TCP_SYN_FLAG, c->una, 0, 0);
        c->nxt = c->una + 1;
    } else if (c->state == TALKING) {
        send_segment(core, c->port, RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG, c->una, c->rcv_nxt, MESSAGE);
        c->nxt = c->una + MESSAGE;
    } else if (c->state == CLOSING) {
        send_segment(core, c->port, RTE_TCP_ACK_FLAG | RTE_TCP_FIN_FLAG, c->una, c->rcv_nxt, 0);
        c->nxt = c->una + 1;
    }
}

/* ---- What comes ---- */

struct segment {
    uint16_t port;
    uint8_t flags;
    uint32_t seq, ack, n;
    bool unasked; /* what the other end says of its own accord begins with this letter; ours, said back, with others */
};

static bool read_segment(const struct rte_mbuf *mbuf, struct segment *segment)
{
    const struct frame *frame = rte_pktmbuf_mtod(mbuf, const struct frame *);

    if (mbuf->data_len < sizeof(*frame) || frame->ether.ether_type != rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4) ||
        frame->ip.version_ihl != RTE_IPV4_VHL_DEF || frame->ip.next_proto_id != IPPROTO_TCP ||
        frame->ip.dst_addr != rte_cpu_to_be_32(HERE) || frame->ip.src_addr != rte_cpu_to_be_32(THERE) ||
        frame->tcp.src_port != rte_cpu_to_be_16(server))
        return false;
    uint32_t all = rte_be_to_cpu_16(frame->ip.total_length), headers = sizeof(frame->ip) + (frame->tcp.data_off >> 4) * 4u;
    *segment = (struct segment){.port = rte_be_to_cpu_16(frame->tcp.dst_port),
                                .flags = frame->tcp.tcp_flags,
                                .seq = rte_be_to_cpu_32(frame->tcp.sent_seq),
                                .ack = rte_be_to_cpu_32(frame->tcp.recv_ack),
                                .n = all > headers ? all - headers : 0};
    const uint8_t *said = (const uint8_t *)&frame->ip + headers;
    segment->unasked = segment->n > 0 && mbuf->data_len > sizeof(frame->ether) + headers && *said == UNASKED;
    return true;
}

/* What a core does not know it resets, whoever else may know it. */
static void refuse(struct core *core, const struct segment *s)
{
    uint32_t i = s->port - FIRST_PORT;

    core->foreign++;
    if (i < QUEUES * connections && s->unasked)
        atomic_store(&cores[i / connections].connections[i % connections].strayed, true);
    if (s->flags & RTE_TCP_RST_FLAG)
        return;
    if (s->flags & RTE_TCP_ACK_FLAG)
        send_segment(core, s->port, RTE_TCP_RST_FLAG, s->ack, 0, 0);
    else
        send_segment(core, s->port, RTE_TCP_RST_FLAG | RTE_TCP_ACK_FLAG, 0, s->seq + s->n + 1, 0);
}

static void acknowledge(const struct core *core, const struct connection *c)
{
    send_segment(core, c->port, RTE_TCP_ACK_FLAG, c->nxt, c->rcv_nxt, 0);
}

/* The reply is complete: the next message after a pause, or the end. */
static void turn_to_speak(const struct core *core, struct connection *c, double now)
{
    c->heard = 0;
    c->tries = 0;
    c->una = c->nxt;
    c->next_at = now + PAUSE;
    if (++c->rounds >= rounds && !atomic_load(&endless))
        c->state = CLOSING;
    else if (c->rounds == 1 && c < core->connections + idle)
        c->state = WAITING;
    if (idle > 0 && c->rounds == 1 && atomic_fetch_add(&n_answered, 1) + 1 == QUEUES * connections) {
        puts("waiting");
        fflush(stdout);
    }
}

static void hear(struct core *core, struct connection *c, const struct segment *s, double now)
{
    bool all_acknowledged = (s->flags & RTE_TCP_ACK_FLAG) && s->ack == c->nxt;

    if (s->flags & RTE_TCP_RST_FLAG) {
        c->state = RESET;
    } else if (c->state == SYN_SENT) {
        if (!(s->flags & RTE_TCP_SYN_FLAG) || !all_acknowledged)
            return;
        *c = (struct connection){
            .port = c->port, .state = TALKING, .established = true, .una = c->nxt, .nxt = c->nxt, .rcv_nxt = s->seq + 1};
        speak(core, c, now);
    } else if (s->seq != c->rcv_nxt) {
        acknowledge(core, c); /* again, as ours was lost */
    } else if (s->n > 0) {
        c->rcv_nxt += s->n;
        c->heard += s->n;
        c->first |= s->unasked && !atomic_load(&c->strayed);
        acknowledge(core, c);
        /* What the other end says of its own accord may come before our message has. */
        if (c->state == WAITING)
            c->state = TALKING;
        if (c->state == TALKING && c->heard >= MESSAGE && all_acknowledged)
            turn_to_speak(core, c, now);
    } else if (c->state == CLOSING && all_acknowledged && c->nxt != c->una && (s->flags & RTE_TCP_FIN_FLAG)) {
        c->rcv_nxt++;
        acknowledge(core, c);
        c->state = LIVED;
    }
}

static void take(struct core *core, const struct rte_mbuf *mbuf, double now)
{
    struct segment segment;

    if (!read_segment(mbuf, &segment))
        return;
    atomic_store(&answered, true);
    uint32_t i = segment.port - FIRST_PORT - core->queue * connections;
    struct connection *c = &core->connections[i];
    if (segment.port < FIRST_PORT + core->queue * connections || i >= core->opened || c->state == CLOSED)
        refuse(core, &segment);
    else if (c->state == LIVED && segment.seq != c->rcv_nxt)
        acknowledge(core, c); /* the last one was lost */
    else if (c->state < LIVED)
        hear(core, c, &segment, now);
}

/* ---- A core ---- */

static bool pass_time(struct core *core, double now)
{
    bool waiting = core->opened < connections;

    for (uint32_t i = 0; i < core->opened; i++) {
        struct connection *c = &core->connections[i];
        waiting |= c->state < LIVED;
        if (now > given_up && c->state < LIVED)
            c->state = SILENT;
        if (c->state == WAITING && !atomic_load(&endless) && !atomic_load(&quiet))
            c->state = TALKING; /* what it waited for did not come */
        if (c->state < LIVED && c->state != WAITING && now >= c->next_at && !atomic_load(&quiet))
            speak(core, c, now);
    }
    return waiting;
}

static void open_one(struct core *core, double now)
{
    struct connection *c = &core->connections[core->opened];

    *c = (struct connection){.port = (uint16_t)(FIRST_PORT + core->queue * connections + core->opened), .state = SYN_SENT};
    c->una = c->port * 77777u;
    core->opened++;
    speak(core, c, now);
}

static void *run_core(void *arg)
{
    struct core *core = arg;
    struct rte_mbuf *mbufs[BURST];
    double last = 0, now;
    bool waiting = true;

    rte_thread_register();
    /* On for a second after the last connection: whoever missed our last acknowledgement asks again. */
    while (now = guest_now(), waiting || now < last + 1) {
        uint16_t n = rte_eth_rx_burst(0, core->queue, mbufs, BURST);
        for (uint16_t i = 0; i < n; i++) {
            take(core, mbufs[i], now);
            rte_pktmbuf_free(mbufs[i]);
        }
        if (n > 0)
            continue;
        if (waiting && core->opened < connections && !atomic_load(&quiet))
            open_one(core, now);
        if (waiting) {
            waiting = pass_time(core, now);
            last = now;
        }
        nanosleep(&(struct timespec){.tv_nsec = IDLE_NS}, NULL);
    }
    rte_thread_unregister();
    return NULL;
}

/* Virtio-user notices that the switch has gone, and lets the next one in, when it is asked for the link; and by interrupts, too,
   so it is asked in the thread that has these: of two that let somebody in at once neither would come to an end. */
static void mind_the_link(void *unused)
{
    struct rte_eth_link link;

    (void)rte_eth_link_get_nowait(0, &link);
    (void)rte_eal_alarm_set(LINK_US, mind_the_link, unused);
}

static void report(void)
{
    uint32_t opened = 0, established = 0, foreign = 0, first = 0, ends[SILENT + 1] = {0};

    for (uint16_t q = 0; q < QUEUES; q++) {
        opened += cores[q].opened;
        foreign += cores[q].foreign;
        for (uint32_t i = 0; i < cores[q].opened; i++) {
            established += cores[q].connections[i].established;
            first += cores[q].connections[i].first;
            ends[cores[q].connections[i].state]++;
        }
    }
    printf("opened %u established %u lived %u reset %u silent %u foreign %u first %u\n", opened, established, ends[LIVED],
           ends[RESET], ends[SILENT], foreign, first);
}

static void mind_signal(int signal)
{
    if (signal == SIGUSR1)
        atomic_store(&endless, false);
    atomic_store(&quiet, signal == SIGUSR1);
}

int main(int argc, char **argv)
{
    pthread_t threads[QUEUES];
    bool enough = argc == 5 || argc == 6;

    connections = enough ? (uint32_t)atoi(argv[2]) : 0;
    rounds = enough ? (uint32_t)atoi(argv[3]) : 0;
    server = enough ? (uint16_t)atoi(argv[4]) : 0;
    idle = argc == 6 ? (uint32_t)atoi(argv[5]) : 0;
    if (connections < 1 || connections > MAX_CONNECTIONS || rounds < 1 || server < 1 || idle > connections) {
        fprintf(stderr, "usage: islands PATH CONNECTIONS ROUNDS PORT [IDLE]\n");
        return 2;
    }
    atomic_store(&endless, idle > 0);
    atomic_store(&quiet, idle > 0);
    signal(SIGUSR1, mind_signal);
    signal(SIGUSR2, mind_signal);
    pool = guest_start("islands", (const char *const *)&argv[1], 1);
    if (pool == NULL)
        return 1;
    if (idle > 0)
        (void)rte_eal_alarm_set(LINK_US, mind_the_link, NULL);
    given_up = guest_now() + (idle > 0 ? LONGEST_IDLE : LONGEST);
    for (uint16_t q = 0; q < QUEUES; q++) {
        cores[q].queue = q;
        if (pthread_create(&threads[q], NULL, run_core, &cores[q]) != 0)
            return 1;
    }
    for (uint16_t q = 0; q < QUEUES; q++)
        pthread_join(threads[q], NULL);
    (void)rte_eal_alarm_cancel(mind_the_link, NULL);
    report();
    guest_stop(1);
    return 0;
}
