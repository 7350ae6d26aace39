/*
 * with_flowq: flowq itself, through its public calls, by with_flowq.h; but ready keys have no public call, so lookup() does what
 * the loops do with them, but for fetching second lines early.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "with_flowq.h"

#include "loops.h"

/* ---- Ready keys ------------------------------------------------------------------------------------------------------------ */

/* As loops_run() does it. */
static inline __attribute__((always_inline)) void begin_keys(const struct vm_view v, const uint64_t *keys, unsigned words,
                                                             unsigned n, struct lookup *seen)
{
    const struct hash_secret_v4 secret = v.vm->secret_v4;
    for (unsigned i = 0; i < n; i++)
        lookup_begin(v, &seen[i], words == 2 ? hash_v4(secret, v.least_hash, keys + i * 2) : hash_words5(v.secret, keys + i * 5));
}

typedef unsigned home_fn(const struct line *l, const uint64_t *hash, uint64_t tag_mask);

/* As loops_rx_find() does it; but who misses needs no queue, so that only those that may be in their second line are worked off.
   */
static inline __attribute__((always_inline)) uint64_t look_keys(const struct vm_view v, const struct lookup *seen, unsigned n,
                                                                home_fn *home)
{
    uint64_t sum = 0, odd = 0;
    uint32_t away = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct line *line = seen[i].line;
        uint64_t word = find_named(line, home(line, &seen[i].hash, v.tag_mask));
        uint64_t all_if_odd = loops_all_if(find_differs(word, seen[i].hash, v.tag_mask));
        uint32_t qid = word_queue(&v.vm->table, word);
        sum += qid & ~all_if_odd;
        odd -= all_if_odd;
        if (__builtin_expect((line_overflow(line) & all_if_odd) != 0, 0))
            away |= UINT32_C(1) << i;
    }
    sum += odd * MISS;
    for (; away; away &= away - 1) {
        const struct lookup *s = &seen[__builtin_ctz(away)];
        uint64_t word = find_second_word(v.line_mask, v.tag_mask, s->line, s->hash);
        if (word)
            sum += word_queue(&v.vm->table, word) - (uint64_t)MISS;
    }
    return sum;
}

/* Each loop a function of its own, as there. */
#define KEYS(name, attributes, home)                                                                                             \
    static __attribute__((noinline)) attributes void begin_keys_##name(const struct vm_view *v, const uint64_t *keys,            \
                                                                       unsigned words, unsigned n, struct lookup *seen)          \
    {                                                                                                                            \
        if (words == 2)                                                                                                          \
            begin_keys(*v, keys, 2, n, seen);                                                                                    \
        else                                                                                                                     \
            begin_keys(*v, keys, 5, n, seen);                                                                                    \
    }                                                                                                                            \
    static __attribute__((noinline))                                                                                             \
    attributes uint64_t look_keys_##name(const struct vm_view *v, const struct lookup *seen, unsigned n)                         \
    {                                                                                                                            \
        return look_keys(*v, seen, n, home);                                                                                     \
    }                                                                                                                            \
    static uint64_t lookup_##name(struct flowq_vm *vm, const uint64_t *keys, unsigned words, size_t n)                           \
    {                                                                                                                            \
        struct lookup seen[BURST];                                                                                               \
        uint64_t sum = 0;                                                                                                        \
        for (size_t i = 0; i < n; i += BURST) {                                                                                  \
            unsigned m = n - i < BURST ? (unsigned)(n - i) : BURST;                                                              \
            flowq_enter();                                                                                                       \
            const struct vm_view v = vm_view_of(vm, caller_of(thread_self()));                                                   \
            begin_keys_##name(&v, keys + i * words, words, m, seen);                                                             \
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
    loops_baseline_only = true;
    uint64_t sum = steer(vm, pkts, n);
    loops_baseline_only = false;
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
    .note_by = note_by,
    .steer_by = steer_by,
    .note_several = note_several,
    .steer_several = steer_several,
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
