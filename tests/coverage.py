#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""tests/coverage.py SRCDIR coverage.json: each line of lib/ that was not reached, or has a branch that was never taken."""
import json
import sys

for file in json.load(open(sys.argv[2], encoding="utf-8"))["files"]:
    with open(f"{sys.argv[1]}/{file['file']}", encoding="utf-8") as source:
        text = source.read().splitlines()
    for line in file["lines"]:
        if line.get("gcovr/noncode"):
            continue
        branches = [b["count"] for b in line["branches"]]
        if line["count"] == 0:
            print(f"{file['file']}:{line['line_number']}: not reached: {text[line['line_number'] - 1].strip()}")
        elif 0 in branches:
            print(f"{file['file']}:{line['line_number']}: {branches.count(0)} of {len(branches)} branches: "
                  f"{text[line['line_number'] - 1].strip()}")
