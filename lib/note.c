/* SPDX-License-Identifier: BSD-2-Clause */
/* note: see note.h, and table.h for the ordering guarantees T-A to T-G. */
#include "note.h"

#include "find.h"
#include "probes.h"

/* Besides FLOWQ_NOTE_* and NOTE_AGAIN: */
enum {
    NOTE_GET_MEMORY = 0xfffe, /* growth wants some, and start again */
    NOTE_GET_HALVES = 0xfffd  /* so does a split */
};

/* How the table may still grow for one note. */
struct note_growth {
    unsigned splits;             /* so many times; 0: the note has to do with what there is */
    struct table_want want;      /* with NOTE_GET_MEMORY */
    struct table_halves *halves; /* for a split; NULL: none yet */
};

/* ---- Class and rank (S8, S9) ----------------------------------------------------------------------------------------------- */

static uint32_t note_first_class(enum note_kind kind)
{
    switch (kind) {
    case NOTE_CARRIES:
        return FLOWQ_CLASS_ESTABLISHED;
    case NOTE_CLOSES:
    case NOTE_RESETS:
        return FLOWQ_CLASS_CLOSING;
    default:
        return FLOWQ_CLASS_EMBRYONIC;
    }
}

/* Of a flow that was noted before, and not stored (S9). */
static uint32_t note_second_class(enum note_kind kind) { return note_class[kind][FLOWQ_CLASS_EMBRYONIC]; }

static uint64_t note_first_word(const struct note_context *c, uint64_t hash, uint32_t cls)
{
    return (hash & c->table->tag_mask) | c->idle | cls;
}

uint32_t note_victim_rank(const struct note_context *c, uint64_t word)
{
    static const uint8_t by_class[] = {[FLOWQ_CLASS_EMBRYONIC] = NOTE_RANK_STALE + 1,
                                       [FLOWQ_CLASS_CLOSING] = NOTE_RANK_STALE + 2,
                                       [FLOWQ_CLASS_ESTABLISHED] = NOTE_RANK_STALE + 3};
    if (word == 0)
        return NOTE_RANK_EMPTY;
    uint32_t age = note_age(note_tick(c), word), cls = word_class(word);
    if (cls == WORD_FROZEN || (cls == FLOWQ_CLASS_ESTABLISHED && age <= c->ages.active))
        return UINT32_MAX;
    uint32_t rank = note_stale(&c->ages, note_tick(c), word) ? NOTE_RANK_STALE : by_class[cls];
    return rank << 16 | (0xffff - age);
}

/* ---- A flow that is known -------------------------------------------------------------------------------------------------- */

bool note_let_move(const struct note_context *c, const struct place *p)
{
    struct spin *lock = &shard_head(c->table, p->shard)->lock;
    bool done = spin_try_within(lock, c->tries_left);
    if (done)
        spin_unlock(lock);
    return done;
}

/* Refresh, move, change of class: one compare-and-swap, or nothing if nothing changes. */
static uint32_t note_update(const struct note_context *c, const struct place *p, uint64_t hash, uint32_t spread,
                            enum note_kind kind)
{
    const struct table *t = c->table;
    if (t->plane_at)
        return note_update_timed(c, p, hash, kind);
    if (c->ordered)
        return ordered_update(c, p, hash, spread, kind);
    uint64_t word = p->word;
    uint64_t fresh = word_make(word & (t->tag_mask | WORD_SECONDARY), c->qid, note_tick(c), note_class[kind][word_class(word)]);
    uint32_t outcome = word_queue(t, word) == c->qid ? FLOWQ_NOTE_REFRESHED : FLOWQ_NOTE_MOVED;
    if (fresh == word)
        return outcome;
    if (!u64_cas(p->slot, &word, fresh))
        return NOTE_AGAIN;
    if (outcome == FLOWQ_NOTE_MOVED)
        PROBE(flow__moved, PROBE_TABLE(t), PROBE_FLOW(t, hash), word_queue(t, word), c->qid);
    return outcome;
}

/* ---- A flow that is not ---------------------------------------------------------------------------------------------------- */

