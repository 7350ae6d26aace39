/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * saved: vms that are saved and loaded, for tests.
 */
#ifndef FLOWQ_TESTS_SAVED_H
#define FLOWQ_TESTS_SAVED_H

#include <errno.h>
#include <stdlib.h>

#include "example.h"
#include "model_state.h"

static inline int add_to_stream(void *ctx, const void *data, size_t size)
{
    ck_assert_uint_gt(size, 0);
    ck_assert_uint_le(size, 4096);
    model_stream_add(ctx, data, size);
    return 0;
}

static inline struct model_stream saved_parts(struct flowq_vm *from, uint32_t what, uint64_t bindings_bytes)
{
    struct model_stream s = {.bytes = NULL};
    ck_assert_int_eq(flowq_vm_save(from, what, bindings_bytes, add_to_stream, &s), 0);
    return s;
}

static inline struct model_stream saved(struct flowq_vm *from)
{
    return saved_parts(from, FLOWQ_STATE_ALL, FLOWQ_STATE_UNLIMITED);
}

/* Bytes that are read, `piece` at a time. */
struct reading {
    const uint8_t *bytes;
    size_t n, at, piece;
};

static inline int64_t read_stream(void *ctx, void *data, size_t size)
{
    struct reading *r = ctx;
    size_t n = r->n - r->at < size ? r->n - r->at : size;
    n = r->piece && n > r->piece ? r->piece : n;
    memcpy(data, r->bytes + r->at, n);
    r->at += n;
    return (int64_t)n;
}

static inline int load_bytes(struct flowq_vm *to, uint32_t what, const uint8_t *bytes, size_t n, struct flowq_loaded *loaded)
{
    struct reading r = {.bytes = bytes, .n = n};
    struct flowq_loaded unused;
    loaded = loaded ? loaded : &unused;
    memset(loaded, 0, sizeof(*loaded));
    loaded->size = sizeof(*loaded);
    int result = flowq_vm_load(to, what, read_stream, &r, loaded);
    ck_assert(result != 0 || r.at == n);
    return result;
}

static inline struct flowq_loaded load_stream(struct flowq_vm *to, uint32_t what, const struct model_stream *s)
{
    struct flowq_loaded l;
    ck_assert_int_eq(load_bytes(to, what, s->bytes, s->n, &l), 0);
    ck_assert_uint_eq(l.size, sizeof(l));
    return l;
}

static inline struct flowq_vm *make_vm(const struct flowq_vm_config *c)
{
    struct flowq_vm *made;
    ck_assert_int_eq(flowq_vm_create(c, &made), 0);
    return made;
}

/* By hash, so that streams of two tables can be compared. */
static inline int by_hash(const void *a, const void *b)
{
    uint64_t x = ((const struct model_binding *)a)->hash, y = ((const struct model_binding *)b)->hash;
    return x < y ? -1 : x > y;
}

static inline void sort_bindings(struct model_state *m)
{
    if (m->n_bindings)
        qsort(m->bindings, m->n_bindings, sizeof(*m->bindings), by_hash);
}

static inline struct model_state *read_model(const struct model_stream *s)
{
    struct model_state *m = calloc(1, sizeof(*m));
    ck_assert_ptr_nonnull(m);
    ck_assert(model_state_read(m, s->bytes, s->n));
    return m;
}

static inline void free_model(struct model_state *m)
{
    model_state_free(m);
    free(m);
}

static inline bool knows(struct flowq_vm *of, struct flowq_tuple t)
{
    struct flowq_tuple in = tuple_reverse(&t);
    struct flowq_binding b = {.size = sizeof(b)};
    return flowq_vm_lookup(of, &in, &b) == 0;
}

#endif
