/*
 * growth: how long one insert takes while a table grows to 1M flows, or to 8M, in CPU time of the thread that inserts.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

/* The larger one for this library alone: what a note takes that doubles a directory of that size. */
static const struct growth {
    const char *name;
    size_t n_flows;
    unsigned reps;
    bool ours_only;
} sizes[] = {{"growth", 1 << 20, 7, false}, {"growth-8M", 8 << 20, 2, true}};

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

static void report(const struct growth *g, const char *contestant, float *ns, float cost, bool warm_up)
{
    static const struct {
        const char *name;
        double part;
    } points[] = {{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}, {"max", 1}};
    if (warm_up)
        return;
    qsort(ns, g->n_flows, sizeof(*ns), by_time);
    for (size_t i = 0; i < sizeof(points) / sizeof(*points); i++) {
        char workload[32];
        double at = ns[(size_t)(points[i].part * (double)(g->n_flows - 1))] - cost;
        snprintf(workload, sizeof(workload), "%s/%s", g->name, points[i].name);
        sample(workload, contestant, "us", at > 0 ? at / 1000 : 0);
    }
}

static void grow(const struct growth *g, const struct contestant *c, const struct stream *s, float *ns, bool warm_up)
{
    struct shape shape = {.version = 4, .n_flows = g->n_flows, .slots = 2 * g->n_flows, .grows = true};
    float cost = clock_cost(ns);
    void *table = c->create(&shape);
    for (size_t i = 0; i < g->n_flows; i++) {
        double start = cpu_ns();
        c->note(table, &s->pkts[i], 1, flow_queue(i), 0);
        ns[i] = (float)(cpu_ns() - start);
    }
    c->destroy(table);
    report(g, c->name, ns, cost, warm_up);
}

/* The same with nothing to insert: how much of it is the machine. */
static void nothing(const struct growth *g, const struct stream *s, float *ns, bool warm_up)
{
    float cost = clock_cost(ns);
    for (size_t i = 0; i < g->n_flows; i++) {
        double start = cpu_ns();
        keep(*(const uint64_t *)s->pkts[i].data);
        ns[i] = (float)(cpu_ns() - start);
    }
    report(g, with_nothing.name, ns, cost, warm_up);
}

static void measure(const struct growth *g)
{
    uint32_t *ids = huge_alloc(g->n_flows * sizeof(*ids));
    float *ns = huge_alloc(g->n_flows * sizeof(*ns));
    choose_all(ids, g->n_flows, g->n_flows);
    struct stream stream = stream_make(4, OUTGOING, IN_SEQUENCE, ids, g->n_flows);
    /* The first time only warms up: what the machine beneath has never given out before takes it milliseconds. */
    for (unsigned rep = 0; rep <= repetitions(g->reps); rep++) {
        nothing(g, &stream, ns, rep == 0);
        for (unsigned i = 0; contestants[i]; i++)
            if (contestants[i]->grows && (contestants[i] == &with_flowq || !(process.goals || g->ours_only)))
                grow(g, contestants[i], &stream, ns, rep == 0);
    }
    huge_free(ns, g->n_flows * sizeof(*ns));
    stream_free(&stream);
}

void run_growth(void)
{
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        char group[32];
        snprintf(group, sizeof(group), "%s/", sizes[i].name);
        if (wanted_group(group, !sizes[i].ours_only) && !process.quick)
            measure(&sizes[i]);
    }
}
