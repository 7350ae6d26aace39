/*
 * check_seccomp: the calls of the data path under a filter that allows only the system calls that flowq(7) lists for them.
 *
 * Each case runs in a child of its own. A forbidden system call ends it with SIGSYS, whose handler says which one it was.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "frames.h"
#include "runner.h"
#include "seed.h"
#include "vm.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define SKIPPED 77

/* ---- Filters --------------------------------------------------------------------------------------------------------------- */

/* Ends the process, by a system call of its own, which the filter allows; so is write. */
static void on_forbidden(int signal, siginfo_t *info, void *context)
{
    char text[] = "system call number 0000\n";
    (void)signal;
    (void)context;
    for (int i = 22, n = info->si_syscall; n > 0; n /= 10, i--)
        text[i] = (char)('0' + n % 10);
    ssize_t ignored = write(2, text, sizeof(text) - 1);
    (void)ignored;
    _exit(1);
}

/* Machines of 32 bits have these calls twice. */
#ifdef SYS_mmap2
#define MMAP SYS_mmap2
#else
#define MMAP SYS_mmap
#endif
#ifdef SYS_futex_time64
#define FUTEX     SYS_futex, SYS_futex_time64
#define NANOSLEEP SYS_clock_nanosleep, SYS_clock_nanosleep_time64
#else
#define FUTEX     SYS_futex
#define NANOSLEEP SYS_clock_nanosleep
#endif
#define MEMORY SYS_brk, MMAP, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, FUTEX

static const int no_calls[] = {-1};
static const int memory_calls[] = {MEMORY, -1};
static const int yield_call[] = {SYS_sched_yield, -1};
static const int lock_calls[] = {FUTEX, SYS_sched_yield, -1};
static const int wait_calls[] = {SYS_sched_yield, NANOSLEEP, -1};
static const int random_calls[] = {MEMORY, SYS_getrandom, -1};

/* From here on: these system calls, write and exit. getrandom_error: what getrandom gives, 0: it works where it is allowed. */
static void allow_only(const int *calls, int getrandom_error)
{
    struct sock_filter f[64];
    unsigned short n = 0;
    struct sigaction action = {.sa_sigaction = on_forbidden, .sa_flags = SA_SIGINFO};
    sigaction(SIGSYS, &action, NULL);
    f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    if (getrandom_error) {
        f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 0, 1);
        f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)getrandom_error);
    }
    const int always[] = {SYS_write, SYS_exit_group, SYS_rt_sigreturn, -1};
    const int *lists[] = {calls, always};
    for (unsigned l = 0; l < 2; l++)
        for (const int *call = lists[l]; *call >= 0; call++) {
            f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)*call, 0, 1);
            f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
        }
    f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
    struct sock_fprog program = {.len = n, .filter = f};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(SKIPPED);
}

/* ---- What is called -------------------------------------------------------------------------------------------------------- */

#define FLOWS 3000
#define PAIRS 4

static struct frame tx[FLOWS], rx[FLOWS], first, later, error, arp;
static struct flowq_vm *vm;

static void build(void)
{
    struct flowq_tuple a = tuple_v6(FRAME_PROTO_UDP, 1, 53, 2, 1024), in = tuple_reverse(&a);
    for (uint32_t i = 0; i < FLOWS; i++) {
        struct flowq_tuple out = tuple_v4(FRAME_PROTO_TCP, 1, 80, i + 2, 1024), back = tuple_reverse(&out);
        frame_flow(&tx[i], &out, FRAME_ACK);
        frame_flow(&rx[i], &back, FRAME_ACK);
    }
    frame_fragment(&first, &in, 7, 0, true);
    frame_fragment(&later, &in, 7, 640, false);
    frame_icmp_error(&error, &in, &a, 1000);
    frame_arp(&arp);
}

static uint64_t test_clock(void *ctx)
{
    (void)ctx;
    return UINT64_C(123456789000);
}

