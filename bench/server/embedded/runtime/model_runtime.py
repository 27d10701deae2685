"""Chooses the threads of a run by measurements during warm-up.

TensorFlow schedules a run's operations on the session's threads, which run several operations in parallel. An inline
run stays in the calling thread, and only the work inside an operation is distributed: in a small model the hand-overs
cost more than they gain. A deadline cannot stop an inline run midway. Only some threads may run models inline.
"""

import math
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from bench.core.cores import allowed_cores
from bench.server.embedded.base.status import Code, StatusError
from bench.server.embedded.runtime.inline_threads import inline_runs_allowed
from bench.server.embedded.runtime.session import TIMED_OUT, Feeds
from bench.server.embedded.runtime.tensors import Tensor

_CORES: Final = len(allowed_cores())
# One entry for each run in progress in this process.
_running: Final[list[None]] = []
# Seconds. With a run per core a short run gains nothing from more threads; in a longer one hand-overs are negligible.
_SHORT_RUN: Final = 0.01
# Seconds. Longer runs are not measured: they would delay the start, and stay where a deadline can stop them.
_LONGEST_TRIAL: Final = 0.05
# Requests whose numbers of elements differ by less than so many doublings count as similar.
_SIMILAR: Final = 2
# Trials of each kind: blocks, runs of a block, and how many of them count. The first run after one of the other kind
# finds the session's threads asleep, or still awake, as none does in service.
_BLOCKS: Final = 4
_BLOCK: Final = 5
_FROM: Final = 1
_LEAST_TRIALS: Final = 3
# Median inline, relative to that on the session's threads, up to which inline runs count as faster.
_CLEARLY: Final = 0.95

# Classes of runs that are remembered; a client may ask for outputs in any order.
_MAX_CLASSES: Final = 1000

_Key = tuple[tuple[str, ...], tuple[str, ...], int]


class Computation(Protocol):
    """Runs a graph; a Session."""

    def run(
        self, feeds: Feeds, fetches: Sequence[str], timeout_ms: int | None = None, inline: bool = False
    ) -> list[Tensor]: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class _RunClass:
    """Measurements of the runs with one set of tensors and about the same number of elements.

    Args:
        prefers_inline: whether inline runs were faster; None where that was not measured.
        last: seconds of the last run.
        least: seconds of the fastest run.
    """

    prefers_inline: bool | None = None
    last: float = math.inf
    least: float = math.inf

    def is_inline(self, crowded: bool, timeout_ms: int | None) -> bool:
        """Whether a run should be inline.

        Args:
            crowded: whether every core has a run already.
            timeout_ms: the run's timeout; only a much shorter run may be inline.
        """
        wanted = bool(self.prefers_inline) or (crowded and self.least < _SHORT_RUN)
        return wanted and (timeout_ms is None or self.last * 8000 < timeout_ms)


class ModelRuntime:
    """A loaded version. `run` may be called from any number of threads.

    Args:
        session: runs the graph; closed with this runtime.
    """

    def __init__(self, session: Computation) -> None:
        self._session = session
        self._classes: dict[_Key, _RunClass] = {}
        self._lock = threading.Lock()
        # One request of each class, until `settle`.
        self._seen: dict[_Key, tuple[Feeds, Sequence[str]]] | None = {}

    def run(self, feeds: Feeds, fetches: Sequence[str], timeout_ms: int | None = None) -> list[Tensor]:
        """Feeds tensors by name and fetches others.

        Args:
            feeds: tensor name (`x:0`) and value.
            fetches: tensor names.
            timeout_ms: the run's timeout; None for none.

        Raises:
            StatusError: the run fails.
        """
        key = (tuple([name for name, _ in feeds]), tuple(fetches), _magnitude(feeds))
        runs = self._classes.get(key) or self._new_class(key)
        if self._seen is not None:
            self._seen.setdefault(key, (feeds, fetches))
        inline = runs.is_inline(len(_running) >= _CORES, timeout_ms) and inline_runs_allowed()
        _running.append(None)
        started = time.perf_counter()
        try:
            outputs = self._session.run(feeds, fetches, timeout_ms, inline)
        finally:
            _running.pop()
            runs.last = time.perf_counter() - started
        if inline and timeout_ms is not None and runs.last * 1000 > timeout_ms:
            raise StatusError(Code.DEADLINE_EXCEEDED, TIMED_OUT)
        runs.least = min(runs.least, runs.last)
        return outputs

    def settle(self, seconds: float) -> None:
        """Repeats one request of each class inline and on the session's threads, and chooses the faster for the class.

        Args:
            seconds: limit of all measurements; classes beyond it use the session's threads.
        """
        seen, self._seen = self._seen, None
        limit = time.perf_counter() + seconds
        for key, (feeds, fetches) in (seen or {}).items():
            (self._classes.get(key) or self._new_class(key)).prefers_inline = _inline_is_faster(
                self._session, feeds, fetches, limit
            )

    def close(self) -> None:
        """Frees the model; no run may be in progress."""
        self._session.close()

    def _new_class(self, key: _Key) -> _RunClass:
        """A new class; it takes over the measurement for a similar number of elements."""
        *names, magnitude = key
        with self._lock:
            known = {
                size: runs.prefers_inline
                for (*other, size), runs in self._classes.items()
                if other == names and abs(size - magnitude) <= _SIMILAR
            }
            if len(self._classes) >= _MAX_CLASSES:
                self._classes.clear()
            nearest = min(known, key=lambda size: abs(size - magnitude), default=magnitude)
            return self._classes.setdefault(key, _RunClass(known.get(nearest)))


def _magnitude(feeds: Feeds) -> int:
    """The bits of the number of elements."""
    return sum([tensor.size for _, tensor in feeds]).bit_length()


def _inline_is_faster(session: Computation, feeds: Feeds, fetches: Sequence[str], limit: float) -> bool | None:
    """Whether inline runs are clearly faster on an idle server.

    Args:
        session: runs the graph.
        feeds: tensors to feed.
        fetches: names of the tensors to fetch.
        limit: reading of `time.perf_counter` after which no trial starts.

    Returns:
        None if the time was too short, the runs are long, or the model refuses the request.
    """
    times: dict[bool, list[float]] = {False: [], True: []}
    try:
        for block in range(2 * _BLOCKS):
            inline = bool(block % 2)
            taken = _block(session, feeds, fetches, inline, limit)
            times[inline] += taken[_FROM:]
            if taken and min(taken) > _LONGEST_TRIAL:
                return None
    except StatusError:
        return None
    if len(times[True]) < _LEAST_TRIALS:
        return None
    return statistics.median(times[True]) < _CLEARLY * statistics.median(times[False])


def _block(session: Computation, feeds: Feeds, fetches: Sequence[str], inline: bool, limit: float) -> list[float]:
    """Seconds of some runs of one kind in a row, of which none starts after `limit`; of long ones there is one."""
    taken: list[float] = []
    while len(taken) < _BLOCK and time.perf_counter() < limit and not (taken and taken[0] > _LONGEST_TRIAL):
        started = time.perf_counter()
        session.run(feeds, fetches, None, inline)
        taken.append(time.perf_counter() - started)
    return taken
