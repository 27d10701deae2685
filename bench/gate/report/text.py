"""The verdict of a gate for people: one line, a table, and Markdown for a step summary or a comment."""

from functools import partial

from bench.analysis.metrics import Metric
from bench.core.units import ABSENT, format_interval, format_seconds, pluralize
from bench.gate.types import GateReport, MetricResult, State, Verdict, VerdictKind
from bench.gate.verdicts import effect_changes, format_effect, format_min_effect
from bench.report import text
from bench.report.pages import render

_MARKS = {
    VerdictKind.PASS: "✅",
    VerdictKind.REGRESSION: "❌",
    VerdictKind.INCONCLUSIVE: "⚠️",
    VerdictKind.TARGET_FAILED: "🛑",
    VerdictKind.INTERRUPTED: "✋",
}


METRIC_HEAD = ("metric", "baseline", "candidate", "change", "95 % interval", "smallest effect", "")


def verdict_line(report: GateReport) -> str:
    """`REGRESSION: latency p50 +10.3 % [+8.1 … +12.4 %]; 28 pairs in 2 m 05 s; false alarms at most 1 %, ...`."""
    verdict = report.verdict
    parts = [
        f"{verdict.kind}: {verdict.reason}",
        duration(report) if report.load else stored_counts(verdict),
        error_rate(report),
    ]
    return "; ".join(part for part in parts if part)


def error_rate(report: GateReport) -> str:
    """The bound of the rate of false alarms, what it covers, and the rate that was measured.

    "" where the verdict does not rest on a comparison.
    """
    if report.verdict.false_alarms is None:
        return ""
    bound = f"false alarms at most {100 * report.verdict.false_alarms:.2g} %"
    bound += f", measured: {report.measured}" if report.measured else " by design, not measured here yet"
    return f"{bound} (the bound covers {report.verdict.scope})" if report.verdict.scope else bound


def gate_markdown(report: GateReport) -> str:
    """The verdict, a table with a row for each metric, the counts and the warnings."""
    verdict = report.verdict
    return render(
        "bench.gate.report",
        "verdict.md.j2",
        report=report,
        verdict=verdict,
        mark=_MARKS[verdict.kind],
        duration=duration(report),
        stored_counts=stored_counts(verdict),
        metric_head=METRIC_HEAD,
        metric_rows=metric_rows(verdict),
        nothing=not_evaluated(verdict),
        count_rows=count_rows(verdict),
        bound=error_rate(report),
    )


def gate_table(report: GateReport) -> str:
    """The metrics as aligned text for a terminal; one line where there is none."""
    rows = metric_rows(report.verdict)
    return (text.table([METRIC_HEAD, *rows]) if rows else not_evaluated(report.verdict)) + "\n"


def metric_rows(verdict: Verdict) -> list[tuple[str, str, str, str, str, str, str]]:
    """A row for each metric under the header `METRIC_HEAD`; none where `not_evaluated` says it all."""
    return [] if not_evaluated(verdict) else [metric_cells(result) for result in verdict.metrics]


def not_evaluated(verdict: Verdict) -> str:
    """`no metric was evaluated: the runs were not compared`, where no metric has a value and all have one reason."""
    notes = {result.note for result in verdict.metrics}
    values = [value for result in verdict.metrics for value in (result.baseline, result.candidate)]
    if len(notes) != 1 or "" in notes or any(value is not None for value in values):
        return ""
    return f"no metric was evaluated: {notes.pop()}"


def count_rows(verdict: Verdict) -> list[tuple[str, str, str]]:
    """Name, and the counts of baseline and candidate."""
    counts = (
        ("requests", verdict.requests),
        ("failed", verdict.failed),
        ("answers checked", verdict.checked),
        ("wrong answers", verdict.wrong),
    )
    return [(name, f"{before:,}", f"{after:,}") for name, (before, after) in counts]


def duration(report: GateReport) -> str:
    """`28 pairs in 2 m 05 s`."""
    return f"{pluralize(report.verdict.pairs, 'pair')} in {format_seconds(report.seconds)}"


def stored_counts(verdict: Verdict) -> str:
    """`6 runs a side`, or `4 runs against 9`; "" where no stored runs were compared."""
    if verdict.runs is None or not all(verdict.runs):
        return ""
    before, after = verdict.runs
    runs = pluralize(before, "run")
    return f"{runs} a side" if before == after else f"{runs} against {after:,}"


def metric_cells(result: MetricResult) -> tuple[str, str, str, str, str, str, str]:
    """The row of a metric in a table with the header `METRIC_HEAD`."""
    metric = result.metric
    shown = Metric(metric.name, metric.label, metric.unit)
    change, lo, hi = effect_changes(result)
    written = partial(format_effect, result)
    return (
        metric.label,
        text.metric_value(shown, result.baseline),
        text.metric_value(shown, result.candidate),
        ABSENT if change is None else written(change),
        format_interval(lo, hi, written),
        format_min_effect(result),
        _word(result),
    )


def _word(result: MetricResult) -> str:
    if result.state is State.NOT_EVALUATED:
        return f"not evaluated: {result.note}"
    return f"{result.state}, improved" if result.improved else str(result.state)
