/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Receive rings of a hostile guest, split and packed, of any size, before the code that reads how far they were taken, with
 * flows that move in order between them: nothing is read beyond a ring, nor while the gate is closed; what comes out is what a
 * naive reader makes of the same words, and never more than was filled; every move that begins ends. Entry point of libFuzzer,
 * see tests/fuzz/run; with tests/fuzz/replay.c a program of its own that replays the seeds.
 *
 * An input is a byte of settings, two bytes of size, two of where each ring begins, and steps of five bytes: what happens and to
 * which ring, and two numbers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../vhost/positions.h"
#include "../frames.h"
#include "fuzz.h"

enum { RINGS = 4, FLOWS = 24, MAX_SIZE = 1024, HEAD_BYTES = 5, STEP_BYTES = 5 };

/* What the two lowest bits of a step's first byte do not say: that is the ring. */
enum {
    STEP_FILL,
    STEP_WRITE,
    STEP_MAKE,
    STEP_LOOK,
    STEP_NOTE,
    STEP_STEER,
    STEP_CLOSE,
    STEP_BEGIN,
    STEP_WAIT,
    STEP_QUEUE,
    STEP_MEMORY,
    STEP_ANNOUNCE
};

enum { SET_PACKED = 1, SET_EVENT_IDX = 2, SET_PLATFORM = 4, SET_V6 = 8, SET_SETTLE = 16, SET_UNKNOWN = 32, SET_SMALL = 64 };

/* virtio 1.3, 6 and 2.8.10; the numbers are written out here once more. */
#define F_EVENT_IDX (UINT64_C(1) << 29)
#define F_PLATFORM  (UINT64_C(1) << 33)
#define F_PACKED    (UINT64_C(1) << 34)
enum { EVENT_DESC = 2, WRAP = 0x8000, AVAIL = 0x80 };

/* ---- A guest's memory ------------------------------------------------------------------------------------------------------ */

/* Positions of a naive reader begin far from 0, and never wrap. */
static const uint64_t far = UINT64_C(1) << 40;

struct ring {
    struct positions p;
    /* Each of them ends where the ring does. */
    uint16_t *avail; /* flags, index, ring, and with EVENT_IDX used_event */
    struct vring_packed_desc *desc;
    struct vring_packed_desc_event *event;
    bool mapped;
    /* What a naive reader knows. */
    uint64_t used, filled, taken, made;   /* used: the device's; the others as they were reported */
    bool begun, known, addressed, unread; /* unread: nobody tells where the ring is, so it is not read */
    uint16_t word;                        /* if it is known, what the driver had asked for */
};

static struct {
    uint64_t now_ns;
    struct flowq_vm *vm;
    uint32_t size;
    uint8_t settings;
    bool get_fails;
    struct positions_device device;
    struct ring ring[RINGS];
    struct flowq_tuple flow[FLOWS];
} f;

static bool is(uint8_t setting) { return f.settings & setting; }

static void *of_size(size_t bytes)
{
    void *memory = calloc(1, bytes);
    must(memory != NULL, "no memory");
    return memory;
}

static void map(struct ring *r)
{
    r->avail = of_size((2 + f.size + is(SET_EVENT_IDX)) * sizeof(*r->avail));
    r->desc = of_size(f.size * sizeof(*r->desc));
    r->event = of_size(sizeof(*r->event));
}

static void unmap(struct ring *r)
{
    free(r->avail);
    free(r->desc);
    free(r->event);
}

/* ---- What librte_vhost says ------------------------------------------------------------------------------------------------ */

static uint16_t place(uint64_t position)
{
    uint64_t lap = position % (2 * f.size);
    return (uint16_t)(is(SET_PACKED) ? lap % f.size | (lap < f.size ? WRAP : 0) : position);
}

static int get_vring(int vid, uint16_t index, struct rte_vhost_vring *vring)
{
    struct ring *r = &f.ring[index / 2];
    must(vid == 0 && index % 2 == 0 && index / 2 < RINGS, "another ring");
    memset(vring, 0, sizeof(*vring));
    if (f.get_fails)
        return -1;
    vring->size = (uint16_t)f.size;
    if (!r->mapped)
        return 0;
    if (is(SET_PACKED)) {
        vring->desc_packed = r->desc;
        vring->driver_event = r->event;
    } else {
        vring->avail = (struct vring_avail *)(void *)r->avail;
    }
    return 0;
}