/* The default clock is the vDSO's: no system call where the kernel provides it. */
static void create(uint32_t initial_flows, bool default_clock)
{
    struct flowq_vm_config c = {.size = sizeof(c), .max_flows = 100000, .initial_flows = initial_flows};
    c.clock_ns = default_clock ? NULL : test_clock;
    if (flowq_vm_create(&c, &vm) != 0 || flowq_vm_set_queue_pairs(vm, PAIRS) != 0 || flowq_thread_register() != 0)
        _exit(2);
}

static void note_all(uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        struct flowq_pkt pkts[2] = {frame_pkt(&tx[i]), frame_pkt(&tx[FLOWS - 1 - i])};
        flowq_tx_note(vm, &pkts[0], i % PAIRS);
        flowq_tx_note_burst(vm, pkts, 2, (i + 1) % PAIRS);
    }
}

static void steer_all(void)
{
    struct flowq_pkt pkts[64];
    struct flowq_decision d[64];
    struct flowq_vm *vms[64];
    uint16_t qids[64], order[64];
    struct flowq_run runs[PAIRS];
    for (uint32_t i = 0; i < 64; i++) {
        const struct frame *special[] = {&first, &later, &error, &arp};
        pkts[i] = frame_pkt(i % 8 < 4 ? &rx[i * 40] : special[i % 4]);
        vms[i] = vm;
        if (flowq_rx_steer(vm, &pkts[i]) >= PAIRS)
            _exit(3);
    }
    flowq_rx_steer_burst(vm, pkts, 64, qids);
    flowq_rx_decide_burst(vm, pkts, 64, d);
    flowq_rx_steer_burst_vms(vms, pkts, 64, qids);
    flowq_rx_decide_burst_vms(vms, pkts, 64, d);
    flowq_group(qids, 64, order, runs, PAIRS);
    flowq_group_vms(vms, qids, 64, order, runs, PAIRS);
    struct iovec iov = {.iov_base = rx[0].bytes, .iov_len = rx[0].len};
    uint8_t scratch[FLOWQ_HEADER_MAX];
    flowq_gather(&pkts[0], &iov, 1, 12, scratch, sizeof(scratch));
    flowq_version();
    flowq_version_string();
}

static void steering(void)
{
    create(0, false);
    note_all(0, FLOWS);
    allow_only(no_calls, 0);
    for (unsigned i = 0; i < 100; i++)
        steer_all();
}

static void steering_by_the_default_clock(void)
{
    create(0, true);
    note_all(0, FLOWS);
    steer_all(); /* the vDSO may be looked for when it is first used */
    allow_only(no_calls, 0);
    for (unsigned i = 0; i < 100; i++)
        steer_all();
}

static void sections(void)
{
    create(0, false);
    allow_only(no_calls, 0);
    for (unsigned i = 0; i < 1000; i++) {
        if (flowq_enter() != 0 || flowq_enter() != 0)
            _exit(4);
        steer_all();
        flowq_leave();
        flowq_leave();
    }
}

static void noting_with_room_for_all(void)
{
    create(100000, false);
    allow_only(no_calls, 0);
    note_all(0, FLOWS);
    for (unsigned i = 0; i < 10; i++)
        flowq_vm_maintain(vm);
}

/* A note offers its processor to whoever holds a lock for so long (S12), and makes no other call. */
static void noting_while_a_lock_is_held(void)
{
    struct flowq_pkt known = frame_pkt(&tx[0]), fresh = frame_pkt(&tx[1]);
    create(0, false);
    flowq_tx_note(vm, &known, 1);
    spin_lock(&shard_head(&vm->table, table_shard(&vm->table, 0))->lock); /* there is one shard */
    allow_only(yield_call, 0);
    if (flowq_tx_note(vm, &known, 2) != FLOWQ_NOTE_MOVED || flowq_tx_note(vm, &fresh, 2) != FLOWQ_NOTE_BUSY)
        _exit(9);
}

