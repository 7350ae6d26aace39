/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check_state: the format of saved state, against a naive reader and writer made from flowq-state(5) alone; streams that are cut,
 * damaged, made up; what cannot be loaded leaves the vm as it was.
 */
#include "vm.h" /* before a `vm` of our own */

#include "device.h"
#include "runner.h"
#include "saved.h"
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

/* ---- What is refused ------------------------------------------------------------------------------------------------------- */

/* As it was: the same stream, the same counters. */
struct as_it_was {
    struct model_stream stream;
    struct flowq_stats stats;
};

static struct as_it_was look_at(struct flowq_vm *of)
{
    struct as_it_was a = {.stream = saved(of), .stats = {.size = sizeof(a.stats)}};
    flowq_vm_stats(of, &a.stats);
    return a;
}

static void is_as_it_was(struct flowq_vm *of, const struct as_it_was *a)
{
    struct as_it_was b = look_at(of);
    ck_assert_uint_eq(a->stream.n, b.stream.n);
    ck_assert_mem_eq(a->stream.bytes, b.stream.bytes, b.stream.n);
    ck_assert_mem_eq(&a->stats, &b.stats, sizeof(b.stats));
    model_stream_free(&b.stream);
}

/* A small stream with all there can be in it, and a vm that could load it. */
static struct model_stream small_stream(struct flowq_vm **to)
{
    struct flowq_vm_config c = defaults();
    c.max_queue_pairs = 4;
    c.virtio_features = ALL_FEATURES;
    c.rebind_min_tcp_us = 100000;
    memset(c.secret, 7, sizeof(c.secret));
    now = 1000 * SECOND;
    start(&c, 4);
    struct flowq_rss r = rss_over(4);
    r.table_length = 4;
    ck_assert_int_eq(flowq_vm_set_rss(vm, &r), 0);
    flowq_vm_set_hash_tunnels(vm, FLOWQ_HASH_TUNNEL_VXLAN);
    for (uint32_t i = 0; i < 9; i++, now += SECOND)
        note(tcp(i), i % 4);
    struct model_stream s = saved(vm);
    memset(c.secret, 8, sizeof(c.secret));
    *to = make_vm(&c);
    return s;
}

START_TEST(cut_anywhere)
{
    struct flowq_vm *to;
    struct model_stream s = small_stream(&to);
    struct as_it_was before = look_at(to);
    for (size_t n = 0; n < s.n; n++) {
        uint8_t *exact = malloc(n ? n : 1); /* so that AddressSanitizer sees its end */
        memcpy(exact, s.bytes, n);
        ck_assert_int_eq(load_bytes(to, FLOWQ_STATE_ALL, exact, n, NULL), -EBADMSG);
        free(exact);
    }
    is_as_it_was(to, &before);
    ck_assert_uint_eq(load_stream(to, FLOWQ_STATE_ALL, &s).bindings, 9);
    model_stream_free(&s);
    model_stream_free(&before.stream);
    flowq_vm_destroy(to);
}
END_TEST

START_TEST(each_bit_flipped)
{
    struct flowq_vm *to;
    struct model_stream s = small_stream(&to);
    struct as_it_was before = look_at(to);
    for (size_t bit = 0; bit < 8 * s.n; bit++) {
        s.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        for (uint32_t what = FLOWQ_STATE_PAIRS; what <= FLOWQ_STATE_FLOWS; what += FLOWQ_STATE_FLOWS - FLOWQ_STATE_PAIRS)
            ck_assert_int_eq(load_bytes(to, what, s.bytes, s.n, NULL), -EBADMSG);
        s.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (bit % 997 == 0)
            is_as_it_was(to, &before);
    }
    is_as_it_was(to, &before);
    ck_assert_uint_eq(load_stream(to, FLOWQ_STATE_ALL, &s).bindings, 9);
    model_stream_free(&s);
    model_stream_free(&before.stream);
    flowq_vm_destroy(to);
}
END_TEST

