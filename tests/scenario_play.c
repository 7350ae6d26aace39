/* scenario_play: see scenario_play.h. SPDX-License-Identifier: BSD-2-Clause */
#include "scenario_play.h"
#include "scenario.h"
#include "seed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define BATCH     64
#define SECRETS   8 /* a queue of 8 that is right by luck is so eight times once in 16 million */
#define START_NS  UINT64_C(1000000000000)
#define MS        UINT64_C(1000000)
#define MAX_QUEUE 1024 /* of those that are followed for `in use` */

enum way { SINGLE, BURSTS, DECISIONS, SEVERAL_VMS, N_WAYS };
static const char *const way_name[] = {"single calls", "bursts", "decisions", "bursts for several vms"};

/* What was seen of one way, for each of the two vms. */
struct record {
    struct flowq_decision *answer[2]; /* by step; of an rx */
    struct flowq_stats stats[2];
};

struct play {
    const char *path;
    const struct step *step; /* of one vm: cfg and what follows */
    size_t n;
    enum way way;
    struct flowq_vm *vm[2]; /* the second is the neighbour */
    int letter[26];
    uint32_t pairs;
    bool off[MAX_QUEUE], resetting[MAX_QUEUE], by_rss;
    struct record *record;
    bool *on_one; /* told that what should be spread was all on one queue; NULL: that is wrong */
    FILE *report;
};

static uint64_t now;

static uint64_t clock_now(void *ctx)
{
    (void)ctx;
    return now;
}

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static int
wrong(const struct play *p, size_t step, const char *format, ...)
{
    va_list args;
    fprintf(p->report, "%s:%u: ", p->path, p->step[step].line);
    va_start(args, format);
    vfprintf(p->report, format, args);
    va_end(args);
    fprintf(p->report, " (%s)\n", way_name[p->way]);
    return -1;
}

static struct flowq_pkt pkt_of(const struct step *s)
{
    return (struct flowq_pkt){.data = s->packet.bytes, .len = s->packet.len, .flags = s->packet.flags};
}

static bool letter_known(const struct play *p, struct queue_ref q) { return !q.letter || p->letter[q.letter - 'A'] >= 0; }

static uint32_t queue_of(const struct play *p, struct queue_ref q)
{
    return q.letter ? ((uint32_t)p->letter[q.letter - 'A'] + q.number) % p->pairs : q.number;
}

/* ---- Packets that the VM sends --------------------------------------------------------------------------------------------- */

/* The neighbour's notes name the next queue. */
static int send(struct play *p, size_t from, size_t to)
{
    struct flowq_pkt pkts[BATCH];
    uint32_t q = queue_of(p, p->step[from].queue);
    for (size_t i = from; i < to; i++)
        pkts[i - from] = pkt_of(&p->step[i]);
    if (p->way == BURSTS) {
        flowq_tx_note_burst(p->vm[0], pkts, to - from, q);
        flowq_tx_note_burst(p->vm[1], pkts, to - from, (q + 1) % p->pairs);
        return 0; /* outcomes are compared as counters, at the end */
    }
    for (size_t i = from; i < to; i++) {
        uint32_t note = flowq_tx_note(p->vm[0], &pkts[i - from], q) & FLOWQ_NOTE_OUTCOME;
        flowq_tx_note(p->vm[1], &pkts[i - from], (q + 1) % p->pairs);
        if (p->step[i].note != ANY && note != p->step[i].note)
            return wrong(p, i, "the note is %s, right is %s", flowq_note_name(note), flowq_note_name(p->step[i].note));
    }
    return 0;
}

/* ---- Packets for the VM ---------------------------------------------------------------------------------------------------- */

static void steer_both(struct play *p, const struct flowq_pkt *pkts, size_t n, struct flowq_decision *const to[2])
{
    struct flowq_vm *vms[2 * BATCH];
    struct flowq_pkt twice[2 * BATCH];
    uint16_t qids[2 * BATCH];
    for (size_t i = 0; i < 2 * n; i++) {
        vms[i] = p->vm[i % 2];
        twice[i] = pkts[i / 2];
    }
    flowq_rx_steer_burst_vms(vms, twice, 2 * n, qids);
    for (size_t i = 0; i < 2 * n; i++)
        to[i % 2][i / 2].qid = qids[i];
}

static void steer(struct play *p, struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, struct flowq_decision *to)
{
    uint16_t qids[BATCH];
    if (p->way == DECISIONS) {
        flowq_rx_decide_burst(vm, pkts, n, to);
        return;
    }
    if (p->way == BURSTS)
        flowq_rx_steer_burst(vm, pkts, n, qids);
    for (size_t i = 0; i < n; i++)
        to[i].qid = p->way == BURSTS ? qids[i] : flowq_rx_steer(vm, &pkts[i]);
}

