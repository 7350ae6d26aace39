/*
 * stub_vhost: a librte_vhost without DPDK, for tests of the drop-in. Built as librte_vhost.so.23, it also has the few
 * functions of other DPDK libraries that are called.
 *
 * It behaves as the true one of later versions does: enqueuers share a ring's lock, so they must not be two; a ring that is off
 * takes and gives nothing; messages are handled with all rings locked; numbers of devices are used again at once;
 * rte_vhost_driver_unregister() ends devices without destroy_connection.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_STUB_VHOST_H
#define FLOWQ_TESTS_STUB_VHOST_H

#include <rte_mbuf_core.h>
#include <rte_vhost.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    STUB_RINGS = 16,
    STUB_RING_SIZE = 1024,
    STUB_RESET_OWNER = 4,
    STUB_SET_MEM_TABLE = 5,
    STUB_GET_VRING_BASE = 11,
    STUB_SET_VRING_KICK = 12,
    STUB_SET_VRING_ENABLE = 18,
    STUB_ADD_MEM_REG = 37, /* as in librte_vhost up to 26.03, nothing deals with it, but hooks see it */
    STUB_REM_MEM_REG = 38
};

/* A packet of a test: its flow and its number within the flow go with the mbuf. */
struct rte_mbuf *stub_packet(const void *bytes, uint32_t length, uint32_t flow, uint32_t number);
/* The same in several segments of `piece` bytes. */
struct rte_mbuf *stub_packet_in_pieces(const void *bytes, uint32_t length, uint32_t piece, uint32_t flow, uint32_t number);
void stub_free(struct rte_mbuf *packet);
/* mbufs that live. */
int stub_packets(void);

static inline uint32_t stub_flow(const struct rte_mbuf *packet) { return packet->dynfield1[0]; }
static inline uint32_t stub_number(const struct rte_mbuf *packet) { return packet->dynfield1[1]; }

/* ---- The front end ---- */

/* A connection to a socket; the device's number, or -1. */
int stub_connect(const char *path);
void stub_disconnect(int vid);
/* Memory is mapped; rings of `pairs` queue pairs start and are switched on. */
void stub_start(int vid, uint32_t pairs);
/* A message with an index and a number. Returns whether it was answered well. */
bool stub_message(int vid, uint32_t request, uint32_t index, uint32_t number);
/* The next message of this thread says that it has so many bytes behind its head, instead of 8. */
void stub_size(uint32_t size);
/* The next message brings a file descriptor that it should not: an error. STUB_SET_MEM_TABLE has unmapped what was by then. */
void stub_bad_descriptor(void);
bool stub_enabled(int vid, uint32_t ring);

/* ---- The guest ---- */

/* Makes a packet available on a transmit ring. False: no room. */
bool stub_transmit(int vid, uint32_t ring, struct rte_mbuf *packet);
/* How many packets a receive ring takes from now on. */
void stub_room(int vid, uint32_t ring, uint32_t packets);
/* The guest takes up to n packets from a receive ring, and makes as many entries available. */
void stub_take(int vid, uint32_t ring, uint32_t n);
/* What came into a receive ring since the last time: flow and number of each. At most `n` are told; returns how many there
   are. */
uint32_t stub_received(int vid, uint32_t ring, uint32_t (*packets)[2], uint32_t n);
/* Transmit rings are packed ones, with two descriptors a packet, for devices that come from now on. */
void stub_packed(bool on);
/* Features beside that one, for devices that come from now on. */
void stub_features(uint64_t features);
/* Packed rings do not fit what is mapped: librte_vhost tells of their descriptors alone, and leaves them alone. */
void stub_short_packed(bool on);
/* The guest's memory, rings and buffers, as librte_vhost has it mapped: moved with STUB_SET_MEM_TABLE. Here another mapping
   of it is read and written. */
void *stub_memory(int vid, size_t *size);
/* The avail index that a guest that lies shows. */
void stub_lie(int vid, uint32_t ring, uint16_t index);
/* After a migration: the next packet read is a RARP announcement. */
void stub_announce(int vid);

/* ---- What was seen ---- */

/* Times that two threads were in one ring, or a ring was read by a message's own thread. */
int stub_violations(void);
/* What was logged since the last time. */
const char *stub_log(void);
/* The reply of a telemetry command: "name=value;" of each entry, or NULL: there was an error. */
const char *stub_telemetry(const char *command, const char *params);
/* Entries of the last reply. */
uint32_t stub_telemetry_entries(void);
/* Callback tables of sockets that were given to the stub. */
const struct rte_vhost_device_ops *stub_ops(const char *path);
void *stub_hook_context(int vid);

/* One of each kind of function can be refused. */
void stub_refuse_registration(bool on);

#endif
