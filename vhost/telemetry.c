/*
 * flowq-vhost: what can be seen from outside, through DPDK's telemetry, whose thread calls.
 *
 *   /flowq/ports,FIRST          the sockets, by their number
 *   /flowq/port,N               one of them: what is learned, and why packets went where they went
 *   /flowq/queues,N,FIRST       its queues: those that are on, or ever carried anything
 *   /flowq/moves,N              its flows that were found on other queues most often, from question to question (moves.c)
 *   /flowq/explain,N,PACKET     where it would go, and why (question.h)
 *   /flowq/save                 the flows of all are saved, where a folder is set
 *
 * What flowq_vm_counters() shows has the name that it has there. A reply has 16 KiB and 256 entries at most, so lists come in
 * pages: "next" tells where to go on, and is left out at the end. Names of entries are letters, digits and underscores.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "moves.h"
#include "port.h"
#include "question.h"
#include "real.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <rte_log.h>
#include <rte_telemetry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PORTS_A_PAGE = 64,  /* of 128 bytes each at most */
    QUEUES_A_PAGE = 12, /* of 16 entries with 40 bytes each */
    EXPLAINED = 8192,   /* bytes of text: two for each of 40 layers, and what is said of them, are less */
    NAME_SIZE = 48,
    LINE_SIZE = RTE_TEL_MAX_STRING_LEN
};

static void add(struct rte_tel_data *reply, const char *prefix, const char *name, uint64_t value)
{
    char entry[NAME_SIZE];

    snprintf(entry, sizeof(entry), "%s%s", prefix, name);
    for (char *c = entry; *c != '\0'; c++)
        if (*c == '-' || *c == ' ')
            *c = '_';
    if (real.telemetry_uint != NULL)
        real.telemetry_uint(reply, entry, value);
    else
        real.telemetry_u64(reply, entry, value);
}

/* The numbers after the command, `n` of them at most; those that are missing stay 0. False: there is something else. */
static bool read_numbers(const char *text, uint32_t *numbers, uint32_t n)
{
    for (uint32_t i = 0; text != NULL && *text != '\0'; i++) {
        char *end;
        errno = 0;
        unsigned long number = strtoul(text, &end, 10);
        if (i == n || end == text || (*end != ',' && *end != '\0') || errno != 0 || number > UINT32_MAX)
            return false;
        numbers[i] = (uint32_t)number;
        text = *end == ',' ? end + 1 : end;
    }
    return true;
}

/* ---- /flowq/ports ---- */

static int show_ports(const char *command, const char *params, struct rte_tel_data *reply)
{
    uint32_t first = 0, shown = 0, next = UINT32_MAX;

    (void)command;
    if (!read_numbers(params, &first, 1))
        return -EINVAL;
    real.telemetry_start(reply);
    pthread_mutex_lock(&ports_lock);
    /* Newest first: the numbers go down. */
    for (struct port *port = port_first_locked(); port != NULL; port = port->next) {
        char name[NAME_SIZE], line[LINE_SIZE];
        if (port->app == NULL || port->index < first)
            continue;
        if (port->index >= first + PORTS_A_PAGE) {
            next = port->index < next ? port->index : next;
            continue;
        }
        snprintf(name, sizeof(name), "%" PRIu32, port->index);
        snprintf(line, sizeof(line), "%s", port->path);
        real.telemetry_string(reply, name, line);
        shown++;
    }
    pthread_mutex_unlock(&ports_lock);
    add(reply, "", "shown", shown);
    if (next != UINT32_MAX)
        add(reply, "", "next", next);
    return 0;
}

/* ---- /flowq/port ---- */

struct sums {
    uint64_t taken, refused, read, late, discarded;
    uint64_t reasons[N_REASONS];
};

static void sum_queue(const struct port *port, uint32_t q, struct sums *sums)
{
    const struct receive_ring *receive = &port->receive[q];
    const struct transmit_ring *transmit = &port->transmit[q];

    sums->refused += atomic_load_explicit(&receive->refused, memory_order_relaxed);
    for (uint32_t reason = 0; reason < N_REASONS; reason++) {
        uint64_t n = atomic_load_explicit(&receive->reasons[reason], memory_order_relaxed);
        sums->reasons[reason] += n;
        sums->taken += n;
    }
    sums->read += atomic_load_explicit(&transmit->read, memory_order_relaxed);
    sums->late += atomic_load_explicit(&transmit->late, memory_order_relaxed);
    sums->discarded += atomic_load_explicit(&transmit->discarded, memory_order_relaxed);
}

static void add_sums(struct rte_tel_data *reply, const char *prefix, const struct sums *sums)
{
    add(reply, prefix, "to_guest", sums->taken);
    add(reply, prefix, "refused", sums->refused);
    for (uint32_t reason = 0; reason < N_REASONS; reason++)
        add(reply, prefix, flowq_reason_name(reason), sums->reasons[reason]);
    add(reply, prefix, "from_guest", sums->read);
    add(reply, prefix, "drained", sums->late);
    add(reply, prefix, "discarded", sums->discarded);
}

