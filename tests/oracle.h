/*
 * oracle: an array of flows, each bound or not, beside a bare table. A program that includes this has one of each.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_ORACLE_H
#define FLOWQ_TESTS_ORACLE_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "bare.h"
#include "probe.h"
#include "seed.h"

static struct rng rng;
static struct bare b;

static inline void must_be_right(void)
{
    const char *wrong = bare_wrong(&b);
    ck_assert_msg(wrong == NULL, "%s", wrong);
}

struct oracle_flow {
    uint64_t hash;
    bool bound;
    uint8_t cls;
    uint16_t queue;
    uint64_t tick;       /* of the last note, not cut to its 11 bits */
    uint64_t implied_ns; /* its last note that was not stored because the fallback chose the same queue; 0: none */
};

static struct oracle_flow *flows;
static uint32_t n_flows;

/*
 * A new flow's hash, of which the table takes no two for each other, though it keeps 49 bits of one at most (flowq(7)): two of
 * 100,000 flows are alike once in 10^5 times. Bits of the tag that choose nothing are a number of their own: neither an entry
 * of the directory (the top 12), nor a line (the lowest 8), nor how far the second one is (32 to 39).
 */
static inline uint64_t new_hash(void)
{
    static uint32_t n;
    const uint64_t mask = UINT64_C(0xfff) << 40 | UINT64_C(0xff) << 24, number = n++;
    return (rng_next(&rng) & ~mask) | (number & 0xfff) << 40 | (number >> 12 & 0xff) << 24;
}

static inline void new_flows(uint32_t n)
{
    free(flows);
    n_flows = n;
    flows = calloc(n, sizeof(*flows));
    ck_assert_ptr_nonnull(flows);
    for (uint32_t i = 0; i < n; i++)
        flows[i].hash = new_hash();
}

static inline uint64_t tick_now(void) { return b.now_ns >> BARE_TICK_SHIFT; }

/* S8 as note.h cuts it: ages are known modulo 2048 ticks. */
static inline uint32_t age_of(const struct oracle_flow *f)
{
    uint32_t age = (uint32_t)((tick_now() - f->tick) % 2048);
    return age >= 2032 ? 0 : age;
}

static inline bool oracle_stale(const struct oracle_flow *f)
{
    return age_of(f) > (f->cls == FLOWQ_CLASS_EMBRYONIC ? 5 : f->cls == FLOWQ_CLASS_CLOSING ? 10 : 1677);
}

static inline bool oracle_active(const struct oracle_flow *f) { return f->cls == FLOWQ_CLASS_ESTABLISHED && age_of(f) <= 10; }

static inline uint8_t oracle_class(const struct oracle_flow *f, enum note_kind kind)
{
    if (kind == NOTE_CLOSES || kind == NOTE_RESETS)
        return FLOWQ_CLASS_CLOSING;
    if (!f->bound)
        return kind == NOTE_CARRIES ? FLOWQ_CLASS_ESTABLISHED : FLOWQ_CLASS_EMBRYONIC;
    if (kind == NOTE_OPENS)
        return FLOWQ_CLASS_EMBRYONIC;
    return f->cls == FLOWQ_CLASS_CLOSING ? FLOWQ_CLASS_CLOSING : FLOWQ_CLASS_ESTABLISHED;
}

/* Every flow that the oracle says is bound is found, as it was noted last; and no other. */
static inline void must_agree(void)
{
    for (uint32_t i = 0; i < n_flows; i++) {
        const struct oracle_flow *f = &flows[i];
        uint64_t word = bare_find(&b, f->hash);
        ck_assert_msg((word != 0) == f->bound, "flow %u is %s", i, word ? "found but not bound" : "bound but not found");
        if (!word)
            continue;
        ck_assert_uint_eq(word_queue(b.table, word), f->queue);
        ck_assert_uint_eq(word_class(word), f->cls);
        ck_assert_uint_eq(word_tick(word), f->tick % 2048);
    }
    must_be_right();
}

struct losses {
    uint64_t displaced[4], reclaimed;
};

static inline struct losses losses_now(void)
{
    struct losses l = {.reclaimed = bare_stat(&b, STAT_RECLAIMED)};
    for (unsigned cls = 1; cls < 4; cls++)
        l.displaced[cls] = bare_stat(&b, STAT_DISPLACED + cls);
    return l;
}

/* What the counters say was lost since `before` are the flows that are lost, and they could be. */
static inline void find_losses(struct losses before)
{
    struct losses after = losses_now();
    if (memcmp(&before, &after, sizeof(after)) == 0)
        return;
    for (uint32_t i = 0; i < n_flows; i++) {
        struct oracle_flow *f = &flows[i];
        if (!f->bound || bare_find(&b, f->hash))
            continue;
        f->bound = false;
        if (oracle_stale(f)) {
            before.reclaimed++;
            continue;
        }
        ck_assert_msg(!oracle_active(f), "an active flow was displaced");
        before.displaced[f->cls]++;
    }
    ck_assert_uint_eq(before.reclaimed, after.reclaimed);
    for (unsigned cls = 1; cls < 4; cls++)
        ck_assert_uint_eq(before.displaced[cls], after.displaced[cls]);
}

/* Notes new established flows; how many were bound. */
static inline uint32_t insert_new(uint32_t n)
{
    uint32_t bound = 0;
    new_flows(n);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t outcome = bare_note(&b, flows[i].hash, i % 256);
        ck_assert(outcome == FLOWQ_NOTE_BOUND || outcome == FLOWQ_NOTE_REFUSED);
        flows[i] = (struct oracle_flow){.hash = flows[i].hash,
                                        .bound = outcome == FLOWQ_NOTE_BOUND,
                                        .cls = FLOWQ_CLASS_ESTABLISHED,
                                        .queue = (uint16_t)(i % 256),
                                        .tick = tick_now()};
        bound += flows[i].bound;
    }
    must_agree();
    return bound;
}

#endif
