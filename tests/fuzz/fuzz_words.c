/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any text where the drop-in reads some: as FLOWQ_VHOST, and as a packet that telemetry is asked about. It is read as a naive
 * reader does who copies each word, and not beyond its end. Entry point of libFuzzer, see tests/fuzz/run; with
 * tests/fuzz/replay.c a program of its own that replays the seeds.
 *
 * An input is a byte that says which of the two, and the text, up to the first zero.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../vhost/question.h"
#include "../../vhost/settings.h"
#include "flowq.h"
#include "fuzz.h"

enum { LONGEST = 4096 };

/* The part of a list that begins at *rest, as a string of its own; *rest becomes what is behind the separator, or NULL. */
static char *take_word(const char **rest, char separator)
{
    const char *end = strchr(*rest, separator);
    char *word = end == NULL ? strdup(*rest) : strndup(*rest, (size_t)(end - *rest));
    must(word != NULL, "no memory");
    *rest = end == NULL ? NULL : end + 1;
    return word;
}

static bool is_digits(const char *text) { return *text != '\0' && text[strspn(text, "0123456789")] == '\0'; }

/* ---- FLOWQ_VHOST ----------------------------------------------------------------------------------------------------------- */

static struct complaints {
    size_t n, at[LONGEST], length[LONGEST]; /* at: where in the text; LONGEST: not there */
} theirs, ours;

static const char *text_read;

static void complain(const char *word, int length, const char *why)
{
    size_t at = word >= text_read && word <= text_read + strlen(text_read) ? (size_t)(word - text_read) : LONGEST;
    must(length >= 0 && why != NULL && theirs.n < LONGEST, "a complaint about nothing");
    must(at == LONGEST || (size_t)length <= strlen(word), "a complaint about what is not there");
    theirs.at[theirs.n] = at;
    theirs.length[theirs.n++] = (size_t)length;
}

/* Names and bits as flowq.h and the README have them. */
static const struct {
    const char *name;
    uint32_t value;
} tunnels[] = {
    {"all", FLOWQ_TUNNEL_ALL},
    {"none", FLOWQ_TUNNEL_NONE},
    {"ipip", FLOWQ_TUNNEL_IPIP},
    {"6in4", FLOWQ_TUNNEL_6IN4},
    {"4in6", FLOWQ_TUNNEL_4IN6},
    {"6in6", FLOWQ_TUNNEL_6IN6},
    {"gre", FLOWQ_TUNNEL_GRE_2784 | FLOWQ_TUNNEL_GRE_2890 | FLOWQ_TUNNEL_GRE_7676},
    {"nvgre", FLOWQ_TUNNEL_NVGRE},
    {"gre-udp", FLOWQ_TUNNEL_GRE_UDP},
    {"vxlan", FLOWQ_TUNNEL_VXLAN},
    {"vxlan-gpe", FLOWQ_TUNNEL_VXLAN_GPE},
    {"geneve", FLOWQ_TUNNEL_GENEVE},
    {"gtpu", FLOWQ_TUNNEL_GTPU},
    {"gue", FLOWQ_TUNNEL_GUE},
    {"mpls-udp", FLOWQ_TUNNEL_MPLS_UDP},
    {"mpls-gre", FLOWQ_TUNNEL_MPLS_GRE},
    {"wccp", FLOWQ_TUNNEL_WCCP},
    {"erspan", FLOWQ_TUNNEL_ERSPAN},
};

static bool naive_tunnels(const char *value, uint32_t *sum)
{
    bool good = true;
    uint32_t bits = 0;
    while (value != NULL) {
        char *name = take_word(&value, '+');
        bool found = false;
        for (size_t i = 0; i < sizeof(tunnels) / sizeof(tunnels[0]); i++)
            if (strcmp(name, tunnels[i].name) == 0) {
                bits |= tunnels[i].value;
                found = true;
            }
        good = good && found;
        free(name);
    }
    if (good)
        *sum = bits;
    return good;
}

static bool naive_number(const char *value, uint64_t least, uint64_t most, uint32_t *number)
{
    bool good =
        is_digits(value) && strlen(value) <= 10 && strtoull(value, NULL, 10) >= least && strtoull(value, NULL, 10) <= most;
    if (good)
        *number = (uint32_t)strtoull(value, NULL, 10);
    return good;
}

