"""A test keeps its users on the workers that it began with, whatever Locust does with workers that come and go."""

import os
from typing import Any

os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"

from locust import User
from locust.runners import WorkerNode

from bench.load.locust_adapter.fixed_workers import FixedWorkers, LateWorkers

del os.environ["LOCUST_SKIP_MONKEY_PATCH"]


class Someone(User):
    """A user of the test."""


class Running:
    """Whether a test runs."""

    now = False

    def __call__(self) -> bool:
        return self.now


def dispatched(dispatcher: Any, users: int) -> dict[str, int]:
    """The users of each worker after a dispatch, as Locust's master does it."""
    dispatcher.new_dispatch(users, 1000.0)
    last: dict[str, dict[str, int]] = list(dispatcher)[-1]
    return {worker: sum(classes.values()) for worker, classes in last.items()}


def test_no_worker_gets_or_loses_users_while_a_test_runs() -> None:
    first, second, late = WorkerNode("a"), WorkerNode("b"), WorkerNode("c")
    running = Running()
    make = FixedWorkers(running)
    dispatcher = make([first, second], [Someone])
    running.now = True
    assert dispatched(dispatcher, 8) == {"a": 4, "b": 4}
    dispatcher.add_worker(late)
    assert dispatched(dispatcher, 8) == {"a": 4, "b": 4}
    dispatcher.remove_worker(first)
    assert dispatched(dispatcher, 8) == {"a": 4, "b": 4}
    # After a minute Locust removes the missing worker, and starts with a new dispatcher.
    dispatcher = make([second, late], [Someone])
    assert dispatched(dispatcher, 8) == {"a": 4, "b": 4}
    assert dispatched(dispatcher, 4) == {"a": 2, "b": 2}
    running.now = False
    assert dispatched(make([second, late], [Someone]), 8) == {"b": 4, "c": 4}


def test_late_workers_are_named_and_then_counted() -> None:
    late = LateWorkers()
    assert late.notes() == []
    for number, moment in enumerate((None, -0.1, 8.0, 9.0, 10.0)):
        late.joined(f"host_{number}", moment)
    # After the test's end it says once more that it is ready.
    late.joined("host_1", 20.0)
    early, _, last, more = late.notes()
    assert early == "worker host_0 joined before the load began, too late, and took no part in it"
    assert last == "worker host_2 joined 8 s into the run, too late, and took no part in it"
    assert more == "2 more workers joined too late"
