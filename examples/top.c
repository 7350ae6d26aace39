/*
 * flowq-top: what a program that steers with flowq does now: ports, queues, packets a second, flows that move. For the drop-in it
 * asks DPDK's telemetry; `vswitch --json --every 1000 ... | flowq-top -` reads the example's reports.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "top.h"

#include <curses.h>
#include <errno.h>
#include <flowq.h>
#include <getopt.h>
#include <locale.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STATUS_PROBLEM = 1, STATUS_USAGE = 2, COLUMNS_DEFAULT = 80, LINES_DEFAULT = 24, INTERVAL_MAX_MS = 3600000 };

static struct options {
    const char *source;
    bool batch;
    long samples; /* 0: until it ends */
    int interval_ms;
    uint32_t columns, lines; /* of batch mode */
} options = {.interval_ms = 1000, .columns = COLUMNS_DEFAULT, .lines = LINES_DEFAULT};

static struct top_source source;
static struct top_sample samples[2];
static uint32_t newest, selected;
static bool quit;
static int keyboard = -1; /* -1: nobody's */

/* ---- The screen ---- */

static void fill(struct top_grid *grid)
{
    char clock[16] = "";
    time_t now = time(NULL);
    struct tm local;

    if (localtime_r(&now, &local) != NULL)
        strftime(clock, sizeof(clock), "%H:%M:%S", &local);
    struct top_screen screen = {.source = options.source,
                                .problem = source.problem,
                                .clock = clock,
                                .now = &samples[newest],
                                .before = &samples[!newest],
                                .selected = selected};
    view_draw(grid, &screen);
}

static void draw(void)
{
    static struct top_grid grid;
    int lines, columns;

    getmaxyx(stdscr, lines, columns);
    grid.lines = lines < 1 ? 1 : lines > TOP_LINES ? TOP_LINES : (uint32_t)lines;
    grid.columns = columns < 1 ? 1 : columns > TOP_COLUMNS ? TOP_COLUMNS : (uint32_t)columns;
    fill(&grid);
    erase();
    for (uint32_t i = 0; i < grid.lines; i++) {
        attrset(grid.strong[i] ? A_BOLD : A_NORMAL);
        mvaddnstr((int)i, 0, grid.text[i], (int)grid.columns);
    }
    refresh();
}

static void print(void)
{
    static struct top_grid grid;

    grid.lines = options.lines;
    grid.columns = options.columns;
    fill(&grid);
    for (uint32_t i = 0; i < grid.lines; i++) {
        size_t length = strlen(grid.text[i]);
        while (length > 0 && grid.text[i][length - 1] == ' ')
            length--;
        printf("%.*s\n", (int)length, grid.text[i]);
    }
    fflush(stdout);
}

/* ---- Waiting ---- */

static void press(int key)
{
    uint32_t n = samples[newest].n_ports;

    if (key == 'q' || key == 3 || key == 4) /* Ctrl-C, Ctrl-D */
        quit = true;
    else if ((key == KEY_DOWN || key == 'j') && selected + 1 < n)
        selected++;
    else if ((key == KEY_UP || key == 'k') && selected > 0)
        selected--;
}

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* The user's keys are obeyed at once, whatever else is waited for. */
static int wait_for(int fd, int timeout_ms)
{
    int64_t end = now_ms() + timeout_ms;

    for (;;) {
        struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = keyboard, .events = POLLIN}};
        int64_t left = timeout_ms < 0 ? -1 : end - now_ms();
        int n = poll(fds, 2, timeout_ms < 0 ? -1 : left > 0 ? (int)left : 0);
        if (n < 0 && errno != EINTR)
            return -1;
        if (keyboard >= 0 && (n < 0 || fds[1].revents != 0)) { /* a signal: the window has another size */
            for (int key; (key = getch()) != ERR;)
                press(key);
            if (fds[1].revents & (POLLHUP | POLLERR | POLLNVAL))
                quit = true;
            if (!quit)
                draw();
        }
        if (quit)
            return -1;
        if (n > 0 && fds[0].revents != 0)
            return 1;
        if (timeout_ms >= 0 && now_ms() >= end)
            return 0;
    }
}

/* ---- Modes ---- */

static enum top_result take_sample(void)
{
    static struct top_sample fresh;
    enum top_result r = source_sample(&source, &fresh, selected);

    if (r != TOP_SAMPLE)
        return r;
    newest = !newest;
    samples[newest] = fresh;
    if (selected >= fresh.n_ports)
        selected = fresh.n_ports > 0 ? fresh.n_ports - 1 : 0;
    return r;
}

static int say_problem(void)
{
    struct top_grid grid;

    /* What it says may be from outside; the screen's way makes it harmless. */
    grid.lines = 2;
    grid.columns = TOP_COLUMNS;
    view_draw(&grid, &(struct top_screen){.source = options.source,
                                          .problem = source.problem,
                                          .clock = "",
                                          .now = &(struct top_sample){.at_ns = 0},
                                          .before = &(struct top_sample){.at_ns = 0}});
    grid.text[1][strcspn(grid.text[1], "\n")] = '\0';
    fprintf(stderr, "flowq-top: %.96s\n", grid.text[1]);
    return STATUS_PROBLEM;
}

