/* SPDX-License-Identifier: BSD-2-Clause */
#include "model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "frames.h"

#define MS     UINT64_C(1000000)
#define US     UINT64_C(1000)
#define SECOND UINT64_C(1000000000)

#define STALE_EMBRYONIC (5 * SECOND) /* S8 */
#define STALE_CLOSING   (10 * SECOND)
#define FRAGMENT_LIFE   (30 * SECOND) /* S5 */
#define FRAGMENT_WAYS   8             /* so many other datagrams may come before the oldest of a set is overwritten */
#define WRAPPED_TICKS   1980          /* ages beyond may be taken for smaller ones: they rank wrongly, and may put off a move */
#define BIND_AHEAD      (SECOND / 2 + SECOND / 16) /* and an old time of binding for one that much in the future */
#define IMPLIED_WAYS    15                         /* so many other flows may be implied before the first of them is forgotten */
#define LEAST_REACH     7                          /* a newcomer looks at this many places at the least */

/* ---- Settings -------------------------------------------------------------------------------------------------------------- */

static uint64_t rebind_ns(uint32_t us) { return us == FLOWQ_OFF ? 0 : us * US; }

static uint64_t or_default(uint32_t value, uint32_t usual) { return value ? value : usual; }

void model_configure(struct model *m, const struct flowq_vm_config *cfg)
{
    /* A flow that might have been displaced under the old settings might be gone: let every flow remember that. */
    for (uint32_t i = 0; i < m->n_flows; i++)
        if (model_bound(m, i) == MODEL_MAYBE)
            m->flow[i].sure = 0;
    m->learn = cfg->no_learn != FLOWQ_ON;
    m->active_ns = or_default(cfg->active_ms, 10000) * MS;
    m->idle_ns = or_default(cfg->idle_ms, 1800000) * MS;
    uint64_t tcp = rebind_ns(cfg->rebind_min_tcp_us), other = rebind_ns(cfg->rebind_min_other_us);
    for (uint32_t i = 0; i < m->n_flows; i++)
        if (m->flow[i].tcp ? tcp != m->rebind_tcp_ns : other != m->rebind_other_ns)
            m->flow[i].bound_from = 0; /* when it was bound may have been forgotten */
    m->rebind_tcp_ns = tcp;
    m->rebind_other_ns = other;
}

static uint64_t tick_of(uint64_t active_ns)
{
    uint64_t tick = 1;
    while (tick * 2 <= active_ns / 8 && tick < UINT64_C(1) << 30)
        tick *= 2;
    return tick;
}

/* S10: both directions of a flow are one flow to the fallback. */
static uint64_t *fallback_of(const struct model *m, uint32_t flow)
{
    uint32_t twin = m->twin[flow];
    return &m->flow[twin < flow ? twin : flow].fallback;
}

/* S10: a flow moves only from a queue that went, or to one that came. While none is in use nothing moves. */
static void move_fallbacks(struct model *m, uint64_t before, uint64_t now)
{
    for (uint32_t i = 0; i < m->n_flows; i++) {
        uint64_t *may = &m->flow[i].fallback, went = *may & ~now;
        *may = went ? now : *may | (now & ~before);
    }
}

static void find_queues(struct model *m)
{
    uint64_t now = 0;
    m->n_in_use = 0;
    for (uint32_t q = 0; q < m->pairs; q++) {
        if (!model_in_use(m, q))
            continue;
        m->in_use[m->n_in_use++] = (uint16_t)q;
        now |= UINT64_C(1) << q;
    }
    if (now == 0)
        return;
    move_fallbacks(m, m->lately_in_use, now);
    m->lately_in_use = now;
}

static void reset_queues(struct model *m)
{
    m->pairs = 1;
    for (uint32_t q = 0; q < MODEL_MAX_PAIRS; q++) {
        m->enabled[q] = true;
        m->resetting[q] = false;
    }
    find_queues(m);
}

