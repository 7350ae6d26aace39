/*
 * smoke: one second that shows that the benchmark measures what it says: every contestant gives the right queues, flowq's
 * accounts balance, the generators generate what they should. Part of `make check`.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peer.h"
#include "workers.h"

enum { N_FLOWS = 4096, N_PACKETS = 16 << 10 };

static unsigned n_failed;

static void expect(bool ok, const char *who, const char *what)
{
    if (!ok)
        printf("FAILED: %s: %s\n", who, what);
    n_failed += !ok;
}

/* ---- Generators ------------------------------------------------------------------------------------------------------------ */

/* Chi-square over the most frequent ranks, the others together: 99.99 % of all samples are below the bound. */
static void check_zipf(double skew)
{
    enum { RANKS = 50, N = 200000, FLOWS = 100000 };
    const double bound = 97; /* 50 degrees of freedom */
    uint32_t *ids = malloc(N * sizeof(*ids));
    double count[RANKS + 1] = {0}, total = 0, head = 0, chi = 0;
    uint64_t state = 8;
    if (!ids)
        fail("no memory");
    choose_zipf(ids, N, FLOWS, skew, &state);
    for (size_t i = 0; i < N; i++)
        count[ids[i] < RANKS ? ids[i] : RANKS]++;
    for (size_t k = 1; k <= FLOWS; k++)
        total += pow((double)k, -skew);
    for (size_t k = 0; k < RANKS; k++) {
        double expected = N * pow((double)k + 1, -skew) / total;
        head += expected;
        chi += (count[k] - expected) * (count[k] - expected) / expected;
    }
    chi += (count[RANKS] - (N - head)) * (count[RANKS] - (N - head)) / (N - head);
    expect(chi < bound, "zipf", "frequencies");
    free(ids);
}

/* Chi-square over all flows of a number that is no power of two. */
static void check_uniform(void)
{
    enum { FLOWS = 51, N = 100000 };
    const double bound = 97; /* 50 degrees of freedom, as above */
    static uint32_t ids[N];
    double count[FLOWS] = {0}, chi = 0, expected = (double)N / FLOWS;
    uint64_t state = 7;
    choose_uniform(ids, N, FLOWS, &state);
    for (size_t i = 0; i < N; i++) {
        expect(ids[i] < FLOWS, "choose_uniform", "range");
        count[ids[i] < FLOWS ? ids[i] : 0]++;
    }
    for (size_t k = 0; k < FLOWS; k++)
        chi += (count[k] - expected) * (count[k] - expected) / expected;
    expect(chi < bound, "choose_uniform", "frequencies");
}

static void check_hits(void)
{
    uint32_t ids[10000];
    unsigned hits = 0;
    uint64_t state = 9;
    choose_hits(ids, 10000, N_FLOWS, 50, &state);
    for (size_t i = 0; i < 10000; i++)
        hits += ids[i] < N_FLOWS;
    expect(hits > 4700 && hits < 5300, "choose_hits", "share");
}

/* The parser reads from a frame, in either direction, the key that is looked up. */
static void check_frames(uint32_t version)
{
    for (uint64_t id = 0; id < 1000; id++) {
        uint8_t frame[STRIDE_MAX];
        uint64_t key[6] = {0}, in[6] = {0}, out[6] = {0};
        struct flowq_pkt pkt = {.data = frame, .len = flow_frame(frame, version, INCOMING, id)};
        peer_key(&pkt, false, version, in);
        pkt.len = flow_frame(frame, version, OUTGOING, id);
        peer_key(&pkt, true, version, out);
        flow_key(key, version, id);
        size_t bytes = version == 4 ? KEY_V4_BYTES : KEY_V6_BYTES;
        if (memcmp(key, in, bytes) != 0 || memcmp(key, out, bytes) != 0) {
            expect(false, "frames", "keys");
            return;
        }
    }
}

/* ---- Contestants ----------------------------------------------------------------------------------------------------------- */

