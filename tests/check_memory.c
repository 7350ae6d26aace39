/*
 * check_memory: where a vm's memory comes from, how much it is, that it may be refused at any time, and that it all comes back.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "frames.h"
#include "runner.h"
#include "seed.h"

#define SECOND UINT64_C(1000000000)
#define PAIRS  4
#define SLAB   ((size_t)2 << 20) /* large tables get memory in pieces of this size */

/* ---- An allocator that keeps accounts and can refuse ----------------------------------------------------------------------- */

#define MAX_BLOCKS 100000
static struct block {
    void *at;
    size_t size;
} blocks[MAX_BLOCKS];
static size_t n_blocks, bytes_now, bytes_most, n_allocs, n_frees, refuse_from, refuse_to;
static int32_t last_node;
static char context[1];
static uint64_t now_ns;

/* refuse_from, refuse_to: the calls (from 1) that get nothing; 0: none. */
static void *test_alloc(void *ctx, size_t size, size_t align, int32_t node)
{
    ck_assert_ptr_eq(ctx, context);
    ck_assert_uint_gt(size, 0);
    ck_assert(align != 0 && (align & (align - 1)) == 0);
    last_node = node;
    n_allocs++;
    if (n_allocs >= refuse_from && n_allocs < refuse_to)
        return NULL;
    size_t round = (size + align - 1) / align * align;
    char *at = aligned_alloc(align, round);
    ck_assert_ptr_nonnull(at);
    memset(at, 0xa5, size < 65536 ? size : 65536); /* the contents do not matter */
    ck_assert_uint_lt(n_blocks, MAX_BLOCKS);
    blocks[n_blocks++] = (struct block){at, size};
    bytes_now += size;
    bytes_most = bytes_now > bytes_most ? bytes_now : bytes_most;
    return at;
}

static void test_free(void *ctx, void *ptr, size_t size)
{
    ck_assert_ptr_eq(ctx, context);
    ck_assert_ptr_nonnull(ptr);
    size_t i = 0;
    while (i < n_blocks && blocks[i].at != ptr)
        i++;
    ck_assert_msg(i < n_blocks, "freed what was not allocated, or twice");
    ck_assert_msg(blocks[i].size == size, "freed %zu bytes of %zu", size, blocks[i].size);
    blocks[i] = blocks[--n_blocks];
    bytes_now -= size;
    n_frees++;
    memset(ptr, 0x5a, size < 65536 ? size : 65536);
    free(ptr);
}

static uint64_t test_clock(void *ctx)
{
    (void)ctx;
    return now_ns;
}

static void set_up(void)
{
    n_blocks = bytes_now = bytes_most = n_allocs = n_frees = refuse_from = refuse_to = 0;
    now_ns = 100 * SECOND;
}

static void tear_down(void) { ck_assert_msg(n_blocks == 0 && bytes_now == 0, "%zu blocks leaked", n_blocks); }

static void refuse(size_t from, size_t to)
{
    refuse_from = n_allocs + from;
    refuse_to = n_allocs + to;
}

static struct flowq_vm_config config(uint32_t max_flows, uint32_t initial_flows)
{
    struct flowq_vm_config c = {
        .size = sizeof(c), .max_queue_pairs = PAIRS, .max_flows = max_flows, .initial_flows = initial_flows};
    c.alloc = test_alloc;
    c.free = test_free;
    c.alloc_ctx = context;
    c.clock_ns = test_clock;
    return c;
}

static struct flowq_vm *create(const struct flowq_vm_config *c)
{
    struct flowq_vm *vm;
    ck_assert_int_eq(flowq_vm_create(c, &vm), 0);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, PAIRS), 0);
    return vm;
}

static uint32_t note(struct flowq_vm *vm, uint32_t i)
{
    struct flowq_tuple t = tuple_v4(FRAME_PROTO_TCP, 1, 80, i + 2, 1024);
    struct frame f;
    frame_flow(&f, &t, FRAME_ACK);
    struct flowq_pkt pkt = frame_pkt(&f);
    return flowq_tx_note(vm, &pkt, i % PAIRS);
}

