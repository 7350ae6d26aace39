/* SPDX-License-Identifier: BSD-2-Clause */
/* ordered: see ordered.h for the layout, the phases, and the ordering guarantees O1 to O5. */
#include "ordered.h"

#include "probes.h"
#include "view.h"

#include <errno.h>

/* Never 0: rx_vms_burst(). */
struct ordered_clock ordered_clock = {.now = 1};

/* ---- Words ----------------------------------------------------------------------------------------------------------------- */

enum ordered_phase {
    ORDERED_FREE,
    ORDERED_CLAIMED,
    ORDERED_PENDING,
    ORDERED_ENDING,
    ORDERED_ENDED,
};

/* step */
#define ORDERED_TO_SHIFT     16
#define ORDERED_PHASE_SHIFT  32
#define ORDERED_SERIAL_SHIFT 48

static uint64_t ordered_step(uint64_t serial, enum ordered_phase phase, uint32_t from, uint32_t to)
{
    return serial << ORDERED_SERIAL_SHIFT | (uint64_t)phase << ORDERED_PHASE_SHIFT | (uint64_t)to << ORDERED_TO_SHIFT | from;
}

static uint64_t ordered_serial(uint64_t step) { return step >> ORDERED_SERIAL_SHIFT; }
static enum ordered_phase ordered_phase(uint64_t step) { return (enum ordered_phase)(step >> ORDERED_PHASE_SHIFT & 7); }
static uint16_t ordered_from(uint64_t step) { return (uint16_t)step; }
static uint16_t ordered_to(uint64_t step) { return (uint16_t)(step >> ORDERED_TO_SHIFT); }

/* The same move, over. */
static uint64_t ordered_ending(uint64_t step, uint32_t at) { return ordered_step(ordered_serial(step), ORDERED_ENDING, at, at); }
/* Where it ended remains until the place is filled again: ordered_bound_to(). */
static uint64_t ordered_next_free(uint64_t step)
{
    return ordered_step(ordered_serial(step) + 1, ORDERED_FREE, 0, ordered_to(step));
}

/* held */
#define ORDERED_CLOCK_MASK ((UINT64_C(1) << ORDERED_SERIAL_SHIFT) - 1)
#define ORDERED_NEVER      ORDERED_CLOCK_MASK

static uint64_t ordered_held(uint64_t step, uint64_t clock)
{
    return ordered_serial(step) << ORDERED_SERIAL_SHIFT | (clock & ORDERED_CLOCK_MASK);
}

/* Ring positions; a tail has the generation at the same place, and what it belongs to above. */
#define ORDERED_BACKLOG_SHIFT 32
#define ORDERED_BACKLOG_MAX   UINT32_C(0xfffff)
#define ORDERED_RING_SHIFT    52
#define ORDERED_GENERATIONS   UINT64_C(0xfff)

static uint64_t ordered_ring(uint64_t generation, uint32_t filled, uint32_t backlog)
{
    uint64_t kept = backlog < ORDERED_BACKLOG_MAX ? backlog : ORDERED_BACKLOG_MAX;
    return (generation & ORDERED_GENERATIONS) << ORDERED_RING_SHIFT | kept << ORDERED_BACKLOG_SHIFT | filled;
}

static uint32_t ordered_backlog(uint64_t ring) { return (uint32_t)(ring >> ORDERED_BACKLOG_SHIFT) & ORDERED_BACKLOG_MAX; }
static uint32_t ordered_taken(uint64_t ring) { return (uint32_t)ring - ordered_backlog(ring); }
static uint64_t ordered_generation(uint64_t ring) { return ring >> ORDERED_RING_SHIFT; }

/* Is position a before b? They are less than half a turn, 2^31, apart. */
static bool ordered_before(uint32_t a, uint32_t b) { return (int32_t)(a - b) < 0; }

#define ORDERED_TAIL_GENERATION_SHIFT 32
#define ORDERED_TAIL_HELD_SHIFT       44
#define ORDERED_TAIL_HELDS            UINT64_C(0xfffff)

/* Never 0: a tail of 0 belongs to nothing. */
static uint64_t ordered_tail_of(uint64_t held) { return (held & ORDERED_CLOCK_MASK) % ORDERED_TAIL_HELDS + 1; }

