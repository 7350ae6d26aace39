/*
 * flowq_gather: whatever the pieces, the view holds the bytes that one piece would have given, and each is read once.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "flowq.h"
#include "runner.h"
#include "seed.h"

#include <check.h>
#include <string.h>

#define PACKET     300
#define MAX_PIECES 12
#define UNTOUCHED  0xee

static uint64_t seed;
static uint8_t packet[PACKET];

static bool all_untouched(const uint8_t *b, size_t n)
{
    while (n > 0 && b[n - 1] == UNTOUCHED)
        n--;
    return n == 0;
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Gathers, and checks all that is promised for a packet of `len` bytes that lie in these pieces in order. */
static void gather(const struct iovec *iov, size_t iovcnt, size_t len, size_t skip, size_t size)
{
    uint8_t scratch[PACKET + 1];
    struct flowq_pkt pkt;
    memset(scratch, UNTOUCHED, sizeof(scratch));
    memset(&pkt, 0xff, sizeof(pkt));
    size_t n = flowq_gather(&pkt, iov, iovcnt, skip, scratch, size);
    bool right = n == least(least(size, FLOWQ_HEADER_MAX), len > skip ? len - skip : 0) && pkt.data == scratch && pkt.len == n &&
                 pkt.flags == 0 && (n == 0 || memcmp(scratch, packet + skip, n) == 0) &&
                 all_untouched(scratch + n, sizeof(scratch) - n);
    if (!right) /* assertions of Check are too slow for every call */
        ck_abort_msg("%zu pieces, %zu bytes, skip %zu, size %zu: %zu copied", iovcnt, len, skip, size, n);
}

static const size_t skips[] = {0, 10, 12, 20, 24, 32};
static const size_t sizes[] = {0, 1, 14, 64, 255, 256, 257, PACKET};
#define N(array) (sizeof(array) / sizeof((array)[0]))

START_TEST(test_every_cut)
{
    for (size_t s = 0; s < N(skips); s++) {
        for (size_t a = 0; a <= 100; a++) {
            for (size_t b = a; b <= 100; b++) {
                struct iovec iov[3] = {{packet, a}, {packet + a, b - a}, {packet + b, 100 - b}};
                gather(iov, 3, 100, skips[s], FLOWQ_HEADER_MAX);
                if (a == b) {
                    struct iovec two[2] = {{packet, a}, {packet + a, 100 - a}};
                    gather(two, 2, 100, skips[s], FLOWQ_HEADER_MAX);
                    gather(two, 2, 100, skips[s], 40);
                }
            }
        }
    }
}
END_TEST

START_TEST(test_sizes)
{
    for (size_t s = 0; s < N(skips); s++) {
        for (size_t z = 0; z < N(sizes); z++) {
            for (size_t len = 0; len <= PACKET; len++) {
                struct iovec iov[2] = {{packet, len / 2}, {packet + len / 2, len - len / 2}};
                gather(iov, 2, len, skips[s], sizes[z]);
            }
        }
    }
}
END_TEST

START_TEST(test_random_pieces)
{
    struct rng rng = {.state = seed};
    for (int i = 0; i < 100000; i++) {
        struct iovec iov[MAX_PIECES];
        size_t n = rng_below(&rng, MAX_PIECES + 1), at = 0;
        for (size_t p = 0; p < n; p++) {
            size_t len = rng_percent(&rng, 25) ? 0 : rng_below(&rng, 60);
            len = least(len, PACKET - at);
            iov[p] = (struct iovec){len || rng_percent(&rng, 50) ? packet + at : NULL, len};
            at += len;
        }
        size_t skip = rng_percent(&rng, 80) ? skips[rng_below(&rng, N(skips))] : rng_below(&rng, PACKET);
        gather(iov, n, at, skip, rng_percent(&rng, 50) ? FLOWQ_HEADER_MAX : rng_below(&rng, PACKET));
    }
}
END_TEST

START_TEST(test_nothing)
{
    struct flowq_pkt pkt;
    struct iovec empty[2] = {{NULL, 0}, {packet, 0}};
    gather(NULL, 0, 0, 0, FLOWQ_HEADER_MAX);
    gather(NULL, 0, 0, 12, FLOWQ_HEADER_MAX);
    gather(empty, 2, 0, 0, FLOWQ_HEADER_MAX);
    gather(empty, 2, 0, SIZE_MAX, FLOWQ_HEADER_MAX);
    ck_assert(flowq_gather(&pkt, empty, 2, 0, NULL, 0) == 0 && pkt.data == NULL && pkt.len == 0 && pkt.flags == 0);
}
END_TEST

/* Lengths that would wrap around if they were added up. What is read is there all the same. */
START_TEST(test_huge_lengths)
{
    struct iovec huge[2] = {{packet, SIZE_MAX}, {packet, SIZE_MAX}};
    gather(huge, 2, PACKET, 0, 100);
    gather(huge, 2, PACKET, 12, 100);
    gather(huge, 1, PACKET, 32, 256);

    /* Passed over whole, to the last byte; the next piece follows. */
    uint8_t scratch[FLOWQ_HEADER_MAX];
    struct flowq_pkt pkt;
    struct iovec then[2] = {{packet, SIZE_MAX}, {packet + 5, 7}};
    ck_assert(flowq_gather(&pkt, then, 2, SIZE_MAX, scratch, sizeof(scratch)) == 7 && memcmp(scratch, packet + 5, 7) == 0);
}
END_TEST

int main(void)
{
    seed = seed_get("check_pkt");
    for (unsigned i = 0; i < PACKET; i++)
        packet[i] = (uint8_t)(i * 7 + i / 256);
    Suite *s = suite_create("pkt");
    TCase *t = tcase_create("gather");
    tcase_set_timeout(t, 0);
    tcase_add_test(t, test_every_cut);
    tcase_add_test(t, test_sizes);
    tcase_add_test(t, test_random_pieces);
    tcase_add_test(t, test_nothing);
    tcase_add_test(t, test_huge_lengths);
    suite_add_tcase(s, t);
    return suite_run(s);
}
