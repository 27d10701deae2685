"""What a load-generating process is told before a run: one message, plain values, everything in it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.load.engine.schedule import ScheduleShard
from bench.load.transports.endpoint import Endpoint
from bench.serving.tls import TlsOptions
from bench.workload.workload import Workload


@dataclass(frozen=True)
class WorkerPlan:
    """One process's part of a run.

    Args:
        run: names the run, so that late messages of another are known.
        worker: index of the process.
        golden: bytes of the golden file; a worker needs no model folder.
        workload: what is sent.
        endpoint: where to.
        shard: its part of the schedule; None in closed loop.
        think: closed loop: seconds between an answer and the next request; None in open loop.
        begins: when the measured part begins, seconds since the run began.
        ends: when it ends.
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

    def to_message(self) -> dict[str, Any]:
        """Numbers, texts, bytes, lists and dicts, as Locust's messages carry them."""
        tls = self.endpoint.tls
        return {
            "run": self.run,
            "worker": self.worker,
            "golden": self.golden,
            "workload": self.workload.to_json(),
            "endpoint": {
                **asdict(self.endpoint),
                "tls": {name: str(path) for name, path in asdict(tls).items() if path} if tls else None,
            },
            "shard": asdict(self.shard) if self.shard else None,
            "think": self.think,
            "begins": self.begins,
            "ends": self.ends,
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> "WorkerPlan":
        """The plan in a message of `to_message`.

        Raises:
            UsageError: certificate files that are not on this machine.
        """
        endpoint = dict(message["endpoint"])
        if endpoint["tls"] is not None:
            endpoint["tls"] = TlsOptions(**{name: Path(path) for name, path in endpoint["tls"].items()})
        return cls(
            **{
                **message,
                "workload": Workload.from_json(message["workload"]),
                "endpoint": Endpoint(**endpoint),
                "shard": ScheduleShard(**message["shard"]) if message["shard"] else None,
            }
        )
