#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The same guest behind several hosts: on which receive queue its packets arrive, and what the host spends on a packet.

BUILD is the build directory of `./bootstrap check-system`, run as root, which fetches the guest. Open vSwitch is Debian's
openvswitch-switch-dpdk, unpacked there; where it cannot be had its rows are left out. Prints tables in Markdown, and writes a bar
chart to SVG.

One guest, four queues, four iperf3 senders over TCP, one after the other, each bound to a vCPU; what arrives are acknowledgements,
and the share is the mean of the four. CPU is that of the host's process, its polling included, for each packet of the guest in
either direction (up to 64 KiB). On a TAP it is that of QEMU's main thread, which is the device there, system calls on the TAP
included; vCPUs have threads of their own.

The second table is what the drop-in costs: packets a second that one polling thread of Open vSwitch carries between two guests that are
programs, with tx-steering=hash, with flowq preloaded, and with that but for fetching rings ahead (fetch=off: what steering alone
costs), in turns (bench/turns.py).
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
from lab import Failure, Guest, Lab, Skip, Switch, until  # noqa: E402
from openvswitch import OpenVSwitch, dropin, provide  # noqa: E402
from stage import set_up_peer  # noqa: E402
from turns import Contestant, median, ratio, rounds  # noqa: E402

QUEUES = 4
SECONDS = 2


def cpu_seconds(task):
    """task: PID, or PID/task/TID for one thread alone"""
    with open(f'/proc/{task}/stat', encoding='ascii') as stat:
        fields = stat.read().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def measure(guest, task):
    """Packets by queue, for each sender; nanoseconds of the host (as of cpu_seconds()) for each packet in either direction"""
    guest.run('/usr/bin/ip addr add 10.77.0.2/24 dev eth0; /usr/bin/ip link set eth0 up')
    until('the peer', 30, lambda: guest.run('ping -c 1 -W 1 10.77.0.1 >/dev/null; echo $?').strip() == '0')
    rows, cpu, packets = [], 0.0, 0
    count = 'cat /sys/class/net/eth0/statistics/rx_packets /sys/class/net/eth0/statistics/tx_packets'
    for vcpu in range(QUEUES):
        before, cpu_before = guest.received(), cpu_seconds(task)
        sum_before = sum(int(word) for word in guest.run(count).split())
        guest.run(f'taskset {1 << vcpu:x} iperf3 -c 10.77.0.1 -p {5200 + vcpu} -t {SECONDS} >/tmp/iperf3', 60)
        cpu += cpu_seconds(task) - cpu_before
        packets += sum(int(word) for word in guest.run(count).split()) - sum_before
        rows.append([b - a for a, b in zip(before, guest.received())])
    return rows, cpu / packets * 1e9


def peer(netns, device):
    set_up_peer(netns, device, 1, '10.77.0.1/24', 'fd77::1/64')
    netns.run('ip', 'link', 'set', 'lo', 'up')
    for i in range(QUEUES):
        netns.start('iperf3', '-s', '-p', 5200 + i, stdout=-3, stderr=-3)
    time.sleep(0.3)


def with_vswitch(lab, steer):
    netns, socket = lab.netns(), lab.path('guest')
    switch = Switch(lab, f'vhost:{socket},steer={steer}', f'tap:peer@{netns.path}')
    peer(netns, 'peer')
    return measure(Guest(lab, 'guest', [(f'vhost:{socket}', QUEUES)]), switch.process.pid)


def with_tap(lab):
    """QEMU's own virtio-net on a TAP of the kernel: tun steers."""
    netns = lab.netns()
    guest = Guest(lab, 'guest', [('tap,ifname=peer,script=no,downscript=no,vhost=off,queues=4', QUEUES)], inside=netns.enter)
    peer(netns, 'peer')
    # Started by nsenter, which becomes QEMU; the main thread has the number of the process.
    return measure(guest, f'{guest.process.pid}/task/{guest.process.pid}')


def with_ovs(lab, steering):
    """Open vSwitch's userspace datapath, as Debian packages it. steering: 'flowq', 'hash' or None"""
    netns = lab.netns()
    switch = OpenVSwitch(lab, netns)
    switch.add('guest', lab.path('guest'))
    switch.go(dropin(lab.build) if steering == 'flowq' else None)
    switch.steering('guest', steering if steering == 'hash' else None)
    peer(netns, 'br0')
    return measure(Guest(lab, 'guest', [(f'vhost-server:{lab.path("guest")}', QUEUES)]), switch.daemon.pid)


HOSTS = {
    'vswitch, flowq': lambda lab: with_vswitch(lab, 'auto'),
    'vswitch, hash': lambda lab: with_vswitch(lab, 'hash'),
    'QEMU on a kernel TAP': with_tap,
    'Open vSwitch, as it comes': lambda lab: with_ovs(lab, None),
    'Open vSwitch, tx-steering=hash': lambda lab: with_ovs(lab, 'hash'),
    'Open vSwitch, as packaged, with flowq preloaded': lambda lab: with_ovs(lab, 'flowq'),
}


# ---- What the drop-in costs ----

FLOWS = (1, 1000, 100000)
# Processes of each switch, one after the other, and turns of each. Who is begun first is slower, by a tenth even: so a multiple of the ways.
PROCESSES, TURNS = 6, 5
ROOM = 'max_flows=262144'  # more than 100,000 flows of two guests, each of which is a vm of its own


# By what FLOWQ_VHOST says; None: flowq is not preloaded, and Open vSwitch chooses by a hash.
COST_WAYS = (None, ROOM, f'{ROOM},fetch=off')


