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
 * kill -USR1 prints statistics, --commands takes orders meanwhile, --help tells the rest. It is built where DPDK is (Debian:
 * libdpdk-dev).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vswitch.h"

#include "command.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
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
    "    crc                with steer=hash: without flowq, a CRC of addresses and ports over the queues, to compare with\n"
    "    max-flows=N        flows that are known at once, 8 to 134217728; default 65536\n"
    "    queues=N           queue pairs of a TAP, 1 to 16; default 4. A guest says itself how many it has, up to 16\n"
    "    rebind-min-us=N    a flow moves to another queue only when it has been on its queue for longer than N microseconds,\n"
    "                       1000 to 1000000; default 0: it moves at once\n"
    "    ordered            a flow moves only when the guest has taken what is in its old queue, at most 20 ms later: no packet\n"
    "                       overtakes another. Not with rebind-min-us. What is written to a TAP is taken\n"
    "    ordered-max-us=N   or at most N microseconds later, 100 to 1000000\n"
    "    watch              counts moves of flows (IPv4), and those with which packets may overtake others; with one worker\n"
    "    client             the hypervisor listens on SOCKET, and we connect\n"
    "\n"
    "  --state FOLDER       flows outlive the switch: they are read from there when it starts, for the guests that come first, "
    "and\n"
    "                       written when it ends\n"
    "  --save-every N       and every N seconds, in case it is killed; 1 to 86400\n"
    "  --workers N          threads that forward, 1 to 16; default 1\n"
    "  --commands           reads commands from standard input, see below\n"
    "  --json               statistics as JSON, one object on a line\n"
    "  --every MS           statistics every so many milliseconds; --json --every 1000 is what flowq-top reads\n"
    "  --verbose            lets DPDK say what it does\n"
    "  --help, --version\n"
    "\n"
    "It runs until SIGINT or SIGTERM; then, and at every SIGUSR1, it prints statistics to standard output. A TAP needs\n"
    "/dev/net/tun and CAP_NET_ADMIN, with @NETNS also CAP_SYS_ADMIN.\n"
    "\n"
    "Commands are lines, done in order; what is wrong with one is told on standard error. The switch outlives its input.\n"
    "  steer PORT WAY       from now on PORT, as reports name it, is steered that way: auto, hash, queue0, or hash,crc. Unless "
    "it\n"
    "                       is auto, its flows are forgotten\n"
    "  report               prints statistics\n"
    "\n"
    "Exit status: 0; 1 an error; 2 wrong usage.\n";

/* ---- Ports ---- */

static void parse_setting(char *setting, struct port_settings *settings, bool *crc, bool *client)
{
    if (strncmp(setting, "steer=", 6) == 0)
        settings->steer = parse_steer(setting + 6);
    else if (strncmp(setting, "queues=", 7) == 0)
        settings->queues = number("queues", setting + 7, 1, MAX_QUEUES);
    else if (strncmp(setting, "rebind-min-us=", 14) == 0)
        settings->rebind_min_us = strcmp(setting + 14, "0") == 0 ? 0 : number("rebind-min-us", setting + 14, 1000, 1000000);
    else if (strncmp(setting, "max-flows=", 10) == 0)
        settings->max_flows = number("max-flows", setting + 10, 8, 1 << 27);
    else if (strcmp(setting, "ordered") == 0)
        settings->ordered = true;
    else if (strcmp(setting, "watch") == 0)
        settings->watch = true;
    else if (strncmp(setting, "ordered-max-us=", 15) == 0)
        settings->ordered_max_us = number("ordered-max-us", setting + 15, 100, 1000000);
    else if (strcmp(setting, "crc") == 0)
        *crc = true;
    else if (strcmp(setting, "client") == 0)
        *client = true;
    else
        bad_usage("a port has no such setting", setting);
}

