"""A comparison of two sides as text for a terminal."""

from bench.analysis.compare import Change, Comparison
from bench.core.units import ABSENT
from bench.report import text


def comparison_text(comparison: Comparison) -> str:
    """What differs, warnings, and a line a figure: both values, the change, its interval, and the call."""
    lines = [f"A: {', '.join(comparison.before)}", f"B: {', '.join(comparison.after)}", ""]
    lines += [f"warning: {warning}" for warning in comparison.warnings]
    shown = [entry for entry in comparison.differences if not entry.name.startswith("environment.")]
    lines += [f"differs: {entry}" for entry in shown] or ["differs: nothing in what was asked"]
    lines += ["", text.table([("figure", "A", "B", "change", "95 % interval", ""), *map(_row, comparison.changes)])]
    remarks = {warning for change in comparison.changes for warning in change.change.warnings}
    lines += ["", f"~ no significant change; ? no interval to tell by; {ABSENT} no figure, or no end of an interval"]
    lines += [f"note: {remark}" for remark in sorted(remarks)]
    return "\n".join(lines) + "\n"


def _row(change: Change) -> tuple[str, ...]:
    metric = change.metric
    return (
        metric.title,
        text.figure(metric, change.before.center),
        text.figure(metric, change.after.center),
        text.change(metric, change.change),
        text.change_interval(metric, change.change),
        change.verdict,
    )