void model_init(struct model *m, const struct flowq_vm_config *cfg, uint32_t n_flows, const uint32_t *twin, uint32_t n_datagrams)
{
    memset(m, 0, sizeof(*m));
    m->n_flows = n_flows;
    m->twin = twin;
    m->flow = calloc(n_flows, sizeof(*m->flow));
    m->n_datagrams = n_datagrams;
    m->datagram = calloc(n_datagrams, sizeof(*m->datagram));
    if (!m->flow || !m->datagram)
        abort();
    m->max_pairs = (uint32_t)or_default(cfg->max_queue_pairs, MODEL_MAX_PAIRS);
    m->max_flows = (uint32_t)or_default(cfg->max_flows, 65536);
    m->remembers_fragments = cfg->fragments != FLOWQ_OFF;
    m->events = 1;
    m->n_implied = IMPLIED_WAYS + 1; /* so that there is an order for what may be forgotten */
    model_configure(m, cfg);
    m->tick_ns = tick_of(m->active_ns);
    reset_queues(m);
}

void model_fini(struct model *m)
{
    free(m->flow);
    free(m->datagram);
}

/* ---- Queues ---------------------------------------------------------------------------------------------------------------- */

bool model_in_use(const struct model *m, uint32_t qid) { return qid < m->pairs && m->enabled[qid] && !m->resetting[qid]; }

void model_set_pairs(struct model *m, uint32_t n)
{
    m->pairs = n;
    find_queues(m);
}

static void set_state(const struct model *m, bool *state, uint32_t qid, bool on)
{
    for (uint32_t q = 0; q < m->max_pairs; q++)
        if (q == qid || qid == FLOWQ_ALL_QUEUES)
            state[q] = on;
}

void model_set_enabled(struct model *m, uint32_t qid, bool on)
{
    set_state(m, m->enabled, qid, on);
    find_queues(m);
}

void model_set_resetting(struct model *m, uint32_t qid, bool on)
{
    set_state(m, m->resetting, qid, on);
    find_queues(m);
}

void model_reset(struct model *m, uint32_t what)
{
    if (what & FLOWQ_RESET_FLOWS) {
        for (uint32_t i = 0; i < m->n_flows; i++)
            m->flow[i].held = m->flow[i].implied = false;
        m->n_held = 0;
        for (uint32_t i = 0; i < m->n_datagrams; i++)
            m->datagram[i].seen = false;
    }
    if (what & FLOWQ_RESET_QUEUES)
        reset_queues(m);
}

/* ---- Flows ----------------------------------------------------------------------------------------------------------------- */

static uint64_t stale_ns(const struct model *m, uint8_t cls)
{
    uint64_t longest = WRAPPED_TICKS * m->tick_ns;
    if (cls == FLOWQ_CLASS_EMBRYONIC)
        return STALE_EMBRYONIC;
    if (cls == FLOWQ_CLASS_CLOSING)
        return STALE_CLOSING;
    return m->idle_ns < longest ? m->idle_ns : longest;
}

/* Has at least `age`, less a tick, passed between the flow's last note and `at`? */
static bool reached(const struct model *m, const struct model_flow *f, uint64_t at, uint64_t age)
{
    return at >= f->noted_from && at - f->noted_from + m->tick_ns >= age;
}

/* S8, S9: a stale place may always be taken; others only where there is little room, and an active flow's never. */
enum model_sure model_bound(const struct model *m, uint32_t flow)
{
    const struct model_flow *f = &m->flow[flow];
    if (!f->held)
        return MODEL_NO;
    if (f->sure == 0)
        return MODEL_MAYBE;
    if (m->events > f->sure && reached(m, f, m->event_at, stale_ns(m, f->cls)))
        return MODEL_MAYBE;
    if (m->crowded_event > f->sure && (f->cls != FLOWQ_CLASS_ESTABLISHED || reached(m, f, m->crowded_at, m->active_ns)))
        return MODEL_MAYBE;
    return MODEL_YES;
}

static void set_held(struct model *m, struct model_flow *f, bool held)
{
    m->n_held += held;
    m->n_held -= f->held;
    f->held = held;
    f->sure = held ? m->events : 0;
}

static bool crowded(const struct model *m) { return m->stalled || m->n_held >= m->max_flows / 2; }

/* Something took, or may have taken, the places of bindings. */
static void happen(struct model *m)
{
    m->events++;
    m->event_at = m->now;
    if (crowded(m)) {
        m->crowded_event = m->events;
        m->crowded_at = m->now;
    }
}

