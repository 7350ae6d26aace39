/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table: flow -> queue. What notes write and steering reads.
 *
 * LAYOUT
 *
 *     directory, indexed by the top bits of the hash; doubles by copy
 *         |
 *         v
 *     shard = lines, then (with rebind_min) a plane of binding times, then a head        one allocation, at most 20 KiB
 *         |
 *         v   line = low bits of the hash; second line = line xor (8 bits of the tag | 1), in the same shard
 *     line, 64 bytes:   slot 0 | 1 | 2 | 3 | 4 | 5 | 6 | service
 *                                                        flows whose home is this line but which live in their second: their
 *                                                        number (8 bits, 255 for good if there ever are so many), and above it 8
 *                                                        bits of which 3 bits of their tags set one each; all below any tag
 *     slot, 64 bits:    63                                  15+q  15    14       13         12..2     1..0
 *                       | tag: top bits of the hash          | queue | moving | secondary | last note | class |
 *
 * q bits hold a queue number: as many as max_queue_pairs needs; whatever they leave belongs to the tag. An empty slot is zero;
 * tags never are. "secondary": this is the flow's second line. "last note": ticks of about a second, 11 bits. "moving"
 * (WORD_SPARE) is always zero. Class 0 means frozen (below). One word holds all, so one compare-and-swap covers tag, queue, class
 * and time: a refresh, a move to another queue or a change of class takes no lock and cannot hit a slot that was given to another
 * flow meanwhile.
 *
 * A table without flows has no shard: its directory points at `nowhere`, a zeroed shard shared by all tables and never written.
 *
 * WHO WRITES
 *   a slot that holds a flow    any thread, by compare-and-swap from the value it read (refresh, rebind, class)
 *   an empty slot, service      the holder of the shard's lock, or of the lock of the line's part of it (T-G)
 *   a shard's flow count        likewise, one for each part
 *   directory, list of retired  the holder of the table's grow lock
 *
 * ORDERING (the code cites the letters)
 *   T-A  A flow that moves from its home line to its second line is frozen (class 0) by compare-and-swap, copied, and only then
 *        leaves its home slot. A rebind that lands before the freeze is in the copy; one that comes after fails and is retried.
 *        Readers go on using a frozen slot's queue.
 *   T-B  Whoever puts a flow into its second line counts it in the home line's service word first, and takes it from the home
 *        slot last. A reader looks at the slots of the home line, then (acquire) at the service word: if it missed the flow
 *        because it left, it sees it counted, and looks at the second line. Flows never move back, so there is no third place.
 *   T-C  A vector load of a line only filters: the slot found is read again as an atomic, and compared again.
 *   T-D  A shard that splits is frozen slot by slot and copied into two new ones; the directory names the new ones (each entry:
 *        one exchange, seq_cst) before any note can write to them; the old one stays as it was, whole, for readers that came
 *        before. As long as there is one shard only, the word `only_shard` saves readers the directory: it is cleared,
 *        likewise, before the directory names others, and set after the directory names that one.
 *   T-E  What has been superseded is unlinked by a seq_cst read-modify-write and stamped afterwards (epoch.h); it is freed when
 *        the stamp has passed.
 *   T-F  A section that stays open costs at most as much memory again as the table had when it was opened, or has now. A split
 *        retires one shard for the two that it makes, so splits alone never retire more than there are; a shard is merged, or the
 *        last one given up, only when its own parents have been reclaimed; and nothing is split while more shards are retired
 *        than the table has. A directory is halved only when none is retired, and those that doubling retires are together
 *        smaller than the one in use.
 *   T-G  A shard's lock is all of its parts' (a part: each eighth line): whoever wants one takes it and then looks at the other
 *        kind, all seq_cst, and lets go if that is held. A flow is inserted under its home line's part, wherever it goes, so that
 *        two notes of one flow do not both insert it; what it fills, or whom it moves aside, lies in parts that are locked, too.
 *        To displace a flow, to split, merge or clear a shard takes all of it.
 *
 * LOCK ORDER: parts, only the first of which is waited for, or shard, then grow; table_clear() goes against it, which is safe
 * because whoever holds a shard only tries. The data path tries both, a number of times that is bounded for the whole call
 * (TABLE_TRIES), and table_trim() once. No allocator is called under either (slab.h), so what a lock is held for is bounded: an
 * insert, the split or the merge of a shard, a copy of the directory. A split has the grow lock for moments only, before to take
 * its memory and afterwards to name it (table_grow.c): a thread that loses its processor while it copies keeps others from one
 * shard, not from growing.
 *
 * PROGRESS: look-ups are wait-free. A refresh or rebind takes no lock and retries only when another thread changed the same flow;
 * but one that meets its flow frozen, while that is being moved, tries the lock of the shard, to come again when it has been
 * moved. Inserts try the locks, too. Both give up when the call's tries are spent, or when a note has started again NOTE_TRIES
 * times (S12): a thread that loses its processor while it holds a lock makes others wait, once a call, offer theirs a few times
 * (atomic.h), and then say FLOWQ_NOTE_BUSY: newcomers of an eighth of one shard if it was inserting, of the shard if it was
 * splitting it.
 *
 * Bucketised hashing with a per-bucket overflow count: Breslow et al., "Horton Tables", 2016. Growth by splitting behind a
 * directory: Fagin et al., "Extendible Hashing", 1979.
 */
