"""What `bertbench run` makes of its options; that it runs is shown in `tests/integration/test_cli_run.py`."""

import pytest

from bench.cli import run
from bench.cli.parser import Parser
from bench.errors import UsageError


def plan(*words):
    parser = Parser(prog="bertbench run")
    run.add_arguments(parser)
    return run._plan(parser.parse_args(words))


def option(planned, name):
    return planned.words[planned.words.index(name) + 1]


def test_one_run_of_the_scenario_s_own_arrivals():
    (planned,) = plan("rest")
    assert "--arrivals" not in planned.words
    assert "-t" not in planned.words
    assert option(planned, "--seed") == "0"


def test_every_arrivals_is_repeated_with_seeds_of_its_own_in_random_order():
    arrivals = ["poisson:rate=5", "closed", "constant:rate=7"]
    planned = plan(
        "grpc", "--repeat", "4", "--seed", "10", *(word for text in arrivals for word in ("--arrivals", text))
    )
    found = [(option(entry, "--arrivals"), entry.repeat) for entry in planned]
    assert sorted(found) == sorted((text, repeat) for text in arrivals for repeat in range(4))
    assert found != sorted(found)
    assert all(option(entry, "--seed") == str(10 + entry.repeat) for entry in planned)
    assert len({entry.group for entry in planned}) == 3
    assert all(
        len({option(entry, "--arrivals") for entry in planned if entry.group == group.group}) == 1 for group in planned
    )


@pytest.mark.parametrize(
    ("duration", "warmup", "total", "before"),
    [
        ("60s", "auto", "66s", 6.0),
        ("12s", "auto", "14s", 2.0),
        ("10m", "auto", "610s", 10.0),
        ("30s", "0", "30s", 0.0),
        ("500ms", "0", "1s", 0.5),
        ("30s", "5s", "35s", 5.0),
    ],
)
def test_the_duration_is_what_is_measured(duration, warmup, total, before):
    (planned,) = plan("rest", "--duration", duration, "--warmup", warmup)
    assert option(planned, "-t") == total
    assert float(option(planned, "--warmup").removesuffix("s")) == before


def test_options_are_passed_on():
    (planned,) = plan("rest", "--users", "9", "--processes", "2", "--signature", "serving_default", "--padded")
    assert (option(planned, "-u"), option(planned, "--processes")) == ("9", "2")
    assert option(planned, "--signature") == "serving_default"
    assert "--padded" in planned.words
    assert "--compressed" not in planned.words


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
        (["--headers", "X-Team search"], "--headers: 'X-Team search' is not a header"),
        (["--grpc-host", "http://localhost:1"], "--grpc-host: "),
        (["--transport", "fsat"], "--transport: 'fsat' is not one of fast, fast+grpcio"),
        (["--target", "estimator"], "--target: the estimator is not a server"),
        (["--target", "embeded"], "--target: 'embeded' is not a target"),
    ],
)
def test_bad_options_are_refused_by_name_before_anything_starts(words, reason):
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
    ],
)
def test_bad_arrivals_are_refused_before_anything_starts(text, reason):
    with pytest.raises(UsageError, match=reason):
        plan("rest", "--arrivals", text)


def test_a_closed_loop_s_users_are_the_pool():
    (planned,) = plan("grpc", "--arrivals", "closed:users=3")
    assert option(planned, "-u") == "3"
    (planned,) = plan("grpc", "--arrivals", "closed:users=3", "--users", "4")
    assert option(planned, "-u") == "4"  # the scenario refuses it
    (planned,) = plan("grpc", "--arrivals", "closed")
    assert "-u" not in planned.words
