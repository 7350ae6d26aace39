/*
 * check_refused: what the log hears of settings that create and configure refuse: which one, its value, what it may be; and the
 * name of the vm. And what is refused that no setting says: memory that is not aligned.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "config.h"
#include "example.h"
#include "runner.h"

static char heard[256]; /* the last line */
static int32_t heard_level;
static unsigned n_heard;

static void hear(void *ctx, int32_t level, const char *message)
{
    ck_assert_ptr_eq(ctx, heard);
    ck_assert_ptr_null(strchr(message, '\n'));
    snprintf(heard, sizeof(heard), "%s", message);
    heard_level = level;
    n_heard++;
}

static struct flowq_vm_config listening(void)
{
    struct flowq_vm_config c = defaults();
    c.log = hear;
    c.log_ctx = heard;
    return c;
}

static void hears(int r, int expected, const char *line)
{
    ck_assert_int_eq(r, expected);
    ck_assert_str_eq(heard, line);
    ck_assert_uint_eq(n_heard, 1);
    ck_assert_int_eq(heard_level, FLOWQ_LOG_ERROR);
    n_heard = 0;
    heard[0] = 0;
}

static int create(const struct flowq_vm_config *c)
{
    struct flowq_vm *made = (void *)heard;
    int r = flowq_vm_create(c, &made);
    ck_assert(!made == (r != 0));
    flowq_vm_destroy(made);
    return r;
}

START_TEST(some_lines_word_for_word)
{
    struct flowq_vm_config c = listening();
    c.fragments = 5;
    hears(create(&c), -EINVAL, "flowq: setting fragments is 5: 8 to 65536, or off");
    c = listening();
    c.max_flows = FLOWQ_OFF;
    c.name = "web-1";
    hears(create(&c), -EINVAL, "flowq web-1: setting max_flows is off: 8 to 134217728");
    c = listening();
    c.key_vlan = 2;
    hears(create(&c), -EINVAL, "flowq: setting key_vlan is 2: on (1) or off");
    c = listening();
    c.tunnels = 1u << 29 | FLOWQ_TUNNEL_VXLAN;
    hears(create(&c), -EINVAL, "flowq: setting tunnels is 0x20000200: bits of 0x3ffff, or off");
    c = listening();
    c.max_flows = 100;
    c.initial_flows = 101;
    hears(create(&c), -EINVAL, "flowq: setting initial_flows is 101: up to max_flows, which is 100");
    c = listening();
    c.idle_ms = 9999;
    hears(create(&c), -EINVAL, "flowq: setting idle_ms is 9999: at least active_ms, which is 10000");
    c = listening();
    c.free = (void (*)(void *, void *, size_t))(void *)free;
    hears(create(&c), -EINVAL, "flowq: setting free is there and the other of alloc and free is not");
    c = listening();
    c.key_reserved2 = 7;
    hears(create(&c), -EINVAL, "flowq: setting key_reserved2 is 7: 0");
    c = listening();
    c.active_ms = 80;
    c.clock_resolution_ns = 10000001;
    hears(create(&c), -EINVAL, "flowq: setting active_ms is 80: eight times the clock's resolution, 10000001 ns");
    struct {
        struct flowq_vm_config c;
        uint32_t more[2];
    } grown = {.c = listening(), .more = {0, 1}};
    grown.c.size = sizeof(grown);
    char line[160];
    snprintf(line, sizeof(line), "flowq: the settings have %zu bytes, of which this version knows %zu: the others must be zero",
             sizeof(grown), sizeof(grown.c));
    hears(create(&grown.c), -E2BIG, line);
}
END_TEST

/* Every setting in config.c's table that has values which are refused. configure() tells the vm's log, not that of
   its argument. */
START_TEST(each_setting_is_named)
{
    const struct config_limit *l = &config_limits[_i];
    struct flowq_vm_config c = listening(), bad = defaults();
    uint32_t value = l->max + 1;
    uint16_t narrow = (uint16_t)value;
    char start_of_line[80];
    if (l->width == 2 && l->max == UINT16_MAX) {
        if (l->min == 1)
            return; /* any port */
        value = narrow = (uint16_t)(l->min - 1);
    }
    c.name = "n";
    start(&c, PAIRS);
    memcpy((char *)&bad + l->offset, l->width == 2 ? (const void *)&narrow : (const void *)&value, l->width);
    snprintf(start_of_line, sizeof(start_of_line),
             l->mask ? "flowq n: setting %s is 0x%" PRIx32 ": " : "flowq n: setting %s is %" PRIu32 ": ", l->name, value);
    ck_assert_int_eq(flowq_vm_configure(vm, &bad), l->fixed ? 0 : -EINVAL);
    ck_assert_uint_eq(n_heard, !l->fixed);
    ck_assert_int_eq(create(&bad), -EINVAL); /* nobody listens */
    bad.log = c.log;
    bad.log_ctx = c.log_ctx;
    bad.name = c.name;
    ck_assert_uint_eq(n_heard, !l->fixed);
    ck_assert_int_eq(create(&bad), -EINVAL);
    ck_assert_uint_eq(n_heard, 1 + !l->fixed);
    ck_assert_msg(strncmp(heard, start_of_line, strlen(start_of_line)) == 0, "%s", heard);
}
END_TEST

