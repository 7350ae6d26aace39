/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * config: from what a host wrote into struct flowq_vm_config, possibly for another version of the library, to checked values.
 */
#ifndef FLOWQ_LIB_CONFIG_H
#define FLOWQ_LIB_CONFIG_H

#include "flowq.h"
#include "sized.h"

/* Least size accepted: the end of the last field of version 0.9. */
#define CONFIG_SIZE_MIN SIZED_END(struct flowq_vm_config, ordered_flows)

/* The tunnels that the parser knows; and the bit of FLOWQ_TUNNEL_ALL that says "and whatever else the library knows". */
#define CONFIG_TUNNELS      ((uint32_t)FLOWQ_TUNNEL_ERSPAN * 2 - 1)
#define CONFIG_TUNNELS_OPEN (UINT32_C(1) << 30)

/* Tunables: one table for the checks, the manual (a test compares) and the defaults. */
struct config_limit {
    const char *name;
    size_t offset;
    size_t width;      /* bytes: 2 or 4 */
    uint32_t preset;   /* the default */
    uint32_t min, max; /* of values other than 0 and `off`; of a mask max has all its bits */
    bool has_off;      /* FLOWQ_OFF is a value */
    bool fixed;        /* once the vm is made */
    bool mask;
};
extern const struct config_limit config_limits[];
extern const size_t config_n_limits;

/* What is wrong with settings, for the log: which one, its value, and what it may be; empty: nothing that could be told. */
struct config_fault {
    char text[160];
};

/* Writes it down. Returns -EINVAL. */
int config_refuse(struct config_fault *fault, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Fills *out from *in (NULL: defaults): every field has a value in its range; 0 stands for "off" where there is one.
 * initial_flows stays 0 if it was. only_changes: what is fixed once the vm is made is not looked at, but has its default. Returns
 * 0, -EINVAL or -E2BIG, with *fault; where settings make no sense, *out still has the callback that wants to know.
 */
int config_read(const struct flowq_vm_config *in, struct flowq_vm_config *out, bool only_changes, struct config_fault *fault);

/* -EINVAL if a clock of this resolution cannot tell an eighth of a time in cfg. */
int config_check_times(const struct flowq_vm_config *cfg, uint64_t resolution_ns, struct config_fault *fault);

#endif
