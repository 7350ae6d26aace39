/*
 * flowq-top: the screen, as lines of text. Rates are differences of two samples; a counter that fell is one of a program that was
 * started anew, and has no rate yet.
 *
 *     what and how                 one line
 *     ports                        a third of the screen at most, around the one that is selected
 *     queues of that port          what it takes, but for three lines of flows
 *     its flows that move most     the rest
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "top.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { BAR_WIDTH = 20, NUMBER = 24, FLOW_LINES = 3 };

/* What is not a printable character of ASCII is a question mark: names come from outside. */
static __attribute__((format(printf, 4, 5))) void grid_put(struct top_grid *g, uint32_t line, uint32_t column, const char *format,
                                                           ...)
{
    char text[TOP_COLUMNS * 2];
    va_list args;

    if (line >= g->lines)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    for (const char *c = text; *c != '\0' && column < g->columns; c++)
        g->text[line][column++] = *c >= ' ' && *c <= '~' ? *c : '?';
}

/* The end of a name that is too long tells more than its beginning. */
static const char *shortened(const char *name, size_t width, char out[TOP_TEXT])
{
    size_t length = strlen(name);

    if (length <= width)
        return name;
    snprintf(out, TOP_TEXT, "..%s", name + length - (width - 2));
    return out;
}

/* Four digits, and what they are multiplied with. */
static const char *human(double n, char out[NUMBER])
{
    static const char units[] = " kMGT";
    uint32_t unit = 0;

    for (; n >= 9999.5 && unit < sizeof(units) - 2; unit++)
        n /= 1000;
    if (unit == 0)
        snprintf(out, NUMBER, "%.0f", n);
    else
        snprintf(out, NUMBER, n < 99.95 ? "%.1f%c" : "%.0f%c", n, units[unit]);
    return out;
}

/* ---- Two samples ---- */

static const struct top_port *same_port(const struct top_sample *s, const struct top_port *port)
{
    for (uint32_t i = 0; s->at_ns != 0 && i < s->n_ports; i++)
        if (s->port[i].number == port->number && strcmp(s->port[i].name, port->name) == 0)
            return &s->port[i];
    return NULL;
}

struct interval {
    double seconds;
    const struct top_port *now, *before; /* before: NULL, there was none */
};

static const char *rate(const struct interval *t, uint64_t now, uint64_t before, char out[NUMBER])
{
    if (t->before == NULL || t->seconds <= 0 || now < before)
        return "-";
    return human((double)(now - before) / t->seconds, out);
}

static struct interval interval_of(const struct top_screen *s, const struct top_port *port)
{
    struct interval t = {.now = port, .before = same_port(s->before, port)};

    t.seconds = (double)(int64_t)(s->now->at_ns - s->before->at_ns) / 1e9;
    return t;
}

#define RATE(t, member, out) rate(t, (t)->now->member, (t)->before == NULL ? 0 : (t)->before->member, out)

static const char *share(uint64_t part, uint64_t of, char out[NUMBER])
{
    if (of == 0 || part > of)
        return "-";
    snprintf(out, NUMBER, "%.1f %%", 100.0 * (double)part / (double)of);
    return out;
}

/* Since the sample before, or in all. */
static const char *in_place(const struct interval *t, char out[NUMBER])
{
    const struct top_port *now = t->now, *before = t->before;

    if (before != NULL && now->answered >= before->answered && now->placed >= before->placed)
        return share(now->placed - before->placed, now->answered - before->answered, out);
    return share(now->placed, now->answered, out);
}

/* ---- Parts of the screen ---- */

static uint32_t draw_ports(struct top_grid *g, const struct top_screen *s, uint32_t line, uint32_t most)
{
    uint32_t n = s->now->n_ports, shown = n < most ? n : most;
    uint32_t first = s->selected < shown ? 0 : s->selected - shown + 1;
    char a[NUMBER], b[NUMBER], c[NUMBER], d[NUMBER], e[NUMBER], f[NUMBER], name[TOP_TEXT];

    g->strong[line] = true;
    grid_put(g, line++, 0, "  %-17s %7s %7s %8s %7s %7s %6s  %s", "PORT", "TO VM/s", "FROM VM", "IN PLACE", "MOVES/s", "REFUSED",
             "FLOWS", "STATE");
    for (uint32_t i = first; i < first + shown; i++, line++) {
        const struct top_port *port = &s->now->port[i];
        struct interval t = interval_of(s, port);
        grid_put(g, line, 0, "%c %-17s %7s %7s %8s %7s %7s %6s  %s", i == s->selected ? '>' : ' ',
                 shortened(port->name, 17, name), RATE(&t, to_vm, a), RATE(&t, from_vm, b), in_place(&t, c), RATE(&t, moved, d),
                 RATE(&t, refused, e), human((double)port->flows, f), port->state);
    }
    return line;
}