def contestant(lab, settings):
    """Open vSwitch with two guests."""
    paths = [lab.path('a'), lab.path('b')]
    switch = OpenVSwitch(lab, lab.netns(), mask=1)
    for name, path in zip('ab', paths):
        switch.add(name, path)
    switch.go(None if settings is None else dropin(ARGUMENTS.build), settings)
    for name in 'ab':
        switch.steering(name, 'hash' if settings is None else None)
    return Contestant(lab, switch.daemon, paths)


def play_cost(number, turns):
    """Each of them anew, begun in turns; what comes of it is added to what is there, by flows and way."""
    order = [(i + number) % len(COST_WAYS) for i in range(len(COST_WAYS))]
    with contextlib.ExitStack() as labs:
        contestants = [contestant(labs.enter_context(Lab(ARGUMENTS.build)), COST_WAYS[which]) for which in order]
        for flows, by_way in turns.items():
            for which, more in zip(order, rounds(contestants, flows, TURNS)):
                by_way[which].extend(more)
        for each in contestants:
            each.go_on()


def no_turns():
    return {flows: [[] for _ in COST_WAYS] for flows in FLOWS}


def cost():
    turns = no_turns()
    with first():
        for number in range(PROCESSES):
            fresh = no_turns()
            try:
                play_cost(number, fresh)
            except Failure as failure:
                print(f'cost: processes {number + 1} begin again: {failure}', file=sys.stderr)
                fresh = no_turns()
                play_cost(number, fresh)
            for flows, by_way in fresh.items():
                for sum_, more in zip(turns[flows], by_way):
                    sum_.extend(more)
    print('\n| flows | tx-steering=hash | flowq preloaded | times | fetch=off | times | on the right queue |\n|---|---|---|---|---|---|---|')
    for flows, (theirs, ours, plain) in turns.items():
        print(f'| {flows} | {median(theirs, "rate") / 1e6:.2f} M/s | {median(ours, "rate") / 1e6:.2f} M/s '
              f'| {ratio(ours, theirs, "rate"):.3f} | {median(plain, "rate") / 1e6:.2f} M/s | {ratio(plain, theirs, "rate"):.3f} '
              f'| {100 * median(ours, "share"):.1f} % |')
    print(f'\n{PROCESSES} processes of each, {TURNS} turns in each, load {os.getloadavg()[0]:.1f}')


# ---- The whole ----

def panel(title, left, values, unit):
    """Bars beside each other, the longest 250 wide; values: of each host"""
    lines = [f'<text x="{left}" y="24" font-size="15">{title}</text>']
    for i, (name, value) in enumerate(values.items()):
        y, length = 42 + 34 * i, 250 * value / max(*values.values(), 1e-9)
        lines.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="24" fill="{"#2a7" if "flowq" in name else "#789"}"/>')
        lines.append(f'<text x="{left + 8 + length:.1f}" y="{y + 17}">{value:.{1 if unit == "%" else 0}f} {unit}</text>')
    return lines


def chart(results):
    """Bars: how much arrived on the queue of the sending vCPU; what the host spent on a packet."""
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="1090" height="{46 + 34 * len(results)}" font-family="sans-serif" '
             'font-size="14">', '<rect width="100%" height="100%" fill="white"/>']
    for i, name in enumerate(results):
        lines.append(f'<text x="350" y="{59 + 34 * i}" text-anchor="end">{name}</text>')
    lines += panel('Arrived on the queue of the sending vCPU', 360, {name: share for name, (share, _) in results.items()}, '%')
    lines += panel('Host CPU a packet', 730, {name: cost / 1000 for name, (_, cost) in results.items()}, 'us')
    return '\n'.join(lines + ['</svg>', ''])


def left_out(name):
    """Why a host takes no part; None: it does."""
    try:
        if 'Open vSwitch' in name:
            provide(ARGUMENTS.build)
        if 'preloaded' in name:
            dropin(ARGUMENTS.build)
    except Skip as skip:
        return str(skip)
    if 'vswitch,' in name and not os.path.exists(os.path.join(ARGUMENTS.build, 'examples/vswitch')):
        return 'vswitch was not built: it needs DPDK (Debian: libdpdk-dev)'
    return None


def tables():
    results = {}
    print('| host | arrived on queue 0, 1, 2, 3 | on the queue of the sending vCPU | host CPU a packet |\n|---|---|---|---|')
    for name, play in HOSTS.items():
        reason = left_out(name)
        if reason is not None:
            print(f'{name}: left out, {reason}', file=sys.stderr)
            continue
        with Lab(ARGUMENTS.build) as lab:
            rows, cpu = play(lab)
        share = sum(100 * row[i] / sum(row) for i, row in enumerate(rows)) / QUEUES
        queues = ', '.join(str(sum(column)) for column in zip(*rows))
        results[name] = (share, cpu)
        print(f'| {name} | {queues} | {share:.1f} % | {cpu / 1000:.0f} us |', flush=True)
    if ARGUMENTS.svg is not None:
        with open(ARGUMENTS.svg, 'w', encoding='utf-8') as svg:
            svg.write(chart(results))


def main():
    if not os.path.exists(os.path.join(ARGUMENTS.build, 'guest/initramfs')):
        sys.exit(f'hosts.py: there is no guest in {ARGUMENTS.build}: run ./bootstrap check-system first')
    if not ARGUMENTS.cost:
        tables()
    reason = left_out('Open vSwitch, preloaded')
    if reason is None:
        cost()
    else:
        print(f'cost: left out, {reason}', file=sys.stderr)


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build', metavar='BUILD', type=os.path.abspath, help='build directory of check-system, build/system')
    parser.add_argument('svg', metavar='SVG', nargs='?', help='where the bar chart goes')
    parser.add_argument('--cost', action='store_true', help='the second table alone')
    return parser.parse_args()


if __name__ == '__main__':
    ARGUMENTS = read_arguments()
    main()
