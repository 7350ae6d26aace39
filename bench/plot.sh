#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# plot.sh DIRECTORY: makes the plots of DIRECTORY/bench.tsv, as SVG, with gnuplot.
set -eu
directory=$1 here=$(dirname "$0")
command -v gnuplot >/dev/null || {
    echo "plot.sh: gnuplot is missing: no plots (Debian: gnuplot-nox)" >&2
    exit 0
}
data=$(mktemp -d)
trap 'rm -rf "$data"' EXIT

# over_size NAME WORKLOAD UNIT: one file for each contestant: flows, median, smallest, largest.
over_size() {
    awk -F '\t' -v name="$data/$1" -v workload="$2/v4-" -v unit="$3" '
        BEGIN { n["1k"] = 1024; n["64k"] = 65536; n["1M"] = 1048576; n["8M"] = 8388608 }
        index($1, workload) == 1 && $3 == unit { print n[substr($1, length(workload) + 1)], $4, $5, $6 >(name "-" $2) }
    ' "$directory/bench.tsv"
}

# as_table NAME PREFIX UNIT: a row for each workload that begins so, a column for each contestant.
as_table() {
    awk -F '\t' -v prefix="$2" -v unit="$3" '
        index($1, prefix) == 1 && $3 == unit {
            row = substr($1, length(prefix) + 1)
            if (!(row in seen)) { seen[row] = 1; rows[++n_rows] = row }
            if (!($2 in known)) { known[$2] = 1; columns[++n_columns] = $2 }
            value[row, $2] = $4
        }
        END {
            printf "workload"
            for (c = 1; c <= n_columns; c++) printf " %s", columns[c]
            print ""
            for (r = 1; r <= n_rows; r++) {
                printf "%s", rows[r]
                for (c = 1; c <= n_columns; c++)
                    printf " %s", ((rows[r], columns[c]) in value) ? value[rows[r], columns[c]] : "NaN"
                print ""
            }
        }' "$directory/bench.tsv" >"$data/$1"
}

over_size str steer32-str ns
over_size cold steer32-cold ns
over_size memory memory B/flow
as_table growth growth/ us
as_table threads threads/ times
gnuplot -e "data='$data'; out='$directory'" "$here/plot.gp"
