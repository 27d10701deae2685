"""What happens to a fleet while it serves: failures, rolling restarts, slow replicas, autoscaling."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Change(StrEnum):
    """What an incident does to a replica at one moment."""

    DETACH = "detach"
    """The balancer sends nothing more there."""
    CRASH = "crash"
    """What is in it is lost, and what comes is lost at once."""
    RECOVER = "recover"
    """It works again."""
    ATTACH = "attach"
    """The balancer sends there again."""
    SPEED = "speed"
    """Its work takes `factor` times as long from now on."""


class FleetEvent(NamedTuple):
    """A change at a time, seconds; `factor` only for SPEED."""

    time: float
    replica: int
    change: Change
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A replica that dies and comes back.

    Args:
        replica: index of the replica.
        at: when it dies, seconds.
        back: when it works again; None if never.
        noticed: seconds until the balancer notices either; what it sends meanwhile is lost.
    """

    replica: int
    at: float
    back: float | None = None
    noticed: float = 1.0

    def events(self, replicas: int) -> Iterator[FleetEvent]:
        """Its changes; `replicas` is how many there are."""
        yield FleetEvent(self.at, self.replica, Change.CRASH)
        if self.back is None or self.back > self.at + self.noticed:
            yield FleetEvent(self.at + self.noticed, self.replica, Change.DETACH)
            if self.back is not None:
                yield FleetEvent(self.back, self.replica, Change.RECOVER)
                yield FleetEvent(self.back + self.noticed, self.replica, Change.ATTACH)
        else:
            # Back before anybody noticed.
            yield FleetEvent(self.back, self.replica, Change.RECOVER)


@dataclass(frozen=True, slots=True)
class RollingRestart:
    """Replica after replica takes no new requests, ends what it has, is away, and comes back.

    Args:
        at: when the first one goes, seconds.
        drain: seconds between its last request and its stop.
        away: seconds it is away then.
    """

    at: float
    drain: float
    away: float

    def events(self, replicas: int) -> Iterator[FleetEvent]:
        """Its changes; `replicas` is how many there are."""
        for replica in range(replicas):
            begin = self.at + replica * (self.drain + self.away)
            yield FleetEvent(begin, replica, Change.DETACH)
            yield FleetEvent(begin + self.drain, replica, Change.CRASH)
            yield FleetEvent(begin + self.drain + self.away, replica, Change.RECOVER)
            yield FleetEvent(begin + self.drain + self.away, replica, Change.ATTACH)


@dataclass(frozen=True, slots=True)
class Slow:
    """A replica that takes longer for the same work, from `at` to `until` (seconds; None is the end)."""

    replica: int
    factor: float
    at: float = 0.0
    until: float | None = None

    def events(self, replicas: int) -> Iterator[FleetEvent]:
        """Its changes; `replicas` is how many there are."""
        yield FleetEvent(self.at, self.replica, Change.SPEED, self.factor)
        if self.until is not None:
            yield FleetEvent(self.until, self.replica, Change.SPEED, 1.0)


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """A controller that keeps replicas as busy as told.

    Args:
        target: share of the capacity that should be in use, above 0, at most 1.
        every: seconds between its decisions, each from the arrivals since the last one.
        lag: seconds from the decision until a new replica takes requests.
        least: fewest replicas.
        most: most replicas.
    """

    target: float
    every: float
    lag: float
    least: int
    most: int

    def wanted(self, rate: float, capacity: float) -> int:
        """Replicas for `rate` requests a second, of `capacity` each."""
        needed = -int(-rate // (capacity * self.target))
        return min(max(needed, self.least), self.most)


Incident = Failure | RollingRestart | Slow
