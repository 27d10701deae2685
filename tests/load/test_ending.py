"""What a run says of itself, and the exit code."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import ExitCode
from bench.load.ending import describe_end
from bench.load.options import SampleRule
from bench.results.records import Outcome
from tests.synthetic import WORKLOAD, simulate, write_run

MODEL = Path("some-model")


def end(root, spoil=lambda requests: None, rule=None, workload=WORKLOAD, **more):
    requests = simulate(workload=workload)
    spoil(requests)
    return describe_end(write_run(root, requests, workload=workload, **more).path, MODEL, rule)


def spoil_all(outcome, start=0):
    def change(requests):
        requests.outcome[start:] = [outcome] * (len(requests.outcome) - start)

    return change


def spoil_one(outcome, index=-1):
    def change(requests):
        requests.outcome[index] = outcome

    return change


def test_a_good_run(tmp_path):
    found = end(tmp_path)
    assert (found.exit_code, found.error) == (ExitCode.GOOD, "")
    assert "requests were due" in found.lines[0]
    assert "100 more in the warm-up, not counted" in found.lines[0]
    assert found.lines[1].startswith("latency from due")
    assert found.lines[2].startswith("latency from send")
    assert "of 50 asked" in found.lines[3]
    assert "64 users" in found.lines[3]
    assert found.lines[-1] == str(next(tmp_path.iterdir()))
    assert found.lines[-2].startswith(("VALID", "INVALID"))


def test_every_answer_wrong_names_the_option(tmp_path):
    found = end(tmp_path, spoil_all(Outcome.WRONG_ANSWER))
    assert found.exit_code is ExitCode.REGRESSION
    assert "another model than some-model" in found.error
    assert "--model-dir" in found.error


@pytest.mark.parametrize("index", [0, -1])
def test_one_wrong_answer_is_one_too_many_in_the_warm_up_too(tmp_path, index):
    found = end(tmp_path, spoil_one(Outcome.WRONG_ANSWER, index))
    assert found.exit_code is ExitCode.REGRESSION
    assert found.error.startswith("1 answers differ")


@pytest.mark.parametrize("outcome", [Outcome.TIMEOUT, Outcome.UNAVAILABLE, Outcome.REJECTED, Outcome.INVALID_RESPONSE])
def test_failures(tmp_path, outcome):
    some = end(tmp_path / "some", spoil_all(outcome, 500))
    assert some.exit_code is ExitCode.REGRESSION
    assert "did not end well" in some.error
    none = end(tmp_path / "none", spoil_all(outcome))
    assert none.exit_code is ExitCode.TARGET_FAILED
    assert "check the server" in none.error


def test_a_figure_that_the_data_do_not_carry_is_no_number(tmp_path):
    found = end(tmp_path, workload=replace(WORKLOAD, duration=1.0))
    assert "p99 -" in found.lines[1]


@pytest.mark.parametrize(
    ("rule", "notes"),
    [
        (SampleRule(source="A rule", requests=10, seconds=5.0), []),
        (SampleRule(source="A rule", requests=10**6, seconds=5.0), ["A rule asks for 1000000 requests"]),
        (
            SampleRule(source="A rule", requests=10, seconds=600.0),
            ["A rule asks for 10 m 00 s, this run measured 20 s"],
        ),
        (SampleRule(source="A rule", requests=10**6, seconds=5.0, per_sentence=True), ["1000000 sentences"]),
    ],
)
def test_sample_size_rules(tmp_path, rule, notes):
    found = [line for line in end(tmp_path, rule=rule).lines if "rule asks" in line]
    assert len(found) == len(notes)
    assert all(note in line for note, line in zip(notes, found, strict=True))
