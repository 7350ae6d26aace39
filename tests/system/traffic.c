/*
 * Two guests in one program, which talk through a switch as fast as it carries them, and watch what it does to the packets.
 *
 *   traffic PATH_A PATH_B FLOWS SECONDS [THREADS]
 *   traffic PATH_A PATH_B -                          reads FLOWS SECONDS [anew] from standard input, a line for each turn; rests
 *                                                    between; anew: the switch may have forgotten all flows
 *
 * A, behind the first socket, has FLOWS flows, each with a queue of its own to be sent on; B, behind the other one, answers
 * each packet, each flow on a queue of B's choosing. No more packets are on their way than any ring holds, so nothing need
 * be lost, and the switch alone decides how fast it goes. Each packet carries its flow and its number within it: one that
 * comes twice or after a later one is counted, and those that never come. With THREADS 2, A and B have a thread each.
 * Prints packets a second that arrived, in both directions, and on which queues. What comes before every flow has been
 * there and back is not measured: nobody has said yet where its packets are wanted.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "virtio_user.h"

#include <pthread.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_lcore.h>
#include <rte_udp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ON_THE_WAY: less than a ring, as all may be for one queue; nearly as many, or the switch waits for what its guests still look
   at, an eighth of its time. */
enum { A, B, MAX_FLOWS = 1 << 20, ON_THE_WAY = RING - 64, ROUNDS = 3, PORT_A = 4000, PORT_B = 5000 };

/* Seconds: not measured, at least, at least when the switch has carried something, and at most; until what has not come will not
   come. */
static const double WARM_UP = 0.2, WARM_UP_AGAIN = 0.05, LONGEST = 20.0, GIVEN_UP = 4.0;

struct frame {
    struct rte_ether_hdr ether;
    struct rte_ipv4_hdr ip;
    struct rte_udp_hdr udp;
    uint32_t flow, number;
    uint8_t rest[14];
} __attribute__((packed, aligned(2)));

/* What a guest saw. last: the highest number that came, by flow. */
struct guest {
    uint32_t *last;
    uint64_t by_queue[QUEUES], right, came, late, other;
};

static struct guest guests[2];
static uint32_t *sent_in;     /* A's numbers, by flow */
static uint32_t next[QUEUES]; /* A's flow that comes next, by queue */
static uint32_t flows, known; /* of this turn; the most that have been there and back, as far as the switch may remember */
static struct rte_mempool *pool;
static struct frame model;
static uint64_t sent, written_off;
static _Atomic bool measuring, over, out_of_memory;

/* Packets of B that no ring took yet. */
static struct rte_mbuf *kept[QUEUES][RING];
static uint32_t n_kept[QUEUES];

/* Where a flow lives. B's choice has nothing to do with A's, so that neither follows from the other. */
static uint16_t home(int guest, uint32_t flow) { return (uint16_t)((guest == A ? flow : flow / QUEUES + 1) % QUEUES); }

static void make_model(void)
{
    model = (struct frame){.ether = {.dst_addr = {{2, 0, 0, 0, 7, B}},
                                     .src_addr = {{2, 0, 0, 0, 7, A}},
                                     .ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4)},
                           .ip = {.version_ihl = RTE_IPV4_VHL_DEF,
                                  .total_length = rte_cpu_to_be_16(sizeof(model) - sizeof(model.ether)),
                                  .time_to_live = 64,
                                  .next_proto_id = IPPROTO_UDP,
                                  .src_addr = rte_cpu_to_be_32(RTE_IPV4(10, 0, 0, 0)),
                                  .dst_addr = rte_cpu_to_be_32(RTE_IPV4(11, 0, 0, 1))},
                           .udp = {.src_port = rte_cpu_to_be_16(PORT_A),
                                   .dst_port = rte_cpu_to_be_16(PORT_B),
                                   .dgram_len = rte_cpu_to_be_16(sizeof(model) - sizeof(model.ether) - sizeof(model.ip))}};
}

static void write_frame(struct rte_mbuf *mbuf, uint32_t flow, uint32_t number)
{
    struct frame *frame = (struct frame *)rte_pktmbuf_append(mbuf, sizeof(*frame));

    memcpy(frame, &model, sizeof(*frame));
    frame->flow = flow;
    frame->number = number;
    frame->ip.src_addr = rte_cpu_to_be_32(RTE_IPV4(10, 0, 0, 0) + flow);
    frame->ip.hdr_checksum = rte_cpu_to_be_16(guest_checksum(&frame->ip, sizeof(frame->ip), 0));
}

/* ---- A ---- */

