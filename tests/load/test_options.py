import argparse
import re
from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import UsageError
from bench.load.locust_adapter.bounds import bound_options
from bench.load.locust_adapter.options import OPTIONS, READERS, SWITCHES, add_options, read_spec, warmup_seconds
from bench.load.setup.catalog import SampleRule, Scenario
from bench.serving.access import DIRECT
from bench.serving.headers import Headers
from bench.serving.target import TargetKind
from bench.workload.arrivals import ClosedLoop, Poisson

SCENARIO = Scenario(name="rest", protocol="rest")


def read(words: Any = (), scenario: Any = SCENARIO, host: Any = None, users: int = 8, run_time: Any = 60.0) -> Any:
    parser = argparse.ArgumentParser()
    add_options(parser, scenario)
    return read_spec(vars(parser.parse_args(list(words))), scenario, host, users, run_time)


def test_defaults() -> None:
    settings = read()
    assert settings.arrivals == ClosedLoop(8)
    assert settings.target.kind is TargetKind.EMBEDDED
    assert (settings.warmup, settings.drain, settings.timeout) == (6.0, 10.0, 30.0)
    assert settings.max_response is None
    assert read(["--max-response", "8MB"]).max_response == 8_000_000
    assert (settings.check_share, settings.sentences, settings.channels, settings.seed) == (1.0, 1, 1, 0)
    assert settings.transport == "fast"
    assert settings.target.access == DIRECT
    assert settings.results == Path("results")
    assert settings.stop_overload
    assert settings.find_warmup
    assert not read(["--warmup", "5s"]).find_warmup
    assert not read(["--no-overload-stop"]).stop_overload


def test_a_scenario_s_defaults_give_way_to_the_user_s() -> None:
    scenario = Scenario(
        name="x",
        protocol="grpc",
        arrivals="poisson:rate=5",
        sentences=4,
        options={"check_share": "10%"},
        rule=SampleRule(source="a rule", requests=1, seconds=1.0),
    )
    settings = read(scenario=scenario)
    assert settings.arrivals == Poisson(5.0)
    assert (settings.sentences, settings.check_share, settings.transport) == (4, 0.1, "fast")
    given = read(["--arrivals", "closed", "--sentences-per-request", "2", "--check-share", "1"], scenario)
    assert (given.arrivals, given.sentences, given.check_share) == (ClosedLoop(8), 2, 1.0)


def test_everything_given() -> None:
    words = """--model-dir m --model-name n --signature serving_default --transport requests --request-timeout 500ms
        --warmup 5s --drain 0 --seed 7 --padded --compressed --results r"""
    settings = read(
        [*words.split(), "--headers", "X-Team: search; X-Key: a:b", "--server-flags=--a=1 --b"],
        host="https://host:8501",
    )
    assert settings.model_dir == Path("m")
    assert (settings.model_name, settings.signature, settings.transport) == ("n", "serving_default", "requests")
    assert (settings.timeout, settings.warmup, settings.drain, settings.seed) == (0.5, 5.0, 0.0, 7)
    assert settings.target.access.headers == Headers([("X-Team", "search"), ("X-Key", "a:b")])
    assert settings.server_flags == ("--a=1", "--b")
    assert settings.padded
    assert settings.compressed
    assert settings.target.address == "https://host:8501"


