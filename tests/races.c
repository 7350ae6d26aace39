/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * races: see weak.h, and races.h. Memory is looked at in grains of eight bytes. Of each, and of each thread, the last access of
 * each kind is known; of bytes in one grain that a thread accesses at different steps only the latest: that may miss a race, and
 * never makes one up.
 */
#include "races.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "atomic.h"
#include "weak.h"

#define THREADS    SCHED_MAX_THREADS
#define GRAIN      8 /* bytes that are looked at together */
#define MAX_CELLS  (1u << 14)
#define CELLS_HASH (4 * MAX_CELLS)
#define MAX_BLOCKS 256

_Static_assert(THREADS <= 8, "struct cell has a bit for each");

static const uint8_t conflicts[ACCESSES] = {
    [PLAIN_READ] = 1u << PLAIN_WRITE | 1u << ATOMIC_WRITE,
    [PLAIN_WRITE] = 1u << PLAIN_READ | 1u << PLAIN_WRITE | 1u << ATOMIC_READ | 1u << ATOMIC_WRITE,
    [ATOMIC_READ] = 1u << PLAIN_WRITE,
    [ATOMIC_WRITE] = 1u << PLAIN_READ | 1u << PLAIN_WRITE,
};

/* Some bytes, and who accessed which of them last, and when. */
struct cell {
    uintptr_t at;
    bool freed;
    uint8_t by; /* a bit for each thread that did */
    struct {
        uint16_t clock; /* 0: never */
        uint8_t bytes;
    } last[ACCESSES][THREADS];
};

/* Memory that was allocated during the run. */
struct block {
    uintptr_t from, to;
    uint16_t clock;
    uint8_t thread;
    bool freed;
};

static struct {
    unsigned n_threads;
    uint32_t n_cells, n_blocks, run;
    uint32_t hash_run[CELLS_HASH];
    uint16_t hash[CELLS_HASH];
    struct cell cell[MAX_CELLS];
    struct block block[MAX_BLOCKS];
} seen;

static bool sees_plain;

static bool in_a_run(void) { return weak_on && sched_self() < THREADS && weak_before(sched_self()) != NULL; }

static void race(const char *what, const void *at, const void *pc)
{
    extern char __executable_start[];
    static char text[128];
    (void)snprintf(text, sizeof(text), "%s at %p, by the code at 0x%zx", what, at,
                   (size_t)((const char *)pc - __executable_start));
    weak_stop();
    sched_fail(NULL, 0, text);
}

static void born(struct cell *c, const struct block *b)
{
    c->freed = b->freed;
    c->last[PLAIN_WRITE][b->thread].clock = b->clock;
    c->last[PLAIN_WRITE][b->thread].bytes = UINT8_MAX;
    c->by = (uint8_t)(1u << b->thread);
}

static struct cell *find_cell(uintptr_t at)
{
    uint32_t h = (uint32_t)(at / GRAIN) % CELLS_HASH; /* neighbours beside each other: fewer of the processor's lines */
    for (; seen.hash_run[h] == seen.run; h = (h + 1) % CELLS_HASH)
        if (seen.cell[seen.hash[h]].at == at)
            return &seen.cell[seen.hash[h]];
    if (seen.n_cells == MAX_CELLS) {
        weak_stop();
        return NULL;
    }
    seen.hash_run[h] = seen.run;
    seen.hash[h] = (uint16_t)seen.n_cells;
    struct cell *c = &seen.cell[seen.n_cells++];
    memset(c, 0, sizeof(*c));
    c->at = at;
    for (uint32_t i = seen.n_blocks; i > 0; i--)
        if (at >= seen.block[i - 1].from && at < seen.block[i - 1].to) {
            born(c, &seen.block[i - 1]);
            break;
        }
    return c;
}

