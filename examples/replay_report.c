/*
 * What flowq-replay found, for people.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "replay.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define BAR 40 /* characters that stand for 100 % */

typedef unsigned long long ull; /* what printf takes */

/* ---- Names, for both reports ---- */

const char *method_name(enum method method)
{
    static const char *const names[N_METHODS] = {"flowq", "hash", "one queue"};
    return names[method];
}

const char *unjudged_name(uint32_t why)
{
    static const char *const names[N_UNJUDGED] = {
        "judged",
        "the VM has not sent on the flow yet",
        "to a multicast or broadcast address",
        "later fragment, first one not seen",
        "ICMP error about a flow not seen",
        "not IP, or cannot be read",
        "of a flow beyond --max-named",
    };
    return names[why];
}

const char *protocol_name(uint8_t protocol, char *scratch, size_t size)
{
    switch (protocol) {
    case IPPROTO_TCP:
        return "tcp";
    case IPPROTO_UDP:
        return "udp";
    case IPPROTO_ICMP:
        return "icmp";
    case IPPROTO_ICMPV6:
        return "icmp6";
    case IPPROTO_SCTP:
        return "sctp";
    case IPPROTO_GRE:
        return "gre";
    case IPPROTO_ESP:
        return "esp";
    default:
        snprintf(scratch, size, "ip-%u", (unsigned)protocol);
        return scratch;
    }
}

static void end_name(uint8_t version, const uint8_t *address, uint16_t port, char *out, size_t size)
{
    char text[INET6_ADDRSTRLEN];

    inet_ntop(version == 4 ? AF_INET : AF_INET6, address, text, sizeof(text));
    if (port == 0)
        snprintf(out, size, "%s", text);
    else
        snprintf(out, size, version == 4 ? "%s:%u" : "[%s]:%u", text, (unsigned)port);
}

void tuple_ends(const struct tuple *tuple, char *src, char *dst, size_t size)
{
    end_name(tuple->version, tuple->src, tuple->sport, src, size);
    end_name(tuple->version, tuple->dst, tuple->dport, dst, size);
}

void flow_tuple(const struct guest *guest, uint32_t number, struct tuple *out)
{
    memcpy(out, guest->names.keys[number], sizeof(*out));
}

void flow_to_flowq(const struct tuple *tuple, struct flowq_tuple *out)
{
    *out = (struct flowq_tuple){
        .sport = tuple->sport, .dport = tuple->dport, .version = tuple->version, .protocol = tuple->protocol};
    memcpy(out->src, tuple->src, sizeof(out->src));
    memcpy(out->dst, tuple->dst, sizeof(out->dst));
}

/* What the library's short names mean, for who reads them here for the first time; those that replayed traffic can meet. */
static const char *note_meaning(uint32_t note)
{
    static const char *const meanings[FLOWQ_NOTE_SLOTS] = {
        [FLOWQ_NOTE_BOUND] = "a new flow, and its queue",
        [FLOWQ_NOTE_REFRESHED] = "on the queue known already",
        [FLOWQ_NOTE_MOVED] = "on another queue, which is the flow's from now on",
        [FLOWQ_NOTE_SUPPRESSED] = "on another queue, too soon after the last move",
        [FLOWQ_NOTE_IMPLIED] = "a young flow on the queue that the hash gives anyway: nothing to store",
        [FLOWQ_NOTE_REFUSED] = "a new flow for which there was no room",
        [FLOWQ_NOTE_SINGLE] = "one queue in use: nothing to learn",
        [FLOWQ_NOTE_KEYLESS] = "no flow to be read",
        [FLOWQ_NOTE_MULTICAST] = "to a multicast or broadcast address: no answer will come",
        [FLOWQ_NOTE_FRAGMENT] = "a later fragment: the first one has told",
        [FLOWQ_NOTE_ICMP_ERROR] = "an ICMP error: about a flow, and none itself",
        [FLOWQ_NOTE_RESET] = "a TCP reset of an unknown flow",
    };
    return meanings[note] == NULL ? "" : meanings[note];
}

static const char *reason_meaning(uint32_t reason)
{
    static const char *const meanings[FLOWQ_REASON_SLOTS] = {
        [FLOWQ_REASON_BOUND] = "the queue learned for the flow",
        [FLOWQ_REASON_FALLBACK] = "no queue learned: a hash over those in use",
        [FLOWQ_REASON_FRAGMENT] = "where the first fragment went",
        [FLOWQ_REASON_ICMP_ERROR] = "the queue of the flow that it quotes",
        [FLOWQ_REASON_KEYLESS] = "no flow to be read: the lowest queue in use",
        [FLOWQ_REASON_SINGLE] = "one queue in use",
    };
    return meanings[reason] == NULL ? "" : meanings[reason];
}

