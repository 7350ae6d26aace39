/*
 * flowq-vhost: transmit rings that the front end switches off.
 *
 * A Linux guest that is told to use fewer queues has packets in the rings that it gives up, and its TCP connections wait for
 * these. vhost-user says that what comes into such a ring later is read and discarded. librte_vhost stops reading it at once, and
 * tells the program so; what is in there stays until the ring is switched on again. So librte_vhost is not told:
 *
 *   1. before it reads SET_VRING_ENABLE 0 for a transmit ring, the message becomes SET_VRING_ENABLE 1, which changes nothing (the
 *      message's other parts are still checked by librte_vhost, and answered);
 *   2. after it, the message is made what it was, for the program's own hook; the ring is *hidden*: what lies in it is counted,
 *      and the program's callback is called as librte_vhost would have done;
 *   3. dequeue.c reads hidden rings: what was counted is forwarded, and what comes later discarded;
 *   4. SET_VRING_ENABLE 1: the ring is no longer hidden, and the program's callback is called, since for librte_vhost nothing
 *      changes.
 *
 * A hidden ring that stops (GET_VRING_BASE) is *parked*: a virtual machine that is paused has its packets in there still when it
 * goes on, and as its ring is on for librte_vhost, it is read from the kick on. So it is not read by us until the front end says
 * whether it is on.
 *
 * RESET_OWNER makes all rings of librte_vhost new ones: none is hidden then.
 *
 * Only what librte_vhost reads at that moment is hidden; a ring that is not ready goes its own way. Only devices are dealt
 * with so whose packets come through rte_vhost_dequeue_burst(): others (block, crypto, vDPA) have rings with odd numbers of
 * another kind.
 *
 * All this is in the thread that reads librte_vhost's messages, with all its rings locked: so nobody reads or writes a ring, and
 * its pointers are good. What a guest may write meanwhile is loaded once and bounded by the ring's size.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "ordered.h"
#include "port.h"
#include "real.h"
#include "ring.h"

#include <string.h>

enum {
    RESET_OWNER = 4,       /* vhost-user: VHOST_USER_RESET_OWNER */
    SET_VRING_ENABLE = 18, /* VHOST_USER_SET_VRING_ENABLE */
    RING_SIZE_MAX = 32768  /* virtio: a ring's size at most */
};

/* A message as it comes over the socket, which librte_vhost's own begins with, however short it is: librte_vhost deals with a
   SET_VRING_ENABLE of any size. */
struct message {
    uint32_t request;
    uint32_t flags;
    uint32_t size;
    uint32_t ring;
    uint32_t number;
};

/* ---- What is in a ring ---- */

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

static uint32_t split_available(const struct rte_vhost_vring *vring, uint16_t next)
{
    if (vring->avail == NULL)
        return 0;
    return least((uint16_t)(__atomic_load_n(&vring->avail->idx, __ATOMIC_ACQUIRE) - next), vring->size);
}

/* A packet ends with a descriptor without NEXT. */
static uint32_t packed_available(const struct rte_vhost_vring *vring, uint16_t next)
{
    bool wrap = ring_wrap(next);
    uint32_t at = ring_at(next), packets = 0;

    if (vring->desc_packed == NULL || at >= vring->size)
        return 0;
    for (uint32_t i = 0; i < vring->size; i++) {
        uint16_t flags = __atomic_load_n(&vring->desc_packed[at].flags, __ATOMIC_ACQUIRE);
        if (!ring_available(flags, wrap))
            break;
        packets += (flags & VRING_DESC_F_NEXT) == 0;
        ring_go_on(&at, &wrap, vring->size);
    }
    return packets;
}

/* Packets that the guest has made available and librte_vhost has not read. If that cannot be known, as many as can be. */
static uint32_t available(int vid, uint16_t ring)
{
    struct rte_vhost_vring vring;
    uint64_t features;
    uint16_t next, used;

    if (real.get_vring == NULL || real.get_base == NULL || real.get_features == NULL)
        return RING_SIZE_MAX;
    if (real.get_vring(vid, ring, &vring) != 0 || real.get_base(vid, ring, &next, &used) != 0 ||
        real.get_features(vid, &features) != 0)
        return RING_SIZE_MAX;
    return ring_has(features, VIRTIO_F_RING_PACKED) ? packed_available(&vring, next) : split_available(&vring, next);
}

/* ---- Hidden rings ---- */

/* The lowest ring that the program reads looks after those that are hidden: one thread for all, so that a flow stays in order. */
static void choose_drainer_locked(struct port *port)
{
    int drainer = NO_RING;
    bool any = false;

    for (uint32_t i = 0; i < MAX_PAIRS / 64; i++)
        any |= atomic_load(&port->hidden[i]) != 0;
    for (uint32_t q = 0; any && drainer == NO_RING && q < MAX_PAIRS; q++)
        if (port->transmit[q].ready && atomic_load(&port->transmit[q].state) == RING_OPEN)
            drainer = (int)q;
    atomic_store(&port->drainer, drainer);
}

static void set_state_locked(struct port *port, uint32_t pair, enum ring_state state, uint32_t packets)
{
    struct transmit_ring *ring = &port->transmit[pair];
    uint64_t times = (atomic_load(&ring->credit) >> 32) + 1, bit = 1ull << pair % 64;

    atomic_store(&ring->credit, times << 32 | packets);
    atomic_store(&ring->turns, 0);
    atomic_store(&ring->state, state);
    if (state == RING_HIDDEN)
        atomic_fetch_or(&port->hidden[pair / 64], bit);
    else
        atomic_fetch_and(&port->hidden[pair / 64], ~bit);
    choose_drainer_locked(port);
}

