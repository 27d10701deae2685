"""Locust's own options, as Locust documents them, on our scenarios."""

import dataclasses
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.load.selftest.null_server import null_server
from bench.results.run_reader import find_runs
from tests.support.locust_process import environment as process_environment
from tests.support.locust_process import free_port
from tests.support.signalled_commands import ROOT, Commands, interrupted, locust, stored
from tests.support.toy_golden import toy_golden, write_model_dir

pytestmark = pytest.mark.long(70)

# Locust's writer of CSV may wake up once more after Locust closed its files, while the workers end.
LATE_CSV = re.compile(
    r"^Traceback .*\n(?: .*\n)* .* in stats_writer\n(?: .*\n)*"
    r"ValueError: I/O operation on closed file.*\n.* failed with ValueError\n+",
    re.MULTILINE,
)


@dataclass(frozen=True)
class World:
    """A model, a server that answers rightly, and one that holds another model."""

    model_dir: Path
    right: str
    wrong: str


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    model_dir, golden = write_model_dir(tmp_path_factory.mktemp("model")), toy_golden()
    others = tuple(dataclasses.replace(entry, log_prob=entry.log_prob - 0.5) for entry in golden.sentences)
    other = write_model_dir(tmp_path_factory.mktemp("other"), dataclasses.replace(golden, sentences=others))
    with null_server(model_dir) as right, null_server(other) as wrong:
        yield World(model_dir, right["rest"], wrong["rest"])


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


def call(world: World, results: Path, *words: object, environment: dict[str, str] | None = None) -> Ended:
    """Locust on the REST scenario, with a model folder and a place for runs."""
    given = [*locust(), "--model-dir", world.model_dir, "--results", results, *words]
    done = subprocess.run(
        [str(word) for word in given],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
        env={**process_environment(), **(environment or {})},
        cwd=ROOT,
    )
    said = LATE_CSV.sub("", done.stderr)
    assert "Traceback" not in said, said
    return Ended(done.returncode, done.stdout, said)


def load(host: str, *more: object) -> list[object]:
    return ["--headless", "--host", host, "-u", 4, "-t", "1s", "--arrivals", "constant:rate=50", *more]


