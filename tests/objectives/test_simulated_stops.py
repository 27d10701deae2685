"""Runs with known truth: verdicts that are right, and intervals that cover after a stop. `make bench-slo` has more."""

from dataclasses import replace

import pytest

from bench.objectives.grammar import Objective
from bench.objectives.verdicts import Verdict
from tests.support.stopping_runs import Server, right, until_run, verdict_run

SERVER = Server(rate=50.0, mean=0.03, servers=4, errors=0.002)


@pytest.mark.parametrize("kind", ["independent", "drift"])
def test_an_interval_still_covers_after_the_run_stopped_at_its_width(kind: str) -> None:
    """At ±10 %, which takes a quarter of the requests of ±5 %; fewer than 20 of 24 have a chance of 0.4 % at 93 %."""
    runs = [until_run(kind, seed, 10_000, "p99±10%") for seed in range(24)]
    assert sum(run.covered for run in runs) >= 20
    assert sum(run.stopped for run in runs) >= 20


@pytest.mark.parametrize("name", ["p50", "p99", "throughput", "errors"])
@pytest.mark.parametrize("factor", [0.7, 1.4])
@pytest.mark.parametrize("until_decided", [False, True])
def test_no_wrong_verdict_away_from_the_limit(name: str, factor: float, until_decided: bool) -> None:
    objective = Objective(name, SERVER.truth(name) * factor)
    expected = right(SERVER, objective)
    found = [verdict_run(SERVER, (objective,), 60.0, seed, until_decided=until_decided)[0] for seed in range(2)]
    assert {result.verdict for result in found} <= {expected, Verdict.CANNOT_TELL}
    if name in ("p50", "throughput"):
        assert [result.verdict for result in found] == [expected] * 2


def test_a_percentile_beyond_which_all_requests_fail_has_no_truth() -> None:
    with pytest.raises(ValueError, match="p99 does not exist where 1.0% of the requests fail"):
        replace(SERVER, errors=0.01).truth("p99")


@pytest.mark.parametrize("name", ["p50", "throughput"])
def test_at_the_limit_most_runs_cannot_tell(name: str) -> None:
    objective = Objective(name, SERVER.truth(name))
    found = [verdict_run(SERVER, (objective,), 60.0, seed, until_decided=False)[0].verdict for seed in range(12)]
    assert found.count(Verdict.CANNOT_TELL) >= 8
