/* SPDX-License-Identifier: BSD-2-Clause */
/* front_end: see front_end.h. */
#include "front_end.h"

struct front_end fake;

/* ---- A guest's memory ------------------------------------------------------------------------------------------------------ */

/* A copy elsewhere; whoever looks where it was is seen. */
static void *moved(void *old, size_t bytes)
{
    void *memory = calloc(1, bytes);
    must(memory != NULL, "no memory");
    if (old != NULL)
        memcpy(memory, old, bytes);
    free(old);
    return memory;
}

static void move_ring(struct ring *r)
{
    r->avail = moved(r->avail, (2 + fake.size) * sizeof(*r->avail));
    r->desc = moved(r->desc, fake.size * sizeof(*r->desc));
    r->used = moved(r->used, sizeof(*r->used) + fake.size * sizeof(struct vring_used_elem));
    r->packed = moved(r->packed, fake.size * sizeof(*r->packed));
    r->event = moved(r->event, 2 * sizeof(*r->event));
}

static void move_memory(struct connection *d)
{
    d->memory = moved(d->memory, 4096);
    for (uint32_t i = 0; i < RINGS; i++)
        if (d->ring[i].exists)
            move_ring(&d->ring[i]);
}

bool lap(uint64_t position) { return position % (2 * fake.size) < fake.size; }

static void make_ring(struct connection *d, uint32_t index)
{
    struct ring *r = &d->ring[index];
    if (r->exists)
        return;
    r->exists = true;
    r->at = is(SET_PACKED) ? fake.start % (2 * fake.size) : fake.start;
    move_ring(r);
    r->avail[1] = fake.start;
    for (uint64_t position = r->at; position < r->at + fake.size; position++) /* as the lap before left them */
        r->packed[position % fake.size].flags = lap(position) ? 0 : AVAIL | USED;
}

static bool is_available(const struct ring *r, uint64_t position)
{
    uint16_t flags = r->packed[position % fake.size].flags;
    return ((flags & AVAIL) != 0) == lap(position) && ((flags & USED) != 0) != lap(position);
}

uint32_t chain(const struct ring *r, uint64_t position)
{
    for (uint32_t n = 0; n < fake.size && is_available(r, position + n); n++)
        if ((r->packed[(position + n) % fake.size].flags & NEXT) == 0)
            return n + 1;
    return 0;
}

static uint16_t place(const struct ring *r)
{
    if (fake.lie)
        return fake.place;
    return (uint16_t)(is(SET_PACKED) ? r->at % fake.size | (lap(r->at) ? WRAP : 0) : r->at);
}

/* Packets that are there, no more than a ring can hold; as many as that if nobody tells. */
static uint32_t naive_count(const struct ring *r)
{
    uint32_t from = place(r), n = 0;
    if (fake.getters_fail)
        return 32768;
    if (!is(SET_PACKED)) {
        for (uint16_t i = (uint16_t)from; i != r->avail[1] && n < fake.size; i++)
            n++;
        return n;
    }
    if (from % WRAP >= fake.size)
        return 0;
    uint64_t first = from % WRAP + (from < WRAP ? fake.size : 0), end = first;
    while (end < first + fake.size && is_available(r, end))
        n += (r->packed[end++ % fake.size].flags & NEXT) == 0;
    return n;
}

/* As a driver does it. */
void fill(struct ring *r, uint32_t n, uint32_t pieces)
{
    uint64_t end = r->at;
    pieces = pieces % 3 + 1;
    for (uint32_t length; (length = chain(r, end)) != 0 && end + length <= r->at + fake.size;)
        end += length;
    for (uint32_t i = 0; i < n && end + pieces <= r->at + fake.size; i++)
        for (uint32_t piece = 1; piece <= pieces; piece++, end++)
            r->packed[end % fake.size].flags = (uint16_t)((lap(end) ? AVAIL : USED) | (piece < pieces ? NEXT : 0));
    if (n <= fake.size)
        r->avail[1] = (uint16_t)(r->avail[1] + n);
}

