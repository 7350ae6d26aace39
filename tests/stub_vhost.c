/*
 * stub_vhost: librte_vhost, as far as the drop-in can tell.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "stub_vhost.h"

#include "stub_memory.h"

#include <pthread.h>
#include <rte_vhost_async.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_DEVICES = 64, N_SOCKETS = 256, MESSAGE_NEED_REPLY = 8 };

struct ring {
    atomic_bool enabled, kicked;
    bool ready;
    atomic_int users;
    /* receive */
    atomic_uint room;
    uint32_t n_received;
    uint32_t received[STUB_RING_SIZE * 16][2];
    _Atomic uint32_t filled, taken; /* as positions in a split ring, which the guest has filled up behind `taken` */
    /* transmit: free-running positions, as in a split ring */
    struct rte_mbuf *_Atomic slots[STUB_RING_SIZE];
    _Atomic uint32_t tail, head;
    uint32_t packed_next;
};

struct device {
    const struct rte_vhost_device_ops *ops;
    struct rte_vhost_user_extern_ops hook;
    void *hook_context;
    char path[256];
    bool running, is_packed;
    uint64_t features;
    int shared; /* the memory's file */
    struct memory *guest;
    struct memory *_Atomic memory; /* as librte_vhost has it mapped; NULL: not yet, or the message failed */
    atomic_bool announce;
    pthread_rwlock_t lock;
    struct ring rings[STUB_RINGS];
};

static struct device *_Atomic devices[N_DEVICES];
static struct {
    char path[256];
    const struct rte_vhost_device_ops *ops;
} sockets[N_SOCKETS];
static pthread_mutex_t sockets_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int violations;
static bool packed_devices, short_packed, bad_descriptor, refuse_registration;
static uint64_t more_features;
static __thread uint32_t message_size = 8;
static __thread bool in_message;

static struct device *device_of(int vid) { return vid < 0 || vid >= N_DEVICES ? NULL : atomic_load(&devices[vid]); }

/* ---- What a program calls ---- */

static int find_socket(const char *path)
{
    for (int i = 0; i < N_SOCKETS; i++)
        if (strcmp(sockets[i].path, path) == 0)
            return i;
    return -1;
}

int rte_vhost_driver_register(const char *path, uint64_t flags)
{
    (void)flags;
    pthread_mutex_lock(&sockets_lock);
    int at = find_socket(path) >= 0 ? -1 : find_socket("");
    if (at >= 0)
        snprintf(sockets[at].path, sizeof(sockets[at].path), "%s", path);
    pthread_mutex_unlock(&sockets_lock);
    return at >= 0 ? 0 : -1;
}

int rte_vhost_driver_callback_register(const char *path, const struct rte_vhost_device_ops *ops)
{
    pthread_mutex_lock(&sockets_lock);
    int at = refuse_registration ? -1 : find_socket(path);
    if (at >= 0)
        sockets[at].ops = ops;
    pthread_mutex_unlock(&sockets_lock);
    return at >= 0 ? 0 : -1;
}

static void stop(int vid, struct device *device)
{
    if (device->running && device->ops->destroy_device != NULL)
        device->ops->destroy_device(vid);
    device->running = false;
}

static void unmap(struct device *device)
{
    struct memory *old = atomic_exchange(&device->memory, NULL);

    if (old != NULL)
        munmap(old, sizeof(*old));
}

static void map(struct device *device)
{
    struct memory *mapped = memory_map(device->shared);

    unmap(device); /* afterwards, so that it is another place */
    atomic_store(&device->memory, mapped);
}

static void end(int vid)
{
    struct device *device = devices[vid];

    stop(vid, device);
    unmap(device);
    atomic_store(&devices[vid], NULL);
    for (uint32_t r = 1; r < STUB_RINGS; r += 2)
        for (uint32_t i = device->rings[r].head; i != device->rings[r].tail; i++)
            stub_free(device->rings[r].slots[i % STUB_RING_SIZE]);
    munmap(device->guest, sizeof(*device->guest));
    close(device->shared);
    pthread_rwlock_destroy(&device->lock);
    free(device);
}

