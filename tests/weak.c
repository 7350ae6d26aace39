/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * weak: see weak.h. Everything here belongs to who has the baton, as in sched.c. All of a run is kept in arrays of fixed size; a
 * run that outgrows them goes on as if nobody lagged.
 */
#include "weak.h"

#include <string.h>

#include "atomic.h"
#include "races.h"
#include "seed.h"

#define THREADS      SCHED_MAX_THREADS
#define NOBODY       THREADS /* before the run, or a plain store: who may see it at all has to see it */
#define MAX_WORDS    4096
#define MAX_MESSAGES (1u << 16)
#define MAX_VIEWS    (1u << 23) /* times, of all views together */
#define MAX_TIME     UINT16_MAX
#define HASH_SIZE    (4 * MAX_WORDS)
#define LAG_MOST     90 /* of 100 loads */
#define FRESH_LOADS  4  /* after waiting: the lock, and what it tells of */

/* One store. */
struct message {
    uint64_t value;
    const uint16_t *view; /* what who acquires it must see, of the first n_view words; NULL: nothing */
    uint32_t older;       /* the store before it to this word; 0: none */
    uint16_t n_view;
    uint16_t time;  /* how many came before it */
    uint16_t clock; /* its thread's */
    uint8_t thread;
    bool released; /* by a release: then who has seen this clock has acquired it */
    struct clocks before;
};

struct word {
    const void *at;
    uint32_t newest;
    uint16_t oldest_time; /* of what can be read at all */
    uint8_t bytes;
    bool renewed; /* its memory was allocated since */
};

struct thread {
    uint16_t view[MAX_WORDS];
    uint16_t pending[MAX_WORDS]; /* what relaxed loads would have acquired: for an acquire fence */
    struct clocks before, pending_before;
    const uint16_t *released; /* the view at the last release fence */
    uint16_t n_released;
    struct clocks released_before;
    unsigned lag; /* how many of 100 loads may be of an older store */
    unsigned fresh;
};

bool weak_on;

static struct {
    struct rng rng;
    uint32_t n_words, n_messages, n_views;
    struct thread thread[THREADS];
    uint16_t seq_cst[MAX_WORDS]; /* the last such access */
    struct word word[MAX_WORDS];
    struct message message[MAX_MESSAGES];
    uint16_t views[MAX_VIEWS];
    uint32_t run, hash_run[HASH_SIZE];
    uint16_t hash[HASH_SIZE];
} weak;

/* ---- Memory itself --------------------------------------------------------------------------------------------------------- */

static uint64_t memory_load(const void *at, unsigned bytes)
{
    switch (bytes) {
    case 0: /* a key: nobody's memory */
        return 0;
    case 1:
        return atomic_load((const _Atomic(uint8_t) *)at);
    case 2:
        return atomic_load((const _Atomic(uint16_t) *)at);
    case 4:
        return atomic_load((const _Atomic(uint32_t) *)at);
    default:
        return atomic_load((const _Atomic(uint64_t) *)at);
    }
}

/* As atomic_compare_exchange_strong(); expected: as many bytes. */
static bool memory_cas(void *at, unsigned bytes, void *expected, uint64_t desired)
{
    switch (bytes) {
    case 1:
        return atomic_compare_exchange_strong((_Atomic(uint8_t) *)at, (uint8_t *)expected, (uint8_t)desired);
    case 2:
        return atomic_compare_exchange_strong((_Atomic(uint16_t) *)at, (uint16_t *)expected, (uint16_t)desired);
    case 4:
        return atomic_compare_exchange_strong((_Atomic(uint32_t) *)at, (uint32_t *)expected, (uint32_t)desired);
    default:
        return atomic_compare_exchange_strong((_Atomic(uint64_t) *)at, (uint64_t *)expected, desired);
    }
}

static void plain_store(void *at, unsigned bytes, uint64_t value)
{
    const uint8_t one = (uint8_t)value;
    const uint16_t two = (uint16_t)value;
    const uint32_t four = (uint32_t)value;
    memcpy(at,
           bytes == 1   ? (const void *)&one
           : bytes == 2 ? (const void *)&two
           : bytes == 4 ? (const void *)&four
                        : &value,
           bytes);
}

/* verb: '=', '+', '-', '|', '&' */
static uint64_t changed(uint64_t was, char verb, uint64_t by)
{
    switch (verb) {
    case '+':
        return was + by;
    case '-':
        return was - by;
    case '|':
        return was | by;
    case '&':
        return was & by;
    default:
        return by;
    }
}