static bool is_bound(struct flowq_vm *vm, uint32_t i)
{
    struct flowq_tuple t = tuple_v4(FRAME_PROTO_TCP, i + 2, 1024, 1, 80);
    struct frame f;
    struct flowq_decision d;
    frame_flow(&f, &t, FRAME_ACK);
    struct flowq_pkt pkt = frame_pkt(&f);
    flowq_rx_decide_burst(vm, &pkt, 1, &d);
    ck_assert_uint_lt(d.qid, PAIRS);
    ck_assert(d.reason != FLOWQ_REASON_BOUND || d.qid == i % PAIRS);
    return d.reason == FLOWQ_REASON_BOUND;
}

static struct flowq_stats stats(struct flowq_vm *vm)
{
    struct flowq_stats s = {.size = sizeof(s)};
    ck_assert_int_eq(flowq_vm_stats(vm, &s), 0);
    ck_assert_uint_eq(s.inserted,
                      s.live + s.displaced_embryonic + s.displaced_closing + s.displaced_established + s.reclaimed + s.forgotten);
    return s;
}

static void settle(struct flowq_vm *vm, unsigned calls)
{
    for (unsigned i = 0; i < calls; i++)
        flowq_vm_maintain(vm);
}

/* ---- An allocator whose pages show whether they have been touched -------------------------------------------------------- */

enum { PAGE = 4096 };

static void *page_alloc(void *ctx, size_t size, size_t align, int32_t node)
{
    (void)ctx, (void)node;
    size_t room = (size + PAGE - 1) / PAGE * PAGE + (align > PAGE ? align : 0);
    char *at = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(at != MAP_FAILED);
    (void)madvise(at, room, MADV_NOHUGEPAGE);
    if (align > PAGE)
        at += (align - (uintptr_t)at % align) % align;
    ck_assert_uint_lt(n_blocks, MAX_BLOCKS);
    blocks[n_blocks++] = (struct block){at, size};
    return at;
}

/* Kept: its pages are still counted. */
static void page_free(void *ctx, void *ptr, size_t size) { (void)ctx, (void)ptr, (void)size; }

static size_t pages_touched(void)
{
    size_t n = 0;
    for (size_t i = 0; i < n_blocks; i++) {
        unsigned char in_core[SLAB / PAGE + 1];
        size_t n_pages = (blocks[i].size + PAGE - 1) / PAGE;
        ck_assert_uint_le(n_pages, sizeof(in_core));
        ck_assert_int_eq(mincore(blocks[i].at, n_pages * PAGE, in_core), 0);
        for (size_t p = 0; p < n_pages; p++)
            n += in_core[p] & 1;
    }
    return n;
}

/* ---- Refused --------------------------------------------------------------------------------------------------------------- */

static const struct {
    uint32_t max_flows, initial_flows, pairs, rebind_us, queue_stats;
} shapes[] = {{8, 0, 0, 0, 0}, {65536, 65536, 0, 0, 0}, {5000, 3, 32768, 1000, 0}, {200000, 100000, 4, 0, FLOWQ_ON}};

START_TEST(creation_without_memory)
{
    struct flowq_vm_config c = config(shapes[_i].max_flows, shapes[_i].initial_flows);
    c.max_queue_pairs = shapes[_i].pairs;
    c.rebind_min_other_us = shapes[_i].rebind_us;
    c.queue_stats = shapes[_i].queue_stats;
    struct flowq_vm *vm;
    ck_assert_int_eq(flowq_vm_create(&c, &vm), 0);
    flowq_vm_destroy(vm);
    size_t needed = n_allocs;
    ck_assert_uint_ge(needed, shapes[_i].initial_flows ? 2 : 1);
    for (size_t i = 1; i <= needed; i++) {
        refuse(i, i + 1);
        vm = (void *)context;
        ck_assert_int_eq(flowq_vm_create(&c, &vm), -ENOMEM);
        ck_assert_ptr_null(vm);
        ck_assert_uint_eq(n_blocks, 0);
    }
}
END_TEST

