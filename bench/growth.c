/*
 * growth: how long one insert takes while a table grows to 1M flows, or to 8M, in CPU time of the thread that inserts.
 *
 * A table grows in the same way each time, so what an insert takes is the median of its times in all repetitions: a timer's
 * interrupt, or whoever else gets the processor, hits another insert each time. On some machines one insert out of ten thousand
 * is hit, for longer than the longest takes. growth/ is about these medians, growth-raw/ about the inserts of each repetition.
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
} sizes[] = {{"growth", 1 << 20, 7, false}, {"growth-8M", 8 << 20, 3, true}};

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

/* ns: sorted here. */
static void report(const struct growth *g, const char *how, const char *contestant, float *ns)
{
    static const struct {
        const char *name;
        double part;
    } points[] = {{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}, {"max", 1}};
    qsort(ns, g->n_flows, sizeof(*ns), by_time);
    for (size_t i = 0; i < sizeof(points) / sizeof(*points); i++) {
        char workload[32];
        double at = ns[(size_t)(points[i].part * (double)(g->n_flows - 1))];
        snprintf(workload, sizeof(workload), "%s%s/%s", g->name, how, points[i].name);
        sample(workload, contestant, "us", at > 0 ? at / 1000 : 0);
    }
}

/* table NULL: with nothing to insert, for how much of it is the machine. */
static void grow(const struct growth *g, const struct contestant *c, void *table, const struct stream *s, float *ns)
{
    float cost = clock_cost(ns);
    for (size_t i = 0; i < g->n_flows; i++) {
        double start = cpu_ns();
        if (table)
            c->note(table, &s->pkts[i], 1, flow_queue(i), 0);
        else
            keep(*(const uint64_t *)s->pkts[i].data);
        ns[i] = (float)(cpu_ns() - start) - cost;
    }
}

enum { MAX_GROWERS = 8, MAX_REPS = 7 };

struct grower {
    const struct contestant *is;
    float *ns[MAX_REPS];
};

static void add_grower(const struct growth *g, struct grower *to, const struct contestant *c, unsigned reps)
{
    to->is = c;
    for (unsigned rep = 0; rep < reps; rep++)
        to->ns[rep] = huge_alloc(g->n_flows * sizeof(float));
}

static void run_grower(const struct growth *g, const struct grower *a, const struct stream *s, unsigned rep)
{
    struct shape shape = {.version = 4, .n_flows = g->n_flows, .slots = 2 * g->n_flows, .grows = true};
    void *table = a->is->grows ? a->is->create(&shape) : NULL;
    grow(g, a->is, table, s, a->ns[rep]);
    if (table)
        a->is->destroy(table);
}

static void report_grower(const struct growth *g, struct grower *a, unsigned reps)
{
    float *each = huge_alloc(g->n_flows * sizeof(*each));
    for (size_t i = 0; i < g->n_flows; i++) {
        float times[MAX_REPS];
        for (unsigned rep = 0; rep < reps; rep++)
            times[rep] = a->ns[rep][i];
        qsort(times, reps, sizeof(*times), by_time);
        each[i] = times[reps / 2];
    }
    report(g, "", a->is->name, each);
    for (unsigned rep = 0; rep < reps; rep++) {
        report(g, "-raw", a->is->name, a->ns[rep]);
        huge_free(a->ns[rep], g->n_flows * sizeof(float));
    }
    huge_free(each, g->n_flows * sizeof(*each));
}

static void measure(const struct growth *g)
{
    struct grower growers[MAX_GROWERS];
    unsigned n = 0, reps = repetitions(g->reps);
    uint32_t *ids = huge_alloc(g->n_flows * sizeof(*ids));
    choose_all(ids, g->n_flows, g->n_flows);
    struct stream stream = stream_make(4, OUTGOING, IN_SEQUENCE, ids, g->n_flows);
    add_grower(g, &growers[n++], &with_nothing, reps);
    for (unsigned i = 0; contestants[i] && n < MAX_GROWERS; i++)
        if (contestants[i]->grows && (contestants[i] == &with_flowq || !(process.goals || g->ours_only)))
            add_grower(g, &growers[n++], contestants[i], reps);
    /* The first time only warms up: what the machine beneath has never given out before takes it milliseconds. */
    for (unsigned rep = 0; rep <= reps; rep++)
        for (unsigned i = 0; i < n; i++)
            run_grower(g, &growers[i], &stream, rep ? rep - 1 : 0);
    for (unsigned i = 0; i < n; i++)
        report_grower(g, &growers[i], reps);
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
