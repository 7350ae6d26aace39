#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""tests/coverage.py SRCDIR coverage.json: each line of lib/ that was not reached, with its function, or that has a branch which was
never taken. Fails if one was not reached that tests/unreached.txt does not list, or if that lists what is not there any more. What
wants instructions that this processor lacks is taken out of coverage.json, as nothing that runs here can reach it."""
import json
import sys

src, report = sys.argv[1:]
# (file, "function()" or "function(): text of the line") -> whether it is still there
listed = {}
# those under "processor: flag" that cannot run here
impossible = set()
with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
    flags = set(cpuinfo.read().split())
with open(f"{src}/tests/unreached.txt", encoding="utf-8") as unreached:
    wanted = None
    for entry in unreached.read().splitlines():
        if entry.startswith("processor: "):
            wanted = entry.split()[1]
        elif entry.startswith("lib/"):
            place = tuple(entry.split(" ", 1))
            listed[place] = False
            if wanted and wanted not in flags:
                impossible.add(place)
        elif not entry:
            wanted = None

unlisted = 0
with open(report, encoding="utf-8") as counted:
    coverage = json.load(counted)
for file in coverage["files"]:
    name = file["file"]
    with open(f"{src}/{name}", encoding="utf-8") as source:
        text = [line.strip() for line in source.read().splitlines()]
    begins = {f["lineno"]: f["name"] + "()" for f in file["functions"]}
    function = "()"
    for line in file["lines"]:
        at = line["line_number"]
        function = begins.get(at, function)
        where = f"{function}: {text[at - 1]}"
        known = [place for place in ((name, function), (name, where)) if place in listed]
        for place in known:
            listed[place] = True
        if impossible.intersection(known):
            line["gcovr/noncode"] = True
        if line.get("gcovr/noncode"):
            continue
        branches = [b["count"] for b in line["branches"]]
        if line["count"] == 0:
            unlisted += not known
            print(f"{name}:{at}: {'not reached' if known else 'NOT LISTED'}: {name} {where}")
        elif 0 in branches:
            print(f"{name}:{at}: {branches.count(0)} of {len(branches)} branches: {text[at - 1]}")

with open(report, "w", encoding="utf-8") as counted:
    json.dump(coverage, counted)
gone = [" ".join(place) for place, there in listed.items() if not there]
for entry in gone:
    print(f"tests/unreached.txt lists what is not there: {entry}", file=sys.stderr)
if unlisted:
    print(f"{unlisted} lines of lib/ were not reached and are not in tests/unreached.txt", file=sys.stderr)
sys.exit(bool(gone or unlisted))