/* The slot of a line that gives way first. */
static struct place note_best_slot(const struct note_context *c, struct shard *s, uint32_t line, uint32_t *rank)
{
    struct place best = {.shard = s, .line = shard_line(s, line), .slot = &shard_line(s, line)->slot[0]};
    *rank = UINT32_MAX;
    for (uint32_t i = 0; i < LINE_SLOTS && *rank != NOTE_RANK_EMPTY; i++) {
        uint64_t word = u64_load_acquire(&best.line->slot[i]);
        uint32_t r = note_victim_rank(c, word);
        if (r < *rank) {
            *rank = r;
            best.slot = &best.line->slot[i];
            best.word = word;
        }
    }
    return best;
}

/* The part of this line, or the shard, is locked. */
static void note_count_live(struct shard_head *head, uint32_t line)
{
    atomic_u16 *live = &head->live[part_of(line)];
    u16_store_relaxed(live, (uint16_t)(u16_load_relaxed(live) + 1));
}

/* Writes off the flow whose place was taken; p->word is what it was. */
static void note_write_off(const struct note_context *c, const struct place *p, uint32_t rank)
{
    const struct table *t = c->table;
    tally_add(&c->tally, rank >> 16 == NOTE_RANK_STALE ? STAT_RECLAIMED : STAT_DISPLACED + word_class(p->word), 1);
    if (rank >> 16 != NOTE_RANK_STALE)
        PROBE(flow__displaced, PROBE_TABLE(t), PROBE_FLOW(t, p->word), ordered_bound_to(c->ordered, t, p->word),
              word_class(p->word));
    if (p->word & WORD_SECONDARY) {
        uint32_t line = (uint32_t)(p->line - shard_line(p->shard, 0));
        line_uncount_second(shard_line(p->shard, line_other(t->line_mask, p->word, line)));
    }
}

/* Puts `word` into the slot at p if that still holds p->word; `home` is the line to count in if p is in the flow's second line.
   The flow that is there is frozen first, so that nothing has been touched when that fails, and no note of it comes between. */
static bool note_put(const struct note_context *c, const struct place *p, uint32_t rank, struct line *home, uint64_t word,
                     uint16_t stamp)
{
    bool secondary = p->line != home;
    uint64_t expected = p->word;
    if (rank != NOTE_RANK_EMPTY && !u64_cas_seq_cst(p->slot, &expected, expected & ~WORD_CLASS_MASK))
        return false;
    if (secondary)
        line_count_second(home, word); /* T-B: before it can be looked for there */
    if (c->table->plane_at)
        u16_store_release(place_stamp(c->table, p), stamp);               /* N-A */
    u64_store_release(p->slot, secondary ? word | WORD_SECONDARY : word); /* nobody else fills empty slots, or frozen ones */
    if (rank == NOTE_RANK_EMPTY)
        note_count_live(shard_head(c->table, p->shard), (uint32_t)(p->line - shard_line(p->shard, 0)));
    else
        note_write_off(c, p, rank);
    return true;
}

/* A flow that has moved aside: the slot that it leaves, frozen, and the one that it has now; its binding time when it went. */
struct note_moved {
    struct place from, to;
    uint16_t stamp;
};

/* Moves a flow that is in its home line, `line`, over to its second one, if there is a place that nobody needs. */
static bool note_move_aside(const struct note_context *c, struct shard *s, uint32_t line, struct note_moved *m)
{
    const struct table *t = c->table;
    for (uint32_t i = 0; i < LINE_SLOTS; i++) {
        atomic_u64 *slot = &shard_line(s, line)->slot[i];
        uint64_t word = u64_load_acquire(slot);
        uint32_t rank;
        if (word & WORD_SECONDARY)
            continue;
        m->to = note_best_slot(c, s, line_other(t->line_mask, word, line), &rank);
        if (rank >> 16 > NOTE_RANK_STALE)
            continue;
        m->from = (struct place){.shard = s, .line = shard_line(s, line), .slot = slot};
        word = slot_freeze(slot); /* T-A */
        m->from.word = word & ~WORD_CLASS_MASK;
        m->stamp = t->plane_at ? u16_load_seq_cst(place_stamp(t, &m->from)) : 0;
        if (note_put(c, &m->to, rank, m->from.line, word, m->stamp))
            return true;
        u64_store_release(slot, word); /* its new place was refreshed after all: thaw */
    }
    return false;
}

