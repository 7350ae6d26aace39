/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check_state: the format of saved state, against a naive reader and writer made from flowq-state(5) alone; what is loaded is
 * what was saved.
 */
#include "vm.h" /* before a `vm` of our own */

#include "runner.h"
#include "saved_small.h"
#include "seed.h"

static uint64_t seed;

/* ---- A vm of which everything is known ------------------------------------------------------------------------------------- */

enum { MOST_FLOWS = 300 };

struct known {
    struct flowq_vm_config config;
    uint32_t pairs, rss_length;
    bool enabled[MODEL_STATE_QUEUES], resetting[MODEL_STATE_QUEUES];
    bool decides, has_hash;
    uint32_t n_flows;
    struct {
        struct flowq_tuple sent;
        uint32_t qid;
        uint64_t noted_ns;
    } flow[MOST_FLOWS];
};

static struct known known;
static struct rng rng;

static uint32_t either(uint32_t a, uint32_t b) { return rng_percent(&rng, 50) ? a : b; }

static void random_config(struct known *k)
{
    static const uint32_t pairs[] = {2, 3, 8, 64, 65, 200, 256, 1000};
    k->config = defaults();
    k->config.max_queue_pairs = pairs[rng_below(&rng, 8)];
    k->config.max_flows = either(1024, 65536);
    k->config.key_vlan = either(FLOWQ_ON, FLOWQ_OFF);
    k->config.key_vni = either(FLOWQ_ON, FLOWQ_OFF);
    k->config.tunnels = either(FLOWQ_TUNNEL_ALL, (uint32_t)rng_next(&rng) & (FLOWQ_TUNNEL_ERSPAN * 2 - 1));
    k->config.vxlan_port = (uint16_t)either(0, rng_range(&rng, 1, 65535));
    k->config.vlan_tpid = (uint16_t)either(0, 0x9400);
    k->config.virtio_features = ALL_FEATURES;
    k->config.virtio_max_table = either(128, 32768);
    k->config.active_ms = either(80, 10000);
    k->config.rebind_min_tcp_us = either(FLOWQ_OFF, 500000);
    k->config.ordered = k->config.rebind_min_tcp_us == FLOWQ_OFF ? either(FLOWQ_OFF, FLOWQ_ON) : FLOWQ_OFF;
    for (unsigned i = 0; i < FLOWQ_SECRET_SIZE; i++)
        k->config.secret[i] = (uint8_t)rng_next(&rng);
}

static void random_rings(struct known *k)
{
    for (uint32_t q = 0; q < k->config.max_queue_pairs; q++) {
        k->enabled[q] = !rng_percent(&rng, 20);
        k->resetting[q] = rng_percent(&rng, 10);
        flowq_vm_set_queue_enabled(vm, q, k->enabled[q]);
        flowq_vm_set_queue_resetting(vm, q, k->resetting[q]);
    }
}

static void random_hash(struct known *k)
{
    k->rss_length = 1u << rng_below(&rng, k->config.virtio_max_table == 128 ? 8 : 12);
    static uint16_t entries[32768];
    for (uint32_t i = 0; i < k->rss_length; i++)
        entries[i] = (uint16_t)rng_below(&rng, k->config.max_queue_pairs);
    struct flowq_rss r = rss_over(2);
    r.table = entries;
    r.table_length = k->rss_length;
    r.unclassified = (uint16_t)rng_below(&rng, k->config.max_queue_pairs);
    r.max_tx = (uint16_t)k->pairs;
    r.hash_types = rng_below(&rng, FLOWQ_HASH_TYPE_ALL) + 1;
    k->has_hash = rng_percent(&rng, 70);
    k->decides = k->has_hash && rng_percent(&rng, 50);
    if (k->has_hash)
        ck_assert_int_eq(flowq_vm_set_rss(vm, &r), 0);
    if (k->has_hash && !k->decides)
        ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, k->pairs), 0);
    flowq_vm_set_hash_tunnels(vm, rng_below(&rng, FLOWQ_HASH_TUNNEL_ALL + 1));
}

