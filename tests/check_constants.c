/*
 * check_constants: the constants of flowq.h have their names, their slots in statistics, their bits and their entries in the
 * manual. flowq.h is read as text, so that one added there is asked for everywhere.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "outcome.h"
#include "runner.h"
#include "tree.h"

struct constant {
    char name[64];      /* whole */
    const char *suffix; /* of name, behind the prefix */
    unsigned long value;
};

/* The enumerators that begin with prefix, of the enumeration: "NAME = value" or "NAME = 1 << value" (shifted). */
static unsigned find(const char *header, const char *enumeration, const char *prefix, struct constant *out, unsigned max)
{
    char start[64], line[64];
    unsigned n = 0;
    snprintf(start, sizeof(start), "enum %s {", enumeration);
    const char *at = strstr(header, start);
    ck_assert_msg(at != NULL, "flowq.h has no %s", start);
    const char *end = strstr(at, "\n}");
    snprintf(line, sizeof(line), "\n    %s", prefix);
    while ((at = strstr(at, line)) && at < end) {
        ck_assert_uint_lt(n, max);
        ck_assert_int_eq(sscanf(at, " %63[A-Z0-9_] =", out[n].name), 1);
        out[n].suffix = out[n].name + strlen(prefix);
        char *behind;
        out[n].value = strtoul(strchr(at, '=') + 1, &behind, 0);
        if (strncmp(behind, " << ", 4) == 0)
            out[n].value <<= strtoul(behind + 4, NULL, 0);
        n++;
        at++;
    }
    return n;
}

/* In lower case, with - for _. */
static void spell(const char *suffix, char *out, size_t size)
{
    size_t i = 0;
    for (; suffix[i] && i + 1 < size; i++)
        out[i] = suffix[i] == '_' ? '-' : (char)tolower((unsigned char)suffix[i]);
    out[i] = 0;
}

static const struct family {
    const char *enumeration, *prefix, *page, *entry;
    const char *(*name)(uint32_t);
    unsigned first, end, slots;
} families[] = {
    {"flowq_note", "FLOWQ_NOTE_", "man/flowq_tx_note.3", ".It Dv %.63s\n", flowq_note_name, 0, N_NOTES, FLOWQ_NOTE_SLOTS},
    {"flowq_reason", "FLOWQ_REASON_", "man/flowq_rx_steer.3", ".It Dv %.63s\n", flowq_reason_name, 0, N_REASONS,
     FLOWQ_REASON_SLOTS},
    {"flowq_class", "FLOWQ_CLASS_", "man/flowq_vm_lookup.3", ".Dv %.63s", flowq_class_name, 1, N_CLASSES, N_CLASSES},
    {"flowq_layer_kind", "FLOWQ_LAYER_", "man/flowq_rx_explain.3", ".It Dv %.63s\n", flowq_layer_name, 1, N_LAYERS, N_LAYERS},
    {"flowq_end", "FLOWQ_END_", "man/flowq_rx_explain.3", ".It Dv %.63s\n", flowq_end_name, 1, N_ENDS, N_ENDS},
    {"flowq_key", "FLOWQ_KEY_", "man/flowq_rx_explain.3", ".It Dv %.63s\n", flowq_key_name, 0, N_KEYS, N_KEYS},
};

START_TEST(each_has_a_name_a_slot_and_an_entry)
{
    const struct family *f = &families[_i];
    char *header = tree_read("include/flowq.h"), *page = tree_read(f->page), spelled[64], entry[96];
    struct constant all[64];
    unsigned n = find(header, f->enumeration, f->prefix, all, 64);
    ck_assert_uint_eq(n, f->end - f->first); /* outcome.h has them all */
    for (unsigned i = 0; i < n; i++) {
        ck_assert_msg(all[i].value == f->first + i && all[i].value < f->slots, "%s is %lu", all[i].name, all[i].value);
        spell(all[i].suffix, spelled, sizeof(spelled));
        ck_assert_str_eq(f->name((uint32_t)all[i].value), spelled);
        snprintf(entry, sizeof(entry), f->entry, all[i].name);
        ck_assert_msg(strstr(page, entry) != NULL, "%s says nothing of %s", f->page, all[i].name);
    }
    /* And no number beside them has one, also where it would be taken for another if it were cut to the enumeration's width. */
    for (uint32_t i = 0; i < 1 << 17; i++)
        ck_assert_int_eq(strcmp(f->name(i), "unknown") == 0, i < f->first || i >= f->end);
    ck_assert_str_eq(f->name(UINT32_MAX), "unknown");
    free(page);
    free(header);
}
END_TEST

