"""One server as a queue: how many requests it works on at once, and how fast it is with that many.

A request brings *work*, in seconds that it takes alone. Up to `servers` requests are in service, first come first
served; with k of them in service the queue_model does `speeds[k - 1]` seconds of work a second, shared equally. This
holds the usual cases in one:

    c servers that do not hinder each other    servers=c, speeds=1, 2, ..., c
    one processor shared by up to c requests   servers=c, speeds=1, 1, ..., 1
    a model server whose threads contend       anything between, as measured

With `batching`, a server takes several waiting requests at once instead (see `Batching`).
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from bench.core.types import Floats

MAX_SERVERS: Final = 1024


@dataclass(frozen=True, slots=True)
class Batching:
    """TensorFlow Serving's batching: `servers` batch threads, each running one batch at a time.

    Args:
        largest: most requests in a batch (`max_batch_size` over the rows of a request).
        timeout: seconds that an idle thread waits for a batch to fill, from its first request on
            (`batch_timeout_micros`).
        marginal: work that one more request adds to a batch, as a share of its work alone; 0 is free, 1 saves nothing.
    """

    largest: int
    timeout: float
    marginal: float

    def __post_init__(self) -> None:
        if self.largest < 1:
            raise ValueError(f"a batch holds at least one request, not {self.largest}")
        if not (self.timeout >= 0 and self.marginal >= 0):
            raise ValueError(f"timeout and marginal are 0 or more, not {self.timeout} and {self.marginal}")

    def stretch(self, size: NDArray[np.int64]) -> Floats:
        """Work of a batch of `size` requests over that of one of them."""
        return 1.0 + self.marginal * (size - 1.0)


@dataclass(frozen=True, slots=True)
class QueueModel:
    """A server as a queue, see the module.

    Args:
        servers: most requests (with batching: batches) in service at once.
        speeds: work done a second with 1, 2, ..., `servers` in service, each above 0.
        overhead: seconds of a request's latency that occupy no server: network, client.
        calibration: latency in open loop over what the queue gives: requests that come when they like meet sleeping
            threads and cold caches, which a closed loop's, one after the other, do not (M. Kennedy and A. O'Hagan,
            *Bayesian calibration of computer models*, J. R. Statist. Soc. B 63, 2001).
        batching: how batches are made, if they are.
    """

    servers: int
    speeds: tuple[float, ...]
    overhead: float = 0.0
    speed_factor: float = 1.0
    batching: Batching | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.servers <= MAX_SERVERS:
            raise ValueError(f"a queue_model has 1 to {MAX_SERVERS} servers, not {self.servers}")
        if len(self.speeds) != self.servers or min(self.speeds) <= 0:
            raise ValueError(f"{self.servers} servers need as many speeds above 0, not {self.speeds}")
        if not self.overhead >= 0:
            raise ValueError(f"overhead is 0 or more, not {self.overhead}")
        if not self.speed_factor > 0:
            raise ValueError(f"speed_factor is {self.speed_factor}; it must be above 0")

    @classmethod
    def independent(cls, servers: int, overhead: float = 0.0) -> Self:
        """`servers` servers that do not hinder each other."""
        return cls(servers, tuple(float(k) for k in range(1, servers + 1)), overhead)

    @property
    def kind(self) -> tuple[int, int, float]:
        """Models of one kind are simulated together: (servers, largest batch, timeout), 0 without batching."""
        if self.batching is None:
            return self.servers, 0, 0.0
        return self.servers, self.batching.largest, self.batching.timeout

    @property
    def top_speed(self) -> float:
        """Work a second when saturated, batches counted as one request's work."""
        return self.speeds[-1]

    def capacity(self, mean_work: float) -> float:
        """Requests a second when saturated, for requests of `mean_work` seconds."""
        if self.batching is None:
            return self.top_speed / mean_work
        largest = self.batching.largest
        stretch = float(self.batching.stretch(np.array(largest))[()])
        return self.top_speed * largest / (stretch * mean_work)

    def latency(self, sojourn: Floats) -> Floats:
        """What a client sees of requests that stay so long in the queue_model, seconds."""
        return (sojourn + self.overhead) / self.speed_factor
