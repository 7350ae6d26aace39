# SPDX-License-Identifier: BSD-2-Clause
"""The switch is restarted, or killed: what becomes of the guest's connections, with what was saved and without.

200 that are idle and 200 that are busy until half a second before. Then the guest says nothing of its own accord until the other
end has spoken in each of them, so that only what was saved says where the first packet of a flow goes.
"""
import os
import re
import signal
import subprocess
import sys
import time

from lab import Failure, Switch, until
from openvswitch import OpenVSwitch, dropin, telemetry
from parts_vhost import numbers
from stage import ADDRESS, QUEUES, set_up_peer

SERVER_PORT, MESSAGE = 5301, 512
CONNECTIONS, IDLE, ROUNDS = 100, 50, 20  # of each core
MOST_BY_CHANCE = 0.5  # of those that nothing was saved of; a quarter is to be expected
HOW = {'saved': 'restarted in order', 'killed': 'killed, saved every second', 'without': 'restarted, nothing saved'}

# Says back what is said; at SIGUSR1 something of its own in each connection, and how many there are.
SERVER = """
import asyncio, signal, sys
writers = set()
async def say_back(reader, writer):
    writers.add(writer)
    try:
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writers.discard(writer)
    writer.close()
def speak_up():
    print(len(writers), flush=True)
    for writer in writers:
        writer.write(b'o' * int(sys.argv[2]))
async def serve():
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, speak_up)
    await (await asyncio.start_server(say_back, '0.0.0.0', int(sys.argv[1]), backlog=1000)).serve_forever()
asyncio.run(serve())
"""


def start_server(netns):
    netns.run('ip', 'link', 'set', 'lo', 'up')
    return netns.start(sys.executable, '-c', SERVER, SERVER_PORT, MESSAGE, stdout=subprocess.PIPE, text=True)


def speak_up(server):
    """How many connections it spoke in."""
    server.send_signal(signal.SIGUSR1)
    return int(server.stdout.readline())


def state_folder(lab):
    os.makedirs(lab.path('state'), 0o700, exist_ok=True)
    return lab.path('state')


# ---- Switches ----

def vswitch_options(how, folder):
    return {'saved': ['--state', folder], 'killed': ['--state', folder, '--save-every', 1], 'without': []}[how]


def ovs_settings(how, folder):
    """What FLOWQ_VHOST says."""
    return {'saved': f'state={folder}', 'killed': f'state={folder},save_every=1', 'without': None}[how]


class Vswitch:
    """examples/vswitch, in front of a guest that listens on path."""
    NAME = 'vswitch'

    def __init__(self, lab, netns, path):
        self.lab, self.netns, self.path = lab, netns, path
        self.switch = None

    def start(self, how):
        self.switch = Switch(self.lab, f'vhost:{self.path},client', f'tap:peer@{self.netns.path}',
                             options=vswitch_options(how, self.lab.path('state')))
        self.connect()

    def again(self, how):
        if how == 'killed':
            self.switch.kill()
        else:
            self.switch.stop()
        self.switch.go()
        self.connect()

    def connect(self):
        # Where the guest listens there is no socket to wait for; the old TAP went with the old switch.
        until('the TAP', 60, lambda: 'peer' in self.netns.run('ip', '-br', 'link', 'show'))
        set_up_peer(self.netns, 'peer', 1, '10.77.0.1/24', 'fd77::1/64')
        self.netns.run('ip', 'neigh', 'replace', '10.77.0.7', 'lladdr', '02:00:00:00:07:00', 'dev', 'peer')

    def queues(self):
        return self.switch.stats()[os.path.basename(self.path)]['flowq_queues_in_use']

    def stop(self):
        self.switch.stop()


def save_by_telemetry(lab):
    """As flowq-vhost(7) has it done before the service is stopped."""
    told = telemetry(lab, '/flowq/save')
    if told != {'saved': 1, 'failed': 0}:
        raise Failure(f'/flowq/save: {told}')


class Ovs:
    """Open vSwitch as packaged, the drop-in preloaded, in front of a guest that listens on path."""
    NAME = 'Open vSwitch'

    def __init__(self, lab, netns, path):
        self.lab, self.netns = lab, netns
        self.switch = OpenVSwitch(lab, netns, mask=1)
        self.switch.add('guest', path)
        self.settings = None

    def start(self, how):
        self.settings = ovs_settings(how, self.lab.path('state'))
        self.go()

    def go(self):
        self.switch.go(dropin(self.lab.build), self.settings)
        set_up_peer(self.netns, 'br0', 1, '10.77.0.1/24', 'fd77::1/64')
        self.netns.run('ip', 'neigh', 'replace', '10.77.0.7', 'lladdr', '02:00:00:00:07:00', 'dev', 'br0')

    def again(self, how):
        if how == 'saved':
            save_by_telemetry(self.lab)
        if how == 'killed':
            self.switch.kill()
        else:
            self.switch.stop()
        self.go()

    def queues(self):
        return len(re.findall(r'vring_\d+_size', self.switch.vsctl('get', 'Interface', 'guest', 'status'))) // 2

    def stop(self):
        self.switch.stop()


# ---- A share-nothing guest ----

