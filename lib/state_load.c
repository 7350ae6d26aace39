/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * state_load: from the stream to a vm. See state.h.
 *
 * Each section is checked whole before anything of it is put aside in struct load; load_take_over() at the end is the first that
 * touches the vm, and cannot fail.
 */
#include "state.h"

#include "rss.h"
#include "sized.h"
#include "vm.h"

#define LOAD_NS_PER_MS UINT64_C(1000000)
#define LOAD_NS_PER_US UINT64_C(1000)

/* A table whose shards are smaller than its settings would have them, as the stream knows no more of the hashes, may have so
   many: each has a head, and entries in the directory. */
#define LOAD_MAX_SMALL_SHARDS 16384
#define LOAD_LINE_FLOWS       4  /* as planned for in table.c */
#define LOAD_QUEUE_BITS       16 /* most that a table can have */
_Static_assert(1u << (LOAD_QUEUE_BITS - 1) == FLOWQ_MAX_QUEUE_PAIRS, "as many as there can be queues, and moves (ordered.h)");

struct load {
    struct flowq_vm *vm;
    uint32_t what;
    struct state_in in;
    uint32_t seen; /* bits of enum state_type */
    bool ended;
    struct flowq_loaded loaded;
    uint64_t n_bindings; /* in the stream */

    /* What the guest configured. rings: words of enabled, then of resetting. */
    uint32_t pairs;
    uint64_t *rings;
    struct virtio_state virtio;

    /* Keys and fallback. */
    bool same_keys;
    uint8_t seed[FLOWQ_SECRET_SIZE];
    struct queue_slots slots;
    void *slots_block; /* NULL: none */

    /* Bindings. Of those of age `oldest` in ms, of_oldest are taken, and none older. */
    struct table *table; /* NULL: there are none that can be taken */
    atomic_ptr only_shard;
    uint64_t now_ns;
    uint32_t line_bits, low; /* of a hash the stream has so many of the lowest bits, and all from this one on */
    uint32_t oldest;
    uint64_t of_oldest;
};

static bool load_wants(const struct load *l, uint32_t part) { return l->what & part; }

static void *load_get(const struct load *l, size_t bytes) { return memory_alloc(&l->vm->memory, bytes, 64); }

static void load_give_back(const struct load *l, void *block, size_t bytes)
{
    if (block)
        memory_free(&l->vm->memory, block, bytes);
}

static size_t load_rings_bytes(const struct load *l) { return 2 * queues_words(l->vm->queues.max) * sizeof(uint64_t); }

/* ---- What the guest configured --------------------------------------------------------------------------------------------- */

static int load_pairs(struct load *l, const uint8_t *c, uint32_t length)
{
    if (length != 8 || state_get32(c) == 0 || state_get32(c) > state_get32(c + 4) || state_get32(c + 4) > FLOWQ_MAX_QUEUE_PAIRS)
        return -EBADMSG;
    if (load_wants(l, FLOWQ_STATE_PAIRS) && state_get32(c) > l->vm->queues.max)
        return -ENOTSUP;
    l->pairs = state_get32(c);
    return 0;
}

/* Queues that the stream does not know are enabled, as in a vm that was just made. */
static int load_rings(struct load *l, const uint8_t *c, uint32_t length)
{
    uint32_t max = length < 8 ? 0 : state_get32(c), words = (max + 63) / 64, own = queues_words(l->vm->queues.max);
    if (max == 0 || max > FLOWQ_MAX_QUEUE_PAIRS || length != 8 + 16 * words || state_get32(c + 4) != 0)
        return -EBADMSG;
    uint64_t beyond = max % 64 ? UINT64_MAX << max % 64 : 0;
    const uint8_t *last = c + length - 16;
    if ((state_get64(last) | state_get64(last + 8)) & beyond)
        return -EBADMSG;
    if (!load_wants(l, FLOWQ_STATE_RINGS))
        return 0;
    l->rings = load_get(l, load_rings_bytes(l));
    if (!l->rings)
        return -ENOMEM;
    for (uint32_t w = 0; w < own; w++) {
        l->rings[w] = w < words ? state_get64(c + 8 + 16 * w) : UINT64_MAX;
        l->rings[own + w] = w < words ? state_get64(c + 16 + 16 * w) : 0;
        if (w + 1 == words)
            l->rings[w] |= beyond;
    }
    return 0;
}

