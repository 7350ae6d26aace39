#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# run.sh PROGRAM DIRECTORY: runs the whole benchmark and leaves bench.tsv, bench.json, bench.txt, table.md and the plots in the
# directory.
set -eu
program=$1 directory=$2 here=$(dirname "$0")
mkdir -p "$directory"
"$program" --save="$directory" | tee "$directory/bench.txt"
sh "$here/table.sh" "$directory/bench.tsv" >"$directory/table.md"
"$here/plot.sh" "$directory"
