/*
 * check_counters: the walk over a vm's counters agrees with its statistics, and the formats with the walk: a naive writer makes
 * the same text with stdio. Buffers of every size, descriptors that fail, names that need care.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "counters.h"
#include "vm.h"

#include "example.h"
#include "runner.h"

#define TEXT_MAX (1 << 20)

/* Traffic that makes many of the counters different from each other. */
static void make_traffic(void)
{
    for (uint16_t i = 1; i <= 40; i++)
        for (uint16_t j = 0; j <= i % 5; j++)
            note(tcp(i), i % 3);
    for (uint16_t i = 1; i <= 60; i++)
        decide(tcp(i));
    flowq_vm_set_queue_enabled(vm, 1, false);
    decide(tcp(1));
    note(tcp(2), 1);
}

static void start_counted(uint32_t queue_stats)
{
    struct flowq_vm_config c = defaults();
    c.queue_stats = queue_stats;
    start(&c, PAIRS);
}

/* Each counter that is summed over threads gets a value of its own. */
static void make_different(void)
{
    for (unsigned i = 0; i < STAT_END; i++)
        u64_add_relaxed(&vm->stats.stripe[i % STATS_STRIPES].counter[i], 1000 + 7 * i);
}

/* ---- The walk -------------------------------------------------------------------------------------------------------------- */

struct seen {
    struct flowq_counter c[4096];
    char label_value[4096][24];
    unsigned n, stop_at;
};

static int see(void *ctx, const struct flowq_counter *c)
{
    struct seen *s = ctx;
    ck_assert_uint_lt(s->n, 4096);
    s->c[s->n] = *c;
    if (c->label) {
        snprintf(s->label_value[s->n], sizeof(s->label_value[0]), "%s", c->label_value);
        s->c[s->n].label_value = s->label_value[s->n];
    }
    s->n++;
    return s->n == s->stop_at ? 77 : 0;
}

static struct seen *walk(struct flowq_vm *of)
{
    struct seen *s = calloc(1, sizeof(*s));
    ck_assert_ptr_nonnull(s);
    ck_assert_int_eq(flowq_vm_counters(of, see, s), 0);
    return s;
}

static uint64_t value_of(const struct seen *s, const char *name, const char *label_value)
{
    for (unsigned i = 0; i < s->n; i++)
        if (strcmp(s->c[i].name, name) == 0 && (!label_value || strcmp(s->c[i].label_value, label_value) == 0))
            return s->c[i].value;
    ck_abort_msg("no counter %s %s", name, label_value ? label_value : "");
    return 0;
}

START_TEST(the_walk_shows_what_the_statistics_have)
{
    static const char *const classes[] = {"embryonic", "closing", "established"};
    struct flowq_stats st = {.size = sizeof(st)};
    start_counted(FLOWQ_ON);
    make_traffic();
    make_different();
    struct seen *s = walk(vm);
    ck_assert_int_eq(flowq_vm_stats(vm, &st), 0);
    for (uint32_t i = 0; i < N_NOTES; i++)
        ck_assert_uint_eq(value_of(s, "flowq_notes", flowq_note_name(i)), st.note[i]);
    for (uint32_t i = 0; i < N_REASONS; i++)
        ck_assert_uint_eq(value_of(s, "flowq_steered", flowq_reason_name(i)), st.steer[i]);
    const uint64_t displaced[] = {st.displaced_embryonic, st.displaced_closing, st.displaced_established};
    ck_assert(displaced[0] != displaced[1] && displaced[1] != displaced[2]);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_uint_eq(value_of(s, "flowq_flows_displaced", classes[i]), displaced[i]);
    const struct {
        const char *name;
        uint64_t value;
    } single[] = {
        {"flowq_queue_pairs", st.queue_pairs},
        {"flowq_queues_in_use", st.queues_in_use},
        {"flowq_queues_noted", st.queues_noted},
        {"flowq_flows_inserted", st.inserted},
        {"flowq_flows_live", st.live},
        {"flowq_flows_reclaimed", st.reclaimed},
        {"flowq_flows_forgotten", st.forgotten},
        {"flowq_bound_elsewhere", st.bound_elsewhere},
        {"flowq_table_grown", st.grown},
        {"flowq_table_shrunk", st.shrunk},
        {"flowq_table_grow_failed", st.grow_failed},
        {"flowq_table_grow_delayed", st.grow_delayed},
        {"flowq_table_bytes", st.table_bytes},
        {"flowq_retired_bytes", st.retired_bytes},
        {"flowq_vm_bytes", st.vm_bytes},
        {"flowq_rss_elsewhere", st.rss_elsewhere},
        {"flowq_flows_loaded", st.loaded},
        {"flowq_ordered_begun", st.ordered_begun},
        {"flowq_ordered_done", st.ordered_done},
        {"flowq_ordered_back", st.ordered_back},
        {"flowq_ordered_forced", st.ordered_forced},
        {"flowq_ordered_lapsed", st.ordered_lapsed},
        {"flowq_ordered_off", st.ordered_off},
        {"flowq_ordered_full", st.ordered_full},
        {"flowq_ordered_held", st.ordered_held},
        {"flowq_ordered_pending", st.ordered_pending},
    };
    for (unsigned i = 0; i < sizeof(single) / sizeof(single[0]); i++)
        ck_assert_msg(value_of(s, single[i].name, NULL) == single[i].value, "%s", single[i].name);
    for (uint32_t q = 0; q < PAIRS; q++) {
        struct flowq_queue_stats qs = {.size = sizeof(qs)};
        char text[24];
        snprintf(text, sizeof(text), "%u", q);
        ck_assert_int_eq(flowq_vm_queue_stats(vm, q, &qs), 0);
        ck_assert_uint_eq(value_of(s, "flowq_queue_in_use", text), qs.in_use);
        ck_assert_uint_eq(value_of(s, "flowq_queue_noted", text), qs.noted);
        ck_assert_uint_eq(value_of(s, "flowq_queue_steered", text), qs.steered);
    }
    ck_assert_uint_eq(s->n, N_NOTES + N_REASONS + 3 + sizeof(single) / sizeof(single[0]) + 3 * PAIRS);
    ck_assert_uint_gt(st.bound_elsewhere, 0);
    free(s);
}
END_TEST

