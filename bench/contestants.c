/* contestants: who takes part. SPDX-License-Identifier: BSD-2-Clause */
#include "bench.h"

const struct contestant *const contestants[] = {
    &with_flowq,    &with_flowq_long,     &with_flowq_narrow,
#ifdef HAVE_NATIVE
    &with_native,
#endif
#ifdef HAVE_DPDK
    &with_rte_hash, &with_rte_hash_ahead, &with_rte_hash_padded, &with_crc,
#endif
    &with_ck_ht,
#ifdef HAVE_URCU
    &with_lfht,
#endif
    &with_tun,      &with_roofline,       &with_roofline_burst,  &with_nothing, NULL,
};

const char *const missing_contestants[] = {
#ifndef HAVE_DPDK
    "rte_hash (DPDK is missing; Debian: libdpdk-dev)",
#endif
#ifndef HAVE_URCU
    "lfht (liburcu is missing; Debian: liburcu-dev)",
#endif
    NULL,
};
