/*
 * bursts: what a call costs before its first packet, as in switches that get packets by ones and eights: bursts of 1 to 32,
 * steering and noting, for one vm and for several; single notes; notes that have nothing to learn.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "bench.h"

/* N_PACKETS: frames in a row, 8 MiB of them; a turn takes a part of them, a millisecond. */
enum { N_PACKETS = 128 << 10, TURN = 16 << 10, REPS = 25, N_VMS = 16, MAX_ENTRANTS = 3, LARGEST = BURST };

static const size_t sizes[] = {1, 2, 4, 8, 16, LARGEST};
enum { N_SIZES = sizeof(sizes) / sizeof(*sizes) };

/* The flows once more in several vms, which 32 flows in a row have in common. */
struct several {
    void *tables[N_VMS];
    void **table_of; /* by packet of `in` */
};

struct place {
    const char *name;
    uint64_t n_flows;
    struct stream in, out;
    struct note_call *calls[N_SIZES]; /* for `out`, each for another vm than the one before it */
    struct entrant entrant[MAX_ENTRANTS];
    struct several several[MAX_ENTRANTS];
    unsigned n;
};

static uint32_t flow_vm(uint64_t id) { return (uint32_t)(id / BURST) % N_VMS; }

/* ---- Setting up ------------------------------------------------------------------------------------------------------------ */

static void note_all(const struct place *p, const struct entrant *e)
{
    if (e->is->note_by == NULL)
        return;
    e->is->note_by(e->table, p->out.pkts, (size_t)p->n_flows, 0, BURST);
    if (e->is->settle)
        e->is->settle(e->table);
}

static void enter_several(struct place *p, const struct contestant *c)
{
    struct shape shape = {.version = 4, .n_flows = p->n_flows / N_VMS, .slots = 2 * (p->n_flows / N_VMS)};
    struct several *s = &p->several[p->n];
    for (unsigned v = 0; v < N_VMS; v++)
        s->tables[v] = c->create(&shape);
    for (size_t i = 0; c->note_by && i < p->n_flows; i += BURST)
        c->note_by(s->tables[flow_vm(i)], p->out.pkts + i, BURST, flow_queue(i), BURST);
    s->table_of = huge_alloc(N_PACKETS * sizeof(void *));
    for (size_t i = 0; i < N_PACKETS; i++)
        s->table_of[i] = s->tables[flow_vm(p->in.ids[i])];
}

static void enter(struct place *p, const struct contestant *c)
{
    struct shape shape = {.version = 4, .n_flows = p->n_flows, .slots = 2 * p->n_flows};
    void *table = c->create(&shape);
    if (table == NULL)
        return;
    p->entrant[p->n] = (struct entrant){.is = c, .table = table};
    note_all(p, &p->entrant[p->n]);
    enter_several(p, c);
    p->n++;
}

/* Of each turn the first packets of all vms, then the next ones. */
static void make_calls(struct place *p, unsigned size)
{
    size_t burst = sizes[size], n = 0;
    p->calls[size] = huge_alloc(N_PACKETS / burst * sizeof(struct note_call));
    for (size_t turn = 0; turn < N_PACKETS; turn += TURN)
        for (size_t offset = 0; offset < BURST; offset += burst)
            for (size_t i = turn + offset; i < turn + TURN; i += BURST)
                p->calls[size][n++] = (struct note_call){p->out.pkts + i, flow_vm(p->out.ids[i]), flow_queue(p->out.ids[i])};
}

static void place_open(struct place *p)
{
    uint64_t state = 11;
    uint32_t *in = huge_alloc(N_PACKETS * sizeof(*in)), *out = huge_alloc(N_PACKETS * sizeof(*out));
    choose_uniform(in, N_PACKETS, p->n_flows, &state);
    choose_all(out, N_PACKETS, p->n_flows);
    p->in = stream_make(4, INCOMING, IN_SEQUENCE, in, N_PACKETS);
    p->out = stream_make(4, OUTGOING, IN_SEQUENCE, out, N_PACKETS);
    p->n = 0;
    for (unsigned i = 0; i < MAX_ENTRANTS; i++) {
        const struct contestant *const all[MAX_ENTRANTS] = {
            &with_flowq,
#ifdef HAVE_DPDK
            &with_rte_hash,
            &with_crc,
#endif
        };
        const struct contestant *c = all[(i + process.number) % MAX_ENTRANTS];
        if (c != NULL)
            enter(p, c);
    }
    for (unsigned size = 0; size < N_SIZES; size++)
        make_calls(p, size);
}