static int get_base(int vid, uint16_t index, uint16_t *avail, uint16_t *used)
{
    must(vid == 0 && index % 2 == 0 && index / 2 < RINGS, "another ring");
    *avail = *used = place(f.ring[index / 2].used);
    return 0;
}

static int get_features(int vid, uint64_t *features)
{
    must(vid == 0, "another device");
    *features = (is(SET_PACKED) ? F_PACKED : 0) | (is(SET_EVENT_IDX) ? F_EVENT_IDX : 0) | (is(SET_PLATFORM) ? F_PLATFORM : 0);
    return 0;
}

static struct positions_source source(void)
{
    return (struct positions_source){is(SET_UNKNOWN) ? NULL : get_vring, get_base, get_features};
}

/* ---- A naive reader -------------------------------------------------------------------------------------------------------- */

/* The last position up to `filled` that looks so, modulo `turn`. */
static uint64_t last_like(uint64_t filled, uint64_t remainder, uint64_t turn)
{
    uint64_t position = filled;
    while (position % turn != remainder % turn)
        position--;
    return position;
}

static void was_taken(struct ring *r, uint64_t position)
{
    if (position > r->taken)
        r->taken = position;
}

/* Is it another word than the one before? */
static bool is_new(struct ring *r, uint16_t word)
{
    bool another = r->known && word != r->word;
    r->known = true;
    r->word = word;
    return another;
}

static void read_split(struct ring *r)
{
    /* Of what is available the guest has taken all but the ring's size. */
    was_taken(r, last_like(r->filled, far + r->avail[1] - f.size, 65536));
    if (is(SET_EVENT_IDX) && is_new(r, r->avail[2 + f.size]) && r->word != 0)
        was_taken(r, last_like(r->filled, r->word, 65536));
}

static bool is_available(const struct ring *r, uint64_t position)
{
    bool wrap = position % (2 * f.size) < f.size;
    return ((r->desc[position % f.size].flags & AVAIL) != 0) == wrap;
}

/* The reader may step over descriptors that a lying guest left out between others; but not beyond the ring, and it ends where
   one is missing. */
static void read_made(struct ring *r)
{
    uint64_t before = r->made > r->filled ? r->made : r->filled, least = before;
    uint64_t made = r->filled + (uint32_t)(r->p.made - r->p.filled);
    while (least < r->filled + f.size && is_available(r, least))
        least++;
    must(made >= least && made <= r->filled + f.size, "made available beyond the ring, or less than is");
    must(made == r->filled + f.size || !is_available(r, made), "not all that is available");
    must(made == before || is_available(r, made - 1), "more than is available");
    r->made = made;
    was_taken(r, made - f.size);
}

static void read_packed(struct ring *r)
{
    read_made(r);
    uint32_t lap = (r->event->off_wrap & ~(uint32_t)WRAP) + (r->event->off_wrap & WRAP ? 0 : f.size);
    bool another = is_new(r, r->event->off_wrap);
    if (is(SET_EVENT_IDX) && another && (r->event->flags & 3) == EVENT_DESC && lap < 2 * f.size)
        was_taken(r, last_like(r->filled, lap, 2 * f.size));
}

static void naive_read(struct ring *r)
{
    if (!r->addressed || !r->mapped || r->unread)
        return;
    if (is(SET_PACKED))
        read_packed(r);
    else
        read_split(r);
}

/* Where a ring is not read, only that it was filled is known: whoever waits for it waits until his time is over. */
static void same(const struct ring *r)
{
    must(r->p.blind == r->unread, "a ring that must not be read, or one that may");
    must(r->taken <= r->filled, "more is taken than was filled");
    must(r->unread || place(r->used) == place(r->filled), "filled is another");
    must(r->unread ? r->p.filled != r->p.taken : (uint32_t)(r->filled - r->taken) == r->p.filled - r->p.taken,
         "taken is another");
}

