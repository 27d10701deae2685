"""Runs one after the other in a process of their own, to one server and to several behind a balancer."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.analysis.run import analyse
from bench.core.errors import TargetError, UsageError
from bench.load.runner.client import Runner, open_runner
from bench.load.runner.protocol import Reply
from bench.load.runner.worker import RunnerWorker
from bench.load.selftest.null_server import null_server
from bench.load.setup.run_spec import RunSpec, address_of
from bench.results.run_reader import open_run
from bench.server.running import RunningServer
from bench.workload.arrivals import ClosedLoop, Poisson
from tests.support.failing_server import listening
from tests.support.toy_golden import write_model_dir


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_dir(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def servers(model_dir: Path) -> Iterator[tuple[RunningServer, ...]]:
    with null_server(model_dir) as one, null_server(model_dir) as other:
        yield tuple(RunningServer(found["rest"], found["grpc"], "bert", "null") for found in (one, other))


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with open_runner() as found:
        yield found


def spec(model_dir: Path, results: Path, servers: tuple[RunningServer, ...], **changed: object) -> RunSpec:
    given: dict[str, object] = {
        "scenario": "step",
        "protocol": "rest",
        "arrivals": Poisson(100.0),
        "users": 8,
        "duration": 1.0,
        "warmup": 0.5,
        "seed": 3,
        "results": results,
        "model_dir": model_dir,
        "servers": servers,
        "target_name": "null",
        "group": "g",
        "repeat": 2,
        **changed,
    }
    if servers:
        given["target"] = address_of(servers[0], str(given["protocol"]))
    return RunSpec(**given)  # type: ignore[arg-type]


def test_runs_of_both_loops_and_protocols(
    runner: Runner, model_dir: Path, servers: tuple[RunningServer, ...], tmp_path: Path
) -> None:
    ticks: list[int] = []
    opened = runner.run(spec(model_dir, tmp_path, servers[:1]), lambda: ticks.append(1))
    closed = runner.run(spec(model_dir, tmp_path, servers[:1], protocol="grpc", arrivals=ClosedLoop(2), users=2))
    assert ticks
    for path, arrivals in ((opened, "poisson:rate=100.0"), (closed, "closed:users=2")):
        run = open_run(path)
        assert run.finished
        assert run.manifest.arrivals.startswith(arrivals.rstrip(".0"))
        assert (run.manifest.target, run.manifest.group, run.manifest.repeat) == ("null", "g", 2)
        summary = analyse(run).summary
        assert summary.counts["ok"] == summary.due > 20


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_several_servers_behind_a_balancer(
    protocol: str, runner: Runner, model_dir: Path, servers: tuple[RunningServer, ...], tmp_path: Path
) -> None:
    path = runner.run(spec(model_dir, tmp_path, servers, protocol=protocol, policy="round-robin", duration=0.5))
    summary = analyse(open_run(path)).summary
    assert summary.counts["ok"] == summary.due


def test_a_server_that_dies_is_seen_by_the_balancer(
    runner: Runner, model_dir: Path, servers: tuple[RunningServer, ...], tmp_path: Path
) -> None:
    """Half of the requests go to the dead one, which shows that both were asked."""
    with listening(tmp_path, model_dir, dies_at=0) as doomed:
        dead = RunningServer(doomed["rest"], None, "bert", "null")
        path = runner.run(spec(model_dir, tmp_path, (servers[0], dead), policy="round-robin"))
    counts = analyse(open_run(path)).summary.counts
    assert counts["ok"] == pytest.approx(counts["unavailable"], abs=2)


def test_what_cannot_be_begun_is_said_and_the_process_goes_on(
    runner: Runner, model_dir: Path, servers: tuple[RunningServer, ...], tmp_path: Path
) -> None:
    dead = RunningServer("http://127.0.0.1:9", None, "bert", "remote")
    with pytest.raises(TargetError, match="does not answer"):
        runner.run(spec(model_dir, tmp_path, (dead,)))
    with pytest.raises(TargetError, match="http://127.0.0.1:9 does not answer"):
        runner.run(spec(model_dir, tmp_path, (servers[0], dead), policy="round-robin"))
    with pytest.raises(UsageError, match="has no request within"):
        runner.run(spec(model_dir, tmp_path, servers[:1], arrivals=Poisson(1e-9)))
    assert runner.run(spec(model_dir, tmp_path, servers[:1], duration=0.3)).is_dir()


def test_a_runner_that_is_left_early_keeps_the_run_as_stopped(
    model_dir: Path, servers: tuple[RunningServer, ...], tmp_path: Path
) -> None:
    class Enough(Exception):
        pass

    def tick() -> None:
        if list(tmp_path.glob("*/requests.blocks")):
            raise Enough

    with pytest.raises(Enough), open_runner() as runner:
        runner.run(spec(model_dir, tmp_path, servers[:1], duration=60.0), tick)
    (run,) = [open_run(path.parent) for path in tmp_path.glob("*/run.json")]
    assert run.finished
    assert run.file.interrupted


def test_a_process_that_is_killed_is_said(model_dir: Path, servers: tuple[RunningServer, ...], tmp_path: Path) -> None:
    with open_runner() as runner:

        def tick() -> None:
            if list(tmp_path.glob("*/requests.blocks")):
                os.kill(runner.pid, signal.SIGKILL)

        with pytest.raises(TargetError, match="load generator ended by itself"):
            runner.run(spec(model_dir, tmp_path, servers[:1], duration=60.0), tick)


def test_whoever_asked_may_be_killed_and_nothing_is_said(
    model_dir: Path, servers: tuple[RunningServer, ...], tmp_path: Path
) -> None:
    """Both pipes close in the middle of a run: it is stored, and the process ends without a traceback."""
    command = [sys.executable, "-m", "bench.load.runner.main"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as child:  # type: ignore[call-overload]
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdin.write(spec(model_dir, tmp_path, servers, duration=60.0).to_json() + b"\n")
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


def test_lines_carry_replies() -> None:
    reply = Reply("folder", "error", 4)
    assert Reply.from_line(reply.to_line()) == reply


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "cannot open the run: there is not enough memory; close some programs"),
        (UsageError("no; yes"), "no; yes"),
    ],
)
def test_a_run_that_cannot_be_made_is_one_line(error: Exception, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(line: bytes) -> RunSpec:
        raise error

    monkeypatch.setattr(RunSpec, "from_json", fail)
    assert RunnerWorker()._reply(b"{}") == Reply(error=line, code=2)


def test_a_line_that_is_not_a_run_is_refused() -> None:
    command = [sys.executable, "-m", "bench.load.runner.main"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdin.write(b'{"format": 3, "users": 1}\n')
        child.stdin.flush()
        reply = Reply.from_line(child.stdout.readline())
        child.stdin.close()
        assert child.stderr.read() == b""
        assert child.wait(30) == 0
    assert (reply.code, reply.folder) == (2, "")
    assert reply.error.startswith("not a run spec")