START_TEST(names)
{
    struct flowq_vm_config c = listening();
    char name[100] = "0123456789012345678901234567890123456789";
    c.key_vlan = 2;
    c.name = name;
    hears(create(&c), -EINVAL, "flowq 0123456789012345678901234567890: setting key_vlan is 2: on (1) or off");
    strcpy(name, "a\nb\033[1m\177 \xc3\xa4");
    hears(create(&c), -EINVAL, "flowq a?b?[1m? \xc3\xa4: setting key_vlan is 2: on (1) or off");
    strcpy(name, "kept");
    c.key_vlan = 0;
    start(&c, PAIRS);
    strcpy(name, "gone"); /* the vm has a copy */
    c.name = NULL;        /* and configure() does not look */
    c.active_ms = 100;
    hears(flowq_vm_configure(vm, &c), -EINVAL,
          "flowq kept: setting active_ms is 100: eight ticks, of 1073741824 ns, which were chosen when the vm was made");
}
END_TEST

/* ---- Tunnels of another version's header ----------------------------------------------------------------------------------- */

static uint32_t taken(uint32_t tunnels)
{
    struct flowq_vm_config c = {.size = sizeof(c), .tunnels = tunnels}, out;
    struct config_fault fault;
    ck_assert_int_eq(config_read(&c, &out, false, &fault), 0);
    return out.tunnels;
}

START_TEST(all_tunnels_of_whatever_version)
{
    ck_assert_uint_eq(taken(0), CONFIG_TUNNELS);
    ck_assert_uint_eq(taken(FLOWQ_TUNNEL_ALL), CONFIG_TUNNELS);
    ck_assert_uint_eq(taken(FLOWQ_TUNNEL_NONE), 0);
    for (unsigned bit = 0; bit < 30; bit++) {
        uint32_t one = UINT32_C(1) << bit;
        bool known = (CONFIG_TUNNELS & one) != 0;
        struct flowq_vm_config c = defaults();
        ck_assert_uint_eq(taken(FLOWQ_TUNNEL_ALL & ~one), CONFIG_TUNNELS & ~one); /* unknown ones, too */
        ck_assert_uint_eq(taken(FLOWQ_TUNNEL_ALL & ~one & ~(uint32_t)FLOWQ_TUNNEL_VXLAN),
                          CONFIG_TUNNELS & ~one & ~(uint32_t)FLOWQ_TUNNEL_VXLAN);
        c.tunnels = one;
        ck_assert_int_eq(create(&c), known ? 0 : -EINVAL);
        c.tunnels = one | FLOWQ_TUNNEL_VXLAN;
        ck_assert_int_eq(create(&c), known ? 0 : -EINVAL);
        c.tunnels = UINT32_C(1) << 31 | (FLOWQ_TUNNEL_ALL & ~one); /* neither all nor none */
        ck_assert_int_eq(create(&c), -EINVAL);
    }
    ck_assert_uint_eq(taken(FLOWQ_TUNNEL_ALL & ~CONFIG_TUNNELS), 0); /* all of those that we do not know */
}
END_TEST

/* ---- Memory ---------------------------------------------------------------------------------------------------------------- */

/* An allocator whose results are off by some bytes, from the n-th one on. */
static struct crooked {
    unsigned n, from, off;
    size_t out; /* bytes not given back */
} crooked;

static void *crooked_alloc(void *ctx, size_t size, size_t align, int32_t node)
{
    struct crooked *k = ctx;
    (void)node;
    char *p = aligned_alloc(align, (size + 2 * align - 1) / align * align + align);
    ck_assert_ptr_nonnull(p);
    k->out += size;
    return p + (k->n++ >= k->from ? k->off : 0);
}

static void crooked_free(void *ctx, void *ptr, size_t size)
{
    struct crooked *k = ctx;
    k->out -= size;
    free((void *)((uintptr_t)ptr & ~(uintptr_t)63));
}

