/*
 * sight: frame -> pkt -> parse -> key -> hash, and from there the line of the table to look at.
 *
 * For packets that go to the VM, and for those that it sends, whose key is reversed (S3). Plain packets inline, in runs of one
 * version of IP (sight_v4(), sight_v6(), sight_sent_v4(), sight_sent_v6()); everything else in sight.c (sight_specials(),
 * sight_sent_specials()).
 */
#ifndef FLOWQ_LIB_SIGHT_H
#define FLOWQ_LIB_SIGHT_H

#include "parse_fast.h"
#include "vm.h"

#define BATCH 32 /* packets in flight at a time: enough that the table's cache misses overlap */

/* How many packets of n there are in the batch that begins with packet `at`. */
static inline unsigned batch_size(size_t n, size_t at) { return at >= n ? 0 : n - at < BATCH ? (unsigned)(n - at) : BATCH; }

/* Bursts use wider instructions than every machine has. */
bool steer_is_wide(void);
extern bool steer_narrow; /* for tests and benchmarks: they do without */

/* The frames lie close behind one another, in the order of the packets, so that the processor fetches them by itself; fetching
   them besides is in its way. */
static inline bool in_a_row(const struct flowq_pkt *pkts, unsigned n)
{
    enum { FRAME_BYTES = 256 }; /* a frame's, at most */
    return n > 0 && (uintptr_t)pkts[n - 1].data - (uintptr_t)pkts[0].data < (uintptr_t)n * FRAME_BYTES;
}

/*
 * Headers that are not in a cache yet are fetched so many packets ahead, some at a time. All of a batch at once would be more
 * than a core has miss buffers, and AMD's Zen drops what finds none free: one header out of twenty, each of which is waited for
 * later.
 */
#define HEADERS_AHEAD 16
#define HEADERS_STEP  8

/* Of packets from `at` on, up to n. (gcc leaves out calls of a function that only prefetches.) */
static inline __attribute__((always_inline)) void fetch_headers(const struct flowq_pkt *pkts, unsigned at, unsigned n)
{
#pragma GCC unroll 4
    for (; at < n; at++)
        __builtin_prefetch(pkts[at].data);
}

/* The first headers of n packets that are not in a row. */
static inline __attribute__((always_inline)) void fetch_first_headers(const struct flowq_pkt *pkts, unsigned n)
{
    fetch_headers(pkts, 0, n < HEADERS_AHEAD ? n : HEADERS_AHEAD);
}

/* Packets from `at` on are about to be parsed, the first of which are fetched: fetches the next ones, and returns up to where may
   be parsed before it is called again. */
static inline __attribute__((always_inline)) unsigned fetch_next_headers(const struct flowq_pkt *pkts, unsigned at, unsigned n)
{
    unsigned end = n - at < HEADERS_STEP ? n : at + HEADERS_STEP;
    fetch_headers(pkts, at + HEADERS_AHEAD, n < end + HEADERS_AHEAD ? n : end + HEADERS_AHEAD);
    return end;
}

/* ---- Packets that go to the VM --------------------------------------------------------------------------------------------- */

/* Packets that their own key does not send to the table. */
enum odd {
    ODD_NOT,    /* the packet is plain, */
    ODD_PARSED, /* or took the complete parser: it has been sent there, after all */
    ODD_KEYLESS,
    ODD_LATER,
    ODD_QUOTE,
    ODD_SINGLE,
    ODD_RULED
};

/* A packet that concerns the fragment cache; or (ODD_RULED) one whose queue RSS chose, which is in `later`. */
struct special {
    uint8_t at; /* in the batch */
    uint8_t n_first;
    bool whole_key;           /* a later fragment whose key is its flow's */
    uint64_t later, first[2]; /* hashes of datagrams; later 0: none that could be known */
};

/* What a call needs to know of the vm, loaded once, or where there are several vms in each stage: a later stage may see a newer
   directory, in which each flow still is. Stages take it by value, so that the compiler keeps it in registers; as a pointer it
   would be loaded again after each store. */
struct view {
    struct flowq_vm *vm;
    const struct hash_secret *secret;
    const atomic_ptr *shards; /* the directory's, */
    uint32_t shift;           /* and by how much it shifts a hash */
    uint32_t line_mask, queue_mask;
    const atomic_u64 *in_use; /* the queues' */
    uint64_t udp_filter, tag_mask, least_hash;
    struct tally tally;
};

/* Where a packet's flow is to be looked for. */
struct sighting {
    uint64_t hash;
    const struct line *line;
};