static void random_flows(struct known *k)
{
    struct flowq_stats s = stats();
    k->n_flows = s.queues_in_use < 2 ? 0 : rng_below(&rng, MOST_FLOWS);
    for (uint32_t i = 0; i < k->n_flows; i++) {
        struct flowq_tuple t = rng_percent(&rng, 50) ? tcp(i) : tuple_v6(FRAME_PROTO_TCP, VM, 80, REMOTE, (uint16_t)(10000 + i));
        if (rng_percent(&rng, 30)) {
            t.n_vlans = 1;
            t.vlan[0] = (uint16_t)rng_range(&rng, 1, 4094);
        }
        uint32_t flags = rng_percent(&rng, 80) ? FRAME_ACK : FRAME_ACK | FRAME_FIN;
        uint32_t qid = rng_below(&rng, k->config.max_queue_pairs), outcome;
        while ((outcome = note_flags(t, flags, qid) & FLOWQ_NOTE_OUTCOME) == FLOWQ_NOTE_NOT_IN_USE)
            qid = rng_below(&rng, k->config.max_queue_pairs);
        ck_assert(outcome == FLOWQ_NOTE_BOUND || outcome == FLOWQ_NOTE_REFRESHED || outcome == FLOWQ_NOTE_MOVED);
        k->flow[i].sent = t;
        k->flow[i].qid = qid;
        k->flow[i].noted_ns = now;
        if (rng_percent(&rng, 20))
            now += rng_below(&rng, 300) * MS;
    }
}

static void random_vm(struct known *k)
{
    random_config(k);
    now = 1000 * SECOND;
    k->pairs = rng_range(&rng, 1, k->config.max_queue_pairs);
    start(&k->config, k->pairs);
    random_rings(k);
    random_hash(k);
    random_flows(k);
}

/* ---- What the stream says, and what is true -------------------------------------------------------------------------------- */

static void guest_is_right(const struct known *k, const struct model_state *m)
{
    ck_assert_uint_eq(m->pairs, k->pairs);
    ck_assert_uint_eq(m->pairs_max, k->config.max_queue_pairs);
    ck_assert_uint_eq(m->rings_max, k->config.max_queue_pairs);
    for (uint32_t q = 0; q < m->rings_max; q++)
        ck_assert(m->enabled[q] == k->enabled[q] && m->resetting[q] == k->resetting[q]);
    ck_assert_uint_eq(m->features, ALL_FEATURES);
    ck_assert_uint_eq(m->hash_kind, !k->has_hash ? 0 : k->decides ? 2 : 1);
    ck_assert_uint_eq(m->table_length, k->decides ? k->rss_length : 0);
    if (k->has_hash)
        ck_assert_mem_eq(m->key, key, sizeof(m->key));
}

static void keys_are_right(const struct known *k, const struct model_state *m)
{
    ck_assert_uint_eq(m->key_format, 1);
    ck_assert_uint_eq(m->key_bits, (k->config.key_vlan == FLOWQ_ON) + 2u * (k->config.key_vni == FLOWQ_ON));
    ck_assert_mem_eq(m->secret, k->config.secret, sizeof(m->secret));
    ck_assert_uint_eq(m->key_tpid, k->config.vlan_tpid);
    uint32_t vxlan = m->key_tunnels & FLOWQ_TUNNEL_VXLAN ? k->config.vxlan_port ? k->config.vxlan_port : 4789 : 0;
    ck_assert_uint_eq(m->key_ports[0], vxlan);
}

/* XXH3 of the bytes that the page lists. */
static uint64_t hash_by_the_page(const struct known *k, const struct flowq_tuple *in)
{
    uint8_t bytes[56], secret[192];
    size_t address = in->version == 4 ? 4 : 16, n = 2 * address + 8;
    for (unsigned i = 0; i < 24; i++) {
        uint64_t word = XXH3_64bits_withSeed(k->config.secret, 32, i + 1);
        for (unsigned b = 0; b < 8; b++)
            secret[8 * i + b] = (uint8_t)(word >> 8 * b);
    }
    memcpy(bytes, in->src, address);
    memcpy(bytes + address, in->dst, address);
    const uint8_t l4[8] = {(uint8_t)(in->sport >> 8), (uint8_t)in->sport, (uint8_t)(in->dport >> 8),
                           (uint8_t)in->dport,        in->protocol,       in->version};
    memcpy(bytes + 2 * address, l4, 8);
    if (in->n_vlans && k->config.key_vlan == FLOWQ_ON) {
        const uint8_t ids[8] = {(uint8_t)in->vlan[0], (uint8_t)(in->vlan[0] >> 8), 0, 0, 0, 0, 1, 0};
        memcpy(bytes + n, ids, 8);
        n += 8;
    }
    return XXH3_64bits_withSecret(bytes, n, secret, sizeof(secret));
}

