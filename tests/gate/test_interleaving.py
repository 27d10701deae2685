"""Two null servers in turns. Nothing here depends on how long anything took."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.analysis.run import analyse
from bench.core.errors import UsageError
from bench.gate import interleaving
from bench.gate.ab_servers import ABServers, open_ab_servers
from bench.gate.artifacts import ArmRun, describe_arm
from bench.gate.interleaving import RunSize, run_length, slice_order
from bench.gate.spec import GateSpec, Variant
from bench.load.engine.jobs import CountedJobs
from bench.load.selftest.null_server import null_server
from bench.results.blocks import parse_block
from bench.results.manifest import Origin
from bench.results.run_reader import open_run
from bench.serving.target import parse_target
from bench.workload.arrivals import parse_arrivals
from tests.support.synthetic_runs import ENVIRONMENT
from tests.support.toy_golden import toy_golden, write_model_dir


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_dir(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def servers(model: Path) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    with null_server(model) as first, null_server(model) as second:
        yield first, second


@pytest.fixture(autouse=True)
def no_run_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is."""
    monkeypatch.setattr(interleaving, "_SLOWEST", 1e6)


def spec(
    servers: tuple[dict[str, str], dict[str, str]], model: Path, arrivals: str, protocol: str = "grpc"
) -> GateSpec:
    targets = [addresses["rest"] if protocol == "rest" else f"grpc://{addresses['grpc']}" for addresses in servers]
    one, two = (Variant(target, parse_target(target), model) for target in targets)
    return GateSpec(baseline=one, candidate=two, protocol=protocol, arrivals=parse_arrivals(arrivals), seed=3)


def rows(opened: ABServers, side: int) -> NDArray[Any]:
    return np.concatenate([parse_block(block).rows for block in opened.arms[side].blocks])


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_both_sides_are_asked_the_same_in_the_same_order(
    servers: tuple[dict[str, str], dict[str, str]], model: Path, protocol: str
) -> None:
    with open_ab_servers(spec(servers, model, "closed:users=1,think=1ms", protocol)) as opened:
        opened.interleaving.warm_up(0.1, run=0.1)
        pairs = [opened.interleaving.run_pair() for _ in range(6)]
    count = opened.interleaving.size.requests
    assert count % opened.interleaving.size.slices == 0
    assert all(pair.baseline.requests == pair.candidate.requests == count for pair in pairs)
    assert all(pair.baseline.good == count for pair in pairs)
    first, second = rows(opened, 0), rows(opened, 1)
    measured = [side[side["warmup"] == 0]["sentence"] for side in (first, second)]
    np.testing.assert_array_equal(measured[0], measured[1])
    per_pair = measured[0].reshape(6, count)
    assert len({tuple(row) for row in per_pair}) == 6, "each pair has requests of its own"
    assert {pair.baseline_first for pair in pairs} == {True, False}


def test_a_side_pauses_while_the_other_has_the_turn(
    servers: tuple[dict[str, str], dict[str, str]], model: Path
) -> None:
    """Its clock stands still: no request spans a pause, and turns follow each other without a gap."""
    with open_ab_servers(spec(servers, model, "closed:users=2,think=1ms")) as opened:
        opened.interleaving.warm_up(0.1, run=0.2)
        for _ in range(3):
            opened.interleaving.run_pair()
        for side in (0, 1):
            found = rows(opened, side)
            assert np.all(found["sent"] >= found["due"])
            assert np.all(found["done"] > found["sent"])
            assert found["done"].max() <= opened.arms[side].clock
            warm = found["warmup"] == 1
            assert found["due"][warm].max() < opened.arms[side].warmed_up <= found["due"][~warm].min()


def test_open_loop_sends_the_same_schedule(servers: tuple[dict[str, str], dict[str, str]], model: Path) -> None:
    with open_ab_servers(spec(servers, model, "poisson:rate=100")) as opened:
        opened.interleaving.warm_up(0.5, run=0.5)
        pair = opened.interleaving.run_pair()
        opened.interleaving.run_pair()
    assert pair.baseline.requests == pair.candidate.requests > 20
    first, second = (rows(opened, side) for side in (0, 1))
    np.testing.assert_array_equal(np.sort(first["sentence"]), np.sort(second["sentence"]))
    assert opened.arms[0].scheduled == len(first)


def test_a_client_at_its_limit_makes_the_pair_invalid(
    servers: tuple[dict[str, str], dict[str, str]], model: Path
) -> None:
    """A server that does nothing and eight users that never think: the load generator is what is measured."""
    with open_ab_servers(spec(servers, model, "closed:users=8")) as opened:
        opened.interleaving.warm_up(0.2, run=0.5)
        pair = opened.interleaving.run_pair()
    assert not opened.arms[0].failures
    assert pair.invalid == () or "the load generator used" in pair.invalid[0]
    assert pair.baseline.good == pair.baseline.requests


