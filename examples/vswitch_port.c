/*
 * vswitch: what is the same for all ports.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vswitch.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_ether.h>
#include <rte_hash_crc.h>
#include <rte_ip.h>
#include <string.h>

struct vswitch the_switch;

int complain(const char *what, const char *name, const char *why)
{
    fprintf(stderr, PROGRAM ": %s %s: %s\n", what, name, why);
    return -1;
}

/* The line names the port. */
static void log_line(void *ctx, int32_t level, const char *message)
{
    (void)ctx;
    (void)level;
    fprintf(stderr, "%s\n", message);
}

/* Without learning, what is left of flowq is a keyed hash over the queues in use. */
static int make_vm(struct port *port, const struct port_settings *settings)
{
    struct flowq_vm_config config = {.size = sizeof(config),
                                     .max_queue_pairs = MAX_QUEUES,
                                     .max_flows = settings->max_flows,
                                     .no_learn = settings->steer != STEER_AUTO,
                                     .rebind_min_tcp_us = settings->rebind_min_us,
                                     .rebind_min_other_us = settings->rebind_min_us,
                                     .ordered = settings->ordered ? FLOWQ_ON : FLOWQ_OFF,
                                     .ordered_max_us = settings->ordered ? settings->ordered_max_us : 0,
                                     .log = log_line,
                                     .name = port->name};

    return flowq_vm_create(&config, &port->vm);
}

struct port *port_new(const char *name, const struct port_settings *settings)
{
    if (the_switch.n_ports == MAX_PORTS) {
        complain("port", name, "there are 32 already");
        return NULL;
    }
    struct port *port = &the_switch.ports[the_switch.n_ports];
    memset(port, 0, sizeof(*port));
    if (strlen(name) >= sizeof(port->name)) {
        complain("port", name, "the name is too long");
        return NULL;
    }
    memcpy(port->name, name, strlen(name) + 1);
    port->index = the_switch.n_ports;
    port->steer = settings->steer;
    port->crc = settings->crc;
    port->ordered = settings->ordered;
    port->vid = NO_DEVICE;
    int error = settings->watch && !watch_make(&port->watch) ? -ENOMEM : make_vm(port, settings);
    if (error == 0) {
        the_switch.n_ports++;
        return port;
    }
    watch_unmake(&port->watch);
    complain("port", name, strerror(-error));
    return NULL;
}

void port_discard(void)
{
    struct port *port = &the_switch.ports[--the_switch.n_ports];

    flowq_vm_destroy(port->vm);
    watch_unmake(&port->watch);
}

void ports_close(void)
{
    /* The list stays whole until the last is closed: callbacks of librte_vhost search it, and another guest may be speaking. */
    for (uint32_t i = the_switch.n_ports; i-- > 0;)
        the_switch.ports[i].ops->close(&the_switch.ports[i]);
    while (the_switch.n_ports > 0)
        port_discard();
}

/* ---- The choice of queues -------------------------------------------------------------------------------------------------- */

static bool has_ports(uint8_t protocol) { return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP; }

/* As a switch does that learns nothing: no options, no extension headers, no tunnels. */
static uint32_t crc_of(const struct flowq_pkt *packet)
{
    static const size_t ip = sizeof(struct rte_ether_hdr);
    const uint8_t *frame = packet->data;
    rte_be16_t type;

    if (packet->len < ip + sizeof(struct rte_ipv6_hdr) + sizeof(uint32_t))
        return 0;
    memcpy(&type, frame + offsetof(struct rte_ether_hdr, ether_type), sizeof(type));
    if (type == RTE_BE16(RTE_ETHER_TYPE_IPV4)) {
        struct rte_ipv4_hdr header;
        memcpy(&header, frame + ip, sizeof(header));
        bool whole = (header.fragment_offset & RTE_BE16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)) == 0;
        return rte_hash_crc(frame + ip + offsetof(struct rte_ipv4_hdr, src_addr),
                            whole && has_ports(header.next_proto_id) ? 12 : 8, header.next_proto_id);
    }
    if (type == RTE_BE16(RTE_ETHER_TYPE_IPV6)) {
        uint8_t protocol = frame[ip + offsetof(struct rte_ipv6_hdr, proto)];
        return rte_hash_crc(frame + ip + offsetof(struct rte_ipv6_hdr, src_addr), has_ports(protocol) ? 36 : 32, protocol);
    }
    return 0;
}

/* Over the queues that are on, up to the first one that is off: guests switch them on in order. */
static void choose_by_crc(const struct port *port, const struct flowq_pkt *views, size_t n, uint16_t *qids)
{
    uint32_t n_on = 0;

    while (n_on < MAX_QUEUES && atomic_load_explicit(&port->rx_on[n_on], memory_order_relaxed))
        n_on++;
    for (size_t i = 0; i < n; i++)
        qids[i] = n_on == 0 ? (uint16_t)FLOWQ_DROP : (uint16_t)((uint64_t)crc_of(&views[i]) * n_on >> 32);
}

void port_choose(struct port *port, const struct flowq_pkt *views, size_t n, uint16_t *qids)
{
    if (port->steer == STEER_QUEUE0)
        memset(qids, 0, n * sizeof(*qids));
    else if (port->steer == STEER_HASH && port->crc)
        choose_by_crc(port, views, n, qids);
    else {
        if (port->ordered && port->ops->look != NULL)
            port->ops->look(port);
        flowq_rx_steer_burst(port->vm, views, n, qids);
    }
}
