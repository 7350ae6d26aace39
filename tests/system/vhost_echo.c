/*
 * vhost_echo: a small program on the true librte_vhost. What a guest transmits comes back to it with its addresses and ports
 * changed over; and always by ring 0, as from a program that knows nothing of queues. So where it arrives is the drop-in's doing.
 *
 *     vhost_echo SECONDS THREADS SOCKET [EAL option]...
 *
 * Thread t reads the pairs q with q mod THREADS = t. In the end it prints, as JSON, what came and went.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <netinet/in.h>
#include <pthread.h>
#include <rte_eal.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_udp.h>
#include <rte_vhost.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BURST = 32, PAIRS = 16, MAX_THREADS = 16, MBUFS = 8192, NO_DEVICE = -1 };

static _Atomic int device = NO_DEVICE;
static _Atomic int turn[MAX_THREADS]; /* odd: inside; destroy_device waits until each was outside */
static atomic_bool over;
static struct rte_mempool *pool;
static uint32_t n_threads;
static _Atomic uint64_t n_read, n_returned;

/* ---- Callbacks ---- */

static int new_device(int vid)
{
    for (uint16_t ring = 0; ring < rte_vhost_get_vring_num(vid); ring++)
        rte_vhost_enable_guest_notification(vid, ring, 0);
    atomic_store(&device, vid);
    return 0;
}

static void destroy_device(int vid)
{
    (void)vid;
    atomic_store(&device, NO_DEVICE);
    for (uint32_t t = 0; t < n_threads; t++) {
        int seen = atomic_load(&turn[t]);
        while (seen % 2 != 0 && atomic_load(&turn[t]) == seen)
            usleep(100);
    }
}

static const struct rte_vhost_device_ops callbacks = {.new_device = new_device, .destroy_device = destroy_device};

/* ---- Packets ---- */

/* IPv4 with UDP or TCP is what comes; ports lie at the same place. */
static void turn_round(struct rte_mbuf *packet)
{
    struct rte_ether_hdr *ethernet = rte_pktmbuf_mtod(packet, struct rte_ether_hdr *);
    struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(ethernet + 1);
    struct rte_udp_hdr *ports = (struct rte_udp_hdr *)(ip + 1);
    struct rte_ether_addr mac = ethernet->src_addr;

    if (packet->data_len < sizeof(*ethernet) + sizeof(*ip) + sizeof(*ports))
        return;
    uint32_t address = ip->src_addr;
    uint16_t port = ports->src_port;
    ethernet->src_addr = ethernet->dst_addr;
    ethernet->dst_addr = mac;
    ip->src_addr = ip->dst_addr;
    ip->dst_addr = address;
    ports->src_port = ports->dst_port;
    ports->dst_port = port;
}

static void serve(int vid, uint16_t pair)
{
    struct rte_mbuf *packets[BURST];
    uint16_t n = rte_vhost_dequeue_burst(vid, (uint16_t)(2 * pair + 1), pool, packets, BURST);

    for (uint16_t i = 0; i < n; i++)
        turn_round(packets[i]);
    atomic_fetch_add(&n_read, n);
    atomic_fetch_add(&n_returned, n == 0 ? 0 : rte_vhost_enqueue_burst(vid, 0, packets, n));
    if (n > 0)
        rte_pktmbuf_free_bulk(packets, n);
}

static void *thread_main(void *arg)
{
    uint32_t self = (uint32_t)(uintptr_t)arg;

    while (!atomic_load(&over)) {
        atomic_fetch_add(&turn[self], 1);
        int vid = atomic_load(&device);
        for (uint32_t q = self; vid != NO_DEVICE && q < PAIRS && 2 * q + 1 < rte_vhost_get_vring_num(vid); q += n_threads)
            serve(vid, (uint16_t)q);
        atomic_fetch_add(&turn[self], 1);
    }
    return NULL;
}

/* ---- Start ---- */

static int fail(const char *what)
{
    fprintf(stderr, "vhost_echo: %s\n", what);
    return 1;
}

int main(int argc, char **argv)
{
    pthread_t threads[MAX_THREADS];

    if (argc < 4)
        return fail("usage: SECONDS THREADS SOCKET [EAL option]...");
    int seconds = atoi(argv[1]);
    const char *path = argv[3];
    n_threads = (uint32_t)atoi(argv[2]);
    if (n_threads == 0 || n_threads > MAX_THREADS)
        return fail("1 to 16 threads");
    argv[3] = argv[0];
    if (rte_eal_init(argc - 3, argv + 3) < 0)
        return fail("no EAL");
    pool = rte_pktmbuf_pool_create("packets", MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    if (pool == NULL || rte_vhost_driver_register(path, 0) != 0 || rte_vhost_driver_callback_register(path, &callbacks) != 0 ||
        rte_vhost_driver_start(path) != 0)
        return fail("no socket");
    for (uint32_t t = 0; t < n_threads; t++)
        pthread_create(&threads[t], NULL, thread_main, (void *)(uintptr_t)t);
    sleep((unsigned int)seconds);
    rte_vhost_driver_unregister(path);
    atomic_store(&over, true);
    for (uint32_t t = 0; t < n_threads; t++)
        pthread_join(threads[t], NULL);
    printf("{\"read\": %llu, \"returned\": %llu, \"mbufs_left\": %u}\n", (unsigned long long)n_read,
           (unsigned long long)n_returned, rte_mempool_in_use_count(pool));
    return 0;
}
