"""A server as a queue: how many requests it serves at once, and how fast.

A request brings *work*, in seconds of service without other requests. Up to `servers` requests are in service, first
come first served. With k of them in service, the server does `speeds[k - 1]` seconds of work per second, shared
equally. The usual cases:

    c independent servers                      servers=c, speeds=1, 2, ..., c
    one processor shared by up to c requests   servers=c, speeds=1, 1, ..., 1
    a model server whose threads contend       speeds between these, as measured

With `batching`, a server takes several waiting requests at once (see `Batching`).
"""

import math
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
        largest: largest number of requests in a batch (`max_batch_size` over the rows of a request).
        timeout: time that an idle thread waits for a batch to fill, from its first request, seconds
            (`batch_timeout_micros`).
        marginal: work that one more request adds to a batch, as a fraction of its own work; 1 saves nothing.
    """

    largest: int
    timeout: float
    marginal: float

    def __post_init__(self) -> None:
        if self.largest < 1:
            raise ValueError(f"largest batch is {self.largest}; it must be 1 or more")
        if not (0 <= self.timeout < math.inf and 0 <= self.marginal < math.inf):
            raise ValueError(f"timeout is {self.timeout}, marginal is {self.marginal}; both must be 0 or more")

    def stretch(self, size: NDArray[np.int64]) -> Floats:
        """Work of a batch of `size` requests over the work of one of them."""
        return 1.0 + self.marginal * (size - 1.0)


@dataclass(frozen=True, slots=True)
class QueueModel:
    """A server as a queue; see the module.

    Args:
        servers: largest number of requests (with batching: of batches) in service.
        speeds: work per second with 1, 2, ..., `servers` in service, each above 0.
        overhead: latency of a request outside the server (network, client), seconds.
        speed_factor: speed in open loop over the speed in closed loop; latencies are divided by it. Open-loop
            arrivals hit idle threads and cold caches, which the back-to-back requests of a closed loop do not
            (a calibration as of M. Kennedy and A. O'Hagan, *Bayesian calibration of computer models*, J. R. Statist.
            Soc. B 63, 2001). It does not affect the capacity.
        batching: how the server makes batches; None without batching.
    """

    servers: int
    speeds: tuple[float, ...]
    overhead: float = 0.0
    speed_factor: float = 1.0
    batching: Batching | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.servers <= MAX_SERVERS:
            raise ValueError(f"servers is {self.servers}; it must be 1 to {MAX_SERVERS}")
        if len(self.speeds) != self.servers or min(self.speeds) <= 0 or not max(self.speeds) < math.inf:
            raise ValueError(f"speeds are {self.speeds}; {self.servers} servers need {self.servers} speeds above 0")
        if not 0 <= self.overhead < math.inf:
            raise ValueError(f"overhead is {self.overhead}; it must be 0 or more")
        if not 0 < self.speed_factor < math.inf:
            raise ValueError(f"speed_factor is {self.speed_factor}; it must be above 0")

    @classmethod
    def independent(cls, servers: int, overhead: float = 0.0) -> Self:
        """`servers` servers that do not slow each other down."""
        return cls(servers, tuple(float(k) for k in range(1, servers + 1)), overhead)

    @property
    def kind(self) -> tuple[int, int, float]:
        """Models of one kind are simulated together: (servers, largest batch, timeout), 0 without batching."""
        if self.batching is None:
            return self.servers, 0, 0.0
        return self.servers, self.batching.largest, self.batching.timeout

    def capacity(self, mean_work: float) -> float:
        """Saturation rate for requests of `mean_work` seconds, requests/s."""
        if self.batching is None:
            return self.speeds[-1] / mean_work
        largest = self.batching.largest
        stretch = float(self.batching.stretch(np.array(largest))[()])
        return self.speeds[-1] * largest / (stretch * mean_work)

    def latency(self, sojourn: Floats) -> Floats:
        """The latency that a client sees for these sojourn times in the server, seconds."""
        return (sojourn + self.overhead) / self.speed_factor
