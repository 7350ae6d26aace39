/* note: see note.h, and table.h for the ordering guarantees T-A to T-F. */
#include "note.h"

#include "probe.h"

enum { AGAIN = 0xffff }; /* besides FLOWQ_NOTE_*: something changed under us, start again */

/* ---- Class and age (S8) ---------------------------------------------------------------------------------------------------- */

struct note_ages note_ages_from(uint32_t tick_shift, uint64_t active_ns, uint64_t idle_ns)
{
    uint64_t round = (UINT64_C(1) << tick_shift) - 1;
    uint64_t idle = (idle_ns + round) >> tick_shift, longest = WORD_TICK_MASK - 32;
    return (struct note_ages){
        .tick_shift = tick_shift,
        .embryonic = (uint32_t)((NOTE_EMBRYONIC_STALE_NS + round) >> tick_shift),
        .closing = (uint32_t)((NOTE_CLOSING_STALE_NS + round) >> tick_shift),
        .idle = (uint32_t)(idle < longest ? idle : longest),
        .active = (uint32_t)(active_ns >> tick_shift) + 1, /* the tick it began in may have been nearly over */
    };
}

bool note_stale(const struct note_ages *ages, uint32_t now_tick, uint64_t word)
{
    uint32_t age = note_age(now_tick, word);
    switch (word_class(word)) {
    case FLOWQ_CLASS_EMBRYONIC:
        return age > ages->embryonic;
    case FLOWQ_CLASS_CLOSING:
        return age > ages->closing;
    case FLOWQ_CLASS_ESTABLISHED:
        return age > ages->idle;
    default:
        return false;
    }
}

static uint32_t first_class(enum note_kind kind)
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

static uint64_t first_word(const struct note_context *c, uint64_t hash, enum note_kind kind)
{
    return (hash & c->table->tag_mask) | c->idle | first_class(kind);
}

/* A new connection on old ports (S2). On an embryonic binding a SYN is a retransmission. */
static bool opens_anew(uint32_t cls, enum note_kind kind) { return cls != FLOWQ_CLASS_EMBRYONIC && kind == NOTE_OPENS; }

/* Who gives way first (S9): a smaller number does. An empty slot is 0; UINT32_MAX never does. Within a class the oldest. */
enum { RANK_EMPTY = 0, RANK_STALE = 1, RANK_NEVER = 0xffff };

static uint32_t victim_rank(const struct note_context *c, uint64_t word)
{
    static const uint8_t by_class[] = {[FLOWQ_CLASS_EMBRYONIC] = RANK_STALE + 1,
                                       [FLOWQ_CLASS_CLOSING] = RANK_STALE + 2,
                                       [FLOWQ_CLASS_ESTABLISHED] = RANK_STALE + 3};
    if (word == 0)
        return RANK_EMPTY;
    uint32_t age = note_age(note_tick(c), word), cls = word_class(word);
    if (cls == WORD_FROZEN || (cls == FLOWQ_CLASS_ESTABLISHED && age <= c->ages.active))
        return UINT32_MAX;
    uint32_t rank = note_stale(&c->ages, note_tick(c), word) ? RANK_STALE : by_class[cls];
    return rank << 16 | (0xffff - age);
}

/* ---- Binding times (S2) ---------------------------------------------------------------------------------------------------- */

static uint16_t bind_stamp(const struct note_context *c)
{
    uint16_t stamp = (uint16_t)(c->now_ns >> NOTE_BIND_SHIFT);
    return stamp ? stamp : 1;
}

static atomic_u16 *plane_slot(const struct table *t, const struct place *p)
{
    size_t line = (size_t)(p->line - p->shard->line);
    return shard_plane(t, p->shard) + line * LINE_SLOTS + (size_t)(p->slot - p->line->slot);
}

/* Has a flow that had this word and this binding time been bound within so many ticks? The time alone may have wrapped (note.h).
 */
static bool stamp_recent(const struct note_context *c, uint64_t word, uint16_t stamp, uint32_t ticks)
{
    uint64_t noted_ago = (uint64_t)note_age(note_tick(c), word) << c->ages.tick_shift;
    uint64_t tick_ns = UINT64_C(1) << c->ages.tick_shift;
    if (stamp == 0 || noted_ago > ((uint64_t)ticks << NOTE_BIND_SHIFT) + tick_ns)
        return false;
    uint16_t age = (uint16_t)(bind_stamp(c) - stamp);
    return age <= ticks || age > UINT16_MAX - 16; /* nearly a whole turn: the clock of another thread is ahead */
}

