/*
 * goals: what the library must reach, and whether it does. Each figure is taken process by process; the median of them counts.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MISSED    "MISSED"
#define TOLERANCE 1.05 /* a must missed by no more than this is put down to the machine */

enum { MAX_PROCESSES = 16 };

enum kind {
    FASTER_THAN, /* contestant's time over flowq's: more is better */
    SLOWER_THAN, /* flowq's over the contestant's: less is better */
    ABSOLUTE,    /* flowq's own figure: less is better */
    AT_LEAST,    /* flowq's own figure: more is better */
    ADDED        /* ns added from 1k to 8M flows, over what the contestant adds: less is better */
};

static const struct goal {
    const char *figure;
    enum kind kind;
    const char *workload;
    const char *against; /* contestant; with ABSOLUTE and AT_LEAST: unit */
    double must, aim;
    const char *who; /* NULL: flowq */
} goals[] = {
    {"steer32 str, 1k flows", FASTER_THAN, "steer32-str/v4-1k", "rte_hash", 1.3, 1.6, NULL},
    {"steer32 str, 64k", FASTER_THAN, "steer32-str/v4-64k", "rte_hash", 1.45, 1.9, NULL},
    {"steer32 str, 1M", FASTER_THAN, "steer32-str/v4-1M", "rte_hash", 1.8, 2.1, NULL},
    {"steer32 str, 8M", FASTER_THAN, "steer32-str/v4-8M", "rte_hash", 2.0, 2.6, NULL},
    {"steer32 cold, 64k", FASTER_THAN, "steer32-cold/v4-64k", "rte_hash", 1.25, 1.6, NULL},
    {"steer32 cold, 1M", FASTER_THAN, "steer32-cold/v4-1M", "rte_hash", 1.9, 2.2, NULL},
    {"steer32 cold, 8M", FASTER_THAN, "steer32-cold/v4-8M", "rte_hash", 2.0, 2.4, NULL},
    {"steer32 str, IPv6, 1M", FASTER_THAN, "steer32-str/v6-1M", "rte_hash", 2.6, 3.0, NULL},
    {"steer32 str, 1M, without AVX2", FASTER_THAN, "steer32-str/v4-1M", "rte_hash", 1.4, 1.4, "flowq-sse2"},
    {"lookup32, 1M", FASTER_THAN, "lookup32/v4-1M", "rte_hash", 1.9, 2.2, NULL},
    {"lookup32, half missing, 64k", FASTER_THAN, "lookup32-hit50/v4-64k", "rte_hash", 2.8, 3.2, NULL},
    {"note32 refresh, 1M", FASTER_THAN, "note32-refresh/v4-1M", "rte_hash", 1.7, 1.9, NULL},
    {"note32 other queue, 1M", FASTER_THAN, "note32-move/v4-1M", "rte_hash", 2.3, 3.0, NULL},
    {"note32 new flow, 1M", FASTER_THAN, "note32-new/v4-1M", "rte_hash", 1.9, 2.5, NULL},
    {"single rx_steer in a section, 1M", FASTER_THAN, "single/v4-1M", "rte_hash", 1.5, 1.8, NULL},
    {"steer32 str, 1M, over roofline", SLOWER_THAN, "steer32-str/v4-1M", "roofline", 2.1, 1.7, NULL},
    {"steer32 cold, 1M, over roofline", SLOWER_THAN, "steer32-cold/v4-1M", "roofline", 1.8, 1.4, NULL},
    {"ns added from 1k to 8M, roofline-burst's", ADDED, NULL, "roofline-burst", 1.2, 1.0, NULL},
    {"ns added, 256 packets a call, roofline's", ADDED, NULL, "roofline", 1.2, 1.0, "flowq-256"},
    {"steer32 str, 1M, ck_ht + ck_epoch", FASTER_THAN, "steer32-str/v4-1M", "ck_ht", 6, 8, NULL},
    {"steer32 str, 1M, liburcu lfht", FASTER_THAN, "steer32-str/v4-1M", "lfht", 6, 8, NULL},
    {"two threads, steer + steer, times one", AT_LEAST, "threads/steer+steer", "times", 1.9, 1.97, NULL},
    {"two threads, note + steer, times one", AT_LEAST, "threads/note+steer", "times", 1.9, 1.97, NULL},
    {"bytes per flow, 1M", ABSOLUTE, "memory/v4-1M", "B/flow", 34, 17, NULL},
    {"longest insert, growing to 1M, us", ABSOLUTE, "growth/max", "us", 500, 300, NULL},
    {"p99.99 of inserts, growing to 1M, us", ABSOLUTE, "growth/p99.99", "us", 50, 30, NULL},
    {"one queue in use, burst, ns", ABSOLUTE, "steer32/one-queue", "ns", 2, 1, NULL},
    {"steer, 4 a call, 1k", FASTER_THAN, "burst4/steer-1k", "rte_hash", 1.7, 2.2, NULL},
    {"steer, 4 a call, 64k", FASTER_THAN, "burst4/steer-64k", "rte_hash", 1.7, 2.2, NULL},
    {"steer, 8 a call, 1k", FASTER_THAN, "burst8/steer-1k", "rte_hash", 1.7, 2.2, NULL},
    {"steer, 8 a call, 64k", FASTER_THAN, "burst8/steer-64k", "rte_hash", 1.7, 2.2, NULL},
    {"note, 4 a call, 1k", FASTER_THAN, "burst4/note-1k", "rte_hash", 1.4, 1.7, NULL},
    {"note, 8 a call, 1k", FASTER_THAN, "burst8/note-1k", "rte_hash", 1.4, 1.7, NULL},
    {"note, 4 a call, 64k", FASTER_THAN, "burst4/note-64k", "rte_hash", 0.95, 1.2, NULL},
    {"note, 8 a call, 64k", FASTER_THAN, "burst8/note-64k", "rte_hash", 1.1, 1.4, NULL},
    {"steer, 1 a call, times 32 a call, 1k", ABSOLUTE, "burst1/steer-1k", "times", 2.3, 1.9, NULL},
    {"steer, 2 a call, times 32 a call, 1k", ABSOLUTE, "burst2/steer-1k", "times", 2.0, 1.65, NULL},
    {"steer, 4 a call, times 32 a call, 1k", ABSOLUTE, "burst4/steer-1k", "times", 1.6, 1.35, NULL},
    {"steer, 8 a call, times 32 a call, 1k", ABSOLUTE, "burst8/steer-1k", "times", 1.3, 1.15, NULL},
    {"note, 1 a call, times 32 a call, 1k", ABSOLUTE, "burst1/note-1k", "times", 2.6, 2.0, NULL},
    {"note, 2 a call, times 32 a call, 1k", ABSOLUTE, "burst2/note-1k", "times", 2.3, 1.9, NULL},
    {"note, 4 a call, times 32 a call, 1k", ABSOLUTE, "burst4/note-1k", "times", 1.65, 1.45, NULL},
    {"note, 8 a call, times 32 a call, 1k", ABSOLUTE, "burst8/note-1k", "times", 1.3, 1.2, NULL},
    {"single note, times single rx_steer, 1k", ABSOLUTE, "single-note/1k", "times", 1.5, 1.25, NULL},
    {"single note, times single rx_steer, 1M", ABSOLUTE, "single-note/1M", "times", 1.5, 1.25, NULL},
    {"steer32, no flow bound, 1k", FASTER_THAN, "steer32-hit0/v4-1k", "rte_hash", 1.1, 1.25, NULL},
    {"steer32, no flow bound, 64k", FASTER_THAN, "steer32-hit0/v4-64k", "rte_hash", 1.1, 1.25, NULL},
    {"note of one queue, burst, ns", ABSOLUTE, "note32/one-queue", "ns", 1, 0.5, NULL},
    {"note where nothing is learned, burst, ns", ABSOLUTE, "note32/no-learn", "ns", 1, 0.5, NULL},
    {"single call outside a section, ns more", ABSOLUTE, "section/added", "ns", 15, 15, NULL},
    {"4096 vms in a burst, times one vm", ABSOLUTE, "vms/mixed-4096", "times", 1.3, 1.3, NULL},
    {"idle vm, bytes", ABSOLUTE, "vms/idle", "bytes", 16384, 16384, NULL},
    {"bytes of a saved binding, 1M", ABSOLUTE, "state/stream", "B/flow", 24, 21, NULL},
    {"bindings saved, millions a second", AT_LEAST, "state/save", "M/s", 10, 20, NULL},
    {"bindings loaded, millions a second", AT_LEAST, "state/load", "M/s", 10, 20, NULL},
    {"while 1M new flows/s are noted, times", ABSOLUTE, "attack/new-flows", "times", 1.3, 1.3, NULL},
    {"while queues are switched, times", ABSOLUTE, "attack/queues", "times", 1.1, 1.1, NULL},
    {"counting, times without it", ABSOLUTE, "statistics/counted", "times", 1.03, 1.03, NULL},
    {"Toeplitz by tables, 12 bytes", FASTER_THAN, "toeplitz/12", "softrss_be", 6, 8, NULL},
    {"Toeplitz by tables, 36 bytes", FASTER_THAN, "toeplitz/36", "softrss_be", 4, 6, NULL},
    {"Toeplitz with GFNI, 12 bytes", FASTER_THAN, "toeplitz/12", "softrss_be", 6, 20, "flowq-gfni"},
    {"Toeplitz with GFNI, 36 bytes", FASTER_THAN, "toeplitz/36", "softrss_be", 4, 35, "flowq-gfni"},
    {"automatic, times by RSS, 64k", AT_LEAST, "rss/steer32-v4-64k", "times", 1, 1, NULL},
    {"most nested packet, times an ordinary one", ABSOLUTE, "nested/most", "times", 4, 4, NULL},
};

