# SPDX-License-Identifier: BSD-2-Clause
"""Parts with one real Linux guest: where packets arrive, moves, queues switched off and on, hostile interrupts."""
import json
import statistics
import subprocess
import time

from lab import Failure, until
from stage import ADDRESS, OUT_OF_ORDER, PORT, QUEUES, RETRANSMITTED, SERVERS, number_in, share

KINDS = {'TCP': (), 'UDP': ('-u', '-R', '-b', '20M', '-l', '1200')}


def measure(stage, families):
    """{(kind, family): share of the packets that arrived on the queue of the sender's vCPU, the least of all vCPUs; all packets}"""
    result = {}
    for kind, options in KINDS.items():
        for family in families:
            shares, packets, right = [], 0, 0
            for vcpu in range(QUEUES):
                counts = stage.send(vcpu, vcpu, 1, *options, address=ADDRESS[family])
                shares.append(share(counts, vcpu))
                packets += sum(counts)
                right += counts[vcpu]
            result[kind, family] = (min(shares), right / packets, packets)
    return result


def part_b(stage):
    """a sender on vCPU i receives on queue i: flowq, a hash, one queue"""
    failed = []
    print('    arrived on the queue of the sending vCPU              worst vCPU       all  packets')
    for setting, name in (('steer=auto', 'flowq'), ('steer=hash', 'hash'), ('steer=queue0', 'one queue')):
        stage.play(setting)
        families = (4, 6) if setting == 'steer=auto' else (4,)
        for (kind, family), (worst, whole, packets) in measure(stage, families).items():
            what = f'{kind} over IPv{family}' if kind == 'TCP' else f'{kind} received, over IPv{family}'
            print(f'      {name:<10} {what:<36} {100 * worst:8.2f} % {100 * whole:7.2f} % {packets:8}')
            if setting == 'steer=auto' and worst < 0.99:
                failed.append(what)
    if failed:
        raise Failure(f'less than 99 % on the right queue: {", ".join(failed)}')


def megabits(guest, during):
    """What the guest transmits while during() runs, in Mbit/s."""
    def look():
        return int(guest.run('cat /sys/class/net/eth0/statistics/tx_bytes')), time.monotonic()
    before, began = look()
    during()
    after, ended = look()
    return (after - before) * 8e-6 / (ended - began)


def follow(stage, vcpu):
    """Moves the flow, and tells after how many seconds its packets had followed, as the switch counts them."""
    def to_guest():
        return [queue['to_vm'] for queue in stage.port()['queues'][:QUEUES]]
    stage.guest.run(f'taskset -p {1 << vcpu:x} $(cat /tmp/flow.pid) >/dev/null')
    moved, last = time.monotonic(), to_guest()
    while time.monotonic() < moved + 3:
        time.sleep(0.02)
        counts, asked = to_guest(), time.monotonic()
        fresh = [b - a for a, b in zip(last, counts)]
        if sum(fresh) < 10:
            continue
        if share(fresh, vcpu) >= 0.95:
            return asked - moved
        last = counts
    raise Failure(f'after a move to vCPU {vcpu} the packets did not follow within 3 s')


def moves(guest, vcpus):
    """Twenty of them. The loop costs an emulated guest much; that of moves to where the flow is already costs as much."""
    guest.run(f'i=0; while [ $i -lt 20 ]; do taskset -p $((1 << i % {vcpus})) $(cat /tmp/flow.pid) >/dev/null || exit 1; '
              'i=$((i + 1)); usleep 50000; done', 60)


def alternate(measure, tried, rounds):
    """[without, with, without, with ... without], and the median of what "with" is of the mean of its neighbours.

    What else goes on in this machine makes all slower or faster for a while, and so hardly what stands side by side.
    """
    values = [measure()]
    for _ in range(rounds):
        values += [tried(), measure()]
    return values, statistics.median(2 * values[i] / max(values[i - 1] + values[i + 1], 1) for i in range(1, len(values), 2))


def rounded(values):
    return ' '.join(f'{value:.0f}' for value in values)