static void noting(void)
{
    create(0, false);
    allow_only(memory_calls, 0);
    note_all(0, FLOWS);
    for (unsigned i = 0; i < 10; i++)
        flowq_vm_maintain(vm);
}

static int count(void *ctx, const struct flowq_binding *b)
{
    (void)b;
    ++*(unsigned *)ctx;
    return 0;
}

static void looking(void)
{
    struct flowq_queue_stats q = {.size = sizeof(q)};
    struct flowq_binding b = {.size = sizeof(b)};
    struct flowq_tuple t = tuple_v4(FRAME_PROTO_TCP, 9, 1024, 1, 80);
    unsigned n = 0;
    create(0, false);
    note_all(0, FLOWS);
    allow_only(no_calls, 0);
    if (flowq_vm_queue_stats(vm, 1, &q) || flowq_vm_lookup(vm, &t, &b) || flowq_vm_flows(vm, count, &n))
        _exit(5);
    if (n != FLOWS)
        _exit(6);
}

static void setting(void)
{
    struct flowq_vm_config c = {.size = sizeof(c), .no_learn = FLOWQ_ON};
    struct flowq_stats s = {.size = sizeof(s)};
    create(0, false);
    note_all(0, FLOWS);
    allow_only(lock_calls, 0);
    if (flowq_vm_set_queue_pairs(vm, 3) || flowq_vm_set_queue_enabled(vm, 1, false) ||
        flowq_vm_set_queue_resetting(vm, 2, true) || flowq_vm_configure(vm, &c) || flowq_vm_stats(vm, &s))
        _exit(7);
    flowq_vm_reset(vm, FLOWQ_RESET_FLOWS | FLOWQ_RESET_QUEUES | FLOWQ_RESET_CONFIG);
}

static void waiting(void)
{
    create(0, false);
    allow_only(wait_calls, 0);
    for (unsigned i = 0; i < 20; i++)
        if (flowq_synchronize() != 0)
            _exit(8);
}

static void making(void)
{
    allow_only(random_calls, 0);
    create(1000, false);
    note_all(0, 10);
    flowq_vm_destroy(vm);
}

/* In a sandbox without getrandom a secret must be set; the first call of a thread needs memory alone. */
static void making_with_a_secret(void)
{
    struct flowq_vm_config c = {.size = sizeof(c), .secret = {1, 2, 3}, .clock_ns = test_clock};
    allow_only(memory_calls, 0);
    if (flowq_vm_create(&c, &vm) != 0)
        _exit(9);
    flowq_vm_destroy(vm);
}

static void making_without_getrandom(int error_number)
{
    struct flowq_vm_config c = {.size = sizeof(c), .clock_ns = test_clock};
    allow_only(memory_calls, error_number);
    vm = (void *)&c;
    if (flowq_vm_create(&c, &vm) != -error_number || vm != NULL)
        _exit(10);
    c.secret[0] = 1;
    if (flowq_vm_create(&c, &vm) != 0)
        _exit(11);
    flowq_vm_destroy(vm);
}

static void enosys(void) { making_without_getrandom(ENOSYS); }
static void eagain(void) { making_without_getrandom(EAGAIN); }
static void eperm(void) { making_without_getrandom(EPERM); }
static void eio(void) { making_without_getrandom(EIO); }

/* ---- State ----------------------------------------------------------------------------------------------------------------- */

static uint8_t stream[64u << 10];
static size_t stream_bytes, stream_at;

static int stream_write(void *ctx, const void *data, size_t size)
{
    (void)ctx;
    if (sizeof(stream) - stream_bytes < size)
        return -ENOSPC;
    memcpy(stream + stream_bytes, data, size);
    stream_bytes += size;
    return 0;
}

static int64_t stream_read(void *ctx, void *data, size_t size)
{
    size_t n = stream_bytes - stream_at < size ? stream_bytes - stream_at : size;
    (void)ctx;
    memcpy(data, stream + stream_at, n);
    stream_at += n;
    return (int64_t)n;
}