static uint64_t ordered_tail(uint64_t held, uint64_t ring)
{
    return ordered_tail_of(held) << ORDERED_TAIL_HELD_SHIFT | ordered_generation(ring) << ORDERED_TAIL_GENERATION_SHIFT |
           (uint32_t)ring;
}

/* ---- Places ---------------------------------------------------------------------------------------------------------------- */

/* Bits of the tag that choose the set: above those that choose the second line (line_other). */
#define ORDERED_SET_SHIFT 40

static struct ordered_move *ordered_set(const struct ordered *o, uint64_t tag)
{
    return o->move + (size_t)((uint32_t)(tag >> ORDERED_SET_SHIFT) & o->set_mask) * ORDERED_WAYS;
}

/* That a word with this queue field names. */
static struct ordered_move *ordered_named(const struct ordered *o, uint64_t word, uint32_t field)
{
    return ordered_set(o, word) + (field - o->first) % ORDERED_WAYS;
}

static uint32_t ordered_field(const struct ordered *o, const struct ordered_move *m)
{
    return o->first + (uint32_t)(m - o->move) % ORDERED_WAYS;
}

/* Its step, if it is the move of a flow with this tag; 0: it was freed meanwhile. */
static uint64_t ordered_step_of(const struct ordered_move *m, uint64_t tag, uint64_t tag_mask)
{
    uint64_t step = u64_load_acquire(&m->step);
    if (ordered_phase(step) < ORDERED_PENDING || (u64_load_acquire(&m->key) ^ tag) & tag_mask)
        return 0;
    return ordered_serial(u64_load_acquire(&m->step)) == ordered_serial(step) ? step : 0; /* the key was written under it */
}

size_t ordered_bytes(const struct ordered_room *room)
{
    if (room->n_moves == 0)
        return 0;
    return sizeof(struct ordered) + room->n_moves * sizeof(struct ordered_move) +
           (STATS_STRIPES - 1) * sizeof(struct ordered_tails) + memory_round64(room->max_queue_pairs * sizeof(atomic_u64));
}

struct ordered *ordered_init(const struct ordered_room *room, uint64_t max_ns, uint64_t settle_ns, void *mem)
{
    struct ordered *o = mem;
    if (room->n_moves == 0)
        return NULL;
    o->move = (void *)(o + 1);
    o->set_mask = room->n_moves / ORDERED_WAYS - 1;
    o->first = room->max_queue_pairs;
    o->max_ns = max_ns;
    o->settle_ns = settle_ns;
    o->tails = (void *)(o->move + room->n_moves);
    o->ring = (void *)(o->tails + STATS_STRIPES - 1);
    return o;
}

static void ordered_count(struct ordered *o, unsigned which) { u64_add_relaxed(&o->count[which], 1); }

/* ---- The end of a move ----------------------------------------------------------------------------------------------------- */

/* The caller has brought the move to ENDING, as `step` (O4): writes the queue into the word, and frees the move. */
static void ordered_finish(struct table *t, const struct ordered *o, struct ordered_move *m, uint64_t step)
{
    const uint64_t hash = u64_load_relaxed(&m->key), field = (uint64_t)t->queue_mask << WORD_QUEUE_SHIFT;
    for (unsigned tries = 0; tries < ORDERED_TRIES; tries++) {
        struct place p = find_in_table(t, hash);
        uint64_t word = p.word;
        if (p.slot && word_queue(t, word) == ordered_field(o, m)) {
            if (word_class(word) == WORD_FROZEN)
                break;
            if (!u64_cas(p.slot, &word, (word & ~field) | (uint64_t)ordered_to(step) << WORD_QUEUE_SHIFT))
                continue;
        }
        u64_store_release(&m->step, ordered_next_free(step));
        return;
    }
    u64_store_release(&m->step, ordered_step(ordered_serial(step), ORDERED_ENDED, ordered_to(step), ordered_to(step)));
}

/* Of one that could not be finished before. */
static void ordered_finish_again(struct table *t, const struct ordered *o, struct ordered_move *m, uint64_t step)
{
    uint64_t ending = ordered_ending(step, ordered_to(step));
    if (ordered_phase(step) == ORDERED_ENDED && u64_cas(&m->step, &step, ending))
        ordered_finish(t, o, m, ending);
}

