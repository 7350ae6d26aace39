# SPDX-License-Identifier: BSD-2-Clause
"""Parts with Debian's Open vSwitch, unchanged, and libflowq-vhost.so preloaded; one Linux guest."""
import json
import os
import re
import subprocess
import time

from lab import LONG, Failure, until
from openvswitch import OvsStage
from parts_guest import longest_stall
from stage import ADDRESS, PORT, QUEUES, SERVERS, share

KINDS = {'TCP sent': (), 'UDP received': ('-u', '-R', '-b', '20M', '-l', '1200')}
LONG_KINDS = {'TCP received': ('-R',), 'UDP sent': ('-u', '-b', '10M', '-l', '1200')}
HOSTS = {'flowq': 'Open vSwitch, flowq preloaded', 'hash': 'Open vSwitch, tx-steering=hash', 'stock': 'Open vSwitch, as it comes'}
ENOUGH = 1000  # packets of four senders that say something; fewer are acknowledgements now and then, and handshakes


def by_queue(guest):
    """Packets that the guest received and transmitted, by queue."""
    counts = {'rx': [0] * QUEUES, 'tx': [0] * QUEUES}
    text = guest.run('ethtool -S eth0 | grep -E "_queue_[0-9]+_packets"')
    for way, queue, value in re.findall(r'([rt]x)_queue_(\d+)_packets: (\d+)', text):
        counts[way][int(queue)] = int(value)
    return counts


def pinned(stage, vcpu, family, options, seconds=1):
    """A sender or receiver on that vCPU: what the guest received and transmitted meanwhile, by queue."""
    before = by_queue(stage.guest)
    stage.guest.run(f'taskset {1 << vcpu:x} iperf3 -c {ADDRESS[family]} -p {PORT + vcpu} -t {seconds} {" ".join(options)} >/tmp/iperf3',
                    seconds + 30)
    after = by_queue(stage.guest)
    return [[b - a for a, b in zip(before[way], after[way])] for way in ('rx', 'tx')]


def on_own(rows):
    """The share of packets on the queue of the vCPU, of the worst vCPU and of all; and all packets."""
    packets = sum(sum(row) for row in rows)
    right = sum(row[vcpu] for vcpu, row in enumerate(rows))
    return min(share(row, vcpu) for vcpu, row in enumerate(rows)), right / max(packets, 1), packets


def on_queues(stage, setting, name):
    """All kinds of traffic with this setting; those of which too much went elsewhere."""
    stage.play(setting)
    failed = []
    kinds = {**KINDS, **(LONG_KINDS if LONG else {})}
    for kind, family in [(kind, family) for kind in kinds for family in (4, 6)]:
        rows = [pinned(stage, vcpu, family, kinds[kind]) for vcpu in range(QUEUES)]
        ways = [on_own(column) for column in zip(*rows)]
        what = f'{kind}, IPv{family}'
        print(f'      {name:<31} {what:<19}' + ' '.join(
            f'{100 * worst:14.2f} % {100 * whole:6.2f} % {packets:8}' for worst, whole, packets in ways), flush=True)
        if any(packets >= ENOUGH and worst < 0.99 for worst, _, packets in ways):
            failed.append(what)
    return failed


def must_be_right(failed):
    if failed:
        raise Failure(f'less than 99 % on the right queue: {", ".join(failed)}')


HEAD = '    on the queue of the pinned vCPU                         received: worst     all  packets   sent: worst     all  packets'


def part_queues(stage):
    """Open vSwitch as packaged, flowq preloaded: senders and receivers pinned to each vCPU; the long form: a hash, as it comes, too"""
    print(HEAD)
    failed = {setting: on_queues(stage, setting, name) for setting, name in HOSTS.items() if setting == 'flowq' or LONG}
    must_be_right(failed['flowq'])


class PackedStage(OvsStage):
    DEVICE = ',packed=on'


def part_packed(stage):
    """the same for a guest whose rings are packed"""
    print(HEAD)
    failed = on_queues(stage, 'flowq', HOSTS['flowq'])
    if not stage.guest.packed():
        raise Failure('the rings were not packed')
    must_be_right(failed)


