/*
 * stages: what each stage of steering costs: a plain IPv4 packet in a burst taken as far as the headers, the key, the hash, the
 * line of the table; and all the way, by the public call. Each figure contains those before it. bench/JOURNAL.md has the budget.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "bench.h"

#include <stdio.h>

#include "view.h"

enum { TURN = 128 << 10, REPS = 15 };

enum stage { HEADERS, PARSE, HASH, LINE, ALL, N_STAGES };
static const char *const names[N_STAGES] = {"headers", "parse", "hash", "line", "all"};

/* As loops.h has it, up to a stage that is known when this is compiled. */
static inline __attribute__((always_inline)) uint64_t burst(const struct vm_view v, const struct flowq_pkt *pkts,
                                                            enum stage stage)
{
    uint64_t sum = 0, word[5];
    for (unsigned i = 0; i < BURST; i++)
        __builtin_prefetch(pkts[i].data);
    for (unsigned i = 0; i < BURST; i++) {
        if (stage == HEADERS) {
            sum += *(const uint8_t *)pkts[i].data;
            continue;
        }
        enum plain plain = plain_read(&pkts[i], v.udp_filter, false, word);
        if (plain != PLAIN_V4)
            fail("stages: a packet that is not plain");
        if (stage == PARSE) {
            sum += word[0] ^ word[1];
            continue;
        }
        uint64_t hash = hash_words2(v.secret, word);
        sum += hash;
        if (stage == LINE)
            __builtin_prefetch(vm_view_line(v, hash));
    }
    return sum;
}

static inline __attribute__((always_inline)) uint64_t bursts(const struct vm_view v, const struct stream *s, size_t from,
                                                             enum stage stage)
{
    uint64_t sum = 0;
    for (size_t i = from; i < from + TURN; i += BURST)
        sum += burst(v, s->pkts + i, stage);
    return sum;
}

#if defined(__x86_64__)
#define WIDE      __attribute__((target("bmi,bmi2"))) /* as bursts, on a machine that has them */
#define IS_WIDE() (__builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2"))
#else
#define WIDE
#define IS_WIDE() true
#endif

static WIDE uint64_t wide(const struct vm_view *v, const struct stream *s, size_t from, enum stage stage)
{
    switch (stage) {
    case HEADERS:
        return bursts(*v, s, from, HEADERS);
    case PARSE:
        return bursts(*v, s, from, PARSE);
    case HASH:
        return bursts(*v, s, from, HASH);
    default:
        return bursts(*v, s, from, LINE);
    }
}

static double turn(const struct entrant *e, const struct stream *s, size_t from, enum stage stage)
{
    double start = cpu_ns();
    if (stage == ALL) {
        keep(e->is->steer(e->table, s->pkts + from, TURN));
    } else {
        flowq_enter();
        const struct vm_view v = vm_view_of(e->table, caller_of(thread_self()));
        keep(wide(&v, s, from, stage));
        flowq_leave();
    }
    return (cpu_ns() - start) / TURN;
}

static void measure(const char *size, uint64_t n_flows)
{
    struct shape shape = {.version = 4, .n_flows = n_flows, .slots = 2 * n_flows};
    struct entrant e = {.is = &with_flowq, .table = with_flowq.create(&shape)};
    uint64_t state = 9;
    size_t n = 4 * TURN;
    uint32_t *all = huge_alloc(n_flows * sizeof(*all)), *ids = huge_alloc(n * sizeof(*ids));
    choose_all(all, n_flows, n_flows);
    choose_uniform(ids, n, n_flows, &state);
    struct stream out = stream_make(4, OUTGOING, IN_SEQUENCE, all, n_flows), in = stream_make(4, INCOMING, IN_SEQUENCE, ids, n);
    e.is->note(e.table, out.pkts, out.n, 0, 1);
    e.is->settle(e.table);
    size_t next = 0;
    for (unsigned rep = 0; rep <= repetitions(REPS); rep++) {
        for (unsigned stage = 0; stage < N_STAGES; stage++) {
            char workload[48];
            double ns = turn(&e, &in, next++ % 4 * TURN, (enum stage)stage);
            snprintf(workload, sizeof(workload), "stage/%s/%s", names[stage], size);
            if (rep > 0 && wanted(workload, false))
                sample(workload, e.is->name, "ns", ns);
        }
    }
    e.is->destroy(e.table);
    stream_free(&in);
    stream_free(&out);
}

void run_stages(void)
{
    if (!wanted_group("stage/", false) || !IS_WIDE())
        return;
    measure("v4-1k", 1 << 10);
    if (!process.quick)
        measure("v4-1M", 1 << 20);
}
