/*
 * atomic: the words that threads share.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Every shared word of the library is one of the types below and is touched only through these functions, but by the filters of
 * probe.h, whose answer is read again (T-C), and by libck (epoch.c). There are two reasons. The order that an access needs is
 * part of its name, so that no default slips in. And in a build with -DFLOWQ_SCHED each access is a call of the tests' scheduler
 * (tests/sched.h), which runs the real code: it decides, from a seed, which thread takes the next step, and which of the stores
 * that this order allows a load sees (tests/weak.h). Otherwise the functions are the C11 operations and nothing else.
 *
 *     <type>_load_relaxed|acquire|seq_cst      <type>_store_relaxed|release
 *     <type>_cas            compare and swap, strong; acquire+release, acquire on failure; on failure *expected is what was there
 *     <type>_cas_seq_cst    the same, seq_cst in both cases
 *     <type>_xchg_acquire|seq_cst              <type>_add|sub|or|and_relaxed, <type>_add_acq_rel (all return the value before)
 *
 * for u8, u16, u32, u64; and load, store, cas, xchg for ptr. No atomic_thread_fence anywhere: ThreadSanitizer does not know it.
 */
#ifndef FLOWQ_LIB_ATOMIC_H
#define FLOWQ_LIB_ATOMIC_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef _Atomic(uint8_t) atomic_u8;
typedef _Atomic(uint16_t) atomic_u16;
typedef _Atomic(uint32_t) atomic_u32;
typedef _Atomic(uint64_t) atomic_u64;
typedef _Atomic(void *) atomic_ptr;

#ifdef FLOWQ_SCHED
void sched_point(void);   /* another thread may run now */
void sched_give_up(void); /* another thread must run now, if there is one: this one cannot go on without it */
/* As C11's functions with _explicit, of words of so many bytes; verb: = + - | & */
uint64_t sched_load(const void *word, unsigned bytes, memory_order order);
void sched_store(void *word, unsigned bytes, uint64_t value, memory_order order);
bool sched_cas(void *word, unsigned bytes, void *expected, uint64_t desired, memory_order order, memory_order failure);
uint64_t sched_rmw(void *word, unsigned bytes, char verb, uint64_t by, memory_order order);
void sched_fence(memory_order order);
/* What else hands over what the thread has done (key: any address that is no such word), and memory that comes and goes. */
void sched_release(const void *key);
void sched_acquire(const void *key);
void sched_allocated(const void *ptr, size_t size);
void sched_freed(const void *ptr, size_t size);

#define ATOMIC_LOAD(value, number, a, order)          (value)(number) sched_load(a, sizeof(*(a)), order)
#define ATOMIC_STORE(value, number, a, v, order)      sched_store(a, sizeof(*(a)), (number)(v), order)
#define ATOMIC_CAS(number, a, expected, v, ok, other) sched_cas(a, sizeof(*(a)), expected, (number)(v), ok, other)
#define ATOMIC_XCHG(value, number, a, v, order)       (value)(number) sched_rmw(a, sizeof(*(a)), '=', (number)(v), order)
#define ATOMIC_add(value, a, v, order)                (value) sched_rmw(a, sizeof(*(a)), '+', v, order)
#define ATOMIC_sub(value, a, v, order)                (value) sched_rmw(a, sizeof(*(a)), '-', v, order)
#define ATOMIC_or(value, a, v, order)                 (value) sched_rmw(a, sizeof(*(a)), '|', v, order)
#define ATOMIC_and(value, a, v, order)                (value) sched_rmw(a, sizeof(*(a)), '&', v, order)
#else
static inline void sched_point(void) {}

#define ATOMIC_LOAD(value, number, a, order)          atomic_load_explicit(a, order)
#define ATOMIC_STORE(value, number, a, v, order)      atomic_store_explicit(a, v, order)
#define ATOMIC_CAS(number, a, expected, v, ok, other) atomic_compare_exchange_strong_explicit(a, expected, v, ok, other)
#define ATOMIC_XCHG(value, number, a, v, order)       atomic_exchange_explicit(a, v, order)
#define ATOMIC_add(value, a, v, order)                atomic_fetch_add_explicit(a, v, order)
#define ATOMIC_sub(value, a, v, order)                atomic_fetch_sub_explicit(a, v, order)
#define ATOMIC_or(value, a, v, order)                 atomic_fetch_or_explicit(a, v, order)
#define ATOMIC_and(value, a, v, order)                atomic_fetch_and_explicit(a, v, order)
#endif

/* number: an integer as wide as the value. */
#define ATOMIC_ACCESS(name, word, value, number)                                                                                 \
    static inline value name##_load_relaxed(const word *a) { return ATOMIC_LOAD(value, number, a, memory_order_relaxed); }       \
    static inline value name##_load_acquire(const word *a) { return ATOMIC_LOAD(value, number, a, memory_order_acquire); }       \
    static inline value name##_load_seq_cst(const word *a) { return ATOMIC_LOAD(value, number, a, memory_order_seq_cst); }       \
    static inline void name##_store_relaxed(word *a, value v) { ATOMIC_STORE(value, number, a, v, memory_order_relaxed); }       \
    static inline void name##_store_release(word *a, value v) { ATOMIC_STORE(value, number, a, v, memory_order_release); }       \
    static inline bool name##_cas(word *a, value *expected, value desired)                                                       \
    {                                                                                                                            \
        return ATOMIC_CAS(number, a, expected, desired, memory_order_acq_rel, memory_order_acquire);                             \
    }                                                                                                                            \
    static inline bool name##_cas_seq_cst(word *a, value *expected, value desired)                                               \
    {                                                                                                                            \
        return ATOMIC_CAS(number, a, expected, desired, memory_order_seq_cst, memory_order_seq_cst);                             \
    }                                                                                                                            \
    static inline value name##_xchg_acquire(word *a, value v) { return ATOMIC_XCHG(value, number, a, v, memory_order_acquire); } \
    static inline value name##_xchg_seq_cst(word *a, value v) { return ATOMIC_XCHG(value, number, a, v, memory_order_seq_cst); }

