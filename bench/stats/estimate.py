"""A value with its confidence interval."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimate of a metric with its confidence interval.

    Args:
        metric: what it is, for example `from_due_p99`.
        center: the estimate, base units; None where the data do not suffice (never 0 for "no data").
        lo: lower end of the interval; None is unbounded.
        hi: upper end; None is unbounded.
        confidence: of the interval, for example 0.95.
        n: number of independent values that the interval is based on: effective requests of a run, or runs.
        warnings: one line each, with what to do about it.
    """

    metric: str
    center: float | None
    lo: float | None
    hi: float | None
    confidence: float
    n: float
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.center is None and (self.lo is not None or self.hi is not None):
            raise ValueError(f"{self.metric}: an interval without an estimate")
        for end in (self.lo, self.center, self.hi):
            if end is not None and end != end:
                raise ValueError(f"{self.metric}: NaN is not an estimate; give None for an absent one")

    @classmethod
    def absent(cls, metric: str, warning: str, n: float = 0, confidence: float = 0.95) -> "Estimate":
        """No estimate, and why."""
        return cls(metric, None, None, None, confidence, n, (warning,))
