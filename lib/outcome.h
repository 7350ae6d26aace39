/*
 * outcome: the constants of flowq.h that are counted or have a name, as lists: the slots of statistics (stats.h) and the names
 * (version.c) come from here. A constant that flowq.h has and the list does not, does not compile (version.c); nor does one at
 * another place than its value.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_LIB_OUTCOME_H
#define FLOWQ_LIB_OUTCOME_H

#include "flowq.h"

/* clang-format off */
#define OUTCOME_NOTES(each, prefix)     \
    each(prefix, BOUND, "bound")               \
    each(prefix, REFRESHED, "refreshed")       \
    each(prefix, MOVED, "moved")               \
    each(prefix, SUPPRESSED, "suppressed")     \
    each(prefix, IMPLIED, "implied")           \
    each(prefix, REFUSED, "refused")           \
    each(prefix, BUSY, "busy")                 \
    each(prefix, NOT_IN_USE, "not-in-use")     \
    each(prefix, SINGLE, "single")             \
    each(prefix, OFF, "off")                   \
    each(prefix, KEYLESS, "keyless")           \
    each(prefix, MULTICAST, "multicast")       \
    each(prefix, FRAGMENT, "fragment")         \
    each(prefix, ICMP_ERROR, "icmp-error")     \
    each(prefix, RESET, "reset")               \
    each(prefix, UNREGISTERED, "unregistered")

#define OUTCOME_REASONS(each, prefix)   \
    each(prefix, BOUND, "bound")               \
    each(prefix, FALLBACK, "fallback")         \
    each(prefix, FRAGMENT, "fragment")         \
    each(prefix, ICMP_ERROR, "icmp-error")     \
    each(prefix, KEYLESS, "keyless")           \
    each(prefix, SINGLE, "single")             \
    each(prefix, DROP, "drop")                 \
    each(prefix, RSS, "rss")

/* These, layers and ends begin with 1. */
#define OUTCOME_CLASSES(each, prefix)   \
    each(prefix, EMBRYONIC, "embryonic")       \
    each(prefix, ESTABLISHED, "established")   \
    each(prefix, CLOSING, "closing")

#define OUTCOME_LAYERS(each, prefix)                 \
    each(prefix, ETHERNET, "ethernet")               \
    each(prefix, VLAN, "vlan")                       \
    each(prefix, LLC, "llc")                         \
    each(prefix, MPLS, "mpls")                       \
    each(prefix, CONTROL_WORD, "control-word")       \
    each(prefix, PPPOE, "pppoe")                     \
    each(prefix, IPV4, "ipv4")                       \
    each(prefix, IPV6, "ipv6")                       \
    each(prefix, HOP_BY_HOP, "hop-by-hop")           \
    each(prefix, DEST_OPTIONS, "dest-options")       \
    each(prefix, ROUTING, "routing")                 \
    each(prefix, FRAGMENT, "fragment")               \
    each(prefix, AH, "ah")                           \
    each(prefix, MOBILITY, "mobility")               \
    each(prefix, TCP, "tcp")                         \
    each(prefix, UDP, "udp")                         \
    each(prefix, PORTS, "ports")                     \
    each(prefix, ICMP, "icmp")                       \
    each(prefix, ICMP_OPTION, "icmp-option")         \
    each(prefix, GRE, "gre")                         \
    each(prefix, WCCP, "wccp")                       \
    each(prefix, ERSPAN, "erspan")                   \
    each(prefix, VXLAN, "vxlan")                     \
    each(prefix, VXLAN_GPE, "vxlan-gpe")             \
    each(prefix, GENEVE, "geneve")                   \
    each(prefix, GTPU, "gtpu")                       \
    each(prefix, GTPU_EXTENSION, "gtpu-extension")   \
    each(prefix, GUE, "gue")

#define OUTCOME_ENDS(each, prefix)          \
    each(prefix, KEY, "key")                \
    each(prefix, CUT, "cut")                \
    each(prefix, WINDOW, "window")          \
    each(prefix, MALFORMED, "malformed")    \
    each(prefix, UNREAD, "unread")          \
    each(prefix, UNLIKE, "unlike")          \
    each(prefix, LIMIT, "limit")            \
    each(prefix, FLAGS, "flags")

#define OUTCOME_KEYS(each, prefix)              \
    each(prefix, NONE, "none")                  \
    each(prefix, FLOW, "flow")                  \
    each(prefix, LATER, "later")                \
    each(prefix, QUOTE, "quote")                \
    each(prefix, QUOTE_LATER, "quote-later")    \
    each(prefix, LABELS, "labels")
/* clang-format on */

/* The place of each in its list. */
#define OUTCOME_PLACE(prefix, name, text) prefix##name,
enum { OUTCOME_NOTES(OUTCOME_PLACE, NOTE_AT_) N_NOTES };
enum { OUTCOME_REASONS(OUTCOME_PLACE, REASON_AT_) N_REASONS };
enum { CLASS_AT_0, OUTCOME_CLASSES(OUTCOME_PLACE, CLASS_AT_) N_CLASSES };
enum { LAYER_AT_0, OUTCOME_LAYERS(OUTCOME_PLACE, LAYER_AT_) N_LAYERS };
enum { END_AT_0, OUTCOME_ENDS(OUTCOME_PLACE, END_AT_) N_ENDS };
enum { OUTCOME_KEYS(OUTCOME_PLACE, KEY_AT_) N_KEYS };

#define OUTCOME_IS_AT(prefix, name, text) _Static_assert((int)FLOWQ_##prefix##name == (int)prefix##AT_##name, #name);
OUTCOME_NOTES(OUTCOME_IS_AT, NOTE_)
OUTCOME_REASONS(OUTCOME_IS_AT, REASON_)
OUTCOME_CLASSES(OUTCOME_IS_AT, CLASS_)
OUTCOME_LAYERS(OUTCOME_IS_AT, LAYER_)
OUTCOME_ENDS(OUTCOME_IS_AT, END_)
OUTCOME_KEYS(OUTCOME_IS_AT, KEY_)

_Static_assert((int)N_NOTES <= (int)FLOWQ_NOTE_SLOTS && (int)N_REASONS <= (int)FLOWQ_REASON_SLOTS,
               "struct flowq_stats has a slot for each");

#endif
