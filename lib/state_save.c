/* SPDX-License-Identifier: BSD-2-Clause */
/* state_save: from the vm to the stream. See state.h. */
#include "state.h"

#include "find.h"
#include "rss.h"
#include "table_impl.h"
#include "vm.h"

#include <errno.h>

#define SAVE_NS_PER_MS UINT64_C(1000000)
#define SAVE_NS_PER_US UINT64_C(1000)

/* Ages in ticks, as a word has them. */
#define SAVE_AGES (1u << WORD_TICK_BITS)

/* Bindings that are gathered before they are written: a whole shard, and in tables of small ones some hundreds, so that a section
   costs little. Each slot is looked at twice, and may have another flow by the second time: no shard shows more than that, so
   all of it can be written when its section is closed. */
#define SAVE_SECTION_FEW  512
#define SAVE_SHOWN        2
#define SAVE_SECTION_MOST (SAVE_SHOWN * SHARD_MAX_LINES * LINE_SLOTS + SAVE_SECTION_FEW)
_Static_assert(SAVE_SECTION_MOST *STATE_BINDING_BYTES <= STATE_CONTENT_MAX, "whoever loads takes it");

/* 44 KiB; one struct state_binding each would be 96. */
struct save_gathering {
    uint32_t n;
    uint64_t word[SAVE_SECTION_MOST];
    uint16_t bound[SAVE_SECTION_MOST]; /* its binding time */
    uint8_t line[SAVE_SECTION_MOST];   /* its home */
};

struct save {
    struct flowq_vm *vm;
    struct thread *thread;
    struct state_out out;
    uint64_t began_ns, now_ns; /* of the shard at hand */
    /* Which bindings fit: all up to an age, in ticks, and some of that age. Left to write in all. */
    uint32_t oldest;
    uint64_t of_oldest, left;
    uint64_t n_saved, n_seen;
    union {
        uint32_t of_age[SAVE_AGES];
        struct save_gathering gathered;
    };
};

/* ---- What the guest configured --------------------------------------------------------------------------------------------- */

static void save_pairs(struct save *s)
{
    state_out_section(&s->out, STATE_PAIRS, 8);
    state_out32(&s->out, queues_pairs(&s->vm->queues));
    state_out32(&s->out, s->vm->queues.max);
    state_out_section_end(&s->out);
}

/* Which may be as before or after a setter that runs beside; each word of 64 queues is one or the other. */
static void save_rings(struct save *s)
{
    struct queues *q = &s->vm->queues;
    uint32_t words = (q->max + 63u) / 64;
    uint64_t last = q->max % 64 ? (UINT64_C(1) << q->max % 64) - 1 : UINT64_MAX;
    state_out_section(&s->out, STATE_RINGS, 8 + 16 * words);
    state_out32(&s->out, q->max);
    state_out32(&s->out, 0);
    for (uint32_t w = 0; w < words; w++) {
        uint64_t enabled, resetting, valid = w + 1 == words ? last : UINT64_MAX;
        queues_rings(q, w, &enabled, &resetting);
        state_out64(&s->out, enabled & valid);
        state_out64(&s->out, resetting & valid);
    }
    state_out_section_end(&s->out);
}

static void save_features(struct save *s, const struct virtio_state *v)
{
    state_out_section(&s->out, STATE_FEATURES, 8);
    state_out64(&s->out, v->features);
    state_out_section_end(&s->out);
}

static void save_tunnels(struct save *s, const struct virtio_state *v)
{
    state_out_section(&s->out, STATE_TUNNELS, 4);
    state_out32(&s->out, v->tunnels);
    state_out_section_end(&s->out);
}

static void save_hash(struct save *s, const struct virtio_state *v)
{
    const struct rss *r = v->rss;
    uint32_t n = v->rss_active ? r->table_mask + 1 : 0;
    state_out_section(&s->out, STATE_HASH, STATE_HASH_BYTES + 2 * n);
    state_out32(&s->out, !r ? STATE_HASH_NONE : v->rss_active ? STATE_HASH_RSS : STATE_HASH_ONLY);
    state_out32(&s->out, r ? r->hash_types : 0);
    uint8_t *key = state_out_room(&s->out, STATE_KEY_BYTES);
    memset(key, 0, STATE_KEY_BYTES);
    if (r)
        memcpy(key, r->toeplitz.key, STATE_KEY_BYTES);
    state_out32(&s->out, n);
    state_out32(&s->out, (uint32_t)(v->rss_active ? r->table[n] : 0) << 16);
    for (uint32_t i = 0; i < n; i++)
        state_put16(state_out_room(&s->out, 2), r->table[i]);
    state_out_section_end(&s->out);
}

