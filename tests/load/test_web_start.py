"""The web page's form as typed values, in a process of its own: the module loads Locust, which patches for gevent."""

import json
import subprocess
import sys

READ = """
import json, sys
from dataclasses import astuple
from bench.load.locust_adapter.web_start import StartForm
found = [StartForm.read(form, "http://h:1") for form in json.load(sys.stdin)]
print(json.dumps([form and astuple(form) for form in found]))
"""
FORM = {"user_count": "4", "spawn_rate": "1.5", "run_time": "1m30s"}
CASES: list[tuple[dict[str, str], object]] = [
    ({}, [4, 90, "http://h:1", {}]),
    ({"run_time": "", "host": ""}, [4, None, "", {}]),
    (
        {"padded": "true", "compressed": "false", "other": "x"},
        [4, 90, "http://h:1", {"padded": True, "compressed": False}],
    ),
    ({"seed": "3"}, [4, 90, "http://h:1", {"seed": "3"}]),
    ({"user_count": "many"}, None),
    ({"spawn_rate": "fast"}, None),
    ({"run_time": "soon"}, None),
]


SHAPED = """
from dataclasses import astuple
from locust import LoadTestShape
from bench.load.locust_adapter.web_start import StartForm

class Steps(LoadTestShape):
    calls = 0
    def tick(self):
        self.calls += 1
        return (self.calls + 4, 1.0) if self.get_run_time() < 5 else None

shape = Steps()
shape.start_time -= 60
form = StartForm.read({"run_time": "3s"}, "http://h:1", shape)
assert astuple(form) == (5, 3, "http://h:1", {}), form
assert shape.calls == 0
"""


def test_a_load_shape_sets_the_number_of_users() -> None:
    """Its first one; the form has none, and the shape itself is as it was."""
    done = subprocess.run([sys.executable, "-c", SHAPED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_form_is_read_as_locust_reads_it() -> None:
    forms = json.dumps([{**FORM, **changed} for changed, _ in CASES])
    done = subprocess.run([sys.executable, "-c", READ], input=forms, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [expected for _, expected in CASES]


CHANGED = """
import json, sys
from werkzeug.datastructures import MultiDict
from bench.load.locust_adapter.web_start import changed_fields
now = {"arrivals": "poisson:rate=5", "padded": True, "run_time": 60, "host": "http://h:1", "seed": None,
       "user_classes": ["A", "B"], "headers": "X: typed"}
at_start = {"arrivals": "closed", "padded": False, "seed": None, "headers": ""}
print(json.dumps([changed_fields(MultiDict(form), now, at_start) for form in json.load(sys.stdin)]))
"""
CHANGES: list[tuple[dict[str, object], list[str]]] = [
    ({"user_count": "9", "spawn_rate": "2"}, []),
    ({"arrivals": "poisson:rate=5", "padded": "true", "run_time": "1m", "host": "http://h:1", "seed": ""}, []),
    # The page was loaded anew, and shows what Locust was started with.
    ({"arrivals": "closed", "padded": "false", "headers": ""}, []),
    ({"arrivals": "constant:rate=50", "seed": "3", "host": "http://h:2"}, ["arrivals", "seed", "host"]),
    ({"user_classes": ["B", "A"]}, []),
    ({"user_classes": ["B"]}, ["user_classes"]),
    ({"run_time": "soon", "headers": "X: other"}, ["run_time", "headers"]),
]


def test_what_a_form_changes_beside_the_users_is_known() -> None:
    """Locust said that it was done, and kept it for the next start."""
    forms = json.dumps([form for form, _ in CHANGES])
    done = subprocess.run([sys.executable, "-c", CHANGED], input=forms, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [expected for _, expected in CHANGES]
