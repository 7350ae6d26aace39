/*
 * flowq-vhost: the life of ports and devices. port.h has the layout and who writes what.
 *
 *   rte_vhost_driver_callback_register()   the port; the program's callbacks are replaced by ours, which call them
 *   new_connection                         the device belongs to the port. All queues are off; what was learned stays, as the
 *                                          same guest may be back, and stale bindings only say where nobody else would know
 *   vring_state_changed                    even rings are the guest's receive queues; they go on and off by this
 *   destroy_connection                     what was learned is saved, if that is asked for (state.c); all queues off, the device
 *                                          is nobody's
 *   rte_vhost_driver_unregister()          ends the devices of the path without a destroy_connection: it is made up for
 *
 * destroy_device is none of ours: it may leave rings that are on, which come back with no other word.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "port.h"

#include "ordered.h"
#include "real.h"

#include <limits.h>
#include <rte_log.h>
#include <stdlib.h>
#include <string.h>

struct device devices[MAX_DEVICES];
pthread_mutex_t ports_lock = PTHREAD_MUTEX_INITIALIZER;

static struct port *ports; /* newest first */
static uint32_t n_ports;
static uint64_t n_unregistered;

/* ---- Settings ---- */

static struct settings the_settings;
static pthread_once_t settings_once = PTHREAD_ONCE_INIT;

static void complain(const char *word, int length, const char *why)
{
    say(RTE_LOG_WARNING, "FLOWQ_VHOST: \"%.*s\" %s; it is ignored", length, word, why);
}

static void read_settings(void)
{
    settings_read(&the_settings, secure_getenv("FLOWQ_VHOST"), complain);
    if (the_settings.off)
        say(RTE_LOG_INFO, "FLOWQ_VHOST says off: every call is handed on");
}

const struct settings *settings(void)
{
    pthread_once(&settings_once, read_settings);
    return &the_settings;
}

/* ---- Ports ---- */

static void log_line(void *ctx, int32_t level, const char *message)
{
    static const uint32_t levels[] = {RTE_LOG_ERR, RTE_LOG_WARNING, RTE_LOG_INFO};

    (void)ctx;
    say(levels[level < 0 || level > FLOWQ_LOG_INFO ? FLOWQ_LOG_INFO : level], "%s", message);
}

/* The same for every port, so that a port can serve any path. Its vm is told in the log by the settings' names alone. */
static int make_vm(struct flowq_vm **vm)
{
    const struct settings *s = settings();
    struct flowq_vm_config config = {.size = sizeof(config),
                                     .max_queue_pairs = MAX_PAIRS,
                                     .max_flows = s->max_flows,
                                     .rebind_min_tcp_us = s->rebind_min_us,
                                     .rebind_min_other_us = s->rebind_min_us,
                                     .tunnels = s->tunnels,
                                     .ordered = s->ordered ? FLOWQ_ON : FLOWQ_OFF,
                                     .ordered_max_us = s->ordered ? s->ordered_max_us : 0,
                                     .log = log_line};
    int error = flowq_vm_create(&config, vm);

    if (error == 0) {
        flowq_vm_set_queue_enabled(*vm, FLOWQ_ALL_QUEUES, false);
        flowq_vm_set_queue_pairs(*vm, MAX_PAIRS);
    }
    return error;
}

static struct port *find_locked(const char *path)
{
    struct port *port = ports;

    while (port != NULL && strcmp(port->path, path) != 0)
        port = port->next;
    return port;
}

struct port *port_first_locked(void) { return ports; }

struct port *port_at_locked(uint32_t index)
{
    struct port *port = ports;

    while (port != NULL && port->index != index)
        port = port->next;
    return port;
}

/* Without a registration for longest, if there are enough of them. */
static struct port *oldest_locked(void)
{
    struct port *oldest = NULL;
    uint32_t n = 0;

    for (struct port *port = ports; port != NULL; port = port->next)
        if (port->app == NULL) {
            n++;
            if (oldest == NULL || port->left < oldest->left)
                oldest = port;
        }
    return n >= PORTS_KEPT ? oldest : NULL;
}

static void clear_counters(struct port *port)
{
    for (uint32_t q = 0; q < MAX_PAIRS; q++) {
        struct receive_ring *receive = &port->receive[q];
        struct transmit_ring *transmit = &port->transmit[q];
        atomic_store(&receive->refused, 0);
        for (uint32_t reason = 0; reason < N_REASONS; reason++)
            atomic_store(&receive->reasons[reason], 0);
        atomic_store(&transmit->read, 0);
        atomic_store(&transmit->late, 0);
        atomic_store(&transmit->discarded, 0);
    }
    port->connections = 0;
}

