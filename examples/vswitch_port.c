/*
 * vswitch: what is the same for all ports.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vswitch.h"

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
                                     .no_learn = settings->steer != STEER_AUTO,
                                     .rebind_min_tcp_us = settings->rebind_min_us,
                                     .rebind_min_other_us = settings->rebind_min_us,
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
    port->vid = NO_DEVICE;
    int error = make_vm(port, settings);
    if (error == 0) {
        the_switch.n_ports++;
        return port;
    }
    complain("port", name, strerror(-error));
    return NULL;
}

void port_discard(void) { flowq_vm_destroy(the_switch.ports[--the_switch.n_ports].vm); }

void ports_close(void)
{
    /* The list stays whole until the last is closed: callbacks of librte_vhost search it, and another guest may be speaking. */
    for (uint32_t i = the_switch.n_ports; i-- > 0;)
        the_switch.ports[i].ops->close(&the_switch.ports[i]);
    while (the_switch.n_ports > 0)
        port_discard();
}

void port_choose(struct port *port, const struct flowq_pkt *views, size_t n, uint16_t *qids)
{
    if (port->steer == STEER_QUEUE0)
        memset(qids, 0, n * sizeof(*qids));
    else
        flowq_rx_steer_burst(port->vm, views, n, qids);
}
