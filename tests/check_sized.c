/*
 * check_sized: structs that begin with their size, from callers of older and newer versions: each struct of the interface, and
 * the two functions that all of them go through (lib/sized.h), with structs that have grown as ours may.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "config.h"
#include "runner.h"
#include "sized.h"

#include "device.h"
#include "saved.h"

#define GUARD 64 /* bytes behind a struct */

/* ---- What is read ---------------------------------------------------------------------------------------------------------- */

/* A struct of version 1, as version 2 has it. */
struct grown {
    uint32_t size, a, b; /* version 1's */
    uint32_t c, d;
};
#define V1 SIZED_END(struct grown, b)

START_TEST(what_both_know_is_taken)
{
    struct {
        struct grown s;
        uint8_t behind[GUARD];
    } in;
    struct grown out;
    for (uint32_t size = 0; size <= sizeof(in); size++) {
        memset(&in, 0, sizeof(in));
        in.s = (struct grown){.size = size, .a = 0x11111111, .b = 0x22222222, .c = 0x33333333, .d = 0x44444444};
        memset(&out, 0x77, sizeof(out));
        ck_assert_int_eq(sized_read(&out, sizeof(out), &in, V1), size < V1 ? -EINVAL : 0);
        uint32_t copied = size < V1 ? 0 : size < sizeof(out) ? size : (uint32_t)sizeof(out);
        ck_assert_mem_eq(&out, &in, copied);
        for (uint32_t i = copied; i < sizeof(out); i++)
            ck_assert_uint_eq(((uint8_t *)&out)[i], 0);
    }
    /* An older library: it knows up to b. What it does not know asks for nothing, or is refused. */
    uint8_t old[V1 + GUARD];
    memset(old, 0x77, sizeof(old));
    in.s = (struct grown){.size = sizeof(in.s), .a = 1, .b = 2};
    ck_assert_int_eq(sized_read(old, V1, &in, V1), 0);
    for (uint32_t at = V1; at < sizeof(in.s); at++) {
        ((uint8_t *)&in)[at] = 1;
        ck_assert_int_eq(sized_read(old, V1, &in, V1), -E2BIG);
        in.s.size = at; /* ends before: not looked at */
        ck_assert_int_eq(sized_read(old, V1, &in, V1), 0);
        in.s.size = sizeof(in.s);
        ((uint8_t *)&in)[at] = 0;
    }
    ck_assert_mem_eq(old + 4, &in.s.a, V1 - 4);
    for (uint32_t i = V1; i < sizeof(old); i++)
        ck_assert_uint_eq(old[i], 0x77);
}
END_TEST

static int read_config(void *s)
{
    struct flowq_vm *made = NULL;
    int r = flowq_vm_create(s, &made);
    ck_assert(!made == (r != 0));
    flowq_vm_destroy(made);
    ck_assert_int_eq(flowq_vm_configure(vm, s), r);
    return r;
}

static int read_rss(void *s) { return flowq_vm_set_rss(vm, s); }

/* The least size is the end of version 0.9's last field, and that is where the struct ends now. */
static void check_read(const void *good, uint32_t size, int (*read)(void *s))
{
    uint8_t in[1024] = {0};
    ck_assert_uint_le(size + GUARD, sizeof(in));
    memcpy(in, good, size);
    for (uint32_t n = 0; n <= size + GUARD; n++) {
        memcpy(in, &n, sizeof(n));
        ck_assert_int_eq(read(in), n < size ? -EINVAL : 0);
        if (n <= size)
            continue;
        in[n - 1] = 0x80;
        ck_assert_int_eq(read(in), -E2BIG);
        in[n - 1] = 0;
        in[n] = 0x80; /* behind what the caller has */
        ck_assert_int_eq(read(in), 0);
        in[n] = 0;
    }
}

START_TEST(structs_that_are_read)
{
    struct flowq_vm_config c = defaults();
    c.virtio_features = ALL_FEATURES;
    start(&c, 1);
    struct flowq_rss r = rss_over(3);
    check_read(&c, sizeof(c), read_config);
    check_read(&r, sizeof(r), read_rss);
}
END_TEST

/* ---- What is written ------------------------------------------------------------------------------------------------------- */