static void save(void)
{
    if (flowq_vm_save(vm, FLOWQ_STATE_ALL, FLOWQ_STATE_UNLIMITED, stream_write, NULL) != 0)
        _exit(12);
}

/* Locks that setters have, too; no memory. */
static void saving(void)
{
    create(0, false);
    note_all(0, FLOWS);
    allow_only(lock_calls, 0);
    save();
}

static void load(void)
{
    struct flowq_loaded loaded = {.size = sizeof(loaded)};
    if (flowq_vm_load(vm, FLOWQ_STATE_ALL, stream_read, NULL, &loaded) != 0 || loaded.bindings != FLOWS)
        _exit(13);
}

static void loading(void)
{
    create(0, false);
    note_all(0, FLOWS);
    save();
    create(0, false);
    allow_only(memory_calls, 0);
    load();
}

/* write(2), which every filter here allows. */
static void saving_to_a_file(void)
{
    FILE *file = tmpfile();
    create(0, false);
    note_all(0, FLOWS);
    allow_only(lock_calls, 0);
    if (!file || flowq_vm_save_fd(vm, FLOWQ_STATE_ALL, FLOWQ_STATE_UNLIMITED, fileno(file)) != 0)
        _exit(14);
}

static void loading_from_a_file(void)
{
    static const int calls[] = {MEMORY, SYS_read, -1};
    FILE *file = tmpfile();
    create(0, false);
    note_all(0, FLOWS);
    if (!file || flowq_vm_save_fd(vm, FLOWQ_STATE_ALL, FLOWQ_STATE_UNLIMITED, fileno(file)) != 0)
        _exit(15);
    create(0, false);
    if (lseek(fileno(file), 0, SEEK_SET) != 0)
        _exit(16);
    allow_only(calls, 0);
    if (flowq_vm_load_fd(vm, FLOWQ_STATE_ALL, fileno(file), NULL) != 0)
        _exit(17);
}

/* A filter that lets everything through would pass every test. */
static void forbidden(void)
{
    allow_only(no_calls, 0);
    syscall(SYS_getppid);
}

static const struct {
    const char *name;
    void (*run)(void);
    int exit_status;
} cases[] = {
    {"a forbidden call is noticed", forbidden, 1},
    {"steering", steering, 0},
    {"steering by the default clock", steering_by_the_default_clock, 0},
    {"sections", sections, 0},
    {"noting with room for all", noting_with_room_for_all, 0},
    {"noting while a lock is held", noting_while_a_lock_is_held, 0},
    {"noting", noting, 0},
    {"looking", looking, 0},
    {"setting", setting, 0},
    {"waiting", waiting, 0},
    {"saving", saving, 0},
    {"saving to a file", saving_to_a_file, 0},
    {"loading", loading, 0},
    {"loading from a file", loading_from_a_file, 0},
    {"making", making, 0},
    {"making with a secret", making_with_a_secret, 0},
    {"getrandom: ENOSYS", enosys, 0},
    {"getrandom: EAGAIN", eagain, 0},
    {"getrandom: EPERM", eperm, 0},
    {"getrandom: EIO", eio, 0},
};
#define N_CASES ((int)(sizeof(cases) / sizeof(cases[0])))

static int run_case(int i)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        cases[i].run();
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

START_TEST(only_the_documented_calls)
{
    int status = run_case(_i);
    ck_assert_msg(status == cases[_i].exit_status, "%s: exit status %d", cases[_i].name, status);
}
END_TEST

int main(void)
{
    build();
    if (SANITIZED || run_case(0) != 1) {
        printf("check_seccomp: skipped: %s\n",
               SANITIZED ? "a sanitizer makes system calls of its own" : "no seccomp filters here");
        return SKIPPED;
    }
    Suite *s = suite_create("seccomp");
    TCase *tc = tcase_create("filters");
    tcase_set_timeout(tc, 300);
    tcase_add_loop_test(tc, only_the_documented_calls, 0, N_CASES);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