def part_c(stage):
    """a running flow is moved by taskset: its packets follow; a hundred moves under load"""
    guest = stage.play()
    for server, name in enumerate(('flow', 'fresh')):
        guest.run(f'taskset 1 iperf3 -c {ADDRESS[4]} -p {PORT + server} -t 300 >/tmp/{name} 2>&1 & echo $! >/tmp/{name}.pid; '
                  f'sleep 1; kill -STOP $(cat /tmp/{name}.pid)')

    def twenty_moves(vcpus):
        return megabits(guest, lambda: moves(guest, vcpus))

    def one_second(name):
        guest.run(f'kill -CONT $(cat /tmp/{name}.pid)')
        rate = megabits(guest, lambda: time.sleep(1))
        guest.run(f'kill -STOP $(cat /tmp/{name}.pid)')
        return rate
    guest.run('kill -CONT $(cat /tmp/flow.pid)')
    slowest = max(follow(stage, vcpu) for vcpu in (1, 2, 3, 0))
    print(f'    four moves: the packets had followed after at most {slowest:.2f} s')
    before = stage.counters(RETRANSMITTED, OUT_OF_ORDER)
    rates, moving = alternate(lambda: twenty_moves(1), lambda: twenty_moves(4), 5)
    again, order = [b - a for a, b in zip(before, stage.counters(RETRANSMITTED, OUT_OF_ORDER))]
    print(f'    100 moves: at rest and moving in turn, {rounded(rates)} Mbit/s: moving {100 * moving:.0f} % of at rest; '
          f'retransmitted {again}, received out of order {order}')
    guest.run('kill -STOP $(cat /tmp/flow.pid)')
    rates, afterwards = alternate(lambda: one_second('fresh'), lambda: one_second('flow'), 5)
    print(f'    afterwards, beside a connection that never moved, in turn, {rounded(rates)} Mbit/s: {100 * afterwards:.0f} %')
    guest.run('kill -CONT $(cat /tmp/flow.pid) $(cat /tmp/fresh.pid); kill $(cat /tmp/flow.pid) $(cat /tmp/fresh.pid)')
    if slowest > 0.5:
        raise Failure(f'the packets followed only after {slowest:.2f} s')
    if min(moving, afterwards) < 0.5:
        raise Failure(f'throughput fell below half: {100 * moving:.0f} % moving, {100 * afterwards:.0f} % afterwards')


def longest_stall(report):
    """Seconds without a byte in any of the streams, as the receiver saw it, the beginning and the end left out."""
    longest, streams = 0.0, {}
    for interval in report['intervals'][1:-1]:
        for stream in interval['streams']:
            silent = streams.get(stream['socket'], 0.0) + stream['seconds'] if stream['bytes'] == 0 else 0.0
            streams[stream['socket']] = silent
            longest = max(longest, silent)
    return longest


def part_d(stage):
    """ethtool -L combined 2, 1, 4 in a loop under load: no stall, no packet on a queue that is off"""
    guest = stage.play()
    port = PORT + SERVERS + 1
    server = stage.netns.start('iperf3', '-s', '-1', '-J', '-i', '0.25', '-p', port, stdout=subprocess.PIPE, text=True)
    time.sleep(0.3)
    guest.run(f'iperf3 -c {ADDRESS[4]} -p {port} -t 10 -P 4 >/tmp/iperf3 2>&1 & echo $! >/tmp/flow.pid; sleep 1')
    guest.run('for i in 1 2 3 4 5; do for n in 2 1 4; do ethtool -L eth0 combined $n || exit 1; usleep 400000; done; done', 60)
    guest.run('while kill -0 $(cat /tmp/flow.pid) 2>/dev/null; do sleep 0.1; done', 60)
    report = json.loads(server.communicate(timeout=30)[0])
    if 'error' in report:
        raise Failure(f'iperf3: {report["error"]}')
    counts = {key: sum(queue[key] for queue in stage.port()['queues']) for key in ('off', 'late', 'full', 'broken')}
    stall, n = longest_stall(report), len(report['intervals'])
    rate = report['end']['sum_received']['bits_per_second'] / 1e6
    print(f'    15 changes, {rate:.0f} Mbit/s in 4 streams; in {n} looks, a quarter of a second apart, the longest stall '
          f'was {stall:.2f} s\n    dropped as the ring went off {counts["off"]}, ring full {counts["full"]}, '
          f'discarded from rings that are off {counts["late"]}')
    if counts['broken'] > 0:
        raise Failure(f'{counts["broken"]} packets were put into rings that are off')
    if stall > 1.0:
        raise Failure(f'a stream stood still for {stall:.2f} s')