/* False: somebody else was quicker. */
static bool ordered_end(struct table *t, struct ordered *o, struct ordered_move *m, uint64_t step, uint32_t at, unsigned why)
{
    uint64_t ending = ordered_ending(step, at);
    if (!u64_cas(&m->step, &step, ending))
        return false;
    ordered_count(o, why);
    ordered_finish(t, o, m, ending);
    return true;
}

/* ---- Steering -------------------------------------------------------------------------------------------------------------- */

/* What becomes of a packet of a flow that moves. */
enum { ORDERED_HOLD = ORDERED_BEGUN }; /* or what the end of the move counts as */

static bool ordered_past(uint64_t now_ns, uint64_t since_ns, uint64_t ns)
{
    return (int64_t)(now_ns - since_ns) >= (int64_t)ns; /* clocks of threads differ: what is ahead has just begun */
}

/* Has the guest taken all that was put to the old ring? The ring may be another one by now. (O3, O5) */
static unsigned ordered_judge_ring(const struct ordered *o, const struct ordered_move *m, uint64_t held, uint32_t from)
{
    uint64_t tail = u64_load_acquire(&m->tail), ring = u64_load_acquire(&o->ring[from]);
    if (tail >> ORDERED_TAIL_HELD_SHIFT != ordered_tail_of(held))
        return ordered_backlog(ring) == 0 ? ORDERED_DONE : ORDERED_HOLD;
    if ((tail >> ORDERED_TAIL_GENERATION_SHIFT & ORDERED_GENERATIONS) != ordered_generation(ring))
        return ORDERED_OFF;
    return ordered_before(ordered_taken(ring), (uint32_t)tail) ? ORDERED_HOLD : ORDERED_DONE;
}

static unsigned ordered_judge(const struct vm_view *v, const struct ordered_move *m, uint64_t step, uint64_t held)
{
    const struct ordered *o = v->vm->ordered;
    if (!queue_in_use(&v->vm->queues, ordered_from(step)))
        return ORDERED_OFF;
    if (v->began < (held & ORDERED_CLOCK_MASK)) /* O1, O2 */
        return ORDERED_HOLD;
    unsigned judged = ordered_judge_ring(o, m, held, ordered_from(step));
    if (judged == ORDERED_DONE && o->settle_ns == 0)
        return judged;
    uint64_t now_ns = vm_now(v->vm);
    if (judged == ORDERED_DONE && !ordered_past(now_ns, u64_load_relaxed(&m->held_ns), o->settle_ns))
        judged = ORDERED_HOLD;
    if (judged == ORDERED_HOLD && ordered_past(now_ns, u64_load_relaxed(&m->begun_ns), o->max_ns))
        return ORDERED_FORCED;
    return judged;
}

/* This call's thread will have to take the tail when it comes again (O3). */
static void ordered_list_tail(const struct vm_view *v, const struct ordered_move *m, uint64_t held)
{
    struct ordered *o = v->vm->ordered;
    size_t stripe = (size_t)((const struct stripe *)(const void *)v->tally.counter - v->vm->stats.stripe);
    if (v->tally.shared || o->tails[stripe].n == ORDERED_TAILS)
        return;
    struct ordered_tails *tails = &o->tails[stripe];
    tails->move[tails->n] = (uint32_t)(m - o->move);
    tails->held[tails->n++] = held;
    if (tails->n == 1)
        u64_add_relaxed(&o->n_listing, 1);
    if (!(u8_load_relaxed(&v->vm->queues.modes) & QUEUES_TAILS))
        queues_set_mode(&v->vm->queues, QUEUES_TAILS, true);
}

/* A packet goes to the old ring (O2). False: the step is not what it was. */
static bool ordered_hold(const struct vm_view *v, struct ordered_move *m, uint64_t step, uint64_t held)
{
    uint64_t clock = held & ORDERED_CLOCK_MASK;
    if (clock == ORDERED_NEVER || v->began >= clock) {
        uint64_t later = ordered_held(step, u64_add_acq_rel(&ordered_clock.now, 1) + 1);
        if (!u64_cas(&m->held, &held, later))
            return false;
        if (v->vm->ordered->settle_ns)
            u64_store_relaxed(&m->held_ns, vm_now(v->vm));
        ordered_list_tail(v, m, later);
    }
    ordered_count(v->vm->ordered, ORDERED_HELD);
    return true;
}