/* Is there an access by another thread to some of these bytes that this one can conflict with, and does not come after? */
static bool conflicts_with(const struct cell *c, unsigned self, unsigned bytes, enum access access)
{
    const struct clocks *before = weak_before(self);
    for (unsigned u = 0; c->by & ~(1u << self) && u < seen.n_threads; u++)
        for (unsigned a = 0; u != self && a < ACCESSES; a++)
            if (conflicts[access] >> a & 1 && c->last[a][u].bytes & bytes && c->last[a][u].clock > before->of[u])
                return true;
    return false;
}

static void look(struct cell *c, unsigned self, unsigned bytes, enum access access, const void *pc)
{
    const uint16_t clock = weak_before(self)->of[self];
    if (c->freed)
        race("memory is used after its end", (const void *)c->at, pc);
    else if (conflicts_with(c, self, bytes, access))
        race("a data race", (const void *)c->at, pc);
    if (c->last[access][self].clock != clock)
        c->last[access][self].bytes = 0;
    c->last[access][self].clock = clock;
    c->last[access][self].bytes |= (uint8_t)bytes;
    c->by |= (uint8_t)(1u << self);
}

void races_look(const void *at, size_t n, enum access access, const void *pc)
{
    uintptr_t from = (uintptr_t)at, to = from + n;
    while (in_a_run() && from < to) {
        uintptr_t grain = from & ~(uintptr_t)(GRAIN - 1);
        unsigned first = (unsigned)(from - grain), end = to - grain < GRAIN ? (unsigned)(to - grain) : GRAIN;
        struct cell *c = find_cell(grain);
        if (c != NULL)
            look(c, sched_self(), ((1u << end) - 1) & ~((1u << first) - 1), access, pc);
        from = grain + GRAIN;
    }
}

/* ---- Memory that comes and goes -------------------------------------------------------------------------------------------- */

void sched_allocated(const void *at, size_t n)
{
    const uintptr_t from = (uintptr_t)at, to = from + n;
    if (!in_a_run() || at == NULL)
        return;
    if (seen.n_blocks == MAX_BLOCKS) {
        weak_stop();
        return;
    }
    struct block *b = &seen.block[seen.n_blocks++];
    *b = (struct block){
        .from = from, .to = to, .thread = (uint8_t)sched_self(), .clock = weak_before(sched_self())->of[sched_self()]};
    weak_renew(from, to);
    for (uint32_t i = 0; i < seen.n_cells; i++)
        if (seen.cell[i].at >= from && seen.cell[i].at < to) {
            memset(seen.cell[i].last, 0, sizeof(seen.cell[i].last));
            born(&seen.cell[i], b);
        }
}

void sched_freed(const void *at, size_t n)
{
    const uintptr_t from = (uintptr_t)at, to = from + n;
    if (!in_a_run())
        return;
    for (uint32_t i = 0; in_a_run() && i < seen.n_cells; i++)
        if (seen.cell[i].at >= from && seen.cell[i].at < to) {
            look(&seen.cell[i], sched_self(), UINT8_MAX, PLAIN_WRITE, __builtin_return_address(0));
            seen.cell[i].freed = true;
        }
    for (uint32_t i = 0; i < seen.n_blocks; i++)
        seen.block[i].freed |= seen.block[i].from >= from && seen.block[i].to <= to;
}

/* ---- Plain accesses, as the compiler reports them -------------------------------------------------------------------------- */

static _Thread_local uintptr_t stack_from, stack_to;

void weak_know_stack(void)
{
    pthread_attr_t attr;
    void *at;
    size_t n;
    if (pthread_getattr_np(pthread_self(), &attr) != 0)
        return;
    if (pthread_attr_getstack(&attr, &at, &n) == 0) {
        stack_from = (uintptr_t)at;
        stack_to = stack_from + n;
    }
    pthread_attr_destroy(&attr);
}

