/*
 * with_rte_hash: DPDK's hash table with lock-free readers, CRC32 of the key, keys inside, the queue as the key's data.
 *
 * Without huge pages reserved for it, DPDK takes its memory in pages of 4 KiB. To be fair, what librte_hash allocates for its
 * arrays is taken from the same allocator as everybody's: rte_zmalloc_socket() and rte_free() of this program stand before those
 * of DPDK's shared library, which get what is small.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wpointer-arith"
#include <rte_eal.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_malloc.h>
#pragma GCC diagnostic pop

#include "peer.h"

/* ---- Memory ---------------------------------------------------------------------------------------------------------------- */

enum { LARGE = 64 << 10, MAX_BLOCKS = 256 };

static struct {
    void *ptr;
    size_t bytes;
} blocks[MAX_BLOCKS];
static size_t bytes_allocated;

void *rte_zmalloc_socket(const char *type, size_t size, unsigned align, int socket)
{
    static void *(*original)(const char *, size_t, unsigned, int);
    if (size < LARGE) {
        if (!original)
            *(void **)&original = dlsym(RTLD_NEXT, "rte_zmalloc_socket");
        return original(type, size, align, socket);
    }
    for (unsigned i = 0; i < MAX_BLOCKS; i++) {
        if (!blocks[i].ptr) {
            blocks[i].ptr = huge_alloc(size);
            blocks[i].bytes = size;
            bytes_allocated += size;
            return blocks[i].ptr;
        }
    }
    return NULL;
}

void rte_free(void *ptr)
{
    static void (*original)(void *);
    for (unsigned i = 0; ptr && i < MAX_BLOCKS; i++) {
        if (blocks[i].ptr == ptr) {
            huge_free(ptr, blocks[i].bytes);
            bytes_allocated -= blocks[i].bytes;
            blocks[i].ptr = NULL;
            return;
        }
    }
    if (!original)
        *(void **)&original = dlsym(RTLD_NEXT, "rte_free");
    original(ptr);
}

static bool eal_init(void)
{
    static bool done, works;
    static char words[][24] = {"flowq-bench", "--no-huge", "--no-shconf",         "--no-pci", "--no-telemetry",
                               "-m",          "512",       "--log-level=*:error", "--lcores", "0@"};
    enum { N_WORDS = sizeof(words) / sizeof(*words) };
    char *args[N_WORDS + 1] = {NULL};
    if (done)
        return works;
    done = true;
    snprintf(words[N_WORDS - 1], sizeof(words[0]), "0@%d", process.cpu[0]);
    for (unsigned i = 0; i < N_WORDS; i++)
        args[i] = words[i];
    works = rte_eal_init(N_WORDS, args) >= 0;
    if (!works)
        remark("rte_hash is left out: rte_eal_init failed");
    pin(process.cpu[0]);
    return works;
}

/* ---- The table ------------------------------------------------------------------------------------------------------------- */

struct bench_hash {
    struct rte_hash *hash;
    uint32_t version, key_bytes;
    size_t bytes;
};

static struct bench_hash *make(const struct shape *shape, uint32_t key_bytes)
{
    static unsigned n_made;
    char name[32];
    if (!eal_init())
        return NULL;
    struct bench_hash *b = malloc(sizeof(*b));
    if (!b)
        fail("no memory");
    size_t before = bytes_allocated;
    snprintf(name, sizeof(name), "bench%u", n_made++);
    b->version = shape->version;
    b->key_bytes = key_bytes;
    struct rte_hash_parameters p = {
        .name = name,
        .entries = (uint32_t)shape->slots,
        .key_len = b->key_bytes,
        .hash_func = rte_hash_crc,
        .extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF,
    };
    b->hash = rte_hash_create(&p);
    if (!b->hash)
        fail("rte_hash_create failed");
    /* The ring of free slots comes from elsewhere: four bytes a slot. */
    b->bytes = bytes_allocated - before + shape->slots * 4;
    return b;
}