def play_islands(lab, host, server, path, how):
    """What the guest counted."""
    guest = lab.start(f'{lab.build}/tests/system/islands', path, CONNECTIONS, ROUNDS, SERVER_PORT, IDLE, stdout=subprocess.PIPE,
                      stderr=subprocess.PIPE, text=True)
    until('the guest', 60, lambda: os.path.exists(path))
    host.start(how)
    until('all queues', 60, lambda: host.queues() == QUEUES)
    guest.send_signal(signal.SIGUSR2)
    said = guest.stdout.readline()
    if said != 'waiting\n':
        raise Failure(f'the guest: {said}{guest.communicate()[1].strip()[-300:]}')
    guest.send_signal(signal.SIGUSR1)
    time.sleep(2 if how == 'killed' else 0.5)  # what is on its way arrives, and the last of that is saved
    host.again(how)
    until('the guest to come back', 60, lambda: host.queues() == QUEUES)
    spoken = speak_up(server)
    time.sleep(1)
    guest.send_signal(signal.SIGUSR2)
    out, err = guest.communicate(timeout=240)
    host.stop()
    if os.path.exists(path):
        os.unlink(path)
    if guest.returncode != 0:
        raise Failure(f'islands ended with {guest.returncode}: {err.strip()[:400]}')
    return {**numbers(out), 'spoken': spoken}


def judge(how, seen):
    """None, or what is wrong."""
    n = QUEUES * CONNECTIONS
    if seen['opened'] != n or seen['spoken'] != n:
        return f'{how}: of {n} connections {seen["opened"]} were opened, {seen["spoken"]} there at the restart'
    if how == 'without':
        return None if seen['first'] <= MOST_BY_CHANCE * n else f'{how}: the flows are known without it: this shows nothing'
    if seen['first'] != n or seen['lived'] != n or seen['reset'] != 0 or seen.get('foreign', 0) != 0:
        return f'{how}: not all went on'
    return None


def play_all(name, play, ways=tuple(HOW)):
    wrong = []
    for how in ways:
        seen = play(how)
        others = f'; segments on cores that did not know them: {seen["foreign"]}' if 'foreign' in seen else ''
        print(f'    {name}, {HOW[how]}: of {seen["spoken"]} connections the first packet came to its queue in {seen["first"]}; '
              f'{seen["lived"]} live on, {seen["reset"]} were reset{others}', flush=True)
        wrong += [judge(how, seen)] if judge(how, seen) else []
    if wrong:
        raise Failure('; '.join(wrong))


def islands_behind(lab, kind):
    netns = lab.netns()
    server = start_server(netns)
    state_folder(lab)
    path = lab.path('islands')
    host = kind(lab, netns, path)
    play_all(host.NAME, lambda how: play_islands(lab, host, server, path, how))


def part_restart(lab):
    """vswitch is restarted, and killed: 400 connections of a share-nothing guest, with --state and without"""
    islands_behind(lab, Vswitch)


def part_restart_ovs(lab):
    """Open vSwitch is restarted, and killed: 400 connections of a share-nothing guest, with state= and without"""
    islands_behind(lab, Ovs)


# ---- A Linux guest ----

def play_guest(stage, server, how, again):
    """What it counted. Each queue interrupts a processor of its own, where it looks."""
    guest = stage.guest
    guest.run(f'tcp_tool {ADDRESS[4]} {SERVER_PORT} {CONNECTIONS} {IDLE} >/tmp/tcp 2>&1 & echo $! >/tmp/tcp.pid')
    guest.run('until grep -q waiting /tmp/tcp; do kill -0 $(cat /tmp/tcp.pid) || exit 1; sleep 0.1; done; sleep 1', 90)
    guest.run('kill -USR1 $(cat /tmp/tcp.pid)')
    time.sleep(3 if how == 'killed' else 1.5)
    again(how)
    stage.wait()
    spoken = speak_up(server)
    time.sleep(2)
    guest.run('kill -USR2 $(cat /tmp/tcp.pid); while kill -0 $(cat /tmp/tcp.pid) 2>/dev/null; do sleep 0.1; done', 90)
    return {**numbers(guest.run('tail -n 1 /tmp/tcp')), 'spoken': spoken}


def part_guest(stage):
    """vswitch is restarted, and killed: 400 connections of a Linux guest, with --state and without"""
    server, folder = start_server(stage.netns), state_folder(stage.lab)

    def again(how):
        if how == 'killed':
            stage.switch.kill()
        else:
            stage.switch.stop()
        stage.switch.go()
        set_up_peer(stage.netns, 'peer', 1, '10.77.0.1/24', 'fd77::1/64')

    def play(how):
        stage.play(options=vswitch_options(how, folder))
        return play_guest(stage, server, how, again)
    play_all('vswitch', play)
    server.kill()


def part_guest_ovs(stage):
    """Open vSwitch is restarted, and killed: 400 connections of a Linux guest, with state= and without"""
    server, folder = start_server(stage.netns), state_folder(stage.lab)

    def again(how):
        if how == 'saved':
            save_by_telemetry(stage.lab)
        if how == 'killed':
            stage.switch.kill()
        else:
            stage.switch.stop()
        stage.switch.go(stage.preload, ovs_settings(how, folder))
        stage.set_up()

    def play(how):
        settings = ovs_settings(how, folder)
        stage.play(f'flowq,{settings}' if settings else 'flowq')
        return play_guest(stage, server, how, again)
    play_all('Open vSwitch', play)
    server.kill()
