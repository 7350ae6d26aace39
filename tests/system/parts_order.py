# SPDX-License-Identifier: BSD-2-Clause
"""Moves in order, with a real guest: numbered datagrams to flows that wander over its vCPUs, and which of them overtake others.

At the rings the switch looks (its setting watch); at the guest's sockets udp_tool does. Linux publishes that it took packets before
its NAPI batch reaches the stack, unless net.core.gro_normal_batch is 1: no switch can see that.
"""
import re
import time

from lab import LONG, Failure
from stage import ADDRESS

PORT = 5400
FLOWS = 4
MOVE_MS = 20
SECONDS = 30 if LONG else 8
LOADS = {'quiet': (1, 1000), 'loaded': (48, 20000)}  # datagrams at a time, and microseconds between
# A machine that does others' work, too, may leave a vCPU without a processor for longer than 20 ms: what has to hold there is judged
# with a bound that is out of reach, and the default's figures are printed.
PATIENT = 'steer=auto,watch,ordered,ordered-max-us=1000000'


def numbers(text):
    return {name: int(value) for name, value in re.findall(r'(\w+) (\d+)', text)}


def measure(stage, setting, load, batch):
    guest = stage.play(setting)
    guest.run(f'echo {batch} >/proc/sys/net/core/gro_normal_batch')
    pour = stage.netns.start(f'{stage.lab.build}/tests/system/udp_tool', 'pour', PORT, *LOADS[load])
    before = stage.port()
    time.sleep(0.2)
    result = numbers(guest.run(f'udp_tool wander {ADDRESS[4]} {PORT} {FLOWS} {SECONDS} {MOVE_MS}', SECONDS + 30))
    after = stage.port()
    pour.kill()
    pour.wait()
    names = ('moves', 'overtakes', 'flowq_ordered_begun', 'flowq_ordered_done', 'flowq_ordered_forced', 'flowq_ordered_held')
    result.update({name.replace('flowq_ordered_', ''): after[name] - before[name] for name in names})
    return result


def part_order(stage):
    """flows that wander over the guest's vCPUs: with the setting ordered no packet overtakes another"""
    failed, rows = [], {}
    print('                                            moves  at risk  forced   held  late runs  received')
    for load in LOADS:
        for setting, batch in (('steer=auto,watch', 8), ('steer=auto,watch,ordered', 8), (PATIENT, 8), (PATIENT, 1)):
            ordered = 'ordered' in setting
            row = rows[load, setting, batch] = measure(stage, setting, load, batch)
            bound = '1 s' if setting == PATIENT else '20 ms'
            name = f'{load}, {f"ordered, {bound}" if ordered else "at once"}, batch of {batch}'
            print(f'      {name:<36} {row["moves"]:6} {row["overtakes"]:8} {row["forced"]:7} {row["held"]:6} {row["runs"]:10} '
                  f'{row["received"]:9}', flush=True)
            if not ordered:
                continue
            if row['overtakes'] > row['forced']:
                failed.append(f'{name}: {row["overtakes"]} moves at risk, {row["forced"]} were forced')
            if row['moves'] < 20:
                failed.append(f'{name}: only {row["moves"]} moves')
            if batch == 1 and row['runs'] > row['overtakes']:
                failed.append(f'{name}: {row["runs"]} late runs')
    late = {setting: sum(rows[load, setting, 8]['runs'] for load in LOADS) for setting in ('steer=auto,watch', PATIENT)}
    print(f'      late runs with Linux\'s own batch: {late[PATIENT]}, and {late["steer=auto,watch"]} without the setting')
    if failed:
        raise Failure('; '.join(failed))