static uint32_t draw_port(struct top_grid *g, const struct interval *t, uint32_t line)
{
    const struct top_port *p = t->now;
    char a[NUMBER], b[NUMBER], c[NUMBER], name[TOP_TEXT];

    g->strong[line] = true;
    grid_put(g, line++, 0, "%s: %" PRIu64 " queues in use, %" PRIu64 " sent on lately", shortened(p->name, 40, name),
             p->queues_in_use, p->queues_noted);
    grid_put(g, line++, 0, "  flows: %s new/s, %s moved/s, %s held back/s", RATE(t, bound, a), RATE(t, moved, b),
             RATE(t, held, c));
    grid_put(g, line++, 0, "  table: %s bytes, grown %" PRIu64 ", shrunk %" PRIu64 ", displaced %" PRIu64,
             human((double)p->table_bytes, a), p->grown, p->shrunk, p->displaced);
    return line;
}

static uint64_t gained(uint64_t now, uint64_t before) { return now >= before ? now - before : 0; }

static uint32_t draw_queues(struct top_grid *g, const struct interval *t, uint32_t line, uint32_t end)
{
    static const struct top_port nothing;
    const struct top_port *p = t->now, *before = t->before == NULL ? &nothing : t->before;
    uint64_t all = 0;
    uint32_t n = 0, left = 0;
    char a[NUMBER], b[NUMBER], c[NUMBER];

    for (uint32_t q = 0; q < TOP_QUEUES; q++) {
        all += gained(p->queue[q].to_vm, before->queue[q].to_vm);
        n += p->queue[q].there;
    }
    g->strong[line] = true;
    grid_put(g, line++, 0, "  %5s %8s %8s %8s  %-*s STATE", "QUEUE", "TO VM/s", "FROM VM", "SHARE", BAR_WIDTH, "");
    for (uint32_t q = 0; q < TOP_QUEUES; q++) {
        const struct top_queue *queue = &p->queue[q];
        uint64_t got = gained(queue->to_vm, before->queue[q].to_vm);
        struct interval known = *t;
        if (!queue->there)
            continue;
        if (line + 1 >= end && n > 1) { /* one line says how many more */
            left = n;
            break;
        }
        if (!before->queue[q].there)
            known.before = NULL;
        int bar = all == 0 ? 0 : (int)((got * BAR_WIDTH + all / 2) / all);
        grid_put(g, line++, 0, "  %5" PRIu32 " %8s %8s %8s  %-*.*s %s", q, rate(&known, queue->to_vm, before->queue[q].to_vm, a),
                 rate(&known, queue->from_vm, before->queue[q].from_vm, b), share(got, all, c), BAR_WIDTH, bar,
                 "####################", queue->on ? "on" : "off");
        n--;
    }
    if (left > 0)
        grid_put(g, line++, 0, "  and %" PRIu32 " more", left);
    return line;
}

static void draw_flows(struct top_grid *g, const struct top_port *p, uint32_t line)
{
    if (line >= g->lines || !p->has_flows)
        return;
    g->strong[line] = true;
    grid_put(g, line++, 0, "  %-20s %8s %8s", "FLOWS THAT MOVE MOST", "QUEUE", "MOVES");
    for (uint32_t i = 0; i < p->n_flows; i++)
        grid_put(g, line++, 0, "  %-20s %8" PRIu64 " %8" PRIu64, p->flow[i].id, p->flow[i].queue, p->flow[i].moves);
    if (p->n_flows == 0)
        grid_put(g, line, 0, "  none so far");
}

static void draw_head(struct top_grid *g, const struct top_screen *s)
{
    char name[TOP_TEXT];

    g->strong[0] = true;
    grid_put(g, 0, 0, "flowq-top  %s", shortened(s->source, g->columns > 60 ? g->columns - 40 : 20, name));
    if (s->problem != NULL && s->problem[0] != '\0') {
        grid_put(g, 1, 0, "%s", s->problem);
        g->strong[1] = true;
    }
    if (g->columns > 30)
        grid_put(g, 0, g->columns - 26, " %2" PRIu32 " ports  %s", s->now->n_ports, s->clock);
}

void view_draw(struct top_grid *g, const struct top_screen *s)
{
    for (uint32_t i = 0; i < TOP_LINES; i++) {
        memset(g->text[i], ' ', TOP_COLUMNS);
        g->text[i][g->columns] = '\0';
        g->strong[i] = false;
    }
    draw_head(g, s);
    if (s->now->n_ports == 0) {
        grid_put(g, 2, 0, s->now->at_ns == 0 ? "nothing has been heard yet" : "no ports");
        return;
    }
    uint32_t line = draw_ports(g, s, 2, g->lines / 3 > 3 ? g->lines / 3 - 2 : 1);
    const struct top_port *port = &s->now->port[s->selected];
    struct interval t = interval_of(s, port);
    if (line + 6 > g->lines)
        return;
    line = draw_port(g, &t, line + 1);
    uint32_t flows = port->has_flows ? FLOW_LINES : 0, n = port->n_flows > 1 ? port->n_flows - 1 : 0;
    uint32_t end = g->lines - (flows > 0 && n > 0 ? flows + (n < 3 ? n : 3) : flows);
    line = draw_queues(g, &t, line, end > line + 2 ? end : line + 2);
    draw_flows(g, port, line + 1);
}
