/*
 * flowq-top: how it goes in a program that steers with flowq, in a terminal.
 *
 *     top_source.c   asks: DPDK's telemetry socket of the drop-in, or lines of JSON as examples/vswitch writes them
 *     top_read.c     takes the answers apart: whatever they are, what comes out is numbers and bounded texts
 *     top_view.c     makes lines of text of two samples; all that is shown goes through grid_put(), which lets ASCII pass alone
 *     top.c          options, the terminal, the loop
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_EXAMPLES_TOP_H
#define FLOWQ_EXAMPLES_TOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TOP_PORTS = 64,   /* that are shown */
    TOP_QUEUES = 128, /* of one port: librte_vhost's most */
    TOP_FLOWS = 16,
    TOP_TEXT = 128, /* of a name: a socket's path has 107 bytes at most */
    TOP_COLUMNS = 240,
    TOP_LINES = 120
};

struct top_queue {
    bool there, on;
    uint64_t to_vm, from_vm;
};

struct top_flow {
    char id[24];
    uint64_t queue, moves;
};

struct top_port {
    uint64_t number;
    char name[TOP_TEXT], state[24];
    uint64_t to_vm, from_vm;
    uint64_t placed, answered; /* decisions that knew better than a hash, of all */
    uint64_t bound, moved, held, refused;
    uint64_t queues_in_use, queues_noted, flows, table_bytes, grown, shrunk, displaced;
    struct top_queue queue[TOP_QUEUES]; /* in telemetry: of the port that is looked at, only */
    struct top_flow flow[TOP_FLOWS];
    uint32_t n_flows;
    bool has_flows;
};

struct top_sample {
    uint64_t at_ns; /* 0: there is none */
    uint32_t n_ports;
    struct top_port port[TOP_PORTS];
};

/* ---- top_read.c ---- */

/* Of the answer to a telemetry command, {"command": {...}}. False: it is something else. */
bool read_ports(const char *text, size_t length, struct top_sample *s, uint64_t *next);
bool read_port(const char *text, size_t length, struct top_port *port);
bool read_queues(const char *text, size_t length, struct top_port *port, uint64_t *next);
bool read_moves(const char *text, size_t length, struct top_port *port);
/* A line of examples/vswitch --json. */
bool read_report(const char *text, size_t length, struct top_sample *s);

/* ---- top_source.c ---- */

enum top_result { TOP_SAMPLE, TOP_PROBLEM, TOP_END, TOP_QUIT };

/* Waits until fd can be read, until the time is up, or until the user has enough: what poll() says, -1 for that. */
typedef int top_wait_fn(int fd, int timeout_ms);

struct top_source {
    const char *path; /* "-": standard input */
    bool lines;       /* no socket */
    int fd;           /* -1: not connected */
    top_wait_fn *wait;
    char problem[96];
    char *buffer; /* of lines */
    size_t length;
    bool skipping; /* until the next line begins: this one is too long */
};

bool source_open(struct top_source *s, const char *path, top_wait_fn *wait);
/* The next sample. `selected`: the place of the port whose queues and flows are wanted. Waits as long as it takes, but not for an
   answer that does not come. */
enum top_result source_sample(struct top_source *s, struct top_sample *out, uint32_t selected);

/* ---- top_view.c ---- */

struct top_grid {
    uint32_t columns, lines;
    char text[TOP_LINES][TOP_COLUMNS + 1];
    bool strong[TOP_LINES];
};

struct top_screen {
    const char *source, *problem, *clock; /* problem: NULL or empty, there is none */
    const struct top_sample *now, *before;
    uint32_t selected;
};

/* columns and lines of the grid are set. */
void view_draw(struct top_grid *grid, const struct top_screen *screen);

#endif /* FLOWQ_EXAMPLES_TOP_H */
