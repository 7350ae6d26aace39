/*
 * races: the accesses of a run of which neither happens before the other. What weak.c needs of races.c.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_RACES_H
#define FLOWQ_TESTS_RACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sched.h"

/* For each thread, up to which of its steps what it did happens before. Its own: the step it is at; a release begins the next. */
struct clocks {
    uint16_t of[SCHED_MAX_THREADS];
};

enum access { PLAIN_READ, PLAIN_WRITE, ATOMIC_READ, ATOMIC_WRITE, ACCESSES };

/* Another run of so many threads. */
void races_begin(unsigned n_threads);
/* The running thread accesses n bytes; pc: from where. */
void races_look(const void *at, size_t n, enum access access, const void *pc);

/* From weak.c: is anything looked at now? And what happens before what this thread does now; NULL: it is in no run, or races are
   not looked for. */
extern bool weak_on;
const struct clocks *weak_before(unsigned thread);
/* The words in this memory begin anew. */
void weak_renew(uintptr_t from, uintptr_t to);
/* Too much for one run: it goes on as if nobody lagged. */
void weak_stop(void);

#endif