#ifndef FLOWQ_LIB_TABLE_H
#define FLOWQ_LIB_TABLE_H

#include "atomic.h"
#include "memory.h"

#define LINE_SLOTS      7
#define SHARD_MAX_LINES 256

struct line {
    union {
        struct {
            atomic_u64 slot[LINE_SLOTS];
            atomic_u64 service;
        };
        atomic_u64 word[LINE_SLOTS + 1];
    };
} __attribute__((aligned(64))); /* table_nowhere, too: vector loads want it */
_Static_assert(sizeof(struct line) == 64 && _Alignof(struct line) == 64, "a line is a cache line");

/* Fields of the service word. */
#define LINE_SECOND_BITS 8
#define LINE_SECOND_MAX  ((UINT64_C(1) << LINE_SECOND_BITS) - 1)
#define LINE_FILTER_BITS 8 /* a power of two */

/* Fields of a slot. The queue's width varies by table; the rest is fixed. */
#define WORD_CLASS_MASK  UINT64_C(0x3)
#define WORD_TICK_SHIFT  2
#define WORD_TICK_BITS   11
#define WORD_TICK_MASK   ((UINT64_C(1) << WORD_TICK_BITS) - 1)
#define WORD_SECONDARY   (UINT64_C(1) << 13)
#define WORD_SPARE       (UINT64_C(1) << 14)
#define WORD_QUEUE_SHIFT 15
#define WORD_FROZEN      0 /* the class of a slot that is being moved */

_Static_assert(LINE_SECOND_BITS + LINE_FILTER_BITS <= WORD_QUEUE_SHIFT + 1, "no service word looks like a tag");

/* A shard lies in memory as lines[], plane[] (or nothing), this. So it has no C type: shard_line(), shard_plane(), shard_head().
 */
struct shard;

/* The lines of a shard whose index is the same modulo this have a lock and a count together: a part of the shard. */
#define SHARD_PARTS 8

struct shard_head {
    struct spin lock; /* of the shard: of all its parts */
    struct spin part[SHARD_PARTS];
    bool superseded;              /* under lock: the directory names others now */
    bool settled;                 /* under lock: `born` has passed, no need to ask again */
    atomic_u8 arriving;           /* under lock: named by the directory, but its binding times are not all there yet (N-A) */
    atomic_u16 live[SHARD_PARTS]; /* together, slots that hold a flow; each written under its part's lock, or the shard's */
    uint32_t depth;               /* how many top bits of the hash all its flows share */
    uint64_t born;                /* stamp of its parent's end (T-F) */
    struct slab *slab;            /* where its memory came from */
    struct shard *retired_next;
    uint64_t retired_stamp;
};