/* What a guest configures: refused, nothing changes, and the next time it goes. Through calls and, what it can, as commands. */
START_TEST(configurations_without_memory)
{
    static const uint8_t key[40] = {1}, hash_config[] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 7};
    static const uint8_t rss_config[] = {1, 0, 0, 0, 0, 0, 1,
                                         0, 1, 0, 2, 0, 1, 7}; /* a table of queue 1 alone, two pairs, a key */
    static const uint16_t table[1] = {1};
    const struct flowq_rss rss = {.size = sizeof(rss), .table = table, .table_length = 1, .unclassified = 1, .max_tx = 2};
    const struct iovec commands[2] = {{(void *)hash_config, sizeof(hash_config)}, {(void *)rss_config, sizeof(rss_config)}};
    struct flowq_vm_config c = config(100, 0);
    c.virtio_features = _i ? FLOWQ_VIRTIO_F_RSS : FLOWQ_VIRTIO_F_HASH_REPORT;
    struct flowq_vm *vm = create(&c);
    for (unsigned again = 0; again < 2; again++) {
        const int expected = again ? 0 : -ENOMEM;
        refuse(1, again ? 1 : 3);
        ck_assert_int_eq(_i ? flowq_vm_set_rss(vm, &rss) : flowq_vm_set_hash(vm, FLOWQ_HASH_TYPE_IPV4, key, 40), expected);
        ck_assert_uint_eq(
            flowq_vm_ctrl(vm, FLOWQ_CTRL_MQ, _i ? FLOWQ_CTRL_MQ_RSS_CONFIG : FLOWQ_CTRL_MQ_HASH_CONFIG, &commands[_i], 1),
            again ? FLOWQ_CTRL_OK : FLOWQ_CTRL_ERR);
        ck_assert_uint_eq(stats(vm).queues_in_use, _i && again ? 2 : PAIRS);
    }
    flowq_vm_destroy(vm);
}
END_TEST

/* Growth refused once, at each point in turn: flows are refused meanwhile, nothing is lost, and it goes on. */
START_TEST(growth_without_memory)
{
    enum { FLOWS = 10000 };
    for (size_t at = 1; at < 60; at += _i ? 7 : (SEED_SLOWNESS + 1) / 2) {
        struct flowq_vm_config c = config(FLOWS, 1);
        c.rebind_min_tcp_us = _i ? 1000 : 0;
        struct flowq_vm *vm = create(&c);
        uint32_t bound = 0, first_refused = FLOWS;
        refuse(at, at + 1 + 5 * (at % 3));
        for (uint32_t i = 0; i < FLOWS; i++) {
            uint32_t outcome = note(vm, i);
            ck_assert(outcome == FLOWQ_NOTE_BOUND || outcome == FLOWQ_NOTE_REFUSED);
            bound += outcome == FLOWQ_NOTE_BOUND;
            if (outcome == FLOWQ_NOTE_REFUSED && first_refused == FLOWS)
                first_refused = i;
        }
        struct flowq_stats s = stats(vm);
        ck_assert_uint_eq(s.live, bound);
        ck_assert_uint_ge(bound, FLOWS - 200);
        ck_assert(s.grow_failed > 0 || n_allocs < refuse_to);
        ck_assert(first_refused == FLOWS || s.grow_failed > 0);
        uint32_t found = 0;
        for (uint32_t i = 0; i < FLOWS; i++)
            found += is_bound(vm, i);
        ck_assert_uint_eq(found, bound);
        ck_assert_uint_eq(stats(vm).vm_bytes, bytes_now);
        flowq_vm_destroy(vm);
        ck_assert_uint_eq(n_blocks, 0);
    }
}
END_TEST

