/*
 * flowq-bench: the parent, which runs the processes that measure, and puts their samples together.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "bench.h"

#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peer.h"

enum { PROCESSES = 3 };

static void choose_processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        fail("sched_getaffinity failed");
    for (int i = CPU_SETSIZE - 1; i >= 0 && process.n_cpus < sizeof(process.cpu) / sizeof(*process.cpu); i--)
        if (CPU_ISSET((size_t)i, &set))
            process.cpu[process.n_cpus++] = i;
}

static void become_ready(unsigned number)
{
    process.number = number;
    choose_processors();
    pin(process.cpu[0]);
    peer_rules_init();
}

/* The process that measures. */
static int run_child(unsigned number)
{
    become_ready(number);
    run_scenes();
    run_growth();
    run_threads();
    run_attacks();
    run_vms();
    run_shapes();
    return 0;
}

/* Runs one, and collects what it says. */
static bool run_process(struct results *r, unsigned number, char **argv, int argc)
{
    char child[24], line[512];
    int fd[2], status;
    char **args = calloc((size_t)argc + 2, sizeof(*args));
    if (!args || pipe(fd) != 0)
        fail("no memory");
    memcpy(args, argv, (size_t)argc * sizeof(*args));
    snprintf(child, sizeof(child), "--child=%u", number);
    args[argc] = child;
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0)
        fail("fork failed");
    if (pid == 0) {
        dup2(fd[1], STDOUT_FILENO);
        close(fd[0]);
        close(fd[1]);
        /* glibc: huge pages for what the peers take from malloc. */
        setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", 1);
        execv("/proc/self/exe", args);
        _exit(127);
    }
    close(fd[1]);
    FILE *from = fdopen(fd[0], "r");
    char last[48] = "";
    while (from && fgets(line, sizeof(line), from)) {
        results_line(r, number, line);
        char *workload = strtok(line + 2, "\t");
        if (line[0] == 'S' && workload && strcmp(workload, last) != 0 && isatty(STDERR_FILENO))
            fprintf(stderr, "\r\033[Kprocess %u: %s", number + 1, workload);
        snprintf(last, sizeof(last), "%s", workload ? workload : "");
    }
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
    if (from)
        fclose(from);
    waitpid(pid, &status, 0);
    free(args);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void usage(FILE *to)
{
    fprintf(to, "usage: flowq-bench [--goals] [--only=WORD,...] [--processes=N] [--quick] [--tsv | --json]\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"goals", no_argument, NULL, 'g'},       {"only", required_argument, NULL, 'o'},
                                            {"processes", required_argument, NULL, 'p'}, {"quick", no_argument, NULL, 'q'},
                                            {"tsv", no_argument, NULL, 't'},         {"json", no_argument, NULL, 'j'},
                                            {"child", required_argument, NULL, 'c'}, {"smoke", no_argument, NULL, 's'}, {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct results results = {.processes = PROCESSES};
    enum format format = FORMAT_TEXT;
    int child = -1;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'g':
            process.goals = true;
            break;
        case 'o':
            process.only = optarg;
            break;
        case 'p':
            results.processes = (unsigned)atoi(optarg);
            break;
        case 'q':
            process.quick = true;
            break;
        case 't':
            format = FORMAT_TSV;
            break;
        case 'j':
            format = FORMAT_JSON;
            break;
        case 'c':
            child = atoi(optarg);
            break;
        case 's':
            become_ready(0);
            return run_smoke();
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (child >= 0)
        return run_child((unsigned)child);
    for (unsigned i = 0; i < results.processes; i++)
        if (!run_process(&results, i, argv, argc))
            fail("process %u failed", i + 1);
    unsigned n_missed = 0;
    report_print(&results, format, process.goals);
    if (process.goals)
        n_missed = goals_print(&results);
    results_free(&results);
    return n_missed ? 1 : 0;
}
