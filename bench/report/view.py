"""The content of a run's report as text and rows, for the templates."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.analysis.metrics import METRICS
from bench.analysis.run import Analysis
from bench.core.units import ABSENT, format_bytes, format_percent, format_seconds, pluralize
from bench.core.versioned_json import shallow
from bench.report import text
from bench.results.environment import Environment
from bench.stats.estimate import Estimate

Row = tuple[str, ...]

HEADLINE: Final = (
    "sentence_rate",
    "throughput",
    "from_due_p50",
    "from_due_p95",
    "from_due_p99",
    "from_send_p50",
    "from_send_p95",
    "from_send_p99",
    "error_share",
    "wrong_share",
    "in_flight",
)


@dataclass(frozen=True)
class Picture:
    """A plot in a report.

    Args:
        title: of the plot.
        file: name of the PNG in the report's folder.
    """

    title: str
    file: str


@dataclass(frozen=True)
class RunView:
    """One run's report.

    Args:
        name: the run's.
        valid: whether the run is VALID.
        verdict: `VALID`, or `INVALID` with reasons.
        headline: the most important metrics, rows of title, value, interval.
        workload: rows of name and value.
        outcomes: rows of outcome, requests, fraction of those due.
        metrics: rows of title, value, interval, effective number of values, remark.
        protocols: the same for each protocol, in a run with both.
        warnings: one line each.
        checks: rows of name, passed (`yes`, `no`, `not checked`), text.
        environment: rows of name and value.
        pictures: its plots.
    """

    name: str
    valid: bool
    verdict: str
    headline: Sequence[Row]
    workload: Sequence[Row]
    outcomes: Sequence[Row]
    metrics: Sequence[Row]
    protocols: Mapping[str, Sequence[Row]]
    warnings: Sequence[str]
    checks: Sequence[Row]
    environment: Sequence[Row]
    pictures: Sequence[Picture]


def run_view(analysis: Analysis, pictures: Sequence[Picture]) -> RunView:
    """The view of one run."""
    summary = analysis.summary
    return RunView(
        name=analysis.run.name,
        valid=analysis.validity.valid,
        verdict=str(analysis.validity),
        headline=headline_rows(analysis),
        workload=list(_workload(analysis)),
        outcomes=list(_outcomes(analysis)),
        metrics=metric_rows(summary.metrics),
        protocols={name: metric_rows(metrics) for name, metrics in summary.protocols.items()},
        warnings=analysis.warnings,
        checks=[(check.name, _passed(check.passed), check.text) for check in analysis.validity.checks],
        environment=list(_flat(_readable(analysis.run.manifest.environment))),
        pictures=pictures,
    )


def metric_rows(metrics: Mapping[str, Estimate]) -> list[Row]:
    """Rows of title, value, interval, effective number of values, remark."""
    rows: list[Row] = []
    for name, estimate in metrics.items():
        metric = METRICS[name]
        effective = f"{math.floor(estimate.n):,}" if estimate.lo is not None else ""
        remark = "; ".join(estimate.warnings)
        value, interval = text.metric_value(metric, estimate.center), text.interval(metric, estimate)
        rows.append((metric.title, value, interval, effective, remark))
    return rows


def headline_rows(analysis: Analysis) -> list[Row]:
    """The most important metrics: title, value, interval."""
    found = analysis.summary.metrics
    return [(METRICS[name].title, *_cell(name, found[name])) for name in HEADLINE if name in found]


def side_by_side_rows(analyses: Sequence[Analysis]) -> list[tuple[str, list[Row]]]:
    """For each metric that any run has: its title, and the value and interval of each run."""
    rows = []
    for name, metric in METRICS.items():
        found = [analysis.summary.metrics.get(name) for analysis in analyses]
        if any(estimate is not None and estimate.center is not None for estimate in found):
            rows.append((metric.title, [_cell(name, estimate) for estimate in found]))
    return rows


def _cell(name: str, estimate: Estimate | None) -> Row:
    if estimate is None:
        return ABSENT, ""
    return text.metric_value(METRICS[name], estimate.center), text.interval(METRICS[name], estimate)


def _workload(analysis: Analysis) -> Iterable[Row]:
    manifest, workload = analysis.run.manifest, analysis.run.manifest.workload
    yield "target", manifest.target
    loop = "open loop: requests are due on a schedule" if manifest.open_loop else "closed loop: users wait for answers"
    yield "arrivals", f"{manifest.arrivals} ({loop})"
    yield "protocol", f"{workload.protocol}, transport {workload.transport}, signature {workload.signature}"
    yield "request", f"{pluralize(workload.sentences, 'sentence')}, seed {workload.seed}"
    present = analysis.summary.users or f"{pluralize(workload.users, 'user')} at the start"
    yield "users", f"{present}, each with at most one request in flight; {pluralize(manifest.workers, 'worker')}"
    before = f"after {format_seconds(workload.warmup)} of warm-up" if workload.warmup else "without a warm-up"
    yield "duration", f"{format_seconds(workload.duration)} {before}"
    yield (
        "checked",
        f"{format_percent(workload.check_share)} of the answers, against the Estimator's golden probabilities",
    )
    yield "timeout", format_seconds(workload.timeout)
    yield "started", manifest.started
    if manifest.command:
        yield "command", " ".join(manifest.command)
    for name, value in _flat(manifest.server):
        yield f"server: {name}", value


def _outcomes(analysis: Analysis) -> Iterable[Row]:
    summary = analysis.summary
    for name, count in summary.counts.items():
        share = format_percent(count / summary.due) if summary.due else ABSENT
        yield name, f"{count:,}", share
    yield "due (sum)", f"{summary.due:,}", ""
    for kind, count in summary.wrong_kinds.items():
        yield f"wrong: {kind}", f"{count:,}", ""
    warm = sum(summary.warmup.values())
    if warm:
        yield "in the warm-up, not included", f"{warm:,}", ""


def _readable(machine: Environment) -> dict[str, Any]:
    """The environment, with sizes of memory in readable units."""
    found = shallow(machine)
    sizes = {name: found[name] for name in ("memory", "memory_limit") if found[name] is not None}
    return found | {name: format_bytes(size) for name, size in sizes.items()}


def _passed(passed: bool | None) -> str:
    return "not checked" if passed is None else ("yes" if passed else "no")


def _flat(values: Mapping[str, Any]) -> Iterable[Row]:
    """Rows of name and text; nested mappings are flattened, unknown values left out."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{name} {inner}", found) for inner, found in _flat(value))
        elif isinstance(value, list | tuple):
            if value:
                yield name, " ".join(map(str, value))
        elif value is not None:
            yield name, str(value)