static int run_batch(void)
{
    for (long n = 0; options.samples == 0 || n < options.samples; n++) {
        if (n > 0 && !source.lines && wait_for(-1, options.interval_ms) < 0)
            break;
        enum top_result r = take_sample();
        if (r == TOP_END)
            return n > 0 && source.problem[0] == '\0' ? EXIT_SUCCESS : say_problem();
        if (r == TOP_PROBLEM && !source.lines)
            return say_problem();
        print();
    }
    return ferror(stdout) ? STATUS_PROBLEM : EXIT_SUCCESS;
}

static int run_screen(FILE *keys)
{
    SCREEN *terminal = newterm(NULL, stdout, keys);

    if (terminal == NULL) {
        fprintf(stderr, "flowq-top: this terminal (TERM) is not known; -b does without\n");
        return STATUS_PROBLEM;
    }
    raw();
    noecho();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    curs_set(0);
    keyboard = fileno(keys);
    for (bool ended = false; !quit;) {
        draw();
        enum top_result r = ended ? TOP_END : take_sample();
        if (r == TOP_END && !ended) {
            snprintf(source.problem, sizeof(source.problem), "the reports have ended");
            ended = true;
        }
        if (quit)
            break;
        draw();
        if (!source.lines || ended)
            (void)wait_for(-1, options.interval_ms);
    }
    endwin();
    delscreen(terminal);
    return EXIT_SUCCESS;
}

/* ---- Options ---- */

static int usage(FILE *out, int status)
{
    fprintf(out, "usage: flowq-top [-b] [-d SECONDS] [-f PREFIX] [-n COUNT] [-s COLUMNSxLINES] [SOCKET | FILE | -]\n"
                 "       flowq-top -h | -V\n");
    return status;
}

/* As DPDK does. */
static const char *default_source(const char *prefix)
{
    static char path[TOP_TEXT];
    const char *folder = getenv("XDG_RUNTIME_DIR");

    if (getuid() == 0)
        folder = "/var/run";
    else if (folder == NULL)
        folder = "/tmp";
    int n = snprintf(path, sizeof(path), "%s/dpdk/%s/dpdk_telemetry.v2", folder, prefix);
    return n < (int)sizeof(path) ? path : NULL;
}

static bool read_number(const char *text, double low, double high, double *out)
{
    char *end;

    *out = strtod(text, &end);
    return end != text && *end == '\0' && *out >= low && *out <= high;
}

static bool take_option(int option, const char *value, const char **prefix)
{
    double number = 0;
    char rest;

    switch (option) {
    case 'b':
        options.batch = true;
        return true;
    case 'd':
        options.interval_ms = read_number(value, 0.01, INTERVAL_MAX_MS / 1000, &number) ? (int)(number * 1000) : -1;
        return options.interval_ms > 0;
    case 'f':
        *prefix = value;
        return true;
    case 'n':
        options.samples = read_number(value, 1, 1e9, &number) ? (long)number : 0;
        return options.samples > 0;
    case 's':
        return sscanf(value, "%3ux%3u%c", &options.columns, &options.lines, &rest) == 2 && options.columns > 0 &&
               options.columns <= TOP_COLUMNS && options.lines > 0 && options.lines <= TOP_LINES;
    default:
        return false;
    }
}

int main(int argc, char **argv)
{
    const char *prefix = "rte";
    FILE *keys = stdin;

    setlocale(LC_ALL, "C");
    for (int option; (option = getopt(argc, argv, "bd:f:n:s:hV")) != -1;) {
        if (option == 'h')
            return usage(stdout, EXIT_SUCCESS);
        if (option == 'V')
            return printf("flowq-top %d.%d.%d\n", FLOWQ_VERSION_MAJOR, FLOWQ_VERSION_MINOR, FLOWQ_VERSION_PATCH), EXIT_SUCCESS;
        if (!take_option(option, optarg, &prefix))
            return usage(stderr, STATUS_USAGE);
    }
    options.source = optind < argc ? argv[optind] : default_source(prefix);
    if (argc > optind + 1 || options.source == NULL)
        return usage(stderr, STATUS_USAGE);
    if (!source_open(&source, options.source, wait_for))
        return say_problem();
    if (options.batch)
        return run_batch();
    if (source.lines && source.fd == STDIN_FILENO)
        keys = fopen("/dev/tty", "r");
    if (keys == NULL || !isatty(STDOUT_FILENO) || !isatty(fileno(keys))) {
        fprintf(stderr, "flowq-top: no terminal; -b does without\n");
        return STATUS_PROBLEM;
    }
    return run_screen(keys);
}
