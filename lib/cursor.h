/*
 * cursor: what is left of the bytes being read.
 *
 * A cursor moves by two verbs, both checked by subtraction from what is left: cursor_take() gives the place of the next bytes,
 * cursor_skip() passes them over. Neither goes back. What cursor_take() gave (and, in ipv6_options(), what was compared with
 * `left` there) is read by the read_*() functions and cursor_copy() alone, no byte twice: each loads once and keeps what it
 * loaded, so that memory that a guest changes meanwhile does not change under a check that has been made. Cursors are passed by
 * value: they stay in registers.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_LIB_CURSOR_H
#define FLOWQ_LIB_CURSOR_H

#include <endian.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct cursor {
    const uint8_t *at;
    size_t left;
};

/* Takes the next n bytes, which begin at *bytes; false, and nothing is taken, if fewer are left. */
static inline bool cursor_take(struct cursor *c, size_t n, const uint8_t **bytes)
{
    if (n > c->left)
        return false;
    *bytes = c->at;
    c->at += n;
    c->left -= n;
    return true;
}

/* Passes over the next n bytes; false if fewer are left. */
static inline bool cursor_skip(struct cursor *c, size_t n)
{
    if (n > c->left)
        return false;
    c->at += n;
    c->left -= n;
    return true;
}

/* A test counts here how often each byte is read. */
#ifndef CURSOR_READ
#define CURSOR_READ(p, n) ((void)0)
#endif

/* The compiler cannot know where this came from, and so not load it again. */
static inline size_t cursor_keep(size_t value)
{
    __asm__ volatile("" : "+r"(value));
    return value;
}

/* A byte, as wide as lengths are that are worked out from it; bytes in memory order, */
static inline size_t cursor_u8(const uint8_t *p)
{
    CURSOR_READ(p, 1);
    return cursor_keep(*p);
}

static inline uint32_t cursor_raw32(const uint8_t *p)
{
    uint32_t value;
    CURSOR_READ(p, sizeof(value));
    memcpy(&value, p, sizeof(value));
    return (uint32_t)cursor_keep(value);
}

/* and in network byte order. */
static inline uint32_t cursor_be16(const uint8_t *p)
{
    uint16_t value;
    CURSOR_READ(p, sizeof(value));
    memcpy(&value, p, sizeof(value));
    return be16toh((uint16_t)cursor_keep(value));
}

static inline uint32_t cursor_be32(const uint8_t *p) { return be32toh(cursor_raw32(p)); }

/* The fence keeps the compiler from loading the same bytes again later instead of keeping the copy. */
static inline void cursor_copy(void *dst, const uint8_t *p, size_t n)
{
    CURSOR_READ(p, n);
    memcpy(dst, p, n);
    atomic_signal_fence(memory_order_seq_cst);
}

#endif