def tool(text: str) -> list[dict[str, object]]:
    """What `python -m json.tool` makes of a text."""
    done = subprocess.run(
        [sys.executable, "-m", "json.tool"], input=text, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, (done.stderr, text)
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("processes", [[], ["--processes", 2]])
@pytest.mark.parametrize("file", [False, True])
def test_json_is_alone_on_standard_output(processes: list[object], file: bool, world: World, tmp_path: Path) -> None:
    beside = ["--json-file", tmp_path / "more" / "stats"] if file else []
    ended = call(world, tmp_path / "runs", *load(world.right, "--json", *processes, *beside))
    assert ended.code == 0, ended.err
    (entry,) = tool(ended.out)
    assert entry["num_requests"] == 45
    assert entry["num_failures"] == 0
    assert "latency from due" in ended.err
    if file:
        assert json.loads((tmp_path / "more" / "stats.json").read_text()) == [entry]


def test_a_master_and_a_worker_of_its_own(world: World, tmp_path: Path) -> None:
    """The master's options from a file and from variables; the worker says no JSON of its own."""
    port = str(free_port())
    config = tmp_path / "locust.conf"
    config.write_text(
        "master = true\nheadless = true\nrun-time = 1s\nexpect-workers = 1\narrivals = constant:rate=40\n"
    )
    variables = {"LOCUST_USERS": "3", "LOCUST_HOST": world.right, "LOCUST_MASTER_BIND_PORT": port}
    worker = subprocess.Popen([*locust(), "--worker", "--master-port", port], cwd=ROOT, stderr=subprocess.PIPE)
    try:
        ended = call(world, tmp_path / "runs", "--config", config, "--json", environment=variables)
        assert worker.wait(300) == 0
    finally:
        worker.kill()
        worker.communicate()
    assert ended.code == 0, ended.err
    assert tool(ended.out)[0]["num_requests"] == 36
    (run,) = find_runs([tmp_path / "runs"])
    assert (run.manifest.workload.users, run.manifest.arrivals) == (3, "constant:rate=40")


def test_everything_that_is_written_at_once(world: World, tmp_path: Path) -> None:
    """CSV, HTML and a log file beside the JSON; --exit-code-on-error for answers that are wrong."""
    out = tmp_path / "out"
    files = ["--csv", out / "stats", "--html", out / "report.html", "--logfile", out / "log", "-L", "DEBUG"]
    more = ["--json", "--processes", 2, "--only-summary", "--exclude-tags", "slow", "--stop-timeout", 5]
    more += ["--no-preflight", "--exit-code-on-error", 17]
    ended = call(world, tmp_path / "runs", *load(world.wrong, *more, *files))
    assert ended.code == 17, ended.err
    (entry,) = tool(ended.out)
    assert entry["num_failures"] == 45
    names = {path.name for path in out.iterdir()}
    assert {"stats_stats.csv", "stats_failures.csv", "report.html", "log"} <= names
    assert "wrong_answer: drift" in (out / "stats_failures.csv").read_text()
    assert "Shutting down (exit code 17)" in (out / "log").read_text()
    assert ended.err.splitlines()[-1].startswith("bertbench: all answers are wrong")


@pytest.mark.parametrize(
    ("server", "words", "variables", "code"),
    [
        ("wrong", ["--no-preflight"], {}, 1),
        ("wrong", ["--no-preflight", "--exit-code-on-error", 0], {}, 0),
        ("wrong", ["--no-preflight", "--exit-code-on-error", 1], {}, 1),
        ("wrong", ["--no-preflight"], {"LOCUST_EXIT_CODE_ON_ERROR": "23"}, 23),
        # Another model: no test either, and yet answers that are wrong.
        ("wrong", [], {}, 1),
        ("wrong", ["--exit-code-on-error", 0], {}, 1),
        ("wrong", ["--exit-code-on-error", 17], {}, 17),
        # Requests that the server does not know: none gets an answer.
        ("right", ["--signature", "serving_default", "--no-preflight"], {}, 4),
        ("right", ["--signature", "serving_default", "--no-preflight", "--exit-code-on-error", 17], {}, 17),
        # The preflight sees that; then there is no test.
        ("right", ["--signature", "serving_default", "--exit-code-on-error", 17], {}, 4),
        # No test, so no result that could contain a failure.
        ("nobody", ["--exit-code-on-error", 17], {}, 4),
        ("right", ["--exit-code-on-error", 17, "--arrivals", "nonsense"], {}, 2),
        ("right", ["--exit-code-on-error", 17], {}, 0),
        ("right", ["--exit-code-on-error", 17, "--arrivals", "trace:EMPTY"], {}, 2),
    ],
)
def test_exit_codes(
    server: str, words: list[object], variables: dict[str, str], code: int, world: World, tmp_path: Path
) -> None:
    (tmp_path / "empty.csv").touch()
    words = [f"trace:{tmp_path / 'empty.csv'}" if word == "trace:EMPTY" else word for word in words]
    host = {"wrong": world.wrong, "right": world.right, "nobody": "http://127.0.0.1:9"}[server]
    ended = call(world, tmp_path / "runs", *load(host), *words, environment=variables)
    assert ended.code == code, ended.err
    assert ended.err.count("bertbench: ") == (0 if server == "right" and code == 0 else 1)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--tags", "slow"], "--tags slow leaves RestUser no task"),
        (["--tags", "slow", "fast", "--web-port", "PORT"], "--tags fast slow leaves RestUser no task"),
        (["--headless", "-t", "0"], "the run needs a run time"),
        (["--headless", "-t", ""], "run-time"),
        (["--headless", "-u", "0"], "0"),
        (["--autostart", "--web-port", "PORT", "--warmup", "2 moons"], "2 moons"),
    ],
)
def test_what_cannot_be_begun_is_one_line_and_exit_2(
    words: list[object], reason: str, world: World, tmp_path: Path
) -> None:
    given = [free_port() if word == "PORT" else word for word in words]
    given += ["--headless"] if given[0] == "--tags" and "--web-port" not in given else []
    ended = call(world, tmp_path / "runs", "--host", world.right, *given)
    assert ended.code == 2, ended.err
    assert reason in ended.err.splitlines()[-1]
    assert not list(tmp_path.glob("runs/*"))


def test_autostart_and_autoquit(world: World, tmp_path: Path) -> None:
    """The web page's process ends by itself, soon after its run."""
    mode = ["--autostart", "--autoquit", 1, "--web-port", free_port(), "--json"]
    ended = call(world, tmp_path / "runs", *load(world.right)[1:], *mode)
    assert ended.code == 0, ended.err
    assert tool(ended.out)
    (run,) = find_runs([tmp_path / "runs"])
    assert run.finished
    assert not run.file.interrupted
    assert run.file.counts["ok"] == run.manifest.scheduled == 50


def test_json_of_an_interrupted_test(world: World, tmp_path: Path) -> None:
    """SIGTERM, which Locust answers beside its main greenlet: one document, one line."""
    commands = Commands(tmp_path, {})
    runs = tmp_path / "runs"
    try:
        words = [
            "--model-dir",
            world.model_dir,
            "--results",
            runs,
            "-t",
            "60s",
            "--json",
            "--html",
            tmp_path / "r.html",
        ]
        started = commands.start(*locust(), *load(world.right), *words).until(stored(runs))
        code, line = interrupted(signal.SIGTERM)
        assert started.tell(signal.SIGTERM).end() == code
    finally:
        commands.close()
    assert started.line.startswith(line)
    assert len(tool(started.said["out"])) <= 1
    assert (tmp_path / "r.html").stat().st_size > 1000
