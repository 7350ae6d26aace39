/*
 * The dictionary of flowq-replay: 40-byte keys (flows, datagrams, addresses) to consecutive numbers. Open addressing, linear
 * probing, at most half full, doubles; nothing is ever removed.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "replay.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_SLOTS 1024u
#define DICT_SECRET 0x9e3779b97f4a7c15u

uint64_t hash40(const void *key, uint64_t secret)
{
    uint64_t words[5], hash = secret;

    memcpy(words, key, sizeof(words));
    for (size_t i = 0; i < 5; i++) {
        hash = (hash ^ words[i]) * 0xbf58476d1ce4e5b9u;
        hash ^= hash >> 29;
    }
    hash *= 0x94d049bb133111ebu;
    return hash ^ hash >> 32;
}

struct tuple tuple_reverse(const struct tuple *tuple)
{
    struct tuple out = *tuple;

    memcpy(out.src, tuple->dst, sizeof(out.src));
    memcpy(out.dst, tuple->src, sizeof(out.dst));
    out.sport = tuple->dport;
    out.dport = tuple->sport;
    return out;
}

/* The slot that holds the key, or the free one where it belongs. */
static uint32_t slot_of(const struct dict *dict, const void *key)
{
    uint32_t i = (uint32_t)hash40(key, DICT_SECRET) & dict->mask;

    while (dict->slots[i] != 0 && memcmp(dict->keys[dict->slots[i] - 1], key, sizeof(dict->keys[0])) != 0)
        i = (i + 1) & dict->mask;
    return i;
}

static bool grow_slots(struct dict *dict)
{
    uint32_t n = dict->slots == NULL ? FIRST_SLOTS : (dict->mask + 1) * 2;
    uint32_t *slots = n == 0 ? NULL : calloc(n, sizeof(*slots));

    if (slots == NULL)
        return false;
    free(dict->slots);
    dict->slots = slots;
    dict->mask = n - 1;
    for (uint32_t i = 0; i < dict->n; i++)
        slots[slot_of(dict, dict->keys[i])] = i + 1;
    return true;
}

static bool grow_keys(struct dict *dict)
{
    uint32_t n = dict->n_keys == 0 ? FIRST_SLOTS / 2 : dict->n_keys * 2;
    void *keys = realloc(dict->keys, (size_t)n * sizeof(*dict->keys));

    if (keys == NULL)
        return false;
    dict->keys = keys;
    dict->n_keys = n;
    return true;
}

uint32_t dict_find(const struct dict *dict, const void *key)
{
    if (dict->slots == NULL)
        return NONE;
    uint32_t number = dict->slots[slot_of(dict, key)];
    return number == 0 ? NONE : number - 1;
}

uint32_t dict_add(struct dict *dict, const void *key)
{
    uint32_t number = dict_find(dict, key);

    if (number != NONE)
        return number;
    if ((dict->slots == NULL || dict->n >= (dict->mask + 1) / 2) && !grow_slots(dict))
        return NONE;
    if (dict->n == dict->n_keys && !grow_keys(dict))
        return NONE;
    memcpy(dict->keys[dict->n], key, sizeof(*dict->keys));
    dict->slots[slot_of(dict, key)] = dict->n + 1;
    return dict->n++;
}

void dict_free(struct dict *dict)
{
    free(dict->keys);
    free(dict->slots);
    *dict = (struct dict){0};
}