void write_word(struct ring *r, uint32_t at, uint16_t value)
{
    if (is(SET_PACKED))
        r->packed[at % fake.size].flags = value;
    else if (at % 2 == 0)
        r->avail[1] = value;
    else
        r->avail[at / 2 % (2 + fake.size)] = value;
}

/* ---- What librte_vhost has: getters ---------------------------------------------------------------------------------------- */

struct ring *ring_of(int vid, uint32_t index)
{
    must(vid >= 0 && vid < DEVICES && fake.device[vid].exists, "a device that is none");
    must(index < RINGS, "a ring that is none");
    return fake.device[vid].ring[index].exists ? &fake.device[vid].ring[index] : NULL;
}

int get_ifname(int vid, char *name, size_t size)
{
    (void)vid;
    snprintf(name, size, "fuzz");
    return 0;
}

int get_features(int vid, uint64_t *features)
{
    (void)ring_of(vid, 0);
    *features = (is(SET_PACKED) ? F_PACKED : 0) | (is(SET_PLATFORM) ? F_PLATFORM : 0);
    return 0;
}

int get_vring(int vid, uint16_t index, struct rte_vhost_vring *vring)
{
    struct ring *r = ring_of(vid, index);
    if (r == NULL || fake.getters_fail)
        return -1;
    memset(vring, 0, sizeof(*vring));
    vring->size = (uint16_t)fake.size;
    if (!fake.device[vid].mapped || !r->kicked)
        return 0;
    if (is(SET_PACKED)) {
        vring->desc_packed = r->packed;
        vring->driver_event = &r->event[0];
        vring->device_event = &r->event[1];
    } else {
        vring->desc = r->desc;
        vring->avail = (struct vring_avail *)(void *)r->avail;
        vring->used = r->used;
    }
    return 0;
}

int get_base(int vid, uint16_t index, uint16_t *avail, uint16_t *used)
{
    struct ring *r = ring_of(vid, index);
    if (r == NULL || fake.getters_fail)
        return -1;
    *avail = *used = place(r);
    return 0;
}

/* The true one follows a null pointer where there is no table. */
int get_memory(int vid, struct rte_vhost_memory **memory)
{
    must(fake.device[vid].had_table, "there is no table of memory");
    *memory = calloc(1, sizeof(**memory) + sizeof((*memory)->regions[0]));
    must(*memory != NULL, "no memory");
    (*memory)->nregions = 1;
    (*memory)->regions[0] =
        (struct rte_vhost_mem_region){.host_user_addr = (uintptr_t)fake.device[vid].memory, .guest_phys_addr = 0, .size = 4096};
    return 0;
}

int hook_register(int vid, const struct rte_vhost_user_extern_ops *ops, void *ctx)
{
    (void)ctx;
    fake.device[vid].hook = ops;
    return 0;
}

void note(struct told *told, uint16_t ring, bool enable)
{
    must(told->n < 4 * RINGS, "callbacks without end");
    told->ring[told->n] = ring;
    told->enable[told->n++] = enable;
}

/* ---- Devices come and go --------------------------------------------------------------------------------------------------- */

/* The drop-in leaves a device alone whose place another one takes. */
static void nobody_is_steered(void)
{
    for (uint32_t i = 0; fake.steered >= 0 && i < RINGS; i++) {
        struct ring *r = &fake.device[fake.steered].ring[i];
        r->left |= r->state != OPEN;
        r->state = OPEN;
    }
    fake.steered = -1;
    fake.polled = false;
}

static void stop(int vid)
{
    if (fake.device[vid].running)
        fake.ops->destroy_device(vid);
    fake.device[vid].running = false;
}

static void end(int vid)
{
    struct connection *d = &fake.device[vid];
    for (uint32_t i = 0; i < RINGS; i++) {
        struct ring *r = &d->ring[i];
        free(r->avail);
        free(r->desc);
        free(r->used);
        free(r->packed);
        free(r->event);
    }
    free(d->memory);
    memset(d, 0, sizeof(*d));
    if (fake.steered == vid)
        fake.steered = -1;
}

