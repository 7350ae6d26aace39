/*
 * atomic: the words that threads share.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Every shared word of the library is one of the types below and is touched only through these functions, but by the filters of
 * probe.h, whose answer is read again (T-C), and by libck (epoch.c). There are two reasons. The
 * order that an access needs is part of its name, so that no default slips in. And a build with -DFLOWQ_SCHED has a yield point
 * before each access, which lets the tests run the real code under a scheduler of their own (tests/sched.h) that decides, from a
 * seed, which thread takes the next step; otherwise the functions are the C11 operations and nothing else.
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
#include <stdint.h>

typedef _Atomic(uint8_t) atomic_u8;
typedef _Atomic(uint16_t) atomic_u16;
typedef _Atomic(uint32_t) atomic_u32;
typedef _Atomic(uint64_t) atomic_u64;
typedef _Atomic(void *) atomic_ptr;

#ifdef FLOWQ_SCHED
void sched_point(void);   /* another thread may run now */
void sched_give_up(void); /* another thread must run now, if there is one: this one cannot go on without it */
#else
static inline void sched_point(void) {}
#endif

#define ATOMIC_ACCESS(name, word, value)                                                                                         \
    static inline value name##_load_relaxed(const word *a)                                                                       \
    {                                                                                                                            \
        sched_point();                                                                                                           \
        return atomic_load_explicit(a, memory_order_relaxed);                                                                    \
    }                                                                                                                            \
    static inline value name##_load_acquire(const word *a)                                                                       \
    {                                                                                                                            \
        sched_point();                                                                                                           \
        return atomic_load_explicit(a, memory_order_acquire);                                                                    \
    }                                                                                                                            \
    static inline value name##_load_seq_cst(const word *a)                                                                       \
    {                                                                                                                            \
        sched_point();                                                                                                           \
        return atomic_load_explicit(a, memory_order_seq_cst);                                                                    \
    }                                                                                                                            \
    static inline void name##_store_relaxed(word *a, value v)                                                                    \
    {                                                                                                                            \
        sched_point();                                                                                                           \
        atomic_store_explicit(a, v, memory_order_relaxed);                                                                       \
    }                                                                                                                            \
    static inline void name##_store_release(word *a, value v)                                                                    \
    {                                                                                                                            \
        sched_point();                                                                                                           \
        atomic_store_explicit(a, v, memory_order_release);                                                                       \
    }                                                                                                                            \
    static inline bool name##_cas(word *a, value *expected, value desired)                                                       \
    {                                                                                                                            \
        sched_point();                                                                                                           \
        return atomic_compare_exchange_strong_explicit(a, expected, desired, memory_order_acq_rel, memory_order_acquire);        \
    }                                                                                                                            \
    static inline bool name##_cas_seq_cst(word *a, value *expected, value desired)                                               \
    {                                                                                                                            \
        sched_point();                                                                                                           \
        return atomic_compare_exchange_strong_explicit(a, expected, desired, memory_order_seq_cst, memory_order_seq_cst);        \
    }                                                                                                                            \
    static inline value name##_xchg_acquire(word *a, value v)                                                                    \
    {                                                                                                                            \
        sched_point();                                                                                                           \
        return atomic_exchange_explicit(a, v, memory_order_acquire);                                                             \
    }                                                                                                                            \
    static inline value name##_xchg_seq_cst(word *a, value v)                                                                    \
    {                                                                                                                            \
        sched_point();                                                                                                           \
        return atomic_exchange_explicit(a, v, memory_order_seq_cst);                                                             \
    }

#define ATOMIC_COUNT(name, word, value, verb, order)                                                                             \
    static inline value name##_##verb##_##order(word *a, value v)                                                                \
    {                                                                                                                            \
        sched_point();                                                                                                           \
        return atomic_fetch_##verb##_explicit(a, v, memory_order_##order);                                                       \
    }

#define ATOMIC_COUNTS(name, word, value)                                                                                         \
    ATOMIC_COUNT(name, word, value, add, relaxed)                                                                                \
    ATOMIC_COUNT(name, word, value, sub, relaxed)                                                                                \
    ATOMIC_COUNT(name, word, value, or, relaxed)                                                                                 \
    ATOMIC_COUNT(name, word, value, and, relaxed)                                                                                \
    ATOMIC_COUNT(name, word, value, or, acq_rel)                                                                                 \
    ATOMIC_COUNT(name, word, value, and, acq_rel)                                                                                \
    ATOMIC_COUNT(name, word, value, add, acq_rel)

ATOMIC_ACCESS(u8, atomic_u8, uint8_t)
ATOMIC_ACCESS(u16, atomic_u16, uint16_t)
ATOMIC_ACCESS(u32, atomic_u32, uint32_t)
ATOMIC_ACCESS(u64, atomic_u64, uint64_t)
ATOMIC_ACCESS(ptr, atomic_ptr, void *)
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
#else
    pthread_mutex_lock(m);
#endif
}

static inline void mutex_unlock(pthread_mutex_t *m) { pthread_mutex_unlock(m); }

#endif