void model_disturb(struct model *m, uint32_t n)
{
    m->n_held += n;
    happen(m);
    m->n_held -= n;
    m->n_implied += n;
}

void model_maintain(struct model *m)
{
    m->events++;
    m->event_at = m->now;
}

static bool wrapped(const struct model *m, const struct model_flow *f)
{
    return m->now - f->noted_from >= WRAPPED_TICKS * m->tick_ns;
}

uint32_t model_n_active(const struct model *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_flows; i++) {
        const struct model_flow *f = &m->flow[i];
        if (!f->held)
            continue;
        uint64_t age = m->now - f->noted;
        bool established = f->cls == FLOWQ_CLASS_ESTABLISHED || f->perhaps_established;
        n += (established && age <= m->active_ns + 2 * m->tick_ns) || wrapped(m, f);
    }
    return n;
}

/* ---- Notes ----------------------------------------------------------------------------------------------------------------- */

static uint32_t bit(uint32_t outcome) { return UINT32_C(1) << outcome; }

/* The class of a flow that was of class `before` (0: unknown), when the VM has sent this. */
static uint8_t class_after(const struct model_packet *p, uint8_t before)
{
    if (!p->tcp)
        return before ? FLOWQ_CLASS_ESTABLISHED : FLOWQ_CLASS_EMBRYONIC;
    if (p->tcp_flags & (FRAME_FIN | FRAME_RST))
        return FLOWQ_CLASS_CLOSING;
    if (p->tcp_flags & FRAME_SYN)
        return FLOWQ_CLASS_EMBRYONIC;
    return before == FLOWQ_CLASS_CLOSING ? FLOWQ_CLASS_CLOSING : FLOWQ_CLASS_ESTABLISHED;
}

/* S2: a new connection on old ports. On an embryonic binding a SYN is a retransmission. */
static bool opens_anew(const struct model_packet *p, const struct model_flow *f)
{
    return f->cls != FLOWQ_CLASS_EMBRYONIC && class_after(p, f->cls) == FLOWQ_CLASS_EMBRYONIC;
}

/* S2, S8, S11: a note of a flow that is bound. */
static uint32_t note_bound(const struct model *m, const struct model_flow *f, const struct model_packet *p, uint32_t qid)
{
    uint64_t min = p->tcp ? m->rebind_tcp_ns : m->rebind_other_ns;
    if (f->qid == qid)
        return bit(FLOWQ_NOTE_REFRESHED);
    if (min == 0 || opens_anew(p, f) || !model_in_use(m, f->qid))
        return bit(FLOWQ_NOTE_MOVED);
    uint32_t allowed = 0;
    if (m->now - f->bound_from + min / 8 > min)
        allowed |= bit(FLOWQ_NOTE_MOVED);
    if (m->now <= f->bound_to + min + min / 8 || wrapped(m, f))
        allowed |= bit(FLOWQ_NOTE_SUPPRESSED);
    return allowed;
}

/* S9: was it noted on the queue that the fallback chooses within the embryonic time, and not stored? */
static enum model_sure implied_before(const struct model *m, const struct model_flow *f)
{
    uint64_t age = m->now - f->implied_at;
    if (!f->implied || age > STALE_EMBRYONIC + SECOND)
        return MODEL_NO;
    return age <= STALE_EMBRYONIC && m->n_implied - f->implied_order <= IMPLIED_WAYS ? MODEL_YES : MODEL_MAYBE;
}

/* S7, S9: a note of a flow that is not bound. */
static uint32_t note_unknown(const struct model *m, const struct model_flow *f, const struct model_packet *p, uint32_t qid)
{
    if (p->tcp && p->tcp_flags & FRAME_RST)
        return bit(FLOWQ_NOTE_RESET);
    uint32_t stored = bit(FLOWQ_NOTE_BOUND) | (crowded(m) ? bit(FLOWQ_NOTE_REFUSED) : 0);
    if (class_after(p, 0) != FLOWQ_CLASS_EMBRYONIC)
        return stored;
    uint64_t fallback = *fallback_of(m, p->flow), here = UINT64_C(1) << qid;
    if (!(fallback & here))
        return stored;
    enum model_sure again = implied_before(m, f);
    if (again == MODEL_YES)
        return stored;
    return fallback == here && again == MODEL_NO ? bit(FLOWQ_NOTE_IMPLIED) : stored | bit(FLOWQ_NOTE_IMPLIED);
}

