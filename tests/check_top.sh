#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# flowq-top: against a telemetry socket of our own, with ports and queues in pages, counters that fall, garbage, other people's
# answers, none, and slow ones; against reports of examples/vswitch, true ones where it runs; in a terminal of tmux, with a size that
# changes, and no colours. Nothing raw comes out. Run from the build directory.
set -eu
export src="${FLOWQ_SRCDIR:?}"
if [ ! -x ./flowq-top ]; then
    echo "flowq-top is not built (ncurses or jansson is missing)"
    exit 77
fi
if ! command -v python3 >/dev/null; then
    echo "python3 is not installed"
    exit 77
fi
exec python3 - <<'END'
import json, os, re, shutil, signal, socket, subprocess, sys, tempfile, threading, time

work = tempfile.mkdtemp()
TOP = os.path.abspath('flowq-top')


class Telemetry:
    """DPDK's side: each connection is greeted, each command answered by answer(command), after `delay` seconds; None: not at all."""

    def __init__(self, name, answer, greeting=b'{"version":"DPDK 22.11.11","pid":1,"max_output_len":16384}', delay=0):
        self.path, self.answer, self.greeting, self.delay, self.asked = f'{work}/{name}', answer, greeting, delay, []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.path)
        self.listener.listen()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            try:
                if self.greeting is not None:
                    connection.send(self.greeting)
                while command := connection.recv(1000).decode():
                    self.asked.append(command)
                    answer = self.answer(command)
                    time.sleep(self.delay)
                    if answer is None:
                        return
                    connection.send(answer if isinstance(answer, bytes) else json.dumps(answer).encode())
            except OSError:
                pass


class Switch:
    """A drop-in with `ports` sockets and `queues` queues; every look finds 1000 packets more on queue 1, and a flow that moves."""

    def __init__(self, ports=2, queues=4, page=3):
        self.ports, self.queues, self.page, self.looks = ports, queues, page, 0

    def __call__(self, command):
        name, *numbers = command.split(',')
        numbers = [int(n) for n in numbers]
        n = self.looks
        if name == '/flowq/ports':
            self.looks += numbers[0] == 0
            shown = {str(i): f'/tmp/vm{i}.sock' for i in range(numbers[0], min(self.ports, numbers[0] + self.page))}
            more = {'next': numbers[0] + self.page} if numbers[0] + self.page < self.ports else {}
            return {name: {**shown, 'shown': len(shown), **more}}
        if name == '/flowq/port':
            return {name: {'path': 'x', 'steered': 'yes', 'connections': 1, 'to_guest': 2000 * n, 'refused': 0, 'bound': 1500 * n,
                           'fallback': 500 * n, 'from_guest': 4000 * n, 'flowq_notes_moved': 20 * n, 'flowq_notes_refused': 7,
                           'flowq_notes_bound': 3, 'flowq_flows_live': 12345, 'flowq_queues_in_use': self.queues,
                           'flowq_table_bytes': 222222, 'flowq_flows_displaced_embryonic': 1, 'flowq_flows_displaced_established': 2}}
        if name == '/flowq/queues':
            reply = {}
            for q in range(numbers[1], self.queues):
                if len(reply) >= 4 * 12:
                    reply['next'] = q
                    break
                reply.update({f'q{q}_flowq_queue_in_use': int(q != 2), f'q{q}_to_guest': 1000 * n if q == 1 else 0,
                              f'q{q}_from_guest': 10 * n, f'q{q}_bound': 0})
            return {name: reply}
        if name == '/flowq/moves':
            return {name: {'watched': 2, 'unwatched': 0, 'f0_id': '0xabcdef', 'f0_queue': 3, 'f0_moves': 20 * n,
                           'f1_id': '0x123456', 'f1_queue': 0, 'f1_moves': 5}}
        return {name: None}


def top(*args, status=0, data=None, **more):
    r = subprocess.run([TOP, *args], capture_output=True, input=data, timeout=60, stdin=None if data is not None else subprocess.DEVNULL,
                       **more)
    assert r.returncode == status, (args, r)
    for text in (r.stdout, r.stderr):
        assert all(b == 10 or 32 <= b < 127 for b in text), text
    return r.stdout.decode(), r.stderr.decode()


def frames(text, lines=24):
    rows = text.split('\n')
    assert rows.pop() == '' and len(rows) % lines == 0, len(rows)
    return [rows[i:i + lines] for i in range(0, len(rows), lines)]


def field(frame, start):
    found = [row for row in frame if row.lstrip('> ').startswith(start)]
    assert found, (start, frame)
    return found[0]


# Rates are of two samples, a second apart or what was said; pages are all read.
t = Telemetry('two', Switch())
out, _ = top('-b', '-n', '3', '-d', '0.5', t.path)
first, second, third = frames(out)
assert field(first, '/tmp/vm0.sock').split()[2:4] == ['-', '-'], first
words = field(third, '/tmp/vm0.sock').split()
for word, per_second in (words[2], 4000), (words[3], 8000), (words[6], 40):
    assert per_second * 0.3 <= float(word) <= per_second * 1.1, words
