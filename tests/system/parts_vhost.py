# SPDX-License-Identifier: BSD-2-Clause
"""Parts with libflowq-vhost.so preloaded and guests that are programs: share-nothing ones, and such that send as fast as it goes."""
import os
import re
import shutil
import subprocess
import sys

from lab import LONG, Failure, Skip, text_of, until
from openvswitch import OpenVSwitch, dropin
from parts_more import order
from stage import QUEUES, set_up_peer

SERVER = """
import asyncio, sys
async def say_back(reader, writer):
    try:
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()
async def serve():
    await (await asyncio.start_server(say_back, '0.0.0.0', int(sys.argv[1]), backlog=1000)).serve_forever()
asyncio.run(serve())
"""
SERVER_PORT = 5300
CONNECTIONS, ROUNDS = 100, 20
LIVE = {'flowq': (1, 1), 'hash': (0.15, 0.35), 'stock': (0.2, 0.3)}  # of all connections, at least and at most


def numbers(text):
    """{word: the number behind it}"""
    return {name: int(value) for name, value in re.findall(r'([a-z0-9]+) (\d+)(?= |$)', text.strip())}


def run_program(lab, name, *words, seconds=60):
    """A guest that is a program; what it counted."""
    process = lab.start(f'{lab.build}/tests/system/{name}', *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = process.communicate(timeout=seconds)
    if process.returncode != 0:
        raise Failure(f'{name} ended with {process.returncode}: {err.strip()[-300:]}')
    return numbers(out)


def part_share_nothing(lab):
    """a share-nothing guest behind Open vSwitch, whose cores reset what they do not know: connections that live"""
    netns = lab.netns()
    netns.run('ip', 'link', 'set', 'lo', 'up')
    netns.start(sys.executable, '-c', SERVER, SERVER_PORT)
    preload = dropin(lab.build)
    switch = OpenVSwitch(lab, netns, mask=1)
    switch.add('islands', lab.path('islands'))
    failed = []
    for how, (least, most) in LIVE.items():
        switch.go(preload if how == 'flowq' else None)
        switch.steering('islands', 'hash' if how == 'hash' else None)
        set_up_peer(netns, 'br0', 1, '10.77.0.1/24', 'fd77::1/64')
        netns.run('ip', 'neigh', 'replace', '10.77.0.7', 'lladdr', '02:00:00:00:07:00', 'dev', 'br0')
        seen = run_program(lab, 'islands', lab.path('islands'), CONNECTIONS, ROUNDS, SERVER_PORT)
        switch.stop()
        print(f'    {how:<6} of {seen["opened"]} connections {seen["established"]} were established, {seen["lived"]} lived to their '
              f'end; segments that came to a core that did not know them: {seen["foreign"]}', flush=True)
        if not least <= seen['lived'] / (QUEUES * CONNECTIONS) <= most:
            failed.append(how)
    if failed:
        raise Failure(f'not as many lived as were to be expected: {", ".join(failed)}')


# ---- Traffic between two guests ----

def show(what, seen):
    print(f'    {what:<34} {seen["rate"] / 1e6:5.2f} M packets/s; of {seen["measured"]} on the right queue '
          f'{100 * seen["right"] / max(seen["measured"], 1):6.2f} %; lost {seen["lost"]}, late or twice {seen["late"]}', flush=True)


def must_be_right(what, seen):
    if seen['measured'] < 2000:
        raise Failure(f'{what}: hardly anything arrived')
    if seen['lost'] > 0 or seen['late'] > 0:
        raise Failure(f'{what}: {seen["lost"]} packets were lost, {seen["late"]} late or twice')
    if seen['right'] < 0.99 * seen['measured']:
        raise Failure(f'{what}: less than 99 % on the right queue')


def part_two_threads(lab):
    """two PMD threads of Open vSwitch fill the same rings of two guests: nothing lost, doubled or late; all on the right queue"""
    if os.cpu_count() < 2:
        raise Skip('two PMD threads want two processors')
    preload, paths = dropin(lab.build), [lab.path('a'), lab.path('b')]
    switch = OpenVSwitch(lab, lab.netns(), mask=3)
    for name, path in zip('ab', paths):
        switch.add(name, path)
    for how, flows in (('stock', 1000), ('flowq', 1000), *((('flowq', 20000), ('hash', 1000)) if LONG else ())):
        switch.go(preload if how == 'flowq' else None)
        for name in 'ab':
            switch.steering(name, 'hash' if how == 'hash' else None)
        seen = run_program(lab, 'traffic', *paths, flows, 3, 2)
        switch.stop()
        show(f'{how}, {flows} flows', seen)
        if how == 'flowq':
            must_be_right(how, seen)


class Testpmd:
    """DPDK's testpmd as a switch between two net_vhost ports: what comes out of queue i of one goes to queue i of the other."""

    def __init__(self, lab, paths, preload, cores):
        environment = {**os.environ, **({} if preload is None else {'LD_PRELOAD': preload})}
        devices = [word for i, path in enumerate(paths)
                   for word in ('--vdev', f'net_vhost{i},iface={path},queues={QUEUES},client=1')]
        self.process = lab.start('dpdk-testpmd', '--no-huge', '-m', 256, '--no-pci', '--file-prefix', 'flowq-testpmd', '--lcores',
                                 f'(0-{cores})@(0-{os.cpu_count() - 1})', '--log-level', '*:error', *devices, '--', '-i', '--total-num-mbufs=32768',
                                 f'--nb-cores={cores}', f'--rxq={QUEUES}', f'--txq={QUEUES}', '--forward-mode=io', env=environment,
                                 stdin=subprocess.PIPE, stdout=open(lab.path('testpmd.out'), 'wb'), stderr=subprocess.STDOUT, text=True)
        self.path = lab.path('testpmd.out')
        until('testpmd', 30, lambda: 'testpmd> ' in self.said())
        order(self.process, 'start')

    def said(self):
        text = text_of(self.path)
        if self.process.poll() is not None:
            raise Failure(f'testpmd ended with {self.process.returncode}: {text[-400:]}')
        return text

    def stop(self):
        order(self.process, 'stop', 'quit')
        self.process.wait(30)
        if self.process.returncode != 0:
            raise Failure(f'testpmd ended with {self.process.returncode}')


def part_net_vhost(lab):
    """testpmd with DPDK's net_vhost driver, which DPDK loads by dlopen, as the switch: as it comes, and flowq preloaded"""
    if shutil.which('dpdk-testpmd') is None:
        raise Skip('dpdk-testpmd is not installed (Debian: dpdk-dev)')
    paths, preload = [lab.path('a'), lab.path('b')], dropin(lab.build)
    for how, cores in (('stock', 1), ('flowq', 1), ('flowq', 4)):
        switch = Testpmd(lab, paths, preload if how == 'flowq' else None, cores)
        seen = run_program(lab, 'traffic', *paths, 1000, 2)
        switch.stop()
        show(f'{how}, {cores} forwarding thread{"s" * (cores > 1)}', seen)
        if how == 'flowq':
            must_be_right(how, seen)
        elif seen['right'] > 0.5 * seen['measured']:
            raise Failure('without flowq it steers as well: this shows nothing')
