"""Replicas behind a balancer: a discrete-event simulation fed by measured work.

    fleet = Fleet(candidate, replicas=12, policy="round-robin", incidents=(Failure(0, at=60.0, back=90.0),))
    served = simulate_fleet(fleet, arrival_times, seed=1)

A million requests to a thousand replicas take some ten seconds. Percentiles agree with the formulas of M/M/1, M/D/1 and
M/M/c, which the tests hold it to.
"""

import heapq
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.capacity.curves import Candidate
from bench.capacity.incidents import Autoscaling, Change, Incident, Moment
from bench.errors import UsageError
from bench.load.policies import POLICIES, make_policy
from bench.results.seeds import Stream, generator

Floats = NDArray[np.float64]

_NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Fleet:
    """Replicas of one kind behind a balancer.

    Args:
        candidate: each replica as a station, and the work of requests.
        replicas: how many take requests at the start.
        policy: how the balancer chooses, one of `bench.load.policies.POLICIES`.
        incidents: what happens meanwhile.
        autoscaling: who adds and removes replicas, if anybody does.
    """

    candidate: Candidate
    replicas: int
    policy: str = "round-robin"
    incidents: tuple[Incident, ...] = ()
    autoscaling: Autoscaling | None = None

    def __post_init__(self) -> None:
        if self.replicas < 1:
            raise UsageError(f"a fleet has at least one replica, not {self.replicas}")
        if self.policy not in POLICIES:
            raise UsageError(f"no policy {self.policy!r}; take one of {', '.join(POLICIES)}")
        if self.candidate.station.batching is not None:
            raise UsageError("the simulation of replicas knows no batching; give a model fitted without")


@dataclass(frozen=True, slots=True)
class FleetServed:
    """What happened to each request, in the order of arrival.

    Args:
        arrived: when it came, seconds, `[N]`.
        waited: seconds from then to the start of its service; NaN if it was lost.
        stayed: seconds to its answer, the overhead outside the station included; NaN if it was lost.
        replicas: (time, replicas that take requests) at each change.
    """

    arrived: Floats
    waited: Floats
    stayed: Floats
    replicas: tuple[tuple[float, int], ...]

    @property
    def lost(self) -> NDArray[np.bool_]:
        """Which requests got no answer."""
        return np.isnan(self.stayed)

    def replica_seconds(self, until: float) -> float:
        """Seconds of all replicas from 0 to `until` together: what is paid for."""
        times = [time for time, _ in self.replicas] + [until]
        return sum(
            count * max(min(after, until) - before, 0.0)
            for (before, count), after in zip(self.replicas, times[1:], strict=True)
        )


def simulate_fleet(fleet: Fleet, arrivals: Floats, seed: int) -> FleetServed:
    """Lets `arrivals` (seconds, rising) be served by `fleet`."""
    return _Simulation(fleet, arrivals, seed).run()


class _Replica:
    """One server: those in service share its speed, in virtual time as in `bench.capacity.lanes`."""

    __slots__ = ("busy", "clock", "factor", "queue", "servers", "share", "up", "version", "virtual")

    def __init__(self, share: Sequence[float]) -> None:
        self.share = share
        self.servers = len(share) - 1
        self.busy: list[tuple[float, int]] = []
        self.queue: deque[int] = deque()
        self.clock = 0.0
        self.virtual = 0.0
        self.factor = 1.0
        self.up = True
        self.version = 0

    def advance(self, now: float) -> None:
        """Lets its virtual time go on to `now`."""
        if self.busy:
            self.virtual += (now - self.clock) * self.share[len(self.busy)] / self.factor
        self.clock = now

    def next_end(self) -> float:
        """When the first of those in service is done, if nothing else happens."""
        if not self.busy:
            return _NEVER
        return self.clock + (self.busy[0][0] - self.virtual) * self.factor / self.share[len(self.busy)]


