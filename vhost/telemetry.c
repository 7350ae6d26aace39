/*
 * flowq-vhost: what can be seen from outside, through DPDK's telemetry.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "port.h"
void telemetry_start(void) {}
