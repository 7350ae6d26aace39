/*
 * vswitch: ports that are TAP devices. The kernel behind one is, to the switch, a guest like others.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vswitch.h"

#include <errno.h>
#include <rte_ether.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MAX_PIECES = 64 };

/* Copies a frame into as many mbufs as it takes. NULL: there are none left. */
static struct rte_mbuf *packet_of(const uint8_t *frame, size_t length)
{
    struct rte_mbuf *packet = rte_pktmbuf_alloc(the_switch.pool), *last = packet;

    while (last != NULL) {
        uint16_t room = rte_pktmbuf_tailroom(last), n = length < room ? (uint16_t)length : room;
        memcpy(rte_pktmbuf_mtod(last, uint8_t *), frame, n);
        last->data_len = n;
        packet->pkt_len += n;
        frame += n;
        length -= n;
        if (length == 0)
            return packet;
        last->next = rte_pktmbuf_alloc(the_switch.pool);
        last = last->next;
        packet->nb_segs++;
    }
    if (packet != NULL) {
        packet->nb_segs--;
        rte_pktmbuf_free(packet);
    }
    return NULL;
}

static uint16_t tap_receive(struct port *port, uint32_t qid, struct rte_mbuf **packets, uint16_t n)
{
    static _Thread_local struct {
        struct virtio_net_hdr header;
        uint8_t frame[TAP_MAX_FRAME];
    } in;
    uint16_t got = 0;

    while (got < n) {
        ssize_t length =
            readv(port->tap.fds[qid], (struct iovec[]){{&in.header, sizeof(in.header)}, {in.frame, sizeof(in.frame)}}, 2);
        if (length < (ssize_t)sizeof(in.header))
            break;
        struct rte_mbuf *packet = packet_of(in.frame, (size_t)length - sizeof(in.header));
        if (packet == NULL) {
            count(&the_switch.no_memory, 1);
            break;
        }
        if (offload_from_header(&in.header, packet))
            packets[got++] = packet;
        else
            rte_pktmbuf_free(packet);
    }
    return got;
}

static bool send_one(struct port *port, uint32_t qid, struct rte_mbuf *packet)
{
    struct virtio_net_hdr header;
    struct iovec pieces[MAX_PIECES] = {{&header, sizeof(header)}};
    int n = 1;

    offload_to_header(packet, &header);
    for (struct rte_mbuf *piece = packet; piece != NULL; piece = piece->next) {
        if (n == MAX_PIECES)
            return false;
        pieces[n++] = (struct iovec){rte_pktmbuf_mtod(piece, void *), rte_pktmbuf_data_len(piece)};
    }
    return writev(port->tap.fds[qid], pieces, n) >= 0;
}

/* The kernel takes a frame whole or not at all. One that it refuses (the interface is down) is dropped; the next is tried. */
static uint16_t tap_send(struct port *port, uint32_t qid, struct rte_mbuf **packets, uint16_t n)
{
    uint16_t sent = 0;

    for (uint16_t i = 0; i < n; i++)
        if (send_one(port, qid, packets[i]))
            sent++;
    return sent;
}

static void tap_port_close(struct port *port) { tap_close(&port->tap); }

static const struct port_ops ops = {.receive = tap_receive, .send = tap_send, .close = tap_port_close};

int tap_port_add(const char *name, const char *netns, const struct port_settings *settings)
{
    struct tap_error error;
    struct port *port = port_new(name, settings);

    if (port == NULL)
        return -1;
    int place = netns == NULL ? -1 : netns_open(netns, &error);
    int result = netns != NULL && place < 0 ? -1 : tap_open(&port->tap, name, place, settings->queues, &error);
    if (place >= 0)
        close(place);
    if (result != 0) {
        fprintf(stderr, PROGRAM ": %s\n", error.text);
        port_discard();
        return -1;
    }
    port->ops = &ops;
    port->n_queues = settings->queues;
    atomic_store(&port->n_polled, settings->queues);
    flowq_vm_set_queue_pairs(port->vm, port->n_queues);
    for (uint32_t q = 0; q < port->n_queues; q++) {
        atomic_store(&port->rx_on[q], true);
        atomic_store(&port->tx_on[q], true);
    }
    return 0;
}
