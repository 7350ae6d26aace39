/*
 * flowq-vhost: a packet that somebody asks about, in text.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "question.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { PROTOCOL, SOURCE, SOURCE_PORT, DESTINATION, DESTINATION_PORT, WORDS, WORD_SIZE = INET6_ADDRSTRLEN, TIME_TO_LIVE = 64 };

/* ---- In hexadecimal ---- */

static int digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c == '\0' ? NULL : strchr(digits, tolower((unsigned char)c));

    return at == NULL ? -1 : (int)(at - digits);
}

static bool read_bytes(struct question *question, const char *text)
{
    size_t length = strlen(text);

    if (length == 0 || length % 2 != 0 || length / 2 > sizeof(question->bytes))
        return false;
    for (size_t i = 0; i < length / 2; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        question->bytes[i] = (uint8_t)(high << 4 | low);
    }
    question->len = (uint32_t)(length / 2);
    return true;
}

/* ---- As a flow ---- */

static bool read_words(const char *text, char words[WORDS][WORD_SIZE])
{
    for (uint32_t i = 0; i < WORDS; i++) {
        size_t length = strcspn(text, ",");
        if (length == 0 || length >= WORD_SIZE || text[length] != (i + 1 < WORDS ? ',' : '\0'))
            return false;
        memcpy(words[i], text, length);
        words[i][length] = '\0';
        text += length + 1;
    }
    return true;
}

static bool read_port(const char *word, uint16_t *port)
{
    char *end;
    unsigned long number = strtoul(word, &end, 10);

    *port = htons((uint16_t)number);
    return isdigit((unsigned char)*word) && *end == '\0' && number <= UINT16_MAX;
}

static void append(struct question *question, const void *bytes, size_t n)
{
    memcpy(question->bytes + question->len, bytes, n);
    question->len += (uint32_t)n;
}

/* Ethernet and IP; false: these are no addresses of the same kind. */
static bool append_ip(struct question *question, uint8_t protocol, const char *source, const char *destination, size_t payload)
{
    struct ether_header ether = {.ether_dhost = {2}, .ether_shost = {2}}; /* locally administered, of one station */
    struct ip ip4 = {.ip_v = 4, .ip_hl = sizeof(ip4) / 4, .ip_ttl = TIME_TO_LIVE, .ip_p = protocol};
    struct ip6_hdr ip6 = {.ip6_nxt = protocol, .ip6_hlim = TIME_TO_LIVE};

    if (inet_pton(AF_INET, source, &ip4.ip_src) == 1 && inet_pton(AF_INET, destination, &ip4.ip_dst) == 1) {
        ether.ether_type = htons(ETHERTYPE_IP);
        ip4.ip_len = htons((uint16_t)(sizeof(ip4) + payload));
        append(question, &ether, sizeof(ether));
        append(question, &ip4, sizeof(ip4));
        return true;
    }
    if (inet_pton(AF_INET6, source, &ip6.ip6_src) != 1 || inet_pton(AF_INET6, destination, &ip6.ip6_dst) != 1)
        return false;
    ether.ether_type = htons(ETHERTYPE_IPV6);
    ip6.ip6_vfc = 6 << 4;
    ip6.ip6_plen = htons((uint16_t)payload);
    append(question, &ether, sizeof(ether));
    append(question, &ip6, sizeof(ip6));
    return true;
}

static bool read_flow(struct question *question, const char *text)
{
    char words[WORDS][WORD_SIZE];
    struct tcphdr tcp = {.th_off = sizeof(tcp) / 4, .th_flags = TH_ACK};
    struct udphdr udp = {.uh_ulen = htons(sizeof(udp))};

    if (!read_words(text, words))
        return false;
    bool is_tcp = strcmp(words[PROTOCOL], "tcp") == 0;
    if ((!is_tcp && strcmp(words[PROTOCOL], "udp") != 0) || !read_port(words[SOURCE_PORT], &tcp.th_sport) ||
        !read_port(words[DESTINATION_PORT], &tcp.th_dport))
        return false;
    udp.uh_sport = tcp.th_sport;
    udp.uh_dport = tcp.th_dport;
    question->len = 0;
    if (!append_ip(question, is_tcp ? IPPROTO_TCP : IPPROTO_UDP, words[SOURCE], words[DESTINATION],
                   is_tcp ? sizeof(tcp) : sizeof(udp)))
        return false;
    append(question, is_tcp ? (const void *)&tcp : &udp, is_tcp ? sizeof(tcp) : sizeof(udp));
    return true;
}

bool question_read(struct question *question, const char *text)
{
    memset(question, 0, sizeof(*question));
    return strchr(text, ',') == NULL ? read_bytes(question, text) : read_flow(question, text);
}
