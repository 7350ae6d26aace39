/*
 * scenario_packet: a packet as a line of text. See check_scenarios.c for the words.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_SCENARIO_PACKET_H
#define FLOWQ_TESTS_SCENARIO_PACKET_H

#include <stddef.h>
#include <stdint.h>

#define PACKET_MAX 1024

struct packet {
    uint32_t len;
    uint32_t flags; /* FLOWQ_PKT_L3 where there is no Ethernet header */
    uint8_t bytes[PACKET_MAX];
};

/* Makes a packet of n words. Returns 0, or -1 and what is wrong with them. */
int packet_from_words(struct packet *p, char *const *words, size_t n, char *error, size_t error_size);

/* A whole word as a number, decimal or with 0x, at most max. Returns 0 or -1. */
int word_number(const char *word, uint64_t max, uint64_t *out);
/* An address, as 4 or 16 bytes. Returns 4 or 6, or 0: it is none. */
unsigned word_address(const char *word, uint8_t out[16]);
/* Pairs of hexadecimal digits. Returns how many bytes, or -1: it is something else, or more than max. */
int word_hex(const char *word, uint8_t *out, size_t max);

#endif
