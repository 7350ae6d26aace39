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

struct place {
    const char *name;
    uint64_t n_flows;
    struct stream in, out;
    struct entrant entrant[MAX_ENTRANTS];
    unsigned n;
    struct flowq_vm *vms[N_VMS]; /* the flows once more, in vms by their last bits */
    struct flowq_vm **vm_of;     /* by packet of `in` */
};

/* ---- Setting up ------------------------------------------------------------------------------------------------------------ */

static void note_all(const struct place *p, const struct entrant *e)
{
    if (e->is->note_by == NULL)
        return;
    e->is->note_by(e->table, p->out.pkts, (size_t)p->n_flows, 0, BURST);
    if (e->is->settle)
        e->is->settle(e->table);
}

static void enter(struct place *p, const struct contestant *c)
{
    struct shape shape = {.version = 4, .n_flows = p->n_flows, .slots = 2 * p->n_flows};
    void *table = c->create(&shape);
    if (table == NULL)
        return;
    p->entrant[p->n] = (struct entrant){.is = c, .table = table};
    note_all(p, &p->entrant[p->n++]);
}

static void enter_vms(struct place *p)
{
    struct shape shape = {.version = 4, .n_flows = p->n_flows / N_VMS};
    for (unsigned v = 0; v < N_VMS; v++)
        p->vms[v] = with_flowq.create(&shape);
    for (size_t i = 0; i < p->n_flows; i++)
        flowq_tx_note(p->vms[i % N_VMS], p->out.pkts + i, flow_queue(i));
    p->vm_of = huge_alloc(N_PACKETS * sizeof(struct flowq_vm *));
    for (size_t i = 0; i < N_PACKETS; i++)
        p->vm_of[i] = p->vms[p->in.ids[i] % N_VMS];
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
    enter_vms(p);
}

static void place_close(struct place *p)
{
    for (unsigned i = 0; i < p->n; i++)
        p->entrant[i].is->destroy(p->entrant[i].table);
    for (unsigned v = 0; v < N_VMS; v++)
        flowq_vm_destroy(p->vms[v]);
    huge_free(p->vm_of, N_PACKETS * sizeof(struct flowq_vm *));
    stream_free(&p->in);
    stream_free(&p->out);
}

/* ---- Turns: ns a packet ---------------------------------------------------------------------------------------------------- */

typedef double turn_fn(const struct place *p, const struct entrant *e, size_t from, size_t burst);

static void check(const struct place *p, const char *who, uint64_t sum, size_t from)
{
    if (sum != stream_sum(&p->in, from, TURN, p->n_flows))
        fail("bursts, %s: wrong queues", who);
}

static double turn_steer(const struct place *p, const struct entrant *e, size_t from, size_t burst)
{
    double start = cpu_ns();
    uint64_t sum = e->is->steer_by(e->table, p->in.pkts + from, TURN, burst);
    double ns = (cpu_ns() - start) / TURN;
    keep(sum);
    if (!e->is->no_answer)
        check(p, e->is->name, sum, from);
    return ns;
}

static double turn_note(const struct place *p, const struct entrant *e, size_t from, size_t burst)
{
    double start = cpu_ns();
    e->is->note_by(e->table, p->out.pkts + from, TURN, flow_queue(from), burst);
    return (cpu_ns() - start) / TURN;
}

/* `e` is flowq; its table is not used. */
static double turn_vms(const struct place *p, const struct entrant *e, size_t from, size_t burst)
{
    uint16_t qids[BURST];
    uint64_t sum = 0;
    double start = cpu_ns();
    for (size_t i = from; i < from + TURN; i += burst) {
        flowq_rx_steer_burst_vms(p->vm_of + i, p->in.pkts + i, burst, qids);
        for (size_t j = 0; j < burst; j++)
            sum += qids[j];
    }
    double ns = (cpu_ns() - start) / TURN;
    check(p, e->is->name, sum, from);
    return ns;
}

static bool is_flowq(const struct contestant *c) { return c == &with_flowq; }
static bool can_steer(const struct contestant *c) { return c->steer_by != NULL; }
static bool can_note(const struct contestant *c) { return c->note_by != NULL; }

static const struct {
    const char *name;
    turn_fn *turn;
    bool (*takes_part)(const struct contestant *c);
} kinds[] = {{"steer", turn_steer, can_steer}, {"note", turn_note, can_note}, {"steer-vms", turn_vms, is_flowq}};

/* All sizes in turns, so that each has the others' beside it: what a packet costs over one in the largest. */
static void hold(const struct place *p, unsigned kind, unsigned number)
{
    char workload[48];
    for (unsigned i = 0; i < p->n; i++) {
        const struct entrant *e = &p->entrant[(i + number) % p->n];
        double ns[N_SIZES];
        if (!kinds[kind].takes_part(e->is))
            continue;
        for (unsigned s = 0; s < N_SIZES; s++)
            ns[s] = kinds[kind].turn(p, e, (size_t)(number * N_SIZES + s) % (N_PACKETS / TURN) * TURN, sizes[s]);
        for (unsigned s = 0; s < N_SIZES && number > 0; s++) {
            snprintf(workload, sizeof(workload), "burst%zu/%s-%s", sizes[s], kinds[kind].name, p->name);
            sample(workload, e->is->name, "ns", ns[s]);
            if (is_flowq(e->is))
                sample(workload, e->is->name, "times", ns[s] / ns[N_SIZES - 1]);
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
        size_t from = rep * n % out.n;
        uint64_t sum = 0;
        flowq_enter();
        double start = cpu_ns();
        for (size_t i = from; i < from + n; i++)
            sum += flowq_tx_note(vm, &out.pkts[i], flow_queue(i));
        double noted = cpu_ns();
        for (size_t i = from; i < from + n; i++)
            sum += flowq_rx_steer(vm, &in.pkts[i]);
        double steered = cpu_ns();
        flowq_leave();
        if (sum != n * FLOWQ_NOTE_REFRESHED + stream_sum(&in, from, n, n_flows))
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
