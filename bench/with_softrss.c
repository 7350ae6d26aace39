/*
 * with_softrss: DPDK's Toeplitz hash.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wpointer-arith"
#include <rte_thash.h>
#pragma GCC diagnostic pop

#include "bench.h"

/* Turned once, as a program would do it. */
static uint32_t turned[10];

void softrss_key(const uint8_t key[40])
{
    uint32_t words[10];
    __builtin_memcpy(words, key, sizeof(words));
    rte_convert_rss_key(words, turned, (int)sizeof(words));
}

uint32_t softrss_be(uint32_t *words, unsigned bytes) { return rte_softrss_be(words, bytes / 4, (const uint8_t *)turned); }