/* A port that served another path forgets what it knows. */
static struct port *reuse_locked(const char *path)
{
    struct port *port = oldest_locked();
    char *copy = port == NULL ? NULL : strdup(path);

    if (copy == NULL)
        return NULL;
    flowq_vm_reset(port->vm, FLOWQ_RESET_FLOWS);
    clear_counters(port);
    free(port->path);
    port->path = copy;
    return port;
}

/* Not in the list yet. NULL: no memory. */
static struct port *make_port(const char *path)
{
    struct port *port = aligned_alloc(CACHE_LINE, sizeof(*port));

    if (port == NULL)
        return NULL;
    memset(port, 0, sizeof(*port));
    port->path = strdup(path);
    if (port->path == NULL || !ordered_make(port) || make_vm(&port->vm) != 0) {
        ordered_unmake(port);
        free(port->path);
        free(port);
        return NULL;
    }
    atomic_store(&port->drainer, NO_RING);
    port->vid = NO_DEVICE;
    state_load(port->vm, path);
    return port;
}

static void unmake_port(struct port *port)
{
    if (port == NULL)
        return;
    flowq_vm_destroy(port->vm);
    ordered_unmake(port);
    free(port->path);
    free(port);
}

/* The port of a path, which is registered with `app` now. `fresh`: one that may be taken if there is none; NULL when it was. */
static struct port *take_locked(const char *path, const struct rte_vhost_device_ops *app, struct port **fresh)
{
    struct port *port = find_locked(path);

    if (port == NULL)
        port = reuse_locked(path);
    if (port == NULL && *fresh != NULL) {
        port = *fresh;
        *fresh = NULL;
        port->index = n_ports++;
        port->next = ports;
        ports = port;
    }
    if (port != NULL)
        port->app = app;
    return port;
}

/* P-A: a port is made without the lock, and goes to waste if another thread was faster. False: no memory. */
static bool take_port(const char *path, const struct rte_vhost_device_ops *app)
{
    struct port *fresh = NULL;

    pthread_mutex_lock(&ports_lock);
    bool taken = take_locked(path, app, &fresh) != NULL;
    pthread_mutex_unlock(&ports_lock);
    if (taken)
        return true;
    fresh = make_port(path);
    if (fresh == NULL)
        return false;
    pthread_mutex_lock(&ports_lock);
    take_locked(path, app, &fresh);
    pthread_mutex_unlock(&ports_lock);
    unmake_port(fresh);
    return true;
}

/* ---- Devices ---- */

/* The program's callbacks of a device; those of VDUSE have no new_connection, and are found by their name. P-A: not with the
   lock. */
static const struct rte_vhost_device_ops *app_of(int vid)
{
    char path[PATH_MAX];
    const struct rte_vhost_device_ops *app = NULL;

    if (vid >= 0 && vid < MAX_DEVICES) {
        pthread_mutex_lock(&ports_lock);
        app = devices[vid].app;
        pthread_mutex_unlock(&ports_lock);
    }
    if (app != NULL || real.get_ifname(vid, path, sizeof(path)) != 0)
        return app;
    pthread_mutex_lock(&ports_lock);
    struct port *port = find_locked(path);
    app = port == NULL ? NULL : port->app;
    pthread_mutex_unlock(&ports_lock);
    return app;
}

static void all_off_locked(struct port *port)
{
    flowq_vm_set_queue_enabled(port->vm, FLOWQ_ALL_QUEUES, false);
    transmit_forget_locked(port);
    atomic_store(&port->polled, false);
}

/* The device is nobody's any more. If it was the steered one of its port, that has none. */
static void release_locked(int vid)
{
    struct device *device = &devices[vid];
    struct port *port = device->owner;

    atomic_store_explicit(&device->port, NULL, memory_order_release);
    if (port != NULL && port->vid == vid) {
        port->vid = NO_DEVICE;
        all_off_locked(port);
    }
    device->owner = NULL;
    device->app = NULL;
    device->hook = (struct rte_vhost_user_extern_ops){NULL, NULL};
    device->asynchronous = false;
    device->hiding = NO_RING;
}

