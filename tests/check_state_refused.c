/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check_state_refused: streams that are cut, damaged, of other versions, in disorder, made up; loads that run out of memory. What
 * cannot be loaded leaves the vm as it was.
 */
#include "runner.h"
#include "saved_small.h"
#include "seed.h"

/* ---- What is refused ------------------------------------------------------------------------------------------------------- */

START_TEST(cut_anywhere)
{
    struct flowq_vm *to;
    struct model_stream s = small_stream(&to);
    struct as_it_was before = look_at(to);
    for (size_t n = 0; n < s.n; n++) {
        uint8_t *exact = malloc(n ? n : 1); /* so that AddressSanitizer sees its end */
        memcpy(exact, s.bytes, n);
        ck_assert_int_eq(load_bytes(to, FLOWQ_STATE_ALL, exact, n, NULL), -EBADMSG);
        free(exact);
    }
    is_as_it_was(to, &before);
    ck_assert_uint_eq(load_stream(to, FLOWQ_STATE_ALL, &s).bindings, 9);
    model_stream_free(&s);
    model_stream_free(&before.stream);
    flowq_vm_destroy(to);
}
END_TEST

START_TEST(each_bit_flipped)
{
    struct flowq_vm *to;
    struct model_stream s = small_stream(&to);
    struct as_it_was before = look_at(to);
    for (size_t bit = 0; bit < 8 * s.n; bit++) {
        s.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        for (uint32_t what = FLOWQ_STATE_PAIRS; what <= FLOWQ_STATE_FLOWS; what += FLOWQ_STATE_FLOWS - FLOWQ_STATE_PAIRS)
            ck_assert_int_eq(load_bytes(to, what, s.bytes, s.n, NULL), -EBADMSG);
        s.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (bit % 997 == 0)
            is_as_it_was(to, &before);
    }
    is_as_it_was(to, &before);
    ck_assert_uint_eq(load_stream(to, FLOWQ_STATE_ALL, &s).bindings, 9);
    model_stream_free(&s);
    model_stream_free(&before.stream);
    flowq_vm_destroy(to);
}
END_TEST

/* Sections of the small stream, one of which is changed. Returns what loading says; the sums are right. */
static int load_changed(struct flowq_vm *to, const struct model_stream *s, uint32_t type, size_t at, uint8_t mask, int longer)
{
    struct model_stream made = {.bytes = NULL};
    uint64_t sum;
    model_stream_header(&made, 1, 1, &sum);
    for (size_t i = 16; i < s->n;) {
        const uint8_t *head = s->bytes + i;
        uint32_t t = head[3], n = (uint32_t)head[6] << 8 | head[7] | (uint32_t)head[5] << 16;
        uint8_t *content = calloc(1, n + 64);
        memcpy(content, head + 8, n);
        if (t == type && longer == 0)
            content[at] ^= mask;
        model_stream_section(&made, t, content, (size_t)((int)n + (t == type ? longer : 0)), &sum);
        free(content);
        i += 16 + n;
    }
    struct model_state *m = calloc(1, sizeof(*m));
    bool fine = model_state_read(m, made.bytes, made.n);
    free_model(m);
    int r = load_bytes(to, FLOWQ_STATE_ALL, made.bytes, made.n, NULL);
    ck_assert_msg(fine || r == -EBADMSG, "type %u, byte %zu, mask 0x%x, longer %d: %d", type, at, mask, longer, r);
    ck_assert_msg(!fine || r != -EBADMSG, "type %u, byte %zu, mask 0x%x, longer %d: %d", type, at, mask, longer, r);
    model_stream_free(&made);
    return r;
}

