/*
 * check_vhost_settings: FLOWQ_VHOST, as it is read.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../vhost/settings.h"
#include "flowq.h"
#include "runner.h"
#include "seed.h"

static char complaints[4096];

static void complain(const char *word, int length, const char *why)
{
    size_t at = strlen(complaints);

    snprintf(complaints + at, sizeof(complaints) - at, "%.*s:%s;", length, word, why);
}

static struct settings read_text(const char *text)
{
    struct settings s;

    complaints[0] = '\0';
    settings_read(&s, text, complain);
    return s;
}

START_TEST(nothing_is_the_default)
{
    struct settings s = read_text(NULL);
    ck_assert(!s.off && !s.no_drain && !s.no_fetch && s.max_flows == 0 && s.rebind_min_us == 0 && s.tunnels == 0);
    ck_assert(!settings_leave(&s, ""));
    s = read_text(",,");
    ck_assert(!s.off && s.max_flows == 0);
    ck_assert_str_eq(complaints, "");
    ck_assert(s.state == NULL && s.save_every == 0);
}
END_TEST

START_TEST(every_setting_is_read)
{
    struct settings s = read_text("max_flows=1000,rebind_min_us=2000,tunnels=vxlan+geneve+gre,ordered=off,leave=/a/"
                                  "b.sock,drain=off,fetch=off,leave=c=d,off");
    ck_assert_str_eq(complaints, "");
    ck_assert_uint_eq(s.max_flows, 1000);
    ck_assert_uint_eq(s.rebind_min_us, 2000);
    ck_assert_uint_eq(s.tunnels, FLOWQ_TUNNEL_VXLAN | FLOWQ_TUNNEL_GENEVE | FLOWQ_TUNNEL_GRE_2784 | FLOWQ_TUNNEL_GRE_2890 |
                                     FLOWQ_TUNNEL_GRE_7676);
    ck_assert(s.no_drain && s.no_fetch && s.off);
    ck_assert(settings_leave(&s, "/a/b.sock") && settings_leave(&s, "c=d"));
    ck_assert(!settings_leave(&s, "/a/b.soc") && !settings_leave(&s, "/a/b.sockx") && !settings_leave(&s, "off"));
    s = read_text("state=/var/lib/flowq,save_every=60");
    ck_assert(s.state_length == strlen("/var/lib/flowq") && memcmp(s.state, "/var/lib/flowq", s.state_length) == 0);
    ck_assert_uint_eq(s.save_every, 60);
    ck_assert_str_eq(complaints, "");
    s = read_text("ordered=on,ordered_max_us=5000");
    ck_assert(s.ordered && s.ordered_max_us == 5000);
    s = read_text("ordered=on,ordered=off");
    ck_assert(!s.ordered);
    ck_assert_str_eq(complaints, "");
    s = read_text("drain=off,drain=on,fetch=off,fetch=on,rebind_min_us=1000,rebind_min_us=0,tunnels=none");
    ck_assert(!s.no_drain && !s.no_fetch && s.rebind_min_us == 0 && s.tunnels == FLOWQ_TUNNEL_NONE);
    ck_assert_str_eq(complaints, "");
}
END_TEST

START_TEST(wrong_ones_are_named_and_ignored)
{
    static const char *const wrong[] = {
        "max_flows",
        "max_flows=",
        "max_flows=7",
        "max_flows=134217729",
        "max_flows=1e3",
        "max_flows=-1",
        "max_flows= 9",
        "max_flows=99999999999",
        "rebind_min_us=999",
        "rebind_min_us=1000001",
        "tunnels=",
        "tunnels=foo",
        "tunnels=vxlan+",
        "tunnels=vxlan+foo",
        "ordered=maybe",
        "ordered_max_us=99",
        "ordered_max_us=1000001",
        "drain",
        "drain=2",
        "fetch=yes",
        "state=",
        "state=var/lib",
        "save_every=0",
        "save_every=86401",
        "save_every=1m",
        "leave=",
        "OFF",
        "off=1",
        "=",
        "max_flows =9",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char text[128];
        snprintf(text, sizeof(text), "max_flows=77,%s,drain=off", wrong[i]);
        struct settings s = read_text(text);
        ck_assert_msg(strncmp(complaints, wrong[i], strlen(wrong[i])) == 0 && complaints[strlen(wrong[i])] == ':', "%s: \"%s\"",
                      wrong[i], complaints);
        ck_assert_uint_eq(s.max_flows, 77);
        ck_assert_uint_eq(s.tunnels, 0);
        ck_assert(s.no_drain && !s.off);
    }
}
END_TEST

/* Any text at all; AddressSanitizer watches. */
START_TEST(any_text_is_safe)
{
    static const char *const parts[] = {"max_flows", "=", ",",          "+", "tunnels", "vxlan",      "leave", "off",
                                        "drain",     "1", "4294967296", "",  "state",   "save_every", "/"};
    struct rng rng = {seed_get("check_vhost_settings")};
    for (uint32_t round = 0; round < 20000; round++) {
        char *text = calloc(1, 256);
        for (uint32_t n = rng_below(&rng, 12); n > 0; n--)
            strcat(text, parts[rng_below(&rng, sizeof(parts) / sizeof(parts[0]))]);
        char *exact = strdup(text);
        struct settings s = read_text(exact);
        settings_leave(&s, "1");
        ck_assert(s.max_flows == 0 || (s.max_flows >= 8 && s.max_flows <= 1 << 27));
        free(exact);
        free(text);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("vhost settings");
    TCase *tc = tcase_create("settings");
    tcase_add_test(tc, nothing_is_the_default);
    tcase_add_test(tc, every_setting_is_read);
    tcase_add_test(tc, wrong_ones_are_named_and_ignored);
    tcase_add_test(tc, any_text_is_safe);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
