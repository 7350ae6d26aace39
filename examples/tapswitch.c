/*
 * tapswitch: options, start and stop. tapswitch.h has the overview.
 *
 * From the folder it was built in, as root: the demo, or two namespaces that reach each other through it:
 *
 *     examples/tapswitch --demo
 *     ip netns add a; ip netns add b; examples/tapswitch tap0@a tap1@b,steer=hash
 *
 * kill -USR1 prints what each queue carried, --help tells the rest.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "tapswitch.h"

#include "command.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage_line[] = "usage: " PROGRAM " [OPTION]... PORT PORT...\n       " PROGRAM " [OPTION]... --demo\n";

static const char help_text[] =
    "A learning Ethernet switch between multiqueue TAP devices. flowq chooses on which queue of a TAP a frame arrives.\n"
    "\n"
    "PORT is NAME[@NETNS][,steer=auto|hash|queue0]\n"
    "  NAME        the TAP device, made unless it is there; NETNS: the network namespace it is in, by name or path\n"
    "  steer=auto  to the queue on which that side last transmitted for the flow (default); hash: a hash of the flow;\n"
    "              queue0: all to the first\n"
    "\n"
    "  --queues N   queue pairs of each TAP, 1 to 16; default 4\n"
    "  --threads N  threads that forward, 1 to 16; default 2\n"
    "  --demo       no ports: shows the three ways to steer side by side, in namespaces of its own\n"
    "  --seconds N  of each way in the demo, 1 to 3600; default 2\n"
    "  --move-ms N  in the demo each flow moves about so often, 0 (never) to 100000; default 200\n"
    "  --help, --version\n"
    "\n"
    "It runs until SIGINT or SIGTERM; then, and at every SIGUSR1, it prints what each queue carried. It needs /dev/net/tun and\n"
    "CAP_NET_ADMIN, with @NETNS and --demo also CAP_SYS_ADMIN.\n"
    "Exit status: 0; 1 an error; 2 wrong usage; 77 the demo cannot run on this machine.\n";

/* ---- Ports ---- */

static int add_port(struct tapswitch *sw, char *text, uint32_t queues)
{
    enum steer steer = STEER_AUTO;
    struct tap_error error;
    struct tap tap;
    int netns = -1;
    char *setting = strchr(text, ',');

    if (setting != NULL) {
        *setting++ = '\0';
        if (strncmp(setting, "steer=", 6) != 0)
            bad_usage("a port has no such setting", setting);
        steer = parse_steer(setting + 6);
    }
    char *place = strchr(text, '@');
    if (place != NULL) {
        *place++ = '\0';
        netns = netns_open(place, &error);
    }
    int result = place != NULL && netns < 0 ? -1 : tap_open(&tap, text, netns, queues, &error);
    if (netns >= 0)
        close(netns);
    if (result != 0) {
        fprintf(stderr, PROGRAM ": %s\n", error.text);
        return -1;
    }
    result = switch_add_port(sw, &tap, steer);
    if (result != 0) {
        fprintf(stderr, PROGRAM ": port %s: %s\n", tap.name, strerror(-result));
        tap_close(&tap);
    }
    return result;
}

/* ---- Report ---- */

static unsigned long long value(_Atomic uint64_t *counter)
{
    return (unsigned long long)atomic_load_explicit(counter, memory_order_relaxed);
}

static void print_port(struct port *port)
{
    struct flowq_stats stats = {.size = sizeof(stats)};

    if (flowq_vm_stats(port->vm, &stats) != 0)
        return;
    printf("%s: steer %s, %llu flows known, %llu moved\n  queue  from the VM   to the VM      bytes  dropped\n", port->tap.name,
           steer_name(port->steer), (unsigned long long)stats.live, (unsigned long long)stats.note[FLOWQ_NOTE_MOVED]);
    for (uint32_t q = 0; q < port->tap.n_queues; q++) {
        struct queue_counts *counts = &port->counts[q];
        printf("  %5u  %11llu  %10llu %10llu  %7llu\n", q, value(&counts->from_vm), value(&counts->to_vm),
               value(&counts->to_vm_bytes), value(&counts->dropped));
    }
}

static void print_ports(struct tapswitch *sw)
{
    for (uint32_t i = 0; i < sw->n_ports; i++)
        print_port(&sw->ports[i]);
    fflush(stdout);
}

/* ---- Start and stop ---- */

static int run(struct tapswitch *sw, uint32_t threads)
{
    sigset_t signals = block_signals();
    int signal;

    int error = switch_start(sw, threads);
    if (error != 0) {
        fprintf(stderr, PROGRAM ": threads: %s\n", strerror(-error));
        return EXIT_FAILURE;
    }
    while (sigwait(&signals, &signal) == 0 && signal == SIGUSR1)
        print_ports(sw);
    switch_stop(sw);
    print_ports(sw);
    if (!atomic_load(&sw->failed))
        return EXIT_SUCCESS;
    fprintf(stderr, PROGRAM ": a thread could not go on\n");
    return EXIT_FAILURE;
}

static int run_ports(char **ports, uint32_t n, const struct demo_options *options)
{
    static struct tapswitch sw = {.stop_fd = -1};
    int status = EXIT_FAILURE;

    if (n < 2 || n > MAX_PORTS)
        bad_usage("it takes 2 to 16 ports", NULL);
    for (uint32_t i = 0; i < n; i++)
        if (add_port(&sw, ports[i], options->queues) != 0)
            break;
    if (sw.n_ports == n)
        status = run(&sw, options->threads);
    switch_free(&sw);
    return status;
}

enum { OPT_QUEUES = 256, OPT_THREADS, OPT_DEMO, OPT_SECONDS, OPT_MOVE_MS, OPT_HELP, OPT_VERSION };

static const struct option long_options[] = {
    {"queues", required_argument, NULL, OPT_QUEUES},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"demo", no_argument, NULL, OPT_DEMO},
    {"seconds", required_argument, NULL, OPT_SECONDS},
    {"move-ms", required_argument, NULL, OPT_MOVE_MS},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

int main(int argc, char **argv)
{
    struct demo_options options = {.queues = 4, .threads = 2, .seconds = 2, .move_ms = 200};
    bool demo = false;
    int option;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case OPT_QUEUES:
            options.queues = number("--queues", optarg, 1, TAP_MAX_QUEUES);
            break;
        case OPT_THREADS:
            options.threads = number("--threads", optarg, 1, MAX_THREADS);
            break;
        case OPT_SECONDS:
            options.seconds = number("--seconds", optarg, 1, 3600);
            break;
        case OPT_MOVE_MS:
            options.move_ms = number("--move-ms", optarg, 0, 100000);
            break;
        case OPT_DEMO:
            demo = true;
            break;
        case OPT_HELP:
            printf("%s\n%s", usage_line, help_text);
            return EXIT_SUCCESS;
        case OPT_VERSION:
            printf(PROGRAM " %s\n", flowq_version_string());
            return EXIT_SUCCESS;
        default:
            fputs(usage_line, stderr); /* getopt has said what is wrong */
            return EXIT_USAGE;
        }
    }
    if (demo && optind < argc)
        bad_usage("the demo takes no ports", argv[optind]);
    return demo ? demo_run(&options) : run_ports(argv + optind, (uint32_t)(argc - optind), &options);
}
