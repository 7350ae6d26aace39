# SPDX-License-Identifier: BSD-2-Clause
"""Switches that take turns between two guests that are programs (tests/system/traffic.c).

All are there all the time, each with guests of its own, and all but one are stopped. A switch has one processor and the guests have
another one, before everybody else as far as niceness goes: that of the session, too (sched(7), autogroup), as long as calm.first() holds.
"""
import contextlib
import os
import signal
import statistics

from lab import Failure, Traffic

TURN = 0.3  # seconds


def cpu_ns(pid):
    """What all threads of a process have used, as the scheduler counts it; one that has ended counts no more."""
    total = 0
    for task in os.listdir(f'/proc/{pid}/task'):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), \
                open(f'/proc/{pid}/task/{task}/schedstat', encoding='ascii') as stat:
            total += int(stat.read().split()[0])
    return total


class Turn:
    """rate: packets a second, in both directions; cpu: ns of the switch for each; share: of those that came where they were wanted"""

    def __init__(self, seen, cpu):
        self.rate = seen['rate']
        self.share = seen['right'] / max(seen['measured'], 1)
        self.cpu = cpu / max(2 * (seen['sent'] - seen['lost']), 1)


class Contestant:
    """A switch, which has its sockets (clients of those that the guests make), and its guests. Stopped but for its turns."""

    def __init__(self, lab, process, paths):
        self.process = process
        self.guests = Traffic(lab, paths, by=('taskset', '-c', '1') if os.cpu_count() > 1 else ())
        self.play(1000)
        process.send_signal(signal.SIGSTOP)

    def play(self, flows, seconds=TURN, anew=False):
        before = cpu_ns(self.process.pid)
        seen = self.guests.play(flows, seconds, anew=anew)
        return Turn(seen, cpu_ns(self.process.pid) - before)

    def turn(self, flows, seconds=TURN):
        self.process.send_signal(signal.SIGCONT)
        try:
            turn = self.play(flows, seconds)
        finally:
            self.process.send_signal(signal.SIGSTOP)
        if turn.rate == 0:
            raise Failure('a switch carries nothing')
        return turn

    def go_on(self):
        """So that it can end."""
        self.process.send_signal(signal.SIGCONT)


def rounds(contestants, flows, n, seconds=TURN):
    """n rounds of one turn each, after one that warms up; another one begins each time. A list of turns for each contestant."""
    turns = [[] for _ in contestants]
    for number in range(-1, n):
        for i in range(len(contestants)):
            which = (i + number) % len(contestants)
            turn = contestants[which].turn(flows, seconds)
            if number >= 0:
                turns[which].append(turn)
    return turns


def median(turns, what):
    return statistics.median(getattr(turn, what) for turn in turns)


def ratios(turns, others, what):
    """What the first had for each of the others', in the turns beside each other."""
    return [getattr(a, what) / max(getattr(b, what), 1e-9) for a, b in zip(turns, others)]


def ratio(turns, others, what):
    return statistics.median(ratios(turns, others, what))
