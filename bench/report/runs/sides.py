"""Several runs together: repeats form a side, and every other side is compared with the first."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from bench.analysis.bottleneck import bottleneck
from bench.analysis.compare import REFUSED, Change, Comparison, compare, counted_runs, left_out_behind, side_estimate
from bench.analysis.latency_curves import LatencyCurves
from bench.analysis.metrics import METRICS
from bench.analysis.repeats import by_repeats
from bench.analysis.run import Analysis
from bench.core.units import format_percent, pluralize
from bench.objectives.verdicts import ObjectiveResult
from bench.report import text
from bench.report.runs.change_rows import ChangeRow, change_rows
from bench.report.runs.first_screen import MET
from bench.report.runs.view import HEADLINE
from bench.report.screen import Value, shown

_SPEED: Final = ("from_due_p50", "from_due_p95", "from_due_p99")
"""The metrics by which one side is called faster."""
RUN_METRICS: Final = {"throughput": "requests/s", "from_due_p50": "p50", "from_due_p99": "p99", "error_share": "failed"}
"""The metrics of each run in the table of all, with short titles."""


@dataclass(frozen=True)
class Side:
    """One run, or repeats of one.

    Args:
        letter: `A`, `B`, ...
        name: of its first run, with the number of repeats.
        analyses: its runs.
    """

    letter: str
    name: str
    analyses: Sequence[Analysis]

    @property
    def label(self) -> str:
        """For legends: `A: NAME`."""
        return f"{self.letter}: {self.name}"

    @property
    def verdict(self) -> str:
        """`VALID`, or how many of its runs are not, and why the first is not."""
        invalid = [entry for entry in self.analyses if not entry.validity.valid]
        if not invalid:
            return "VALID" if len(self.analyses) == 1 else f"{len(self.analyses)} VALID"
        count = "" if len(self.analyses) == 1 else f"{len(invalid)} of {len(self.analyses)} "
        return f"{count}{invalid[0].validity}"

    @property
    def limits(self) -> str:
        """What limits its runs: one thing, or several."""
        return ", ".join(dict.fromkeys(str(bottleneck(entry).limit) for entry in self.analyses))

    @property
    def short(self) -> str:
        """`VALID`, `INVALID`, `4 of 5 VALID`."""
        valid = sum(entry.validity.valid for entry in self.analyses)
        if valid in (0, len(self.analyses)):
            return "VALID" if valid else "INVALID"
        return f"{valid} of {len(self.analyses)} VALID"

    @property
    def valid(self) -> bool:
        """Whether all its runs are VALID."""
        return all(entry.validity.valid for entry in self.analyses)


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run in the table of all.

    Args:
        side: the letter of its side.
        name: of the run.
        page: its own report as a link from this one; "" without one.
        valid: whether it is VALID.
        reason: why not; "" if it is.
        arrivals: what was asked.
        started: UTC.
        values: the metrics of `RUN_METRICS`.
        line: its median latency over time as points of a small picture, 100 by 20; "" without any.
    """

    side: str
    name: str
    page: str
    valid: bool
    reason: str
    arrivals: str
    started: str
    values: Sequence[Value]
    line: str


@dataclass(frozen=True, slots=True)
class ObjectiveCell:
    """An objective on one side.

    Args:
        verdict: `PASS`, `FAIL` or `CANNOT TELL`; of repeats how many of them have each.
        met: whether all runs meet it: False where one fails, None where that is not known.
        text: what was measured; of repeats the first one's.
    """

    verdict: str
    met: bool | None
    text: str


@dataclass(frozen=True)
class PairView:
    """One side against the first.

    Args:
        before: the first side.
        after: the other.
        sentences: which is faster, by how much, how sure.
        state: `good` for faster, `bad` for slower, "" for neither.
        warnings: one line each.
        differences: what differs between the sides, one line each.
        rows: metrics.
    """

    before: Side
    after: Side
    sentences: Sequence[str]
    state: str
    warnings: Sequence[str]
    differences: Sequence[str]
    rows: Sequence[ChangeRow]


