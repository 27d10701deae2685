"""When a gate starts its servers anew, and what it says where it cannot."""

from dataclasses import replace

import numpy as np
import orjson
import pytest

from bench.gate.decision import Gate
from bench.gate.report.files import gate_json, gate_junit
from bench.gate.report.text import gate_markdown, verdict_line
from bench.gate.restarts import RestartPolicy, RestartSchedule
from bench.gate.types import GateReport, default_plan
from tests.support.gate_noise import pairs, run_gate


@pytest.mark.parametrize(
    ("restart", "pair", "max_time", "schedule"),
    [
        # Quick servers, five minutes: each pair.
        (2.0, 4.0, 300.0, RestartSchedule.EACH_PAIR),
        (6.0, 4.0, 300.0, RestartSchedule.EACH_PAIR),
        # A slow machine: twenty pairs are enough.
        (4.5, 10.0, 300.0, RestartSchedule.EACH_PAIR),
        # The same in 90 seconds: only 18 pairs would be left.
        (2.0, 3.0, 90.0, RestartSchedule.EACH_CONFIRMING_PAIR),
        (20.0, 5.0, 300.0, RestartSchedule.EACH_CONFIRMING_PAIR),
        # Seven starts would take most of the time.
        (40.0, 5.0, 300.0, RestartSchedule.EACH_CONFIRMATION),
        # Somebody else's servers.
        (None, 4.0, 300.0, RestartSchedule.NEVER),
    ],
)
def test_as_often_as_time_allows(
    restart: float | None, pair: float, max_time: float, schedule: RestartSchedule
) -> None:
    assert RestartPolicy.choose(restart, pair, max_time, 7).schedule is schedule


@pytest.mark.parametrize(
    ("schedule", "measuring", "confirming_first", "confirming_next"),
    [
        (RestartSchedule.EACH_PAIR, True, True, True),
        (RestartSchedule.EACH_CONFIRMING_PAIR, False, True, True),
        (RestartSchedule.EACH_CONFIRMATION, False, True, False),
        (RestartSchedule.NEVER, False, False, False),
    ],
)
def test_which_pairs_get_fresh_processes(
    schedule: RestartSchedule, measuring: bool, confirming_first: bool, confirming_next: bool
) -> None:
    policy = RestartPolicy(schedule, 2.0)
    assert policy.restarts_before(confirming=False, confirmed_pairs=0) is measuring
    assert policy.restarts_before(confirming=True, confirmed_pairs=0) is confirming_first
    assert policy.restarts_before(confirming=True, confirmed_pairs=3) is confirming_next


def test_time_is_counted_in_pairs_of_a_confirmation() -> None:
    assert RestartPolicy(RestartSchedule.EACH_CONFIRMING_PAIR, 2.0).pairs_left(30.0, 4.0) == 5
    assert RestartPolicy(RestartSchedule.EACH_PAIR, 2.0).pairs_left(30.0, 4.0) == 5
    assert RestartPolicy(RestartSchedule.NEVER).pairs_left(30.0, 4.0) == 7
    assert RestartPolicy(RestartSchedule.NEVER).pairs_left(-1.0, 4.0) == 0


def test_only_servers_that_stay_the_same_are_worth_a_warning() -> None:
    assert RestartPolicy(RestartSchedule.EACH_PAIR, 2.0).warning is None
    assert RestartPolicy(RestartSchedule.EACH_CONFIRMING_PAIR, 2.0).warning is None
    assert "not started here" in str(RestartPolicy(RestartSchedule.NEVER).warning)
    assert "a restart takes 40 s" in str(RestartPolicy(RestartSchedule.EACH_CONFIRMATION, 40.0).warning)


@pytest.mark.parametrize(
    ("schedule", "fresh_alarms", "bound", "covers"),
    [
        (
            RestartSchedule.EACH_PAIR,
            True,
            "0.5 %",
            "the differences between processes of one server: each pair has its own",
        ),
        (RestartSchedule.EACH_CONFIRMING_PAIR, False, "5 %", "each pair of a confirmation has its own"),
        (RestartSchedule.EACH_CONFIRMATION, True, "0.5 %", "not the lasting differences between processes"),
        (RestartSchedule.NEVER, True, "0.5 %", "not the lasting differences between processes"),
    ],
)
def test_the_bound_says_what_it_covers(schedule: RestartSchedule, fresh_alarms: bool, bound: str, covers: str) -> None:
    policy = RestartPolicy(schedule, 2.0)
    assert policy.fresh_alarms is fresh_alarms
    plan = replace(default_plan(), fresh_alarms=policy.fresh_alarms, scope=policy.scope)
    for limit in (3, 30):
        found, _ = run_gate(plan, pairs("plain", np.random.default_rng(1), limit, 0.01), limit)
        report = GateReport(found, "a", "b", "grpc", 1.0)
        for text in (verdict_line(report), gate_markdown(report), gate_json(report).decode()):
            assert covers in text
        assert f"false alarms at most {bound}" in verdict_line(report)
    none = Gate(plan).decide(left=0)
    assert none is not None
    report = GateReport(none, "a", "b", "grpc", 1.0)
    assert orjson.loads(gate_json(report))["false_alarms"]["bound"] is None
    for text in (verdict_line(report), gate_markdown(report), gate_junit(report).decode()):
        assert "false alarms" not in text
        assert covers not in text


def test_a_wrong_answer_has_no_chance_of_being_a_false_alarm() -> None:
    pair = next(pairs("plain", np.random.default_rng(1), 1, 0.01))
    gate = Gate(default_plan())
    gate.add(replace(pair, candidate=replace(pair.candidate, wrong=1)))
    found = gate.decide(left=9)
    assert found is not None
    assert found.false_alarms is None