struct batch {
    struct sighting seen[BATCH];
    const struct flowq_pkt *pkts;
    uint8_t odd_kind[BATCH]; /* enum odd; starts as zero */
    uint8_t reason[BATCH];   /* FLOWQ_REASON_BOUND unless written: starts as zero, too, where anybody reads it */
    struct special special[BATCH];
    unsigned n_special;
    uint32_t quotes;     /* one vm: odd_bit() of each quote; it is looked up like a flow's packet, and answered then if at home */
    uint32_t special_at; /* odd_bit() of each packet that is not plain */
    uint32_t idle;       /* one vm: odd_bit() of each that is at home, bound to a queue that is not in use */
    struct key key[BATCH]; /* of ODD_PARSED, ODD_LATER, ODD_QUOTE, for a fallback; plain packets are read again if they need it */
    uint64_t now_ns;       /* read with the call's first special packet, by several vms with each; 0: not yet */
};

/* A bit for each packet, the first one's highest. */
static inline unsigned odd_first(uint32_t odd) { return (unsigned)__builtin_clz(odd); }
static inline unsigned odd_last(uint32_t odd) { return (unsigned)__builtin_ctz(odd) ^ (BATCH - 1); }
static inline uint32_t odd_bit(unsigned at) { return UINT32_C(1) << (BATCH - 1) >> at; }
_Static_assert(BATCH == 32, "a bit for each packet");

/* What a call needs to know of its thread. One that could not be registered must not look at the table: it looks empty to it. */
struct caller {
    bool registered;
    uint32_t stripe; /* of its counters */
};

static inline struct caller caller_of(const struct thread *thread)
{
    return (struct caller){thread != NULL, stats_stripe(thread)};
}

/* As much of a view as it takes from the line on. The compiler leaves out what is not used, but not atomic loads: all but one are
   in view_of(). */
static inline __attribute__((always_inline)) struct view view_of_line(struct flowq_vm *vm, const struct caller by)
{
    return (struct view){
        .vm = vm,
        .secret = &vm->secret,
        .tag_mask = vm->brief.tag_mask,
        .least_hash = hash_least(&vm->brief),
        .line_mask = vm->line_mask,
        .queue_mask = vm->queue_mask,
        .in_use = queues_bits(&vm->queues),
        .tally = stats_tally_in(&vm->stats, by.stripe),
    };
}

static inline __attribute__((always_inline)) struct view view_of(struct flowq_vm *vm, const struct caller by)
{
    static const struct directory empty = {.depth = 1, .shift = 63, .shard = {(void *)table_nowhere, (void *)table_nowhere}};
    struct view v = view_of_line(vm, by);
    const struct directory *d = by.registered ? ptr_load_acquire(&vm->table.directory) : &empty;
    v.shards = d->shard;
    v.shift = d->shift;
    v.udp_filter = u64_load_relaxed(&vm->udp_filter);
    return v;
}

/* The vms that the packets of a batch go to: one for all, whose view was loaded before, or one for each. */
struct receivers {
    const struct view *one; /* NULL: several */
    struct flowq_vm *const *vms;
    struct caller by;
};

static inline __attribute__((always_inline)) struct view view_of_line_at(const struct receivers *to, unsigned i)
{
    return to->one ? *to->one : view_of_line(to->vms[i], to->by);
}

/* For functions that are not inline; room: where it may be put. */
static inline const struct view *view_in(const struct receivers *to, unsigned i, struct view *room)
{
    if (to->one)
        return to->one;
    *room = view_of(to->vms[i], to->by);
    return room;
}

static inline struct line *line_of(const struct view v, uint64_t hash)
{
    struct shard *s = ptr_load_acquire(&v.shards[hash >> v.shift]);
    return shard_line(s, home_line(v.line_mask, hash));
}

/* As line_of(), from the vm's first cache line, unless its table has more than one shard. */
static inline struct line *line_in(const struct flowq_vm *vm, uint64_t hash)
{
    struct shard *s = ptr_load_acquire(&vm->sole);
    if (__builtin_expect(!s, 0))
        s = table_shard(&vm->table, hash);
    return shard_line(s, home_line(vm->line_mask, hash));
}

static inline uint64_t hash_plain(const struct flowq_vm *vm, enum plain plain, const uint64_t word[5])
{
    return plain == PLAIN_V4 ? hash_brief(vm->brief, hash_least(&vm->brief), word) : hash_words5(&vm->secret, word);
}

/* Packets from `at` on, up to n, the first of which is not plain; returns where plain ones begin again. */
unsigned sight_specials(const struct view *v, const struct flowq_pkt *pkts, unsigned at, unsigned n, struct batch *b);

/* The packet's hash is known. */
static inline __attribute__((always_inline)) void sight_line(const struct view v, struct sighting *s, uint64_t hash)
{
    s->hash = hash;
    s->line = line_of(v, hash);
    __builtin_prefetch(s->line);
}

