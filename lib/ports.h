/*
 * ports: the parser's UDP ports as a setting, which may change while packets are parsed.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Two words, each of which changes at once; nobody but these two functions knows what lies where in them.
 */
#ifndef FLOWQ_LIB_PORTS_H
#define FLOWQ_LIB_PORTS_H

#include <string.h>

#include "atomic.h"
#include "parse.h"

struct ports {
    atomic_u64 word[2];
};
_Static_assert(PARSE_N_PORTS * sizeof(uint16_t) <= 2 * sizeof(uint64_t), "they fit");

static inline void ports_store(struct ports *p, const uint16_t port[PARSE_N_PORTS])
{
    uint64_t word[2] = {0, 0};
    memcpy(word, port, PARSE_N_PORTS * sizeof(uint16_t));
    u64_store_relaxed(&p->word[0], word[0]);
    u64_store_relaxed(&p->word[1], word[1]);
}

static inline void ports_load(const struct ports *p, uint16_t port[PARSE_N_PORTS])
{
    const uint64_t word[2] = {u64_load_relaxed(&p->word[0]), u64_load_relaxed(&p->word[1])};
    memcpy(port, word, PARSE_N_PORTS * sizeof(uint16_t));
}

#endif