/* ---- The report ---- */

static const char *plural(uint64_t n) { return n == 1 ? "" : "s"; }

static void percent(char *out, size_t size, uint64_t part, uint64_t whole)
{
    if (whole == 0)
        snprintf(out, size, "-");
    else
        snprintf(out, size, "%.1f %%", 100.0 * (double)part / (double)whole);
}

static void opening(FILE *out, const struct results *results, const struct guest *guest)
{
    const struct options *options = guest->options;

    if (results->interrupted)
        fprintf(out, "INCOMPLETE: interrupted; this is what was read before\n");
    if (results->n_incomplete > 0)
        fprintf(out, "INCOMPLETE: %u capture%s could not be read, or not to the end, as said on standard error\n",
                results->n_incomplete, plural(results->n_incomplete));
    if (guest->beyond > 0)
        fprintf(out, "LIMITED: %u flows are known (--max-named); %llu packets of others are not judged\n", guest->names.n,
                (ull)guest->beyond);
    if (results->filtered > 0)
        fprintf(out, "%llu packet%s left out by --filter, --from, --to\n", (ull)results->filtered, plural(results->filtered));
    fprintf(out, "%llu packet%s from %u capture%s, %.1f s of traffic: %llu sent by the VM, %llu received, %llu neither\n",
            (ull)results->packets, plural(results->packets), results->n_files, plural(results->n_files),
            (double)results->duration_ns / 1e9, (ull)results->sent, (ull)results->received, (ull)results->other);
    fprintf(out, "VM     %s%s%s%s\n", results->host[0] == '\0' ? "none: nothing to choose from" : results->host,
            results->how[0] == '\0' ? "" : " (", results->how, results->how[0] == '\0' ? "" : ")");
    fprintf(out, "guest  %u vCPU%s with a queue pair each, %u thread%s, ", options->vcpus, plural(options->vcpus),
            guest->n_threads, plural(guest->n_threads));
    if (options->move_every == 0)
        fprintf(out, "which never move");
    else
        fprintf(out, "which move after about %llu packets sent", (ull)options->move_every);
    fprintf(out, " (seed %llu)\n       %u flow%s; threads moved %llu times, and so flows changed queue %llu times\n",
            (ull)options->seed, guest->names.n, plural(guest->names.n), (ull)guest->thread_moves, (ull)guest->flow_moves);
}

static void verdict(FILE *out, const struct results *results)
{
    char bar[BAR + 1], share[16];

    fprintf(out, "\nReceived packets that landed on the queue the guest last used for their flow (more is better)\n\n");
    for (enum method method = 0; method < N_METHODS; method++) {
        uint64_t right = results_right(results, method);
        size_t length = results->judged == 0 ? 0 : (size_t)((right * BAR + results->judged / 2) / results->judged);
        memset(bar, '#', length);
        bar[length] = '\0';
        percent(share, sizeof(share), right, results->judged);
        fprintf(out, "  %-10s %8s  %s%*s  %llu of %llu\n", method_name(method), share, bar, (int)(BAR - length), "", (ull)right,
                (ull)results->judged);
    }
    fprintf(out, "\nJudged are packets of flows on which the VM has sent before, so one queue is right: %llu of %llu received.\n",
            (ull)results->judged, (ull)results->received);
}

static void queue_row(FILE *out, const char *name, uint64_t sent, uint64_t wanted, const uint64_t landed[],
                      const uint64_t right[])
{
    fprintf(out, "  %5s %9llu %9llu", name, (ull)sent, (ull)wanted);
    for (size_t method = 0; method < N_METHODS; method++)
        fprintf(out, "  | %9llu %9llu", (ull)landed[method], (ull)right[method]);
    fputc('\n', out);
}

static void by_queue(FILE *out, const struct results *results, uint32_t vcpus)
{
    uint64_t sent = 0, wanted = 0, landed[N_METHODS] = {0}, right[N_METHODS] = {0};
    char name[16];

    fprintf(out, "\nBy queue        the guest      |        flowq        |        hash         |      one queue\n"
                 "  queue      sent    wanted  |    landed     right  |    landed     right  |    landed     right\n");
    for (uint32_t queue = 0; queue < vcpus; queue++) {
        uint64_t row_landed[N_METHODS], row_right[N_METHODS];
        for (size_t method = 0; method < N_METHODS; method++) {
            landed[method] += row_landed[method] = results->landed[method][queue];
            right[method] += row_right[method] = results->right[method][queue];
        }
        sent += results->sent_on[queue];
        wanted += results->wanted[queue];
        snprintf(name, sizeof(name), "%u", queue);
        queue_row(out, name, results->sent_on[queue], results->wanted[queue], row_landed, row_right);
    }
    queue_row(out, "total", sent, wanted, landed, right);
    fprintf(out, "\nOf the judged: wanted: the guest last sent their flow here; landed: steered here; right: both.\n");
}