static bool bound_recently(const struct note_context *c, const struct place *p, uint32_t ticks)
{
    return stamp_recent(c, p->word, u16_load_relaxed(plane_slot(c->table, p)), ticks);
}

/* ---- A flow that is known -------------------------------------------------------------------------------------------------- */

/* Writes "long ago" over a binding time that is, before it wraps; but not over one that a note which moved the flow has just
 * stored. */
static void expire(const struct note_context *c, const struct place *p, uint32_t ticks)
{
    atomic_u16 *stamp = plane_slot(c->table, p);
    uint16_t seen = u16_load_relaxed(stamp);
    if (seen != 0 && !stamp_recent(c, p->word, seen, ticks))
        (void)u16_cas(stamp, &seen, 0);
}

/* Refresh, move, change of class: one compare-and-swap, or nothing if nothing changes. */
static uint32_t update(const struct note_context *c, const struct place *p, enum note_kind kind)
{
    const struct table *t = c->table;
    uint64_t word = p->word;
    uint32_t queue = word_queue(t, word), ticks = kind == NOTE_DATAGRAM ? c->rebind_other : c->rebind_tcp;
    uint32_t outcome = queue == c->qid ? FLOWQ_NOTE_REFRESHED : FLOWQ_NOTE_MOVED;
    if (outcome == FLOWQ_NOTE_MOVED && ticks && queue_in_use(c->queues, queue) && !opens_anew(word_class(word), kind) &&
        bound_recently(c, p, ticks))
        outcome = FLOWQ_NOTE_SUPPRESSED;
    uint64_t fresh = word_make(word & (t->tag_mask | WORD_SECONDARY), outcome == FLOWQ_NOTE_MOVED ? c->qid : queue, note_tick(c),
                               note_class[kind][word_class(word)]);
    if (fresh == word)
        return outcome;
    uint64_t expected = word;
    if (!u64_cas(p->slot, &expected, fresh))
        return AGAIN;
    if (t->plane_at) {
        if (outcome == FLOWQ_NOTE_MOVED || opens_anew(word_class(word), kind))
            u16_store_relaxed(plane_slot(t, p), bind_stamp(c)); /* N-A */
        else
            expire(c, p, ticks);
    }
    return outcome;
}

/* ---- A flow that is not ---------------------------------------------------------------------------------------------------- */

/* The slot of a line that gives way first. */
static struct place best_slot(const struct note_context *c, struct shard *s, uint32_t line, uint32_t *rank)
{
    struct place best = {.shard = s, .line = &s->line[line], .slot = &s->line[line].slot[0]};
    *rank = UINT32_MAX;
    for (uint32_t i = 0; i < LINE_SLOTS && *rank != RANK_EMPTY; i++) {
        uint64_t word = u64_load_acquire(&best.line->slot[i]);
        uint32_t r = victim_rank(c, word);
        if (r < *rank) {
            *rank = r;
            best.slot = &best.line->slot[i];
            best.word = word;
        }
    }
    return best;
}

/* An empty slot of a line; slot NULL: there is none. */
static struct place empty_slot(struct shard *s, uint32_t line)
{
    struct place p = {.shard = s, .line = &s->line[line]};
    unsigned at = line_match(p.line, 0, UINT64_MAX);
    p.slot = at < LINE_SLOTS ? &p.line->slot[at] : NULL;
    return p;
}

static void count_live(struct shard_head *head) { u32_store_relaxed(&head->live, u32_load_relaxed(&head->live) + 1); }

/* Writes off the flow whose place was taken; p->word is what it was. */
static void write_off(const struct note_context *c, const struct place *p, uint32_t rank)
{
    const struct table *t = c->table;
    tally_add(&c->tally, rank >> 16 == RANK_STALE ? STAT_RECLAIMED : STAT_DISPLACED + word_class(p->word), 1);
    if (p->word & WORD_SECONDARY) {
        uint32_t line = (uint32_t)(p->line - p->shard->line);
        line_uncount_away(&p->shard->line[other_line(t->line_mask, p->word, line)]);
    }
}

/* Puts `word` into the slot at p if that still holds p->word; `home` is the line to count in if p is in the flow's second line.
 */