static int load_features(struct load *l, const uint8_t *c, uint32_t length)
{
    if (length != 8)
        return -EBADMSG;
    l->virtio.features = state_get64(c);
    return 0;
}

static int load_tunnels(struct load *l, const uint8_t *c, uint32_t length)
{
    if (length != 4)
        return -EBADMSG;
    l->virtio.tunnels = state_get32(c);
    if (load_wants(l, FLOWQ_STATE_TUNNELS) && l->virtio.tunnels & ~l->vm->virtio.hash_tunnels)
        return -ENOTSUP;
    return 0;
}

/* Room for it, and what it says. c: 16 bytes, the key in the middle, then the table. */
static int load_make_hash(struct load *l, const uint8_t *c, uint32_t n)
{
    const uint8_t *key = c + 8, *behind = key + STATE_KEY_BYTES;
    uint32_t types = state_get32(c + 4);
    if (virtio_check_load(l->vm, types, n))
        return -ENOTSUP;
    for (uint32_t i = 0; n && i <= n; i++)
        if (state_get16(i < n ? behind + 8 + 2 * i : behind + 4) >= l->vm->queues.max)
            return -ENOTSUP;
    mutex_lock(&l->vm->virtio.lock);
    struct rss *r = virtio_new_locked(l->vm, n ? n : 1);
    mutex_unlock(&l->vm->virtio.lock);
    if (!r)
        return -ENOMEM;
    l->virtio.rss = r;
    rss_set_hash(r, types, key, STATE_KEY_BYTES);
    for (uint32_t i = 0; n && i <= n; i++)
        r->table[i] = (uint16_t)state_get16(i < n ? behind + 8 + 2 * i : behind + 4);
    return 0;
}

static int load_hash(struct load *l, const uint8_t *c, uint32_t length)
{
    if (length < STATE_HASH_BYTES)
        return -EBADMSG;
    uint32_t kind = state_get32(c), n = state_get32(c + 8 + STATE_KEY_BYTES), rest = state_get32(c + 12 + STATE_KEY_BYTES);
    bool power = n != 0 && (n & (n - 1)) == 0 && n <= 32768;
    if (kind > STATE_HASH_RSS || (kind == STATE_HASH_RSS ? !power : n != 0) || length != STATE_HASH_BYTES + 2 * n ||
        rest & 0xffff || (n == 0 && rest))
        return -EBADMSG;
    if (!load_wants(l, FLOWQ_STATE_HASH) || kind == STATE_HASH_NONE)
        return 0;
    l->virtio.rss_active = kind == STATE_HASH_RSS;
    return load_make_hash(l, c, n);
}

/* ---- Keys, and the fallback ------------------------------------------------------------------------------------------------ */

static int load_keys(struct load *l, const uint8_t *c, uint32_t length)
{
    static const uint8_t none[FLOWQ_SECRET_SIZE];
    uint8_t own[STATE_KEYS_BYTES];
    struct parse_rules rules;
    /* Another format may have more to say; the secret is where it is. */
    if (length < STATE_KEYS_BYTES || memcmp(c + STATE_KEYS_SETTINGS, none, sizeof(none)) == 0)
        return -EBADMSG;
    if (state_get32(c) == STATE_KEY_FORMAT && (length != STATE_KEYS_BYTES || state_get16(c + 14) != 0))
        return -EBADMSG;
    memcpy(l->seed, c + STATE_KEYS_SETTINGS, sizeof(l->seed));
    vm_parse_rules(l->vm, &rules);
    state_keys_put(own, &rules, l->seed);
    l->same_keys = length == STATE_KEYS_BYTES && memcmp(own, c, sizeof(own)) == 0;
    explicit_bzero(own, sizeof(own));
    return 0;
}

static int load_fallback(struct load *l, const uint8_t *c, uint32_t length)
{
    uint32_t n = length < 4 ? 0 : state_get32(c);
    if (n == 0 || n > 65536 || n & (n - 1) || length != 4 + 2 * n)
        return -EBADMSG;
    if (!load_wants(l, FLOWQ_STATE_FLOWS))
        return 0;
    size_t bytes = queues_slots_bytes(&l->vm->queues);
    l->slots_block = load_get(l, bytes);
    if (!l->slots_block)
        return -ENOMEM;
    if (!queues_settle(&l->vm->queues, &l->slots, l->slots_block, c + 4, n)) {
        load_give_back(l, l->slots_block, bytes);
        l->slots_block = NULL;
    }
    return 0;
}