def load_and_change(stage):
    """ethtool -L in a loop while four streams run: the longest that one stood still, the rate, and what the guest looks like after."""
    guest, port = stage.guest, PORT + SERVERS + 1
    server = stage.netns.start('iperf3', '-s', '-1', '-J', '-i', '0.25', '-p', port, stdout=subprocess.PIPE, text=True)
    time.sleep(0.3)
    guest.run(f'iperf3 -c {ADDRESS[4]} -p {port} -t 10 -P 4 >/tmp/iperf3 2>&1 & echo $! >/tmp/flow.pid; sleep 1')
    guest.run('for i in 1 2 3 4 5; do for n in 2 1 4; do ethtool -L eth0 combined $n || exit 1; usleep 400000; done; done', 60)
    guest.run('while kill -0 $(cat /tmp/flow.pid) 2>/dev/null; do sleep 0.1; done', 60)
    report = json.loads(server.communicate(timeout=30)[0])
    if 'error' in report:
        raise Failure(f'iperf3: {report["error"]}')
    return longest_stall(report), report['end']['sum_received']['bits_per_second'] / 1e6


def part_off_and_on(stage):
    """Open vSwitch, flowq preloaded: ethtool -L combined 2, 1, 4 in a loop under load; no stall over half a second"""
    seen = {}
    for setting in ('flowq', 'stock') if LONG else ('flowq',):
        stage.play(setting)
        seen[setting] = load_and_change(stage)
        print(f'    {HOSTS[setting]}: 15 changes, {seen[setting][1]:.0f} Mbit/s in 4 streams; the longest stall of one, looked at each '
              f'quarter of a second, was {seen[setting][0]:.2f} s', flush=True)
    right = share(pinned(stage, 1, 4, ())[0], 1) if not LONG else 1
    if seen['flowq'][0] > 0.625:  # three quarters of a second, that is: more than half a second, as far as quarters can tell
        raise Failure(f'a stream stood still for {seen["flowq"][0]:.2f} s')
    if right < 0.99:
        raise Failure(f'afterwards {100 * right:.2f} % arrived on the right queue')


# ---- Everything comes and goes ----

def steered(stage, what, began):
    """Packets pass again, and arrive where they should."""
    stage.wait()
    back = time.monotonic() - began
    rows = [pinned(stage, vcpu, family, ())[0] for vcpu, family in ((1, 4), (3, 6))]
    shares = [share(rows[0], 1), share(rows[1], 3)]
    print(f'    {what}: packets pass {back:.1f} s after; on the right queue {100 * shares[0]:.2f} %, {100 * shares[1]:.2f} %', flush=True)
    if min(shares) < 0.99:
        raise Failure(f'{what}: {rows}')


def under_load(stage, change):
    """change() while four connections of the guest send; they must be there afterwards, and have sent meanwhile."""
    guest = stage.guest
    guest.run(f'for i in 0 1 2 3; do taskset $((1 << i)) iperf3 -c {ADDRESS[4]} -p $(({PORT} + 4 + i)) -t 300 -b 20M >/tmp/load$i 2>&1 & '
              'echo $! >/tmp/load$i.pid; done; sleep 1')
    change()

    def sent():
        return int(guest.run('cat /sys/class/net/eth0/statistics/tx_packets'))
    before = sent()
    until('traffic after all that', 20, lambda: sent() > before + 1000)
    alive = guest.run('for i in 0 1 2 3; do kill -0 $(cat /tmp/load$i.pid) && echo alive; kill $(cat /tmp/load$i.pid); done',
                      check=False).count('alive')
    if alive != 4:
        raise Failure(f'of four connections {alive} are left')


def delete_and_add(stage):
    """The guest's port, and another one that nobody is behind."""
    switch, socket = stage.switch, stage.lab.path('guest')
    for _ in range(4):
        switch.add('nobody', stage.lab.path('nobody'))
        switch.remove('guest')
        switch.remove('nobody')
        switch.add('guest', socket)
        time.sleep(0.7)


def change_mask(stage):
    for mask in (2, 3, 1) * 2:
        stage.switch.vsctl('set', 'Open_vSwitch', '.', f'other_config:pmd-cpu-mask={mask:#x}')
        time.sleep(0.5)


def part_come_and_go(stage):
    """Open vSwitch, flowq preloaded: guest killed, switch killed, ports deleted and added under load, PMD threads moved under load"""
    stage.play('flowq')
    began = time.monotonic()
    stage.guest.kill()
    stage.guest.go()
    stage.address()
    steered(stage, 'the guest was killed and came back', began)
    began = time.monotonic()
    stage.switch.kill()
    stage.switch.go(stage.preload)
    stage.set_up()
    steered(stage, 'the switch was killed and came back', began)
    under_load(stage, lambda: delete_and_add(stage))
    steered(stage, 'ports were deleted and added under load, 4 times', time.monotonic())
    if os.cpu_count() > 1:
        under_load(stage, lambda: change_mask(stage))
        steered(stage, 'pmd-cpu-mask was changed under load, 6 times', time.monotonic())