/* Takes the slot that a flow has left for `word`. */
static void note_take_left(const struct note_context *c, const struct note_moved *m, struct line *home, uint64_t word)
{
    bool secondary = m->from.line != home;
    if (secondary)
        line_count_second(home, word);
    if (c->table->plane_at) { /* N-A */
        uint16_t stamp = u16_xchg_seq_cst(place_stamp(c->table, &m->from), note_bind_stamp(c));
        if (stamp != m->stamp)
            stamp_raise(place_stamp(c->table, &m->to), m->stamp, stamp);
    }
    u64_store_release(m->from.slot, secondary ? word | WORD_SECONDARY : word);
}

static uint32_t note_grown_outcome(const struct note_context *c, enum table_grown grown)
{
    switch (grown) {
    case TABLE_GROWN:
    case TABLE_CHANGED:
        return NOTE_AGAIN;
    case TABLE_BUSY:
        return FLOWQ_NOTE_BUSY;
    case TABLE_WANTS:
        return NOTE_GET_MEMORY;
    case TABLE_UNREADY:
        return NOTE_GET_HALVES;
    case TABLE_DELAYED:
        tally_add(&c->tally, STAT_GROW_DELAYED, 1);
        PROBE(section__stalled, PROBE_TABLE(c->table), epoch_blocker_owner());
        break;
    case TABLE_AT_LIMIT:
        break;
    }
    return FLOWQ_NOTE_REFUSED;
}

static uint32_t note_grow(const struct note_context *c, struct shard *s, uint64_t hash, struct note_growth *g)
{
    if (g->splits == 0)
        return FLOWQ_NOTE_REFUSED;
    enum table_grown grown = table_grow(c->table, s, hash, g->halves, &g->want, c->tries_left);
    if (grown == TABLE_GROWN) {
        tally_add(&c->tally, STAT_GROWN, 1);
        PROBE(table__grown, PROBE_TABLE(c->table), u32_load_relaxed(&c->table->grow.n_shards));
        g->splits -= s != shard_nowhere();
    }
    return note_grown_outcome(c, grown);
}

/* No lock is held. */
static uint32_t note_get_memory(const struct note_context *c, struct note_growth *g)
{
    enum table_got got = table_get(c->table, &g->want, c->tries_left);
    if (got == TABLE_GOT_NONE) {
        tally_add(&c->tally, STAT_GROW_FAILED, 1);
        g->splits = 0;
    }
    return got == TABLE_GOT_BUSY ? FLOWQ_NOTE_BUSY : NOTE_AGAIN;
}

/* Finds a place, in the order of S9: a free or a stale one, one that another flow can leave, a larger table, the least of the
   flows within reach. */
static uint32_t note_insert_locked(const struct note_context *c, struct shard *s, uint64_t hash, uint32_t cls,
                                   struct note_growth *g)
{
    const struct table *t = c->table;
    uint64_t word = note_first_word(c, hash, cls);
    uint32_t first = line_of_hash(t->line_mask, hash), second = line_other(t->line_mask, hash, first), rank, other_rank;
    struct line *home = shard_line(s, first);
    struct note_moved aside;
    struct place best = note_best_slot(c, s, first, &rank);
    struct place other = note_best_slot(c, s, second, &other_rank);
    bool stale_at_home = rank >> 16 == NOTE_RANK_STALE && other_rank != NOTE_RANK_EMPTY; /* as good as any other stale one */
    if (other_rank < rank && !stale_at_home) {
        best = other;
        rank = other_rank;
    }
    if (rank >> 16 <= NOTE_RANK_STALE)
        return note_put(c, &best, rank, home, word, note_bind_stamp(c)) ? FLOWQ_NOTE_BOUND : NOTE_AGAIN;
    if (note_move_aside(c, s, first, &aside) || note_move_aside(c, s, second, &aside)) {
        note_take_left(c, &aside, home, word);
        return FLOWQ_NOTE_BOUND;
    }
    uint32_t grown = note_grow(c, s, hash, g);
    if (grown != FLOWQ_NOTE_REFUSED || rank == UINT32_MAX)
        return grown;
    return note_put(c, &best, rank, home, word, note_bind_stamp(c)) ? FLOWQ_NOTE_BOUND : NOTE_AGAIN;
}

