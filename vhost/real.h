/*
 * flowq-vhost: DPDK's own functions. Nothing of DPDK is linked: each is looked up when the program first calls one of those
 * whose place we take. The names that we take over stand in calls.c.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_VHOST_REAL_H
#define FLOWQ_VHOST_REAL_H

#include <rte_telemetry.h>
#include <rte_vhost.h>
#include <rte_vhost_async.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Written once, by the first call, and then never again; a pointer is NULL where the program's DPDK has no such function.
 * The first group has our own functions in its place, in the names' usual form and in the linker's for --wrap.
 */
struct real {
    uint16_t (*enqueue)(int vid, uint16_t ring, struct rte_mbuf **packets, uint16_t n);
    uint16_t (*dequeue)(int vid, uint16_t ring, struct rte_mempool *pool, struct rte_mbuf **packets, uint16_t n);
    int (*callback_register)(const char *path, const struct rte_vhost_device_ops *ops);
    int (*unregister)(const char *path);
    int (*hook_register)(int vid, const struct rte_vhost_user_extern_ops *ops, void *ctx);
    int (*async_register)(int vid, uint16_t ring);
    int (*async_register_unsafe)(int vid, uint16_t ring);

    int (*get_ifname)(int vid, char *name, size_t size);
    int (*get_features)(int vid, uint64_t *features);
    int (*get_vring)(int vid, uint16_t ring, struct rte_vhost_vring *vring);
    int (*get_memory)(int vid, struct rte_vhost_memory **memory);
    int (*get_base)(int vid, uint16_t ring, uint16_t *avail, uint16_t *used);
    void (*free_bulk)(struct rte_mbuf **packets, unsigned int n);
    int (*log)(uint32_t level, uint32_t type, const char *format, ...);
    int (*log_register)(const char *name);
    const char *(*version)(void);
    int (*process_type)(void);

    int (*telemetry_register)(const char *command, telemetry_cb fn, const char *help);
    int (*telemetry_start)(struct rte_tel_data *reply);
    int (*telemetry_string)(struct rte_tel_data *reply, const char *name, const char *value);
    int (*telemetry_uint)(struct rte_tel_data *reply, const char *name, uint64_t value);
    int (*telemetry_u64)(struct rte_tel_data *reply, const char *name, uint64_t value); /* its name before 23.03 */
};

extern struct real real;

/*
 * Are DPDK's functions known? Looks them up the first time, in the program and the objects it has loaded; afterwards it is one
 * load. False: there is no librte_vhost that could be called, and nobody can have meant to.
 */
bool real_find(void);

/* Do we know this DPDK, so that its packets and messages can be read? Otherwise every call is handed on. After real_find(). */
bool real_known(void);

/* A line in the program's log, by DPDK's means; without them, silence. Never called by the data path. */
void say(uint32_t level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif /* FLOWQ_VHOST_REAL_H */
