#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The benchmark measures what it says it does: see smoke.c.
exec bench/flowq-bench --smoke