/* What most new flows take: an empty slot at home. False: it may be known by now, or must go elsewhere. The home line's part is
   locked. */
static inline bool note_insert_at_home(const struct note_context *c, struct shard *s, struct shard_head *head, uint64_t hash,
                                       uint32_t cls)
{
    const struct table *t = c->table;
    uint32_t line = line_of_hash(t->line_mask, hash);
    struct place p = find_empty_for_new(t, s, line, hash);
    if (!p.slot)
        return false;
    if (t->plane_at)
        u16_store_relaxed(place_stamp(t, &p), note_bind_stamp(c)); /* N-A */
    u64_store_release(p.slot, note_first_word(c, hash, cls));      /* nobody else fills empty slots */
    note_count_live(head, line);
    return true;
}

/* Parts of a shard that a note has locked: a bit for each. */
struct note_parts {
    struct shard_head *head;
    uint32_t locked;
};

/* Nobody waits for a second one. */
static bool note_parts_add(struct note_parts *parts, uint32_t line)
{
    uint32_t bit = 1u << part_of(line);
    if (!(parts->locked & bit) && !part_try(parts->head, line))
        return false;
    parts->locked |= bit;
    return true;
}

static void note_parts_unlock(const struct note_parts *parts)
{
    for (uint32_t left = parts->locked; left; left &= left - 1)
        part_unlock(parts->head, (uint32_t)__builtin_ctz(left));
}

/* As note_move_aside(), to an empty slot. The part of `line` is locked. */
static bool note_move_aside_in_parts(const struct note_context *c, struct shard *s, struct note_parts *parts, uint32_t line,
                                     struct note_moved *m)
{
    const struct table *t = c->table;
    for (uint32_t i = 0; i < LINE_SLOTS; i++) {
        atomic_u64 *slot = &shard_line(s, line)->slot[i];
        uint64_t word = u64_load_acquire(slot);
        uint32_t to = line_other(t->line_mask, word, line);
        if (word & WORD_SECONDARY || !find_empty(s, to).slot || !note_parts_add(parts, to))
            continue;
        m->to = find_empty(s, to);
        if (!m->to.slot)
            continue;
        m->to.word = 0;
        m->from = (struct place){.shard = s, .line = shard_line(s, line), .slot = slot};
        word = slot_freeze(slot); /* T-A */
        m->from.word = word & ~WORD_CLASS_MASK;
        m->stamp = t->plane_at ? u16_load_seq_cst(place_stamp(t, &m->from)) : 0;
        return note_put(c, &m->to, NOTE_RANK_EMPTY, m->from.line, word, m->stamp); /* which an empty slot never refuses */
    }
    return false;
}

/* An empty slot, or one that another flow can leave for an empty one. NOTE_AGAIN: the flow is known by now. FLOWQ_NOTE_REFUSED:
   it takes more than that, or another part is locked by somebody. The home line's part is locked. */
static uint32_t note_insert_in_parts(const struct note_context *c, struct shard *s, struct note_parts *parts, uint64_t hash,
                                     uint32_t cls)
{
    const struct table *t = c->table;
    uint64_t word = note_first_word(c, hash, cls);
    uint32_t first = line_of_hash(t->line_mask, hash), second = line_other(t->line_mask, hash, first), rank, other_rank;
    struct line *home = shard_line(s, first);
    struct note_moved aside;
    if (find_in_shard(t, s, hash).slot)
        return NOTE_AGAIN;
    struct place p = find_empty(s, first);
    bool both = !p.slot && note_parts_add(parts, second);
    if (both)
        p = find_empty(s, second);
    if (p.slot)
        return note_put(c, &p, NOTE_RANK_EMPTY, home, word, note_bind_stamp(c)) ? FLOWQ_NOTE_BOUND : NOTE_AGAIN;
    (void)note_best_slot(c, s, first, &rank);
    (void)note_best_slot(c, s, second, &other_rank);
    if (rank >> 16 == NOTE_RANK_STALE || other_rank >> 16 <= NOTE_RANK_STALE)
        return FLOWQ_NOTE_REFUSED;
    if (!note_move_aside_in_parts(c, s, parts, first, &aside) && !(both && note_move_aside_in_parts(c, s, parts, second, &aside)))
        return FLOWQ_NOTE_REFUSED;
    note_take_left(c, &aside, home, word);
    return FLOWQ_NOTE_BOUND;
}