static void check_contestant(const struct contestant *c, const struct stream *in, const struct stream *out)
{
    struct shape shape = {.version = 4, .n_flows = N_FLOWS, .slots = 2 * N_FLOWS};
    void *table = c->create(&shape);
    if (!table)
        return;
    uint64_t want = stream_sum(in, 0, in->n, N_FLOWS), moved = 0;
    c->note(table, out->pkts, N_FLOWS, 0, 1);
    expect(c->steer(table, in->pkts, in->n) == want, c->name, "steer");
    double start = cpu_ns();
    expect(c->steer(table, in->pkts, in->n) == want, c->name, "steer again");
    double ns = (cpu_ns() - start) / (double)in->n;
    expect(c->single(table, in->pkts, in->n) == want, c->name, "single");
    if (c->lookup) {
        uint64_t keys[64][2], sum = 0;
        for (size_t i = 0; i < 64; i++) {
            uint64_t id = i * 2 * N_FLOWS / 64; /* half of them are not there */
            flow_key(keys[i], 4, id);
            sum += id < N_FLOWS ? flow_queue(id) : MISS;
        }
        expect(c->lookup(table, keys[0], 2, 64) == sum, c->name, "lookup");
    }
    c->note(table, out->pkts, N_FLOWS, 3, 1);
    for (size_t i = 0; i < in->n; i++)
        moved += (flow_queue(in->ids[i]) + 3) % QUEUES;
    expect(c->steer(table, in->pkts, in->n) == moved, c->name, "moved");
    if (c->clear) {
        c->clear(table);
        c->note(table, out->pkts, N_FLOWS, 0, 1);
        expect(c->steer(table, in->pkts, in->n) == want, c->name, "cleared");
    }
    printf("  %-10s steers in bursts: %5.1f ns a packet\n", c->name, ns);
    c->destroy(table);
}

/* ---- Accounts -------------------------------------------------------------------------------------------------------------- */

static uint64_t sum_of(const uint64_t *counter, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += counter[i];
    return sum;
}

static void check_accounts(struct flowq_vm *vm, uint64_t notes, uint64_t steers, const char *when)
{
    struct flowq_stats s = {.size = sizeof(s)};
    flowq_vm_stats(vm, &s);
    uint64_t displaced = s.displaced_embryonic + s.displaced_closing + s.displaced_established;
    expect(sum_of(s.note, FLOWQ_NOTE_SLOTS) == notes, when, "each note is counted once");
    expect(sum_of(s.steer, FLOWQ_REASON_SLOTS) == steers, when, "each decision is counted once");
    expect(s.inserted == s.live + displaced + s.reclaimed + s.forgotten, when,
           "inserted = live + displaced + reclaimed + forgotten");
    expect(s.inserted == s.note[FLOWQ_NOTE_BOUND], when, "inserted = notes that bound");
    expect(s.vm_bytes >= s.table_bytes && s.table_bytes >= s.retired_bytes, when, "bytes");
}

static atomic_ullong n_noted, n_steered;

static size_t work_note_counted(struct worker *w)
{
    atomic_fetch_add(&n_noted, CHUNK);
    return work_note(w);
}

static size_t work_steer_counted(struct worker *w)
{
    atomic_fetch_add(&n_steered, CHUNK);
    return work_steer(w);
}

static void check_flowq(const struct stream *in, const struct stream *out)
{
    static struct crew crew;
    struct shape shape = {.version = 4, .n_flows = N_FLOWS, .slots = 2 * N_FLOWS};
    struct entrant e = {.is = &with_flowq, .table = with_flowq.create(&shape)};
    e.is->note(e.table, out->pkts, N_FLOWS, 0, 1);
    e.is->steer(e.table, in->pkts, in->n);
    check_accounts(e.table, N_FLOWS, in->n, "accounts, one thread");
    e.is->clear(e.table);
    crew.n = 3;
    for (unsigned i = 0; i < crew.n; i++)
        crew.worker[i] =
            (struct worker){.entrant = &e, .stream = i ? out : in, .work = i ? work_note_counted : work_steer_counted};
    crew_run(&crew, 100);
    check_accounts(e.table, N_FLOWS + n_noted, in->n + n_steered, "accounts, three threads");
    e.is->destroy(e.table);
}

int run_smoke(void)
{
    uint64_t state = 10;
    check_zipf(0.99);
    check_zipf(1.2);
    check_uniform();
    check_hits();
    check_frames(4);
    check_frames(6);
    uint32_t *in_ids = huge_alloc(N_PACKETS * sizeof(*in_ids)), *out_ids = huge_alloc(N_FLOWS * sizeof(*out_ids));
    choose_uniform(in_ids, N_PACKETS, N_FLOWS, &state);
    choose_all(out_ids, N_FLOWS, N_FLOWS);
    struct stream in = stream_make(4, INCOMING, IN_SEQUENCE, in_ids, N_PACKETS),
                  out = stream_make(4, OUTGOING, IN_SEQUENCE, out_ids, N_FLOWS);
    printf("The contestants agree on the queues (times of one short turn, not to be quoted):\n");
    for (unsigned i = 0; contestants[i]; i++)
        if (contestants[i]->note)
            check_contestant(contestants[i], &in, &out);
    check_flowq(&in, &out);
    stream_free(&in);
    stream_free(&out);
    printf("%u checks failed\n", n_failed);
    return n_failed ? 1 : 0;
}
