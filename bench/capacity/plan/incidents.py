"""Incidents of a simulated fleet: failures, rolling restarts, slow replicas, autoscaling."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Change(StrEnum):
    """The effect of an event on a replica."""

    DETACH = "detach"
    """The balancer sends no new requests to it."""
    CRASH = "crash"
    """It loses all its requests, and every new one at once."""
    RECOVER = "recover"
    """It serves requests again."""
    ATTACH = "attach"
    """The balancer sends requests to it again."""
    SPEED = "speed"
    """Its work takes `factor` times as long from now on."""


class FleetEvent(NamedTuple):
    """A change of a replica at a time, seconds; `factor` applies to SPEED only."""

    time: float
    replica: int
    change: Change
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A replica that crashes and recovers.

    Args:
        replica: index of the replica.
        at: time of the crash, seconds.
        back: time of the recovery, seconds; None if it never recovers.
        noticed: delay until the balancer notices either, seconds; requests sent to the crashed replica are lost.
    """

    replica: int
    at: float
    back: float | None = None
    noticed: float = 1.0

    def events(self, replicas: int) -> Iterator[FleetEvent]:
        """The events of this incident in a fleet of `replicas`."""
        yield FleetEvent(self.at, self.replica, Change.CRASH)
        if self.back is None or self.back > self.at + self.noticed:
            yield FleetEvent(self.at + self.noticed, self.replica, Change.DETACH)
            if self.back is not None:
                yield FleetEvent(self.back, self.replica, Change.RECOVER)
                yield FleetEvent(self.back + self.noticed, self.replica, Change.ATTACH)
        else:
            # It recovers before the balancer notices.
            yield FleetEvent(self.back, self.replica, Change.RECOVER)


@dataclass(frozen=True, slots=True)
class RollingRestart:
    """Each replica in turn is drained, stopped and started again.

    Args:
        at: start of the first drain, seconds.
        drain: time from the last new request to the stop, seconds.
        away: time from the stop to the start, seconds.
    """

    at: float
    drain: float
    away: float

    def events(self, replicas: int) -> Iterator[FleetEvent]:
        """The events of this incident in a fleet of `replicas`."""
        for replica in range(replicas):
            begin = self.at + replica * (self.drain + self.away)
            yield FleetEvent(begin, replica, Change.DETACH)
            yield FleetEvent(begin + self.drain, replica, Change.CRASH)
            yield FleetEvent(begin + self.drain + self.away, replica, Change.RECOVER)
            yield FleetEvent(begin + self.drain + self.away, replica, Change.ATTACH)


@dataclass(frozen=True, slots=True)
class Slow:
    """A replica whose work takes `factor` times as long from `at` to `until`, seconds (None: to the end)."""

    replica: int
    factor: float
    at: float = 0.0
    until: float | None = None

    def events(self, replicas: int) -> Iterator[FleetEvent]:
        """The events of this incident in a fleet of `replicas`."""
        yield FleetEvent(self.at, self.replica, Change.SPEED, self.factor)
        if self.until is not None:
            yield FleetEvent(self.until, self.replica, Change.SPEED, 1.0)


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """A controller that adjusts the number of replicas to a target utilization.

    Args:
        target: target utilization, above 0, at most 1.
        every: time between decisions, seconds; each uses the arrivals since the last one.
        lag: time from a decision until a new replica takes requests, seconds.
        min_replicas: smallest number of replicas.
        max_replicas: largest number of replicas.
    """

    target: float
    every: float
    lag: float
    min_replicas: int
    max_replicas: int

    def wanted(self, rate: float, capacity: float) -> int:
        """Number of replicas for `rate` requests/s, each with a capacity of `capacity` requests/s."""
        needed = -int(-rate // (capacity * self.target))
        return min(max(needed, self.min_replicas), self.max_replicas)


Incident = Failure | RollingRestart | Slow
