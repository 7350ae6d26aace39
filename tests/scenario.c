/* scenario: see scenario.h. SPDX-License-Identifier: BSD-2-Clause */
#include "scenario.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WORDS 300 /* of a line; a table has 128 entries, a frame in pairs of digits some hundred bytes */

struct reader {
    struct scenario *s;
    char *word[MAX_WORDS];
    size_t n, at;
    char text[160]; /* what is wrong */
};

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static int
wrong(struct reader *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(r->text, sizeof(r->text), format, args);
    va_end(args);
    return -1;
}

/* The next word; "" after the last. */
static const char *take(struct reader *r) { return r->at < r->n ? r->word[r->at++] : ""; }

static int take_number(struct reader *r, const char *what, uint64_t max, uint32_t *out)
{
    const char *word = take(r);
    uint64_t value = 0;
    if (word_number(word, max, &value) != 0)
        return wrong(r, "\"%.40s\" is no %s", word, what);
    *out = (uint32_t)value;
    return 0;
}

/* 5, A, A+3 */
static int read_queue(struct reader *r, const char *word, struct queue_ref *out)
{
    uint64_t number = 0;
    out->letter = 0;
    if (word[0] >= 'A' && word[0] <= 'Z' && (!word[1] || word[1] == '+')) {
        out->letter = word[0];
        word = word[1] ? word + 2 : "0";
    }
    if (word_number(word, 0xffff, &number) != 0)
        return wrong(r, "\"%.40s\" is no queue", word);
    out->number = (uint32_t)number;
    return 0;
}

/* ---- Settings -------------------------------------------------------------------------------------------------------------- */

#define SETTING(name_)                                                                                                           \
    {                                                                                                                            \
#name_, offsetof(struct flowq_vm_config, name_), sizeof(((struct flowq_vm_config *)0)->name_)                            \
    }

/* Every field of the settings that holds a number. */
static const struct setting {
    const char *name;
    size_t at, bytes;
} settings[] = {
    SETTING(max_queue_pairs),
    SETTING(max_flows),
    SETTING(initial_flows),
    SETTING(no_learn),
    SETTING(key_vlan),
    SETTING(tunnels),
    SETTING(fragments),
    SETTING(vxlan_port),
    SETTING(vxlan_linux_port),
    SETTING(vxlan_gpe_port),
    SETTING(geneve_port),
    SETTING(gtpu_port),
    SETTING(gre_udp_port),
    SETTING(rebind_min_tcp_us),
    SETTING(rebind_min_other_us),
    SETTING(active_ms),
    SETTING(idle_ms),
    SETTING(queue_stats),
    SETTING(numa_node),
    SETTING(virtio_features),
    SETTING(virtio_hash_types),
    SETTING(virtio_max_key),
    SETTING(virtio_hash_tunnels),
    SETTING(virtio_max_table),
    SETTING(virtio_big_endian),
    SETTING(key_vni),
    SETTING(gue_port),
    SETTING(mpls_udp_port),
    SETTING(vlan_tpid),
    SETTING(ordered),
    SETTING(ordered_max_us),
    SETTING(ordered_settle_us),
    SETTING(ordered_flows),
    SETTING(clock_resolution_ns),
};
#define N_SETTINGS (sizeof(settings) / sizeof(settings[0]))

size_t scenario_settings_bytes(void)
{
    size_t bytes = 0;
    for (size_t i = 0; i < N_SETTINGS; i++)
        bytes += settings[i].bytes;
    return bytes;
}

static int read_setting(struct reader *r, struct step *s, const char *name, const char *text)
{
    uint64_t value;
    if (strcmp(text, "on") == 0)
        value = FLOWQ_ON;
    else if (strcmp(text, "off") == 0 || strcmp(text, "none") == 0)
        value = FLOWQ_OFF; /* FLOWQ_TUNNEL_NONE is the same */
    else if (word_number(text, UINT64_MAX, &value) != 0)
        return wrong(r, "\"%.40s\" is no number, on, off or none", text);
    for (size_t i = 0; i < N_SETTINGS; i++) {
        if (strcmp(name, settings[i].name) != 0)
            continue;
        uint32_t v32 = (uint32_t)value;
        uint16_t v16 = (uint16_t)value;
        if (settings[i].bytes < 8 && value >> 8 * settings[i].bytes)
            return wrong(r, "%s is too large", name);
        memcpy((char *)&s->config + settings[i].at,
               settings[i].bytes == 8   ? (void *)&value
               : settings[i].bytes == 4 ? (void *)&v32
                                        : (void *)&v16,
               settings[i].bytes);
        return 0;
    }
    return wrong(r, "\"%.40s\" is no setting", name);
}

