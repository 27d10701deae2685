"""A run begins once, and whole, whatever comes while it begins: Locust's master calls its listeners from anywhere."""

import subprocess
import sys

# In a process of its own, since Locust's import patches the standard library.
_CODE = """
from types import SimpleNamespace

import gevent
from gevent.event import Event

from bench.load.locust_adapter.master import Master

def turn():
    # Whatever can run does, a few times.
    for _ in range(5):
        gevent.sleep(0)

def made():
    master = Master.__new__(Master)
    calls, answered = [], Event()
    master._environment = SimpleNamespace(web_ui=None)
    master._options = SimpleNamespace(headless=True)
    master._stored = Event()
    master._stored.set()

    def begin(*_):
        calls.append("begins")
        answered.wait()
        test.collector = SimpleNamespace(over=Event())
        calls.append("begun")

    test = SimpleNamespace(collector=None, begin=begin, wait_for_workers=lambda: None)
    test.stop_early = lambda: calls.append("stopped early")
    master._runner = SimpleNamespace(stop=lambda: (calls.append("stop"), master._stored.set()))
    master._test, master._tab, master._beginning = test, None, None
    return master, calls, answered

def first_half():
    master, calls, answered = made()
    # As Locust's greenlet that has created the users.
    spawned = gevent.spawn(master._on_spawned)
    turn()
    return master, calls, answered, spawned

# A worker joins, and Locust distributes the users again.
master, calls, answered, spawned = first_half()
joined = gevent.spawn(master._on_spawned)
turn()
answered.set()
turn()
print("worker", spawned.ready(), joined.ready(), calls)
master._on_spawned()
print("later", calls)

# Another number of users: Locust ends the greenlet that created the first.
master, calls, answered, spawned = first_half()
spawned.kill()
answered.set()
turn()
print("users", calls)

# Someone presses Stop.
master, calls, answered, spawned = first_half()
stopping = gevent.spawn(master._on_test_stopping)
turn()
print("stop", stopping.ready(), calls)
answered.set()
turn()
print("stop", stopping.ready(), calls)

# Ctrl-C.
master, calls, answered, spawned = first_half()
quitting = gevent.spawn(master._on_quitting)
turn()
answered.set()
turn()
print("quit", quitting.ready(), calls)
"""


def test_a_run_begins_once_and_then_it_can_be_stopped() -> None:
    ended = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, timeout=120)
    assert ended.stdout.splitlines() == [
        "worker True True ['begins', 'begun']",
        "later ['begins', 'begun']",
        "users ['begins', 'begun']",
        "stop False ['begins']",
        "stop True ['begins', 'begun', 'stopped early']",
        "quit True ['begins', 'begun', 'stopped early', 'stop']",
    ], ended.stderr
