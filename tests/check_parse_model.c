/*
 * The parser on random packets: it agrees with its model, reads no byte twice, none beyond the end of the packet and none beyond
 * its window, and survives memory that changes while it reads.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "config.h"
#include "counted_parse.h"
#include "frames.h"
#include "model_parse.h"
#include "random_packet.h"
#include "runner.h"
#include "special.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static uint64_t seed;

static void fail_on(const struct random_packet *p, const char *what)
{
    fprintf(stderr, "packet, flags %#x: ", p->flags);
    for (uint32_t i = 0; i < p->len; i++)
        fprintf(stderr, "%02x", p->bytes[i]);
    fprintf(stderr, "\n");
    ck_abort_msg("%s", what);
}

/* Compares on a copy that ends where the packet ends; the result before is rubbish, so that what is not set is seen. */
static void compare(const struct random_packet *p, struct parse_result *r)
{
    struct parse_result model;
    uint8_t *copy = malloc(p->len ? p->len : 1);
    if (!copy) /* assertions of Check are too slow for every packet */
        fail_on(p, "out of memory");
    memcpy(copy, p->bytes, p->len);
    struct flowq_pkt pkt = {.data = copy, .len = p->len, .flags = p->flags};
    memset(r, 0xa5, sizeof(*r));
    parse_packet(&pkt, p->rules, r);
    model_parse(&pkt, p->rules, &model);
    free(copy);
    if (!parse_result_equal(r, &model)) {
        fprintf(stderr, "parser: %s\n", parse_result_text(r));
        fprintf(stderr, "model:  %s\n", parse_result_text(&model));
        fail_on(p, "the parser and its model disagree");
    }
}

/* No byte is read twice, and none outside of min(len, PARSE_MAX_BYTES). */
static void count(const struct random_packet *p)
{
    struct flowq_pkt pkt = {.data = p->bytes, .len = p->len, .flags = p->flags};
    struct parse_result r;
    memset(parse_reads, 0, sizeof(parse_reads));
    counted_parse_packet(&pkt, p->rules, &r);
    for (uint32_t i = 0; i < p->len; i++)
        if (parse_reads[i] > (i < PARSE_MAX_BYTES ? 1 : 0))
            fail_on(p, "a byte is read twice, or lies outside of the window");
}

/* What lies beyond the window, or whether there is anything, makes no difference. */
static void change_beyond_window(struct random_packet *p, const struct parse_result *before)
{
    struct parse_result after;
    struct flowq_pkt pkt = {.data = p->bytes, .len = PARSE_MAX_BYTES, .flags = p->flags};
    parse_packet(&pkt, p->rules, &after);
    if (!parse_result_equal(before, &after))
        fail_on(p, "bytes beyond the window were looked at");
}

/* The fast parser may pass any packet on, but what it says must be what the complete one says. Returns whether it spoke. */
static bool compare_fast(const struct random_packet *p, const struct parse_result *r, bool tx)
{
    uint64_t word[5];
    struct key key = r->key;
    uint8_t *copy = malloc(p->len ? p->len : 1);
    if (!copy)
        fail_on(p, "out of memory");
    memcpy(copy, p->bytes, p->len);
    struct flowq_pkt pkt = {.data = copy, .len = p->len, .flags = p->flags};
    enum plain plain = plain_read(&pkt, p->rules->udp_filter, tx, word);
    if (plain != PLAIN_NOT) {
        if (r->kind != PARSE_FLOW || r->n_first > 0 || (tx && r->flags & (PARSE_MULTICAST | PARSE_UNREAD_TUNNEL)))
            fail_on(p, "plain to the fast parser, but not to the complete one");
        if (tx)
            key_reverse(&key);
        if (key.bytes != (plain == PLAIN_V4 ? KEY_V4_BYTES : KEY_V6_BYTES) || memcmp(key.word, word, key.bytes) != 0)
            fail_on(p, "the fast parser gives another key");
        if (tx && note_flags_plain(&pkt, plain, word) != note_flags_of(key_l4(&key).protocol, r->flags))
            fail_on(p, "the fast parser sees other TCP flags");
    }
    free(copy);
    return plain != PLAIN_NOT;
}

/* Counts, by bit, the kinds of tunnels without which the packet would be another one's. */
static void count_tunnels(const struct random_packet *p, const struct parse_result *r, long tunnels[32])
{
    struct flowq_pkt pkt = {.data = p->bytes, .len = p->len, .flags = p->flags};
    for (uint32_t left = p->rules->tunnels & CONFIG_TUNNELS; left; left &= left - 1) {
        struct parse_rules rules = *p->rules;
        struct parse_result without;
        rules.tunnels &= ~(left & -left);
        rules.udp_filter = parse_rules_filter(&rules);
        parse_packet(&pkt, &rules, &without);
        bool read = r->kind == PARSE_FLOW && !(r->flags & PARSE_UNREAD_TUNNEL);
        tunnels[__builtin_ctz(left)] += read && !parse_result_equal(r, &without);
    }
}