/* ---- Bindings -------------------------------------------------------------------------------------------------------------- */

/* The ages come from the newest on. Chooses what there will be room for; returns how many, or UINT64_MAX: damaged. */
static uint64_t load_choose(struct load *l, const uint8_t *ages, uint32_t n)
{
    uint64_t total = 0, room = l->vm->sizes.max_flows;
    l->oldest = UINT32_MAX;
    l->of_oldest = UINT64_MAX;
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *at = ages + (size_t)i * STATE_AGE_BYTES;
        uint32_t age = state_get32(at), count = state_get32(at + 4);
        if (count == 0 || (i > 0 && age <= state_get32(at - STATE_AGE_BYTES)))
            return UINT64_MAX;
        if (total <= room && total + count > room) {
            l->oldest = age;
            l->of_oldest = room - total;
        }
        total += count;
    }
    return total < room ? total : room;
}

/* Can this vm find flows of whose hashes the lowest line_bits are known, and all from `low` on? Makes the table for them. */
static int load_make_table(struct load *l, uint32_t line_bits, uint32_t low, uint64_t room)
{
    struct table_sizes sizes = l->vm->sizes;
    const bool small = UINT64_C(1) << line_bits < SHARD_MAX_LINES;
    if (!l->same_keys || low > WORD_QUEUE_SHIFT + LOAD_QUEUE_BITS)
        return 0;
    if (small && sizes.max_flows / LOAD_LINE_FLOWS >> line_bits > LOAD_MAX_SMALL_SHARDS)
        return 0;
    if (low > (uint32_t)__builtin_ctzll(table_tag_low(sizes.max_queue_pairs)))
        sizes.max_queue_pairs = UINT32_C(1) << (low - WORD_QUEUE_SHIFT);
    sizes.room = (uint32_t)room;
    sizes.max_lines = small ? UINT32_C(1) << line_bits : SHARD_MAX_LINES;
    struct table *t = load_get(l, sizeof(*t));
    int r = t ? table_init(t, &sizes, &l->vm->memory, &l->only_shard) : -ENOMEM;
    if (r)
        load_give_back(l, t, sizeof(*t));
    else
        l->table = t;
    return r;
}

static int load_ages(struct load *l, const uint8_t *c, uint32_t length)
{
    if (!(l->seen & 1u << STATE_KEYS) || length < 8 || length % STATE_AGE_BYTES)
        return -EBADMSG;
    l->line_bits = state_get32(c);
    l->low = state_get32(c + 4);
    uint64_t room = load_choose(l, c + 8, (length - 8) / STATE_AGE_BYTES);
    if (room == UINT64_MAX || l->line_bits == 0 || l->line_bits >= l->low || l->low > 63)
        return -EBADMSG;
    l->now_ns = vm_now(l->vm);
    return load_wants(l, FLOWQ_STATE_FLOWS) ? load_make_table(l, l->line_bits, l->low, room) : 0;
}

static struct state_binding load_binding_at(const uint8_t *c)
{
    return (struct state_binding){.hash = state_get64(c),
                                  .age_ms = state_get32(c + 8),
                                  .bound_us = state_get32(c + 12),
                                  .queue = (uint16_t)state_get16(c + 16),
                                  .cls = c[18]};
}

static bool load_is_sane(const struct load *l, const uint8_t *c)
{
    struct state_binding b = load_binding_at(c);
    uint64_t unknown = (UINT64_C(1) << l->low) - (UINT64_C(1) << l->line_bits);
    return b.hash >> l->low != 0 && (b.hash & unknown) == 0 && b.queue < FLOWQ_MAX_QUEUE_PAIRS &&
           b.cls >= FLOWQ_CLASS_EMBRYONIC && b.cls <= FLOWQ_CLASS_CLOSING && c[19] == 0;
}

/* To the nearest tick, so that ticks of equal length come back as they were. */
static uint64_t load_word_of(const struct load *l, const struct state_binding *b)
{
    const uint32_t shift = l->vm->ages.tick_shift;
    uint64_t age = (b->age_ms * LOAD_NS_PER_MS + (UINT64_C(1) << (shift - 1))) >> shift, longest = WORD_TICK_MASK - 32;
    uint64_t tick = (l->now_ns >> shift) - (age < longest ? age : longest);
    return word_make(0, b->queue, (uint32_t)(tick & WORD_TICK_MASK), b->cls);
}

