/*
 * Which port an Ethernet address was last seen on, for the switches of this folder. Any number of threads; a full neighbourhood
 * overwrites, and a frame for an address that is not known goes to all ports, as switches do.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef MAC_H
#define MAC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { MAC_SLOTS = 4096, MAC_REACH = 4, MAC_NO_PORT = -1 };

struct mac_table {
    _Atomic uint64_t slots[MAC_SLOTS]; /* address << 16 | port + 1; 0: empty */
};

/* As a number of 48 bits: two loads, whose order of bytes is this machine's. Six, one by one, took 5 ns more. */
static inline uint64_t mac_read(const uint8_t bytes[6])
{
    uint32_t first;
    uint16_t last;

    memcpy(&first, bytes, sizeof(first));
    memcpy(&last, bytes + sizeof(first), sizeof(last));
    return (uint64_t)first << 16 | last;
}

static inline bool mac_is_group(const uint8_t bytes[6]) { return (bytes[0] & 1) != 0; }

static inline _Atomic uint64_t *mac_slot(struct mac_table *table, uint64_t mac, uint32_t i)
{
    return &table->slots[((mac * 0x9e3779b97f4a7c15u >> 48) + i) % MAC_SLOTS];
}

/* Writes only what has changed, so that threads that see the same sender all the time share the line peacefully. */
static inline void mac_learn(struct mac_table *table, const uint8_t bytes[6], uint32_t port)
{
    uint64_t mac = mac_read(bytes), entry = mac << 16 | (port + 1);

    if (mac_is_group(bytes))
        return;
    for (uint32_t i = 0; i < MAC_REACH; i++) {
        _Atomic uint64_t *slot = mac_slot(table, mac, i);
        uint64_t seen = atomic_load_explicit(slot, memory_order_relaxed);
        if (seen == entry)
            return;
        if (seen == 0 || seen >> 16 == mac || i == MAC_REACH - 1) {
            atomic_store_explicit(slot, entry, memory_order_relaxed);
            return;
        }
    }
}

static inline int mac_find(struct mac_table *table, const uint8_t bytes[6])
{
    uint64_t mac = mac_read(bytes);

    for (uint32_t i = 0; i < MAC_REACH; i++) {
        uint64_t seen = atomic_load_explicit(mac_slot(table, mac, i), memory_order_relaxed);
        if (seen != 0 && seen >> 16 == mac)
            return (int)(seen & 0xffff) - 1;
    }
    return MAC_NO_PORT;
}

#endif /* MAC_H */
