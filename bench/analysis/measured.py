"""The measured part of a run in memory: records sorted by due time, without those of the warm-up.

Ten million requests take about 0.6 GB here.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import UsageError
from bench.core.types import Floats
from bench.results.blocks import NO_BYTES, OUTCOME_CODES, PROTOCOL_CODES, WRONG_KIND_CODES
from bench.results.parquet import Columns
from bench.results.records import Outcome
from bench.results.run_reader import Run
from bench.workload.due_times import UNAVAILABLE_PAUSE, ClosedLoop

_COLUMNS: Final = ("due", "sent", "done", "outcome", "wrong_kind", "checked", "protocol", "words")
_WARMUP_MOMENTS: Final = 20
_SUMMED: Final = ("bytes_out", "bytes_in", "build", "parse")


@dataclass(frozen=True, slots=True)
class WarmupInFlight:
    """Requests of the warm-up that were in flight when the measured part began.

    Args:
        sent: seconds, float64 `[M]`.
        done: seconds, after the start of the measured part.
        ok: whether each was successful.
        protocol: number of `PROTOCOL_CODES`.
        words: words scored.
    """

    sent: Floats
    done: Floats
    ok: NDArray[np.bool_]
    protocol: NDArray[np.uint8]
    words: NDArray[np.uint32]

    @classmethod
    def none(cls) -> "WarmupInFlight":
        """No request."""
        times = np.empty(0, np.float64)
        return cls(times, times, np.empty(0, np.bool_), np.empty(0, np.uint8), np.empty(0, np.uint32))

    def select(self, where: NDArray[np.bool_]) -> "WarmupInFlight":
        """Those at `where`."""
        return WarmupInFlight(*(getattr(self, name)[where] for name in self.__slots__))


@dataclass(frozen=True)
class Measured:
    """Requests that were due in the measured part of a run, sorted by `due`.

    Args:
        begins: start of the measured part, seconds since the start of the run.
        ends: its end; of a run that did not finish, the last known time.
        due: seconds, float64 `[N]`.
        sent: seconds, NaN where never.
        done: seconds, NaN where never.
        outcome: number of `OUTCOME_CODES`.
        wrong_kind: number of `WRONG_KIND_CODES`.
        checked: whether the answer was compared with the golden one.
        protocol: number of `PROTOCOL_CODES`.
        words: words scored.
        means: means of `bytes_out`, `bytes_in`, `build` and `parse` over the requests that have them.
        warmup: requests of the warm-up, by outcome.
        warmup_checked: answers of the warm-up that were compared.
        warmup_in_flight: those of them that were in flight when the measured part began.
        warmup_free: in closed loop, when the users that a request of the warm-up kept from sending as the measured part
            began could send again, seconds, `[W]`.
        warmup_open: requests due and not answered at so many equal steps of the warm-up, from the start of the run,
            float64 `[W]`; empty without a warm-up.
        latest: the last known time of the run, at least `ends`, seconds.
    """

    begins: float
    ends: float
    due: Floats
    sent: Floats
    done: Floats
    outcome: NDArray[np.uint8]
    wrong_kind: NDArray[np.uint8]
    checked: NDArray[np.bool_]
    protocol: NDArray[np.uint8]
    words: NDArray[np.uint32]
    means: dict[str, float] = field(default_factory=dict)
    warmup: dict[str, int] = field(default_factory=dict)
    warmup_checked: int = 0
    warmup_in_flight: WarmupInFlight = field(default_factory=WarmupInFlight.none)
    warmup_free: Floats = field(default_factory=lambda: np.empty(0))
    warmup_open: Floats = field(default_factory=lambda: np.empty(0))
    latest: float = 0.0

    @property
    def seconds(self) -> float:
        """Length of the measured part."""
        return self.ends - self.begins

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Which requests were successful."""
        return np.asarray(self.outcome == OUTCOME_CODES[Outcome.OK])

    @property
    def answered(self) -> Floats:
        """When the successful requests were done, seconds, `[A]`, those of the warm-up too.

        Throughput counts completions within the measured part, whenever the request was due: requests that are in
        flight at its end are not counted.
        """
        return np.concatenate((self.warmup_in_flight.done[self.warmup_in_flight.ok], self.done[self.ok]))

    @property
    def sendings(self) -> Floats:
        """When requests were sent in the measured part, seconds, `[S]`, those of the warm-up too, as in `answered`."""
        warm = self.warmup_in_flight.sent
        return np.concatenate((warm[warm >= self.begins], self.sent[~np.isnan(self.sent)]))

    def counts(self) -> dict[str, int]:
        """Requests by outcome; their sum is the number of requests due."""
        return _count(self.outcome, OUTCOME_CODES)

    def wrong_kinds(self) -> dict[str, int]:
        """Wrong answers by kind."""
        found = _count(self.wrong_kind, {str(kind): code for kind, code in WRONG_KIND_CODES.items()})
        return {kind: count for kind, count in found.items() if kind != str(None) and count}

    def protocols(self) -> dict[str, "Measured"]:
        """The requests of each protocol, if there is more than one."""
        present = {name: code for name, code in PROTOCOL_CODES.items() if (self.protocol == code).any()}
        return {name: self._of(code) for name, code in present.items()} if len(present) > 1 else {}

    def before(self, moment: float) -> "Measured":
        """The requests that were due before `moment`, as if the measured part had ended there; without `means`."""
        columns = {name: getattr(self, name)[: np.searchsorted(self.due, moment)] for name in _COLUMNS}
        ends = min(max(moment, self.begins), self.ends)
        kept = {name: getattr(self, name) for name in ("warmup", "warmup_checked", "warmup_in_flight", "warmup_free")}
        return Measured(self.begins, ends, **columns, **kept)

    def _of(self, protocol: int) -> "Measured":
        where = self.protocol == protocol
        columns = {name: getattr(self, name)[where] for name in _COLUMNS}
        in_flight = self.warmup_in_flight
        in_flight = in_flight.select(in_flight.protocol == protocol)
        return Measured(self.begins, self.ends, **columns, warmup_in_flight=in_flight)


