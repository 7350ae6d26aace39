/*
 * captures: capture files of other projects with what an independent dissector says of each packet, read from the folder that the
 * environment variable FLOWQ_CAPTURES names (expected.csv, disagree.csv and the files they speak of).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_CAPTURES_H
#define FLOWQ_TESTS_CAPTURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CAPTURE_FIELD 128
#define CAPTURE_NAME  64

enum capture_field { CAPTURE_OUTER, CAPTURE_INNER, CAPTURE_QUOTED, CAPTURE_VLANS, CAPTURE_TCP, CAPTURE_N_FIELDS };

/* One packet, as one row of expected.csv. Tuples: version/protocol/source/port/destination/port/fragment/id/stream. */
struct capture_row {
    char file[CAPTURE_NAME];
    unsigned frame; /* from 1 */
    char field[CAPTURE_N_FIELDS][CAPTURE_FIELD];
    bool disputed[CAPTURE_N_FIELDS]; /* another dissector disagrees: not to be judged by */
};

struct capture_packet {
    const struct capture_row *row;
    const uint8_t *data;
    uint32_t len;
    uint32_t flags; /* of struct flowq_pkt */
};

struct captures {
    struct capture_row *rows;
    size_t n_rows;
    size_t n_packets; /* given to the function by capture_each */
    size_t n_skipped; /* of link types that flowq does not know */
};

/* Reads the two lists. False: they cannot be read, which has been said on stderr. */
bool captures_load(struct captures *c, const char *folder);
void captures_free(struct captures *c);

/*
 * Calls fn for each packet of each capture that begins with Ethernet or IP. False: a file could not be read, as said on stderr.
 */
bool captures_each(struct captures *c, const char *folder, void (*fn)(void *ctx, const struct capture_packet *packet), void *ctx);

#endif
