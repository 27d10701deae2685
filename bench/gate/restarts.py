"""When a live gate restarts both servers, and what its error bound covers as a result.

Two processes of one server differ by some per cent for as long as they live, because of where their memory lies and
which core runs which thread. All pairs on the same two processes share that difference, and no number of them averages
it out. So each pair has processes of its own, or at least each pair of the confirmation, which decides.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bench.core.units import format_seconds

# A gate should have time for so many pairs, with fresh processes before each: a clear answer takes ten to twenty.
_FRESH_PAIRS: Final = 20

# The confirmation may take so much of the time, at its shortest.
_CONFIRMATION_SHARE: Final = 0.6


class RestartSchedule(StrEnum):
    """When both servers are restarted."""

    EACH_PAIR = "before each pair"
    EACH_CONFIRMING_PAIR = "before each pair of a confirmation"
    EACH_CONFIRMATION = "before a confirmation"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When both servers are restarted, and what that costs.

    Args:
        schedule: when.
        restart_seconds: what one restart of both servers takes.
    """

    schedule: RestartSchedule = RestartSchedule.NEVER
    restart_seconds: float = 0.0

    @classmethod
    def choose(
        cls, restart_seconds: float | None, pair_seconds: float, max_time: float, min_confirm_pairs: int
    ) -> "RestartPolicy":
        """The most frequent restarts that leave time for the pairs that a gate needs.

        Args:
            restart_seconds: what one restart takes; None where the servers were not started here.
            pair_seconds: what a pair takes.
            max_time: seconds that the gate may take.
            min_confirm_pairs: pairs of the shortest confirmation.
        """
        if restart_seconds is None:
            return cls(RestartSchedule.NEVER)
        each = restart_seconds + pair_seconds
        if each * _FRESH_PAIRS <= max_time:
            return cls(RestartSchedule.EACH_PAIR, restart_seconds)
        if each * min_confirm_pairs <= _CONFIRMATION_SHARE * max_time:
            return cls(RestartSchedule.EACH_CONFIRMING_PAIR, restart_seconds)
        return cls(RestartSchedule.EACH_CONFIRMATION, restart_seconds)

    def restarts_before(self, confirming: bool, confirmed_pairs: int) -> bool:
        """Whether the next pair gets fresh processes; `confirmed_pairs` are those of the confirmation so far."""
        if self.schedule is RestartSchedule.EACH_CONFIRMATION:
            return confirming and confirmed_pairs == 0
        return self.schedule is RestartSchedule.EACH_PAIR or (
            confirming and self.schedule is RestartSchedule.EACH_CONFIRMING_PAIR
        )

    def pairs_left(self, seconds: float, pair_seconds: float) -> int:
        """Pairs that fit into `seconds`, at what those of a confirmation take."""
        restarted = self.schedule in (RestartSchedule.EACH_PAIR, RestartSchedule.EACH_CONFIRMING_PAIR)
        return max(int(seconds / (pair_seconds + (self.restart_seconds if restarted else 0.0))), 0)

    @property
    def fresh_alarms(self) -> bool:
        """Whether the pairs that raise an alarm are independent; see `bench.gate.types.Plan`."""
        return self.schedule is not RestartSchedule.EACH_CONFIRMING_PAIR

    @property
    def scope(self) -> str:
        """What the bound of false alarms covers."""
        if self.schedule is RestartSchedule.EACH_PAIR:
            return "chance and the differences between processes of one server: each pair has its own"
        if self.schedule is RestartSchedule.EACH_CONFIRMING_PAIR:
            return (
                "chance and the differences between processes of one server: each pair of a confirmation has its own, "
                "and only these are relied on"
            )
        return "chance within these processes only, not the lasting differences between processes of one server"

    @property
    def warning(self) -> str | None:
        """What a reader of the verdict must know."""
        lasting = "two processes of one server can differ for as long as they live, and here that counts as a change"
        if self.schedule is RestartSchedule.NEVER:
            return f"one process a side, as the servers were not started here: {lasting}"
        if self.schedule is RestartSchedule.EACH_CONFIRMATION:
            return f"a restart takes {format_seconds(self.restart_seconds)}, too long for each pair: {lasting}"
        return None