void counters(int vid, bool begin)
{
    pthread_mutex_lock(&ports_lock);
    const struct port *port = port_first_locked();
    pthread_mutex_unlock(&ports_lock);
    for (uint32_t q = 0; q < RINGS / 2; q++) {
        struct ring *r = &fake.device[vid].ring[2 * q + 1];
        uint64_t late = atomic_load(&port->transmit[q].late), freed = atomic_load(&port->transmit[q].discarded);
        must(begin || (late == r->late && freed == r->freed), "counters are others");
        r->late = late;
        r->freed = freed;
    }
}

void connect_device(int vid)
{
    if (fake.device[vid].exists)
        return;
    nobody_is_steered();
    fake.device[vid].exists = true;
    counters(vid, true);
    if (fake.ops->new_connection(vid) < 0)
        end(vid);
    else
        fake.steered = vid;
}

void disconnect(int vid)
{
    stop(vid);
    fake.ops->destroy_connection(vid);
    end(vid);
}

int callback_register(const char *path, const struct rte_vhost_device_ops *ops)
{
    (void)path;
    fake.ops = ops;
    return 0;
}

/* Without destroy_connection, as the true one does it. */
int unregister(const char *path)
{
    (void)path;
    for (int vid = 0; vid < DEVICES; vid++) {
        stop(vid);
        end(vid);
    }
    return 0;
}

int async_register(int vid, uint16_t ring)
{
    (void)ring_of(vid, ring);
    return 0;
}

/* ---- Messages -------------------------------------------------------------------------------------------------------------- */

static bool is_ready(const struct connection *d, const struct ring *r, bool enabled) { return d->mapped && r->kicked && enabled; }

static void is_ready_now(int vid, uint32_t index, bool ready)
{
    struct ring *r = &fake.device[vid].ring[index];
    r->ready = ready;
    if (!ready && r->state == HIDDEN)
        r->state = PARKED;
    fake.ops->vring_state_changed(vid, (uint16_t)index, ready);
}

static void said_now(struct ring *r, uint32_t index, bool ready)
{
    r->said_ready = ready;
    if (!r->left)
        note(&fake.said, (uint16_t)index, ready);
}

static void notify(int vid)
{
    struct connection *d = &fake.device[vid];
    for (uint32_t i = 0; i < RINGS; i++) {
        struct ring *r = &d->ring[i];
        if (r->ready != is_ready(d, r, r->enabled))
            is_ready_now(vid, i, !r->ready);
        if (r->said_ready != is_ready(d, r, r->said_enabled))
            said_now(r, i, !r->said_ready);
    }
}

/* What the drop-in is to make of it; librte_vhost has dealt with it. */
static void naive_enable(int vid, struct ring *r, bool enable)
{
    if (vid == fake.steered && fake.message.ring % 2 == 1) {
        enum state was = r->state;
        r->state = enable ? OPEN : fake.hides ? HIDDEN : was == OPEN ? OPEN : PARKED;
        if (r->state == HIDDEN && was != HIDDEN) {
            r->limit = r->taken + naive_count(r);
            r->idle = 0;
        }
    }
    r->said_enabled = enable;
}

/* Rings are as new, and nobody is told. */
static void reset(int vid)
{
    struct connection *d = &fake.device[vid];
    stop(vid);
    move_memory(d);
    d->mapped = d->had_table = false;
    for (uint32_t i = 0; i < RINGS; i++) {
        struct ring *r = &d->ring[i];
        r->enabled = r->kicked = r->ready = r->said_enabled = r->said_ready = false;
        r->state = OPEN;
    }
}

