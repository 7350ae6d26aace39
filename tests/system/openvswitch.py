# SPDX-License-Identifier: BSD-2-Clause
"""Open vSwitch with DPDK as Debian packages it, and the stage on which a guest plays behind it.

The packages are unpacked (provide_ovs.sh), not installed; database, sockets and the datapath's devices are in a folder and a network
namespace of the test's own, so an Open vSwitch of this machine is not touched. Without huge pages: memory is shared with the guest by
the guest.
"""
import json
import os
import re
import socket
import subprocess

from lab import Failure, Guest, Skip, text_of, until
from stage import PEER_MAC, QUEUES, Stage, set_up_peer

HERE = os.path.dirname(os.path.abspath(__file__))
PREFIX = 'flowq-ovs'


def provide(build):
    """The folder in which Open vSwitch is unpacked."""
    done = subprocess.run([f'{HERE}/provide_ovs.sh', f'{build}/ovs'], text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise Skip((done.stdout + done.stderr).strip().splitlines()[-1])
    return f'{build}/ovs/root'


def dropin(build):
    """libflowq-vhost.so as it was built, or another build of it, with sanitizers for instance, that FLOWQ_VHOST_OBJECT names."""
    path = os.environ.get('FLOWQ_VHOST_OBJECT') or f'{build}/.libs/libflowq-vhost.so'
    if not os.path.exists(path):
        raise Skip('libflowq-vhost.so was not built: it needs DPDK (Debian: libdpdk-dev)')
    return path


def telemetry(lab, command):
    """What the process answers that has DPDK's telemetry."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked:
        asked.settimeout(20)
        asked.connect(lab.path(f'dpdk/{PREFIX}/dpdk_telemetry.v2'))
        asked.recv(16384)
        asked.send(command.encode())
        return json.loads(asked.recv(16384))[command.partition(',')[0]]


class OpenVSwitch:
    """The database server lives as long as the laboratory; the daemon comes and goes. Its bridge, br0, is a TAP in netns."""

    def __init__(self, lab, netns, mask=None):
        self.lab = lab
        self.netns = netns
        self.root = provide(lab.build)
        self.folder = lab.path('ovs')
        self.database = f'unix:{self.folder}/db.sock'
        self.daemon = None
        os.mkdir(self.folder)
        self.environment = {**os.environ, 'OVS_RUNDIR': self.folder, 'OVS_LOGDIR': self.folder, 'OVS_DBDIR': self.folder,
                            'OVS_PKGDATADIR': f'{self.root}/usr/share/openvswitch'}
        self.call('usr/bin/ovsdb-tool', 'create', f'{self.folder}/conf.db', f'{self.root}/usr/share/openvswitch/vswitch.ovsschema')
        netns.start(f'{self.root}/usr/sbin/ovsdb-server', f'{self.folder}/conf.db', f'--remote=p{self.database}',
                    f'--unixctl={self.folder}/db.ctl', env=self.environment, stderr=-3)
        until('ovsdb-server', 10, lambda: os.path.exists(f'{self.folder}/db.sock'))
        self.vsctl('--no-wait', 'init')
        self.vsctl('--no-wait', 'set', 'Open_vSwitch', '.', 'other_config:dpdk-init=true', 'other_config:dpdk-extra='
                   f'--no-huge --legacy-mem --no-pci --file-prefix={PREFIX} -m 1024')
        self.vsctl('--no-wait', 'add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=netdev',
                   f'other-config:hwaddr={PEER_MAC}')
        if mask is not None:
            self.vsctl('--no-wait', 'set', 'Open_vSwitch', '.', f'other_config:pmd-cpu-mask={mask:#x}')

    def call(self, program, *words, check=True, seconds=60):
        done = subprocess.run([f'{self.root}/{program}', *map(str, words)], env=self.environment, text=True, capture_output=True,
                              timeout=seconds, check=False)
        if check and done.returncode != 0:
            raise Failure(f'{os.path.basename(program)} {" ".join(map(str, words))}: {done.stdout}{done.stderr}')
        return done.stdout

    def vsctl(self, *words):
        return self.call('usr/bin/ovs-vsctl', f'--db={self.database}', '--timeout=30', *words)

    def appctl(self, *words):
        return self.call('usr/bin/ovs-appctl', f'--target={self.folder}/vs.ctl', *words)

    def ask(self, *words):
        """As appctl, without starting a program."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(20)
            control.connect(f'{self.folder}/vs.ctl')
            control.sendall(json.dumps({'id': 0, 'method': words[0], 'params': words[1:]}).encode())
            text = ''
            while True:
                text += control.recv(65536).decode()
                try:
                    return json.loads(text)['result']
                except json.JSONDecodeError:
                    pass  # there is more to come

    def go(self, preload=None, settings=None):
        """preload: the path of the object; settings: what FLOWQ_VHOST says to it"""
        environment = dict(self.environment)
        environment.update({} if preload is None else {'LD_PRELOAD': preload})
        environment.update({} if settings is None else {'FLOWQ_VHOST': settings})
        if os.path.exists(f'{self.folder}/vs.ctl'):
            os.unlink(f'{self.folder}/vs.ctl')
        with open(f'{self.folder}/err', 'ab') as err:
            self.daemon = self.netns.start(f'{self.root}/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk', self.database,
                                           f'--unixctl={self.folder}/vs.ctl', f'--log-file={self.folder}/log', '-vconsole:off',
                                           env=environment, stdin=-3, stdout=err, stderr=err)
        until('br0', 20, self.stands)

    def stands(self):
        """The bridge is there. Its TAP says nothing: it stays from one daemon to the next."""
        if died := self.died():
            raise Failure(died)
        return os.path.exists(f'{self.folder}/vs.ctl') and 'br0' in self.call(
            'usr/bin/ovs-appctl', f'--target={self.folder}/vs.ctl', 'dpif/show', check=False)

    def died(self):
        """What it says of that, if the daemon has ended by itself."""
        status = None if self.daemon is None else self.daemon.poll()
        return None if status is None else f'Open vSwitch ended with {status}: {self.complaint()}'

    def complaint(self):
        text = ''
        for name in ('err', 'log'):
            if os.path.exists(f'{self.folder}/{name}'):
                text += text_of(f'{self.folder}/{name}')[-1500:]
        return text.strip()

    def log(self):
        return text_of(f'{self.folder}/log')

    def kill(self):
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()
            self.daemon = None

    def stop(self):
        """Ends as its service ends it."""
        if self.daemon is None:
            return
        self.appctl('exit')
        ending, self.daemon = self.daemon, None
        try:
            ending.wait(60)
        except subprocess.TimeoutExpired as late:
            ending.kill()
            raise Failure('Open vSwitch did not end') from late
        if ending.returncode != 0:
            raise Failure(f'Open vSwitch ended with {ending.returncode}: {self.complaint()}')

    def add(self, port, path):
        """A port whose guest listens on path, as it does where both may come and go."""
        self.vsctl('--no-wait', '--may-exist', 'add-port', 'br0', port, '--', 'set', 'Interface', port, 'type=dpdkvhostuserclient',
                   f'options:vhost-server-path={path}')

    def remove(self, port):
        self.vsctl('del-port', 'br0', port)

    def steering(self, port, how):
        """None: as it comes"""
        if how is None:
            self.vsctl('remove', 'Interface', port, 'other_config', 'tx-steering')
        else:
            self.vsctl('set', 'Interface', port, f'other_config:tx-steering={how}')

    def delivered(self, port):
        """Packets put into each of the guest's receive rings, as librte_vhost counts them."""
        text = self.vsctl('get', 'Interface', port, 'statistics')
        counts = {int(queue): int(value) for queue, value in re.findall(r'tx_q(\d+)_good_packets=(\d+)', text)}
        return [counts.get(queue, 0) for queue in range(max(counts, default=-1) + 1)]


class OvsStage(Stage):
    """The guest behind Open vSwitch; the peer is the namespace that its bridge is in."""

    def __init__(self, lab):
        super().__init__(lab)
        self.preload = dropin(lab.build)
        self.switch = OpenVSwitch(lab, self.netns, mask=1)
        self.switch.add('guest', lab.path('guest'))

    def play(self, setting='flowq', more=()):
        """setting: 'flowq', what FLOWQ_VHOST says behind a comma; 'hash'; or 'stock'"""
        self.rest()
        kind, _, settings = setting.partition(',')
        self.switch.vsctl('--no-wait', *(('set', 'Interface', 'guest', 'other_config:tx-steering=hash') if kind == 'hash' else
                                         ('remove', 'Interface', 'guest', 'other_config', 'tx-steering')), *more)
        self.switch.go(self.preload if kind == 'flowq' else None, settings or None)
        self.set_up()
        if self.guest is None:
            self.guest = Guest(self.lab, 'guest', [(f'vhost-server:{self.lab.path("guest")}', QUEUES)], device=self.DEVICE)
            self.address()
        self.wait()
        return self.guest

    def set_up(self):
        set_up_peer(self.netns, 'br0', 1, '10.77.0.1/24', 'fd77::1/64')

    def address(self):
        self.guest.run('/usr/bin/ip addr add 10.77.0.2/24 dev eth0 && /usr/bin/ip addr add fd77::2/64 dev eth0 nodad && '
                       '/usr/bin/ip link set eth0 up')

    def rest(self):
        self.switch.stop()

    def queues_in_use(self):
        # What Open vSwitch says of its port: the queues of the guest that are on.
        status = self.switch.vsctl('get', 'Interface', 'guest', 'status')
        return len(re.findall(r'vring_\d+_size', status)) // 2
