#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# table.sh FILE [CONTESTANT...]: a table, in Markdown, from a bench.tsv; of these contestants, else of all. README.md has that of flowq,
# rte_hash, lfht and roofline, results/table.md that of all: check_readme.sh compares.
set -eu
file=$1
shift
[ $# -gt 0 ] || set -- flowq flowq-256 flowq-sse2 flowq-native rte_hash rte_hash-pf rte_hash-48 ck_ht lfht roofline roofline-burst
awk -F '\t' -v contestants="$*" '
    /^# / { about[substr($1, 3)] = $2; next }
    { median[$1, $2, $3] = $4; there[$2] = 1 }
    function cell(workload, contestant, unit, format) {
        return (workload, contestant, unit) in median ? sprintf(format, median[workload, contestant, unit]) : "-"
    }
    function row(title, workload, unit, format,   i) {
        printf "| %s |", title
        for (i = 1; i <= n; i++) printf " %s |", cell(workload, column[i], unit, format)
        print ""
    }
    END {
        split(contestants, all, " ")
        for (i = 1; i in all; i++) if (there[all[i]]) column[++n] = all[i]
        printf "| ns per packet |"
        for (i = 1; i <= n; i++) printf " %s |", column[i]
        printf "\n|---|"
        for (i = 1; i <= n; i++) printf "---:|"
        print ""
        row("steer, 1k flows", "steer32-str/v4-1k", "ns", "%.1f")
        row("64k flows", "steer32-str/v4-64k", "ns", "%.1f")
        row("1M flows", "steer32-str/v4-1M", "ns", "%.1f")
        row("8M flows", "steer32-str/v4-8M", "ns", "%.1f")
        row("1M flows, IPv6", "steer32-str/v6-1M", "ns", "%.1f")
        row("1M flows, cold headers", "steer32-cold/v4-1M", "ns", "%.1f")
        row("single calls, 1M flows", "single/v4-1M", "ns", "%.1f")
        row("note, known flow, 1M flows", "note32-refresh/v4-1M", "ns", "%.1f")
        row("note, other queue", "note32-move/v4-1M", "ns", "%.1f")
        row("note, new flow", "note32-new/v4-1M", "ns", "%.1f")
        row("bytes per flow, 1M flows", "memory/v4-1M", "B/flow", "%.0f")
        printf "\n%s, %s processors, %s, %s, flags %s. ", about["processor"], about["processors"], about["kernel"], about["compiler"],
            about["flags"]
        print "The machine is shared: compare within a row."
    }' "$file"