def load(run: Run) -> Measured:
    """Reads the records of a run.

    Raises:
        UsageError: the records cannot be read.
    """
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in _COLUMNS}
    sums = dict.fromkeys(_SUMMED, 0.0)
    known = dict.fromkeys(_SUMMED, 0)
    warm, warm_checked = np.zeros(len(OUTCOME_CODES), np.int64), 0
    in_flight, free = [WarmupInFlight.none()], [np.empty(0)]
    moments = np.linspace(0.0, run.begins, _WARMUP_MOMENTS if run.begins > 0 else 0, endpoint=False)
    warm_open = np.zeros(moments.size)
    latest = 0.0
    for batch in run.batches((*_COLUMNS, *_SUMMED, "warmup")):
        cold = ~batch["warmup"]
        warm += np.bincount(batch["outcome"][batch["warmup"]], minlength=warm.size)
        warm_checked += int(batch["checked"][batch["warmup"]].astype(np.bool_).sum())
        in_flight.append(_warmup_in_flight(batch, run.begins))
        free.append(_warmup_free(batch, run))
        warm_open += _warmup_open(batch, moments)
        latest = max(latest, *(float(np.fmax.reduce(batch[name], initial=0.0)) for name in ("due", "done")))
        for name in _COLUMNS:
            parts[name].append(batch[name][cold])
        for name in _SUMMED:
            values = batch[name][cold]
            there = values != NO_BYTES if name.startswith("bytes") else ~np.isnan(values)
            sums[name] += float(values[there].sum(dtype=np.float64))
            known[name] += int(there.sum())
    columns: dict[str, NDArray[Any]] = {}
    order: NDArray[np.int64] | None = None
    for name in _COLUMNS:
        # One column at a time limits the memory for copies to one column.
        pieces = parts.pop(name)
        column = np.concatenate(pieces) if pieces else np.empty(0, np.float64 if name in _COLUMNS[:3] else np.uint8)
        if order is None:
            order = np.argsort(column, kind="stable")
        columns[name] = column[order]
    columns["checked"] = columns["checked"].astype(np.bool_)
    begins, ends = _window(run, columns)
    if columns["due"].size and columns["due"][0] < begins:
        raise UsageError(
            f"{run.path} has a measured request that was due {columns['due'][0]:g} s after the start, before the "
            f"measured part, which begins after {begins:g} s; restore the folder or run again"
        )
    means = {name: sums[name] / known[name] for name in _SUMMED if known[name]}
    warmup = {str(name): int(warm[code]) for name, code in OUTCOME_CODES.items()}
    joined = {name: np.concatenate([getattr(part, name) for part in in_flight]) for name in WarmupInFlight.__slots__}
    return Measured(
        begins,
        ends,
        **columns,
        means=means,
        warmup=warmup,
        warmup_checked=warm_checked,
        warmup_in_flight=WarmupInFlight(**joined),
        warmup_free=np.concatenate(free),
        warmup_open=warm_open,
        latest=max(latest, ends),
    )


def _warmup_in_flight(batch: Columns, begins: float) -> WarmupInFlight:
    """Requests of the warm-up in `batch` that were done after `begins`."""
    late = batch["warmup"] & (batch["done"] > begins) & ~np.isnan(batch["sent"])
    ok = batch["outcome"] == OUTCOME_CODES[Outcome.OK]
    return WarmupInFlight(batch["sent"], batch["done"], ok, batch["protocol"], batch["words"]).select(late)


def free_again(done: Floats, outcome: NDArray[np.uint8], think: float) -> Floats:
    """When the users of a closed loop can send again after requests that were `done`, seconds, `[N]`."""
    refused = outcome == OUTCOME_CODES[Outcome.UNAVAILABLE]
    return np.asarray(done + np.where(refused, max(think, UNAVAILABLE_PAUSE), think))


def _warmup_free(batch: Columns, run: Run) -> Floats:
    """When the users of requests of the warm-up in `batch` could send again, if that was in the measured part."""
    arrivals = run.manifest.stored_arrivals
    if not isinstance(arrivals, ClosedLoop):
        return np.empty(0)
    there = batch["warmup"] & ~np.isnan(batch["sent"])
    free = free_again(batch["done"][there], batch["outcome"][there], arrivals.think)
    return np.asarray(free[free > run.begins])


def _warmup_open(batch: Columns, moments: Floats) -> Floats:
    """Requests of the warm-up in `batch` that are due and not answered at `moments`."""
    went = batch["warmup"] & ~np.isnan(batch["sent"])
    begun, ended = (np.searchsorted(np.sort(batch[name][went]), moments, side="right") for name in ("due", "done"))
    return (begun - ended).astype(np.float64)


def _window(run: Run, columns: dict[str, NDArray[Any]]) -> tuple[float, float]:
    """Start and end of the measured part."""
    workload = run.manifest.workload
    begins, ends = run.begins, workload.warmup + workload.duration
    if run.file.interrupted and run.file.elapsed is not None:
        ends = min(ends, run.file.elapsed)
    elif not run.finished:
        ends = min(ends, float(np.fmax.reduce(columns["done"], initial=begins)))
    return begins, max(ends, begins)


def _count(codes: NDArray[np.uint8], names: dict[str, int]) -> dict[str, int]:
    counts = np.bincount(codes, minlength=len(names))
    return {str(name): int(counts[code]) for name, code in names.items()}
