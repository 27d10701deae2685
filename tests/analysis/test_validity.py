"""Each reason for which a run is INVALID, and none on a good one."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.analysis import Analysis, analyse
from bench.results.records import Outcome
from tests.synthetic import WORKLOAD, Requests, exponential, simulate, write_run

LONG = replace(WORKLOAD, duration=60.0)


@pytest.mark.parametrize(
    "arrivals", ["poisson:rate=50", "constant:rate=50", "closed:users=4", "closed:users=2,think=1s"]
)
def test_a_good_run_is_valid(tmp_path: Path, arrivals: str) -> None:
    found = analyse(write_run(tmp_path, simulate(arrivals, LONG), arrivals, LONG, workers=2))
    assert str(found.validity) == "VALID", [check.text for check in found.validity.checks]
    assert found.warnings == ()


def test_rates_that_change_by_design_are_not_called_unsteady(tmp_path: Path) -> None:
    arrivals = "ramp:from=5,to=80"
    found = analyse(write_run(tmp_path, simulate(arrivals, LONG), arrivals, LONG))
    assert found.validity.valid


def late(requests: Requests) -> None:
    requests.sent[:] += 0.02
    requests.done[:] += 0.02


def dropping(requests: Requests) -> None:
    for index in range(600, 620):
        requests.outcome[index] = Outcome.DROPPED
        requests.sent[index] = requests.done[index] = math.nan


def failing(requests: Requests) -> None:
    requests.outcome[:] = [Outcome.UNAVAILABLE] * requests.due.size


def drifting(requests: Requests) -> None:
    requests.done[:] += 0.08 * requests.due / requests.due[-1]


def still_warming(requests: Requests) -> None:
    requests.done[:] += np.where(requests.due < 12, 0.05, 0.0)


@pytest.mark.parametrize(
    ("spoil", "client", "reason"),
    [
        (late, {}, "after they were due"),
        (late, {"cpu": 0.99}, "the client was the limit"),
        (dropping, {}, "20 of"),
        (failing, {}, "none of the"),
        (drifting, {}, "not stationary"),
        (still_warming, {}, "the warm-up was not over"),
        (None, {"cpu": 0.97}, "a worker used 97% of a core"),
        (None, {"loop_lag": 0.5}, "timers of the load generator fired up to 500 ms late"),
        (None, {"in_flight": 9.0}, "N = X·R leaves"),
    ],
)
def test_each_fault_is_named(
    tmp_path: Path, spoil: Callable[[Requests], None] | None, client: dict[str, float], reason: str
) -> None:
    requests = simulate(workload=LONG)
    if spoil is not None:
        spoil(requests)
    found = analyse(write_run(tmp_path, requests, workload=LONG, client=client))
    assert not found.validity.valid
    assert any(reason in text for text in found.validity.reasons), found.validity.reasons
    assert "\n" not in str(found.validity)


@pytest.mark.parametrize(
    ("client", "ceiling", "reason"),
    [
        ({}, None, "all 100 users were waiting"),
        ({"cpu": 0.99}, None, "the client was the limit"),
        ({}, 10.0, "the client was the limit"),
    ],
)
def test_a_full_pool_of_users_is_told_from_a_slow_client(
    tmp_path: Path, client: dict[str, float], ceiling: float | None, reason: str
) -> None:
    requests = simulate(workload=LONG)
    requests.sent[1000:1100] = requests.done[1000:1100] = requests.due[1100] + 0.001
    requests.done[1000:1100] += 0.01
    workload = replace(LONG, users=100)
    found = analyse(write_run(tmp_path, requests, workload=workload, client=client, ceiling=ceiling))
    delays = [check.text for check in found.validity.checks if check.name == "start delay"]
    assert reason in delays[0]


def test_more_than_the_server_takes_is_a_growing_backlog(tmp_path: Path) -> None:
    arrivals = "poisson:rate=130"
    found = analyse(write_run(tmp_path, simulate(arrivals, LONG), arrivals, LONG))
    assert any("the server falls behind" in text for text in found.validity.reasons)


def test_a_rate_that_the_client_did_not_reach(tmp_path: Path) -> None:
    """Users so few that the schedule slips to twice its length."""
    requests = simulate("constant:rate=50", LONG)
    requests.sent[:] = 2 * requests.due
    requests.done[:] = requests.sent + 0.01
    found = analyse(write_run(tmp_path, requests, "constant:rate=50", LONG))
    assert any("requests/s were sent of 50 due" in text for text in found.validity.reasons)


def test_closed_loop_users_that_wait_for_the_client(tmp_path: Path) -> None:
    """Users spend half their time neither waiting for an answer nor thinking: the client is the limit."""
    arrivals = "closed:users=4"
    requests = simulate("closed:users=4,think=40ms", LONG, service=exponential(0.01))
    found = analyse(write_run(tmp_path, requests, arrivals, LONG))
    assert any("N = X·R leaves" in text for text in found.validity.reasons)


def test_unfinished_and_interrupted_runs(tmp_path: Path) -> None:
    found = analyse(write_run(tmp_path, simulate(), finish=False))
    assert "did not finish" in found.validity.reasons[0]


def test_a_worker_whose_requests_are_missing(tmp_path: Path) -> None:
    requests = simulate()
    half = Requests(
        requests.due[::2], requests.sent[::2], requests.done[::2], requests.outcome[::2], requests.warmup // 2
    )
    run = write_run(tmp_path, half)
    header = replace(run.header, scheduled=requests.due.size)
    found = analyse(replace(run, file=replace(run.file, header=header)))
    assert any("were scheduled" in text for text in found.validity.reasons)


def test_what_was_not_sampled_is_a_warning_and_no_pass(tmp_path: Path) -> None:
    nothing = {"cpu": math.nan, "loop_lag": math.nan, "in_flight": math.nan}
    found = analyse(write_run(tmp_path, simulate(workload=LONG), workload=LONG, client=nothing))
    assert found.validity.valid
    assert len(found.warnings) == 3
    assert all("not checked" in warning for warning in found.warnings)


@pytest.mark.parametrize(("ceiling", "warned"), [(None, False), (1000.0, False), (55.0, True)])
def test_a_rate_near_the_ceiling_is_warned(tmp_path: Path, ceiling: float | None, warned: bool) -> None:
    found: Analysis = analyse(write_run(tmp_path, simulate(), ceiling=ceiling))
    assert any("ceiling" in warning for warning in found.warnings) == warned


def test_steady_queues_are_seldom_called_unsteady(tmp_path: Path) -> None:
    """The limits' false calls: 20 steady runs at half load, at most one INVALID."""
    invalid = 0
    for seed in range(20):
        workload = replace(WORKLOAD, duration=30.0, seed=seed)
        invalid += not analyse(write_run(tmp_path, simulate(workload=workload), workload=workload)).validity.valid
    assert invalid <= 1
