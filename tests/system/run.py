#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The tests of the whole system: run.py BUILD [part...]. `./bootstrap check-system` calls it.

Each part prints what it saw. A part that this machine cannot run is skipped, with the reason. Ends like `./bootstrap check`.
With FLOWQ_LONG=1 in the environment the parts that have a longer form take that, and those that take long (TAKE_LONG) are played
without being named.
"""
import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # nothing is written into the source tree

import lab  # noqa: E402
import openvswitch  # noqa: E402
import parts_guest  # noqa: E402
import parts_more  # noqa: E402
import parts_order  # noqa: E402
import parts_ovs  # noqa: E402
import parts_restart  # noqa: E402
import parts_vhost  # noqa: E402
from stage import Stage  # noqa: E402

PARTS = {}
# Twenty minutes; the others keep the time of a whole run within half an hour.
TAKE_LONG = {'order', 'order-packed', 'ovs-come-and-go', 'ovs-off-and-on', 'ovs-order', 'ovs-packed', 'ovs-restart',
             'ovs-restart-linux', 'ovs-two-threads', 'restart', 'restart-linux', 'share-nothing'}


class Context:
    """What parts share: the guest on its stage, made when the first part asks for it. There is one stage at a time."""

    def __init__(self, the_lab):
        self.lab = the_lab
        self.made = None
        self.reason = None

    def need_guest(self):
        if self.reason is None:
            build = self.lab.build
            lab.vswitch(build)  # nothing is fetched if that is missing
            script = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'provide.sh')
            tools = [f'{build}/tests/system/{tool}' for tool in ('udp_tool', 'tcp_tool')]
            done = subprocess.run([script, f'{build}/guest', *tools], text=True, capture_output=True, check=False)
            self.reason = '' if done.returncode == 0 else (done.stdout + done.stderr).strip().splitlines()[-1]
        if self.reason:
            raise lab.Skip(self.reason)

    def stage(self, kind):
        self.need_guest()
        if type(self.made) is not kind:
            self.strike()
            self.made = kind(self.lab)
        return self.made

    def strike(self):
        if self.made is not None:
            self.made.strike()
            self.made = None


def on_stage(function, kind=Stage):
    def part(context):
        stage = context.stage(kind)
        function(stage)
        stage.rest()
    part.__doc__ = function.__doc__
    return part


def alone(function, guest=True):
    """A part that makes what it needs itself, in a laboratory of its own."""
    def part(context):
        if guest:
            context.need_guest()
        with lab.Lab(context.lab.build) as own:
            function(own)
    part.__doc__ = function.__doc__
    return part


def may_run():
    if os.geteuid() != 0:
        return 'only root may make TAP devices and namespaces'
    if not os.path.exists('/dev/net/tun'):
        return 'there is no /dev/net/tun'
    return None


def run(parts, build):
    counts = {'passed': 0, 'failed': 0, 'skipped': 0}
    with lab.Lab(build) as the_lab:
        context = Context(the_lab)
        for name in parts:
            print(f'==== {name}: {PARTS[name].__doc__}', flush=True)
            began, result, reason = time.monotonic(), 'passed', ''
            try:
                PARTS[name](context)
            except lab.Skip as skip:
                result, reason = 'skipped', str(skip)
            except (lab.Failure, OSError, ValueError, KeyError, subprocess.SubprocessError) as failure:
                result, reason = 'failed', f'{type(failure).__name__}: {failure}'
                context.strike()  # the next part begins afresh
            counts[result] += 1
            print(f'{result.upper()}: {name} ({time.monotonic() - began:.0f} s){": " if reason else ""}{reason}', flush=True)
    return counts


def main():
    build = os.path.abspath(sys.argv[1])
    names = sys.argv[2:] or [name for name in PARTS if lab.LONG or name not in TAKE_LONG]
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        print(f'check-system: no part is named {unknown[0]}; there are: {" ".join(PARTS)}', file=sys.stderr)
        return 2
    reason = may_run()
    if reason is not None:
        print(''.join(f'SKIPPED: {name} (0 s): {reason}\n' for name in names) + f'0 passed, 0 failed, {len(names)} skipped')
        return 0
    counts = run(names, build)
    skipped = f', {counts["skipped"]} skipped' if counts['skipped'] else ''
    print(f'{counts["passed"]} passed, {counts["failed"]} failed{skipped}')
    return 1 if counts['failed'] else 0


PARTS.update({
    'tun': alone(parts_more.part_a, guest=False),
    'errors': alone(parts_more.part_errors, guest=False),
    'ways': alone(parts_more.part_ways, guest=False),
    'testpmd': alone(parts_more.part_g, guest=False),
    'testpmd-one-sender': alone(parts_more.part_g_collapse, guest=False),
    'queues': on_stage(parts_guest.part_b),
    'moves': on_stage(parts_guest.part_c),
    'off-and-on': on_stage(parts_guest.part_d),
    'order': on_stage(parts_order.part_order),
    'order-packed': on_stage(parts_order.part_packed, parts_order.PackedStage),
    'interrupts': on_stage(parts_guest.part_e),
    'vxlan': on_stage(parts_guest.part_h),
    'one-sender': on_stage(parts_guest.part_collapse),
    'router': alone(parts_more.part_i),
    'two-guests': alone(parts_more.part_f),
    'net-vhost': alone(parts_vhost.part_net_vhost, guest=False),
    'share-nothing': alone(parts_vhost.part_share_nothing, guest=False),
    'ovs-two-threads': alone(parts_vhost.part_two_threads, guest=False),
    'restart-linux': on_stage(parts_restart.part_guest),
    'restart': alone(parts_restart.part_restart, guest=False),
    'ovs-restart': alone(parts_restart.part_restart_ovs, guest=False),
    'ovs-restart-linux': on_stage(parts_restart.part_guest_ovs, openvswitch.OvsStage),
    'ovs-order': on_stage(parts_order.part_ovs, parts_order.WatchedStage),
    'ovs': on_stage(parts_ovs.part_queues, openvswitch.OvsStage),
    'ovs-packed': on_stage(parts_ovs.part_packed, parts_ovs.PackedStage),
    'ovs-off-and-on': on_stage(parts_ovs.part_off_and_on, openvswitch.OvsStage),
    'ovs-come-and-go': on_stage(parts_ovs.part_come_and_go, openvswitch.OvsStage),
})

if __name__ == '__main__':
    sys.exit(main())
