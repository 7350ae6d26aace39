/*
 * with_tun: a model of the table of Linux's tun device, written from its description: a 32-bit symmetric hash is the whole
 * identity of a flow; 1024 chains; at most 4096 flows, more are not learned; an entry's time lies in a cache line of its own.
 * Parsing is flowq's here.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "peer.h"

enum { CHAINS = 1024, MAX_FLOWS = 4096 };

struct flow {
    struct flow *next;
    char room[40]; /* what else the kernel's entry holds */
    uint32_t hash;
    uint32_t queue;
    _Alignas(64) uint64_t updated;
};

struct tun {
    uint32_t n;
    uint64_t now;
    struct flow *chain[CHAINS];
    struct flow *flows;
};

static void *create(const struct shape *shape)
{
    if (shape->version != 4)
        return NULL;
    struct tun *t = calloc(1, sizeof(*t));
    if (!t)
        fail("no memory");
    t->flows = huge_alloc(MAX_FLOWS * sizeof(*t->flows));
    t->now = 1;
    return t;
}

static void destroy(void *table)
{
    struct tun *t = table;
    huge_free(t->flows, MAX_FLOWS * sizeof(*t->flows));
    free(t);
}

static void clear(void *table)
{
    struct tun *t = table;
    memset(t->chain, 0, sizeof(t->chain));
    t->n = 0;
}

/* The same in both directions. IPv4 only: words 0 (addresses) and 1 (ports, protocol). */
static uint32_t symmetric_hash(const uint64_t key[2])
{
    uint64_t word[2] = {key[0], key[1]};
    uint32_t a = (uint32_t)word[0], b = (uint32_t)(word[0] >> 32), ports = (uint32_t)word[1];
    if (a > b || (a == b && (ports & 0xffff) > ports >> 16)) {
        word[0] = (uint64_t)a << 32 | b;
        word[1] = (word[1] & ~(uint64_t)0xffffffff) | (ports << 16 | ports >> 16);
    }
    uint32_t hash = (uint32_t)XXH3_64bits(word, sizeof(word));
    return hash ? hash : 1;
}

static struct flow *find(const struct tun *t, uint32_t hash)
{
    struct flow *f = __atomic_load_n(&t->chain[hash % CHAINS], __ATOMIC_CONSUME);
    while (f && f->hash != hash)
        f = __atomic_load_n(&f->next, __ATOMIC_CONSUME);
    return f;
}

static void note(void *table, const struct flowq_pkt *pkts, size_t n, uint32_t first, uint32_t step)
{
    struct tun *t = table;
    uint64_t key[6];
    for (size_t i = 0; i < n; i++) {
        uint32_t queue = burst_queue(first, step, i);
        peer_key(&pkts[i], true, 4, key);
        uint32_t hash = symmetric_hash(key);
        struct flow *f = find(t, hash);
        if (f) {
            if (f->queue != queue)
                f->queue = queue;
            if (f->updated != t->now)
                f->updated = t->now;
        } else if (t->n < MAX_FLOWS) {
            f = &t->flows[t->n++];
            *f = (struct flow){.next = t->chain[hash % CHAINS], .hash = hash, .queue = queue, .updated = t->now};
            __atomic_store_n(&t->chain[hash % CHAINS], f, __ATOMIC_RELEASE);
        }
    }
}

static uint64_t steer(void *table, const struct flowq_pkt *pkts, size_t n)
{
    const struct tun *t = table;
    uint64_t sum = 0, key[6];
    for (size_t i = 0; i < n; i++) {
        peer_key(&pkts[i], false, 4, key);
        uint32_t hash = symmetric_hash(key);
        const struct flow *f = find(t, hash);
        sum += f ? f->queue : fallback_queue(hash);
    }
    return sum;
}

static size_t bytes(void *table) { return sizeof(struct tun) + ((const struct tun *)table)->n * sizeof(struct flow); }

const struct contestant with_tun = {
    .name = "tun",
    .what = "a model of the table of Linux's tun device",
    .create = create,
    .destroy = destroy,
    .note = note,
    .steer = steer,
    .single = steer,
    .clear = clear,
    .bytes = bytes,
    .minor = true,
    .most_flows = MAX_FLOWS,
};
