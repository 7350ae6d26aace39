/* workers: see workers.h. SPDX-License-Identifier: BSD-2-Clause */
#include "workers.h"

#include <sched.h>
#include <time.h>

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct crew *crew = w->crew;
    const struct contestant *is = w->entrant->is;
    uint64_t n = 0;
    pin(w->cpu);
    if (is->thread_begin)
        is->thread_begin();
    w->work(w); /* warms up */
    atomic_fetch_add(&crew->n_ready, 1);
    while (!atomic_load(&crew->go))
        sched_yield();
    double start = cpu_ns();
    do
        n += w->work(w);
    while (!atomic_load_explicit(&crew->stop, memory_order_relaxed));
    w->ns = (cpu_ns() - start) / (double)n;
    if (is->thread_end)
        is->thread_end();
    return NULL;
}

void crew_run(struct crew *crew, unsigned ms)
{
    struct timespec nap = {.tv_nsec = 200000}, time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    unsigned n = 0;
    atomic_store(&crew->n_ready, 0);
    atomic_store(&crew->go, false);
    atomic_store(&crew->stop, false);
    for (unsigned i = 0; i < crew->n; i++) {
        struct worker *w = &crew->worker[i];
        w->crew = crew;
        w->cpu = process.cpu[i % process.n_cpus];
        if (w->idle)
            continue;
        n++;
        if (pthread_create(&w->thread, NULL, worker_main, w) != 0)
            fail("cannot make a thread");
    }
    while (atomic_load(&crew->n_ready) < n)
        nanosleep(&nap, NULL);
    atomic_store(&crew->go, true);
    nanosleep(&time, NULL);
    atomic_store(&crew->stop, true);
    for (unsigned i = 0; i < crew->n; i++)
        if (!crew->worker[i].idle)
            pthread_join(crew->worker[i].thread, NULL);
}

static size_t next_chunk(struct worker *w)
{
    size_t from = w->at % (w->stream->n - CHUNK + 1);
    from -= from % ((size_t)BURST * QUEUES);
    w->at = from + CHUNK;
    return from;
}

size_t work_steer(struct worker *w)
{
    keep(w->entrant->is->steer(w->entrant->table, w->stream->pkts + next_chunk(w), CHUNK));
    return CHUNK;
}

size_t work_note(struct worker *w)
{
    size_t from = next_chunk(w);
    w->entrant->is->note(w->entrant->table, w->stream->pkts + from, CHUNK, flow_queue(from), 1);
    return CHUNK;
}
