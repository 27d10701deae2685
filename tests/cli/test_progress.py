"""What a long command says while it is at work."""

import io
import threading

import pytest

from bench.cli.common import progress
from bench.cli.common.progress import ProgressDisplay
from bench.cli.common.time_left import TimeLeft
from bench.gate.cli.live_gate_options import gate_progress


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


class Terminal(Lines):
    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    """A stream whose reader has gone."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal
        self.tried = threading.Event()

    def isatty(self) -> bool:
        return self._terminal

    def write(self, text: str) -> int:
        self.tried.set()
        raise BrokenPipeError


def test_lines_come_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while nothing is finished: a server that does not come up, a request that hangs."""
    monkeypatch.setattr(progress, "EVERY", 0.01)
    for state in ("starting both servers", "warming up", "3 pairs, confirming p50"):
        err = Lines(state)
        with gate_progress(err, 300.0) as shown:
            if not state.startswith("starting"):
                shown.show(state)
            assert err.came.wait(30)
        lines = err.getvalue().splitlines()
        assert lines[-1].startswith("gate: ")
        assert lines[-1].endswith(f" of at most 5 m 00 s, {state}") or lines[-1].endswith("starting both servers")
        assert not any("\x1b" in line for line in lines)


def test_a_line_shows_the_share_that_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.01)
    err = Lines("25 %, [1] word/s")
    with ProgressDisplay(err, "scoring", 200) as shown:
        shown.reach(50, "[1] word/s")
        assert err.came.wait(30)
    assert err.getvalue().splitlines()[-1].startswith("scoring: 25 %, [1] word/s")


@pytest.mark.parametrize(
    ("reached", "total", "now", "left"),
    [
        ((), 100, 60.0, None),
        # 512 sentences at once, after a warm-up of 20 s: the first ones say nothing of the others.
        ([(20.0, 1), (20.01, 512)], 10_000, 25.0, None),
        ([(20.0, 1), (20.01, 512), (24.0, 513)], 10_000, 24.1, None),
        ([(20.0, 1), (20.01, 512), (24.0, 513), (24.01, 1024)], 10_000, 24.6, 70.125),
        # One after the other, and resumed after half.
        ([(5.0 + index / 10, 500 + index) for index in range(40)], 1000, 9.0, 46.1),
        ([(5.0, 1), (5.9, 2)], 1000, 7.0, None),
        ([(5.0, 500), (9.0, 500)], 1000, 12.0, None),
        ([(5.0, 500), (9.0, 700)], None, 12.0, None),
        ([(5.0, 500), (9.0, 1100)], 1000, 12.0, 0.0),
    ],
)
def test_the_time_left_is_not_shown_before_it_is_known(
    reached: list[tuple[float, float]], total: float | None, now: float, left: float | None
) -> None:
    """With the first group of results it was a second, and grew with each further one."""
    estimate = TimeLeft()
    for moment, completed in reached:
        estimate.reach(completed, moment)
    assert estimate.seconds(total, now) == (None if left is None else pytest.approx(left, rel=0.01))


def test_an_unknown_total_shows_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.01)
    err = Lines(" s, 1 word/s")
    with ProgressDisplay(err, "scoring", None) as shown:
        shown.reach(50, "1 word/s")
        assert err.came.wait(30)
    assert "%" not in err.getvalue()


def test_a_total_that_grows_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.01)
    err = Lines("of about 40 s, ladder")
    with ProgressDisplay(err, "capacity", 30.0, "about", "starting") as shown:
        shown.extend(10.0)
        shown.show("ladder")
        assert err.came.wait(30)


def test_nothing_is_written_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.01)
    err = Lines("gate:")
    with gate_progress(err, 300.0) as shown:
        assert err.came.wait(30)
    before = err.getvalue()
    shown.show("3 pairs")
    assert not any(thread.name == progress.THREAD for thread in threading.enumerate())
    assert err.getvalue() == before


@pytest.mark.parametrize("terminal", [False, True])
def test_a_reader_that_has_gone_does_not_matter(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.001)
    monkeypatch.setenv("TERM", "xterm")
    err = Gone(terminal)
    with gate_progress(err, 300.0) as shown:
        assert err.tried.wait(30)
        shown.show("3 pairs")
        shown.print_line("a pair is done")


def test_a_terminal_gets_a_bar_and_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.001)
    monkeypatch.setenv("TERM", "xterm")
    err = Terminal("3 pairs")
    with gate_progress(err, 300.0) as shown:
        assert not any(thread.name == progress.THREAD for thread in threading.enumerate())
        shown.show("3 pairs")
        assert err.came.wait(30)
    assert "━" in err.getvalue()
    assert "of at most 5 m 00 s, 3 pairs" in err.getvalue()


def test_a_line_stays_above_the_bar_or_goes_to_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for err, terminal, file in ((io.StringIO(), Terminal(""), io.StringIO()), (Terminal(""), Terminal(""), None)):
        with ProgressDisplay(err, "capacity", 30.0, "about") as shown:
            shown.print_line("first [step]", terminal)
            if file is not None:
                shown.print_line("second", file)
        assert ("first [step]\n" in err.getvalue()) == (file is None)
        assert terminal.getvalue() == ("" if file is None else "first [step]\n")
        assert file is None or file.getvalue() == "second\n"
