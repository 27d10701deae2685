"""Change points over stored runs: when did a metric change lastingly?

The change points come from Apache Otava (E-divisive means with Student's t-test: M. Fleming et al., *Hunter: Using
Change Point Detection to Hunt for Performance Regressions*, ICPE 2023). Its p-value is that of one split, and it tries
many, so the share of series without a change in which it finds a change point is larger and grows with the length of
the series. That share is simulated for the length at hand and reported.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from bench.analysis.compare import REPEATS_MAY_DIFFER, Difference
from bench.analysis.metrics import METRICS, Metric
from bench.analysis.run import Analysis
from bench.core.errors import UsageError
from bench.core.units import pluralize
from bench.gate.stored import incomparable
from bench.gate.types import P_VALUE
from bench.results.records import Outcome

MIN_RUNS: Final = 6
SIMULATED: Final = 1000

WATCHED: Final = ("from_due_p50", "from_due_p95", "from_due_p99", "throughput", "error_share")


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """A lasting change.

    Args:
        index: of the first run after it.
        run: that run's name.
        change: after / before - 1 of the means; for shares the difference.
        p: p-value of the split.
        worse: whether it is for the worse; None for a metric without a better direction.
    """

    index: int
    run: str
    change: float
    p: float
    worse: bool | None


@dataclass(frozen=True, slots=True)
class MetricSeries:
    """One metric over runs under one load.

    Args:
        load: what the runs have in common, for people.
        metric: which metric.
        runs: names, in the order of time.
        started: when each began, UTC.
        values: one for each run.
        points: the change points.
        p_value: of one split, as given.
        false_alarms: share of series of this length without a change in which a change point is found.
    """

    load: str
    metric: Metric
    runs: tuple[str, ...]
    started: tuple[str, ...]
    values: tuple[float, ...]
    points: tuple[ChangePoint, ...]
    p_value: float
    false_alarms: float

    @property
    def levels(self) -> tuple[tuple[int, int, float], ...]:
        """(first index, index after the last, mean) of each segment between change points."""
        edges = [0, *(point.index for point in self.points), len(self.values)]
        return tuple((begin, end, float(np.mean(self.values[begin:end]))) for begin, end in pairwise(edges))


def history(analyses: Sequence[Analysis], p_value: float = P_VALUE) -> list[MetricSeries]:
    """The watched metrics of all runs, by load; loads with fewer than `MIN_RUNS` runs of `runs_by_load` are excluded.

    Raises:
        UsageError: no load has `MIN_RUNS` runs, or Apache Otava is not installed.
    """
    loads = runs_by_load(analyses)
    usable = {load: runs for load, runs in loads.items() if len(runs) >= MIN_RUNS}
    if not usable:
        most = max(map(len, loads.values()), default=0)
        raise UsageError(
            f"a history needs {MIN_RUNS} runs under one load that are VALID or in which only the server fell behind, "
            f"and no load has more than {most}; add runs"
        )
    rates = {len(runs): false_alarm_rate(len(runs), p_value) for runs in usable.values()}
    found = []
    for load, runs in usable.items():
        for name in WATCHED:
            centers = [run.summary.metrics[name].center if name in run.summary.metrics else None for run in runs]
            values = [center for center in centers if center is not None]
            if len(values) == len(runs):
                found.append(_series(load, METRICS[name], runs, values, p_value, rates[len(runs)]))
    return found


def exclusions(analyses: Sequence[Analysis]) -> dict[str, str]:
    """Why runs are not in any series of `history`, by their names."""
    found = {}
    for analysis in analyses:
        if without_answers(analysis):
            found[analysis.run.name] = f"every one of its {analysis.summary.due} requests failed"
        elif not analysis.validity.shows_server:
            found[analysis.run.name] = str(analysis.validity)
    rest = [analysis for analysis in analyses if analysis.run.name not in found]
    for load, runs in runs_by_load(rest).items():
        if len(runs) < MIN_RUNS:
            why = f"{pluralize(len(runs), 'run')} of {MIN_RUNS} under its load: {load}"
            found |= {run.run.name: why for run in runs}
    return found


def without_answers(analysis: Analysis) -> bool:
    """Whether no request of a run got an answer, so that it has no latency."""
    answered = sum(analysis.summary.counts.get(outcome, 0) for outcome in (Outcome.OK, Outcome.WRONG_ANSWER))
    return analysis.summary.due > 0 and not answered


def change_points(values: Sequence[float], p_value: float = P_VALUE) -> list[tuple[int, float]]:
    """Index of the first value after each change, and the p-value of the split.

    Raises:
        UsageError: Apache Otava is not installed.
    """
    try:
        from otava.analysis import compute_change_points
    except ImportError as error:
        raise UsageError(
            "apache-otava is not installed; run make setup, or: pip install --no-deps apache-otava==0.8.0"
        ) from error
    # The t-test divides by the spread, which is 0 for a constant metric, such as an error share that is always 0.
    if max(values) == min(values):
        return []
    points, _ = compute_change_points(list(values), max_pvalue=p_value)
    return [(int(point.index), float(point.stats.pvalue)) for point in points]


def false_alarm_rate(length: int, p_value: float = P_VALUE, seed: int = 0) -> float:
    """Share of `SIMULATED` series of `length` values of normal noise in which a change point is found."""
    noise = np.random.default_rng([seed, length]).normal(1.0, 0.03, (SIMULATED, length))
    return sum(bool(change_points(row.tolist(), p_value)) for row in noise) / SIMULATED


def _series(
    load: str, metric: Metric, runs: Sequence[Analysis], values: Sequence[float], p_value: float, rate: float
) -> MetricSeries:
    splits = change_points(values, p_value)
    edges = [0, *(index for index, _ in splits), len(values)]
    points = []
    for position, (index, p) in enumerate(splits):
        before = float(np.mean(values[edges[position] : index]))
        after = float(np.mean(values[index : edges[position + 2]]))
        change = after - before if metric.unit == "share" or not before else after / before - 1
        worse = None if metric.better is None else (change > 0) == (metric.better == "lower")
        points.append(ChangePoint(index, runs[index].run.name, change, p if math.isfinite(p) else 0.0, worse))
    names = tuple(run.run.name for run in runs)
    started = tuple(run.run.manifest.started for run in runs)
    return MetricSeries(load, metric, names, started, tuple(values), tuple(points), p_value, rate)


def runs_by_load(analyses: Sequence[Analysis]) -> dict[str, list[Analysis]]:
    """The runs whose metrics are the server's, in the order of time, by what those that can be compared share.

    The rule is that of a gate on stored runs; as in `compare`, they may be of different length.
    """
    series: list[list[Analysis]] = []
    for analysis in sorted(analyses, key=lambda entry: (entry.run.manifest.started, entry.run.name)):
        if analysis.validity.shows_server:
            own = next((runs for runs in series if not _differences(runs[0], analysis)), None)
            if own is None:
                series.append(own := [])
            own.append(analysis)
    alike: dict[str, list[list[Analysis]]] = {}
    for runs in series:
        alike.setdefault(_load(runs[0]), []).append(runs)
    return {label: runs for load, group in alike.items() for label, runs in _labelled(load, group)}


def _differences(first: Analysis, other: Analysis) -> list[Difference]:
    found = incomparable(first.run.manifest, other.run.manifest)
    return [difference for difference in found if difference.name not in REPEATS_MAY_DIFFER]


def _labelled(load: str, group: Sequence[list[Analysis]]) -> Iterator[tuple[str, list[Analysis]]]:
    """Series of one description, each with the values of the fields in which they differ."""
    differences = [{found.name: found for found in _differences(group[0][0], runs[0])} for runs in group]
    firsts = {name: found for fields in differences for name, found in fields.items()}
    taken = set[str]()
    for runs, fields in zip(group, differences, strict=True):
        values = [
            f"{name} {found.show(fields[name].after if name in fields else found.before)}"
            for name, found in firsts.items()
        ]
        label = ", ".join((load, *values))
        while label in taken:
            label += ", another one"
        taken.add(label)
        yield label, runs


def _load(analysis: Analysis) -> str:
    """The load and the machine of a run, for people."""
    manifest, workload = analysis.run.manifest, analysis.run.manifest.workload
    parts = (
        workload.protocol,
        workload.signature,
        manifest.arrivals,
        f"{pluralize(workload.sentences, 'sentence')} a request",
    )
    return ", ".join(
        (*parts, pluralize(workload.users, "user"), f"on {manifest.environment.cpu_model or 'an unknown processor'}")
    )
