"""Batches: which requests share one, how they are joined and cut, and what is refused."""

import gc
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from bench.server.embedded.base.status import Code, StatusError, invalid_argument
from bench.server.embedded.config.model_config import BatchingParameters
from bench.server.embedded.models.batching import BatchingRunner, Scheduler
from bench.server.embedded.models.servable import Caller
from bench.server.embedded.runtime.batch_tensors import join_tasks, split_outputs
from bench.server.embedded.runtime.session import Feeds
from bench.server.embedded.runtime.tensors import DT_STRING, Tensor
from bench.serving.protos import types_pb2


def tensor(*rows: object) -> Tensor:
    array = np.array(rows, np.float32)
    return Tensor(types_pb2.DT_FLOAT, array.shape, array.ravel())


def feeds(*rows: object) -> list[tuple[str, Tensor]]:
    return [("x:0", tensor(*rows))]


class Doubling:
    """A session that doubles `x:0`, records its batches, and may be blocked."""

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.timeouts: list[int | None] = []
        self.may_run = threading.Event()
        self.may_run.set()
        self.closed = False

    def run(self, feeds: Feeds, fetches: Sequence[str], timeout_ms: int | None = None) -> list[Tensor]:
        self.may_run.wait(10)
        ((_, value),) = feeds
        assert not isinstance(value.values, list)
        self.timeouts.append(timeout_ms)
        self.batches.append(value.values.tolist())
        return [Tensor(value.dtype, value.shape, value.values * 2) for _ in fetches]

    def close(self) -> None:
        self.closed = True


class Impatient(Caller):
    """A caller that has cancelled, or whose deadline has passed, from the second check on."""

    def __init__(self, gone: bool) -> None:
        super().__init__()
        self._gone = gone
        self._asked = 0

    def seconds_left(self) -> float | None:
        self._asked += 1
        return 60.0 if self._asked == 1 else -1.0

    def cancelled(self) -> bool:
        return self._gone and self._asked > 0


class Bench:
    """A runner on a doubling session."""

    def __init__(self, **parameters: object) -> None:
        self.session = Doubling()
        self.scheduler = Scheduler(BatchingParameters(**{"num_batch_threads": 1, **parameters}))  # type: ignore[arg-type]
        self.runner = BatchingRunner(self.session, self.scheduler)  # type: ignore[arg-type]
        self.pool = ThreadPoolExecutor(8)

    def send(self, *rows: object, fetches: Sequence[str] = ("y:0",)) -> list[list[float]]:
        outputs = self.runner.run(feeds(*rows), fetches, Caller())
        return [list(output.values) for output in outputs]  # type: ignore[arg-type]

    def waiting(self) -> int:
        """Rows that are in queues."""
        with self.scheduler.changed:
            return sum(batch.rows for queue in self.scheduler._queues for batch in queue._batches)


@pytest.fixture
def make() -> Iterator[type[Bench]]:
    made: list[Bench] = []

    class Made(Bench):
        def __init__(self, **parameters: object) -> None:
            super().__init__(**parameters)
            made.append(self)

    yield Made
    for bench in made:
        bench.session.may_run.set()
        bench.pool.shutdown()
        bench.runner.close()
        assert bench.session.closed
        bench.scheduler.stop()


def until(condition: object) -> None:
    """Waits for something that happens in another thread."""
    for _ in range(1000):
        if condition():  # type: ignore[operator]
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not happen")


def test_requests_that_wait_share_a_batch(make: type[Bench]) -> None:
    bench = make()
    bench.session.may_run.clear()
    first = bench.pool.submit(bench.send, 1.0)
    until(lambda: bench.scheduler._queues and bench.waiting() == 0)
    others = []
    for value in (2.0, 3.0, 4.0):
        others.append(bench.pool.submit(bench.send, value, value + 0.5))
        until(lambda: bench.waiting() == 2 * len(others))
    bench.session.may_run.set()
    assert first.result() == [[2.0]]
    assert [other.result() for other in others] == [[[4.0, 5.0]], [[6.0, 7.0]], [[8.0, 9.0]]]
    assert bench.session.batches == [[1.0], [2.0, 2.5, 3.0, 3.5, 4.0, 4.5]]


