# SPDX-License-Identifier: BSD-2-Clause
"""Parts with a stage of their own: Linux's tun, vswitch that cannot start, two guests, testpmd, a guest that routes."""
import os
import re
import shutil
import signal
import socket
import subprocess
import time

from lab import Failure, Guest, Skip, Switch, Traffic, until, vswitch
from stage import set_up_peer, share


def part_a(lab):
    """a TAP: what Linux's tun chooses and what flowq chooses, packet by packet"""
    done = subprocess.run([f'{lab.build}/tests/system/tun_oracle'], text=True, capture_output=True, timeout=120, check=False)
    if done.returncode == 77:
        raise Skip(done.stdout.strip().splitlines()[-1])
    print(done.stdout.rstrip())
    if done.returncode != 0:
        raise Failure(f'they differ otherwise than explained {done.stderr.strip()}')


# ---- Start, stop, errors ----

def without(capability):
    return ('setpriv', f'--bounding-set=-{capability}', f'--inh-caps=-{capability}')


def part_errors(lab):
    """vswitch: what it cannot do it says in one line; it starts, tells, and ends without a trace"""
    program = vswitch(lab.build)
    busy = socket.socket(socket.AF_UNIX)
    busy.bind(lab.path('busy'))
    busy.listen(1)
    with open(lab.path('file'), 'wb'):
        pass
    os.mkdir(lab.path('closed'), 0o500)
    port = f'vhost:{lab.path("port")}'
    cases = (((), (f'vhost:{lab.path("busy")}', port), 1, 'in use by another process'),
             ((), (f'vhost:{lab.path("missing")}/a', port), 1, 'No such file or directory'),
             ((), (f'vhost:{lab.path("file")}', port), 1, 'there is a file that is no socket'),
             (without('dac_override'), (f'vhost:{lab.path("closed")}/a', port), 1, 'Permission denied'),
             (without('net_admin'), ('tap:flowq-a', port), 1, 'Operation not permitted'),
             ((), ('tap:flowq-a@no-such-namespace', port), 1, 'No such file or directory'),
             ((), (port,), 2, 'at least two ports'),
             ((), (f'{port},steer=other', port), 2, 'steer is auto, hash or queue0'))
    for before, ports, status, words in cases:
        process = lab.start(*before, program, *ports, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        said = process.communicate(timeout=20)[1]
        print(f'    {said.strip()}')
        if process.returncode != status or said.count('\n') != 1 or words not in said or not said.startswith('vswitch: '):
            raise Failure(f'{" ".join(ports)}: exit status {process.returncode}, not {status}, and one line with "{words}"')
    busy.close()
    process = lab.start(program, port, f'vhost:{lab.path("other")}', stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until('the socket', 10, lambda: os.path.exists(lab.path('other')))
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=20)
    left = [name for name in ('port', 'other') if os.path.exists(lab.path(name))]
    if process.returncode != 0 or said or left or 'steer auto, 0 queues in use' not in out:
        raise Failure(f'it did not end cleanly: {process.returncode} {said} {left} {out}')


# ---- Two guests ----

def reach(guest, address):
    until(f'{guest.name} and {address}', 30, lambda: guest.run(f'ping -c 1 -W 1 {address} >/dev/null; echo $?').strip() == '0')


def address_guest(guest, number):
    guest.run(f'/usr/bin/ip addr add 10.77.0.{number}/24 dev eth0; /usr/bin/ip link set eth0 up; '
              'iperf3 -s -D >/dev/null; echo')


def between(guest, address, seconds=2):
    text = guest.run(f'iperf3 -c {address} -t {seconds} -f m | grep receiver', 30 + seconds)
    return float(re.search(r'([0-9.]+) Mbits/sec', text).group(1))


def lost(port):
    return sum(port['flowq_flows_displaced'].values()), port['flowq_flows_forgotten']


def part_f(lab):
    """two guests: one is killed and comes back, floods; the switch is killed and comes back; nobody else loses a binding"""
    netns = lab.netns()
    netns.run('ip', 'link', 'set', 'lo', 'up')
    netns.start('iperf3', '-s', stdout=-3, stderr=-3)
    switch = Switch(lab, f'vhost:{lab.path("one")}', f'vhost:{lab.path("two")}', f'tap:peer@{netns.path}', workers=2)
    set_up_peer(netns, 'peer', 1, '10.77.0.1/24', 'fd77::1/64')
    one = Guest(lab, 'one', [(f'vhost:{lab.path("one")}', 2)], vcpus=2)
    two = Guest(lab, 'two', [(f'vhost:{lab.path("two")}', 2)], vcpus=2)
    address_guest(one, 2)
    address_guest(two, 3)
    reach(one, '10.77.0.3')
    print(f'    from one guest to the other {between(one, "10.77.0.3"):.0f} Mbit/s')
    one.run('iperf3 -c 10.77.0.1 -P 8 -t 60 -b 2M >/tmp/iperf3 2>&1 & sleep 1')
    before = switch.stats()['one']
    two.kill()
    two.go()
    address_guest(two, 3)
    reach(two, '10.77.0.2')
    flood = sum(int(two.run(f'udp_tool flood 10.77.0.{host} 2', 30).split()[1]) for host in (1, 2))
    after = switch.stats()
    print(f'    the other was killed and came back ({after["two"]["connections"]} connections), then sent {flood} datagrams to '
          f'random ports: {after["two"]["flowq_flows_inserted"]} flows of its own learned; of the first guest\'s {after["one"]["flowq_flows_live"]} flows '
          f'displaced {sum(after["one"]["flowq_flows_displaced"].values())}')
    if lost(after['one']) != lost(before) or after['one']['flowq_flows_live'] < before['flowq_flows_live']:
        raise Failure(f'the first guest lost bindings: {lost(before)} {before["flows"]} before, '
                      f'{lost(after["one"])} {after["one"]["flowq_flows_live"]} after')
    switch.kill()
    down = time.monotonic()
    switch.go()
    set_up_peer(netns, 'peer', 1, '10.77.0.1/24', 'fd77::1/64')
    reach(one, '10.77.0.3')
    reach(two, '10.77.0.1')
    print(f'    the switch was killed and came back: all reach each other {time.monotonic() - down:.1f} s after; '
          f'{between(one, "10.77.0.3"):.0f} Mbit/s')
    for guest in (one, two):
        guest.process.terminate()  # QEMU takes its leave while the switch ends
    switch.stop()


# ---- testpmd ----

MACS = {'a': '02:00:00:00:00:00', 'b': '02:00:00:00:00:01'}  # what testpmd's flowgen sends from and to


def testpmd(lab, name, mode, transmit_queues=4):
    return lab.start('dpdk-testpmd', '--no-huge', '-m', 128, '--no-pci', '--no-telemetry', '--file-prefix', f'flowq-{name}',
                     '--lcores', '0@0,1@0', '--log-level', '*:error', '--vdev',
                     f'net_virtio_user0,path={lab.path(name)},queues=4,queue_size=256,mac={MACS[name]}', '--', '-i',
                     '--total-num-mbufs=16384', '--nb-cores=1', '--rxq=4', f'--txq={transmit_queues}', f'--forward-mode={mode}',
                     '--port-topology=loop', stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def order(process, *commands):
    process.stdin.write(''.join(f'{command}\n' for command in commands))
    process.stdin.flush()


def totals(text):
    """Packets received and transmitted, of the statistics that `stop` prints for all ports."""
    part = text[text.rindex('Accumulated forward statistics'):]
    return [int(re.search(rf'{way}-packets: (\d+)', part).group(1)) for way in ('RX', 'TX')]


def total(port, what):
    return sum(queue[what] for queue in port['queues'])


def play_testpmd(lab, packets, answers=0, setting='steer=auto', transmit_queues=4):
    """a sends at least so many packets, b so many answers; what the switch counted at their ports. All is accounted for."""
    if shutil.which('dpdk-testpmd') is None:
        raise Skip('dpdk-testpmd is not installed (Debian: dpdk-dev)')
    switch = Switch(lab, f'vhost:{lab.path("a")},{setting}', f'vhost:{lab.path("b")}', workers=1)
    guests = {'b': testpmd(lab, 'b', '5tswap'), 'a': testpmd(lab, 'a', 'flowgen', transmit_queues)}
    ports = switch.stats

    def ready():
        for guest in guests.values():
            if guest.poll() is not None:
                raise Failure(f'testpmd ended: {guest.stdout.read().strip()[-300:]}')
        return all(ports()[name]['flowq_queues_in_use'] == 4 for name in guests)
    until('testpmd', 30, ready)
    for name in guests:
        order(guests[name], 'start')
    until(f'{packets} packets', 60, lambda: total(ports()['a'], 'from_vm') >= packets and arrived(ports()['a']) >= answers)
    seen = {}
    for name in ('a', 'b'):
        order(guests[name], 'stop')
        time.sleep(0.5)  # what is on its way arrives
    a, b = (ports()[name] for name in ('a', 'b'))
    for name in ('a', 'b'):
        out, _ = guests[name].communicate('quit\n', timeout=30)
        seen[name] = totals(out)
    switch.stop()
    (a_got, a_sent), (b_got, b_sent) = seen['a'], seen['b']
    for what, got, want in (('taken from the sender', total(a, 'from_vm'), a_sent),
                            ('taken, and put into rings or counted as dropped', arrived(b), a_sent),
                            ('answers taken', total(b, 'from_vm'), b_sent),
                            ('answers put into rings or counted as dropped', arrived(a), b_sent)):
        if got != want:
            raise Failure(f'{what}: {got}, not {want}')
    if b_got > total(b, 'to_vm') or a_got > total(a, 'to_vm'):
        raise Failure('testpmd received more than it was given')
    return a, b


def arrived(port):
    return total(port, 'to_vm') + total(port, 'full') + total(port, 'off') + port['no_queue']


def part_g(lab):
    """dpdk-testpmd with virtio-user as guest: two million packets over four queues, none lost that is not counted"""
    a, b = play_testpmd(lab, 2000000)
    print(f'    sent {total(a, "from_vm")}, by queue {[queue["from_vm"] for queue in a["queues"][:4]]}; put into rings '
          f'{total(b, "to_vm")}, ring full {total(b, "full")}\n    answers: sent {total(b, "from_vm")}, put into rings '
          f'{total(a, "to_vm")}, ring full {total(a, "full")}')


def part_g_collapse(lab):
    """testpmd with four receive queues, one transmit queue: all arrives on one, which the statistics show and learn=off cures"""
    # Without a transmit queue for each receive queue testpmd polls its first receive queue alone (DPDK 22.11, fwd_config_setup).
    # Hence it is the sender that has one: what it polls or not, it goes on sending. Rings that it does not poll fill up, so what
    # is counted here is what the switch chose.
    shares = {}
    for setting in ('steer=auto', 'steer=hash'):
        port, _ = play_testpmd(lab, 300000, 20000, setting, transmit_queues=1)
        queues = port['queues'][:4]
        counts = [queue['to_vm'] + queue['full'] for queue in queues]
        shares[setting] = [share(counts, queue) for queue in range(4)]
        print(f'    {setting}: sent by queue {[queue["from_vm"] for queue in queues]}; answers by queue {counts}, of these ring '
              f'full {total(port, "full")}; {port["flowq_queues_in_use"]} queues in use, {port["flowq_queues_noted"]} transmitted on lately')
        if setting == 'steer=auto' and (port['flowq_queues_in_use'], port['flowq_queues_noted']) != (4, 1):
            raise Failure('the statistics do not show it')
    if shares['steer=auto'][0] < 0.95:
        raise Failure('there was no collapse to show')
    if max(shares['steer=hash']) > 0.5:
        raise Failure('without learning the answers did not spread')


# ---- Another way, while packets run ----

def part_ways(lab):
    """vswitch is told to steer another way: packets go so from then on, and none is lost, whenever that is"""
    paths, ways = [lab.path('a'), lab.path('b')], ('auto', 'queue0', 'hash', 'hash,crc')
    switch = Switch(lab, *(f'vhost:{path},client' for path in paths), options=('--commands',))
    guests = Traffic(lab, paths)
    for way in (*ways, 'auto'):
        switch.steer(way)
        for _ in range(5):  # a busy machine may leave the switch without a processor for a whole turn
            seen = guests.play(1000, 0.2, anew=True)
            if seen['measured'] > 0:
                break
        queues = [[share([seen[f'{guest}{queue}'] for queue in range(4)], queue) for queue in range(4)] for guest in 'ab']
        right = seen['right'] / max(seen['measured'], 1)
        print(f'    {way}: {100 * right:.1f} % on the right queue; most on one queue {100 * max(max(shares) for shares in queues):.1f} %; '
              f'lost {seen["lost"]}, late {seen["late"]}')
        if seen['lost'] > 0 or seen['late'] > 0 or seen['measured'] == 0:
            raise Failure(f'{seen["lost"]} packets of {seen["measured"]} were lost, {seen["late"]} late or twice')
        if way == 'auto' and right < 0.99 or way != 'auto' and right > 0.9:
            raise Failure('that is another way')
        if way == 'queue0' and (queues[0][0], queues[1][0]) != (1, 1) or way.startswith('hash') and max(max(shares) for shares in queues) > 0.5:
            raise Failure('that is another way')
    guests.begin(1000, 1)
    for way in 2 * ways:
        time.sleep(0.1)
        ports = switch.steer(way)
    seen = guests.seen()
    print(f'    8 changes meanwhile: lost {seen["lost"]}; {sum(port["flowq_flows_forgotten"] for port in ports.values())} flows forgotten')
    if seen['lost'] > 0:
        raise Failure(f'{seen["lost"]} packets of {seen["measured"]} were lost')
    guests.stop()
    switch.stop()


# ---- A guest that routes ----

def settle(switch, names):
    """Moves and notes in the last two of three seconds."""
    def look():
        stats = switch.stats()
        return (sum(stats[name]['flowq_notes']['moved'] for name in names),
                sum(sum(stats[name]['flowq_notes'].values()) for name in names))
    time.sleep(1.5)
    first = look()
    time.sleep(2)
    second = look()
    return second[0] - first[0], second[1] - first[1]


def route(lab, nics):
    inside, outside = lab.netns(), lab.netns()
    sockets = [f'vhost:{lab.path(f"router{nics}{i}")}' for i in range(nics)]
    switch = Switch(lab, *sockets, f'tap:in@{inside.path}', f'tap:out@{outside.path}')
    guest = Guest(lab, f'router{nics}', [(socket, 4) for socket in sockets])
    for i, (netns, device) in enumerate(((inside, 'in'), (outside, 'out'))):
        nic = f'eth{min(i, nics - 1)}'
        guest.run(f'/usr/bin/ip addr add 10.8{i}.0.1/24 dev {nic}; /usr/bin/ip link set {nic} up')
        set_up_peer(netns, device, i + 1, f'10.8{i}.0.2/24', f'fd8{i}::2/64')
        netns.run('ip', 'route', 'add', 'default', 'via', f'10.8{i}.0.1')
    # One segment for both networks: answer for an address only where it is, and send nobody the short way.
    guest.run('echo 1 >/proc/sys/net/ipv4/ip_forward; for f in /proc/sys/net/ipv4/conf/*/arp_ignore; do echo 1 >$f; done; '
              'for f in /proc/sys/net/ipv4/conf/*/send_redirects; do echo 0 >$f; done')
    outside.start('iperf3', '-s', stdout=-3, stderr=-3)
    ping = ('busybox', 'ping', '-c', 1, '-W', 1, '10.81.0.2')
    until('the way through the guest', 20, lambda: 'bytes from' in inside.run(*ping, check=False))
    sender = inside.start('iperf3', '-c', '10.81.0.2', '-P', 4, '-t', 4, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    moved, notes = settle(switch, [f'router{nics}{i}' for i in range(nics)])
    text = sender.communicate(timeout=30)[0]
    rate = re.search(r'SUM.* ([0-9.]+ [GMK]bits/sec).*receiver', text)
    guest.kill()
    switch.stop()
    print(f'    {nics} vNIC{"s" * (nics > 1)}: {rate.group(1) if rate else "no rate"}; in 2 s {notes} notes, '
          f'{moved} of them moved a flow')
    if rate is None or notes < 100:
        raise Failure(f'hardly anything went through: {text[-200:]}')
    if moved > notes / 50:
        raise Failure('the flows do not settle')


def part_i(lab):
    """a guest that routes, with two vNICs and with one: both directions settle"""
    route(lab, 2)
    route(lab, 1)
