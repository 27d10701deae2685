"""Where runs are: which folders hold one. Looks at names only, and loads nothing heavy."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from bench.core.errors import UsageError

FILE_NAME: Final = "run.json"
"""The manifest, which makes a folder a run folder."""
BLOCKS: Final = "requests.blocks"
REQUESTS: Final = "requests.parquet"
TIME_SERIES: Final = "timeseries.csv"
HISTOGRAM: Final = "histogram.hlog"
SERVER_METRICS: Final = "server-metrics.csv"
CLIENT_METRICS: Final = "client-metrics.csv"
SENTENCES: Final = "sentences.txt"
RUN_FILES: Final = frozenset(
    {FILE_NAME, BLOCKS, REQUESTS, TIME_SERIES, HISTOGRAM, SERVER_METRICS, CLIENT_METRICS, SENTENCES}
)
"""What a run folder holds of its run; reports may stand beside it."""
SIDE_BY_SIDE: Final = "report"
"""The folder of a side-by-side report, beside its runs."""


def run_paths(paths: Iterable[Path]) -> list[Path]:
    """The run folders at `paths`, each a run folder or a folder of such (in the order of names, thus of time).

    Raises:
        UsageError: a path that is neither, a folder without a run, or a run that is there twice.
    """
    found: list[Path] = []
    for path in paths:
        if (path / FILE_NAME).is_file():
            found.append(path)
            continue
        if not path.is_dir():
            raise UsageError(f"no run folder {path}; give a folder with a {FILE_NAME}, or a folder of such")
        inside = sorted(entry.parent for entry in path.glob(f"*/{FILE_NAME}"))
        if not inside:
            raise UsageError(f"{path} holds no run; give a folder with a {FILE_NAME}, or a folder of such")
        found += inside
    refuse_twice(found)
    return found


def refuse_twice(paths: Iterable[Path]) -> None:
    """Refuses a run folder that is there twice: it would count as two runs that agree.

    Raises:
        UsageError: one is.
    """
    seen: set[str] = set()
    for path in paths:
        # Not Path.resolve, which raises RuntimeError where links lead in a circle.
        if (real := os.path.realpath(path)) in seen:
            raise UsageError(f"{path} is given twice; give each run once")
        seen.add(real)
