/*
 * model_bytes: what the parts of the naive parser share (model_parse.c, model_guess.c).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_MODEL_BYTES_H
#define FLOWQ_TESTS_MODEL_BYTES_H

#include "parse.h"

struct bytes {
    uint8_t b[256];
    int n;
};

/* The big-endian number of `size` bytes at `at`; -1 if one of them is missing. */
static inline long long number(const struct bytes *p, int at, int size)
{
    long long v = 0;
    for (int i = at; i < at + size; i++) {
        if (i < 0 || i >= p->n)
            return -1;
        v = v * 256 + p->b[i];
    }
    return v;
}

/* Whether IP is here, by its first bits, its checksum and its length. */
enum { MODEL_NO, MODEL_PERHAPS, MODEL_YES, MODEL_CERTAIN };
int model_ip_holds(const struct bytes *p, int at);

/* The same, where a frame would be the other thing that it may be. */
bool model_ip_is_likely(const struct bytes *p, int at, const struct parse_rules *rules);

/* A frame with IP in it. */
bool model_frame_holds(const struct bytes *p, int at, const struct parse_rules *rules);

/* An ethertype of VLAN tags. */
bool model_is_tag(long long type, const struct parse_rules *rules);

/* Writes where the packet goes in the end by the routing header at `at`, which is whole; false: the header makes no sense. */
bool model_last_segment(const struct bytes *p, int at, uint8_t dst[16]);

#endif
