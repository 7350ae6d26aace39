/*
 * scene: look up, steer and note, at every table size. A scene is one table size: every contestant's table holds the same flows.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "bench.h"

#include <stdio.h>
#include <string.h>

enum {
    MAX_ENTRANTS = 16,
    TURN = 128 << 10, /* packets in a turn: some milliseconds */
    TURNS_IN_STREAM = 8,
    COLD_BYTES = 300 << 20,
    SLOW_NS = 100 /* who needs more than so many ns a packet gets fewer packets */
};

struct scene {
    const char *name; /* v4-1M */
    struct shape shape;
    struct entrant entrant[MAX_ENTRANTS];
    unsigned n;
    unsigned reps;
};

static const struct {
    const char *name;
    uint32_t version;
    uint64_t n_flows;
    unsigned reps;
} sizes[] = {
    {"v4-1k", 4, 1 << 10, 21}, {"v4-64k", 4, 64 << 10, 21}, {"v4-1M", 4, 1 << 20, 21}, {"v4-8M", 4, 8 << 20, 9},
    {"v6-1k", 6, 1 << 10, 15}, {"v6-64k", 6, 64 << 10, 15}, {"v6-1M", 6, 1 << 20, 15}, {"v6-8M", 6, 8 << 20, 9},
};

/* Goals speak of IPv6 at this size only. */
#define GOAL_SIZE_V6 "v6-1M"

static const char *const workloads[] = {"lookup32",     "lookup32-hit50",   "lookup32-hit0",   "steer32-str",
                                        "steer32-cold", "single",           "memory",          "steer32-hit50",
                                        "steer32-hit0", "steer32-zipf0.99", "steer32-zipf1.2", NULL};
static const char *const note_workloads[] = {"note32-refresh", "note32-new", "note32-move", NULL};

/* With which the goals compare those contestants that are marked minor. */
#define MINOR_WORKLOAD "steer32-str/v4-1M"
#define MINOR_SIZE     "v4-1M"

static bool wants_minor(const char *workload) { return !process.goals || strcmp(workload, MINOR_WORKLOAD) == 0; }

/* Is one of these to be run at this size? */
static bool wants(const char *size, const char *const *names)
{
    char workload[48];
    for (; *names; names++) {
        snprintf(workload, sizeof(workload), "%s/%s", *names, size);
        if (wanted(workload, true))
            return true;
    }
    return false;
}

/* ---- Setting up ------------------------------------------------------------------------------------------------------------ */

/* Notes every flow, once, on its queue. */
static void preload(const struct entrant *e, const struct shape *shape)
{
    enum { CHUNK = 64 << 10 };
    static struct flowq_pkt pkts[CHUNK];
    size_t stride = shape->version == 4 ? FRAME_STRIDE_V4 : FRAME_STRIDE_V6;
    uint8_t *bytes = huge_alloc(CHUNK * stride);
    for (uint64_t from = 0; from < shape->n_flows; from += CHUNK) {
        size_t n = shape->n_flows - from < CHUNK ? (size_t)(shape->n_flows - from) : CHUNK;
        for (size_t i = 0; i < n; i++)
            pkts[i] = (struct flowq_pkt){.data = bytes + i * stride,
                                         .len = flow_frame(bytes + i * stride, shape->version, OUTGOING, from + i)};
        e->is->note(e->table, pkts, n, flow_queue(from), 1);
    }
    huge_free(bytes, CHUNK * stride);
    if (e->is->settle)
        e->is->settle(e->table);
}

static void *table_of(const struct scene *s, const struct contestant *c)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->entrant[i].is == c)
            return s->entrant[i].table;
    return NULL;
}

/* Allocates in an order that differs from process to process: page placement alone moves a table by 25 %. */
static void scene_open(struct scene *s)
{
    unsigned n = 0;
    while (contestants[n])
        n++;
    s->n = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct contestant *c = contestants[(i + process.number) % n];
        if (c->minor && process.goals && strcmp(s->name, MINOR_SIZE) != 0)
            continue;
        if (c->variant_of || (c->most_flows && s->shape.n_flows > c->most_flows))
            continue;
        struct entrant *e = &s->entrant[s->n];
        *e = (struct entrant){.is = c, .table = c->create(&s->shape)};
        s->n += e->table != NULL;
        if (e->table && c->note)
            preload(e, &s->shape);
    }
    for (unsigned i = 0; i < n; i++) {
        void *table = contestants[i]->variant_of ? table_of(s, contestants[i]->variant_of) : NULL;
        if (table)
            s->entrant[s->n++] = (struct entrant){.is = contestants[i], .table = table};
    }
}