static void *create(const struct shape *shape) { return make(shape, shape->version == 4 ? KEY_V4_BYTES : KEY_V6_BYTES); }

/* DPDK has a faster comparison for 48 bytes than for 40. */
enum { PADDED_BYTES = 48 };
static void *create_padded(const struct shape *shape) { return shape->version == 6 ? make(shape, PADDED_BYTES) : NULL; }

static void destroy(void *table)
{
    struct bench_hash *b = table;
    rte_hash_free(b->hash);
    free(b);
}

static inline __attribute__((always_inline)) uint64_t parse_and_look(const struct bench_hash *b, const struct flowq_pkt *pkts,
                                                                     unsigned n, bool tx, uint64_t key[BURST][6],
                                                                     void *data[BURST])
{
    const void *at[BURST];
    uint64_t hits = 0;
    for (unsigned i = 0; i < n; i++) {
        at[i] = key[i];
        if (b->version == 4)
            peer_key(&pkts[i], tx, 4, key[i]);
        else
            peer_key(&pkts[i], tx, 6, key[i]);
    }
    rte_hash_lookup_bulk_data(b->hash, at, n, &hits, data);
    return hits;
}

/* What is new or has moved. */
static inline __attribute__((always_inline)) void add(const struct bench_hash *b, uint64_t key[BURST][6], void *const *data,
                                                      uint64_t hits, unsigned n, void *queue)
{
    for (unsigned i = 0; i < n; i++)
        if ((!(hits >> i & 1) || data[i] != queue) && rte_hash_add_key_data(b->hash, key[i], queue) != 0)
            fail("rte_hash is full");
}

static inline __attribute__((always_inline)) void note_all(const struct bench_hash *b, const struct flowq_pkt *pkts, size_t n,
                                                           uint32_t first, uint32_t step, size_t burst)
{
    uint64_t key[BURST][6] = {{0}};
    void *data[BURST];
    for (size_t i = 0; i < n; i += burst) {
        unsigned m = (unsigned)(n - i < burst ? n - i : burst);
        void *queue = (void *)(uintptr_t)burst_queue(first, step, i);
        uint64_t hits = parse_and_look(b, pkts + i, m, true, key, data);
        add(b, key, data, hits, m, queue);
    }
}

static void note(void *table, const struct flowq_pkt *pkts, size_t n, uint32_t first, uint32_t step)
{
    note_all(table, pkts, n, first, step, BURST);
}

static void note_by(void *table, const struct flowq_pkt *pkts, size_t n, uint32_t first, size_t burst)
{
    note_all(table, pkts, n, first, 1, burst);
}

static inline __attribute__((always_inline)) uint64_t steer_all(const struct bench_hash *b, const struct flowq_pkt *pkts,
                                                                size_t n, bool ahead, size_t burst)
{
    uint64_t key[BURST][6] = {{0}}, sum = 0;
    void *data[BURST];
    for (size_t i = 0; i < n; i += burst) {
        unsigned m = (unsigned)(n - i < burst ? n - i : burst);
        for (unsigned j = 0; ahead && j < m; j++)
            __builtin_prefetch(pkts[i + j].data);
        uint64_t hits = parse_and_look(b, pkts + i, m, false, key, data);
        for (unsigned j = 0; j < m; j++)
            sum += hits >> j & 1 ? (uintptr_t)data[j] : fallback_queue(rte_hash_hash(b->hash, key[j]));
    }
    return sum;
}

static uint64_t steer(void *table, const struct flowq_pkt *pkts, size_t n) { return steer_all(table, pkts, n, false, BURST); }
static uint64_t steer_ahead(void *table, const struct flowq_pkt *pkts, size_t n)
{
    return steer_all(table, pkts, n, true, BURST);
}
static uint64_t steer_by(void *table, const struct flowq_pkt *pkts, size_t n, size_t burst)
{
    return steer_all(table, pkts, n, false, burst);
}