#define ATOMIC_COUNT(name, word, value, verb, order)                                                                             \
    static inline value name##_##verb##_##order(word *a, value v) { return ATOMIC_##verb(value, a, v, memory_order_##order); }

#define ATOMIC_COUNTS(name, word, value)                                                                                         \
    ATOMIC_COUNT(name, word, value, add, relaxed)                                                                                \
    ATOMIC_COUNT(name, word, value, sub, relaxed)                                                                                \
    ATOMIC_COUNT(name, word, value, or, relaxed)                                                                                 \
    ATOMIC_COUNT(name, word, value, and, relaxed)                                                                                \
    ATOMIC_COUNT(name, word, value, or, acq_rel)                                                                                 \
    ATOMIC_COUNT(name, word, value, and, acq_rel)                                                                                \
    ATOMIC_COUNT(name, word, value, add, acq_rel)

ATOMIC_ACCESS(u8, atomic_u8, uint8_t, uint8_t)
ATOMIC_ACCESS(u16, atomic_u16, uint16_t, uint16_t)
ATOMIC_ACCESS(u32, atomic_u32, uint32_t, uint32_t)
ATOMIC_ACCESS(u64, atomic_u64, uint64_t, uint64_t)
ATOMIC_ACCESS(ptr, atomic_ptr, void *, uintptr_t)
ATOMIC_COUNTS(u8, atomic_u8, uint8_t)
ATOMIC_COUNTS(u16, atomic_u16, uint16_t)
ATOMIC_COUNTS(u32, atomic_u32, uint32_t)
ATOMIC_COUNTS(u64, atomic_u64, uint64_t)

/* Says that this turn of a waiting loop came to nothing. Never a system call. */
static inline void cpu_relax(void)
{
#ifdef FLOWQ_SCHED
    sched_give_up();
#elif defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield" ::: "memory");
#endif
}

/* Lets other threads have the processor. */
static __attribute__((noinline, unused)) void spin_offer(void)
{
#ifdef FLOWQ_SCHED
    sched_give_up();
#else
    sched_yield();
#endif
}

/* ---- A lock for a few instructions; zero is unlocked ----------------------------------------------------------------------- */

struct spin {
    atomic_u32 held;
};

/* Never waits. The load keeps a lock that is held from being fetched for writing. Seq_cst for T-G in table.h. */
static inline bool spin_try(struct spin *s) { return u32_load_relaxed(&s->held) == 0 && u32_xchg_seq_cst(&s->held, 1) == 0; }

/* The data path's way: so many tries, and then do without. */
static inline bool spin_try_for(struct spin *s, unsigned tries)
{
    for (; tries > 0; tries--) {
        if (spin_try(s))
            return true;
        cpu_relax();
    }
    return false;
}

/* So many of a budget's tries, its last ones, are made after the processor was offered: whoever holds a lock for so long has lost
   its own, maybe to us. Of first notes by four threads on two processors, one in 300 found a lock busy where none was offered,
   one in 7000 with 4, one in 100000 with 8. */
#define SPIN_OFFERS 8

/* Takes one try from a budget that several locks share; false: it is spent. */
static inline bool spin_another_try(uint32_t *tries_left)
{
    if (*tries_left == 0)
        return false;
    if (--*tries_left < SPIN_OFFERS)
        spin_offer();
    else
        cpu_relax();
    return true;
}

/* The same out of such a budget: once it is spent, each lock is tried once. */
static inline bool spin_try_within(struct spin *s, uint32_t *tries_left)
{
    while (!spin_try(s))
        if (!spin_another_try(tries_left))
            return false;
    return true;
}

/* The control path's way: waits. The holder may have lost its processor, so after a while ours is offered. */
static inline void spin_lock(struct spin *s)
{
    while (!spin_try_for(s, 128))
        spin_offer();
}

static inline void spin_unlock(struct spin *s) { u32_store_release(&s->held, 0); }

/* ---- A lock for the control path that the tests' scheduler can see through ------------------------------------------------- */

static inline void mutex_lock(pthread_mutex_t *m)
{
#ifdef FLOWQ_SCHED
    sched_point(); /* what lies between two locks must be torn apart, too */
    while (pthread_mutex_trylock(m) != 0)
        sched_give_up();
    sched_acquire(m);
#else
    pthread_mutex_lock(m);
#endif
}

static inline bool mutex_try(pthread_mutex_t *m)
{
    sched_point();
    if (pthread_mutex_trylock(m) != 0)
        return false;
#ifdef FLOWQ_SCHED
    sched_acquire(m);
#endif
    return true;
}

static inline void mutex_unlock(pthread_mutex_t *m)
{
#ifdef FLOWQ_SCHED
    sched_release(m);
#endif
    pthread_mutex_unlock(m);
}

#endif