/* Of two devices of a port, the one that came last is steered: a front end that comes back may be faster than its own end. */
static void claim_locked(struct port *port, int vid)
{
    if (port->vid != NO_DEVICE)
        atomic_store_explicit(&devices[port->vid].port, NULL, memory_order_release);
    all_off_locked(port);
    port->vid = vid;
    port->connections++;
    devices[vid].owner = port;
    devices[vid].app = port->app;
    atomic_store_explicit(&devices[vid].port, port, memory_order_release);
}

static void release(int vid)
{
    if (vid < 0 || vid >= MAX_DEVICES)
        return;
    pthread_mutex_lock(&ports_lock);
    release_locked(vid);
    pthread_mutex_unlock(&ports_lock);
    fetch_forget(fetch_of(vid));
}

static bool claim(int vid)
{
    char path[PATH_MAX];

    if (vid < 0 || vid >= MAX_DEVICES || real.get_ifname(vid, path, sizeof(path)) != 0)
        return false;
    release(vid); /* the number was another device's */
    if (fetch_of(vid) == NULL && !settings()->no_fetch)
        atomic_store_explicit(&devices[vid].fetch, fetch_make(), memory_order_release);
    pthread_mutex_lock(&ports_lock);
    struct port *port = find_locked(path);
    if (port != NULL && port->app != NULL)
        claim_locked(port, vid);
    pthread_mutex_unlock(&ports_lock);
    ordered_begin(vid);
    return port != NULL;
}

/* Messages have to come by us. */
static bool hooked(void) { return !settings()->no_drain || !settings()->no_fetch || settings()->ordered; }

/* ---- Our callbacks, in the place of the program's ---- */

static int new_connection(int vid)
{
    bool ours = claim(vid);
    const struct rte_vhost_device_ops *app = app_of(vid);

    /* Before the program's, so that its own hook, which it may register there, comes through port_hook(). */
    if (ours && hooked() && real.hook_register != NULL)
        real.hook_register(vid, &message_hook, NULL);
    int result = app == NULL || app->new_connection == NULL ? 0 : app->new_connection(vid);
    if (result < 0)
        release(vid);
    return result;
}

/* The port that steers this device. It is never freed. */
static struct port *steered(int vid)
{
    if (vid < 0 || vid >= MAX_DEVICES)
        return NULL;
    pthread_mutex_lock(&ports_lock);
    struct port *port = devices[vid].owner;
    if (port != NULL && port->vid != vid)
        port = NULL;
    pthread_mutex_unlock(&ports_lock);
    return port;
}

static void destroy_connection(int vid)
{
    const struct rte_vhost_device_ops *app = app_of(vid);
    struct port *port = steered(vid);

    if (port != NULL) /* while the queues of unbound flows are what they were */
        (void)state_save(port);
    release(vid);
    if (app != NULL && app->destroy_connection != NULL)
        app->destroy_connection(vid);
}

static int new_device(int vid)
{
    const struct rte_vhost_device_ops *app = app_of(vid);

    ordered_begin(vid);
    int result = app == NULL || app->new_device == NULL ? 0 : app->new_device(vid);
    if (result == 0)
        fetch_run(fetch_of(vid), vid);
    return result;
}

static void destroy_device(int vid)
{
    const struct rte_vhost_device_ops *app = app_of(vid);

    ordered_close(vid);
    fetch_stop(fetch_of(vid));
    if (app != NULL && app->destroy_device != NULL)
        app->destroy_device(vid);
}

/* Librte_vhost holds all its rings' locks, mostly. */
static int vring_state_changed(int vid, uint16_t ring, int enable)
{
    const struct rte_vhost_device_ops *app = app_of(vid);
    bool tell = true;

    if (vid >= 0 && vid < MAX_DEVICES && ring < MAX_RINGS) {
        pthread_mutex_lock(&ports_lock);
        struct port *port = devices[vid].owner;
        if (port != NULL && port->vid == vid && ring % 2 == 0)
            flowq_vm_set_queue_enabled(port->vm, ring / 2, enable != 0);
        else if (port != NULL && port->vid == vid)
            tell = transmit_ready_locked(port, ring / 2, enable != 0);
        pthread_mutex_unlock(&ports_lock);
        fetch_ready(fetch_of(vid), vid, ring, enable != 0);
    }
    return tell && app != NULL && app->vring_state_changed != NULL ? app->vring_state_changed(vid, ring, enable) : 0;
}

