#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What steering costs inside a switch: packets a second, and CPU a packet, of examples/vswitch with one worker, between two guests that
are programs with four queues each, which send packets of 64 bytes; Debian's packages only, no virtual machine.

BUILD is a build directory with examples/vswitch and tests/system/traffic: that of `./bootstrap check-system`, or one in which `make
system-programs` was called. As root, for the niceness. The ways to choose a queue take turns (bench/turns.py), and ratios are medians
of turns beside each other, 1 is as fast or as dear:

  queue0   all to the first queue; what the guests transmit is not noted
  crc      a CRC of addresses and ports over the queues: a plain hash, without flowq
  hash     flowq without learning: its keyed hash
  auto     the queue on which the guest transmits the flow

Where a process has its memory, and who is begun first, makes some percent, a tenth even; so each way has several processes, one after the
other, and each begins as often. Exit status 1: a "must" is missed by more than 5 %, which is put down to the machine.
"""
import argparse
import contextlib
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '../tests/system')]
sys.dont_write_bytecode = True

from calm import first  # noqa: E402
from lab import Lab, Skip, vswitch  # noqa: E402
from turns import TURN, Contestant, median, ratio, rounds  # noqa: E402

FLOWS = (1, 1000, 100000)
ROOM = 'max-flows=262144'  # more than 100,000 flows
WAYS = {
    'queue0': 'steer=queue0',
    'crc': 'steer=hash,crc',
    'hash': 'steer=hash',
    'auto': f'steer=auto,{ROOM}',
}
GOALS = {('auto', 'crc'): (0.97, 1.0), ('auto', 'hash'): (0.97, 1.0)}  # who, against whom: at least, and what we are out for
GOAL_FLOWS = 1000
TOLERANCE = 1.05


def contestant(lab, setting):
    paths = [lab.path('a'), lab.path('b')]
    own = ('taskset', '-c', '0') if os.cpu_count() > 1 else ()
    process = lab.start(*own, vswitch(lab.build), *(f'vhost:{path},client,{setting}' for path in paths), stdout=-3)
    return Contestant(lab, process, paths)


def show(flows, turns):
    crc = turns['crc']
    for way, ours in turns.items():
        print(f'| {flows} | {way} | {median(ours, "rate") / 1e6:.2f} M/s | {ratio(ours, crc, "rate"):.3f} | {median(ours, "cpu"):.0f} ns '
              f'| {ratio(ours, crc, "cpu"):.3f} | {100 * median(ours, "share"):.1f} % |', flush=True)


def judge(turns):
    """How many musts are missed."""
    missed = 0
    print('\n| packets a second at 1000 flows | must | aim | is |\n|---|---|---|---|')
    for (one, other), (must, aim) in GOALS.items():
        is_ = ratio(turns[one], turns[other], 'rate')
        missed += is_ * TOLERANCE < must
        print(f'| {one} / {other} | {must} | {aim} | {is_:.3f} |')
    return missed


def play(number, turns):
    """One process of each way, begun in an order that depends on the number; its turns are added to those by flows and way."""
    order = [list(WAYS)[(i + number) % len(WAYS)] for i in range(len(WAYS))]
    with contextlib.ExitStack() as labs:
        contestants = [contestant(labs.enter_context(Lab(ARGUMENTS.build)), WAYS[way]) for way in order]
        for flows, by_way in turns.items():
            for way, more in zip(order, rounds(contestants, flows, ARGUMENTS.rounds, ARGUMENTS.seconds)):
                by_way[way].extend(more)
        for each in contestants:
            each.go_on()


def main():
    chosen = FLOWS if ARGUMENTS.flows is None else (ARGUMENTS.flows,)
    turns = {flows: {way: [] for way in WAYS} for flows in chosen}
    began = time.monotonic()
    try:
        with first():
            for number in range(ARGUMENTS.processes):
                play(number, turns)
    except Skip as skip:
        sys.exit(f'switch.py: {skip}')
    print('| flows | way | packets | times crc | CPU a packet | times crc | on the right queue |\n|---|---|---|---|---|---|---|')
    for flows, by_way in turns.items():
        show(flows, by_way)
    missed = judge(turns[GOAL_FLOWS]) if GOAL_FLOWS in turns else 0
    print(f'\n{ARGUMENTS.processes} processes of each, {ARGUMENTS.rounds} turns in each, {time.monotonic() - began:.0f} s, '
          f'load {os.getloadavg()[0]:.1f}')
    return 1 if missed > 0 else 0


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build', metavar='BUILD', type=os.path.abspath, help='build directory, build/system for instance')
    parser.add_argument('--flows', type=int, help='this many, in place of 1, 1000 and 100,000')
    parser.add_argument('--rounds', type=int, default=7, help='turns of each process; default 7')
    parser.add_argument('--processes', type=int, default=len(WAYS), help=f'of each way, a multiple of {len(WAYS)}; default {len(WAYS)}')
    parser.add_argument('--seconds', type=float, default=TURN, help=f'a turn; default {TURN}')
    return parser.parse_args()


if __name__ == '__main__':
    ARGUMENTS = read_arguments()
    sys.exit(main())
