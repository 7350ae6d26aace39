/*
 * Runs dpdk_vhost.c with DPDK's headers and without its library: what it calls there is defined here. A front end comes, switches
 * rings on and off, goes, and comes back.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "dpdk_vhost.c"

#include "run.h"

enum { FLOWS = 8, VID = 7, N_ON = 4 };

static struct port port;
static struct rte_mbuf sent[FLOWS], answers[FLOWS];
static uint8_t frames[2][FLOWS][FRAME_SIZE];
static unsigned taken, freed;
static uint16_t queue_of[FLOWS];

struct port *port_of(int vid) { return vid == VID ? &port : NULL; }

/* The guest transmits flow f on pair queue_of[f]. */
uint16_t rte_vhost_dequeue_burst(int vid, uint16_t queue_id, struct rte_mempool *pool, struct rte_mbuf **pkts, uint16_t count)
{
    uint16_t n = 0;

    MUST(vid == VID && queue_id % 2 == 1 && pool == NULL && count == BURST);
    for (unsigned f = 0; f < FLOWS; f++)
        if (queue_of[f] == queue_id / 2)
            pkts[n++] = &sent[f];
    return n;
}

uint16_t rte_vhost_enqueue_burst(int vid, uint16_t queue_id, struct rte_mbuf **pkts, uint16_t count)
{
    MUST(vid == VID && queue_id % 2 == 0 && queue_id / 2 < N_ON);
    MUST(rte_spinlock_is_locked(&port.lock[queue_id / 2]));
    for (uint16_t i = 0; i < count; i++) {
        MUST(queue_of[pkts[i] - answers] == queue_id / 2);
        MUST(i == 0 || pkts[i] > pkts[i - 1]);
    }
    taken += count;
    return count;
}

void rte_pktmbuf_free_bulk(struct rte_mbuf **mbufs, unsigned int count) { freed += mbufs != NULL ? count : 0; }

static void make_mbuf(struct rte_mbuf *mbuf, uint8_t *frame, uint8_t flow, bool answer)
{
    make_frame(frame, flow, answer);
    mbuf->buf_addr = frame;
    mbuf->data_len = FRAME_SIZE;
}

/* How many of the answers get into a ring. */
static unsigned deliver_all(void)
{
    struct rte_mbuf *burst[FLOWS];
    unsigned before = taken, freed_before = freed;

    for (unsigned f = 0; f < FLOWS; f++)
        burst[f] = &answers[f];
    to_guest(&port, burst, FLOWS);
    MUST(freed == freed_before + FLOWS);
    return taken - before;
}

static void learn_all(void)
{
    struct rte_mbuf *burst[BURST];

    for (uint16_t q = 0; q < N_ON; q++)
        MUST(from_guest(&port, q, NULL, burst) == FLOWS / N_ON);
}

static void start(void)
{
    MUST(device_ops.new_connection(VID) == 0);
    MUST(deliver_all() == 0);
    for (uint16_t ring = 0; ring < 2 * N_ON; ring++) /* what is said of odd ones must not matter */
        MUST(device_ops.vring_state_changed(VID, ring, ring % 2 == 0) == 0);
    MUST(device_ops.new_device(VID) == 0);
}

int main(void)
{
    struct flowq_vm_config cfg = {.size = sizeof(cfg), .max_queue_pairs = MAX_PAIRS};

    MUST(flowq_vm_create(&cfg, &port.vm) == 0 && flowq_vm_set_queue_pairs(port.vm, MAX_PAIRS) == 0);
    port.vid = NO_DEVICE;
    for (uint8_t f = 0; f < FLOWS; f++) {
        make_mbuf(&sent[f], frames[0][f], f, false);
        make_mbuf(&answers[f], frames[1][f], f, true);
        queue_of[f] = f % N_ON;
    }
    start();
    learn_all();
    MUST(deliver_all() == FLOWS);
    device_ops.destroy_device(VID);
    MUST(from_guest(&port, 0, NULL, NULL) == 0);
    MUST(deliver_all() == 0);
    start();
    learn_all();
    MUST(deliver_all() == FLOWS);
    flowq_vm_destroy(port.vm);
    return 0;
}
