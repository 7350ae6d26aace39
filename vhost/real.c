/*
 * flowq-vhost: where DPDK's own functions are.
 *
 * Tried in this order:
 *   1. what is linked     the program has DPDK in itself, and was linked with --wrap and our archive; of the functions whose
 *                         place we do not take, also what is in the program's scope;
 *   2. RTLD_NEXT          the program links librte_vhost, and we were loaded before it;
 *   3. RTLD_DEFAULT       the program has DPDK in itself, linked with --wrap and with this object as a library;
 *   4. the loaded object  whose name is librte_vhost.so.N. DPDK's drivers are loaded with dlopen(3), and what they bring along is
 *                         in nobody's scope but theirs.
 * Our own function never counts as the real one.
 *
 * The version. librte_vhost.so.N is DPDK 22.11 for N = 23, and one more each year. Layouts that we rely on (struct rte_mbuf, the
 * callbacks, the head of a message) were compared for the versions that `oldest` and `newest` name; others are left alone. A
 * program that has DPDK in itself tells its version by rte_version().
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "real.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <rte_log.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAJOR_OLDEST = 23, MAJOR_NEWEST = 26 };

static const char library[] = "librte_vhost.so";

struct real real;

/* What pthread_once would do, if it could be tried again: a failure is not kept, as DPDK may be loaded later. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool found;
static bool known;
static void *handle; /* of librte_vhost.so.N, kept open */
static int log_type = -1;

/*
 * Names that a linker fills in, or leaves NULL. __real_NAME by one that was told to --wrap; the others where DPDK is in the
 * program, whose linker then shows them to us though nobody asked for -rdynamic, or in its scope.
 */
#define WEAK(name) extern void weak_##name(void) __asm__(#name) __attribute__((weak))
#define FUNCTIONS(OURS, THEIRS)                                                                                                  \
    OURS(enqueue, rte_vhost_enqueue_burst)                                                                                       \
    OURS(dequeue, rte_vhost_dequeue_burst)                                                                                       \
    OURS(callback_register, rte_vhost_driver_callback_register)                                                                  \
    OURS(unregister, rte_vhost_driver_unregister)                                                                                \
    OURS(hook_register, rte_vhost_extern_callback_register)                                                                      \
    OURS(async_register, rte_vhost_async_channel_register)                                                                       \
    OURS(async_register_unsafe, rte_vhost_async_channel_register_thread_unsafe)                                                  \
    THEIRS(get_ifname, rte_vhost_get_ifname)                                                                                     \
    THEIRS(get_features, rte_vhost_get_negotiated_features)                                                                      \
    THEIRS(get_vring, rte_vhost_get_vhost_vring)                                                                                 \
    THEIRS(get_memory, rte_vhost_get_mem_table)                                                                                  \
    THEIRS(get_base, rte_vhost_get_vring_base)                                                                                   \
    THEIRS(free_bulk, rte_pktmbuf_free_bulk)                                                                                     \
    THEIRS(log, rte_log)                                                                                                         \
    THEIRS(log_register, rte_log_register)                                                                                       \
    THEIRS(version, rte_version)                                                                                                 \
    THEIRS(process_type, rte_eal_process_type)                                                                                   \
    THEIRS(telemetry_register, rte_telemetry_register_cmd)                                                                       \
    THEIRS(telemetry_start, rte_tel_data_start_dict)                                                                             \
    THEIRS(telemetry_string, rte_tel_data_add_dict_string)                                                                       \
    THEIRS(telemetry_uint, rte_tel_data_add_dict_uint)                                                                           \
    THEIRS(telemetry_u64, rte_tel_data_add_dict_u64)

#define DECLARE_OURS(member, name)   WEAK(__real_##name);
#define DECLARE_THEIRS(member, name) WEAK(name);
FUNCTIONS(DECLARE_OURS, DECLARE_THEIRS)

#define ROW_OURS(member, name)   {offsetof(struct real, member), #name, weak___real_##name},
#define ROW_THEIRS(member, name) {offsetof(struct real, member), #name, weak_##name},

static const struct {
    size_t at;
    const char *name;
    void (*linked)(void);
} functions[] = {FUNCTIONS(ROW_OURS, ROW_THEIRS)};

/* ---- Looking up ---- */

static bool is_ours(const void *address)
{
    Dl_info us, it;

    return dladdr((const void *)&real, &us) != 0 && dladdr(address, &it) != 0 && us.dli_fbase == it.dli_fbase;
}

/* N of a path that ends in librte_vhost.so.N; 0: it does not. */
static int major_of_path(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    size_t length = sizeof(library) - 1;

    return strncmp(name, library, length) == 0 && name[length] == '.' ? atoi(name + length + 1) : 0;
}

/* "DPDK 22.11.11": the library's number goes up with each November's release. */
static int major_of_version(const char *version)
{
    unsigned int year, month;

    if (sscanf(version, "DPDK %u.%u", &year, &month) != 2)
        return 0;
    return (int)(month >= 11 ? year + 1 : year);
}

static int open_library(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    if (info->dlpi_name != NULL && major_of_path(info->dlpi_name) != 0)
        handle = dlopen(info->dlpi_name, RTLD_LAZY | RTLD_NOLOAD);
    return handle != NULL;
}

static void *search(const char *name)
{
    void *address = dlsym(RTLD_NEXT, name);

    if (address == NULL) {
        address = dlsym(RTLD_DEFAULT, name);
        if (address != NULL && is_ours(address))
            address = NULL;
    }
    return address == NULL && handle != NULL ? dlsym(handle, name) : address;
}

static void find_all(void)
{
    if (handle == NULL)
        dl_iterate_phdr(open_library, NULL);
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        void *address = (void *)functions[i].linked;
        if (address == NULL)
            address = search(functions[i].name);
        memcpy((char *)&real + functions[i].at, &address, sizeof(address));
    }
}

/* ---- What there is ---- */

static int major_of_program(void)
{
    Dl_info info;
    int major = 0;

    if (dladdr((void *)real.enqueue, &info) != 0 && info.dli_fname != NULL)
        major = major_of_path(info.dli_fname);
    return major == 0 && real.version != NULL ? major_of_version(real.version()) : major;
}

static void judge(void)
{
    int major = major_of_program();

    if (real.log_register != NULL)
        log_type = real.log_register("flowq.vhost");
    known = major >= MAJOR_OLDEST && major <= MAJOR_NEWEST && real.dequeue != NULL && real.callback_register != NULL &&
            real.unregister != NULL && real.get_ifname != NULL;
    if (!known)
        say(RTE_LOG_WARNING, "%s.%d is none of %d to %d, which this knows: every call is handed on", library, major, MAJOR_OLDEST,
            MAJOR_NEWEST);
}

bool real_find(void)
{
    if (atomic_load_explicit(&found, memory_order_acquire))
        return true;
    pthread_mutex_lock(&lock);
    if (!atomic_load_explicit(&found, memory_order_relaxed)) {
        find_all();
        if (real.enqueue != NULL) {
            judge();
            atomic_store_explicit(&found, true, memory_order_release);
        }
    }
    bool result = atomic_load_explicit(&found, memory_order_relaxed);
    pthread_mutex_unlock(&lock);
    return result;
}

bool real_known(void) { return known; }

void say(uint32_t level, const char *format, ...)
{
    char line[512];
    va_list arguments;

    if (real.log == NULL || log_type < 0)
        return;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    real.log(level, (uint32_t)log_type, "FLOWQ: %s\n", line);
}