/* Each bit of each content, with sums that are right: what the model takes is taken, or is more than the vm offers. */
START_TEST(each_bit_of_content)
{
    struct flowq_vm *to;
    struct model_stream s = small_stream(&to);
    struct model_state *m = read_model(&s);
    const size_t bytes[11] = {0, 8, 24, 8, 64, 4, 64, 4 + 2 * m->n_slots, 8 + 8 * m->n_ages, 20 * m->n_bindings, 16};
    struct as_it_was before = look_at(to);
    unsigned taken = 0;
    for (uint32_t type = 1; type <= 10; type++)
        for (size_t bit = 0; bit < 8 * bytes[type]; bit += type == 7 && bit > 64 ? 61 : 1) {
            int r = load_changed(to, &s, type, bit / 8, (uint8_t)(1u << bit % 8), 0);
            if (r == 0) {
                taken++;
                flowq_vm_destroy(to);
                struct flowq_vm_config c = defaults();
                c.max_queue_pairs = 4;
                c.virtio_features = ALL_FEATURES;
                c.rebind_min_tcp_us = 100000;
                memset(c.secret, 8, sizeof(c.secret));
                to = make_vm(&c);
            } else if (bit % 53 == 0) {
                is_as_it_was(to, &before);
            }
        }
    ck_assert_uint_gt(taken, 100);
    for (uint32_t type = 1; type <= 10; type++)
        for (int longer = -1; longer <= 1; longer += 2)
            (void)load_changed(to, &s, type, 0, 0, longer);
    free_model(m);
    model_stream_free(&s);
    model_stream_free(&before.stream);
    flowq_vm_destroy(to);
}
END_TEST

/* Rewrites a header, and all sums. */
static int load_versions(struct flowq_vm *to, const struct model_stream *s, uint32_t version, uint32_t compatible, uint32_t extra)
{
    struct model_state *m = read_model(s);
    struct model_stream made = {.bytes = NULL}, own = {.bytes = NULL};
    uint64_t sum;
    m->version = version;
    m->compatible = compatible;
    model_state_write(m, &own);
    free_model(m);
    model_stream_header(&made, version, compatible, &sum);
    for (size_t i = 16; i < own.n;) {
        const uint8_t *head = own.bytes + i;
        uint32_t n = (uint32_t)head[6] << 8 | head[7] | (uint32_t)head[5] << 16;
        if (extra) {
            uint8_t *unknown = calloc(1, 300000);
            model_stream_section(&made, extra, unknown, 300000, &sum);
            free(unknown);
        }
        model_stream_section(&made, head[3], head + 8, n, &sum);
        i += 16 + n;
    }
    int r = load_bytes(to, FLOWQ_STATE_ALL, made.bytes, made.n, NULL);
    model_stream_free(&made);
    model_stream_free(&own);
    flowq_vm_reset(to, FLOWQ_RESET_FLOWS);
    return r;
}

START_TEST(versions)
{
    struct flowq_vm *to;
    struct model_stream s = small_stream(&to);
    ck_assert_int_eq(load_versions(to, &s, 1, 1, 0), 0);
    ck_assert_int_eq(load_versions(to, &s, 7, 1, 11), 0); /* newer, with sections that we do not know */
    ck_assert_int_eq(load_versions(to, &s, UINT32_MAX, 0, UINT32_MAX), 0);
    ck_assert_int_eq(load_versions(to, &s, 1, 1, 0x80000001), 0);
    ck_assert_int_eq(load_versions(to, &s, 7, 2, 0), -EBADMSG);
    ck_assert_int_eq(load_versions(to, &s, 2, 2, 0), -EBADMSG);
    ck_assert_int_eq(load_versions(to, &s, 0, 0, 0), -EBADMSG);
    model_stream_free(&s);
    flowq_vm_destroy(to);
}
END_TEST

