"""`bertbench` with a sweep of seconds: `python -m benchmarks.short_sweep capacity --quick ...`."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Final
from unittest.mock import patch

from bench.capacity.experiment.experiment_design import QUICK
from bench.capacity.queue.latency_table import Effort
from bench.cli import main as bertbench

SWEEP: Final = replace(
    QUICK,
    ladder=(1, 2, 4, 8),
    single_user=1.0,
    step=0.5,
    knee=(0.3, 0.5),
    knee_seconds=0.5,
    repeats=1,
    hold_out=(0.6,),
    hold_out_seconds=0.5,
    warmup=0.1,
    replicates=5,
    reference=Effort(800, 5),
)
"""What it finds is worth nothing, what it counts is exact."""


@contextlib.contextmanager
def short_sweeps() -> Iterator[None]:
    """`--quick` is `SWEEP` inside."""
    with patch("bench.capacity.cli.sweep.QUICK", SWEEP):
        yield


if __name__ == "__main__":
    with short_sweeps():
        bertbench()