static void scene_close(struct scene *s)
{
    for (unsigned i = 0; i < s->n; i++)
        if (!s->entrant[i].is->variant_of)
            s->entrant[i].is->destroy(s->entrant[i].table);
}

/* ---- Taking turns ---------------------------------------------------------------------------------------------------------- */

/* One turn of one contestant. Returns the sum of queues. */
typedef uint64_t turn_fn(const struct entrant *e, const void *what, size_t from, size_t n);

struct contest {
    char workload[48];
    turn_fn *turn;
    bool (*takes_part)(const struct contestant *c);
    void (*before)(const struct entrant *e); /* not timed */
    const void *what;
    size_t n;                    /* packets in all; a turn takes some of them */
    uint64_t n_flows;            /* in the table */
    const struct stream *expect; /* its sums are checked against; NULL: they are not */
    uint64_t n_bound;            /* for the check: flows from here on are misses */
    bool misses;                 /* there are such */
};

/*
 * A table that knows flows by their hashes alone takes an absent flow for another one now and then, this library's one out of
 * 2^49 / flows of them: two in a turn are no mistake. Each adds a queue instead of MISS. And of so many flows, now and then two
 * have the same 49 bits (flows^2 / 2^50 pairs: in one table of 8M flows out of 16) and share a queue: a few packets in a turn.
 */
enum { FALSE_MATCHES = 2, SHARERS = 4, MANY_FLOWS = 4 << 20 };

static bool adds_up(const struct contest *c, const struct contestant *is, uint64_t sum, uint64_t expected)
{
    uint64_t shared = is->by_hash && c->n_flows >= MANY_FLOWS ? SHARERS * (QUEUES - 1) : 0;
    for (uint64_t n = 0; n <= (c->misses && is->by_hash ? FALSE_MATCHES : 0); n++)
        if (sum + n * MISS + shared >= expected && sum + n * MISS <= expected + n * (QUEUES - 1) + shared)
            return true;
    return false;
}

static double one_turn(const struct contest *c, const struct entrant *e, size_t from, size_t n)
{
    if (c->before)
        c->before(e);
    double start = cpu_ns();
    uint64_t sum = c->turn(e, c->what, from, n);
    double ns = (cpu_ns() - start) / (double)n;
    keep(sum);
    uint64_t expected = c->expect && !e->is->no_answer ? stream_sum(c->expect, from, n, c->n_bound) : sum;
    if (!adds_up(c, e->is, sum, expected))
        fail("%s, %s: queues add up to %llu, not to %llu", c->workload, e->is->name, (unsigned long long)sum,
             (unsigned long long)expected);
    return ns;
}

/* Each turn of a repetition works on another part of the stream, so that nobody finds his predecessor's packets in the cache. */
static void hold(const struct scene *s, const struct contest *c, bool goal)
{
    if (!wanted(c->workload, goal))
        return;
    size_t turn = c->n < TURN ? c->n : TURN, n_turns = c->n / turn, next = 0;
    unsigned reps = repetitions(s->reps);
    bool slow[MAX_ENTRANTS] = {false};
    for (unsigned rep = 0; rep <= reps; rep++) {
        for (unsigned i = 0; i < s->n; i++) {
            const struct entrant *e = &s->entrant[(i + rep) % s->n];
            if (!c->takes_part(e->is) || (e->is->minor && !wants_minor(c->workload)))
                continue;
            size_t n = slow[(i + rep) % s->n] && turn > TURN / 4 ? turn / 4 : turn;
            double ns = one_turn(c, e, next++ % n_turns * turn, n);
            if (rep == 0)
                slow[(i + rep) % s->n] = ns > SLOW_NS; /* the first time only warms up */
            else
                sample(c->workload, e->is->name, "ns", ns);
        }
    }
}

static void contest_name(struct contest *c, const char *what, const struct scene *s)
{
    snprintf(c->workload, sizeof(c->workload), "%s/%s", what, s->name);
    c->n_flows = s->shape.n_flows;
}

