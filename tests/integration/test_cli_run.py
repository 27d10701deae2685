"""`bertbench run`, `bertbench calibrate`, and plain Locust with a server of its own."""

import contextlib
import io
import re
import signal
import socket
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.bert.contract.exported_model import ExportedModel
from bench.cli import main
from bench.load.selftest.null_server import null_server
from bench.load.selftest.self_test import read_self_tests
from bench.results.run_reader import find_runs
from tests.support.json_documents import document
from tests.support.locust_process import ROOT, command, environment, locust
from tests.support.toy_golden import write_model_dir

pytestmark = pytest.mark.long(35)

DEFAULT_MASTER_PORT = 5557


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_model_dir(tmp_path_factory.mktemp("model"))


def bertbench(*words: str) -> Any:
    out, err = io.StringIO(), io.StringIO()
    code = main(words, out, err)
    return code, out.getvalue(), err.getvalue()


def test_repeats(model_dir: Any, tmp_path: Path) -> None:
    words = ["--arrivals", "poisson:rate=50", "--repeat", "2", "--duration", "1s", "--users", "4"]
    with null_server(model_dir) as addresses:
        given = ["--target", f"grpc://{addresses['grpc']}", "--model-dir", str(model_dir), "--out", str(tmp_path)]
        code, out, err = bertbench("run", "grpc", *given, *words)
    assert code == 0, err
    runs = find_runs([tmp_path])
    assert {(run.manifest.arrivals, run.manifest.repeat, run.manifest.workload.seed) for run in runs} == {
        ("poisson:rate=50", 0, 0),
        ("poisson:rate=50", 1, 1),
    }
    assert len({run.manifest.group for run in runs}) == 1
    assert {run.manifest.target for run in runs} == {f"grpc://{addresses['grpc']}"}
    assert all(run.manifest.workload.duration == 1.0 for run in runs)
    assert all(str(run.path) in out for run in runs)
    (title,) = re.findall(r"^2 repeats of grpc, poisson:rate=50: (\d) VALID, (\d) INVALID$", out, re.MULTILINE)
    assert sum(map(int, title)) == 2


def test_processes_have_a_master_port_of_their_own(model_dir: Any, tmp_path: Path) -> None:
    """Another Locust master may listen on Locust's default port."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(socket.create_server(("", DEFAULT_MASTER_PORT)))
        addresses = stack.enter_context(null_server(model_dir))
        given = ["--target", addresses["rest"], "--model-dir", str(model_dir), "--out", str(tmp_path)]
        code, _, err = bertbench("run", "rest", *given, "--processes", "2", "--duration", "1s")
    assert code == 0, err
    (run,) = find_runs([tmp_path])
    assert set(run.columns(["worker"])["worker"].tolist()) == {0, 1}


def test_exit_codes(model_dir: Any, tmp_path: Path) -> None:
    given = ["--model-dir", str(model_dir), "--out", str(tmp_path), "--duration", "1s"]
    assert bertbench("run", "rest", "--target", "http://127.0.0.1:9", *given)[0] == 4
    assert bertbench("run", "rest", "--target", "nowhere", *given)[0] == 2
    assert bertbench("run", "rest", "--target", "http://127.0.0.1:9", *given, "--signature", "")[0] == 2
    assert not list(tmp_path.iterdir())


def test_calibration_is_stored_and_found_by_runs(
    model_dir: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = ["calibrate", "--ways", "grpc-fast", "--duration", "1s", "--model-dir", str(model_dir), "--json"]
    code, out, err = bertbench(*words)
    assert code == 0, err
    stored = read_self_tests()["grpc-fast"]
    assert stored.ceiling > 100
    assert 0 < stored.floor < 0.1
    assert document(out, "calibrate")["clients"] == {"grpc-fast": asdict(stored)}
    rate = f"constant:rate={3 * stored.ceiling:.0f}"
    with null_server(model_dir) as addresses:
        words = ["--host", addresses["grpc"], "--model-dir", str(model_dir), "-t", "2s", "-u", "16", "--drain", "0"]
        ended = locust("grpc_api.py", tmp_path / "runs", *words, "--arrivals", rate)
    assert ended.run.manifest.ceiling == pytest.approx(stored.ceiling)
    assert "ceiling is" in ended.err
    assert "INVALID" in ended.out
    assert "ceiling" in ended.out
    ended.accounted()
    assert bertbench("calibrate", "--ways", "pigeon")[0] == 2


def test_without_a_host_locust_starts_a_server_and_stops_it(demo_model: ExportedModel, tmp_path: Path) -> None:
    ended = locust("rest.py", tmp_path, "-u", "4", "-r", "4", "-t", "4s")
    assert ended.code == 0, ended.err
    assert set(ended.accounted()) == {"ok"}
    server = ended.run.server_samples()
    assert server["runtime_count"][-1] > server["runtime_count"][0]
    assert server["rest_count"][-1] > 0
    assert server["rss"][-1] > 50e6
    assert ended.run.manifest.server["backend"] == "embedded"
    assert ended.run.manifest.workload.model_digest == demo_model.golden.checkpoint_digest
    assert not _children_of_nobody("bench.server.embedded")


def test_ctrl_c_stops_the_server_too(demo_model: ExportedModel, tmp_path: Path) -> None:
    words = ["--headless", "-u", "2", "-t", "60s", "--results", str(tmp_path), "--model-dir", str(demo_model.model_dir)]
    process = subprocess.Popen(
        command("grpc_api.py", *words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(), cwd=ROOT
    )
    end = time.monotonic() + 60
    while not any(path.stat().st_size for path in tmp_path.glob("*/requests.blocks")):
        assert time.monotonic() < end
        time.sleep(0.1)
    servers = psutil.Process(process.pid).children(recursive=True)
    assert servers
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130, out
    assert not [server for server in servers if server.is_running()]
    (run,) = find_runs([tmp_path])
    assert run.finished
    assert run.file.interrupted


def _children_of_nobody(module: Any) -> Any:
    """Embedded servers whose parent has gone."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "ppid"])
        if module in (process.info["cmdline"] or []) and process.info["ppid"] == 1
    ]
