/* SPDX-License-Identifier: BSD-2-Clause */
/* packet_text: see packet_text.h. */
#include "packet_text.h"

#include "explain.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One assertion for all digits: each is a system call. */
uint32_t packet_from_hex(const char *hex, uint8_t *to)
{
    static const char digits[] = "0123456789abcdef";
    uint32_t n = 0;
    const char *digit = digits;
    for (; *hex && digit; hex++) {
        if (*hex == ' ')
            continue;
        digit = strchr(digits, *hex);
        unsigned value = digit ? (unsigned)(digit - digits) : 0;
        to[n / 2] = (uint8_t)(n % 2 ? to[n / 2] << 4 | value : value);
        n++;
    }
    ck_assert(digit != NULL && n % 2 == 0);
    return n / 2;
}

/* ---- How results are written: kind version/protocol host:port>host:port, then what else there is --------------------------- */

static unsigned net16(uint16_t v)
{
    uint8_t b[2];
    memcpy(b, &v, 2);
    return b[0] * 256u + b[1];
}

static void text(const struct parse_result *r, char *s, size_t size)
{
    static const char *const kind[] = {"keyless", "flow", "later", "quote", "quote-later", "spread"};
    static const struct {
        unsigned bit;
        const char *name;
    } flag[] = {{PARSE_MULTICAST, "multicast"},
                {PARSE_SYN, "syn"},
                {PARSE_FIN, "fin"},
                {PARSE_RST, "rst"},
                {PARSE_ICMP_ERROR, "icmp-error"},
                {PARSE_WHOLE_KEY, "whole"},
                {PARSE_UNREAD_TUNNEL, "unread"}};
    const uint8_t *word = (const uint8_t *)r->key.word;
    size_t n = (size_t)snprintf(s, size, "%s", kind[r->kind]);
    for (unsigned i = 0; r->kind == PARSE_SPREAD && i < r->key.bytes / 4; i++) /* labels; ten at most */
        n += (size_t)snprintf(s + n, size - n, " %u", (unsigned)(r->key.word[i / 2] >> 32 * (i % 2) & 0xffffffff) >> 12);
    if (r->key.bytes && r->kind != PARSE_SPREAD) {
        struct key_l4 l4 = key_l4(&r->key);
        unsigned dst = l4.version == 6 ? 16 : 4;
        ck_assert(key_is_v6(&r->key) == (l4.version == 6) && l4.zero == 0);
        n += (size_t)snprintf(s + n, size - n, " %u/%u %u:%u>%u:%u", l4.version, l4.protocol, word[dst - 1], net16(l4.sport),
                              word[2 * dst - 1], net16(l4.dport));
    }
    for (unsigned i = r->key.bytes ? key_l4_word(&r->key) + 1 : 0; i < r->key.bytes / 8; i++) {
        uint64_t ids = r->key.word[i];
        n += (size_t)snprintf(s + n, size - n, ids & KEY_VNI_MARK ? " vni %u" : " vlan", (unsigned)ids);
        for (uint64_t left = ids & KEY_VNI_MARK ? 0 : ids >> KEY_VLAN_COUNT_SHIFT; left > 0; left--, ids >>= KEY_VLAN_ID_BITS)
            n += (size_t)snprintf(s + n, size - n, " %u", (unsigned)ids & 0xfff);
    }
    for (unsigned i = 0; i < sizeof(flag) / sizeof(flag[0]); i++)
        if (r->flags & flag[i].bit)
            n += (size_t)snprintf(s + n, size - n, " %s", flag[i].name);
    for (unsigned i = 0; i < r->n_first; i++)
        n += (size_t)snprintf(s + n, size - n, " first %u/%u#%u%s", r->first[i].version, r->first[i].protocol, r->first[i].id,
                              r->first[i].vni ? " vni" : "");
    if (r->kind == PARSE_LATER)
        snprintf(s + n, size - n, " of %u/%u#%u%s", r->later.version, r->later.protocol, r->later.id, r->later.vni ? " vni" : "");
}

/* ---- Running them ---------------------------------------------------------------------------------------------------------- */

void packet_parse(const uint8_t *bytes, uint32_t len, uint32_t flags, const struct parse_rules *rules, struct parse_result *out)
{
    uint8_t *copy = malloc(len ? len : 1);
    ck_assert(copy != NULL);
    memcpy(copy, bytes, len);
    struct flowq_pkt pkt = {.data = copy, .len = len, .flags = flags};
    memset(out, 0xa5, sizeof(*out));
    parse_packet(&pkt, rules, out);
    free(copy);
}

void packet_expect(const char *name, const uint8_t *bytes, uint32_t len, uint32_t flags, const struct parse_rules *rules,
                   const char *want)
{
    char got[200];
    struct parse_result r;
    packet_parse(bytes, len, flags, rules, &r);
    text(&r, got, sizeof(got));
    ck_assert_msg(strcmp(got, want) == 0, "%s: got \"%s\", want \"%s\"", name, got, want);
}

static void run(const struct example *e)
{
    uint8_t bytes[600];
    struct parse_result r, model;
    struct parse_rules rules = parse_rules_default();
    if (e->only)
        rules.tunnels = e->only == FLOWQ_TUNNEL_NONE ? 0 : e->only;
    rules.udp_filter = parse_rules_filter(&rules);
    rules.key_vlan = e->key_vlan;
    rules.key_vni = e->key_vni;
    rules.vlan_tpid = e->vlan_tpid;

    uint32_t len = packet_from_hex(e->packet, bytes);
    packet_expect(e->name, bytes, len, e->flags, &rules, e->want);
    for (uint32_t cut = 0; cut <= len; cut++) {
        struct flowq_pkt pkt = {.data = bytes, .len = cut, .flags = e->flags};
        packet_parse(bytes, cut, e->flags, &rules, &r);
        model_parse(&pkt, &rules, &model);
        ck_assert_msg(parse_result_equal(&r, &model), "%s, cut to %u bytes: not what the model says", e->name, cut);
        struct explain_trace said;
        explain_parse(&pkt, &rules, &said);
        unsigned end = said.end == FLOWQ_END_CUT && cut > FLOWQ_HEADER_MAX ? FLOWQ_END_WINDOW : said.end;
        bool same = end == (unsigned)model_trace.end && said.end_at == (unsigned)model_trace.end_at &&
                    parse_result_equal(&said.result, &model) && said.n_layers == (unsigned)model_trace.n &&
                    memcmp(said.layer, model_trace.layer, said.n_layers * sizeof(said.layer[0])) == 0;
        ck_assert_msg(same, "%s, cut to %u bytes: the parser that says what it reads reads other headers", e->name, cut);
    }
}

void packet_examples(const struct example *table, size_t n)
{
    for (size_t i = 0; i < n; i++)
        run(&table[i]);
}