static bool is_name(const char *name)
{
    return strncmp(name, "flowq_", 6) == 0 && strspn(name, "abcdefghijklmnopqrstuvwxyz_") == strlen(name) && !strstr(name, "__");
}

/* What formats rely on: names of a family stand together, nothing has to be escaped, a unit ends the name. */
START_TEST(names_and_helps)
{
    start_counted(FLOWQ_ON);
    make_traffic();
    struct seen *s = walk(vm);
    for (unsigned i = 0; i < s->n; i++) {
        const struct flowq_counter *c = &s->c[i];
        ck_assert_uint_eq(c->size, sizeof(*c));
        ck_assert_msg(is_name(c->name), "%s", c->name);
        ck_assert_int_eq(strpbrk(c->help, "\"\\\n") != NULL, 0);
        ck_assert_msg(strlen(c->help) > 10 && c->help[strlen(c->help) - 1] == '.', "%s", c->help);
        ck_assert(c->kind == FLOWQ_COUNTER_TOTAL || c->kind == FLOWQ_COUNTER_GAUGE);
        ck_assert_uint_eq(c->reserved[0] | c->reserved[1] | c->reserved[2], 0);
        size_t unit = strlen(c->unit);
        ck_assert(unit == 0 || strcmp(c->name + strlen(c->name) - unit, c->unit) == 0);
        ck_assert(strcmp(c->name + strlen(c->name) - 6, "_total") != 0);
        ck_assert(!c->label == !c->label_value);
        for (unsigned j = 0; j < i; j++) {
            bool same = strcmp(s->c[j].name, c->name) == 0;
            ck_assert(!same || strcmp(s->c[i - 1].name, c->name) == 0);
            ck_assert(!same || (c->label && strcmp(s->c[j].label, c->label) == 0));
            ck_assert(!same || strcmp(s->c[j].label_value, c->label_value) != 0);
        }
    }
    free(s);
}
END_TEST

/* flowq-monitoring(7) has each name, with its kind. */
START_TEST(the_manual_has_each_name)
{
    const char *dir = getenv("FLOWQ_SRCDIR");
    char path[4096], entry[128], *text = calloc(1, TEXT_MAX);
    snprintf(path, sizeof(path), "%s/man/flowq-monitoring.7", dir ? dir : ".");
    FILE *f = fopen(path, "r");
    ck_assert_msg(f != NULL, "cannot open %s (FLOWQ_SRCDIR names the tree)", path);
    ck_assert_uint_lt(fread(text, 1, TEXT_MAX - 1, f), TEXT_MAX - 1);
    fclose(f);
    start_counted(FLOWQ_ON);
    struct seen *s = walk(vm);
    unsigned n = 0, n_text = 0;
    for (unsigned i = 0; i < s->n; i++) {
        if (i > 0 && s->c[i].name == s->c[i - 1].name)
            continue;
        n++;
        snprintf(entry, sizeof(entry), ".It Ic %s%s%s%s Pq %s\n", s->c[i].name, s->c[i].label ? " Bro Ar " : "",
                 s->c[i].label ? s->c[i].label : "", s->c[i].label ? " Brc" : "",
                 s->c[i].kind == FLOWQ_COUNTER_TOTAL ? "counter" : "gauge");
        ck_assert_msg(strstr(text, entry) != NULL, "flowq-monitoring(7) lacks: %s", entry);
    }
    for (const char *at = text; (at = strstr(at, "\n.It Ic flowq_")); at++)
        n_text++;
    ck_assert_uint_eq(n_text, n); /* and no other */
    free(s);
    free(text);
}
END_TEST

