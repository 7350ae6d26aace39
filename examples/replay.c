/*
 * flowq-replay: options, and the way of the packets. replay.h has the overview.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "replay.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BURST         32
#define BURST_SPAN_NS 100000u /* what comes within 0.1 ms finds its way into one turn of a poll loop */

enum { EXIT_PARTIAL = 1, EXIT_USAGE = 2 };

static const char usage_line[] = "usage: " PROGRAM " [OPTION]... CAPTURE...\n";

static const char help_text[] =
    "Replays captured traffic (pcap or pcapng, packed by gzip or not; - is standard input) through flowq.\n"
    "One host of the capture plays a multiqueue virtual machine: what it sends teaches flowq, what it receives is\n"
    "steered, and compared with the queue on which the guest last sent for that flow.\n"
    "\n"
    "The VM:\n"
    "  --vm ADDRESS[/BITS]  the VM's address, or the prefix of the side that plays it; up to 16 times\n"
    "  --vm-mac MAC         the VM's Ethernet address, instead\n"
    "                       default: the IPv4 and the IPv6 address in most two-way flows\n"
    "The guest:\n"
    "  --vcpus N            virtual CPUs, each with its own queue pair, 1 to 256; default 4\n"
    "  --threads N          threads that own the flows; default 4 for each vCPU\n"
    "  --move-every N       a thread moves to another vCPU after it sent about N packets; 0: never; default 50\n"
    "  --seed N             of all lots that are drawn; default 1\n"
    "flowq:\n"
    "  --max-flows N        flows it may learn at once; default 65536\n"
    "The packets:\n"
    "  --filter EXPRESSION  only those that it matches (pcap-filter(7))\n"
    "  --from S, --to S     only those from so many seconds on after the first one, and up to so many\n"
    "  --max-named N        flows that the guest knows; packets of others are not judged; default 4000000\n"
    "The report:\n"
    "  --flows              lists every flow, too\n"
    "  --json               for programs\n"
    "  --csv                the flows as a table, instead\n"
    "  --explain N          instead: packet N (from 1 on, over all captures) and why it goes where it goes\n"
    "  --scenario N         instead: the flow of packet N for a bug report, its addresses and payload replaced\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 all was read; 1 something was not, an interrupt, or an error, with what was done before that\n"
    "reported; 2 wrong usage.\n";

/* ---- Options ---- */

enum {
    OPT_VM = 256,
    OPT_VM_MAC,
    OPT_VCPUS,
    OPT_THREADS,
    OPT_MOVE_EVERY,
    OPT_SEED,
    OPT_MAX_FLOWS,
    OPT_MAX_NAMED,
    OPT_FILTER,
    OPT_FROM,
    OPT_TO,
    OPT_EXPLAIN,
    OPT_SCENARIO,
    OPT_CSV,
    OPT_FLOWS,
    OPT_JSON,
    OPT_HELP,
    OPT_VERSION
};

static const struct option long_options[] = {
    {"vm", required_argument, NULL, OPT_VM},
    {"vm-mac", required_argument, NULL, OPT_VM_MAC},
    {"vcpus", required_argument, NULL, OPT_VCPUS},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"move-every", required_argument, NULL, OPT_MOVE_EVERY},
    {"seed", required_argument, NULL, OPT_SEED},
    {"max-flows", required_argument, NULL, OPT_MAX_FLOWS},
    {"max-named", required_argument, NULL, OPT_MAX_NAMED},
    {"filter", required_argument, NULL, OPT_FILTER},
    {"from", required_argument, NULL, OPT_FROM},
    {"to", required_argument, NULL, OPT_TO},
    {"explain", required_argument, NULL, OPT_EXPLAIN},
    {"scenario", required_argument, NULL, OPT_SCENARIO},
    {"csv", no_argument, NULL, OPT_CSV},
    {"flows", no_argument, NULL, OPT_FLOWS},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

_Noreturn static void bad_usage(const char *what, const char *text)
{
    fprintf(stderr, PROGRAM ": %s%s%s; " PROGRAM " --help tells more\n", what, text == NULL ? "" : ": ",
            text == NULL ? "" : printable(text));
    exit(EXIT_USAGE);
}