assert words[4:6] == ['75.0', '%'] and words[7] == '0' and words[8] == '12.3k' and words[9] == 'steered', words
assert field(third, '/tmp/vm1.sock') and third[3].startswith('>')
assert '100.0 %  #################### on' in field(third, '1 '), third
assert field(third, '2 ').endswith(' off') and field(third, '0xabcdef').split() == ['0xabcdef', '3', '60']
assert 'displaced 3' in field(third, 'table:') and '222k bytes' in field(third, 'table:')
assert all(len(row) <= 80 for row in third)

# Many ports and many queues: what does not fit is said, and all are asked for.
t = Telemetry('many', Switch(ports=40, queues=100))
out, _ = top('-b', '-n', '1', t.path)
frame, = frames(out)
assert ' 40 ports' in frame[0] and any('and 9' in row and 'more' in row for row in frame), frame
assert '/flowq/ports,39' in t.asked and '/flowq/port,39' in t.asked and len({c for c in t.asked if c.startswith('/flowq/queues')}) > 5
out, _ = top('-b', '-n', '1', '-s', '240x120', t.path)
frame, = frames(out, 120)
assert field(frame, '68 ') and field(frame, 'and 31 more') and field(frame, '/tmp/vm37.sock')
for size in '1x1', '20x3', '80x4', '30x9', '79x13', '240x1':
    columns, lines = map(int, size.split('x'))
    out, _ = top('-b', '-n', '1', '-s', size, t.path)
    assert all(len(row) <= columns for row in frames(out, lines)[0]), size

# A program that was started anew has no rates, and no negative ones.
falling = Switch()
falling.looks = 1000
t = Telemetry('falling', lambda command: (falling.__setattr__('looks', 0) if falling.looks == 1001 and 'ports' in command else None,
                                          falling(command))[1])
out, _ = top('-b', '-n', '3', '-d', '0.1', t.path)
assert field(frames(out)[1], '/tmp/vm0.sock').split()[2] == '-', out

# Nobody, nothing, garbage, others, too much, silence: said, in one line, and not for ever.
_, err = top('-b', '-n', '1', f'{work}/nobody', status=1)
assert err.startswith('flowq-top: No such file'), err
_, err = top('-b', '-n', '1', f'{work}/' + 'x' * 200, status=1)
assert 'too long' in err
evil = '\x1b[31m\x07\x9b5n\u202e"\\\u00e9'
for name, answer, says in (
        ('garbage', b'\x00\xff\x1b[2J{{{{', 'no drop-in'), ('list', b'[1, 2]', 'no drop-in'), ('deep', b'[' * 60000, 'no drop-in'),
        ('unknown', {'/flowq/ports': None}, 'no drop-in'), ('empty', b'{}', 'no drop-in'), ('closes', None, 'closed'),
        ('huge', b'{"a":"' + b'x' * 100000 + b'"}', 'bytes')):
    t = Telemetry(name, lambda command, answer=answer: answer)
    _, err = top('-b', '-n', '1', t.path, status=1)
    assert says in err, (name, err)
t = Telemetry('silent', None, greeting=None)
begin = time.time()
_, err = top('-b', '-n', '1', t.path, status=1)
assert 'no answer' in err and time.time() - begin < 30, err
t = Telemetry('slow', Switch(), delay=0.3)
out, _ = top('-b', '-n', '2', '-d', '0.1', t.path)
assert field(frames(out)[1], '/tmp/vm0.sock')
normal = Switch()
t = Telemetry('evil', lambda command: {'/flowq/ports': {'0': evil, 'x': 'y', '-1': 3, 'next': -5, '7': 'a' * 5000}} if 'ports' in command
              else {c: {k: evil if k in ('steered', 'f0_id') else 2 ** 63 - 1 for k in v} for c, v in normal(command).items()})
out, _ = top('-b', '-n', '2', '-d', '0.1', t.path)
assert field(frames(out)[0], '?[31m'), out
t = Telemetry('none', lambda command: {'/flowq/ports': {'shown': 0}})
assert 'no ports' in top('-b', '-n', '1', t.path)[0]

# Reports of a switch, as lines.
report = {'turns': 1, 'ports': [{'name': evil, 'steer': 'auto', 'connections': 1, 'flowq_steered': {'bound': 3, 'icmp-error': 1, 'fallback': 4},
          'flowq_notes': {'moved': 9}, 'flowq_queues_in_use': 2, 'flowq_flows_live': 7,
          'queues': [{'queue': 0, 'on': True, 'to_vm': 5, 'from_vm': 2}, {'queue': 1, 'on': False, 'to_vm': 0, 'from_vm': 0}]}]}
