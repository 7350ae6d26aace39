/* SPDX-License-Identifier: BSD-2-Clause */
/* Open vSwitch's config.h, which its configure makes: of no interest here. */
