/*
 * vhost_ways: what check_vhost.sh builds in several ways: a program that has librte_vhost in its own scope, in itself, or
 * by a driver that it loads. It says whether its packets were steered. The stub is the librte_vhost; what there is of it is
 * looked up, so that a program that only loads a driver does without.
 *
 *     vhost_ways [DRIVER]
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <dlfcn.h>
#include <string.h>

#include "frames.h"
#include "stub_vhost.h"

int vhost_ways_play(void);

#ifndef PROGRAM_ONLY
static const struct rte_vhost_device_ops no_callbacks = {0};
static const char path[] = "/tmp/flowq-test.sock";

static struct rte_mbuf *packet(bool out)
{
    struct flowq_tuple t = tuple_v4(FRAME_PROTO_TCP, 0x0a000001, 1000, 0xc0a80001, 443), back = tuple_reverse(&t);
    struct frame f;

    frame_flow(&f, out ? &t : &back, FRAME_ACK);
    return stub_packet(f.bytes, f.len, 1, 0);
}

/* The guest transmits on pair 3; the answer is put into pair 0, as somebody does who knows nothing. */
__attribute__((visibility("default"))) int vhost_ways_play(void)
{
    struct rte_mbuf *one = packet(false), *other = packet(true);

    if (rte_vhost_driver_register(path, 0) != 0 || rte_vhost_driver_callback_register(path, &no_callbacks) != 0)
        return 1;
    int vid = stub_connect(path);
    stub_start(vid, 4);
    if (!stub_transmit(vid, 7, other) || rte_vhost_dequeue_burst(vid, 7, NULL, &other, 1) != 1 ||
        rte_vhost_enqueue_burst(vid, 0, &one, 1) != 1)
        return 1;
    puts(stub_received(vid, 6, NULL, 0) == 1 ? "steered" : stub_received(vid, 0, NULL, 0) == 1 ? "as it comes" : "lost");
    fputs(stub_log(), stdout);
    return rte_vhost_driver_unregister(path);
}
#endif

#ifndef DRIVER_ONLY
int main(int argc, char **argv)
{
#ifdef PROGRAM_ONLY
    int (*play)(void) = NULL;
    void *driver = dlopen(argv[argc - 1], RTLD_NOW | RTLD_LOCAL);
    void *address = driver == NULL ? NULL : dlsym(driver, "vhost_ways_play");

    memcpy(&play, &address, sizeof(play));
    return play == NULL ? 1 : play();
#else
    (void)argc;
    (void)argv;
    return vhost_ways_play();
#endif
}
#endif