/* Bytes of memory per flow, with all flows bound. */
static void memory_per_flow(const struct scene *s, bool goal)
{
    char workload[48];
    snprintf(workload, sizeof(workload), "memory/%s", s->name);
    for (unsigned i = 0; wanted(workload, goal) && i < s->n; i++)
        if (s->entrant[i].is->bytes)
            sample(workload, s->entrant[i].is->name, "B/flow",
                   (double)s->entrant[i].is->bytes(s->entrant[i].table) / (double)s->shape.n_flows);
}

/* ---- Look up, steer -------------------------------------------------------------------------------------------------------- */

static bool can_steer(const struct contestant *c) { return c->steer != NULL; }
static bool can_single(const struct contestant *c) { return c->single != NULL; }
static bool can_lookup(const struct contestant *c) { return c->lookup != NULL; }
static bool can_note(const struct contestant *c) { return c->note != NULL; }

static uint64_t turn_steer(const struct entrant *e, const void *what, size_t from, size_t n)
{
    return e->is->steer(e->table, ((const struct stream *)what)->pkts + from, n);
}

static uint64_t turn_single(const struct entrant *e, const void *what, size_t from, size_t n)
{
    return e->is->single(e->table, ((const struct stream *)what)->pkts + from, n);
}

struct keys {
    unsigned words;
    uint64_t *key;
};

static uint64_t turn_lookup(const struct entrant *e, const void *what, size_t from, size_t n)
{
    const struct keys *k = what;
    return e->is->lookup(e->table, k->key + from * k->words, k->words, n);
}

static uint32_t *new_ids(size_t n) { return huge_alloc(n * sizeof(uint32_t)); }

static void lookups(const struct scene *s, unsigned percent, bool goal)
{
    char what[24];
    struct contest c = {
        .turn = turn_lookup, .takes_part = can_lookup, .n = (size_t)TURN * TURNS_IN_STREAM, .n_bound = s->shape.n_flows};
    c.misses = percent < 100;
    snprintf(what, sizeof(what), percent == 100 ? "lookup32" : "lookup32-hit%u", percent);
    contest_name(&c, what, s);
    if (!wanted(c.workload, goal))
        return;
    uint64_t state = percent;
    struct stream expect = {.n = c.n, .ids = new_ids(c.n)};
    struct keys keys = {.words = s->shape.version == 4 ? 2 : 5};
    choose_hits(expect.ids, c.n, s->shape.n_flows, percent, &state);
    keys.key = huge_alloc(c.n * keys.words * 8);
    for (size_t i = 0; i < c.n; i++)
        flow_key(keys.key + i * keys.words, s->shape.version, expect.ids[i]);
    c.what = &keys;
    c.expect = &expect;
    hold(s, &c, goal);
    huge_free(keys.key, c.n * keys.words * 8);
    huge_free(expect.ids, c.n * sizeof(uint32_t));
}

/* Raw frames one after the other: bursts, single calls. */
static void steers(const struct scene *s, bool goal)
{
    struct contest str = {
        .turn = turn_steer, .takes_part = can_steer, .n = (size_t)TURN * TURNS_IN_STREAM, .n_bound = s->shape.n_flows};
    struct contest one = {.turn = turn_single, .takes_part = can_single, .n = str.n, .n_bound = str.n_bound};
    contest_name(&str, "steer32-str", s);
    contest_name(&one, "single", s);
    bool goal_one = strcmp(s->name, "v4-1M") == 0;
    if (!wanted(str.workload, goal) && !wanted(one.workload, goal_one))
        return;
    uint64_t state = 1;
    uint32_t *ids = new_ids(str.n);
    choose_uniform(ids, str.n, s->shape.n_flows, &state);
    struct stream stream = stream_make(s->shape.version, INCOMING, IN_SEQUENCE, ids, str.n);
    str.what = str.expect = one.what = one.expect = &stream;
    hold(s, &str, goal);
    hold(s, &one, goal_one);
    stream_free(&stream);
}

static void steers_cold(const struct scene *s, bool goal)
{
    size_t stride = s->shape.version == 4 ? FRAME_STRIDE_V4 : FRAME_STRIDE_V6;
    struct contest c = {.turn = turn_steer, .takes_part = can_steer, .n = COLD_BYTES / stride, .n_bound = s->shape.n_flows};
    contest_name(&c, "steer32-cold", s);
    if (!wanted(c.workload, goal))
        return;
    uint64_t state = 2;
    uint32_t *ids = new_ids(c.n);
    choose_uniform(ids, c.n, s->shape.n_flows, &state);
    struct stream stream = stream_make(s->shape.version, INCOMING, SCATTERED, ids, c.n);
    c.what = c.expect = &stream;
    hold(s, &c, goal);
    stream_free(&stream);
}

