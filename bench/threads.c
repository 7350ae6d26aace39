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

/* The part of a stream whose flows one of n threads has for itself. */
static struct stream part[MAX_WORKERS];

static void set(unsigned i, const struct entrant *e, const struct stream *s, size_t (*work)(struct worker *w), unsigned n)
{
    crew.worker[i] = (struct worker){.entrant = e, .stream = s, .work = work, .at = s->n / n * i};
}

/* Whole rounds of bursts to all queues, as work_note() wants them. */
static void set_own(unsigned i, const struct entrant *e, const struct stream *s, unsigned n)
{
    size_t size = s->n / n / CHUNK * CHUNK;
    part[i] = (struct stream){.n = size, .pkts = s->pkts + size * i};
    crew.worker[i] = (struct worker){.entrant = e, .stream = &part[i], .work = work_note};
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

enum mix { STEER, NOTE_AND_STEER, NOTE_SHARED, NOTE_OWN };

/* All that note have the same flows, but NOTE_OWN: each its own. */
static void measure(const struct entrant *e, const struct stream *in, const struct stream *out, unsigned n, enum mix mix,
                    unsigned rep, bool goal)
{
    static const char *const two[] = {"steer+steer", "note+steer", "note+note", "note+note-own"};
    static const char *const many[] = {"steer", "", "note", "note-own"};
    char workload[48];
    if (n == 2)
        snprintf(workload, sizeof(workload), "threads/%s", two[mix]);
    else
        snprintf(workload, sizeof(workload), "threads/%s-%u", many[mix], n);
    if (!wanted(workload, goal) || out->n / n < CHUNK)
        return;
    crew.n = n;
    for (unsigned i = 0; i < n; i++) {
        bool notes = mix == NOTE_SHARED || (mix == NOTE_AND_STEER && i == 0);
        if (mix == NOTE_OWN)
            set_own(i, e, out, n);
        else
            set(i, e, notes ? out : in, notes ? work_note : work_steer, n);
    }
    sample(workload, e->is->name, "times", times_one(rep));
}

/* 4, 8 ... threads, up to one for each processor. ck_ht takes one writer only, so with its like only steering is compared. */
static void measure_many(const struct entrant *e, const struct stream *in, const struct stream *out, unsigned rep)
{
    for (unsigned n = 4; n < 2 * process.n_cpus; n *= 2) {
        unsigned threads = n < process.n_cpus ? n : process.n_cpus;
        if (threads <= 2)
            continue;
        measure(e, in, out, threads, STEER, rep, false);
        if (e->is != &with_flowq)
            continue;
        measure(e, in, out, threads, NOTE_SHARED, rep, false);
        measure(e, in, out, threads, NOTE_OWN, rep, false);
    }
}

static void measure_all(const struct entrant *e, const struct stream *in, const struct stream *out, unsigned rep)
{
    bool ours = e->is == &with_flowq;
    measure(e, in, out, 2, STEER, rep, ours);
    measure(e, in, out, 2, NOTE_AND_STEER, rep, ours);
    if (ours) {
        measure(e, in, out, 2, NOTE_SHARED, rep, false);
        measure(e, in, out, 2, NOTE_OWN, rep, false);
    }
    measure_many(e, in, out, rep);
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
