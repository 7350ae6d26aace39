/*
 * flowq-vhost: the settings. A list: NAME=VALUE,NAME=VALUE,off. A path with a comma in it cannot be named.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "settings.h"

#include <flowq.h>
#include <string.h>

/* A word of the list: not ended by a zero. */
struct word {
    const char *at;
    size_t length;
};

struct choice {
    const char *name;
    uint32_t value;
};

/* As flowq.h numbers them. */
static const struct choice tunnels[] = {
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

static const struct choice switches[] = {{"on", 1}, {"off", 0}};

static bool equals(struct word word, const char *text)
{
    return strlen(text) == word.length && memcmp(word.at, text, word.length) == 0;
}

/* The part in front of the first `separator`, which leaves `rest`. */
static struct word cut(struct word *rest, char separator)
{
    const char *found = rest->length == 0 ? NULL : memchr(rest->at, separator, rest->length);
    struct word head = {rest->at, found == NULL ? rest->length : (size_t)(found - rest->at)};

    rest->at += found == NULL ? head.length : head.length + 1;
    rest->length -= found == NULL ? head.length : head.length + 1;
    return head;
}

static bool choose(const struct choice *choices, size_t n, struct word word, uint32_t *value)
{
    for (size_t i = 0; i < n; i++)
        if (equals(word, choices[i].name)) {
            *value = choices[i].value;
            return true;
        }
    return false;
}
#define CHOOSE(choices, word, value) choose(choices, sizeof(choices) / sizeof((choices)[0]), word, value)

/* Nothing but digits, in range: otherwise why not. */
static const char *read_number(struct word word, uint32_t least, uint32_t most, uint32_t *value)
{
    uint64_t number = 0;

    if (word.length == 0 || word.length > 10)
        return "is no number";
    for (size_t i = 0; i < word.length; i++) {
        if (word.at[i] < '0' || word.at[i] > '9')
            return "is no number";
        number = number * 10 + (uint64_t)(word.at[i] - '0');
    }
    if (number < least || number > most)
        return "is out of range";
    *value = (uint32_t)number;
    return NULL;
}

/* vxlan+geneve */
static const char *read_tunnels(struct word word, uint32_t *value)
{
    uint32_t sum = 0, one;
    bool more = true;

    while (more) {
        struct word name = cut(&word, '+');
        /* Behind a separator something must follow. */
        more = name.at + name.length != word.at;
        if (!CHOOSE(tunnels, name, &one))
            return "names a tunnel that this does not know";
        sum |= one;
    }
    *value = sum;
    return NULL;
}

static const char *read_off(struct word word, bool *off)
{
    uint32_t on;

    if (!CHOOSE(switches, word, &on))
        return "is neither on nor off";
    *off = on == 0;
    return NULL;
}

static const char *read_rebind(struct word word, uint32_t *value)
{
    if (!equals(word, "0"))
        return read_number(word, 1000, 1000000, value);
    *value = 0;
    return NULL;
}

static const char *read_state(struct settings *settings, struct word word)
{
    if (word.length == 0 || word.at[0] != '/')
        return "names no folder from / on";
    settings->state = word.at;
    settings->state_length = word.length;
    return NULL;
}

static const char *read_ordered(struct settings *settings, struct word word)
{
    bool off = true;
    const char *why = read_off(word, &off);

    settings->ordered = !off;
    return why;
}

/* The least and the most are the library's: for max_flows 8 to 2^27, for rebind_min_us 0 or 1000 to 1000000, for ordered_max_us
   100 to 1000000. */
static const char *read_word(struct settings *settings, struct word word)
{
    struct word value = word;
    struct word name = cut(&value, '=');
    const char *why = NULL;

    if (equals(word, "off"))
        settings->off = true;
    else if (equals(name, "max_flows"))
        why = read_number(value, 8, 1 << 27, &settings->max_flows);
    else if (equals(name, "rebind_min_us"))
        why = read_rebind(value, &settings->rebind_min_us);
    else if (equals(name, "tunnels"))
        why = read_tunnels(value, &settings->tunnels);
    else if (equals(name, "ordered"))
        why = read_ordered(settings, value);
    else if (equals(name, "ordered_max_us"))
        why = read_number(value, 100, 1000000, &settings->ordered_max_us);
    else if (equals(name, "drain"))
        why = read_off(value, &settings->no_drain);
    else if (equals(name, "fetch"))
        why = read_off(value, &settings->no_fetch);
    else if (equals(name, "state"))
        why = read_state(settings, value);
    else if (equals(name, "save_every"))
        why = read_number(value, 1, 86400, &settings->save_every);
    else if (equals(name, "leave"))
        why = value.length == 0 ? "names no socket" : NULL;
    else
        why = "is no setting";
    return why;
}

void settings_read(struct settings *settings, const char *text, void (*complain)(const char *word, int length, const char *why))
{
    memset(settings, 0, sizeof(*settings));
    if (text == NULL)
        return;
    settings->leave = text;
    struct word rest = {text, strlen(text)};
    while (rest.length > 0) {
        struct word word = cut(&rest, ',');
        const char *why = word.length == 0 ? NULL : read_word(settings, word);
        if (why != NULL)
            complain(word.at, (int)word.length, why);
    }
    if (settings->ordered && settings->rebind_min_us > 0) {
        complain("rebind_min_us", (int)strlen("rebind_min_us"), "does not go together with ordered");
        settings->rebind_min_us = 0;
    }
}

bool settings_leave(const struct settings *settings, const char *path)
{
    struct word rest = {settings->leave, settings->leave == NULL ? 0 : strlen(settings->leave)};

    while (rest.length > 0) {
        struct word value = cut(&rest, ',');
        struct word name = cut(&value, '=');
        if (equals(name, "leave") && equals(value, path))
            return true;
    }
    return false;
}