START_TEST(queues_that_are_shown)
{
    start_counted(FLOWQ_OFF);
    struct seen *s = walk(vm);
    unsigned n = 0;
    for (unsigned i = 0; i < s->n; i++) {
        ck_assert_str_ne(s->c[i].name, "flowq_queue_noted");
        ck_assert_str_ne(s->c[i].name, "flowq_queue_steered");
        n += strcmp(s->c[i].name, "flowq_queue_in_use") == 0;
    }
    ck_assert_uint_eq(n, PAIRS);
    free(s);
    start_counted(FLOWQ_ON);
    note(tcp(1), 3);
    note(tcp(1), 3);
    flowq_vm_set_queue_pairs(vm, 2);
    s = walk(vm);
    ck_assert_uint_eq(value_of(s, "flowq_queue_noted", "3"), 2); /* off, but it has counted */
    ck_assert_uint_eq(value_of(s, "flowq_queue_in_use", "3"), 0);
    for (unsigned i = 0; i < s->n; i++)
        ck_assert(!s->c[i].label || strcmp(s->c[i].label, "queue") != 0 || strcmp(s->c[i].label_value, "2") != 0);
    free(s);
}
END_TEST

START_TEST(the_walk_stops)
{
    start_counted(FLOWQ_ON);
    struct seen *s = walk(vm);
    const unsigned all = s->n;
    for (unsigned stop = 1; stop <= all; stop++) {
        s->n = 0;
        s->stop_at = stop;
        ck_assert_int_eq(flowq_vm_counters(vm, see, s), 77);
        ck_assert_uint_eq(s->n, stop);
    }
    ck_assert_int_eq(flowq_vm_counters(NULL, see, s), -EINVAL);
    ck_assert_int_eq(flowq_vm_counters(vm, NULL, s), -EINVAL);
    free(s);
}
END_TEST

/* ---- Text, by a naive writer ----------------------------------------------------------------------------------------------- */

struct text {
    char *at;
    size_t n;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
    va_list rest;
    va_start(rest, format);
    t->n += (size_t)vsnprintf(t->at + t->n, TEXT_MAX - t->n, format, rest);
    va_end(rest);
    ck_assert_uint_lt(t->n, TEXT_MAX);
}

static const char *sample_end(const struct flowq_counter *c) { return c->kind == FLOWQ_COUNTER_TOTAL ? "_total" : ""; }

static struct flowq_vm *several[7];

/* quoted: the vms' names as they are to be written. */
static void naive_text(struct text *t, struct flowq_vm *const *vms, const char *const *quoted, unsigned n, bool openmetrics)
{
    struct seen *all[8], *first = walk(several[1]); /* which counts by queue: it has all names */
    for (unsigned i = 0; i < n; i++)
        all[i] = walk(vms[i]);
    const char *last = "";
    for (unsigned at = 0; at < first->n; at++) {
        const struct flowq_counter *c = &first->c[at];
        if (strcmp(c->name, last) == 0)
            continue;
        last = c->name;
        const char *end = openmetrics ? "" : sample_end(c);
        add(t, "# TYPE %s%s %s\n", c->name, end, c->kind == FLOWQ_COUNTER_TOTAL ? "counter" : "gauge");
        if (openmetrics && *c->unit)
            add(t, "# UNIT %s %s\n", c->name, c->unit);
        add(t, "# HELP %s%s %s\n", c->name, end, c->help);
        for (unsigned i = 0; i < n; i++)
            for (unsigned j = 0; j < all[i]->n; j++) {
                const struct flowq_counter *s = &all[i]->c[j];
                if (strcmp(s->name, c->name) != 0)
                    continue;
                add(t, "%s%s{vm=\"%s\"", s->name, sample_end(s), quoted[i]);
                if (s->label)
                    add(t, ",%s=\"%s\"", s->label, s->label_value);
                add(t, "} %llu\n", (unsigned long long)s->value);
            }
    }
    if (openmetrics)
        add(t, "# EOF\n");
    for (unsigned i = 0; i < n; i++)
        free(all[i]);
    free(first);
}

