"""The verdict of a gate as a page: the sentence, four figures, and every metric."""

from collections.abc import Iterator

from bench.analysis.metrics import Metric
from bench.core.units import ABSENT, format_interval, format_percent, pluralize
from bench.gate.report.text import (
    METRIC_HEAD,
    count_rows,
    duration,
    error_rate,
    metric_rows,
    not_evaluated,
    stored_counts,
)
from bench.gate.types import GateReport, MetricResult, State, VerdictKind
from bench.gate.verdicts import effect_changes, format_effect, format_min_effect
from bench.report import text
from bench.report.page import page_data, render_page
from bench.report.screen import BAD, GOOD, PLAIN, Figure, FirstScreen, Value

_STATES = {VerdictKind.PASS: GOOD, VerdictKind.REGRESSION: BAD, VerdictKind.TARGET_FAILED: BAD}
_FIGURES = 3
"""Metrics that are large figures: those that regressed, then in the order of the gate."""

_SECTIONS = (("summary", "Summary"), ("metrics", "Every metric"), ("counts", "What was sent"))


def gate_html(report: GateReport) -> str:
    """The page of a gate."""
    return render_page(
        "bench.gate.report",
        "gate.html.j2",
        charts=(),
        sections=_SECTIONS,
        data=page_data("gate", ()),
        title=f"Gate: {report.candidate} against {report.baseline}",
        screen=gate_screen(report),
        metric_head=METRIC_HEAD,
        metric_rows=metric_rows(report.verdict),
        nothing=not_evaluated(report.verdict),
        count_rows=count_rows(report.verdict),
        warnings=report.verdict.warnings,
    )


def gate_screen(report: GateReport) -> FirstScreen:
    """The first screen: the verdict, what was compared, and four figures."""
    verdict = report.verdict
    evaluated = [result for result in verdict.metrics if result.state is not State.NOT_EVALUATED]
    evaluated.sort(key=lambda result: result.state is not State.REGRESSION)
    return FirstScreen(
        word=str(verdict.kind),
        state=_STATES.get(verdict.kind, PLAIN),
        headline=verdict.reason,
        reasons=(),
        sentences=list(_sentences(report)),
        figures=[*map(_figure, evaluated[:_FIGURES]), _answers(report)],
    )


def _sentences(report: GateReport) -> Iterator[str]:
    yield f"Candidate {report.candidate} against baseline {report.baseline}."
    if report.load:
        yield f"Both under {report.load}, side by side: {duration(report)}."
    elif counts := stored_counts(report.verdict):
        yield f"Stored runs: {counts}."
    if report.verdict.invalid_pairs:
        yield f"{pluralize(report.verdict.invalid_pairs, 'INVALID pair')} left out."
    bound = error_rate(report)
    if bound:
        yield f"{bound[:1].upper()}{bound[1:]}."


def _figure(result: MetricResult) -> Figure:
    metric = result.metric
    shown = Metric(metric.name, metric.label, metric.unit)
    change, lo, hi = effect_changes(result)

    def written(value: float) -> str:
        return format_effect(result, value)

    state = BAD if result.state is State.REGRESSION else GOOD if result.state is State.PASSED else PLAIN
    levels = [
        Value("", name, level, text.metric_value(shown, level), "")
        for name, level in (("baseline", result.baseline), ("candidate", result.candidate))
    ]
    value = ABSENT if change is None else written(change)
    notes = [
        f"{format_interval(lo, hi, written)} 95 % interval",
        f"the smallest change that matters: {format_min_effect(result)}",
    ]
    return Figure(f"{metric.label}: {result.state}", value, state, levels, notes)


def _answers(report: GateReport) -> Figure:
    wrong, checked = report.verdict.wrong[1], report.verdict.checked[1]
    note = f"{checked:,} answers of the candidate checked"
    if not checked:
        return Figure("Answers of the candidate", "not checked", PLAIN, (), (note,))
    if wrong:
        share = format_percent(wrong / checked)
        return Figure("Answers of the candidate", f"{wrong:,} wrong", BAD, (), (f"{share} of {note}",))
    return Figure("Answers of the candidate", "all right", GOOD, (), (note,))