/* Sections of the small stream, one of which is changed. Returns what loading says; the sums are right. */
static int load_changed(struct flowq_vm *to, const struct model_stream *s, uint32_t type, size_t at, uint8_t mask, int longer)
{
    struct model_stream made = {.bytes = NULL};
    uint64_t sum;
    model_stream_header(&made, 1, 1, &sum);
    for (size_t i = 16; i < s->n;) {
        const uint8_t *head = s->bytes + i;
        uint32_t t = head[3], n = (uint32_t)head[6] << 8 | head[7] | (uint32_t)head[5] << 16;
        uint8_t *content = calloc(1, n + 64);
        memcpy(content, head + 8, n);
        if (t == type && longer == 0)
            content[at] ^= mask;
        model_stream_section(&made, t, content, (size_t)((int)n + (t == type ? longer : 0)), &sum);
        free(content);
        i += 16 + n;
    }
    struct model_state *m = calloc(1, sizeof(*m));
    bool fine = model_state_read(m, made.bytes, made.n);
    free_model(m);
    int r = load_bytes(to, FLOWQ_STATE_ALL, made.bytes, made.n, NULL);
    ck_assert_msg(fine || r == -EBADMSG, "type %u, byte %zu, mask 0x%x, longer %d: %d", type, at, mask, longer, r);
    ck_assert_msg(!fine || r != -EBADMSG, "type %u, byte %zu, mask 0x%x, longer %d: %d", type, at, mask, longer, r);
    model_stream_free(&made);
    return r;
}

/* Each bit of each content, with sums that are right: what the model takes is taken, or is more than the vm offers. */
START_TEST(each_bit_of_content)
{
    struct flowq_vm *to;
    struct model_stream s = small_stream(&to);
    struct model_state *m = read_model(&s);
    const size_t bytes[11] = {0, 8, 24, 8, 64, 4, 64, 4 + 2 * m->n_slots, 8 + 8 * m->n_ages, 20 * m->n_bindings, 16};
    struct as_it_was before = look_at(to);
    unsigned taken = 0;
    for (uint32_t type = 1; type <= 10; type++)
        for (size_t bit = 0; bit < 8 * bytes[type]; bit += type == 7 && bit > 64 ? 61 : 1) {
            int r = load_changed(to, &s, type, bit / 8, (uint8_t)(1u << bit % 8), 0);
            if (r == 0) {
                taken++;
                flowq_vm_destroy(to);
                struct flowq_vm_config c = defaults();
                c.max_queue_pairs = 4;
                c.virtio_features = ALL_FEATURES;
                c.rebind_min_tcp_us = 100000;
                memset(c.secret, 8, sizeof(c.secret));
                to = make_vm(&c);
            } else if (bit % 53 == 0) {
                is_as_it_was(to, &before);
            }
        }
    ck_assert_uint_gt(taken, 100);
    for (uint32_t type = 1; type <= 10; type++)
        for (int longer = -1; longer <= 1; longer += 2)
            (void)load_changed(to, &s, type, 0, 0, longer);
    free_model(m);
    model_stream_free(&s);
    model_stream_free(&before.stream);
    flowq_vm_destroy(to);
}
END_TEST

/* Rewrites a header, and all sums. */
static int load_versions(struct flowq_vm *to, const struct model_stream *s, uint32_t version, uint32_t compatible, uint32_t extra)
{
    struct model_state *m = read_model(s);
    struct model_stream made = {.bytes = NULL}, own = {.bytes = NULL};
    uint64_t sum;
    m->version = version;
    m->compatible = compatible;
    model_state_write(m, &own);
    free_model(m);
    model_stream_header(&made, version, compatible, &sum);
    for (size_t i = 16; i < own.n;) {
        const uint8_t *head = own.bytes + i;
        uint32_t n = (uint32_t)head[6] << 8 | head[7] | (uint32_t)head[5] << 16;
        if (extra) {
            uint8_t *unknown = calloc(1, 300000);
            model_stream_section(&made, extra, unknown, 300000, &sum);
            free(unknown);
        }
        model_stream_section(&made, head[3], head + 8, n, &sum);
        i += 16 + n;
    }
    int r = load_bytes(to, FLOWQ_STATE_ALL, made.bytes, made.n, NULL);
    model_stream_free(&made);
    model_stream_free(&own);
    flowq_vm_reset(to, FLOWQ_RESET_FLOWS);
    return r;
}

START_TEST(versions)
{
    struct flowq_vm *to;
    struct model_stream s = small_stream(&to);
    ck_assert_int_eq(load_versions(to, &s, 1, 1, 0), 0);
    ck_assert_int_eq(load_versions(to, &s, 7, 1, 11), 0); /* newer, with sections that we do not know */
    ck_assert_int_eq(load_versions(to, &s, UINT32_MAX, 0, UINT32_MAX), 0);
    ck_assert_int_eq(load_versions(to, &s, 1, 1, 0x80000001), 0);
    ck_assert_int_eq(load_versions(to, &s, 7, 2, 0), -EBADMSG);
    ck_assert_int_eq(load_versions(to, &s, 2, 2, 0), -EBADMSG);
    ck_assert_int_eq(load_versions(to, &s, 0, 0, 0), -EBADMSG);
    model_stream_free(&s);
    flowq_vm_destroy(to);
}
END_TEST