static bool put(const struct note_context *c, const struct place *p, uint32_t rank, struct line *home, uint64_t word,
                uint16_t stamp)
{
    bool secondary = p->line != home;
    uint64_t expected = p->word;
    if (secondary)
        line_count_away(home, word); /* T-B: before it can be looked for there */
    uint16_t former = 0;
    if (c->table->plane_at) {
        former = u16_load_relaxed(plane_slot(c->table, p));
        u16_store_relaxed(plane_slot(c->table, p), stamp); /* N-A */
    }
    if (rank == RANK_EMPTY) {
        u64_store_release(p->slot, secondary ? word | WORD_SECONDARY : word); /* nobody else fills empty slots */
        count_live(shard_head(c->table, p->shard));
        return true;
    }
    if (!u64_cas(p->slot, &expected, secondary ? word | WORD_SECONDARY : word)) {
        if (secondary)
            line_uncount_away(home);
        if (c->table->plane_at)
            u16_store_relaxed(plane_slot(c->table, p), former);
        return false;
    }
    write_off(c, p, rank);
    return true;
}

/* Moves a flow that is in its home line, `line`, over to its second one, if there is a place that nobody needs. *left is the slot
   that it leaves, frozen. */
static bool move_aside(const struct note_context *c, struct shard *s, uint32_t line, struct place *left)
{
    const struct table *t = c->table;
    for (uint32_t i = 0; i < LINE_SLOTS; i++) {
        atomic_u64 *slot = &s->line[line].slot[i];
        uint64_t word = u64_load_acquire(slot);
        uint32_t rank;
        if (word & WORD_SECONDARY)
            continue;
        struct place to = best_slot(c, s, other_line(t->line_mask, word, line), &rank);
        if (rank >> 16 > RANK_STALE)
            continue;
        *left = (struct place){.shard = s, .line = &s->line[line], .slot = slot};
        word = slot_freeze(slot); /* T-A */
        left->word = word & ~WORD_CLASS_MASK;
        uint16_t stamp = t->plane_at ? u16_load_relaxed(plane_slot(t, left)) : 0;
        if (put(c, &to, rank, left->line, word, stamp))
            return true;
        u64_store_release(slot, word); /* its new place was refreshed after all: thaw */
    }
    return false;
}

/* Takes the slot that a flow has left for `word`. */
static void take_left(const struct note_context *c, const struct place *left, struct line *home, uint64_t word)
{
    bool secondary = left->line != home;
    if (secondary)
        line_count_away(home, word);
    if (c->table->plane_at)
        u16_store_relaxed(plane_slot(c->table, left), bind_stamp(c));
    u64_store_release(left->slot, secondary ? word | WORD_SECONDARY : word);
}

static uint32_t grow(const struct note_context *c, struct shard *s, uint64_t hash)
{
    enum table_grown grown = table_grow(c->table, s, hash);
    switch (grown) {
    case TABLE_GROWN:
        tally_add(&c->tally, STAT_GROWN, 1);
        return AGAIN;
    case TABLE_CHANGED:
        return AGAIN;
    case TABLE_BUSY:
        return FLOWQ_NOTE_BUSY;
    case TABLE_DELAYED:
        tally_add(&c->tally, STAT_GROW_DELAYED, 1);
        break;
    case TABLE_NO_MEMORY:
        tally_add(&c->tally, STAT_GROW_FAILED, 1);
        break;
    case TABLE_AT_LIMIT:
        break;
    }
    return FLOWQ_NOTE_REFUSED;
}

/* Finds a place, in the order of S9: a free or a stale one, one that another flow can leave, a larger table, the least of the
   flows within reach. */
static uint32_t insert_locked(const struct note_context *c, struct shard *s, uint64_t hash, enum note_kind kind)
{
    const struct table *t = c->table;
    uint64_t word = first_word(c, hash, kind);
    uint32_t first = home_line(t->line_mask, hash), second = other_line(t->line_mask, hash, first), rank, other_rank;
    struct line *home = &s->line[first];
    struct place left, best = empty_slot(s, first);
    if (!best.slot)
        best = empty_slot(s, second);
    if (best.slot)
        return put(c, &best, RANK_EMPTY, home, word, bind_stamp(c)) ? FLOWQ_NOTE_BOUND : AGAIN;
    best = best_slot(c, s, first, &rank);
    struct place other = best_slot(c, s, second, &other_rank);
    if (other_rank < rank && rank >> 16 != RANK_STALE) { /* at home, any stale one is as good */
        best = other;
        rank = other_rank;
    }
    if (rank >> 16 <= RANK_STALE)
        return put(c, &best, rank, home, word, bind_stamp(c)) ? FLOWQ_NOTE_BOUND : AGAIN;
    if (move_aside(c, s, first, &left) || move_aside(c, s, second, &left)) {
        take_left(c, &left, home, word);
        return FLOWQ_NOTE_BOUND;
    }
    uint32_t grown = grow(c, s, hash);
    if (grown != FLOWQ_NOTE_REFUSED || rank == UINT32_MAX)
        return grown;
    return put(c, &best, rank, home, word, bind_stamp(c)) ? FLOWQ_NOTE_BOUND : AGAIN;
}

