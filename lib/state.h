/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * state: a vm as a stream of bytes, for the process that comes after this one (flowq_vm_save(), flowq_vm_load()).
 *
 * flowq-state(5) is the definition of the format; what is here are its numbers. A header of magic, version and the oldest version
 * whose readers can read it, as passt's migration has it; then sections, each type, length, content and a check sum over itself
 * and, by way of its seed, all that came before. So no bit of a stream can change, and no section go, come or move, unnoticed
 * (nothing here keeps somebody from making another stream, with sums that are right). All numbers are big-endian.
 *
 *     state.c        bytes in, bytes out; the calls for file descriptors
 *     state_save.c   from the vm to the stream
 *     state_load.c   from the stream to a vm: sections, one after the other, are checked and put aside; then all is taken over
 *     state_place.c  bindings, into a table that nobody sees yet
 *
 * WHAT IS SAVED OF A FLOW is what a word of the table says, and the bits of its hash that its place implies: those of its tag,
 * and as many of the lowest as choose its home line. Whoever loads needs no more bits than there are: a vm of fewer queue pairs,
 * whose tags are longer, makes them as short as they were, and one with larger shards makes smaller ones. Bits that it does not
 * need are cut off. Fragments (frag.h) are not saved: a datagram lives for 30 s, its entry hangs on a generation that a vm counts
 * for itself, and what was between the fragments when the process went is lost with it; later ones take the fallback.
 *
 * SAVING runs beside everything. The table is walked by positions in the space of hashes, which do not move when shards are split
 * or merged (table_walk()), a shard in one section, and written when the section is closed. Of a shard, home lines come first and
 * then second ones, so that a flow which moves aside meanwhile is met in one of them (T-B); of a shard that is superseded
 * meanwhile, the rest of the range is found at the next position, and what of that has been shown is left out. A flow in a frozen
 * slot is looked up where it is now (its class is not in the slot any more).
 *
 * The table is walked twice: first to count how many bindings there are of each age. That tells which ages fit in the budget,
 * and it goes into the stream, so that whoever has less room knows in advance which are the newest. Within that, bindings come
 * in the order of the table: sorted, they would take a copy, and passes one age after another would miss a flow that is noted
 * between two of them. Ages count from the beginning, so what is noted later is new.
 *
 * LOADING is all or nothing: bindings go into a table of its own, for which room is made at once, as the number of them is known;
 * everything that can fail comes before the first change of the vm. The table's order is that of the stream, so lines are met
 * one shard after the other, and nearly no flow waits for memory.
 */
#ifndef FLOWQ_LIB_STATE_H
#define FLOWQ_LIB_STATE_H

#include "flowq.h"
#include "hash.h"
#include "table.h"

#define STATE_MAGIC      UINT64_C(0x89464c4f57510d0a) /* "\211FLOWQ\r\n": a transfer as text would show */
#define STATE_VERSION    1                            /* what we write; and the newest that we read */
#define STATE_COMPATIBLE 1                            /* readers of this version can read it, too */
#define STATE_KEY_FORMAT 1                            /* of keys (key.h) and their hashes (hash.h): raised when either changes */

enum state_type {
    STATE_PAIRS = 1,
    STATE_RINGS,
    STATE_FEATURES,
    STATE_HASH,
    STATE_TUNNELS,
    STATE_KEYS,     /* FLOWQ_STATE_FLOWS: settings of keys, secret */
    STATE_FALLBACK, /* slots */
    STATE_AGES,     /* of the bindings that follow, and what is known of their hashes */
    STATE_BINDINGS,
    STATE_END,
    STATE_TYPES
};

#define STATE_HEADER_BYTES  16 /* magic, version, compatible version */
#define STATE_SECTION_BYTES 8  /* type, length */
#define STATE_SUM_BYTES     8
#define STATE_BINDING_BYTES 20
#define STATE_AGE_BYTES     8
#define STATE_KEYS_BYTES    64
#define STATE_KEY_BYTES     40 /* of virtio's hash: all that count */
#define STATE_HASH_BYTES    (16 + STATE_KEY_BYTES)
/* The content of a section that we know is no longer: the slots of 32768 queue pairs are 128 KiB. */
#define STATE_CONTENT_MAX (256u << 10)
/* A stream is no longer: 2^27 bindings are 2.5 GiB. */
#define STATE_STREAM_MAX   (UINT64_C(4) << 30)
#define STATE_LONG_BOUND   UINT32_MAX /* bound longer ago than any rebind_min */
#define STATE_BOUND_MAX_US 1000000u   /* the longest rebind_min */

