/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * model_state: see model_state.h.
 */
#include "model_state.h"

#include <stdlib.h>
#include <string.h>

/* ---- XXH64: github.com/Cyan4973/xxHash, doc/xxhash_spec.md ----------------------------------------------------------------- */

static const uint64_t prime[6] = {
    0, 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5};

static uint64_t rotated(uint64_t x, unsigned by) { return x << by | x >> (64 - by); }

static uint64_t little(const uint8_t *at, unsigned n)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++)
        v |= (uint64_t)at[i] << 8 * i;
    return v;
}

static uint64_t round_of(uint64_t sum, uint64_t lane) { return rotated(sum + lane * prime[2], 31) * prime[1]; }

uint64_t model_xxh64(const uint8_t *at, size_t n, uint64_t seed)
{
    uint64_t sum = seed + prime[5];
    const uint8_t *end = at + n;
    if (n >= 32) {
        uint64_t a[4] = {seed + prime[1] + prime[2], seed + prime[2], seed, seed - prime[1]};
        for (; end - at >= 32; at += 32)
            for (unsigned i = 0; i < 4; i++)
                a[i] = round_of(a[i], little(at + 8 * i, 8));
        sum = rotated(a[0], 1) + rotated(a[1], 7) + rotated(a[2], 12) + rotated(a[3], 18);
        for (unsigned i = 0; i < 4; i++)
            sum = (sum ^ round_of(0, a[i])) * prime[1] + prime[4];
    }
    sum += n;
    for (; end - at >= 8; at += 8)
        sum = rotated(sum ^ round_of(0, little(at, 8)), 27) * prime[1] + prime[4];
    for (; end - at >= 4; at += 4)
        sum = rotated(sum ^ little(at, 4) * prime[1], 23) * prime[2] + prime[3];
    for (; end > at; at++)
        sum = rotated(sum ^ *at * prime[5], 11) * prime[1];
    sum = (sum ^ sum >> 33) * prime[2];
    sum = (sum ^ sum >> 29) * prime[3];
    return sum ^ sum >> 32;
}

/* ---- A stream -------------------------------------------------------------------------------------------------------------- */

void model_stream_add(struct model_stream *s, const void *bytes, size_t n)
{
    if (s->room - s->n < n) {
        s->room = 2 * (s->room + n);
        s->bytes = realloc(s->bytes, s->room);
        if (!s->bytes)
            abort();
    }
    if (n)
        memcpy(s->bytes + s->n, bytes, n);
    s->n += n;
}

void model_stream_free(struct model_stream *s)
{
    free(s->bytes);
    *s = (struct model_stream){.bytes = NULL};
}

static void add_number(struct model_stream *s, uint64_t v, unsigned bytes)
{
    for (unsigned i = bytes; i-- > 0;) {
        uint8_t b = (uint8_t)(v >> 8 * i);
        model_stream_add(s, &b, 1);
    }
}

void model_stream_header(struct model_stream *s, uint32_t version, uint32_t compatible, uint64_t *sum)
{
    model_stream_add(s,
                     "\x89"
                     "FLOWQ\r\n",
                     8);
    add_number(s, version, 4);
    add_number(s, compatible, 4);
    *sum = model_xxh64(s->bytes, 16, 0);
}

void model_stream_section(struct model_stream *s, uint32_t type, const uint8_t *content, size_t n, uint64_t *sum)
{
    size_t from = s->n;
    add_number(s, type, 4);
    add_number(s, n, 4);
    model_stream_add(s, content, n);
    *sum = model_xxh64(s->bytes + from, s->n - from, *sum);
    add_number(s, *sum, 8);
}

/* ---- Reading --------------------------------------------------------------------------------------------------------------- */

/* What is left of a content, or of the stream. */
struct rest {
    const uint8_t *at;
    size_t n;
    bool wrong; /* there was less than was taken */
};

static uint64_t take(struct rest *r, unsigned bytes)
{
    uint64_t v = 0;
    if (r->n < bytes) {
        r->wrong = true;
        r->n = 0;
        return 0;
    }
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | r->at[i];
    r->at += bytes;
    r->n -= bytes;
    return v;
}

static void take_bytes(struct rest *r, uint8_t *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)take(r, 1);
}

static bool power_of_two(uint32_t n) { return n != 0 && (n & (n - 1)) == 0; }

static bool read_rings(struct model_state *m, struct rest *r)
{
    m->rings_max = (uint32_t)take(r, 4);
    if (m->rings_max == 0 || m->rings_max > MODEL_STATE_QUEUES || take(r, 4) != 0)
        return false;
    for (uint32_t q = 0; q < m->rings_max; q += 64) {
        uint64_t enabled = take(r, 8), resetting = take(r, 8);
        for (uint32_t i = 0; i < 64; i++) {
            if (q + i < m->rings_max) {
                m->enabled[q + i] = enabled >> i & 1;
                m->resetting[q + i] = resetting >> i & 1;
            } else if ((enabled | resetting) >> i & 1) {
                return false;
            }
        }
    }
    return true;
}

