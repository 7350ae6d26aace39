/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any packets, through two vms that are alike: what a burst gives is what single calls in order give, for packets whose headers
 * lie in pieces and are gathered as for those that lie in one; answers name queues in use; nothing is read or written where it
 * must not be. Entry point of libFuzzer, see tests/fuzz/run; with tests/fuzz/replay.c a program of its own that replays the
 * seeds.
 *
 * An input is a byte of settings, a byte that says where pieces end, and packets: a byte (CALL_*), two bytes of length, content.
 * Packets one after the other whose first byte is the same go in one burst.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "flowq.h"
#include "fuzz.h"

#define PAIRS     8
#define MAX_BURST 80 /* more than a batch of the library */
#define N_PIECES  3

enum {
    CALL_SENT = 1,      /* by the VM, on queue byte / CALL_QUEUE; else it is for the VM */
    CALL_L3 = 2,        /* FLOWQ_PKT_L3 */
    CALL_WAIT = 4,      /* 100 ms before */
    CALL_QUEUE_OFF = 8, /* queue byte / CALL_QUEUE is switched off before, or on again */
    CALL_QUEUE = 16,
};

static uint64_t clock_of(void *ctx) { return *(uint64_t *)ctx; }

static struct flowq_vm *make(uint8_t settings, uint64_t *now_ns)
{
    struct flowq_vm_config c = {
        .size = sizeof(c), .max_queue_pairs = PAIRS, .max_flows = 64, .secret = "fuzz", .clock_ns = clock_of};
    struct flowq_vm *vm;
    c.clock_ctx = now_ns;
    c.key_vlan = settings & 1 ? FLOWQ_ON : FLOWQ_OFF;
    c.key_vni = settings & 2 ? FLOWQ_ON : FLOWQ_OFF;
    c.tunnels = settings & 4 ? FLOWQ_TUNNEL_NONE : FLOWQ_TUNNEL_ALL;
    c.rebind_min_tcp_us = settings & 8 ? 200000 : 0;
    c.rebind_min_other_us = settings & 16 ? 200000 : 0;
    c.fragments = settings & 32 ? FLOWQ_OFF : 8;
    c.initial_flows = settings & 64 ? 64 : 0;
    must(flowq_vm_create(&c, &vm) == 0, "no vm");
    flowq_vm_set_queue_pairs(vm, settings & 128 ? PAIRS : 2);
    return vm;
}

static struct {
    uint64_t now_ns;
    struct flowq_vm *burst, *single;
    uint8_t cut;
    size_t n;
    uint8_t *copy[MAX_BURST]; /* ends where the packet ends */
    struct flowq_pkt whole[MAX_BURST], gathered[MAX_BURST];
    uint8_t scratch[MAX_BURST][FLOWQ_HEADER_MAX];
} f;

/* The same bytes in pieces of their own memory. */
static void gather(size_t i, const uint8_t *data, size_t n)
{
    struct iovec iov[N_PIECES];
    const size_t first = n * (f.cut >> 4) / 16, second = first + (n - first) * (f.cut & 15) / 16;
    const size_t cut[N_PIECES + 1] = {0, first, second, n};
    for (unsigned p = 0; p < N_PIECES; p++) {
        iov[p].iov_len = cut[p + 1] - cut[p];
        iov[p].iov_base = malloc(iov[p].iov_len ? iov[p].iov_len : 1);
        must(iov[p].iov_base != NULL, "no memory");
        memcpy(iov[p].iov_base, data + cut[p], iov[p].iov_len);
    }
    const size_t wanted = n < FLOWQ_HEADER_MAX ? n : FLOWQ_HEADER_MAX;
    size_t got = flowq_gather(&f.gathered[i], iov, N_PIECES, 0, f.scratch[i], sizeof(f.scratch[i]));
    must(got == wanted && f.gathered[i].len == wanted && memcmp(f.scratch[i], data, wanted) == 0, "gathered wrong");
    if (n > 12) {
        struct flowq_pkt behind;
        uint8_t scratch[40];
        got = flowq_gather(&behind, iov, N_PIECES, 12, scratch, sizeof(scratch));
        must(got == (n - 12 < 40 ? n - 12 : 40) && memcmp(scratch, data + 12, got) == 0, "gathered wrong behind a header");
    }
    for (unsigned p = 0; p < N_PIECES; p++)
        free(iov[p].iov_base);
}

