/*
 * flowq-top: from JSON to numbers. What is missing is 0, what is too long is cut, what is no JSON is refused: the other side may
 * be of another version, or be nobody one would trust.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "top.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t number(const json_t *object, const char *name)
{
    json_int_t n = json_integer_value(json_object_get(object, name));

    return n > 0 ? (uint64_t)n : 0;
}

static void text_of(const json_t *object, const char *name, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(object, name));

    snprintf(out, size, "%s", text == NULL ? "" : text);
}

/* The object that a command's name is for; it is the only member. NULL: there is none. */
static json_t *answer_of(const char *text, size_t length)
{
    json_t *whole = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL), *answer;

    answer = json_incref(json_object_iter_value(json_object_iter(whole)));
    json_decref(whole);
    if (json_is_object(answer))
        return answer;
    json_decref(answer);
    return NULL;
}

static bool has(const json_t *object, const char *name) { return json_object_get(object, name) != NULL; }

bool read_ports(const char *text, size_t length, struct top_sample *s, uint64_t *next)
{
    json_t *answer = answer_of(text, length), *value;
    const char *key;

    if (answer == NULL)
        return false;
    json_object_foreach(answer, key, value)
    {
        char *end;
        unsigned long long at = strtoull(key, &end, 10);
        if (end == key || *end != '\0' || !json_is_string(value) || s->n_ports == TOP_PORTS)
            continue;
        struct top_port *port = &s->port[s->n_ports++];
        port->number = at;
        snprintf(port->name, sizeof(port->name), "%s", json_string_value(value));
    }
    *next = has(answer, "next") ? number(answer, "next") : UINT64_MAX;
    json_decref(answer);
    return true;
}

/* Reasons with which a packet goes where the guest wants it, not where a hash says: all but fallback, keyless and drop. */
static const char *const placed[] = {"bound", "fragment", "icmp_error", "rss", "single"};
enum { N_PLACED = sizeof(placed) / sizeof(placed[0]) };

bool read_port(const char *text, size_t length, struct top_port *port)
{
    static const char *const classes[] = {"embryonic", "closing", "established"};
    json_t *answer = answer_of(text, length);
    char state[16], name[64];

    if (answer == NULL || !has(answer, "to_guest")) {
        json_decref(answer);
        return false;
    }
    text_of(answer, "steered", state, sizeof(state));
    const char *shown = strcmp(state, "yes") == 0 ? "steered" : strcmp(state, "no connection") == 0 ? "no guest" : state;
    snprintf(port->state, sizeof(port->state), "%s", shown);
    port->to_vm = port->answered = number(answer, "to_guest");
    port->from_vm = number(answer, "from_guest");
    for (size_t i = 0; i < N_PLACED; i++)
        port->placed += number(answer, placed[i]);
    port->bound = number(answer, "flowq_notes_bound");
    port->moved = number(answer, "flowq_notes_moved");
    port->held = number(answer, "flowq_notes_suppressed");
    port->refused = number(answer, "flowq_notes_refused");
    port->queues_in_use = number(answer, "flowq_queues_in_use");
    port->queues_noted = number(answer, "flowq_queues_noted");
    port->flows = number(answer, "flowq_flows_live");
    port->table_bytes = number(answer, "flowq_table_bytes");
    port->grown = number(answer, "flowq_table_grown");
    port->shrunk = number(answer, "flowq_table_shrunk");
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        snprintf(name, sizeof(name), "flowq_flows_displaced_%s", classes[i]);
        port->displaced += number(answer, name);
    }
    json_decref(answer);
    return true;
}

