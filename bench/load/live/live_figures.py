"""The figures of a run while it is in progress, from the record blocks and samples that the workers send each second.

Nothing else travels. The records of a second at the ceiling, 4,700 of them, are counted here in 1 ms; three
HdrHistograms that a worker fills and encodes would take the sending process 15 ms (`docs/validation/load.md`).
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.core.types import Floats
from bench.load.live.latency_histogram import LatencyBatches, LatencyHistogram
from bench.load.live.objectives_so_far import MeasuredSoFar, objectives_so_far
from bench.load.live.second_table import SecondBatches, SecondTable
from bench.load.live.snapshot import Phase, SecondFigures, Snapshot
from bench.objectives.grammar import Objective
from bench.results.blocks import OUTCOME_CODES, WRONG_KIND_CODES
from bench.results.records import Outcome
from bench.results.samples import ClientSample
from bench.stats.estimate import Estimate
from bench.stats.percentiles import PERCENTILES

KEPT_SECONDS: Final = 600
"""Seconds whose own percentiles are known: the newest."""
HISTORY_SECONDS: Final = 4 * 3600
"""Seconds whose own counts are known: the newest, at least."""
CLOCKS: Final = ("from_due", "from_send", "start_delay")

_OUTCOMES: Final = tuple(map(str, OUTCOME_CODES))
_KINDS: Final = tuple(str(kind) for kind in WRONG_KIND_CODES if kind is not None)
_WARMUP: Final = tuple(f"warmup_{name}" for name in _OUTCOMES)
_COLUMNS: Final = ("due", "sent", "done", "ended", *_OUTCOMES, *_WARMUP, *_KINDS)
# Of the measured part, by when the requests ended; those of the warm-up end there too.
_MEASURED_OK, _MEASURED_FAILED, _MEASURED_WARMUP = range(3)


@dataclass(frozen=True, slots=True)
class LivePlan:
    """What is known of a run before it begins.

    Args:
        begins: start of the measured part, seconds since the run began.
        ends: its end.
        due: due times of all requests, seconds, ascending, float64 `[N]`; None in closed loop.
        objectives: what the run is held to.
    """

    begins: float
    ends: float
    due: Floats | None = None
    objectives: tuple[Objective, ...] = ()


class LiveFigures:
    """Figures by second and so far, of one worker or of several.

    A request belongs to the second in which it was due for its latencies, and to the one in which it ended for its
    outcome, as in `timeseries.csv`.

    Args:
        plan: the run.
        workers: the workers whose reports are awaited.
    """

    def __init__(self, plan: LivePlan, workers: Collection[int]) -> None:
        self.plan = plan
        self._reported = dict.fromkeys(workers, 0.0)
        self._ended: set[int] = set()
        self._table = SecondTable(_COLUMNS, HISTORY_SECONDS)
        self._measured_counts = SecondBatches(int(np.ceil(plan.begins)), 3)
        self._batches = {clock: LatencyBatches() for clock in CLOCKS}
        self._newest: dict[str, dict[int, LatencyHistogram]] = {clock: {} for clock in CLOCKS}
        self._samples: dict[int, dict[int, ClientSample]] = defaultdict(dict)
        self.stopped_at: float | None = None

    def add_block(self, rows: NDArray[Any]) -> None:
        """Adds records, structured array of `bench.results.blocks.ROW`."""
        due, sent, done = rows["due"], rows["sent"], rows["done"]
        outcome, warmup = rows["outcome"].astype(np.int64), rows["warmup"].astype(np.bool_)
        went = ~np.isnan(sent)
        due_second = due.astype(np.int64)
        end_second = np.where(went, done, due).astype(np.int64)
        self._table.add("due", due_second)
        self._table.add("sent", sent[went].astype(np.int64))
        self._table.add("done", end_second[went])
        self._table.add("ended", end_second)
        self._table.add(_OUTCOMES[0], end_second, outcome + len(_OUTCOMES) * warmup)
        wrong = rows["wrong_kind"] > 0
        if wrong.any():
            self._table.add(_KINDS[0], end_second[wrong], rows["wrong_kind"][wrong].astype(np.int64) - 1)
        ok = outcome == OUTCOME_CODES[Outcome.OK]
        for column, where in (
            (_MEASURED_OK, ok & ~warmup),
            (_MEASURED_FAILED, ~ok & ~warmup),
            (_MEASURED_WARMUP, ok & warmup),
        ):
            self._measured_counts.add(column, end_second[where])
        self._add_latencies("from_due", due_second[ok], (done - due)[ok], warmup[ok])
        self._add_latencies("from_send", due_second[ok], (done - sent)[ok], warmup[ok])
        self._add_latencies("start_delay", due_second[went], (sent - due)[went], warmup[went])

    def add_sample(self, sample: ClientSample) -> None:
        """Adds what a worker measured of itself; all its records of requests that had ended have come before."""
        self._samples[int(sample.time + 0.5)][sample.worker] = sample
        for second in [second for second in self._samples if second < sample.time - KEPT_SECONDS]:
            del self._samples[second]
        self._reported[sample.worker] = sample.time

    def end(self, worker: int) -> None:
        """Notes that a worker has sent its last record, or is lost."""
        self._ended.add(worker)

    def stop(self, moment: float) -> None:
        """Notes that the run was stopped early: nothing is due from then on."""
        if self.stopped_at is None:
            self.stopped_at = moment

    def end_load(self, moment: float) -> None:
        """Notes that nothing is due after `moment`, as if that had been planned."""
        due = None if self.plan.due is None else self.plan.due[self.plan.due <= moment]
        self.plan = replace(self.plan, ends=moment, due=due)

    def merge(self, other: "LiveFigures") -> None:
        """Adds the figures of other workers of the same run."""
        self._reported |= other._reported
        self._ended |= other._ended
        self._table.merge(other._table)
        self._measured_counts.merge(other._measured_counts)
        for clock in CLOCKS:
            self._batches[clock].merge(other._batches[clock])
            for second, histogram in other._newest[clock].items():
                self._keep(clock, second, histogram)
        for second, samples in other._samples.items():
            self._samples[second] |= samples

    @property
    def complete(self) -> int:
        """Number of seconds, from the start, of which every worker has reported what ended in them."""
        waiting = [moment for worker, moment in self._reported.items() if worker not in self._ended]
        # A worker reports at a whole second or a little later.
        return int(min(waiting, default=float(self._table.length)))

    @property
    def requests(self) -> Mapping[str, int]:
        """Requests that have ended, by outcome, those of the warm-up too: the counts of `run.json`."""
        return {name: self._table.total(name) + self._table.total(f"warmup_{name}") for name in _OUTCOMES}

    @property
    def warmup_requests(self) -> Mapping[str, int]:
        """Requests of the warm-up that have ended, by outcome."""
        return {name: self._table.total(f"warmup_{name}") for name in _OUTCOMES}

    @property
    def wrong_kinds(self) -> Mapping[str, int]:
        """Wrong answers by kind, those of the warm-up too."""
        return {name: self._table.total(name) for name in _KINDS}

    def latencies(self, clock: str) -> LatencyHistogram:
        """Latencies of the measured part so far; `clock` is one of `CLOCKS`."""
        return self._batches[clock].histogram

    def estimates(self, clock: str) -> list[Estimate]:
        """Percentiles of the measured part so far, with intervals; `clock` is one of `CLOCKS`."""
        return self._batches[clock].estimates(clock)

    def due_by(self, moment: float) -> int | None:
        """Requests that were due by then; None in closed loop."""
        if self.plan.due is None:
            return None
        if self.stopped_at is not None:
            moment = min(moment, self.stopped_at)
        return int(np.searchsorted(self.plan.due, moment, side="right"))

    @property
    def since(self) -> int:
        """The first second whose own counts are known."""
        return self._table.first

    def ended(self, begins: int, ends: int) -> NDArray[np.int64]:
        """Requests that ended in each of the seconds from `begins`, `since` or later, to before `ends`."""
        return self._table.column("ended", begins, ends)

    def backlog(self, begins: int, ends: int) -> NDArray[np.int64] | None:
        """Requests due and not ended at the end of each of these seconds, as in `ended`; None in closed loop."""
        if self.plan.due is None:
            return None
        moments = np.arange(begins, ends) + 1.0
        if self.stopped_at is not None:
            moments = np.minimum(moments, self.stopped_at)
        due = np.searchsorted(self.plan.due, moments, side="right")
        return np.maximum(due - self._table.before("ended", begins) - np.cumsum(self.ended(begins, ends)), 0)

    def second(self, second: int) -> SecondFigures:
        """The figures of one second, 0 or more."""
        counts = {name: int(self._table.column(name, second, second + 1)[0]) for name in _COLUMNS}
        backlog = self.backlog(second, second + 1)
        return SecondFigures(
            second=second,
            warmup=second < self.plan.begins,
            due=counts["due"] if self.plan.due is None else (self.due_by(second + 1) or 0) - (self.due_by(second) or 0),
            sent=counts["sent"],
            done=counts["done"],
            outcomes={name: counts[name] + counts[f"warmup_{name}"] for name in _OUTCOMES},
            wrong_kinds={name: counts[name] for name in _KINDS},
            open=None if backlog is None else int(backlog[0]),
            in_flight=self._summed(second + 1, "in_flight"),
            waiting=self._summed(second + 1, "waiting"),
            users=self._summed(second + 1, "users"),
            from_due=self._percentiles("from_due", second),
            from_send=self._percentiles("from_send", second),
            start_delay=self._percentiles("start_delay", second),
        )

    def snapshot(self, seconds: int = 1) -> Snapshot:
        """The figures so far.

        Args:
            seconds: how many of the newest complete seconds it has one by one.
        """
        complete = self.complete
        loaded = self.plan.ends if self.stopped_at is None else min(self.stopped_at, self.plan.ends)
        first, last = int(np.ceil(self.plan.begins)), min(complete, int(loaded))
        measured = self._measured(first, last) if last > first else None
        return Snapshot(
            time=complete,
            begins=self.plan.begins,
            ends=self.plan.ends,
            phase=self._phase(complete),
            requests=self.requests,
            warmup_requests=self.warmup_requests,
            wrong_kinds=self.wrong_kinds,
            throughput=None if measured is None else (measured.ok + self._answered_warmup(last)) / measured.seconds,
            estimates=tuple(entry for clock in CLOCKS for entry in self.estimates(clock)),
            newest=tuple(self.second(each) for each in range(max(complete - seconds, 0), complete)),
            objectives=() if measured is None else objectives_so_far(self.plan.objectives, measured),
        )

    def _measured(self, first: int, last: int) -> MeasuredSoFar:
        """The measured part, of which the seconds from `first` to before `last` are complete."""
        counts, seconds = self._measured_counts, last - first
        newest = {name: int(self._table.column(name, last).sum()) for name in _OUTCOMES}
        newest_ok = newest.pop(Outcome.OK)
        backlog = self.backlog(last - 1, last)
        return MeasuredSoFar(
            latencies=self._batches,
            seconds=seconds,
            ok=counts.total(_MEASURED_OK) - newest_ok,
            failed=counts.total(_MEASURED_FAILED) - sum(newest.values()),
            batch_seconds=counts.seconds,
            ok_batches=counts.complete(_MEASURED_OK, seconds),
            failed_batches=counts.complete(_MEASURED_FAILED, seconds),
            wrong=self._table.total(Outcome.WRONG_ANSWER),
            warmup=sum(self.warmup_requests.values()),
            warmup_wrong=self.warmup_requests[Outcome.WRONG_ANSWER],
            open=0 if backlog is None else int(backlog[0]),
        )

    def _answered_warmup(self, last: int) -> int:
        """Successful requests of the warm-up that ended in the measured part before the second `last`."""
        return self._measured_counts.total(_MEASURED_WARMUP) - int(self._table.column("warmup_ok", last).sum())

    def _phase(self, complete: int) -> Phase:
        if self._ended >= self._reported.keys():
            return Phase.ENDED
        if complete < self.plan.begins:
            return Phase.WARMUP
        return Phase.MEASURED if complete < self.plan.ends and self.stopped_at is None else Phase.DRAIN

    def _add_latencies(self, clock: str, second: NDArray[np.int64], latency: Floats, warmup: NDArray[np.bool_]) -> None:
        for where in (warmup, ~warmup):
            if not where.any():
                continue
            for each, histogram in LatencyHistogram.by_second(second[where], latency[where]).items():
                if where is not warmup:
                    self._batches[clock].add(each, histogram)
                self._keep(clock, each, histogram)

    def _keep(self, clock: str, second: int, histogram: LatencyHistogram) -> None:
        newest = self._newest[clock]
        former = newest.get(second)
        newest[second] = histogram if former is None else former + histogram
        if len(newest) > KEPT_SECONDS:
            del newest[min(newest)]

    def _percentiles(self, clock: str, second: int) -> dict[str, float]:
        histogram = self._newest[clock].get(second)
        if histogram is None:
            return {}
        found = {name: histogram.percentile(fraction) for name, fraction in PERCENTILES.items()}
        return {name: value for name, value in found.items() if value is not None}

    def _summed(self, second: int, name: str) -> float | None:
        """A sample's field at the end of a second, over all workers; None if none has it."""
        values = [getattr(sample, name) for sample in self._samples.get(second, {}).values()]
        known = [value for value in values if value is not None]
        return sum(known) if known else None
