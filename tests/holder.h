/*
 * holder: threads that stay in a section until they are told otherwise.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_HOLDER_H
#define FLOWQ_TESTS_HOLDER_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "epoch.h"
#include "flowq.h"
#include "thread.h"

/*
 * For threads, loops and children of fork(), where Check's own assertions must not be: each sends a message under a mutex, which
 * orders what should race, and may be held for ever in a child.
 */
#define MUST(cond) ((cond) ? (void)0 : must_failed(__FILE__, __LINE__, #cond))

static inline void must_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
    abort();
}

static inline pthread_t start(void *(*fn)(void *), void *arg)
{
    pthread_t id;

    MUST(pthread_create(&id, NULL, fn, arg) == 0);
    return id;
}

static inline bool passes_soon(uint64_t stamp)
{
    for (int i = 0; i < 100; i++)
        if (epoch_passed(stamp))
            return true;
    return false;
}

struct holder {
    sem_t in, out;
    bool leave; /* the section before it ends */
    uint32_t index;
    pthread_t id;
};

static inline void *holder_main(void *arg)
{
    struct holder *h = arg;

    MUST(flowq_enter() == 0);
    h->index = thread_self()->index;
    sem_post(&h->in);
    sem_wait(&h->out);
    if (h->leave)
        flowq_leave();
    return NULL;
}

/* Returns when the thread is in its section. */
static inline void holder_start(struct holder *h, bool leave)
{
    sem_init(&h->in, 0, 0);
    sem_init(&h->out, 0, 0);
    h->leave = leave;
    h->id = start(holder_main, h);
    sem_wait(&h->in);
}

/* Returns when the thread has ended. */
static inline void holder_end(struct holder *h)
{
    sem_post(&h->out);
    pthread_join(h->id, NULL);
}

/* A thread that ends in two sections; *arg gets its index. */
static inline void *open_section(void *arg)
{
    *(uint32_t *)arg = flowq_enter() == 0 && flowq_enter() == 0 ? thread_self()->index : UINT32_MAX;
    return NULL;
}

#endif
