/*
 * view: what a call on the data path reads of a vm, and of its thread.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A call for one vm loads it once. With several vms each stage loads what it needs for each packet: a later stage may then see a
 * newer directory, in which each flow still is (T-D).
 */
#ifndef FLOWQ_LIB_VIEW_H
#define FLOWQ_LIB_VIEW_H

#include "find.h"
#include "plain.h"
#include "vm.h"

/* What a call needs to know of its thread. One that could not be registered must not look at the table: it looks empty to it. */
struct caller {
    bool registered;
    uint32_t stripe; /* of its counters */
    uint64_t began;  /* where moves are in order: ordered_began(), before any word was looked at */
};

static inline struct caller caller_of(const struct thread *thread)
{
    return (struct caller){thread != NULL, stats_stripe(thread), 0};
}

/* Loops take it by value, so that the compiler keeps it in registers; through a pointer it would be loaded again after each
   store. */
struct vm_view {
    struct flowq_vm *vm;
    const struct hash_secret *secret;
    const atomic_ptr *shards; /* the directory's, */
    uint32_t shift;           /* and by how much it shifts a hash */
    uint32_t line_mask, queue_mask;
    const atomic_u64 *in_use; /* the queues' */
    uint64_t udp_filter, tag_mask, least_hash;
    uint64_t began; /* the caller's, where moves are in order; of use to words that name a move only */
    struct tally tally;
};

/* As much of it as is needed where the packet's line is known. The compiler leaves out what is not used, but not atomic loads:
   all but one are in vm_view_of(). */
static inline __attribute__((always_inline)) struct vm_view vm_view_after_line(struct flowq_vm *vm, const struct caller by)
{
    return (struct vm_view){
        .vm = vm,
        .secret = &vm->secret,
        .tag_mask = vm->secret_v4.tag_mask,
        .least_hash = hash_least(&vm->secret_v4),
        .line_mask = vm->line_mask,
        .queue_mask = vm->queue_mask,
        .in_use = queues_bits(&vm->queues),
        .began = by.began,
        .tally = stats_tally_in(&vm->stats, by.stripe),
    };
}

static inline __attribute__((always_inline)) struct vm_view vm_view_of(struct flowq_vm *vm, const struct caller by)
{
    static const struct directory empty = {.depth = 1, .shift = 63, .shard = {(void *)table_nowhere, (void *)table_nowhere}};
    struct vm_view v = vm_view_after_line(vm, by);
    const struct directory *d = by.registered ? ptr_load_acquire(&vm->table.directory) : &empty;
    v.shards = d->shard;
    v.shift = d->shift;
    v.udp_filter = u64_load_relaxed(&vm->udp_filter);
    return v;
}

/*
 * Stores to a field of a struct in memory, by a store of the field's own. Left alone, the compiler puts the struct together
 * elsewhere, by its fields, and then moves it 16 bytes at a time: a load that finds two stores where it wants one waits until
 * both have reached the cache. A view is six such loads, which took longer than all else that a call for one packet does.
 */
#define FIELD_STORE(field, value)                                                                                                \
    do {                                                                                                                         \
        __typeof__(field) alone = (value);                                                                                       \
        __asm__("" : "+r"(alone));                                                                                               \
        (field) = alone;                                                                                                         \
    } while (0)

/* Who adds a field to such a struct hears that it is to be stored, too: nothing else would tell. */
#define FIELDS_ARE(type, bytes)                                                                                                  \
    _Static_assert(sizeof(void *) != 8 || sizeof(type) == (bytes), "a new field is stored where the others are")

/* The same in memory, for those who take a pointer to it; but for `began`, which few need: they store it. */
FIELDS_ARE(struct vm_view, 96);
FIELDS_ARE(struct tally, 16);
static inline __attribute__((always_inline)) void vm_view_fill(struct vm_view *to, struct flowq_vm *vm, const struct caller by)
{
    const struct vm_view v = vm_view_of(vm, by);
    FIELD_STORE(to->vm, v.vm);
    FIELD_STORE(to->secret, v.secret);
    FIELD_STORE(to->shards, v.shards);
    FIELD_STORE(to->shift, v.shift);
    FIELD_STORE(to->line_mask, v.line_mask);
    FIELD_STORE(to->queue_mask, v.queue_mask);
    FIELD_STORE(to->in_use, v.in_use);
    FIELD_STORE(to->udp_filter, v.udp_filter);
    FIELD_STORE(to->tag_mask, v.tag_mask);
    FIELD_STORE(to->least_hash, v.least_hash);
    FIELD_STORE(to->tally.counter, v.tally.counter);
    FIELD_STORE(to->tally.shared, v.tally.shared);
}

/* The home line of a flow. */
static inline struct line *vm_view_line(const struct vm_view v, uint64_t hash)
{
    struct shard *s = ptr_load_acquire(&v.shards[hash >> v.shift]);
    return shard_line(s, line_of_hash(v.line_mask, hash));
}

/* The same from the vm's first cache line, unless its table has more than one shard. */
static inline struct line *vm_home_line(const struct flowq_vm *vm, uint64_t hash)
{
    struct shard *s = ptr_load_acquire(&vm->only_shard);
    if (__builtin_expect(!s, 0))
        s = table_shard(&vm->table, hash);
    return shard_line(s, line_of_hash(vm->line_mask, hash));
}

static inline uint64_t vm_hash_plain(const struct flowq_vm *vm, enum plain plain, const uint64_t word[5])
{
    return plain == PLAIN_V4 ? hash_v4(vm->secret_v4, hash_least(&vm->secret_v4), word) : hash_words5(&vm->secret, word);
}

/* A flow's word was looked for in its home line. Zero if this is the flow's, and its queue is in use; whatever comes out, *qid is
   a queue number. From the vm's first cache line, unless the queue is not among its first QUEUES_LOW. hash: read last. */
static inline __attribute__((always_inline)) uint64_t vm_unanswered(const struct flowq_vm *vm, uint64_t word,
                                                                    const uint64_t *hash, uint32_t *qid)
{
    uint64_t in_use = u64_load_relaxed(&vm->queues.in_use_low);
    *qid = (uint32_t)(word >> WORD_QUEUE_SHIFT) & vm->queue_mask;
    if (__builtin_expect(*qid >= QUEUES_LOW, 0))
        in_use = u64_load_relaxed(&vm->queues.in_use[*qid / QUEUES_LOW]);
    return find_differs(word, *hash, vm->secret_v4.tag_mask) | (~in_use >> *qid % QUEUES_LOW & 1);
}

/* ---- The vms that the packets of a batch go to: one for all, whose view was loaded before, or one for each ----------------- */

struct receivers {
    const struct vm_view *one; /* NULL: several */
    struct flowq_vm *const *vms;
    struct caller by;
};

static inline __attribute__((always_inline)) struct vm_view receivers_view(const struct receivers *to, unsigned i)
{
    return to->one ? *to->one : vm_view_after_line(to->vms[i], to->by);
}

/* The whole of it, for functions that are not inline; room: where it may be put. */
static inline const struct vm_view *receivers_whole_view(const struct receivers *to, unsigned i, struct vm_view *room)
{
    if (to->one)
        return to->one;
    vm_view_fill(room, to->vms[i], to->by);
    room->began = to->by.began;
    return room;
}

#endif
