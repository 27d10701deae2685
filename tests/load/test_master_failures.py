"""What goes wrong in a listener of Locust's, which only logs it: the run ends all the same, and signals end it."""

import subprocess
import sys

# In a process of its own, since Locust's import patches the standard library.
_CODE = """
from types import SimpleNamespace

import gevent
from gevent.event import Event

from bench.core.errors import one_line
from bench.load.locust_adapter.master import Master

def made(fail):
    master = Master.__new__(Master)
    calls = []
    master._environment = SimpleNamespace(web_ui=None)
    master._options = SimpleNamespace(headless=True)
    master._runner = SimpleNamespace(quit=lambda: calls.append("quit"))
    master._reporter = SimpleNamespace(failed=lambda error: calls.append(one_line(error)))
    master._test = SimpleNamespace(collector=None, begin=fail, close=fail)
    master._tab = None
    master._stored = Event()
    master._stored.set()
    return master, calls

def no_memory(*_):
    raise MemoryError

def fault(*_):
    raise RuntimeError("can't start new thread")

master, calls = made(no_memory)
master._on_spawned()
gevent.sleep(0.01)
print(master._stored.is_set(), calls)

master, calls = made(fault)
try:
    master._on_spawned()
except RuntimeError:
    gevent.sleep(0.01)
    print(master._stored.is_set(), calls)

master, calls = made(no_memory)
master._stored.clear()
master._on_test_stop()
print(master._stored.is_set(), calls)
"""


def test_the_run_ends_and_nothing_waits_for_its_folder() -> None:
    ended = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, timeout=120)
    line = "cannot open the run: there is not enough memory; close some programs"
    assert ended.stdout.splitlines() == [f"True ['{line}', 'quit']", "True ['quit']", f"True ['{line}']"], ended.stderr