static bool has_backlog(uint32_t qid) { return atomic_load(&f.device.backlog[0]) >> qid & 1; }

/* ---- Steps ----------------------------------------------------------------------------------------------------------------- */

static void naive_begin(struct ring *r)
{
    r->filled = r->taken = r->made = r->used;
    r->begun = true;
    r->known = false;
    r->unread = is(SET_PLATFORM) || is(SET_UNKNOWN) || f.get_fails;
}

static void fill(uint32_t qid, uint32_t n)
{
    struct ring *r = &f.ring[qid];
    const struct positions_source from = source();
    positions_before(&r->p, &f.device, &from, 0, f.vm, qid);
    if (!r->begun)
        naive_begin(r);
    r->used += 1 + n % f.size; /* none: then nobody calls */
    positions_after(&r->p, &f.device, &from, f.vm, qid);
    r->filled = r->used;
    if (!r->addressed && !r->unread) { /* only here rings are asked for */
        r->addressed = !f.get_fails;
        r->known = false;
    }
    naive_read(r);
    same(r);
    must(has_backlog(qid) == (r->unread || r->filled != r->taken), "a backlog that is none, or none that is one");
}

static void look(uint32_t qid)
{
    struct ring *r = &f.ring[qid];
    positions_look(&r->p, &f.device, f.vm, qid);
    if (r->begun)
        naive_read(r);
    if (r->begun)
        same(r);
}

static void close_gate(bool ends)
{
    if (ends)
        positions_begin(&f.device);
    else
        positions_close(&f.device);
    for (uint32_t q = 0; q < RINGS; q++) {
        f.ring[q].addressed = false;
        f.ring[q].begun = f.ring[q].begun && !ends;
    }
}

/* A guest's memory goes, and comes back elsewhere: whoever reads it meanwhile is seen. */
static void move_memory(uint32_t qid, bool is_mapped)
{
    struct ring *r = &f.ring[qid];
    close_gate(false);
    unmap(r);
    map(r);
    r->mapped = is_mapped;
}

/* Any word of the ring. */
static void write_word(struct ring *r, uint32_t at, uint16_t value)
{
    if (is(SET_PACKED) && at < f.size)
        r->desc[at].flags = value;
    else if (is(SET_PACKED))
        *(at % 2 ? &r->event->off_wrap : &r->event->flags) = value;
    else
        r->avail[at % (2 + f.size + is(SET_EVENT_IDX))] = value;
}

/* As a driver does it: so many descriptors from the used ones on, or up to there. */
static void make_available(struct ring *r, uint32_t skip, uint32_t n)
{
    for (uint64_t position = r->used + skip % f.size, i = 0; i < n % (f.size + 1); position++, i++)
        r->desc[position % f.size].flags = position % (2 * f.size) < f.size ? AVAIL : 0;
    r->avail[1] = (uint16_t)(r->used + n);
}

/* Where it says that it has come. */
static void announce(struct ring *r, uint32_t behind, uint16_t flags)
{
    uint16_t at = place(r->used - behind % (2 * f.size));
    r->event->off_wrap = at;
    r->event->flags = flags;
    if (is(SET_EVENT_IDX))
        r->avail[2 + f.size] = at;
}

/* ---- Flows ----------------------------------------------------------------------------------------------------------------- */

static void note(uint32_t qid, uint32_t flow, unsigned tcp_flags)
{
    struct frame frame;
    frame_flow(&frame, &f.flow[flow % FLOWS], tcp_flags);
    struct flowq_pkt pkt = frame_pkt(&frame);
    (void)flowq_tx_note(f.vm, &pkt, qid);
}

static void steer(uint32_t flow, uint32_t n)
{
    struct frame frame;
    struct flowq_pkt pkt[8];
    uint16_t qid[8];
    n = 1 + n % 8;
    struct flowq_tuple back = tuple_reverse(&f.flow[flow % FLOWS]);
    frame_flow(&frame, &back, FRAME_ACK);
    for (uint32_t i = 0; i < n; i++)
        pkt[i] = frame_pkt(&frame);
    flowq_rx_steer_burst(f.vm, pkt, n, qid);
    for (uint32_t i = 0; i < n; i++) {
        struct flowq_queue_stats q = {.size = sizeof(q)};
        must(qid[i] == qid[0], "a burst was put into several rings");
        must(qid[i] == FLOWQ_DROP || (flowq_vm_queue_stats(f.vm, qid[i], &q) == 0 && q.in_use), "a queue that is not in use");
    }
}

