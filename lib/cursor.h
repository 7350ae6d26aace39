/*
 * cursor: what is left of the bytes being read.
 *
 * A cursor moves by two verbs, both checked by subtraction from what is left: take() gives the place of the next bytes, skip()
 * passes them over. Neither goes back. What take() gave is read by the read_*() functions and copy_out() alone, no byte twice:
 * each loads once and keeps what it loaded, so that memory that a guest changes meanwhile does not change under a check that has
 * been made. Cursors are passed by value, and so stay in registers.
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

/* The next n bytes, which have been taken; NULL, and nothing is taken, if fewer are left. */
static inline const uint8_t *take(struct cursor *c, size_t n)
{
    const uint8_t *taken = c->at;
    if (n > c->left)
        return NULL;
    c->at += n;
    c->left -= n;
    return taken;
}

/* Passes over the next n bytes; false if fewer are left. */
static inline bool skip(struct cursor *c, size_t n)
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

/* Loads that are not repeated, wherever they are. */
struct cursor_16 {
    uint16_t value;
} __attribute__((packed, may_alias));
struct cursor_32 {
    uint32_t value;
} __attribute__((packed, may_alias));
struct cursor_64 {
    uint64_t value;
} __attribute__((packed, may_alias));

/* Bytes in memory order, */
static inline uint8_t read_u8(const uint8_t *p)
{
    CURSOR_READ(p, 1);
    return *(const volatile uint8_t *)p;
}

static inline uint32_t read_raw32(const uint8_t *p)
{
    CURSOR_READ(p, 4);
    return ((const volatile struct cursor_32 *)p)->value;
}

static inline uint64_t read_raw64(const uint8_t *p)
{
    CURSOR_READ(p, 8);
    return ((const volatile struct cursor_64 *)p)->value;
}

/* and in network byte order. */
static inline uint16_t read_be16(const uint8_t *p)
{
    CURSOR_READ(p, 2);
    return be16toh(((const volatile struct cursor_16 *)p)->value);
}

static inline uint32_t read_be32(const uint8_t *p) { return be32toh(read_raw32(p)); }

/* The fence keeps the compiler from loading the same bytes again later instead of keeping the copy. */
static inline void copy_out(void *dst, const uint8_t *p, size_t n)
{
    CURSOR_READ(p, n);
    memcpy(dst, p, n);
    atomic_signal_fence(memory_order_seq_cst);
}

#endif
