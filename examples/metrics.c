/*
 * What a monitoring system gets of two vms: a table for people by the walk over all counters; with "prometheus", "openmetrics"
 * or "json" that text, as a host answers who asks for its metrics.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <flowq.h>

enum { VMS = 2, QUEUES = 2, FLOWS = 5, HEADERS = 28 };

/* UDP between 10.0.0.1, port 5000 + flow, and 10.0.1.1, port 53. Starts at the IP header, as on a TUN device. */
static struct flowq_pkt packet(uint8_t bytes[HEADERS], uint8_t flow, bool from_vm)
{
    const uint8_t inner[6] = {10, 0, 0, 1, 19, (uint8_t)(136 + flow)}, outer[6] = {10, 0, 1, 1, 0, 53};
    const uint8_t *source = from_vm ? inner : outer, *destination = from_vm ? outer : inner;

    memcpy(bytes, (const uint8_t[HEADERS]){0x45, 0, 0, HEADERS, 0, 0, 0, 0, 64, 17, [25] = 8}, HEADERS);
    memcpy(bytes + 12, source, 4);
    memcpy(bytes + 16, destination, 4);
    memcpy(bytes + 20, source + 4, 2);
    memcpy(bytes + 22, destination + 4, 2);
    return (struct flowq_pkt){.data = bytes, .len = HEADERS, .flags = FLOWQ_PKT_L3};
}

static struct flowq_vm *make_vm(const char *name)
{
    const struct flowq_vm_config config = {.size = sizeof(config),
                                           .name = name,
                                           .max_queue_pairs = QUEUES,
                                           .queue_stats = FLOWQ_ON,
                                           .secret = "the same answers in each run..."};
    struct flowq_vm *vm;
    int error = flowq_vm_create(&config, &vm);

    if (error != 0)
        errx(1, "flowq_vm_create: %s", strerror(-error));
    flowq_vm_set_queue_pairs(vm, QUEUES);
    return vm;
}

static void traffic(struct flowq_vm *vm, uint8_t flows)
{
    uint8_t bytes[HEADERS];

    for (uint8_t i = 0; i < 2 * flows; i++) {
        struct flowq_pkt pkt = packet(bytes, i % flows, true);
        flowq_tx_note(vm, &pkt, i % flows % QUEUES);
        pkt = packet(bytes, i % flows, false);
        flowq_rx_steer(vm, &pkt);
    }
}

static int show(void *ctx, const struct flowq_counter *c)
{
    if (c->value == 0)
        return 0;
    printf("%-8s %-22s %-12s %8" PRIu64 " %s\n", (const char *)ctx, c->name, c->label ? c->label_value : "", c->value, c->unit);
    return 0;
}

/* To whoever is connected: no buffer is needed. */
static void send_text(struct flowq_vm *const *vms, uint32_t format)
{
    if (flowq_counters_write(STDOUT_FILENO, vms, VMS, format) != 0)
        err(1, "standard output");
}

/* Into memory, as for a library that wants the answer whole. Counters may grow between the two calls. */
static void print_json(struct flowq_vm *const *vms)
{
    int64_t length = flowq_counters_print(NULL, 0, vms, VMS, FLOWQ_FORMAT_JSON);
    size_t room = length < 0 ? 0 : 2 * (size_t)length;
    char *text = malloc(room + 1);

    if (text == NULL || flowq_counters_print(text, room + 1, vms, VMS, FLOWQ_FORMAT_JSON) > (int64_t)room)
        errx(1, "no JSON");
    fputs(text, stdout);
    free(text);
}

int main(int argc, char **argv)
{
    static const char *const names[VMS] = {"red", "blue"};
    struct flowq_vm *vms[VMS];

    for (uint8_t i = 0; i < VMS; i++) {
        vms[i] = make_vm(names[i]);
        traffic(vms[i], FLOWS - i);
    }
    if (argc == 1) {
        for (size_t i = 0; i < VMS; i++)
            flowq_vm_counters(vms[i], show, (void *)(uintptr_t)names[i]);
    } else if (strcmp(argv[1], "prometheus") == 0) {
        send_text(vms, FLOWQ_FORMAT_PROMETHEUS);
    } else if (strcmp(argv[1], "openmetrics") == 0) {
        send_text(vms, FLOWQ_FORMAT_OPENMETRICS);
    } else if (strcmp(argv[1], "json") == 0) {
        print_json(vms);
    } else {
        errx(2, "usage: metrics [prometheus | openmetrics | json]");
    }
    for (size_t i = 0; i < VMS; i++)
        flowq_vm_destroy(vms[i]);
    return 0;
}
