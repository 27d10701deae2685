"""One model: loads the wanted versions, then frees the others.

A new version is loaded and warmed up before an old one is unloaded (Serving's AvailabilityPreservingPolicy). An old
version is freed when its last request is answered. Each model has a thread of its own, so that a model that loads
slowly does not delay others.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from bench.server.embedded.base.log import log
from bench.server.embedded.base.status import Code, PrintedFaults, StatusError
from bench.server.embedded.models.servable import Servable
from bench.server.embedded.runtime.c_api import return_free_memory

Loader = Callable[[str, int, Path], Servable]


class State(IntEnum):
    """The states of a version (`get_model_status.proto`)."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """A version's state, and the error if it could not be loaded."""

    state: State
    error: StatusError | None = None


@dataclass(frozen=True)
class RetryPolicy:
    """Retries of a version that does not load, and the seconds between them."""

    retries: int = 5
    interval: float = 60.0


@dataclass(slots=True)
class _Attempts:
    count: int = 0
    due: float = 0.0


class Model:
    """One model's versions.

    Args:
        name: its name.
        load: loads a version.
        retry: policy for versions that do not load.
        changed: notified after every change of state.

    Attributes:
        latest: the newest version that serves; None if none does.
    """

    def __init__(self, name: str, load: Loader, retry: RetryPolicy, changed: threading.Condition) -> None:
        self.name = name
        self.latest: Servable | None = None
        self._load = load
        self._retry = retry
        self._changed = changed
        # Replaced, never modified, so that readers need no lock.
        self._serving: Mapping[int, Servable] = {}
        self._statuses: dict[int, VersionStatus] = {}
        self._wanted: Mapping[int, Path] | None = None
        self._attempts: dict[int, _Attempts] = {}
        self._work = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=f"model_{name}", daemon=True)
        self._thread.start()

    def want(self, versions: Mapping[int, Path]) -> None:
        """Sets which versions should serve, and their folders."""
        if versions != self._wanted:
            self._wanted = dict(versions)
            self._work.set()

    def version(self, number: int) -> Servable | None:
        """A version that serves."""
        return self._serving.get(number)

    def statuses(self) -> dict[int, VersionStatus]:
        """The states of all versions so far, the newest first."""
        with self._changed:
            return dict(sorted(self._statuses.items(), reverse=True))

    def settled(self) -> bool:
        """Whether every wanted version serves or has failed to load; False before versions are set."""
        with self._changed:
            wanted = self._wanted
            return bool(wanted) and all(
                number in self._serving or ((status := self._statuses.get(number)) and status.error is not None)
                for number in wanted or ()
            )

    def is_over(self) -> bool:
        """Whether no version is wanted, serves, or is about to."""
        with self._changed:
            over = all(status.state is State.END for status in self._statuses.values())
            return over and not self._wanted and not self._serving

    def stop(self) -> None:
        """Ends the thread; loaded versions stay loaded."""
        self._stopped = True
        self._work.set()

    def join(self) -> None:
        """Waits for the thread."""
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._work.wait(self._seconds_to_retry())
            self._work.clear()
            if self._stopped:
                return
            if self._wanted is not None:
                with PrintedFaults():
                    self._reconcile(self._wanted)

    def _seconds_to_retry(self) -> float | None:
        """Seconds until the next retry; None if there is none."""
        due = [attempts.due for attempts in self._attempts.values()]
        return max(min(due) - time.monotonic(), 0) if due else None

    def _reconcile(self, wanted: Mapping[int, Path]) -> None:
        for number in [number for number in self._attempts if number not in wanted]:
            del self._attempts[number]
            # It waited for its next attempt, still LOADING.
            self._set(number, VersionStatus(State.END))
        for number in sorted(wanted, reverse=True):
            if self._stopped or self._wanted is not wanted:
                break
            if number not in self._serving and self._is_due(number):
                self._try_to_load(number, wanted[number])
        if self._wanted is wanted and (not wanted or any(number in self._serving for number in wanted)):
            for number in sorted(set(self._serving) - set(wanted)):
                self._unload(number)
        self._forget_failures(wanted)

    def _is_due(self, number: int) -> bool:
        attempts = self._attempts.get(number)
        if attempts is not None:
            return attempts.due <= time.monotonic()
        status = self._statuses.get(number)
        # A version that ended with an error is not retried; one that ended without was unloaded and is wanted again.
        return status is None or status.error is None

    def _forget_failures(self, wanted: Mapping[int, Path]) -> None:
        """Lets a failed version that is no longer wanted load again if it reappears."""
        for number, status in list(self._statuses.items()):
            if status.error is not None and number not in wanted:
                self._set(number, VersionStatus(State.END))

    def _try_to_load(self, number: int, path: Path) -> None:
        if number not in self._attempts:
            self._set(number, VersionStatus(State.START))
        self._set(number, VersionStatus(State.LOADING))
        servable = None
        # A model may be anything; a version that stayed LOADING would be waited for without end.
        failed = StatusError(Code.INTERNAL, "the server failed while it loaded this version; its log has the reason")
        with PrintedFaults():
            try:
                servable = self._load(self.name, number, path)
            except StatusError as error:
                failed = error.bare()
        if servable is None:
            self._failed(number, failed)
            return
        self._attempts.pop(number, None)
        self._serve({**self._serving, number: servable})
        self._set(number, VersionStatus(State.AVAILABLE))

    def _failed(self, number: int, error: StatusError) -> None:
        attempts = self._attempts.setdefault(number, _Attempts())
        attempts.count += 1
        where = f"model {self.name!r} version {number}"
        if attempts.count > self._retry.retries:
            del self._attempts[number]
            self._set(number, VersionStatus(State.END, error))
            log(f"{where} failed to load, no attempts left: {error.message}")
            return
        attempts.due = time.monotonic() + self._retry.interval
        log(
            f"{where} failed to load, attempt {attempts.count} of {self._retry.retries + 1}, next in "
            f"{self._retry.interval:g} s: {error.message}"
        )

    def _unload(self, number: int) -> None:
        serving = dict(self._serving)
        servable = serving.pop(number)
        self._serve(serving)
        self._set(number, VersionStatus(State.UNLOADING))
        servable.retire()
        del servable
        return_free_memory()
        self._set(number, VersionStatus(State.END))

    def _serve(self, serving: Mapping[int, Servable]) -> None:
        self._serving = serving
        self.latest = serving[max(serving)] if serving else None

    def _set(self, number: int, status: VersionStatus) -> None:
        with self._changed:
            self._statuses[number] = status
            self._changed.notify_all()