enum state_hash_kind { STATE_HASH_NONE, STATE_HASH_ONLY, STATE_HASH_RSS };

/* One binding. */
struct state_binding {
    uint64_t hash; /* bits that are not known are zero */
    uint32_t age_ms;
    uint32_t bound_us; /* ago, or STATE_LONG_BOUND */
    uint16_t queue;
    uint8_t cls;
};

/* ---- Numbers in bytes ------------------------------------------------------------------------------------------------------ */

static inline void state_put16(uint8_t *to, uint32_t v)
{
    to[0] = (uint8_t)(v >> 8);
    to[1] = (uint8_t)v;
}

static inline void state_put32(uint8_t *to, uint32_t v)
{
    state_put16(to, v >> 16);
    state_put16(to + 2, v);
}

static inline void state_put64(uint8_t *to, uint64_t v)
{
    state_put32(to, (uint32_t)(v >> 32));
    state_put32(to + 4, (uint32_t)v);
}

static inline uint32_t state_get16(const uint8_t *from) { return (uint32_t)from[0] << 8 | from[1]; }
static inline uint32_t state_get32(const uint8_t *from) { return state_get16(from) << 16 | state_get16(from + 2); }
static inline uint64_t state_get64(const uint8_t *from) { return (uint64_t)state_get32(from) << 32 | state_get32(from + 4); }

/* ---- Bytes out (state.c) --------------------------------------------------------------------------------------------------- */

struct state_out {
    int (*write)(void *ctx, const void *data, size_t size);
    void *ctx;
    int error;     /* of write, the first one: then nothing more is written */
    uint32_t n;    /* bytes in the buffer */
    uint32_t from; /* those from here on belong to the section, and are not in its sum yet */
    uint64_t sum;  /* of what is complete */
    XXH64_state_t running;
    uint8_t bytes[4096];
};

/* With the header of the stream. */
void state_out_start(struct state_out *o, int (*write)(void *ctx, const void *data, size_t size), void *ctx);
void state_out_section(struct state_out *o, enum state_type type, uint32_t length);
/* Room for n bytes, 4096 at most, which the caller fills at once. */
uint8_t *state_out_room(struct state_out *o, uint32_t n);
static inline void state_out32(struct state_out *o, uint32_t v) { state_put32(state_out_room(o, 4), v); }
static inline void state_out64(struct state_out *o, uint64_t v) { state_put64(state_out_room(o, 8), v); }
void state_out_section_end(struct state_out *o);
/* Everything that is still to be written. */
int state_out_finish(struct state_out *o);

/* ---- Bytes in (state.c) ---------------------------------------------------------------------------------------------------- */

struct state_in {
    int64_t (*read)(void *ctx, void *data, size_t size);
    void *ctx;
    uint64_t total;   /* bytes of the stream so far */
    uint64_t sum;     /* of what is complete */
    uint8_t *content; /* STATE_CONTENT_MAX bytes */
};

struct state_section {
    uint32_t type, length; /* type 0: one that we do not know, which has been passed over */
};

/* 0, -EBADMSG, or what read returned. */
int state_in_start(struct state_in *in);
/* The next section, with its content, whose sum is right. */
int state_in_section(struct state_in *in, struct state_section *s);

/* The content of STATE_KEYS: 32 bytes of settings, and the secret. */
#define STATE_KEYS_SETTINGS 32
void state_keys_put(uint8_t to[STATE_KEYS_BYTES], const struct parse_rules *rules, const uint8_t seed[FLOWQ_SECRET_SIZE]);

/* ---- Bindings into a table (state_place.c) --------------------------------------------------------------------------------- */

enum state_placed { STATE_PLACED, STATE_KNOWN, STATE_NO_ROOM, STATE_NO_MEMORY };

/* Puts a flow into a table that nobody else sees, if it is not there and there is a place; no other flow gives way. word: without
   tag. stamp: its binding time. */
enum state_placed state_place(struct table *t, uint64_t hash, uint64_t word, uint16_t stamp);

#endif
