/*
 * scenario_builder: a packet under construction, header by header.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_SCENARIO_BUILDER_H
#define FLOWQ_TESTS_SCENARIO_BUILDER_H

#include "scenario_packet.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* What the field that waits for the number of the next header counts in. */
enum numbers {
    NOTHING, /* there is no such field, and anything may follow */
    ETHERTYPE,
    PROTOCOL, /* of IP */
    GPE,      /* of VXLAN-GPE (draft-ietf-nvo3-vxlan-gpe, 3.2); NSH's are the same (RFC 8300, 2.2) */
    PPP,
    BOTTOM, /* MPLS: only whether this was the last label */
};

enum length { LENGTH_IP4, LENGTH_IP6, LENGTH_UDP, LENGTH_GTPU, LENGTH_PPPOE, LENGTH_ND_OPTION };

#define LAYERS 32

struct builder {
    struct packet *p;
    char *const *word;
    size_t n_words, at;
    char *error;
    size_t error_size;
    bool failed;
    enum numbers numbers;
    uint32_t number_at, number_bytes;
    size_t n_open;
    struct {
        uint32_t at;
        enum length length;
        bool wrong; /* a wrong checksum is asked for */
    } open[LAYERS];
};

struct layer {
    const char *name;
    void (*build)(struct builder *b, const struct layer *layer);
    int number[BOTTOM]; /* by enum numbers; 0 or less: it cannot follow such a header, but for `hop`, which is 0 */
    uint32_t detail;
};

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static inline void
fail(struct builder *b, const char *format, ...)
{
    va_list args;
    if (b->failed)
        return;
    b->failed = true;
    va_start(args, format);
    vsnprintf(b->error, b->error_size, format, args);
    va_end(args);
}

/* The last bytes of value, zeros before them. */
static inline void put(struct builder *b, uint64_t value, uint32_t bytes)
{
    while (bytes-- > 0) {
        if (b->p->len == PACKET_MAX)
            fail(b, "more than %d bytes", PACKET_MAX);
        else
            b->p->bytes[b->p->len++] = (uint8_t)(bytes < sizeof(value) ? value >> 8 * bytes : 0);
    }
}

static inline void put_bytes(struct builder *b, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put(b, bytes[i], 1);
}

static inline void set(struct builder *b, uint32_t at, uint64_t value, uint32_t bytes)
{
    while (bytes-- > 0 && at < b->p->len)
        b->p->bytes[at++] = (uint8_t)(value >> 8 * bytes);
}

static const char *peek(const struct builder *b) { return b->at < b->n_words ? b->word[b->at] : ""; }

/* Takes the next word if it is this one. */
static inline bool taken(struct builder *b, const char *word)
{
    if (strcmp(peek(b), word) != 0)
        return false;
    b->at++;
    return true;
}

static inline uint64_t take_number(struct builder *b, const char *what, uint64_t max)
{
    uint64_t value = 0;
    if (word_number(peek(b), max, &value) != 0)
        fail(b, "\"%s\" is no %s", peek(b), what);
    b->at++;
    return value;
}

static inline unsigned take_address(struct builder *b, uint8_t address[16])
{
    unsigned version = word_address(peek(b), address);
    if (!version)
        fail(b, "\"%s\" is no address", peek(b));
    b->at++;
    return version;
}

static inline void take_arrow(struct builder *b)
{
    if (!taken(b, ">"))
        fail(b, "\"%s\" stands where \">\" is wanted", peek(b));
}

/* From here, a number of this kind tells what follows. */
static inline void number_here(struct builder *b, enum numbers numbers, uint32_t bytes)
{
    b->numbers = numbers;
    b->number_at = b->p->len;
    b->number_bytes = bytes;
    put(b, 0, bytes);
}

static inline void length_here(struct builder *b, enum length length)
{
    if (b->n_open == LAYERS) {
        fail(b, "more than %d headers with a length", LAYERS);
        return;
    }
    b->open[b->n_open].at = b->p->len;
    b->open[b->n_open].wrong = false;
    b->open[b->n_open++].length = length;
}

/* Tells the header before which one follows. */
static inline void announce(struct builder *b, const struct layer *layer, const int number[BOTTOM])
{
    if (b->numbers == BOTTOM) {
        if (strcmp(layer->name, "mpls") != 0)
            b->p->bytes[b->number_at] |= 1;
    } else if (b->numbers != NOTHING) {
        int value = number[b->numbers];
        if (value == 0 || (b->number_bytes == 1 && value > 0xff))
            fail(b, "%s cannot follow there", layer->name);
        set(b, b->number_at, value > 0 ? (uint64_t)value : 0, b->number_bytes);
    }
    b->numbers = NOTHING;
}

/* Appends the header with this name: takes the words that belong to it. */
void header_build(struct builder *b, const char *name);

#endif