static void bindings_are_right(const struct known *k, const struct model_state *m)
{
    uint64_t tick = UINT64_C(1) << vm->ages.tick_shift, unknown = (UINT64_C(1) << m->low) - (UINT64_C(1) << m->line_bits);
    ck_assert_uint_eq(m->n_bindings, stats().live);
    uint64_t counted = 0;
    for (uint32_t i = 0; i < m->n_ages; i++)
        counted += m->of_age[i];
    ck_assert_uint_eq(counted, m->n_bindings);
    for (uint32_t i = 0; i < k->n_flows; i++) {
        struct flowq_tuple in = tuple_reverse(&k->flow[i].sent);
        struct model_binding b = {.hash = hash_by_the_page(k, &in) & ~unknown}, *found;
        found = bsearch(&b, m->bindings, m->n_bindings, sizeof(b), by_hash);
        ck_assert_ptr_nonnull(found);
        ck_assert_uint_eq(found->queue, k->flow[i].qid);
        uint64_t age = now - k->flow[i].noted_ns;
        ck_assert_uint_le(found->age_ms * MS, age + tick);
        ck_assert_uint_ge(found->age_ms * MS + tick + MS, age);
        bool times = k->config.rebind_min_tcp_us != FLOWQ_OFF && age <= SECOND;
        ck_assert_uint_eq(found->bound_us != UINT32_MAX, times && found->bound_us != UINT32_MAX);
        if (times && age + MS < SECOND)
            ck_assert_uint_le(found->bound_us, age / 1000 + 66); /* a tick of 65.5 us */
    }
}

START_TEST(stream_says_what_is)
{
    rng.state = seed + (uint64_t)_i;
    random_vm(&known);
    struct model_stream s = saved(vm), again = {.bytes = NULL};
    struct model_state *m = read_model(&s);
    guest_is_right(&known, m);
    keys_are_right(&known, m);
    model_state_write(m, &again);
    ck_assert_uint_eq(again.n, s.n);
    ck_assert_mem_eq(again.bytes, s.bytes, s.n);
    sort_bindings(m);
    bindings_are_right(&known, m);
    free_model(m);
    model_stream_free(&s);
    model_stream_free(&again);
}
END_TEST

/* ---- And back -------------------------------------------------------------------------------------------------------------- */

static void same_bindings(const struct model_state *a, const struct model_state *b)
{
    ck_assert_uint_eq(a->n_bindings, b->n_bindings);
    for (size_t i = 0; i < a->n_bindings; i++) {
        const struct model_binding *x = &a->bindings[i], *y = &b->bindings[i];
        ck_assert(x->hash == y->hash && x->age_ms == y->age_ms && x->queue == y->queue && x->cls == y->cls);
        /* A tick of 65.5 us is cut off each time. */
        ck_assert_msg(x->bound_us == y->bound_us || (y->bound_us >= x->bound_us && y->bound_us <= x->bound_us + 66),
                      "bound %u us ago, and then %u", x->bound_us, y->bound_us);
    }
}

/* Everything of a vm but its secret goes into this text. */
static struct model_state *look_of(struct flowq_vm *of)
{
    struct model_stream s = saved(of);
    struct model_state *m = read_model(&s);
    sort_bindings(m);
    model_stream_free(&s);
    return m;
}

/* Where what the other end of flow t sends goes, with whatever hash. */
static uint16_t comes_to(struct flowq_tuple t)
{
    struct flowq_tuple in = tuple_reverse(&t);
    struct flowq_decision d = decided(&in);
    ck_assert(d.reason != FLOWQ_REASON_RSS);
    return d.qid;
}

/* 40 flows that nobody has noted. */
static void fallbacks(uint16_t qids[40])
{
    for (uint32_t i = 0; i < 40; i++)
        qids[i] = comes_to(i % 2 ? udp(100000 + i) : tuple_v6(17, VM, 1, REMOTE, (uint16_t)i));
}

