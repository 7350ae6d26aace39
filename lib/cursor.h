/*
 * cursor: what is left of the bytes being read.
 *
 * Two verbs, both checked by subtraction from what is left: take() copies the next bytes out, skip() passes them over unread.
 * Neither goes back, so no byte is copied twice. The fence after the copy keeps the compiler from loading the same bytes again
 * later instead of keeping the copy: memory that a guest changes meanwhile must not change under a check that has been made.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_LIB_CURSOR_H
#define FLOWQ_LIB_CURSOR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct cursor {
    const uint8_t *at;
    size_t left;
};

/* A test counts here how often each byte is read. */
#ifndef CURSOR_COPY
#define CURSOR_COPY(dst, src, n) memcpy(dst, src, n)
#endif

/* Copies the next n bytes out; false, and nothing is taken, if fewer are left. */
static inline bool take(struct cursor *c, void *dst, size_t n)
{
    if (n > c->left)
        return false;
    CURSOR_COPY(dst, c->at, n);
    atomic_signal_fence(memory_order_seq_cst);
    c->at += n;
    c->left -= n;
    return true;
}

/* Passes over the next n bytes without reading them; false if fewer are left. */
static inline bool skip(struct cursor *c, size_t n)
{
    if (n > c->left)
        return false;
    c->at += n;
    c->left -= n;
    return true;
}

static inline uint16_t load_be16(const uint8_t *b) { return (uint16_t)(b[0] << 8 | b[1]); }

static inline uint32_t load_be32(const uint8_t *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

#endif
