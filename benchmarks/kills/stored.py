"""What is wrong with the files of a command that was killed."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import numpy as np

from bench.core.errors import BenchError, one_line
from bench.core.types import Floats
from bench.gate.types import ARMS
from bench.results.run_paths import BLOCKS, FILE_NAME
from bench.results.run_reader import Run, open_run
from benchmarks.accounting import wrong_counts

LOST_SECONDS: Final = 1.5
"""Records reach the folder about once a second; the rest is for a machine that other work shares."""
_EVEN: Final = 1.5
"""Times the usual distance between two due times: a gap."""
_LAST_SECONDS: Final = 1.0


@dataclass
class Worst:
    """Largest figures of several kills, seconds."""

    ended: float = 0.0
    lost: float = 0.0


def files_of(folder: Path) -> dict[str, bytes]:
    """Content by name of all files under `folder`, without logs for TensorBoard, which carry a time.

    Graph definitions are left out too: their functions are named by a counter of the process.
    """
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "tfevents" not in path.name and path.suffix not in (".pbtxt", ".meta")
    }


def differences(found: dict[str, bytes], wanted: dict[str, bytes]) -> Iterator[str]:
    """One line for each file that is missing, too many or different."""
    for name in sorted(found.keys() | wanted.keys()):
        if name not in found:
            yield f"{name} is missing"
        elif name not in wanted:
            yield f"{name} is too many"
        elif found[name] != wanted[name]:
            yield f"{name} differs from an undisturbed one"


def torn_files(folder: Path) -> Iterator[str]:
    """Documents and pages that are not whole."""
    for path in sorted(folder.rglob("*")):
        try:
            if path.suffix == ".json":
                json.loads(path.read_bytes())
            elif path.suffix == ".xml":
                ElementTree.parse(path)
            elif path.suffix == ".html" and not path.read_text().rstrip().endswith("</html>"):
                yield f"{path.name} has no end"
        except (ValueError, ElementTree.ParseError) as error:
            yield f"{path.name} is not whole: {error}"


def missing_pictures(page: Path) -> Iterator[str]:
    """Pictures that `page`, Markdown, shows and that are not there."""
    if page.exists():
        for name in re.findall(r"\]\(([^)]+\.png)\)", page.read_text()):
            if not (page.parent / name).exists():
                yield f"{page.name} shows {name}, which is missing"


def wrong_runs(folder: Path, moment: float | None, worst: Worst) -> Iterator[str]:
    """What is wrong with the run folders under `folder`.

    Args:
        folder: of the command's files.
        moment: of the kill, seconds since the epoch; None for runs that are written after they were made.
        worst: gets the largest time whose records were lost.
    """
    for path in sorted(file.parent for file in folder.rglob(FILE_NAME)):
        try:
            run = open_run(path)
            for text in _wrong_run(run, moment, worst):
                yield f"{run.name}: {text}"
        except BenchError as error:
            yield one_line(error)


def lost_by_a_gate(folder: Path, moment: float, worst: Worst) -> Iterator[str]:
    """Whether the runs of a gate that drives its two servers all the time lack what came before a kill.

    Args:
        folder: of the command's files.
        moment: of the kill, seconds since the epoch.
        worst: gets the largest time whose records were lost.
    """
    blocks = [path.stat().st_mtime for path in folder.rglob(BLOCKS)]
    ends = [path.stat().st_mtime for path in folder.rglob(FILE_NAME)]
    # A manifest that is newer than the records is that of a gate that ends.
    if len(blocks) < len(ARMS) or max(ends) > max(blocks):
        return
    lost = moment - max(blocks)
    worst.lost = max(worst.lost, lost)
    if lost > LOST_SECONDS:
        yield f"the last {lost:.2f} s before the kill have no records"


def _wrong_run(run: Run, moment: float | None, worst: Worst) -> Iterator[str]:
    columns = run.columns(["due", "done"])
    due = np.sort(columns["due"])
    if run.finished:
        yield from wrong_counts(run)
    elif (scheduled := run.manifest.scheduled) is not None and due.size > scheduled:
        yield f"{due.size} records of {scheduled} scheduled requests"
    workload = run.manifest.workload
    ends = workload.warmup + workload.duration
    complete = run.finished and not run.file.interrupted
    if complete and run.manifest.scheduled is None and due.max(initial=0.0) < ends - _LAST_SECONDS:
        yield f"it reads as complete, and its last request was due at {due.max(initial=0.0):.2f} s of {ends:.2f} s"
    if moment is None or complete:
        return
    until = min(moment - datetime.fromisoformat(run.manifest.started).timestamp(), ends)
    lost = until - _recorded_until(due, columns["done"], run.manifest.arrivals.startswith("constant"))
    worst.lost = max(worst.lost, lost)
    if lost > LOST_SECONDS:
        yield f"the last {lost:.2f} s before the kill, {until:.2f} s into the run, have no records"


def _recorded_until(due: Floats, done: Floats, even: bool) -> float:
    """Seconds into the run up to which records are there: with even due times all of them."""
    if not due.size:
        return 0.0
    if not even or due.size < 3:
        return max(float(due[-1]), float(np.fmax.reduce(done, initial=0.0)))
    steps = np.diff(due)
    step = float(np.median(steps))
    (gaps,) = np.nonzero(steps > _EVEN * step)
    return step + float(due[gaps[0]] if gaps.size else due[-1])
