#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The example vswitch keeps flows over a restart (--state): when they are loaded and saved, in which files, and which files are left
# alone. And it takes commands while it runs (--commands). Nobody connects: the flows are those of a stream that is kept. Run from
# the build directory.
set -eu
src=${FLOWQ_SRCDIR:?}
if [ ! -x examples/vswitch ]; then
    echo "vswitch is not built: it needs DPDK"
    exit 77
fi
work=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill -9 "$pid" || :; rm -rf "$work"' EXIT
RUNTIME_DIRECTORY=$work # DPDK's files
export RUNTIME_DIRECTORY
failed=0
kept=$src/tests/data/state-1.bin # of nine flows
umask 077
mkdir "$work/state"

# The name of the file of a socket.
file() {
    echo "$work/state/$(printf %s "$1" | sed 's|/|%2F|g; s|%2F\.|%2F%2E|g').flowq"
}
a=$work/a b=$work/b
file_a=$(file "$a") file_b=$(file "$b")
input=/dev/null more=

# start ARGUMENT...: it runs, and its sockets are open.
start() {
    rm -f "$a" "$b"
    : >"$work/err"
    examples/vswitch "$@" "vhost:$a" "vhost:$b$more" <"$input" >"$work/out" 2>>"$work/err" 3>&- &
    pid=$!
    tries=0
    while [ ! -S "$b" ]; do
        sleep 0.05
        tries=$((tries + 1))
        if [ $tries = 600 ] || ! kill -0 $pid 2>/dev/null; then
            echo "FAILED: vswitch does not start: $(cat "$work/err")"
            exit 1
        fi
    done
}

# stop SIGNAL; what it said stays in err.
stop() {
    kill "-$1" $pid
    status=0
    wait $pid 2>/dev/null || status=$?
    pid=
}

# expect WHAT "WORDS"...: it said this, of A's and B's flows and what is wrong, and nothing else; line by line, in any order.
expect() {
    what=$1
    shift
    printf '%s\n' "$@" | sed '/^$/d' | LC_ALL=C sort >"$work/want"
    sed "s|^vswitch: ||; s|$work/||g" "$work/err" | LC_ALL=C sort >"$work/got"
    if diff "$work/want" "$work/got" >"$work/diff"; then
        echo "ok: $what"
    else
        echo "FAILED: $what:"
        cat "$work/diff"
        failed=1
    fi
}

# holds WHAT CONDITION...
holds() {
    what=$1
    shift
    if "$@"; then
        echo "ok: $what"
    else
        echo "FAILED: $what"
        failed=1
    fi
}

size() { wc -c <"$1"; }

# ---- Saved, and loaded ----
start --state "$work/state"
stop TERM
expect "without files it starts, and says nothing" ""
holds "it ends with 0" [ $status = 0 ]
holds "each socket has its file" [ -s "$file_a" ]
holds "each socket has its file, the other" [ -s "$file_b" ]
holds "which only its owner can read" [ "$(stat -c %a "$file_a")" = 600 ]
holds "no file but these" [ "$(find "$work/state" -type f | wc -l)" = 2 ]
start --state "$work/state"
stop INT
expect "what an idle switch saved is loaded" "a: 0 flows as before" "b: 0 flows as before"

cp "$kept" "$file_a"
start --state "$work/state"
stop TERM
expect "flows of one socket are not the other's" "a: 9 flows as before" "b: 0 flows as before"
holds "it saves what itself would write, not what it read" [ "$(size "$file_a")" -ne "$(size "$kept")" ]
start --state "$work/state"
stop TERM
expect "they outlive a second restart" "a: 9 flows as before" "b: 0 flows as before"

cp "$file_a" "$work/good"
mv "$file_a" "$file_b"
start --state "$work/state"
stop TERM
expect "the file's name says whose flows they are" "b: 9 flows as before"

start
stop TERM
expect "without --state nothing is loaded" ""

