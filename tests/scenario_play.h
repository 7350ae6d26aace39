/*
 * scenario_play: a file of steps, played through the public interface in all the ways there are.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_SCENARIO_PLAY_H
#define FLOWQ_TESTS_SCENARIO_PLAY_H

#include <stdint.h>
#include <stdio.h>

/* Plays a file. Returns how many of its vms were answered wrong; for each, the report has a line, "path:line: what is wrong". */
unsigned scenario_play(const char *path, uint64_t seed, FILE *report);

#endif