static uint64_t number(const char *option, const char *text, uint64_t least, uint64_t most)
{
    char what[128], *end;

    errno = 0;
    unsigned long long value = strtoull(text, &end, 0);
    if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && value >= least && value <= most)
        return value;
    snprintf(what, sizeof(what), "--%s must be a number from %llu to %llu", option, (unsigned long long)least,
             (unsigned long long)most);
    bad_usage(what, text);
}

/* Seconds with a fraction, in nanoseconds. */
static uint64_t seconds(const char *option, const char *text)
{
    char what[128], *end;
    double value = strtod(text, &end);

    if (((text[0] >= '0' && text[0] <= '9') || text[0] == '.') && *end == '\0' && value <= 4e9)
        return (uint64_t)(value * 1e9 + 0.5);
    snprintf(what, sizeof(what), "--%s must be a number of seconds", option);
    bad_usage(what, text);
}

static void set_vm(struct options *options, const char *text)
{
    if (options->n_vm == MAX_VM_NETS)
        bad_usage("--vm more than 16 times", NULL);
    if (!host_parse_net(text, &options->vm[options->n_vm++]))
        bad_usage("--vm is neither an address nor a prefix", text);
}

static void set(struct options *options, int option, const char *text)
{
    switch (option) {
    case OPT_VM:
        set_vm(options, text);
        break;
    case OPT_VM_MAC:
        if (!host_parse_mac(text, options->mac))
            bad_usage("--vm-mac is not an Ethernet address", text);
        options->has_mac = true;
        break;
    case OPT_VCPUS:
        options->vcpus = (uint32_t)number("vcpus", text, 1, MAX_VCPUS);
        break;
    case OPT_THREADS:
        options->threads = (uint32_t)number("threads", text, 1, 1000000);
        break;
    case OPT_MOVE_EVERY:
        options->move_every = number("move-every", text, 0, 1000000000);
        break;
    case OPT_SEED:
        options->seed = number("seed", text, 0, UINT64_MAX);
        break;
    case OPT_MAX_FLOWS:
        options->max_flows = (uint32_t)number("max-flows", text, 8, 1u << 27);
        break;
    case OPT_MAX_NAMED:
        options->max_named = number("max-named", text, 1, 1u << 30);
        break;
    case OPT_FILTER:
        if (filter_error(text) != NULL)
            bad_usage("--filter", filter_error(text));
        options->filter = text;
        break;
    case OPT_FROM:
        options->from_ns = seconds("from", text);
        break;
    case OPT_TO:
        options->to_ns = seconds("to", text);
        break;
    case OPT_EXPLAIN:
        options->explain = number("explain", text, 1, UINT64_MAX);
        break;
    case OPT_SCENARIO:
        options->scenario = number("scenario", text, 1, UINT64_MAX);
        break;
    case OPT_CSV:
        options->csv = true;
        break;
    case OPT_FLOWS:
        options->flows = true;
        break;
    default:
        options->json = true;
        break;
    }
}

static struct options parse_options(int argc, char **argv)
{
    struct options options = {
        .vcpus = 4, .move_every = 50, .seed = 1, .max_flows = 65536, .max_named = 4000000, .to_ns = UINT64_MAX};
    int option;

    opterr = 0; /* it would write what it was given as it is */
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == '?') {
            const char *word = printable(argv[optind - 1]);
            fprintf(stderr, PROGRAM ": %s: not known, or lacks its argument\n%s", word, usage_line);
            exit(EXIT_USAGE);
        }
        if (option == OPT_HELP) {
            printf("%s\n%s", usage_line, help_text);
            exit(EXIT_SUCCESS);
        }
        if (option == OPT_VERSION) {
            printf(PROGRAM " %s\n", flowq_version_string());
            exit(EXIT_SUCCESS);
        }
        set(&options, option, optarg);
    }
    if (optind == argc)
        bad_usage("no capture named", NULL);
    if (options.has_mac && options.n_vm > 0)
        bad_usage("--vm and --vm-mac exclude each other", NULL);
#ifndef HAVE_JANSSON
    if (options.json)
        bad_usage("--json: built without jansson", NULL);
