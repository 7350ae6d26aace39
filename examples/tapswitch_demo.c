/*
 * tapswitch --demo: the three ways to steer, side by side, counted inside the guest.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "tapswitch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_SKIP = 77, BAR = 40 };

static const char *const names[N_STEER] = {"flowq", "hash", "one queue"};

struct stage {
    int guest_ns, peer_ns;
    struct tapswitch *sw;
};

static int say(struct tap_error *error, const char *step)
{
    error->number = errno;
    snprintf(error->text, sizeof(error->text), "demo: %s: %s", step, strerror(errno));
    return -1;
}

/* The namespaces, a TAP in each, and the switch between them. */
static int set_stage(struct stage *stage, const struct demo_options *options, enum steer steer, struct tap_error *error)
{
    struct tap guest, peer;

    stage->guest_ns = kernel_new_netns();
    stage->peer_ns = stage->guest_ns < 0 ? -1 : kernel_new_netns();
    if (stage->peer_ns < 0)
        return say(error, "network namespace");
    if (tap_open(&guest, "guest", stage->guest_ns, options->queues, error) != 0)
        return -1;
    errno = -switch_add_port(stage->sw, &guest, steer);
    if (errno != 0) {
        tap_close(&guest);
        return say(error, "port");
    }
    if (kernel_transmit_by_mark(&guest) != 0)
        return say(error, "steering program for the guest's side (TUNSETSTEERINGEBPF)");
    if (tap_open(&peer, "peer", stage->peer_ns, options->queues, error) != 0)
        return -1;
    errno = -switch_add_port(stage->sw, &peer, STEER_AUTO);
    if (errno != 0) {
        tap_close(&peer);
        return say(error, "port");
    }
    errno = -switch_start(stage->sw, options->threads);
    return errno == 0 ? 0 : say(error, "threads");
}

static int play(const struct demo_options *options, enum steer steer, struct arrived *arrived, struct tap_error *error)
{
    struct stage stage = {.guest_ns = -1, .peer_ns = -1, .sw = calloc(1, sizeof(*stage.sw))};

    if (stage.sw == NULL)
        return say(error, "memory");
    stage.sw->stop_fd = -1;
    int result = set_stage(&stage, options, steer, error);
    if (result == 0)
        result = guest_run(options, stage.guest_ns, stage.peer_ns, arrived, error);
    switch_stop(stage.sw);
    switch_free(stage.sw);
    free(stage.sw);
    if (stage.guest_ns >= 0)
        close(stage.guest_ns);
    if (stage.peer_ns >= 0)
        close(stage.peer_ns);
    return result;
}

static uint64_t sum(const uint64_t *counts, uint32_t n)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < n; i++)
        total += counts[i];
    return total;
}

static double share(uint64_t part, uint64_t whole) { return whole == 0 ? 0 : (double)part / (double)whole; }

static void print_bar(const struct demo_options *options, enum steer steer, const struct arrived *arrived)
{
    uint64_t all = sum(arrived->all, options->queues), in_place = sum(arrived->in_place, options->queues);
    int length = (int)(share(in_place, all) * BAR + 0.5);

    printf("  %-10s %5.1f %%  %.*s%*s  %llu of %llu\n", names[steer], 100 * share(in_place, all), length,
           "########################################", BAR - length, "", (unsigned long long)in_place, (unsigned long long)all);
}

static void print_queues(const struct demo_options *options, enum steer steer, const struct arrived *arrived)
{
    printf("  %-10s", names[steer]);
    for (uint32_t q = 0; q < options->queues; q++)
        printf("  %8llu (%3.0f %%)", (unsigned long long)arrived->all[q], 100 * share(arrived->in_place[q], arrived->all[q]));
    printf("\n");
}

static void print(const struct demo_options *options, const struct arrived *arrived)
{
    printf("\nThe same with live traffic: a TAP with %u queue pairs whose kernel plays the guest, 16 flows\n"
           "(TCP and UDP, IPv4 and IPv6); about %llu times a second one of the guest's threads moves to another vCPU.\n"
           "Packets that arrived in the guest on the queue on which it then transmitted that flow (more is better)\n\n",
           options->queues, (unsigned long long)(arrived[0].moves / options->seconds));
    for (int steer = 0; steer < N_STEER; steer++)
        print_bar(options, (enum steer)steer, &arrived[steer]);
    if (options->move_ms > 0)
        printf("\nWhat flowq misses was on its way while a thread moved; with --move-ms 0 it misses nothing.\n");
    printf("\nArrived on each receive queue, and how many of these in place\n\n  %-10s", "");
    for (uint32_t q = 0; q < options->queues; q++)
        printf("  queue %-9u", q);
    printf("\n");
    for (int steer = 0; steer < N_STEER; steer++)
        print_queues(options, (enum steer)steer, &arrived[steer]);
}

/* What a machine says that has no TAP devices, no namespaces or no programs, or not for us. */
static bool is_refusal(int number)
{
    return number == EPERM || number == EACCES || number == ENOENT || number == ENODEV || number == ENOSYS || number == EINVAL;
}

int demo_run(const struct demo_options *options)
{
    struct arrived arrived[N_STEER];
    struct tap_error error;

    for (int steer = 0; steer < N_STEER; steer++) {
        if (play(options, (enum steer)steer, &arrived[steer], &error) == 0)
            continue;
        fprintf(stderr, PROGRAM ": %s\n", error.text);
        return is_refusal(error.number) ? EXIT_SKIP : EXIT_FAILURE;
    }
    print(options, arrived);
    return EXIT_SUCCESS;
}