/* Splits name=value. Returns the value, or NULL. */
static char *value_of(struct reader *r)
{
    char *equals = strchr(r->word[r->at], '=');
    if (!equals)
        return wrong(r, "\"%.40s\" is not name=value", r->word[r->at]), NULL;
    *equals = '\0';
    return equals + 1;
}

static int read_cfg(struct reader *r, struct step *s)
{
    s->config.size = sizeof(s->config);
    s->number = 0;
    for (; r->at < r->n; r->at++) {
        uint64_t value;
        char *name = r->word[r->at], *text = value_of(r);
        if (!text)
            return -1;
        if (strcmp(name, "pairs") == 0) {
            if (word_number(text, FLOWQ_MAX_QUEUE_PAIRS, &value) != 0 || value == 0)
                return wrong(r, "\"%.40s\" is no number of pairs", text);
            s->number = (uint32_t)value;
        } else if (strcmp(name, "secret") == 0) {
            if (strcmp(text, "test") != 0)
                return wrong(r, "the only secret with a name is \"test\"");
            s->fixed_secret = true;
        } else if (read_setting(r, s, name, text) != 0) {
            return -1;
        }
    }
    return s->number ? 0 : wrong(r, "cfg has no pairs=N");
}

/* ---- RSS ------------------------------------------------------------------------------------------------------------------- */

/* Numbers between commas. */
static int read_table(struct reader *r, struct step *s, char *text)
{
    uint64_t value;
    for (char *next; text; text = next) {
        next = strchr(text, ',');
        if (next)
            *next++ = '\0';
        if (word_number(text, 0xffff, &value) != 0 || s->rss.table_length == SCENARIO_TABLE)
            return wrong(r, "a table has up to %d queue numbers between commas", SCENARIO_TABLE);
        s->table[s->rss.table_length++] = (uint16_t)value;
    }
    return 0;
}

/* types=N key=HEX, or key=microsoft; and for rss: table=Q,Q.. unclassified=Q max_tx=N */
static int read_rss(struct reader *r, struct step *s)
{
    /* From "Verifying the RSS Hash Calculation", Microsoft's driver documentation. */
    static char microsoft[] = "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa";
    s->rss.size = sizeof(s->rss);
    s->rss.hash_types = FLOWQ_HASH_TYPE_ALL;
    s->rss.max_tx = 1;
    for (; r->at < r->n; r->at++) {
        uint64_t value = 0;
        char *name = r->word[r->at], *text = value_of(r);
        if (!text)
            return -1;
        bool is_number = word_number(text, 0xffff, &value) == 0;
        if (strcmp(name, "key") == 0) {
            int n = word_hex(strcmp(text, "microsoft") == 0 ? microsoft : text, s->key, sizeof(s->key));
            if (n < 0)
                return wrong(r, "a key has up to %d bytes in hexadecimal", SCENARIO_KEY);
            s->rss.key_length = (uint32_t)n;
        } else if (strcmp(name, "table") == 0 && s->kind == STEP_RSS) {
            if (read_table(r, s, text) != 0)
                return -1;
        } else if (!is_number) {
            return wrong(r, "\"%.40s\" is no number", text);
        } else if (strcmp(name, "types") == 0) {
            s->rss.hash_types = (uint32_t)value;
        } else if (strcmp(name, "unclassified") == 0 && s->kind == STEP_RSS) {
            s->rss.unclassified = (uint16_t)value;
        } else if (strcmp(name, "max_tx") == 0 && s->kind == STEP_RSS) {
            s->rss.max_tx = (uint16_t)value;
        } else {
            return wrong(r, "\"%.40s\" is not a part of this command", name);
        }
    }
    return 0;
}

/* ---- Packets, and what is right for them ----------------------------------------------------------------------------------- */

static int read_packet(struct reader *r, struct step *s)
{
    int result = packet_from_words(&s->packet, r->word + r->at, r->n - r->at, r->text, sizeof(r->text));
    r->at = r->n;
    return result;
}

static int read_tx(struct reader *r, struct step *s) { return read_queue(r, take(r), &s->queue) ? -1 : read_packet(r, s); }

static int read_rx(struct reader *r, struct step *s)
{
    static const char *const words[] = {"same", "spread", "drop", "any"};
    const char *word = take(r), *colon = strchr(word, ':');
    size_t length = colon ? (size_t)(colon - word) : strlen(word);
    for (int i = 0; i < 4; i++) {
        if (strlen(words[i]) != length || strncmp(word, words[i], length) != 0)
            continue;
        s->want = (enum want)(WANT_SAME + (i == 3 ? 3 : i));
        if (colon && (s->want == WANT_DROP || s->want == WANT_ANY || strlen(colon + 1) >= sizeof(s->group)))
            return wrong(r, "\"%.40s\" is no group", word);
        if (colon)
            strcpy(s->group, colon + 1);
        return read_packet(r, s);
    }
    return read_tx((r->at--, r), s);
}

