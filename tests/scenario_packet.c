/* scenario_packet: see scenario_packet.h. SPDX-License-Identifier: BSD-2-Clause */
#include "flowq.h"
#include "scenario_builder.h"

#include <arpa/inet.h>
#include <stdlib.h>

/* ---- Words ----------------------------------------------------------------------------------------------------------------- */

int word_number(const char *word, uint64_t max, uint64_t *out)
{
    char *end;
    if (word[0] < '0' || word[0] > '9')
        return -1;
    *out = strtoull(word, &end, strncmp(word, "0x", 2) == 0 ? 16 : 10);
    return *end || *out > max ? -1 : 0;
}

unsigned word_address(const char *word, uint8_t out[16])
{
    memset(out, 0, 16);
    if (inet_pton(AF_INET, word, out) == 1)
        return 4;
    return inet_pton(AF_INET6, word, out) == 1 ? 6 : 0;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int word_hex(const char *word, uint8_t *out, size_t max)
{
    size_t n = 0;
    for (; word[0]; word += 2) {
        if (digit(word[0]) < 0 || digit(word[1]) < 0 || n == max)
            return -1;
        out[n++] = (uint8_t)(digit(word[0]) << 4 | digit(word[1]));
    }
    return (int)n;
}

/* ---- Packets --------------------------------------------------------------------------------------------------------------- */

static void set_ip4_sum(struct builder *b, uint32_t at, bool wrong)
{
    const uint8_t *p = b->p->bytes + at;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < (p[0] & 0xfu) * 4; i += 2)
        sum += (uint32_t)p[i] << 8 | p[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    set(b, at + 10, (wrong ? sum : ~sum) & 0xffff, 2);
}

static void finish(struct builder *b)
{
    struct packet *p = b->p;
    while (b->n_open > 0) {
        uint32_t at = b->open[--b->n_open].at, bytes = p->len - at;
        switch (b->open[b->n_open].length) {
        case LENGTH_IP4:
            set(b, at + 2, bytes, 2);
            set_ip4_sum(b, at, b->open[b->n_open].wrong);
            break;
        case LENGTH_IP6:
            set(b, at + 4, bytes - 40, 2);
            break;
        case LENGTH_UDP:
        case LENGTH_PPPOE:
            set(b, at + 4, b->open[b->n_open].length == LENGTH_UDP ? bytes : bytes - 6, 2);
            break;
        case LENGTH_GTPU:
            set(b, at + 2, bytes - 8, 2);
            break;
        default: /* in units of 8 bytes */
            put(b, 0, (8 - bytes % 8) % 8);
            set(b, at + 1, (bytes + 7) / 8, 1);
        }
    }
}

/* All of them digits: groups, as dissectors and tcpdump -xx print them. */
static bool build_all_hex(struct builder *b)
{
    uint8_t bytes[PACKET_MAX];
    if (word_hex(peek(b), bytes, sizeof(bytes)) <= 0)
        return false;
    while (b->at < b->n_words && !b->failed)
        header_build(b, "hex");
    return true;
}

int packet_from_words(struct packet *p, char *const *words, size_t n, char *error, size_t error_size)
{
    struct builder b = {.p = p, .word = words, .n_words = n, .error = error, .error_size = error_size};
    p->len = p->flags = 0;
    if (n == 0)
        fail(&b, "there is no packet");
    if (n == 0 || build_all_hex(&b))
        return b.failed ? -1 : 0;
    if (taken(&b, "l3"))
        p->flags = FLOWQ_PKT_L3;
    else if (strcmp(peek(&b), "eth") != 0)
        header_build(&b, "eth");
    uint64_t keep = PACKET_MAX;
    while (b.at < b.n_words && !b.failed) {
        if (taken(&b, "cut"))
            keep = take_number(&b, "number of bytes", PACKET_MAX);
        else
            header_build(&b, b.word[b.at++]);
    }
    if (b.failed)
        return -1;
    finish(&b);
    if (keep < p->len)
        p->len = (uint32_t)keep;
    return b.failed ? -1 : 0;
}