# ---- Killed ----
cp "$work/good" "$file_a"
echo unfinished >"${file_a%.flowq}.new"
start --state "$work/state"
stop KILL
holds "who is killed leaves the file as it was" cmp -s "$work/good" "$file_a"
rm "$file_b"
start --state "$work/state" --save-every 1
tries=0
while [ ! -e "$file_b" ] && [ $tries -lt 300 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
stop KILL
expect "an unfinished file is not loaded" "a: 9 flows as before"
holds "--save-every saves before the end" [ -s "$file_b" ]

# ---- Files that are left alone ----
n=$(size "$work/good")
{ head -c $((n - 30)) "$work/good" && printf 'x' && tail -c 29 "$work/good"; } >"$file_a"
rm -f "$file_b"
start --state "$work/state"
stop TERM
expect "a damaged file is told, and the switch runs" "state ${file_a#"$work/"}: Bad message"
head -c 100 "$work/good" >"$file_a"
rm -f "$file_b"
start --state "$work/state"
stop TERM
expect "so is one that is cut" "state ${file_a#"$work/"}: Bad message"
holds "and a good one takes its place" [ -s "$file_a" ]
cp "$work/good" "$file_a"
chmod 640 "$file_a"
mkfifo "$work/fifo"
mv "$work/fifo" "$file_b"
start --state "$work/state"
stop TERM
expect "a file that others may read, and none at all" "state ${file_a#"$work/"}: Operation not permitted" \
    "state ${file_b#"$work/"}: Operation not permitted"
rm -f "$file_a" "$file_b"
cp "$work/good" "$work/elsewhere"
ln -s "$work/elsewhere" "$file_a"
start --state "$work/state"
stop TERM
expect "a link is not followed" "state ${file_a#"$work/"}: Too many levels of symbolic links"
holds "nor written through" cmp -s "$work/good" "$work/elsewhere"
holds "and the file takes its place" [ ! -L "$file_a" ]

# ---- Folders ----
# refuses FOLDER WHY [COMMAND...]: it does not start, and says why.
refuses() {
    folder=$1 why=$2
    shift 2
    status=0
    "$@" examples/vswitch --state "$folder" "vhost:$a" "vhost:$b" >"$work/out" 2>"$work/err" || status=$?
    expect "a folder of which it says $why" "state ${folder#"$work/"}: $why"
    holds "and ends with 1" [ $status = 1 ]
}
refuses "$work/missing" "No such file or directory"
refuses "$work/good" "Not a directory"
chmod 0 "$work/state"
if [ "$(id -u)" != 0 ]; then
    refuses "$work/state" "Permission denied"
elif setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-dac_override,-dac_read_search true 2>/dev/null; then
    refuses "$work/state" "Permission denied" \
        setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-dac_override,-dac_read_search
fi
chmod 700 "$work/state"
start --state "$work/state"
mv "$work/state" "$work/moved"
stop TERM
expect "a folder that goes meanwhile is told for each file" "a: 0 flows as before" "b: 0 flows as before" \
    "state ${file_a#"$work/"}: No such file or directory" "state ${file_b#"$work/"}: No such file or directory"
holds "and it ends all the same" [ $status = 0 ]

# ---- Commands ----
mkdir "$work/state"
mkfifo "$work/commands"
cp "$work/good" "$file_a"
exec 3<>"$work/commands"
input=$work/commands more=,steer=hash,crc reports=0
start --state "$work/state" --commands

# await: what is expected to be printed is, all reports in whole.
await() {
    reports=$((reports + 1))
    tries=0
    while [ "$(grep -c "^$b: steer" "$work/out")" -lt $reports ] && [ $tries -lt 600 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
}

# steered WHAT "PORT WAY FLOWS"...: the last report says this of A and B.
steered() {
    what=$1
    shift
    printf '%s\n' "$@" >"$work/want"
    sed -n "s|^$work/\\(.\\): steer \\([^ ]*\\), .*, \\([0-9]*\\) flows\$|\\1 \\2 \\3|p" "$work/out" | tail -n 2 >"$work/got"
    holds "$what: $(tr '\n' ';' <"$work/got")" cmp -s "$work/want" "$work/got"
}

# told WHAT "WORDS"...: since it was asked the last time, it has complained of this alone.
told() {
    expect "$@"
    : >"$work/err"
}

# ask LINE...: commands, and a report.
ask() {
    printf '%s\n' "$@" report >&3
    await
}

ask
steered "a report shows how ports are steered" "a auto 9" "b hash,crc 0"
told "and what was loaded" "a: 9 flows as before"
for way in hash queue0 hash,crc; do
    ask "steer $b auto" "steer $b $way"
    steered "steered by $way from now on" "a auto 9" "b $way 0"
done
ask "steer $a auto"
steered "who is steered by auto goes on with its flows" "a auto 9" "b hash,crc 0"
ask "steer $a queue0"
steered "any other way forgets them" "a queue0 0" "b hash,crc 0"
ask "steer $b auto" "" "steer $a hash" "steer $a auto"
steered "commands are done in order, and an empty line is none" "a auto 0" "b auto 0"
told "nothing of this is worth a word" ""

ask "steer" "steer $a" "steer $a " "steer $a other" "steer nobody auto" "steer  auto" "steering $a auto" "help" "report $a"
steered "wrong commands change nothing" "a auto 0" "b auto 0"
told "each is told" "command steer: it takes a port and a way" "command steer: it takes a port and a way" \
    "command steer: : it is auto, hash, hash,crc or queue0" "command steer: other: it is auto, hash, hash,crc or queue0" \
    "command steer: nobody: there is no such port" "command steer: : there is no such port" \
    "command steering a auto: there is none of this name" "command help: there is none of this name" \
    "command report a: there is none of this name"
ask "$(printf 'steer %600s' "$a hash")"
told "a line that is too long is told, once" "a command: the line is too long"
steered "and not done" "a auto 0" "b auto 0"
printf 'steer %s ha' "$a" >&3
sleep 0.2
printf 'sh\nrep' >&3
sleep 0.2
printf 'ort\n' >&3
await
steered "lines may come in pieces" "a hash 0" "b auto 0"
printf 'steer %s auto\nreport' "$a" >&3
exec 3>&-
await
steered "the last line may lack its end" "a auto 0" "b auto 0"
kill -USR1 $pid
await
holds "it outlives its input" kill -0 $pid
printf 'steer %s hash\n' "$a" 3>&- >"$work/late"
stop TERM
holds "and ends with 0" [ $status = 0 ]
told "and without a word" ""

input=$work/late
start --state "$work/state"
kill -USR1 $pid
reports=0
await
steered "without --commands it reads nothing" "a auto 0" "b hash,crc 0"
stop TERM
start --json --state "$work/state" --commands
kill -USR1 $pid
tries=0
while ! grep -q '"steer":"hash",' "$work/out" && [ $tries -lt 600 ]; do
    kill -USR1 $pid
    sleep 0.05
    tries=$((tries + 1))
done
holds "the way's name is the same in JSON" grep -q '"steer":"hash",.*"steer":"hash,crc",' "$work/out"
stop TERM
exit $failed
