/*
 * toeplitz: the hash of receive-side scaling, over addresses and ports as they stand in the packet.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Bit h of the hash (the first is the highest) is the sum modulo 2 of input bit q and key bit q + h, over all q: so the hash of a
 * sum is the sum of the hashes, and what is zero adds nothing. A tuple without ports is one whose ports are zero. A key that is
 * too short goes on with zeros; one of TOEPLITZ_KEY_BYTES reaches as far as the longest tuple needs.
 *
 * Three ways that give the same:
 *
 *     wide         each byte of the hash is a sum of input bytes times matrices of 8 x 8 bits out of the key; one instruction
 *                  (GFNI) does four matrices for two packets at once.
 *     tables       for each place in the input, what each of 256 values adds: 1 KiB a place. They are built with the first
 *                  packet that needs them, for IPv6 apart from IPv4, as a guest may send keys that no packet ever meets.
 *     bit by bit   for packets that come while another thread builds the tables.
 *
 * One struct belongs to one key for good. Any thread may hash with it at any time.
 */
#ifndef FLOWQ_LIB_TOEPLITZ_H
#define FLOWQ_LIB_TOEPLITZ_H

#include <stddef.h>

#include "atomic.h"

#define TOEPLITZ_KEY_BYTES 40 /* 32 bits further than the longest tuple: two IPv6 addresses and two ports */
#define TOEPLITZ_MATRICES  44 /* as many places as there are in the key, and to the end of a vector */

/* What the tables of one key take; tables[place][value]. */
struct toeplitz_tables {
    uint32_t sum[TOEPLITZ_KEY_BYTES][256];
};

struct toeplitz {
    uint64_t matrix[TOEPLITZ_MATRICES]; /* aligned to 32, as the struct is */
    uint8_t key[TOEPLITZ_KEY_BYTES + 8];
    struct toeplitz_tables *tables; /* NULL: there are none */
    atomic_u8 built[2];             /* of the tables: the places of an IPv4 tuple, the rest */
} __attribute__((aligned(32)));

/*
 * A tuple, in memory order: source address, destination address, source port, destination port; zeros follow. The words of a
 * struct key are made so.
 */
struct toeplitz_input {
    uint64_t word[5];
};
#define TOEPLITZ_V4_BYTES 12
#define TOEPLITZ_V6_BYTES 36

/* Does this machine have the instructions for the wide way? */
bool toeplitz_is_wide(void);

/* n: bytes of the key, at most TOEPLITZ_KEY_BYTES. tables: room for them, or NULL, where the wide way is there. */
void toeplitz_init(struct toeplitz *t, const void *key, size_t n, struct toeplitz_tables *tables);

/* Hashes n tuples of one IP version; bytes: TOEPLITZ_V4_BYTES or TOEPLITZ_V6_BYTES. */
void toeplitz_burst(struct toeplitz *t, const struct toeplitz_input *in, unsigned n, unsigned bytes, uint32_t *hash);

/* The same in one way of the three, for tests and benchmarks; the wide one only if toeplitz_is_wide(). */
typedef void toeplitz_fn(struct toeplitz *t, const struct toeplitz_input *in, unsigned n, unsigned bytes, uint32_t *hash);
toeplitz_fn toeplitz_burst_wide, toeplitz_burst_tables;

/* Bit by bit, over any bytes. */
uint32_t toeplitz_bits(const struct toeplitz *t, const uint8_t *in, size_t n);

#endif