/* The constant with this name: names are the library's own. */
static int read_name(struct reader *r, const char *(*name)(uint32_t), uint32_t slots, uint32_t *out)
{
    const char *word = take(r);
    for (*out = 0; *out < slots; (*out)++)
        if (strcmp(name(*out), word) == 0 && strcmp(word, "unknown") != 0)
            return 0;
    return wrong(r, "\"%.40s\" is not the name of an outcome", word);
}

/* note OUTCOME, reason NAME, hash REPORT VALUE, class NAME: what else is right about the step before. */
static int read_about(struct reader *r, const char *word)
{
    struct step *before = r->s->n ? &r->s->step[r->s->n - 1] : NULL;
    enum step_kind kind = strcmp(word, "note") == 0 ? STEP_TX : strcmp(word, "class") == 0 ? STEP_LOOKUP : STEP_RX;
    if (!before || before->kind != kind)
        return wrong(r, "%s does not follow a step that it could be about", word);
    if (kind == STEP_TX)
        return read_name(r, flowq_note_name, FLOWQ_NOTE_SLOTS, &before->note);
    if (kind == STEP_LOOKUP)
        return read_name(r, flowq_class_name, 8, &before->cls);
    if (strcmp(word, "reason") == 0)
        return read_name(r, flowq_reason_name, FLOWQ_REASON_SLOTS, &before->reason);
    return take_number(r, "hash report", 9, &before->report) ? -1 : take_number(r, "hash value", UINT32_MAX, &before->hash);
}

/* lookup QUEUE|none PROTOCOL SRC [SPORT] > DST [DPORT] [vni ID] [vlan ID...], as an incoming packet carries it */
static int read_lookup(struct reader *r, struct step *s)
{
    struct flowq_tuple *t = &s->tuple;
    const char *word = take(r);
    uint32_t number = 0, port[2] = {0, 0};
    s->want = strcmp(word, "none") == 0 ? WANT_NONE : WANT_QUEUE;
    if ((s->want == WANT_QUEUE && read_queue(r, word, &s->queue) != 0) || take_number(r, "protocol", 255, &number) != 0)
        return -1;
    t->protocol = (uint8_t)number;
    for (int i = 0; i < 2; i++) {
        word = take(r);
        unsigned version = word_address(word, i ? t->dst : t->src);
        if (!version || (i && version != t->version))
            return wrong(r, "\"%.40s\" is not an address, or of another version", word);
        t->version = (uint8_t)version;
        if (r->at < r->n && r->word[r->at][0] >= '0' && r->word[r->at][0] <= '9' && take_number(r, "port", 0xffff, &port[i]) != 0)
            return -1;
        if (i == 0 && strcmp(take(r), ">") != 0)
            return wrong(r, "a tuple has a \">\" between its ends");
    }
    t->sport = (uint16_t)port[0];
    t->dport = (uint16_t)port[1];
    if (r->at < r->n && strcmp(r->word[r->at], "vni") == 0) {
        (void)take(r);
        t->has_vni = 1;
        if (take_number(r, "network id", UINT32_MAX, &t->vni) != 0)
            return -1;
    }
    if (r->at < r->n && strcmp(take(r), "vlan") != 0)
        return wrong(r, "only vni and vlan can follow a tuple");
    for (; r->at < r->n && t->n_vlans < FLOWQ_MAX_VLANS; t->vlan[t->n_vlans++] = (uint16_t)number)
        if (take_number(r, "VLAN id", 4095, &number) != 0)
            return -1;
    return 0;
}

/* ---- Commands -------------------------------------------------------------------------------------------------------------- */

static int read_switch(struct reader *r, struct step *s)
{
    const char *word = take(r);
    if (strcmp(word, "all") == 0)
        s->queue.number = FLOWQ_ALL_QUEUES;
    else if (read_queue(r, word, &s->queue) != 0)
        return -1;
    if (s->kind == STEP_RESETTING) {
        word = take(r);
        s->on = strcmp(word, "on") == 0;
        if (!s->on && strcmp(word, "off") != 0)
            return wrong(r, "\"%.40s\" is neither on nor off", word);
    }
    return 0;
}

static int read_reset(struct reader *r, struct step *s)
{
    static const char *const parts[] = {"flows", "queues", "config"}; /* FLOWQ_RESET_FLOWS and so on, in order */
    while (r->at < r->n) {
        const char *word = take(r);
        unsigned i = 0;
        while (i < 3 && strcmp(word, parts[i]) != 0)
            i++;
        if (i == 3)
            return wrong(r, "\"%.40s\" is nothing to reset", word);
        s->number |= 1u << i;
    }
    return s->number ? 0 : wrong(r, "reset what?");
}