struct directory {
    uint32_t depth; /* at least 1, which saves look-ups a shift by 64 */
    uint32_t shift; /* 64 - depth */
    struct directory *retired_next;
    uint64_t retired_stamp;
    atomic_ptr shard[]; /* 2^depth */
};

struct table {
    /* Read by every burst; written at creation, but for the directory pointer and the smallest directory, which lies here. One
     * line. */
    atomic_ptr directory;
    uint64_t tag_mask;
    uint32_t queue_mask;
    uint32_t line_mask; /* n_lines - 1 */
    uint64_t small_directory[5];

    atomic_ptr *only_shard; /* the only shard there is, else NULL (T-D) */

    uint32_t plane_at; /* offset of the plane in a shard; 0: none */
    uint32_t head_at;  /* offset of the head */
    uint32_t shard_bytes;
    uint32_t max_shards;
    const struct memory *memory;

    /* Growth; under grow.lock unless said otherwise. */
    struct {
        struct spin lock;
        atomic_u32 pending;  /* retired shards and directories; read without the lock to see whether there is work */
        atomic_u32 n_shards; /* named by the directory; read without the lock to see whether there may be more */
        uint32_t n_retired;  /* shards */
        atomic_ptr unused;   /* shards that were taken for a split and given back, by retired_next; pushed without the lock */
        struct shard *retired_first, *retired_last;
        struct directory *directories_first, *directories_last;
        struct slab *slabs, *slabs_last; /* those with room first */
        struct directory *spare;         /* got for a split that has not come to use it, or NULL */
        uint32_t max_depth;              /* shards of this depth are not split */
        uint32_t min_depth;              /* shards of this depth are not merged: what initial_flows asked for */
        uint32_t to_make;                /* shards that creation still has to make; 0: the table is in use */
        bool small_used;                 /* small_directory is a directory, in use or retired */
        bool keep_first;                 /* initial_flows was given: the last shard stays */
        uint64_t dropped;                /* stamp of the last shard's end, when it was given back (T-F) */
        uint64_t trim_at;                /* where the next table_trim() begins, in the space of hashes */
        atomic_u64 bytes, retired_bytes; /* statistics, read without the lock */
    } grow __attribute__((aligned(64)));
};

/* ---- Words ----------------------------------------------------------------------------------------------------------------- */

static inline uint32_t word_class(uint64_t w) { return (uint32_t)(w & WORD_CLASS_MASK); }
static inline uint32_t word_tick(uint64_t w) { return (uint32_t)(w >> WORD_TICK_SHIFT & WORD_TICK_MASK); }
static inline uint32_t word_queue(const struct table *t, uint64_t w) { return (uint32_t)(w >> WORD_QUEUE_SHIFT) & t->queue_mask; }

static inline uint64_t word_make(uint64_t tag, uint32_t queue, uint32_t tick, uint32_t cls)
{
    return tag | (uint64_t)queue << WORD_QUEUE_SHIFT | (tick & WORD_TICK_MASK) << WORD_TICK_SHIFT | cls;
}

/* ---- Places ---------------------------------------------------------------------------------------------------------------- */

/* line_mask: the table's, of which the data path has copies at hand. */

/* Index of the second line of a flow that is in its first, and the other way round. The bits are part of every tag. */
static inline uint32_t line_other(uint32_t line_mask, uint64_t tag, uint32_t line)
{
    return line ^ (((uint32_t)(tag >> 32) | 1) & line_mask);
}

static inline struct shard *directory_shard(const struct directory *d, uint64_t hash)
{
    return ptr_load_acquire(&d->shard[hash >> d->shift]);
}

static inline struct shard *table_shard(const struct table *t, uint64_t hash)
{
    return directory_shard(ptr_load_acquire(&t->directory), hash);
}

static inline struct line *shard_line(struct shard *s, size_t i) { return (struct line *)(void *)s + i; }

static inline struct shard_head *shard_head(const struct table *t, struct shard *s)
{
    return (struct shard_head *)(void *)((char *)s + t->head_at);
}

/* Binding times (note.h), slot by slot; only if plane_at. */
static inline atomic_u16 *shard_plane(const struct table *t, struct shard *s)
{
    return (atomic_u16 *)(void *)((char *)s + t->plane_at);
}

