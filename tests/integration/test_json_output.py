"""What the commands that need a server print with `--json` and with `--quiet`."""

import io
import json
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import orjson
import pytest

from bench.bert.contract.exported_model import ExportedModel
from bench.cli import demo, main
from bench.cli.verify import verify_server
from bench.load.selftest.null_server import null_server
from bench.server.lifecycle import RunningServer
from bench.server.running import free_ports
from tests.support.json_documents import document, documents
from tests.support.locust_process import ROOT
from tests.support.toy_golden import write_model_dir

pytestmark = pytest.mark.long(120)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_dir(tmp_path_factory.mktemp("model"))


def call(*words: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return main([str(word) for word in words], out, err), out.getvalue(), err.getvalue()


def test_run(model_dir: Path, tmp_path: Path) -> None:
    words = ["--arrivals", "poisson:rate=40", "--repeat", 2, "--duration", "1s", "--users", 4]
    with null_server(model_dir) as addresses:
        given = ["--target", addresses["rest"], "--model-dir", model_dir, "--out", tmp_path / "runs"]
        code, out, err = call("run", "rest", *given, *words, "--json")
        assert code == 0, err
        found = document(out, "run")
        # Locust's text is on standard error.
        assert err.startswith("run 1 of 2: rest on ")
        quiet_code, quiet, quiet_err = call("-q", "run", "rest", *given, *words)
    assert (len(found["runs"]), found["exit_codes"]) == (2, [0, 0])
    for run in found["runs"]:
        manifest = orjson.loads((Path(run["path"]) / "run.json").read_bytes())
        counts = {name: run["counts"][name] + run["warmup"][name] for name in run["counts"]}
        assert counts == manifest["counts"]
        assert run["workload"] == manifest["workload"]
    (group,) = found["repeats"]
    assert group["runs"] == [run["name"] for run in found["runs"]]
    assert (quiet_code, quiet_err, len(quiet.splitlines())) == (0, "", 2)
    assert all("-rest: " in line for line in quiet.splitlines())


def test_a_run_that_fails(model_dir: Path, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    given = ["--target", f"http://127.0.0.1:{port}", "--model-dir", model_dir, "--out", tmp_path, "--duration", "1s"]
    code, out, err = call("run", "rest", *given, "--json")
    found = document(out, "error")
    assert (code, found["exit_code"], found["error"]["kind"]) == (4, 4, "target_failed")
    assert found["message"] in err.splitlines()


def test_gate_calibrate(model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with null_server(model_dir) as addresses:
        times = ["--max-time", "8s", "--warmup", "300ms", "--run-time", "200ms"]
        given = ["--target", addresses["rest"], "--model-dir", model_dir, "--gates", 1, "--seed", 1]
        code, out, err = call("gate", "calibrate", *given, *times, "--json")
    assert code == 0, err
    found = document(out, "gate calibrate")
    assert found["result"]["gates"] == len(found["verdicts"]) == 1
    assert found["verdicts"][0]["pairs"] >= 1


@pytest.fixture
def text(tmp_path: Path, demo_model: ExportedModel) -> Path:
    path = tmp_path / "text.tsv"
    path.write_text("".join(f"{entry.sentence.text}\n\n" for entry in demo_model.golden.sentences[:3]))
    return path


def test_score(demo_server: RunningServer, demo_model: ExportedModel, text: Path, tmp_path: Path) -> None:
    code, out, err = call("score", text, "--target", demo_server.rest, "--json")
    assert (code, err) == (0, "")
    *lines, end = documents(out, "score sentence", "score")
    assert [line["sentence"]["line"] for line in lines] == [1, 3, 5]
    for line, entry in zip(lines, demo_model.golden.sentences, strict=False):
        probs = [piece["prob"] for word in line["sentence"]["words"] for piece in word["pieces"]]
        assert np.log(probs) == pytest.approx(entry.log_prob, abs=1e-4)
    assert (end["sentences"], end["scored"], end["out"]) == (3, 3, None)
    assert end["words"] == sum(len(line["sentence"]["words"]) for line in lines)
    file = tmp_path / "scores.jsonl"
    given = ["score", text, "--target", demo_server.rest, "--out", file, "--format", "jsonl"]
    end = document(call(*given, "--json")[1], "score")
    assert (end["scored"], end["out"]) == (3, str(file))
    assert [json.loads(line) for line in file.read_text().splitlines()] == [line["sentence"] for line in lines]
    code, out, err = call("score", text, "--target", demo_server.rest, "--format", "tsv", "--json")
    assert (code, document(out, "error")["error"]["kind"]) == (2, "usage")
    assert "--json and --format" in err


def test_verify(demo_server: RunningServer, demo_model: ExportedModel) -> None:
    given = ["verify", "--target", demo_server.rest, "--sentences", 2]
    code, out, err = call(*given, "--json")
    assert (code, err) == (0, "")
    found = document(out, "verify")["verification"]
    assert (found["verdict"], found["sentences"], len(found["ways"])) == ("PASS", 2, 4)
    assert found["largest"]["difference"] == max(way["difference"] for way in found["ways"]) <= found["tolerance"]
    code, out, err = call(*given, "--json", "--tolerance", 0)
    wrong = document(out, "verify")
    assert (code, wrong["exit_code"], wrong["verification"]["verdict"]) == (1, 1, "WRONG")
    assert wrong["message"] == err.rstrip("\n")
    assert call(*given, "-q")[1].count("\n") == 1


def test_serve(demo_model: ExportedModel) -> None:
    ports = free_ports(2)
    words = ["serve", demo_model.model_dir, "--grpc-port", ports[0], "--rest-port", ports[1], "--json"]
    command = [sys.executable, "-m", "bench", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=60)
    found, end = documents(ready + rest, "serve", "error")
    assert (found["event"], found["grpc"]) == ("ready", f"127.0.0.1:{ports[0]}")
    assert found["rest"].startswith(f"http://127.0.0.1:{ports[1]}/")
    assert (process.returncode, end["exit_code"], end["error"]["kind"]) == (130, 130, "interrupted")
    assert end["message"] == err.rstrip("\n")


def test_train(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("the cat sat on the mat\n" * 110)
    shape = ["--layers", 1, "--vocab-size", 300, "--max-length", 16, "--steps", 2, "--evaluations", 1]
    code, out, err = call("train", text, "--out", tmp_path / "model", *shape, "--json")
    assert code == 0, err
    found = document(out, "train")
    assert (found["folder"], found["steps"]) == (str(tmp_path / "model"), 2)
    assert 0 <= found["accuracy"] <= 1
    assert "training: 2 steps" in err


def test_demo(demo_server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "COLD_CALLS", 2)
    monkeypatch.setattr(demo, "WARM_CALLS", 3)
    monkeypatch.setattr(demo, "verify_server", partial(verify_server, sentences=10))
    # `tests/install/test_demo.py` has the demo's own server and all sentences; the load is that of `test_run`.
    monkeypatch.setattr(demo, "embedded", lambda *given: nullcontext(demo_server))
    stored = (shutil.copytree(ROOT / "results/example/rest", tmp_path / "results" / name) for name in ("one", "other"))
    monkeypatch.setattr(demo, "run_scenario", lambda *given: next(stored))
    code, out, err = call("demo", "--seconds", 1, "--out", tmp_path / "results", "--json")
    assert code == 0, err
    found = document(out, "demo")
    assert [len(entry["words"]) for entry in found["scores"]] == [8, 8, 12]
    assert (found["verification"]["verdict"], found["verification"]["sentences"]) == ("PASS", 10)
    assert [entry["name"] for entry in found["race"]][-2:] == ["REST", "gRPC"]
    runs = [entry["run"] for entry in found["reports"]["runs"]]
    assert [run["name"] for run in runs] == ["one", "other"]
    assert all((Path(run["path"]) / "report.html").is_file() for run in runs)
    assert "6. Load" in err