def sides_of(analyses: Sequence[Analysis]) -> list[Side]:
    """The sides among runs: repeats form one, in the order of their first runs; see `by_repeats`."""
    return named_sides(by_repeats(analyses))


def named_sides(groups: Sequence[Sequence[Analysis]]) -> list[Side]:
    """Sides with letters and names."""
    return [Side(_letter(index), _name(runs), runs) for index, runs in enumerate(groups)]


def pair_views(sides: Sequence[Side], *, anyway: bool = True) -> list[PairView]:
    """Each side but the first, compared with it.

    Raises:
        UsageError: the runs of a side are not repeats of each other.
        InconclusiveError: two sides were under different loads, and not `anyway`.
    """
    first, *others = sides
    return [pair_view(first, other, compare(first.analyses, other.analyses, anyway=anyway)) for other in others]


def pair_view(before: Side, after: Side, comparison: Comparison) -> PairView:
    """The view of one comparison."""
    state, sentences = _finding(before, after, comparison)
    for side in (before, after):
        if left := len(side.analyses) - len(counted_runs(side.analyses)):
            were = "is INVALID and left" if left == 1 else "are INVALID and left"
            # What made them INVALID may be the server's.
            state = ""
            sentences.append(f"{left:,} of {pluralize(len(side.analyses), 'repeat')} of {side.letter} {were} out.")
    if best := [side.letter for side in (before, after) if left_out_behind(side.analyses)]:
        head = f"The repeats of {' and '.join(best)} in which the server fell behind the rate are left out"
        sentences.insert(0, f"{head}: do not decide anything by this comparison.")
    invalid = [side.letter for side in (before, after) if not any(entry.validity.valid for entry in side.analyses)]
    if invalid:
        state = ""
        are = "is" if len(invalid) == 1 else "are"
        sentences.insert(0, f"{' and '.join(invalid)} {are} INVALID: do not decide anything by this comparison.")
    return PairView(
        before=before,
        after=after,
        sentences=sentences,
        state=state,
        warnings=comparison.warnings,
        differences=[str(entry) for entry in comparison.differences if entry.name not in REFUSED],
        rows=change_rows(comparison.changes),
    )


def run_rows(sides: Sequence[Side], curves: Mapping[Path, LatencyCurves], pages: Mapping[Path, str]) -> list[RunRow]:
    """A row for each run.

    Args:
        sides: with the runs.
        curves: of each run, by the path of its folder.
        pages: links to their reports, where they have one.
    """
    return [
        RunRow(
            side=side.letter,
            name=entry.run.name,
            page=pages.get(entry.run.path, ""),
            valid=entry.validity.valid,
            reason="; ".join(entry.validity.reasons),
            arrivals=entry.run.manifest.arrivals,
            started=f"{entry.run.manifest.started[:10]} {entry.run.manifest.started[11:16]}",
            values=[shown(name, entry.summary.metrics.get(name), title) for name, title in RUN_METRICS.items()],
            line=_sparkline(curves[entry.run.path]),
        )
        for side in sides
        for entry in side.analyses
    ]


def _sparkline(curves: LatencyCurves) -> str:
    values = curves.series.get("from_due_p50", np.empty(0))
    known = np.flatnonzero(~np.isnan(values))
    if known.size < 2:
        return ""
    there = values[known]
    x = 100 * known / max(values.size - 1, 1)
    # From zero, so that a flat line is a steady run.
    y = 19 - 18 * there / float(there.max()) if there.max() > 0 else np.full(known.size, 19.0)
    return " ".join(f"{left:.4g},{top:.4g}" for left, top in zip(x.tolist(), y.tolist(), strict=True))


def overview_rows(sides: Sequence[Side]) -> list[tuple[str, list[Value]]]:
    """The most important metrics of each side: the title, and a value for each side."""
    rows = []
    for name in HEADLINE:
        found = [side_estimate(METRICS[name], side.analyses) for side in sides]
        if any(estimate.center is not None for estimate in found):
            rows.append((METRICS[name].title, [shown(name, estimate) for estimate in found]))
    return rows


