"""The checks of `benchmarks.kills` find what they look for."""

import os
import random
import sys
from datetime import datetime
from pathlib import Path

import pytest

from bench.results.run_paths import BLOCKS, FILE_NAME
from bench.results.run_reader import Run
from benchmarks.kills.__main__ import Draw, Kills
from benchmarks.kills.commands import Kind
from benchmarks.kills.processes import start
from benchmarks.kills.stored import Worst, differences, lost_by_a_gate, missing_pictures, torn_files, wrong_runs
from benchmarks.kills.world import World
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


def test_records_that_a_killed_gate_lost_are_found(tmp_path: Path) -> None:
    """By when its files were written: the clocks of its runs stand still in turns."""

    def lost(blocks: tuple[float, ...], manifests: float) -> list[str]:
        for number, written in enumerate(blocks):
            folder = tmp_path / f"{number}"
            folder.mkdir(exist_ok=True)
            for name, at in ((BLOCKS, written), (FILE_NAME, manifests)):
                (folder / name).touch()
                os.utime(folder / name, (at, at))
        return list(lost_by_a_gate(tmp_path, 1000.0, Worst()))

    assert lost((900.0,), 800.0) == [], "not begun"
    assert lost((900.0, 999.0), 800.0) == []
    assert lost((900.0, 990.0), 995.0) == [], "about to end"
    (line,) = lost((900.0, 990.0), 800.0)
    assert "the last 10.00 s before the kill" in line


def test_a_command_that_ends_before_its_kill_is_started_again(tmp_path: Path) -> None:
    """With a moment out of the time that it took, not of the one that it was thought to take."""
    kind = Kind("short", 1, lambda world, made: [sys.executable, "-c", "pass"], lambda case: iter(()))
    kills = Kills(World(tmp_path, tmp_path, {}, ""), _seconds={"short": 600.0})
    kills.kill(Draw(1, kind, 0.5, random.Random(1)))
    tally = kills.tallies["short"]
    assert (tally.kills, tally.faulty) == (1, 0)
    assert tally.repeated
    assert (kills._seconds["short"] or 0.0) < 600.0


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
