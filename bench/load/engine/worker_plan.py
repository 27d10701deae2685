"""What a load-generating process needs before a run, in one message."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from bench.core.errors import UsageError
from bench.load.engine.jobs import ScheduleShard
from bench.load.transports.endpoint import Endpoint
from bench.serving.headers import Headers
from bench.workload.trace_context import TraceContexts
from bench.workload.workload import Workload


@dataclass(frozen=True)
class WorkerPlan:
    """One process's part of a run.

    Args:
        run: name of the run, which distinguishes its messages from late ones of another.
        worker: index of the process.
        golden: bytes of the golden file; a worker needs no model folder.
        workload: what is sent.
        endpoint: the server.
        shard: its part of the schedule; None in closed loop.
        think: closed loop: seconds between an answer and the next request; None in open loop.
        begins: when the measured part begins, seconds since the run began.
        ends: when it ends.
        trace_share: share of the requests that have a trace context.
        users: the most that it runs.
        stop_seconds: how long requests in flight may take when the run is stopped early.
    """

    run: str
    worker: int
    golden: bytes
    workload: Workload
    endpoint: Endpoint
    shard: ScheduleShard | None
    think: float | None
    begins: float
    ends: float
    trace_share: float = 0.0
    users: int = 1
    stop_seconds: float = 10.0

    @property
    def connections(self) -> int:
        """The most that it has to one server at a time: one a user for REST, few that users share for gRPC."""
        protocols = self.workload.protocols
        return self.users * ("rest" in protocols) + self.endpoint.channels * ("grpc" in protocols)

    @property
    def traces(self) -> TraceContexts | None:
        """The run's trace contexts; None without."""
        return TraceContexts(self.run, self.trace_share) if self.trace_share else None

    def to_message(self) -> dict[str, Any]:
        """The plan in the types that Locust's messages carry: numbers, texts, bytes, lists and dicts.

        It holds the values of the headers, and goes to the process that sends them only.
        """
        message: dict[str, Any] = msgspec.to_builtins(self, builtin_types=(bytes,), enc_hook=_encoded)
        return message

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> "WorkerPlan":
        """The plan in a message of `to_message`.

        Raises:
            UsageError: certificate files that are not on this machine, or a plan of another version of bertbench.
        """
        try:
            return msgspec.convert(message, cls, dec_hook=lambda kind, value: kind(value))
        except msgspec.ValidationError as error:
            raise UsageError(
                f"cannot read the master's plan ({error}); run the same version of bertbench on all machines"
            ) from error


def _encoded(value: Any) -> Any:
    """Encodes what msgspec has no type for."""
    return value.revealed() if isinstance(value, Headers) else str(value)