/* Unbound and bound flows mixed, and flows of very different frequency. */
static void steers_mixed(const struct scene *s, bool goal_hit0)
{
    static const struct {
        const char *what;
        unsigned percent;
        double skew;
    } mixes[] = {
        {"steer32-hit50", 50, 0}, {"steer32-hit0", 0, 0}, {"steer32-zipf0.99", 100, 0.99}, {"steer32-zipf1.2", 100, 1.2}};
    for (size_t i = 0; i < sizeof(mixes) / sizeof(*mixes); i++) {
        struct contest c = {
            .turn = turn_steer, .takes_part = can_steer, .n = (size_t)TURN * TURNS_IN_STREAM, .n_bound = s->shape.n_flows};
        contest_name(&c, mixes[i].what, s);
        bool goal = goal_hit0 && mixes[i].percent == 0;
        if (!wanted(c.workload, goal))
            continue;
        uint64_t state = 3;
        uint32_t *ids = new_ids(c.n);
        if (mixes[i].skew != 0)
            choose_zipf(ids, c.n, s->shape.n_flows, mixes[i].skew, &state);
        else
            choose_hits(ids, c.n, s->shape.n_flows, mixes[i].percent, &state);
        struct stream stream = stream_make(s->shape.version, INCOMING, IN_SEQUENCE, ids, c.n);
        c.what = &stream;
        c.expect = mixes[i].percent == 100 ? &stream : NULL; /* the fallback is each contestant's own */
        hold(s, &c, goal);
        stream_free(&stream);
    }
}

/* ---- Note ------------------------------------------------------------------------------------------------------------------ */

static uint64_t turn_refresh(const struct entrant *e, const void *what, size_t from, size_t n)
{
    e->is->note(e->table, ((const struct stream *)what)->pkts + from, n, flow_queue(from), 1);
    return 0;
}

/* Every flow moves on by one queue whenever it is noted; `moved` says how often all have been. */
static unsigned moved;
static uint64_t turn_move(const struct entrant *e, const void *what, size_t from, size_t n)
{
    (void)from;
    e->is->note(e->table, ((const struct stream *)what)->pkts, n, moved, 1);
    return 0;
}

static void before_new(const struct entrant *e) { e->is->clear(e->table); }

static uint64_t turn_new(const struct entrant *e, const void *what, size_t from, size_t n)
{
    (void)from;
    e->is->note(e->table, ((const struct stream *)what)->pkts, n, 0, 1);
    return 0;
}

/* All on another queue than before: the same part of the flows in every turn of a repetition, one queue further in each. */
static void moves(const struct scene *s, const struct stream *stream, bool goal)
{
    struct contest c = {.turn = turn_move, .takes_part = can_note, .what = stream, .n = TURN};
    struct scene once = *s;
    contest_name(&c, "note32-move", s);
    if (!wanted(c.workload, goal))
        return;
    for (moved = 1; moved <= repetitions(s->reps) + 1; moved++) {
        for (unsigned i = 0; i < s->n; i++) {
            const struct entrant *e = &once.entrant[(i + moved) % s->n];
            if (!can_note(e->is) || (e->is->minor && !wants_minor(c.workload)))
                continue;
            double ns = one_turn(&c, e, 0, TURN);
            if (moved > 1)
                sample(c.workload, e->is->name, "ns", ns);
        }
    }
}