static int check_group(const struct play *p, size_t at)
{
    const struct step *s = &p->step[at];
    for (size_t i = 0; s->want == WANT_SAME && i < at; i++)
        if (p->step[i].kind == STEP_RX && p->step[i].want == WANT_SAME && strcmp(p->step[i].group, s->group) == 0 &&
            p->record->answer[0][i].qid != p->record->answer[0][at].qid)
            return wrong(p, at, "queue %u, but line %u had %u", p->record->answer[0][at].qid, p->step[i].line,
                         p->record->answer[0][i].qid);
    return 0;
}

static int check_queue(struct play *p, size_t at, uint32_t got)
{
    const struct step *s = &p->step[at];
    if (s->want == WANT_DROP)
        return got == FLOWQ_DROP ? 0 : wrong(p, at, "queue %u, right is none", got);
    if (got == FLOWQ_DROP)
        return wrong(p, at, "dropped");
    if (!p->by_rss && (got >= p->pairs || (got < MAX_QUEUE && (p->off[got] || p->resetting[got]))))
        return wrong(p, at, "queue %u, which is not in use", got);
    if (s->want != WANT_QUEUE)
        return check_group(p, at);
    if (!letter_known(p, s->queue))
        p->letter[s->queue.letter - 'A'] = (int)((got + p->pairs - s->queue.number % p->pairs) % p->pairs);
    uint32_t right = queue_of(p, s->queue);
    return got == right ? 0 : wrong(p, at, "queue %u, right is %u", got, right);
}

static int check_answer(struct play *p, size_t at)
{
    const struct step *s = &p->step[at];
    const struct flowq_decision *d = &p->record->answer[0][at];
    if (check_queue(p, at, d->qid) != 0)
        return -1;
    if (p->way != DECISIONS)
        return 0;
    if (s->reason != ANY && s->reason != d->reason)
        return wrong(p, at, "the reason is %s, right is %s", flowq_reason_name(d->reason), flowq_reason_name(s->reason));
    if (s->report != ANY && (s->report != d->hash_report || s->hash != d->hash_value))
        return wrong(p, at, "hash report %u, value 0x%" PRIx32 "; right is %" PRIu32 ", 0x%" PRIx32, d->hash_report,
                     d->hash_value, s->report, s->hash);
    return 0;
}

static int receive(struct play *p, size_t from, size_t to)
{
    struct flowq_pkt pkts[BATCH];
    struct flowq_decision *answer[2] = {p->record->answer[0] + from, p->record->answer[1] + from};
    for (size_t i = from; i < to; i++)
        pkts[i - from] = pkt_of(&p->step[i]);
    if (p->way == SEVERAL_VMS)
        steer_both(p, pkts, to - from, answer);
    for (int v = 0; v < 2 && p->way != SEVERAL_VMS; v++)
        steer(p, p->vm[v], pkts, to - from, answer[v]);
    int result = 0;
    for (size_t i = from; i < to && result == 0; i++)
        result = check_answer(p, i);
    return result;
}

/* ---- Other steps ----------------------------------------------------------------------------------------------------------- */

static int look_up(struct play *p, size_t at)
{
    const struct step *s = &p->step[at];
    struct flowq_binding b = {.size = sizeof(b)};
    int found = flowq_vm_lookup(p->vm[0], &s->tuple, &b);
    if (s->want == WANT_NONE)
        return found == -ENOENT ? 0 : wrong(p, at, "bound to queue %u, right is no binding", b.qid);
    if (found != 0)
        return wrong(p, at, "not bound, right is queue %u", queue_of(p, s->queue));
    if (b.qid != queue_of(p, s->queue))
        return wrong(p, at, "bound to queue %u, right is %u", b.qid, queue_of(p, s->queue));
    if (s->cls != ANY && s->cls != b.cls)
        return wrong(p, at, "the class is %s, right is %s", flowq_class_name(b.cls), flowq_class_name(s->cls));
    return 0;
}

static void follow(bool flags[MAX_QUEUE], uint32_t q, bool value)
{
    for (uint32_t i = 0; i < MAX_QUEUE; i++)
        if (q == FLOWQ_ALL_QUEUES || q == i)
            flags[i] = value;
}

static void follow_reset(struct play *p, uint32_t what)
{
    if (what & FLOWQ_RESET_QUEUES) {
        p->pairs = 1;
        follow(p->off, FLOWQ_ALL_QUEUES, false);
        follow(p->resetting, FLOWQ_ALL_QUEUES, false);
    }
    if (what & FLOWQ_RESET_CONFIG)
        p->by_rss = false;
}

