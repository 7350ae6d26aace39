/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * state_place: bindings into a table that nobody else sees yet. See state.h, and table.h for the layout.
 *
 * The places are those that a note would find (note.c), but no flow is displaced: whoever comes later was noted longer ago, or is
 * in the way of nobody. Nothing here is raced for, so nothing is frozen and no order of stores matters.
 */
#include "state.h"

#include "find.h"
#include "table_impl.h"

/* A place for a flow: its slot, and its line. at LINE_SLOTS: there is none. */
struct free_place {
    uint32_t line, at;
};

static void place_store(const struct table *t, struct shard *s, struct free_place to, uint64_t word, uint16_t stamp)
{
    u64_store_relaxed(&shard_line(s, to.line)->slot[to.at], word);
    if (t->plane_at)
        u16_store_relaxed(shard_plane(t, s) + to.line * LINE_SLOTS + to.at, stamp);
}

static uint16_t place_stamp_at(const struct table *t, struct shard *s, struct free_place p)
{
    return t->plane_at ? u16_load_relaxed(shard_plane(t, s) + p.line * LINE_SLOTS + p.at) : 0;
}

/* A flow that is at home in `line` goes to its second line, if there is room; its place is free then. */
static struct free_place place_move_aside(const struct table *t, struct shard *s, uint32_t line)
{
    for (struct free_place from = {line, 0}; from.at < LINE_SLOTS; from.at++) {
        uint64_t word = u64_load_relaxed(&shard_line(s, line)->slot[from.at]);
        struct free_place to = {.line = line_other(t->line_mask, word, line)};
        to.at = line_empty_slot(shard_line(s, to.line));
        if (word & WORD_SECONDARY || to.at == LINE_SLOTS)
            continue;
        line_count_second(shard_line(s, line), word); /* T-B */
        place_store(t, s, to, word | WORD_SECONDARY, place_stamp_at(t, s, from));
        return from;
    }
    return (struct free_place){line, LINE_SLOTS};
}

static struct free_place place_find_free(const struct table *t, struct shard *s, uint32_t first, uint32_t second)
{
    struct free_place p = {first, line_empty_slot(shard_line(s, first))};
    if (p.at == LINE_SLOTS)
        p = (struct free_place){second, line_empty_slot(shard_line(s, second))};
    if (p.at == LINE_SLOTS)
        p = place_move_aside(t, s, first);
    return p.at == LINE_SLOTS ? place_move_aside(t, s, second) : p;
}

/* False: there is no place. */
static bool place_put(const struct table *t, struct shard *s, uint64_t hash, uint64_t word, uint16_t stamp)
{
    uint32_t first = line_of_hash(t->line_mask, hash), second = line_other(t->line_mask, hash, first);
    struct free_place p = place_find_free(t, s, first, second);
    if (p.at == LINE_SLOTS)
        return false;
    if (p.line != first) {
        line_count_second(shard_line(s, first), hash);
        word |= WORD_SECONDARY;
    }
    place_store(t, s, p, word, stamp);
    atomic_u16 *live = &shard_head(t, s)->live[part_of(p.line)];
    u16_store_relaxed(live, (uint16_t)(u16_load_relaxed(live) + 1));
    return true;
}

/* A first shard, or two for one. Nobody else is there, so no lock is held, and none is waited for. */
static enum state_placed place_make_room(struct table *t, struct shard *s, uint64_t hash)
{
    struct table_halves halves = {{NULL, NULL}};
    struct table_want want;
    uint32_t tries = TABLE_TRIES;
    enum table_grown grown;
    for (;;) {
        grown = table_grow(t, s, hash, halves.half[0] ? &halves : NULL, &want, &tries);
        if (grown == TABLE_UNREADY && (grown = table_prepare(t, s, &halves, &want, &tries)) == TABLE_GROWN)
            continue;
        if (grown != TABLE_WANTS)
            break;
        if (table_get(t, &want, &tries) != TABLE_GOT)
            return STATE_NO_MEMORY;
    }
    if (halves.half[0])
        table_give_back(t, &halves);
    table_reclaim_unseen(t);
    return grown == TABLE_GROWN ? STATE_PLACED : STATE_NO_ROOM;
}

enum state_placed state_place(struct table *t, uint64_t hash, uint64_t word, uint16_t stamp)
{
    for (;;) { /* each turn goes a bit deeper into the hash */
        struct shard *s = table_shard(t, hash);
        if (s != shard_nowhere() && find_in_shard(t, s, hash).slot)
            return STATE_KNOWN;
        if (s != shard_nowhere() && place_put(t, s, hash, (hash & t->tag_mask) | word, stamp))
            return STATE_PLACED;
        enum state_placed made = place_make_room(t, s, hash);
        if (made != STATE_PLACED)
            return made;
    }
}
