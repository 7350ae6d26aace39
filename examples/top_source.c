/*
 * flowq-top: where samples come from.
 *
 * DPDK's telemetry (SOCK_SEQPACKET): the other side greets, then each command, one packet, has one answer, one packet. An answer
 * that does not come in time ends the connection, so that a late one is not taken for the next: the next sample begins with a new
 * one.
 * Lines: a sample each, whenever they come.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "top.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    ANSWER_MAX = 1 << 16,     /* DPDK's answers have 16 KiB */
    LINE_MAX_BYTES = 1 << 20, /* 64 ports of 128 queues */
    ANSWER_MS = 5000,
    COMMAND_MAX = 64
};

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

__attribute__((format(printf, 2, 3))) static enum top_result fail(struct top_source *s, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(s->problem, sizeof(s->problem), format, args);
    va_end(args);
    if (!s->lines && s->fd >= 0) {
        close(s->fd);
        s->fd = -1;
    }
    return TOP_PROBLEM;
}

/* ---- Telemetry ---- */

/* One packet. The answer's length; 0: a problem has been told; -1: the user has enough. */
static long receive(struct top_source *s, char *answer)
{
    int ready = s->wait(s->fd, ANSWER_MS);

    if (ready < 0)
        return -1;
    if (ready == 0)
        return (long)fail(s, "no answer within %d ms", ANSWER_MS) * 0;
    ssize_t n = recv(s->fd, answer, ANSWER_MAX, MSG_TRUNC | MSG_DONTWAIT);
    if (n <= 0)
        (void)fail(s, "%s", n == 0 ? "the connection was closed" : strerror(errno));
    else if (n > ANSWER_MAX)
        (void)fail(s, "an answer of %zd bytes", n);
    return n <= 0 || n > ANSWER_MAX ? 0 : (long)n;
}

static long ask(struct top_source *s, char *answer, const char *format, ...) __attribute__((format(printf, 3, 4)));
static long ask(struct top_source *s, char *answer, const char *format, ...)
{
    char command[COMMAND_MAX];
    va_list args;

    va_start(args, format);
    int length = vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    if (send(s->fd, command, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT) != length)
        return (long)fail(s, "%s", strerror(errno)) * 0;
    return receive(s, answer);
}

static enum top_result greet(struct top_source *s, char *answer)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(s->path) >= sizeof(address.sun_path))
        return fail(s, "the path is too long for a socket");
    memcpy(address.sun_path, s->path, strlen(s->path) + 1);
    /* Not one that waits: a switch that is stopped accepts nobody, and keys are to be obeyed. */
    s->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd < 0 || connect(s->fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
        return fail(s, "%s", strerror(errno));
    long n = receive(s, answer);
    return n < 0 ? TOP_QUIT : n == 0 ? TOP_PROBLEM : TOP_SAMPLE;
}

/* The answers to one command after the other, until one fails. */
static enum top_result ask_all(struct top_source *s, struct top_sample *out, uint32_t selected, char *answer)
{
    uint64_t next = 0, page;
    long n;

    for (page = 0; next != UINT64_MAX && page < TOP_PORTS; page++) {
        if ((n = ask(s, answer, "/flowq/ports,%" PRIu64, next)) <= 0)
            return n < 0 ? TOP_QUIT : TOP_PROBLEM;
        if (!read_ports(answer, (size_t)n, out, &next))
            return fail(s, "no drop-in of flowq answers there");
    }
    for (uint32_t i = 0; i < out->n_ports; i++) {
        if ((n = ask(s, answer, "/flowq/port,%" PRIu64, out->port[i].number)) <= 0)
            return n < 0 ? TOP_QUIT : TOP_PROBLEM;
        if (!read_port(answer, (size_t)n, &out->port[i])) /* it may be gone */
            snprintf(out->port[i].state, sizeof(out->port[i].state), "unknown");
    }
    if (out->n_ports == 0)
        return TOP_SAMPLE;
    struct top_port *port = &out->port[selected < out->n_ports ? selected : out->n_ports - 1];
    for (next = page = 0; next != UINT64_MAX && page < TOP_QUEUES; page++) {
        if ((n = ask(s, answer, "/flowq/queues,%" PRIu64 ",%" PRIu64, port->number, next)) <= 0)
            return n < 0 ? TOP_QUIT : TOP_PROBLEM;
        if (!read_queues(answer, (size_t)n, port, &next))
            break;
    }
    if ((n = ask(s, answer, "/flowq/moves,%" PRIu64, port->number)) <= 0)
        return n < 0 ? TOP_QUIT : TOP_PROBLEM;
    (void)read_moves(answer, (size_t)n, port);
    return TOP_SAMPLE;
}

static enum top_result sample_of_socket(struct top_source *s, struct top_sample *out, uint32_t selected)
{
    static char answer[ANSWER_MAX];
    enum top_result r = s->fd < 0 ? greet(s, answer) : TOP_SAMPLE;

    return r == TOP_SAMPLE ? ask_all(s, out, selected, answer) : r;
}

/* ---- Lines ---- */

/* The length of the first line that is whole, with its end; 0: there is none yet. */
static size_t whole_line(const struct top_source *s)
{
    const char *end = memchr(s->buffer, '\n', s->length);

    return end == NULL ? 0 : (size_t)(end - s->buffer) + 1;
}

static void drop(struct top_source *s, size_t n)
{
    s->length -= n;
    memmove(s->buffer, s->buffer + n, s->length);
}

static enum top_result sample_of_lines(struct top_source *s, struct top_sample *out)
{
    for (;;) {
        size_t n = whole_line(s);
        if (n > 0) {
            bool skipped = s->skipping, good = !skipped && read_report(s->buffer, n, out);
            s->skipping = false;
            drop(s, n);
            return good ? TOP_SAMPLE : fail(s, skipped ? "a line of more than 1 MiB" : "a line that is no report of a switch");
        }
        if (s->length == LINE_MAX_BYTES) {
            s->skipping = true;
            s->length = 0;
        }
        if (s->wait(s->fd, -1) < 0)
            return TOP_QUIT;
        ssize_t got = read(s->fd, s->buffer + s->length, LINE_MAX_BYTES - s->length);
        if (got == 0)
            return TOP_END;
        if (got < 0 && errno != EINTR && errno != EAGAIN)
            return fail(s, "%s", strerror(errno)), TOP_END;
        s->length += got > 0 ? (size_t)got : 0;
    }
}

/* ---- Both ---- */

bool source_open(struct top_source *s, const char *path, top_wait_fn *wait)
{
    struct stat stat_of;

    *s = (struct top_source){.path = path, .fd = -1, .wait = wait};
    if (strcmp(path, "-") == 0) {
        s->lines = true;
        s->fd = STDIN_FILENO;
    } else if (stat(path, &stat_of) == 0 && !S_ISSOCK(stat_of.st_mode)) {
        s->lines = true;
        s->fd = open(path, O_RDONLY | O_CLOEXEC);
        if (s->fd < 0)
            return fail(s, "%s", strerror(errno)), false;
    }
    if (s->lines && (s->buffer = malloc(LINE_MAX_BYTES)) == NULL)
        return fail(s, "%s", strerror(errno)), false;
    return true;
}

enum top_result source_sample(struct top_source *s, struct top_sample *out, uint32_t selected)
{
    memset(out, 0, sizeof(*out));
    enum top_result r = s->lines ? sample_of_lines(s, out) : sample_of_socket(s, out, selected);
    out->at_ns = r == TOP_SAMPLE ? now_ns() : 0;
    if (r == TOP_SAMPLE)
        s->problem[0] = '\0';
    return r;
}