/* Counts what follows IP right behind Ethernet: next[0] IPv4, next[1] IPv6. */
static void count_next(const struct random_packet *p, long next[2][UINT8_MAX + 1])
{
    if (p->flags != 0 || p->len <= 23)
        return;
    unsigned type = (unsigned)p->bytes[12] << 8 | p->bytes[13];
    if (type == 0x0800)
        next[0][p->bytes[23]]++;
    else if (type == 0x86dd)
        next[1][p->bytes[20]]++;
}

START_TEST(test_random)
{
    struct rng rng = {.state = seed};
    long n = seed_long() ? 20000000 : 500000, kinds[PARSE_SPREAD + 1] = {0}, firsts[3] = {0}, flags[7] = {0}, plain = 0;
    long sizes[KEY_MAX_WORDS + 1] = {0}, tunnels[32] = {0}, next[2][UINT8_MAX + 1] = {{0}};
    for (long i = 0; i < n; i++) {
        struct random_packet p;
        struct parse_rules rules;
        struct parse_result r;
        random_rules(&rng, &rules);
        random_packet(&p, &rng, &rules);
        compare(&p, &r);
        count(&p);
        plain += compare_fast(&p, &r, false) && compare_fast(&p, &r, true);
        if (p.len > PARSE_MAX_BYTES)
            change_beyond_window(&p, &r);
        kinds[r.kind]++;
        firsts[r.n_first]++;
        sizes[r.key.bytes / 8]++;
        for (unsigned bit = 0; bit < 7; bit++)
            flags[bit] += r.flags >> bit & 1;
        count_next(&p, next);
        if (i % 8 == 0)
            count_tunnels(&p, &r, tunnels);
    }
    /* Random packets are worth something only if they reach everything. */
    for (unsigned i = 0; i <= PARSE_SPREAD; i++)
        ck_assert_msg(kinds[i] > n / 200, "kind %u only %ld times", i, kinds[i]);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_msg(firsts[i] > n / 4000, "%u first fragments only %ld times", i, firsts[i]);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    ck_assert_msg(plain > n / 200, "plain only %ld times", plain);
#endif
    for (unsigned i = 2; i <= KEY_MAX_WORDS; i++)
        ck_assert_msg(sizes[i] > n / 4000, "keys of %u words only %ld times", i, sizes[i]);
    for (unsigned i = 0; i < 7; i++)
        ck_assert_msg(flags[i] > n / 200, "flag %u only %ld times", i, flags[i]);
    /* By chance, as any other number, a thirtieth of this. */
    for (unsigned i = 0; i < MODEL_N_EXTENSIONS; i++)
        ck_assert_msg(next[1][model_extensions[i]] > n / 1000, "extension header %u: %ld times", model_extensions[i],
                      next[1][model_extensions[i]]);
    for (unsigned i = 0; i < 2 * MODEL_N_PORTS; i++) {
        long times = next[i & 1][model_ports[i / 2]];
        ck_assert_msg(times > n / 1000, "IPv%u with protocol %u: %ld times", i & 1 ? 6 : 4, model_ports[i / 2], times);
    }
    for (unsigned i = 0; CONFIG_TUNNELS >> i; i++)
        ck_assert_msg(tunnels[i] > n / 8 / 10000, "FLOWQ_TUNNEL_* 1 << %u only %ld times", i, tunnels[i]);
}
END_TEST

/* The hint that packets come in trains: of one flow, yes; of two that differ in an address or a port, no. A server's packets all
   have its address, and a VM's its own. */
