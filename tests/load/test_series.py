"""Runs one after the other from a process of their own, to one server and to several behind a balancer."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.analysis.analysis import analyse
from bench.errors import TargetError, UsageError
from bench.load.null_server import null_server
from bench.load.series import RunSeries, open_series
from bench.load.series_step import SeriesReply, SeriesStep
from bench.load.series_worker import settings_of
from bench.results.run import open_run
from bench.server.running import RunningServer
from tests.support.toy_golden import write_model_dir


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_dir(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def servers(model_dir: Path) -> Iterator[tuple[RunningServer, ...]]:
    with null_server(model_dir) as one, null_server(model_dir) as other:
        yield tuple(RunningServer(found["rest"], found["grpc"], "bert", "null") for found in (one, other))


@pytest.fixture(scope="module")
def series() -> Iterator[RunSeries]:
    with open_series() as found:
        yield found


def step(model_dir: Path, results: Path, servers: tuple[RunningServer, ...], **changed: object) -> SeriesStep:
    given: dict[str, object] = {
        "protocol": "rest",
        "name": "step",
        "arrivals": "poisson:rate=100",
        "users": 8,
        "seconds": 1.0,
        "warmup": 0.5,
        "seed": 3,
        "results": results,
        "model_dir": model_dir,
        "servers": servers,
        "target": "null",
        "group": "g",
        "repeat": 2,
    }
    return SeriesStep(**{**given, **changed})  # type: ignore[arg-type]


def test_runs_of_both_loops_and_protocols(
    series: RunSeries, model_dir: Path, servers: tuple[RunningServer, ...], tmp_path: Path
) -> None:
    ticks: list[int] = []
    opened = series.run(step(model_dir, tmp_path, servers[:1]), lambda: ticks.append(1))
    closed = series.run(step(model_dir, tmp_path, servers[:1], protocol="grpc", arrivals="closed:users=2", users=2))
    assert ticks
    for path, arrivals in ((opened, "poisson:rate=100.0"), (closed, "closed:users=2")):
        run = open_run(path)
        assert run.finished
        assert run.header.arrivals.startswith(arrivals.rstrip(".0"))
        assert (run.header.target, run.header.group, run.header.repeat) == ("null", "g", 2)
        summary = analyse(run).summary
        assert summary.counts["ok"] == summary.due > 20


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_several_servers_behind_a_balancer(
    protocol: str, series: RunSeries, model_dir: Path, servers: tuple[RunningServer, ...], tmp_path: Path
) -> None:
    path = series.run(step(model_dir, tmp_path, servers, protocol=protocol, policy="round-robin", seconds=0.5))
    summary = analyse(open_run(path)).summary
    assert summary.counts["ok"] == summary.due


def test_a_server_that_is_gone_is_seen_by_the_balancer(
    series: RunSeries, model_dir: Path, servers: tuple[RunningServer, ...], tmp_path: Path
) -> None:
    """Half of the requests go to the dead one, which shows that both were asked."""
    dead = RunningServer("http://127.0.0.1:9", None, "bert", "remote")
    path = series.run(step(model_dir, tmp_path, (servers[0], dead), policy="round-robin"))
    counts = analyse(open_run(path)).summary.counts
    assert counts["ok"] == pytest.approx(counts["unavailable"], abs=2)


def test_what_cannot_be_begun_is_said_and_the_process_goes_on(
    series: RunSeries, model_dir: Path, servers: tuple[RunningServer, ...], tmp_path: Path
) -> None:
    dead = RunningServer("http://127.0.0.1:9", None, "bert", "remote")
    with pytest.raises(TargetError, match="does not answer"):
        series.run(step(model_dir, tmp_path, (dead,)))
    with pytest.raises(UsageError, match="unknown arrivals"):
        series.run(step(model_dir, tmp_path, servers[:1], arrivals="magic:rate=1"))
    assert series.run(step(model_dir, tmp_path, servers[:1], seconds=0.3)).is_dir()


def test_a_series_that_is_left_early_keeps_the_run_as_stopped(
    model_dir: Path, servers: tuple[RunningServer, ...], tmp_path: Path
) -> None:
    class Enough(Exception):
        pass

    def tick() -> None:
        if list(tmp_path.glob("*/requests.blocks")):
            raise Enough

    with pytest.raises(Enough), open_series() as series:
        series.run(step(model_dir, tmp_path, servers[:1], seconds=60.0), tick)
    (run,) = [open_run(path.parent) for path in tmp_path.glob("*/run.json")]
    assert run.finished
    assert run.file.interrupted


def test_a_process_that_is_killed_is_said(model_dir: Path, servers: tuple[RunningServer, ...], tmp_path: Path) -> None:
    with open_series() as series:

        def tick() -> None:
            if list(tmp_path.glob("*/requests.blocks")):
                os.kill(series.pid, signal.SIGKILL)

        with pytest.raises(TargetError, match="load generator ended by itself"):
            series.run(step(model_dir, tmp_path, servers[:1], seconds=60.0), tick)


def test_whoever_asked_may_be_killed_and_nothing_is_said(
    model_dir: Path, servers: tuple[RunningServer, ...], tmp_path: Path
) -> None:
    """Both pipes close in the middle of a run: it is stored, and the process ends without a traceback."""
    command = [sys.executable, "-m", "bench.load.series_process"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdin.write(step(model_dir, tmp_path, servers, seconds=60.0).to_line())
        child.stdin.flush()
        limit = time.monotonic() + 30
        while not any(tmp_path.glob("*/run.json")) and time.monotonic() < limit:
            time.sleep(0.05)
        child.stdout.close()
        child.stdin.close()
        assert child.stderr.read() == b""
        assert child.wait(30) == 0
    (folder,) = tmp_path.iterdir()
    assert open_run(folder).finished


def test_lines_carry_steps_and_replies(model_dir: Path, tmp_path: Path) -> None:
    server = RunningServer("http://127.0.0.1:1", "127.0.0.1:2", "bert", "remote", pid=5)
    told = step(model_dir, tmp_path, (server, server), options={"check_share": "50%"}, flags=("--a",))
    assert SeriesStep.from_line(told.to_line()) == told
    reply = SeriesReply("folder", "error", 4)
    assert SeriesReply.from_line(reply.to_line()) == reply


def test_options_reach_the_settings(model_dir: Path, tmp_path: Path) -> None:
    server = RunningServer("http://127.0.0.1:1", "127.0.0.1:2", "bert", "remote")
    options = {"check_share": "50%", "request_timeout": "2s", "compressed": "on"}
    found = settings_of(step(model_dir, tmp_path, (server,), options=options))
    assert (found.check_share, found.timeout, found.compressed, found.padded) == (0.5, 2.0, True, False)
    assert (found.run_time, found.warmup, found.users, found.seed) == (1.5, 0.5, 8, 3)
    assert str(settings_of(step(model_dir, tmp_path, (server,), protocol="grpc")).target) == "grpc://127.0.0.1:2"
    with pytest.raises(UsageError):
        settings_of(step(model_dir, tmp_path, (server,), options={"check_share": "most"}))