#endif
    options.files = argv + optind;
    options.n_files = (size_t)(argc - optind);
    return options;
}

/* ---- The way of the packets ---- */

struct replay {
    const struct options *options;
    struct input *input;
    struct guest guest;
    struct results results;
    struct flowq_vm *vm;
    uint64_t now_ns; /* flowq's clock */
    uint64_t hash_key;
    /* packets of the same direction, next to each other */
    struct packet packets[BURST];
    struct view views[BURST];
    enum direction direction;
    size_t n;
    bool seen, explained; /* the packet that was asked for */
    struct scenario scenario;
};

static uint64_t replay_clock(void *ctx) { return ((const struct replay *)ctx)->now_ns; }

/* Everything that is random hangs on the seed, flowq's secret included: a run can be repeated. */
static int make_vm(struct replay *replay)
{
    struct flowq_vm_config config = {.size = sizeof(config)};
    const struct options *options = replay->options;

    config.max_queue_pairs = options->vcpus;
    config.max_flows = options->max_flows;
    config.clock_ns = replay_clock;
    config.clock_ctx = replay;
    for (uint64_t i = 0; i < FLOWQ_SECRET_SIZE / sizeof(i); i++) {
        uint64_t key[5] = {options->seed, i + 1}, word = hash40(key, 0x666c6f7771u);
        memcpy(config.secret + i * sizeof(word), &word, sizeof(word));
    }
    int error = flowq_vm_create(&config, &replay->vm);
    return error != 0 ? error : flowq_vm_set_queue_pairs(replay->vm, options->vcpus);
}

static struct flowq_pkt as_flowq(const struct packet *packet)
{
    return (struct flowq_pkt){.data = packet->data, .len = packet->len, .flags = packet->flags};
}

/* The packet to be explained; it comes in a burst of its own, and ends the input. */
static bool is_asked_for(const struct replay *replay, const struct packet *packet)
{
    return replay->options->explain != 0 && packet->number == replay->options->explain;
}

static void explain(struct replay *replay, const struct packet *packet, enum direction direction, uint32_t queue)
{
    replay->explained = explain_packet(stdout, packet, direction, queue, replay->options->json, replay->vm);
}

static void send_burst(struct replay *replay)
{
    for (size_t i = 0; i < replay->n; i++) {
        struct flowq_pkt pkt = as_flowq(&replay->packets[i]);
        uint32_t queue = guest_send(&replay->guest, &replay->views[i], replay->packets[i].time_ns);
        if (is_asked_for(replay, &replay->packets[i]))
            explain(replay, &replay->packets[i], DIRECTION_SENT, queue);
        if (replay->scenario.known)
            scenario_add(&replay->scenario, stdout, &replay->packets[i], DIRECTION_SENT, queue, NULL, replay->vm);
        flowq_tx_note(replay->vm, &pkt, queue);
        replay->results.sent_on[queue]++;
    }
    replay->results.sent += replay->n;
}

/* As a NIC does it: over the outermost header, keyed, spread evenly. */
static uint16_t hash_queue(const struct replay *replay, const struct view *view)
{
    if (view->outer.version == 0)
        return 0;
    return (uint16_t)((hash40(&view->outer, replay->hash_key) >> 32) * replay->options->vcpus >> 32);
}

static void judge(struct replay *replay, const struct wish *wish, const struct flowq_decision *decision, const struct view *view)
{
    struct results *results = &replay->results;
    const uint16_t answer[N_METHODS] = {decision->qid, hash_queue(replay, view), 0};
    uint8_t reason = decision->reason < FLOWQ_REASON_SLOTS ? decision->reason : FLOWQ_REASON_SLOTS - 1;

    results->reason[reason].received++;
    results->unjudged[wish->unjudged]++;
    if (wish->unjudged != JUDGED)
        return;
    struct flow *flow = &replay->guest.flows[wish->flow];
    results->judged++;
    results->wanted[wish->queue]++;
    results->reason[reason].judged++;
    results->reason[reason].right += decision->qid == wish->queue;
    flow->judged++;
    for (int method = 0; method < N_METHODS; method++) {
        uint16_t queue = answer[method];
        bool right = queue == wish->queue;
        if (queue < MAX_VCPUS) { /* FLOWQ_DROP lands nowhere */
            results->landed[method][queue]++;
            results->right[method][queue] += right;
        }
        flow->right[method] += right;
    }
}