def test_a_batch_waits_for_more_until_its_time_is_over(make: type[Bench]) -> None:
    bench = make(batch_timeout=30.0, max_batch_size=2)
    both = [bench.pool.submit(bench.send, value) for value in (1.0, 2.0)]
    assert sorted(one.result(10)[0] for one in both) == [[2.0], [4.0]]
    assert [sorted(batch) for batch in bench.session.batches] == [[1.0, 2.0]]
    soon = make(batch_timeout=0.01)
    assert soon.send(1.0) == [[2.0]]


def test_batches_are_padded_to_an_allowed_size(make: type[Bench]) -> None:
    """With copies of the last request's first row."""
    bench = make(max_batch_size=4, allowed_batch_sizes=(2, 4))
    assert bench.send(5.0, 6.0, 7.0) == [[10.0, 12.0, 14.0]]
    assert bench.session.batches == [[5.0, 6.0, 7.0, 5.0]]


def test_a_large_request_is_spread_over_batches(make: type[Bench]) -> None:
    bench = make(enable_large_batch_splitting=True, max_batch_size=10, max_execution_batch_size=2)
    assert bench.send(1.0, 2.0, 3.0, 4.0, 5.0) == [[2.0, 4.0, 6.0, 8.0, 10.0]]
    assert bench.session.batches == [[1.0, 2.0], [3.0, 4.0], [5.0]]


def test_another_set_of_outputs_has_another_queue(make: type[Bench]) -> None:
    bench = make()
    assert bench.send(1.0, fetches=("z:0", "y:0")) == [[2.0], [2.0]]
    assert bench.send(1.0) == [[2.0]]
    assert len(bench.scheduler._queues) == 2


class Patient(Caller):
    """A caller with the longest deadline that gRPC has."""

    def seconds_left(self) -> float | None:
        return 99_999_999 * 3600.0


def test_the_longest_deadline_of_grpc(make: type[Bench]) -> None:
    bench = make()
    bench.runner.run(feeds(1.0), ["y:0"], Patient())
    bench.runner.run(feeds(1.0), ["y:0"], Caller())
    assert bench.session.timeouts == [2**31 - 1, None]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (feeds(1.0, 2.0, 3.0), "Task size 3 is larger than maximum input batch size 2"),
        (
            [("x:0", tensor(1.0)), ("y:0", tensor(1.0, 2.0))],
            "Batching Run() input tensors must have equal 0th-dimension size",
        ),
        (
            [("x:0", Tensor(types_pb2.DT_FLOAT, (), np.array([1], np.float32)))],
            "Batching Run() input tensors must have at least one dimension",
        ),
        ([], "Batching Run() must have at least one input tensor"),
    ],
)
def test_what_cannot_be_batched(make: type[Bench], given: Feeds, error: str) -> None:
    with pytest.raises(StatusError) as caught:
        make(max_batch_size=2).runner.run(given, ["y:0"], Caller())
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, error)


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        (
            {"max_batch_size": 1, "max_enqueued_batches": 1},
            "The batch scheduling queue to which this task was submitted is full; currently 1 batches enqueued and "
            "max_enqueued_batches is 1",
        ),
        (
            {
                "max_batch_size": 2,
                "max_execution_batch_size": 1,
                "max_enqueued_batches": 1,
                "enable_large_batch_splitting": True,
            },
            "The batch scheduling queue to which this task was submitted is full; task size is 1 but scheduling "
            "capacity is only 0 (num_enqueued_batches=1, max_enqueued_batches=1, open_batch_size=1, "
            "max_execution_batch_size=1)",
        ),
    ],
)
def test_a_full_queue_refuses(make: type[Bench], parameters: dict[str, object], error: str) -> None:
    bench = make(**parameters)
    bench.session.may_run.clear()
    running = bench.pool.submit(bench.send, 1.0)
    until(lambda: bench.scheduler._queues and bench.waiting() == 0)
    waiting = bench.pool.submit(bench.send, 2.0)
    until(lambda: bench.waiting() == 1)
    with pytest.raises(StatusError) as caught:
        bench.send(3.0)
    assert (caught.value.code, caught.value.message) == (Code.UNAVAILABLE, error)
    bench.session.may_run.set()
    assert (running.result(), waiting.result()) == ([[2.0]], [[4.0]])


@pytest.mark.parametrize(("gone", "code"), [(True, Code.CANCELLED), (False, Code.RESOURCE_EXHAUSTED)])
def test_requests_that_nobody_waits_for_are_not_run(make: type[Bench], gone: bool, code: Code) -> None:
    bench = make()
    with pytest.raises(StatusError) as caught:
        bench.runner.run(feeds(1.0), ["y:0"], Impatient(gone))
    assert caught.value.code is code
    assert bench.session.batches == []


