"""The figures of a run at one moment, as plain values: what is shown, exported and passed between processes."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from bench.load.live.objectives_so_far import ObjectiveSoFar
from bench.stats.estimate import Estimate


class Phase(StrEnum):
    """The part of a run."""

    WARMUP = "warm-up"
    MEASURED = "measured"
    DRAIN = "drain"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondFigures:
    """One second of a run.

    Args:
        second: seconds since the run began, at its start.
        warmup: whether it belongs to the warm-up.
        due: requests that were due in it; in closed loop those of them that have ended.
        sent: requests sent in it that have ended.
        done: requests that ended in it after they were sent.
        outcomes: requests that ended in it, by outcome.
        wrong_kinds: wrong answers by kind.
        open: requests due and not ended, at its end; None in closed loop.
        in_flight: requests sent and not ended, at its end; None if unknown, as are the next two.
        waiting: requests due and not sent, at its end.
        users: users.
        from_due: percentiles by name, seconds, of the successful requests due in it; {} without one.
        from_send: the same from send.
        start_delay: percentiles of the delay from due to send, of those that were sent.
    """

    second: int
    warmup: bool
    due: int
    sent: int
    done: int
    outcomes: Mapping[str, int]
    wrong_kinds: Mapping[str, int]
    open: int | None
    in_flight: float | None
    waiting: float | None
    users: float | None
    from_due: Mapping[str, float]
    from_send: Mapping[str, float]
    start_delay: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A run so far.

    Args:
        time: complete seconds since the run began.
        begins: start of the measured part, seconds.
        ends: its planned end.
        phase: the part of the run.
        requests: requests that have ended, by outcome, those of the warm-up too.
        warmup_requests: those of the warm-up.
        wrong_kinds: wrong answers by kind.
        throughput: successful requests/s in the measured part; None before it.
        estimates: latency from due and from send, and the start delay, percentiles with intervals: `from_due_p99`...
        newest: the newest complete seconds, in their order.
        objectives: how it stands to its objectives.
    """

    time: int
    begins: float
    ends: float
    phase: Phase
    requests: Mapping[str, int]
    warmup_requests: Mapping[str, int]
    wrong_kinds: Mapping[str, int]
    throughput: float | None
    estimates: tuple[Estimate, ...]
    newest: tuple[SecondFigures, ...]
    objectives: tuple[ObjectiveSoFar, ...] = ()

    @property
    def measured_requests(self) -> dict[str, int]:
        """Requests of the measured part that have ended, by outcome."""
        return {name: count - self.warmup_requests.get(name, 0) for name, count in self.requests.items()}

    def estimate(self, metric: str) -> Estimate | None:
        """The estimate of a metric; None without one."""
        return next((entry for entry in self.estimates if entry.metric == metric), None)

    def to_json(self) -> bytes:
        """One line of JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, data: bytes) -> "Snapshot":
        """The snapshot in the output of `to_json`.

        Raises:
            msgspec.ValidationError: it is something else.
        """
        return msgspec.json.decode(data, type=cls)