static void receive_burst(struct replay *replay)
{
    struct flowq_pkt pkts[BURST];
    struct flowq_decision decisions[BURST];

    for (size_t i = 0; i < replay->n; i++)
        pkts[i] = as_flowq(&replay->packets[i]);
    if (is_asked_for(replay, &replay->packets[0])) {
        struct wish wish = guest_receive(&replay->guest, &replay->views[0], replay->packets[0].time_ns);
        explain(replay, &replay->packets[0], DIRECTION_RECEIVED, wish.queue);
    }
    flowq_rx_decide_burst(replay->vm, pkts, replay->n, decisions);
    for (size_t i = 0; i < replay->n; i++) {
        struct wish wish = guest_receive(&replay->guest, &replay->views[i], replay->packets[i].time_ns);
        judge(replay, &wish, &decisions[i], &replay->views[i]);
        if (replay->scenario.known)
            scenario_add(&replay->scenario, stdout, &replay->packets[i], DIRECTION_RECEIVED, NO_QUEUE, &decisions[i], replay->vm);
    }
    replay->results.received += replay->n;
}

/* One turn of a host's poll loop. */
static void flush(struct replay *replay)
{
    if (replay->n == 0)
        return;
    replay->now_ns = replay->packets[replay->n - 1].time_ns;
    if (replay->direction == DIRECTION_SENT)
        send_burst(replay);
    else
        receive_burst(replay);
    replay->n = 0;
}

/* Takes the packet in packets[n], of which the view is in views[n]. */
static void add(struct replay *replay, enum direction direction)
{
    struct packet *packet = &replay->packets[replay->n];

    if (direction == DIRECTION_OTHER) {
        replay->results.other++;
        return;
    }
    if (replay->n > 0 && (direction != replay->direction || packet->time_ns - replay->packets[0].time_ns > BURST_SPAN_NS)) {
        struct packet newcomer = *packet;
        struct view view = replay->views[replay->n];
        flush(replay);
        replay->packets[0] = newcomer;
        replay->views[0] = view;
    }
    replay->direction = direction;
    if (++replay->n == BURST)
        flush(replay);
}

/* ---- Progress: for somebody who watches, and not before a second has gone by ---- */

struct progress {
    bool wanted, shown;
    struct timespec began;
};

static void progress_start(struct progress *progress)
{
    *progress = (struct progress){.wanted = isatty(STDERR_FILENO) == 1};
    clock_gettime(CLOCK_MONOTONIC, &progress->began);
}

static void progress_show(struct progress *progress, const struct replay *replay)
{
    struct timespec now;
    double done = input_progress(replay->input);
    char percent[32] = "";

    clock_gettime(CLOCK_MONOTONIC, &now);
    double seconds = (double)(now.tv_sec - progress->began.tv_sec) + (double)(now.tv_nsec - progress->began.tv_nsec) / 1e9;
    if (seconds < 1)
        return;
    if (done >= 0)
        snprintf(percent, sizeof(percent), ", %.0f %% of this file", done * 100);
    fprintf(stderr, "\r" PROGRAM ": %.1f million packets, %.1f million a second%s   ", (double)replay->results.packets / 1e6,
            (double)replay->results.packets / 1e6 / seconds, percent);
    progress->shown = true;
}

static void progress_end(const struct progress *progress)
{
    if (progress->shown)
        fputs("\r\033[K", stderr);
}

/* Takes the packet in packets[n] alone. */
static void take_asked_for(struct replay *replay)
{
    struct packet packet = replay->packets[replay->n];
    struct view view;

    view_packet(&packet, &view);
    enum direction direction = host_direction(replay->options, &view);
    flush(replay);
    replay->packets[0] = packet;
    replay->views[0] = view;
    replay->now_ns = packet.time_ns;
    if (direction == DIRECTION_OTHER)
        explain(replay, &packet, direction, NO_QUEUE);
    add(replay, direction);
    flush(replay);
    replay->seen = true;
}