static double added(const struct results *r, const char *contestant, int number)
{
    return series_of(results_find(r, "steer32-str/v4-8M", contestant, "ns"), number) -
           series_of(results_find(r, "steer32-str/v4-1k", contestant, "ns"), number);
}

static const char *us(const struct goal *g) { return g->who ? g->who : "flowq"; }

static double figure_of(const struct results *r, const struct goal *g, int number)
{
    const struct series *ours, *theirs;
    switch (g->kind) {
    case ABSOLUTE:
    case AT_LEAST:
        return series_of(results_find(r, g->workload, "flowq", g->against), number);
    case ADDED:
        return added(r, us(g), number) / added(r, g->against, number);
    default:
        ours = results_find(r, g->workload, us(g), "ns");
        theirs = results_find(r, g->workload, g->against, "ns");
        return g->kind == FASTER_THAN ? series_ratio(theirs, ours, number) : series_ratio(ours, theirs, number);
    }
}

static bool more_is_better(const struct goal *g) { return g->kind == FASTER_THAN || g->kind == AT_LEAST; }

static const char *verdict(const struct goal *g, double value)
{
    double better = more_is_better(g) ? 1 : -1;
    if (isnan(value))
        return "not measured";
    if (better * (value - g->aim) >= 0)
        return "aim";
    if (better * (value - g->must) >= 0)
        return "must";
    bool within = more_is_better(g) ? value * TOLERANCE >= g->must : value <= g->must * TOLERANCE;
    return within ? "must, within 5 %" : MISSED;
}

