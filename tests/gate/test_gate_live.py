"""The gate on live servers. Verdicts that hang on time are the business of benchmarks/bench_gate.py."""

import io
import shutil
from pathlib import Path

import orjson
import psutil
import pytest

from bench.bert.contract.exported_model import ExportedModel
from bench.cli import main
from bench.gate.ab_servers import open_ab_servers
from bench.gate.spec import GateSpec, Variant
from bench.results.run_reader import find_runs
from bench.server.process import binary
from bench.server.running import RunningServer
from bench.serving.target import parse_target
from bench.workload.due_times import ClosedLoop
from tests.support.degraded_server import degraded

pytestmark = pytest.mark.long(60)


def call(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return main(words, out, err), out.getvalue(), err.getvalue()


def test_wrong_answers_under_load_are_a_regression_at_once(demo_model: ExportedModel, tmp_path: Path) -> None:
    code, out, err = call(
        *("gate", "--baseline", str(demo_model.model_dir), "--candidate", degraded(tmp_path, wrong=0.05)),
        *("--model-dir", str(demo_model.model_dir), "--warmup", "1s", "--out", str(tmp_path / "kept")),
        *("--json", str(tmp_path / "gate.json"), "--protocol", "rest"),
    )
    assert code == 1, out
    verdict = orjson.loads((tmp_path / "gate.json").read_bytes())
    assert verdict["reason"].startswith("wrong_answers: ")
    assert verdict["pairs"] < 7
    assert verdict["counts"]["wrong"]["baseline"] == 0
    assert "bertbench: the candidate is worse: wrong_answers" in err
    stored = find_runs(sorted((tmp_path / "kept").iterdir()))
    assert [run.manifest.workload.scenario for run in stored] == ["gate-baseline", "gate-candidate"]
    assert stored[1].file.counts["wrong_answer"] >= verdict["counts"]["wrong"]["candidate"]


def test_refused_requests_are_a_regression_that_names_the_error_ratio(
    demo_model: ExportedModel, demo_server: RunningServer, tmp_path: Path
) -> None:
    faulty = Path(degraded(tmp_path, errors=0.2).removeprefix("binary:"))
    with binary(faulty, demo_model.model_dir) as candidate:
        assert demo_server.rest
        assert candidate.rest
        code, out, _ = call(
            *("gate", "--baseline", demo_server.rest, "--candidate", candidate.rest, "--metrics", "errors"),
            *("--model-dir", str(demo_model.model_dir), "--warmup", "1s", "--run-time", "400ms", "--protocol", "rest"),
        )
    assert code == 1, out
    assert out.splitlines()[-1].startswith("REGRESSION: error ratio +")
    assert "warning: candidate: " in out


def test_too_little_time_is_inconclusive(demo_model: ExportedModel) -> None:
    code, out, _ = call(
        *("gate", "--baseline", "embedded", "--candidate", "embedded", "--model-dir", str(demo_model.model_dir)),
        *("--warmup", "500ms", "--max-time", "1s"),
    )
    assert code == 3
    assert "a verdict needs 7; give more --max-time" in out


def test_fresh_processes_take_over_in_both_sides(demo_model: ExportedModel) -> None:
    side = Variant("embedded", parse_target("embedded"), demo_model.model_dir)
    with open_ab_servers(GateSpec(baseline=side, candidate=side, arrivals=ClosedLoop(2), seed=1)) as opened:
        opened.interleaving.warm_up(0.5, run=0.2)
        first = [one.server.pid for one in opened.arms]
        pairs = [opened.interleaving.run_pair()]
        opened.restart()
        second = [one.server.pid for one in opened.arms]
        pairs.append(opened.interleaving.run_pair())
        assert opened.restartable
        assert opened.restart_seconds
    assert len({*first, *second}) == 4
    assert not any(pid and psutil.pid_exists(pid) for pid in (*first, *second))
    # What warms the fresh ones up does not count.
    assert all(pair.baseline.good == pair.candidate.good == opened.interleaving.size.requests for pair in pairs)
    assert all("memory" in pair.candidate.values for pair in pairs)


def copied(model: ExportedModel, folder: Path) -> Path:
    """A copy of a model that may be spoilt; gives its version's folder."""
    shutil.copytree(model.model_dir, folder)
    return next(entry for entry in folder.iterdir() if entry.name.isdigit())


def test_candidates_that_do_not_load_are_the_targets_failure(demo_model: ExportedModel, tmp_path: Path) -> None:
    """A SavedModel that is cut, variables that are missing or cut, and a flag that the server refuses."""
    cut = copied(demo_model, tmp_path / "cut") / "saved_model.pb"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    shutil.rmtree(copied(demo_model, tmp_path / "bare") / "variables")
    short = next((copied(demo_model, tmp_path / "short") / "variables").glob("variables.data-*"))
    short.write_bytes(short.read_bytes()[:1000])
    good = str(demo_model.model_dir)
    for candidate, words in (
        (str(tmp_path / "cut"), ()),
        (str(tmp_path / "bare"), ()),
        (str(tmp_path / "short"), ("--protocol", "rest")),
        (good, ("--candidate-flag=--no_such_flag",)),
    ):
        code, out, err = call("gate", "--baseline", good, "--candidate", candidate, "--max-time", "40s", *words)
        line = out.splitlines()[-1]
        assert (code, line.startswith("TARGET_FAILED: the candidate never ran: ")) == (4, True), out
        assert err.splitlines()[-1].startswith("bertbench: the target failed: ")
    code, out, _ = call("gate", "--baseline", str(tmp_path / "cut"), "--candidate", good, "--max-time", "40s")
    assert (code, out.splitlines()[-1].startswith("TARGET_FAILED: the baseline never ran: ")) == (4, True)
