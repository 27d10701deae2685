"""What a gate says while it is at work, where there is no terminal."""

import io
import threading

import pytest

from bench.gate.cli import progress
from bench.gate.cli.progress import GateProgress


class Lines(io.StringIO):
    """Says when a line with this text has come."""

    def __init__(self, wanted: str) -> None:
        super().__init__()
        self._wanted = wanted
        self.came = threading.Event()

    def write(self, text: str) -> int:
        if self._wanted in text:
            self.came.set()
        return super().write(text)


def test_lines_come_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while nothing is finished: a server that does not come up, a request that hangs."""
    monkeypatch.setattr(progress, "EVERY", 0.01)
    for state in ("starting both servers", "warming up", "3 pairs, confirming p50"):
        err = Lines(state)
        with GateProgress(err, 300.0) as shown:
            if not state.startswith("starting"):
                shown.show(state)
            assert err.came.wait(30)
        lines = err.getvalue().splitlines()
        assert lines[-1].startswith("gate: ")
        assert lines[-1].endswith(f" of at most 5 m 00 s, {state}") or lines[-1].endswith("starting both servers")
        assert not any("\x1b" in line for line in lines)


def test_nothing_is_written_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.01)
    err = Lines("gate:")
    with GateProgress(err, 300.0):
        assert err.came.wait(30)
    before = err.getvalue()
    assert not any(thread.name == progress.THREAD for thread in threading.enumerate())
    assert err.getvalue() == before


def test_a_reader_that_has_gone_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.001)
    tried = threading.Event()

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            tried.set()
            raise BrokenPipeError

    with GateProgress(Gone(), 300.0) as shown:
        assert tried.wait(30)
        shown.show("3 pairs")


def test_a_terminal_gets_a_bar_and_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.001)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    with GateProgress(Terminal(), 300.0):
        assert not any(thread.name == progress.THREAD for thread in threading.enumerate())
