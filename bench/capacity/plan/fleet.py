"""Replicas behind a load balancer: a discrete-event simulation with the measured distribution of work.

    fleet = Fleet(parameter_set, replicas=12, policy="round-robin", incidents=(Failure(0, at=60.0, back=90.0),))
    served = simulate_fleet(fleet, arrival_times, seed=1)

A million requests to a thousand replicas take some ten seconds. The tests compare percentiles with the formulas of
M/M/1, M/D/1 and M/M/c.
"""

import heapq
import random
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.capacity.plan.incidents import Autoscaling, Change, FleetEvent, Incident
from bench.capacity.plan.replica import NEVER, Replica, make_replica
from bench.capacity.queue.latency_table import ParameterSet
from bench.core.errors import UsageError
from bench.core.seeds import Stream, generator
from bench.core.types import Floats
from bench.workload.balancing import POLICIES, make_policy

MOST_REPLICAS: Final = 10_000
"""Replicas of a fleet that is simulated."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Identical replicas behind a load balancer.

    Args:
        parameter_set: the queue model of each replica, and the work of requests.
        replicas: number of replicas at the start.
        policy: balancing policy, one of `bench.workload.balancing.POLICIES`.
        incidents: failures and other incidents.
        autoscaling: controller that adds and removes replicas; None without one.
    """

    parameter_set: ParameterSet
    replicas: int
    policy: str = "round-robin"
    incidents: tuple[Incident, ...] = ()
    autoscaling: Autoscaling | None = None

    def __post_init__(self) -> None:
        if self.replicas < 1:
            raise UsageError(f"a fleet of {self.replicas} replicas cannot be simulated; give at least one")
        if self.policy not in POLICIES:
            raise UsageError(f"unknown policy {self.policy!r}; choose one of {', '.join(POLICIES)}")


@dataclass(frozen=True, slots=True)
class FleetServed:
    """Times of each request, in the order of arrival.

    Args:
        arrived: arrival time, seconds, `[N]`.
        waiting: from arrival to the start of service, seconds; NaN if the request was lost.
        sojourn: from arrival to the answer, as the client sees it, seconds; NaN if the request was lost.
        replicas: (time in seconds, replicas that take requests) at each change.
    """

    arrived: Floats
    waiting: Floats
    sojourn: Floats
    replicas: tuple[tuple[float, int], ...]

    @property
    def lost(self) -> NDArray[np.bool_]:
        """Which requests were lost, `[N]`."""
        return np.isnan(self.sojourn)

    def replica_seconds(self, until: float) -> float:
        """Time of all replicas from 0 to `until`, summed, seconds: the cost of the fleet."""
        times = [time for time, _ in self.replicas] + [until]
        return sum(
            count * max(min(after, until) - before, 0.0)
            for (before, count), after in zip(self.replicas, times[1:], strict=True)
        )


def simulate_fleet(fleet: Fleet, arrivals: Floats, seed: int) -> FleetServed:
    """Simulates `fleet` with requests at `arrivals` (seconds, increasing)."""
    return _Simulation(fleet, arrivals, seed).run()