static void save_configured(struct save *s, uint32_t what)
{
    struct virtio_state v;
    if (what & FLOWQ_STATE_PAIRS)
        save_pairs(s);
    if (what & FLOWQ_STATE_RINGS)
        save_rings(s);
    virtio_read(s->vm, &v);
    if (what & FLOWQ_STATE_FEATURES)
        save_features(s, &v);
    if (what & FLOWQ_STATE_HASH)
        save_hash(s, &v);
    if (what & FLOWQ_STATE_TUNNELS)
        save_tunnels(s, &v);
    virtio_read_end(s->vm, &v);
}

/* ---- Keys, and the fallback ------------------------------------------------------------------------------------------------ */

static void save_keys(struct save *s)
{
    struct parse_rules rules;
    vm_parse_rules(s->vm, &rules);
    state_out_section(&s->out, STATE_KEYS, STATE_KEYS_BYTES);
    state_keys_put(state_out_room(&s->out, STATE_KEYS_BYTES), &rules, s->vm->seed);
    state_out_section_end(&s->out);
}

static void save_fallback(struct save *s)
{
    const struct queues *q = &s->vm->queues;
    uint32_t n = queues_n_slots(q);
    state_out_section(&s->out, STATE_FALLBACK, 4 + 2 * n);
    state_out32(&s->out, n);
    for (uint32_t i = 0; i < n; i++)
        state_put16(state_out_room(&s->out, 2), queues_slot(q, i));
    state_out_section_end(&s->out);
}

/* ---- Bindings: what a word says -------------------------------------------------------------------------------------------- */

/* In ticks, at the beginning. What is noted later is new. */
static uint32_t save_age_of(const struct save *s, uint64_t word)
{
    uint32_t shift = s->vm->ages.tick_shift;
    uint32_t age = note_age((uint32_t)(s->now_ns >> shift), word);
    uint64_t later = (s->now_ns >> shift) - (s->began_ns >> shift);
    return age > later ? age - (uint32_t)later : 0;
}

static uint32_t save_age_ms(const struct save *s, uint32_t ticks)
{
    return (uint32_t)(((uint64_t)ticks << s->vm->ages.tick_shift) / SAVE_NS_PER_MS);
}

/* Times that are older than any rebind_min can wait for say nothing, and wrap (note.h). */
static uint32_t save_bound_us(const struct save *s, uint64_t word, uint16_t stamp)
{
    uint16_t age = (uint16_t)((uint16_t)(s->now_ns >> NOTE_BIND_SHIFT) - stamp);
    if (age > UINT16_MAX - NOTE_BIND_AHEAD)
        age = 0; /* by another thread's clock */
    uint64_t ago_ns = (uint64_t)age << NOTE_BIND_SHIFT, later_ns = s->now_ns - s->began_ns;
    ago_ns = ago_ns > later_ns ? ago_ns - later_ns : 0;
    bool silent = (uint64_t)save_age_of(s, word) << s->vm->ages.tick_shift > 2 * STATE_BOUND_MAX_US * SAVE_NS_PER_US;
    if (stamp == 0 || silent || ago_ns > STATE_BOUND_MAX_US * SAVE_NS_PER_US)
        return STATE_LONG_BOUND;
    return (uint32_t)(ago_ns / SAVE_NS_PER_US);
}

/* The class is not in a frozen slot any more. Where the flow is now it is, unless it is being moved once more. */
static uint32_t save_class_of(const struct save *s, uint64_t word, uint32_t line)
{
    if (word_class(word) != WORD_FROZEN)
        return word_class(word);
    struct place now = find_in_table(&s->vm->table, (word & s->vm->table.tag_mask) | line);
    return now.slot && word_class(now.word) != WORD_FROZEN ? word_class(now.word) : FLOWQ_CLASS_ESTABLISHED;
}

/* ---- Bindings: the walks --------------------------------------------------------------------------------------------------- */