uint32_t model_note(const struct model *m, const struct model_packet *p, uint32_t qid)
{
    if (!m->learn)
        return bit(FLOWQ_NOTE_OFF);
    if (!model_in_use(m, qid))
        return bit(FLOWQ_NOTE_NOT_IN_USE);
    if (m->n_in_use == 1)
        return bit(FLOWQ_NOTE_SINGLE);
    if (p->kind == MODEL_KEYLESS)
        return bit(FLOWQ_NOTE_KEYLESS);
    if (p->multicast)
        return bit(FLOWQ_NOTE_MULTICAST);
    if (p->kind == MODEL_LATER)
        return bit(FLOWQ_NOTE_FRAGMENT);
    if (p->kind == MODEL_ERROR)
        return bit(FLOWQ_NOTE_ICMP_ERROR);
    const struct model_flow *f = &m->flow[p->flow];
    enum model_sure bound = model_bound(m, p->flow);
    return (bound != MODEL_NO ? note_bound(m, f, p, qid) : 0) | (bound != MODEL_YES ? note_unknown(m, f, p, qid) : 0);
}

/* The latest time that may count as that of the flow's binding, if it is bound now: an old one may look like that of a later
   note, which stays, and so does one that looked so before. */
static uint64_t bound_by(const struct model *m, const struct model_flow *f)
{
    uint64_t to = m->now + (wrapped(m, f) ? BIND_AHEAD : 0);
    return f->bound_to > to ? f->bound_to : to;
}

uint64_t model_lately(const struct model *m)
{
    return m->in_section && m->rebind_tcp_ns == 0 && m->rebind_other_ns == 0 ? m->section_since : m->now;
}

static void noted_bound(struct model *m, struct model_flow *f, const struct model_packet *p, uint32_t qid, uint32_t outcome)
{
    bool nothing_new = outcome == FLOWQ_NOTE_REFRESHED && class_after(p, f->cls) == f->cls && !f->perhaps_established;
    uint64_t from = nothing_new ? model_lately(m) : m->now;
    if (outcome == FLOWQ_NOTE_MOVED || opens_anew(p, f)) { /* opened anew where it was: bound anew all the same */
        f->qid = (uint16_t)qid;
        f->bound_from = m->now;
        f->bound_to = bound_by(m, f);
    } else if (wrapped(m, f)) {
        f->bound_to = bound_by(m, f);
    }
    f->cls = class_after(p, f->cls);
    f->perhaps_established = false;
    f->noted = m->now;
    if (f->noted_from < from)
        f->noted_from = from;
    f->sure = m->events;
}

static void noted_implied(struct model *m, struct model_flow *f)
{
    set_held(m, f, false);
    f->implied = true;
    f->implied_at = m->now;
    f->implied_order = m->n_implied++;
}

static void noted_new(struct model *m, struct model_flow *f, const struct model_packet *p, uint32_t qid)
{
    happen(m);
    m->inserted++;
    set_held(m, f, true);
    const uint64_t fallback = *fallback_of(m, p->flow), here = UINT64_C(1) << qid;
    f->tcp = p->tcp;
    f->qid = (uint16_t)qid;
    f->cls = class_after(p, 0);
    f->perhaps_established = !p->tcp && implied_before(m, f) != MODEL_NO && fallback & here && fallback != here;
    if (!p->tcp && fallback == here)
        f->cls = FLOWQ_CLASS_ESTABLISHED; /* S9: its second packet */
    f->noted_from = f->noted = f->bound_from = f->bound_to = m->now;
}

/* S9: a refusal needs active flows everywhere within reach, and is very rare while fewer than max_flows are learned. */
static bool refusal_allowed(struct model *m)
{
    uint32_t active = model_n_active(m), least = m->max_flows < LEAST_REACH ? m->max_flows : LEAST_REACH;
    if (m->stalled)
        return true;
    m->early_refusals += m->n_held < m->max_flows;
    return active >= least;
}