/*
 * What librte_vhost is given: the program's callbacks, five of them replaced. It keeps the pointer for as long as the path or a
 * device lives. Tables with the same contents are one, and are never freed; programs have one or two.
 */
struct table {
    struct rte_vhost_device_ops ops;
    struct table *next;
};
static struct table *tables;

static const struct rte_vhost_device_ops *replace_locked(const struct rte_vhost_device_ops *app)
{
    struct rte_vhost_device_ops ops = *app;

    ops.new_connection = new_connection;
    ops.destroy_connection = destroy_connection;
    ops.new_device = new_device;
    ops.destroy_device = destroy_device;
    ops.vring_state_changed = vring_state_changed;
    for (struct table *table = tables; table != NULL; table = table->next)
        if (memcmp(&table->ops, &ops, sizeof(ops)) == 0)
            return &table->ops;
    struct table *table = malloc(sizeof(*table));
    if (table == NULL)
        return NULL;
    table->ops = ops;
    table->next = tables;
    tables = table;
    return &table->ops;
}

/* ---- What the program asks for ---- */

/* The path has no callbacks of ours any more: of its devices, none is steered. */
static void drop(const char *path)
{
    pthread_mutex_lock(&ports_lock);
    struct port *port = find_locked(path);
    if (port != NULL) {
        for (int vid = 0; vid < MAX_DEVICES; vid++)
            if (devices[vid].owner == port)
                release_locked(vid);
        port->app = NULL;
        port->left = ++n_unregistered;
    }
    pthread_mutex_unlock(&ports_lock);
}

/* NULL: there is no memory, and the path is left alone. */
static const struct rte_vhost_device_ops *take(const char *path, const struct rte_vhost_device_ops *app)
{
    const struct rte_vhost_device_ops *ours = NULL;

    if (take_port(path, app)) {
        pthread_mutex_lock(&ports_lock);
        ours = replace_locked(app);
        pthread_mutex_unlock(&ports_lock);
        if (ours == NULL)
            drop(path);
    }
    if (ours == NULL)
        say(RTE_LOG_WARNING, "%s: no memory; it is left alone", path);
    return ours;
}

int port_register(const char *path, const struct rte_vhost_device_ops *ops)
{
    if (path == NULL || ops == NULL || !real_known() || settings()->off)
        return real.callback_register(path, ops);
    if (settings_leave(settings(), path)) {
        say(RTE_LOG_INFO, "%s: left alone, as FLOWQ_VHOST says", path);
        return real.callback_register(path, ops);
    }
    telemetry_start();
    state_start();
    const struct rte_vhost_device_ops *ours = take(path, ops);
    int result = real.callback_register(path, ours == NULL ? ops : ours);
    if (ours != NULL && result != 0)
        drop(path);
    if (ours != NULL && result == 0)
        say(RTE_LOG_INFO, "%s: packets follow what the guest transmits (flowq %s)", path, flowq_version_string());
    return result;
}

int port_unregister(const char *path)
{
    int result = real.unregister(path);

    if (path == NULL || result != 0)
        return result;
    pthread_mutex_lock(&ports_lock);
    struct port *port = find_locked(path);
    pthread_mutex_unlock(&ports_lock);
    if (port != NULL)
        (void)state_save(port);
    drop(path);
    return result;
}

int port_hook(int vid, const struct rte_vhost_user_extern_ops *ops, void *ctx)
{
    bool chained = false;

    if (vid >= 0 && vid < MAX_DEVICES && ops != NULL && hooked()) {
        pthread_mutex_lock(&ports_lock);
        chained = devices[vid].owner != NULL;
        if (chained)
            devices[vid].hook = *ops;
        pthread_mutex_unlock(&ports_lock);
    }
    return real.hook_register(vid, chained ? &message_hook : ops, ctx);
}

void port_asynchronous(int vid)
{
    bool first = false;

    if (vid < 0 || vid >= MAX_DEVICES)
        return;
    pthread_mutex_lock(&ports_lock);
    if (devices[vid].owner != NULL && !devices[vid].asynchronous) {
        first = devices[vid].asynchronous = true;
        atomic_store_explicit(&devices[vid].port, NULL, memory_order_release);
    }
    pthread_mutex_unlock(&ports_lock);
    if (first)
        say(RTE_LOG_INFO, "device %d: asynchronous calls begin; it is left alone", vid);
}
