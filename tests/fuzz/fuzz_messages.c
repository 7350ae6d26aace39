/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages of a front end, in any order and of any content, for the drop-in before the librte_vhost of front_end.h, with transmit
 * rings that a hostile guest writes at any time, and a program that reads them and has a hook of its own. Entry point of
 * libFuzzer, see tests/fuzz/run; with tests/fuzz/replay.c a program of its own that replays the seeds. What has to hold is what
 * the head of vhost/messages.c promises:
 *
 *   - the program's callbacks are called as without the drop-in: a second, naive librte_vhost says how
 *   - librte_vhost and the program's hook get each message as it came, but for the one that hides a ring
 *   - of a ring that was switched off, what was counted comes to the program, in order and before what the reader's own ring
 *     has; what comes later is freed; one that is parked is not read; only the lowest ring that is on, and the ring's own reader,
 *     look
 *   - nothing is read beyond a ring, nor where librte_vhost has moved it from, and no ring is named that is none
 *
 * An input is a byte of settings, two bytes of the rings' size, two of where each begins, and steps of six bytes: what happens,
 * in its four lowest bits, and to which device; a ring; and two numbers.
 */
#include "front_end.h"

#include "../../vhost/calls.h"
#include "../../vhost/real.h"
#include "../stub_vhost.h"

enum { IDLE_MOST = 64, HEAD_BYTES = 5, STEP_BYTES = 6 };

enum {
    STEP_MESSAGE, /* to STEP_READ: messages; their requests are in `requests` */
    STEP_READ = 8,
    STEP_FILL,
    STEP_WRITE,
    STEP_CONNECT,
    STEP_DISCONNECT,
    STEP_HOOK,
    STEP_SHORT,
    STEP_STRANGE
};

static const uint32_t requests[] = {
    SET_VRING_ENABLE, SET_VRING_KICK, GET_VRING_BASE, SET_MEM_TABLE, RESET_OWNER, SEND_RARP, 37, 0};
static const uint32_t sizes[] = {8, 0, 4, 7, 12, 16, 1024, UINT32_MAX};

/* ---- The program ----------------------------------------------------------------------------------------------------------- */

static int app_vring_state_changed(int vid, uint16_t ring, int enable)
{
    if (!ring_of(vid, ring)->left)
        note(&fake.told, ring, enable != 0);
    return 0;
}

static int app_new_connection(int vid)
{
    (void)vid;
    return fake.refuse ? -1 : 0;
}

static int app_new_device(int vid)
{
    fake.is_running[vid] = true;
    return 0;
}

static void app_destroy_device(int vid) { fake.is_running[vid] = false; }

static enum rte_vhost_msg_result app_before(int vid, void *message)
{
    (void)ring_of(vid, 0);
    must(memcmp(message, &fake.message, sizeof(fake.message)) == 0, "the program's hook gets another message before");
    fake.n_before++;
    return fake.answer;
}

static enum rte_vhost_msg_result app_after(int vid, void *message)
{
    (void)ring_of(vid, 0);
    must(memcmp(message, &fake.message, sizeof(fake.message)) == 0, "the program's hook gets another message after");
    fake.n_after++;
    return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
}

static const struct rte_vhost_device_ops app = {.new_connection = app_new_connection,
                                                .new_device = app_new_device,
                                                .destroy_device = app_destroy_device,
                                                .vring_state_changed = app_vring_state_changed};
static const struct rte_vhost_user_extern_ops app_hook = {app_before, app_after};

/* ---- Packets --------------------------------------------------------------------------------------------------------------- */

static struct rte_mbuf *give(struct rte_mbuf *packet, bool to_free)
{
    must(fake.n_given < sizeof(fake.given) / sizeof(fake.given[0]), "packets without end");
    fake.given[fake.n_given].packet = packet;
    fake.given[fake.n_given].is_freed = false;
    fake.given[fake.n_given++].to_free = to_free;
    return packet;
}

/* The next packet of a ring, if there is one. */
static struct rte_mbuf *take(int vid, struct ring *r, uint32_t index)
{
    const uint8_t bytes[60] = {
        [12] = 0x08, [14] = 0x45, [17] = 46, [23] = 17, [26] = 10, [30] = 10, [35] = (uint8_t)index, 0, 53};
    uint32_t length = is(SET_PACKED) ? chain(r, r->at) : r->avail[1] != (uint16_t)r->at;
    if (length == 0)
        return NULL;
    if (is(SET_PACKED))
        r->packed[r->at % fake.size].flags = lap(r->at) ? AVAIL | USED : 0;
    r->at += length;
    uint32_t number = r->taken++;
    bool hidden = is_managed(vid) && r->state == HIDDEN,
         to_free = hidden && (int32_t)(number - r->limit) >= 0 && !is(SET_NO_FREE);
    r->late += hidden && !to_free;
    r->freed += to_free;
    return give(stub_packet(bytes, sizeof(bytes), index, number), to_free);
}