/* Sections twice, without the one they hang on, too long, and no end. */
START_TEST(sections_in_disorder)
{
    struct flowq_vm *to;
    struct model_stream s = small_stream(&to);
    struct as_it_was before = look_at(to);
    const uint8_t *section[16];
    uint32_t n = 0;
    for (size_t i = 16; i < s.n; i += 16u + ((uint32_t)s.bytes[i + 6] << 8 | s.bytes[i + 7] | (uint32_t)s.bytes[i + 5] << 16))
        section[n++] = s.bytes + i;
    ck_assert_uint_eq(n, 10);
    for (uint32_t a = 0; a < n; a++)
        for (uint32_t b = 0; b < n; b++)
            for (uint32_t c = 0; c < n; c++) { /* three of them and the end */
                const uint8_t *three[4] = {section[a], section[b], section[c], section[9]};
                struct model_stream made = {.bytes = NULL};
                struct model_state *m = calloc(1, sizeof(*m));
                uint64_t sum;
                model_stream_header(&made, 1, 1, &sum);
                for (unsigned i = 0; i < 4; i++)
                    model_stream_section(&made, three[i][3], three[i] + 8,
                                         (uint32_t)three[i][6] << 8 | three[i][7] | (uint32_t)three[i][5] << 16, &sum);
                bool fine = model_state_read(m, made.bytes, made.n);
                ck_assert_int_eq(load_bytes(to, FLOWQ_STATE_FLOWS, made.bytes, made.n, NULL), fine ? 0 : -EBADMSG);
                ck_assert(!fine || m->n_bindings == 0 || (a == 5 && b == 7 && c == 8));
                if (fine && m->n_bindings)
                    flowq_vm_reset(to, FLOWQ_RESET_FLOWS);
                free_model(m);
                model_stream_free(&made);
            }
    model_stream_free(&before.stream);
    struct model_stream made = {.bytes = NULL};
    uint8_t *large = calloc(1, 262145);
    uint64_t sum;
    model_stream_header(&made, 1, 1, &sum);
    model_stream_section(&made, 3, large, 262145, &sum);
    ck_assert_int_eq(load_bytes(to, FLOWQ_STATE_ALL, made.bytes, made.n, NULL), -EBADMSG);
    free(large);
    model_stream_free(&made);
    model_stream_free(&s);
    flowq_vm_destroy(to);
}
END_TEST

/* ---- Memory ---------------------------------------------------------------------------------------------------------------- */

static int fail_at; /* the n-th allocation from now on fails; 0: none */
static long n_held, n_allocs;

static void *test_alloc(void *ctx, size_t size, size_t align, int32_t node)
{
    (void)ctx;
    (void)node;
    n_allocs++;
    if (fail_at && --fail_at == 0)
        return NULL;
    n_held++;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void test_free(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    (void)size;
    n_held--;
    free(ptr);
}

START_TEST(out_of_memory_anywhere)
{
    struct flowq_vm *to;
    struct model_stream s = small_stream(&to);
    struct flowq_vm_config c = defaults();
    c.max_queue_pairs = 4;
    c.alloc = test_alloc;
    c.free = test_free;
    c.initial_flows = _i ? 8 : 0;
    flowq_vm_destroy(to);
    n_held = fail_at = 0;
    to = make_vm(&c);
    long held = n_held;
    struct as_it_was before = look_at(to);
    int n = 0, r;
    do {
        fail_at = ++n;
        r = load_bytes(to, FLOWQ_STATE_ALL, s.bytes, s.n, NULL);
        ck_assert(r == 0 || r == -ENOMEM);
        fail_at = 0;
        if (r) {
            ck_assert_int_eq(n_held, held);
            is_as_it_was(to, &before);
        }
    } while (r);
    ck_assert_int_gt(n, 5);
    n_allocs = 0; /* and saving takes none */
    struct model_stream again = saved(to);
    ck_assert_int_eq(n_allocs, 0);
    flowq_vm_destroy(to);
    ck_assert_int_eq(n_held, 0);
    model_stream_free(&again);
    model_stream_free(&before.stream);
    model_stream_free(&s);
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
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, stream_says_what_is, 0, 20);
    tcase_add_loop_test(c, round_trip, 0, 20);
    tcase_add_test(c, parts);
    tcase_add_test(c, cut_anywhere);
    tcase_add_test(c, each_bit_flipped);
    tcase_add_test(c, each_bit_of_content);
    tcase_add_test(c, versions);
    tcase_add_test(c, sections_in_disorder);
    tcase_add_loop_test(c, out_of_memory_anywhere, 0, 2);
    tcase_add_test(c, callbacks);
    tcase_add_test(c, stored_stream);
    suite_add_tcase(s, c);
    return suite_run(s);
}
