/* SPDX-License-Identifier: BSD-2-Clause */
/* config: see config.h. */
#include "config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* As long as 0.9 is not released its last field is the struct's; a later version puts its fields behind that. */
_Static_assert(CONFIG_SIZE_MIN == sizeof(struct flowq_vm_config), "the least size is that of version 0.9");

/* clang-format off */
#define CONFIG_FIELD_SIZE(field) sizeof(((struct flowq_vm_config *)0)->field)
#define CONFIG_LIMIT(field, ...) {#field, offsetof(struct flowq_vm_config, field), CONFIG_FIELD_SIZE(field), __VA_ARGS__}
const struct config_limit config_limits[] = {
    /*                           default               minimum  maximum               off    fixed  mask */
    CONFIG_LIMIT(max_queue_pairs,       256,                  1,       FLOWQ_MAX_QUEUE_PAIRS, false, true,  false),
    CONFIG_LIMIT(max_flows,             65536,                8,       1u << 27,              false, true,  false),
    CONFIG_LIMIT(initial_flows,         0,                    1,       1u << 27,              false, true,  false),
    CONFIG_LIMIT(no_learn,              FLOWQ_OFF,            1,       1,                     true,  false, false),
    CONFIG_LIMIT(key_vlan,              FLOWQ_OFF,            1,       1,                     true,  false, false),
    CONFIG_LIMIT(tunnels,               CONFIG_TUNNELS,       1,       CONFIG_TUNNELS,        true,  false, true),
    CONFIG_LIMIT(fragments,             256,                  8,       65536,                 true,  true,  false),
    CONFIG_LIMIT(vxlan_port,            4789,                 1,       65535,                 false, false, false),
    CONFIG_LIMIT(vxlan_linux_port,      8472,                 1,       65535,                 false, false, false),
    CONFIG_LIMIT(vxlan_gpe_port,        4790,                 1,       65535,                 false, false, false),
    CONFIG_LIMIT(geneve_port,           6081,                 1,       65535,                 false, false, false),
    CONFIG_LIMIT(gtpu_port,             2152,                 1,       65535,                 false, false, false),
    CONFIG_LIMIT(gre_udp_port,          4754,                 1,       65535,                 false, false, false),
    CONFIG_LIMIT(rebind_min_tcp_us,     FLOWQ_OFF,            1000,    1000000,               true,  false, false),
    CONFIG_LIMIT(rebind_min_other_us,   FLOWQ_OFF,            1000,    1000000,               true,  false, false),
    CONFIG_LIMIT(active_ms,             10000,                80,      600000,                false, false, false),
    CONFIG_LIMIT(idle_ms,               1800000,              80,      2000000,               false, false, false),
    CONFIG_LIMIT(queue_stats,           FLOWQ_OFF,            1,       1,                     true,  true,  false),
    CONFIG_LIMIT(numa_node,             0,                    1,       4096,                  false, true,  false),
    CONFIG_LIMIT(virtio_hash_types,     FLOWQ_HASH_TYPE_ALL,  1,       FLOWQ_HASH_TYPE_ALL,   true,  false, true),
    CONFIG_LIMIT(virtio_hash_tunnels,   FLOWQ_HASH_TUNNEL_ALL,1,       FLOWQ_HASH_TUNNEL_ALL, true,  false, true),
    CONFIG_LIMIT(virtio_max_key,        40,                   40,      255,                   false, false, false),
    CONFIG_LIMIT(virtio_max_table,      128,                  128,     32768,                 false, false, false),
    CONFIG_LIMIT(virtio_big_endian,     FLOWQ_OFF,            1,       1,                     true,  false, false),
    CONFIG_LIMIT(key_vni,               FLOWQ_OFF,            1,       1,                     true,  false, false),
    CONFIG_LIMIT(gue_port,              6080,                 1,       65535,                 false, false, false),
    CONFIG_LIMIT(mpls_udp_port,         6635,                 1,       65535,                 false, false, false),
    CONFIG_LIMIT(vlan_tpid,             0,                    1536,    65535,                 false, false, false),
    CONFIG_LIMIT(ordered,               FLOWQ_OFF,            1,       1,                     true,  true,  false),
    CONFIG_LIMIT(ordered_max_us,        20000,                100,     1000000,               false, true,  false),
    CONFIG_LIMIT(ordered_settle_us,     FLOWQ_OFF,            10,      100000,                true,  true,  false),
    CONFIG_LIMIT(ordered_flows,         1024,                 8,       65536,                 false, true,  false),
};
/* clang-format on */
const size_t config_n_limits = sizeof(config_limits) / sizeof(config_limits[0]);

static uint32_t config_get(const struct flowq_vm_config *cfg, const struct config_limit *l)
{
    const char *at = (const char *)cfg + l->offset;
    uint16_t narrow;
    uint32_t wide;
    if (l->width == sizeof(narrow)) {
        memcpy(&narrow, at, sizeof(narrow));
        return narrow;
    }
    memcpy(&wide, at, sizeof(wide));
    return wide;
}

static void config_set(struct flowq_vm_config *cfg, const struct config_limit *l, uint32_t value)
{
    char *at = (char *)cfg + l->offset;
    uint16_t narrow = (uint16_t)value;
    memcpy(at, l->width == sizeof(narrow) ? (const void *)&narrow : (const void *)&value, l->width);
}

int config_refuse(struct config_fault *fault, const char *format, ...)
{
    va_list rest;
    va_start(rest, format);
    (void)vsnprintf(fault->text, sizeof(fault->text), format, rest);
    va_end(rest);
    return -EINVAL;
}

