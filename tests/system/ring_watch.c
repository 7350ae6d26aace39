/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An object to preload behind libflowq-vhost.so, for the tests of the whole system: it sees what goes into the rings of the one
 * guest of a program with librte_vhost, after all that steers, and counts moves of flows and those with which packets may
 * overtake others (vhost/watch.h). What it counts is in the file that FLOWQ_RING_WATCH names, as two numbers of 8 bytes.
 *
 * It finds the messages before which rings may be unmapped where whoever is before it registers for them, as the drop-in does for
 * each device; of other devices rings are not read, and nothing is counted.
 */
#include "watch.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_DEVICES = 64, NO_DEVICE = -1 };

/* What is in the file. */
struct counts {
    _Atomic uint64_t moves, overtakes;
};

static struct {
    uint16_t (*enqueue)(int vid, uint16_t ring, struct rte_mbuf **packets, uint16_t n);
    int (*hook_register)(int vid, const struct rte_vhost_user_extern_ops *ops, void *ctx);
} real;

static struct positions_source source;
static struct counts *counts; /* NULL: nobody asked */
static struct watch watch;
static struct positions rings[POSITIONS_MAX_PAIRS];
static struct positions_device device;
static int watched = NO_DEVICE; /* with the lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const struct rte_vhost_user_extern_ops *hooks[MAX_DEVICES];

static const struct watch_rings watch_rings = {.at = rings, .device = &device};

/* dlsym() gives what C has no conversion for. */
static void find(void *function, const char *name)
{
    void *address = dlsym(RTLD_NEXT, name);
    memcpy(function, &address, sizeof(address));
}

static struct counts *open_counts(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0 || ftruncate(fd, sizeof(struct counts)) != 0)
        return NULL;
    void *at = mmap(NULL, sizeof(struct counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return at == MAP_FAILED ? NULL : at;
}

static __attribute__((constructor)) void begin(void)
{
    const char *path = getenv("FLOWQ_RING_WATCH");

    find(&real.enqueue, "rte_vhost_enqueue_burst");
    find(&real.hook_register, "rte_vhost_extern_callback_register");
    find(&source.get_vring, "rte_vhost_get_vhost_vring");
    find(&source.get_base, "rte_vhost_get_vring_base");
    find(&source.get_features, "rte_vhost_get_negotiated_features");
    if (path != NULL && watch_make(&watch))
        counts = open_counts(path);
}

/* ---- Messages: librte_vhost's own thread calls ----------------------------------------------------------------------------- */

static enum rte_vhost_msg_result before_message(int vid, void *message)
{
    const struct rte_vhost_user_extern_ops *theirs = hooks[vid];

    positions_close(&device);
    return theirs->pre_msg_handle != NULL ? theirs->pre_msg_handle(vid, message) : RTE_VHOST_MSG_RESULT_NOT_HANDLED;
}

static enum rte_vhost_msg_result after_message(int vid, void *message)
{
    const struct rte_vhost_user_extern_ops *theirs = hooks[vid];

    return theirs->post_msg_handle != NULL ? theirs->post_msg_handle(vid, message) : RTE_VHOST_MSG_RESULT_NOT_HANDLED;
}

static const struct rte_vhost_user_extern_ops ours = {.pre_msg_handle = before_message, .post_msg_handle = after_message};

#pragma GCC visibility push(default)

int rte_vhost_extern_callback_register(int vid, const struct rte_vhost_user_extern_ops *ops, void *ctx)
{
    if (counts == NULL || vid < 0 || vid >= MAX_DEVICES)
        return real.hook_register(vid, ops, ctx);
    hooks[vid] = ops;
    return real.hook_register(vid, &ours, ctx);
}

/* ---- Packets --------------------------------------------------------------------------------------------------------------- */

static uint16_t put_locked(int vid, uint32_t qid, struct rte_mbuf **packets, uint16_t n)
{
    if (vid != watched)
        positions_begin(&device);
    watched = vid;
    positions_before(&rings[qid], &device, &source, vid, NULL, qid);
    watch_before(&watch, &watch_rings, qid, packets, n);
    n = real.enqueue(vid, (uint16_t)(2 * qid), packets, n);
    if (n > 0)
        positions_after(&rings[qid], &device, &source, NULL, qid);
    watch_after(&watch, &watch_rings, qid, packets, n);
    atomic_store(&counts->moves, atomic_load(&watch.moves));
    atomic_store(&counts->overtakes, atomic_load(&watch.overtakes));
    return n;
}

uint16_t rte_vhost_enqueue_burst(int vid, uint16_t ring, struct rte_mbuf **packets, uint16_t n)
{
    if (counts == NULL || vid < 0 || vid >= MAX_DEVICES || hooks[vid] == NULL || ring / 2 >= POSITIONS_MAX_PAIRS)
        return real.enqueue(vid, ring, packets, n);
    pthread_mutex_lock(&lock);
    n = put_locked(vid, ring / 2, packets, n);
    pthread_mutex_unlock(&lock);
    return n;
}

#pragma GCC visibility pop