/* The ring is known to be one, for requests that name one. */
static enum rte_vhost_msg_result handle(int vid, const struct message *message)
{
    struct connection *d = &fake.device[vid];
    struct ring *r = &d->ring[fake.message.ring % RINGS];
    bool enable = message->number != 0;
    switch (message->request) {
    case SET_VRING_ENABLE:
        must(enable == (fake.hides || fake.message.number != 0), "librte_vhost is told another thing");
        r->enabled = enable;
        naive_enable(vid, r, fake.message.number != 0);
        break;
    case SET_VRING_KICK:
        if (r->ready)
            is_ready_now(vid, fake.message.ring, false);
        if (r->said_ready)
            said_now(r, fake.message.ring, false);
        r->kicked = true;
        break;
    case GET_VRING_BASE:
        stop(vid);
        r->kicked = false;
        break;
    case SET_MEM_TABLE:
        move_memory(d);
        d->mapped = d->had_table = true;
        break;
    case RESET_OWNER:
        reset(vid);
        break;
    case SEND_RARP:
        d->announces = true;
        break;
    default:
        return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
    }
    return message->request == GET_VRING_BASE ? RTE_VHOST_MSG_RESULT_REPLY : RTE_VHOST_MSG_RESULT_OK;
}

static enum rte_vhost_msg_result handle_or_fail(int vid, const struct message *message, bool fails)
{
    struct connection *d = &fake.device[vid];
    if (!fails)
        return handle(vid, message);
    if (message->request == SET_MEM_TABLE) { /* what there was is unmapped by then */
        move_memory(d);
        d->mapped = d->had_table = false;
    }
    return RTE_VHOST_MSG_RESULT_ERR;
}

/* False: it was not dealt with, or not well. */
static bool process(int vid, struct message *message, bool fails)
{
    enum rte_vhost_msg_result result = RTE_VHOST_MSG_RESULT_NOT_HANDLED;
    const struct rte_vhost_user_extern_ops *hook = fake.device[vid].hook;
    if (hook != NULL)
        result = hook->pre_msg_handle(vid, message);
    if (result == RTE_VHOST_MSG_RESULT_NOT_HANDLED)
        result = handle_or_fail(vid, message, fails);
    bool handled = result != RTE_VHOST_MSG_RESULT_NOT_HANDLED;
    if (result != RTE_VHOST_MSG_RESULT_ERR && hook != NULL)
        (void)hook->post_msg_handle(vid, message);
    must(fake.n_before == fake.device[vid].has_app_hook, "the program's hook before");
    must(fake.n_after == (fake.device[vid].has_app_hook && result != RTE_VHOST_MSG_RESULT_ERR), "the program's hook after");
    return handled && result != RTE_VHOST_MSG_RESULT_ERR;
}

static bool names_a_ring(uint32_t request)
{
    return request == SET_VRING_ENABLE || request == SET_VRING_KICK || request == GET_VRING_BASE;
}

void send_message(int vid, const struct message *given, uint32_t odd)
{
    static const enum rte_vhost_msg_result answers[] = {RTE_VHOST_MSG_RESULT_NOT_HANDLED, RTE_VHOST_MSG_RESULT_OK,
                                                        RTE_VHOST_MSG_RESULT_REPLY, RTE_VHOST_MSG_RESULT_ERR};
    struct connection *d = &fake.device[vid];
    struct message *message = moved(NULL, sizeof(*message));
    bool is_ring = given->ring < RINGS, fails = (odd & ODD_FAILS) != 0 || (!is_ring && names_a_ring(given->request));
    if (is_ring && names_a_ring(given->request))
        make_ring(d, given->ring);
    fake.message = *message = *given;
    fake.answer = answers[odd & ODD_ANSWER];
    fake.hides =
        given->number == 0 && is_ring && given->ring % 2 == 1 && is_managed(vid) && fake.polled && d->ring[given->ring].ready;
    fake.n_before = fake.n_after = 0;
    fake.in_message = true;
    bool well = process(vid, message, fails);
    if (well || given->flags & NEED_REPLY)
        notify(vid);
    fake.in_message = false;
    must(memcmp(message, given, sizeof(*given)) == 0 || !well, "the message is another one afterwards");
    free(message);
    if (!well && !(given->flags & NEED_REPLY))
        disconnect(vid);
    else if (!d->running && d->ring[0].ready)
        d->running = fake.ops->new_device(vid) == 0;
}