static inline uint32_t line_of_hash(uint32_t line_mask, uint64_t hash) { return (uint32_t)hash & line_mask; }

static inline uint32_t shard_live(const struct shard_head *head)
{
    uint32_t live = 0;
    for (uint32_t i = 0; i < SHARD_PARTS; i++)
        live += u16_load_relaxed(&head->live[i]);
    return live;
}

/* Under the shard's lock. */
static inline void shard_set_live(struct shard_head *head, uint32_t live)
{
    for (uint32_t i = 0; i < SHARD_PARTS; i++)
        u16_store_relaxed(&head->live[i], i == 0 ? (uint16_t)live : 0);
}

/* The shard that this line, the home of a flow with this hash, is in; it may be superseded. */
static inline struct shard *line_shard(uint32_t line_mask, struct line *home, uint64_t hash)
{
    return (struct shard *)(void *)(home - line_of_hash(line_mask, hash));
}

static inline struct shard_head *line_head(const struct table *t, struct line *home, uint64_t hash)
{
    return shard_head(t, line_shard(t->line_mask, home, hash));
}

/* The second line of a flow whose home is here. */
static inline const struct line *line_second(uint32_t line_mask, const struct line *home, uint64_t hash)
{
    uint32_t first = line_of_hash(line_mask, hash);
    return home - first + line_other(line_mask, hash, first);
}

/* ---- Look-up --------------------------------------------------------------------------------------------------------------- */

/*
 * Index of the slot in which (slot & mask) == probe, or LINE_SLOTS. Acquire, for T-B. Vector forms in probe.h; this one is for
 * machines without, for ThreadSanitizer and for the test scheduler.
 */
static inline unsigned line_match_portable(const struct line *l, uint64_t probe, uint64_t mask)
{
    unsigned at = LINE_SLOTS;
    for (unsigned i = 0; i < LINE_SLOTS; i++)
        if ((u64_load_acquire(&l->slot[i]) & mask) == probe)
            at = i;
    return at;
}

/* Do flows of this line live in their second one? Not 0: yes. Read after the slots (T-B), by line_may_be_second(), too. */
static inline uint64_t line_overflow(const struct line *l) { return u64_load_relaxed(&l->service); }

/* The bit that a flow sets in its home line's service word when it lives in its second line: fewer than one absent flow out of a
   hundred finds its own set. */
static inline uint64_t line_second_bit(uint64_t tag)
{
    return UINT64_C(1) << (LINE_SECOND_BITS + (tag >> 40 & (LINE_FILTER_BITS - 1)));
}

/* May the flow with this hash or tag live in its second line? */
static inline bool line_may_be_second(const struct line *home, uint64_t tag)
{
    return line_overflow(home) & line_second_bit(tag);
}

/* One flow more, with this tag, or one less. Caller holds the shard's lock. */
static inline void line_count_second(struct line *home, uint64_t tag)
{
    uint64_t service = u64_load_relaxed(&home->service);
    service += (service & LINE_SECOND_MAX) < LINE_SECOND_MAX;
    u64_store_release(&home->service, service | line_second_bit(tag));
}

static inline void line_uncount_second(struct line *home)
{
    uint64_t service = u64_load_relaxed(&home->service), n = service & LINE_SECOND_MAX;
    if (n < LINE_SECOND_MAX)
        u64_store_release(&home->service, n == 1 ? 0 : service - 1); /* the last one takes all bits along */
}

/* ---- Locks of a shard and of its parts ------------------------------------------------------------------------------------- */

/*
 * Whoever has the shard's lock has all of it: no part is locked, and none can be. Each takes its lock first and then looks at the
 * other kind, all seq_cst, so that of two at least one sees the other, and lets go again (T-G).
 */

static inline bool shard_has_parts_locked(const struct shard_head *head)
{
    uint32_t held = 0;
    for (uint32_t i = 0; i < SHARD_PARTS; i++)
        held |= u32_load_seq_cst(&head->part[i].held);
    return held != 0;
}

