"""How a balancer chooses among replicas. Pure: the client-side balancer and the simulation of a fleet use the same.

balancer = make_policy("two-choices", rng)
balancer.attach(0); balancer.attach(1)
replica = balancer.choose()       # counts as one more request there
balancer.leave_request(replica)   # one fewer
balancer.detach(1)                  # takes no new requests
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final


class Policy(ABC):
    """Chooses a replica for each request, and counts the requests open at each.

    Args:
        rng: for whatever is drawn.
    """

    def __init__(self, rng: random.Random) -> None:
        self._draw = rng.random
        self.present: list[int] = []
        self.open: dict[int, int] = {}

    def attach(self, replica: int) -> None:
        """The replica takes requests from now on."""
        if replica not in self.open:
            self.open[replica] = 0
        self.present.append(replica)

    def detach(self, replica: int) -> None:
        """The replica takes no new requests; those that are open there stay counted."""
        self.present.remove(replica)

    @abstractmethod
    def choose(self) -> int:
        """The replica for the next request; at least one must be present."""

    def leave_request(self, replica: int) -> None:
        """A request is no longer open at `replica`."""
        self.open[replica] -= 1

    def _take(self, replica: int) -> int:
        self.open[replica] += 1
        return replica


class RandomChoice(Policy):
    """Any, each as likely."""

    def choose(self) -> int:
        return self._take(self.present[int(self._draw() * len(self.present))])


class RoundRobin(Policy):
    """One after the other."""

    _next = 0

    def choose(self) -> int:
        self._next = (self._next + 1) % len(self.present)
        return self._take(self.present[self._next])


class TwoChoices(Policy):
    """The less loaded of two random ones (M. Mitzenmacher, *The power of two choices*, 2001)."""

    def choose(self) -> int:
        size = len(self.present)
        first = int(self._draw() * size)
        # The second is another one, each of the rest as likely.
        second = (first + 1 + int(self._draw() * (size - 1))) % size if size > 1 else first
        one, other = self.present[first], self.present[second]
        return self._take(one if self.open[one] <= self.open[other] else other)


class LeastLoaded(Policy):
    """One with the fewest open requests, any of those as likely; in constant time, however many replicas there are.

    Replicas stand in a list for each number of open requests; `_place` says where, so that one moves at no cost.
    """

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._levels: list[list[int]] = [[]]
        self._place: dict[int, int] = {}
        self._least = 0

    def attach(self, replica: int) -> None:
        super().attach(replica)
        self._put(replica)
        self._least = min(self._least, self.open[replica])

    def detach(self, replica: int) -> None:
        super().detach(replica)
        self._pull(replica)

    def choose(self) -> int:
        while not self._levels[self._least]:
            self._least += 1
        level = self._levels[self._least]
        replica = level[int(self._draw() * len(level))]
        self._pull(replica)
        self.open[replica] += 1
        self._put(replica)
        return replica

    def leave_request(self, replica: int) -> None:
        if replica not in self._place:
            self.open[replica] -= 1
            return
        self._pull(replica)
        self.open[replica] -= 1
        self._put(replica)
        self._least = min(self._least, self.open[replica])

    def _put(self, replica: int) -> None:
        count = self.open[replica]
        while len(self._levels) <= count:
            self._levels.append([])
        self._place[replica] = len(self._levels[count])
        self._levels[count].append(replica)

    def _pull(self, replica: int) -> None:
        level = self._levels[self.open[replica]]
        place, last = self._place.pop(replica), level.pop()
        if last != replica:
            level[place] = last
            self._place[last] = place


POLICIES: Final[dict[str, Callable[[random.Random], Policy]]] = {
    "random": RandomChoice,
    "round-robin": RoundRobin,
    "least-loaded": LeastLoaded,
    "two-choices": TwoChoices,
}


def make_policy(name: str, rng: random.Random) -> Policy:
    """The policy called `name`, one of `POLICIES`."""
    return POLICIES[name](rng)
