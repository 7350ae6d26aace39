/*
 * check_tunables: lib/config.c, the table in flowq(7) and the comments of flowq.h say the same of every setting.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "runner.h"
#include "tree.h"

/* A setting that is on or off and nothing else. */
static bool is_switch(const struct config_limit *l) { return l->min == 1 && l->max == 1 && l->has_off; }

/* ---- The manual: ".It Fa name [No *] Ta default Ta minimum Ta maximum Ta off" -------------------------------------------- */

struct row {
    char preset[32], min[32], max[32], off[32];
    bool fixed;
};

static bool find_row(const char *manual, const char *name, struct row *row)
{
    char start[80], rest[200];
    snprintf(start, sizeof(start), "\n.It Fa %s ", name);
    const char *at = strstr(manual, start);
    if (!at)
        return false;
    at += strlen(start);
    row->fixed = strncmp(at, "No * ", 5) == 0;
    snprintf(rest, sizeof(rest), "%.*s", (int)strcspn(at, "\n"), row->fixed ? at + 5 : at);
    return sscanf(rest, "Ta %31s Ta %31s Ta %31s Ta %31s", row->preset, row->min, row->max, row->off) == 4;
}

/* How the manual writes a value; "\&" is an empty cell. */
static const char *written(const struct config_limit *l, uint32_t value, char scratch[16])
{
    if (l->has_off && value == FLOWQ_OFF)
        return "off";
    if (is_switch(l))
        return "on";
    if (l->mask)
        return "all";
    snprintf(scratch, 16, "%" PRIu32, value);
    return scratch;
}

static void check_row(const struct config_limit *l, const struct row *row)
{
    char scratch[16];
    bool ranged = !is_switch(l) && !l->mask;
    ck_assert_msg(strcmp(row->preset, written(l, l->preset, scratch)) == 0, "%s: default %s", l->name, row->preset);
    ck_assert_msg(strcmp(row->min, ranged ? written(l, l->min, scratch) : "\\&") == 0, "%s: minimum %s", l->name, row->min);
    /* More than max_flows may be asked for nowhere. */
    const char *max = strcmp(l->name, "initial_flows") == 0 ? "max_flows" : ranged ? written(l, l->max, scratch) : "\\&";
    ck_assert_msg(strcmp(row->max, max) == 0, "%s: maximum %s", l->name, row->max);
    ck_assert_msg(strcmp(row->off, l->has_off ? "off" : "\\&") == 0, "%s: off %s", l->name, row->off);
}

START_TEST(manual_agrees)
{
    char *manual = tree_read("man/flowq.7");
    size_t rows = 0;
    for (size_t i = 0; i < config_n_limits; i++) {
        struct row row;
        ck_assert_msg(find_row(manual, config_limits[i].name, &row), "flowq(7) has no row for %s", config_limits[i].name);
        check_row(&config_limits[i], &row);
    }
    const char *table = strstr(manual, ".It Sy Setting Ta");
    ck_assert_ptr_nonnull(table);
    const char *end = strstr(table, "\n.El");
    ck_assert_ptr_nonnull(end);
    for (const char *at = table; (at = strstr(at, "\n.It Fa ")) && at < end; at++)
        rows++;
    ck_assert_uint_eq(rows, config_n_limits);
    free(manual);
}
END_TEST

/* ---- The pages of flowq_vm_create() and flowq_vm_configure() -------------------------------------------------------------- */

static bool has_field(const char *page, const char *name)
{
    return page_names(page, ".It Fa ", name) || page_names(page, ".Fa ", name);
}

START_TEST(pages_agree)
{
    char *create = tree_read("man/flowq_vm_create.3"), *configure = tree_read("man/flowq_vm_configure.3");
    const char *taken = strstr(configure, "\nThese fields are taken:");
    ck_assert_ptr_nonnull(taken);
    char *end = strstr(taken, "\n.Pp");
    ck_assert_ptr_nonnull(end);
    *end = 0;
    for (size_t i = 0; i < config_n_limits; i++) {
        const struct config_limit *l = &config_limits[i];
        ck_assert_msg(has_field(create, l->name), "flowq_vm_create(3) says nothing of %s", l->name);
        /* "the ports of tunnels, and all that begin with virtio_" */
        if (strstr(l->name, "_port") == NULL && strncmp(l->name, "virtio_", 7) != 0)
            ck_assert_msg(has_field(taken, l->name) == !l->fixed, "flowq_vm_configure(3): is %s taken?", l->name);
    }
    free(configure);
    free(create);
}
END_TEST

/* ---- The header: numbers in the comment of a field ----------------------------------------------------------------------- */

/* A field's comment: that behind it, up to the next line that begins with something else; and the one above its paragraph. */
static void find_comment(const char *header, const char *name, char *out, size_t size)
{
    char needle[80];
    const char *config = strstr(header, "\nstruct flowq_vm_config {");
    ck_assert_ptr_nonnull(config);
    snprintf(needle, sizeof(needle), " %s;", name);
    const char *field = strstr(config, needle);
    ck_assert_msg(field != NULL, "flowq.h has no field %s", name);

    const char *end = strchr(field, '\n'), *open = strstr(field, "/*");
    if (open && open < end)
        end = strstr(open, "*/");
    const char *paragraph = field;
    while (strncmp(paragraph - 2, "\n\n", 2) != 0 && paragraph > config)
        paragraph--;
    const char *above = strncmp(paragraph + strspn(paragraph, " "), "/*", 2) == 0 ? paragraph : field;
    snprintf(out, size, "%.*s %.*s", above < field ? (int)(strstr(above, "*/") - above) : 0, above, (int)(end - field), field);
}

