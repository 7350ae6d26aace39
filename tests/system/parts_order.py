# SPDX-License-Identifier: BSD-2-Clause
"""Moves in order, with a real guest: numbered datagrams to flows that wander over its vCPUs, and which of them overtake others.

At the rings the switch looks (its setting watch), or ring_watch.c before librte_vhost; at the guest's sockets udp_tool does. Linux
publishes that it took packets before its NAPI batch reaches the stack, unless net.core.gro_normal_batch is 1: no switch can see that.

What a guest has not taken within 20 ms is forced to move. Where the machine had no processor for a thread of the guest that says
nothing, so how many are forced is judged by what happened while none of them had to wait (calm.py). All else must hold on any machine.
"""
import math
import mmap
import os
import re
import struct
import time

from calm import Calm, first
from lab import Failure
from openvswitch import OvsStage, telemetry
from stage import ADDRESS, OUT_OF_ORDER, PORT, Stage

POUR_PORT = 5400
FLOWS = 4
MOVE_MS = 20
LOADS = {'quiet': (1, 1000), 'loaded': (12, 5000)}  # datagrams at a time, and microseconds between
BOUND = 0.02  # seconds: the default's
LONG_WAIT = 0.75 * BOUND  # who waits that long in BOUND for a processor cannot be blamed
MOST_FORCED = 0.01
MOST_LATE = 0.2  # of those without the setting
BY_CHANCE = 1e-6  # more than a share allows, and less likely than this: it is not kept
COUNTS = ('moves', 'overtakes', 'begun', 'done', 'back', 'forced', 'lapsed', 'off', 'full', 'held')
# How flows move: what vswitch's port, or FLOWQ_VHOST, is told. A second is a bound that no guest reaches.
AT_ONCE, DEFAULT, PATIENT = 'at once', 'ordered, 20 ms', 'ordered, 1 s'
VSWITCH = {AT_ONCE: 'steer=auto,watch', DEFAULT: 'steer=auto,watch,ordered', PATIENT: 'steer=auto,watch,ordered,ordered-max-us=1000000'}
DROPIN = {AT_ONCE: 'flowq', DEFAULT: 'flowq,ordered=on', PATIENT: 'flowq,ordered=on,ordered_max_us=1000000'}
KINDS = ((AT_ONCE, 8), (DEFAULT, 8), (PATIENT, 8), (PATIENT, 1))  # and gro_normal_batch


class PackedStage(Stage):
    """Its rings are packed; librte_vhost and Linux both know them.

    Behind a switch that takes another's place such a guest hears nothing any more: how far a packed ring has got is not in the guest's
    memory, and QEMU, which is not told by a switch that ends, cannot tell the next one. So each has a guest of its own.
    """
    DEVICE = ',packed=on'

    def play(self, *args, **kwargs):
        if self.guest is not None:
            self.guest.kill()
            self.guest = None
        return super().play(*args, **kwargs)


class WatchedStage(OvsStage):
    """Open vSwitch, the drop-in, and behind that who watches the rings."""

    def __init__(self, lab):
        super().__init__(lab)
        self.counts = lab.path('ring_watch')
        self.preload += f':{lab.build}/tests/system/.libs/ring_watch.so'
        self.switch.environment['FLOWQ_RING_WATCH'] = self.counts

    def port(self, name='guest'):
        """As vswitch tells it."""
        with open(self.counts, 'rb') as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as counts:
            moves, overtakes = struct.unpack('=QQ', counts)
        return {'moves': moves, 'overtakes': overtakes, **telemetry(self.lab, '/flowq/port,0')}


def numbers(text):
    return {name: int(value) for name, value in re.findall(r'(\w+) (\d+)', text)}


def count(stage):
    told = stage.port()
    return {name: told[name] if name in told else told[f'flowq_ordered_{name}'] for name in COUNTS}


def measured(stage, setting, batch, during):
    """What was counted while during() ran, and what of it in calm times."""
    guest = stage.play(setting)
    guest.run(f'echo {batch} >/proc/sys/net/core/gro_normal_batch')
    before = count(stage)
    with Calm(guest.process.pid, lambda: count(stage), BOUND) as calm:
        result = during()
    after = count(stage)
    if calm.failure is not None:
        raise calm.failure
    result.update({name: after[name] - before[name] for name in after})
    result['load'] = os.getloadavg()[0]
    result['calm'], result['calm_share'] = calm.calm(LONG_WAIT)
    return result


def wander(stage, setting, batch, load, seconds):
    def during():
        pour = stage.netns.start(f'{stage.lab.build}/tests/system/udp_tool', 'pour', POUR_PORT, *LOADS[load])
        time.sleep(0.2)
        result = numbers(stage.guest.run(f'udp_tool wander {ADDRESS[4]} {POUR_PORT} {FLOWS} {seconds} {MOVE_MS}', seconds + 30))
        pour.kill()
        pour.wait()
        return result
    return measured(stage, setting, batch, during)


