"""Turns the ends of requests into records."""

from collections.abc import Sequence

from bench.load.engine.jobs import Job
from bench.load.engine.payloads import Payload
from bench.results.blocks import RecordBuffer
from bench.results.records import Ended, Outcome, RequestShape


class Recorder:
    """Adds records of jobs to a buffer.

    Args:
        records: the buffer.
        payloads: the run's requests.
        protocols: its protocols, which a job's `protocol_index` counts into.
        signature: the requested signature.
        begins: requests due before this belong to the warm-up, seconds since the run began.
    """

    def __init__(
        self,
        records: RecordBuffer,
        payloads: Sequence[Payload],
        protocols: Sequence[str],
        signature: str,
        begins: float,
    ) -> None:
        self._records = records
        self._begins = begins
        self._requests = [[_shape(payload, protocol, signature) for payload in payloads] for protocol in protocols]
        self._shapes = [[records.shape(shape) for shape in shapes] for shapes in self._requests]

    def add(self, job: Job, ended: Ended) -> None:
        """Adds the record of a job that was sent."""
        self._records.append(ended, self._shapes[job.protocol_index][job.request], ended.due < self._begins)

    def drop(self, job: Job) -> Ended:
        """Adds the record of a job that was due and never sent, and returns its end."""
        ended = Ended(job.due, None, None, Outcome.DROPPED)
        unsent = self._records.shape(self._requests[job.protocol_index][job.request]._replace(bytes_out=None))
        self._records.append(ended, unsent, job.due < self._begins)
        return ended

    def take(self) -> bytes:
        """The records since the last call, as one block."""
        return self._records.take()


def _shape(payload: Payload, protocol: str, signature: str) -> RequestShape:
    size = len(payload.rest if protocol == "rest" else payload.grpc)
    counts = payload.sentences, payload.words, payload.rows, payload.tokens
    return RequestShape(protocol, signature, payload.index, *counts, size)
