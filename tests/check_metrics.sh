#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# What examples/metrics writes is what it says: JSON by Python, OpenMetrics by the parser of python3-prometheus-client, Prometheus'
# text by that and by promtool; and all say the same. A parser that is not installed is left out. Run from the build directory.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ ! -x examples/metrics ]; then
    echo "examples/metrics is not built"
    exit 1
fi
for format in prometheus openmetrics json; do
    examples/metrics $format >"$work/$format"
done
examples/metrics >"$work/table"
status=0
examples/metrics xml 2>/dev/null || status=$?
[ $status = 2 ] || { echo "FAILED: an unknown format ends with status $status"; exit 1; }
# Debian's Python has the packages of Debian, and need not be the first one.
python=
for python in python3 /usr/bin/python3; do
    ! "$python" -c 'import prometheus_client' 2>/dev/null || break
done
if ! command -v "$python" >/dev/null; then
    echo "python3 is not installed"
    exit 77
fi
"$python" - "$work" <<'END'
import json, sys

work = sys.argv[1]
try:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
    from prometheus_client.parser import text_string_to_metric_families as prometheus
except ImportError:
    openmetrics = prometheus = None


def text(name):
    with open(f'{work}/{name}', encoding='utf-8') as file:
        return file.read()



# (name, vm, label value) -> value, of each format.
want = {}
for vm in json.loads(text('json'))['vms']:
    name = vm.pop('vm')
    for counter, value in vm.items():
        for label, number in value.items() if isinstance(value, dict) else [('', value)]:
            want[counter, name, label] = number
assert {vm for _, vm, _ in want} == {'red', 'blue'}
for vm, flows in (('red', 5), ('blue', 4)):
    assert want['flowq_flows_live', vm, ''] == want['flowq_notes', vm, 'bound'] == flows
    assert sum(want['flowq_queue_steered', vm, q] for q in '01') == sum(
        value for key, value in want.items() if key[:2] == ('flowq_steered', vm)) == 2 * flows
table = {}
for line in text('table').splitlines():
    vm, name, *label, value = line.removesuffix(' bytes').split()
    table[name, vm, label[0] if label else ''] = int(value)
assert table == {key: value for key, value in want.items() if value != 0}, 'the table says something else'
for format, parse in (('openmetrics', openmetrics), ('prometheus', prometheus)):
    if parse is None:
        print(f'python3-prometheus-client is not installed: {format} is not parsed')
        continue
    got, seen = {}, set()
    for family in parse(text(format)):
        assert family.name not in seen and family.documentation, family
        seen.add(family.name)
        assert family.type in ('counter', 'gauge')
        assert family.unit == ('bytes' if format == 'openmetrics' and family.name.endswith('_bytes') else ''), family
        for sample in family.samples:
            assert sample.name == family.name + ('_total' if family.type == 'counter' else '')
            labels = dict(sample.labels)
            vm = labels.pop('vm')
            assert len(labels) <= 1
            key = family.name, vm, ''.join(labels.values())
            assert key not in got
            got[key] = sample.value
    assert got == want, f'{format} says something else: {set(got.items()) ^ set(want.items())}'
    print(f'ok: {format}: {len(got)} numbers of {len(seen)} names')
END
if command -v promtool >/dev/null; then
    promtool check metrics <"$work/prometheus" || { echo "FAILED: promtool"; exit 1; }
    echo "ok: promtool"
else
    echo "promtool is not installed"
fi