/* Does not even try while a part is locked: who has that may have lost its processor, and nobody shall wait for more than it. */
static inline bool shard_try(struct shard_head *head)
{
    if (shard_has_parts_locked(head) || !spin_try(&head->lock))
        return false;
    if (!shard_has_parts_locked(head))
        return true;
    spin_unlock(&head->lock);
    return false;
}

/* The data path's way (spin_try_within). */
static inline bool shard_try_within(struct shard_head *head, uint32_t *tries_left)
{
    while (!shard_try(head))
        if (!spin_another_try(tries_left))
            return false;
    return true;
}

/* The control path's way (spin_lock): it keeps newcomers out while it waits. */
static inline void shard_lock(struct shard_head *head)
{
    spin_lock(&head->lock);
    while (shard_has_parts_locked(head)) {
        cpu_relax();
        sched_yield();
    }
}

static inline void shard_unlock(struct shard_head *head) { spin_unlock(&head->lock); }

static inline uint32_t part_of(uint32_t line) { return line % SHARD_PARTS; }

static inline bool part_try(struct shard_head *head, uint32_t line)
{
    struct spin *part = &head->part[part_of(line)];
    if (u32_xchg_seq_cst(&part->held, 1) != 0) /* it is free, as a rule: no look before */
        return false;
    if (u32_load_seq_cst(&head->lock.held) == 0)
        return true;
    spin_unlock(part);
    return false;
}

/* Worth no try now. A look alone does not take the cache line from whoever works there. */
static inline bool part_is_held(const struct shard_head *head, uint32_t line)
{
    return u32_load_relaxed(&head->lock.held) | u32_load_relaxed(&head->part[part_of(line)].held);
}

static inline bool part_try_within(struct shard_head *head, uint32_t line, uint32_t *tries_left)
{
    while (!part_try(head, line))
        do
            if (!spin_another_try(tries_left))
                return false;
        while (part_is_held(head, line));
    return true;
}

static inline void part_unlock(struct shard_head *head, uint32_t line) { spin_unlock(&head->part[part_of(line)]); }

/* A slot that was found (find.h), and the value it had. */
struct place {
    struct shard *shard;
    struct line *line;
    atomic_u64 *slot; /* NULL: not found */
    uint64_t word;
};

/* Makes sure that nobody changes the slot any more; returns what it last held (T-A). Seq_cst for N-A. Caller holds the shard's
   lock. */
static inline uint64_t slot_freeze(atomic_u64 *slot)
{
    uint64_t word = u64_load_acquire(slot);
    while (word && !u64_cas_seq_cst(slot, &word, word & ~WORD_CLASS_MASK))
        ;
    return word;
}

/* ---- Binding times (note.h) ------------------------------------------------------------------------------------------------ */

static inline atomic_u16 *place_stamp(const struct table *t, const struct place *p)
{
    size_t line = (size_t)(p->line - shard_line(p->shard, 0));
    return shard_plane(t, p->shard) + line * LINE_SLOTS + (size_t)(p->slot - p->line->slot);
}

/* Of two times that are less than half a turn, 2.1 s, apart. 0, "long ago", comes before all others. */
static inline bool stamp_later(uint16_t a, uint16_t b) { return a != 0 && (b == 0 || (int16_t)(uint16_t)(a - b) > 0); }

/* Stores `to` unless a later time is there by now; `seen` is what was there, however long ago that may be. */
static inline void stamp_raise(atomic_u16 *stamp, uint16_t seen, uint16_t to)
{
    while (!u16_cas_seq_cst(stamp, &seen, to) && stamp_later(to, seen))
        ;
}

/* ---- Life cycle, growth ---------------------------------------------------------------------------------------------------- */

extern struct line table_nowhere[SHARD_MAX_LINES];
static inline struct shard *shard_nowhere(void) { return (struct shard *)table_nowhere; }

struct table_sizes {
    uint32_t max_flows, initial_flows; /* initial 0: none */
    uint32_t max_queue_pairs;
    bool plane; /* rebind_min can be set */
    /* For flows whose bindings were saved (state.h): */
    uint32_t room;      /* for so many is made at once, whatever initial_flows says; it may be given back later */
    uint32_t max_lines; /* a shard has no more: so far their home line is known; 0: as many as are good */
};