static void run(struct replay *replay)
{
    struct results *results = &replay->results;
    struct progress progress;

    progress_start(&progress);
    while (!replay->guest.out_of_memory && !replay->seen && input_next(replay->input, &replay->packets[replay->n])) {
        const struct packet *packet = &replay->packets[replay->n];
        results->packets++;
        results->duration_ns = packet->time_ns;
        if (is_asked_for(replay, packet)) {
            take_asked_for(replay);
            continue;
        }
        view_packet(packet, &replay->views[replay->n]);
        add(replay, host_direction(replay->options, &replay->views[replay->n]));
        if (progress.wanted && results->packets % 262144 == 0)
            progress_show(&progress, replay);
    }
    flush(replay);
    progress_end(&progress);
    results->n_files = input_files(replay->input);
    results->n_incomplete = input_errors(replay->input);
    results->interrupted = input_stopped();
    results->filtered = input_packets(replay->input) - results->packets;
}

/* ---- Main ---- */

/* Ctrl-C ends the input, not the program: the report of what has been read follows. A second one ends the program. */
static void on_interrupt(int signal_number)
{
    (void)signal_number;
    input_stop();
}

uint64_t results_right(const struct results *results, enum method method)
{
    uint64_t sum = 0;

    for (size_t queue = 0; queue < MAX_VCPUS; queue++)
        sum += results->right[method][queue];
    return sum;
}

static bool report(const struct replay *replay)
{
    if (replay->options->csv)
        return report_csv(stdout, &replay->guest, replay->vm);
#ifdef HAVE_JANSSON
    if (replay->options->json)
        return report_json(stdout, &replay->results, &replay->guest, replay->vm);
#endif
    return report_text(stdout, &replay->results, &replay->guest, replay->vm);
}

static bool complain(const char *what)
{
    fprintf(stderr, PROGRAM ": %s\n", what);
    return false;
}

static bool replay_all(struct replay *replay, struct options *options)
{
    const struct sigaction interrupt = {.sa_handler = on_interrupt, .sa_flags = (int)(SA_RESTART | SA_RESETHAND)};
    bool ok = true;

    sigaction(SIGINT, &interrupt, NULL);
    if (replay->input == NULL || !guest_start(&replay->guest, options))
        return complain("out of memory");
    if (!options->has_mac && options->n_vm == 0 &&
        !host_choose(options, replay->input, replay->results.how, sizeof(replay->results.how)))
        return complain("out of memory");
    host_describe(options, replay->results.host, sizeof(replay->results.host));
    int error = make_vm(replay);
    if (error != 0) {
        fprintf(stderr, PROGRAM ": no vm could be made: %s\n", strerror(-error));
        return false;
    }
    if (options->scenario != 0) {
        replay->scenario.secret = replay->hash_key ^ 0x616464726573u; /* unlike other lots of this seed */
        if (!scenario_find(&replay->scenario, options, replay->vm))
            return complain("--scenario: no such packet, or none of a flow of the VM's; standard input cannot be read twice");
        scenario_open(stdout, options);
    }
    run(replay);
    if (replay->guest.out_of_memory)
        ok = complain("out of memory; the packets before that are kept");
    if (input_errors(replay->input) > 0 || input_stopped())
        ok = false;
    if (options->explain != 0 && !replay->explained)
        ok = complain(replay->seen ? "it cannot be explained: out of memory" : "there is no such packet, or it was left out");
    if ((options->explain == 0 && options->scenario == 0 && !report(replay)) || fflush(stdout) != 0)
        ok = complain("cannot write the report");
    return ok;
}

int main(int argc, char **argv)
{
    struct options options = parse_options(argc, argv);
    struct replay *replay = calloc(1, sizeof(*replay));
    uint64_t hash_secret[5] = {options.seed};

    if (replay == NULL) {
        complain("out of memory");
        return EXIT_PARTIAL;
    }
    replay->options = &options;
    replay->hash_key = hash40(hash_secret, 0x727373u);
    replay->input = input_open(&options);
    bool ok = replay_all(replay, &options);
    flowq_vm_destroy(replay->vm);
    guest_stop(&replay->guest);
    input_close(replay->input);
    free(replay);
    return ok ? EXIT_SUCCESS : EXIT_PARTIAL;
}
