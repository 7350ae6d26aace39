/*
 * What flowq-replay found, for programs: one JSON object. Member names are stable; new ones may come.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "replay.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* jansson's "new" setters take over the value, NULL included, and then fail; one flag remembers whether any did. */
static void put(bool *ok, json_t *object, const char *name, json_t *value)
{
    if (json_object_set_new(object, name, value) != 0)
        *ok = false;
}

static void add(bool *ok, json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) != 0)
        *ok = false;
}

static json_t *count(uint64_t n) { return json_integer((json_int_t)n); }

/* Names with dashes for members: "one queue" would ask for quotes in every query language. */
static const char *const method_members[N_METHODS] = {"flowq", "hash", "one_queue"};
static const char *const unjudged_members[N_UNJUDGED] = {"",           "not_sent_yet", "multicast",       "fragment",
                                                         "icmp_error", "unreadable",   "beyond_max_named"};

static json_t *methods(bool *ok, const uint64_t landed[], const uint64_t right[])
{
    json_t *object = json_object();

    for (size_t method = 0; method < N_METHODS; method++) {
        json_t *one = json_object();
        put(ok, one, "landed", count(landed[method]));
        put(ok, one, "right", count(right[method]));
        put(ok, object, method_members[method], one);
    }
    return object;
}

static json_t *queues(bool *ok, const struct results *results, uint32_t vcpus)
{
    json_t *array = json_array();

    for (uint32_t queue = 0; queue < vcpus; queue++) {
        uint64_t landed[N_METHODS], right[N_METHODS];
        json_t *row = json_object();
        for (size_t method = 0; method < N_METHODS; method++) {
            landed[method] = results->landed[method][queue];
            right[method] = results->right[method][queue];
        }
        put(ok, row, "queue", count(queue));
        put(ok, row, "sent", count(results->sent_on[queue]));
        put(ok, row, "wanted", count(results->wanted[queue]));
        put(ok, row, "methods", methods(ok, landed, right));
        add(ok, array, row);
    }
    return array;
}

static json_t *reasons(bool *ok, const struct results *results)
{
    json_t *object = json_object();

    for (uint32_t i = 0; i < FLOWQ_REASON_SLOTS; i++) {
        if (results->reason[i].received == 0)
            continue;
        json_t *row = json_object();
        put(ok, row, "received", count(results->reason[i].received));
        put(ok, row, "judged", count(results->reason[i].judged));
        put(ok, row, "right", count(results->reason[i].right));
        put(ok, object, flowq_reason_name(i), row);
    }
    return object;
}

static json_t *notes(bool *ok, struct flowq_vm *vm)
{
    struct flowq_stats stats = {.size = sizeof(stats)};
    json_t *object = json_object();

    if (flowq_vm_stats(vm, &stats) != 0)
        return object;
    for (uint32_t i = 0; i < FLOWQ_NOTE_SLOTS; i++)
        if (stats.note[i] > 0)
            put(ok, object, flowq_note_name(i), count(stats.note[i]));
    return object;
}

/* All of the vm's counters, with the names that all of flowq's formats have. */
static json_t *counters(bool *ok, struct flowq_vm *vm)
{
    int64_t length = flowq_counters_print(NULL, 0, &vm, 1, FLOWQ_FORMAT_JSON);
    size_t room = length < 0 ? 0 : 2 * (size_t)length + 1; /* they may grow meanwhile */
    char *text = calloc(1, room + 1);
    json_t *all = NULL, *of_vm;

    if (text != NULL && flowq_counters_print(text, room + 1, &vm, 1, FLOWQ_FORMAT_JSON) <= (int64_t)room)
        all = json_loads(text, 0, NULL);
    free(text);
    of_vm = json_incref(json_array_get(json_object_get(all, "vms"), 0));
    json_decref(all);
    if (json_object_del(of_vm, "vm") != 0)
        *ok = false;
    return of_vm;
}

static json_t *flow_row(bool *ok, const struct guest *guest, uint32_t number, struct flowq_vm *vm)
{
    const struct flow *flow = &guest->flows[number];
    struct flowq_binding binding = {.size = sizeof(binding)};
    struct flowq_tuple name;
    struct tuple tuple;
    char src[64], dst[64], scratch[16];
    json_t *row = json_object();

    flow_tuple(guest, number, &tuple);
    flow_to_flowq(&tuple, &name);
    tuple_ends(&tuple, src, dst, sizeof(src));
    put(ok, row, "protocol", json_string(protocol_name(tuple.protocol, scratch, sizeof(scratch))));
    put(ok, row, "remote", json_string(src));
    put(ok, row, "vm", json_string(dst));
    put(ok, row, "sent", count(flow->sent));
    put(ok, row, "received", count(flow->received));
    put(ok, row, "moves", count(flow->moves));
    put(ok, row, "queue", flow->queue == NO_QUEUE ? json_null() : count(flow->queue));
    put(ok, row, "bound", flowq_vm_lookup(vm, &name, &binding) == 0 ? count(binding.qid) : json_null());
    put(ok, row, "judged", count(flow->judged));
    for (size_t method = 0; method < N_METHODS; method++)
        put(ok, row, method_members[method], count(flow->right[method]));
    return row;
}

static json_t *flows(bool *ok, const struct guest *guest, struct flowq_vm *vm)
{
    json_t *array = json_array();

    for (uint32_t i = 0; i < guest->names.n; i++)
        add(ok, array, flow_row(ok, guest, i, vm));
    return array;
}

static json_t *totals(bool *ok, const struct results *results)
{
    json_t *object = json_object();

    for (enum method method = 0; method < N_METHODS; method++)
        put(ok, object, method_members[method], count(results_right(results, method)));
    return object;
}