int rte_vhost_driver_unregister(const char *path)
{
    pthread_mutex_lock(&sockets_lock);
    int at = find_socket(path);
    if (at >= 0)
        memset(&sockets[at], 0, sizeof(sockets[at]));
    pthread_mutex_unlock(&sockets_lock);
    for (int vid = 0; at >= 0 && vid < N_DEVICES; vid++)
        if (device_of(vid) != NULL && strcmp(device_of(vid)->path, path) == 0)
            end(vid);
    return at >= 0 ? 0 : -1;
}

int rte_vhost_extern_callback_register(int vid, const struct rte_vhost_user_extern_ops *ops, void *ctx)
{
    struct device *device = device_of(vid);

    if (device == NULL || ops == NULL)
        return -1;
    device->hook = *ops;
    device->hook_context = ctx;
    return 0;
}

int rte_vhost_async_channel_register(int vid, uint16_t ring) { return device_of(vid) == NULL || ring >= STUB_RINGS ? -1 : 0; }

int rte_vhost_async_channel_register_thread_unsafe(int vid, uint16_t ring) { return rte_vhost_async_channel_register(vid, ring); }

int rte_vhost_get_ifname(int vid, char *name, size_t size)
{
    struct device *device = device_of(vid);

    if (device == NULL)
        return -1;
    snprintf(name, size, "%s", device->path);
    return 0;
}

int rte_vhost_get_negotiated_features(int vid, uint64_t *features)
{
    struct device *device = device_of(vid);

    if (device == NULL)
        return -1;
    *features = device->features;
    return 0;
}

int rte_vhost_get_mem_table(int vid, struct rte_vhost_memory **memory)
{
    struct device *device = device_of(vid);
    struct rte_vhost_memory *table = malloc(sizeof(*table) + sizeof(table->regions[0]));
    struct memory *mapped = device == NULL ? NULL : atomic_load(&device->memory);

    if (device == NULL || table == NULL)
        abort();
    if (mapped == NULL) { /* librte_vhost would follow a null pointer */
        atomic_fetch_add(&violations, 1);
        free(table);
        return -1;
    }
    table->nregions = 1;
    table->regions[0] = (struct rte_vhost_mem_region){
        .guest_phys_addr = GUEST_ADDRESS, .host_user_addr = (uintptr_t)mapped, .size = sizeof(*mapped)};
    *memory = table;
    return 0;
}

int rte_vhost_get_vhost_vring(int vid, uint16_t ring, struct rte_vhost_vring *vring)
{
    struct device *device = device_of(vid);

    if (device == NULL || ring >= STUB_RINGS)
        return -1;
    memset(vring, 0, sizeof(*vring));
    vring->size = STUB_RING_SIZE;
    struct memory *mapped = atomic_load(&device->memory);
    if (mapped != NULL && device->is_packed) {
        vring->desc_packed = mapped->packed[ring];
        vring->driver_event = short_packed ? NULL : &mapped->event[ring][0];
        vring->device_event = short_packed ? NULL : &mapped->event[ring][1];
    } else if (mapped != NULL) {
        vring->desc = mapped->desc[ring];
        vring->avail = (struct vring_avail *)&mapped->avail[ring];
        vring->used = (struct vring_used *)&mapped->used[ring];
    }
    return 0;
}

int rte_vhost_get_vring_base(int vid, uint16_t ring, uint16_t *avail, uint16_t *used)
{
    struct device *device = device_of(vid);

    if (device == NULL || ring >= STUB_RINGS)
        return -1;
    uint32_t head = atomic_load(&device->rings[ring].head), at = 2 * head;
    *avail = (uint16_t)(device->is_packed ? at % STUB_RING_SIZE | (at / STUB_RING_SIZE % 2 == 0) << 15 : head);
    if (ring % 2 == 0 && !device->is_packed)
        *avail = (uint16_t)atomic_load(&device->rings[ring].filled);
    *used = *avail;
    return 0;
}

/* Alone in the ring? */
static void enter(struct ring *ring)
{
    static _Atomic uint32_t turn;

    if (atomic_fetch_add(&ring->users, 1) != 0)
        atomic_fetch_add(&violations, 1);
    /* Once in a while the other one gets its chance. */
    if (atomic_fetch_add(&turn, 1) % 64 == 0)
        sched_yield();
}

static void leave(struct ring *ring) { atomic_fetch_sub(&ring->users, 1); }