START_TEST(round_trip)
{
    uint16_t before[40], after[40];
    rng.state = seed + 1000 + (uint64_t)_i;
    random_vm(&known);
    struct model_stream s = saved(vm);
    struct model_state *was = look_of(vm), *is;
    bool decides = known.decides;
    if (!decides)
        fallbacks(before);
    struct flowq_vm_config c = known.config;
    for (unsigned i = 0; i < FLOWQ_SECRET_SIZE; i++)
        c.secret[i] = (uint8_t)~c.secret[i];
    now += rng_below(&rng, 1000) * SECOND;
    start(&c, 1);
    struct flowq_loaded l = load_stream(vm, FLOWQ_STATE_ALL, &s);
    ck_assert_uint_eq(l.parts, FLOWQ_STATE_ALL);
    ck_assert_uint_eq(l.bindings, was->n_bindings);
    ck_assert_uint_eq(l.other_keys + l.other_queues + l.no_room + l.not_saved, 0);
    ck_assert_uint_eq(stats().live, was->n_bindings);
    ck_assert_uint_eq(stats().loaded, was->n_bindings);
    ck_assert_uint_eq(stats().inserted, was->n_bindings);
    is = look_of(vm);
    same_bindings(was, is);
    guest_is_right(&known, is);
    ck_assert_uint_eq(was->n_slots, is->n_slots);
    ck_assert_mem_eq(was->slot, is->slot, was->n_slots * sizeof(was->slot[0]));
    ck_assert_mem_eq(was->table, is->table, sizeof(was->table));
    ck_assert_mem_eq(was->secret, is->secret, sizeof(was->secret));
    ck_assert_uint_eq(was->tunnels, is->tunnels);
    if (!decides) {
        fallbacks(after);
        ck_assert_mem_eq(before, after, sizeof(before));
        for (uint32_t i = 0; i < known.n_flows; i++)
            ck_assert_uint_eq(comes_to(known.flow[i].sent), known.flow[i].qid);
    }
    ck_assert_int_eq(load_bytes(vm, FLOWQ_STATE_ALL, s.bytes, s.n, NULL), was->n_bindings ? -EBUSY : 0);
    free_model(was);
    free_model(is);
    model_stream_free(&s);
}
END_TEST

/* ---- Parts ----------------------------------------------------------------------------------------------------------------- */

START_TEST(parts)
{
    for (uint32_t what = 1; what <= FLOWQ_STATE_ALL; what++) {
        random_vm(&known);
        struct model_stream s = saved_parts(vm, what, FLOWQ_STATE_UNLIMITED);
        struct model_state *m = read_model(&s);
        for (uint32_t part = 0; part < 5; part++)
            ck_assert(m->has[part + 1] == (what >> part & 1));
        for (uint32_t type = 6; type <= 8; type++) /* neither secret nor bindings unless asked for */
            ck_assert(m->has[type] == !!(what & FLOWQ_STATE_FLOWS));
        free_model(m);
        struct flowq_vm *to = make_vm(&known.config);
        ck_assert_uint_eq(load_stream(to, FLOWQ_STATE_ALL, &s).parts, what);
        flowq_vm_destroy(to);
        model_stream_free(&s);
        /* And taken out of a stream that has all. */
        s = saved(vm);
        to = make_vm(&known.config);
        struct model_state *before = look_of(to);
        struct flowq_loaded l = load_stream(to, what, &s);
        struct model_state *after = look_of(to), *all = look_of(vm);
        ck_assert_uint_eq(l.parts, what);
        ck_assert_uint_eq(l.bindings, what & FLOWQ_STATE_FLOWS ? all->n_bindings : 0);
        ck_assert_uint_eq(after->pairs, what & FLOWQ_STATE_PAIRS ? all->pairs : before->pairs);
        ck_assert_mem_eq(after->enabled, what & FLOWQ_STATE_RINGS ? all->enabled : before->enabled, sizeof(all->enabled));
        ck_assert_uint_eq(after->features, what & FLOWQ_STATE_FEATURES ? all->features : before->features);
        ck_assert_uint_eq(after->hash_kind, what & FLOWQ_STATE_HASH ? all->hash_kind : 0);
        ck_assert_uint_eq(after->tunnels, what & FLOWQ_STATE_TUNNELS ? all->tunnels : 0);
        ck_assert_uint_eq(after->n_bindings, l.bindings);
        free_model(before);
        free_model(after);
        free_model(all);
        flowq_vm_destroy(to);
        model_stream_free(&s);
    }
}
END_TEST

/* ---- Damage, in streams of any vm ------------------------------------------------------------------------------------------ */

