# SPDX-License-Identifier: BSD-2-Clause
"""Processes, namespaces, the switch and the guest, for the tests of the whole system.

Everything made here belongs to this process: children are told to die with it, namespaces have no names, and folders lie where
no other process sees them. Nothing is left, however a test ends, and two runs know nothing of each other.
"""
import contextlib
import ctypes
import functools
import json
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import tempfile
import time

LONG = bool(os.environ.get('FLOWQ_LONG'))  # the parts that have a longer form take it
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1
CLONE_NEWNS = 0x20000
MS_REC, MS_SLAVE = 0x4000, 0x80000


class Failure(Exception):
    """Something is not as it must be."""


class Ended(Failure):
    """A guest has, by itself."""


class Skip(Exception):
    """This machine cannot do it; the reason is the text."""


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def until(what, seconds, condition):
    """Waits until condition() is true and returns what it gave."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.02)
    raise Failure(f'{what}: not within {seconds} s')


def text_of(path):
    """A file that another process writes, whatever it writes."""
    with open(path, encoding='utf-8', errors='replace') as file:
        return file.read()


@functools.lru_cache(maxsize=None)
def private_place():
    """A folder for folders that only this process and its children see; None: not on this machine.

    It is in memory, mounted in a mount namespace of our own, where an empty folder is: no clean-up of another process finds it,
    and it goes with the last of us, killed or not.
    """
    place = next((place for place in ('/mnt', '/media', '/srv') if os.path.isdir(place) and not os.listdir(place)), None)
    # What others mount or unmount reaches us; our mount does not reach them.
    if place is None or LIBC.unshare(CLONE_NEWNS) != 0 or \
            LIBC.mount(b'none', b'/', None, ctypes.c_ulong(MS_REC | MS_SLAVE), None) != 0 or \
            LIBC.mount(b'flowq', place.encode(), b'tmpfs', ctypes.c_ulong(0), None) != 0:
        return None
    return place


class Lab:
    """What one part of the tests starts, and ends with it."""

    def __init__(self, build):
        self.build = build
        self.children = []
        self.folder = tempfile.TemporaryDirectory(prefix='flowq-system-', dir=private_place())

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for child in reversed(self.children):
            if child.poll() is None:
                child.terminate()
                try:
                    child.wait(3)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
        self.folder.cleanup()

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def start(self, *command, **kwargs):
        # DPDK keeps its files there, and leaves them when it is killed. A build with sanitizers ends at undefined behaviour.
        kwargs['env'] = {'UBSAN_OPTIONS': 'halt_on_error=1:print_stacktrace=1', **kwargs.get('env', os.environ),
                         'RUNTIME_DIRECTORY': self.folder.name}
        child = subprocess.Popen([str(word) for word in command], preexec_fn=die_with_parent, **kwargs)
        self.children.append(child)
        return child

    def netns(self):
        """A network namespace, held by a process that does nothing else."""
        holder = self.start('unshare', '--net', 'sleep', 'infinity')
        own = os.stat('/proc/self/ns/net').st_ino

        def entered():
            if holder.poll() is not None:
                raise Skip('no network namespaces for us here')
            return os.stat(f'/proc/{holder.pid}/ns/net').st_ino != own
        until('network namespace', 3, entered)
        return Netns(self, holder.pid)


class Netns:
    def __init__(self, lab, pid):
        self.lab = lab
        self.path = f'/proc/{pid}/ns/net'
        self.enter = ('nsenter', f'--net={self.path}')

    def start(self, *command, **kwargs):
        return self.lab.start(*self.enter, *command, **kwargs)

    def run(self, *command, check=True):
        done = subprocess.run([*self.enter, *[str(word) for word in command]], text=True, capture_output=True,
                              timeout=60, check=False)
        if check and done.returncode != 0:
            raise Failure(f'{shlex.join(map(str, command))}: {done.stdout}{done.stderr}')
        return done.stdout


def vswitch(build):
    """The program: examples/vswitch, or another build of it, with sanitizers for instance, that FLOWQ_VSWITCH names."""
    program = os.environ.get('FLOWQ_VSWITCH') or os.path.join(build, 'examples/vswitch')
    if not os.path.exists(program):
        raise Skip('vswitch was not built: it needs DPDK (Debian: libdpdk-dev)')
    return program


class Switch:
    """examples/vswitch. Ports are written as it takes them. by: a command that runs it."""

    def __init__(self, lab, *ports, workers=1, options=(), by=()):
        self.lab = lab
        self.command = [*by, vswitch(lab.build), '--json', '--workers', workers, *options, *ports]
        self.ports = ports
        self.process = None
        self.go()

    def go(self):
        """Starts it and waits until its sockets are open: it has made its TAPs and minds signals by then.

        Where a guest listens there is no socket to wait for.
        """
        sockets = [port.split(',')[0][6:] for port in self.ports if port.startswith('vhost:') and 'client' not in port.split(',')]

        def stamps():
            return [os.stat(path).st_mtime_ns if os.path.exists(path) else 0 for path in sockets]
        before = stamps()  # of a switch that was killed
        with open(self.lab.path('vswitch.err'), 'wb') as err:  # a sanitizer may write more than a pipe holds
            self.process = self.lab.start(*self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, text=True)

        def ready():
            if self.process.poll() is not None:
                raise Failure(f'vswitch: {self.complaint()}')
            return all(now not in (0, then) for now, then in zip(stamps(), before))
        until('the sockets of vswitch', 10, ready)

    def complaint(self):
        return text_of(self.lab.path('vswitch.err')).strip()

    def stats(self):
        """The ports, by name, each with its queues."""
        self.process.send_signal(signal.SIGUSR1)
        return self.report()

    def steer(self, way):
        """All ports another way, by --commands; what is told when that is done."""
        names = [port.split(',')[0].split(':', 1)[1] for port in self.ports]
        self.process.stdin.write(''.join(f'steer {name} {way}\n' for name in names) + 'report\n')
        self.process.stdin.flush()
        ports = self.report()
        if any(port['steer'] != way for port in ports.values()):
            raise Failure(f'the switch does not steer by {way}: {self.complaint()}')
        return ports

    def report(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failure(f'vswitch ended: {self.complaint()}')
        return {os.path.basename(port['name']): port for port in json.loads(line)['ports']}

    def died(self):
        """What it says of that, if it has ended by itself."""
        status = self.process.poll()
        return None if status is None else f'vswitch ended with {status}: {self.complaint()}'

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        out, _ = self.process.communicate(timeout=60)
        if self.process.returncode != 0:
            raise Failure(f'vswitch ended with {self.process.returncode}: {self.complaint()}')
        return {os.path.basename(port['name']): port for port in json.loads(out.splitlines()[-1])['ports']}


class Traffic:
    """Two guests in one program (traffic.c), which play turns through a switch. by: a command that runs it."""

    def __init__(self, lab, paths, by=()):
        self.process = lab.start(*by, f'{lab.build}/tests/system/traffic', *paths, '-', stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 text=True)

    def begin(self, flows, seconds, anew=False):
        """anew: the switch has forgotten the flows; until each has been there and back nothing is measured."""
        self.process.stdin.write(f'{flows} {seconds}{" anew" if anew else ""}\n')
        self.process.stdin.flush()

    def seen(self):
        """What they saw in the turn that was begun, when it is over."""
        line = self.process.stdout.readline()
        if not line:
            raise Failure('the guests ended')
        return {name: int(value) for name, value in re.findall(r'([a-z0-9]+) (\d+)', line)}

    def play(self, *turn, **how):
        self.begin(*turn, **how)
        return self.seen()

    def stop(self):
        self.process.communicate('', timeout=30)


class Guest:
    """A Linux guest under QEMU, with a command line of its own."""

    QEMU = 'guest/qemu/usr'

    def __init__(self, lab, name, nics, vcpus=4, inside=(), device=''):
        """nics: for each what -netdev takes, without id, or vhost:SOCKET, or vhost-server:SOCKET where QEMU is to listen, and the number
        of queues; inside: words before the command; device: more properties of the devices, each behind a comma"""
        self.lab = lab
        self.device = device
        self.name = name
        self.nics = nics
        self.vcpus = vcpus
        self.inside = inside
        self.number = 0
        self.go()

    def command(self):
        top = self.lab.build
        qemu = os.path.join(top, self.QEMU)
        kernel = [name for name in os.listdir(f'{top}/guest/kernel/boot') if name.startswith('vmlinuz')][0]
        words = [f'{qemu}/bin/qemu-system-x86_64', '-L', f'{qemu}/share/qemu', '-L', f'{qemu}/share/seabios', '-nodefaults',
                 '-no-user-config', '-display', 'none', '-no-reboot', '-M', 'q35', '-accel', 'tcg,thread=multi', '-cpu', 'max',
                 '-smp', self.vcpus, '-m', '384', '-object', 'memory-backend-memfd,id=mem,size=384M,share=on',
                 '-numa', 'node,memdev=mem', '-kernel', f'{top}/guest/kernel/boot/{kernel}', '-initrd', f'{top}/guest/initramfs',
                 '-append', 'console=ttyS0 quiet panic=-1 mitigations=off no_timer_check', '-serial', f'file:{self.console}',
                 '-serial', f'unix:{self.lab.path(self.name)}.serial,server=on,wait=off']
        for i, (netdev, queues) in enumerate(self.nics):
            if netdev.startswith('vhost:'):
                words += ['-chardev', f'socket,id=c{i},path={netdev[6:]},reconnect-ms=100']
                words += ['-netdev', f'vhost-user,id=n{i},chardev=c{i},queues={queues}']
            elif netdev.startswith('vhost-server:'):
                words += ['-chardev', f'socket,id=c{i},path={netdev[13:]},server=on']
                words += ['-netdev', f'vhost-user,id=n{i},chardev=c{i},queues={queues}']
            else:
                words += ['-netdev', f'{netdev},id=n{i}']
            words += ['-device', f'virtio-net-pci,netdev=n{i},romfile=,mq=on,vectors={2 * queues + 2},mac={self.mac(i)}{self.device}']
        return words

    @property
    def console(self):
        return self.lab.path(f'{self.name}.console')

    def mac(self, nic):
        return f'52:54:00:{sum(self.name.encode()) % 256:02x}:00:{nic:02x}'

    def go(self):
        """One that ends while its kernel starts, before anything is asked of it, is started once more, and that is told."""
        try:
            self.boot()
        except Ended as ended:
            print(f'    {ended}; once more', flush=True)
            self.boot()

    def boot(self):
        path = f'{self.lab.path(self.name)}.serial'
        if os.path.exists(path):
            os.unlink(path)
        self.process = self.lab.start(*self.inside, *self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=open(self.lab.path(f'{self.name}.err'), 'wb'))
        until(f'QEMU for {self.name}', 10, lambda: os.path.exists(path) or self.ended())
        self.serial = socket.socket(socket.AF_UNIX)
        until(f'QEMU for {self.name}', 10, lambda: self.serial.connect_ex(path) == 0 or self.ended())
        self.buffer = b''
        self.number = 0
        self.answer(0, 60)

    def said(self, kind):
        """The end of what QEMU ("err") or the guest's kernel ("console") has written."""
        return text_of(self.lab.path(f'{self.name}.{kind}')).strip()[-600:]

    def ended(self):
        status = self.process.poll()
        if status is not None:
            raise Ended(f'QEMU for {self.name} ended with {status}: {self.said("err")}; its console ends: {self.said("console")}')

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.serial.close()

    def answer(self, number, seconds):
        end = time.monotonic() + seconds
        marker = f'@@ {number} '.encode()
        while True:
            at = self.buffer.find(marker)
            if at >= 0 and b'\n' in self.buffer[at:]:
                line, _, rest = self.buffer[at:].partition(b'\n')
                text = self.buffer[:at].decode(errors='replace').replace('\r', '')
                self.buffer = rest
                return text, int(line.split()[2])
            if not select.select([self.serial], [], [], max(0.0, end - time.monotonic()))[0]:
                self.ended()
                raise Failure(f'{self.name} does not answer; its console ends: {self.said("console")}')
            data = self.serial.recv(65536)
            if not data:  # the guest is over, and QEMU about to be
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(10)
                self.ended()
                raise Failure(f'{self.name}: the serial line is closed, its console ends: {self.said("console")}')
            self.buffer += data

    def run(self, command, seconds=60, check=True):
        """Runs a command of the guest's shell and returns what it prints."""
        self.number += 1
        self.serial.sendall(f'{self.number} {command}\n'.encode())
        text, status = self.answer(self.number, seconds)
        if check and status != 0:
            raise Failure(f'{self.name}: {command}: {text.strip()[-400:]}')
        return text

    def packed(self):
        """Whether its driver has taken packed rings (virtio 1.2, section 6: VIRTIO_F_RING_PACKED)."""
        return self.run('cat /sys/bus/virtio/devices/virtio0/features')[34] == '1'

    def received(self, nic=0):
        """Packets on each receive queue, as the driver counts them."""
        return self.counted('rx', nic)

    def counted(self, way, nic=0):
        """Packets on each queue of one direction, "rx" or "tx"."""
        counts = {}
        for line in self.run(f'ethtool -S eth{nic} | grep -E "{way}_queue_[0-9]+_packets"').splitlines():
            name, _, value = line.strip().partition(':')
            counts[int(name.split('_')[2])] = int(value)
        return [counts[queue] for queue in sorted(counts)]
