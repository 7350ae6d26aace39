/*
 * with_flowq: flowq itself, through its public calls, by with_flowq.h; but ready keys have no public call, so lookup() does what
 * steer.c does with them, but for fetching second lines early.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "with_flowq.h"

#include "answer.h"
#include "probe.h"
#include "vm.h"

/* ---- Ready keys ------------------------------------------------------------------------------------------------------------ */

/* As sight_v4() and sight_v6() do it. */
static inline __attribute__((always_inline)) void sight_keys(const struct view v, const uint64_t *keys, unsigned words,
                                                             unsigned n, struct sighting *seen)
{
    const struct hash_brief secret = v.vm->brief;
    for (unsigned i = 0; i < n; i++)
        sight_line(v, &seen[i],
                   words == 2 ? hash_brief(secret, v.least_hash, keys + i * 2) : hash_words5(v.secret, keys + i * 5));
}

/* As look() in steer.c; but who misses needs no queue, so that only those that may be in their second line are worked off. */
static inline __attribute__((always_inline)) uint64_t look_keys(const struct view v, const struct sighting *seen, unsigned n,
                                                                home_fn *home)
{
    uint64_t sum = 0, odd = 0;
    uint32_t away = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct line *line = seen[i].line;
        uint32_t qid;
        uint64_t all_if_odd = all_if(not_at_home(v, line, &seen[i].hash, &qid, home));
        sum += qid & ~all_if_odd;
        odd -= all_if_odd;
        if (__builtin_expect((line_overflow(line) & all_if_odd) != 0, 0))
            away |= UINT32_C(1) << i;
    }
    sum += odd * MISS;
    for (; away; away &= away - 1) {
        const struct sighting *s = &seen[__builtin_ctz(away)];
        struct place p = {.slot = NULL};
        if (line_may_be_away(s->line, s->hash))
            p = table_find(&v.vm->table, s->hash);
        if (p.slot)
            sum += word_queue(&v.vm->table, p.word) - (uint64_t)MISS;
    }
    return sum;
}

/* Each loop a function of its own, as there. */
#define KEYS(name, attributes, home)                                                                                             \
    static __attribute__((noinline)) attributes void sight_keys_##name(const struct view *v, const uint64_t *keys,               \
                                                                       unsigned words, unsigned n, struct sighting *seen)        \
    {                                                                                                                            \
        if (words == 2)                                                                                                          \
            sight_keys(*v, keys, 2, n, seen);                                                                                    \
        else                                                                                                                     \
            sight_keys(*v, keys, 5, n, seen);                                                                                    \
    }                                                                                                                            \
    static __attribute__((noinline))                                                                                             \
    attributes uint64_t look_keys_##name(const struct view *v, const struct sighting *seen, unsigned n)                          \
    {                                                                                                                            \
        return look_keys(*v, seen, n, home);                                                                                     \
    }                                                                                                                            \
    static uint64_t lookup_##name(struct flowq_vm *vm, const uint64_t *keys, unsigned words, size_t n)                           \
    {                                                                                                                            \
        struct sighting seen[BURST];                                                                                             \
        uint64_t sum = 0;                                                                                                        \
        for (size_t i = 0; i < n; i += BURST) {                                                                                  \
            unsigned m = n - i < BURST ? (unsigned)(n - i) : BURST;                                                              \
            flowq_enter();                                                                                                       \
            const struct view v = view_of(vm, caller_of(thread_self()));                                                         \
            sight_keys_##name(&v, keys + i * words, words, m, seen);                                                             \
            sum += look_keys_##name(&v, seen, m);                                                                                \
            flowq_leave();                                                                                                       \
        }                                                                                                                        \
        return sum;                                                                                                              \
    }

KEYS(narrow, , line_home)
#ifdef PROBE_X86
KEYS(wide, __attribute__((target("avx2,bmi,bmi2"))), line_home_avx2)
#endif

static uint64_t lookup(void *vm, const uint64_t *keys, unsigned words, size_t n)
{
#ifdef PROBE_X86
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"))
        return lookup_wide(vm, keys, words, n);
#endif
    return lookup_narrow(vm, keys, words, n);
}

/* As on a machine without AVX2. */
static uint64_t steer_without(void *vm, const struct flowq_pkt *pkts, size_t n)
{
    steer_narrow = true;
    uint64_t sum = steer(vm, pkts, n);
    steer_narrow = false;
    return sum;
}

const struct contestant with_flowq = {
    .name = "flowq",
    .what = "this library, after flowq_vm_maintain() as by a timer; ready keys through internals",
    .create = create,
    .destroy = destroy,
    .note = note,
    .steer = steer,
    .single = single,
    .lookup = lookup,
    .clear = clear,
    .bytes = bytes,
    .settle = settle,
    .grows = true,
    .by_hash = true,
};

/* As by hosts that get their packets by the hundred (VPP: up to 256). */
static uint64_t steer_long(void *vm, const struct flowq_pkt *pkts, size_t n) { return steer_by(vm, pkts, n, LONG_BURST); }

const struct contestant with_flowq_long = {
    .name = "flowq-256",
    .what = "the same table, 256 packets a call",
    .steer = steer_long,
    .variant_of = &with_flowq,
    .by_hash = true,
};

const struct contestant with_flowq_narrow = {
    .name = "flowq-sse2",
    .what = "the same table without the wider instructions",
    .steer = steer_without,
    .variant_of = &with_flowq,
    .by_hash = true,
};
