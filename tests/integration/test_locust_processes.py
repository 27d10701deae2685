"""Master and workers, kills, interrupts, and the web UI."""

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import psutil
import pytest
import requests

from bench.analysis.run import analyse
from bench.load.locust_adapter.options import NOT_IN_FORM
from bench.load.selftest.null_server import null_server
from bench.results.blocks import OUTCOME_CODES
from bench.results.manifest import Stopping
from bench.results.records import Outcome
from bench.results.run_reader import find_runs
from tests.support.locust_process import ROOT, environment, free_port, locust, wait_for
from tests.support.locust_process import started as start_locust
from tests.support.queue_server import queue_server
from tests.support.toy_golden import write_model_dir

pytestmark = pytest.mark.long(65)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_model_dir(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def addresses(model_dir: Any) -> Iterator[Any]:
    with null_server(model_dir) as found:
        yield found


@pytest.fixture
def started(model_dir: Any, addresses: Any, tmp_path: Path) -> Iterator[Any]:
    """Starts Locust on the REST scenario; ends whatever is left at the end."""
    processes = []

    def start(*words: str, mode: Any = ("--headless", "--only-summary")) -> Any:
        given = ["--model-dir", str(model_dir), "--host", addresses["rest"], "--results", str(tmp_path / "runs")]
        processes.append(start_locust("rest.py", *mode, *given, *words))
        return processes[-1]

    yield start
    for process in processes:
        for child in [*psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []:
            child.kill()
        process.kill()
        process.wait()
        process.stdout.close()


def the_run(folder: Any) -> Any:
    (run,) = find_runs([folder / "runs"])
    return run


def stored(folder: Any) -> Any:
    """Records on disk so far."""
    if not list(folder.glob("runs/*/requests.blocks")):
        return 0
    return the_run(folder).columns(["due"])["due"].size


def test_two_processes_send_what_one_would(model_dir: Any, addresses: Any, tmp_path: Path) -> None:
    words = [
        "--model-dir",
        str(model_dir),
        "--host",
        addresses["grpc"],
        "-u",
        "8",
        "-t",
        "2s",
        "--arrivals",
        "poisson:rate=100",
    ]
    due = {}
    for processes in ([], ["--processes", "2"]):
        ended = locust("grpc_api.py", tmp_path / str(len(processes)), *words, *processes)
        assert ended.code == 0, ended.err
        assert set(ended.accounted()) == {"ok"}
        columns = ended.run.columns(["due", "worker"])
        due[len(processes)] = np.sort(columns["due"]).tolist()
        workers = set(columns["worker"].tolist())
        assert workers == ({0, 1} if processes else {0})
        samples = ended.run.client_samples()["worker"]
        assert set(samples.tolist()) == {float(worker) for worker in workers}
        measured = int((~ended.run.columns(["warmup"])["warmup"]).sum())
        assert re.search(rf"Aggregated +{measured} ", ended.err + ended.out)
        assert f": {ended.accounted()['ok']} in all" in ended.out
    assert due[0] == due[2]


def test_a_killed_worker(started: Any, tmp_path: Path) -> None:
    """The run ends, says so, and what the other recorded is all there; due is the sum over the outcomes."""
    process = started("-u", "8", "-t", "9s", "--arrivals", "constant:rate=100", "--processes", "2")
    wait_for(lambda: stored(tmp_path) > 150)
    victim = psutil.Process(process.pid).children()[0]
    victim.kill()
    out, _ = process.communicate(timeout=120)
    run = the_run(tmp_path)
    assert process.returncode == 4, out
    lost = re.search(r"worker (\d) was lost", out)
    assert lost, out
    assert "INVALID" in out
    columns = run.columns(["worker", "outcome", "due"])
    assert run.finished
    assert columns["due"].size == run.manifest.scheduled == 900
    assert sum(run.file.counts.values()) == 900
    survivor = columns["worker"] != int(lost[1])
    assert survivor.sum() == 450
    assert (columns["outcome"][survivor] == OUTCOME_CODES[Outcome.OK]).all()
    assert run.file.counts["dropped"] == (columns["outcome"][~survivor] == OUTCOME_CODES[Outcome.DROPPED]).sum() > 200


@pytest.mark.parametrize(
    ("number", "arrivals"), [(signal.SIGTERM, "constant:rate=100"), (signal.SIGINT, "closed:think=50ms")]
)
def test_a_worker_that_a_signal_ends(started: Any, tmp_path: Path, number: Any, arrivals: str) -> None:
    """As a pod that is evicted: it sends its records and says so, and what was due from then on counts as dropped."""
    process = started("-u", "8", "-t", "8s", "--arrivals", arrivals, "--processes", "2")
    wait_for(lambda: stored(tmp_path) > 150)
    psutil.Process(process.pid).children()[0].send_signal(number)
    out, _ = process.communicate(timeout=120)
    run = the_run(tmp_path)
    assert process.returncode == 4, out
    lost = re.search(r"bertbench: worker (\d) was lost", out)
    assert lost, out
    assert run.finished
    assert not run.file.interrupted
    columns = run.columns(["worker", "outcome"])
    assert (columns["outcome"][columns["worker"] != int(lost[1])] == OUTCOME_CODES[Outcome.OK]).all()
    if run.manifest.scheduled is not None:
        assert columns["worker"].size == run.manifest.scheduled == 800
        assert run.file.counts["dropped"] > 100


def with_a_late_worker(words: list[str], folder: Path) -> tuple[str, int | None]:
    """Output of the master, and exit code of a worker that is started when the load is on; None if it does not end."""
    scenario = ["-f", str(ROOT / "scenarios" / "rest.py")]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": environment()}

    def start(*more: str) -> "subprocess.Popen[str]":
        return subprocess.Popen([sys.executable, "-m", "locust", *scenario, *more], **pipes)

    with start("--master", "--expect-workers", "1", *words) as master, start("--worker") as first:
        try:
            wait_for(lambda: stored(folder) > 100)
            with start("--worker") as late:
                try:
                    out, _ = master.communicate(timeout=300)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        late.wait(20)
                    code = late.poll()
                finally:
                    late.kill()
            assert first.wait(60) == 0
        finally:
            master.kill()
            first.kill()
    assert master.returncode == 0, out
    return str(out), code


def test_a_worker_that_joins_late_changes_nothing_and_is_named(model_dir: Any, addresses: Any, tmp_path: Path) -> None:
    """Locust would give it half of the users, which have no plan there, and stop those of the first worker."""
    given = ["--model-dir", str(model_dir), "--host", addresses["rest"], "--headless", "--only-summary", "-u", "8"]
    given += ["--arrivals", "closed:think=20ms", "--warmup", "0s"]
    # On a busy machine the second worker may be up only after a short run.
    for seconds in (9, 30, 90):
        folder = tmp_path / str(seconds)
        out, code = with_a_late_worker([*given, "-t", f"{seconds}s", "--results", str(folder / "runs")], folder)
        run = the_run(folder)
        notes = [line for line in run.manifest.warnings if "took no part" in line]
        if notes:
            break
    (note,) = notes
    assert code == 0
    assert re.search(r"worker \S+ joined [0-9.]+ m?s into the run, too late", note)
    assert note in out
    samples = run.client_samples()
    assert set(samples["worker"].tolist()) == {0.0}
    # All users are there until the load ends.
    users = samples["users"][(samples["time"] > 1.5) & (samples["time"] < seconds - 0.5)]
    assert users.size > 5
    assert (users == 8).all()


def test_workers_that_are_all_lost_before_the_load_begins(started: Any, tmp_path: Path) -> None:
    """Locust stops such a test, waits until its end and exits with 0; no run was made."""
    process = started("-u", "100", "-r", "1", "-t", "100s", "--processes", "2")
    lines: list[str] = []
    while "Sending spawn jobs" not in (line := process.stdout.readline()):
        assert line, lines
        lines.append(line)
    for worker in psutil.Process(process.pid).children():
        worker.kill()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 4, out
    assert out.count("bertbench: all workers were lost before the load began") == 1
    assert not list(tmp_path.glob("runs/*/run.json"))


def test_a_run_that_asks_for_too_much_is_stopped(model_dir: Any, tmp_path: Path) -> None:
    """Two processes ask for a quarter more than the server carries; what it carried is kept."""
    with queue_server(model_dir, servers=4, mean=0.02, cv=0.5) as host:
        given = ["--model-dir", str(model_dir), "--host", host, "--arrivals", "poisson:rate=250", "-u", "300"]
        ended = locust("rest.py", tmp_path, *given, "-t", "14s", "--warmup", "1s", "--processes", "2")
    run, overload = ended.run, ended.run.file.overload
    assert ended.code == 0, ended.err
    assert set(ended.accounted()) == {"ok"}
    assert run.finished
    assert run.file.interrupted
    assert 9 <= overload.time <= run.file.elapsed < 14
    assert overload.carried_lo < 210 < overload.asked
    assert overload.carried == pytest.approx(200, rel=0.1)
    # A worker hears of the stop a little later.
    assert run.columns(["due"])["due"].max() <= run.file.elapsed + 1
    assert "overloaded: " in ended.out
    throughput = analyse(run).summary.metrics["throughput"]
    assert throughput.center == pytest.approx(overload.carried, rel=0.1)


def test_a_killed_generator_leaves_its_records_and_an_unfinished_run(started: Any, tmp_path: Path) -> None:
    process = started("-u", "4", "-t", "30s", "--arrivals", "constant:rate=100")
    wait_for(lambda: stored(tmp_path) > 100)
    wait_for(lambda: stored(tmp_path) > 200)
    before = stored(tmp_path)
    process.kill()
    process.wait()
    run = the_run(tmp_path)
    assert not run.finished
    columns = run.columns(["due", "outcome"])
    assert columns["due"].size >= before
    # Of what was due before the last that is stored, only what was in flight can be missing.
    assert round(columns["due"].max() * 100) + 1 - columns["due"].size <= 4


WORKER = """
import sys
import locust.runners
locust.runners.MASTER_HEARTBEAT_TIMEOUT = 2
from locust import events
from locust.main import main
events.heartbeat_received.add_listener(lambda **_: print("heard", flush=True))
sys.argv = ["locust", *sys.argv[1:]]
main()
"""


def test_a_worker_whose_master_is_killed(model_dir: Any, addresses: Any) -> None:
    """On another machine nothing else ends it; Locust waits for a minute, here for two seconds."""
    environ = {**environment(), "LOCUST_MASTER_BIND_PORT": (port := str(free_port())), "LOCUST_MASTER_NODE_PORT": port}
    scenario = ["-f", str(ROOT / "scenarios" / "rest.py")]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": environ}
    given = ["--master", "--headless", "--expect-workers", "9", "--model-dir", str(model_dir)]
    given += ["--host", addresses["rest"]]
    with (
        subprocess.Popen([sys.executable, "-c", WORKER, *scenario, "--worker"], **pipes) as worker,
        subprocess.Popen([sys.executable, "-m", "locust", *scenario, *given], **pipes) as master,
    ):
        try:
            assert any("heard" in line for line in worker.stdout)
            master.kill()
            out, _ = worker.communicate(timeout=120)
        finally:
            master.kill()
            worker.kill()
    assert worker.returncode == 4, out
    assert "bertbench: the master stopped responding; see how it ended and start the run again" in out
    assert "Traceback" not in out


@pytest.mark.parametrize(("number", "processes"), [(signal.SIGTERM, []), (signal.SIGINT, ["--processes", "2"])])
def test_an_interrupted_run_is_whole_but_says_so(started: Any, tmp_path: Path, number: Any, processes: Any) -> None:
    # It may stop by itself, but not so soon.
    until = ["--until", "throughput±0.1%", "--max-duration", "54s"] if processes else []
    process = started("-u", "8", "-t", "60s", "--arrivals", "constant:rate=50", *processes, *until)
    wait_for(lambda: stored(tmp_path) > 40)
    process.send_signal(number)
    out, _ = process.communicate(timeout=120)
    run = the_run(tmp_path)
    assert process.returncode == 128 + number, out
    assert f"bertbench: interrupted by {number.name}; what was measured is in {run.path}\n" in out
    assert run.finished
    assert run.file.interrupted
    due = run.columns(["due"])["due"]
    assert due.size == sum(run.file.counts.values()) == run.file.counts["ok"]
    # A worker hears of the stop a little later.
    assert due.max() <= run.file.elapsed + 1 < 60
    assert "was stopped after" in out
    (note,) = [text for text in run.manifest.warnings if "scheduled" in text]
    assert re.fullmatch(
        r"stopped [\d.]+ m?s into the run: [\d,]+ of the 3,000 scheduled requests were not due any more", note
    )
    assert "have a record" not in out
    assert run.file.stopping == (Stopping(planned=54.0, looks=ANY) if processes else None)


# What the web page's reply says of a start that cannot be begun.
BAD_FORMS = [
    ({"arrivals": "nonsense"}, "unknown arrivals 'nonsense'"),
    ({"arrivals": "poisson:rate=-3"}, "rate"),
    ({"run_time": ""}, "run time"),
    ({"run_time": "soon"}, "run_time"),
    ({"run_time": "0s"}, "run time"),
    ({"warmup": "5 parsecs"}, "5 parsecs"),
    ({"warmup": "2m"}, "warm-up"),
    ({"drain": "-1s"}, "-1s"),
    ({"check_share": "150%"}, "150%"),
    ({"sentences_per_request": "0"}, "--sentences-per-request"),
    ({"model_dir": "/nowhere"}, "cannot set --model-dir"),
    ({"results": "/nowhere"}, "cannot set --results"),
    ({"server_flags": "--a=1"}, "cannot set --server-flags"),
    ({"html_file": "/nowhere"}, "no field 'html_file'"),
    ({"headers": "X-Key:@/etc/hosts"}, "names a variable or a file"),
    ({"arrivals": "trace:/etc/hosts"}, "the file of a trace"),
    ({"host": "binary:/bin/true"}, "cannot start 'binary:/bin/true'"),
    ({"host": "http://127.0.0.1:9"}, "127.0.0.1:9"),
    ({"padded": "true", "signature": "score"}, "--padded"),
    ({"user_count": "0"}, "0"),
    ({"user_count": "many"}, "many"),
]


def test_the_web_ui_makes_a_run_of_each_test(started: Any, tmp_path: Path) -> None:
    process = started("--web-port", str(port := free_port()), mode=())
    url = f"http://127.0.0.1:{port}"
    page = wait_for(lambda: answers(url))
    for option in ("arrivals", "check_share", "request_timeout", "sentences_per_request", "padded"):
        assert f'"{option}"' in page or f"&#34;{option}&#34;" in page
    for option in NOT_IN_FORM:
        assert f'"{option}"' not in page
        assert f"&#34;{option}&#34;" not in page
    form = {"user_count": 4, "spawn_rate": 100, "run_time": "2s", "arrivals": "constant:rate=20", "seed": "3"}
    form["host"] = process.args[process.args.index("--host") + 1]
    assert requests.post(f"{url}/swarm", data=form, timeout=120).json()["success"]
    wait_for(lambda: [run for run in runs_of(tmp_path) if run.finished])
    form |= {"run_time": "60s", "arrivals": "closed:think=20ms"}
    wait_for(lambda: requests.post(f"{url}/swarm", data=form, timeout=120).json()["success"])
    wait_for(lambda: len(runs_of(tmp_path)) == 2 and stored_in(runs_of(tmp_path)[1]) > 20)
    assert requests.get(f"{url}/stats/requests", timeout=120).json()["stats"]
    requests.post(f"{url}/stop", timeout=120)
    wait_for(lambda: runs_of(tmp_path)[1].finished)
    for bad, reason in BAD_FORMS:
        reply = requests.post(f"{url}/swarm", data={**form, **bad}, timeout=120).json()
        assert not reply["success"]
        assert reason in reply["message"], reply
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    first, second = runs_of(tmp_path)
    assert first.manifest.arrivals == "constant:rate=20"
    assert first.manifest.workload.seed == 3
    assert first.file.counts["ok"] == first.manifest.scheduled == 40
    assert not first.file.interrupted
    assert second.manifest.arrivals == "closed:users=4,think=0.02s"
    assert second.file.interrupted
    assert "bertbench: unknown arrivals 'nonsense'" in out
    assert process.returncode == 130
    assert out.endswith(f"bertbench: interrupted by SIGINT; what was measured is in {second.path}\n")
    assert "Traceback" not in out


def answers(url: str) -> Any:
    try:
        return requests.get(url, timeout=120).text
    except requests.RequestException:
        return None


def runs_of(folder: Any) -> Any:
    return find_runs([folder / "runs"]) if any(folder.glob("runs/*/run.json")) else []


def stored_in(run: Any) -> Any:
    return run.columns(["due"])["due"].size


def test_a_worker_is_light(started: Any, tmp_path: Path) -> None:
    """It holds 150 MB or less while it sends, and never loads the TensorFlow runtime."""
    process = started("-u", "4", "-t", "4s", "--processes", "1", "--arrivals", "constant:rate=200")
    wait_for(lambda: stored(tmp_path) > 100)
    (worker,) = psutil.Process(process.pid).children()
    libraries = {entry.path for entry in worker.memory_maps()}
    assert not [path for path in libraries if "libtensorflow" in path or "_pywrap" in path]
    assert worker.memory_info().rss <= 150e6
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    assert max(the_run(tmp_path).client_samples()["rss"]) <= 150e6