bool model_noted(struct model *m, const struct model_packet *p, uint32_t qid, uint32_t outcome)
{
    if (outcome >= 32)
        return false;
    uint32_t allowed = model_note(m, p, qid);
    if (allowed == bit(FLOWQ_NOTE_IMPLIED) && outcome == FLOWQ_NOTE_BOUND)
        m->false_again++;
    else if (!(allowed & bit(outcome)))
        return false;
    struct model_flow *f = &m->flow[p->flow];
    bool good = true;
    switch (outcome) {
    case FLOWQ_NOTE_BOUND:
        noted_new(m, f, p, qid);
        break;
    case FLOWQ_NOTE_REFRESHED:
    case FLOWQ_NOTE_MOVED:
    case FLOWQ_NOTE_SUPPRESSED:
        noted_bound(m, f, p, qid, outcome);
        break;
    case FLOWQ_NOTE_IMPLIED:
        *fallback_of(m, p->flow) = UINT64_C(1) << qid;
        noted_implied(m, f);
        break;
    case FLOWQ_NOTE_REFUSED:
        set_held(m, f, false);
        good = refusal_allowed(m);
        happen(m); /* a shard may have grown, and left out what was stale */
        break;
    case FLOWQ_NOTE_RESET:
        set_held(m, f, false);
        break;
    default:
        break;
    }
    return good;
}

/* ---- Steering -------------------------------------------------------------------------------------------------------------- */

static void allow(struct model_answer *a, uint8_t reason, uint32_t qid)
{
    a->one[a->n].reason = reason;
    a->one[a->n++].qid = (uint16_t)qid;
}

static void steer_flow(const struct model *m, struct model_answer *a, const struct model_packet *p)
{
    const struct model_flow *f = &m->flow[p->flow];
    enum model_sure bound = model_bound(m, p->flow);
    if (bound != MODEL_NO && model_in_use(m, f->qid))
        allow(a, p->kind == MODEL_ERROR ? FLOWQ_REASON_ICMP_ERROR : FLOWQ_REASON_BOUND, f->qid);
    if (bound != MODEL_YES || !model_in_use(m, f->qid))
        allow(a, FLOWQ_REASON_FALLBACK, MODEL_FALLBACK);
}

/* S5. */
static void steer_later(const struct model *m, struct model_answer *a, const struct model_packet *p)
{
    const struct model_datagram *d = &m->datagram[p->datagram];
    bool may = m->remembers_fragments && d->seen && m->now - d->when <= FRAGMENT_LIFE + SECOND + m->tick_ns;
    bool must = may && m->now - d->when + SECOND + m->tick_ns < FRAGMENT_LIFE && m->firsts - d->order < FRAGMENT_WAYS;
    if (may && model_in_use(m, d->qid))
        allow(a, FLOWQ_REASON_FRAGMENT, d->qid);
    if (must && model_in_use(m, d->qid))
        return;
    if (p->whole_key)
        steer_flow(m, a, p);
    else
        allow(a, FLOWQ_REASON_FALLBACK, MODEL_FALLBACK);
}

struct model_answer model_steer(const struct model *m, const struct model_packet *p)
{
    struct model_answer a = {0};
    if (m->n_in_use == 0) {
        allow(&a, FLOWQ_REASON_DROP, FLOWQ_DROP);
    } else if (m->n_in_use == 1) {
        allow(&a, FLOWQ_REASON_SINGLE, m->in_use[0]);
    } else if (p->kind == MODEL_KEYLESS) {
        allow(&a, FLOWQ_REASON_KEYLESS, m->in_use[0]);
    } else if (p->kind == MODEL_LATER) {
        steer_later(m, &a, p);
    } else {
        steer_flow(m, &a, p);
    }
    return a;
}