class _Simulation:
    def __init__(self, fleet: Fleet, arrivals: Floats, seed: int) -> None:
        work = fleet.parameter_set.work
        ranks = generator(seed, Stream.RESAMPLING, 5).random(arrivals.size)
        self.fleet = fleet
        self.arrivals = arrivals.tolist()
        self.work = work[(ranks * work.size).astype(np.intp)].tolist()
        self.policy = make_policy(fleet.policy, random.Random(seed))
        self.replicas: list[Replica] = []
        self.retired: list[int] = []
        self.counts: list[tuple[float, int]] = []
        self.replica_events: list[tuple[float, int, int]] = []
        self.fleet_events: list[tuple[float, int, FleetEvent]] = []
        self.begun = [float("nan")] * arrivals.size
        self.done = [float("nan")] * arrivals.size
        self.decided, self.arrivals_since, self.scheduled = 0.0, 0, 0
        for _ in range(fleet.replicas):
            self.policy.attach(self._make())
        self._count(0.0)
        for incident in fleet.incidents:
            for event in incident.events(fleet.replicas):
                self._schedule(event)

    def run(self) -> FleetServed:
        scaling = self.fleet.autoscaling
        decide = scaling.every if scaling else NEVER
        for index, now in enumerate(self.arrivals):
            while decide <= now:
                self._until(decide)
                self._decide(decide)
                decide += scaling.every if scaling else NEVER
            self._until(now)
            self._arrive(index, now)
        self._until(NEVER)
        arrived, done = np.array(self.arrivals), np.array(self.done)
        # Requests in service at a crash have a start of service, but are lost.
        waiting = np.where(np.isnan(done), np.nan, np.array(self.begun) - arrived)
        return FleetServed(
            arrived, waiting, self.fleet.parameter_set.queue_model.latency(done - arrived), tuple(self.counts)
        )

    def _until(self, now: float) -> None:
        """Processes all events of the replicas and of the fleet up to `now`, in order."""
        replica_events, fleet_events = self.replica_events, self.fleet_events
        while True:
            first = replica_events[0][0] if replica_events else NEVER
            change = fleet_events[0][0] if fleet_events else NEVER
            if (first > now and change > now) or first == change == NEVER:
                return
            if first <= change:
                time, number, version = heapq.heappop(replica_events)
                replica = self.replicas[number]
                if version == replica.version:
                    for request in replica.wake(time):
                        self.done[request] = time
                        self.policy.leave_request(number)
                    self._expect(number, replica)
            else:
                self._change(heapq.heappop(fleet_events)[2])

    def _arrive(self, request: int, now: float) -> None:
        self.arrivals_since += 1
        if not self.policy.present:
            return
        number = self.policy.choose()
        replica = self.replicas[number]
        if not replica.up:
            self.policy.leave_request(number)
        elif replica.arrive(request, now):
            self._expect(number, replica)

    def _expect(self, number: int, replica: Replica) -> None:
        """Schedules the replica's next event, which replaces the previous one."""
        replica.version += 1
        time = replica.next_event()
        if time != NEVER:
            heapq.heappush(self.replica_events, (time, number, replica.version))

    def _change(self, event: FleetEvent) -> None:
        number, replica = event.replica, self.replicas[event.replica]
        if event.change is Change.SPEED:
            replica.slow_down(event.time, event.factor)
            self._expect(number, replica)
        elif event.change is Change.CRASH:
            self._crash(event.time, number, replica)
        elif event.change is Change.RECOVER:
            replica.up = True
        elif event.change is Change.ATTACH:
            # A replica that the autoscaler removed does not return because an incident ends.
            if number not in self.policy.present and number not in self.retired:
                self.policy.attach(number)
                self._count(event.time)
        elif number in self.policy.present:
            self.policy.detach(number)
            self._count(event.time)

    def _crash(self, now: float, number: int, replica: Replica) -> None:
        for _ in replica.lose(now):
            self.policy.leave_request(number)
        replica.up = False
        self._expect(number, replica)

    def _decide(self, now: float) -> None:
        """A decision of the autoscaler, from the arrivals since the last one."""
        scaling = self.fleet.autoscaling
        assert scaling is not None
        rate, self.decided, self.arrivals_since = self.arrivals_since / (now - self.decided), now, 0
        wanted = scaling.wanted(rate, self.fleet.parameter_set.capacity)
        # A replica that is up now counts once, even if a later failure has its return scheduled.
        coming = {event.replica for _, _, event in self.fleet_events if event.change is Change.ATTACH}
        have = len(coming.difference(self.retired).union(self.policy.present))
        for _ in range(wanted - have):
            number = self.retired.pop() if self.retired else self._make()
            self._schedule(FleetEvent(now + scaling.lag, number, Change.ATTACH))
        for _ in range(min(have - wanted, len(self.policy.present) - 1)):
            # It completes its requests; none is lost.
            number = self.policy.present[-1]
            self.policy.detach(number)
            self.retired.append(number)
            self._count(now)

    def _make(self) -> int:
        self.replicas.append(make_replica(self.fleet.parameter_set.queue_model, self.work, self.begun))
        return len(self.replicas) - 1

    def _count(self, now: float) -> None:
        self.counts.append((now, len(self.policy.present)))

    def _schedule(self, event: FleetEvent) -> None:
        if event.replica >= len(self.replicas):
            raise UsageError(f"no replica {event.replica} in a fleet of {len(self.replicas)}; replicas count from 0")
        self.scheduled += 1
        heapq.heappush(self.fleet_events, (event.time, self.scheduled, event))
