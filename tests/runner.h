/*
 * runner: the end of every main() of a program made with Check.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_RUNNER_H
#define FLOWQ_TESTS_RUNNER_H

#include <check.h>

static inline int suite_run_as(Suite *suite, enum fork_status forks)
{
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, forks);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

/* Runs all tests of a suite and frees it; the exit status. Each test is a process of its own, but with CK_FORK=no. */
static inline int suite_run(Suite *suite) { return suite_run_as(suite, CK_FORK_GETENV); }

/* The same for tests that need a fresh process each, whatever CK_FORK says. */
static inline int suite_run_forked(Suite *suite) { return suite_run_as(suite, CK_FORK); }

#endif
