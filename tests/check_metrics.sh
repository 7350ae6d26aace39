#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# What examples/metrics writes is what it says: JSON by Python, OpenMetrics by the parser of python3-prometheus-client, Prometheus'
# text by that and by promtool; and all say the same. A parser that is not installed is left out. And what is asked for by the
# dashboard, the alerts and flowq-monitoring(7) is there; promtool tries the alerts on numbers of our own. Run from the build
# directory.
set -eu
src=${FLOWQ_SRCDIR:?}
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
"$python" "$src/examples/monitoring/panels.py" >"$work/grafana.json"
diff "$src/examples/monitoring/grafana.json" "$work/grafana.json" || { echo "FAILED: grafana.json is not what panels.py writes"; exit 1; }
"$python" - "$work" "$src" <<'END'
import json, re, sys

work, src = sys.argv[1:]
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


# What is asked for: each name is a gauge's, or a counter's with _total; each label is one of it, and so is each value.
there = {}
for name, _, label in want:
    there.setdefault(name, set()).add(label)
kinds = dict(line.split()[2:4] for line in text('prometheus').splitlines() if line.startswith('# TYPE'))
label_of = dict(re.findall(r'^(flowq_\w+)\{vm="[^"]*",(\w+)=', text('prometheus'), re.M))


def check(where, expressions):
    n = 0
    for expression in expressions:
        names = re.findall(r'(flowq_\w+)(?:\{([^}]*)\})?', expression)
        assert names, (where, expression)
        for name, selectors in names:
            n += 1
            assert name in kinds, f'{where}: {name} is no name of a counter: {expression}'
            for label, _, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', selectors):
                assert label in ('vm', label_of.get(name)), f'{where}: {name} has no label {label}'
                for one in value.split('|') if label != 'vm' else []:
                    assert one in there[name.removesuffix('_total')], f'{where}: {name} has no {label} {one}'
        for by in re.findall(r'by \(vm, (\w+)\)', expression):
            assert by == label_of[names[0][0]], (where, expression)
    return n


with open(f'{src}/examples/monitoring/grafana.json', encoding='utf-8') as file:
    board = json.load(file)
queries = [target['expr'] for panel in board['panels'] for target in panel['targets']]
panels = check('grafana.json', queries)
with open(f'{src}/examples/monitoring/alerts.yml', encoding='utf-8') as file:
    alerts = re.sub(r'\s+', ' ', file.read())
rules = re.findall(r'expr: (?:>- )?(.*?) (?:for|labels):', alerts)
assert len(rules) == alerts.count('alert: ') > 5
check('alerts.yml', rules)
with open(f'{src}/man/flowq-monitoring.7', encoding='utf-8') as file:
    page = file.read()
shown = re.findall(r'^\.Dl (.*)$', page, re.M)
check('flowq-monitoring(7)', shown)
assert all(any(one in rule for rule in rules) for one in shown), [one for one in shown if not any(one in rule for rule in rules)]
told = re.findall(r'^\.It Ic (Flowq\w+)', page, re.M)
assert told == re.findall(r'alert: (\w+)', alerts), told
asked = {name.removesuffix('_total') for name in re.findall(r'flowq_\w+', ' '.join(queries))}
missing = set(there) - asked - {'flowq_bound_elsewhere', 'flowq_flows_forgotten', 'flowq_rss_elsewhere', 'flowq_queue_in_use'}
assert not missing, f'no panel shows {missing}'
print(f'ok: {panels} names in the dashboard, {len(rules)} alerts')
END
if command -v promtool >/dev/null; then
    promtool check rules "$src/examples/monitoring/alerts.yml" || { echo "FAILED: promtool"; exit 1; }
    sed "s|\[ALERTS\]|[$(cd "$src" && pwd)/examples/monitoring/alerts.yml]|" "$src/tests/data/alerts.yml" >"$work/alerts.yml"
    promtool test rules "$work/alerts.yml" || { echo "FAILED: promtool"; exit 1; }
    promtool check metrics <"$work/prometheus" || { echo "FAILED: promtool"; exit 1; }
    echo "ok: promtool"
else
    echo "promtool is not installed"
fi