START_TEST(memory_that_is_not_aligned)
{
    static const unsigned offs[] = {1, 4, 8, 16, 32};
    struct flowq_vm_config c = listening();
    c.alloc = crooked_alloc;
    c.free = crooked_free;
    c.alloc_ctx = &crooked;
    c.max_flows = c.initial_flows = 1000;
    crooked = (struct crooked){.from = UINT32_MAX};
    ck_assert_int_eq(create(&c), 0);
    unsigned all = crooked.n;
    ck_assert_uint_ge(all, 2); /* the vm, and its table's */
    for (unsigned i = 0; i < sizeof(offs) / sizeof(offs[0]); i++)
        for (unsigned from = 0; from < all; from++) {
            crooked = (struct crooked){.from = from, .off = offs[i]};
            hears(create(&c), -EINVAL, "flowq: setting alloc gave memory that is not aligned as it was asked to");
            ck_assert_uint_eq(crooked.out, 0);
        }
    /* Later it is no memory: notes are refused, and go on when there is some. */
    c.initial_flows = 0;
    c.max_flows = 4096;
    crooked = (struct crooked){.from = 1, .off = 8};
    start(&c, PAIRS);
    ck_assert_uint_eq(note(tcp(1), 3), FLOWQ_NOTE_REFUSED);
    ck_assert_uint_gt(stats().grow_failed, 0);
    crooked.off = 0;
    ck_assert_uint_eq(note(tcp(1), 3), FLOWQ_NOTE_BOUND);
    crooked.off = 8;
    for (uint32_t i = 2; i < 4000; i++)
        note(tcp(i), i % PAIRS);
    ck_assert_uint_gt(stats().grow_failed, 1);
    is_bound(tcp(1), 3);
    tear_down();
    ck_assert_uint_eq(crooked.out, 0);
}
END_TEST

/* ---- NULL on the data path: a trap in a library made with --enable-debug ------------------------------------------------- */

#ifdef FLOWQ_DEBUG
static const struct flowq_pkt some = {.data = "", .len = 0};
static struct flowq_vm *const no_vms[2];
static uint16_t some_qids[2];
static struct flowq_decision some_out[2];

static void null_call(int i)
{
    switch (i) {
    case 0:
        flowq_tx_note(NULL, &some, 0);
        break;
    case 1:
        flowq_tx_note(vm, NULL, 0);
        break;
    case 2:
        flowq_tx_note_burst(NULL, &some, 1, 0);
        break;
    case 3:
        flowq_tx_note_burst(vm, NULL, 1, 0);
        break;
    case 4:
        flowq_rx_steer(NULL, &some);
        break;
    case 5:
        flowq_rx_steer(vm, NULL);
        break;
    case 6:
        flowq_rx_steer_burst(NULL, &some, 1, some_qids);
        break;
    case 7:
        flowq_rx_steer_burst(vm, NULL, 1, some_qids);
        break;
    case 8:
        flowq_rx_steer_burst(vm, &some, 1, NULL);
        break;
    case 9:
        flowq_rx_decide_burst(NULL, &some, 1, some_out);
        break;
    case 10:
        flowq_rx_decide_burst(vm, NULL, 1, some_out);
        break;
    case 11:
        flowq_rx_decide_burst(vm, &some, 1, NULL);
        break;
    case 12:
        flowq_rx_steer_burst_vms(no_vms, &some, 1, some_qids);
        break;
    case 13:
        flowq_rx_steer_burst_vms(NULL, &some, 1, some_qids);
        break;
    case 14:
        flowq_rx_decide_burst_vms(no_vms, &some, 1, some_out);
        break;
    case 15:
        flowq_rx_decide_burst_vms(&vm, &some, 1, NULL);
        break;
    default:
        break;
    }
}
#define N_NULL_CALLS 16

START_TEST(null_traps) { null_call(_i); }
END_TEST
#endif

/* Nothing is done with no packets, wherever they would be. */
START_TEST(bursts_of_nothing)
{
    flowq_tx_note_burst(vm, NULL, 0, 0);
    flowq_rx_steer_burst(vm, NULL, 0, NULL);
    flowq_rx_decide_burst(vm, NULL, 0, NULL);
    flowq_rx_steer_burst_vms(NULL, NULL, 0, NULL);
    flowq_rx_decide_burst_vms(NULL, NULL, 0, NULL);
    struct flowq_stats s = stats();
    for (unsigned i = 0; i < FLOWQ_REASON_SLOTS; i++)
        ck_assert_uint_eq(s.steer[i], 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("refused");
    TCase *tc = tcase_create("refused");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, some_lines_word_for_word);
    tcase_add_loop_test(tc, each_setting_is_named, 0, (int)config_n_limits);
    tcase_add_test(tc, names);
    tcase_add_test(tc, all_tunnels_of_whatever_version);
    tcase_add_test(tc, memory_that_is_not_aligned);
    tcase_add_test(tc, bursts_of_nothing);
#ifdef FLOWQ_DEBUG
#if defined(__x86_64__) || defined(__i386__)
    tcase_add_loop_test_raise_signal(tc, null_traps, SIGILL, 0, N_NULL_CALLS);
#else
    tcase_add_loop_test_raise_signal(tc, null_traps, SIGTRAP, 0, N_NULL_CALLS);
#endif
#endif
    suite_add_tcase(s, tc);
    return suite_run(s);
}