static void add(uint8_t call, const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    must(copy != NULL, "no memory");
    memcpy(copy, data, n);
    f.copy[f.n] = copy;
    f.whole[f.n] = (struct flowq_pkt){.data = copy, .len = (uint32_t)n};
    gather(f.n, data, n);
    f.whole[f.n].flags = f.gathered[f.n].flags = call & CALL_L3 ? FLOWQ_PKT_L3 : 0u;
    f.n++;
}

static void check_answer(uint16_t qid, const struct flowq_stats *s)
{
    struct flowq_queue_stats q = {.size = sizeof(q)};
    if (s->queues_in_use == 0)
        must(qid == FLOWQ_DROP, "an answer where no queue is in use");
    else
        must(flowq_vm_queue_stats(f.single, qid, &q) == 0 && q.in_use, "a queue that is not in use");
}

static void receive(void)
{
    struct flowq_decision decision[MAX_BURST], one;
    uint16_t qid[MAX_BURST];
    struct flowq_stats s = {.size = sizeof(s)};
    flowq_vm_stats(f.single, &s);
    memset(decision, 0xa5, sizeof(decision));
    flowq_rx_decide_burst(f.burst, f.whole, f.n, decision);
    for (size_t i = 0; i < f.n; i++) {
        flowq_rx_decide_burst(f.single, &f.gathered[i], 1, &one);
        must(memcmp(&one, &decision[i], sizeof(one)) == 0, "a burst decides otherwise");
        check_answer(one.qid, &s);
    }
    flowq_rx_steer_burst(f.burst, f.whole, f.n, qid);
    for (size_t i = 0; i < f.n; i++)
        must(flowq_rx_steer(f.single, &f.gathered[i]) == qid[i], "a burst steers otherwise");
}

static void transmit(uint32_t qid)
{
    flowq_tx_note_burst(f.burst, f.whole, f.n, qid);
    for (size_t i = 0; i < f.n; i++)
        must(flowq_tx_note(f.single, &f.gathered[i], qid) < FLOWQ_NOTE_UNREGISTERED, "an outcome that there is not");
}

static void both_set_queue(uint32_t qid, bool on)
{
    must(flowq_vm_set_queue_enabled(f.burst, qid, on) == 0 && flowq_vm_set_queue_enabled(f.single, qid, on) == 0, "not set");
}

/* Also before anything was added. */
static void flush(uint8_t call)
{
    const uint32_t qid = call / CALL_QUEUE;
    f.now_ns += call & CALL_WAIT ? 100000000u : 0u;
    if (call & CALL_QUEUE_OFF && qid < 2 * PAIRS)
        both_set_queue(qid % PAIRS, qid >= PAIRS);
    if (call & CALL_SENT)
        transmit(qid % PAIRS);
    else
        receive();
    for (size_t i = 0; i < f.n; i++)
        free(f.copy[i]);
    f.n = 0;
}

static void same_counts(void)
{
    struct flowq_stats a = {.size = sizeof(a)}, b = {.size = sizeof(b)};
    flowq_vm_stats(f.burst, &a);
    flowq_vm_stats(f.single, &b);
    must(memcmp(a.note, b.note, sizeof(a.note)) == 0, "a burst notes otherwise");
    must(memcmp(a.steer, b.steer, sizeof(a.steer)) == 0 && a.live == b.live && a.inserted == b.inserted,
         "a burst counts otherwise");
    must(a.inserted == a.live + a.displaced_embryonic + a.displaced_closing + a.displaced_established + a.reclaimed,
         "bindings got lost");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    f.now_ns = UINT64_C(1000000000000);
    f.burst = make(data[0], &f.now_ns);
    f.single = make(data[0], &f.now_ns);
    f.cut = data[1];
    uint8_t call = 0;
    for (data += 2, size -= 2; size >= 3;) {
        size_t n = (size_t)data[1] << 8 | data[2];
        n = n < size - 3 ? n : size - 3;
        if (f.n == MAX_BURST || (f.n > 0 && data[0] != call))
            flush(call);
        call = data[0];
        add(call, data + 3, n);
        data += 3 + n;
        size -= 3 + n;
    }
    flush(call);
    same_counts();
    flowq_vm_destroy(f.burst);
    flowq_vm_destroy(f.single);
    return 0;
}
