"""What is known of a run that asked for more than the server carries."""

from dataclasses import dataclass

from bench.core.units import format_estimate, format_number, format_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Overload:
    """An open loop whose backlog grew for good, which stopped the run; times are seconds since the run began.

    Args:
        time: when the run was stopped.
        since: when the backlog began to grow.
        backlog: requests due and not ended when it was stopped.
        asked: requests/s due since then.
        carried: requests/s that ended since then.
        carried_lo: lower end of its 95 % interval.
        carried_hi: upper end.
    """

    time: float
    since: float
    backlog: int
    asked: float
    carried: float
    carried_lo: float
    carried_hi: float

    def __str__(self) -> str:
        carried = format_estimate(self.carried, self.carried_lo, self.carried_hi, format_number)
        return (
            f"overloaded: {format_number(self.asked)} requests/s are due and {carried} end, "
            f"{self.backlog:,} are open after {format_seconds(self.time)}"
        )
