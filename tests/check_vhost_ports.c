/*
 * check_vhost_ports: sockets and connections come and go under the drop-in; whom it leaves alone.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "runner.h"
#include "vhost_program.h"

#define PATH  "/tmp/flowq-test.sock"
#define OTHER "/tmp/flowq-other.sock"

/* ---- Connections ---- */

START_TEST(callbacks_are_the_programs_own)
{
    static const char expected[] = "cvvvvnxd";
    open_port(PATH);
    int vid = stub_connect(PATH);
    for (uint16_t ring = 0; ring < 4; ring++)
        stub_message(vid, STUB_SET_VRING_KICK, ring, 0);
    for (uint16_t ring = 0; ring < 4; ring++)
        stub_message(vid, STUB_SET_VRING_ENABLE, (uint32_t)(3 - ring), 1);
    stub_disconnect(vid);
    ck_assert_uint_eq(n_told, sizeof(expected) - 1);
    for (uint32_t i = 0; i < n_told; i++) {
        ck_assert_int_eq(told[i].what, expected[i]);
        ck_assert_int_eq(told[i].vid, vid);
        if (told[i].what == 'v')
            ck_assert_uint_eq(told[i].ring, 4 - i);
    }
}
END_TEST

/* A table with nothing in it, and one with what we do not replace. */
static int n_features;
static int on_features(int vid, uint64_t features)
{
    (void)vid;
    (void)features;
    return ++n_features;
}

START_TEST(callbacks_may_be_missing)
{
    static const struct rte_vhost_device_ops none = {0}, one = {.features_changed = on_features};
    ck_assert_int_eq(rte_vhost_driver_register(PATH, 0), 0);
    ck_assert_int_eq(rte_vhost_driver_callback_register(PATH, &none), 0);
    int vid = guest_comes(PATH, 4);
    guest_sends(vid, 3, 1);
    ck_assert_int_eq(arrives(vid, 1), 3);
    ck_assert_ptr_null(stub_ops(PATH)->features_changed);
    ck_assert_ptr_null(stub_ops(PATH)->guest_notified);
    stub_disconnect(vid);
    ck_assert_int_eq(rte_vhost_driver_callback_register(PATH, &one), 0);
    ck_assert_ptr_eq(stub_ops(PATH)->features_changed, on_features);
}
END_TEST

START_TEST(rings_go_off_with_the_connection)
{
    open_port(PATH);
    int vid = guest_comes(PATH, 4);
    /* As QEMU stops a device: the other rings stay on, and nothing is said of them. */
    stub_message(vid, STUB_GET_VRING_BASE, 0, 0);
    ck_assert_int_eq(telemetry("/flowq/port", "0", "flowq_queues_in_use"), 3);
    stub_disconnect(vid);
    ck_assert_int_eq(telemetry("/flowq/port", "0", "flowq_queues_in_use"), 0);
}
END_TEST

START_TEST(a_guest_that_comes_back_finds_its_flows)
{
    open_port(PATH);
    int vid = guest_comes(PATH, 4);
    guest_sends(vid, 3, 1);
    stub_disconnect(vid);
    ck_assert_int_eq(arrives(guest_comes(PATH, 4), 1), 3);
}
END_TEST

/* A device's number is used again, by a guest behind another socket. */
START_TEST(tables_belong_to_sockets)
{
    open_port(PATH);
    open_port(OTHER);
    int vid = guest_comes(PATH, 4);
    /* Twice: the first time, a flow that goes there anyway is not kept. */
    for (uint32_t i = 0; i < 64; i++)
        guest_sends(vid, 3, i % 32);
    stub_disconnect(vid);
    ck_assert_int_eq(guest_comes(OTHER, 4), vid);
    uint32_t elsewhere = 0;
    for (uint32_t flow = 0; flow < 32; flow++)
        elsewhere += arrives(vid, flow) != 3;
    ck_assert_uint_gt(elsewhere, 8);
    for (uint32_t i = 0; i < 64; i++)
        guest_sends(vid, 1, i % 32);
    int back = guest_comes(PATH, 4);
    ck_assert_int_ne(back, vid);
    for (uint32_t flow = 0; flow < 32; flow++) {
        ck_assert_int_eq(arrives(back, flow), 3);
        ck_assert_int_eq(arrives(vid, flow), 1);
    }
}
END_TEST