static uint16_t put(struct ring *ring, struct rte_mbuf **packets, uint16_t n)
{
    uint16_t taken = 0;

    enter(ring);
    for (; taken < n && taken < 32 && atomic_load(&ring->room) > 0; taken++) {
        if (ring->n_received < sizeof(ring->received) / sizeof(ring->received[0])) {
            ring->received[ring->n_received][0] = stub_flow(packets[taken]);
            ring->received[ring->n_received][1] = stub_number(packets[taken]);
        }
        ring->n_received++;
        atomic_fetch_add(&ring->filled, 1);
        atomic_fetch_sub(&ring->room, 1);
    }
    leave(ring);
    return taken;
}

uint16_t rte_vhost_enqueue_burst(int vid, uint16_t index, struct rte_mbuf **packets, uint16_t n)
{
    struct device *device = device_of(vid);

    if (device == NULL || index % 2 != 0 || index >= STUB_RINGS)
        return 0;
    if (in_message)
        atomic_fetch_add(&violations, 1);
    pthread_rwlock_rdlock(&device->lock);
    uint16_t taken = atomic_load(&device->rings[index].enabled) ? put(&device->rings[index], packets, n) : 0;
    pthread_rwlock_unlock(&device->lock);
    return taken;
}

static void mark_used(struct vring_packed_desc *packed, uint32_t position)
{
    for (uint32_t at = 2 * position; at < 2 * position + 2; at++) {
        uint16_t wrap = at / STUB_RING_SIZE % 2 == 0;
        __atomic_store_n(&packed[at % STUB_RING_SIZE].flags, (uint16_t)(wrap << 7 | wrap << 15), __ATOMIC_RELEASE);
    }
}

static uint16_t take(struct ring *ring, struct vring_packed_desc *packed, struct rte_mbuf **packets, uint16_t n)
{
    uint16_t taken = 0;

    enter(ring);
    for (; taken < n && atomic_load(&ring->head) != atomic_load(&ring->tail); taken++) {
        uint32_t head = atomic_load(&ring->head);
        packets[taken] = ring->slots[head % STUB_RING_SIZE];
        mark_used(packed, head);
        atomic_store(&ring->head, head + 1);
    }
    leave(ring);
    return taken;
}

uint16_t rte_vhost_dequeue_burst(int vid, uint16_t index, struct rte_mempool *pool, struct rte_mbuf **packets, uint16_t n)
{
    static const uint8_t rarp[64] = {[12] = 0x80, [13] = 0x35};
    struct device *device = device_of(vid);
    uint16_t taken = 0;

    (void)pool;
    if (device == NULL || index % 2 != 1 || index >= STUB_RINGS)
        return 0;
    if (in_message)
        atomic_fetch_add(&violations, 1);
    if (pthread_rwlock_tryrdlock(&device->lock) != 0)
        return 0;
    if (atomic_load(&device->rings[index].enabled)) {
        if (n > 0 && atomic_exchange(&device->announce, false))
            packets[taken++] = stub_packet(rarp, sizeof(rarp), UINT32_MAX, 0);
        taken =
            (uint16_t)(taken + take(&device->rings[index], device->guest->packed[index], packets + taken, (uint16_t)(n - taken)));
    }
    pthread_rwlock_unlock(&device->lock);
    return taken;
}

/* ---- The front end ---- */

