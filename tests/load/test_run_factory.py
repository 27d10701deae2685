"""The time after which Locust would end a test by itself: never before the run is over."""

import subprocess
import sys

import pytest

# In a process of its own, since Locust's import patches the standard library.
_CODE = """
import sys
from types import SimpleNamespace

from bench.load.locust_adapter.run_factory import RunFactory

users, spawn_rate, given, run_time, drain = map(float, sys.argv[1:])
factory = RunFactory.__new__(RunFactory)
factory._options = SimpleNamespace(headless=True, num_users=int(users), spawn_rate=spawn_rate, run_time=int(given))
factory.defer_timers(SimpleNamespace(spec=SimpleNamespace(run_time=run_time, drain=drain)))
print(factory._options.run_time)
"""


@pytest.mark.parametrize(
    ("users", "spawn_rate", "given", "run_time", "drain"),
    [
        (4, 100.0, 60, 60.0, 10.0),
        (4, 100.0, 60, 60.0, 300.0),
        # `--until` may run longer than the run time that was given.
        (4, 100.0, 60, 600.5, 0.5),
        (50, 0.5, 60, 60.0, 86400.0),
    ],
)
def test_locust_s_own_end_is_after_the_drain(
    users: int, spawn_rate: float, given: int, run_time: float, drain: float
) -> None:
    words = map(str, (users, spawn_rate, given, run_time, drain))
    ended = subprocess.run([sys.executable, "-c", _CODE, *words], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    over = users / spawn_rate + run_time + drain
    # Workers that are given up, and the records of those that are slow, take time after it.
    assert over + 60 <= int(ended.stdout) <= over + 120