static bool is_word(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

static bool has_token(const char *text, const char *token)
{
    size_t n = strlen(token);
    for (const char *at = text; (at = strstr(at, token)); at++)
        if ((at == text || !is_word(at[-1])) && !is_word(at[n]))
            return true;
    return false;
}

static bool has_number(const char *text, uint32_t value)
{
    char number[16];
    snprintf(number, sizeof(number), "%" PRIu32, value);
    if (has_token(text, number))
        return true;
    if (value == FLOWQ_MAX_QUEUE_PAIRS)
        return has_token(text, "FLOWQ_MAX_QUEUE_PAIRS");
    snprintf(number, sizeof(number), "2^%d", __builtin_ctz(value));
    return (value & (value - 1)) == 0 && has_token(text, number);
}

START_TEST(header_agrees)
{
    static const char *const said_in_words[] = {"initial_flows", "numa_node"};
    char *header = tree_read("include/flowq.h");
    char *manual = tree_read("man/flowq.7");
    for (size_t i = 0; i < config_n_limits; i++) {
        const struct config_limit *l = &config_limits[i];
        char comment[2048];
        struct row row;
        find_comment(header, l->name, comment, sizeof(comment));
        if (l->preset == FLOWQ_OFF && l->has_off)
            ck_assert_msg(has_token(comment, "FLOWQ_OFF"), "%s: flowq.h names another default:%s", l->name, comment);
        ck_assert(find_row(manual, l->name, &row));
        ck_assert_msg(row.fixed == l->fixed, "%s: flowq(7) and config.c differ on whether it is fixed", l->name);
        if (strncmp(l->name, "rebind", 6) != 0) /* fixed are only the places for its times */
            ck_assert_msg(!strstr(comment, "[create]") == !l->fixed, "%s: flowq.h and config.c differ on whether it is fixed",
                          l->name);
        bool skip = is_switch(l) || l->mask;
        for (size_t w = 0; w < sizeof(said_in_words) / sizeof(said_in_words[0]); w++)
            skip = skip || strcmp(l->name, said_in_words[w]) == 0;
        if (skip)
            continue;
        if (l->preset != FLOWQ_OFF)
            ck_assert_msg(has_number(comment, l->preset), "%s: flowq.h does not say default %" PRIu32 ":%s", l->name, l->preset,
                          comment);
        if (strstr(l->name, "_port"))
            continue;                        /* any */
        if (strcmp(l->name, "idle_ms") != 0) /* at least active_ms */
            ck_assert_msg(has_number(comment, l->min), "%s: flowq.h does not say minimum %" PRIu32 ":%s", l->name, l->min,
                          comment);
        ck_assert_msg(has_number(comment, l->max), "%s: flowq.h does not say maximum %" PRIu32 ":%s", l->name, l->max, comment);
    }
    free(manual);
    free(header);
}
END_TEST

/* ---- The code: the limits are those that flowq_vm_create() keeps --------------------------------------------------------- */

static int created(const struct config_limit *l, uint32_t value)
{
    struct flowq_vm_config cfg = {.size = sizeof(cfg)}, out;
    struct config_fault fault;
    uint16_t narrow = (uint16_t)value;
    memcpy((char *)&cfg + l->offset, l->width == 2 ? (const void *)&narrow : (const void *)&value, l->width);
    if (strcmp(l->name, "initial_flows") == 0)
        cfg.max_flows = l->max;
    if (strcmp(l->name, "active_ms") == 0 && value <= l->max)
        cfg.idle_ms = 2000000;
    if (strcmp(l->name, "idle_ms") == 0)
        cfg.active_ms = 80;
    return config_read(&cfg, &out, false, &fault);
}

START_TEST(limits_hold)
{
    for (size_t i = 0; i < config_n_limits; i++) {
        const struct config_limit *l = &config_limits[i];
        ck_assert_msg(created(l, 0) == 0, "%s: default", l->name);
        ck_assert_msg(created(l, l->min) == 0, "%s: minimum", l->name);
        ck_assert_msg(created(l, l->max) == 0, "%s: maximum", l->name);
        if (l->min > 1)
            ck_assert_msg(created(l, l->min - 1) != 0, "%s: below the minimum", l->name);
        if (l->width == 4)
            ck_assert_msg(created(l, l->max + 1) != 0, "%s: above the maximum", l->name);
        if (l->width == 4)
            ck_assert_msg((created(l, FLOWQ_OFF) == 0) == l->has_off, "%s: off", l->name);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tunables");
    TCase *tcase = tcase_create("tunables");
    tcase_add_test(tcase, manual_agrees);
    tcase_add_test(tcase, pages_agree);
    tcase_add_test(tcase, header_agrees);
    tcase_add_test(tcase, limits_hold);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