void goals_each(const struct results *r, void (*fn)(void *ctx, const struct goal_result *result), void *ctx)
{
    for (size_t i = 0; i < sizeof(goals) / sizeof(*goals); i++) {
        const struct goal *g = &goals[i];
        struct goal_result result = {
            .figure = g->figure, .must = g->must, .aim = g->aim, .ours = NAN, .theirs = NAN, .against = ""};
        double value[MAX_PROCESSES];
        size_t n = 0;
        for (unsigned p = 0; p < r->processes && n < MAX_PROCESSES; p++) {
            double v = figure_of(r, g, (int)p);
            if (!isnan(v))
                value[n++] = v;
        }
        result.value = median(value, n); /* sorts them */
        result.min = n ? value[0] : NAN;
        result.max = n ? value[n - 1] : NAN;
        result.verdict = verdict(g, result.value);
        if (g->kind == FASTER_THAN || g->kind == SLOWER_THAN) {
            result.ours = series_median(results_find(r, g->workload, us(g), "ns"));
            result.theirs = series_median(results_find(r, g->workload, g->against, "ns"));
            result.against = g->against;
        } else if (g->kind == ADDED) {
            result.ours = added(r, us(g), -1);
            result.theirs = added(r, g->against, -1);
            result.against = g->against;
        }
        fn(ctx, &result);
    }
}

static void print(void *ctx, const struct goal_result *g)
{
    (void)ctx;
    if (isnan(g->value)) {
        printf("%-42s %7s %17s %6.4g %6.4g  %s\n", g->figure, "-", "", g->must, g->aim, g->verdict);
        return;
    }
    printf("%-42s %7.4g %7.4g - %7.4g %6.5g %6.5g  %-16s", g->figure, g->value, g->min, g->max, g->must, g->aim, g->verdict);
    if (!isnan(g->ours))
        printf("  %.1f ns, %s %.1f ns", g->ours, g->against, g->theirs);
    printf("\n");
}

static void count_missed(void *ctx, const struct goal_result *g) { *(unsigned *)ctx += strcmp(g->verdict, MISSED) == 0; }

unsigned goals_missed(const struct results *r)
{
    unsigned n = 0;
    goals_each(r, count_missed, &n);
    return n;
}

void goals_print(const struct results *r)
{
    printf("%-42s %7s %17s %6s %6s  %s\n", "figure", "value", "of the processes", "must", "aim", "verdict");
    goals_each(r, print, NULL);
    printf("\nmusts missed by more than 5 %%: %u\n", goals_missed(r));
}
