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
    run_bursts();
    run_growth();
    run_threads();
    run_attacks();
    run_vms();
    run_shapes();
    run_state();
    run_rss();
    run_stages();
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

static void save(const struct results *r, const char *directory, const char *name, enum format format)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *to = fopen(path, "w");
    if (!to)
        fail("cannot write %s", path);
    report_print(to, r, format);
    fclose(to);
}

static const char help[] =
    "usage: flowq-bench [OPTION]...\n"
    "  --goals         measure what the goals depend on; exit status 1 if a must is missed by more than 5 %\n"
    "  --only=WORD,... only workloads whose names contain one of these words\n"
    "  --processes=N   one after the other, each with another order of allocation; default 3\n"
    "  --quick         few, short turns on small tables: figures are not to be quoted\n"
    "  --tsv, --json   instead of text\n"
    "  --save=DIR      write bench.tsv and bench.json there, too\n"
    "  --smoke         within a second: does it measure what it says it does?\n";

struct choice {
    struct results results;
    enum format format;
    const char *directory;
    int child;
    bool smoke;
};

/* Returns false if there is nothing more to do than exit with *status. */
static bool read_options(struct choice *c, int argc, char **argv, int *status)
{
    static const struct option options[] = {{"goals", no_argument, NULL, 'g'},
                                            {"only", required_argument, NULL, 'o'},
                                            {"processes", required_argument, NULL, 'p'},
                                            {"quick", no_argument, NULL, 'q'},
                                            {"tsv", no_argument, NULL, 't'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"smoke", no_argument, NULL, 's'},
                                            {"save", required_argument, NULL, 'd'},
                                            {"child", required_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        process.goals |= option == 'g';
        process.quick |= option == 'q';
        c->smoke |= option == 's';
        if (option == 'o')
            process.only = optarg;
        else if (option == 'p')
            c->results.processes = (unsigned)atoi(optarg);
        else if (option == 'd')
            c->directory = optarg;
        else if (option == 'c')
            c->child = atoi(optarg);
        else if (option == 't' || option == 'j')
            c->format = option == 't' ? FORMAT_TSV : FORMAT_JSON;
        *status = option == 'h' ? 0 : 2;
        if (option == 'h' || option == '?') {
            fputs(help, option == 'h' ? stdout : stderr);
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    struct choice c = {.results = {.processes = PROCESSES}, .format = FORMAT_TEXT, .child = -1};
    int status;
    if (!read_options(&c, argc, argv, &status))
        return status;
    if (c.child >= 0)
        return run_child((unsigned)c.child);
    if (c.smoke) {
        become_ready(0);
        return run_smoke();
    }
    for (unsigned i = 0; i < c.results.processes; i++)
        if (!run_process(&c.results, i, argv, argc))
            fail("process %u failed", i + 1);
    report_print(stdout, &c.results, c.format);
    if (c.directory) {
        save(&c.results, c.directory, "bench.tsv", FORMAT_TSV);
        save(&c.results, c.directory, "bench.json", FORMAT_JSON);
    }
    if (c.format == FORMAT_TEXT && (process.goals || !process.only)) {
        printf("\n");
        goals_print(&c.results);
    }
    unsigned n_missed = process.goals ? goals_missed(&c.results) : 0;
    results_free(&c.results);
    return n_missed ? 1 : 0;
}
