/*
 * stub_dpdk: of DPDK's other libraries what the drop-in and its tests use: mbufs, the log, telemetry.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "stub_vhost.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rte_tel_data;
typedef int (*telemetry_fn)(const char *command, const char *params, struct rte_tel_data *reply);

enum { N_COMMANDS = 8 };

static atomic_int live;

/* ---- mbufs ---- */

static struct rte_mbuf *new_segment(const void *bytes, uint32_t length)
{
    struct rte_mbuf *segment = aligned_alloc(_Alignof(struct rte_mbuf), sizeof(*segment));
    void *data = malloc(length == 0 ? 1 : length);

    if (segment == NULL || data == NULL)
        abort();
    memset(segment, 0, sizeof(*segment));
    memcpy(data, bytes, length);
    segment->buf_addr = data;
    segment->data_len = (uint16_t)length;
    segment->pkt_len = length;
    segment->nb_segs = 1;
    return segment;
}

struct rte_mbuf *stub_packet(const void *bytes, uint32_t length, uint32_t flow, uint32_t number)
{
    struct rte_mbuf *packet = new_segment(bytes, length);

    packet->dynfield1[0] = flow;
    packet->dynfield1[1] = number;
    atomic_fetch_add(&live, 1);
    return packet;
}

struct rte_mbuf *stub_packet_in_pieces(const void *bytes, uint32_t length, uint32_t piece, uint32_t flow, uint32_t number)
{
    struct rte_mbuf *packet = stub_packet(bytes, piece < length ? piece : length, flow, number), *last = packet;

    for (uint32_t at = piece; at < length; at += piece) {
        last->next = new_segment((const uint8_t *)bytes + at, piece < length - at ? piece : length - at);
        last = last->next;
        packet->nb_segs++;
    }
    packet->pkt_len = length;
    return packet;
}

void stub_free(struct rte_mbuf *packet)
{
    atomic_fetch_sub(&live, 1);
    while (packet != NULL) {
        struct rte_mbuf *next = packet->next;
        free(packet->buf_addr);
        free(packet);
        packet = next;
    }
}

int stub_packets(void) { return atomic_load(&live); }

void rte_pktmbuf_free_bulk(struct rte_mbuf **packets, unsigned int n);
void rte_pktmbuf_free_bulk(struct rte_mbuf **packets, unsigned int n)
{
    for (unsigned int i = 0; i < n; i++)
        stub_free(packets[i]);
}

/* ---- The log, and telemetry ---- */

static char log_text[65536];
static size_t log_length, log_read;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

int rte_log(uint32_t level, uint32_t type, const char *format, ...);
int rte_log(uint32_t level, uint32_t type, const char *format, ...)
{
    va_list arguments;

    (void)level;
    (void)type;
    pthread_mutex_lock(&log_lock);
    va_start(arguments, format);
    int n = vsnprintf(log_text + log_length, sizeof(log_text) - log_length, format, arguments);
    va_end(arguments);
    log_length = n < 0 || log_length + (size_t)n >= sizeof(log_text) ? log_length : log_length + (size_t)n;
    if (getenv("STUB_LOG") != NULL)
        fputs(log_text + log_length - (n < 0 ? 0 : n), stderr);
    pthread_mutex_unlock(&log_lock);
    return n;
}

int rte_log_register(const char *name);
int rte_log_register(const char *name)
{
    (void)name;
    return 40;
}

const char *stub_log(void)
{
    const char *new_text = log_text + log_read;

    log_read = log_length;
    return new_text;
}

int rte_eal_process_type(void);
int rte_eal_process_type(void) { return 0; }

const char *rte_version(void);
const char *rte_version(void) { return "DPDK 22.11.11"; }

static struct {
    char name[64];
    telemetry_fn fn;
} commands[N_COMMANDS];
static uint32_t n_commands, n_entries;
static char reply_text[32768];
static size_t reply_length;

int rte_telemetry_register_cmd(const char *name, telemetry_fn fn, const char *help);
int rte_telemetry_register_cmd(const char *name, telemetry_fn fn, const char *help)
{
    if (n_commands == N_COMMANDS || help == NULL)
        return -1;
    snprintf(commands[n_commands].name, sizeof(commands[0].name), "%s", name);
    commands[n_commands++].fn = fn;
    return 0;
}

int rte_tel_data_start_dict(struct rte_tel_data *reply);
int rte_tel_data_start_dict(struct rte_tel_data *reply)
{
    (void)reply;
    reply_length = n_entries = 0;
    return 0;
}

int rte_tel_data_add_dict_string(struct rte_tel_data *reply, const char *name, const char *value);
int rte_tel_data_add_dict_string(struct rte_tel_data *reply, const char *name, const char *value)
{
    (void)reply;
    for (const char *c = name; *c != '\0'; c++)
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/", *c) == NULL)
            return -1;
    if (++n_entries > 256)
        return -1;
    reply_length += (size_t)snprintf(reply_text + reply_length, sizeof(reply_text) - reply_length, "%s=%s;", name, value);
    return 0;
}

int rte_tel_data_add_dict_u64(struct rte_tel_data *reply, const char *name, uint64_t value);
int rte_tel_data_add_dict_u64(struct rte_tel_data *reply, const char *name, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    return rte_tel_data_add_dict_string(reply, name, text);
}

const char *stub_telemetry(const char *command, const char *params)
{
    reply_length = n_entries = 0;
    reply_text[0] = '\0';
    for (uint32_t i = 0; i < n_commands; i++)
        if (strcmp(commands[i].name, command) == 0)
            return commands[i].fn(command, params, NULL) == 0 ? reply_text : NULL;
    return NULL;
}

uint32_t stub_telemetry_entries(void) { return n_entries; }