static void reasons(FILE *out, const struct results *results)
{
    char share[16];

    fprintf(out, "\nWhy flowq chose   received    judged     right\n");
    for (uint32_t i = 0; i < FLOWQ_REASON_SLOTS; i++) {
        if (results->reason[i].received == 0)
            continue;
        percent(share, sizeof(share), results->reason[i].right, results->reason[i].judged);
        fprintf(out, "  %-14s %9llu %9llu %9llu  %8s  %s\n", flowq_reason_name(i), (ull)results->reason[i].received,
                (ull)results->reason[i].judged, (ull)results->reason[i].right, share, reason_meaning(i));
    }
    if (results->judged == results->received)
        return;
    fprintf(out, "\nNot judged: %llu received\n", (ull)(results->received - results->judged));
    for (uint32_t i = 1; i < N_UNJUDGED; i++)
        if (results->unjudged[i] > 0)
            fprintf(out, "  %9llu  %s\n", (ull)results->unjudged[i], unjudged_name(i));
}

static void learned(FILE *out, struct flowq_vm *vm, uint32_t max_flows)
{
    struct flowq_stats stats = {.size = sizeof(stats)};

    if (flowq_vm_stats(vm, &stats) != 0)
        return;
    fprintf(out, "\nWhat flowq made of the packets sent\n");
    for (uint32_t i = 0; i < FLOWQ_NOTE_SLOTS; i++)
        if (stats.note[i] > 0)
            fprintf(out, "  %9llu  %-12s  %s\n", (ull)stats.note[i], flowq_note_name(i), note_meaning(i));
    fprintf(out, "  %9llu  flow%s known at the end, in %.1f KiB\n", (ull)stats.live, plural(stats.live),
            (double)stats.vm_bytes / 1024);
    uint64_t displaced = stats.displaced_embryonic + stats.displaced_closing + stats.displaced_established;
    if (displaced + stats.note[FLOWQ_NOTE_REFUSED] > 0)
        fprintf(out, "LIMITED: flowq may learn %u flows (--max-flows); %llu gave way to others, %llu notes were refused\n",
                max_flows, (ull)displaced, (ull)stats.note[FLOWQ_NOTE_REFUSED]);
}

/* flowq keeps fingerprints and cannot name its flows; our own dictionary can. */
static void list_flows(FILE *out, const struct guest *guest, struct flowq_vm *vm)
{
    char src[64], dst[64], scratch[16], bound[24];

    fprintf(out, "\nFlows, as received     (queue: the guest's last; bound: where flowq has it; right: of those judged)\n");
    fprintf(out, "  %-5s  %-28s  %-28s %8s %8s %6s %5s %5s  %s\n", "", "remote", "VM", "sent", "received", "moves", "queue",
            "bound", "right / hash / judged");
    for (uint32_t i = 0; i < guest->names.n; i++) {
        const struct flow *flow = &guest->flows[i];
        struct flowq_binding binding = {.size = sizeof(binding)};
        struct flowq_tuple name;
        struct tuple tuple;
        char queue[24] = "-";
        flow_tuple(guest, i, &tuple);
        flow_to_flowq(&tuple, &name);
        tuple_ends(&tuple, src, dst, sizeof(src));
        if (flow->queue != NO_QUEUE)
            snprintf(queue, sizeof(queue), "%u", (unsigned)flow->queue);
        snprintf(bound, sizeof(bound), "-");
        if (flowq_vm_lookup(vm, &name, &binding) == 0)
            snprintf(bound, sizeof(bound), "%u", (unsigned)binding.qid);
        fprintf(out, "  %-5s  %-28s  %-28s %8llu %8llu %6llu %5s %5s  %llu / %llu / %llu\n",
                protocol_name(tuple.protocol, scratch, sizeof(scratch)), src, dst, (ull)flow->sent, (ull)flow->received,
                (ull)flow->moves, queue, bound, (ull)flow->right[METHOD_FLOWQ], (ull)flow->right[METHOD_HASH], (ull)flow->judged);
    }
}

bool report_text(FILE *out, const struct results *results, const struct guest *guest, struct flowq_vm *vm)
{
    opening(out, results, guest);
    verdict(out, results);
    by_queue(out, results, guest->options->vcpus);
    reasons(out, results);
    learned(out, vm, guest->options->max_flows);
    if (guest->options->flows)
        list_flows(out, guest, vm);
    return ferror(out) == 0;
}
