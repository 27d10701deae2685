"""The comparison of two sides as text for a terminal."""

from collections.abc import Sequence
from typing import Final

from bench.analysis.compare import Change, Comparison
from bench.core.units import ABSENT, pluralize
from bench.report import text

_NAMED: Final = 4
"""Metrics that a note names."""


def comparison_text(comparison: Comparison) -> str:
    """Warnings, differences, and a line per metric: both values, the change, its interval, and the result."""
    lines = [f"A: {', '.join(comparison.before)}", f"B: {', '.join(comparison.after)}", ""]
    lines += [f"warning: {warning}" for warning in comparison.warnings]
    shown = [entry for entry in comparison.differences if not entry.name.startswith("environment.")]
    lines += [f"differs: {entry}" for entry in shown] or ["differs: nothing but the environment, if warned above"]
    header = ("metric", "A", "B", "change", "95 % interval", "", "would have seen")
    lines += ["", text.table([header, *map(_row, comparison.changes)])]
    lines += ["", f"~ no significant change; ? no interval; {ABSENT} no value, or an open end of an interval"]
    lines.append("would have seen: the smallest change that this comparison shows in four cases of five")
    lines += [f"note: {remark}" for remark in _remarks(comparison.changes)]
    if max(len(comparison.before), len(comparison.after)) > 1:
        lines.append(f"note: {text.MEANS}")
    return "\n".join(lines) + "\n"


def _remarks(changes: Sequence[Change]) -> list[str]:
    """What is to say of changes, each with the metrics that it holds for: `no ratio: a value is 0 (in: users)`."""
    metrics: dict[str, list[str]] = {}
    for change in changes:
        for warning in change.change.warnings:
            metrics.setdefault(warning, []).append(change.metric.title)
    return [f"{warning} (in: {_some(titles)})" for warning, titles in sorted(metrics.items())]


def _some(titles: Sequence[str]) -> str:
    """The first of many metrics, and how many there are."""
    named = "; ".join(titles[:_NAMED])
    return named if len(titles) <= _NAMED else f"{named}; and {len(titles) - _NAMED} others of the table"


def comparison_line(comparison: Comparison) -> str:
    """`2 of 24 metrics changed significantly: latency from due, p50 worse, throughput worse`; or why none is judged."""
    if comparison.undecided:
        return "; ".join(comparison.undecided)
    changed = [change for change in comparison.changes if change.significant]
    names = ", ".join(f"{change.metric.title} {change.verdict}" for change in changed)
    count = pluralize(len(comparison.changes), "metric")
    return f"{len(changed)} of {count} changed significantly" + (f": {names}" if names else "")


def _row(change: Change) -> tuple[str, ...]:
    metric, values = change.metric, (change.before.center, change.after.center)
    shown = text.values_apart(metric, *values) if change.significant else [text.metric_value(metric, x) for x in values]
    return (
        metric.title,
        *shown,
        text.change(metric, change.change),
        text.change_interval(metric, change.change),
        change.verdict,
        text.detectable(change.metric, change.detectable),
    )