/* The new connection is there before the end of the old one is seen. */
START_TEST(the_connection_that_came_last_is_steered)
{
    open_port(PATH);
    int old = guest_comes(PATH, 4);
    guest_sends(old, 3, 1);
    int young = guest_comes(PATH, 4);
    ck_assert_int_eq(arrives(young, 1), 3);
    ck_assert_int_eq(arrives(old, 1), 0);
    stub_message(old, STUB_SET_VRING_ENABLE, 6, 0);
    ck_assert_int_eq(arrives(young, 1), 3);
    stub_disconnect(old);
    ck_assert_int_eq(arrives(young, 1), 3);
    ck_assert_int_eq(told_ring(0, 6, 0), 1);
}
END_TEST

static int refuse(int vid)
{
    (void)vid;
    return -1;
}

START_TEST(a_connection_may_be_refused)
{
    static const struct rte_vhost_device_ops ops = {.new_connection = refuse};
    open_port(PATH);
    ck_assert_int_eq(rte_vhost_driver_register(OTHER, 0), 0);
    ck_assert_int_eq(rte_vhost_driver_callback_register(OTHER, &ops), 0);
    ck_assert_int_eq(stub_connect(OTHER), -1);
    ck_assert_int_eq(arrives(guest_comes(PATH, 2), 1) >= 0, 1);
}
END_TEST

/* ---- Registrations ---- */

static int n_second;
static int second_device(int vid)
{
    (void)vid;
    n_second++;
    return 0;
}

START_TEST(a_path_registered_again_has_new_callbacks)
{
    static const struct rte_vhost_device_ops second = {.new_device = second_device};
    open_port(PATH);
    int vid = guest_comes(PATH, 4);
    guest_sends(vid, 3, 1);
    ck_assert_int_eq(rte_vhost_driver_unregister(PATH), 0);
    /* As librte_vhost has it: the device ends, and no word of the connection. */
    ck_assert_int_eq(told[n_told - 1].what, 'x');
    ck_assert_int_eq(telemetry("/flowq/port", "0", "connections"), -1);
    uint32_t before = n_told;
    ck_assert_int_eq(rte_vhost_driver_register(PATH, 0), 0);
    ck_assert_int_eq(rte_vhost_driver_callback_register(PATH, &second), 0);
    vid = guest_comes(PATH, 4);
    ck_assert_int_eq(n_second, 1);
    ck_assert_uint_eq(n_told, before);
    ck_assert_int_eq(arrives(vid, 1), 3);
}
END_TEST

START_TEST(what_librte_vhost_refuses_is_refused)
{
    ck_assert_int_eq(rte_vhost_driver_callback_register(PATH, &program_ops), -1);
    ck_assert_int_eq(rte_vhost_driver_unregister(PATH), -1);
    ck_assert_int_eq(rte_vhost_driver_register(PATH, 0), 0);
    stub_refuse_registration(true);
    ck_assert_int_eq(rte_vhost_driver_callback_register(PATH, &program_ops), -1);
    stub_refuse_registration(false);
    ck_assert_int_eq(telemetry("/flowq/ports", "", "shown"), 0);
    ck_assert_int_eq(rte_vhost_driver_callback_register(PATH, &program_ops), 0);
    ck_assert_int_eq(telemetry("/flowq/ports", "", "shown"), 1);
}
END_TEST

/* A switch whose guests come and go for years: memory for as many ports as there are at once, and some. */
START_TEST(ports_are_used_again)
{
    char path[64];
    long long most = 0;
    open_port(PATH);
    int stays = guest_comes(PATH, 4);
    guest_sends(stays, 3, 1);
    for (uint32_t i = 0; i < 200; i++) {
        snprintf(path, sizeof(path), "/tmp/flowq-%u.sock", i);
        open_port(path);
        int vid = guest_comes(path, 4);
        /* Of the one that had the port before, nothing is left. */
        ck_assert_int_eq(telemetry("/flowq/port", "0", "connections"), 1);
        for (uint32_t q = 0; q < 4; q++)
            guest_sends(vid, q, 100 + 4 * i + q);
        for (uint32_t at = 0; at < 64; at++) {
            char number[16], key[160];
            snprintf(number, sizeof(number), "%u", at);
            snprintf(key, sizeof(key), "path=%s;", path);
            const char *reply = stub_telemetry("/flowq/port", number);
            if (reply != NULL && strstr(reply, key) != NULL) {
                most = at > most ? at : most;
                ck_assert_int_eq(telemetry("/flowq/port", number, "from_guest"), 4);
                ck_assert_int_eq(telemetry("/flowq/port", number, "flowq_flows_live") <= 4, 1);
            }
        }
        ck_assert_int_eq(rte_vhost_driver_unregister(path), 0);
        ck_assert_int_eq(arrives(stays, 1), 3);
    }
    ck_assert_int_ge(most, 8);
    ck_assert_int_le(most, 17);
}
END_TEST

