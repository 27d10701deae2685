"""Ctrl-C, SIGTERM, SIGHUP and kill at the stages of every command: one line, 130, 143 or 129, nothing left behind."""

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest

from bench.bert.contract.exported_model import ExportedModel
from bench.cli import COMMANDS
from bench.core.errors import ExitCode, TargetError
from bench.core.interrupts import Interrupted, exit_code_of_child
from bench.load.selftest.null_server import null_server
from bench.results.run_reader import find_runs
from bench.server.running import RunningServer, free_ports
from tests.support.json_documents import document
from tests.support.signalled_commands import (
    BERTBENCH,
    ROOT,
    Commands,
    Started,
    interrupted,
    locust,
    sending,
    stored,
    there,
)
from tests.support.synthetic_runs import simulate, write_run
from tests.support.toy_golden import write_model_dir

pytestmark = pytest.mark.long(110)

INT, TERM, HUP, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_dir(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def addresses(model_dir: Path) -> Iterator[dict[str, str]]:
    with null_server(model_dir) as found:
        yield found


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    with contextlib.closing(Commands(tmp_path, {"XDG_CACHE_HOME": str(tmp_path / "cache")})) as found:
        yield found


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Commands]:
    """With the cache that holds the demo model."""
    with contextlib.closing(Commands(tmp_path, {})) as found:
        yield found


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def load_words(model_dir: Path, addresses: dict[str, str], out: Path) -> list[object]:
    given = ["--model-dir", model_dir, "--target", addresses["rest"], "--out", out, "--users", 4, "--duration", "60s"]
    return [*BERTBENCH, "run", "rest", *given, "--arrivals", "constant:rate=50"]


def check(started: Started, number: signal.Signals) -> None:
    code, line = interrupted(number)
    assert started.end() == code, started.said
    assert started.line.startswith(line), started.said
    assert started.said["err"].count("bertbench: ") == 1


WORDS = {
    "train": ["text.txt", "--out", "x"],
    "export": ["--checkpoint", "demo", "--out", "x"],
    "score": ["text.txt"],
    "serve": ["x"],
    "run": ["rest"],
    "report": ["x"],
    "compare": ["x", "y"],
    "gate": ["--baseline", "x", "--candidate", "y"],
    "baseline": ["list"],
    "completion": ["bash"],
    "plan-load": ["--rate", "50/s"],
    "scenario": ["list"],
}


WAITING = "waiting at an import"
WAIT = f"""
import os, sys, time

class Wait:
    def find_spec(self, name, path=None, target=None):
        if name == {{name!r}}:
            print({WAITING!r}, file=sys.stderr, flush=True)
            while not os.path.exists({{go!r}}):
                time.sleep(0.01)

sys.meta_path.insert(0, Wait())
"""


