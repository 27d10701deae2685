"""The warm-up that a run is found to have, in its folder and in its analysis."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.run import analyse
from bench.core.types import Floats
from bench.results.warmup_end import FoundWarmup, find_warmup
from tests.support.synthetic_runs import WORKLOAD, Requests, simulate, write_run

LONG = replace(WORKLOAD, duration=54.0, warmup=6.0)


def cold(requests: Requests, until: float, times: float = 3.0) -> Requests:
    """Answers of requests due before `until` take so many times as long."""
    rng = np.random.default_rng(3)
    service = 0.01 * rng.lognormal(0, 0.2, requests.due.size)
    requests.done = requests.sent + service * np.where(requests.due < until, times, 1.0)
    return requests


def test_a_cold_server_is_left_out(tmp_path: Path) -> None:
    requests = cold(simulate("poisson:rate=50", LONG), until=15.0)
    run = write_run(tmp_path, requests, workload=LONG, find_warmup=True)
    found = run.file.warmup
    assert found.settled
    assert found.planned == 6.0
    assert run.begins == found.begins == pytest.approx(15.0, abs=0.5)
    assert found.before == pytest.approx(0.03, rel=0.05)
    assert found.after == pytest.approx(0.01, rel=0.05)
    columns = run.columns(["due", "warmup"])
    np.testing.assert_array_equal(columns["warmup"], columns["due"] < found.begins)
    analysis = analyse(run)
    assert analysis.summary.due == (requests.due >= found.begins).sum()
    assert analysis.summary.seconds == pytest.approx(60 - found.begins)
    assert sum(analysis.summary.warmup.values()) + analysis.summary.due == requests.due.size
    assert analysis.summary.metrics["from_due_p99"].center < 0.02
    (note,) = [line for line in analysis.warnings if "settles" in line]
    assert "measured from there instead of 6 s, typical latency 30" in note


def test_a_warm_server_keeps_the_planned_warmup(tmp_path: Path) -> None:
    run = write_run(tmp_path, cold(simulate("poisson:rate=50", LONG), 0.0), workload=LONG, find_warmup=True)
    assert run.begins == 6.0
    assert run.file.warmup.note == ""
    assert run.file.warmup.settled


def test_what_never_settles_is_said(tmp_path: Path) -> None:
    requests = cold(simulate("poisson:rate=50", LONG), 0.0)
    requests.done = requests.sent + (requests.done - requests.sent) * np.exp(requests.due / 60)
    run = write_run(tmp_path, requests, workload=LONG, find_warmup=True)
    assert not run.file.warmup.settled
    assert any("never settles" in line for line in analyse(run).warnings)


def test_nothing_is_looked_for_where_the_warmup_was_given(tmp_path: Path) -> None:
    run = write_run(tmp_path, cold(simulate("poisson:rate=50", LONG), 15.0), workload=LONG)
    assert run.file.warmup is None
    assert run.begins == 6.0


def ramped(rate: Floats) -> Floats:
    """Due times at a rate of each second."""
    return np.concatenate([second + (np.arange(int(each)) + 0.5) / each for second, each in enumerate(rate)])


def test_throughput_of_a_closed_loop_settles_too() -> None:
    due = ramped(np.where(np.arange(60) < 20, 50.0, 100.0))
    latency = np.full(due.size, 0.01) * np.random.default_rng(1).lognormal(0, 0.1, due.size)
    assert find_warmup(due, latency, 6.0, 60.0, closed_loop=False).begins == 6.0
    # In steps of five of 200 parts of the run.
    assert 20.0 <= find_warmup(due, latency, 6.0, 60.0, closed_loop=True).begins <= 21.5


def test_short_runs_are_as_planned() -> None:
    due = np.linspace(0, 9, 900)
    found = find_warmup(due, np.where(due < 4, 0.1, 0.01), 1.0, 10.0, closed_loop=False)
    assert found == FoundWarmup(planned=1.0, begins=1.0, settled=True, before=None, after=None)


def test_a_run_without_an_answer() -> None:
    assert find_warmup(np.empty(0), np.empty(0), 6.0, 60.0, closed_loop=True).begins == 6.0