/* begun, and how they ended (flowq.h) */
static void moves_add_up(void)
{
    struct flowq_stats s = {.size = sizeof(s)};
    must(flowq_vm_stats(f.vm, &s) == 0, "no statistics");
    must(s.ordered_begun ==
             s.ordered_done + s.ordered_back + s.ordered_forced + s.ordered_lapsed + s.ordered_off + s.ordered_pending,
         "a move got lost");
}

/* ---- The whole ------------------------------------------------------------------------------------------------------------- */

static uint64_t clock_of(void *ctx) { return *(uint64_t *)ctx; }

static void step(const uint8_t *at)
{
    const uint32_t qid = at[0] % RINGS, a = (uint32_t)at[1] << 8 | at[2], b = (uint32_t)at[3] << 8 | at[4];
    struct ring *r = &f.ring[qid];
    switch (at[0] / RINGS) {
    case STEP_FILL:
        fill(qid, a);
        break;
    case STEP_WRITE:
        write_word(r, a, (uint16_t)b);
        break;
    case STEP_MAKE:
        make_available(r, a, b);
        break;
    case STEP_LOOK:
        look(qid);
        break;
    case STEP_NOTE:
        note(qid, a, b & FRAME_FIN ? FRAME_FIN | FRAME_ACK : FRAME_ACK);
        break;
    case STEP_STEER:
        steer(a, b);
        break;
    case STEP_CLOSE:
        close_gate(false);
        break;
    case STEP_BEGIN:
        r->used += a;
        close_gate(true);
        break;
    case STEP_WAIT:
        f.now_ns += (uint64_t)a * 10000;
        break;
    case STEP_QUEUE:
        flowq_vm_set_queue_enabled(f.vm, qid, a & 1);
        break;
    case STEP_MEMORY:
        f.get_fails = b & 1;
        move_memory(qid, a & 1);
        break;
    case STEP_ANNOUNCE:
        announce(r, a, (uint16_t)b);
        break;
    default:
        break;
    }
}

static void begin(const uint8_t *head)
{
    struct flowq_vm_config c = {.size = sizeof(c), .max_queue_pairs = RINGS, .max_flows = 64, .secret = "fuzz"};
    memset(&f, 0, sizeof(f));
    f.now_ns = UINT64_C(1000000000000);
    f.settings = head[0];
    f.size = 1 + ((uint32_t)head[1] << 8 | head[2]) % MAX_SIZE;
    c.clock_ns = clock_of;
    c.clock_ctx = &f.now_ns;
    c.ordered = FLOWQ_ON;
    c.ordered_flows = is(SET_SMALL) ? 8 : 0;
    c.ordered_settle_us = is(SET_SETTLE) ? 1000 : 0;
    must(flowq_vm_create(&c, &f.vm) == 0, "no vm");
    flowq_vm_set_queue_pairs(f.vm, RINGS);
    positions_begin(&f.device);
    for (uint32_t i = 0; i < FLOWS; i++)
        f.flow[i] =
            is(SET_V6) ? tuple_v6(FRAME_PROTO_UDP, 1, (uint16_t)i, 2, 53) : tuple_v4(FRAME_PROTO_TCP, 1, (uint16_t)i, 2, 80);
    for (uint32_t q = 0; q < RINGS; q++) {
        f.ring[q].used = far + ((uint32_t)head[3] << 8 | head[4]);
        f.ring[q].mapped = true;
        map(&f.ring[q]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD_BYTES)
        return 0;
    begin(data);
    for (size_t at = HEAD_BYTES; size - at >= STEP_BYTES; at += STEP_BYTES)
        step(data + at);
    moves_add_up();
    flowq_vm_destroy(f.vm);
    for (uint32_t q = 0; q < RINGS; q++)
        unmap(&f.ring[q]);
    return 0;
}