static uint16_t dequeue(int vid, uint16_t index, struct rte_mempool *pool, struct rte_mbuf **packets, uint16_t n)
{
    static const uint8_t rarp[60] = {[12] = 0x80, [13] = 0x35};
    struct ring *r = ring_of(vid, index);
    struct connection *d = &fake.device[vid];
    uint16_t found = 0;
    (void)pool;
    must(!fake.in_message && index % 2 == 1, "a ring that must not be read now");
    must((n > 0 || !is_managed(vid)) && n <= READ_MOST, "none, or more than there is room for");
    fake.looked[index / 2] = true;
    if (r == NULL || !r->enabled || !r->ready)
        return 0;
    must(!is_managed(vid) || r->state != PARKED, "a parked ring is read");
    uint32_t most = n < fake.most ? n : fake.most;
    if (d->announces && most > 0) {
        d->announces = false;
        packets[found++] = give(stub_packet(rarp, sizeof(rarp), UINT32_MAX, 0), false);
    }
    while (found < most && (packets[found] = take(vid, r, index)) != NULL)
        found++;
    return found;
}

static void free_bulk(struct rte_mbuf **packets, unsigned int n)
{
    for (unsigned int i = 0; i < n; i++) {
        uint32_t at = fake.n_given;
        while (at > 0 && fake.given[at - 1].packet != packets[i])
            at--;
        must(at > 0 && fake.given[at - 1].to_free && !fake.given[at - 1].is_freed, "a packet is discarded that must not be");
        fake.given[at - 1].is_freed = true;
        stub_free(packets[i]);
    }
}

/* All that is not to be freed came back, in the order in which librte_vhost gave it. */
static void came_back(struct rte_mbuf **packets, uint32_t n)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < fake.n_given; i++) {
        must(fake.given[i].is_freed == fake.given[i].to_free, "a packet that came later is not discarded");
        must(fake.given[i].is_freed || (at < n && packets[at] == fake.given[i].packet), "another packet, or in another order");
        at += !fake.given[i].is_freed;
    }
    must(at == n, "more packets than there were");
    for (uint32_t i = 0; i < n; i++)
        stub_free(packets[i]);
    must(stub_packets() == 0, "packets are lost");
}

/* The lowest ring that the program reads. */
static bool looks_after_others(int vid, uint32_t pair)
{
    for (uint32_t q = 0; q < pair; q++)
        if (fake.device[vid].ring[2 * q + 1].said_ready)
            return false;
    return fake.device[vid].ring[2 * pair + 1].said_ready;
}

/* Were the rings looked into that had to be, and no others? */
static void looked_right(int vid, uint32_t pair, bool room, const bool *waiting)
{
    bool drains = looks_after_others(vid, pair);
    for (uint32_t q = 0; q < RINGS / 2; q++) {
        struct ring *r = &fake.device[vid].ring[2 * q + 1];
        bool may = q == pair || (drains && r->state == HIDDEN);
        must(may || !fake.looked[q], "a ring is read that is another's");
        must(!waiting[q] || !may || !room || fake.looked[q], "what was counted is not read");
        must(q != pair || !room || r->state == PARKED || fake.looked[q], "the reader's own ring is not read");
        r->idle = fake.looked[q] ? 0 : r->idle + (drains && room);
        must(r->state != HIDDEN || r->idle < IDLE_MOST, "a hidden ring is not looked at");
    }
}

static void read_ring(int vid, uint32_t pair, uint16_t n)
{
    struct rte_mbuf *packets[READ_MOST];
    bool waiting[RINGS / 2];
    for (uint32_t q = 0; q < RINGS / 2; q++) {
        const struct ring *r = &fake.device[vid].ring[2 * q + 1];
        waiting[q] = r->state == HIDDEN && (int32_t)(r->limit - r->taken) > 0;
    }
    fake.n_given = 0;
    memset(fake.looked, 0, sizeof(fake.looked));
    fake.polled |= is_managed(vid);
    uint16_t found = __wrap_rte_vhost_dequeue_burst(vid, (uint16_t)(2 * pair + 1), NULL, packets, n);
    must(found <= n, "more packets than there is room for");
    came_back(packets, found);
    if (is_managed(vid))
        looked_right(vid, pair, found < n, waiting);
}

/* ---- Steps ----------------------------------------------------------------------------------------------------------------- */

static void step_message(int vid, const uint8_t *step)
{
    uint32_t number = (uint32_t)step[2] << 8 | step[3], odd = (uint32_t)step[4] << 8 | step[5];
    uint32_t request = requests[step[0] % 16];
    send_message(vid,
                 &(struct message){.request = request == 0 ? number : request,
                                   .flags = odd & ODD_NO_REPLY ? 1 : 1 | NEED_REPLY,
                                   .size = sizes[(odd >> ODD_SIZE_SHIFT) % 8],
                                   .ring = step[1] | odd >> ODD_RING_SHIFT << 8,
                                   .number = number},
                 odd);
}