/* What most new flows take: an empty slot at home. False: it may be known by now, or must go elsewhere. The shard is locked. */
static inline bool insert_at_home(const struct note_context *c, struct shard *s, struct shard_head *head, uint64_t hash,
                                  enum note_kind kind)
{
    const struct table *t = c->table;
    struct line *home = &s->line[home_line(t->line_mask, hash)];
    if (line_match(home, hash & t->tag_mask, t->tag_mask | WORD_SECONDARY) != LINE_SLOTS || line_may_be_away(home, hash))
        return false;
    unsigned at = line_match(home, 0, UINT64_MAX);
    if (at == LINE_SLOTS)
        return false;
    if (t->plane_at)
        u16_store_relaxed(shard_plane(t, s) + home_line(t->line_mask, hash) * LINE_SLOTS + at, bind_stamp(c)); /* N-A */
    u64_store_release(&home->slot[at], first_word(c, hash, kind)); /* nobody else fills empty slots */
    count_live(head);
    return true;
}

static uint32_t insert(const struct note_context *c, uint64_t hash, enum note_kind kind)
{
    struct shard *s = table_shard(c->table, hash);
    if (s == nowhere())
        return grow(c, s, hash);
    struct shard_head *head = shard_head(c->table, s);
    if (!spin_try_for(&head->lock, TABLE_TRIES))
        return FLOWQ_NOTE_BUSY;
    uint32_t outcome = AGAIN;
    if (!head->superseded) {
        if (insert_at_home(c, s, head, hash, kind))
            outcome = FLOWQ_NOTE_BOUND;
        else if (!shard_find(c->table, s, hash).slot)
            outcome = insert_locked(c, s, hash, kind);
    }
    spin_unlock(&head->lock);
    return outcome;
}

/* ---- One note -------------------------------------------------------------------------------------------------------------- */

/* Waits, a bounded time, for whoever is moving the flow. */
static bool let_move(const struct note_context *c, const struct place *p)
{
    struct spin *lock = &shard_head(c->table, p->shard)->lock;
    bool done = spin_try_for(lock, TABLE_TRIES);
    if (done)
        spin_unlock(lock);
    return done;
}

static bool implied(const struct note_context *c, uint64_t hash, enum note_kind kind)
{
    return first_class(kind) == FLOWQ_CLASS_EMBRYONIC && queue_pick(c->queues, hash_fallback(c->secret, hash)) == c->qid;
}

uint32_t note_flow(const struct note_context *c, uint64_t hash, enum note_kind kind)
{
    for (unsigned tries = 0; tries < NOTE_TRIES; tries++) {
        struct place p = table_find(c->table, hash);
        uint32_t outcome;
        if (p.slot && word_class(p.word) != WORD_FROZEN)
            outcome = update(c, &p, kind);
        else if (p.slot)
            outcome = let_move(c, &p) ? AGAIN : FLOWQ_NOTE_BUSY;
        else if (kind == NOTE_RESETS)
            outcome = FLOWQ_NOTE_RESET;
        else if (implied(c, hash, kind))
            outcome = FLOWQ_NOTE_IMPLIED;
        else
            outcome = insert(c, hash, kind);
        if (outcome != AGAIN)
            return outcome;
    }
    return FLOWQ_NOTE_BUSY;
}

bool note_unchanged_away(const struct note_context *c, const struct line *home, uint64_t hash, uint32_t flags)
{
    uint64_t mask = c->table->tag_mask | WORD_SECONDARY, probe = (hash & c->table->tag_mask) | WORD_SECONDARY;
    if (!line_may_be_away(home, hash)) /* T-B */
        return false;
    const struct line *second = second_line(c->table->line_mask, home, hash);
    uint64_t word = u64_load_relaxed(&second->word[line_match(second, probe, mask)]); /* T-C */
    return note_change(c, c->table->tag_mask, hash, flags, word) == WORD_SECONDARY;
}

uint32_t note_missed(const struct note_context *c, const struct line *home, uint64_t hash, enum note_kind kind)
{
    /* A short cut to insert(), which looks again under the lock. Not where the answer hangs on the flow being unknown: the line
       may be of a shard that an earlier packet of the batch has split. */
    if ((kind == NOTE_CARRIES || kind == NOTE_CLOSES) && !line_may_be_away(home, hash)) {
        uint32_t outcome = insert(c, hash, kind);
        if (outcome != AGAIN)
            return outcome;
    }
    return note_flow(c, hash, kind);
}