static void naive_json(struct text *t, struct flowq_vm *const *vms, const char *const *quoted, unsigned n)
{
    add(t, "{\"flowq_version\":\"%s\",\"vms\":[", flowq_version_string());
    for (unsigned i = 0; i < n; i++) {
        struct seen *s = walk(vms[i]);
        add(t, "%s{\"vm\":\"%s\"", i ? "," : "", quoted[i]);
        for (unsigned j = 0; j < s->n;) {
            const struct flowq_counter *c = &s->c[j];
            add(t, ",\"%s\":", c->name);
            if (!c->label) {
                add(t, "%llu", (unsigned long long)c->value);
                j++;
                continue;
            }
            for (const char *between = "{"; j < s->n && strcmp(s->c[j].name, c->name) == 0; j++, between = ",")
                add(t, "%s\"%s\":%llu", between, s->c[j].label_value, (unsigned long long)s->c[j].value);
            add(t, "}");
        }
        add(t, "}");
        free(s);
    }
    add(t, "]}\n");
}

static void naive(struct text *t, struct flowq_vm *const *vms, const char *const *quoted, unsigned n, uint32_t format)
{
    t->n = 0;
    if (format == FLOWQ_FORMAT_JSON)
        naive_json(t, vms, quoted, n);
    else
        naive_text(t, vms, quoted, n, format == FLOWQ_FORMAT_OPENMETRICS);
}

/* Names with all that has to be minded, and how they are written. The fifth is cut within a character. */
static const char *const names[] = {NULL,
                                    "eth0",
                                    "a \"b\" \\c",
                                    "\xe9t\xe9 \xc3\xa9t\xc3\xa9",
                                    "123456789012345678901234567890\xc3\xa9",
                                    "\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80\xe2\x82\xac\xf0\x9f\x98\x80",
                                    "line\nend\ttab \xe0\xa0\x80\xe0\x9f\xbf"};
static const char *const quoted_names[] = {"0",
                                           "eth0",
                                           "a \\\"b\\\" \\\\c",
                                           "?t? \xc3\xa9t\xc3\xa9",
                                           "123456789012345678901234567890?",
                                           "?????????\xe2\x82\xac\xf0\x9f\x98\x80",
                                           "line?end?tab \xe0\xa0\x80???"};
#define N_NAMES (sizeof(names) / sizeof(names[0]))
_Static_assert(N_NAMES == sizeof(several) / sizeof(several[0]), "a vm for each");

static void start_several(void)
{
    for (unsigned i = 0; i < N_NAMES; i++) {
        struct flowq_vm_config c = defaults();
        c.queue_stats = i % 2 ? FLOWQ_ON : FLOWQ_OFF;
        c.name = names[i];
        start(&c, i % 3 + 1);
        make_traffic();
        several[i] = vm;
        vm = NULL;
    }
}

static void stop_several(void)
{
    for (unsigned i = 0; i < N_NAMES; i++)
        flowq_vm_destroy(several[i]);
}

static const uint32_t formats[] = {FLOWQ_FORMAT_PROMETHEUS, FLOWQ_FORMAT_OPENMETRICS, FLOWQ_FORMAT_JSON};

START_TEST(text_is_what_the_naive_writer_makes)
{
    struct text want = {.at = malloc(TEXT_MAX)};
    char *got = malloc(TEXT_MAX);
    start_several();
    for (unsigned n = 1; n <= N_NAMES; n++) {
        naive(&want, several, quoted_names, n, formats[_i]);
        ck_assert_int_eq(flowq_counters_print(got, TEXT_MAX, several, n, formats[_i]), (int64_t)want.n);
        ck_assert_str_eq(got, want.at);
    }
    stop_several();
    free(want.at);
    free(got);
}
END_TEST

START_TEST(a_buffer_of_any_size)
{
    enum { GUARD = 32 };
    char *whole = malloc(TEXT_MAX), *part = malloc(TEXT_MAX);
    start_several();
    int64_t length = flowq_counters_print(whole, TEXT_MAX, several, 2, formats[_i]);
    ck_assert_int_gt(length, 500);
    ck_assert_int_eq(flowq_counters_print(NULL, 0, several, 2, formats[_i]), length);
    for (size_t size = 0; size <= (size_t)length + 2; size += size < 300 || (int64_t)size > length - 100 ? 1 : 97) {
        memset(part, 0x55, size + GUARD);
        ck_assert_int_eq(flowq_counters_print(part, size, several, 2, formats[_i]), length);
        if (size > 0) {
            size_t n = size - 1 < (size_t)length ? size - 1 : (size_t)length;
            ck_assert_mem_eq(part, whole, n);
            ck_assert_int_eq(part[n], 0);
        }
        for (size_t i = size; i < size + GUARD; i++)
            ck_assert_int_eq(part[i], 0x55);
    }
    stop_several();
    free(whole);
    free(part);
}
END_TEST

