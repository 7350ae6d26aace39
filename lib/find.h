/*
 * find: every look into a line of the table, by readers and by notes.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A flow has two places: a slot of its home line, and, with WORD_SECONDARY, one of its second line. To find it takes three steps,
 * which are here; table.h says who may change what meanwhile.
 *
 *   1. A filter (probe.h) compares all slots of the home line at once, and names one. A vector load is not atomic, and the slot
 *      may change after it: so the slot is read again, as an atomic, and compared again (T-C). What counts is that word alone.
 *   2. If it is not the flow's, the service word of the home line says whether flows of this line live in their second one, and
 *      which. It is read after the slots: whoever moves a flow counts it there before the flow leaves its slot, so a reader that
 *      came too late for the slot comes in time for the count (T-B). For that the filters load with acquire, or, where the
 *      processor keeps loads in order, keep the compiler from moving them.
 *   3. If it may live there: the same filter for the second line, and the same second look at the slot.
 *
 * The loops of the data path do step 1 with a filter of their own set of instructions (loops_each.h), and compare the tag alone
 * then: a word with this tag that came into the slot after the filter is this flow's, or one that collides with it, which is as
 * rare there as anywhere. They fetch the second line, and do steps 2 and 3 later. A call for one packet, or a few, does step 1
 * with line_likely(), and begins anew where that named another flow's word (for one packet, always). All others call find_word(),
 * for reading, or find_in_shard() and find_in_table(), for writing.
 */
#ifndef FLOWQ_LIB_FIND_H
#define FLOWQ_LIB_FIND_H

#include "probe.h"

/* Step 1: the word in the slot that a filter named. */
static inline __attribute__((always_inline)) uint64_t find_named(const struct line *l, unsigned at)
{
    return u64_load_acquire(&l->word[at]); /* T-C; acquire, as the service word may be looked at afterwards (T-B) */
}

/* Step 1 for a call for one packet, or a few. */
static inline __attribute__((always_inline)) uint64_t find_likely(const struct line *home, const uint64_t *hash,
                                                                  uint64_t tag_mask)
{
    return find_named(home, line_likely(home, hash, tag_mask)); /* T-C */
}

/* Zero if the word that was named is the flow's. */
static inline uint64_t find_differs(uint64_t word, uint64_t hash, uint64_t tag_mask) { return (word ^ hash) & tag_mask; }

/* The word that a filter named, compared as the filter did. 0: it is not there. */
static inline __attribute__((always_inline)) uint64_t find_checked(const struct line *l, unsigned at, uint64_t probe,
                                                                   uint64_t mask)
{
    uint64_t word = u64_load_acquire(&l->word[at]); /* T-C */
    return (word & mask) == probe ? word : 0;
}

/* Step 2: the line in which a flow may live that is not in its home line, whose slots were looked at before; NULL: in none (T-B).
 */
static inline __attribute__((always_inline)) const struct line *find_second(uint32_t line_mask, const struct line *home,
                                                                            uint64_t hash)
{
    return line_may_be_second(home, hash) ? line_second(line_mask, home, hash) : NULL;
}

/* Fetches that line, where the flow was not at home, while others are looked at. all_if_missed: UINT64_MAX, or 0; so this is one
   branch, which is hardly ever taken, not two that are hard to predict. */
static inline __attribute__((always_inline)) void find_fetch_second(uint32_t line_mask, const struct line *home, uint64_t hash,
                                                                    uint64_t all_if_missed)
{
    if (__builtin_expect((line_overflow(home) & all_if_missed) != 0, 0))
        __builtin_prefetch(line_second(line_mask, home, hash));
}

/* Steps 2 and 3: the word of a flow that is not in its home line; 0: it is not in the other one either. */
static inline uint64_t find_second_word(uint32_t line_mask, uint64_t tag_mask, const struct line *home, uint64_t hash)
{
    const uint64_t mask = tag_mask | WORD_SECONDARY, probe = (hash & tag_mask) | WORD_SECONDARY;
    const struct line *second = find_second(line_mask, home, hash);
    return second ? find_checked(second, line_match(second, probe, mask), probe, mask) : 0;
}

/* All steps: the flow's word; 0: it is not in the table. */
static inline uint64_t find_word(uint32_t line_mask, uint64_t tag_mask, const struct line *home, uint64_t hash)
{
    const uint64_t mask = tag_mask | WORD_SECONDARY, probe = hash & tag_mask;
    uint64_t word = find_checked(home, line_match(home, probe, mask), probe, mask);
    return word ? word : find_second_word(line_mask, tag_mask, home, hash);
}

/* ---- For writing: the slot, too -------------------------------------------------------------------------------------------- */

/* A slot that was found, and the value it had, is a struct place (table.h). */
static inline struct place find_in_line(struct shard *s, uint32_t line, uint64_t probe, uint64_t mask)
{
    struct place p = {.shard = s, .line = shard_line(s, line)};
    unsigned at = line_match(p.line, probe, mask);
    p.word = find_checked(p.line, at, probe, mask);
    p.slot = p.word ? &p.line->slot[at] : NULL;
    return p;
}

/* In its second line only. */
static inline struct place find_in_shard_second(const struct table *t, struct shard *s, uint64_t hash)
{
    uint32_t second = line_other(t->line_mask, hash, line_of_hash(t->line_mask, hash));
    return find_in_line(s, second, (hash & t->tag_mask) | WORD_SECONDARY, t->tag_mask | WORD_SECONDARY);
}

/* In either line of this shard. Caller is in a section, or holds the shard's lock. */
static inline struct place find_in_shard(const struct table *t, struct shard *s, uint64_t hash)
{
    struct place p = find_in_line(s, line_of_hash(t->line_mask, hash), hash & t->tag_mask, t->tag_mask | WORD_SECONDARY);
    if (p.slot || !line_may_be_second(p.line, hash)) /* T-B */
        return p;
    return find_in_shard_second(t, s, hash);
}

/* In the table. Caller is in a section. */
static inline struct place find_in_table(const struct table *t, uint64_t hash)
{
    return find_in_shard(t, table_shard(t, hash), hash);
}

/* An empty slot of a line; slot NULL: there is none. It stays so under the lock of the shard, or of the line's part. */
static inline struct place find_empty(struct shard *s, uint32_t line)
{
    struct place p = {.shard = s, .line = shard_line(s, line)};
    unsigned at = line_match(p.line, 0, UINT64_MAX);
    p.slot = at < LINE_SLOTS ? &p.line->slot[at] : NULL;
    return p;
}

/* An empty slot of a flow's home line, whose part, or whose shard, is locked, by one look at it. Slot NULL: there is none, or the
   flow may be known by now, in this line or its second one. */
static inline struct place find_empty_for_new(const struct table *t, struct shard *s, uint32_t line, uint64_t hash)
{
    struct place p = {.shard = s, .line = shard_line(s, line)};
    unsigned at;
    if (line_likely_or_empty(p.line, &hash, t->tag_mask, &at) != LINE_SLOTS || line_may_be_second(p.line, hash))
        return p;
    p.slot = at < LINE_SLOTS && u64_load_relaxed(&p.line->slot[at]) == 0 ? &p.line->slot[at] : NULL;
    return p;
}

#endif
