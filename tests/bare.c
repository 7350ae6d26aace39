/* SPDX-License-Identifier: BSD-2-Clause */
#include "bare.h"

#include <sanitizer/asan_interface.h>
#include <stdlib.h>
#include <string.h>

#include "thread.h"

#define POISON 0xdd

/* ---- Memory ------------------------------------------------------------------------------------------------------------- */

static void *counting_alloc(void *ctx, size_t size, size_t align, int32_t node)
{
    struct bare *b = ctx;
    (void)node;
    uint64_t fail_at = atomic_load(&b->fail_at);
    if (fail_at == 1)
        return NULL;
    if (fail_at > 1)
        atomic_store(&b->fail_at, fail_at - 1);
    void *p = aligned_alloc(align, (size + align - 1) / align * align);
    if (!p)
        return NULL;
    if (size < 65536)
        memset(p, 0xa5, size); /* the contents are arbitrary */
    atomic_fetch_add(&b->n_allocs, 1);
    uint64_t bytes = atomic_fetch_add(&b->bytes, size) + size;
    if (bytes > atomic_load(&b->max_bytes))
        atomic_store(&b->max_bytes, bytes);
    return p;
}

static void counting_free(void *ctx, void *ptr, size_t size)
{
    struct bare *b = ctx;
    atomic_fetch_sub(&b->bytes, size);
    if (!b->quarantine || b->n_freed == sizeof(b->freed) / sizeof(b->freed[0])) {
        free(ptr);
        return;
    }
    memset(ptr, POISON, size);
    ASAN_POISON_MEMORY_REGION(ptr, size); /* with AddressSanitizer, whoever reads it is seen, too */
    b->freed[b->n_freed] = ptr;
    b->freed_bytes[b->n_freed++] = size;
}

static bool empty_quarantine(struct bare *b)
{
    bool clean = true;
    for (; b->n_freed > 0; b->n_freed--) {
        const unsigned char *p = b->freed[b->n_freed - 1];
        ASAN_UNPOISON_MEMORY_REGION(p, b->freed_bytes[b->n_freed - 1]);
        for (size_t i = 0; i < b->freed_bytes[b->n_freed - 1]; i++)
            clean = clean && p[i] == POISON;
        free(b->freed[b->n_freed - 1]);
    }
    return clean;
}

/* ---- Life cycle --------------------------------------------------------------------------------------------------------- */

static uint64_t clock_of(void *ctx) { return ((struct bare *)ctx)->now_ns; }

int bare_make(struct bare *b, struct flowq_vm_config *cfg, uint32_t pairs)
{
    uint64_t fail_at = atomic_load(&b->fail_at);
    memset(b, 0, sizeof(*b));
    atomic_store(&b->fail_at, fail_at);
    b->now_ns = 100000 * BARE_SECOND;
    cfg->size = sizeof(*cfg);
    memcpy(cfg->secret, "any will do", 12);
    if (!cfg->alloc) {
        cfg->alloc = counting_alloc;
        cfg->free = counting_free;
    }
    cfg->alloc_ctx = cfg->clock_ctx = b;
    cfg->clock_ns = clock_of;
    int r = flowq_vm_create(cfg, &b->vm);
    if (r)
        return r;
    b->table = &b->vm->table;
    b->queues = &b->vm->queues;
    atomic_fetch_sub(&b->bytes, b->vm->bytes);
    atomic_store(&b->max_bytes, b->bytes);
    return flowq_vm_set_queue_pairs(b->vm, pairs);
}

bool bare_free(struct bare *b)
{
    bool clean = empty_quarantine(b);
    b->quarantine = false;
    atomic_fetch_add(&b->bytes, b->vm->bytes);
    flowq_vm_destroy(b->vm);
    return clean;
}

void bare_make_sized(struct bare *b, uint32_t max_flows, uint32_t initial_flows)
{
    struct flowq_vm_config cfg = {.max_flows = max_flows, .initial_flows = initial_flows, .max_queue_pairs = 256};
    atomic_store(&b->fail_at, 0);
    if (bare_make(b, &cfg, 256) != 0)
        abort();
}

