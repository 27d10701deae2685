"""What a report shows of a run, as plain text and rows: the templates only lay it out."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.analysis.metrics import METRICS
from bench.analysis.run import Analysis
from bench.core.units import format_bytes, format_percent, format_seconds, pluralize
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
        title: what it shows.
        file: its PNG's name, in the report's folder.
    """

    title: str
    file: str


@dataclass(frozen=True)
class RunView:
    """One run's report.

    Args:
        name: the run's.
        valid: whether it can be believed.
        verdict: `VALID`, or `INVALID` and why.
        headline: the few most wanted figures, rows of title, value, interval.
        facts: what was asked, rows of name and value.
        outcomes: rows of outcome, requests, share of the due ones.
        figures: rows of title, value, interval, worth (independent values), remark.
        protocols: the same of each protocol, in a run that drove both.
        warnings: one line each.
        checks: rows of passed (`yes`, `no`, `not checked`), name, text.
        environment: rows of name and value.
        pictures: its plots.
    """

    name: str
    valid: bool
    verdict: str
    headline: Sequence[Row]
    facts: Sequence[Row]
    outcomes: Sequence[Row]
    figures: Sequence[Row]
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
        facts=list(_facts(analysis)),
        outcomes=list(_outcomes(analysis)),
        figures=figure_rows(summary.metrics),
        protocols={name: figure_rows(metrics) for name, metrics in summary.protocols.items()},
        warnings=analysis.warnings,
        checks=[(_passed(check.passed), check.name, check.text) for check in analysis.validity.checks],
        environment=list(_flat(_readable(analysis.run.manifest.environment))),
        pictures=pictures,
    )


def figure_rows(metrics: Mapping[str, Estimate]) -> list[Row]:
    """Rows of title, value, interval, worth, remark."""
    rows: list[Row] = []
    for name, summary in metrics.items():
        metric = METRICS[name]
        worth = f"{math.floor(summary.n):,}" if summary.lo is not None else ""
        remark = "; ".join(summary.warnings)
        value, interval = text.figure(metric, summary.center), text.interval(metric, summary)
        rows.append((metric.title, value, interval, worth, remark))
    return rows


def headline_rows(analysis: Analysis) -> list[Row]:
    """The few most wanted figures: title, value, interval."""
    found = analysis.summary.metrics
    return [(METRICS[name].title, *_cell(name, found[name])) for name in HEADLINE if name in found]


def side_by_side_rows(analyses: Sequence[Analysis]) -> list[tuple[str, list[Row]]]:
    """For each figure that any run has: its title, then each run's value and interval."""
    rows = []
    for name, metric in METRICS.items():
        found = [analysis.summary.metrics.get(name) for analysis in analyses]
        if any(summary is not None and summary.center is not None for summary in found):
            rows.append((metric.title, [_cell(name, summary) for summary in found]))
    return rows


def _cell(name: str, summary: Estimate | None) -> Row:
    if summary is None:
        return text.NONE, ""
    return text.figure(METRICS[name], summary.center), text.interval(METRICS[name], summary)


def _facts(analysis: Analysis) -> Iterable[Row]:
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
        f"{format_percent(workload.check_share)} of the answers against the Estimator's golden probabilities",
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
        share = format_percent(count / summary.due) if summary.due else text.NONE
        yield name, f"{count:,}", share
    yield "due (the sum)", f"{summary.due:,}", ""
    for kind, count in summary.wrong_kinds.items():
        yield f"wrong: {kind}", f"{count:,}", ""
    warm = sum(summary.warmup.values())
    if warm:
        yield "in the warm-up, not counted above", f"{warm:,}", ""


def _readable(machine: Environment) -> dict[str, Any]:
    """The machine's facts with sizes of memory as people write them."""
    found = shallow(machine)
    sizes = {name: found[name] for name in ("memory", "memory_limit") if found[name] is not None}
    return found | {name: format_bytes(size) for name, size in sizes.items()}


def _passed(passed: bool | None) -> str:
    return "not checked" if passed is None else ("yes" if passed else "no")


def _flat(values: Mapping[str, Any]) -> Iterable[Row]:
    """Rows of name and text; mappings inside are opened, what is not known is left out."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{name} {inner}", found) for inner, found in _flat(value))
        elif isinstance(value, list | tuple):
            if value:
                yield name, " ".join(map(str, value))
        elif value is not None:
            yield name, str(value)