def at_import(name: str, folder: Path) -> dict[str, str]:
    """The environment of a process of Python that waits for `folder/go` where it would import a module."""
    (folder / "sitecustomize.py").write_text(WAIT.format(name=name, go=str(folder / "go")))
    return {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize("number", [INT, TERM])
@pytest.mark.parametrize("command", COMMANDS)
def test_while_a_command_loads(command: str, number: signal.Signals, commands: Commands, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "bench", command, *WORDS.get(command, [])]
    started = commands.start(*words, environment=at_import("bench.cli.common", tmp_path))
    started.until(WAITING).tell(number)
    (tmp_path / "go").touch()
    check(started, number)


@pytest.mark.parametrize("number", [INT, TERM])
def test_while_a_scenario_loads(number: signal.Signals, commands: Commands) -> None:
    """Python says on standard error what it has imported, so that the signal comes in the middle of it."""
    command = locust()
    words = [command[0], "-X", "importtime", *command[1:], "--headless"]
    check(commands.start(*words).until("bench.load.locust_adapter.locust_stages").tell(number), number)


@pytest.mark.parametrize(
    ("stage", "number", "group", "times"),
    [
        ("run 1 of 1", INT, False, 1),
        ("run 1 of 1", TERM, True, 1),
        ("load", INT, True, 1),
        ("load", TERM, False, 1),
        ("load", HUP, False, 1),
        ("load", INT, False, 2),
    ],
)
def test_a_run(
    stage: str,
    number: signal.Signals,
    group: bool,
    times: int,
    commands: Commands,
    model_dir: Path,
    addresses: dict[str, str],
    tmp_path: Path,
) -> None:
    """What was measured is a whole run, marked as interrupted."""
    runs = tmp_path / "runs"
    started = commands.start(*load_words(model_dir, addresses, runs))
    started.until(stored(runs) if stage == "load" else stage)
    check(started.tell(number, group, times), number)
    if stage == "load":
        (run,) = find_runs([runs])
        assert run.finished
        assert run.file.interrupted
        assert run.file.counts["ok"] > 0
        assert started.line.endswith(f"; what was measured is in {runs}")


@pytest.mark.parametrize("number", [INT, TERM])
def test_repeats_list_what_was_measured(
    number: signal.Signals, commands: Commands, model_dir: Path, addresses: dict[str, str], tmp_path: Path
) -> None:
    """As JSON and JUnit XML: the finished run, and the one that the signal ended, which is stored and INVALID."""
    runs = tmp_path / "runs"
    words = load_words(model_dir, addresses, runs)
    words[words.index("60s")] = "1s"
    files = ["--junit", tmp_path / "junit", "--markdown", tmp_path / "markdown"]
    started = commands.start(*words, "--repeat", 50, "--json", *files)
    started.until("run 2 of 50: ").until(lambda one: len(list(runs.glob("*/run.json"))) > 1)
    check(started.tell(number), number)
    found = document(started.said["out"], "run")
    assert (found["exit_code"], found["message"]) == (128 + number, started.line)
    assert [run["path"] for run in found["runs"]] == [str(run.path) for run in find_runs([runs])]
    assert len(found["runs"]) > 1
    assert found["repeats"][0]["runs"] == [run["name"] for run in found["runs"]]
    stopped = [str(run.path) for run in find_runs([runs]) if run.file.interrupted]
    finished = [run for run in found["runs"] if run["path"] not in stopped]
    assert found["exit_codes"][: len(finished)] == [0] * len(finished)
    assert all(not run["valid"] for run in found["runs"] if run["path"] in stopped)
    (suite,) = ElementTree.parse(tmp_path / "junit").getroot()
    errors = {case.get("name"): error.get("message") for case in suite for error in case.findall("error")}
    assert errors["bertbench run came to its end"] == started.line
    invalid = {f"{run['name']}: validity" for run in found["runs"] if not run["valid"]}
    assert {name for name in errors if name.endswith(": validity")} == invalid
    markdown = (tmp_path / "markdown").read_text().lstrip()
    assert markdown.startswith(f"**{started.line}**\n\n## {found['runs'][0]['name']}")


@pytest.mark.parametrize(
    ("stage", "number"), [("Starting web interface", TERM), ("Waiting for workers", INT), ("Waiting for workers", TERM)]
)
def test_locust_before_there_is_a_test(
    stage: str, number: signal.Signals, commands: Commands, model_dir: Path, addresses: dict[str, str], tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    mode = ["--web-port", port] if "web" in stage else ["--headless", "--master", "--master-bind-port", port]
    words = ["--host", addresses["rest"], "--model-dir", model_dir, "--results", tmp_path / "runs", "-L", "DEBUG"]
    started = commands.start(*locust(), *mode, *words).until(stage)
    if "web" in stage:
        started.until(lambda one: any(link.status == "LISTEN" for link in one.family()[0].net_connections("tcp")))
    check(started.tell(number), number)


@pytest.mark.parametrize("number", [INT, TERM])
def test_a_gate_writes_what_it_has(
    number: signal.Signals, commands: Commands, model_dir: Path, addresses: dict[str, str], tmp_path: Path
) -> None:
    """INTERRUPTED, in every file, and never PASS; a signal before the first pair and after it."""
    sides = ["--baseline", addresses["rest"], "--candidate", addresses["rest"]]
    with null_server(model_dir) as other:
        sides[-1] = other["rest"]
        given = ["--model-dir", model_dir, "--protocol", "rest", "--max-time", "2m", "--run-time", "300ms"]
        # Until a pair is there, which the first line that tells of one shows.
        given += ["--warmup", "300ms" if number == TERM else "60s", "--out", tmp_path / "kept"]
        files = [word for name in ("json", "markdown", "junit") for word in (f"--{name}", tmp_path / name)]
        started = commands.start(*BERTBENCH, "gate", *sides, *given, *files)
        started.until(" pair" if number == TERM else sending(port_of(addresses["rest"])))
        check(started.tell(number), number)
    verdict = json.loads((tmp_path / "json").read_bytes())
    assert (verdict["verdict"], verdict["exit_code"]) == ("INTERRUPTED", 128 + number)
    assert f"interrupted by {number.name} after {verdict['pairs']} pair" in verdict["reason"]
    assert "INTERRUPTED" in (tmp_path / "markdown").read_text()
    assert 'errors="1"' in (tmp_path / "junit").read_text()
    assert "INTERRUPTED: " in started.said["out"]
    assert "PASS" not in started.said["out"]
    (gate,) = (tmp_path / "kept").iterdir()
    assert json.loads((gate / "gate.json").read_bytes()) == verdict
    if number == TERM:
        assert verdict["pairs"] >= 1
        assert len(find_runs([gate])) == 2


@pytest.mark.parametrize("arrivals", ["closed:users=2,think=1ms", "poisson:rate=100"])
def test_a_killed_gate_keeps_its_records(
    arrivals: str, commands: Commands, model_dir: Path, addresses: dict[str, str], tmp_path: Path
) -> None:
    """In the midst of the first pair, which takes two minutes: in closed loop of both arms, in open loop of one."""
    out, arms = tmp_path / "kept", 2 if arrivals.startswith("closed") else 1

    def measured() -> list[int]:
        return [int((run.columns(["warmup"])["warmup"] == 0).sum()) for run in find_runs(sorted(out.iterdir()))]

    with null_server(model_dir) as other:
        sides = ["--baseline", addresses["rest"], "--candidate", other["rest"], "--model-dir", model_dir]
        load = ["--protocol", "rest", "--arrivals", arrivals, "--warmup", "300ms", "--run-time", "60s"]
        started = commands.start(*BERTBENCH, "gate", *sides, *load, "--max-time", "10m", "--out", out)
        started.until(there("*/*/requests.blocks", out)).until(lambda one: sum(map(bool, measured())) == arms)
        before = measured()
        assert started.tell(KILL).process.wait(60) == -KILL
    after = measured()
    assert all(now >= then for now, then in zip(after, before, strict=True))
    for run in find_runs(sorted(out.iterdir())):
        assert not run.finished
        assert run.manifest.workload.duration == 600.0


@pytest.mark.parametrize(
    ("words", "note"),
    [
        (["gate", "calibrate", "--gates", "3", "--warmup", "60s", "--protocol", "rest"], "0 gates of 3 ran"),
        (["capacity", "--quick"], "0 steps done"),
    ],
)
def test_measurements_under_load(
    words: list[str], note: str, commands: Commands, model_dir: Path, addresses: dict[str, str], tmp_path: Path
) -> None:
    given = ["--target", addresses["rest"], "--model-dir", model_dir]
    given += ["--out", tmp_path / "out"] if words[0] == "capacity" else []
    started = commands.start(*BERTBENCH, *words, *given).until(sending(port_of(addresses["rest"])))
    check(started.tell(INT), INT)
    assert note in started.line


def test_a_sweep_says_what_it_has_and_goes_on(
    commands: Commands, model_dir: Path, addresses: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "sweep"
    words = [*BERTBENCH, "capacity", "--target", addresses["rest"], "--model-dir", model_dir, "--quick", "--out", out]
    words += ["--step-time", "1s"]
    started = commands.start(*words).until("ladder 2 users")
    check(started.tell(TERM, group=True), TERM)
    page = (out / "interrupted.md").read_text()
    assert "**INTERRUPTED: interrupted by SIGTERM after " in page
    assert "1 user" in page
    assert "see " in started.line
    assert "--resume continues" in started.line
    assert not (out / "capacity.md").exists()
    done = json.loads((out / "sweep.json").read_bytes())["done"]
    again = commands.start(*words, "--resume").until(sending(port_of(addresses["rest"])))
    check(again.tell(INT), INT)
    assert json.loads((out / "sweep.json").read_bytes())["done"] == done


def test_a_calibration(commands: Commands, model_dir: Path) -> None:
    started = commands.start(*BERTBENCH, "calibrate", "--model-dir", model_dir, "--ways", "rest-fast").until("ceiling")
    started.until(lambda one: len(one.family()) > 2)
    check(started.tell(TERM), TERM)


def test_a_report_that_is_written(commands: Commands, tmp_path: Path) -> None:
    run = write_run(tmp_path / "results", simulate())
    started = commands.start(*BERTBENCH, "report", run.path).until(there("*/*.png", tmp_path / "results"))
    check(started.tell(INT), INT)
    assert not list(tmp_path.glob("results/*/*.tmp"))


@pytest.mark.parametrize(
    ("name", "stage", "number"),
    [("slow", "started", TERM), ("bert", "gRPC", INT), ("bert", "gRPC", TERM)],
)
def test_serving(
    name: str, stage: str, number: signal.Signals, demo_model: ExportedModel, commands: Commands, tmp_path: Path
) -> None:
    """A stand-in for the server's binary: while it starts, and while it serves."""
    binary = tmp_path / "model_server"
    binary.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m tests.support.stand_in_server "$@"\n')
    binary.chmod(0o755)
    grpc, rest = free_ports(2)
    ports = ["--grpc-port", grpc, "--rest-port", rest]
    words = ["--backend", "binary", "--binary", binary, "--model-name", name, *ports]
    started = commands.start(*BERTBENCH, "serve", demo_model.model_dir, *words)
    started.until(stage if stage == "gRPC" else lambda one: len(one.family()) > 1)
    check(started.tell(number), number)
    with socket.create_server(("127.0.0.1", grpc)):
        pass


def test_scoring_goes_on_where_it_was(
    demo_server: RunningServer, demo_model: ExportedModel, real: Commands, tmp_path: Path
) -> None:
    text, out = tmp_path / "text.tsv", tmp_path / "scores.tsv"
    text.write_text("".join(f"The old house number {number} is here.\n" for number in range(30_000)))
    words = [*BERTBENCH, "score", text, "--target", demo_server.rest, "--out", out]
    started = real.start(*words).until(lambda one: out.exists() and out.stat().st_size > 10_000)
    check(started.tell(INT), INT)
    assert "--resume continues" in started.line
    assert out.with_name("scores.tsv.progress").exists()


def test_scoring_through_a_server_that_does_not_answer(real: Commands, tmp_path: Path) -> None:
    """A request that is under way is not waited for, though it may take a minute."""
    text = tmp_path / "text.tsv"
    text.write_text("A sentence.\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        started = real.start(*BERTBENCH, "score", text, "--target", f"grpc://127.0.0.1:{port}").until(sending(port))
        check(started.tell(TERM), TERM)


@pytest.mark.parametrize(
    ("words", "stage", "number"),
    [
        (["verify"], "golden_server", INT),
        (["train", "TEXT", "--out", "OUT", "--preset", "tiny"], "training:", INT),
        (["export", "--checkpoint", "tiny", "--out", "OUT", "--sentences", "TEXT"], ".export-*", TERM),
        (["demo", "--out", "OUT"], "2. Serve", TERM),
    ],
)
def test_commands_with_a_model(
    words: list[str], stage: str, number: signal.Signals, demo_server: RunningServer, real: Commands, tmp_path: Path
) -> None:
    text, out = tmp_path / "text.tsv", tmp_path / "out"
    text.write_text("".join(f"The old house number {number} is here.\n" for number in range(2000)))
    given = [{"TEXT": text, "OUT": out}.get(word, word) for word in words]
    given += ["--target", demo_server.rest] if words[0] == "verify" else []
    stages = {"golden_server": "sentences", ".export-*": there(".export-*", out)}
    started = real.start(*BERTBENCH, *given).until(stages.get(stage, stage))
    check(started.tell(number), number)
    assert not list(out.glob(".export-*"))


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (-9, "killed by SIGKILL (out of memory?)"),
        (-11, "killed by SIGSEGV"),
        (-6, "killed by SIGABRT"),
        (-64, "killed by "),
        (17, "exit status 17"),
        (120, "exit status 120"),
        (255, "exit status 255"),
    ],
)
def test_a_child_that_ended_as_it_never_should(status: int, text: str) -> None:
    with pytest.raises(TargetError, match="load generator ended by itself") as found:
        exit_code_of_child(status, "load generator")
    assert text in str(found.value)


def test_a_child_that_ended_as_it_should() -> None:
    assert [exit_code_of_child(code, "child") for code in range(5)] == list(ExitCode)
    for number in (INT, TERM, HUP):
        with pytest.raises(Interrupted) as found:
            exit_code_of_child(128 + number, "child")
        assert found.value.number == number


@pytest.mark.parametrize(("number", "more"), [(KILL, ("--processes", 2)), (signal.SIGSEGV, ())])
def test_a_run_whose_load_generator_is_killed(
    number: signal.Signals,
    more: tuple[object, ...],
    commands: Commands,
    model_dir: Path,
    addresses: dict[str, str],
    tmp_path: Path,
) -> None:
    """The workers of a master that is killed end with it."""
    runs = tmp_path / "runs"
    started = commands.start(*load_words(model_dir, addresses, runs), *more).until(stored(runs))
    family = started.family()
    os.kill(family[1].pid, number)
    assert started.end() == 4
    assert started.line.startswith(f"bertbench: the load generator ended by itself (killed by {number.name}")
    assert started.said["err"].count("\n") == 1
    assert not psutil.wait_procs(family, 30)[1]
    (run,) = find_runs([runs])
    assert not run.finished
    assert run.columns(["due"])["due"].size


def test_a_run_whose_watcher_is_killed(
    commands: Commands, model_dir: Path, addresses: dict[str, str], tmp_path: Path
) -> None:
    """The run goes on as long as it may, and says why."""
    runs = tmp_path / "runs"
    words = load_words(model_dir, addresses, runs)
    words[words.index("--duration") : words.index("60s") + 1] = ["--until", "p50±0.1%", "--max-duration", "6s"]
    started = commands.start(*words, "--warmup", "500ms").until(stored(runs))
    watcher = [one for one in started.family() if "bench.load.watch.main" in one.cmdline()]
    os.kill(watcher[0].pid, KILL)
    assert started.end() == 0, started.said
    (run,) = find_runs([runs])
    assert run.finished
    assert "the process that looks at the run in progress ended" in started.said["out"]
    assert "the run goes on for 6 s" in started.said["out"]


def test_a_run_that_loses_a_worker(
    commands: Commands, model_dir: Path, addresses: dict[str, str], tmp_path: Path
) -> None:
    """The run ends in time; what its worker left undone is no fault of the server's."""
    runs = tmp_path / "runs"
    words = [*load_words(model_dir, addresses, runs), "--processes", 2]
    words[words.index("60s")] = "9s"
    started = commands.start(*words).until(stored(runs))
    (master,) = psutil.Process(started.process.pid).children()
    os.kill(master.children()[0].pid, KILL)
    assert started.end() == 4, started.said
    assert "bertbench: worker " in started.line
    assert " was lost " in started.line


def test_a_calibration_whose_server_is_killed(commands: Commands, model_dir: Path) -> None:
    started = commands.start(*BERTBENCH, "calibrate", "--model-dir", model_dir, "--ways", "rest-fast").until("ceiling")
    started.until(lambda one: len(one.family()) > 2)
    (server,) = (one for one in started.family() if "bench.load.selftest.null_server" in " ".join(one.cmdline()))
    server.kill()
    assert started.end() == 4, started.said
    assert started.said["err"].splitlines()[-1].startswith("bertbench: ")


def test_a_sweep_whose_load_generator_is_killed(
    commands: Commands, model_dir: Path, addresses: dict[str, str], tmp_path: Path
) -> None:
    given = ["--target", addresses["rest"], "--model-dir", model_dir, "--quick", "--out", tmp_path / "sweep"]
    started = commands.start(*BERTBENCH, "capacity", *given).until(sending(port_of(addresses["rest"])))
    started.family()[1].kill()
    assert started.end() == 4
    assert started.line.startswith("bertbench: the load generator ended by itself (killed by SIGKILL")


@pytest.mark.parametrize("stream", ["out", "err"])
def test_a_reader_that_leaves(
    stream: str, commands: Commands, model_dir: Path, addresses: dict[str, str], tmp_path: Path
) -> None:
    """`| head -1`: 141 as other commands, not a word, nothing left; and what was measured is kept."""
    runs = tmp_path / "runs"
    command = " ".join(f"'{word}'" for word in load_words(model_dir, addresses, runs)).replace("60s", "1s")
    pipe = "| head -1" if stream == "out" else "2>&1 >/dev/null | head -1"
    words = f"set -o pipefail; {command} {pipe}; echo ended ${{PIPESTATUS[0]}}"
    started = commands.start("bash", "-c", words).until("ended")
    assert started.end() == 0
    expected = "ended 141" if stream == "out" else "ended 0"
    assert started.said["out"].splitlines()[-1] == expected, started.said
    assert started.said["err"] == ""
    (run,) = find_runs([runs])
    assert run.finished


def test_nohup_stays_what_it_is(commands: Commands, model_dir: Path, addresses: dict[str, str], tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    words = load_words(model_dir, addresses, runs)
    words[words.index("60s")] = "1s"
    started = commands.start("nohup", *words).until(stored(runs))
    started.tell(HUP)
    assert started.end() == 0
    (run,) = find_runs([runs])
    assert not run.file.interrupted