@pytest.mark.parametrize(
    ("protocol", "host", "target"),
    [
        ("rest", "localhost:8501", "http://localhost:8501"),
        ("grpc", "localhost:8500", "grpc://localhost:8500"),
        ("grpc", "grpc://localhost:8500", "grpc://localhost:8500"),
        ("grpc", "http://localhost:8501", "http://localhost:8501"),
        ("both", "localhost:8501", "http://localhost:8501"),
        ("rest", "docker:cpu", "docker:cpu"),
        ("rest", "embedded", "embedded"),
        ("rest", " ", "embedded"),
    ],
)
def test_what_locust_calls_a_host(protocol: str, host: str, target: str) -> None:
    assert str(read(scenario=Scenario(name="x", protocol=protocol), host=host).target) == target


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--arrivals", "poisson"], "options"),
        (["--arrivals", "closed:users=3"], "--users 3"),
        (["--check-share", "200%"], "100%"),
        (["--request-timeout", "0"], "above zero"),
        (["--warmup", "60s"], "leaves nothing"),
        (["--warmup", "soon"], "duration"),
        (["--drain=-1s"], "duration"),
        (["--max-response", "8"], "--max-response: '8' is not a size"),
        (["--max-response", "5GB"], "less than 4.29 GB, not 5 GB"),
        (["--max-response", "0MB"], "--max-response"),
        (["--seed", "-1"], "--seed"),
        (["--seed", "x"], "--seed"),
        (["--channels", "0"], "--channels"),
        (["--sentences-per-request", "1.5"], "--sentences-per-request"),
        (["--sentences-per-request", "65536"], "--sentences-per-request: 65536 is out of range"),
        (["--ready-timeout", "0"], "--ready-timeout"),
        (["--client-cert", "nowhere.pem"], "both"),
        (["--ca-cert", "nowhere.pem"], "nowhere"),
        (["--grpc-host", "http://localhost"], "gRPC"),
        (["--otlp-endpoint", "http://[::1"], "--otlp-endpoint: 'http://[::1' is not the URL of a collector"),
        (["--otlp-endpoint", "http://u:p@h:1"], "--otlp-endpoint: 'http://<redacted>' has a user, a password"),
    ],
)
def test_bad_options_are_one_line(words: list[str], reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(words)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["99999999999999999999s", "99999999999999999999", "367h24m" + "9" * 30 + "s", "8785h"])
@pytest.mark.parametrize("option", ["--run-time", "--stop-timeout"])
def test_a_time_of_more_than_a_year_is_one_line(option: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Locust ended with a traceback for what Python has no duration for."""
    parser = argparse.ArgumentParser(prog="locust")
    parser.add_argument(option, type=int)
    bound_options(parser)
    add_options(parser, SCENARIO)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args([option, text])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"argument {option}: a duration of {text!r} is longer than a year" in line
    assert set(vars(parser.parse_args([option, "31622400"])).values()) >= {31622400}


@pytest.mark.parametrize("text", ["0", "-1", "5e-324", "1e-9", "1e10", "nan", "inf"])
def test_a_spawn_rate_at_which_no_test_begins_is_one_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Locust refuses some of these; at the others its process ended with a traceback, or waited for good."""
    parser = argparse.ArgumentParser(prog="locust")
    parser.add_argument("--spawn-rate", type=float)
    bound_options(parser)
    add_options(parser, SCENARIO)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args([f"--spawn-rate={text}"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(rf"argument --spawn-rate: '?{text}'? is .*; give a number from 0.001 to 1,000,000,000", line)
    for rate in ("0.001", "1.5", "1e9"):
        assert parser.parse_args(["--spawn-rate", rate]).spawn_rate == float(rate)


@pytest.mark.parametrize("host", ["estimator", "ftp://x", "http://", "http://x/v1", "http://u:p@x"])
def test_bad_hosts(host: str) -> None:
    with pytest.raises(UsageError):
        read(host=host)


@pytest.mark.parametrize("words", [[], ["--arrivals", "poisson:rate=5"]])
@pytest.mark.parametrize("users", [0, 100_001, 999_999_999])
def test_users_out_of_range_are_one_line_that_names_locust_s_option(words: list[str], users: int) -> None:
    with pytest.raises(UsageError, match=rf"^--users: {users} is out of range; give a whole number from 1 to 100000$"):
        read(words, users=users)


def test_closed_loop_takes_the_users_of_the_pool() -> None:
    assert read(["--arrivals", "closed:think=100ms"], users=5).arrivals == ClosedLoop(5, 0.1)
    assert read(["--arrivals", "closed:users=8"]).arrivals == ClosedLoop(8)


@pytest.mark.parametrize(
    ("text", "run_time", "seconds"),
    [
        ("auto", 20.0, 2.0),
        ("auto", 600.0, 10.0),
        ("0", 5.0, 0.0),
        ("0s", 5.0, 0.0),
        ("0.5s", 5.0, 0.5),
        ("1m", 90, 60.0),
    ],
)
def test_warmup(text: str, run_time: float, seconds: float) -> None:
    assert warmup_seconds(READERS["warmup"](text), run_time) == pytest.approx(seconds)


def test_every_option_has_a_help_text() -> None:
    assert all(text for _, text in OPTIONS.values())
    assert all(SWITCHES.values())


def test_every_option_has_a_reader() -> None:
    assert READERS.keys() == OPTIONS.keys()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            ["--arivals", "closed"],
            "locust: unknown option --arivals; did you mean --arrivals? see locust -f FILE --scenario-help",
        ),
        (["--chanels=3"], "locust: unknown option --chanels; did you mean --channels?"),
        (["-warmup", "0"], "locust: unknown option -warmup; did you mean --warmup?"),
        (["--out=x"], "locust: unknown option --out; did you mean --results?"),
        (["--qqqqqq"], "locust: unknown option --qqqqqq; see locust -f FILE --scenario-help"),
        (
            ["--headers", "X-Team: search; pass-word"],
            "locust: argument --headers: a header has no colon; write NAME:VALUE, like Authorization:env:TOKEN; see",
        ),
        (["--header", "Authorization:", "pass-word"], "locust: argument --header: the header Authorization has no val"),
        (["--seed"], "locust: argument --seed: expected one argument; see locust -f FILE --scenario-help"),
    ],
)
def test_a_misspelt_option_of_a_scenario_is_one_line_with_the_nearest(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser(prog="locust")
    add_options(parser, SCENARIO)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(words)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(reason)
    assert "pass-word" not in error
    assert error.count("\n") == 1
