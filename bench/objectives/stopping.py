"""Looks at a run in progress, and the decision to stop it. No clock and no I/O: the caller measures and waits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.core.units import format_percent, format_seconds, pluralize
from bench.objectives.grammar import QUANTITIES, Objective
from bench.objectives.until import LEAST_EFFECTIVE, Precision, Until, confidences, look_times, relative_width
from bench.objectives.verdicts import ObjectiveResult, Verdict
from bench.stats.estimate import Estimate

CONFIDENCE = 0.95
"""Of the interval whose width stops a run, and of all decisions on one objective together."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a run in progress found.

    Args:
        seconds: measured time that it covers; 0 where nothing is complete yet.
        results: of the objectives, with the confidence of this look.
        estimates: of the precisions that are wanted, in their order.
    """

    seconds: float
    results: tuple[ObjectiveResult, ...] = ()
    estimates: tuple[Estimate, ...] = ()


class StoppingRule:
    """When to look, and whether to stop.

    Args:
        until: when the run may stop.
        objectives: what it is held to.
        longest: the longest measured time, seconds.

    Attributes:
        looks: number of looks so far.
        reason: why the run stops, one line; "" before it does.
    """

    def __init__(self, until: Until, objectives: Sequence[Objective], longest: float) -> None:
        self._until = until
        self._objectives = tuple(objectives)
        self._longest = longest
        self._times = look_times(longest, until)
        levels = confidences(len(self._times), CONFIDENCE)
        self._confidences = levels if until.decided else (CONFIDENCE,) * len(levels)
        self._decided: dict[Objective, ObjectiveResult] = {}
        self._skipped = 0
        self.looks = 0
        self.reason = ""

    @property
    def next_time(self) -> float | None:
        """Measured seconds at the next look; None if the next one is the end of the run, or it stops."""
        index = self.looks + self._skipped
        return self._times[index] if index < len(self._times) - 1 and not self.reason else None

    @property
    def confidence(self) -> float:
        """Of the intervals of the next look; of the last of all, at the end of the run."""
        return self._confidences[min(self.looks + self._skipped, len(self._confidences) - 1)]

    @property
    def final_confidence(self) -> float:
        """Of the intervals that decide what no look decided, at the end of the run."""
        return self._confidences[-1]

    @property
    def decided(self) -> tuple[ObjectiveResult, ...]:
        """The verdicts that were given at looks."""
        return tuple(self._decided.values())

    @property
    def open_objectives(self) -> tuple[Objective, ...]:
        """The objectives without a verdict so far."""
        return tuple(objective for objective in self._objectives if objective not in self._decided)

    def skip(self, seconds: float) -> None:
        """Leaves out the looks up to `seconds` of measured time, which have passed."""
        while self.next_time is not None and self.next_time <= seconds:
            self._skipped += 1

    def take(self, look: Look) -> str:
        """Takes a look's findings; returns how the run stands, in one line."""
        self.looks += 1
        if self._until.decided:
            self._take_results(look)
            return self._standing(look)
        reached = all(
            precision.reached(estimate)
            for precision, estimate in zip(self._until.precisions, look.estimates, strict=True)
        )
        if look.estimates and reached:
            self._stop(", ".join(map(_precise, self._until.precisions, look.estimates)))
        return "; ".join(
            _progress(precision, estimate, look.seconds, self._longest)
            for precision, estimate in zip(self._until.precisions, look.estimates, strict=True)
        )

    def _take_results(self, look: Look) -> None:
        for result in look.results:
            sure = result.objective.counted or result.estimate.n >= LEAST_EFFECTIVE
            if result.verdict is not Verdict.CANNOT_TELL and sure and result.objective not in self._decided:
                self._decided[result.objective] = replace(result, look=self.looks, more=None)
        if all(objective.counted for objective in self.open_objectives):
            self._stop("every objective is decided")

    def _standing(self, look: Look) -> str:
        found = {result.objective: result for result in look.results} | self._decided
        return "; ".join(
            f"{objective} {found[objective].verdict}"
            + (f", {found[objective].figure}" if not objective.counted else "")
            for objective in self._objectives
            if objective in found
        )

    def _stop(self, reason: str) -> None:
        self.reason = f"{reason}, after {pluralize(self.looks, 'look')}"


def _precise(precision: Precision, estimate: Estimate) -> str:
    return f"{precision.name} is known to ±{format_percent(relative_width(estimate) or 0.0, 2)}"


def _progress(precision: Precision, estimate: Estimate, seconds: float, longest: float) -> str:
    """`p99 243 ms ±16 %, about 3 m more for ±5 %`."""
    name, wanted = precision.name, f"±{format_percent(precision.within)}"
    if estimate.center is None:
        return f"{name} not known yet"
    value = QUANTITIES[name].figure(estimate.center, 3)
    width, times = relative_width(estimate), precision.times(estimate)
    if width is None or times is None:
        return f"{name} {value}, no interval yet"
    text = f"{name} {value} ±{format_percent(width, 2)}"
    if precision.reached(estimate):
        return text
    if width <= precision.within:
        wanted = f"the {LEAST_EFFECTIVE:.0f} effective values that a stop needs"
    return f"{text}, {predicted(seconds * (times - 1), wanted, longest - seconds)}"


def predicted(more: float, wanted: str, left: float) -> str:
    """`about 3 m more for ±5 %`, and whether that is more than is `left`, seconds."""
    beyond = "" if more <= left else f", longer than the {format_seconds(left, 2)} that are left"
    return f"about {format_seconds(max(more, 1.0), 2)} more for {wanted}{beyond}"