/* In a run nobody else is there; outside, threads may be. */
static uint64_t memory_change(void *at, unsigned bytes, char verb, uint64_t by)
{
    uint64_t was = memory_load(at, bytes), seen;
    uint8_t expected[sizeof(seen)];
    do {
        was = memory_load(at, bytes);
        plain_store(expected, bytes, was);
    } while (!memory_cas(at, bytes, expected, changed(was, verb, by)));
    return was;
}

/* ---- Views ----------------------------------------------------------------------------------------------------------------- */

static void see_clocks(struct clocks *c, const struct clocks *more)
{
    for (unsigned i = 0; i < THREADS; i++)
        c->of[i] = more->of[i] > c->of[i] ? more->of[i] : c->of[i];
}

static void see_view(uint16_t *view, const uint16_t *more, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        view[i] = more[i] > view[i] ? more[i] : view[i];
}

/* A copy that stays as it is; NULL, and the run goes on without lags: there is no room. */
static uint16_t *keep_view(const uint16_t *view)
{
    uint16_t *copy = weak.views + weak.n_views;
    if (weak.n_views + weak.n_words > MAX_VIEWS) {
        weak_on = false;
        return NULL;
    }
    weak.n_views += weak.n_words;
    memcpy(copy, view, weak.n_words * sizeof(*copy));
    return copy;
}

static struct message *new_message(struct word *w, uint64_t value, unsigned thread)
{
    struct message *m = &weak.message[weak.n_messages], *older = &weak.message[w->newest];
    memset(m, 0, sizeof(*m));
    m->value = value;
    m->older = w->newest;
    m->time = w->newest ? (uint16_t)(older->time + 1) : 0;
    m->thread = (uint8_t)thread;
    w->newest = weak.n_messages++;
    if (weak.n_messages == MAX_MESSAGES || m->time == MAX_TIME)
        weak_on = false;
    return m;
}

/* ---- Words ----------------------------------------------------------------------------------------------------------------- */

/* Memory that was stored to other than through lib/atomic.h has no history: who may see it has to see that. */
static void begin_history(struct word *w, uint64_t value)
{
    struct message *m = new_message(w, value, NOBODY);
    w->oldest_time = m->time;
    w->renewed = false;
}

static struct word *find_word(const void *at, unsigned bytes)
{
    uint32_t h = (uint32_t)(((uintptr_t)at * UINT64_C(0x9e3779b97f4a7c15)) >> 40) % HASH_SIZE;
    uint64_t value = memory_load(at, bytes);
    struct word *w;
    for (; weak.hash_run[h] == weak.run; h = (h + 1) % HASH_SIZE) {
        w = &weak.word[weak.hash[h]];
        if (w->at != at)
            continue;
        if (w->renewed || weak.message[w->newest].value != value || w->bytes != bytes)
            begin_history(w, value);
        w->bytes = (uint8_t)bytes;
        return w;
    }
    if (weak.n_words == MAX_WORDS - 1)
        weak_on = false;
    weak.hash_run[h] = weak.run;
    weak.hash[h] = (uint16_t)weak.n_words;
    w = &weak.word[weak.n_words++];
    *w = (struct word){.at = at, .bytes = (uint8_t)bytes};
    begin_history(w, value);
    return w;
}

static unsigned index_of(const struct word *w) { return (unsigned)(w - weak.word); }

/* ---- Which store a load takes ---------------------------------------------------------------------------------------------- */

static bool acquires(memory_order order) { return order != memory_order_relaxed && order != memory_order_release; }
static bool releases(memory_order order)
{
    return order == memory_order_release || order == memory_order_acq_rel || order == memory_order_seq_cst;
}

static uint16_t least_time(const struct thread *t, const struct word *w, memory_order order)
{
    unsigned i = index_of(w);
    uint16_t least = t->view[i] > w->oldest_time ? t->view[i] : w->oldest_time;
    return order == memory_order_seq_cst && weak.seq_cst[i] > least ? weak.seq_cst[i] : least;
}

/* As often the oldest as any. */
static struct message *choose(struct thread *t, const struct word *w, memory_order order)
{
    struct message *m = &weak.message[w->newest];
    unsigned n = m->time - least_time(t, w, order);
    if (n == 0)
        return m;
    if (t->fresh > 0) {
        t->fresh--;
        return m;
    }
    if (!rng_percent(&weak.rng, t->lag))
        return m;
    if (rng_percent(&weak.rng, 50))
        n = rng_range(&weak.rng, 0, n);
    for (; n > 0; n--)
        m = &weak.message[m->older];
    return m;
}

