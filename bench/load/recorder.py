"""From what happened to one request to its record."""

from collections.abc import Sequence

from bench.load.jobs import Job
from bench.load.payloads import Payload
from bench.results.codec import RecordBuffer
from bench.results.records import Outcome, WrongKind


class Recorder:
    """Adds records of jobs to a buffer.

    Args:
        records: the buffer.
        payloads: the run's requests.
        protocols: its protocols, which a job's `turn` counts into.
        signature: the signature asked.
        begins: what is due before this belongs to the warm-up, seconds since the run began.
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
        self._payloads = payloads
        self._protocols = protocols
        self._signature = signature
        self._begins = begins

    def add(
        self,
        job: Job,
        sent: float | None,
        done: float | None,
        outcome: Outcome,
        kind: WrongKind | None = None,
        bytes_in: int | None = None,
        parse: float | None = None,
        version: int | None = None,
    ) -> None:
        """Adds the record of a job; see `bench.results.records.RequestRecord`."""
        protocol = self._protocols[job.turn]
        payload = self._payloads[job.request]
        went = sent is not None
        self._records.append(
            job.due,
            sent,
            done,
            outcome,
            kind,
            parse is not None,
            protocol,
            self._signature,
            payload.index,
            payload.sentences,
            payload.words,
            payload.rows,
            payload.tokens,
            len(payload.rest if protocol == "rest" else payload.grpc) if went else None,
            bytes_in,
            # Built before the run.
            0.0 if went else None,
            parse,
            version,
            job.due < self._begins,
        )

    def drop(self, job: Job) -> None:
        """Adds the record of a job that was due and never went."""
        self.add(job, None, None, Outcome.DROPPED)

    def take(self) -> bytes:
        """The records since the last call, as one block."""
        return self._records.take()