/* One look at a pending move. False: it is not what it was, look again. */
static bool ordered_steer_pending(const struct vm_view *v, struct ordered_move *m, uint64_t step, uint16_t *qid)
{
    struct flowq_vm *vm = v->vm;
    uint64_t held = u64_load_acquire(&m->held);
    if (held >> ORDERED_SERIAL_SHIFT != ordered_serial(step))
        return false;
    unsigned judged = ordered_judge(v, m, step, held);
    *qid = judged == ORDERED_HOLD ? ordered_from(step) : ordered_to(step);
    if (judged == ORDERED_HOLD)
        return ordered_hold(v, m, step, held);
    return ordered_end(&vm->table, vm->ordered, m, step, ordered_to(step), judged);
}

/* One look, likewise. */
static bool ordered_foresee_at(const struct vm_view *v, uint64_t word, uint32_t field, uint16_t *qid)
{
    const struct ordered_move *m = ordered_named(v->vm->ordered, word, field);
    uint64_t step = ordered_step_of(m, word, v->tag_mask), held = u64_load_acquire(&m->held);
    *qid = ordered_from(step);
    if (step == 0 || ordered_phase(step) != ORDERED_PENDING)
        return step != 0;
    if (held >> ORDERED_SERIAL_SHIFT != ordered_serial(step))
        return false;
    if (ordered_judge(v, m, step, held) != ORDERED_HOLD)
        *qid = ordered_to(step);
    return true;
}

static uint16_t ordered_foresee_steer(const struct vm_view *v, uint64_t hash, uint64_t word)
{
    struct vm_view looks = *v;
    uint16_t qid = FLOWQ_DROP;
    looks.began &= ~ORDERED_ONLY_LOOKS;
    for (unsigned tries = 0; tries < ORDERED_TRIES && word != 0; tries++) {
        uint32_t field = word_queue(&v->vm->table, word);
        if (!ordered_names_move(v->vm->ordered, field))
            return (uint16_t)field;
        if (ordered_foresee_at(&looks, word, field, &qid))
            return qid;
        word = find_in_table(&v->vm->table, hash).word;
    }
    return word == 0 ? FLOWQ_DROP : qid;
}

uint16_t ordered_steer(const struct vm_view *v, uint64_t hash, uint64_t word)
{
    struct flowq_vm *vm = v->vm;
    const struct ordered *o = vm->ordered;
    uint16_t qid = FLOWQ_DROP;
    if (v->began & ORDERED_ONLY_LOOKS)
        return ordered_foresee_steer(v, hash, word);
    for (unsigned tries = 0; tries < ORDERED_TRIES; tries++) {
        uint32_t field = word_queue(&vm->table, word);
        if (word == 0 || !ordered_names_move(o, field))
            return word == 0 ? FLOWQ_DROP : (uint16_t)field;
        struct ordered_move *m = ordered_named(o, word, field);
        uint64_t step = ordered_step_of(m, word, v->tag_mask);
        if (step != 0 && ordered_phase(step) != ORDERED_PENDING) {
            ordered_finish_again(&vm->table, o, m, step);
            return ordered_from(step);
        }
        if (step != 0 && ordered_steer_pending(v, m, step, &qid))
            return qid;
        qid = step != 0 ? ordered_from(step) : qid;
        word = find_in_table(&vm->table, hash).word; /* in the table as it is now, which need not be the view's */
    }
    return qid;
}

static void ordered_take_tail(const struct ordered *o, struct ordered_move *m, uint64_t held)
{
    uint64_t step = u64_load_acquire(&m->step);
    if (u64_load_acquire(&m->held) == held && ordered_phase(step) == ORDERED_PENDING)
        u64_store_release(&m->tail, ordered_tail(held, u64_load_acquire(&o->ring[ordered_from(step)])));
}

