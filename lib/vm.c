/* SPDX-License-Identifier: BSD-2-Clause */
/* vm: making, changing, resetting and unmaking one. Public interface; every errno that leaves is documented in flowq.h. */
#include "vm.h"

#include "config.h"
#include "tunnel.h"

#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#define VM_NS_PER_MS UINT64_C(1000000)
#define VM_NS_PER_US UINT64_C(1000)

/* ---- The log --------------------------------------------------------------------------------------------------------------- */

static void vm_copy_name(char to[FLOWQ_NAME_SIZE], const char *name)
{
    size_t n = 0;
    for (; name && name[n] && n < FLOWQ_NAME_SIZE - 1; n++)
        to[n] = (unsigned char)name[n] < ' ' || name[n] == 0x7f ? '?' : name[n]; /* a line stays one */
    to[n] = 0;
}

static void vm_log_line(void (*log)(void *ctx, int32_t level, const char *message), void *ctx, const char *name, int32_t level,
                        const char *text)
{
    char line[sizeof(struct config_fault) + FLOWQ_NAME_SIZE + sizeof("flowq : ")];
    if (!log || !*text)
        return;
    (void)snprintf(line, sizeof(line), "flowq%s%s: %s", *name ? " " : "", name, text);
    log(ctx, level, line);
}

void vm_say(const struct flowq_vm *vm, int32_t level, const char *text)
{
    vm_log_line(vm->log, vm->log_ctx, vm->name, level, text);
}

/* To whom settings named that make no vm. */
static void vm_say_refused(const struct flowq_vm_config *cfg, const struct config_fault *fault)
{
    char name[FLOWQ_NAME_SIZE];
    vm_copy_name(name, cfg->name);
    vm_log_line(cfg->log, cfg->log_ctx, name, FLOWQ_LOG_ERROR, fault->text);
}

/* ---- Time ------------------------------------------------------------------------------------------------------------------ */