static int add_port(char *text)
{
    struct port_settings settings = {.steer = STEER_AUTO, .queues = 4};
    bool crc = false, client = false;
    char *rest = text, *name = strsep(&rest, ","), *setting;

    while ((setting = strsep(&rest, ",")) != NULL)
        parse_setting(setting, &settings, &crc, &client);
    if (crc && settings.steer == STEER_HASH)
        settings.steer = STEER_CRC;
    if (settings.ordered && settings.rebind_min_us > 0)
        bad_usage("ordered and rebind-min-us do not go together", name);
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

struct options {
    uint32_t workers;
    bool json, verbose, commands;
    uint32_t every_ms;   /* between reports; 0: only when asked to */
    const char *folder;  /* of state; NULL: none is kept */
    uint32_t save_every; /* seconds; 0: only at the end */
};

#define NEVER INT64_MAX

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t after(uint64_t ms) { return ms > 0 ? now_ms() + (int64_t)ms : NEVER; }

/* Until there is a signal or a command, or it is `when`. */
static void wait_for(struct pollfd awaited[2], int64_t when)
{
    int64_t ms = when - now_ms();
    if (poll(awaited, 2, when == NEVER ? -1 : ms < 0 ? 0 : ms < INT_MAX ? (int)ms : INT_MAX) < 0)
        awaited[1].revents = 0; /* left as they were */
}

/* 0: there was none. */
static int take_signal(int fd)
{
    struct signalfd_siginfo signal;
    return read(fd, &signal, sizeof(signal)) == sizeof(signal) ? (int)signal.ssi_signo : 0;
}

static void run(int signals, const struct options *o)
{
    void (*report)(FILE *) = o->json ? report_json : report_text;
    const uint64_t save_ms = o->folder != NULL ? o->save_every * UINT64_C(1000) : 0;
    int64_t report_at = after(o->every_ms), save_at = after(save_ms);
    struct pollfd awaited[2] = {{.fd = signals, .events = POLLIN}, {.fd = o->commands ? STDIN_FILENO : -1, .events = POLLIN}};

    for (;;) {
        wait_for(awaited, report_at < save_at ? report_at : save_at);
        int signal = take_signal(signals);
        if (signal != 0 && signal != SIGUSR1)
            break;
        if (awaited[1].revents != 0 && !commands_read(report))
            awaited[1].fd = -1;
        if (signal == SIGUSR1 || now_ms() >= report_at)
            report(stdout);
        if (now_ms() >= report_at)
            report_at = after(o->every_ms);
        if (now_ms() >= save_at) {
            state_save(o->folder);
            save_at = after(save_ms);
        }
    }
    workers_stop();
    if (o->folder != NULL)
        state_save(o->folder);
    report(stdout);
}

static int run_ports(char **ports, int n, const struct options *o)
{
    sigset_t blocked = block_signals(); /* DPDK starts threads, too */
    int result = 0, signals = signalfd(-1, &blocked, SFD_NONBLOCK | SFD_CLOEXEC);

    if (signals < 0)
        return complain("signals", "signalfd", strerror(errno)), EXIT_FAILURE;
    if (start_dpdk(o->verbose) != 0)
        return EXIT_FAILURE;
    for (int i = 0; i < n && result == 0; i++)
        result = add_port(ports[i]);
    if (result == 0 && o->folder != NULL)
        result = state_load(o->folder);
    if (result == 0)
        result = vhost_ports_open();
    if (result == 0)
        result = workers_start(o->workers);
    if (result == 0)
        run(signals, o);
    ports_close();
    stop_dpdk();
    close(signals);
    return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

enum { OPT_STATE = 256, OPT_SAVE_EVERY, OPT_WORKERS, OPT_COMMANDS, OPT_JSON, OPT_EVERY, OPT_VERBOSE, OPT_HELP, OPT_VERSION };

static const struct option long_options[] = {
    {"state", required_argument, NULL, OPT_STATE},
    {"save-every", required_argument, NULL, OPT_SAVE_EVERY},
    {"workers", required_argument, NULL, OPT_WORKERS},
    {"commands", no_argument, NULL, OPT_COMMANDS},
    {"json", no_argument, NULL, OPT_JSON},
    {"every", required_argument, NULL, OPT_EVERY},
    {"verbose", no_argument, NULL, OPT_VERBOSE},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

int main(int argc, char **argv)
{
    struct options o = {.workers = 1};
    int option;

    signal(SIGPIPE, SIG_IGN); /* who reads the reports may go */
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case OPT_STATE:
            o.folder = optarg;
            break;
        case OPT_SAVE_EVERY:
            o.save_every = number("--save-every", optarg, 1, 86400);
            break;
        case OPT_WORKERS:
            o.workers = number("--workers", optarg, 1, MAX_WORKERS);
            break;
        case OPT_COMMANDS:
            o.commands = true;
            break;
        case OPT_JSON:
            o.json = true;
            break;
        case OPT_EVERY:
            o.every_ms = number("--every", optarg, 1, 3600000);
            break;
        case OPT_VERBOSE:
            o.verbose = true;
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
    return run_ports(argv + optind, argc - optind, &o);
}
