/* SPDX-License-Identifier: BSD-2-Clause */
/* stub_memory: the memory of a guest of stub_vhost: a file that is mapped more than once. */
#ifndef FLOWQ_TESTS_STUB_MEMORY_H
#define FLOWQ_TESTS_STUB_MEMORY_H

#include "stub_vhost.h"

#include <linux/virtio_ring.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* What the guest shares: rings, and buffers. Librte_vhost's own mapping of it is another one, and moves. */
struct memory {
    struct vring_desc desc[STUB_RINGS][STUB_RING_SIZE];
    struct {
        uint16_t flags, idx, ring[STUB_RING_SIZE + 1];
    } avail[STUB_RINGS];
    struct {
        uint16_t flags, idx;
        struct vring_used_elem ring[STUB_RING_SIZE];
    } used[STUB_RINGS];
    struct vring_packed_desc packed[STUB_RINGS][STUB_RING_SIZE];
    struct vring_packed_desc_event event[STUB_RINGS][2];
    uint8_t buffers[STUB_RING_SIZE][64];
};
enum { GUEST_ADDRESS = 0x10000 }; /* of the first byte */

static inline struct memory *memory_map(int file)
{
    void *mapped = mmap(NULL, sizeof(struct memory), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

    if (mapped == MAP_FAILED)
        abort();
    return mapped;
}

/* Receive rings are full of buffers. */
static inline struct memory *memory_make(int *file)
{
    *file = memfd_create("guest", MFD_CLOEXEC);
    if (*file < 0 || ftruncate(*file, sizeof(struct memory)) != 0)
        abort();
    struct memory *guest = memory_map(*file);
    for (uint32_t r = 0; r < STUB_RINGS; r++) {
        for (uint32_t i = 0; i < STUB_RING_SIZE; i++) {
            uint64_t address = GUEST_ADDRESS + offsetof(struct memory, buffers) + sizeof(guest->buffers[0]) * i;
            guest->desc[r][i].addr = guest->packed[r][i].addr = address;
            guest->desc[r][i].len = sizeof(guest->buffers[0]);
        }
        guest->avail[r].idx = r % 2 == 0 ? STUB_RING_SIZE : 0;
    }
    return guest;
}

#endif