/* A counter by its name; where numbers of one name have a label, with its value behind it. Of queues: /flowq/queues. */
static int add_counter(void *ctx, const struct flowq_counter *counter)
{
    char name[NAME_SIZE];

    if (counter->label != NULL && strcmp(counter->label, "queue") == 0)
        return 0;
    snprintf(name, sizeof(name), "%s%s%s", counter->name, counter->label == NULL ? "" : "_",
             counter->label == NULL ? "" : counter->label_value);
    add(ctx, "", name, counter->value);
    return 0;
}

/* Not while ports_lock is held: a port is never freed. */
static struct port *find(uint32_t index, char *path, int *device, uint32_t *connections)
{
    pthread_mutex_lock(&ports_lock);
    struct port *port = port_at_locked(index);
    if (port != NULL && port->app == NULL)
        port = NULL;
    if (port != NULL) {
        snprintf(path, LINE_SIZE, "%s", port->path);
        *device = port->vid;
        *connections = port->connections;
    }
    pthread_mutex_unlock(&ports_lock);
    return port;
}

static int show_port(const char *command, const char *params, struct rte_tel_data *reply)
{
    uint32_t index = 0, connections;
    int device;
    char path[LINE_SIZE];
    struct sums sums = {0};

    (void)command;
    if (!read_numbers(params, &index, 1))
        return -EINVAL;
    struct port *port = find(index, path, &device, &connections);
    if (port == NULL)
        return -ENOENT;
    for (uint32_t q = 0; q < MAX_PAIRS; q++)
        sum_queue(port, q, &sums);
    real.telemetry_start(reply);
    real.telemetry_string(reply, "path", path);
    real.telemetry_string(reply, "steered", port_of(device) == port ? "yes" : device < 0 ? "no connection" : "left alone");
    add(reply, "", "connections", connections);
    add_sums(reply, "", &sums);
    flowq_vm_counters(port->vm, add_counter, reply); /* fails where memory is short: then there are none */
    return 0;
}

/* ---- /flowq/queues ---- */

static bool is_busy(const struct port *port, uint32_t q, bool *on, struct sums *sums)
{
    struct flowq_queue_stats stats = {.size = sizeof(stats)};

    memset(sums, 0, sizeof(*sums));
    sum_queue(port, q, sums);
    *on = flowq_vm_queue_stats(port->vm, q, &stats) == 0 && stats.in_use != 0;
    return *on || (sums->taken | sums->refused | sums->read) != 0;
}

static void add_queue(struct rte_tel_data *reply, const struct port *port, uint32_t q, bool on, const struct sums *sums)
{
    char prefix[NAME_SIZE];

    snprintf(prefix, sizeof(prefix), "q%" PRIu32 "_", q);
    add(reply, prefix, "flowq_queue_in_use", on);
    add(reply, prefix, "hidden", atomic_load(&port->transmit[q].state) != RING_OPEN);
    add_sums(reply, prefix, sums);
}

static int show_queues(const char *command, const char *params, struct rte_tel_data *reply)
{
    uint32_t numbers[2] = {0, 0}, connections, shown = 0;
    int device;
    char path[LINE_SIZE];

    (void)command;
    if (!read_numbers(params, numbers, 2))
        return -EINVAL;
    struct port *port = find(numbers[0], path, &device, &connections);
    if (port == NULL)
        return -ENOENT;
    real.telemetry_start(reply);
    for (uint32_t q = numbers[1]; q < MAX_PAIRS; q++) {
        struct sums sums;
        bool on;
        if (!is_busy(port, q, &on, &sums))
            continue;
        if (shown++ == QUEUES_A_PAGE) {
            add(reply, "", "next", q);
            break;
        }
        add_queue(reply, port, q, on, &sums);
    }
    return 0;
}

/* ---- /flowq/save ---- */

static int save_all(const char *command, const char *params, struct rte_tel_data *reply)
{
    uint32_t saved, failed;

    (void)command;
    if (params != NULL && *params != '\0')
        return -EINVAL;
    if (!state_save_all(&saved, &failed))
        return -ENOTSUP;
    real.telemetry_start(reply);
    add(reply, "", "saved", saved);
    add(reply, "", "failed", failed);
    return 0;
}

/* ---- /flowq/moves ---- */

