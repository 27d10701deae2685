"""What `bertbench run` makes of its options; that it runs is shown in `tests/integration/test_cli_run.py`."""

from pathlib import Path
from typing import Any

import pytest

from bench.cli import run
from bench.cli.arguments.run import add_arguments
from bench.cli.parser import Parser
from bench.core.errors import UsageError
from bench.core.units import parse_duration
from bench.workload.arrivals import ClosedLoop, Poisson


def plan(*words: str) -> Any:
    parser = Parser(prog="bertbench run")
    add_arguments(parser)
    return run.plan(parser.parse_args(words))


def test_one_run_of_the_scenario_s_own_arrivals() -> None:
    (spec,) = plan("rest")
    assert (spec.arrivals, spec.users, spec.run_time, spec.warmup, spec.seed) == (ClosedLoop(8), 8, 60.0, 6.0, 0)
    (spec,) = plan("soak")
    assert (spec.arrivals, spec.users, spec.run_time, spec.check_share) == (Poisson(10.0), 64, 1800.0, 0.1)
    (spec,) = plan("ramp", "--check-share", "50%")
    assert (spec.warmup, spec.drain, spec.check_share) == (0.0, 30.0, 0.5)


def test_every_arrivals_is_repeated_with_seeds_of_its_own_in_random_order() -> None:
    arrivals = ["poisson:rate=5", "closed", "constant:rate=7"]
    planned = plan(
        "grpc", "--repeat", "4", "--seed", "10", *(word for text in arrivals for word in ("--arrivals", text))
    )
    canonical = ["poisson:rate=5", "closed:users=8", "constant:rate=7"]
    found = [(str(spec.arrivals), spec.repeat) for spec in planned]
    assert sorted(found) == sorted((text, repeat) for text in canonical for repeat in range(4))
    assert found != sorted(found)
    assert all(spec.seed == 10 + spec.repeat for spec in planned)
    assert len({spec.group for spec in planned}) == 3
    assert all(len({spec.arrivals for spec in planned if spec.group == other.group}) == 1 for other in planned)


@pytest.mark.parametrize(
    ("duration", "warmup", "total", "before"),
    [
        ("60s", "auto", 66.0, 6.0),
        ("12s", "auto", 14.0, 2.0),
        ("10m", "auto", 610.0, 10.0),
        ("30s", "0", 30.0, 0.0),
        ("500ms", "0", 1.0, 0.5),
        ("30s", "5s", 35.0, 5.0),
        ("12.3s", "1s", 14.0, 1.7),
    ],
)
def test_the_duration_is_what_is_measured(duration: str, warmup: str, total: float, before: float) -> None:
    (spec,) = plan("rest", "--duration", duration, "--warmup", warmup)
    assert spec.duration == parse_duration(duration)
    assert spec.run_time == pytest.approx(total, abs=1e-9)
    assert spec.warmup == pytest.approx(before)


def test_options_are_values() -> None:
    words = "--users 9 --signature serving_default --padded --request-timeout 2s --headers X-Team:search --out x"
    (spec,) = plan("rest", *words.split(), "--server-flag=--a=1", "--target", "binary:/server")
    assert (spec.users, spec.signature, spec.padded, spec.compressed) == (9, "serving_default", True, False)
    assert (spec.timeout, spec.target.access.headers.names, spec.results) == (2.0, ("X-Team",), Path("x"))
    assert (spec.server_flags, str(spec.target)) == (("--a=1",), "binary:/server")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--repeat", "0"], "--repeat: 0 is out of range"),
        (["--users", "0"], "--users: 0 is out of range"),
        (["--seed", "-1"], "--seed: -1 is out of range"),
        (["--duration", "soon"], "--duration: 'soon' is not a duration"),
        (["--duration", "30"], "--duration: '30' is a duration without a unit; write 30ms or 30s"),
        (["--warmup", "5"], "--warmup: '5' is a duration without a unit"),
        (["--drain", "2"], "--drain: '2' is a duration without a unit"),
        (["--request-timeout", "0s"], "--request-timeout: a duration must be above zero"),
        (["--channels", "0"], "--channels: 0 is out of range"),
        (["--sentences-per-request", "1.5"], "--sentences-per-request: '1.5' is not a whole number"),
        (["--check-share", "50"], "--check-share: a fraction lies between 0 and 100%"),
        (["--headers", "X-Team search"], "--headers: a header has no colon"),
        (["--grpc-host", "http://localhost:1"], "--grpc-host: "),
        (["--transport", "fsat"], "--transport: 'fsat' is not one of fast, fast+grpcio"),
        (["--target", "estimator"], "--target: the estimator is not a server"),
        (["--target", "embeded"], "--target: 'embeded' is not a target"),
        (
            ["--target", "."],
            "--target: '.' is not a target: it is a folder, and that of a model is named with --model-dir",
        ),
    ],
)
def test_bad_options_are_refused_by_name_before_anything_starts(words: list[str], reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan("rest", *words)
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("poisson:rate=0", "a rate must be above zero"),
        ("closed:think=5", "'5' is a duration without a unit"),
        ("closed:user=5", "did you mean users"),
        ("closedd", "unknown arrivals"),
        ("constant:rate=1e9", "the limit is 50,000,000"),
        ("burst:base=0,peak=9,every=2ms,length=1ms", "the limit is 1,000,000"),
    ],
)
def test_bad_arrivals_are_refused_before_anything_starts(text: str, reason: str) -> None:
    """Not after the runs of those before them."""
    with pytest.raises(UsageError, match=reason):
        plan("rest", "--duration", "1h", "--arrivals", "closed", "--arrivals", text)


def test_a_closed_loop_s_users_are_the_pool() -> None:
    (spec,) = plan("grpc", "--arrivals", "closed:users=3")
    assert (spec.users, spec.arrivals) == (3, ClosedLoop(3))
    with pytest.raises(UsageError, match="closed:users=3 and --users 4 contradict each other; give --users 3"):
        plan("grpc", "--arrivals", "closed:users=3", "--users", "4")
    (spec,) = plan("grpc", "--arrivals", "closed")
    assert (spec.users, spec.arrivals) == (8, ClosedLoop(8))
