/*
 * vswitch: options, start and stop. vswitch.h has the overview.
 *
 * From the folder it was built in, two guests and a way out, as root for the TAP:
 *
 *     examples/vswitch vhost:/tmp/a vhost:/tmp/b,steer=hash tap:uplink
 *     qemu-system-x86_64 ... -m 1G -object memory-backend-memfd,id=mem,size=1G,share=on -numa node,memdev=mem \
 *         -chardev socket,id=c,path=/tmp/a,reconnect=1 -netdev vhost-user,id=n,chardev=c,queues=4 \
 *         -device virtio-net-pci,netdev=n,mq=on,vectors=10
 *
 * kill -USR1 prints statistics, --help tells the rest. It is built where DPDK is (Debian: libdpdk-dev).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vswitch.h"

#include "command.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MBUFS = 16384, MBUF_CACHE = 256 };

static const char usage_line[] = "usage: " PROGRAM " [OPTION]... PORT PORT...\n";

static const char help_text[] =
    "A learning Ethernet switch for virtual machines. flowq chooses on which receive queue of a machine a packet arrives.\n"
    "\n"
    "PORT is one of these, with settings behind it, each after a comma\n"
    "  vhost:SOCKET         a guest, by vhost-user: its hypervisor connects to SOCKET, as often as it likes\n"
    "  tap:NAME[@NETNS]     a TAP device, made unless it is there; NETNS: the network namespace it is in, by name or path\n"
    "    steer=auto         to the queue on which the machine last transmitted for the flow (default)\n"
    "    steer=hash         learn nothing: a hash of the flow\n"
    "    steer=queue0       all to the first queue\n"
    "    queues=N           queue pairs of a TAP, 1 to 16; default 4. A guest says itself how many it has, up to 16\n"
    "    rebind-min-us=N    a flow moves to another queue only when it has been on its queue for longer than N microseconds,\n"
    "                       1000 to 1000000; default 0: it moves at once\n"
    "    client             the hypervisor listens on SOCKET, and we connect\n"
    "\n"
    "  --workers N          threads that forward, 1 to 16; default 1\n"
    "  --json               statistics as JSON, one object on a line\n"
    "  --every MS           statistics every so many milliseconds; --json --every 1000 is what flowq-top reads\n"
    "  --verbose            lets DPDK say what it does\n"
    "  --help, --version\n"
    "\n"
    "It runs until SIGINT or SIGTERM; then, and at every SIGUSR1, it prints statistics to standard output. A TAP needs\n"
    "/dev/net/tun and CAP_NET_ADMIN, with @NETNS also CAP_SYS_ADMIN.\n"
    "Exit status: 0; 1 an error; 2 wrong usage.\n";

/* ---- Ports ---- */

static void parse_setting(char *setting, struct port_settings *settings, bool *client)
{
    if (strncmp(setting, "steer=", 6) == 0)
        settings->steer = parse_steer(setting + 6);
    else if (strncmp(setting, "queues=", 7) == 0)
        settings->queues = number("queues", setting + 7, 1, MAX_QUEUES);
    else if (strncmp(setting, "rebind-min-us=", 14) == 0)
        settings->rebind_min_us = strcmp(setting + 14, "0") == 0 ? 0 : number("rebind-min-us", setting + 14, 1000, 1000000);
    else if (strcmp(setting, "client") == 0)
        *client = true;
    else
        bad_usage("a port has no such setting", setting);
}

static int add_port(char *text)
{
    struct port_settings settings = {.steer = STEER_AUTO, .queues = 4};
    bool client = false;
    char *rest = text, *name = strsep(&rest, ","), *setting;

    while ((setting = strsep(&rest, ",")) != NULL)
        parse_setting(setting, &settings, &client);
    if (strncmp(name, "vhost:", 6) == 0 && name[6] != '\0')
        return vhost_port_add(name + 6, client, &settings);
    if (strncmp(name, "tap:", 4) != 0 || name[4] == '\0')
        bad_usage("a port begins with vhost: or tap: and a name", name);
    char *netns = strchr(name + 4, '@');
    if (netns != NULL)
        *netns++ = '\0';
    return tap_port_add(name + 4, netns, &settings);
}

/* ---- DPDK ---- */

