/*
 * plugin: a shared object that has flowq inside, as a host's plugin does that was linked with libflowq.a. For check_plugin.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <stddef.h>

#include "flowq.h"

int plugin_use(void);
int plugin_leave_open(void);

/* The calling thread is registered, a vm comes and goes. 0: as it should be. */
__attribute__((visibility("default"))) int plugin_use(void)
{
    static const uint8_t frame[64];
    const struct flowq_pkt pkt = {.data = frame, .len = sizeof(frame)};
    struct flowq_vm_config cfg = {.size = sizeof(cfg), .max_queue_pairs = 4};
    struct flowq_vm *vm = NULL;
    if (flowq_enter() != 0 || flowq_vm_create(&cfg, &vm) != 0)
        return 1;
    int bad = flowq_vm_set_queue_pairs(vm, 4) != 0 || flowq_rx_steer(vm, &pkt) != 0;
    flowq_leave();
    flowq_vm_maintain(vm);
    flowq_vm_destroy(vm);
    return bad;
}

/* The calling thread ends in a section. */
__attribute__((visibility("default"))) int plugin_leave_open(void) { return flowq_enter(); }

/* Calls are served to the very end: this runs after the library's own destructor, or before it. */
__attribute__((destructor)) static void at_the_end(void) { (void)plugin_use(); }
