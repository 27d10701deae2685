"""One loaded version of a model, counted while it is in use so that it is freed only when nobody uses it."""

import threading
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

from bench.server.embedded.base.status import Code, StatusError
from bench.server.embedded.models.signatures import Signature, read_signatures, signature_def_map
from bench.server.embedded.runtime.model_runtime import ModelRuntime
from bench.server.embedded.runtime.session import TIMED_OUT, Feeds, Session, SessionOptions
from bench.server.embedded.runtime.tensors import Tensor

_SETTLE_SECONDS: Final = 0.5
_INT32_MAX: Final = (1 << 31) - 1


class Caller(Protocol):
    """Who waits for an answer."""

    def seconds_left(self) -> float | None:
        """Seconds until the deadline; None if there is none."""

    def gone(self) -> bool:
        """Whether nobody waits any more."""


class Forever:
    """A caller that waits as long as it takes."""

    def seconds_left(self) -> float | None:
        return None

    def gone(self) -> bool:
        return False


class Runner(Protocol):
    """Runs a graph: a session itself, or a batching queue before it."""

    def run(self, feeds: Feeds, fetches: Sequence[str], caller: Caller) -> list[Tensor]: ...

    def close(self) -> None: ...


class DirectRunner:
    """Each request by itself.

    Args:
        session: the session; closed with this.
    """

    def __init__(self, session: ModelRuntime) -> None:
        self._session = session

    def run(self, feeds: Feeds, fetches: Sequence[str], caller: Caller) -> list[Tensor]:
        """Runs unless the caller is gone or late.

        Raises:
            StatusError: what the runtime says; CANCELLED or DEADLINE_EXCEEDED for a caller that does not wait.
        """
        return self._session.run(feeds, fetches, check_caller(caller))

    def close(self) -> None:
        self._session.close()


def check_caller(caller: Caller) -> int | None:
    """Milliseconds left for a caller; None for no limit.

    Raises:
        StatusError: nobody waits any more, or the time is over.
    """
    if caller.gone():
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
    return min(max(int(seconds * 1000), 1), _INT32_MAX)


class Servable:
    """A loaded version.

    Args:
        model: the model's name.
        version: the version's number.
        path: its folder.
        tags: the meta graph's tags.
        options: how its session computes.
        wrap: what makes the runner of the session and the signatures; None runs each request by itself.

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
        wrap: Callable[[ModelRuntime, dict[str, Signature]], Runner] | None = None,
    ) -> None:
        self.model = model
        self.version = version
        self.path = path
        session = Session(path, tags, options)
        self.signatures = read_signatures(session.meta_graph)
        session.meta_graph = b""
        self._runtime = ModelRuntime(session)
        self.runner: Runner = wrap(self._runtime, self.signatures) if wrap else DirectRunner(self._runtime)
        self._users = 0
        self._retired = False
        self._changed = threading.Condition(threading.Lock())

    @cached_property
    def signature_def_map(self) -> Any:
        """The answer to a metadata request."""
        return signature_def_map(self.signatures)

    def settle(self) -> None:
        """Chooses how to compute by what the requests so far took."""
        self._runtime.settle(_SETTLE_SECONDS)

    def acquire(self) -> bool:
        """Counts a user in, unless the version is being freed."""
        with self._changed:
            if self._retired:
                return False
            self._users += 1
            return True

    def release(self) -> None:
        """Counts a user out."""
        with self._changed:
            self._users -= 1
            if self._retired and not self._users:
                self._changed.notify_all()

    def retire(self, timeout: float | None = None) -> None:
        """Lets in no more users, waits for those inside and frees the session.

        Args:
            timeout: seconds after which those inside are left alone and nothing is freed.
        """
        limit = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            self._retired = True
            while self._users:
                if limit is not None and time.monotonic() >= limit:
                    return
                self._changed.wait(None if limit is None else limit - time.monotonic())
        self.runner.close()