/* Messages come through however busy the rings are. */
static void init_lock(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t kind;

    pthread_rwlockattr_init(&kind);
    pthread_rwlockattr_setkind_np(&kind, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(lock, &kind);
    pthread_rwlockattr_destroy(&kind);
}

void stub_take(int vid, uint32_t index, uint32_t n)
{
    struct device *device = device_of(vid);
    struct ring *ring = &device->rings[index];

    pthread_rwlock_wrlock(&device->lock); /* nothing is mapped anew meanwhile */
    uint32_t taken = atomic_load(&ring->taken) + n, filled = atomic_load(&ring->filled);
    atomic_store(&ring->taken, (int32_t)(filled - taken) < 0 ? filled : taken);
    __atomic_store_n(&device->guest->avail[index].idx, (uint16_t)(atomic_load(&ring->taken) + STUB_RING_SIZE), __ATOMIC_RELEASE);
    pthread_rwlock_unlock(&device->lock);
}

int stub_connect(const char *path)
{
    int vid = 0;
    struct device *device = calloc(1, sizeof(*device));

    if (device == NULL)
        abort();
    pthread_mutex_lock(&sockets_lock);
    int at = find_socket(path);
    device->ops = at < 0 ? NULL : sockets[at].ops;
    while (vid < N_DEVICES && device_of(vid) != NULL)
        vid++;
    if (device->ops == NULL || vid == N_DEVICES) {
        pthread_mutex_unlock(&sockets_lock);
        free(device);
        return -1;
    }
    snprintf(device->path, sizeof(device->path), "%s", path);
    device->is_packed = packed_devices;
    device->features = more_features | (packed_devices ? 1ull << 34 : 0);
    init_lock(&device->lock);
    device->guest = memory_make(&device->shared);
    for (uint32_t r = 0; r < STUB_RINGS; r++)
        atomic_store(&device->rings[r].room, STUB_RING_SIZE);
    atomic_store(&devices[vid], device);
    pthread_mutex_unlock(&sockets_lock);
    if (device->ops->new_connection != NULL && device->ops->new_connection(vid) < 0) {
        end(vid);
        return -1;
    }
    return vid;
}

void stub_disconnect(int vid)
{
    struct device *device = device_of(vid);

    stop(vid, device);
    if (device->ops->destroy_connection != NULL)
        device->ops->destroy_connection(vid);
    end(vid);
}

struct message {
    uint32_t request, flags, size, index, number;
    uint32_t more[100];
};

static void notify(int vid, struct device *device)
{
    for (uint32_t r = 0; r < STUB_RINGS; r++) {
        struct ring *ring = &device->rings[r];
        bool ready = atomic_load(&ring->enabled) && atomic_load(&ring->kicked);
        if (ready == ring->ready)
            continue;
        ring->ready = ready;
        if (device->ops->vring_state_changed != NULL)
            device->ops->vring_state_changed(vid, (uint16_t)r, ready);
    }
}

static enum rte_vhost_msg_result handle(int vid, struct device *device, const struct message *message)
{
    struct ring *ring = &device->rings[message->index % STUB_RINGS];

    if (bad_descriptor) {
        bad_descriptor = false;
        if (message->request == STUB_SET_MEM_TABLE)
            unmap(device);
        return RTE_VHOST_MSG_RESULT_ERR;
    }
    if (message->request == STUB_SET_VRING_ENABLE)
        atomic_store(&ring->enabled, message->number != 0);
    else if (message->request == STUB_SET_VRING_KICK)
        atomic_store(&ring->kicked, true);
    else if (message->request == STUB_SET_MEM_TABLE)
        map(device);
    else if (message->request == STUB_RESET_OWNER) {
        stop(vid, device);
        unmap(device);
        for (uint32_t r = 0; r < STUB_RINGS; r++) { /* nobody is told */
            atomic_store(&device->rings[r].enabled, false);
            atomic_store(&device->rings[r].kicked, false);
            device->rings[r].ready = false;
        }
    } else if (message->request == STUB_GET_VRING_BASE) {
        stop(vid, device);
        atomic_store(&ring->kicked, false);
        return RTE_VHOST_MSG_RESULT_REPLY;
    } else
        return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
    return RTE_VHOST_MSG_RESULT_OK;
}

static bool process(int vid, struct device *device, struct message *message)
{
    enum rte_vhost_msg_result result = RTE_VHOST_MSG_RESULT_NOT_HANDLED;
    bool handled = false;

    if (device->hook.pre_msg_handle != NULL)
        result = device->hook.pre_msg_handle(vid, message);
    if (result == RTE_VHOST_MSG_RESULT_NOT_HANDLED)
        result = handle(vid, device, message);
    handled = result != RTE_VHOST_MSG_RESULT_NOT_HANDLED;
    if (result != RTE_VHOST_MSG_RESULT_ERR && device->hook.post_msg_handle != NULL) {
        result = device->hook.post_msg_handle(vid, message);
        handled |= result != RTE_VHOST_MSG_RESULT_NOT_HANDLED;
    }
    return handled && result != RTE_VHOST_MSG_RESULT_ERR;
}

bool stub_message(int vid, uint32_t request, uint32_t index, uint32_t number)
{
    struct device *device = device_of(vid);
    struct message message = {
        .request = request, .flags = MESSAGE_NEED_REPLY, .size = message_size, .index = index, .number = number};
    message_size = 8;
    bool locked = request != STUB_GET_VRING_BASE && request != STUB_RESET_OWNER;

    if (locked)
        pthread_rwlock_wrlock(&device->lock);
    in_message = locked;
    bool well = process(vid, device, &message);
    notify(vid, device);
    in_message = false;
    if (locked)
        pthread_rwlock_unlock(&device->lock);
    if (!device->running && device->rings[0].ready) {
        device->running = true;
        if (device->ops->new_device != NULL)
            device->ops->new_device(vid);
    }
    return well;
}

void stub_start(int vid, uint32_t pairs)
{
    stub_message(vid, STUB_SET_MEM_TABLE, 0, 0);
    for (uint32_t r = 0; r < 2 * pairs; r++)
        stub_message(vid, STUB_SET_VRING_KICK, r, 0);
    for (uint32_t r = 0; r < 2 * pairs; r++)
        stub_message(vid, STUB_SET_VRING_ENABLE, r, 1);
}

void stub_size(uint32_t size) { message_size = size; }

void stub_bad_descriptor(void) { bad_descriptor = true; }

bool stub_enabled(int vid, uint32_t ring) { return atomic_load(&device_of(vid)->rings[ring].enabled); }

/* ---- The guest ---- */

static void mark_available(struct vring_packed_desc *packed, uint32_t position)
{
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t at = 2 * position + i;
        uint16_t wrap = at / STUB_RING_SIZE % 2 == 0, next = i == 0 ? VRING_DESC_F_NEXT : 0;
        __atomic_store_n(&packed[at % STUB_RING_SIZE].flags, (uint16_t)(wrap << 7 | (wrap ^ 1) << 15 | next), __ATOMIC_RELEASE);
    }
}