static void put_guest(bool *ok, json_t *top, const struct guest *guest)
{
    const struct options *options = guest->options;
    json_t *object = json_object();

    put(ok, object, "vcpus", count(options->vcpus));
    put(ok, object, "threads", count(guest->n_threads));
    put(ok, object, "move_every", count(options->move_every));
    put(ok, object, "seed", count(options->seed));
    put(ok, object, "flows", count(guest->names.n));
    put(ok, object, "max_named", count(options->max_named));
    put(ok, object, "packets_beyond", count(guest->beyond));
    put(ok, object, "thread_moves", count(guest->thread_moves));
    put(ok, object, "flow_moves", count(guest->flow_moves));
    put(ok, top, "guest", object);
}

bool report_json(FILE *out, const struct results *results, const struct guest *guest, struct flowq_vm *vm)
{
    json_t *top = json_object(), *unjudged = json_object();
    bool ok = true;

    put(&ok, top, "flowq_version", json_string(flowq_version_string()));
    put(&ok, top, "captures", count(results->n_files));
    put(&ok, top, "complete", json_boolean(!results->interrupted && results->n_incomplete == 0));
    put(&ok, top, "interrupted", json_boolean(results->interrupted));
    put(&ok, top, "captures_incomplete", count(results->n_incomplete));
    put(&ok, top, "filtered", count(results->filtered));
    put(&ok, top, "packets", count(results->packets));
    put(&ok, top, "sent", count(results->sent));
    put(&ok, top, "received", count(results->received));
    put(&ok, top, "others", count(results->other));
    put(&ok, top, "seconds", json_real((double)results->duration_ns / 1e9));
    put(&ok, top, "vm", json_string(results->host));
    put(&ok, top, "vm_chosen", json_string(results->how));
    put_guest(&ok, top, guest);
    put(&ok, top, "judged", count(results->judged));
    put(&ok, top, "right", totals(&ok, results));
    put(&ok, top, "queues", queues(&ok, results, guest->options->vcpus));
    put(&ok, top, "reasons", reasons(&ok, results));
    put(&ok, top, "notes", notes(&ok, vm));
    put(&ok, top, "counters", counters(&ok, vm));
    for (uint32_t i = 1; i < N_UNJUDGED; i++)
        put(&ok, unjudged, unjudged_members[i], count(results->unjudged[i]));
    put(&ok, top, "not_judged", unjudged);
    if (guest->options->flows)
        put(&ok, top, "flow_list", flows(&ok, guest, vm));
    ok = ok && json_dumpf(top, out, JSON_INDENT(2)) == 0 && fputc('\n', out) != EOF;
    json_decref(top);
    return ok;
}

/* ---- One packet, explained ---- */

static json_t *headers(bool *ok, const struct flowq_explanation *e)
{
    json_t *array = json_array();

    for (unsigned i = 0; i < e->n_layers; i++) {
        json_t *row = json_object();
        put(ok, row, "header", json_string(flowq_layer_name(e->layer[i].kind)));
        put(ok, row, "offset", count(e->layer[i].offset));
        put(ok, row, "length", count(e->layer[i].length));
        put(ok, row, "passed_over", json_boolean(e->layer[i].flags & FLOWQ_LAYER_PASSED_OVER));
        add(ok, array, row);
    }
    return array;
}

static json_t *queue_number(uint32_t queue) { return queue == FLOWQ_DROP || queue == NO_QUEUE ? json_null() : count(queue); }

static json_t *binding(bool *ok, const struct flowq_explanation *e)
{
    json_t *object = json_object();

    put(ok, object, "queue", count(e->bound_qid));
    put(ok, object, "in_use", json_boolean(e->bound_in_use));
    put(ok, object, "class", json_string(flowq_class_name(e->bound_cls)));
    put(ok, object, "age_ms", count(e->bound_age_ms));
    return object;
}

bool explain_json(FILE *out, const struct packet *packet, enum direction direction, uint32_t queue,
                  const struct flowq_explanation *e)
{
    static const char *const directions[] = {
        [DIRECTION_OTHER] = "other", [DIRECTION_SENT] = "sent", [DIRECTION_RECEIVED] = "received"};
    json_t *top = json_object();
    char id[24];
    bool ok = true;

    snprintf(id, sizeof(id), "0x%016llx", (unsigned long long)e->id);
    put(&ok, top, "packet", count(packet->number));
    put(&ok, top, "seconds", json_real((double)packet->time_ns / 1e9));
    put(&ok, top, "direction", json_string(directions[direction]));
    put(&ok, top, "headers", headers(&ok, e));
    put(&ok, top, "end", json_string(flowq_end_name(e->end)));
    put(&ok, top, "end_at", count(e->end_at));
    put(&ok, top, "key", json_string(flowq_key_name(e->key)));
    put(&ok, top, "flow", e->id ? json_string(id) : json_null());
    put(&ok, top, "binding", e->bound ? binding(&ok, e) : json_null());
    put(&ok, top, "fallback", queue_number(e->fallback));
    put(&ok, top, "guest_queue", queue_number(queue));
    if (direction == DIRECTION_SENT) {
        put(&ok, top, "note", json_string(flowq_note_name(e->note & FLOWQ_NOTE_OUTCOME)));
        if (e->note & FLOWQ_NOTE_PENDING)
            put(&ok, top, "note_from", queue_number((uint16_t)(e->note >> FLOWQ_NOTE_FROM_SHIFT)));
    } else {
        put(&ok, top, "queue", queue_number(e->decision.qid));
        put(&ok, top, "reason", json_string(flowq_reason_name(e->decision.reason)));
    }
    ok = ok && json_dumpf(top, out, JSON_INDENT(2)) == 0 && fputc('\n', out) != EOF;
    json_decref(top);
    return ok;
}
