/*
 * loops: see loops.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "loops.h"

/* Finds the flows that are at home, but whose queue is not in use: they are missed, too. */
static __attribute__((noinline)) uint32_t loops_with_queue_off(const struct flowq_vm *vm, struct batch *b, unsigned n,
                                                               const uint16_t *qids, uint32_t missed)
{
    const atomic_u64 *in_use = queues_bits(&vm->queues);
    uint32_t off = 0;
    for (unsigned i = 0; i < n; i++)
        off |= queue_in(in_use, qids[i]) ? 0 : batch_bit(i);
    b->queue_off = off & ~missed;
    return missed | off;
}

/* A packet for answer_one(). */
static inline __attribute__((always_inline)) void loops_answer_rest(const struct receivers *to, struct batch *b, unsigned at,
                                                                    uint16_t *qids)
{
    struct vm_view room;
    if (b->kind[at] == BATCH_RSS) {
        qids[at] = b->rss_qid[at];
        b->reason[at] = qids[at] == FLOWQ_DROP ? FLOWQ_REASON_DROP : FLOWQ_REASON_RSS;
        return;
    }
    qids[at] = answer_one(receivers_whole_view(to, at, &room), b->kind[at], b->lookup[at].hash, &b->pkts[at], &b->key[at],
                          &b->reason[at]);
}

#define SET(name) name
#define SET_TARGET
#include "loops_each.h"

#ifdef PROBE_X86
#define SET(name)  name##_avx2
#define SET_TARGET __attribute__((target("avx2,bmi,bmi2")))
#include "loops_each.h"
#define LOOPS_WIDE loops_set_avx2
#else
#define LOOPS_WIDE loops_set
#endif

bool loops_baseline_only;

bool loops_are_wide(void)
{
#ifdef PROBE_X86
    bool wider = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
#else
    bool wider = false;
#endif
    return wider && !loops_baseline_only;
}

const struct loops *loops_best(void) { return loops_are_wide() ? &LOOPS_WIDE : &loops_set; }
