/*
 * check_plugin: the library in a plugin that is unloaded while threads that called it live on, and loaded again (thread.c).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner.h"

#ifdef __SANITIZE_ADDRESS__
/* What a thread had is left when the code goes (thread.c): that is no news. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }
#endif

#define N_THREADS 4
#define N_TURNS   100

typedef int call_fn(void);

static void *plugin;
static call_fn *use, *leave_open;
static sem_t called, unloaded;

static void load(void)
{
    plugin = dlopen(PLUGIN, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(plugin != NULL, "%s", dlerror());
    *(void **)&use = dlsym(plugin, "plugin_use");
    *(void **)&leave_open = dlsym(plugin, "plugin_leave_open");
    ck_assert(use && leave_open);
}

/* Where the code of before is gone, so is this mapping. */
static void unload(void)
{
    ck_assert_int_eq(dlclose(plugin), 0);
#ifdef __GLIBC__
    ck_assert_msg(dlopen(PLUGIN, RTLD_NOW | RTLD_NOLOAD) == NULL, "it is still there: nothing was tried");
#endif
}

/* Calls it, and ends when it is gone. */
static void *call_and_stay(void *arg)
{
    long bad = use();
    if (arg)
        bad |= leave_open();
    sem_post(&called);
    sem_wait(&unloaded);
    return (void *)bad;
}

static void call_from_threads(void)
{
    pthread_t id[N_THREADS];
    sem_init(&called, 0, 0);
    sem_init(&unloaded, 0, 0);
    for (int i = 0; i < N_THREADS; i++)
        ck_assert_int_eq(pthread_create(&id[i], NULL, call_and_stay, i % 2 ? &id[i] : NULL), 0);
    for (int i = 0; i < N_THREADS; i++)
        sem_wait(&called);
    unload();
    for (int i = 0; i < N_THREADS; i++)
        sem_post(&unloaded);
    for (int i = 0; i < N_THREADS; i++) {
        void *bad;
        pthread_join(id[i], &bad);
        ck_assert_ptr_null(bad);
    }
}

START_TEST(threads_end_after_it_is_unloaded)
{
    for (int turn = 0; turn < N_TURNS; turn++) {
        load();
        call_from_threads();
    }
}
END_TEST

/* This thread has called each of them, and is registered anew with each. */
START_TEST(a_thread_calls_each_of_them)
{
    for (int turn = 0; turn < N_TURNS; turn++) {
        load();
        ck_assert_int_eq(use(), 0);
        unload();
    }
}
END_TEST

/* The handlers of fork() are gone as well. */
START_TEST(fork_after_it_is_unloaded)
{
    int status;
    load();
    ck_assert_int_eq(use(), 0);
    unload();
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}
END_TEST

int main(void)
{
    if (access(PLUGIN, R_OK) != 0) {
        printf("check_plugin: skipped: no shared objects are built here\n");
        return 77;
    }
    Suite *suite = suite_create("plugin");
    TCase *tc = tcase_create("plugin");
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, threads_end_after_it_is_unloaded);
    tcase_add_test(tc, a_thread_calls_each_of_them);
    tcase_add_test(tc, fork_after_it_is_unloaded);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