/* Lowest bit of the tag for so many queue pairs. */
uint64_t table_tag_low(uint32_t max_queue_pairs);
/* only_shard: where the table shall keep that pointer (T-D). Returns 0 or -ENOMEM. */
int table_init(struct table *t, const struct table_sizes *sizes, const struct memory *memory, atomic_ptr *only_shard);
/* Frees all, retired or not. */
void table_fini(struct table *t);
/* Nobody has ever seen `from`: its flows become those of `to`, which is not in use yet, or no more. */
void table_move(struct table *to, struct table *from, atomic_ptr *only_shard);
/* table_reclaim() of a table that nobody else has ever seen: at once. */
void table_reclaim_unseen(struct table *t);

/* Tries for locks that a call on the data path has, one packet or a burst: as long as a split takes, some tens of microseconds,
   and then SPIN_OFFERS more. */
#define TABLE_TRIES 2048

/* Memory that a split or merge is short of. */
struct table_want {
    uint32_t n_slabs;
    size_t slab_bytes; /* each */
    uint32_t depth;    /* of a directory; 0: none */
};
static inline bool table_wants(const struct table_want *w) { return w->n_slabs || w->depth; }

/* Two shards for a split to fill. Nobody else knows them yet. */
struct table_halves {
    struct shard *half[2]; /* NULL: none */
};

enum table_grown {
    TABLE_GROWN,
    TABLE_CHANGED, /* somebody else made room: look again */
    TABLE_BUSY,    /* somebody else is at it */
    TABLE_WANTS,   /* memory: get it, without locks, and come again */
    TABLE_UNREADY, /* halves: let table_prepare() take them, and come again */
    TABLE_DELAYED, /* T-F */
    TABLE_AT_LIMIT
};
/* Makes room where `hash` belongs. s is its shard, locked by the caller, or shard_nowhere() (then no lock). h: NULL, or what
   table_prepare() took; the halves are gone if the table has grown. */
enum table_grown table_grow(struct table *t, struct shard *s, uint64_t hash, struct table_halves *h, struct table_want *want,
                            uint32_t *tries_left);
/* Takes what it needs to split a shard like s, and touches it, so that nobody waits for the kernel's clearing of pages. The
   caller holds no lock. TABLE_GROWN: *h can be used, or has to be given back. */
enum table_grown table_prepare(struct table *t, struct shard *s, struct table_halves *h, struct table_want *want,
                               uint32_t *tries_left);
void table_give_back(struct table *t, struct table_halves *h);

enum table_got { TABLE_GOT, TABLE_GOT_NONE, TABLE_GOT_BUSY };
/* Calls the allocator. What another thread has got meanwhile stays beside it. The caller holds no lock of the table's. */
enum table_got table_get(struct table *t, const struct table_want *want, uint32_t *tries_left);
/* Frees what has been retired and whose time has come. Never waits. */
void table_reclaim(struct table *t);
static inline bool table_has_retired(const struct table *t) { return u32_load_relaxed(&t->grow.pending) != 0; }

/* Forgets every flow; returns how many. Waits for locks: not for the data path. */
uint64_t table_clear(struct table *t);
/*
 * A bounded step towards giving memory back after a peak: looks at some shards, from where the last step ended, and merges pairs
 * that are nearly empty but for flows for which stale() holds, and these go; also gives the last shard back when it is empty.
 * Never waits.
 */
struct table_trim {
    bool (*stale)(const void *ctx, uint64_t word);
    const void *ctx;
    uint64_t n_dropped, n_merged; /* out: flows dropped, shards given back */
};
void table_trim(struct table *t, struct table_trim *trim);
/* Number of flows in the table. Caller is in a section. */
uint64_t table_live(const struct table *t);
/* Calls fn for each flow until it returns non-zero. Caller is in a section. */
int table_each(const struct table *t, int (*fn)(void *ctx, uint64_t word), void *ctx);

#endif
