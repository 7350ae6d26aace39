/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The baton is a futex per thread: `go` is set by whoever hands it over and cleared by who takes it. Everything in `run` belongs
 * to who has the baton (the caller of sched_run() before and after), so nothing else is atomic. The threads are kept from run to
 * run, and share one processor with the caller during sched_explore(): handing over is then one context switch, and takes about 2
 * us.
 */
#include "sched.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "seed.h"
#include "weak.h"

#define MAX_PREEMPTIONS  64
#define MAX_SWITCHES     256           /* remembered for sched_print() */
#define MIN_HORIZON_BITS 2             /* preemptions fall on the first 2^2 ... */
#define MAX_HORIZON_BITS 12            /* ... to 2^12 yield points of a run, each magnitude as often */
#define GIVE_UPS_MAX     (1000 * 1000) /* so many in one run mean that the threads wait for each other */
#define CALLER           SCHED_MAX_THREADS

struct worker {
    _Alignas(64) atomic_uint go;
    unsigned index;
    pthread_t id;
};

static struct worker workers[SCHED_MAX_THREADS + 1]; /* the last is the caller of sched_run() */
static unsigned n_workers;
static pid_t pool_pid; /* whose threads these are: a child of fork() makes its own */
static _Thread_local struct worker *self;

static struct {
    const struct sched_scenario *scenario;
    void *ctx;
    uint64_t seed;
    struct rng rng;
    uint64_t points, next; /* yield points passed; at which to preempt, UINT64_MAX: none */
    uint64_t preempt_at[MAX_PREEMPTIONS];
    unsigned n_preemptions, done_preemptions;
    bool in_vain; /* a preemption that left the same thread running, or came when the first one had ended */
    int priority[SCHED_MAX_THREADS], lowest, highest;
    bool alive[SCHED_MAX_THREADS];
    uint64_t give_ups;
    const char *file, *what; /* the first failure */
    int line;
    struct {
        uint64_t point;
        unsigned to;
    } switched[MAX_SWITCHES];
    unsigned n_switched;
} run;

/* ---- The baton ------------------------------------------------------------------------------------------------------------- */

/* glibc says of syscall() that it calls nothing back (attribute leaf), from which gcc concludes with -flto that no static
   variable has changed meanwhile, be it with an acquire load behind it. Of what is called through this pointer it knows
   nothing. */
static long (*volatile call_kernel)(long number, ...) = syscall;

