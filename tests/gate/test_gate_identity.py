"""What a gate shows is what it compares: in each mode, metric and format the change is that of the two levels shown."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import orjson
import pytest

from bench.analysis.run import analyse
from bench.gate.decision import Gate
from bench.gate.early_verdicts import failure_verdict
from bench.gate.report.files import gate_json, gate_junit
from bench.gate.report.text import gate_markdown, gate_table
from bench.gate.stored import decide_stored
from bench.gate.types import METRICS, Failure, GateReport, Pair, RunMetrics, Verdict, default_plan
from bench.gate.verdicts import pair_effects
from tests.support.gate_noise import NOISES, pairs, run_gate, slower
from tests.support.synthetic_runs import WORKLOAD, exponential, simulate, write_run

PLAN = default_plan()
ARRIVALS = "constant:rate=60"
UNITS = {"%": 0.01, "": 1.0, "ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9}


def figure(cell: str) -> float:
    """The number of a cell, in base units."""
    number, _, unit = cell.replace(",", "").removesuffix("/s").partition(" ")
    return float(number) * UNITS[unit]


def report(found: Verdict) -> GateReport:
    return GateReport(found, "a", "b", "grpc, closed:users=1", 10.0)


def hold_against_itself(found: Verdict) -> int:
    """Compares the figures of all formats; gives how many metrics showed a change."""
    shown = report(found)
    body = {entry["name"]: entry for entry in orjson.loads(gate_json(shown))["metrics"]}
    rows = [re.split(r"\s{2,}", line) for line in gate_table(shown).splitlines()[1:]]
    cells = {row[0]: row[1:] for row in rows}
    marked = [[cell.strip() for cell in line.split("|")[1:-1]] for line in gate_markdown(shown).splitlines()]
    tests = {
        case.get("name"): case.findtext("system-out")
        for case in ElementTree.fromstring(gate_junit(shown)).iter("testcase")
    }
    changes = 0
    for result in found.metrics:
        entry, name = body[result.metric.name], result.metric.label
        if result.effect.center is None:
            assert entry["change"] is None
            continue
        changes += 1
        before, after = entry["baseline"], entry["candidate"]
        assert min(before, after) >= 0
        change = after - before if result.metric.absolute else after / before - 1
        assert entry["change"] == pytest.approx(change, abs=1e-9)
        worse = before / after - 1 if result.metric.higher_is_better else change
        assert entry["worse_by"] == pytest.approx(worse, abs=1e-9)
        # Three digits of each level, one of a percentage.
        for baseline, candidate, text in (cells[name][:3], next(row for row in marked if row and row[0] == name)[1:4]):
            first, second = figure(baseline), figure(candidate)
            ratio = second - first if result.metric.absolute else second / first - 1
            shown_change = float(text.split()[0].replace(",", "")) / 100
            rough = 0.0006 + (0.01 * max(first, second) if result.metric.absolute else 0.011 * (1 + abs(ratio)))
            assert shown_change == pytest.approx(ratio, abs=rough), name
            assert f"{name} {text}" in (tests[name] or "")
    return changes


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(
    "effects", [{}, slower(0.2), {"throughput": 0.5, "memory": -0.3}], ids=["same", "slower", "mixed"]
)
@pytest.mark.parametrize("limit", [1, 3, 9, 30])
def test_live_gates(noise: str, effects: dict[str, float], limit: int) -> None:
    rng = np.random.default_rng([limit, len(noise), len(effects)])
    found, _ = run_gate(PLAN, pairs(noise, rng, limit, 0.15, effects, fail=(0.002, 0.03)), limit)
    assert hold_against_itself(found) == len(METRICS)


def test_levels_do_not_contradict_the_change_where_the_machine_changes() -> None:
    """Medians of each side by itself would say 17.2 and 18.3 requests a second beside a change of -58 %."""
    gate = Gate(PLAN)
    rates = ((17.0, 18.2), (17.1, 18.3), (17.2, 18.4), (60.0, 10.0), (60.0, 10.1))
    for pair in rates:
        one, two = (RunMetrics(100, 0, 0, 100, {"throughput": rate, "errors": 0.0}) for rate in pair)
        gate.add(Pair(one, two))
    found = gate.decide(left=0)
    assert found is not None
    assert hold_against_itself(found) == 2
    row = next(result for result in found.metrics if result.metric.name == "throughput")
    assert row.baseline is not None
    assert row.candidate is not None
    assert row.candidate / row.baseline - 1 == pytest.approx(-0.58, abs=0.01)


def test_metrics_that_only_some_pairs_carry_are_shown_from_these() -> None:
    some = list(pairs("plain", np.random.default_rng(1), 10, 0.1, slower(0.4)))
    bare = {name: value for name, value in some[0].baseline.values.items() if name != "p99"}
    some[0] = replace(some[0], baseline=replace(some[0].baseline, values=bare))
    found, _ = run_gate(PLAN, iter(some), 10)
    assert hold_against_itself(found) == len(METRICS)
    assert pair_effects(PLAN, some)["p99"].worsening.n == 9


def test_failed_sides_show_what_was_measured_before() -> None:
    some = list(pairs("drifting", np.random.default_rng(1), 4, 0.2, slower(0.4)))
    found = failure_verdict(PLAN, {"candidate": Failure("the candidate ended", ran=True)}, some)
    assert hold_against_itself(found) == len(METRICS)
    assert hold_against_itself(failure_verdict(PLAN, {"candidate": Failure("never", ran=False)})) == 0


@pytest.mark.parametrize("means", [(0.003, 0.003), (0.003, 0.006), (0.006, 0.003)], ids=["same", "slower", "faster"])
def test_stored_gates(tmp_path: Path, means: tuple[float, float]) -> None:
    sides = []
    for side, mean in enumerate(means):
        runs = []
        for repeat in range(5):
            workload = replace(WORKLOAD, seed=10 * side + repeat, duration=15.0, warmup=1.0)
            # From run to run by a third, so that medians and means differ.
            requests = simulate(ARRIVALS, workload, exponential(mean * (1 + repeat / 12)))
            runs.append(analyse(write_run(tmp_path, requests, ARRIVALS, workload, slug=f"{side}-{repeat}")))
        sides.append(runs)
    found = decide_stored(default_plan(0.3), *sides)
    assert hold_against_itself(found) >= 4
