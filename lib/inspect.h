/* SPDX-License-Identifier: BSD-2-Clause */
/* inspect: a word of the table as a binding. */
#ifndef FLOWQ_LIB_INSPECT_H
#define FLOWQ_LIB_INSPECT_H

#include "vm.h"

void inspect_describe(const struct flowq_vm *vm, uint64_t word, uint64_t now_ns, struct flowq_binding *out);

#endif
