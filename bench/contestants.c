/* contestants: who takes part. SPDX-License-Identifier: BSD-2-Clause */
#include "bench.h"

const struct contestant *const contestants[] = {
    &with_flowq,
#ifdef HAVE_DPDK
    &with_rte_hash,
#endif
#ifdef HAVE_CK_HT
    &with_ck_ht,
#endif
#ifdef HAVE_LFHT
    &with_lfht,
#endif
#ifdef HAVE_TUN
    &with_tun,
#endif
    &with_roofline,
    &with_nothing,
    NULL,
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
