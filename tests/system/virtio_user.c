/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "virtio_user.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FIXED = 10, ARGUMENT = 192 };

static void *complain(const char *program, const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", program, what, rte_strerror(rte_errno));
    return NULL;
}

/* No huge pages, no other devices. DPDK binds the thread that starts it to a processor; ours shall run anywhere. */
static int start_dpdk(const char *program, const char *const *paths, size_t n_paths)
{
    char own[FIXED][ARGUMENT] = {"",    "--no-huge",     "-m", "128", "--no-pci", "--no-telemetry", "--log-level",
                                 "*:4", "--file-prefix", ""};
    char devices[MAX_PORTS][2][ARGUMENT], lcores[2][ARGUMENT] = {"--lcores"};
    char *arguments[FIXED + 2 + 2 * MAX_PORTS];
    int n = 0;
    cpu_set_t cpus;

    snprintf(own[0], ARGUMENT, "%s", program);
    snprintf(own[FIXED - 1], ARGUMENT, "flowq-guest-%d", (int)getpid());
    snprintf(lcores[1], ARGUMENT, "0@%d", sched_getcpu());
    for (int i = 0; i < FIXED; i++)
        arguments[n++] = own[i];
    arguments[n++] = lcores[0];
    arguments[n++] = lcores[1];
    for (size_t i = 0; i < n_paths; i++) {
        snprintf(devices[i][0], ARGUMENT, "--vdev");
        snprintf(devices[i][1], ARGUMENT, "net_virtio_user%zu,path=%s,server=1,queues=%d,queue_size=%d,mac=02:00:00:00:07:%02zx",
                 i, paths[i], QUEUES, RING, i);
        arguments[n++] = devices[i][0];
        arguments[n++] = devices[i][1];
    }
    int known = sched_getaffinity(0, sizeof(cpus), &cpus);
    int status = rte_eal_init(n, arguments);
    if (known == 0)
        sched_setaffinity(0, sizeof(cpus), &cpus);
    return status;
}

static int start_port(uint16_t port, struct rte_mempool *pool)
{
    struct rte_eth_conf conf = {.intr_conf.lsc = 1}; /* it notices that the switch has gone */

    if (rte_eth_dev_configure(port, QUEUES, QUEUES, &conf) != 0)
        return -1;
    for (uint16_t queue = 0; queue < QUEUES; queue++)
        if (rte_eth_rx_queue_setup(port, queue, RING, SOCKET_ID_ANY, NULL, pool) != 0 ||
            rte_eth_tx_queue_setup(port, queue, RING, SOCKET_ID_ANY, NULL) != 0)
            return -1;
    return rte_eth_dev_start(port);
}

struct rte_mempool *guest_start(const char *program, const char *const *paths, size_t n_paths)
{
    if (start_dpdk(program, paths, n_paths) < 0)
        return complain(program, "DPDK");
    struct rte_mempool *pool = rte_pktmbuf_pool_create("packets", MBUFS, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    if (pool == NULL)
        return complain(program, "packet memory");
    for (size_t i = 0; i < n_paths; i++)
        if (start_port((uint16_t)i, pool) != 0)
            return complain(program, paths[i]);
    return pool;
}

void guest_stop(size_t n_paths)
{
    for (size_t i = 0; i < n_paths; i++) {
        rte_eth_dev_stop((uint16_t)i);
        rte_eth_dev_close((uint16_t)i);
    }
    rte_eal_cleanup();
}

double guest_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

uint16_t guest_checksum(const void *bytes, size_t n, uint32_t sum)
{
    const uint8_t *at = bytes;

    for (size_t i = 0; i + 1 < n; i += 2)
        sum += (uint32_t)(at[i] << 8 | at[i + 1]);
    if (n % 2 != 0)
        sum += (uint32_t)(at[n - 1] << 8);
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}