/* All flows into a table that is empty but has room for them: its memory has been used before. */
static void inserts(const struct scene *s, const struct stream *stream, bool goal)
{
    struct contest c = {.what = stream, .n = s->shape.n_flows, .turn = turn_new, .before = before_new};
    struct shape shape = s->shape;
    contest_name(&c, "note32-new", s);
    if (!wanted(c.workload, goal) || (c.n > 1 << 20 && s->shape.version == 6)) /* all tables twice: ten GiB */
        return;
    shape.room_made = true;
    struct entrant entrant[MAX_ENTRANTS];
    for (unsigned i = 0; i < s->n; i++) {
        entrant[i] = s->entrant[i];
        entrant[i].table = can_note(entrant[i].is) && entrant[i].is->clear && (!entrant[i].is->minor || wants_minor(c.workload))
                               ? entrant[i].is->create(&shape)
                               : NULL;
    }
    for (unsigned rep = 0; rep <= repetitions(c.n > 1 << 20 ? 3 : 7); rep++) {
        for (unsigned i = 0; i < s->n; i++) {
            const struct entrant *e = &entrant[(i + rep) % s->n];
            if (!e->table)
                continue;
            double ns = one_turn(&c, e, 0, c.n);
            if (rep > 0)
                sample(c.workload, e->is->name, "ns", ns);
        }
    }
    for (unsigned i = 0; i < s->n; i++)
        if (entrant[i].table)
            entrant[i].is->destroy(entrant[i].table);
}

/* Changes the bindings, so it comes last. */
static void notes(const struct scene *s, bool goal)
{
    struct contest refresh = {.turn = turn_refresh, .takes_part = can_note, .n = s->shape.n_flows};
    size_t n = refresh.n;
    contest_name(&refresh, "note32-refresh", s);
    if (!wants(s->name, note_workloads))
        return;
    uint32_t *ids = new_ids(n);
    choose_all(ids, n, n);
    struct stream stream = stream_make(s->shape.version, OUTGOING, IN_SEQUENCE, ids, n);
    refresh.what = &stream;
    hold(s, &refresh, goal);
    inserts(s, &stream, goal);
    if (n >= TURN)
        moves(s, &stream, goal);
    stream_free(&stream);
}

/* ---- One queue in use ------------------------------------------------------------------------------------------------------ */

static void one_queue(void)
{
    struct shape shape = {.version = 4, .n_flows = 1 << 10, .slots = 2 << 10};
    struct scene s = {.name = "one-queue", .shape = shape, .n = 2, .reps = 15};
    struct contest c = {
        .workload = "steer32/one-queue", .turn = turn_steer, .takes_part = can_steer, .n = (size_t)TURN * TURNS_IN_STREAM};
    struct contest one = {.workload = "single/one-queue", .turn = turn_single, .takes_part = can_single, .n = c.n};
    if (!wanted(c.workload, true) && !wanted(one.workload, true))
        return;
    uint64_t state = 1;
    uint32_t *ids = new_ids(c.n);
    choose_uniform(ids, c.n, shape.n_flows, &state);
    struct stream stream = stream_make(4, INCOMING, IN_SEQUENCE, ids, c.n);
    s.entrant[0] = (struct entrant){&with_flowq, with_flowq.create(&shape)};
    s.entrant[1] = (struct entrant){&with_nothing, with_nothing.create(&shape)};
    flowq_vm_set_queue_pairs(s.entrant[0].table, 1);
    c.what = one.what = &stream;
    hold(&s, &c, true);
    hold(&s, &one, true);
    scene_close(&s);
    stream_free(&stream);
}

/* ---- All of it ------------------------------------------------------------------------------------------------------------- */

/* What the goals need of a size; see goals.c. */
static void play(struct scene *s)
{
    bool v4 = s->shape.version == 4, million = v4 && s->shape.n_flows == 1 << 20, medium = v4 && s->shape.n_flows == 64 << 10;
    scene_open(s);
    memory_per_flow(s, million);
    lookups(s, 100, million);
    lookups(s, 50, medium);
    lookups(s, 0, false);
    steers(s, v4 || strcmp(s->name, GOAL_SIZE_V6) == 0);
    steers_cold(s, v4 && s->shape.n_flows >= 64 << 10);
    steers_mixed(s, v4 && s->shape.n_flows <= 64 << 10);
    notes(s, million);
    scene_close(s);
}

void run_scenes(void)
{
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        uint64_t n = sizes[i].n_flows;
        struct scene s = {
            .name = sizes[i].name, .shape = {.version = sizes[i].version, .n_flows = n, .slots = 2 * n}, .reps = sizes[i].reps};
        if ((!wants(s.name, workloads) && !wants(s.name, note_workloads)) || (process.quick && n > 64 << 10) ||
            (process.goals && sizes[i].version == 6 && strcmp(s.name, GOAL_SIZE_V6) != 0))
            continue;
        play(&s);
    }
    one_queue();
}