line = json.dumps(report).encode() + b'\n'
out, _ = top('-b', '-', data=line + b'garbage\x1b\n' + b'z' * 3000000 + b'\n' + line)
shown = frames(out)
assert len(shown) == 4 and 'no report' in shown[1][1] and '1 MiB' in shown[2][1] and shown[3][1] == '', out
assert '50.0 %' in shown[0][3] and shown[0][3].endswith(' auto'), shown[0]
top('-b', '-', data=b'', status=1)
top('-b', '-', data=b'{}\n', status=1)
_, err = top('-b', f'{work}/two', '-', status=2)
for wrong in ('-x',), ('-n', '0'), ('-n', 'x'), ('-d', '0'), ('-s', '0x5'), ('-s', '80'), ('-s', '80x24x'), ('-s', '999x24'):
    top('-b', *wrong, f'{work}/two', status=2)
assert top('-h')[0].startswith('usage: flowq-top') and top('-V')[0].startswith('flowq-top 0.')
_, err = top(f'{work}/two', status=1)
assert 'no terminal' in err
print('ok: batch mode')

# True reports, where the switch runs: DPDK needs no hugepages for it.
if os.path.exists('examples/vswitch'):
    fifo = f'{work}/fifo'
    os.mkfifo(fifo)
    reader = subprocess.Popen([TOP, '-b', '-n', '3', fifo], stdout=subprocess.PIPE)
    with open(fifo, 'wb') as sink:
        switch = subprocess.Popen(['examples/vswitch', '--json', '--every', '200', f'vhost:{work}/a', f'vhost:{work}/b'], stdout=sink,
                                  stderr=subprocess.PIPE)
    try:
        out, _ = reader.communicate(timeout=60)
        time.sleep(0.5)
        assert switch.poll() is None or not out, 'the switch ends when nobody reads its reports'
    finally:
        switch.send_signal(signal.SIGTERM)
        _, complaint = switch.communicate(timeout=60)
    if out and reader.returncode == 0:
        shown = frames(out.decode())
        assert len(shown) == 3 and all(f'/{name}  ' in row and row.endswith('no guest') for name, row in zip('ab', shown[2][3:])), shown
        print('ok: with examples/vswitch')
    else:
        print('examples/vswitch does not run here:', complaint.decode(errors='replace').strip()[-200:])


# A terminal.
def tmux(*args):
    out = subprocess.PIPE if args[0] in ('capture-pane', 'list-sessions') else subprocess.DEVNULL  # the server keeps it
    return subprocess.run(['tmux', '-L', f'flowq-{os.getpid()}', *args], stdout=out, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                          text=True, timeout=30).stdout


def wait_for(what, seconds=30):
    end = time.time() + seconds
    while True:
        screen = tmux('capture-pane', '-p')
        if what(screen):
            return screen
        assert time.time() < end, screen
        time.sleep(0.1)


if shutil.which('tmux'):
    t = Telemetry('screen', Switch(ports=3))
    out = f'{work}/raw'
    tmux('-f', '/dev/null', 'new-session', '-d', '-x', '80', '-y', '24', f'TERM=vt100 {TOP} -d 0.2 {t.path}')
    try:
        tmux('pipe-pane', f'cat >{out}')
        screen = wait_for(lambda s: '0xabcdef' in s and '75.0 %' in s)
        assert '> /tmp/vm0.sock' in screen and 'FLOWS THAT MOVE MOST' in screen, screen
        tmux('send-keys', 'j')
        wait_for(lambda s: '> /tmp/vm1.sock' in s and '/tmp/vm1.sock: 4 queues' in s)
        tmux('send-keys', 'Down', 'Down', 'Down')
        wait_for(lambda s: '> /tmp/vm2.sock' in s)
        tmux('send-keys', 'k')
        wait_for(lambda s: '> /tmp/vm1.sock' in s)
        tmux('resize-window', '-x', '50', '-y', '12')
        wait_for(lambda s: '> /tmp/vm1.sock' in s and all(len(row) <= 50 for row in s.split('\n')))
        tmux('resize-window', '-x', '100', '-y', '30')
        wait_for(lambda s: '0xabcdef' in s and 'steered' in s)
        with open(out, 'rb') as file:
            raw = file.read()
        looks = {look for part in re.findall(rb'\x1b\[([0-9;]*)m', raw) for look in part.split(b';')}
        assert b'1' in looks and looks <= {b'', b'0', b'1'}, looks  # bold, and no colours
        tmux('send-keys', 'q')
        end = time.time() + 10
        while tmux('list-sessions') and time.time() < end:
            time.sleep(0.1)
        assert not tmux('list-sessions'), 'q does not end it'
    finally:
        tmux('kill-server')
    # Nobody is there yet; a slow one keeps nobody from ending it.
    t = Telemetry('mute', None, greeting=None)
    tmux('-f', '/dev/null', 'new-session', '-d', '-x', '80', '-y', '24', f'{TOP} {t.path}')
    try:
        wait_for(lambda s: 'nothing has been heard' in s)
        tmux('send-keys', 'q')
        end = time.time() + 1.9
        while tmux('list-sessions') and time.time() < end:
            time.sleep(0.1)
        assert not tmux('list-sessions'), 'q waits'
    finally:
        tmux('kill-server')
    print('ok: in a terminal')
else:
    print('tmux is not installed: no terminal was tried')
shutil.rmtree(work)
END
