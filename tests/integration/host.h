/*
 * What a host has of its own, and the snippets of flowq-integration(7) use: declared for the compiler, defined by the programs
 * that run the snippets (run_*.c).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef HOST_H
#define HOST_H

#include <flowq.h>

/* switch.c */
size_t receive(struct flowq_vm **vms, struct flowq_pkt *pkts, size_t n);
void enqueue(struct flowq_vm *vm, uint16_t qid, const struct flowq_pkt *pkts, const uint16_t *which, size_t n);
void acknowledge(struct flowq_vm *vm);

/* vmm.c */
struct device;
bool ring_put(struct device *dev, uint16_t q, const void *frame, uint32_t len);
uint8_t control_other(struct device *dev, uint8_t cls, uint8_t cmd, const struct iovec *data, size_t n);

#endif