static void read_from(struct thread *t, const struct word *w, const struct message *m, memory_order order)
{
    unsigned i = index_of(w);
    if (m->time > t->view[i])
        t->view[i] = m->time;
    if (order == memory_order_seq_cst && m->time > weak.seq_cst[i])
        weak.seq_cst[i] = m->time;
    if (m->view == NULL || (m->released && t->before.of[m->thread] >= m->clock))
        return;
    see_view(acquires(order) ? t->view : t->pending, m->view, m->n_view);
    see_clocks(acquires(order) ? &t->before : &t->pending_before, &m->before);
}

/* ---- Stores ---------------------------------------------------------------------------------------------------------------- */

/* What the store tells of: with release, all that the thread knows; else, what it knew at its last release fence. */
static void attach(struct thread *t, struct message *m, memory_order order)
{
    m->clock = t->before.of[m->thread];
    if (releases(order)) {
        m->released = true;
        m->view = keep_view(t->view);
        m->before = t->before;
        m->n_view = (uint16_t)weak.n_words;
        t->before.of[m->thread]++;
    } else {
        m->view = t->released;
        m->n_view = t->n_released;
        m->before = t->released_before;
    }
}

/* A read-modify-write hands on what it replaced told of (C11's release sequences). */
static void hand_on(struct message *m, const struct message *replaced)
{
    if (replaced->view == NULL)
        return;
    uint16_t *both = weak.views + weak.n_views;
    unsigned n = m->n_view > replaced->n_view ? m->n_view : replaced->n_view;
    if (weak.n_views + n > MAX_VIEWS) {
        weak_on = false;
        return;
    }
    weak.n_views += n;
    memset(both, 0, n * sizeof(*both));
    if (m->view)
        see_view(both, m->view, m->n_view);
    see_view(both, replaced->view, replaced->n_view);
    see_clocks(&m->before, &replaced->before);
    m->view = both;
    m->n_view = (uint16_t)n;
    m->released = false; /* it tells of more than its thread need know */
}

static void store_new(struct thread *t, struct word *w, uint64_t value, memory_order order, const struct message *replaced)
{
    struct message *m = new_message(w, value, (unsigned)(t - weak.thread));
    unsigned i = index_of(w);
    t->view[i] = m->time;
    if (order == memory_order_seq_cst)
        weak.seq_cst[i] = m->time;
    attach(t, m, order);
    if (replaced)
        hand_on(m, replaced);
}

/* ---- What lib/atomic.h calls ----------------------------------------------------------------------------------------------- */

/* A step of this thread, in a run in which threads lag: then who it is. */
static struct thread *step(void)
{
    sched_point();
    return weak_on && sched_self() < THREADS ? &weak.thread[sched_self()] : NULL;
}

uint64_t sched_load(const void *at, unsigned bytes, memory_order order)
{
    struct thread *t = step();
    if (t == NULL)
        return memory_load(at, bytes);
    races_look(at, bytes, ATOMIC_READ, __builtin_return_address(0));
    const struct word *w = find_word(at, bytes);
    const struct message *m = choose(t, w, order);
    read_from(t, w, m, order);
    return m->value;
}

void sched_store(void *at, unsigned bytes, uint64_t value, memory_order order)
{
    struct thread *t = step();
    if (t != NULL) {
        races_look(at, bytes, ATOMIC_WRITE, __builtin_return_address(0));
        store_new(t, find_word(at, bytes), value, order, NULL);
    }
    (void)memory_change(at, bytes, '=', value);
}

uint64_t sched_rmw(void *at, unsigned bytes, char verb, uint64_t by, memory_order order)
{
    struct thread *t = step();
    if (t != NULL) {
        races_look(at, bytes, ATOMIC_WRITE, __builtin_return_address(0));
        struct word *w = find_word(at, bytes);
        const struct message *was = &weak.message[w->newest];
        uint64_t mask = bytes == 8 ? UINT64_MAX : (UINT64_C(1) << bytes * 8) - 1;
        read_from(t, w, was, order);
        store_new(t, w, changed(was->value, verb, by) & mask, order, was);
    }
    return memory_change(at, bytes, verb, by);
}

