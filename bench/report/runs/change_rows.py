"""The changes of metrics between two sides as rows of a table, each with a bar."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from bench.analysis.compare import Change
from bench.report import text
from bench.report.screen import Value, shown

_SLACK: Final = 1 + 1e-9
"""For the end that a bar was made for."""
_WIDEST: Final = 1.0
"""The largest change that a bar resolves: twice as much, or nothing."""


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """A metric of two sides.

    Args:
        before: on the first side.
        after: on the other.
        change: of the other against the first.
        interval: of the change, 95 %.
        verdict: `better`, `worse`, `higher`, `lower`, `~` or `?`.
        seen: the smallest change that would have been shown; "" where it is not known.
        place: of the change on the bar, percent of its width; None without one.
        reach: from and width of the interval on the bar, percent; None without one.
        open: `low`, `high` or both: the ends at which the interval goes on beyond the bar; "" for neither.
    """

    before: Value
    after: Value
    change: str
    interval: str
    verdict: str
    seen: str
    place: float | None
    reach: tuple[float, float] | None
    open: str


def change_rows(changes: Sequence[Change]) -> list[ChangeRow]:
    """A row for each metric that a side has."""
    shares, ratios = (_widest([entry for entry in changes if _is_share(entry) is share]) for share in (True, False))
    return [
        _row(change, shares if _is_share(change) else ratios)
        for change in changes
        if change.before.center is not None or change.after.center is not None
    ]


def _row(change: Change, widest: float) -> ChangeRow:
    before, after = _values(change)
    place, reach, beyond = change_bar(change, widest)
    return ChangeRow(
        before=before,
        after=after,
        change=text.change(change.metric, change.change),
        interval=text.change_interval(change.metric, change.change),
        verdict=change.verdict,
        seen=text.detectable(change.metric, change.detectable),
        place=place,
        reach=reach,
        open=beyond,
    )


def _values(change: Change) -> tuple[Value, Value]:
    """Both values; those of a change that is there do not read the same."""
    name, ends = change.metric.name, (change.before, change.after)
    before, after = (shown(name, end) for end in ends)
    if not change.significant:
        return before, after
    one, other = text.values_apart(change.metric, *(end.center for end in ends))
    return replace(before, value=one), replace(after, value=other)


def _is_share(change: Change) -> bool:
    return change.metric.unit == "share"


def _widest(changes: Sequence[Change]) -> float:
    """The largest distance of an interval's end from "no change", at most `_WIDEST`."""
    none = [0.0 if _is_share(change) else 1.0 for change in changes]
    ends = [
        abs(end - zero)
        for change, zero in zip(changes, none, strict=True)
        for end in (change.change.lo, change.change.hi)
        if end is not None
    ]
    return min(max(ends, default=_WIDEST), _WIDEST) or _WIDEST


def change_bar(change: Change, widest: float) -> tuple[float | None, tuple[float, float] | None, str]:
    """Places of a change and of its interval on a bar whose ends are `widest` from "no change" in its middle, and the
    ends at which the interval goes on."""
    none, found = 0.0 if _is_share(change) else 1.0, change.change

    def place(value: float) -> float:
        return round(min(max(50 + 50 * (value - none) / widest, 0.0), 100.0), 2)

    if found.center is None:
        return None, None, ""
    if found.lo is None and found.hi is None:
        return place(found.center), None, ""
    low = 0.0 if found.lo is None else place(found.lo)
    high = 100.0 if found.hi is None else place(found.hi)
    beyond = {
        "low": found.lo is None or found.lo < none - widest * _SLACK,
        "high": found.hi is None or found.hi > none + widest * _SLACK,
    }
    return place(found.center), (low, round(high - low, 2)), " ".join(end for end, over in beyond.items() if over)
