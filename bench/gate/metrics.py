"""The metrics that the gate compares, from the request records of one run."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.analysis.run import Analysis
from bench.gate.types import ERRORS, RunMetrics
from bench.results.blocks import OUTCOME_CODES
from bench.results.records import Outcome
from bench.stats.percentiles import PERCENTILES, nearest_rank

MIN_ANSWERS: Final = {"p50": 20, "p95": 100, "p99": 300}
"""The successful requests that a run needs for a percentile. Three beyond a p99 say little about one run, but the gate
uses many runs, and needs only that the value of each follows a change of the server."""

_ANSWERED: Final = (Outcome.OK, Outcome.WRONG_ANSWER)
_STORED: Final = {"throughput": "throughput", "server_cpu_per_request": "cpu", "server_memory": "memory"}


def run_metrics(
    columns: Mapping[str, NDArray[Any]], seconds: float, cpu: float | None = None, memory: float | None = None
) -> RunMetrics:
    """The metrics of one run.

    Args:
        columns: `due`, `done`, `outcome`, `checked` of its measured requests, equal in length, and `sent` where it
            differs from `due`.
        seconds: for how long it sent.
        cpu: processor time that the server used meanwhile, seconds; None if not known.
        memory: the server's resident memory, bytes; None if not known.
    """
    outcome = columns["outcome"]
    counts = {str(name): int((outcome == code).sum()) for name, code in OUTCOME_CODES.items()}
    good = outcome == OUTCOME_CODES[Outcome.OK]
    wrong = counts[Outcome.WRONG_ANSWER]
    requests, answered = int(outcome.size), int(good.sum())
    failures = {name: count for name, count in counts.items() if count and name not in _ANSWERED}
    values: dict[str, float] = {}
    if requests:
        values[ERRORS] = sum(failures.values()) / requests
    if answered and seconds > 0:
        values["throughput"] = answered / seconds
    latency = (columns["done"] - columns["due"])[good]
    known = {name: PERCENTILES[name] for name, least in MIN_ANSWERS.items() if answered >= least}
    if known:
        values |= dict(zip(known, nearest_rank(latency, list(known.values())), strict=True))
    if cpu is not None and answered:
        values["cpu"] = cpu / answered
    if memory is not None:
        values["memory"] = memory
    silence, slowest = _silence(columns, good | (outcome == OUTCOME_CODES[Outcome.WRONG_ANSWER]))
    failed, checked = sum(failures.values()), int(columns["checked"].sum())
    return RunMetrics(requests, failed, wrong, checked, values, failures, silence, slowest)


def _silence(columns: Mapping[str, NDArray[Any]], answered: NDArray[np.bool_]) -> tuple[float, float]:
    """Seconds without an answer at the end of a run, and seconds that the slowest answer took."""
    ended = ~np.isnan(columns["done"])
    if not ended.any():
        return 0.0, 0.0
    sent = columns.get("sent", columns["due"])
    begin = float(sent[ended].min())
    last = max((float(done) for done in columns["done"][answered & ended]), default=begin)
    slowest = max((float(took) for took in (columns["done"] - sent)[answered & ended]), default=0.0)
    return float(columns["done"][ended].max()) - last, slowest


def stored_run_metrics(analysis: Analysis) -> RunMetrics:
    """The metrics of a stored run, from its analysis; a percentile of too few answers is absent."""
    summary = analysis.summary
    counts = {name: count for name, count in summary.counts.items() if count}
    failures = {name: count for name, count in counts.items() if name not in _ANSWERED}
    sources = {f"from_due_{name}": name for name in MIN_ANSWERS} | _STORED
    values = {}
    for source, name in sources.items():
        found = summary.metrics.get(source)
        if found is not None and found.center is not None and np.isfinite(found.center) and found.center > 0:
            values[name] = found.center
    if summary.due:
        values[ERRORS] = sum(failures.values()) / summary.due
    wrong = counts.get(Outcome.WRONG_ANSWER, 0)
    return RunMetrics(summary.due, sum(failures.values()), wrong, summary.checked, values, failures)


def stored_warmup_metrics(analysis: Analysis) -> RunMetrics:
    """What was answered in the warm-up of a stored run: only wrong answers count there."""
    summary = analysis.summary
    failures = {name: count for name, count in summary.warmup.items() if count and name not in _ANSWERED}
    wrong = summary.warmup.get(Outcome.WRONG_ANSWER, 0)
    requests = sum(summary.warmup.values())
    return RunMetrics(requests, sum(failures.values()), wrong, summary.warmup_checked, {}, failures)