/* Whatever it takes. */
static __attribute__((noinline)) uint32_t note_insert_somehow(const struct note_context *c, struct shard *s,
                                                              struct shard_head *head, uint64_t hash, uint32_t cls,
                                                              struct note_growth *g)
{
    if (!shard_try_within(head, c->tries_left))
        return FLOWQ_NOTE_BUSY;
    uint32_t outcome = NOTE_AGAIN;
    if (!head->superseded && !find_in_shard(c->table, s, hash).slot)
        outcome = note_insert_locked(c, s, hash, cls, g);
    shard_unlock(head);
    return outcome;
}

/* The home line's part is locked, and is let go. */
static __attribute__((noinline)) uint32_t note_insert_elsewhere(const struct note_context *c, struct shard *s, uint64_t hash,
                                                                uint32_t cls, struct note_growth *g)
{
    uint32_t line = line_of_hash(c->table->line_mask, hash);
    struct note_parts parts = {.head = shard_head(c->table, s), .locked = 1u << part_of(line)};
    uint32_t outcome = parts.head->superseded ? NOTE_AGAIN : note_insert_in_parts(c, s, &parts, hash, cls);
    note_parts_unlock(&parts);
    return outcome == FLOWQ_NOTE_REFUSED ? note_insert_somehow(c, s, parts.head, hash, cls, g) : outcome;
}

static inline uint32_t note_insert_in(const struct note_context *c, struct shard *s, uint64_t hash, uint32_t cls,
                                      struct note_growth *g)
{
    struct shard_head *head = shard_head(c->table, s);
    uint32_t line = line_of_hash(c->table->line_mask, hash);
    if (!part_try_within(head, line, c->tries_left))
        return FLOWQ_NOTE_BUSY;
    if (head->superseded || !note_insert_at_home(c, s, head, hash, cls))
        return note_insert_elsewhere(c, s, hash, cls, g);
    part_unlock(head, line);
    return FLOWQ_NOTE_BOUND;
}

/* There was no room in s, and there is no lock held: gets what a split takes, and tries again. */
static uint32_t note_split_and_insert(const struct note_context *c, struct shard *s, uint64_t hash, uint32_t cls,
                                      struct note_growth *g)
{
    struct table_halves halves = {{NULL, NULL}};
    uint32_t outcome = note_grown_outcome(c, table_prepare(c->table, s, &halves, &g->want, c->tries_left));
    if (outcome == FLOWQ_NOTE_REFUSED) {
        g->splits = 0; /* the note has to do with what there is */
        return NOTE_AGAIN;
    }
    if (outcome != NOTE_AGAIN)
        return outcome;
    g->halves = &halves;
    s = table_shard(c->table, hash); /* another one, perhaps, by now */
    if (s != shard_nowhere())
        outcome = part_try_within(shard_head(c->table, s), line_of_hash(c->table->line_mask, hash), c->tries_left)
                      ? note_insert_elsewhere(c, s, hash, cls, g)
                      : FLOWQ_NOTE_BUSY;
    g->halves = NULL;
    if (halves.half[0])
        table_give_back(c->table, &halves);
    return outcome;
}

/* What an insert is short of; no lock is held. */
static __attribute__((noinline)) uint32_t note_insert_more(const struct note_context *c, struct shard *s, uint64_t hash,
                                                           uint32_t cls, struct note_growth *g, uint32_t outcome)
{
    if (outcome == NOTE_GET_HALVES)
        outcome = note_split_and_insert(c, s, hash, cls, g);
    return outcome == NOTE_GET_MEMORY ? note_get_memory(c, g) : outcome;
}

