/*
 * weak: what a thread may see of the others' stores, and which of their accesses are ordered at all, as C11 has it.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The scheduler (sched.h) runs one thread at a time, so memory itself always holds the last store to each word. But a processor,
 * or a compiler, may let a thread see an older one. Here each word that lib/atomic.h touches has a history, from the run's first
 * access to it on: the stores in the order in which they were made, its order of modification. A load takes one of them, by the
 * seed: any that is not older than the last one which this thread must see. What it must see is its view: a time per word.
 *
 *     what it read, or stored itself                                  coherence
 *     an acquire load of a release store                              all that the storing thread had to see then; so do
 *                                                                     fences, and a read-modify-write hands on what it replaced
 *     a load that is seq_cst                                          besides, the last seq_cst access to the word
 *     a seq_cst fence                                                 all that had to be seen at any such fence before, and the
 *                                                                     last seq_cst access to each word
 *
 * A read-modify-write replaces the last store. A compare-and-swap that fails is a load, and may fail by an old value.
 *
 * Beside the views there are clocks, for what happens before what. Accesses that do not are data races, unless both are atomic,
 * and fail the run: plain ones where the library is compiled with calls of __tsan_read1() and so on (-fsanitize=thread;
 * races.c has functions of these names, and ThreadSanitizer is not linked), and the freeing of memory everywhere. So what is
 * published without release, or freed before its readers have ended, is found even if it does no harm in the run at hand.
 *
 * It is the C11 model with what C++20 (P0668) made of its seq_cst, with two things left out, so that it allows less than the
 * language: a load does not see a store that is made later in the run (out of thin air, load buffering), and two stores of
 * different threads to one word take effect in the order in which the run makes them. How far threads lag behind is chosen for
 * each run: in a quarter of them not at all.
 *
 * After: Kang, Hur, Lahav, Vafeiadis, Dreyer, A Promising Semantics for Relaxed-Memory Concurrency, 2017 (views, here without
 * promises); Lahav, Vafeiadis, Kang, Hur, Dreyer, Repairing Sequential Consistency in C/C++11, 2017; Lidbury, Donaldson, Dynamic
 * Race Detection for C++11, 2017 (histories in a tool that runs programs).
 */
#ifndef FLOWQ_TESTS_WEAK_H
#define FLOWQ_TESTS_WEAK_H

#include <stdbool.h>
#include <stdint.h>

/* Who lags: nobody, and races are not looked for; some, by the seed; all, as far as they can, nearly always. */
enum weak_lags { WEAK_NOBODY, WEAK_SOME, WEAK_ALL };
/* A run begins, or ends. */
void weak_begin(uint64_t seed, unsigned n_threads, enum weak_lags how);
void weak_end(void);
/* On a thread that will take part in runs: its stack is its own. */
void weak_know_stack(void);
/* This thread has waited for another one: what it loads next is up to date, so that it does not wait for ever. */
void weak_waited(unsigned thread);
/* Is plain memory looked at, too? Not with a compiler, or sanitizer, that cannot do it. */
bool weak_sees_plain(void);

#endif
