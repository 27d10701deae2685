"""The gate on live servers. Verdicts that hang on time are the business of tests/benchmarks/bench_gate.py."""

import io
from pathlib import Path

import orjson
import psutil

from bench.bert.exported import ExportedModel
from bench.cli import main
from bench.load.duel import Contender, Load, duel
from bench.results.run import find_runs
from bench.results.schedules import ClosedLoop
from bench.serving.target import parse_target
from tests.degraded import degraded


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
    kept = find_runs(sorted((tmp_path / "kept").iterdir()))
    assert [run.header.workload.scenario for run in kept] == ["gate-baseline", "gate-candidate"]
    assert kept[1].file.counts["wrong_answer"] >= verdict["counts"]["wrong"]["candidate"]


def test_refused_requests_are_a_regression_that_names_the_error_ratio(
    demo_model: ExportedModel, tmp_path: Path
) -> None:
    code, out, _ = call(
        *("gate", "--baseline", "embedded", "--candidate", degraded(tmp_path, errors=0.2), "--metrics", "errors"),
        *("--model-dir", str(demo_model.model_dir), "--warmup", "1s", "--run-time", "400ms"),
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
    side = Contender("embedded", parse_target("embedded"), demo_model.model_dir)
    load = Load(protocol="grpc", signature="score", arrivals=ClosedLoop(2), model_name="bert", seed=1)
    with duel(side, side, load) as both:
        both.pairing.warm_up(0.5, run=0.2)
        first = [one.server.pid for one in both.sides]
        pairs = [both.pairing.run_pair()]
        both.renew()
        second = [one.server.pid for one in both.sides]
        pairs.append(both.pairing.run_pair())
        assert both.renewable
        assert both.renew_seconds
    assert len({*first, *second}) == 4
    assert not any(pid and psutil.pid_exists(pid) for pid in (*first, *second))
    # What warms the fresh ones up does not count.
    assert all(pair.baseline.good == pair.candidate.good == both.pairing.size.requests for pair in pairs)
    assert all("memory" in pair.candidate.values for pair in pairs)
