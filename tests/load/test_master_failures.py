"""What goes wrong in a listener of Locust's, which only logs it: the run ends all the same, and signals end it."""

import subprocess
import sys

# In a process of its own, since Locust's import patches the standard library.
_CODE = """
import struct
from types import SimpleNamespace

import gevent
from gevent.event import Event

from bench.core.errors import one_line
from bench.load.locust_adapter import master as module
from bench.load.locust_adapter.master import Master

def made(fail):
    master = Master.__new__(Master)
    calls = []
    master._environment = SimpleNamespace(web_ui=None)
    master._options = SimpleNamespace(headless=True)
    master._runner = SimpleNamespace(quit=lambda: calls.append("quit"))
    master._reporter = SimpleNamespace(failed=lambda error: calls.append(one_line(error)))
    master._test = SimpleNamespace(collector=None, begin=fail, close=fail)
    master._tab = master._beginning = None
    master._setup, master._factory = object(), SimpleNamespace(restore_run_time=lambda: None)
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

def unpackable(*_):
    raise struct.error("ushort format requires 0 <= number <= 65535")

module.logger.disabled = True
for fail in (no_memory, fault, unpackable):
    master, calls = made(fail)
    module.RunningTest = fail
    try:
        master._on_test_start()
    except gevent.GreenletExit:
        gevent.sleep(0.01)
        print(master._stored.is_set(), calls)
"""

# A worker, and the only process, which sends its messages to itself.
_WORKER = """
import struct
from types import SimpleNamespace

from bench.core.errors import UsageError
from bench.load.locust_adapter import worker as module
from bench.load.locust_adapter.worker import Worker

class Plan:
    @staticmethod
    def from_message(data):
        raise data["error"]

module.WorkerPlan = Plan
for error in (UsageError("another version"), MemoryError(), OSError(28, "x", "f"), struct.error("ushort")):
    worker = Worker.__new__(Worker)
    sent = []
    worker._runner = SimpleNamespace(send_message=lambda name, data: sent.append((name, data)))
    try:
        worker._on_plan(None, SimpleNamespace(data={"run": "r", "error": error}))
        raised = ""
    except struct.error:
        raised = "raised"
    ((name, data),) = sent
    print(name == module.FAILED, data["run"], data["error"], raised, sep="|")
"""


def test_the_run_ends_and_nothing_waits_for_its_folder() -> None:
    ended = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, timeout=120)
    line = "cannot open the run: there is not enough memory; close some programs"
    assert ended.stdout.splitlines() == [
        f"True ['{line}', 'quit']",
        "True ['quit']",
        f"True ['{line}']",
        f"True ['{line}', 'quit']",
        """True ["the run cannot be made (RuntimeError: can't start new thread); report this", 'quit']""",
        "True ['the run cannot be made (error: ushort format requires 0 <= number <= 65535); report this', 'quit']",
    ], ended.stderr


def test_the_master_is_told_why_a_worker_cannot_begin() -> None:
    """Whatever it is: the master would wait for it, and Locust only logs it."""
    ended = subprocess.run([sys.executable, "-c", _WORKER], capture_output=True, text=True, timeout=120)
    assert ended.stdout.splitlines() == [
        "True|r|another version|",
        "True|r|cannot open the run: there is not enough memory; close some programs|",
        "True|r|cannot write f: no space left on the device; free some, or name another place|",
        "True|r|the run cannot be made (error: ushort); report this|raised",
    ], ended.stderr
