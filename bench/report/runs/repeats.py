"""Repeats of a run together: how many are VALID, and each metric with its interval between runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.analysis.metrics import METRICS
from bench.analysis.repeats import Repeats, repeats_of
from bench.analysis.run import Analysis
from bench.core.units import format_interval, pluralize
from bench.report import text
from bench.report.runs.view import HEADLINE, Row


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
    return [repeats_view(repeats) for repeats in repeats_of(analyses)]


def repeats_view(repeats: Repeats) -> RepeatsView:
    """The view of one group."""
    runs, valid = repeats.runs, repeats.valid
    manifest = runs[0].run.manifest
    title = (
        f"{pluralize(len(runs), 'repeat')} of {manifest.workload.scenario}, {manifest.arrivals}: "
        f"{len(valid)} VALID, {len(runs) - len(valid)} INVALID"
    )
    if not valid:
        return RepeatsView(title, [], ["no repeat is VALID, so there is no mean"])
    rows, notes = [], [text.MEANS]
    if len(valid) < len(runs):
        notes.append("INVALID repeats are left out")
    for name in HEADLINE:
        metric, mean = METRICS[name], repeats.means.get(name)
        if mean is None:
            continue
        known = repeats.centers(name)
        spread = format_interval(min(known), max(known), text.writer(metric)) if len(known) > 1 else ""
        rows.append((metric.title, text.metric_value(metric, mean.center), text.interval(metric, mean), spread))
        notes += [_about(warning, metric.title) for warning in mean.warnings]
    if len(valid) == 1:
        notes.append("one VALID repeat: the variation between runs is not known; repeat at least 3 times")
    return RepeatsView(title, rows, list(dict.fromkeys(notes)))


def _about(warning: str, title: str) -> str:
    """The warning, with the metric's title if it does not hold for all metrics."""
    return f"{title}: {warning}" if "without this metric" in warning else warning