static uint64_t vm_read_clock(clockid_t id)
{
    struct timespec ts = {0, 0};
    (void)clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static uint64_t vm_clock_coarse(void *ctx)
{
    (void)ctx;
    return vm_read_clock(CLOCK_MONOTONIC_COARSE);
}

static uint64_t vm_clock_precise(void *ctx)
{
    (void)ctx;
    return vm_read_clock(CLOCK_MONOTONIC);
}

/* The host's clock; else the coarse one, which a call can read in a third of the time, unless a setting needs the precise one. */
static void vm_choose_clock(struct flowq_vm *vm, const struct flowq_vm_config *cfg)
{
    bool precise = cfg->rebind_min_tcp_us || cfg->rebind_min_other_us || cfg->ordered;
    struct timespec res = {0, 1};
    vm->clock_ctx = cfg->clock_ctx;
    vm->clock_ns = cfg->clock_ns ? cfg->clock_ns : precise ? vm_clock_precise : vm_clock_coarse;
    if (!cfg->clock_ns)
        (void)clock_getres(precise ? CLOCK_MONOTONIC : CLOCK_MONOTONIC_COARSE, &res);
    else if (cfg->clock_resolution_ns)
        res = (struct timespec){(time_t)(cfg->clock_resolution_ns / UINT64_C(1000000000)),
                                (long)(cfg->clock_resolution_ns % UINT64_C(1000000000))};
    vm->clock_resolution_ns = (uint64_t)res.tv_sec * UINT64_C(1000000000) + (uint64_t)res.tv_nsec;
}

/* The largest power of two of nanoseconds that is no more than a second and an eighth of active_ms. */
static uint32_t vm_tick_shift(uint64_t active_ns)
{
    uint32_t shift = NOTE_TICK_SHIFT_MAX;
    while (UINT64_C(1) << shift > active_ns / 8)
        shift--;
    return shift;
}

/* ---- Settings -------------------------------------------------------------------------------------------------------------- */

static uint32_t vm_rebind_ticks(uint32_t us) { return (uint32_t)(us * UINT64_C(1000) >> NOTE_BIND_SHIFT); }

/* cfg has been through config_read(). */
static void vm_apply(struct flowq_vm *vm, const struct flowq_vm_config *cfg)
{
    struct settings *s = &vm->settings;
    uint16_t port[PARSE_N_PORTS];
    tunnel_read_ports(cfg, port);
    u32_store_relaxed(&s->tunnels, cfg->tunnels);
    ports_store(&s->ports, port);
    u64_store_relaxed(&vm->udp_filter, tunnel_filter(cfg->tunnels, port));
    u32_store_relaxed(&s->rebind_tcp, vm_rebind_ticks(cfg->rebind_min_tcp_us));
    u32_store_relaxed(&s->rebind_other, vm_rebind_ticks(cfg->rebind_min_other_us));
    struct note_ages ages = note_ages_from(vm->ages.tick_shift, cfg->active_ms * VM_NS_PER_MS, cfg->idle_ms * VM_NS_PER_MS);
    u32_store_relaxed(&s->active, ages.active);
    u32_store_relaxed(&s->idle, ages.idle);
    u8_store_relaxed(&s->no_learn, (uint8_t)cfg->no_learn);
    queues_set_mode(&vm->queues, QUEUES_DEAF, cfg->no_learn != 0);
    u8_store_relaxed(&s->key_vlan, (uint8_t)cfg->key_vlan);
    u8_store_relaxed(&s->key_vni, (uint8_t)cfg->key_vni);
    u16_store_relaxed(&s->vlan_tpid, cfg->vlan_tpid);
}

void vm_parse_rules(const struct flowq_vm *vm, struct parse_rules *r)
{
    const struct settings *s = &vm->settings;
    r->udp_filter = u64_load_relaxed(&vm->udp_filter);
    r->tunnels = u32_load_relaxed(&s->tunnels);
    r->key_vlan = u8_load_relaxed(&s->key_vlan) != 0;
    r->key_vni = u8_load_relaxed(&s->key_vni) != 0;
    r->vlan_tpid = u16_load_relaxed(&s->vlan_tpid);
    ports_load(&s->ports, r->port);
}

void vm_follow_table(struct flowq_vm *vm)
{
    vm->secret_v4 = vm->secret.v4;
    vm->line_mask = vm->table.line_mask;
    vm->queue_mask = vm->table.queue_mask;
    vm->in_place = note_in_place(&vm->table, vm->ordered != NULL);
}

/* ---- Making ---------------------------------------------------------------------------------------------------------------- */

/* The block of memory: struct flowq_vm, and behind it, each at a multiple of 64 bytes: */
struct vm_parts {
    uint32_t n_fragments;
    uint32_t numbers; /* of queues, and of moves */
    struct ordered_room ordered_room;
    size_t in_use, queues, frags, implied, noted, ordered, counted, end;
};

static struct vm_parts vm_lay_out(const struct flowq_vm_config *cfg)
{
    struct vm_parts p = {.n_fragments = cfg->fragments ? FRAG_WAYS : 0};
    while (p.n_fragments < cfg->fragments)
        p.n_fragments *= 2;
    p.ordered_room = (struct ordered_room){.n_moves = cfg->ordered ? ORDERED_WAYS : 0, .max_queue_pairs = cfg->max_queue_pairs};
    while (cfg->ordered && p.ordered_room.n_moves < cfg->ordered_flows)
        p.ordered_room.n_moves *= 2;
    p.numbers = ordered_numbers(cfg->max_queue_pairs, cfg->ordered != 0);
    p.in_use = memory_round64(sizeof(struct flowq_vm));
    p.queues = p.in_use;
    if (p.numbers > QUEUES_LOW)
        p.queues += memory_round64(queues_words(p.numbers) * sizeof(atomic_u64));
    p.frags = p.queues + queues_bytes(cfg->max_queue_pairs, p.numbers);
    p.implied = p.frags + memory_round64(p.n_fragments * sizeof(atomic_u64));
    p.noted = p.implied + implied_bytes(cfg->max_flows);
    p.ordered = p.noted + memory_round64(cfg->max_queue_pairs * sizeof(atomic_u32));
    p.counted = p.ordered + ordered_bytes(&p.ordered_room);
    p.end = p.counted;
    if (cfg->queue_stats)
        p.end += STATS_STRIPES * queue_counters_row(cfg->max_queue_pairs) * sizeof(struct queue_counters);
    return p;
}

/* 32 bytes that key everything: the host's, or the kernel's. */
static int vm_make_secret(struct flowq_vm *vm, const struct flowq_vm_config *cfg, uint32_t numbers)
{
    static const uint8_t none[FLOWQ_SECRET_SIZE];
    uint8_t seed[FLOWQ_SECRET_SIZE];
    memcpy(seed, cfg->secret, sizeof(seed));
    if (memcmp(seed, none, sizeof(seed)) == 0) {
        ssize_t got;
        do
            got = getrandom(seed, sizeof(seed), 0);
        while (got < 0 && errno == EINTR);
        if (got != (ssize_t)sizeof(seed))
            return got < 0 ? -errno : -EIO;
    }
    hash_secret_expand(&vm->secret, seed, table_tag_low(numbers));
    memcpy(vm->seed, seed, sizeof(vm->seed));
    explicit_bzero(seed, sizeof(seed));
    return 0;
}

static int vm_fill(struct flowq_vm *vm, const struct flowq_vm_config *cfg, const struct vm_parts *p, struct config_fault *fault)
{
    const struct table_sizes sizes = {
        .max_flows = cfg->max_flows,
        .initial_flows = cfg->initial_flows,
        .max_queue_pairs = p->numbers,
        .plane = cfg->rebind_min_tcp_us || cfg->rebind_min_other_us,
    };
    char *base = (char *)vm;
    vm->bytes = p->end;
    vm->sizes = sizes;
    vm->can_rebind_late = sizes.plane;
    vm->log = cfg->log;
    vm->log_ctx = cfg->log_ctx;
    vm_copy_name(vm->name, cfg->name);
    vm->noted = (void *)(base + p->noted);
    vm->counted = cfg->queue_stats ? (void *)(base + p->counted) : NULL;
    uint32_t tick_shift = vm_tick_shift(cfg->active_ms * VM_NS_PER_MS);
    vm->ages = note_ages_from(tick_shift, cfg->active_ms * VM_NS_PER_MS, cfg->idle_ms * VM_NS_PER_MS);
    vm_choose_clock(vm, cfg);
    vm_apply(vm, cfg);
    frags_init(&vm->frags, p->n_fragments, base + p->frags);
    implied_init(&vm->implied, cfg->max_flows, base + p->implied);
    vm->ordered = ordered_init(&p->ordered_room, cfg->ordered_max_us * VM_NS_PER_US, cfg->ordered_settle_us * VM_NS_PER_US,
                               base + p->ordered);
    int r = config_check_times(cfg, vm->clock_resolution_ns, fault);
    if (r == 0)
        r = vm_make_secret(vm, cfg, p->numbers);
    if (r == 0)
        r = queues_init(&vm->queues, cfg->max_queue_pairs, p->numbers, (void *)(base + p->in_use), base + p->queues);
    if (r)
        return r;
    queues_set_mode(&vm->queues, QUEUES_COUNTED, cfg->queue_stats != 0);
    queues_set_mode(&vm->queues, QUEUES_ORDERED, cfg->ordered != 0);
    r = virtio_init(vm, cfg);
    if (r == 0) {
        r = table_init(&vm->table, &sizes, &vm->memory, &vm->only_shard);
        if (r)
            virtio_fini(vm);
        vm_follow_table(vm);
    }
    if (r)
        queues_fini(&vm->queues);
    return r;
}

/* cfg has been through config_read(). */
static int vm_make(const struct flowq_vm_config *cfg, struct flowq_vm **out, struct config_fault *fault)
{
    bool misaligned = false;
    struct memory memory = {
        .alloc = cfg->alloc ? cfg->alloc : memory_default_alloc,
        .free = cfg->alloc ? cfg->free : memory_default_free,
        .ctx = cfg->alloc_ctx,
        .node = (int32_t)cfg->numa_node - 1,
        .misaligned = &misaligned,
    };
    struct vm_parts parts = vm_lay_out(cfg);
    struct flowq_vm *vm = memory_alloc(&memory, parts.end, 64);
    int r = vm ? 0 : -ENOMEM;
    if (vm) {
        memset(vm, 0, parts.end);
        vm->memory = memory;
        r = vm_fill(vm, cfg, &parts, fault);
        vm->memory.misaligned = NULL;
        if (r)
            memory_free(&memory, vm, parts.end);
    }
    if (r == -ENOMEM && misaligned)
        r = config_refuse(fault, "setting alloc gave memory that is not aligned as it was asked to");
    if (r == 0)
        *out = vm;
    return r;
}

int flowq_vm_create(const struct flowq_vm_config *cfg, struct flowq_vm **out)
{
    struct flowq_vm_config known;
    struct config_fault fault;
    if (!out)
        return -EINVAL;
    *out = NULL;
    int r = config_read(cfg, &known, false, &fault);
    if (r == 0)
        r = vm_make(&known, out, &fault);
    if (r)
        vm_say_refused(&known, &fault);
    return r;
}

void flowq_vm_destroy(struct flowq_vm *vm)
{
    if (!vm)
        return;
    struct memory memory = vm->memory;
    table_fini(&vm->table);
    virtio_fini(vm);
    queues_fini(&vm->queues);
    if (vm->saved_slots_block)
        memory_free(&memory, vm->saved_slots_block, vm->saved_slots_bytes);
    explicit_bzero(vm->seed, sizeof(vm->seed));
    explicit_bzero(&vm->secret, sizeof(vm->secret));
    explicit_bzero(&vm->secret_v4, sizeof(vm->secret_v4));
    memory_free(&memory, vm, vm->bytes);
}

/* ---- Changing -------------------------------------------------------------------------------------------------------------- */

static int vm_check_changes(const struct flowq_vm *vm, const struct flowq_vm_config *cfg, struct config_fault *fault)
{
    if ((cfg->rebind_min_tcp_us || cfg->rebind_min_other_us) && !vm->can_rebind_late) {
        /* Before its times: the clock was not chosen for it either. */
        (void)config_refuse(fault, "a rebind_min is set, but none was when the vm was made");
        return -ENOTSUP;
    }
    int r = config_check_times(cfg, vm->clock_resolution_ns, fault);
    if (r == 0 && vm_tick_shift(cfg->active_ms * VM_NS_PER_MS) < vm->ages.tick_shift)
        r = config_refuse(fault, "setting active_ms is %u: eight ticks, of %llu ns, which were chosen when the vm was made",
                          cfg->active_ms, 1ULL << vm->ages.tick_shift);
    return r;
}

int flowq_vm_configure(struct flowq_vm *vm, const struct flowq_vm_config *cfg)
{
    struct flowq_vm_config known;
    struct config_fault fault;
    if (!vm || !cfg)
        return -EINVAL;
    int r = config_read(cfg, &known, true, &fault);
    if (r == 0)
        r = vm_check_changes(vm, &known, &fault);
    if (r) {
        vm_say(vm, FLOWQ_LOG_ERROR, fault.text);
        return r;
    }
    mutex_lock(&vm->virtio.lock); /* two at once must not leave a mix */
    vm_apply(vm, &known);
    virtio_configure_locked(vm, &known);
    mutex_unlock(&vm->virtio.lock);
    return 0;
}

int flowq_vm_reset(struct flowq_vm *vm, uint32_t what)
{
    if (!vm || what & ~(uint32_t)(FLOWQ_RESET_FLOWS | FLOWQ_RESET_QUEUES | FLOWQ_RESET_CONFIG))
        return -EINVAL;
    if (what & (FLOWQ_RESET_CONFIG | FLOWQ_RESET_QUEUES))
        virtio_reset(vm, what);
    if (what & FLOWQ_RESET_FLOWS) {
        /* Does not register: that takes memory. */
        struct tally tally = stats_tally(&vm->stats, thread_is_registered(thread_tls) ? thread_tls : NULL);
        implied_clear(&vm->implied);
        tally_add(&tally, STAT_FORGOTTEN, table_clear(&vm->table));
        frags_clear(&vm->frags); /* F-A: last */
    }
    return 0;
}

static bool vm_stale_now(const void *ctx, uint64_t word)
{
    const struct note_context *c = ctx;
    return note_stale(&c->ages, note_tick(c), word);
}

/* How many more there are of this than the log has been told of. */
static uint64_t vm_untold(const struct flowq_vm *vm, unsigned stat, atomic_u64 *told)
{
    uint64_t n = stats_sum(&vm->stats, stat), before = u64_xchg_seq_cst(told, n);
    return n > before ? n - before : 0;
}

/* Tells the log, once for each call of maintain that finds more of them, that flows found no room, and why. */
static void vm_tell_refused(struct flowq_vm *vm)
{
    char line[96];
    uint64_t refused = vm_untold(vm, STAT_NOTE + FLOWQ_NOTE_REFUSED, &vm->refused_told);
    uint64_t failed = vm_untold(vm, STAT_GROW_FAILED, &vm->failed_told),
             delayed = vm_untold(vm, STAT_GROW_DELAYED, &vm->delayed_told);
    if (!vm->log || refused == 0)
        return;
    const char *cause = failed ? "memory was refused" : delayed ? "an open section delays growth" : "max_flows is too small";
    (void)snprintf(line, sizeof(line), "%llu notes found no room among active flows: %s", (unsigned long long)refused, cause);
    vm_say(vm, FLOWQ_LOG_WARNING, line);
}

void flowq_vm_maintain(struct flowq_vm *vm)
{
    struct thread *thread = vm ? thread_self() : NULL;
    if (!thread)
        return;
    struct tally tally = stats_tally(&vm->stats, thread);
    struct note_context now = {.ages = vm_ages(vm), .now_ns = vm_now(vm)};
    struct table_trim trim = {.stale = vm_stale_now, .ctx = &now};
    table_reclaim(&vm->table);
    virtio_maintain(vm);
    thread_enter(thread);
    table_trim(&vm->table, &trim);
    thread_leave(thread);
    tally_add(&tally, STAT_RECLAIMED, trim.n_dropped);
    tally_add(&tally, STAT_SHRUNK, trim.n_merged);
    vm_tell_refused(vm);
}

/* ---- Queues ---------------------------------------------------------------------------------------------------------------- */

int flowq_vm_set_queue_pairs(struct flowq_vm *vm, uint32_t n)
{
    if (!vm || n == 0 || n > vm->queues.max)
        return -EINVAL;
    virtio_set_pairs(vm, n);
    return 0;
}

static bool vm_is_queue(const struct flowq_vm *vm, uint32_t qid) { return qid < vm->queues.max || qid == FLOWQ_ALL_QUEUES; }

int flowq_vm_set_queue_enabled(struct flowq_vm *vm, uint32_t qid, bool on)
{
    if (!vm || !vm_is_queue(vm, qid))
        return -EINVAL;
    queues_set_enabled(&vm->queues, qid, on);
    return 0;
}

int flowq_vm_set_queue_resetting(struct flowq_vm *vm, uint32_t qid, bool on)
{
    if (!vm || !vm_is_queue(vm, qid))
        return -EINVAL;
    queues_set_resetting(&vm->queues, qid, on);
    return 0;
}
