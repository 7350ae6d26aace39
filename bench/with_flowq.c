/*
 * with_flowq: flowq itself, through its public calls, by with_flowq.h; but ready keys have no public call, so lookup() does what
 * steer.c does with them, but for fetching second lines early.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "with_flowq.h"

#include "probe.h"
#include "sight.h"
#include "vm.h"

/* ---- Ready keys ------------------------------------------------------------------------------------------------------------ */

typedef unsigned match_fn(const struct line *l, uint64_t probe, uint64_t mask);

static inline __attribute__((always_inline)) uint64_t lookup_burst(const struct flowq_vm *vm, const uint64_t *keys,
                                                                   unsigned words, unsigned n, match_fn *match)
{
    const struct table *t = &vm->table;
    const struct directory *d = ptr_load_acquire(&t->directory);
    uint64_t hash[BURST], sum = 0, tag_mask = t->tag_mask, mask = tag_mask | WORD_SECONDARY;
    const struct line *line[BURST];
    uint8_t odd[BURST];
    unsigned n_odd = 0;
    for (unsigned i = 0; i < n; i++) {
        hash[i] = words == 2 ? hash_words2(&vm->secret, keys + i * 2) : hash_words5(&vm->secret, keys + i * 5);
        line[i] = &directory_shard(d, hash[i])->line[home_line(t, hash[i])];
        __builtin_prefetch(line[i]);
    }
    for (unsigned i = 0; i < n; i++) {
        uint64_t word = u64_load_relaxed(&line[i]->word[match(line[i], hash[i] & tag_mask, mask)]);
        unsigned even = (word & mask) == (hash[i] & tag_mask);
        sum += word_queue(t, word) & -even;
        odd[n_odd] = (uint8_t)i;
        n_odd += !even;
    }
    for (unsigned i = 0; i < n_odd; i++) {
        if (!line_overflow(line[odd[i]])) {
            sum += MISS;
            continue;
        }
        struct place p = table_find(t, hash[odd[i]]);
        sum += p.slot ? word_queue(t, p.word) : MISS;
    }
    return sum;
}

static inline __attribute__((always_inline)) uint64_t lookup_all(struct flowq_vm *vm, const uint64_t *keys, unsigned words,
                                                                 size_t n, match_fn *match)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i += BURST) {
        unsigned m = n - i < BURST ? (unsigned)(n - i) : BURST;
        flowq_enter();
        sum += words == 2 ? lookup_burst(vm, keys + i * 2, 2, m, match) : lookup_burst(vm, keys + i * 5, 5, m, match);
        flowq_leave();
    }
    return sum;
}

#ifdef PROBE_X86
static __attribute__((target("avx2,bmi,bmi2"))) uint64_t lookup_avx2(struct flowq_vm *vm, const uint64_t *keys, unsigned words,
                                                                     size_t n)
{
    return lookup_all(vm, keys, words, n, line_match_avx2);
}
#endif

static uint64_t lookup(void *vm, const uint64_t *keys, unsigned words, size_t n)
{
#ifdef PROBE_X86
    if (__builtin_cpu_supports("avx2"))
        return lookup_avx2(vm, keys, words, n);
#endif
    return lookup_all(vm, keys, words, n, line_match);
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

const struct contestant with_flowq_narrow = {
    .name = "flowq-sse2",
    .what = "the same table without the wider instructions",
    .steer = steer_without,
    .variant_of = &with_flowq,
};
