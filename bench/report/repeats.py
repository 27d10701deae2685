"""The repeats of one thing together: how many can be believed, and each figure with its interval between runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.analysis.compare import side_summary
from bench.analysis.metrics import METRICS
from bench.analysis.run import Analysis
from bench.core.units import format_interval, pluralize
from bench.report import text
from bench.report.view import HEADLINE, Row


@dataclass(frozen=True)
class RepeatsView:
    """What is shown of the repeats of one command and arrivals.

    Args:
        title: what was repeated, and how many repeats are VALID.
        rows: of title, mean over the VALID runs, interval between them, lowest and highest run; empty without one.
        notes: what a reader must know, one line each.
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


HEADER: Row = ("figure", "mean of runs", "95 % interval", "lowest and highest run")


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
        return RepeatsView(title, [], ["no repeat is VALID, so there is no figure of them together"])
    rows, notes = [], []
    if len(valid) < len(runs):
        notes.append("INVALID repeats are not among the figures")
    for name in HEADLINE:
        metric = METRICS[name]
        centers = [run.summary.metrics[name].center for run in valid if name in run.summary.metrics]
        known = [center for center in centers if center is not None]
        if not known:
            continue
        mean = side_summary(metric, valid) if len(valid) > 1 else None
        # A single run's own interval says nothing of how runs differ.
        between = "" if mean is None else text.interval(metric, mean)
        value = known[0] if mean is None else mean.center
        spread = format_interval(min(known), max(known), text.writer(metric)) if len(known) > 1 else ""
        rows.append((metric.title, text.figure(metric, value), between, spread))
        notes += [] if mean is None else [_about(warning, metric.title) for warning in mean.warnings]
    if len(valid) == 1:
        notes.append("one VALID repeat: how much runs differ is not known; repeat at least 3 times")
    return RepeatsView(title, rows, list(dict.fromkeys(notes)))


def _about(warning: str, title: str) -> str:
    """What is not said of all figures alike names its own."""
    return f"{title}: {warning}" if "no such figure" in warning else warning
