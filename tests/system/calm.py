# SPDX-License-Identifier: BSD-2-Clause
"""Whether this machine gave a guest its processors while something was measured.

What a guest takes 20 ms for says something of the guest, or of the switch, if its threads had processors meanwhile. Linux tells how
long each thread has waited for one (/proc/PID/task/TID/schedstat); it does so when the wait is over, so a window of time is calm if
nobody had waited for long in it, nor in the one behind it.
"""
import collections
import contextlib
import os
import threading
import time

AUTOGROUP = '/proc/self/autogroup'  # sched(7): niceness counts within a session, and this is the session's own
WINDOW = 0.2  # seconds
SLEEP = 0.004


def be_nice(value):
    with contextlib.suppress(FileNotFoundError, PermissionError), open(AUTOGROUP, 'w', encoding='ascii') as file:
        file.write(str(value))


@contextlib.contextmanager
def first():
    """Before other sessions of this machine, if we may."""
    be_nice(-20)
    try:
        yield
    finally:
        be_nice(0)


class Calm:
    """Windows, each with what was counted in it, and the most that one thread waited within any `span` seconds of it."""

    def __init__(self, pid, count, span):
        """count: tells the counters, a dict; it is called by another thread"""
        self.count = count
        self.span = span
        self.windows = []
        self.files = [os.open(f'/proc/{pid}/task/{task}/schedstat', os.O_RDONLY) for task in os.listdir(f'/proc/{pid}/task')]
        self.thread = threading.Thread(target=self.look)
        self.over = False
        self.failure = None

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.over = True
        self.thread.join()
        for file in self.files:
            os.close(file)

    def waited(self):
        """ns, by thread; one that has ended waits no more"""
        for file in self.files:
            try:
                yield int(os.pread(file, 100, 0).split()[1])
            except OSError:
                yield 0

    def look(self):
        try:
            self.run()
        except Exception as failure:  # whatever it is: who asked shall hear of it, in another thread
            self.failure = failure

    def run(self):
        recent, worst, looked = collections.deque(), 0.0, time.monotonic()
        before, began = self.count(), looked
        while not self.over:
            time.sleep(SLEEP)
            now = time.monotonic()
            recent.append((now, list(self.waited())))
            while recent[0][0] < now - self.span and len(recent) > 2:
                recent.popleft()
            longest = max(b - a for a, b in zip(recent[0][1], recent[-1][1])) / 1e9
            worst, looked = max(worst, longest, now - looked - SLEEP), now  # we are a thread as others are
            if now - began >= WINDOW:
                after = self.count()
                self.windows.append(({name: after[name] - before[name] for name in after}, worst))
                before, began, worst = after, now, 0.0

    def calm(self, limit):
        """The sum of windows in which nobody waited for so long, in `span`; and their share."""
        total, n = collections.Counter(), 0
        for (counts, worst), (_, behind) in zip(self.windows, self.windows[1:]):
            if max(worst, behind) < limit:
                total.update(counts)
                n += 1
        return total, n / max(len(self.windows) - 1, 1)
