/*
 * attack: does the speed of steering bound flows hold while another thread notes a million new flows a second, or while queues
 * are switched on and off? CPU time per packet, over that of the same thread alone.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <string.h>
#include <time.h>

#include "workers.h"

enum {
    N_BOUND = 64 << 10,
    MAX_FLOWS = 1 << 20,
    MS = 60,
    REPS = 9,
    REMOTE_AT = 30, /* destination address of a transmitted IPv4 packet */
    TCP_FLAGS_AT = 47,
    SYN = 2,
    NOTE_INTERVAL_NS = 1000 * BURST, /* a burst of new flows: a million flows a second */
    SWITCH_INTERVAL_NS = 100000
};

static struct crew crew;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Waits for the next of a series of moments; after a delay it starts anew, so that there are no bouts. */
static void wait_for_next(uint64_t *moment, uint64_t interval)
{
    uint64_t now = now_ns();
    *moment = *moment + interval < now ? now : *moment + interval;
    while (now < *moment)
        now = now_ns();
}

static size_t work_new_flows(struct worker *w)
{
    static uint8_t frame[BURST][FRAME_STRIDE_V4];
    static struct flowq_pkt pkts[BURST];
    static uint64_t n_flows, moment;
    for (unsigned i = 0; i < BURST; i++) {
        uint32_t address = (uint32_t)(100u << 24 | (n_flows++ & 0xffffff));
        uint8_t bytes[4] = {(uint8_t)(address >> 24), (uint8_t)(address >> 16), (uint8_t)(address >> 8), (uint8_t)address};
        if (!pkts[i].data)
            pkts[i] = (struct flowq_pkt){.data = frame[i], .len = flow_frame(frame[i], 4, OUTGOING, i)};
        memcpy(frame[i] + REMOTE_AT, bytes, sizeof(bytes));
        frame[i][TCP_FLAGS_AT] = SYN;
    }
    wait_for_next(&moment, NOTE_INTERVAL_NS);
    w->entrant->is->note(w->entrant->table, pkts, BURST, (uint32_t)(n_flows / BURST), 1);
    return BURST;
}

/* A queue to which no flow is bound comes and goes. */
static size_t work_switch(struct worker *w)
{
    static uint64_t moment;
    wait_for_next(&moment, SWITCH_INTERVAL_NS);
    flowq_vm_set_queue_enabled(w->entrant->table, QUEUES, w->state++ & 1);
    return 1;
}

static void measure(const char *workload, const struct entrant *e, const struct stream *s, size_t (*attack)(struct worker *w))
{
    if (!wanted(workload, true))
        return;
    for (unsigned rep = 0; rep < repetitions(REPS); rep++) {
        double alone;
        crew.n = 2;
        crew.worker[0] = (struct worker){.work = work_steer, .entrant = e, .stream = s};
        crew.worker[1] = (struct worker){.work = attack, .entrant = e, .idle = true};
        crew_run(&crew, process.quick ? 5 : MS);
        alone = crew.worker[0].ns;
        crew.worker[1].idle = false;
        crew_run(&crew, process.quick ? 5 : MS);
        sample(workload, e->is->name, "times", crew.worker[0].ns / alone);
    }
}

void run_attacks(void)
{
    struct shape shape = {.version = 4, .n_flows = MAX_FLOWS, .slots = 2 * MAX_FLOWS};
    struct entrant e = {.is = &with_flowq};
    if (!wanted_group("attack/", true))
        return;
    if (process.n_cpus < 2) {
        remark("one processor: no figures for steering under attack");
        return;
    }
    uint64_t state = 5;
    size_t n = 4 * N_BOUND;
    uint32_t *ids = huge_alloc(n * sizeof(*ids)), *all = huge_alloc(N_BOUND * sizeof(*all));
    choose_uniform(ids, n, N_BOUND, &state);
    choose_all(all, N_BOUND, N_BOUND);
    struct stream in = stream_make(4, INCOMING, IN_SEQUENCE, ids, n), out = stream_make(4, OUTGOING, IN_SEQUENCE, all, N_BOUND);
    e.table = e.is->create(&shape);
    flowq_vm_set_queue_pairs(e.table, QUEUES + 1);
    e.is->note(e.table, out.pkts, N_BOUND, 0, 1);
    e.is->settle(e.table);
    measure("attack/queues", &e, &in, work_switch);
    flowq_vm_set_queue_pairs(e.table, QUEUES);
    measure("attack/new-flows", &e, &in, work_new_flows);
    e.is->destroy(e.table);
    stream_free(&in);
    stream_free(&out);
}
