"""When a gate starts its servers anew, and what it says where it cannot."""

from dataclasses import replace

import numpy as np
import orjson
import pytest

from bench.gate.decision import Gate
from bench.gate.driver import Pace, Renewal
from bench.gate.report.files import gate_json, gate_junit
from bench.gate.report.text import gate_markdown, verdict_line
from bench.gate.types import GateReport, default_plan
from tests.support.gate_noise import pairs, run_gate


@pytest.mark.parametrize(
    ("renew", "pair", "max_time", "renewal"),
    [
        # Quick servers, five minutes: each pair.
        (2.0, 4.0, 300.0, Renewal.EACH_PAIR),
        (6.0, 4.0, 300.0, Renewal.EACH_PAIR),
        # A slow machine: twenty pairs are enough.
        (4.5, 10.0, 300.0, Renewal.EACH_PAIR),
        # The same in 90 seconds: only 18 pairs would be left.
        (2.0, 3.0, 90.0, Renewal.EACH_CONFIRMING),
        (20.0, 5.0, 300.0, Renewal.EACH_CONFIRMING),
        # Seven starts would take most of the time.
        (40.0, 5.0, 300.0, Renewal.EACH_CONFIRMATION),
        # Somebody else's servers.
        (None, 4.0, 300.0, Renewal.NEVER),
    ],
)
def test_as_often_as_time_allows(renew: float | None, pair: float, max_time: float, renewal: Renewal) -> None:
    assert Pace.choose(renew, pair, max_time, 7).renewal is renewal


@pytest.mark.parametrize(
    ("renewal", "measuring", "confirming_first", "confirming_next"),
    [
        (Renewal.EACH_PAIR, True, True, True),
        (Renewal.EACH_CONFIRMING, False, True, True),
        (Renewal.EACH_CONFIRMATION, False, True, False),
        (Renewal.NEVER, False, False, False),
    ],
)
def test_which_pairs_get_fresh_processes(
    renewal: Renewal, measuring: bool, confirming_first: bool, confirming_next: bool
) -> None:
    pace = Pace(renewal, 2.0)
    assert pace.renews(confirming=False, confirmed_pairs=0) is measuring
    assert pace.renews(confirming=True, confirmed_pairs=0) is confirming_first
    assert pace.renews(confirming=True, confirmed_pairs=3) is confirming_next


def test_time_is_counted_in_pairs_of_a_confirmation() -> None:
    assert Pace(Renewal.EACH_CONFIRMING, 2.0).pairs_left(30.0, 4.0) == 5
    assert Pace(Renewal.EACH_PAIR, 2.0).pairs_left(30.0, 4.0) == 5
    assert Pace(Renewal.NEVER).pairs_left(30.0, 4.0) == 7
    assert Pace(Renewal.NEVER).pairs_left(-1.0, 4.0) == 0


def test_only_servers_that_stay_the_same_are_worth_a_warning() -> None:
    assert Pace(Renewal.EACH_PAIR, 2.0).warning is None
    assert Pace(Renewal.EACH_CONFIRMING, 2.0).warning is None
    assert "not started here" in str(Pace(Renewal.NEVER).warning)
    assert "fresh servers take 40 s" in str(Pace(Renewal.EACH_CONFIRMATION, 40.0).warning)


@pytest.mark.parametrize(
    ("renewal", "fresh_alarms", "bound", "covers"),
    [
        (Renewal.EACH_PAIR, True, "0.5 %", "the differences between processes of one server: each pair has its own"),
        (Renewal.EACH_CONFIRMING, False, "5 %", "each pair of a confirmation has its own"),
        (Renewal.EACH_CONFIRMATION, True, "0.5 %", "not the lasting differences between processes"),
        (Renewal.NEVER, True, "0.5 %", "not the lasting differences between processes"),
    ],
)
def test_the_bound_says_what_it_covers(renewal: Renewal, fresh_alarms: bool, bound: str, covers: str) -> None:
    plan = replace(default_plan(), fresh_alarms=fresh_alarms, scope=Pace(renewal, 2.0).scope)
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
