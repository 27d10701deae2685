"""The checks of `benchmarks.kills` find what they look for."""

import random
import sys
from datetime import datetime
from pathlib import Path

import pytest

from bench.results.run_folder import BLOCKS
from bench.results.run_paths import FILE_NAME
from bench.results.run_reader import Run
from benchmarks.kills.processes import start
from benchmarks.kills.stored import Worst, differences, missing_pictures, torn_files, wrong_runs
from tests.support.locust_process import wait_for
from tests.support.synthetic_runs import simulate, write_run

# A process in a session of its own, with an open port, that nobody ends.
LEAVES = """
import subprocess, sys, time
child = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print('open', flush=True); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
time.sleep(600)
"""


def test_a_process_and_a_port_that_remain_are_found(tmp_path: Path) -> None:
    started = start([sys.executable, "-c", LEAVES], str(tmp_path), tmp_path / "first")
    try:
        wait_for(lambda: (tmp_path / "first" / "out").read_text())
        blow = started.kill(0.0, random.Random(1))
        assert (blow.victim, blow.late) == ("", False)
        assert started.wait(0.0) == -9
        took, remained = started.left(0.1)
        assert took >= 0.1
        assert len(remained) == 2
        assert "a process remained: " in remained[0]
        assert "is still open" in remained[1]
    finally:
        started.end()
    assert started.left(10.0)[1] == []


@pytest.fixture
def cut_off(tmp_path: Path) -> Run:
    return write_run(tmp_path, simulate("constant:rate=50"), "constant:rate=50", finish=False)


def after(run: Run, seconds: float) -> list[str]:
    """What is wrong with a run whose command is killed so many seconds into it."""
    started = datetime.fromisoformat(run.manifest.started).timestamp()
    return list(wrong_runs(run.path.parent, started + seconds, Worst()))


def test_lost_seconds_are_found(cut_off: Run) -> None:
    ends = cut_off.manifest.workload.warmup + cut_off.manifest.workload.duration
    assert after(cut_off, ends + 100.0) == []
    blocks = cut_off.path / BLOCKS
    blocks.write_bytes(b"")
    assert after(cut_off, 1.0) == []
    (line,) = after(cut_off, 4.0)
    assert "the last 4.00 s before the kill" in line


def test_files_that_are_not_whole_are_found(tmp_path: Path) -> None:
    (tmp_path / "verdict.json").write_text('{"verdict": "PASS"}')
    (tmp_path / "page.html").write_text("<html></html>\n")
    (tmp_path / "junit.xml").write_text("<testsuites/>")
    (tmp_path / "report.md").write_text("# Report\n\n![latency](latency.png)\n")
    (tmp_path / "latency.png").write_bytes(b"")
    assert [*torn_files(tmp_path), *missing_pictures(tmp_path / "report.md")] == []
    (tmp_path / "latency.png").unlink()
    for name in ("verdict.json", "page.html", "junit.xml"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-3])
    assert len(list(torn_files(tmp_path))) == 3
    assert list(missing_pictures(tmp_path / "report.md")) == ["report.md shows latency.png, which is missing"]


def test_differences_are_named() -> None:
    found = differences({"a": b"1", "b": b"2", "c": b"3"}, {"a": b"1", "b": b"x", "d": b"4"})
    assert list(found) == ["b differs from an undisturbed one", "c is too many", "d is missing"]
