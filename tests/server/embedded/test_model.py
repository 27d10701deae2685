"""Which versions a model loads and frees, and in what order."""

import io
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.server.embedded.base.status import Code, StatusError
from bench.server.embedded.models.model import Model, RetryPolicy, State


class Servable:
    """A stand-in that records loads and retirements."""

    def __init__(self, diary: list[str], version: int) -> None:
        self.version = version
        self._diary = diary
        diary.append(f"load {version}")

    def retire(self) -> None:
        self._diary.append(f"retire {self.version}")


class Shelf:
    """A model whose versions load as programmed."""

    def __init__(self, retry: RetryPolicy) -> None:
        self.diary: list[str] = []
        self.broken: set[int] = set()
        self.faulty: set[int] = set()
        self.changed = threading.Condition()
        self.model = Model("m", self._load, retry, self.changed)  # type: ignore[arg-type]

    def _load(self, _name: str, version: int, _path: Path) -> Servable:
        if version in self.faulty:
            raise ValueError("nobody thought of this")
        if version in self.broken:
            self.diary.append(f"fail {version}")
            raise StatusError(Code.NOT_FOUND, "broken")
        return Servable(self.diary, version)

    def want(self, *versions: int) -> None:
        self.model.want({version: Path(str(version)) for version in versions})

    def until(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, 10)

    def states(self) -> dict[int, str]:
        return {version: status.state.name for version, status in self.model.statuses().items()}


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    made = Shelf(RetryPolicy(1, 0.01))
    yield made
    made.model.stop()
    made.model.join()


def test_a_new_version_serves_before_the_old_one_goes(shelf: Shelf) -> None:
    shelf.want(1)
    shelf.until(lambda: shelf.states() == {1: "AVAILABLE"})
    shelf.want(2)
    shelf.until(lambda: shelf.states() == {2: "AVAILABLE", 1: "END"})
    assert shelf.diary == ["load 1", "load 2", "retire 1"]
    assert shelf.model.latest is shelf.model.version(2)
    assert shelf.model.version(1) is None


def test_the_latest_is_the_highest(shelf: Shelf) -> None:
    shelf.want(1, 3, 2)
    shelf.until(shelf.model.settled)
    assert shelf.diary == ["load 3", "load 2", "load 1"]
    assert shelf.model.latest is shelf.model.version(3)


def test_an_old_version_stays_while_no_new_one_loads(shelf: Shelf) -> None:
    shelf.want(1)
    shelf.until(shelf.model.settled)
    shelf.broken.add(2)
    shelf.want(2)
    shelf.until(lambda: shelf.states() == {2: "END", 1: "AVAILABLE"})
    status = shelf.model.statuses()[2]
    assert status.state is State.END
    assert status.error is not None
    assert shelf.diary == ["load 1", "fail 2", "fail 2"]


def test_a_version_that_was_given_up_gets_another_chance_when_it_comes_back(shelf: Shelf) -> None:
    shelf.broken.add(1)
    shelf.want(1)
    shelf.until(shelf.model.settled)
    shelf.want()
    shelf.until(lambda: shelf.model.statuses()[1].error is None)
    shelf.broken.clear()
    shelf.want(1)
    shelf.until(lambda: shelf.states() == {1: "AVAILABLE"})


def test_all_go_when_none_is_wanted(shelf: Shelf) -> None:
    shelf.want(1, 2)
    shelf.until(shelf.model.settled)
    shelf.want()
    shelf.until(lambda: set(shelf.states().values()) == {"END"})
    assert shelf.model.latest is None
    assert shelf.diary[-2:] == ["retire 1", "retire 2"]
    shelf.want(2)
    shelf.until(lambda: shelf.states() == {2: "AVAILABLE", 1: "END"})


def test_nothing_is_settled_before_anything_is_wanted(shelf: Shelf) -> None:
    assert not shelf.model.settled()


def test_a_fault_while_a_version_loads_is_an_error_of_it(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    shelf.faulty.add(2)
    shelf.want(1, 2)
    shelf.until(lambda: shelf.states() == {2: "END", 1: "AVAILABLE"})
    error = shelf.model.statuses()[2].error
    assert error is not None
    assert error.code is Code.INTERNAL
    assert "ValueError: nobody thought of this" in capsys.readouterr().err
    # The thread goes on.
    shelf.want(3)
    shelf.until(lambda: shelf.states().get(3) == "AVAILABLE")


def test_a_standard_error_on_a_full_disk_leaves_no_version_loading(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    with io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=True) as full:
        monkeypatch.setattr(sys, "stderr", full)
        shelf.broken.add(1)
        shelf.faulty.add(2)
        shelf.want(1, 2)
        shelf.until(lambda: shelf.states() == {2: "END", 1: "END"})
        # The thread goes on.
        shelf.want(3)
        shelf.until(lambda: shelf.states().get(3) == "AVAILABLE")
        monkeypatch.undo()


def test_a_version_that_waits_for_a_retry_ends_when_it_is_not_wanted() -> None:
    shelf = Shelf(RetryPolicy(5, 60))
    shelf.broken.add(1)
    shelf.want(1)
    shelf.until(lambda: 1 in shelf.model._attempts)
    assert shelf.states() == {1: "LOADING"}
    shelf.want()
    shelf.until(lambda: shelf.states() == {1: "END"})
    assert shelf.model.is_over()
    shelf.model.stop()
    shelf.model.join()


def test_when_a_model_is_over(shelf: Shelf) -> None:
    assert shelf.model.is_over()
    shelf.want(1)
    assert not shelf.model.is_over()
    shelf.until(lambda: shelf.states() == {1: "AVAILABLE"})
    assert not shelf.model.is_over()
    shelf.want()
    shelf.until(lambda: shelf.states() == {1: "END"})
    assert shelf.model.is_over()