static bool naive_switch(const char *value, bool *on)
{
    bool good = strcmp(value, "on") == 0 || strcmp(value, "off") == 0;
    if (strcmp(value, "on") == 0 || good)
        *on = strcmp(value, "on") == 0;
    return good;
}

/* False: it has to be complained about. */
static bool naive_word(struct settings *s, const char *word, const char *there)
{
    char *name = strdup(word), *equals = strchr(name, '=');
    const char *value = equals == NULL ? "" : word + (equals - name) + 1;
    bool good, on = true;
    if (equals != NULL)
        *equals = '\0';
    if (strcmp(word, "off") == 0) {
        good = s->off = true;
    } else if (strcmp(name, "max_flows") == 0) {
        good = naive_number(value, 8, 134217728, &s->max_flows);
    } else if (strcmp(name, "rebind_min_us") == 0) {
        good = naive_number(value, strcmp(value, "0") == 0 ? 0 : 1000, 1000000, &s->rebind_min_us);
    } else if (strcmp(name, "ordered_max_us") == 0) {
        good = naive_number(value, 100, 1000000, &s->ordered_max_us);
    } else if (strcmp(name, "save_every") == 0) {
        good = naive_number(value, 1, 86400, &s->save_every);
    } else if (strcmp(name, "tunnels") == 0) {
        good = naive_tunnels(value, &s->tunnels);
    } else if (strcmp(name, "ordered") == 0) {
        good = naive_switch(value, &on);
        s->ordered = good && on;
    } else if (strcmp(name, "drain") == 0 || strcmp(name, "fetch") == 0) {
        bool *off = *name == 'd' ? &s->no_drain : &s->no_fetch;
        good = naive_switch(value, &on);
        *off = good ? !on : *off;
    } else if (strcmp(name, "state") == 0) {
        good = *value == '/';
        s->state = good ? there + (value - word) : s->state;
        s->state_length = good ? strlen(value) : s->state_length;
    } else {
        good = strcmp(name, "leave") == 0 && *value != '\0';
    }
    free(name);
    return good;
}

static void naive_settings(struct settings *s, const char *text)
{
    const char *rest = text;
    ours.n = 0;
    memset(s, 0, sizeof(*s));
    while (rest != NULL) {
        const char *at = rest;
        char *word = take_word(&rest, ',');
        if (*word != '\0' && !naive_word(s, word, at)) {
            ours.at[ours.n] = (size_t)(at - text);
            ours.length[ours.n++] = strlen(word);
        }
        free(word);
    }
    if (s->ordered && s->rebind_min_us > 0) {
        s->rebind_min_us = 0;
        ours.at[ours.n] = LONGEST;
        ours.length[ours.n++] = strlen("rebind_min_us");
    }
}

static void same_settings(const struct settings *a, const struct settings *b)
{
    must(a->max_flows == b->max_flows && a->rebind_min_us == b->rebind_min_us && a->tunnels == b->tunnels, "another number");
    must(a->ordered_max_us == b->ordered_max_us && a->save_every == b->save_every, "another time");
    must(a->off == b->off && a->ordered == b->ordered && a->no_drain == b->no_drain && a->no_fetch == b->no_fetch,
         "another switch");
    must(a->state == b->state && a->state_length == b->state_length, "another folder");
    must(theirs.n == ours.n && memcmp(theirs.at, ours.at, ours.n * sizeof(ours.at[0])) == 0 &&
             memcmp(theirs.length, ours.length, ours.n * sizeof(ours.length[0])) == 0,
         "other words are complained about");
}

/* Each path that is named is found, and none that is a letter longer or shorter, unless that is named, too. */
static bool naive_leave(const char *text, const char *path)
{
    bool found = false;
    while (text != NULL) {
        char *word = take_word(&text, ',');
        found = found || (strncmp(word, "leave=", 6) == 0 && strcmp(word + 6, path) == 0);
        free(word);
    }
    return found;
}

static void leaves(const struct settings *s, const char *text)
{
    for (const char *rest = text; rest != NULL;) {
        char *word = take_word(&rest, ',');
        const char *path = strncmp(word, "leave=", 6) == 0 ? word + 6 : word;
        for (int cut = 0; cut < 2; cut++) {
            must(*path == '\0' || settings_leave(s, path) == naive_leave(text, path), "another socket is left alone");
            word[strlen(word) - (strlen(path) > 0)] = '\0';
        }
        free(word);
    }
}