/* s: the flow's shard, or what was it when this section's look-up began. */
static uint32_t note_insert(const struct note_context *c, struct shard *s, uint64_t hash, uint32_t cls, struct note_growth *g)
{
    uint32_t outcome = s == shard_nowhere() ? note_grow(c, s, hash, g) : note_insert_in(c, s, hash, cls, g);
    if (outcome == NOTE_GET_HALVES || outcome == NOTE_GET_MEMORY)
        outcome = note_insert_more(c, s, hash, cls, g, outcome);
    if (outcome == FLOWQ_NOTE_BOUND)
        PROBE(flow__bound, PROBE_TABLE(c->table), PROBE_FLOW(c->table, hash), c->qid);
    else if (outcome == FLOWQ_NOTE_REFUSED)
        PROBE(flow__refused, PROBE_TABLE(c->table), PROBE_FLOW(c->table, hash), c->qid);
    return outcome;
}

/* The same, of a flow that was steered to its fallback: there it may have packets, so it moves from there (ordered.h). */
static uint32_t note_insert_from(const struct note_context *c, struct shard *s, uint64_t hash, uint32_t spread, uint32_t cls,
                                 struct note_growth *g)
{
    struct ordered_claim claim;
    if (!c->ordered || !ordered_claim(c, hash, queue_pick(c->queues, spread), &claim))
        return note_insert(c, s, hash, cls, g);
    struct note_context moving = *c;
    moving.idle = word_make(0, claim.field, note_tick(c), 0);
    uint32_t outcome = note_insert(&moving, s, hash, cls, g);
    if (outcome == FLOWQ_NOTE_BOUND)
        return outcome | ordered_publish(c, &claim);
    ordered_abandon(&claim);
    return outcome;
}

/* ---- One note -------------------------------------------------------------------------------------------------------------- */

/* Embryonic, and on the queue that steering chooses anyway. */
static bool note_is_implied(const struct note_context *c, uint32_t spread, enum note_kind kind)
{
    return note_begins(kind) && queue_pick(c->queues, spread) == c->qid;
}

uint32_t note_flow(const struct note_context *c, uint64_t hash, uint32_t spread, enum note_kind kind)
{
    struct note_growth g = {.splits = NOTE_SPLITS};
    for (unsigned tries = 0; tries < NOTE_TRIES; tries++) {
        struct place p = find_in_table(c->table, hash);
        uint32_t outcome;
        if (p.slot && word_class(p.word) != WORD_FROZEN)
            outcome = note_update(c, &p, hash, spread, kind);
        else if (p.slot)
            outcome = note_let_move(c, &p) ? NOTE_AGAIN : FLOWQ_NOTE_BUSY;
        else if (kind == NOTE_RESETS)
            outcome = FLOWQ_NOTE_RESET;
        else if (note_is_implied(c, spread, kind))
            outcome = implied_again(c->implied, hash, c->now_ns)
                          ? note_insert_from(c, p.shard, hash, spread, note_second_class(kind), &g)
                          : FLOWQ_NOTE_IMPLIED;
        else
            outcome = note_insert_from(c, p.shard, hash, spread, note_first_class(kind), &g);
        if (outcome != NOTE_AGAIN)
            return outcome;
    }
    return FLOWQ_NOTE_BUSY;
}

bool note_unchanged_second(const struct note_context *c, const struct line *home, uint64_t hash, uint32_t flags)
{
    uint64_t word = find_second_word(c->table->line_mask, c->table->tag_mask, home, hash);
    return note_change(c->idle, c->table->tag_mask, hash, flags, word) == WORD_SECONDARY;
}

uint32_t note_missed(const struct note_context *c, struct line *home, uint64_t hash, uint32_t spread, enum note_kind kind)
{
    /* A short cut to note_insert(), which looks again under the lock. Not where the answer hangs on the flow being unknown: the
       line may be of a shard that an earlier packet of the batch has split. */
    if ((kind == NOTE_CARRIES || kind == NOTE_CLOSES) && !line_may_be_second(home, hash)) {
        struct note_growth g = {.splits = NOTE_SPLITS};
        uint32_t outcome = note_insert(c, line_shard(c->table->line_mask, home, hash), hash, note_first_class(kind), &g);
        if (outcome != NOTE_AGAIN)
            return outcome;
    }
    return note_flow(c, hash, spread, kind);
}
