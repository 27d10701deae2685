"""One loaded version of a model; requests are counted so that it is freed only when none uses it."""

import threading
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

from bench.server.embedded.base.limits import INT32_MAX
from bench.server.embedded.base.status import Code, StatusError
from bench.server.embedded.models.signatures import read_signatures, signature_def_map
from bench.server.embedded.runtime.model_runtime import ModelRuntime
from bench.server.embedded.runtime.session import TIMED_OUT, Feeds, Session, SessionOptions
from bench.server.embedded.runtime.tensors import Tensor

_SETTLE_SECONDS: Final = 0.5


class Caller:
    """The client that waits for an answer.

    Args:
        timeout: seconds from now until its deadline; None for no deadline.
    """

    def __init__(self, timeout: float | None = None) -> None:
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._cancelled = False

    def seconds_left(self) -> float | None:
        """Seconds until the deadline; None if there is none."""
        return None if self._deadline is None else self._deadline - time.monotonic()

    def cancelled(self) -> bool:
        """Whether the client no longer waits."""
        return self._cancelled

    def cancel(self) -> None:
        """Marks the call as cancelled."""
        self._cancelled = True


class Runner(Protocol):
    """Runs a graph: a session, or a batching queue in front of one."""

    def run(self, feeds: Feeds, fetches: Sequence[str], caller: Caller) -> list[Tensor]: ...

    def close(self) -> None: ...


class DirectRunner:
    """Runs each request on its own.

    Args:
        session: the session; closed with this runner.
    """

    def __init__(self, session: ModelRuntime) -> None:
        self._session = session

    def run(self, feeds: Feeds, fetches: Sequence[str], caller: Caller) -> list[Tensor]:
        """Runs unless the caller has cancelled or its deadline has passed.

        Raises:
            StatusError: the runtime's error; CANCELLED or DEADLINE_EXCEEDED for a caller that no longer waits.
        """
        return self._session.run(feeds, fetches, check_caller(caller))

    def close(self) -> None:
        self._session.close()


def check_caller(caller: Caller) -> int | None:
    """Milliseconds until a caller's deadline; None for no deadline.

    Raises:
        StatusError: the caller has cancelled, or its deadline has passed.
    """
    if caller.cancelled():
        raise StatusError(Code.CANCELLED, "The request was cancelled")
    seconds = caller.seconds_left()
    if seconds is None:
        return None
    if seconds <= 0:
        raise StatusError(Code.DEADLINE_EXCEEDED, TIMED_OUT)
    return run_timeout(seconds)


def run_timeout(seconds: float) -> int:
    """Whole milliseconds for RunOptions, at least 1, at most what gRPC's C library gives Serving for a deadline.

    The runtime ends the process at a timeout of some thousand years.
    """
    return min(max(int(seconds * 1000), 1), INT32_MAX)


class Servable:
    """A loaded version.

    Args:
        model: the model's name.
        version: the version's number.
        path: its folder.
        tags: the meta graph's tags.
        options: the session's threads and memory.
        batch: makes the runner that batches requests; None runs each request on its own.
        max_fill: see `from_proto`.

    Raises:
        StatusError: it cannot be loaded.
    """

    def __init__(
        self,
        model: str,
        version: int,
        path: Path,
        tags: Sequence[str],
        options: SessionOptions,
        batch: Callable[[ModelRuntime], Runner] | None = None,
        max_fill: int = INT32_MAX,
    ) -> None:
        self.model = model
        self.version = version
        self.path = path
        self.max_fill = max_fill
        session = Session(path, tags, options)
        self.signatures = read_signatures(session.meta_graph)
        session.meta_graph = b""
        self._runtime = ModelRuntime(session)
        self.runner: Runner = (batch or DirectRunner)(self._runtime)
        self._users = 0
        self._retired = False
        self._changed = threading.Condition(threading.Lock())

    @cached_property
    def signature_def_map(self) -> Any:
        """The SignatureDefMap that a metadata request gets."""
        return signature_def_map(self.signatures)

    def settle(self) -> None:
        """Chooses the threads of runs by measuring the requests so far."""
        self._runtime.settle(_SETTLE_SECONDS)

    def acquire(self) -> bool:
        """Registers a request; False if the version is being freed."""
        with self._changed:
            if self._retired:
                return False
            self._users += 1
            return True

    def release(self) -> None:
        """Unregisters a request."""
        with self._changed:
            self._users -= 1
            if self._retired and not self._users:
                self._changed.notify_all()

    def retire(self, timeout: float | None = None) -> None:
        """Refuses new requests, waits for those in progress and frees the session.

        Args:
            timeout: seconds to wait; if requests are still in progress then, nothing is freed.
        """
        limit = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            self._retired = True
            while self._users:
                if limit is not None and time.monotonic() >= limit:
                    return
                self._changed.wait(None if limit is None else limit - time.monotonic())
        self.runner.close()
