"""What each worker of a run has recorded so far, and what of a lost worker's shard is left without a record."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.units import format_seconds
from bench.load.engine.jobs import ScheduledJobs, Unrecorded
from bench.load.engine.payloads import Payload
from bench.load.engine.recorder import Recorder
from bench.load.engine.worker_plan import WorkerPlan
from bench.results.blocks import Block, RecordBuffer
from bench.results.failures import FailureText, joined
from bench.results.records import Outcome
from bench.serving.errors import Lack


@dataclass(frozen=True, slots=True)
class Loss:
    """A worker that ended before the run did.

    Args:
        heard: when its last report came, seconds since the run began.
        announced: whether that report was its last one and said so, so that it has sent nothing more.
    """

    heard: float
    announced: bool


class WorkerAccounts:
    """The accounts of a run's workers.

    Args:
        plans: the workers' plans.
        payloads: the run's requests.

    Attributes:
        lost: the lost workers.
        lacks: how many requests of each worker failed so far because its machine lacked something, by what.
        failures: the texts of the errors of each worker's failed requests so far.
    """

    def __init__(self, plans: Sequence[WorkerPlan], payloads: Sequence[Payload]) -> None:
        self._plans = {plan.worker: plan for plan in plans}
        self._payloads = payloads
        self._unrecorded = {plan.worker: Unrecorded(plan.shard) for plan in plans if plan.shard is not None}
        self._blocks = dict.fromkeys(self._plans, 0)
        self.lost: dict[int, Loss] = {}
        self.lacks: dict[int, Mapping[str, int]] = {}
        self.failures: dict[int, Sequence[FailureText]] = {}

    def hear(self, message: Mapping[str, Any]) -> None:
        """Takes what a worker's report has beside its records; see `WorkerSession`."""
        worker = message["worker"]
        self.lacks[worker] = message["lacks"]
        self.failures[worker] = [FailureText(Outcome(name), text, count) for name, text, count in message["failures"]]
        if (loss := self.lost.get(worker)) is not None:
            self.lost[worker] = replace(loss, announced=message["over"])

    def add(self, block: Block) -> None:
        """Takes the records of a block that was stored."""
        self._blocks[block.worker] = block.sequence + 1
        if (unrecorded := self._unrecorded.get(block.worker)) is not None:
            unrecorded.take_out(block.rows["due"])

    def all_lacks(self) -> dict[Lack, int]:
        """Requests of all workers that failed because their machine lacked something."""
        total: Counter[Lack] = Counter()
        for lacks in self.lacks.values():
            total.update({Lack(name): count for name, count in lacks.items()})
        return dict(total)

    def all_failures(self) -> tuple[FailureText, ...]:
        """The texts of the errors of all workers' failed requests."""
        return joined(self.failures.values())

    def expected(self) -> NDArray[np.float64] | None:
        """When requests are due, sorted, without those that lost workers have not recorded; None in closed loop."""
        if not self._unrecorded:
            return None
        parts = []
        for worker, unrecorded in self._unrecorded.items():
            parts.append(unrecorded.due[~unrecorded.requests] if worker in self.lost else unrecorded.due)
        return np.sort(np.concatenate(parts))

    def settle(self, worker: int, until: float) -> tuple[str, bytes]:
        """Accounts for a lost worker, from which nothing more is taken.

        Args:
            worker: its index.
            until: when the load ended, seconds since the run began; what was due later counts nowhere.

        Returns:
            One line on it, and a block of dropped requests: those of its shard without a record. b"" if there are none.
        """
        plan, loss = self._plans[worker], self.lost[worker]
        text = f"worker {worker} was lost {format_seconds(loss.heard)} into the run"
        if plan.shard is None:
            return text, b""
        buffer = RecordBuffer(worker, self._blocks[worker])
        workload = plan.workload
        recorder = Recorder(buffer, self._payloads, workload.protocols, workload.signature, plan.begins)
        for job in ScheduledJobs(plan.shard.only(self._unrecorded[worker].requests)).left(until):
            recorder.drop(job)
        dropped = len(buffer)
        text += f": {dropped:,} of its requests {'counts' if dropped == 1 else 'count'} as dropped"
        if not loss.announced:
            text += "; those of its last second may have been sent"
        return text, recorder.take()
