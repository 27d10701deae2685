"""Repeats of a run together: how many are VALID, and each metric with its interval between runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.analysis.compare import side_estimate
from bench.analysis.metrics import METRICS
from bench.analysis.run import Analysis
from bench.core.units import format_interval, pluralize
from bench.report import text
from bench.report.view import HEADLINE, Row


@dataclass(frozen=True)
class RepeatsView:
    """The repeats of one command with the same arrivals.

    Args:
        title: scenario, arrivals, and the number of VALID repeats.
        rows: title, mean over the VALID runs, interval between them, lowest and highest run; empty without a VALID run.
        notes: one line each.
    """

    title: str
    rows: Sequence[Row]
    notes: Sequence[str]

    def lines(self) -> Iterator[str]:
        """The view for a terminal."""
        yield self.title
        if self.rows:
            yield from text.table([HEADER, *self.rows]).splitlines()
        yield from (f"note: {note}" for note in self.notes)


HEADER: Row = ("metric", "mean of runs", "95 % interval", "lowest and highest run")


def repeats_views(analyses: Sequence[Analysis]) -> list[RepeatsView]:
    """A view for each group of two or more repeats among `analyses`, in the order of their first runs."""
    groups: dict[str, list[Analysis]] = {}
    for analysis in analyses:
        groups.setdefault(analysis.run.manifest.group, []).append(analysis)
    return [_view(runs) for group, runs in groups.items() if group and len(runs) > 1]


def _view(runs: Sequence[Analysis]) -> RepeatsView:
    valid = [run for run in runs if run.validity.valid]
    manifest = runs[0].run.manifest
    title = (
        f"{pluralize(len(runs), 'repeat')} of {manifest.workload.scenario}, {manifest.arrivals}: "
        f"{len(valid)} VALID, {len(runs) - len(valid)} INVALID"
    )
    if not valid:
        return RepeatsView(title, [], ["no repeat is VALID, so there is no mean"])
    rows, notes = [], []
    if len(valid) < len(runs):
        notes.append("INVALID repeats are left out")
    for name in HEADLINE:
        metric = METRICS[name]
        centers = [run.summary.metrics[name].center for run in valid if name in run.summary.metrics]
        known = [center for center in centers if center is not None]
        if not known:
            continue
        mean = side_estimate(metric, valid) if len(valid) > 1 else None
        # The interval of a single run does not include the variation between runs.
        between = "" if mean is None else text.interval(metric, mean)
        value = known[0] if mean is None else mean.center
        spread = format_interval(min(known), max(known), text.writer(metric)) if len(known) > 1 else ""
        rows.append((metric.title, text.metric_value(metric, value), between, spread))
        notes += [] if mean is None else [_about(warning, metric.title) for warning in mean.warnings]
    if len(valid) == 1:
        notes.append("one VALID repeat: the variation between runs is not known; repeat at least 3 times")
    return RepeatsView(title, rows, list(dict.fromkeys(notes)))


def _about(warning: str, title: str) -> str:
    """The warning, with the metric's title if it does not hold for all metrics."""
    return f"{title}: {warning}" if "without this metric" in warning else warning
