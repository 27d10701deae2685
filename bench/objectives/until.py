"""When a run may stop: `p99±5%` once that interval is that narrow, `decided` once every objective is decided.

**Precision.** A run stops at the first look at which the 95 % interval reaches no further than the wanted fraction
from the value, on both sides. Stopping at a width and not at a value leaves the coverage of the interval asymptotically
as it is (Y. Chow and H. Robbins, *On the asymptotic theory of fixed-width sequential confidence intervals for the
mean*, Annals of Mathematical Statistics 36, 1965; for correlated output of simulations P. Glynn and W. Whitt, *The
asymptotic validity of sequential stopping rules for stochastic simulations*, Annals of Applied Probability 2, 1992), if
it cannot stop on a width that is small by chance: hence `LEAST_EFFECTIVE`.

**Decisions.** Each look at an undecided objective may err. `confidences` divides the error of one interval among the
looks, so that their sum is that of a single decision at the end, whatever the dependence between looks (Bonferroni's
inequality; spending an error over looks: K. Lan and D. DeMets, *Discrete sequential boundaries for clinical trials*,
Biometrika 70, 1983). Half of it is for the last look, which has most data.
"""

import math
import re
from dataclasses import dataclass
from typing import Final

from bench.core.errors import UsageError, did_you_mean
from bench.core.types import checked_fields
from bench.core.units import format_percent, parse_fraction
from bench.objectives.grammar import QUANTITIES
from bench.stats.estimate import Estimate

DECIDED: Final = "decided"
EXAMPLE: Final = "p99+-5%, or decided"
LEAST_EFFECTIVE: Final = 200.0
"""Smallest effective number of values of an interval that may stop a run, or decide before its end: with fewer its
width is itself too uncertain."""
TIMES_AS_LONG: Final = 10.0
"""The default of the longest run, in lengths of a run that does not stop by itself."""
_FIRST: Final = 40.0
_GROWTH: Final = {True: 1.25, False: 1.1}
_NARROWEST, _WIDEST = 0.001, 0.5


@dataclass(frozen=True, slots=True)
@checked_fields
class Precision:
    """A wanted relative precision.

    Args:
        name: of a quantity that has an interval, see `bench.objectives.grammar.QUANTITIES`.
        within: largest distance of an end of the 95 % interval from the value, as a fraction of the value.

    Raises:
        UsageError: a quantity without an interval.
    """

    name: str
    within: float

    def __post_init__(self) -> None:
        if self.name not in PRECISE:
            raise UsageError(f"{self.name!r} has no relative precision; give one of {', '.join(PRECISE)}")

    @property
    def metric(self) -> str:
        """Name of its metric in `bench.analysis.metrics`."""
        return QUANTITIES[self.name].metric

    def reached(self, estimate: Estimate) -> bool:
        """Whether the interval is that narrow."""
        found = relative_width(estimate)
        return found is not None and found <= self.within and estimate.n >= LEAST_EFFECTIVE

    def times(self, estimate: Estimate) -> float | None:
        """How many times as long the run must be for it, about; None without an interval."""
        found = relative_width(estimate)
        # The width falls with the root of the time, and the effective number of values grows with it.
        return None if found is None else max((found / self.within) ** 2, LEAST_EFFECTIVE / max(estimate.n, 1.0))

    def __str__(self) -> str:
        return f"{self.name}±{100 * self.within:g}%"


PRECISE: Final = tuple(name for name in QUANTITIES if not name.endswith("max") and name not in ("errors", "wrong"))
"""The quantities whose relative precision a run can stop at."""


@dataclass(frozen=True, slots=True)
@checked_fields
class Until:
    """When a run may stop.

    Args:
        precisions: stops when all are reached; empty: when every objective is decided.
    """

    precisions: tuple[Precision, ...] = ()

    @property
    def decided(self) -> bool:
        """Whether it stops when every objective is decided."""
        return not self.precisions

    def __str__(self) -> str:
        return ",".join(map(str, self.precisions)) or DECIDED


def parse_until(text: str) -> Until:
    """When to stop: `decided`, or precisions separated by commas.

    Raises:
        UsageError: a quantity that has no interval, or a malformed precision.
    """
    if text.strip().lower() == DECIDED:
        return Until()
    found: dict[str, Precision] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*([a-z0-9.-]+?)\s*(?:±|\+/?-)\s*(\S+)\s*", part)
        if not match:
            near = did_you_mean(text.strip(), (DECIDED,))
            raise UsageError(
                f"{text!r} is not a precision: cannot parse {part.strip()!r}; write it like {EXAMPLE}{near}"
            )
        name = match[1]
        if name in found:
            raise UsageError(f"{text!r} has {name} twice; write it like {EXAMPLE}")
        if name not in PRECISE:
            near = did_you_mean(name, PRECISE)
            raise UsageError(f"{name!r} has no relative precision; give one of {', '.join(PRECISE)}{near}")
        if not match[2].endswith("%"):
            raise UsageError(f"{match[2]!r} of {name} has no unit; write it like {name}±5%")
        within = parse_fraction(match[2])
        if not _NARROWEST <= within <= _WIDEST:
            limits = f"{format_percent(_NARROWEST)} to {format_percent(_WIDEST)}"
            raise UsageError(f"a precision of {match[2]} is out of range; give one from {limits}")
        found[name] = Precision(name, within)
    return Until(tuple(found.values()))


def measured_seconds(until: Until | None, longest: float | None, planned: float) -> float:
    """The longest measured time of a run, seconds.

    Args:
        until: when it may stop by itself.
        longest: what `--max-duration` says; None for the default.
        planned: measured time of a run that does not stop by itself.

    Raises:
        UsageError: `longest` without `until`.
    """
    if until is None:
        if longest is not None:
            raise UsageError("--max-duration belongs to a run that stops by itself; give --until too, or leave it out")
        return planned
    return TIMES_AS_LONG * planned if longest is None else longest


def relative_width(estimate: Estimate) -> float | None:
    """Distance of the further end of the interval from the value, as a fraction of it; None if an end is open."""
    center, lo, hi = estimate.center, estimate.lo, estimate.hi
    if not center or lo is None or hi is None or not math.isfinite(hi):
        return None
    return max(hi - center, center - lo) / center


def look_times(longest: float, until: Until) -> tuple[float, ...]:
    """When to look, seconds of measured time: at growing distances, the last at `longest`."""
    growth = _GROWTH[until.decided]
    count = math.ceil(math.log(_FIRST) / math.log(growth))
    return tuple(longest * growth ** (index - count) for index in range(count + 1))


def confidences(looks: int, confidence: float) -> tuple[float, ...]:
    """The confidence of each look's intervals, whose errors sum to that of one interval of `confidence`.

    Args:
        looks: number of looks, the end of the run included.
        confidence: of one decision at the end.
    """
    if looks == 1:
        return (confidence,)
    early = (1 - confidence) / 2 / (looks - 1)
    return (*(1 - early for _ in range(looks - 1)), 1 - (1 - confidence) / 2)