/* Calls fn for each slot with a flow that may be the only one to show it, in a section; the flow's tag begins with `at`. */
typedef void save_slot_fn(struct save *s, struct shard *shard, uint32_t line, uint32_t slot, uint64_t word);

static inline __attribute__((always_inline)) void save_each_slot(struct save *s, struct shard *shard, uint64_t at,
                                                                 uint64_t secondary, save_slot_fn *fn)
{
    const struct table *t = &s->vm->table;
    for (uint32_t l = 0; l <= t->line_mask; l++)
        for (uint32_t i = 0; i < LINE_SLOTS; i++) {
            uint64_t word = u64_load_acquire(&shard_line(shard, l)->slot[i]);
            if (word && (word & WORD_SECONDARY) == secondary && (word & t->tag_mask) >= at)
                fn(s, shard, l, i, word);
        }
}

/* One shard; returns where the next one begins. */
static inline __attribute__((always_inline)) uint64_t save_each_of_shard(struct save *s, uint64_t at, save_slot_fn *fn)
{
    uint64_t next;
    thread_enter(s->thread);
    struct shard *shard = table_walk(&s->vm->table, at, &next);
    s->now_ns = vm_now(s->vm);
    if (s->now_ns < s->began_ns)
        s->now_ns = s->began_ns;
    if (shard != shard_nowhere()) {
        save_each_slot(s, shard, at, 0, fn);
        save_each_slot(s, shard, at, WORD_SECONDARY, fn);
    }
    thread_leave(s->thread);
    return next;
}

static inline void save_count_age(struct save *s, struct shard *shard, uint32_t line, uint32_t slot, uint64_t word)
{
    (void)shard;
    (void)line;
    (void)slot;
    s->of_age[save_age_of(s, word)]++;
    s->n_seen++;
}

/* How many bytes so many bindings of so many ages take. */
static uint64_t save_bytes_of(uint64_t bindings, uint64_t ages)
{
    const uint64_t section = STATE_SECTION_BYTES + STATE_SUM_BYTES;
    return section + 8 + ages * STATE_AGE_BYTES + bindings * STATE_BINDING_BYTES + (bindings / SAVE_SECTION_FEW + 1) * section;
}

/* The oldest ones that fit, and how many of them. Returns how many ages there are up to that. */
static uint32_t save_choose(struct save *s, uint64_t budget)
{
    uint64_t n = 0;
    uint32_t ages = 0;
    s->left = UINT64_MAX;
    for (s->oldest = 0; s->oldest < SAVE_AGES; s->oldest++) {
        uint64_t more = s->of_age[s->oldest];
        if (more == 0)
            continue;
        ages++;
        if (save_bytes_of(n + more, ages) > budget) {
            while (more > 0 && save_bytes_of(n + more, ages) > budget) {
                uint64_t over = (save_bytes_of(n + more, ages) - budget + STATE_BINDING_BYTES) / (STATE_BINDING_BYTES + 1);
                more -= over < more ? over : more;
            }
            s->of_oldest = more;
            s->left = n + more;
            s->of_age[s->oldest] = (uint32_t)more;
            return more ? ages : ages - 1;
        }
        n += more;
    }
    uint64_t used = save_bytes_of(n, ages) + STATE_SECTION_BYTES + STATE_SUM_BYTES;
    if (budget != FLOWQ_STATE_UNLIMITED) /* flows that come meanwhile have what is left */
        s->left = n + (budget > used ? (budget - used) / (STATE_BINDING_BYTES + 1) : 0);
    return ages;
}

static void save_ages(struct save *s, uint32_t n_ages)
{
    const struct table *t = &s->vm->table;
    state_out_section(&s->out, STATE_AGES, 8 + n_ages * STATE_AGE_BYTES);
    state_out32(&s->out, (uint32_t)__builtin_ctz(t->line_mask + 1));
    state_out32(&s->out, (uint32_t)__builtin_ctzll(t->tag_mask));
    for (uint32_t age = 0; n_ages > 0; age++) {
        if (s->of_age[age] == 0)
            continue;
        state_out32(&s->out, save_age_ms(s, age));
        state_out32(&s->out, s->of_age[age]);
        n_ages--;
    }
    state_out_section_end(&s->out);
}

