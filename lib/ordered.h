/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ordered: flows that change their queue, and none of whose packets may overtake another (setting `ordered`, flowq(7)).
 *
 * A flow that is noted on another queue keeps the one it had until the guest has published that it took from that ring all that
 * was put there for it. What that takes:
 *
 * LAYOUT
 *
 *     word of the flow (table.h)       its queue field holds `first` + way, a number of a queue that there never is
 *         |
 *         v
 *     side table of moves, fixed, in sets of ORDERED_WAYS; the set is chosen by bits of the tag, so word -> set, way -> move
 *         move, one cache line:   key    the flow's hash
 *                                 step   serial 16 | - 13 | phase 3 | to 16 | from 16
 *                                 held   serial 16 | clock 48: when a packet was last put to `from`
 *                                 tail   of which held 20 | generation 12 | position 32: what has to be taken
 *                                 begun_ns, held_ns
 *     ring positions, a word for each queue:   generation 12 | filled - taken 20 | filled 32
 *     clock, one for all vms: counts publications of moves and packets held back
 *     tails to be taken, a short list for each stripe of counters (stats.h)
 *
 * As the queue in the word is never in use, the loops of the data path pass such a flow on to answer.c like one whose queue is
 * off: a flow that does not move costs nothing. A set that is full means a move without order, counted.
 *
 * PHASES, of `step`
 *
 *     FREE -> CLAIMED      by a note, compare-and-swap; it then fills the move, which no word names yet
 *     CLAIMED -> PENDING   by that note, a store; then it swaps the flow's word; if that fails it frees the move again
 *     PENDING -> PENDING   another `to`: the flow was noted on a third queue
 *     PENDING -> ENDING    from = to = the queue that counts from now on: by steering, when the tail is taken (or at the bound,
 *                          or when the queue is off); by a note on `from`; by a note that wants the place of a move that has
 *                          lapsed. Whoever did that, alone, writes the queue into the word, and frees the move
 *     ENDING -> ENDED      he could not: the word was frozen (T-A), or changed again and again. Anybody may try: ENDED -> ENDING
 *     -> FREE              with the next serial
 *
 * ORDERING
 *   O1  A note fills a move, names it in the word, and raises the clock only then (publish); `held` says to what. A call that
 *        steers reads the clock first, before it looks at any word (`began`). If began is not below held, the whole call saw the
 *        flow moving, and no packet of this call has gone by the word of before. Until the note has raised the clock, `held` is
 *        ORDERED_NEVER, which is above all.
 *   O2  A call that puts a packet to `from` raises the clock and stores that in `held`: began is below it for the rest of the
 *        call, which therefore goes on putting the flow's packets there. It is stored by a compare-and-swap that wants the serial
 *        of the step that the decision came from: one that comes too late touches nothing. If another thread ended the move
 *        meanwhile, began is below the publication of whatever move comes next.
 *   O3  What has to be taken, the tail, is what the ring had been filled to when a later call than that began, for by then the
 *        host has put there what the call before answered, and reported it. Calls take the tails of what their thread held back
 *        in calls before, from a short list, for each vm that they have packets for; where that was full, or a thread has none,
 *        the tail is what has been filled when the move is looked at, which is later, so it only takes longer. What the call
 *        itself has held back, which is above what it began with, stays in the list: a burst for several vms takes tails with
 *        each of its batches. A tail tells which `held` it belongs to: one that was stored too late belongs to none. Calls for
 *        few packets, which are to cost nothing where no flow moves, leave that to the way of longer bursts: a bit says that
 *        there are such tails (QUEUES_TAILS). It may be lost between a thread that sets it and one that clears it, until
 *        something is listed again.
 *   O4  A move is freed only by who brought it to ENDING, when no word names it any more. So while a word names a move in ENDING
 *        nobody else can give its place away, and the word can be compared and swapped. A note that finds ENDING waits, as for a
 *        frozen flow (S12): were it to swap the word itself, that might name another move of the flow by then, in the same place.
 *   O5  Positions only advance; a report that is late changes nothing, and nothing is taken that has not been filled. One word
 *        holds both, so whoever reads it sees no taken of one time with a filled of another.
 *
 * Steering writes moves, and, of a flow that moves, the queue that a note has asked for into its word. It never waits: a
 * compare-and-swap that fails ORDERED_TRIES times leaves the packet on the old queue.
 *
 * What is not guarded against: a thread that stops between two steps of one look while its move is freed and claimed again 65536
 * times, or the clock advances by a multiple of 2^20.
 */
#ifndef FLOWQ_LIB_ORDERED_H
#define FLOWQ_LIB_ORDERED_H

#include "atomic.h"
#include "stats.h"

#define ORDERED_WAYS  8
#define ORDERED_TRIES 8
#define ORDERED_TAILS 15 /* a list is three cache lines */

struct ordered_move {
    atomic_u64 key, step, held, tail, begun_ns, held_ns;
} __attribute__((aligned(64)));

/* Written by one thread, who owns the stripe. */
struct ordered_tails {
    uint32_t n;
    uint32_t move[ORDERED_TAILS];
    uint64_t held[ORDERED_TAILS];
} __attribute__((aligned(64)));