static int show_moves(const char *command, const char *params, struct rte_tel_data *reply)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* each connection to telemetry has a thread */
    static struct moves *moves;
    uint32_t index = 0, connections;
    int device;
    char path[LINE_SIZE];

    (void)command;
    if (!read_numbers(params, &index, 1))
        return -EINVAL;
    struct port *port = find(index, path, &device, &connections);
    if (port == NULL)
        return -ENOENT;
    pthread_mutex_lock(&lock);
    int error = moves_look(&moves, port->vm);
    if (error == 0) {
        real.telemetry_start(reply);
        add(reply, "", "watched", moves->n_watched);
        add(reply, "", "unwatched", moves->n_unwatched);
        for (uint32_t i = 0; i < moves->n_most; i++) {
            char prefix[NAME_SIZE], id[NAME_SIZE], name[NAME_SIZE];
            snprintf(prefix, sizeof(prefix), "f%" PRIu32 "_", i);
            snprintf(name, sizeof(name), "f%" PRIu32 "_id", i);
            snprintf(id, sizeof(id), "0x%016" PRIx64, moves->most[i].id);
            real.telemetry_string(reply, name, id);
            add(reply, prefix, "queue", moves->most[i].queue);
            add(reply, prefix, "moves", moves->most[i].moves);
        }
    }
    pthread_mutex_unlock(&lock);
    return error;
}

/* ---- /flowq/explain ---- */

/* Line by line: a string in a reply is short. */
static void add_text(struct rte_tel_data *reply, char *text)
{
    char *rest = text;

    for (uint32_t i = 0; rest != NULL && *rest != '\0'; i++) {
        char name[NAME_SIZE], line[LINE_SIZE];
        snprintf(name, sizeof(name), "line_%02" PRIu32, i);
        snprintf(line, sizeof(line), "%s", strsep(&rest, "\n"));
        real.telemetry_string(reply, name, line);
    }
}

static void add_explanation(struct rte_tel_data *reply, const struct flowq_explanation *why)
{
    char text[EXPLAINED], id[NAME_SIZE];

    real.telemetry_start(reply);
    if (why->decision.qid != FLOWQ_DROP)
        add(reply, "", "queue", why->decision.qid);
    real.telemetry_string(reply, "reason", flowq_reason_name(why->decision.reason));
    if (why->fallback != FLOWQ_DROP)
        add(reply, "", "fallback_queue", why->fallback);
    if (why->id != 0) {
        snprintf(id, sizeof(id), "0x%016" PRIx64, why->id);
        real.telemetry_string(reply, "flow", id);
    }
    if (why->bound) {
        add(reply, "", "bound_queue", why->bound_qid);
        add(reply, "", "bound_queue_in_use", why->bound_in_use);
        add(reply, "", "bound_age_ms", why->bound_age_ms);
        real.telemetry_string(reply, "bound_class", flowq_class_name(why->bound_cls));
    }
    if (flowq_explanation_print(text, sizeof(text), why) > 0)
        add_text(reply, text);
}

static int explain(const char *command, const char *params, struct rte_tel_data *reply)
{
    struct flowq_explanation why = {.size = sizeof(why)};
    struct question question;
    uint32_t index, connections;
    int device;
    char number[NAME_SIZE], path[LINE_SIZE];
    size_t length = params == NULL ? 0 : strcspn(params, ",");

    (void)command;
    if (length == 0 || length >= sizeof(number) || params[length] == '\0')
        return -EINVAL;
    snprintf(number, sizeof(number), "%.*s", (int)length, params);
    if (!read_numbers(number, &index, 1) || !question_read(&question, params + length + 1))
        return -EINVAL;
    struct port *port = find(index, path, &device, &connections);
    if (port == NULL)
        return -ENOENT;
    int error = flowq_rx_explain(port->vm, &(struct flowq_pkt){.data = question.bytes, .len = question.len}, &why);
    if (error == 0)
        add_explanation(reply, &why);
    return error;
}

/* ---- Start ---- */

/* RTE_PROC_PRIMARY is 0. A secondary process has no telemetry of its own that would be read. */
static bool is_possible(void)
{
    return real.process_type != NULL && real.process_type() == 0 && real.telemetry_register != NULL &&
           real.telemetry_start != NULL && real.telemetry_string != NULL &&
           (real.telemetry_uint != NULL || real.telemetry_u64 != NULL);
}

static void start(void)
{
    if (!is_possible())
        return;
    int error = real.telemetry_register("/flowq/ports", show_ports, "The sockets that flowq steers. Parameter: first number");
    if (error == 0)
        error = real.telemetry_register("/flowq/port", show_port, "What flowq knows of one. Parameter: its number");
    if (error == 0)
        error = real.telemetry_register("/flowq/queues", show_queues, "Its queues. Parameters: its number, first queue");
    if (error == 0)
        error = real.telemetry_register("/flowq/moves", show_moves, "Its flows that change queues most. Parameter: its number");
    if (error == 0)
        error = real.telemetry_register("/flowq/explain", explain, "Why a packet goes where it goes. Parameters: number, packet");
    if (error == 0)
        error = real.telemetry_register("/flowq/save", save_all, "Saves the flows of all, where FLOWQ_VHOST has state=FOLDER");
    if (error != 0)
        say(RTE_LOG_WARNING, "no telemetry: %s", strerror(-error));
}

void telemetry_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, start);
}
