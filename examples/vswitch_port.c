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
    port->config = (struct flowq_vm_config){.size = sizeof(port->config),
                                            .max_queue_pairs = MAX_QUEUES,
                                            .max_flows = settings->max_flows,
                                            .no_learn = settings->steer == STEER_AUTO ? FLOWQ_OFF : FLOWQ_ON,
                                            .rebind_min_tcp_us = settings->rebind_min_us,
                                            .rebind_min_other_us = settings->rebind_min_us,
                                            .ordered = settings->ordered ? FLOWQ_ON : FLOWQ_OFF,
                                            .ordered_max_us = settings->ordered ? settings->ordered_max_us : 0,
                                            .log = log_line,
                                            .name = port->name};

    return flowq_vm_create(&port->config, &port->vm);
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
    atomic_init(&port->steer, settings->steer);
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

/* ---- Another way to choose queues ------------------------------------------------------------------------------------------ */

const char *way_name(uint32_t steer) { return steer == STEER_CRC ? "hash,crc" : steer_name((enum steer)steer); }

uint32_t way_named(const char *name)
{
    uint32_t steer = 0;

    while (steer < N_WAYS && strcmp(name, way_name(steer)) != 0)
        steer++;
    return steer;
}

/* Notes that began before learning was switched off end first, as they would bind flows behind the reset. Then memory is given
   back: two parts of a table become one at a time, when no worker looks at them any more. */
static int forget(struct port *port)
{
    enum { PATIENCE = 8 }; /* steps that give nothing back until there is taken to be no more */
    struct flowq_stats stats = {.size = sizeof(stats)};
    int error = flowq_synchronize();

    if (error == 0)
        error = flowq_vm_reset(port->vm, FLOWQ_RESET_FLOWS);
    uint64_t shrunk = 0;
    for (uint32_t idle = 0; error == 0 && idle < PATIENCE; idle = stats.shrunk == shrunk ? idle + 1 : 0) {
        shrunk = stats.shrunk;
        flowq_vm_maintain(port->vm);
        error = flowq_synchronize();
        if (error == 0)
            error = flowq_vm_stats(port->vm, &stats);
    }
    return error;
}

/* The vm learns before a worker asks it, and no worker asks any more when it forgets. */
int port_steer(struct port *port, uint32_t steer)
{
    struct flowq_vm_config config = port->config;

    config.no_learn = steer == STEER_AUTO ? FLOWQ_OFF : FLOWQ_ON;
    int error = flowq_vm_configure(port->vm, &config);
    if (error == 0) {
        port->config = config;
        atomic_store(&port->steer, steer);
    }
    if (error == 0 && steer != STEER_AUTO)
        error = forget(port);
    return error == 0 ? 0 : complain("port", port->name, strerror(-error));
}

/* ---- The choice of queues -------------------------------------------------------------------------------------------------- */

static bool has_ports(uint8_t protocol) { return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP; }

/* As a switch does that learns nothing: no options, no extension headers, no tunnels. */
static uint32_t crc_of(const struct flowq_pkt *packet)
{
    static const size_t ip = sizeof(struct rte_ether_hdr);
    const uint8_t *frame = packet->data;
    uint64_t tuple[5]; /* rte_hash_crc() loads words where they are: in a frame they would not be aligned */
    rte_be16_t type;

    if (packet->len < ip + sizeof(struct rte_ipv6_hdr) + sizeof(uint32_t))
        return 0;
    memcpy(&type, frame + offsetof(struct rte_ether_hdr, ether_type), sizeof(type));
    if (type == RTE_BE16(RTE_ETHER_TYPE_IPV4)) {
        struct rte_ipv4_hdr header;
        memcpy(&header, frame + ip, sizeof(header));
        bool whole = (header.fragment_offset & RTE_BE16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)) == 0;
        memcpy(tuple, frame + ip + offsetof(struct rte_ipv4_hdr, src_addr), 12);
        return rte_hash_crc(tuple, whole && has_ports(header.next_proto_id) ? 12 : 8, header.next_proto_id);
    }
    if (type == RTE_BE16(RTE_ETHER_TYPE_IPV6)) {
        uint8_t protocol = frame[ip + offsetof(struct rte_ipv6_hdr, proto)];
        memcpy(tuple, frame + ip + offsetof(struct rte_ipv6_hdr, src_addr), 36);
        return rte_hash_crc(tuple, has_ports(protocol) ? 36 : 32, protocol);
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
    uint32_t steer = atomic_load_explicit(&port->steer, memory_order_relaxed);

    if (steer == STEER_QUEUE0)
        memset(qids, 0, n * sizeof(*qids));
    else if (steer == STEER_CRC)
        choose_by_crc(port, views, n, qids);
    else {
        if (port->ordered && port->ops->look != NULL)
            port->ops->look(port);
        flowq_rx_steer_burst(port->vm, views, n, qids);
    }
}
