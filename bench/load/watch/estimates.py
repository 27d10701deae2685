"""What a watcher computes: a look at the records so far, and a prediction from an earlier run."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from bench.analysis.measured import Measured, load
from bench.analysis.objectives import evaluate
from bench.analysis.summary import CONFIDENCE, request_metrics
from bench.core.errors import BenchError
from bench.core.units import format_seconds
from bench.load.watch.protocol import LookRequest, Prediction, Task
from bench.objectives.stopping import Look
from bench.objectives.verdicts import Verdict
from bench.results.run_reader import Run, open_run
from bench.stats.estimate import Estimate

REPORT_SECONDS: Final = 1.5
"""Workers report their records once a second; older ones have arrived."""
_MOST_REQUESTS: Final = 2_000_000
_MOST_RUNS: Final = 100


def look_at(request: LookRequest, task: Task) -> Look:
    """The metrics of a run in progress, from the requests that are certainly complete.

    A slow request has its record when it ends. The look therefore leaves out as much of the end as the slowest request
    so far took: without that, the slowest of the last seconds would be missing.

    Raises:
        UsageError: the records cannot be read.
    """
    run = open_run(request.folder, verify=False)
    measured = load(run)
    latency = measured.done - measured.due
    slowest = float(np.fmax.reduce(latency, initial=0.0))
    measured = measured.before(request.now - REPORT_SECONDS - slowest)
    if not measured.due.size or measured.seconds <= 0:
        return Look(0.0)
    sentences = run.manifest.workload.sentences
    results = evaluate(task.objectives, measured, sentences, request.confidence, over=False)
    return Look(measured.seconds, tuple(results), estimates(task, measured, sentences))


def estimates(task: Task, measured: Measured, sentences: int) -> tuple[Estimate, ...]:
    """The estimates whose precision is wanted."""
    if task.until.decided:
        return ()
    metrics = request_metrics(measured, CONFIDENCE, sentences)
    if sentences == 1:
        metrics["sentence_rate"] = metrics["throughput"]
    return tuple(metrics[precision.metric] for precision in task.until.precisions)


def predict(task: Task) -> Prediction:
    """How long the run will take, from the newest earlier run with the same load."""
    what = "to decide every objective" if task.until.decided else f"to see {task.until}"
    most = f"it runs {format_seconds(task.longest)} at most"
    found = _earlier(task)
    if found is None:
        return Prediction(f"how long it takes {what} cannot be predicted without an earlier run; {most}")
    run, measured = found
    seconds = _needed(task, run, measured)
    if seconds is None:
        return Prediction(f"how long it takes {what} cannot be predicted from {run.name}; {most}")
    beyond = f", but {most}" if seconds > task.longest else ""
    return Prediction(f"about {format_seconds(seconds, 2)} {what} at this rate, by {run.name}{beyond}")


def _needed(task: Task, run: Run, measured: Measured) -> float | None:
    """Measured seconds that are needed, if the server behaves as in an earlier run."""
    sentences = run.manifest.workload.sentences
    needed: Sequence[float | None]
    if task.until.decided:
        results = [entry for entry in evaluate(task.objectives, measured, sentences) if not entry.objective.counted]
        needed = [
            measured.seconds + (entry.more or 0.0)
            if entry.verdict is not Verdict.CANNOT_TELL or entry.more is not None
            else None
            for entry in results
        ]
    else:
        times = [
            precision.times(estimate)
            for precision, estimate in zip(task.until.precisions, estimates(task, measured, sentences), strict=True)
        ]
        needed = [None if factor is None else factor * measured.seconds for factor in times]
    return max((entry for entry in needed if entry is not None), default=None) if None not in needed else None


def _earlier(task: Task) -> tuple[Run, Measured] | None:
    """The newest finished run with the same load, and its records."""
    for path in sorted(task.results.glob("*/run.json"), reverse=True)[:_MOST_RUNS]:
        try:
            run = open_run(path.parent, verify=False)
            manifest = run.manifest
            same = (manifest.workload.scenario, manifest.arrivals, manifest.target)
            if not run.finished or run.file.interrupted or same != (task.scenario, task.arrivals, task.target):
                continue
            if 0 < sum(run.file.counts.values()) <= _MOST_REQUESTS:
                return run, load(run)
        except BenchError:
            # A damaged run of an earlier day is no reason not to run.
            continue
    return None
