/*
 * require: what a caller owes the data path, which does not look: a check that traps in a library made with --enable-debug, and
 * nothing in others.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_LIB_REQUIRE_H
#define FLOWQ_LIB_REQUIRE_H

#ifdef FLOWQ_DEBUG
#define require(what) ((what) ? (void)0 : __builtin_trap())
#else
#define require(what) ((void)(0 && (what))) /* compiled, but never run */
#endif

#endif