static void begin_asynchronous(int vid)
{
    must(__wrap_rte_vhost_async_channel_register(vid, 1) == 0, "asynchronous calls are refused");
    fake.device[vid].asynchronous = true;
}

static void strange(int vid, uint8_t what, uint16_t value)
{
    if (what % 4 == 0)
        fake.getters_fail = !fake.getters_fail;
    else if (what % 4 == 1) {
        fake.lie = !fake.lie;
        fake.place = value;
    } else if (what % 4 == 2 && fake.device[vid].exists)
        begin_asynchronous(vid);
    else if (what % 4 == 3) {
        must(__wrap_rte_vhost_driver_unregister("fuzz") == 0, "unregistered");
        must(__wrap_rte_vhost_driver_callback_register("fuzz", &app) == 0, "registered");
    }
}

static void step_device(int vid, const uint8_t *step)
{
    uint16_t a = (uint16_t)(step[2] << 8 | step[3]), b = (uint16_t)(step[4] << 8 | step[5]);
    if (step[0] % 16 < STEP_READ)
        step_message(vid, step);
    else if (step[0] % 16 == STEP_READ)
        for (uint32_t i = 0; i <= b % 256u; i++)
            read_ring(vid, step[1] % (RINGS / 2u), a % READ_MOST);
    else if (step[0] % 16 == STEP_DISCONNECT)
        disconnect(vid);
    else if (step[0] % 16 == STEP_HOOK) {
        must(__wrap_rte_vhost_extern_callback_register(vid, &app_hook, NULL) == 0, "the program's hook");
        fake.device[vid].has_app_hook = true;
    } else if (fake.device[vid].ring[step[1]].exists) {
        if (step[0] % 16 == STEP_FILL)
            fill(&fake.device[vid].ring[step[1]], a, b);
        else if (step[0] % 16 == STEP_WRITE)
            write_word(&fake.device[vid].ring[step[1]], a, b);
    }
}

static void told_right(void)
{
    must(fake.told.n == fake.said.n && memcmp(fake.told.ring, fake.said.ring, fake.said.n * sizeof(fake.said.ring[0])) == 0 &&
             memcmp(fake.told.enable, fake.said.enable, fake.said.n * sizeof(fake.said.enable[0])) == 0,
         "the program is told another thing");
    fake.told.n = fake.said.n = 0;
    for (int vid = 0; vid < DEVICES; vid++)
        must(fake.is_running[vid] == fake.device[vid].running, "a device runs that does not, or the other way round");
    if (fake.steered >= 0)
        counters(fake.steered, false);
}

static void step(const uint8_t *step)
{
    int vid = step[0] / 16 % DEVICES;
    if (step[0] % 16 == STEP_CONNECT) {
        fake.refuse = step[1] % 8 == 7;
        connect_device(vid);
    } else if (step[0] % 16 == STEP_SHORT)
        fake.most = step[1] % (BURST + 1);
    else if (step[0] % 16 == STEP_STRANGE)
        strange(vid, step[1], (uint16_t)(step[2] << 8 | step[3]));
    else if (fake.device[vid].exists)
        step_device(vid, step);
    told_right();
}

/* ---- What is in real.c and telemetry.c for the drop-in --------------------------------------------------------------------- */

struct real real;

bool real_find(void) { return true; }
bool real_known(void) { return true; }
void say(uint32_t level, const char *format, ...) { (void)level, (void)format; }
void telemetry_start(void) {}

static void begin(const uint8_t *head)
{
    must(setenv("FLOWQ_VHOST", "max_flows=64", 1) == 0, "no memory");
    real = (struct real){.dequeue = dequeue,
                         .callback_register = callback_register,
                         .unregister = unregister,
                         .hook_register = hook_register,
                         .async_register = async_register,
                         .get_ifname = get_ifname,
                         .get_features = get_features,
                         .get_vring = get_vring,
                         .get_memory = get_memory,
                         .get_base = get_base};
    memset(&fake, 0, sizeof(fake));
    fake.settings = head[0];
    real.free_bulk = is(SET_NO_FREE) ? NULL : free_bulk;
    fake.size = 1 + ((uint32_t)head[1] << 8 | head[2]) % MAX_SIZE;
    while (!is(SET_PACKED) && fake.size & (fake.size - 1)) /* 2.7: a split ring's size is a power of two */
        fake.size &= fake.size - 1;
    fake.start = (uint16_t)(head[3] << 8 | head[4]);
    fake.most = BURST;
    fake.steered = -1;
    must(__wrap_rte_vhost_driver_callback_register("fuzz", &app) == 0, "registered");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD_BYTES)
        return 0;
    begin(data);
    for (size_t at = HEAD_BYTES; size - at >= STEP_BYTES; at += STEP_BYTES)
        step(data + at);
    must(__wrap_rte_vhost_driver_unregister("fuzz") == 0, "unregistered");
    told_right();
    return 0;
}