/* Up to the next tick, as a part of a microsecond was cut off: so these come back as they were, too. */
static uint16_t load_stamp_of(const struct load *l, const struct state_binding *b)
{
    const uint64_t tick_ns = UINT64_C(1) << NOTE_BIND_SHIFT;
    if (b->bound_us > STATE_BOUND_MAX_US)
        return 0;
    uint64_t ticks = (b->bound_us * LOAD_NS_PER_US + tick_ns - 1) / tick_ns;
    uint16_t stamp = (uint16_t)(l->now_ns / tick_ns - ticks);
    return stamp ? stamp : 1;
}

/* One that this vm can have. */
static int load_place(struct load *l, const struct state_binding *b)
{
    uint64_t hash = hash_at_least(b->hash, -l->table->tag_mask);
    if (l->loaded.bindings >= l->vm->sizes.max_flows || b->age_ms > l->oldest || (b->age_ms == l->oldest && l->of_oldest == 0)) {
        l->loaded.no_room++;
        return 0;
    }
    l->of_oldest -= b->age_ms == l->oldest;
    switch (state_place(l->table, hash, load_word_of(l, b), load_stamp_of(l, b))) {
    case STATE_PLACED:
        l->loaded.bindings++;
        return 0;
    case STATE_KNOWN:
        return 0;
    case STATE_NO_ROOM:
        l->loaded.no_room++;
        return 0;
    case STATE_NO_MEMORY:
        break;
    }
    return -ENOMEM;
}

static int load_bindings(struct load *l, const uint8_t *c, uint32_t length)
{
    uint32_t n = length / STATE_BINDING_BYTES;
    int r = 0;
    if (!(l->seen & 1u << STATE_AGES) || length % STATE_BINDING_BYTES)
        return -EBADMSG;
    l->n_bindings += n;
    for (uint32_t i = 0; i < n; i++)
        if (!load_is_sane(l, c + (size_t)i * STATE_BINDING_BYTES))
            return -EBADMSG;
    for (uint32_t i = 0; r == 0 && i < n && load_wants(l, FLOWQ_STATE_FLOWS); i++) {
        struct state_binding b = load_binding_at(c + (size_t)i * STATE_BINDING_BYTES);
        if (!l->table)
            l->loaded.other_keys++;
        else if (b.queue >= l->vm->queues.max)
            l->loaded.other_queues++;
        else
            r = load_place(l, &b);
    }
    return r;
}

static int load_end(struct load *l, const uint8_t *c, uint32_t length)
{
    if (length != 16 || state_get64(c) != l->n_bindings)
        return -EBADMSG;
    l->loaded.not_saved = load_wants(l, FLOWQ_STATE_FLOWS) ? state_get64(c + 8) : 0;
    l->ended = true;
    return 0;
}

/* ---- Sections -------------------------------------------------------------------------------------------------------------- */

static const struct {
    int (*load)(struct load *l, const uint8_t *content, uint32_t length);
    uint32_t part;
} load_section[STATE_TYPES] = {
    [STATE_PAIRS] = {load_pairs, FLOWQ_STATE_PAIRS},
    [STATE_RINGS] = {load_rings, FLOWQ_STATE_RINGS},
    [STATE_FEATURES] = {load_features, FLOWQ_STATE_FEATURES},
    [STATE_HASH] = {load_hash, FLOWQ_STATE_HASH},
    [STATE_TUNNELS] = {load_tunnels, FLOWQ_STATE_TUNNELS},
    [STATE_KEYS] = {load_keys, FLOWQ_STATE_FLOWS},
    [STATE_FALLBACK] = {load_fallback, 0},
    [STATE_AGES] = {load_ages, 0},
    [STATE_BINDINGS] = {load_bindings, 0},
    [STATE_END] = {load_end, 0},
};

static int load_sections(struct load *l)
{
    int not_offered = 0; /* a stream that is damaged is that, whatever else it asks for */
    int r = state_in_start(&l->in);
    while (r == 0 && !l->ended) {
        struct state_section s;
        r = state_in_section(&l->in, &s);
        if (r || s.type == 0)
            continue;
        if (l->seen & 1u << s.type && s.type != STATE_BINDINGS)
            return -EBADMSG; /* twice */
        r = load_section[s.type].load(l, l->in.content, s.length);
        if (s.type == STATE_KEYS)
            explicit_bzero(l->in.content, s.length); /* the secret */
        l->seen |= 1u << s.type;
        l->loaded.parts |= load_section[s.type].part & l->what;
        if (r == -ENOTSUP) {
            not_offered = r;
            r = 0;
        }
    }
    return r ? r : not_offered;
}