START_TEST(never_any_memory_again)
{
    struct flowq_vm_config c = config(100000, 0);
    struct flowq_vm *vm = create(&c);
    refuse(1, SIZE_MAX / 2);
    for (uint32_t i = 0; i < 1000; i++) {
        ck_assert_uint_eq(note(vm, i), FLOWQ_NOTE_REFUSED);
        ck_assert(!is_bound(vm, i));
    }
    ck_assert_uint_ge(stats(vm).grow_failed, 1000);
    settle(vm, 10);
    refuse_from = refuse_to = 0;
    ck_assert_uint_eq(note(vm, 1), FLOWQ_NOTE_BOUND);
    flowq_vm_destroy(vm);
}
END_TEST

/* Shrinking wants memory, too; without, the table stays as it is. */
START_TEST(shrinking_without_memory)
{
    struct flowq_vm_config c = config(50000, 0);
    c.active_ms = 1000;
    c.idle_ms = 10000;
    struct flowq_vm *vm = create(&c);
    for (uint32_t i = 0; i < 30000; i++)
        note(vm, i);
    now_ns += 9 * SECOND;
    for (uint32_t i = 0; i < 500; i++)
        note(vm, i);
    now_ns += 5 * SECOND; /* all but these are stale */
    flowq_vm_reset(vm, 0);
    refuse(1, SIZE_MAX / 2);
    settle(vm, 200);
    for (uint32_t i = 0; i < 500; i++)
        ck_assert(is_bound(vm, i));
    ck_assert_uint_eq(stats(vm).vm_bytes, bytes_now);
    refuse_from = refuse_to = 0;
    settle(vm, 200);
    for (uint32_t i = 0; i < 500; i++)
        ck_assert(is_bound(vm, i));
    flowq_vm_destroy(vm);
}
END_TEST

/* ---- Not asked for --------------------------------------------------------------------------------------------------------- */

START_TEST(initial_room_for_all_is_all)
{
    static const uint32_t sizes[] = {8, 64, 100, 1024, 5000, 20000, 65536, 150000};
    struct flowq_vm_config c = config(sizes[_i], sizes[_i]);
    c.active_ms = 1000;
    c.idle_ms = 10000;
    struct flowq_vm *vm = create(&c);
    size_t before = n_allocs;
    for (uint32_t i = 0; i < 4 * sizes[_i]; i++)
        note(vm, i);
    ck_assert_uint_ge(stats(vm).live, sizes[_i]);
    now_ns += 60 * SECOND;
    settle(vm, 20);
    for (uint32_t i = 0; i < 4 * sizes[_i]; i++)
        note(vm, i);
    flowq_vm_reset(vm, FLOWQ_RESET_FLOWS);
    settle(vm, 20);
    for (uint32_t i = 0; i < sizes[_i]; i++)
        ck_assert_uint_eq(note(vm, i), FLOWQ_NOTE_BOUND);
    ck_assert_uint_eq(n_allocs, before);
    ck_assert_uint_eq(n_frees, 0);
    flowq_vm_destroy(vm);
}
END_TEST

START_TEST(only_notes_and_maintain_ask_for_memory)
{
    struct flowq_vm_config c = config(20000, 0);
    struct flowq_vm *vm = create(&c);
    struct flowq_queue_stats q = {.size = sizeof(q)};
    struct flowq_binding b = {.size = sizeof(b)};
    struct flowq_tuple t = tuple_v4(FRAME_PROTO_TCP, 3, 1024, 1, 80);
    for (uint32_t i = 0; i < 10000; i++)
        note(vm, i);
    size_t before = n_allocs;
    for (uint32_t i = 0; i < 20000; i++)
        is_bound(vm, i);
    for (uint32_t i = 0; i < 100; i++) {
        flowq_vm_set_queue_pairs(vm, 1 + i % PAIRS);
        flowq_vm_set_queue_enabled(vm, i % PAIRS, i & 8);
        flowq_vm_set_queue_resetting(vm, i % PAIRS, i & 16);
        ck_assert_int_eq(flowq_vm_configure(vm, &c), 0);
        flowq_vm_lookup(vm, &t, &b);
        flowq_vm_queue_stats(vm, i % PAIRS, &q);
        stats(vm);
        flowq_vm_reset(vm, FLOWQ_RESET_QUEUES | FLOWQ_RESET_CONFIG);
    }
    flowq_vm_reset(vm, FLOWQ_RESET_FLOWS);
    ck_assert_uint_eq(n_allocs, before);
    flowq_vm_destroy(vm);
}
END_TEST

