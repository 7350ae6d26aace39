/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stats: counters that cost the data path next to nothing.
 *
 * A vm has STATS_STRIPES stripes of counters. The thread whose index is i < STATS_STRIPES - 1 owns stripe i: only it writes
 * there, with a plain load and store. All other threads share the last stripe and add atomically. Readers sum over the stripes.
 * Bursts count in registers and add once.
 */
#ifndef FLOWQ_LIB_STATS_H
#define FLOWQ_LIB_STATS_H

#include "atomic.h"
#include "outcome.h"
#include "thread.h"

#define STATS_STRIPES 17

/* each(name, field of struct flowq_stats): stats.c reads them by this list. */
/* clang-format off */
#define STATS_SINGLE(each)             \
    each(RECLAIMED, reclaimed)         \
    each(FORGOTTEN, forgotten)         \
    each(ELSEWHERE, bound_elsewhere)   \
    each(GROWN, grown)                 \
    each(SHRUNK, shrunk)               \
    each(GROW_FAILED, grow_failed)     \
    each(GROW_DELAYED, grow_delayed)   \
    each(RSS_ELSEWHERE, rss_elsewhere)
/* clang-format on */

#define STATS_AT(name, field) STAT_##name,
enum statistic {
    STAT_NOTE = 0,                               /* + FLOWQ_NOTE_* */
    STAT_STEER = STAT_NOTE + N_NOTES,            /* + FLOWQ_REASON_* */
    STAT_DISPLACED = STAT_STEER + N_REASONS - 1, /* + FLOWQ_CLASS_*, which begin with 1 */
    STAT_BEFORE_SINGLE = STAT_DISPLACED + N_CLASSES - 1,
    STATS_SINGLE(STATS_AT) STAT_END,
    STAT_N = (STAT_END + 7) / 8 * 8 /* whole cache lines: stripes share none */
};

struct stripe {
    atomic_u64 counter[STAT_N];
} __attribute__((aligned(64)));

/* Per queue and stripe, only with queue_stats. */
struct queue_counters {
    atomic_u64 noted, steered;
};

/* Counters in a row, one row a stripe: whole cache lines, as in struct stripe. */
static inline size_t queue_counters_row(uint32_t max_queue_pairs)
{
    const size_t in_line = 64 / sizeof(struct queue_counters);
    return (max_queue_pairs + in_line - 1) / in_line * in_line;
}

struct stats {
    struct stripe stripe[STATS_STRIPES];
};

/* A thread's hold on its stripe. */
struct tally {
    atomic_u64 *counter;
    bool shared;
};

/* Which stripe is the thread's. NULL: one that could not be registered. */
static inline uint32_t stats_stripe(const struct thread *thread)
{
    return thread && thread->index < STATS_STRIPES - 1 ? thread->index : STATS_STRIPES - 1;
}

/* The same in bytes: thread.c keeps it, so that a call need not work it out. */
static inline uint32_t stats_stripe_at(const struct thread *thread)
{
    return (uint32_t)(stats_stripe(thread) * sizeof(struct stripe));
}

static inline struct tally stats_tally_in(struct stats *s, uint32_t stripe)
{
    return (struct tally){s->stripe[stripe].counter, stripe == STATS_STRIPES - 1};
}

static inline struct tally stats_tally(struct stats *s, const struct thread *thread)
{
    const uint32_t last = (STATS_STRIPES - 1) * sizeof(struct stripe), at = thread ? thread->stripe_at : last;
    return (struct tally){(atomic_u64 *)(void *)((char *)s->stripe + at), at == last};
}

/* c belongs to the tally's stripe. */
static inline void tally_bump(const struct tally *t, atomic_u64 *c, uint64_t n)
{
    if (t->shared)
        u64_add_relaxed(c, n);
    else
        u64_store_relaxed(c, u64_load_relaxed(c) + n);
}

static inline void tally_add(const struct tally *t, unsigned stat, uint64_t n) { tally_bump(t, &t->counter[stat], n); }

uint64_t stats_sum(const struct stats *s, unsigned stat);

#endif