static int config_refuse_value(const struct config_limit *l, uint32_t value, struct config_fault *fault)
{
    const char *or_off = l->has_off ? ", or off" : "";
    if (l->mask)
        return config_refuse(fault, "setting %s is 0x%" PRIx32 ": bits of 0x%" PRIx32 "%s", l->name, value, l->max, or_off);
    if (value == FLOWQ_OFF)
        return config_refuse(fault, "setting %s is off: %" PRIu32 " to %" PRIu32, l->name, l->min, l->max);
    if (l->max == FLOWQ_ON)
        return config_refuse(fault, "setting %s is %" PRIu32 ": on (1) or off", l->name, value);
    return config_refuse(fault, "setting %s is %" PRIu32 ": %" PRIu32 " to %" PRIu32 "%s", l->name, value, l->min, l->max,
                         or_off);
}

/* Bits that were made from another header's FLOWQ_TUNNEL_ALL: those that we know, of whatever else it had. */
static bool config_is_open_mask(const struct config_limit *l, uint32_t value)
{
    return l->offset == offsetof(struct flowq_vm_config, tunnels) && value & CONFIG_TUNNELS_OPEN &&
           (value & ~(uint32_t)FLOWQ_TUNNEL_ALL) == 0;
}

/* Default, off, or a value in range. */
static int config_settle(struct flowq_vm_config *cfg, const struct config_limit *l, struct config_fault *fault)
{
    uint32_t value = config_get(cfg, l);
    if (value == 0)
        value = l->preset;
    if (l->has_off && value == FLOWQ_OFF)
        value = 0;
    else if (config_is_open_mask(l, value))
        value &= l->max;
    else if (value != l->preset && (value < l->min || value > l->max || (l->mask && value & ~l->max)))
        return config_refuse_value(l, value, fault);
    config_set(cfg, l, value);
    return 0;
}

static int config_copy_known(const struct flowq_vm_config *in, struct flowq_vm_config *out, struct config_fault *fault)
{
    memset(out, 0, sizeof(*out));
    int r = in ? sized_read(out, sizeof(*out), in, CONFIG_SIZE_MIN) : 0;
    if (r == -E2BIG)
        (void)config_refuse(fault,
                            "the settings have %" PRIu32 " bytes, of which this version knows %zu: the others must be zero",
                            in->size, sizeof(*out));
    return r;
}

/* What is fixed once the vm is made asks for nothing then. */
static void config_forget_fixed(struct flowq_vm_config *cfg)
{
    for (size_t i = 0; i < config_n_limits; i++)
        if (config_limits[i].fixed)
            config_set(cfg, &config_limits[i], 0);
    cfg->alloc = NULL;
    cfg->free = NULL;
}

/* What one setting says of another. */
static int config_check_together(const struct flowq_vm_config *cfg, struct config_fault *fault)
{
    if (cfg->initial_flows > cfg->max_flows)
        return config_refuse(fault, "setting initial_flows is %" PRIu32 ": up to max_flows, which is %" PRIu32,
                             cfg->initial_flows, cfg->max_flows);
    if (cfg->idle_ms < cfg->active_ms)
        return config_refuse(fault, "setting idle_ms is %" PRIu32 ": at least active_ms, which is %" PRIu32, cfg->idle_ms,
                             cfg->active_ms);
    if (cfg->ordered && (cfg->rebind_min_tcp_us || cfg->rebind_min_other_us))
        return config_refuse(fault, "settings ordered and rebind_min do not go together");
    if (!cfg->alloc != !cfg->free)
        return config_refuse(fault, "setting %s is there and the other of alloc and free is not", cfg->alloc ? "alloc" : "free");
    const uint32_t reserved[] = {cfg->reserved, cfg->virtio_reserved, cfg->key_reserved, cfg->key_reserved2};
    static const char *const name[] = {"reserved", "virtio_reserved", "key_reserved", "key_reserved2"};
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
        if (reserved[i] != 0)
            return config_refuse(fault, "setting %s is %" PRIu32 ": 0", name[i], reserved[i]);
    return 0;
}

int config_read(const struct flowq_vm_config *in, struct flowq_vm_config *out, bool only_changes, struct config_fault *fault)
{
    fault->text[0] = 0;
    int r = config_copy_known(in, out, fault);
    if (only_changes)
        config_forget_fixed(out);
    for (size_t i = 0; r == 0 && i < config_n_limits; i++)
        r = config_settle(out, &config_limits[i], fault);
    if (r == 0)
        r = config_check_together(out, fault);
    out->size = sizeof(*out);
    return r;
}

int config_check_times(const struct flowq_vm_config *cfg, uint64_t resolution_ns, struct config_fault *fault)
{
    const struct {
        const char *name;
        uint32_t value;
        uint64_t unit_ns;
    } times[] = {
        {"active_ms", cfg->active_ms, UINT64_C(1000000)},
        {"idle_ms", cfg->idle_ms, UINT64_C(1000000)},
        {"rebind_min_tcp_us", cfg->rebind_min_tcp_us, UINT64_C(1000)},
        {"rebind_min_other_us", cfg->rebind_min_other_us, UINT64_C(1000)},
        {"ordered_max_us", cfg->ordered ? cfg->ordered_max_us : 0, UINT64_C(1000)},
        {"ordered_settle_us", cfg->ordered ? cfg->ordered_settle_us : 0, UINT64_C(1000)},
    };
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
        if (times[i].value && times[i].value * times[i].unit_ns / 8 < resolution_ns)
            return config_refuse(fault, "setting %s is %" PRIu32 ": eight times the clock's resolution, %" PRIu64 " ns",
                                 times[i].name, times[i].value, resolution_ns);
    return 0;
}