void ordered_take_tails(struct flowq_vm *vm, uint32_t stripe, uint64_t began)
{
    struct ordered *o = vm->ordered;
    struct ordered_tails *tails = &o->tails[stripe];
    uint32_t left = 0;
    if (stripe == STATS_STRIPES - 1 || tails->n == 0)
        return;
    for (uint32_t i = 0; i < tails->n; i++) {
        if ((tails->held[i] & ORDERED_CLOCK_MASK) <= began) {
            ordered_take_tail(o, &o->move[tails->move[i]], tails->held[i]);
        } else {
            tails->move[left] = tails->move[i];
            tails->held[left++] = tails->held[i];
        }
    }
    tails->n = left;
    if (left == 0 && u64_add_acq_rel(&o->n_listing, UINT64_MAX) == 1)
        queues_set_mode(&vm->queues, QUEUES_TAILS, false);
}

/* ---- Notes: a place for a move --------------------------------------------------------------------------------------------- */

/* A move for which no packet came within its bound, or that was not finished. */
static bool ordered_has_lapsed(const struct note_context *c, const struct ordered_move *m)
{
    return ordered_phase(u64_load_acquire(&m->step)) >= ORDERED_PENDING &&
           ordered_past(c->now_ns, u64_load_relaxed(&m->begun_ns), c->ordered->max_ns);
}

/* It makes room. */
static void ordered_lapse(const struct note_context *c, struct ordered_move *m)
{
    uint64_t step = u64_load_acquire(&m->step);
    if (!ordered_has_lapsed(c, m))
        return;
    if (ordered_phase(step) == ORDERED_PENDING)
        (void)ordered_end(c->table, c->ordered, m, step, ordered_to(step), ORDERED_LAPSED);
    else
        ordered_finish_again(c->table, c->ordered, m, step);
}

static struct ordered_move *ordered_claim_free(struct ordered_move *set, uint64_t *step)
{
    for (unsigned way = 0; way < ORDERED_WAYS; way++) {
        *step = u64_load_acquire(&set[way].step);
        uint64_t claimed = ordered_step(ordered_serial(*step), ORDERED_CLAIMED, 0, ordered_to(*step));
        if (ordered_phase(*step) == ORDERED_FREE && u64_cas(&set[way].step, step, claimed))
            return &set[way];
    }
    return NULL;
}

bool ordered_claim(const struct note_context *c, uint64_t hash, uint32_t from, struct ordered_claim *claim)
{
    const struct ordered *o = c->ordered;
    struct ordered_move *set = ordered_set(o, hash);
    uint64_t step;
    if (from == c->qid || from == FLOWQ_DROP)
        return false;
    if (!queue_in_use(c->queues, from)) {
        ordered_count(c->ordered, ORDERED_BEGUN);
        ordered_count(c->ordered, ORDERED_OFF);
        return false;
    }
    struct ordered_move *m = ordered_claim_free(set, &step);
    for (unsigned way = 0; !m && way < ORDERED_WAYS; way++) {
        ordered_lapse(c, &set[way]);
        m = ordered_claim_free(set, &step);
    }
    if (!m) {
        ordered_count(c->ordered, ORDERED_FULL);
        return false;
    }
    *claim = (struct ordered_claim){.move = m,
                                    .step = ordered_step(ordered_serial(step), ORDERED_PENDING, from, c->qid),
                                    .field = ordered_field(o, m),
                                    .from = (uint16_t)from};
    u64_store_relaxed(&m->key, hash);
    u64_store_relaxed(&m->held, ordered_held(step, ORDERED_NEVER));
    u64_store_relaxed(&m->tail, 0);
    u64_store_relaxed(&m->begun_ns, c->now_ns);
    u64_store_relaxed(&m->held_ns, c->now_ns);
    u64_store_release(&m->step, claim->step);
    return true;
}

static uint32_t ordered_outcome(uint32_t from) { return FLOWQ_NOTE_PENDING | from << FLOWQ_NOTE_FROM_SHIFT; }

uint32_t ordered_publish(const struct note_context *c, const struct ordered_claim *claim)
{
    uint64_t never = ordered_held(claim->step, ORDERED_NEVER);
    uint64_t now = u64_add_acq_rel(&ordered_clock.now, 1) + 1;
    (void)u64_cas(&claim->move->held, &never, ordered_held(claim->step, now)); /* unless a packet was held back by then (O1) */
    ordered_count(c->ordered, ORDERED_BEGUN);
    return ordered_outcome(claim->from);
}

void ordered_abandon(const struct ordered_claim *claim) { u64_store_release(&claim->move->step, ordered_next_free(claim->step)); }

/* ---- Notes: a flow that is known ------------------------------------------------------------------------------------------- */

