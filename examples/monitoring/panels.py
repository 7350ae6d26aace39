#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Writes grafana.json: a dashboard for Grafana, from the table below. `panels.py >grafana.json`; a test holds the two together, and
each name to be one of flowq's. flowq-monitoring(7) says what the numbers mean."""
import json

VM = '{vm=~"$vm"}'


def rate(name, labels='', by=''):
    """Of a counter: per second, by vm and whatever else."""
    selector = '{vm=~"$vm"' + (',' + labels if labels else '') + '}'
    return f'sum by (vm{", " + by if by else ""}) (rate({name}_total{selector}[$__rate_interval]))'


# title, what to look for, unit, [(expression, legend)]
PANELS = [
    ('Packets to the VM by reason', 'bound (or rss) should be nearly all', 'pps',
     [(rate('flowq_steered', by='reason'), '{{vm}} {{reason}}')]),
    ('In place', 'share of packets that went where the guest wants them: above 95 % for a server', 'percentunit',
     [(rate('flowq_steered', 'reason!~"fallback|keyless|drop"') + ' / ' + rate('flowq_steered'), '{{vm}}')]),
    ('Notes by outcome', 'refreshed should be nearly all', 'pps', [(rate('flowq_notes', by='outcome'), '{{vm}} {{outcome}}')]),
    ('Moves', "how often the guest's scheduler moves flows, and what rebind_min held back", 'ops',
     [(rate('flowq_notes', 'outcome="moved"'), '{{vm}} moved'), (rate('flowq_notes', 'outcome="suppressed"'), '{{vm}} held back')]),
    ('Moves in order', 'with the setting ordered; nearly all done: forced less than one in a hundred, full none', 'ops',
     [(rate('flowq_ordered_begun'), '{{vm}} begun'), (rate('flowq_ordered_done'), '{{vm}} done'),
      (rate('flowq_ordered_back'), '{{vm}} taken back'), (rate('flowq_ordered_forced'), '{{vm}} forced'),
      (rate('flowq_ordered_lapsed'), '{{vm}} lapsed'), (rate('flowq_ordered_off'), '{{vm}} queue off'),
      (rate('flowq_ordered_full'), '{{vm}} at once')]),
    ('Packets and moves that wait', 'with the setting ordered; pending: well below ordered_flows', 'short',
     [(rate('flowq_ordered_held'), '{{vm}} packets a second'), (f'flowq_ordered_pending{VM}', '{{vm}} moves')]),
    ('New flows, and those refused', 'refused: none', 'ops',
     [(rate('flowq_flows_inserted'), '{{vm}} new'), (rate('flowq_flows_loaded'), '{{vm}} from saved state'),
      (rate('flowq_notes', 'outcome="refused"'), '{{vm}} refused')]),
    ('Places taken', 'established: none, or max_flows is too small', 'ops',
     [(rate('flowq_flows_displaced', by='class'), '{{vm}} displaced {{class}}'), (rate('flowq_flows_reclaimed'), '{{vm}} reclaimed')]),
    ('Flows', 'well below max_flows', 'short', [(f'flowq_flows_live{VM}', '{{vm}}')]),
    ('Memory', 'retired: zero most of the time', 'bytes',
     [(f'flowq_vm_bytes{VM}', '{{vm}}'), (f'flowq_table_bytes{VM}', '{{vm}} table'), (f'flowq_retired_bytes{VM}', '{{vm}} retired')]),
    ('Growth of the table', 'failed and delayed: none', 'ops',
     [(rate('flowq_table_grown'), '{{vm}} grown'), (rate('flowq_table_shrunk'), '{{vm}} shrunk'),
      (rate('flowq_table_grow_failed'), '{{vm}} failed'), (rate('flowq_table_grow_delayed'), '{{vm}} delayed')]),
    ('Queues', 'in use as many as pairs; noted as many as the guest has busy CPUs', 'short',
     [(f'flowq_queue_pairs{VM}', '{{vm}} pairs'), (f'flowq_queues_in_use{VM}', '{{vm}} in use'),
      (f'flowq_queues_noted{VM}', '{{vm}} noted')]),
    ('Packets to the VM by queue', 'with the setting queue_stats', 'pps', [(rate('flowq_queue_steered', by='queue'), '{{vm}} {{queue}}')]),
    ('Packets from the VM by queue', 'with the setting queue_stats', 'pps', [(rate('flowq_queue_noted', by='queue'), '{{vm}} {{queue}}')]),
]
SOURCE = {'type': 'prometheus', 'uid': '${source}'}
WIDTH, HEIGHT, COLUMNS = 12, 8, 2  # of a panel; Grafana's screen is 24 wide


def panel(i, title, hint, unit, targets):
    return {
        'id': i + 1, 'type': 'timeseries', 'title': title, 'description': hint, 'datasource': SOURCE,
        'gridPos': {'x': i % COLUMNS * WIDTH, 'y': i // COLUMNS * HEIGHT, 'w': WIDTH, 'h': HEIGHT},
        'fieldConfig': {'defaults': {'unit': unit, 'min': 0}, 'overrides': []},
        'targets': [{'refId': chr(ord('A') + k), 'expr': expr, 'legendFormat': legend, 'datasource': SOURCE}
                    for k, (expr, legend) in enumerate(targets)],
    }


print(json.dumps({
    'title': 'flowq', 'uid': 'flowq', 'tags': ['flowq'], 'schemaVersion': 37, 'version': 1, 'refresh': '10s',
    'time': {'from': 'now-1h', 'to': 'now'},
    'templating': {'list': [
        {'name': 'source', 'type': 'datasource', 'query': 'prometheus', 'label': 'Prometheus'},
        {'name': 'vm', 'type': 'query', 'label': 'VM', 'datasource': SOURCE, 'query': 'label_values(flowq_queues_in_use, vm)',
         'multi': True, 'includeAll': True, 'refresh': 2},
    ]},
    'panels': [panel(i, *p) for i, p in enumerate(PANELS)],
}, indent=1))
