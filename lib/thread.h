/*
 * thread: what the library knows of the thread that calls it.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Each operating-system thread that calls the library has one struct thread, from its first call to its end; then the next
 * newcomer gets it. They are process-wide, as many as there were threads at once, and never freed. A thread finds its own through
 * the one thread-local pointer the library has. After fork() the child's only thread counts as not registered, its sections as
 * closed.
 */
#ifndef FLOWQ_LIB_THREAD_H
#define FLOWQ_LIB_THREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "epoch.h"

#define THREAD_ALIGN 64 /* bytes: one cache line, so that threads do not share one */

struct thread {
    /* Touched by the owner only. */
    _Alignas(THREAD_ALIGN) struct epoch_record *record;
    uint32_t depth; /* sections open, of the host's and of our own calls together */
    uint32_t held;  /* sections of the host's: flowq_enter() without its flowq_leave() yet */

    /* Fixed. No other live thread has this index, and there is no smaller one free when it is given out. */
    uint32_t index;
    uint32_t stripe_at; /* stats.h: where its counters begin, in bytes */

    /* What notes read of a clock in the section that the host holds, and may go by a while (vm.h, TIME). Of the owner. */
    uint32_t lately_left; /* so many calls may; 0: none */
    uint64_t lately_ns;
    uint64_t (*lately_clock)(void *ctx);
    void *lately_ctx;

    /* Of the registry in thread.c, under its mutex. */
    bool taken;
    struct thread *next;
};

/* One load. glibc keeps room for that in each thread for libraries that are loaded later; musl does not, and refuses them. */
#ifdef __GLIBC__
#define THREAD_TLS_MODEL __attribute__((tls_model("initial-exec")))
#else
#define THREAD_TLS_MODEL
#endif
extern _Thread_local struct thread *thread_tls THREAD_TLS_MODEL;

/* In thread_tls: this thread is ending and has been unregistered; it will not be registered again. */
#define THREAD_GONE ((struct thread *)1)

static inline bool thread_is_registered(const struct thread *t)
{
    return __builtin_expect((uintptr_t)t > (uintptr_t)THREAD_GONE, 1);
}

/* Registers the calling thread, which is not. NULL: out of memory, or too late in its life; may be tried again. Takes a mutex. */
struct thread *thread_register_slow(void);

/* The calling thread; NULL if it could not be registered. */
static inline struct thread *thread_self(void)
{
    struct thread *t = thread_tls;

    return thread_is_registered(t) ? t : thread_register_slow();
}

/* Opens a section; sections nest, and only the outermost one costs. */
static inline void thread_enter(struct thread *t)
{
    if (t->depth++ == 0)
        epoch_enter(t->record);
}

/* Closes the section opened last. */
static inline void thread_leave(struct thread *t)
{
    if (--t->depth == 0)
        epoch_leave(t->record);
}

#endif