START_TEST(a_list_of_ports_comes_in_pages)
{
    char path[128], first[16] = "";
    uint32_t shown = 0, pages = 0;
    long long next = 0;
    for (uint32_t i = 0; i < 150; i++) {
        snprintf(path, sizeof(path),
                 "/tmp/flowq-a-path-as-long-as-the-address-of-a-socket-may-be-which-is-107-bytes-and-here-we-are-%06u.sock", i);
        open_port(path);
    }
    for (; next >= 0; pages++) {
        shown += (uint32_t)telemetry("/flowq/ports", first, "shown");
        ck_assert_uint_le(stub_telemetry_entries(), 256);
        ck_assert_uint_lt(strlen(stub_telemetry("/flowq/ports", first)), 14000);
        next = telemetry("/flowq/ports", first, "next");
        snprintf(first, sizeof(first), "%lld", next);
    }
    ck_assert_uint_eq(shown, 150);
    ck_assert_uint_eq(pages, 3);
}
END_TEST

/* ---- Left alone ---- */

START_TEST(asynchronous_devices_are_left_alone)
{
    open_port(PATH);
    int vid = guest_comes(PATH, 4);
    guest_sends(vid, 3, 1);
    ck_assert_int_eq(arrives(vid, 1), 3);
    stub_log();
    if (_i == 0)
        ck_assert_int_eq(rte_vhost_async_channel_register(vid, 0), 0);
    else
        ck_assert_int_eq(rte_vhost_async_channel_register_thread_unsafe(vid, 0), 0);
    ck_assert_ptr_nonnull(strstr(stub_log(), "left alone"));
    ck_assert_int_eq(rte_vhost_async_channel_register(vid, 2), 0);
    ck_assert_str_eq(stub_log(), "");
    ck_assert_int_eq(arrives(vid, 1), 0);
    /* Its rings are switched off for librte_vhost, too. */
    ck_assert(stub_message(vid, STUB_SET_VRING_ENABLE, 3, 0));
    ck_assert(!stub_enabled(vid, 3));
    stub_disconnect(vid);
    vid = guest_comes(PATH, 4);
    ck_assert_int_eq(arrives(vid, 1), 3);
}
END_TEST

START_TEST(sockets_named_in_the_settings_are_left_alone)
{
    ck_assert_int_eq(setenv("FLOWQ_VHOST", "leave=" OTHER ",max_flows=12,nonsense=1,leave=/tmp/x", 1), 0);
    open_port(PATH);
    open_port(OTHER);
    const char *text = stub_log();
    ck_assert_ptr_nonnull(strstr(text, OTHER ": left alone"));
    ck_assert_ptr_nonnull(strstr(text, "\"nonsense=1\""));
    ck_assert_ptr_eq(stub_ops(OTHER), &program_ops);
    ck_assert_ptr_ne(stub_ops(PATH), &program_ops);
    int vid = guest_comes(OTHER, 4);
    guest_sends(vid, 3, 1);
    ck_assert_int_eq(arrives(vid, 1), 0);
    vid = guest_comes(PATH, 4);
    guest_sends(vid, 3, 1);
    ck_assert_int_eq(arrives(vid, 1), 3);
}
END_TEST

START_TEST(it_can_be_switched_off)
{
    ck_assert_int_eq(setenv("FLOWQ_VHOST", "off", 1), 0);
    open_port(PATH);
    ck_assert_ptr_eq(stub_ops(PATH), &program_ops);
    ck_assert_ptr_null(stub_telemetry("/flowq/ports", ""));
    int vid = guest_comes(PATH, 4);
    guest_sends(vid, 3, 1);
    ck_assert_int_eq(arrives(vid, 1), 0);
    ck_assert_int_eq(rte_vhost_driver_unregister(PATH), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("vhost ports");
    TCase *tc = tcase_create("ports");
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, callbacks_are_the_programs_own);
    tcase_add_test(tc, callbacks_may_be_missing);
    tcase_add_test(tc, rings_go_off_with_the_connection);
    tcase_add_test(tc, a_guest_that_comes_back_finds_its_flows);
    tcase_add_test(tc, tables_belong_to_sockets);
    tcase_add_test(tc, the_connection_that_came_last_is_steered);
    tcase_add_test(tc, a_connection_may_be_refused);
    tcase_add_test(tc, a_path_registered_again_has_new_callbacks);
    tcase_add_test(tc, what_librte_vhost_refuses_is_refused);
    tcase_add_test(tc, ports_are_used_again);
    tcase_add_test(tc, a_list_of_ports_comes_in_pages);
    tcase_add_loop_test(tc, asynchronous_devices_are_left_alone, 0, 2);
    tcase_add_test(tc, sockets_named_in_the_settings_are_left_alone);
    tcase_add_test(tc, it_can_be_switched_off);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