def objective_rows(sides: Sequence[Side]) -> list[tuple[str, list[ObjectiveCell | None]]]:
    """The objectives of the runs: each with a cell for each side, None for a side without it."""
    found = [_objective_cells(side) for side in sides]
    return [
        (name, [cells.get(name) for cells in found])
        for name in dict.fromkeys(name for cells in found for name in cells)
    ]


def _objective_cells(side: Side) -> dict[str, ObjectiveCell]:
    """The objectives of a side's runs, by their text."""
    results: dict[str, list[ObjectiveResult]] = {}
    for entry in side.analyses:
        for result in entry.objectives.results if entry.objectives is not None else ():
            results.setdefault(str(result.objective), []).append(result)
    return {name: _objective_cell(runs) for name, runs in results.items()}


def _objective_cell(results: Sequence[ObjectiveResult]) -> ObjectiveCell:
    verdicts = Counter(result.verdict for result in results)
    states = [MET[verdict] for verdict in verdicts]
    met = False if False in states else None if None in states else True
    if len(results) == 1:
        return ObjectiveCell(str(results[0].verdict), met, results[0].figure)
    counts = ", ".join(f"{count:,} {verdict}" for verdict, count in verdicts.items())
    return ObjectiveCell(counts, met, f"{results[0].figure} in the first")


def _finding(before: Side, after: Side, comparison: Comparison) -> tuple[str, list[str]]:
    """The state and the sentences of one comparison."""
    speeds = [change for change in comparison.changes if change.metric.name in _SPEED]
    known = [change for change in speeds if change.change.center is not None]
    others = [change for change in comparison.changes if change.metric.name in ("throughput", "error_share")]
    if any(entry.name in REFUSED for entry in comparison.differences):
        refusal = f"{before.letter} and {after.letter} were under different loads, so neither is called faster."
        return "", [refusal, *(_change_sentence(change) for change in known)]
    if not known:
        return "", [f"No latency of {before.letter} and {after.letter} can be compared."]
    if comparison.undecided:
        return "", [_change_sentence(change) for change in known]
    verdicts = {change.verdict for change in known}
    better, worse = "better" in verdicts, "worse" in verdicts
    if better and worse:
        head, state = f"{after.letter} is faster than {before.letter} at some percentiles and slower at others.", ""
    elif better or worse:
        word, state = ("faster", "good") if better else ("slower", "bad")
        head = f"{after.letter} is {word} than {before.letter}."
    else:
        head, state = f"No difference in latency between {before.letter} and {after.letter} can be shown.", ""
    lines = [head, *(_change_sentence(change) for change in known)]
    return state, [*lines, *(_change_sentence(change) for change in others if change.significant)]


def _change_sentence(change: Change) -> str:
    """`latency from due, p50: +5.2 % [+2.1 … +8.4 %], worse: more than noise, by the 95 % interval.`"""
    metric = change.metric
    interval = text.change_interval(metric, change.change)
    line = f"{metric.title}: {text.change(metric, change.change)} {interval}".rstrip()
    seen = text.detectable(change.metric, change.detectable)
    if change.significant:
        confidence = format_percent(change.change.confidence, 2)
        return f"{line}, {change.verdict}: more than noise, by the {confidence} interval."
    if not seen:
        return f"{line}: without an interval, nothing can be said."
    return f"{line}, which may be noise; this comparison could have seen a change of {seen}."


def _name(runs: Sequence[Analysis]) -> str:
    return runs[0].run.name if len(runs) == 1 else f"{pluralize(len(runs), 'repeat')}, {runs[0].run.name} first"


def _letter(index: int) -> str:
    """`A` to `Z`, then `A1`, ..."""
    rounds, letter = divmod(index, 26)
    return chr(ord("A") + letter) + (str(rounds) if rounds else "")
