"""The kinds of arrivals, and how each draws its due times; `bench.workload.arrivals` reads them from text."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from bench.core.errors import UsageError
from bench.core.seeds import Stream, generator
from bench.core.types import Floats, checked_fields
from bench.core.units import HIGHEST, LONGEST, format_number, format_seconds
from bench.workload.rate_profile import RateProfile
from bench.workload.trace import Trace

MAX_REQUESTS: Final = 50_000_000
"""Limit of a schedule, which takes 8 bytes of memory per request; more is taken for a typing error."""

MOST_USERS: Final = 100_000
"""Users of a run in all its processes, each with memory and mostly a connection; more is taken for a typing error."""

MAX_BURSTS: Final = 1_000_000
"""Limit of the periods of a burst schedule; more is taken for a typing error."""

_TRACE_COVERS: Final = 0.9
"""Fraction of a run by which the last request of a trace is due; an earlier end is noted."""

_SPACINGS: Final = ("poisson", "even")


class Arrivals(ABC):
    """When requests are due: a `ClosedLoop`, or an `OpenLoop` with a schedule."""

    kind: ClassVar[str]
    open_loop: ClassVar[bool]

    @abstractmethod
    def _options(self) -> dict[str, str]:
        """Option names and values of the canonical text, without defaults."""

    def __str__(self) -> str:
        return f"{self.kind}:" + ",".join(f"{name}={value}" for name, value in self._options().items())

    def notes(self, duration: float) -> tuple[str, ...]:
        """Warnings for a run of `duration` seconds."""
        return ()


UNAVAILABLE_PAUSE: Final = 0.1
"""Least seconds between an `unavailable` request and the next one of its user: refused connections would otherwise be
retried thousands of times a second."""


@dataclass(frozen=True)
@checked_fields
class ClosedLoop(Arrivals):
    """A fixed number of users; the next request of each is due when its last one is answered and `think` has passed.

    Args:
        users: 1 to `MOST_USERS`.
        think: seconds between an answer and the next request, 0 or more; at least `UNAVAILABLE_PAUSE` after an
            `unavailable` one.
    """

    kind = "closed"
    open_loop = False

    users: int
    think: float = 0.0

    def __post_init__(self) -> None:
        if self.users < 1:
            raise UsageError(f"closed loop needs at least one user, not {self.users}; write closed:users=8")
        if self.users > MOST_USERS:
            raise UsageError(f"closed loop takes at most {MOST_USERS:,} users, not {self.users:,}; give fewer")
        if not 0 <= self.think <= LONGEST:
            raise UsageError(
                f"think time must be 0 or more seconds and at most a year, not {self.think}; write it like think=100ms"
            )

    def _options(self) -> dict[str, str]:
        options = {"users": str(self.users)}
        return options | {"think": _seconds(self.think)} if self.think else options


@dataclass(frozen=True)
class OpenLoop(Arrivals):
    """Due times that do not depend on answers."""

    open_loop = True

    @abstractmethod
    def profile(self, duration: float) -> RateProfile:
        """The expected rate over a run of `duration` seconds."""

    @property
    def even(self) -> bool:
        return False

    def rate_at(self, times: Floats, duration: float) -> Floats:
        """Expected requests a second at `times` (seconds) of a run of `duration` seconds."""
        return self.profile(duration).rate(np.asarray(times, np.float64))

    def expected_requests(self, duration: float) -> float:
        """Expected number of requests in a run of `duration` seconds."""
        return self.profile(duration).total

    def check(self, duration: float) -> None:
        """Refuses what no run of `duration` seconds could have, without drawing it; errors as of `due_times`."""
        _check_count(self, self.expected_requests(duration), duration)

    def due_times(self, duration: float, seed: int, stream: Stream = Stream.ARRIVALS) -> Floats:
        """Draws the due times of a run.

        Args:
            duration: seconds.
            seed: the same seed gives the same times, on every machine and for any number of workers.
            stream: the random stream, see `bench.core.seeds`.

        Returns:
            Seconds since the start, float64 `[N]`, sorted, each at least 0 and below `duration`.

        Raises:
            UsageError: no request is due, more than `MAX_REQUESTS`, or more bursts than `MAX_BURSTS`.
        """
        profile = self.profile(duration)
        _check_count(self, profile.total, duration)
        if self.even:
            # The tolerance keeps 0.1/s * 30 s at 3 requests where the product is 3.0000000000000004.
            events = np.arange(math.ceil(profile.total - 1e-9), dtype=np.float64)
        else:
            events = _poisson_events(profile.total, generator(seed, stream))
        times = profile.inverse(events)
        times = times[times < duration]
        _check_count(self, times.size, duration)
        return times


@dataclass(frozen=True)
@checked_fields
class Poisson(OpenLoop):
    """Independent arrivals at a constant `rate`, requests/s, with exponential gaps."""

    kind = "poisson"

    rate: float

    def __post_init__(self) -> None:
        _check_rate("rate", self.rate)

    def _options(self) -> dict[str, str]:
        return {"rate": _number(self.rate)}

    def profile(self, duration: float) -> RateProfile:
        return _flat(np.zeros(1), np.array([self.rate]), duration)


@dataclass(frozen=True)
class Constant(Poisson):
    """Evenly spaced arrivals at `rate`, requests/s, the first at 0."""

    kind = "constant"

    @property
    def even(self) -> bool:
        return True


@dataclass(frozen=True)
@checked_fields
class _Spaced(OpenLoop):
    """A changing rate whose arrivals are a Poisson process or evenly spaced."""

    spacing: str

    def __post_init__(self) -> None:
        if self.spacing not in _SPACINGS:
            raise UsageError(f"spacing must be poisson or even, not {self.spacing!r}")

    @property
    def even(self) -> bool:
        return self.spacing == "even"

    def _spacing_option(self) -> dict[str, str]:
        return {"spacing": self.spacing} if self.spacing != _SPACINGS[0] else {}


@dataclass(frozen=True)
class Ramp(_Spaced):
    """A rate that changes linearly from `start` to `stop`, requests/s, over the whole run."""

    kind = "ramp"

    spacing: str = "poisson"
    start: float = 0.0
    stop: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_rate("from", self.start, zero=True)
        _check_rate("to", self.stop, zero=self.start > 0)

    def _options(self) -> dict[str, str]:
        return {"from": _number(self.start), "to": _number(self.stop)} | self._spacing_option()

    def profile(self, duration: float) -> RateProfile:
        return RateProfile(np.zeros(1), np.array([self.start]), np.array([self.stop]), duration)


@dataclass(frozen=True)
class Step(_Spaced):
    """Successive rates, requests/s, each for `hold` seconds (None: equal shares of the run), the last to the end."""

    kind = "step"

    spacing: str = "poisson"
    rates: tuple[float, ...] = ()
    hold: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rates:
            raise UsageError("step needs rates; write step:rates=10,20,40,hold=30s")
        for rate in self.rates:
            _check_rate("rates", rate)
        if self.hold is not None:
            _check_length("hold", self.hold)

    def _options(self) -> dict[str, str]:
        options = {"rates": ",".join(map(_number, self.rates))}
        if self.hold is not None:
            options["hold"] = _seconds(self.hold)
        return options | self._spacing_option()

    def profile(self, duration: float) -> RateProfile:
        hold = duration / len(self.rates) if self.hold is None else self.hold
        return _flat(np.arange(len(self.rates)) * hold, np.array(self.rates), duration)

    def notes(self, duration: float) -> tuple[str, ...]:
        if self.hold is None or duration >= self.hold * len(self.rates) * (1 - 1e-9):
            return ()
        return (
            f"the {len(self.rates)} steps take {_seconds(self.hold * len(self.rates))} but the run lasts "
            f"{_seconds(duration)}: the later steps are cut off",
        )


@dataclass(frozen=True)
class Burst(_Spaced):
    """The rate `base`, and `peak` during the last `length` seconds of each `every` seconds; requests/s."""

    kind = "burst"

    spacing: str = "poisson"
    base: float = 0.0
    peak: float = 0.0
    every: float = 0.0
    length: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_rate("base", self.base, zero=True)
        _check_rate("peak", self.peak)
        _check_length("every", self.every)
        _check_length("length", self.length)
        if self.length >= self.every:
            raise UsageError(f"a burst of {_seconds(self.length)} does not fit in every={_seconds(self.every)}")

    def _options(self) -> dict[str, str]:
        options = {"base": _number(self.base), "peak": _number(self.peak)}
        return options | {"every": _seconds(self.every), "length": _seconds(self.length)} | self._spacing_option()

    def profile(self, duration: float) -> RateProfile:
        periods = math.ceil(duration / self.every)
        if periods > MAX_BURSTS:
            raise UsageError(
                f"{self} for {_seconds(duration)} has {periods:,} bursts, the limit is {MAX_BURSTS:,}; take a longer "
                "every or a shorter run"
            )
        starts = np.add.outer(np.arange(periods) * self.every, [0.0, self.every - self.length]).ravel()
        return _flat(starts, np.tile([self.base, self.peak], periods), duration)

    def notes(self, duration: float) -> tuple[str, ...]:
        first = self.every - self.length
        if duration > first:
            return ()
        return (
            f"the first burst begins after {_seconds(first)} but the run lasts {_seconds(duration)}: there is none",
        )


@dataclass(frozen=True)
@checked_fields
class TraceArrivals(OpenLoop):
    """Due times read from a file; the seed has no effect."""

    kind = "trace"

    trace: Trace

    @property
    def digest(self) -> str:
        """Digest of the due times, for the run's manifest: the file may change after the run."""
        return self.trace.digest

    def _options(self) -> dict[str, str]:
        return self.trace.options()

    def __str__(self) -> str:
        return f"{self.kind}:" + ",".join([self.trace.path, *(f"{k}={v}" for k, v in self._options().items())])

    def profile(self, duration: float) -> RateProfile:
        edges = np.arange(0.0, duration, 1.0)
        counts = np.histogram(self.trace.due, np.append(edges, duration))[0]
        rates = counts / np.diff(np.append(edges, duration))
        return RateProfile(edges, rates, rates, duration)

    def due_times(self, duration: float, seed: int, stream: Stream = Stream.ARRIVALS) -> Floats:
        times = self.trace.due[: np.searchsorted(self.trace.due, duration)]
        _check_count(self, times.size, duration)
        return _apart(times, duration)

    def notes(self, duration: float) -> tuple[str, ...]:
        left_out = int(self.trace.due.size - np.searchsorted(self.trace.due, duration))
        if left_out:
            return (f"{left_out} of the trace's {self.trace.due.size} requests are due after the run's end",)
        last = float(self.trace.due[-1])
        if last >= _TRACE_COVERS * duration:
            return ()
        return (
            f"the trace's last request is due after {format_seconds(last)} but the run lasts {_seconds(duration)}: "
            "rates are means with the time in which nothing is due",
        )