/* ---- Notes -------------------------------------------------------------------------------------------------------------- */

static struct note_context context_of(struct bare *b, uint32_t qid, uint32_t *tries_left)
{
    const struct settings *set = &b->vm->settings;
    struct note_context c = {.table = b->table,
                             .queues = b->queues,
                             .implied = &b->vm->implied,
                             .ordered = b->vm->ordered,
                             .tally = stats_tally(&b->vm->stats, thread_self()),
                             .ages = vm_ages(b->vm),
                             .now_ns = b->now_ns,
                             .qid = qid,
                             .rebind_tcp = atomic_load(&set->rebind_tcp),
                             .rebind_other = atomic_load(&set->rebind_other),
                             .tries_left = tries_left};
    c.idle = word_make(0, qid, note_tick(&c), 0);
    return c;
}

uint32_t bare_note_within(struct bare *b, uint64_t hash, uint32_t qid, enum note_kind kind, uint32_t *tries_left)
{
    struct note_context c = context_of(b, qid, tries_left);
    uint32_t outcome = note_flow(&c, hash_nonzero_tag(&b->vm->secret, hash), bare_spread(hash), kind);
    tally_add(&c.tally, STAT_NOTE + (outcome & FLOWQ_NOTE_OUTCOME), 1);
    return outcome;
}

uint32_t bare_note_inside(struct bare *b, uint64_t hash, uint32_t qid, enum note_kind kind)
{
    uint32_t tries_left = TABLE_TRIES;
    return bare_note_within(b, hash, qid, kind, &tries_left);
}

uint32_t bare_note_kind(struct bare *b, uint64_t hash, uint32_t qid, enum note_kind kind)
{
    struct thread *t = thread_self();
    thread_enter(t);
    uint32_t outcome = bare_note_inside(b, hash, qid, kind);
    thread_leave(t);
    if (table_has_retired(b->table))
        table_reclaim(b->table);
    return outcome;
}

uint32_t bare_note(struct bare *b, uint64_t hash, uint32_t qid) { return bare_note_kind(b, hash, qid, NOTE_CARRIES); }

uint64_t bare_find(struct bare *b, uint64_t hash)
{
    struct thread *t = thread_self();
    thread_enter(t);
    struct place p = find_in_table(b->table, hash_nonzero_tag(&b->vm->secret, hash));
    thread_leave(t);
    return p.slot ? p.word : 0;
}

uint32_t bare_queue(struct bare *b, uint64_t hash)
{
    uint64_t word = bare_find(b, hash);
    return word ? word_queue(b->table, word) : FLOWQ_DROP;
}

uint64_t bare_stat(const struct bare *b, unsigned stat) { return stats_sum(&b->vm->stats, stat); }

uint64_t bare_displaced(const struct bare *b)
{
    return bare_stat(b, STAT_DISPLACED + FLOWQ_CLASS_EMBRYONIC) + bare_stat(b, STAT_DISPLACED + FLOWQ_CLASS_CLOSING) +
           bare_stat(b, STAT_DISPLACED + FLOWQ_CLASS_ESTABLISHED);
}

/* ---- What must hold ----------------------------------------------------------------------------------------------------- */

/* Places in a line that hold this flow, as its first or its second. */
static unsigned copies_in(const struct bare *b, const struct line *l, uint64_t probe)
{
    unsigned n = 0;
    for (unsigned i = 0; i < LINE_SLOTS; i++)
        n += (atomic_load(&l->slot[i]) & (b->table->tag_mask | WORD_SECONDARY)) == probe;
    return n;
}