class _Simulation:
    def __init__(self, fleet: Fleet, arrivals: Floats, seed: int) -> None:
        station, work = fleet.candidate.station, fleet.candidate.work
        ranks = generator(seed, Stream.RESAMPLING, 5).random(arrivals.size)
        self.fleet = fleet
        self.arrivals = arrivals.tolist()
        self.work = work[(ranks * work.size).astype(np.intp)].tolist()
        self.overhead = station.overhead
        self.share = [1.0, *(speed / (k + 1) for k, speed in enumerate(station.speeds))]
        self.policy = make_policy(fleet.policy, random.Random(seed))
        self.replicas: list[_Replica] = []
        self.counts: list[tuple[float, int]] = []
        self.ends: list[tuple[float, int, int]] = []
        self.moments: list[tuple[float, int, Moment]] = []
        self.waited = [float("nan")] * arrivals.size
        self.stayed = [float("nan")] * arrivals.size
        self.decided, self.came, self.planned = 0.0, 0, 0
        self.retired: list[int] = []
        for _ in range(fleet.replicas):
            self._add(0.0)
        for incident in fleet.incidents:
            for moment in incident.moments(fleet.replicas):
                self._plan(moment)

    def run(self) -> FleetServed:
        scaling = self.fleet.autoscaling
        decide = scaling.every if scaling else _NEVER
        for index, now in enumerate(self.arrivals):
            while decide <= now:
                self._until(decide)
                self._decide(decide)
                decide += scaling.every if scaling else _NEVER
            self._until(now)
            self._arrive(index, now)
        self._until(_NEVER)
        return FleetServed(np.array(self.arrivals), np.array(self.waited), np.array(self.stayed), tuple(self.counts))

    def _until(self, now: float) -> None:
        """All ends of service and incidents up to `now`, in order."""
        ends, moments = self.ends, self.moments
        while True:
            first = ends[0][0] if ends else _NEVER
            planned = moments[0][0] if moments else _NEVER
            if (first > now and planned > now) or first == planned == _NEVER:
                return
            if first <= planned:
                time, number, version = heapq.heappop(ends)
                replica = self.replicas[number]
                if version == replica.version:
                    self._end(time, number, replica)
            else:
                self._change(heapq.heappop(moments)[2])

    def _arrive(self, index: int, now: float) -> None:
        self.came += 1
        if not self.policy.present:
            return
        number = self.policy.choose()
        replica = self.replicas[number]
        if not replica.up:
            self.policy.leave_request(number)
            return
        if len(replica.busy) < replica.servers:
            replica.advance(now)
            self._begin(index, now, replica)
            self._expect(number, replica)
        else:
            replica.queue.append(index)

    def _begin(self, index: int, now: float, replica: _Replica) -> None:
        self.waited[index] = now - self.arrivals[index]
        heapq.heappush(replica.busy, (replica.virtual + self.work[index], index))

    def _end(self, now: float, number: int, replica: _Replica) -> None:
        replica.advance(now)
        index = heapq.heappop(replica.busy)[1]
        self.stayed[index] = now - self.arrivals[index] + self.overhead
        self.policy.leave_request(number)
        if replica.queue:
            self._begin(replica.queue.popleft(), now, replica)
        self._expect(number, replica)

    def _expect(self, number: int, replica: _Replica) -> None:
        """Notes the replica's next end of service; the one noted before no longer counts."""
        replica.version += 1
        if replica.busy:
            heapq.heappush(self.ends, (replica.next_end(), number, replica.version))

    def _change(self, moment: Moment) -> None:
        number, replica = moment.replica, self.replicas[moment.replica]
        if moment.change is Change.SPEED:
            replica.advance(moment.time)
            replica.factor = moment.factor
            self._expect(number, replica)
        elif moment.change is Change.DIE:
            self._lose_all(moment.time, number, replica)
        elif moment.change is Change.LIVE:
            replica.up = True
        elif moment.change is Change.JOIN:
            self.policy.join(number)
            self._count(moment.time)
        elif number in self.policy.present:
            self.policy.part(number)
            self._count(moment.time)

    def _lose_all(self, now: float, number: int, replica: _Replica) -> None:
        replica.advance(now)
        for index in (*(index for _, index in replica.busy), *replica.queue):
            self.waited[index] = float("nan")
            self.policy.leave_request(number)
        replica.busy.clear()
        replica.queue.clear()
        replica.up = False
        self._expect(number, replica)

    def _decide(self, now: float) -> None:
        """The autoscaler's look at what came since the last one."""
        scaling = self.fleet.autoscaling
        assert scaling is not None
        rate, self.decided, self.came = self.came / (now - self.decided), now, 0
        wanted = scaling.wanted(rate, self.fleet.candidate.capacity)
        coming = sum(moment.change is Change.JOIN for _, _, moment in self.moments)
        have = len(self.policy.present) + coming
        for _ in range(wanted - have):
            number = self.retired.pop() if self.retired else self._make()
            self._plan(Moment(now + scaling.lag, number, Change.JOIN))
        for _ in range(min(have - wanted, len(self.policy.present) - 1)):
            # It ends what it has; nothing of it is lost.
            number = self.policy.present[-1]
            self.policy.part(number)
            self.retired.append(number)
            self._count(now)

    def _make(self) -> int:
        self.replicas.append(_Replica(self.share))
        return len(self.replicas) - 1

    def _add(self, now: float) -> None:
        self.policy.join(self._make())
        self.counts[:] = [(now, len(self.policy.present))]

    def _count(self, now: float) -> None:
        self.counts.append((now, len(self.policy.present)))

    def _plan(self, moment: Moment) -> None:
        if moment.replica >= len(self.replicas):
            raise UsageError(f"no replica {moment.replica} in a fleet of {len(self.replicas)}")
        self.planned += 1
        heapq.heappush(self.moments, (moment.time, self.planned, moment))