/* Packets from `at` on, up to n, as long as they are plain ones of one version of IP; returns where others begin. A loop for each
   version leaves the compiler registers enough. */
static inline __attribute__((always_inline)) unsigned sight_v4(const struct view v, const struct flowq_pkt *pkts, unsigned at,
                                                               unsigned n, struct batch *b)
{
    const struct flowq_pkt *pkt = &pkts[at], *end = &pkts[n];
    struct hash_brief secret = v.vm->brief;
    uint64_t word[5];
    for (struct sighting *s = &b->seen[at]; pkt != end && parse_fast_v4(pkt, v.udp_filter, false, word); pkt++, s++)
        sight_line(v, s, hash_brief(secret, v.least_hash, word));
    return (unsigned)(pkt - pkts);
}

static inline __attribute__((always_inline)) unsigned sight_v6(const struct view v, const struct flowq_pkt *pkts, unsigned at,
                                                               unsigned n, struct batch *b)
{
    const struct flowq_pkt *pkt = &pkts[at], *end = &pkts[n];
    uint64_t word[5];
    for (struct sighting *s = &b->seen[at]; pkt != end && parse_fast_v6(pkt, v.udp_filter, false, word); pkt++, s++)
        sight_line(v, s, hash_words5(v.secret, word));
    return (unsigned)(pkt - pkts);
}

/* ---- Packets that the VM sends --------------------------------------------------------------------------------------------- */

/* A packet on its way into the table, or the reason why it does not go there. */
struct sent {
    uint64_t hash;
    struct line *line; /* where its flow is at home */
    uint8_t flags;     /* what note_strongest() takes; NOTE_NOTHING: hash is the least there is, and line is empty */
    uint8_t outcome;   /* of NOTE_NOTHING: FLOWQ_NOTE_* */
    /* Written by the look at the line: */
    atomic_u64 *slot; /* where the flow is; the line's service word: not there */
    uint64_t word;    /* what is in it, */
    uint64_t change;  /* and what of that would change */
};

enum { TO_THE_TABLE = 0xff }; /* besides FLOWQ_NOTE_* */

/* hash_spread() of a packet that has been sighted, from its header again; 0 if it has no key (any more). */
uint32_t sight_sent_spread(const struct flowq_vm *vm, const struct flowq_pkt *pkt);

/* As sight_specials(). */
unsigned sight_sent_specials(const struct view *v, const struct flowq_pkt *pkts, unsigned at, unsigned n, struct sent *sent);

static inline __attribute__((always_inline)) void sight_sent_line(const struct view v, struct sent *s, uint64_t hash,
                                                                  uint32_t flags)
{
    s->hash = hash;
    s->line = line_of(v, hash);
    s->flags = (uint8_t)flags;
    __builtin_prefetch(s->line);
}

static inline __attribute__((always_inline)) void sight_sent(const struct view v, const struct flowq_pkt *pkt, struct sent *s)
{
    uint64_t word[5];
    enum plain plain = parse_fast(pkt, v.udp_filter, true, word);
    if (plain == PLAIN_NOT) {
        const struct view whole = v;
        sight_sent_specials(&whole, pkt, 0, 1, s);
    } else {
        sight_sent_line(v, s, hash_plain(v.vm, plain, word), note_flags_fast(pkt, plain, word));
    }
}

/* As sight_v4(), sight_v6(). */
static inline __attribute__((always_inline)) unsigned sight_sent_v4(const struct view v, const struct flowq_pkt *pkts,
                                                                    unsigned at, unsigned n, struct sent *sent)
{
    const struct flowq_pkt *pkt = &pkts[at], *end = &pkts[n];
    struct hash_brief secret = v.vm->brief;
    uint64_t word[5];
    for (struct sent *s = &sent[at]; pkt != end && parse_fast_v4(pkt, v.udp_filter, true, word); pkt++, s++)
        sight_sent_line(v, s, hash_brief(secret, v.least_hash, word), note_flags_fast(pkt, PLAIN_V4, word));
    return (unsigned)(pkt - pkts);
}

static inline __attribute__((always_inline)) unsigned sight_sent_v6(const struct view v, const struct flowq_pkt *pkts,
                                                                    unsigned at, unsigned n, struct sent *sent)
{
    const struct flowq_pkt *pkt = &pkts[at], *end = &pkts[n];
    uint64_t word[5];
    for (struct sent *s = &sent[at]; pkt != end && parse_fast_v6(pkt, v.udp_filter, true, word); pkt++, s++)
        sight_sent_line(v, s, hash_words5(v.secret, word), note_flags_fast(pkt, PLAIN_V6, word));
    return (unsigned)(pkt - pkts);
}

#endif