def receive_tcp(stage, setting, batch, seconds):
    """A TCP connection at its own pace, whose acknowledgements come from another vCPU again and again."""
    def during():
        before, = stage.counters(OUT_OF_ORDER)
        stage.guest.run(f'iperf3 -c {ADDRESS[4]} -p {PORT} -R -b 4M -l 1200 -t {seconds} >/tmp/iperf3 2>&1 & pid=$!; i=0; '
                        f'while kill -0 $pid 2>/dev/null; do taskset -p $((1 << i % 4)) $pid >/dev/null 2>&1; i=$((i + 1)); '
                        f'usleep {MOVE_MS}000; done', seconds + 60)
        received = re.search(r'([\d.]+) MBytes.*receiver', stage.guest.run('cat /tmp/iperf3'))
        return {'runs': stage.counters(OUT_OF_ORDER)[0] - before, 'received': int(float(received[1]) * 1e6 / 1200) if received else 0}
    return measured(stage, setting, batch, during)


# ---- What must hold ----

def likely(seen, of, part):
    """Whether so many or more of them come about by chance, where each does with this probability."""
    if seen == 0 or part >= 1:
        return True
    logs = [math.lgamma(of + 1) - math.lgamma(k + 1) - math.lgamma(of - k + 1) + k * math.log(part) + (of - k) * math.log1p(-part)
            for k in range(seen, of + 1)]
    return sum(math.exp(log) for log in logs) >= BY_CHANCE


def exceptions(row):
    return row['forced'] + row['lapsed'] + row['full'] + row['off']


def judge(kind, batch, row):
    """What is wrong with it, in words."""
    calm = row['calm']
    if row['moves'] < 20:
        yield f'only {row["moves"]} moves'
    if kind == AT_ONCE:
        return
    if row['overtakes'] > exceptions(row):
        yield f'{row["overtakes"]} moves at risk, {exceptions(row)} were forced'
    if row['lapsed'] + row['full'] + row['off'] > 0:
        yield f'without order: {row["lapsed"]} lapsed, {row["full"]} found no room, {row["off"]} had lost their queue'
    if kind == DEFAULT and not likely(calm['forced'], calm['begun'], MOST_FORCED):
        yield f'in calm times {calm["forced"]} of {calm["begun"]} were forced'
    if batch == 1 and exceptions(row) == 0 and row['runs'] > 0:
        yield f'{row["runs"]} late runs'


def judge_late(rows):
    """Linux's own batch: late runs, with the setting where no move is forced and without."""
    at_once, ordered = ([row for (_, kind, batch), row in rows.items() if kind == wanted and batch == 8] for wanted in (AT_ONCE, PATIENT))
    late, moves = ([sum(row[name] for row in some) for some in (ordered, at_once)] for name in ('runs', 'moves'))
    risk = sum(row['overtakes'] for row in at_once)
    part = late[0] / max(moves[0], 1) / max(late[1] / max(moves[1], 1), 1e-9)
    print(f'      late runs with Linux\'s own batch: {late[0]} in {moves[0]} moves, without the setting {late[1]} in {moves[1]}: '
          f'{part:.2f} times')
    if risk == 0:
        yield 'nothing was at risk without the setting: this shows nothing'
    if not likely(late[0], sum(late), MOST_LATE * moves[0] / (MOST_LATE * moves[0] + moves[1])):
        yield f'with Linux\'s own batch {late[0]} late runs, and {late[1]} without the setting'


def show(name, row):
    calm = row['calm']
    print(f'      {name:<41} {row["moves"]:6} {row["overtakes"]:8} {row["forced"]:7} {calm["forced"]:6} of {calm["begun"]:<6}'
          f'{row["held"]:7} {row["runs"]:10} {row["received"]:9} {row["load"]:5.1f}', flush=True)


def play(stage, settings, seconds, loads=tuple(LOADS)):
    failed, rows = [], {}
    print('                                                 moves  at risk  forced    in calm times   held  late runs  received  load')
    for load in loads:
        for kind, batch in KINDS:
            name = f'{load}, {kind}, batch of {batch}'
            row = rows[load, kind, batch] = wander(stage, settings[kind], batch, load, seconds)
            show(name, row)
            failed += [f'{name}: {what}' for what in judge(kind, batch, row)]
    failed += judge_late(rows)
    return failed


def end(failed):
    if failed:
        raise Failure('; '.join(failed))


def part_order(stage):
    """flows that wander over the guest's vCPUs: with the setting ordered no packet overtakes another"""
    with first():
        failed = play(stage, VSWITCH, 30)
        for kind, batch in KINDS:  # only for information: what TCP sends again says more of rings that are full
            row = receive_tcp(stage, VSWITCH[kind], batch, 10)
            show(f'TCP, paced, {kind}, batch of {batch}', row)
    end(failed)


def part_packed(stage):
    """the same where the guest's rings are packed"""
    with first():
        failed = play(stage, VSWITCH, 20)
    if not stage.guest.packed():
        failed.append('the rings are not packed')
    end(failed)


def part_ovs(stage):
    """the same behind Open vSwitch as packaged, flowq preloaded"""
    with first():
        failed = play(stage, DROPIN, 20)
    end(failed)
