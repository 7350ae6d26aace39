/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * model_state: saved state by its definition, flowq-state(5), and nothing else: a naive reader and a naive writer.
 */
#ifndef FLOWQ_TESTS_MODEL_STATE_H
#define FLOWQ_TESTS_MODEL_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MODEL_STATE_QUEUES = 32768, MODEL_STATE_SLOTS = 65536, MODEL_STATE_TYPES = 11 };

struct model_binding {
    uint64_t hash;
    uint32_t age_ms, bound_us, queue, cls;
};

struct model_state {
    uint32_t version, compatible;
    bool has[MODEL_STATE_TYPES];
    uint32_t pairs, pairs_max;
    uint32_t rings_max;
    bool enabled[MODEL_STATE_QUEUES], resetting[MODEL_STATE_QUEUES];
    uint64_t features;
    uint32_t hash_kind, hash_types, table_length, unclassified;
    uint8_t key[40];
    uint16_t table[MODEL_STATE_QUEUES];
    uint32_t tunnels;
    uint32_t key_format, key_bits, key_tunnels, key_tpid, key_zero, key_ports[8];
    uint8_t secret[32];
    size_t key_more; /* bytes behind the secret, of another format; they are written as zeros */
    uint32_t n_slots;
    uint16_t slot[MODEL_STATE_SLOTS];
    uint32_t line_bits, low, n_ages;
    uint32_t age[2048], of_age[2048];
    struct model_binding *bindings; /* of n_bindings; malloc */
    size_t n_bindings;
    uint32_t *in_section; /* how many are in each section; malloc */
    size_t n_sections;
    uint64_t end_bindings, end_left_out;
};

/* A stream is made and read here. */
struct model_stream {
    uint8_t *bytes; /* malloc */
    size_t n, room;
};
void model_stream_add(struct model_stream *s, const void *bytes, size_t n);
void model_stream_free(struct model_stream *s);
/* The header with the first sum, and sections with theirs. */
void model_stream_header(struct model_stream *s, uint32_t version, uint32_t compatible, uint64_t *sum);
void model_stream_section(struct model_stream *s, uint32_t type, const uint8_t *content, size_t n, uint64_t *sum);

/* XXH64 as its specification has it. */
uint64_t model_xxh64(const uint8_t *bytes, size_t n, uint64_t seed);

/* Zeroed, or filled before. False: the stream is not as the page says. */
bool model_state_read(struct model_state *m, const uint8_t *bytes, size_t n);
void model_state_write(const struct model_state *m, struct model_stream *to);
void model_state_free(struct model_state *m);

#endif