def test_different_lengths_share_no_batch_unless_they_are_padded() -> None:
    tasks = [[("x:0", tensor([1.0, 2.0]))], [("x:0", tensor([3.0]))]]
    with pytest.raises(StatusError) as caught:
        join_tasks(tasks, 0, pad_lengths=False)
    assert caught.value.code is Code.FAILED_PRECONDITION
    assert "have different shapes and padding is turned off" in caught.value.message


def test_the_shorter_is_filled_with_its_own_first_value() -> None:
    tasks = [
        [("x:0", tensor([1.0, 2.0])), ("n:0", Tensor(DT_STRING, (1, 1), [b"a"]))],
        [("x:0", tensor([3.0], [4.0])), ("n:0", Tensor(DT_STRING, (2, 2), [b"b", b"c", b"d", b"e"]))],
    ]
    joined = dict(join_tasks(tasks, 1, pad_lengths=True))
    assert joined["x:0"].shape == (4, 2)
    assert list(joined["x:0"].values) == [1, 2, 3, 3, 4, 3, 3, 3]
    assert joined["n:0"] == Tensor(DT_STRING, (4, 2), [b"a", b"a", b"b", b"c", b"d", b"e", b"b", b"c"])


def test_an_empty_tensor_cannot_be_filled() -> None:
    empty = Tensor(types_pb2.DT_FLOAT, (1, 0), np.array([], np.float32))
    with pytest.raises(StatusError, match="Got empty tensor in batch of non-empty tensors"):
        join_tasks([[("x:0", empty)], [("x:0", tensor([1.0]))]], 0, pad_lengths=True)


@pytest.mark.parametrize(
    ("output", "error"),
    [
        (Tensor(types_pb2.DT_FLOAT, (), np.array([1], np.float32)), "Batched output tensor has 0 dimensions"),
        (tensor(1.0, 2.0), "Batched output tensor's 0th dimension does not equal the sum"),
    ],
)
def test_outputs_must_have_a_row_for_each_that_went_in(output: Tensor, error: str) -> None:
    with pytest.raises(StatusError, match=error):
        split_outputs([output], [1, 2], 0)


def test_a_fault_of_one_batch_ends_no_thread(make: type[Bench], capsys: pytest.CaptureFixture[str]) -> None:
    bench = make()
    run = bench.session.run
    bench.session.run = lambda *_: 1 // 0  # type: ignore[assignment,method-assign]
    with pytest.raises(StatusError, match="The batch could not be processed") as caught:
        bench.send(1.0)
    assert caught.value.code is Code.INTERNAL
    bench.session.run = run  # type: ignore[method-assign]
    assert bench.send(1.0) == [[2.0]]
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_batch_that_failed_leaves_nothing(make: type[Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error held the frames that held the error, and these the tensors of all its requests."""
    bench = make()
    left: list[weakref.ref[Any]] = []

    def run(*_: object) -> list[Tensor]:
        batch = {"tensors"}
        left.append(weakref.ref(batch))
        raise invalid_argument("no")

    monkeypatch.setattr(bench.session, "run", run)
    given = feeds([1.0], [2.0])
    left.append(weakref.ref(given[0][1].values))
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(StatusError, match="no") as caught:
            bench.runner.run(given, ["y:0"], Caller())
        del given, caught
        until(lambda: all(one() is None for one in left))
    finally:
        gc.enable()


def test_the_longest_wait_for_a_batch(make: type[Bench]) -> None:
    """Python's clocks take no more than three hundred years; a config file may give more."""
    bench = make(batch_timeout=(2**63 - 1) / 1e6, max_batch_size=2)
    both = [bench.pool.submit(bench.send, value) for value in (1.0, 2.0)]
    assert sorted(one.result()[0][0] for one in both) == [2.0, 4.0]


def test_padding_does_not_multiply_a_long_row() -> None:
    long, short = tensor(np.zeros(1 << 20, np.float32)), tensor([1.0])
    tasks = [[("x", long)], *[[("x", short)]] * 100]
    with pytest.raises(StatusError, match="a batch padded to") as caught:
        join_tasks(tasks, 0, pad_lengths=True)
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    with pytest.raises(StatusError, match="a batch padded to"):
        join_tasks([[("x", long)]], 100, pad_lengths=False)
