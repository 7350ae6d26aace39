/*
 * with_ck_ht: ck's open-addressed table (one writer, many readers) with ck_epoch sections around each burst. Keys lie outside of
 * it.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <ck_epoch.h>
#include <ck_ht.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "peer.h"

struct bench_ck {
    ck_ht_t ht;
    uint32_t version, key_bytes, key_words;
    uint64_t n_flows, n_keys; /* room for keys, keys there */
    uint64_t slots;
    uint64_t *keys;
};

static size_t bytes_allocated; /* by all tables: they are made one at a time */

static void *take(size_t size)
{
    bytes_allocated += size;
    return size < 1 << 20 ? calloc(1, size) : huge_alloc(size);
}

static void give(void *ptr, size_t size, bool defer)
{
    (void)defer; /* nobody reads while a table grows or goes */
    bytes_allocated -= size;
    if (size < 1 << 20)
        free(ptr);
    else
        huge_free(ptr, size);
}

static void *again(void *ptr, size_t old_size, size_t new_size, bool defer)
{
    (void)ptr, (void)old_size, (void)new_size, (void)defer;
    return NULL;
}

static struct ck_malloc memory = {.malloc = take, .free = give, .realloc = again};

static void hash_key_bytes(ck_ht_hash_t *h, const void *key, size_t bytes, uint64_t seed)
{
    h->value =
        bytes == KEY_V4_BYTES ? XXH3_64bits_withSeed(key, KEY_V4_BYTES, seed) : XXH3_64bits_withSeed(key, KEY_V6_BYTES, seed);
}

/* ---- Sections -------------------------------------------------------------------------------------------------------------- */

static ck_epoch_t epoch;
static _Thread_local ck_epoch_record_t *record;

static void thread_begin(void)
{
    static bool ready;
    if (record)
        return;
    if (!ready)
        ck_epoch_init(&epoch);
    ready = true;
    record = aligned_alloc(64, (sizeof(*record) + 63) & ~(size_t)63);
    if (!record)
        fail("no memory");
    ck_epoch_register(&epoch, record, NULL);
}

static void thread_end(void) { ck_epoch_unregister(record); }

/* ---- The table ------------------------------------------------------------------------------------------------------------- */

static void *create(const struct shape *shape)
{
    struct bench_ck *b = calloc(1, sizeof(*b));
    thread_begin();
    if (!b)
        fail("no memory");
    b->version = shape->version;
    b->key_words = shape->version == 4 ? 2 : 5;
    b->key_bytes = b->key_words * 8;
    b->n_flows = shape->n_flows;
    b->slots = shape->grows ? 2 << 10 : shape->slots;
    b->keys = huge_alloc(b->n_flows * b->key_bytes);
    if (!ck_ht_init(&b->ht, CK_HT_MODE_BYTESTRING, hash_key_bytes, &memory, b->slots, 1))
        fail("ck_ht_init failed");
    return b;
}

static void destroy(void *table)
{
    struct bench_ck *b = table;
    ck_ht_destroy(&b->ht);
    huge_free(b->keys, b->n_flows * b->key_bytes);
    free(b);
}

static inline bool find(struct bench_ck *b, const uint64_t *key, ck_ht_hash_t *hash, ck_ht_entry_t *entry)
{
    hash_key_bytes(hash, key, b->key_bytes, b->ht.seed);
    ck_ht_entry_key_set(entry, key, (uint16_t)b->key_bytes);
    return ck_ht_get_spmc(&b->ht, *hash, entry);
}

static void key_of(const struct bench_ck *b, const struct flowq_pkt *pkt, bool tx, uint64_t key[6])
{
    if (b->version == 4)
        peer_key(pkt, tx, 4, key);
    else
        peer_key(pkt, tx, 6, key);
}

/* One more than the queue is stored: a value must not be NULL. */
static void note_one(struct bench_ck *b, const struct flowq_pkt *pkt, uint32_t queue)
{
    uint64_t key[6], *stored;
    ck_ht_hash_t hash;
    ck_ht_entry_t entry;
    void *value = (void *)(uintptr_t)(queue + 1);
    key_of(b, pkt, true, key);
    if (find(b, key, &hash, &entry)) {
        if (ck_ht_entry_value(&entry) == value)
            return;
        stored = ck_ht_entry_key(&entry);
    } else {
        if (b->n_keys == b->n_flows)
            fail("ck_ht: no room for more keys");
        stored = b->keys + b->n_keys++ * b->key_words;
        memcpy(stored, key, b->key_bytes);
    }
    ck_ht_entry_set(&entry, hash, stored, (uint16_t)b->key_bytes, value);
    if (!ck_ht_set_spmc(&b->ht, hash, &entry))
        fail("ck_ht_set_spmc failed");
}

static void note(void *table, const struct flowq_pkt *pkts, size_t n, uint32_t first, uint32_t step)
{
    for (size_t i = 0; i < n; i++)
        note_one(table, &pkts[i], burst_queue(first, step, i));
}

static uint64_t answer(struct bench_ck *b, const uint64_t *key)
{
    ck_ht_hash_t hash;
    ck_ht_entry_t entry;
    return find(b, key, &hash, &entry) ? (uintptr_t)ck_ht_entry_value(&entry) - 1 : fallback_queue((uint32_t)hash.value);
}

static uint64_t steer(void *table, const struct flowq_pkt *pkts, size_t n)
{
    uint64_t sum = 0, key[BURST][6];
    for (size_t i = 0; i < n; i += BURST) {
        size_t m = n - i < BURST ? n - i : BURST;
        for (size_t j = 0; j < m; j++)
            key_of(table, &pkts[i + j], false, key[j]);
        ck_epoch_begin(record, NULL);
        for (size_t j = 0; j < m; j++)
            sum += answer(table, key[j]);
        ck_epoch_end(record, NULL);
    }
    return sum;
}

static uint64_t single(void *table, const struct flowq_pkt *pkts, size_t n)
{
    uint64_t sum = 0, key[6];
    ck_epoch_begin(record, NULL);
    for (size_t i = 0; i < n; i++) {
        key_of(table, &pkts[i], false, key);
        sum += answer(table, key);
    }
    ck_epoch_end(record, NULL);
    return sum;
}

static uint64_t lookup(void *table, const uint64_t *keys, unsigned words, size_t n)
{
    ck_ht_hash_t hash;
    ck_ht_entry_t entry;
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i += BURST) {
        size_t m = n - i < BURST ? n - i : BURST;
        ck_epoch_begin(record, NULL);
        for (size_t j = i; j < i + m; j++)
            sum += find(table, keys + j * words, &hash, &entry) ? (uintptr_t)ck_ht_entry_value(&entry) - 1 : MISS;
        ck_epoch_end(record, NULL);
    }
    return sum;
}

static void clear(void *table)
{
    struct bench_ck *b = table;
    if (!ck_ht_reset_size_spmc(&b->ht, b->slots))
        fail("ck_ht_reset_spmc failed");
    b->n_keys = 0;
}

static size_t bytes(void *table)
{
    struct bench_ck *b = table;
    struct ck_ht_stat stat;
    ck_ht_stat(&b->ht, &stat);
    (void)stat;
    return bytes_allocated + b->n_keys * b->key_bytes;
}

const struct contestant with_ck_ht = {
    .name = "ck_ht",
    .what = "libck: ck_ht with ck_epoch",
    .create = create,
    .destroy = destroy,
    .note = note,
    .steer = steer,
    .single = single,
    .lookup = lookup,
    .clear = clear,
    .bytes = bytes,
    .minor = true,
    .grows = true,
    .thread_begin = thread_begin,
    .thread_end = thread_end,
};