static bool read_hash(struct model_state *m, struct rest *r)
{
    m->hash_kind = (uint32_t)take(r, 4);
    m->hash_types = (uint32_t)take(r, 4);
    take_bytes(r, m->key, sizeof(m->key));
    m->table_length = (uint32_t)take(r, 4);
    m->unclassified = (uint32_t)take(r, 2);
    if (take(r, 2) != 0 || m->hash_kind > 2)
        return false;
    if (m->hash_kind != 2)
        return m->table_length == 0 && m->unclassified == 0;
    if (!power_of_two(m->table_length) || m->table_length > 32768)
        return false;
    for (uint32_t i = 0; i < m->table_length; i++)
        m->table[i] = (uint16_t)take(r, 2);
    return true;
}

static bool read_keys(struct model_state *m, struct rest *r)
{
    static const uint8_t none[32];
    m->key_format = (uint32_t)take(r, 4);
    m->key_bits = (uint32_t)take(r, 4);
    m->key_tunnels = (uint32_t)take(r, 4);
    m->key_tpid = (uint32_t)take(r, 2);
    m->key_zero = (uint32_t)take(r, 2);
    for (unsigned i = 0; i < 8; i++)
        m->key_ports[i] = (uint32_t)take(r, 2);
    take_bytes(r, m->secret, sizeof(m->secret));
    m->key_more = r->n;
    r->n = 0;
    return memcmp(m->secret, none, sizeof(none)) != 0 && (m->key_format != 1 || (m->key_zero == 0 && m->key_more == 0));
}

static bool read_fallback(struct model_state *m, struct rest *r)
{
    m->n_slots = (uint32_t)take(r, 4);
    if (!power_of_two(m->n_slots) || m->n_slots > MODEL_STATE_SLOTS)
        return false;
    for (uint32_t i = 0; i < m->n_slots; i++)
        m->slot[i] = (uint16_t)take(r, 2);
    return true;
}

static bool read_ages(struct model_state *m, struct rest *r)
{
    m->line_bits = (uint32_t)take(r, 4);
    m->low = (uint32_t)take(r, 4);
    if (!m->has[6] || m->line_bits == 0 || m->line_bits >= m->low || m->low > 63)
        return false;
    for (m->n_ages = 0; r->n > 0 && m->n_ages < 2048; m->n_ages++) {
        m->age[m->n_ages] = (uint32_t)take(r, 4);
        m->of_age[m->n_ages] = (uint32_t)take(r, 4);
        if (m->of_age[m->n_ages] == 0 || (m->n_ages > 0 && m->age[m->n_ages] <= m->age[m->n_ages - 1]))
            return false;
    }
    return true;
}

static bool read_bindings(struct model_state *m, struct rest *r)
{
    size_t n = r->n / 20;
    m->bindings = realloc(m->bindings, (m->n_bindings + n + 1) * sizeof(*m->bindings));
    m->in_section = realloc(m->in_section, (m->n_sections + 1) * sizeof(*m->in_section));
    if (!m->bindings || !m->in_section)
        abort();
    m->in_section[m->n_sections++] = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        struct model_binding *b = &m->bindings[m->n_bindings++];
        b->hash = take(r, 8);
        b->age_ms = (uint32_t)take(r, 4);
        b->bound_us = (uint32_t)take(r, 4);
        b->queue = (uint32_t)take(r, 2);
        b->cls = (uint32_t)take(r, 1);
        uint64_t unknown = 0;
        for (uint32_t bit = m->line_bits; bit < m->low; bit++)
            unknown |= UINT64_C(1) << bit;
        if (take(r, 1) != 0 || b->queue >= 32768 || b->cls < 1 || b->cls > 3 || b->hash & unknown || b->hash >> m->low == 0)
            return false;
    }
    return m->has[8];
}

static bool read_section(struct model_state *m, uint32_t type, struct rest *r)
{
    if (m->has[type] && type != 9)
        return false;
    m->has[type] = true;
    switch (type) {
    case 1:
        m->pairs = (uint32_t)take(r, 4);
        m->pairs_max = (uint32_t)take(r, 4);
        return m->pairs >= 1 && m->pairs <= m->pairs_max && m->pairs_max <= 32768;
    case 2:
        return read_rings(m, r);
    case 3:
        m->features = take(r, 8);
        return true;
    case 4:
        return read_hash(m, r);
    case 5:
        m->tunnels = (uint32_t)take(r, 4);
        return true;
    case 6:
        return read_keys(m, r);
    case 7:
        return read_fallback(m, r);
    case 8:
        return read_ages(m, r);
    case 9:
        return read_bindings(m, r);
    default:
        m->end_bindings = take(r, 8);
        m->end_left_out = take(r, 8);
        return m->end_bindings == m->n_bindings;
    }
}

