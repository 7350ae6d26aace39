/*
 * bare: a flow table without packets around it, for tests that choose hashes, time and memory themselves; and what must hold of
 * any table while no call is running.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_BARE_H
#define FLOWQ_TESTS_BARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "find.h"
#include "note.h"
#include "seed.h"
#include "table_impl.h"
#include "vm.h"

#define BARE_TICK_SHIFT 30 /* about a second, as by default */
#define BARE_SECOND     UINT64_C(1000000000)

struct bare {
    struct flowq_vm *vm;
    struct table *table;   /* the vm's */
    struct queues *queues; /* the vm's */
    atomic_u64 now_ns;     /* the vm's clock */
    /* The allocator's. Bytes are those of the table; the vm's own block is left out. */
    atomic_u64 n_allocs, bytes, max_bytes;
    atomic_u64 fail_at; /* the n-th allocation from now on fails, and all after it; 0: none */
    bool quarantine;    /* memory that is freed is poisoned and kept; bare_free() sees whether anybody wrote to it */
    void *freed[64];
    size_t freed_bytes[64], n_freed;
};

/* size, secret, clock and, where the caller names no other, memory are filled in; pairs: of queues, all in use. Returns what
 * flowq_vm_create() does. */
int bare_make(struct bare *b, struct flowq_vm_config *cfg, uint32_t pairs);
/* False: freed memory was written to. */
bool bare_free(struct bare *b);
/* 256 pairs. */
void bare_make_sized(struct bare *b, uint32_t max_flows, uint32_t initial_flows);

/* What notes here take for the flow's hash_spread(). */
static inline uint32_t bare_spread(uint64_t hash) { return (uint32_t)(hash * UINT64_C(0x9e3779b97f4a7c15) >> 32); }

/* One note of an established flow, in a section of its own, with what follows a note: counting, reclaiming. */
uint32_t bare_note(struct bare *b, uint64_t hash, uint32_t qid);
uint32_t bare_note_kind(struct bare *b, uint64_t hash, uint32_t qid, enum note_kind kind);
/* The same without counting, in the caller's section. */
uint32_t bare_note_inside(struct bare *b, uint64_t hash, uint32_t qid, enum note_kind kind);
/* As one of a burst that has so many tries for locks left (S12). */
uint32_t bare_note_within(struct bare *b, uint64_t hash, uint32_t qid, enum note_kind kind, uint32_t *tries_left);

/* The flow's word, 0: not found; in a section of its own. */
uint64_t bare_find(struct bare *b, uint64_t hash);
uint32_t bare_queue(struct bare *b, uint64_t hash); /* FLOWQ_DROP: not found */

uint64_t bare_stat(const struct bare *b, unsigned stat);
uint64_t bare_displaced(const struct bare *b); /* all classes */

/*
 * What must hold when no call is running; NULL, or what does not:
 * a shard's count of flows is that of its slots; a line's service word tells of the flows at home there that live in their
 * second line; no flow is there twice, frozen, or in a shard that is not its own; each shard is named by all entries that are
 * its; counters: inserted == live + displaced + reclaimed + forgotten.
 */
const char *bare_wrong(struct bare *b);

#endif