START_TEST(test_alike)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    struct rng rng = {.state = seed};
    for (unsigned i = 0; i < 20000; i++) {
        struct flowq_tuple t[2];
        struct flowq_pkt pkt[2];
        struct frame frame[2];
        const uint8_t protocol = rng_percent(&rng, 50) ? FRAME_PROTO_TCP : FRAME_PROTO_UDP;
        uint32_t of[2][4] = {{1, 1000, 2, 2000}, {1, 1000, 2, 2000}};
        const uint32_t what = rng_below(&rng, 5); /* 4: nothing */
        if (what < 4)
            of[1][what] += 1 + rng_below(&rng, 100);
        for (unsigned k = 0; k < 2; k++) {
            t[k] = (i % 2 ? tuple_v6 : tuple_v4)(protocol, of[k][0], (uint16_t)of[k][1], of[k][2], (uint16_t)of[k][3]);
            frame_flow(&frame[k], &t[k], FRAME_ACK);
            pkt[k] = frame_pkt(&frame[k]);
        }
        ck_assert_msg(plain_alike(&pkt[0], &pkt[1]) == (what == 4), "version %u, %u", t[0].version, what);
        pkt[i / 2 % 2].len = rng_below(&rng, (i % 2 ? PLAIN_V6_PORTS : PLAIN_V4_PORTS) + PLAIN_RX_REACH);
        ck_assert(!plain_alike(&pkt[0], &pkt[1]));
    }
#endif
}
END_TEST

/* Packets that look plain but have flags: random ones are never so. */
START_TEST(test_fast_flags)
{
    static const uint8_t frame[60] = {0x52, [12] = 0x08, [14] = 0x45, [23] = 17};
    struct parse_rules rules = parse_rules_default();
    uint64_t word[5];
    for (uint32_t flags = 1; flags < 4; flags++) {
        struct flowq_pkt pkt = {.data = frame, .len = sizeof(frame), .flags = flags};
        ck_assert(plain_read(&pkt, rules.udp_filter, false, word) == PLAIN_NOT);
        ck_assert(plain_read(&pkt, rules.udp_filter, true, word) == PLAIN_NOT);
    }
}
END_TEST

/* ---- Memory that changes meanwhile ----------------------------------------------------------------------------------------- */

struct shared {
    atomic_bool stop;
    struct random_packet packet;
    uint8_t *bytes;
};

/* What a hostile guest does to its own memory: lengths, types and offsets change at every moment. */
static void *change(void *ctx)
{
    struct shared *s = ctx;
    struct rng rng = {.state = seed ^ 1};
    while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
        volatile uint8_t *b = &s->bytes[rng_below(&rng, s->packet.len)];
        *b = (uint8_t)rng_next(&rng);
        *b = s->packet.bytes[b - s->bytes];
    }
    return NULL;
}

static bool is_sane(const struct parse_result *r)
{
    if (r->kind == PARSE_KEYLESS)
        return r->key.bytes == 0 && r->n_first <= 2;
    if (r->kind > PARSE_SPREAD || r->n_first > 2)
        return false;
    if (r->kind == PARSE_SPREAD)
        return r->key.bytes == 16 || r->key.bytes == 40;
    if (r->key.bytes % 8 != 0 || r->key.bytes < KEY_V4_BYTES || r->key.bytes > KEY_MAX_BYTES)
        return false;
    return key_l4(&r->key).version == (key_is_v6(&r->key) ? 6 : 4) && key_l4(&r->key).zero == 0;
}

/* The race is what is tested: ThreadSanitizer would be right to report it. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RACES_ARE_REPORTED 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define RACES_ARE_REPORTED 1
#endif

START_TEST(test_changing_memory)
{
    struct rng rng = {.state = seed ^ 2};
    int rounds = seed_long() ? 2000 : 100;
    while (rounds-- > 0) {
        struct shared s;
        struct parse_rules rules = parse_rules_default();
        pthread_t thread;
        atomic_init(&s.stop, false);
        do
            random_packet(&s.packet, &rng, &rules);
        while (s.packet.len == 0);
        s.bytes = malloc(s.packet.len);
        ck_assert(s.bytes != NULL);
        memcpy(s.bytes, s.packet.bytes, s.packet.len);
        ck_assert(pthread_create(&thread, NULL, change, &s) == 0);
        for (int i = 0; i < 20000; i++) {
            struct flowq_pkt pkt = {.data = s.bytes, .len = s.packet.len, .flags = s.packet.flags};
            struct parse_result r;
            parse_packet(&pkt, &rules, &r);
            if (!is_sane(&r))
                fail_on(&s.packet, "changing bytes made a result that cannot be");
        }
        atomic_store(&s.stop, true);
        pthread_join(thread, NULL);
        free(s.bytes);
    }
}
END_TEST

int main(void)
{
    seed = seed_get("check_parse_model");
    Suite *s = suite_create("parse-model");
    TCase *t = tcase_create("random");
    tcase_set_timeout(t, 0);
    tcase_add_test(t, test_random);
    tcase_add_test(t, test_alike);
    tcase_add_test(t, test_fast_flags);
#ifndef RACES_ARE_REPORTED
    tcase_add_test(t, test_changing_memory);
#else
    (void)test_changing_memory;
#endif
    suite_add_tcase(s, t);
    return suite_run(s);
}
