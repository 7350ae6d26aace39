/*
 * sched: runs threads of real code one at a time, in an order that a seed decides.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The code under test is compiled with -DFLOWQ_SCHED, which makes every access to a shared word a call of the scheduler
 * (lib/atomic.h). The threads are real ones, with thread-local storage and all, but only the one that has the baton runs. It
 * keeps the baton until it ends, until it gives up waiting for another (sched_give_up), or until a preemption: a seed gives each
 * thread a priority and chooses a few yield points where priorities change; the highest goes on. A bug that takes d preemptions
 * in the right places is found with a probability that depends on d and on how long a run is, not on how many orders there are
 * (Burckhardt, Kothari, Musuvathi, Nagarakatte, A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs, 2010), and
 * the seed repeats it.
 *
 * What a load sees is chosen by the seed, too, among the stores that C11 allows it to see; and what is not ordered at all is
 * found, as a data race: weak.h.
 *
 *     static const struct sched_scenario lost_update = {
 *         .name = "lost update", .n_threads = 2, .thread = {add_one, add_one}, .setup = zero, .check = is_two,
 *     };
 *     uint64_t bad;
 *     if (!sched_explore(&lost_update, &counter, seed_from_environment(), 20000, &bad))
 *         sched_print(stderr);      // name, seed, what failed, who ran when; sched_run(&lost_update, &counter, bad) repeats it
 *
 * A seed repeats a run only if setup() makes the same state every time. What a scenario leaves in the epochs is such state: let
 * setup() call flowq_synchronize() if the threads open sections or retire memory.
 */
#ifndef FLOWQ_TESTS_SCHED_H
#define FLOWQ_TESTS_SCHED_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define SCHED_MAX_THREADS 8
#define SCHED_PREEMPTIONS 3 /* default of max_preemptions: most concurrency bugs need one or two */

struct sched_scenario {
    const char *name;
    unsigned n_threads;                           /* 1 to SCHED_MAX_THREADS */
    void (*thread[SCHED_MAX_THREADS])(void *ctx); /* what each does */
    void (*setup)(void *ctx);                     /* before each run, on the caller's thread; may be NULL */
    bool (*check)(void *ctx);                     /* after each run, on the caller's thread: was it right? May be NULL */
    unsigned max_preemptions;                     /* 0: SCHED_PREEMPTIONS. A run has up to so many, the seed says how many */
    bool of_every;                                /* for sched_explore_every(), and for sched_run() with a seed from there */
    unsigned all_lag; /* with that: threads see old stores where they can, other ones for each number; 0: nobody does */
};

/* One run. Returns true if neither check() nor a SCHED_CHECK failed. One at a time in a process. */
bool sched_run(const struct sched_scenario *scenario, void *ctx, uint64_t seed);

/* Runs with the seeds first, first + 1 ..., n of them or until one fails: then false, its seed in *failed (may be NULL). */
bool sched_explore(const struct sched_scenario *scenario, void *ctx, uint64_t first, uint64_t n, uint64_t *failed);

/*
 * Each run of two threads there is in which the first one stops at one of its steps, the other one then runs to one of its own
 * (to its end, if max_preemptions is 1), and the first one goes on to its end: as many runs as the product of their steps. A
 * `step` of n takes every n-th of each, beginning as `first` says. The scenario is marked of_every. What it takes both threads to
 * be at one step for is found for certain here; by seeds once in as many runs, and more.
 */
bool sched_explore_every(const struct sched_scenario *scenario, void *ctx, uint64_t first, unsigned step, uint64_t *failed);

/* About the run that is going on, or was the last: who is asking (0 to n_threads - 1); steps taken; all of it as text. */
unsigned sched_self(void);
uint64_t sched_points(void);
void sched_print(FILE *f);

/* In a thread or in check(): the run fails if cond is false, and goes on. The first one is remembered. */
#define SCHED_CHECK(cond) ((cond) ? (void)0 : sched_fail(__FILE__, __LINE__, #cond))
void sched_fail(const char *file, int line, const char *what);

/*
 * What lib/atomic.h calls, which declares the rest of it; without effect on threads that are not in a run. A scenario may call
 * these at steps of its own. When it draws a conclusion from what another thread has done (its call has returned, so mine must
 * see what it did), it says so by a pair of calls: that one released a key, this one acquires it. The key is any address.
 */
void sched_point(void);
void sched_give_up(void);
void sched_release(const void *key);
void sched_acquire(const void *key);

#endif
