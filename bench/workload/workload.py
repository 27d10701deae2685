"""The workload of a run, apart from its arrivals: the fields that must agree before two runs may be compared."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import UsageError, did_you_mean
from bench.core.seeds import Stream, generator
from bench.core.types import Floats
from bench.core.units import format_number, format_rate, format_seconds
from bench.workload.due_times import MAX_REQUESTS, MOST_USERS, OpenLoop

PROTOCOLS: Final = ("rest", "grpc", "both")
TRANSPORTS: Final = {
    "rest": ("fast", "requests"),
    "grpc": ("fast", "grpcio"),
    "both": ("fast", "fast+grpcio", "requests+grpcio"),
}
MOST_SECONDS: Final = 100_000_000
"""Three years: more than any run, and few enough for charts by the second."""
MOST_SENTENCES: Final = (1 << 16) - 1
"""Sentences per request: as many as its record has room for."""
MOST_CHANNELS: Final = 1000
"""gRPC connections of a process."""
MOST_REPEATS: Final = 10_000
"""Runs of one command under one load."""
MOST_SEED: Final = (1 << 63) - 1
"""What files can store."""
SIGNATURES: Final = ("score", "serving_default")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is sent, how it is checked, and for how long.

    Args:
        protocol: `rest`, `grpc`, or `both` (the two alternate on one schedule, with the same inputs).
        transport: the client: `fast`, or the usual library, `requests` for REST and `grpcio` for gRPC; for both
            protocols the two joined by a plus, unless both are fast.
        signature: the model's signature, `score` or `serving_default` (or another's name).
        sentences: sentences per request, 1 to 65,535.
        model_name: the model's name on the server.
        model_digest: digest of the checkpoint of the golden answers, `sha256:...`.
        sentences_digest: digest of the golden file, thus of the sentences sent, `sha256:...`.
        precision: precision of the export, as in the golden file.
        padded: whether sentences are padded to a fixed length, as in the article.
        check_share: share of the answers that are compared with the golden ones, 0 to 1.
        timeout: seconds from the send until a request counts as `timeout`.
        users: most requests in flight, over all workers, 1 to `MOST_USERS`.
        duration: seconds measured, warm-up left out.
        warmup: seconds of load before the measured part; its requests are recorded and marked.
        drain: seconds given to requests in flight at the end.
        seed: random seed of all choices, 0 or more.
        channels: gRPC connections per worker.
        compressed: whether REST bodies are sent gzipped.
        tls: whether connections are encrypted.
        scenario: name of the scenario.
    """

    protocol: str
    transport: str
    signature: str
    sentences: int = 1
    model_name: str = "bert"
    model_digest: str = ""
    sentences_digest: str = ""
    precision: str = "float32"
    padded: bool = False
    check_share: float = 1.0
    timeout: float = 30.0
    users: int
    duration: float
    warmup: float = 0.0
    drain: float = 30.0
    seed: int = 0
    channels: int = 1
    compressed: bool = False
    tls: bool = False
    scenario: str = ""

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise UsageError(f"protocol must be one of {', '.join(PROTOCOLS)}, not {self.protocol!r}")
        if self.transport not in TRANSPORTS[self.protocol]:
            known = " or ".join(TRANSPORTS[self.protocol])
            near = did_you_mean(self.transport, TRANSPORTS[self.protocol])
            raise UsageError(f"transport of {self.protocol} must be {known}, not {self.transport!r}{near}")
        if not self.signature:
            raise UsageError(f"signature is empty; give {' or '.join(SIGNATURES)}")
        for name, most in (("sentences", MOST_SENTENCES), ("users", MOST_USERS), ("channels", MOST_CHANNELS)):
            if not 1 <= getattr(self, name) <= most:
                raise UsageError(f"{name} must be 1 or more and at most {most:,}, not {getattr(self, name)}")
        for name in ("timeout", "duration"):
            if not 0 < getattr(self, name) <= MOST_SECONDS:
                raise UsageError(f"{name} must be above 0 and at most {MOST_SECONDS} s, not {getattr(self, name)}")
        for name in ("warmup", "drain"):
            if not 0 <= getattr(self, name) <= MOST_SECONDS:
                raise UsageError(f"{name} must be 0 to {MOST_SECONDS} s, not {getattr(self, name)}")
        if not 0 <= self.seed <= MOST_SEED:
            raise UsageError(f"seed must be 0 or more and at most {MOST_SEED}, not {self.seed}")
        if not 0 <= self.check_share <= 1:
            raise UsageError(f"check share must lie between 0 and 1, not {self.check_share}")

    @property
    def clients(self) -> dict[str, str]:
        """The client of each protocol."""
        rest, _, grpc = self.transport.partition("+")
        return {name: grpc or rest if name == "grpc" else rest for name in self.protocols}

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocols in use, `rest` and `grpc`; a job's `protocol_index` is an index into them."""
        return ("rest", "grpc") if self.protocol == "both" else (self.protocol,)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The due times of a whole run.

    Args:
        due: seconds since the run began, float64 `[N]`, sorted: the warm-up's, then the measured ones.
        warmup: number of requests of the warm-up, which come first.
        begins: when the measured part begins, seconds.
        ends: when it ends; no request is due at or after this.
    """

    due: Floats
    warmup: int
    begins: float
    ends: float


def run_schedule(arrivals: OpenLoop, workload: Workload) -> Schedule:
    """Warm-up at the arrivals' initial rate (their mean if that is 0), then the arrivals, shifted.

    The measured part is the same with and without a warm-up. A worker `i` of `n` takes `due[i::n]`.

    Raises:
        UsageError: no request is due, or more than `MAX_REQUESTS`, in the measured part or in the warm-up.
    """
    measured = arrivals.due_times(workload.duration, workload.seed) + workload.warmup
    if not workload.warmup:
        return Schedule(measured, 0, 0.0, workload.duration)
    rate = float(arrivals.rate_at(np.zeros(1), workload.duration)[0])
    rate = rate or arrivals.expected_requests(workload.duration) / workload.duration
    # Even, so that a short warm-up cannot be empty by chance; the offset separates it from the first measured request.
    count = math.floor(rate * workload.warmup + 0.5)
    if count > MAX_REQUESTS:
        raise UsageError(
            f"a warm-up of {format_seconds(workload.warmup)} at {format_rate(rate)} has {format_number(count)} "
            f"requests, the limit is {MAX_REQUESTS:,}; take a shorter warm-up or a lower rate"
        )
    warm = (np.arange(count) + 0.5) / rate
    warm = warm[warm < workload.warmup]
    return Schedule(np.concatenate((warm, measured)), warm.size, workload.warmup, workload.warmup + workload.duration)


def sentence_order(seed: int, requests: int, sentences: int) -> NDArray[np.int64]:
    """The first sentence of each request, uniform over the golden file, int64 `[requests]`."""
    return generator(seed, Stream.SENTENCES).integers(0, sentences, requests)


def checked_requests(seed: int, requests: int, share: float) -> NDArray[np.bool_]:
    """Whether each request's answer is checked, bool `[requests]`; about `share` of them, all for 1, none for 0."""
    return np.asarray(generator(seed, Stream.CHECKS).random(requests) < share)