/* Sections twice, without the one they hang on, too long, and no end. */
START_TEST(sections_in_disorder)
{
    struct flowq_vm *to;
    struct model_stream s = small_stream(&to);
    struct as_it_was before = look_at(to);
    const uint8_t *section[16];
    uint32_t n = 0;
    for (size_t i = 16; i < s.n; i += 16u + ((uint32_t)s.bytes[i + 6] << 8 | s.bytes[i + 7] | (uint32_t)s.bytes[i + 5] << 16))
        section[n++] = s.bytes + i;
    ck_assert_uint_eq(n, 10);
    for (uint32_t a = 0; a < n; a++)
        for (uint32_t b = 0; b < n; b++)
            for (uint32_t c = 0; c < n; c++) { /* three of them and the end */
                const uint8_t *three[4] = {section[a], section[b], section[c], section[9]};
                struct model_stream made = {.bytes = NULL};
                struct model_state *m = calloc(1, sizeof(*m));
                uint64_t sum;
                model_stream_header(&made, 1, 1, &sum);
                for (unsigned i = 0; i < 4; i++)
                    model_stream_section(&made, three[i][3], three[i] + 8,
                                         (uint32_t)three[i][6] << 8 | three[i][7] | (uint32_t)three[i][5] << 16, &sum);
                bool fine = model_state_read(m, made.bytes, made.n);
                ck_assert_int_eq(load_bytes(to, FLOWQ_STATE_FLOWS, made.bytes, made.n, NULL), fine ? 0 : -EBADMSG);
                ck_assert(!fine || m->n_bindings == 0 || (a == 5 && b == 7 && c == 8));
                if (fine && m->n_bindings)
                    flowq_vm_reset(to, FLOWQ_RESET_FLOWS);
                free_model(m);
                model_stream_free(&made);
            }
    model_stream_free(&before.stream);
    struct model_stream made = {.bytes = NULL};
    uint8_t *large = calloc(1, 262145);
    uint64_t sum;
    model_stream_header(&made, 1, 1, &sum);
    model_stream_section(&made, 3, large, 262145, &sum);
    ck_assert_int_eq(load_bytes(to, FLOWQ_STATE_ALL, made.bytes, made.n, NULL), -EBADMSG);
    free(large);
    model_stream_free(&made);
    model_stream_free(&s);
    flowq_vm_destroy(to);
}
END_TEST

/* ---- Memory ---------------------------------------------------------------------------------------------------------------- */

static int fail_at; /* the n-th allocation from now on fails; 0: none */
static long n_held, n_allocs;

static void *test_alloc(void *ctx, size_t size, size_t align, int32_t node)
{
    (void)ctx;
    (void)node;
    n_allocs++;
    if (fail_at && --fail_at == 0)
        return NULL;
    n_held++;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void test_free(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    (void)size;
    n_held--;
    free(ptr);
}

START_TEST(out_of_memory_anywhere)
{
    struct flowq_vm *to;
    struct model_stream s = small_stream(&to);
    struct flowq_vm_config c = defaults();
    c.max_queue_pairs = 4;
    c.alloc = test_alloc;
    c.free = test_free;
    c.initial_flows = _i ? 8 : 0;
    flowq_vm_destroy(to);
    n_held = fail_at = 0;
    to = make_vm(&c);
    long held = n_held;
    struct as_it_was before = look_at(to);
    int n = 0, r;
    do {
        fail_at = ++n;
        r = load_bytes(to, FLOWQ_STATE_ALL, s.bytes, s.n, NULL);
        ck_assert(r == 0 || r == -ENOMEM);
        fail_at = 0;
        if (r) {
            ck_assert_int_eq(n_held, held);
            is_as_it_was(to, &before);
        }
    } while (r);
    ck_assert_int_gt(n, 5);
    n_allocs = 0; /* and saving takes none */
    struct model_stream again = saved(to);
    ck_assert_int_eq(n_allocs, 0);
    flowq_vm_destroy(to);
    ck_assert_int_eq(n_held, 0);
    model_stream_free(&again);
    model_stream_free(&before.stream);
    model_stream_free(&s);
}
END_TEST

int main(void)
{
    (void)seed_get("check_state_refused");
    Suite *s = suite_create("state_refused");
    TCase *c = tcase_create("state_refused");
    tcase_add_checked_fixture(c, NULL, tear_down);
    tcase_set_timeout(c, 300);
    tcase_add_test(c, cut_anywhere);
    tcase_add_test(c, each_bit_flipped);
    tcase_add_test(c, each_bit_of_content);
    tcase_add_test(c, versions);
    tcase_add_test(c, sections_in_disorder);
    tcase_add_loop_test(c, out_of_memory_anywhere, 0, 2);
    suite_add_tcase(s, c);
    return suite_run(s);
}