START_TEST(an_idle_vm_is_small)
{
    struct flowq_vm_config c = config(0, 0);
    c.max_queue_pairs = 0;
    struct flowq_vm *vm = create(&c);
    ck_assert_uint_le(bytes_now, 16384);
    ck_assert_uint_eq(stats(vm).vm_bytes, bytes_now);
    flowq_vm_destroy(vm);
}
END_TEST

START_TEST(the_node_is_handed_on)
{
    struct flowq_vm_config c = config(8, 0);
    struct flowq_vm *vm = create(&c);
    ck_assert_int_eq(last_node, -1);
    flowq_vm_destroy(vm);
    c.numa_node = 1 + 3;
    vm = create(&c);
    ck_assert_int_eq(last_node, 3);
    note(vm, 1);
    ck_assert_int_eq(last_node, 3);
    flowq_vm_destroy(vm);
}
END_TEST

/* ---- Bounded --------------------------------------------------------------------------------------------------------------- */

/* Notes `flows` distinct flows, 1 ms apart; returns the most bytes there were. */
static size_t most_bytes(struct flowq_vm *vm, uint32_t flows, uint64_t step_ns)
{
    bytes_most = bytes_now;
    for (uint32_t i = 0; i < flows; i++) {
        note(vm, i);
        now_ns += step_ns;
        if (i % 5000 == 0) {
            struct flowq_stats s = stats(vm);
            ck_assert_uint_eq(s.vm_bytes, bytes_now);
            ck_assert_uint_le(s.retired_bytes, s.table_bytes);
        }
    }
    return bytes_most;
}

START_TEST(max_flows_bounds_memory_for_good)
{
    struct flowq_vm_config c = config(400000, 0);
    struct flowq_vm *vm = create(&c);
    size_t fixed = bytes_now, most = most_bytes(vm, 1000000, 100);
    ck_assert_uint_ge(stats(vm).live, 400000);
    /* 17 bytes a flow, an eighth more; slabs of 2 MiB, one of which may be nearly empty, and one more for what
       growth superseded. */
    ck_assert_msg(most - fixed <= (size_t)400000 * 20 + 2 * SLAB, "%zu bytes", most - fixed);
    flowq_vm_destroy(vm);
}
END_TEST

/* A section stays open all the time: nothing superseded can be freed. Each split of a shard supersedes one and makes two, so that
   is never more than the table. */
START_TEST(a_stalled_section_costs_a_bounded_amount)
{
    struct flowq_vm_config c = config(60000, 0);
    struct flowq_vm *vm = create(&c);
    size_t usual = most_bytes(vm, 200000, 1000);
    ck_assert_uint_ge(stats(vm).live, 60000);
    flowq_vm_destroy(vm);

    vm = create(&c);
    for (uint32_t i = 0; i < 3000; i++)
        note(vm, i);
    ck_assert_int_eq(flowq_enter(), 0);
    size_t stalled = most_bytes(vm, 200000, 1000);
    ck_assert_uint_le(stalled, 2 * usual);
    struct flowq_stats s = stats(vm);
    ck_assert_uint_eq(s.grow_delayed, 0);
    ck_assert_uint_gt(s.retired_bytes, 0);
    ck_assert_uint_le(s.retired_bytes, s.table_bytes / 2);
    ck_assert_uint_ge(s.live, 60000);
    flowq_leave();
    /* Then it goes on, and what was superseded is freed. */
    settle(vm, 10);
    ck_assert_uint_eq(stats(vm).retired_bytes, 0);
    for (uint32_t i = 200000; i < 260000; i++)
        note(vm, i);
    ck_assert_uint_gt(stats(vm).live, 60000);
    ck_assert_uint_eq(stats(vm).retired_bytes, 0);
    flowq_vm_destroy(vm);
}
END_TEST

