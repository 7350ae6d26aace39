/*
 * naive: the Toeplitz hash by its definition, bit by bit.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_NAIVE_H
#define FLOWQ_TESTS_NAIVE_H

#include <string.h>

#include "flowq.h"

static inline unsigned naive_bit(const uint8_t *bytes, size_t n, size_t i)
{
    return i / 8 < n ? bytes[i / 8] >> (7 - i % 8) & 1 : 0;
}

/* The key goes on with zeros. */
static inline uint32_t naive_hash(const uint8_t *key, size_t key_bytes, const uint8_t *in, size_t n)
{
    uint32_t hash = 0;
    for (unsigned h = 0; h < 32; h++) {
        unsigned sum = 0;
        for (size_t i = 0; i < 8 * n; i++)
            sum ^= naive_bit(in, n, i) & naive_bit(key, key_bytes, i + h);
        hash |= (uint32_t)sum << (31 - h);
    }
    return hash;
}

/* Of a packet from t->src to t->dst. */
static inline uint32_t naive_hash_tuple(const uint8_t *key, size_t key_bytes, const struct flowq_tuple *t, bool ports)
{
    uint8_t in[36];
    size_t address = t->version == 4 ? 4 : 16;
    memcpy(in, t->src, address);
    memcpy(in + address, t->dst, address);
    const uint8_t p[4] = {(uint8_t)(t->sport >> 8), (uint8_t)t->sport, (uint8_t)(t->dport >> 8), (uint8_t)t->dport};
    memcpy(in + 2 * address, p, 4);
    return naive_hash(key, key_bytes, in, 2 * address + (ports ? 4 : 0));
}

#endif