static const char *wrong_flow(struct bare *b, struct shard *s, uint32_t line, uint64_t word, uint64_t prefix)
{
    const struct table *t = b->table;
    uint32_t depth = shard_head(t, s)->depth, home = word & WORD_SECONDARY ? line_other(t->line_mask, word, line) : line;
    uint64_t tag = word & t->tag_mask;
    if (word_class(word) == WORD_FROZEN)
        return "a flow is frozen";
    if (tag == 0)
        return "a flow has no tag";
    if (word >> 14 & 1)
        return "the spare bit is set";
    if (depth && (word ^ prefix) >> (64 - depth))
        return "a flow is in a shard that is not its own";
    const uint32_t away = line_other(t->line_mask, tag, home);
    if (copies_in(b, shard_line(s, home), tag) + copies_in(b, shard_line(s, away), tag | WORD_SECONDARY) != 1)
        return "a flow is there twice";
    return NULL;
}

static const char *wrong_shard(struct bare *b, struct shard *s, uint64_t prefix, uint64_t *live)
{
    const struct table *t = b->table;
    uint64_t n = 0, away[SHARD_MAX_LINES] = {0}, bits[SHARD_MAX_LINES] = {0};
    for (uint32_t l = 0; l <= t->line_mask; l++) {
        for (unsigned i = 0; i < LINE_SLOTS; i++) {
            uint64_t word = atomic_load(&shard_line(s, l)->slot[i]);
            const char *wrong = word ? wrong_flow(b, s, l, word, prefix) : NULL;
            if (wrong)
                return wrong;
            n += word != 0;
            if (word & WORD_SECONDARY) {
                away[line_other(t->line_mask, word, l)]++;
                bits[line_other(t->line_mask, word, l)] |= line_second_bit(word);
            }
        }
    }
    for (uint32_t l = 0; l <= t->line_mask; l++) {
        uint64_t service = atomic_load(&shard_line(s, l)->service),
                 n_away = away[l] < LINE_SECOND_MAX ? away[l] : LINE_SECOND_MAX;
        if ((service & LINE_SECOND_MAX) != n_away || (service & bits[l]) != bits[l] || (away[l] == 0 && service != 0))
            return "a service word does not tell of the flows that are away";
    }
    if (shard_live(shard_head(t, s)) != n)
        return "a shard's count of flows is wrong";
    *live += n;
    return NULL;
}

static const char *wrong_names(struct bare *b, struct shard *s, uint64_t from)
{
    const struct directory *d = atomic_load(&b->table->directory);
    uint32_t depth = s == shard_nowhere() ? 0 : shard_head(b->table, s)->depth;
    size_t n = (size_t)1 << (d->depth - depth), first = (size_t)(from >> 1 >> (63 - d->depth));
    if (depth > d->depth || first % n)
        return "a shard is deeper than the directory, or begins within another";
    for (size_t i = 0; i < n; i++)
        if (atomic_load(&d->shard[first + i]) != (void *)s)
            return "an entry of the directory does not name its shard";
    return NULL;
}

const char *bare_wrong(struct bare *b)
{
    const struct table *t = b->table;
    uint64_t at = 0, live = 0;
    uint32_t n_shards = 0;
    do {
        uint64_t from = at;
        struct shard *s = table_walk(t, at, &at);
        const char *wrong = wrong_names(b, s, from);
        if (!wrong && s != shard_nowhere())
            wrong = wrong_shard(b, s, from, &live);
        if (wrong)
            return wrong;
        n_shards += s != shard_nowhere();
    } while (at);
    if (n_shards != t->grow.n_shards)
        return "the number of shards is wrong";
    if (live != table_live(t))
        return "table_live() is wrong";
    if (bare_stat(b, STAT_NOTE + FLOWQ_NOTE_BOUND) !=
        live + bare_displaced(b) + bare_stat(b, STAT_RECLAIMED) + bare_stat(b, STAT_FORGOTTEN))
        return "inserted is not live + displaced + reclaimed + forgotten";
    if (atomic_load(&b->table->grow.bytes) != atomic_load(&b->bytes))
        return "the bytes counted are not the bytes allocated";
    return NULL;
}
