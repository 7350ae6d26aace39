/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vm: one multiqueue NIC, put together from its parts.
 *
 * One block of memory holds the struct and the small arrays; the table's shards are separate. What every call reads comes first
 * and is written at creation, by the control path, or when the table's first shard comes or is split; counters, which threads
 * write, come last, in cache lines of their own.
 */
#ifndef FLOWQ_LIB_VM_H
#define FLOWQ_LIB_VM_H

#include "frag.h"
#include "hash.h"
#include "implied.h"
#include "memory.h"
#include "note.h"
#include "ordered.h"
#include "ports.h"
#include "queue.h"
#include "stats.h"
#include "table.h"
#include "virtio.h"

/* Settings that may change while the vm runs; each word for itself, so a call sees each old or new. */
struct settings {
    struct ports ports;    /* parse_rules.port */
    atomic_u32 tunnels;    /* FLOWQ_TUNNEL_*, 0: none */
    atomic_u32 rebind_tcp; /* ticks of 2^NOTE_BIND_SHIFT ns; 0: at once */
    atomic_u32 rebind_other;
    atomic_u32 active, idle;               /* ticks: note_ages */
    atomic_u16 vlan_tpid;                  /* 0: none */
    atomic_u8 no_learn, key_vlan, key_vni; /* 0 or 1 */
};

struct flowq_vm {
    /*
     * All that a plain packet of IPv4 needs of its vm, in one cache line: that is what counts where the packets of a burst go to
     * many. What does not change is copied from where it belongs.
     */
    struct hash_secret_v4 secret_v4; /* of secret */
    atomic_ptr only_shard;           /* *table.only_shard */
    uint32_t line_mask;              /* table.line_mask */
    uint32_t queue_mask;             /* table.queue_mask */
    atomic_u64 udp_filter;           /* a setting: parse_rules.udp_filter */
    struct queues queues;            /* what packets need of it ends the line */

    struct table table; /* one line, as soon as it has more than one shard */
    struct hash_secret secret;
    uint64_t in_place; /* note_in_place() */

    struct queue_counters *counted; /* per stripe and queue; NULL unless queue_stats */
    struct settings settings;
    struct virtio virtio;
    struct frags frags;
    struct implied implied;
    struct ordered *ordered; /* NULL: the setting is off */
    struct note_ages ages;   /* fixed at creation; but active and idle are settings */
    bool can_rebind_late;    /* made with a rebind_min: shards have a plane */
    uint64_t clock_resolution_ns;
    uint64_t (*clock_ns)(void *ctx);
    void *clock_ctx;
    atomic_u32 *noted; /* per queue: 1 + tick of the last note that named it; 0: never */
    struct memory memory;
    void (*log)(void *ctx, int32_t level, const char *message);
    void *log_ctx;
    char name[FLOWQ_NAME_SIZE];                         /* for the log; empty: none */
    size_t bytes;                                       /* of this block */
    atomic_u64 refused_told, failed_told, delayed_told; /* refusals and their causes that the log has been told of */
    uint8_t seed[FLOWQ_SECRET_SIZE];                    /* what secret was made from; saved with the bindings (state.h) */
    struct table_sizes sizes;                           /* as it was made */
    struct queue_slots saved_slots;                     /* queue.control->saved, if it is any */
    void *saved_slots_block;                            /* NULL: none */
    size_t saved_slots_bytes;
    atomic_u64 n_loaded; /* bindings that flowq_vm_load() made */
    struct stats stats;
};
_Static_assert(offsetof(struct flowq_vm, queues) + offsetof(struct queues, in_use) <= 64, "plain IPv4 needs the first line only");

/* A line for the host's log, without newline, if there is one. */
void vm_say(const struct flowq_vm *vm, int32_t level, const char *text);

/* What the parser must know, from the settings as they are now. */
void vm_parse_rules(const struct flowq_vm *vm, struct parse_rules *r);

/* Copies what packets need of table and secret to where they look. Nobody uses the vm now. */
void vm_follow_table(struct flowq_vm *vm);

