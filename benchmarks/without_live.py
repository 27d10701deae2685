"""The REST scenario without the figures of a run in progress, for `python -m benchmarks.bench_load live`."""

import runpy
from pathlib import Path
from typing import Any

from bench.load.engine.collector import Callbacks
from bench.load.locust_adapter import running_test

RestUser: Any = runpy.run_path(str(Path(__file__).parents[1] / "scenarios/rest.py"))["RestUser"]


def _without(alive: Any, ended: Any, second: Any) -> Callbacks:
    return Callbacks(alive, ended)


vars(running_test)["Callbacks"] = _without