static void save_gathered(struct save *s)
{
    const struct table *t = &s->vm->table;
    struct save_gathering *g = &s->gathered;
    if (g->n == 0)
        return;
    state_out_section(&s->out, STATE_BINDINGS, g->n * STATE_BINDING_BYTES);
    for (uint32_t i = 0; i < g->n; i++) {
        uint64_t word = g->word[i];
        uint8_t *to = state_out_room(&s->out, STATE_BINDING_BYTES);
        state_put64(to, (word & t->tag_mask) | g->line[i]);
        state_put32(to + 8, save_age_ms(s, save_age_of(s, word)));
        state_put32(to + 12, t->plane_at ? save_bound_us(s, word, g->bound[i]) : STATE_LONG_BOUND);
        state_put16(to + 16, word_queue(t, word));
        to[18] = (uint8_t)word_class(word);
        to[19] = 0;
    }
    state_out_section_end(&s->out);
    s->n_saved += g->n;
    g->n = 0;
}

static inline void save_gather(struct save *s, struct shard *shard, uint32_t line, uint32_t slot, uint64_t word)
{
    const struct table *t = &s->vm->table;
    struct save_gathering *g = &s->gathered;
    if (s->oldest < SAVE_AGES) {
        uint32_t age = save_age_of(s, word);
        if (age > s->oldest || (age == s->oldest && s->of_oldest == 0))
            return;
        s->of_oldest -= age == s->oldest;
    }
    if (s->left == 0)
        return;
    s->left--;
    uint32_t home = word & WORD_SECONDARY ? line_other(t->line_mask, word, line) : line;
    word = ordered_settled(s->vm->ordered, t, word); /* of a flow on the move the queue that it goes to, and no more */
    g->word[g->n] = word_class(word) == WORD_FROZEN ? word | save_class_of(s, word, home) : word;
    g->line[g->n] = (uint8_t)home;
    if (t->plane_at)
        g->bound[g->n] = u16_load_relaxed(shard_plane(t, shard) + line * LINE_SLOTS + slot);
    g->n++;
}

static void save_bindings(struct save *s, uint64_t budget)
{
    uint32_t shown = SAVE_SHOWN * (s->vm->table.line_mask + 1) * LINE_SLOTS;
    uint64_t at = 0;
    memset(s->of_age, 0, sizeof(s->of_age));
    do
        at = save_each_of_shard(s, at, save_count_age);
    while (at);
    uint32_t n_ages = save_choose(s, budget);
    save_ages(s, n_ages);
    s->gathered.n = 0;
    do {
        if (s->gathered.n + shown > SAVE_SECTION_MOST)
            save_gathered(s);
        at = save_each_of_shard(s, at, save_gather);
    } while (at && !s->out.error);
    save_gathered(s);
}

static void save_count_live(struct save *s)
{
    thread_enter(s->thread);
    s->n_seen = table_live(&s->vm->table);
    thread_leave(s->thread);
}

/* ---- The whole ------------------------------------------------------------------------------------------------------------- */

static int save_all(struct save *s, uint32_t what, uint64_t budget)
{
    s->n_saved = s->n_seen = 0;
    s->began_ns = s->now_ns = vm_now(s->vm);
    save_configured(s, what);
    if (what & FLOWQ_STATE_FLOWS) {
        save_keys(s);
        save_fallback(s);
        if (budget >= save_bytes_of(1, 1))
            save_bindings(s, budget);
        else
            save_count_live(s);
    }
    state_out_section(&s->out, STATE_END, 16);
    state_out64(&s->out, s->n_saved);
    state_out64(&s->out, s->n_seen > s->n_saved ? s->n_seen - s->n_saved : 0);
    state_out_section_end(&s->out);
    return state_out_finish(&s->out);
}

int flowq_vm_save(struct flowq_vm *vm, uint32_t what, uint64_t bindings_bytes,
                  int (*write)(void *ctx, const void *data, size_t size), void *ctx)
{
    struct save s;
    if (!vm || !write || what == 0 || what & ~(uint32_t)FLOWQ_STATE_ALL)
        return -EINVAL;
    s.vm = vm;
    s.thread = thread_self();
    if (!s.thread)
        return -ENOMEM;
    state_out_start(&s.out, write, ctx);
    return save_all(&s, what, bindings_bytes);
}