static int configure_rss(const struct step *s, struct flowq_vm *vm)
{
    struct flowq_rss rss = s->rss;
    rss.table = s->table;
    rss.key = s->key;
    if (s->kind == STEP_HASH)
        return flowq_vm_set_hash(vm, rss.hash_types, rss.key, rss.key_length);
    return flowq_vm_set_rss(vm, &rss);
}

/* What the host does to a vm. Returns what flowq does. */
static int do_to_vm(const struct play *p, const struct step *s, struct flowq_vm *vm)
{
    switch (s->kind) {
    case STEP_ENABLED:
        return flowq_vm_set_queue_enabled(vm, queue_of(p, s->queue), s->on);
    case STEP_RESETTING:
        return flowq_vm_set_queue_resetting(vm, queue_of(p, s->queue), s->on);
    case STEP_PAIRS:
        return flowq_vm_set_queue_pairs(vm, s->number);
    case STEP_RESET:
        flowq_vm_reset(vm, s->number);
        return 0;
    case STEP_HASH_TUNNELS:
        return flowq_vm_set_hash_tunnels(vm, s->number);
    default:
        return configure_rss(s, vm);
    }
}

static int command(struct play *p, size_t at)
{
    const struct step *s = &p->step[at];
    if (s->kind == STEP_LOOKUP)
        return look_up(p, at);
    if (s->kind == STEP_WAIT) {
        now += s->number * MS;
        return 0;
    }
    for (int v = 0; v < 2; v++) {
        int result = do_to_vm(p, s, p->vm[v]);
        if (result != 0)
            return wrong(p, at, "refused: %s", strerror(-result));
    }
    if (s->kind == STEP_ENABLED)
        follow(p->off, queue_of(p, s->queue), !s->on);
    else if (s->kind == STEP_RESETTING)
        follow(p->resetting, queue_of(p, s->queue), s->on);
    else if (s->kind == STEP_RESET)
        follow_reset(p, s->number);
    else if (s->kind == STEP_PAIRS)
        p->pairs = s->number;
    if (s->kind == STEP_RSS || s->kind == STEP_PAIRS)
        p->by_rss = s->kind == STEP_RSS;
    return 0;
}

/* ---- One vm's steps -------------------------------------------------------------------------------------------------------- */

static int set_up(struct play *p, const uint8_t secret[FLOWQ_SECRET_SIZE])
{
    now = START_NS;
    memset(p->letter, -1, sizeof(p->letter));
    p->pairs = p->step[0].number;
    for (int v = 0; v < 2; v++) {
        struct flowq_vm_config config = p->step[0].config;
        config.clock_ns = clock_now;
        memcpy(config.secret, secret, sizeof(config.secret));
        int result = flowq_vm_create(&config, &p->vm[v]);
        if (result == 0)
            result = flowq_vm_set_queue_pairs(p->vm[v], p->pairs);
        if (result != 0)
            return wrong(p, 0, "refused: %s", strerror(-result));
    }
    return 0;
}

/* Packets of one kind, and on one queue, go together. */
static size_t run_end(const struct play *p, size_t from)
{
    const struct step *s = p->step;
    size_t i = from + 1;
    while (i < p->n && i < from + BATCH && s[i].kind == s[from].kind &&
           (s[i].kind == STEP_RX || queue_of(p, s[i].queue) == queue_of(p, s[from].queue)))
        i++;
    return i;
}

static int check_letters(const struct play *p, size_t at)
{
    if (p->step[at].kind != STEP_RX && !letter_known(p, p->step[at].queue))
        return wrong(p, at, "no rx has named %c before", p->step[at].queue.letter);
    return 0;
}

/* With one of several secrets chance may put a few packets on one queue: eight of them, of eight, once in two millions. With two
   of the secrets it is no chance. */
static int check_spread(const struct play *p)
{
    const struct flowq_decision *answer = p->record->answer[0];
    for (size_t i = 0; i < p->n; i++) {
        bool spread = p->step[i].kind != STEP_RX || p->step[i].want != WANT_SPREAD;
        for (size_t j = 0; j < p->n && !spread; j++)
            spread = p->step[j].kind == STEP_RX && p->step[j].want == WANT_SPREAD &&
                     strcmp(p->step[i].group, p->step[j].group) == 0 && answer[i].qid != answer[j].qid;
        if (!spread && !p->on_one)
            return wrong(p, i, "all on queue %u", answer[i].qid);
        if (!spread)
            *p->on_one = true;
    }
    return 0;
}

