/* process: measuring in one process; see bench.h. SPDX-License-Identifier: BSD-2-Clause */
#include "bench.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define HUGE_PAGE (2u << 20)

struct process process;

static bool contains_one_of(const char *text, const char *words)
{
    char copy[256], *rest = copy;
    snprintf(copy, sizeof(copy), "%s", words);
    for (char *word; (word = strsep(&rest, ",")) != NULL;)
        if (*word && strstr(text, word))
            return true;
    return false;
}

bool wanted(const char *workload, bool goal)
{
    return (goal || !process.goals) && (!process.only || contains_one_of(workload, process.only));
}

bool wanted_group(const char *group, bool goal)
{
    char copy[256], *rest = copy;
    if (wanted(group, goal))
        return true;
    snprintf(copy, sizeof(copy), "%s", process.only ? process.only : "");
    for (char *word; (goal || !process.goals) && (word = strsep(&rest, ",")) != NULL;)
        if (strncmp(word, group, strlen(group)) == 0)
            return true;
    return false;
}

unsigned repetitions(unsigned n) { return process.quick ? 1 : n; }

void sample(const char *workload, const char *contestant, const char *unit, double value)
{
    printf("S\t%s\t%s\t%s\t%.4f\n", workload, contestant, unit, value);
    fflush(stdout);
}

void remark(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    printf("R\t");
    vprintf(format, ap);
    printf("\n");
    fflush(stdout);
    va_end(ap);
}

void fail(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    fprintf(stderr, "flowq-bench: ");
    vfprintf(stderr, format, ap);
    fprintf(stderr, "\n");
    va_end(ap);
    exit(2);
}

double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu >= 0)
        CPU_SET((size_t)cpu, &set);
    if (cpu >= 0 && sched_setaffinity(0, sizeof(set), &set) != 0)
        remark("could not pin a thread to processor %d", cpu);
}

static size_t whole_pages(size_t bytes) { return (bytes + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1); }

void *huge_alloc(size_t bytes)
{
    size_t size = whole_pages(bytes);
    char *all = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED)
        fail("no memory (%zu bytes)", bytes);
    size_t before = (HUGE_PAGE - (uintptr_t)all % HUGE_PAGE) % HUGE_PAGE;
    if (before)
        munmap(all, before);
    if (before != HUGE_PAGE)
        munmap(all + before + size, HUGE_PAGE - before);
    (void)madvise(all + before, size, MADV_HUGEPAGE);
    return all + before;
}

void huge_free(void *ptr, size_t bytes)
{
    if (ptr)
        munmap(ptr, whole_pages(bytes));
}