def test_failed_requests_are_counted_and_explained(servers: tuple[dict[str, str], dict[str, str]], model: Path) -> None:
    with open_ab_servers(spec(servers, model, "closed:users=1,think=1ms")) as opened:
        opened.interleaving.warm_up(0.1, run=0.1)
        # The payloads name a model that the server does not know.
        payloads = opened.arms[1]._driver.payloads
        payloads[:] = [replace(payload, grpc=payload.grpc[:-3]) for payload in payloads]
        pair = opened.interleaving.run_pair()
    assert pair.candidate.failed == pair.candidate.requests > 0
    assert pair.candidate.failures.keys() <= {"rejected", "unavailable", "invalid_response"}
    arm = opened.arms[1]
    assert sum(entry.count for entry in arm.failures) == arm.asked - arm.answered
    assert pair.baseline.failed == 0


def test_wrong_answers_are_counted(servers: tuple[dict[str, str], dict[str, str]], model: Path, tmp_path: Path) -> None:
    """The candidate's golden file holds other answers to the same sentences."""
    golden = toy_golden()
    shifted = tuple(replace(entry, log_prob=entry.log_prob - 1) for entry in golden.sentences)
    other = write_model_dir(tmp_path / "other", replace(golden, sentences=shifted))
    given = spec(servers, model, "closed:users=1,think=1ms", "rest")
    with open_ab_servers(
        replace(given, candidate=replace(given.candidate, model_dir=other), preflight=False)
    ) as opened:
        opened.interleaving.warm_up(0.1, run=0.1)
        pair = opened.interleaving.run_pair()
    assert pair.candidate.wrong == pair.candidate.checked == pair.candidate.requests
    assert pair.baseline.wrong == 0


def test_stored_arms_are_valid_runs(
    servers: tuple[dict[str, str], dict[str, str]], model: Path, tmp_path: Path
) -> None:
    given = spec(servers, model, "closed:users=1,think=2ms")
    origin = Origin(
        target="",
        environment=ENVIRONMENT,
        workers=1,
        started="2026-01-31T12:00:00.000000Z",
        group="20260131T120000Z-gate",
        command=("x",),
    )
    with open_ab_servers(given) as opened:
        arm = opened.arms[0]
        opened.interleaving.warm_up(0.2, run=0.3)
        stored = ArmRun(tmp_path, "baseline", arm, describe_arm("baseline", arm, given.baseline, origin, 60.0))
        for _ in range(3):
            opened.interleaving.run_pair()
    (path,) = tmp_path.iterdir()
    cut_off = open_run(path)
    assert (cut_off.finished, cut_off.manifest.workload.duration) == (False, 60.0)
    records = cut_off.columns(["due"])["due"]
    assert stored.finish() == path
    run = open_run(path)
    assert run.finished
    assert sorted(run.columns(["due"])["due"]) == sorted(records)
    assert run.manifest.workload.warmup + run.manifest.workload.duration == pytest.approx(arm.clock)
    assert analyse(run).summary.due == 3 * opened.interleaving.size.requests
    assert run.manifest.workload.scenario == "gate-baseline"
    assert (run.manifest.target, run.manifest.group) == (str(given.baseline.target), "20260131T120000Z-gate")


def test_an_address_of_the_other_protocol_is_refused(
    servers: tuple[dict[str, str], dict[str, str]], model: Path
) -> None:
    given = replace(spec(servers, model, "closed:users=1", "rest"), protocol="grpc")
    with pytest.raises(UsageError, match="the grpc address of http"), open_ab_servers(given):
        pass


def test_counted_jobs_end_with_their_requests_or_their_time() -> None:
    jobs = CountedJobs([5, 6], [True, False], ends=2.0)
    assert jobs.take(1.0) == (1.0, 5, True, 0)
    assert jobs.take(2.0) is None
    assert jobs.take(1.5) == (1.5, 6, False, 0)
    assert jobs.take(1.6) is None


@pytest.mark.parametrize("slices", [4, 8, 12, 64])
def test_the_pattern_is_balanced_and_changes_names_when_the_coin_does(slices: int) -> None:
    pattern = np.array(slice_order(slices))
    assert pattern.sum() == slices
    positions = np.arange(pattern.size)
    drift = [positions[pattern == side].sum() for side in (0, 1)]
    assert drift[0] == drift[1], "a linear drift falls on both sides alike"
    squares = [(positions[pattern == side] ** 2).sum() for side in (0, 1)]
    assert squares[0] == squares[1]


@pytest.mark.parametrize(
    ("rate", "max_time", "seconds"),
    [
        # 330 requests, for a p99.
        (165.0, 300.0, 2.0),
        (1000.0, 300.0, 1.0),
        (50.0, 300.0, 6.6),
        (165.0, 88.0, 2.0),
        # Twenty pairs of so many would not fit: short runs, and no p99.
        (40.0, 300.0, 5.0),
        (60.0, 90.0, 1.5),
        (60.0, 6000.0, 5.5),
        (60.0, 20.0, 1.0),
    ],
)
def test_a_run_is_as_long_as_a_p99_needs_if_time_allows(rate: float, max_time: float, seconds: float) -> None:
    assert run_length(rate, max_time) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("requests", "users", "size"),
    [(330.0, 1, (340, 68)), (330.0, 8, (336, 8)), (2.0, 1, (4, 4)), (25.0, 8, (28, 4)), (0.0, 1, (4, 4))],
)
def test_a_run_is_cut_into_turns_of_a_few_requests_for_each_user(
    requests: float, users: int, size: tuple[int, int]
) -> None:
    found = RunSize.sliced(requests, 1.0, users)
    assert (found.requests, found.slices) == size
