"""The server's log, and whatever its standard error is, no thread ends for it."""

import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO

import pytest

from bench.server.embedded.base.log import log, log_fault
from bench.server.embedded.base.status import Code, PrintedFaults, StatusError, faults_are_internal
from bench.server.embedded.server import exit_now


def fail() -> None:
    raise ZeroDivisionError("by nothing")


@pytest.fixture(params=["full disk", "pipe without a reader", "closed", "closed at the start"])
def deaf(request: pytest.FixtureRequest) -> Iterator[TextIO | None]:
    """A standard error that takes nothing. A test sets it by itself: pytest replaces it before each test."""
    if request.param == "closed at the start":
        yield None
        return
    if request.param == "full disk":
        descriptor = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, descriptor = os.pipe()
        os.close(reader)
    with io.TextIOWrapper(io.FileIO(descriptor, "w"), write_through=True) as stream:
        if request.param == "closed":
            stream.close()
        yield stream


def test_a_log_that_nobody_takes(deaf: TextIO | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", deaf)
    log("a line")
    log_fault(ZeroDivisionError())
    with PrintedFaults() as faults:
        fail()
    assert faults.occurred
    with pytest.raises(StatusError) as failed:
        faults_are_internal(fail)()
    assert failed.value.code is Code.INTERNAL


def test_the_end_has_its_code(deaf: TextIO | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", deaf)
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    exit_now(4)
    assert codes == [4]


def test_a_line_of_the_log_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    log("a\nready: \x1b[2J\x85é")
    assert capsys.readouterr().err == "a\\nready: \\x1b[2J\\x85é\n"


def test_a_long_line_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    log("x" * 8192)
    log("x" * 1_000_000)
    assert capsys.readouterr().err == "x" * 8192 + "\n" + "x" * 8192 + "...\n"
    log_fault(KeyError("\x1b" + "x" * 1_000_000))
    shown = capsys.readouterr().err
    assert shown.startswith("KeyError: '\\x1bxxx")
    assert len(shown) < 9000


def test_a_fault_is_shown_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    with PrintedFaults():
        fail()
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == "Traceback (most recent call last):"
    assert last == "ZeroDivisionError: by nothing"
