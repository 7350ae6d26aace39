/*
 * growth: how long one insert takes while a table grows from 1k to 1M flows, in CPU time of the thread that inserts.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "bench.h"

#include <stdlib.h>

enum { N_FLOWS = 1 << 20, REPS = 7 };

static int by_time(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* What reading the clock twice costs. */
static float clock_cost(float *scratch)
{
    enum { N = 10001 };
    for (unsigned i = 0; i < N; i++) {
        double start = cpu_ns();
        scratch[i] = (float)(cpu_ns() - start);
    }
    qsort(scratch, N, sizeof(*scratch), by_time);
    return scratch[N / 2];
}

static void report(const char *contestant, float *ns, float cost, bool warm_up)
{
    static const struct {
        const char *workload;
        double part;
    } points[] = {
        {"growth/p50", 0.5}, {"growth/p99", 0.99}, {"growth/p99.9", 0.999}, {"growth/p99.99", 0.9999}, {"growth/max", 1}};
    if (warm_up)
        return;
    qsort(ns, N_FLOWS, sizeof(*ns), by_time);
    for (size_t i = 0; i < sizeof(points) / sizeof(*points); i++) {
        double at = ns[(size_t)(points[i].part * (N_FLOWS - 1))] - cost;
        sample(points[i].workload, contestant, "us", at > 0 ? at / 1000 : 0);
    }
}

static void grow(const struct contestant *c, const struct shape *shape, const struct stream *s, float *ns, bool warm_up)
{
    float cost = clock_cost(ns);
    void *table = c->create(shape);
    for (size_t i = 0; i < N_FLOWS; i++) {
        double start = cpu_ns();
        c->note(table, &s->pkts[i], 1, flow_queue(i), 0);
        ns[i] = (float)(cpu_ns() - start);
    }
    c->destroy(table);
    report(c->name, ns, cost, warm_up);
}

/* The same with nothing to insert: how much of it is the machine. */
static void nothing(const struct stream *s, float *ns, bool warm_up)
{
    float cost = clock_cost(ns);
    for (size_t i = 0; i < N_FLOWS; i++) {
        double start = cpu_ns();
        keep(*(const uint64_t *)s->pkts[i].data);
        ns[i] = (float)(cpu_ns() - start);
    }
    report(with_nothing.name, ns, cost, warm_up);
}

void run_growth(void)
{
    struct shape shape = {.version = 4, .n_flows = N_FLOWS, .slots = 2 * N_FLOWS, .grows = true};
    if (!wanted_group("growth/", true) || process.quick)
        return;
    uint32_t *ids = huge_alloc(N_FLOWS * sizeof(*ids));
    float *ns = huge_alloc(N_FLOWS * sizeof(*ns));
    choose_all(ids, N_FLOWS, N_FLOWS);
    struct stream stream = stream_make(4, OUTGOING, IN_SEQUENCE, ids, N_FLOWS);
    /* The first time only warms up: what the machine beneath has never given out before takes it milliseconds. */
    for (unsigned rep = 0; rep <= repetitions(REPS); rep++) {
        nothing(&stream, ns, rep == 0);
        for (unsigned i = 0; contestants[i]; i++)
            if (contestants[i]->grows && (contestants[i] == &with_flowq || !process.goals))
                grow(contestants[i], &shape, &stream, ns, rep == 0);
    }
    huge_free(ns, N_FLOWS * sizeof(*ns));
    stream_free(&stream);
}
