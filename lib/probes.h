/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * probes: where a tracer (bpftrace, SystemTap, perf, gdb) can look on. flowq-probes(7) has their arguments.
 *
 * With <sys/sdt.h> (HAVE_SYS_SDT_H, by configure) a probe is one nop, and a note in the ELF file that says where it stands and
 * where its arguments are; without it, nothing. There are probes only where something is counted, allocated or locked anyway:
 * none on the way of a packet that changes nothing. Where there is one, its arguments cost some instructions of
 * that slow way, too.
 */
#ifndef FLOWQ_LIB_PROBES_H
#define FLOWQ_LIB_PROBES_H

#include "vm.h"

#if defined(HAVE_SYS_SDT_H) && !defined(FLOWQ_SCHED) /* an argument would be a step of the tests' scheduler */
#define SDT_USE_VARIADIC
#include <sys/sdt.h>
#define PROBES           true
#define PROBE(name, ...) STAP_PROBEV(flowq, name, __VA_ARGS__)
#else
static inline int probes_none(uintptr_t vm, ...) { return (void)vm, 0; } /* arguments count as used, and are not evaluated */
#define PROBES           false
#define PROBE(name, ...) ((void)sizeof(probes_none(__VA_ARGS__)))
#endif

/*
 * The first two arguments of each probe: the vm, as its host knows it, and its name. By the address of what is a part of it: the
 * table and the queues know no vm. Numbers, as in tests such a part may stand alone, and nothing here follows them.
 */
#define PROBE_PART(part, member) (uintptr_t)(part) - offsetof(struct flowq_vm, member)
#define PROBE_OF(part, member)   PROBE_PART(part, member), PROBE_PART(part, member) + offsetof(struct flowq_vm, name)
#define PROBE_TABLE(t)           PROBE_OF(t, table)
#define PROBE_QUEUES(q)          PROBE_OF(q, queues)

/* A flow: the identifier of its binding, as flowq_vm_flows() shows it. */
#define PROBE_FLOW(t, hash_or_word) ((hash_or_word) & (t)->tag_mask)

#endif
