/*
 * softrss: DPDK's Toeplitz hash, where DPDK is installed. A file of its own, as DPDK's headers want flags of their own.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_SOFTRSS_H
#define FLOWQ_TESTS_SOFTRSS_H

#include <stdint.h>

/* n: a multiple of 4, at most 36. */
uint32_t softrss(const uint8_t key[40], const uint8_t *in, unsigned n);

#endif
