# SPDX-License-Identifier: BSD-2-Clause
"""The stage on which most parts play: one guest with four queues, a switch, and a peer in a namespace behind a TAP.

The guest is started once and serves all parts: a switch with other settings takes the place of the one before, and QEMU connects
to it again.
"""
import re
import time

from lab import Failure, Guest, Skip, Switch, until

QUEUES = 4
SERVERS = 8
PORT = 5200
PEER_MAC = '52:54:00:ff:00:01'
ADDRESS = {4: '10.77.0.1', 6: 'fd77::1'}


def set_up_peer(netns, device, number, v4, v6):
    """Addresses, and a MAC that stays the same when the TAP is made anew. Open vSwitch leaves it when it ends."""
    netns.run('ip', 'link', 'set', device, 'address', f'52:54:00:ff:00:{number:02x}')
    netns.run('ip', 'addr', 'replace', v4, 'dev', device)
    netns.run('ip', 'addr', 'replace', v6, 'dev', device, 'nodad')
    netns.run('ip', 'link', 'set', device, 'up')


class Stage:
    DEVICE = ''  # properties of the guest's device

    def __init__(self, lab):
        self.lab = lab
        self.netns = lab.netns()
        self.switch = None
        self.guest = None
        self.netns.run('ip', 'link', 'set', 'lo', 'up')
        for i in range(SERVERS):
            self.netns.start('iperf3', '-s', '-p', PORT + i, stdout=-3, stderr=-3)
        self.netns.start(f'{lab.build}/tests/system/udp_tool', 'echo', PORT + SERVERS)

    def play(self, setting='steer=auto', more=(), options=()):
        """The switch with this setting for the guest's port, and the guest."""
        socket = self.lab.path('guest')
        self.rest()
        self.switch = Switch(self.lab, f'vhost:{socket},{setting}', f'tap:peer@{self.netns.path}', *more, options=options)
        set_up_peer(self.netns, 'peer', 1, '10.77.0.1/24', 'fd77::1/64')
        if self.guest is None:
            self.guest = Guest(self.lab, 'guest', [(f'vhost:{socket}', QUEUES)], device=self.DEVICE)
            self.guest.run('/usr/bin/ip addr add 10.77.0.2/24 dev eth0 && /usr/bin/ip addr add fd77::2/64 dev eth0 nodad && '
                           '/usr/bin/ip link set eth0 up')
        lines = int(self.guest.run('grep -c -E "virtio.*input" /proc/interrupts', check=False))
        if lines < QUEUES:  # one vCPU would receive all, and what it then sends would say nothing
            raise Skip(f'the guest has {lines} interrupt lines for {QUEUES} receive queues')
        self.wait()
        return self.guest

    def rest(self):
        """The switch ends, and must have nothing to complain of; the guest waits for the next."""
        if self.switch is not None:
            ending, self.switch = self.switch, None
            ending.stop()

    def strike(self):
        """Ends what a part that failed may have left in any state; says if it was the switch that had."""
        if self.switch is not None and (died := self.switch.died()):
            print(f'    {died}', flush=True)
        if self.guest is not None:
            self.guest.kill()
        if self.switch is not None:
            self.switch.kill()

    def wait(self):
        """Until packets pass, and all queues are on."""
        end = time.monotonic() + 20
        while self.guest.run('ping -c 1 -W 1 10.77.0.1 >/dev/null && ping -c 1 -W 1 fd77::1 >/dev/null; echo $?').strip() != '0':
            if time.monotonic() > end:
                raise Failure('guest and peer do not reach each other')
        until('four queues', 5, lambda: self.queues_in_use() == QUEUES)

    def queues_in_use(self):
        return self.port()['flowq_queues_in_use']

    def port(self, name='guest'):
        return self.switch.stats()[name]

    def send(self, vcpu, server, seconds, *options, address=ADDRESS[4]):
        """iperf3 on one vCPU; the packets that arrived meanwhile, by receive queue"""
        before = self.guest.received()
        self.guest.run(f'taskset {1 << vcpu:x} iperf3 -c {address} -p {PORT + server} -t {seconds} {" ".join(options)} '
                       '>/tmp/iperf3',
                       seconds + 30)
        return [b - a for a, b in zip(before, self.guest.received())]

    def counters(self, *names):
        """Counters of the guest's TCP."""
        text = self.guest.run('cat /proc/net/netstat /proc/net/snmp')
        lines = [line.split() for line in text.splitlines()]
        values = {}
        for head, body in zip(lines[::2], lines[1::2]):
            values.update({f'{head[0]}{key}': int(value) for key, value in zip(head[1:], body[1:])})
        return [values[name] for name in names]


RETRANSMITTED, OUT_OF_ORDER = 'Tcp:RetransSegs', 'TcpExt:TCPOFOQueue'


def share(counts, queue):
    return counts[queue] / sum(counts) if sum(counts) else 0.0


def number_in(text, name):
    return int(re.search(rf'{name} (\d+)', text).group(1))
