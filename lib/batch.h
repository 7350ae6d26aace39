/*
 * batch: the packets of a burst that are in flight together, and what is known of each.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A burst is taken BATCH packets at a time; each stage runs over all of them before the next one begins, so that the misses of
 * the processor's caches overlap, first those of the headers, then those of the table. It belongs to the call, on its stack.
 */
#ifndef FLOWQ_LIB_BATCH_H
#define FLOWQ_LIB_BATCH_H

#include <string.h>

#include "flowq.h"
#include "key.h"
#include "table.h"

#define BATCH     32 /* enough that the table's cache misses overlap */
#define BATCH_FEW 8 /* up to so many packets that are all plain have a shorter way, as what all share is most of what they cost */

/* How many packets of n there are in the batch that begins with packet `at`. */
static inline unsigned batch_size(size_t n, size_t at) { return at >= n ? 0 : n - at < BATCH ? (unsigned)(n - at) : BATCH; }

/* A set of packets: a bit for each, the first one's highest. */
static inline unsigned batch_first(uint32_t set) { return (unsigned)__builtin_clz(set); }
static inline unsigned batch_last(uint32_t set) { return (unsigned)__builtin_ctz(set) ^ (BATCH - 1); }
static inline uint32_t batch_bit(unsigned at) { return UINT32_C(1) << (BATCH - 1) >> at; }
_Static_assert(BATCH == 32, "a bit for each packet");

/* ---- Packets that go to the VM --------------------------------------------------------------------------------------------- */

/* What a packet turned out to be; it says how its queue is found. */
enum batch_kind {
    BATCH_PLAIN,   /* plain.h: looked up in the table */
    BATCH_PARSED,  /* by the complete parser: likewise, or (PARSE_SPREAD) as a flow that is not bound */
    BATCH_KEYLESS, /* the lowest queue in use */
    BATCH_LATER,   /* a later fragment: follows its first one */
    BATCH_QUOTE,   /* an ICMP error: looked up by the packet that it quotes */
    BATCH_SINGLE,  /* for several vms: this one has a single queue in use, or none */
    BATCH_RSS      /* for several vms: this one's indirection table has chosen, batch.rss_qid */
};

/* Where a packet's flow is at home. */
struct lookup {
    uint64_t hash;
    struct line *line;
};

/* A packet that concerns the cache of fragments (frag.h). */
struct batch_fragment {
    uint8_t at; /* in the batch */
    uint8_t n_first;
    bool whole_key;           /* a later fragment whose key is its flow's */
    uint64_t later, first[2]; /* hashes of datagrams; later 0: none that could be known */
};

struct batch {
    struct lookup lookup[BATCH];
    const struct flowq_pkt *pkts;
    uint8_t kind[BATCH];   /* enum batch_kind; begins as BATCH_PLAIN */
    uint8_t reason[BATCH]; /* begins as FLOWQ_REASON_BOUND where anybody reads it */
    struct batch_fragment fragment[BATCH];
    unsigned n_fragments;
    uint32_t quotes;  /* one vm: the set of quotes, which are answered like a flow's packets if that is at home */
    uint32_t special; /* the set of packets that are not plain */
    /* One vm: the set of those at home, bound to a queue that is not in use, and of those of which line_likely() named another
       flow's word: answer_one() looks at them again. Written by the first look. */
    uint32_t queue_off;
    struct key key[BATCH];   /* of PARSED, LATER, QUOTE, for a fallback; plain packets are read again if they need it */
    uint16_t rss_qid[BATCH]; /* of RSS */
    uint64_t now_ns;         /* read for the call's first fragment, with several vms for each; 0: not yet */
    uint64_t began;          /* of a call for few packets: ordered_began() */
};

static inline __attribute__((always_inline)) void batch_begin(struct batch *b, const struct flowq_pkt *pkts)
{
    b->pkts = pkts;
    b->n_fragments = 0;
    b->quotes = b->special = 0;
    memset(b->kind, BATCH_PLAIN, sizeof(b->kind));
}

/* ---- Packets that the VM sends --------------------------------------------------------------------------------------------- */

/* A packet on its way into the table, or the reason why it does not go there. */
struct batch_sent {
    struct lookup lookup; /* flags NOTE_NOTHING: the least hash there is, and an empty line */
    uint8_t flags;        /* what note_strongest() takes */
    uint8_t outcome;      /* of NOTE_NOTHING: FLOWQ_NOTE_* */
    /* Written by the look at the line: */
    atomic_u64 *slot; /* where the flow is; the line's service word: not there */
    uint64_t word;    /* what is in it, */
    uint64_t change;  /* and what of that would change */
};

/* ---- Headers fetched ahead ------------------------------------------------------------------------------------------------- */

/* The frames lie close behind one another, in the order of the packets, so that the processor fetches them by itself; fetching
   them besides is in its way. */
static inline bool batch_in_a_row(const struct flowq_pkt *pkts, unsigned n)
{
    enum { FRAME_BYTES = 256 }; /* a frame's, at most */
    return n > 0 && (uintptr_t)pkts[n - 1].data - (uintptr_t)pkts[0].data < (uintptr_t)n * FRAME_BYTES;
}

/*
 * Headers that are not in a cache yet are fetched so many packets ahead, some at a time. All of a batch at once would be more
 * than a core has miss buffers, and AMD's Zen drops what finds none free: one header out of twenty, each of which is waited for
 * later.
 */
#define BATCH_FETCH_AHEAD 16
#define BATCH_FETCH_STEP  8

/* Of packets from `at` on, up to n. (gcc leaves out calls of a function that only prefetches.) */
static inline __attribute__((always_inline)) void batch_fetch(const struct flowq_pkt *pkts, unsigned at, unsigned n)
{
#pragma GCC unroll 4
    for (; at < n; at++)
        __builtin_prefetch(pkts[at].data);
}

/* The first headers of n packets that are not in a row. */
static inline __attribute__((always_inline)) void batch_fetch_first(const struct flowq_pkt *pkts, unsigned n)
{
    batch_fetch(pkts, 0, n < BATCH_FETCH_AHEAD ? n : BATCH_FETCH_AHEAD);
}

/* Packets from `at` on are about to be parsed, the first of which are fetched: fetches the next ones, and returns up to where may
   be parsed before it is called again. */
static inline __attribute__((always_inline)) unsigned batch_fetch_next(const struct flowq_pkt *pkts, unsigned at, unsigned n)
{
    unsigned end = n - at < BATCH_FETCH_STEP ? n : at + BATCH_FETCH_STEP;
    batch_fetch(pkts, at + BATCH_FETCH_AHEAD, n < end + BATCH_FETCH_AHEAD ? n : end + BATCH_FETCH_AHEAD);
    return end;
}

#endif
