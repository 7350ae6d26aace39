/* SPDX-License-Identifier: BSD-2-Clause */
#include "world.h"

#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BURST 65
#define MS        UINT64_C(1000000)

/* ---- What is said when something is wrong ---------------------------------------------------------------------------------- */

static void record(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void record(struct world *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(w->history[w->n_history++ % HISTORY], sizeof(w->history[0]), format, args);
    va_end(args);
}

_Noreturn void world_wrong(struct world *w, const char *format, ...)
{
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    const struct flowq_vm_config *c = &w->cfg;
    printf("\nFLOWQ_SEED=%" PRIu64 " FLOWQ_ROUND=%u operation %u: %s\n", w->seed, w->round, w->operation, what);
    printf("max_flows %u initial %u fragments %u key_vlan %x key_vni %x tunnels %x rebind %u %u us active %u idle %u ms "
           "no_learn %x; now %" PRIu64 ", %u held, queues in use %u of %u\n",
           c->max_flows, c->initial_flows, c->fragments, c->key_vlan, c->key_vni, c->tunnels, c->rebind_min_tcp_us,
           c->rebind_min_other_us, c->active_ms, c->idle_ms, c->no_learn, w->model.now, w->model.n_held, w->model.n_in_use,
           w->model.pairs);
    for (uint32_t i = w->n_history > HISTORY ? w->n_history - HISTORY : 0; i < w->n_history; i++)
        printf("  %s\n", w->history[i % HISTORY]);
    fflush(stdout);
    ck_abort_msg("round %u operation %u: %s", w->round, w->operation, what);
}

static void wrong_flow(struct world *w, uint32_t flow, const char *what, unsigned got, unsigned qid)
{
    const struct model_flow *f = &w->model.flow[flow];
    struct flowq_binding b = {.size = sizeof(b)};
    int error = flowq_vm_lookup(w->vm, &w->universe->flow[flow], &b);
    record(w, "lookup of flow %u: %d, queue %u class %u age %u ms", flow, error, b.qid, b.cls, b.age_ms);
    world_wrong(w,
                "%s: got %u, queue %u; flow %u bound %d class %u queue %u noted %" PRIu64 " bound %" PRIu64 "..%" PRIu64
                " fallback %" PRIx64,
                what, got, qid, flow, model_bound(&w->model, flow), f->cls, f->qid, f->noted, f->bound_from, f->bound_to,
                w->model.flow[w->model.twin[flow] < flow ? w->model.twin[flow] : flow].fallback);
}

/* ---- Packets to choose from ------------------------------------------------------------------------------------------------ */

struct chosen {
    struct flowq_pkt pkt;
    struct model_packet means;
};

static uint32_t pick_connection(struct world *w) { return w->first_connection + rng_below(&w->rng, w->n_connections); }

static bool has_errors(const struct connection *c) { return !c->keyless && !c->tunnel && !c->multicast; }

static struct chosen choose(struct world *w, uint32_t connection, enum universe_which which)
{
    struct chosen c = {w->universe->connection[connection].packet[which],
                       universe_meaning(w->universe, &w->rules, connection, which)};
    return c;
}

void world_new_datagram(struct world *w, uint32_t at)
{
    struct datagram *d = &w->datagram[at];
    do
        d->connection = pick_connection(w);
    while (w->universe->connection[d->connection].keyless);
    universe_fragments(w->universe, d->connection, w->next_id++, &d->first, &d->later);
    w->model.datagram[at].seen = w->model.datagram[DATAGRAMS + at].seen = false;
}

/* VLAN ids are part of what a datagram is (S5), so one with ids is another one with key_vlan. */
static bool keyed_vlans(const struct world *w, const struct datagram *d)
{
    const struct flowq_tuple *t = &w->universe->connection[d->connection].outer;
    bool any = false;
    for (unsigned i = 0; i < t->n_vlans; i++)
        any |= t->vlan[i] != 0;
    return w->rules.key_vlan && any;
}

static struct chosen choose_fragment(struct world *w, bool later)
{
    uint32_t at = rng_below(&w->rng, DATAGRAMS);
    struct datagram *d = &w->datagram[at];
    struct chosen c = {
        frame_pkt(later ? &d->later : &d->first),
        universe_fragment_meaning(w->universe, &w->rules, d->connection, at + keyed_vlans(w, d) * DATAGRAMS, later)};
    return c;
}

static struct chosen choose_tx(struct world *w)
{
    static const uint8_t often[] = {TX_ACK, TX_ACK,     TX_ACK, TX_ACK, TX_ACK,     TX_ACK,
                                    TX_SYN, TX_SYN_ACK, TX_FIN, TX_RST, TX_SYN_FIN, TX_ERROR};
    uint32_t connection = pick_connection(w);
    enum universe_which which = (enum universe_which)often[rng_below(&w->rng, sizeof(often))];
    if (which == TX_ERROR && !has_errors(&w->universe->connection[connection]))
        which = TX_ACK;
    struct chosen c = choose(w, connection, which);
    if (rng_percent(&w->rng, 1)) { /* a later fragment: its flow does not matter */
        c = choose_fragment(w, true);
        c.means.multicast = false;
    }
    return c;
}

/* A packet of the other direction, as a mirror port shows it: what the VM itself would send. */
static struct chosen choose_mirrored(struct world *w, uint32_t connection)
{
    bool error = has_errors(&w->universe->connection[connection]) && rng_percent(&w->rng, 20);
    struct chosen c = choose(w, connection, error ? TX_ERROR : TX_ACK);
    c.means.flow = w->universe->twin[error ? universe_meaning(w->universe, &w->rules, connection, RX_DATA).flow : c.means.flow];
    return c;
}

static struct chosen choose_rx(struct world *w)
{
    uint32_t percent = rng_below(&w->rng, 100), connection;
    if (percent < 8)
        return choose_fragment(w, percent < 5);
    connection = pick_connection(w);
    if (percent < 16 && has_errors(&w->universe->connection[connection]))
        return choose(w, connection, RX_ERROR);
    if (percent < 32)
        return choose_mirrored(w, connection);
    return choose(w, connection, RX_DATA);
}

/* ---- Operations ------------------------------------------------------------------------------------------------------------ */

static uint32_t pick_queue(struct world *w)
{
    if (rng_percent(&w->rng, 3))
        return rng_percent(&w->rng, 50) ? rng_below(&w->rng, w->model.max_pairs + 4) : (uint32_t)rng_next(&w->rng);
    return rng_below(&w->rng, w->model.pairs);
}

/* What flowq_stats.queues_noted is about: notes for which learning is on and there is a choice. */
static void mark_queue(struct world *w, uint32_t qid)
{
    if (!w->model.learn || w->model.n_in_use <= 1 || !model_in_use(&w->model, qid))
        return;
    w->queue_noted[qid] = w->model.now;
    if (w->queue_noted_from[qid] < model_lately(&w->model))
        w->queue_noted_from[qid] = model_lately(&w->model);
}

static void count_note(struct world *w, const struct chosen *c, uint32_t qid, uint32_t outcome)
{
    w->known_note[outcome % FLOWQ_NOTE_SLOTS]++;
    w->refused += outcome == FLOWQ_NOTE_REFUSED;
    record(w, "%u note flow %u flags %x queue %u -> %s", w->operation, c->means.flow, c->means.tcp_flags, qid,
           flowq_note_name(outcome));
    if (!model_noted(&w->model, &c->means, qid, outcome))
        wrong_flow(w, c->means.flow, "note", outcome, qid);
}

void world_note(struct world *w)
{
    struct chosen c = choose_tx(w);
    uint32_t qid = pick_queue(w);
    if (rng_percent(&w->rng, 40)) { /* stay where it is */
        const struct model_flow *f = &w->model.flow[c.means.flow];
        qid = f->held ? f->qid : qid;
    }
    w->notes++;
    mark_queue(w, qid);
    struct flowq_explanation e = {.size = sizeof(e)};
    int error = flowq_tx_explain(w->vm, &c.pkt, qid, &e);
    uint32_t outcome = flowq_tx_note(w->vm, &c.pkt, qid);
    if (error != 0 || e.note != outcome)
        world_wrong(w, "a note on queue %u gave %s, and was foreseen as %s (%d)", qid, flowq_note_name(outcome),
                    flowq_note_name(e.note), error);
    count_note(w, &c, qid, outcome);
}

static bool single_outcome(uint32_t set) { return (set & (set - 1)) == 0; }

/* Notes that close a flow within the burst, or open it anew, leave it without protection for the rest of it. */
static bool exposes(const struct chosen *c, uint32_t n, uint32_t flow)
{
    for (uint32_t i = 0; i < n; i++)
        if (c[i].means.flow == flow && c[i].means.tcp_flags & (FRAME_FIN | FRAME_RST | FRAME_SYN))
            return true;
    return false;
}

static void resync(struct world *w, const struct model_packet *means, uint32_t qid, bool exposed)
{
    struct flowq_binding b = {.size = sizeof(b)};
    if (means->kind != MODEL_FLOW || means->multicast)
        return;
    enum model_sure before = model_bound(&w->model, means->flow);
    int error = flowq_vm_lookup(w->vm, &w->universe->flow[means->flow], &b);
    if ((error && before == MODEL_YES && !exposed) || !model_resync(&w->model, means, qid, error, &b))
        wrong_flow(w, means->flow, "after a burst of notes", (unsigned)error, b.qid);
}

/* The outcomes of a burst are known by their sums alone. As long as there is but one possible, all is known. */
void world_note_burst(struct world *w)
{
    struct chosen c[MAX_BURST];
    struct flowq_pkt pkts[MAX_BURST];
    uint32_t n = rng_below(&w->rng, MAX_BURST + 1), qid = pick_queue(w), sure = 0;
    struct flowq_stats before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
    uint64_t expected[FLOWQ_NOTE_SLOTS] = {0};
    for (uint32_t i = 0; i < n; i++) {
        c[i] = choose_tx(w);
        pkts[i] = c[i].pkt;
    }
    ck_assert_int_eq(flowq_vm_stats(w->vm, &before), 0);
    flowq_tx_note_burst(w->vm, pkts, n, qid);
    ck_assert_int_eq(flowq_vm_stats(w->vm, &after), 0);
    w->notes += n;
    if (n > 0)
        mark_queue(w, qid);
    record(w, "%u note burst of %u queue %u", w->operation, n, qid);
    for (; sure < n && single_outcome(model_note(&w->model, &c[sure].means, qid)); sure++) {
        uint32_t outcome = (uint32_t)__builtin_ctz(model_note(&w->model, &c[sure].means, qid));
        expected[outcome]++;
        count_note(w, &c[sure], qid, outcome);
    }
    uint64_t n_implied = after.note[FLOWQ_NOTE_IMPLIED] - before.note[FLOWQ_NOTE_IMPLIED];
    bool false_again = n_implied < expected[FLOWQ_NOTE_IMPLIED]; /* model.h */
    for (uint32_t i = 0; i < FLOWQ_NOTE_SLOTS && !false_again; i++) {
        uint64_t delta = after.note[i] - before.note[i];
        if (sure == n ? delta != expected[i] : delta < expected[i])
            world_wrong(w, "note burst of %u: outcome %u came %" PRIu64 " times, %" PRIu64 " expected", n, i, delta, expected[i]);
    }
    for (uint32_t i = 0; i < FLOWQ_NOTE_SLOTS && false_again; i++)
        w->known_note[i] -= expected[i];
    if (false_again) {
        w->model.false_again++;
        sure = 0;
    }
    if (sure == n)
        return;
    w->note_unknown = true;
    w->model.inserted = after.inserted;
    w->refused += after.note[FLOWQ_NOTE_REFUSED] - before.note[FLOWQ_NOTE_REFUSED];
    model_disturb(&w->model, n);
    for (uint32_t i = sure; i < n; i++)
        resync(w, &c[i].means, qid, exposes(c, n, c[i].means.flow));
}

/* S11: is the flow bound, to a queue that is not in use? */
static void count_elsewhere(struct world *w, const struct model_packet *p)
{
    const bool later = p->kind == MODEL_LATER; /* looked up if its datagram is not remembered */
    if (w->model.n_in_use <= 1 || p->kind == MODEL_KEYLESS || (later && !p->whole_key))
        return;
    enum model_sure bound = model_bound(&w->model, p->flow);
    bool elsewhere = !model_in_use(&w->model, w->model.flow[p->flow].qid);
    w->elsewhere_least += bound == MODEL_YES && elsewhere && !later;
    w->elsewhere_most += bound != MODEL_NO && elsewhere;
}

static void count_steer(struct world *w, const struct chosen *c, int reason, uint16_t qid)
{
    if (reason >= 0)
        w->known_steer[reason % FLOWQ_REASON_SLOTS]++;
    else
        w->steer_unknown = true;
    if (qid < MODEL_MAX_PAIRS)
        w->steered[qid]++;
    w->steers++;
    count_elsewhere(w, &c->means);
    record(w, "%u steer kind %u flow %u datagram %d -> %u %s", w->operation, c->means.kind, c->means.flow,
           c->means.fragmented ? (int)c->means.datagram : -1, qid, reason < 0 ? "" : flowq_reason_name((uint32_t)reason));
    if (!model_steered(&w->model, &c->means, reason, qid))
        wrong_flow(w, c->means.flow, "steer", (unsigned)reason, qid);
}

void world_steer(struct world *w)
{
    struct chosen c = choose_rx(w);
    struct flowq_explanation e = {.size = sizeof(e)};
    int error = flowq_rx_explain(w->vm, &c.pkt, &e);
    uint16_t qid = flowq_rx_steer(w->vm, &c.pkt);
    if (error != 0 || e.decision.qid != qid)
        world_wrong(w, "steered to queue %u, and explained as %u (%d)", qid, e.decision.qid, error);
    count_steer(w, &c, e.decision.reason, qid);
}

/* Often between packets for another vm. */
static void steer_among_others(struct world *w, const struct flowq_pkt *pkts, uint32_t n, uint16_t *qids)
{
    struct flowq_pkt all[2 * MAX_BURST];
    struct flowq_vm *vms[2 * MAX_BURST];
    uint16_t to[2 * MAX_BURST];
    uint32_t n_all = 0, percent_other = rng_percent(&w->rng, 50) ? 30 : 0;
    for (uint32_t i = 0; i < n; n_all++) {
        vms[n_all] = n_all < i + MAX_BURST && rng_percent(&w->rng, percent_other) ? w->other : w->vm;
        all[n_all] = pkts[i];
        i += vms[n_all] == w->vm;
    }
    flowq_rx_steer_burst_vms(vms, all, n_all, to);
    for (uint32_t i = 0, at = 0; i < n_all; i++) {
        if (vms[i] == w->vm)
            qids[at++] = to[i];
        else if (to[i] != 0)
            world_wrong(w, "a vm with one queue: queue %u", to[i]);
    }
}

void world_steer_burst(struct world *w, bool decide)
{
    struct chosen c[MAX_BURST];
    struct flowq_pkt pkts[MAX_BURST];
    struct flowq_decision decision[MAX_BURST];
    uint16_t qids[MAX_BURST];
    uint32_t n = rng_below(&w->rng, MAX_BURST + 1);
    for (uint32_t i = 0; i < n; i++) {
        c[i] = choose_rx(w);
        pkts[i] = c[i].pkt;
    }
    memset(decision, 0xee, sizeof(decision));
    if (decide)
        flowq_rx_decide_burst(w->vm, pkts, n, decision);
    else if (rng_percent(&w->rng, 70))
        flowq_rx_steer_burst(w->vm, pkts, n, qids);
    else
        steer_among_others(w, pkts, n, qids);
    for (uint32_t i = 0; i < n; i++) {
        if (decide && (decision[i].hash_report || decision[i].hash_value || decision[i].reserved))
            world_wrong(w, "a decision with a hash");
        count_steer(w, &c[i], decide ? decision[i].reason : -1, decide ? decision[i].qid : qids[i]);
    }
}

void world_change_queues(struct world *w)
{
    uint32_t max = w->model.max_pairs, qid = rng_below(&w->rng, max + 3), n = rng_below(&w->rng, max + 2);
    qid = qid == max + 2 ? FLOWQ_ALL_QUEUES : qid;
    bool on = rng_percent(&w->rng, 60);
    int error, expected;
    switch (rng_below(&w->rng, 3)) {
    case 0:
        error = flowq_vm_set_queue_pairs(w->vm, n);
        expected = n == 0 || n > max ? -EINVAL : 0;
        if (expected == 0)
            model_set_pairs(&w->model, n);
        record(w, "%u pairs %u", w->operation, n);
        break;
    case 1:
        error = flowq_vm_set_queue_enabled(w->vm, qid, on);
        expected = qid >= max && qid != FLOWQ_ALL_QUEUES ? -EINVAL : 0;
        model_set_enabled(&w->model, qid, on);
        record(w, "%u enabled %u %d", w->operation, qid, on);
        break;
    default:
        on = !on;
        error = flowq_vm_set_queue_resetting(w->vm, qid, on);
        expected = qid >= max && qid != FLOWQ_ALL_QUEUES ? -EINVAL : 0;
        model_set_resetting(&w->model, qid, on);
        record(w, "%u resetting %u %d", w->operation, qid, on);
    }
    if (error != expected)
        world_wrong(w, "queue setter: %d, %d expected", error, expected);
}

/* Most of the time, enough queues for things to happen. */
void world_open_queues(struct world *w)
{
    flowq_vm_set_queue_pairs(w->vm, w->model.max_pairs);
    model_set_pairs(&w->model, w->model.max_pairs);
    flowq_vm_set_queue_enabled(w->vm, FLOWQ_ALL_QUEUES, true);
    model_set_enabled(&w->model, FLOWQ_ALL_QUEUES, true);
    flowq_vm_set_queue_resetting(w->vm, FLOWQ_ALL_QUEUES, false);
    model_set_resetting(&w->model, FLOWQ_ALL_QUEUES, false);
    record(w, "%u all queues", w->operation);
}

void world_set_rules(struct world *w)
{
    w->rules.key_vlan = w->cfg.key_vlan == FLOWQ_ON;
    w->rules.key_vni = w->cfg.key_vni == FLOWQ_ON;
    w->rules.tunnels = w->cfg.tunnels == 0 ? FLOWQ_TUNNEL_ALL : w->cfg.tunnels == FLOWQ_TUNNEL_NONE ? 0 : w->cfg.tunnels;
}

void world_pick_settings(struct world *w, struct flowq_vm_config *c, bool rebind)
{
    static const uint32_t active[] = {0, 0, 80, 100, 500, 3000, 20000};
    c->no_learn = rng_percent(&w->rng, 5) ? FLOWQ_ON : rng_percent(&w->rng, 50) ? FLOWQ_OFF : 0;
    c->key_vlan = rng_percent(&w->rng, 30) ? FLOWQ_ON : rng_percent(&w->rng, 50) ? FLOWQ_OFF : 0;
    c->key_vni = rng_percent(&w->rng, 30) ? FLOWQ_ON : rng_percent(&w->rng, 50) ? FLOWQ_OFF : 0;
    c->tunnels = rng_percent(&w->rng, 50)   ? 0
                 : rng_percent(&w->rng, 50) ? FLOWQ_TUNNEL_NONE
                 : rng_percent(&w->rng, 50) ? (FLOWQ_TUNNEL_ALL & ~((uint32_t)rng_next(&w->rng) & 0x3fffffff))
                                            : (uint32_t)rng_next(&w->rng) % (FLOWQ_TUNNEL_ERSPAN * 2u);
    c->active_ms = active[rng_below(&w->rng, sizeof(active) / sizeof(active[0]))];
    c->idle_ms = c->active_ms == 0 ? 0 : c->active_ms * rng_range(&w->rng, 1, 20);
    c->rebind_min_tcp_us = c->rebind_min_other_us = 0;
    if (rebind) {
        c->rebind_min_tcp_us = rng_percent(&w->rng, 20) ? FLOWQ_OFF : rng_range(&w->rng, 1000, 20000);
        c->rebind_min_other_us = rng_percent(&w->rng, 50) ? 0 : rng_range(&w->rng, 1000, 1000000);
    }
}

void world_configure(struct world *w)
{
    struct flowq_vm_config c = w->cfg;
    world_pick_settings(w, &c, w->can_rebind && rng_percent(&w->rng, 80));
    int error = flowq_vm_configure(w->vm, &c);
    record(w, "%u configure no_learn %x tunnels %x active %u -> %d", w->operation, c.no_learn, c.tunnels, c.active_ms, error);
    if (error == -EINVAL)
        return; /* a time that the tick cannot resolve; check_vm has these */
    if (error != 0)
        world_wrong(w, "configure: %d", error);
    model_configure(&w->model, &c);
    w->cfg = c;
    world_set_rules(w);
}

void world_reset(struct world *w)
{
    uint32_t what = rng_below(&w->rng, 8);
    struct flowq_stats s = {.size = sizeof(s)};
    ck_assert_int_eq(flowq_vm_stats(w->vm, &s), 0);
    if (what & FLOWQ_RESET_FLOWS)
        w->forgotten += s.live;
    flowq_vm_reset(w->vm, what);
    model_reset(&w->model, what);
    record(w, "%u reset %u", w->operation, what);
}

void world_move_clock(struct world *w)
{
    uint64_t tick = w->model.tick_ns, step;
    uint32_t percent = rng_below(&w->rng, 1000);
    if (w->calm && percent >= 850 && !rng_percent(&w->rng, 5))
        percent = 0;
    if (percent < 700)
        step = rng_next(&w->rng) % (tick / 8 + 1);
    else if (percent < 850)
        step = rng_next(&w->rng) % (2 * (w->model.rebind_tcp_ns + w->model.rebind_other_ns) + tick);
    else if (percent < 950)
        step = rng_next(&w->rng) % (w->model.active_ns + 1);
    else if (percent < 985)
        step = rng_next(&w->rng) % (12000 * MS);
    else if (percent < 995)
        step = rng_next(&w->rng) % (2 * w->model.idle_ns);
    else
        step = rng_next(&w->rng) % (5000 * tick);
    w->model.now += step;
    record(w, "%u clock + %" PRIu64 " = %" PRIu64, w->operation, step, w->model.now);
}

/* Without key_vlan, a tuple with VLAN ids names the flow without; network ids likewise. */
static bool can_look_up(const struct world *w, uint32_t flow)
{
    const struct flowq_tuple *t = &w->universe->flow[flow];
    return (w->rules.key_vlan || t->n_vlans == 0) && (w->rules.key_vni || !t->has_vni);
}

void world_look_up(struct world *w, uint32_t flow)
{
    struct flowq_binding b = {.size = sizeof(b)};
    if (!can_look_up(w, flow))
        return;
    int error = flowq_vm_lookup(w->vm, &w->universe->flow[flow], &b);
    if (!model_looked_up(&w->model, flow, error, &b))
        wrong_flow(w, flow, "lookup", (unsigned)-error, b.qid);
}

void world_hold_section(struct world *w)
{
    if (w->held_section)
        flowq_leave();
    else
        ck_assert_int_eq(flowq_enter(), 0);
    w->held_section = !w->held_section;
    w->model.in_section = w->held_section;
    w->model.section_since = w->model.now;
    w->model.stalled = true;
    w->stalled_until = w->operation + 500;
    record(w, "%u %s", w->operation, w->held_section ? "enter" : "leave");
}