/* ---- The vm ---------------------------------------------------------------------------------------------------------------- */

static void load_take_over_guest(struct load *l, const struct queue_slots *slots)
{
    struct flowq_vm *vm = l->vm;
    const uint32_t parts = l->loaded.parts;
    const struct virtio_loads what = {parts & FLOWQ_STATE_FEATURES, parts & FLOWQ_STATE_TUNNELS, parts & FLOWQ_STATE_HASH};
    struct queues_load load = {.pairs = parts & FLOWQ_STATE_PAIRS ? l->pairs : 0, .slots = slots};
    if (l->rings) {
        load.enabled = l->rings;
        load.resetting = l->rings + queues_words(vm->queues.max);
    }
    if (what.rss && l->virtio.rss_active) {
        load.named = l->virtio.rss->table;
        load.n_named = l->virtio.rss->table_mask + 2;
    }
    load.forget_named = what.rss;
    queues_load(&vm->queues, &load);
    virtio_load(vm, &l->virtio, &what);
    l->virtio.rss = NULL;
}

static void load_take_over_flows(struct load *l)
{
    struct flowq_vm *vm = l->vm;
    if (l->table) {
        table_fini(&vm->table);
        table_move(&vm->table, l->table, &vm->only_shard);
        load_give_back(l, l->table, sizeof(*l->table));
        l->table = NULL;
    }
    memcpy(vm->seed, l->seed, sizeof(vm->seed));
    hash_secret_expand(&vm->secret, l->seed, -vm->table.tag_mask);
    vm_follow_table(vm);
    implied_clear(&vm->implied);
    frags_clear(&vm->frags);
    u64_add_relaxed(&vm->n_loaded, l->loaded.bindings);
}

/* Nothing of it can fail. */
static void load_take_over(struct load *l)
{
    struct flowq_vm *vm = l->vm;
    bool flows = l->loaded.parts & FLOWQ_STATE_FLOWS;
    struct queue_slots *slots = NULL;
    if (flows && l->slots_block) {
        slots = &vm->saved_slots;
        load_give_back(l, vm->saved_slots_block, vm->saved_slots_bytes);
        *slots = l->slots;
        vm->saved_slots_block = l->slots_block;
        vm->saved_slots_bytes = queues_slots_bytes(&vm->queues);
        l->slots_block = NULL;
    }
    load_take_over_guest(l, slots);
    if (flows)
        load_take_over_flows(l);
}

/* What was put aside and not taken over. */
static void load_drop(struct load *l)
{
    if (l->in.content)
        explicit_bzero(l->in.content, STATE_CONTENT_MAX); /* a section that was cut may have been the secret's */
    load_give_back(l, l->in.content, STATE_CONTENT_MAX);
    load_give_back(l, l->rings, load_rings_bytes(l));
    load_give_back(l, l->slots_block, queues_slots_bytes(&l->vm->queues));
    if (l->virtio.rss) {
        mutex_lock(&l->vm->virtio.lock);
        virtio_discard_locked(l->vm, l->virtio.rss);
        mutex_unlock(&l->vm->virtio.lock);
    }
    if (l->table) {
        table_fini(l->table);
        load_give_back(l, l->table, sizeof(*l->table));
    }
    explicit_bzero(l->seed, sizeof(l->seed));
}

int flowq_vm_load(struct flowq_vm *vm, uint32_t what, int64_t (*read)(void *ctx, void *data, size_t size), void *ctx,
                  struct flowq_loaded *loaded)
{
    if (!vm || !read || what == 0 || what & ~(uint32_t)FLOWQ_STATE_ALL || (loaded && !sized_can_take(loaded)))
        return -EINVAL;
    if (table_live(&vm->table) != 0) /* no section: nobody else uses the vm now */
        return -EBUSY;
    struct load l = {.vm = vm, .what = what, .in = {.read = read, .ctx = ctx}};
    l.in.content = load_get(&l, STATE_CONTENT_MAX);
    int r = l.in.content ? load_sections(&l) : -ENOMEM;
    if (r == 0)
        load_take_over(&l);
    load_drop(&l);
    if (r == 0 && loaded)
        sized_write(loaded, &l.loaded, sizeof(l.loaded));
    return r;
}
