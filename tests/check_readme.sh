#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The program that README.md shows is examples/minimal.c, has at most 30 lines, compiles from the README's own text, and does what
# the README says: the answer follows the queue. Files that the README links to exist, and what it shows of the demo is what the demo
# prints. HACKING.md knows the files of lib/. Run from the build directory.
set -eu
src=${FLOWQ_SRCDIR:?}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# shellcheck disable=SC2016 # backquotes are Markdown's
sed -n '/^```c$/,/^```$/p' "$src/README.md" | sed '1d;/^```$/,$d' >"$work/readme.c"
[ -s "$work/readme.c" ] || { echo "FAILED: no block of C in README.md"; exit 1; }
diff -u "$src/examples/minimal.c" "$work/readme.c" || { echo "FAILED: README.md does not show examples/minimal.c"; exit 1; }
lines=$(wc -l <"$work/readme.c")
[ "$lines" -le 30 ] || { echo "FAILED: the program has $lines lines, more than 30"; exit 1; }

grep -o '](\([^):#]*\))' "$src/README.md" | sed 's/^](//; s/)$//' | while read -r file; do
    [ -e "$src/$file" ] || { echo "FAILED: README.md links to $file, which is not there"; exit 1; }
done

# Its table of measurements is that of bench/results, and so is the one there that has all contestants.
for shown in "README.md flowq rte_hash lfht roofline" bench/results/table.md; do
    # shellcheck disable=SC2086 # a file and contestants
    set -- $shown
    page=$1
    shift
    sh "$src/bench/table.sh" "$src/bench/results/bench.tsv" "$@" >"$work/table"
    if grep -v '^$' "$work/table" | grep -v -F -x -f "$src/$page"; then
        echo "FAILED: bench/table.sh makes these lines of bench/results, which $page does not show"
        exit 1
    fi
done

# HACKING.md knows every source file and every lettered guarantee of lib/, vhost/README.md those of vhost/, and none that is not there.
letters() { grep -o -h -w -E '[A-Z]-[A-Z]' "$@" | LC_ALL=C sort -u; }
guide_is_whole() { # FOLDER GUIDE
    for file in "$src/$1"/*.c; do
        grep -q -w -F "${file##*/}" "$src/$2" || { echo "FAILED: $2 does not know ${file##*/}"; exit 1; }
    done
    letters "$src/$1"/*.[ch] >"$work/code"
    letters "$src/$2" >"$work/told"
    diff -u "$work/code" "$work/told" || { echo "FAILED: the letters in $1/ (-) and in $2 (+) differ"; exit 1; }
}
guide_is_whole lib HACKING.md
guide_is_whole vhost vhost/README.md

libtool=./libtool
if [ ! -x $libtool ] || [ ! -e libflowq.la ]; then
    echo "not run from a build directory: the program was compared only"
    exit 77
fi
# shellcheck disable=SC2086 # a compiler may be two words, flags are several
$libtool --silent --tag=CC --mode=link ${CC:-cc} -std=c11 -Wall -Wextra -Werror ${CFLAGS-} -I"$src/include" -no-install \
    -o "$work/readme" "$work/readme.c" libflowq.la
"$work/readme" | tee "$work/output"
for queue in 0 1 2 3; do
    grep -q "sent on queue $queue: the answer goes to queue $queue\$" "$work/output" || { echo "FAILED: queue $queue"; exit 1; }
done

# What the README shows of the demo is what the demo prints.
if [ -x ./flowq-replay ]; then
    "$src/examples/demo.sh" . "$src"/tests/data/*.pcap* >"$work/demo"
    sed -n '/^Received packets that landed/,/^```$/p' "$src/README.md" | grep -v '^```$' >"$work/shown"
    [ -s "$work/shown" ] || { echo "FAILED: README.md shows nothing of the demo"; exit 1; }
    if grep -v -F -x -f "$work/demo" "$work/shown"; then
        echo "FAILED: README.md shows these lines, which the demo does not print"
        exit 1
    fi
fi
echo "ok: the $lines lines of the README compile and do what it says"