START_TEST(damaged_anywhere)
{
    rng.state = seed + 3000 + (uint64_t)_i;
    random_vm(&known);
    struct model_stream s = saved(vm);
    struct flowq_vm_config c = known.config;
    memset(c.secret, 9, sizeof(c.secret));
    struct flowq_vm *to = make_vm(&c);
    struct as_it_was before = look_at(to);
    for (size_t n = 0; n < s.n; n++) {
        uint8_t *exact = malloc(n ? n : 1), flip = (uint8_t)rng_range(&rng, 1, 255); /* exact: AddressSanitizer sees its end */
        memcpy(exact, s.bytes, n);
        ck_assert_int_eq(load_bytes(to, FLOWQ_STATE_ALL, exact, n, NULL), -EBADMSG);
        free(exact);
        s.bytes[n] ^= flip;
        ck_assert_int_eq(load_bytes(to, FLOWQ_STATE_ALL, s.bytes, s.n, NULL), -EBADMSG);
        s.bytes[n] ^= flip;
    }
    is_as_it_was(to, &before);
    ck_assert_uint_eq(load_stream(to, FLOWQ_STATE_ALL, &s).parts, FLOWQ_STATE_ALL);
    model_stream_free(&s);
    model_stream_free(&before.stream);
    flowq_vm_destroy(to);
}
END_TEST

/* ---- Callbacks ------------------------------------------------------------------------------------------------------------- */

static int64_t too_much(void *ctx, void *data, size_t size)
{
    (void)ctx;
    memset(data, 0, size);
    return (int64_t)size + 1;
}

static int64_t fails(void *ctx, void *data, size_t size)
{
    (void)data;
    (void)size;
    return *(const int64_t *)ctx;
}

struct full_disk {
    size_t room;
    bool told;
};

static int write_to_full_disk(void *ctx, const void *data, size_t size)
{
    struct full_disk *d = ctx;
    (void)data;
    ck_assert(!d->told); /* nothing more is written */
    d->told = size > d->room;
    d->room -= d->told ? 0 : size;
    return d->told ? -ENOSPC : 0;
}

START_TEST(callbacks)
{
    struct flowq_vm *to;
    struct model_stream s = small_stream(&to);
    struct flowq_loaded l = {.size = 7};
    int64_t error = -EPIPE;
    ck_assert_int_eq(flowq_vm_load(NULL, FLOWQ_STATE_ALL, fails, &error, NULL), -EINVAL);
    ck_assert_int_eq(flowq_vm_load(to, FLOWQ_STATE_ALL, NULL, NULL, NULL), -EINVAL);
    ck_assert_int_eq(flowq_vm_load(to, 0, fails, &error, NULL), -EINVAL);
    ck_assert_int_eq(flowq_vm_load(to, FLOWQ_STATE_ALL + 1, fails, &error, NULL), -EINVAL);
    ck_assert_int_eq(flowq_vm_load(to, FLOWQ_STATE_ALL, fails, &error, &l), -EINVAL);
    ck_assert_int_eq(flowq_vm_load(to, FLOWQ_STATE_ALL, fails, &error, NULL), -EPIPE);
    ck_assert_int_eq(flowq_vm_load(to, FLOWQ_STATE_ALL, too_much, NULL, NULL), -EBADMSG);
    ck_assert_int_eq(flowq_vm_save(NULL, FLOWQ_STATE_ALL, 0, add_to_stream, &s), -EINVAL);
    ck_assert_int_eq(flowq_vm_save(vm, FLOWQ_STATE_ALL, 0, NULL, NULL), -EINVAL);
    ck_assert_int_eq(flowq_vm_save(vm, 0, 0, add_to_stream, &s), -EINVAL);
    ck_assert_int_eq(flowq_vm_save(vm, FLOWQ_STATE_ALL + 1, 0, add_to_stream, &s), -EINVAL);
    ck_assert_int_eq(flowq_vm_save_fd(vm, FLOWQ_STATE_ALL, 0, -1), -EBADF);
    ck_assert_int_eq(flowq_vm_load_fd(to, FLOWQ_STATE_ALL, -1, NULL), -EBADF);
    for (size_t room = 0; room < s.n; room += 100) {
        struct full_disk d = {.room = room};
        ck_assert_int_eq(flowq_vm_save(vm, FLOWQ_STATE_ALL, FLOWQ_STATE_UNLIMITED, write_to_full_disk, &d), -ENOSPC);
    }
    for (size_t piece = 1; piece < 40; piece++) {
        struct reading r = {.bytes = s.bytes, .n = s.n, .piece = piece};
        ck_assert_int_eq(flowq_vm_load(to, FLOWQ_STATE_ALL, read_stream, &r, NULL), 0);
        flowq_vm_reset(to, FLOWQ_RESET_FLOWS);
    }
    /* Two in a row through a file: nothing behind the first is read. */
    FILE *f = tmpfile();
    ck_assert_int_eq(flowq_vm_save_fd(vm, FLOWQ_STATE_ALL, FLOWQ_STATE_UNLIMITED, fileno(f)), 0);
    ck_assert_int_eq(flowq_vm_save_fd(vm, FLOWQ_STATE_ALL, 0, fileno(f)), 0);
    ck_assert_int_eq(lseek(fileno(f), 0, SEEK_SET), 0);
    l = (struct flowq_loaded){.size = sizeof(l)};
    ck_assert_int_eq(flowq_vm_load_fd(to, FLOWQ_STATE_ALL, fileno(f), &l), 0);
    ck_assert_uint_eq(l.bindings, 9);
    flowq_vm_reset(to, FLOWQ_RESET_FLOWS);
    ck_assert_int_eq(flowq_vm_load_fd(to, FLOWQ_STATE_ALL, fileno(f), &l), 0);
    ck_assert_uint_eq(l.bindings, 0);
    ck_assert_uint_eq(l.not_saved, 9);
    ck_assert_int_eq(flowq_vm_load_fd(to, FLOWQ_STATE_ALL, fileno(f), &l), -EBADMSG);
    fclose(f);
    model_stream_free(&s);
    flowq_vm_destroy(to);
}
END_TEST

