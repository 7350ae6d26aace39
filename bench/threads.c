/*
 * threads: what several threads get done together, as a multiple of what one of them does alone. CPU times: ns per packet of each
 * thread alone over ns per packet while the others work, added up over the threads. All flows are bound, to all tables alike.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "workers.h"

#include <stdio.h>

enum { N_FLOWS = 1 << 20, MS = 60, REPS = 10 };

static struct crew crew;

static void set(unsigned i, const struct entrant *e, const struct stream *s, size_t (*work)(struct worker *w), unsigned n)
{
    crew.worker[i] = (struct worker){.entrant = e, .stream = s, .work = work, .at = s->n / n * i};
}

static void run(unsigned first, unsigned n)
{
    for (unsigned j = 0; j < crew.n; j++)
        crew.worker[j].idle = j < first || j >= first + n;
    crew_run(&crew, process.quick ? 5 : MS);
}

/* One repetition: each alone, and all; in turn the one and the other come first. */
static double times_one(unsigned rep)
{
    double alone[MAX_WORKERS], together[MAX_WORKERS], times = 0;
    for (unsigned half = 0; half < 2; half++) {
        if (half == rep % 2) {
            run(0, crew.n);
            for (unsigned i = 0; i < crew.n; i++)
                together[i] = crew.worker[i].ns;
            continue;
        }
        for (unsigned i = 0; i < crew.n; i++) {
            run(i, 1);
            alone[i] = crew.worker[i].ns;
        }
    }
    for (unsigned i = 0; i < crew.n; i++)
        times += alone[i] / together[i];
    return times;
}

/* n threads, of which n_notes note. */
static void measure(const struct entrant *e, const struct stream *in, const struct stream *out, unsigned n, unsigned n_notes,
                    unsigned rep, bool goal)
{
    char workload[48];
    if (n == 2)
        snprintf(workload, sizeof(workload), "threads/%s",
                 n_notes == 0   ? "steer+steer"
                 : n_notes == 1 ? "note+steer"
                                : "note+note");
    else
        snprintf(workload, sizeof(workload), "threads/%s-%u", n_notes ? "note" : "steer", n);
    if (!wanted(workload, goal))
        return;
    crew.n = n;
    for (unsigned i = 0; i < n; i++)
        set(i, e, i < n_notes ? out : in, i < n_notes ? work_note : work_steer, n);
    sample(workload, e->is->name, "times", times_one(rep));
}

/* All the same flows for those who note, too: see work_note(). */
static void measure_all(const struct entrant *e, const struct stream *in, const struct stream *out, unsigned rep)
{
    bool ours = e->is == &with_flowq;
    measure(e, in, out, 2, 0, rep, ours);
    measure(e, in, out, 2, 1, rep, ours);
    if (!ours)
        return;
    measure(e, in, out, 2, 2, rep, false);
    for (unsigned n = 4; n < 2 * process.n_cpus; n *= 2) {
        unsigned threads = n < process.n_cpus ? n : process.n_cpus;
        if (threads > 2)
            measure(e, in, out, threads, 0, rep, false);
        if (threads > 2)
            measure(e, in, out, threads, threads, rep, false);
    }
}

void run_threads(void)
{
    struct shape shape = {.version = 4, .n_flows = process.quick ? 1 << 16 : N_FLOWS};
    struct entrant entrant[16];
    unsigned n = 0;
    shape.slots = 2 * shape.n_flows;
    if (!wanted_group("threads/", true))
        return;
    if (process.n_cpus < 2) {
        remark("one processor: no figures for threads");
        return;
    }
    uint64_t state = 4;
    uint32_t *in_ids = huge_alloc(shape.n_flows * sizeof(*in_ids)), *out_ids = huge_alloc(shape.n_flows * sizeof(*out_ids));
    choose_uniform(in_ids, shape.n_flows, shape.n_flows, &state);
    choose_all(out_ids, shape.n_flows, shape.n_flows);
    struct stream in = stream_make(4, INCOMING, IN_SEQUENCE, in_ids, shape.n_flows);
    struct stream out = stream_make(4, OUTGOING, IN_SEQUENCE, out_ids, shape.n_flows);
    for (unsigned i = 0; contestants[i]; i++) {
        const struct contestant *c = contestants[i];
        if (!c->note || c->most_flows || (c != &with_flowq && process.goals))
            continue;
        entrant[n] = (struct entrant){.is = c, .table = c->create(&shape)};
        if (!entrant[n].table)
            continue;
        c->note(entrant[n].table, out.pkts, shape.n_flows, 0, 1);
        if (c->settle)
            c->settle(entrant[n].table);
        n++;
    }
    for (unsigned rep = 0; rep < repetitions(REPS); rep++)
        for (unsigned i = 0; i < n; i++)
            measure_all(&entrant[i], &in, &out, rep);
    for (unsigned i = 0; i < n; i++)
        entrant[i].is->destroy(entrant[i].table);
    stream_free(&in);
    stream_free(&out);
}
