from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.analysis.run import analyse
from bench.gate.metrics import run_metrics, stored_run_metrics, stored_warmup_metrics
from bench.results.blocks import OUTCOME_CODES
from bench.results.records import Outcome, RequestRecord
from tests.support import synthetic_runs
from tests.support.synthetic_runs import simulate, write_run


def columns(latency: NDArray[Any], outcomes: list[Outcome]) -> dict[str, NDArray[Any]]:
    due = np.arange(latency.size) * 0.01
    codes = np.array([OUTCOME_CODES[outcome] for outcome in outcomes], np.uint8)
    return {"due": due, "done": due + latency, "outcome": codes, "checked": codes <= 1}


def test_figures_by_hand() -> None:
    latency = np.arange(1, 401) / 1000
    outcomes = [Outcome.OK] * 398 + [Outcome.TIMEOUT, Outcome.WRONG_ANSWER]
    found = run_metrics(columns(latency, outcomes), seconds=4.0, cpu=1.99, memory=5e8)
    assert (found.requests, found.good, found.failed, found.wrong, found.checked) == (400, 398, 1, 1, 399)
    assert found.failures == {"timeout": 1}
    assert found.values == pytest.approx(
        {
            "errors": 1 / 400,
            "throughput": 398 / 4,
            "p50": 0.199,
            "p95": 0.379,
            "p99": 0.395,
            "cpu": 0.005,
            "memory": 5e8,
        }
    )


def test_what_a_run_does_not_carry_is_absent() -> None:
    few = run_metrics(columns(np.full(50, 0.01), [Outcome.OK] * 50), 1.0)
    assert set(few.values) == {"errors", "throughput", "p50"}
    dead = run_metrics(columns(np.full(50, 0.01), [Outcome.REJECTED] * 50), 1.0, cpu=1.0)
    assert dead.values == {"errors": 1.0}
    nothing = run_metrics(columns(np.empty(0), []), 1.0)
    assert (nothing.requests, dict(nothing.values)) == (0, {})


def test_stored_figures_are_those_of_the_analysis(tmp_path: Path) -> None:
    requests = simulate("poisson:rate=100")
    requests.outcome[10] = Outcome.DROPPED
    requests.sent[10] = requests.done[10] = np.nan
    analysis = analyse(write_run(tmp_path, requests, "poisson:rate=100"))
    found = stored_run_metrics(analysis)
    assert found.requests == analysis.summary.due
    assert found.values["p50"] == analysis.summary.metrics["from_due_p50"].center
    assert found.values["throughput"] == analysis.summary.metrics["throughput"].center
    assert found.values["memory"] == 4e8
    assert found.checked == found.good


def test_stored_answers_checked_are_those_that_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tenth answer is checked, as with a share of 10 %; the first one of the warm-up is wrong."""

    def record(**values: Any) -> RequestRecord:
        return RequestRecord(**{**values, "checked": values["checked"] and values["sentence"] % 10 == 0})

    monkeypatch.setattr(synthetic_runs, "RequestRecord", record)
    requests = simulate("poisson:rate=100")
    requests.outcome[0] = Outcome.WRONG_ANSWER
    analysis = analyse(write_run(tmp_path, requests, "poisson:rate=100"))
    found, warm = stored_run_metrics(analysis), stored_warmup_metrics(analysis)
    assert (found.wrong, warm.wrong) == (0, 1)
    assert found.checked == analysis.summary.checked < found.good / 9
    assert found.checked + warm.checked == -(-requests.due.size // 10)
    assert (warm.requests, analysis.summary.all_wrong) == (requests.warmup, 1)