bool sched_cas(void *at, unsigned bytes, void *expected, uint64_t desired, memory_order order, memory_order failure)
{
    struct thread *t = step();
    if (t == NULL)
        return memory_cas(at, bytes, expected, desired);
    struct word *w = find_word(at, bytes);
    const struct message *m = choose(t, w, failure);
    const uint64_t wanted = memory_load(expected, bytes);
    if (m->value == wanted) /* an old store cannot be replaced, and the value is no reason to fail: it is the last, then */
        m = &weak.message[w->newest];
    races_look(at, bytes, m->value == wanted ? ATOMIC_WRITE : ATOMIC_READ, __builtin_return_address(0));
    if (m->value != wanted) {
        read_from(t, w, m, failure);
        plain_store(expected, bytes, m->value);
        return false;
    }
    read_from(t, w, m, order);
    store_new(t, w, desired, order, m);
    return memory_cas(at, bytes, expected, desired);
}

void sched_fence(memory_order order)
{
    struct thread *t = step();
    if (t == NULL)
        return;
    if (acquires(order)) {
        see_view(t->view, t->pending, weak.n_words);
        see_clocks(&t->before, &t->pending_before);
    }
    if (order == memory_order_seq_cst) {
        see_view(t->view, weak.seq_cst, weak.n_words);
        see_view(weak.seq_cst, t->view, weak.n_words);
    }
    if (releases(order)) {
        t->released = keep_view(t->view);
        t->n_released = (uint16_t)weak.n_words;
        t->released_before = t->before;
        t->before.of[sched_self()]++;
    }
}

/* Other ways to hand over: a mutex, or what a scenario knows. They are words of their own, which nobody else looks at. */

static struct word *find_key(const void *key) { return find_word(key, 0); }

void sched_release(const void *key)
{
    struct thread *t = weak_on && sched_self() < THREADS ? &weak.thread[sched_self()] : NULL;
    if (t == NULL)
        return;
    struct word *w = find_key(key);
    store_new(t, w, weak.message[w->newest].value, memory_order_release, &weak.message[w->newest]);
}

void sched_acquire(const void *key)
{
    struct thread *t = weak_on && sched_self() < THREADS ? &weak.thread[sched_self()] : NULL;
    if (t == NULL)
        return;
    const struct word *w = find_key(key);
    read_from(t, w, &weak.message[w->newest], memory_order_acquire);
}

/* ---- Runs ------------------------------------------------------------------------------------------------------------------ */

static void begin_thread(struct thread *t, unsigned index, unsigned lag)
{
    memset(t->view, 0, weak.n_words * sizeof(t->view[0]));
    memset(t->pending, 0, weak.n_words * sizeof(t->pending[0]));
    t->before = t->pending_before = t->released_before = (struct clocks){{0}};
    t->before.of[index] = 1;
    t->released = NULL;
    t->n_released = 0;
    t->fresh = 0;
    t->lag = lag == LAG_MOST || rng_percent(&weak.rng, 75) ? lag : 0;
}

void weak_begin(uint64_t seed, unsigned n_threads, enum weak_lags how)
{
    static const unsigned lags[] = {0, 3, 20, 70};
    weak.rng.state = ~seed;
    const unsigned any = lags[rng_below(&weak.rng, sizeof(lags) / sizeof(lags[0]))];
    const unsigned lag = how == WEAK_ALL ? LAG_MOST : how == WEAK_NOBODY ? 0 : any;
    for (unsigned i = 0; i < THREADS; i++)
        begin_thread(&weak.thread[i], i, lag);
    memset(weak.seq_cst, 0, weak.n_words * sizeof(weak.seq_cst[0]));
    weak.n_words = weak.n_views = 0;
    weak.n_messages = 1; /* 0: none */
    weak.run++;
    races_begin(n_threads);
    weak_on = lag > 0;
}

void weak_end(void) { weak_on = false; }

void weak_waited(unsigned thread) { weak.thread[thread].fresh = FRESH_LOADS; }

const struct clocks *weak_before(unsigned thread) { return weak_on ? &weak.thread[thread].before : NULL; }

void weak_renew(uintptr_t from, uintptr_t to)
{
    for (uint32_t i = 0; i < weak.n_words; i++)
        weak.word[i].renewed |= (uintptr_t)weak.word[i].at >= from && (uintptr_t)weak.word[i].at < to;
}

void weak_stop(void) { weak_on = false; }