/* Up and down, up and down, in an open section: shrinking must not pile up what it supersedes either. */
START_TEST(a_stalled_section_and_shrinking)
{
    struct flowq_vm_config c = config(60000, 0);
    c.active_ms = 1000;
    c.idle_ms = 5000;
    struct flowq_vm *vm = create(&c);
    size_t usual = most_bytes(vm, 60000, 0), most = 0;
    ck_assert_int_eq(flowq_enter(), 0);
    for (unsigned round = 0; round < 8; round++) {
        now_ns += 60 * SECOND;
        settle(vm, 100);
        for (uint32_t i = 0; i < 60000; i++)
            note(vm, round * 60000 + i);
        most = bytes_most > most ? bytes_most : most;
    }
    ck_assert_uint_le(most, 3 * usual);
    flowq_leave();
    flowq_vm_destroy(vm);
}
END_TEST

START_TEST(memory_comes_back_after_a_peak)
{
    struct flowq_vm_config c = config(400000, 0);
    c.active_ms = 1000;
    c.idle_ms = 5000;
    struct flowq_vm *vm = create(&c);
    size_t idle = bytes_now;
    for (uint32_t i = 0; i < 300000; i++)
        note(vm, i);
    size_t peak = bytes_now;
    now_ns += 10 * SECOND;
    for (uint32_t i = 0; i < 100; i++)
        note(vm, i);
    now_ns += 4 * SECOND;
    for (unsigned i = 0; i < 3000; i++) {
        flowq_vm_maintain(vm);
        note(vm, i % 100);
    }
    struct flowq_stats s = stats(vm);
    ck_assert_uint_gt(s.shrunk, 0);
    ck_assert_msg(bytes_now < idle + (peak - idle) / 16, "%zu bytes at the peak, %zu after", peak, bytes_now);
    for (uint32_t i = 0; i < 100; i++)
        ck_assert(is_bound(vm, i));
    ck_assert_uint_eq(s.live + s.reclaimed, s.inserted);
    flowq_vm_reset(vm, FLOWQ_RESET_FLOWS);
    settle(vm, 3000);
    ck_assert_uint_eq(stats(vm).live, 0);
    ck_assert_uint_le(bytes_now, idle + 20000); /* as good as new */
    flowq_vm_destroy(vm);
}
END_TEST

/* A note splits one shard at most, and touches no more pages for the first time than the two halves have. Mutation: shard_take()
   clears a new slab. */
START_TEST(growth_takes_small_steps)
{
    if (getenv("FLOWQ_EMULATED")) {
        printf("skipped: an emulator need not say truly which pages are there\n");
        return;
    }
    enum { SHARD = 256 * 64 + 64, HALF_PAGES = SHARD / PAGE + 2, OTHER_PAGES = 4 /* head of a slab, a directory */ };
    struct flowq_vm_config c = config(200000, 0);
    c.alloc = page_alloc;
    c.free = page_free;
    struct flowq_vm *vm = create(&c);
    uint64_t grown = 0;
    size_t touched = pages_touched(), most = 0;
    for (uint32_t i = 0; i < 150000; i++) {
        ck_assert_uint_eq(note(vm, i), FLOWQ_NOTE_BOUND);
        uint64_t now = stats(vm).grown;
        if (now == grown)
            continue;
        size_t pages = pages_touched();
        ck_assert_uint_le(now - grown, 1);
        ck_assert_msg(pages - touched <= 2 * HALF_PAGES + OTHER_PAGES, "%zu pages at once", pages - touched);
        most = pages - touched > most ? pages - touched : most;
        touched = pages;
        grown = now;
    }
    ck_assert_uint_gt(grown, 64);
    ck_assert_uint_gt(n_blocks, 4); /* slabs, too */
    printf("growth to 150000 flows: %" PRIu64 " steps, at most %zu pages touched by one, %zu in all\n", grown, most, touched);
    flowq_vm_destroy(vm);
    n_blocks = 0;
}
END_TEST