static int play_steps(struct play *p, const uint8_t secret[FLOWQ_SECRET_SIZE])
{
    int result = set_up(p, secret);
    for (size_t i = 1, end; i < p->n && result == 0; i = end) {
        end = i + 1;
        for (size_t k = i; k < p->n && p->step[k].kind == STEP_TX && result == 0; k++)
            result = check_letters(p, k);
        if (result != 0)
            break;
        if (p->step[i].kind == STEP_TX)
            result = send(p, i, end = run_end(p, i));
        else if (p->step[i].kind == STEP_RX)
            result = receive(p, i, end = run_end(p, i));
        else
            result = check_letters(p, i) != 0 ? -1 : command(p, i);
    }
    for (int v = 0; v < 2; v++) {
        p->record->stats[v].size = sizeof(p->record->stats[v]);
        if (p->vm[v])
            flowq_vm_stats(p->vm[v], &p->record->stats[v]);
        flowq_vm_destroy(p->vm[v]);
    }
    return result == 0 ? check_spread(p) : -1;
}

/* ---- All ways -------------------------------------------------------------------------------------------------------------- */

static int compare_counters(const struct play *p, const uint64_t *got, const uint64_t *first, const char *(*name)(uint32_t),
                            uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (got[i] != first[i])
            return wrong(p, 0, "%s is counted %" PRIu64 " times, by single calls %" PRIu64, name(i), got[i], first[i]);
    return 0;
}

static int compare(const struct play *p, const struct record *first)
{
    const struct record *r = p->record;
    for (int v = 0; v < 2; v++) {
        for (size_t i = 0; i < p->n; i++)
            if (p->step[i].kind == STEP_RX && r->answer[v][i].qid != first->answer[v][i].qid)
                return wrong(p, i, "queue %u%s, by single calls %u", r->answer[v][i].qid, v ? " of the neighbour" : "",
                             first->answer[v][i].qid);
        if (compare_counters(p, r->stats[v].note, first->stats[v].note, flowq_note_name, FLOWQ_NOTE_SLOTS) != 0 ||
            compare_counters(p, r->stats[v].steer, first->stats[v].steer, flowq_reason_name, FLOWQ_REASON_SLOTS) != 0)
            return -1;
    }
    return 0;
}

static int play_all_ways(const char *path, const struct step *step, size_t n, const uint8_t secret[FLOWQ_SECRET_SIZE],
                         bool *on_one, FILE *report)
{
    int result = 0;
    struct record record[N_WAYS];
    struct flowq_decision *answers = calloc(n * 2 * N_WAYS, sizeof(*answers));
    if (!answers) {
        fprintf(report, "%s: out of memory\n", path);
        return -1;
    }
    for (unsigned way = 0; way < N_WAYS && result == 0; way++) {
        record[way] = (struct record){.answer = {answers + 2 * way * n, answers + (2 * way + 1) * n}};
        struct play p = {
            .path = path, .step = step, .n = n, .way = (enum way)way, .record = &record[way], .on_one = on_one, .report = report};
        result = play_steps(&p, secret);
        if (result == 0)
            result = compare(&p, &record[SINGLE]);
    }
    free(answers);
    return result;
}

static int play_vm(const char *path, const struct step *step, size_t n, uint64_t seed, FILE *report)
{
    struct rng rng = {seed};
    int result = 0;
    bool was_on_one = step->fixed_secret;
    for (int i = 0; i < (step->fixed_secret ? 1 : SECRETS) && result == 0; i++) {
        bool on_one = false;
        uint8_t secret[FLOWQ_SECRET_SIZE];
        for (unsigned b = 0; b < sizeof(secret); b++) {
            uint8_t fixed = (uint8_t)(7 * b + 1), drawn = (uint8_t)rng_range(&rng, 1, 255);
            secret[b] = step->fixed_secret ? (fixed ? fixed : 1) : drawn;
        }
        result = play_all_ways(path, step, n, secret, was_on_one ? NULL : &on_one, report);
        was_on_one |= on_one;
    }
    return result;
}

unsigned scenario_play(const char *path, uint64_t seed, FILE *report)
{
    char error[512];
    struct scenario s;
    unsigned failed = 0;
    FILE *file = fopen(path, "r");
    if (!file) {
        fprintf(report, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    int result = scenario_read(file, path, &s, error, sizeof(error));
    fclose(file);
    if (result != 0) {
        fprintf(report, "%s\n", error);
        scenario_free(&s);
        return 1;
    }
    for (size_t from = 0, to; from < s.n; from = to) {
        for (to = from + 1; to < s.n && s.step[to].kind != STEP_CFG; to++)
            continue;
        failed += play_vm(path, s.step + from, to - from, seed, report) != 0;
    }
    scenario_free(&s);
    return failed;
}