static void note_several(void *const *tables, const struct note_call *calls, size_t n, size_t burst)
{
    uint64_t key[BURST][6] = {{0}};
    void *data[BURST];
    for (size_t i = 0; i < n; i++) {
        const struct bench_hash *b = tables[calls[i].table];
        uint64_t hits = parse_and_look(b, calls[i].pkts, (unsigned)burst, true, key, data);
        add(b, key, data, hits, (unsigned)burst, (void *)(uintptr_t)calls[i].qid);
    }
}

/* Packets of one table that follow each other are looked up together. */
static uint64_t steer_several(void *const *table_of, const struct flowq_pkt *pkts, size_t n, size_t burst)
{
    uint64_t key[BURST][6] = {{0}}, sum = 0;
    void *data[BURST];
    for (size_t i = 0; i < n; i += burst) {
        for (size_t from = 0, to; from < burst; from = to) {
            const struct bench_hash *b = table_of[i + from];
            for (to = from + 1; to < burst && table_of[i + to] == b;)
                to++;
            uint64_t hits = parse_and_look(b, pkts + i + from, (unsigned)(to - from), false, key, data);
            for (size_t j = 0; j < to - from; j++)
                sum += hits >> j & 1 ? (uintptr_t)data[j] : fallback_queue(rte_hash_hash(b->hash, key[j]));
        }
    }
    return sum;
}

static uint64_t single(void *table, const struct flowq_pkt *pkts, size_t n)
{
    const struct bench_hash *b = table;
    uint64_t sum = 0, key[6] = {0};
    void *data;
    for (size_t i = 0; i < n; i++) {
        if (b->version == 4)
            peer_key(&pkts[i], false, 4, key);
        else
            peer_key(&pkts[i], false, 6, key);
        sum += rte_hash_lookup_data(b->hash, key, &data) >= 0 ? (uintptr_t)data : fallback_queue(rte_hash_hash(b->hash, key));
    }
    return sum;
}

static uint64_t lookup(void *table, const uint64_t *keys, unsigned words, size_t n)
{
    const struct bench_hash *b = table;
    const void *at[BURST];
    void *data[BURST];
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i += BURST) {
        unsigned m = n - i < BURST ? (unsigned)(n - i) : BURST;
        uint64_t hits = 0;
        for (unsigned j = 0; j < m; j++)
            at[j] = keys + (i + j) * words;
        rte_hash_lookup_bulk_data(b->hash, at, m, &hits, data);
        for (unsigned j = 0; j < m; j++)
            sum += hits >> j & 1 ? (uintptr_t)data[j] : MISS;
    }
    return sum;
}

static void clear(void *table) { rte_hash_reset(((struct bench_hash *)table)->hash); }
static size_t bytes(void *table) { return ((struct bench_hash *)table)->bytes; }

const struct contestant with_rte_hash = {
    .name = "rte_hash",
    .what = "DPDK, lock-free readers, bulk look-up",
    .create = create,
    .destroy = destroy,
    .note = note,
    .steer = steer,
    .single = single,
    .note_by = note_by,
    .steer_by = steer_by,
    .note_several = note_several,
    .steer_several = steer_several,
    .lookup = lookup,
    .clear = clear,
    .bytes = bytes,
};

/* What a host can do for it that knows its packets to be cold. */
const struct contestant with_rte_hash_ahead = {
    .name = "rte_hash-pf",
    .what = "the same table, headers prefetched by the caller",
    .steer = steer_ahead,
    .variant_of = &with_rte_hash,
};

const struct contestant with_rte_hash_padded = {
    .name = "rte_hash-48",
    .what = "IPv6 keys padded to 48 bytes, headers prefetched by the caller",
    .create = create_padded,
    .destroy = destroy,
    .note = note,
    .steer = steer_ahead,
    .single = single,
    .clear = clear,
    .bytes = bytes,
};