/* False: the word is not what it was. */
static bool ordered_write(const struct note_context *c, const struct place *p, uint32_t kind, uint32_t field)
{
    uint64_t word = p->word, kept = c->table->tag_mask | WORD_SECONDARY;
    uint64_t fresh = word_make(word & kept, field, note_tick(c), note_class[kind][word_class(word)]);
    return fresh == word ? u64_load_acquire(p->slot) == word : u64_cas(p->slot, &word, fresh);
}

/* The flow leaves `from`, where its packets went up to now. */
static uint32_t ordered_start(const struct note_context *c, const struct place *p, uint64_t hash, uint32_t spread, uint32_t kind,
                              uint32_t from)
{
    struct ordered_claim claim;
    if (!queue_in_use(c->queues, from))
        from = queue_pick(c->queues, spread); /* S11 */
    if (!ordered_claim(c, hash, from, &claim))
        return ordered_write(c, p, kind, c->qid) ? FLOWQ_NOTE_MOVED : NOTE_AGAIN;
    if (ordered_write(c, p, kind, claim.field))
        return FLOWQ_NOTE_MOVED | ordered_publish(c, &claim);
    ordered_abandon(&claim);
    return NOTE_AGAIN;
}

static uint32_t ordered_update_pending(const struct note_context *c, const struct place *p, uint32_t kind, struct ordered_move *m,
                                       uint64_t step)
{
    const uint32_t from = ordered_from(step);
    if (!ordered_write(c, p, kind, word_queue(c->table, p->word)))
        return NOTE_AGAIN;
    if (c->qid == ordered_to(step))
        return FLOWQ_NOTE_REFRESHED | ordered_outcome(from);
    if (c->qid == from) /* all its packets went there */
        return ordered_end(c->table, c->ordered, m, step, from, ORDERED_BACK) ? FLOWQ_NOTE_MOVED : NOTE_AGAIN;
    uint64_t elsewhere = ordered_step(ordered_serial(step), ORDERED_PENDING, from, c->qid);
    return u64_cas(&m->step, &step, elsewhere) ? FLOWQ_NOTE_MOVED | ordered_outcome(from) : NOTE_AGAIN;
}

/* The move is over, but the word names it still: who ends it is at work, or could not finish. The flow leaves from where it ended
   only when the word says so: the place may go to another move, under which the word would look the same (O4). */
static uint32_t ordered_update_ended(const struct note_context *c, const struct place *p, uint32_t kind, struct ordered_move *m,
                                     uint64_t step)
{
    bool stays = ordered_from(step) == c->qid;
    bool written = stays && ordered_write(c, p, kind, word_queue(c->table, p->word));
    ordered_finish_again(c->table, c->ordered, m, step);
    return written ? FLOWQ_NOTE_REFRESHED : NOTE_AGAIN;
}

/* A flow that is on the move. noted: the queue that it was last noted on. */
static uint32_t ordered_update_moving(const struct note_context *c, const struct place *p, uint32_t kind, uint32_t *noted)
{
    struct ordered_move *m = ordered_named(c->ordered, p->word, word_queue(c->table, p->word));
    uint64_t step = ordered_step_of(m, p->word, c->table->tag_mask);
    *noted = ordered_to(step);
    if (step == 0)
        return NOTE_AGAIN;
    if (ordered_phase(step) == ORDERED_PENDING)
        return ordered_update_pending(c, p, kind, m, step);
    return ordered_update_ended(c, p, kind, m, step);
}

uint32_t ordered_update(const struct note_context *c, const struct place *p, uint64_t hash, uint32_t spread, uint32_t kind)
{
    uint32_t noted = word_queue(c->table, p->word), outcome;
    if (noted == c->qid)
        return ordered_write(c, p, kind, noted) ? FLOWQ_NOTE_REFRESHED : NOTE_AGAIN;
    if (ordered_names_move(c->ordered, noted))
        outcome = ordered_update_moving(c, p, kind, &noted);
    else
        outcome = ordered_start(c, p, hash, spread, kind, noted);
    if ((outcome & FLOWQ_NOTE_OUTCOME) == FLOWQ_NOTE_MOVED)
        PROBE(flow__moved, PROBE_TABLE(c->table), PROBE_FLOW(c->table, hash), noted, c->qid);
    return outcome;
}