START_TEST(a_descriptor_gets_the_same)
{
    char *whole = malloc(TEXT_MAX), *got = calloc(1, TEXT_MAX);
    int pair[2];
    start_several();
    int64_t length = flowq_counters_print(whole, TEXT_MAX, several, N_NAMES, formats[_i]);
    ck_assert_int_gt(length, 4096); /* more than one piece */
    ck_assert_int_eq(pipe(pair), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) { /* reads in odd pieces, so that writes are cut */
        char piece[1000];
        ssize_t n, all = 0;
        close(pair[1]);
        while ((n = read(pair[0], piece, 7 + (size_t)all % 900)) > 0) {
            if (memcmp(piece, whole + all, (size_t)n) != 0)
                _exit(1);
            all += n;
        }
        _exit(all == length ? 0 : 2);
    }
    close(pair[0]);
    ck_assert_int_eq(flowq_counters_write(pair[1], several, N_NAMES, formats[_i]), 0);
    close(pair[1]);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    stop_several();
    free(whole);
    free(got);
}
END_TEST

START_TEST(a_descriptor_that_fails)
{
    int pair[2];
    start_several();
    errno = 0;
    ck_assert_int_eq(flowq_counters_write(-1, several, 1, FLOWQ_FORMAT_JSON), -EIO);
    ck_assert_int_eq(errno, EBADF);
    int full = open("/dev/full", O_WRONLY);
    if (full >= 0) {
        ck_assert_int_eq(flowq_counters_write(full, several, N_NAMES, FLOWQ_FORMAT_JSON), -EIO);
        ck_assert_int_eq(errno, ENOSPC);
        close(full);
    }
    /* A descriptor that does not wait, and is full in the midst. */
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    int small = 4096;
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    int r = 0;
    for (unsigned i = 0; i < 1000 && r == 0; i++)
        r = flowq_counters_write(pair[0], several, N_NAMES, FLOWQ_FORMAT_PROMETHEUS);
    ck_assert_int_eq(r, -EIO);
    ck_assert_int_eq(errno, EAGAIN);
    stop_several();
}
END_TEST

START_TEST(what_cannot_be_asked)
{
    char text[4096];
    start_several();
    struct flowq_vm *const broken[] = {several[0], NULL};
    for (uint32_t format = 0; format < 300; format++) {
        bool known = format >= FLOWQ_FORMAT_PROMETHEUS && format <= FLOWQ_FORMAT_JSON;
        ck_assert_int_eq(flowq_counters_print(text, sizeof(text), several, 1, format) > 0, known);
        ck_assert_int_eq(flowq_counters_print(text, sizeof(text), broken, 2, format), -EINVAL);
        ck_assert_int_eq(flowq_counters_print(text, sizeof(text), NULL, 1, format), -EINVAL);
        ck_assert_int_eq(flowq_counters_print(NULL, 1, several, 1, format), -EINVAL);
        ck_assert_int_eq(flowq_counters_write(1, broken, 2, format), -EINVAL);
        ck_assert_int_eq(flowq_counters_print(text, sizeof(text), NULL, 0, format) > 0, known);
    }
    ck_assert_int_eq(flowq_counters_print(text, sizeof(text), several, 1, UINT32_MAX), -EINVAL);
    flowq_counters_print(text, sizeof(text), NULL, 0, FLOWQ_FORMAT_JSON);
    ck_assert_ptr_nonnull(strstr(text, "\"vms\":[]}\n"));
    stop_several();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("counters");
    TCase *tc = tcase_create("counters");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, the_walk_shows_what_the_statistics_have);
    tcase_add_test(tc, names_and_helps);
    tcase_add_test(tc, the_manual_has_each_name);
    tcase_add_test(tc, queues_that_are_shown);
    tcase_add_test(tc, the_walk_stops);
    tcase_add_loop_test(tc, text_is_what_the_naive_writer_makes, 0, 3);
    tcase_add_loop_test(tc, a_buffer_of_any_size, 0, 3);
    tcase_add_loop_test(tc, a_descriptor_gets_the_same, 0, 3);
    tcase_add_test(tc, a_descriptor_that_fails);
    tcase_add_test(tc, what_cannot_be_asked);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
