/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * front_end: a librte_vhost that hands a front end's messages to its hooks as the true one does (vhost_user_msg_handler), with
 * transmit rings that a guest may write at any time, each a piece of memory of its own that moves; and beside it what a naive
 * librte_vhost would tell a program without the drop-in, and what the drop-in is to make of each ring. For fuzz_messages.c.
 */
#ifndef FLOWQ_TESTS_FRONT_END_H
#define FLOWQ_TESTS_FRONT_END_H

#include <rte_mbuf_core.h>
#include <string.h>

#include "../../vhost/port.h"
#include "fuzz.h"

enum { DEVICES = 3, RINGS = 256, MAX_SIZE = 256, READ_MOST = 70 };

/* Settings of an input. */
enum { SET_PACKED = 1, SET_PLATFORM = 2, SET_NO_FREE = 4 };

/* What vhost-user (front-end message types) and virtio 1.3 (6, 2.8) say is written out here once more. */
enum { RESET_OWNER = 4, SET_MEM_TABLE = 5, GET_VRING_BASE = 11, SET_VRING_KICK = 12, SET_VRING_ENABLE = 18, SEND_RARP = 19 };
enum { NEED_REPLY = 8, NEXT = 1, AVAIL = 0x80, USED = 0x8000, WRAP = 0x8000 };
#define F_PLATFORM (UINT64_C(1) << 33)
#define F_PACKED   (UINT64_C(1) << 34)

/* What a message is besides its ring and its number: the second number of its step. */
enum { ODD_ANSWER = 3, ODD_FAILS = 4, ODD_NO_REPLY = 8, ODD_SIZE_SHIFT = 4, ODD_RING_SHIFT = 8 };

/* As it comes over the socket, and no longer: librte_vhost's own has room for more. */
struct message {
    uint32_t request, flags, size, ring, number;
};

enum state { OPEN, HIDDEN, PARKED };

struct ring {
    /* Each of them ends where the ring does. */
    uint16_t *avail; /* flags, index, ring */
    struct vring_desc *desc;
    struct vring_used *used;
    struct vring_packed_desc *packed;
    struct vring_packed_desc_event *event;
    uint64_t at;    /* the entry, or the descriptor, that librte_vhost reads next */
    uint32_t taken; /* packets */
    bool exists, kicked, enabled, ready;
    /* Without the drop-in. */
    bool said_enabled, said_ready;
    /* What the drop-in is to make of it. */
    enum state state;
    uint32_t limit;       /* of a hidden ring: the packet before which all are forwarded */
    uint32_t idle;        /* calls with room left since it was looked at */
    bool left;            /* it was hidden when another connection took the device's place: what it is told now is no matter */
    uint64_t late, freed; /* what was counted before and since */
};

struct connection {
    const struct rte_vhost_user_extern_ops *hook;
    uint8_t *memory; /* of buffers */
    bool exists, running, mapped, had_table, announces, asynchronous, has_app_hook;
    struct ring ring[RINGS];
};

struct told {
    uint32_t n;
    uint16_t ring[4 * RINGS];
    bool enable[4 * RINGS];
};

extern struct front_end {
    uint8_t settings;
    uint32_t size;
    uint16_t start;
    const struct rte_vhost_device_ops *ops; /* of the path, the drop-in's */
    int steered;                            /* or -1 */
    bool polled, in_message, getters_fail, refuse, lie;
    uint16_t place; /* the lie */
    uint32_t most;  /* what librte_vhost hands out in a call */
    struct told told, said;
    bool is_running[DEVICES];
    /* The message that is on its way, and what has to come of it. */
    struct message message;
    bool hides;
    enum rte_vhost_msg_result answer;
    uint32_t n_before, n_after;
    /* A call for packets. */
    uint32_t n_given;
    struct {
        struct rte_mbuf *packet;
        bool is_freed, to_free;
    } given[(RINGS / 2 + 1) * READ_MOST];
    bool looked[RINGS / 2];
    struct connection device[DEVICES];
} fake;

static inline bool is(uint8_t setting) { return fake.settings & setting; }

/* Is this device the drop-in's to deal with? */
static inline bool is_managed(int vid) { return vid == fake.steered && !fake.device[vid].asynchronous; }

/* Is a packed ring's position in the first lap of two? Descriptors of the packet that begins there; 0: it is not complete. */
bool lap(uint64_t position);
uint32_t chain(const struct ring *r, uint64_t position);
/* The guest makes so many packets available, as a driver does it; and it writes any word. */
void fill(struct ring *r, uint32_t n, uint32_t pieces);
void write_word(struct ring *r, uint32_t at, uint16_t value);
/* NULL: there is none yet. A ring that cannot be, or a device that is none, is a fault. */
struct ring *ring_of(int vid, uint32_t index);

/* Librte_vhost's functions. */
int get_ifname(int vid, char *name, size_t size);
int get_features(int vid, uint64_t *features);
int get_vring(int vid, uint16_t index, struct rte_vhost_vring *vring);
int get_base(int vid, uint16_t index, uint16_t *avail, uint16_t *used);
int get_memory(int vid, struct rte_vhost_memory **memory);
int hook_register(int vid, const struct rte_vhost_user_extern_ops *ops, void *ctx);
int callback_register(const char *path, const struct rte_vhost_device_ops *ops);
int unregister(const char *path);
int async_register(int vid, uint16_t ring);

/* The program is told so, or would be. */
void note(struct told *told, uint16_t ring, bool enable);
void connect_device(int vid);
void disconnect(int vid);
/* The device's counters are as they have to be; or a device begins. */
void counters(int vid, bool begin);
/* A message; `odd`: ODD_*. */
void send_message(int vid, const struct message *given, uint32_t odd);

#endif