/* ---- Notes, foreseen ------------------------------------------------------------------------------------------------------- */

uint32_t ordered_foresee_claim(const struct note_context *c, uint64_t hash, uint32_t from)
{
    const struct ordered_move *set = ordered_set(c->ordered, hash);
    if (from == c->qid || from == FLOWQ_DROP || !queue_in_use(c->queues, from))
        return 0;
    for (unsigned way = 0; way < ORDERED_WAYS; way++)
        if (ordered_phase(u64_load_acquire(&set[way].step)) == ORDERED_FREE || ordered_has_lapsed(c, &set[way]))
            return ordered_outcome(from);
    return 0;
}

uint32_t ordered_foresee_update(const struct note_context *c, uint64_t word, uint64_t hash, uint32_t spread)
{
    uint32_t from = word_queue(c->table, word);
    if (ordered_names_move(c->ordered, from)) {
        uint64_t step = u64_load_acquire(&ordered_named(c->ordered, word, from)->step);
        bool pending = ordered_phase(step) == ORDERED_PENDING;
        from = pending ? ordered_from(step) : ordered_to(step);
        if (pending && ordered_to(step) == c->qid)
            return FLOWQ_NOTE_REFRESHED | ordered_outcome(from);
        if (pending)
            return FLOWQ_NOTE_MOVED | (from == c->qid ? 0 : ordered_outcome(from));
    }
    if (from == c->qid)
        return FLOWQ_NOTE_REFRESHED;
    if (!queue_in_use(c->queues, from))
        from = queue_pick(c->queues, spread);
    return FLOWQ_NOTE_MOVED | ordered_foresee_claim(c, hash, from);
}

/* ---- Ring positions (O5) -------------------------------------------------------------------------------------------------- */

static int ordered_check_ring(const struct flowq_vm *vm, uint32_t qid)
{
    if (!vm || qid >= vm->queues.max)
        return -EINVAL;
    return vm->ordered ? 0 : -ENOTSUP;
}

int flowq_vm_ring_report(struct flowq_vm *vm, uint32_t qid, uint32_t filled, uint32_t taken)
{
    int r = ordered_check_ring(vm, qid);
    if (r)
        return r;
    atomic_u64 *ring = &vm->ordered->ring[qid];
    uint64_t seen = u64_load_acquire(ring), now;
    do {
        uint32_t end = (uint32_t)seen, begin = ordered_taken(seen);
        end = ordered_before(end, filled) ? filled : end;
        begin = ordered_before(begin, taken) ? taken : begin;
        begin = ordered_before(end, begin) ? end : begin;
        now = ordered_ring(ordered_generation(seen), end, end - begin);
        if (now == seen)
            return 0;
    } while (!u64_cas(ring, &seen, now));
    return 0;
}

int flowq_vm_ring_restart(struct flowq_vm *vm, uint32_t qid, uint32_t position)
{
    int r = ordered_check_ring(vm, qid);
    if (r)
        return r;
    atomic_u64 *ring = &vm->ordered->ring[qid];
    uint64_t seen = u64_load_acquire(ring);
    while (!u64_cas(ring, &seen, ordered_ring(ordered_generation(seen) + 1, position, 0)))
        ;
    return 0;
}

/* ---- Looking inside -------------------------------------------------------------------------------------------------------- */

uint16_t ordered_bound_to(const struct ordered *o, const struct table *t, uint64_t word)
{
    uint32_t field = word_queue(t, word);
    return ordered_names_move(o, field) ? ordered_to(u64_load_acquire(&ordered_named(o, word, field)->step)) : (uint16_t)field;
}

uint64_t ordered_settled(const struct ordered *o, const struct table *t, uint64_t word)
{
    uint64_t field = (uint64_t)t->queue_mask << WORD_QUEUE_SHIFT;
    return (word & ~field) | (uint64_t)ordered_bound_to(o, t, word) << WORD_QUEUE_SHIFT;
}

uint64_t ordered_n_pending(const struct ordered *o)
{
    uint64_t n = 0;
    for (size_t i = 0; o && i < ((size_t)o->set_mask + 1) * ORDERED_WAYS; i++)
        n += ordered_phase(u64_load_relaxed(&o->move[i].step)) == ORDERED_PENDING;
    return n;
}