bool model_state_read(struct model_state *m, const uint8_t *bytes, size_t n)
{
    struct rest all = {bytes, n, false};
    model_state_free(m);
    memset(m, 0, sizeof(*m));
    bool magic = take(&all, 8) == 0x89464c4f57510d0a;
    m->version = (uint32_t)take(&all, 4);
    m->compatible = (uint32_t)take(&all, 4);
    if (!magic || all.wrong || m->compatible > 1 || m->version < 1)
        return false;
    uint64_t sum = model_xxh64(bytes, 16, 0);
    while (!m->has[10]) {
        const uint8_t *from = all.at;
        uint32_t type = (uint32_t)take(&all, 4), length = (uint32_t)take(&all, 4);
        struct rest content = {all.at, length, false};
        if (all.n < length || (type >= 1 && type <= 10 && length > 256 * 1024))
            return false;
        all.at += length;
        all.n -= length;
        sum = model_xxh64(from, (size_t)(all.at - from), sum);
        if (take(&all, 8) != sum || all.wrong)
            return false;
        if (type < 1 || type > 10)
            continue;
        if (!read_section(m, type, &content) || content.wrong || content.n != 0)
            return false;
    }
    return true;
}

/* ---- Writing --------------------------------------------------------------------------------------------------------------- */

static void end_section(struct model_stream *to, uint32_t type, struct model_stream *content, uint64_t *sum)
{
    model_stream_section(to, type, content->bytes, content->n, sum);
    content->n = 0;
}

static void add_rings(const struct model_state *m, struct model_stream *c)
{
    add_number(c, m->rings_max, 4);
    add_number(c, 0, 4);
    for (uint32_t q = 0; q < m->rings_max; q += 64) {
        uint64_t bits[2] = {0, 0};
        for (uint32_t i = 0; i < 64 && q + i < m->rings_max; i++) {
            bits[0] |= (uint64_t)m->enabled[q + i] << i;
            bits[1] |= (uint64_t)m->resetting[q + i] << i;
        }
        add_number(c, bits[0], 8);
        add_number(c, bits[1], 8);
    }
}

static void add_hash(const struct model_state *m, struct model_stream *c)
{
    add_number(c, m->hash_kind, 4);
    add_number(c, m->hash_types, 4);
    model_stream_add(c, m->key, sizeof(m->key));
    add_number(c, m->table_length, 4);
    add_number(c, m->unclassified, 2);
    add_number(c, 0, 2);
    for (uint32_t i = 0; i < m->table_length; i++)
        add_number(c, m->table[i], 2);
}

static void add_keys(const struct model_state *m, struct model_stream *c)
{
    add_number(c, m->key_format, 4);
    add_number(c, m->key_bits, 4);
    add_number(c, m->key_tunnels, 4);
    add_number(c, m->key_tpid, 2);
    add_number(c, m->key_zero, 2);
    for (unsigned i = 0; i < 8; i++)
        add_number(c, m->key_ports[i], 2);
    model_stream_add(c, m->secret, sizeof(m->secret));
    for (size_t i = 0; i < m->key_more; i++)
        add_number(c, 0, 1);
}

static void add_ages(const struct model_state *m, struct model_stream *c)
{
    add_number(c, m->line_bits, 4);
    add_number(c, m->low, 4);
    for (uint32_t i = 0; i < m->n_ages; i++) {
        add_number(c, m->age[i], 4);
        add_number(c, m->of_age[i], 4);
    }
}

static void add_binding(const struct model_binding *b, struct model_stream *c)
{
    add_number(c, b->hash, 8);
    add_number(c, b->age_ms, 4);
    add_number(c, b->bound_us, 4);
    add_number(c, b->queue, 2);
    add_number(c, b->cls, 1);
    add_number(c, 0, 1);
}

static void add_content(const struct model_state *m, uint32_t type, struct model_stream *c)
{
    switch (type) {
    case 1:
        add_number(c, m->pairs, 4);
        add_number(c, m->pairs_max, 4);
        break;
    case 2:
        add_rings(m, c);
        break;
    case 3:
        add_number(c, m->features, 8);
        break;
    case 4:
        add_hash(m, c);
        break;
    case 5:
        add_number(c, m->tunnels, 4);
        break;
    case 6:
        add_keys(m, c);
        break;
    case 7:
        add_number(c, m->n_slots, 4);
        for (uint32_t i = 0; i < m->n_slots; i++)
            add_number(c, m->slot[i], 2);
        break;
    case 8:
        add_ages(m, c);
        break;
    default:
        add_number(c, m->end_bindings, 8);
        add_number(c, m->end_left_out, 8);
    }
}

void model_state_write(const struct model_state *m, struct model_stream *to)
{
    struct model_stream c = {.bytes = NULL};
    uint64_t sum;
    size_t at = 0;
    model_stream_header(to, m->version, m->compatible, &sum);
    for (uint32_t type = 1; type <= 10; type++) {
        for (size_t s = 0; type == 9 && s < m->n_sections; s++) {
            for (uint32_t i = 0; i < m->in_section[s]; i++)
                add_binding(&m->bindings[at++], &c);
            end_section(to, type, &c, &sum);
        }
        if (type == 9 || !m->has[type])
            continue;
        add_content(m, type, &c);
        end_section(to, type, &c, &sum);
    }
    free(c.bytes);
}

void model_state_free(struct model_state *m)
{
    free(m->bindings);
    free(m->in_section);
    m->bindings = NULL;
    m->in_section = NULL;
}
