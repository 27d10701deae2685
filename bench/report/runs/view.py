"""The content of a run's report as text and rows, for the templates."""

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.analysis.run import Analysis
from bench.analysis.run_profile import RunProfile
from bench.analysis.time_breakdown import time_breakdown
from bench.core.units import (
    ABSENT,
    format_bytes,
    format_estimate,
    format_number,
    format_percent,
    format_seconds,
    pluralize,
)
from bench.core.versioned_json import shallow
from bench.objectives.text import objective_rows, summary_line
from bench.report.runs.first_screen import first_screen
from bench.report.runs.run_charts import words_of
from bench.report.screen import FirstScreen, Value, shown
from bench.results.environment import Environment
from bench.results.manifest import Stopping
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


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A metric in a table.

    Args:
        value: the metric.
        effective: effective number of values; "" without an interval.
        remark: its warnings.
    """

    value: Value
    effective: str
    remark: str

    @property
    def cells(self) -> Row:
        """Title, value, interval, effective number of values, remark."""
        return self.value.label, self.value.value, self.value.interval, self.effective, self.remark


@dataclass(frozen=True, slots=True)
class PartRow:
    """A part of the mean latency.

    Args:
        share: fraction of the whole, 0 to 1.
        cells: part, mean, fraction of the whole, what measured it.
    """

    share: float
    cells: Row


@dataclass(frozen=True)
class RunView:
    """One run's report.

    Args:
        name: the run's.
        subtitle: what was asked of what, and when.
        valid: whether the run is VALID.
        verdict: `VALID`, or `INVALID` with reasons.
        screen: the first screen.
        objectives: the verdict on its objectives, `PASS` with a note; "" if it has none.
        objective_rows: rows of objective, verdict, value, remark.
        headline: the most important metrics, rows of title, value, interval.
        workload: rows of name and value.
        outcomes: rows of outcome, requests, fraction of those due.
        failures: rows of outcome, requests with those of the warm-up, what they said.
        metrics: all metrics.
        protocols: the same for each protocol, in a run with both.
        warnings: one line each.
        checks: rows of name, passed (`yes`, `no`, `not checked`), text.
        parts: where the time goes; [] where it is not known.
        words: a header, then rows of words, requests, and the percentiles that any row has; [] without requests.
        slowest: rows of when it was due, latency from due and from send, outcome, words, sentence.
        environment: rows of name and value.
        command: the command that made the run, for a shell; "" where it is not known.
        pictures: its plots.
    """

    name: str
    subtitle: str
    valid: bool
    verdict: str
    screen: FirstScreen
    objectives: str
    objective_rows: Sequence[Row]
    headline: Sequence[Row]
    workload: Sequence[Row]
    outcomes: Sequence[Row]
    failures: Sequence[Row]
    metrics: Sequence[MetricRow]
    protocols: Mapping[str, Sequence[MetricRow]]
    warnings: Sequence[str]
    checks: Sequence[Row]
    parts: Sequence[PartRow]
    words: Sequence[Row]
    slowest: Sequence[Row]
    environment: Sequence[Row]
    command: str
    pictures: Sequence[Picture]


def run_view(analysis: Analysis, profile: RunProfile, pictures: Sequence[Picture]) -> RunView:
    """The view of one run."""
    summary, objectives = analysis.summary, analysis.objectives
    return RunView(
        name=analysis.run.name,
        subtitle=subtitle(analysis),
        valid=analysis.validity.valid,
        verdict=str(analysis.validity),
        screen=first_screen(analysis),
        objectives="" if objectives is None else summary_line(objectives),
        objective_rows=[] if objectives is None else objective_rows(objectives),
        headline=headline_rows(analysis),
        workload=list(_workload(analysis)),
        outcomes=list(_outcomes(analysis)),
        failures=[(entry.outcome, f"{entry.count:,}", entry.text or OTHERS) for entry in analysis.run.file.failures],
        metrics=metric_rows(summary.metrics),
        protocols={name: metric_rows(metrics) for name, metrics in summary.protocols.items()},
        warnings=analysis.warnings,
        checks=[(check.name, _passed(check.passed), check.text) for check in analysis.validity.checks],
        parts=list(_parts(analysis)),
        words=list(_words(profile)),
        slowest=list(_slowest(analysis, profile)),
        environment=list(_flat(_readable(analysis.run.manifest.environment))),
        command=shlex.join(analysis.run.manifest.command),
        pictures=pictures,
    )


def metric_rows(metrics: Mapping[str, Estimate]) -> list[MetricRow]:
    """A row for each metric."""
    return [
        MetricRow(
            shown(name, estimate),
            f"{math.floor(estimate.n):,}" if estimate.lo is not None else "",
            "; ".join(estimate.warnings),
        )
        for name, estimate in metrics.items()
    ]


def subtitle(analysis: Analysis) -> str:
    """What was asked of what, and when."""
    manifest = analysis.run.manifest
    length = format_seconds(analysis.summary.seconds)
    when = f"{manifest.started[:10]} {manifest.started[11:16]} UTC"
    return f"{manifest.workload.protocol} on {manifest.target}, {manifest.arrivals}, {length} measured, {when}"


def facts(analysis: Analysis) -> dict[str, str]:
    """What was asked, and where, as texts by name."""
    rows = (*_workload(analysis), *_flat(_readable(analysis.run.manifest.environment)))
    return {row[0]: row[1] for row in rows if row[0] != "started"}


def headline_rows(analysis: Analysis) -> list[Row]:
    """The most important metrics: title, value, interval."""
    found = analysis.summary.metrics
    values = [shown(name, found[name]) for name in HEADLINE if name in found]
    return [(value.label, value.value, value.interval) for value in values]


def _workload(analysis: Analysis) -> Iterable[Row]:
    manifest, workload = analysis.run.manifest, analysis.run.manifest.workload
    yield "target", manifest.target
    loop = "open loop: requests are due on a schedule" if manifest.open_loop else "closed loop: users wait for answers"
    yield "arrivals", f"{manifest.arrivals} ({loop})"
    yield "protocol", f"{workload.protocol}, transport {workload.transport}, signature {workload.signature}"
    yield "request", f"{pluralize(workload.sentences, 'sentence')}, seed {workload.seed}"
    present = analysis.summary.users or f"{pluralize(workload.users, 'user')} at the start"
    yield "users", f"{present}, each with at most one request in flight; {pluralize(manifest.workers, 'worker')}"
    yield "duration", _duration(analysis)
    if manifest.until is not None:
        yield "until", f"{manifest.until}; {_stopping(analysis.run.file.stopping)}"
    yield (
        "checked",
        f"{format_percent(workload.check_share)} of the answers, against the Estimator's golden probabilities",
    )
    yield "timeout", format_seconds(workload.timeout)
    yield "started", manifest.started
    if manifest.headers:
        yield "headers", f"{', '.join(manifest.headers)} (their values are not stored)"
    for name, value in _flat(manifest.server):
        yield f"server: {name}", value


def _duration(analysis: Analysis) -> str:
    """The length of the load and of its warm-up; where another part was measured, that and what was planned."""
    workload, run = analysis.run.manifest.workload, analysis.run

    def text(seconds: float, warmup: float) -> str:
        return f"{format_seconds(seconds)} {f'after {format_seconds(warmup)} of' if warmup else 'without a'} warm-up"

    planned = text(workload.duration, workload.warmup)
    if run.begins == workload.warmup:
        return planned
    return f"{text(analysis.summary.seconds, run.begins)} that was found in the run; planned: {planned}"


def _stopping(stopping: Stopping | None) -> str:
    """How a run that could stop by itself ended."""
    if stopping is None:
        return "the run did not finish"
    most = f"at most {format_seconds(stopping.planned)}"
    return f"stopped because {stopping.reason}; {most}" if stopping.reason else f"not reached; {most}"


OTHERS: Final = "others, each with another text"


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


def _parts(analysis: Analysis) -> Iterable[PartRow]:
    parts = time_breakdown(analysis.summary)
    whole = sum(part.seconds for part in parts)
    for part in parts:
        share = part.seconds / whole
        yield PartRow(share, (part.name, format_seconds(part.seconds), format_percent(share), part.source))


def _words(profile: RunProfile) -> Iterable[Row]:
    names = [
        name
        for name in ("p50", "p95", "p99")
        if any(group.latencies[name].center is not None for group in profile.words)
    ]
    if not names:
        return
    yield "words", "requests", *(f"{name} from due" for name in names)
    for group in profile.words:
        found = (group.latencies[name] for name in names)
        cells = (format_estimate(entry.center, entry.lo, entry.hi, format_seconds) for entry in found)
        yield words_of(group), f"{group.requests:,}", *cells


def _slowest(analysis: Analysis, profile: RunProfile) -> Iterable[Row]:
    texts = analysis.run.sentences()
    for request in profile.slowest:
        outcome = f"{request.outcome}: {request.wrong_kind}" if request.wrong_kind else request.outcome
        number = request.sentence
        sentence = texts[number] if number < len(texts) else f"sentence {number:,} of the golden file"
        more = f" (and {request.sentences - 1:,} more)" if request.sentences > 1 else ""
        sent = format_seconds(request.done - request.sent)
        due = f"{format_number(request.due, 5)} s"
        yield due, format_seconds(request.latency), sent, outcome, f"{request.words:,}", sentence + more


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