static void place_close(struct place *p)
{
    for (unsigned i = 0; i < p->n; i++) {
        p->entrant[i].is->destroy(p->entrant[i].table);
        for (unsigned v = 0; v < N_VMS; v++)
            p->entrant[i].is->destroy(p->several[i].tables[v]);
        huge_free(p->several[i].table_of, N_PACKETS * sizeof(void *));
    }
    for (unsigned size = 0; size < N_SIZES; size++)
        huge_free(p->calls[size], N_PACKETS / sizes[size] * sizeof(struct note_call));
    stream_free(&p->in);
    stream_free(&p->out);
}

/* ---- Turns: ns a packet ---------------------------------------------------------------------------------------------------- */

typedef double turn_fn(const struct place *p, unsigned who, size_t from, unsigned size);

static void check(const struct place *p, const struct contestant *c, uint64_t sum, size_t from)
{
    keep(sum);
    if (!c->no_answer && sum != stream_sum(&p->in, from, TURN, p->n_flows))
        fail("bursts, %s: wrong queues", c->name);
}

static double turn_steer(const struct place *p, unsigned who, size_t from, unsigned size)
{
    const struct entrant *e = &p->entrant[who];
    double start = cpu_ns();
    uint64_t sum = e->is->steer_by(e->table, p->in.pkts + from, TURN, sizes[size]);
    double ns = (cpu_ns() - start) / TURN;
    check(p, e->is, sum, from);
    return ns;
}

static double turn_note(const struct place *p, unsigned who, size_t from, unsigned size)
{
    const struct entrant *e = &p->entrant[who];
    double start = cpu_ns();
    e->is->note_by(e->table, p->out.pkts + from, TURN, flow_queue(from), sizes[size]);
    return (cpu_ns() - start) / TURN;
}

static double turn_steer_vms(const struct place *p, unsigned who, size_t from, unsigned size)
{
    const struct contestant *c = p->entrant[who].is;
    double start = cpu_ns();
    uint64_t sum = c->steer_several(p->several[who].table_of + from, p->in.pkts + from, TURN, sizes[size]);
    double ns = (cpu_ns() - start) / TURN;
    check(p, c, sum, from);
    return ns;
}

static double turn_note_vms(const struct place *p, unsigned who, size_t from, unsigned size)
{
    size_t burst = sizes[size];
    double start = cpu_ns();
    p->entrant[who].is->note_several(p->several[who].tables, p->calls[size] + from / burst, TURN / burst, burst);
    return (cpu_ns() - start) / TURN;
}

static bool is_flowq(const struct contestant *c) { return c == &with_flowq; }
static bool can_steer(const struct contestant *c) { return c->steer_by != NULL; }
static bool can_note(const struct contestant *c) { return c->note_by != NULL; }

static const struct {
    const char *name;
    turn_fn *turn;
    bool (*takes_part)(const struct contestant *c);
} kinds[] = {{"steer", turn_steer, can_steer},
             {"note", turn_note, can_note},
             {"steer-vms", turn_steer_vms, can_steer},
             {"note-vms", turn_note_vms, can_note}};

/* All sizes in turns, so that each has the others' beside it: what a packet costs over one in the largest. */
static void hold(const struct place *p, unsigned kind, unsigned number)
{
    char workload[48];
    for (unsigned i = 0; i < p->n; i++) {
        unsigned who = (i + number) % p->n;
        const struct contestant *c = p->entrant[who].is;
        double ns[N_SIZES];
        if (!kinds[kind].takes_part(c))
            continue;
        for (unsigned s = 0; s < N_SIZES; s++)
            ns[s] = kinds[kind].turn(p, who, (size_t)(number * N_SIZES + s) % (N_PACKETS / TURN) * TURN, s);
        for (unsigned s = 0; s < N_SIZES && number > 0; s++) {
            snprintf(workload, sizeof(workload), "burst%zu/%s-%s", sizes[s], kinds[kind].name, p->name);
            sample(workload, c->name, "ns", ns[s]);
            if (is_flowq(c))
                sample(workload, c->name, "times", ns[s] / ns[N_SIZES - 1]);
        }
    }
}

static void bursts(const char *name, uint64_t n_flows)
{
    struct place p = {.name = name, .n_flows = n_flows};
    place_open(&p);
    for (unsigned kind = 0; kind < sizeof(kinds) / sizeof(*kinds); kind++)
        for (unsigned number = 0; number <= repetitions(REPS); number++) /* the first one warms up */
            hold(&p, kind, number);
    place_close(&p);
}