START_TEST(destroy_in_an_open_section)
{
    struct flowq_vm_config c = config(20000, 0);
    struct flowq_vm *vm = create(&c);
    ck_assert_int_eq(flowq_enter(), 0);
    for (uint32_t i = 0; i < 20000; i++)
        note(vm, i);
    flowq_vm_destroy(vm); /* never waits */
    ck_assert_uint_eq(n_blocks, 0);
    flowq_leave();
}
END_TEST

/* ---- Log ------------------------------------------------------------------------------------------------------------------- */

static unsigned n_lines;
static char last_line[128];

static void count_line(void *ctx, int32_t level, const char *message)
{
    ck_assert_ptr_eq(ctx, context);
    ck_assert_int_eq(level, FLOWQ_LOG_WARNING);
    ck_assert_uint_gt(strlen(message), 0);
    ck_assert_ptr_null(strchr(message, '\n'));
    snprintf(last_line, sizeof(last_line), "%s", message);
    n_lines++;
}

/* Once, and with the cause: there is no more room; or the allocator gives nothing after the first shards. */
START_TEST(the_log_hears_of_refusals_but_not_from_the_data_path)
{
    struct flowq_vm_config c = config(_i ? 100000 : 8, _i ? 1000 : 0);
    c.log = count_line;
    c.log_ctx = context;
    struct flowq_vm *vm = create(&c);
    refuse_from = _i ? n_allocs + 1 : 0;
    refuse_to = _i ? SIZE_MAX : 0;
    for (uint32_t i = 0; i < 10000; i++)
        note(vm, i);
    ck_assert_uint_gt(stats(vm).note[FLOWQ_NOTE_REFUSED], 0);
    ck_assert_uint_eq(n_lines, 0);
    settle(vm, 5);
    ck_assert_uint_eq(n_lines, 1);
    ck_assert_ptr_nonnull(strstr(last_line, _i ? "memory" : "max_flows"));
    ck_assert_ptr_null(strstr(last_line, _i ? "max_flows" : "memory"));
    flowq_vm_destroy(vm);
}
END_TEST

int main(void)
{
    (void)seed_get("check_memory");
    Suite *s = suite_create("memory");
    TCase *tc = tcase_create("memory");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 300);
    tcase_add_loop_test(tc, creation_without_memory, 0, 4);
    tcase_add_loop_test(tc, configurations_without_memory, 0, 2);
    tcase_add_loop_test(tc, growth_without_memory, 0, 2);
    tcase_add_test(tc, never_any_memory_again);
    tcase_add_test(tc, shrinking_without_memory);
    tcase_add_loop_test(tc, initial_room_for_all_is_all, 0, 8);
    tcase_add_test(tc, only_notes_and_maintain_ask_for_memory);
    tcase_add_test(tc, an_idle_vm_is_small);
    tcase_add_test(tc, the_node_is_handed_on);
    tcase_add_test(tc, max_flows_bounds_memory_for_good);
    tcase_add_test(tc, a_stalled_section_costs_a_bounded_amount);
    tcase_add_test(tc, a_stalled_section_and_shrinking);
    tcase_add_test(tc, memory_comes_back_after_a_peak);
    tcase_add_test(tc, growth_takes_small_steps);
    tcase_add_test(tc, destroy_in_an_open_section);
    tcase_add_loop_test(tc, the_log_hears_of_refusals_but_not_from_the_data_path, 0, 2);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
