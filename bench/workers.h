/*
 * workers: threads that do their work until they are told to stop, each on a processor of its own.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_BENCH_WORKERS_H
#define FLOWQ_BENCH_WORKERS_H

#include "bench.h"

#include <pthread.h>
#include <stdatomic.h>

enum { MAX_WORKERS = 64, CHUNK = 4096 };

struct worker {
    /* Does about CHUNK packets, and says how many. */
    size_t (*work)(struct worker *w);
    const struct entrant *entrant;
    const struct stream *stream;
    size_t at;        /* next packet; where to begin */
    const void *more; /* what the work wants to know */
    uint64_t state;
    bool idle; /* takes no part this time */
    double ns; /* out: CPU time per packet */

    pthread_t thread;
    int cpu;
    struct crew *crew;
};

struct crew {
    struct worker worker[MAX_WORKERS];
    unsigned n;
    atomic_uint n_ready;
    atomic_bool go, stop;
};

/* All that are not idle work at the same time, for so many milliseconds. */
void crew_run(struct crew *crew, unsigned ms);

/* Work: steer; refresh. */
size_t work_steer(struct worker *w);
size_t work_note(struct worker *w);

#endif