def _check_rate(name: str, rate: float, zero: bool = False) -> None:
    if not 0 <= rate <= HIGHEST or (rate == 0 and not zero):
        bound = f", at most {HIGHEST:,.0f}/s" if rate > HIGHEST else ""
        raise UsageError(f"{name} must be a rate above zero{bound}, not {rate}; write it like {name}=50")


def _check_length(name: str, seconds: float) -> None:
    if not 0 < seconds < math.inf:
        raise UsageError(f"{name} must be a duration above zero, not {seconds}; write it like {name}=30s")


def _check_count(arrivals: Arrivals, expected: float, duration: float) -> None:
    if expected > MAX_REQUESTS:
        raise UsageError(
            f"{arrivals} for {_seconds(duration)} has {format_number(expected)} requests, the limit is "
            f"{MAX_REQUESTS:,}; take a lower rate or a shorter run"
        )
    if expected <= 0:
        raise UsageError(f"{arrivals} has no request within {_seconds(duration)}; take a longer run or a higher rate")


def _flat(starts: Floats, rates: Floats, duration: float) -> RateProfile:
    """A profile of constant pieces, cut at `duration`."""
    there = starts < duration
    return RateProfile(starts[there], rates[there], rates[there], duration)


def _apart(times: Floats, duration: float) -> Floats:
    """Sorted times of which equal ones are a nanosecond apart, below `duration`: a request's trace id follows from when
    it is due, and logs have many requests in one second."""
    equal = np.arange(times.size) - np.searchsorted(times, times)
    return np.asarray(np.minimum(np.maximum.accumulate(times + equal * 1e-9), np.nextafter(duration, 0.0)))


def _poisson_events(total: float, rng: np.random.Generator) -> Floats:
    """Events of a Poisson process of unit rate on [0, total). A longer total extends a shorter one."""
    chunk = int(total + 6 * math.sqrt(total)) + 16
    events = np.cumsum(rng.standard_exponential(chunk))
    while events[-1] < total:
        events = np.concatenate((events, events[-1] + np.cumsum(rng.standard_exponential(chunk))))
    return np.asarray(events[: np.searchsorted(events, total)])


def _number(value: float) -> str:
    """The shortest text that parses to `value`."""
    return repr(float(value)).removesuffix(".0")


def _seconds(value: float) -> str:
    return f"{_number(value)}s"