def hostile(stage, setting):
    guest = stage.play(setting)
    guest.run('i=0; for irq in $(grep -E "virtio.*input" /proc/interrupts | cut -d : -f 1); do '
              'printf %x $((1 << (i + 1) % 4)) >/proc/irq/$irq/smp_affinity; i=$((i + 1)); done; '
              'for f in /sys/class/net/eth0/queues/rx-*/rps_cpus; do echo f >$f; done')
    before = stage.port()['flowq_notes']['moved']
    text = guest.run(f'udp_tool talk {ADDRESS[4]} {PORT + SERVERS} 4 5', 30)
    moved = stage.port()['flowq_notes']['moved'] - before
    order = stage.counters(OUT_OF_ORDER)[0]
    guest.run(f'iperf3 -c {ADDRESS[4]} -p {PORT} -R -t 3 >/tmp/iperf3', 30)
    order = stage.counters(OUT_OF_ORDER)[0] - order
    print(f'      {setting.partition(",")[2] or "at once":<22} {moved / 5:10.0f} {number_in(text, "late"):9} of '
          f'{number_in(text, "received"):<7} {order:12}')
    return moved


def part_e(stage):
    """interrupts on the wrong CPUs, RPS, four threads on one UDP socket: rebinds and order, with and without rebind_min_us"""
    print('    a flow moves           rebinds/s  UDP out of order     TCP out of order')
    free = hostile(stage, 'steer=auto')
    held = hostile(stage, 'steer=auto,rebind-min-us=10000')
    stage.guest.run('i=0; for irq in $(grep -E "virtio.*input" /proc/interrupts | cut -d : -f 1); do '
                    'printf %x $((1 << i % 4)) >/proc/irq/$irq/smp_affinity; i=$((i + 1)); done; '
                    'for f in /sys/class/net/eth0/queues/rx-*/rps_cpus; do echo 0 >$f; done')
    if held > 5 * 110:
        raise Failure(f'a flow that may move every 10 ms moved {held} times in 5 s')
    if free <= held:
        print('    (this machine made the flow move no more often without the limit)')


def part_h(stage):
    """VXLAN that ends in the guest, on Linux's old port and on the standard one: inner flows follow"""
    guest = stage.play()
    failed = []
    for port in (8472, 4789):
        guest.run(f'/usr/bin/ip link add vx0 type vxlan id 42 dstport {port} local 10.77.0.2 remote 10.77.0.1 && '
                  'ip addr add 10.78.0.2/24 dev vx0 && ip link set vx0 up')
        stage.netns.run('ip', 'link', 'add', 'vx0', 'type', 'vxlan', 'id', 42, 'dstport', port, 'local', '10.77.0.1',
                        'remote', '10.77.0.2')
        stage.netns.run('ip', 'addr', 'add', '10.78.0.1/24', 'dev', 'vx0')
        stage.netns.run('ip', 'link', 'set', 'vx0', 'up')
        until('the tunnel', 10, lambda: guest.run('ping -c 1 -W 1 10.78.0.1 >/dev/null; echo $?').strip() == '0')
        shares = [share(stage.send(vcpu, vcpu, 1, address='10.78.0.1'), vcpu) for vcpu in range(QUEUES)]
        print(f'    port {port}: on the queue of the sending vCPU: ' + ' '.join(f'{100 * part:.2f} %' for part in shares))
        failed += [str(port)] if min(shares) < 0.99 else []
        guest.run('/usr/bin/ip link del vx0')
        stage.netns.run('ip', 'link', 'del', 'vx0')
    if failed:
        raise Failure(f'less than 99 % on the right queue: port {", ".join(failed)}')


def part_collapse(stage):
    """a guest that transmits on one queue only: all arrives on one queue, which the statistics show and learn=off cures"""
    used = {}
    stage.play().run('echo f >/sys/class/net/eth0/queues/tx-0/xps_cpus; for i in 1 2 3; do '
                     'echo 0 >/sys/class/net/eth0/queues/tx-$i/xps_cpus; done')
    for setting in ('steer=auto', 'steer=hash'):
        guest = stage.play(setting)
        before = guest.received()
        guest.run(f'iperf3 -c {ADDRESS[4]} -p {PORT} -P 16 -t 2 >/tmp/iperf3', 30)
        counts = [b - a for a, b in zip(before, guest.received())]
        port = stage.port()
        used[setting] = counts
        print(f'    {setting}: arrived {counts}, {port["flowq_queues_in_use"]} queues in use, '
              f'{port["flowq_queues_noted"]} transmitted on lately')
        if setting == 'steer=auto' and (port['flowq_queues_in_use'], port['flowq_queues_noted']) != (QUEUES, 1):
            raise Failure('the statistics do not show it')
    stage.guest.run('for i in 0 1 2 3; do printf %x $((1 << i)) >/sys/class/net/eth0/queues/tx-$i/xps_cpus; done')
    if share(used['steer=auto'], 0) < 0.95:
        raise Failure('there was no collapse to show')
    if max(used['steer=hash']) > 0.75 * sum(used['steer=hash']):
        raise Failure('without learning the packets did not spread')