static inline struct note_ages vm_ages(const struct flowq_vm *vm)
{
    struct note_ages ages = vm->ages;
    ages.active = u32_load_relaxed(&vm->settings.active);
    ages.idle = u32_load_relaxed(&vm->settings.idle);
    return ages;
}

static inline uint64_t vm_now(const struct flowq_vm *vm) { return vm->clock_ns(vm->clock_ctx); }

static inline uint32_t vm_tick(const struct flowq_vm *vm, uint64_t now_ns) { return (uint32_t)(now_ns >> vm->ages.tick_shift); }

/*
 * TIME. A note reads the clock once; but in a section that the host holds, notes that change nothing may go by what an
 * earlier one read there, as a clock takes longer than all else that these do. Such a note only compares: it finds its flow
 * on its queue, in its class, noted in the tick that it takes for now, and writes nothing. Whichever finds anything else
 * reads the clock itself. So ages are the only thing that can be wrong: a flow counts as silent from when the clock was
 * last read, no longer than the section is, nor than NOTE_LATELY_CALLS calls; and a queue that was noted only then may not
 * count as noted lately. Binding times (note.h) must be cleared before they wrap: where there are any, all notes read the
 * clock. Vms share a reading if they share the clock.
 */
#define NOTE_LATELY_CALLS 256 /* a section may be held longer than it should: a reading serves so many calls at most */

/* Reads the clock; others of this section may go by it. */
static inline uint64_t vm_now_read(const struct flowq_vm *vm, struct thread *thread)
{
    uint64_t now_ns = vm_now(vm);
    if (thread->held && !vm->can_rebind_late) {
        thread->lately_ns = now_ns;
        thread->lately_clock = vm->clock_ns;
        thread->lately_ctx = vm->clock_ctx;
        thread->lately_left = NOTE_LATELY_CALLS - 1;
    }
    return now_ns;
}

struct note_time {
    uint64_t ns;
    bool lately; /* an earlier call's */
};

/* For a note that changes nothing, if that is so. */
static inline struct note_time vm_now_lately(const struct flowq_vm *vm, struct thread *thread)
{
    if (thread->lately_left == 0 || thread->lately_clock != vm->clock_ns || thread->lately_ctx != vm->clock_ctx ||
        vm->can_rebind_late)
        return (struct note_time){vm_now_read(vm, thread), false};
    thread->lately_left--;
    return (struct note_time){thread->lately_ns, true};
}

/* And if it is not: the time that counts. */
static inline uint64_t vm_now_read_once(const struct flowq_vm *vm, struct thread *thread, const struct note_time time)
{
    return time.lately ? vm_now_read(vm, thread) : time.ns;
}

/* ---- Counters by queue, of vms that have them (setting queue_stats) -------------------------------------------------------- */

/* The row that belongs to the tally's stripe. */
static inline struct queue_counters *vm_queue_counters(const struct flowq_vm *vm, const struct tally *tally)
{
    size_t stripe = (size_t)((const struct stripe *)(const void *)tally->counter - vm->stats.stripe);
    return vm->counted + stripe * queue_counters_row(vm->queues.max);
}

/* n packets steered to qid; FLOWQ_DROP counts nowhere. */
static inline void vm_count_steered(const struct flowq_vm *vm, const struct tally *tally, uint32_t qid, size_t n)
{
    if (queues_counted(&vm->queues) && qid != FLOWQ_DROP)
        tally_bump(tally, &vm_queue_counters(vm, tally)[qid].steered, n);
}

/* n packets noted on qid, if their flow is bound. */
static inline void vm_count_noted(const struct flowq_vm *vm, const struct tally *tally, uint32_t qid, uint32_t outcome, size_t n)
{
    if (queues_counted(&vm->queues) && outcome <= FLOWQ_NOTE_MOVED)
        tally_bump(tally, &vm_queue_counters(vm, tally)[qid].noted, n);
}

/* n packets, each with an answer of its own. */
void vm_count_each_steered(const struct flowq_vm *vm, const struct tally *tally, const uint16_t *qids, size_t n);

static inline void vm_count_answers(const struct flowq_vm *vm, const struct tally *tally, const uint16_t *qids, size_t n)
{
    if (queues_counted(&vm->queues))
        vm_count_each_steered(vm, tally, qids, n);
}

#endif