static void send_from(uint16_t queue, uint32_t room)
{
    struct rte_mbuf *mbufs[BURST];
    uint32_t first = next[queue], n = RTE_MIN(room, (uint32_t)BURST);

    if (queue >= flows || n == 0)
        return;
    if (rte_pktmbuf_alloc_bulk(pool, mbufs, n) != 0) {
        atomic_store(&out_of_memory, true);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        write_frame(mbufs[i], next[queue], ++sent_in[next[queue]]);
        next[queue] += QUEUES;
        if (next[queue] >= flows)
            next[queue] = queue;
    }
    uint16_t taken = rte_eth_tx_burst(A, queue, mbufs, (uint16_t)n);
    sent += taken;
    if (taken == n)
        return;
    /* What the ring did not take was never sent: the next burst begins with it. */
    for (uint32_t i = n; i-- > taken;) {
        uint32_t flow = rte_pktmbuf_mtod(mbufs[i], const struct frame *)->flow;
        sent_in[flow]--;
        first = flow;
    }
    next[queue] = first;
    rte_pktmbuf_free_bulk(&mbufs[taken], n - taken);
}

/* ---- Both ---- */

/* Packets of a queue, counted and looked at. */
static uint16_t receive(int which, uint16_t queue, struct rte_mbuf **mbufs)
{
    struct guest *guest = &guests[which];
    uint16_t n = rte_eth_rx_burst((uint16_t)which, queue, mbufs, BURST), kept_n = 0;
    bool count = atomic_load_explicit(&measuring, memory_order_relaxed);

    for (uint16_t i = 0; i < n; i++) {
        const struct frame *frame = rte_pktmbuf_mtod(mbufs[i], const struct frame *);
        if (mbufs[i]->data_len != sizeof(*frame) || frame->udp.dst_port != rte_cpu_to_be_16(which == A ? PORT_A : PORT_B) ||
            frame->flow >= flows) {
            guest->other++; /* the switch's own, an ARP for one */
            rte_pktmbuf_free(mbufs[i]);
            continue;
        }
        if (count) {
            guest->by_queue[queue]++;
            guest->right += home(which, frame->flow) == queue;
        }
        if ((int32_t)(frame->number - guest->last[frame->flow]) <= 0)
            guest->late += count;
        else
            guest->last[frame->flow] = frame->number;
        mbufs[kept_n++] = mbufs[i];
    }
    guest->came += kept_n;
    return kept_n;
}

/* ---- B ---- */

static void turn_round(struct frame *frame)
{
    RTE_SWAP(frame->ether.src_addr, frame->ether.dst_addr);
    rte_be32_t address = frame->ip.src_addr;
    frame->ip.src_addr = frame->ip.dst_addr;
    frame->ip.dst_addr = address;
    rte_be16_t port = frame->udp.src_port;
    frame->udp.src_port = frame->udp.dst_port;
    frame->udp.dst_port = port;
}

static void answer(uint16_t queue)
{
    struct rte_mbuf *mbufs[BURST];
    uint16_t n = receive(B, queue, mbufs);

    for (uint16_t i = 0; i < n; i++) {
        struct frame *frame = rte_pktmbuf_mtod(mbufs[i], struct frame *);
        uint16_t out = home(B, frame->flow);
        turn_round(frame);
        kept[out][n_kept[out]++] = mbufs[i];
    }
}

static void flush(uint16_t queue)
{
    uint16_t taken = rte_eth_tx_burst(B, queue, kept[queue], (uint16_t)n_kept[queue]);

    n_kept[queue] -= taken;
    memmove(kept[queue], &kept[queue][taken], n_kept[queue] * sizeof(kept[queue][0]));
}

static void turn_b(void)
{
    for (uint16_t queue = 0; queue < QUEUES; queue++)
        answer(queue);
    for (uint16_t queue = 0; queue < QUEUES; queue++)
        flush(queue);
}

static void *run_b(void *arg)
{
    (void)arg;
    rte_thread_register();
    while (!atomic_load(&over)) {
        uint64_t came = guests[B].came;
        turn_b();
        if (came == guests[B].came)
            sched_yield();
    }
    rte_thread_unregister();
    return NULL;
}

/* ---- The whole ---- */

/* What came although it was written off makes this negative for a while. */
static int64_t on_the_way(void) { return (int64_t)(sent - guests[A].came - written_off); }

static void turn_a(bool more)
{
    struct rte_mbuf *mbufs[BURST];

    for (uint16_t queue = 0; queue < QUEUES; queue++) {
        uint16_t n = receive(A, queue, mbufs);
        if (n > 0)
            rte_pktmbuf_free_bulk(mbufs, n);
        if (more && on_the_way() < ON_THE_WAY)
            send_from(queue, (uint32_t)(ON_THE_WAY - on_the_way()));
    }
}

/* Turns for so long; seconds that it took. Ends early when nothing is on its way any more, or has come for long. */
static double play(double seconds, bool more, bool alone)
{
    double began = guest_now(), now = began, last = began;
    uint64_t came = guests[A].came;

    while (now < began + seconds && now < last + GIVEN_UP && (more || on_the_way() > 0)) {
        turn_a(more);
        if (alone)
            turn_b();
        now = guest_now();
        if (came != guests[A].came)
            last = now;
        else
            sched_yield(); /* the switch may want this processor */
        came = guests[A].came;
    }
    return now - began;
}