/* ---- Single notes ---------------------------------------------------------------------------------------------------------- */

static uint64_t frozen(void *ctx)
{
    (void)ctx;
    return 1000000000;
}

/* In a section that is held, beside single steering; the time stands still, so that known flows stay as they are. */
static void single(const char *name, uint64_t n_flows)
{
    struct flowq_vm_config config = {.size = sizeof(config), .max_flows = (uint32_t)(2 * n_flows), .clock_ns = frozen};
    struct flowq_vm *vm;
    uint32_t *ids = huge_alloc((size_t)n_flows * sizeof(*ids)), *again = huge_alloc((size_t)n_flows * sizeof(*again));
    choose_all(ids, (size_t)n_flows, n_flows);
    choose_all(again, (size_t)n_flows, n_flows);
    struct stream out = stream_make(4, OUTGOING, IN_SEQUENCE, ids, (size_t)n_flows),
                  in = stream_make(4, INCOMING, IN_SEQUENCE, again, (size_t)n_flows);
    if (flowq_vm_create(&config, &vm) != 0)
        fail("cannot make a vm");
    flowq_vm_set_queue_pairs(vm, QUEUES);
    for (size_t i = 0; i < out.n; i++)
        flowq_tx_note(vm, &out.pkts[i], flow_queue(i));
    size_t n = out.n < TURN ? out.n : TURN;
    for (unsigned rep = 0; rep <= repetitions(REPS); rep++) {
        /* Half of the flows away from one another: neither finds in the cache what the other one left there. */
        size_t from = rep * n % out.n, away = (from + out.n / 2) % out.n / n * n;
        uint64_t sum = 0;
        flowq_enter();
        double start = cpu_ns();
        for (size_t i = from; i < from + n; i++)
            sum += flowq_tx_note(vm, &out.pkts[i], flow_queue(i));
        double noted = cpu_ns();
        for (size_t i = away; i < away + n; i++)
            sum += flowq_rx_steer(vm, &in.pkts[i]);
        double steered = cpu_ns();
        flowq_leave();
        if (sum != n * FLOWQ_NOTE_REFRESHED + stream_sum(&in, away, n, n_flows))
            fail("single notes: not as expected");
        if (rep == 0)
            continue;
        char workload[48];
        snprintf(workload, sizeof(workload), "single-note/%s", name);
        sample(workload, "flowq", "ns", (noted - start) / (double)n);
        sample(workload, "flowq", "times", (noted - start) / (steered - noted));
    }
    flowq_vm_destroy(vm);
    stream_free(&out);
    stream_free(&in);
}

/* ---- Notes that have nothing to learn -------------------------------------------------------------------------------------- */

/* Of a machine with one queue, and of one that nobody steers. */
static void idle_notes(void)
{
    static const struct {
        const char *workload;
        uint32_t pairs, no_learn;
    } ways[] = {{"note32/one-queue", 1, FLOWQ_OFF}, {"note32/no-learn", QUEUES, FLOWQ_ON}};
    uint32_t *ids = huge_alloc(TURN * sizeof(*ids));
    choose_all(ids, TURN, TURN);
    struct stream out = stream_make(4, OUTGOING, IN_SEQUENCE, ids, TURN);
    for (unsigned w = 0; w < sizeof(ways) / sizeof(*ways); w++) {
        struct flowq_vm_config config = {.size = sizeof(config), .no_learn = ways[w].no_learn};
        struct flowq_vm *vm;
        if (flowq_vm_create(&config, &vm) != 0)
            fail("cannot make a vm");
        flowq_vm_set_queue_pairs(vm, ways[w].pairs);
        for (unsigned rep = 0; rep <= repetitions(REPS); rep++) {
            double start = cpu_ns();
            for (size_t i = 0; i < TURN; i += BURST)
                flowq_tx_note_burst(vm, out.pkts + i, BURST, 0);
            if (rep > 0)
                sample(ways[w].workload, "flowq", "ns", (cpu_ns() - start) / TURN);
        }
        flowq_vm_destroy(vm);
    }
    stream_free(&out);
}

/* ---- All of it ------------------------------------------------------------------------------------------------------------- */

void run_bursts(void)
{
    if (wanted_group("burst", true)) {
        bursts("1k", 1 << 10);
        bursts("64k", 64 << 10);
    }
    if (wanted_group("single-note/", true)) {
        single("1k", 1 << 10);
        if (!process.quick)
            single("1M", 1 << 20);
    }
    if (wanted_group("note32/", true))
        idle_notes();
}
