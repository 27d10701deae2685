"""Keeps the users of a test on the workers that it began with.

Locust moves users to a worker that joins a running test, and from one that it misses. A plan is made for the workers
at the start: on another one a user has nothing to send, and the user that was stopped for it is missing. A worker that
is started again is another one too.
"""

import logging
from collections.abc import Callable
from typing import Any, Final

from locust.dispatch import UsersDispatcher

from bench.core.units import format_seconds, pluralize

logger = logging.getLogger(__name__)

_MOST_NAMED: Final = 3
"""Late workers that a run names; one that ends and is started again may join all day."""


class LateWorkers:
    """The workers that joined a test after its start."""

    def __init__(self) -> None:
        self._named: dict[str, str] = {}
        self._count = 0

    def joined(self, client: str, now: float | None) -> None:
        """Takes note of a worker that has just connected.

        Args:
            client: Locust's name of it.
            now: seconds since the run began; None or negative before that.
        """
        if client in self._named:
            # It connects again when the test stops.
            return
        self._count += 1
        moment = "before the load began" if now is None or now < 0 else f"{format_seconds(now)} into the run"
        line = f"worker {client} joined {moment}, too late, and took no part in it"
        logger.warning(line)
        if self._count <= _MOST_NAMED:
            self._named[client] = line

    def notes(self) -> list[str]:
        """A line for each of the first ones, and one for the others."""
        more = self._count - _MOST_NAMED
        return [*self._named.values()] + ([f"{pluralize(more, 'more worker')} joined too late"] if more > 0 else [])


class FixedWorkers:
    """Makes Locust's dispatchers, in the place of its class: one for each test.

    Args:
        running: whether a test has its workers.
    """

    def __init__(self, running: Callable[[], bool]) -> None:
        self._running = running
        self._dispatcher: _Dispatcher | None = None

    def __call__(self, worker_nodes: list[Any], user_classes: list[Any]) -> UsersDispatcher:
        """The dispatcher of a test. Locust asks for another one in a test after it has removed a worker for good."""
        if self._dispatcher is None or not self._running():
            self._dispatcher = _Dispatcher(worker_nodes, user_classes, self._running)
        return self._dispatcher


class _Dispatcher(UsersDispatcher):
    """Changes the number of users while a test runs, but not the workers that have them."""

    def __init__(self, worker_nodes: list[Any], user_classes: list[Any], running: Callable[[], bool]) -> None:
        super().__init__(worker_nodes, user_classes)
        self._running = running

    def add_worker(self, worker_node: Any) -> None:
        if not self._running():
            super().add_worker(worker_node)

    def remove_worker(self, worker_node: Any) -> None:
        if not self._running():
            super().remove_worker(worker_node)
