/*
 * vswitch: statistics as text and as JSON.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vswitch.h"

typedef unsigned long long ull;

static ull value(_Atomic uint64_t *counter) { return (ull)atomic_load_explicit(counter, memory_order_relaxed); }

/* A queue that was never used is not worth a line. */
static bool is_used(struct port *port, uint32_t qid)
{
    struct queue_counts *counts = &port->counts[qid];
    return atomic_load(&port->rx_on[qid]) || value(&counts->from_vm) + value(&counts->to_vm) + value(&counts->late) > 0;
}

static struct flowq_stats stats_of(struct port *port)
{
    struct flowq_stats stats = {.size = sizeof(stats)};

    flowq_vm_stats(port->vm, &stats); /* fails in a thread that cannot register: then all is zero */
    return stats;
}

static void text_of_port(FILE *out, struct port *port)
{
    struct flowq_stats stats = stats_of(port);

    fprintf(out, "%s: steer %s, %u queues in use, %u transmitted on lately, %llu flows\n", port->name,
            way_name(atomic_load(&port->steer)), stats.queues_in_use, stats.queues_noted, (ull)stats.live);
    fprintf(out, "  notes:    ");
    for (uint32_t i = 0; i < FLOWQ_NOTE_SLOTS; i++)
        if (stats.note[i] > 0)
            fprintf(out, " %s %llu", flowq_note_name(i), (ull)stats.note[i]);
    fprintf(out, "\n  decisions:");
    for (uint32_t i = 0; i < FLOWQ_REASON_SLOTS; i++)
        if (stats.steer[i] > 0)
            fprintf(out, " %s %llu", flowq_reason_name(i), (ull)stats.steer[i]);
    fprintf(out, "\n  queue       from VM         to VM  ring full  just off  late  state\n");
    for (uint32_t q = 0; q < port->n_queues; q++) {
        struct queue_counts *counts = &port->counts[q];
        if (is_used(port, q))
            fprintf(out, "  %5u  %12llu  %12llu  %9llu  %8llu  %4llu  %s\n", q, value(&counts->from_vm), value(&counts->to_vm),
                    value(&counts->full), value(&counts->off), value(&counts->late), atomic_load(&port->rx_on[q]) ? "on" : "off");
    }
}

void report_text(FILE *out)
{
    for (uint32_t i = 0; i < the_switch.n_ports; i++)
        text_of_port(out, &the_switch.ports[i]);
    fflush(out);
}

/* ---- JSON: one object on one line ---- */

static void json_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            fprintf(out, "\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            fprintf(out, "\\u%04x", (unsigned)*text);
        else
            fputc(*text, out);
    }
    fputc('"', out);
}

/* The port's counters, as members with the names that all of flowq's formats have. */
struct members {
    FILE *out;
    const char *open; /* the object that is being written, by the name it has; NULL: none is */
};

static int json_counter(void *ctx, const struct flowq_counter *counter)
{
    struct members *members = ctx;

    if (members->open != NULL && members->open != counter->name) {
        fputc('}', members->out);
        members->open = NULL;
    }
    fputc(',', members->out);
    if (counter->label == NULL) {
        fprintf(members->out, "\"%s\":%llu", counter->name, (ull)counter->value);
        return 0;
    }
    if (members->open == NULL)
        fprintf(members->out, "\"%s\":{\"%s\":%llu", counter->name, counter->label_value, (ull)counter->value);
    else
        fprintf(members->out, "\"%s\":%llu", counter->label_value, (ull)counter->value);
    members->open = counter->name;
    return 0;
}

static void json_queue(FILE *out, struct port *port, uint32_t q)
{
    struct queue_counts *counts = &port->counts[q];

    fprintf(out, "%s{\"queue\":%u,\"on\":%s,\"from_vm\":%llu,\"to_vm\":%llu,\"to_vm_bytes\":%llu,", q == 0 ? "" : ",", q,
            atomic_load(&port->rx_on[q]) ? "true" : "false", value(&counts->from_vm), value(&counts->to_vm),
            value(&counts->to_vm_bytes));
    fprintf(out, "\"full\":%llu,\"off\":%llu,\"late\":%llu,\"broken\":%llu}", value(&counts->full), value(&counts->off),
            value(&counts->late), value(&counts->broken));
}

static void json_port(FILE *out, struct port *port)
{
    struct members members = {.out = out};

    fprintf(out, "%s{\"name\":", port->index == 0 ? "" : ",");
    json_string(out, port->name);
    fprintf(out, ",\"steer\":\"%s\",\"connections\":%u,\"no_queue\":%llu", way_name(atomic_load(&port->steer)),
            atomic_load(&port->connections), value(&port->no_queue));
    if (port->watch.flows != NULL)
        fprintf(out, ",\"moves\":%llu,\"overtakes\":%llu", value(&port->watch.moves), value(&port->watch.overtakes));
    flowq_vm_counters(port->vm, json_counter, &members); /* fails in a thread that cannot register: then there are none */
    if (members.open != NULL)
        fputc('}', out);
    fprintf(out, ",\"queues\":[");
    for (uint32_t q = 0; q < port->n_queues; q++)
        json_queue(out, port, q);
    fprintf(out, "]}");
}

void report_json(FILE *out)
{
    fprintf(out, "{\"turns\":%llu,\"idle_turns\":%llu,\"no_memory\":%llu,\"ports\":[", value(&the_switch.turns),
            value(&the_switch.idle_turns), value(&the_switch.no_memory));
    for (uint32_t i = 0; i < the_switch.n_ports; i++)
        json_port(out, &the_switch.ports[i]);
    fprintf(out, "]}\n");
    fflush(out);
}