bool stub_transmit(int vid, uint32_t index, struct rte_mbuf *packet)
{
    struct ring *ring = &device_of(vid)->rings[index];
    uint32_t tail = atomic_load(&ring->tail);

    if (tail - atomic_load(&ring->head) == (device_of(vid)->is_packed ? STUB_RING_SIZE / 2 : STUB_RING_SIZE))
        return false;
    ring->slots[tail % STUB_RING_SIZE] = packet;
    if (device_of(vid)->is_packed)
        mark_available(device_of(vid)->guest->packed[index], tail);
    atomic_store(&ring->tail, tail + 1);
    __atomic_store_n(&device_of(vid)->guest->avail[index].idx, (uint16_t)(tail + 1), __ATOMIC_RELEASE);
    return true;
}

void stub_room(int vid, uint32_t ring, uint32_t packets) { atomic_store(&device_of(vid)->rings[ring].room, packets); }

uint32_t stub_received(int vid, uint32_t index, uint32_t (*packets)[2], uint32_t n)
{
    struct device *device = device_of(vid);
    struct ring *ring = &device->rings[index];

    pthread_rwlock_wrlock(&device->lock);
    uint32_t result = ring->n_received;
    for (uint32_t i = 0; packets != NULL && i < n && i < result; i++)
        memcpy(packets[i], ring->received[i], sizeof(packets[i]));
    ring->n_received = 0;
    pthread_rwlock_unlock(&device->lock);
    return result;
}

void stub_packed(bool on) { packed_devices = on; }

void stub_features(uint64_t features) { more_features = features; }

void stub_short_packed(bool on) { short_packed = on; }

void *stub_memory(int vid, size_t *size)
{
    *size = sizeof(struct memory);
    return atomic_load(&device_of(vid)->memory);
}

void stub_lie(int vid, uint32_t ring, uint16_t index)
{
    __atomic_store_n(&device_of(vid)->guest->avail[ring].idx, index, __ATOMIC_RELEASE);
}

void stub_announce(int vid) { atomic_store(&device_of(vid)->announce, true); }
/* ---- What was seen ---- */

int stub_violations(void) { return atomic_load(&violations); }

const struct rte_vhost_device_ops *stub_ops(const char *path)
{
    int at = find_socket(path);

    return at < 0 ? NULL : sockets[at].ops;
}

void *stub_hook_context(int vid) { return device_of(vid)->hook_context; }

void stub_refuse_registration(bool on) { refuse_registration = on; }