bool transmit_ready_locked(struct port *port, uint32_t pair, bool ready)
{
    enum ring_state state = atomic_load(&port->transmit[pair].state);

    port->transmit[pair].ready = ready;
    if (state == RING_HIDDEN)
        set_state_locked(port, pair, RING_PARKED, 0);
    else
        choose_drainer_locked(port);
    return state == RING_OPEN;
}

void transmit_forget_locked(struct port *port)
{
    for (uint32_t q = 0; q < MAX_PAIRS; q++) {
        port->transmit[q].ready = false;
        if (atomic_load(&port->transmit[q].state) != RING_OPEN)
            set_state_locked(port, q, RING_OPEN, 0);
    }
    choose_drainer_locked(port);
}

/* ---- The hook ---- */

static bool is_transmit(const struct message *message)
{
    return message->request == SET_VRING_ENABLE && message->ring % 2 == 1 && message->ring < MAX_RINGS;
}

static rte_vhost_msg_handle app_hook(int vid, bool before)
{
    pthread_mutex_lock(&ports_lock);
    rte_vhost_msg_handle handle = before ? devices[vid].hook.pre_msg_handle : devices[vid].hook.post_msg_handle;
    pthread_mutex_unlock(&ports_lock);
    return handle;
}

/* The port, if the device is one whose rings may be hidden. */
static struct port *steered_locked(int vid)
{
    struct device *device = &devices[vid];

    return device->owner != NULL && device->owner->vid == vid && !device->asynchronous ? device->owner : NULL;
}

static enum rte_vhost_msg_result before_message(int vid, void *arg)
{
    struct message message;

    memcpy(&message, arg, sizeof(message));
    ordered_close(vid);
    fetch_before(fetch_of(vid), message.request);
    devices[vid].request = message.request;
    rte_vhost_msg_handle app = app_hook(vid, true);
    enum rte_vhost_msg_result result = app == NULL ? RTE_VHOST_MSG_RESULT_NOT_HANDLED : app(vid, arg);

    memcpy(&message, arg, sizeof(message));
    pthread_mutex_lock(&ports_lock);
    struct port *port = steered_locked(vid);
    devices[vid].hiding = NO_RING;
    devices[vid].theirs = result != RTE_VHOST_MSG_RESULT_NOT_HANDLED;
    if (result == RTE_VHOST_MSG_RESULT_NOT_HANDLED && port != NULL && !settings()->no_drain && is_transmit(&message) &&
        message.number == 0 && port->transmit[message.ring / 2].ready && atomic_load(&port->polled)) {
        devices[vid].hiding = (int)message.ring / 2;
        message.number = 1;
        memcpy(arg, &message, sizeof(message));
    }
    pthread_mutex_unlock(&ports_lock);
    return result;
}

/* A ring that is off for the program, and that librte_vhost was told to switch off (asynchronous calls have begun): it will say
   so, and the program has been told. */
static enum ring_state state_after(enum ring_state was, bool hiding, bool enable)
{
    if (enable)
        return RING_OPEN;
    if (hiding)
        return RING_HIDDEN;
    return was == RING_OPEN ? RING_OPEN : RING_PARKED;
}

/* What the program has to be told of the ring: 0 or 1; -1: nothing. */
static int after_enable(int vid, const struct message *message, uint32_t packets)
{
    int tell = -1;

    pthread_mutex_lock(&ports_lock);
    struct port *port = devices[vid].owner;
    if (port != NULL && port->vid == vid) {
        uint32_t pair = message->ring / 2;
        bool ready = port->transmit[pair].ready;
        enum ring_state was = atomic_load(&port->transmit[pair].state);
        enum ring_state is = state_after(was, devices[vid].hiding == (int)pair, message->number != 0);
        if (was != is)
            set_state_locked(port, pair, is, packets);
        if (ready && (was == RING_OPEN) != (is == RING_OPEN))
            tell = is == RING_OPEN;
    }
    devices[vid].hiding = NO_RING;
    pthread_mutex_unlock(&ports_lock);
    return tell;
}

static const struct rte_vhost_device_ops *app_of(int vid)
{
    pthread_mutex_lock(&ports_lock);
    const struct rte_vhost_device_ops *app = devices[vid].app;
    pthread_mutex_unlock(&ports_lock);
    return app;
}

/* Librte_vhost's rings are as new, and off; nobody is told. */
static void after_reset(int vid)
{
    pthread_mutex_lock(&ports_lock);
    struct port *port = devices[vid].owner;
    if (port != NULL && port->vid == vid)
        transmit_forget_locked(port);
    pthread_mutex_unlock(&ports_lock);
}

static enum rte_vhost_msg_result after_message(int vid, void *arg)
{
    struct message message;
    rte_vhost_msg_handle app = app_hook(vid, false);

    memcpy(&message, arg, sizeof(message));
    if (!devices[vid].theirs)
        fetch_after(fetch_of(vid), vid, devices[vid].request);
    if (!devices[vid].theirs && message.request == RESET_OWNER)
        after_reset(vid);
    if (!devices[vid].theirs && is_transmit(&message)) {
        const struct rte_vhost_device_ops *ops = app_of(vid);
        bool hiding = devices[vid].hiding == (int)message.ring / 2;
        if (hiding) {
            message.number = 0;
            memcpy(arg, &message, sizeof(message));
        }
        int tell = after_enable(vid, &message, hiding ? available(vid, (uint16_t)message.ring) : 0);
        if (tell >= 0 && ops != NULL && ops->vring_state_changed != NULL)
            ops->vring_state_changed(vid, (uint16_t)message.ring, tell);
    }
    return app == NULL ? RTE_VHOST_MSG_RESULT_NOT_HANDLED : app(vid, arg);
}

const struct rte_vhost_user_extern_ops message_hook = {.pre_msg_handle = before_message, .post_msg_handle = after_message};
