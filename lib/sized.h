/*
 * sized: structs of the public interface that begin with `uint32_t size`, which the caller set to what sizeof is to him: his
 * version's, older or newer than the library's. What both know is what counts.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_LIB_SIZED_H
#define FLOWQ_LIB_SIZED_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Least size of a struct that is written: `size` and the field behind it. */
#define SIZED_OUT_MIN 8

/* The end of a field: the least size of a struct that is read is that of the last field of version 0.9. */
#define SIZED_END(type, field) (offsetof(type, field) + sizeof(((type *)0)->field))

static inline uint32_t sized_of(const void *s)
{
    uint32_t size;
    memcpy(&size, s, sizeof(size));
    return size;
}

/*
 * A struct that is read. Fills the `known` bytes at out with what the caller has of them, zero behind that; size included, as he
 * set it. 0; -EINVAL: he has less than `least`, and nothing is copied; -E2BIG: what only he knows is not all zero, which would
 * ask for something.
 */
static inline int sized_read(void *out, size_t known, const void *in, size_t least)
{
    size_t size = sized_of(in);
    memset(out, 0, known);
    if (size < least)
        return -EINVAL;
    memcpy(out, in, size < known ? size : known);
    for (size_t i = known; i < size; i++)
        if (((const char *)in)[i] != 0)
            return -E2BIG;
    return 0;
}

static inline bool sized_can_take(const void *out) { return sized_of(out) >= SIZED_OUT_MIN; }

/* A struct that is written, if sized_can_take(out): as much of the `known` bytes at from as the caller has room for, and in
   `size` how much that was. */
static inline void sized_write(void *out, const void *from, size_t known)
{
    size_t room = sized_of(out);
    uint32_t n = room < known ? (uint32_t)room : (uint32_t)known;
    memcpy(out, from, n);
    memcpy(out, &n, sizeof(n));
}

#endif
