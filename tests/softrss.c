/*
 * softrss: see softrss.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wpointer-arith"
#include <rte_thash.h>
#pragma GCC diagnostic pop

#include <string.h>

#include "softrss.h"

uint32_t softrss(const uint8_t key[40], const uint8_t *in, unsigned n)
{
    uint32_t tuple[9];
    uint8_t k[40];
    memcpy(k, key, sizeof(k));
    memcpy(tuple, in, n);
    for (unsigned i = 0; i < n / 4; i++)
        tuple[i] = rte_be_to_cpu_32(tuple[i]);
    return rte_softrss(tuple, n / 4, k);
}
