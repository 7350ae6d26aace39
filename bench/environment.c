/* environment: where and with what the figures were measured. SPDX-License-Identifier: BSD-2-Clause */
#include "bench.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#ifndef BENCH_CFLAGS
#define BENCH_CFLAGS "unknown"
#endif
#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

/* The rest of the first line of a file that begins with `key`. */
static void read_line(const char *path, const char *key, char *value, size_t size)
{
    char line[4096];
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof(line), f)) {
        if (strncmp(line, key, strlen(key)) != 0)
            continue;
        const char *from = line + strlen(key);
        from += strspn(from, " \t:");
        snprintf(value, size, "%.*s", (int)strcspn(from, "\n"), from);
        break;
    }
    if (f)
        fclose(f);
}

void environment_each(void (*fn)(void *ctx, const char *key, const char *value), void *ctx)
{
    char value[256];
    struct utsname os;
    time_t now = time(NULL);
    struct tm tm;
    fn(ctx, "flowq", flowq_version_string());
    strcpy(value, "unknown");
    read_line("/proc/cpuinfo", "model name", value, sizeof(value));
    fn(ctx, "processor", value);
    snprintf(value, sizeof(value), "%ld", sysconf(_SC_NPROCESSORS_ONLN));
    fn(ctx, "processors", value);
    snprintf(value, sizeof(value), "%ld KiB / %ld KiB / %ld KiB", sysconf(_SC_LEVEL1_DCACHE_SIZE) / 1024,
             sysconf(_SC_LEVEL2_CACHE_SIZE) / 1024, sysconf(_SC_LEVEL3_CACHE_SIZE) / 1024);
    fn(ctx, "caches", value);
    snprintf(value, sizeof(value), "%ld MiB", sysconf(_SC_PHYS_PAGES) / 1024 * (sysconf(_SC_PAGESIZE) / 1024));
    fn(ctx, "memory", value);
    if (uname(&os) == 0) {
        snprintf(value, sizeof(value), "%.60s %.80s %.40s", os.sysname, os.release, os.machine);
        fn(ctx, "kernel", value);
    }
    strcpy(value, "unknown");
    read_line("/sys/kernel/mm/transparent_hugepage/enabled", "", value, sizeof(value));
    fn(ctx, "transparent huge pages", value);
    read_line("/proc/loadavg", "", value, sizeof(value));
    fn(ctx, "load", value);
    fn(ctx, "compiler", COMPILER);
    fn(ctx, "flags", BENCH_CFLAGS);
    if (gmtime_r(&now, &tm) && strftime(value, sizeof(value), "%Y-%m-%d", &tm))
        fn(ctx, "date", value);
}