/* each(name, field of struct flowq_stats): stats.c reads them by this list. Here and not with the others (stats.h), so that a vm
   without the setting has no room for them; only flows that move count here, so all threads add to the same. */
#define ORDERED_COUNTS(each)                                                                                                     \
    each(BEGUN, ordered_begun) each(DONE, ordered_done) each(BACK, ordered_back) each(FORCED, ordered_forced)                    \
        each(LAPSED, ordered_lapsed) each(OFF, ordered_off) each(FULL, ordered_full) each(HELD, ordered_held)
#define ORDERED_COUNT_AT(name, field) ORDERED_##name,
enum ordered_count { ORDERED_COUNTS(ORDERED_COUNT_AT) ORDERED_N_COUNTS };

/* Where the setting is off there is none: NULL. */
struct ordered {
    struct ordered_move *move;
    uint32_t set_mask; /* sets - 1 */
    uint32_t first;    /* queue fields from here on name a way: max_queue_pairs */
    uint64_t max_ns, settle_ns;
    atomic_u64 *ring;            /* positions, per queue */
    struct ordered_tails *tails; /* per stripe, but the shared one */
    atomic_u64 n_listing;        /* of these lists are not empty */
    atomic_u64 count[ORDERED_N_COUNTS] __attribute__((aligned(64)));
};

/* The part of vm.h's block that belongs to this. */
struct ordered_room {
    uint32_t n_moves; /* a power of two, at least ORDERED_WAYS; 0: off */
    uint32_t max_queue_pairs;
};
size_t ordered_bytes(const struct ordered_room *room);
/* mem: so many zeroed bytes, aligned to 64. NULL: off. */
struct ordered *ordered_init(const struct ordered_room *room, uint64_t max_ns, uint64_t settle_ns, void *mem);
/* So many numbers must fit in a word's queue field. */
static inline uint32_t ordered_numbers(uint32_t max_queue_pairs, bool on) { return max_queue_pairs + (on ? ORDERED_WAYS : 0); }

/* Does a word with this queue field name a move? */
static inline bool ordered_names_move(const struct ordered *o, uint32_t field) { return o && field >= o->first; }

/* ---- Steering -------------------------------------------------------------------------------------------------------------- */

struct table;
struct flowq_vm;
struct vm_view;

struct ordered_clock {
    atomic_u64 now;
} __attribute__((aligned(64)));
extern struct ordered_clock ordered_clock;

/* What a call that steers reads before it looks at a word (O1). */
static inline uint64_t ordered_began(void) { return u64_load_acquire(&ordered_clock.now); }

/* A call for this vm, where moves are in order, which began then (O3): takes the tails that its thread has listed before. */
void ordered_take_tails(struct flowq_vm *vm, uint32_t stripe, uint64_t began);

/* The queue of a flow whose word names a move, in use or not; FLOWQ_DROP: it is not bound (any more). In a section. */
uint16_t ordered_steer(const struct vm_view *v, uint64_t hash, uint64_t word);

/* The same, in a call of its own that began now; changes nothing. For views that are marked with this, ordered_steer() is. */
#define ORDERED_ONLY_LOOKS (UINT64_C(1) << 63) /* in vm_view.began, whose clock has 48 bits */

/* ---- Looking inside -------------------------------------------------------------------------------------------------------- */

/* The queue that a flow with this word was last noted on: what everybody must ask who would tell a word's queue. The word should
   have been loaded just now: a move that has ended meanwhile still knows where, until its place goes to another flow. */
uint16_t ordered_bound_to(const struct ordered *o, const struct table *t, uint64_t word);
/* The word as it would be if the flow had moved. */
uint64_t ordered_settled(const struct ordered *o, const struct table *t, uint64_t word);
uint64_t ordered_n_pending(const struct ordered *o);

/* ---- Notes ----------------------------------------------------------------------------------------------------------------- */

struct note_context;
struct place;

/* A move that is filled, and that no word names yet. */
struct ordered_claim {
    struct ordered_move *move;
    uint64_t step;  /* as PENDING */
    uint32_t field; /* for the word */
    uint16_t from;
};

/* Gets one, for a flow that is noted on c->qid and was steered to `from`. False: there is none to be had, which is counted, or
   none is needed. */
bool ordered_claim(const struct note_context *c, uint64_t hash, uint32_t from, struct ordered_claim *claim);
/* The word names it. Returns what a note adds to its outcome. */
uint32_t ordered_publish(const struct note_context *c, const struct ordered_claim *claim);
/* It does not. */
void ordered_abandon(const struct ordered_claim *claim);

/* note_update() where the setting is on: kind is an enum note_kind; spread: where the flow's packets go while its queue is
   off. */
uint32_t ordered_update(const struct note_context *c, const struct place *p, uint64_t hash, uint32_t spread, uint32_t kind);

/* What ordered_update() would return, and what else there would be in the outcome of a note that binds a flow which was steered
   to `from`. They read only. */
uint32_t ordered_foresee_update(const struct note_context *c, uint64_t word, uint64_t hash, uint32_t spread);
uint32_t ordered_foresee_claim(const struct note_context *c, uint64_t hash, uint32_t from);

#endif