/* What an answer tells, whose reason is known. */
static void learn_answer(struct model *m, const struct model_packet *p, uint8_t reason, uint16_t qid)
{
    struct model_flow *f = &m->flow[p->flow];
    if (reason == FLOWQ_REASON_FALLBACK) {
        *fallback_of(m, p->flow) = UINT64_C(1) << qid;
        if (p->kind == MODEL_LATER && !p->whole_key)
            return;
        if (f->held && model_in_use(m, f->qid))
            set_held(m, f, false);
    } else if (reason == FLOWQ_REASON_BOUND || reason == FLOWQ_REASON_ICMP_ERROR) {
        f->sure = m->events;
    }
}

/* The cache of fragments keeps 29 bits of a datagram's hash: a later fragment may follow another datagram's first one, into
   whatever queue that took. Not twice in so short a time. */
static bool taken_for_another(struct model *m, const struct model_packet *p, int reason, uint16_t qid)
{
    if (p->kind != MODEL_LATER || !m->remembers_fragments || m->n_in_use <= 1 || (reason >= 0 && reason != FLOWQ_REASON_FRAGMENT))
        return false;
    return model_in_use(m, qid) && m->false_fragments++ == 0;
}

bool model_steered(struct model *m, const struct model_packet *p, int reason, uint16_t qid)
{
    struct model_answer a = model_steer(m, p);
    unsigned matches = 0, at = 0;
    for (unsigned i = 0; i < a.n; i++) {
        bool right_queue = a.one[i].qid == qid ||
                           (a.one[i].qid == MODEL_FALLBACK && model_in_use(m, qid) && *fallback_of(m, p->flow) >> qid & 1);
        if (right_queue && (reason < 0 || a.one[i].reason == reason)) {
            matches++;
            at = i;
        }
    }
    if (matches == 0)
        return taken_for_another(m, p, reason, qid);
    if (matches == 1)
        learn_answer(m, p, a.one[at].reason, qid);
    if (p->fragmented && p->kind == MODEL_FLOW && m->n_in_use > 1) {
        struct model_datagram *d = &m->datagram[p->datagram];
        *d = (struct model_datagram){.seen = true, .qid = qid, .when = m->now, .order = ++m->firsts};
    }
    return true;
}

/* ---- Looking inside -------------------------------------------------------------------------------------------------------- */

static bool age_right(const struct model *m, const struct model_flow *f, uint32_t age_ms)
{
    uint64_t most = m->now - f->noted_from, least = m->now - f->noted, told = age_ms * MS;
    if (wrapped(m, f))
        return true;
    return told <= most + m->tick_ns + MS && told + m->tick_ns + MS >= least;
}

bool model_looked_up(struct model *m, uint32_t flow, int error, const struct flowq_binding *b)
{
    struct model_flow *f = &m->flow[flow];
    enum model_sure bound = model_bound(m, flow);
    if (error == -ENOENT) {
        set_held(m, f, false);
        return bound != MODEL_YES;
    }
    if (error != 0 || bound == MODEL_NO)
        return false;
    f->sure = m->events;
    if (f->perhaps_established && b->cls == FLOWQ_CLASS_ESTABLISHED)
        f->cls = FLOWQ_CLASS_ESTABLISHED;
    f->perhaps_established = false;
    return b->qid == f->qid && b->cls == f->cls && b->in_use == model_in_use(m, f->qid) && age_right(m, f, b->age_ms);
}

bool model_resync(struct model *m, const struct model_packet *p, uint32_t qid, int error, const struct flowq_binding *b)
{
    struct model_flow *f = &m->flow[p->flow];
    f->implied = true; /* perhaps */
    f->implied_at = m->now;
    f->implied_order = m->n_implied - IMPLIED_WAYS - 1;
    f->perhaps_established = false;
    if (error == -ENOENT) {
        set_held(m, f, false);
        return true;
    }
    bool same = f->held && b->qid == f->qid;
    if (error != 0 || (!same && b->qid != qid))
        return false;
    f->bound_to = bound_by(m, f);
    if (!same)
        f->bound_from = m->now;
    set_held(m, f, true);
    f->tcp = p->tcp;
    f->qid = b->qid;
    f->cls = b->cls;
    f->noted_from = same ? f->noted_from : m->now;
    f->noted = m->now;
    return b->in_use == model_in_use(m, f->qid) && age_right(m, f, b->age_ms);
}