static void read_settings(const char *text)
{
    struct settings got, want;
    theirs.n = 0;
    text_read = text;
    settings_read(&got, text, complain);
    naive_settings(&want, text);
    same_settings(&got, &want);
    leaves(&got, text);
}

/* ---- A packet that is asked about ------------------------------------------------------------------------------------------ */

static bool naive_bytes(const char *text, struct question *q)
{
    size_t length = strlen(text);
    if (length == 0 || length % 2 != 0 || length > 2 * QUESTION_BYTES || text[strspn(text, "0123456789abcdefABCDEF")] != '\0')
        return false;
    for (q->len = 0; 2 * q->len < length; q->len++) {
        const char pair[3] = {text[2 * q->len], text[2 * q->len + 1], '\0'};
        q->bytes[q->len] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}

/* -1: it is none. */
static int naive_port(const char *word)
{
    const char *first = word + strspn(word, "0");
    return is_digits(word) && strlen(first) <= 5 && atoi(first) <= 65535 ? atoi(first) : -1;
}

/* What the frame has to have at which place, by its headers (RFC 791, 8200, 9293, 768). */
static bool is_frame(const struct question *q, bool tcp, int family, const uint8_t address[2][16], const int port[2])
{
    const uint8_t *ip = q->bytes + 14, *l4 = ip + (family == AF_INET ? 20 : 40);
    const uint32_t type = (uint32_t)q->bytes[12] << 8 | q->bytes[13];
    const size_t n = family == AF_INET ? 4 : 16, at = family == AF_INET ? 12 : 8;
    return type == (family == AF_INET ? 0x0800u : 0x86ddu) && ip[0] >> 4 == (family == AF_INET ? 4 : 6) &&
           ip[family == AF_INET ? 9 : 6] == (tcp ? 6 : 17) && memcmp(ip + at, address[0], n) == 0 &&
           memcmp(ip + at + n, address[1], n) == 0 && (l4[0] << 8 | l4[1]) == port[0] && (l4[2] << 8 | l4[3]) == port[1] &&
           q->len == (size_t)(l4 - q->bytes) + (tcp ? 20 : 8);
}

/* The words of a flow; the last one is what is left. False: there are not so many. */
static bool five_words(const char *text, char *word[5])
{
    const char *rest = text;
    for (int i = 0; i < 5; i++)
        word[i] = rest == NULL ? strdup("") : i < 4 ? take_word(&rest, ',') : strdup(rest);
    for (int i = 0; i < 5; i++)
        if (strlen(word[i]) == 0 || strlen(word[i]) >= INET6_ADDRSTRLEN || strchr(word[i], ',') != NULL)
            return false;
    return true;
}

static void read_flow(const char *text, bool read, const struct question *q)
{
    char *word[5];
    bool good = five_words(text, word);
    bool tcp = strcmp(word[0], "tcp") == 0;
    const int port[2] = {naive_port(word[2]), naive_port(word[4])}, families[2] = {AF_INET, AF_INET6};
    uint8_t address[2][16];
    int family = -1;
    for (int i = 0; i < 2; i++)
        if (inet_pton(families[i], word[1], address[0]) == 1 && inet_pton(families[i], word[3], address[1]) == 1) {
            family = families[i];
            break;
        }
    good = good && (tcp || strcmp(word[0], "udp") == 0) && family >= 0 && port[0] >= 0 && port[1] >= 0;
    must(read == good, good ? "a flow is not understood" : "what is no flow is understood");
    must(!good || is_frame(q, tcp, family, address, port), "a frame of another flow");
    for (int i = 0; i < 5; i++)
        free(word[i]);
}

static void read_question(const char *text)
{
    struct question q, want;
    memset(&q, 0xa5, sizeof(q));
    bool read = question_read(&q, text);
    must(q.len <= QUESTION_BYTES, "longer than there is room for");
    if (strchr(text, ',') != NULL) {
        read_flow(text, read, &q);
        return;
    }
    must(read == naive_bytes(text, &want), "hexadecimal or not");
    must(!read || (q.len == want.len && memcmp(q.bytes, want.bytes, q.len) == 0), "other bytes");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > LONGEST)
        return 0;
    char *text = strndup((const char *)data + 1, size - 1); /* ends where the text ends */
    must(text != NULL, "no memory");
    if (data[0] % 2)
        read_question(text);
    else
        read_settings(text);
    free(text);
    return 0;
}