/* Sanitizers know these functions, or have them in their own runtime; then nothing calls ours. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__) && !defined(SANITIZED)
static void plain(const void *at, size_t n, enum access access, const void *pc)
{
    if (in_a_run() && ((uintptr_t)at < stack_from || (uintptr_t)at >= stack_to))
        races_look(at, n, access, pc);
}

#define PLAIN(bytes)                                                                                                             \
    void __tsan_read##bytes(const void *at);                                                                                     \
    void __tsan_read##bytes(const void *at) { plain(at, bytes, PLAIN_READ, __builtin_return_address(0)); }                       \
    void __tsan_write##bytes(void *at);                                                                                          \
    void __tsan_write##bytes(void *at) { plain(at, bytes, PLAIN_WRITE, __builtin_return_address(0)); }                           \
    void __tsan_unaligned_read##bytes(const void *at);                                                                           \
    void __tsan_unaligned_read##bytes(const void *at) { plain(at, bytes, PLAIN_READ, __builtin_return_address(0)); }             \
    void __tsan_unaligned_write##bytes(void *at);                                                                                \
    void __tsan_unaligned_write##bytes(void *at) { plain(at, bytes, PLAIN_WRITE, __builtin_return_address(0)); }

/* clang-format off */
PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)
/* clang-format on */

void __tsan_read_range(const void *at, size_t n);
void __tsan_read_range(const void *at, size_t n) { plain(at, n, PLAIN_READ, __builtin_return_address(0)); }
void __tsan_write_range(void *at, size_t n);
void __tsan_write_range(void *at, size_t n) { plain(at, n, PLAIN_WRITE, __builtin_return_address(0)); }
void *__tsan_memcpy(void *to, const void *from, size_t n);
void *__tsan_memcpy(void *to, const void *from, size_t n)
{
    plain(from, n, PLAIN_READ, __builtin_return_address(0));
    plain(to, n, PLAIN_WRITE, __builtin_return_address(0));
    return memcpy(to, from, n);
}
void *__tsan_memmove(void *to, const void *from, size_t n);
void *__tsan_memmove(void *to, const void *from, size_t n)
{
    plain(from, n, PLAIN_READ, __builtin_return_address(0));
    plain(to, n, PLAIN_WRITE, __builtin_return_address(0));
    return memmove(to, from, n);
}
void *__tsan_memset(void *to, int c, size_t n);
void *__tsan_memset(void *to, int c, size_t n)
{
    plain(to, n, PLAIN_WRITE, __builtin_return_address(0));
    return memset(to, c, n);
}
void __tsan_func_entry(void *pc);
void __tsan_func_entry(void *pc) { (void)pc; }
void __tsan_func_exit(void);
void __tsan_func_exit(void) {}
void __tsan_init(void);
void __tsan_init(void) { sees_plain = true; }

/* The few atomic accesses that are none of lib/atomic.h's: a thread's own, or in mutations of it (tests/mutate). */
#define ATOMIC(bits)                                                                                                             \
    uint##bits##_t __tsan_atomic##bits##_load(const _Atomic(uint##bits##_t) *at, int order);                                     \
    uint##bits##_t __tsan_atomic##bits##_load(const _Atomic(uint##bits##_t) *at, int order)                                      \
    {                                                                                                                            \
        return (void)order, atomic_load(at);                                                                                     \
    }                                                                                                                            \
    void __tsan_atomic##bits##_store(_Atomic(uint##bits##_t) *at, uint##bits##_t value, int order);                              \
    void __tsan_atomic##bits##_store(_Atomic(uint##bits##_t) *at, uint##bits##_t value, int order)                               \
    {                                                                                                                            \
        (void)order;                                                                                                             \
        atomic_store(at, value);                                                                                                 \
    }
/* clang-format off */
ATOMIC(8)
ATOMIC(16)
ATOMIC(32)
ATOMIC(64)
/* clang-format on */
void __tsan_atomic_signal_fence(int order);
void __tsan_atomic_signal_fence(int order) { (void)order; }
#endif

bool weak_sees_plain(void) { return sees_plain; }

void races_begin(unsigned n_threads)
{
    seen.n_threads = n_threads;
    seen.n_cells = seen.n_blocks = 0;
    seen.run++;
}
