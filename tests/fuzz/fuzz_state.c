/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any saved state: what is refused changes nothing, what is taken can be saved and loaded again, answers name queues in use,
 * nothing is read or written where it must not be. Entry point of libFuzzer, see tests/fuzz/run; with tests/fuzz/replay.c a
 * program of its own that replays the seeds.
 *
 * An input is a byte of settings, a byte of parts, and then sections: type, two bytes of length, content. The stream is made of
 * them here, with its header and sums, as no fuzzer finds those; with the highest bit of the parts set the rest is the stream
 * as it is.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../frames.h"
#include "../model_state.h"
#include "fuzz.h"

#define PAIRS 8

static struct flowq_vm *make(uint8_t settings)
{
    struct flowq_vm_config c = {.size = sizeof(c), .max_queue_pairs = PAIRS, .max_flows = 4096, .secret = "fuzz"};
    struct flowq_vm *vm;
    c.max_queue_pairs = settings & 1 ? 2 : settings & 2 ? 300 : PAIRS;
    c.max_flows = settings & 4 ? 8 : 4096;
    c.initial_flows = settings & 8 ? c.max_flows : 0;
    c.rebind_min_tcp_us = settings & 16 ? 100000 : 0;
    c.key_vlan = settings & 32 ? FLOWQ_ON : 0;
    c.virtio_hash_types = settings & 64 ? FLOWQ_HASH_TYPE_TCPV4 : 0;
    return flowq_vm_create(&c, &vm) == 0 ? vm : NULL;
}

/* ---- Streams --------------------------------------------------------------------------------------------------------------- */

static void make_stream(struct model_stream *s, const uint8_t *at, size_t n)
{
    uint64_t sum;
    model_stream_header(s, 1, 1, &sum);
    while (n >= 3) {
        size_t length = (size_t)at[1] << 8 | at[2];
        length = length < n - 3 ? length : n - 3;
        model_stream_section(s, at[0], at + 3, length, &sum);
        at += 3 + length;
        n -= 3 + length;
    }
}

struct reading {
    const uint8_t *at;
    size_t n;
};

static int64_t take(void *ctx, void *to, size_t size)
{
    struct reading *r = ctx;
    size_t n = r->n < size ? r->n : size;
    if (n == 0)
        return 0; /* there may be no bytes at all */
    memcpy(to, r->at, n);
    r->at += n;
    r->n -= n;
    return (int64_t)n;
}

static int add(void *ctx, const void *data, size_t size)
{
    model_stream_add(ctx, data, size);
    return 0;
}

static int load(struct flowq_vm *vm, uint32_t what, const struct model_stream *s, struct flowq_loaded *loaded)
{
    struct reading r = {s->bytes, s->n};
    *loaded = (struct flowq_loaded){.size = sizeof(*loaded)};
    return flowq_vm_load(vm, what, take, &r, loaded);
}

static void save(struct flowq_vm *vm, struct model_stream *s)
{
    must(flowq_vm_save(vm, FLOWQ_STATE_ALL, FLOWQ_STATE_UNLIMITED, add, s) == 0, "cannot be saved");
}

/* ---- What must hold -------------------------------------------------------------------------------------------------------- */

static void same(const struct model_stream *a, const struct model_stream *b, const char *what)
{
    must(a->n == b->n && memcmp(a->bytes, b->bytes, a->n) == 0, what);
}

static void works(struct flowq_vm *vm, const struct flowq_loaded *l)
{
    struct flowq_stats s = {.size = sizeof(s)};
    must(flowq_vm_stats(vm, &s) == 0 && s.live == l->bindings && s.inserted == l->bindings, "counted wrong");
    for (uint16_t i = 0; i < 50; i++) {
        struct flowq_tuple t = tuple_v4(i % 2 ? FRAME_PROTO_TCP : FRAME_PROTO_UDP, 1, 2, 3, i);
        struct frame f;
        frame_flow(&f, &t, FRAME_ACK);
        struct flowq_pkt pkt = frame_pkt(&f);
        must(flowq_rx_steer(vm, &pkt) < 300 || s.queues_in_use == 0 || flowq_rx_steer(vm, &pkt) == FLOWQ_DROP, "no queue");
        (void)flowq_tx_note(vm, &pkt, i % PAIRS);
    }
    flowq_vm_set_queue_pairs(vm, 2);
    flowq_vm_set_queue_enabled(vm, FLOWQ_ALL_QUEUES, true);
    flowq_vm_maintain(vm);
}

static void again(struct flowq_vm *vm, uint8_t settings)
{
    struct model_stream first = {.bytes = NULL}, second = {.bytes = NULL};
    struct flowq_vm *to = make(settings);
    struct flowq_loaded l;
    struct model_state *m = calloc(1, sizeof(*m));
    save(vm, &first);
    must(model_state_read(m, first.bytes, first.n), "saved wrong");
    must(load(to, FLOWQ_STATE_ALL, &first, &l) == 0, "what was saved cannot be loaded");
    must(l.bindings + l.no_room == m->n_bindings, "bindings got lost");
    model_state_free(m);
    free(m);
    save(to, &second);
    flowq_vm_destroy(to);
    model_stream_free(&first);
    model_stream_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct model_stream s = {.bytes = NULL}, before = {.bytes = NULL}, after = {.bytes = NULL};
    struct flowq_loaded l;
    if (size < 2)
        return 0;
    uint32_t what = data[1] & FLOWQ_STATE_ALL ? data[1] & FLOWQ_STATE_ALL : FLOWQ_STATE_ALL;
    struct flowq_vm *vm = make(data[0]);
    if (data[1] & 0x80)
        model_stream_add(&s, data + 2, size - 2);
    else
        make_stream(&s, data + 2, size - 2);
    struct model_state *m = calloc(1, sizeof(*m));
    bool fine = model_state_read(m, s.bytes, s.n);
    model_state_free(m);
    free(m);
    save(vm, &before);
    int r = load(vm, what, &s, &l);
    must(fine == (r != -EBADMSG), "taken for damaged or not");
    must(r == 0 || r == -EBADMSG || r == -ENOTSUP, "another error");
    if (r) {
        save(vm, &after);
        same(&before, &after, "refused, and changed");
    } else {
        again(vm, data[0]);
        works(vm, &l);
    }
    flowq_vm_destroy(vm);
    model_stream_free(&s);
    model_stream_free(&before);
    model_stream_free(&after);
    return 0;
}