static int read_number(struct reader *r, struct step *s) { return take_number(r, "number", UINT32_MAX, &s->number); }

static const struct command {
    const char *word;
    enum step_kind kind;
    int (*read)(struct reader *r, struct step *s);
} commands[] = {
    {"cfg", STEP_CFG, read_cfg},
    {"tx", STEP_TX, read_tx},
    {"rx", STEP_RX, read_rx},
    {"on", STEP_ENABLED, read_switch},
    {"off", STEP_ENABLED, read_switch},
    {"resetting", STEP_RESETTING, read_switch},
    {"pairs", STEP_PAIRS, read_number},
    {"reset", STEP_RESET, read_reset},
    {"rss", STEP_RSS, read_rss},
    {"hashes", STEP_HASH, read_rss},
    {"hash-tunnels", STEP_HASH_TUNNELS, read_number},
    {"wait", STEP_WAIT, read_number},
    {"lookup", STEP_LOOKUP, read_lookup},
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static struct step *add_step(struct scenario *s)
{
    struct step *grown = realloc(s->step, (s->n + 1) * sizeof(*grown));
    if (!grown)
        return NULL;
    s->step = grown;
    memset(&grown[s->n], 0, sizeof(*grown));
    grown[s->n].note = grown[s->n].reason = grown[s->n].cls = grown[s->n].report = ANY;
    return &grown[s->n];
}

/* equal HEX PACKET: nothing for the vm; what the words make is what the digits say. */
static int read_equal(struct reader *r)
{
    struct packet *both = calloc(2, sizeof(*both));
    int result = both ? packet_from_words(&both[0], r->word + r->at, r->n > r->at, r->text, sizeof(r->text)) : -1;
    if (result == 0) {
        r->at++;
        result = packet_from_words(&both[1], r->word + r->at, r->n - r->at, r->text, sizeof(r->text));
        r->at = r->n;
    }
    for (uint32_t i = 0; result == 0 && i < PACKET_MAX && (i < both[0].len || i < both[1].len); i++)
        if (i >= both[0].len || i >= both[1].len || both[0].bytes[i] != both[1].bytes[i])
            result = wrong(r, "differs at byte %u", i);
    free(both);
    return result;
}

static int read_words(struct reader *r, unsigned line)
{
    const char *word = take(r);
    if (strcmp(word, "equal") == 0)
        return read_equal(r);
    if (strcmp(word, "note") == 0 || strcmp(word, "reason") == 0 || strcmp(word, "hash") == 0 || strcmp(word, "class") == 0)
        return read_about(r, word);
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(word, commands[i].word) != 0)
            continue;
        struct step *s = add_step(r->s);
        if (!s)
            return wrong(r, "out of memory");
        s->line = line;
        s->kind = commands[i].kind;
        s->on = strcmp(word, "on") == 0;
        if (r->s->n == 0 && s->kind != STEP_CFG)
            return wrong(r, "the first step is not cfg");
        r->s->n++;
        return commands[i].read(r, s);
    }
    return wrong(r, "\"%.40s\" is no command", word);
}

static int read_line(struct reader *r, char *text, unsigned line)
{
    r->n = r->at = 0;
    text[strcspn(text, "#\r\n")] = '\0';
    for (char *save = NULL, *word = strtok_r(text, " \t", &save); word; word = strtok_r(NULL, " \t", &save)) {
        if (r->n == MAX_WORDS)
            return wrong(r, "more than %d words", MAX_WORDS);
        r->word[r->n++] = word;
    }
    if (r->n == 0)
        return 0;
    if (read_words(r, line) != 0)
        return -1;
    return r->at < r->n ? wrong(r, "\"%.40s\" is too much", r->word[r->at]) : 0;
}

int scenario_read(FILE *file, const char *path, struct scenario *s, char *error, size_t error_size)
{
    struct reader r = {.s = s};
    *s = (struct scenario){0};
    char *text = NULL;
    size_t size = 0;
    int result = 0;
    for (unsigned line = 1; result == 0 && getline(&text, &size, file) >= 0; line++) {
        result = read_line(&r, text, line);
        if (result != 0)
            snprintf(error, error_size, "%s:%u: %s", path, line, r.text);
    }
    if (result == 0 && ferror(file)) {
        snprintf(error, error_size, "%s: %s", path, strerror(errno));
        result = -1;
    }
    free(text);
    return result;
}

void scenario_free(struct scenario *s)
{
    free(s->step);
    *s = (struct scenario){0};
}