/* Each field of these structs has its entry in the manual. */
static const char *const counted[] = {"flowq_stats", "flowq_queue_stats"};

START_TEST(each_counter_has_an_entry)
{
    char *header = tree_read("include/flowq.h"), *page = tree_read("man/flowq_vm_stats.3"), start[64], name[64];
    snprintf(start, sizeof(start), "\nstruct %s {", counted[_i]);
    const char *at = strstr(header, start);
    ck_assert_ptr_nonnull(at);
    const char *end = strstr(at, "\n};");
    unsigned n = 0;
    while ((at = strstr(at, "\n    uint")) && at < end) {
        ck_assert_int_eq(sscanf(at += 5, "uint%*[0-9]_t %63[a-z_]", name), 1);
        ck_assert_msg(strcmp(name, "size") == 0 || page_names(page, ".It Fa ", name), "flowq_vm_stats(3) says nothing of %s",
                      name);
        n++;
    }
    ck_assert_uint_gt(n, 3);
    free(page);
    free(header);
}
END_TEST

START_TEST(tunnels)
{
    char *header = tree_read("include/flowq.h"), *page = tree_read("man/flowq_vm_create.3"), entry[96];
    char *examples = tree_read("tests/check_parse_tunnels.c"), *rules = tree_read("man/flowq.7"),
         *readme = tree_read("README.md");
    struct constant all[64];
    uint32_t known = 0;
    unsigned n = find(header, "flowq_tunnel", "FLOWQ_TUNNEL_", all, 64);
    for (unsigned i = 0; i < n; i++) {
        snprintf(entry, sizeof(entry), ".It Dv %.63s\n", all[i].name);
        ck_assert_msg(strstr(page, entry) != NULL, "flowq_vm_create(3) says nothing of %s", all[i].name);
        if (strcmp(all[i].suffix, "ALL") == 0 || strcmp(all[i].suffix, "NONE") == 0)
            continue;
        ck_assert_msg((known & all[i].value) == 0 && all[i].value < CONFIG_TUNNELS_OPEN, "%s is %lx", all[i].name, all[i].value);
        known |= (uint32_t)all[i].value;
        snprintf(entry, sizeof(entry), ".only = %.63s)", all[i].name);
        ck_assert_msg(strstr(examples, entry) != NULL, "check_parse_tunnels has no example with nothing but %s", all[i].name);
    }
    /* Who adds one comes by where they are told of. */
    snprintf(entry, sizeof(entry), "%d kinds", __builtin_popcount(known));
    ck_assert_msg(strstr(rules, entry) != NULL, "flowq(7), rule S4, does not say that there are %s", entry);
    ck_assert_msg(strstr(readme, entry) != NULL, "README.md does not say that there are %s", entry);
    ck_assert_uint_eq(known, CONFIG_TUNNELS);
    ck_assert_uint_eq(known & ~(uint32_t)FLOWQ_TUNNEL_ALL, 0);
    free(readme);
    free(rules);
    free(examples);
    free(page);
    free(header);
}
END_TEST

/* Whatever is switched on and off is off by default: a zeroed struct, and false, are what they say. */
START_TEST(switches_are_off)
{
    unsigned n = 0;
    for (size_t i = 0; i < config_n_limits; i++) {
        const struct config_limit *l = &config_limits[i];
        if (l->min != 1 || l->max != 1)
            continue;
        n++;
        ck_assert_msg(l->has_off && l->preset == FLOWQ_OFF, "%s is on by default", l->name);
    }
    ck_assert_uint_gt(n, 3);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("constants");
    TCase *tc = tcase_create("constants");
    tcase_add_loop_test(tc, each_has_a_name_a_slot_and_an_entry, 0, (int)(sizeof(families) / sizeof(families[0])));
    tcase_add_loop_test(tc, each_counter_has_an_entry, 0, (int)(sizeof(counted) / sizeof(counted[0])));
    tcase_add_test(tc, tunnels);
    tcase_add_test(tc, switches_are_off);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