/* ---- A stream of 2026 ------------------------------------------------------------------------------------------------------ */

/* Made by this program, with FLOWQ_STATE_WRITE=FILE in its environment; never again. */
static struct model_stream stored(void)
{
    struct model_stream s = {.bytes = NULL};
    const char *top = getenv("FLOWQ_SRCDIR");
    char path[4096], bytes[4096];
    snprintf(path, sizeof(path), "%s/tests/data/state-1.bin", top ? top : ".");
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "%s", path);
    for (size_t n; (n = fread(bytes, 1, sizeof(bytes), f)) > 0;)
        model_stream_add(&s, bytes, n);
    fclose(f);
    return s;
}

START_TEST(stored_stream)
{
    struct flowq_vm *to;
    struct model_stream s = small_stream(&to);
    const char *path = getenv("FLOWQ_STATE_WRITE");
    if (path) {
        FILE *f = fopen(path, "wb");
        ck_assert(f && fwrite(s.bytes, 1, s.n, f) == s.n && fclose(f) == 0);
    }
    struct model_stream was = stored();
    ck_assert_uint_eq(load_stream(to, FLOWQ_STATE_ALL, &was).bindings, 9);
    struct flowq_vm *own = vm;
    vm = to;
    for (uint32_t i = 0; i < 9; i++) {
        struct flowq_binding b;
        ck_assert_int_eq(lookup(tcp(i), &b), 0);
        ck_assert_uint_eq(b.qid, i % 4);
    }
    vm = own;
    flowq_vm_destroy(to);
    /* What is written today, on a machine of whatever byte order, is the same. */
    ck_assert_uint_eq(was.n, s.n);
    ck_assert_mem_eq(was.bytes, s.bytes, s.n);
    model_stream_free(&was);
    model_stream_free(&s);
}
END_TEST

int main(void)
{
    seed = seed_get("check_state");
    rng.state = seed;
    Suite *s = suite_create("state");
    TCase *c = tcase_create("state");
    tcase_add_checked_fixture(c, NULL, tear_down);
    tcase_set_timeout(c, 300);
    tcase_add_loop_test(c, stream_says_what_is, 0, 20);
    tcase_add_loop_test(c, round_trip, 0, 20);
    tcase_add_test(c, parts);
    tcase_add_loop_test(c, damaged_anywhere, 0, SEED_SLOWNESS > 1 ? 1 : 6);
    tcase_add_test(c, callbacks);
    tcase_add_test(c, stored_stream);
    suite_add_tcase(s, c);
    return suite_run(s);
}