bool read_queues(const char *text, size_t length, struct top_port *port, uint64_t *next)
{
    json_t *answer = answer_of(text, length);
    char name[64];

    if (answer == NULL)
        return false;
    for (uint32_t q = 0; q < TOP_QUEUES; q++) {
        struct top_queue *queue = &port->queue[q];
        snprintf(name, sizeof(name), "q%" PRIu32 "_to_guest", q);
        if (!has(answer, name))
            continue;
        queue->there = true;
        queue->to_vm = number(answer, name);
        snprintf(name, sizeof(name), "q%" PRIu32 "_from_guest", q);
        queue->from_vm = number(answer, name);
        snprintf(name, sizeof(name), "q%" PRIu32 "_flowq_queue_in_use", q);
        queue->on = number(answer, name) != 0;
    }
    *next = has(answer, "next") ? number(answer, "next") : UINT64_MAX;
    json_decref(answer);
    return true;
}

bool read_moves(const char *text, size_t length, struct top_port *port)
{
    json_t *answer = answer_of(text, length);
    char name[64];

    if (answer == NULL)
        return false;
    port->has_flows = has(answer, "watched");
    for (uint32_t i = 0; i < TOP_FLOWS; i++) {
        struct top_flow *flow = &port->flow[port->n_flows];
        snprintf(name, sizeof(name), "f%" PRIu32 "_id", i);
        if (!has(answer, name))
            break;
        text_of(answer, name, flow->id, sizeof(flow->id));
        snprintf(name, sizeof(name), "f%" PRIu32 "_queue", i);
        flow->queue = number(answer, name);
        snprintf(name, sizeof(name), "f%" PRIu32 "_moves", i);
        flow->moves = number(answer, name);
        port->n_flows++;
    }
    json_decref(answer);
    return true;
}

/* ---- Lines ---- */

static uint64_t sum(const json_t *object)
{
    uint64_t n = 0;
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, key, value) n += number(object, key);
    return n;
}

static void read_report_queue(const json_t *object, struct top_port *port)
{
    uint64_t q = number(object, "queue"), to_vm = number(object, "to_vm"), from_vm = number(object, "from_vm");
    bool on = json_is_true(json_object_get(object, "on"));

    port->to_vm += to_vm;
    port->from_vm += from_vm;
    if (q < TOP_QUEUES && (on || to_vm + from_vm > 0))
        port->queue[q] = (struct top_queue){.there = true, .on = on, .to_vm = to_vm, .from_vm = from_vm};
}

static void read_report_port(const json_t *object, struct top_port *port)
{
    const json_t *notes = json_object_get(object, "flowq_notes"), *steered = json_object_get(object, "flowq_steered");
    const json_t *queues = json_object_get(object, "queues");
    char steer[16];

    text_of(object, "name", port->name, sizeof(port->name));
    text_of(object, "steer", steer, sizeof(steer));
    snprintf(port->state, sizeof(port->state), "%s", number(object, "connections") > 0 ? steer : "no guest");
    for (size_t i = 0; i < N_PLACED; i++)
        port->placed += number(steered, strcmp(placed[i], "icmp_error") == 0 ? "icmp-error" : placed[i]);
    port->answered = sum(steered);
    port->bound = number(notes, "bound");
    port->moved = number(notes, "moved");
    port->held = number(notes, "suppressed");
    port->refused = number(notes, "refused");
    port->queues_in_use = number(object, "flowq_queues_in_use");
    port->queues_noted = number(object, "flowq_queues_noted");
    port->flows = number(object, "flowq_flows_live");
    port->table_bytes = number(object, "flowq_table_bytes");
    port->grown = number(object, "flowq_table_grown");
    port->shrunk = number(object, "flowq_table_shrunk");
    port->displaced = sum(json_object_get(object, "flowq_flows_displaced"));
    for (size_t i = 0; i < json_array_size(queues); i++)
        read_report_queue(json_array_get(queues, i), port);
}

bool read_report(const char *text, size_t length, struct top_sample *s)
{
    json_t *whole = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    const json_t *ports = json_object_get(whole, "ports");
    bool is_report = json_is_array(ports);

    for (size_t i = 0; i < json_array_size(ports) && s->n_ports < TOP_PORTS; i++) {
        s->port[s->n_ports].number = i;
        read_report_port(json_array_get(ports, i), &s->port[s->n_ports++]);
    }
    json_decref(whole);
    return is_report;
}
