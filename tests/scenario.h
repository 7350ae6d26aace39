/*
 * scenario: a file of steps, read. See check_scenarios.c for the words.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_SCENARIO_H
#define FLOWQ_TESTS_SCENARIO_H

#include "flowq.h"
#include "scenario_packet.h"

#include <stdbool.h>
#include <stdio.h>

#define SCENARIO_TABLE 128 /* entries of an RSS table: what a vm offers by default */
#define SCENARIO_KEY   40  /* bytes of its key, likewise */
#define ANY            0xffffffffu

enum step_kind {
    STEP_CFG, /* a vm is made */
    STEP_TX,
    STEP_RX,
    STEP_ENABLED,
    STEP_RESETTING,
    STEP_PAIRS,
    STEP_RESET,
    STEP_RSS,
    STEP_HASH,
    STEP_HASH_TUNNELS,
    STEP_WAIT,
    STEP_LOOKUP
};

/* A queue by number, or a letter: the queue that the first rx with this letter was answered, plus so many, in turn. */
struct queue_ref {
    char letter; /* 0: none */
    uint32_t number;
};

enum want { WANT_QUEUE, WANT_SAME, WANT_SPREAD, WANT_DROP, WANT_ANY, WANT_NONE };

struct step {
    enum step_kind kind;
    unsigned line;
    enum want want;         /* of rx and lookup */
    struct queue_ref queue; /* of tx, rx, lookup, on, off, resetting */
    bool on;                /* on, off, resetting */
    bool fixed_secret;      /* cfg: secret=test */
    char group[16];         /* of same and spread */
    uint32_t number;        /* pairs, milliseconds, parts to reset, hash types, tunnels */
    uint32_t note;          /* right outcome of tx, FLOWQ_NOTE_*, or ANY */
    uint32_t reason, cls;   /* likewise of rx and lookup */
    uint32_t report, hash;  /* likewise */
    struct packet packet;
    struct flowq_tuple tuple;
    struct flowq_vm_config config; /* without clock and secret */
    struct flowq_rss rss;          /* without pointers */
    uint16_t table[SCENARIO_TABLE];
    uint8_t key[SCENARIO_KEY];
};

struct scenario {
    struct step *step;
    size_t n;
};

/* Reads a file; path is its name. Returns 0, or -1 and "path:line: what is wrong". Either way it is to be freed. */
int scenario_read(FILE *file, const char *path, struct scenario *s, char *error, size_t error_size);
void scenario_free(struct scenario *s);

/* Bytes of struct flowq_vm_config that the settings of a scenario can name. */
size_t scenario_settings_bytes(void);

#endif
