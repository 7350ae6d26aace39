/*
 * with_lfht: liburcu's lock-free hash table, a quiescent state after each burst (the cheapest of its flavours for readers).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <stdlib.h>

#include <urcu-qsbr.h>

#include <urcu/rculfhash.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "peer.h"

struct node {
    struct cds_lfht_node link;
    uint32_t queue;
    uint64_t key[]; /* 2 or 5 words */
};

struct bench_lfht {
    struct cds_lfht *ht;
    uint32_t version, key_words, node_bytes;
    bool grows;
    uint64_t n_flows, n_nodes, slots;
    char *nodes;
};

static _Thread_local bool registered;

static void thread_begin(void)
{
    if (!registered)
        rcu_register_thread();
    registered = true;
}

static void thread_end(void)
{
    rcu_unregister_thread();
    registered = false;
}

static void *create(const struct shape *shape)
{
    struct bench_lfht *b = calloc(1, sizeof(*b));
    thread_begin();
    if (!b)
        fail("no memory");
    b->version = shape->version;
    b->key_words = shape->version == 4 ? 2 : 5;
    b->node_bytes = (uint32_t)sizeof(struct node) + b->key_words * 8;
    b->n_flows = shape->n_flows;
    b->grows = shape->grows;
    b->slots = shape->grows ? 2 << 10 : shape->slots;
    b->nodes = huge_alloc(b->n_flows * b->node_bytes);
    b->ht = cds_lfht_new(b->slots, b->slots, 0, shape->grows ? CDS_LFHT_AUTO_RESIZE | CDS_LFHT_ACCOUNTING : 0, NULL);
    if (!b->ht)
        fail("cds_lfht_new failed");
    return b;
}

static struct node *node_at(const struct bench_lfht *b, uint64_t i)
{
    return (struct node *)(void *)(b->nodes + i * b->node_bytes);
}

static void clear(void *table)
{
    struct bench_lfht *b = table;
    rcu_read_lock();
    for (uint64_t i = 0; i < b->n_nodes; i++)
        cds_lfht_del(b->ht, &node_at(b, i)->link);
    rcu_read_unlock();
    rcu_quiescent_state();
    b->n_nodes = 0;
}

static void destroy(void *table)
{
    struct bench_lfht *b = table;
    clear(b);
    rcu_thread_offline();
    cds_lfht_destroy(b->ht, NULL);
    rcu_thread_online();
    huge_free(b->nodes, b->n_flows * b->node_bytes);
    free(b);
}

static int match_v4(struct cds_lfht_node *link, const void *key)
{
    const struct node *node = caa_container_of(link, struct node, link);
    return memcmp(node->key, key, KEY_V4_BYTES) == 0;
}

static int match_v6(struct cds_lfht_node *link, const void *key)
{
    const struct node *node = caa_container_of(link, struct node, link);
    return memcmp(node->key, key, KEY_V6_BYTES) == 0;
}

static inline uint64_t hash_of(const uint64_t *key, unsigned words)
{
    return words == 2 ? XXH3_64bits(key, KEY_V4_BYTES) : XXH3_64bits(key, KEY_V6_BYTES);
}

static inline struct node *find(const struct bench_lfht *b, const uint64_t *key, uint64_t hash)
{
    struct cds_lfht_iter iter;
    cds_lfht_lookup(b->ht, hash, b->key_words == 2 ? match_v4 : match_v6, key, &iter);
    struct cds_lfht_node *link = cds_lfht_iter_get_node(&iter);
    return link ? caa_container_of(link, struct node, link) : NULL;
}

static void key_of(const struct bench_lfht *b, const struct flowq_pkt *pkt, bool tx, uint64_t key[6])
{
    if (b->version == 4)
        peer_key(pkt, tx, 4, key);
    else
        peer_key(pkt, tx, 6, key);
}

static void note_one(struct bench_lfht *b, const struct flowq_pkt *pkt, uint32_t queue)
{
    uint64_t key[6];
    key_of(b, pkt, true, key);
    uint64_t hash = hash_of(key, b->key_words);
    struct node *node = find(b, key, hash);
    if (node) {
        if (CMM_LOAD_SHARED(node->queue) != queue)
            CMM_STORE_SHARED(node->queue, queue);
        return;
    }
    if (b->n_nodes == b->n_flows)
        fail("lfht: no room for more nodes");
    node = node_at(b, b->n_nodes++);
    cds_lfht_node_init(&node->link);
    node->queue = queue;
    memcpy(node->key, key, b->key_words * 8);
    cds_lfht_add(b->ht, hash, &node->link);
}

static void note(void *table, const struct flowq_pkt *pkts, size_t n, uint32_t first, uint32_t step)
{
    for (size_t i = 0; i < n; i += BURST) {
        rcu_read_lock();
        for (size_t j = i; j < n && j < i + BURST; j++)
            note_one(table, &pkts[j], burst_queue(first, step, i));
        rcu_read_unlock();
        rcu_quiescent_state();
    }
}

static inline uint64_t answer(const struct bench_lfht *b, const uint64_t *key)
{
    uint64_t hash = hash_of(key, b->key_words);
    const struct node *node = find(b, key, hash);
    return node ? CMM_LOAD_SHARED(node->queue) : fallback_queue((uint32_t)hash);
}

static uint64_t steer(void *table, const struct flowq_pkt *pkts, size_t n)
{
    uint64_t sum = 0, key[BURST][6];
    for (size_t i = 0; i < n; i += BURST) {
        size_t m = n - i < BURST ? n - i : BURST;
        for (size_t j = 0; j < m; j++)
            key_of(table, &pkts[i + j], false, key[j]);
        rcu_read_lock();
        for (size_t j = 0; j < m; j++)
            sum += answer(table, key[j]);
        rcu_read_unlock();
        rcu_quiescent_state();
    }
    return sum;
}

static uint64_t single(void *table, const struct flowq_pkt *pkts, size_t n)
{
    uint64_t sum = 0, key[6];
    rcu_read_lock();
    for (size_t i = 0; i < n; i++) {
        key_of(table, &pkts[i], false, key);
        sum += answer(table, key);
    }
    rcu_read_unlock();
    rcu_quiescent_state();
    return sum;
}

static uint64_t lookup(void *table, const uint64_t *keys, unsigned words, size_t n)
{
    const struct bench_lfht *b = table;
    uint64_t sum = 0;
    rcu_read_lock();
    for (size_t i = 0; i < n; i++) {
        const struct node *node = find(b, keys + i * words, hash_of(keys + i * words, words));
        sum += node ? CMM_LOAD_SHARED(node->queue) : MISS;
    }
    rcu_read_unlock();
    rcu_quiescent_state();
    return sum;
}

/* Buckets are nodes, too; those of a table that grows are not known. */
static size_t bytes(void *table)
{
    const struct bench_lfht *b = table;
    return b->slots * sizeof(struct cds_lfht_node) + b->n_nodes * b->node_bytes;
}

const struct contestant with_lfht = {
    .name = "lfht",
    .what = "liburcu: cds_lfht, QSBR",
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