static void take_baton(struct worker *w)
{
    while (atomic_load_explicit(&w->go, memory_order_acquire) == 0)
        call_kernel(SYS_futex, &w->go, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    atomic_store_explicit(&w->go, 0, memory_order_relaxed);
}

static void hand_baton(unsigned to)
{
    if (run.n_switched < MAX_SWITCHES) {
        run.switched[run.n_switched].point = run.points;
        run.switched[run.n_switched].to = to;
    }
    run.n_switched++;
    atomic_store_explicit(&workers[to].go, 1, memory_order_release);
    syscall(SYS_futex, &workers[to].go, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* The living thread of the highest priority; CALLER if none is left. */
static unsigned best(void)
{
    unsigned b = CALLER;

    for (unsigned i = 0; i < run.scenario->n_threads; i++)
        if (run.alive[i] && (b == CALLER || run.priority[i] > run.priority[b]))
            b = i;
    return b;
}

/* The thread of the highest priority goes on, be it another. */
static void pass_baton(void)
{
    struct worker *w = self;
    unsigned to = best();

    if (to == w->index)
        return;
    hand_baton(to);
    take_baton(w);
}

/* Half of the preemptions lower the one that runs below all others, half raise any one above all: so every order can come. */
static void preempt(void)
{
    if (run.scenario->of_every && run.alive[0] + run.alive[1] < 2)
        run.in_vain = true;
    if (run.scenario->of_every || rng_percent(&run.rng, 50))
        run.priority[self->index] = --run.lowest;
    else
        run.priority[rng_below(&run.rng, run.scenario->n_threads)] = ++run.highest;
    pass_baton();
}

void sched_point(void)
{
    if (self == NULL || ++run.points < run.next)
        return;
    run.done_preemptions++;
    run.next = run.done_preemptions < run.n_preemptions ? run.preempt_at[run.done_preemptions] : UINT64_MAX;
    preempt();
}

void sched_give_up(void)
{
    if (self == NULL) {
        sched_yield();
        return;
    }
    run.points++;
    if (++run.give_ups > GIVE_UPS_MAX) {
        sched_fail(__FILE__, __LINE__, "the threads wait for each other");
        sched_print(stderr);
        abort();
    }
    weak_waited(self->index);
    run.priority[self->index] = --run.lowest;
    pass_baton();
}

static void *work(void *arg)
{
    struct worker *w = arg;

    weak_know_stack();
    for (;;) {
        take_baton(w);
        self = w;
        run.scenario->thread[w->index](run.ctx);
        self = NULL;
        run.alive[w->index] = false;
        hand_baton(best());
    }
    return NULL;
}

static void need_workers(unsigned n)
{
    if (pool_pid != getpid()) {
        memset(workers, 0, sizeof workers);
        n_workers = 0;
        pool_pid = getpid();
    }
    for (; n_workers < n; n_workers++) {
        struct worker *w = &workers[n_workers];

        w->index = n_workers;
        if (pthread_create(&w->id, NULL, work, w) != 0) {
            perror("pthread_create");
            abort();
        }
    }
}

/* ---- Runs ------------------------------------------------------------------------------------------------------------------ */

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Of sched_explore_every(): where the first thread is to stop, and where the other one is; 0: nowhere. */
#define EVERY_BITS 31
#define EVERY_MASK ((UINT64_C(1) << EVERY_BITS) - 1)

static void plan_one_of_every(void)
{
    run.alive[0] = run.alive[1] = true;
    run.priority[0] = run.highest = 1;
    run.preempt_at[0] = run.next = run.seed >> EVERY_BITS;
    run.preempt_at[1] = run.seed & EVERY_MASK;
    run.n_preemptions = run.preempt_at[1] ? 2 : 1;
}

/* Priorities are a random order of the threads; preemptions a random number of random points, within a random horizon. */
static void plan(void)
{
    unsigned n = run.scenario->n_threads, max = run.scenario->max_preemptions;
    uint32_t horizon = 1u << rng_range(&run.rng, MIN_HORIZON_BITS, MAX_HORIZON_BITS);

    for (unsigned i = 0; i < n; i++) {
        unsigned j = rng_below(&run.rng, i + 1);

        run.priority[i] = run.priority[j];
        run.priority[j] = (int)i;
        run.alive[i] = true;
    }
    run.highest = (int)n;
    max = max == 0 ? SCHED_PREEMPTIONS : max;
    run.n_preemptions = rng_range(&run.rng, 0, max < MAX_PREEMPTIONS ? max : MAX_PREEMPTIONS);
    for (unsigned i = 0; i < run.n_preemptions; i++)
        run.preempt_at[i] = rng_range(&run.rng, 1, horizon);
    qsort(run.preempt_at, run.n_preemptions, sizeof run.preempt_at[0], by_value);
    run.next = run.n_preemptions > 0 ? run.preempt_at[0] : UINT64_MAX;
}

bool sched_run(const struct sched_scenario *scenario, void *ctx, uint64_t seed)
{
    need_workers(scenario->n_threads);
    memset(&run, 0, sizeof run);
    run.scenario = scenario;
    run.ctx = ctx;
    run.seed = run.rng.state = seed;
    if (scenario->of_every)
        plan_one_of_every();
    else
        plan();
    if (scenario->setup != NULL)
        scenario->setup(ctx);
    weak_begin(seed ^ (uint64_t)scenario->all_lag << 32, scenario->n_threads,
               scenario->all_lag    ? WEAK_ALL
               : scenario->of_every ? WEAK_NOBODY
                                    : WEAK_SOME);
    hand_baton(best());
    take_baton(&workers[CALLER]);
    weak_end();
    if (scenario->check != NULL && !scenario->check(ctx) && run.what == NULL)
        run.what = "check() said no";
    return run.what == NULL;
}

/* Puts the calling thread and the workers on the processor it is on now; *was gets where the caller may run otherwise. */
static void share_processor(unsigned n, cpu_set_t *was)
{
    int cpu = sched_getcpu();
    cpu_set_t one;

    need_workers(n);
    pthread_getaffinity_np(pthread_self(), sizeof *was, was);
    if (cpu < 0)
        return;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    pthread_setaffinity_np(pthread_self(), sizeof one, &one);
    for (unsigned i = 0; i < n_workers; i++)
        pthread_setaffinity_np(workers[i].id, sizeof one, &one);
}

bool sched_explore(const struct sched_scenario *scenario, void *ctx, uint64_t first, uint64_t n, uint64_t *failed)
{
    cpu_set_t was;
    uint64_t i;

    share_processor(scenario->n_threads, &was);
    for (i = 0; i < n && sched_run(scenario, ctx, first + i); i++)
        ;
    pthread_setaffinity_np(pthread_self(), sizeof was, &was);
    if (i < n && failed != NULL)
        *failed = first + i;
    return i == n;
}

bool sched_explore_every(const struct sched_scenario *scenario, void *ctx, uint64_t first, unsigned step, uint64_t *failed)
{
    cpu_set_t was;
    bool held = true, first_stopped = true, other_stopped;

    share_processor(scenario->n_threads, &was);
    for (uint64_t i = 1 + first % step; held && first_stopped; i += step) {
        uint64_t j = scenario->max_preemptions == 1 ? 0 : i + 1 + first / step % step;
        do {
            uint64_t seed = i << EVERY_BITS | j;
            held = sched_run(scenario, ctx, seed);
            if (!held && failed != NULL)
                *failed = seed;
            other_stopped = run.done_preemptions == 2 && !run.in_vain;
            first_stopped = run.done_preemptions == 2 || (run.done_preemptions == 1 && !run.in_vain);
            j += step;
        } while (held && other_stopped);
    }
    pthread_setaffinity_np(pthread_self(), sizeof was, &was);
    return held;
}

/* ---- About a run ----------------------------------------------------------------------------------------------------------- */

unsigned sched_self(void) { return self != NULL ? self->index : CALLER; }

uint64_t sched_points(void) { return run.points; }

void sched_fail(const char *file, int line, const char *what)
{
    if (run.what != NULL)
        return;
    run.file = file;
    run.line = line;
    run.what = what;
}

void sched_print(FILE *f)
{
    unsigned n = run.n_switched < MAX_SWITCHES ? run.n_switched : MAX_SWITCHES;

    fprintf(f, "%s, seed %llu: %llu steps, %u of %u preemptions\n", run.scenario->name, (unsigned long long)run.seed,
            (unsigned long long)run.points, run.done_preemptions, run.n_preemptions);
    if (run.what != NULL)
        fprintf(f, "    failed: %s (%s:%d)\n", run.what, run.file != NULL ? run.file : "-", run.line);
    for (unsigned i = 0; i < n; i++) {
        if (run.switched[i].to == CALLER)
            fprintf(f, "    after step %llu: the end\n", (unsigned long long)run.switched[i].point);
        else
            fprintf(f, "    after step %llu: thread %u\n", (unsigned long long)run.switched[i].point, run.switched[i].to);
    }
}