/*
 * Until every flow has been there and back. The switch may not know all queues of both guests yet, as they are announced one by
 * one: what it drops then, while others carry already, is no loss.
 */
static void warm_up(bool alone)
{
    static bool carried;
    double began = guest_now();
    uint64_t came;

    do {
        came = guests[A].came;
        play(carried ? WARM_UP_AGAIN : WARM_UP, true, alone);
        if (came == guests[A].came)
            written_off += (uint64_t)RTE_MAX(on_the_way(), 0);
    } while (guest_now() < began + LONGEST && (came == 0 || (flows > known && guests[A].came < (uint64_t)ROUNDS * flows)));
    if (!carried) {
        play(2 * GIVEN_UP, false, alone);
        written_off += (uint64_t)RTE_MAX(on_the_way(), 0);
    }
    known = RTE_MAX(known, flows);
    carried = true;
}

static void report(double rate, uint64_t lost)
{
    unsigned long long right = 0, measured = 0;

    printf("rate %.0f sent %llu lost %llu late %llu other %llu", rate, (unsigned long long)sent, (unsigned long long)lost,
           (unsigned long long)(guests[A].late + guests[B].late), (unsigned long long)(guests[A].other + guests[B].other));
    for (int which = A; which <= B; which++) {
        right += guests[which].right;
        for (uint16_t queue = 0; queue < QUEUES; queue++) {
            measured += guests[which].by_queue[queue];
            printf(" %c%u %llu", "ab"[which], (unsigned)queue, (unsigned long long)guests[which].by_queue[queue]);
        }
    }
    printf(" measured %llu right %llu\n", measured, right);
    fflush(stdout);
}

/* Everything that is counted begins anew; the numbers of the flows go on. */
static void begin(uint32_t n_flows)
{
    flows = n_flows;
    sent = written_off = 0;
    for (int which = A; which <= B; which++)
        guests[which] = (struct guest){.last = guests[which].last};
    for (uint16_t queue = 0; queue < QUEUES; queue++)
        next[queue] = queue;
}

static void turn(uint32_t n_flows, double seconds, bool alone)
{
    begin(n_flows);
    warm_up(alone);
    atomic_store(&measuring, true);
    uint64_t before = guests[A].came;
    double took = play(seconds, true, alone);
    double rate = 2.0 * (double)(guests[A].came - before) / took; /* what came back was carried twice */
    play(2 * GIVEN_UP, false, alone);
    atomic_store(&measuring, false);
    report(rate, (uint64_t)RTE_MAX(on_the_way(), 0));
}

static bool make_room(void)
{
    sent_in = calloc(MAX_FLOWS, sizeof(*sent_in));
    guests[A].last = calloc(MAX_FLOWS, sizeof(uint32_t));
    guests[B].last = calloc(MAX_FLOWS, sizeof(uint32_t));
    return sent_in != NULL && guests[A].last != NULL && guests[B].last != NULL;
}

static bool takes(unsigned long n_flows, double seconds) { return n_flows >= 1 && n_flows <= MAX_FLOWS && seconds > 0; }

static void turns(void)
{
    char line[64];

    while (fgets(line, sizeof(line), stdin) != NULL) {
        char *rest;
        unsigned long n_flows = strtoul(line, &rest, 10);
        double seconds = strtod(rest, &rest);
        if (!takes(n_flows, seconds))
            continue;
        if (strcmp(rest, " anew\n") == 0)
            known = 0;
        turn((uint32_t)n_flows, seconds, true);
    }
}

static int with_two_threads(uint32_t n_flows, double seconds)
{
    pthread_t thread;

    begin(n_flows); /* before anybody looks */
    if (pthread_create(&thread, NULL, run_b, NULL) != 0)
        return 1;
    turn(n_flows, seconds, false);
    atomic_store(&over, true);
    pthread_join(thread, NULL);
    return 0;
}

int main(int argc, char **argv)
{
    bool by_line = argc == 4 && strcmp(argv[3], "-") == 0;
    unsigned long n_flows = argc == 5 || argc == 6 ? strtoul(argv[3], NULL, 10) : 0;
    double seconds = argc == 5 || argc == 6 ? atof(argv[4]) : 0;
    int status = 0;

    if (!by_line && !takes(n_flows, seconds)) {
        fprintf(stderr, "usage: traffic PATH_A PATH_B FLOWS SECONDS [THREADS] | traffic PATH_A PATH_B -\n");
        return 2;
    }
    make_model();
    if (!make_room() || (pool = guest_start("traffic", (const char *const *)&argv[1], 2)) == NULL)
        return 1;
    if (by_line)
        turns();
    else if (argc == 6 && atoi(argv[5]) > 1)
        status = with_two_threads((uint32_t)n_flows, seconds);
    else
        turn((uint32_t)n_flows, seconds, true);
    guest_stop(2);
    return atomic_load(&out_of_memory) ? 1 : status;
}