START_TEST(as_much_is_written_as_there_is_room_for)
{
    const struct grown from = {.size = 4711, .a = 0x11111111, .b = 0x22222222, .c = 0x33333333, .d = 0x44444444};
    struct {
        struct grown s;
        uint8_t behind[GUARD];
    } out;
    for (uint32_t room = SIZED_OUT_MIN; room <= sizeof(out); room++)
        for (uint32_t known = V1; known <= sizeof(from); known += 4) {
            memset(&out, 0x77, sizeof(out));
            out.s.size = room;
            sized_write(&out, &from, known);
            uint32_t written = room < known ? room : known;
            ck_assert_uint_eq(out.s.size, written);
            ck_assert_mem_eq(&out.s.a, &from.a, written - 4);
            for (uint32_t i = written; i < sizeof(out); i++)
                ck_assert_uint_eq(((uint8_t *)&out)[i], 0x77);
        }
}
END_TEST

static int write_binding(void *s)
{
    struct flowq_tuple sent = tcp(1), t = tuple_reverse(&sent);
    return flowq_vm_lookup(vm, &t, s);
}
static int write_explanation(void *s)
{
    struct flowq_tuple t = tcp(1);
    struct frame f;
    frame_flow(&f, &t, FRAME_ACK);
    struct flowq_pkt pkt = frame_pkt(&f);
    return flowq_rx_explain(vm, &pkt, s);
}
static int write_stats(void *s) { return flowq_vm_stats(vm, s); }
static int write_queue_stats(void *s) { return flowq_vm_queue_stats(vm, 3, s); }
static int write_caps(void *s) { return flowq_vm_virtio_caps(vm, s); }

/* Of a vm that knows one flow, into another. */
static int write_loaded(void *s)
{
    const struct flowq_vm_config c = defaults();
    struct model_stream stream = saved(vm);
    struct reading from = {.bytes = stream.bytes, .n = stream.n};
    struct flowq_vm *to = make_vm(&c);
    int r = flowq_vm_load(to, FLOWQ_STATE_ALL, read_stream, &from, s);
    flowq_vm_destroy(to);
    model_stream_free(&stream);
    return r;
}

static const struct written {
    const char *name;
    uint32_t size;
    int (*write)(void *s);
} written[] = {
    {"binding", sizeof(struct flowq_binding), write_binding},
    {"explanation", sizeof(struct flowq_explanation), write_explanation},
    {"stats", sizeof(struct flowq_stats), write_stats},
    {"queue_stats", sizeof(struct flowq_queue_stats), write_queue_stats},
    {"virtio_caps", sizeof(struct flowq_virtio_caps), write_caps},
    {"loaded", sizeof(struct flowq_loaded), write_loaded},
};

START_TEST(structs_that_are_written)
{
    const struct written *w = &written[_i];
    uint8_t all[1024], part[sizeof(all)];
    struct flowq_vm_config c = defaults();
    c.queue_stats = FLOWQ_ON;
    start(&c, PAIRS);
    note(tcp(1), 3);
    decide(tcp(1));
    memset(all, 0x77, sizeof(all));
    memcpy(all, &w->size, sizeof(w->size));
    ck_assert_int_eq(w->write(all), 0);
    for (uint32_t room = 0; room <= w->size + GUARD; room++) {
        memset(part, 0x55, sizeof(part));
        memcpy(part, &room, sizeof(room));
        ck_assert_msg(w->write(part) == (room < 8 ? -EINVAL : 0), "%s: %u bytes", w->name, room);
        uint32_t n = room < 8 ? 4 : room < w->size ? room : w->size, told = sized_of(part);
        ck_assert_msg(told == (room < 8 ? room : n), "%s: %u bytes, tells %u", w->name, room, told);
        ck_assert_mem_eq(part + 4, all + 4, n - 4);
        for (uint32_t i = n; i < sizeof(part); i++)
            ck_assert_msg(part[i] == 0x55, "%s: %u bytes, byte %u is written", w->name, room, i);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sized");
    TCase *tc = tcase_create("sized");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, what_both_know_is_taken);
    tcase_add_test(tc, structs_that_are_read);
    tcase_add_test(tc, as_much_is_written_as_there_is_room_for);
    tcase_add_loop_test(tc, structs_that_are_written, 0, (int)(sizeof(written) / sizeof(written[0])));
    suite_add_tcase(s, tc);
    return suite_run(s);
}