/* No hugepages, no devices: the memory that matters is the guest's. The file prefix keeps switches apart. */
static int start_dpdk(bool verbose)
{
    char name[] = PROGRAM, no_huge[] = "--no-huge", memory[] = "-m", mebibytes[] = "256", no_pci[] = "--no-pci",
         no_telemetry[] = "--no-telemetry", file_prefix[] = "--file-prefix", prefix[32], lcores[] = "--lcores", core[32],
         log_level[] = "--log-level", quiet[] = "*:1", loud[] = "*:7";
    char *arguments[] = {name,        no_huge, memory, mebibytes, no_pci,    no_telemetry,
                         file_prefix, prefix,  lcores, core,      log_level, verbose ? loud : quiet};
    cpu_set_t cpus;

    snprintf(prefix, sizeof(prefix), PROGRAM "-%d", (int)getpid());
    snprintf(core, sizeof(core), "0@%d", sched_getcpu());
    /* DPDK binds this thread to that processor; our workers shall run anywhere. */
    int known = sched_getaffinity(0, sizeof(cpus), &cpus);
    if (rte_eal_init((int)(sizeof(arguments) / sizeof(arguments[0])), arguments) < 0)
        return complain("DPDK", "environment", rte_strerror(rte_errno));
    if (known == 0)
        sched_setaffinity(0, sizeof(cpus), &cpus);
    the_switch.pool = rte_pktmbuf_pool_create("packets", MBUFS, MBUF_CACHE, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    return the_switch.pool != NULL ? 0 : complain("DPDK", "packet memory", rte_strerror(rte_errno));
}

/* DPDK leaves its folder behind. */
static void stop_dpdk(void)
{
    char folder[256], path[sizeof(folder) + 256];

    snprintf(folder, sizeof(folder), "%s", rte_eal_get_runtime_dir());
    rte_eal_cleanup();
    DIR *list = opendir(folder);
    if (list == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(list)) != NULL;) {
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (entry->d_type == DT_REG || entry->d_type == DT_SOCK)
            unlink(path);
    }
    closedir(list);
    rmdir(folder);
}

/* ---- Start and stop ---- */

/* every_ms: 0: only when asked to. */
static void run(const sigset_t *signals, bool json, uint32_t every_ms)
{
    const struct timespec every = {.tv_sec = every_ms / 1000, .tv_nsec = (long)(every_ms % 1000) * 1000000};
    void (*report)(FILE *) = json ? report_json : report_text;
    int signal;

    do {
        signal = sigtimedwait(signals, NULL, every_ms > 0 ? &every : NULL);
        if (signal == SIGUSR1 || (signal < 0 && errno == EAGAIN))
            report(stdout);
    } while (signal == SIGUSR1 || signal < 0);
    workers_stop();
    report(stdout);
}

static int run_ports(char **ports, int n, uint32_t workers, bool json, uint32_t every_ms, bool verbose)
{
    sigset_t signals = block_signals(); /* DPDK starts threads, too */
    int result = 0;

    if (start_dpdk(verbose) != 0)
        return EXIT_FAILURE;
    for (int i = 0; i < n && result == 0; i++)
        result = add_port(ports[i]);
    if (result == 0)
        result = vhost_ports_open();
    if (result == 0)
        result = workers_start(workers);
    if (result == 0)
        run(&signals, json, every_ms);
    ports_close();
    stop_dpdk();
    return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

enum { OPT_WORKERS = 256, OPT_JSON, OPT_EVERY, OPT_VERBOSE, OPT_HELP, OPT_VERSION };

static const struct option long_options[] = {
    {"workers", required_argument, NULL, OPT_WORKERS},
    {"json", no_argument, NULL, OPT_JSON},
    {"every", required_argument, NULL, OPT_EVERY},
    {"verbose", no_argument, NULL, OPT_VERBOSE},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

int main(int argc, char **argv)
{
    bool json = false, verbose = false;
    uint32_t workers = 1, every_ms = 0;
    int option;

    signal(SIGPIPE, SIG_IGN); /* who reads the reports may go */
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case OPT_WORKERS:
            workers = number("--workers", optarg, 1, MAX_WORKERS);
            break;
        case OPT_JSON:
            json = true;
            break;
        case OPT_EVERY:
            every_ms = number("--every", optarg, 1, 3600000);
            break;
        case OPT_VERBOSE:
            verbose = true;
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
    if (argc - optind < 2)
        bad_usage("it takes at least two ports", NULL);
    return run_ports(argv + optind, argc - optind, workers, json, every_ms, verbose);
}
